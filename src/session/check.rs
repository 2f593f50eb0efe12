//! Compares data on disk with a torrent and names what is wrong: file, pieces, byte range.

use std::{ops::RangeInclusive, path::Path, sync::Arc};

pub use crate::disk::{Effort, FileState, Watch};
use crate::{
    base::index::{FileIndex, PieceIndex},
    disk::{self, FilePool, Found, Storage},
    metainfo::{File, Info},
};

/// Files kept open while checking.
const OPEN_FILES: usize = 64;

/// What a check of data found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Pieces of the torrent.
    pub pieces: u32,
    /// Pieces that are right.
    pub pieces_good: u32,
    /// Bytes of the torrent, padding included.
    pub bytes: u64,
    /// Bytes in pieces that are right.
    pub bytes_good: u64,
    /// The files that are not right, in the order of the torrent.
    pub bad_files: Vec<BadFile>,
}

impl Report {
    /// Whether every byte of every file is right, and no file has more.
    pub const fn is_good(&self) -> bool {
        self.bad_files.is_empty()
    }
}

/// A file that is not right, or not known to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadFile {
    /// Which one.
    pub index: FileIndex,
    /// Its path below the data folder.
    pub path: String,
    /// Its length in the torrent, in bytes.
    pub length: u64,
    /// What is wrong with it as a whole: missing, of the wrong length, not readable.
    pub state: Option<FileState>,
    /// What is wrong in it, ascending; not given for a file that is missing.
    pub ranges: Vec<BadRange>,
}

/// Neighbouring bytes of a file that are wrong for one reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadRange {
    /// The pieces, which may reach into other files.
    pub pieces: RangeInclusive<u32>,
    /// First byte, counted from the start of the file.
    pub offset: u64,
    /// Number of bytes.
    pub length: u64,
    /// Why.
    pub fault: RangeFault,
}

/// Why bytes are not right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RangeFault {
    /// They do not match the hash of their piece. Which of them is not known.
    Wrong,
    /// They are not there, or all zeros as if never written.
    Missing,
    /// Perhaps right: their piece reaches into another file that is not whole.
    Unproven,
}

/// Checks the data of a torrent below `data`, the parent of its top-level file or folder. `None` when
/// it was cancelled.
pub fn check(info: &Arc<Info>, data: &Path, effort: Effort, watch: Watch<'_>) -> Option<Report> {
    let pool = FilePool::new(OPEN_FILES);
    let storage = Storage::on_disk(Arc::clone(info), data, &pool);
    disk::check(&storage, None, effort.at(data), watch).map(|found| report(info, &found))
}

/// Puts what a check found in terms of files.
pub fn report(info: &Info, found: &Found) -> Report {
    let geometry = info.geometry();
    let files = (0..).map(FileIndex).zip(info.layout().files());
    Report {
        pieces: geometry.pieces(),
        pieces_good: found.have.count(),
        bytes: geometry.total(),
        bytes_good: found.have.iter().map(|piece| u64::from(geometry.piece_len(piece))).sum(),
        bad_files: files.filter_map(|(index, file)| bad_file(info, found, index, &file)).collect(),
    }
}

fn bad_file(info: &Info, found: &Found, index: FileIndex, file: &File<'_>) -> Option<BadFile> {
    if !file.is_stored() {
        return None;
    }
    let state = found.fact(index).cloned();
    let ranges = match state {
        Some(FileState::Missing) => Vec::new(),
        _ => bad_ranges(info, found, index, file),
    };
    (state.is_some() || !ranges.is_empty()).then(|| BadFile {
        index,
        path: file.path.to_string(),
        length: file.length,
        state,
        ranges,
    })
}

fn bad_ranges(info: &Info, found: &Found, index: FileIndex, file: &File<'_>) -> Vec<BadRange> {
    let geometry = info.geometry();
    let piece_length = u64::from(geometry.piece_length());
    let end = file.offset + file.length;
    let mut ranges: Vec<BadRange> = Vec::new();
    let mut at = file.offset;
    while at < end {
        let piece = PieceIndex((at / piece_length) as u32);
        let piece_end = (geometry.piece_offset(piece) + piece_length).min(end);
        if !found.have.has(piece) {
            let fault = range_fault(info, found, index, piece);
            match ranges.last_mut() {
                Some(last) if last.fault == fault && *last.pieces.end() + 1 == piece.0 => {
                    last.pieces = *last.pieces.start()..=piece.0;
                    last.length += piece_end - at;
                }
                _ => ranges.push(BadRange {
                    pieces: piece.0..=piece.0,
                    offset: at - file.offset,
                    length: piece_end - at,
                    fault,
                }),
            }
        }
        at = piece_end;
    }
    ranges
}

