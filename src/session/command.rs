//! What a shard is told by the session, in order, each with an answer where one is expected.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use tokio::sync::oneshot;

use super::{id::TorrentId, persist::Kept, shared::Shared, slots::Slot};
use crate::{
    base::units::BLOCK_LEN,
    disk::{Lock, Storage},
    gateway::Mapped,
    net::encryption::Opened,
    torrent::{PeerSnapshot, Phase, Setup, Snapshot, Source, WebSeedSnapshot},
};

/// Commands that wait; who sends more waits.
pub(super) const COMMANDS_QUEUED: usize = 256;

/// One command.
#[derive(Debug)]
pub(super) enum Command {
    /// Take a torrent in.
    Host(Box<Hosting>),
    /// A connection was accepted for a torrent.
    Incoming {
        torrent: TorrentId,
        opened: Opened<std::net::TcpStream>,
        addr: SocketAddr,
        slot: Slot,
    },
    /// Addresses of peers.
    PeersFound { torrent: TorrentId, source: Source, addrs: Vec<SocketAddr> },
    /// URLs of web seeds.
    WebSeeds { torrent: TorrentId, urls: Vec<Arc<str>> },
    /// Our address, as a tracker sees it.
    OwnAddress { torrent: TorrentId, ip: IpAddr },
    /// Where a gateway lets peers in, or that it does not.
    Mapped(Option<Mapped>),
    /// The connections of a torrent.
    Peers { torrent: TorrentId, reply: oneshot::Sender<Vec<PeerSnapshot>> },
    /// The web seeds of a torrent.
    WebSeedRows { torrent: TorrentId, reply: oneshot::Sender<Vec<WebSeedSnapshot>> },
    /// What trackers are told.
    Figures { torrent: TorrentId, reply: oneshot::Sender<Figures> },
    /// Give a torrent up once its disk work is done.
    Retire { torrent: TorrentId, reply: oneshot::Sender<()> },
    /// Stop every torrent, finish disk work, then end.
    Stop { reply: oneshot::Sender<()> },
}

/// A torrent to be taken in.
#[derive(Debug)]
pub(super) struct Hosting {
    pub(super) setup: Setup,
    /// URLs of its web seeds.
    pub(super) web_seeds: Vec<Arc<str>>,
    pub(super) storage: Arc<Storage>,
    /// Keeps others from its files.
    pub(super) claim: Lock,
    pub(super) shared: Arc<Shared>,
    /// Whether it goes on once it is complete.
    pub(super) keep_seeding: bool,
    /// Where its resume state is kept, if it is.
    pub(super) recorded: Option<Kept>,
    /// What fetched its metadata: this takes over from it.
    pub(super) older: Option<TorrentId>,
}

/// What trackers are told, in payload bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Figures {
    pub(super) uploaded: u64,
    pub(super) downloaded: u64,
    pub(super) left: u64,
    /// Nothing more is fetched, though something is missing (BEP 21).
    pub(super) is_partial_seed: bool,
}

impl Figures {
    /// What a torrent has to tell.
    pub(super) fn of(machine: &Snapshot) -> Figures {
        let missing = machine.total - machine.done;
        Figures {
            uploaded: machine.uploaded,
            downloaded: machine.downloaded,
            // Whoever does not know what is missing is no seed (as libtorrent does).
            left: if machine.wants_metadata { BLOCK_LEN.into() } else { missing },
            is_partial_seed: machine.phase == Phase::Seeding && missing > 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_what_it_wants_of_a_torrent_is_a_partial_seed() {
        let is_partial = |phase, done| {
            let machine = Snapshot { phase, total: 10, done, ..Snapshot::default() };
            Figures::of(&machine).is_partial_seed
        };
        assert!(is_partial(Phase::Seeding, 6));
        assert!(!is_partial(Phase::Seeding, 10) && !is_partial(Phase::Downloading, 6));
    }
}
