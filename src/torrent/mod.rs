//! One swarm's machine: owns the pieces and the peers of one torrent.
//!
//! Pure. A driver calls [`Torrent::handle`], [`Torrent::admit`], [`Torrent::read`] or
//! [`Torrent::write`] (one mutation), then drains [`Torrent::poll`] until `None`, then arms a timer
//! for [`Torrent::poll_timeout`].

mod blame;
mod candidates;
mod choker;
mod choking;
mod connections;
mod donthave;
mod download;
mod evidence;
mod exchange;
mod held;
mod input;
mod invariants;
mod ip_or_addr;
mod lifecycle;
mod messages;
mod metadata;
mod newcomers;
mod output;
mod priority;
mod reason;
mod snapshot;
mod sources;
mod standing;
mod succession;
mod superseed;
mod time_outs;
mod upload;
mod upload_slots;
mod verdict;
mod web_seeds;

pub use input::{CloseCause, Command, DialFailure, Input, OutsidePorts, Source};
pub use metadata::InfoBytes;
pub use output::{Event, Output};
pub use priority::Claimant;
pub use reason::{Disconnect, Refusal};
pub use snapshot::{Demand, Lease, PeerSnapshot, Phase, Snapshot};
pub use web_seeds::{WebSeedChange, WebSeedSnapshot};

use std::{
    collections::{BTreeMap, VecDeque},
    net::SocketAddr,
    sync::Arc,
};

use crate::{
    base::{
        bitfield::Bitfield,
        geometry::Geometry,
        hash::Sha1Hash,
        id::{PeerId, PeerKey},
        index::{PartialPiece, PieceIndex},
        ip_filter::IpFilter,
        rate::RateMeter,
        rng::Rng,
        slab::Pool,
        time::Instant,
        web_seed::WebSeedNumber,
    },
    metainfo::ShareCode,
    mse::Policy,
    peer::Peer,
    pieces::{Pieces, Priority, job::DiskFault},
    why::{Happening, Recent},
};
use blame::Blame;
use candidates::Candidates;
use choker::Choker;
use connections::Peers;
use metadata::Metadata;
use newcomers::Grants;
use standing::Standings;
use superseed::Superseed;
use web_seeds::WebSeeds;

/// Who opened a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// They dialled us.
    Incoming,
    /// We dialled them.
    Outgoing,
}

/// What a torrent may use and how it behaves.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Most connections at once, handshakes included.
    pub max_peers: u32,
    /// Most dials in flight, as long as some are answered; three times as many where hardly any are.
    pub max_dialling: u32,
    /// Peers unchoked at once, the optimistic one included; `None` finds a number that fills the uplink.
    pub unchoke_slots: Option<u32>,
    /// Take pieces in order instead of rarest first.
    pub sequential: bool,
    /// Fetch what is missing. Otherwise nothing is ever asked for or written.
    pub fetch: bool,
    /// Tell peers of one another (BEP 11); not for a private torrent.
    pub pex: bool,
    /// When connections are encrypted.
    pub encryption: Policy,
    /// A seed shows each peer a few pieces at a time, until the peers have everything among them (BEP 16).
    pub super_seed: bool,
    /// Keep connections to peers who can't want anything from us or give us anything.
    pub keep_useless: bool,
    /// Never to be dialled. Who connects from there is for the driver to turn away.
    pub blocked: Arc<IpFilter>,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            max_peers: 200,
            max_dialling: 32,
            unchoke_slots: None,
            sequential: false,
            fetch: true,
            pex: false,
            encryption: Policy::Disabled,
            super_seed: false,
            keep_useless: false,
            blocked: Arc::default(),
        }
    }
}

/// What a torrent needs to begin.
#[derive(Debug)]
pub struct Setup {
    /// The 20 bytes of the handshake.
    pub info_hash: Sha1Hash,
    /// Whoever knows it calls the torrent by its password, as we do, and finds the info dictionary by it.
    pub code: Option<ShareCode>,
    /// Lengths.
    pub geometry: Geometry,
    /// Pieces already verified on disk.
    pub have: Bitfield,
    /// Unfinished pieces of an earlier run.
    pub partial: Vec<PartialPiece>,
    /// How much each piece is wanted; all alike when it is empty.
    pub priorities: Vec<Priority>,
    /// Who we are.
    pub peer_id: PeerId,
    /// Where we listen; told to peers.
    pub listen_port: Option<u16>,
    /// Where our node of the DHT is reached; told to peers that have one too. `None` for a torrent that may
    /// not use it.
    pub dht_port: Option<u16>,
    /// The info dictionary, for peers that lack it. Without it that is what is fetched from peers, and
    /// all that is ([`Event::Metadata`]); `geometry` has no pieces then.
    pub metadata: Option<InfoBytes>,
    /// How to behave.
    pub settings: Settings,
    /// Seed of every random choice.
    pub seed: u64,
}

