//! Watches every wire from outside: who asked whom for what, what came twice, who has which piece.
//!
//! Counts what the torrent machines do without asking them. Its rule of requests: a host's request is
//! *outstanding* from the moment its bytes leave the send buffer until the peer's block or reject has
//! arrived, the peer chokes without the fast extension, the connection ends, or
//! the peer has sent no block for [`REQUEST_TIMEOUT`]. A cancel changes nothing. A host is in *endgame* when each block it
//! lacks is outstanding somewhere.

use std::{collections::VecDeque, time::Duration};

use crate::base::{
    bitfield::Bitfield, geometry::Geometry, index::PieceIndex, time::Instant, units::BLOCK_LEN,
};

use super::{
    HostId, StreamId,
    frames::{Frame, Frames, Span},
    link::Unit,
};

/// A peer that has sent no block for so long has timed out: a little less than the least patience of
/// the machine (20 s), because it is counted from when the request really left.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);
/// A second request counts as endgame if the last block is asked for within so long: decisions of one
/// moment leave over several connections, some behind seconds of blocks.
const ENDGAME_SLACK: Duration = Duration::from_secs(10);
/// Width of one bucket of the usage curve.
pub const BUCKET: Duration = Duration::from_secs(10);
/// Breaches kept in full.
const KEPT: usize = 20;

/// A block was asked for at a second peer while the first had not answered, outside endgame.
#[derive(Debug, Clone)]
pub struct DoubleRequest {
    /// Who asked.
    pub host: HostId,
    /// For what.
    pub piece: u32,
    /// For what within the piece.
    pub begin: u32,
    /// When the second request left.
    pub at: Instant,
    /// How long the first one had been waiting.
    pub age: Duration,
    /// Blocks that were asked for nowhere at that moment.
    pub unasked: u32,
    /// Peers at which it was outstanding then.
    pub peers: u16,
}

/// What a host is to the swarm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Starts with everything.
    Seeder,
    /// Starts with nothing, or part.
    Leecher,
    /// Does what it likes.
    Rogue,
}

/// Payload of seeders that brought nothing new into the swarm while a copy was not out, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Repeats {
    /// Blocks of pieces that some leecher held.
    pub held: u64,
    /// Blocks sent before to somebody, of pieces that no leecher held yet.
    pub on_the_way: u64,
}

const RECEIVED: u16 = 0x8000;

#[derive(Debug)]
struct Watched {
    role: Role,
    /// For each block: received, and at how many peers outstanding.
    blocks: Vec<u16>,
    /// Blocks neither received nor outstanding.
    unasked: u32,
    /// Second requests that may turn out to be endgame.
    doubtful: VecDeque<DoubleRequest>,
    /// Its sides of open connections.
    lines: Vec<StreamId>,
    sent: u64,
    received: u64,
    twice: u64,
    messages: u64,
}

#[derive(Debug)]
struct Asked {
    block: u32,
    at: Instant,
    /// It has not timed out.
    counts: bool,
}

/// One stream as it was sent (by its sender) and as it arrived (at its receiver).
#[derive(Debug, Default)]
struct Line {
    sent: Frames,
    got: Frames,
    /// What the *sender* of the stream has asked for and not got.
    asked: VecDeque<Asked>,
    /// When the sender of the stream last got a block back.
    last_piece: Instant,
    /// The sender takes fast extension messages.
    fast: bool,
}

/// The watcher of one world.
#[derive(Debug)]
pub struct Observer {
    geometry: Geometry,
    blocks_per_piece: u32,
    hosts: Vec<Watched>,
    lines: Vec<Line>,
    holders: Vec<u32>,
    unheld: u32,
    /// When each piece was first held by some leecher, and what seeders had sent by then.
    first_full: Option<(Instant, u64)>,
    seeders_sent: u64,
    /// Blocks that a seeder has sent to somebody.
    from_seeders: Vec<bool>,
    repeats: Repeats,
    usage: [Vec<u64>; 2],
    last_progress: Instant,
    doubles: u64,
    timed_out: u64,
    kept: Vec<DoubleRequest>,
    most_outstanding: u16,
    frames: Vec<Frame>,
}

impl Observer {
    pub(super) fn new(geometry: Geometry) -> Self {
        Observer {
            geometry,
            blocks_per_piece: geometry.piece_length().div_ceil(BLOCK_LEN),
            hosts: Vec::new(),
            lines: Vec::new(),
            holders: vec![0; geometry.pieces() as usize],
            unheld: geometry.pieces(),
            first_full: None,
            seeders_sent: 0,
            from_seeders: vec![
                false;
                (geometry.pieces() * geometry.piece_length().div_ceil(BLOCK_LEN))
                    as usize
            ],
            repeats: Repeats::default(),
            usage: [Vec::new(), Vec::new()],
            last_progress: Instant::ZERO,
            doubles: 0,
            timed_out: 0,
            kept: Vec::new(),
            most_outstanding: 0,
            frames: Vec::new(),
        }
    }

