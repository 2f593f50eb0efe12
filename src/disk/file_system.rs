//! The calls by which everything of ours that lasts reaches a disk: the files of torrents, and the state of
//! torrents. This is the seam at which tests put a disk that fails (`faulty`).
//!
//! Every path is one below a folder that the user named. What the real system answers is in `system`;
//! which of it is tried again, and what a failure means, is up to the caller.

use std::{fmt, fs::File, io, path::Path, sync::Arc};

use super::{
    backend::Extent,
    lock::{Lock, NoLock},
    system::{self, Access},
    volume::Volume,
};
use crate::{
    base::{
        file_stamp::FileStamp,
        hash::{Sha1Hash, sha1},
    },
    metainfo::SafePath,
};

/// Where files are.
pub(crate) trait FileSystem: Send + Sync + fmt::Debug {
    /// Opens `path` below `root` and tells what it looks like. Only a regular file is opened, and no link
    /// below `root` is followed.
    fn open(
        &self,
        root: &Path,
        path: SafePath<'_>,
        access: Access,
    ) -> io::Result<(Arc<dyn OpenFile>, FileStamp)>;

    /// Makes a folder and those above it.
    fn make_folder(&self, folder: &Path) -> io::Result<()>;

    /// Makes the names durable of `folder` and of those above it that can be ours.
    fn sync_place(&self, folder: &Path) -> io::Result<()>;

    /// Whether files can be made in `root`, which is made if it is not there.
    fn may_write(&self, root: &Path) -> io::Result<()>;

    /// Makes the names durable by which `path` is found from `root` on: of the file, and of the folders
    /// between. No more is promised than the system can do.
    fn sync_names(&self, root: &Path, path: SafePath<'_>) -> io::Result<()>;

    /// Makes everything durable that was written to the file system that `folder` is on; false if the system
    /// cannot do that at once.
    fn sync_everything(&self, folder: &Path) -> io::Result<bool>;

    /// Gives a file in `folder` another name, in place of what had it, all at once.
    fn rename(&self, folder: &Path, from: &str, to: &str) -> io::Result<()>;

    /// Takes a file in `folder` away.
    fn remove(&self, folder: &Path, name: &str) -> io::Result<()>;

    /// Tells a folder from another one that takes its place, such as when a disk is unmounted.
    fn identity(&self, folder: &Path) -> io::Result<(u64, u64)>;

    /// On which volume `folder` is, or will be once it is made.
    fn volume(&self, folder: &Path) -> Volume {
        let here = Path::new(".");
        let places =
            folder.ancestors().map(|above| if above.as_os_str().is_empty() { here } else { above });
        for place in places {
            if let Ok((device, _)) = self.identity(place) {
                return Volume(device);
            }
        }
        Volume::default()
    }

    /// Bytes that may still be written where `folder` is; `None` if that is not known.
    fn room(&self, folder: &Path) -> io::Result<Option<u64>>;

    /// Takes the lock `name` in `folder`: nobody else has it until it is dropped or the program ends.
    fn lock(&self, folder: &Path, name: &str) -> Result<Lock, NoLock>;

    /// Keeps others from the files of a torrent below `root`, which has to exist, in the same way. Makes nothing.
    fn claim(&self, root: &Path, torrent: Sha1Hash) -> Result<Lock, NoLock>;
}

/// A file that is open.
pub(crate) trait OpenFile: Send + Sync + fmt::Debug {
    /// Reads at `offset`: at least a byte, or none at the end of the file.
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Writes at `offset`: at least a byte.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize>;

    /// Gives the file, which is shorter, `length` bytes; with room on the disk if the system can.
    fn extend(&self, length: u64) -> io::Result<()>;

    /// Bytes that may still be written where it is; `None` if that is not known.
    fn room(&self) -> io::Result<Option<u64>>;

    /// What lies at `offset`, if the file system can tell; else it is taken for data.
    fn extent(&self, offset: u64) -> io::Result<Extent>;

    /// What it looks like.
    fn stamp(&self) -> io::Result<FileStamp>;

    /// Makes what was written to it durable, its length and time of writing too.
    fn sync(&self) -> io::Result<()>;
}

/// The system's own.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Native;

impl FileSystem for Native {
    fn open(
        &self,
        root: &Path,
        path: SafePath<'_>,
        access: Access,
    ) -> io::Result<(Arc<dyn OpenFile>, FileStamp)> {
        let (file, facts) = system::open(root, path, access)?;
        Ok((Arc::new(file), system::stamp(&facts)))
    }

    fn make_folder(&self, folder: &Path) -> io::Result<()> {
        std::fs::create_dir_all(folder)
    }

    fn sync_place(&self, folder: &Path) -> io::Result<()> {
        system::sync_place(folder)
    }

    fn may_write(&self, root: &Path) -> io::Result<()> {
        system::may_write(root)
    }

    fn sync_names(&self, root: &Path, path: SafePath<'_>) -> io::Result<()> {
        system::sync_names(root, path)
    }

    fn sync_everything(&self, folder: &Path) -> io::Result<bool> {
        system::sync_everything(folder)
    }

    fn rename(&self, folder: &Path, from: &str, to: &str) -> io::Result<()> {
        std::fs::rename(folder.join(from), folder.join(to))
    }

    fn remove(&self, folder: &Path, name: &str) -> io::Result<()> {
        std::fs::remove_file(folder.join(name))
    }

    fn identity(&self, folder: &Path) -> io::Result<(u64, u64)> {
        system::identity(folder)
    }

    fn room(&self, folder: &Path) -> io::Result<Option<u64>> {
        system::room(folder)
    }

    fn lock(&self, folder: &Path, name: &str) -> Result<Lock, NoLock> {
        Lock::take(&folder.join(name))
    }

    fn claim(&self, root: &Path, torrent: Sha1Hash) -> Result<Lock, NoLock> {
        // By whatever path the folder is reached.
        let (device, inode) = system::identity(root).map_err(|_| NoLock::Refused)?;
        let place = [device.to_be_bytes(), inode.to_be_bytes()].concat();
        Lock::take_name(&format!("downpour-{}", sha1(&[&torrent.0[..], &place].concat())))
    }
}

impl OpenFile for File {
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        system::read_at(self, into, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        system::write_at(self, bytes, offset)
    }

    fn extend(&self, length: u64) -> io::Result<()> {
        system::extend(self, length)
    }

    fn room(&self) -> io::Result<Option<u64>> {
        system::room_at(self)
    }

    fn extent(&self, offset: u64) -> io::Result<Extent> {
        system::extent(self, offset)
    }

    fn stamp(&self) -> io::Result<FileStamp> {
        Ok(system::stamp(&self.metadata()?))
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_all()
    }
}

/// Reads at `offset` until `into` is full; `UnexpectedEof` if the file ends before.
pub(crate) fn read_exact_at(
    file: &(impl OpenFile + ?Sized),
    into: &mut [u8],
    offset: u64,
) -> io::Result<()> {
    let mut done = 0;
    while done < into.len() {
        match file.read_at(&mut into[done..], offset + done as u64) {
            Ok(0) => {
                let at = offset + done as u64;
                return Err(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    format!("the file ends at byte {at}"),
                ));
            }
            Ok(n) => done += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Writes all of `bytes` at `offset`.
pub(crate) fn write_all_at(file: &dyn OpenFile, bytes: &[u8], offset: u64) -> io::Result<()> {
    let mut done = 0;
    while done < bytes.len() {
        match file.write_at(&bytes[done..], offset + done as u64) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => done += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
