//! A torrent of a session as it is shown: a snapshot turned into a [`View`].
//!
//! Remembers from one look to the next what a snapshot does not say: since when nothing moved, how
//! fast a check goes.

use std::time::Duration;

use super::progress::{Stage, View};
use crate::{
    base::{rate::RateMeter, time},
    session::{Finding, TorrentHandle, TorrentSnapshot, TorrentState},
};

/// After so long without progress the reason is shown.
const PATIENCE: Duration = Duration::from_secs(10);
/// Time between two accounts of why a torrent does not get on.
const ACCOUNT_EVERY: Duration = Duration::from_secs(10);

/// One torrent, looked at again and again.
#[derive(Debug)]
pub(super) struct Observed {
    id: String,
    name: String,
    pieces: u32,
    checking: RateMeter,
    checked: u64,
    /// What was received and verified when it last changed, and when that was.
    moved: (u64, u64),
    moved_at: Duration,
    /// When all causes for its standing still were told, and which came first.
    account: Option<(Duration, &'static str)>,
}

impl Observed {
    /// Looks at `handle` from `now` on, counted from the start of the run. It is called `id`.
    pub(super) fn new(handle: &TorrentHandle, id: String, now: Duration) -> Self {
        Observed {
            id,
            name: handle.name().to_owned(),
            pieces: handle.info().geometry().pieces(),
            checking: RateMeter::default(),
            checked: 0,
            moved: (0, 0),
            moved_at: now,
            account: None,
        }
    }

    /// What it is called: by its info hash in hex, as a rule.
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// The torrent's name, which may hold anything.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Shows it under another name than its own.
    pub(super) fn rename(&mut self, name: String) {
        self.name = name;
    }

    /// How long nothing has moved.
    pub(super) fn idle(&self, now: Duration) -> Duration {
        now.saturating_sub(self.moved_at)
    }

    /// What is to be shown.
    pub(super) fn look(&mut self, now: Duration, snapshot: &TorrentSnapshot) -> View {
        let m = &snapshot.machine;
        let mut view = View {
            id: self.id.clone(),
            name: self.name.clone(),
            done: m.wanted_done,
            total: m.wanted,
            pieces_done: m.pieces_done,
            pieces: self.pieces,
            down: m.down,
            up: m.up,
            downloaded: m.downloaded,
            uploaded: m.uploaded,
            wasted: m.wasted,
            peers: m.peers,
            web_seeds: m.web_seeds,
            known: m.known,
            seeds: m.seeds,
            eta: snapshot.eta,
            ..View::default()
        };
        let mut moved = (m.done, m.downloaded);
        view.stage = match &snapshot.state {
            TorrentState::Checking { done, total } => {
                moved = (*done, 0);
                self.check(now, *done, *total, &mut view);
                Stage::Checking
            }
            TorrentState::Metadata => Stage::Metadata,
            TorrentState::Downloading => Stage::Downloading,
            TorrentState::Seeding => Stage::Seeding,
            TorrentState::Paused if m.wanted_done == m.wanted => Stage::Done,
            TorrentState::Paused => Stage::Stopped,
            TorrentState::MissingStorage(why)
            | TorrentState::DiskFull(why)
            | TorrentState::Failed(why) => {
                view.waiting = Some(why.clone());
                Stage::Stopped
            }
        };
        let fetches = matches!(view.stage, Stage::Metadata | Stage::Downloading);
        // Whoever waits for a disk gets on as little.
        let waits = fetches || matches!(snapshot.state, TorrentState::MissingStorage(_));
        if moved != self.moved || !waits {
            (self.moved, self.moved_at) = (moved, now);
        }
        if self.idle(now) >= PATIENCE && fetches {
            view.waiting = snapshot.why.first().map(|found| found.cause.to_string());
        }
        view
    }

