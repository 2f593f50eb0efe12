//! Web seeds (BEP 19): which there are, which are used, and when again after a failure.
//!
//! To everything else a web seed that is used is a peer that has all, or nearly all: see [`crate::webseed`]. It takes no
//! part in what peers do among themselves, and does not count where their number is limited. Each failure doubles
//! the wait for the next try; one that would come again, and data that does not match its hash, ends the use of a
//! web seed for the life of the torrent. One that lacks some of the files is used for the others.

use std::{fmt, net::SocketAddr, ops::RangeInclusive, sync::Arc, time::Duration};

use crate::{
    base::{
        index::FileIndex,
        limits::{MAX_FILES_LACKED, MAX_URLS, MAX_WEB_SEED_WAIT, MAX_WEB_SEEDS_OPEN},
        rng::Rng,
        slab::Pool,
        time::Instant,
        units::BLOCK_LEN,
        web_seed::WebSeedNumber,
    },
    peer::Peer,
    webseed::Failure,
};

use super::{CloseCause, DialFailure, Disconnect, Event, Output, Phase, Torrent, lifecycle::TICK};

/// Wait after the first failure; doubles with each further one.
const FIRST_WAIT: Duration = Duration::from_secs(10);
/// Longest wait.
const LONGEST_WAIT: Duration = Duration::from_secs(1800);
/// Shortest wait, whatever the server says.
const SHORTEST_WAIT: Duration = Duration::from_secs(1);
/// A server may say so often in a row how long to wait before we wait longer by ourselves.
const TIMES_OBEYED: u32 = 3;
/// Wait for room to connect; says nothing about the web seed.
const WAIT_FOR_ROOM: Duration = Duration::from_secs(2);

/// Blocks that a web seed is asked for at least: what it gives in so much time, and between these numbers. Few
/// requests are not for it, since each range costs a round trip; many at a slow one keep them from others.
const DEPTH_TIME: f64 = 3.0;
const DEPTH: RangeInclusive<u32> = 64..=192;
/// Share of the slab budget, as a divisor, that this may take.
const SHARE_OF_MEMORY: u64 = 8;

/// What becomes of a web seed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WebSeedChange {
    /// It is used from now on.
    Used,
    /// It is not needed any more, for now.
    Left,
    /// It failed, and is tried again after so long.
    Rests(Failure, Duration),
    /// It is not used again.
    GivenUp(Failure),
}

/// A web seed at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebSeedSnapshot {
    /// Its URL, as the torrent has it.
    pub url: Arc<str>,
    /// What became of it last; `None` while it was not needed yet.
    pub last: Option<WebSeedChange>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// May be used from then on.
    Idle(Instant),
    /// The driver is asked to connect.
    Opening,
    /// There is a connection.
    Open,
    GivenUp,
}

#[derive(Debug)]
struct WebSeed {
    url: Arc<str>,
    /// In a row.
    failures: u32,
    /// Files that are not there.
    lacks: Vec<FileIndex>,
    state: State,
    last: Option<WebSeedChange>,
}

/// All web seeds of a torrent; a [`WebSeedNumber`] is a place among them.
pub(super) struct WebSeeds {
    seeds: Vec<WebSeed>,
    rng: Rng,
}

impl fmt::Debug for WebSeeds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.seeds.fmt(f)
    }
}

impl WebSeeds {
    pub(super) const fn new(rng: Rng) -> Self {
        WebSeeds { seeds: Vec::new(), rng }
    }

    fn count(&self, fits: impl Fn(State) -> bool) -> usize {
        self.seeds.iter().filter(|seed| fits(seed.state)).count()
    }

    /// Connections with web seeds.
    pub(super) fn connected(&self) -> u32 {
        self.count(|state| state == State::Open) as u32
    }

    /// Web seeds that give nothing now.
    pub(super) fn resting(&self) -> u32 {
        self.count(|state| !matches!(state, State::Open | State::Opening)) as u32
    }

    /// When the first one may be used.
    pub(super) fn next_due(&self) -> Option<Instant> {
        let idle = |seed: &WebSeed| if let State::Idle(at) = seed.state { Some(at) } else { None };
        self.seeds.iter().filter_map(idle).min()
    }

