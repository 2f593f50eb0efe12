//! A lock that one run of the program has at a time, and that the system takes away from whoever ends,
//! however that comes about.
//!
//! For what lies in a folder of ours it is a file with the number of the process in it, for the sentence that
//! somebody else is told. It is taken away at an orderly end; one that a kill has left behind is nobody's. For what
//! lies in a folder of the user's it is a name alone ([`name_lock`](super::name_lock)).

use std::{
    fs::{self, File, TryLockError},
    io::{Read as _, Write as _},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::Duration,
};

use super::name_lock::Name;

/// Times it is tried again when this very process has it: a session that was dropped ends soon.
const ATTEMPTS: u32 = 250;
/// Between two of them.
const PAUSE: Duration = Duration::from_millis(20);

/// Each is an open file or two. A process that has so many takes no more: it is no command that somebody started twice.
const MOST_HELD: u32 = 256;
static HELD: AtomicU32 = AtomicU32::new(0);

/// A lock, until it is dropped.
#[derive(Debug)]
pub(crate) struct Lock(Option<Held>);

#[derive(Debug)]
enum Held {
    File { _open: File, path: PathBuf },
    Name { _ours: Name },
}

/// Why there is none.
#[derive(Debug)]
pub(crate) enum NoLock {
    /// Somebody else has it: the process of that number, if it said so.
    Taken(Option<u32>),
    /// The file cannot be made.
    Refused,
}

impl Lock {
    /// Stands for one where none is to be had.
    pub(crate) const NONE: Lock = Lock(None);

    /// Takes the lock at `path`. Where the file system knows none there is nothing to take.
    pub(super) fn take(path: &Path) -> Result<Lock, NoLock> {
        Lock::patiently(|| Lock::try_take(path))
    }

    /// Takes the lock of that name.
    pub(super) fn take_name(name: &str) -> Result<Lock, NoLock> {
        Lock::patiently(|| {
            Ok(Lock::new(Name::try_take(name)?.map(|ours| Held::Name { _ours: ours })))
        })
    }

    fn patiently(try_take: impl Fn() -> Result<Lock, NoLock>) -> Result<Lock, NoLock> {
        if HELD.load(Ordering::Relaxed) >= MOST_HELD {
            return Ok(Lock::NONE);
        }
        for _ in 0..ATTEMPTS {
            match try_take() {
                Err(NoLock::Taken(by)) if by == Some(std::process::id()) => thread::sleep(PAUSE),
                result => return result,
            }
        }
        Err(NoLock::Taken(Some(std::process::id())))
    }

    fn new(held: Option<Held>) -> Lock {
        HELD.fetch_add(held.is_some().into(), Ordering::Relaxed);
        Lock(held)
    }

    fn try_take(path: &Path) -> Result<Lock, NoLock> {
        loop {
            let mut options = File::options();
            options.read(true).write(true).create(true).truncate(false);
            let mut file = options.open(path).map_err(|_| NoLock::Refused)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Err(NoLock::Taken(owner(&mut file))),
                Err(TryLockError::Error(_)) => return Ok(Lock::NONE),
            }
            // Whoever had it may have taken the file away after it was opened here.
            if is_at(&file, path) {
                // It is held, whether or not the disk has room for who holds it.
                let _ = file.set_len(0).and_then(|()| write!(file, "{}", std::process::id()));
                return Ok(Lock::new(Some(Held::File { _open: file, path: path.to_owned() })));
            }
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        HELD.fetch_sub(self.0.is_some().into(), Ordering::Relaxed);
        if let Some(Held::File { path, .. }) = &self.0 {
            // One that stays behind is nobody's.
            let _ = fs::remove_file(path);
        }
    }
}

fn owner(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.take(20).read_to_string(&mut text).ok()?;
    text.parse().ok()
}

#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let same = |file: fs::Metadata, named: fs::Metadata| {
        (file.dev(), file.ino()) == (named.dev(), named.ino())
    };
    file.metadata().is_ok_and(|file| path.metadata().is_ok_and(|named| same(file, named)))
}

/// A file that is open is not taken away.
#[cfg(not(unix))]
fn is_at(_file: &File, _path: &Path) -> bool {
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_at_a_time_and_the_owner_is_named() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("x.lock");
        let lock = Lock::try_take(&path).expect("free");
        let Err(NoLock::Taken(by)) = Lock::try_take(&path) else { panic!("taken twice") };
        assert_eq!(by, Some(std::process::id()));
        drop(lock);
        assert!(!path.exists());
        fs::write(&path, "4000000000").expect("what a kill leaves");
        drop(Lock::try_take(&path).expect("nobody's"));
    }

    #[test]
    fn what_was_taken_away_meanwhile_is_no_lock() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("x.lock");
        let file = File::create(&path).expect("created");
        assert!(is_at(&file, &path));
        fs::remove_file(&path).expect("removed");
        assert!(!is_at(&file, &path));
        let _other = File::create(&path).expect("created");
        assert!(!is_at(&file, &path));
    }
}
