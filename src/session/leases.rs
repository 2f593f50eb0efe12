//! What each torrent may take of what a session has but once: upload slots and connections.
//!
//! Pure: figures in, leases out, once a second. Slots follow from the uplink, as it is limited or
//! measured, so that many torrents on a thin one serve some peers well instead of all of them badly;
//! connections are divided when torrents want more than there are. A torrent that is alone, or among
//! few, takes what it likes. Whom a torrent unchokes or drops is its own affair; dials take turns in
//! [`super::dial`], half-open connections are bounded in [`crate::net::accept`].

use std::{collections::HashMap, time::Duration};

use super::id::TorrentId;
use crate::{
    base::{time::Instant, units::ByteRate},
    torrent::{Demand, Lease},
};

/// A slot that carries less serves nobody well: a block would take seconds.
const LEAST_SLOT_RATE: u64 = 8 << 10;
/// Slots of the thinnest uplink: some for those who give most, one to look around.
const LEAST_SLOTS: u32 = 4;
/// A torrent has a slot whenever there is one for every second torrent; else torrents take turns.
const TORRENTS_PER_SLOT: u32 = 2;
/// How long a torrent keeps its slots before others have their turn.
const TURN: Duration = Duration::from_secs(30);
/// What the measured uplink keeps of its last value each second that all of it is used.
const MEMORY: f64 = 0.9;
/// Connections are kept free for newcomers, one in so many.
const FREE: u32 = 16;
/// Connections of a torrent among very many: with fewer it would hardly be in its swarm.
const FEWEST: u32 = 4;

/// What the torrents of a session send, together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Uplink {
    /// Sent in the last second.
    pub(super) rate: ByteRate,
    /// The limit set by the user.
    pub(super) limit: Option<ByteRate>,
}

/// Divides what there is.
#[derive(Debug)]
pub(super) struct Leases {
    connections: u32,
    /// The uplink in bytes per second, once it was seen to be full.
    measured: Option<f64>,
    /// When each torrent last got slots, while they take turns.
    served: HashMap<TorrentId, Instant>,
    /// When the present turn ends.
    turn_ends: Instant,
    /// Some lease is in force.
    binding: bool,
}

impl Leases {
    /// There are so many connections.
    pub(super) fn new(connections: u32) -> Self {
        let (served, turn_ends) = (HashMap::new(), Instant::ZERO);
        Leases { connections, measured: None, served, turn_ends, binding: false }
    }

    /// A lease for each torrent, or none at all if those of the last time are still right: nobody was
    /// bound, and nobody needs to be.
    pub(super) fn divide(
        &mut self,
        now: Instant,
        uplink: Uplink,
        demands: &[(TorrentId, Demand)],
    ) -> Vec<(TorrentId, Lease)> {
        self.measure(uplink.rate, demands);
        let slots = self.divide_slots(now, uplink.limit, demands);
        let peers = self.divide_connections(demands);
        let was_binding = std::mem::replace(&mut self.binding, slots.is_some() || peers.is_some());
        if !was_binding && !self.binding {
            return Vec::new();
        }
        let lease = |i| Lease { slots: slots.as_ref().map(|shares| shares[i]), peers };
        demands.iter().enumerate().map(|(i, &(id, _))| (id, lease(i))).collect()
    }

    /// The uplink is full when everybody whom we serve waits for more.
    fn measure(&mut self, rate: ByteRate, demands: &[(TorrentId, Demand)]) {
        let unchoked: u32 = demands.iter().map(|(_, d)| d.unchoked).sum();
        let waiting: u32 = demands.iter().map(|(_, d)| d.waiting).sum();
        let rate = rate.0 as f64;
        match self.measured {
            _ if unchoked == 0 => {}
            None if waiting == unchoked => self.measured = Some(rate),
            Some(known) if waiting == unchoked || rate > known => {
                self.measured = Some(known.mul_add(MEMORY, rate * (1.0 - MEMORY)).max(rate));
            }
            _ => {}
        }
    }

