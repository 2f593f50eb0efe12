//! From evidence to causes, and which comes first.
//!
//! What keeps everything back comes before what keeps some of it back, and what is certain before what is
//! likely. A cause that only waits for an answer comes last.

use std::time::Duration;

use super::{
    cause::{Cause, Finding},
    evidence::{Dht, Door, Miss, Outside, Progress, Swarm, TrackerState, Trouble},
    recent::Happening,
};
use crate::{base::units::ByteCount, mse::Policy};

/// Nothing has arrived for so long: the torrent is stuck, not slow.
const STALLED_AFTER: Duration = Duration::from_secs(2);
/// With fewer connections than this a limit on them may be what is the matter.
const FEW_PEERS: u32 = 30;
/// Pieces that failed lately before it is more than bad luck.
const FAILURES_TOLD: u32 = 2;
/// Texts of trackers that evidence names.
const MAX_TEXTS: usize = 3;

/// Why nothing arrives, or little: the first cause explains most. Nothing when all is well, or when the torrent
/// has what it wants.
pub fn diagnose(swarm: &Swarm, outside: &Outside) -> Vec<Finding> {
    let mut causes = Causes { swarm, outside, found: Vec::new() };
    match &swarm.progress {
        Progress::Done => {}
        Progress::Paused => causes.add(100, Cause::Paused),
        Progress::NotFetching => causes.add(100, Cause::NotFetching(swarm.missing)),
        Progress::Failed(trouble) => causes.add(100, Cause::Disk(trouble.clone())),
        // At a low rate whole blocks come further apart.
        Progress::Fetching
            if swarm.down.0 > 0 || swarm.idle.is_some_and(|idle| idle < STALLED_AFTER) =>
        {
            causes.of_slow();
        }
        Progress::Fetching => causes.of_stuck(),
    }
    // Stable: what was found first of equals stays first.
    causes.found.sort_by_key(|finding| std::cmp::Reverse(finding.weight));
    causes.found
}

/// Causes being gathered.
struct Causes<'a> {
    swarm: &'a Swarm,
    outside: &'a Outside,
    found: Vec<Finding>,
}

/// What is said of a tracker, its name once.
fn named(host: &str, text: &str) -> String {
    if text.starts_with(host) { text.to_owned() } else { format!("{host}: {text}") }
}

