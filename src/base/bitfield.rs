//! A set of pieces in network bit order: the high bit of the first byte is piece 0 (BEP 3).
//!
//! Invariant: the number of ones is counted, and the spare bits of the last byte are zero.

use super::index::PieceIndex;

/// Which pieces, of a known number, are in the set.
#[derive(Clone, PartialEq, Eq)]
pub struct Bitfield {
    bytes: Box<[u8]>,
    len: u32,
    ones: u32,
}

impl Bitfield {
    /// The empty set of `len` possible pieces.
    pub fn empty(len: u32) -> Self {
        Bitfield { bytes: vec![0; len.div_ceil(8) as usize].into(), len, ones: 0 }
    }

    /// The full set of `len` pieces.
    pub fn full(len: u32) -> Self {
        let mut bytes = vec![0xff; len.div_ceil(8) as usize];
        if let Some(last) = bytes.last_mut()
            && !len.is_multiple_of(8)
        {
            *last = 0xff << (8 - len % 8);
        }
        Bitfield { bytes: bytes.into(), len, ones: len }
    }

    /// The set in a `bitfield` message: `None` if its size is wrong or a spare bit is set.
    pub fn from_wire(bytes: &[u8], len: u32) -> Option<Self> {
        if bytes.len() != len.div_ceil(8) as usize {
            return None;
        }
        if let Some(last) = bytes.last()
            && !len.is_multiple_of(8)
            && last & (0xff >> (len % 8)) != 0
        {
            return None;
        }
        let ones = bytes.iter().map(|b| b.count_ones()).sum();
        Some(Bitfield { bytes: bytes.into(), len, ones })
    }

    /// The bytes of a `bitfield` message.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Number of possible pieces.
    pub const fn len(&self) -> u32 {
        self.len
    }

    /// Number of pieces in the set.
    pub const fn count(&self) -> u32 {
        self.ones
    }

    /// No piece is in the set.
    pub const fn is_empty(&self) -> bool {
        self.ones == 0
    }

    /// Every piece is in the set.
    pub const fn is_full(&self) -> bool {
        self.ones == self.len
    }

    /// Whether `piece` is in the set; a piece out of range is not.
    pub fn has(&self, piece: PieceIndex) -> bool {
        self.bytes.get(piece.at() / 8).is_some_and(|b| b & bit(piece) != 0)
    }

    /// Adds `piece`; true if it was not there. A piece out of range is ignored.
    pub fn insert(&mut self, piece: PieceIndex) -> bool {
        if piece.0 >= self.len || self.has(piece) {
            return false;
        }
        self.bytes[piece.at() / 8] |= bit(piece);
        self.ones += 1;
        true
    }

    /// Takes `piece` out; true if it was there.
    pub fn remove(&mut self, piece: PieceIndex) -> bool {
        if !self.has(piece) {
            return false;
        }
        self.bytes[piece.at() / 8] &= !bit(piece);
        self.ones -= 1;
        true
    }

