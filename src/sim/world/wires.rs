//! Connections of the world: dialled, carrying units, closed, broken.

use std::net::{IpAddr, SocketAddr};

use crate::{
    base::{id::PeerKey, limits::DIAL_TIMEOUT},
    mse::Encryption,
    peer::outbox::SendBuf,
    sim::{
        HostId, StreamId,
        agenda::Due,
        frames::Frames,
        host::Mind,
        link::{Air, Outgoing, Unit},
        observer::Role,
        rogue::{Heard, LOST},
    },
    torrent::{CloseCause, DialFailure, Direction, Input},
};

use super::{Ends, Side, World};

/// Emptied buffers kept for the next units.
const SPARE: usize = 4_096;

impl World {
    /// `host` connects with the web seed at `to`, which it calls `addr`.
    pub(super) fn open_web_seed(&mut self, host: HostId, to: SocketAddr, addr: SocketAddr) {
        self.dial(host, to, false);
        self.ends.last_mut().expect("it dials").called = addr;
    }

    /// `host` dials `to`.
    pub(super) fn dial(&mut self, host: HostId, to: SocketAddr, encrypted: bool) {
        let target = self.host_at(to);
        let far = target.unwrap_or(host);
        let stream = StreamId(self.sides.len() as u32);
        let access = |h: HostId| self.hosts[h.at()].plan.access;
        let delay = self.network.delay + access(host) + access(far);
        let from = self.hosts[host.at()].ephemeral();
        self.ends.push(Ends { from, to, called: to, delay, encrypted });
        for owner in [host, far] {
            let side = Side {
                host: owner,
                key: None,
                open: false,
                out: match self.hosts[owner.at()].plan.role {
                    Role::Rogue => Outgoing::Rogue(Default::default()),
                    _ => Outgoing::Machine(SendBuf::default()),
                },
                wants: false,
                listed: false,
                queued: false,
                closing: false,
                unread: 0,
                served: 0,
                air: Air::default(),
                opening: None,
                frames: Frames::default(),
            };
            self.sides.push(side);
        }
        self.observer.add_line();
        match target {
            _ if !self.hosts[host.at()].plan.sockets => {
                self.agenda.push(self.now, Due::DialFailed(stream));
            }
            Some(_) => self.agenda.push(self.now + delay, Due::Syn(stream)),
            None if is_lost(to) => {
                self.agenda.push(self.now + DIAL_TIMEOUT, Due::DialFailed(stream))
            }
            None => self.agenda.push(self.now + delay * 2, Due::DialFailed(stream)),
        }
    }

    /// A dial reaches the host it is for.
    pub(super) fn syn(&mut self, stream: StreamId) {
        let back = stream.opposite();
        let host = self.sides[back.at()].host;
        let Ends { from, delay, encrypted, .. } = self.ends[stream.at() / 2];
        let h = &mut self.hosts[host.at()];
        let answered = self.now + delay;
        match &mut h.mind {
            Mind::Absent { silent: true } => {
                self.agenda.push(self.now + DIAL_TIMEOUT, Due::DialFailed(stream));
            }
            _ if !h.plan.listens => self.agenda.push(answered, Due::DialFailed(stream)),
            Mind::Absent { silent: false } => {
                self.agenda.push(answered, Due::DialFailed(stream));
            }
            Mind::Machine(_) if encrypted && !h.plan.settings.encryption.allows_encrypted() => {
                self.agenda.push(answered, Due::DialFailed(stream));
            }
            Mind::Machine(_) if !encrypted && !h.plan.settings.encryption.allows_plain() => {
                self.agenda.push(answered, Due::SynAck(stream));
                self.end(back);
            }
            Mind::Machine(_) if encrypted => {
                self.agenda.push(answered, Due::SynAck(stream));
                self.open(back, None);
                self.accept_encrypted(back);
            }
            Mind::Machine(machine) => {
                let off = Encryption::Off;
                let admitted = machine.admit(self.now, from, Direction::Incoming, off);
                self.agenda.push(answered, Due::SynAck(stream));
                match admitted {
                    Ok(key) => self.open(back, Some(key)),
                    Err(refusal) => {
                        *self.partings.entry(format!("refused: {refusal}")).or_default() += 1;
                        self.end(back);
                    }
                }
                self.settle(host);
            }
            Mind::Rogue(_) => {
                self.agenda.push(answered, Due::SynAck(stream));
                self.open(back, None);
                self.with_rogue(host, |rogue, now, doings| {
                    rogue.connected(now, back, false, doings);
                });
            }
        }
    }

