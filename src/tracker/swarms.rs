//! The embedded tracker's memory: which peers are in which swarm (BEP 3, BEP 7, BEP 48).
//!
//! Owns the peers, their expiry, the limits and the choice of whom to give to whom. Knows no
//! bytes: queries and replies are in [`super::http_host`].
//!
//! A peer is an address: who announces again from it replaces what was there. Every announce costs
//! a logarithm of the number of peers, and every 30 s one pass over all of them drops the expired.
//! Memory is bounded by the limits: nothing is kept of a swarm without peers.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv6Addr, SocketAddr},
    ops::Range,
    time::Duration,
};

use super::announce::Event;
use crate::base::{
    compact::canonical,
    hash::Sha1Hash,
    id::PeerId,
    limits::{
        MAX_TRACKER_ENTRIES_PER_ADDRESS, MAX_TRACKER_NUMWANT, MAX_TRACKER_PEERS,
        MAX_TRACKER_PEERS_PER_ADDRESS, MAX_TRACKER_SWARM_PEERS, MAX_TRACKER_SWARMS,
    },
    rng::Rng,
    time::Instant,
};

/// How often expired peers are dropped: they may be given out so much longer.
const SWEEP_EVERY: Duration = Duration::from_secs(30);

/// Peers that are looked at for each that is wanted, if others are of no use to the one that asks.
const LOOKS: usize = 16;

/// How much the tracker remembers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SwarmLimits {
    /// Swarms with at least one peer.
    pub swarms: usize,
    /// Peers in one swarm.
    pub swarm_peers: usize,
    /// Peers in all swarms.
    pub peers: usize,
    /// Peers of one address in one swarm.
    pub peers_per_address: usize,
    /// Peers of one address in all swarms.
    pub entries_per_address: usize,
    /// Peers in one reply.
    pub numwant: u32,
}

impl Default for SwarmLimits {
    fn default() -> Self {
        SwarmLimits {
            swarms: MAX_TRACKER_SWARMS,
            swarm_peers: MAX_TRACKER_SWARM_PEERS,
            peers: MAX_TRACKER_PEERS,
            peers_per_address: MAX_TRACKER_PEERS_PER_ADDRESS,
            entries_per_address: MAX_TRACKER_ENTRIES_PER_ADDRESS,
            numwant: MAX_TRACKER_NUMWANT,
        }
    }
}

/// What a peer says about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Registration {
    /// The torrent.
    pub info_hash: Sha1Hash,
    /// Where the peer can be reached; IPv4 written as IPv6 counts as IPv4.
    pub addr: SocketAddr,
    /// Its id.
    pub peer_id: PeerId,
    /// Nothing is missing.
    pub seed: bool,
    /// What happened.
    pub event: Event,
    /// How many peers it would like.
    pub numwant: u32,
    /// Only those of its own family can be named to it.
    pub own_family: bool,
}

/// A peer that is given out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SwarmPeer {
    /// Where to reach it.
    pub addr: SocketAddr,
    /// Its id.
    pub peer_id: PeerId,
}

/// Numbers of one swarm (BEP 48).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Peers with everything.
    pub complete: u32,
    /// Other peers.
    pub incomplete: u32,
    /// Peers that became complete here since the swarm last was empty.
    pub downloaded: u32,
}

/// What an announce yields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Some other peers, in random order.
    pub peers: Vec<SwarmPeer>,
    /// The swarm with this announce.
    pub counts: Counts,
    /// Whether others will be told of this peer: not when it stops, nor when a table is full.
    pub listed: bool,
}

/// Why a peer is not registered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RegistrationError {
    /// Its address has as many peers in this swarm as it may.
    #[error("too many peers of one address in this swarm")]
    PeersOfAddress,
    /// Its address has as many in all swarms as it may.
    #[error("too many announced torrents of one address")]
    EntriesOfAddress,
    /// Port 0 cannot be dialled.
    #[error("port 0 is not a port")]
    Port,
    /// The torrent is not among those that are served.
    #[error("this tracker does not serve that torrent")]
    NotAllowed,
}

