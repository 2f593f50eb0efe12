//! A lock that one run of the program has at a time, and that the system takes away from whoever ends,
//! however that comes about.
//!
//! For what lies in a folder of ours it is a file with the number of the process in it, for the sentence that
//! somebody else is told. It is taken away at an orderly end; one that a kill has left behind is nobody's. For what
//! lies in a folder of the user's it is a name alone ([`name_lock`](super::name_lock)).
//!
//! A file has to stay open to be locked. Of a process that has many the others are closed: they are its own as long
//! as it has the one file beside them that bears its signature as a name, its list.

use std::{
    collections::BTreeMap,
    fs::{self, File, TryLockError},
    hash::{BuildHasher as _, Hasher as _, RandomState},
    io::{self, Read as _, Seek as _, Write as _},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, OnceLock, PoisonError, Weak,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::Duration,
};

use super::name_lock::Name;

/// Times it is tried again when this very process has it: a session that was dropped ends soon.
const ATTEMPTS: u32 = 250;
/// Between two of them.
const PAUSE: Duration = Duration::from_millis(20);

/// Each is an open file or two. A process that has so many keeps no more open, and takes no more names.
const MOST_HELD: u32 = 256;
static HELD: AtomicU32 = AtomicU32::new(0);

/// The lists that this process has, by their folders.
static LISTS: Mutex<BTreeMap<PathBuf, Weak<LockFile>>> = Mutex::new(BTreeMap::new());

/// A lock, until it is dropped.
#[derive(Debug)]
pub(crate) struct Lock(Option<Held>);

#[derive(Debug)]
enum Held {
    File {
        _ours: LockFile,
    },
    /// Its file is taken away by [`Lock::take_away`].
    Listed {
        _list: Arc<LockFile>,
    },
    Name {
        _ours: Name,
    },
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
        Lock::patiently(|| Lock::try_take(path, has_room()))
    }

    /// Takes the lock of that name.
    pub(super) fn take_name(name: &str) -> Result<Lock, NoLock> {
        if !has_room() {
            return Ok(Lock::NONE);
        }
        Lock::patiently(|| {
            Ok(Name::try_take(name)?
                .map_or(Lock::NONE, |ours| Lock::open(Held::Name { _ours: ours })))
        })
    }

    /// Takes the file at `path` away if nobody keeps it open; to be called before this is dropped. Without that it is
    /// nobody's all the same, and lies there.
    pub(crate) fn take_away(&self, path: &Path) {
        if let Some(Held::Listed { .. }) = self.0 {
            remove(path);
        }
    }

    fn patiently(try_take: impl Fn() -> Result<Lock, NoLock>) -> Result<Lock, NoLock> {
        for _ in 0..ATTEMPTS {
            match try_take() {
                Err(NoLock::Taken(by)) if by == Some(std::process::id()) => thread::sleep(PAUSE),
                result => return result,
            }
        }
        Err(NoLock::Taken(Some(std::process::id())))
    }

    /// One that keeps something open.
    fn open(held: Held) -> Lock {
        HELD.fetch_add(1, Ordering::Relaxed);
        Lock(Some(held))
    }

    fn try_take(path: &Path, has_room: bool) -> Result<Lock, NoLock> {
        let Some(mut ours) = LockFile::try_take(path)? else { return Ok(Lock::NONE) };
        if !has_room
            && ours.is_signed()
            && let Some(list) = path.parent().and_then(list_of)
        {
            ours.leave();
            return Ok(Lock(Some(Held::Listed { _list: list })));
        }
        Ok(Lock::open(Held::File { _ours: ours }))
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        if let Some(Held::File { .. } | Held::Name { .. }) = self.0 {
            HELD.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

fn has_room() -> bool {
    HELD.load(Ordering::Relaxed) < MOST_HELD
}

/// A file that is locked as long as it is open, and taken away when it is dropped.
#[derive(Debug)]
struct LockFile {
    file: Option<File>,
    path: PathBuf,
}

impl LockFile {
    /// None where the file system knows no locks.
    fn try_take(path: &Path) -> Result<Option<LockFile>, NoLock> {
        loop {
            let mut options = File::options();
            options.read(true).write(true).create(true).truncate(false);
            let mut file = options.open(path).map_err(|_| NoLock::Refused)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    return Err(NoLock::Taken(signature(&mut file).map(|signed| signed.process)));
                }
                Err(TryLockError::Error(_)) => return Ok(None),
            }
            // One that nobody keeps open may be somebody's all the same.
            if let Some(by) = listed_by(&mut file, path) {
                return Err(NoLock::Taken(Some(by)));
            }
            // Whoever had it may have taken the file away after it was opened here.
            if is_at(&file, path) {
                // It is held, whether or not the disk has room for who holds it.
                let _ = Signature::ours().write(&mut file);
                return Ok(Some(LockFile { file: Some(file), path: path.to_owned() }));
            }
        }
    }

    /// Whether it tells whose it is.
    fn is_signed(&mut self) -> bool {
        self.file.as_mut().and_then(signature).as_ref() == Some(Signature::ours())
    }

    /// Closes it and lets it lie.
    fn leave(mut self) {
        self.file = None;
    }
}

