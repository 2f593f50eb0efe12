//! Driving one host: inputs, outputs, writes and timers of machines, callbacks of rogues.

use std::{net::SocketAddr, time::Duration};

use crate::{
    base::{time::Instant, token_bucket::Grant},
    sim::{
        HostId, StreamId,
        agenda::Due,
        host::{Going, Mind},
        link::Outgoing,
        rogue::{Doing, Doings, Rogue},
    },
    torrent::{Event, Input, Output, WebSeedChange, Written},
};

use super::{Ban, World};

/// More time-outs than this without the clock moving: the machine spins.
const MAX_SPINS: u32 = 1_000;

impl World {
    /// One input for the host's machine, if it has one.
    pub(super) fn tell(&mut self, host: HostId, input: Input) {
        let h = &mut self.hosts[host.at()];
        if let Mind::Machine(machine) = &mut h.mind {
            machine.handle(self.now, input, &mut h.pool);
            h.inputs += 1;
            self.settle(host);
        }
    }

    /// Drains the machine, makes the writes it asked for, and sets its timer.
    pub(super) fn settle(&mut self, host: HostId) {
        loop {
            let h = &mut self.hosts[host.at()];
            let Mind::Machine(machine) = &mut h.mind else { return };
            if let Some(output) = machine.poll() {
                self.apply(host, output);
            } else if let Some(stream) = h.to_write.pop_front() {
                self.sides[stream.at()].listed = false;
                let grant = h.limit.out_of_turn();
                self.write(host, stream, grant);
            } else if let Some((stream, grant)) = h.limit.next(self.now) {
                self.sides[stream.at()].wants = true;
                self.write(host, stream, grant);
            } else {
                break;
            }
        }
        if !self.stirred.contains(&host) {
            self.stirred.push(host);
        }
        self.arm(host);
        let h = &mut self.hosts[host.at()];
        h.look(self.now);
        if let Some(at) = h.limit.plan(self.now) {
            self.agenda.push(at, Due::MayWrite(host));
        }
    }

    fn arm(&mut self, host: HostId) {
        let h = &mut self.hosts[host.at()];
        let Mind::Machine(machine) = &h.mind else { return };
        let at = machine.poll_timeout().unwrap_or(Instant::FAR);
        if at < h.armed {
            h.armed = at.max(self.now);
            self.agenda.push(h.armed, Due::Timer(host));
        }
    }

    pub(super) fn timer(&mut self, host: HostId) {
        let h = &mut self.hosts[host.at()];
        if h.armed != self.now {
            return;
        }
        h.armed = Instant::FAR;
        let Mind::Machine(machine) = &h.mind else { return };
        if machine.poll_timeout().is_none_or(|at| at > self.now) {
            return self.arm(host);
        }
        h.spins = if h.spun_at == self.now { h.spins + 1 } else { 0 };
        h.spun_at = self.now;
        assert!(
            h.spins < MAX_SPINS,
            "{} spins at {}: a time-out leaves poll_timeout where it was",
            h.plan.name,
            self.now
        );
        self.tell(host, Input::Timeout);
    }

    fn apply(&mut self, host: HostId, output: Output) {
        match output {
            Output::Disk(job) => {
                let (slot, at) = self.hosts[host.at()].disk.start(self.now, job);
                self.agenda.push(at, Due::Disk(host, slot));
            }
            Output::Connect { addr, encrypted } => self.dial(host, addr, encrypted),
            Output::Disconnect { peer, reason } => {
                *self.partings.entry(reason.to_string()).or_default() += 1;
                if let Some(stream) = self.hosts[host.at()].stream(peer) {
                    self.close(stream);
                }
            }
            Output::WantWrite(peer) => {
                if let Some(stream) = self.hosts[host.at()].stream(peer) {
                    self.want_write(stream);
                }
            }
            Output::OpenWebSeed { addr, url, .. } => {
                let to = url.trim_start_matches("http://").trim_end_matches('/').parse();
                self.open_web_seed(host, to.expect("as it was made"), addr);
            }
            Output::NeedPeers => {
                self.need_peers(host);
                let at = self.hosts[host.at()].announcer.earliest(self.now, self.tracker.plan());
                self.plan_announce(host, at);
            }
            Output::DhtNode(_) => {}
            Output::Event(event) => self.note(host, &event),
        }
    }

