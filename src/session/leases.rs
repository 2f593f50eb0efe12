//! What each torrent may take of what a session has but once: upload slots and connections.
//!
//! Pure: figures in, leases out, once a second. Slots follow from the uplink, as it is limited or
//! measured, so that many torrents on a thin one serve some peers well instead of all of them badly;
//! connections are divided when torrents want more than there are. A torrent that is alone, or among
//! few, takes what it likes. Whom a torrent unchokes or drops is its own affair; dials take turns in
//! [`super::dial`], half-open connections are bounded in [`crate::net::accept`].

use std::{collections::HashMap, time::Duration};

use super::{
    id::TorrentId,
    uplink::{Sending, Uplink},
};
use crate::{
    base::{time::Instant, units::ByteRate},
    torrent::{Demand, Lease},
};

/// A slot that carries less serves nobody well: a block would take seconds.
const LEAST_SLOT_RATE: u64 = 8 << 10;
/// Slots of all torrents on the thinnest uplink.
const LEAST_SLOTS: u32 = 4;
/// A torrent has a slot whenever there is one for every second torrent; else torrents take turns.
const TORRENTS_PER_SLOT: u32 = 2;
/// How long a torrent keeps its slots before others have their turn.
const TURN: Duration = Duration::from_secs(30);
/// Connections are kept free for newcomers, one in so many.
const FREE: u32 = 16;
/// Connections of a torrent among very many: with fewer it would hardly be in its swarm.
const FEWEST_CONNECTIONS: u32 = 4;

/// Divides what there is.
#[derive(Debug)]
pub(super) struct Leases {
    connections: u32,
    uplink: Uplink,
    /// What torrents have that may not take what they like.
    given: HashMap<TorrentId, Lease>,
    /// When each torrent last got slots, while they take turns.
    served: HashMap<TorrentId, Instant>,
    /// When the present turn ends.
    turn_ends: Instant,
}

impl Leases {
    /// There are so many connections.
    pub(super) fn new(connections: u32) -> Self {
        let (served, turn_ends) = (HashMap::new(), Instant::ZERO);
        Leases { connections, uplink: Uplink::new(), given: HashMap::new(), served, turn_ends }
    }

    /// The leases that are not what they were. `rate` is what was sent in the last second, `limit` the
    /// user's.
    pub(super) fn divide(
        &mut self,
        now: Instant,
        rate: ByteRate,
        limit: Option<ByteRate>,
        demands: &[(TorrentId, Demand)],
    ) -> Vec<(TorrentId, Lease)> {
        let mut sending = Sending { rate: rate.0, ..Sending::default() };
        for (_, demand) in demands {
            sending.unchoked += demand.unchoked;
            sending.waiting += demand.waiting;
        }
        self.uplink.see(now, sending);
        let slots = self.divide_slots(now, limit, demands);
        let peers = self.divide_connections(demands);
        let mut changed = Vec::new();
        let mut given = HashMap::new();
        for (i, &(id, _)) in demands.iter().enumerate() {
            let lease = Lease { slots: slots.as_ref().map(|shares| shares[i]), peers };
            if self.given.get(&id).copied().unwrap_or_default() != lease {
                changed.push((id, lease));
            }
            if lease != Lease::default() {
                given.insert(id, lease);
            }
        }
        self.given = given;
        changed
    }

    /// `None` if there are enough for everybody who wants one, or nothing is known of the uplink.
    fn divide_slots(
        &mut self,
        now: Instant,
        limit: Option<ByteRate>,
        demands: &[(TorrentId, Demand)],
    ) -> Option<Vec<u32>> {
        let uplink =
            [limit.map(|limit| limit.0), self.uplink.carries()].into_iter().flatten().min()?;
        let all = u32::try_from(uplink / LEAST_SLOT_RATE).unwrap_or(u32::MAX).max(LEAST_SLOTS);
        let wants: Vec<u32> = demands.iter().map(|(_, d)| d.interested).collect();
        let wanting = wants.iter().filter(|&&want| want > 0).count() as u32;
        if wanting < 2 || wants.iter().sum::<u32>() <= all {
            self.served.clear();
            return None;
        }
        if wanting <= all.saturating_mul(TORRENTS_PER_SLOT) {
            self.served.clear();
            let mut shares = level(all.max(wanting), &wants);
            // One for each that wants any comes first.
            for (share, want) in shares.iter_mut().zip(&wants) {
                *share = (*share).max(1.min(*want));
            }
            return Some(shares);
        }
        Some(self.take_turns(now, all, demands))
    }

