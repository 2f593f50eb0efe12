//! When a gateway is asked for our mappings again.
//!
//! Half-way through what it granted, and often enough to notice that it has begun anew and forgotten them;
//! while it says nothing, or no, with pauses that grow.

use std::time::Duration;

use crate::base::time::Instant;

/// A gateway that has begun anew lets nobody in for so long at most.
const LONGEST: Duration = Duration::from_secs(15 * 60);
/// What is granted for less is asked for no more often.
const SHORTEST: Duration = Duration::from_secs(60);
/// Before it is asked again after nothing came of it; doubles up to [`LONGEST`].
const FIRST_PAUSE: Duration = Duration::from_secs(10);

/// The times of one set of mappings.
#[derive(Debug)]
pub struct Upkeep {
    due: Instant,
    lapses: Option<Instant>,
    pause: Duration,
}

impl Upkeep {
    /// Nothing is mapped, and it is time to ask.
    pub const fn new(now: Instant) -> Self {
        Upkeep { due: now, lapses: None, pause: FIRST_PAUSE }
    }

    /// When to ask.
    pub const fn poll_timeout(&self) -> Instant {
        self.due
    }

    /// It is time to ask, whatever was before: there may be another gateway.
    pub const fn again(&mut self, now: Instant) {
        (self.due, self.pause) = (now, FIRST_PAUSE);
    }

    /// The mappings were granted for `lifetime`.
    pub fn granted(&mut self, now: Instant, lifetime: Duration) {
        let lifetime = lifetime.max(SHORTEST);
        self.lapses = Some(now + lifetime);
        self.due = now + (lifetime / 2).clamp(SHORTEST / 2, LONGEST);
        self.pause = FIRST_PAUSE;
    }

    /// Nothing came of it. True if nothing is mapped any more.
    pub fn failed(&mut self, now: Instant) -> bool {
        self.due = now + self.pause;
        self.pause = (self.pause * 2).min(LONGEST);
        match self.lapses {
            Some(lapses) if lapses <= now => self.lapses = None,
            // Whoever was told of it hears of the end in time.
            Some(lapses) => self.due = self.due.min(lapses),
            None => {}
        }
        self.lapses.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(secs)
    }

    #[test]
    fn a_mapping_is_renewed_long_before_it_lapses() {
        let mut upkeep = Upkeep::new(at(0));
        assert_eq!(upkeep.poll_timeout(), at(0));
        for (lifetime, pause) in [(3_600, 900), (u64::from(u32::MAX), 900), (600, 300), (1, 30)] {
            upkeep.granted(at(0), Duration::from_secs(lifetime));
            assert_eq!(upkeep.poll_timeout(), at(pause), "granted for {lifetime} s");
        }
    }

    #[test]
    fn it_is_held_until_it_lapses_though_the_gateway_is_silent() {
        let mut upkeep = Upkeep::new(at(0));
        upkeep.granted(at(0), Duration::from_secs(600));
        let mut gone = None;
        while gone.is_none() {
            let now = upkeep.poll_timeout();
            gone = upkeep.failed(now).then_some(now);
        }
        assert_eq!(gone, Some(at(600)), "300, 310, 330, 370, 450, 600");
        upkeep.granted(at(700), Duration::from_secs(600));
        assert!(!upkeep.failed(at(1_000)));
        assert_eq!(upkeep.poll_timeout(), at(1_010), "patience begins anew");
    }

    #[test]
    fn where_there_is_no_gateway_pauses_grow() {
        let (mut upkeep, mut now) = (Upkeep::new(at(0)), at(0));
        let mut pauses = Vec::new();
        for _ in 0..9 {
            assert!(upkeep.failed(now));
            pauses.push(upkeep.poll_timeout().since(now).as_secs());
            now = upkeep.poll_timeout();
        }
        assert_eq!(pauses, [10, 20, 40, 80, 160, 320, 640, 900, 900]);
    }
}
