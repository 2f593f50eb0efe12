//! Calls that one system has and another has not, each with a portable fallback.
//!
//! On Unix a file is opened folder by folder from the output folder, and no link below that folder
//! is followed: a torrent, or another program, cannot lead us elsewhere. The output folder itself
//! was named by the user and may be or hold links.

use std::{
    fs::{File, Metadata},
    io,
    path::Path,
    time::UNIX_EPOCH,
};

use super::backend::Extent;
use crate::{base::file_stamp::FileStamp, metainfo::SafePath};

/// What a file is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// To read; it has to exist.
    Read,
    /// To read and write; it has to exist.
    Existing,
    /// To read and write; it and the folders above it are created, but for the output folder.
    Write,
    /// To read and write; it is made anew, whatever was there. The folder has to exist.
    New,
}

fn refused(what: &str, why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, format!("`{what}` {why}"))
}

/// Whether files can be made in `root`, which is made if it is not there.
pub(super) fn may_write(root: &Path) -> io::Result<()> {
    std::fs::create_dir_all(root).map_err(|error| match root.metadata() {
        Ok(facts) if !facts.is_dir() => io::ErrorKind::NotADirectory.into(),
        _ => error,
    })?;
    platform::may_write(root)
}

/// Makes the names durable of `folder` and of those above it. Where we may not make any, none is ours.
pub(super) fn sync_place(folder: &Path) -> io::Result<()> {
    let folder = std::path::absolute(folder)?;
    for above in folder.ancestors().skip(1).take_while(|above| platform::may_write(above).is_ok()) {
        as_far_as_it_goes(platform::sync_folder(above))?;
    }
    Ok(())
}

/// Tells a folder from another one that takes its place.
pub(super) fn identity(folder: &Path) -> io::Result<(u64, u64)> {
    let facts = folder.metadata()?;
    Ok((platform::device(&facts), platform::inode(&facts)))
}

/// Bytes that may still be written where `folder` is; `None` if the system does not tell.
pub(super) fn room(folder: &Path) -> io::Result<Option<u64>> {
    platform::room(folder)
}

/// The same where `file` is.
pub(super) fn room_at(file: &File) -> io::Result<Option<u64>> {
    platform::room_at(file)
}

/// Makes the names durable by which `path` is found from `root` on.
pub(super) fn sync_names(root: &Path, path: SafePath<'_>) -> io::Result<()> {
    as_far_as_it_goes(platform::sync_names(root, path))
}

/// Makes everything on the file system of `folder` durable; false if the system cannot.
pub(super) fn sync_everything(folder: &Path) -> io::Result<bool> {
    platform::sync_everything(folder)
}

/// Not every folder that can be written to may be read, and not every file system knows how to flush one:
/// what cannot be had there was not promised.
fn as_far_as_it_goes(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        Err(error) if has_nothing_to_flush(&error) => Ok(()),
        other => other,
    }
}

/// Opens `path` below `root` and tells what it is like. Only a regular file is opened.
pub(super) fn open(
    root: &Path,
    path: SafePath<'_>,
    access: Access,
) -> io::Result<(File, Metadata)> {
    let file = platform::open(root, path, access)?;
    let facts = file.metadata()?;
    if !facts.is_file() {
        return Err(refused(&path.to_string(), "is not a regular file"));
    }
    Ok((file, facts))
}

/// The stamp of a file.
pub(super) fn stamp(facts: &Metadata) -> FileStamp {
    let modified = facts.modified().ok().and_then(|time| {
        let nanos = match time.duration_since(UNIX_EPOCH) {
            Ok(after) => i64::try_from(after.as_nanos()),
            Err(before) => i64::try_from(before.duration().as_nanos()).map(|nanos| -nanos),
        };
        nanos.ok()
    });
    FileStamp {
        length: facts.len(),
        modified: modified.unwrap_or(i64::MIN),
        inode: platform::inode(facts),
    }
}

