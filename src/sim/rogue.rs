//! Peers that speak the wire by themselves and need not be honest about it.
//!
//! A [`Rogue`] is told what happens and says what to do; [`Script`] is one that plays most parts:
//! liar, staller, flooder, miser, slow coach, or a plain seeder that offers a chosen `reqq`. Those who never
//! get as far as the wire are in [`super::masked`], those who say what others have said in [`super::replay`],
//! web seeds that speak HTTP in [`super::server`].

use std::{collections::VecDeque, net::SocketAddr, time::Duration};

use crate::{
    base::{
        bitfield::Bitfield, hash::Sha1Hash, index::PieceIndex, rng::Rng, time::Instant,
        units::BLOCK_LEN,
    },
    lsd::Announce,
    webseed::Failure,
};

use super::{
    StreamId,
    disk::Content,
    frames::{self, Frame, Span},
    link::Unit,
};

/// A rogue's name for one of its connections.
pub type Line = StreamId;

/// What has come on a connection, as it came.
#[derive(Debug, Clone)]
pub struct Heard(pub(super) Unit);

/// What a rogue does; carried out when it returns.
#[derive(Debug, Default)]
pub struct Doings {
    pub(super) list: Vec<Doing>,
}

#[derive(Debug)]
pub(super) enum Doing {
    Send(Line, Unit),
    Close(Line),
    Dial { to: SocketAddr, encrypted: bool },
    Multicast { from: SocketAddr, datagram: Vec<u8> },
    Timer(Instant, u32),
}

impl Doings {
    /// Sends bytes of any kind.
    pub fn send(&mut self, line: Line, bytes: Vec<u8>) {
        self.list.push(Doing::Send(line, Unit::Bytes(bytes)));
    }

    /// Sends one block whose payload is `tag`.
    pub fn send_block(&mut self, line: Line, span: Span, tag: u64) {
        let header = frames::piece_header(span);
        self.list.push(Doing::Send(line, Unit::Block { header, length: span.length, tag }));
    }

    /// Sends once more what has come.
    pub fn repeat(&mut self, line: Line, what: &Heard) {
        self.list.push(Doing::Send(line, what.0.clone()));
    }

    /// Closes a connection once everything before has been sent.
    pub fn close(&mut self, line: Line) {
        self.list.push(Doing::Close(line));
    }

    /// Closes a connection so, as the web seed at its other end has failed.
    pub fn fail(&mut self, line: Line, failure: Failure) {
        self.list.push(Doing::Send(line, Unit::Failed(failure)));
        self.close(line);
    }

    /// Dials an address.
    pub fn dial(&mut self, to: SocketAddr) {
        self.list.push(Doing::Dial { to, encrypted: false });
    }

    /// Dials an address, where the encryption handshake is expected then.
    pub fn dial_encrypted(&mut self, to: SocketAddr) {
        self.list.push(Doing::Dial { to, encrypted: true });
    }

    /// Sends something to all of the local network, as if `from` had sent it (BEP 14).
    pub fn multicast(&mut self, from: SocketAddr, datagram: Vec<u8>) {
        self.list.push(Doing::Multicast { from, datagram });
    }

    /// Asks to be called at `at` with `token`.
    pub fn timer(&mut self, at: Instant, token: u32) {
        self.list.push(Doing::Timer(at, token));
    }
}

/// Someone in the swarm who is not a torrent machine.
pub trait Rogue {
    /// It is there.
    fn start(&mut self, _now: Instant, _doings: &mut Doings) {}

    /// The tracker named these.
    fn peers(&mut self, _now: Instant, _addrs: &[SocketAddr], _doings: &mut Doings) {}

    /// A connection exists; nothing has been sent on it.
    fn connected(&mut self, now: Instant, line: Line, outgoing: bool, doings: &mut Doings);

    /// Bytes of the encryption handshake have arrived. Who does not know it hangs up.
    fn opening(&mut self, _now: Instant, line: Line, _bytes: &[u8], doings: &mut Doings) {
        doings.close(line);
    }

