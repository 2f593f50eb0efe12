//! What keeps a node from being used against others, and from being lied to: what nobody can guess, and a
//! bound on answers.
//!
//! Transaction ids and tokens are hashes over a secret key: whoever sees many of them, or the random
//! numbers in our node ids, knows nothing of the next.
//! A token proves that whoever wants to store something gets datagrams at the address it writes from
//! (BEP 5). The bound keeps us from answering a flood: whoever's address is on it gets thirty
//! answers at once and then five a second from us, and no more. Both have a fixed size, whatever comes in.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use crate::base::{
    compact::{is_local, network},
    hash::sha1,
    time::Instant,
};

/// Tokens of the time before the last are refused (BEP 5 accepts them for up to ten minutes).
const TOKEN_LIFE: Duration = Duration::from_secs(5 * 60);
/// Bytes of a token: too many to guess with a datagram each.
const TOKEN_LEN: usize = 8;

/// Answers that one host may get at once.
const BURST: u64 = 30;
/// After which it gets one in so long.
const PACE: Duration = Duration::from_millis(200);
/// Answers to all hosts together, at once, and the pace after it: 200 a second.
const BURST_OF_ALL: u64 = 400;
const PACE_OF_ALL: Duration = Duration::from_millis(5);
/// Hosts told apart; those that share a place share what it may get.
const PLACES: usize = 1_024;

/// What only this node knows.
#[derive(Debug, Clone, Copy)]
pub struct Key(pub [u8; 20]);

impl Key {
    fn digest<const N: usize>(&self, what: &str, of: &[u8]) -> [u8; N] {
        let digest = sha1(&[&self.0[..], what.as_bytes(), of].concat()).0;
        std::array::from_fn(|i| digest[i])
    }
}

/// Draws transaction ids.
#[derive(Debug)]
pub(super) struct Transactions {
    key: Key,
    drawn: u64,
}

impl Transactions {
    pub(super) const fn new(key: Key) -> Self {
        Transactions { key, drawn: 0 }
    }

    pub(super) fn draw(&mut self) -> u32 {
        self.drawn += 1;
        u32::from_be_bytes(self.key.digest("transaction", &self.drawn.to_be_bytes()))
    }
}

/// Hands out tokens and knows its own.
#[derive(Debug)]
pub(super) struct Tokens {
    key: Key,
    /// How often the secret has changed.
    epoch: u64,
    rotated: Instant,
}

impl Tokens {
    pub(super) const fn new(key: Key, now: Instant) -> Self {
        Tokens { key, epoch: 1, rotated: now }
    }

    /// Makes a new secret when it is time.
    pub(super) fn rotate(&mut self, now: Instant) {
        if now.since(self.rotated) >= TOKEN_LIFE {
            self.epoch += 1;
            self.rotated = now;
        }
    }

    /// The token for `ip`.
    pub(super) fn token(&self, ip: IpAddr) -> [u8; TOKEN_LEN] {
        self.of(self.epoch, ip)
    }

    /// Whether `ip` got this token, not long ago.
    pub(super) fn is_valid(&self, ip: IpAddr, presented: &[u8]) -> bool {
        [self.epoch, self.epoch - 1].iter().any(|&epoch| self.of(epoch, ip) == presented)
    }

    fn of(&self, epoch: u64, ip: IpAddr) -> [u8; TOKEN_LEN] {
        self.key.digest("token", &[&epoch.to_be_bytes()[..], &octets(ip)].concat())
    }
}

fn octets(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}

/// How far ahead of its pace somebody is.
#[derive(Debug, Clone, Copy)]
struct Pace {
    /// When everything that was allowed so far would have been paid for.
    paid: Instant,
}

impl Pace {
    const NEW: Pace = Pace { paid: Instant::ZERO };

    fn allows(&mut self, now: Instant, pace: Duration, burst: u64) -> bool {
        let begin = self.paid.max(now);
        let allowed = begin.since(now) < pace * burst as u32;
        if allowed {
            self.paid = begin + pace;
        }
        allowed
    }
}

/// Bounds answers.
#[derive(Debug)]
pub(super) struct Bound {
    hosts: Box<[Pace]>,
    all: Pace,
    key: Key,
}

impl Bound {
    pub(super) fn new(key: Key) -> Self {
        Bound { hosts: vec![Pace::NEW; PLACES].into(), all: Pace::NEW, key }
    }

    /// Whether a query from `from` may be answered now.
    pub(super) fn allows(&mut self, now: Instant, from: SocketAddr) -> bool {
        // Many nodes share an address of a local network.
        let port = if is_local(from.ip()) { from.port() } else { 0 };
        let host = [&octets(network(from.ip()))[..], &port.to_be_bytes()].concat();
        let place = usize::from(u16::from_be_bytes(self.key.digest("place", &host))) % PLACES;
        self.hosts[place].allows(now, PACE, BURST)
            && self.all.allows(now, PACE_OF_ALL, BURST_OF_ALL)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Instant {
        Instant::ZERO + Duration::from_millis(ms)
    }

    #[test]
    fn a_token_is_good_for_one_address_and_some_minutes() {
        let (one, other) = (IpAddr::from([1, 2, 3, 4]), IpAddr::from([1, 2, 3, 5]));
        let mut tokens = Tokens::new(Key([1; 20]), at(0));
        let token = tokens.token(one);
        assert!(tokens.is_valid(one, &token) && !tokens.is_valid(other, &token));
        assert!(!tokens.is_valid(one, b"") && !tokens.is_valid(one, &token[..7]));
        tokens.rotate(at(0) + TOKEN_LIFE);
        assert!(tokens.is_valid(one, &token) && tokens.token(one) != token);
        tokens.rotate(at(0) + TOKEN_LIFE * 2);
        assert!(!tokens.is_valid(one, &token));
    }

    #[test]
    fn transactions_differ_from_one_another_and_from_those_of_others() {
        let draw = |key| {
            let mut transactions = Transactions::new(Key([key; 20]));
            (0..1_000).map(|_| transactions.draw()).collect::<std::collections::BTreeSet<u32>>()
        };
        let (one, other) = (draw(1), draw(2));
        assert!(one.len() > 995 && one.intersection(&other).count() < 5);
    }

    #[test]
    fn a_flood_is_answered_a_little_and_others_all_the_same() {
        let mut bound = Bound::new(Key([2; 20]));
        let addr = |n: u8, port: u16| SocketAddr::from(([203, 0, 113, n], port));
        let answers = (0..10_000u64).filter(|&ms| bound.allows(at(ms), addr(1, 9))).count();
        assert!((70..=81).contains(&answers), "{answers}");
        assert!(bound.allows(at(10_000), addr(2, 9)));
        // Another port is the same host.
        assert!(!bound.allows(at(10_000), addr(1, 10)));
        let many = (0..=255).flat_map(|a| (0..20).map(move |b| ([8, a, b, 1], 1).into()));
        let answers = many.filter(|&from| bound.allows(at(20_000), from)).count();
        assert_eq!(answers as u64, BURST_OF_ALL);
    }
}
