//! What reaches a shard from other threads without waiting: disk results, saves, dials, nudges.
//!
//! One lock, taken once per batch and once per turn. Everything in it is bounded by something else:
//! disk results by slabs, saves and nudges by the number of torrents, dials by their limit, limits
//! by one.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;

use super::{
    config::LimitsConfig, id::TorrentId, persist::SaveResult, shard::Sampled, socket::Socket,
};
use crate::{
    base::index::PieceIndex, disk::CompletionSink, net::encryption::Opened, pieces::job::DiskEvent,
    torrent::DialFailure,
};

/// A dial that has come to an end.
#[derive(Debug)]
pub(super) struct Dialled {
    pub(super) torrent: TorrentId,
    pub(super) addr: SocketAddr,
    pub(super) result: Result<Opened<Socket>, DialFailure>,
}

/// What waits for the shard's next turn.
#[derive(Debug, Default)]
pub(super) struct Letters {
    pub(super) disk: Vec<(u64, DiskEvent)>,
    pub(super) saved: Vec<(TorrentId, SaveResult)>,
    /// Storages that were looked at, and if they can be used again which pieces are lost there.
    pub(super) looked: Vec<(TorrentId, Option<Vec<PieceIndex>>)>,
    /// Pieces that were looked at, and whether they are right.
    pub(super) sampled: Vec<Sampled>,
    pub(super) dialled: Vec<Dialled>,
    /// Torrents whose handle wants something, see `Shared::take_request`.
    pub(super) nudged: Vec<TorrentId>,
    /// We are somewhere else in the network.
    pub(super) moved: bool,
    /// New limits of all.
    pub(super) limits: Option<LimitsConfig>,
    /// The session is gone: end without ceremony.
    pub(super) quit: bool,
}

impl Letters {
    pub(super) fn is_empty(&self) -> bool {
        self.disk.is_empty()
            && self.saved.is_empty()
            && self.looked.is_empty()
            && self.sampled.is_empty()
            && self.dialled.is_empty()
            && self.nudged.is_empty()
            && self.limits.is_none()
            && !self.moved
            && !self.quit
    }
}

/// A shard's mail box.
#[derive(Debug)]
pub(super) struct Mail {
    letters: Mutex<Letters>,
    wake: Arc<Notify>,
}

impl Mail {
    /// A box that notifies `wake` when something is put in.
    pub(super) fn new(wake: Arc<Notify>) -> Arc<Self> {
        Arc::new(Mail { letters: Mutex::default(), wake })
    }

    /// Puts something in.
    pub(super) fn post(&self, put: impl FnOnce(&mut Letters)) {
        put(&mut self.letters());
        self.wake.notify_one();
    }

    /// Takes everything out; `into` is empty and leaves its room behind.
    pub(super) fn take(&self, into: &mut Letters) {
        std::mem::swap(&mut *self.letters(), into);
    }

    fn letters(&self) -> MutexGuard<'_, Letters> {
        self.letters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl CompletionSink for Mail {
    fn complete(&self, events: Vec<(u64, DiskEvent)>) {
        self.post(|letters| letters.disk.extend(events));
    }
}
