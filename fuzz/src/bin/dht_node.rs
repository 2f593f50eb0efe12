//! A node of the DHT among hosts that say anything in any order, all of it well formed: whatever comes, it
//! answers in proportion, keeps what it said it keeps, tells nobody what is none of his business, and
//! comes to an end with what it began.
//!
//! The input is a program of the world around it: queries with arbitrary arguments and tokens, right and
//! wrong answers to what it asked, names of nodes that are there or not, searches that begin and are
//! abandoned, time, another run from what the last one left. The first byte says which families it has and
//! whether it is read-only. Bytes that are no messages are the target `dht`'s.

#![no_main]

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use downpour::{
    base::{
        compact::{is_local, may_name, network},
        ip_filter::{AddrRange, Builder},
        limits,
        rng::Rng,
        time::Instant,
    },
    dht::{
        Announce, Config, Found, Key, Node, NodeId, Output, Question, SearchId,
        message::{
            Body, Message, MessageError, Method, Query, RawItem, RawSigned, Reply, Want,
            encode_error, encode_query, encode_reply, write_item, write_nodes, write_peers,
        },
        saved::Saved,
    },
};
use downpour_fuzz::{
    Program,
    hosts::{BLOCKED, ITEMS, addr, named, target, wrong},
    kept::Kept,
};
use libfuzzer_sys::fuzz_target;

/// Answers that one host gets at once, and the pace after it; the same for all hosts together.
const BUDGET: (u32, Duration) = (30, Duration::from_millis(200));
const BUDGET_OF_ALL: (u32, Duration) = (400, Duration::from_millis(5));
/// A search that runs has ended by then: some hundred nodes are asked, four of them each second.
const LONGEST_SEARCH: Duration = Duration::from_secs(120);
/// Searches of ours at a time: each of them runs as soon as anybody is known.
const SEARCHES: usize = 24;
/// Searches that it makes for its own tables, at a time.
const OWN_SEARCHES: usize = 20;
/// A question that is not answered by then never is.
const PATIENCE: Duration = Duration::from_secs(6);
/// Questions of the node that the world chooses from.
const KEPT: usize = 64;

fuzz_target!(|data: &[u8]| {
    let mut program = Program(data);
    let mut world = World::new(program.next());
    while !program.is_over() {
        let op = program.next();
        world.step(op, &mut program);
        world.check();
    }
    world.end();
});

/// A question of the node.
struct Asked {
    to: SocketAddr,
    transaction: Vec<u8>,
    target: Option<NodeId>,
}

/// A search that was begun.
struct Wanted {
    target: Option<NodeId>,
    found: BTreeSet<SocketAddr>,
    /// When it has begun to run; `None` while nobody is known.
    since: Option<Instant>,
}

struct World {
    now: Instant,
    config: Config,
    runs: u8,
    node: Node,
    /// The latest questions, some of an earlier run.
    asked: Vec<Asked>,
    /// All that may still be answered: when they were asked, and whether they are pings.
    open: BTreeMap<(SocketAddr, Vec<u8>), (Instant, bool)>,
    /// Who has answered, and who has said where we are.
    met: BTreeSet<SocketAddr>,
    votes: BTreeSet<(IpAddr, IpAddr)>,
    kept: Kept,
    searches: BTreeMap<SearchId, Wanted>,
    /// Pings begun as searches.
    pings: Vec<Instant>,
    /// When all answers to a host, and to all, would have been paid for.
    paid: BTreeMap<(IpAddr, u16), Instant>,
    paid_of_all: Instant,
}

