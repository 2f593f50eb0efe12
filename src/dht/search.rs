//! Searches: one question to the network, from the first node that is asked to the last that has
//! stored what was to be stored.
//!
//! A search goes on in both address families at once; nodes of one name nodes of the other (BEP 32).
//! It waits until somebody is known who can be asked; a bounded number runs at a time.

use std::{collections::HashSet, net::SocketAddr};

use super::{
    id::NodeId,
    item::Item,
    lookup::{Lookup, Store},
    message::{Method, RawItem, RawSigned, Reply},
    node::{Node, Output, Purpose},
    table::{BUCKET, Contact},
};
use crate::base::{
    compact::{is_local, may_name},
    hash::Sha1Hash,
    limits::{MAX_DHT_PEERS_FOUND, MAX_DHT_SEARCHES},
    time::Instant,
};

/// Every so many searches one begins that is not urgent, if any waits.
const OTHERS_TURN: u32 = 4;

/// One search, for as long as the node lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SearchId(pub(super) u64);

/// What somebody wants of the network.
#[derive(Debug, Clone)]
pub enum Question {
    /// Is a node there, and what is its id?
    Ping(SocketAddr),
    /// Which nodes are closest to this id?
    FindNode(NodeId),
    /// Who has this torrent? And we have it too.
    Peers(Sha1Hash, Option<Announce>),
    /// What is stored there (BEP 44)?
    Get {
        /// Where: the hash of an immutable item's value, or of a mutable one's key and salt.
        target: NodeId,
        /// The salt of a mutable item.
        salt: Vec<u8>,
    },
    /// Store this (BEP 44).
    Put {
        /// What.
        item: Item,
        /// Only in place of the item with this sequence number.
        cas: Option<i64>,
    },
    /// Which torrents do nodes near this id know (BEP 51)?
    Sample(NodeId),
}

/// That we have a torrent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Announce {
    /// Where peers reach us; `None` is the port from which we ask.
    pub port: Option<u16>,
    /// What a gateway has mapped to it, for nodes outside that are asked over IPv4.
    pub mapped: Option<u16>,
}

impl Announce {
    /// What the node at `addr` is told.
    fn port_for(self, addr: SocketAddr) -> Option<u16> {
        let outside = addr.is_ipv4() && !is_local(addr.ip());
        self.mapped.filter(|_| outside).or(self.port)
    }
}

/// Something that came of a search.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// Peers that were not found before.
    Peers(Vec<SocketAddr>),
    /// The newest item that is stored there.
    Item(Item),
    /// Torrents that a node knows, and how many it knows in all.
    Samples {
        /// The node.
        from: SocketAddr,
        /// Some of them.
        hashes: Vec<Sha1Hash>,
        /// All of them, as it says.
        num: u64,
    },
    /// A node refused to store.
    Refused(String),
    /// It is over.
    Ended(Summary),
}

/// How a search went.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Summary {
    /// Nodes that were asked.
    pub asked: u32,
    /// Nodes that answered.
    pub answered: u32,
    /// Nodes that stored what was to be stored.
    pub stored: u32,
    /// Answers it took to come to the closest node.
    pub hops: u8,
    /// The closest nodes that answered.
    pub closest: Vec<Contact>,
}

/// One search under way.
#[derive(Debug)]
pub(super) struct Search {
    question: Question,
    /// Nobody waits for it: it is for our own table, of that family.
    own: Option<bool>,
    /// Its turn has come, and somebody waits for it.
    running: bool,
    lookups: [Option<Lookup>; 2],
    found: HashSet<SocketAddr>,
    item: Option<Item>,
    /// Nodes that are storing.
    storing: Option<usize>,
    stored: u32,
}

impl Node {
    /// Begins to search, before those that are not `urgent`; what comes of it is told by [`Output::Found`],
    /// last [`Found::Ended`].
    pub fn search(&mut self, now: Instant, question: Question, urgent: bool) -> SearchId {
        let id = SearchId(self.next_search);
        self.next_search += 1;
        let needs_nobody = matches!(question, Question::Ping(_));
        self.searches.insert(id, Search::new(question, None));
        if needs_nobody {
            self.run(now, id);
        } else {
            self.waiting[usize::from(!urgent)].push_back(id);
            self.start_waiting(now);
        }
        id
    }

    /// Nobody is interested in that search any more.
    pub fn abandon(&mut self, now: Instant, id: SearchId) {
        match self.searches.remove(&id) {
            Some(search) if search.running => self.running -= 1,
            _ => self.waiting.iter_mut().for_each(|ids| ids.retain(|&waits| waits != id)),
        }
        self.start_waiting(now);
    }

