//! The file of `tracker --allow`: info hashes, one a line. Read again when it changes.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
    time::SystemTime,
};

use super::{
    exit::{Exit, Failure},
    input,
};
use crate::base::hash::Sha1Hash;

/// A file with info hashes.
#[derive(Debug)]
pub(super) struct AllowFile {
    path: PathBuf,
    /// Of what was read last.
    stamp: Option<Stamp>,
    /// Of what was there at the last look.
    seen: Option<Stamp>,
}

/// Time and length: a file in which they are the same was not changed.
type Stamp = (SystemTime, u64);

impl AllowFile {
    pub(super) const fn new(path: PathBuf) -> Self {
        AllowFile { path, stamp: None, seen: None }
    }

    /// Whether there is something that was not read, or nothing any more; and the same at two looks, because
    /// a file that is just being written is not what it will be.
    pub(super) fn has_changed(&mut self) -> bool {
        let now = stamp(&self.path);
        let before = std::mem::replace(&mut self.seen, now);
        now != self.stamp && now == before
    }

    /// The info hashes in the file.
    ///
    /// # Errors
    /// A [`Failure`] if it can't be read, or a line is no info hash.
    pub(super) fn read(&mut self) -> Result<BTreeSet<Sha1Hash>, Failure> {
        self.stamp = stamp(&self.path);
        self.seen = self.stamp;
        input::read_file(&self.path).and_then(|bytes| parse(&bytes)).map_err(|cause| {
            let sentence = format!("could not use the info hashes in `{}`", self.path.display());
            Failure::new(Exit::Input, sentence).cause(&cause)
        })
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    let facts = fs::metadata(path).ok()?;
    Some((facts.modified().ok()?, facts.len()))
}

/// Blank lines and what follows a `#` are ignored.
fn parse(bytes: &[u8]) -> io::Result<BTreeSet<Sha1Hash>> {
    let text = String::from_utf8_lossy(bytes);
    let mut hashes = BTreeSet::new();
    for (number, line) in (1..).zip(text.lines()) {
        let hash = line.split('#').next().unwrap_or_default().trim();
        if !hash.is_empty() {
            let no_hash = |_| io::Error::other(format!("line {number} is not an info hash"));
            hashes.insert(hash.parse().map_err(no_hash)?);
        }
    }
    Ok(hashes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_hash_a_line_and_remarks() {
        let hash = "0123456789abcdef0123456789abcdef01234567";
        let text = format!("# ours\n\n  {hash}  # the first\r\n{}", hash.to_uppercase());
        assert_eq!(parse(text.as_bytes()).expect("valid").len(), 1);
        assert_eq!(parse(b"").expect("valid").len(), 0);
        let err = parse(format!("{hash}\nwhat\n").as_bytes()).expect_err("no hash");
        assert_eq!(err.to_string(), "line 2 is not an info hash");
    }

    #[test]
    fn a_change_is_seen() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("allow");
        let mut file = AllowFile::new(path.clone());
        assert!(file.read().is_err() && !file.has_changed());
        fs::write(&path, "").expect("written");
        assert!(!file.has_changed() && file.has_changed());
        assert!(file.read().expect("valid").is_empty() && !file.has_changed());
        fs::write(&path, "what").expect("written");
        assert!(!file.has_changed() && file.has_changed());
        assert!(file.read().is_err() && !file.has_changed());
        fs::remove_file(&path).expect("removed");
        assert!(!file.has_changed() && file.has_changed());
    }
}
