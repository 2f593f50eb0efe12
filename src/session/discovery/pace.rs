//! When a torrent may make its first announce: ten thousand that start together must not announce
//! together.
//!
//! Pure. A few start at once, the others one after the other; as trackers ask all of them to come back
//! after the same time, they stay as far apart. Torrents that need peers do not queue behind seeds.

use std::time::Duration;

use crate::base::time::Instant;

/// Between two starts, once a burst is used up.
const GAP: Duration = Duration::from_millis(20);
/// So many start at once after a pause.
const BURST: u32 = 50;

/// Two queues, in which only the times are kept.
#[derive(Debug, Default)]
pub(super) struct Pace {
    seeds: Queue,
    leeches: Queue,
}

#[derive(Debug, Default)]
struct Queue {
    /// When the queue would be empty if every start took its gap.
    busy_until: Instant,
}

impl Pace {
    /// When a torrent may start that wants to at `now`.
    pub(super) fn start(&mut self, now: Instant, needs_peers: bool) -> Instant {
        let queue = if needs_peers { &mut self.leeches } else { &mut self.seeds };
        let at = queue.busy_until.max(now);
        queue.busy_until = at + GAP;
        now.max(Instant::ZERO + at.since(Instant::ZERO).saturating_sub(GAP * BURST))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_thousand_torrents_do_not_announce_at_once() {
        let mut pace = Pace::default();
        let mut by_second = vec![0; 300];
        for i in 0..10_000 {
            let now = Instant::ZERO + Duration::from_micros(100 * i);
            let at = pace.start(now, false);
            assert!(at >= now);
            by_second[at.since(Instant::ZERO).as_secs() as usize] += 1;
        }
        let most = by_second.iter().max().copied();
        assert!(most <= Some(100), "{most:?} in one second");
        let last = by_second.iter().rposition(|&n| n > 0);
        assert!(last <= Some(201), "the last one waits {last:?} s");
        let now = Instant::ZERO + Duration::from_secs(1);
        assert_eq!(pace.start(now, true), now, "who needs peers does not wait for seeds");
        let later = now + Duration::from_secs(1000);
        assert!((0..BURST).all(|_| pace.start(later, false) == later), "after a pause");
    }
}