    /// The pieces in the set, ascending.
    pub fn iter(&self) -> impl Iterator<Item = PieceIndex> + '_ {
        self.bytes.iter().enumerate().flat_map(|(i, &byte)| {
            let mut rest = byte;
            std::iter::from_fn(move || {
                let lead = rest.leading_zeros();
                (lead < 8).then(|| {
                    rest &= !(0x80 >> lead);
                    PieceIndex(i as u32 * 8 + lead)
                })
            })
        })
    }

    /// The pieces from `from` on that are in the set, and in `other` if that is given, ascending. Eight
    /// bytes at a time, for sets of millions. Both have the same length.
    pub fn common<'a>(
        &'a self,
        other: Option<&'a Bitfield>,
        from: PieceIndex,
    ) -> impl Iterator<Item = PieceIndex> + 'a {
        let first = from.0 / WORD;
        (first..self.len.div_ceil(WORD)).flat_map(move |n| {
            let mut rest = self.word(n) & other.map_or(u64::MAX, |other| other.word(n));
            if n == first {
                rest &= u64::MAX >> (from.0 % WORD);
            }
            std::iter::from_fn(move || {
                let lead = rest.leading_zeros();
                (lead < WORD).then(|| {
                    rest &= !(1 << (WORD - 1 - lead));
                    PieceIndex(n * WORD + lead)
                })
            })
        })
    }

    /// The pieces that are not in the set.
    pub fn complement(&self) -> Bitfield {
        let mut rest = Bitfield::full(self.len);
        rest.bytes.iter_mut().zip(&self.bytes).for_each(|(rest, mine)| *rest &= !mine);
        rest.ones -= self.ones;
        rest
    }

    /// How many pieces of `among` are not in the set. Both have the same length.
    pub fn count_lacking(&self, among: &Bitfield) -> u32 {
        let words = 0..self.len.div_ceil(WORD);
        words.map(|n| (among.word(n) & !self.word(n)).count_ones()).sum()
    }

    /// The `n`-th 64 bits, the first piece in the highest; zeros beyond the end.
    fn word(&self, n: u32) -> u64 {
        let rest = self.bytes.get(n as usize * 8..).unwrap_or_default();
        match rest.first_chunk() {
            Some(bytes) => u64::from_be_bytes(*bytes),
            None => {
                let mut bytes = [0; 8];
                bytes[..rest.len()].copy_from_slice(rest);
                u64::from_be_bytes(bytes)
            }
        }
    }

    /// Whether the set holds a piece that `other` lacks. Both have the same length.
    pub fn has_beyond(&self, other: &Bitfield) -> bool {
        debug_assert_eq!(self.len, other.len);
        self.ones > other.ones
            || self.bytes.iter().zip(&other.bytes).any(|(mine, theirs)| mine & !theirs != 0)
    }
}

/// Bits looked at together.
const WORD: u32 = u64::BITS;

const fn bit(piece: PieceIndex) -> u8 {
    0x80 >> (piece.0 % 8)
}

impl std::fmt::Debug for Bitfield {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Bitfield({}/{})", self.ones, self.len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn spare_bits_are_refused() {
        assert!(Bitfield::from_wire(&[0b1111_1000], 5).is_some());
        assert!(Bitfield::from_wire(&[0b1111_1100], 5).is_none());
        assert!(Bitfield::from_wire(&[0, 0], 8).is_none());
        assert!(Bitfield::from_wire(&[], 0).is_some_and(|b| b.is_full() && b.is_empty()));
    }

    fn bits_of(len: u32, is_in: impl Fn(u32) -> bool) -> Bitfield {
        let mut bits = Bitfield::empty(len);
        (0..len).filter(|&i| is_in(i)).for_each(|i| {
            bits.insert(PieceIndex(i));
        });
        bits
    }

    proptest! {
        #[test]
        fn behaves_like_a_set(len in 0u32..200, ops in prop::collection::vec((any::<bool>(), 0u32..220), 0..300)) {
            let (mut bits, mut set) = (Bitfield::empty(len), BTreeSet::new());
            for (add, i) in ops {
                let piece = PieceIndex(i);
                let changed = if add { i < len && set.insert(piece) } else { set.remove(&piece) };
                prop_assert_eq!(if add { bits.insert(piece) } else { bits.remove(piece) }, changed);
            }
            prop_assert_eq!(bits.count() as usize, set.len());
            prop_assert!(bits.iter().eq(set.iter().copied()));
            prop_assert_eq!(Bitfield::from_wire(bits.as_bytes(), len), Some(bits.clone()));
            let full = Bitfield::full(len);
            prop_assert_eq!(full.has_beyond(&bits), !bits.is_full());
            prop_assert!(!bits.has_beyond(&full));
            prop_assert_eq!(bits.count_lacking(&full), len - bits.count());
            let from = len / 3;
            let rest = bits.complement();
            prop_assert!(rest.iter().eq(full.iter().filter(|piece| !set.contains(piece))));
            prop_assert_eq!(rest.count(), len - bits.count());
            let all = bits.common(None, PieceIndex(from));
            prop_assert!(all.eq(set.iter().copied().filter(|piece| piece.0 >= from)));
            let odd = bits_of(len, |i| i % 2 == 1);
            let common = bits.common(Some(&odd), PieceIndex(0));
            prop_assert!(common.eq(set.iter().copied().filter(|piece| piece.0 % 2 == 1)));
        }
    }
}
