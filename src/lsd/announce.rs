//! What is said on the local network: who has which torrents (BEP 14). Only its form.

use crate::base::{
    hash::Sha1Hash,
    limits::{MAX_LSD_DATAGRAM, MAX_LSD_TORRENTS},
};

/// The groups to which announces go (BEP 14, *Protocol*), as they stand in the `Host` header.
const HOSTS: [&str; 2] = ["239.192.152.143:6771", "[ff15::efc0:988f]:6771"];

/// An announce.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announce {
    /// Where its sender listens for peers, not 0.
    pub port: u16,
    /// The torrents it has.
    pub info_hashes: Vec<Sha1Hash>,
    /// By which its sender knows its own; any text.
    pub cookie: Option<String>,
}

impl Announce {
    /// The datagram, to the IPv6 group if `v6`.
    pub fn encode(&self, v6: bool) -> Vec<u8> {
        use std::fmt::Write as _;
        let mut text = format!(
            "BT-SEARCH * HTTP/1.1\r\nHost: {}\r\nPort: {}\r\n",
            HOSTS[usize::from(v6)],
            self.port
        );
        for info_hash in &self.info_hashes {
            // A string takes everything.
            let _ = write!(text, "Infohash: {info_hash}\r\n");
        }
        if let Some(cookie) = &self.cookie {
            let _ = write!(text, "cookie: {cookie}\r\n");
        }
        text.push_str("\r\n\r\n");
        text.into_bytes()
    }

    /// Reads a datagram; `None` if it is something else, or names no torrent. Headers that we do not know
    /// are skipped.
    pub fn decode(datagram: &[u8]) -> Option<Self> {
        if datagram.len() > MAX_LSD_DATAGRAM {
            return None;
        }
        let mut lines = std::str::from_utf8(datagram).ok()?.split("\r\n");
        if !lines.next()?.starts_with("BT-SEARCH * HTTP/1.") {
            return None;
        }
        let mut announce = Announce { port: 0, info_hashes: Vec::new(), cookie: None };
        for line in lines {
            let Some((name, value)) = line.split_once(':') else { continue };
            let value = value.trim();
            if name.eq_ignore_ascii_case("port") {
                announce.port = value.parse().ok()?;
            } else if name.eq_ignore_ascii_case("infohash") && value.len() == 40 {
                if announce.info_hashes.len() < MAX_LSD_TORRENTS {
                    announce.info_hashes.extend(value.parse::<Sha1Hash>().ok());
                }
            } else if name.eq_ignore_ascii_case("cookie") {
                announce.cookie = Some(value.to_owned());
            }
        }
        (announce.port != 0 && !announce.info_hashes.is_empty()).then_some(announce)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::hash::sha1;

    #[test]
    fn announces_come_out_as_they_went_in() {
        for v6 in [false, true] {
            for cookie in [None, Some("c00k1e".to_owned())] {
                let info_hashes = vec![sha1(b"one"), sha1(b"two")];
                let announce = Announce { port: 6881, info_hashes, cookie };
                let datagram = announce.encode(v6);
                assert!(datagram.ends_with(b"\r\n\r\n\r\n"));
                assert_eq!(Announce::decode(&datagram), Some(announce));
            }
        }
    }

    #[test]
    fn what_others_send_is_understood() {
        let hash = "0123456789ABCDEF0123456789abcdef01234567";
        let text = format!(
            "BT-SEARCH * HTTP/1.1\r\nHOST: 239.192.152.143:6771\r\nPORT:7000\r\nX-What: ever\r\n\
             INFOHASH: {hash}\r\n\r\n\r\n"
        );
        let announce = Announce::decode(text.as_bytes()).expect("an announce");
        assert_eq!((announce.port, announce.info_hashes.len()), (7_000, 1));
        assert_eq!(announce.info_hashes[0].to_string(), hash.to_lowercase());
    }

    #[test]
    fn nonsense_is_nothing() {
        let hash = "0123456789abcdef0123456789abcdef01234567";
        for text in [
            String::new(),
            "GET / HTTP/1.1\r\n\r\n".to_owned(),
            "BT-SEARCH * HTTP/1.1\r\nPort: 5\r\n\r\n".to_owned(),
            format!("BT-SEARCH * HTTP/1.1\r\nInfohash: {hash}\r\n\r\n"),
            format!("BT-SEARCH * HTTP/1.1\r\nPort: 0\r\nInfohash: {hash}\r\n\r\n"),
            format!("BT-SEARCH * HTTP/1.1\r\nPort: 99999\r\nInfohash: {hash}\r\n\r\n"),
            "BT-SEARCH * HTTP/1.1\r\nPort: 5\r\nInfohash: xyz\r\n\r\n".to_owned(),
        ] {
            assert_eq!(Announce::decode(text.as_bytes()), None, "{text}");
        }
        let many = format!("Infohash: {hash}\r\n").repeat(200);
        let text = format!("BT-SEARCH * HTTP/1.1\r\nPort: 5\r\n{many}\r\n");
        assert_eq!(Announce::decode(text.as_bytes()), None, "too long");
    }
}
