//! One piece from slabs to its final place: hash, compare, write.
//!
//! In two steps, because hashing is where a batch of pieces can share the processor: first
//! [`hash_all`] for several side by side, then [`Hashing::conclude`] for each. A whole piece is written
//! only once its hash is right. A long one comes slab by slab, each hashed as it is written, so that
//! nothing of it is read again; how far that has come is kept in [`Prefixes`].

use std::{collections::HashMap, sync::Mutex};

use super::storage::{Storage, runs, window};
use crate::{
    base::{
        hash::{Lanes, Sha1},
        index::{Block, PieceIndex},
        slab::Slab,
        units::BLOCK_LEN,
    },
    pieces::job::{DiskEvent, DiskFault, Held, Verdict},
};

/// Length of a buffer for parts of a piece that no slab has room for, in blocks.
const SCRATCH_BLOCKS: u32 = 4;

/// How far unfinished pieces are hashed: what was written of them early, from their start on.
#[derive(Debug, Default)]
pub(super) struct Prefixes(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    pieces: HashMap<PieceIndex, Prefix>,
    /// How often all were cleared.
    cleared: u64,
}

/// So many bytes from the start of a piece, hashed and written.
#[derive(Debug, Clone, Default)]
struct Prefix {
    sha1: Sha1,
    length: u32,
    /// How often all had been cleared when it was taken.
    cleared: u64,
}

impl Prefixes {
    fn take(&self, piece: PieceIndex) -> Prefix {
        let mut kept = self.0.lock().expect(LOCK);
        let prefix = kept.pieces.remove(&piece).unwrap_or_default();
        Prefix { cleared: kept.cleared, ..prefix }
    }

    /// Keeps `prefix`, unless all were cleared since it was taken.
    fn put(&self, piece: PieceIndex, prefix: Prefix) {
        let mut kept = self.0.lock().expect(LOCK);
        if prefix.length > 0 && prefix.cleared == kept.cleared {
            kept.pieces.insert(piece, prefix);
        }
    }

    /// The files may not hold any more what was written: it is read again.
    pub(super) fn clear(&self) {
        let mut kept = self.0.lock().expect(LOCK);
        kept.pieces.clear();
        kept.cleared += 1;
    }
}

const LOCK: &str = "nothing panics while prefixes are locked";

/// What is hashed of a piece now, and what for.
#[derive(Debug)]
pub(super) struct Hashing {
    piece: PieceIndex,
    slabs: Vec<Held>,
    walk: Walk,
    sha1: Sha1,
    fault: Option<DiskFault>,
    aim: Aim,
}

#[derive(Debug, Clone, Copy)]
enum Aim {
    /// The rest of the piece, for a verdict; `digests` of blocks are wanted even if it is good.
    Verdict { digests: bool },
    /// A slab that is written early; how often prefixes had been cleared when it was begun.
    Early { cleared: u64 },
}

/// Hashes several parts of pieces side by side.
pub(super) fn hash_all(work: &mut [(&Storage, &mut Hashing)]) {
    let mut running: Vec<Sha1> =
        work.iter_mut().map(|(_, hashing)| std::mem::take(&mut hashing.sha1)).collect();
    loop {
        for (storage, hashing) in work.iter_mut() {
            let Hashing { piece, slabs, walk, fault, .. } = &mut **hashing;
            if fault.is_none() {
                *fault = walk.step(storage, *piece, slabs).err();
            }
        }
        let parts: Vec<&[u8]> =
            work.iter().map(|(_, hashing)| hashing.walk.bytes(&hashing.slabs)).collect();
        if parts.iter().all(|part| part.is_empty()) {
            break;
        }
        Lanes::widest().update(&mut running, &parts);
    }
    for ((_, hashing), sha1) in work.iter_mut().zip(running) {
        hashing.sha1 = sha1;
    }
}

/// What is not stored is read as zeros ever after (BEP 47): what came in its place is not to be believed.
fn without_padding(storage: &Storage, piece: PieceIndex, mut held: Held) -> Held {
    let geometry = storage.info().geometry();
    let length = window(&held, geometry.piece_len(piece));
    let offset = geometry.piece_offset(piece) + u64::from(held.begin);
    let mut at = 0;
    for span in storage.info().layout().spans(offset, length.into()) {
        let end = at + span.length as usize;
        if !storage.is_stored(span.file)
            && let Some(bytes) = held.slab.bytes_mut()
        {
            bytes[at..end].fill(0);
        }
        at = end;
    }
    held
}

