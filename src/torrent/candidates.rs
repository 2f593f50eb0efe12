//! Addresses of peers: known, dialled, connected, failed or banned, and which to dial next.
//!
//! Bounded by `limits::MAX_CANDIDATES`. A failure doubles the wait before the next try, a ban is for
//! the life of the torrent. The order of dialling: the user's own, fewest failures, then random.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use crate::base::{id::PeerKey, limits, rng::Rng, time::Instant};

use super::{DialFailure, Source};

/// Wait after the first failure; doubles with each further one.
const FIRST_WAIT: Duration = Duration::from_secs(10);
/// Longest wait.
const LONGEST_WAIT: Duration = Duration::from_secs(1800);
/// An address that failed so often is forgotten when room is needed.
const GIVE_UP: u8 = 6;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// May be dialled from then on.
    Idle(Instant),
    Dialling,
    Connected(PeerKey),
    /// Ourselves.
    Never,
}

#[derive(Debug)]
struct Known {
    source: Source,
    failures: u8,
    seed: bool,
    state: State,
    /// Random order among equals, so that a swarm does not dial in the tracker's order.
    lot: u64,
}

/// How a connection ended, as far as dialling again is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// It worked for a while.
    Lost,
    /// It never worked, or broke the protocol.
    Failed,
    /// We turned it away before it began.
    Refused,
    /// There is another connection to the same peer.
    Duplicate,
    /// Both are seeds.
    Seed,
    /// It sends bad data.
    Banned,
    /// It is ourselves.
    Never,
}

/// All addresses of one torrent.
#[derive(Debug)]
pub(super) struct Candidates {
    known: BTreeMap<SocketAddr, Known>,
    banned: Vec<IpOrAddr>,
    dialling: u32,
    rng: Rng,
}

/// Loopback peers share one address: there only the port tells them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum IpOrAddr {
    Ip(IpAddr),
    Addr(SocketAddr),
}

impl IpOrAddr {
    fn of(addr: SocketAddr) -> Self {
        if addr.ip().is_loopback() { IpOrAddr::Addr(addr) } else { IpOrAddr::Ip(addr.ip()) }
    }
}

impl Candidates {
    pub(super) fn new(rng: Rng) -> Self {
        Candidates { known: BTreeMap::new(), banned: Vec::new(), dialling: 0, rng }
    }

    pub(super) fn found(&mut self, now: Instant, source: Source, addrs: &[SocketAddr]) {
        for &addr in addrs {
            if addr.port() == 0 || addr.ip().is_unspecified() || self.is_banned(addr) {
                continue;
            }
            if let Some(known) = self.known.get_mut(&addr) {
                known.source = known.source.min(source);
                continue;
            }
            if self.known.len() >= limits::MAX_CANDIDATES && !self.make_room() {
                return;
            }
            let lot = self.rng.next_u64();
            let state = State::Idle(now);
            self.known.insert(addr, Known { source, failures: 0, seed: false, state, lot });
        }
    }

    /// The next address to dial, marked as being dialled. Known seeds are skipped if `skip_seeds`.
    pub(super) fn next(&mut self, now: Instant, skip_seeds: bool) -> Option<SocketAddr> {
        let ready = self.known.iter().filter(|(_, k)| match k.state {
            State::Idle(at) => at <= now && !(skip_seeds && k.seed),
            _ => false,
        });
        let order = |k: &Known| (k.source != Source::User, k.failures, k.lot);
        let addr = *ready.min_by_key(|(_, k)| order(k))?.0;
        if let Some(known) = self.known.get_mut(&addr) {
            known.state = State::Dialling;
            self.dialling += 1;
        }
        Some(addr)
    }

    /// When an address that waits may be dialled.
    pub(super) fn next_due(&self, skip_seeds: bool) -> Option<Instant> {
        let waiting = self.known.values().filter(|k| !(skip_seeds && k.seed));
        waiting.filter_map(|k| if let State::Idle(at) = k.state { Some(at) } else { None }).min()
    }

    pub(super) fn connected(&mut self, addr: SocketAddr, key: PeerKey) {
        if let Some(known) = self.known.get_mut(&addr) {
            self.dialling -= u32::from(known.state == State::Dialling);
            known.state = State::Connected(key);
        }
    }

    pub(super) fn dial_failed(&mut self, now: Instant, addr: SocketAddr, failure: DialFailure) {
        match failure {
            // Says nothing about the peer: soon again.
            DialFailure::NoDescriptor => self.set_idle(addr, now + Duration::from_secs(2)),
            DialFailure::Refused | DialFailure::TimedOut | DialFailure::Unreachable => {
                self.failed(now, addr);
            }
        }
    }

