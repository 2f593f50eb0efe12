//! The peers that were announced to this node (BEP 5, *announce_peer*; BEP 51).
//!
//! Bounded in torrents and in peers of each; what is not announced again is forgotten. When it is full
//! the torrent goes whose hash is farthest from our id: those near it are ours to keep.

use std::{collections::HashMap, net::SocketAddr, time::Duration};

use super::id::NodeId;
use crate::base::{
    compact::{is_local, network},
    hash::Sha1Hash,
    limits::{MAX_DHT_PEERS, MAX_DHT_PEERS_OF_ONE, MAX_DHT_TORRENTS},
    rng::Rng,
    time::Instant,
};

/// An announce is good for so long: clients repeat it every 15 to 30 minutes.
const LIFE: Duration = Duration::from_secs(45 * 60);
/// Torrents in one answer to `sample_infohashes`: 400 bytes.
const SAMPLES: usize = 20;
/// The same samples are given for so long (BEP 51).
const SAMPLE_LIFE: Duration = Duration::from_secs(10 * 60);

#[derive(Debug, Clone, Copy)]
struct Announced {
    addr: SocketAddr,
    at: Instant,
}

/// Share of the torrents, as a divisor, and of the items ([`super::item`]) that one network may have to itself.
pub(super) const SHARE: usize = 20;

/// Announced peers.
#[derive(Debug, Default)]
pub(super) struct Peers {
    torrents: HashMap<Sha1Hash, Vec<Announced>>,
    samples: Vec<Sha1Hash>,
    sampled: Option<Instant>,
}

/// What is said of the torrents we know.
#[derive(Debug)]
pub(super) struct Samples<'a> {
    pub(super) hashes: &'a [Sha1Hash],
    pub(super) num: usize,
    /// Until others are given.
    pub(super) interval: Duration,
}

impl Peers {
    /// Takes an announce; `own` decides what is kept when it is full.
    pub(super) fn announce(
        &mut self,
        now: Instant,
        own: &NodeId,
        info_hash: Sha1Hash,
        addr: SocketAddr,
    ) {
        if !self.torrents.contains_key(&info_hash) && !self.make_room(now, own, info_hash, addr) {
            return;
        }
        let peers = self.torrents.entry(info_hash).or_default();
        peers.retain(|peer| peer.addr != addr);
        // Some hosts share an address, and many on a local network; nobody has all the room.
        let by = network(addr.ip());
        let its = |peer: &Announced| network(peer.addr.ip()) == by;
        if !is_local(addr.ip())
            && peers.iter().filter(|peer| its(peer)).count() >= MAX_DHT_PEERS_OF_ONE
            && let Some(oldest) = peers.iter().position(its)
        {
            peers.remove(oldest);
        }
        if peers.len() >= MAX_DHT_PEERS {
            peers.remove(0);
        }
        // The oldest first.
        peers.push(Announced { addr, at: now });
    }

    /// Makes room for a torrent that `addr` announces, if it is nearer to `own` than the farthest. Of torrents that one
    /// network alone has announced there are few: whoever makes them up takes nobody else's place.
    fn make_room(
        &mut self,
        now: Instant,
        own: &NodeId,
        info_hash: Sha1Hash,
        addr: SocketAddr,
    ) -> bool {
        let by = network(addr.ip());
        let is_its = |peers: &[Announced]| peers.iter().all(|peer| network(peer.addr.ip()) == by);
        let has_its_share = |all: &Peers| {
            let its = all.torrents.values().filter(|peers| is_its(peers)).count();
            its >= MAX_DHT_TORRENTS / SHARE
        };
        if self.torrents.len() >= MAX_DHT_TORRENTS || has_its_share(self) {
            self.expire(now);
        }
        let has_its_share = has_its_share(self);
        if self.torrents.len() < MAX_DHT_TORRENTS && !has_its_share {
            return true;
        }
        let distance = |hash: &Sha1Hash| NodeId::from(*hash).distance(own);
        let others = self.torrents.iter().filter(|(_, peers)| !has_its_share || is_its(peers));
        let farthest = others.map(|(hash, _)| *hash).max_by_key(distance);
        let farther = farthest.filter(|far| distance(far) > distance(&info_hash));
        farther.is_some_and(|far| self.torrents.remove(&far).is_some())
    }

    /// Some peers of a torrent, at most `most`, of one family.
    pub(super) fn some(
        &self,
        now: Instant,
        info_hash: &Sha1Hash,
        v6: bool,
        most: usize,
        rng: &mut Rng,
    ) -> Vec<SocketAddr> {
        let peers = self.torrents.get(info_hash).map_or(&[][..], Vec::as_slice);
        let fresh = |peer: &&Announced| now.since(peer.at) < LIFE && peer.addr.is_ipv6() == v6;
        let mut found: Vec<SocketAddr> = peers.iter().filter(fresh).map(|peer| peer.addr).collect();
        if found.len() > most {
            rng.shuffle(&mut found);
            found.truncate(most);
        }
        found
    }

