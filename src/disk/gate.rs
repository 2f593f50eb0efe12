//! Storage in memory that does not answer until it is told to: for tests of who waits for it.

use std::sync::{Arc, Condvar, Mutex};

use super::{
    backend::{Backend, Extent},
    memory::Memory,
    sample::Sample,
    storage::Storage,
    volume::Volume,
};
use crate::{
    base::{file_stamp::FileStamp, index::FileIndex},
    pieces::job::DiskFault,
};

/// What writes and syncs wait for.
#[derive(Debug)]
pub(crate) struct Gate {
    volume: Volume,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    is_open: bool,
    /// Somebody has come.
    is_asked: bool,
}

impl Gate {
    /// A closed one, of a volume.
    pub(crate) fn new(volume: Volume) -> Arc<Self> {
        Arc::new(Gate { volume, state: Mutex::default(), changed: Condvar::new() })
    }

    /// A torrent behind it.
    pub(crate) fn storage(self: &Arc<Self>, of: &Sample) -> Arc<Storage> {
        let memory = Memory::new(Arc::clone(&of.info));
        let backend = Gated { memory, gate: Arc::clone(self) };
        let storage = Storage::new(Arc::clone(&of.info), Box::new(backend));
        storage.locate();
        Arc::new(storage)
    }

    /// Lets everybody pass from here on.
    pub(crate) fn open(&self) {
        self.state.lock().expect("gate").is_open = true;
        self.changed.notify_all();
    }

    /// Waits until somebody waits.
    pub(crate) fn wait_for_somebody(&self) {
        let state = self.state.lock().expect("gate");
        drop(self.changed.wait_while(state, |state| !state.is_asked).expect("gate"));
    }

    fn pass(&self) {
        let mut state = self.state.lock().expect("gate");
        state.is_asked = true;
        self.changed.notify_all();
        drop(self.changed.wait_while(state, |state| !state.is_open).expect("gate"));
    }
}

#[derive(Debug)]
struct Gated {
    memory: Memory,
    gate: Arc<Gate>,
}

impl Backend for Gated {
    fn read(&self, file: FileIndex, offset: u64, into: &mut [u8]) -> Result<(), DiskFault> {
        self.memory.read(file, offset, into)
    }

    fn write(&self, file: FileIndex, offset: u64, bytes: &[u8]) -> Result<(), DiskFault> {
        self.gate.pass();
        self.memory.write(file, offset, bytes)
    }

    fn create(&self, file: FileIndex) -> Result<(), DiskFault> {
        self.memory.create(file)
    }

    fn stamp(&self, file: FileIndex) -> Result<Option<FileStamp>, DiskFault> {
        self.memory.stamp(file)
    }

    fn extent(&self, file: FileIndex, offset: u64) -> Result<Extent, DiskFault> {
        self.memory.extent(file, offset)
    }

    fn sync(&self) -> Result<Vec<(FileIndex, FileStamp)>, DiskFault> {
        self.gate.pass();
        self.memory.sync()
    }

    fn found(&self, _file: FileIndex) {}

    fn volume(&self) -> Volume {
        self.gate.volume
    }

    fn close(&self) {}
}
