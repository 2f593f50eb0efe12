//! Reads pieces and hashes several side by side, on each of several threads: how `check` and
//! `session::create` get through a lot of data.
//!
//! A thread takes a batch of neighbouring pieces and reads a part of each in turn: so much at once
//! that a read costs little, and so little that all of it stays in the second cache until it is
//! hashed. Pieces that fit into the buffer together are read at once. Where the bytes come from and
//! what the hashes are for is the caller's.

use std::{
    ops::Range,
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
};

use super::effort::Effort;
use crate::base::{
    geometry::Geometry,
    hash::{Lanes, Sha1, Sha1Hash},
    index::PieceIndex,
    pages::Pages,
};

/// Bytes read at once of each of several pieces.
const PART: usize = 64 * 1024;
/// The least that a thread's buffer has room for.
const BUFFER: usize = 256 * 1024;
/// How to follow a long piece of work, and how to end it early.
#[derive(Clone, Copy)]
pub struct Watch<'a> {
    /// Told how many bytes more are done; called from several threads.
    pub progress: &'a (dyn Fn(u64) + Sync),
    /// Ends the work soon after it becomes true.
    pub cancel: &'a AtomicBool,
}

impl Watch<'_> {
    pub(crate) fn is_cancelled(&self) -> bool {
        self.cancel.load(Ordering::Relaxed)
    }
}

/// How pieces are dealt out and read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    geometry: Geometry,
    lanes: Lanes,
    /// Bytes of a piece read at once: the whole piece if several fit into the buffer.
    part: usize,
    /// Pieces that a thread takes at once.
    at_once: u32,
}

impl Plan {
    /// For the fastest instructions there are.
    pub(crate) fn new(geometry: Geometry, effort: Effort) -> Self {
        let lanes = Lanes::widest();
        let count = lanes.count();
        let room = BUFFER.max(count * PART);
        let piece_length = geometry.piece_length() as usize;
        let (part, at_once) = match room / piece_length {
            fit if fit >= count => (piece_length, fit),
            _ if effort.is_in_order() => (room, 1),
            _ => (room / count, count),
        };
        // Every thread gets some of a few long pieces.
        let share = (geometry.pieces() as usize).div_ceil(effort.threads().get()).max(1);
        Plan { geometry, lanes, part, at_once: at_once.min(share) as u32 }
    }
}

/// One thread's buffer and digests.
pub(crate) struct SideBySide<'a> {
    plan: Plan,
    watch: Watch<'a>,
    buffer: Pages,
    running: Vec<Sha1>,
}

impl<'a> SideBySide<'a> {
    pub(crate) fn new(plan: Plan, watch: Watch<'a>) -> Self {
        SideBySide { plan, watch, buffer: Pages::zeroed(0), running: Vec::new() }
    }

    /// Hashes `pieces`, at most as many as the plan says and ascending. `read` fills bytes from an
    /// offset of the content on. Gives the hash of each piece, or why it could not be read; `None`
    /// when it was cancelled. The watch hears of every byte, read or not.
    pub(crate) fn hash<E>(
        &mut self,
        pieces: &[PieceIndex],
        mut read: impl FnMut(u64, &mut [u8]) -> Result<(), E>,
    ) -> Option<Vec<Result<Sha1Hash, E>>> {
        let Plan { geometry, lanes, part, .. } = self.plan;
        let room = part * self.plan.at_once as usize;
        if self.buffer.len() != room {
            self.buffer = Pages::zeroed(room);
        }
        let buffer = &mut *self.buffer;
        self.running.clear();
        self.running.resize(pieces.len(), Sha1::new());
        let mut faults: Vec<Option<E>> = pieces.iter().map(|_| None).collect();
        let length = |piece: PieceIndex| geometry.piece_len(piece) as usize;
        let longest = pieces.iter().map(|&piece| length(piece)).max().unwrap_or(0);
        for at in (0..longest).step_by(part) {
            if self.watch.is_cancelled() {
                return None;
            }
            let ahead = |piece| length(piece).saturating_sub(at).min(part);
            let mut lane = 0;
            for stretch in pieces.chunk_by(|a, b| self.plan.is_one_stretch(*a, *b)) {
                let offset = geometry.piece_offset(stretch[0]) + at as u64;
                let bytes = stretch.iter().map(|&piece| ahead(piece)).sum();
                let mut into = &mut buffer[lane * part..][..bytes];
                let faults = &mut faults[lane..lane + stretch.len()];
                lane += stretch.len();
                // When a read of several fails, each piece gets its own try.
                if stretch.len() > 1 && read(offset, into).is_ok() {
                    continue;
                }
                for (&piece, fault) in stretch.iter().zip(faults) {
                    let (bytes, behind) = into.split_at_mut(ahead(piece));
                    into = behind;
                    if fault.is_none() && !bytes.is_empty() {
                        *fault = read(geometry.piece_offset(piece) + at as u64, bytes).err();
                    }
                }
            }
            let buffers = buffer.chunks(part);
            let parts: Vec<&[u8]> =
                buffers.zip(pieces).map(|(bytes, &piece)| &bytes[..ahead(piece)]).collect();
            lanes.update(&mut self.running, &parts);
            (self.watch.progress)(parts.iter().map(|part| part.len() as u64).sum());
        }
        let hashes = lanes.finish(&mut self.running).into_iter().zip(faults);
        Some(hashes.map(|(hash, fault)| fault.map_or(Ok(hash), Err)).collect())
    }
}