    /// Whether a search for our own table is under way.
    pub(super) fn is_looking(&self, v6: bool) -> bool {
        self.searches.values().any(|search| search.own == Some(v6))
    }

    /// Looks for nodes near `target` in one family, for our own table.
    pub(super) fn find_for_ourselves(&mut self, now: Instant, target: NodeId, v6: bool) {
        let id = SearchId(self.next_search);
        self.next_search += 1;
        self.searches.insert(id, Search::new(Question::FindNode(target), Some(v6)));
        self.start(now, id);
    }

    /// Begins the searches whose turn has come.
    pub(super) fn start_waiting(&mut self, now: Instant) {
        // One that ends at once asks for the next: that is this loop's to do.
        if self.starting || self.status().nodes == [0, 0] {
            return;
        }
        self.starting = true;
        while self.running < MAX_DHT_SEARCHES {
            // However many are urgent, for every few of them one of the others gets its turn.
            self.turns = self.turns.wrapping_add(1);
            let [urgent, others] = &mut self.waiting;
            let (first, second) = match self.turns.is_multiple_of(OTHERS_TURN) {
                true => (others, urgent),
                false => (urgent, others),
            };
            let Some(id) = first.pop_front().or_else(|| second.pop_front()) else { break };
            self.run(now, id);
        }
        self.starting = false;
    }

    fn run(&mut self, now: Instant, id: SearchId) {
        if let Some(search) = self.searches.get_mut(&id) {
            search.running = true;
            self.running += 1;
            self.start(now, id);
        }
    }

    fn start(&mut self, now: Instant, id: SearchId) {
        let Some(search) = self.searches.get_mut(&id) else { return };
        if let Question::Ping(addr) = search.question {
            let v6 = usize::from(addr.is_ipv6());
            if self.families[v6].is_some() && !self.blocked.blocks(addr.ip()) {
                let lookup = search.lookups[v6].insert(Lookup::new(NodeId([0; 20])));
                lookup.add(None, addr, None);
            }
            return self.advance(now, id);
        }
        if let (Question::Peers(info_hash, _), None) = (&search.question, search.own) {
            // What was announced to ourselves is found first.
            let most = MAX_DHT_PEERS_FOUND;
            let own: Vec<SocketAddr> = [false, true]
                .into_iter()
                .flat_map(|v6| self.peers.some(now, info_hash, v6, most, &mut self.rng))
                .collect();
            search.found.extend(&own);
            if !own.is_empty() {
                self.outputs.push_back(Output::Found(id, Found::Peers(own)));
            }
        }
        let target = search.target();
        for (v6, family) in self.families.iter().enumerate() {
            let Some(family) = family else { continue };
            if search.own.is_some_and(|own| usize::from(own) != v6) {
                continue;
            }
            let lookup = search.lookups[v6].insert(Lookup::new(target));
            let near = family.table.closest::<{ 2 * BUCKET }>(&target);
            for contact in &near {
                lookup.add(Some(contact.id), contact.addr, None);
            }
            if near.len() < BUCKET {
                let entrances = self.entrances.iter().filter(|addr| addr.is_ipv6() == (v6 == 1));
                entrances.for_each(|&addr| lookup.add(None, addr, None));
            }
        }
        self.advance(now, id);
    }

    /// Asks whoever is to be asked next, or comes to the end.
    fn advance(&mut self, now: Instant, id: SearchId) {
        let mut queries = Vec::new();
        let Some(search) = self.searches.get_mut(&id) else { return };
        if search.storing.is_some() {
            return;
        }
        for lookup in search.lookups.iter_mut().flatten() {
            queries.extend(std::iter::from_fn(|| lookup.next()));
        }
        let method = search.question.clone();
        let target = search.target();
        let done = queries.is_empty() && search.lookups.iter().flatten().all(Lookup::is_done);
        for (node, addr) in queries {
            let method = match &method {
                Question::Ping(_) => Method::Ping,
                Question::FindNode(target) => Method::FindNode(*target),
                Question::Peers(info_hash, _) => Method::GetPeers(*info_hash),
                Question::Get { .. } | Question::Put { .. } => {
                    Method::Get { target, newer_than: None }
                }
                Question::Sample(target) => Method::SampleInfohashes(*target),
            };
            self.send(now, addr, node, method, Purpose::Step(id));
        }
        if done {
            self.store(now, id);
        }
    }

