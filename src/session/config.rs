//! What a session may use: ports, connections, rates, memory, folders.
//!
//! Where the values come from (arguments, environment, files) is the caller's affair.

use std::{net::IpAddr, path::PathBuf, sync::Arc, time::Duration};

use super::{EncryptionPolicy, dht::DhtOptions};
use crate::{
    base::{
        ip_filter::IpFilter,
        units::{ByteCount, ByteRate},
    },
    net::outlet::Outlet,
};

/// Memory of the process besides slabs that grows with the memory allowed: bitfields, piece tables,
/// queues, and what an allocator holds back. One eighth.
const SHARE_BESIDE_SLABS: u64 = 8;
/// Memory of the process besides slabs that is always there: stacks, TLS roots, read buffer,
/// verifier lanes, program tables.
const FIXED_BESIDE_SLABS: u64 = 12 << 20;
/// Fewest slab bytes with which a torrent still works: some runs in each direction.
const LEAST_SLABS: u64 = 4 << 20;

/// Where a session listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenConfig {
    /// The port, the same for both address families; 0 takes any that is free.
    pub port: u16,
    /// Whether to use IPv6 as well.
    pub ipv6: bool,
    /// The only local address to use, for listening and dialling; `None` is all of them.
    pub addr: Option<IpAddr>,
}

impl Default for ListenConfig {
    fn default() -> Self {
        ListenConfig { port: 0, ipv6: true, addr: None }
    }
}

/// Where disk work is done. Which is better depends on cores and disks: measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskPlacement {
    /// On so many threads of each volume that files are on, handed over once per turn.
    Workers(usize),
    /// On the shard, between reading and writing sockets: no hand-over, but a slow disk, or a
    /// wait for a descriptor, holds up every connection.
    Inline,
}

/// How torrents are announced on the local network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LsdOptions {
    /// To programs of this host alone.
    pub loopback: bool,
}

/// Most bytes per second in each direction; `None` is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Sent.
    pub up: Option<ByteRate>,
    /// Received.
    pub down: Option<ByteRate>,
}

/// What is exchanged with peers at most. Each level holds by itself: a byte passes when all allow it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitsConfig {
    /// By all torrents together; divided evenly among those that want it, whatever the number of their
    /// peers.
    pub all: Limits,
    /// By each torrent that has no limits of its own (`TorrentHandle::set_limits`); divided evenly among
    /// its peers.
    pub torrent: Limits,
    /// With each peer.
    pub peer: Limits,
    /// Whether peers of the local network, this host included, are held to any of it.
    pub local: bool,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        let none = Limits::default();
        LimitsConfig { all: none, torrent: none, peer: none, local: true }
    }
}

impl From<Limits> for LimitsConfig {
    /// Limits of all torrents together, and no others.
    fn from(all: Limits) -> Self {
        LimitsConfig { all, ..LimitsConfig::default() }
    }
}

/// What a session may use.
#[derive(Clone, Debug)]
pub struct Config {
    /// By which way everything leaves.
    pub outlet: Outlet,
    /// Where it listens.
    pub listen: ListenConfig,
    /// Most connections of one torrent.
    pub max_peers: u32,
    /// Peers served at once by one torrent; `None` finds out how many fill the uplink.
    pub upload_slots: Option<u32>,
    /// Most connections of all torrents; fewer when the system allows fewer open files.
    pub max_connections: u32,
    /// What is exchanged with peers at most.
    pub limits: LimitsConfig,
    /// Most anonymous memory of the whole process. See [`Config::slab_budget`].
    pub memory: ByteCount,
    /// Whether trackers are used.
    pub trackers: bool,
    /// Whether the web seeds of torrents are used (BEP 19). They are asked wherever they are, as trackers are.
    pub web_seeds: bool,
    /// When connections with peers are encrypted.
    pub encryption: EncryptionPolicy,
    /// Whether peers are told of one another (BEP 11), in torrents that are not private.
    pub pex: bool,
    /// How the DHT is used, for torrents that are not private; `None` does without.
    pub dht: Option<DhtOptions>,
    /// How torrents that are not private are announced on the local network (BEP 14); `None` does without.
    pub lsd: Option<LsdOptions>,
    /// Addresses that are neither dialled, nor let in, nor heard or asked in the DHT. Trackers are asked
    /// wherever they are.
    pub blocked: Arc<IpFilter>,
    /// Whether the gateway of the local network is asked to let peers in (PCP, NAT-PMP, UPnP; over IPv6 PCP).
    /// It is not when only one local address may be used.
    pub port_mapping: bool,
    /// Certificates (PEM) trusted besides the built-in roots.
    pub ca_file: Option<PathBuf>,
    /// Where resume state and the torrents themselves are kept; without it data is recognised by hashing it, and
    /// the metadata of a link comes from peers each time.
    pub state_dir: Option<PathBuf>,
    /// How often one of the pieces that were served lately is hashed again.
    pub sample_every: Duration,
    /// Seed of every random choice, for runs that can be repeated; `None` draws one.
    pub seed: Option<u64>,
    /// Where disk work is done.
    pub disk: DiskPlacement,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            outlet: Outlet::default(),
            listen: ListenConfig::default(),
            max_peers: 200,
            upload_slots: None,
            max_connections: 500,
            limits: LimitsConfig::default(),
            memory: ByteCount(64 << 20),
            trackers: true,
            web_seeds: true,
            encryption: EncryptionPolicy::default(),
            pex: true,
            dht: None,
            lsd: None,
            blocked: Arc::default(),
            port_mapping: false,
            ca_file: None,
            state_dir: None,
            sample_every: Duration::from_secs(10),
            seed: None,
            disk: DiskPlacement::Workers(1),
        }
    }
}

impl Config {
    /// Bytes of block data that may be in memory: what is left of `memory` after an eighth of it
    /// and 12 MiB for everything else (44 MiB of the default 64), but at least 4 MiB.
    pub const fn slab_budget(&self) -> usize {
        let ByteCount(memory) = self.memory;
        let rest = (memory - memory / SHARE_BESIDE_SLABS).saturating_sub(FIXED_BESIDE_SLABS);
        if rest < LEAST_SLABS { LEAST_SLABS as usize } else { rest as usize }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slabs_get_what_is_left() {
        let budget = |mib: u64| {
            Config { memory: ByteCount(mib << 20), ..Config::default() }.slab_budget() >> 20
        };
        assert_eq!([budget(0), budget(16), budget(64), budget(1024)], [4, 4, 44, 884]);
    }
}
