//! What is known about a torrent that may say why it is slow or stuck: plain counts, no judgement.

use std::{ops::RangeInclusive, time::Duration};

use super::recent::Counts;
use crate::{
    base::{fault_kind::FaultKind, units::ByteRate},
    mse::Policy,
};

/// What its owner and its disk let a torrent do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Progress {
    /// It fetches.
    #[default]
    Fetching,
    /// It has everything that is wanted.
    Done,
    /// Something is missing, and nothing is to be fetched.
    NotFetching,
    /// Its owner has paused it.
    Paused,
    /// The disk refused.
    Failed(DiskTrouble),
}

/// What the disk said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskTrouble {
    /// The class of it.
    pub kind: FaultKind,
    /// One sentence.
    pub text: String,
}

/// How the last attempt to reach an address ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Miss {
    /// Nobody listens there.
    Refused,
    /// No answer.
    TimedOut,
    /// No way there.
    Unreachable,
    /// Somebody is there and does not take the encryption handshake.
    Declined,
    /// Somebody is there, and hung up on our handshake or did not answer it.
    HungUp,
    /// Somebody is there, with another torrent.
    OtherTorrent,
    /// Somebody is there and does not keep to the protocol.
    Broke,
}

/// How many addresses missed, by how.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Misses([u32; 7]);

impl Misses {
    /// One more.
    pub const fn add(&mut self, miss: Miss) {
        self.0[miss as usize] += 1;
    }

    /// Those of one kind.
    pub const fn of(&self, miss: Miss) -> u32 {
        self.0[miss as usize]
    }

    /// All of them.
    pub fn total(&self) -> u32 {
        self.0.iter().sum()
    }

    /// Whether at least half of them are of these kinds.
    pub fn are_mostly(&self, kinds: &[Miss]) -> bool {
        let those: u32 = kinds.iter().map(|&miss| self.of(miss)).sum();
        those > 0 && those * 2 >= self.total()
    }
}

/// The addresses of peers that are known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Addresses {
    /// All, connected or not.
    pub known: u32,
    /// Those being dialled, or greeted.
    pub dialling: u32,
    /// Those that failed when they were tried last.
    pub misses: Misses,
}

/// Missing pieces that no connected peer has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scarce {
    /// How many.
    pub count: u32,
    /// The first of them, as ranges of their numbers.
    pub first: Vec<RangeInclusive<u32>>,
}

/// What a torrent's machine knows.
#[derive(Debug, Clone, Default)]
pub struct Swarm {
    /// What it may do.
    pub progress: Progress,
    /// Only the info hash is known.
    pub wants_metadata: bool,
    /// How long no block has arrived; `None` if none ever has.
    pub idle: Option<Duration>,
    /// Payload received per second.
    pub down: ByteRate,
    /// Pieces that are wanted and missing.
    pub missing: u32,
    /// Those among them that nobody here has.
    pub scarce: Scarce,
    /// Addresses of peers.
    pub addresses: Addresses,
    /// Connections with a finished handshake, web seeds too.
    pub connected: u32,
    /// Those among them that have something we want.
    pub useful: u32,
    /// Useful ones that choke us.
    pub choking: u32,
    /// Useful ones that were asked for blocks.
    pub asked: u32,
    /// Web seeds that give nothing now.
    pub resting_web_seeds: u32,
    /// Nothing more is asked for until memory or disk have room.
    pub is_congested: bool,
    /// Bytes that wait for the disk.
    pub at_disk: u64,
    /// What happened in the last minutes.
    pub recent: Counts,
    /// Peers banned for bad data.
    pub banned: u32,
    /// Most connections.
    pub max_peers: u32,
    /// The port on which peers reach us, if they can.
    pub port: Option<u16>,
    /// When connections are encrypted.
    pub encryption: Policy,
}

/// What a tracker does for us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TrackerState {
    /// It was not needed so far.
    Unasked,
    /// It has not answered yet.
    Asked,
    /// It answered, and named so many peers.
    Answered(usize),
    /// It failed: why, and in one sentence.
    Failed(Trouble, String),
}

/// Why a tracker gives nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// It says no.
    Refused,
    /// There is no connection.
    Unreachable,
    /// No answer.
    TimedOut,
    /// Its certificate is not valid yet, by the clock here.
    NotYetValid,
    /// Its certificate has run out, by the clock here.
    Expired,
    /// What it sends is of no use, or its address is not.
    Useless,
}

/// A tracker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tracker {
    /// Its host, without what may hold a key.
    pub host: String,
    /// What it does for us.
    pub state: TrackerState,
}

/// What the DHT does for a torrent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Dht {
    /// It is not asked.
    #[default]
    Off,
    /// The first search is under way.
    Asked,
    /// No node has answered the last search.
    Silent,
    /// So many nodes have answered the last search, and have named so many peers.
    Answered(u32, usize),
}

/// Whether peers can connect to us.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Door {
    /// Nobody has tried to find out.
    #[default]
    Unknown,
    /// Routers are not asked to let them in.
    NotAsked,
    /// No router has let them in so far.
    Unmapped,
    /// A router lets them in.
    Mapped,
    /// Behind a proxy nobody can.
    Proxied,
}

/// A limit of the user's, on what is received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// Bytes per second.
    pub rate: ByteRate,
    /// The option that sets it.
    pub option: &'static str,
    /// Connections that wait because of it.
    pub waiting: u32,
}

/// What only the session knows.
#[derive(Debug, Clone, Default)]
pub struct Outside {
    /// Peers may come from trackers alone (BEP 27).
    pub private: bool,
    /// The user wants no trackers to be asked.
    pub trackers_off: bool,
    /// The trackers that are asked.
    pub trackers: Vec<Tracker>,
    /// The DHT.
    pub dht: Dht,
    /// The local network is asked.
    pub local: bool,
    /// The limit that holds the torrent, if one does.
    pub limit: Option<Limit>,
    /// Whether peers can connect to us.
    pub door: Door,
}

impl Outside {
    /// Whether anybody beyond the local network has answered anything: the way out is open.
    pub fn answers(&self) -> bool {
        let trackers = self.trackers.iter().any(|t| matches!(t.state, TrackerState::Answered(_)));
        trackers || matches!(self.dht, Dht::Answered(..))
    }

    /// The trackers that failed: why, and in one sentence each.
    pub(super) fn failing(&self) -> impl Iterator<Item = (&str, Trouble, &str)> {
        self.trackers.iter().filter_map(|tracker| match &tracker.state {
            TrackerState::Failed(trouble, text) => Some((&*tracker.host, *trouble, &**text)),
            _ => None,
        })
    }

    /// Whether there are trackers, and each of them fails.
    pub(super) fn all_fail(&self) -> bool {
        !self.trackers.is_empty() && self.failing().count() == self.trackers.len()
    }
}
