//! One piece from slabs to its final place: hash, compare, write.
//!
//! In two steps, because hashing is where a batch of pieces can share the processor: first
//! [`hash_all`] for several side by side, then [`Verification::conclude`] for each. Nothing is written before the hash is right.

use super::storage::{Storage, runs, window};
use crate::{
    base::{
        hash::{Lanes, Sha1, Sha1Hash},
        index::{Block, PieceIndex},
        slab::Slab,
        units::BLOCK_LEN,
    },
    pieces::job::{DiskEvent, DiskFault, Held, Verdict},
};

/// Length of a buffer for parts of a piece that no slab has room for, in blocks.
const SCRATCH_BLOCKS: u32 = 4;

/// A piece on its way through the check.
#[derive(Debug)]
pub(super) struct Verification {
    piece: PieceIndex,
    slabs: Vec<Held>,
    digests: bool,
    found: Option<Result<Sha1Hash, DiskFault>>,
}

/// Hashes several pieces side by side.
pub(super) fn hash_all(work: &mut [(&Storage, &mut Verification)]) {
    let mut walks: Vec<Walk> = work.iter().map(|_| Walk::default()).collect();
    let mut running = vec![Sha1::new(); work.len()];
    loop {
        for ((storage, verification), walk) in work.iter_mut().zip(&mut walks) {
            if verification.found.is_none()
                && let Err(fault) = walk.step(storage, verification.piece, &mut verification.slabs)
            {
                verification.found = Some(Err(fault));
            }
        }
        let parts: Vec<&[u8]> = work
            .iter()
            .zip(&walks)
            .map(|((_, verification), walk)| walk.bytes(&verification.slabs))
            .collect();
        if parts.iter().all(|part| part.is_empty()) {
            break;
        }
        Lanes::widest().update(&mut running, &parts);
    }
    let hashes = Lanes::widest().finish(&mut running);
    for ((_, verification), hash) in work.iter_mut().zip(hashes) {
        verification.found.get_or_insert(Ok(hash));
    }
}

impl Verification {
    /// The check of `piece`, of which `slabs` hold parts, ascending; `digests` of blocks are wanted
    /// even if it is good.
    pub(super) const fn new(piece: PieceIndex, slabs: Vec<Held>, digests: bool) -> Self {
        Verification { piece, slabs, digests, found: None }
    }

    /// Compares, and writes what the slabs held if the hash is right. [`hash_all`] comes first.
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
    let mut walk = Walk::default();
    loop {
        walk.step(storage, piece, slabs)?;
        if walk.length == 0 {
            return Ok(());
        }
        visit(walk.slab(slabs).expect("a step that is not empty is somewhere"), walk.length);
    }
}

/// A walk through one piece: where its bytes are, part after part.
#[derive(Debug, Default)]
struct Walk {
    /// Where the part that comes next begins.
    next: u32,
    /// Slabs passed.
    passed: usize,
    /// Whether this part is in the last slab passed; else it is in `scratch`.
    held: bool,
    /// Length of this part; 0 at the end.
    length: u32,
    /// Where parts go that no slab has room for, one after the other.
    scratch: Option<Slab>,
}

impl Walk {
    /// Goes on to the next part of `piece`, of which `slabs` hold some, ascending. What the slabs do
    /// not hold is read from the files: into the slabs where they have room for it.
    fn step(
        &mut self,
        storage: &Storage,
        piece: PieceIndex,
        slabs: &mut [Held],
    ) -> Result<(), DiskFault> {
        let piece_len = storage.info().geometry().piece_len(piece);
        // Nothing, should it fail.
        self.length = 0;
        let begin = self.next;
        let ahead = slabs.get_mut(self.passed);
        let gap_end = ahead.as_ref().map_or(piece_len, |held| held.begin);
        self.held = begin == gap_end;
        if !self.held {
            let slab = self.scratch.get_or_insert_with(|| Slab::zeroed(SCRATCH_BLOCKS));
            let length = slab.capacity().min(gap_end - begin);
            let bytes = slab.bytes_mut().expect("made of bytes");
            storage.read_run(Block { piece, begin, length }, &mut bytes[..length as usize])?;
            self.length = length;
        } else if let Some(held) = ahead {
            self.passed += 1;
            let length = window(held, piece_len);
            fill(storage, piece, held, length)?;
            self.length = length;
        }
        self.next += self.length;
        Ok(())
    }

    /// Where this part is, from its start on.
    fn slab<'a>(&'a self, slabs: &'a [Held]) -> Option<&'a Slab> {
        if self.held {
            Some(&slabs.get(self.passed.checked_sub(1)?)?.slab)
        } else {
            self.scratch.as_ref()
        }
    }

    /// The bytes of this part; none at the end.
    fn bytes<'a>(&'a self, slabs: &'a [Held]) -> &'a [u8] {
        let bytes = self.slab(slabs).and_then(Slab::bytes);
        bytes.map_or(&[], |bytes| &bytes[..self.length as usize])
    }
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
