//! One node: what it has asked, whom it knows, what it owes to time.
//!
//! Every datagram goes in by [`Node::handle_datagram`], everything it wants done comes out of
//! [`Node::poll`]. What it answers to queries is in [`super::serve`], how a search goes on in
//! [`super::search`].

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use super::{
    address::OwnAddress,
    guard::{Bound, Key, Tokens, Transactions},
    id::NodeId,
    item::Items,
    lookup::is_askable,
    message::{Body, Message, MessageError, Method, Query, Reply, Want, encode_query},
    peers::Peers,
    search::{Found, Search, SearchId},
    table::{BUCKET, Contact, Table},
};
use crate::base::{
    ip_filter::IpFilter,
    limits::{MAX_DHT_CHECKS, MAX_DHT_ENTRANCES},
    rng::Rng,
    time::Instant,
};

/// A node that is silent for so long loses its turn in a search; most answer in a fifth of it.
const SLOW_AFTER: Duration = Duration::from_secs(1);
/// A query that is not answered by then never will be.
const QUERY_TIMEOUT: Duration = Duration::from_secs(6);
/// Pause between two looks at table and storage.
const TICK: Duration = Duration::from_secs(10);
/// Ticks between two times when storage is cleared of what has expired.
const EXPIRE_TICKS: u64 = 30;
/// Pause between two attempts to come into the network; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_secs(2);
const LONGEST_PAUSE: Duration = Duration::from_secs(5 * 60);

/// What a node is to be.
#[derive(Debug, Clone)]
pub struct Config {
    /// Whether it has a socket for IPv4.
    pub v4: bool,
    /// Whether it has a socket for IPv6 (BEP 32).
    pub v6: bool,
    /// It asks and does not answer, for programs that end soon or that nobody can reach (BEP 43).
    pub read_only: bool,
    /// Its ids of an earlier run, for IPv4 and IPv6.
    pub ids: [Option<NodeId>; 2],
    /// Neither asked nor heard, whoever names them.
    pub blocked: Arc<IpFilter>,
}

/// One thing for the driver to do.
#[derive(Debug)]
pub enum Output {
    /// Send this datagram.
    Send {
        /// Where to.
        to: SocketAddr,
        /// Its bytes.
        datagram: Vec<u8>,
    },
    /// Something came of a search.
    Found(SearchId, Found),
    /// Our address, as several nodes see it.
    OwnAddress(IpAddr),
}

/// What a node knows and keeps, in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Status {
    /// Nodes in the IPv4 table and in the IPv6 one.
    pub nodes: [usize; 2],
    /// Torrents of which peers were announced here.
    pub torrents: usize,
    /// Items stored here.
    pub items: usize,
    /// Searches under way or waiting.
    pub searches: usize,
}

/// What a query of ours is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Is it there, and what is its id?
    Check,
    /// A step of a search.
    Step(SearchId),
    /// The end of a search: to store something.
    Store(SearchId),
}

/// A query of ours that is not answered yet.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pending {
    to: SocketAddr,
    /// Who should be there.
    id: Option<NodeId>,
    purpose: Purpose,
}

/// What one address family has for itself.
#[derive(Debug)]
pub(super) struct Family {
    pub(super) table: Table,
    own: OwnAddress,
    /// When to try next to come into the network; never while enough nodes are known.
    join: Instant,
    pause: Duration,
}