    /// The closest nodes are found: what is to be stored is sent to them.
    fn store(&mut self, now: Instant, id: SearchId) {
        let Some(search) = self.searches.get_mut(&id) else { return };
        let question = search.question.clone();
        let stores: Vec<Store> = match &question {
            Question::Peers(_, Some(_)) | Question::Put { .. } => {
                search.lookups.iter().flatten().flat_map(Lookup::stores).collect()
            }
            _ => Vec::new(),
        };
        search.storing = Some(stores.len());
        for Store { contact, token, sequence } in &stores {
            let method = match &question {
                Question::Peers(info_hash, Some(announce)) => {
                    let (info_hash, port) = (*info_hash, announce.port_for(contact.addr));
                    Method::AnnouncePeer { info_hash, port, token }
                }
                Question::Put { item, cas } => {
                    // One that has missed a change is to have this one all the same.
                    let cas = cas.filter(|cas| sequence.is_some_and(|has| has >= *cas));
                    Method::Put { token, item: item.raw(), cas }
                }
                _ => continue,
            };
            self.send(now, contact.addr, Some(contact.id), method, Purpose::Store(id));
        }
        if stores.is_empty() {
            self.end(now, id);
        }
    }

    fn end(&mut self, now: Instant, id: SearchId) {
        let Some(search) = self.searches.remove(&id) else { return };
        self.running -= usize::from(search.running);
        if let Some(v6) = search.own {
            self.joined(v6);
        } else {
            if let Some(item) = search.item.clone() {
                self.outputs.push_back(Output::Found(id, Found::Item(item)));
            }
            self.outputs.push_back(Output::Found(id, Found::Ended(search.summary())));
        }
        self.start_waiting(now);
    }

    /// A node has answered a step of a search.
    pub(super) fn step_answered(
        &mut self,
        now: Instant,
        id: SearchId,
        from: SocketAddr,
        reply: &Reply<'_>,
    ) {
        let Some(search) = self.searches.get_mut(&id) else { return };
        let Some(lookup) = search.lookups[usize::from(from.is_ipv6())].as_mut() else { return };
        lookup.answered(from, reply.id, reply.token);
        if let Some(signed) = reply.item.and_then(|item| item.signed) {
            lookup.has_item(from, signed.sequence);
        }
        if !matches!(search.question, Question::Ping(_)) {
            let blocked = &self.blocked;
            let usable = |addr: SocketAddr| may_name(from, addr) && !blocked.blocks(addr.ip());
            for (node, addr) in reply.nodes().filter(|&(_, addr)| usable(addr)) {
                if let Some(lookup) = &mut search.lookups[usize::from(addr.is_ipv6())] {
                    lookup.add(Some(node), addr, Some(from));
                }
            }
        }
        let found = search.learn(from, reply);
        if let Some(found) = found.filter(|_| search.own.is_none()) {
            self.outputs.push_back(Output::Found(id, found));
        }
        let Some(search) = self.searches.get(&id) else { return };
        if search.is_answered() {
            self.end(now, id);
        } else {
            self.advance(now, id);
        }
    }

    /// A node that a search has asked takes its time.
    pub(super) fn step_is_slow(&mut self, now: Instant, id: SearchId, addr: SocketAddr) {
        if let Some(lookup) = self.lookup_mut(id, addr) {
            lookup.slow(addr);
            self.advance(now, id);
        }
    }

    /// A node that a search has asked refuses, or is silent.
    pub(super) fn step_failed(&mut self, now: Instant, id: SearchId, addr: SocketAddr) {
        if let Some(lookup) = self.lookup_mut(id, addr) {
            lookup.failed(addr);
            self.advance(now, id);
        }
    }

    fn lookup_mut(&mut self, id: SearchId, addr: SocketAddr) -> Option<&mut Lookup> {
        self.searches.get_mut(&id)?.lookups[usize::from(addr.is_ipv6())].as_mut()
    }

    /// A node has stored something, or is silent.
    pub(super) fn stored(&mut self, now: Instant, id: SearchId, stored: bool) {
        let Some(search) = self.searches.get_mut(&id) else { return };
        search.stored += u32::from(stored);
        let left = search.storing.map_or(0, |storing| storing.saturating_sub(1));
        search.storing = Some(left);
        if left == 0 {
            self.end(now, id);
        }
    }

    /// A node refuses to store something.
    pub(super) fn refused_to_store(&mut self, now: Instant, id: SearchId, code: i64, text: &[u8]) {
        let text: String = String::from_utf8_lossy(text).chars().take(80).collect();
        if self.searches.contains_key(&id) {
            let refused = Found::Refused(format!("{text} ({code})"));
            self.outputs.push_back(Output::Found(id, refused));
        }
        self.stored(now, id, false);
    }
}

