//! What one peer has: a flag for a seed, a bitfield for the others, nothing for a newcomer.

use crate::base::{bitfield::Bitfield, index::PieceIndex};

/// The pieces of one peer. A seed costs no bitfield.
#[derive(Debug)]
pub struct PeerPieces {
    len: u32,
    set: Set,
}

#[derive(Debug)]
enum Set {
    None,
    Some(Bitfield),
    All,
}

impl PeerPieces {
    /// Nothing yet, of `len` pieces.
    pub const fn none(len: u32) -> Self {
        PeerPieces { len, set: Set::None }
    }

    /// Bytes of memory.
    pub fn held(&self) -> usize {
        match &self.set {
            Set::Some(bits) => bits.as_bytes().len(),
            Set::None | Set::All => 0,
        }
    }

    /// Everything.
    pub fn set_all(&mut self) {
        self.set = Set::All;
    }

    /// What a `bitfield` message says.
    pub fn set_bits(&mut self, bits: Bitfield) {
        self.set = if bits.is_full() {
            Set::All
        } else if bits.is_empty() {
            Set::None
        } else {
            Set::Some(bits)
        };
    }

    /// Adds one piece; true if it was new.
    pub fn insert(&mut self, piece: PieceIndex) -> bool {
        match &mut self.set {
            Set::All => false,
            Set::Some(bits) => bits.insert(piece),
            Set::None => {
                let mut bits = Bitfield::empty(self.len);
                let new = bits.insert(piece);
                self.set = Set::Some(bits);
                new
            }
        }
    }

    /// Takes one piece out (`lt_donthave`, or a rejected request for it); true if it was there.
    pub fn remove(&mut self, piece: PieceIndex) -> bool {
        if matches!(self.set, Set::All) {
            self.set = Set::Some(Bitfield::full(self.len));
        }
        match &mut self.set {
            Set::Some(bits) => bits.remove(piece),
            _ => false,
        }
    }

    /// Whether the peer has `piece`.
    pub fn has(&self, piece: PieceIndex) -> bool {
        match &self.set {
            Set::All => piece.0 < self.len,
            Set::Some(bits) => bits.has(piece),
            Set::None => false,
        }
    }

    /// How many it has.
    pub const fn count(&self) -> u32 {
        match &self.set {
            Set::All => self.len,
            Set::Some(bits) => bits.count(),
            Set::None => 0,
        }
    }

    /// Whether it has been marked as having everything.
    pub const fn is_all(&self) -> bool {
        matches!(self.set, Set::All)
    }

    /// The bitfield, unless it is empty or full.
    pub const fn bits(&self) -> Option<&Bitfield> {
        match &self.set {
            Set::Some(bits) => Some(bits),
            _ => None,
        }
    }

    /// A bitfield with every bit becomes the flag; gives the bitfield back if so.
    pub fn compact(&mut self) -> Option<Bitfield> {
        if !matches!(&self.set, Set::Some(bits) if bits.is_full()) {
            return None;
        }
        match std::mem::replace(&mut self.set, Set::All) {
            Set::Some(bits) => Some(bits),
            _ => None,
        }
    }
}
