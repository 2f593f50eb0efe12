//! When a torrent's state is worth writing: 30 s after the first change that is not on disk, sooner
//! if much has changed, and one save at a time. And which writes to its files wait for that.
//!
//! A state says whether anything is written after it. One that says no, and is believed by the next run, is replaced
//! before anything is. For a state that cannot be written, or a disk that does not answer, nobody waits: the next
//! run has to hash more then, and nothing is lost.

use std::time::Duration;

use crate::base::time::Instant;

/// A change is on disk after so long.
const SAVE_EVERY: Duration = Duration::from_secs(30);
/// Or when so many bytes are verified that no record knows of.
const SAVE_BYTES: u64 = 256 << 20;
/// A write waits so long at most.
const LONGEST_HOLD: Duration = Duration::from_secs(5);

/// The changes of one torrent that are not saved, and the writes that wait.
#[derive(Debug)]
pub(in crate::session) struct Due<W> {
    /// The first of the changes.
    since: Option<Instant>,
    bytes: u64,
    /// A save is under way, by which nothing is written after it, or something.
    under_way: Option<bool>,
    /// What is on disk, or may be there any moment, says that nothing is written after it.
    settled: bool,
    /// Writes that wait until it does not; in a box, for hardly ever do any.
    held: Option<Box<Held<W>>>,
}

#[derive(Debug)]
struct Held<W> {
    writes: Vec<W>,
    /// They wait no longer than that.
    until: Instant,
}

impl<W> Due<W> {
    /// Nothing is to be saved; what is on disk is `settled`, or not.
    pub(in crate::session) const fn new(settled: bool) -> Self {
        Due { since: None, bytes: 0, under_way: None, settled, held: None }
    }

    /// Something changed: `bytes` more are verified. True if all was saved before.
    pub(in crate::session) fn changed(&mut self, now: Instant, bytes: u64) -> bool {
        let first = self.since.is_none();
        self.since.get_or_insert(now);
        let is_false_now = self.settled && self.under_way.is_none();
        self.bytes = self.bytes.saturating_add(if is_false_now { SAVE_BYTES } else { bytes });
        first
    }

    /// So many bytes were sent to peers. Whether that is worth a save by now.
    pub(in crate::session) fn sent(&mut self, bytes: u64) -> bool {
        // To be told of four times as many is worth as much as of what is verified.
        self.bytes = self.bytes.saturating_add(bytes.div_ceil(4));
        self.bytes >= SAVE_BYTES && !self.is_dirty()
    }

    /// Something was sent, or verified, of which no save knows.
    pub(in crate::session) const fn has_sent(&self) -> bool {
        self.bytes > 0
    }

    /// Somebody wants to write: he may if it is given back. If not, that is a change.
    pub(in crate::session) fn write(&mut self, now: Instant, write: W) -> Option<W> {
        if !self.settled {
            return Some(write);
        }
        let until = now + LONGEST_HOLD;
        let held = self.held.get_or_insert_with(|| Box::new(Held { writes: Vec::new(), until }));
        held.writes.push(write);
        None
    }

    /// When the next save may begin; `None` when there is nothing to save, or one is under way.
    pub(in crate::session) fn at(&self) -> Option<Instant> {
        let since = self.since.filter(|_| self.under_way.is_none())?;
        Some(if self.bytes >= SAVE_BYTES { since } else { since + SAVE_EVERY })
    }

    /// When [`Due::give_up`] is to be called, if anybody waits.
    pub(in crate::session) fn until(&self) -> Option<Instant> {
        self.held.as_ref().map(|held| held.until)
    }

    /// When something is to be done.
    pub(in crate::session) fn next(&self) -> Option<Instant> {
        [self.at(), self.until()].into_iter().flatten().min()
    }

    /// A save begins with all changes so far: nothing is written after it, or something.
    pub(in crate::session) fn begin(&mut self, settled: bool) {
        (self.since, self.bytes, self.under_way) = (None, 0, Some(settled));
        self.settled |= settled;
    }

    /// The save has ended. If it failed the changes are still to be saved. Gives the writes that wait no longer.
    pub(in crate::session) fn end(&mut self, now: Instant, is_saved: bool) -> Vec<W> {
        let says = self.under_way.take().unwrap_or_default();
        // One that failed may be there all the same.
        self.settled = if is_saved { says } else { says && self.settled };
        if !is_saved {
            self.since.get_or_insert(now);
        }
        if self.held.is_some() || is_saved && self.is_dirty() {
            // Nothing more is to be said of one that is not settled.
            self.changed(now, 0);
        }
        self.released()
    }

