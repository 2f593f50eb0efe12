//! Swarms without a tracker: hosts find one another on the local network, or by the DHT.
//!
//! Both compare with the same swarm and a tracker.

use downpour::sim::{
    dht::{Families, Mischief, Plan},
    host::HostPlan,
    observer::Role,
    scenario::Scenario,
};

use crate::{check, cost, run_one, secs, seeds, small_crowd};

/// One seed and twelve leechers on one local network.
pub(crate) fn neighbours(seed: u64) -> Scenario {
    let on_it = |_: usize, p: &mut HostPlan| p.lsd = true;
    small_crowd(seed).each(Role::Seeder, on_it).each(Role::Leecher, on_it)
}

/// They come one after another; of three announces one host hears two.
#[test]
fn neighbours_find_one_another_though_announces_get_lost() {
    for seed in seeds(2) {
        let late = |n: usize, p: &mut HostPlan| p.join = secs(n as u64);
        let told = run_one(small_crowd(seed).each(Role::Leecher, late));
        let alone = neighbours(seed).each(Role::Leecher, late).trackerless().unheard(33);
        let alone = run_one(alone);
        println!("neighbours, seed {seed}: {:.3} of the time with a tracker", cost(&told, &alone));
        check(cost(&told, &alone) <= 1.2, "neighbours wait for one another", &alone);
    }
}

/// All but the seed have a link and nothing else, and of the nodes of the DHT one in ten lies.
#[test]
fn a_link_and_the_dht_are_enough_among_liars() {
    for seed in seeds(2) {
        let by_link = |_: usize, p: &mut HostPlan| (p.knows, p.settings.pex) = (false, true);
        let crowd = || small_crowd(seed).each(Role::Leecher, by_link);
        let plan = Plan {
            seed,
            hosts: 300,
            families: Families::V4,
            rogues: 10,
            mischief: Mischief::Lies,
            loss: 2,
            churn: 10,
        };
        let told = run_one(crowd());
        let alone = run_one(crowd().trackerless().dht(plan));
        println!("DHT alone, seed {seed}: {:.3} of the time with a tracker", cost(&told, &alone));
        // A search takes seconds, and who comes when nobody is there yet searches again.
        check(cost(&told, &alone) <= 1.35, "they wait for one another", &alone);
    }
}
