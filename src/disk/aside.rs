//! Where bytes of unwanted files are kept: one hidden file beside the torrent's own, so that pieces which
//! such a file shares with others can be verified and served without making the file.
//!
//! Only the two ends of a file can lie in a piece of another file; what is between them has no place
//! here and reads as zeros. Where an end lies depends on the torrent alone: another choice of files
//! finds what an earlier one left. Bytes and places only; whoever reads and writes is `files`.

use crate::{
    base::index::FileIndex,
    metainfo::{File, Info, SafePath},
};

/// Stands for the hidden file among those of the torrent.
pub(super) const ASIDE: FileIndex = FileIndex(u32::MAX);

/// The unwanted files of a torrent.
#[derive(Debug)]
pub(super) struct Aside {
    name: String,
    /// Whether each file is unwanted.
    unwanted: Box<[bool]>,
    /// Where the first end of each file begins.
    begins: Box<[u64]>,
}

/// A stretch of an unwanted file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stretch {
    /// Where it lies in the hidden file; `None` if it has no place there.
    pub(super) at: Option<u64>,
    /// Its length in bytes.
    pub(super) length: u64,
}

impl Aside {
    /// `unwanted` has an entry for each file.
    pub(super) fn new(info: &Info, unwanted: Box<[bool]>) -> Self {
        let piece_length = u64::from(info.geometry().piece_length());
        let mut end = 0;
        let begins = info.layout().files().map(|file| {
            let (head, tail) = ends(&file, piece_length);
            let begin = end;
            end += head + tail;
            begin
        });
        let begins = begins.collect();
        Aside { name: name(info), unwanted, begins }
    }

    /// Whether `file` is unwanted.
    pub(super) fn has(&self, file: FileIndex) -> bool {
        self.unwanted.get(file.at()).copied().unwrap_or(false)
    }

    /// Where the hidden file is, below the output folder.
    pub(super) fn path(&self) -> SafePath<'_> {
        SafePath::of_one(&self.name)
    }

    /// The stretches of `length` bytes from `offset` of `file`, in order.
    pub(super) fn stretches(
        &self,
        info: &Info,
        file: FileIndex,
        offset: u64,
        length: u64,
    ) -> impl Iterator<Item = Stretch> + use<> {
        let facts = info.layout().file(file).expect("the file index is of this torrent");
        let (head, tail) = ends(&facts, info.geometry().piece_length().into());
        let begin = self.begins[file.at()];
        let parts = [
            (0..head, Some(begin)),
            (head..facts.length - tail, None),
            (facts.length - tail..facts.length, Some(begin + head)),
        ];
        let end = offset + length;
        parts.into_iter().filter_map(move |(part, at)| {
            let (from, to) = (part.start.max(offset), part.end.min(end));
            let at = at.map(|at| at + from.saturating_sub(part.start));
            (from < to).then(|| Stretch { at, length: to - from })
        })
    }
}

/// The name of the hidden file of a torrent.
pub(super) fn name(info: &Info) -> String {
    format!(".downpour-{}.parts", info.info_hash().wire())
}

/// Bytes at both ends of a file that lie in pieces of others too.
fn ends(file: &File<'_>, piece_length: u64) -> (u64, u64) {
    let (begin, end) = (file.offset, file.offset + file.length);
    let head = match begin % piece_length {
        0 => 0,
        inside => file.length.min(piece_length - inside),
    };
    let tail = (end % piece_length).min(file.length - head);
    (head, tail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metainfo::sample;

    #[test]
    fn ends_have_places_that_never_overlap() {
        // Pieces of 10 bytes.
        let files = [("a", 7), ("b", 30), ("c", 2), ("d", 1), ("e", 25), ("f", 0), ("g", 5)];
        let total: u64 = files.iter().map(|file| file.1).sum();
        let info = sample::info(10, &files, &vec![7; total.div_ceil(10) as usize * 20]);
        let aside = Aside::new(&info, [true; 7].into());
        let all = |file: u32| {
            let length = info.layout().file(FileIndex(file)).expect("there").length;
            let stretches = aside.stretches(&info, FileIndex(file), 0, length);
            stretches.map(|s| (s.at, s.length)).collect::<Vec<_>>()
        };
        assert_eq!(all(0), [(Some(0), 7)]);
        assert_eq!(all(1), [(Some(7), 3), (None, 20), (Some(10), 7)]);
        assert_eq!(all(2), [(Some(17), 2)]);
        assert_eq!(all(3), [(Some(19), 1)]);
        assert_eq!(all(4), [(None, 20), (Some(20), 5)]);
        assert_eq!(all(5), []);
        assert_eq!(all(6), [(Some(25), 5)]);
        let part: Vec<_> = aside.stretches(&info, FileIndex(1), 2, 3).collect();
        let want = [Stretch { at: Some(9), length: 1 }, Stretch { at: None, length: 2 }];
        assert_eq!(part, want);
    }
}
