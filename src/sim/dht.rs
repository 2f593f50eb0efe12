//! A network of DHT nodes in virtual time: the machine of [`crate::dht`], under churn and among rogues.
//!
//! Every host has an address of its own; datagrams take their time and some are lost. What a node does is not
//! decided here, what those do that mean no good is in `rogue`.

mod rogue;

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use crate::{
    base::{hash::Sha1Hash, rng::Rng, time::Instant},
    dht::{Announce, Config, Found, Key, Node, NodeId, Output, Question, SearchId, Summary},
};
pub use rogue::Mischief;

/// Port of every host.
const PORT: u16 = 6881;
/// Nodes that a newcomer knows.
const ENTRANCES: usize = 3;
/// Bytes of headers that a datagram costs besides its own.
const HEADERS: u64 = 28;

/// Which address families a host has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Families {
    /// All hosts have IPv4 only.
    V4,
    /// All hosts have IPv6 only.
    V6,
    /// One third each: IPv4 only, IPv6 only, both.
    Mixed,
}

/// How a network is made.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Decides everything that is left to chance.
    pub seed: u64,
    /// Hosts at any time.
    pub hosts: usize,
    /// Addresses of the hosts.
    pub families: Families,
    /// Of 100 hosts, rogues.
    pub rogues: u64,
    /// What they do.
    pub mischief: Mischief,
    /// Of 100 datagrams, lost ones.
    pub loss: u64,
    /// Of 100 hosts, those that leave in ten minutes, without a word; others come in their place.
    pub churn: u64,
}

/// What one search found.
#[derive(Debug, Clone, Default)]
pub struct Answer {
    /// Peers.
    pub peers: Vec<SocketAddr>,
    /// How it went; `None` while it goes on.
    pub summary: Option<Summary>,
}

#[derive(Debug)]
enum Kind {
    Honest(Box<Node>),
    Forgetful(Box<Node>),
    Rogue(NodeId),
}

impl Kind {
    fn node(&self) -> Option<&Node> {
        match self {
            Kind::Honest(node) | Kind::Forgetful(node) => Some(node),
            Kind::Rogue(_) => None,
        }
    }

    fn node_mut(&mut self) -> Option<&mut Node> {
        match self {
            Kind::Honest(node) | Kind::Forgetful(node) => Some(node),
            Kind::Rogue(_) => None,
        }
    }
}

#[derive(Debug)]
struct Host {
    /// Its addresses, of IPv4 and IPv6.
    addrs: [Option<SocketAddr>; 2],
    kind: Kind,
    /// When it is woken next.
    wake: Instant,
    alive: bool,
    /// It leaves when its owner says so, and not by chance.
    stays: bool,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    Arrive { from: SocketAddr, to: SocketAddr, datagram: Vec<u8> },
    Wake(usize),
    Leave,
}

/// The network.
#[derive(Debug)]
pub struct World {
    plan: Plan,
    now: Instant,
    rng: Rng,
    hosts: Vec<Host>,
    by_addr: BTreeMap<SocketAddr, usize>,
    agenda: BinaryHeap<Reverse<(Instant, u64, Due)>>,
    planned: u64,
    answers: BTreeMap<(usize, SearchId), Answer>,
    /// Datagrams that honest hosts have sent, and their bytes.
    pub sent: (u64, u64),
}

impl World {
    /// A network whose hosts come one after another, each a tenth of a second after the one before.
    pub fn new(plan: Plan) -> Self {
        let mut world = World {
            plan,
            now: Instant::ZERO,
            rng: Rng::new(plan.seed),
            hosts: Vec::new(),
            by_addr: BTreeMap::new(),
            agenda: BinaryHeap::new(),
            planned: 0,
            answers: BTreeMap::new(),
            sent: (0, 0),
        };
        for _ in 0..plan.hosts {
            world.join();
            let next = world.now + Duration::from_millis(100);
            world.run_until(next);
        }
        if let Some(pause) = world.pause_of_churn() {
            world.plan_at(world.now + pause, Due::Leave);
        }
        world
    }

