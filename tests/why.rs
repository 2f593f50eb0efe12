//! Broken swarms in virtual time, and what is said of them first.
//!
//! One case a line of the table: what is broken, the first line that [`downpour::why`] gives, a part of its
//! evidence and of its remedy.

use std::{collections::BTreeSet, time::Duration};

use downpour::{
    base::{
        ip_filter::{AddrRange, Builder},
        time::Instant,
        units::ByteRate,
    },
    mse::Policy,
    pieces::job::FaultKind,
    sim::{
        HostId,
        dht::{Families, Mischief, Plan},
        disk::DiskPlan,
        host::{Going, HostPlan},
        observer::Role,
        rogue::{Claims, Part, Serve},
        scenario::Scenario,
        server::Answer,
        tracker::TrackerPlan,
        world::World,
    },
    torrent::{Command, Settings},
    why::{Cause, Dht, Door, Finding, Told, Tracker, TrackerState, Trouble},
};

const UP: u64 = 500_000;

fn secs(s: u64) -> Duration {
    Duration::from_secs(s)
}

/// A leecher, the first host, and whoever comes after it.
fn alone(seed: u64) -> Scenario {
    Scenario::new(seed).pieces(8).piece_length(32 << 10).leechers(1, UP)
}

fn rogues(count: usize, part: &Part) -> Scenario {
    (0..count).fold(alone(1), |scenario, n| scenario.rogue(&format!("rogue {n}"), part.clone(), UP))
}

/// A leecher changed so, with a seeder that it would find by the tracker.
fn changed(mut change: impl FnMut(&mut HostPlan)) -> Scenario {
    alone(1).seeders(1, UP).each(Role::Leecher, |_, plan| change(plan))
}

/// A leecher changed so, and nobody else.
fn lonely(change: impl Fn(&mut HostPlan)) -> Scenario {
    alone(1).each(Role::Leecher, |_, plan| change(plan))
}

/// What the leecher finds after so long.
fn after(scenario: Scenario, seconds: u64) -> Vec<Finding> {
    let mut world = scenario.build();
    world.run_until(Instant::ZERO + secs(seconds));
    found(&world)
}

fn found(world: &World) -> Vec<Finding> {
    world.why(HostId(0), &world.outside(HostId(0)))
}

/// Three seeders that have gone without a word before the leecher comes; the tracker still names them.
fn gone(leecher: impl FnMut(usize, &mut HostPlan)) -> Scenario {
    let leave = |_: usize, plan: &mut HostPlan| plan.going = Some((Going::At(secs(2)), true));
    let late = |_: usize, plan: &mut HostPlan| plan.join = secs(5);
    alone(1)
        .seeders(3, UP)
        .each(Role::Seeder, leave)
        .each(Role::Leecher, late)
        .each(Role::Leecher, leecher)
}

/// A leecher and its tracker, of which this is said.
fn refused(trouble: Trouble, text: &'static str) -> Scenario {
    alone(1).tracker(TrackerPlan { refusal: Some((trouble, text)), ..TrackerPlan::default() })
}

/// Someone who blocks every address of a simulated world.
fn blocks_all(settings: &mut Settings) {
    let mut builder = Builder::default();
    let range = AddrRange::subnet("10.0.0.0".parse().expect("valid"), 8).expect("a subnet");
    builder.block(range).expect("room");
    settings.blocked = std::sync::Arc::new(builder.build());
}

/// A leecher that asks a DHT of sixty and nobody else; of a hundred datagrams so many are lost.
fn in_dht(loss: u64) -> Scenario {
    let (families, mischief) = (Families::V4, Mischief::IsSilent);
    let plan = Plan { seed: 1, hosts: 60, families, rogues: 0, mischief, loss, churn: 0 };
    lonely(|plan| plan.tracker = false).dht(plan)
}

type Case = (&'static str, &'static str, &'static str, &'static str, fn() -> Vec<Finding>);