/// What [`Torrent::write`] left behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// Nothing more to say now; `Output::WantWrite` will come when there is.
    Idle,
    /// More is ready: call again when the send buffer has drained.
    More,
    /// Blocks wait for the upload limit: call again with a larger grant.
    RateLimited,
}

/// One swarm, from our side.
#[derive(Debug)]
pub struct Torrent {
    info_hash: Sha1Hash,
    code: Option<ShareCode>,
    peer_id: PeerId,
    listen_port: Option<u16>,
    dht_port: Option<u16>,
    mapped: OutsidePorts,
    metadata: Metadata,
    settings: Settings,
    lease: Lease,
    phase: Phase,
    rng: Rng,
    /// In a box, because there may be very many torrents in a table with room for twice as many.
    pieces: Box<Pieces>,
    peers: Peers,
    candidates: Candidates,
    web_seeds: WebSeeds,
    choker: Choker,
    blame: Blame,
    grants: Grants,
    standings: Standings,
    superseed: Option<Box<Superseed>>,
    outputs: VecDeque<Output>,
    /// Peers to be taken out at the next chance to give slabs back; `Disconnect` is said already.
    doomed: Vec<PeerKey>,
    /// Who was given each piece that nobody else has, seeds aside; `None` if several were.
    given: BTreeMap<PieceIndex, Option<PeerKey>>,
    /// A block became free: peers with room may want it.
    freed: bool,
    /// A pick found no memory: try again when slabs come back.
    memory_short: bool,
    /// A complete piece was not checked yet, because one of those who sent it is doubted.
    unchecked: bool,
    /// Checks and early writes that the disk has not answered, and the bytes of their slabs.
    at_disk: u32,
    at_disk_bytes: u64,
    /// Peers whose next read found no memory.
    starved: Vec<PeerKey>,
    /// The set of interested or unchoked peers changed.
    choke_dirty: bool,
    /// Somebody may be dialled who could not be before.
    dial_dirty: bool,
    next_tick: Option<Instant>,
    next_need_peers: Instant,
    totals: Totals,
    down: RateMeter,
    up: RateMeter,
    /// When a block last arrived.
    last_block: Instant,
    /// What happened lately; nothing has to an idle torrent.
    recent: Option<Box<Recent>>,
    /// Why the disk stopped us.
    fault: Option<Box<DiskFault>>,
}

/// Payload counted over the life of the machine, in bytes.
#[derive(Debug, Default)]
struct Totals {
    downloaded: u64,
    uploaded: u64,
    wasted: u64,
    corrupt: u64,
}

impl Torrent {
    /// A torrent with the pieces it already has; it dials nobody until it is told of peers.
    pub fn new(setup: Setup, now: Instant) -> Self {
        let mut rng = Rng::new(setup.seed);
        let metadata = Metadata::new(setup.metadata);
        let mut pieces =
            Pieces::new(setup.geometry, setup.have, setup.settings.sequential, &mut rng);
        pieces.prioritise(setup.priorities);
        let done = pieces.is_done() && !metadata.is_wanted();
        let checks = pieces.restore(&setup.partial);
        let superseeds = setup.settings.super_seed && pieces.is_complete() && done;
        let superseed = superseeds.then(|| Box::new(Superseed::new(pieces.geometry().pieces())));
        let mut torrent = Torrent {
            info_hash: setup.info_hash,
            code: setup.code,
            peer_id: setup.peer_id,
            listen_port: setup.listen_port,
            dht_port: setup.dht_port,
            mapped: OutsidePorts::default(),
            metadata,
            phase: if done { Phase::Seeding } else { Phase::Downloading },
            choker: Choker::new(setup.settings.unchoke_slots, now),
            lease: Lease::default(),
            candidates: Candidates::new(setup.listen_port, setup.settings.encryption, rng.fork())
                .without(setup.settings.blocked.clone()),
            settings: setup.settings,
            web_seeds: WebSeeds::new(Rng::new(!setup.seed)),
            rng,
            pieces: Box::new(pieces),
            peers: Peers::default(),
            blame: Blame::default(),
            grants: Grants::default(),
            standings: Standings::default(),
            superseed,
            outputs: VecDeque::new(),
            doomed: Vec::new(),
            given: BTreeMap::new(),
            freed: false,
            memory_short: false,
            unchecked: false,
            at_disk: 0,
            at_disk_bytes: 0,
            starved: Vec::new(),
            choke_dirty: false,
            dial_dirty: true,
            next_tick: Some(now),
            next_need_peers: now,
            totals: Totals::default(),
            down: RateMeter::default(),
            up: RateMeter::default(),
            last_block: now,
            recent: None,
            fault: None,
        };
        checks.into_iter().for_each(|job| torrent.hand_to_disk(job));
        torrent
    }

