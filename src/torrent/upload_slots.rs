//! How many peers to unchoke at once: as many as fill the uplink, and no more.
//!
//! Few slots are better than many as long as they fill it: pieces are passed on sooner, and those who
//! give get more. Whether it is full nobody says, so we try: now and then some slots more are opened
//! for a while, and kept if that makes what we send grow with them; or some fewer, and kept if it does
//! not shrink.
//! If the peers were slow it does, if the uplink is full it does not. Whose the slots are is in `choker`.

use std::time::Duration;

use crate::base::time::Instant;

/// Slots to begin with, the optimistic one included.
const USUAL: u32 = 4;
/// Slots of one torrent on the thinnest uplink: for who gives most, and to look around.
const FEWEST: u32 = 2;
/// Slots at most.
const MOST: u32 = 64;
/// Bytes per second below which a slot of a full uplink serves nobody: a block takes seconds.
const THIN: u64 = 4 << 10;
/// Over which what is sent is measured, with the slots there are or in a trial: as long as a peer keeps
/// its slot when peers take turns, because each begins slowly.
const WINDOW: Duration = Duration::from_secs(10);
/// Before the first trial, and between one that changed nothing and the next; doubles with each further
/// time.
const FIRST_REST: Duration = Duration::from_secs(30);
/// Longest time between trials.
const LONGEST_REST: Duration = Duration::from_secs(480);

/// What is seen of the uplink.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Use {
    /// Payload bytes sent since the beginning.
    pub(super) sent: u64,
    /// Peers that want something.
    pub(super) interested: u32,
    /// Those among them that may have it.
    pub(super) unchoked: u32,
    /// Those whose requests wait.
    pub(super) waiting: u32,
}

/// More slots than before, or fewer, for one window.
#[derive(Debug, Clone, Copy)]
struct Trial {
    slots_before: u32,
    /// Bytes per second.
    rate_before: u64,
}

/// The number of slots, and how it is found.
#[derive(Debug)]
pub(super) struct UploadSlots {
    /// The user's number.
    fixed: Option<u32>,
    slots: u32,
    /// The last number that was seen to be of use.
    proven: u32,
    /// Not more than so many.
    lease: u32,
    /// When the window began, and what was sent before.
    window: (Instant, u64),
    trial: Option<Trial>,
    /// No trial before.
    rests_until: Instant,
    rest: Duration,
}

impl UploadSlots {
    /// `fixed` slots, or as many as fill the uplink.
    pub(super) fn new(fixed: Option<u32>, now: Instant) -> Self {
        UploadSlots {
            fixed,
            slots: fixed.unwrap_or(USUAL).max(1),
            proven: FEWEST,
            lease: u32::MAX,
            window: (now, 0),
            trial: None,
            // A young swarm has other worries, and a short one is over by then.
            rests_until: now + FIRST_REST,
            rest: FIRST_REST,
        }
    }

    /// No more than so many from now on; `None` is as many as are of use.
    pub(super) fn lease(&mut self, slots: Option<u32>) {
        self.lease = slots.unwrap_or(u32::MAX);
    }

    /// How many peers may be unchoked.
    pub(super) fn count(&self) -> usize {
        self.slots.min(self.lease) as usize
    }

    /// How many may stay unchoked until the next round, although there may be fewer slots now.
    pub(super) fn may_stay(&self) -> usize {
        if self.trial.is_some() { self.count() } else { self.lease as usize }
    }

    /// Once a second: adapts the number.
    pub(super) fn adapt(&mut self, now: Instant, seen: Use) {
        // What the lease forbids says nothing about the uplink.
        if self.fixed.is_some() || self.lease < self.slots {
            if let Some(trial) = self.trial.take() {
                self.slots = trial.slots_before;
            }
            self.window = (now, seen.sent);
            return;
        }
        let all_taken = seen.interested > seen.unchoked && seen.unchoked >= self.slots;
        let all_wait = seen.unchoked > 0 && seen.waiting == seen.unchoked;
        let (since, sent_before) = self.window;
        if now.since(since) >= WINDOW {
            let rate = ((seen.sent - sent_before) as f64 / now.since(since).as_secs_f64()) as u64;
            self.window = (now, seen.sent);
            self.window_ended(now, rate, all_taken);
        } else if self.trial.is_none() && all_taken && seen.waiting == 0 {
            self.slots = (self.slots + 1).min(MOST);
        } else if self.trial.is_none() && all_wait {
            let rate = (seen.sent - sent_before) / now.since(since).as_secs().max(1);
            let thin = rate / u64::from(seen.unchoked) < THIN && now.since(since) > WINDOW / 2;
            let least = self.proven.max(if thin { FEWEST } else { USUAL });
            if self.slots > least && seen.unchoked > least {
                self.slots -= 1;
            }
        }
    }

