//! One search for the nodes closest to an id (BEP 5, *Routing Table*), in one address family.
//!
//! Says who is to be asked next; what is asked and what comes back is [`super::node`]'s. A few
//! questions are in flight at once; one that is slow loses its turn to another and may still come back.
//!
//! Whoever answers names nodes, true ones or not. Ids that fit their address (BEP 42) go first and
//! alone decide when the search is over; of the others a bounded number is asked besides. One address
//! is one candidate, and only so many candidates are kept.

use std::{collections::HashSet, net::SocketAddr};

use super::{
    id::{Distance, NodeId},
    table::{BUCKET, Contact},
};
use crate::base::{
    compact::{is_local, network},
    limits::{MAX_DHT_ASKED, MAX_DHT_CANDIDATES},
};

/// Questions in flight: α of Kademlia, for a network where many do not answer.
const IN_FLIGHT: usize = 4;
/// Of them, to nodes whose ids do not fit, as long as there are others.
const IN_FLIGHT_MISFITS: usize = 1;
/// Nodes with ids that do not fit that one search asks, as long as there are others.
const MAX_MISFITS: usize = 16;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Fresh,
    Asked,
    /// Asked long ago.
    Slow,
    Answered,
    Failed,
}

#[derive(Debug)]
struct Candidate {
    /// Unknown for a node by which we come into the network.
    id: Option<NodeId>,
    addr: SocketAddr,
    distance: Distance,
    fits: bool,
    state: State,
    /// What it wants to see before it stores something.
    token: Option<Box<[u8]>>,
    /// The number of the item that it has.
    sequence: Option<i64>,
    /// Answers that lead to it from our own table.
    hops: u8,
}

/// One search.
#[derive(Debug)]
pub(super) struct Lookup {
    target: NodeId,
    /// Closest first.
    candidates: Vec<Candidate>,
    /// Hosts that are or were candidates.
    known: HashSet<SocketAddr>,
    asked: usize,
    misfits_asked: usize,
}

/// A node that may store something.
#[derive(Debug, Clone)]
pub(super) struct Store {
    pub(super) contact: Contact,
    pub(super) token: Box<[u8]>,
    /// The number of the item that it has, if it has one that changes.
    pub(super) sequence: Option<i64>,
}

impl Lookup {
    pub(super) fn new(target: NodeId) -> Self {
        Lookup { target, candidates: Vec::new(), known: HashSet::new(), asked: 0, misfits_asked: 0 }
    }

    /// A node that may be asked; `via` named it, or our own table.
    pub(super) fn add(&mut self, id: Option<NodeId>, addr: SocketAddr, via: Option<SocketAddr>) {
        if !is_askable(addr) {
            return;
        }
        let distance = id.map_or(Distance::FARTHEST, |id| id.distance(&self.target));
        let fits = id.is_none_or(|id| id.fits(addr.ip()));
        if !self.make_room(fits, distance) || !self.known.insert(host(addr)) {
            return;
        }
        let hops = via.and_then(|via| self.find(via)).map_or(0, |via| via.hops.saturating_add(1));
        let (state, token, sequence) = (State::Fresh, None, None);
        let candidate = Candidate { id, addr, distance, fits, state, token, sequence, hops };
        let place = self.candidates.partition_point(|other| other.distance <= distance);
        self.candidates.insert(place, candidate);
    }

    /// Makes room for a candidate among those of its kind, in place of the farthest one that is not
    /// under way. Ids that do not fit cannot crowd out the others.
    fn make_room(&mut self, fits: bool, distance: Distance) -> bool {
        let most = if fits { MAX_DHT_CANDIDATES } else { MAX_DHT_CANDIDATES / 4 };
        if self.candidates.iter().filter(|c| c.fits == fits).count() < most {
            return true;
        }
        let idle =
            |c: &Candidate| c.fits == fits && matches!(c.state, State::Fresh | State::Failed);
        let farthest = self.candidates.iter().rposition(idle);
        match farthest.filter(|&place| self.candidates[place].distance > distance) {
            Some(place) => {
                self.candidates.remove(place);
                true
            }
            None => false,
        }
    }

