//! One torrent's place on disk: does a [`DiskJob`] and says what came of it.
//!
//! Blocking, and without state of its own but for how far long pieces are hashed, so that a worker or a
//! shard may call it, in any order and from many threads. Maps pieces to files. Padding files (BEP 47) exist only here: they read
//! as zeros and are never written.

use std::{
    collections::BTreeSet,
    path::PathBuf,
    sync::{Arc, OnceLock},
};

use super::{
    backend::{Backend, Extent},
    file_pool::FilePool,
    files::Files,
    memory::Memory,
    verify::{self, Hashing, Prefixes, hash_all},
    volume::Volume,
};
use crate::{
    base::{
        bitfield::Bitfield,
        file_stamp::FileStamp,
        index::{Block, FileIndex, PieceIndex},
        units::BLOCK_LEN,
    },
    metainfo::Info,
    pieces::job::{DiskEvent, DiskFault, DiskJob, FaultKind, Held},
};

/// Other pieces that are tried when one cannot be read.
const OTHERS_TRIED: u32 = 3;

/// The bytes of one torrent.
#[derive(Debug)]
pub struct Storage {
    info: Arc<Info>,
    backend: Box<dyn Backend>,
    prefixes: Prefixes,
    volume: OnceLock<Volume>,
}

impl Storage {
    /// Files below `root`, the parent of the torrent's top-level file or folder. Touches nothing.
    pub fn on_disk(info: Arc<Info>, root: impl Into<PathBuf>, pool: &Arc<FilePool>) -> Self {
        let files = Files::new(Arc::clone(&info), root, pool);
        Storage::new(info, Box::new(files))
    }

    /// The same, but without the files that are `unwanted` (an entry for each) unless they are there.
    pub fn without(
        info: Arc<Info>,
        root: impl Into<PathBuf>,
        pool: &Arc<FilePool>,
        unwanted: Box<[bool]>,
    ) -> Self {
        let files = Files::new(Arc::clone(&info), root, pool).without(unwanted);
        Storage::new(info, Box::new(files))
    }

    /// Takes away what an earlier choice of files left, once nothing of it can be wanted: everything is
    /// there, and no file is unwanted.
    pub fn tidy(&self) {
        self.backend.tidy();
    }

    /// Whether no byte of `piece` is in an unwanted file.
    pub fn is_plain(&self, piece: PieceIndex) -> bool {
        let geometry = self.info.geometry();
        let (offset, length) = (geometry.piece_offset(piece), geometry.piece_len(piece));
        let mut spans = self.info.layout().spans(offset, length.into());
        spans.all(|span| self.backend.is_wanted(span.file))
    }

    /// Whether the bytes of `piece` all have a place here.
    pub fn holds(&self, piece: PieceIndex) -> bool {
        let geometry = self.info.geometry();
        let (offset, length) = (geometry.piece_offset(piece), geometry.piece_len(piece));
        let mut spans = self.info.layout().spans(offset, length.into());
        spans.all(|span| {
            !self.is_stored(span.file) || self.backend.holds(span.file, span.offset, span.length)
        })
    }

    /// Files in RAM, none of which exists yet.
    pub fn in_memory(info: Arc<Info>) -> Self {
        let memory = Memory::new(Arc::clone(&info));
        Storage::new(info, Box::new(memory))
    }

    /// Files of another kind.
    pub fn new(info: Arc<Info>, backend: Box<dyn Backend>) -> Self {
        let (prefixes, volume) = Default::default();
        Storage { info, backend, prefixes, volume }
    }

    /// What is stored here.
    pub const fn info(&self) -> &Arc<Info> {
        &self.info
    }

    /// Where the files are.
    pub fn backend(&self) -> &dyn Backend {
        &*self.backend
    }

    /// Finds out on which volume the files are, or will be; this may wait for that volume.
    pub fn locate(&self) {
        self.volume.get_or_init(|| self.backend.volume());
    }

    /// Where they were when that was found out. Waits for nothing.
    pub fn volume(&self) -> Volume {
        self.volume.get().copied().unwrap_or_default()
    }

    /// Does `job`, whose slabs hold real bytes, and gives its slabs back in the event. For several
    /// at once there is [`perform_batch`].
    pub fn perform(&self, job: DiskJob) -> DiskEvent {
        match self.begin(job) {
            Begun::Done(event) => event,
            Begun::Hashing(mut hashing) => {
                hash_all(&mut [(self, &mut hashing)]);
                hashing.conclude(self)
            }
        }
    }

    /// Does `job` unless something is to be hashed.
    fn begin(&self, job: DiskJob) -> Begun {
        match job {
            DiskJob::Verify { piece, slabs, digests } => {
                Begun::Hashing(Hashing::check(self, piece, slabs, digests))
            }
            DiskJob::Spill { piece, held } => match Hashing::early(self, piece, held) {
                Ok(hashing) => Begun::Hashing(hashing),
                Err(held) => {
                    let result = self.write_held(piece, &held);
                    Begun::Done(DiskEvent::Spilled { piece, held, result })
                }
            },
            DiskJob::Read { peer, run, mut slab } => {
                let bytes = slab.bytes_mut().expect("a session's slabs hold bytes");
                let result = self.read_to_serve(run, &mut bytes[..run.length as usize]);
                Begun::Done(DiskEvent::Read { peer, run, slab, result })
            }
        }
    }

    /// Finds out before anything is fetched whether files can be written at all.
    pub fn may_write(&self) -> Result<(), DiskFault> {
        self.backend.may_write()
    }

