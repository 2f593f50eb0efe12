//! Peer ids (BEP 20) and the key by which a torrent knows one connection.

use std::fmt;

use super::rng::Rng;

/// The 20 bytes by which a client names itself to trackers and peers (BEP 3, BEP 20).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(pub [u8; 20]);

impl PeerId {
    /// Ours: `-DP`, four version characters, `-`, twelve random URL-safe characters.
    pub fn generate(rng: &mut Rng) -> Self {
        const ALPHABET: &[u8] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
        let mut id = *b"-DP0100-............";
        for c in &mut id[8..] {
            *c = ALPHABET[rng.index(ALPHABET.len())];
        }
        PeerId(id)
    }

    /// The client's name as BEP 20 lets us read it, for display: `DP0100`, or dots when unknown.
    pub fn client(&self) -> String {
        let printable = |b: &[u8]| -> String {
            b.iter().map(|&c| if c.is_ascii_graphic() { c as char } else { '.' }).collect()
        };
        if self.0[0] == b'-' && self.0[7] == b'-' {
            printable(&self.0[1..7])
        } else {
            printable(&self.0[..6])
        }
    }
}

impl fmt::Debug for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.escape_ascii())
    }
}

/// One connection of one torrent. Slots are used again; the generation tells old from new.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerKey {
    /// Place in the torrent's table.
    pub slot: u32,
    /// How often that place has been taken before.
    pub generation: u32,
}

impl fmt::Display for PeerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.slot, self.generation)
    }
}
