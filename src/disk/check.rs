//! Hashes what is on disk, on all cores: which pieces are right, and which files are not as the
//! torrent describes them.
//!
//! Reads as little as it can: a piece that reaches into a missing part of a file is missing without
//! being read, and so is one in a hole, unless its bytes are meant to be zeros. Memory is one buffer
//! a thread. Changes nothing.

use std::{
    collections::BTreeMap,
    num::NonZeroUsize,
    ops::Range,
    sync::{
        Mutex, OnceLock,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
};

use super::{backend::Extent, storage::Storage};
use crate::{
    base::{
        bitfield::Bitfield,
        hash::{Sha1, Sha1Hash, sha1},
        index::{FileIndex, PieceIndex},
    },
    metainfo::Span,
    pieces::job::DiskFault,
};

/// Bytes read at once by each thread: it stays in the second cache until it is hashed.
pub(crate) const BUFFER: u32 = 256 * 1024;
/// Files looked at before a thread asks for more.
const FILES_AT_ONCE: u32 = 64;

/// How to follow a long piece of work, and how to end it early.
#[derive(Clone, Copy)]
pub struct Watch<'a> {
    /// Told how many bytes more are done; called from several threads.
    pub progress: &'a (dyn Fn(u64) + Sync),
    /// Ends the work soon after it becomes true.
    pub cancel: &'a AtomicBool,
}

impl Watch<'_> {
    pub(crate) fn is_cancelled(&self) -> bool {
        self.cancel.load(Ordering::Relaxed)
    }
}

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The pieces that are right.
    pub have: Bitfield,
    /// The pieces that are there, do not match their hash and are not all zeros. What is neither
    /// here nor in `have` is missing at least in part, or was never written.
    pub wrong: Bitfield,
    /// Those of `wrong` without any page of zeros, so that they are not the start of a download:
    /// what it has not written yet reads as zeros.
    pub solid: Bitfield,
    /// The files that are not as the torrent describes them, ascending.
    pub files: Vec<FileFact>,
}

impl Found {
    /// What is to be said of `file`, if it is not simply there in its full length.
    pub fn fact(&self, file: FileIndex) -> Option<&FileState> {
        fact(&self.files, file)
    }
}

/// A file that is not as the torrent describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileFact {
    /// Which one.
    pub file: FileIndex,
    /// How it is.
    pub state: FileState,
}

/// How a file differs from its description.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileState {
    /// It is not there.
    Missing,
    /// It is too short.
    Shorter {
        /// Its length in bytes.
        length: u64,
    },
    /// It is too long; the bytes behind its end were not looked at.
    Longer {
        /// Its length in bytes.
        length: u64,
    },
    /// It, or a part of it, could not be read.
    Unreadable(DiskFault),
}

/// Checks all files, and the pieces in `doubtful` (all when `None`; others are not in what was
/// found), with `threads` threads, one for each core when `None`.
///
/// `None` when it was cancelled. `watch` hears of every byte of the content once, read or not.
pub fn check(
    storage: &Storage,
    doubtful: Option<&Bitfield>,
    threads: Option<NonZeroUsize>,
    watch: Watch<'_>,
) -> Option<Found> {
    let threads = threads.unwrap_or_else(cores);
    let mut facts = look_at_files(storage, threads, watch)?;
    let pieces = storage.info().geometry().pieces();
    let nothing = || Bitfield::empty(pieces);
    let found = Found { have: nothing(), wrong: nothing(), solid: nothing(), files: Vec::new() };
    let shared = Shared {
        storage,
        doubtful,
        watch,
        facts: &facts,
        zeros: [OnceLock::new(), OnceLock::new()],
        found: Mutex::new((found, BTreeMap::new())),
    };
    let at_once = (BUFFER / storage.info().geometry().piece_length()).max(1);
    on_threads(threads, pieces, at_once, || {
        let mut examiner = Examiner { shared: &shared, buffer: Vec::new(), seen: None };
        move |pieces| examiner.examine(pieces)
    });
    if watch.is_cancelled() {
        return None;
    }
    let (mut found, faults) = shared.found.into_inner().expect(LOCK);
    for (file, fault) in faults {
        let state = FileState::Unreadable(fault);
        match facts.binary_search_by_key(&file, |fact| fact.file) {
            Ok(at) => facts[at].state = state,
            Err(at) => facts.insert(at, FileFact { file, state }),
        }
    }
    found.files = facts;
    Some(found)
}

/// Number of threads that can run at once.
pub(crate) fn cores() -> NonZeroUsize {
    std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}