    /// Creates the files that have no bytes and are not there; no piece ever writes them.
    pub fn create_empty_files(&self) -> Result<(), DiskFault> {
        let files = (0..).map(FileIndex).zip(self.info.layout().files());
        let empty = files.filter(|(_, file)| file.length == 0 && file.is_stored());
        let is_there = |index| matches!(self.backend.stamp(index), Ok(Some(_)));
        let mut absent = empty.filter(|&(index, _)| !is_there(index)).peekable();
        if absent.peek().is_some() {
            // Nothing else may have made their folder.
            self.may_write()?;
        }
        absent.try_for_each(|(index, _)| self.backend.create(index))
    }

    /// Makes everything written so far durable; gives the files that were written since the last
    /// call, as they look now. Two calls at once follow one another.
    pub fn sync(&self) -> Result<Vec<(FileIndex, FileStamp)>, DiskFault> {
        self.backend.sync().inspect_err(|_| self.prefixes.clear())
    }

    /// `pieces` were found to be right: the next [`Storage::sync`] makes them durable, because whoever
    /// wrote them may not have.
    pub fn found(&self, pieces: &Bitfield) {
        let geometry = self.info.geometry();
        let mut last = None;
        for piece in pieces.iter() {
            let (offset, length) = (geometry.piece_offset(piece), geometry.piece_len(piece));
            for span in self.info.layout().spans(offset, length.into()) {
                if last.replace(span.file) != Some(span.file) && self.is_stored(span.file) {
                    self.backend.found(span.file);
                }
            }
        }
    }

    /// What each file of the torrent looks like now; `None` if it is not there or is never stored.
    ///
    /// # Errors
    /// The first file that is there and cannot be looked at.
    pub fn stamps(&self) -> Result<Vec<Option<FileStamp>>, DiskFault> {
        let files = (0..self.info.layout().len() as u32).map(FileIndex);
        files
            .map(|file| if self.is_stored(file) { self.backend.stamp(file) } else { Ok(None) })
            .collect()
    }

    /// Looks again after a fault of that kind, which may pass, when pieces were `unreadable`: whether it can be used, and
    /// which of those are lost, or of what was written before it. What was hashed of unfinished pieces is not believed any more.
    pub fn look_again(
        &self,
        after: FaultKind,
        unreadable: &BTreeSet<PieceIndex>,
    ) -> Option<Vec<PieceIndex>> {
        self.prefixes.clear();
        if !self.backend.is_usable(after) {
            return None;
        }
        // A full disk keeps what it has.
        let unflushed =
            if after == FaultKind::Full { Vec::new() } else { self.backend.unflushed() };
        let (geometry, layout) = (self.info.geometry(), self.info.layout());
        let pieces = unflushed.into_iter().flat_map(|(file, bytes)| {
            let offset = layout.file(file).map_or(0, |file| file.offset);
            let of = |at: u64| ((offset + at) / u64::from(geometry.piece_length())) as u32;
            (of(bytes.start)..=of(bytes.end - 1)).map(PieceIndex)
        });
        let mut pieces: BTreeSet<PieceIndex> = pieces.collect();
        pieces.extend(unreadable);
        let mut lost = Vec::new();
        for piece in pieces {
            match self.is_right(piece) {
                Ok(true) => {}
                // It is one place that is bad.
                Err(fault) if fault.kind == FaultKind::Unreadable && self.is_readable(piece) => {
                    lost.push(piece);
                }
                Err(fault) if fault.kind.is_away() => return None,
                // Of a file that is there nothing is read only where it ends too early.
                Ok(false) | Err(_) => lost.push(piece),
            }
        }
        Some(lost)
    }

    /// Whether most other pieces than `but`, here and there, can be read, as far as that tells anything.
    pub fn is_readable(&self, but: PieceIndex) -> bool {
        let pieces = u64::from(self.info.geometry().pieces());
        let others = (1..=OTHERS_TRIED).map(|n| {
            let away = pieces * u64::from(n) / u64::from(OTHERS_TRIED + 1);
            PieceIndex(((u64::from(but.0) + away) % pieces) as u32)
        });
        let tried: Vec<bool> =
            others.filter(|piece| *piece != but).filter_map(|piece| self.answers(piece)).collect();
        let good = tried.iter().filter(|&&good| good).count();
        good * 2 >= tried.len()
    }

    /// Whether the disk gives the first block of `piece`, or says that there is none; `None` if it is not asked for
    /// what nobody has written.
    fn answers(&self, piece: PieceIndex) -> Option<bool> {
        let length = BLOCK_LEN.min(self.info.geometry().piece_len(piece));
        let run = Block { piece, begin: 0, length };
        let mut spans = self.info.layout().spans(self.info.geometry().offset(run), 1);
        let span = spans.next().filter(|span| self.is_stored(span.file))?;
        match self.backend.stamp(span.file) {
            Ok(Some(stamp)) if stamp.length > span.offset => {}
            // Nor of what is not there: to look for it would be to miss it.
            Ok(_) => return None,
            Err(_) => return Some(false),
        }
        if matches!(self.backend.extent(span.file, span.offset), Ok(Extent::Hole { .. })) {
            return None;
        }
        let mut bytes = vec![0; length as usize];
        Some(match self.read_run(run, &mut bytes) {
            Ok(()) => true,
            Err(fault) => matches!(fault.kind, FaultKind::Missing | FaultKind::Changed),
        })
    }

    /// Closes the files, such as when the torrent pauses. They open again by themselves.
    pub fn close_files(&self) {
        self.prefixes.clear();
        self.backend.close();
    }

    /// Reads `run` for a peer. If a file of its piece is doubtful, the piece is verified first.
    fn read_to_serve(&self, run: Block, into: &mut [u8]) -> Result<(), DiskFault> {
        self.read_believed(run, into).map_err(not_read)
    }

