//! SOCKS5 as bytes: greeting, authentication by user and password, requests and their replies, and the header
//! of a datagram (RFC 1928; RFC 1929).
//!
//! Every reader takes what has come so far and says how much of it is the message; nothing that a proxy says
//! makes anything grow.

use std::net::{IpAddr, SocketAddr};

use super::{Credentials, Place};

const VERSION: u8 = 5;
/// Of the sub-negotiation of user and password.
const AUTH_VERSION: u8 = 1;
const NO_AUTHENTICATION: u8 = 0;
const USER_AND_PASSWORD: u8 = 2;
const NOTHING_ACCEPTABLE: u8 = 0xff;
const V4: u8 = 1;
const NAME: u8 = 3;
const V6: u8 = 4;

/// What the proxy is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// Connect to a place.
    Connect,
    /// Carry datagrams for as long as the connection lasts.
    UdpAssociate,
}

/// Why a proxy does not do as it is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SocksError {
    /// It is something else.
    #[error("it does not speak SOCKS5")]
    NotSocks,
    /// It wants to know who we are, or in a way that we do not have.
    #[error("it wants a name and a password, and takes no others")]
    WantsAuthentication,
    /// It does not know us.
    #[error("it does not take our name and password")]
    WrongPassword,
    /// It says no, with a code (RFC 1928, section 6).
    #[error("{}", meaning(*.0))]
    Refused(u8),
}

/// Codes of replies that say something about the place, not about the proxy.
pub mod code {
    /// By its rules.
    pub const NOT_ALLOWED: u8 = 2;
    /// No way there.
    pub const NETWORK_UNREACHABLE: u8 = 3;
    /// Nobody there.
    pub const HOST_UNREACHABLE: u8 = 4;
    /// Nobody listens there.
    pub const CONNECTION_REFUSED: u8 = 5;
    /// Too far, or too slow.
    pub const TTL_EXPIRED: u8 = 6;
}

const fn meaning(reply: u8) -> &'static str {
    match reply {
        1 => "it failed",
        code::NOT_ALLOWED => "its rules do not allow it",
        code::NETWORK_UNREACHABLE => "the network cannot be reached",
        code::HOST_UNREACHABLE => "the host cannot be reached",
        code::CONNECTION_REFUSED => "the connection was refused",
        code::TTL_EXPIRED => "it took too long",
        7 => "it does not do that",
        8 => "it does not know that kind of address",
        _ => "it refuses, and does not say why",
    }
}

/// What is said first: how we may show who we are.
pub fn greeting(credentials: Option<&Credentials>) -> Vec<u8> {
    match credentials {
        Some(_) => vec![VERSION, 2, NO_AUTHENTICATION, USER_AND_PASSWORD],
        None => vec![VERSION, 1, NO_AUTHENTICATION],
    }
}

/// The choice that a proxy makes of a greeting: whether it wants name and password.
pub const fn read_choice(bytes: [u8; 2], offered: bool) -> Result<bool, SocksError> {
    match bytes {
        [VERSION, NO_AUTHENTICATION] => Ok(false),
        [VERSION, USER_AND_PASSWORD] if offered => Ok(true),
        [VERSION, NOTHING_ACCEPTABLE] => Err(SocksError::WantsAuthentication),
        _ => Err(SocksError::NotSocks),
    }
}

/// Who we are. Both texts have at most 255 bytes, as [`Credentials`] say.
pub fn authentication(credentials: &Credentials) -> Vec<u8> {
    let mut bytes = vec![AUTH_VERSION];
    for text in [&credentials.user, &credentials.password] {
        let text = &text.as_bytes()[..text.len().min(255)];
        bytes.push(text.len() as u8);
        bytes.extend_from_slice(text);
    }
    bytes
}

/// Whether a proxy knows us.
pub const fn read_verdict(bytes: [u8; 2]) -> Result<(), SocksError> {
    // Some give the version of SOCKS in place of that of the sub-negotiation.
    match bytes {
        [AUTH_VERSION | VERSION, 0] => Ok(()),
        [AUTH_VERSION | VERSION, _] => Err(SocksError::WrongPassword),
        _ => Err(SocksError::NotSocks),
    }
}

