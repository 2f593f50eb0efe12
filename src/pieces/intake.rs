//! Blocks of open pieces on their way: asked for, arriving, here, with the disk or taken back.
//!
//! What a piece then becomes is decided in [`super`], which block is asked for in `picker`.

use crate::base::{
    id::PeerKey,
    index::{Block, PieceIndex},
    slab::{Chunk, Pool},
};

use super::{
    LONG_PIECE, Pieces, Sender, Stored,
    assembly::Open,
    job::{DiskJob, Held},
};

/// Of a piece above this length full slabs are written early in any order, so that memory does not grow with
/// the piece.
const EARLY_WRITE_ABOVE: u32 = 4 << 20;

impl Pieces {
    /// Gives up one request of `peer`: the block is free for others unless somebody else has it
    /// outstanding or it has arrived.
    pub fn release(&mut self, block: Block, peer: PeerKey) {
        let Some(open) = self.open_piece_mut(block.piece) else { return };
        let was_free = open.free() > 0;
        open.release(block, peer);
        if !was_free && open.free() > 0 {
            self.startable.push(block.piece);
        }
    }

    /// `peer` begins to send `block`: whether its payload should be kept.
    ///
    /// One that was `asked` for takes the place of the same block from another peer that is not done;
    /// an unasked one is kept if it is free and there is a place for it.
    pub fn begin_block(&mut self, block: Block, peer: PeerKey, asked: bool) -> bool {
        self.open_piece_mut(block.piece).is_some_and(|open| open.begin_block(block, peer, asked))
    }

    /// Payload of a block that [`Pieces::begin_block`] accepted; `at` counts from its start.
    /// False if the block came from elsewhere meanwhile.
    pub fn store(&mut self, block: Block, at: u32, chunk: Chunk<'_>, peer: PeerKey) -> bool {
        self.open_piece_mut(block.piece).is_some_and(|open| open.store(block, at, chunk, peer))
    }

    /// All payload of a block is here. Who else has it outstanding is put into `others`.
    /// `None` if it came from elsewhere meanwhile.
    pub fn end_block(
        &mut self,
        block: Block,
        sender: Sender,
        peer: PeerKey,
        others: &mut Vec<PeerKey>,
    ) -> Option<Stored> {
        let open = self.open_piece_mut(block.piece)?;
        let was_free = open.free() > 0;
        if !open.end_block(block, sender, peer, others) {
            return None;
        }
        let now_free = open.free() > 0;
        let complete = open.is_complete();
        if was_free && !now_free {
            self.startable.retain(|&p| p != block.piece);
        }
        Some(if complete { Stored::PieceComplete } else { Stored::Block })
    }

    /// A connection ended in the middle of a block, or the payload turned out unwanted.
    pub fn abort_block(&mut self, block: Block, peer: PeerKey) {
        if let Some(open) = self.open_piece_mut(block.piece) {
            open.abort_block(block, peer);
        }
    }

    /// The job that checks a complete piece. `None` while part of it is on its way to the disk; it
    /// is given after that by [`Pieces::spilled`].
    pub fn close(&mut self, piece: PieceIndex, digests: bool) -> Option<DiskJob> {
        let open = self.open_piece_mut(piece)?;
        let slabs = open.close()?;
        Some(DiskJob::Verify { piece, slabs, digests })
    }

    /// Complete pieces that [`Pieces::close`] was not called for.
    pub fn waiting_for_check(&self) -> Vec<PieceIndex> {
        let open = self.open.iter().flatten().filter(|open| open.waits_for_check());
        open.map(|open| open.piece()).collect()
    }

    /// Who sent the blocks of an open piece that are here, one by one.
    pub fn senders(&self, piece: PieceIndex) -> impl Iterator<Item = Sender> + '_ {
        self.open_piece(piece).into_iter().flat_map(Open::senders)
    }

    /// Whether the disk checks a piece of which `sender` sent a part.
    pub fn are_checked_of(&self, sender: Sender) -> bool {
        let mut checked = self.open.iter().flatten().filter(|open| open.is_verifying());
        checked.any(|open| open.senders().any(|s| s == sender))
    }

    /// Blocks in memory that came from one of whom `is_guilty` have to be asked for again.
    pub fn take_back(&mut self, is_guilty: impl Fn(Sender) -> bool) {
        for open in self.open.iter_mut().flatten() {
            let was_free = open.free() > 0;
            open.take_back(&is_guilty);
            if !was_free && open.free() > 0 {
                self.startable.push(open.piece());
            }
        }
    }

    /// A full slab to be written early, now that `block` is here, if its piece is long. There may be
    /// another behind it.
    pub fn early_write(&mut self, block: Block) -> Option<DiskJob> {
        let piece = block.piece;
        let length = self.geometry.piece_len(piece);
        if length <= LONG_PIECE {
            return None;
        }
        let open = self.open_piece_mut(piece)?;
        let held = open.take_next_window().or_else(|| {
            if length > EARLY_WRITE_ABOVE { open.take_window_of(block) } else { None }
        })?;
        Some(DiskJob::Spill { piece, held })
    }

    /// Memory is short: slabs of open pieces that nothing is outstanding for. Empty ones go back to
    /// `pool`, the others are to be written early.
    pub fn relieve(&mut self, pool: &mut Pool) -> Vec<DiskJob> {
        let mut jobs = Vec::new();
        for open in self.open.iter_mut().flatten() {
            while let Some(held) = open.take_quiet_window() {
                if held.filled == 0 {
                    pool.give(held.slab);
                } else {
                    jobs.push(DiskJob::Spill { piece: open.piece(), held });
                }
            }
        }
        jobs
    }

    /// An early write is done. Gives the check job if the piece was complete and waited for it.
    /// When it failed the blocks are missing again.
    pub fn spilled(
        &mut self,
        piece: PieceIndex,
        held: Held,
        written: bool,
        digests: bool,
        pool: &mut Pool,
    ) -> Option<DiskJob> {
        let (begin, filled) = (held.begin, held.filled);
        pool.give(held.slab);
        let open = self.open_piece_mut(piece)?;
        let was_free = open.free() > 0;
        open.spilled(begin, filled, written);
        if !was_free && open.free() > 0 {
            self.startable.push(piece);
        }
        let open = self.open_piece_mut(piece)?;
        if open.is_complete() { self.close(piece, digests) } else { None }
    }
}
