//! What may be believed of resume state, now that the files are looked at again.
//!
//! A file that has its old stamp was not touched. One that has another is still trusted if the run
//! that recorded it was cut off and its last write can have been ours; else somebody else wrote to
//! it, and all of it is in doubt. What somebody else writes into an unfinished file until two minutes
//! after a kill, in place and without changing the length, is not told from our own last writes.

use std::time::Duration;

use crate::{
    base::{
        bitfield::Bitfield,
        file_stamp::FileStamp,
        index::{FileIndex, PartialPiece, PieceIndex},
    },
    metainfo::Info,
};

use super::ResumeState;

/// A run that was cut off can have written for so long after its last save: saves follow one another
/// after 30 s, and one may take a while on a slow disk.
const OWN_WRITES: Duration = Duration::from_secs(120);

/// What resume state says about the pieces of a torrent. A piece in neither set is missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    /// Verified before, and their files are as they were left.
    pub trusted: Bitfield,
    /// To be hashed.
    pub doubtful: Bitfield,
    /// Unfinished pieces whose blocks are still in the files.
    pub partial: Vec<PartialPiece>,
    /// Files that are the ones recorded, whatever became of their content, or that we have made since: not
    /// somebody else's.
    pub own: Vec<FileIndex>,
}

impl Judgement {
    /// Nothing is known: every piece has to be hashed.
    pub fn unknown(info: &Info) -> Self {
        let pieces = info.geometry().pieces();
        Judgement {
            trusted: Bitfield::empty(pieces),
            doubtful: Bitfield::full(pieces),
            partial: Vec::new(),
            own: Vec::new(),
        }
    }

    /// The owner vouches for the files: every piece is taken for good whose files have their full
    /// length `now`; the others have to be hashed.
    pub fn vouched(info: &Info, now: &[Option<FileStamp>]) -> Self {
        let mut judged = Judgement::unknown(info);
        let files = info.layout().files().zip(now);
        let is_whole: Vec<bool> = files
            .map(|(file, stamp)| {
                !file.is_stored() || stamp.is_some_and(|stamp| stamp.length == file.length)
            })
            .collect();
        let geometry = info.geometry();
        for piece in geometry.indices() {
            let mut spans =
                info.layout().spans(geometry.piece_offset(piece), geometry.piece_len(piece).into());
            if spans.all(|span| is_whole[span.file.at()]) {
                judged.trusted.insert(piece);
                judged.doubtful.remove(piece);
            }
        }
        judged
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// As it was left.
    Untouched,
    /// Written to, by us: what was recorded is there, more may be.
    Continued,
    /// Written to by somebody, replaced or gone.
    Changed,
}

impl ResumeState {
    /// Compares with the files as they are `now`, in the order of the torrent.
    pub fn judge(&self, info: &Info, now: &[Option<FileStamp>]) -> Judgement {
        debug_assert_eq!(now.len(), self.files.len());
        let unfinished = self.unfinished(info);
        let files = self.files.iter().zip(now).zip(&unfinished);
        let fates: Vec<Fate> =
            files.map(|((&then, &now), &open)| self.fate(then, now, open)).collect();
        let geometry = info.geometry();
        let pieces = geometry.pieces();
        let mut trusted = Bitfield::empty(pieces);
        let mut doubtful = Bitfield::empty(pieces);
        let files = |piece: PieceIndex| {
            let spans =
                info.layout().spans(geometry.piece_offset(piece), geometry.piece_len(piece).into());
            let stored = spans
                .filter(|span| info.layout().file(span.file).is_some_and(|file| file.is_stored()));
            stored.map(|span| span.file.at())
        };
        let worst = |piece| files(piece).map(|file| fates[file]).max_by_key(|fate| *fate as u8);
        for piece in geometry.indices() {
            match worst(piece) {
                Some(Fate::Changed) => doubtful.insert(piece),
                _ if self.have.has(piece) => match files(piece).all(|file| now[file].is_some()) {
                    true => trusted.insert(piece),
                    false => doubtful.insert(piece),
                },
                None | Some(Fate::Untouched) if self.settled => false,
                _ => doubtful.insert(piece),
            };
        }
        let left = |partial: &&PartialPiece| {
            !self.have.has(partial.piece) && worst(partial.piece) != Some(Fate::Changed)
        };
        let same = |(then, now): (&Option<FileStamp>, &Option<FileStamp>)| {
            then.zip(*now).is_some_and(|(then, now)| then.inode == now.inode)
        };
        let own = (0..)
            .map(FileIndex)
            .zip(self.files.iter().zip(now))
            .filter(|&(file, stamps)| same(stamps) || fates[file.at()] == Fate::Continued);
        Judgement {
            trusted,
            doubtful,
            partial: self.partial.iter().filter(left).cloned().collect(),
            own: own.map(|(file, _)| file).collect(),
        }
    }