    /// A message has arrived.
    fn message(&mut self, now: Instant, line: Line, frame: Frame, doings: &mut Doings);

    /// Something has arrived whose messages have been told of.
    fn heard(&mut self, _now: Instant, _line: Line, _what: &Heard, _doings: &mut Doings) {}

    /// A connection is gone.
    fn closed(&mut self, _now: Instant, _line: Line, _doings: &mut Doings) {}

    /// A timer has come.
    fn timer(&mut self, _now: Instant, _token: u32, _doings: &mut Doings) {}
}

/// What a [`Script`] says it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claims {
    /// Everything.
    All,
    /// Nothing.
    Nothing,
    /// Every n-th piece, from the first.
    Every(u32),
}

/// How a [`Script`] answers requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Serve {
    /// With the right block.
    Right,
    /// One block in so many is wrong; 1: all are.
    Wrong(u32),
    /// Not at all.
    Never,
    /// With a reject.
    Reject,
    /// With one right block in each such time, over all connections.
    Slowly(Duration),
    /// With one byte in each such time, on each connection.
    Trickle(Duration),
    /// So many times right, and then not at all.
    Times(u32),
}

/// What a [`Script`] does with metadata (BEP 9).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Metadata {
    /// It does not speak of it.
    None,
    /// It sends what is right.
    Right,
    /// It says the right length, and sends something else.
    Wrong,
    /// It says that it has so many bytes, and sends such parts.
    Claims(u32),
    /// It does not answer.
    Silent,
    /// It refuses.
    Refuses,
}

/// Messages to send to each connection ten times a second.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Flood {
    /// `have` of random pieces.
    pub haves: u32,
    /// `request` of random blocks.
    pub requests: u32,
    /// `cancel` of random blocks.
    pub cancels: u32,
    /// Extension messages with an id that means nothing.
    pub extended: u32,
    /// Blocks that nobody asked for.
    pub blocks: u32,
}

/// How a [`Script`] behaves. The default is an honest seeder.
#[derive(Debug, Clone)]
pub struct Part {
    /// What it says it has.
    pub claims: Claims,
    /// How it answers requests.
    pub serve: Serve,
    /// Whether it unchokes who is interested.
    pub unchoke: bool,
    /// Whether it says it is interested.
    pub interested: bool,
    /// The `reqq` it offers (BEP 10).
    pub reqq: Option<u32>,
    /// Whether it takes fast extension and extension messages.
    pub extensions: bool,
    /// How it answers requests for metadata.
    pub metadata: Metadata,
    /// How many peers that do not exist it names to each connection, at once and every minute (BEP 11).
    pub inventions: u32,
    /// How many peers that do not answer it announces on the local network every second (BEP 14).
    pub announces: u32,
    /// What it sends unasked.
    pub flood: Flood,
    /// It closes each connection after so long, and dials again when it had dialled.
    pub hang_up_after: Option<Duration>,
    /// Whether it dials the peers that the tracker names.
    pub dials: bool,
}

impl Default for Part {
    fn default() -> Self {
        Part {
            claims: Claims::All,
            serve: Serve::Right,
            unchoke: true,
            interested: false,
            reqq: Some(250),
            extensions: true,
            metadata: Metadata::None,
            inventions: 0,
            announces: 0,
            flood: Flood::default(),
            hang_up_after: None,
            dials: true,
        }
    }
}

#[derive(Debug)]
struct Open {
    line: Line,
    /// The peer's handshake has come.
    greeted: bool,
}

/// A rogue that plays a [`Part`].
#[derive(Debug)]
pub struct Script {
    part: Part,
    content: Content,
    info_hash: Sha1Hash,
    peer_id: [u8; 20],
    rng: Rng,
    open: Vec<Open>,
    dialled: VecDeque<SocketAddr>,
    known: Vec<SocketAddr>,
    slow: VecDeque<(Line, Span)>,
    /// Connections on which a block trickles, and the bytes of it that are to come.
    trickles: Vec<(Line, u32)>,
    served: u32,
}

