//! What a file on disk looked like at one moment, to see later whether somebody touched it.

/// A file's length and identity. Two equal stamps mean that nobody wrote to the file in between, as
/// far as the file system tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileStamp {
    /// Length in bytes.
    pub length: u64,
    /// Time of the last write, in nanoseconds since 1970.
    pub modified: i64,
    /// Number of the file in its file system; 0 where there is none.
    pub inode: u64,
}

impl FileStamp {
    /// What no file looks like: recorded in place of the file `inode` whose content is to be looked at
    /// again.
    pub const fn doubtful(inode: u64) -> FileStamp {
        FileStamp { length: u64::MAX - 1, modified: i64::MIN, inode }
    }
}