    fn read_believed(&self, run: Block, into: &mut [u8]) -> Result<(), DiskFault> {
        self.read_run(run, into)?;
        let geometry = self.info.geometry();
        let (offset, length) = (geometry.piece_offset(run.piece), geometry.piece_len(run.piece));
        let mut spans = self.info.layout().spans(offset, length.into());
        let Some(span) = spans.find(|span| self.backend.is_doubtful(span.file)) else {
            return Ok(());
        };
        if self.backend.is_verified(run.piece) {
            return Ok(());
        }
        let generation = self.backend.generation();
        if verify::read_verified(self, run, into)? {
            self.backend.verified(run.piece, generation);
            return Ok(());
        }
        let file = self.info.layout().file(span.file).expect("a span's file exists");
        Err(DiskFault {
            kind: FaultKind::Changed,
            operation: format!("serve piece {} of", run.piece),
            file: file.path.to_string(),
            cause: "another program wrote to it".into(),
        })
    }

    /// Whether `piece` is in the files as it should be. Where it is not, nothing of its files is believed from
    /// here on: what is read of them for peers is verified first.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn is_right(&self, piece: PieceIndex) -> Result<bool, DiskFault> {
        self.look_at(piece).map_err(not_read)
    }

    fn look_at(&self, piece: PieceIndex) -> Result<bool, DiskFault> {
        for file in self.stored_in(piece) {
            // Finds out whether somebody wrote to it.
            self.backend.stamp(file)?;
        }
        let generation = self.backend.generation();
        let is_right = verify::read_verified(self, Block { piece, begin: 0, length: 0 }, &mut [])?;
        if is_right {
            self.backend.verified(piece, generation);
        } else {
            // It says nothing new of files that are doubted already, unless it was found right since.
            let is_news = self.backend.is_verified(piece);
            let doubted = |file| is_news || !self.backend.is_doubtful(file);
            self.stored_in(piece).filter(|f| doubted(*f)).for_each(|f| self.backend.doubt(f));
        }
        Ok(is_right)
    }

    /// The first piece from `from` on, of those in `have`, that lies in a file which is doubted and was not found
    /// right since.
    pub fn next_doubtful(&self, from: PieceIndex, have: &Bitfield) -> Option<PieceIndex> {
        let mut files = (0..self.info.layout().len() as u32).map(FileIndex);
        if !files.any(|file| self.backend.is_doubtful(file)) {
            return None;
        }
        let pieces = (from.0..self.info.geometry().pieces()).map(PieceIndex);
        pieces
            .filter(|piece| have.has(*piece) && !self.backend.is_verified(*piece))
            .find(|piece| self.stored_in(*piece).any(|file| self.backend.is_doubtful(file)))
    }

    /// The files that `piece` lies in, padding left out.
    fn stored_in(&self, piece: PieceIndex) -> impl Iterator<Item = FileIndex> + '_ {
        let geometry = self.info.geometry();
        let (offset, length) = (geometry.piece_offset(piece), geometry.piece_len(piece));
        let spans = self.info.layout().spans(offset, length.into());
        spans.map(|span| span.file).filter(|file| self.is_stored(*file))
    }

    /// Fills `into` with the bytes of `run`, which are as many.
    pub fn read_run(&self, run: Block, into: &mut [u8]) -> Result<(), DiskFault> {
        debug_assert_eq!(into.len(), run.length as usize);
        self.read_content(self.info.geometry().offset(run), into)
    }

    /// Fills `into` with the torrent's content from `offset` on: `Missing` or `Changed` if a file
    /// is not there or too short.
    pub fn read_content(&self, offset: u64, into: &mut [u8]) -> Result<(), DiskFault> {
        let mut rest = into;
        for span in self.info.layout().spans(offset, rest.len() as u64) {
            let (part, behind) = rest.split_at_mut(span.length as usize);
            rest = behind;
            if self.is_stored(span.file) {
                self.backend.read(span.file, span.offset, part)?;
            } else {
                part.fill(0);
            }
        }
        debug_assert!(rest.is_empty(), "the range lies inside the content");
        Ok(())
    }

    /// How far unfinished pieces are hashed.
    pub(super) const fn prefixes(&self) -> &Prefixes {
        &self.prefixes
    }

    /// Writes the filled blocks of a part of `piece` to their final place.
    pub(super) fn write_held(&self, piece: PieceIndex, held: &Held) -> Result<(), DiskFault> {
        let geometry = self.info.geometry();
        let window = window(held, geometry.piece_len(piece));
        let bytes = held.slab.bytes().expect("a session's slabs hold bytes");
        let begin = geometry.piece_offset(piece) + u64::from(held.begin);
        for run in runs(held.filled, window) {
            if run.filled {
                let part = &bytes[run.start as usize..run.end as usize];
                self.write_content(begin + u64::from(run.start), part)?;
            }
        }
        Ok(())
    }

    /// Writes `bytes`, which lie inside the content, from `offset` on.
    fn write_content(&self, offset: u64, bytes: &[u8]) -> Result<(), DiskFault> {
        let mut rest = bytes;
        for span in self.info.layout().spans(offset, rest.len() as u64) {
            let (part, behind) = rest.split_at(span.length as usize);
            rest = behind;
            if self.is_stored(span.file) {
                self.backend.write(span.file, span.offset, part)?;
            }
        }
        Ok(())
    }

    pub(super) fn is_stored(&self, file: FileIndex) -> bool {
        self.info.layout().file(file).is_some_and(|file| file.is_stored())
    }
}

