//! Which tracker of a torrent is due when, and with what event (BEP 12, BEP 3 *event*).
//!
//! [`Tiers`] is a pure machine: the driver tells it what happened ([`Tiers::handle`]), carries out
//! what it says ([`Tiers::poll`]) and comes back at [`Tiers::poll_timeout`]. It owns the order of
//! the trackers, their intervals, back-off and events. What an announce contains besides URL,
//! event and tracker id is the driver's; bytes and sockets are elsewhere.
//!
//! Trackers are used in *lines*: of each line one tracker at a time. Strictly after BEP 12 there
//! is one line, all tiers one after the other. With [`Reach::EveryTier`] each tier is a line of
//! its own, as several widespread clients do it: more peers, and no tracker is a single point
//! of failure.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use super::{
    announce::{AnnounceReply, Event, Retry},
    member::Tracker,
};
use crate::base::{
    limits::{MAX_ANNOUNCE_INTERVAL, MAX_URLS, MIN_ANNOUNCE_INTERVAL},
    rng::Rng,
    time::Instant,
};

/// How many trackers are used at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reach {
    /// One of each tier.
    #[default]
    EveryTier,
    /// One in all: a lower tier only when every tracker above fails (BEP 12 to the letter). For
    /// private torrents (BEP 27: peers of one tracker at a time).
    FirstWorking,
}

/// Bounds on what a tracker may demand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// Announces without an event are never closer than that.
    pub shortest: Duration,
    /// Nor further apart.
    pub longest: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Timing { shortest: MIN_ANNOUNCE_INTERVAL, longest: MAX_ANNOUNCE_INTERVAL }
    }
}

/// One announce in flight. Each is answered once, with `Replied` or `Failed`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(u64);

/// What can happen.
#[derive(Debug)]
pub enum Input<'a> {
    /// The torrent starts, or starts again after `Stop`.
    Start,
    /// More peers are wanted. Remembered until the next reply.
    NeedPeers,
    /// Peers reach us by another port than was announced.
    PortChanged,
    /// We are somewhere else in the network, or have slept.
    Moved,
    /// The download has just become complete.
    Completed,
    /// The torrent stops: trackers that know us are told.
    Stop,
    /// A tracker answered.
    Replied {
        /// The announce.
        ticket: Ticket,
        /// Its answer.
        reply: &'a AnnounceReply,
    },
    /// A tracker did not answer, or refused.
    Failed {
        /// The announce.
        ticket: Ticket,
        /// One sentence for the user.
        message: String,
        /// What a refusing tracker said about trying again.
        retry: Option<Retry>,
    },
    /// A tracker has not answered for long, but may yet: the next one of its line is asked meanwhile.
    Slow {
        /// The announce.
        ticket: Ticket,
    },
    /// Time has passed.
    Timeout,
}

/// An announce to be made now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// To be given back with the result.
    pub ticket: Ticket,
    /// The tracker.
    pub url: Arc<str>,
    /// The event to announce. With `Stopped`, ask for no peers.
    pub event: Event,
    /// What this tracker gave as `tracker id`.
    pub tracker_id: Option<Vec<u8>>,
}

/// A tracker as the user sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrackerStatus<'a> {
    /// Its URL.
    pub url: &'a str,
    /// Its tier, from 0.
    pub tier: usize,
    /// What it does for us.
    pub state: TrackerState,
    /// The last failure or warning.
    pub message: Option<&'a str>,
    /// Peers in its last reply.
    pub peers: usize,
    /// Seeds it counted in its last reply.
    pub seeds: Option<u32>,
    /// Leeches it counted in its last reply.
    pub leeches: Option<u32>,
}

/// What a tracker does for us at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrackerState {
    /// Not used so far.
    Idle,
    /// Waiting for its answer.
    Announcing,
    /// Its last answer was good.
    Working,
    /// The last so many announces failed.
    Failing {
        /// Failures in a row.
        failures: u32,
        /// Not tried again before.
        retry_at: Instant,
    },
}

