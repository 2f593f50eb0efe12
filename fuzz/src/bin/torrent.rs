//! Anybody's messages to the machine of a torrent, in any order, between what its driver does: whatever
//! comes, it claims and serves only what was verified, keeps its memory, never spins and can be stopped.
//!
//! The input is a program of the world around it: connections, messages of every kind with numbers around
//! the torrent's own, answers to what the machine asked, right and wrong ones, disk work that ends in any
//! order and way, storage that goes away, web seeds, other networks, time, pauses. The first byte says what it has at first: all, some or nothing of its
//! pieces, or only its hash. Payload is phantom, as in the simulator.

#![no_main]

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};

use downpour::{
    base::{
        bitfield::Bitfield,
        geometry::Geometry,
        hash::sha1,
        id::{PeerId, PeerKey},
        index::PieceIndex,
        limits,
        rng::Rng,
        slab::{Chunk, Pool, Slab},
        time::Instant,
        token_bucket::Grant,
        units::BLOCK_LEN,
    },
    mse::Encryption,
    peer::outbox::SendBuf,
    pieces::job::{DiskEvent, DiskFault, DiskJob, FaultKind, Held, Verdict},
    torrent::{
        CloseCause, Command, DialFailure, Direction, Event, InfoBytes, Input, Lease, Output,
        Settings, Setup, Source, Torrent, Written,
    },
    wire::{Decoded, Decoder, Handshake, Message, Reserved, encode},
};
use downpour_fuzz::Program;
use libfuzzer_sys::fuzz_target;

const PIECE_LEN: u32 = 4 * BLOCK_LEN;
const PIECES: u32 = 6;
/// The last piece has one block and a part of one.
const TOTAL: u64 = 5 * PIECE_LEN as u64 + BLOCK_LEN as u64 + 100;
const BUDGET: usize = 8 * PIECE_LEN as usize;
const INFO: &[u8] = b"stands for an info dictionary";
/// Extension handshakes worth saying; everything else is the fuzzer's.
const HELLOS: [&[u8]; 4] = [
    b"d1:md11:lt_donthavei7e11:ut_metadatai3e6:ut_pexi1e11:upload_onlyi4ee13:metadata_sizei29ee",
    b"d1:mde11:upload_onlyi1e1:pi9e4:reqqi1ee",
    b"d1:md11:ut_metadatai3ee13:metadata_sizei67108864e1:ei1e6:yourip4:\x0a\x00\x00\x01e",
    b"d1:md11:ut_metadatai0e6:ut_pexi0eee",
];

fuzz_target!(|data: &[u8]| {
    let mut program = Program(data);
    let mut world = World::new(program.next());
    while !program.is_over() {
        let op = program.next();
        world.step(op, &mut program);
        world.settle();
    }
    world.end();
});

/// A block as messages name it: mostly one of the torrent's.
fn block(program: &mut Program<'_>) -> (u32, u32, u32) {
    let [place, size] = [program.next(), program.next()];
    let begin = u32::from(place >> 4) % 5 * BLOCK_LEN + u32::from(place >> 7);
    let length = [BLOCK_LEN, 100, 2 * BLOCK_LEN, limits::MAX_REQUEST_LEN, 0, u32::MAX];
    (u32::from(place % 8), begin, length[usize::from(size) % length.len()])
}

/// One connection, from the other end.
struct Line {
    key: PeerKey,
    out: SendBuf,
    /// Splits what the machine says; nothing before its handshake is whole.
    heard: Option<Decoder>,
    start: Vec<u8>,
    /// Blocks the machine asked for.
    asked: Vec<(u32, u32, u32)>,
}

struct World {
    now: Instant,
    torrent: Torrent,
    pool: Pool,
    lines: Vec<Line>,
    jobs: Vec<DiskJob>,
    /// Web seeds that the machine wants opened.
    sites: Vec<SocketAddr>,
    /// What was verified, and blocks that were written early.
    verified: Bitfield,
    spilled: BTreeMap<(u32, u32), u64>,
    /// The machine was told that files changed: it may have taken pieces for lost.
    doubtful: bool,
}

fn geometry() -> Geometry {
    Geometry::new(TOTAL, PIECE_LEN).expect("valid")
}

fn tag(piece: u32, begin: u32) -> u64 {
    u64::from(piece) << 32 | u64::from(begin) | 1 << 63
}

