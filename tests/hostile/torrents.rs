//! The door of torrent files: `show` reads each, then `download` is to put it into a folder. Whatever it
//! says, nothing around that folder changes.

mod form;
mod keys;
mod names;

use crate::{
    bounded::{Ground, NOBODY},
    table::{Attack, Bound, try_all},
};

/// What a torrent file gets.
enum Gets {
    /// Exit code 3 and this sentence, from `show` and from `download`; no file is made.
    Refused(&'static str),
    /// It is used without harm: `show` lists it, `download` completes, and exactly these paths are below
    /// the output folder.
    Makes(&'static [&'static str]),
    /// It is used without harm: `show` lists it, and `download` finds nobody who has it. Nothing that it
    /// shows disturbs a terminal.
    Shown,
    /// `show` lists it. It is so large that the other commands would take a test too long.
    OnlyShown,
    /// `show --files` lists its files, of which there are too many to make them.
    OnlyListed,
}
use Gets::{Makes, OnlyListed, OnlyShown, Refused, Shown};

type Row = Attack<fn() -> Vec<u8>, Gets>;

const fn row(name: &'static str, input: fn() -> Vec<u8>, gets: Gets) -> Row {
    Attack::new(name, input, gets)
}

/// The whole file is held twice, once as it was read and once as its info dictionary; reading may
/// reserve twice the length.
const LARGEST: Bound = Bound { seconds: 4, ..Bound::SMALL.memory(224) };

#[test]
fn of_files_and_folders() {
    try_all("names in torrent files", names::rows(), attempt);
}

#[test]
fn keys_and_numbers() {
    try_all("numbers and keys in torrent files", keys::rows(), attempt);
}

#[test]
fn form_and_size() {
    try_all("form and size of torrent files", form::rows(), attempt);
}

fn attempt(row: &Row) {
    let ground = Ground::new();
    ground.write("in.torrent", (row.input)());
    let before = ground.look(&[]);
    let only: Option<&[&str]> = match row.gets {
        OnlyShown => Some(&["show", "in.torrent"]),
        OnlyListed => Some(&["show", "in.torrent", "--files"]),
        Refused(_) | Makes(_) | Shown => None,
    };
    if let Some(only) = only {
        let ran = ground.run(row.bound, only);
        assert_eq!(ran.code, 0, "{}", ran.err);
        ran.expect_printable();
        assert_eq!(before, ground.look(&[]), "`show` writes nothing");
        return;
    }
    let show = ground.run(row.bound, &["show", "in.torrent"]);
    let files = ground.run(row.bound, &["show", "in.torrent", "--files", "--trackers"]);
    assert_eq!(before, ground.look(&[]), "`show` writes nothing");
    let download = [&["download", "in.torrent", "-o", "out"], &NOBODY[..]].concat();
    let download = ground.run(row.bound, &download);
    assert_eq!(before, ground.look(&["out", "home"]), "only the output folder is written to");
    for ran in [&show, &files, &download] {
        ran.expect_printable();
    }
    match row.gets {
        Refused(sentence) => {
            for ran in [&show, &files, &download] {
                ran.expect_refusal(3, sentence);
                assert!(ran.out.is_empty(), "{}", ran.out);
            }
            assert!(!ground.path("out").exists(), "nothing is made of it");
        }
        Makes(paths) => {
            assert_eq!((show.code, files.code, download.code), (0, 0, 0), "{}", download.err);
            assert_eq!(ground.below("out"), paths);
        }
        Shown => {
            assert_eq!((show.code, files.code, download.code), (0, 0, 4), "{}", download.err);
        }
        OnlyShown | OnlyListed => unreachable!("handled before"),
    }
}