/// A node of the distributed hash table.
#[derive(Debug)]
pub struct Node {
    pub(super) families: [Option<Family>; 2],
    pub(super) blocked: Arc<IpFilter>,
    pub(super) read_only: bool,
    pending: HashMap<u32, Pending>,
    /// Queries in the order in which they were sent: to be called slow, and to be given up.
    slow: VecDeque<(Instant, u32)>,
    late: VecDeque<(Instant, u32)>,
    checks: usize,
    pub(super) searches: BTreeMap<SearchId, Search>,
    /// Searches that wait: those that are urgent, and the others.
    pub(super) waiting: [VecDeque<SearchId>; 2],
    /// Searches that were begun.
    pub(super) turns: u32,
    /// How many run that somebody waits for.
    pub(super) running: usize,
    /// Waiting ones are being started.
    pub(super) starting: bool,
    pub(super) next_search: u64,
    /// Addresses by which we may come into the network; the newest last.
    pub(super) entrances: VecDeque<SocketAddr>,
    /// Well-known ones among them have no place in the table: everybody asks them already.
    routers: Vec<SocketAddr>,
    pub(super) tokens: Tokens,
    pub(super) bound: Bound,
    pub(super) peers: Peers,
    pub(super) items: Items,
    pub(super) rng: Rng,
    transactions: Transactions,
    tick: Instant,
    ticks: u64,
    pub(super) outputs: VecDeque<Output>,
}

impl Node {
    /// A node that knows nobody yet. Random choices that others see come from `rng`; what nobody may guess
    /// comes from `key`.
    pub fn new(config: &Config, mut rng: Rng, key: Key, now: Instant) -> Self {
        let mut ids = rng.fork();
        let mut family = |enabled: bool, id: Option<NodeId>| {
            let id = id.unwrap_or_else(|| NodeId::random(&mut ids));
            enabled.then(|| Family {
                table: Table::new(id, now),
                own: OwnAddress::default(),
                join: Instant::FAR,
                pause: FIRST_PAUSE,
            })
        };
        Node {
            families: [family(config.v4, config.ids[0]), family(config.v6, config.ids[1])],
            blocked: config.blocked.clone(),
            read_only: config.read_only,
            pending: HashMap::new(),
            slow: VecDeque::new(),
            late: VecDeque::new(),
            checks: 0,
            searches: BTreeMap::new(),
            waiting: [VecDeque::new(), VecDeque::new()],
            turns: 0,
            running: 0,
            starting: false,
            next_search: 0,
            entrances: VecDeque::new(),
            routers: Vec::new(),
            tokens: Tokens::new(key, now),
            bound: Bound::new(key),
            peers: Peers::default(),
            items: Items::default(),
            rng,
            transactions: Transactions::new(key),
            tick: now + TICK,
            ticks: 0,
            outputs: VecDeque::new(),
        }
    }

    /// The next thing to do.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to call [`Node::handle_timeout`].
    pub fn poll_timeout(&self) -> Instant {
        let first = |queue: &VecDeque<(Instant, u32)>| queue.front().map(|&(at, _)| at);
        let joins = self.families.iter().flatten().map(|family| family.join);
        let queries = first(&self.slow).into_iter().chain(first(&self.late));
        queries.chain(joins).fold(self.tick, Instant::min)
    }

    /// Its id in the network of IPv4, or of IPv6.
    pub fn id(&self, v6: bool) -> Option<NodeId> {
        self.families[usize::from(v6)].as_ref().map(|family| family.table.own())
    }

    /// What it knows and keeps.
    pub fn status(&self) -> Status {
        let nodes = |v6: usize| self.families[v6].as_ref().map_or(0, |f| f.table.len());
        Status {
            nodes: [nodes(0), nodes(1)],
            torrents: self.peers.torrents(),
            items: self.items.len(),
            searches: self.searches.len(),
        }
    }

