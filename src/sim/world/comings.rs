//! Hosts that join, leave, crash and come back, and what they hear from the tracker.

use std::{net::SocketAddr, sync::Arc};

use crate::{
    base::{bitfield::Bitfield, geometry::Geometry, id::PeerId, time::Instant, units::BLOCK_LEN},
    sim::{
        HostId,
        agenda::Due,
        host::{HostPlan, Mind},
        observer::Role,
        rogue::{LOST, METADATA},
        tracker::TrackerPlan,
    },
    torrent::{InfoBytes, Input, Setup, Source, Torrent},
};

use super::World;

impl World {
    /// The host goes at `at`.
    pub(super) fn plan_going(&mut self, host: HostId, at: Instant, crash: bool) {
        self.agenda.push(at, if crash { Due::Crash(host) } else { Due::Leave(host) });
    }

    pub(super) fn join(&mut self, host: HostId) {
        let peer_id = PeerId::generate(&mut self.rng);
        let seed = self.rng.next_u64();
        let h = &mut self.hosts[host.at()];
        if !matches!(h.mind, Mind::Absent { .. }) || (h.starts > 0 && h.plan.role == Role::Rogue) {
            return;
        }
        h.starts += 1;
        h.first_start.get_or_insert(self.now);
        let have = h.disk.have().clone();
        self.observer.start(host, &have, self.now);
        match h.plan.rogue.take() {
            Some(rogue) => {
                h.mind = Mind::Rogue(rogue);
                self.with_rogue(host, |rogue, now, doings| rogue.start(now, doings));
            }
            None => {
                if have.is_full() {
                    h.finished.get_or_insert(self.now);
                }
                let machine = Torrent::new(self.setup(host, peer_id, seed), self.now);
                self.hosts[host.at()].mind = Mind::Machine(Box::new(machine));
                self.show_web_seeds(host);
                self.settle(host);
                self.look_around(host);
            }
        }
        self.plan_announce(host, self.now);
    }

    fn setup(&self, host: HostId, peer_id: PeerId, seed: u64) -> Setup {
        let h = &self.hosts[host.at()];
        let HostPlan { settings, listens, priorities, knows, .. } = &h.plan;
        let (geometry, have) = match *knows {
            true => (*self.content.geometry(), h.disk.have().clone()),
            false => (Geometry::new(0, BLOCK_LEN).expect("valid"), Bitfield::empty(0)),
        };
        Setup {
            info_hash: self.info_hash,
            code: None,
            geometry,
            have,
            peer_id,
            listen_port: listens.then_some(super::PORT),
            dht_port: None,
            partial: Vec::new(),
            priorities: priorities.clone(),
            metadata: knows.then(|| InfoBytes::new(Arc::new(&METADATA))),
            settings: settings.clone(),
            seed,
        }
    }

    fn show_web_seeds(&mut self, host: HostId) {
        let web_seeds = self.hosts.iter().filter(|host| host.plan.web_seed);
        let urls: Vec<Arc<str>> =
            web_seeds.map(|host| format!("http://{}/", host.addr).into()).collect();
        if !urls.is_empty() {
            self.tell(host, Input::WebSeeds(urls));
        }
    }

    /// The host has the info dictionary: the torrent itself takes over.
    pub(super) fn learnt(&mut self, host: HostId) {
        let seed = self.rng.next_u64();
        let h = &mut self.hosts[host.at()];
        let Mind::Machine(older) = &mut h.mind else { return };
        h.plan.knows = true;
        let peer_id = older.hello().peer_id;
        let machine = Torrent::new(self.setup(host, peer_id, seed), self.now);
        let h = &mut self.hosts[host.at()];
        let Mind::Machine(heir) = &mut h.mind else { return };
        let older = std::mem::replace(&mut **heir, machine);
        heir.succeed(self.now, older, &mut h.pool);
        self.show_web_seeds(host);
        self.settle(host);
    }

    /// The host goes, without a word if it crashes. It comes back if its plan says so.
    pub fn leave(&mut self, host: HostId, crash: bool) {
        self.stirred.clear();
        if matches!(self.hosts[host.at()].mind, Mind::Absent { .. }) {
            return;
        }
        for stream in self.open_streams(host) {
            if crash {
                self.shut(stream);
                let at = self.now + self.network.crash_notice;
                self.agenda.push(at, Due::Lost(stream));
            } else {
                self.close(stream);
            }
        }
        if !crash {
            self.tracker.remove(host);
        }
        self.leave_dht(host);
        let h = &mut self.hosts[host.at()];
        self.observer.stop(host, h.disk.have());
        h.stop(crash);
        if let Some(after) = h.plan.back_after {
            self.agenda.push(self.now + after, Due::Join(host));
        }
    }

    /// The host asks the tracker at `at`, or before if it is to ask before anyway.
    pub(super) fn plan_announce(&mut self, host: HostId, at: Instant) {
        let h = &mut self.hosts[host.at()];
        if h.plan.tracker && !h.plan.web_seed && h.announcer.plan(at) {
            self.agenda.push(at, Due::Announce(host));
        }
    }

    pub(super) fn announce(&mut self, host: HostId) {
        let h = &mut self.hosts[host.at()];
        if !h.announcer.is_due(self.now) || matches!(h.mind, Mind::Absent { .. }) {
            return;
        }
        let up = self.tracker.is_up(self.now);
        let next = h.announcer.ask(self.now, self.tracker.plan(), up);
        if up {
            self.tracker.add(host);
            self.agenda.push(self.now + self.tracker.plan().answer_time, Due::Answer(host));
        }
        self.plan_announce(host, next);
    }

    pub(super) fn answer(&mut self, host: HostId) {
        let named = self.tracker.answer(host);
        let mut addrs: Vec<SocketAddr> = named.iter().map(|h| self.hosts[h.at()].addr).collect();
        let TrackerPlan { strangers, names_asker, .. } = *self.tracker.plan();
        let [a, b, c] = LOST;
        addrs.extend((0..strangers).map(|n| SocketAddr::from(([a, b, c, n as u8], 1024 + n))));
        addrs.extend(names_asker.then_some(self.hosts[host.at()].addr));
        self.hosts[host.at()].announcer.answered(addrs.len());
        match self.hosts[host.at()].mind {
            Mind::Absent { .. } => {}
            Mind::Machine(_) => {
                self.tell(host, Input::PeersFound { source: Source::Tracker, addrs });
            }
            Mind::Rogue(_) => {
                self.with_rogue(host, |rogue, now, doings| rogue.peers(now, &addrs, doings));
            }
        }
    }
}