impl Drop for LockFile {
    fn drop(&mut self) {
        if self.file.is_some() {
            remove(&self.path);
        }
    }
}

/// One that stays behind is nobody's.
fn remove(path: &Path) {
    let _ = fs::remove_file(path);
}

/// The list of this process in that folder, if there can be one.
fn list_of(folder: &Path) -> Option<Arc<LockFile>> {
    let mut lists = LISTS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(list) = lists.get(folder).and_then(Weak::upgrade) {
        return Some(list);
    }
    let list = Arc::new(LockFile::try_take(&folder.join(Signature::ours().list())).ok()??);
    lists.insert(folder.to_owned(), Arc::downgrade(&list));
    Some(list)
}

/// The process that has the lock at `path` by its list, if one does.
fn listed_by(file: &mut File, path: &Path) -> Option<u32> {
    let signed = signature(file)?;
    match File::open(path.with_file_name(signed.list())) {
        Ok(list) => match list.try_lock_shared() {
            Err(TryLockError::WouldBlock) => Some(signed.process),
            _ => None,
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        // Who cannot find out does not take it away.
        Err(_) => Some(signed.process),
    }
}

/// Who has a lock.
#[derive(Debug, PartialEq, Eq)]
struct Signature {
    process: u32,
    /// What no other process of that number has.
    chance: u64,
}

impl Signature {
    fn ours() -> &'static Signature {
        static OURS: OnceLock<Signature> = OnceLock::new();
        OURS.get_or_init(|| {
            let chance = RandomState::new().build_hasher().finish();
            Signature { process: std::process::id(), chance }
        })
    }

    fn list(&self) -> String {
        format!("many-{:016x}.lock", self.chance)
    }

    fn write(&self, file: &mut File) -> io::Result<()> {
        file.set_len(0)?;
        file.rewind()?;
        write!(file, "{} {:016x}", self.process, self.chance)
    }
}

/// Who has signed it, if it can be read.
fn signature(file: &mut File) -> Option<Signature> {
    let mut text = String::new();
    file.rewind().ok()?;
    file.take(60).read_to_string(&mut text).ok()?;
    let (process, chance) = text.split_once(' ')?;
    let chance = u64::from_str_radix(chance, 16).ok()?;
    Some(Signature { process: process.parse().ok()?, chance })
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
        let lock = Lock::try_take(&path, true).expect("free");
        let Err(NoLock::Taken(by)) = Lock::try_take(&path, true) else { panic!("taken twice") };
        assert_eq!(by, Some(std::process::id()));
        drop(lock);
        assert!(!path.exists());
        fs::write(&path, "4000000000 1f").expect("what a kill leaves");
        drop(Lock::try_take(&path, true).expect("nobody's"));
    }

    /// A second run of many torrents had all of them but the first hundred.
    #[test]
    fn one_of_many_is_as_locked_as_any_and_no_file_is_open_for_it() {
        let dir = tempfile::tempdir().expect("dir");
        let path = |name: &str| dir.path().join(name);
        let taken_by = |name: &str| match Lock::try_take(&path(name), true) {
            Err(NoLock::Taken(by)) => by,
            other => panic!("{other:?}"),
        };
        let many = ["a", "b"].map(|name| Lock::try_take(&path(name), false).expect("free"));
        let is_closed = |lock: &Lock| matches!(lock.0, Some(Held::Listed { .. }));
        assert!(many.iter().all(is_closed), "{many:?}");
        assert_eq!(taken_by("a"), Some(std::process::id()));
        // Another process has one, and has left one.
        let theirs = Signature { process: 4_000_000_000, chance: 0x1f };
        let list = File::create(path(&theirs.list())).expect("made");
        for name in ["c", "d"] {
            theirs.write(&mut File::create(path(name)).expect("made")).expect("signed");
        }
        drop(Lock::try_take(&path("c"), true).expect("nobody's"));
        list.lock().expect("locked");
        assert_eq!(taken_by("d"), Some(4_000_000_000));
        drop(list);
        let lock = Lock::try_take(&path("d"), false).expect("nobody's");
        for (lock, name) in many.iter().chain([&lock]).zip(["a", "b", "d"]) {
            lock.take_away(&path(name));
        }
        drop((many, lock));
        let left = fs::read_dir(dir.path()).expect("a folder").map(|e| e.expect("one").file_name());
        assert_eq!(left.collect::<Vec<_>>(), [theirs.list().as_str()], "it is theirs");
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