impl Hashing {
    /// The check of `piece`, of which `slabs` hold parts, ascending; `digests` of blocks are wanted
    /// even if it is good.
    pub(super) fn check(
        storage: &Storage,
        piece: PieceIndex,
        slabs: Vec<Held>,
        digests: bool,
    ) -> Self {
        let slabs =
            slabs.into_iter().map(|held| without_padding(storage, piece, held)).collect::<Vec<_>>();
        let prefix = storage.prefixes().take(piece);
        let is_behind = slabs.first().is_none_or(|held| held.begin >= prefix.length);
        let Prefix { sha1, length, .. } = if is_behind { prefix } else { Prefix::default() };
        let walk = Walk::new(length, storage.info().geometry().piece_len(piece));
        Hashing { piece, slabs, walk, sha1, fault: None, aim: Aim::Verdict { digests } }
    }

    /// A slab that is written early, if everything before it in the piece is hashed; else it is given
    /// back, to be written only.
    pub(super) fn early(storage: &Storage, piece: PieceIndex, held: Held) -> Result<Self, Held> {
        let piece_len = storage.info().geometry().piece_len(piece);
        let end = held.begin + window(&held, piece_len);
        let is_full = runs(held.filled, end - held.begin).all(|run| run.filled);
        let prefix = storage.prefixes().take(piece);
        if held.begin != prefix.length || !is_full {
            // What is hashed already and comes again is not what is hashed.
            if held.begin >= prefix.length {
                storage.prefixes().put(piece, prefix);
            }
            return Err(held);
        }
        let held = without_padding(storage, piece, held);
        let walk = Walk::new(held.begin, end);
        let Prefix { sha1, cleared, .. } = prefix;
        let aim = Aim::Early { cleared };
        Ok(Hashing { piece, slabs: vec![held], walk, sha1, fault: None, aim })
    }

    /// Compares, and writes what the slabs held if the hash is right; or only writes, if it is a part
    /// of the piece. [`hash_all`] comes first.
    pub(super) fn conclude(mut self, storage: &Storage) -> DiskEvent {
        let piece = self.piece;
        match self.aim {
            Aim::Verdict { digests } => {
                let (verdict, digests) = self
                    .judge(storage, digests)
                    .unwrap_or_else(|fault| (Verdict::Failed(fault), Vec::new()));
                let slabs = self.slabs.into_iter().map(|held| held.slab).collect();
                DiskEvent::Verified { piece, slabs, verdict, digests }
            }
            Aim::Early { cleared } => {
                let held = self.slabs.pop().expect("an early write has a slab");
                let result = storage.write_held(piece, &held);
                if result.is_ok() {
                    let (sha1, length) = (self.sha1, self.walk.end);
                    storage.prefixes().put(piece, Prefix { sha1, length, cleared });
                }
                DiskEvent::Spilled { piece, held, result }
            }
        }
    }

