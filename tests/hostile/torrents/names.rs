//! Names and paths in torrent files: where their files would come to lie.

use super::{
    Gets::{Makes, Refused},
    LARGEST, Row, row,
};
use crate::bytes::{empty_folder, file, folder, times, torrent};

/// What becomes of a name of 256 times `x`.
const CUT: &str = "n/xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\
    xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\
    xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx~53dab551";

const OUTSIDE: &str = "the file or folder name \"..\" stands for a folder, not a name: the path \
                       could leave the output folder";
const SLASH: &str =
    "the file or folder name \"/etc/x\" holds a `/`: the path could leave the output folder";
const EMPTY: &str = "the file or folder name \"\" is empty";
const SAME: &str = "two files have the same path `a`";

pub(super) fn rows() -> Vec<Row> {
    vec![
        row("a path that climbs", || folder(&[file("1", &["..", "x"])]), Refused(OUTSIDE)),
        row("a path that climbs later", || folder(&[file("1", &["d", ".."])]), Refused(OUTSIDE)),
        row("a folder named ..", || torrent(&[("name", b"2:..")]), Refused(OUTSIDE)),
        row(
            "a path that stays",
            || folder(&[file("1", &["."])]),
            Refused(
                "the file or folder name \".\" stands for a folder, not a name: the path could \
                 leave the output folder",
            ),
        ),
        row("an absolute path", || folder(&[file("1", &["/etc/x"])]), Refused(SLASH)),
        row("an absolute name", || torrent(&[("name", b"6:/etc/x")]), Refused(SLASH)),
        row("an absolute UTF-8 name", || torrent(&[("name.utf-8", b"6:/etc/x")]), Refused(SLASH)),
        row("an empty component", || folder(&[file("1", &["d", ""])]), Refused(EMPTY)),
        row("an empty name", || torrent(&[("name", b"0:")]), Refused(EMPTY)),
        row(
            "an empty path",
            || folder(&[file::<&str>("1", &[])]),
            Refused("file 1 has an empty path"),
        ),
        row(
            "a zero byte",
            || folder(&[file("1", &["a\0b"])]),
            Refused("the file or folder name \"a\\0b\" holds a zero byte"),
        ),
        row(
            "padding that climbs",
            || folder(&[b"d4:attr1:p6:lengthi1e4:pathl2:..1:xee".to_vec()]),
            Refused(OUTSIDE),
        ),
        row(
            "a link that climbs by its own name",
            || empty_folder(&[b"d4:attr1:l6:lengthi0e4:pathl2:..1:xee".to_vec()]),
            Refused(OUTSIDE),
        ),
        row(
            "a name too long for a file system",
            || empty_folder(&[file("0", &["x".repeat(256)])]),
            Makes(&["n", CUT]),
        ),
        row(
            "too many folders",
            || folder(&[file("1", &["d"; 65])]),
            Refused(
                "the path `d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d\
                 /d/d/d/…` is too long: at most 64 folders and 3072 bytes",
            ),
        ),
        row(
            "a path too long for a system call",
            || folder(&[file("1", &vec!["d".repeat(200); 20])]),
            Refused(
                "the path `dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd\
                 dddddddd…` is too long: at most 64 folders and 3072 bytes",
            ),
        ),
        row(
            "a path of millions of components",
            || {
                let path = [&b"l"[..], &times("1:a", 15_000_000), b"e"].concat();
                folder(&[[&b"d6:lengthi1e4:path"[..], &path, b"e"].concat()])
            },
            Refused(
                "the path `a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a\
                 /a/a/a/…` is too long: at most 64 folders and 3072 bytes",
            ),
        )
        .within(LARGEST),
        row("one path twice", || folder(&[file("1", &["a"]), file("0", &["a"])]), Refused(SAME)),
        row(
            "one path twice, far apart",
            || folder(&[file("1", &["a"]), file("0", &["b"]), file("0", &["a"])]),
            Refused(SAME),
        ),
        row(
            "a file that is a folder",
            || folder(&[file("1", &["a"]), file("0", &["a", "b"])]),
            Refused("`a` is a file, but another file lies in a folder of that name"),
        ),
        row(
            "two names that are the same once they are made printable",
            || empty_folder(&[file("0", &["a\x07"]), file("0", &["a\x08"])]),
            Makes(&["n", "n/a_~1436c49b", "n/a_~2e195840"]),
        ),
        row(
            "a link to elsewhere",
            || {
                let link = b"d4:attr1:l6:lengthi0e4:pathl1:le12:symlink pathl2:..6:secretee";
                empty_folder(&[link.to_vec(), file("0", &["f"])])
            },
            Makes(&["n", "n/f"]),
        ),
        row(
            "a link with content",
            || {
                let link = b"d4:attr1:l6:lengthi99e4:pathl1:le12:symlink pathl2:..6:secretee";
                empty_folder(&[link.to_vec(), file("0", &["f"])])
            },
            Makes(&["n", "n/f"]),
        ),
        row(
            "a path below a link of the same torrent",
            || {
                let link = b"d4:attr1:l6:lengthi0e4:pathl1:le12:symlink pathl2:..6:aroundee";
                empty_folder(&[link.to_vec(), file("0", &["l", "f"])])
            },
            Refused("`l` is a file, but another file lies in a folder of that name"),
        ),
        row(
            "backslashes",
            || empty_folder(&[file("0", &["..\\..\\secret"])]),
            Makes(&["n", "n/..\\..\\secret"]),
        ),
        row(
            "names of devices and options",
            || empty_folder(&[file("0", &["-rf"]), file("0", &["con"]), file("0", &["~"])]),
            Makes(&["n", "n/-rf", "n/con", "n/~"]),
        ),
        row(
            "a name that moves the cursor",
            || empty_folder(&[file("0", &["a\x1b[2J\n\r"])]),
            Makes(&["n", "n/a_[2J__~dcfbc116"]),
        ),
        row(
            "a name that is written from right to left",
            || empty_folder(&[file("0", &["x\u{202e}gpj.exe"])]),
            Makes(&["n", "n/x_gpj~41da3642.exe"]),
        ),
        row(
            "a name that is no text",
            || empty_folder(&[file("0", &[b"\xff\xfe"])]),
            Makes(&["n", "n/__~d62636d8"]),
        ),
    ]
}