/// Name of the cause, its line, a part of its evidence, a part of its remedy, and how it comes about.
const CASES: &[Case] = &[
    ("nobody_asked", "no peers known (nobody is asked for any)", "--no-dht", "--no-dht", || {
        after(lonely(|plan| plan.tracker = false), 20)
    }),
    (
        "nobody_asked",
        "no peers known (the torrent is private and no tracker is asked)",
        "no tracker is named",
        "--tracker",
        || {
            let private = lonely(|plan| (plan.tracker, plan.private) = (false, true));
            after(private, 20)
        },
    ),
    (
        "trackers_fail",
        "no peers known (tracker tracker.sim did not answer in time)",
        "1 of 1 tracker",
        "--tracker",
        || {
            let down =
                TrackerPlan { outages: vec![secs(0)..secs(9_999)], ..TrackerPlan::default() };
            after(alone(1).seeders(1, UP).tracker(down), 20)
        },
    ),
    (
        "trackers_fail",
        "no peers known (tracker tracker.sim refused: not registered)",
        "not registered",
        "what the tracker wants",
        || after(refused(Trouble::Refused, "tracker.sim refused: not registered"), 20),
    ),
    (
        "trackers_know_nobody",
        "no peers known (1 tracker knows nobody else)",
        "named no peer",
        "--peer",
        || after(alone(1), 20),
    ),
    ("asking", "no peers known (they are being asked for)", "from 1 tracker", "Wait", || {
        let answer_time = secs(60);
        let slow = TrackerPlan { answer_time, ..TrackerPlan::default() };
        after(alone(1).tracker(slow), 20)
    }),
    (
        "dht_knows_nobody",
        "no peers known (the DHT knows nobody else)",
        "nodes answered",
        "--peer",
        || after(in_dht(0), 20),
    ),
    ("dht_silent", "no peers known (no node of the DHT answers)", "no answer", "UDP", || {
        after(in_dht(100), 20)
    }),
    (
        "blocked",
        "no peers known (the 1 that was named is blocked)",
        "1 address was named",
        "--blocklist",
        || {
            let scenario = changed(|plan| {
                blocks_all(&mut plan.settings);
                // Who dials from there the session turns away.
                plan.listens = false;
            });
            after(scenario, 20)
        },
    ),
    (
        "web_seeds_fail",
        "no peers known, 1 web seed failed",
        "1 web seed of no use now",
        "--tracker",
        || after(alone(1).server("server", Answer::Status(404), UP), 60),
    ),
    (
        "no_sockets",
        "no socket is left for connections",
        "a connection found no socket",
        "ulimit -n",
        || {
            // Who dials from there the session turns away.
            let scenario = changed(|plan| (plan.sockets, plan.listens) = (false, false));
            after(scenario, 20)
        },
    ),
    (
        "unreachable",
        "3 peers known, none reachable (3 do not answer)",
        "when they were tried last: 3 do not answer",
        "firewall",
        || after(gone(|_, plan| plan.door = Door::Mapped), 60),
    ),
    ("unreachable", "1 peer known, none reachable (1 refuses)", "1 refuses", "find others", || {
        let closed = |_: usize, plan: &mut HostPlan| plan.listens = false;
        let both = alone(1).seeders(1, UP).each(Role::Seeder, closed);
        after(both.each(Role::Leecher, closed), 60)
    }),
    (
        "port",
        "3 peers cannot be dialled, and nobody can dial us",
        "nobody has connected to us on port 6881; no router has let peers in",
        "Forward port 6881",
        || after(gone(|_, plan| plan.door = Door::Unmapped), 60),
    ),
    (
        "encryption",
        "1 peer known, none takes an encrypted connection",
        "--encryption is required",
        "--encryption preferred",
        || {
            let plain = |_: usize, plan: &mut HostPlan| plan.settings.encryption = Policy::Disabled;
            let scenario = changed(|plan| plan.settings.encryption = Policy::Required);
            after(scenario.each(Role::Seeder, plain), 60)
        },
    ),
    (
        "encryption",
        "1 peer known, none takes a plain connection",
        "--encryption is disabled",
        "Leave out --encryption disabled",
        || {
            let only = |_: usize, plan: &mut HostPlan| plan.settings.encryption = Policy::Required;
            after(changed(|_| ()).each(Role::Seeder, only), 60)
        },
    ),
    (
        "all_choke",
        "3 peers connected, all choke us",
        "3 peers have what we want and choke us",
        "take turns",
        || {
            let miser = Part { unchoke: false, ..Part::default() };
            let mapped = |_: usize, plan: &mut HostPlan| plan.door = Door::Mapped;
            after(rogues(3, &miser).each(Role::Leecher, mapped), 60)
        },
    ),
    (
        "max_peers",
        "all 2 places for peers are taken",
        "2 peers connected, none is of use",
        "--max-peers",
        || {
            let miser = Part { unchoke: false, ..Part::default() };
            let few = |_: usize, plan: &mut HostPlan| plan.settings.max_peers = 2;
            after(rogues(3, &miser).each(Role::Leecher, few), 60)
        },
    ),
    (
        "nobody_has",
        "nobody here has the 4 missing pieces",
        "4 of 4 missing pieces are not here: pieces 1, 3, 5, 7; 1 peer connected",
        "Wait for a seed",
        || {
            let half = Part { claims: Claims::Every(2), ..Part::default() };
            after(rogues(1, &half), 60)
        },
    ),
    (
        "silent",
        "2 peers asked, nothing comes",
        "requests were given up",
        "others are looked for",
        || {
            let silent = Part { serve: Serve::Never, ..Part::default() };
            after(rogues(2, &silent), 60)
        },
    ),
    (
        "no_metadata",
        "1 peer connected, it sends no metadata",
        "the info dictionary has not come",
        "torrent file",
        || {
            let scenario = rogues(1, &Part::default());
            after(scenario.each(Role::Leecher, |_, plan| plan.knows = false), 60)
        },
    ),
    (
        "poison",
        "what comes does not match its hash",
        "0 verified in the last minutes",
        "--blocklist",
        || {
            let liar = Part { serve: Serve::Wrong(1), ..Part::default() };
            after(rogues(3, &liar), 60)
        },
    ),
    ("disk", "the disk is full", "could not", "Make room", || {
        let full = |kind| vec![(0..u64::MAX, kind)];
        let faults = full(FaultKind::Full);
        after(
            changed(|plan| {
                plan.disk =
                    DiskPlan { faults: faults.clone(), resume_after: None, ..DiskPlan::default() };
            }),
            60,
        )
    }),
    ("disk_slow", "the disk is slow", "wait to be checked and written", "--output", || {
        let slow = |plan: &mut HostPlan| {
            plan.disk.rate = Some(2_000);
            plan.memory = 512 << 10;
        };
        let scenario = changed(slow).pieces(64);
        after(scenario, 30)
    }),
    (
        "limited",
        "limited by --max-down (1.0 KiB/s)",
        "1 connection waits",
        "Raise --max-down",
        || after(changed(|plan| plan.max_down = Some(ByteRate(1024))), 20),
    ),
    (
        "clock",
        "the clock of this computer seems to be behind",
        "tracker.sim: could not reach it: certificate not valid yet",
        "Set the clock",
        || {
            let text = "could not reach it: certificate not valid yet";
            after(refused(Trouble::NotYetValid, text), 20)
        },
    ),
    ("not_fetching", "8 pieces are missing and are not fetched", "8 pieces", "`download`", || {
        after(changed(|plan| plan.settings.fetch = false), 20)
    }),
    ("paused", "paused", "while something was missing", "Resume", || {
        let mut world = rogues(1, &Part { serve: Serve::Never, ..Part::default() }).build();
        world.run_until(Instant::ZERO + secs(5));
        world.command(HostId(0), Command::Pause);
        found(&world)
    }),
    ("dialling", "dialling 3 peers", "3 being dialled", "Wait", || after(gone(|_, _| ()), 8)),
];

