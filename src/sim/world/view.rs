//! What can be asked of a world, and what it looks like in words.

use std::{collections::BTreeMap, fmt::Write as _, net::SocketAddr};

use crate::{
    base::{bitfield::Bitfield, hash::Sha1Hash, time::Instant},
    dht::NO_ENTRANCE_AFTER,
    sim::{
        HostId, StreamId,
        disk::Content,
        host::{HostPlan, Mind},
        observer::Observer,
    },
    torrent::{PeerSnapshot, Torrent},
    why::{Dht, Finding, Limit, Outside, Tracker, diagnose},
};

use super::{Ban, World};

impl World {
    /// The content of the torrent: rogues need it.
    pub const fn content(&self) -> Content {
        self.content
    }

    /// The torrent's info hash.
    pub const fn info_hash(&self) -> Sha1Hash {
        self.info_hash
    }

    /// The time.
    pub const fn now(&self) -> Instant {
        self.now
    }

    /// Things that have happened.
    pub const fn events(&self) -> u64 {
        self.events
    }

    /// A number that two runs share only if the same things happened at the same times.
    pub const fn digest(&self) -> u64 {
        self.digest
    }

    /// Who watches the wires.
    pub const fn observer(&self) -> &Observer {
        &self.observer
    }

    /// Who banned whom, in order.
    pub fn bans(&self) -> &[Ban] {
        &self.bans
    }

    /// Most pieces that failed at one host for what one other had sent.
    pub fn most_bad(&self) -> (u32, u32) {
        self.poison.most_bad()
    }

    /// How often machines closed connections, by reason.
    pub const fn partings(&self) -> &BTreeMap<String, u64> {
        &self.partings
    }

    /// Number of hosts.
    pub fn hosts(&self) -> impl Iterator<Item = HostId> + use<> {
        (0..self.hosts.len() as u32).map(HostId)
    }

    /// Where a host listens.
    pub fn addr(&self, host: HostId) -> SocketAddr {
        self.hosts[host.at()].addr
    }

    /// What a host was made of.
    pub fn plan(&self, host: HostId) -> &HostPlan {
        &self.hosts[host.at()].plan
    }

    /// The hosts to whose machines something has happened in the last step, or by the last command.
    pub fn stirred(&self) -> &[HostId] {
        &self.stirred
    }

    /// The pieces that are right on a host's disk.
    pub fn on_disk(&self, host: HostId) -> &Bitfield {
        self.hosts[host.at()].disk.have()
    }

    /// When a host first started.
    pub fn joined(&self, host: HostId) -> Option<Instant> {
        self.hosts[host.at()].first_start
    }

    /// When a host first had everything.
    pub fn finished(&self, host: HostId) -> Option<Instant> {
        self.hosts[host.at()].finished
    }

    /// The host's machine, while it is there and is one.
    pub fn torrent(&self, host: HostId) -> Option<&Torrent> {
        match &self.hosts[host.at()].mind {
            Mind::Machine(machine) => Some(machine),
            _ => None,
        }
    }

    /// Whether the host is there and is a rogue.
    pub fn is_rogue(&self, host: HostId) -> bool {
        matches!(self.hosts[host.at()].mind, Mind::Rogue(_))
    }

    /// Bytes of slabs that a host has lent out, its budget, and its disk jobs under way.
    pub fn memory(&self, host: HostId) -> (usize, usize, usize) {
        let host = &self.hosts[host.at()];
        (host.pool.lent(), host.pool.budget(), host.disk.pending())
    }

    /// What a host's machine has handled: arrivals, inputs and writes, and messages.
    pub fn work(&self, host: HostId) -> (u64, u64) {
        (self.hosts[host.at()].inputs, self.observer.messages(host))
    }

    /// Most bytes that a host's machine has held beside slabs.
    pub fn most_held(&self, host: HostId) -> usize {
        self.hosts[host.at()].most_held
    }

    /// Why a host's torrent is slow or stuck; nothing for a rogue, or a host that is not there.
    pub fn why(&self, host: HostId, outside: &Outside) -> Vec<Finding> {
        let evidence = self.torrent(host).and_then(|t| t.snapshot(self.now).evidence);
        evidence.map_or_else(Vec::new, |swarm| diagnose(&swarm, outside))
    }