impl Search {
    fn new(question: Question, own: Option<bool>) -> Self {
        let (found, lookups) = (HashSet::new(), [None, None]);
        let running = false;
        Search { question, own, running, lookups, found, item: None, storing: None, stored: 0 }
    }

    fn target(&self) -> NodeId {
        match &self.question {
            Question::Ping(_) => NodeId([0; 20]),
            Question::FindNode(target)
            | Question::Sample(target)
            | Question::Get { target, .. } => *target,
            Question::Peers(info_hash, _) => (*info_hash).into(),
            Question::Put { item, .. } => item.target(),
        }
    }

    /// What an answer says besides nodes.
    fn learn(&mut self, from: SocketAddr, reply: &Reply<'_>) -> Option<Found> {
        match &self.question {
            Question::Peers(..) => {
                let mut new = Vec::new();
                for peer in reply.peers().filter(|&peer| may_name(from, peer)) {
                    if self.found.len() < MAX_DHT_PEERS_FOUND
                        && peer.port() != 0
                        && self.found.insert(peer)
                    {
                        new.push(peer);
                    }
                }
                (!new.is_empty()).then_some(Found::Peers(new))
            }
            Question::Get { target, salt } => {
                let raw = reply.item?;
                let signed = raw.signed.map(|signed| RawSigned { salt, ..signed });
                let item = Item::check(&RawItem { signed, ..raw }).ok()?;
                let newer = |old: &Item| item.sequence() > old.sequence();
                if item.target() == *target && self.item.as_ref().is_none_or(newer) {
                    self.item = Some(item);
                }
                None
            }
            Question::Sample(_) => Some(Found::Samples {
                from,
                hashes: reply.samples()?.collect(),
                num: reply.num.unwrap_or(0),
            }),
            Question::Ping(_) | Question::FindNode(_) | Question::Put { .. } => None,
        }
    }

    /// Whether nothing better can come: there is only one immutable item of a hash.
    fn is_answered(&self) -> bool {
        self.item.as_ref().is_some_and(|item| item.key().is_none())
    }

    fn summary(&self) -> Summary {
        let lookups = || self.lookups.iter().flatten();
        let (mut asked, mut answered) = (0, 0);
        for counts in lookups().map(Lookup::counts) {
            asked += counts.0;
            answered += counts.1;
        }
        let hops = lookups().map(Lookup::hops).max().unwrap_or(0);
        let closest = lookups().flat_map(Lookup::closest).collect();
        Summary { asked, answered, stored: self.stored, hops, closest }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        base::{limits::MAX_DHT_ASKED, rng::Rng},
        dht::{
            Config, Key,
            item::SecretKey,
            message::{
                Body, Message, code, encode_error, encode_reply, write_item, write_nodes,
                write_peers,
            },
        },
    };

    const NOW: Instant = Instant::ZERO;

    fn node(families: [bool; 2]) -> Node {
        let [v4, v6] = families;
        let blocked = std::sync::Arc::default();
        let config = Config { v4, v6, read_only: true, ids: [None; 2], blocked };
        Node::new(&config, Rng::new(1), Key([1; 20]), NOW)
    }

    /// Where there was no way for IPv6, each search waited for nodes that nothing had been sent to.
    #[test]
    fn a_search_does_not_wait_for_whom_nothing_can_be_sent_to() {
        let mut node = node([true, true]);
        let mut rng = Rng::new(2);
        for n in 1..=8 {
            for addr in [
                SocketAddr::from(([9, 0, 0, n], 1)),
                SocketAddr::from(([0x2001, 0xdb8, 0, n.into(), 0, 0, 0, 1], 1)),
            ] {
                let id = NodeId::for_address(addr.ip(), &mut rng);
                node.table_mut(addr).answered(NOW, Contact { id, addr });
            }
        }
        node.search(NOW, Question::FindNode(NodeId([0; 20])), true);
        let summary = loop {
            match node.poll().expect("it goes on, and nothing has to be waited for") {
                Output::Send { to, .. } if to.is_ipv6() => node.could_not_send(NOW, to),
                Output::Send { to, datagram } => {
                    let transaction = Message::decode(&datagram).expect("ours").transaction;
                    let id = NodeId::for_address(to.ip(), &mut rng);
                    node.handle_datagram(NOW, to, &encode_reply(transaction, to, id, |_| {}));
                }
                Output::Found(_, Found::Ended(summary)) => break summary,
                other => panic!("{other:?}"),
            }
        };
        assert!(summary.asked >= 16, "{summary:?}");
    }

