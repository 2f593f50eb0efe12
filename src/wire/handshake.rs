//! The 68 bytes that open a connection (BEP 3, *peer protocol*) and their reserved bits.

use super::error::WireError;
use crate::base::{hash::Sha1Hash, id::PeerId};

/// Length of a handshake in bytes.
pub const HANDSHAKE_LEN: usize = 68;
/// Bytes from the start until the info hash is complete: enough to find the torrent.
pub const INFO_HASH_END: usize = 48;

const PROTOCOL: [u8; 20] = *b"\x13BitTorrent protocol";

/// The reserved bytes: what else the sender speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reserved(pub [u8; 8]);

impl Reserved {
    /// What we speak: the extension protocol, the fast extension, and the DHT if there is a node.
    pub const fn ours(dht: bool) -> Self {
        Reserved([0, 0, 0, 0, 0, 0x10, 0, 0x04 | dht as u8])
    }

    /// The extension protocol (BEP 10).
    pub const fn extended(self) -> bool {
        self.0[5] & 0x10 != 0
    }

    /// The fast extension (BEP 6).
    pub const fn fast(self) -> bool {
        self.0[7] & 0x04 != 0
    }

    /// The DHT (BEP 5): a `port` message is welcome.
    pub const fn dht(self) -> bool {
        self.0[7] & 0x01 != 0
    }
}

/// A handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Handshake {
    /// What the sender speaks.
    pub reserved: Reserved,
    /// The torrent it is about.
    pub info_hash: Sha1Hash,
    /// Who the sender is.
    pub peer_id: PeerId,
}

impl Handshake {
    /// The bytes to send.
    pub fn to_bytes(&self) -> [u8; HANDSHAKE_LEN] {
        let mut bytes = [0; HANDSHAKE_LEN];
        bytes[..20].copy_from_slice(&PROTOCOL);
        bytes[20..28].copy_from_slice(&self.reserved.0);
        bytes[28..48].copy_from_slice(&self.info_hash.0);
        bytes[48..].copy_from_slice(&self.peer_id.0);
        bytes
    }

    /// Reads a whole handshake; [`WireError::NotBitTorrent`] if it has another beginning.
    pub fn from_bytes(bytes: &[u8; HANDSHAKE_LEN]) -> Result<Self, WireError> {
        if bytes[..20] != PROTOCOL {
            return Err(WireError::NotBitTorrent);
        }
        let mut handshake = Handshake {
            reserved: Reserved::default(),
            info_hash: Sha1Hash([0; 20]),
            peer_id: PeerId([0; 20]),
        };
        handshake.reserved.0.copy_from_slice(&bytes[20..28]);
        handshake.info_hash.0.copy_from_slice(&bytes[28..48]);
        handshake.peer_id.0.copy_from_slice(&bytes[48..]);
        Ok(handshake)
    }

    /// The info hash in the first bytes of an incoming connection, to find whose it is: some
    /// clients send their peer id only after our handshake. `None` while more bytes are needed
    /// ([`INFO_HASH_END`] are enough), [`WireError::NotBitTorrent`] as soon as one byte says so.
    pub fn info_hash_in(prefix: &[u8]) -> Result<Option<Sha1Hash>, WireError> {
        let known = prefix.len().min(PROTOCOL.len());
        if prefix[..known] != PROTOCOL[..known] {
            return Err(WireError::NotBitTorrent);
        }
        let hash = prefix.get(28..INFO_HASH_END).and_then(|bytes| bytes.try_into().ok());
        Ok(hash.map(Sha1Hash))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::hash::sha1;

    fn ours() -> Handshake {
        Handshake {
            reserved: Reserved::ours(false),
            info_hash: sha1(b"info"),
            peer_id: PeerId(*b"-DP0100-abcdefghijkl"),
        }
    }

    #[test]
    fn bytes_are_those_of_bep_3() {
        let h = ours();
        let bytes = h.to_bytes();
        let want = [
            b"\x13BitTorrent protocol\0\0\0\0\0\x10\0\x04".as_slice(),
            &sha1(b"info").0,
            b"-DP0100-abcdefghijkl",
        ]
        .concat();
        assert_eq!(bytes.as_slice(), want);
        assert_eq!(Handshake::from_bytes(&bytes), Ok(h));
    }

    #[test]
    fn reserved_bits() {
        assert!(Reserved::ours(true).dht());
        let r = Reserved::ours(false);
        assert_eq!((r.extended(), r.fast(), r.dht()), (true, true, false));
        let r = Reserved([0, 0, 0, 0, 0, 0, 0, 1]);
        assert_eq!((r.extended(), r.fast(), r.dht()), (false, false, true));
    }

    #[test]
    fn the_info_hash_is_known_before_the_peer_id() {
        let bytes = ours().to_bytes();
        for n in 0..bytes.len() {
            let want = (n >= INFO_HASH_END).then(|| sha1(b"info"));
            assert_eq!(Handshake::info_hash_in(&bytes[..n]), Ok(want), "{n}");
        }
    }

    #[test]
    fn another_protocol_is_refused_at_its_first_byte() {
        for i in 0..20 {
            let mut bytes = ours().to_bytes();
            bytes[i] ^= 1;
            assert_eq!(Handshake::from_bytes(&bytes), Err(WireError::NotBitTorrent));
            assert_eq!(Handshake::info_hash_in(&bytes[..=i]), Err(WireError::NotBitTorrent));
            assert!(Handshake::info_hash_in(&bytes[..i]).is_ok());
        }
    }
}
