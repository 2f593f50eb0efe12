//! An hour of a swarm in which everybody comes and goes, in virtual time. What always holds of a torrent is
//! checked after every step, of every machine that the step touched.
//!
//! Hosts of all sorts come, fetch, leave with or without a word and come back with what they have; seeds
//! change, connections break, disks and the tracker fail, peers and web seeds lie. After the hour nobody comes or goes
//! any more: then all get everything, and no memory is left lent.
//!
//! One seed; `DOWNPOUR_SOAK=300` sets how many, and `DOWNPOUR_SOAK=17..=17` which. Where one fails, its seed
//! and the virtual time are told.

use std::{env, ops::RangeInclusive, sync::Mutex, thread, time::Duration};

use downpour::{
    base::{rng::Rng, time::Instant, units::ByteRate},
    mse::Policy,
    pieces::{Priority, job::FaultKind},
    sim::{
        HostId,
        host::HostPlan,
        observer::Role,
        rogue::{Claims, Flood, Metadata, Part, Script, Serve},
        scenario::{Scenario, leaked},
        server::Answer,
        tracker::TrackerPlan,
        world::World,
    },
    torrent::{Command, Lease, Phase},
};

const HOUR: Duration = Duration::from_secs(3_600);
/// Time in which all get everything once nobody comes or goes.
const QUIET: Duration = Duration::from_secs(3_600);
/// Between two things that happen to the crowd, on average.
const CHANGE: Duration = Duration::from_secs(4);
const PIECES: u32 = 40;
const PIECE_LENGTH: u32 = 64 << 10;
/// Hosts that are there at a time, and rogues among them.
const CROWD: usize = 12;
const ROGUES: usize = 3;
/// Bytes per second that a host sends at least.
const UP: u64 = 20_000;
/// Those who stay the whole hour: a seed, a leecher, and a leecher whose disk loses a piece at every hundredth
/// job.
const ELDERS: usize = 3;

/// Most of everything that was seen in one hour.
#[derive(Debug, Default)]
struct Most {
    hosts: usize,
    peers: u32,
    known: u32,
    banned: u32,
    asked: u32,
    lent: usize,
}

/// A swarm, and what is checked in it.
struct Soak {
    seed: u64,
    world: World,
    rng: Rng,
    /// Of whom something is being checked.
    looked_at: Option<HostId>,
    checked: u64,
    /// Bans that have been looked at.
    bans: usize,
    most: Most,
}

impl Drop for Soak {
    fn drop(&mut self) {
        if thread::panicking() {
            let host = self.looked_at.map_or("nobody", |host| self.world.plan(host).name.as_str());
            eprintln!("seed {}, at {}, looking at {host}", self.seed, self.world.now());
        }
    }
}

impl Soak {
    fn new(seed: u64) -> Self {
        let secs = Duration::from_secs;
        let mut rng = Rng::new(!seed);
        let tracker = TrackerPlan {
            numwant: 20,
            interval: secs(120),
            min_interval: secs(30),
            outages: vec![secs(600)..secs(900), secs(2_000)..secs(2_100)],
            ..TrackerPlan::default()
        };
        let answers = [Answer::Right, Answer::Wrong(20), Answer::Breaks, Answer::Busy(30)];
        let mut scenario = Scenario::new(seed)
            .pieces(PIECES)
            .piece_length(PIECE_LENGTH)
            // The last piece is shorter.
            .total(u64::from(PIECES * PIECE_LENGTH) - 20_000)
            .tracker(tracker)
            .connection_life(secs(90))
            .seeders(1, 4 * UP)
            .leechers(ELDERS as u32 - 1, UP)
            .each(Role::Seeder, |_, plan| plan.settings.encryption = Policy::Allowed)
            .each(Role::Leecher, |i, plan| {
                plan.settings.pex = true;
                if i == 1 {
                    let failing = (50..10_000u64).step_by(100);
                    plan.disk.faults =
                        failing.map(|job| (job..job + 1, FaultKind::Missing)).collect();
                }
            });
        if seed % 3 == 1 {
            scenario = scenario.server("server", answers[rng.index(answers.len())], UP);
        }
        let world = scenario.build();
        Soak { seed, world, rng, looked_at: None, checked: 0, bans: 0, most: Most::default() }
    }

    /// Whether something happens that does once in so many times.
    fn once_in(&mut self, times: u64) -> bool {
        self.rng.below(times) == 0
    }

    fn some_time(&mut self, most: Duration) -> Duration {
        most.mul_f64(self.rng.unit())
    }

