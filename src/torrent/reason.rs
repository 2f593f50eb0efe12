//! Typed reasons: why a peer was refused or dropped.
//!
//! Every refusal and every end carries one, so that a person can be told. Why a torrent waits is in [`crate::why`].

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
    /// It has taken nothing of what we have for it within the limit.
    #[error("takes nothing of what it is sent")]
    Unread,
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