fn range_fault(info: &Info, found: &Found, file: FileIndex, piece: PieceIndex) -> RangeFault {
    if found.wrong.has(piece) {
        return RangeFault::Wrong;
    }
    let geometry = info.geometry();
    let mut own_fault = false;
    let mut others_fault = false;
    let (offset, length) = (geometry.piece_offset(piece), geometry.piece_len(piece).into());
    for span in info.layout().spans(offset, length) {
        let is_short = match found.fact(span.file) {
            Some(FileState::Missing | FileState::Unreadable(_)) => true,
            Some(FileState::Shorter { length }) => span.offset + span.length > *length,
            Some(FileState::Longer { .. }) | None => false,
        };
        if span.file == file {
            own_fault = is_short;
        } else {
            others_fault |= is_short;
        }
    }
    if others_fault && !own_fault { RangeFault::Unproven } else { RangeFault::Missing }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::sample::{Sample, sample};
    use std::{fs, sync::atomic::AtomicBool};

    fn run(s: &Sample, data: &Path) -> Report {
        let watch = Watch { progress: &|_| {}, cancel: &AtomicBool::new(false) };
        check(&s.info, data, Effort::default(), watch).expect("not cancelled")
    }

    #[test]
    fn each_bad_file_piece_and_range_is_named() {
        let dir = tempfile::tempdir().expect("dir");
        let files = [("a", 100_000), ("b", 100_000), ("c", 100_000), ("d", 55_000), ("e", 0)];
        let s = sample(30_000, &files);
        let pool = FilePool::new(8);
        s.store(&Storage::on_disk(Arc::clone(&s.info), dir.path(), &pool));
        let good = run(&s, dir.path());
        assert!(good.is_good());
        assert_eq!((good.pieces_good, good.bytes_good), (12, 355_000));

        let path = |name: &str| dir.path().join("t").join(name);
        let mut bytes = fs::read(path("a")).expect("read");
        bytes[29_999] ^= 1;
        bytes[30_000] ^= 1;
        fs::write(path("a"), bytes).expect("written");
        fs::remove_file(path("c")).expect("removed");
        fs::write(path("d"), &s.content[300_000..345_000]).expect("written");
        fs::remove_file(path("e")).expect("removed");
        let report = run(&s, dir.path());
        assert_eq!((report.pieces, report.pieces_good), (12, 5));
        assert_eq!((report.bytes, report.bytes_good), (355_000, 150_000));
        let range = |pieces, offset, length, fault| BadRange { pieces, offset, length, fault };
        let bad: Vec<_> =
            report.bad_files.into_iter().map(|f| (f.path, f.state, f.ranges)).collect();
        let want = [
            ("t/a", None, vec![range(0..=1, 0, 60_000, RangeFault::Wrong)]),
            ("t/b", None, vec![range(6..=6, 80_000, 20_000, RangeFault::Unproven)]),
            ("t/c", Some(FileState::Missing), vec![]),
            (
                "t/d",
                Some(FileState::Shorter { length: 45_000 }),
                vec![range(11..=11, 30_000, 25_000, RangeFault::Missing)],
            ),
            ("t/e", Some(FileState::Missing), vec![]),
        ];
        assert_eq!(bad, want.map(|(path, state, ranges)| (path.to_owned(), state, ranges)));
    }

    #[test]
    fn bytes_behind_the_end_and_reserved_room_are_told() {
        let dir = tempfile::tempdir().expect("dir");
        let s = sample(16_384, &[("a", 16_384), ("b", 40_000)]);
        fs::create_dir(dir.path().join("t")).expect("created");
        fs::write(dir.path().join("t/a"), &s.content[..16_385]).expect("written");
        let b = fs::File::create(dir.path().join("t/b")).expect("created");
        b.set_len(40_000).expect("extended");
        let report = run(&s, dir.path());
        let [a, b] = &report.bad_files[..] else { panic!("{report:?}") };
        assert_eq!(a.state, Some(FileState::Longer { length: 16_385 }));
        assert_eq!((a.ranges.len(), b.state.as_ref()), (0, None));
        let missing =
            BadRange { pieces: 1..=3, offset: 0, length: 40_000, fault: RangeFault::Missing };
        assert_eq!(b.ranges, [missing]);
    }
}