    pub(super) fn add_host(&mut self, role: Role) {
        self.hosts.push(Watched {
            role,
            blocks: Vec::new(),
            unasked: 0,
            doubtful: VecDeque::new(),
            lines: Vec::new(),
            sent: 0,
            received: 0,
            twice: 0,
            messages: 0,
        });
    }

    /// The host starts, perhaps again, with what its disk has.
    pub(super) fn start(&mut self, host: HostId, have: &Bitfield, now: Instant) {
        let seen = &mut self.hosts[host.at()];
        if seen.role == Role::Rogue {
            return;
        }
        seen.blocks = vec![0; (self.geometry.pieces() * self.blocks_per_piece) as usize];
        seen.unasked = 0;
        for piece in self.geometry.indices() {
            let first = (piece.0 * self.blocks_per_piece) as usize;
            let blocks = self.geometry.blocks_in(piece);
            if have.has(piece) {
                seen.blocks[first..first + blocks as usize].fill(RECEIVED);
            } else {
                seen.unasked += blocks;
            }
        }
        if seen.role == Role::Leecher {
            have.iter().for_each(|p| self.hold(p, now));
        }
    }

    /// The host is gone: its pieces are no longer in the swarm. What it decided to ask for and has not
    /// asked, it never will: whether that was endgame cannot be told any more.
    pub(super) fn stop(&mut self, host: HostId, have: &Bitfield) {
        self.hosts[host.at()].doubtful.clear();
        if self.hosts[host.at()].role == Role::Leecher {
            have.iter().for_each(|piece| self.let_go(piece));
        }
    }

    pub(super) fn add_line(&mut self) {
        self.lines.push(Line::default());
        self.lines.push(Line::default());
    }

    /// `host` has a connection on which it sends `stream`.
    pub(super) fn open(&mut self, host: HostId, stream: StreamId) {
        self.hosts[host.at()].lines.push(stream);
    }

    /// The connection is gone for the sender of `stream`.
    pub(super) fn close(&mut self, host: HostId, stream: StreamId) {
        self.drop_requests(host, stream);
        self.hosts[host.at()].lines.retain(|l| *l != stream);
    }

    /// Nothing that was asked for on `stream` will come.
    fn drop_requests(&mut self, host: HostId, stream: StreamId) {
        for asked in std::mem::take(&mut self.lines[stream.at()].asked) {
            if asked.counts {
                self.hosts[host.at()].release(asked.block);
            }
        }
    }

    /// `host` piece is verified.
    pub(super) fn verified(&mut self, host: HostId, piece: PieceIndex, now: Instant) {
        if self.hosts[host.at()].role == Role::Leecher {
            self.hold(piece, now);
        }
    }

    /// `host` threw a piece away.
    pub(super) fn failed(&mut self, host: HostId, piece: PieceIndex) {
        let seen = &mut self.hosts[host.at()];
        let first = (piece.0 * self.blocks_per_piece) as usize;
        for block in &mut seen.blocks[first..][..self.geometry.blocks_in(piece) as usize] {
            seen.unasked += u32::from(*block == RECEIVED);
            *block &= !RECEIVED;
        }
    }

    /// `host` has a piece no more.
    pub(super) fn lost(&mut self, host: HostId, piece: PieceIndex) {
        self.failed(host, piece);
        if self.hosts[host.at()].role == Role::Leecher {
            self.let_go(piece);
        }
    }

    fn let_go(&mut self, piece: PieceIndex) {
        self.holders[piece.at()] -= 1;
        self.unheld += u32::from(self.holders[piece.at()] == 0);
    }

    fn hold(&mut self, piece: PieceIndex, now: Instant) {
        self.holders[piece.at()] += 1;
        if self.holders[piece.at()] == 1 {
            self.unheld -= 1;
            if self.unheld == 0 && self.first_full.is_none() {
                self.first_full = Some((now, self.seeders_sent));
            }
        }
    }

