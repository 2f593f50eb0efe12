//! Where a gateway lets peers in, told to every torrent: to those that are there, and to each that comes.

use super::Shard;
use crate::{
    base::time::Instant,
    gateway::Mapped,
    session::id::TorrentId,
    torrent::{Claimant, Input, OutsidePorts},
};

impl Shard {
    pub(super) fn set_mapped(&mut self, now: Instant, mapped: Option<Mapped>) {
        self.mapped = mapped;
        let all: Vec<TorrentId> = self.tenants.keys().copied().collect();
        for id in all {
            if mapped.is_none() {
                self.turns.handle(now, id, Input::Mapped(OutsidePorts::default()));
            }
            self.tell_mapped(now, id);
        }
    }

    pub(super) fn tell_mapped(&mut self, now: Instant, id: TorrentId) {
        if let Some(Mapped { ip, tcp, udp, .. }) = self.mapped {
            self.turns.handle(now, id, Input::Mapped(OutsidePorts { peers: tcp, dht: udp }));
            let own = Input::OwnAddress { ip: ip.into(), by: Claimant::Gateway };
            self.turns.handle(now, id, own);
        }
    }
}
