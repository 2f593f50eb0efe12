//! Disk jobs of torrents: handed over, and done. Which writes wait before that is in `saving`.

use super::Shard;
use crate::{
    base::{slab::SLAB_LEN, time::Instant},
    pieces::job::{DiskEvent, DiskJob},
    session::id::TorrentId,
    torrent::{Input, Torrent},
};

impl Shard {
    pub(super) fn hand_to_disk(&mut self, now: Instant, id: TorrentId, job: DiskJob) {
        let Some(tenant) = self.tenants.get(&id) else { return };
        // The last pieces are what everybody waits for, and who waits holds memory.
        let urgent =
            self.turns.pool().is_short() || self.turns.torrent(id).is_none_or(Torrent::is_endgame);
        self.disk.push(now, id, &tenant.storage, job, urgent);
    }

    pub(super) fn disk_done(&mut self, now: Instant, id: TorrentId, event: DiskEvent) {
        if let Some(tenant) = self.tenants.get_mut(&id) {
            tenant.jobs -= 1;
            tenant.writes -= usize::from(!matches!(event, DiskEvent::Read { .. }));
        }
        if let (DiskEvent::Read { run, result, .. }, Some(tenant)) = (&event, self.tenants.get(&id))
        {
            let of = (id, tenant.storage.volume());
            self.sampling.was_read(now, of, run.piece, result);
            match result {
                Ok(()) => self.sends(now, id, run.length.into()),
                Err(fault) => self.not_read(id, run.piece, fault),
            }
        }
        if matches!(event, DiskEvent::Spilled { .. }) {
            self.changed(now, id, SLAB_LEN.into());
        }
        self.turns.handle(now, id, Input::Disk(event));
        self.close_if_paused(id);
    }
}
