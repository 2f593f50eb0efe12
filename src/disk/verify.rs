//! One piece from slabs to its final place: hash, compare, write.
//!
//! In two steps, because hashing is where a batch of pieces can share the processor: first
//! [`Verification::hash`], for one piece or for several side by side, then
//! [`Verification::conclude`] for each. Nothing is written before the hash is right.

use std::{cell::RefCell, ops::Range};

use super::storage::{Storage, runs, window};
use crate::{
    base::{
        hash::{Sha1, Sha1Hash},
        index::{Block, PieceIndex},
        slab::{SLAB_LEN, Slab},
        units::BLOCK_LEN,
    },
    pieces::job::{DiskEvent, DiskFault, Held, Verdict},
};

thread_local! {
    /// Where parts of a piece go that no slab has room for, one after the other.
    static SCRATCH: RefCell<Slab> = RefCell::new(Slab::zeroed(SLAB_LEN / BLOCK_LEN));
}

/// A piece on its way through the check.
#[derive(Debug)]
pub(super) struct Verification {
    piece: PieceIndex,
    slabs: Vec<Held>,
    digests: bool,
    found: Option<Result<Sha1Hash, DiskFault>>,
}

impl Verification {
    /// The check of `piece`, of which `slabs` hold parts, ascending; `digests` of blocks are wanted
    /// even if it is good.
    pub(super) const fn new(piece: PieceIndex, slabs: Vec<Held>, digests: bool) -> Self {
        Verification { piece, slabs, digests, found: None }
    }

    /// Hashes the piece. What the slabs do not hold is read from the files: into the slabs where
    /// they have room for it.
    pub(super) fn hash(&mut self, storage: &Storage) {
        let mut sha1 = Sha1::new();
        let result = walk(storage, self.piece, &mut self.slabs, |slab, length| {
            let bytes = slab.bytes().expect("a session's slabs hold bytes");
            sha1.update(&bytes[..length as usize]);
        });
        self.found = Some(result.map(|()| sha1.finish()));
    }

    /// Compares, and writes what the slabs held if the hash is right.
    pub(super) fn conclude(mut self, storage: &Storage) -> DiskEvent {
        let (verdict, digests) =
            self.judge(storage).unwrap_or_else(|fault| (Verdict::Failed(fault), Vec::new()));
        let slabs = self.slabs.into_iter().map(|held| held.slab).collect();
        DiskEvent::Verified { piece: self.piece, slabs, verdict, digests }
    }

    fn judge(&mut self, storage: &Storage) -> Result<(Verdict, Vec<u64>), DiskFault> {
        let hash = self.found.take().expect("hashed before it is concluded")?;
        let good = hash == storage.info().piece_hash(self.piece);
        let mut digests = Vec::new();
        if !good || self.digests {
            walk(storage, self.piece, &mut self.slabs, |slab, length| {
                let starts = (0..length).step_by(BLOCK_LEN as usize);
                digests.extend(starts.map(|at| slab.digest(at, BLOCK_LEN.min(length - at))));
            })?;
        }
        if !good {
            return Ok((Verdict::Bad, digests));
        }
        for held in &self.slabs {
            storage.write_held(self.piece, held)?;
        }
        Ok((Verdict::Good, digests))
    }
}

/// Fills `into` with `run` and hashes all of its piece on the way: whether that is right.
pub(super) fn read_verified(
    storage: &Storage,
    run: Block,
    into: &mut [u8],
) -> Result<bool, DiskFault> {
    let mut sha1 = Sha1::new();
    let mut at = 0;
    walk(storage, run.piece, &mut [], |slab, length| {
        let bytes = &slab.bytes().expect("made of bytes")[..length as usize];
        sha1.update(bytes);
        let (from, to) = (run.begin.max(at), run.end().min(at + length));
        if from < to {
            let part = &bytes[(from - at) as usize..(to - at) as usize];
            into[(from - run.begin) as usize..(to - run.begin) as usize].copy_from_slice(part);
        }
        at += length;
    })?;
    Ok(sha1.finish() == storage.info().piece_hash(run.piece))
}

/// Shows `visit` all bytes of `piece` in order: the first `length` bytes of slab after slab, each
/// but the last a whole number of blocks.
fn walk(
    storage: &Storage,
    piece: PieceIndex,
    slabs: &mut [Held],
    mut visit: impl FnMut(&Slab, u32),
) -> Result<(), DiskFault> {
    let piece_len = storage.info().geometry().piece_len(piece);
    let mut at = 0;
    for held in slabs {
        from_files(storage, piece, at..held.begin, &mut visit)?;
        let length = window(held, piece_len);
        fill(storage, piece, held, length)?;
        visit(&held.slab, length);
        at = held.begin + length;
    }
    from_files(storage, piece, at..piece_len, &mut visit)
}

/// Reads the blocks that `held` lacks into their places.
fn fill(
    storage: &Storage,
    piece: PieceIndex,
    held: &mut Held,
    length: u32,
) -> Result<(), DiskFault> {
    for run in runs(held.filled, length).filter(|run| !run.filled) {
        let block = Block { piece, begin: held.begin + run.start, length: run.end - run.start };
        let bytes = held.slab.bytes_mut().expect("a session's slabs hold bytes");
        storage.read_run(block, &mut bytes[run.start as usize..run.end as usize])?;
    }
    Ok(())
}

/// Shows `visit` a part of `piece` that no slab has room for.
fn from_files(
    storage: &Storage,
    piece: PieceIndex,
    part: Range<u32>,
    mut visit: impl FnMut(&Slab, u32),
) -> Result<(), DiskFault> {
    if part.is_empty() {
        return Ok(());
    }
    SCRATCH.with_borrow_mut(|slab| {
        for begin in part.clone().step_by(SLAB_LEN as usize) {
            let length = SLAB_LEN.min(part.end - begin);
            let bytes = slab.bytes_mut().expect("made of bytes");
            storage.read_run(Block { piece, begin, length }, &mut bytes[..length as usize])?;
            visit(slab, length);
        }
        Ok(())
    })
}
