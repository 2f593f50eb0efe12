//! Threads that do disk jobs, and the queues before them.
//!
//! Jobs are taken in batches; reads come first, but one batch of checks and writes is done between
//! two batches of reads, so neither starves. Jobs for one piece are done one at a time in the order
//! in which they came. A sync may take seconds and has no place here: who wants one waits for it.
//!
//! Submitting never blocks and never refuses: every job carries slabs that some pool has lent, so
//! the pools' budgets bound the queue. [`Disk::backlog`] tells a shard when to ask peers for less.
//! Dropping [`Disk`] does everything that was submitted, then ends.

#![allow(clippy::disallowed_methods)] // The disk is where threads may block.

use std::{
    collections::{HashSet, VecDeque},
    sync::{
        Arc, Condvar, Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
    },
    thread::JoinHandle,
};

use super::storage::{Storage, perform_batch};
use crate::{
    base::index::PieceIndex,
    pieces::job::{DiskEvent, DiskJob},
};

/// Most jobs in a batch: a shard gets its events back soon.
const BATCH_JOBS: usize = 16;
/// A batch with so many bytes is large enough, in bytes: a few milliseconds of work.
const BATCH_BYTES: u64 = 16 << 20;

/// Takes what came of jobs. Called by worker threads; must not block for long, and must not own
/// the [`Disk`].
pub trait CompletionSink: Send + Sync {
    /// Jobs are done; each event is next to the token it was submitted with.
    fn complete(&self, events: Vec<(u64, DiskEvent)>);
}

/// Worker threads and their queues.
#[derive(Debug)]
pub struct Disk {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    queues: Mutex<Queues>,
    work: Condvar,
    backlog: AtomicU64,
    sink: Arc<dyn CompletionSink>,
}

#[derive(Default)]
struct Queues {
    reads: VecDeque<Queued>,
    writes: VecDeque<Queued>,
    /// Pieces that some worker writes or checks at this moment.
    busy: HashSet<Place>,
    /// The last batch was of reads: it is the turn of writes.
    writes_next: bool,
    closing: bool,
}

struct Queued {
    token: u64,
    storage: Arc<Storage>,
    job: DiskJob,
    bytes: u64,
}

/// A piece of one torrent, which is named by the address of its storage.
type Place = (usize, PieceIndex);

impl Disk {
    /// Starts `workers` threads, at least one, that report to `sink`.
    pub fn start(workers: usize, sink: Arc<dyn CompletionSink>) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            queues: Mutex::default(),
            work: Condvar::new(),
            backlog: AtomicU64::new(0),
            sink,
        });
        let mut disk = Disk { shared, threads: Vec::new() };
        for _ in 0..workers.max(1) {
            let shared = Arc::clone(&disk.shared);
            let thread = std::thread::Builder::new().name("disk".into());
            disk.threads.push(thread.spawn(move || shared.work())?);
        }
        Ok(disk)
    }

    /// Queues jobs, each for a torrent's place; its event comes back next to its token.
    pub fn submit(&self, jobs: impl IntoIterator<Item = (u64, Arc<Storage>, DiskJob)>) {
        let mut count = 0;
        let mut total = 0;
        let mut queues = self.shared.queues();
        for (token, storage, job) in jobs {
            let bytes = job.bytes();
            count += 1;
            total += bytes;
            let queued = Queued { token, storage, job, bytes };
            match queued.job {
                DiskJob::Read { .. } => queues.reads.push_back(queued),
                DiskJob::Verify { .. } | DiskJob::Spill { .. } => queues.writes.push_back(queued),
            }
        }
        self.shared.backlog.fetch_add(total, Ordering::Relaxed);
        drop(queues);
        match count {
            0 => {}
            1 => self.shared.work.notify_one(),
            _ => self.shared.work.notify_all(),
        }
    }

    /// Bytes of jobs that are queued or under way.
    pub fn backlog(&self) -> u64 {
        self.shared.backlog.load(Ordering::Relaxed)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.shared.queues().closing = true;
        self.shared.work.notify_all();
        for thread in self.threads.drain(..) {
            // A worker that panicked has said so; there is nothing left to do for it.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn work(&self) {
        while let Some(batch) = self.next_batch() {
            let bytes = batch.iter().map(|queued| queued.bytes).sum();
            let places = batch.iter().filter_map(Queued::place).collect();
            // Until the events are given out, so that they keep the order of jobs.
            let _busy = Busy { shared: self, places };
            let (tokens, jobs): (Vec<u64>, Vec<_>) = batch
                .into_iter()
                .map(|queued| (queued.token, (queued.storage, queued.job)))
                .unzip();
            let events = perform_batch(jobs);
            self.backlog.fetch_sub(bytes, Ordering::Relaxed);
            self.sink.complete(tokens.into_iter().zip(events).collect());
        }
    }

    /// The next jobs to do together; `None` when there is nothing left and the end has come.
    fn next_batch(&self) -> Option<Vec<Queued>> {
        let mut queues = self.queues();
        loop {
            let batch = queues.take();
            if !batch.is_empty() {
                return Some(batch);
            }
            if queues.closing && queues.writes.is_empty() {
                return None;
            }
            queues = self.work.wait(queues).expect(LOCK);
        }
    }

    fn queues(&self) -> MutexGuard<'_, Queues> {
        self.queues.lock().expect(LOCK)
    }
}

