//! One torrent's resume state as a file: found, set aside when it is damaged, written beside and
//! put in place.
//!
//! The name is made of the info hash and of the folder the torrent is in, so that two copies of one
//! torrent on a machine do not share a state. Two runs at once do not write the same state: the second
//! goes without.

use std::{
    fs::{self, File, TryLockError},
    io::{self, Read as _, Write as _},
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use crate::{
    base::{
        bitfield::Bitfield,
        file_stamp::FileStamp,
        hash::sha1,
        index::{FileIndex, PartialPiece},
        limits::MAX_RESUME_BYTES,
    },
    metainfo::Info,
    resume::ResumeState,
};

/// Bytes of the folder's hash in a file name: enough to tell a few folders apart.
const FOLDER_DIGITS: usize = 8;

/// Unusable states kept of one torrent.
const MOST_ASIDE: u32 = 10;

/// Where states lie below the state folder.
pub(in crate::session) fn folder(state_dir: &Path) -> PathBuf {
    state_dir.join("resume")
}

/// The place of one torrent's state, and what its files last looked like.
#[derive(Debug)]
pub(in crate::session) struct Record {
    path: PathBuf,
    info: Arc<Info>,
    /// Locked as long as it is open.
    _lock: File,
    stamps: Mutex<Vec<Option<FileStamp>>>,
}

/// What the place held.
#[derive(Debug)]
pub(in crate::session) struct Found {
    /// `None` if another run keeps it.
    pub(in crate::session) record: Option<Arc<Record>>,
    pub(in crate::session) state: Option<ResumeState>,
    /// Why there is no state although there is a file: one sentence.
    pub(in crate::session) trouble: Option<String>,
}

/// What is written, besides the stamps of the files.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) have: Bitfield,
    pub(super) partial: Vec<PartialPiece>,
    pub(super) peers: Vec<SocketAddr>,
    pub(super) settled: bool,
    pub(super) saved: i64,
}

impl Record {
    /// Looks for the state of the torrent `info` whose files are below `root` and look like `stamps`
    /// now. One that cannot be understood is set aside, never deleted.
    pub(in crate::session) fn find(
        state_dir: &Path,
        root: &Path,
        info: &Arc<Info>,
        stamps: Vec<Option<FileStamp>>,
    ) -> Found {
        let path = folder(state_dir).join(name(root, info));
        let (state, trouble) = match read(&path) {
            Ok(None) => (None, None),
            Ok(Some(bytes)) => match ResumeState::decode(&bytes, info) {
                Ok(state) => (Some(state), None),
                Err(error) => (None, Some(set_aside(&path, &error.to_string()))),
            },
            Err(error) => {
                let trouble = format!("could not read `{}`: {error}", path.display());
                (None, Some(trouble))
            }
        };
        let record = |lock| {
            let (info, stamps) = (Arc::clone(info), Mutex::new(stamps));
            Arc::new(Record { path: path.clone(), info, _lock: lock, stamps })
        };
        match lock(&path) {
            Ok(lock) => Found { record: Some(record(lock)), state, trouble },
            Err(why) => Found { record: None, state, trouble: trouble.or(Some(why)) },
        }
    }

    /// Writes the state after files were `flushed`; they have new stamps.
    ///
    /// # Errors
    /// One sentence. What was there before is still there.
    pub(super) fn write(
        &self,
        flushed: Vec<(FileIndex, FileStamp)>,
        entry: Entry,
    ) -> Result<(), String> {
        let Entry { have, partial, peers, settled, saved } = entry;
        let mut stamps = self.stamps.lock().unwrap_or_else(PoisonError::into_inner);
        for (file, stamp) in flushed {
            stamps[file.at()] = Some(stamp);
        }
        let info_hash = self.info.info_hash().wire();
        let files = stamps.clone();
        let state = ResumeState { info_hash, have, partial, files, saved, settled, peers };
        put_in_place(&self.path, &state.encode())
            .map_err(|error| format!("could not write `{}`: {error}", self.path.display()))
    }
}

fn name(root: &Path, info: &Info) -> String {
    // The folder need not exist yet, so no link can be looked up.
    let root = std::path::absolute(root).unwrap_or_else(|_| root.to_path_buf());
    let folder = sha1(root.as_os_str().as_encoded_bytes()).to_string();
    format!("{}-{}.resume", info.info_hash().wire(), &folder[..FOLDER_DIGITS])
}

