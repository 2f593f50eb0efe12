//! Once a second: what the torrents of the shard want of what they share, and what they may have.
//!
//! The dividing is in [`leases`](super::super::leases).

use std::time::Duration;

use super::{super::leases::Leases, Shard};
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

    pub(super) const fn set_limit(&mut self, limit: Option<ByteRate>) {
        self.limit = limit;
    }
}

impl Shard {
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
