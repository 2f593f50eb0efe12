//! Scenarios: a swarm described in a few lines, run to its end, and what came of it.
//!
//! ```
//! use std::time::Duration;
//! use downpour::sim::scenario::Scenario;
//!
//! let report = Scenario::new(1)
//!     .pieces(8)
//!     .piece_length(32 << 10)
//!     .seeders(1, 100_000)
//!     .leechers(3, 100_000)
//!     .delay(Duration::from_millis(20))
//!     .run();
//! assert!(report.hung.is_none(), "{report}");
//! ```

use std::time::Duration;

use crate::{
    base::{geometry::Geometry, time::Instant},
    torrent::Command,
};

use super::{
    HostId, dht,
    host::{Going, HostPlan},
    masked::{Mask, Masked},
    observer::{BUCKET, Role},
    replay::{Replay, Replayer},
    report::{HostReport, Report},
    rogue::{Part, Rogue, Script},
    server::{Answer, Server},
    tracker::TrackerPlan,
    world::{Network, World},
};

/// Bytes per second that those send who are rogues in the encryption handshake.
const MASKED_UP: u64 = 1_000_000;
/// The run counts as hung when no leecher has received anything useful for so long.
const STALL: Duration = Duration::from_secs(600);
/// The run counts as hung after so long in any case.
const LONGEST: Duration = Duration::from_secs(48 * 3_600);
/// Things that happen between two looks at who has finished.
const BATCH: u32 = 256;
/// How long disks may take to finish their jobs once everyone has stopped.
const WIND_DOWN: Duration = Duration::from_secs(3_600);
/// Unfinished hosts that a report of a hang describes.
const DESCRIBED: usize = 6;

/// Whom a host that is no torrent machine plays.
#[derive(Debug, Clone)]
enum Cast {
    Script(Part),
    Masked(Mask),
    Replayer(Replay),
    Server(Answer),
}

/// A swarm to be simulated.
pub struct Scenario {
    seed: u64,
    pieces: u32,
    piece_length: u32,
    total: Option<u64>,
    network: Network,
    tracker: TrackerPlan,
    dht: Option<dht::Plan>,
    stall: Duration,
    hosts: Vec<HostPlan>,
    parts: Vec<Option<Cast>>,
}

impl Scenario {
    /// An empty swarm; `seed` decides everything that is left to chance.
    pub fn new(seed: u64) -> Self {
        Scenario {
            seed,
            pieces: 64,
            piece_length: 256 << 10,
            total: None,
            network: Network::default(),
            tracker: TrackerPlan::default(),
            dht: None,
            stall: STALL,
            hosts: Vec::new(),
            parts: Vec::new(),
        }
    }

    /// Number of pieces.
    pub fn pieces(mut self, pieces: u32) -> Self {
        self.pieces = pieces;
        self
    }

    /// Length of a piece in bytes.
    pub fn piece_length(mut self, bytes: u32) -> Self {
        self.piece_length = bytes;
        self
    }

    /// Size of the content, instead of whole pieces.
    pub fn total(mut self, bytes: u64) -> Self {
        self.total = Some(bytes);
        self
    }

    /// Adds `count` hosts that have everything and send `up` bytes per second.
    pub fn seeders(self, count: u32, up: u64) -> Self {
        self.group("seeder", Role::Seeder, count, up, None)
    }

    /// Adds `count` hosts that have nothing and send `up` bytes per second.
    pub fn leechers(self, count: u32, up: u64) -> Self {
        self.group("leecher", Role::Leecher, count, up, None)
    }

    /// Adds a host that plays `part` and sends `up` bytes per second.
    pub fn rogue(self, name: &str, part: Part, up: u64) -> Self {
        self.group(name, Role::Rogue, 1, up, Some(Cast::Script(part)))
    }

    /// Adds `count` hosts that do this with the encryption handshake.
    pub fn masked(self, name: &str, count: u32, mask: Mask) -> Self {
        self.group(name, Role::Rogue, count, MASKED_UP, Some(Cast::Masked(mask)))
    }

    /// Adds a host that sends what others have said.
    pub fn replayer(self, name: &str, replay: Replay, up: u64) -> Self {
        self.group(name, Role::Rogue, 1, up, Some(Cast::Replayer(replay)))
    }

    /// Adds a web seed, which plays `part` and sends `up` bytes per second: to a torrent it is a peer, however its
    /// bytes come.
    pub fn web_seed(self, name: &str, part: Part, up: u64) -> Self {
        self.feeds(name, Cast::Script(part), up)
    }