fn setup(have: Bitfield, knows: bool) -> Setup {
    Setup {
        info_hash: sha1(INFO),
        code: None,
        geometry: if knows { geometry() } else { Geometry::new(0, BLOCK_LEN).expect("valid") },
        have,
        partial: Vec::new(),
        priorities: Vec::new(),
        peer_id: PeerId::generate(&mut Rng::new(1)),
        listen_port: Some(6881),
        dht_port: Some(6882),
        metadata: knows.then(|| InfoBytes::new(Arc::new(INFO))),
        settings: Settings { max_peers: 6, pex: true, ..Settings::default() },
        seed: 1,
    }
}

impl World {
    fn new(first: u8) -> Self {
        let mut verified = Bitfield::empty(PIECES);
        let pieces = match first % 4 {
            0 => 0..0,
            1 => 0..PIECES,
            2 => 1..3,
            _ => 0..0,
        };
        for piece in pieces {
            verified.insert(PieceIndex(piece));
        }
        let knows = first % 4 != 3;
        let have = if knows { verified.clone() } else { Bitfield::empty(0) };
        let mut setup = setup(have, knows);
        setup.settings.super_seed = first & 4 != 0;
        setup.settings.sequential = first & 8 != 0;
        World {
            now: Instant::ZERO,
            torrent: Torrent::new(setup, Instant::ZERO),
            pool: Pool::phantom(BUDGET),
            lines: Vec::new(),
            jobs: Vec::new(),
            sites: Vec::new(),
            verified,
            spilled: BTreeMap::new(),
            doubtful: false,
        }
    }

    fn step(&mut self, op: u8, program: &mut Program<'_>) {
        match op % 16 {
            0 => self.connect(program.next()),
            1 => self.greet(program.next()),
            2..=4 => self.say(program),
            5 => self.answer(program.next()),
            6 => self.answer_all(program.next()),
            7 => {
                let (at, bytes) = (program.next(), program.bytes());
                self.read(at, Chunk::Bytes(bytes));
            }
            8 => self.write(program.next()),
            9 => self.disk(program.next()),
            10 | 11 => self.pass(program.next()),
            12 => self.command(program.next()),
            13 => {
                let n = program.next();
                let addrs = vec![addr(n), addr(n.wrapping_add(1))];
                let source = [Source::User, Source::Tracker, Source::Dht, Source::Pex];
                let source = source[usize::from(n) % source.len()];
                self.tell(Input::PeersFound { source, addrs });
            }
            14 => {
                let n = program.next();
                let failure = [DialFailure::Refused, DialFailure::TimedOut, DialFailure::Declined];
                let failure = failure[usize::from(n) % failure.len()];
                self.tell(Input::DialFailed { addr: addr(n), failure });
            }
            _ => self.close(program.next()),
        }
    }

    fn tell(&mut self, input: Input) {
        self.torrent.handle(self.now, input, &mut self.pool);
    }

    fn connect(&mut self, n: u8) {
        let direction = if n & 0x80 == 0 { Direction::Incoming } else { Direction::Outgoing };
        let site = if n & 0x40 == 0 { None } else { self.sites.pop() };
        let (addr, direction) = match site {
            Some(site) if n & 0x20 == 0 => {
                let failure = DialFailure::NoDescriptor;
                return self.tell(Input::DialFailed { addr: site, failure });
            }
            Some(site) => (site, Direction::Outgoing),
            None => (addr(n), direction),
        };
        if let Ok(key) = self.torrent.admit(self.now, addr, direction, Encryption::Off) {
            let line = Line {
                key,
                out: SendBuf::default(),
                heard: None,
                start: Vec::new(),
                asked: Vec::new(),
            };
            self.lines.push(line);
        }
    }

    fn greet(&mut self, n: u8) {
        // One of them is our own.
        let peer_id = PeerId::generate(&mut Rng::new(u64::from(n >> 4) + 1));
        let reserved = if n & 8 == 0 { Reserved::ours(true) } else { Reserved::default() };
        let hello = Handshake { reserved, info_hash: sha1(INFO), peer_id };
        self.read(n, Chunk::Bytes(&hello.to_bytes()));
    }

