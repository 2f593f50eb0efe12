//! Resume state: saved while a torrent runs, found again when it is added.
//!
//! ```text
//! Keeper       the thread that writes, all torrents that wait together: first fsync, then the record
//!   record     one torrent's state as a file
//!   durable    one sync for many of them
//! due          when a torrent's state is worth writing
//! ```
//!
//! What the state holds and what of it is believed is in [`crate::resume`]. Here is the order that
//! makes it true: pieces are taken for recorded only after the files they lie in were flushed.

mod due;
mod durable;
mod record;

use std::{
    io,
    sync::{Arc, mpsc},
    thread::JoinHandle,
};

pub(super) use due::Due;
pub(super) use record::{Place, Record, folder, make_folder};

use super::{clock::Clock, id::TorrentId, mail::Mail, unfinished::Unfinished};
use crate::{
    base::{bitfield::Bitfield, index::PartialPiece},
    disk::Storage,
    pieces::job::DiskFault,
};
use record::Entry;

/// What is to be saved of a torrent.
#[derive(Debug)]
pub(super) struct Save {
    pub(super) torrent: TorrentId,
    pub(super) record: Arc<Record>,
    pub(super) storage: Arc<Storage>,
    /// Pieces and blocks whose writes are done.
    pub(super) have: Bitfield,
    pub(super) partial: Vec<PartialPiece>,
    pub(super) peers: Vec<std::net::SocketAddr>,
    /// No write is under way, none follows before the next save.
    pub(super) settled: bool,
    /// What is missing, and why; `None` when nothing is.
    pub(super) why: Option<Unfinished>,
}

/// What came of it: whether the state on disk is settled.
pub(super) type SaveResult = Result<bool, Trouble>;

/// Why something is not saved.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Trouble {
    /// The files of the torrent cannot be made durable.
    #[error(transparent)]
    Storage(#[from] DiskFault),
    /// Its state cannot be written: one sentence.
    #[error("{0}")]
    State(String),
}

/// A thread that saves. Dropping it saves what was asked for, then ends.
#[derive(Debug)]
pub(super) struct Keeper {
    queue: Option<mpsc::Sender<Save>>,
    thread: Option<JoinHandle<()>>,
}

impl Keeper {
    /// Starts the thread; it reports to `mail`.
    pub(super) fn start(mail: Arc<Mail>) -> io::Result<Keeper> {
        let (queue, saves) = mpsc::channel::<Save>();
        let run = move || {
            while let Ok(first) = saves.recv() {
                let batch: Vec<Save> =
                    std::iter::once(first).chain(saves.try_iter()).take(MOST_TOGETHER).collect();
                let results = perform(batch, Clock::time_of_day());
                mail.post(|letters| letters.saved.extend(results));
            }
        };
        let thread = std::thread::Builder::new().name("keeper".into()).spawn(run)?;
        Ok(Keeper { queue: Some(queue), thread: Some(thread) })
    }

    /// Queues a save; it is answered by mail.
    pub(super) fn save(&self, save: Save) {
        let queue = self.queue.as_ref().expect("the queue is open until the keeper is dropped");
        queue.send(save).expect("the thread does not panic and ends after the queue");
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take() {
            // A panic there has been reported.
            let _ = thread.join();
        }
    }
}

/// Saves made durable together: their files are open until then.
const MOST_TOGETHER: usize = 128;