/// One read at `offset`.
pub(super) fn read_at(file: &File, into: &mut [u8], offset: u64) -> io::Result<usize> {
    platform::read_at(file, into, offset)
}

/// One write at `offset`.
pub(super) fn write_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<usize> {
    platform::write_at(file, bytes, offset)
}

/// Gives `file`, which is shorter, `length` bytes; with room on the disk if the system can.
pub(super) fn extend(file: &File, length: u64) -> io::Result<()> {
    if !platform::allocate(file, length)? {
        file.set_len(length)?;
    }
    Ok(())
}

/// What lies at `offset`, if the file system can tell; else it is taken for data.
pub(super) fn extent(file: &File, offset: u64) -> io::Result<Extent> {
    platform::extent(file, offset)
}

/// Whether `error` says that this process or the system has too many files open.
pub(super) fn is_out_of_descriptors(error: &io::Error) -> bool {
    platform::is_out_of_descriptors(error)
}

/// Whether `error` of a flush says that there is nothing to flush: the file system does not know the operation.
/// One that has become read-only for its errors says so too, and what was written is lost: that is none.
pub(super) fn has_nothing_to_flush(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidInput, Unsupported};
    matches!(error.kind(), InvalidInput | Unsupported)
}

#[cfg(unix)]
mod platform {
    use std::{
        fs::{File, Metadata},
        io,
        os::{
            fd::OwnedFd,
            unix::fs::{FileExt as _, MetadataExt as _},
        },
        path::Path,
    };

    use rustix::{
        fs::{AtFlags, FileType, Mode, OFlags},
        io::Errno,
    };

    use super::{Access, Extent, refused};
    use crate::metainfo::SafePath;

    /// A handle on a folder that is only walked through needs no right to list it.
    #[cfg(target_os = "linux")]
    const WALK: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
    #[cfg(not(target_os = "linux"))]
    const WALK: OFlags = OFlags::DIRECTORY.union(OFlags::CLOEXEC);

    const FOLDER_MODE: Mode = Mode::from_raw_mode(0o777);
    const FILE_MODE: Mode = Mode::from_raw_mode(0o666);

    pub(super) fn open(root: &Path, path: SafePath<'_>, access: Access) -> io::Result<File> {
        let create = access == Access::Write;
        let mut folder = match rustix::fs::open(root, WALK, Mode::empty()) {
            Err(Errno::NOTDIR) => {
                return Err(refused(&root.display().to_string(), "is not a folder"));
            }
            other => other?,
        };
        let mut names = path.components().peekable();
        while let Some(name) = names.next() {
            if names.peek().is_none() {
                return open_file(&folder, name, access);
            }
            folder = walk(&folder, name, create)?;
        }
        Err(io::ErrorKind::InvalidInput.into())
    }

    pub(super) fn may_write(folder: &Path) -> io::Result<()> {
        let wanted = rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK;
        Ok(rustix::fs::access(folder, wanted)?)
    }

    /// A handle on a folder whose names are to be flushed.
    const FLUSH: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

    pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
        Ok(rustix::fs::fsync(rustix::fs::open(folder, FLUSH, Mode::empty())?)?)
    }

    pub(super) fn sync_names(root: &Path, path: SafePath<'_>) -> io::Result<()> {
        let mut folder = rustix::fs::open(root, FLUSH, Mode::empty())?;
        rustix::fs::fsync(&folder)?;
        let mut names = path.components().peekable();
        while let Some(name) = names.next()
            && names.peek().is_some()
        {
            folder = rustix::fs::openat(&folder, name, FLUSH | OFlags::NOFOLLOW, Mode::empty())?;
            rustix::fs::fsync(&folder)?;
        }
        Ok(())
    }

    #[cfg(target_os = "linux")]
    pub(super) fn sync_everything(folder: &Path) -> io::Result<bool> {
        rustix::fs::syncfs(File::open(folder)?)?;
        Ok(true)
    }

    #[cfg(not(target_os = "linux"))]
    pub(super) fn sync_everything(_folder: &Path) -> io::Result<bool> {
        Ok(false)
    }

    fn walk(folder: &OwnedFd, name: &str, create: bool) -> io::Result<OwnedFd> {
        let step = || rustix::fs::openat(folder, name, WALK | OFlags::NOFOLLOW, Mode::empty());
        match step() {
            Err(Errno::NOENT) if create => {
                match rustix::fs::mkdirat(folder, name, FOLDER_MODE) {
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(error) => return Err(error.into()),
                }
                step().map_err(|error| explain(folder, name, error))
            }
            other => other.map_err(|error| explain(folder, name, error)),
        }
    }

    fn open_file(folder: &OwnedFd, name: &str, access: Access) -> io::Result<File> {
        // Non-blocking, so that a pipe in place of the file cannot hold us up.
        let always = OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let flags = match access {
            Access::Read => OFlags::RDONLY,
            Access::Existing => OFlags::RDWR,
            Access::Write => OFlags::RDWR | OFlags::CREATE,
            Access::New => OFlags::RDWR | OFlags::CREATE | OFlags::TRUNC,
        };
        match rustix::fs::openat(folder, name, always | flags, FILE_MODE) {
            Ok(file) => Ok(file.into()),
            Err(error) => Err(explain(folder, name, error)),
        }
    }

    /// A refusal to follow a link comes as one of several codes, none of which says so.
    fn explain(folder: &OwnedFd, name: &str, error: Errno) -> io::Error {
        if !matches!(error, Errno::LOOP | Errno::NOTDIR | Errno::MLINK) {
            return error.into();
        }
        match rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink => {
                refused(name, "is a symbolic link, and links are not followed")
            }
            Ok(_) if error == Errno::NOTDIR => refused(name, "is not a folder"),
            _ => error.into(),
        }
    }

    pub(super) fn inode(facts: &Metadata) -> u64 {
        facts.ino()
    }

    pub(super) fn device(facts: &Metadata) -> u64 {
        facts.dev()
    }

    pub(super) fn room(folder: &Path) -> io::Result<Option<u64>> {
        Ok(free(rustix::fs::statvfs(folder)?))
    }

    pub(super) fn room_at(file: &File) -> io::Result<Option<u64>> {
        Ok(free(rustix::fs::fstatvfs(file)?))
    }

    /// Some have no size, and tell that they are full. What is kept back for the superuser is its own.
    fn free(facts: rustix::fs::StatVfs) -> Option<u64> {
        let blocks =
            if rustix::process::geteuid().is_root() { facts.f_bfree } else { facts.f_bavail };
        (facts.f_blocks > 0).then(|| blocks.saturating_mul(facts.f_frsize))
    }

    pub(super) fn read_at(file: &File, into: &mut [u8], offset: u64) -> io::Result<usize> {
        file.read_at(into, offset)
    }

    pub(super) fn write_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<usize> {
        file.write_at(bytes, offset)
    }

    pub(super) fn is_out_of_descriptors(error: &io::Error) -> bool {
        let code = error.raw_os_error();
        code == Some(Errno::MFILE.raw_os_error()) || code == Some(Errno::NFILE.raw_os_error())
    }

    /// False if the file system cannot reserve room.
    #[cfg(target_os = "linux")]
    pub(super) fn allocate(file: &File, length: u64) -> io::Result<bool> {
        loop {
            return match rustix::fs::fallocate(file, rustix::fs::FallocateFlags::empty(), 0, length)
            {
                Ok(()) => Ok(true),
                Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(false),
                Err(Errno::INTR) => continue,
                Err(error) => Err(error.into()),
            };
        }
    }

    #[cfg(not(target_os = "linux"))]
    pub(super) fn allocate(_file: &File, _length: u64) -> io::Result<bool> {
        Ok(false)
    }

    #[cfg(target_os = "linux")]
    pub(super) fn extent(file: &File, offset: u64) -> io::Result<Extent> {
        use rustix::fs::{SeekFrom, seek};
        match seek(file, SeekFrom::Data(offset)) {
            Ok(data) if data > offset => Ok(Extent::Hole { end: data }),
            Ok(_) => match seek(file, SeekFrom::Hole(offset)) {
                Ok(end) if end > offset => Ok(Extent::Data { end }),
                // Truncated between the two calls: reading will tell.
                Ok(_) | Err(Errno::NXIO) => Ok(Extent::Data { end: u64::MAX }),
                Err(error) => Err(error.into()),
            },
            // No data up to the end of the file.
            Err(Errno::NXIO) => Ok(Extent::Hole { end: u64::MAX }),
            Err(Errno::INVAL | Errno::OPNOTSUPP) => Ok(Extent::Data { end: u64::MAX }),
            Err(error) => Err(error.into()),
        }
    }

    #[cfg(not(target_os = "linux"))]
    pub(super) fn extent(_file: &File, _offset: u64) -> io::Result<Extent> {
        Ok(Extent::Data { end: u64::MAX })
    }
}