    /// The dialler learns that it is connected.
    pub(super) fn syn_ack(&mut self, stream: StreamId) {
        let host = self.sides[stream.at()].host;
        let Ends { called, encrypted, .. } = self.ends[stream.at() / 2];
        if let Some(mean) = self.network.connection_life {
            let us = self.rng.below(2 * mean.as_micros() as u64);
            self.agenda.push(self.now + std::time::Duration::from_micros(us), Due::Cut(stream));
        }
        match &mut self.hosts[host.at()].mind {
            Mind::Absent { .. } => self.end(stream),
            Mind::Machine(_) if encrypted => {
                self.open(stream, None);
                self.initiate(stream);
            }
            Mind::Machine(machine) => {
                match machine.admit(self.now, called, Direction::Outgoing, Encryption::Off) {
                    Ok(key) => self.open(stream, Some(key)),
                    Err(refusal) => {
                        *self.partings.entry(format!("refused: {refusal}")).or_default() += 1;
                        self.end(stream);
                    }
                }
                self.settle(host);
            }
            Mind::Rogue(_) => {
                self.open(stream, None);
                self.with_rogue(host, |rogue, now, doings| {
                    rogue.connected(now, stream, true, doings);
                });
            }
        }
    }

    /// The dialler learns that it is not.
    pub(super) fn dial_failed(&mut self, stream: StreamId) {
        let Ends { to, called, encrypted, .. } = self.ends[stream.at() / 2];
        let host = self.sides[stream.at()].host;
        let failure = match self.host_at(to).map(|h| &self.hosts[h.at()].mind) {
            _ if !self.hosts[host.at()].plan.sockets => DialFailure::NoDescriptor,
            None if is_lost(to) => DialFailure::TimedOut,
            None => DialFailure::Unreachable,
            Some(Mind::Absent { silent: true }) => DialFailure::TimedOut,
            Some(Mind::Machine(_) | Mind::Rogue(_)) if encrypted => DialFailure::Declined,
            Some(_) => DialFailure::Refused,
        };
        self.tell(host, Input::DialFailed { addr: called, failure });
    }

    fn open(&mut self, stream: StreamId, key: Option<PeerKey>) {
        let side = &mut self.sides[stream.at()];
        side.open = true;
        side.key = key;
        if let Some(key) = key {
            self.hosts[side.host.at()].bind(key, stream);
        }
        self.observer.open(side.host, stream);
    }

    /// The stream's sender closes the connection: what it has sent arrives, then the end.
    pub(super) fn close(&mut self, stream: StreamId) {
        if self.shut(stream) {
            self.end(stream);
            let host = self.sides[stream.at()].host;
            self.with_rogue(host, |rogue, now, doings| rogue.closed(now, stream, doings));
        }
    }

    /// The stream's sender learns that its connection has ended.
    pub(super) fn gone(&mut self, stream: StreamId, cause: CloseCause) {
        let opening = self.sides[stream.at()].opening.take();
        if !self.shut(stream) {
            return;
        }
        let Side { host, key, .. } = self.sides[stream.at()];
        match key {
            Some(peer) => self.tell(host, Input::Closed { peer, cause }),
            None if opening.is_some_and(|opening| opening.is_dialler()) => self.declined(stream),
            None => self.with_rogue(host, |rogue, now, doings| rogue.closed(now, stream, doings)),
        }
    }

    /// The stream's sender has no connection any more; false if it had none.
    pub(super) fn shut(&mut self, stream: StreamId) -> bool {
        let side = &mut self.sides[stream.at()];
        if !side.open {
            return false;
        }
        side.open = false;
        side.opening = None;
        let host = &mut self.hosts[side.host.at()];
        side.out.clear(&mut host.pool);
        host.limit.forget(stream);
        if let Some(key) = side.key {
            host.unbind(key);
        }
        self.observer.close(side.host, stream);
        true
    }

    /// The end of the stream takes off.
    pub(super) fn end(&mut self, stream: StreamId) {
        let delay = self.ends[stream.at() / 2].delay;
        let at = self.sides[stream.at()].air.take_off(Unit::End, self.now, delay);
        self.agenda.push(at, Due::Arrive(stream));
    }

