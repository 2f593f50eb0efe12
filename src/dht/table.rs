//! The routing table of one address family: the nodes we know, many near our own id, few far from it
//! (BEP 5, *Routing Table*).
//!
//! A node comes in only by answering us. Full buckets keep who has been there longest and is alive;
//! newcomers wait among the spares. Ids that do not fit their address (BEP 42) give way to ids that do,
//! and one address has one place, so that nobody fills a table from one host.

use std::{net::SocketAddr, time::Duration};

use super::id::{BITS, Distance, NodeId};
use crate::base::{
    compact::{is_local, network},
    rng::Rng,
    time::Instant,
};

/// Nodes of one bucket, and of one answer: K of BEP 5.
pub(super) const BUCKET: usize = 8;
/// Newcomers that wait for a place in a full bucket.
const SPARES: usize = 8;
/// A node from which nothing came for so long is asked again (BEP 5).
const QUESTIONABLE_AFTER: Duration = Duration::from_secs(15 * 60);
/// A bucket in which nothing changed for so long is refreshed (BEP 5).
const REFRESH_AFTER: Duration = Duration::from_secs(15 * 60);
/// A node that was silent so often in a row is given up.
const MAX_FAILURES: u8 = 2;
/// One that was silent so often loses its place, also to nobody.
const FORGOTTEN_AFTER: u8 = 5;
/// The same for one that waits: pinged before it gets a place anyway.
const MAX_SPARE_FAILURES: u8 = 1;

/// A node as the table knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Contact {
    /// Its id.
    pub id: NodeId,
    /// Where it is.
    pub addr: SocketAddr,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    contact: Contact,
    /// Its id fits its address.
    fits: bool,
    /// When something came from it last, a query or a reply.
    heard: Instant,
    /// When it was asked last whether it is there.
    checked: Instant,
    failures: u8,
}

#[derive(Debug)]
struct Bucket {
    nodes: Vec<Entry>,
    spares: Vec<Entry>,
    refreshed: Instant,
}

/// The table of one family.
#[derive(Debug)]
pub(super) struct Table {
    own: NodeId,
    /// Bucket *i* holds nodes that have exactly *i* leading bits in common with us; the last one all
    /// that have more.
    buckets: Vec<Bucket>,
}

impl Table {
    pub(super) fn new(own: NodeId, now: Instant) -> Self {
        Table { own, buckets: vec![Bucket::new(now)] }
    }

    pub(super) const fn own(&self) -> NodeId {
        self.own
    }

    /// How many nodes have a place and are not given up.
    pub(super) fn len(&self) -> usize {
        self.entries().filter(|entry| entry.failures < MAX_FAILURES).count()
    }