impl World {
    fn new(first: u8) -> Self {
        let (v4, v6) =
            [(true, true), (true, false), (false, true), (true, true)][usize::from(first % 4)];
        let mut blocked = Builder::default();
        blocked.block(AddrRange::subnet(IpAddr::V4(BLOCKED), 24).expect("a net")).expect("room");
        let blocked = Arc::new(blocked.build());
        let config = Config { v4, v6, read_only: first & 4 != 0, ids: [None, None], blocked };
        World {
            now: Instant::ZERO,
            node: Node::new(&config, Rng::new(1), Key([1; 20]), Instant::ZERO),
            config,
            runs: 1,
            asked: Vec::new(),
            open: BTreeMap::new(),
            met: BTreeSet::new(),
            votes: BTreeSet::new(),
            kept: Kept::default(),
            searches: BTreeMap::new(),
            pings: Vec::new(),
            paid: BTreeMap::new(),
            paid_of_all: Instant::ZERO,
        }
    }

    fn step(&mut self, op: u8, program: &mut Program<'_>) {
        match op % 16 {
            0..=2 => {
                let from = addr(program.next());
                self.query(from, program);
            }
            3..=5 => {
                let n = usize::from(program.next());
                if let Some(at) = self.asked.len().checked_sub(n % KEPT + 1) {
                    let [manner, says] = [program.next(), program.next()];
                    self.answer(at, manner, says);
                }
            }
            6 => {
                // All that it has asked, from the oldest; what it asks meanwhile too, up to a number.
                let [manner, says, most] = [program.next(), program.next(), program.next()];
                for i in 0..most {
                    self.answer(0, manner & 0xf8, says.wrapping_add(i));
                }
            }
            7 => self.pass(Duration::from_millis(1 << (program.next() % 18))),
            8 => self.pass(Duration::from_secs(u64::from(program.next() % 64) * 60)),
            9 => self.search(program),
            10 => {
                let n = usize::from(program.next());
                let id = self.searches.keys().nth(n % self.searches.len().max(1)).copied();
                if let Some(id) = id {
                    self.searches.remove(&id);
                    self.node.abandon(self.now, id);
                    self.settle();
                }
            }
            11 => {
                let [n, count] = [program.next(), program.next()];
                let addrs = (0..count % 64).map(|i| named(n.wrapping_add(i)));
                if count & 0x80 == 0 {
                    self.node.add_entrances(self.now, addrs);
                } else {
                    self.node.add_routers(self.now, addrs);
                }
                self.settle();
            }
            12 => {
                // Many hosts ask the same at once, or one asks again and again.
                let (n, count, all) = (program.next(), program.next(), program.0);
                for i in 0..count {
                    program.0 = all;
                    let from = addr(if n & 1 == 0 { n } else { n.wrapping_add(i) });
                    self.query(from, program);
                }
            }
            13 => {
                // Hosts make themselves known, and answer when they are asked whether they are there.
                let [n, count] = [program.next(), program.next()];
                for i in 0..count % 64 {
                    let from = addr(n.wrapping_add(i));
                    let id = Some(self.id(n, from));
                    let query =
                        Query { id, read_only: false, want: Want::default(), method: Method::Ping };
                    self.hear(from, &encode_query(b"hi", &query));
                    if let Some(at) = self.asked.iter().position(|asked| asked.to == from) {
                        self.answer(at, 0, n);
                    }
                }
            }
            14 => self.restart(),
            _ => {
                let (from, bytes) = (addr(program.next()), program.bytes());
                self.hear(from, bytes);
            }
        }
    }