    /// `None` if there are enough for everybody who wants one, or nothing is known of the uplink.
    fn divide_slots(
        &mut self,
        now: Instant,
        limit: Option<ByteRate>,
        demands: &[(TorrentId, Demand)],
    ) -> Option<Vec<u32>> {
        let measured = self.measured.map(|rate| rate as u64);
        let uplink = [limit.map(|limit| limit.0), measured].into_iter().flatten().min()?;
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
        level(all, &wants).into_iter().max().map(|most| most.max(FEWEST))
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

    fn limited(kib: u64) -> Uplink {
        Uplink { rate: ByteRate(kib << 10), limit: Some(ByteRate(kib << 10)) }
    }

    fn slots(leases: &[(TorrentId, Lease)]) -> Vec<u32> {
        leases.iter().map(|(_, lease)| lease.slots.unwrap_or(u32::MAX)).collect()
    }

    const NOW: Instant = Instant::ZERO;

    #[test]
    fn a_torrent_alone_takes_what_it_likes() {
        let mut leases = Leases::new(500);
        for alone in [&[50][..], &[50, 0, 0]] {
            assert_eq!(leases.divide(NOW, limited(1), &demands(alone)), []);
        }
        let fast = Uplink { rate: ByteRate(1 << 30), limit: None };
        let mut leases = Leases::new(500);
        assert_eq!(leases.divide(NOW, fast, &demands(&[50; 10])), [], "as do all on a wide uplink");
    }

    #[test]
    fn a_thin_uplink_has_few_slots_and_each_torrent_some() {
        let mut leases = Leases::new(500);
        let ten = demands(&[8; 10]);
        assert_eq!(slots(&leases.divide(NOW, limited(160), &ten)), [2; 10]);
        // Below one for each there is one for each.
        assert_eq!(slots(&leases.divide(NOW, limited(50), &ten)), [1; 10]);
        // Who wants less leaves it to the others.
        let uneven = demands(&[1, 0, 30, 30]);
        assert_eq!(slots(&leases.divide(NOW, limited(72), &uneven)), [1, 0, 4, 4]);
        // When there is enough for all again, all are told.
        assert_eq!(slots(&leases.divide(NOW, limited(9_999), &ten)), [u32::MAX; 10]);
        assert_eq!(leases.divide(NOW, limited(9_999), &ten), []);
    }

    #[test]
    fn more_torrents_than_the_uplink_carries_take_turns() {
        let mut leases = Leases::new(500);
        let many = demands(&[3; 20]);
        let mut times = vec![0; 20];
        for second in 0..300 {
            let now = NOW + Duration::from_secs(second);
            let shares = slots(&leases.divide(now, limited(1), &many));
            assert_eq!(shares.iter().sum::<u32>(), 4);
            times.iter_mut().zip(&shares).for_each(|(time, share)| *time += share);
        }
        assert_eq!(times, [60; 20], "each had two turns of 30 s");
    }

    #[test]
    fn the_uplink_is_measured_when_it_is_full() {
        let mut leases = Leases::new(500);
        let full = demands(&[8; 10]);
        let idle: Vec<_> = full.iter().map(|&(id, d)| (id, Demand { waiting: 0, ..d })).collect();
        let rate = |kib: u64| Uplink { rate: ByteRate(kib << 10), limit: None };
        assert_eq!(leases.divide(NOW, rate(10), &idle), [], "nobody waits: it may carry more");
        assert_eq!(slots(&leases.divide(NOW, rate(160), &full)), [2; 10]);
        assert_eq!(slots(&leases.divide(NOW, rate(80), &idle)), [2; 10], "less was asked for");
        for _ in 0..50 {
            leases.divide(NOW, rate(80), &full);
        }
        assert_eq!(slots(&leases.divide(NOW, rate(80), &full)), [1; 10], "it has become thinner");
        assert_eq!(slots(&leases.divide(NOW, rate(320), &idle)), [4; 10], "and wider");
    }

    #[test]
    fn connections_are_divided_when_they_run_short() {
        let mut leases = Leases::new(160);
        let wide = Uplink { rate: ByteRate(0), limit: None };
        let of = |peers: &[u32]| -> Vec<(TorrentId, Demand)> {
            let demand = |(id, &peers): (usize, &u32)| {
                (TorrentId(id as u64), Demand { peers, ..Demand::default() })
            };
            peers.iter().enumerate().map(demand).collect()
        };
        let mut go = |peers: &[u32]| -> Vec<Option<u32>> {
            leases.divide(NOW, wide, &of(peers)).iter().map(|(_, lease)| lease.peers).collect()
        };
        assert_eq!(go(&[100, 50]), []);
        assert_eq!(go(&[200, 200, 10, 0]), [Some(70); 4], "who wants few may still have more");
        assert_eq!(go(&[100, 50]), [None, None]);
        assert_eq!(go(&[500]), [], "alone it meets the limit by itself");
        assert_eq!(go(&[9; 100]), [Some(FEWEST); 100]);
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