    /// The URL of the web seed that `addr` stands for.
    pub(super) fn url(&self, addr: SocketAddr) -> Option<&Arc<str>> {
        self.seeds.get(usize::from(WebSeedNumber::of(addr)?.0)).map(|seed| &seed.url)
    }

    /// One that may be used now, marked as being opened; so many of those that are open are `idle`.
    fn next(&mut self, now: Instant, idle: usize) -> Option<Output> {
        let used = self.count(|state| matches!(state, State::Open | State::Opening));
        if used >= MAX_WEB_SEEDS_OPEN + idle {
            return None;
        }
        let ready = |seed: &WebSeed| matches!(seed.state, State::Idle(at) if at <= now);
        let (number, seed) = (0..).zip(&mut self.seeds).find(|(_, seed)| ready(seed))?;
        seed.state = State::Opening;
        let (url, lacks) = (seed.url.clone(), seed.lacks.as_slice().into());
        Some(Output::OpenWebSeed { addr: WebSeedNumber(number).addr(), url, lacks })
    }
}

impl Torrent {
    /// Takes in the URLs of web seeds that are not known yet.
    pub(super) fn web_seeds_found(&mut self, now: Instant, urls: Vec<Arc<str>>) {
        let seeds = &mut self.web_seeds.seeds;
        for url in urls {
            if seeds.len() < MAX_URLS && seeds.iter().all(|known| known.url != url) {
                let (failures, lacks, state) = (0, Vec::new(), State::Idle(now));
                seeds.push(WebSeed { url, failures, lacks, state, last: None });
            }
        }
        self.dial_dirty = true;
    }

    /// Has web seeds opened, as long as there is something to be fetched from them.
    pub(super) fn open_web_seeds(&mut self, now: Instant) {
        if !self.wants_web_seeds() {
            return;
        }
        // One that lacks what is missing stands in nobody's way.
        let is_idle = |peer: &Peer| peer.is_web_seed() && peer.is_open() && !peer.am_interested;
        let idle = self.peers.iter().filter(|(_, peer)| is_idle(peer)).count();
        self.outputs.extend(std::iter::from_fn(|| self.web_seeds.next(now, idle)));
    }

    /// Whether they have something for us.
    pub(super) fn wants_web_seeds(&self) -> bool {
        self.phase == Phase::Downloading && !self.uploads_only() && !self.wants_metadata()
    }

    /// There is a connection with the web seed that `addr` stands for.
    pub(super) fn web_seed_opened(&mut self, now: Instant, number: WebSeedNumber) {
        // Until now the next thing to do may have been far off.
        let soon = now + TICK;
        self.next_tick = Some(self.next_tick.map_or(soon, |at| at.min(soon)));
        self.change_web_seed(number, State::Open, WebSeedChange::Used);
    }

    /// Its web seeds, in the order in which they became known.
    pub fn web_seeds(&self) -> Vec<WebSeedSnapshot> {
        let row = |seed: &WebSeed| WebSeedSnapshot { url: seed.url.clone(), last: seed.last };
        self.web_seeds.seeds.iter().map(row).collect()
    }

    /// We are somewhere else in the network: what could not be reached perhaps can be now. One that is busy has
    /// said when.
    pub(super) fn retry_web_seeds(&mut self, now: Instant) {
        for seed in &mut self.web_seeds.seeds {
            let said = matches!(seed.last, Some(WebSeedChange::Rests(failure, _)) if failure.wait().is_some());
            if let (State::Idle(at), false) = (&mut seed.state, said) {
                *at = (*at).min(now);
                seed.failures = seed.failures.min(1);
            }
        }
    }

    /// The driver has no connection with it.
    pub(super) fn web_seed_not_opened(
        &mut self,
        now: Instant,
        number: WebSeedNumber,
        failure: DialFailure,
    ) {
        let wait = match failure {
            DialFailure::NoDescriptor | DialFailure::NoWay => WAIT_FOR_ROOM,
            _ => FIRST_WAIT,
        };
        if let Some(seed) = self.web_seeds.seeds.get_mut(usize::from(number.0))
            && seed.state == State::Opening
        {
            seed.state = State::Idle(now + wait);
        }
    }