    /// What was sent in it may end a trial, and begin one: of more slots, or else of fewer.
    fn window_ended(&mut self, now: Instant, rate: u64, all_taken: bool) {
        let last = self.trial.take();
        let mut more = all_taken && self.slots < MOST;
        if let Some(trial) = last {
            let more_was_tried = self.slots > trial.slots_before;
            if trial.is_good(self.slots, rate) {
                self.proven = self.slots;
                self.rest = FIRST_REST;
                more &= more_was_tried;
            } else {
                self.slots = trial.slots_before;
                more = false;
                if !more_was_tried {
                    return self.rest(now);
                }
            }
        } else if now < self.rests_until {
            return;
        }
        let slots = if more { self.slots + (self.slots / 2).max(1) } else { self.slots * 3 / 4 };
        let slots = slots.clamp(USUAL.min(self.slots), MOST);
        if slots == self.slots {
            if last.is_some() {
                self.rest(now);
            }
            return;
        }
        self.trial = Some(Trial { slots_before: self.slots, rate_before: rate });
        self.slots = slots;
    }

    fn rest(&mut self, now: Instant) {
        self.rests_until = now + self.rest;
        self.rest = (self.rest * 2).min(LONGEST_REST);
    }
}

impl Trial {
    /// Whether the number tried is better: more have brought at least half of what they would on a wide
    /// uplink, or fewer have lost less than that.
    fn is_good(&self, slots: u32, rate: u64) -> bool {
        let (before, after) = (u128::from(self.slots_before), u128::from(slots));
        rate > 0 && u128::from(rate) * 2 * before >= u128::from(self.rate_before) * (before + after)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Slots after so many seconds with 50 interested peers, each of which takes `each` bytes per second
    /// of an uplink of `uplink`.
    fn settle(slots: &mut UploadSlots, from: u64, secs: u64, uplink: u64, each: u64) -> u32 {
        let mut sent = slots.window.1;
        for second in from..from + secs {
            let now = Instant::ZERO + Duration::from_secs(second);
            let unchoked = 50.min(slots.count() as u32);
            slots.adapt(now, Use { sent, interested: 50, unchoked, waiting: unchoked });
            sent += uplink.min(each * u64::from(unchoked));
        }
        slots.slots
    }

    fn new() -> UploadSlots {
        UploadSlots::new(None, Instant::ZERO)
    }

    #[test]
    fn a_full_uplink_keeps_the_usual_number() {
        let mut slots = new();
        let mut time = 0;
        for second in 0..3_600 {
            let now = settle(&mut slots, second, 1, 850_000, 850_000);
            time += u64::from(now > USUAL);
        }
        assert!(time < 3_600 / 20, "{time} s of an hour were spent on trials");
    }

    #[test]
    fn slow_peers_get_as_many_as_fill_the_uplink() {
        let mut slots = new();
        let many = settle(&mut slots, 0, 100, 8_000_000, 100_000);
        assert!(many >= 40, "{many}");
        // The peers have become fast: fewer will do, by and by.
        let few = settle(&mut slots, 100, 7_200, 8_000_000, 8_000_000);
        assert!(few <= 6, "{few}");
    }

    #[test]
    fn a_thin_uplink_has_two() {
        assert_eq!(settle(&mut new(), 0, 30, 5_000, 5_000), FEWEST);
        // But peers that are as slow as that each get one.
        assert!(settle(&mut new(), 0, 120, 1_000_000, 2_000) > 20);
    }

    #[test]
    fn what_peers_do_not_use_is_given_to_more() {
        let mut slots = new();
        let now = Instant::ZERO;
        for unchoked in USUAL..20 {
            let seen = Use { sent: 0, interested: 50, unchoked, waiting: 0 };
            slots.adapt(now, seen);
        }
        assert_eq!(slots.slots, 20);
    }

    #[test]
    fn a_lease_is_kept_and_teaches_nothing() {
        let mut slots = new();
        slots.lease(Some(2));
        assert_eq!(slots.count(), 2);
        settle(&mut slots, 0, 100, 8_000_000, 100);
        slots.lease(None);
        assert_eq!(slots.count() as u32, USUAL);
    }
}
