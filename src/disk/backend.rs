//! What a place for the files of one torrent must offer; files are named by their index.
//!
//! Positions are checked by the caller: they lie inside the file as the torrent describes it, and
//! the file is one that is stored (no padding, no link).

use std::fmt;

use crate::{
    base::{file_stamp::FileStamp, index::FileIndex},
    pieces::job::DiskFault,
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
    /// Whether somebody else wrote to `file` since it was first looked at: what is read from it has
    /// to be verified.
    fn is_touched(&self, file: FileIndex) -> bool;

    /// Fills `into` from `offset` of `file`: `Missing` if the file is not there, `Changed` if it
    /// ends too early.
    fn read(&self, file: FileIndex, offset: u64, into: &mut [u8]) -> Result<(), DiskFault>;

    /// Writes `bytes` at `offset` of `file`. The file and the folders above it are created, a
    /// shorter file gets its full length; no file is ever made shorter.
    fn write(&self, file: FileIndex, offset: u64, bytes: &[u8]) -> Result<(), DiskFault>;

    /// Creates `file` if it is not there; for files without bytes.
    fn create(&self, file: FileIndex) -> Result<(), DiskFault>;

    /// Length and identity of `file`, `None` if it is not there.
    fn stamp(&self, file: FileIndex) -> Result<Option<FileStamp>, DiskFault>;

    /// What lies at `offset` of `file`.
    fn extent(&self, file: FileIndex, offset: u64) -> Result<Extent, DiskFault>;

    /// Makes everything written so far durable; gives the files that were written since the last
    /// call, ascending.
    fn sync(&self) -> Result<Vec<FileIndex>, DiskFault>;

    /// Closes files that are open. They open again by themselves.
    fn close(&self);
}