    /// Nodes from which something came lately, for the next run.
    pub(super) fn good(&self, now: Instant) -> impl Iterator<Item = Contact> + '_ {
        let alive = move |entry: &&Entry| !entry.is_questionable(now);
        self.entries().filter(alive).map(|entry| entry.contact)
    }

    /// All that have a place.
    #[cfg(test)]
    fn contacts(&self) -> impl Iterator<Item = Contact> + '_ {
        self.entries().map(|entry| entry.contact)
    }

    fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.buckets.iter().flat_map(|bucket| &bucket.nodes)
    }

    /// The `N` nodes closest to `target`, closest first; those that failed lately are left out.
    pub(super) fn closest<const N: usize>(&self, target: &NodeId) -> Vec<Contact> {
        let mut found: Vec<(Distance, Contact)> = Vec::with_capacity(N + 1);
        for entry in self.entries().filter(|entry| entry.failures == 0) {
            let distance = entry.contact.id.distance(target);
            if found.len() == N && found.last().is_some_and(|&(last, _)| last < distance) {
                continue;
            }
            let place = found.partition_point(|&(other, _)| other < distance);
            found.insert(place, (distance, entry.contact));
            found.truncate(N);
        }
        found.into_iter().map(|(_, contact)| contact).collect()
    }

    /// Whether a node that we heard of and that has not answered us yet could find a place.
    pub(super) fn would_take(&self, contact: Contact) -> bool {
        if contact.id == self.own || self.is_crowded(contact) {
            return false;
        }
        let bucket = &self.buckets[self.place(&contact.id)];
        let known = bucket.all().any(|entry| entry.contact.addr == contact.addr);
        let fits = contact.id.fits(contact.addr.ip());
        !known
            && (bucket.has_room_for(fits)
                || bucket.spares.len() < SPARES
                || self.may_split(self.place(&contact.id)))
    }

    /// A query came from this node: one that we know is alive.
    pub(super) fn queried(&mut self, now: Instant, contact: Contact) {
        let place = self.place(&contact.id);
        if let Some(entry) = self.buckets[place].find(contact) {
            entry.heard = now;
        }
    }

    /// This node answered us.
    pub(super) fn answered(&mut self, now: Instant, contact: Contact) {
        if contact.id == self.own {
            return;
        }
        let place = self.place(&contact.id);
        let bucket = &mut self.buckets[place];
        let waits = bucket.spares.iter().any(|spare| spare.contact == contact);
        let may_come_in = bucket.nodes.len() < BUCKET || bucket.worst().is_some();
        if let Some(entry) = bucket.find(contact).filter(|_| !(waits && may_come_in)) {
            (entry.heard, entry.failures) = (now, 0);
            return;
        }
        // A newcomer, or one whose waiting is over.
        self.forget_address(contact);
        if self.is_crowded(contact) {
            return;
        }
        let fits = contact.id.fits(contact.addr.ip());
        self.insert(now, Entry { contact, fits, heard: now, checked: now, failures: 0 });
    }

    /// This node did not answer. Gives one of those that wait, to be asked whether it is alive.
    pub(super) fn failed(&mut self, contact: Contact) -> Option<Contact> {
        let place = self.place(&contact.id);
        let bucket = &mut self.buckets[place];
        let entry = bucket.find(contact)?;
        entry.failures = entry.failures.saturating_add(1);
        bucket.spares.retain(|spare| spare.failures < MAX_SPARE_FAILURES);
        // A bad one keeps its place for a while, until there is a better one.
        bucket.nodes.retain(|node| node.failures < FORGOTTEN_AFTER);
        if bucket.nodes.len() == BUCKET {
            bucket.worst()?;
        }
        bucket.spares.last().map(|spare| spare.contact)
    }

    /// The node that was silent for longest and is to be asked whether it is still there.
    pub(super) fn questionable(&mut self, now: Instant) -> Option<Contact> {
        let entries = self.buckets.iter_mut().flat_map(|bucket| &mut bucket.nodes);
        let silent = entries.filter(|entry| entry.is_questionable(now));
        let entry = silent.min_by_key(|entry| entry.checked.max(entry.heard))?;
        entry.checked = now;
        Some(entry.contact)
    }

    /// An id in a bucket that has not changed for long, to look for.
    pub(super) fn stale(&mut self, now: Instant, rng: &mut Rng) -> Option<NodeId> {
        let old = |bucket: &Bucket| now.since(bucket.refreshed) >= REFRESH_AFTER;
        let index = self.buckets.iter().position(old)?;
        self.buckets[index].refreshed = now;
        let last = index + 1 == self.buckets.len();
        Some(if last { self.own } else { self.own.cousin(index, rng) })
    }

    /// Where an id belongs.
    fn place(&self, id: &NodeId) -> usize {
        self.own.distance(id).common_bits().min(self.buckets.len() - 1)
    }

    /// Only the bucket of our own id splits, down to the last bit.
    fn may_split(&self, place: usize) -> bool {
        place + 1 == self.buckets.len() && self.buckets.len() < BITS
    }

    fn insert(&mut self, now: Instant, entry: Entry) {
        loop {
            let place = self.place(&entry.contact.id);
            let may_split = self.may_split(place);
            let bucket = &mut self.buckets[place];
            if bucket.nodes.len() >= BUCKET && may_split && bucket.worst().is_none() {
                self.split(now);
                continue;
            }
            if bucket.nodes.len() < BUCKET {
                bucket.nodes.push(entry);
            } else if let Some(worst) = bucket.worst() {
                bucket.nodes[worst] = entry;
            } else if let Some(misfit) = bucket.misfit().filter(|_| entry.fits) {
                bucket.nodes[misfit] = entry;
            } else {
                if bucket.spares.len() >= SPARES {
                    bucket.spares.remove(0);
                }
                bucket.spares.push(entry);
                return;
            }
            bucket.refreshed = now;
            return;
        }
    }

    fn split(&mut self, now: Instant) {
        let common = self.buckets.len() - 1;
        let mut near = Bucket::new(now);
        let own = self.own;
        let far = &mut self.buckets[common];
        let is_near = |entry: &mut Entry| own.distance(&entry.contact.id).common_bits() > common;
        near.nodes = far.nodes.extract_if(.., is_near).collect();
        near.spares = far.spares.extract_if(.., is_near).collect();
        self.buckets.push(near);
        for bucket in &mut self.buckets[common..] {
            while bucket.nodes.len() < BUCKET
                && let Some(spare) = bucket.spares.pop()
            {
                bucket.nodes.push(spare);
            }
        }
    }

    /// A node that came back with another id has lost its old place.
    fn forget_address(&mut self, contact: Contact) {
        for bucket in &mut self.buckets {
            bucket.nodes.retain(|entry| entry.contact.addr != contact.addr);
            bucket.spares.retain(|entry| entry.contact.addr != contact.addr);
        }
    }

    /// Whether its host, or its whole IPv6 network, has a place already. Many nodes share an address
    /// of a local network.
    fn is_crowded(&self, contact: Contact) -> bool {
        let ip = contact.addr.ip();
        let taken = |entry: &Entry| {
            network(entry.contact.addr.ip()) == network(ip) && entry.contact.addr != contact.addr
        };
        !is_local(ip) && self.buckets.iter().flat_map(Bucket::all).any(taken)
    }
}

