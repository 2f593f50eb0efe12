//! Disk work on its way from a shard: when it is handed over, and to whom.
//!
//! Everything goes at the end of the turn that wanted it, but for what is hashed, whole pieces and slabs
//! of long ones: those wait for one another a little, because several are hashed side by side in little
//! more than the time of one. Each volume has workers of its own: one that does not answer keeps no other torrents
//! waiting, as long as the slabs that its jobs hold leave some. How the work is done is in [`disk`](crate::disk).

use std::{sync::Arc, time::Duration};

use super::{config::DiskPlacement, id::TorrentId};
use crate::{
    base::{hash::Lanes, time::Instant},
    disk::{CompletionSink, Disk, PerVolume, Storage, perform_batch},
    pieces::job::{DiskEvent, DiskJob},
};

/// How long a piece waits for others at most.
const PATIENCE: Duration = Duration::from_millis(5);
/// Share of the slab budget, as a divisor, that may wait.
const SHARE_THAT_WAITS: usize = 4;

/// Work for the disk that has not been handed over.
pub(super) struct DiskWork {
    placement: Placement,
    /// What goes at the end of this turn.
    ready: Vec<Job>,
    /// Pieces that wait for one another.
    pieces: Vec<Job>,
    /// Bytes of their slabs.
    waiting: u64,
    /// When the first of them goes, whoever has come by then.
    until: Option<Instant>,
    /// As many pieces as these go at once.
    enough: usize,
    /// So many of their bytes go at once.
    most: u64,
}

/// Somebody's job.
type Job = (TorrentId, Arc<Storage>, DiskJob);

/// Those who do the work, so many for each volume.
struct Workers {
    each: usize,
    sink: Arc<dyn CompletionSink>,
    disks: PerVolume<Disk>,
}

enum Placement {
    Workers(Workers),
    Inline,
}

impl DiskWork {
    /// Work that is done as `placement` says; workers report to `sink`. `budget` is that of the
    /// slabs the work carries.
    pub(super) fn new(
        placement: DiskPlacement,
        sink: Arc<dyn CompletionSink>,
        budget: usize,
    ) -> std::io::Result<Self> {
        let placement = match placement {
            DiskPlacement::Workers(each) => Placement::Workers(Workers::start(each, sink)?),
            DiskPlacement::Inline => Placement::Inline,
        };
        Ok(DiskWork {
            placement,
            ready: Vec::new(),
            pieces: Vec::new(),
            waiting: 0,
            until: None,
            enough: Lanes::widest().count(),
            most: (budget / SHARE_THAT_WAITS) as u64,
        })
    }

    /// Takes a job in. One that is `urgent` waits for nobody, and all others go with it.
    pub(super) fn push(
        &mut self,
        now: Instant,
        id: TorrentId,
        storage: &Arc<Storage>,
        job: DiskJob,
        urgent: bool,
    ) {
        let storage = Arc::clone(storage);
        if matches!(job, DiskJob::Read { .. }) {
            self.ready.push((id, storage, job));
            return;
        }
        self.waiting += job.bytes();
        self.pieces.push((id, storage, job));
        self.until.get_or_insert(if urgent { now } else { now + PATIENCE });
        if urgent || self.pieces.len() >= self.enough || self.waiting >= self.most {
            self.until = Some(now);
        }
    }

    /// When [`DiskWork::hand_over`] is due.
    pub(super) const fn deadline(&self) -> Option<Instant> {
        self.until
    }

    /// Hands over what is due. Gives what is done already.
    pub(super) fn hand_over(&mut self, now: Instant) -> Vec<(TorrentId, DiskEvent)> {
        let mut batch = std::mem::take(&mut self.ready);
        if self.until.is_some_and(|until| until <= now) {
            batch.append(&mut self.pieces);
            (self.waiting, self.until) = (0, None);
        }
        match &mut self.placement {
            _ if batch.is_empty() => Vec::new(),
            Placement::Workers(workers) => {
                workers.submit(batch);
                Vec::new()
            }
            Placement::Inline => {
                let ids: Vec<_> = batch.iter().map(|(id, ..)| *id).collect();
                let jobs = batch.into_iter().map(|(_, storage, job)| (storage, job)).collect();
                ids.into_iter().zip(perform_batch(jobs)).collect()
            }
        }
    }
}

impl Workers {
    fn start(each: usize, sink: Arc<dyn CompletionSink>) -> std::io::Result<Self> {
        let disks = PerVolume::new(Disk::start(each, Arc::clone(&sink))?);
        Ok(Workers { each, sink, disks })
    }

