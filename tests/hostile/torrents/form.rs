//! Torrent files that are not bencoding, or far too much of it.

use super::{
    Gets::{Makes, OnlyListed, OnlyShown, Refused, Shown},
    LARGEST, Row, row,
};
use crate::bytes::{HASH, around, empty_folder, info, list, nested, text, times, torrent};

const NESTED: &str = "lists and dictionaries are nested too deeply";
/// So deep that a reader that calls itself ends.
const DEEP: usize = 100_000;

pub(super) fn rows() -> Vec<Row> {
    vec![
        row("nothing", Vec::new, Refused("it is empty")),
        row("a web page", || b"\n<!DOCTYPE html>".to_vec(), Refused("it is a web page")),
        row(
            "zeros",
            || vec![0; 1000],
            Refused(
                "not a torrent file: not valid bencoding at byte 0: no value begins with this byte",
            ),
        ),
        row("a list", || b"le".to_vec(), Refused("not a torrent file: a dictionary is expected")),
        row(
            "`info` in a list",
            || b"d4:infolee".to_vec(),
            Refused("not a torrent file: a dictionary is expected"),
        ),
        row(
            "a number with a leading zero",
            || torrent(&[("length", b"i05e")]),
            Refused("not a torrent file: not valid bencoding at byte 16: malformed integer"),
        ),
        row(
            "a negative zero",
            || torrent(&[("length", b"i-0e")]),
            Refused("not a torrent file: not valid bencoding at byte 16: malformed integer"),
        ),
        row(
            "a length of a string with a leading zero",
            || torrent(&[("name", b"01:a")]),
            Refused("not a torrent file: not valid bencoding at byte 25: malformed string length"),
        ),
        row(
            "a string longer than the file",
            || b"d4:info9999999999:".to_vec(),
            Refused(
                "not a torrent file: not valid bencoding at byte 7: the data ends in the middle of \
                 a value",
            ),
        ),
        row(
            "a string longer than 64 bits count",
            || b"d4:info99999999999999999999:".to_vec(),
            Refused("not a torrent file: not valid bencoding at byte 7: malformed string length"),
        ),
        row(
            "two `info`",
            || [b"d", &text("info")[..], &info(&[]), &text("info"), &info(&[]), b"e"].concat(),
            Refused(
                "not a torrent file: not valid bencoding at byte 82: a dictionary key is repeated",
            ),
        ),
        row(
            "a key twice, far apart",
            || around(&info(&[]), &[("x", b"d1:bi1e1:ai1e1:bi1ee")]),
            Refused(
                "not a torrent file: not valid bencoding at byte 100: a dictionary key is repeated",
            ),
        ),
        row(
            "a key that is no string",
            || around(&info(&[]), &[("x", b"di1ei1ee")]),
            Refused(
                "not a torrent file: not valid bencoding at byte 86: a dictionary key is not a \
                 string",
            ),
        ),
        row(
            "a key without a value",
            || around(&info(&[]), &[("x", b"d1:ae")]),
            Refused(
                "not a torrent file: not valid bencoding at byte 89: a dictionary key has no value",
            ),
        ),
        row(
            "unsorted keys",
            || {
                let pieces = text(HASH);
                let rest = b"12:piece lengthi16384e4:name1:a6:lengthi0ee";
                [b"d4:infod6:pieces0:", &rest[..], b"7:ignored", &pieces, b"e"].concat()
            },
            Makes(&["a"]),
        ),
        row(
            "an end in the middle",
            || torrent(&[])[..60].to_vec(),
            Refused(
                "not a torrent file: not valid bencoding at byte 60: the data ends in the middle of \
                 a value",
            ),
        ),
        row("line ends behind the end", || [&torrent(&[])[..], b"\r\n\r\n"].concat(), Shown),
        row(
            "much behind the end",
            || [torrent(&[]), times("x", 17)].concat(),
            Refused(
                "not a torrent file: not valid bencoding at byte 83: there is data behind the end \
                 of the value",
            ),
        ),
        row(
            "nesting that never closes",
            || times("l", DEEP),
            Refused(constant("not a torrent file: not valid bencoding at byte 128: ", NESTED)),
        ),
        row(
            "dictionaries that never close",
            || times("d1:a", DEEP),
            Refused(constant("not a torrent file: not valid bencoding at byte 512: ", NESTED)),
        ),
        row(
            "nesting in a key that is ignored",
            || around(&info(&[]), &[("x", &nested(DEEP))]),
            Refused(constant("not a torrent file: not valid bencoding at byte 212: ", NESTED)),
        ),
        row(
            "nesting in an ignored key of `info`",
            || torrent(&[("x", &nested(DEEP))]),
            Refused(constant("not a torrent file: not valid bencoding at byte 210: ", NESTED)),
        ),
        row(
            "nesting in place of a name",
            || torrent(&[("name", &nested(DEEP))]),
            Refused(constant("not a torrent file: not valid bencoding at byte 151: ", NESTED)),
        ),
        row(
            "as much nesting as is allowed, in every list",
            || {
                let deep = nested(126);
                let lists = [("announce-list", &deep[..]), ("nodes", &deep), ("url-list", &deep)];
                around(&info(&[("x", &deep)]), &lists)
            },
            Shown,
        ),
        row("a number of a million digits", || {
            around(&info(&[]), &[("x", &[b"i", &times("9", 1_000_000)[..], b"e"].concat())])
        }, Shown),
        row(
            "millions of numbers",
            || around(&info(&[]), &[("x", &[b"l", &times("i0e", 15_000_000)[..], b"e"].concat())]),
            OnlyShown,
        )
        .within(LARGEST),
        row(
            "millions of lists",
            || torrent(&[("x", &[b"l", &times("le", 15_000_000)[..], b"e"].concat())]),
            OnlyShown,
        )
        .within(LARGEST),
        row(
            "millions too many",
            || around(&info(&[]), &[("x", &[b"l", &times("0:", 16_000_000)[..], b"e"].concat())]),
            Refused(
                "not a torrent file: not valid bencoding at byte 32000060: there are too many values",
            ),
        )
        .within(LARGEST),
        row(
            "millions of keys out of order",
            || {
                let keys = (0..1_000_000_u32).rev().flat_map(|n| format!("7:{n:07}le").into_bytes());
                around(&info(&[]), &[("x", &[b"d", &keys.collect::<Vec<u8>>()[..], b"e"].concat())])
            },
            OnlyShown,
        )
        .within(LARGEST),
        row(
            "a million empty files",
            || {
                let file = |n| format!("d6:lengthi0e4:pathl6:{n:06}ee").into_bytes();
                empty_folder(&(0..1_000_000).rev().map(file).collect::<Vec<_>>())
            },
            OnlyListed,
        )
        .within(LARGEST),
        row(
            "a million files and one",
            || {
                let file = |n| format!("d6:lengthi0e4:pathl7:{n:07}ee").into_bytes();
                empty_folder(&(0..=1_000_000).map(file).collect::<Vec<_>>())
            },
            Refused("there are more than 1000000 files"),
        )
        .within(LARGEST),
        row(
            "millions of web seeds and nodes",
            || {
                let seeds = [b"l", &times("3:a:1", 5_000_000)[..], b"e"].concat();
                let nodes = [b"l", &times("l1:ai1ee", 3_000_000)[..], b"e"].concat();
                around(&info(&[]), &[("nodes", &nodes), ("url-list", &seeds)])
            },
            OnlyShown,
        )
        .within(LARGEST),
        row(
            "millions of tiers of trackers",
            || {
                let urls: Vec<String> = (0..256).map(|n| format!("{n:04}")).collect();
                let tiers = [&b"l"[..], &list(&urls), &times("l4:aaaae", 7_000_000), b"e"].concat();
                around(&info(&[]), &[("announce-list", &tiers)])
            },
            OnlyShown,
        )
        .within(LARGEST),
        row(
            "larger than any torrent",
            || [b"d4:info67108864:", &times("x", 64 << 20)[..], b"e"].concat(),
            Refused("larger than any torrent file (64 MiB)"),
        )
        .within(LARGEST),
    ]
}

/// Two parts of a sentence; there are few of them in a run.
fn constant(head: &str, tail: &str) -> &'static str {
    Box::leak(format!("{head}{tail}").into_boxed_str())
}