    /// The next bytes of a stream leave `host`.
    pub(super) fn sent(&mut self, now: Instant, host: HostId, stream: StreamId, unit: &Unit) {
        let role = self.hosts[host.at()].role;
        let payload = unit.payload();
        self.hosts[host.at()].sent += payload;
        if payload > 0 && role != Role::Rogue {
            let curve = &mut self.usage[usize::from(role == Role::Leecher)];
            let bucket = (now.as_micros() / BUCKET.as_micros() as u64) as usize;
            if curve.len() <= bucket {
                curve.resize(bucket + 1, 0);
            }
            curve[bucket] += payload;
            if role == Role::Seeder {
                self.seeder_block(unit, payload);
            }
            return;
        }
        if role == Role::Rogue {
            return;
        }
        let mut frames = std::mem::take(&mut self.frames);
        let line = &mut self.lines[stream.at()];
        unit.each_chunk(|chunk| {
            line.sent.feed(chunk, &mut |frame| {
                if matches!(frame, Frame::Request(_)) {
                    frames.push(frame);
                }
            });
        });
        for frame in frames.drain(..) {
            if let Frame::Request(span) = frame {
                self.requested(now, host, stream, span);
            }
        }
        self.frames = frames;
    }

    /// A seeder sends a block: did the swarm need it from there?
    fn seeder_block(&mut self, unit: &Unit, payload: u64) {
        self.seeders_sent += payload;
        let Unit::Block { header, .. } = unit else { return };
        let word = |at: usize| u32::from_be_bytes(header[at..at + 4].try_into().expect("4 bytes"));
        let (piece, begin) = (word(5), word(9));
        let block = (piece * self.blocks_per_piece + begin / BLOCK_LEN) as usize;
        let before = std::mem::replace(&mut self.from_seeders[block], true);
        if self.first_full.is_some() {
            return;
        }
        if self.holders[piece as usize] > 0 {
            self.repeats.held += payload;
        } else if before {
            self.repeats.on_the_way += payload;
        }
    }

    /// The next bytes of a stream reach `host`.
    pub(super) fn received(&mut self, now: Instant, host: HostId, stream: StreamId, unit: &Unit) {
        let mut frames = std::mem::take(&mut self.frames);
        let line = &mut self.lines[stream.at()];
        let messages = &mut self.hosts[host.at()].messages;
        unit.each_chunk(|chunk| {
            line.got.feed(chunk, &mut |frame| {
                *messages += 1;
                if !matches!(frame, Frame::Have(_) | Frame::Request(_)) {
                    frames.push(frame);
                }
            });
        });
        let back = stream.opposite();
        for frame in frames.drain(..) {
            match frame {
                Frame::Handshake(reserved) => self.lines[stream.at()].fast = reserved[7] & 4 != 0,
                Frame::Piece(span) => self.piece(now, host, back, span),
                Frame::Reject(span) => {
                    if let Some(block) = self.block(span) {
                        self.answered(host, back, block);
                    }
                }
                // A peer without the fast extension drops our requests when it chokes.
                Frame::Choke if !self.lines[stream.at()].fast => self.drop_requests(host, back),
                _ => {}
            }
        }
        self.frames = frames;
    }

    fn block(&self, span: Span) -> Option<u32> {
        let block = self.geometry.own_block(span.piece, span.begin, span.length)?;
        Some(block.piece.0 * self.blocks_per_piece + block.begin / BLOCK_LEN)
    }

    fn requested(&mut self, now: Instant, host: HostId, stream: StreamId, span: Span) {
        let Some(block) = self.block(span) else { return };
        if self.hosts[host.at()].blocks[block as usize] & !RECEIVED > 0 {
            self.expire(host, block, now);
        }
        let seen = &mut self.hosts[host.at()];
        let state = &mut seen.blocks[block as usize];
        seen.unasked -= u32::from(*state == 0);
        *state += 1;
        let outstanding = *state & !RECEIVED;
        let unasked = seen.unasked;
        if unasked == 0 {
            seen.doubtful.clear();
        } else if outstanding > 1 {
            let first = self.waiting(host, block).map(|a| a.at).min().unwrap_or(now);
            let double = DoubleRequest {
                host,
                piece: span.piece,
                begin: span.begin,
                at: now,
                age: now.since(first),
                unasked,
                peers: outstanding,
            };
            self.hosts[host.at()].doubtful.push_back(double);
        }
        self.lines[stream.at()].asked.push_back(Asked { block, at: now, counts: true });
        self.judge(host, now);
    }

