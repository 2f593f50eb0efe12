//! Whether what is in the files we serve can still be believed.
//!
//! A file is looked at when it is opened and now and then while it is read. Its own writes are told
//! here, so that they are not taken for somebody's; what others write at the same time is not seen.
//! What is read from a doubtful file has to be verified before it is served; that is up to
//! [`Storage`](super::Storage).

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
};

use crate::base::{
    file_stamp::FileStamp,
    index::{FileIndex, PieceIndex},
};

/// A file is looked at again after so many reads from any: next to nothing each, and soon in all. A
/// prime, so that files that are read in step all have their turn.
pub(super) const READS_PER_LOOK: u32 = 17;

/// What is known of the files of one torrent.
#[derive(Debug, Default)]
pub(super) struct Touches {
    known: Mutex<Table>,
    reads: AtomicU32,
    /// Some file is doubtful.
    any: AtomicBool,
}

#[derive(Debug, Default)]
struct Table {
    files: HashMap<FileIndex, Known>,
    /// Pieces verified since a file was last found changed.
    verified: HashSet<PieceIndex>,
    /// How often a file was found changed.
    generation: u64,
}

#[derive(Debug, Default)]
struct Known {
    /// What it looked like last; `None` if it was never looked at, or we write to it.
    stamp: Option<FileStamp>,
    /// Which file it was last.
    inode: Option<u64>,
    /// Writes of ours under way.
    writing: u32,
    doubtful: bool,
}

impl Touches {
    /// Compares `file` with what it was; true if that makes it doubtful. `stamp` tells what it looks
    /// like now; it is called while no write of ours can begin or end.
    pub(super) fn look(&self, file: FileIndex, stamp: impl FnOnce() -> Option<FileStamp>) -> bool {
        self.compare(&mut self.table(), file, stamp)
    }

    /// A write of ours begins: compares first, as `look` does.
    pub(super) fn begin(&self, file: FileIndex, stamp: impl FnOnce() -> Option<FileStamp>) -> bool {
        let mut table = self.table();
        let first = table.files.get(&file).is_none_or(|known| known.writing == 0);
        let changed = first && self.compare(&mut table, file, stamp);
        let known = table.files.entry(file).or_default();
        known.writing += 1;
        known.stamp = None;
        changed
    }

    /// It has ended; the file looks like `stamp` now.
    pub(super) fn end(&self, file: FileIndex, stamp: impl FnOnce() -> Option<FileStamp>) {
        if let Some(known) = self.table().files.get_mut(&file) {
            known.writing -= 1;
            if known.writing == 0 {
                known.stamp = stamp();
            }
        }
    }

    /// Whether `file` was there at any time.
    pub(super) fn has_seen(&self, file: FileIndex) -> bool {
        self.table().files.get(&file).is_some_and(|known| known.inode.is_some())
    }

    /// What is in `file` cannot be believed, for whatever reason.
    pub(super) fn doubt(&self, file: FileIndex) {
        self.doubt_in(&mut self.table(), file);
    }

    fn compare(
        &self,
        table: &mut Table,
        file: FileIndex,
        stamp: impl FnOnce() -> Option<FileStamp>,
    ) -> bool {
        let known = table.files.entry(file).or_default();
        let Some(now) = stamp() else { return false };
        let replaced = known.inode.is_some_and(|inode| inode != now.inode);
        let changed = known.writing == 0 && known.stamp.is_some_and(|before| before != now);
        known.inode = Some(now.inode);
        known.stamp = (known.writing == 0).then_some(now);
        if replaced || changed {
            self.doubt_in(table, file);
        }
        replaced || changed
    }

    fn doubt_in(&self, table: &mut Table, file: FileIndex) {
        table.files.entry(file).or_default().doubtful = true;
        table.verified.clear();
        table.generation += 1;
        self.any.store(true, Ordering::Release);
    }

    /// Whether it is time to look at a file that is being read.
    pub(super) fn is_time(&self) -> bool {
        self.reads.fetch_add(1, Ordering::Relaxed).is_multiple_of(READS_PER_LOOK)
    }

    /// Whether `file` was found changed by others, or doubtful otherwise.
    pub(super) fn is_doubtful(&self, file: FileIndex) -> bool {
        self.any.load(Ordering::Acquire)
            && self.table().files.get(&file).is_some_and(|known| known.doubtful)
    }

    /// Changes whenever a file is found changed.
    pub(super) fn generation(&self) -> u64 {
        self.table().generation
    }

    /// `piece` was read from doubtful files and is right; the reading began in `generation`.
    pub(super) fn verified(&self, piece: PieceIndex, generation: u64) {
        let mut table = self.table();
        if table.generation == generation {
            table.verified.insert(piece);
        }
    }

    /// Whether `piece` was right and no file has changed since.
    pub(super) fn is_verified(&self, piece: PieceIndex) -> bool {
        self.table().verified.contains(&piece)
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.known.lock().expect("nothing panics while what is known is locked")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(modified: i64) -> FileStamp {
        FileStamp { length: 9, modified, inode: 1 }
    }

    #[test]
    fn only_what_others_write_counts() {
        let touches = Touches::default();
        let (a, b) = (FileIndex(0), FileIndex(1));
        let look = |file, modified| touches.look(file, || Some(stamp(modified)));
        assert!(!look(a, 1) && !look(a, 1));
        touches.begin(a, || Some(stamp(1)));
        touches.begin(a, || panic!("the first write has looked"));
        assert!(!look(a, 2));
        touches.end(a, || panic!("there is another one"));
        touches.end(a, || Some(stamp(3)));
        assert!(!look(a, 3) && !touches.is_doubtful(a));
        look(b, 3);
        assert!(look(b, 4));
        assert!(touches.is_doubtful(b) && !touches.is_doubtful(a));
        // It stays so, but for pieces that were looked at since.
        let generation = touches.generation();
        touches.verified(PieceIndex(7), generation);
        assert!(!look(b, 4) && touches.is_doubtful(b) && touches.is_verified(PieceIndex(7)));
        look(b, 5);
        touches.verified(PieceIndex(8), generation);
        assert!(!touches.is_verified(PieceIndex(7)) && !touches.is_verified(PieceIndex(8)));
    }

    #[test]
    fn what_others_write_between_two_writes_of_ours_is_found_out() {
        let touches = Touches::default();
        let file = FileIndex(0);
        touches.begin(file, || Some(stamp(1)));
        touches.end(file, || Some(stamp(2)));
        assert!(touches.begin(file, || Some(stamp(3))) && touches.is_doubtful(file));
    }

    #[test]
    fn another_file_in_its_place_is_found_out_also_while_we_write() {
        let touches = Touches::default();
        let file = FileIndex(0);
        touches.look(file, || Some(stamp(1)));
        touches.begin(file, || Some(stamp(1)));
        touches.look(file, || Some(FileStamp { inode: 2, ..stamp(1) }));
        assert!(touches.is_doubtful(file));
    }
}