    fn find(&self, addr: SocketAddr) -> Option<&Candidate> {
        self.candidates.iter().find(|candidate| candidate.addr == addr)
    }

    fn find_mut(&mut self, addr: SocketAddr) -> Option<&mut Candidate> {
        self.candidates.iter_mut().find(|candidate| candidate.addr == addr)
    }

    /// The node to ask now; `None` while enough are asked, or when nobody is left who could be closer.
    pub(super) fn next(&mut self) -> Option<(Option<NodeId>, SocketAddr)> {
        let in_flight = |fits: bool| {
            let asked = |c: &&Candidate| c.state == State::Asked && c.fits == fits;
            self.candidates.iter().filter(asked).count()
        };
        let (fitting, misfits) = (in_flight(true), in_flight(false));
        if fitting + misfits >= IN_FLIGHT || self.asked >= MAX_DHT_ASKED {
            return None;
        }
        let fresh = |fits: bool| {
            let within = self.within(fits);
            let is_fresh = |c: &Candidate| c.state == State::Fresh && c.fits == fits;
            self.candidates[..within].iter().position(is_fresh)
        };
        let others = self.candidates.iter().any(|c| c.fits && c.state != State::Failed);
        let misfit = match others {
            true if misfits >= IN_FLIGHT_MISFITS || self.misfits_asked >= MAX_MISFITS => None,
            _ => fresh(false),
        };
        let next = match (fresh(true), misfit) {
            // The closest of both as long as there is room for it.
            (Some(fitting), Some(misfit)) => Some(fitting.min(misfit)),
            (fitting, misfit) => fitting.or(misfit),
        }?;
        let candidate = &mut self.candidates[next];
        candidate.state = State::Asked;
        self.asked += 1;
        self.misfits_asked += usize::from(!candidate.fits);
        Some((candidate.id, candidate.addr))
    }

    /// How many of the candidates matter: all up to the last of the closest eight that have answered.
    /// Without any answer from a fitting id those of the others count.
    fn within(&self, fits: bool) -> usize {
        let answered =
            |c: &Candidate| c.state == State::Answered && (c.fits || !fits && !self.has_fitting());
        let mut left = BUCKET;
        for (place, candidate) in self.candidates.iter().enumerate() {
            if answered(candidate) {
                left -= 1;
                if left == 0 {
                    return place;
                }
            }
        }
        self.candidates.len()
    }

    fn has_fitting(&self) -> bool {
        self.candidates.iter().any(|c| c.fits && c.state == State::Answered)
    }

    /// An answer came from `addr`. Whether it had been asked.
    pub(super) fn answered(&mut self, addr: SocketAddr, id: NodeId, token: Option<&[u8]>) -> bool {
        let target = self.target;
        let Some(candidate) = self.find_mut(addr) else { return false };
        if candidate.id.is_some_and(|named| named != id) && !id.fits(addr.ip()) {
            // Whoever has the ids he likes could lead us on for ever.
            candidate.state = State::Failed;
            return true;
        }
        candidate.state = State::Answered;
        candidate.token = token.map(Box::from);
        if candidate.id != Some(id) {
            // It is somebody else than we were told, and belongs elsewhere.
            candidate.id = Some(id);
            candidate.fits = id.fits(addr.ip());
            candidate.distance = id.distance(&target);
            self.candidates.sort_by_key(|candidate| candidate.distance);
        }
        true
    }

    /// What has answered there has an item of that number.
    pub(super) fn has_item(&mut self, addr: SocketAddr, sequence: i64) {
        if let Some(candidate) = self.find_mut(addr) {
            candidate.sequence = Some(sequence);
        }
    }

    /// No answer from `addr` for long: another is asked besides.
    pub(super) fn slow(&mut self, addr: SocketAddr) {
        if let Some(candidate) = self.find_mut(addr).filter(|c| c.state == State::Asked) {
            candidate.state = State::Slow;
        }
    }

    /// No answer from `addr`, or a refusal.
    pub(super) fn failed(&mut self, addr: SocketAddr) {
        if let Some(candidate) = self.find_mut(addr) {
            candidate.state = State::Failed;
        }
    }

