//! Typed indices. A number from the wire becomes one only through [`Geometry`](super::geometry).

use std::fmt;

macro_rules! index {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub u32);

        impl $name {
            /// The index as a position in a slice.
            pub const fn at(self) -> usize {
                self.0 as usize
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

index!(
    /// Which piece of the torrent, from 0.
    PieceIndex
);
index!(
    /// Which file of the torrent, from 0, in the order of the metainfo (padding files count).
    FileIndex
);

/// A run of bytes inside one piece: what a `request`, `piece` or `cancel` message names.
///
/// Made by [`Geometry`](super::geometry::Geometry), so it always lies inside its piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Block {
    /// The piece.
    pub piece: PieceIndex,
    /// First byte, counted from the start of the piece.
    pub begin: u32,
    /// Number of bytes, at least 1.
    pub length: u32,
}

impl Block {
    /// The byte after the last, counted from the start of the piece.
    pub const fn end(self) -> u32 {
        self.begin + self.length
    }
}

/// Blocks of an unfinished piece that lie in the files and were never verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartialPiece {
    /// The piece.
    pub piece: PieceIndex,
    /// Numbers of the blocks (16 KiB each, counted from the start of the piece), ascending.
    pub blocks: Vec<u32>,
}
