//! The files of one torrent in RAM: the [`Backend`] for tests and benchmarks of everything above.
//!
//! Behaves as files do: missing until written, full length from the first write on.

use std::sync::{Arc, RwLock};

use super::{
    backend::{Backend, Extent},
    fault::fault,
};
use crate::{
    base::{file_stamp::FileStamp, index::FileIndex},
    metainfo::Info,
    pieces::job::DiskFault,
};

/// A torrent's files in memory.
#[derive(Debug)]
pub struct Memory {
    info: Arc<Info>,
    files: Box<[RwLock<Option<Vec<u8>>>]>,
}

impl Memory {
    /// The files of `info`, none of which exists.
    pub fn new(info: Arc<Info>) -> Self {
        let files = (0..info.layout().len()).map(|_| RwLock::new(None)).collect();
        Memory { info, files }
    }

    /// Cuts `file` to `length` bytes, or takes it away.
    pub fn cut(&self, file: FileIndex, length: Option<usize>) {
        let mut bytes = self.files[file.at()].write().expect("no panic while locked");
        match (length, &mut *bytes) {
            (Some(length), Some(bytes)) => bytes.truncate(length),
            _ => *bytes = None,
        }
    }

    fn fault(&self, file: FileIndex, operation: &str, kind: std::io::ErrorKind) -> DiskFault {
        let file = self.info.layout().file(file).expect("the file index is of this torrent");
        fault(operation.to_owned(), file.path.to_string(), &kind.into())
    }

    fn length_of(&self, file: FileIndex) -> usize {
        self.info.layout().file(file).map_or(0, |file| file.length as usize)
    }
}

impl Backend for Memory {
    fn read(&self, file: FileIndex, offset: u64, into: &mut [u8]) -> Result<(), DiskFault> {
        let bytes = self.files[file.at()].read().expect("no panic while locked");
        let bytes =
            bytes.as_ref().ok_or_else(|| self.fault(file, "open", std::io::ErrorKind::NotFound))?;
        let offset = offset as usize;
        let from = bytes
            .get(offset..offset + into.len())
            .ok_or_else(|| self.fault(file, "read", std::io::ErrorKind::UnexpectedEof))?;
        into.copy_from_slice(from);
        Ok(())
    }

    fn write(&self, file: FileIndex, offset: u64, bytes: &[u8]) -> Result<(), DiskFault> {
        let length = self.length_of(file);
        let mut place = self.files[file.at()].write().expect("no panic while locked");
        let place = place.get_or_insert_with(|| vec![0; length]);
        if place.len() < length {
            place.resize(length, 0);
        }
        let offset = offset as usize;
        place[offset..offset + bytes.len()].copy_from_slice(bytes);
        Ok(())
    }

    fn create(&self, file: FileIndex) -> Result<(), DiskFault> {
        let mut place = self.files[file.at()].write().expect("no panic while locked");
        place.get_or_insert_default();
        Ok(())
    }

    fn stamp(&self, file: FileIndex) -> Result<Option<FileStamp>, DiskFault> {
        let bytes = self.files[file.at()].read().expect("no panic while locked");
        let stamp =
            |bytes: &Vec<u8>| FileStamp { length: bytes.len() as u64, modified: 0, inode: 0 };
        Ok(bytes.as_ref().map(stamp))
    }

    fn extent(&self, _file: FileIndex, _offset: u64) -> Result<Extent, DiskFault> {
        Ok(Extent::Data { end: u64::MAX })
    }

    fn sync(&self) -> Result<Vec<(FileIndex, FileStamp)>, DiskFault> {
        Ok(Vec::new())
    }

    fn found(&self, _file: FileIndex) {}

    fn close(&self) {}
}
