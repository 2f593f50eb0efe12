//! Local service discovery (BEP 14): who of the local network has the same torrents.
//!
//! Pure. Here is decided when which torrents are announced, and whom of those who announce to us we look at; the
//! form is in [`announce`], the sockets are in [`crate::net::lsd`].
//!
//! A torrent is announced when it starts, once more after a minute, for datagrams get lost and addresses may not be
//! usable yet, then every five minutes; several share a datagram. A few datagrams go out at once, then one a minute
//! (BEP 14, *Usage*): ten thousand torrents take turns.

pub mod announce;

use std::{
    collections::{BTreeSet, HashMap},
    hash::Hash,
    net::SocketAddr,
    time::Duration,
};

pub use announce::Announce;

use crate::base::{
    hash::Sha1Hash,
    limits::{MAX_LSD_PER_SECOND, MAX_LSD_TORRENTS},
    rng::Rng,
    time::Instant,
};

/// Between two announces of a torrent.
const EVERY: Duration = Duration::from_secs(5 * 60);
/// Between two datagrams, once a burst is used up; and between the first two announces of a torrent.
const GAP: Duration = Duration::from_secs(60);
/// Datagrams that may go out at once after a pause.
const BURST: u32 = 5;

/// One of those who speak on a local network. `K` is what its owner calls a torrent.
#[derive(Debug)]
pub struct Local<K> {
    turns: BTreeSet<(Instant, K)>,
    /// Where each stands among them.
    at: HashMap<K, Turn>,
    /// When everything that went out so far would have been allowed.
    paid: Instant,
    /// By which we know our own.
    cookie: String,
    heard: Heard,
}

/// When a torrent is announced next.
#[derive(Debug, Clone, Copy)]
struct Turn {
    at: Instant,
    /// For the first time.
    is_first: bool,
}

/// Announces of others in one second.
#[derive(Debug, Default)]
struct Heard {
    since: Instant,
    count: u32,
}

impl<K: Copy + Ord + Hash> Local<K> {
    /// Somebody without torrents.
    pub fn new(rng: &mut Rng) -> Self {
        Local {
            turns: BTreeSet::new(),
            at: HashMap::new(),
            paid: Instant::ZERO,
            cookie: format!("{:016x}", rng.next_u64()),
            heard: Heard::default(),
        }
    }

    /// The torrent is announced from now on.
    pub fn start(&mut self, now: Instant, torrent: K) {
        self.stop(torrent);
        self.turn(torrent, Turn { at: now, is_first: true });
    }

    /// The torrent is announced no more.
    pub fn stop(&mut self, torrent: K) {
        if let Some(turn) = self.at.remove(&torrent) {
            self.turns.remove(&(turn.at, torrent));
        }
    }

    /// All of them are announced anew: others may listen.
    pub fn again(&mut self, now: Instant) {
        let all: Vec<K> = self.at.keys().copied().collect();
        all.into_iter().for_each(|torrent| self.start(now, torrent));
    }

    fn turn(&mut self, torrent: K, turn: Turn) {
        self.turns.insert((turn.at, torrent));
        self.at.insert(torrent, turn);
    }

    /// When to call [`Local::take_due`].
    pub fn poll_timeout(&self) -> Option<Instant> {
        let (due, _) = self.turns.first()?;
        Some((*due).max(self.paid - GAP * (BURST - 1)))
    }

    /// The torrents of one datagram, if one may go out.
    pub fn take_due(&mut self, now: Instant) -> Vec<K> {
        if self.poll_timeout().is_none_or(|at| now < at) {
            return Vec::new();
        }
        let mut due = Vec::new();
        while let Some(&(at, torrent)) = self.turns.first()
            && at <= now
            && due.len() < MAX_LSD_TORRENTS
        {
            self.turns.pop_first();
            due.push(torrent);
        }
        for &torrent in &due {
            let was_first = self.at.get(&torrent).is_some_and(|turn| turn.is_first);
            let pause = if was_first { GAP } else { EVERY };
            self.turn(torrent, Turn { at: now + pause, is_first: false });
        }
        self.paid = self.paid.max(now) + GAP;
        due
    }

