//! The Port Control Protocol as bytes: the request for a mapping and the answer to it (RFC 6887, sections
//! 7 and 11). Options are neither sent nor read.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Duration,
};

use super::{Granted, Refusal, Transport};

const VERSION: u8 = 2;
const MAP: u8 = 1;
const ANSWER: u8 = 0x80;
const HEADER_LEN: usize = 24;
const MAP_LEN: usize = 60;
const UNSUPPORTED_VERSION: u8 = 1;

/// A mapping that is asked for, over IPv6 an opening in a firewall; one and the same asked for again renews it.
#[derive(Debug, Clone, Copy)]
pub struct Request {
    /// For which bytes.
    pub transport: Transport,
    /// Our address, as the gateway sees it.
    pub client: IpAddr,
    /// Our port.
    pub port: u16,
    /// The port outside that we would like.
    pub outside: u16,
    /// For how long; zero ends it.
    pub lifetime: Duration,
    /// By which the gateway knows that the mapping is ours: nobody else can guess it.
    pub nonce: [u8; 12],
}

impl Request {
    /// The datagram.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION, MAP, 0, 0];
        out.extend_from_slice(&(self.lifetime.as_secs() as u32).to_be_bytes());
        out.extend_from_slice(&mapped(self.client).octets());
        out.extend_from_slice(&self.nonce);
        out.extend_from_slice(&[protocol(self.transport), 0, 0, 0]);
        out.extend_from_slice(&self.port.to_be_bytes());
        out.extend_from_slice(&self.outside.to_be_bytes());
        // No wish, of our family (section 11.1).
        let any = match self.client {
            IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        out.extend_from_slice(&mapped(any).octets());
        out
    }

    /// Reads an answer to this request, and the address outside, of our family; `None` if it is something
    /// else.
    pub fn read(&self, datagram: &[u8]) -> Option<Result<(Granted, IpAddr), Refusal>> {
        let &[version, op, ..] = datagram else { return None };
        if op & ANSWER == 0 {
            return None;
        }
        if version != VERSION {
            // NAT-PMP has its own version and code at the same place (RFC 6886, section 3.5).
            return Some(Err(Refusal::Version));
        }
        let code = *datagram.get(3)?;
        if op != ANSWER | MAP || datagram.len() < HEADER_LEN {
            return None;
        }
        if code == UNSUPPORTED_VERSION {
            return Some(Err(Refusal::Version));
        }
        let map = datagram.get(HEADER_LEN..MAP_LEN)?;
        let ours = map[..12] == self.nonce
            && map[12] == protocol(self.transport)
            && map[16..18] == self.port.to_be_bytes();
        if !ours {
            return None;
        }
        if code != 0 {
            return Some(Err(Refusal::Code(code.into())));
        }
        let seconds = u32::from_be_bytes(datagram[4..8].try_into().expect("four bytes"));
        let port = u16::from_be_bytes([map[18], map[19]]);
        let ip: [u8; 16] = map[20..36].try_into().expect("sixteen bytes");
        let lifetime = Duration::from_secs(seconds.into());
        let granted = Granted { port, lifetime };
        let ip = Ipv6Addr::from(ip).to_canonical();
        let makes_sense = port != 0 && seconds != 0 && ip.is_ipv4() == self.client.is_ipv4();
        Some(if makes_sense { Ok((granted, ip)) } else { Err(Refusal::Nonsense) })
    }
}

/// As the protocol writes addresses of both families (section 5).
const fn mapped(ip: IpAddr) -> Ipv6Addr {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    }
}

/// The number that the Internet Protocol has for it.
const fn protocol(transport: Transport) -> u8 {
    match transport {
        Transport::Tcp => 6,
        Transport::Udp => 17,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUEST: Request = Request {
        transport: Transport::Tcp,
        client: IpAddr::V4(Ipv4Addr::new(192, 168, 1, 7)),
        port: 6881,
        outside: 6881,
        lifetime: super::super::LIFETIME,
        nonce: *b"twelve bytes",
    };

    fn answer(code: u8, seconds: u32, port: u16, ip: IpAddr) -> Vec<u8> {
        let mut out = vec![VERSION, ANSWER | MAP, 0, code];
        out.extend_from_slice(&seconds.to_be_bytes());
        out.extend_from_slice(&[0; 16]);
        out.extend_from_slice(b"twelve bytes\x06\0\0\0\x1a\xe1");
        out.extend_from_slice(&port.to_be_bytes());
        out.extend_from_slice(&mapped(ip).octets());
        out
    }

    #[test]
    fn a_request_is_what_the_rfc_draws() {
        let bytes = REQUEST.encode();
        assert_eq!(bytes.len(), MAP_LEN);
        assert_eq!(bytes[..8], [2, 1, 0, 0, 0, 0, 0x0e, 0x10]);
        assert_eq!(bytes[18..24], [0xff, 0xff, 192, 168, 1, 7]);
        assert_eq!(&bytes[24..44], b"twelve bytes\x06\0\0\0\x1a\xe1\x1a\xe1");
        assert_eq!(bytes[44..], [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0]);
        let ours: Ipv6Addr = "2001:470::7".parse().expect("valid");
        let bytes = Request { client: ours.into(), ..REQUEST }.encode();
        assert_eq!((&bytes[8..24], &bytes[44..]), (&ours.octets()[..], &[0; 16][..]));
    }

    #[test]
    fn an_answer_is_read_and_what_is_none_is_passed_over() {
        let ip = IpAddr::V4(Ipv4Addr::new(9, 9, 9, 9));
        let good = answer(0, 120, 7000, ip);
        let lifetime = Duration::from_secs(120);
        assert_eq!(REQUEST.read(&good), Some(Ok((Granted { port: 7000, lifetime }, ip))));
        for length in 0..good.len() {
            assert_eq!(REQUEST.read(&good[..length]), None, "{length} bytes");
        }
        for at in [1, 24, 36, 40] {
            let mut other = good.clone();
            other[at] ^= 0x55;
            assert_eq!(REQUEST.read(&other), None, "byte {at} differs");
        }
        assert_eq!(REQUEST.read(&REQUEST.encode()), None, "our own words");
        assert_eq!(REQUEST.read(&[0; 2_000]), None);
    }

    #[test]
    fn refusals_and_nonsense_are_told_apart() {
        let ip = IpAddr::V4(Ipv4Addr::new(9, 9, 9, 9));
        let read = |bytes: &[u8]| REQUEST.read(bytes).expect("an answer").expect_err("no mapping");
        assert_eq!(read(&answer(2, 30, 0, ip)), Refusal::Code(2));
        assert_eq!(read(&answer(0, 0, 7000, ip)), Refusal::Nonsense);
        assert_eq!(read(&answer(0, 120, 0, ip)), Refusal::Nonsense);
        let other_family = Ipv6Addr::LOCALHOST.into();
        assert_eq!(read(&answer(0, 120, 7000, other_family)), Refusal::Nonsense);
        assert_eq!(read(&[0, 0x81, 0, 1, 0, 0, 0, 9]), Refusal::Version, "as NAT-PMP answers");
        assert_eq!(read(&answer(1, 0, 0, ip)[..24]), Refusal::Version);
    }
}