    /// The virtual time.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// Lets so much time pass.
    pub fn run_for(&mut self, span: Duration) {
        self.run_until(self.now + span);
    }

    /// A host that is there, honest, and has an address of that family.
    pub fn some_host(&mut self, v6: bool) -> usize {
        loop {
            let at = self.rng.index(self.hosts.len());
            let host = &self.hosts[at];
            let fits = host.addrs[usize::from(v6)].is_some();
            if host.alive && fits && matches!(host.kind, Kind::Honest(_)) {
                return at;
            }
        }
    }

    /// Whether a host has not left.
    pub fn is_alive(&self, host: usize) -> bool {
        self.hosts[host].alive
    }

    /// Addresses of a host, of IPv4 and IPv6.
    pub fn addrs(&self, host: usize) -> [Option<SocketAddr>; 2] {
        self.hosts[host].addrs
    }

    /// The host asks something; see [`World::answer`].
    pub fn search(&mut self, host: usize, question: Question) -> (usize, SearchId) {
        let Kind::Honest(node) = &mut self.hosts[host].kind else { panic!("a rogue asks nothing") };
        let id = node.search(self.now, question, true);
        self.answers.insert((host, id), Answer::default());
        self.settle(host);
        (host, id)
    }

    /// The host announces itself as a peer of a torrent.
    pub fn announce(&mut self, host: usize, info_hash: Sha1Hash) -> (usize, SearchId) {
        self.search(host, Question::Peers(info_hash, Some(Announce { port: None, mapped: None })))
    }

    /// What came of a search so far.
    pub fn answer(&self, search: (usize, SearchId)) -> &Answer {
        &self.answers[&search]
    }

    /// The ids of the eight hosts that are closest to `target`, of one family, misfits left out: what a
    /// search should come to.
    pub fn closest(&self, target: NodeId, v6: bool) -> Vec<NodeId> {
        let id = |host: &Host| {
            let addr = host.addrs[usize::from(v6)].filter(|_| host.alive)?;
            let id = match &host.kind {
                Kind::Honest(node) | Kind::Forgetful(node) => node.id(v6)?,
                Kind::Rogue(id) => *id,
            };
            id.fits(addr.ip()).then_some(id)
        };
        let mut ids: Vec<NodeId> = self.hosts.iter().filter_map(id).collect();
        ids.sort_by_key(|id| id.distance(&target));
        ids.truncate(8);
        ids
    }

    fn pause_of_churn(&self) -> Option<Duration> {
        let leave = self.plan.hosts as u64 * self.plan.churn / 100;
        (leave > 0).then(|| Duration::from_secs(600) / leave as u32)
    }

    fn plan_at(&mut self, at: Instant, due: Due) {
        self.planned += 1;
        self.agenda.push(Reverse((at, self.planned, due)));
    }

    /// Lets everything happen that is due up to `end`.
    pub(super) fn run_until(&mut self, end: Instant) {
        while self.next_due().is_some_and(|at| at <= end) {
            self.step();
        }
        self.now = end;
    }

