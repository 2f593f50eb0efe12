//! Connections with web seeds, when a torrent asks for one. Each holds its room among the session's connections.

use super::Shard;
use crate::{
    base::time::Instant,
    net::{encryption::Opened, web_seed::WebSeeds},
    session::{slots::Slots, socket::Socket, turn::OpenWebSeed},
    torrent::{DialFailure, Direction, Input},
    webseed::Site,
};

/// What it takes to open them.
#[derive(Debug)]
pub(super) struct Opener {
    web_seeds: WebSeeds,
    slots: Slots,
}

impl Opener {
    pub(super) const fn new(web_seeds: WebSeeds, slots: Slots) -> Self {
        Opener { web_seeds, slots }
    }
}

impl Shard {
    pub(super) fn open_web_seed(&mut self, now: Instant, wish: OpenWebSeed) {
        let OpenWebSeed { torrent: id, addr, url, lacks } = wish;
        let Some(tenant) = self.tenants.get(&id) else { return };
        let Some(slot) = self.opener.slots.take() else {
            let failure = DialFailure::NoDescriptor;
            return self.turns.handle(now, id, Input::DialFailed { addr, failure });
        };
        let site = Site::new(url, tenant.shared.info.clone());
        let stream = self.opener.web_seeds.open(site, &lacks);
        let opened = Opened::plain(Socket::web_seed(stream, slot), Vec::new());
        // The machine knows if it refused.
        let _ = self.turns.admit(now, id, addr, Direction::Outgoing, opened);
    }
}
