//! Hashes what is on disk, on all cores: which pieces are right, and which files are not as the
//! torrent describes them.
//!
//! Reads as little as it can: a piece that reaches into a missing part of a file is missing without
//! being read, and so is one in a hole, unless its bytes are meant to be zeros. How the rest is read
//! and hashed is in `side_by_side`. Changes nothing.

use std::{
    collections::BTreeMap,
    ops::Range,
    sync::{Mutex, OnceLock},
};

use super::{
    backend::Extent,
    effort::Effort,
    side_by_side::{Plan, SideBySide, Watch, deal, on_threads},
    storage::Storage,
};
use crate::{
    base::{
        bitfield::Bitfield,
        hash::{Sha1, Sha1Hash},
        index::{FileIndex, PieceIndex},
    },
    metainfo::Span,
    pieces::job::DiskFault,
};

/// Files looked at before a thread asks for more.
const FILES_AT_ONCE: u32 = 64;

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
/// found).
///
/// `None` when it was cancelled. `watch` hears of every byte of the content once, read or not.
pub fn check(
    storage: &Storage,
    doubtful: Option<&Bitfield>,
    effort: Effort,
    watch: Watch<'_>,
) -> Option<Found> {
    let mut facts = look_at_files(storage, effort, watch)?;
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
    let plan = Plan::new(storage.info().geometry(), effort);
    on_threads(effort, plan, || {
        let hashing = SideBySide::new(plan, watch);
        let mut examiner = Examiner { shared: &shared, hashing, seen: None };
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

const LOCK: &str = "nothing panics while the findings are locked";

fn fact(facts: &[FileFact], file: FileIndex) -> Option<&FileState> {
    facts.binary_search_by_key(&file, |fact| fact.file).ok().map(|at| &facts[at].state)
}

/// Compares the length of every file that is stored.
fn look_at_files(storage: &Storage, effort: Effort, watch: Watch<'_>) -> Option<Vec<FileFact>> {
    let layout = storage.info().layout();
    let facts = Mutex::new(Vec::new());
    deal(effort, layout.len() as u32, FILES_AT_ONCE, || {
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
    hashing: SideBySide<'a>,
    /// The extent found last.
    seen: Option<Seen>,
}

impl Examiner<'_> {
    /// Checks a batch of pieces. False when it was cancelled.
    fn examine(&mut self, pieces: Range<u32>) -> bool {
        let Shared { storage, watch, .. } = *self.shared;
        let info = storage.info();
        let mut present = Vec::with_capacity(pieces.len());
        for piece in pieces.map(PieceIndex) {
            match self.presence(piece) {
                Presence::Present => {
                    present.push(piece);
                    continue;
                }
                Presence::Known | Presence::Absent => {}
                Presence::Hole => {
                    if info.piece_hash(piece) == self.zero_hash(piece) {
                        self.shared.found.lock().expect(LOCK).0.have.insert(piece);
                    }
                }
            }
            (watch.progress)(info.geometry().piece_len(piece).into());
        }
        let read = |offset, into: &mut [u8]| storage.read_content(offset, into);
        let Some(hashes) = self.hashing.hash(&present, read) else {
            return false;
        };
        for (piece, hash) in present.into_iter().zip(hashes) {
            let judged = hash.and_then(|hash| self.judge(piece, hash));
            if let Err(fault) = judged {
                self.cannot_read(piece, fault);
            }
        }
        !watch.is_cancelled()
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
            let is_wanted = self.shared.storage.backend().is_wanted(span.file);
            if (presence == Presence::Hole || !is_wanted) && self.has_data(span) {
                presence = Presence::Present;
            } else if !is_wanted {
                // What was never kept of an unwanted file is not there.
                return Presence::Absent;
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

    /// Notes what the hash of a piece says; a wrong one is looked at again.
    fn judge(&self, piece: PieceIndex, hash: Sha1Hash) -> Result<(), DiskFault> {
        let is_right = hash == self.shared.storage.info().piece_hash(piece);
        let zeros = if is_right { Zeros::default() } else { self.zeros(piece)? };
        let found = &mut self.shared.found.lock().expect(LOCK).0;
        if is_right {
            found.have.insert(piece);
        } else if zeros.any_other {
            found.wrong.insert(piece);
            if !zeros.any_page {
                found.solid.insert(piece);
            }
        }
        Ok(())
    }

    /// Reads `piece` to see what of it is zeros.
    fn zeros(&self, piece: PieceIndex) -> Result<Zeros, DiskFault> {
        let Shared { storage, watch, .. } = self.shared;
        let geometry = storage.info().geometry();
        let mut buffer = vec![0; PAGES.min(geometry.piece_len(piece)) as usize];
        let mut zeros = Zeros::default();
        for at in (0..geometry.piece_len(piece)).step_by(PAGES as usize) {
            if zeros.any_page && zeros.any_other || watch.is_cancelled() {
                break;
            }
            let part = &mut buffer[..PAGES.min(geometry.piece_len(piece) - at) as usize];
            storage.read_content(geometry.piece_offset(piece) + u64::from(at), part)?;
            zeros.look(part);
        }
        Ok(zeros)
    }

    /// A read failed: notes the file at fault.
    fn cannot_read(&self, piece: PieceIndex, fault: DiskFault) {
        let info = self.shared.storage.info();
        let geometry = info.geometry();
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
/// Bytes read at once to look for zeros: whole pages.
const PAGES: u32 = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::{
        FilePool,
        preflight::{ConflictCause, conflicts},
        sample::{Sample, sample, verdict},
    };
    use std::{
        fs,
        num::NonZeroUsize,
        path::Path,
        sync::{
            Arc,
            atomic::{AtomicBool, AtomicU64, Ordering},
        },
    };

    fn threads(n: usize) -> Effort {
        Effort::with_threads(NonZeroUsize::new(n).expect("not zero"))
    }

    fn look(s: &Sample, root: &Path) -> (Storage, Found) {
        let storage = Storage::on_disk(Arc::clone(&s.info), root, &FilePool::new(4));
        let bytes = AtomicU64::new(0);
        let progress = |more| {
            bytes.fetch_add(more, Ordering::Relaxed);
        };
        let watch = Watch { progress: &progress, cancel: &AtomicBool::new(false) };
        let found = check(&storage, None, threads(3), watch).expect("not cancelled");
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
        let k64 = 64 * 1024;
        for piece_length in [7, 1_000, 16_384, k64 - 1, k64, k64 + 1, 262_144, 700_000] {
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
        assert_eq!(check(&storage, None, threads(2), watch), None);
    }
}
