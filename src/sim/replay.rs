//! Rogues that say nothing of their own: they send what they have heard, to whom it is not for.
//!
//! What they have heard is right to the last byte, so that each message of it is one that an honest peer
//! says; only the place and the time are wrong.

use std::{collections::VecDeque, net::SocketAddr, time::Duration};

use crate::base::time::Instant;

use super::{
    frames::Frame,
    rogue::{Doings, Heard, Line, Rogue},
};

/// What a [`Replayer`] sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replay {
    /// To each peer what that says itself.
    Echo,
    /// To everyone, again and again, what the first has said: its name, what it has, what it asks for, blocks.
    First,
}

/// A rogue that plays a [`Replay`].
#[derive(Debug)]
pub struct Replayer {
    replay: Replay,
    /// Whose words are kept.
    first: Option<Line>,
    record: Vec<Heard>,
    known: Vec<SocketAddr>,
    /// Whom to dial again, the next one first.
    again: VecDeque<SocketAddr>,
}

const REDIAL_EVERY: Duration = Duration::from_millis(500);
/// What is kept of the first: a minute or so.
const RECORD: usize = 4_096;

impl Replayer {
    /// Plays `replay`.
    pub const fn new(replay: Replay) -> Self {
        Replayer {
            replay,
            first: None,
            record: Vec::new(),
            known: Vec::new(),
            again: VecDeque::new(),
        }
    }
}

impl Rogue for Replayer {
    fn peers(&mut self, now: Instant, addrs: &[SocketAddr], doings: &mut Doings) {
        if self.known.is_empty() && !addrs.is_empty() {
            doings.timer(now + REDIAL_EVERY, 0);
        }
        let new: Vec<SocketAddr> =
            addrs.iter().copied().filter(|addr| !self.known.contains(addr)).collect();
        self.again.extend(&new);
        self.known.extend(new);
    }

    fn connected(&mut self, _now: Instant, line: Line, _outgoing: bool, doings: &mut Doings) {
        if self.replay == Replay::First {
            self.record.iter().for_each(|what| doings.repeat(line, what));
        }
    }

    fn message(&mut self, _now: Instant, _line: Line, _frame: Frame, _doings: &mut Doings) {}

    fn heard(&mut self, _now: Instant, line: Line, what: &Heard, doings: &mut Doings) {
        match self.replay {
            Replay::Echo => doings.repeat(line, what),
            Replay::First => {
                if *self.first.get_or_insert(line) == line && self.record.len() < RECORD {
                    self.record.push(what.clone());
                }
            }
        }
    }

    fn timer(&mut self, now: Instant, _token: u32, doings: &mut Doings) {
        if let Some(addr) = self.again.pop_front() {
            self.again.push_back(addr);
            doings.dial(addr);
        }
        doings.timer(now + REDIAL_EVERY, 0);
    }
}