/// Numbers of the whole tracker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    /// Swarms with at least one peer.
    pub swarms: usize,
    /// Peers with everything, in all swarms.
    pub seeds: usize,
    /// Other peers, in all swarms.
    pub leeches: usize,
}

#[derive(Debug)]
struct Peer {
    addr: SocketAddr,
    peer_id: PeerId,
    expires: Instant,
}

/// Invariant: the first `leeches` of `peers` are leeches, the others seeds, and `places` has for
/// every address its index in `peers`.
#[derive(Debug, Default)]
struct Swarm {
    peers: Vec<Peer>,
    places: BTreeMap<SocketAddr, usize>,
    leeches: usize,
    downloaded: u32,
}

impl Swarm {
    fn insert(&mut self, peer: Peer, seed: bool) {
        let end = self.peers.len();
        self.places.insert(peer.addr, end);
        self.peers.push(peer);
        if !seed {
            self.swap(end, self.leeches);
            self.leeches += 1;
        }
    }

    /// Whether `addr` was a seed, if it was here.
    fn remove(&mut self, addr: SocketAddr) -> Option<bool> {
        let mut place = self.places.get(&addr).copied()?;
        let seed = place >= self.leeches;
        if !seed {
            self.leeches -= 1;
            self.swap(place, self.leeches);
            place = self.leeches;
        }
        self.swap(place, self.peers.len() - 1);
        self.peers.pop();
        self.places.remove(&addr);
        Some(seed)
    }

    fn swap(&mut self, a: usize, b: usize) {
        self.peers.swap(a, b);
        for place in [a, b] {
            self.places.insert(self.peers[place].addr, place);
        }
    }

    fn counts(&self) -> Counts {
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Counts {
            complete: count(self.peers.len() - self.leeches),
            incomplete: count(self.leeches),
            downloaded: self.downloaded,
        }
    }

    /// Peers whose address counts as the same as `ip`, at most `limit` of them.
    fn of_address(&self, ip: IpAddr, limit: usize) -> usize {
        let (first, last) = match ip {
            IpAddr::V4(_) => (ip, ip),
            IpAddr::V6(ip) => {
                let bits = u128::from(ip);
                let host = u128::from(u64::MAX);
                (IpAddr::V6((bits & !host).into()), IpAddr::V6((bits | host).into()))
            }
        };
        let range = SocketAddr::new(first, 0)..=SocketAddr::new(last, u16::MAX);
        self.places.range(range).take(limit).count()
    }

    /// Up to `want` of the peers, for the one that `asks`.
    ///
    /// A seed gets leeches only. But who begins with nothing left may know nothing but the info hash
    /// (aria2 and webtorrent say so): it gets seeds too, where leeches leave room.
    fn sample(&self, asks: &Registration, want: usize, rng: &mut Rng) -> Vec<SwarmPeer> {
        if !asks.seed {
            return self.draw(0..self.peers.len(), asks, want, rng);
        }
        let mut peers = self.draw(0..self.leeches, asks, want, rng);
        if asks.event == Event::Started {
            let rest = want - peers.len();
            peers.extend(self.draw(self.leeches..self.peers.len(), asks, rest, rng));
        }
        peers
    }