impl Bucket {
    const fn new(now: Instant) -> Self {
        Bucket { nodes: Vec::new(), spares: Vec::new(), refreshed: now }
    }

    fn all(&self) -> impl Iterator<Item = &Entry> {
        self.nodes.iter().chain(&self.spares)
    }

    fn find(&mut self, contact: Contact) -> Option<&mut Entry> {
        self.nodes.iter_mut().chain(&mut self.spares).find(|entry| entry.contact == contact)
    }

    /// The place of a node that is given up.
    fn worst(&self) -> Option<usize> {
        self.nodes.iter().position(|entry| entry.failures >= MAX_FAILURES)
    }

    /// The place of a node whose id does not fit its address.
    fn misfit(&self) -> Option<usize> {
        self.nodes.iter().position(|entry| !entry.fits)
    }

    fn has_room_for(&self, fits: bool) -> bool {
        self.nodes.len() < BUCKET || self.worst().is_some() || fits && self.misfit().is_some()
    }
}

impl Entry {
    fn is_questionable(&self, now: Instant) -> bool {
        self.failures > 0 || now.since(self.heard) >= QUESTIONABLE_AFTER
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::IpAddr;

    const NOW: Instant = Instant::ZERO;

    fn own() -> NodeId {
        NodeId([0; 20])
    }

    /// Node number `n` at a local address, with `bits` leading bits in common with us.
    fn node(n: u16, bits: usize) -> Contact {
        let id = own().cousin(bits, &mut Rng::new(u64::from(n)));
        Contact { id, addr: SocketAddr::from(([127, 0, 0, 1], n)) }
    }

    #[test]
    fn near_nodes_get_more_places_than_far_ones() {
        let mut table = Table::new(own(), NOW);
        for bits in 0..6 {
            for n in 0..20 {
                table.answered(NOW, node(bits * 100 + n + 1, usize::from(bits)));
            }
        }
        assert_eq!(table.len(), 6 * BUCKET);
        assert!(table.buckets.iter().all(|bucket| bucket.nodes.len() <= BUCKET));
        assert_eq!(table.buckets.iter().map(|b| b.spares.len()).max(), Some(SPARES));
        let target = node(9_999, 5).id;
        let closest = table.closest::<8>(&target);
        assert_eq!(closest.len(), 8);
        assert!(closest.is_sorted_by_key(|contact| contact.id.distance(&target)));
        let mut all: Vec<_> = table.contacts().collect();
        all.sort_by_key(|contact| contact.id.distance(&target));
        assert_eq!(closest, all[..8]);
    }

    #[test]
    fn the_living_stay_and_the_dead_give_way() {
        let mut table = Table::new(own(), NOW);
        (1..=20).for_each(|n| table.answered(NOW, node(n, 0)));
        (30..50).for_each(|n| table.answered(NOW, node(n, 3)));
        let old = node(1, 0);
        assert!(table.contacts().any(|contact| contact == old));
        assert_eq!(table.failed(old), None);
        let spare = table.failed(old).expect("one that waits is asked");
        assert!(table.contacts().all(|contact| contact != spare));
        table.answered(NOW, spare);
        assert!(table.contacts().all(|contact| contact != old));
        assert!(table.contacts().any(|contact| contact == spare));
        let places = table.len();
        // In a bucket with room nobody takes the place of the dead.
        let lonely = node(99, 9);
        table.answered(NOW, lonely);
        assert_eq!(table.len(), places + 1);
        for _ in 0..2 {
            table.failed(lonely);
        }
        assert_eq!(table.len(), places);
        for _ in 0..3 {
            table.failed(lonely);
        }
        assert!(table.contacts().all(|contact| contact != lonely));
    }

    #[test]
    fn one_address_has_one_place() {
        let mut table = Table::new(own(), NOW);
        let ip: IpAddr = "203.0.113.5".parse().expect("valid");
        let mut rng = Rng::new(1);
        for port in 1..50 {
            let contact =
                Contact { id: NodeId::for_address(ip, &mut rng), addr: (ip, port).into() };
            table.answered(NOW, contact);
        }
        assert_eq!(table.len(), 1);
        let moved = Contact { id: NodeId::for_address(ip, &mut rng), addr: (ip, 1).into() };
        table.answered(NOW, moved);
        assert!(table.contacts().eq([moved]));
    }

    #[test]
    fn ids_that_fit_take_the_place_of_those_that_do_not() {
        let mut table = Table::new(own(), NOW);
        let far = |n: u8, fits: bool| {
            let ip = IpAddr::from([9, 9, 9, n]);
            let mut rng = Rng::new(u64::from(n));
            let draw = |_| {
                if fits { NodeId::for_address(ip, &mut rng) } else { NodeId::random(&mut rng) }
            };
            let id = (0..).map(draw).find(|id| id.0[0] >= 0x80).expect("one half of all");
            Contact { id, addr: (ip, 1).into() }
        };
        (1..=20).for_each(|n| table.answered(NOW, far(n, false)));
        // Something near, so that the far half is a bucket of its own.
        (1..=20).for_each(|n| table.answered(NOW, node(n, 4)));
        (100..105).for_each(|n| table.answered(NOW, far(n, true)));
        let fitting = |contact: &Contact| matches!(contact.addr.ip(), IpAddr::V4(ip) if ip.octets()[0] == 9 && ip.octets()[3] >= 100);
        assert_eq!(table.contacts().filter(fitting).count(), 5);
    }

    #[test]
    fn what_is_silent_for_long_is_asked() {
        let mut table = Table::new(own(), NOW);
        (1..=20).for_each(|n| table.answered(NOW, node(n, usize::from(n % 4))));
        let later = NOW + QUESTIONABLE_AFTER;
        let mut rng = Rng::new(2);
        assert_eq!(table.questionable(NOW), None);
        assert_eq!(table.stale(NOW, &mut rng), None);
        let silent = table.questionable(later).expect("all are");
        table.queried(later, silent);
        assert_ne!(table.questionable(later), Some(silent));
        assert_eq!(table.good(later).count(), 1);
        let buckets = table.buckets.len();
        let refreshed = std::iter::from_fn(|| table.stale(later, &mut rng)).count();
        assert_eq!(refreshed, buckets);
    }
}
