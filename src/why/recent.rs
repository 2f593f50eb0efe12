//! What happened in the last minutes, counted. Bounded and cheap; never asked once per block.

use std::time::Duration;

use crate::base::time::Instant;

/// Time after which counts begin anew; those of the time before still count.
const SPAN: Duration = Duration::from_secs(150);

/// Something worth counting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Happening {
    /// Somebody connected to us.
    Incoming,
    /// There was no socket for a connection.
    NoSocket,
    /// Somebody named an address that is blocked.
    Blocked,
    /// A piece did not match its hash.
    PieceFailed,
    /// A piece did.
    PieceVerified,
    /// A peer did not answer requests for too long.
    Unanswered,
}

const KINDS: usize = 6;

/// How often each thing happened lately.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts([u32; KINDS]);

impl Counts {
    /// How often this happened.
    pub const fn of(&self, happening: Happening) -> u32 {
        self.0[happening as usize]
    }
}

impl<const N: usize> From<[(Happening, u32); N]> for Counts {
    fn from(pairs: [(Happening, u32); N]) -> Self {
        let mut counts = Counts::default();
        pairs.into_iter().for_each(|(happening, times)| counts.0[happening as usize] = times);
        counts
    }
}

/// Counts that forget: what happened counts for 2½ to 5 minutes.
#[derive(Debug, Clone, Copy, Default)]
pub struct Recent {
    since: Instant,
    now: [u16; KINDS],
    before: [u16; KINDS],
}

impl Recent {
    /// It happened so many times more. As long as nothing has there is nothing in memory.
    pub fn note(recent: &mut Option<Box<Self>>, now: Instant, happening: Happening, times: u32) {
        if times == 0 {
            return;
        }
        let recent = recent.get_or_insert_default();
        **recent = recent.at(now);
        let count = &mut recent.now[happening as usize];
        *count = count.saturating_add(u16::try_from(times).unwrap_or(u16::MAX));
    }

    /// How often each thing happened in the last minutes.
    pub fn counts(recent: Option<&Self>, now: Instant) -> Counts {
        let Some(recent) = recent else { return Counts::default() };
        let at = recent.at(now);
        Counts(std::array::from_fn(|i| u32::from(at.now[i]) + u32::from(at.before[i])))
    }

    fn at(&self, now: Instant) -> Recent {
        let age = now.since(self.since);
        if age < SPAN {
            *self
        } else if age < SPAN * 2 {
            Recent { since: self.since + SPAN, now: [0; KINDS], before: self.now }
        } else {
            Recent { since: now, ..Recent::default() }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happened_counts_for_some_minutes() {
        let at = |secs| Instant::ZERO + Duration::from_secs(secs);
        let mut recent = None;
        Recent::note(&mut recent, at(10), Happening::Blocked, 2);
        Recent::note(&mut recent, at(149), Happening::Blocked, 1);
        Recent::note(&mut recent, at(200), Happening::Incoming, 1);
        let of = |secs, what| Recent::counts(recent.as_deref(), at(secs)).of(what);
        assert_eq!((of(200, Happening::Blocked), of(200, Happening::Incoming)), (3, 1));
        assert_eq!((of(310, Happening::Blocked), of(310, Happening::Incoming)), (0, 1));
        assert_eq!(of(460, Happening::Incoming), 0);
        assert_eq!(of(10_000, Happening::Incoming), 0);
    }

    #[test]
    fn counts_do_not_run_over() {
        let mut recent = None;
        Recent::note(&mut recent, Instant::ZERO, Happening::Blocked, u32::MAX);
        Recent::note(&mut recent, Instant::ZERO, Happening::Blocked, 1);
        let counts = Recent::counts(recent.as_deref(), Instant::ZERO);
        assert_eq!(counts.of(Happening::Blocked), u32::from(u16::MAX));
    }
}