    fn judge(
        &mut self,
        storage: &Storage,
        want_digests: bool,
    ) -> Result<(Verdict, Vec<u64>), DiskFault> {
        if let Some(fault) = self.fault.take() {
            return Err(fault);
        }
        let good = std::mem::take(&mut self.sha1).finish() == storage.info().piece_hash(self.piece);
        let mut digests = Vec::new();
        if !good || want_digests {
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
    let mut walk = Walk::new(0, storage.info().geometry().piece_len(piece));
    loop {
        walk.step(storage, piece, slabs)?;
        if walk.length == 0 {
            return Ok(());
        }
        visit(walk.slab(slabs).expect("a step that is not empty is somewhere"), walk.length);
    }
}

/// A walk through one piece, or some of it: where its bytes are, part after part.
#[derive(Debug)]
struct Walk {
    /// Where the part that comes next begins.
    next: u32,
    /// Where the last one ends.
    end: u32,
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
    /// From here to there.
    const fn new(next: u32, end: u32) -> Self {
        Walk { next, end, passed: 0, held: false, length: 0, scratch: None }
    }

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
        let gap_end = ahead.as_ref().map_or(self.end, |held| held.begin);
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        disk::{
            perform_batch,
            sample::{Sample, sample, verdict},
        },
        pieces::job::DiskJob,
    };

    /// Two pieces of three slabs each.
    fn long() -> (Sample, Arc<Storage>) {
        let s = sample(600_000, &[("a", 1_200_000)]);
        let storage = Arc::new(Storage::in_memory(Arc::clone(&s.info)));
        (s, storage)
    }

    fn early(piece: u32, held: Held) -> DiskJob {
        DiskJob::Spill { piece: PieceIndex(piece), held }
    }

    fn check(storage: &Storage, piece: u32, slabs: Vec<Held>) -> Verdict {
        verdict(storage.perform(DiskJob::Verify {
            piece: PieceIndex(piece),
            slabs,
            digests: false,
        }))
    }

    /// How much of each piece is hashed.
    fn hashed(storage: &Storage) -> [u32; 2] {
        let prefixes = storage.prefixes().0.lock().expect(LOCK);
        [0, 1]
            .map(|piece| prefixes.pieces.get(&PieceIndex(piece)).map_or(0, |prefix| prefix.length))
    }

    #[test]
    fn what_is_written_early_in_order_is_hashed_on_the_way() {
        let (s, storage) = long();
        let pieces = [0, 1].map(|piece| s.held(PieceIndex(piece), u64::MAX).into_iter());
        let [mut first, mut second] = pieces;
        let batch = |a: Held, b: Held| {
            let jobs =
                vec![(Arc::clone(&storage), early(0, a)), (Arc::clone(&storage), early(1, b))];
            perform_batch(jobs)
        };
        let mut next = || (first.next().expect("three"), second.next().expect("three"));
        let (a, b) = next();
        batch(a, b);
        assert_eq!(hashed(&storage), [262_144, 262_144]);
        let (a, b) = next();
        batch(a, b);
        assert_eq!(hashed(&storage), [524_288, 524_288]);
        // The last slab of one comes with the check, that of the other is written too.
        let (a, b) = next();
        storage.perform(early(1, b));
        assert_eq!(check(&storage, 0, vec![a]), Verdict::Good);
        assert_eq!(check(&storage, 1, vec![]), Verdict::Good);
        assert_eq!(hashed(&storage), [0, 0]);
    }

    #[test]
    fn what_is_not_in_order_or_not_whole_is_read_again() {
        let (s, storage) = long();
        let [a, b, c] = s.held(PieceIndex(0), u64::MAX).try_into().expect("three");
        storage.perform(early(0, b));
        assert_eq!(hashed(&storage)[0], 0);
        storage.perform(early(0, a));
        assert_eq!(hashed(&storage)[0], 262_144);
        assert_eq!(check(&storage, 0, vec![c]), Verdict::Good);
        let [a, mut b, c] = s.held(PieceIndex(1), u64::MAX).try_into().expect("three");
        storage.perform(early(1, a));
        b.filled &= !1;
        storage.perform(early(1, b));
        storage.perform(early(1, c));
        assert_eq!(hashed(&storage)[1], 262_144);
        let first = s.held(PieceIndex(1), 1 << 16).swap_remove(1);
        assert_eq!(check(&storage, 1, vec![first]), Verdict::Good);
    }

    #[test]
    fn what_comes_again_counts_and_not_what_was_hashed_before() {
        let (s, storage) = long();
        let [a, b, c] = s.held(PieceIndex(0), u64::MAX).try_into().expect("three");
        let wrong = Held { begin: 0, filled: a.filled, slab: Slab::zeroed(16) };
        storage.perform(early(0, wrong));
        storage.perform(early(0, b));
        assert_eq!(hashed(&storage)[0], 524_288);
        storage.perform(early(0, a));
        assert_eq!(hashed(&storage)[0], 0);
        assert_eq!(check(&storage, 0, vec![c]), Verdict::Good);
        // Wrong bytes make the piece bad, and its blocks are told apart.
        let [a, b, c] = s.held(PieceIndex(1), u64::MAX).try_into().expect("three");
        let wrong = Held { begin: 0, filled: a.filled, slab: Slab::zeroed(16) };
        storage.perform(early(1, wrong));
        storage.perform(early(1, b));
        let job = DiskJob::Verify { piece: PieceIndex(1), slabs: vec![c], digests: false };
        let event = storage.perform(job);
        let DiskEvent::Verified { verdict: Verdict::Bad, digests, .. } = event else {
            panic!("{event:?}")
        };
        assert_eq!(digests.len(), 37);
        assert_eq!(digests[0], Slab::zeroed(1).digest(0, BLOCK_LEN));
        // Once files were closed, what was hashed is not trusted, nor what was being hashed then.
        let begun = Hashing::early(&storage, PieceIndex(0), a).expect("it is the first");
        storage.close_files();
        begun.conclude(&storage);
        assert_eq!(hashed(&storage), [0, 0]);
        storage.perform(early(0, s.held(PieceIndex(0), u64::MAX).swap_remove(0)));
        assert_eq!(hashed(&storage), [262_144, 0]);
        storage.close_files();
        assert_eq!(hashed(&storage), [0, 0]);
    }
}
