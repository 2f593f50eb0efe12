//! Who may send or receive next, and how much, under limits: of all torrents, of each, of each peer.
//!
//! Pure; one direction. What all may is divided evenly among the torrents that want it, what a torrent may
//! among its peers, whatever their number, and what one leaves the others get. Without limits nobody
//! asks here.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
};

use super::{id::TorrentId, ready::Key};
use crate::base::{
    fair_queue::FairQueue,
    id::PeerKey,
    time::Instant,
    token_bucket::{Grant, TokenBucket},
    units::ByteRate,
};

/// The limits of one direction; `None` is no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Rates {
    /// Of all torrents together.
    pub(super) all: Option<ByteRate>,
    /// Of each torrent that has no limit of its own.
    pub(super) torrent: Option<ByteRate>,
    /// Of each peer.
    pub(super) peer: Option<ByteRate>,
}

/// Whose limit it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Level {
    All,
    Torrent,
    Peer,
}

/// A limit that holds a torrent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Holding {
    pub(super) rate: ByteRate,
    pub(super) level: Level,
    /// Peers that wait because of it.
    pub(super) waiting: u32,
}

/// One direction.
#[derive(Debug)]
pub(super) struct Bandwidth {
    /// Fewer bytes at once are not worth it.
    least: u64,
    rates: Rates,
    all: TokenBucket,
    branches: HashMap<TorrentId, Branch>,
    /// Torrents with peers that wait.
    waiting: FairQueue<TorrentId>,
    /// Those that wait for a limit of their own, and until when. A few entries are stale.
    parked: BinaryHeap<Reverse<(Instant, TorrentId, Option<PeerKey>)>>,
}

/// One torrent.
#[derive(Debug)]
struct Branch {
    /// Its own limit, if it has one.
    own: Option<Option<ByteRate>>,
    bucket: TokenBucket,
    waiting: FairQueue<PeerKey>,
    /// Of peers that have waited, while there is a limit for each.
    peers: HashMap<PeerKey, TokenBucket>,
}

impl Bandwidth {
    /// No limits yet. Nobody is given less than `least` bytes at once.
    pub(super) fn new(least: u64, now: Instant) -> Self {
        Bandwidth {
            least,
            rates: Rates::default(),
            all: TokenBucket::new(None, now),
            branches: HashMap::new(),
            waiting: FairQueue::default(),
            parked: BinaryHeap::new(),
        }
    }

    /// Changes the limits.
    pub(super) fn set_rates(&mut self, now: Instant, rates: Rates) {
        self.rates = rates;
        self.all.set_rate(rates.all, now);
        for branch in self.branches.values_mut() {
            branch.bucket.set_rate(branch.own.unwrap_or(rates.torrent), now);
            branch.peers.values_mut().for_each(|bucket| bucket.set_rate(rates.peer, now));
        }
        self.release(Instant::FAR);
    }

    /// Gives a torrent a limit of its own, which may be none.
    pub(super) fn set_torrent(&mut self, now: Instant, id: TorrentId, own: Option<ByteRate>) {
        let branch = self.branch(now, id);
        branch.own = Some(own);
        branch.bucket.set_rate(own, now);
        self.release(Instant::FAR);
    }

    /// Whether this torrent's peers need not ask.
    pub(super) fn is_open(&self, id: TorrentId) -> bool {
        let Rates { all, torrent, peer } = self.rates;
        let own = self.branches.get(&id).and_then(|branch| branch.own).unwrap_or(torrent);
        all.is_none() && own.is_none() && peer.is_none()
    }