    /// Adds a web seed that answers so by HTTP, and sends `up` bytes per second.
    pub fn server(self, name: &str, answer: Answer, up: u64) -> Self {
        self.feeds(name, Cast::Server(answer), up)
    }

    fn feeds(self, name: &str, cast: Cast, up: u64) -> Self {
        let mut with = self.group(name, Role::Rogue, 1, up, Some(cast));
        with.hosts.iter_mut().filter(|host| host.name == name).for_each(|h| h.web_seed = true);
        with
    }

    /// Changes hosts: `change` sees each of `role` with its number in that role.
    pub fn each(mut self, role: Role, mut change: impl FnMut(usize, &mut HostPlan)) -> Self {
        let those = self.hosts.iter_mut().filter(|h| h.role == role);
        those.enumerate().for_each(|(i, plan)| change(i, plan));
        self
    }

    /// One-way delay between any two hosts.
    pub fn delay(mut self, delay: Duration) -> Self {
        self.network.delay = delay;
        self
    }

    /// Bytes of packets for each 1,000 bytes of stream.
    pub fn overhead(mut self, per_mille: u32) -> Self {
        self.network.overhead = per_mille;
        self
    }

    /// How long a connection lives on average before the network breaks it.
    pub fn connection_life(mut self, mean: Duration) -> Self {
        self.network.connection_life = Some(mean);
        self
    }

    /// How the tracker behaves.
    pub fn tracker(mut self, plan: TrackerPlan) -> Self {
        self.tracker = plan;
        self
    }

    /// The tracker never answers.
    pub fn trackerless(self) -> Self {
        self.tracker(TrackerPlan {
            outages: vec![Duration::ZERO..LONGEST],
            ..TrackerPlan::default()
        })
    }

    /// A network of DHT nodes is there, which hosts join unless their plan says otherwise.
    pub fn dht(mut self, plan: dht::Plan) -> Self {
        self.dht = Some(plan);
        self.network.is_public = true;
        self
    }

    /// Of 100 announces on the local network, those that one host does not hear.
    pub fn unheard(mut self, of_hundred: u64) -> Self {
        self.network.unheard = of_hundred;
        self
    }

    /// How long nothing useful may arrive anywhere before the run counts as hung.
    pub fn stall(mut self, stall: Duration) -> Self {
        self.stall = stall;
        self
    }

    fn group(mut self, name: &str, role: Role, count: u32, up: u64, part: Option<Cast>) -> Self {
        for _ in 0..count {
            let n = self.hosts.iter().filter(|h| h.role == role).count() + 1;
            let name = if role == Role::Rogue { name.to_owned() } else { format!("{name} {n}") };
            self.hosts.push(HostPlan::new(name, role, up));
            self.parts.push(part.clone());
        }
        self
    }

    fn geometry(&self) -> Geometry {
        let whole = u64::from(self.pieces) * u64::from(self.piece_length);
        Geometry::new(self.total.unwrap_or(whole), self.piece_length)
            .expect("a scenario has a sensible geometry")
    }

    /// The least time in which the last leecher can have everything; see [`Report::bound`].
    fn bound(&self, size: u64) -> Duration {
        let rates = |role: Role| {
            let those = self.hosts.iter().filter(move |h| h.role == role);
            those.map(|h| h.up.map(|r| r.0)).sum::<Option<u64>>()
        };
        let leechers = self.hosts.iter().filter(|h| h.role == Role::Leecher);
        let n = leechers.clone().filter(|h| h.have.is_empty()).count() as f64;
        let (Some(seed), Some(leech)) = (rates(Role::Seeder), rates(Role::Leecher)) else {
            return Duration::ZERO;
        };
        let size = size as f64;
        let by_seeder = size / seed as f64;
        let by_all = n * size / (seed + leech) as f64;
        let by_down = leechers.filter_map(|h| h.down).map(|r| size / r.0 as f64);
        let bound = by_down.fold(by_seeder.max(by_all), f64::max);
        if bound.is_finite() { Duration::from_secs_f64(bound) } else { Duration::ZERO }
    }

    /// The world before anything has happened, for those who want to watch it step by step.
    pub fn build(mut self) -> World {
        let geometry = self.geometry();
        let mut world = World::new(self.seed, geometry, self.network, self.tracker);
        self.dht.into_iter().for_each(|plan| world.join_dht(plan));
        for (n, (mut plan, part)) in self.hosts.drain(..).zip(self.parts.drain(..)).enumerate() {
            if let Some(part) = part {
                let seed = self.seed ^ ((n as u64) << 32);
                let (content, info_hash) = (world.content(), world.info_hash());
                let rogue: Box<dyn Rogue> = match part {
                    Cast::Script(part) => Box::new(Script::new(part, content, info_hash, seed)),
                    Cast::Masked(mask) => Box::new(Masked::new(mask, info_hash, seed)),
                    Cast::Replayer(replay) => Box::new(Replayer::new(replay)),
                    Cast::Server(answer) => Box::new(Server::new(answer, content, info_hash)),
                };
                plan.rogue = Some(rogue);
            }
            world.add(plan);
        }
        world
    }

