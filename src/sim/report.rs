//! What came of a scenario: figures for tests, and a page of text for people.

use std::{collections::BTreeMap, fmt, time::Duration};

use crate::base::{time::Instant, units::ByteCount};

use super::{
    HostId,
    observer::{BUCKET, DoubleRequest, Role},
    world::Ban,
};

/// One host's part.
#[derive(Debug, Clone)]
pub struct HostReport {
    /// Its name in the scenario.
    pub name: String,
    /// What it was to the swarm.
    pub role: Role,
    /// Whether it was to stay until it had everything.
    pub expected: bool,
    /// When it first started.
    pub joined: Option<Instant>,
    /// When it first had everything.
    pub finished: Option<Instant>,
    /// Payload put on its uplink, in bytes.
    pub sent: u64,
    /// Payload that reached it, in bytes.
    pub received: u64,
    /// Payload that had come before or was not asked for, in bytes.
    pub wasted: u64,
    /// Arrivals, inputs and writes that its machine handled.
    pub inputs: u64,
    /// Messages that reached it.
    pub messages: u64,
    /// Most bytes that its machine held beside slabs.
    pub most_held: usize,
}

/// What came of one run.
#[derive(Debug, Clone)]
pub struct Report {
    /// The seed that repeats it.
    pub seed: u64,
    /// Size of the content in bytes.
    pub size: u64,
    /// Each host in the order of the scenario.
    pub hosts: Vec<HostReport>,
    /// No leecher that joins at the start can be the last before this: max(size/u_seed,
    /// N·size/(u_seed + Σ u_leech), size/least downlink); zero when an uplink has no limit.
    pub bound: Duration,
    /// When the run ended.
    pub ended: Instant,
    /// Copies that seeders had sent when each piece was first held by some leecher, and when that was.
    pub first_copy: Option<(Instant, f64)>,
    /// Copies that seeders sent in all.
    pub seeder_copies: f64,
    /// Copies that seeders sent, before the first was out, of what leechers held already, and of what
    /// was on its way to one.
    pub repeated_copies: (f64, f64),
    /// Second requests outside endgame: how many, at how many peers at most (1: never), the first.
    pub doubles: u64,
    /// Most peers at which a block was outstanding outside endgame.
    pub most_outstanding: u16,
    /// Requests that had timed out when one of their blocks was asked for elsewhere.
    pub timed_out: u64,
    /// The first second requests.
    pub double_requests: Vec<DoubleRequest>,
    /// Share of the leechers' uplinks in use, in buckets of ten seconds.
    pub leecher_usage: Vec<f64>,
    /// Share of the seeders' uplinks in use, in buckets of ten seconds.
    pub seeder_usage: Vec<f64>,
    /// Who banned whom.
    pub bans: Vec<Ban>,
    /// Most pieces that failed at one host for what one other had sent: before that was banned there, and after.
    pub most_bad: (u32, u32),
    /// Why machines closed connections, and how often.
    pub partings: BTreeMap<String, u64>,
    /// Slabs that did not come back after everyone had stopped, in bytes by host.
    pub leaked: Vec<(HostId, usize)>,
    /// Things that happened.
    pub events: u64,
    /// Two runs that share it were the same run.
    pub digest: u64,
    /// What everyone was doing when nothing moved any more.
    pub hung: Option<String>,
}

impl Report {
    /// When the last leecher that was to finish did; `None` if one did not.
    pub fn last_finish(&self) -> Option<Duration> {
        self.finishes().try_fold(Duration::ZERO, |last, at| Some(last.max(at?)))
    }

