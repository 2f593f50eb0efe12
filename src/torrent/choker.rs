//! Whom we unchoke: a pure choice over candidates, told apart by what they give or pass on.
//!
//! Leeching: tit for tat, the best givers first, one optimistic slot that changes every 30 s, or after 20 s if
//! nothing came back. Seeding: peers take turns, whoever waited longest first; before the others come those
//! who gave us something while we had not everything, and after them those who keep what they get to
//! themselves. Who passes on *most* must not come first: the seeder would feed a few hubs, and their uplinks
//! would be the swarm's. A turn lasts until the next round. Free slots are filled at once, rounds every 10 s
//! only reorder. How many slots there are is found in `upload_slots`; applying what is chosen here is in
//! `choking`.

use std::time::Duration;

use super::upload_slots::{UploadSlots, Use};
use crate::base::{id::PeerKey, rng::Rng, time::Instant};

/// Time between reorderings (BEP 3, *choking*).
pub(super) const ROUND: Duration = Duration::from_secs(10);
/// Rounds an optimistic unchoke lasts.
const OPTIMISTIC_ROUNDS: u32 = 3;
/// Of somebody who has given nothing back by then.
const SELFISH_ROUNDS: u32 = 2;

/// What the choker sees of one interested peer.
#[derive(Debug, Clone)]
pub(super) struct Candidate {
    pub(super) key: PeerKey,
    /// It is unchoked now.
    pub(super) unchoked: bool,
    /// When it was last unchoked; `None` if never.
    pub(super) unchoked_at: Option<Instant>,
    /// Payload from it, bytes per second.
    pub(super) gives: u64,
    /// It got pieces from us and hardly any of them have been seen elsewhere since.
    pub(super) keeps: bool,
    /// It got pieces from us and gave next to nothing for them.
    pub(super) takes: bool,
    /// It has given us a piece or more.
    pub(super) gave: bool,
    /// It does not answer our requests.
    pub(super) snubbed: bool,
    /// Requests of it wait here.
    pub(super) waits: bool,
}

/// The state between choices.
#[derive(Debug)]
pub(super) struct Choker {
    pub(super) slots: UploadSlots,
    optimistic: Option<PeerKey>,
    /// Rounds for which it has been that.
    rounds: u32,
    next_round: Instant,
}

/// A change to make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    Choke(PeerKey),
    Unchoke(PeerKey),
}

impl Choker {
    /// `fixed` slots, or as many as fill the uplink.
    pub(super) fn new(fixed: Option<u32>, now: Instant) -> Self {
        let slots = UploadSlots::new(fixed, now);
        Choker { slots, optimistic: None, rounds: 0, next_round: now + ROUND }
    }

    pub(super) fn forget(&mut self, key: PeerKey) {
        self.optimistic = self.optimistic.filter(|&k| k != key);
    }

    pub(super) fn is_round_due(&self, now: Instant) -> bool {
        self.next_round <= now
    }

    /// Once a second: adapts the number of slots to what has been `sent`, payload bytes in all.
    pub(super) fn adapt(&mut self, now: Instant, sent: u64, candidates: &[Candidate]) {
        let (mut unchoked, mut waiting) = (0, 0);
        for candidate in candidates.iter().filter(|c| c.unchoked) {
            unchoked += 1;
            waiting += u32::from(candidate.waits);
        }
        self.slots.adapt(now, Use { sent, interested: candidates.len() as u32, unchoked, waiting });
    }