    /// Whether nobody is left to wait for. Call when [`Lookup::next`] gives nobody.
    pub(super) fn is_done(&self) -> bool {
        let matters = &self.candidates[..self.within(true)];
        let waits = |c: &Candidate| match c.state {
            State::Asked => true,
            // Its turn comes when one of those that are asked has answered, or has not.
            State::Fresh => c.fits && self.asked < MAX_DHT_ASKED,
            // Those who answered late before are waited for only if there are few others.
            State::Slow => self.answers() < BUCKET,
            _ => false,
        };
        !matters.iter().any(waits)
    }

    fn answers(&self) -> usize {
        self.candidates.iter().filter(|c| c.state == State::Answered).count()
    }

    /// Nodes asked, and those of them that answered.
    pub(super) fn counts(&self) -> (u32, u32) {
        let asked = self.candidates.iter().filter(|c| c.state != State::Fresh).count();
        (asked as u32, self.answers() as u32)
    }

    /// Answers it took to get to the closest node that answered.
    pub(super) fn hops(&self) -> u8 {
        let closest = self.candidates.iter().find(|c| c.state == State::Answered);
        closest.map_or(0, |closest| closest.hops)
    }

    /// The closest nodes that answered.
    pub(super) fn closest(&self) -> impl Iterator<Item = Contact> + '_ {
        let answered = self.candidates.iter().filter(|c| c.state == State::Answered);
        let contact = |c: &Candidate| Some(Contact { id: c.id?, addr: c.addr });
        answered.filter_map(contact).take(BUCKET)
    }

    /// The closest nodes with a token: of ids that fit if there are any (BEP 42, *Enforcement*).
    pub(super) fn stores(&self) -> Vec<Store> {
        let trusted = self.has_fitting();
        let answered = |c: &&Candidate| c.state == State::Answered && (c.fits || !trusted);
        let store = |c: &Candidate| {
            let contact = Contact { id: c.id?, addr: c.addr };
            Some(Store { contact, token: c.token.clone()?, sequence: c.sequence })
        };
        self.candidates.iter().filter(answered).filter_map(store).take(BUCKET).collect()
    }
}

/// Whether a node can be there. From an IPv4 address written as IPv6 nobody answers: we see who he is as IPv4.
pub(super) fn is_askable(addr: SocketAddr) -> bool {
    let ip = addr.ip();
    addr.port() != 0 && !ip.is_unspecified() && !ip.is_multicast() && ip == ip.to_canonical()
}