    fn say(&mut self, program: &mut Program<'_>) {
        let [at, kind] = [program.next(), program.next()];
        let piece = u32::from(kind >> 4) % 8;
        let (payload, bits);
        let message = match kind % 16 {
            0 => Message::Choke,
            1 => Message::Unchoke,
            2 => Message::Interested,
            3 => Message::NotInterested,
            4 => Message::Have(piece),
            5 => {
                bits = [program.next()];
                Message::Bitfield(&bits)
            }
            6 => {
                let (piece, begin, length) = block(program);
                Message::Request { piece, begin, length }
            }
            7 => {
                let (piece, begin, length) = block(program);
                Message::Cancel { piece, begin, length }
            }
            8 => {
                let (piece, begin, length) = block(program);
                Message::RejectRequest { piece, begin, length }
            }
            9 => Message::HaveAll,
            10 => Message::HaveNone,
            11 => Message::AllowedFast(piece),
            12 => Message::SuggestPiece(piece),
            13 => Message::Port(u16::from(program.next())),
            14 => Message::Extended { id: 0, payload: HELLOS[piece as usize % HELLOS.len()] },
            _ => {
                payload = program.bytes();
                Message::Extended { id: (piece % 6) as u8, payload }
            }
        };
        let mut bytes = Vec::new();
        encode::encode(&message, &mut bytes);
        self.read(at, Chunk::Bytes(&bytes));
    }

    /// Answers the oldest request of a connection: rightly, wrongly, or with a refusal.
    fn answer(&mut self, n: u8) {
        let Some(line) = self.line(n) else { return };
        if line.asked.is_empty() {
            return;
        }
        let (piece, begin, length) = line.asked.remove(0);
        if n >= 0xe0 {
            let mut bytes = Vec::new();
            encode::encode(&Message::RejectRequest { piece, begin, length }, &mut bytes);
            return self.read(n, Chunk::Bytes(&bytes));
        }
        let right = n < 0xc0;
        self.read(n, Chunk::Bytes(&encode::piece_header(piece, begin, length)));
        let tag = if right { tag(piece, begin) } else { 1 + u64::from(n) };
        self.read(n, Chunk::Phantom { length, tag });
    }

    fn answer_all(&mut self, n: u8) {
        for _ in 0..self.line(n).map_or(0, |line| line.asked.len()) {
            self.answer(n);
            self.settle();
        }
    }

    fn line(&mut self, n: u8) -> Option<&mut Line> {
        let count = self.lines.len().max(1);
        self.lines.get_mut(usize::from(n & 0x0f) % count)
    }

    fn read(&mut self, n: u8, chunk: Chunk<'_>) {
        if let Some(key) = self.line(n).map(|line| line.key) {
            // A phantom may come only where a payload begins: not on a line that has been closed or is
            // inside another message.
            let is_phantom = matches!(chunk, Chunk::Phantom { .. });
            if !is_phantom || self.torrent.knows(key) {
                self.torrent.read(self.now, key, chunk, &mut self.pool);
            }
        }
    }

    fn write(&mut self, n: u8) {
        let (now, have) = (self.now, self.torrent.have().clone());
        let count = self.lines.len().max(1);
        let Some(line) = self.lines.get_mut(usize::from(n & 0x0f) % count) else { return };
        let mut grant = Grant::of(if n & 0x80 == 0 { u64::MAX } else { 0 });
        let written = self.torrent.write(now, line.key, &mut line.out, &mut grant, &mut self.pool);
        assert!(written != Written::More || !line.out.is_empty(), "More, and nothing is there");
        let mut header = None;
        while !line.out.is_empty() {
            let Line { out, heard, start, asked, .. } = line;
            out.pop_unit(&mut self.pool, &mut |chunk| match chunk {
                Chunk::Bytes(bytes) => {
                    let bytes = greeting(bytes, start, heard);
                    let Some(decoder) = heard else { return };
                    let mut chunk = Chunk::Bytes(bytes);
                    while let Some(item) = decoder.next(&mut chunk).expect("ours can be read") {
                        match item {
                            Decoded::Message(Message::Request { piece, begin, length }) => {
                                asked.push((piece, begin, length));
                            }
                            Decoded::Message(Message::Cancel { piece, begin, length }) => {
                                asked.retain(|&block| block != (piece, begin, length));
                            }
                            Decoded::Message(Message::Have(piece)) => {
                                assert!(self.doubtful || have.has(PieceIndex(piece)), "not ours");
                            }
                            Decoded::PieceStart { piece, begin, .. } => {
                                header = Some((piece, begin));
                            }
                            _ => {}
                        }
                    }
                }
                Chunk::Phantom { tag: served, .. } => {
                    let (piece, begin) = header.take().expect("a header goes before");
                    assert_eq!(served, tag(piece, begin), "what is served is right");
                    let decoder = heard.as_mut().expect("long past the handshake");
                    let mut chunk = chunk;
                    while decoder.next(&mut chunk).expect("ours can be read").is_some() {}
                }
            });
        }
    }