    /// When the next thing happens.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.agenda.peek().map(|Reverse((at, ..))| *at)
    }

    /// Lets the next thing happen.
    pub(super) fn step(&mut self) {
        let Some(Reverse((at, _, due))) = self.agenda.pop() else { return };
        self.now = at;
        match due {
            Due::Arrive { from, to, datagram } => self.arrive(from, to, &datagram),
            Due::Wake(host) => self.wake(host),
            Due::Leave => self.replace_somebody(),
        }
    }

    /// A host of another world comes, with an address that nobody here has. It knows the first ones, as everybody
    /// knows some: who knows liars alone is lost.
    pub(super) fn enter(&mut self, addr: SocketAddr) -> usize {
        let addrs = if addr.is_ipv4() { [Some(addr), None] } else { [None, Some(addr)] };
        let known =
            self.hosts.iter().take(ENTRANCES).flat_map(|host| host.addrs).flatten().collect();
        let node = self.honest(addrs, known);
        let host = self.place(addrs, Kind::Honest(node));
        self.hosts[host].stays = true;
        host
    }

    /// Whether a host that means well knows nobody.
    pub(super) fn is_lonely(&self, host: usize) -> bool {
        self.hosts[host].kind.node().is_some_and(|node| node.status().nodes == [0, 0])
    }

    /// The host leaves without a word.
    pub(super) fn leave(&mut self, host: usize) {
        self.hosts[host].alive = false;
    }

    /// A host comes, and knows some that are there.
    fn join(&mut self) {
        let n = self.hosts.len();
        let third = self.rng.below(3);
        let (v4, v6) = match self.plan.families {
            Families::V4 => (true, false),
            Families::V6 => (false, true),
            Families::Mixed => (third != 1, third != 0),
        };
        // Every host in a network of its own, as nodes of strangers are.
        let number = 0x0B00_0000 + n as u32 * 257;
        let v4_addr = SocketAddr::from((number.to_be_bytes(), PORT));
        let v6_addr = SocketAddr::from(([0x2a00, (n >> 8) as u16, n as u16, 0, 0, 0, 0, 1], PORT));
        let addrs = [v4.then_some(v4_addr), v6.then_some(v6_addr)];
        // The first ones let the others in, and tell the truth.
        let is_rogue = n > 20 && self.rng.below(100) < self.plan.rogues;
        let ip = addrs.into_iter().flatten().next().map_or(v4_addr.ip(), |addr| addr.ip());
        let forgets = self.plan.mischief == Mischief::Forgets;
        let kind = match is_rogue && !forgets {
            true if n.is_multiple_of(2) => Kind::Rogue(NodeId::random(&mut self.rng)),
            true => Kind::Rogue(NodeId::for_address(ip, &mut self.rng)),
            false => {
                let node = self.honest(addrs, Vec::new());
                if is_rogue { Kind::Forgetful(node) } else { Kind::Honest(node) }
            }
        };
        self.place(addrs, kind);
    }

    /// A node that tells the truth, and knows those, or else some that are there.
    fn honest(&mut self, addrs: [Option<SocketAddr>; 2], known: Vec<SocketAddr>) -> Box<Node> {
        let mut id = |addr: Option<SocketAddr>| {
            addr.map(|addr| NodeId::for_address(addr.ip(), &mut self.rng))
        };
        let ids = [id(addrs[0]), id(addrs[1])];
        let mut key = Key([0; 20]);
        self.rng.fill(&mut key.0);
        let [v4, v6] = addrs.map(|addr| addr.is_some());
        let config = Config { v4, v6, read_only: false, ids, blocked: Arc::default() };
        let mut node = Box::new(Node::new(&config, self.rng.fork(), key, self.now));
        let known = if known.is_empty() { self.entrances(addrs) } else { known };
        node.add_entrances(self.now, known);
        node
    }

    /// The host is there from now on.
    fn place(&mut self, addrs: [Option<SocketAddr>; 2], kind: Kind) -> usize {
        let n = self.hosts.len();
        for addr in addrs.into_iter().flatten() {
            self.by_addr.insert(addr, n);
        }
        let floods = matches!(kind, Kind::Rogue(_)) && self.plan.mischief == Mischief::Floods;
        self.hosts.push(Host { addrs, kind, wake: Instant::FAR, alive: true, stays: false });
        self.settle(n);
        if floods {
            self.wake_at(n, self.now + rogue::FLOOD_EVERY);
        }
        n
    }

    /// Some hosts that are there and can be reached, as a friend or a torrent file would name them.
    fn entrances(&mut self, own: [Option<SocketAddr>; 2]) -> Vec<SocketAddr> {
        let reached = |host: &Host| {
            host.alive
                && host.addrs.iter().zip(own).any(|(one, own)| one.is_some() && own.is_some())
        };
        let alive: Vec<usize> =
            (0..self.hosts.len()).filter(|&at| reached(&self.hosts[at])).collect();
        let draw = |_| alive.get(self.rng.index(alive.len())).copied();
        let some: Vec<usize> = (0..ENTRANCES).filter_map(draw).collect();
        some.into_iter().flat_map(|at| self.hosts[at].addrs).flatten().collect()
    }

    /// Somebody leaves without a word; somebody else comes.
    fn replace_somebody(&mut self) {
        let gone = self.rng.index(self.hosts.len());
        if self.hosts[gone].alive && !self.hosts[gone].stays && gone > 20 {
            self.hosts[gone].alive = false;
            self.join();
        }
        if let Some(pause) = self.pause_of_churn() {
            self.plan_at(self.now + pause, Due::Leave);
        }
    }

    fn arrive(&mut self, from: SocketAddr, to: SocketAddr, datagram: &[u8]) {
        let Some(&at) = self.by_addr.get(&to) else { return };
        let host = &mut self.hosts[at];
        if !host.alive {
            return;
        }
        if let Kind::Forgetful(node) = &host.kind {
            let own = node.id(to.is_ipv6()).expect("it is reached by a family that it has");
            if let Some(says) = rogue::pretence(own, from, datagram) {
                return self.send(at, to, from, says);
            }
        }
        match &mut host.kind {
            Kind::Honest(node) | Kind::Forgetful(node) => {
                node.handle_datagram(self.now, from, datagram);
                self.settle(at);
            }
            &mut Kind::Rogue(id) if self.plan.mischief == Mischief::Lies => {
                if let Some(lie) = rogue::lie(id, from, datagram, &mut self.rng) {
                    self.send(at, to, from, lie);
                }
            }
            Kind::Rogue(_) => {}
        }
    }

    /// One that floods asks somebody something.
    fn flood(&mut self, at: usize, id: NodeId) {
        let host = self.rng.index(self.hosts.len());
        let ways = self.hosts[at].addrs.into_iter().zip(self.hosts[host].addrs);
        let way = ways.filter_map(|(from, to)| from.zip(to)).next();
        if let Some((from, to)) = way {
            let question = rogue::question(id, &mut self.rng);
            self.send(at, from, to, question);
        }
        self.wake_at(at, self.now + rogue::FLOOD_EVERY);
    }

    fn wake(&mut self, at: usize) {
        let host = &mut self.hosts[at];
        if !host.alive || host.wake > self.now {
            return;
        }
        host.wake = Instant::FAR;
        match &mut host.kind {
            Kind::Honest(node) | Kind::Forgetful(node) => {
                node.handle_timeout(self.now);
                self.settle(at);
            }
            &mut Kind::Rogue(id) => self.flood(at, id),
        }
    }

    fn wake_at(&mut self, host: usize, at: Instant) {
        if at < self.hosts[host].wake {
            self.hosts[host].wake = at;
            self.plan_at(at, Due::Wake(host));
        }
    }

    /// Carries out what a node wants done, and plans its next wake-up.
    fn settle(&mut self, at: usize) {
        loop {
            let Some(node) = self.hosts[at].kind.node_mut() else { return };
            let Some(output) = node.poll() else { break };
            match output {
                Output::Send { to, datagram } => {
                    if let Some(from) = self.hosts[at].addrs[usize::from(to.is_ipv6())] {
                        self.send(at, from, to, datagram);
                    }
                }
                Output::Found(id, found) => {
                    let Some(answer) = self.answers.get_mut(&(at, id)) else { continue };
                    match found {
                        Found::Peers(peers) => answer.peers.extend(peers),
                        Found::Ended(summary) => answer.summary = Some(summary),
                        Found::Item(_) | Found::Samples { .. } | Found::Refused(_) => {}
                    }
                }
                Output::OwnAddress(_) => {}
            }
        }
        let Some(node) = self.hosts[at].kind.node() else { return };
        let due = node.poll_timeout();
        self.wake_at(at, due);
    }

    fn send(&mut self, host: usize, from: SocketAddr, to: SocketAddr, datagram: Vec<u8>) {
        if matches!(self.hosts[host].kind, Kind::Honest(_)) {
            self.sent.0 += 1;
            self.sent.1 += datagram.len() as u64 + HEADERS;
        }
        let delay = Duration::from_millis(10 + self.rng.below(140));
        if self.rng.below(100) >= self.plan.loss {
            self.plan_at(self.now + delay, Due::Arrive { from, to, datagram });
        }
    }
}
