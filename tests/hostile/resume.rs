//! The door of resume state: what lies where an earlier run left its state is set aside and told of, and
//! the data is hashed again.

use std::{fs, path::PathBuf};

use crate::{
    bounded::{Ground, NOBODY},
    bytes::{dict, nested, text, times},
    driver::content::Content,
    table::{Attack, try_all},
};

/// What damaged state gets.
enum Gets {
    /// Exit code 0 after hashing everything, this reason in a warning, and the file is kept beside.
    SetAside(&'static str),
    /// Exit code 0 after hashing everything, and a warning with this in it.
    Told(&'static str),
}
use Gets::{SetAside, Told};

/// Spoils the file at this place, whose bytes are given.
type Spoil = fn(&PathBuf, Vec<u8>);
type Row = Attack<Spoil, Gets>;

const fn row(name: &'static str, input: Spoil, gets: Gets) -> Row {
    Attack::new(name, input, gets)
}

const SEED: [&str; 5] = ["seed", "t.torrent", "--seed-time", "0s", "--json"];

#[test]
fn states() {
    try_all("resume state", rows(), |row| {
        let ground = Ground::new();
        let content = Content::new(3);
        ground.write(&content.name, &content.bytes);
        ground.write("t.torrent", content.torrent());
        let args = [&SEED[..], &NOBODY[..]].concat();
        let seed = || {
            let ran = ground.run(row.bound, &args);
            assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
            ran
        };
        seed();
        let states = "home/.local/state/downpour/resume";
        let [name] = &ground.below(states)[..] else { panic!("one state is kept") };
        let path = ground.path(states).join(name);
        (row.input)(&path, fs::read(&path).expect("readable"));
        let spoilt = ground.look(&["home"]);
        let ran = seed();
        let warnings: Vec<_> = ran.out.lines().filter(|l| l.contains("\"warning\"")).collect();
        let warning = warnings.first().expect("a warning");
        match row.gets {
            SetAside(reason) => {
                let sentence = format!("resume state is not usable, {reason}: it was set aside as");
                assert!(warning.contains(&sentence), "{warning}");
                assert!(path.with_extension("resume.damaged").exists(), "it is kept");
            }
            Told(sentence) => assert!(warning.contains(sentence), "{warning}"),
        }
        assert_eq!(spoilt, ground.look(&["home"]), "nothing else is written");
    });
}

/// State with a checksum that is right, around these bytes.
fn sealed(state: &[u8], version: &str) -> Vec<u8> {
    use sha1::{Digest as _, Sha1};
    let checksum: [u8; 20] = Sha1::digest(state).into();
    dict(&[
        ("checksum", text(checksum)),
        ("state", text(state)),
        ("version", format!("i{version}e").into_bytes()),
    ])
}

fn put(path: &PathBuf, bytes: impl AsRef<[u8]>) {
    fs::write(path, bytes).expect("written");
}

fn rows() -> Vec<Row> {
    vec![
        row(
            "nothing",
            |path, _| put(path, ""),
            SetAside("not valid bencoding at byte 0: the data ends in the middle of a value"),
        ),
        row(
            "garbage",
            |path, _| put(path, [0xff; 5000]),
            SetAside("not valid bencoding at byte 0: no value begins with this byte"),
        ),
        row(
            "half of it",
            |path, bytes| put(path, &bytes[..40]),
            SetAside("not valid bencoding at byte 34: the data ends in the middle of a value"),
        ),
        row(
            "a bit that flipped",
            |path, mut bytes| {
                let at = bytes.len() - 20;
                bytes[at] ^= 1;
                put(path, bytes);
            },
            SetAside("its checksum is wrong"),
        ),
        row(
            "the state of another torrent",
            |path, _| put(path, sealed(&dict(&[("info hash", text([7; 20]))]), "1")),
            SetAside("it is of another torrent"),
        ),
        row(
            "a dictionary of nothing",
            |path, _| put(path, sealed(b"de", "1")),
            SetAside("`info hash` is missing or not valid"),
        ),
        row(
            "a version of the future",
            |path, _| put(path, sealed(b"de", "2")),
            SetAside("its format has version 2, this program knows 1"),
        ),
        row(
            "nesting",
            |path, _| put(path, nested(100_000)),
            SetAside(
                "not valid bencoding at byte 128: lists and dictionaries are nested too deeply",
            ),
        ),
        row(
            "nesting with a checksum",
            |path, _| put(path, sealed(&nested(100_000), "1")),
            SetAside(
                "not valid bencoding at byte 128: lists and dictionaries are nested too deeply",
            ),
        ),
        row(
            "millions of tiny items",
            |path, _| put(path, [b"l", &times("0:", 17_000_000)[..], b"e"].concat()),
            SetAside("not valid bencoding at byte 31999999: there are too many values"),
        )
        .within(crate::table::Bound::SMALL.memory(96)),
        row(
            "a folder in its place",
            |path, _| {
                fs::remove_file(path).expect("there");
                fs::create_dir(path).expect("made");
            },
            Told("could not read `"),
        ),
        row(
            "a link that leads to itself",
            |path, _| {
                fs::remove_file(path).expect("there");
                std::os::unix::fs::symlink(path, path).expect("linked");
            },
            Told("could not read `"),
        ),
    ]
}