    /// One slot for as many torrents as there are slots, those first who have waited longest.
    fn take_turns(
        &mut self,
        now: Instant,
        slots: u32,
        demands: &[(TorrentId, Demand)],
    ) -> Vec<u32> {
        let wants = |&(_, (_, d)): &(usize, &(TorrentId, Demand))| d.interested > 0;
        let mut waiting: Vec<_> = demands.iter().enumerate().filter(wants).collect();
        let is_new_turn = now >= self.turn_ends;
        if is_new_turn {
            self.turn_ends = now + TURN;
            self.served.retain(|id, _| demands.iter().any(|(there, _)| there == id));
        }
        let in_turn = |id: &TorrentId| {
            !is_new_turn && self.served.get(id).is_some_and(|&at| at + TURN >= self.turn_ends)
        };
        waiting.sort_by_key(|(_, (id, _))| (!in_turn(id), self.served.get(id).copied(), *id));
        let mut shares = vec![0; demands.len()];
        for (i, (id, _)) in waiting.into_iter().take(slots as usize) {
            shares[i] = 1;
            self.served.insert(*id, now);
        }
        shares
    }

    /// How many each may have; `None` if there are enough for everybody.
    fn divide_connections(&self, demands: &[(TorrentId, Demand)]) -> Option<u32> {
        let wants: Vec<u32> = demands.iter().map(|(_, d)| d.peers).collect();
        let all = self.connections - self.connections / FREE;
        let wanted = wants.iter().fold(0u32, |sum, want| sum.saturating_add(*want));
        if wanted <= all || demands.len() < 2 {
            return None;
        }
        level(all, &wants).into_iter().max().map(|most| most.max(FEWEST_CONNECTIONS))
    }
}