/// Carries saves out, together as far as that goes; `saved` is the time of day.
pub(super) fn perform(saves: Vec<Save>, saved: i64) -> Vec<(TorrentId, SaveResult)> {
    let (mut results, mut written, mut files) = (Vec::new(), Vec::new(), Vec::new());
    for save in saves {
        let Save { torrent, record, storage, have, partial, peers, settled, why } = save;
        if !record.keeps_state() {
            let kept = record.keep_why(why.as_ref()).map_err(Trouble::State);
            results.push((torrent, kept.map(|()| settled)));
            continue;
        }
        let entry = Entry { have, partial, peers, settled, saved };
        let flushed = storage.sync().map_err(Trouble::Storage);
        let write = |flushed| record.write_beside(flushed, entry).map_err(Trouble::State);
        match flushed.and_then(write) {
            Ok(file) => {
                written.push((torrent, record, settled, why));
                files.push(file);
            }
            Err(trouble) => {
                // All the more somebody may want to know why; there is one trouble already.
                let _ = record.keep_why(why.as_ref());
                results.push((torrent, Err(trouble)));
            }
        }
    }
    let Some(first) = written.first().map(|(_, record, ..)| record.clone()) else {
        return results;
    };
    let flushed = durable::files(&**first.file_system(), first.folder(), &files);
    let mut placed = Vec::new();
    for ((torrent, record, settled, why), flushed) in written.into_iter().zip(flushed) {
        let flushed = flushed.map_err(|error| record.not_written(&error));
        let result = flushed.and_then(|()| record.put_in_place());
        match result.and_then(|()| record.keep_why(why.as_ref())) {
            Ok(()) => placed.push((torrent, record, settled)),
            Err(trouble) => results.push((torrent, Err(Trouble::State(trouble)))),
        }
    }
    // One folder has all the names.
    let named = first.sync_names();
    results.extend(placed.into_iter().map(|(torrent, record, settled)| {
        let result = named.as_ref().map(|()| settled).map_err(|error| record.not_written(error));
        (torrent, result.map_err(Trouble::State))
    }));
    results
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::disk::{
        FileSystem, Storage,
        faulty::{Fault, Faulty, Syncs},
        sample::{Sample, sample},
    };

    /// Saves of as many torrents, or of one in as many folders.
    fn saves(disk: &Arc<Faulty>, s: &Sample, many: u64) -> Vec<Save> {
        let file_system: Arc<dyn FileSystem> = disk.clone();
        let save = |n: u64| {
            let storage = Arc::new(Storage::in_memory(Arc::clone(&s.info)));
            let stamps = storage.stamps().expect("looked at");
            let root = Path::new("/data").join(n.to_string());
            let place = Place::claim(&file_system, Path::new(STATE), &root, &s.info);
            let found = Record::find(place.expect("nobody has it"), &s.info, stamps, true);
            let have = Bitfield::empty(s.info.geometry().pieces());
            let (partial, peers) = (Vec::new(), Vec::new());
            let (torrent, record) = (TorrentId(n), found.record);
            Save { torrent, record, storage, have, partial, peers, settled: true, why: None }
        };
        (0..many).map(save).collect()
    }

    const STATE: &str = "/state";

    #[test]
    fn a_batch_of_saves_is_one_sync() {
        let s = sample(16_384, &[("a", 20_000)]);
        for (has_syncfs, many, files, everything) in
            [(true, 100, 0, 1), (true, 2, 2, 0), (false, 100, 100, 0)]
        {
            let disk = if has_syncfs { Faulty::new() } else { Faulty::without_syncfs() };
            make_folder(&*disk, Path::new(STATE)).expect("made");
            let results = perform(saves(&disk, &s, many), 1);
            assert_eq!(results.len() as u64, many);
            assert!(results.iter().all(|(_, result)| *result == Ok(true)), "{results:?}");
            assert_eq!(disk.syncs(), Syncs { files, names: 1, everything });
            let there = saves(&disk, &s, many);
            assert!(there.iter().all(|save| save.record.state().is_some()), "all in place");
        }
    }

    #[test]
    fn one_that_cannot_be_saved_leaves_the_others_alone() {
        let s = sample(16_384, &[("a", 20_000)]);
        let disk = Faulty::without_syncfs();
        make_folder(&*disk, Path::new(STATE)).expect("made");
        let saves = saves(&disk, &s, 3);
        // Each is made and written.
        disk.plan(Fault::Error, 3);
        let results = perform(saves, 1);
        let failed: Vec<u64> =
            results.iter().filter(|(_, result)| result.is_err()).map(|(id, _)| id.0).collect();
        assert_eq!((results.len(), failed), (3, vec![1]));
    }

    #[test]
    fn a_state_whose_name_may_not_last_is_not_called_saved() {
        let s = sample(16_384, &[("a", 20_000)]);
        let disk = Faulty::without_syncfs();
        make_folder(&*disk, Path::new(STATE)).expect("made");
        let save = saves(&disk, &s, 1);
        let before = disk.syncs().names;
        // It is made, written, synced and renamed before.
        disk.plan(Fault::Error, 5);
        let results = perform(save, 1);
        assert!(results[0].1.is_err(), "{results:?}");
        assert_eq!(disk.syncs().names, before + 1);
    }
}
