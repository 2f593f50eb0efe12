//! The causes there are, each with what shows it.

use super::evidence::{Addresses, DiskTrouble, Door, Limit, Misses, Scarce, Trouble};
use crate::{
    base::units::{ByteCount, ByteRate},
    mse::Policy,
};

/// Why a torrent is slow or stuck. Prints as one short line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// Its owner has paused it.
    Paused,
    /// The disk refused.
    Disk(DiskTrouble),
    /// So many pieces are missing, and nothing is to be fetched.
    NotFetching(u32),
    /// A certificate shows that the clock here is wrong.
    Clock {
        /// The clock is ahead; otherwise it is behind.
        ahead: bool,
        /// What was said of the certificate, and of whose.
        text: String,
    },
    /// Nobody is asked for peers, or only the local network.
    NobodyAsked {
        /// Peers may come from trackers alone.
        private: bool,
        /// The user wants no trackers to be asked.
        trackers_off: bool,
        /// The local network is asked.
        local: bool,
    },
    /// Trackers fail.
    TrackersFail {
        /// How many, of how many.
        failing: (u32, u32),
        /// Why the first of them does.
        trouble: Trouble,
        /// What is said of some of them.
        texts: Vec<String>,
        /// Nobody else has named a peer either.
        alone: bool,
    },
    /// So many trackers have answered and named nobody else.
    TrackersKnowNobody(u32),
    /// Trackers or the DHT are being asked.
    Asking {
        /// Trackers.
        trackers: u32,
        /// The DHT.
        dht: bool,
    },
    /// No node of the DHT answers; whether somebody else has named a peer.
    DhtSilent {
        /// Nobody else has named a peer either.
        alone: bool,
    },
    /// So many nodes of the DHT have answered and named nobody.
    DhtKnowsNobody(u32),
    /// So many addresses were named lately, and all are blocked.
    Blocked(u32),
    /// Nobody told us an address, and so many web seeds failed.
    WebSeedsFail(u32),
    /// Addresses have not been tried, or were lost.
    Dialling {
        /// Being dialled.
        now: u32,
        /// To be dialled.
        soon: u32,
    },
    /// Addresses that are known failed.
    Unreachable {
        /// How.
        misses: Misses,
        /// Peers that are connected besides.
        connected: u32,
    },
    /// Those there are do not connect by the encryption that we want.
    EncryptionClash {
        /// What we want.
        policy: Policy,
        /// How many.
        peers: u32,
    },
    /// Peers cannot be dialled, and cannot dial us.
    Closed {
        /// Our port.
        port: Option<u16>,
        /// What was done to let them in.
        door: Door,
        /// Those that do not answer.
        missed: u32,
    },
    /// There are no sockets left; so often lately.
    NoSockets(u32),
    /// So many connected, none has sent the info dictionary.
    NoMetadata(u32),
    /// All who have something for us choke us.
    AllChoke {
        /// Connected.
        connected: u32,
        /// Those among them that have something.
        useful: u32,
        /// Port and door, if nobody has connected to us.
        closed: Option<(u16, Door)>,
    },
    /// Pieces that no connected peer has.
    NobodyHas {
        /// Which.
        scarce: Scarce,
        /// Connected.
        connected: u32,
        /// All pieces that are missing.
        missing: u32,
    },
    /// Blocks are asked for and do not come.
    Silent {
        /// Asked.
        peers: u32,
        /// How often requests were given up lately.
        given_up: u32,
    },
    /// The disk is the narrow place.
    DiskSlow(ByteCount),
    /// A limit of the user's.
    Limited(Limit),
    /// Connections are at the user's limit, and are of no use.
    MaxPeers(u32),
    /// What comes does not match its hash.
    Poison {
        /// Pieces that failed lately.
        failed: u32,
        /// Pieces that did not.
        verified: u32,
        /// Peers banned.
        banned: u32,
    },
    /// Few send, or little.
    Slow {
        /// Connected.
        connected: u32,
        /// Those among them that we may ask.
        sending: u32,
        /// What comes.
        rate: ByteRate,
    },
}

impl Cause {
    /// Whether it will be another one by itself in a moment, as things go.
    pub const fn is_passing(&self) -> bool {
        matches!(
            self,
            Cause::Paused | Cause::Asking { .. } | Cause::Dialling { .. } | Cause::Slow { .. }
        )
    }

    /// Its name for programs; it never changes.
    pub const fn name(&self) -> &'static str {
        match self {
            Cause::Paused => "paused",
            Cause::Disk(_) => "disk",
            Cause::NotFetching(_) => "not_fetching",
            Cause::Clock { .. } => "clock",
            Cause::NobodyAsked { .. } => "nobody_asked",
            Cause::TrackersFail { .. } => "trackers_fail",
            Cause::TrackersKnowNobody(_) => "trackers_know_nobody",
            Cause::Asking { .. } => "asking",
            Cause::DhtSilent { .. } => "dht_silent",
            Cause::DhtKnowsNobody(_) => "dht_knows_nobody",
            Cause::Blocked(_) => "blocked",
            Cause::WebSeedsFail(_) => "web_seeds_fail",
            Cause::Dialling { .. } => "dialling",
            Cause::Unreachable { .. } => "unreachable",
            Cause::EncryptionClash { .. } => "encryption",
            Cause::Closed { .. } => "port",
            Cause::NoSockets(_) => "no_sockets",
            Cause::NoMetadata(_) => "no_metadata",
            Cause::AllChoke { .. } => "all_choke",
            Cause::NobodyHas { .. } => "nobody_has",
            Cause::Silent { .. } => "silent",
            Cause::DiskSlow(_) => "disk_slow",
            Cause::Limited(_) => "limited",
            Cause::MaxPeers(_) => "max_peers",
            Cause::Poison { .. } => "poison",
            Cause::Slow { .. } => "slow",
        }
    }
}

/// A cause and how much of the trouble it explains.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The cause.
    pub cause: Cause,
    /// From 0 to 100.
    pub weight: u8,
}

impl Addresses {
    /// Those that have not failed, nor are connected as far as that is known.
    pub(super) fn fresh(&self) -> u32 {
        self.known.saturating_sub(self.misses.total())
    }
}
