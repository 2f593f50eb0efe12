//! The shard's side of resume state: what is worth saving, when it is handed to the keeper, which writes wait for
//! that, and the last save before a torrent goes.

use std::{
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
};

use super::{Shard, Tenant};
use crate::{
    base::time::Instant,
    pieces::job::{DiskJob, FaultKind},
    session::{
        event::TorrentEvent,
        id::TorrentId,
        persist::{Due, Keeper, Kept, Record, Save, SaveResult, Trouble},
    },
    torrent::{Input, Phase},
    why::Told,
};

/// What a shard knows of saves.
pub(super) struct Saves {
    keeper: Keeper,
    /// Torrents with something to save.
    dirty: Vec<TorrentId>,
    /// Torrents with writes that wait for a save.
    holding: Vec<TorrentId>,
    /// When the first of them all is due.
    next: Option<Instant>,
}

impl Saves {
    pub(super) const fn new(keeper: Keeper) -> Self {
        Saves { keeper, dirty: Vec::new(), holding: Vec::new(), next: None }
    }

    pub(super) const fn next(&self) -> Option<Instant> {
        self.next
    }
}

/// What a torrent's tenant knows of its saves.
pub(super) struct Recording {
    pub(super) record: Arc<Record>,
    /// Peers it had when it was last paused.
    pub(super) peers: Vec<SocketAddr>,
    pub(super) due: Due<DiskJob>,
    /// What keeps the torrent back, if anything did.
    pub(super) reasons: Option<Box<Reasons>>,
    /// The last save was tried.
    last: bool,
}

/// What a recording knows of what keeps its torrent back.
#[derive(Default)]
pub(super) struct Reasons {
    /// Why the torrent did not get on when that was asked last.
    pub(super) why: Vec<Told>,
    /// The first reason that brought a save about, by its name.
    pub(super) first: Option<&'static str>,
}

impl Recording {
    pub(super) fn new(kept: Kept) -> Self {
        Recording {
            record: kept.record,
            peers: Vec::new(),
            due: Due::new(kept.settled),
            reasons: None,
            last: false,
        }
    }
}

impl Shard {
    /// What is on disk about a torrent says next to nothing: it is saved at once.
    pub(super) fn changed_much(&mut self, now: Instant, id: TorrentId) {
        self.changed(now, id, u64::MAX);
    }

    /// Something about a torrent changed that the next run should know: `bytes` are verified.
    pub(super) fn changed(&mut self, now: Instant, id: TorrentId, bytes: u64) {
        let Some(saves) = &mut self.saves else { return };
        let Some(tenant) = self.tenants.get_mut(&id) else { return };
        let Some(recording) = &mut tenant.recording else { return };
        if recording.due.changed(now, bytes) {
            saves.dirty.push(id);
        }
        saves.next = [saves.next, recording.due.next()].into_iter().flatten().min();
    }

    /// So many bytes were read to be sent: what was sent is saved now and then.
    pub(super) fn sends(&mut self, now: Instant, id: TorrentId, bytes: u64) {
        let recording = self.tenants.get_mut(&id).and_then(|tenant| tenant.recording.as_mut());
        if recording.is_some_and(|recording| recording.due.sent(bytes)) {
            self.changed(now, id, 0);
        }
    }

    /// Hands a write to the disk, as soon as nothing there says that nothing is written.
    pub(super) fn write(&mut self, now: Instant, id: TorrentId, job: DiskJob) {
        let Some(tenant) = self.tenants.get_mut(&id) else { return };
        tenant.writes += 1;
        let held = match &mut tenant.recording {
            Some(recording) => recording.due.write(now, job),
            None => Some(job),
        };
        match held {
            Some(job) => self.hand_to_disk(now, id, job),
            None => {
                let saves = self.saves.as_mut().filter(|saves| !saves.holding.contains(&id));
                saves.into_iter().for_each(|saves| saves.holding.push(id));
                self.changed(now, id, 0);
            }
        }
    }

    /// A torrent rests: what is not saved of it is saved at once, together with others.
    pub(super) fn save_soon(&mut self, now: Instant, id: TorrentId) {
        let recording = self.tenants.get(&id).and_then(|tenant| tenant.recording.as_ref());
        if recording.is_some_and(|recording| recording.due.is_dirty()) {
            self.changed_much(now, id);
        }
    }

    /// Keeps in mind whom a torrent was connected to; to be called before it drops all peers.
    pub(super) fn remember_peers(&mut self, id: TorrentId) {
        let tenant = self.tenants.get_mut(&id).map(Box::as_mut);
        if let Some(Tenant { recording: Some(recording), .. }) = tenant
            && let Some(torrent) = self.turns.torrent(id)
        {
            let peers = torrent.reachable();
            if !peers.is_empty() {
                recording.peers = peers;
            }
        }
    }