    fn submit(&mut self, mut jobs: Vec<Job>) {
        while let Some((_, storage, _)) = jobs.first() {
            let volume = storage.volume();
            // Nearly always that is all of them.
            let others =
                jobs.extract_if(.., |(_, storage, _)| storage.volume() != volume).collect();
            let disk = self.disks.of(volume, || Disk::start(self.each, Arc::clone(&self.sink)));
            disk.submit(jobs.into_iter().map(|(id, storage, job)| (id.0, storage, job)));
            jobs = others;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::{
        base::{
            id::PeerKey,
            index::{Block, PieceIndex},
            slab::Slab,
        },
        disk::{Volume, gate::Gate, sample::sample},
    };

    struct Nobody;

    impl CompletionSink for Nobody {
        fn complete(&self, _: Vec<(u64, DiskEvent)>) {}
    }

    /// One worker did the work of all volumes.
    #[test]
    fn a_volume_that_does_not_answer_keeps_no_other_waiting() {
        struct Answers(mpsc::Sender<u64>);
        impl CompletionSink for Answers {
            fn complete(&self, events: Vec<(u64, DiskEvent)>) {
                events.iter().for_each(|&(token, _)| self.0.send(token).expect("somebody listens"));
            }
        }
        let s = sample(16_384, &[("a", 4 * 16_384)]);
        let (sender, answers) = mpsc::channel();
        let sink = Arc::new(Answers(sender));
        let mut work = DiskWork::new(DiskPlacement::Workers(1), sink, 64 << 20).expect("threads");
        let gates = [1, 2, 3].map(|volume| Gate::new(Volume(volume)));
        let storages = [0, 1, 2].map(|at: usize| gates[at].storage(&s));
        let mut submit = |at: usize, piece| {
            let (id, job) = (TorrentId(at as u64), s.verify(PieceIndex(piece)));
            work.push(Instant::ZERO, id, &storages[at], job, true);
            if at == 2 {
                assert_eq!(work.hand_over(Instant::ZERO).len(), 0);
            }
        };
        gates[1].open();
        gates[2].open();
        // The first one of all is the one that does not answer.
        (0..3).for_each(|at| submit(at, 0));
        gates[0].wait_for_somebody();
        (0..3).for_each(|at| submit(at, 1));
        let mut first: Vec<u64> = answers.iter().take(4).collect();
        first.sort_unstable();
        assert_eq!(first, [1, 1, 2, 2]);
        gates[0].open();
        assert_eq!(answers.iter().take(2).collect::<Vec<_>>(), [0, 0]);
    }

    #[test]
    fn pieces_wait_for_one_another_a_little() {
        let s = sample(16_384, &[("a", 64 * 16_384)]);
        let storage = Arc::new(Storage::in_memory(Arc::clone(&s.info)));
        let sink = Arc::new(Nobody);
        // Room for three pieces to wait.
        let budget = 3 * 16_384 * SHARE_THAT_WAITS;
        let work = |budget| DiskWork::new(DiskPlacement::Inline, sink.clone(), budget);
        let mut small = work(budget).expect("no threads");
        small.enough = 4;
        let mut work = work(64 << 20).expect("no threads");
        work.enough = 4;
        let (id, start) = (TorrentId(1), Instant::ZERO);
        let mut next = (0..).map(PieceIndex);
        let mut push = |work: &mut DiskWork, now, urgent| {
            work.push(now, id, &storage, s.verify(next.next().expect("endless")), urgent);
        };
        // Alone until its patience ends.
        push(&mut work, start, false);
        assert_eq!(work.hand_over(start).len(), 0);
        assert_eq!(work.deadline(), Some(start + PATIENCE));
        push(&mut work, start + PATIENCE / 2, false);
        // A read does not wait, and nobody goes with it.
        let run = Block { piece: PieceIndex(0), begin: 0, length: 1 };
        let peer = PeerKey { slot: 0, generation: 0 };
        let read = DiskJob::Read { peer, run, slab: Slab::zeroed(1) };
        work.push(start, id, &storage, read, false);
        assert_eq!(work.hand_over(start + PATIENCE / 2).len(), 1);
        assert_eq!(work.hand_over(start + PATIENCE).len(), 2);
        assert_eq!((work.deadline(), work.hand_over(start + PATIENCE * 9).len()), (None, 0));
        // A slab that is written early waits like a piece.
        let held = s.held(PieceIndex(9), 1).pop().expect("it has one slab");
        work.push(start, id, &storage, DiskJob::Spill { piece: PieceIndex(9), held }, false);
        assert_eq!((work.hand_over(start).len(), work.hand_over(start + PATIENCE).len()), (0, 1));
        // As many as there are lanes go at once, and so does an urgent one with all that wait.
        (0..4).for_each(|_| push(&mut work, start, false));
        assert_eq!(work.hand_over(start).len(), 4);
        push(&mut work, start, false);
        push(&mut work, start, true);
        assert_eq!(work.hand_over(start).len(), 2);
        // What waits is bounded in bytes.
        (0..2).for_each(|_| push(&mut small, start, false));
        assert_eq!(small.hand_over(start).len(), 0);
        push(&mut small, start, false);
        assert_eq!(small.hand_over(start).len(), 3);
    }
}
