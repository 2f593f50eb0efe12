//! Whether somebody else wrote to the files we serve.
//!
//! A file is looked at when it is opened and now and then while it is read. Its own writes are told
//! here, so that they are not taken for somebody's. What is read from a file that was touched has
//! to be verified before it is served; that is up to [`Storage`](super::Storage).

use std::{
    collections::HashMap,
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
};

use crate::base::{file_stamp::FileStamp, index::FileIndex};

/// A file is looked at again after so many reads from any: next to nothing each, and soon in all.
const READS_PER_LOOK: u32 = 16;

/// What is known of the files of one torrent.
#[derive(Debug, Default)]
pub(super) struct Touches {
    known: Mutex<HashMap<FileIndex, Known>>,
    reads: AtomicU32,
    /// Some file was touched.
    any: AtomicBool,
}

#[derive(Debug, Default)]
struct Known {
    /// What it looked like last; `None` after a write of ours.
    stamp: Option<FileStamp>,
    /// Writes of ours under way.
    writing: u32,
    touched: bool,
}

/// A write of ours, while it lives.
pub(super) struct Writing<'a> {
    touches: &'a Touches,
    file: FileIndex,
}

impl Touches {
    /// `file` looks like this now.
    pub(super) fn look(&self, file: FileIndex, stamp: FileStamp) {
        let mut known = self.known();
        let known = known.entry(file).or_default();
        if known.writing > 0 {
            return;
        }
        if known.stamp.is_some_and(|before| before != stamp) {
            known.touched = true;
            self.any.store(true, Ordering::Release);
        }
        known.stamp = Some(stamp);
    }

    /// Whether it is time to look at a file that is being read.
    pub(super) fn is_time(&self) -> bool {
        self.reads.fetch_add(1, Ordering::Relaxed).is_multiple_of(READS_PER_LOOK)
    }

    /// Whether somebody else wrote to `file` since it was first looked at.
    pub(super) fn is_touched(&self, file: FileIndex) -> bool {
        self.any.load(Ordering::Acquire)
            && self.known().get(&file).is_some_and(|known| known.touched)
    }

    /// We write to `file` for as long as what is returned lives.
    pub(super) fn writing(&self, file: FileIndex) -> Writing<'_> {
        let mut known = self.known();
        let entry = known.entry(file).or_default();
        entry.writing += 1;
        entry.stamp = None;
        Writing { touches: self, file }
    }

    fn known(&self) -> MutexGuard<'_, HashMap<FileIndex, Known>> {
        self.known.lock().expect("nothing panics while what is known is locked")
    }
}

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        if let Some(known) = self.touches.known().get_mut(&self.file) {
            known.writing -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_others_write_counts() {
        let touches = Touches::default();
        let (a, b) = (FileIndex(0), FileIndex(1));
        let stamp = |modified| FileStamp { length: 9, modified, inode: 1 };
        touches.look(a, stamp(1));
        touches.look(a, stamp(1));
        {
            let _first = touches.writing(a);
            let _second = touches.writing(a);
            touches.look(a, stamp(2));
        }
        touches.look(a, stamp(3));
        assert!(!touches.is_touched(a));
        touches.look(b, stamp(3));
        touches.look(b, stamp(4));
        assert!(touches.is_touched(b) && !touches.is_touched(a));
        // It stays so: what was verified before is not known.
        drop(touches.writing(b));
        touches.look(b, stamp(5));
        assert!(touches.is_touched(b));
    }
}
