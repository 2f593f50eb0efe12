//! What a torrent's handles, its shard, its check and its trackers share: latest values only.
//!
//! Nothing here is on the hot path. A handle asks by leaving a request and nudging the shard.

use std::{
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use tokio::{
    sync::{Notify, broadcast},
    task::JoinHandle,
};

use super::{
    config::Limits,
    error::TorrentError,
    event::{EVENTS_KEPT, TorrentEvent},
    id::TorrentId,
    mail::Mail,
    snapshot::{TorrentSnapshot, TorrentState, TrackerStatus},
};
use crate::{
    base::{hash::Sha1Hash, time::Instant},
    metainfo::{Info, ShareCode},
    pieces::job::DiskFault,
    torrent::Snapshot,
    why::{Dht, Outside, Progress, Swarm, Told, diagnose},
};

/// How far a torrent has come, for those who wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stage {
    /// What is on disk is being looked at.
    Checking,
    Busy,
    Complete,
    Failed(TorrentError),
}

/// What the owner asked for last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Request {
    Pause,
    Resume,
}

/// The trackers as discovery sees them.
#[derive(Debug, Clone, Default)]
pub(super) struct Trackers {
    /// `next` is not filled in.
    pub(super) statuses: Vec<TrackerStatus>,
    /// When the next announce is due.
    pub(super) next: Option<Instant>,
    /// What the DHT does for it; `None` as long as discovery has not heard of the torrent.
    pub(super) dht: Option<Dht>,
}

/// One torrent's shared values.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) id: TorrentId,
    pub(super) info: Arc<Info>,
    /// By which it is found, in place of its info hash.
    pub(super) code: Option<ShareCode>,
    mail: Arc<Mail>,
    snapshot: Mutex<Arc<TorrentSnapshot>>,
    trackers: Mutex<Trackers>,
    request: Mutex<Option<Request>>,
    /// New limits of its own.
    limits: Mutex<Option<Limits>>,
    nudged: AtomicBool,
    /// Bytes of payload that earlier runs have sent.
    pub(super) sent_before: AtomicU64,
    /// Ends the check of existing data early.
    pub(super) cancel: AtomicBool,
    /// The task that checks existing data and brings the torrent to the shard.
    arrival: Mutex<Option<JoinHandle<()>>>,
    arrived: AtomicBool,
    stage: Mutex<Stage>,
    /// Tells those who wait of a new stage.
    stage_changed: Notify,
    /// The info dictionary, once it has been fetched; then this torrent has done what it is for.
    pub(super) metadata: OnceLock<Arc<[u8]>>,
    events: OnceLock<broadcast::Sender<TorrentEvent>>,
}

impl Shared {
    pub(super) fn new(
        id: TorrentId,
        info: Arc<Info>,
        code: Option<ShareCode>,
        mail: Arc<Mail>,
    ) -> Arc<Self> {
        let geometry = info.geometry();
        let machine = Snapshot {
            total: geometry.total(),
            wanted: geometry.total(),
            pieces: geometry.pieces(),
            ..Snapshot::default()
        };
        let snapshot = TorrentSnapshot {
            state: TorrentState::Checking { done: 0, total: geometry.total() },
            machine,
            trackers: Arc::default(),
            eta: None,
            why: Vec::new(),
        };
        Arc::new(Shared {
            id,
            info,
            code,
            mail,
            snapshot: Mutex::new(Arc::new(snapshot)),
            trackers: Mutex::default(),
            request: Mutex::default(),
            limits: Mutex::default(),
            nudged: AtomicBool::new(false),
            sent_before: AtomicU64::new(0),
            cancel: AtomicBool::new(false),
            arrival: Mutex::default(),
            arrived: AtomicBool::new(false),
            stage: Mutex::new(Stage::Checking),
            stage_changed: Notify::new(),
            metadata: OnceLock::new(),
            events: OnceLock::new(),
        })
    }

    /// Where its peers meet, in the DHT and on the local network.
    pub(super) fn place(&self) -> Sha1Hash {
        self.code.map_or_else(|| self.info.info_hash().wire(), ShareCode::place)
    }

    /// The newest snapshot; asks the shard for a newer one.
    pub(super) fn snapshot(&self) -> Arc<TorrentSnapshot> {
        self.nudge();
        lock(&self.snapshot).clone()
    }

    pub(super) fn publish(&self, snapshot: TorrentSnapshot) {
        *lock(&self.snapshot) = Arc::new(snapshot);
    }

    /// Changes only the state of the snapshot, which says all there is to be said.
    pub(super) fn publish_state(&self, state: TorrentState) {
        let mut snapshot = lock(&self.snapshot);
        *snapshot = Arc::new(TorrentSnapshot { state, why: Vec::new(), ..(**snapshot).clone() });
    }

    /// Shows that its storage is not there, and how many bytes were there of those that are wanted. Gives the
    /// causes.
    pub(super) fn publish_missing(
        &self,
        fault: &DiskFault,
        (wanted_done, wanted): (u64, u64),
    ) -> Vec<Told> {
        let swarm = Swarm { progress: Progress::Failed(fault.into()), ..Swarm::default() };
        let why = diagnose(&swarm, &Outside::default());
        let told = why.iter().map(Told::from).collect();
        let state = TorrentState::MissingStorage(fault.to_string());
        let mut snapshot = lock(&self.snapshot);
        let machine = Snapshot { wanted_done, wanted, ..snapshot.machine.clone() };
        *snapshot = Arc::new(TorrentSnapshot { state, machine, why, ..(**snapshot).clone() });
        told
    }