/// A list of trackers of which one is used at a time.
#[derive(Debug)]
struct Line {
    /// Indices of trackers in the order in which they are tried.
    order: Vec<usize>,
    /// The tracker that answered last.
    current: Option<usize>,
    /// When the line announces next.
    due: Instant,
    /// The announce the line waits for.
    waits: Option<Ticket>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Idle,
    Running,
    Stopping,
}

/// The trackers of one torrent.
#[derive(Debug)]
pub struct Tiers {
    trackers: Vec<Tracker>,
    lines: Vec<Line>,
    reach: Reach,
    timing: Timing,
    phase: Phase,
    next_ticket: u64,
    outputs: VecDeque<Output>,
    rng: Rng,
}

impl Tiers {
    /// The trackers of `tiers`, each tier in random order (BEP 12). Doubles and what is beyond
    /// [`MAX_URLS`] are left out. Nothing is due before [`Input::Start`].
    pub fn new(tiers: &[Vec<String>], reach: Reach, timing: Timing, mut rng: Rng) -> Self {
        let mut trackers: Vec<Tracker> = Vec::new();
        let mut lines: Vec<Line> = Vec::new();
        let mut seen = BTreeSet::new();
        let mut tier_number = 0;
        for urls in tiers {
            let mut urls: Vec<&String> = urls.iter().filter(|u| seen.insert(*u)).collect();
            urls.truncate(MAX_URLS - trackers.len());
            if urls.is_empty() {
                continue;
            }
            rng.shuffle(&mut urls);
            if lines.is_empty() || reach == Reach::EveryTier {
                lines.push(Line {
                    order: Vec::new(),
                    current: None,
                    due: Instant::FAR,
                    waits: None,
                });
            }
            let line = lines.len() - 1;
            for url in urls {
                lines[line].order.push(trackers.len());
                trackers.push(Tracker::new(url, tier_number, line));
            }
            tier_number += 1;
        }
        Tiers {
            trackers,
            lines,
            reach,
            timing,
            phase: Phase::Idle,
            next_ticket: 0,
            outputs: VecDeque::new(),
            rng,
        }
    }

    /// Takes in what happened at `now`.
    pub fn handle(&mut self, now: Instant, input: Input<'_>) {
        match input {
            Input::Start => self.start(now),
            Input::NeedPeers => self.need_peers(now),
            Input::PortChanged => {
                self.trackers.iter_mut().for_each(|t| t.earliest = t.earliest.min(t.soonest));
                self.need_peers(now);
            }
            Input::Moved => self.moved(now),
            Input::Completed => self.completed(now),
            Input::Stop => self.stop(),
            Input::Replied { ticket, reply } => self.replied(now, ticket, reply),
            Input::Failed { ticket, message, retry } => self.failed(now, ticket, message, retry),
            Input::Slow { ticket } => self.slow(now, ticket),
            Input::Timeout => {}
        }
        self.advance(now);
        self.check();
    }

