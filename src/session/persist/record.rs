//! One torrent's resume state as a file: found, set aside when it is damaged, written beside and
//! put in place.
//!
//! The name is made of the info hash and of the folder the torrent is in, so that two copies of one
//! torrent on a machine do not share a state. Only one run of the program at a time has it: the second is
//! refused.
//!
//! Of some torrents no state is kept, and only why they did not get on: of those whose owner vouches for the files,
//! and of links whose metadata has not come.

use std::{
    fmt, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use super::torrents;
use crate::{
    base::{
        bitfield::Bitfield,
        file_stamp::FileStamp,
        hash::{Sha1Hash, sha1},
        index::{FileIndex, PartialPiece},
        limits::MAX_RESUME_BYTES,
    },
    disk::{Access, FileSystem, Lock, NoLock, OpenFile, read_exact_at, write_all_at},
    metainfo::{Info, SafePath},
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

/// Makes the folders of states and of torrents, for good.
pub(in crate::session) fn make_folder(
    file_system: &dyn FileSystem,
    state_dir: &Path,
) -> io::Result<()> {
    for folder in [folder(state_dir), torrents::folder(state_dir)] {
        file_system.make_folder(&folder)?;
        file_system.sync_place(&folder)?;
    }
    Ok(())
}

/// The place of one torrent's state.
#[derive(Debug)]
pub(in crate::session) struct Record {
    place: Place,
    info: Arc<Info>,
    /// Otherwise only why it does not get on.
    keeps_state: bool,
    /// What the torrent's files last looked like.
    stamps: Mutex<Vec<Option<FileStamp>>>,
}

/// Where a state lies, which is ours alone for as long as this lives.
#[derive(Debug)]
pub(in crate::session) struct Place {
    file_system: Arc<dyn FileSystem>,
    folder: PathBuf,
    name: String,
    /// Where the files of the torrent are.
    root: PathBuf,
    lock: Lock,
}

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
    pub(super) uploaded: u64,
    pub(super) saved: i64,
}

impl Record {
    /// Looks for the state of the torrent `info`, whose files look like `stamps` now, in its `place`. One that
    /// cannot be understood is set aside, never deleted. What there is stays as it is unless this `keeps_state`.
    pub(in crate::session) fn find(
        place: Place,
        info: &Arc<Info>,
        stamps: Vec<Option<FileStamp>>,
        keeps_state: bool,
    ) -> Found {
        // Its metadata is here, however it came. Nothing depends on what cannot be taken away.
        let link = place.folder.join(link_name(info.info_hash().wire()));
        let _ = unfinished::keep(&link.with_extension(unfinished::EXTENSION), None);
        let (state, trouble) = match place.read() {
            Ok(None) => (None, None),
            Ok(Some(bytes)) => match ResumeState::decode(&bytes, info) {
                Ok(state) => (Some(state), None),
                Err(error) => (None, Some(place.set_aside(&error.to_string()))),
            },
            Err(error) => (None, Some(format!("could not read `{place}`: {error}"))),
        };
        let stamps = Mutex::new(stamps);
        let record = Record { place, info: Arc::clone(info), keeps_state, stamps };
        Found { record: Arc::new(record), state, trouble }
    }

    /// The record of a link of which no more is known than where its peers meet: no state.
    pub(in crate::session) fn of_link(
        file_system: &Arc<dyn FileSystem>,
        state_dir: &Path,
        info: &Arc<Info>,
        meeting: Sha1Hash,
    ) -> Arc<Record> {
        let place = Place {
            file_system: Arc::clone(file_system),
            folder: folder(state_dir),
            name: link_name(meeting),
            root: PathBuf::new(),
            // Two runs may say it.
            lock: Lock::NONE,
        };
        let (info, stamps) = (Arc::clone(info), Mutex::default());
        Arc::new(Record { place, info, keeps_state: false, stamps })
    }

    /// Whether its state is kept, and not only why it does not get on.
    pub(super) const fn keeps_state(&self) -> bool {
        self.keeps_state
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
    ) -> Result<Arc<dyn OpenFile>, String> {
        let Entry { have, partial, peers, settled, uploaded, saved } = entry;
        let mut stamps = self.stamps.lock().unwrap_or_else(PoisonError::into_inner);
        for (file, stamp) in flushed {
            stamps[file.at()] = Some(stamp);
        }
        let info_hash = self.info.info_hash().wire();
        let files = stamps.clone();
        let state =
            ResumeState { info_hash, have, partial, files, saved, settled, uploaded, peers };
        self.place.write_beside(&state.encode()).map_err(|error| self.not_written(&error))
    }

    /// Makes what was written beside the state: the whole file is there or the one before it, whatever
    /// happens in between. Its name is to be [made durable](Record::sync_names).
    ///
    /// # Errors
    /// One sentence.
    pub(super) fn put_in_place(&self) -> Result<(), String> {
        let Place { file_system, folder, name, .. } = &self.place;
        let renamed = file_system.rename(folder, &self.place.beside(), name);
        renamed.map_err(|error| self.not_written(&error))
    }

    /// Makes the names durable in the folder that it lies in.
    pub(super) fn sync_names(&self) -> io::Result<()> {
        let Place { file_system, folder, name, .. } = &self.place;
        file_system.sync_names(folder, SafePath::of_one(name))
    }

    /// Where the files of the torrent are.
    pub(in crate::session) fn root(&self) -> &Path {
        &self.place.root
    }

    /// Keeps beside the state what is missing and why; nothing when nothing is.
    ///
    /// # Errors
    /// One sentence.
    pub(in crate::session) fn keep_why(&self, why: Option<&Unfinished>) -> Result<(), String> {
        let Place { folder, name, .. } = &self.place;
        let path = folder.join(name).with_extension(unfinished::EXTENSION);
        unfinished::keep(&path, why)
            .map_err(|error| format!("could not write `{}`: {error}", path.display()))
    }

    /// The folder it lies in.
    pub(super) fn folder(&self) -> &Path {
        &self.place.folder
    }

    /// Where that is.
    pub(super) fn file_system(&self) -> &Arc<dyn FileSystem> {
        &self.place.file_system
    }

    pub(super) fn not_written(&self, error: &io::Error) -> String {
        format!("could not write `{}`: {error}", self.place)
    }

    /// The state as it is now, if it can be understood.
    #[cfg(test)]
    pub(in crate::session) fn state(&self) -> Option<ResumeState> {
        let bytes = self.place.read().ok().flatten()?;
        ResumeState::decode(&bytes, &self.info).ok()
    }
}

impl Place {
    /// The place of the state of the torrent `info` whose files are below `root`; ours until it is dropped.
    ///
    /// # Errors
    /// Another run of the program has it: the process of that number, if that is known.
    pub(in crate::session) fn claim(
        file_system: &Arc<dyn FileSystem>,
        state_dir: &Path,
        root: &Path,
        info: &Info,
    ) -> Result<Place, Option<u32>> {
        let (folder, name) = (folder(state_dir), name(root, info));
        let lock = match file_system.lock(&folder, &lock_name(&name)) {
            Ok(lock) => lock,
            Err(NoLock::Taken(by)) => return Err(by),
            // Then nothing can be written there, and that is told when it is tried.
            Err(NoLock::Refused) => Lock::NONE,
        };
        let (file_system, root) = (Arc::clone(file_system), absolute(root));
        Ok(Place { file_system, folder, name, root, lock })
    }

    /// The bytes of the file; `None` if there is none. No more than the decoder needs to find out that they
    /// are too many.
    fn read(&self) -> io::Result<Option<Vec<u8>>> {
        let (file, stamp) = match self.open(&self.name, Access::Read) {
            Ok(opened) => opened,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let length = stamp.length.min(MAX_RESUME_BYTES as u64 + 1);
        let mut bytes = vec![0; length as usize];
        read_exact_at(&*file, &mut bytes, 0)?;
        Ok(Some(bytes))
    }

    fn write_beside(&self, bytes: &[u8]) -> io::Result<Arc<dyn OpenFile>> {
        let (file, _) = self.open(&self.beside(), Access::New)?;
        write_all_at(&*file, bytes, 0)?;
        Ok(file)
    }

    fn open(&self, name: &str, access: Access) -> io::Result<(Arc<dyn OpenFile>, FileStamp)> {
        self.file_system.open(&self.folder, SafePath::of_one(name), access)
    }

    fn beside(&self) -> String {
        format!("{}.new", self.name)
    }

    fn set_aside(&self, why: &str) -> String {
        let Place { file_system, folder, name, .. } = self;
        let numbers = (1..MOST_ASIDE).map(|n| format!("{name}.damaged-{n}"));
        let mut names = std::iter::once(format!("{name}.damaged")).chain(numbers);
        let is_free = |name: &String| {
            let opened = self.open(name, Access::Read);
            opened.is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
        };
        let Some(aside) = names.find(is_free) else {
            return format!("resume state `{self}` is not usable: {why}");
        };
        match file_system.rename(folder, name, &aside) {
            Ok(()) => {
                let aside = folder.join(aside);
                let aside = aside.display();
                format!("resume state is not usable, {why}: it was set aside as `{aside}`")
            }
            Err(error) => format!("resume state `{self}` is not usable, {why}: {error}"),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.folder.join(&self.name).display().fmt(f)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.lock.take_away(&self.folder.join(lock_name(&self.name)));
    }
}

fn lock_name(name: &str) -> String {
    format!("{name}.lock")
}

/// The folder need not exist yet, so no link can be looked up.
fn absolute(root: &Path) -> PathBuf {
    std::path::absolute(root).unwrap_or_else(|_| root.to_path_buf())
}

/// The name of what is kept of a link, by where its peers meet.
fn link_name(meeting: Sha1Hash) -> String {
    format!("{meeting}.link")
}

fn name(root: &Path, info: &Info) -> String {
    let folder = sha1(absolute(root).as_os_str().as_encoded_bytes()).to_string();
    format!("{}-{}.resume", info.info_hash().wire(), &folder[..FOLDER_DIGITS])
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::{
        base::index::PieceIndex,
        disk::{
            FilePool, Native, Storage,
            sample::{Sample, sample},
        },
    };

    fn claim(dir: &Path, root: &Path, s: &Sample) -> Result<Place, Option<u32>> {
        let file_system: Arc<dyn FileSystem> = Arc::new(Native);
        Place::claim(&file_system, dir, root, &s.info)
    }

    fn find(dir: &Path, s: &Sample, storage: &Storage) -> Found {
        let stamps = storage.stamps().expect("looked at");
        let place = claim(dir, &dir.join("data"), s).expect("nobody has it");
        Record::find(place, &s.info, stamps, true)
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
        Entry { have, partial, peers, settled: true, uploaded: 7, saved: 5 }
    }

    #[test]
    fn state_is_found_again_and_a_damaged_one_is_set_aside() {
        let dir = tempfile::tempdir().expect("dir");
        let s = sample(16_384, &[("a", 20_000), ("b", 30_000)]);
        let storage =
            Storage::on_disk(Arc::clone(&s.info), dir.path().join("data"), &FilePool::new(4));
        fs::create_dir_all(folder(dir.path())).expect("made");
        fs::create_dir(dir.path().join("data")).expect("made");
        let found = find(dir.path(), &s, &storage);
        assert!(found.state.is_none() && found.trouble.is_none());
        s.store(&storage);
        let flushed = storage.sync().expect("flushed");
        found.record.write(flushed, entry(&s)).expect("written");
        drop(found);

        let again = find(dir.path(), &s, &storage);
        let state = again.state.expect("state");
        assert_eq!(Ok(&state.files), storage.stamps().as_ref());
        assert!(state.files.iter().all(Option::is_some));
        assert_eq!((state.have, state.settled), (entry(&s).have, true));
        assert_eq!(state.peers, entry(&s).peers);
        let place = claim(dir.path(), Path::new("/x"), &s).expect("nobody has it");
        let elsewhere = Record::find(place, &s.info, Vec::new(), true);
        assert!(elsewhere.state.is_none());

        let path = again.record.place.folder.join(&again.record.place.name);
        drop(again.record);
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
        let error = found.record.write(Vec::new(), entry(&s)).expect_err("no folder");
        assert!(error.starts_with("could not write `"), "{error}");
    }
}
