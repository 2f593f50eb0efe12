//! What a torrent looks like at one moment, for progress bars and statistics.

use std::{net::SocketAddr, sync::Arc};

use crate::{base::units::ByteRate, mse::Encryption, why::Swarm};

/// Where a torrent is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Phase {
    /// Fetching.
    #[default]
    Downloading,
    /// Has everything that is wanted, serves.
    Seeding,
    /// Paused by the owner.
    Paused,
    /// Stopped by the disk.
    Failed,
}

/// Figures of one moment. Bytes unless said otherwise.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// Where it is in its life.
    pub phase: Phase,
    /// Only the info hash is known: no lengths yet, and nothing else is fetched.
    pub wants_metadata: bool,
    /// Verified bytes.
    pub done: u64,
    /// All bytes.
    pub total: u64,
    /// Bytes of the pieces that are wanted.
    pub wanted: u64,
    /// Those among them that are verified.
    pub wanted_done: u64,
    /// Verified pieces.
    pub pieces_done: u32,
    /// All pieces.
    pub pieces: u32,
    /// Payload received, counting each block that we asked for once.
    pub downloaded: u64,
    /// Payload sent.
    pub uploaded: u64,
    /// Payload received twice or unasked.
    pub wasted: u64,
    /// Payload of pieces that failed their hash.
    pub corrupt: u64,
    /// Payload received per second.
    pub down: ByteRate,
    /// Payload sent per second.
    pub up: ByteRate,
    /// Connections with a finished handshake.
    pub peers: u32,
    /// Those among them that have everything.
    pub seeds: u32,
    /// Web seeds in use; they are not among `peers`.
    pub web_seeds: u32,
    /// Peers we have unchoked.
    pub unchoked: u32,
    /// Addresses known, connected or not.
    pub known: u32,
    /// Dials in flight.
    pub dialling: u32,
    /// Peers banned for bad data.
    pub banned: u32,
    /// What may say why it is slow or stuck; `None` of one that has what it wants.
    pub evidence: Option<Box<Swarm>>,
}

/// What a torrent would like to have of what the torrents of a session share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Demand {
    /// Peers that want something from us.
    pub interested: u32,
    /// Those among them that may have it.
    pub unchoked: u32,
    /// Unchoked peers whose requests wait.
    pub waiting: u32,
    /// Connections: those there are, and those there could be.
    pub peers: u32,
}

/// What a torrent may take of it; `None` is as much as its settings allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Lease {
    /// Peers unchoked at once.
    pub slots: Option<u32>,
    /// Connections.
    pub peers: Option<u32>,
}

/// Figures of one connection.
#[derive(Debug, Clone)]
pub struct PeerSnapshot {
    /// Its address; of a web seed one that stands for it.
    pub addr: SocketAddr,
    /// The URL of a web seed, as the torrent has it; `None` for a peer.
    pub web_seed: Option<Arc<str>>,
    /// Its client, as far as it says.
    pub client: String,
    /// We dialled it.
    pub outgoing: bool,
    /// How the connection is hidden.
    pub encryption: Encryption,
    /// Share of the pieces it has, 0 to 1.
    pub progress: f64,
    /// Payload from it per second.
    pub down: ByteRate,
    /// Payload to it per second.
    pub up: ByteRate,
    /// Payload from it.
    pub downloaded: u64,
    /// Payload to it.
    pub uploaded: u64,
    /// The four flags: am choking, am interested, peer choking, peer interested.
    pub flags: [bool; 4],
    /// Our requests outstanding there.
    pub outstanding: u32,
}