    /// Up to `want` of the peers in these places, of use to the one that `asks`.
    fn draw(
        &self,
        places: Range<usize>,
        asks: &Registration,
        want: usize,
        rng: &mut Rng,
    ) -> Vec<SwarmPeer> {
        let of_use = |peer: SocketAddr| {
            peer != asks.addr
                && (!asks.own_family || peer.is_ipv6() == asks.addr.is_ipv6())
                // A loopback address leads somewhere only on this host.
                && (asks.addr.ip().is_loopback() || !peer.ip().is_loopback())
        };
        // The start of a shuffle, of which only what moves is kept.
        let mut moved = BTreeMap::new();
        let mut drawn = Vec::new();
        for at in 0..places.len().min(want.saturating_mul(LOOKS)) {
            if drawn.len() >= want {
                break;
            }
            let from = at + rng.index(places.len() - at);
            let here = moved.get(&at).copied().unwrap_or(at);
            let drawn_place = moved.insert(from, here).unwrap_or(from);
            let peer = &self.peers[places.start + drawn_place];
            if of_use(peer.addr) {
                drawn.push(SwarmPeer { addr: peer.addr, peer_id: peer.peer_id });
            }
        }
        drawn
    }
}

/// All swarms of a tracker.
#[derive(Debug)]
pub struct Swarms {
    swarms: BTreeMap<Sha1Hash, Swarm>,
    /// Number of entries per address (IPv6: per /64).
    per_address: BTreeMap<IpAddr, usize>,
    /// The torrents that are served; `None` is all.
    allowed: Option<BTreeSet<Sha1Hash>>,
    totals: Totals,
    limits: SwarmLimits,
    lifetime: Duration,
    swept: Instant,
    rng: Rng,
}

impl Swarms {
    /// No swarms. A peer that does not announce for `lifetime` is dropped.
    pub fn new(limits: SwarmLimits, lifetime: Duration, rng: Rng) -> Self {
        Swarms {
            swarms: BTreeMap::new(),
            per_address: BTreeMap::new(),
            allowed: None,
            totals: Totals::default(),
            limits,
            lifetime,
            swept: Instant::ZERO,
            rng,
        }
    }

    /// Serves only these torrents from now on, and forgets the others.
    pub fn allow_only(&mut self, info_hashes: BTreeSet<Sha1Hash>) {
        let peers = self.swarms.iter().filter(|(hash, _)| !info_hashes.contains(*hash));
        let gone = peers.flat_map(|(&hash, swarm)| swarm.peers.iter().map(move |p| (hash, p.addr)));
        for (hash, addr) in gone.collect::<Vec<_>>() {
            self.remove(hash, addr);
        }
        self.allowed = Some(info_hashes);
        self.check();
    }

    /// Registers, refreshes or removes a peer and says whom it may ask.
    ///
    /// A table that is full does not keep the peer, but still answers it.
    pub fn announce(
        &mut self,
        now: Instant,
        peer: &Registration,
    ) -> Result<Answer, RegistrationError> {
        self.sweep(now);
        if self.allowed.as_ref().is_some_and(|allowed| !allowed.contains(&peer.info_hash)) {
            return Err(RegistrationError::NotAllowed);
        }
        let addr = plain(peer.addr);
        let known = self.swarms.get(&peer.info_hash).and_then(|s| s.places.get(&addr)).is_some();
        if peer.event == Event::Stopped {
            self.remove(peer.info_hash, addr);
            let counts = self.scrape(now, peer.info_hash).unwrap_or_default();
            return Ok(Answer { peers: Vec::new(), counts, listed: false });
        }
        let listed = known || self.has_room(peer.info_hash, addr)?;
        if listed {
            let was_seed = self.remove_keeping_swarm(peer.info_hash, addr);
            let swarm = self.swarms.entry(peer.info_hash).or_default();
            if was_seed == Some(false) && peer.seed && peer.event == Event::Completed {
                swarm.downloaded = swarm.downloaded.saturating_add(1);
            }
            let expires = now + self.lifetime;
            swarm.insert(Peer { addr, peer_id: peer.peer_id, expires }, peer.seed);
            *self.per_address.entry(accountable(addr.ip())).or_default() += 1;
            self.count(peer.seed, 1);
        }
        let want = peer.numwant.min(self.limits.numwant) as usize;
        let swarm = self.swarms.get(&peer.info_hash);
        let peers = swarm.map(|s| s.sample(&Registration { addr, ..*peer }, want, &mut self.rng));
        let counts = swarm.map(Swarm::counts).unwrap_or_default();
        self.totals.swarms = self.swarms.len();
        self.check();
        Ok(Answer { peers: peers.unwrap_or_default(), counts, listed })
    }

