//! Resume state: saved while a torrent runs, found again when it is added.
//!
//! ```text
//! Keeper       the thread that writes, one torrent at a time: first fsync, then the record
//!   record     one torrent's state as a file
//! due          when a torrent's state is worth writing
//! ```
//!
//! What the state holds and what of it is believed is in [`crate::resume`]. Here is the order that
//! makes it true: pieces are taken for recorded only after the files they lie in were flushed.

mod due;
mod record;

use std::{
    io,
    sync::{Arc, mpsc},
    thread::JoinHandle,
};

pub(super) use due::Due;
pub(super) use record::{Record, folder};

use super::{clock::Clock, id::TorrentId, mail::Mail};
use crate::{
    base::{bitfield::Bitfield, index::PartialPiece},
    disk::Storage,
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
            for save in saves {
                let torrent = save.torrent;
                let result = perform(save);
                mail.post(|letters| letters.saved.push((torrent, result)));
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

fn perform(save: Save) -> SaveResult {
    let Save { record, storage, have, partial, peers, settled, .. } = save;
    let flushed = storage.sync().map_err(|fault| fault.to_string())?;
    let entry = Entry { have, partial, peers, settled, saved: Clock::time_of_day() };
    record.write(flushed, entry).map(|()| settled)
}
