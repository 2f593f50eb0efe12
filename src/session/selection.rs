//! Which files of a torrent are wanted, made into what pieces and storage need to know.
//!
//! A piece is wanted as much as the most wanted file in it. How a choice is written is `cli`'s affair.

use crate::{
    base::{bitfield::Bitfield, index::PieceIndex},
    metainfo::Info,
    pieces::Priority,
};

/// How much each piece is wanted, if each file is wanted as `files` says. With `ends_first`, the pieces
/// with the ends of each file that is wanted come before all others, so that players and viewers can
/// begin to make something of it.
pub(super) fn of_pieces(info: &Info, files: &[Priority], ends_first: bool) -> Vec<Priority> {
    let geometry = info.geometry();
    if files.is_empty() && !ends_first {
        return Vec::new();
    }
    let piece_length = u64::from(geometry.piece_length());
    let mut pieces = vec![Priority::Skip; geometry.pieces() as usize];
    let mut before = Priority::default();
    for (index, file) in info.layout().files().enumerate() {
        // Padding belongs to the file in front of it.
        let priority = match file.is_stored() {
            true => files.get(index).copied().unwrap_or_default(),
            false => before,
        };
        before = priority;
        if file.length == 0 || priority == Priority::Skip {
            continue;
        }
        let first = (file.offset / piece_length) as usize;
        let last = ((file.offset + file.length - 1) / piece_length) as usize;
        for piece in &mut pieces[first..=last] {
            *piece = priority.max(*piece);
        }
        if ends_first && file.is_stored() {
            pieces[first] = Priority::High;
            pieces[last] = Priority::High;
        }
    }
    pieces
}

/// Bytes of the pieces that are wanted and that are among `have`, and of all that are wanted.
pub(super) fn tally(info: &Info, files: &[Priority], have: &Bitfield) -> (u64, u64) {
    let (geometry, priorities) = (info.geometry(), of_pieces(info, files, false));
    let is_wanted = |piece: &PieceIndex| {
        priorities.get(piece.0 as usize).is_none_or(|&priority| priority != Priority::Skip)
    };
    geometry.indices().filter(is_wanted).fold((0, 0), |(done, all), piece| {
        let length = u64::from(geometry.piece_len(piece));
        (if have.has(piece) { done + length } else { done }, all + length)
    })
}

/// Whether each file is unwanted; nothing if all are wanted.
pub(super) fn unwanted(info: &Info, files: &[Priority]) -> Option<Box<[bool]>> {
    files.contains(&Priority::Skip).then(|| {
        let of = |(index, file): (usize, crate::metainfo::File<'_>)| {
            file.is_stored() && files.get(index) == Some(&Priority::Skip)
        };
        info.layout().files().enumerate().map(of).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metainfo::sample;
    use Priority::{High, Low, Normal, Skip};

    #[test]
    fn a_piece_is_wanted_as_the_most_wanted_file_in_it() {
        // Pieces of 10 bytes.
        let files = [("a", 15), ("b", 10), ("c", 0), ("d", 30), (".pad/e", 5), ("f", 10)];
        let total: u64 = files.iter().map(|file| file.1).sum();
        let info = sample::info(10, &files, &vec![7; total.div_ceil(10) as usize * 20]);
        let of = |files: [Priority; 6], ends| of_pieces(&info, &files, ends);
        assert_eq!(
            of([Low, High, Normal, Skip, Skip, Normal], false),
            [Low, High, High, Skip, Skip, Skip, Normal]
        );
        assert_eq!(
            of([Skip, Skip, Normal, Normal, Skip, Skip], false),
            [Skip, Skip, Normal, Normal, Normal, Normal, Skip]
        );
        assert_eq!(
            of([Skip, Skip, Normal, Normal, Skip, Skip], true),
            [Skip, Skip, High, Normal, Normal, High, Skip]
        );
        assert!(of_pieces(&info, &[], false).is_empty());
        let mut have = Bitfield::empty(7);
        for piece in [0, 2] {
            have.insert(PieceIndex(piece));
        }
        assert_eq!(tally(&info, &[], &have), (20, 70));
        assert_eq!(tally(&info, &[Skip, Skip, Skip, Normal, Skip, Skip], &have), (10, 40));
        assert_eq!(unwanted(&info, &[]), None);
        let unwanted = unwanted(&info, &[Skip, High, Skip, Low, Skip, Normal]).expect("some");
        assert_eq!(*unwanted, [true, false, true, false, false, false]);
    }
}
