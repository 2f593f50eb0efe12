//! Resume state: saved while a torrent runs, found again when it is added.
//!
//! ```text
//! Keeper       the threads that write, one for each volume, all torrents that wait together: first fsync, then
//!              the record
//!   record     one torrent's state as a file
//!   durable    one sync for many of them
//! due          when a torrent's state is worth writing, and which writes wait for it
//! torrents     the torrents themselves
//! ```
//!
//! What the state holds and what of it is believed is in [`crate::resume`]. Here is the order that
//! makes it true: pieces are taken for recorded only after the files they lie in were flushed.

mod due;
mod durable;
mod record;
pub(super) mod torrents;

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
    disk::{PerVolume, Storage},
    pieces::job::DiskFault,
};
use record::Entry;

/// Where the state of a torrent is kept, and what is there now.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) record: Arc<Record>,
    /// It says that nothing is written after it.
    pub(super) settled: bool,
    /// That is so, and so is all else that it says.
    pub(super) is_true: bool,
    /// What it says was sent to peers, in bytes of payload.
    pub(super) uploaded: u64,
}

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
    /// Bytes of payload that were sent to peers, in all runs.
    pub(super) uploaded: u64,
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

/// Threads that save: a volume that does not answer keeps no torrents of others from being saved. Dropping it
/// saves what was asked for, then ends.
#[derive(Debug)]
pub(super) struct Keeper {
    mail: Arc<Mail>,
    writers: PerVolume<Writer>,
}

impl Keeper {
    /// Starts the first thread; all report to `mail`.
    pub(super) fn start(mail: Arc<Mail>) -> io::Result<Keeper> {
        let writers = PerVolume::new(Writer::start(mail.clone())?);
        Ok(Keeper { mail, writers })
    }

    /// Queues a save; it is answered by mail.
    pub(super) fn save(&mut self, save: Save) {
        let writer = self.writers.of(save.storage.volume(), || Writer::start(self.mail.clone()));
        let queue = writer.queue.as_ref().expect("the queue is open until the keeper is dropped");
        queue.send(save).expect("the thread does not panic and ends after the queue");
    }
}

/// The thread for torrents of one volume.
#[derive(Debug)]
struct Writer {
    queue: Option<mpsc::Sender<Save>>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    fn start(mail: Arc<Mail>) -> io::Result<Writer> {
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
        Ok(Writer { queue: Some(queue), thread: Some(thread) })
    }
}

impl Drop for Writer {
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
        let Save { torrent, record, storage, have, partial, peers, settled, uploaded, why } = save;
        if !record.keeps_state() {
            let kept = record.keep_why(why.as_ref()).map_err(Trouble::State);
            results.push((torrent, kept.map(|()| settled)));
            continue;
        }
        let entry = Entry { have, partial, peers, settled, uploaded, saved };
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
    use crate::{
        base::{index::PieceIndex, rng::Rng},
        disk::{
            FileSystem, Storage, Volume,
            faulty::{Fault, Faulty, Survives, Syncs},
            gate::Gate,
            sample::{Sample, sample},
        },
        session::mail::Letters,
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
            let (settled, uploaded, why) = (true, 0, None);
            Save { torrent, record, storage, have, partial, peers, settled, uploaded, why }
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

    /// One thread saved the torrents of all volumes.
    #[test]
    fn a_volume_that_does_not_answer_keeps_no_others_from_being_saved() {
        let s = sample(16_384, &[("a", 20_000)]);
        let disk = Faulty::new();
        make_folder(&*disk, Path::new(STATE)).expect("made");
        let mail = Mail::new(Arc::default());
        let mut keeper = Keeper::start(mail.clone()).expect("a thread");
        let gate = Gate::new(Volume(1));
        for (n, mut save) in saves(&disk, &s, 3).into_iter().enumerate() {
            if n == 0 {
                save.storage = gate.storage(&s);
            }
            keeper.save(save);
            if n == 0 {
                gate.wait_for_somebody();
            }
        }
        let mut results = Vec::new();
        let read = |results: &mut Vec<_>| {
            let mut letters = Letters::default();
            mail.take(&mut letters);
            results.append(&mut letters.saved);
        };
        while results.len() < 2 {
            std::thread::yield_now();
            read(&mut results);
        }
        results.sort_by_key(|(id, _)| *id);
        assert_eq!(results, [1, 2].map(|n| (TorrentId(n), Ok(true))));
        gate.open();
        drop(keeper);
        results.clear();
        read(&mut results);
        assert_eq!(results, [(TorrentId(0), Ok(true))]);
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

    /// Five torrents are saved with one sync, and the power fails before each operation of that.
    #[test]
    fn a_power_cut_in_a_batch_leaves_each_state_as_it_was_or_as_it_was_to_be() {
        let s = sample(16_384, &[("a", 20_000)]);
        let (mut points, mut kept) = (0, [0; 2]);
        for seed in 0..8 {
            for at in 1.. {
                let disk = if seed % 2 == 0 { Faulty::new() } else { Faulty::without_syncfs() };
                make_folder(&*disk, Path::new(STATE)).expect("made");
                let before = perform(saves(&disk, &s, 5), 1);
                assert!(before.iter().all(|(_, result)| *result == Ok(true)), "{before:?}");
                let mut batch = saves(&disk, &s, 5);
                batch.iter_mut().for_each(|save| assert!(save.have.insert(PieceIndex(1))));
                disk.plan(Fault::End, at);
                let results = perform(batch, 2);
                if !disk.has_ended() {
                    break;
                }
                points += 1;
                disk.restart(&mut Survives::Some(Rng::new(seed)));
                for save in saves(&disk, &s, 5) {
                    let state = save.record.state().expect("the old or the new one");
                    let is_new = state.have.has(PieceIndex(1));
                    let said = results.iter().find(|(id, _)| *id == save.torrent);
                    let is_promised = said.is_some_and(|(_, result)| result.is_ok());
                    assert!(is_new || !is_promised, "{at}: {said:?}");
                    kept[usize::from(is_new)] += 1;
                }
            }
        }
        assert!(points > 100 && kept.iter().all(|&kept| kept > 0), "{points} {kept:?}");
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