    /// Lets everything happen up to `until`, and looks after each step.
    fn run_until(&mut self, until: Instant) {
        while self.world.step(until) {
            self.check();
        }
    }

    fn check(&mut self) {
        for &host in self.world.stirred() {
            self.looked_at = Some(host);
            let Some(torrent) = self.world.torrent(host) else { continue };
            torrent.check_invariants();
            let (lent, budget, _) = self.world.memory(host);
            assert!(lent <= budget, "{lent} bytes are lent of {budget}");
            let claimed = self.world.on_disk(host).count_lacking(torrent.have());
            assert_eq!(claimed, 0, "it says that it has what it has not");
            self.checked += 1;
        }
        for ban in &self.world.bans()[self.bans..] {
            let whom = self.world.plan(ban.whom);
            assert_eq!(whom.role, Role::Rogue, "{} was banned", whom.name);
        }
        self.bans = self.world.bans().len();
    }

    /// Those who are there, of whom nobody stays for ever.
    fn crowd(&self, rogues: bool) -> Vec<HostId> {
        let hosts = self.world.hosts().skip(ELDERS);
        let is_there = |&host: &HostId| match rogues {
            true => self.world.is_rogue(host) && !self.world.plan(host).web_seed,
            false => self.world.torrent(host).is_some(),
        };
        hosts.filter(is_there).collect()
    }

    fn one_of(&mut self, hosts: &[HostId]) -> Option<HostId> {
        (!hosts.is_empty()).then(|| hosts[self.rng.index(hosts.len())])
    }

    /// One thing happens to the crowd.
    fn change(&mut self) {
        let (crowd, rogues) = (self.crowd(false), self.crowd(true));
        self.note(crowd.len() + rogues.len());
        match self.rng.below(10) {
            0..4 if crowd.len() < CROWD => self.somebody_comes(),
            4 if rogues.len() < ROGUES => self.rogue_comes(),
            5 => {
                if let Some(rogue) = self.one_of(&rogues) {
                    self.world.leave(rogue, true);
                }
            }
            6 | 7 => {
                if let Some(host) = self.one_of(&crowd) {
                    let command = self.some_command();
                    self.world.command(host, command);
                }
            }
            _ => {
                if let Some(host) = self.one_of(&crowd) {
                    let crash = self.once_in(2);
                    self.world.leave(host, crash);
                }
            }
        }
        self.check();
    }

    fn some_command(&mut self) -> Command {
        match self.rng.below(6) {
            0 => Command::Pause,
            1 | 2 => Command::Resume,
            3 => Command::Sequential(self.once_in(2)),
            4 => {
                let (slots, peers) = (self.rng.below(6) as u32, self.rng.below(8) as u32);
                Command::Lease(Lease { slots: Some(slots), peers: Some(peers) })
            }
            _ => Command::Lease(Lease::default()),
        }
    }

    fn somebody_comes(&mut self) {
        let number = self.world.hosts().count();
        let seeds = self.once_in(8);
        let role = if seeds { Role::Seeder } else { Role::Leecher };
        let mut plan =
            HostPlan::new(format!("host {number}"), role, UP * self.rng.below(10).max(1));
        plan.join = self.world.now().since(Instant::ZERO);
        plan.access = self.some_time(Duration::from_millis(100));
        plan.listens = !self.once_in(4);
        plan.knows = seeds || !self.once_in(4);
        plan.back_after = (!self.once_in(3)).then(|| self.some_time(Duration::from_secs(120)));
        plan.down = self.once_in(3).then_some(ByteRate(3 * UP));
        plan.upload_limit = self.once_in(5).then_some(ByteRate(UP / 2));
        plan.memory = if self.once_in(3) { 256 << 10 } else { 4 << 20 };
        let settings = &mut plan.settings;
        let policies = [Policy::Disabled, Policy::Allowed, Policy::Preferred, Policy::Required];
        settings.encryption = policies[self.rng.index(policies.len())];
        settings.max_peers = [4, 10, 200][self.rng.index(3)];
        settings.pex = self.rng.below(4) > 0;
        settings.sequential = self.rng.below(8) == 0;
        settings.super_seed = self.rng.below(2) == 0;
        settings.keep_useless = self.rng.below(8) == 0;
        settings.unchoke_slots = (self.rng.below(8) == 0).then_some(0);
        if self.once_in(5) {
            let kinds = [FaultKind::Full, FaultKind::Io, FaultKind::Missing];
            let kind = kinds[self.rng.index(kinds.len())];
            let job = self.rng.below(200);
            plan.disk.faults = vec![(job..job + 2, kind)];
        }
        if plan.knows && self.once_in(5) {
            let priorities =
                [Priority::Skip, Priority::Low, Priority::Normal, Priority::Normal, Priority::High];
            plan.priorities = (0..PIECES).map(|_| priorities[self.rng.index(5)]).collect();
        }
        self.world.add(plan);
    }

