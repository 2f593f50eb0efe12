//! The files of one torrent below an output folder: the [`Backend`] that is used in earnest.
//!
//! Remembers which files were written since the last sync, one bit a file. Handles belong to the
//! shared [`FilePool`]. Of files that nobody wants, what has to be kept is in one hidden file (`aside`);
//! to the outside they are files of full length that were never written.

mod looks;
mod unwanted;

use std::{
    collections::HashSet,
    io,
    ops::Range,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use super::{
    allocate,
    aside::{self, ASIDE, Aside},
    backend::{Backend, Extent},
    fault::fault,
    file_pool::{FilePool, Tenant},
    file_system::{OpenFile, read_exact_at, write_all_at},
    system::{self, Access},
    touches::Touches,
    unsynced::{Stretches, Unsynced},
    volume::Volume,
};
use crate::{
    base::{
        file_stamp::FileStamp,
        index::{FileIndex, PieceIndex},
    },
    metainfo::{self, Info},
    pieces::job::{DiskFault, FaultKind},
};

/// With so much room a full disk is tried again, in bytes.
const ENOUGH: u64 = 4 << 20;
/// Bytes read and written at once, in bytes, where something is written anew.
const ANEW_AT_ONCE: u64 = 256 << 10;

/// A torrent's files on disk.
#[derive(Debug)]
pub struct Files {
    info: Arc<Info>,
    root: PathBuf,
    pool: Arc<FilePool>,
    tenant: Tenant,
    /// One bit for each file with bytes that may not be durable. Made at the first write.
    written: OnceLock<Box<[AtomicU64]>>,
    touches: Touches,
    unsynced: Unsynced,
    /// The files were gone, and what was not durable then has not been looked at since.
    away: AtomicBool,
    /// Bytes for which there was no room.
    lacks: AtomicU64,
    /// The output folder as it was when it was first seen.
    seen_root: Mutex<Option<(u64, u64)>>,
    /// Held during a sync, so that none returns while another one's files are still on their way.
    /// The files whose names are durable, one bit each.
    syncing: Mutex<Vec<u64>>,
    /// Whether each file is unwanted, if any is.
    unwanted: Option<Box<[bool]>>,
    /// Those of them that are not there; looked for once.
    aside: OnceLock<Aside>,
}

impl Files {
    /// The files of `info` below `root`, the folder that holds the torrent's top-level file or
    /// folder. Touches nothing.
    pub fn new(info: Arc<Info>, root: impl Into<PathBuf>, pool: &Arc<FilePool>) -> Self {
        Files {
            info,
            root: root.into(),
            tenant: pool.tenant(),
            pool: Arc::clone(pool),
            written: OnceLock::new(),
            touches: Touches::default(),
            unsynced: Unsynced::default(),
            seen_root: Mutex::default(),
            away: AtomicBool::new(false),
            lacks: AtomicU64::new(0),
            syncing: Mutex::default(),
            unwanted: None,
            aside: OnceLock::new(),
        }
    }

    /// The same, but files that are `unwanted` (an entry for each) are not made if they are not there.
    #[must_use]
    pub fn without(mut self, unwanted: Box<[bool]>) -> Self {
        self.unwanted = unwanted.contains(&true).then_some(unwanted);
        self
    }

    /// What is known of unwanted files, if this is one.
    fn aside(&self, index: FileIndex) -> Option<&Aside> {
        let unwanted = self.unwanted.as_ref()?;
        let aside = self.aside.get_or_init(|| {
            let files = (0..).map(FileIndex).zip(unwanted);
            // What cannot be looked at is there in some way.
            let is_there = |index| self.is_there(index).unwrap_or(true);
            let absent = files.map(|(index, &unwanted)| unwanted && !is_there(index));
            Aside::new(&self.info, absent.collect())
        });
        aside.has(index).then_some(aside)
    }

    /// The file that holds the bytes of `index`.
    fn home(&self, index: FileIndex) -> FileIndex {
        if self.aside(index).is_some() { ASIDE } else { index }
    }

    fn path(&self, index: FileIndex) -> metainfo::SafePath<'_> {
        self.aside(index).map_or_else(|| self.file(index).path, Aside::path)
    }

    /// How a file looks of which the bytes are in a file that looks so.
    fn seen(&self, index: FileIndex, stamp: FileStamp) -> FileStamp {
        match self.aside(index) {
            // It changes with every write to another one; nobody else writes to it.
            Some(_) => FileStamp { length: self.file(index).length, modified: 0, ..stamp },
            None => stamp,
        }
    }

    /// The output folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn file(&self, index: FileIndex) -> metainfo::File<'_> {
        self.info.layout().file(index).expect("the file index is of this torrent")
    }

    fn reading(&self, index: FileIndex) -> io::Result<Arc<dyn OpenFile>> {
        self.pool.lend((self.tenant, self.home(index)), Access::Read, || {
            let (file, _) =
                self.pool.file_system().open(&self.root, self.path(index), Access::Read)?;
            self.look(index, &*file);
            Ok(file)
        })
    }

    fn writing(&self, index: FileIndex, first: u64) -> io::Result<Arc<dyn OpenFile>> {
        self.pool.lend((self.tenant, self.home(index)), Access::Write, || {
            let file = self.file(index);
            let (handle, stamp) = self.open_to_write(index)?;
            let own = self.own_write(index, &*handle);
            if self.aside(index).is_none() {
                let reserved = allocate::reserve(&*handle, stamp.length, &file, first);
                let is_full = |e: &io::Error| e.kind() == io::ErrorKind::StorageFull;
                if reserved.as_ref().is_err_and(is_full) {
                    self.lacks.fetch_max(file.length - stamp.length, Ordering::Relaxed);
                }
                reserved?;
            }
            drop(own);
            Ok(handle)
        })
    }

    /// A file that was there is not made again, nor one in an output folder that is another one now: there is
    /// something wrong with the storage.
    fn open_to_write(&self, index: FileIndex) -> io::Result<(Arc<dyn OpenFile>, FileStamp)> {
        let file_system = self.pool.file_system();
        let access = if self.touches.has_seen(self.home(index)) {
            Access::Existing
        } else {
            self.look_at_root()?;
            Access::Write
        };
        file_system.open(&self.root, self.path(index), access)
    }

    /// We write to a file for as long as what is returned lives.
    fn own_write<'a>(&'a self, index: FileIndex, handle: &'a dyn OpenFile) -> OwnWrite<'a> {
        if self.touches.begin(self.home(index), || stamp_of(handle)) {
            self.mark(index);
        }
        OwnWrite { files: self, index, handle }
    }

    fn fault(&self, index: FileIndex, operation: String, error: &io::Error) -> DiskFault {
        let fault = fault(operation, self.path(index).to_string(), error);
        let was_there = || self.touches.has_seen(self.home(index)) || self.look_at_root().is_err();
        let kind = match fault.kind {
            FaultKind::Missing if was_there() => FaultKind::Gone,
            kind => kind,
        };
        if kind == FaultKind::Gone {
            self.away.store(true, Ordering::Release);
        }
        DiskFault { kind, ..fault }
    }

    fn written(&self) -> &[AtomicU64] {
        self.written.get_or_init(|| {
            (0..self.info.layout().len().div_ceil(64)).map(|_| AtomicU64::new(0)).collect()
        })
    }

    /// Makes one file durable, its time of writing too; tells what it looks like then.
    fn flush(&self, file: FileIndex) -> Result<FileStamp, DiskFault> {
        let handle = match self.reading(file) {
            Ok(handle) => handle,
            Err(error) => return Err(self.fault(file, "open".into(), &error)),
        };
        // What was written into a file that is no longer there is lost.
        self.look_by_name(file, &*handle)
            .map_err(|error| self.fault(file, "flush".into(), &error))?;
        // What comes while it is being flushed is for the next time.
        let stamp = stamp_of(&*handle).unwrap_or(FileStamp::doubtful(0));
        let written = self.unsynced.take(self.home(file));
        match handle.sync() {
            Ok(()) => {}
            Err(error) if system::has_nothing_to_flush(&error) => {}
            Err(error) => {
                self.touches.doubt(self.home(file));
                if self.write_anew(file, &written).is_err() {
                    for (start, end) in written {
                        self.unsynced.add(self.home(file), start..end);
                    }
                    return Err(self.fault(file, "flush".into(), &error));
                }
            }
        }
        let certain = !self.touches.is_doubtful(self.home(file));
        Ok(if certain { self.seen(file, stamp) } else { FileStamp::doubtful(stamp.inode) })
    }

    /// Writes what is in a file once more where it was `written`, and makes it durable. A sync that failed
    /// has lost it, and the next one would succeed and prove nothing.
    fn write_anew(&self, file: FileIndex, written: &Stretches) -> io::Result<()> {
        let handle = self.writing(file, 0)?;
        let own = self.own_write(file, &*handle);
        let mut buffer = Vec::new();
        for (&start, &end) in written {
            let mut at = start;
            while at < end {
                buffer.resize((end - at).min(ANEW_AT_ONCE) as usize, 0);
                read_exact_at(&*handle, &mut buffer, at)?;
                write_all_at(&*handle, &buffer, at)?;
                at += buffer.len() as u64;
            }
        }
        drop(own);
        handle.sync()
    }

    /// Makes the names durable of files that were `flushed` for the first time: a file that is not found any
    /// more is lost, whatever is in it.
    fn flush_names(
        &self,
        named: &mut Vec<u64>,
        flushed: &[(FileIndex, FileStamp)],
    ) -> Result<(), DiskFault> {
        if flushed.is_empty() {
            return Ok(());
        }
        if named.is_empty() {
            let placed = self.pool.file_system().sync_place(&self.root);
            placed.map_err(|error| {
                fault("flush the name of".into(), self.root.display().to_string(), &error)
            })?;
        }
        named.resize(self.info.layout().len().div_ceil(64), 0);
        let mut folders = HashSet::new();
        for &(file, _) in flushed {
            let path = self.path(file);
            let is_named = named[file.at() / 64] >> (file.0 % 64) & 1 == 1;
            if is_named || !folders.insert(path.to_path_buf().parent().map(Path::to_path_buf)) {
                continue;
            }
            match self.pool.file_system().sync_names(&self.root, path) {
                // Nothing of it is left.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                result => {
                    result.map_err(|error| self.fault(file, "flush the name of".into(), &error))?
                }
            }
        }
        for &(file, _) in flushed {
            named[file.at() / 64] |= 1 << (file.0 % 64);
        }
        Ok(())
    }

    /// Writes to the file that holds the bytes of `file`.
    fn write_at(
        &self,
        file: FileIndex,
        first: u64,
        offset: u64,
        bytes: &[u8],
    ) -> Result<(), DiskFault> {
        let handle = self
            .writing(file, first)
            .map_err(|error| self.fault(file, "open for writing".into(), &error))?;
        let own = self.own_write(file, &*handle);
        let result = write_all_at(&*handle, bytes, offset);
        drop(own);
        // After the write: what is noted before could be taken by a sync that misses these bytes.
        self.unsynced.add(self.home(file), offset..offset + bytes.len() as u64);
        self.mark(file);
        result.map_err(|error| {
            let operation = format!("write {} bytes at offset {offset} of", bytes.len());
            self.fault(file, operation, &error)
        })
    }

    /// A device was away, and whatever it had not written by then may be lost, without a word.
    fn doubt_what_was_not_flushed(&self) {
        for (at, word) in self.written.get().into_iter().flatten().enumerate() {
            let word = word.load(Ordering::Acquire);
            for bit in (0..64).filter(|bit| word >> bit & 1 == 1) {
                self.touches.doubt(self.home(FileIndex(at as u32 * 64 + bit)));
            }
        }
    }

    fn mark(&self, index: FileIndex) {
        let word = &self.written()[index.at() / 64];
        word.fetch_or(1 << (index.0 % 64), Ordering::Release);
    }
}