impl Plan {
    /// Whether two pieces lie side by side in the content and in the buffer.
    const fn is_one_stretch(&self, a: PieceIndex, b: PieceIndex) -> bool {
        self.part == self.geometry.piece_length() as usize && a.0 + 1 == b.0
    }
}

/// Deals the pieces out to threads in ascending batches, as `plan` says. Each thread gets a function
/// from `worker`; it ends when that returns false.
pub(crate) fn on_threads<W: FnMut(Range<u32>) -> bool>(
    effort: Effort,
    plan: Plan,
    worker: impl Fn() -> W + Sync,
) {
    deal(effort, plan.geometry.pieces(), plan.at_once, worker);
}

/// Deals `0..count` out to threads in ascending stretches of at most `at_once`.
pub(super) fn deal<W: FnMut(Range<u32>) -> bool>(
    effort: Effort,
    count: u32,
    at_once: u32,
    worker: impl Fn() -> W + Sync,
) {
    let next = AtomicU32::new(0);
    let run = || {
        let mut work = worker();
        loop {
            let mut from = next.load(Ordering::Relaxed);
            // Never counts beyond `count`, which may be near the largest number.
            let to = loop {
                let to = from.saturating_add(at_once).min(count);
                match next.compare_exchange_weak(from, to, Ordering::Relaxed, Ordering::Relaxed) {
                    Ok(_) => break to,
                    Err(now) => from = now,
                }
            };
            if from >= to || !work(from..to) {
                return;
            }
        }
    };
    let threads = effort.threads().get().min(count.div_ceil(at_once) as usize);
    std::thread::scope(|scope| {
        for _ in usize::from(!effort.needs_own_threads())..threads {
            scope.spawn(|| {
                effort.begin();
                run();
            });
        }
        if !effort.needs_own_threads() {
            run();
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{num::NonZeroUsize, sync::Mutex};

    /// Content of zeros: what was read of it in which order, and how many batches came of it.
    fn reads(piece_length: u32, pieces: u32, effort: Effort) -> (Vec<(u64, usize)>, u32) {
        let geometry = Geometry::new(u64::from(piece_length) * u64::from(pieces) - 1, piece_length);
        let geometry = geometry.expect("valid");
        let watch = Watch { progress: &|_| {}, cancel: &AtomicBool::new(false) };
        let plan = Plan::new(geometry, effort);
        let reads = Mutex::new(Vec::new());
        on_threads(effort, plan, || {
            let mut lanes = SideBySide::new(plan, watch);
            let reads = &reads;
            move |batch: Range<u32>| {
                let pieces: Vec<_> = batch.map(PieceIndex).collect();
                let hashes = lanes.hash(&pieces, |offset, into| {
                    reads.lock().expect("alone").push((offset, into.len()));
                    into.fill(0);
                    Ok::<_, ()>(())
                });
                for (piece, hash) in pieces.iter().zip(hashes.expect("not cancelled")) {
                    let zeros = vec![0; geometry.piece_len(*piece) as usize];
                    assert_eq!(hash, Ok(crate::base::hash::sha1(&zeros)));
                }
                true
            }
        });
        let mut reads = reads.into_inner().expect("alone");
        if effort.threads().get() > 1 {
            reads.sort_unstable();
        }
        (reads, plan.at_once)
    }

    #[test]
    fn every_byte_is_read_once_whatever_the_piece_length() {
        for threads in 1..=3 {
            let effort = Effort::with_threads(NonZeroUsize::new(threads).expect("not zero"));
            for (piece_length, pieces) in [(1_000, 1_000), (65_536, 9), (100_000, 7), (1 << 20, 5)]
            {
                let (mut reads, at_once) = reads(piece_length, pieces, effort);
                assert!((1..=pieces).contains(&at_once));
                reads.sort_unstable();
                let mut at = 0;
                for (offset, length) in reads {
                    assert_eq!(offset, at);
                    at += length as u64;
                }
                assert_eq!(at, u64::from(piece_length) * u64::from(pieces) - 1);
            }
        }
    }

    #[test]
    fn the_calling_thread_keeps_its_priority() {
        let effort = Effort::default().with_low_priority(true);
        let before = rustix::process::getpriority_process(None).ok();
        deal(effort, 4, 1, || {
            |_| {
                let now = rustix::process::getpriority_process(None).ok();
                assert!(!cfg!(target_os = "linux") || now == Some(19));
                true
            }
        });
        assert_eq!(rustix::process::getpriority_process(None).ok(), before);
    }
}