    /// Runs until every leecher that stays has everything, or nothing moves any more.
    pub fn run(self) -> Report {
        let (seed, stall, size) = (self.seed, self.stall, self.geometry().total());
        let bound = self.bound(size);
        let last_join = self.hosts.iter().map(|h| h.join).max().unwrap_or_default();
        let mut world = self.build();
        let expected: Vec<HostId> = world.hosts().filter(|&h| is_expected(world.plan(h))).collect();
        let mut hung = None;
        let unfinished = |world: &World| expected.iter().any(|&h| world.finished(h).is_none());
        while unfinished(&world) {
            let progress = world.observer().last_progress().max(Instant::ZERO + last_join);
            let limit = (progress + stall).min(Instant::ZERO + LONGEST);
            if !(0..BATCH).all(|_| world.step(limit)) && unfinished(&world) {
                hung = Some(world.describe(DESCRIBED));
                break;
            }
        }
        let mut report = report(&world, seed, size, bound);
        report.hung = hung;
        if report.hung.is_none() {
            report.leaked = leaked(&mut world);
        }
        report
    }
}

/// Whether the host is a leecher that stays until it has everything.
fn is_expected(plan: &HostPlan) -> bool {
    plan.role == Role::Leecher
        && (plan.back_after.is_some() || !matches!(plan.going, Some((Going::At(_), _))))
}

/// Stops every machine; what its pool still has lent out after that.
pub fn leaked(world: &mut World) -> Vec<(HostId, usize)> {
    let machines: Vec<HostId> = world.hosts().filter(|&h| world.torrent(h).is_some()).collect();
    machines.iter().for_each(|&h| world.command(h, Command::Pause));
    let limit = world.now() + WIND_DOWN;
    while machines.iter().any(|&h| world.memory(h).2 > 0) && world.step(limit) {}
    machines.iter().map(|&h| (h, world.memory(h).0)).filter(|(_, lent)| *lent > 0).collect()
}

/// The share of `capacity` (bytes per second) that each bucket of `sent` uses.
fn usage(sent: &[u64], capacity: u64) -> Vec<f64> {
    let full = (capacity * BUCKET.as_secs()).max(1) as f64;
    sent.iter().map(|&bytes| bytes as f64 / full).collect()
}

fn report(world: &World, seed: u64, size: u64, bound: Duration) -> Report {
    let observer = world.observer();
    let hosts: Vec<HostReport> = world
        .hosts()
        .map(|id| {
            let plan = world.plan(id);
            let (received, wasted) = observer.received_by(id);
            HostReport {
                name: plan.name.clone(),
                role: plan.role,
                expected: is_expected(plan),
                joined: world.joined(id),
                finished: world.finished(id),
                sent: observer.sent_by(id),
                received,
                wasted,
                inputs: world.work(id).0,
                messages: world.work(id).1,
                most_held: world.most_held(id),
            }
        })
        .collect();
    let capacity = |role: Role| -> u64 {
        let those = world.hosts().map(|h| world.plan(h)).filter(|p| p.role == role);
        those.map(|p| p.up.map_or(0, |r| r.0)).sum()
    };
    let copies = |bytes: u64| bytes as f64 / size.max(1) as f64;
    let (doubles, most_outstanding, double_requests) = observer.doubles();
    let [seeders, leechers] = observer.usage();
    Report {
        seed,
        size,
        bound,
        ended: world.now(),
        first_copy: observer.first_full().map(|(at, bytes)| (at, copies(bytes))),
        seeder_copies: copies(
            hosts.iter().filter(|h| h.role == Role::Seeder).map(|h| h.sent).sum(),
        ),
        repeated_copies: (copies(observer.repeats().held), copies(observer.repeats().on_the_way)),
        doubles,
        most_outstanding: most_outstanding.max(1),
        timed_out: observer.timed_out(),
        double_requests: double_requests.to_vec(),
        leecher_usage: usage(leechers, capacity(Role::Leecher)),
        seeder_usage: usage(seeders, capacity(Role::Seeder)),
        bans: world.bans().to_vec(),
        most_bad: world.most_bad(),
        partings: world.partings().clone(),
        leaked: Vec::new(),
        events: world.events(),
        digest: world.digest(),
        hung: None,
        hosts,
    }
}