/// Keeps other workers from some pieces, also while a panic unwinds: they must be able to end.
struct Busy<'a> {
    shared: &'a Shared,
    places: Vec<Place>,
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        if self.places.is_empty() {
            return;
        }
        let mut queues = self.shared.queues();
        for place in &self.places {
            queues.busy.remove(place);
        }
        drop(queues);
        self.shared.work.notify_all();
    }
}

const LOCK: &str = "nothing panics while the queues are locked";

impl Queues {
    fn take(&mut self) -> Vec<Queued> {
        let mut batch = Vec::new();
        if !self.writes_next || self.writes.is_empty() {
            self.take_reads(&mut batch);
        }
        if batch.is_empty() {
            self.take_writes(&mut batch);
            self.writes_next = false;
        }
        if batch.is_empty() {
            // The turn was that of writes, but all of them wait for other workers.
            self.take_reads(&mut batch);
        }
        batch
    }

    fn take_reads(&mut self, batch: &mut Vec<Queued>) {
        let mut bytes = 0;
        while batch.len() < BATCH_JOBS && bytes < BATCH_BYTES {
            let Some(next) = self.reads.pop_front() else { break };
            bytes += next.bytes;
            batch.push(next);
        }
        self.writes_next = !batch.is_empty();
    }

    fn take_writes(&mut self, batch: &mut Vec<Queued>) {
        let mut bytes = 0;
        let mut at = 0;
        while batch.len() < BATCH_JOBS && bytes < BATCH_BYTES && at < self.writes.len() {
            let free = self.writes[at].place().is_none_or(|place| self.busy.insert(place));
            if !free {
                at += 1;
                continue;
            }
            let next = self.writes.remove(at).expect("in range");
            bytes += next.bytes;
            batch.push(next);
        }
    }
}

impl Queued {
    /// The piece that nobody else may work on meanwhile.
    fn place(&self) -> Option<Place> {
        let storage = Arc::as_ptr(&self.storage).addr();
        match self.job {
            DiskJob::Verify { piece, .. } | DiskJob::Spill { piece, .. } => Some((storage, piece)),
            DiskJob::Read { .. } => None,
        }
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes queued", self.backlog.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        base::{id::PeerKey, index::Block, slab::Slab},
        disk::{gate::Gate, sample::sample, volume::Volume},
        pieces::job::Verdict,
    };

    #[derive(Default)]
    struct Log {
        events: Mutex<Vec<(u64, DiskEvent)>>,
    }

    impl CompletionSink for Log {
        fn complete(&self, events: Vec<(u64, DiskEvent)>) {
            self.events.lock().expect("log").extend(events);
        }
    }

    fn read(piece: u32) -> DiskJob {
        let run = Block { piece: PieceIndex(piece), begin: 0, length: 1 };
        let peer = PeerKey { slot: 0, generation: 0 };
        DiskJob::Read { peer, run, slab: Slab::zeroed(1) }
    }

    fn events(log: Log) -> Vec<(u64, DiskEvent)> {
        log.events.into_inner().expect("log")
    }