/// What is there and cannot be read, whatever the system calls that.
fn not_read(fault: DiskFault) -> DiskFault {
    match fault.kind {
        FaultKind::Io | FaultKind::Permission => DiskFault { kind: FaultKind::Unreadable, ..fault },
        _ => fault,
    }
}

/// A job that has been begun.
enum Begun {
    /// It is done.
    Done(DiskEvent),
    /// Something to be hashed, side by side with others.
    Hashing(Hashing),
}

/// Does a batch of jobs, of which no two are for one piece, and gives their events in the same order.
/// All that is to be hashed is hashed together.
pub fn perform_batch(batch: Vec<(Arc<Storage>, DiskJob)>) -> Vec<DiskEvent> {
    let mut begun: Vec<_> = batch
        .into_iter()
        .map(|(storage, job)| {
            let begun = storage.begin(job);
            (storage, begun)
        })
        .collect();
    let mut pieces: Vec<_> = begun
        .iter_mut()
        .filter_map(|(storage, begun)| match begun {
            Begun::Done(_) => None,
            Begun::Hashing(hashing) => Some((&**storage, hashing)),
        })
        .collect();
    hash_all(&mut pieces);
    begun
        .into_iter()
        .map(|(storage, begun)| match begun {
            Begun::Done(event) => event,
            Begun::Hashing(hashing) => hashing.conclude(&storage),
        })
        .collect()
}

/// A run of blocks of one slab that are all filled or all not, in bytes from the slab's start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) filled: bool,
    pub(super) start: u32,
    pub(super) end: u32,
}

/// How many bytes of a piece of `piece_len` bytes a slab holds or has room for.
pub(super) fn window(held: &Held, piece_len: u32) -> u32 {
    held.slab.capacity().min(piece_len - held.begin)
}

/// The longest runs of equal bits that cover the first `length` bytes.
pub(super) fn runs(filled: u32, length: u32) -> impl Iterator<Item = Run> {
    let mut start = 0;
    std::iter::from_fn(move || {
        if start >= length {
            return None;
        }
        let rest = filled >> (start / BLOCK_LEN);
        let is_filled = rest & 1 == 1;
        let blocks = if is_filled { rest.trailing_ones() } else { rest.trailing_zeros() };
        let run = Run {
            filled: is_filled,
            start,
            end: blocks.saturating_mul(BLOCK_LEN).saturating_add(start).min(length),
        };
        start = run.end;
        Some(run)
    })
}

#[cfg(test)]
mod tests {
    use super::super::{
        Effort, Watch,
        check::{FileState, check},
        preflight::conflicts,
        sample::{Sample, read, sample, verdict},
        touches::READS_PER_LOOK,
    };
    use super::*;
    use crate::{
        base::{hash::sha1, slab::Slab},
        metainfo,
        pieces::job::Verdict,
    };
    use proptest::prelude::*;
    use std::{
        fs,
        path::Path,
        sync::{Mutex, atomic::AtomicBool},
    };

    fn check_quietly(storage: &Storage) -> super::super::Found {
        let watch = Watch { progress: &|_| {}, cancel: &AtomicBool::new(false) };
        check(storage, None, Effort::default(), watch).expect("not cancelled")
    }

    fn on_disk(s: &Sample, root: &Path) -> Storage {
        Storage::on_disk(Arc::clone(&s.info), root, &FilePool::new(8))
    }

    fn expect_fault(event: DiskEvent, kind: FaultKind) -> DiskFault {
        let fault = match event {
            DiskEvent::Verified { verdict: Verdict::Failed(fault), .. } => fault,
            DiskEvent::Spilled { result: Err(fault), .. }
            | DiskEvent::Read { result: Err(fault), .. } => fault,
            other => panic!("no fault: {other:?}"),
        };
        assert_eq!(fault.kind, kind, "{fault}");
        fault
    }

    const P0: PieceIndex = PieceIndex(0);

    #[test]
    fn runs_cover_the_window() {
        let list = |filled, length| {
            runs(filled, length).map(|r| (r.filled, r.start, r.end)).collect::<Vec<_>>()
        };
        assert_eq!(list(0, 0), []);
        assert_eq!(list(1, 5), [(true, 0, 5)]);
        assert_eq!(list(0, 20_000), [(false, 0, 20_000)]);
        assert_eq!(
            list(0b101, 50_000),
            [
                (true, 0, 16_384),
                (false, 16_384, 32_768),
                (true, 32_768, 49_152),
                (false, 49_152, 50_000)
            ]
        );
        assert_eq!(list(u32::MAX, 262_144), [(true, 0, 262_144)]);
    }

    #[test]
    fn a_wrong_piece_writes_nothing_and_tells_its_blocks_apart() {
        let dir = tempfile::tempdir().expect("dir");
        let s = sample(100_000, &[("a", 100_000)]);
        let storage = on_disk(&s, dir.path());
        let mut slabs = s.held(P0, u64::MAX);
        slabs[0].slab.bytes_mut().expect("bytes")[40_000] ^= 1;
        let want: Vec<u64> = (0..7)
            .map(|i| slabs[0].slab.digest(i * BLOCK_LEN, BLOCK_LEN.min(100_000 - i * BLOCK_LEN)))
            .collect();
        let event = storage.perform(DiskJob::Verify { piece: P0, slabs, digests: false });
        let DiskEvent::Verified { verdict, digests, slabs, .. } = event else {
            panic!("{event:?}")
        };
        assert_eq!((verdict, digests, slabs.len()), (Verdict::Bad, want.clone(), 1));
        assert_eq!(fs::read_dir(dir.path()).expect("list").count(), 0);

        let slabs = s.held(P0, u64::MAX);
        let event = storage.perform(DiskJob::Verify { piece: P0, slabs, digests: true });
        let DiskEvent::Verified { verdict, digests, .. } = event else { panic!("{event:?}") };
        assert_eq!(verdict, Verdict::Good);
        let differ: Vec<usize> = (0..7).filter(|&i| digests[i] != want[i]).collect();
        assert_eq!(differ, [2]);
    }