    /// What a host knows besides its swarm: who is asked for peers, what holds it back, whether others get in.
    pub fn outside(&self, id: HostId) -> Outside {
        let host = &self.hosts[id.at()];
        let state = host.announcer.state(self.tracker.plan());
        let tracker = Tracker { host: "tracker.sim".to_owned(), state };
        let waits = |&stream: &StreamId| self.sides[stream.opposite().at()].air.has_landed();
        let waiting = || self.open_streams(id).iter().filter(|stream| waits(stream)).count() as u32;
        let limit = |rate| Limit { rate, option: "--max-down", waiting: waiting() };
        Outside {
            private: host.plan.private,
            trackers: host.plan.tracker.then_some(tracker).into_iter().collect(),
            dht: self.said_of_dht(id),
            local: host.local.is_some(),
            limit: host.plan.max_down.map(limit),
            door: host.plan.door,
            ..Outside::default()
        }
    }

    fn said_of_dht(&self, id: HostId) -> Dht {
        let searches = self.hosts[id.at()].searches.as_ref();
        let (Some(searches), Some(beside)) = (searches, &self.trackerless.dht) else {
            return Dht::Off;
        };
        let is_late = self.now.since(searches.began) >= NO_ENTRANCE_AFTER;
        let waits = searches.running.is_some() && is_late && beside.world.is_lonely(searches.node);
        if waits { Dht::Silent } else { searches.last }
    }

    /// What each host is doing and why it waits, for people: at most `hosts` hosts that lack
    /// something, each with its connections.
    pub fn describe(&self, hosts: usize) -> String {
        let mut out = format!("at {}, {} events:\n", self.now, self.events);
        let unfinished = |h: &HostId| {
            self.torrent(*h).is_some_and(|t| !t.is_complete()) || self.plan(*h).rogue.is_some()
        };
        let (lacking, others): (Vec<HostId>, Vec<HostId>) = self.hosts().partition(unfinished);
        for id in lacking.iter().take(hosts).chain(others.iter().take(3)) {
            self.describe_host(*id, &mut out);
        }
        let left_out = lacking.len().saturating_sub(hosts) + others.len().saturating_sub(3);
        let _ = writeln!(out, "and {left_out} more");
        out
    }

    fn describe_host(&self, id: HostId, out: &mut String) {
        let host = &self.hosts[id.at()];
        let _ = write!(out, "{} ({})", host.plan.name, host.addr);
        let Mind::Machine(machine) = &host.mind else {
            let _ = writeln!(out, ": {:?}", host.mind);
            return;
        };
        let s = machine.snapshot(self.now);
        let why = self.why(id, &self.outside(id)).into_iter().next();
        let (lent, budget, jobs) = self.memory(id);
        let _ = writeln!(
            out,
            ": {:?} {}/{} pieces, {} blocks unasked, {} down {} up, {} peers, {} unchoked, \
             waiting: {}, {} KiB of {} KiB lent, {} disk jobs, timer {:?}",
            s.phase,
            s.pieces_done,
            s.pieces,
            self.observer.unasked(id),
            s.down,
            s.up,
            s.peers,
            s.unchoked,
            why.map_or_else(|| "no".to_owned(), |found| found.cause.to_string()),
            lent >> 10,
            budget >> 10,
            jobs,
            machine.poll_timeout(),
        );
        for peer in machine.peers(self.now) {
            self.describe_peer(&peer, out);
        }
    }

    fn describe_peer(&self, peer: &PeerSnapshot, out: &mut String) {
        let name = self.by_ip.get(&peer.addr.ip()).map_or("?", |h| &self.hosts[h.at()].plan.name);
        let [am_choking, am_interested, peer_choking, peer_interested] = peer.flags;
        let flag = |on: bool, text: &'static str| if on { text } else { "" };
        let _ = writeln!(
            out,
            "    {name:12} {:5.1} %  down {:>12} up {:>12}  {} asked{}{}{}{}",
            peer.progress * 100.0,
            peer.down,
            peer.up,
            peer.outstanding,
            flag(am_choking, ", we choke"),
            flag(am_interested, ", we want"),
            flag(peer_choking, ", it chokes"),
            flag(peer_interested, ", it wants"),
        );
    }
}