    /// It has sent bad data, and need not be connected any more when that is found out.
    pub(super) fn give_up_web_seed(&mut self, number: WebSeedNumber) {
        let seed = self.web_seeds.seeds.get(usize::from(number.0));
        if seed.is_some_and(|seed| seed.state != State::GivenUp) {
            let change = WebSeedChange::GivenUp(Failure::BadData);
            self.change_web_seed(number, State::GivenUp, change);
        }
    }

    /// Whether it may be connected to.
    pub(super) fn is_web_seed_used(&self, number: WebSeedNumber) -> bool {
        let seed = self.web_seeds.seeds.get(usize::from(number.0));
        seed.is_some_and(|seed| seed.state != State::GivenUp)
    }

    /// The connection with a web seed ended by itself.
    pub(super) fn web_seed_closed(&mut self, now: Instant, peer: PeerFigures, cause: CloseCause) {
        let failure = match cause {
            CloseCause::WebSeed(failure) => failure,
            CloseCause::Eof | CloseCause::Reset | CloseCause::Lost => Failure::Broken,
        };
        self.web_seed_failed(now, peer, failure);
    }

    /// We closed the connection with a web seed.
    pub(super) fn web_seed_dropped(
        &mut self,
        now: Instant,
        peer: PeerFigures,
        reason: &Disconnect,
    ) {
        match reason {
            Disconnect::Poison => self.web_seed_failed(now, peer, Failure::BadData),
            Disconnect::Unanswered => self.web_seed_failed(now, peer, Failure::TimedOut),
            _ => self.change_web_seed(peer.number, State::Idle(now), WebSeedChange::Left),
        }
    }

    fn web_seed_failed(&mut self, now: Instant, peer: PeerFigures, failure: Failure) {
        let PeerFigures { number, gave } = peer;
        if let Some((file, of_many)) = failure.of_file() {
            return self.web_seed_lacks(now, number, file, [failure, of_many]);
        }
        if failure.is_final() {
            return self.change_web_seed(number, State::GivenUp, WebSeedChange::GivenUp(failure));
        }
        let WebSeeds { seeds, rng } = &mut self.web_seeds;
        let Some(seed) = seeds.get_mut(usize::from(number.0)) else { return };
        seed.failures = if gave { 1 } else { seed.failures.saturating_add(1) };
        let doubled = FIRST_WAIT * 2u32.saturating_pow(seed.failures - 1).min(256);
        let own = doubled.min(LONGEST_WAIT).mul_f64(0.5 + rng.unit());
        let wait = match failure.wait() {
            // A server that says `at once` again and again is not taken at its word.
            Some(wait) if seed.failures > TIMES_OBEYED => wait.max(own).min(MAX_WEB_SEED_WAIT),
            Some(wait) => wait.clamp(SHORTEST_WAIT, MAX_WEB_SEED_WAIT),
            None => own,
        };
        self.change_web_seed(number, State::Idle(now + wait), WebSeedChange::Rests(failure, wait));
    }

    /// It is asked for the other files, unless it lacks too many.
    fn web_seed_lacks(
        &mut self,
        now: Instant,
        number: WebSeedNumber,
        file: FileIndex,
        [of_one, of_many]: [Failure; 2],
    ) {
        let Some(seed) = self.web_seeds.seeds.get_mut(usize::from(number.0)) else { return };
        let (state, change) = if seed.lacks.len() < MAX_FILES_LACKED && !seed.lacks.contains(&file)
        {
            seed.lacks.push(file);
            (State::Idle(now), WebSeedChange::Rests(of_one, Duration::ZERO))
        } else {
            (State::GivenUp, WebSeedChange::GivenUp(of_many))
        };
        self.change_web_seed(number, state, change);
    }

    fn change_web_seed(&mut self, number: WebSeedNumber, state: State, change: WebSeedChange) {
        if let Some(seed) = self.web_seeds.seeds.get_mut(usize::from(number.0)) {
            (seed.state, seed.last) = (state, Some(change));
            let url = seed.url.clone();
            self.say(Event::WebSeed { url, change });
        }
    }
}

