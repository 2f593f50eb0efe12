//! Once a second: what the torrents of the shard want of what they share, and what they may have.
//!
//! The dividing is in [`leases`](super::super::leases). Bytes are divided as they come, in
//! [`bandwidth`](super::super::bandwidth); new limits of theirs pass through here.

use std::time::Duration;

use super::{
    super::{config::LimitsConfig, id::TorrentId, leases::Leases},
    Shard,
};
use crate::{
    base::{time::Instant, units::ByteRate},
    torrent::{Command, Input},
};

/// How often leases are looked at.
const EVERY: Duration = Duration::from_secs(1);

/// The leases of a shard, and what they are reckoned from.
#[derive(Debug)]
pub(super) struct Leasing {
    leases: Leases,
    limit: Option<ByteRate>,
    last: Instant,
    /// Bytes sent until then.
    sent: u64,
}

impl Leasing {
    /// There are so many connections, and the user's limit of the uplink.
    pub(super) fn new(connections: u32, limit: Option<ByteRate>, now: Instant) -> Self {
        Leasing { leases: Leases::new(connections), limit, last: now, sent: 0 }
    }
}

impl Shard {
    pub(super) fn set_limits(&mut self, now: Instant, limits: &LimitsConfig) {
        self.turns.set_limits(now, limits);
        self.leasing.limit = limits.all.up;
    }

    /// Gives a torrent the limits of its own that its handle wants, if they are new.
    pub(super) fn limit(&mut self, now: Instant, id: TorrentId) {
        let tenant = self.tenants.get(&id);
        if let Some(limits) = tenant.and_then(|tenant| tenant.shared.take_limits()) {
            self.turns.set_torrent_limits(now, id, limits);
        }
    }

    /// Has no timer: torrents with peers wake the shard every second.
    pub(super) fn lease(&mut self, now: Instant) {
        let Leasing { leases, limit, last, sent } = &mut self.leasing;
        let since = now.since(*last);
        if since < EVERY {
            return;
        }
        let up = self.turns.carried().up;
        let rate = ByteRate(((up - *sent) as f64 / since.as_secs_f64()) as u64);
        (*last, *sent) = (now, up);
        let demands: Vec<_> = self.turns.torrents().map(|(id, t)| (id, t.demand())).collect();
        for (id, lease) in leases.divide(now, rate, *limit, &demands) {
            self.turns.handle(now, id, Input::Command(Command::Lease(lease)));
        }
    }
}
