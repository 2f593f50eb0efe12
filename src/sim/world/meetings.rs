//! Hosts that find one another without the tracker: on the local network, and by the DHT.

use std::net::SocketAddr;

use crate::{
    base::time::Instant,
    dht::{Announce, Question, Rounds},
    lsd::Local,
    sim::{
        HostId,
        agenda::Due,
        dht,
        trackerless::{Beside, Searches},
    },
    torrent::{Input, Source},
    why,
};

use super::{PORT, World};

impl World {
    /// There is a DHT, which hosts that come from now on are part of.
    pub fn join_dht(&mut self, plan: dht::Plan) {
        self.trackerless.dht = Some(Beside::new(plan));
    }

    /// The host begins to look for others by itself, as its plan says.
    pub(super) fn look_around(&mut self, host: HostId) {
        let h = &mut self.hosts[host.at()];
        if h.plan.private {
            return;
        }
        if h.plan.lsd {
            let mut local = Local::new(&mut self.rng);
            local.start(self.now, ());
            h.local = Some(local);
            self.agenda.push(self.now, Due::Tell(host));
        }
        if let Some(dht) = self.trackerless.dht.as_mut().filter(|_| h.plan.dht) {
            dht.catch_up(self.now);
            let mut rounds = Rounds::idle();
            rounds.start(self.now);
            let node = dht.world.enter(h.addr);
            let (running, last, armed) = (None, why::Dht::Asked, Instant::FAR);
            let began = self.now;
            h.searches = Some(Searches { node, rounds, running, began, last, armed });
            self.plan_search(host);
        }
    }

    /// The host is gone.
    pub(super) fn leave_dht(&mut self, host: HostId) {
        let searches = self.hosts[host.at()].searches.take();
        if let (Some(dht), Some(searches)) = (&mut self.trackerless.dht, searches) {
            dht.world.leave(searches.node);
        }
    }

    /// The host's machine needs peers.
    pub(super) fn need_peers(&mut self, host: HostId) {
        if let Some(searches) = &mut self.hosts[host.at()].searches {
            searches.rounds.need_peers(self.now);
            self.plan_search(host);
        }
    }

    /// It is the host's turn on the local network.
    pub(super) fn tell_neighbours(&mut self, host: HostId) {
        let h = &mut self.hosts[host.at()];
        let Some(local) = &mut h.local else { return };
        // What was planned before it went and came back says nothing.
        if local.take_due(self.now).is_empty() {
            return;
        }
        let datagram = local.announce(PORT, vec![self.info_hash]).encode(false);
        let from = h.addr;
        if let Some(next) = local.poll_timeout() {
            self.agenda.push(next, Due::Tell(host));
        }
        self.multicast(from, datagram);
    }

    /// Somebody sends something to all of the local network, perhaps by a false address.
    pub(super) fn multicast(&mut self, from: SocketAddr, datagram: Vec<u8>) {
        self.trackerless.told.push_back((from, datagram));
        self.agenda.push(self.now + self.network.delay, Due::Overhear);
    }

    /// What was sent first reaches everyone on the local network, its sender too.
    pub(super) fn overhear(&mut self) {
        let Some((from, datagram)) = self.trackerless.told.pop_front() else { return };
        for host in self.hosts() {
            let Some(local) = &mut self.hosts[host.at()].local else { continue };
            let unheard = self.network.unheard;
            if unheard > 0 && self.rng.below(100) < unheard {
                continue;
            }
            if let Some((addr, info_hashes)) = local.hear(self.now, from, &datagram)
                && info_hashes.contains(&self.info_hash)
            {
                let (source, addrs) = (Source::Lsd, vec![addr]);
                self.tell(host, Input::PeersFound { source, addrs });
            }
        }
    }

    fn plan_search(&mut self, host: HostId) {
        let Some(searches) = &mut self.hosts[host.at()].searches else { return };
        if let Some(at) = searches.rounds.poll_timeout()
            && at < searches.armed
        {
            searches.armed = at.max(self.now);
            self.agenda.push(searches.armed, Due::Search(host));
        }
    }

    /// The host searches the DHT, and announces itself there, if it is time.
    pub(super) fn search(&mut self, host: HostId) {
        let h = &mut self.hosts[host.at()];
        let (Some(dht), Some(searches)) = (&mut self.trackerless.dht, &mut h.searches) else {
            return;
        };
        if searches.armed != self.now {
            return;
        }
        searches.armed = Instant::FAR;
        if searches.rounds.take_due(self.now) {
            dht.catch_up(self.now);
            let announce = Announce { port: Some(PORT), mapped: None };
            let question = Question::Peers(self.info_hash, Some(announce));
            searches.running = Some((dht.world.search(searches.node, question), 0));
            searches.began = self.now;
        }
        self.plan_search(host);
    }

    /// Lets the next thing happen in the DHT if it comes before everything else; whether it did.
    pub(super) fn step_beside(&mut self, until: Instant) -> bool {
        let Some(at) = self.trackerless.dht.as_ref().and_then(Beside::next_due) else {
            return false;
        };
        if at > until || self.agenda.next_due().is_some_and(|next| next < at) {
            return false;
        }
        self.advance(at.max(self.now));
        if let Some(dht) = &mut self.trackerless.dht {
            dht.world.step();
        }
        self.hosts().for_each(|host| self.take_found(host));
        true
    }

    /// The host's machine hears of peers that its search has found since.
    fn take_found(&mut self, host: HostId) {
        let h = &mut self.hosts[host.at()];
        let (Some(dht), Some(searches)) = (&self.trackerless.dht, &mut h.searches) else { return };
        let Some((search, known)) = &mut searches.running else { return };
        let answer = dht.world.answer(*search);
        let addrs = answer.peers[*known..].to_vec();
        *known = answer.peers.len();
        if let Some(summary) = &answer.summary {
            let round = searches.rounds.round().number;
            let others = answer.peers.iter().filter(|peer| **peer != h.addr).count();
            searches.rounds.ended(self.now, round, summary.answered, others);
            searches.last = match summary.answered {
                0 => why::Dht::Silent,
                nodes => why::Dht::Answered(nodes, others),
            };
            searches.running = None;
            self.plan_search(host);
        }
        if !addrs.is_empty() {
            self.tell(host, Input::PeersFound { source: Source::Dht, addrs });
        }
    }
}