    /// One job of the disk ends.
    fn disk(&mut self, n: u8) {
        if self.jobs.is_empty() {
            return;
        }
        let job = self.jobs.swap_remove(usize::from(n & 0x0f) % self.jobs.len());
        let fault = match n >> 4 {
            10 => Some(FaultKind::Io),
            11 => Some(FaultKind::Gone),
            12 => Some(FaultKind::Permission),
            13 => Some(FaultKind::Full),
            14 => Some(FaultKind::Missing),
            15 => Some(FaultKind::Changed),
            _ => None,
        };
        let fault = fault.map(fault_of);
        let event = match job {
            DiskJob::Verify { piece, slabs, .. } => self.verify(piece, slabs, fault),
            DiskJob::Spill { piece, held } => {
                if fault.is_none() {
                    let blocks = filled(piece, &held);
                    self.spilled.extend(blocks.map(|(begin, tag)| ((piece.0, begin), tag)));
                }
                DiskEvent::Spilled { piece, held, result: fault.map_or(Ok(()), Err) }
            }
            DiskJob::Read { peer, run, mut slab } => {
                self.doubtful |= fault.is_some();
                // What was lost since it was ordered is not to be sent.
                let wrong = u64::from(!self.verified.has(run.piece));
                for (i, slot) in slab.tags_mut().expect("phantom").iter_mut().enumerate() {
                    *slot = tag(run.piece.0, run.begin + i as u32 * BLOCK_LEN) ^ wrong;
                }
                DiskEvent::Read { peer, run, slab, result: fault.map_or(Ok(()), Err) }
            }
        };
        self.tell(Input::Disk(event));
    }

    fn verify(
        &mut self,
        piece: PieceIndex,
        slabs: Vec<Held>,
        fault: Option<DiskFault>,
    ) -> DiskEvent {
        let mut blocks: BTreeMap<u32, u64> = BTreeMap::new();
        for (&(_, begin), &tag) in self.spilled.range((piece.0, 0)..(piece.0 + 1, 0)) {
            blocks.insert(begin, tag);
        }
        slabs.iter().for_each(|held| blocks.extend(filled(piece, held)));
        assert_eq!(blocks.len(), geometry().blocks_in(piece) as usize, "every block is somewhere");
        let digests: Vec<u64> = blocks.values().copied().collect();
        let verdict = match fault {
            Some(fault) => Verdict::Failed(fault),
            None if blocks.iter().all(|(&begin, &found)| found == tag(piece.0, begin)) => {
                self.verified.insert(piece);
                Verdict::Good
            }
            None => Verdict::Bad,
        };
        let slabs: Vec<Slab> = slabs.into_iter().map(|held| held.slab).collect();
        DiskEvent::Verified { piece, slabs, verdict, digests }
    }

    fn pass(&mut self, n: u8) {
        self.now += Duration::from_millis(1 << (n % 18));
        for _ in 0..3 {
            if self.torrent.poll_timeout().is_none_or(|at| at > self.now) {
                return;
            }
            self.tell(Input::Timeout);
            self.settle();
        }
        let at = self.torrent.poll_timeout();
        assert!(at.is_none_or(|at| at > self.now), "a time-out leaves poll_timeout where it was");
    }

    fn command(&mut self, n: u8) {
        let some = Some(u32::from(n >> 4));
        let piece = PieceIndex(u32::from(n >> 4) % PIECES);
        match n % 16 {
            12 => return self.tell(Input::Moved),
            13 => return self.tell(Input::StorageGone(fault_of(FaultKind::Gone))),
            14 if self.torrent.have().has(piece) => {
                self.doubtful = true;
                let kind = if n < 0x80 { FaultKind::Changed } else { FaultKind::Missing };
                return self.tell(Input::PieceLost { piece, kind });
            }
            15 => {
                let urls = ["http://a.example/", "http://b.example/x"].map(Arc::from);
                return self.tell(Input::WebSeeds(urls.into()));
            }
            _ => {}
        }
        self.tell(Input::Command(match n % 5 {
            0 => Command::Pause,
            1 => Command::Resume,
            2 => Command::Sequential(n & 0x80 == 0),
            3 => Command::Lease(Lease { slots: some, peers: some }),
            _ => Command::Lease(Lease::default()),
        }));
    }