    /// Times of finish of the leechers that were to finish, counted from the start of the world.
    pub fn finishes(&self) -> impl Iterator<Item = Option<Duration>> + '_ {
        self.hosts
            .iter()
            .filter(|h| h.expected)
            .map(|h| h.finished.map(|at| at.since(Instant::ZERO)))
    }

    /// The last finish as a multiple of the bound.
    pub fn slowdown(&self) -> Option<f64> {
        Some(self.last_finish()?.as_secs_f64() / self.bound.as_secs_f64())
    }

    /// Share of the leechers' received payload that came twice or unasked.
    pub fn wasted(&self) -> f64 {
        let leechers = self.hosts.iter().filter(|h| h.role == Role::Leecher);
        let (wasted, received) = leechers.fold((0, 0), |(w, r), h| (w + h.wasted, r + h.received));
        if received == 0 { 0.0 } else { wasted as f64 / received as f64 }
    }

    /// Hosts that were banned, each once, in order.
    pub fn banned(&self) -> Vec<HostId> {
        let mut whom: Vec<HostId> = self.bans.iter().map(|b| b.whom).collect();
        whom.sort_unstable();
        whom.dedup();
        whom
    }

    /// The host's name.
    pub fn name(&self, host: HostId) -> &str {
        &self.hosts[host.at()].name
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = |d: Duration| format!("{:.1} s", d.as_secs_f64());
        writeln!(f, "seed {}: {}, {} hosts", self.seed, ByteCount(self.size), self.hosts.len())?;
        let mut times: Vec<Duration> = self.finishes().flatten().collect();
        times.sort_unstable();
        let expected = self.finishes().count();
        write!(f, "  finished     {} of {expected}", times.len())?;
        if let (Some(first), Some(last)) = (times.first(), times.last()) {
            let median = times[times.len() / 2];
            write!(f, ": {}, {}, {}", seconds(*first), seconds(median), seconds(*last))?;
        }
        writeln!(f)?;
        write!(f, "  bound        {}", seconds(self.bound))?;
        if let Some(slowdown) = self.slowdown().filter(|s| s.is_finite()) {
            write!(f, ", last at {slowdown:.3} of it")?;
        }
        writeln!(f)?;
        if let Some((at, copies)) = self.first_copy {
            let (held, on_the_way) = self.repeated_copies;
            writeln!(
                f,
                "  first copy   at {at} after {copies:.3} copies sent by seeders: {held:.3} of what \
                 leechers held, {on_the_way:.3} of what was on its way to one"
            )?;
        }
        writeln!(f, "  seeders sent {:.3} copies", self.seeder_copies)?;
        writeln!(f, "  wasted       {:.3} %", self.wasted() * 100.0)?;
        writeln!(
            f,
            "  doubles      {} outside endgame, at {} peers at most; {} requests timed out",
            self.doubles, self.most_outstanding, self.timed_out
        )?;
        for d in self.double_requests.iter().take(5) {
            writeln!(
                f,
                "    {} asked again for {}+{} at {} after {:?}, {} blocks unasked",
                self.name(d.host),
                d.piece,
                d.begin,
                d.at,
                d.age,
                d.unasked
            )?;
        }
        for (what, curve) in
            [("leechers up", &self.leecher_usage), ("seeders up", &self.seeder_usage)]
        {
            write!(f, "  {what:12} %")?;
            // About forty figures, however long the run was.
            for part in curve.chunks(curve.len().div_ceil(40).max(1)) {
                let mean = part.iter().sum::<f64>() / part.len() as f64;
                write!(f, " {:.0}", mean * 100.0)?;
            }
            writeln!(f, " (in {curve} s)", curve = curve.len() as u64 * BUCKET.as_secs())?;
        }
        for (reason, times) in &self.partings {
            writeln!(f, "  parted       {times} × {reason}")?;
        }
        for host in self.banned() {
            let times = self.bans.iter().filter(|b| b.whom == host).count();
            writeln!(f, "  banned       {} by {times}", self.name(host))?;
        }
        for (host, bytes) in &self.leaked {
            writeln!(f, "  leaked       {} by {}", ByteCount(*bytes as u64), self.name(*host))?;
        }
        writeln!(f, "  events       {}", self.events)?;
        if let Some(hung) = &self.hung {
            writeln!(f, "HUNG {hung}")?;
        }
        Ok(())
    }
}
