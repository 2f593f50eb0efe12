//! Everything a torrent wants from its driver, as one closed list.
//!
//! Decisions only: block bytes travel through `read`, `write` and disk jobs.

use std::{net::SocketAddr, sync::Arc};

use crate::{
    base::{
        id::PeerKey,
        index::{FileIndex, PieceIndex},
    },
    pieces::job::{DiskFault, DiskJob},
};

use super::{reason::Disconnect, web_seeds::WebSeedChange};

/// One thing to do.
#[derive(Debug)]
pub enum Output {
    /// Do this with the disk; the answer comes as `Input::Disk`.
    Disk(DiskJob),
    /// Dial this address; then `admit`, or `Input::DialFailed`.
    Connect {
        /// Where.
        addr: SocketAddr,
        /// With the handshake of [`crate::mse`], and [`Torrent::hello`](super::Torrent::hello) inside.
        encrypted: bool,
    },
    /// Connect with a web seed, as [`crate::webseed`] does; then `admit` what stands for its address, or
    /// `Input::DialFailed`.
    OpenWebSeed {
        /// What stands for its address.
        addr: SocketAddr,
        /// Its URL, as the torrent has it.
        url: Arc<str>,
        /// Files that are not there.
        lacks: Box<[FileIndex]>,
    },
    /// Close this connection. The key is dead from here on.
    Disconnect {
        /// Which one.
        peer: PeerKey,
        /// Why.
        reason: Disconnect,
    },
    /// This peer has something to say: call `write` when its send buffer has room.
    WantWrite(PeerKey),
    /// Few addresses are left: ask trackers and the like.
    NeedPeers,
    /// A peer has a node of the DHT there (BEP 5, *BitTorrent Protocol Extension*).
    DhtNode(SocketAddr),
    /// Something a person or a program may want to know.
    Event(Event),
}

/// What a person or a program may want to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A piece is verified and written.
    PieceVerified(PieceIndex),
    /// A piece did not match its hash.
    PieceFailed(PieceIndex),
    /// The info dictionary is here; it matches the info hash.
    Metadata(Arc<[u8]>),
    /// Every piece is there.
    Completed,
    /// A peer was found to have sent bad data and is banned.
    Banned(SocketAddr),
    /// Something became of a web seed.
    WebSeed {
        /// Its URL, as the torrent has it.
        url: Arc<str>,
        /// What.
        change: WebSeedChange,
    },
    /// The disk refused; the torrent stopped and waits for `Resume`.
    Stopped(DiskFault),
    /// A file we serve can't be read as it was; we stopped offering the piece.
    PieceLost(PieceIndex),
}
