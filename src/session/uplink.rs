//! How much the uplink carries, as far as it can be seen from what is sent over it.
//!
//! It may be full when everybody whom we serve waits for more; but so do peers that are slow themselves.
//! So what is sent then is taken for what it carries, and doubted now and then: with as many peers
//! served as there could be for a while, more is sent if it was the peers. What follows from it is
//! decided in [`super::leases`].

use std::time::Duration;

use crate::base::time::Instant;

/// Everybody must have waited for so many seconds: rates need that long to grow.
const FULL_FOR: u32 = 10;
/// How long a doubt lasts.
const TRIAL: Duration = Duration::from_secs(12);
/// Until the first doubt, and between later ones; doubles each time that it was the uplink.
const FIRST_REST: Duration = Duration::from_secs(60);
/// Longest time between doubts.
const LONGEST_REST: Duration = Duration::from_secs(960);
/// When it was the peers, so long nothing is taken for the uplink.
const FREE: Duration = Duration::from_secs(600);
/// What the average of the last seconds keeps each second.
const MEMORY: f64 = 0.8;

/// What is seen of all torrents in one second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Sending {
    /// Bytes sent.
    pub(super) rate: u64,
    /// Peers that may have what they want.
    pub(super) unchoked: u32,
    /// Those of them that wait for it.
    pub(super) waiting: u32,
}

/// Known or not, the uplink is left to itself for a while.
#[derive(Debug, Clone, Copy)]
struct Trial {
    ends: Instant,
    /// What was sent before, and to how many.
    rate: f64,
    unchoked: u32,
}

/// What is known of the uplink.
#[derive(Debug)]
pub(super) struct Uplink {
    /// Bytes per second, averaged over some seconds.
    recent: f64,
    full_for: u32,
    /// What it carries.
    known: Option<f64>,
    /// Peers served when that was seen.
    with: u32,
    trial: Option<Trial>,
    next_trial: Instant,
    rest: Duration,
}

impl Uplink {
    pub(super) const fn new() -> Self {
        Uplink {
            recent: 0.0,
            full_for: 0,
            known: None,
            with: 0,
            trial: None,
            next_trial: Instant::ZERO,
            rest: FIRST_REST,
        }
    }

    /// Bytes per second that it carries; `None` as long as that is not known, or in doubt.
    pub(super) fn carries(&self) -> Option<u64> {
        self.known.filter(|_| self.trial.is_none()).map(|rate| rate as u64)
    }

    /// Once a second.
    pub(super) fn see(&mut self, now: Instant, sending: Sending) {
        let Sending { rate, unchoked, waiting } = sending;
        self.recent = self.recent.mul_add(MEMORY, rate as f64 * (1.0 - MEMORY));
        let full = unchoked > 0 && waiting == unchoked && rate > 0;
        self.full_for = if full { self.full_for + 1 } else { 0 };
        match (self.known, self.trial) {
            (_, Some(trial)) if now >= trial.ends => self.judge(now, trial, unchoked),
            (_, Some(_)) => {}
            (None, None) if self.full_for >= FULL_FOR && now >= self.next_trial => {
                self.learn(now, unchoked);
            }
            (Some(known), None) => {
                // Fewer peers than then may simply take less.
                let shrank = self.full_for >= FULL_FOR && unchoked >= self.with;
                if self.recent > known || shrank {
                    self.known = Some(self.recent);
                    self.with = unchoked;
                } else if now >= self.next_trial {
                    self.trial = Some(Trial { ends: now + TRIAL, rate: self.recent, unchoked });
                }
            }
            (None, None) => {}
        }
    }

    fn learn(&mut self, now: Instant, unchoked: u32) {
        (self.known, self.with) = (Some(self.recent), unchoked);
        (self.rest, self.next_trial) = (FIRST_REST, now + FIRST_REST);
    }

    /// It was the peers if with more of them at least half as much more was sent.
    fn judge(&mut self, now: Instant, trial: Trial, unchoked: u32) {
        self.trial = None;
        let (before, after) = (f64::from(trial.unchoked.max(1)), f64::from(unchoked));
        if after > before && self.recent * 2.0 * before >= trial.rate * (before + after) {
            self.known = None;
            self.next_trial = now + FREE;
        } else {
            self.rest = (self.rest * 2).min(LONGEST_REST);
            self.next_trial = now + self.rest;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seconds in which something was known, of so many; `each` is what a peer takes, of 80 if nothing
    /// is known, else of one for each 8 KiB.
    fn known_for(uplink: &mut Uplink, secs: u64, carries: u64, each: u64) -> u64 {
        let mut known = 0;
        for second in 0..secs {
            let unchoked = uplink
                .carries()
                .map_or(80, |rate| u32::try_from(rate >> 13).unwrap_or(80).clamp(4, 80));
            let rate = carries.min(u64::from(unchoked) * each);
            let now = Instant::ZERO + Duration::from_secs(second);
            uplink.see(now, Sending { rate, unchoked, waiting: unchoked });
            known += u64::from(uplink.carries().is_some());
        }
        known
    }

    #[test]
    fn a_full_uplink_is_known_nearly_always() {
        let mut uplink = Uplink::new();
        assert!(known_for(&mut uplink, 7_200, 100_000, 100_000) > 7_000);
        assert!(uplink.carries().is_some_and(|rate| (90_000..=100_000).contains(&rate)));
    }

    #[test]
    fn slow_peers_are_not_taken_for_it_for_long() {
        let known = known_for(&mut Uplink::new(), 7_200, 100_000_000, 3_000);
        assert!(known < 7_200 / 8, "{known} s");
    }

    #[test]
    fn it_may_become_thinner_and_wider() {
        let mut uplink = Uplink::new();
        known_for(&mut uplink, 100, 400_000, 400_000);
        let mut see = |rate, times| {
            for _ in 0..times {
                uplink.see(Instant::ZERO, Sending { rate, unchoked: 80, waiting: 80 });
            }
            uplink.carries().expect("known")
        };
        assert!(see(100_000, 60) < 110_000);
        assert!(see(800_000, 60) > 790_000);
    }

    #[test]
    fn who_does_not_wait_shows_nothing() {
        let mut uplink = Uplink::new();
        for second in 0..100 {
            let now = Instant::ZERO + Duration::from_secs(second);
            uplink.see(now, Sending { rate: 1_000, unchoked: 2, waiting: 1 });
        }
        assert_eq!(uplink.carries(), None);
    }
}