const FLOOD: u32 = 0;
const SLOW: u32 = 1;
const REDIAL: u32 = 2;
const INVENT: u32 = 3;
const ANNOUNCE: u32 = 4;
const TRICKLE: u32 = 5;
/// Tokens from here on hang up on the connection of that number.
const HANG_UP: u32 = 16;
const FLOOD_EVERY: Duration = Duration::from_millis(100);
const INVENTS_FIRST: Duration = Duration::from_secs(2);
const INVENTS_EVERY: Duration = Duration::from_secs(60);
const ANNOUNCES_EVERY: Duration = Duration::from_secs(1);
/// Addresses of documentation (RFC 5737): where no host is, and where what is sent is lost.
const NOBODY: [u8; 3] = [203, 0, 113];
pub(super) const LOST: [u8; 3] = [198, 51, 100];
/// The numbers under which machines take the two extensions.
const UT_PEX: u8 = 1;
const UT_METADATA: u8 = 2;
/// Bytes of one part of the metadata.
const METADATA_PART: usize = 16 << 10;
/// The info dictionary of every swarm here, as far as anybody reads it.
pub(super) static METADATA: [u8; 20_000] = [0; 20_000];

impl Script {
    /// Plays `part` in the swarm of `content` and `info_hash`.
    pub fn new(part: Part, content: Content, info_hash: Sha1Hash, seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let mut peer_id = *b"-RG0001-............";
        rng.fill(&mut peer_id[8..]);
        Script {
            part,
            content,
            info_hash,
            peer_id,
            rng,
            open: Vec::new(),
            dialled: VecDeque::new(),
            known: Vec::new(),
            slow: VecDeque::new(),
            trickles: Vec::new(),
            served: 0,
        }
    }

    fn greet(&self, line: Line, doings: &mut Doings) {
        let part = &self.part;
        doings.send(line, frames::handshake(self.info_hash, self.peer_id, part.extensions));
        if part.extensions {
            doings.send(line, frames::with_body(20, self.extension_handshake().as_bytes()));
        }
        let pieces = self.content.geometry().pieces();
        match (part.claims, part.extensions) {
            (Claims::All, true) => doings.send(line, frames::simple(14)),
            (Claims::Nothing, true) => doings.send(line, frames::simple(15)),
            (Claims::Nothing, false) => {}
            (Claims::All, false) => {
                doings.send(line, frames::with_body(5, Bitfield::full(pieces).as_bytes()));
            }
            (Claims::Every(n), _) => {
                let mut bits = Bitfield::empty(pieces);
                (0..pieces).step_by(n.max(1) as usize).for_each(|p| {
                    bits.insert(PieceIndex(p));
                });
                doings.send(line, frames::with_body(5, bits.as_bytes()));
            }
        }
        if part.interested {
            doings.send(line, frames::simple(2));
        }
    }

    fn extension_handshake(&self) -> String {
        let size = match self.part.metadata {
            Metadata::None => None,
            Metadata::Claims(size) => Some(size),
            _ => Some(METADATA.len() as u32),
        };
        let m = size.map_or("", |_| "11:ut_metadatai3e");
        let size = size.map_or(String::new(), |size| format!("13:metadata_sizei{size}e"));
        let reqq = self.part.reqq.map_or(String::new(), |reqq| format!("4:reqqi{reqq}e"));
        format!("\0d1:md{m}e{size}{reqq}e")
    }

    /// Answers a request for a part of the metadata.
    fn metadata_asked(&self, line: Line, part: u32, doings: &mut Doings) {
        let wrong = [0x5a; METADATA.len()];
        let all = match self.part.metadata {
            Metadata::None | Metadata::Silent => return,
            Metadata::Refuses => {
                return doings.send(line, frames::metadata(UT_METADATA, part, 0, None));
            }
            Metadata::Claims(size) => {
                let length = size.saturating_sub(part * METADATA_PART as u32) as usize;
                let bytes = &wrong[..length.min(METADATA_PART)];
                return doings.send(line, frames::metadata(UT_METADATA, part, size, Some(bytes)));
            }
            Metadata::Right => &METADATA,
            Metadata::Wrong => &wrong,
        };
        if let Some(bytes) = all.chunks(METADATA_PART).nth(part as usize) {
            let total = all.len() as u32;
            doings.send(line, frames::metadata(UT_METADATA, part, total, Some(bytes)));
        }
    }

