//! What a torrent and the session look like at one moment, for progress bars and programs.

use std::{sync::Arc, time::Duration};

use crate::{
    base::units::ByteRate,
    torrent::{Phase, Snapshot},
    why::{Finding, Trouble},
};

/// Where a torrent is in its life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TorrentState {
    /// Hashing what is on disk already.
    Checking {
        /// Bytes looked at.
        done: u64,
        /// Bytes to look at.
        total: u64,
    },
    /// Fetching the info dictionary: what is shared is not known yet.
    Metadata,
    /// Fetching.
    Downloading,
    /// Has everything that is wanted, and serves it.
    Seeding,
    /// Paused by the owner, or done without `keep_seeding`.
    Paused,
    /// The files, or the folder they are in, are not there, or cannot be read: one sentence says which. It goes on by
    /// itself when they are back.
    MissingStorage(String),
    /// The disk is full: one sentence says where. It goes on by itself when there is room.
    DiskFull(String),
    /// Stopped: one sentence says why.
    Failed(String),
}

/// A torrent at one moment.
#[derive(Debug, Clone)]
pub struct TorrentSnapshot {
    /// Where it is in its life.
    pub state: TorrentState,
    /// Figures of the swarm; while checking only lengths and counts.
    pub machine: Snapshot,
    /// Its trackers, tier by tier.
    pub trackers: Arc<[TrackerStatus]>,
    /// Time until it is complete at the present rate; `None` when nothing arrives or it is complete.
    pub eta: Option<Duration>,
    /// Why it is slow or stuck, the heaviest cause first; nothing when all is well.
    pub why: Vec<Finding>,
}

impl TorrentSnapshot {
    /// The time the rest takes at the present rate.
    pub(super) fn eta_of(machine: &Snapshot) -> Option<Duration> {
        let ByteRate(down) = machine.down;
        let left = machine.wanted - machine.wanted_done;
        (machine.phase == Phase::Downloading && left > 0 && down > 0)
            .then(|| Duration::from_secs(left.div_ceil(down)))
    }
}

/// A tracker of a torrent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrackerStatus {
    /// Its URL; may hold a passkey.
    pub url: String,
    /// Its tier, from 0.
    pub tier: usize,
    /// What it does for us.
    pub state: TrackerState,
    /// Peers in its last reply.
    pub peers: usize,
    /// Seeds it counted in its last reply.
    pub seeds: Option<u32>,
    /// Leeches it counted in its last reply.
    pub leeches: Option<u32>,
    /// Time until the torrent's next announce, to this tracker or another of it.
    pub next: Option<Duration>,
    /// Its last failure or warning.
    pub last_error: Option<String>,
    /// How its last announce ended, if one has.
    pub last: Option<Result<(), Trouble>>,
}

/// What a tracker does for us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrackerState {
    /// Not used so far.
    Idle,
    /// Waiting for its answer.
    Announcing,
    /// Its last answer was good.
    Working,
    /// The last so many announces failed.
    Failing {
        /// Failures in a row.
        failures: u32,
    },
}

/// Figures of a whole session.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Bytes received from peers, protocol included.
    pub down: u64,
    /// Bytes sent to peers, protocol included.
    pub up: u64,
    /// Connections.
    pub connections: u32,
    /// Connections from blocked addresses that were closed at once.
    pub turned_away: u64,
    /// Torrents, paused and checking ones too.
    pub torrents: u32,
    /// Bytes of block data in memory.
    pub slabs: u64,
    /// Tasks that have not ended, the caller's own in the runtime in which the session was started included.
    pub tasks: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eta_needs_a_rate_and_something_left() {
        let machine =
            Snapshot { wanted: 1000, wanted_done: 100, down: ByteRate(450), ..Snapshot::default() };
        assert_eq!(TorrentSnapshot::eta_of(&machine), Some(Duration::from_secs(2)));
        for idle in [
            Snapshot { down: ByteRate(0), ..machine.clone() },
            Snapshot { wanted_done: 1000, ..machine.clone() },
            Snapshot { phase: Phase::Paused, ..machine.clone() },
        ] {
            assert_eq!(TorrentSnapshot::eta_of(&idle), None);
        }
    }
}
