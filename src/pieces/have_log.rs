//! The order in which pieces were verified; each peer reads it behind its own cursor.
//!
//! One list in place of a queue per peer: a new piece costs the same for one peer and for a thousand.

use crate::base::index::PieceIndex;

/// Pieces in the order they were verified since the torrent started.
#[derive(Debug, Default)]
pub struct HaveLog(Vec<PieceIndex>);

impl HaveLog {
    /// Where a reader begins that already knows of everything so far.
    pub fn end(&self) -> usize {
        self.0.len()
    }

    /// What was verified since `cursor`.
    pub fn since(&self, cursor: usize) -> &[PieceIndex] {
        self.0.get(cursor..).unwrap_or(&[])
    }

    pub(super) fn push(&mut self, piece: PieceIndex) {
        self.0.push(piece);
    }
}
