//! Torrents that go: paused first, kept until their disk work is done and their state is saved.

use super::{super::id::TorrentId, Shard};
use crate::base::time::Instant;

impl Shard {
    /// Begins to give a torrent up.
    pub(super) fn leave(&mut self, now: Instant, id: TorrentId) {
        if let Some(tenant) = self.tenants.get_mut(&id)
            && tenant.retiring.is_none()
        {
            tenant.retiring = Some(Vec::new());
            self.leaving.push(id);
            self.pause(now, id);
        }
    }

    /// Lets torrents go whose disk work is done.
    pub(super) fn retire(&mut self, now: Instant) {
        if self.leaving.is_empty() && self.stopping.is_none() {
            return;
        }
        for id in std::mem::take(&mut self.leaving) {
            let works = self.tenants.get(&id).is_some_and(|tenant| tenant.jobs > 0);
            if works || !self.turns.is_quiet(id) || !self.is_saved(now, id) {
                self.leaving.push(id);
                continue;
            }
            self.publish(now, id);
            self.turns.dismiss(now, id);
            self.let_go(id);
        }
        if self.leaving.is_empty()
            && let Some(reply) = self.stopping.take()
        {
            let _ = reply.send(());
            self.ended = true;
        }
    }

    /// A torrent is no tenant any more.
    pub(super) fn let_go(&mut self, id: TorrentId) {
        let tenant = self.tenants.remove(&id);
        for reply in tenant.and_then(|tenant| tenant.retiring).into_iter().flatten() {
            // Whoever asked may have left.
            let _ = reply.send(());
        }
        self.dialler.forget(id);
        self.sampling.forget(id);
        self.watched.retain(|&watched| watched != id);
        self.leaving.retain(|&leaving| leaving != id);
    }
}
