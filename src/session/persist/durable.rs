//! How records are made durable: each file by itself, or many with one call.
//!
//! A file's own sync costs a few milliseconds, whatever it holds; ten thousand records would take a
//! minute. Where the system can flush a whole file system at once, many records are one sync.

use std::{io, path::Path, sync::Arc};

use crate::disk::{FileSystem, OpenFile};

/// With fewer files than this each is flushed by itself: that touches nothing of other programs.
const FEW: usize = 4;

/// Makes `files`, all of them in `folder`, durable; gives what came of each.
pub(super) fn files(
    file_system: &dyn FileSystem,
    folder: &Path,
    files: &[Arc<dyn OpenFile>],
) -> Vec<io::Result<()>> {
    let together = files.len() >= FEW && file_system.sync_everything(folder).is_ok_and(|done| done);
    files.iter().map(|file| if together { Ok(()) } else { file.sync() }).collect()
}