    /// Shows the trackers as they are at `now`.
    pub(super) fn set_trackers(&self, now: Instant, trackers: Trackers) {
        *lock(&self.trackers) = trackers;
        let trackers = self.trackers_at(now);
        let mut snapshot = lock(&self.snapshot);
        *snapshot = Arc::new(TorrentSnapshot { trackers, ..(**snapshot).clone() });
    }

    /// The trackers as they are to be shown at `now`.
    pub(super) fn trackers_at(&self, now: Instant) -> Arc<[TrackerStatus]> {
        let trackers = lock(&self.trackers);
        let next = trackers.next.map(|at| at.since(now));
        trackers.statuses.iter().map(|status| TrackerStatus { next, ..status.clone() }).collect()
    }

    /// What the DHT does for it, once that is known.
    pub(super) fn dht(&self) -> Option<Dht> {
        lock(&self.trackers).dht
    }

    pub(super) fn ask(&self, request: Request) {
        *lock(&self.request) = Some(request);
        self.nudge();
    }

    /// The shard's side of `ask` and of `snapshot`.
    pub(super) fn take_request(&self) -> Option<Request> {
        self.nudged.store(false, Ordering::Release);
        lock(&self.request).take()
    }

    /// Asks for limits of its own.
    pub(super) fn set_limits(&self, limits: Limits) {
        *lock(&self.limits) = Some(limits);
        self.nudge();
    }

    /// The shard's side of `set_limits`.
    pub(super) fn take_limits(&self) -> Option<Limits> {
        lock(&self.limits).take()
    }

    fn nudge(&self) {
        if !self.nudged.swap(true, Ordering::AcqRel) {
            self.mail.post(|letters| letters.nudged.push(self.id));
        }
    }

    /// The task that brings it to the shard. What has ended already is not kept, nor what ends later:
    /// see [`Shared::arrived`].
    pub(super) fn set_arrival(&self, task: JoinHandle<()>) {
        let mut arrival = lock(&self.arrival);
        if !self.arrived.load(Ordering::Acquire) {
            *arrival = Some(task);
        }
    }

    /// That task has nothing more to do: its memory is given back.
    pub(super) fn arrived(&self) {
        self.arrived.store(true, Ordering::Release);
        lock(&self.arrival).take();
    }

    /// Ends the check of existing data, and waits until the torrent is at the shard or never will be.
    pub(super) async fn end_check(&self) {
        self.cancel.store(true, Ordering::Relaxed);
        let arrival = lock(&self.arrival).take();
        if let Some(arrival) = arrival {
            // A panic there has been reported by its thread.
            let _ = arrival.await;
        }
    }

    pub(super) fn set_stage(&self, stage: Stage) {
        *lock(&self.stage) = stage;
        self.stage_changed.notify_waiters();
    }

    /// The torrent leaves the session: nobody need wait any longer. What is complete stays so.
    pub(super) fn leave(&self) {
        {
            let mut stage = lock(&self.stage);
            if matches!(*stage, Stage::Checking | Stage::Busy) {
                *stage = Stage::Failed(TorrentError::Removed);
            }
        }
        self.stage_changed.notify_waiters();
        self.tell(|| TorrentEvent::Removed);
    }

    /// Waits until it is complete or has failed.
    pub(super) async fn wait(&self) -> Result<(), TorrentError> {
        self.wait_until(|stage| matches!(stage, Stage::Complete | Stage::Failed(_))).await
    }

    /// How it has ended, if it has.
    pub(super) fn outcome(&self) -> Option<Result<(), TorrentError>> {
        match &*lock(&self.stage) {
            Stage::Checking | Stage::Busy => None,
            Stage::Complete => Some(Ok(())),
            Stage::Failed(error) => Some(Err(error.clone())),
        }
    }

    /// Waits until what is on disk was looked at.
    pub(super) async fn wait_checked(&self) -> Result<(), TorrentError> {
        self.wait_until(|stage| *stage != Stage::Checking).await
    }

    async fn wait_until(&self, reached: impl Fn(&Stage) -> bool) -> Result<(), TorrentError> {
        let mut changed = pin!(self.stage_changed.notified());
        loop {
            // What changes from here on is heard of.
            changed.as_mut().enable();
            let stage = lock(&self.stage).clone();
            if reached(&stage) {
                return match stage {
                    Stage::Failed(error) => Err(error),
                    _ => Ok(()),
                };
            }
            changed.as_mut().await;
            changed.set(self.stage_changed.notified());
        }
    }

    pub(super) fn subscribe(&self) -> broadcast::Receiver<TorrentEvent> {
        self.events.get_or_init(|| broadcast::Sender::new(EVENTS_KEPT)).subscribe()
    }

    pub(super) fn tell(&self, event: impl FnOnce() -> TorrentEvent) {
        if let Some(events) = self.events.get()
            && events.receiver_count() > 0
        {
            // Fails only if the last listener leaves at this moment.
            let _ = events.send(event());
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::hash::InfoHash;

    #[test]
    fn who_does_not_listen_loses_the_oldest_events() {
        let info = Arc::new(Info::unknown(InfoHash::v1(Sha1Hash([1; 20])), None));
        let shared = Shared::new(TorrentId(1), info, None, Mail::new(Arc::default()));
        let mut listener = shared.subscribe();
        (0..EVENTS_KEPT + 9).for_each(|_| shared.tell(|| TorrentEvent::Completed));
        assert_eq!(listener.try_recv().err(), Some(broadcast::error::TryRecvError::Lagged(9)));
        assert_eq!(std::iter::from_fn(|| listener.try_recv().ok()).count(), EVENTS_KEPT);
    }
}