    /// The save does not end: the writes wait no longer.
    pub(in crate::session) fn give_up(&mut self) -> Vec<W> {
        self.settled = false;
        self.released()
    }

    fn released(&mut self) -> Vec<W> {
        if self.settled {
            return Vec::new();
        }
        self.held.take().map_or_else(Vec::new, |held| held.writes)
    }

    /// What is on disk says that nothing is written after it.
    pub(in crate::session) const fn is_settled(&self) -> bool {
        self.settled
    }

    /// There is something that no save knows of.
    pub(in crate::session) const fn is_dirty(&self) -> bool {
        self.since.is_some()
    }

    /// A save is under way.
    pub(in crate::session) const fn is_under_way(&self) -> bool {
        self.under_way.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(secs: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(secs)
    }

    #[test]
    fn changes_are_saved_together_and_one_save_at_a_time() {
        let mut due = Due::<u8>::new(false);
        assert_eq!(due.at(), None);
        assert!(due.changed(after(0), 1));
        assert!(!due.changed(after(5), 1));
        assert_eq!(due.at(), Some(after(30)));
        due.begin(false);
        assert_eq!((due.at(), due.is_dirty()), (None, false));
        due.changed(after(31), SAVE_BYTES);
        assert_eq!(due.at(), None);
        due.end(after(40), true);
        assert_eq!(due.at(), Some(after(31)));
        due.begin(false);
        due.end(after(50), false);
        assert_eq!((due.at(), due.is_dirty()), (Some(after(80)), true));
        due.changed(after(60), SAVE_BYTES);
        assert_eq!(due.at(), Some(after(50)));
    }

    /// The first write after an orderly end went to the disk beside the save: a kill in between, and a file that
    /// nobody had doubted was hashed again.
    #[test]
    fn what_says_that_nothing_is_written_is_replaced_before_anything_is() {
        let mut due = Due::new(true);
        assert_eq!(due.write(after(0), 1), None);
        assert!(due.changed(after(0), 0));
        assert_eq!(due.at(), Some(after(0)), "at once");
        due.begin(false);
        assert_eq!(due.write(after(1), 2), None, "it may be there still");
        assert_eq!(due.end(after(2), true), [1, 2]);
        assert_eq!((due.write(after(3), 3), due.until()), (Some(3), None));
    }

    #[test]
    fn a_state_that_is_on_its_way_counts_as_there() {
        let mut due = Due::new(false);
        due.begin(true);
        assert_eq!(due.write(after(1), 1), None);
        due.changed(after(1), 0);
        assert!(due.end(after(2), true).is_empty());
        assert_eq!((due.is_settled(), due.at()), (true, Some(after(1))));
        due.begin(false);
        assert_eq!(due.end(after(3), true), [1]);
        // Also one that is said to have failed.
        due.begin(true);
        assert_eq!(due.write(after(4), 2), None);
        assert!(due.end(after(5), false).is_empty());
        assert_eq!(due.at(), Some(after(5)));
    }

    #[test]
    fn nobody_waits_for_what_cannot_be_written_or_does_not_answer() {
        let mut due = Due::new(true);
        due.changed(after(0), 0);
        due.begin(false);
        assert_eq!(due.write(after(1), 1), None);
        assert_eq!(due.end(after(2), false), [1]);
        assert_eq!((due.is_settled(), due.at()), (false, Some(after(32))));
        let mut due = Due::new(true);
        due.changed(after(0), 0);
        due.begin(false);
        assert_eq!((due.write(after(1), 1), due.write(after(3), 2)), (None, None));
        assert_eq!(due.until(), Some(after(6)));
        assert_eq!(due.give_up(), [1, 2]);
        assert_eq!((due.until(), due.write(after(7), 3)), (None, Some(3)));
    }

    #[test]
    fn what_is_sent_is_saved_now_and_then() {
        let mut due = Due::<u8>::new(true);
        assert!(!due.has_sent() && !due.sent(SAVE_BYTES) && due.has_sent());
        assert!(!due.sent(2 * SAVE_BYTES) && due.sent(SAVE_BYTES));
        due.changed(after(1), 0);
        assert_eq!(due.at(), Some(after(1)));
        due.begin(true);
        due.end(after(2), true);
        assert!(!due.has_sent() && !due.is_dirty());
    }

    /// Of a seed whose state cannot be written nothing is tried more often than of others.
    #[test]
    fn a_save_that_fails_is_not_tried_again_at_once() {
        let mut due = Due::<u8>::new(false);
        for at in 0..5 {
            due.begin(true);
            assert!(due.end(after(at), false).is_empty());
            assert_eq!(due.at(), Some(after(at + 30)));
        }
    }
}
