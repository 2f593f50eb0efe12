//! The session's clock: the only reader of the system's, in virtual time since the session began.
//!
//! Shards, discovery and persistence share one, so that their instants can be compared.

use std::time::Duration;

use crate::base::time::Instant;

/// Counts from the moment it was made; copies agree.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    start: std::time::Instant,
}

#[expect(clippy::disallowed_methods, reason = "this is where a driver reads the clock")]
impl Clock {
    pub(super) fn start() -> Self {
        Clock { start: std::time::Instant::now() }
    }

    pub(super) fn now(&self) -> Instant {
        Instant::ZERO + self.start.elapsed()
    }

    /// Time of day, by the clock that stamps files: nanoseconds since 1970.
    pub(super) fn time_of_day() -> i64 {
        let since = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
    }

    /// The same moment for tokio's timers.
    pub(super) fn at(&self, when: Instant) -> tokio::time::Instant {
        (self.start + within_reach(self.start.elapsed(), when)).into()
    }
}

/// How long after the start `when` is, or what any timer reaches from now on: a year.
fn within_reach(elapsed: Duration, when: Instant) -> Duration {
    when.since(Instant::ZERO).min(elapsed + Duration::from_secs(365 * 24 * 3600))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timers_are_ahead_in_the_second_year_too() {
        let day = Duration::from_secs(24 * 3600);
        for elapsed in [Duration::ZERO, 366 * day, 3_000 * day] {
            let soon = Instant::ZERO + elapsed + day;
            assert_eq!(within_reach(elapsed, soon), elapsed + day);
            assert_eq!(within_reach(elapsed, Instant::FAR), elapsed + 365 * day);
        }
    }
}