#[cfg(not(unix))]
mod platform {
    use std::{
        fs::{File, Metadata, OpenOptions},
        io,
        path::Path,
    };

    use super::{Access, Extent, refused};
    use crate::metainfo::SafePath;

    /// Found out with the first write.
    pub(super) fn may_write(_folder: &Path) -> io::Result<()> {
        Ok(())
    }

    /// Folders cannot be opened.
    pub(super) fn sync_folder(_folder: &Path) -> io::Result<()> {
        Ok(())
    }

    pub(super) fn sync_names(_root: &Path, _path: SafePath<'_>) -> io::Result<()> {
        Ok(())
    }

    pub(super) fn sync_everything(_folder: &Path) -> io::Result<bool> {
        Ok(false)
    }

    /// Looks at every component before it goes on: enough against a torrent, though not against a
    /// local program that swaps folders at that very moment.
    pub(super) fn open(root: &Path, path: SafePath<'_>, access: Access) -> io::Result<File> {
        let mut place = root.to_path_buf();
        let mut names = path.components().peekable();
        while let Some(name) = names.next() {
            if names.peek().is_none() && access == Access::Write {
                if !root.exists() {
                    return Err(io::ErrorKind::NotFound.into());
                }
                std::fs::create_dir_all(&place)?;
            }
            place.push(name);
            if std::fs::symlink_metadata(&place).is_ok_and(|facts| facts.is_symlink()) {
                return Err(refused(name, "is a symbolic link, and links are not followed"));
            }
        }
        let write = access != Access::Read;
        let create = matches!(access, Access::Write | Access::New);
        OpenOptions::new()
            .read(true)
            .write(write)
            .create(create)
            .truncate(access == Access::New)
            .open(&place)
    }

    /// The number is not to be had in a portable way.
    pub(super) fn inode(_facts: &Metadata) -> u64 {
        0
    }

    pub(super) fn device(_facts: &Metadata) -> u64 {
        0
    }

    pub(super) fn room(_folder: &Path) -> io::Result<Option<u64>> {
        Ok(None)
    }

    pub(super) fn room_at(_file: &File) -> io::Result<Option<u64>> {
        Ok(None)
    }

    #[cfg(windows)]
    pub(super) fn read_at(file: &File, into: &mut [u8], offset: u64) -> io::Result<usize> {
        std::os::windows::fs::FileExt::seek_read(file, into, offset)
    }

    #[cfg(windows)]
    pub(super) fn write_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<usize> {
        std::os::windows::fs::FileExt::seek_write(file, bytes, offset)
    }

    pub(super) fn is_out_of_descriptors(_error: &io::Error) -> bool {
        false
    }

    pub(super) fn allocate(_file: &File, _length: u64) -> io::Result<bool> {
        Ok(false)
    }

    pub(super) fn extent(_file: &File, _offset: u64) -> io::Result<Extent> {
        Ok(Extent::Data { end: u64::MAX })
    }
}
