//! Networks of DHT nodes in virtual time: whoever is announced is found, whatever others do.
//!
//! `DOWNPOUR_SEEDS=5` (at most) sets how many seeds of each. The figures are printed with `--nocapture`.

use std::time::Duration;

use downpour::{
    base::{hash::sha1, time::Instant},
    dht::{NodeId, Question, SearchId, Summary},
    sim::dht::{Families, Mischief, Plan, World},
};

const MINUTE: Duration = Duration::from_secs(60);
/// Questions in a second of one that floods.
const FLOOD: u64 = 20;
/// An answer has no more bytes.
const ANSWER: u64 = 400;

fn seeds() -> std::ops::RangeInclusive<u64> {
    let wanted = std::env::var("DOWNPOUR_SEEDS").ok().and_then(|n| n.parse().ok());
    1..=wanted.unwrap_or(1).min(5)
}

/// How searches for announced peers went.
#[derive(Debug, Default)]
struct Outcome {
    searches: usize,
    found: usize,
    hops: Vec<u8>,
    asked: Vec<u32>,
    stored: Vec<u32>,
    /// Bytes in a second of each honest host.
    rate: u64,
}

/// Announces torrents in a network that has settled, waits for churn to do its work, and looks for them
/// from elsewhere.
fn announce_and_find(plan: Plan, torrents: usize, finders: usize) -> Outcome {
    let mut world = World::new(plan);
    world.run_for(10 * MINUTE);
    let mut outcome = Outcome::default();
    let family = |n: usize| match plan.families {
        Families::V4 => false,
        Families::V6 => true,
        Families::Mixed => n.is_multiple_of(2),
    };
    let announced: Vec<_> = (0..torrents)
        .map(|n| {
            let info_hash = sha1(format!("torrent {n} of {}", plan.seed).as_bytes());
            let host = world.some_host(family(n));
            let search = world.announce(host, info_hash);
            world.run_for(Duration::from_secs(2));
            (info_hash, host, search, family(n))
        })
        .collect();
    world.run_for(MINUTE);
    // Some have left before they had announced what they have.
    let announced: Vec<_> = announced
        .into_iter()
        .filter_map(|(info_hash, host, search, v6)| {
            outcome.stored.push(ended(&world, search)?.stored);
            Some((info_hash, host, v6))
        })
        .collect();
    assert!(announced.len() * 20 >= torrents * 19);
    world.run_for(9 * MINUTE);
    let mut searches = Vec::new();
    for &(info_hash, host, v6) in &announced {
        let wanted = world.addrs(host)[usize::from(v6)].expect("its family");
        for _ in 0..finders {
            let finder = world.some_host(v6);
            searches.push((world.search(finder, Question::Peers(info_hash, None)), wanted));
        }
        world.run_for(Duration::from_secs(1));
    }
    world.run_for(MINUTE);
    for (search, wanted) in searches {
        let Some(summary) = ended(&world, search) else { continue };
        outcome.searches += 1;
        outcome.found += usize::from(world.answer(search).peers.contains(&wanted));
        outcome.hops.push(summary.hops);
        outcome.asked.push(summary.asked);
    }
    let minutes = world.now().since(Instant::ZERO).as_secs() / 60;
    let honest = plan.hosts as u64 * (100 - plan.rogues) / 100;
    outcome.rate = world.sent.1 / minutes / 60 / honest;
    println!("{plan:?}: {} of {} found", outcome.found, outcome.searches);
    println!("  {} B/s sent by an honest host, {minutes} virtual minutes", outcome.rate);
    println!(
        "  hops: median {}, most {}",
        median(&mut outcome.hops),
        outcome.hops.iter().max().unwrap()
    );
    println!("  asked: median {}", median(&mut outcome.asked));
    println!("  stored by: median {}", median(&mut outcome.stored));
    outcome
}

/// How a search went; `None` if the host has left before its end, as some do.
fn ended(world: &World, search: (usize, SearchId)) -> Option<&Summary> {
    let summary = world.answer(search).summary.as_ref();
    assert!(summary.is_some() || !world.is_alive(search.0), "a search does not end");
    summary
}

fn median<T: Ord + Copy>(values: &mut [T]) -> T {
    values.sort_unstable();
    values[values.len() / 2]
}

/// Two thousand hosts, a tenth of them liars, a tenth replaced in ten minutes.
fn network(seed: u64, families: Families) -> Plan {
    let mischief = Mischief::Lies;
    Plan { seed, hosts: 2_000, families, rogues: 10, mischief, loss: 2, churn: 10 }
}

fn nearly_all_are_found(outcome: &Outcome) {
    assert!(outcome.found * 100 >= outcome.searches * 99, "{outcome:?}");
}

#[test]
fn an_announced_peer_is_found_among_two_thousand() {
    for seed in seeds() {
        nearly_all_are_found(&announce_and_find(network(seed, Families::V4), 100, 3));
    }
}

/// Every search comes to the hosts that are truly closest, but for those that have just come or gone.
#[test]
fn searches_come_to_the_closest_hosts() {
    let plan = Plan { hosts: 500, rogues: 0, ..network(1, Families::V4) };
    let mut world = World::new(plan);
    world.run_for(10 * MINUTE);
    let searches: Vec<_> = (0..100)
        .map(|n| {
            let target: NodeId = sha1(format!("target {n}").as_bytes()).into();
            let host = world.some_host(false);
            (target, world.search(host, Question::FindNode(target)))
        })
        .collect();
    world.run_for(MINUTE / 2);
    let right = |&(target, search)| {
        let Some(summary) = ended(&world, search) else { return 8 };
        let truth = world.closest(target, false);
        summary.closest.iter().filter(|contact| truth.contains(&contact.id)).count()
    };
    let right: usize = searches.iter().map(right).sum();
    assert!(right >= 740, "{right} of {}", searches.len() * 8);
}

#[test]
fn an_announced_peer_is_found_over_ipv6() {
    for seed in seeds() {
        let plan = Plan { hosts: 500, ..network(seed, Families::V6) };
        nearly_all_are_found(&announce_and_find(plan, 60, 2));
    }
}

#[test]
fn an_announced_peer_is_found_where_some_have_one_family_and_some_both() {
    for seed in seeds() {
        let plan = Plan { hosts: 800, ..network(seed, Families::Mixed) };
        nearly_all_are_found(&announce_and_find(plan, 60, 2));
    }
}

/// A tenth of rogues of each kind, beside the same network without any: they hide nobody, and what they cost
/// everybody else is bounded.
#[test]
fn rogues_hide_nobody_and_cost_little() {
    for seed in seeds() {
        let plan = Plan { hosts: 400, ..network(seed, Families::V4) };
        let mut without = announce_and_find(Plan { rogues: 0, ..plan }, 50, 2);
        nearly_all_are_found(&without);
        let asked = median(&mut without.asked);
        for mischief in [Mischief::Lies, Mischief::IsSilent, Mischief::Forgets, Mischief::Floods] {
            let mut with = announce_and_find(Plan { mischief, ..plan }, 50, 2);
            nearly_all_are_found(&with);
            assert!(median(&mut with.asked) <= asked * 2, "{mischief:?}: {with:?}");
            // Who is asked something gives one answer, to whoever it was.
            let answers =
                if mischief == Mischief::Floods { FLOOD * plan.rogues * ANSWER / 90 } else { 0 };
            let most = without.rate * 2 + answers;
            assert!(with.rate <= most, "{mischief:?}: {} B/s", with.rate);
        }
    }
}
