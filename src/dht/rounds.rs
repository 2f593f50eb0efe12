//! When a torrent searches the DHT for peers, and announces itself there at the same time.
//!
//! Pure. Announces are good for half an hour (BEP 5), so they are repeated a little more often; a torrent
//! that needs peers searches again sooner, and soon while it finds hardly any.

use std::time::Duration;

use crate::base::time::Instant;

/// Between two searches of a torrent that has peers.
const USUAL: Duration = Duration::from_secs(15 * 60);
/// Between two searches of a torrent that needs peers.
const LEAST: Duration = Duration::from_secs(60);
/// Before a search is repeated that nobody answered, or that found hardly anybody; doubles up to [`LEAST`].
const RETRY: Duration = Duration::from_millis(500);
/// A search waits until some node is known. After so long it counts as one that nobody has answered so far.
pub const NO_ENTRANCE_AFTER: Duration = Duration::from_secs(8);
/// With fewer others a torrent that needs them has found hardly anybody: more have perhaps just come.
const FEW: usize = 3;

/// One search of a torrent.
#[derive(Debug, Clone, Copy)]
pub struct Round {
    /// Counted from 1.
    pub number: u32,
    /// The torrent waits for what is found.
    pub urgent: bool,
}

/// The searches of one torrent.
#[derive(Debug)]
pub struct Rounds {
    /// When the next one is due; `None` while one is under way or the torrent is stopped.
    next: Option<Instant>,
    running: bool,
    stopped: bool,
    /// It needs peers, and did when the last search ended.
    hungry: bool,
    round: Round,
    /// When the last one began, unless it found hardly anybody.
    last: Option<Instant>,
    /// No search before then if the last one found hardly anybody, or nobody answered.
    earliest: Instant,
    retry: Duration,
}

impl Rounds {
    /// A torrent that has not started.
    pub const fn idle() -> Self {
        let (next, last) = (None, None);
        Rounds {
            next,
            running: false,
            stopped: true,
            hungry: false,
            round: Round { number: 0, urgent: false },
            last,
            earliest: Instant::ZERO,
            retry: RETRY,
        }
    }

    /// When to call [`Rounds::take_due`].
    pub const fn poll_timeout(&self) -> Option<Instant> {
        self.next
    }

    /// The torrent runs.
    pub fn start(&mut self, now: Instant) {
        self.stopped = false;
        if !self.running {
            self.next = Some(now);
        }
    }

    /// The torrent does not run any more.
    pub fn stop(&mut self) {
        (self.stopped, self.running, self.next) = (true, false, None);
    }

    /// The torrent needs peers.
    pub fn need_peers(&mut self, now: Instant) {
        self.hungry = true;
        if let Some(next) = &mut self.next {
            let soonest = self.last.map_or(self.earliest, |last| last + LEAST);
            *next = soonest.max(now).min(*next);
        }
    }

    /// Whether a search is to begin now; it is under way then.
    pub fn take_due(&mut self, now: Instant) -> bool {
        let due = self.next.is_some_and(|at| at <= now);
        if due {
            self.round = Round { number: self.round.number + 1, urgent: self.hungry };
            (self.next, self.running, self.hungry) = (None, true, false);
            self.last = Some(now);
        }
        due
    }

    /// The search that was begun last.
    pub const fn round(&self) -> Round {
        self.round
    }

    /// A search has ended; so many nodes have answered, and named so many peers other than ourselves.
    pub fn ended(&mut self, now: Instant, round: u32, nodes: u32, others: usize) {
        // One from before a pause says nothing.
        if self.stopped || round != self.round.number {
            return;
        }
        self.running = false;
        let soonest = if nodes == 0 || others < FEW {
            self.last = None;
            let longer = (self.retry * 2).min(LEAST);
            std::mem::replace(&mut self.retry, longer)
        } else {
            self.retry = (self.retry / 2).max(RETRY);
            LEAST
        };
        let pause = if nodes == 0 || self.hungry { soonest } else { USUAL };
        self.next = Some(now + pause);
        self.earliest = now + soonest;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(secs)
    }

    #[test]
    fn it_searches_at_once_then_now_and_then() {
        let mut t = Rounds::idle();
        assert!(!t.take_due(at(0)), "not started");
        t.start(at(0));
        assert!(t.take_due(at(0)) && !t.take_due(at(0)));
        t.ended(at(3), t.round().number, 20, 5);
        assert_eq!(t.poll_timeout(), Some(at(3) + USUAL));
        t.need_peers(at(10));
        assert_eq!(t.poll_timeout(), Some(at(60)));
        assert!(t.take_due(at(60)));
        t.need_peers(at(61));
        t.ended(at(63), t.round().number, 20, 5);
        assert_eq!(t.poll_timeout(), Some(at(63) + LEAST));
        t.take_due(at(200));
        t.need_peers(at(201));
        t.ended(at(203), t.round().number, 20, 0);
        assert_eq!(t.poll_timeout(), Some(at(203) + RETRY), "it found nobody");
        t.take_due(at(204));
        t.ended(at(205), t.round().number, 20, 1);
        assert_eq!(t.poll_timeout(), Some(at(205) + USUAL));
        t.need_peers(at(206));
        assert_eq!(t.poll_timeout(), Some(at(206)), "it found hardly anybody");
    }

    #[test]
    fn while_nobody_answers_it_tries_again_ever_more_slowly() {
        let mut t = Rounds::idle();
        t.start(at(0));
        let mut now = at(0);
        let mut pauses = Vec::new();
        for _ in 0..9 {
            assert!(t.take_due(now));
            t.ended(now, t.round().number, 0, 0);
            let next = t.poll_timeout().expect("again");
            t.need_peers(now);
            assert_eq!(t.poll_timeout(), Some(next), "who is hungry waits too");
            pauses.push(next.since(now).as_millis());
            now = next;
        }
        assert_eq!(pauses, [500, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000]);
    }

    #[test]
    fn a_stopped_torrent_searches_no_more() {
        let mut t = Rounds::idle();
        t.start(at(0));
        assert!(t.take_due(at(0)));
        t.stop();
        t.ended(at(3), t.round().number, 20, 5);
        assert_eq!(t.poll_timeout(), None);
        t.need_peers(at(4));
        assert_eq!(t.poll_timeout(), None);
        let before = t.round().number;
        t.start(at(5));
        assert!(t.take_due(at(5)));
        t.ended(at(6), before, 20, 5);
        assert_eq!(t.poll_timeout(), None, "the new one is under way");
    }
}