    /// Takes one input; then drain [`Torrent::poll`].
    pub fn handle(&mut self, now: Instant, input: Input, pool: &mut Pool) {
        match input {
            Input::Disk(event) => self.disk_event(now, event, pool),
            Input::PieceLost { piece, kind } => self.lose_piece(piece, kind),
            Input::StorageGone(fault) => self.storage_gone(fault, pool),
            Input::Closed { peer, cause } => self.closed(now, peer, cause, pool),
            Input::DialFailed { addr, failure } => {
                match WebSeedNumber::of(addr) {
                    Some(number) => self.web_seed_not_opened(now, number, failure),
                    None => {
                        let no_socket = failure == DialFailure::NoDescriptor;
                        Recent::note(&mut self.recent, now, Happening::NoSocket, no_socket.into());
                        self.candidates.dial_failed(now, addr, failure);
                    }
                }
                self.dial_dirty = true;
            }
            Input::Mapped(mapped) => self.mapped = mapped,
            Input::OwnAddress { ip, by } => self.candidates.hear_own(ip, by),
            Input::PeersFound { source, addrs } => {
                let blocked = self.candidates.found(now, source, &addrs);
                Recent::note(&mut self.recent, now, Happening::Blocked, blocked);
                self.dial_dirty = true;
            }
            Input::WebSeeds(urls) => self.web_seeds_found(now, urls),
            Input::Moved => {
                self.candidates.moved(now);
                self.retry_web_seeds(now);
                self.dial_dirty = true;
            }
            Input::Command(command) => self.command(now, command, pool),
            Input::Timeout => self.tick(now, pool),
        }
        self.settle(now, pool);
    }

    /// The next thing for the driver to do; `None` when it has it all.
    pub fn poll(&mut self) -> Option<Output> {
        let output = self.outputs.pop_front();
        if output.is_none() && self.peers.len() == 0 {
            // An idle torrent holds no memory for what it will say.
            self.outputs = VecDeque::new();
        }
        output
    }

    /// When to give [`Input::Timeout`]; `None` while nothing is to happen by itself.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.next_tick
    }

    /// Verified pieces.
    pub fn have(&self) -> &Bitfield {
        self.pieces.have()
    }

    /// Unfinished pieces of which some blocks are in the files.
    pub fn partial(&self) -> Vec<PartialPiece> {
        self.pieces.partial()
    }

    /// Peers that could be connected to: for the next run to begin with.
    pub fn reachable(&self) -> Vec<SocketAddr> {
        let reached = |p: &&Peer| p.outgoing && p.is_open() && !p.is_web_seed();
        self.peers.iter().map(|(_, p)| p).filter(reached).map(|p| p.addr).collect()
    }

    /// Whether this connection is one of ours still.
    pub fn knows(&self, peer: PeerKey) -> bool {
        self.peers.get(peer).is_some()
    }

    /// Lengths and counts.
    pub fn geometry(&self) -> &Geometry {
        self.pieces.geometry()
    }

    /// Whether every piece is verified.
    pub fn is_complete(&self) -> bool {
        self.pieces.is_complete() && !self.metadata.is_wanted()
    }

    /// Whether every piece that is wanted is verified.
    pub fn is_done(&self) -> bool {
        self.pieces.is_done() && !self.metadata.is_wanted()
    }

    /// Whether nothing is asked for any more, though pieces may be missing (BEP 21).
    pub(super) fn uploads_only(&self) -> bool {
        self.is_done() || !self.settings.fetch
    }

    /// The 20 bytes that name the torrent in handshakes of ours.
    pub fn name(&self) -> Sha1Hash {
        self.code.map_or(self.info_hash, ShareCode::password)
    }

    /// Whether a peer may call the torrent so.
    fn is_called(&self, name: Sha1Hash) -> bool {
        name == self.info_hash || name == self.name()
    }

    /// Whether everything missing is asked for already.
    pub fn is_endgame(&self) -> bool {
        !self.is_done() && self.pieces.is_endgame()
    }

    /// What it does at this moment.
    pub const fn phase(&self) -> Phase {
        self.phase
    }

    /// What every mutation ends with: consequences that concern other peers.
    fn settle(&mut self, now: Instant, pool: &mut Pool) {
        self.drop_doomed(now, pool);
        if std::mem::take(&mut self.freed) {
            self.refill_all(now, pool);
        }
        if std::mem::take(&mut self.choke_dirty) {
            self.fill_slots(now);
        }
        if !self.starved.is_empty() && !pool.is_spent() {
            for key in std::mem::take(&mut self.starved) {
                self.want_write(key);
            }
        }
        if std::mem::take(&mut self.dial_dirty) {
            self.dial(now);
            self.next_tick(now).into_iter().for_each(|at| self.tick_by(at));
        }
        #[cfg(debug_assertions)]
        if self.pieces.geometry().pieces() < 64 {
            self.pieces.check_invariants();
        }
    }

    fn say(&mut self, event: Event) {
        self.outputs.push_back(Output::Event(event));
    }
}