    pub(super) fn connection_ended(&mut self, now: Instant, addr: SocketAddr, ended: Ended) {
        match ended {
            Ended::Lost => {
                if let Some(known) = self.known.get_mut(&addr) {
                    known.failures = 0;
                }
                let wait = self.jitter(FIRST_WAIT / 2);
                self.set_idle(addr, now + wait);
            }
            Ended::Failed => self.failed(now, addr),
            Ended::Refused => self.set_idle(addr, now + FIRST_WAIT * 3),
            Ended::Duplicate => self.set_idle(addr, now + FIRST_WAIT * 12),
            Ended::Seed => {
                if let Some(known) = self.known.get_mut(&addr) {
                    known.seed = true;
                }
                self.set_idle(addr, now + FIRST_WAIT * 12);
            }
            Ended::Banned => self.ban(addr),
            Ended::Never => {
                if let Some(known) = self.known.get_mut(&addr) {
                    self.dialling -= u32::from(known.state == State::Dialling);
                    known.state = State::Never;
                }
            }
        }
    }

    pub(super) fn ban(&mut self, addr: SocketAddr) {
        if let Some(known) = self.known.remove(&addr) {
            self.dialling -= u32::from(known.state == State::Dialling);
        }
        if !self.is_banned(addr) && self.banned.len() < limits::MAX_CANDIDATES {
            self.banned.push(IpOrAddr::of(addr));
        }
    }

    pub(super) fn is_banned(&self, addr: SocketAddr) -> bool {
        self.banned.contains(&IpOrAddr::of(addr))
    }

    pub(super) fn banned(&self) -> u32 {
        self.banned.len() as u32
    }

    pub(super) const fn dialling(&self) -> u32 {
        self.dialling
    }

    /// Known addresses, our own left out.
    pub(super) fn count(&self) -> u32 {
        self.known.values().filter(|k| k.state != State::Never).count() as u32
    }

    fn failed(&mut self, now: Instant, addr: SocketAddr) {
        let Some(known) = self.known.get_mut(&addr) else { return };
        let wait = FIRST_WAIT * 2u32.saturating_pow(u32::from(known.failures).min(10));
        known.failures = known.failures.saturating_add(1);
        let wait = self.jitter(wait.min(LONGEST_WAIT));
        self.set_idle(addr, now + wait);
    }

    fn set_idle(&mut self, addr: SocketAddr, at: Instant) {
        if let Some(known) = self.known.get_mut(&addr) {
            self.dialling -= u32::from(known.state == State::Dialling);
            known.state = State::Idle(at);
        }
    }

    /// Between half of `wait` and one and a half.
    fn jitter(&mut self, wait: Duration) -> Duration {
        wait.mul_f64(0.5 + self.rng.unit())
    }

    fn make_room(&mut self) -> bool {
        let worst = self
            .known
            .iter()
            .filter(|(_, k)| matches!(k.state, State::Idle(_)) && k.source != Source::User)
            .max_by_key(|(_, k)| k.failures)
            .filter(|(_, k)| k.failures >= GIVE_UP / 2)
            .map(|(addr, _)| *addr);
        worst.is_some_and(|addr| self.known.remove(&addr).is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(n: u16) -> SocketAddr {
        SocketAddr::from(([10, 0, (n >> 8) as u8, n as u8], 6881))
    }

    #[test]
    fn each_failure_doubles_the_wait() {
        let mut c = Candidates::new(Rng::new(1));
        c.found(Instant::ZERO, Source::Tracker, &[addr(1)]);
        let mut now = Instant::ZERO;
        let mut waits = Vec::new();
        for _ in 0..6 {
            assert_eq!(c.next(now, false), Some(addr(1)));
            assert_eq!(c.dialling(), 1);
            c.dial_failed(now, addr(1), DialFailure::Refused);
            assert_eq!((c.dialling(), c.next(now, false)), (0, None));
            let due = c.next_due(false).expect("it waits");
            waits.push(due.since(now).as_secs());
            now = due;
        }
        assert!(waits[0] <= 15 && waits[5] >= 160, "{waits:?}");
    }

    #[test]
    fn user_first_banned_never_and_bounded() {
        let mut c = Candidates::new(Rng::new(1));
        let many: Vec<_> = (0..5_000).map(addr).collect();
        c.found(Instant::ZERO, Source::Tracker, &many);
        assert_eq!(c.count() as usize, limits::MAX_CANDIDATES);
        c.ban(addr(7));
        c.found(Instant::ZERO, Source::User, &[addr(7), addr(9)]);
        assert!(c.is_banned(addr(7)));
        assert_eq!(c.next(Instant::ZERO, false), Some(addr(9)));
    }
}
