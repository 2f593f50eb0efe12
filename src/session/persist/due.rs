//! When a torrent's state is worth writing: 30 s after the first change that is not on disk, sooner
//! if much has changed, and one save at a time.

use std::time::Duration;

use crate::base::time::Instant;

/// A change is on disk after so long.
const SAVE_EVERY: Duration = Duration::from_secs(30);
/// Or when so many bytes are verified that no record knows of.
const SAVE_BYTES: u64 = 256 << 20;

/// The changes of one torrent that are not saved.
#[derive(Debug, Default)]
pub(in crate::session) struct Due {
    /// The first of them.
    since: Option<Instant>,
    bytes: u64,
    under_way: bool,
}

impl Due {
    /// Something changed: `bytes` more are verified. True if all was saved before.
    pub(in crate::session) fn changed(&mut self, now: Instant, bytes: u64) -> bool {
        let first = self.since.is_none();
        self.since.get_or_insert(now);
        self.bytes = self.bytes.saturating_add(bytes);
        first
    }

    /// Something changed that is to be saved at once.
    pub(in crate::session) fn hurry(&mut self, now: Instant) -> bool {
        self.changed(now, SAVE_BYTES)
    }

    /// When the next save may begin; `None` when there is nothing to save, or one is under way.
    pub(in crate::session) fn at(&self) -> Option<Instant> {
        let since = self.since.filter(|_| !self.under_way)?;
        Some(if self.bytes >= SAVE_BYTES { since } else { since + SAVE_EVERY })
    }

    /// A save begins with all changes so far.
    pub(in crate::session) fn begin(&mut self) {
        *self = Due { since: None, bytes: 0, under_way: true };
    }

    /// The save has ended. If it failed the changes are still to be saved.
    pub(in crate::session) fn end(&mut self, now: Instant, saved: bool) {
        self.under_way = false;
        if !saved {
            self.changed(now, 0);
        }
    }

    /// There is something that no save knows of.
    pub(in crate::session) const fn is_dirty(&self) -> bool {
        self.since.is_some()
    }

    /// A save is under way.
    pub(in crate::session) const fn is_under_way(&self) -> bool {
        self.under_way
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_saved_together_and_one_save_at_a_time() {
        let start = Instant::ZERO;
        let after = |secs| start + Duration::from_secs(secs);
        let mut due = Due::default();
        assert_eq!(due.at(), None);
        assert!(due.changed(start, 1));
        assert!(!due.changed(after(5), 1));
        assert_eq!(due.at(), Some(after(30)));
        due.begin();
        assert_eq!((due.at(), due.is_dirty()), (None, false));
        due.changed(after(31), SAVE_BYTES);
        assert_eq!(due.at(), None);
        due.end(after(40), true);
        assert_eq!(due.at(), Some(after(31)));
        due.begin();
        due.end(after(50), false);
        assert_eq!((due.at(), due.is_dirty()), (Some(after(80)), true));
        due.hurry(after(60));
        assert_eq!(due.at(), Some(after(50)));
    }
}