impl Causes<'_> {
    fn add(&mut self, weight: u8, cause: Cause) {
        self.found.push(Finding { cause, weight });
    }

    /// Something arrives.
    fn of_slow(&mut self) {
        let swarm = self.swarm;
        self.limit();
        self.poison(70);
        if swarm.is_congested {
            self.add(60, Cause::DiskSlow(ByteCount(swarm.at_disk)));
        }
        if swarm.useful > 0 {
            let (connected, sending) = (swarm.connected, swarm.useful - swarm.choking);
            self.add(20, Cause::Slow { connected, sending, rate: swarm.down });
        }
        if swarm.scarce.count > 0 {
            self.scarce(40);
        }
    }

    /// Nothing arrives.
    fn of_stuck(&mut self) {
        let (swarm, connected) = (self.swarm, self.swarm.connected);
        self.clock();
        self.limit();
        self.poison(90);
        if connected == 0 {
            return self.nobody_here();
        }
        let useful = swarm.useful;
        if swarm.wants_metadata {
            self.add(80, Cause::NoMetadata(connected));
        } else if useful == 0 {
            self.nobody_asked();
        } else if swarm.choking == useful {
            let closed = swarm.port.filter(|_| self.is_closed());
            let closed = closed.map(|port| (port, self.outside.door));
            self.add(80, Cause::AllChoke { connected, useful, closed });
        } else if swarm.asked == 0 && swarm.is_congested {
            self.add(85, Cause::DiskSlow(ByteCount(swarm.at_disk)));
        } else if swarm.asked == 0 {
            self.nobody_asked();
        } else {
            let given_up = swarm.recent.of(Happening::Unanswered);
            self.add(80, Cause::Silent { peers: swarm.asked, given_up });
        }
        let scarce = swarm.scarce.count > 0 && useful > 0 && swarm.asked + swarm.choking > 0;
        // What those have who do not answer counts as if nobody had it.
        if scarce && swarm.recent.of(Happening::Unanswered) == 0 {
            self.scarce(50);
        }
        // The user's own limit is certain, and more places help if there is somebody to take them.
        let others = swarm.addresses.known > connected;
        if connected >= swarm.max_peers && connected < FEW_PEERS && others {
            self.add(82, Cause::MaxPeers(connected));
        }
        let misses = swarm.addresses.misses;
        if misses.total() > 0 {
            self.add(35, Cause::Unreachable { misses, connected });
        }
        self.trackers(30, false);
        if self.outside.dht == Dht::Silent {
            self.add(20, Cause::DhtSilent { alone: false });
        }
    }

    /// No connection.
    fn nobody_here(&mut self) {
        let swarm = self.swarm;
        let sockets = swarm.recent.of(Happening::NoSocket);
        if sockets > 0 {
            self.add(88, Cause::NoSockets(sockets));
        }
        let addresses = swarm.addresses;
        if addresses.known == 0 && addresses.dialling == 0 {
            return self.nobody_known();
        }
        let misses = addresses.misses;
        if misses.total() > 0 {
            self.unreachable(if addresses.fresh() > 0 { 60 } else { 80 });
        }
        if addresses.fresh() > 0 || misses.total() == 0 {
            let (now, soon) = (addresses.dialling, addresses.fresh());
            self.add(70, Cause::Dialling { now, soon: soon.saturating_sub(now) });
        }
        // Of a private torrent nobody else names peers: the addresses are old.
        let old = self.outside.private && self.outside.all_fail();
        self.trackers(if old { 86 } else { 30 }, false);
    }

    fn unreachable(&mut self, weight: u8) {
        let (swarm, misses) = (self.swarm, self.swarm.addresses.misses);
        let peers = misses.total();
        let policy = swarm.encryption;
        let clash = match policy {
            Policy::Disabled => misses.are_mostly(&[Miss::HungUp]),
            Policy::Required => misses.are_mostly(&[Miss::Declined, Miss::HungUp]),
            // Both ways are tried.
            Policy::Allowed | Policy::Preferred => false,
        };
        if clash {
            self.add(weight + 5, Cause::EncryptionClash { policy, peers });
        }
        // Who does not answer, though our way out is open, is behind a firewall: such peers have to dial us.
        let silent = misses.are_mostly(&[Miss::TimedOut]);
        if silent && self.is_closed() && self.outside.answers() {
            let (port, door) = (swarm.port, self.outside.door);
            self.add(weight + 4, Cause::Closed { port, door, missed: peers });
        }
        self.add(weight, Cause::Unreachable { misses, connected: 0 });
    }

    /// Nobody has connected to us lately, and no router lets anybody in.
    fn is_closed(&self) -> bool {
        self.swarm.recent.of(Happening::Incoming) == 0 && self.outside.door != Door::Mapped
    }

    /// No address.
    fn nobody_known(&mut self) {
        let (swarm, outside) = (self.swarm, self.outside);
        let blocked = swarm.recent.of(Happening::Blocked);
        if blocked > 0 {
            self.add(88, Cause::Blocked(blocked));
        }
        if swarm.resting_web_seeds > 0 {
            self.add(86, Cause::WebSeedsFail(swarm.resting_web_seeds));
        }
        if outside.trackers.is_empty() && outside.dht == Dht::Off {
            let (private, trackers_off) = (outside.private, outside.trackers_off);
            let local = outside.local && !private;
            self.add(85, Cause::NobodyAsked { private, trackers_off, local });
        }
        self.trackers(80, true);
        match outside.dht {
            Dht::Off | Dht::Asked => {}
            Dht::Silent => self.add(76, Cause::DhtSilent { alone: true }),
            Dht::Answered(nodes, _) => self.add(72, Cause::DhtKnowsNobody(nodes)),
        }
        let count = |state: TrackerState| {
            outside.trackers.iter().filter(|tracker| tracker.state == state).count() as u32
        };
        let (mut waits, dht) = (count(TrackerState::Asked), outside.dht == Dht::Asked);
        if count(TrackerState::Unasked) == outside.trackers.len() as u32 {
            // The first is asked any moment.
            waits = outside.trackers.len() as u32;
        }
        if waits > 0 || dht {
            self.add(60, Cause::Asking { trackers: waits, dht });
        }
    }

    /// What trackers have to do with it; `alone` if nobody else has named a peer.
    fn trackers(&mut self, weight: u8, alone: bool) {
        let all = self.outside.trackers.len() as u32;
        // Of those the clock is told.
        let failing = || self.outside.failing().filter(|(_, t, _)| *t != Trouble::NotYetValid);
        if let Some((_, trouble, _)) = failing().next() {
            let texts: Vec<String> =
                failing().map(|(host, _, text)| named(host, text)).take(MAX_TEXTS).collect();
            let failing = (failing().count() as u32, all);
            self.add(weight, Cause::TrackersFail { failing, trouble, texts, alone });
        }
        let answered = |t: &&super::Tracker| matches!(t.state, TrackerState::Answered(_));
        let answered = self.outside.trackers.iter().filter(answered).count() as u32;
        if answered > 0 && alone {
            self.add(74, Cause::TrackersKnowNobody(answered));
        }
    }

    /// A certificate that is not valid yet shows it; one that has run out may be the tracker's fault, two hardly.
    fn clock(&mut self) {
        let of = |wanted: Trouble| self.outside.failing().filter(move |(_, t, _)| *t == wanted);
        let early = of(Trouble::NotYetValid).next();
        let late = of(Trouble::Expired);
        let (found, ahead) = match early {
            Some(found) => (Some(found), false),
            None if late.count() > 1 => (of(Trouble::Expired).next(), true),
            None => (None, false),
        };
        let Some((host, _, text)) = found else { return };
        let text = named(host, text);
        let weight = if self.swarm.connected == 0 { 92 } else { 40 };
        self.add(weight, Cause::Clock { ahead, text });
    }

    fn limit(&mut self) {
        if let Some(limit) = self.outside.limit.filter(|limit| limit.waiting > 0) {
            self.add(95, Cause::Limited(limit));
        }
    }

    fn poison(&mut self, weight: u8) {
        let of = |what| self.swarm.recent.of(what);
        let (failed, verified) = (of(Happening::PieceFailed), of(Happening::PieceVerified));
        let banned = self.swarm.banned;
        if failed > verified && (failed >= FAILURES_TOLD || banned > 0) {
            self.add(weight, Cause::Poison { failed, verified, banned });
        }
    }

    /// Nobody is asked for anything: those who have it do not answer, or keep us waiting, or nobody has it.
    fn nobody_asked(&mut self) {
        let Swarm { useful, choking, connected, .. } = *self.swarm;
        let given_up = self.swarm.recent.of(Happening::Unanswered);
        if self.swarm.scarce.count > 0 && (useful == 0 || given_up == 0) {
            return self.scarce(80);
        }
        let peers = if useful > 0 { useful - choking } else { connected };
        self.add(80, Cause::Silent { peers, given_up });
    }

    fn scarce(&mut self, weight: u8) {
        let Swarm { scarce, connected, missing, .. } = self.swarm;
        let (scarce, connected, missing) = (scarce.clone(), *connected, *missing);
        self.add(weight, Cause::NobodyHas { scarce, connected, missing });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        base::{fault_kind::FaultKind, units::ByteRate},
        why::{Addresses, Counts, DiskTrouble, Limit, Misses, Scarce, Tracker},
    };

    fn names(swarm: &Swarm, outside: &Outside) -> Vec<&'static str> {
        diagnose(swarm, outside).iter().map(|found| found.cause.name()).collect()
    }

    fn failing(hosts: &[&str], trouble: Trouble) -> Outside {
        let one = |host: &&str| {
            let state = TrackerState::Failed(trouble, format!("{host} failed"));
            Tracker { host: (*host).to_owned(), state }
        };
        Outside { trackers: hosts.iter().map(one).collect(), ..Outside::default() }
    }

    fn misses(pairs: &[(Miss, u32)]) -> Addresses {
        let mut misses = Misses::default();
        pairs.iter().for_each(|&(miss, n)| (0..n).for_each(|_| misses.add(miss)));
        Addresses { known: misses.total(), dialling: 0, misses }
    }

    #[test]
    fn one_certificate_that_has_run_out_is_its_owner_s_fault_two_are_the_clock_s() {
        let swarm = Swarm::default();
        let (one, two) = (["a.example"], ["a.example", "b.example"]);
        assert_eq!(names(&swarm, &failing(&one, Trouble::Expired)), ["trackers_fail"]);
        let found = diagnose(&swarm, &failing(&two, Trouble::Expired));
        assert_eq!(found[0].cause.to_string(), "the clock of this computer seems to be ahead");
        assert_eq!(names(&swarm, &failing(&one, Trouble::NotYetValid)), ["clock"]);
    }

    #[test]
    fn who_cannot_be_dialled_needs_an_open_port_only_if_our_way_out_is_open() {
        let addresses = misses(&[(Miss::TimedOut, 3), (Miss::Refused, 1)]);
        let swarm = Swarm { addresses, port: Some(6881), ..Swarm::default() };
        let answers = Outside { dht: Dht::Answered(8, 4), ..Outside::default() };
        assert_eq!(names(&swarm, &answers)[0], "port");
        assert_eq!(
            names(&swarm, &Outside { door: Door::Mapped, ..answers.clone() })[0],
            "unreachable"
        );
        assert_eq!(names(&swarm, &Outside::default())[0], "unreachable", "nobody answers at all");
        let incoming = Swarm { recent: [(Happening::Incoming, 1)].into(), ..swarm };
        assert_eq!(names(&incoming, &answers)[0], "unreachable");
    }

    #[test]
    fn a_private_torrent_that_its_tracker_refuses_has_old_addresses() {
        let addresses = misses(&[(Miss::Refused, 3)]);
        let swarm = Swarm { addresses, ..Swarm::default() };
        let public = failing(&["a.example"], Trouble::Refused);
        assert_eq!(names(&swarm, &public), ["unreachable", "trackers_fail"]);
        let private = Outside { private: true, ..public };
        assert_eq!(names(&swarm, &private), ["trackers_fail", "unreachable"]);
        let mut two = private;
        two.trackers.push(Tracker { host: "b".to_owned(), state: TrackerState::Answered(3) });
        assert_eq!(names(&swarm, &two)[0], "unreachable", "another one names peers");
    }

    #[test]
    fn encryption_is_to_blame_only_where_it_is_forced() {
        let addresses = misses(&[(Miss::HungUp, 3), (Miss::Refused, 1)]);
        for (encryption, first) in [
            (Policy::Disabled, "encryption"),
            (Policy::Allowed, "unreachable"),
            (Policy::Preferred, "unreachable"),
            (Policy::Required, "encryption"),
        ] {
            let swarm = Swarm { addresses, encryption, ..Swarm::default() };
            assert_eq!(names(&swarm, &Outside::default())[0], first, "{encryption:?}");
        }
    }

    #[test]
    fn who_has_been_tried_is_not_who_is_being_dialled() {
        let mut addresses = misses(&[(Miss::Refused, 2)]);
        (addresses.known, addresses.dialling) = (5, 3);
        let swarm = Swarm { addresses, ..Swarm::default() };
        assert_eq!(names(&swarm, &Outside::default()), ["dialling", "unreachable"]);
        addresses = misses(&[(Miss::Refused, 2)]);
        addresses.dialling = 2;
        let again = Swarm { addresses, ..Swarm::default() };
        assert_eq!(names(&again, &Outside::default()), ["unreachable"], "they are tried again");
    }

    #[test]
    fn few_places_sockets_and_web_seeds_are_named() {
        let mut choked =
            Swarm { connected: 5, useful: 5, choking: 5, max_peers: 5, ..Swarm::default() };
        choked.addresses.known = 5;
        assert_eq!(names(&choked, &Outside::default()), ["all_choke"], "nobody else is known");
        choked.addresses.known = 6;
        assert_eq!(names(&choked, &Outside::default()), ["max_peers", "all_choke"]);
        assert_eq!(Cause::MaxPeers(1).to_string(), "the 1 place for peers is taken");
        let recent: Counts = [(Happening::NoSocket, 4)].into();
        let swarm = Swarm { recent, addresses: misses(&[(Miss::Refused, 1)]), ..Swarm::default() };
        assert_eq!(names(&swarm, &Outside::default())[0], "no_sockets");
        let swarm = Swarm { resting_web_seeds: 2, ..Swarm::default() };
        assert_eq!(names(&swarm, &Outside::default()), ["web_seeds_fail", "nobody_asked"]);
    }

    #[test]
    fn what_arrives_slowly_is_judged_too() {
        let swarm = Swarm {
            idle: Some(Duration::ZERO),
            connected: 4,
            useful: 4,
            choking: 3,
            down: ByteRate(12 << 10),
            ..Swarm::default()
        };
        let found = diagnose(&swarm, &Outside::default());
        assert_eq!(found[0].cause.to_string(), "1 peer sends 12.0 KiB/s in all");
        let limit = Some(Limit { rate: ByteRate(1 << 14), option: "--max-down", waiting: 1 });
        assert_eq!(names(&swarm, &Outside { limit, ..Outside::default() }), ["limited", "slow"]);
        let idle = Some(STALLED_AFTER);
        assert_eq!(names(&Swarm { idle, ..swarm.clone() }, &Outside::default())[0], "slow");
        let stuck = Swarm { idle, down: ByteRate(0), ..swarm };
        assert_eq!(names(&stuck, &Outside::default())[0], "silent");
    }

    #[test]
    fn a_torrent_that_has_what_it_wants_has_no_causes() {
        let swarm = Swarm { progress: Progress::Done, ..Swarm::default() };
        assert_eq!(names(&swarm, &Outside::default()), [""; 0]);
    }

    #[test]
    fn each_cause_has_a_name_of_its_own_and_words() {
        let scarce = Scarce { count: 9, first: vec![1..=2, 4..=4] };
        let disk = |kind| Cause::Disk(DiskTrouble { kind, text: "could not write".to_owned() });
        let misses = misses(&[(Miss::Unreachable, 2)]).misses;
        let (trouble, texts) = (Trouble::Useless, vec!["a failed".to_owned()]);
        let (door, policy) = (Door::Proxied, Policy::Required);
        let limit = Limit { rate: ByteRate(1), option: "--max-down", waiting: 1 };
        let (private, trackers_off, local) = (false, true, true);
        let causes = [
            Cause::Paused,
            disk(FaultKind::Io),
            Cause::NotFetching(1),
            Cause::Clock { ahead: true, text: "a failed".to_owned() },
            Cause::NobodyAsked { private, trackers_off, local },
            Cause::TrackersFail { failing: (2, 3), trouble, texts, alone: true },
            Cause::TrackersKnowNobody(2),
            Cause::Asking { trackers: 1, dht: true },
            Cause::DhtSilent { alone: true },
            Cause::DhtKnowsNobody(8),
            Cause::Blocked(2),
            Cause::WebSeedsFail(1),
            Cause::Dialling { now: 0, soon: 2 },
            Cause::Unreachable { misses, connected: 1 },
            Cause::EncryptionClash { policy, peers: 2 },
            Cause::Closed { port: None, door, missed: 1 },
            Cause::NoSockets(1),
            Cause::NoMetadata(2),
            Cause::AllChoke { connected: 3, useful: 1, closed: Some((6881, door)) },
            Cause::NobodyHas { scarce, connected: 1, missing: 10 },
            Cause::Silent { peers: 1, given_up: 2 },
            Cause::DiskSlow(ByteCount(1 << 20)),
            Cause::Limited(limit),
            Cause::MaxPeers(5),
            Cause::Poison { failed: 2, verified: 0, banned: 1 },
            Cause::Slow { connected: 4, sending: 2, rate: ByteRate(7) },
        ];
        let mut names: Vec<&str> = causes.iter().map(Cause::name).collect();
        for cause in &causes {
            let (line, evidence, remedy) = (cause.to_string(), cause.evidence(), cause.remedy());
            assert!(!line.is_empty() && line.len() < 100, "{line}");
            assert!(!evidence.is_empty() && !evidence.ends_with('.'), "{evidence}");
            assert!(remedy.ends_with('.'), "{remedy}");
        }
        assert!(
            causes[19].evidence().contains("pieces 1-2, 4 and more"),
            "{}",
            causes[19].evidence()
        );
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), causes.len());
    }
}