    #[test]
    fn reads_do_not_wait_behind_a_queue_of_checks() {
        let s = sample(16_384, &[("a", 100 * 16_384)]);
        let gate = Gate::new(Volume::default());
        let storage = gate.storage(&s);
        let log = Arc::new(Log::default());
        let disk = Disk::start(1, Arc::clone(&log) as _).expect("threads");
        let submit = |token, jobs: Vec<DiskJob>| {
            disk.submit(jobs.into_iter().map(|job| (token, Arc::clone(&storage), job)));
        };
        submit(0, vec![s.verify(PieceIndex(0))]);
        gate.wait_for_somebody();
        submit(1, (1..100).map(|i| s.verify(PieceIndex(i))).collect());
        submit(2, (0..40).map(read).collect());
        assert_eq!(disk.backlog(), 140 * 16_384);
        gate.open();
        drop(disk);
        let tokens: Vec<u64> = events(Arc::into_inner(log).expect("workers are gone"))
            .iter()
            .map(|(token, _)| *token)
            .collect();
        let batch = |token| vec![token; BATCH_JOBS];
        let start = [vec![0], batch(2), batch(1), batch(2), batch(1)].concat();
        assert_eq!(tokens[..start.len()], start);
        assert_eq!(tokens.len(), 140);
    }

    #[test]
    fn jobs_for_one_piece_keep_their_order_among_many_workers() {
        let s = sample(100_000, &[("a", 20 * 100_000)]);
        let storage = Arc::new(Storage::in_memory(Arc::clone(&s.info)));
        let log = Arc::new(Log::default());
        let disk = Disk::start(4, Arc::clone(&log) as _).expect("threads");
        for piece in s.info.geometry().indices() {
            // The check finds on disk what the early write, submitted just before, has put there.
            let held = s.held(piece, 0b1111).swap_remove(0);
            let rest = s.held(piece, !0b1111);
            let jobs = [
                DiskJob::Spill { piece, held },
                DiskJob::Verify { piece, slabs: rest, digests: false },
            ];
            disk.submit(jobs.map(|job| (7, Arc::clone(&storage), job)));
        }
        drop(disk);
        let events = events(Arc::into_inner(log).expect("workers are gone"));
        for piece in s.info.geometry().indices() {
            let mut own = events.iter().filter_map(|(_, event)| match event {
                DiskEvent::Spilled { piece: p, result, .. } if *p == piece => {
                    Some(result.is_ok().then_some("spilled"))
                }
                DiskEvent::Verified { piece: p, verdict, .. } if *p == piece => {
                    Some((*verdict == Verdict::Good).then_some("good"))
                }
                _ => None,
            });
            assert_eq!([own.next(), own.next()], [Some(Some("spilled")), Some(Some("good"))]);
        }
    }

    #[test]
    fn dropping_the_disk_finishes_what_was_submitted() {
        let dir = tempfile::tempdir().expect("dir");
        let s = sample(50_000, &[("a", 1_000_000), ("b", 1_000_000)]);
        let pool = crate::disk::FilePool::new(2);
        let storage = Arc::new(Storage::on_disk(Arc::clone(&s.info), dir.path(), &pool));
        let log = Arc::new(Log::default());
        let disk = Disk::start(2, Arc::clone(&log) as _).expect("threads");
        for piece in s.info.geometry().indices() {
            disk.submit([(piece.0.into(), Arc::clone(&storage), s.verify(piece))]);
        }
        drop(disk);
        let log = Arc::into_inner(log).expect("workers are gone");
        let events = events(log);
        assert_eq!(events.len(), 40);
        for (token, event) in events {
            assert!(matches!(
                event,
                DiskEvent::Verified { piece, verdict: Verdict::Good, .. } if u64::from(piece.0) == token
            ));
        }
        let content =
            ["t/a", "t/b"].map(|name| std::fs::read(dir.path().join(name)).expect("read"));
        assert_eq!(content.concat(), s.content);
        let flushed = storage.sync().expect("flushed");
        assert_eq!(flushed.iter().map(|(file, _)| file.0).collect::<Vec<_>>(), [0, 1]);
        assert_eq!(storage.sync(), Ok(Vec::new()));
    }
}
