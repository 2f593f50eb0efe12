//! Everything that can happen to a torrent from outside, as one closed list.
//!
//! Bytes of peers come through [`Torrent::read`](super::Torrent::read), new connections through
//! [`Torrent::admit`](super::Torrent::admit).

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use super::{priority::Claimant, snapshot::Lease};
use crate::{
    base::{id::PeerKey, index::PieceIndex},
    pieces::job::{DiskEvent, DiskFault, FaultKind},
    webseed::Failure,
};

/// One thing that happened.
#[derive(Debug)]
pub enum Input {
    /// A disk job is done.
    Disk(DiskEvent),
    /// A connection ended without our asking for it.
    Closed {
        /// Which one.
        peer: PeerKey,
        /// What the socket said.
        cause: CloseCause,
    },
    /// A dial asked for by `Connect`, or a connection asked for by `OpenWebSeed`, did not succeed.
    DialFailed {
        /// Where to.
        addr: SocketAddr,
        /// Why.
        failure: DialFailure,
    },
    /// Addresses of peers, from somewhere.
    PeersFound {
        /// Who named them.
        source: Source,
        /// The addresses; known ones are ignored.
        addrs: Vec<SocketAddr>,
    },
    /// URLs of web seeds (BEP 19); known ones are ignored.
    WebSeeds(Vec<Arc<str>>),
    /// Somebody says what our address is.
    OwnAddress {
        /// Our address.
        ip: IpAddr,
        /// Who says so.
        by: Claimant,
    },
    /// A gateway lets peers outside in by these ports.
    Mapped(OutsidePorts),
    /// We are somewhere else in the network, or have slept: who could not be reached perhaps can be.
    Moved,
    /// The owner wants something.
    Command(Command),
    /// A piece we have is not in the files as it was.
    PieceLost {
        /// Which.
        piece: PieceIndex,
        /// `Changed` where somebody wrote to a file and it may be meant, `Missing` where it is to be fetched again.
        kind: FaultKind,
    },
    /// The files of the torrent are found to be gone.
    StorageGone(DiskFault),
    /// `poll_timeout` has come.
    Timeout,
}

/// The numbers that a gateway has given our ports, for peers outside; `None` where it has not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OutsidePorts {
    /// That for peers.
    pub peers: Option<u16>,
    /// That of our node of the DHT.
    pub dht: Option<u16>,
}

/// What the owner can ask of a running torrent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// Stop asking, serving and dialling; drop all peers.
    Pause,
    /// Go on after a pause, or after a disk fault.
    Resume,
    /// Take pieces in order instead of rarest first.
    Sequential(bool),
    /// Take no more than this of what torrents share.
    Lease(Lease),
}

/// Who named an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// The user (`--peer`, `x.pe`): dialled first, kept longest.
    User,
    /// It connected to us.
    Incoming,
    /// A tracker.
    Tracker,
    /// The DHT.
    Dht,
    /// Another peer (BEP 11).
    Pex,
    /// Local service discovery (BEP 14).
    Lsd,
    /// An earlier run.
    Resume,
}

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CloseCause {
    /// The peer closed it in order.
    Eof,
    /// The peer reset it.
    Reset,
    /// The network said it can't be reached any more, or timed out.
    Lost,
    /// It is one with a web seed, and that failed.
    WebSeed(Failure),
}

/// Why a dial failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DialFailure {
    /// Nobody listens there.
    Refused,
    /// No answer within the limit.
    TimedOut,
    /// No route.
    Unreachable,
    /// Somebody listens there, and does not take the encryption handshake.
    Declined,
    /// We have no socket left; says nothing about the peer.
    NoDescriptor,
    /// The interface or the proxy that dials leave by is not there; says nothing about the peer either.
    NoWay,
}
