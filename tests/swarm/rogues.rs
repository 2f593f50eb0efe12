//! The table of rogues: what each costs honest peers, and what becomes of it.
//!
//! `cargo test --test swarm rogues -- --nocapture` prints it. A row is one kind of rogue in a swarm, which is run
//! with it and without it by the same seed:
//!
//! - *finish*: when the last honest peer has everything, over that without; in the median of the seeds, and most.
//! - *work*: messages, arrivals and writes that honest peers handle, over those without.
//! - *held*: most KiB of memory that an honest peer holds beside the slabs of blocks, which the budget bounds.
//! - *bad*: most pieces that failed at one honest peer for what one rogue had sent, before it was banned there and
//!   after; *bans*: by how many peers.
//! - *ends*: how often honest peers closed a connection for a reason that they have not without it.
//!
//! Rogues that send what is right as well bring their uplink along, which makes up for what they cost. Liars among
//! the nodes of the DHT are in `tests/dht.rs`, what is wrong in itself and not only ill meant in `tests/hostile`.

use std::time::Duration;

use downpour::{
    mse::Policy,
    sim::{
        host::HostPlan,
        masked::Mask,
        observer::Role,
        replay::Replay,
        report::{HostReport, Report},
        rogue::{Claims, Flood, Metadata, Part, Serve},
        scenario::Scenario,
        server::Answer,
        tracker::TrackerPlan,
    },
};

use crate::{
    UP, cost, median, run_one, secs, seeds, side_by_side, small_crowd, trackerless::neighbours,
};

/// So many seeds tell a median from chance.
const MANY: usize = 15;
/// Most that a rogue may cost, in the median of many seeds. Some rows have more.
const MEDIAN: f64 = 1.05;
/// Most that it may cost with any one, where they are few.
const WORST: f64 = 1.2;
/// Most pieces that may fail at one peer for what one poisoner sends: the first, which others had a part in, and one
/// that it sends alone.
const BAD: u32 = 2;
/// Most that may fail for what it has sent before it was banned: what the disk was checking then.
const LATE: u32 = 1;
/// Most work of honest peers over that without, in the median. Who sends 2,000 messages a second is heard.
const WORK: f64 = 3.0;
/// Most bytes that an honest peer may hold for rogues.
const HELD: usize = 512 << 10;

/// The honest swarms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Crowd {
    /// One seed and twelve leechers.
    Plain,
    /// They tell one another of peers.
    Exchanging,
    /// They are on one local network, and announce themselves there.
    Neighbours,
    /// They prefer encrypted connections.
    Encrypting,
    /// Three of four leechers know nothing but the info hash.
    Magnets,
    /// A web seed and eight leechers.
    Web,
    /// One seed and six leechers, with pieces that are written before they are complete.
    Long,
}

impl Crowd {
    fn scenario(self, seed: u64) -> Scenario {
        let plain = small_crowd(seed);
        match self {
            Crowd::Plain => plain,
            Crowd::Exchanging => plain.each(Role::Leecher, |_, p| p.settings.pex = true),
            Crowd::Neighbours => neighbours(seed),
            Crowd::Encrypting => {
                let prefer = |_: usize, p: &mut HostPlan| p.settings.encryption = Policy::Preferred;
                plain.each(Role::Seeder, prefer).each(Role::Leecher, prefer)
            }
            Crowd::Magnets => plain.each(Role::Leecher, |i, p| p.knows = i % 4 == 0),
            Crowd::Long => {
                let crowd = Scenario::new(seed).pieces(48).piece_length(4 << 20);
                crowd.seeders(1, UP).leechers(6, UP)
            }
            Crowd::Web => {
                let crowd = Scenario::new(seed).pieces(256).piece_length(256 << 10);
                crowd.leechers(8, UP).server("server", Answer::Right, 2 * UP)
            }
        }
    }
}

/// What becomes of a rogue.
#[derive(Debug, Clone, Copy)]
enum Gets {
    /// Nobody bans it, and nobody has to close its connection.
    Borne,
    /// Nobody bans it; some connections are closed for this reason.
    Closed(&'static str),
    /// It is banned, after no more than [`BAD`] pieces by each.
    Banned,
}
use Gets::{Banned, Borne, Closed};

/// One row of the table.
struct Row {
    name: &'static str,
    crowd: Crowd,
    cast: Box<dyn Fn(Scenario) -> Scenario + Sync>,
    gets: Gets,
    /// What it may cost in the median, and how many pieces may fail.
    may: (f64, u32),
}

impl Row {
    /// It costs more than is aimed at: so much at most.
    fn costs(self, most: f64) -> Row {
        Row { may: (most, self.may.1), ..self }
    }

