//! Disk work on its way from a shard: when it is handed over, and to whom.
//!
//! Everything goes at the end of the turn that wanted it, but for whole pieces to be checked: those
//! wait for one another a little, because several are hashed side by side in little more than the
//! time of one. How the work is done is in [`disk`](crate::disk).

use std::{sync::Arc, time::Duration};

use super::{config::DiskPlacement, id::TorrentId};
use crate::{
    base::{hash::Lanes, time::Instant},
    disk::{CompletionSink, Disk, Storage, perform_batch},
    pieces::job::{DiskEvent, DiskJob},
};

/// How long a piece waits for others at least.
const PATIENCE: Duration = Duration::from_millis(5);
/// And longer while the next one may come at this rate, in bytes per second: where pieces come more
/// slowly, hashing them costs little beside everything else.
const RATE_WORTH_WAITING: u64 = 300 << 20;
/// Share of the slab budget, as a divisor, that may wait.
const SHARE_THAT_WAITS: usize = 2;

/// Work for the disk that has not been handed over.
pub(super) struct DiskWork {
    placement: Placement,
    /// What goes at the end of this turn.
    ready: Vec<Job>,
    /// Pieces that wait for one another.
    pieces: Vec<Job>,
    /// Bytes of their slabs.
    waiting: u64,
    /// When they go, whoever has come by then.
    until: Option<Instant>,
    /// The end of the patience of the first of them.
    patience: Instant,
    /// As many pieces as these go at once.
    enough: usize,
    /// So many of their bytes go at once.
    most: u64,
}

/// Somebody's job.
type Job = (TorrentId, Arc<Storage>, DiskJob);

enum Placement {
    Workers(Disk),
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
            DiskPlacement::Workers(workers) => Placement::Workers(Disk::start(workers, sink)?),
            DiskPlacement::Inline => Placement::Inline,
        };
        Ok(DiskWork {
            placement,
            ready: Vec::new(),
            pieces: Vec::new(),
            waiting: 0,
            until: None,
            patience: Instant::ZERO,
            enough: Lanes::widest().count(),
            most: (budget / SHARE_THAT_WAITS) as u64,
        })
    }

    /// Takes a job in. One that is `urgent` waits for nobody, and nobody waits for more.
    pub(super) fn push(
        &mut self,
        now: Instant,
        id: TorrentId,
        storage: &Arc<Storage>,
        job: DiskJob,
        urgent: bool,
    ) {
        let storage = Arc::clone(storage);
        if !matches!(job, DiskJob::Verify { .. }) {
            self.ready.push((id, storage, job));
            return;
        }
        let bytes = job.bytes();
        if self.pieces.is_empty() {
            self.patience = now + PATIENCE;
        }
        self.waiting += bytes;
        self.pieces.push((id, storage, job));
        let is_full = self.pieces.len() >= self.enough || self.waiting >= self.most;
        let is_due = urgent || is_full || self.until.is_some_and(|until| until <= now);
        let next = now + Duration::from_micros(bytes * 1_000_000 / RATE_WORTH_WAITING);
        self.until = Some(if is_due { now } else { next.max(self.patience) });
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
        match &self.placement {
            _ if batch.is_empty() => Vec::new(),
            Placement::Workers(disk) => {
                disk.submit(batch.into_iter().map(|(id, storage, job)| (id.0, storage, job)));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        base::{
            id::PeerKey,
            index::{Block, PieceIndex},
            slab::{SLAB_LEN, Slab},
            units::BLOCK_LEN,
        },
        disk::sample::sample,
        pieces::job::Held,
    };

    struct Nobody;

    impl CompletionSink for Nobody {
        fn complete(&self, _: Vec<(u64, DiskEvent)>) {}
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
        // As many as there are lanes go at once, and so does an urgent one with all that wait.
        (0..4).for_each(|_| push(&mut work, start, false));
        assert_eq!(work.hand_over(start).len(), 4);
        push(&mut work, start, false);
        push(&mut work, start, true);
        assert_eq!(work.hand_over(start).len(), 2);
        // Long pieces wait longer, while another may come soon.
        let s = sample(4 << 20, &[("a", 8 << 20)]);
        let long = Arc::new(Storage::in_memory(Arc::clone(&s.info)));
        let piece = |piece| {
            let slabs = (0..16).map(|slot| Held {
                begin: slot * SLAB_LEN,
                filled: u32::MAX,
                slab: Slab::zeroed(SLAB_LEN / BLOCK_LEN),
            });
            DiskJob::Verify { piece: PieceIndex(piece), slabs: slabs.collect(), digests: false }
        };
        work.push(start, id, &long, piece(0), false);
        let next = Duration::from_micros((4 << 20) * 1_000_000 / RATE_WORTH_WAITING);
        assert!(next > 2 * PATIENCE, "{next:?}");
        assert_eq!(work.deadline(), Some(start + next));
        work.push(start + next / 2, id, &long, piece(1), false);
        assert_eq!(work.deadline(), Some(start + next / 2 + next));
        assert_eq!(work.hand_over(start + next / 2 + next).len(), 2);
        // What waits is bounded in bytes.
        (0..2).for_each(|_| push(&mut small, start, false));
        assert_eq!(small.hand_over(start).len(), 0);
        push(&mut small, start, false);
        assert_eq!(small.hand_over(start).len(), 3);
    }
}