    /// The numbers of one swarm, if it has peers.
    pub fn scrape(&mut self, now: Instant, info_hash: Sha1Hash) -> Option<Counts> {
        self.sweep(now);
        self.swarms.get(&info_hash).map(Swarm::counts)
    }

    /// The numbers of all swarms.
    pub fn totals(&mut self, now: Instant) -> Totals {
        self.sweep(now);
        self.totals
    }

    fn has_room(&self, info_hash: Sha1Hash, addr: SocketAddr) -> Result<bool, RegistrationError> {
        let limits = &self.limits;
        if addr.port() == 0 {
            return Err(RegistrationError::Port);
        }
        let entries = self.per_address.get(&accountable(addr.ip())).copied().unwrap_or(0);
        if entries >= limits.entries_per_address {
            return Err(RegistrationError::EntriesOfAddress);
        }
        let all = self.totals.seeds + self.totals.leeches < limits.peers;
        let Some(swarm) = self.swarms.get(&info_hash) else {
            return Ok(all && self.swarms.len() < limits.swarms);
        };
        let most = limits.peers_per_address;
        if swarm.of_address(addr.ip(), most) >= most {
            return Err(RegistrationError::PeersOfAddress);
        }
        Ok(all && swarm.peers.len() < limits.swarm_peers)
    }

    /// Whether `addr` was a seed, if it was in the swarm, which may be empty afterwards.
    fn remove_keeping_swarm(&mut self, info_hash: Sha1Hash, addr: SocketAddr) -> Option<bool> {
        let seed = self.swarms.get_mut(&info_hash)?.remove(addr)?;
        self.forget(addr.ip());
        self.count(seed, -1);
        Some(seed)
    }

    fn remove(&mut self, info_hash: Sha1Hash, addr: SocketAddr) {
        self.remove_keeping_swarm(info_hash, addr);
        if self.swarms.get(&info_hash).is_some_and(|s| s.peers.is_empty()) {
            self.swarms.remove(&info_hash);
        }
        self.totals.swarms = self.swarms.len();
        self.check();
    }

    fn forget(&mut self, ip: IpAddr) {
        let ip = accountable(ip);
        if let Some(entries) = self.per_address.get_mut(&ip) {
            *entries -= 1;
            if *entries == 0 {
                self.per_address.remove(&ip);
            }
        }
    }

    fn count(&mut self, seed: bool, change: isize) {
        let total = if seed { &mut self.totals.seeds } else { &mut self.totals.leeches };
        *total = total.saturating_add_signed(change);
    }

    fn sweep(&mut self, now: Instant) {
        if now < self.swept + SWEEP_EVERY.min(self.lifetime / 2) {
            return;
        }
        self.swept = now;
        let mut expired = Vec::new();
        for (&info_hash, swarm) in &self.swarms {
            let old = swarm.peers.iter().filter(|p| p.expires <= now);
            expired.extend(old.map(|p| (info_hash, p.addr)));
        }
        for (info_hash, addr) in expired {
            self.remove(info_hash, addr);
        }
    }

    /// The totals are the sum of the parts. Costs a pass over everything: in tests only.
    fn check(&self) {
        #[cfg(test)]
        {
            let mut sum = Totals { swarms: self.swarms.len(), ..Totals::default() };
            for swarm in self.swarms.values() {
                assert!(!swarm.peers.is_empty() && swarm.leeches <= swarm.peers.len());
                assert_eq!(swarm.places.len(), swarm.peers.len());
                let at = |(i, p): (usize, &Peer)| swarm.places.get(&p.addr) == Some(&i);
                assert!(swarm.peers.iter().enumerate().all(at));
                sum.leeches += swarm.leeches;
                sum.seeds += swarm.peers.len() - swarm.leeches;
            }
            assert_eq!(sum, self.totals);
            assert_eq!(self.per_address.values().sum::<usize>(), sum.seeds + sum.leeches);
        }
    }
}

