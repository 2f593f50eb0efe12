//! Typed reasons: why a peer was refused or dropped, and why a torrent waits.
//!
//! Every refusal and every wait carries one, so that a person can be told.

use std::fmt;

use crate::wire;

/// Why we will not have a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Refusal {
    /// As many connections as allowed.
    #[error("the connection limit is reached")]
    Full,
    /// The address has as many as it may.
    #[error("too many connections of one address")]
    Address,
    /// The address sent bad data before.
    #[error("the address is banned")]
    Banned,
    /// The torrent is paused or stopped.
    #[error("the torrent is paused")]
    Paused,
}

/// Why we close a connection.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Disconnect {
    /// It broke the protocol.
    #[error("protocol error: {0}")]
    Protocol(#[from] wire::WireError),
    /// It named a piece, block or bitfield that the torrent does not have.
    #[error("named a piece or block that does not exist")]
    OutOfRange,
    /// It sent a message at a place where that is not allowed.
    #[error("{0} at a time when it is not allowed")]
    OutOfTurn(&'static str),
    /// It sent a block that nobody asked for, though each request has exactly one answer (BEP 6).
    #[error("sent a block that nobody asked for")]
    Unasked,
    /// It is for another torrent.
    #[error("handshake for another torrent")]
    WrongInfoHash,
    /// It is ourselves.
    #[error("connected to ourselves")]
    Ourselves,
    /// The same peer is already connected.
    #[error("already connected to this peer")]
    Duplicate,
    /// No complete handshake within the limit.
    #[error("no handshake in time")]
    HandshakeTimeout,
    /// A web seed that sends next to nothing of what it was asked for.
    #[error("no answer in time")]
    Unanswered,
    /// Nothing received within the limit.
    #[error("silent for too long")]
    Idle,
    /// Both of us have everything.
    #[error("both are seeds")]
    BothSeeds,
    /// It sent bad data.
    #[error("sent data that does not match the hash")]
    Poison,
    /// It asked for more at once than we allow, or sent what nobody asked for, again and again.
    #[error("floods us with {0}")]
    Flood(&'static str),
    /// A more useful peer takes its place.
    #[error("made room for another peer")]
    Replaced,
    /// The torrent was paused or removed.
    #[error("the torrent stopped")]
    Stopped,
}

/// Why nothing arrives, the most likely cause first in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waiting {
    /// The disk refused.
    Disk,
    /// Nobody told us an address.
    NoPeersKnown,
    /// Nobody told us an address, and so many web seeds failed.
    WebSeedsFail(u32),
    /// Addresses are being dialled.
    Dialling(u32),
    /// All known addresses failed; we try again later.
    NobodyReachable(u32),
    /// So many connected, none has sent the info dictionary.
    NoMetadata(u32),
    /// So many connected, none unchokes us.
    AllChoke(u32),
    /// So many pieces are missing, and nothing is to be fetched.
    NotFetching(u32),
    /// So many pieces that no connected peer has.
    NobodyHas(u32),
    /// Blocks are asked for and do not come, from so many peers.
    Silent(u32),
    /// Memory or disk is the narrow place.
    DiskSlow,
    /// Our own limit.
    RateLimit,
}

impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let peers = |n: u32| if n == 1 { "1 peer".to_owned() } else { format!("{n} peers") };
        match *self {
            Waiting::Disk => f.write_str("the disk refused"),
            Waiting::NoPeersKnown => f.write_str("no peers known"),
            Waiting::WebSeedsFail(1) => f.write_str("no peers known, 1 web seed failed"),
            Waiting::WebSeedsFail(n) => write!(f, "no peers known, {n} web seeds failed"),
            Waiting::Dialling(n) => write!(f, "dialling {}", peers(n)),
            Waiting::NobodyReachable(n) => write!(f, "{} known, none reachable", peers(n)),
            Waiting::NoMetadata(1) => f.write_str("1 peer connected, it sends no metadata"),
            Waiting::NoMetadata(n) => write!(f, "{} connected, none sends metadata", peers(n)),
            Waiting::AllChoke(1) => f.write_str("1 peer connected, it chokes us"),
            Waiting::AllChoke(n) => write!(f, "{} connected, all choke us", peers(n)),
            Waiting::NotFetching(1) => f.write_str("1 piece is missing and is not fetched"),
            Waiting::NotFetching(n) => write!(f, "{n} pieces are missing and are not fetched"),
            Waiting::NobodyHas(1) => f.write_str("nobody here has the 1 missing piece"),
            Waiting::NobodyHas(n) => write!(f, "nobody here has the {n} missing pieces"),
            Waiting::Silent(n) => write!(f, "{} asked, nothing comes", peers(n)),
            Waiting::DiskSlow => f.write_str("the disk is slow"),
            Waiting::RateLimit => f.write_str("limited by --max-down"),
        }
    }
}