/// Divides `all` so that nobody gets more than he wants, and nobody less than others unless he wants less.
fn level(all: u32, wants: &[u32]) -> Vec<u32> {
    let mut by_want: Vec<usize> = (0..wants.len()).collect();
    by_want.sort_by_key(|&i| wants[i]);
    let (mut left, mut shares) = (all, vec![0; wants.len()]);
    for (done, &i) in by_want.iter().enumerate() {
        shares[i] = wants[i].min(left / (wants.len() - done) as u32);
        left -= shares[i];
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn demands(interested: &[u32]) -> Vec<(TorrentId, Demand)> {
        let demand = |(id, &interested): (usize, &u32)| {
            let demand = Demand { interested, unchoked: 1, waiting: 1, peers: 10 };
            (TorrentId(id as u64), demand)
        };
        interested.iter().enumerate().map(demand).collect()
    }

    /// What is divided on an uplink limited to so much.
    fn limited(leases: &mut Leases, now: Instant, kib: u64, interested: &[u32]) -> Vec<u32> {
        let rate = ByteRate(kib << 10);
        let demands = demands(interested);
        leases.divide(now, rate, Some(rate), &demands);
        let of = |(id, _): &(TorrentId, Demand)| leases.given.get(id).and_then(|lease| lease.slots);
        demands.iter().map(|demand| of(demand).unwrap_or(u32::MAX)).collect()
    }

    const NOW: Instant = Instant::ZERO;

    #[test]
    fn a_torrent_alone_takes_what_it_likes() {
        let mut leases = Leases::new(500);
        for alone in [&[50][..], &[50, 0, 0]] {
            assert!(limited(&mut leases, NOW, 1, alone).iter().all(|&slots| slots == u32::MAX));
        }
        let none = leases.divide(NOW, ByteRate(1 << 30), None, &demands(&[50; 10]));
        assert_eq!(none, [], "as do all while nothing is known of the uplink");
    }

    #[test]
    fn a_thin_uplink_has_few_slots_and_each_torrent_some() {
        let mut leases = Leases::new(500);
        let mut go = |kib, interested: &[u32]| limited(&mut leases, NOW, kib, interested);
        assert_eq!(go(160, &[8; 10]), [2; 10]);
        // Below one for each there is one for each.
        assert_eq!(go(50, &[8; 10]), [1; 10]);
        // Who wants less leaves it to the others.
        assert_eq!(go(72, &[1, 0, 30, 30]), [1, 0, 4, 4]);
        assert_eq!(go(9_999, &[8; 10]), [u32::MAX; 10]);
    }

    #[test]
    fn only_changes_are_told() {
        let mut leases = Leases::new(500);
        let (rate, mut wants) = (ByteRate(160 << 10), [8; 10]);
        let mut go = |wants: &[u32]| leases.divide(NOW, rate, Some(rate), &demands(wants)).len();
        assert_eq!((go(&wants), go(&wants)), (10, 0));
        wants[9] = 0;
        assert_eq!(go(&wants), 3, "what one leaves, two get");
        assert_eq!((go(&[1; 10]), go(&[1; 10])), (10, 0), "enough for all");
    }

    #[test]
    fn more_torrents_than_the_uplink_carries_take_turns() {
        let mut leases = Leases::new(500);
        let mut times = vec![0; 20];
        for second in 0..300 {
            let now = NOW + Duration::from_secs(second);
            let shares = limited(&mut leases, now, 1, &[3; 20]);
            assert_eq!(shares.iter().sum::<u32>(), 4);
            times.iter_mut().zip(&shares).for_each(|(time, share)| *time += share);
        }
        assert_eq!(times, [60; 20], "each had two turns of 30 s");
    }

    #[test]
    fn an_uplink_that_is_full_needs_no_limit() {
        let mut leases = Leases::new(500);
        for second in 0..30 {
            let now = NOW + Duration::from_secs(second);
            leases.divide(now, ByteRate(160 << 10), None, &demands(&[8; 10]));
        }
        let slots: Vec<_> = leases.given.values().map(|lease| lease.slots).collect();
        assert_eq!(slots.len(), 10);
        assert!(slots.iter().all(|slots| matches!(slots, Some(1 | 2))), "{slots:?}");
    }

    #[test]
    fn connections_are_divided_when_they_run_short() {
        let mut leases = Leases::new(160);
        let of = |peers: &[u32]| -> Vec<(TorrentId, Demand)> {
            let demand = |(id, &peers): (usize, &u32)| {
                (TorrentId(id as u64), Demand { peers, ..Demand::default() })
            };
            peers.iter().enumerate().map(demand).collect()
        };
        let mut go = |peers: &[u32]| -> Vec<Option<u32>> {
            let changed = leases.divide(NOW, ByteRate(0), None, &of(peers));
            changed.iter().map(|(_, lease)| lease.peers).collect()
        };
        assert_eq!(go(&[100, 50]), []);
        assert_eq!(go(&[200, 200, 10, 0]), [Some(70); 4], "who wants few may still have more");
        assert_eq!(go(&[100, 50]), [None, None]);
        assert_eq!(go(&[500]), [], "alone it meets the limit by itself");
        assert_eq!(go(&[9; 100]), [Some(FEWEST_CONNECTIONS); 100]);
    }

    proptest! {
        #[test]
        fn levelling_is_fair(all in 0u32..1000, wants in prop::collection::vec(0u32..200, 1..20)) {
            let shares = level(all, &wants);
            let (given, wanted) = (shares.iter().sum::<u32>(), wants.iter().sum::<u32>());
            prop_assert_eq!(given, all.min(wanted));
            let most = shares.iter().max().copied().unwrap_or(0);
            for (share, want) in shares.iter().zip(&wants) {
                prop_assert!(share <= want && (share == want || share + 1 >= most));
            }
        }
    }
}