    fn rogue_comes(&mut self) {
        let flood = Flood { haves: 5, requests: 20, cancels: 5, extended: 2, blocks: 0 };
        let staller = Part { serve: Serve::Never, ..Part::default() };
        let part = match self.rng.below(8) {
            0 => Part { serve: Serve::Wrong(1 + self.rng.below(20) as u32), ..Part::default() },
            1 => staller,
            2 => Part { serve: Serve::Reject, ..Part::default() },
            3 => Part { unchoke: false, interested: true, ..Part::default() },
            4 => Part { flood, interested: true, ..Part::default() },
            5 => Part {
                hang_up_after: Some(Duration::from_secs(3)),
                interested: true,
                ..Part::default()
            },
            6 => Part { inventions: 40, claims: Claims::Every(2), ..staller },
            _ => Part { metadata: Metadata::Wrong, claims: Claims::Nothing, ..staller },
        };
        let mut plan = HostPlan::new("rogue".to_owned(), Role::Rogue, 4 * UP);
        plan.join = self.world.now().since(Instant::ZERO);
        let (content, info_hash) = (self.world.content(), self.world.info_hash());
        plan.rogue = Some(Box::new(Script::new(part, content, info_hash, self.rng.next_u64())));
        self.world.add(plan);
    }

    fn note(&mut self, hosts: usize) {
        let most = &mut self.most;
        most.hosts = most.hosts.max(hosts);
        for host in self.world.hosts() {
            let Some(torrent) = self.world.torrent(host) else { continue };
            let now = torrent.snapshot(self.world.now());
            most.peers = most.peers.max(now.peers);
            most.known = most.known.max(now.known);
            most.banned = most.banned.max(now.banned);
            let asked: u32 =
                torrent.peers(self.world.now()).iter().map(|peer| peer.outstanding).sum();
            most.asked = most.asked.max(asked);
            most.lent = most.lent.max(self.world.memory(host).0);
        }
    }

    /// An hour in which everybody comes and goes.
    fn churn(&mut self) {
        let end = Instant::ZERO + HOUR;
        while self.world.now() < end {
            let next = self.world.now() + self.some_time(2 * CHANGE);
            self.run_until(next.min(end));
            self.change();
        }
    }

    /// Nobody comes or goes any more, and nobody lies or is held back: all get what they want.
    fn calm_down(&mut self) {
        for rogue in self.crowd(true) {
            self.world.leave(rogue, false);
        }
        let crowd = self.crowd(false);
        for &host in &crowd {
            for command in [Command::Lease(Lease::default()), Command::Resume] {
                self.world.command(host, command);
                self.check();
            }
        }
        let end = self.world.now() + QUIET;
        let seeds = |world: &World, host: HostId| {
            let torrent = world.torrent(host).expect("nobody leaves");
            torrent.snapshot(world.now()).phase == Phase::Seeding
        };
        while !crowd.iter().all(|&host| seeds(&self.world, host)) {
            let now = self.world.now();
            let stuck = || self.world.describe(crowd.len());
            assert!(now < end, "somebody does not get everything:\n{}", stuck());
            self.run_until(now + Duration::from_secs(1));
        }
    }
}

fn soak(seed: u64) {
    let mut soak = Soak::new(seed);
    soak.churn();
    soak.calm_down();
    let left = leaked(&mut soak.world);
    assert!(left.is_empty(), "slabs did not come back: {left:?}");
    println!(
        "seed {seed}: {} hosts, {} events, {} checks, {} bans; {:?}",
        soak.world.hosts().count(),
        soak.world.events(),
        soak.checked,
        soak.bans,
        soak.most,
    );
}

fn seeds() -> RangeInclusive<u64> {
    let Ok(wanted) = env::var("DOWNPOUR_SOAK") else { return 1..=1 };
    let number = |text: &str| text.parse().expect("DOWNPOUR_SOAK is a number, or two: 17..=17");
    match wanted.split_once("..=") {
        Some((first, last)) => number(first)..=number(last),
        None => 1..=number(&wanted),
    }
}

#[test]
fn an_hour_of_coming_and_going_breaks_nothing() {
    let seeds = Mutex::new(seeds());
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(seed) = { seeds.lock().expect("no panic").next() } {
                    soak(seed);
                }
            });
        }
    });
}