    /// Some torrents; the same ones for a while.
    pub(super) fn samples(&mut self, now: Instant, rng: &mut Rng) -> Samples<'_> {
        let begin = match self.sampled {
            Some(at) if now.since(at) < SAMPLE_LIFE => at,
            _ => {
                self.expire(now);
                let mut hashes: Vec<Sha1Hash> = self.torrents.keys().copied().collect();
                // Their order in the table is nobody's to know, nor the same in every run.
                hashes.sort_unstable();
                rng.shuffle(&mut hashes);
                hashes.truncate(SAMPLES);
                self.samples = hashes;
                self.sampled = Some(now);
                now
            }
        };
        let interval = SAMPLE_LIFE.saturating_sub(now.since(begin));
        Samples { hashes: &self.samples, num: self.torrents.len(), interval }
    }

    /// Forgets what has not been announced again.
    pub(super) fn expire(&mut self, now: Instant) {
        self.torrents.retain(|_, peers| {
            peers.retain(|peer| now.since(peer.at) < LIFE);
            !peers.is_empty()
        });
    }

    /// How many torrents have peers here.
    pub(super) fn torrents(&self) -> usize {
        self.torrents.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: NodeId = NodeId([0; 20]);
    const NOW: Instant = Instant::ZERO;

    fn hash(n: u32) -> Sha1Hash {
        let mut hash = [0; 20];
        hash[..4].copy_from_slice(&n.to_be_bytes());
        Sha1Hash(hash)
    }

    #[test]
    fn peers_are_given_until_they_expire() {
        let mut peers = Peers::default();
        let mut rng = Rng::new(1);
        let v4 = |n: u8, port: u16| SocketAddr::from(([203, 0, 113, n], port));
        let v6: SocketAddr = "[2001:db8::1]:9".parse().expect("valid");
        for addr in [v4(1, 1), v4(2, 1), v4(1, 2), v4(1, 1), v6] {
            peers.announce(NOW, &OWN, hash(1), addr);
        }
        let two = [v4(2, 1), v4(1, 2), v4(1, 1)];
        assert_eq!(peers.some(NOW, &hash(1), false, 10, &mut rng), two);
        assert_eq!(peers.some(NOW, &hash(1), true, 10, &mut rng), [v6]);
        assert_eq!(peers.some(NOW, &hash(1), false, 1, &mut rng).len(), 1);
        assert!(peers.some(NOW, &hash(2), false, 10, &mut rng).is_empty());
        assert!(peers.some(NOW + LIFE, &hash(1), false, 10, &mut rng).is_empty());
        peers.expire(NOW + LIFE);
        assert_eq!(peers.torrents(), 0);
    }

    /// Of those who share an address only the last one was given.
    #[test]
    fn of_one_network_so_many_are_kept_and_no_more() {
        let (mut peers, mut rng) = (Peers::default(), Rng::new(1));
        let one = |port: u16| SocketAddr::from(([203, 0, 113, 1], port));
        (1..=9).for_each(|port| peers.announce(NOW, &OWN, hash(1), one(port)));
        let kept = peers.some(NOW, &hash(1), false, 10, &mut rng);
        assert_eq!(kept, [6, 7, 8, 9].map(one));
    }

    #[test]
    fn both_tables_are_bounded_and_keep_what_is_near() {
        let mut peers = Peers::default();
        for n in 0..MAX_DHT_PEERS as u32 + 50 {
            let addr = SocketAddr::from((n.wrapping_add(0x0900_0000).to_be_bytes(), 1));
            peers.announce(NOW, &OWN, hash(1), addr);
        }
        assert_eq!(peers.torrents[&hash(1)].len(), MAX_DHT_PEERS);
        let addr = |n: u32| SocketAddr::from((n.wrapping_add(0x0900_0000).to_be_bytes(), 1));
        for n in (0..MAX_DHT_TORRENTS as u32 + 50).rev() {
            peers.announce(NOW, &OWN, hash(n), addr(n));
        }
        assert_eq!(peers.torrents(), MAX_DHT_TORRENTS);
        assert!(peers.torrents.contains_key(&hash(0)), "near our id");
        assert!(!peers.torrents.contains_key(&hash(MAX_DHT_TORRENTS as u32 + 49)), "far");
        peers.announce(NOW, &OWN, hash(u32::MAX), addr(u32::MAX));
        assert!(!peers.torrents.contains_key(&hash(u32::MAX)));
    }

    #[test]
    fn torrents_that_one_host_makes_up_take_only_the_place_of_its_own() {
        let mut peers = Peers::default();
        let far = 1 << 30;
        for n in 0..MAX_DHT_TORRENTS as u32 / 2 {
            let addr = SocketAddr::from((n.wrapping_add(0x0900_0000).to_be_bytes(), 1));
            peers.announce(NOW, &OWN, hash(far + n), addr);
        }
        for n in (0..MAX_DHT_TORRENTS as u32 * 2).rev() {
            peers.announce(NOW, &OWN, hash(n), SocketAddr::from(([8, 8, 8, 8], n as u16)));
        }
        assert_eq!(peers.torrents(), MAX_DHT_TORRENTS / 2 + MAX_DHT_TORRENTS / SHARE);
        assert!(peers.torrents.contains_key(&hash(0)), "nearest");
        // Where others are there too, nothing is made up.
        let addr = SocketAddr::from(([7, 7, 7, 7], 1));
        peers.announce(NOW, &OWN, hash(0), addr);
        peers.announce(NOW, &OWN, hash(far - 1), SocketAddr::from(([8, 8, 8, 8], 1)));
        assert!(peers.torrents.contains_key(&hash(far - 1)));
    }

    #[test]
    fn samples_stay_the_same_for_a_while() {
        let mut peers = Peers::default();
        let mut rng = Rng::new(1);
        for n in 0..100 {
            peers.announce(NOW, &OWN, hash(n), SocketAddr::from(([9, 9, 9, 9], 1)));
        }
        let first = peers.samples(NOW, &mut rng);
        assert_eq!((first.hashes.len(), first.num, first.interval), (SAMPLES, 100, SAMPLE_LIFE));
        let first = first.hashes.to_vec();
        let later = NOW + SAMPLE_LIFE / 2;
        let again = peers.samples(later, &mut rng);
        assert_eq!((again.hashes, again.interval), (&first[..], SAMPLE_LIFE / 2));
        assert_ne!(peers.samples(NOW + SAMPLE_LIFE, &mut rng).hashes, first);
    }
}