impl Backend for Files {
    fn read(&self, file: FileIndex, offset: u64, into: &mut [u8]) -> Result<(), DiskFault> {
        if let Some(aside) = self.aside(file) {
            return self.read_aside(aside, file, offset, into);
        }
        let handle = self.reading(file).map_err(|error| self.fault(file, "open".into(), &error))?;
        if self.touches.is_time() {
            self.look_by_name(file, &*handle)
                .map_err(|error| self.fault(file, "open".into(), &error))?;
        }
        read_exact_at(&*handle, into, offset).map_err(|error| {
            let ends = error.kind() == io::ErrorKind::UnexpectedEof;
            if ends && !self.look(file, &*handle) && !self.is_doubtful(file) {
                self.doubt(file);
            }
            let operation = format!("read {} bytes at offset {offset} of", into.len());
            self.fault(file, operation, &error)
        })
    }

    fn write(&self, file: FileIndex, offset: u64, bytes: &[u8]) -> Result<(), DiskFault> {
        if let Some(aside) = self.aside(file) {
            return self.write_aside(aside, file, offset, bytes);
        }
        let first = if offset == 0 { bytes.len() as u64 } else { 0 };
        self.write_at(file, first, offset, bytes)
    }

    fn may_write(&self) -> Result<(), DiskFault> {
        let may = self.pool.file_system().may_write(&self.root).and_then(|()| self.look_at_root());
        may.map_err(|error| fault("write into".to_owned(), self.root.display().to_string(), &error))
    }