    /// Fills free slots, or frees those that a lease or a trial no longer allows.
    pub(super) fn fill(
        &mut self,
        seeding: bool,
        candidates: &[Candidate],
        rng: &mut Rng,
    ) -> Vec<Change> {
        let taken = candidates.iter().filter(|c| c.unchoked).count();
        let beyond = taken.saturating_sub(self.slots.may_stay());
        let free = self.slots.count().saturating_sub(taken);
        if free == 0 && beyond == 0 {
            return Vec::new();
        }
        let mut ranked: Vec<&Candidate> =
            candidates.iter().filter(|c| c.unchoked == (beyond > 0)).collect();
        // Equals in random order: the sort is stable.
        rng.shuffle(&mut ranked);
        ranked.sort_by(|a, b| rank(seeding, b, a));
        if beyond > 0 {
            return ranked.into_iter().rev().take(beyond).map(|c| Change::Choke(c.key)).collect();
        }
        ranked.into_iter().take(free).map(|c| Change::Unchoke(c.key)).collect()
    }

    /// The round of every ten seconds: the slots go to the best.
    pub(super) fn round(
        &mut self,
        now: Instant,
        seeding: bool,
        candidates: &[Candidate],
        rng: &mut Rng,
    ) -> Vec<Change> {
        self.next_round = now + ROUND;
        let selfish = |c: &Candidate| if seeding { c.keeps } else { c.takes };

        let mut best: Vec<&Candidate> = candidates.iter().collect();
        rng.shuffle(&mut best);
        best.sort_by(|a, b| rank(seeding, b, a));
        let most = |c: &Candidate| if selfish(c) { SELFISH_ROUNDS } else { OPTIMISTIC_ROUNDS };
        let stays = |c: &Candidate| self.rounds < most(c);
        let optimist =
            self.optimistic.filter(|k| candidates.iter().any(|c| c.key == *k && stays(c)));
        // With room for everybody nobody is an optimist.
        let slots = self.slots.count();
        let crowded = best.len() > slots && slots > 0;
        let regular = if crowded { slots - 1 } else { slots };
        let mut chosen: Vec<PeerKey> = best.iter().take(regular).map(|c| c.key).collect();
        if crowded {
            let rest: Vec<PeerKey> = best.iter().skip(regular).map(|c| c.key).collect();
            let lucky = match optimist {
                Some(k) if rest.contains(&k) => {
                    self.rounds += 1;
                    k
                }
                _ => {
                    self.rounds = 1;
                    // Who keeps all to itself has it only if it is drawn twice.
                    let draw = |rng: &mut Rng| best[regular + rng.index(best.len() - regular)];
                    let drawn = draw(rng);
                    if selfish(drawn) { draw(rng).key } else { drawn.key }
                }
            };
            self.optimistic = Some(lucky);
            chosen.push(lucky);
        }
        candidates
            .iter()
            .filter_map(|c| match (c.unchoked, chosen.contains(&c.key)) {
                (true, false) => Some(Change::Choke(c.key)),
                (false, true) => Some(Change::Unchoke(c.key)),
                _ => None,
            })
            .collect()
    }
}

