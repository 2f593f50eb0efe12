//! How a torrent's bytes divide into pieces and blocks; the only validator of wire indices.
//!
//! Holds three numbers and no data. File boundaries are in `metainfo`.

use super::{
    index::{Block, PieceIndex},
    units::BLOCK_LEN,
};

/// Lengths and counts of a torrent's pieces and blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Geometry {
    total: u64,
    piece_length: u32,
    pieces: u32,
}

impl Geometry {
    /// The geometry of `total` bytes in pieces of `piece_length`.
    ///
    /// `None` when the piece length is 0, or there would be more than `u32::MAX` pieces.
    pub fn new(total: u64, piece_length: u32) -> Option<Self> {
        if piece_length == 0 {
            return None;
        }
        let pieces = u32::try_from(total.div_ceil(u64::from(piece_length))).ok()?;
        Some(Geometry { total, piece_length, pieces })
    }

    /// Length of the whole content in bytes.
    pub const fn total(&self) -> u64 {
        self.total
    }

    /// Length of every piece but the last, in bytes.
    pub const fn piece_length(&self) -> u32 {
        self.piece_length
    }

    /// Number of pieces.
    pub const fn pieces(&self) -> u32 {
        self.pieces
    }

    /// All pieces in order.
    pub fn indices(
        &self,
    ) -> impl DoubleEndedIterator<Item = PieceIndex> + ExactSizeIterator + use<> {
        (0..self.pieces).map(PieceIndex)
    }

    /// A piece index from the wire, if the torrent has such a piece.
    pub const fn piece(&self, index: u32) -> Option<PieceIndex> {
        if index < self.pieces { Some(PieceIndex(index)) } else { None }
    }

    /// Length of `piece` in bytes: the last one may be shorter.
    pub const fn piece_len(&self, piece: PieceIndex) -> u32 {
        if piece.0 + 1 == self.pieces {
            (self.total - self.piece_offset(piece)) as u32
        } else {
            self.piece_length
        }
    }

    /// Where `piece` begins in the content.
    pub const fn piece_offset(&self, piece: PieceIndex) -> u64 {
        piece.0 as u64 * self.piece_length as u64
    }

    /// Number of blocks in `piece`.
    pub const fn blocks_in(&self, piece: PieceIndex) -> u32 {
        self.piece_len(piece).div_ceil(BLOCK_LEN)
    }

    /// The `index`-th block of `piece`, 16 KiB or the rest of the piece.
    pub const fn block_at(&self, piece: PieceIndex, index: u32) -> Block {
        let begin = index * BLOCK_LEN;
        let rest = self.piece_len(piece) - begin;
        Block { piece, begin, length: if rest < BLOCK_LEN { rest } else { BLOCK_LEN } }
    }

    /// A block we may have asked for: on the 16 KiB grid with exactly the length it must have.
    pub const fn own_block(&self, piece: u32, begin: u32, length: u32) -> Option<Block> {
        let Some(piece) = self.piece(piece) else { return None };
        if !begin.is_multiple_of(BLOCK_LEN) || begin >= self.piece_len(piece) {
            return None;
        }
        let block = self.block_at(piece, begin / BLOCK_LEN);
        if block.length == length { Some(block) } else { None }
    }

    /// A run of bytes a peer asks for: any place and length inside one piece, `length` not 0.
    pub const fn run(&self, piece: u32, begin: u32, length: u32) -> Option<Block> {
        let Some(piece) = self.piece(piece) else { return None };
        match begin.checked_add(length) {
            Some(end) if length > 0 && end <= self.piece_len(piece) => {
                Some(Block { piece, begin, length })
            }
            _ => None,
        }
    }

    /// Where `block` begins in the content.
    pub const fn offset(&self, block: Block) -> u64 {
        self.piece_offset(block.piece) + block.begin as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn empty_content_has_no_pieces() {
        let g = Geometry::new(0, 16384).expect("valid");
        assert_eq!(g.pieces(), 0);
        assert_eq!(g.piece(0), None);
    }

    #[test]
    fn refuses_zero_and_too_many() {
        assert!(Geometry::new(1, 0).is_none());
        assert!(Geometry::new(u64::MAX, 1).is_none());
    }

    proptest! {
        #[test]
        fn blocks_tile_every_piece(total in 1u64..5_000_000, piece_length in 1u32..300_000) {
            let g = Geometry::new(total, piece_length).expect("valid");
            let mut at = 0u64;
            for piece in g.indices() {
                prop_assert_eq!(g.piece_offset(piece), at);
                for i in 0..g.blocks_in(piece) {
                    let b = g.block_at(piece, i);
                    prop_assert_eq!(g.offset(b), at);
                    prop_assert!(b.length >= 1 && b.length <= BLOCK_LEN);
                    prop_assert_eq!(g.own_block(b.piece.0, b.begin, b.length), Some(b));
                    at += u64::from(b.length);
                }
            }
            prop_assert_eq!(at, total);
        }

        #[test]
        fn wire_numbers_never_leave_their_piece(
            total in 1u64..5_000_000, piece_length in 1u32..300_000,
            piece in any::<u32>(), begin in any::<u32>(), length in any::<u32>(),
        ) {
            let g = Geometry::new(total, piece_length).expect("valid");
            let piece = piece % (g.pieces() + 2);
            if let Some(b) = g.run(piece, begin % 400_000, length % 400_000) {
                prop_assert!(g.offset(b) + u64::from(b.length) <= total);
                prop_assert!(b.end() <= g.piece_len(b.piece));
            }
        }
    }
}