/// A request about `place`.
pub fn request(request: Request, place: &Place) -> Vec<u8> {
    let command = match request {
        Request::Connect => 1,
        Request::UdpAssociate => 3,
    };
    let mut bytes = vec![VERSION, command, 0];
    encode_place(place, &mut bytes);
    bytes
}

/// The place that a reply names, and the length of the reply; `None` as long as not all of it has come. The
/// longest has 262 bytes.
pub fn read_reply(bytes: &[u8]) -> Result<Option<(Place, usize)>, SocksError> {
    match bytes {
        [] => return Ok(None),
        [VERSION, ..] => {}
        _ => return Err(SocksError::NotSocks),
    }
    match bytes.get(1) {
        None => return Ok(None),
        Some(0) => {}
        Some(&code) => return Err(SocksError::Refused(code)),
    }
    let Some(rest) = bytes.get(3..) else { return Ok(None) };
    let place = decode_place(rest)?;
    Ok(place.map(|(place, length)| (place, length + 3)))
}

/// A datagram to `place`, as the proxy's relay wants it.
pub fn wrap(place: &Place, datagram: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(datagram.len() + 22);
    bytes.extend_from_slice(&[0, 0, 0]);
    encode_place(place, &mut bytes);
    bytes.extend_from_slice(datagram);
    bytes
}

/// Where a datagram of the relay comes from, and what it holds; `None` if it makes no sense, or is a part of
/// one: whoever does not put parts together drops them (RFC 1928, section 7).
pub fn unwrap(bytes: &[u8]) -> Option<(Place, &[u8])> {
    let [_, _, 0, rest @ ..] = bytes else { return None };
    let (place, length) = decode_place(rest).ok()??;
    Some((place, &rest[length..]))
}

fn encode_place(place: &Place, out: &mut Vec<u8>) {
    let port = match place {
        Place::Addr(addr) => {
            match addr.ip() {
                IpAddr::V4(ip) => {
                    out.push(V4);
                    out.extend_from_slice(&ip.octets());
                }
                IpAddr::V6(ip) => {
                    out.push(V6);
                    out.extend_from_slice(&ip.octets());
                }
            }
            addr.port()
        }
        Place::Name(name, port) => {
            // A longer one is nobody's: see `Place::of`.
            let name = &name.as_bytes()[..name.len().min(255)];
            out.extend_from_slice(&[NAME, name.len() as u8]);
            out.extend_from_slice(name);
            *port
        }
    };
    out.extend_from_slice(&port.to_be_bytes());
}