    /// The limit that holds a torrent, and how many of its peers wait for it; `None` if none does.
    pub(super) fn holding(&self, id: TorrentId) -> Option<Holding> {
        let branch = self.branches.get(&id)?;
        let parked = self.parked.iter().filter(|Reverse((_, of, _))| *of == id);
        let (peers, whole): (Vec<&_>, Vec<&_>) =
            parked.partition(|Reverse((.., peer))| peer.is_some());
        let waiting = (branch.waiting.len() + peers.len()) as u32;
        let Rates { all, torrent, peer } = self.rates;
        // Whoever waits for a limit of its own is parked; the others wait for that of all.
        let (rate, level) = if !whole.is_empty() {
            (branch.own.unwrap_or(torrent), Level::Torrent)
        } else if branch.waiting.len() > peers.len() {
            (all, Level::All)
        } else {
            (peer, Level::Peer)
        };
        let limits = [all, branch.own.unwrap_or(torrent), peer];
        let rate = rate.or_else(|| limits.into_iter().flatten().min())?;
        (waiting > 0).then_some(Holding { rate, level, waiting })
    }

    /// A peer waits for its turn, if it does not already.
    pub(super) fn wait(&mut self, now: Instant, key: Key) {
        self.branch(now, key.torrent).waiting.push(key.peer);
        self.waiting.push(key.torrent);
    }

    /// Whose turn it is, and what it may take. It waits no more; what it took is to be said to
    /// [`Bandwidth::spent`].
    pub(super) fn next(&mut self, now: Instant) -> Option<(Key, Grant)> {
        self.release(now);
        loop {
            let left = self.all.available(now);
            if left < self.least {
                return None;
            }
            let torrents = self.waiting.len() as u64;
            let id = self.waiting.pop()?;
            let Some(branch) = self.branches.get_mut(&id) else { continue };
            let of_torrent = branch.bucket.available(now);
            if of_torrent < self.least {
                let at = branch.bucket.ready_at(self.least);
                self.parked.push(Reverse((at, id, None)));
                continue;
            }
            let peers = branch.waiting.len() as u64;
            let Some(peer) = branch.waiting.pop() else { continue };
            if !branch.waiting.is_empty() {
                self.waiting.push(id);
            }
            let mut of_peer = u64::MAX;
            if let Some(rate) = self.rates.peer {
                let bucket = branch.peers.entry(peer);
                let bucket = bucket.or_insert_with(|| TokenBucket::new(Some(rate), now));
                of_peer = bucket.available(now);
                if of_peer < self.least {
                    self.parked.push(Reverse((bucket.ready_at(self.least), id, Some(peer))));
                    continue;
                }
            }
            let share = (left / torrents).min(of_torrent) / peers;
            let share = share.max(self.least);
            return Some((Key { torrent: id, peer }, Grant::of(share.min(of_peer))));
        }
    }

    /// A peer has taken so much, asked or not.
    pub(super) fn spent(&mut self, key: Key, bytes: u64) {
        self.all.spend(bytes);
        let Some(branch) = self.branches.get_mut(&key.torrent) else { return };
        self.waiting.charge(key.torrent, bytes);
        branch.bucket.spend(bytes);
        branch.waiting.charge(key.peer, bytes);
        if let Some(bucket) = branch.peers.get_mut(&key.peer) {
            bucket.spend(bytes);
        }
    }

