//! When torrents are announced on the local network, and how many announces of others are looked at.
//!
//! Pure. A torrent is announced when it starts, then every five minutes; several share a datagram. A few
//! datagrams go out at once, then one a minute (BEP 14, *Usage*): ten thousand torrents take turns.

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use super::super::id::TorrentId;
use crate::base::{
    limits::{MAX_LSD_PER_SECOND, MAX_LSD_TORRENTS},
    time::Instant,
};

/// Between two announces of a torrent.
const EVERY: Duration = Duration::from_secs(5 * 60);
/// Between two datagrams, once a burst is used up.
const GAP: Duration = Duration::from_secs(60);
/// Datagrams that may go out at once after a pause.
const BURST: u32 = 5;

/// The torrents, and whose turn it is.
#[derive(Debug, Default)]
pub(super) struct Local {
    turns: BTreeSet<(Instant, TorrentId)>,
    /// Where each stands among them.
    at: HashMap<TorrentId, Instant>,
    /// When everything that went out so far would have been allowed.
    paid: Instant,
}

impl Local {
    /// The torrent is announced from now on.
    pub(super) fn start(&mut self, now: Instant, id: TorrentId) {
        self.stop(id);
        self.turn(now, id);
    }

    /// The torrent is announced no more.
    pub(super) fn stop(&mut self, id: TorrentId) {
        if let Some(at) = self.at.remove(&id) {
            self.turns.remove(&(at, id));
        }
    }

    /// All of them are announced anew: others may listen.
    pub(super) fn again(&mut self, now: Instant) {
        let all: Vec<TorrentId> = self.at.keys().copied().collect();
        all.into_iter().for_each(|id| self.start(now, id));
    }

    fn turn(&mut self, at: Instant, id: TorrentId) {
        self.turns.insert((at, id));
        self.at.insert(id, at);
    }

    /// When to call [`Local::take_due`].
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let (due, _) = self.turns.first()?;
        Some((*due).max(self.paid - GAP * (BURST - 1)))
    }

    /// The torrents of one datagram, if one may go out.
    pub(super) fn take_due(&mut self, now: Instant) -> Vec<TorrentId> {
        if self.poll_timeout().is_none_or(|at| now < at) {
            return Vec::new();
        }
        let mut due = Vec::new();
        while let Some(&(at, id)) = self.turns.first()
            && at <= now
            && due.len() < MAX_LSD_TORRENTS
        {
            self.turns.pop_first();
            due.push(id);
        }
        due.iter().for_each(|&id| self.turn(now + EVERY, id));
        self.paid = self.paid.max(now) + GAP;
        due
    }
}

/// Announces of others in one second.
#[derive(Debug, Default)]
pub(super) struct Heard {
    since: Instant,
    count: u32,
}

impl Heard {
    /// Whether one that has come now is looked at.
    pub(super) fn takes_one(&mut self, now: Instant) -> bool {
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

    fn at(secs: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(secs)
    }

    #[test]
    fn a_torrent_is_announced_at_once_and_every_five_minutes() {
        let mut local = Local::default();
        assert_eq!(local.poll_timeout(), None);
        local.start(at(10), TorrentId(1));
        assert_eq!(local.take_due(at(10)), [TorrentId(1)]);
        assert_eq!(local.take_due(at(309)), []);
        assert_eq!(local.poll_timeout(), Some(at(310)));
        assert_eq!(local.take_due(at(310)), [TorrentId(1)]);
        local.again(at(400));
        assert_eq!(local.take_due(at(400)), [TorrentId(1)]);
        local.stop(TorrentId(1));
        assert_eq!(local.poll_timeout(), None);
    }

    #[test]
    fn a_bounded_number_is_heard_in_a_second() {
        let mut heard = Heard::default();
        for second in [5, 6, 900] {
            let taken = (0..1_000).filter(|_| heard.takes_one(at(second))).count();
            assert_eq!(taken, MAX_LSD_PER_SECOND as usize);
        }
    }

    #[test]
    fn many_share_datagrams_and_take_turns() {
        let mut local = Local::default();
        let many = 20 * MAX_LSD_TORRENTS as u64;
        (0..many).for_each(|n| local.start(at(1_000), TorrentId(n)));
        let (mut told, mut datagrams) = (BTreeSet::new(), Vec::new());
        for second in 1_000..3_000 {
            loop {
                let due = local.take_due(at(second));
                if due.is_empty() {
                    break;
                }
                datagrams.push(second);
                told.extend(due.into_iter().map(|id| id.0));
            }
        }
        assert_eq!(told.len(), many as usize, "everyone has a turn");
        assert_eq!(datagrams.iter().filter(|&&second| second == 1_000).count(), BURST as usize);
        let within = |second| datagrams.iter().filter(|&&s| s > second && s <= second + 60).count();
        assert!((1_060..2_900).all(|second| within(second) <= 1));
    }
}