    /// The stream stands in its uplink's queue if it has something to send.
    pub(super) fn queue(&mut self, stream: StreamId) {
        let far = self.sides[stream.opposite().at()].host;
        let takes = self.hosts[far.at()].plan.takes;
        let side = &mut self.sides[stream.at()];
        let is_full = takes.is_some_and(|most| side.unread >= most);
        if !side.queued && !side.out.is_empty() && !is_full {
            side.queued = true;
            let up = &mut self.hosts[side.host.at()].up;
            up.enqueue(stream, side.out.first_len(), &mut side.served);
        }
    }

    /// The uplink sends what it can.
    pub(super) fn serve(&mut self, host: HostId) {
        loop {
            let h = &mut self.hosts[host.at()];
            let Some(stream) = h.up.next(self.now) else { break };
            let side = &mut self.sides[stream.at()];
            side.queued = false;
            let Some(unit) = side.out.pop(&mut h.pool, &mut self.spare) else { continue };
            self.observer.sent(self.now, host, stream, &unit);
            side.unread += unit.len() as u64;
            let left = h.up.transmit(self.now, unit.len());
            let delay = self.ends[stream.at() / 2].delay;
            let at = side.air.take_off(unit, left, delay);
            self.agenda.push(at, Due::Arrive(stream));
            if !side.out.is_empty() {
                self.queue(stream);
            } else if side.closing {
                self.close(stream);
            } else if side.wants {
                self.want_write(stream);
            }
        }
        let h = &mut self.hosts[host.at()];
        if !h.up.scheduled
            && let Some(at) = h.up.wake_at()
        {
            h.up.scheduled = true;
            self.agenda.push(at, Due::UplinkFree(host));
        }
    }

    /// The stream's next unit has crossed the network.
    pub(super) fn arrive(&mut self, stream: StreamId) {
        let host = self.sides[stream.opposite().at()].host;
        let Some(down) = &mut self.hosts[host.at()].down else { return self.deliver(stream) };
        if let Some(len) = self.sides[stream.at()].air.touch_down() {
            let at = down.pass(self.now, len);
            self.agenda.push(at, Due::Deliver(stream));
        }
    }

    /// The stream's next unit is there.
    pub(super) fn deliver(&mut self, stream: StreamId) {
        let Some(unit) = self.sides[stream.at()].air.land() else { return };
        let back = stream.opposite();
        let from = self.sides[stream.at()].host;
        let side = &mut self.sides[back.at()];
        let host = side.host;
        if !side.open {
            return self.recycle(unit);
        }
        match unit {
            Unit::End => return self.gone(back, CloseCause::Eof),
            Unit::Failed(failure) => return self.gone(back, CloseCause::WebSeed(failure)),
            Unit::Opening(bytes) if side.opening.is_none() => {
                return self.with_rogue(host, |rogue, now, doings| {
                    rogue.opening(now, back, &bytes, doings);
                });
            }
            _ if side.opening.is_some() => return self.hear_opening(back, &unit),
            _ => {}
        }
        let h = &mut self.hosts[host.at()];
        if let (Mind::Machine(machine), Some(key)) = (&mut h.mind, side.key) {
            self.observer.received(self.now, host, stream, &unit);
            self.poison.came(host, from, &unit);
            unit.each_chunk(|chunk| machine.read(self.now, key, chunk, &mut h.pool));
            h.inputs += 1;
            self.settle(host);
        } else {
            let mut seen = Vec::new();
            unit.each_chunk(|chunk| side.frames.feed(chunk, &mut |frame| seen.push(frame)));
            let what = Heard(unit);
            self.with_rogue(host, |rogue, now, doings| {
                seen.into_iter().for_each(|frame| rogue.message(now, back, frame, doings));
                rogue.heard(now, back, &what, doings);
            });
            return self.recycle(what.0);
        }
        self.recycle(unit);
    }

    fn recycle(&mut self, unit: Unit) {
        if let Unit::Bytes(mut bytes) = unit
            && self.spare.len() < SPARE
        {
            bytes.clear();
            self.spare.push(bytes);
        }
    }

    /// The streams on which `host` sends over open connections.
    pub(super) fn open_streams(&self, host: HostId) -> Vec<StreamId> {
        let all =
            (0..self.sides.len()).filter(|&i| self.sides[i].open && self.sides[i].host == host);
        all.map(|i| StreamId(i as u32)).collect()
    }
}

/// Whether nobody ever answers from there.
fn is_lost(addr: SocketAddr) -> bool {
    matches!(addr.ip(), IpAddr::V4(ip) if ip.octets().starts_with(&LOST))
}
