//! Whether files, and the folder that they lie in, are still those that they were.

use std::io;

use super::{Files, stamp_of};
use crate::{
    base::index::FileIndex,
    disk::{backend::Backend, file_system::OpenFile, system::Access},
};

impl Files {
    /// Whether the output folder is the one that it was.
    pub(super) fn look_at_root(&self) -> io::Result<()> {
        let now = self.pool.file_system().identity(&self.root)?;
        let mut seen = self.seen_root.lock().expect("nothing panics while it is locked");
        if *seen.get_or_insert(now) == now {
            return Ok(());
        }
        let text = "the output folder is another one than before";
        Err(io::Error::new(io::ErrorKind::NotFound, text))
    }

    /// Looks whether `handle` is still what goes by the name of a file; if not, it is closed.
    pub(super) fn look_by_name(&self, index: FileIndex, handle: &dyn OpenFile) -> io::Result<()> {
        let open = || self.pool.file_system().open(&self.root, self.path(index), Access::Read);
        let named = self.pool.open(open);
        let inode = stamp_of(handle).map(|stamp| stamp.inode);
        match &named {
            Ok((_, stamp)) if Some(stamp.inode) == inode => {
                self.look(index, handle);
            }
            Ok((other, _)) => {
                self.look(index, &**other);
                self.replaced(index);
            }
            Err(_) => self.close(),
        }
        named.map(drop)
    }

    /// What is open may be another file. Whoever verifies what he reads of it meanwhile has not verified what is there.
    pub(super) fn replaced(&self, index: FileIndex) {
        self.close();
        self.touches.doubt(self.home(index));
    }

    /// Compares a file with what it was; true if that is something else.
    pub(super) fn look(&self, index: FileIndex, handle: &dyn OpenFile) -> bool {
        let changed = self.touches.look(self.home(index), || stamp_of(handle));
        if changed {
            // The next save has to tell.
            self.mark(index);
        }
        changed
    }

    /// Whether the output folder, where no file tells, may be used in place of what it was `before`: it is on the same
    /// device, or the same one of a device that has another number now, or a device is mounted there. Else it may be
    /// the folder on which one was mounted.
    pub(super) fn is_the_same_place(&self, before: (u64, u64), now: (u64, u64)) -> bool {
        let is_mounted = || {
            let outside = self.pool.file_system().identity(&self.root.join(".."));
            outside.is_ok_and(|(device, _)| device != now.0)
        };
        before.0 == now.0 || before.1 == now.1 || is_mounted()
    }
}