    fn note(&mut self, host: HostId, event: &Event) {
        match *event {
            Event::PieceVerified(piece) => {
                self.observer.verified(host, piece, self.now);
                self.poison.checked(host, piece, true);
                if !self.first_copy_seen && self.observer.first_full().is_some() {
                    self.first_copy_seen = true;
                    self.everyone_goes(|going| match going {
                        Going::AfterFirstCopy(after) => Some(after),
                        _ => None,
                    });
                }
            }
            Event::PieceFailed(piece) => {
                self.observer.failed(host, piece);
                self.poison.checked(host, piece, false);
            }
            Event::Completed => {
                let h = &mut self.hosts[host.at()];
                h.finished.get_or_insert(self.now);
                if let Some((Going::AfterFinish(after), crash)) = h.plan.going {
                    self.plan_going(host, self.now + after, crash);
                }
            }
            Event::Banned(addr) => {
                let whom = self.by_ip.get(&addr.ip()).copied();
                let whom = whom.unwrap_or_else(|| panic!("banned {addr}, who does not exist"));
                let pieces = self.poison.bad(host, whom);
                self.poison.banned(host, whom);
                self.bans.push(Ban { by: host, whom, at: self.now, pieces });
            }
            Event::WebSeed { change, .. } => {
                if let WebSeedChange::Rests(failure, _) | WebSeedChange::GivenUp(failure) = change {
                    *self.partings.entry(format!("web seed: {failure}")).or_default() += 1;
                }
            }
            Event::Stopped(_) => {
                let h = &mut self.hosts[host.at()];
                if let Some(after) = h.disk.resume_after().filter(|_| !h.resume_planned) {
                    h.resume_planned = true;
                    self.agenda.push(self.now + after, Due::Resume(host));
                }
            }
            Event::Metadata(_) => self.agenda.push(self.now, Due::Learnt(host)),
            Event::PieceLost(piece) => {
                self.hosts[host.at()].disk.lose(piece);
                self.observer.lost(host, piece);
            }
        }
    }

    fn everyone_goes(&mut self, when: impl Fn(Going) -> Option<Duration>) {
        for host in self.hosts() {
            if let Some((going, crash)) = self.hosts[host.at()].plan.going
                && let Some(after) = when(going)
            {
                self.plan_going(host, self.now + after, crash);
            }
        }
    }

    /// The machine has something to write on `stream`.
    pub(super) fn want_write(&mut self, stream: StreamId) {
        let side = &mut self.sides[stream.at()];
        if side.open {
            side.wants = true;
            if !side.listed && side.out.is_empty() {
                side.listed = true;
                self.hosts[side.host.at()].to_write.push_back(stream);
            }
        }
    }

    fn write(&mut self, host: HostId, stream: StreamId, mut grant: Grant) {
        let side = &mut self.sides[stream.at()];
        let h = &mut self.hosts[host.at()];
        let (Mind::Machine(machine), Outgoing::Machine(buf)) = (&mut h.mind, &mut side.out) else {
            return;
        };
        let Some(key) = side.key.filter(|_| side.open && side.wants && buf.is_empty()) else {
            return;
        };
        side.wants = false;
        let written = machine.write(self.now, key, buf, &mut grant, &mut h.pool);
        h.limit.spent(stream, grant);
        h.inputs += 1;
        match written {
            Written::Idle => {}
            Written::More => {
                assert!(!buf.is_empty(), "{}: a write said More and wrote nothing", h.plan.name);
                side.wants = true;
            }
            Written::RateLimited => h.limit.wait(stream),
        }
        self.queue(stream);
        self.serve(host);
    }

    /// Calls the host's rogue and carries out what it wants.
    pub(super) fn with_rogue(
        &mut self,
        host: HostId,
        call: impl FnOnce(&mut dyn Rogue, Instant, &mut Doings),
    ) {
        let mut doings = std::mem::take(&mut self.doings);
        if let Mind::Rogue(rogue) = &mut self.hosts[host.at()].mind {
            call(&mut **rogue, self.now, &mut doings);
        }
        for doing in doings.list.drain(..) {
            self.carry_out(host, doing);
        }
        self.doings = doings;
    }

    fn carry_out(&mut self, host: HostId, doing: Doing) {
        match doing {
            Doing::Send(line, unit) => {
                let Some(side) = self.sides.get_mut(line.at()).filter(|s| s.host == host) else {
                    return;
                };
                if let Outgoing::Rogue(units) = &mut side.out
                    && side.open
                    && !side.closing
                {
                    units.push_back(unit);
                    self.queue(line);
                    self.serve(host);
                }
            }
            Doing::Close(line) => {
                let Some(side) = self.sides.get_mut(line.at()).filter(|s| s.host == host) else {
                    return;
                };
                side.closing = true;
                if side.out.is_empty() {
                    self.close(line);
                }
            }
            Doing::Dial { to, encrypted } => self.dial(host, to, encrypted),
            Doing::Multicast { from, datagram } => self.multicast(from, datagram),
            Doing::Timer(at, token) => {
                self.agenda.push(at.max(self.now), Due::RogueTimer(host, token));
            }
        }
    }

    /// Whether anyone at `addr` could be dialled: the host there.
    pub(super) fn host_at(&self, addr: SocketAddr) -> Option<HostId> {
        self.by_ip.get(&addr.ip()).copied().filter(|_| addr.port() == super::PORT)
    }
}
