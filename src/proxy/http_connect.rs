//! The tunnel of an HTTP proxy as bytes: the request, and what of the answer matters (RFC 9110, section 9.3.6).

use data_encoding::BASE64;

use super::{Credentials, Place};
use crate::base::limits::MAX_PROXY_REPLY;

/// Why there is no tunnel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// It is something else.
    #[error("it does not speak HTTP")]
    NotHttp,
    /// The head of its answer has no end.
    #[error("its answer is longer than {MAX_PROXY_REPLY} bytes")]
    TooLong,
    /// It does not know us.
    #[error("it does not take our name and password")]
    WrongPassword,
    /// It says no.
    #[error("it answered with status {0}")]
    Refused(u16),
}

/// Asks for a tunnel to `place`.
pub fn request(place: &Place, credentials: Option<&Credentials>) -> Vec<u8> {
    let mut text = format!("CONNECT {place} HTTP/1.1\r\nHost: {place}\r\n");
    if let Some(Credentials { user, password }) = credentials {
        let secret = BASE64.encode(format!("{user}:{password}").as_bytes());
        text += &format!("Proxy-Authorization: Basic {secret}\r\n");
    }
    text += "\r\n";
    text.into_bytes()
}

/// The length of the answer's head, after which the tunnel begins; `None` as long as not all of it has come.
pub fn read_answer(bytes: &[u8]) -> Result<Option<usize>, ConnectError> {
    const BEGIN: &[u8] = b"HTTP/1.";
    let common = bytes.len().min(BEGIN.len());
    if bytes[..common] != BEGIN[..common] {
        return Err(ConnectError::NotHttp);
    }
    let seen = &bytes[..bytes.len().min(MAX_PROXY_REPLY)];
    let Some(end) = seen.windows(4).position(|part| part == b"\r\n\r\n") else {
        return if seen.len() < MAX_PROXY_REPLY { Ok(None) } else { Err(ConnectError::TooLong) };
    };
    let status = seen.get(8..12).and_then(|text| text.strip_prefix(b" "));
    let status = status.filter(|digits| digits.iter().all(u8::is_ascii_digit));
    let number = status.and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
    match number.ok_or(ConnectError::NotHttp)? {
        200..=299 => Ok(Some(end + 4)),
        407 => Err(ConnectError::WrongPassword),
        status => Err(ConnectError::Refused(status)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_tunnel_is_asked_for() {
        let place = Place::of("2001:db8::1", 6881).expect("an address");
        let asked = request(&place, None);
        let text = "CONNECT [2001:db8::1]:6881 HTTP/1.1\r\nHost: [2001:db8::1]:6881\r\n\r\n";
        assert_eq!(asked, text.as_bytes());
        let me = Credentials { user: "Aladdin".to_owned(), password: "open sesame".to_owned() };
        let asked = request(&Place::of("a", 1).expect("a name"), Some(&me));
        let asked = String::from_utf8(asked).expect("text");
        assert!(asked.contains("\r\nProxy-Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n"));
    }

    #[test]
    fn answers_are_told_apart() {
        let answer = b"HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\n";
        for end in 0..answer.len() {
            assert_eq!(read_answer(&answer[..end]), Ok(None));
        }
        assert_eq!(read_answer(&[&answer[..], b"peer"].concat()), Ok(Some(answer.len())));
        for (answer, error) in [
            (&b"HTTP/1.0 407 x\r\n\r\n"[..], ConnectError::WrongPassword),
            (b"HTTP/1.1 502\r\n\r\n", ConnectError::Refused(502)),
            (b"HTTP/1.1 ok\r\n\r\n", ConnectError::NotHttp),
            (b"HTTP/1.1\r\n\r\n", ConnectError::NotHttp),
            (b"\x05\x00", ConnectError::NotHttp),
        ] {
            assert_eq!(read_answer(answer), Err(error), "{answer:?}");
        }
        let endless = [b"HTTP/1.1 200 ", &vec![b'x'; MAX_PROXY_REPLY][..]].concat();
        assert_eq!(read_answer(&endless), Err(ConnectError::TooLong));
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(bytes: Vec<u8>) {
            let _ = read_answer(&[b"HTTP/1.", &bytes[..]].concat());
            let _ = read_answer(&bytes);
        }
    }
}