    /// Somebody asks something.
    fn query(&mut self, from: SocketAddr, program: &mut Program<'_>) {
        let [kind, n, who] = [program.next(), program.next(), program.next()];
        let id = (who != 0xff).then(|| self.id(who, from));
        let (target, token) = (target(n), self.kept.token(from.ip(), who >> 5));
        let item = &ITEMS[usize::from(n) % ITEMS.len()];
        let broken;
        let method = match kind % 8 {
            0 => Method::Ping,
            1 => Method::FindNode(target),
            2 => Method::GetPeers(target.into()),
            3 => {
                let port = [None, Some(1), Some(2), Some(u16::from(n) + 1)][usize::from(n >> 6)];
                Method::AnnouncePeer { info_hash: target.into(), port, token: &token }
            }
            4 => {
                let target = if n < 0x80 { item.target() } else { target };
                let newer_than = [None, Some(1), Some(2), Some(i64::MAX)][usize::from(n >> 5) % 4];
                Method::Get { target, newer_than }
            }
            5 => {
                let mut raw = item.raw();
                if n >= 0xe0 {
                    broken = wrong(&raw, n);
                    raw = RawItem {
                        value: &broken.0,
                        signed: raw.signed.map(|signed| RawSigned {
                            salt: &broken.1,
                            signature: &broken.2,
                            ..signed
                        }),
                    };
                }
                let cas = [None, None, Some(1), Some(2)][usize::from(n >> 4) % 4];
                Method::Put { token: &token, item: raw, cas }
            }
            6 => Method::SampleInfohashes(target),
            _ => Method::Unknown,
        };
        let want = Want { v4: kind & 8 != 0, v6: kind & 16 != 0 };
        let query = Query { id, read_only: kind & 32 != 0, want, method };
        let transaction = [&b"aa"[..], b"", &[b't'; 32], &[b't'; 33]][usize::from(kind >> 6)];
        self.hear(from, &encode_query(transaction, &query));
    }

    /// The id that a host says it has.
    fn id(&self, n: u8, addr: SocketAddr) -> NodeId {
        let own = self.node.id(addr.is_ipv6()).unwrap_or(NodeId([0; 20]));
        let near = |NodeId(mut id): NodeId| {
            id[19] ^= n;
            NodeId(id)
        };
        match n % 8 {
            0..=3 => NodeId::for_address(addr.ip(), &mut Rng::new(u64::from(n >> 4))),
            4 => near(own),
            5 => near(target(n >> 4)),
            6 => NodeId([n; 20]),
            _ => own,
        }
    }