    #[test]
    fn wrong_blocks_on_disk_have_digests_too() {
        let dir = tempfile::tempdir().expect("dir");
        let s = sample(600_000, &[("a", 600_000)]);
        let storage = on_disk(&s, dir.path());
        let mut held = s.held(P0, u64::MAX);
        held[1].slab.bytes_mut().expect("bytes")[0] ^= 1;
        for held in held {
            let event = storage.perform(DiskJob::Spill { piece: P0, held });
            assert!(matches!(event, DiskEvent::Spilled { result: Ok(()), .. }));
        }
        let event = storage.perform(DiskJob::Verify { piece: P0, slabs: vec![], digests: false });
        let DiskEvent::Verified { verdict, digests, .. } = event else { panic!("{event:?}") };
        assert_eq!((verdict, digests.len()), (Verdict::Bad, 37));
        let good = s.held(P0, u64::MAX);
        assert_eq!(digests[15], good[0].slab.digest(15 * BLOCK_LEN, BLOCK_LEN));
        assert_ne!(digests[16], good[1].slab.digest(0, BLOCK_LEN));
    }

    #[test]
    fn what_another_program_wrote_is_not_served() {
        // Where it is opened anew that is seen at once, else soon.
        for (is_closed, reads) in [(true, 1), (false, READS_PER_LOOK)] {
            another_program_writes(is_closed, reads);
        }
    }

    fn another_program_writes(is_closed: bool, reads: u32) {
        use std::os::unix::fs::FileExt as _;
        let dir = tempfile::tempdir().expect("dir");
        let s = sample(32_768, &[("a", 90_000), ("b", 90_000)]);
        let storage = on_disk(&s, dir.path());
        s.store(&storage);
        let served = |piece: u32, begin: u32| {
            let run = Block { piece: PieceIndex(piece), begin, length: 10_000 };
            let DiskEvent::Read { slab, result, .. } = read(&storage, run) else { panic!() };
            let from = (piece * 32_768 + begin) as usize;
            result.map(|()| {
                assert!(slab.bytes().expect("bytes")[..10_000] == s.content[from..from + 10_000]);
            })
        };
        assert_eq!(served(0, 0), Ok(()));
        let file = fs::File::options().write(true).open(dir.path().join("t/a")).expect("opens");
        file.write_all_at(b"other", 40_000).expect("written");
        file.set_modified(std::time::SystemTime::UNIX_EPOCH).expect("set");
        if is_closed {
            storage.close_files();
        }
        // Pieces 1 and 2 lie in the file too, and 1 holds the change.
        (0..reads).for_each(|_| assert_eq!(served(0, 20_000), Ok(())));
        let fault = served(1, 0).expect_err("not as it was");
        assert_eq!(
            (fault.kind, fault.to_string()),
            (
                FaultKind::Changed,
                "could not serve piece 1 of `t/a`: another program wrote to it".into()
            )
        );
        assert_eq!((served(2, 16_384), served(4, 0)), (Ok(()), Ok(())));
        // What we write ourselves is nobody else's, but who knows what else is in the file.
        s.store(&storage);
        assert_eq!(served(1, 0), Ok(()));
        let [(_, a), (_, b)] = storage.sync().expect("flushed")[..] else { panic!("two files") };
        assert_eq!(a, FileStamp::doubtful(a.inode));
        assert_ne!(b, FileStamp::doubtful(b.inode));
    }

    /// What was open used to be read, and believed of the file that had taken its place.
    #[test]
    fn a_file_that_was_replaced_is_read_by_its_name() {
        let dir = tempfile::tempdir().expect("dir");
        let s = sample(32_768, &[("a", 40_000), ("b", 90_000)]);
        let storage = on_disk(&s, dir.path());
        s.store(&storage);
        // The first read looks by itself.
        assert_eq!(storage.is_right(PieceIndex(2)), Ok(true));
        let (there, other) = (dir.path().join("t/b"), dir.path().join("t/other"));
        let mut bytes = fs::read(&there).expect("read");
        bytes[26_000] ^= 1;
        fs::write(&other, bytes).expect("written");
        fs::rename(&other, &there).expect("renamed");
        assert_eq!(storage.is_right(PieceIndex(2)), Ok(false));
        assert!(!storage.backend().is_verified(PieceIndex(2)));
    }