    /// Names peers that do not exist.
    fn invent(&mut self, doings: &mut Doings) {
        let lines: Vec<Line> = self.open.iter().filter(|o| o.greeted).map(|o| o.line).collect();
        for line in lines {
            let mut added = Vec::new();
            for _ in 0..self.part.inventions {
                let (ip, port) = self.invention(NOBODY);
                added.extend_from_slice(&ip);
                added.extend_from_slice(&port.to_be_bytes());
            }
            let mut body = vec![UT_PEX];
            body.extend_from_slice(format!("d5:added{}:", added.len()).as_bytes());
            body.extend_from_slice(&added);
            body.push(b'e');
            doings.send(line, frames::with_body(20, &body));
        }
    }

    fn invention(&mut self, [a, b, c]: [u8; 3]) -> ([u8; 4], u16) {
        ([a, b, c, self.rng.below(256) as u8], 1024 + self.rng.below(60_000) as u16)
    }

    /// Announces peers that do not answer.
    fn announce(&mut self, now: Instant, doings: &mut Doings) {
        for _ in 0..self.part.announces {
            let (ip, port) = self.invention(LOST);
            let announce = Announce { port, info_hashes: vec![self.info_hash], cookie: None };
            doings.multicast((ip, port).into(), announce.encode(false));
        }
        doings.timer(now + ANNOUNCES_EVERY, ANNOUNCE);
    }

    fn block(&mut self, line: Line, span: Span, doings: &mut Doings) {
        self.served = self.served.wrapping_add(1);
        let wrong = matches!(self.part.serve, Serve::Wrong(n) if self.served.is_multiple_of(n));
        let tag = self.content.tag(span.piece, span.begin);
        doings.send_block(line, span, if wrong { !tag } else { tag });
    }

    fn asked(&mut self, now: Instant, line: Line, span: Span, doings: &mut Doings) {
        match self.part.serve {
            Serve::Right | Serve::Wrong(_) => self.block(line, span, doings),
            Serve::Never => {}
            Serve::Reject => {
                doings.send(line, frames::numbers(16, &[span.piece, span.begin, span.length]));
            }
            Serve::Times(n) if self.served < n => self.block(line, span, doings),
            Serve::Times(_) => {}
            Serve::Trickle(each) => {
                if self.trickles.iter().all(|(l, _)| *l != line) {
                    if self.trickles.is_empty() {
                        doings.timer(now + each, TRICKLE);
                    }
                    self.trickles.push((line, span.length));
                    doings.send(line, frames::piece_header(span).to_vec());
                }
            }
            Serve::Slowly(each) => {
                if self.slow.is_empty() {
                    doings.timer(now + each, SLOW);
                }
                self.slow.push_back((line, span));
            }
        }
    }

    fn random_span(&mut self) -> Span {
        let geometry = self.content.geometry();
        let piece = PieceIndex(self.rng.below(u64::from(geometry.pieces())) as u32);
        let block = self.rng.below(u64::from(geometry.blocks_in(piece))) as u32;
        let block = geometry.block_at(piece, block);
        Span { piece: piece.0, begin: block.begin, length: block.length.min(BLOCK_LEN) }
    }