/// Deals `0..count` out to threads in ascending stretches of at most `at_once`. Each thread gets a
/// function from `worker`; it ends when that returns false.
pub(crate) fn on_threads<W: FnMut(Range<u32>) -> bool>(
    threads: NonZeroUsize,
    count: u32,
    at_once: u32,
    worker: impl Fn() -> W + Sync,
) {
    let next = AtomicU32::new(0);
    let run = || {
        let mut work = worker();
        loop {
            let mut from = next.load(Ordering::Relaxed);
            // Never counts beyond `count`, which may be near the largest number.
            let to = loop {
                let to = from.saturating_add(at_once).min(count);
                match next.compare_exchange_weak(from, to, Ordering::Relaxed, Ordering::Relaxed) {
                    Ok(_) => break to,
                    Err(now) => from = now,
                }
            };
            if from >= to || !work(from..to) {
                return;
            }
        }
    };
    let threads = threads.get().min(count.div_ceil(at_once) as usize);
    std::thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(run);
        }
        run();
    });
}

const LOCK: &str = "nothing panics while the findings are locked";

fn fact(facts: &[FileFact], file: FileIndex) -> Option<&FileState> {
    facts.binary_search_by_key(&file, |fact| fact.file).ok().map(|at| &facts[at].state)
}

/// Compares the length of every file that is stored.
fn look_at_files(
    storage: &Storage,
    threads: NonZeroUsize,
    watch: Watch<'_>,
) -> Option<Vec<FileFact>> {
    let layout = storage.info().layout();
    let facts = Mutex::new(Vec::new());
    on_threads(threads, layout.len() as u32, FILES_AT_ONCE, || {
        |files: Range<u32>| {
            for index in files.map(FileIndex) {
                let Some(file) = layout.file(index).filter(|file| file.is_stored()) else {
                    continue;
                };
                let length = storage.backend().stamp(index).map(|s| s.map(|stamp| stamp.length));
                let state = match length {
                    Ok(Some(length)) if length == file.length => continue,
                    Ok(Some(length)) if length < file.length => FileState::Shorter { length },
                    Ok(Some(length)) => FileState::Longer { length },
                    Ok(None) => FileState::Missing,
                    Err(fault) => FileState::Unreadable(fault),
                };
                facts.lock().expect(LOCK).push(FileFact { file: index, state });
            }
            !watch.is_cancelled()
        }
    });
    let mut facts = facts.into_inner().expect(LOCK);
    facts.sort_unstable_by_key(|fact| fact.file);
    (!watch.is_cancelled()).then_some(facts)
}

struct Shared<'a> {
    storage: &'a Storage,
    /// The pieces to look at; all when `None`.
    doubtful: Option<&'a Bitfield>,
    watch: Watch<'a>,
    facts: &'a [FileFact],
    /// Hash of a whole piece of zeros, and of the last piece if it were zeros.
    zeros: [OnceLock<Sha1Hash>; 2],
    found: Mutex<(Found, BTreeMap<FileIndex, DiskFault>)>,
}

/// How much of a piece is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Presence {
    /// Nobody doubts it.
    Known,
    /// A file that it needs is missing, too short or not readable.
    Absent,
    /// Nobody wrote any of it: all zeros.
    Hole,
    /// Some of it was written.
    Present,
}

/// Bytes of a file that are all data or all a hole.
struct Seen {
    file: FileIndex,
    range: Range<u64>,
    is_data: bool,
}

/// One thread's part of the check.
struct Examiner<'a> {
    shared: &'a Shared<'a>,
    buffer: Vec<u8>,
    /// The extent found last.
    seen: Option<Seen>,
}