    /// A node that had missed one change refused all that came after it, and in the end so did all.
    #[test]
    fn who_has_missed_a_change_gets_the_next_one_all_the_same() {
        let (mut node, mut rng) = (node([true, false]), Rng::new(3));
        let key = SecretKey::from_seed(&[7; 32]);
        let item = |sequence| Item::mutable(b"i1e", &key, b"", sequence).expect("an item");
        let has = [Some(7), Some(6), None];
        let addrs = [1, 2, 3].map(|n| SocketAddr::from(([9, 0, 0, n], 1)));
        let ids = addrs.map(|addr| NodeId::for_address(addr.ip(), &mut rng));
        for (id, addr) in ids.into_iter().zip(addrs) {
            node.table_mut(addr).answered(NOW, Contact { id, addr });
        }
        node.search(NOW, Question::Put { item: item(8), cas: Some(7) }, true);
        let mut sent = [None; 3];
        while let Some(output) = node.poll() {
            let Output::Send { to, datagram } = output else { continue };
            let message = Message::decode(&datagram).expect("ours");
            let Body::Query(query) = message.body else { panic!("{message:?}") };
            let at = addrs.iter().position(|addr| *addr == to).expect("one of them");
            if let Method::Put { cas, .. } = query.method {
                sent[at] = Some(cas);
                continue;
            }
            let stored = has[at].map(item);
            let answer = encode_reply(message.transaction, to, ids[at], |r| {
                r.bytes("token", b"t");
                stored.iter().for_each(|item| write_item(r, &item.raw()));
            });
            node.handle_datagram(NOW, to, &answer);
        }
        assert_eq!(sent, [Some(Some(7)), Some(None), Some(None)]);
    }

    #[test]
    fn however_many_are_urgent_the_others_have_their_turns() {
        let mut node = node([true, false]);
        let (id, addr) = (NodeId([1; 20]), SocketAddr::from(([9, 0, 0, 1], 1)));
        let mut search = |urgent| node.search(NOW, Question::FindNode(NodeId([7; 20])), urgent);
        let urgent: Vec<_> = (0..100).map(|_| search(true)).collect();
        let others: Vec<_> = (0..100).map(|_| search(false)).collect();
        node.table_mut(addr).answered(NOW, Contact { id, addr });
        node.start_waiting(NOW);
        let running = |ids: &[SearchId]| ids.iter().filter(|id| node.searches[id].running).count();
        assert_eq!([running(&urgent), running(&others)], [24, 8]);
    }

    /// Whoever answers could name ever nearer nodes, each of which knows ever more peers. Those that refuse leave
    /// room for others.
    #[test]
    fn a_search_asks_a_bounded_number_of_nodes_and_takes_a_bounded_number_of_peers() {
        let mut rng = Rng::new(1);
        let target = NodeId([0; 20]);
        let mut nodes: Vec<(NodeId, SocketAddr)> = (0..8_000u32)
            .map(|n| {
                let addr = SocketAddr::from(((0x0900_0000 + n * 7).to_be_bytes(), 1));
                (NodeId::for_address(addr.ip(), &mut rng), addr)
            })
            .collect();
        nodes.sort_by_key(|(id, _)| id.distance(&target));
        let mut node = node([true, false]);
        let (id, addr) = nodes.pop().expect("many");
        node.table_mut(addr).answered(NOW, Contact { id, addr });
        let mut known = vec![(id, addr)];
        node.search(NOW, Question::Peers(target.into(), None), true);
        let (mut asked, mut found) = (0, 0);
        let summary = loop {
            match node.poll().expect("it goes on") {
                Output::Send { to, datagram } => {
                    asked += 1;
                    let transaction = Message::decode(&datagram).expect("ours").transaction;
                    let id = known.iter().find(|(_, addr)| *addr == to).expect("named").0;
                    let nearer = nodes.split_off(nodes.len() - 16);
                    let [_, _, high, low] = (asked as u32).to_be_bytes();
                    let peers = (0..50).map(|n| ([8, high, low, n], 1).into());
                    let answer = match asked % 3 {
                        1 => encode_reply(transaction, to, id, |r| {
                            write_nodes(r, &nearer, false);
                            write_peers(r, peers);
                        }),
                        _ => encode_error(transaction, to, code::SERVER, "no"),
                    };
                    known.extend(nearer);
                    node.handle_datagram(NOW, to, &answer);
                }
                Output::Found(_, Found::Peers(peers)) => found += peers.len(),
                Output::Found(_, Found::Ended(summary)) => break summary,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!((asked, found), (MAX_DHT_ASKED, MAX_DHT_PEERS_FOUND));
        assert_eq!(summary.answered as usize, MAX_DHT_ASKED / 3);
    }
}
