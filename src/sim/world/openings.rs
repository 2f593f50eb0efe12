//! Connections that begin with the encryption handshake ([`crate::mse`]), which goes to and fro here as it
//! does on real wires.
//!
//! Who is dialled in this way is told so; else it would see it by the first byte. What machines say in the
//! handshake takes no time on their uplinks, being some hundred bytes. What follows is plain whatever they
//! agreed on: payload has no bytes here that could be hidden.

use crate::{
    base::{limits::HANDSHAKE_TIMEOUT, slab::Chunk},
    mse::{Agreed, Encryption, Initiator, MseError, Receiver, SECRET_LEN, Secret, hashed_skey},
    sim::{StreamId, agenda::Due, host::Mind, link::Unit},
    torrent::{DialFailure, Direction, Input},
};

use super::{Ends, World};

/// What one end has of the handshake.
#[derive(Debug)]
pub(super) enum Opening {
    /// It dialled.
    Dialled(Box<Initiator>),
    /// It was dialled.
    Accepted(Box<Receiver>),
}

impl Opening {
    pub(super) const fn is_dialler(&self) -> bool {
        matches!(self, Opening::Dialled(_))
    }
}

impl World {
    /// The machine that sends on `stream` has dialled, and begins.
    pub(super) fn initiate(&mut self, stream: StreamId) {
        let host = self.sides[stream.at()].host;
        let secret = self.secret();
        let rng = self.rng.fork();
        let h = &self.hosts[host.at()];
        let Mind::Machine(machine) = &h.mind else { return };
        let (hello, methods) = (machine.hello(), h.plan.settings.encryption.methods());
        let inside = hello.to_bytes().to_vec();
        self.observer.sent(self.now, host, stream, &Unit::Bytes(inside.clone()));
        let (initiator, first) = Initiator::new(hello.info_hash, methods, inside, secret, rng);
        self.begin(stream, Opening::Dialled(Box::new(initiator)));
        self.say(stream, first);
    }

    /// The machine that sends on `stream` was dialled, and waits for the other end to begin.
    pub(super) fn accept_encrypted(&mut self, stream: StreamId) {
        let host = self.sides[stream.at()].host;
        let methods = self.hosts[host.at()].plan.settings.encryption.methods();
        let receiver = Receiver::new(methods, self.secret(), self.rng.fork());
        self.begin(stream, Opening::Accepted(Box::new(receiver)));
    }

    fn secret(&mut self) -> Secret {
        let mut secret = [0; SECRET_LEN];
        self.rng.fill(&mut secret);
        Secret(secret)
    }

    fn begin(&mut self, stream: StreamId, opening: Opening) {
        self.sides[stream.at()].opening = Some(opening);
        self.agenda.push(self.now + HANDSHAKE_TIMEOUT, Due::OpeningLate(stream));
    }

    fn say(&mut self, stream: StreamId, bytes: Vec<u8>) {
        let delay = self.ends[stream.at() / 2].delay;
        let at = self.sides[stream.at()].air.take_off(Unit::Opening(bytes), self.now, delay);
        self.agenda.push(at, Due::Arrive(stream));
    }

    /// What the other end says reaches the machine that sends on `stream`.
    pub(super) fn hear_opening(&mut self, stream: StreamId, unit: &Unit) {
        let skey = self.info_hash;
        let find = |hashed| (hashed == hashed_skey(skey)).then_some(skey);
        let Some(opening) = &mut self.sides[stream.at()].opening else { return };
        let mut said = Vec::new();
        let mut read = |bytes: &[u8]| -> Result<Option<Agreed>, MseError> {
            match opening {
                Opening::Dialled(initiator) => initiator.read(bytes, &mut said),
                Opening::Accepted(receiver) => {
                    let agreed = receiver.read(bytes, &mut said, find)?;
                    Ok(agreed.map(|(_, agreed)| agreed))
                }
            }
        };
        let mut result = Ok(None);
        unit.each_chunk(|chunk| {
            if let Chunk::Bytes(bytes) = chunk {
                result = read(bytes);
            }
        });
        match result {
            Err(_) => self.give_up_opening(stream),
            Ok(agreed) => {
                if !said.is_empty() {
                    self.say(stream, said);
                }
                if let Some(agreed) = agreed {
                    self.agree(stream, &agreed);
                }
            }
        }
    }

    /// Both ends agree: the machine that sends on `stream` has a peer.
    fn agree(&mut self, stream: StreamId, agreed: &Agreed) {
        let side = &mut self.sides[stream.at()];
        let (host, opening) = (side.host, side.opening.take());
        let Ends { from, called, .. } = self.ends[stream.at() / 2];
        let (addr, direction) = match opening {
            Some(Opening::Dialled(_)) => (called, Direction::Outgoing),
            _ => (from, Direction::Incoming),
        };
        let h = &mut self.hosts[host.at()];
        let Mind::Machine(machine) = &mut h.mind else { return };
        let encryption = Encryption::of(agreed.ciphers.as_deref());
        match machine.admit(self.now, addr, direction, encryption) {
            Ok(key) => {
                self.sides[stream.at()].key = Some(key);
                let first = Unit::Bytes(agreed.first.clone());
                self.observer.received(self.now, host, stream.opposite(), &first);
                machine.read(self.now, key, Chunk::Bytes(&agreed.first), &mut h.pool);
                h.bind(key, stream);
            }
            Err(refusal) => {
                *self.partings.entry(format!("refused: {refusal}")).or_default() += 1;
                self.hang_up(stream);
            }
        }
        self.settle(host);
    }

    /// The machine that sends on `stream` has waited long enough.
    pub(super) fn opening_late(&mut self, stream: StreamId) {
        if self.sides[stream.at()].opening.is_some() {
            self.give_up_opening(stream);
        }
    }

    fn give_up_opening(&mut self, stream: StreamId) {
        let opening = self.sides[stream.at()].opening.take();
        self.hang_up(stream);
        if opening.is_some_and(|opening| opening.is_dialler()) {
            self.declined(stream);
        }
    }

    /// The machine that dialled on `stream` learns that the other end does not take the handshake.
    pub(super) fn declined(&mut self, stream: StreamId) {
        let (host, addr) = (self.sides[stream.at()].host, self.ends[stream.at() / 2].called);
        *self.partings.entry("no agreement on encryption".to_owned()).or_default() += 1;
        self.tell(host, Input::DialFailed { addr, failure: DialFailure::Declined });
    }

    fn hang_up(&mut self, stream: StreamId) {
        if self.shut(stream) {
            self.end(stream);
        }
    }
}