    fn close(&mut self, n: u8) {
        let Some(key) = self.line(n).map(|line| line.key) else { return };
        self.forget(key);
        self.tell(Input::Closed { peer: key, cause: CloseCause::Eof });
    }

    fn forget(&mut self, key: PeerKey) {
        if let Some(at) = self.lines.iter().position(|line| line.key == key) {
            self.lines.swap_remove(at).out.clear(&mut self.pool);
        }
    }

    /// Takes what the machine wants, and holds it to its word.
    fn settle(&mut self) {
        let mut outputs = 0;
        while let Some(output) = self.torrent.poll() {
            outputs += 1;
            assert!(outputs < 10_000, "it does not stop talking");
            match output {
                Output::Disk(job) => self.jobs.push(job),
                Output::OpenWebSeed { addr, .. } => self.sites.push(addr),
                Output::Disconnect { peer, .. } => self.forget(peer),
                Output::Event(Event::Metadata(bytes)) => {
                    assert_eq!(&*bytes, INFO);
                    self.learnt();
                    break;
                }
                Output::Event(Event::PieceLost(piece)) => {
                    self.doubtful = true;
                    self.verified.remove(piece);
                }
                _ => {}
            }
        }
        assert!(self.pool.lent() <= BUDGET);
        self.torrent.check_invariants();
        let have = self.torrent.have();
        assert!(
            have.iter().all(|piece| self.verified.has(piece)),
            "only what was verified is ours"
        );
        let snapshot = self.torrent.snapshot(self.now);
        assert!(snapshot.done <= snapshot.total && snapshot.wanted_done <= snapshot.wanted);
        assert!(snapshot.peers as usize <= self.lines.len());
    }

    /// The torrent itself takes over from the one that fetched its metadata.
    fn learnt(&mut self) {
        while let Some(output) = self.torrent.poll() {
            if let Output::Disconnect { peer, .. } = output {
                self.forget(peer);
            }
        }
        let heir = Torrent::new(setup(self.verified.clone(), true), self.now);
        let older = std::mem::replace(&mut self.torrent, heir);
        self.torrent.succeed(self.now, older, &mut self.pool);
        self.settle();
    }

    /// Paused, with all disk work done, it holds no memory.
    fn end(&mut self) {
        self.tell(Input::Command(Command::Pause));
        self.settle();
        while !self.jobs.is_empty() {
            self.disk(0);
            self.settle();
        }
        assert!(self.lines.is_empty(), "all were dropped");
        assert_eq!(self.pool.lent(), 0, "everything lent came back");
    }
}

fn fault_of(kind: FaultKind) -> DiskFault {
    DiskFault {
        kind,
        operation: "work on".into(),
        file: "phantom".into(),
        cause: "the input says so".into(),
    }
}

fn addr(n: u8) -> SocketAddr {
    ([10, 0, n & 3, (n >> 2) & 7], 1000).into()
}

/// What is behind our handshake in `bytes`; it begins every connection.
fn greeting<'a>(bytes: &'a [u8], start: &mut Vec<u8>, heard: &mut Option<Decoder>) -> &'a [u8] {
    if heard.is_some() {
        return bytes;
    }
    let (part, rest) = bytes.split_at(bytes.len().min(68 - start.len()));
    start.extend_from_slice(part);
    if start.len() == 68 {
        *heard = Some(Decoder::new(1));
    }
    rest
}

/// The blocks that part of a piece in memory holds, by where they begin.
fn filled(piece: PieceIndex, held: &Held) -> impl Iterator<Item = (u32, u64)> {
    let blocks = (0..u32::BITS).filter(|i| held.filled & (1 << i) != 0);
    blocks.map(move |i| {
        let begin = held.begin + i * BLOCK_LEN;
        let length = geometry().block_at(piece, begin / BLOCK_LEN).length;
        match held.slab.chunk(i * BLOCK_LEN, length) {
            Chunk::Phantom { tag, .. } => (begin, tag),
            Chunk::Bytes(_) => unreachable!("the pool is phantom"),
        }
    })
}
