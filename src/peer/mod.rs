//! One connection: its flags, what it has, what we asked of it and what it asked of us.
//!
//! Data and small decisions that need no view of the swarm. Which pieces to ask for, whom to unchoke
//! and whom to drop is decided in `torrent`; the codec is in `wire`.

mod early;
pub mod outbox;
pub mod pieces;
pub mod pipeline;
pub mod requests;
pub mod uploads;

use std::{
    collections::{BTreeSet, VecDeque},
    net::SocketAddr,
};

use crate::{
    base::{
        id::PeerId,
        index::{Block, PieceIndex},
        limits,
        rate::RateMeter,
        time::Instant,
        web_seed::WebSeedNumber,
    },
    mse::Encryption,
    wire::Decoder,
};
use early::Early;
use pieces::PeerPieces;
use pipeline::Pipeline;
use requests::Requests;
use uploads::Uploads;

/// How far the handshake has come.
#[derive(Debug)]
pub enum Stage {
    /// The first 68 bytes are not complete; these are here.
    Handshake(Vec<u8>),
    /// Messages flow.
    Open,
}

/// A block whose payload is arriving.
#[derive(Debug, Clone, Copy)]
pub struct Arriving {
    /// Which block, if it is one of ours.
    pub block: Option<Block>,
    /// The payload is of use; otherwise it is thrown away.
    pub keep: bool,
    /// Payload bytes so far.
    pub at: u32,
    /// Whether we had asked for it.
    pub asked: bool,
}

/// One connection of one torrent.
#[derive(Debug)]
pub struct Peer {
    /// The other end.
    pub addr: SocketAddr,
    /// Where it listens, as far as we know.
    pub listen_addr: Option<SocketAddr>,
    /// We dialled it.
    pub outgoing: bool,
    /// When the connection began.
    pub since: Instant,
    /// How far the handshake has come.
    pub stage: Stage,
    /// How it is hidden.
    pub encryption: Encryption,
    /// It would rather have its connections encrypted, as it says (`e` in the extension handshake).
    pub prefers_encryption: bool,
    /// Our handshake is out, or on its way.
    pub said_hello: bool,
    /// It has a node of the DHT, and has not said where.
    pub dht: bool,
    /// It has said what our address is.
    pub named_us: bool,
    /// Requests were forgotten that it may answer still.
    pub forgot: bool,
    /// Its id, after the handshake.
    pub id: Option<PeerId>,
    /// Its client as it names itself.
    pub client: String,
    /// It takes fast extension messages (BEP 6).
    pub fast: bool,
    /// It takes extension messages (BEP 10).
    pub extended: bool,
    /// It says it wants no payload (BEP 21).
    pub upload_only: bool,

    /// We choke it.
    pub am_choking: bool,
    /// We are interested in it.
    pub am_interested: bool,
    /// It chokes us.
    pub peer_choking: bool,
    /// It is interested in us.
    pub peer_interested: bool,
    /// Pieces it lets us have even while it chokes us (BEP 6).
    pub allowed_fast: Vec<PieceIndex>,
    /// Its number for `upload_only` messages (BEP 21), if it takes them.
    pub upload_only_id: Option<u8>,
    /// Its number for `ut_metadata` messages (BEP 9), if it takes them.
    pub metadata_id: Option<u8>,
    /// Its number for `lt_donthave` messages (BEP 54), if it takes them.
    pub donthave_id: Option<u8>,
    /// Its number for `ut_pex` messages (BEP 11), if it takes them.
    pub pex_id: Option<u8>,
    /// Peers it was told of, and when last.
    pub told_of: BTreeSet<SocketAddr>,
    /// When it was told of peers last.
    pub told_of_at: Option<Instant>,
    /// When it named peers last.
    pub named_peers_at: Option<Instant>,
    /// Peers it has named, in all.
    pub named_peers: usize,
    /// How long the info dictionary is, as it says; it has that then.
    pub metadata_size: Option<u32>,
    /// Parts of the info dictionary it asked for, in all.
    pub metadata_asked: u32,
    /// Those it is to get, in the order in which it asked.
    pub metadata_due: VecDeque<u32>,

    /// What it has.
    pub pieces: PeerPieces,
    /// Pieces it has that we want and lack.
    pub wanted: u32,
    /// It sent its bitfield or another message that must come after it.
    pub past_bitfield: bool,
    /// What it said while the torrent's info dictionary was not known.
    pub early: Early,

    /// Splits its bytes.
    pub decoder: Decoder,
    /// The block arriving now.
    pub arriving: Option<Arriving>,
    /// Encoded messages waiting for the next write.
    pub out: Vec<u8>,
    /// It waits for a write: `Output::WantWrite` has been said.
    pub wants_write: bool,
    /// Since when that has been so at each tick, for its buffers are full; and bytes that it has taken since.
    pub unread: Option<(Instant, u64)>,
    /// How far it has been told of our pieces in the have log.
    pub have_cursor: usize,

    /// What we asked of it.
    pub requests: Requests,
    /// How much we ask at once.
    pub pipeline: Pipeline,
    /// What it asked of us.
    pub uploads: Uploads,