    /// When somebody who waits may have its turn; `None` if nobody does.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let first = (!self.waiting.is_empty()).then(|| self.all.ready_at(self.least));
        let parked = self.parked.peek().map(|&Reverse((at, ..))| at);
        [first, parked].into_iter().flatten().min()
    }

    /// A peer is gone.
    pub(super) fn forget_peer(&mut self, key: Key) {
        if let Some(branch) = self.branches.get_mut(&key.torrent) {
            branch.waiting.remove(key.peer);
            branch.peers.remove(&key.peer);
        }
    }

    /// A torrent is gone.
    pub(super) fn forget(&mut self, id: TorrentId) {
        self.branches.remove(&id);
        self.waiting.remove(id);
    }

    /// Lets those wait their turn again whose own limit allows it at `now`.
    fn release(&mut self, now: Instant) {
        while let Some(&Reverse((at, id, peer))) = self.parked.peek()
            && at <= now
        {
            self.parked.pop();
            let Some(branch) = self.branches.get_mut(&id) else { continue };
            if let Some(peer) = peer {
                branch.waiting.push(peer);
            }
            self.waiting.push(id);
        }
    }

    fn branch(&mut self, now: Instant, id: TorrentId) -> &mut Branch {
        let rate = self.rates.torrent;
        self.branches.entry(id).or_insert_with(|| Branch {
            own: None,
            bucket: TokenBucket::new(rate, now),
            waiting: FairQueue::default(),
            peers: HashMap::new(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::units::BLOCK_LEN;
    use proptest::prelude::*;
    use std::time::Duration;

    const LEAST: u64 = 4096;
    const SECONDS: u64 = 20;

    fn key(torrent: u64, slot: u32) -> Key {
        Key { torrent: TorrentId(torrent), peer: PeerKey { slot, generation: 0 } }
    }

    /// What each torrent, and each of its peers, takes in [`SECONDS`] if every peer always takes what it is
    /// given. `peers` of each torrent.
    fn taken(bandwidth: &mut Bandwidth, peers: &[u32]) -> Vec<Vec<u64>> {
        let mut taken: Vec<Vec<u64>> = peers.iter().map(|&n| vec![0; n as usize]).collect();
        let mut now = Instant::ZERO;
        for (torrent, &n) in peers.iter().enumerate() {
            (0..n).for_each(|slot| bandwidth.wait(now, key(torrent as u64, slot)));
        }
        let end = now + Duration::from_secs(SECONDS);
        while now < end {
            while let Some((key, grant)) = bandwidth.next(now) {
                // Nobody reads more than a buffer at once.
                let bytes = grant.left().min(256 << 10);
                taken[key.torrent.0 as usize][key.peer.slot as usize] += bytes;
                bandwidth.spent(key, bytes);
                bandwidth.wait(now, key);
            }
            let due = bandwidth.deadline().expect("peers wait");
            assert!(due > now, "nobody was given anything, and it is due");
            now = due;
        }
        taken
    }

    fn limited(rates: Rates) -> Bandwidth {
        let mut bandwidth = Bandwidth::new(LEAST, Instant::ZERO);
        bandwidth.set_rates(Instant::ZERO, rates);
        bandwidth
    }

    /// The smallest limit was named, whichever it was that all of them waited for.
    #[test]
    fn the_limit_that_is_waited_for_is_the_one_that_holds() {
        for (all, torrent, peer, level) in [
            (Some(2), None, Some(1), Level::All),
            (Some(20), None, Some(1), Level::Peer),
            (Some(20), Some(3), Some(1), Level::Torrent),
            (None, Some(3), None, Level::Torrent),
            (Some(3), None, None, Level::All),
        ] {
            let [all, torrent, peer] =
                [all, torrent, peer].map(|mb| mb.and_then(|mb: u64| rate(mb * MB)));
            let mut bandwidth = limited(Rates { all, torrent, peer });
            taken(&mut bandwidth, &[10]);
            let holding = bandwidth.holding(TorrentId(0)).expect("one does");
            assert_eq!(
                (holding.level, holding.waiting),
                (level, 10),
                "{all:?} {torrent:?} {peer:?}"
            );
        }
    }

    fn is_near(is: u64, rate: u64) {
        let want = rate * SECONDS;
        assert!(is.abs_diff(want) <= want / 100 + u64::from(BLOCK_LEN), "{is} of {want}");
    }

    const MB: u64 = 1_000_000;

    fn rate(bytes: u64) -> Option<ByteRate> {
        Some(ByteRate(bytes))
    }

    #[test]
    fn torrents_get_the_same_whatever_their_peers() {
        let mut bandwidth = limited(Rates { all: rate(10 * MB), ..Rates::default() });
        for of_torrent in taken(&mut bandwidth, &[1, 2, 7, 40]) {
            is_near(of_torrent.iter().sum(), 10 * MB / 4);
            for &of_peer in &of_torrent {
                is_near(of_peer, 10 * MB / 4 / of_torrent.len() as u64);
            }
        }
    }

    #[test]
    fn what_a_limit_leaves_the_others_get() {
        let mut bandwidth = limited(Rates { all: rate(10 * MB), ..Rates::default() });
        bandwidth.set_torrent(Instant::ZERO, TorrentId(0), rate(MB));
        let taken = taken(&mut bandwidth, &[3, 1, 9]);
        for (of_torrent, want) in taken.iter().zip([10, 45, 45]) {
            is_near(of_torrent.iter().sum(), want * MB / 10);
        }
    }

    #[test]
    fn each_level_holds_by_itself() {
        let mut bandwidth = limited(Rates { peer: rate(100_000), ..Rates::default() });
        taken(&mut bandwidth, &[1, 30]).into_iter().flatten().for_each(|of| is_near(of, 100_000));
        let mut bandwidth = limited(Rates { torrent: rate(MB), ..Rates::default() });
        bandwidth.set_torrent(Instant::ZERO, TorrentId(1), rate(2 * MB));
        let taken = taken(&mut bandwidth, &[2, 5, 1]);
        for (of_torrent, want) in taken.iter().zip([1, 2, 1]) {
            is_near(of_torrent.iter().sum(), want * MB);
        }
    }

    #[test]
    fn without_limits_nobody_asks() {
        let (mut bandwidth, now) = (limited(Rates::default()), Instant::ZERO);
        assert!(bandwidth.is_open(TorrentId(0)));
        bandwidth.set_torrent(now, TorrentId(0), rate(1));
        assert!(!bandwidth.is_open(TorrentId(0)) && bandwidth.is_open(TorrentId(1)));
        bandwidth.set_rates(now, Rates { torrent: rate(1), ..Rates::default() });
        bandwidth.set_torrent(now, TorrentId(0), None);
        assert!(bandwidth.is_open(TorrentId(0)) && !bandwidth.is_open(TorrentId(1)));
    }

    #[test]
    fn who_waits_has_a_turn_once_the_limit_is_lifted_or_none_when_it_is_gone() {
        let mut bandwidth = limited(Rates { peer: rate(0), ..Rates::default() });
        let now = Instant::ZERO;
        let (a, b) = (key(0, 0), key(0, 1));
        bandwidth.wait(now, a);
        bandwidth.wait(now, b);
        assert!(bandwidth.next(now).is_none());
        bandwidth.forget_peer(a);
        bandwidth.set_rates(now, Rates::default());
        let mut next = Vec::new();
        while let Some((key, _)) = bandwidth.next(now) {
            next.push(key);
        }
        assert!(next.contains(&b), "{next:?}");
        bandwidth.wait(now, b);
        bandwidth.forget(b.torrent);
        assert!(bandwidth.next(now).is_none() && bandwidth.deadline().is_none());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn no_limit_is_passed_and_none_left_unused(
            all in prop::option::of(50_000u64..5_000_000),
            torrent in prop::option::of(50_000u64..5_000_000),
            peer in prop::option::of(50_000u64..2_000_000),
            peers in prop::collection::vec(1u32..12, 1..6),
        ) {
            let (torrents, most) = (peers.len() as u64, u64::MAX / 1000);
            let of_torrent = |n: u32| {
                torrent.unwrap_or(most).min(peer.map_or(most, |peer| peer * u64::from(n)))
            };
            let want: u64 = peers.iter().map(|&n| of_torrent(n)).sum();
            let want = want.min(all.unwrap_or(most));
            prop_assume!(want < most);
            let to = |rate: Option<u64>| rate.map(ByteRate);
            let rates = Rates { all: to(all), torrent: to(torrent), peer: to(peer) };
            let taken = taken(&mut limited(rates), &peers);
            let got: u64 = taken.iter().flatten().sum();
            let slack = (1 + torrents * 12) * 2 * u64::from(BLOCK_LEN) + want * SECONDS / 50;
            prop_assert!(got.abs_diff(want * SECONDS) <= slack, "{} of {}", got, want * SECONDS);
            for (of_torrent, &n) in taken.iter().zip(&peers) {
                let most = SECONDS.saturating_mul(torrent.unwrap_or(most));
                prop_assert!(of_torrent.iter().sum::<u64>() <= most + (n as u64 + 1) * u64::from(BLOCK_LEN));
            }
        }
    }
}