/// Who deserves a slot more.
fn rank(seeding: bool, a: &Candidate, b: &Candidate) -> std::cmp::Ordering {
    let honest = (!a.snubbed).cmp(&!b.snubbed);
    if seeding {
        // Whoever has a slot waits for nothing; else who waited longest has the smallest time, and
        // never served is the smallest of all.
        let waited = b.unchoked.cmp(&a.unchoked).then_with(|| b.unchoked_at.cmp(&a.unchoked_at));
        b.keeps.cmp(&a.keeps).then(a.gave.cmp(&b.gave)).then(waited)
    } else {
        honest.then(a.gives.cmp(&b.gives))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(slot: u32) -> PeerKey {
        PeerKey { slot, generation: 0 }
    }

    fn peers(n: u32) -> Vec<Candidate> {
        (0..n)
            .map(|slot| Candidate {
                key: key(slot),
                unchoked: false,
                unchoked_at: None,
                gives: u64::from(slot) * 1000,
                keeps: false,
                takes: false,
                gave: false,
                snubbed: false,
                waits: true,
            })
            .collect()
    }

    fn apply(peers: &mut [Candidate], now: Instant, changes: &[Change]) {
        for change in changes {
            let (k, on) = match *change {
                Change::Choke(k) => (k, false),
                Change::Unchoke(k) => (k, true),
            };
            let peer = peers.iter_mut().find(|c| c.key == k).expect("a candidate");
            peer.unchoked = on;
            if on {
                peer.unchoked_at = Some(now);
            }
        }
    }

    #[test]
    fn a_lease_is_kept() {
        let (mut rng, now) = (Rng::new(1), Instant::ZERO);
        let mut choker = Choker::new(None, now);
        let mut all = peers(10);
        let unchoked = |all: &[Candidate]| all.iter().filter(|c| c.unchoked).count();
        let changes = choker.fill(false, &all, &mut rng);
        apply(&mut all, now, &changes);
        assert_eq!(unchoked(&all), 4);
        for (lease, left) in [(Some(2), 2), (Some(0), 0), (Some(1), 1), (None, 4)] {
            choker.slots.lease(lease);
            choker.adapt(now, 0, &all);
            let changes = choker.fill(false, &all, &mut rng);
            apply(&mut all, now, &changes);
            assert_eq!(unchoked(&all), left, "{lease:?}");
            let changes = choker.round(now, false, &all, &mut rng);
            apply(&mut all, now, &changes);
            assert_eq!(unchoked(&all), left, "{lease:?}");
        }
        assert_eq!(unchoked(&all), 4, "it learnt nothing from the lease");
    }

    #[test]
    fn leeching_best_givers_and_one_optimist() {
        let (mut rng, mut now) = (Rng::new(1), Instant::ZERO);
        let mut choker = Choker::new(Some(4), now);
        let mut all = peers(10);
        let mut lucky = std::collections::BTreeSet::new();
        for _ in 0..60 {
            let changes = choker.round(now, false, &all, &mut rng);
            apply(&mut all, now, &changes);
            let on: Vec<u32> = all.iter().filter(|c| c.unchoked).map(|c| c.key.slot).collect();
            assert_eq!(on.len(), 4);
            assert!([7, 8, 9].iter().all(|s| on.contains(s)), "{on:?}");
            lucky.extend(on.into_iter().filter(|&s| s < 7));
            now += ROUND;
        }
        assert_eq!(lucky.len(), 7, "every peer gets its chance: {lucky:?}");
    }

    #[test]
    fn seeding_takes_turns_and_prefers_who_passes_on() {
        let (mut rng, mut now) = (Rng::new(1), Instant::ZERO);
        let mut choker = Choker::new(Some(4), now);
        let mut all = peers(12);
        all[..4].iter_mut().for_each(|c| c.keeps = true);
        let mut turns = [0u32; 12];
        for _ in 0..400 {
            let changes = choker.round(now, true, &all, &mut rng);
            apply(&mut all, now, &changes);
            all.iter().filter(|c| c.unchoked).for_each(|c| turns[c.key.slot as usize] += 1);
            now += ROUND;
        }
        let (keep, pass) = turns.split_at(4);
        assert!(keep.iter().all(|&t| t > 0), "everyone may prove itself: {turns:?}");
        assert!(pass.iter().min() > keep.iter().max(), "{turns:?}");
        assert!(
            pass.iter().max() < pass.iter().min().map(|t| t * 2).as_ref(),
            "no favourites: {turns:?}"
        );
    }

    #[test]
    fn a_free_slot_is_filled_at_once_and_slots_follow_the_uplink() {
        let mut rng = Rng::new(1);
        let mut choker = Choker::new(None, Instant::ZERO);
        let mut all = peers(10);
        let changes = choker.fill(false, &all, &mut rng);
        assert_eq!(changes.len(), 4);
        apply(&mut all, Instant::ZERO, &changes);
        assert!(choker.fill(false, &all, &mut rng).is_empty());
        all.iter_mut().for_each(|c| c.waits = false);
        choker.adapt(Instant::ZERO, 0, &all);
        assert_eq!(choker.fill(false, &all, &mut rng).len(), 1);
    }
}