#[test]
fn each_broken_swarm_yields_its_cause_first() {
    let mut wrong = Vec::new();
    for &(name, line, evidence, remedy, broken) in CASES {
        let causes = broken();
        let told: Vec<Told> = causes.iter().map(Told::from).collect();
        let Some(first) = told.first() else {
            wrong.push(format!("{name}: nothing was found"));
            continue;
        };
        println!("{:<22}{}", first.cause, first.line);
        let is_right = first.cause == name
            && first.line == line
            && first.evidence.contains(evidence)
            && first.remedy.contains(remedy);
        if !is_right {
            wrong.push(format!("{name}, `{line}`: {told:#?}"));
        }
        assert!(told.iter().all(|t| !t.evidence.is_empty() && t.remedy.ends_with('.')), "{told:?}");
        assert!(told.is_sorted_by(|a, b| a.weight >= b.weight), "{told:?}");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Each cause there is has a swarm here that yields it.
#[test]
fn no_cause_is_without_its_swarm() {
    let source = include_str!("../src/why/cause.rs");
    let names: BTreeSet<&str> = source
        .lines()
        .filter_map(|line| {
            line.trim().strip_prefix("Cause::")?.split_once("=> \"")?.1.split('"').next()
        })
        .collect();
    assert!(names.len() >= 26, "{names:?}");
    let tried = CASES.iter().map(|case| case.0).chain(["slow"]).collect();
    assert_eq!(names.difference(&tried).collect::<Vec<_>>(), [] as [&&str; 0]);
}

/// How much comes is not for a table.
#[test]
fn what_comes_slowly_is_said_to_be_slow() {
    let causes = after(alone(1).pieces(64).seeders(1, 40_000), 20);
    let Some(Finding { cause: Cause::Slow { connected, sending, .. }, .. }) = causes.first() else {
        panic!("{causes:?}")
    };
    assert_eq!((*connected, *sending), (1, 1));
}

#[test]
fn a_swarm_in_which_all_is_well_has_no_causes_in_the_end() {
    let mut world = alone(1).seeders(1, UP).build();
    world.run_until(Instant::ZERO + secs(600));
    assert!(world.finished(HostId(0)).is_some());
    assert_eq!(found(&world), []);
}

/// A tracker that fails is not what holds a swarm up that has peers.
#[test]
fn what_matters_less_comes_after() {
    let miser = Part { unchoke: false, ..Part::default() };
    let mut world = rogues(2, &miser).build();
    world.run_until(Instant::ZERO + secs(60));
    let mut outside = world.outside(HostId(0));
    outside.dht = Dht::Silent;
    let busy = TrackerState::Failed(Trouble::Refused, "a.example refused: busy".to_owned());
    outside.trackers = vec![Tracker { host: "a.example".to_owned(), state: busy }];
    let causes = world.why(HostId(0), &outside);
    let names: Vec<&str> = causes.iter().map(|found| found.cause.name()).collect();
    assert_eq!(names, ["all_choke", "trackers_fail", "dht_silent"]);
    let Cause::TrackersFail { alone, .. } = &causes[1].cause else { panic!("{causes:?}") };
    assert!(!alone);
    assert_eq!(causes[1].cause.to_string(), "tracker a.example refused: busy");
}