/// The lock on a state, or one sentence.
fn lock(path: &Path) -> Result<File, String> {
    let path = path.with_extension("lock");
    let file = File::create(&path)
        .map_err(|error| format!("could not create `{}`: {error}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            Err("another run of the program has this torrent in the same folder: nothing is \
                 recorded by this one"
                .to_owned())
        }
        // Not every file system has locks.
        Err(TryLockError::Error(_)) => Ok(file),
    }
}

/// The bytes of the file; `None` if there is none.
fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut bytes = Vec::new();
    // One byte too many is found out by the decoder.
    file.take(MAX_RESUME_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

fn set_aside(path: &Path, why: &str) -> String {
    let numbers = (1..MOST_ASIDE).map(|n| path.with_extension(format!("resume.damaged-{n}")));
    let mut names = std::iter::once(path.with_extension("resume.damaged")).chain(numbers);
    let Some(aside) = names.find(|name| !name.exists()) else {
        return format!("resume state `{}` is not usable: {why}", path.display());
    };
    match fs::rename(path, &aside) {
        Ok(()) => {
            format!("resume state is not usable, {why}: it was set aside as `{}`", aside.display())
        }
        Err(error) => format!("resume state `{}` is not usable, {why}: {error}", path.display()),
    }
}

/// The whole file or the one before it, whatever happens in between.
fn put_in_place(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let beside = path.with_extension("resume.new");
    let mut file = File::create(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    match path.parent() {
        // Makes the new name durable; not every system can open a folder.
        Some(folder) => File::open(folder).and_then(|folder| folder.sync_all()).or(Ok(())),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        base::index::PieceIndex,
        disk::{
            FilePool, Storage,
            sample::{Sample, sample},
        },
    };

    fn find(dir: &Path, s: &Sample, storage: &Storage) -> Found {
        let stamps = storage.stamps().expect("looked at");
        Record::find(dir, &dir.join("data"), &s.info, stamps)
    }

    fn entry(s: &Sample) -> Entry {
        let mut have = Bitfield::empty(s.info.geometry().pieces());
        have.insert(PieceIndex(1));
        let (partial, peers) = (Vec::new(), vec![([127, 0, 0, 1], 9).into()]);
        Entry { have, partial, peers, settled: true, saved: 5 }
    }

    #[test]
    fn state_is_found_again_and_a_damaged_one_is_set_aside() {
        let dir = tempfile::tempdir().expect("dir");
        let s = sample(16_384, &[("a", 20_000), ("b", 30_000)]);
        let storage =
            Storage::on_disk(Arc::clone(&s.info), dir.path().join("data"), &FilePool::new(4));
        fs::create_dir_all(folder(dir.path())).expect("made");
        let found = find(dir.path(), &s, &storage);
        assert!(found.state.is_none() && found.trouble.is_none());
        s.store(&storage);
        let flushed = storage.sync().expect("flushed");
        let record = found.record.expect("nobody else has it");
        record.write(flushed, entry(&s)).expect("written");
        let second = find(dir.path(), &s, &storage);
        assert!(second.record.is_none() && second.state.is_some());
        assert!(second.trouble.is_some_and(|why| why.contains("another run")));
        drop(record);

        let again = find(dir.path(), &s, &storage);
        let state = again.state.expect("state");
        assert_eq!(Ok(&state.files), storage.stamps().as_ref());
        assert!(state.files.iter().all(Option::is_some));
        assert_eq!((state.have, state.settled), (entry(&s).have, true));
        assert_eq!(state.peers, entry(&s).peers);
        let elsewhere = Record::find(dir.path(), Path::new("/x"), &s.info, Vec::new());
        assert!(elsewhere.state.is_none());

        let path = again.record.expect("nobody else has it").path.clone();
        let mut bytes = fs::read(&path).expect("read");
        bytes[60] ^= 1;
        fs::write(&path, &bytes).expect("written");
        let bad = find(dir.path(), &s, &storage);
        assert!(bad.state.is_none());
        let trouble = bad.trouble.expect("trouble");
        assert!(
            trouble.starts_with("resume state is not usable, its checksum is wrong"),
            "{trouble}"
        );
        assert_eq!(fs::read(path.with_extension("resume.damaged")).expect("kept"), bytes);
        drop(bad.record);
        assert!(find(dir.path(), &s, &storage).trouble.is_none());
    }

    #[test]
    fn a_state_that_cannot_be_kept_is_told() {
        let dir = tempfile::tempdir().expect("dir");
        let s = sample(16_384, &[("a", 20_000)]);
        let storage = Storage::in_memory(Arc::clone(&s.info));
        let found = find(dir.path(), &s, &storage);
        assert!(found.record.is_none());
        let error = found.trouble.expect("no folder");
        assert!(error.starts_with("could not create `"), "{error}");
    }
}