/// What counts as one host: an address, but on a local network, where many share one, with its port.
fn host(addr: SocketAddr) -> SocketAddr {
    match is_local(addr.ip()) {
        true => addr,
        false => SocketAddr::new(network(addr.ip()), 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::rng::Rng;
    use std::net::IpAddr;

    const TARGET: NodeId = NodeId([0; 20]);

    fn local(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    /// A node whose distance to the target grows with `n`.
    fn id(n: u8) -> NodeId {
        NodeId([n; 20])
    }

    fn drain(lookup: &mut Lookup) -> Vec<SocketAddr> {
        std::iter::from_fn(|| lookup.next()).map(|(_, addr)| addr).collect()
    }

    #[test]
    fn it_asks_the_closest_until_eight_of_them_have_answered() {
        let mut lookup = Lookup::new(TARGET);
        (1..=30).rev().for_each(|n| lookup.add(Some(id(n)), local(u16::from(n)), None));
        let mut asked = Vec::new();
        loop {
            let next = drain(&mut lookup);
            assert!(next.len() <= IN_FLIGHT);
            if next.is_empty() {
                break;
            }
            for addr in next {
                asked.push(addr.port());
                assert!(lookup.answered(addr, id(addr.port() as u8), Some(b"token")));
            }
        }
        assert!(lookup.is_done());
        assert_eq!(asked, (1..=8).collect::<Vec<_>>());
        assert_eq!(lookup.stores().len(), BUCKET);
        assert_eq!(lookup.counts(), (8, 8));
    }

    #[test]
    fn the_slow_lose_their_turn_and_the_dead_do_not_end_the_search() {
        let mut lookup = Lookup::new(TARGET);
        (1..=20).for_each(|n| lookup.add(Some(id(n)), local(u16::from(n)), None));
        let first = drain(&mut lookup);
        assert_eq!(first.len(), IN_FLIGHT);
        first.iter().for_each(|&addr| lookup.slow(addr));
        assert!(!lookup.is_done(), "nobody has answered");
        let second = drain(&mut lookup);
        assert_eq!(second.len(), IN_FLIGHT);
        first.iter().for_each(|&addr| lookup.failed(addr));
        for addr in second.into_iter().chain([local(9), local(10), local(11), local(12)]) {
            lookup.answered(addr, id(addr.port() as u8), None);
        }
        assert_eq!(lookup.next(), None);
        assert!(lookup.is_done());
        assert!(lookup.closest().map(|c| c.addr.port()).eq(5..=12));
        assert!(lookup.stores().is_empty(), "nobody gave a token");
    }

    #[test]
    fn liars_with_ids_that_do_not_fit_end_nothing_and_store_nothing() {
        let mut lookup = Lookup::new(TARGET);
        let mut rng = Rng::new(3);
        for n in 1..=60u8 {
            let ip = IpAddr::from([9, n, 1, 1]);
            lookup.add(Some(NodeId([0; 20]).cousin(120, &mut rng)), (ip, 1).into(), None);
        }
        for n in 1..=12u8 {
            let ip = IpAddr::from([8, n, 1, 1]);
            lookup.add(Some(NodeId::for_address(ip, &mut rng)), (ip, 1).into(), None);
        }
        let mut liars = 0;
        while let Some((id, addr)) = lookup.next() {
            liars += usize::from(addr.ip().to_string().starts_with('9'));
            lookup.answered(addr, id.expect("known"), Some(b"token"));
        }
        assert!(lookup.is_done() && liars <= MAX_MISFITS, "{liars}");
        let stores = lookup.stores();
        assert_eq!(stores.len(), BUCKET);
        assert!(stores.iter().all(|store| store.contact.id.fits(store.contact.addr.ip())));
    }

    #[test]
    fn one_host_is_one_candidate_and_their_number_is_bounded() {
        let mut lookup = Lookup::new(TARGET);
        let mut rng = Rng::new(4);
        for port in 1..1_000 {
            lookup.add(Some(NodeId::random(&mut rng)), ([203, 0, 113, 9], port).into(), None);
        }
        assert_eq!(lookup.candidates.len(), 1);
        for n in 0..5_000u32 {
            let ip = IpAddr::from(n.to_be_bytes().map(|b| b | 1));
            lookup.add(Some(NodeId::random(&mut rng)), (ip, 1).into(), None);
        }
        assert!(lookup.candidates.len() <= MAX_DHT_CANDIDATES / 4 + 1);
        for n in 0..5_000u32 {
            let ip = IpAddr::from((n << 8).to_be_bytes().map(|b| b | 2));
            lookup.add(Some(NodeId::for_address(ip, &mut rng)), (ip, 1).into(), None);
        }
        assert!(lookup.candidates.len() <= MAX_DHT_CANDIDATES / 4 + MAX_DHT_CANDIDATES);
        assert!(lookup.candidates.is_sorted_by_key(|candidate| candidate.distance));
        for addr in ["0.0.0.0:5", "1.2.3.4:0", "224.0.0.1:5", "[ff02::1]:5", "[::ffff:1.2.3.4]:5"] {
            let mut lookup = Lookup::new(TARGET);
            lookup.add(None, addr.parse().expect("valid"), None);
            assert_eq!(lookup.next(), None);
        }
    }

    #[test]
    fn a_node_that_turns_out_to_be_another_moves() {
        let mut lookup = Lookup::new(TARGET);
        lookup.add(Some(id(1)), local(1), None);
        lookup.add(None, local(2), None);
        assert_eq!(drain(&mut lookup).len(), 2);
        lookup.answered(local(1), id(200), None);
        lookup.answered(local(2), id(100), None);
        assert!(!lookup.answered(local(3), id(3), None), "nobody asked it");
        assert!(lookup.closest().map(|c| c.addr.port()).eq([2, 1]));
        lookup.add(Some(id(5)), local(5), Some(local(2)));
        lookup.next();
        lookup.answered(local(5), id(5), None);
        assert_eq!(lookup.hops(), 1);
    }
}
