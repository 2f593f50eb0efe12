//! What the torrents want that a turn does not do itself: work for the disk, dials, addresses, and what a
//! person is told.

use std::{net::SocketAddr, sync::Arc};

use crate::{
    base::index::FileIndex,
    mse::Encryption,
    pieces::job::DiskJob,
    session::id::TorrentId,
    torrent::{CloseCause, Direction, Disconnect, Event, Refusal},
    wire::Handshake,
};

/// All of it; the driver takes it after each turn.
#[derive(Debug, Default)]
pub struct Wishes {
    /// Work for the disk; answers go to [`Turns::handle`](super::Turns::handle) as
    /// [`Input::Disk`](crate::torrent::Input::Disk).
    pub disk: Vec<(TorrentId, DiskJob)>,
    /// Whom to dial; then [`Turns::admit`](super::Turns::admit), or
    /// [`Input::DialFailed`](crate::torrent::Input::DialFailed).
    pub dials: Vec<Dial>,
    /// Web seeds to be connected with; answered like `dials`.
    pub web_seeds: Vec<OpenWebSeed>,
    /// Torrents that want more addresses.
    pub needs_peers: Vec<TorrentId>,
    /// Peers' nodes of the DHT.
    pub dht_nodes: Vec<SocketAddr>,
    /// What happened.
    pub events: Vec<(TorrentId, Happened)>,
}

/// A web seed to be connected with.
#[derive(Debug)]
pub struct OpenWebSeed {
    /// For which torrent.
    pub torrent: TorrentId,
    /// What stands for its address.
    pub addr: SocketAddr,
    /// Its URL, as the torrent has it.
    pub url: Arc<str>,
    /// Files that are not there.
    pub lacks: Box<[FileIndex]>,
}

impl Wishes {
    /// Adds all of `other`.
    pub fn append(&mut self, mut other: Wishes) {
        self.disk.append(&mut other.disk);
        self.dials.append(&mut other.dials);
        self.web_seeds.append(&mut other.web_seeds);
        self.needs_peers.append(&mut other.needs_peers);
        self.dht_nodes.append(&mut other.dht_nodes);
        self.events.append(&mut other.events);
    }

    /// There is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.disk.is_empty()
            && self.dials.is_empty()
            && self.web_seeds.is_empty()
            && self.needs_peers.is_empty()
            && self.dht_nodes.is_empty()
            && self.events.is_empty()
    }
}

/// Somebody to be dialled.
#[derive(Debug)]
pub struct Dial {
    /// For which torrent.
    pub torrent: TorrentId,
    /// Where.
    pub addr: SocketAddr,
    /// What to say inside the encryption handshake; without it there is none.
    pub encrypted: Option<Handshake>,
}

/// Something that happened in a turn.
#[derive(Debug)]
pub enum Happened {
    /// The torrent says so.
    Torrent(Event),
    /// A connection is ours.
    Connected(SocketAddr, Direction, Encryption),
    /// We would not have it.
    Refused(SocketAddr, Refusal),
    /// We closed it.
    Dropped(SocketAddr, Disconnect),
    /// It ended without us.
    Closed(SocketAddr, CloseCause),
}
