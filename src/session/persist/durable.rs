//! How what was written is made durable: each file by itself, or many with one call.
//!
//! A file's own sync costs a few milliseconds, whatever it holds; ten thousand records would take a
//! minute. Where the system can flush a whole file system at once, many records are one sync.

use std::{fs::File, io, path::Path};

/// With fewer files than this each is flushed by itself: that touches nothing of other programs.
const FEW: usize = 4;

/// Makes things durable. Tests count.
pub(super) trait Durable {
    /// One file.
    fn file(&self, file: &File) -> io::Result<()>;
    /// Everything on the file system that `folder` is on; false if the system cannot.
    fn everything(&self, folder: &File) -> io::Result<bool>;
    /// The names in a folder.
    fn folder(&self, folder: &File) -> io::Result<()>;
}

/// The system.
pub(super) struct System;

impl Durable for System {
    fn file(&self, file: &File) -> io::Result<()> {
        file.sync_all()
    }

    #[cfg(target_os = "linux")]
    fn everything(&self, folder: &File) -> io::Result<bool> {
        rustix::fs::syncfs(folder)?;
        Ok(true)
    }

    #[cfg(not(target_os = "linux"))]
    fn everything(&self, _: &File) -> io::Result<bool> {
        Ok(false)
    }

    fn folder(&self, folder: &File) -> io::Result<()> {
        folder.sync_all()
    }
}

/// Makes `files`, all of them in `folder`, durable; gives what came of each.
pub(super) fn files(durable: &dyn Durable, folder: &Path, files: &[File]) -> Vec<io::Result<()>> {
    let together = files.len() >= FEW
        && File::open(folder).is_ok_and(|folder| durable.everything(&folder).unwrap_or(false));
    files.iter().map(|file| if together { Ok(()) } else { durable.file(file) }).collect()
}

/// Makes the names in `folder` durable, as far as the system can: not every one opens a folder.
pub(super) fn names(durable: &dyn Durable, folder: &Path) {
    if let Ok(folder) = File::open(folder) {
        // What cannot be flushed there was not promised.
        let _ = durable.folder(&folder);
    }
}
