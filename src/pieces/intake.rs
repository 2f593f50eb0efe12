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
    /// comes after that: see [`Pieces::spilled`].
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

    /// Blocks that came from one of whom `is_guilty` have to be asked for again.
    pub fn take_back(&mut self, is_guilty: impl Fn(Sender) -> bool) {
        let open = self.open.iter().flatten().map(|open| open.piece());
        for piece in open.collect::<Vec<_>>() {
            self.take_back_from(piece, &is_guilty);
        }
    }

    /// What is in the files of open pieces may be lost there: if one is bad, nobody has sent it so.
    pub fn blame_nobody(&mut self) {
        self.open.iter_mut().flatten().for_each(|open| open.forget_senders());
    }

    /// Whether nobody but `peer`, which is at `addr`, sent or is asked for any block of an open piece.
    pub fn is_only(&self, piece: PieceIndex, peer: PeerKey, addr: Sender) -> bool {
        self.open_piece(piece).is_none_or(|open| open.is_only(peer, addr))
    }

    /// Blocks of `piece` that came from one of whom `is_wrong` have to be asked for again.
    pub fn take_back_from(&mut self, piece: PieceIndex, is_wrong: impl Fn(Sender) -> bool) {
        let Some(open) = self.open_piece_mut(piece) else { return };
        let was_free = open.free() > 0;
        open.take_back(is_wrong);
        if !was_free && open.free() > 0 {
            self.startable.push(piece);
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

    /// An early write is done. When it failed the blocks are missing again. Whether the piece is complete and
    /// waits for its check.
    pub fn spilled(
        &mut self,
        piece: PieceIndex,
        held: Held,
        written: bool,
        pool: &mut Pool,
    ) -> bool {
        let (begin, filled) = (held.begin, held.filled);
        pool.give(held.slab);
        let Some(open) = self.open_piece_mut(piece) else { return false };
        let was_free = open.free() > 0;
        open.spilled(begin, filled, written);
        let waits = open.waits_for_check();
        if !was_free && open.free() > 0 {
            self.startable.push(piece);
        }
        waits
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        base::{bitfield::Bitfield, geometry::Geometry, rng::Rng, units::BLOCK_LEN},
        pieces::job::Verdict,
    };

    /// One piece of so many blocks that one has sent every second of.
    fn of_two(blocks: u32) -> (Pieces, Pool, [Sender; 2]) {
        let length = blocks * BLOCK_LEN;
        let geometry = Geometry::new(length.into(), length).expect("valid");
        let mut pieces = Pieces::new(geometry, Bitfield::empty(1), false, &mut Rng::new(1));
        let mut pool = Pool::phantom(64 << 20);
        let piece = PieceIndex(0);
        pieces.start(piece);
        let senders = [1, 2].map(|n| Sender::from(([10, 0, 0, n], 1)));
        let peer = PeerKey { slot: 0, generation: 0 };
        let open = pieces.open_piece_mut(piece).expect("it was started");
        assert!(open.ask(peer, blocks, false, &mut pool, &mut Vec::new()));
        pieces.startable.clear();
        for i in 0..blocks {
            let block = pieces.geometry().block_at(piece, i);
            assert!(pieces.begin_block(block, peer, true));
            pieces.end_block(block, senders[i as usize % 2], peer, &mut Vec::new());
        }
        (pieces, pool, senders)
    }

    fn free(pieces: &Pieces) -> Vec<u32> {
        let (geometry, piece) = (pieces.geometry(), PieceIndex(0));
        let is_free = |&i: &u32| pieces.wants(geometry.block_at(piece, i));
        (0..geometry.blocks_in(piece)).filter(is_free).collect()
    }

    #[test]
    fn blocks_in_memory_and_in_the_file_are_taken_back_but_none_on_its_way() {
        for written in [None, Some(false), Some(true)] {
            // Two slabs, of which the first is written early, or begins to be.
            let (mut pieces, mut pool, [honest, liar]) = of_two(32);
            let open = pieces.open_piece_mut(PieceIndex(0)).expect("open");
            let held = open.take_next_window().expect("it is full");
            assert_eq!(pieces.waiting_for_check(), [], "a part is with the disk");
            if written == Some(true) {
                assert!(pieces.spilled(PieceIndex(0), held, true, &mut pool), "it is complete");
                assert_eq!(pieces.waiting_for_check(), [PieceIndex(0)]);
            } else if written == Some(false) {
                assert!(!pieces.spilled(PieceIndex(0), held, false, &mut pool), "it is lost");
            }
            pieces.take_back(|sender| sender == liar);
            let odd = |i: &u32| i % 2 == 1;
            let want: Vec<u32> = match written {
                None => (16..32).filter(odd).collect(),
                Some(false) => (0..16).chain((16..32).filter(odd)).collect(),
                Some(true) => (0..32).filter(odd).collect(),
            };
            assert_eq!(free(&pieces), want);
            pieces.check_invariants();
            assert!(pieces.senders(PieceIndex(0)).any(|sender| sender == honest));
            assert_eq!(pieces.waiting_for_check(), []);
        }
    }

    /// It was, when requests that had timed out were answered after all: with the answer the request stayed.
    #[test]
    fn nobody_is_asked_for_what_it_is_sending_already() {
        let geometry = Geometry::new(u64::from(BLOCK_LEN), BLOCK_LEN).expect("valid");
        let mut pieces = Pieces::new(geometry, Bitfield::empty(1), false, &mut Rng::new(1));
        let (piece, mut pool) = (PieceIndex(0), Pool::phantom(1 << 20));
        let block = pieces.geometry().block_at(piece, 0);
        let [asked, late, other] = [0, 1, 2].map(|slot| PeerKey { slot, generation: 0 });
        pieces.start(piece);
        let open = pieces.open_piece_mut(piece).expect("it was started");
        assert!(open.ask(asked, 1, false, &mut pool, &mut Vec::new()));
        assert!(open.begin_block(block, late, false));
        assert_eq!((open.ask_again(late), open.ask_again(other)), (None, Some(0)));
        open.release(block, asked);
        open.release(block, other);
        let mut ask = |peer| {
            let mut out = Vec::new();
            assert!(open.ask(peer, 1, false, &mut pool, &mut out));
            out
        };
        assert_eq!((ask(late), ask(other)), (vec![], vec![0]));
    }

    #[test]
    fn what_the_disk_checks_is_not_taken_back() {
        let (mut pieces, _, [_, liar]) = of_two(16);
        assert_eq!(pieces.waiting_for_check(), [PieceIndex(0)]);
        assert!(pieces.close(PieceIndex(0), false).is_some());
        pieces.take_back(|sender| sender == liar);
        assert_eq!((free(&pieces), pieces.waiting_for_check()), (vec![], vec![]));
        pieces.verified(PieceIndex(0), &Verdict::Bad);
        assert_eq!(free(&pieces).len(), 16);
    }
}
