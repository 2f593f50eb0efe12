//! The message by which peers exchange addresses of others (BEP 11). Only its form: who is told of whom,
//! and how often, is decided elsewhere.

use std::net::SocketAddr;

use super::error::WireError;
use crate::{
    base::{compact, limits::MAX_PEX_PEERS},
    bencode::{Limits, Value, write},
};

/// The payload of an `ut_pex` message.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PexMessage {
    /// Peers that its sender is connected to and had not told of.
    pub added: Vec<(SocketAddr, PexFlags)>,
    /// Peers that it had told of and is connected to no more.
    pub dropped: Vec<SocketAddr>,
}

/// What is said of a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PexFlags(pub u8);

impl PexFlags {
    /// It would rather have its connections encrypted.
    pub const ENCRYPTION: u8 = 0x01;
    /// It downloads no more.
    pub const SEED: u8 = 0x02;
    /// Its sender has connected to it: it can be reached.
    pub const REACHABLE: u8 = 0x10;

    /// Whether it would rather have its connections encrypted.
    pub const fn prefers_encryption(self) -> bool {
        self.0 & PexFlags::ENCRYPTION != 0
    }

    /// Whether it downloads no more.
    pub const fn is_seed(self) -> bool {
        self.0 & PexFlags::SEED != 0
    }
}

impl PexMessage {
    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.dropped.is_empty()
    }

    /// The payload of the message.
    pub fn encode(&self) -> Vec<u8> {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        let (mut flags4, mut flags6) = (Vec::new(), Vec::new());
        for &(addr, PexFlags(flags)) in &self.added {
            compact::push(addr, &mut v4, &mut v6);
            if addr.is_ipv4() { flags4.push(flags) } else { flags6.push(flags) }
        }
        let (mut gone4, mut gone6) = (Vec::new(), Vec::new());
        self.dropped.iter().for_each(|&addr| compact::push(addr, &mut gone4, &mut gone6));
        write::dict(|message| {
            message.bytes("added", v4);
            message.bytes("added.f", flags4);
            message.bytes("added6", v6);
            message.bytes("added6.f", flags6);
            message.bytes("dropped", gone4);
            message.bytes("dropped6", gone6);
        })
    }

    /// Reads the payload of a message: of each list no more than [`MAX_PEX_PEERS`].
    ///
    /// # Errors
    /// [`WireError`] if it is no dictionary.
    pub fn decode(payload: &[u8]) -> Result<Self, WireError> {
        let dict = Value::scan(payload, Limits::PEER)?
            .as_dict()
            .ok_or(WireError::Extension("no dictionary"))?;
        let bytes = |key: &[u8]| dict.get(key).and_then(Value::as_bytes).unwrap_or_default();
        let flags = |key: &[u8]| {
            let flags = bytes(key).iter().copied();
            flags.chain(std::iter::repeat(0)).map(PexFlags)
        };
        let v4 = compact::v4_peers(bytes(b"added")).zip(flags(b"added.f"));
        let v6 = compact::v6_peers(bytes(b"added6")).zip(flags(b"added6.f"));
        let gone4 = compact::v4_peers(bytes(b"dropped"));
        let gone6 = compact::v6_peers(bytes(b"dropped6"));
        Ok(PexMessage {
            added: v4.take(MAX_PEX_PEERS).chain(v6.take(MAX_PEX_PEERS)).collect(),
            dropped: gone4.take(MAX_PEX_PEERS).chain(gone6.take(MAX_PEX_PEERS)).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(text: &str) -> SocketAddr {
        text.parse().expect("valid")
    }

    #[test]
    fn both_families_come_out_as_they_went_in() {
        let message = PexMessage {
            added: vec![
                (addr("1.2.3.4:5"), PexFlags(PexFlags::SEED)),
                (addr("[2001:db8::1]:6"), PexFlags(PexFlags::REACHABLE)),
                (addr("1.2.3.5:7"), PexFlags(0)),
            ],
            dropped: vec![addr("9.9.9.9:9"), addr("[2001:db8::9]:9")],
        };
        let mut read = PexMessage::decode(&message.encode()).expect("ours");
        read.added.sort_by_key(|&(addr, _)| addr.port());
        assert_eq!(read, message);
        assert!(read.added[0].1.is_seed() && !read.added[1].1.is_seed());
        assert!(PexMessage::default().is_empty() && !message.is_empty());
    }

    #[test]
    fn missing_flags_are_none_and_too_many_peers_are_left_out() {
        let read = PexMessage::decode(b"d5:added6:\x01\x02\x03\x04\x00\x05e").expect("a message");
        assert_eq!(read.added, [(addr("1.2.3.4:5"), PexFlags(0))]);
        let many = PexMessage { added: vec![read.added[0]; 5_000], dropped: vec![] };
        let read = PexMessage::decode(&many.encode()).expect("a message");
        assert_eq!(read.added.len(), MAX_PEX_PEERS);
        assert_eq!(PexMessage::decode(b"de"), Ok(PexMessage::default()));
        for nonsense in [&b""[..], b"le", b"i5e", b"d5:addede", b"d5:added3:abce "] {
            assert!(PexMessage::decode(nonsense).is_err(), "{nonsense:?}");
        }
        let odd = PexMessage::decode(b"d5:added7:abcdefge").expect("a message");
        assert_eq!(odd.added.len(), 1, "a part of one at the end is ignored");
    }
}