    fn create(&self, file: FileIndex) -> Result<(), DiskFault> {
        if self.aside(file).is_some() {
            return Ok(());
        }
        let (handle, _) = self
            .pool
            .open(|| self.open_to_write(file))
            .map_err(|error| self.fault(file, "create".into(), &error))?;
        self.look(file, &*handle);
        self.mark(file);
        Ok(())
    }

    fn stamp(&self, file: FileIndex) -> Result<Option<FileStamp>, DiskFault> {
        self.find_aside()?;
        let open = || self.pool.file_system().open(&self.root, self.path(file), Access::Read);
        match self.pool.open(open) {
            Ok((handle, stamp)) => {
                if self.look(file, &*handle) {
                    self.replaced(file);
                }
                Ok(Some(self.seen(file, stamp)))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.fault(file, "open".into(), &error)),
        }
    }

    fn extent(&self, file: FileIndex, offset: u64) -> Result<Extent, DiskFault> {
        if let Some(aside) = self.aside(file) {
            return self.extent_aside(aside, file, offset);
        }
        self.reading(file)
            .and_then(|handle| handle.extent(offset))
            .map_err(|error| self.fault(file, "look for data in".into(), &error))
    }

    fn sync(&self) -> Result<Vec<(FileIndex, FileStamp)>, DiskFault> {
        let mut flushed = Vec::new();
        let Some(written) = self.written.get() else { return Ok(flushed) };
        if self.away.load(Ordering::Acquire) {
            // To flush what came back would prove nothing of what was written before.
            let error = io::Error::new(io::ErrorKind::NotFound, "it was away");
            let place = self.root.display().to_string();
            return Err(DiskFault {
                kind: FaultKind::Gone,
                ..fault("flush".into(), place, &error)
            });
        }
        let mut named = self.syncing.lock().expect("a sync does not panic");
        let mut first_fault = None;
        for (at, word) in written.iter().enumerate() {
            let mut rest = word.swap(0, Ordering::Acquire);
            while rest != 0 {
                let file = FileIndex(at as u32 * 64 + rest.trailing_zeros());
                match self.flush(file) {
                    Ok(stamp) => flushed.push((file, stamp)),
                    Err(fault) => {
                        self.mark(file);
                        first_fault.get_or_insert(fault);
                    }
                }
                rest &= rest - 1;
            }
        }
        let result = first_fault.map_or_else(|| self.flush_names(&mut named, &flushed), Err);
        match result {
            Ok(()) => Ok(flushed),
            Err(fault) => {
                flushed.iter().for_each(|&(file, _)| self.mark(file));
                Err(fault)
            }
        }
    }

