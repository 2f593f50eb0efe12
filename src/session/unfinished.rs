//! What a run leaves about a torrent that it did not complete: how far it came, and why no farther.
//!
//! One small file beside the resume state, written with it. Nothing depends on it, so it is not flushed, and
//! one that cannot be read is named and passed over.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{clock::Clock, persist};
use crate::{
    base::{hash::Sha1Hash, limits::MAX_WHY_BYTES},
    metainfo::Info,
    why::Told,
};

/// The format that is written, and the only one that is read.
const VERSION: u32 = 1;
/// How the file's name ends.
pub(super) const EXTENSION: &str = "why";

/// A torrent that a run did not complete.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unfinished {
    /// Its info hash in hex; where those meet who have the code, if that is all that is known.
    pub info_hash: String,
    /// Its name.
    pub name: String,
    /// Its file or folder; nothing as long as it is not known what that is called.
    pub path: String,
    /// What is shared is not known yet: only a link, or a code, was given. Nothing is counted in bytes then.
    #[serde(default)]
    pub wants_metadata: bool,
    /// Bytes verified of what is wanted.
    pub done: u64,
    /// Bytes wanted.
    pub total: u64,
    /// When that was so, in seconds since 1970.
    pub saved: i64,
    /// Why it did not get on, the heaviest cause first.
    pub causes: Vec<Told>,
}

impl Unfinished {
    /// A torrent below `root` of which so many bytes are there, of so many, and why there are no more.
    pub(super) fn of(
        info: &Info,
        root: &Path,
        (done, total): (u64, u64),
        causes: Vec<Told>,
    ) -> Self {
        Unfinished {
            path: root.join(info.name()).display().to_string(),
            wants_metadata: false,
            done,
            total,
            ..Unfinished::of_link(info.info_hash().wire(), info.name(), causes)
        }
    }

    /// A link by which nothing was found, whose peers meet there. A code is nobody's to know.
    pub(super) fn of_link(meeting: Sha1Hash, name: &str, causes: Vec<Told>) -> Self {
        Unfinished {
            info_hash: meeting.to_string(),
            name: name.to_owned(),
            path: String::new(),
            wants_metadata: true,
            done: 0,
            total: 0,
            saved: Clock::time_of_day() / 1_000_000_000,
            causes,
        }
    }
}

#[derive(Serialize)]
struct Written<'a> {
    version: u32,
    torrent: &'a Unfinished,
}

#[derive(Deserialize)]
struct Read {
    version: u32,
    torrent: Unfinished,
}

/// What a state folder holds of such torrents.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing {
    /// The torrents, by name.
    pub torrents: Vec<Unfinished>,
    /// Files of others that are damaged, or of another version of the program.
    pub unreadable: Vec<PathBuf>,
}

/// The torrents that runs with this state folder did not complete.
///
/// # Errors
/// The folder cannot be read, or is not there.
pub fn list(state_dir: &Path) -> io::Result<Listing> {
    let entries = match fs::read_dir(persist::folder(state_dir)) {
        Ok(entries) => entries,
        // Nothing was ever kept in it.
        Err(error) if error.kind() == io::ErrorKind::NotFound && state_dir.is_dir() => {
            return Ok(Listing::default());
        }
        Err(error) => return Err(error),
    };
    let mut found = Listing::default();
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == EXTENSION) {
            match read(&path) {
                Some(torrent) => found.torrents.push(torrent),
                None => found.unreadable.push(path),
            }
        }
    }
    found.torrents.sort_by(|a, b| (&a.name, &a.path).cmp(&(&b.name, &b.path)));
    found.unreadable.sort();
    Ok(found)
}

fn read(path: &Path) -> Option<Unfinished> {
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(MAX_WHY_BYTES as u64).read_to_end(&mut bytes).ok()?;
    let read: Read = serde_json::from_slice(&bytes).ok()?;
    (read.version == VERSION).then_some(read.torrent)
}

/// Writes it to `path`, whole or not at all; takes it away when nothing is missing any more.
pub(super) fn keep(path: &Path, torrent: Option<&Unfinished>) -> io::Result<()> {
    let Some(torrent) = torrent else {
        return match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        };
    };
    let text = serde_json::to_vec(&Written { version: VERSION, torrent })?;
    // Two runs may write at once.
    let beside = path.with_extension(format!("{EXTENSION}.new-{}", std::process::id()));
    fs::write(&beside, text)?;
    fs::rename(&beside, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn torrent(name: &str) -> Unfinished {
        let told = Told {
            cause: "all_choke".to_owned(),
            weight: 80,
            line: "9 peers connected, all choke us".to_owned(),
            evidence: "9 peers have what we want and choke us".to_owned(),
            remedy: "Wait.".to_owned(),
        };
        Unfinished {
            info_hash: "00".repeat(20),
            name: name.to_owned(),
            path: format!("/data/{name}"),
            wants_metadata: false,
            done: 5,
            total: 10,
            saved: 7,
            causes: vec![told],
        }
    }

    #[test]
    fn what_is_left_is_found_and_taken_away() {
        let dir = tempfile::tempdir().expect("dir");
        assert_eq!(list(dir.path()).expect("no folder is none"), Listing::default());
        assert!(list(&dir.path().join("mistyped")).is_err());
        let folder = persist::folder(dir.path());
        fs::create_dir_all(&folder).expect("made");
        for name in ["b", "a"] {
            keep(&folder.join(format!("{name}.why")), Some(&torrent(name))).expect("written");
        }
        assert_eq!(list(dir.path()).expect("read").torrents, [torrent("a"), torrent("b")]);
        keep(&folder.join("a.why"), None).expect("taken away");
        keep(&folder.join("a.why"), None).expect("it is not there, as it should be");
        assert_eq!(list(dir.path()).expect("read").torrents, [torrent("b")]);
    }

    #[test]
    fn what_is_damaged_or_of_another_version_is_named() {
        let dir = tempfile::tempdir().expect("dir");
        let folder = persist::folder(dir.path());
        fs::create_dir_all(&folder).expect("made");
        let path = folder.join("a.why");
        keep(&path, Some(&torrent("a"))).expect("written");
        let text = fs::read_to_string(&path).expect("text");
        let bad = [text.replace("\"version\":1", "\"version\":2"), text[..20].to_owned()];
        for bad in bad.into_iter().chain([String::new()]) {
            fs::write(&path, bad).expect("written");
            let found = list(dir.path()).expect("read");
            assert_eq!(found, Listing { torrents: Vec::new(), unreadable: vec![path.clone()] });
        }
    }
}
