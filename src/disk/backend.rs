//! What a place for the files of one torrent must offer; files are named by their index.
//!
//! Positions are checked by the caller: they lie inside the file as the torrent describes it, and
//! the file is one that is stored (no padding, no link).

use std::{fmt, ops::Range};

use super::volume::Volume;
use crate::{
    base::{
        file_stamp::FileStamp,
        index::{FileIndex, PieceIndex},
    },
    pieces::job::{DiskFault, FaultKind},
};

/// A stretch of a file, from the position asked for up to `end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// Bytes that somebody wrote, or may have written.
    Data {
        /// The byte after the last; may lie beyond the end of the file.
        end: u64,
    },
    /// Bytes that nobody wrote: they read as zeros.
    Hole {
        /// The byte after the last; may lie beyond the end of the file.
        end: u64,
    },
}

/// Where the files of one torrent are.
pub trait Backend: Send + Sync + fmt::Debug {
    /// Fills `into` from `offset` of `file`: `Missing` if the file is not there, `Changed` if it
    /// ends too early.
    fn read(&self, file: FileIndex, offset: u64, into: &mut [u8]) -> Result<(), DiskFault>;

    /// Writes `bytes` at `offset` of `file`. The file and the folders above it are created, a
    /// shorter file gets its full length; no file is ever made shorter.
    fn write(&self, file: FileIndex, offset: u64, bytes: &[u8]) -> Result<(), DiskFault>;

    /// Creates `file` if it is not there; for files without bytes.
    fn create(&self, file: FileIndex) -> Result<(), DiskFault>;

    /// Finds out before anything is fetched whether files can be written at all.
    fn may_write(&self) -> Result<(), DiskFault> {
        Ok(())
    }

    /// Length and identity of `file`, `None` if it is not there.
    fn stamp(&self, file: FileIndex) -> Result<Option<FileStamp>, DiskFault>;

    /// What lies at `offset` of `file`.
    fn extent(&self, file: FileIndex, offset: u64) -> Result<Extent, DiskFault>;

    /// Makes everything written so far durable; gives the files that were written since the last
    /// call, ascending, as they look now: [`FileStamp::doubtful`] where that is not certain.
    fn sync(&self) -> Result<Vec<(FileIndex, FileStamp)>, DiskFault>;

    /// The bytes of `file` were found there: nobody knows whether they are durable.
    fn found(&self, file: FileIndex);

    /// Whether files can be used again after a fault of that kind, which may pass.
    fn is_usable(&self, _after: FaultKind) -> bool {
        true
    }

    /// Bytes that were written and have not been made durable since, as far as their place is a file of the torrent.
    /// After files were gone nothing is made durable before this is asked.
    fn unflushed(&self) -> Vec<(FileIndex, Range<u64>)> {
        Vec::new()
    }

    /// On which volume the files are, or will be; this may wait for that volume.
    fn volume(&self) -> Volume {
        Volume::default()
    }

    /// Closes files that are open. They open again by themselves.
    fn close(&self);

    /// Whether these bytes of `file` have a place, if somebody writes them.
    fn holds(&self, _file: FileIndex, _offset: u64, _length: u64) -> bool {
        true
    }

    /// Takes away what only an earlier choice of files needed, if no file is unwanted now.
    fn tidy(&self) {}

    /// Whether `file` is to be there in the end.
    fn is_wanted(&self, _file: FileIndex) -> bool {
        true
    }

    /// Whether somebody else wrote to `file`, or what it holds is not certain otherwise: what is read
    /// from it has to be verified.
    fn is_doubtful(&self, _file: FileIndex) -> bool {
        false
    }

    /// What `file` holds is not certain: it is doubtful from here on.
    fn doubt(&self, _file: FileIndex) {}

    /// Changes whenever a file is found changed.
    fn generation(&self) -> u64 {
        0
    }

    /// A piece in doubtful files was read, from that generation on, and is right; so it is taken to be
    /// until a file changes.
    fn verified(&self, _piece: PieceIndex, _generation: u64) {}

    /// Whether that was said of `piece`.
    fn is_verified(&self, _piece: PieceIndex) -> bool {
        false
    }
}