    /// Of what could not be read nobody heard, and it was announced ever after.
    #[test]
    fn a_bad_place_is_a_lost_piece_and_a_disk_that_gives_nothing_is_waited_for() {
        #[derive(Debug)]
        struct Scratched(Memory, Arc<Mutex<std::ops::Range<u64>>>);

        impl Backend for Scratched {
            fn read(&self, file: FileIndex, offset: u64, into: &mut [u8]) -> Result<(), DiskFault> {
                let end = offset + into.len() as u64;
                let bad = self.1.lock().expect("nobody panics");
                if bad.start < end && offset < bad.end {
                    let error = std::io::Error::from_raw_os_error(5);
                    return Err(super::super::fault::fault("read".into(), "a".into(), &error));
                }
                self.0.read(file, offset, into)
            }

            fn write(&self, file: FileIndex, offset: u64, bytes: &[u8]) -> Result<(), DiskFault> {
                self.0.write(file, offset, bytes)
            }

            fn create(&self, file: FileIndex) -> Result<(), DiskFault> {
                self.0.create(file)
            }

            fn stamp(&self, file: FileIndex) -> Result<Option<FileStamp>, DiskFault> {
                self.0.stamp(file)
            }

            fn extent(&self, file: FileIndex, offset: u64) -> Result<Extent, DiskFault> {
                self.0.extent(file, offset)
            }

            fn sync(&self) -> Result<Vec<(FileIndex, FileStamp)>, DiskFault> {
                self.0.sync()
            }

            fn found(&self, _file: FileIndex) {}

            fn close(&self) {}
        }

        let s = sample(32_768, &[("a", 10 * 32_768)]);
        let bad = Arc::new(Mutex::new(0..0));
        let backend = Scratched(Memory::new(Arc::clone(&s.info)), Arc::clone(&bad));
        let storage = Storage::new(Arc::clone(&s.info), Box::new(backend));
        s.store(&storage);
        let serve = |piece| {
            let peer = crate::base::id::PeerKey { slot: 0, generation: 0 };
            let run = Block { piece: PieceIndex(piece), begin: 0, length: BLOCK_LEN };
            storage.perform(DiskJob::Read { peer, run, slab: Slab::zeroed(BLOCK_LEN) })
        };
        let scratch = |from: u64, to: u64| {
            *bad.lock().expect("nobody panics") = from * 32_768..to * 32_768;
        };
        let bad_ones = [4, 7].map(PieceIndex).into();
        let look = || storage.look_again(FaultKind::Unreadable, &bad_ones);
        scratch(4, 5);
        expect_fault(serve(4), FaultKind::Unreadable);
        assert_eq!(look(), Some(vec![PieceIndex(4)]));
        scratch(0, 10);
        expect_fault(serve(7), FaultKind::Unreadable);
        assert_eq!(look(), None);
        scratch(7, 8);
        assert_eq!(look(), Some(vec![PieceIndex(7)]));
        scratch(0, 0);
        assert!(matches!(serve(7), DiskEvent::Read { result: Ok(()), .. }));
    }

    #[test]
    fn what_was_not_flushed_when_the_files_went_away_is_looked_at_when_they_are_back() {
        let dir = tempfile::tempdir().expect("dir");
        let s = sample(32_768, &[("a", 40_000), ("b", 90_000)]);
        let storage = on_disk(&s, dir.path());
        s.store(&storage);
        let failed = |fault| DiskEvent::Spilled {
            piece: P0,
            held: s.held(P0, 0).remove(0),
            result: Err(fault),
        };
        let spoil = |at: usize| {
            let mut bytes = fs::read(dir.path().join("t/b")).expect("read");
            bytes[at] ^= 1;
            fs::write(dir.path().join("t/b"), bytes).expect("written");
        };
        // Piece 2 begins 25,536 bytes into b.
        spoil(26_000);
        assert_eq!(
            storage.look_again(FaultKind::Full, &BTreeSet::new()),
            Some(vec![]),
            "it keeps what it has"
        );
        assert_eq!(
            storage.look_again(FaultKind::Gone, &BTreeSet::new()),
            Some(vec![PieceIndex(2)])
        );
        spoil(26_000);
        assert_eq!(storage.look_again(FaultKind::Gone, &BTreeSet::new()), Some(vec![]));
        // One that came back shorter than it was.
        let whole = fs::read(dir.path().join("t/b")).expect("read");
        fs::write(dir.path().join("t/b"), &whole[..80_000]).expect("cut");
        assert_eq!(
            storage.look_again(FaultKind::Gone, &BTreeSet::new()),
            Some(vec![PieceIndex(3)])
        );
        fs::write(dir.path().join("t/b"), &whole).expect("mended");
        // Nothing is flushed between its coming back and the look.
        fs::rename(dir.path().join("t"), dir.path().join("u")).expect("away");
        expect_fault(storage.sync().map_or_else(failed, |_| panic!("flushed")), FaultKind::Gone);
        fs::rename(dir.path().join("u"), dir.path().join("t")).expect("back");
        expect_fault(storage.sync().map_or_else(failed, |_| panic!("flushed")), FaultKind::Gone);
        assert_eq!(storage.look_again(FaultKind::Gone, &BTreeSet::new()), Some(vec![]));
        storage.sync().expect("flushed");
        spoil(26_000);
        assert_eq!(
            storage.look_again(FaultKind::Gone, &BTreeSet::new()),
            Some(vec![]),
            "it was durable"
        );
    }

    #[test]
    fn padding_is_verified_and_read_as_zeros_but_never_written() {
        let dir = tempfile::tempdir().expect("dir");
        let s = sample(32_768, &[("a", 20_000), (".pad/12768", 12_768), ("b", 5)]);
        let storage = on_disk(&s, dir.path());
        s.store(&storage);
        assert!(!dir.path().join("t/.pad").exists());
        let run = Block { piece: P0, begin: 19_990, length: 12_000 };
        let DiskEvent::Read { slab, result: Ok(()), .. } = read(&storage, run) else { panic!() };
        assert_eq!(&slab.bytes().expect("bytes")[..12_000], &s.content[19_990..31_990]);
        // Whatever a peer sends as padding, what counts is what is read: a piece that would be right only with other
        // bytes than those was accepted once, and never served so.
        let mut slabs = s.held(P0, u64::MAX);
        slabs[0].slab.bytes_mut().expect("bytes")[32_767] = 1;
        let with_other = sha1(&slabs[0].slab.bytes().expect("bytes")[..32_768]);
        let job = DiskJob::Verify { piece: P0, slabs, digests: false };
        assert_eq!(verdict(storage.perform(job)), Verdict::Good);
        let mut slabs = s.held(P0, u64::MAX);
        slabs[0].slab.bytes_mut().expect("bytes")[32_767] = 1;
        let lengths = [("a", 20_000), (".pad/12768", 12_768)];
        let info = metainfo::sample::info(32_768, &lengths, &with_other.0);
        let storage = on_disk(&Sample { info: Arc::new(info), content: s.content }, dir.path());
        let job = DiskJob::Verify { piece: P0, slabs, digests: false };
        assert_eq!(verdict(storage.perform(job)), Verdict::Bad);
    }

