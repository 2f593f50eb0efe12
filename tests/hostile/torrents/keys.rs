//! Values in torrent files that are missing, too many, of another type or out of range.

use super::{
    Gets::{Refused, Shown},
    Row, row,
};
use crate::bytes::{HASH, around, file, folder, info, list, text, times, torrent};

const NOT_A_LENGTH: &str = "the torrent is damaged: `length` is not a number from 0";
const NO_FILES: &str = "the torrent has no files";

pub(super) fn rows() -> Vec<Row> {
    vec![
        row("a negative length", || torrent(&[("length", b"i-1e")]), Refused(NOT_A_LENGTH)),
        row(
            "a length beyond 64 bits",
            || torrent(&[("length", b"i18446744073709551616e")]),
            Refused(NOT_A_LENGTH),
        ),
        row("a length in words", || torrent(&[("length", b"1:5")]), Refused(NOT_A_LENGTH)),
        row(
            "a negative length among others",
            || folder(&[file("1", &["a"]), file("-1", &["b"])]),
            Refused(NOT_A_LENGTH),
        ),
        row(
            "lengths that overflow together",
            || folder(&[file("9223372036854775807", &["a"]), file("1", &["b"])]),
            Refused("the files are too long: together more than 2^63 bytes"),
        ),
        row(
            "lengths that overflow 64 bits together",
            || folder(&[file("18446744073709551615", &["a"]), file("2", &["b"])]),
            Refused("the files are too long: together more than 2^63 bytes"),
        ),
        row(
            "a length that no number of pieces reaches",
            || torrent(&[("length", b"i9223372036854775807e")]),
            Refused("pieces of 16384 bytes make more than 4000000 pieces"),
        ),
        row(
            "a length that is larger than any disk",
            || {
                let pieces = text(times("a", 20 * 1000));
                let length = format!("i{}e", 1000_u64 << 29);
                torrent(&[
                    ("length", length.as_bytes()),
                    ("piece length", b"i536870912e"),
                    ("pieces", &pieces),
                ])
            },
            Shown,
        ),
        row(
            "a piece length of 0",
            || torrent(&[("piece length", b"i0e")]),
            Refused("a piece length of 0 bytes is not between 1 and 536870912"),
        ),
        row(
            "a negative piece length",
            || torrent(&[("piece length", b"i-16384e")]),
            Refused("the torrent is damaged: `piece length` is not a number from 0"),
        ),
        row(
            "a piece length of a terabyte",
            || torrent(&[("piece length", b"i1099511627776e")]),
            Refused("a piece length of 1099511627776 bytes is not between 1 and 536870912"),
        ),
        row(
            "a piece length that is 0 in 32 bits",
            || torrent(&[("piece length", b"i4294967296e")]),
            Refused("a piece length of 4294967296 bytes is not between 1 and 536870912"),
        ),
        row(
            "pieces of one byte",
            || torrent(&[("piece length", b"i1e"), ("length", b"i1000000000000e")]),
            Refused("pieces of 1 bytes make more than 4000000 pieces"),
        ),
        row("an odd piece length", || torrent(&[("piece length", b"i17e")]), Shown),
        row(
            "half a hash",
            || torrent(&[("pieces", &text("a".repeat(19)))]),
            Refused("the torrent is damaged: 19 bytes of piece hashes for 1 pieces"),
        ),
        row(
            "a hash too many",
            || torrent(&[("pieces", &text("a".repeat(40)))]),
            Refused("the torrent is damaged: 40 bytes of piece hashes for 1 pieces"),
        ),
        row(
            "no hashes",
            || torrent(&[("pieces", b"0:")]),
            Refused("the torrent is damaged: 0 bytes of piece hashes for 1 pieces"),
        ),
        row(
            "hashes of nothing",
            || torrent(&[("length", b"i0e")]),
            Refused("the torrent is damaged: 20 bytes of piece hashes for 0 pieces"),
        ),
        row(
            "hashes in a list",
            || torrent(&[("pieces", &list(&[HASH]))]),
            Refused("the torrent is damaged: `pieces` is not a string"),
        ),
        row(
            "no `pieces`",
            || torrent(&[("pieces", b"")]),
            Refused("the torrent is incomplete: `pieces` is missing"),
        ),
        row(
            "no `piece length`",
            || torrent(&[("piece length", b"")]),
            Refused("the torrent is incomplete: `piece length` is missing"),
        ),
        row(
            "no `name`",
            || torrent(&[("name", b"")]),
            Refused("the torrent is incomplete: `name` is missing"),
        ),
        row(
            "a `name` in a list",
            || torrent(&[("name", b"l1:ae")]),
            Refused("the torrent is damaged: `name` is not a string"),
        ),
        row("no `length` and no `files`", || torrent(&[("length", b"")]), Refused(NO_FILES)),
        row("no files in `files`", || folder(&[]), Refused(NO_FILES)),
        row(
            "`length` and `files`",
            || torrent(&[("files", &[&b"l"[..], &file("5", &["a"]), b"e"].concat())]),
            Refused("the torrent is ambiguous: it has both `length` and `files`"),
        ),
        row(
            "`files` in a dictionary",
            || torrent(&[("length", b""), ("files", b"de")]),
            Refused("the torrent is damaged: `files` is not a list"),
        ),
        row(
            "a number among `files`",
            || folder(&[b"i1e".to_vec()]),
            Refused("the torrent is damaged: `files` is not a list of dictionaries"),
        ),
        row(
            "a path in words",
            || folder(&[b"d6:lengthi1e4:path1:ae".to_vec()]),
            Refused("the torrent is damaged: `path` is not a list of strings"),
        ),
        row(
            "a path of numbers",
            || folder(&[b"d6:lengthi1e4:pathli1eee".to_vec()]),
            Refused("the torrent is damaged: `path` is not a list of strings"),
        ),
        row(
            "a file without a path",
            || folder(&[b"d6:lengthi1ee".to_vec()]),
            Refused("the torrent is damaged: `path` is not a list of strings"),
        ),
        row(
            "a file without a length",
            || folder(&[b"d4:pathl1:aee".to_vec()]),
            Refused("the torrent is incomplete: `length` is missing"),
        ),
        row(
            "only a v2 file tree",
            || torrent(&[("pieces", b""), ("meta version", b"i2e"), ("file tree", b"de")]),
            Refused("v2-only torrents are not yet supported: ask for a v1 or hybrid one"),
        ),
        row(
            "a version of the future",
            || torrent(&[("meta version", b"i3e")]),
            Refused("the torrent has the unknown format version 3"),
        ),
        row(
            "no `info`",
            || b"d8:announce3:a:1e".to_vec(),
            Refused("the torrent is incomplete: `info` is missing"),
        ),
        row(
            "a comment that moves the cursor",
            || {
                let comment = text(format!("a\x1b[2J\x07\u{202e}{}", "b".repeat(100_000)));
                around(&info(&[]), &[("comment", &comment), ("created by", b"5:\x1b]0;x")])
            },
            Shown,
        ),
        row(
            "a tracker that moves the cursor",
            || around(&info(&[]), &[("announce", &text("http://a/\x1b[2J"))]),
            Shown,
        ),
        row(
            "a date after the end of time",
            || around(&info(&[]), &[("creation date", b"i18446744073709551615e")]),
            Shown,
        ),
        row(
            "nodes that are none",
            || around(&info(&[]), &[("nodes", b"ll1:\x1bi5eeli1e1:ael1:ai-1eei5elee")]),
            Shown,
        ),
    ]
}