    /// Files of which some piece was missing, so that we may have gone on writing to them.
    fn unfinished(&self, info: &Info) -> Vec<bool> {
        let geometry = info.geometry();
        let mut unfinished = vec![false; self.files.len()];
        for piece in geometry.indices().filter(|&piece| !self.have.has(piece)) {
            let (offset, length) = (geometry.piece_offset(piece), geometry.piece_len(piece));
            for span in info.layout().spans(offset, length.into()) {
                unfinished[span.file.at()] = true;
            }
        }
        unfinished
    }

    fn fate(&self, then: Option<FileStamp>, now: Option<FileStamp>, unfinished: bool) -> Fate {
        if then == now {
            return Fate::Untouched;
        }
        let Some(now) = now else { return Fate::Changed };
        let last = self.saved.saturating_add(OWN_WRITES.as_nanos() as i64);
        let first = then.map_or(i64::MIN, |then| then.modified);
        let in_time = (first..=last).contains(&now.modified);
        let same = then.is_none_or(|then| then.inode == now.inode && then.length <= now.length);
        let ours = unfinished && !self.settled && in_time && same;
        if ours { Fate::Continued } else { Fate::Changed }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::metainfo;

    /// A torrent with pieces of 32 KiB; files whose path begins with `.pad/` are padding.
    pub(in crate::resume) fn torrent(files: &[(&str, u64)]) -> Info {
        let total: u64 = files.iter().map(|file| file.1).sum();
        let hashes = vec![7; total.div_ceil(32_768) as usize * 20];
        metainfo::sample::info(32_768, files, &hashes)
    }

    const SECOND: i64 = 1_000_000_000;

    fn stamp(modified: i64) -> Option<FileStamp> {
        Some(FileStamp { length: 65_536, modified: modified * SECOND, inode: 5 })
    }

    /// Two files of two pieces each, of which the first of each is recorded and the last partial.
    fn recorded(settled: bool) -> (Info, ResumeState) {
        let info = torrent(&[("a", 65_536), ("b", 65_536)]);
        let mut have = Bitfield::empty(4);
        have.insert(PieceIndex(0));
        have.insert(PieceIndex(2));
        let state = ResumeState {
            info_hash: info.info_hash().wire(),
            have,
            partial: vec![PartialPiece { piece: PieceIndex(3), blocks: vec![1] }],
            files: vec![stamp(100), stamp(100)],
            saved: 105 * SECOND,
            settled,
            uploaded: 0,
            peers: Vec::new(),
        };
        (info, state)
    }

    fn judged(settled: bool, b: Option<FileStamp>) -> (Vec<u32>, Vec<u32>, usize, Vec<u32>) {
        let (info, state) = recorded(settled);
        let judged = state.judge(&info, &[stamp(100), b]);
        let list = |set: &Bitfield| set.iter().map(|piece| piece.0).collect();
        let own = judged.own.iter().map(|file| file.0).collect();
        (list(&judged.trusted), list(&judged.doubtful), judged.partial.len(), own)
    }

    #[test]
    fn after_an_orderly_end_nothing_is_hashed() {
        assert_eq!(judged(true, stamp(100)), (vec![0, 2], vec![], 1, vec![0, 1]));
    }

    #[test]
    fn after_a_kill_only_what_was_not_recorded_is_hashed() {
        for modified in [100, 101, 224] {
            let want = (vec![0, 2], vec![1, 3], 1, vec![0, 1]);
            assert_eq!(judged(false, stamp(modified)), want, "{modified}");
        }
    }

    #[test]
    fn a_file_that_others_touched_is_hashed_whole() {
        let touched = (vec![0], vec![2, 3], 0, vec![0, 1]);
        assert_eq!(judged(true, stamp(101)), touched);
        let touched = (vec![0], vec![1, 2, 3], 0, vec![0, 1]);
        // Later than we can have written, or earlier than we last saw it.
        assert_eq!(judged(false, stamp(226)), touched);
        assert_eq!(judged(false, stamp(99)), touched);
        let shorter = FileStamp { length: 65_535, modified: 101 * SECOND, inode: 5 };
        assert_eq!(judged(false, Some(shorter)), touched);
        let replaced = FileStamp { length: 65_536, modified: 101 * SECOND, inode: 6 };
        assert_eq!(judged(false, Some(replaced)), (vec![0], vec![1, 2, 3], 0, vec![0]));
        assert_eq!(judged(true, None), (vec![0], vec![2, 3], 0, vec![0]));
    }

    #[test]
    fn a_finished_file_is_not_ours_to_write_to() {
        let (info, mut state) = recorded(false);
        state.have.insert(PieceIndex(3));
        let judged = state.judge(&info, &[stamp(101), stamp(101)]);
        let doubtful: Vec<u32> = judged.doubtful.iter().map(|piece| piece.0).collect();
        assert_eq!(doubtful, [1, 2, 3]);
    }

    #[test]
    fn a_recorded_piece_without_its_file_is_in_doubt() {
        let (info, mut state) = recorded(true);
        for stamp_of_b in [None, Some(FileStamp::doubtful(5))] {
            state.files[1] = stamp_of_b;
            let judged = state.judge(&info, &[stamp(100), None]);
            assert!(judged.doubtful.has(PieceIndex(2)), "{stamp_of_b:?}");
        }
        let judged = state.judge(&info, &[stamp(100), stamp(100)]);
        assert!(judged.doubtful.has(PieceIndex(2)), "a doubtful file is never believed");
    }

    /// A power cut left a part of what was written since, and the file was taken for somebody else's.
    #[test]
    fn a_file_made_since_the_last_save_is_ours() {
        let (info, mut state) = recorded(false);
        state.files[1] = None;
        state.have.remove(PieceIndex(2));
        assert_eq!(state.judge(&info, &[stamp(100), stamp(106)]).own, [FileIndex(0), FileIndex(1)]);
        assert_eq!(state.judge(&info, &[stamp(100), stamp(999)]).own, [FileIndex(0)]);
    }

    #[test]
    fn who_vouches_for_files_is_believed_where_they_are_whole() {
        let (info, _) = recorded(true);
        let short = FileStamp { length: 65_535, modified: 0, inode: 1 };
        let judged = Judgement::vouched(&info, &[stamp(1), Some(short)]);
        assert_eq!(judged.trusted.iter().map(|p| p.0).collect::<Vec<_>>(), [0, 1]);
        assert_eq!(judged.doubtful.iter().map(|p| p.0).collect::<Vec<_>>(), [2, 3]);
        assert!(Judgement::vouched(&info, &[None, None]).trusted.is_empty());
    }

    #[test]
    fn a_piece_is_as_good_as_the_worst_of_its_files() {
        let info = torrent(&[("a", 20_000), ("b", 20_000), (".pad/x", 25_536)]);
        let state = ResumeState {
            info_hash: info.info_hash().wire(),
            have: Bitfield::full(2),
            partial: Vec::new(),
            files: vec![stamp(100), stamp(100), None],
            saved: 105 * SECOND,
            settled: true,
            uploaded: 0,
            peers: Vec::new(),
        };
        let judged = state.judge(&info, &[stamp(101), stamp(100), None]);
        assert_eq!(judged.doubtful.iter().collect::<Vec<_>>(), [PieceIndex(0)]);
        assert_eq!(judged.trusted.iter().collect::<Vec<_>>(), [PieceIndex(1)]);
    }
}
