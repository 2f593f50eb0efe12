//! What was written to each file since it was last made durable: it is written anew if that fails, because
//! the system forgets what it could not write, and calls it durable at the next try.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Range,
    sync::{Mutex, MutexGuard},
};

use crate::base::index::FileIndex;

/// Stretches of a file, from start to end, that neither overlap nor touch.
pub(super) type Stretches = BTreeMap<u64, u64>;

/// The stretches of each file of one torrent.
#[derive(Debug, Default)]
pub(super) struct Unsynced(Mutex<HashMap<FileIndex, Stretches>>);

impl Unsynced {
    /// These bytes of `file` were written.
    pub(super) fn add(&self, file: FileIndex, written: Range<u64>) {
        join(self.table().entry(file).or_default(), written);
    }

    /// What was written to `file`, which is about to be made durable.
    pub(super) fn take(&self, file: FileIndex) -> Stretches {
        self.table().remove(&file).unwrap_or_default()
    }

    /// All that was written since, file by file.
    pub(super) fn all(&self) -> Vec<(FileIndex, Range<u64>)> {
        let table = self.table();
        let files = table.iter().flat_map(|(&file, stretches)| {
            stretches.iter().map(move |(&start, &end)| (file, start..end))
        });
        files.collect()
    }

    fn table(&self) -> MutexGuard<'_, HashMap<FileIndex, Stretches>> {
        self.0.lock().expect("nothing panics while what was written is locked")
    }
}

fn join(stretches: &mut Stretches, Range { mut start, mut end }: Range<u64>) {
    if let Some((&before, &upto)) = stretches.range(..start).next_back()
        && upto >= start
    {
        (start, end) = (before, end.max(upto));
    }
    while let Some((&next, &upto)) = stretches.range(start..=end).next() {
        end = end.max(upto);
        stretches.remove(&next);
    }
    stretches.insert(start, end);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stretches_are_joined_in_any_order() {
        let file = FileIndex(3);
        let unsynced = Unsynced::default();
        for at in [5, 1, 9, 3, 7] {
            unsynced.add(file, at * 10..at * 10 + 10);
        }
        unsynced.add(file, 62..65);
        let want: Stretches = [(10, 20), (30, 40), (50, 60), (62, 65), (70, 80), (90, 100)].into();
        assert_eq!(unsynced.all().len(), want.len());
        assert_eq!(unsynced.take(file), want);
        assert!(unsynced.take(file).is_empty());
        for range in [0..10, 20..30, 10..20, 5..12, 40..50, 25..45] {
            unsynced.add(file, range);
        }
        assert_eq!(unsynced.take(file), Stretches::from([(0, 50)]));
    }
}