    /// Whether all causes in `found` are to be told of a torrent that stands still: when there is another first one,
    /// and not too often.
    pub(super) fn is_news(&mut self, now: Duration, found: &[Finding]) -> bool {
        let Some(first) = found.first().map(|found| found.cause.name()) else { return false };
        let is_early =
            |(at, told): (Duration, &str)| now.saturating_sub(at) < ACCOUNT_EVERY || told == first;
        if self.account.is_some_and(is_early) {
            return false;
        }
        self.account = Some((now, first));
        true
    }

    /// A check has figures of its own.
    fn check(&mut self, now: Duration, done: u64, total: u64, view: &mut View) {
        let at = time::Instant::ZERO + now;
        self.checking.add(at, done.saturating_sub(self.checked));
        self.checked = done;
        (view.done, view.total, view.pieces_done) = (done, total, 0);
        view.down = self.checking.rate(at);
        view.eta = total.saturating_sub(done).checked_div(view.down.0).map(Duration::from_secs);
        view.pieces = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        base::units::ByteRate,
        session::{Cause, TorrentSnapshot, TorrentState},
    };

    fn observed() -> Observed {
        Observed {
            id: "i".into(),
            name: "n".into(),
            pieces: 10,
            checking: RateMeter::default(),
            checked: 0,
            moved: (0, 0),
            moved_at: Duration::ZERO,
            account: None,
        }
    }

    fn snapshot(state: TorrentState) -> TorrentSnapshot {
        let machine = Default::default();
        TorrentSnapshot { state, machine, trackers: [].into(), eta: None, why: Vec::new() }
    }

    /// A minute of looks, one a second: after ten seconds without progress, and then when there is news.
    #[test]
    fn all_causes_are_told_after_ten_seconds_and_again_when_another_comes_first() {
        let mut o = observed();
        let cause = |second: u64| match second {
            0..13 => Cause::Asking { trackers: 1, dht: false },
            13..16 => Cause::NoMetadata(1),
            16..33 => Cause::TrackersKnowNobody(1),
            _ => Cause::NoMetadata(2),
        };
        let mut told = Vec::new();
        for second in 0..60 {
            let mut s = snapshot(TorrentState::Downloading);
            s.machine.wanted = 100;
            s.machine.done = u64::from(second >= 40);
            s.why = vec![Finding { cause: cause(second), weight: 80 }];
            let now = Duration::from_secs(second);
            let stands = o.look(now, &s).waiting.is_some();
            if stands && o.is_news(now, &s.why) {
                told.push((second, s.why[0].cause.name()));
            }
        }
        let want = [(10, "asking"), (20, "trackers_know_nobody"), (33, "no_metadata")];
        assert_eq!(told, want);
        assert!(!o.is_news(Duration::from_secs(90), &[]), "nothing is not told");
    }

    #[test]
    fn a_check_has_a_rate() {
        let mut o = observed();
        let mut look = |s: u64| {
            let state = TorrentState::Checking { done: s * 1000, total: 10_000 };
            o.look(Duration::from_secs(s), &snapshot(state))
        };
        let views = [look(0), look(1), look(2), look(3)];
        assert!(views[3].down > ByteRate(500), "{:?}", views[3]);
        assert_eq!((views[3].done, views[3].stage), (3000, Stage::Checking));
    }

    #[test]
    fn the_reason_is_shown_after_ten_seconds_without_progress() {
        let mut o = observed();
        let mut s = snapshot(TorrentState::Downloading);
        s.machine.wanted = 100;
        s.why = vec![Finding { cause: Cause::NoMetadata(1), weight: 80 }];
        let at = Duration::from_secs;
        assert_eq!(o.look(at(9), &s).waiting, None);
        let waiting = o.look(at(10), &s).waiting;
        assert_eq!(waiting.as_deref(), Some("1 peer connected, it sends no metadata"));
        s.machine.downloaded = 1;
        assert_eq!(o.look(at(12), &s).waiting, None);
        assert_eq!(o.idle(at(15)), at(3));
        s.state = TorrentState::Seeding;
        o.look(at(40), &s);
        assert_eq!(o.idle(at(40)), at(0));
    }
}
