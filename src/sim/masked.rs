//! Rogues of the encryption handshake ([`crate::mse`]): they are dialled, and dial everyone again and again,
//! and what they say then leads to nothing.

use std::{collections::VecDeque, net::SocketAddr, time::Duration};

use crate::{
    base::{
        hash::{Sha1Hash, sha1},
        rng::Rng,
        time::Instant,
    },
    mse::{Initiator, KEY_LEN, Methods, Receiver, SECRET_LEN, Secret, hashed_skey},
};

use super::{
    frames::{self, Frame},
    rogue::{Doings, Line, Rogue},
};

/// What a [`Masked`] does with a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mask {
    /// It says nothing.
    Silent,
    /// It closes it at once.
    HangsUp,
    /// It sends a key, and nothing behind it.
    KeyAlone,
    /// It sends a key that gives no secret.
    BadKey,
    /// It sends a key, and padding without an end.
    Pads,
    /// It speaks of another torrent.
    OtherTorrent,
    /// It agrees, and says nothing more.
    Agrees,
}

#[derive(Debug)]
enum Talk {
    Dialled(Initiator),
    Accepted(Receiver),
}

/// A rogue that plays a [`Mask`].
#[derive(Debug)]
pub struct Masked {
    mask: Mask,
    skey: Sha1Hash,
    rng: Rng,
    known: Vec<SocketAddr>,
    /// Whom to dial again, the next one first.
    again: VecDeque<SocketAddr>,
    talks: Vec<(Line, Talk)>,
    /// Connections that are padded.
    padded: Vec<Line>,
    /// The timer for that runs.
    pads: bool,
}

const REDIAL: u32 = 0;
const PAD: u32 = 1;
const REDIAL_EVERY: Duration = Duration::from_millis(500);
const PAD_EVERY: Duration = Duration::from_millis(100);
const PADDING: usize = 8 << 10;
const METHODS: Methods = Methods::PLAIN.with(Methods::RC4);

impl Masked {
    /// Plays `mask` in the swarm of `info_hash`.
    pub fn new(mask: Mask, info_hash: Sha1Hash, seed: u64) -> Self {
        let skey = if mask == Mask::OtherTorrent { sha1(b"another torrent") } else { info_hash };
        Masked {
            mask,
            skey,
            rng: Rng::new(seed),
            known: Vec::new(),
            again: VecDeque::new(),
            talks: Vec::new(),
            padded: Vec::new(),
            pads: false,
        }
    }

    fn secret(&mut self) -> Secret {
        let mut secret = [0; SECRET_LEN];
        self.rng.fill(&mut secret);
        Secret(secret)
    }

    fn noise(&mut self, length: usize) -> Vec<u8> {
        let mut noise = vec![0; length];
        self.rng.fill(&mut noise);
        // Taken for a key it is a number below that of the group.
        noise[0] = 0;
        noise
    }

    fn talk(&mut self, line: Line, outgoing: bool, doings: &mut Doings) {
        let secret = self.secret();
        let rng = self.rng.fork();
        let talk = if outgoing {
            let hello = frames::handshake(self.skey, *b"-RG0002-............", true);
            let (initiator, first) = Initiator::new(self.skey, METHODS, hello, secret, rng);
            doings.send(line, first);
            Talk::Dialled(initiator)
        } else {
            Talk::Accepted(Receiver::new(METHODS, secret, rng))
        };
        self.talks.push((line, talk));
    }
}

impl Rogue for Masked {
    fn peers(&mut self, now: Instant, addrs: &[SocketAddr], doings: &mut Doings) {
        if self.known.is_empty() && !addrs.is_empty() {
            doings.timer(now + REDIAL_EVERY, REDIAL);
        }
        let new: Vec<SocketAddr> =
            addrs.iter().copied().filter(|addr| !self.known.contains(addr)).collect();
        self.again.extend(&new);
        self.known.extend(new);
    }

    fn connected(&mut self, now: Instant, line: Line, outgoing: bool, doings: &mut Doings) {
        match self.mask {
            Mask::Silent => {}
            Mask::HangsUp => doings.close(line),
            Mask::KeyAlone => {
                let key = self.noise(KEY_LEN);
                doings.send(line, key);
            }
            Mask::BadKey => doings.send(line, vec![0; KEY_LEN]),
            Mask::Pads => {
                if !std::mem::replace(&mut self.pads, true) {
                    doings.timer(now + PAD_EVERY, PAD);
                }
                self.padded.push(line);
                let key = self.noise(KEY_LEN);
                doings.send(line, key);
            }
            Mask::OtherTorrent | Mask::Agrees => self.talk(line, outgoing, doings),
        }
    }

    fn opening(&mut self, _now: Instant, line: Line, bytes: &[u8], doings: &mut Doings) {
        let skey = self.skey;
        let find = |hashed| (hashed == hashed_skey(skey)).then_some(skey);
        let Some((_, talk)) = self.talks.iter_mut().find(|(l, _)| *l == line) else { return };
        let mut said = Vec::new();
        let result = match talk {
            Talk::Dialled(initiator) => initiator.read(bytes, &mut said).map(drop),
            Talk::Accepted(receiver) => receiver.read(bytes, &mut said, find).map(drop),
        };
        match result {
            Ok(()) if said.is_empty() => {}
            Ok(()) => doings.send(line, said),
            Err(_) => doings.close(line),
        }
    }

    fn message(&mut self, _now: Instant, _line: Line, _frame: Frame, _doings: &mut Doings) {}

    fn closed(&mut self, _now: Instant, line: Line, _doings: &mut Doings) {
        self.talks.retain(|(l, _)| *l != line);
        self.padded.retain(|l| *l != line);
    }

    fn timer(&mut self, now: Instant, token: u32, doings: &mut Doings) {
        if token == REDIAL {
            if let Some(addr) = self.again.pop_front() {
                self.again.push_back(addr);
                doings.dial_encrypted(addr);
            }
            doings.timer(now + REDIAL_EVERY, REDIAL);
        } else {
            for line in self.padded.clone() {
                let padding = self.noise(PADDING);
                doings.send(line, padding);
            }
            doings.timer(now + PAD_EVERY, PAD);
        }
    }
}