    /// The nodes that are there, for the next run.
    pub fn good_nodes(&self, now: Instant) -> impl Iterator<Item = Contact> + '_ {
        self.families.iter().flatten().flat_map(move |family| family.table.good(now))
    }

    /// Somebody names nodes by which the network can be entered. Who is known, or has no place, costs
    /// nothing.
    pub fn add_entrances(&mut self, now: Instant, addrs: impl IntoIterator<Item = SocketAddr>) {
        for addr in addrs {
            if self.blocked.blocks(addr.ip()) || !is_askable(addr) {
                continue;
            }
            let Some(family) = self.family_mut(addr) else { continue };
            let enough = family.table.len() >= BUCKET;
            if !enough {
                // Several come at a time: they are asked together, as soon as the last attempt is over.
                family.join = family.join.min(now);
            }
            if !self.entrances.contains(&addr) {
                if self.entrances.len() >= MAX_DHT_ENTRANCES {
                    self.entrances.pop_front();
                }
                self.entrances.push_back(addr);
            }
            if enough {
                self.check(now, None, addr);
            }
        }
    }

    /// The same for addresses that the whole world uses to enter: asked when we know nobody.
    pub fn add_routers(&mut self, now: Instant, addrs: impl IntoIterator<Item = SocketAddr>) {
        let addrs: Vec<SocketAddr> = addrs.into_iter().collect();
        let new = addrs.iter().filter(|addr| !self.routers.contains(addr)).copied();
        let new: Vec<SocketAddr> = new.take(MAX_DHT_ENTRANCES).collect();
        self.routers.extend(new);
        self.routers.truncate(MAX_DHT_ENTRANCES);
        self.add_entrances(now, addrs);
    }

    /// A datagram came. What makes no sense, or answers nothing that we asked, costs nothing.
    pub fn handle_datagram(&mut self, now: Instant, from: SocketAddr, datagram: &[u8]) {
        if self.family_mut(from).is_none() || from.port() == 0 || self.blocked.blocks(from.ip()) {
            return;
        }
        match Message::decode(datagram) {
            Ok(Message { transaction, body: Body::Query(query), .. }) => {
                self.answer(now, from, transaction, &query);
            }
            Ok(Message { transaction, ip, body: Body::Reply(reply) }) => {
                self.reply(now, from, transaction, ip, &reply);
            }
            Ok(Message { transaction, body: Body::Error { code, text }, .. }) => {
                let Some(pending) = self.take_pending(from, transaction) else { return };
                if let Some(id) = pending.id {
                    self.table_mut(from).queried(now, Contact { id, addr: from });
                }
                self.refused(now, &pending, code, text);
            }
            Err(MessageError::BadQuery(transaction)) => self.complain(now, from, transaction),
            Err(MessageError::Nonsense) => {}
        }
    }

    /// [`Node::poll_timeout`] has come.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(&(at, transaction)) = self.slow.front()
            && at <= now
        {
            self.slow.pop_front();
            if let Some(&Pending { to, purpose: Purpose::Step(search), .. }) =
                self.pending.get(&transaction)
            {
                self.step_is_slow(now, search, to);
            }
        }
        while let Some(&(at, transaction)) = self.late.front()
            && at <= now
        {
            self.late.pop_front();
            if let Some(pending) = self.pending.remove(&transaction) {
                self.gave_up(now, &pending);
            }
        }
        if now >= self.tick {
            self.tick = now + TICK;
            self.ticks += 1;
            self.look_after_tables(now);
            self.tokens.rotate(now);
            if self.ticks.is_multiple_of(EXPIRE_TICKS) {
                self.peers.expire(now);
                self.items.expire(now);
            }
        }
        // Last: what was done before may have made it due.
        for v6 in [false, true] {
            self.join(now, v6);
        }
    }

    /// Asks something of somebody.
    pub(super) fn send(
        &mut self,
        now: Instant,
        to: SocketAddr,
        id: Option<NodeId>,
        method: Method<'_>,
        purpose: Purpose,
    ) {
        debug_assert!(!self.blocked.blocks(to.ip()), "{to} is blocked");
        let Some(own) = self.family_mut(to).map(|family| family.table.own()) else { return };
        let wants = matches!(
            method,
            Method::FindNode(_)
                | Method::GetPeers(_)
                | Method::Get { .. }
                | Method::SampleInfohashes(_)
        );
        let both = wants && self.families.iter().all(Option::is_some);
        let want = Want { v4: both, v6: both };
        let query = Query { id: Some(own), read_only: self.read_only, want, method };
        let mut transaction = self.transactions.draw();
        while self.pending.contains_key(&transaction) {
            transaction = self.transactions.draw();
        }
        let datagram = encode_query(&transaction.to_be_bytes(), &query);
        self.checks += usize::from(purpose == Purpose::Check);
        self.pending.insert(transaction, Pending { to, id, purpose });
        self.slow.push_back((now + SLOW_AFTER, transaction));
        self.late.push_back((now + QUERY_TIMEOUT, transaction));
        self.outputs.push_back(Output::Send { to, datagram });
    }

    /// Asks whether a node is there, if there is room for the question.
    pub(super) fn check(&mut self, now: Instant, id: Option<NodeId>, addr: SocketAddr) {
        let asked = |pending: &Pending| pending.to == addr;
        if self.checks < MAX_DHT_CHECKS && !self.pending.values().any(asked) {
            self.send(now, addr, id, Method::Ping, Purpose::Check);
        }
    }

    fn take_pending(&mut self, from: SocketAddr, transaction: &[u8]) -> Option<Pending> {
        let transaction = u32::from_be_bytes(transaction.try_into().ok()?);
        // Whoever guesses the number must also send from that address.
        if self.pending.get(&transaction)?.to != from {
            return None;
        }
        let pending = self.pending.remove(&transaction)?;
        self.checks -= usize::from(pending.purpose == Purpose::Check);
        Some(pending)
    }

    fn reply(
        &mut self,
        now: Instant,
        from: SocketAddr,
        transaction: &[u8],
        ip: Option<SocketAddr>,
        reply: &Reply<'_>,
    ) {
        let Some(pending) = self.take_pending(from, transaction) else { return };
        if !self.routers.contains(&from) {
            self.table_mut(from).answered(now, Contact { id: reply.id, addr: from });
        }
        if let Some(ip) = ip {
            self.vote(now, from, ip.ip().to_canonical());
        }
        match pending.purpose {
            Purpose::Check => {}
            Purpose::Step(search) => self.step_answered(now, search, from, reply),
            Purpose::Store(search) => self.stored(now, search, true),
        }
        self.start_waiting(now);
    }

    /// A node refuses.
    fn refused(&mut self, now: Instant, pending: &Pending, code: i64, text: &[u8]) {
        match pending.purpose {
            Purpose::Check => {}
            Purpose::Step(search) => self.step_failed(now, search, pending.to),
            Purpose::Store(search) => self.refused_to_store(now, search, code, text),
        }
    }

    /// A node is silent.
    fn gave_up(&mut self, now: Instant, pending: &Pending) {
        if let Some(id) = pending.id {
            let contact = Contact { id, addr: pending.to };
            if let Some(spare) = self.table_mut(pending.to).failed(contact) {
                self.check(now, Some(spare.id), spare.addr);
            }
        }
        match pending.purpose {
            Purpose::Check => self.checks -= 1,
            Purpose::Step(search) => self.step_failed(now, search, pending.to),
            Purpose::Store(search) => self.stored(now, search, false),
        }
    }

    /// What was to be sent there could not leave: whoever waits for an answer waits no longer. It says nothing about
    /// the node.
    pub fn could_not_send(&mut self, now: Instant, to: SocketAddr) {
        let is_vain = |asked: &Pending| asked.to == to && asked.purpose != Purpose::Check;
        let vain = self.pending.iter().filter(|(_, asked)| is_vain(asked));
        let vain: Vec<_> = vain.map(|(&transaction, _)| transaction).collect();
        for transaction in vain {
            let Some(pending) = self.pending.remove(&transaction) else { continue };
            match pending.purpose {
                Purpose::Check => {}
                Purpose::Step(search) => self.step_failed(now, search, to),
                Purpose::Store(search) => self.stored(now, search, false),
            }
        }
    }

    /// Counts a vote for our address; takes an id that fits the winner (BEP 42).
    fn vote(&mut self, now: Instant, voter: SocketAddr, ip: IpAddr) {
        let Some(family) = self.family_mut(voter) else { return };
        let Some(ip) = family.own.vote(voter.ip(), ip) else { return };
        let fits = family.table.own().fits(ip);
        self.outputs.push_back(Output::OwnAddress(ip));
        if !fits {
            let id = NodeId::for_address(ip, &mut self.rng);
            let Some(family) = self.family_mut(voter) else { return };
            let known: Vec<Contact> = family.table.good(now).collect();
            family.table = Table::new(id, now);
            known.into_iter().for_each(|contact| family.table.answered(now, contact));
            family.join = now;
        }
    }

    /// Tries to come into the network while too few nodes are known.
    fn join(&mut self, now: Instant, v6: bool) {
        let Some(family) = &mut self.families[usize::from(v6)] else { return };
        if now < family.join {
            return;
        }
        let own = family.table.own();
        family.join = now + family.pause;
        family.pause = (family.pause * 2).min(LONGEST_PAUSE);
        if !self.is_looking(v6) {
            self.find_for_ourselves(now, own, v6);
        }
    }

    /// A search for ourselves has ended: enough are known, or we try again later.
    pub(super) fn joined(&mut self, v6: bool) {
        if let Some(family) = &mut self.families[usize::from(v6)]
            && family.table.len() > 0
        {
            family.join = Instant::FAR;
            family.pause = FIRST_PAUSE;
        }
    }

    fn look_after_tables(&mut self, now: Instant) {
        for v6 in [false, true] {
            let Some(family) = &mut self.families[usize::from(v6)] else { continue };
            let questionable = family.table.questionable(now);
            let stale = family.table.stale(now, &mut self.rng);
            if family.table.len() == 0 && family.join == Instant::FAR {
                // Everybody is gone. Whoever let us in once may do so again.
                let entered = self.entrances.iter().any(|addr| addr.is_ipv6() == v6);
                family.join = if entered { now } else { Instant::FAR };
            } else if let Some(target) = stale {
                self.find_for_ourselves(now, target, v6);
            }
            if let Some(contact) = questionable {
                self.check(now, Some(contact.id), contact.addr);
            }
        }
    }

    pub(super) fn family_mut(&mut self, addr: SocketAddr) -> Option<&mut Family> {
        self.families[usize::from(addr.is_ipv6())].as_mut()
    }

    /// The table for `addr`: only what belongs to a family we have is ever asked or heard.
    pub(super) fn table_mut(&mut self, addr: SocketAddr) -> &mut Table {
        &mut self.family_mut(addr).expect("nobody of another family is asked or heard").table
    }

    /// A node that asked us something, and may be good to know.
    pub(super) fn heard_of(&mut self, now: Instant, contact: Contact) {
        let table = self.table_mut(contact.addr);
        table.queried(now, contact);
        if table.would_take(contact) {
            self.check(now, Some(contact.id), contact.addr);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        base::{
            ip_filter::{AddrRange, Builder},
            limits::MAX_DHT_SEARCHES,
        },
        bencode::write::DictWriter,
        dht::{
            Question,
            message::{encode_reply, write_nodes},
        },
    };

    const NOW: Instant = Instant::ZERO;

    /// Where the node's datagrams go, and the transaction of each.
    fn sent(node: &mut Node) -> Vec<(SocketAddr, Vec<u8>)> {
        let outputs = std::iter::from_fn(|| node.poll());
        let sent = outputs.filter_map(|output| match output {
            Output::Send { to, datagram } => {
                let message = Message::decode(&datagram).expect("ours can be read");
                Some((to, message.transaction.to_vec()))
            }
            _ => None,
        });
        sent.collect()
    }

    /// A node of IPv4 that knows nobody.
    fn lonely() -> Node {
        let blocked = Arc::default();
        let config = Config { v4: true, v6: false, read_only: false, ids: [None; 2], blocked };
        Node::new(&config, Rng::new(1), Key([1; 20]), NOW)
    }

    /// A host of the world.
    fn host(n: u16) -> SocketAddr {
        ([9, 9, (n >> 8) as u8, n as u8], 6881).into()
    }

    /// Those that were abandoned before their turn came used to wait for it all the same, for ever while nobody
    /// was known.
    #[test]
    fn searches_take_turns_and_wait_for_nothing_once_they_are_abandoned() {
        let mut node = lonely();
        let mut search = |n: u8| {
            let id = node.search(NOW, Question::FindNode(NodeId([n; 20])), n.is_multiple_of(2));
            if n < 50 {
                node.abandon(NOW, id);
            }
        };
        (0..100).for_each(&mut search);
        assert_eq!(node.waiting.each_ref().map(VecDeque::len), [25, 25]);
        node.table_mut(host(1)).answered(NOW, Contact { id: NodeId([7; 20]), addr: host(1) });
        node.start_waiting(NOW);
        assert_eq!(node.running, MAX_DHT_SEARCHES);
        assert_eq!(node.status().searches, 50);
    }

    /// A peer, a saved state or a user could name what is no place for a node, and it was asked at once.
    #[test]
    fn nobody_is_asked_where_nobody_can_be() {
        let mut node = lonely();
        for n in 0..BUCKET as u16 {
            let id = NodeId::for_address(host(n).ip(), &mut Rng::new(1));
            node.table_mut(host(n)).answered(NOW, Contact { id, addr: host(n) });
        }
        let nowhere = ["9.9.9.9:0", "0.0.0.0:9", "224.0.0.1:9"];
        node.add_entrances(NOW, nowhere.map(|addr| addr.parse().expect("valid")));
        assert_eq!((sent(&mut node), node.entrances.len()), (vec![], 0));
    }

    #[test]
    fn ways_in_and_questions_whether_somebody_is_there_are_bounded() {
        let mut node = lonely();
        node.add_routers(NOW, (0..2 * MAX_DHT_ENTRANCES as u16).map(host));
        assert_eq!([node.entrances.len(), node.routers.len()], [MAX_DHT_ENTRANCES; 2]);
        for n in 0..4 * MAX_DHT_CHECKS as u16 {
            let (id, want) = (Some(NodeId([n as u8; 20])), Want::default());
            let query = Query { id, read_only: false, want, method: Method::Ping };
            node.handle_datagram(NOW, host(n), &encode_query(b"t", &query));
        }
        let pings = node.pending.values().filter(|asked| asked.purpose == Purpose::Check);
        assert_eq!(pings.count(), MAX_DHT_CHECKS);
    }

    #[test]
    fn whoever_is_blocked_is_neither_asked_nor_heard() {
        let addr = |host: u8| SocketAddr::from(([203, 0, 113, host], 6881));
        let [bad, good, named] = [7, 20, 21].map(addr);
        let mut blocked = Builder::default();
        blocked.block(AddrRange::subnet(bad.ip(), 29).expect("a net")).expect("room");
        let blocked = Arc::new(blocked.build());
        let config = Config { v4: true, v6: false, read_only: false, ids: [None; 2], blocked };
        let mut node = Node::new(&config, Rng::new(1), Key([1; 20]), NOW);

        node.add_entrances(NOW, [bad]);
        node.handle_timeout(NOW);
        node.search(NOW, Question::Ping(bad), true);
        let ping =
            Query { id: None, read_only: false, want: Want::default(), method: Method::Ping };
        node.handle_datagram(NOW, bad, &encode_query(b"t", &ping));
        assert_eq!(sent(&mut node), []);
        node.handle_datagram(NOW, good, &encode_query(b"t", &ping));
        assert_eq!(sent(&mut node), [(good, b"t".to_vec())]);

        node.add_entrances(NOW, [bad, good]);
        node.handle_timeout(NOW);
        let asked = sent(&mut node);
        assert!(asked.iter().all(|(to, _)| *to == good) && !asked.is_empty(), "{asked:?}");
        let nodes = [bad, named].map(|addr| (NodeId([9; 20]), addr));
        let fill = |r: &mut DictWriter<'_>| write_nodes(r, &nodes, false);
        let reply = encode_reply(&asked[0].1, good, NodeId([5; 20]), fill);
        node.handle_datagram(NOW, good, &reply);
        let asked = sent(&mut node);
        assert!(asked.iter().any(|(to, _)| *to == named), "{asked:?}");
        assert!(asked.iter().all(|(to, _)| *to != bad), "{asked:?}");
    }
}