    /// Payload from it.
    pub down: RateMeter,
    /// Payload to it.
    pub up: RateMeter,
    /// When anything came from it.
    pub last_received: Instant,
    /// When we last wrote anything.
    pub last_sent: Instant,
    /// When it last sent a block, or was first asked again after a pause.
    pub last_block: Instant,
    /// When the latest of the requests was sent that it has answered.
    pub answered: Instant,
    /// We ask nothing more before then: it rejected requests while it did not choke us.
    pub hold_until: Instant,
    /// It let a request time out and has sent nothing since.
    pub snubbed: bool,
    /// How it stands with the choker.
    pub standing: Standing,
    /// Strikes for blocks nobody asked for and the like; they fade.
    pub strikes: u32,
}

/// How a peer stands with the choker, over all its connections.
#[derive(Debug, Clone, Copy, Default)]
pub struct Standing {
    /// When we last unchoked it.
    pub unchoked_at: Option<Instant>,
    /// Pieces it got from us, or parts of them, older ones counting less.
    pub given: f64,
    /// Pieces among them that nobody but it and seeds had or got from us; older ones count less here too.
    pub lent: f64,
    /// Those of `lent` that others have got since, without us (see the seeding choker).
    pub passed_on: f64,
    /// Payload from it by earlier connections.
    pub down_before: u64,
    /// Payload to it by earlier connections.
    pub up_before: u64,
}

impl Peer {
    /// A fresh connection. `pieces` is the number of pieces of the torrent.
    pub fn new(addr: SocketAddr, outgoing: bool, pieces: u32, now: Instant) -> Self {
        Peer {
            addr,
            listen_addr: outgoing.then_some(addr),
            outgoing,
            since: now,
            stage: Stage::Handshake(Vec::new()),
            encryption: Encryption::Off,
            prefers_encryption: false,
            said_hello: false,
            dht: false,
            named_us: false,
            forgot: false,
            id: None,
            client: String::new(),
            fast: false,
            extended: false,
            upload_only: false,
            am_choking: true,
            am_interested: false,
            peer_choking: true,
            peer_interested: false,
            allowed_fast: Vec::new(),
            upload_only_id: None,
            metadata_id: None,
            metadata_size: None,
            metadata_asked: 0,
            metadata_due: VecDeque::new(),
            pex_id: None,
            donthave_id: None,
            told_of: BTreeSet::new(),
            told_of_at: None,
            named_peers_at: None,
            named_peers: 0,
            pieces: PeerPieces::none(pieces),
            wanted: 0,
            past_bitfield: false,
            early: Early::default(),
            decoder: Decoder::new(pieces.div_ceil(8)),
            arriving: None,
            out: Vec::new(),
            wants_write: false,
            unread: None,
            have_cursor: 0,
            requests: Requests::default(),
            pipeline: Pipeline::new(limits::DEFAULT_REQQ),
            uploads: Uploads::default(),
            down: RateMeter::default(),
            up: RateMeter::default(),
            last_received: now,
            last_sent: now,
            last_block: now,
            answered: now,
            hold_until: now,
            snubbed: false,
            standing: Standing::default(),
            strikes: 0,
        }
    }

    /// Whether it is no peer but stands for a web seed.
    pub const fn is_web_seed(&self) -> bool {
        WebSeedNumber::of(self.addr).is_some()
    }

    /// Bytes of memory it makes us hold, beside slabs and its fixed part: what it said that is not whole, asked
    /// for and named, and what it does not read.
    pub fn held(&self) -> usize {
        let hello = match &self.stage {
            Stage::Handshake(bytes) => bytes.capacity(),
            Stage::Open => 0,
        };
        let said = hello + self.decoder.held() + self.early.held() + self.client.capacity();
        let asked = self.uploads.held() + self.metadata_due.len() * size_of::<u32>();
        let asked_of_it = self.requests.listed() * size_of::<requests::Request>();
        let named = self.told_of.len() * size_of::<SocketAddr>()
            + self.allowed_fast.len() * size_of::<PieceIndex>();
        said + asked + asked_of_it + named + self.pieces.held() + self.out.capacity()
    }

    /// Whether messages flow.
    pub const fn is_open(&self) -> bool {
        matches!(self.stage, Stage::Open)
    }

    /// Whether it has said nothing at all.
    pub fn is_silent(&self) -> bool {
        matches!(&self.stage, Stage::Handshake(bytes) if bytes.is_empty())
    }

    /// Whether there is something it could get from us.
    pub const fn wants_from_us(&self) -> bool {
        self.is_open() && self.peer_interested && !self.is_seed()
    }

    /// The payload that is arriving is of no use any more: the block it was for, if it was of use.
    pub fn stop_keeping(&mut self) -> Option<Block> {
        let arriving = self.arriving.as_mut()?;
        if std::mem::take(&mut arriving.keep) { arriving.block } else { None }
    }

    /// Whether it is another peer's turn to want anything from us: it has everything or says so.
    pub const fn is_seed(&self) -> bool {
        self.pieces.is_all() || self.upload_only
    }
}
