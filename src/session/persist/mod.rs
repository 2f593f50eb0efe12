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
pub(super) use record::{Record, folder};

use super::{clock::Clock, id::TorrentId, mail::Mail, unfinished::Unfinished};
use crate::{
    base::{bitfield::Bitfield, index::PartialPiece},
    disk::Storage,
};
use durable::Durable;
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

/// What came of it: whether the state on disk is settled, or one sentence.
pub(super) type SaveResult = Result<bool, String>;

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
                let results = perform(batch, &durable::System);
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

/// Carries saves out, together as far as that goes.
fn perform(saves: Vec<Save>, durable: &dyn Durable) -> Vec<(TorrentId, SaveResult)> {
    let (mut results, mut written, mut files) = (Vec::new(), Vec::new(), Vec::new());
    for save in saves {
        let Save { torrent, record, storage, have, partial, peers, settled, why } = save;
        let entry = Entry { have, partial, peers, settled, saved: Clock::time_of_day() };
        let flushed = storage.sync().map_err(|fault| fault.to_string());
        match flushed.and_then(|flushed| record.write_beside(flushed, entry)) {
            Ok(file) => {
                written.push((torrent, record, settled, why));
                files.push(file);
            }
            Err(trouble) => results.push((torrent, Err(trouble))),
        }
    }
    let Some(folder) = written.first().map(|(_, record, ..)| record.folder().to_owned()) else {
        return results;
    };
    let flushed = durable::files(durable, &folder, &files);
    for ((torrent, record, settled, why), flushed) in written.into_iter().zip(flushed) {
        let flushed = flushed.map_err(|error| record.not_written(&error));
        let result = flushed.and_then(|()| record.put_in_place());
        let result = result.and_then(|()| record.keep_why(why.as_ref())).map(|()| settled);
        results.push((torrent, result));
    }
    durable::names(durable, &folder);
    results
}

#[cfg(test)]
mod tests {
    use std::{
        cell::Cell,
        fs::{self, File},
        io,
        path::Path,
    };

    use super::*;
    use crate::disk::{
        Storage,
        sample::{Sample, sample},
    };

    #[derive(Default)]
    struct Counting {
        can_do_everything: bool,
        files: Cell<u32>,
        others: Cell<u32>,
    }

    impl Durable for Counting {
        fn file(&self, _: &File) -> io::Result<()> {
            self.files.set(self.files.get() + 1);
            Ok(())
        }

        fn everything(&self, _: &File) -> io::Result<bool> {
            self.others.set(self.others.get() + u32::from(self.can_do_everything));
            Ok(self.can_do_everything)
        }

        fn folder(&self, _: &File) -> io::Result<()> {
            self.others.set(self.others.get() + 1);
            Ok(())
        }
    }

    /// Saves of as many torrents, or of one in as many folders.
    fn saves(dir: &Path, s: &Sample, many: u64) -> Vec<Save> {
        let save = |n: u64| {
            let storage = Arc::new(Storage::in_memory(Arc::clone(&s.info)));
            let stamps = storage.stamps().expect("looked at");
            let root = dir.join(n.to_string());
            let record = Record::find(dir, &root, &s.info, stamps).record;
            let have = Bitfield::empty(s.info.geometry().pieces());
            let (partial, peers) = (Vec::new(), Vec::new());
            let torrent = TorrentId(n);
            Save { torrent, record, storage, have, partial, peers, settled: true, why: None }
        };
        (0..many).map(save).collect()
    }

    #[test]
    fn a_batch_of_saves_is_one_sync() {
        let s = sample(16_384, &[("a", 20_000)]);
        for (can_do_everything, many, files, others) in
            [(true, 100, 0, 2), (true, 2, 2, 1), (false, 100, 100, 1)]
        {
            let dir = tempfile::tempdir().expect("dir");
            fs::create_dir_all(folder(dir.path())).expect("made");
            let durable = Counting { can_do_everything, ..Counting::default() };
            let results = perform(saves(dir.path(), &s, many), &durable);
            assert_eq!(results.len() as u64, many);
            assert!(results.iter().all(|(_, result)| *result == Ok(true)), "{results:?}");
            assert_eq!((durable.files.get(), durable.others.get()), (files, others));
            let there = fs::read_dir(folder(dir.path())).expect("read").count();
            assert_eq!(there as u64, many, "all in place, and nothing beside");
        }
    }

    #[test]
    fn one_that_cannot_be_saved_leaves_the_others_alone() {
        let s = sample(16_384, &[("a", 20_000)]);
        let dir = tempfile::tempdir().expect("dir");
        let results = perform(saves(dir.path(), &s, 3), &Counting::default());
        assert_eq!(results.len(), 3);
        assert!(results.iter().all(|(_, result)| result.is_err()), "there is no folder");
    }
}