/// The address without what only a socket knows (flow, scope), IPv4 as IPv4.
fn plain(addr: SocketAddr) -> SocketAddr {
    canonical(addr)
}

/// Whom an entry is counted against: an IPv6 host has a whole /64 to announce from.
fn accountable(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => ip,
        IpAddr::V6(ip) => Ipv6Addr::from(u128::from(ip) & !u128::from(u64::MAX)).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::hash::sha1;
    use crate::base::rng::Rng;
    use proptest::prelude::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn swarms(limits: SwarmLimits) -> Swarms {
        Swarms::new(limits, HOUR, Rng::new(5))
    }

    fn peer(torrent: u8, addr: &str, seed: bool) -> Registration {
        let addr: SocketAddr = addr.parse().expect("valid");
        Registration {
            info_hash: sha1(&[torrent]),
            addr,
            peer_id: PeerId([addr.port() as u8; 20]),
            seed,
            event: Event::None,
            numwant: 50,
            own_family: false,
        }
    }

    fn given(answer: &Answer) -> Vec<String> {
        let mut addrs: Vec<String> = answer.peers.iter().map(|p| p.addr.to_string()).collect();
        addrs.sort_unstable();
        addrs
    }

    #[test]
    fn peers_find_one_another_in_both_families() {
        let mut s = swarms(SwarmLimits::default());
        let t = Instant::ZERO;
        assert_eq!(given(&s.announce(t, &peer(1, "1.1.1.1:1", true)).expect("ok")), [""; 0]);
        s.announce(t, &peer(1, "[2001:db8::1]:2", false)).expect("ok");
        s.announce(t, &peer(2, "9.9.9.9:9", false)).expect("ok");
        let answer = s.announce(t, &peer(1, "[::ffff:3.3.3.3]:3", false)).expect("ok");
        assert_eq!(given(&answer), ["1.1.1.1:1", "[2001:db8::1]:2"]);
        assert_eq!(answer.counts, Counts { complete: 1, incomplete: 2, downloaded: 0 });
        assert_eq!(s.totals(t), Totals { swarms: 2, seeds: 1, leeches: 3 });
        // Seeds are no use to a seed.
        s.announce(t, &peer(1, "4.4.4.4:4", true)).expect("ok");
        let answer = s.announce(t, &peer(1, "1.1.1.1:1", true)).expect("ok");
        assert_eq!(given(&answer), ["3.3.3.3:3", "[2001:db8::1]:2"]);
        // Unless it begins: then it may have nothing at all.
        let begins = Registration { event: Event::Started, ..peer(1, "5.5.5.5:5", true) };
        let answer = s.announce(t, &begins).expect("ok");
        assert_eq!(given(&answer), ["1.1.1.1:1", "3.3.3.3:3", "4.4.4.4:4", "[2001:db8::1]:2"]);
    }

    #[test]
    fn only_torrents_of_the_list_are_served() {
        let (mut s, t) = (swarms(SwarmLimits::default()), Instant::ZERO);
        for torrent in [1, 2] {
            s.announce(t, &peer(torrent, "1.1.1.1:1", true)).expect("ok");
        }
        s.allow_only([sha1(&[2]), sha1(&[3])].into());
        assert_eq!(s.totals(t), Totals { swarms: 1, seeds: 1, leeches: 0 });
        let mut go = |torrent| s.announce(t, &peer(torrent, "2.2.2.2:2", false));
        assert_eq!(go(1), Err(RegistrationError::NotAllowed));
        assert_eq!(given(&go(2).expect("ok")), ["1.1.1.1:1"]);
        assert_eq!(given(&go(3).expect("ok")), [""; 0]);
    }

    #[test]
    fn loopback_addresses_stay_on_the_host() {
        let mut s = swarms(SwarmLimits::default());
        for addr in ["127.0.0.1:1", "[::1]:2", "1.1.1.1:3"] {
            s.announce(Instant::ZERO, &peer(1, addr, false)).expect("ok");
        }
        let mut go = |addr| given(&s.announce(Instant::ZERO, &peer(1, addr, false)).expect("ok"));
        assert_eq!(go("2.2.2.2:4"), ["1.1.1.1:3"]);
        assert_eq!(go("127.0.0.1:1"), ["1.1.1.1:3", "2.2.2.2:4", "[::1]:2"]);
    }

    #[test]
    fn completed_stopped_and_expired() {
        let mut s = swarms(SwarmLimits::default());
        let mut p = peer(1, "1.1.1.1:1", false);
        s.announce(Instant::ZERO, &p).expect("ok");
        p.seed = true;
        p.event = Event::Completed;
        for _ in 0..2 {
            let counts = s.announce(Instant::ZERO, &p).expect("ok").counts;
            assert_eq!(counts, Counts { complete: 1, incomplete: 0, downloaded: 1 });
        }
        let q = peer(1, "2.2.2.2:2", false);
        s.announce(Instant::ZERO + HOUR / 2, &q).expect("ok");
        assert_eq!(s.totals(Instant::ZERO + HOUR).seeds, 0);
        assert_eq!(s.scrape(Instant::ZERO + HOUR, q.info_hash).map(|c| c.incomplete), Some(1));
        let gone = Registration { event: Event::Stopped, ..q };
        let answer = s.announce(Instant::ZERO + HOUR, &gone).expect("ok");
        assert_eq!((answer.peers, answer.listed), (Vec::new(), false));
        assert_eq!(s.totals(Instant::ZERO + HOUR), Totals::default());
        assert_eq!(s.scrape(Instant::ZERO + HOUR, q.info_hash), None);
        assert!(s.per_address.is_empty());
    }

    #[test]
    fn limits_hold() {
        let limits = SwarmLimits {
            swarms: 2,
            swarm_peers: 3,
            peers: 5,
            peers_per_address: 2,
            entries_per_address: 3,
            numwant: 2,
        };
        let mut s = swarms(limits);
        let t = Instant::ZERO;
        let mut go = |torrent, addr: &str| {
            s.announce(t, &peer(torrent, addr, false)).map(|a| (a.listed, a.peers.len()))
        };
        assert_eq!(go(1, "1.1.1.1:0"), Err(RegistrationError::Port));
        assert_eq!(go(1, "[2001:db8::1]:1"), Ok((true, 0)));
        assert_eq!(go(1, "[2001:db8::2]:2"), Ok((true, 1)));
        assert_eq!(go(1, "[2001:db8::3]:3"), Err(RegistrationError::PeersOfAddress));
        assert_eq!(go(2, "[2001:db8::3]:3"), Ok((true, 0)));
        assert_eq!(go(2, "[2001:db8::4]:4"), Err(RegistrationError::EntriesOfAddress));
        assert_eq!(go(1, "2.2.2.2:2"), Ok((true, 2)));
        assert_eq!(go(1, "3.3.3.3:3"), Ok((false, 2)), "full: answered, not kept");
        assert_eq!(go(3, "3.3.3.3:3"), Ok((false, 0)), "no more swarms");
        assert_eq!(go(2, "3.3.3.3:3"), Ok((true, 1)));
        assert_eq!(go(2, "4.4.4.4:4"), Ok((false, 2)), "no more peers at all");
        assert_eq!(go(1, "2.2.2.2:2"), Ok((true, 2)), "who is known may come again");
    }

    #[test]
    fn the_choice_is_even() {
        let mut s = swarms(SwarmLimits::default());
        for port in 1..=20 {
            s.announce(Instant::ZERO, &peer(1, &format!("1.1.1.{port}:{port}"), false))
                .expect("ok");
        }
        let mut seen = BTreeMap::<SocketAddr, u32>::new();
        for _ in 0..2_000 {
            let p = Registration { numwant: 5, ..peer(1, "1.1.1.1:1", false) };
            let answer = s.announce(Instant::ZERO, &p).expect("ok");
            assert_eq!(answer.peers.len(), 5);
            answer.peers.iter().for_each(|p| *seen.entry(p.addr).or_default() += 1);
        }
        assert_eq!(seen.len(), 19);
        assert!(seen.values().all(|&n| (400..660).contains(&n)), "{seen:?}");
    }

    #[test]
    fn who_can_be_told_of_one_family_only_is_told_of_as_many() {
        let mut s = swarms(SwarmLimits::default());
        for n in 0..400 {
            let addr = match n % 4 {
                0 => format!("1.1.{}.1:1", n / 4),
                _ => format!("[2001:db8:{n:x}::]:1"),
            };
            s.announce(Instant::ZERO, &peer(1, &addr, false)).expect("ok");
        }
        let of = |addr: &str, own_family| Registration { own_family, ..peer(1, addr, false) };
        let mut told = |asks: Registration| {
            let peers = s.announce(Instant::ZERO, &asks).expect("ok").peers;
            let v6 = peers.iter().filter(|peer| peer.addr.is_ipv6()).count();
            (peers.len() - v6, v6)
        };
        assert_eq!(told(of("1.3.1.1:1", true)), (50, 0));
        assert_eq!(told(of("[2001:db9::]:1", true)), (0, 50));
        let (v4, v6) = told(of("1.3.1.2:1", false));
        assert!(v4 > 0 && v6 > v4 && v4 + v6 == 50, "{v4} and {v6}");
    }

    proptest! {
        /// Against a plain map, with limits: `check` sums everything up after every step.
        #[test]
        fn behaves_like_a_map(
            seed in any::<u64>(),
            steps in prop::collection::vec(
                (0u8..3, 0u8..12, 1u16..4, any::<bool>(), 0u8..6, 0u64..900), 1..150),
        ) {
            let limits = SwarmLimits { peers: 20, swarm_peers: 10, peers_per_address: 2, ..SwarmLimits::default() };
            let mut s = Swarms::new(limits, HOUR, Rng::new(seed));
            let mut model = BTreeMap::<(Sha1Hash, SocketAddr), (bool, Instant)>::new();
            let mut now = Instant::ZERO;
            for (torrent, host, port, is_seed, event, pause) in steps {
                now += Duration::from_secs(pause);
                let mut p = peer(torrent, &format!("1.1.1.{host}:{port}"), is_seed);
                if event == 0 { p.event = Event::Stopped }
                let key = (p.info_hash, p.addr);
                s.totals(now);
                model.retain(|_, v| v.1 > s.swept);
                let answer = s.announce(now, &p);
                match &answer {
                    Ok(a) if a.listed => { model.insert(key, (is_seed, now + HOUR)); }
                    _ if p.event == Event::Stopped => { model.remove(&key); }
                    _ => prop_assert!(!model.contains_key(&key)),
                }
                let swarm = model.iter().filter(|((h, _), _)| *h == p.info_hash);
                let (mut want, mut seeds, mut leeches) = (BTreeSet::new(), 0, 0);
                for ((_, addr), (seed, _)) in swarm {
                    if *seed { seeds += 1 } else { leeches += 1 }
                    if *addr != p.addr && !(*seed && is_seed && p.event != Event::Started) { want.insert(*addr); }
                }
                prop_assert!(seeds + leeches <= 10 && model.len() <= 20);
                if let Ok(a) = answer {
                    prop_assert_eq!((a.counts.complete, a.counts.incomplete), (seeds, leeches));
                    if p.event != Event::Stopped {
                        let got: BTreeSet<_> = a.peers.iter().map(|p| p.addr).collect();
                        prop_assert_eq!(got, want);
                    }
                }
            }
        }
    }
}
