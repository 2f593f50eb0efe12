//! Torrents that wait for their storage: it is full, or not there. They are looked after now and then, and
//! go on by themselves when it can be used again. Those that are paused keep no storage from going.

use std::{sync::Arc, time::Duration};

use tokio::task;

use super::Shard;
use crate::{
    base::{index::PieceIndex, time::Instant},
    pieces::job::{DiskFault, FaultKind},
    session::id::TorrentId,
    torrent::{Input, Phase},
};

/// A storage is looked at again after so long.
const FIRST_LOOK: Duration = Duration::from_secs(1);
/// Each time after twice as long, up to this.
const LAST_LOOK: Duration = Duration::from_secs(30);

/// Pieces of a torrent that could not be read, of which so many are kept in mind.
const MAX_UNREADABLE: usize = 64;

/// A torrent that waits.
#[derive(Debug)]
pub(super) struct Waiting {
    fault: DiskFault,
    /// When its storage is looked at; `None` while that is under way.
    at: Option<Instant>,
    /// How long it waits before that.
    pause: Duration,
}

impl Shard {
    /// A torrent has stopped for `fault`. Whether it waits for its storage.
    pub(super) fn wait_for_storage(&mut self, now: Instant, id: TorrentId, fault: &DiskFault) {
        if !fault.kind.may_pass() {
            return;
        }
        let Some(tenant) = self.tenants.get_mut(&id) else { return };
        // It failed again soon after it had gone on: it is looked at less often.
        let pause = tenant.patience.map_or(FIRST_LOOK, |pause| (pause * 2).min(LAST_LOOK));
        tenant.patience = Some(pause);
        self.waiting.insert(id, Waiting { fault: fault.clone(), at: Some(now + pause), pause });
    }

    /// Closes the files of a torrent that is paused, once nothing of it is under way: whoever takes the disk away is not
    /// kept from it.
    pub(super) fn close_if_paused(&self, id: TorrentId) {
        let Some(tenant) = self.tenants.get(&id).filter(|tenant| tenant.jobs == 0) else { return };
        // A save opens them again.
        if tenant.recording.as_ref().is_some_and(|r| r.due.is_dirty() || r.due.is_under_way()) {
            return;
        }
        if self.turns.torrent(id).is_some_and(|machine| machine.phase() == Phase::Paused) {
            let storage = Arc::clone(&tenant.storage);
            task::spawn_blocking(move || storage.close_files());
        }
    }

    /// When a storage is to be looked at.
    pub(super) fn next_look(&self) -> Option<Instant> {
        self.waiting.values().filter_map(|waiting| waiting.at).min()
    }

    /// Looks at storages whose time has come, where that may block.
    pub(super) fn look_at_storages(&mut self, now: Instant) {
        if self.next_look().is_none_or(|next| next > now) {
            return;
        }
        let mut due = Vec::new();
        for (&id, waiting) in &mut self.waiting {
            if waiting.at.is_some_and(|at| at <= now) {
                waiting.at = None;
                due.push((id, waiting.fault.kind));
            }
        }
        due.into_iter().for_each(|(id, kind)| self.look_at_storage(id, kind));
        self.waiting.retain(|id, _| self.tenants.contains_key(id));
        self.unreadable.retain(|id, _| self.tenants.contains_key(id));
    }

    /// Looks at the storage of a torrent after a fault of that kind, where that may block.
    pub(super) fn look_at_storage(&self, id: TorrentId, kind: FaultKind) {
        let Some(tenant) = self.tenants.get(&id) else { return };
        let (storage, mail) = (Arc::clone(&tenant.storage), Arc::clone(&self.mail));
        let unreadable = self.unreadable.get(&id).cloned().unwrap_or_default();
        task::spawn_blocking(move || {
            let usable = storage.look_again(kind, &unreadable);
            mail.post(|letters| letters.looked.push((id, usable)));
        });
    }

    /// A piece could not be read for that reason: it is looked at when the storage is.
    pub(super) fn not_read(&mut self, id: TorrentId, piece: PieceIndex, fault: &DiskFault) {
        if fault.kind == FaultKind::Unreadable {
            let pieces = self.unreadable.entry(id).or_default();
            if pieces.len() < MAX_UNREADABLE {
                pieces.insert(piece);
            }
        }
    }

    /// A storage was looked at: it can be used again, and these pieces are lost there, or it cannot.
    pub(super) fn looked(&mut self, now: Instant, id: TorrentId, usable: Option<Vec<PieceIndex>>) {
        if let Some(lost) = usable {
            self.unreadable.remove(&id);
            for piece in lost {
                let kind = FaultKind::Missing;
                self.turns.handle(now, id, Input::PieceLost { piece, kind });
            }
            if self.waiting.remove(&id).is_some() {
                self.resume(now, id);
            }
            // That it waited is to be forgotten.
            self.changed(now, id, 0);
            self.publish(now, id);
        } else if let Some(waiting) = self.waiting.get_mut(&id) {
            waiting.pause = (waiting.pause * 2).min(LAST_LOOK);
            waiting.at = Some(now + waiting.pause);
        }
    }
}