    #[test]
    fn links_below_the_output_folder_are_not_followed() {
        let dir = tempfile::tempdir().expect("dir");
        let outside = tempfile::tempdir().expect("dir");
        let secret = outside.path().join("b");
        fs::write(&secret, vec![7; 70_000]).expect("written");
        let s = sample(65_536, &[("d/b", 70_000)]);
        let link = |to: &Path, at: &str| {
            let at = dir.path().join(at);
            fs::create_dir_all(at.parent().expect("has a parent")).expect("created");
            std::os::unix::fs::symlink(to, at).expect("linked");
        };
        for (to, at) in [(outside.path(), "t"), (outside.path(), "t/d"), (&*secret, "t/d/b")] {
            link(to, at);
            let storage = on_disk(&s, dir.path());
            let fault = expect_fault(storage.perform(s.verify(P0)), FaultKind::Permission);
            assert!(fault.cause.contains("symbolic link"), "{fault}");
            let run = Block { piece: P0, begin: 0, length: 10 };
            expect_fault(read(&storage, run), FaultKind::Unreadable);
            assert!(matches!(check_quietly(&storage).files[0].state, FileState::Unreadable(_)));
            assert_eq!(fs::read(&secret).expect("read"), vec![7; 70_000]);
            assert_eq!(fs::read_dir(outside.path()).expect("list").count(), 1);
            let top = dir.path().join("t");
            fs::remove_file(&top).or_else(|_| fs::remove_dir_all(&top)).expect("removed");
        }
        // The output folder itself may be a link: the user chose it.
        let alias = outside.path().join("alias");
        std::os::unix::fs::symlink(dir.path(), &alias).expect("linked");
        s.store(&on_disk(&s, &alias));
        assert!(dir.path().join("t/d/b").exists());
    }