    /// The next announce to make, until `None`.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to come back with [`Input::Timeout`]; `None` while there is nothing to wait for.
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.phase != Phase::Running {
            return None;
        }
        let waiting = self.lines.iter().filter(|l| l.waits.is_none() && l.due < Instant::FAR);
        waiting.map(|l| l.due).min()
    }

    /// There is no tracker at all.
    pub fn is_empty(&self) -> bool {
        self.trackers.is_empty()
    }

    /// Nothing is in flight and nothing will be before the next [`Input::Start`].
    pub fn is_stopped(&self) -> bool {
        self.phase != Phase::Running && self.trackers.iter().all(|t| t.in_flight.is_none())
    }

    /// Some tracker was tried, and the last announce to every one that was has failed.
    pub fn is_failing(&self) -> bool {
        let mut used = self.trackers.iter().filter(|t| t.answered || t.failures > 0).peekable();
        used.peek().is_some() && used.all(|t| t.failures > 0)
    }

    /// Every tracker, tier by tier, in the order in which they are tried.
    pub fn statuses(&self) -> impl Iterator<Item = TrackerStatus<'_>> {
        self.lines.iter().flat_map(|l| &l.order).map(|&i| self.trackers[i].status())
    }

    fn start(&mut self, now: Instant) {
        if self.phase == Phase::Running {
            return;
        }
        self.phase = Phase::Running;
        self.trackers.iter_mut().for_each(Tracker::start);
        for line in &mut self.lines {
            line.current = None;
            line.waits = None;
            line.due = now;
        }
    }

    fn need_peers(&mut self, now: Instant) {
        for l in 0..self.lines.len() {
            if let Some(current) = self.lines[l].current {
                let at = self.trackers[current].open_at().max(now);
                self.lines[l].due = self.lines[l].due.min(at);
            }
        }
    }

    /// Who has failed may be reached from here, and who has answered knows an old address, or none any more.
    fn moved(&mut self, now: Instant) {
        self.trackers.iter_mut().for_each(|tracker| tracker.moved(now, &mut self.rng));
        for line in &mut self.lines {
            let works = line.current.filter(|&current| self.trackers[current].failures == 0);
            let opens = |&i: &usize| self.trackers[i].open_at();
            let at = works.as_ref().map(opens).or_else(|| line.order.iter().map(opens).min());
            line.due = line.due.min(at.unwrap_or(Instant::FAR).max(now));
        }
    }

    fn completed(&mut self, now: Instant) {
        for i in 0..self.trackers.len() {
            let tracker = &mut self.trackers[i];
            // Who never heard of us will hear `started` with nothing left.
            tracker.tell_completed = tracker.registered || tracker.in_flight.is_some();
            let (line, tell) = (tracker.line, tracker.tell_completed);
            if tell && self.lines[line].current == Some(i) {
                let at = self.trackers[i].open_at().max(now);
                self.lines[line].due = self.lines[line].due.min(at);
            }
        }
    }

    fn stop(&mut self) {
        if self.phase != Phase::Running {
            return;
        }
        self.phase = Phase::Stopping;
        for line in &mut self.lines {
            line.waits = None;
            line.due = Instant::FAR;
        }
        for i in 0..self.trackers.len() {
            // One that has yet to answer hears it afterwards: the other order would list us again.
            if self.trackers[i].registered && self.trackers[i].in_flight.is_none() {
                self.announce(i, self.trackers[i].last_event());
            }
        }
    }

    fn replied(&mut self, now: Instant, ticket: Ticket, reply: &AnnounceReply) {
        let Some((i, event)) = self.take_ticket(ticket) else { return };
        let tracker = &mut self.trackers[i];
        let next = tracker.take_reply(now, event, reply, self.timing);
        if self.phase == Phase::Stopping {
            if event != Event::Stopped {
                self.announce(i, self.trackers[i].last_event());
            }
            return;
        }
        let (line, tell) = (tracker.line, tracker.tell_completed);
        if !self.answers_line(i, ticket, now) {
            // Of a private torrent one tracker at a time is to know us (BEP 27).
            if self.reach == Reach::FirstWorking && event != Event::Stopped {
                self.announce(i, Event::Stopped);
            }
            return;
        }
        if event == Event::Stopped {
            return;
        }
        self.move_to_front(i);
        self.lines[line].current = Some(i);
        self.lines[line].due = if tell { now } else { next };
    }

    fn failed(&mut self, now: Instant, ticket: Ticket, message: String, retry: Option<Retry>) {
        let Some((i, event)) = self.take_ticket(ticket) else { return };
        let tracker = &mut self.trackers[i];
        tracker.take_failure(now, message, retry, (self.timing.longest, &mut self.rng));
        if self.phase == Phase::Stopping {
            if event == Event::Stopped {
                // Told once; the tracker will find out.
                tracker.registered = false;
            } else if tracker.registered {
                self.announce(i, Event::Stopped);
            }
            return;
        }
        self.answers_line(i, ticket, now);
    }

    fn slow(&mut self, now: Instant, ticket: Ticket) {
        if let Some(line) = self.lines.iter_mut().find(|line| line.waits == Some(ticket)) {
            line.waits = None;
            line.due = now;
        }
    }

    /// An announce is over: its line goes on at once. False if the line went on before, because this
    /// one was slow or made before the last stop, and waits for another one or has one that works.
    fn answers_line(&mut self, i: usize, ticket: Ticket, now: Instant) -> bool {
        let line = &mut self.lines[self.trackers[i].line];
        let works = |current: usize| {
            let Tracker { registered, failures, .. } = self.trackers[current];
            current != i && registered && failures == 0
        };
        let went_on = match line.waits {
            Some(waits) => waits != ticket,
            None => line.current.is_some_and(works),
        };
        if went_on {
            return false;
        }
        line.waits = None;
        line.due = now;
        true
    }

    /// Lets every line that is due announce, or wait until it can.
    fn advance(&mut self, now: Instant) {
        if self.phase != Phase::Running {
            return;
        }
        for l in 0..self.lines.len() {
            let line = &self.lines[l];
            if line.waits.is_some() || line.due > now {
                continue;
            }
            let open = line.order.iter().copied().find(|&i| self.trackers[i].open_at() <= now);
            match open {
                Some(i) => {
                    let event = self.trackers[i].next_event();
                    self.lines[l].waits = Some(self.announce(i, event));
                }
                None => {
                    let opens = line.order.iter().map(|&i| self.trackers[i].open_at()).min();
                    self.lines[l].due = opens.unwrap_or(Instant::FAR);
                }
            }
        }
    }

    fn announce(&mut self, i: usize, event: Event) -> Ticket {
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        let tracker = &mut self.trackers[i];
        tracker.in_flight = Some((ticket, event));
        self.outputs.push_back(Output {
            ticket,
            url: tracker.url.clone(),
            event,
            tracker_id: tracker.tracker_id.clone(),
        });
        ticket
    }

    fn take_ticket(&mut self, ticket: Ticket) -> Option<(usize, Event)> {
        let has = |t: &Tracker| t.in_flight.is_some_and(|(own, _)| own == ticket);
        let i = self.trackers.iter().position(has)?;
        let (_, event) = self.trackers[i].in_flight.take()?;
        Some((i, event))
    }

    /// A tracker that answers is the first of its tier from now on (BEP 12).
    fn move_to_front(&mut self, i: usize) {
        let (tier, line) = (self.trackers[i].tier, self.trackers[i].line);
        let order = &mut self.lines[line].order;
        let front = order.iter().position(|&j| self.trackers[j].tier == tier);
        let place = order.iter().position(|&j| j == i);
        if let (Some(front), Some(place)) = (front, place) {
            order[front..=place].rotate_right(1);
        }
    }

    /// A line waits for at most one announce, and only for one that is in flight.
    fn check(&self) {
        if cfg!(debug_assertions) {
            for line in &self.lines {
                let mine = line.order.iter().filter_map(|&i| self.trackers[i].in_flight);
                let waits = mine.map(|(ticket, _)| ticket).filter(|t| line.waits == Some(*t));
                debug_assert_eq!(waits.count(), usize::from(line.waits.is_some()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::member::LAST_RETRY, *};
    use crate::base::rng::Rng;
    use proptest::prelude::*;
    use std::net::SocketAddr;

    const SECOND: Duration = Duration::from_secs(1);

    fn tiers(urls: &[&[&str]], reach: Reach) -> Tiers {
        let urls: Vec<Vec<String>> =
            urls.iter().map(|t| t.iter().map(|u| (*u).to_owned()).collect()).collect();
        Tiers::new(&urls, reach, Timing::default(), Rng::new(1))
    }

    fn reply(interval: u64, min_interval: u64) -> AnnounceReply {
        AnnounceReply {
            interval: SECOND * interval as u32,
            min_interval: Some(SECOND * min_interval as u32),
            ..AnnounceReply::default()
        }
    }

    fn drain(t: &mut Tiers) -> Vec<Output> {
        std::iter::from_fn(|| t.poll()).collect()
    }

    fn one(t: &mut Tiers) -> Output {
        let mut all = drain(t);
        assert_eq!(all.len(), 1, "{all:?}");
        all.remove(0)
    }

    fn at(secs: u64) -> Instant {
        Instant::ZERO + SECOND * secs as u32
    }

    fn ok(t: &mut Tiers, secs: u64, ticket: Ticket, reply: &AnnounceReply) {
        t.handle(at(secs), Input::Replied { ticket, reply });
    }

    fn fail(t: &mut Tiers, secs: u64, ticket: Ticket) {
        let message = "no".to_owned();
        t.handle(at(secs), Input::Failed { ticket, message, retry: None });
    }

    #[test]
    fn started_then_regular_then_stopped() {
        let mut t = tiers(&[&["a"]], Reach::FirstWorking);
        assert_eq!((t.poll_timeout(), t.is_stopped()), (None, true));
        t.handle(at(0), Input::Start);
        let first = one(&mut t);
        assert_eq!((&*first.url, first.event), ("a", Event::Started));
        assert_eq!(t.poll_timeout(), None);
        let answer = AnnounceReply { tracker_id: Some(b"id".to_vec()), ..reply(1800, 900) };
        ok(&mut t, 1, first.ticket, &answer);
        assert_eq!(t.poll_timeout(), Some(at(1801)));
        t.handle(at(1800), Input::Timeout);
        assert_eq!(drain(&mut t), []);
        t.handle(at(1801), Input::Timeout);
        let second = one(&mut t);
        assert_eq!((second.event, second.tracker_id.as_deref()), (Event::None, Some(&b"id"[..])));
        ok(&mut t, 1802, second.ticket, &reply(1800, 900));
        t.handle(at(2000), Input::Stop);
        let last = one(&mut t);
        assert_eq!(last.event, Event::Stopped);
        assert!(!t.is_stopped());
        ok(&mut t, 2001, last.ticket, &reply(1800, 900));
        assert!(t.is_stopped());
        assert_eq!(t.poll_timeout(), None);
    }

    #[test]
    fn a_slow_tracker_is_waited_for_by_nobody() {
        let mut t = tiers(&[&["a"], &["b"]], Reach::FirstWorking);
        t.handle(at(0), Input::Start);
        let a = one(&mut t);
        t.handle(at(15), Input::Slow { ticket: a.ticket });
        let b = one(&mut t);
        assert_eq!((&*b.url, b.event), ("b", Event::Started));
        ok(&mut t, 16, b.ticket, &reply(1800, 900));
        assert_eq!(t.poll_timeout(), Some(at(1816)));
        fail(&mut t, 225, a.ticket);
        assert_eq!((drain(&mut t), t.poll_timeout()), (vec![], Some(at(1816))));
    }

    #[test]
    fn one_tracker_of_a_private_torrent_knows_us() {
        for (reach, told) in [(Reach::FirstWorking, true), (Reach::EveryTier, false)] {
            let mut t = tiers(&[&["a", "b"]], reach);
            t.handle(at(0), Input::Start);
            let slow = one(&mut t);
            t.handle(at(15), Input::Slow { ticket: slow.ticket });
            let other = one(&mut t);
            ok(&mut t, 16, other.ticket, &reply(1800, 900));
            ok(&mut t, 40, slow.ticket, &reply(1800, 900));
            let stopped =
                drain(&mut t).iter().any(|o| o.event == Event::Stopped && o.url == slow.url);
            assert_eq!(stopped, told);
            assert_eq!(t.poll_timeout(), Some(at(1816)));
        }
    }

    #[test]
    fn a_slow_tracker_that_answers_when_no_other_did_is_used() {
        let mut t = tiers(&[&["a"]], Reach::FirstWorking);
        t.handle(at(0), Input::Start);
        let a = one(&mut t);
        t.handle(at(15), Input::Slow { ticket: a.ticket });
        assert_eq!((drain(&mut t), t.poll_timeout()), (vec![], None));
        ok(&mut t, 40, a.ticket, &reply(1800, 900));
        assert_eq!((drain(&mut t), t.poll_timeout()), (vec![], Some(at(1840))));
    }

    #[test]
    fn intervals_are_bounded() {
        let mut t = tiers(&[&["a"]], Reach::FirstWorking);
        t.handle(at(0), Input::Start);
        let a = one(&mut t);
        ok(&mut t, 0, a.ticket, &reply(0, 0));
        assert_eq!(t.poll_timeout(), Some(at(60)));
        t.handle(at(60), Input::Timeout);
        let a = one(&mut t);
        ok(&mut t, 60, a.ticket, &reply(1 << 31, 1 << 31));
        assert_eq!(t.poll_timeout(), Some(at(60 + 3 * 3600)));
    }

    #[test]
    fn hunger_brings_the_next_announce_forward_to_the_min_interval() {
        let mut t = tiers(&[&["a"]], Reach::FirstWorking);
        t.handle(at(0), Input::Start);
        let a = one(&mut t);
        t.handle(at(0), Input::NeedPeers);
        ok(&mut t, 0, a.ticket, &reply(1800, 300));
        assert_eq!(t.poll_timeout(), Some(at(1800)), "the reply itself answered the need");
        t.handle(at(10), Input::NeedPeers);
        assert_eq!(drain(&mut t), []);
        assert_eq!(t.poll_timeout(), Some(at(300)));
        t.handle(at(300), Input::Timeout);
        let a = one(&mut t);
        ok(&mut t, 300, a.ticket, &reply(1800, 300));
        t.handle(at(1000), Input::NeedPeers);
        assert_eq!(one(&mut t).event, Event::None);
    }

    /// Each torrent that needed peers asked every minute, and every tier of it.
    #[test]
    fn who_needs_peers_does_not_pester_a_tracker_that_names_no_least_interval() {
        let peers = vec![SocketAddr::from(([192, 0, 2, 1], 1))];
        for (peers, min_interval, soonest) in [
            (vec![], None, 150),
            (peers.clone(), None, 300),
            (peers.clone(), Some(SECOND * 900), 900),
            (peers, Some(SECOND * 3600), 3600),
        ] {
            let mut t = tiers(&[&["a"]], Reach::FirstWorking);
            t.handle(at(0), Input::Start);
            let a = one(&mut t);
            ok(&mut t, 0, a.ticket, &AnnounceReply { peers, min_interval, ..reply(1800, 0) });
            t.handle(at(10), Input::NeedPeers);
            assert_eq!(t.poll_timeout(), Some(at(soonest)), "{min_interval:?}");
            t.handle(at(10), Input::PortChanged);
            let told = min_interval.map_or(60, |_| soonest);
            assert_eq!(t.poll_timeout(), Some(at(told)), "{min_interval:?}");
        }
    }

    #[test]
    fn who_has_moved_tries_again_soon_what_has_failed() {
        let mut t = tiers(&[&["a"], &["b"], &["c"], &["d"]], Reach::EveryTier);
        t.handle(at(0), Input::Start);
        let mut now = 0;
        let [a, b, c, d] = &drain(&mut t)[..] else { panic!("four lines") };
        ok(&mut t, 0, a.ticket, &AnnounceReply { min_interval: None, ..reply(1800, 0) });
        let later = Retry::After(3600 * SECOND);
        for (ticket, retry) in [(b.ticket, None), (c.ticket, None), (d.ticket, Some(later))] {
            t.handle(at(0), Input::Failed { ticket, message: "no".to_owned(), retry });
        }
        // An hour without any network.
        while now < 3600 {
            now = t.poll_timeout().expect("it tries again").since(Instant::ZERO).as_secs() + 1;
            t.handle(at(now), Input::Timeout);
            for Output { ticket, .. } in drain(&mut t) {
                let message = "no network".to_owned();
                t.handle(at(now), Input::Failed { ticket, message, retry: None });
            }
        }
        t.handle(at(now), Input::Moved);
        t.handle(at(now + 11), Input::Timeout);
        let mut asked: Vec<_> = drain(&mut t).iter().map(|output| output.url.clone()).collect();
        asked.sort();
        assert!(
            asked.len() >= 3 && asked[..3] == ["a".into(), "b".into(), "c".into()],
            "{asked:?}"
        );
    }

    #[test]
    fn completed_is_told_at_once_and_once() {
        let mut t = tiers(&[&["a"], &["b"]], Reach::EveryTier);
        t.handle(at(0), Input::Start);
        let both = drain(&mut t);
        ok(&mut t, 0, both[0].ticket, &reply(1800, 300));
        t.handle(at(5), Input::Completed);
        let a = one(&mut t);
        assert_eq!((&*a.url, a.event), ("a", Event::Completed));
        ok(&mut t, 5, both[1].ticket, &reply(1800, 300));
        let b = one(&mut t);
        assert_eq!((&*b.url, b.event), ("b", Event::Completed));
        ok(&mut t, 6, a.ticket, &reply(1800, 300));
        ok(&mut t, 6, b.ticket, &reply(1800, 300));
        assert_eq!(drain(&mut t), []);
        assert_eq!(t.poll_timeout(), Some(at(1806)));
    }

    #[test]
    fn complete_from_the_start_is_never_told() {
        let mut t = tiers(&[&["a"]], Reach::EveryTier);
        t.handle(at(0), Input::Completed);
        t.handle(at(0), Input::Start);
        let a = one(&mut t);
        ok(&mut t, 0, a.ticket, &reply(1800, 300));
        assert_eq!(drain(&mut t), []);
    }

    #[test]
    fn a_lower_tier_is_used_only_when_all_above_fail() {
        let mut t = tiers(&[&["a", "b"], &["c"]], Reach::FirstWorking);
        t.handle(at(0), Input::Start);
        let x = one(&mut t);
        fail(&mut t, 1, x.ticket);
        let y = one(&mut t);
        assert_ne!(x.url, y.url);
        fail(&mut t, 2, y.ticket);
        let c = one(&mut t);
        assert_eq!((&*c.url, c.event), ("c", Event::Started));
        ok(&mut t, 3, c.ticket, &reply(1800, 300));
        assert!(!t.is_failing());
        // Next time the first tier has its chance again, and who answers there comes first.
        t.handle(at(1803), Input::Timeout);
        let x = one(&mut t);
        fail(&mut t, 1804, x.ticket);
        let y = one(&mut t);
        assert_eq!((y.event, t.statuses().count()), (Event::Started, 3));
        ok(&mut t, 1805, y.ticket, &reply(1800, 300));
        assert_eq!(t.statuses().map(|s| s.url).collect::<Vec<_>>(), [&*y.url, &*x.url, "c"]);
        // Both that list us are told.
        t.handle(at(1900), Input::Stop);
        let mut told: Vec<_> = drain(&mut t).into_iter().map(|o| o.url.to_string()).collect();
        told.sort_unstable();
        let mut want = vec!["c".to_owned(), y.url.to_string()];
        want.sort_unstable();
        assert_eq!(told, want);
    }

    #[test]
    fn a_dead_tracker_is_asked_less_and_less_often() {
        let mut t = tiers(&[&["a"]], Reach::EveryTier);
        t.handle(at(0), Input::Start);
        let mut now = Instant::ZERO;
        let mut pauses = Vec::new();
        for _ in 0..14 {
            let a = one(&mut t);
            let message = "no".to_owned();
            t.handle(now, Input::Failed { ticket: a.ticket, message, retry: None });
            let next = t.poll_timeout().expect("tries again");
            pauses.push(next.since(now));
            now = next;
            t.handle(now, Input::Timeout);
        }
        assert!(t.is_failing());
        assert!(pauses[0] >= SECOND * 7 && pauses[0] <= SECOND * 13, "{pauses:?}");
        assert!(pauses[3] >= SECOND * 60, "{pauses:?}");
        let last = *pauses.last().expect("some");
        assert!(last >= LAST_RETRY.mul_f64(0.75) && last <= LAST_RETRY.mul_f64(1.25));
    }

    #[test]
    fn a_refusal_may_say_when_or_never() {
        let mut t = tiers(&[&["a"]], Reach::EveryTier);
        t.handle(at(0), Input::Start);
        let a = one(&mut t);
        let retry = Some(Retry::After(SECOND * 120));
        t.handle(at(0), Input::Failed { ticket: a.ticket, message: "later".into(), retry });
        assert_eq!(t.poll_timeout(), Some(at(120)));
        t.handle(at(120), Input::Timeout);
        let a = one(&mut t);
        let retry = Some(Retry::Never);
        t.handle(at(120), Input::Failed { ticket: a.ticket, message: "gone".into(), retry });
        assert_eq!(t.poll_timeout(), None);
        t.handle(at(1 << 30), Input::NeedPeers);
        assert_eq!(drain(&mut t), []);
    }

    #[test]
    fn stopped_follows_a_late_answer_instead_of_overtaking_it() {
        let mut t = tiers(&[&["a"]], Reach::EveryTier);
        t.handle(at(0), Input::Start);
        let a = one(&mut t);
        t.handle(at(1), Input::Stop);
        assert_eq!(drain(&mut t), []);
        assert!(!t.is_stopped());
        ok(&mut t, 2, a.ticket, &reply(1800, 300));
        let stop = one(&mut t);
        assert_eq!(stop.event, Event::Stopped);
        // Started again before the tracker has answered: the new start waits for it.
        t.handle(at(3), Input::Start);
        assert_eq!(drain(&mut t), []);
        ok(&mut t, 4, stop.ticket, &reply(1800, 300));
        assert_eq!(one(&mut t).event, Event::Started);
    }

    proptest! {
        /// Whatever happens: one announce per tracker at a time, none without event before the min
        /// interval, `started` first, nothing but `stopped` after a stop.
        #[test]
        fn keeps_its_promises(
            seed in any::<u64>(),
            every in any::<bool>(),
            steps in prop::collection::vec((0u8..10, 0u64..400, any::<u8>()), 1..200),
        ) {
            let reach = if every { Reach::EveryTier } else { Reach::FirstWorking };
            let urls = [vec!["a".to_owned(), "b".to_owned()], vec!["c".to_owned(), "a".to_owned()]];
            let mut t = Tiers::new(&urls, reach, Timing::default(), Rng::new(seed));
            let mut now = Instant::ZERO;
            let mut out: Vec<Output> = Vec::new();
            let mut last_ok: std::collections::BTreeMap<Arc<str>, Instant> = Default::default();
            let mut listed: BTreeSet<Arc<str>> = BTreeSet::new();
            let mut running = false;
            for (what, pause, pick) in steps {
                now += SECOND * pause as u32;
                match what {
                    0 => { t.handle(now, Input::Start); if !running { listed.clear() } running = true }
                    1 => { t.handle(now, Input::Stop); running = false }
                    2 => t.handle(now, Input::NeedPeers),
                    3 => t.handle(now, Input::Completed),
                    4..=6 if !out.is_empty() => {
                        let o = out.remove(usize::from(pick) % out.len());
                        last_ok.insert(o.url.clone(), now);
                        match o.event {
                            Event::Stopped => listed.remove(&o.url),
                            _ => listed.insert(o.url.clone()),
                        };
                        let r = reply(600, 120);
                        t.handle(now, Input::Replied { ticket: o.ticket, reply: &r });
                    }
                    7 if !out.is_empty() => {
                        let o = out.remove(usize::from(pick) % out.len());
                        t.handle(now, Input::Failed { ticket: o.ticket, message: String::new(), retry: None });
                    }
                    _ => t.handle(now, Input::Timeout),
                }
                for o in drain(&mut t) {
                    prop_assert!(out.iter().all(|other| other.url != o.url), "two at once");
                    match o.event {
                        Event::None => {
                            let last = last_ok.get(&o.url);
                            prop_assert!(last.is_none_or(|&l| now.since(l) >= SECOND * 120));
                        }
                        // While it runs, one that came late hears that another is used.
                        Event::Stopped => prop_assert!(!running || listed.contains(&o.url)),
                        Event::Completed => prop_assert!(listed.contains(&o.url)),
                        Event::Started => prop_assert!(!listed.contains(&o.url)),
                        Event::Paused => prop_assert!(false, "that is not for the timing to say"),
                    }
                    if !matches!(o.event, Event::Stopped | Event::Completed) { prop_assert!(running); }
                    out.push(o);
                }
                if running && out.is_empty() {
                    prop_assert!(t.poll_timeout().is_some_and(|at| at > now && at < Instant::FAR));
                }
            }
        }
    }
}