impl Examiner<'_> {
    /// Checks some pieces that fit the buffer together, or one that does not.
    fn examine(&mut self, pieces: Range<u32>) -> bool {
        let geometry = self.shared.storage.info().geometry();
        let mut from = pieces.start;
        while from < pieces.end {
            let first = PieceIndex(from);
            let presence = self.presence(first);
            // Neighbours that are there are read together with the first.
            let mut to = from + 1;
            if presence == Presence::Present {
                while to < pieces.end && self.presence(PieceIndex(to)) == Presence::Present {
                    to += 1;
                }
            }
            match presence {
                Presence::Known | Presence::Absent => {}
                Presence::Hole => {
                    if self.shared.storage.info().piece_hash(first) == self.zero_hash(first) {
                        self.shared.found.lock().expect(LOCK).0.have.insert(first);
                    }
                }
                Presence::Present => {
                    if let Err(fault) = self.hash(from..to) {
                        self.cannot_read(from..to, fault);
                    }
                }
            }
            if self.shared.watch.is_cancelled() {
                return false;
            }
            let bytes = (from..to).map(|i| u64::from(geometry.piece_len(PieceIndex(i)))).sum();
            (self.shared.watch.progress)(bytes);
            from = to;
        }
        true
    }

    fn presence(&mut self, piece: PieceIndex) -> Presence {
        if self.shared.doubtful.is_some_and(|doubtful| !doubtful.has(piece)) {
            return Presence::Known;
        }
        let info = self.shared.storage.info();
        let geometry = info.geometry();
        let spans =
            info.layout().spans(geometry.piece_offset(piece), u64::from(geometry.piece_len(piece)));
        let mut presence = Presence::Hole;
        for span in spans {
            if !info.layout().file(span.file).is_some_and(|file| file.is_stored()) {
                continue;
            }
            let there = match fact(self.shared.facts, span.file) {
                Some(FileState::Missing | FileState::Unreadable(_)) => false,
                Some(FileState::Shorter { length }) => span.offset + span.length <= *length,
                Some(FileState::Longer { .. }) | None => true,
            };
            if !there {
                return Presence::Absent;
            }
            if presence == Presence::Hole && self.has_data(span) {
                presence = Presence::Present;
            }
        }
        presence
    }

    /// Whether `span` is not one hole.
    fn has_data(&mut self, span: Span) -> bool {
        let mut at = span.offset;
        while at < span.offset + span.length {
            let known = |seen: &&Seen| seen.file == span.file && seen.range.contains(&at);
            let (end, is_data) = match self.seen.as_ref().filter(known) {
                Some(seen) => (seen.range.end, seen.is_data),
                None => match self.shared.storage.backend().extent(span.file, at) {
                    Ok(Extent::Hole { end }) => (end, false),
                    Ok(Extent::Data { end }) => (end, true),
                    // An error is for the read that follows to tell.
                    Err(_) => return true,
                },
            };
            self.seen = Some(Seen { file: span.file, range: at..end, is_data });
            if is_data {
                return true;
            }
            at = end;
        }
        false
    }

    /// Reads and hashes `pieces`, which fit the buffer together unless it is one.
    fn hash(&mut self, pieces: Range<u32>) -> Result<(), DiskFault> {
        let storage = self.shared.storage;
        let geometry = storage.info().geometry();
        self.buffer.resize(BUFFER as usize, 0);
        if pieces.len() == 1 {
            let piece = PieceIndex(pieces.start);
            let (begin, length) = (geometry.piece_offset(piece), geometry.piece_len(piece));
            let (mut hash, mut zeros) = (Sha1::new(), Zeros::default());
            let mut at = 0;
            while at < length && !self.shared.watch.is_cancelled() {
                let part = &mut self.buffer[..BUFFER.min(length - at) as usize];
                storage.read_content(begin + u64::from(at), part)?;
                hash.update(part);
                zeros.look(part);
                at += part.len() as u32;
            }
            self.judge(piece, hash.finish(), zeros);
            return Ok(());
        }
        let lengths = pieces.clone().map(|i| geometry.piece_len(PieceIndex(i)) as usize);
        let bytes = &mut self.buffer[..lengths.clone().sum()];
        storage.read_content(geometry.piece_offset(PieceIndex(pieces.start)), bytes)?;
        let mut rest = &self.buffer[..];
        for (piece, length) in pieces.map(PieceIndex).zip(lengths) {
            let (bytes, behind) = rest.split_at(length);
            rest = behind;
            let mut zeros = Zeros::default();
            zeros.look(bytes);
            self.judge(piece, sha1(bytes), zeros);
        }
        Ok(())
    }

    fn judge(&self, piece: PieceIndex, hash: Sha1Hash, zeros: Zeros) {
        let found = &mut self.shared.found.lock().expect(LOCK).0;
        if hash == self.shared.storage.info().piece_hash(piece) {
            found.have.insert(piece);
        } else if zeros.any_other {
            found.wrong.insert(piece);
            if !zeros.any_page {
                found.solid.insert(piece);
            }
        }
    }

    /// A read failed: each piece gets its own try, and the files at fault are noted.
    fn cannot_read(&mut self, pieces: Range<u32>, fault: DiskFault) {
        if pieces.len() > 1 {
            for piece in pieces {
                if let Err(fault) = self.hash(piece..piece + 1) {
                    self.cannot_read(piece..piece + 1, fault);
                }
            }
            return;
        }
        let info = self.shared.storage.info();
        let geometry = info.geometry();
        let piece = PieceIndex(pieces.start);
        let spans =
            info.layout().spans(geometry.piece_offset(piece), u64::from(geometry.piece_len(piece)));
        let culprit = spans.map(|span| span.file).find(|&file| {
            info.layout().file(file).is_some_and(|file| file.path.to_string() == fault.file)
        });
        if let Some(file) = culprit {
            self.shared.found.lock().expect(LOCK).1.entry(file).or_insert(fault);
        }
    }

    fn zero_hash(&self, piece: PieceIndex) -> Sha1Hash {
        let geometry = self.shared.storage.info().geometry();
        let length = geometry.piece_len(piece);
        let is_short = length != geometry.piece_length();
        *self.shared.zeros[usize::from(is_short)].get_or_init(|| {
            let mut hash = Sha1::new();
            for at in (0..length).step_by(PAGE.len()) {
                hash.update(&PAGE[..PAGE.len().min((length - at) as usize)]);
            }
            hash.finish()
        })
    }
}