    #[test]
    fn what_is_not_a_plain_file_is_refused() {
        let dir = tempfile::tempdir().expect("dir");
        let s = sample(16_384, &[("d/a", 10)]);
        let storage = on_disk(&s, dir.path());
        fs::create_dir_all(dir.path().join("t/d/a")).expect("created");
        expect_fault(storage.perform(s.verify(P0)), FaultKind::Io);
        fs::remove_dir(dir.path().join("t/d/a")).expect("removed");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            dir.path().join("t/d/a"),
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::from_raw_mode(0o600),
            0,
        )
        .expect("made a pipe");
        expect_fault(
            read(&storage, Block { piece: P0, begin: 0, length: 1 }),
            FaultKind::Unreadable,
        );
        fs::remove_dir_all(dir.path().join("t/d")).expect("removed");
        fs::write(dir.path().join("t/d"), "a file in place of a folder").expect("written");
        let fault = expect_fault(storage.perform(s.verify(P0)), FaultKind::Permission);
        let wanted = "could not open for writing `t/d/a`: `d` is not a folder";
        assert_eq!(fault.to_string(), wanted);
    }

    #[test]
    fn missing_and_short_files_are_told_apart() {
        let dir = tempfile::tempdir().expect("dir");
        let s = sample(50_000, &[("a", 30_000), ("b", 20_000)]);
        let storage = on_disk(&s, dir.path());
        let run = Block { piece: P0, begin: 29_000, length: 2_000 };
        expect_fault(read(&storage, run), FaultKind::Missing);
        s.store(&storage);
        assert!(matches!(read(&storage, run), DiskEvent::Read { result: Ok(()), .. }));
        let b = fs::OpenOptions::new().write(true).open(dir.path().join("t/b")).expect("opened");
        b.set_len(500).expect("cut");
        let fault = expect_fault(read(&storage, run), FaultKind::Changed);
        assert_eq!(fault.file, "t/b");
        assert_eq!(fault.operation, "read 1000 bytes at offset 0 of");
        // Spilled blocks that have vanished make the check fail, not the piece bad.
        storage.close_files();
        fs::remove_file(dir.path().join("t/b")).expect("removed");
        let job = DiskJob::Verify { piece: P0, slabs: s.held(P0, 1), digests: false };
        expect_fault(storage.perform(job), FaultKind::Gone);
    }

    #[test]
    fn files_that_are_there_grow_but_never_shrink() {
        let dir = tempfile::tempdir().expect("dir");
        let s = sample(16_384, &[("a", 40_000), ("b", 40_000)]);
        fs::create_dir(dir.path().join("t")).expect("created");
        fs::write(dir.path().join("t/a"), &s.content[..20_000]).expect("written");
        fs::write(dir.path().join("t/b"), vec![3; 50_000]).expect("written");
        let storage = on_disk(&s, dir.path());
        let found = check_quietly(&storage);
        assert!(found.have.iter().eq([P0]));
        for i in 1..5 {
            assert_eq!(verdict(storage.perform(s.verify(PieceIndex(i)))), Verdict::Good);
        }
        let a = fs::read(dir.path().join("t/a")).expect("read");
        let b = fs::read(dir.path().join("t/b")).expect("read");
        assert_eq!((&a[..], &b[..40_000]), (&s.content[..40_000], &s.content[40_000..]));
        assert_eq!(b[40_000..], [3; 10_000]);
        let found = check_quietly(&storage);
        assert!(found.have.is_full());
        assert_eq!(found.files.len(), 1);
        assert_eq!(conflicts(&storage, &found).len(), 1);
    }

    #[test]
    fn two_thousand_files_with_sixteen_open() {
        let dir = tempfile::tempdir().expect("dir");
        let names: Vec<String> = (0..2_000).map(|i| format!("d{}/f{i}", i % 7)).collect();
        let files: Vec<(&str, usize)> =
            names.iter().zip(0..).map(|(name, i)| (name.as_str(), i % 300)).collect();
        let s = sample(16_384, &files);
        let pool = FilePool::new(16);
        let storage = Storage::on_disk(Arc::clone(&s.info), dir.path(), &pool);
        s.store(&storage);
        assert_eq!(pool.open_files(), 16);
        storage.sync().expect("flushed");
        let found = check_quietly(&storage);
        assert!(found.have.is_full() && found.files.is_empty());
        assert!(pool.open_files() <= 16);
        drop(storage);
        assert_eq!(pool.open_files(), 0);
    }

    #[test]
    fn a_flush_that_fails_is_tried_again() {
        let dir = tempfile::tempdir().expect("dir");
        let s = sample(16_384, &[("a", 10), ("b", 10)]);
        let storage = on_disk(&s, dir.path());
        s.store(&storage);
        storage.close_files();
        let b = dir.path().join("t/b");
        fs::rename(&b, dir.path().join("t/c")).expect("renamed");
        fs::create_dir(&b).expect("made");
        for _ in 0..2 {
            assert_eq!(storage.sync().expect_err("b is no file").file, "t/b");
        }
        fs::remove_dir(&b).expect("removed");
        // Nothing is recorded while something is gone.
        assert_eq!(storage.sync().expect_err("b is gone").kind, FaultKind::Gone);
        fs::rename(dir.path().join("t/c"), &b).expect("renamed");
        assert_eq!(storage.sync().expect_err("it was away").kind, FaultKind::Gone);
        assert_eq!(storage.look_again(FaultKind::Gone, &BTreeSet::new()), Some(vec![]));
        let flushed = storage.sync().expect("flushed");
        let [(FileIndex(0), a), (FileIndex(1), b)] = flushed[..] else { panic!("{flushed:?}") };
        assert_eq!([a, b].map(|stamp| stamp == FileStamp::doubtful(stamp.inode)), [true; 2]);
    }

    fn layouts() -> impl Strategy<Value = (u32, Vec<usize>)> {
        let length = prop_oneof![Just(0usize), 1usize..200, 1usize..60_000];
        let big = prop_oneof![Just(16_384u32), Just(32_768), Just(300_000), 1_000u32..50_000];
        prop_oneof![
            (1u32..40, prop::collection::vec(0usize..30, 1..12)),
            (big, prop::collection::vec(length, 1..20)),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn what_goes_in_comes_out(
            (piece_length, lengths) in layouts(),
            pads in any::<u32>(), spills in any::<u64>(), drops in any::<bool>(), from in any::<u32>(),
        ) {
            let names: Vec<String> = (0..lengths.len())
                .map(|i| match pads >> (i % 32) & 3 {
                    3 => format!(".pad/{i}"),
                    n => format!("{}f{i}", "d/".repeat(n as usize)),
                })
                .collect();
            let files: Vec<(&str, usize)> =
                names.iter().map(String::as_str).zip(lengths.iter().copied()).collect();
            let s = sample(piece_length, &files);
            let dir = tempfile::tempdir().expect("dir");
            let memory = Storage::in_memory(Arc::clone(&s.info));
            let disk = on_disk(&s, dir.path());
            for storage in [&memory, &disk] {
                for piece in s.info.geometry().indices() {
                    // Some blocks go to disk early; slabs without any other block are given up.
                    for held in s.held(piece, spills) {
                        let event = storage.perform(DiskJob::Spill { piece, held });
                        prop_assert!(matches!(event, DiskEvent::Spilled { result: Ok(()), .. }), "{:?}", event);
                    }
                    let mut slabs = s.held(piece, !spills);
                    slabs.retain(|held| !drops || held.filled != 0);
                    let job = DiskJob::Verify { piece, slabs, digests: false };
                    prop_assert_eq!(verdict(storage.perform(job)), Verdict::Good);
                }
                prop_assert_eq!(storage.create_empty_files(), Ok(()));
                if let Some(piece) = s.info.geometry().piece(from % s.info.geometry().pieces().max(1)) {
                    let begin = from % s.info.geometry().piece_len(piece);
                    let run = Block { piece, begin, length: (s.info.geometry().piece_len(piece) - begin).min(65_536) };
                    let event = read(storage, run);
                    let DiskEvent::Read { slab, result: Ok(()), .. } = event else { panic!("{event:?}") };
                    let bytes: &Slab = &slab;
                    prop_assert_eq!(
                        &bytes.bytes().expect("bytes")[..run.length as usize],
                        &s.piece(piece)[begin as usize..run.end() as usize]
                    );
                }
                let found = check_quietly(storage);
                prop_assert!(found.have.is_full(), "{:?}", found);
                prop_assert_eq!(&found.files, &[]);
                prop_assert_eq!(conflicts(storage, &found), []);
            }
            let mut at = 0;
            for (name, length) in files {
                let there = fs::read(dir.path().join("t").join(name)).ok();
                let want = (!name.starts_with(".pad")).then(|| s.content[at..at + length].to_vec());
                prop_assert_eq!(there, want);
                at += length;
            }
            prop_assert!(disk.sync().is_ok());
        }
    }
}