/// How many blocks a web seed is to be asked for at a time.
pub(super) fn depth(peer: &Peer, pool: &Pool) -> u32 {
    let (least, most) = DEPTH.into_inner();
    let wanted = peer.pipeline.rate() * DEPTH_TIME / f64::from(BLOCK_LEN);
    let share = pool.budget() as u64 / SHARE_OF_MEMORY / u64::from(BLOCK_LEN);
    (wanted as u32).clamp(least, most).min(u32::try_from(share).unwrap_or(u32::MAX))
}

/// What of a web seed's connection counts at its end.
#[derive(Debug, Clone, Copy)]
pub(super) struct PeerFigures {
    number: WebSeedNumber,
    /// Whether anything came.
    gave: bool,
}

impl PeerFigures {
    /// `None` for a peer that is no web seed.
    pub(super) fn of(peer: &Peer) -> Option<Self> {
        let number = WebSeedNumber::of(peer.addr)?;
        Some(PeerFigures { number, gave: peer.down.total() > 0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        base::{
            bitfield::Bitfield,
            id::{PeerId, PeerKey},
            index::PieceIndex,
            slab::Chunk,
        },
        mse::Encryption,
        pieces::job::{DiskEvent, DiskJob, Verdict},
        torrent::{
            Direction, Input,
            messages::tests::{greet, say, torrent},
        },
        wire::{Handshake, Message, Reserved, encode::piece_header},
    };

    const START: Instant = Instant::ZERO;

    fn found(torrent: &mut Torrent, pool: &mut Pool, count: usize) {
        let urls = (0..count).map(|n| format!("http://{n}.example/").into()).collect();
        torrent.handle(START, Input::WebSeeds(urls), pool);
    }

    /// The web seeds that are to be opened, and what became of others.
    fn outputs(torrent: &mut Torrent) -> (Vec<SocketAddr>, Vec<WebSeedChange>) {
        let (mut opened, mut changes) = (Vec::new(), Vec::new());
        while let Some(output) = torrent.poll() {
            match output {
                Output::OpenWebSeed { addr, .. } => opened.push(addr),
                Output::Event(Event::WebSeed { change, .. }) => changes.push(change),
                Output::Event(Event::Banned(addr)) => panic!("{addr} is banned"),
                _ => {}
            }
        }
        (opened, changes)
    }

    fn connect(torrent: &mut Torrent, pool: &mut Pool, now: Instant, addr: SocketAddr) -> PeerKey {
        let key = torrent.admit(now, addr, Direction::Outgoing, Encryption::Off).expect("room");
        let mut peer_id = PeerId([7; 20]);
        peer_id.0[19] = WebSeedNumber::of(addr).expect("a web seed").0 as u8;
        let info_hash = torrent.name();
        let hello = Handshake { reserved: Reserved::ours(false), info_hash, peer_id };
        torrent.read(now, key, Chunk::Bytes(&hello.to_bytes()), pool);
        say(torrent, pool, key, &Message::HaveAll);
        say(torrent, pool, key, &Message::Unchoke);
        key
    }

    #[test]
    fn some_are_used_at_a_time_while_there_is_something_to_fetch() {
        let mut pool = Pool::phantom(16 << 20);
        let mut seeding = torrent(Bitfield::full(64));
        found(&mut seeding, &mut pool, 2);
        seeding.handle(START, Input::Timeout, &mut pool);
        assert_eq!(outputs(&mut seeding), (vec![], vec![]));
        assert_eq!(seeding.poll_timeout(), None, "an idle torrent has no timer");

        let mut torrent = torrent(Bitfield::empty(64));
        found(&mut torrent, &mut pool, 9);
        found(&mut torrent, &mut pool, 3);
        let (opened, _) = outputs(&mut torrent);
        assert_eq!(opened, [0, 1, 2, 3].map(|n| WebSeedNumber(n).addr()));
        assert_eq!(torrent.web_seeds.seeds.len(), 9, "none of them twice");
    }

    #[test]
    fn it_takes_no_part_in_the_swarm() {
        let mut pool = Pool::phantom(16 << 20);
        let mut torrent = torrent(Bitfield::empty(64));
        torrent.settings.max_peers = 1;
        found(&mut torrent, &mut pool, 1);
        let peer = greet(&mut torrent, &mut pool, 1);
        let (opened, _) = outputs(&mut torrent);
        let key = connect(&mut torrent, &mut pool, START, opened[0]);
        assert!(torrent.knows(peer), "the one peer that there may be stays");
        assert_eq!((torrent.swarm_len(), torrent.reachable()), (1, vec![]));
        let machine = torrent.snapshot(START);
        assert_eq!((machine.peers, machine.seeds, machine.web_seeds), (1, 0, 1));
        let asked = torrent.peers.get(key).expect("there").requests.len();
        assert_eq!(asked, 64, "more than what a peer is asked for at first");
    }

    /// Its id follows from its URL, which everybody knows: a peer that takes it gains nothing.
    #[test]
    fn a_peer_with_its_id_is_another() {
        for peer_is_first in [false, true] {
            let mut pool = Pool::phantom(16 << 20);
            let mut torrent = torrent(Bitfield::empty(64));
            found(&mut torrent, &mut pool, 1);
            let (opened, _) = outputs(&mut torrent);
            let come = |torrent: &mut Torrent, pool: &mut Pool| {
                let addr = ([10, 0, 0, 9], 1).into();
                let key = torrent.admit(START, addr, Direction::Incoming, Encryption::Off);
                let key = key.expect("room");
                let mut peer_id = PeerId([7; 20]);
                peer_id.0[19] = 0;
                let info_hash = torrent.name();
                let hello = Handshake { reserved: Reserved::ours(false), info_hash, peer_id };
                torrent.read(START, key, Chunk::Bytes(&hello.to_bytes()), pool);
                key
            };
            let early = peer_is_first.then(|| come(&mut torrent, &mut pool));
            let seed = connect(&mut torrent, &mut pool, START, opened[0]);
            let peer = early.unwrap_or_else(|| come(&mut torrent, &mut pool));
            assert!(torrent.knows(seed) && torrent.knows(peer));
            assert_eq!(torrent.swarm_len(), 1);
        }
    }

    #[test]
    fn one_found_guilty_after_it_has_gone_is_not_used_again() {
        let mut pool = Pool::phantom(16 << 20);
        let mut torrent = torrent(Bitfield::empty(64));
        found(&mut torrent, &mut pool, 1);
        let (opened, _) = outputs(&mut torrent);
        let number = WebSeedNumber::of(opened[0]).expect("a web seed");
        torrent.give_up_web_seed(number);
        torrent.give_up_web_seed(number);
        let (_, changes) = outputs(&mut torrent);
        assert_eq!(changes, [WebSeedChange::GivenUp(Failure::BadData)], "told once");
        // It was being opened meanwhile.
        let came = torrent.admit(START, opened[0], Direction::Outgoing, Encryption::Off);
        assert!(came.is_err());
        torrent.web_seed_not_opened(START, number, DialFailure::TimedOut);
        torrent.handle(START + Duration::from_secs(900), Input::Timeout, &mut pool);
        assert_eq!(outputs(&mut torrent).0, []);
    }

    #[test]
    fn it_is_asked_for_runs_of_pieces() {
        let mut pool = Pool::phantom(16 << 20);
        let mut torrent = torrent(Bitfield::empty(1_000));
        found(&mut torrent, &mut pool, 1);
        let (opened, _) = outputs(&mut torrent);
        let key = connect(&mut torrent, &mut pool, START, opened[0]);
        let requests = &torrent.peers.get(key).expect("there").requests;
        let pieces: Vec<u32> = requests.iter().map(|request| request.block.piece.0).collect();
        assert_eq!(pieces.len(), 64);
        let breaks = pieces.windows(2).filter(|pair| pair[1] != pair[0] + 1).count();
        assert!(breaks <= 1, "only at the end: {pieces:?}");
    }

    #[test]
    fn failures_double_the_wait_until_one_is_final() {
        let mut pool = Pool::phantom(16 << 20);
        let mut torrent = torrent(Bitfield::empty(64));
        found(&mut torrent, &mut pool, 1);
        torrent.handle(START, Input::Timeout, &mut pool);
        assert_eq!(
            torrent.poll_timeout(),
            Some(START + Duration::from_secs(15)),
            "to ask for peers"
        );
        let (mut now, mut waits) = (START, Vec::new());
        for _ in 0..5 {
            let (opened, _) = outputs(&mut torrent);
            let peer = connect(&mut torrent, &mut pool, now, opened[0]);
            assert_eq!(torrent.poll_timeout(), Some(now + TICK), "the next look is soon");
            let cause = CloseCause::WebSeed(Failure::TimedOut);
            torrent.handle(now, Input::Closed { peer, cause }, &mut pool);
            let (opened, changes) = outputs(&mut torrent);
            assert_eq!(opened, []);
            let Some(&WebSeedChange::Rests(Failure::TimedOut, wait)) = changes.last() else {
                panic!("{changes:?}");
            };
            waits.push(wait.as_secs());
            now += wait + Duration::from_secs(1);
            torrent.handle(now, Input::Timeout, &mut pool);
        }
        assert!(waits[0] <= 15 && waits[4] >= 80, "{waits:?}");

        let (opened, _) = outputs(&mut torrent);
        let busy = Failure::Busy { status: 429, wait: Some(Duration::from_secs(1_000_000)) };
        let peer = connect(&mut torrent, &mut pool, now, opened[0]);
        torrent.handle(now, Input::Closed { peer, cause: CloseCause::WebSeed(busy) }, &mut pool);
        let (_, changes) = outputs(&mut torrent);
        assert_eq!(changes.last(), Some(&WebSeedChange::Rests(busy, MAX_WEB_SEED_WAIT)));

        now += MAX_WEB_SEED_WAIT;
        torrent.handle(now, Input::Timeout, &mut pool);
        let (opened, _) = outputs(&mut torrent);
        let peer = connect(&mut torrent, &mut pool, now, opened[0]);
        let gone = Failure::Status(404);
        torrent.handle(now, Input::Closed { peer, cause: CloseCause::WebSeed(gone) }, &mut pool);
        let (_, changes) = outputs(&mut torrent);
        assert_eq!(changes.last(), Some(&WebSeedChange::GivenUp(gone)));
        torrent.handle(now + LONGEST_WAIT * 100, Input::Timeout, &mut pool);
        assert_eq!(outputs(&mut torrent).0, []);
    }

    #[test]
    fn who_has_moved_tries_again_at_once_but_for_one_that_has_said_when() {
        let mut pool = Pool::phantom(16 << 20);
        let mut torrent = torrent(Bitfield::empty(64));
        found(&mut torrent, &mut pool, 2);
        let (opened, _) = outputs(&mut torrent);
        let busy = Failure::Busy { status: 503, wait: Some(Duration::from_secs(600)) };
        for (&addr, failure) in opened.iter().zip([Failure::Unreachable, busy]) {
            let peer = connect(&mut torrent, &mut pool, START, addr);
            let cause = CloseCause::WebSeed(failure);
            torrent.handle(START, Input::Closed { peer, cause }, &mut pool);
        }
        assert_eq!(outputs(&mut torrent).0, []);
        torrent.handle(START, Input::Moved, &mut pool);
        assert_eq!(outputs(&mut torrent).0, opened[..1]);
    }

    #[test]
    fn one_that_lacks_some_files_is_used_for_the_others_and_one_that_lacks_many_is_not() {
        let mut pool = Pool::phantom(16 << 20);
        let mut torrent = torrent(Bitfield::empty(64));
        found(&mut torrent, &mut pool, 1);
        for n in 0..=MAX_FILES_LACKED as u32 {
            let opened = std::iter::from_fn(|| torrent.poll()).find_map(|output| match output {
                Output::OpenWebSeed { addr, lacks, .. } => Some((addr, lacks)),
                _ => None,
            });
            let (addr, lacks) = opened.expect("it is used");
            assert_eq!(*lacks, (0..n).map(FileIndex).collect::<Vec<_>>());
            let peer = connect(&mut torrent, &mut pool, START, addr);
            let failure = Failure::NoFile { file: FileIndex(n), status: 404 };
            let cause = CloseCause::WebSeed(failure);
            torrent.handle(START, Input::Closed { peer, cause }, &mut pool);
        }
        let (opened, changes) = outputs(&mut torrent);
        assert_eq!(opened, []);
        assert_eq!(changes.last(), Some(&WebSeedChange::GivenUp(Failure::Status(404))));
    }

    #[test]
    fn those_that_lack_what_is_missing_keep_no_other_out() {
        let mut pool = Pool::phantom(16 << 20);
        let mut torrent = torrent(Bitfield::empty(64));
        found(&mut torrent, &mut pool, MAX_WEB_SEEDS_OPEN + 1);
        let (opened, _) = outputs(&mut torrent);
        assert_eq!(opened.len(), MAX_WEB_SEEDS_OPEN);
        for addr in opened {
            let key = connect(&mut torrent, &mut pool, START, addr);
            let peer = torrent.peers.get_mut(key).expect("there");
            peer.wanted = 0;
            torrent.update_interest(key);
        }
        torrent.handle(START, Input::Timeout, &mut pool);
        let (opened, _) = outputs(&mut torrent);
        assert_eq!(opened, [WebSeedNumber(MAX_WEB_SEEDS_OPEN as u16).addr()]);
    }

    #[test]
    fn one_that_lacks_pieces_is_left_when_nothing_is_missing() {
        let mut pool = Pool::phantom(16 << 20);
        let mut torrent = torrent(Bitfield::empty(64));
        found(&mut torrent, &mut pool, 1);
        let (opened, _) = outputs(&mut torrent);
        let key = connect(&mut torrent, &mut pool, START, opened[0]);
        let peer = torrent.peers.get_mut(key).expect("there");
        peer.pieces.remove(PieceIndex(3));
        assert_eq!(torrent.part_if_both_seeds(key), Ok(()));
        let seeding = super::super::messages::tests::torrent(Bitfield::full(64));
        (torrent.pieces, torrent.phase) = (seeding.pieces, seeding.phase);
        assert_eq!(torrent.part_if_both_seeds(key), Err(Disconnect::BothSeeds));
    }

    #[test]
    fn one_that_says_nothing_rests() {
        let mut pool = Pool::phantom(16 << 20);
        let mut torrent = torrent(Bitfield::empty(64));
        found(&mut torrent, &mut pool, 1);
        let (opened, _) = outputs(&mut torrent);
        connect(&mut torrent, &mut pool, START, opened[0]);
        torrent.handle(START + Duration::from_secs(61), Input::Timeout, &mut pool);
        let (_, changes) = outputs(&mut torrent);
        assert!(matches!(changes.last(), Some(WebSeedChange::Rests(Failure::TimedOut, _))));
    }

    #[test]
    fn bad_data_ends_its_use_and_bans_nobody() {
        let mut pool = Pool::phantom(16 << 20);
        let mut torrent = torrent(Bitfield::empty(64));
        found(&mut torrent, &mut pool, 1);
        let (opened, _) = outputs(&mut torrent);
        let key = connect(&mut torrent, &mut pool, START, opened[0]);
        let block = torrent.peers.get(key).expect("there").requests.oldest().expect("one").block;
        let header = piece_header(block.piece.0, 0, block.length);
        torrent.read(START, key, Chunk::Bytes(&header), &mut pool);
        let payload = Chunk::Phantom { length: block.length, tag: 66 };
        torrent.read(START, key, payload, &mut pool);
        let job = std::iter::from_fn(|| torrent.poll()).find_map(|output| match output {
            Output::Disk(DiskJob::Verify { piece, slabs, .. }) => Some((piece, slabs)),
            _ => None,
        });
        let (piece, slabs) = job.expect("the piece is complete");
        assert_eq!(piece, PieceIndex(block.piece.0));
        let slabs = slabs.into_iter().map(|held| held.slab).collect();
        let (verdict, digests) = (Verdict::Bad, vec![66]);
        let event = DiskEvent::Verified { piece, slabs, verdict, digests };
        torrent.handle(START, Input::Disk(event), &mut pool);
        let (_, changes) = outputs(&mut torrent);
        assert_eq!(changes, [WebSeedChange::GivenUp(Failure::BadData)]);
        assert_eq!((torrent.candidates.banned(), torrent.peers.len()), (0, 0));
    }
}
