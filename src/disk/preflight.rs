//! What is already there and must not be overwritten unasked.
//!
//! A download goes on with files that are there. It has to stop and ask where a file is longer than
//! the torrent says, or where nothing in it is right: that file is somebody's, and not this
//! torrent's. What a download leaves when it is cut off must pass: files with holes, and files whose
//! neighbours are not there yet so that no piece of theirs can be judged.

use std::fmt;

use super::{
    backend::Extent,
    check::{FileState, Found},
    storage::Storage,
};
use crate::{
    base::index::{FileIndex, PieceIndex},
    metainfo::File,
};

/// A file that the torrent would spoil.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// Which one.
    pub file: FileIndex,
    /// Its path below the output folder.
    pub path: String,
    /// Why it is taken for somebody else's.
    pub cause: ConflictCause,
}

/// Why a file is taken for somebody else's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConflictCause {
    /// It has more bytes than the torrent says.
    Longer {
        /// Its length in bytes.
        length: u64,
        /// Its length in the torrent, in bytes.
        expected: u64,
    },
    /// It has bytes, and no piece in it is right.
    NothingRight,
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.cause {
            ConflictCause::Longer { length, expected } => {
                write!(f, "`{}` has {length} bytes, but the torrent says {expected}", self.path)
            }
            ConflictCause::NothingRight => {
                write!(f, "`{}` is there already, and no piece in it is right", self.path)
            }
        }
    }
}

/// The files that must not be overwritten, judged by what a check of `storage` has just found.
///
/// Not for a torrent whose resume state says that its files are ours.
pub fn conflicts(storage: &Storage, found: &Found) -> Vec<Conflict> {
    let info = storage.info();
    let mut conflicts = Vec::new();
    for (index, file) in (0..).map(FileIndex).zip(info.layout().files()) {
        if !file.is_stored() || !storage.backend().is_wanted(index) {
            continue;
        }
        let cause = match found.fact(index) {
            Some(FileState::Missing | FileState::Unreadable(_)) => None,
            Some(&FileState::Longer { length }) => {
                Some(ConflictCause::Longer { length, expected: file.length })
            }
            Some(FileState::Shorter { length: 0 }) => None,
            Some(&FileState::Shorter { length }) => {
                let foreign = !any_right(storage, found, &file) && has_data(storage, index, length);
                foreign.then_some(ConflictCause::NothingRight)
            }
            None => {
                let foreign = !any_right(storage, found, &file)
                    && pieces(storage, &file).any(|piece| found.solid.has(piece));
                foreign.then_some(ConflictCause::NothingRight)
            }
        };
        conflicts.extend(cause.map(|cause| Conflict {
            file: index,
            path: file.path.to_string(),
            cause,
        }));
    }
    conflicts
}

fn any_right(storage: &Storage, found: &Found, file: &File<'_>) -> bool {
    pieces(storage, file).any(|piece| found.have.has(piece))
}

fn has_data(storage: &Storage, file: FileIndex, length: u64) -> bool {
    match storage.backend().extent(file, 0) {
        Ok(Extent::Hole { end }) => end < length,
        Ok(Extent::Data { .. }) | Err(_) => true,
    }
}

/// The pieces that hold bytes of `file`.
fn pieces(storage: &Storage, file: &File<'_>) -> impl Iterator<Item = PieceIndex> + use<> {
    let piece_length = u64::from(storage.info().geometry().piece_length());
    let first = file.offset / piece_length;
    let behind =
        if file.length == 0 { first } else { (file.offset + file.length).div_ceil(piece_length) };
    (first as u32..behind as u32).map(PieceIndex)
}