    /// Requests for `block` that count as outstanding.
    fn waiting(&self, host: HostId, block: u32) -> impl Iterator<Item = &Asked> + '_ {
        let lines = self.hosts[host.at()].lines.iter();
        lines
            .flat_map(|line| self.lines[line.at()].asked.iter())
            .filter(move |a| a.counts && a.block == block)
    }

    /// Whoever is asked for `block` and has been silent for the time-out is not counted any more.
    fn expire(&mut self, host: HostId, block: u32, now: Instant) {
        for stream in self.hosts[host.at()].lines.clone() {
            let asked = &self.lines[stream.at()].asked;
            if asked.iter().any(|a| a.counts && a.block == block) {
                self.expire_line(host, stream, now);
            }
        }
    }

    /// A peer that has sent nothing for the time-out has timed out, with all that it was asked for.
    fn expire_line(&mut self, host: HostId, stream: StreamId, now: Instant) {
        let (seen, line) = (&mut self.hosts[host.at()], &mut self.lines[stream.at()]);
        let oldest = line.asked.iter().find(|a| a.counts).map_or(now, |a| a.at);
        if now.since(oldest.max(line.last_piece)) <= REQUEST_TIMEOUT {
            return;
        }
        for asked in line.asked.iter_mut().filter(|a| a.counts) {
            asked.counts = false;
            self.timed_out += 1;
            seen.release(asked.block);
        }
    }

    /// The peer at the far end of `stream` has answered a request; whether there was one.
    fn answered(&mut self, host: HostId, stream: StreamId, block: u32) -> bool {
        let asked = &mut self.lines[stream.at()].asked;
        let Some(at) = asked.iter().position(|a| a.block == block) else { return false };
        if asked.remove(at).is_some_and(|a| a.counts) {
            self.hosts[host.at()].release(block);
        }
        true
    }

    fn piece(&mut self, now: Instant, host: HostId, stream: StreamId, span: Span) {
        let length = u64::from(span.length);
        self.hosts[host.at()].received += length;
        let block = self.block(span);
        // The first that comes after a long silence does not undo it.
        self.expire_line(host, stream, now);
        self.lines[stream.at()].last_piece = now;
        let asked = block.is_some_and(|b| self.answered(host, stream, b));
        let seen = &mut self.hosts[host.at()];
        let Some(state) = block.map(|b| &mut seen.blocks[b as usize]).filter(|_| asked) else {
            seen.twice += length;
            return;
        };
        if *state & RECEIVED != 0 {
            seen.twice += length;
        } else {
            seen.unasked -= u32::from(*state == 0);
            *state |= RECEIVED;
            if seen.role == Role::Leecher {
                self.last_progress = now;
            }
        }
        self.judge(host, now);
    }

    /// Doubtful second requests that have waited long enough are breaches.
    fn judge(&mut self, host: HostId, now: Instant) {
        let seen = &mut self.hosts[host.at()];
        if seen.unasked == 0 {
            seen.doubtful.clear();
        }
        while seen.doubtful.front().is_some_and(|d| now.since(d.at) > ENDGAME_SLACK) {
            if let Some(double) = seen.doubtful.pop_front() {
                self.doubles += 1;
                self.most_outstanding = self.most_outstanding.max(double.peers);
                if self.kept.len() < KEPT {
                    self.kept.push(double);
                }
            }
        }
    }

    /// When a leecher last received a block that it lacked.
    pub(super) const fn last_progress(&self) -> Instant {
        self.last_progress
    }

    /// When all pieces were first held by leechers, and the payload that seeders had sent by then.
    pub const fn first_full(&self) -> Option<(Instant, u64)> {
        self.first_full
    }

    /// Payload that seeders sent before the first copy was out, and leechers could have sent, or were
    /// about to be able to.
    pub const fn repeats(&self) -> Repeats {
        self.repeats
    }

    /// Payload that `host` has put on its uplink.
    pub fn sent_by(&self, host: HostId) -> u64 {
        self.hosts[host.at()].sent
    }

    /// Payload that has reached `host`, and how much of it had come before or was not asked for.
    pub fn received_by(&self, host: HostId) -> (u64, u64) {
        let seen = &self.hosts[host.at()];
        (seen.received, seen.twice)
    }

    /// Messages that have reached `host`.
    pub(super) fn messages(&self, host: HostId) -> u64 {
        self.hosts[host.at()].messages
    }

    /// Blocks that `host` lacks and has asked nobody for.
    pub fn unasked(&self, host: HostId) -> u32 {
        self.hosts[host.at()].unasked
    }

    /// Second requests outside endgame: how many, at how many peers at most, and the first of them.
    pub fn doubles(&self) -> (u64, u16, &[DoubleRequest]) {
        (self.doubles, self.most_outstanding, &self.kept)
    }

    /// Requests that had timed out when one of their blocks was asked for elsewhere.
    pub const fn timed_out(&self) -> u64 {
        self.timed_out
    }

    /// Payload sent by seeders and by leechers in each [`BUCKET`].
    pub fn usage(&self) -> [&[u64]; 2] {
        [&self.usage[0], &self.usage[1]]
    }
}

impl Watched {
    /// One request for `block` less.
    fn release(&mut self, block: u32) {
        let state = &mut self.blocks[block as usize];
        *state -= 1;
        self.unasked += u32::from(*state == 0);
    }
}
