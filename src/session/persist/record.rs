//! One torrent's resume state as a file: found, set aside when it is damaged, written beside and
//! put in place.
//!
//! The name is made of the info hash and of the folder the torrent is in, so that two copies of one
//! torrent on a machine do not share a state. Of two runs that keep the same state at once, the one
//! that finds the other's gives up.

use std::{
    fs::{self, File},
    io::{self, Read as _, Write as _},
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
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
    session::unfinished::{self, Unfinished},
};

/// Bytes of the folder's hash in a file name: enough to tell a few folders apart.
const FOLDER_DIGITS: usize = 8;

/// Unusable states kept of one torrent.
const MOST_ASIDE: u32 = 10;

/// Where states lie below the state folder.
pub(in crate::session) fn folder(state_dir: &Path) -> PathBuf {
    state_dir.join("resume")
}

/// The place of one torrent's state.
#[derive(Debug)]
pub(in crate::session) struct Record {
    path: PathBuf,
    /// Where the files of the torrent are.
    root: PathBuf,
    info: Arc<Info>,
    known: Mutex<Known>,
}

#[derive(Debug)]
struct Known {
    /// What the torrent's files last looked like.
    stamps: Vec<Option<FileStamp>>,
    /// The state as we found it or wrote it last; `None` if there was none.
    version: Option<Version>,
}

/// Tells a state from the one that replaces it: time of writing and length.
type Version = (SystemTime, u64);

/// What the place held.
#[derive(Debug)]
pub(in crate::session) struct Found {
    pub(in crate::session) record: Arc<Record>,
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
        let known = Known { stamps, version: version(&path) };
        let (info, known) = (Arc::clone(info), Mutex::new(known));
        let record = Record { path, root: absolute(root), info, known };
        Found { record: Arc::new(record), state, trouble }
    }

    /// Writes the state beside its place after files were `flushed`; they have new stamps. It is to be
    /// made durable, then [put in place](Record::put_in_place).
    ///
    /// # Errors
    /// One sentence. What was there before is still there.
    pub(super) fn write_beside(
        &self,
        flushed: Vec<(FileIndex, FileStamp)>,
        entry: Entry,
    ) -> Result<File, String> {
        let Entry { have, partial, peers, settled, saved } = entry;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        for (file, stamp) in flushed {
            known.stamps[file.at()] = Some(stamp);
        }
        if version(&self.path) != known.version && !self.is_settled() {
            return Err(
                "another run of the program has this torrent in the same folder: this one \
                        records nothing"
                    .to_owned(),
            );
        }
        let info_hash = self.info.info_hash().wire();
        let files = known.stamps.clone();
        let state = ResumeState { info_hash, have, partial, files, saved, settled, peers };
        let write = || {
            let mut file = File::create(self.beside())?;
            file.write_all(&state.encode())?;
            Ok(file)
        };
        write().map_err(|error| self.not_written(&error))
    }

    /// Makes what was written beside the state: the whole file is there or the one before it, whatever
    /// happens in between.
    ///
    /// # Errors
    /// One sentence.
    pub(super) fn put_in_place(&self) -> Result<(), String> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        fs::rename(self.beside(), &self.path).map_err(|error| self.not_written(&error))?;
        known.version = version(&self.path);
        Ok(())
    }

    /// Where the files of the torrent are.
    pub(in crate::session) fn root(&self) -> &Path {
        &self.root
    }

    /// Keeps beside the state what is missing and why; nothing when nothing is.
    ///
    /// # Errors
    /// One sentence.
    pub(super) fn keep_why(&self, why: Option<&Unfinished>) -> Result<(), String> {
        let path = self.path.with_extension(unfinished::EXTENSION);
        unfinished::keep(&path, why)
            .map_err(|error| format!("could not write `{}`: {error}", path.display()))
    }

    /// The folder it lies in.
    pub(super) fn folder(&self) -> &Path {
        self.path.parent().expect("its name is in a folder")
    }

    pub(super) fn not_written(&self, error: &io::Error) -> String {
        format!("could not write `{}`: {error}", self.path.display())
    }

    /// Two runs may write at once.
    fn beside(&self) -> PathBuf {
        self.path.with_extension(format!("resume.new-{}", std::process::id()))
    }

    /// Whether whoever wrote what is there now was done with it.
    fn is_settled(&self) -> bool {
        let state = read(&self.path).ok().flatten();
        let state = state.and_then(|bytes| ResumeState::decode(&bytes, &self.info).ok());
        state.is_some_and(|state| state.settled)
    }
}

/// The folder need not exist yet, so no link can be looked up.
fn absolute(root: &Path) -> PathBuf {
    std::path::absolute(root).unwrap_or_else(|_| root.to_path_buf())
}

fn name(root: &Path, info: &Info) -> String {
    let folder = sha1(absolute(root).as_os_str().as_encoded_bytes()).to_string();
    format!("{}-{}.resume", info.info_hash().wire(), &folder[..FOLDER_DIGITS])
}

fn version(path: &Path) -> Option<Version> {
    let facts = fs::metadata(path).ok()?;
    Some((facts.modified().ok()?, facts.len()))
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

    impl Record {
        fn write(&self, flushed: Vec<(FileIndex, FileStamp)>, entry: Entry) -> Result<(), String> {
            self.write_beside(flushed, entry)?;
            self.put_in_place()
        }
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
        let second = find(dir.path(), &s, &storage).record;
        let busy = Entry { settled: false, ..entry(&s) };
        found.record.write(flushed, busy).expect("written");
        let error = second.write(Vec::new(), entry(&s)).expect_err("another run has written");
        assert!(error.starts_with("another run"), "{error}");
        found.record.write(Vec::new(), entry(&s)).expect("it goes on");
        second.write(Vec::new(), entry(&s)).expect("the other one is done");

        let again = find(dir.path(), &s, &storage);
        let state = again.state.expect("state");
        assert_eq!(Ok(&state.files), storage.stamps().as_ref());
        assert!(state.files.iter().all(Option::is_some));
        assert_eq!((state.have, state.settled), (entry(&s).have, true));
        assert_eq!(state.peers, entry(&s).peers);
        let elsewhere = Record::find(dir.path(), Path::new("/x"), &s.info, Vec::new());
        assert!(elsewhere.state.is_none());

        let path = again.record.path.clone();
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
        assert!(find(dir.path(), &s, &storage).trouble.is_none());
    }

    #[test]
    fn a_state_that_cannot_be_kept_is_told() {
        let dir = tempfile::tempdir().expect("dir");
        let s = sample(16_384, &[("a", 20_000)]);
        let storage = Storage::in_memory(Arc::clone(&s.info));
        let found = find(dir.path(), &s, &storage);
        let error = found.record.write(Vec::new(), entry(&s)).expect_err("no folder");
        assert!(error.starts_with("could not write `"), "{error}");
    }
}