    /// In one of a hundred runs the disk checks another bad piece beside the first.
    fn has_one_more(self) -> Row {
        Row { may: (self.may.0, BAD + 1), ..self }
    }
}

fn row(
    name: &'static str,
    crowd: Crowd,
    gets: Gets,
    cast: impl Fn(Scenario) -> Scenario + Sync + 'static,
) -> Row {
    Row { name, crowd, cast: Box::new(cast), gets, may: (MEDIAN, BAD) }
}

/// A row of one who plays a part among peers that are as they usually are.
fn part(name: &'static str, gets: Gets, part: Part) -> Row {
    row(name, Crowd::Plain, gets, move |crowd| crowd.rogue("rogue", part.clone(), UP))
}

fn serving(serve: Serve) -> Part {
    Part { serve, ..Part::default() }
}

/// Those who send what is wrong.
fn poisoners() -> Vec<Row> {
    let among = |name, crowd, count: u32, wrong| {
        row(name, crowd, Banned, move |crowd| {
            let part = serving(Serve::Wrong(wrong));
            (0..count).fold(crowd, |crowd, _| crowd.rogue("rogue", part.clone(), UP))
        })
    };
    let several = |name, count, wrong| among(name, Crowd::Plain, count, wrong);
    vec![
        part("one block of 1,000 is wrong", Banned, serving(Serve::Wrong(1_000))),
        part("one block of 100 is wrong", Banned, serving(Serve::Wrong(100))),
        part("one block of 7 is wrong", Banned, serving(Serve::Wrong(7))),
        part("all blocks are wrong", Banned, serving(Serve::Wrong(1))),
        several("three send wrong blocks only", 3, 1),
        several("three send one of 20 wrong", 3, 20),
        among("one block of 100 is wrong, pieces of 4 MiB", Crowd::Long, 1, 100).has_one_more(),
        among("all blocks are wrong, pieces of 4 MiB", Crowd::Long, 1, 1).costs(1.1),
    ]
}

/// One who asks everyone for anything and gives nothing, perhaps as a new peer again and again.
fn taker(hang_up_after: Option<Duration>) -> impl Fn(Scenario) -> Scenario {
    move |crowd| {
        let flood = Flood { requests: 10, ..Flood::default() };
        let (interested, claims) = (true, Claims::Nothing);
        let part = Part { flood, interested, claims, hang_up_after, ..serving(Serve::Never) };
        crowd.rogue("rogue", part, UP)
    }
}

/// Those who do not send, or hardly.
fn stallers() -> Vec<Row> {
    let silent = || serving(Serve::Never);
    vec![
        part(
            "takes only",
            Borne,
            Part { unchoke: false, interested: true, claims: Claims::Nothing, ..silent() },
        ),
        row("takes all that it can get", Crowd::Plain, Borne, taker(None)).costs(1.08),
        row("the same, and comes again every 11 s", Crowd::Plain, Borne, taker(Some(secs(11))))
            .costs(1.08),
        part("unchokes and answers nothing", Borne, silent()),
        part("the same, without extensions", Borne, Part { extensions: false, ..silent() }),
        part("answers nothing, has half", Borne, Part { claims: Claims::Every(2), ..silent() }),
        part("rejects everything", Borne, serving(Serve::Reject)),
        part("a block every 8 s", Borne, serving(Serve::Slowly(secs(8)))).costs(1.09),
        part("a byte every second", Borne, serving(Serve::Trickle(secs(1)))),
        part("60 blocks and nothing more", Borne, serving(Serve::Times(60))),
        part(
            "wants everything, never unchokes",
            Borne,
            Part { unchoke: false, interested: true, ..silent() },
        ),
        row("asks for all and reads nothing", Crowd::Plain, Borne, |crowd| {
            let flood = Flood { requests: 20, ..Flood::default() };
            let part = Part { flood, interested: true, claims: Claims::Nothing, ..Part::default() };
            let crowd = crowd.rogue("rogue", part, UP);
            crowd.each(Role::Rogue, |_, p| p.takes = Some(64 << 10))
        }),
        part("takes no requests", Borne, Part { reqq: Some(0), ..silent() }).costs(1.08),
        part("takes four billion requests", Borne, Part { reqq: Some(u32::MAX), ..silent() }),
    ]
}

/// Those who send what nobody needs, as fast as they can.
fn flooders() -> Vec<Row> {
    let flood = |name, gets, flood| {
        let quiet = Part { claims: Claims::Nothing, ..serving(Serve::Never) };
        part(name, gets, Part { flood, interested: true, ..quiet })
    };
    let none = Flood::default();
    let all = Flood { haves: 50, requests: 200, cancels: 50, extended: 20, blocks: 2 };
    vec![
        flood("500 haves a second", Closed("floods us with haves"), Flood { haves: 50, ..none }),
        flood(
            "2,000 requests a second",
            Closed("floods us with requests"),
            Flood { requests: 200, ..none },
        ),
        flood(
            "2,000 cancels a second",
            Closed("floods us with cancels"),
            Flood { cancels: 200, ..none },
        ),
        flood("2,000 extension messages a second", Borne, Flood { extended: 200, ..none }),
        flood(
            "20 blocks a second unasked",
            Closed("sent a block that nobody asked for"),
            Flood { blocks: 2, ..none },
        ),
        part(
            "all of that, and has everything",
            Closed("sent a block that nobody asked for"),
            Part { flood: all, interested: true, ..Part::default() },
        ),
    ]
}

/// Those who come and go, and those who send what others have sent.
fn comers() -> Vec<Row> {
    let hangs_up = |after| Part { hang_up_after: Some(after), interested: true, ..Part::default() };
    vec![
        part("hangs up every 3 s", Borne, hangs_up(secs(3))),
        part("opens and drops, ten times a second", Borne, hangs_up(secs(0))),
        row("sends back what it hears", Crowd::Plain, Closed("connected to ourselves"), |crowd| {
            crowd.replayer("rogue", Replay::Echo, UP)
        }),
        row(
            "sends everyone what one said",
            Crowd::Plain,
            Closed("connected to ourselves"),
            |crowd| crowd.replayer("rogue", Replay::First, UP),
        ),
    ]
}

/// Those who name peers.
fn namers() -> Vec<Row> {
    let exchange = |name, inventions| {
        row(name, Crowd::Exchanging, Borne, move |crowd| {
            crowd.rogue("rogue", Part { inventions, ..serving(Serve::Never) }, UP)
        })
    };
    let tracker = |name, gets, plan: TrackerPlan| {
        row(name, Crowd::Exchanging, gets, move |crowd| crowd.tracker(plan.clone()))
    };
    let honest = TrackerPlan::default;
    vec![
        exchange("a peer names 50 that do not exist", 50),
        exchange("a peer names 2,000 that do not exist", 2_000),
        // Nobody hears honest ones among so many: those have a tracker besides.
        row("announces 500 a second to neighbours", Crowd::Neighbours, Borne, |crowd| {
            crowd.rogue("rogue", Part { announces: 500, ..serving(Serve::Never) }, UP)
        }),
        tracker(
            "the tracker names who asks",
            Closed("connected to ourselves"),
            TrackerPlan { names_asker: true, ..honest() },
        ),
        tracker(
            "the tracker names 200 strangers",
            Borne,
            TrackerPlan { strangers: 200, ..honest() },
        ),
        tracker(
            "the tracker names 1,900 strangers",
            Borne,
            TrackerPlan { strangers: 1_900, ..honest() },
        )
        .costs(1.13),
    ]
}

/// What partings call a connection that came to its end in the encryption handshake.
const NO_AGREEMENT: &str = "no agreement on encryption";

/// What is done in the encryption handshake, by three at a time.
fn masks() -> Vec<Row> {
    let masks = [
        ("encrypts: says nothing", Mask::Silent),
        ("encrypts: hangs up", Mask::HangsUp),
        ("encrypts: sends a key alone", Mask::KeyAlone),
        ("encrypts: sends a key of no use", Mask::BadKey),
        ("encrypts: pads without an end", Mask::Pads),
        ("encrypts: speaks of another torrent", Mask::OtherTorrent),
        ("encrypts: agrees, and says nothing more", Mask::Agrees),
    ];
    let rows = masks.map(|(name, mask)| {
        let agrees = mask == Mask::Agrees;
        let gets = Closed(if agrees { "no handshake in time" } else { NO_AGREEMENT });
        row(name, Crowd::Encrypting, gets, move |crowd| crowd.masked("rogue", 3, mask))
    });
    rows.into()
}

/// Leechers that know nothing but a hash, among peers of whom one lies about what it stands for.
fn metadata() -> Vec<Row> {
    let parts = [
        ("metadata: wrong", Metadata::Wrong),
        ("metadata: a little too long", Metadata::Claims(20_001)),
        ("metadata: 60 MiB", Metadata::Claims(60 << 20)),
        ("metadata: 4 GiB", Metadata::Claims(u32::MAX)),
        ("metadata: one byte", Metadata::Claims(1)),
        ("metadata: no answer", Metadata::Silent),
        ("metadata: refused", Metadata::Refuses),
    ];
    let row = |name, metadata, count: u32| {
        let part = Part { metadata, claims: Claims::Nothing, ..Part::default() };
        row(name, Crowd::Magnets, Borne, move |crowd| {
            (0..count).fold(crowd, |crowd, _| crowd.rogue("rogue", part.clone(), UP))
        })
    };
    let alone = parts.map(|(name, metadata)| row(name, metadata, 1));
    alone.into_iter().chain([row("metadata: no answer of four", Metadata::Silent, 4)]).collect()
}

/// What a web seed says by HTTP beside an honest one.
fn web_seeds() -> Vec<Row> {
    let answers = [
        ("web seed: wrong bytes", Answer::Wrong(1), "sent data that does not match the hash"),
        ("web seed: no answer", Answer::Never, "web seed: no answer in time"),
        ("web seed: breaks off", Answer::Breaks, "web seed: the connection broke"),
        (
            "web seed: another part",
            Answer::OtherPart,
            "web seed: the server sent another part of the file than it was asked for",
        ),
        (
            "web seed: a longer file",
            Answer::OtherLength,
            "web seed: a file there has another length",
        ),
        (
            "web seed: all of the file",
            Answer::WholeFile,
            "web seed: the server gives whole files only",
        ),
        ("web seed: packed", Answer::Packed, "web seed: the server packs what it sends"),
        ("web seed: nothing there", Answer::Status(404), "web seed: the server answered 404"),
        ("web seed: broken", Answer::Status(500), "web seed: the server answered 500"),
        ("web seed: always busy", Answer::Busy(0), "web seed: the server is busy (503)"),
        (
            "web seed: leads on and on",
            Answer::Redirects,
            "web seed: it leads to where it may not, or nowhere",
        ),
    ];
    let rows = answers.map(|(name, answer, why)| {
        row(name, Crowd::Web, Closed(why), move |crowd| crowd.server("other", answer, UP))
    });
    rows.into()
}

#[test]
fn who_sends_what_is_wrong_is_banned() {
    try_all(&poisoners());
}

#[test]
fn who_does_not_send_holds_nobody_up() {
    try_all(&stallers());
}

#[test]
fn who_floods_is_dropped() {
    try_all(&flooders());
}

#[test]
fn who_comes_and_goes_or_replays_holds_nobody_up() {
    try_all(&comers());
}

#[test]
fn who_names_strangers_holds_nobody_up() {
    try_all(&namers());
}

#[test]
fn nothing_that_is_said_before_the_first_message_stops_the_others() {
    try_all(&masks());
}

#[test]
fn metadata_comes_whoever_lies_about_it() {
    try_all(&metadata());
}

#[test]
fn nothing_web_seeds_answer_stops_the_others() {
    try_all(&web_seeds());
}

/// Runs all rows for all seeds, prints the table, and fails with all that went wrong.
fn try_all(rows: &[Row]) {
    let seeds: Vec<u64> = seeds(1).collect();
    let mut crowds: Vec<Crowd> = Vec::new();
    rows.iter().for_each(|row| {
        if !crowds.contains(&row.crowd) {
            crowds.push(row.crowd);
        }
    });
    let each = |of: usize| -> Vec<(usize, u64)> {
        (0..of).flat_map(|n| seeds.iter().map(move |&seed| (n, seed))).collect()
    };
    let honest = side_by_side(each(crowds.len()), |(n, seed)| run_one(crowds[n].scenario(seed)));
    let with = side_by_side(each(rows.len()), |(n, seed)| {
        let Row { crowd, cast, .. } = &rows[n];
        run_one(cast(crowd.scenario(seed)))
    });
    println!(
        "{:42} {:>13} {:>5} {:>5} {:>4} {:>4} {:>6}",
        "rogue", "finish", "work", "held", "bad", "bans", "ends"
    );
    let mut wrong = Vec::new();
    for (row, with) in rows.iter().zip(with.chunks(seeds.len())) {
        let at = crowds.iter().position(|crowd| *crowd == row.crowd).expect("it was run");
        let honest = &honest[at * seeds.len()..][..seeds.len()];
        let seen = Seen::of(honest, with);
        println!("{:42} {seen}", row.name);
        let many = seeds.len() >= MANY;
        if many && seen.finish > row.may.0 || !many && seen.worst > WORST {
            wrong.push(format!("{}: it held the others up", row.name));
        }
        if seen.work > WORK {
            wrong.push(format!("{}: it made the others work", row.name));
        }
        let faults = with.iter().filter_map(|report| Some((fault(row, report)?, report.seed)));
        wrong.extend(faults.map(|(fault, seed)| format!("{}: {fault}, seed {seed}", row.name)));
    }
    assert!(wrong.is_empty(), "{} are wrong:\n{}", wrong.len(), wrong.join("\n"));
}

/// What does not hold in a run that must.
fn fault(row: &Row, report: &Report) -> Option<&'static str> {
    let is_honest = |host: &HostReport| host.role != Role::Rogue;
    let framed = report.banned().iter().any(|id| is_honest(&report.hosts[id.at()]));
    let banned = !report.bans.is_empty();
    let overlooked = matches!(row.gets, Closed(why) if !report.partings.contains_key(why));
    let faults = [
        (framed, "an honest peer was banned"),
        (banned != matches!(row.gets, Banned), "somebody was banned, or nobody"),
        (report.most_bad.0 > row.may.1, "a poisoner was believed for too long"),
        (report.most_bad.1 > LATE, "what a poisoner had sent was not taken back"),
        (overlooked, "nobody found it out"),
        (held(report) > HELD, "somebody holds too much memory"),
    ];
    faults.into_iter().find_map(|(is_so, fault)| is_so.then_some(fault))
}