/// A place at the beginning of `bytes`, and its length; `None` as long as not all of it has come.
fn decode_place(bytes: &[u8]) -> Result<Option<(Place, usize)>, SocksError> {
    let port = |at: usize| match bytes.get(at..at + 2) {
        Some(&[high, low]) => Some(u16::from_be_bytes([high, low])),
        _ => None,
    };
    let addr = |ip: Option<IpAddr>, length: usize| {
        let place = Place::Addr(SocketAddr::new(ip?, port(length - 2)?));
        Some((place, length))
    };
    match bytes {
        [] => Ok(None),
        [V4, rest @ ..] => Ok(addr(rest.first_chunk::<4>().map(|ip| IpAddr::from(*ip)), 7)),
        [V6, rest @ ..] => Ok(addr(rest.first_chunk::<16>().map(|ip| IpAddr::from(*ip)), 19)),
        [NAME] => Ok(None),
        [NAME, length, rest @ ..] => {
            let length = usize::from(*length);
            let (Some(name), Some(port)) = (rest.get(..length), port(2 + length)) else {
                return Ok(None);
            };
            let name = std::str::from_utf8(name).map_err(|_| SocksError::NotSocks)?;
            let place = Place::of(name, port).ok_or(SocksError::NotSocks)?;
            Ok(Some((place, 4 + length)))
        }
        _ => Err(SocksError::NotSocks),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn credentials(user: &str, password: &str) -> Credentials {
        Credentials { user: user.to_owned(), password: password.to_owned() }
    }

    #[test]
    fn greetings_and_their_answers() {
        assert_eq!(greeting(None), [5, 1, 0]);
        let me = credentials("me", "secret");
        assert_eq!(greeting(Some(&me)), [5, 2, 0, 2]);
        assert_eq!(authentication(&me), b"\x01\x02me\x06secret");
        assert_eq!(authentication(&credentials(&"u".repeat(300), "")).len(), 258);
        assert_eq!(read_choice([5, 0], true), Ok(false));
        assert_eq!(read_choice([5, 2], true), Ok(true));
        assert_eq!(read_choice([5, 2], false), Err(SocksError::NotSocks));
        assert_eq!(read_choice([5, 255], true), Err(SocksError::WantsAuthentication));
        assert_eq!(read_choice(*b"HT", true), Err(SocksError::NotSocks));
        assert_eq!(read_verdict([1, 0]), Ok(()));
        assert_eq!(read_verdict([1, 1]), Err(SocksError::WrongPassword));
    }

    #[test]
    fn requests_and_replies_are_those_of_the_standard() {
        let v4 = Place::Addr("192.0.2.1:80".parse().expect("valid"));
        assert_eq!(request(Request::Connect, &v4), [5, 1, 0, 1, 192, 0, 2, 1, 0, 80]);
        let name = Place::Name("a.example".to_owned(), 443);
        assert_eq!(request(Request::UdpAssociate, &name), b"\x05\x03\x00\x03\x09a.example\x01\xbb");
        assert_eq!(read_reply(b"\x05\x00\x00\x01\xc0\x00\x02\x01\x00\x50more"), Ok(Some((v4, 10))));
        assert_eq!(read_reply(b"\x05\x05"), Err(SocksError::Refused(5)));
        assert_eq!(read_reply(b"HTTP"), Err(SocksError::NotSocks));
        assert_eq!(read_reply(b"\x05\x00\x00\x02rest"), Err(SocksError::NotSocks));
        assert_eq!(read_reply(b"\x05\x00\x00\x03\x02\r\n\x00\x50"), Err(SocksError::NotSocks));
        assert_eq!(SocksError::Refused(5).to_string(), "the connection was refused");
    }

    #[test]
    fn parts_of_datagrams_are_dropped() {
        assert_eq!(unwrap(b"\0\0\x01\x01\x7f\0\0\x01\0\x07x"), None);
        assert_eq!(unwrap(b"\0\0"), None);
        let from = Place::Addr("127.0.0.1:7".parse().expect("valid"));
        assert_eq!(unwrap(b"\0\0\0\x01\x7f\0\0\x01\0\x07x"), Some((from, &b"x"[..])));
    }

    fn place() -> impl Strategy<Value = Place> {
        prop_oneof![
            any::<SocketAddr>().prop_map(|addr| SocketAddr::new(addr.ip(), addr.port()).into()),
            ("[a-z0-9.-]{1,255}", any::<u16>())
                .prop_map(|(host, port)| Place::of(&host, port).expect("a name or an address")),
        ]
    }

    proptest! {
        #[test]
        fn a_place_comes_back_and_no_part_of_it_does(place in place(), datagram: Vec<u8>) {
            let wrapped = wrap(&place, &datagram);
            prop_assert_eq!(unwrap(&wrapped), Some((place.clone(), &datagram[..])));
            let mut reply = request(Request::Connect, &place);
            reply[1] = 0;
            for end in 0..reply.len() {
                prop_assert_eq!(read_reply(&reply[..end]), Ok(None));
            }
            prop_assert_eq!(read_reply(&reply), Ok(Some((place, reply.len()))));
        }

        #[test]
        fn nothing_makes_it_panic(bytes: Vec<u8>) {
            let _ = read_reply(&bytes);
            let _ = unwrap(&bytes);
        }
    }
}