    /// What is said of torrents that are reached on `port`.
    pub fn announce(&self, port: u16, info_hashes: Vec<Sha1Hash>) -> Announce {
        Announce { port, info_hashes, cookie: Some(self.cookie.clone()) }
    }

    /// Reads what `from` has sent: where a peer is, and which torrents it has. `None` if it is something else, our
    /// own, or one more than is looked at in a second.
    pub fn hear(
        &mut self,
        now: Instant,
        from: SocketAddr,
        datagram: &[u8],
    ) -> Option<(SocketAddr, Vec<Sha1Hash>)> {
        let announce = Announce::decode(datagram)?;
        if announce.cookie.as_ref() == Some(&self.cookie) || !self.heard.takes_one(now) {
            return None;
        }
        let mut addr = from;
        addr.set_port(announce.port);
        Some((addr, announce.info_hashes))
    }
}

impl Heard {
    /// Whether one that has come now is looked at.
    fn takes_one(&mut self, now: Instant) -> bool {
        if now.since(self.since) >= Duration::from_secs(1) {
            *self = Heard { since: now, count: 0 };
        }
        self.count = self.count.saturating_add(1);
        self.count <= MAX_LSD_PER_SECOND
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::hash::sha1;

    fn at(secs: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(secs)
    }

    fn local(seed: u64) -> Local<u64> {
        Local::new(&mut Rng::new(seed))
    }

    #[test]
    fn a_torrent_is_announced_at_once_and_then_every_five_minutes() {
        let mut local = local(1);
        assert_eq!(local.poll_timeout(), None);
        local.start(at(10), 1);
        assert_eq!(local.take_due(at(10)), [1]);
        assert!(local.take_due(at(69)).is_empty());
        assert_eq!(local.take_due(at(70)), [1], "the first may not have been heard");
        assert!(local.take_due(at(369)).is_empty());
        assert_eq!(local.poll_timeout(), Some(at(370)));
        assert_eq!(local.take_due(at(370)), [1]);
        local.again(at(400));
        assert_eq!(local.take_due(at(400)), [1]);
        local.stop(1);
        assert_eq!(local.poll_timeout(), None);
    }

    #[test]
    fn a_bounded_number_of_others_is_heard_in_a_second_and_we_ourselves_are_not() {
        let (mut local, other) = (local(1), super::tests::local(2));
        let hashes = vec![sha1(b"one"), sha1(b"two")];
        let own = local.announce(6881, hashes.clone()).encode(false);
        let theirs = other.announce(7_000, hashes.clone()).encode(true);
        let from = SocketAddr::from(([192, 168, 1, 9], 6771));
        for second in [5, 6, 900] {
            let taken = |local: &mut Local<u64>, datagram: &[u8]| {
                (0..1_000)
                    .filter_map(|_| local.hear(at(second), from, datagram))
                    .collect::<Vec<_>>()
            };
            assert_eq!(taken(&mut local, &own), []);
            assert_eq!(taken(&mut local, b"GET / HTTP/1.1\r\n\r\n"), []);
            let taken = taken(&mut local, &theirs);
            assert_eq!(taken.len(), MAX_LSD_PER_SECOND as usize);
            assert_eq!(taken[0], (SocketAddr::from(([192, 168, 1, 9], 7_000)), hashes.clone()));
        }
    }

    #[test]
    fn many_share_datagrams_and_take_turns() {
        let mut local = local(1);
        let many = 20 * MAX_LSD_TORRENTS as u64;
        (0..many).for_each(|n| local.start(at(1_000), n));
        let (mut told, mut datagrams) = (BTreeSet::new(), Vec::new());
        for second in 1_000..3_000 {
            loop {
                let due = local.take_due(at(second));
                if due.is_empty() {
                    break;
                }
                datagrams.push(second);
                told.extend(due);
            }
        }
        assert_eq!(told.len(), many as usize, "everyone has a turn");
        assert_eq!(datagrams.iter().filter(|&&second| second == 1_000).count(), BURST as usize);
        let within = |second| datagrams.iter().filter(|&&s| s > second && s <= second + 60).count();
        assert!((1_060..2_900).all(|second| within(second) <= 1));
    }
}
