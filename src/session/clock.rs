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
        // Farther than any timer reaches: a year.
        let ahead = when.since(Instant::ZERO).min(Duration::from_secs(365 * 24 * 3600));
        (self.start + ahead).into()
    }
}
