//! What happens to a torrent, told to whoever subscribed. Bounded: a slow listener loses the oldest.

use std::{fmt, net::SocketAddr, sync::Arc};

use crate::{
    base::index::PieceIndex,
    mse::Encryption,
    pieces::job::DiskFault,
    torrent::{CloseCause, DialFailure, Disconnect, Refusal, WebSeedChange},
};

/// Events kept for a listener that is behind.
pub(super) const EVENTS_KEPT: usize = 1024;

/// One thing that happened to a torrent.
#[derive(Debug, Clone)]
pub enum TorrentEvent {
    /// So much of what is on disk has been looked at, in bytes.
    CheckProgress {
        /// Bytes looked at.
        done: u64,
        /// Bytes to look at.
        total: u64,
    },
    /// What is on disk has been looked at.
    Checked {
        /// Pieces that are right.
        have: u32,
        /// All pieces.
        pieces: u32,
    },
    /// The info dictionary is here.
    Metadata,
    /// A piece is verified and written.
    PieceVerified(PieceIndex),
    /// A piece did not match its hash.
    PieceFailed(PieceIndex),
    /// A piece can't be read as it was: it is missing again.
    PieceLost(PieceIndex),
    /// Every piece is there.
    Completed,
    /// A tracker answered.
    TrackerReply {
        /// Its URL.
        url: String,
        /// Peers it named.
        peers: usize,
        /// Seeds it counts.
        seeds: Option<u32>,
        /// Leeches it counts.
        leeches: Option<u32>,
        /// What it has to say to the user (BEP 3).
        warning: Option<String>,
    },
    /// A tracker failed or refused.
    TrackerError {
        /// Its URL.
        url: String,
        /// Why, in one word that stays the same.
        reason: &'static str,
        /// One sentence.
        message: String,
    },
    /// A search of the DHT has ended.
    DhtReply {
        /// Nodes that answered.
        nodes: u32,
        /// Peers they named.
        peers: usize,
    },
    /// An address was dialled in vain.
    DialFailed {
        /// The address.
        addr: SocketAddr,
        /// Why.
        failure: DialFailure,
    },
    /// A connection was made, by either side, and is not wanted.
    PeerRefused {
        /// The other end.
        addr: SocketAddr,
        /// Why.
        reason: Refusal,
    },
    /// A connection began.
    PeerConnected {
        /// The other end.
        addr: SocketAddr,
        /// We dialled it.
        outgoing: bool,
        /// How it is hidden.
        encryption: Encryption,
    },
    /// A connection ended.
    PeerDisconnected {
        /// The other end.
        addr: SocketAddr,
        /// Why.
        reason: PeerEnd,
    },
    /// Something became of a web seed.
    WebSeed {
        /// Its URL, as the torrent has it; may hold a password.
        url: Arc<str>,
        /// What.
        change: WebSeedChange,
    },
    /// A peer sent bad data and is banned.
    Banned(SocketAddr),
    /// The disk refused: the torrent stopped.
    DiskFault(DiskFault),
    /// What the next run should know could not be read or written: one sentence. Nothing else
    /// suffers, but data will be hashed again.
    StateTrouble(String),
    /// The torrent is no longer part of the session.
    Removed,
}

/// Why a connection ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PeerEnd {
    /// We closed it.
    Dropped(Disconnect),
    /// The other side or the network closed it.
    Closed(CloseCause),
}

impl fmt::Display for PeerEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PeerEnd::Dropped(reason) => reason.fmt(f),
            PeerEnd::Closed(CloseCause::Eof) => f.write_str("closed by the peer"),
            PeerEnd::Closed(CloseCause::Reset) => f.write_str("reset by the peer"),
            PeerEnd::Closed(CloseCause::Lost) => f.write_str("connection lost"),
            PeerEnd::Closed(CloseCause::WebSeed(failure)) => failure.fmt(f),
        }
    }
}