    fn found(&self, file: FileIndex) {
        self.mark(file);
    }

    fn is_doubtful(&self, file: FileIndex) -> bool {
        self.touches.is_doubtful(self.home(file))
    }

    fn doubt(&self, file: FileIndex) {
        self.touches.doubt(self.home(file));
        // The next save has to tell.
        self.mark(file);
    }

    fn holds(&self, file: FileIndex, offset: u64, length: u64) -> bool {
        self.aside(file).is_none_or(|aside| {
            aside.stretches(&self.info, file, offset, length).all(|stretch| stretch.at.is_some())
        })
    }

    fn tidy(&self) {
        if self.unwanted.is_none() {
            // Most often there is none, and whoever cannot be rid of it has lost nothing.
            let _ = self.pool.file_system().remove(&self.root, &aside::name(&self.info));
        }
    }

    fn is_wanted(&self, file: FileIndex) -> bool {
        self.aside(file).is_none()
    }

    fn is_usable(&self, after: FaultKind) -> bool {
        let file_system = self.pool.file_system();
        if after == FaultKind::Full {
            let enough = self.lacks.load(Ordering::Relaxed).max(ENOUGH);
            // Where nobody knows, trying will tell.
            let room = file_system.room(&self.root);
            let has_room = room.is_ok_and(|room| room.is_none_or(|room| room >= enough));
            if has_room {
                self.lacks.store(0, Ordering::Relaxed);
            }
            return has_room;
        }
        self.close();
        let Ok(now) = file_system.identity(&self.root) else { return false };
        let files = (0..self.info.layout().len() as u32).map(FileIndex);
        let mut seen = files.filter(|&file| self.touches.has_seen(self.home(file))).peekable();
        let is_back = |file| {
            let open = || file_system.open(&self.root, self.path(file), Access::Read);
            self.pool.open(open).is_ok()
        };
        let mut seen_root = self.seen_root.lock().expect("nothing panics while it is locked");
        let is_root = seen.peek().is_some()
            || seen_root.is_none_or(|before| self.is_the_same_place(before, now));
        let usable = is_root && seen.all(is_back);
        if usable {
            *seen_root = Some(now);
            self.doubt_what_was_not_flushed();
        }
        usable
    }

