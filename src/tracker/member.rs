//! One tracker among those of a torrent: what it was told, what it said, and from when on it may be asked.
//!
//! Which of them is asked is decided in [`tiers`](super::tiers).

use std::{sync::Arc, time::Duration};

use super::{
    announce::{AnnounceReply, Event, Retry},
    tiers::{Ticket, Timing, TrackerState, TrackerStatus},
};
use crate::base::{rng::Rng, time::Instant};

/// First pause after a failure: a tracker that restarts is back by then.
const FIRST_RETRY: Duration = Duration::from_secs(10);
/// Longest pause after failures in a row.
pub(super) const LAST_RETRY: Duration = Duration::from_secs(30 * 60);
/// A tracker that names no least interval is asked by who needs peers no more often than this, or half of it while
/// it knows nobody.
const UNSAID: Duration = Duration::from_secs(5 * 60);

#[derive(Debug)]
pub(super) struct Tracker {
    pub(super) url: Arc<str>,
    pub(super) tier: usize,
    pub(super) line: usize,
    pub(super) in_flight: Option<(Ticket, Event)>,
    /// It took a `started` and no `stopped` since: it lists us.
    pub(super) registered: bool,
    /// It lists us as a leech and is to hear `completed`.
    pub(super) tell_completed: bool,
    pub(super) failures: u32,
    /// Not used before, after a failure.
    pub(super) retry_at: Instant,
    /// It has said itself when it may be tried again.
    says_when: bool,
    /// No regular announce before: last answer + min interval.
    pub(super) earliest: Instant,
    /// The same for what it has to know: as soon as it lets us.
    pub(super) soonest: Instant,
    pub(super) tracker_id: Option<Vec<u8>>,
    message: Option<String>,
    peers: usize,
    seeds: Option<u32>,
    leeches: Option<u32>,
    pub(super) answered: bool,
}

impl Tracker {
    pub(super) fn new(url: &str, tier: usize, line: usize) -> Self {
        Tracker {
            url: url.into(),
            tier,
            line,
            in_flight: None,
            registered: false,
            tell_completed: false,
            failures: 0,
            retry_at: Instant::ZERO,
            says_when: false,
            earliest: Instant::ZERO,
            soonest: Instant::ZERO,
            tracker_id: None,
            message: None,
            peers: 0,
            seeds: None,
            leeches: None,
            answered: false,
        }
    }

    /// The torrent starts: nothing of before counts.
    pub(super) fn start(&mut self) {
        self.registered = false;
        self.tell_completed = false;
        self.failures = 0;
        self.retry_at = Instant::ZERO;
    }

    pub(super) const fn next_event(&self) -> Event {
        match (self.registered, self.tell_completed) {
            (false, _) => Event::Started,
            (true, true) => Event::Completed,
            (true, false) => Event::None,
        }
    }

    /// What it hears now that the torrent stops: first that it became complete, if it is to hear that.
    pub(super) const fn last_event(&self) -> Event {
        if self.tell_completed { Event::Completed } else { Event::Stopped }
    }

    /// From when on it may be used. Nothing overtakes an announce that is still out.
    pub(super) fn open_at(&self) -> Instant {
        match self.next_event() {
            _ if self.in_flight.is_some() => Instant::FAR,
            Event::None => self.retry_at.max(self.earliest),
            _ => self.retry_at,
        }
    }

    /// It has answered what was told it as `event`. Gives when the next regular announce is due.
    pub(super) fn take_reply(
        &mut self,
        now: Instant,
        event: Event,
        reply: &AnnounceReply,
        Timing { shortest, longest }: Timing,
    ) -> Instant {
        let interval = reply.interval.clamp(shortest, longest);
        let min_interval = match reply.min_interval {
            Some(min_interval) => min_interval.clamp(shortest, longest),
            // It has not said how often it may be asked by who needs peers: not as often as it could.
            None if reply.peers.is_empty() => interval.min((UNSAID / 2).max(shortest)),
            None => interval.min(UNSAID.max(shortest)),
        };
        self.answered = true;
        self.failures = 0;
        self.retry_at = Instant::ZERO;
        self.earliest = now + min_interval;
        self.soonest = now + reply.min_interval.map_or(shortest, |_| min_interval);
        self.registered = event != Event::Stopped;
        self.message = reply.warning.clone();
        if event == Event::Completed {
            self.tell_completed = false;
        }
        if reply.tracker_id.is_some() {
            self.tracker_id.clone_from(&reply.tracker_id);
        }
        if event != Event::Stopped {
            self.peers = reply.peers.len();
            self.seeds = reply.seeds;
            self.leeches = reply.leeches;
        }
        now + interval.max(min_interval)
    }

    /// It has not answered, or refused, and perhaps said when to try again: no later than after `longest`.
    pub(super) fn take_failure(
        &mut self,
        now: Instant,
        message: String,
        retry: Option<Retry>,
        (longest, rng): (Duration, &mut Rng),
    ) {
        self.failures = self.failures.saturating_add(1);
        self.message = Some(message);
        self.says_when = retry.is_some();
        self.retry_at = match retry {
            Some(Retry::Never) => Instant::FAR,
            Some(Retry::After(pause)) => now + pause.clamp(FIRST_RETRY, longest.max(FIRST_RETRY)),
            None => now + back_off(self.failures, rng),
        };
    }

    /// We are somewhere else in the network, or have slept: it may be reached now, and should know soon. Not at
    /// once, for it is not alone.
    pub(super) fn moved(&mut self, now: Instant, rng: &mut Rng) {
        self.earliest = self.earliest.min(self.soonest);
        if self.failures > 0 && !self.says_when {
            // The next failure is the first from here.
            self.failures = 1;
            self.retry_at = self.retry_at.min(now + FIRST_RETRY.mul_f64(rng.unit()));
        }
    }

    pub(super) fn status(&self) -> TrackerStatus<'_> {
        let state = match (self.in_flight, self.failures, self.answered) {
            (Some(_), ..) => TrackerState::Announcing,
            (None, 0, false) => TrackerState::Idle,
            (None, 0, true) => TrackerState::Working,
            (None, failures, _) => TrackerState::Failing { failures, retry_at: self.retry_at },
        };
        TrackerStatus {
            url: &self.url,
            tier: self.tier,
            state,
            message: self.message.as_deref(),
            peers: self.peers,
            seeds: self.seeds,
            leeches: self.leeches,
        }
    }
}

/// The pause after so many failures in a row: doubling, a quarter more or less at random so that
/// the clients of a tracker that comes back do not return at once.
fn back_off(failures: u32, rng: &mut Rng) -> Duration {
    let doubled = FIRST_RETRY.saturating_mul(1 << failures.saturating_sub(1).min(16));
    doubled.min(LAST_RETRY).mul_f64(0.75 + rng.unit() / 2.0)
}