    /// Hands what is due to the keeper.
    pub(super) fn save_due(&mut self, now: Instant) {
        let Some(saves) = &mut self.saves else { return };
        if saves.next.is_none_or(|next| next > now) {
            return;
        }
        let (dirty, holding) =
            (std::mem::take(&mut saves.dirty), std::mem::take(&mut saves.holding));
        for id in dirty {
            self.save_if(now, id, |due| due.at().is_some_and(|at| at <= now));
        }
        for id in holding {
            self.release_late(now, id);
        }
        self.plan_saves();
    }

    /// Lets the writes of a torrent go that have waited for too long, or leaves it in the list of those that wait.
    fn release_late(&mut self, now: Instant, id: TorrentId) {
        let Some(saves) = &mut self.saves else { return };
        let recording = self.tenants.get_mut(&id).and_then(|tenant| tenant.recording.as_mut());
        let Some(recording) = recording else { return };
        match recording.due.until() {
            None => {}
            Some(until) if until <= now => {
                let held = recording.due.give_up();
                held.into_iter().for_each(|job| self.hand_to_disk(now, id, job));
            }
            Some(_) => saves.holding.push(id),
        }
    }

    /// Saves a dirty torrent, or leaves it in the list of those.
    fn save_if(&mut self, now: Instant, id: TorrentId, wanted: impl FnOnce(&Due<DiskJob>) -> bool) {
        let Some(saves) = &mut self.saves else { return };
        let tenant = self.tenants.get(&id).map(Box::as_ref);
        let Some(Tenant { recording: Some(recording), .. }) = tenant else { return };
        if !wanted(&recording.due) {
            saves.dirty.push(id);
            return;
        }
        self.remember_why(now, id);
        let why = self.unfinished(now, id);
        let Some(saves) = &mut self.saves else { return };
        let Some(tenant) = self.tenants.get_mut(&id) else { return };
        let Some(recording) = &mut tenant.recording else { return };
        let Some(torrent) = self.turns.torrent(id) else { return };
        let peers = torrent.reachable();
        let rests = torrent.is_done() || tenant.retiring.is_some();
        let settled = rests && tenant.writes == 0;
        recording.due.begin(settled);
        let sent_before = tenant.shared.sent_before.load(Ordering::Relaxed);
        saves.keeper.save(Save {
            torrent: id,
            record: recording.record.clone(),
            storage: tenant.storage.clone(),
            have: torrent.have().clone(),
            partial: torrent.partial(),
            peers: if peers.is_empty() { recording.peers.clone() } else { peers },
            settled,
            uploaded: sent_before.saturating_add(torrent.snapshot(now).uploaded),
            why,
        });
    }

    fn plan_saves(&mut self) {
        let Some(saves) = &mut self.saves else { return };
        let due = |id| self.tenants.get(id)?.recording.as_ref()?.due.next();
        saves.next = saves.dirty.iter().chain(&saves.holding).filter_map(due).min();
    }

    /// A save has ended.
    pub(super) fn saved(&mut self, now: Instant, id: TorrentId, result: SaveResult) {
        let Some(saves) = &mut self.saves else { return };
        let Some(tenant) = self.tenants.get_mut(&id) else { return };
        let Some(recording) = &mut tenant.recording else { return };
        let was_dirty = recording.due.is_dirty();
        let held = recording.due.end(now, result.is_ok());
        if recording.due.is_dirty() && !was_dirty {
            saves.dirty.push(id);
        }
        match result {
            Ok(_) => {}
            Err(Trouble::Storage(fault)) if fault.kind == FaultKind::Gone => {
                self.turns.handle(now, id, Input::StorageGone(fault));
                if self.turns.torrent(id).is_some_and(|t| t.snapshot(now).phase == Phase::Paused) {
                    // One that is paused does not wait for its storage, and is to be saved all the same.
                    self.look_at_storage(id, FaultKind::Gone);
                }
            }
            Err(trouble) => tenant.shared.tell(|| TorrentEvent::StateTrouble(trouble.to_string())),
        }
        held.into_iter().for_each(|job| self.hand_to_disk(now, id, job));
        self.close_if_paused(id);
        self.plan_saves();
    }

    /// Whether nothing of a leaving torrent is left to be saved; begins the last save.
    pub(super) fn is_saved(&mut self, now: Instant, id: TorrentId) -> bool {
        let Some(tenant) = self.tenants.get_mut(&id) else { return true };
        let Some(recording) = &mut tenant.recording else { return true };
        if recording.due.is_under_way() {
            return false;
        }
        let due = &recording.due;
        let is_done = due.is_settled() && !due.is_dirty() && !due.has_sent();
        if is_done || std::mem::replace(&mut recording.last, true) {
            return true;
        }
        self.save_at_once(now, id);
        false
    }

    /// Saves a torrent, whatever is under way.
    pub(super) fn save_at_once(&mut self, now: Instant, id: TorrentId) {
        if let Some(saves) = &mut self.saves {
            saves.dirty.retain(|&dirty| dirty != id);
        }
        self.save_if(now, id, |_| true);
        self.plan_saves();
    }
}