/// Most bytes that an honest host held.
fn held(report: &Report) -> usize {
    report.hosts.iter().map(|host| host.most_held).max().unwrap_or(0)
}

/// The figures of one row.
struct Seen {
    /// Finish time over that without: in the median, and at worst.
    finish: f64,
    worst: f64,
    work: f64,
    held: usize,
    bad: (u32, u32),
    bans: usize,
    ends: u64,
}

impl Seen {
    fn of(honest: &[Report], with: &[Report]) -> Seen {
        let both = || honest.iter().zip(with);
        let costs: Vec<f64> = both().map(|(honest, with)| cost(honest, with)).collect();
        let work = |report: &Report| {
            report.hosts.iter().map(|host| host.inputs + host.messages).sum::<u64>() as f64
        };
        let ends = |(honest, with): (&Report, &Report)| -> u64 {
            let usual = |reason: &str| honest.partings.contains_key(reason);
            with.partings.iter().filter(|(reason, _)| !usual(reason)).map(|(_, n)| n).sum()
        };
        Seen {
            worst: costs.iter().copied().fold(0.0, f64::max),
            finish: median(costs),
            work: median(both().map(|(honest, with)| work(with) / work(honest)).collect()),
            held: with.iter().map(held).max().unwrap_or(0),
            bad: with
                .iter()
                .map(|report| report.most_bad)
                .fold((0, 0), |(bad, late), most| (bad.max(most.0), late.max(most.1))),
            bans: with.iter().map(|report| report.bans.len()).max().unwrap_or(0),
            ends: both().map(ends).sum::<u64>() / with.len() as u64,
        }
    }
}

impl std::fmt::Display for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Seen { finish, worst, work, held, bad: (bad, late), bans, ends } = self;
        let held = held >> 10;
        write!(
            f,
            "{finish:>6.3} {worst:>6.3} {work:>5.2} {held:>5} {bad:>2}/{late} {bans:>4} {ends:>6}"
        )
    }
}