    fn flood(&mut self, now: Instant, doings: &mut Doings) {
        let flood = self.part.flood;
        let lines: Vec<Line> = self.open.iter().filter(|o| o.greeted).map(|o| o.line).collect();
        for line in lines {
            let mut bytes = Vec::new();
            for (id, count) in [(4, flood.haves), (6, flood.requests), (8, flood.cancels)] {
                for _ in 0..count {
                    let s = self.random_span();
                    let values = [s.piece, s.begin, s.length];
                    let values = if id == 4 { &values[..1] } else { &values };
                    bytes.append(&mut frames::numbers(id, values));
                }
            }
            for _ in 0..flood.extended {
                bytes.append(&mut frames::with_body(20, &[77; 100]));
            }
            if !bytes.is_empty() {
                doings.send(line, bytes);
            }
            for _ in 0..flood.blocks {
                let span = self.random_span();
                self.block(line, span, doings);
            }
        }
        doings.timer(now + FLOOD_EVERY, FLOOD);
    }
}

impl Rogue for Script {
    fn start(&mut self, now: Instant, doings: &mut Doings) {
        if self.part.flood != Flood::default() {
            doings.timer(now + FLOOD_EVERY, FLOOD);
        }
        if self.part.inventions > 0 {
            doings.timer(now + INVENTS_FIRST, INVENT);
        }
        if self.part.announces > 0 {
            self.announce(now, doings);
        }
    }

    fn peers(&mut self, _now: Instant, addrs: &[SocketAddr], doings: &mut Doings) {
        if self.part.dials {
            for addr in addrs.iter().filter(|a| !self.known.contains(a)) {
                doings.dial(*addr);
                self.dialled.push_back(*addr);
            }
            self.known = self.dialled.iter().copied().collect();
        }
    }

    fn connected(&mut self, now: Instant, line: Line, outgoing: bool, doings: &mut Doings) {
        self.open.push(Open { line, greeted: false });
        if outgoing {
            self.greet(line, doings);
        }
        if let Some(after) = self.part.hang_up_after {
            doings.timer(now + after, HANG_UP + line.0);
        }
    }

    fn message(&mut self, now: Instant, line: Line, frame: Frame, doings: &mut Doings) {
        match frame {
            Frame::Handshake(_) => {
                let known = self.open.iter_mut().find(|o| o.line == line);
                if let Some(open) = known {
                    open.greeted = true;
                }
                if !line.is_dialler() {
                    self.greet(line, doings);
                }
            }
            Frame::Interested if self.part.unchoke => doings.send(line, frames::simple(1)),
            Frame::Request(span) => self.asked(now, line, span, doings),
            Frame::MetadataRequest(part) => self.metadata_asked(line, part, doings),
            Frame::Cancel(span) => self.slow.retain(|s| *s != (line, span)),
            _ => {}
        }
    }

    fn closed(&mut self, now: Instant, line: Line, doings: &mut Doings) {
        self.open.retain(|o| o.line != line);
        self.slow.retain(|(l, _)| *l != line);
        self.trickles.retain(|(l, _)| *l != line);
        if self.part.hang_up_after.is_some() && line.is_dialler() {
            doings.timer(now + FLOOD_EVERY, REDIAL);
        }
    }

    fn timer(&mut self, now: Instant, token: u32, doings: &mut Doings) {
        match token {
            FLOOD => self.flood(now, doings),
            INVENT => {
                self.invent(doings);
                doings.timer(now + INVENTS_EVERY, INVENT);
            }
            ANNOUNCE => self.announce(now, doings),
            TRICKLE => {
                for (line, left) in &mut self.trickles {
                    doings.send(*line, vec![0]);
                    *left -= 1;
                }
                self.trickles.retain(|(_, left)| *left > 0);
                if let (Serve::Trickle(each), false) = (self.part.serve, self.trickles.is_empty()) {
                    doings.timer(now + each, TRICKLE);
                }
            }
            SLOW => {
                if let Some((line, span)) = self.slow.pop_front() {
                    self.block(line, span, doings);
                }
                if let (Serve::Slowly(each), false) = (self.part.serve, self.slow.is_empty()) {
                    doings.timer(now + each, SLOW);
                }
            }
            REDIAL => {
                if let Some(addr) = self.dialled.pop_front() {
                    self.dialled.push_back(addr);
                    doings.dial(addr);
                }
            }
            hang_up => doings.close(StreamId(hang_up - HANG_UP)),
        }
    }
}