    /// Answers a question of the node: rightly, from elsewhere, with another transaction, or by a refusal.
    fn answer(&mut self, at: usize, manner: u8, says: u8) {
        let Some(Asked { to, transaction, target: sought, .. }) = self.asked.get(at) else {
            return;
        };
        let (mut from, mut transaction, sought) = (*to, transaction.clone(), *sought);
        let ours: SocketAddr = match manner >> 6 {
            0 => (Ipv4Addr::new(198, 18, 0, 1), 6881).into(),
            1 => (Ipv4Addr::new(198, 18, 0, says), 6881).into(),
            2 => (Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, 1), 6881).into(),
            _ => addr(says),
        };
        match manner % 8 {
            5 => from = addr(says),
            6 => transaction = says.to_be_bytes().repeat(usize::from(says % 5)),
            _ => drop(self.asked.remove(at)),
        }
        if manner % 8 == 7 {
            let text = "no".repeat(usize::from(says));
            let code = [202, 203, 301, 302][usize::from(says % 4)];
            return self.hear(from, &encode_error(&transaction, ours, code, &text));
        }
        let id = self.id(says, from);
        let named: Vec<(NodeId, SocketAddr)> = (0..says % 20)
            .map(|i| named(says.wrapping_mul(7).wrapping_add(i)))
            .enumerate()
            .map(|(i, addr)| match sought {
                // Always nearer to what is sought, whether it fits or not.
                Some(NodeId(mut near)) if manner & 8 != 0 => {
                    near[usize::from(says >> 3) % 20] ^= i as u8;
                    (NodeId(near), addr)
                }
                _ => (self.id((says & 0xf0) + i as u8, addr), addr),
            })
            .collect();
        let item = &ITEMS[usize::from(says) % ITEMS.len()];
        let reply = encode_reply(&transaction, ours, id, |r| {
            for v6 in [false, true] {
                let family: Vec<_> =
                    named.iter().filter(|(_, addr)| addr.is_ipv6() == v6).copied().collect();
                write_nodes(r, &family, v6);
            }
            if manner & 16 != 0 {
                r.bytes("token", &[says; 8][..usize::from(says % 9)]);
            }
            if manner & 32 != 0 {
                let peers = named.iter().map(|&(_, addr)| addr);
                write_peers(r, peers.clone().chain(peers));
                r.bytes("samples", [says; 50]);
                r.int("num", u64::MAX);
                write_item(r, &item.raw());
            }
        });
        self.hear(from, &reply);
    }

    /// The node gets a datagram, and says what it has to say to it.
    fn hear(&mut self, from: SocketAddr, datagram: &[u8]) {
        let question = match Message::decode(datagram) {
            Ok(Message { transaction, body: Body::Query(query), .. }) => {
                Some((transaction, Some(query)))
            }
            Err(MessageError::BadQuery(transaction)) => Some((transaction, None)),
            Ok(Message { transaction, ip, body: Body::Reply(_) }) => {
                if self.open.remove(&(from, transaction.to_vec())).is_some() {
                    self.met.insert(from);
                    self.votes.extend(ip.map(|ip| (network(from.ip()), ip.ip().to_canonical())));
                }
                None
            }
            Ok(Message { transaction, body: Body::Error { .. }, .. }) => {
                self.open.remove(&(from, transaction.to_vec()));
                None
            }
            Err(MessageError::Nonsense) => None,
        };
        self.node.handle_datagram(self.now, from, datagram);
        let mut answers = 0;
        while let Some(output) = self.node.poll() {
            let Output::Send { to, datagram: said } = &output else {
                self.take(output);
                continue;
            };
            let message = Message::decode(said).expect("ours can be read");
            if matches!(message.body, Body::Query(_)) {
                self.take(output);
                continue;
            }
            answers += 1;
            let (transaction, query) = question.as_ref().expect("only a question is answered");
            assert_eq!((*to, message.transaction), (from, *transaction));
            assert!(!self.config.read_only && !self.config.blocked.blocks(from.ip()));
            self.pays(from);
            let most = datagram.len() + allowance(query.as_ref().map(|query| &query.method));
            assert!(said.len() <= most, "{} bytes for {}", said.len(), datagram.len());
            match (&message.body, query) {
                (Body::Reply(reply), Some(query)) => self.answered(from, query, reply),
                (Body::Error { code, .. }, Some(query)) => {
                    self.kept.refused(self.now, from, query, *code)
                }
                (Body::Error { .. }, None) => {}
                _ => unreachable!("no reply without a query"),
            }
        }
        assert!(answers <= 1, "one answer for one question");
    }

    /// An answer to `from` is within its budget.
    fn pays(&mut self, from: SocketAddr) {
        let now = self.now;
        let pay = |paid: &mut Instant, (burst, pace): (u32, Duration)| {
            let begin = (*paid).max(now);
            assert!(begin.since(now) < pace * burst, "more answers than its budget has");
            *paid = begin + pace;
        };
        let port = if is_local(from.ip()) { from.port() } else { 0 };
        pay(self.paid.entry((network(from.ip()), port)).or_default(), BUDGET);
        pay(&mut self.paid_of_all, BUDGET_OF_ALL);
    }

    /// What an answer says is true, and no more than `from` may know.
    fn answered(&mut self, from: SocketAddr, query: &Query<'_>, reply: &Reply<'_>) {
        assert_eq!(Some(reply.id), self.node.id(from.is_ipv6()));
        let mut families = [0, 0];
        for (_, addr) in reply.nodes() {
            families[usize::from(addr.is_ipv6())] += 1;
            assert!(self.met.contains(&addr), "{addr} has never answered");
            assert!(may_name(from, addr) && !self.config.blocked.blocks(addr.ip()));
        }
        assert!(families.into_iter().all(|count| count <= 8));
        self.kept.answered(self.now, from, query, reply);
    }

    /// Something that the node wants, which is no answer.
    fn take(&mut self, output: Output) {
        match output {
            Output::Send { to, datagram } => self.asks(to, &datagram),
            Output::Found(id, found) => self.found(id, found),
            Output::OwnAddress(ip) => {
                let votes = self.votes.iter().filter(|(_, voted)| *voted == ip).count();
                assert!(votes >= 4 && !is_local(ip), "{votes} say {ip}");
            }
        }
    }

    fn asks(&mut self, to: SocketAddr, datagram: &[u8]) {
        let message = Message::decode(datagram).expect("ours can be read");
        let Body::Query(query) = message.body else { panic!("an answer to nothing") };
        assert!(!self.config.blocked.blocks(to.ip()), "{to} is blocked");
        assert!(to.port() != 0 && !to.ip().is_multicast() && !to.ip().is_unspecified(), "{to}");
        assert_eq!(to.ip(), to.ip().to_canonical(), "nobody answers from there");
        assert!(query.id.is_some() && query.id == self.node.id(to.is_ipv6()));
        assert_eq!(query.read_only, self.config.read_only);
        let target = match query.method {
            Method::FindNode(target)
            | Method::Get { target, .. }
            | Method::SampleInfohashes(target) => Some(target),
            Method::GetPeers(info_hash) => Some(info_hash.into()),
            _ => None,
        };
        let transaction = message.transaction.to_vec();
        self.open.retain(|_, (at, _)| self.now.since(*at) < PATIENCE);
        let question = (self.now, query.method == Method::Ping);
        let old = self.open.insert((to, transaction.clone()), question);
        assert!(old.is_none(), "a transaction is used once");
        let checks = self.open.values().filter(|(_, is_ping)| *is_ping).count();
        let begun = self.pings.iter().filter(|&&at| self.now.since(at) < PATIENCE).count();
        assert!(
            checks <= limits::MAX_DHT_CHECKS + begun,
            "{checks} are asked whether they are there"
        );
        if self.asked.len() >= KEPT {
            self.asked.remove(0);
        }
        self.asked.push(Asked { to, transaction, target });
    }

    fn search(&mut self, program: &mut Program<'_>) {
        let [kind, n] = [program.next(), program.next()];
        if self.searches.len() >= SEARCHES {
            return;
        }
        let item = &ITEMS[usize::from(n) % ITEMS.len()];
        let announce =
            Announce { port: (n & 1 != 0).then_some(7), mapped: (n & 2 != 0).then_some(8) };
        let question = match kind % 8 {
            0 => Question::Ping(named(n)),
            1 => Question::FindNode(target(n)),
            2 => Question::Peers(target(n).into(), None),
            3 | 4 => Question::Peers(target(n).into(), Some(announce)),
            5 => {
                let salt = item.raw().signed.map_or(&b""[..], |signed| signed.salt).to_vec();
                Question::Get { target: item.target(), salt }
            }
            6 => Question::Put { item: item.clone(), cas: (n & 0x80 != 0).then_some(1) },
            _ => Question::Sample(target(n)),
        };
        let target = match &question {
            Question::Get { target, .. } => Some(*target),
            _ => None,
        };
        let is_ping = matches!(question, Question::Ping(_));
        if is_ping {
            self.pings.retain(|&at| self.now.since(at) < PATIENCE);
            self.pings.push(self.now);
        }
        let id = self.node.search(self.now, question, kind & 8 != 0);
        let since = is_ping.then_some(self.now);
        let twice = self.searches.insert(id, Wanted { target, found: BTreeSet::new(), since });
        assert!(twice.is_none(), "an id is given once");
        self.settle();
    }

    fn found(&mut self, id: SearchId, found: Found) {
        let wanted = self.searches.get_mut(&id).expect("a search that goes on");
        match found {
            Found::Peers(peers) => {
                assert!(!peers.is_empty() && peers.iter().all(|peer| peer.port() != 0));
                assert!(peers.into_iter().all(|peer| wanted.found.insert(peer)), "found twice");
                assert!(wanted.found.len() <= limits::MAX_DHT_PEERS_FOUND);
            }
            Found::Item(item) => assert_eq!(Some(item.target()), wanted.target),
            Found::Samples { from, .. } => assert!(self.met.contains(&from)),
            Found::Refused(text) => assert!(text.chars().count() <= 110),
            Found::Ended(summary) => {
                assert!(summary.asked as usize <= 2 * limits::MAX_DHT_ASKED);
                assert!(summary.answered <= summary.asked && summary.stored <= 16);
                assert!(summary.closest.len() <= 16);
                assert!(summary.closest.iter().all(|near| self.met.contains(&near.addr)));
                self.searches.remove(&id);
            }
        }
    }

    /// Takes what came of something that is no datagram.
    fn settle(&mut self) {
        while let Some(output) = self.node.poll() {
            self.take(output);
        }
    }

    /// Time passes, and the node is called when it wants to be.
    fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        while self.node.poll_timeout() <= until {
            self.now = self.node.poll_timeout().max(self.now);
            self.node.handle_timeout(self.now);
            self.settle();
            assert!(self.node.poll_timeout() > self.now, "a time-out leaves it where it was");
            self.check();
        }
        assert!(
            self.node.poll_timeout() < until + Duration::from_secs(11),
            "it looks after itself"
        );
        self.now = until;
    }

    /// Another run begins with what this one leaves.
    fn restart(&mut self) {
        let ids = [false, true].map(|v6| self.node.id(v6));
        let saved = Saved::new(ids, self.node.good_nodes(self.now));
        assert!(saved.nodes.iter().all(|addr| self.met.contains(addr)));
        assert!(saved.nodes.len() <= 2 * limits::MAX_DHT_SAVED);
        assert_eq!(Saved::decode(&saved.encode()).as_ref(), Some(&saved));
        self.runs = self.runs.wrapping_add(1);
        self.config.ids = saved.ids;
        let key = Key([self.runs; 20]);
        self.node = Node::new(&self.config, Rng::new(u64::from(self.runs)), key, self.now);
        assert_eq!([false, true].map(|v6| self.node.id(v6)), ids);
        // Old questions stay: an answer to them is one that nobody asked for.
        self.open.clear();
        self.met.clear();
        self.kept = Kept::after(&self.kept);
        self.searches.clear();
        self.paid.clear();
        self.paid_of_all = Instant::ZERO;
        self.node.add_entrances(self.now, saved.nodes);
        self.settle();
    }

    /// What always holds.
    fn check(&mut self) {
        let status = self.node.status();
        assert!(status.torrents <= self.kept.peers.len() && status.items <= self.kept.items.len());
        assert!(status.nodes.iter().sum::<usize>() <= self.met.len(), "only who answers is known");
        assert!(status.searches <= self.searches.len() + OWN_SEARCHES, "{}", status.searches);
        for wanted in self.searches.values_mut() {
            if wanted.since.is_none() && status.nodes != [0, 0] {
                wanted.since = Some(self.now);
            }
            let age = wanted.since.map(|since| self.now.since(since));
            assert!(age.is_none_or(|age| age < LONGEST_SEARCH), "a search does not end");
        }
    }

    /// Nobody answers any more, and nobody wants anything.
    fn end(&mut self) {
        self.pass(LONGEST_SEARCH);
        let left: Vec<SearchId> = self.searches.keys().copied().collect();
        for id in left {
            self.searches.remove(&id);
            self.node.abandon(self.now, id);
            self.settle();
        }
        self.check();
    }
}

/// The bytes that an answer may have more than its question.
fn allowance(method: Option<&Method<'_>>) -> usize {
    match method {
        None
        | Some(Method::Ping | Method::Unknown | Method::AnnouncePeer { .. } | Method::Put { .. }) => {
            100
        }
        // Eight nodes of each family.
        Some(Method::FindNode(_)) => 600,
        // And peers.
        Some(Method::GetPeers(_)) => 900,
        // And info hashes.
        Some(Method::SampleInfohashes(_)) => 1_050,
        // An item, and nodes of one family.
        Some(Method::Get { .. }) => 1_550,
    }
}