    fn unflushed(&self) -> Vec<(FileIndex, Range<u64>)> {
        let all = self.unsynced.all().into_iter();
        let unflushed = all.filter(|&(file, _)| file != ASIDE).collect();
        self.away.store(false, Ordering::Release);
        unflushed
    }

    fn generation(&self) -> u64 {
        self.touches.generation()
    }

    fn verified(&self, piece: PieceIndex, generation: u64) {
        self.touches.verified(piece, generation);
    }

    fn is_verified(&self, piece: PieceIndex) -> bool {
        self.touches.is_verified(piece)
    }

    fn volume(&self) -> Volume {
        let top = self.file(FileIndex(0)).path.components().next().unwrap_or_default();
        self.pool.file_system().volume(&self.root.join(top))
    }

    fn close(&self) {
        self.pool.evict(self.tenant);
    }
}

/// A write of ours, while it lives.
struct OwnWrite<'a> {
    files: &'a Files,
    index: FileIndex,
    handle: &'a dyn OpenFile,
}

impl Drop for OwnWrite<'_> {
    fn drop(&mut self) {
        self.files.touches.end(self.files.home(self.index), || stamp_of(self.handle));
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        self.close();
    }
}

fn stamp_of(handle: &dyn OpenFile) -> Option<FileStamp> {
    handle.stamp().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        disk::{
            Storage,
            sample::{sample, verdict},
        },
        pieces::job::Verdict,
    };
    use std::{fs, os::unix::fs::PermissionsExt as _, process::Command};

    /// A small file system of its own; only root can make one.
    struct Mount(tempfile::TempDir);

    impl Mount {
        fn new(options: &str) -> Option<Self> {
            let dir = tempfile::tempdir().expect("dir");
            let args = ["-t", "tmpfs", "-o", options, "none"];
            let done = Command::new("mount").args(args).arg(dir.path()).output();
            let done = done.is_ok_and(|output| output.status.success());
            assert!(done || std::env::var_os("DOWNPOUR_MOUNTS").is_none(), "it cannot be mounted");
            done.then(|| Mount(dir))
        }
    }

    impl Drop for Mount {
        fn drop(&mut self) {
            let _ = Command::new("umount").arg(self.0.path()).output();
        }
    }

    fn write_into(root: &Path) -> Verdict {
        let s = sample(100_000, &[("a", 200_000), ("b", 200_000)]);
        let storage = Storage::on_disk(Arc::clone(&s.info), root, &FilePool::new(4));
        verdict(storage.perform(s.verify(PieceIndex(0))))
    }

    #[test]
    fn a_full_disk_is_met_at_the_first_write() {
        let Some(mount) = Mount::new("size=128k") else { return };
        let Verdict::Failed(fault) = write_into(mount.0.path()) else { panic!("written") };
        assert_eq!(fault.kind, FaultKind::Full, "{fault}");
        let made = fs::metadata(mount.0.path().join("t/a")).expect("made");
        assert_eq!(made.len(), 0, "what there is was not taken in vain");
        assert!(
            fault.to_string().starts_with(
                "could not open for writing `t/a`: no room for its 200000 bytes: No space left"
            ),
            "{fault}"
        );
    }

    #[test]
    fn a_read_only_place_is_a_matter_of_permission() {
        if let Some(mount) = Mount::new("ro") {
            let Verdict::Failed(fault) = write_into(mount.0.path()) else { panic!("written") };
            assert_eq!(fault.kind, FaultKind::Permission, "{fault}");
        }
        if !rustix::process::geteuid().is_root() {
            let dir = tempfile::tempdir().expect("dir");
            fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o555)).expect("set");
            let Verdict::Failed(fault) = write_into(dir.path()) else { panic!("written") };
            assert_eq!(fault.kind, FaultKind::Permission, "{fault}");
        }
    }

    #[test]
    fn room_is_reserved_for_the_whole_file() {
        use std::os::unix::fs::MetadataExt as _;
        let dir = tempfile::tempdir().expect("dir");
        assert_eq!(write_into(dir.path()), Verdict::Good);
        let facts = fs::metadata(dir.path().join("t/a")).expect("created");
        assert_eq!(facts.len(), 200_000);
        // Half of it is written. Not every file system can reserve the rest.
        assert!(facts.blocks() * 512 >= 100_000);
        assert!(!dir.path().join("t/b").exists());
    }

    #[test]
    fn a_missing_output_folder_is_created_before_the_first_write() {
        let dir = tempfile::tempdir().expect("dir");
        let root = dir.path().join("x/y");
        let s = sample(100_000, &[("a", 200_000)]);
        let storage = Storage::on_disk(Arc::clone(&s.info), &root, &FilePool::new(4));
        let Verdict::Failed(fault) = verdict(storage.perform(s.verify(PieceIndex(0)))) else {
            panic!("made by a write")
        };
        assert_eq!(fault.kind, FaultKind::Gone, "{fault}");
        storage.may_write().expect("made");
        assert_eq!(verdict(storage.perform(s.verify(PieceIndex(0)))), Verdict::Good);
        assert!(dir.path().join("x/y/t/a").exists());
    }
}