/// What of a piece is zeros. A download that was cut off leaves pages of zeros, whether or not the
/// file system still knows them as holes: reading turns a reserved page into one with data.
#[derive(Debug, Clone, Copy, Default)]
struct Zeros {
    any_page: bool,
    any_other: bool,
}

impl Zeros {
    fn look(&mut self, bytes: &[u8]) {
        for page in bytes.chunks(PAGE.len()) {
            if page == &PAGE[..page.len()] {
                self.any_page = true;
            } else {
                self.any_other = true;
            }
        }
    }
}

const PAGE: [u8; 4096] = [0; 4096];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::{
        FilePool,
        preflight::{ConflictCause, conflicts},
        sample::{Sample, sample, verdict},
    };
    use std::{fs, path::Path, sync::Arc, sync::atomic::AtomicU64};

    fn look(s: &Sample, root: &Path) -> (Storage, Found) {
        let storage = Storage::on_disk(Arc::clone(&s.info), root, &FilePool::new(4));
        let bytes = AtomicU64::new(0);
        let progress = |more| {
            bytes.fetch_add(more, Ordering::Relaxed);
        };
        let watch = Watch { progress: &progress, cancel: &AtomicBool::new(false) };
        let found = check(&storage, None, NonZeroUsize::new(3), watch).expect("not cancelled");
        assert_eq!(bytes.into_inner(), s.content.len() as u64);
        (storage, found)
    }

    fn causes(storage: &Storage, found: &Found) -> Vec<(u32, ConflictCause)> {
        conflicts(storage, found).iter().map(|c| (c.file.0, c.cause)).collect()
    }

    fn list(set: &Bitfield) -> Vec<u32> {
        set.iter().map(|piece| piece.0).collect()
    }

    #[test]
    fn every_kind_of_damage_is_found() {
        let dir = tempfile::tempdir().expect("dir");
        let files = [("a", 100_000), ("b", 100_000), ("c", 100_000), ("d", 100_000), ("e", 9)];
        let s = sample(50_000, &files);
        s.store(&Storage::on_disk(Arc::clone(&s.info), dir.path(), &FilePool::new(4)));
        let path = |name: &str| dir.path().join("t").join(name);
        let mut bytes = fs::read(path("a")).expect("read");
        bytes[60_000] ^= 1;
        fs::write(path("a"), bytes).expect("written");
        fs::remove_file(path("b")).expect("removed");
        fs::write(path("c"), &s.content[200_000..299_999]).expect("written");
        fs::write(path("d"), [&s.content[300_000..400_000], b"more"].concat()).expect("written");
        let (storage, found) = look(&s, dir.path());
        assert_eq!(list(&found.have), [0, 4, 6, 7, 8]);
        assert_eq!(list(&found.wrong), [1]);
        let states: Vec<_> = found.files.iter().map(|f| (f.file.0, f.state.clone())).collect();
        let want = [
            (1, FileState::Missing),
            (2, FileState::Shorter { length: 99_999 }),
            (3, FileState::Longer { length: 100_004 }),
        ];
        assert_eq!(states, want);
        let longer = ConflictCause::Longer { length: 100_004, expected: 100_000 };
        assert_eq!(causes(&storage, &found), [(3, longer)]);
    }

    #[test]
    fn a_foreign_file_is_a_conflict_and_an_unfinished_one_is_not() {
        let files = [("foreign", 70_000), ("short", 70_000), ("holes", 70_000), ("empty", 70_000)];
        let dir = tempfile::tempdir().expect("dir");
        let s = sample(16_384, &files);
        fs::create_dir(dir.path().join("t")).expect("created");
        let path = |name: &str| dir.path().join("t").join(name);
        fs::write(path("foreign"), [9; 70_000]).expect("written");
        fs::write(path("short"), [9; 100]).expect("written");
        fs::File::create(path("holes")).expect("created").set_len(70_000).expect("extended");
        fs::File::create(path("empty")).expect("created");
        let (storage, found) = look(&s, dir.path());
        assert!(found.have.is_empty());
        // Again, now that reading has filled the page cache.
        let again = look(&s, dir.path()).1;
        assert_eq!(found, again);
        let nothing = ConflictCause::NothingRight;
        assert_eq!(causes(&storage, &found), [(0, nothing), (1, nothing)]);
        assert_eq!(list(&found.wrong), [0, 1, 2, 3]);
        assert_eq!(list(&found.solid), [0, 1, 2, 3]);
    }

    #[test]
    fn small_files_whose_neighbours_are_missing_are_not_blamed() {
        let dir = tempfile::tempdir().expect("dir");
        let s = sample(16_384, &[("a", 100), ("b", 100), ("c", 100)]);
        fs::create_dir(dir.path().join("t")).expect("created");
        fs::write(dir.path().join("t/b"), &s.content[100..200]).expect("written");
        let (storage, found) = look(&s, dir.path());
        assert_eq!(causes(&storage, &found), []);
        fs::write(dir.path().join("t/a"), [1; 100]).expect("written");
        fs::write(dir.path().join("t/c"), [1; 100]).expect("written");
        let (storage, found) = look(&s, dir.path());
        assert_eq!(causes(&storage, &found).len(), 3);
    }

    #[test]
    fn an_interrupted_download_goes_on() {
        let dir = tempfile::tempdir().expect("dir");
        let s = sample(300_000, &[("a", 1_000_000), ("b", 1_000_000)]);
        let storage = Storage::on_disk(Arc::clone(&s.info), dir.path(), &FilePool::new(4));
        // Part of piece 0 was spilled, piece 3 (in both files) is complete.
        let held = s.held(PieceIndex(0), 0b1100).swap_remove(0);
        storage.perform(crate::pieces::job::DiskJob::Spill { piece: PieceIndex(0), held });
        storage.perform(s.verify(PieceIndex(3)));
        drop(storage);
        let (storage, found) = look(&s, dir.path());
        assert_eq!(list(&found.have), [3]);
        assert_eq!(
            (list(&found.wrong), list(&found.solid), &found.files[..]),
            (vec![0], vec![], &[][..])
        );
        assert_eq!(causes(&storage, &found), []);
    }

    #[test]
    fn zeros_that_were_never_written_count_if_zeros_are_meant() {
        let dir = tempfile::tempdir().expect("dir");
        let s = sample(50_000, &[(".pad/1", 120_000), ("a", 30_000)]);
        let (_, found) = look(&s, dir.path());
        assert_eq!(list(&found.have), [0, 1]);
        let zeros = sample(16_384, &[(".pad/1", 100_000)]);
        // The same hashes, but for a file that is stored.
        let hashes: Vec<_> =
            zeros.info.geometry().indices().map(|piece| zeros.info.piece_hash(piece)).collect();
        let builder = crate::metainfo::Builder::file("z", 100_000, Some(16_384)).expect("valid");
        let info = builder.build(&hashes).expect("valid").info;
        fs::File::create(dir.path().join("z")).expect("created").set_len(100_000).expect("set");
        let (_, found) = look(&Sample { info, content: zeros.content }, dir.path());
        assert!(found.have.is_full());
    }

    #[test]
    fn pieces_longer_than_the_buffer_and_shorter_ones_count_alike() {
        for piece_length in [7, 1_000, 16_384, BUFFER - 1, BUFFER, BUFFER + 1, 700_000] {
            let dir = tempfile::tempdir().expect("dir");
            let length = if piece_length == 7 { 5_000 } else { 1_500_000 };
            let s = sample(piece_length, &[("a", length / 3), ("b", length - length / 3)]);
            s.store(&Storage::on_disk(Arc::clone(&s.info), dir.path(), &FilePool::new(4)));
            let (_, found) = look(&s, dir.path());
            assert!(found.have.is_full(), "{piece_length}");
        }
    }

    #[test]
    fn a_check_can_be_cancelled() {
        let s = sample(16_384, &[("a", 1_000_000)]);
        let storage = Storage::in_memory(Arc::clone(&s.info));
        s.store(&storage);
        assert!(matches!(
            verdict(storage.perform(s.verify(PieceIndex(0)))),
            crate::pieces::job::Verdict::Good
        ));
        let cancel = AtomicBool::new(false);
        let progress = |_| cancel.store(true, Ordering::Relaxed);
        let watch = Watch { progress: &progress, cancel: &cancel };
        assert_eq!(check(&storage, None, NonZeroUsize::new(2), watch), None);
    }
}
