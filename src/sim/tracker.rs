//! A simulated tracker: it knows who is there, names some of them at random, and may be down.

use std::{ops::Range, time::Duration};

use crate::{
    base::{rng::Rng, time::Instant},
    why::{TrackerState, Trouble},
};

use super::HostId;

/// How the tracker behaves.
#[derive(Debug, Clone)]
pub struct TrackerPlan {
    /// Time from announce to answer.
    pub answer_time: Duration,
    /// Most peers in one answer.
    pub numwant: usize,
    /// Each host announces again after so long.
    pub interval: Duration,
    /// A host that needs peers announces again after so long at the earliest.
    pub min_interval: Duration,
    /// When it does not answer; a host tries again after [`RETRY`], then twice as long, and so on.
    pub outages: Vec<Range<Duration>>,
    /// It never answers, and hosts are told this instead: why, and in one sentence.
    pub refusal: Option<(Trouble, &'static str)>,
    /// Peers in each answer, beside the true ones, that never answer: so many addresses.
    pub strangers: u16,
    /// Whether it names who asks.
    pub names_asker: bool,
}

impl Default for TrackerPlan {
    fn default() -> Self {
        TrackerPlan {
            answer_time: Duration::from_millis(100),
            numwant: 50,
            interval: Duration::from_secs(1_800),
            min_interval: Duration::from_secs(60),
            outages: Vec::new(),
            refusal: None,
            strangers: 0,
            names_asker: false,
        }
    }
}

/// First wait of a host whose announce failed.
pub const RETRY: Duration = Duration::from_secs(15);
/// Longest such wait.
const MAX_RETRY: Duration = Duration::from_secs(600);

/// What is said of one that does not answer.
const SILENCE: (Trouble, &str) = (Trouble::TimedOut, "tracker.sim did not answer in time");

/// How one host stands with the tracker.
#[derive(Debug, Default)]
pub(super) struct Announcer {
    /// When it asked last.
    asked: Option<Instant>,
    /// When it will ask next.
    next: Option<Instant>,
    failures: u32,
    /// Peers in the last answer, once there was one.
    named: Option<usize>,
}

impl Announcer {
    /// The tracker has answered, and named so many.
    pub(super) const fn answered(&mut self, named: usize) {
        self.named = Some(named);
    }

    /// What the tracker does for the host.
    pub(super) fn state(&self, plan: &TrackerPlan) -> TrackerState {
        match self.named {
            _ if self.failures > 0 => {
                let (trouble, text) = plan.refusal.unwrap_or(SILENCE);
                TrackerState::Failed(trouble, text.to_owned())
            }
            Some(named) => TrackerState::Answered(named),
            None => TrackerState::Asked,
        }
    }

    /// It has an appointment at `now`: whether it still stands.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.next == Some(now)
    }

    /// It asks at `at`, unless it asks before that anyway; true if the time is new.
    pub(super) fn plan(&mut self, at: Instant) -> bool {
        if self.next.is_some_and(|next| next <= at) {
            return false;
        }
        self.next = Some(at);
        true
    }

    /// The host wants peers: the earliest time it may ask.
    pub(super) fn earliest(&self, now: Instant, plan: &TrackerPlan) -> Instant {
        self.asked.map_or(now, |at| now.max(at + plan.min_interval))
    }

    /// It asks; when it should ask again, by whether there will be an answer.
    pub(super) fn ask(&mut self, now: Instant, plan: &TrackerPlan, answered: bool) -> Instant {
        self.next = None;
        if answered {
            self.asked = Some(now);
            self.failures = 0;
            return now + plan.interval;
        }
        self.failures += 1;
        now + (RETRY * 2u32.pow((self.failures - 1).min(8))).min(MAX_RETRY)
    }
}

/// The tracker of one world.
#[derive(Debug)]
pub(super) struct Tracker {
    plan: TrackerPlan,
    members: Vec<HostId>,
    rng: Rng,
}

impl Tracker {
    pub(super) const fn new(plan: TrackerPlan, rng: Rng) -> Self {
        Tracker { plan, members: Vec::new(), rng }
    }

    pub(super) const fn plan(&self) -> &TrackerPlan {
        &self.plan
    }

    pub(super) fn is_up(&self, now: Instant) -> bool {
        let at = now.since(Instant::ZERO);
        self.plan.refusal.is_none() && !self.plan.outages.iter().any(|o| o.contains(&at))
    }

    /// `host` is in the swarm.
    pub(super) fn add(&mut self, host: HostId) {
        if !self.members.contains(&host) {
            self.members.push(host);
        }
    }

    /// `host` said that it stops.
    pub(super) fn remove(&mut self, host: HostId) {
        self.members.retain(|h| *h != host);
    }

    /// Random others.
    pub(super) fn answer(&mut self, host: HostId) -> Vec<HostId> {
        let mut others: Vec<HostId> = self.members.iter().copied().filter(|h| *h != host).collect();
        self.rng.shuffle(&mut others);
        others.truncate(self.plan.numwant);
        others
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(seconds)
    }

    #[test]
    fn names_others_and_not_too_many() {
        let plan = TrackerPlan { numwant: 5, ..TrackerPlan::default() };
        let mut tracker = Tracker::new(plan, Rng::new(1));
        (0..10).for_each(|h| tracker.add(HostId(h)));
        tracker.add(HostId(3));
        let answer = tracker.answer(HostId(3));
        assert_eq!(answer.len(), 5);
        assert!(!answer.contains(&HostId(3)));
        (1..10).for_each(|h| tracker.remove(HostId(h)));
        assert_eq!(tracker.answer(HostId(3)), [HostId(0)]);
    }

    #[test]
    fn waits_between_announces_and_backs_off_while_it_is_down() {
        let plan = TrackerPlan {
            outages: vec![Duration::from_secs(10)..Duration::from_secs(50)],
            ..TrackerPlan::default()
        };
        let tracker = Tracker::new(plan, Rng::new(1));
        assert!(tracker.is_up(at(9)) && !tracker.is_up(at(10)) && tracker.is_up(at(50)));
        let mut host = Announcer::default();
        assert_eq!(host.earliest(at(3), tracker.plan()), at(3));
        assert_eq!(host.ask(at(10), tracker.plan(), false), at(25));
        assert_eq!(host.ask(at(25), tracker.plan(), false), at(55));
        assert_eq!(host.ask(at(55), tracker.plan(), true), at(1_855));
        assert_eq!(host.earliest(at(60), tracker.plan()), at(115));
        assert!(host.plan(at(1_855)) && host.plan(at(115)) && !host.plan(at(500)));
        assert!(host.is_due(at(115)) && !host.is_due(at(1_855)));
    }
}
