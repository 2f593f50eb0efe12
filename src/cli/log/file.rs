//! A file that begins anew when it is large, or was taken away. The old ones are `FILE.1`, the newest, to `FILE.4`.
//!
//! Lines are whole: each is one write at the end of the file, also when several programs share it.

use std::{
    ffi::OsString,
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

/// Old files that are kept.
const KEPT: u32 = 4;

#[derive(Debug)]
pub(super) struct RotatingFile {
    path: PathBuf,
    file: File,
    /// What is in it.
    len: u64,
    /// What it may hold; of a device or a pipe nothing is counted.
    limit: Option<u64>,
}

impl RotatingFile {
    /// Goes on at the end of what is there.
    pub(super) fn open(path: &Path, limit: u64) -> io::Result<Self> {
        let file = append(path)?;
        let facts = file.metadata()?;
        let limit = facts.is_file().then_some(limit);
        Ok(RotatingFile { path: path.to_owned(), file, len: facts.len(), limit })
    }

    /// Writes one line; a line that is longer than a file may be has one of its own.
    pub(super) fn write(&mut self, line: &[u8]) -> io::Result<()> {
        if self.is_too_much(line) {
            // Another program with the same log may have begun a new one.
            self.reopen()?;
            if self.is_too_much(line) && self.rotate().is_err() {
                // Where files may be written to and not renamed, it grows: better than no word at all.
                self.limit = None;
            }
        }
        self.file.write_all(line)?;
        self.len += line.len() as u64;
        Ok(())
    }

    fn is_too_much(&self, line: &[u8]) -> bool {
        self.limit.is_some_and(|limit| self.len > 0 && self.len + line.len() as u64 > limit)
    }

    fn rotate(&mut self) -> io::Result<()> {
        for number in (1..KEPT).rev() {
            move_away(&self.old(number), &self.old(number + 1))?;
        }
        move_away(&self.path, &self.old(1))?;
        self.reopen()
    }

    /// Whether what goes by its name is not it any more: somebody has moved it away.
    #[cfg(unix)]
    pub(super) fn is_moved(&self) -> bool {
        use std::os::unix::fs::MetadataExt as _;
        let same = |named: fs::Metadata, open: fs::Metadata| {
            (named.dev(), named.ino()) == (open.dev(), open.ino())
        };
        let named = fs::metadata(&self.path);
        !named.is_ok_and(|named| self.file.metadata().is_ok_and(|open| same(named, open)))
    }

    /// Elsewhere nobody can as long as it is open.
    #[cfg(not(unix))]
    pub(super) fn is_moved(&self) -> bool {
        false
    }

    /// Goes on in what goes by its name now, which is made if nothing does.
    pub(super) fn reopen(&mut self) -> io::Result<()> {
        self.file = append(&self.path)?;
        self.len = self.file.metadata()?.len();
        Ok(())
    }

    fn old(&self, number: u32) -> PathBuf {
        let mut name = OsString::from(&self.path);
        name.push(format!(".{number}"));
        name.into()
    }
}

/// A log tells what somebody fetches: a new one is for its owner.
fn append(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.create(true).append(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

fn move_away(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        moved => moved,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let entries = fs::read_dir(dir).expect("a folder").map(|e| e.expect("an entry"));
        let mut names: Vec<_> =
            entries.map(|e| e.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    #[test]
    fn it_begins_anew_and_keeps_the_newest() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("log");
        let mut log = RotatingFile::open(&path, 10).expect("open");
        for n in 0..20 {
            log.write(format!("{n:03}\n").as_bytes()).expect("written");
        }
        assert_eq!(names(dir.path()), ["log", "log.1", "log.2", "log.3", "log.4"]);
        let read = |path: PathBuf| fs::read_to_string(path).expect("there");
        assert_eq!(read(path.clone()), "018\n019\n");
        assert_eq!(read(log.old(1)), "016\n017\n");
        assert_eq!(read(log.old(4)), "010\n011\n");
    }

    #[test]
    fn it_goes_on_where_another_run_ended() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("log");
        RotatingFile::open(&path, 10).expect("open").write(b"before\n").expect("written");
        let mut log = RotatingFile::open(&path, 10).expect("open");
        log.write(b"ab\n").expect("written");
        log.write(b"longer than a file\n").expect("written");
        assert_eq!(fs::read_to_string(log.old(1)).expect("there"), "before\nab\n");
        assert_eq!(fs::read_to_string(&path).expect("there"), "longer than a file\n");
    }

    #[test]
    fn two_that_share_it_do_not_move_away_what_the_other_has_begun() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("log");
        let mut first = RotatingFile::open(&path, 10).expect("open");
        let mut second = RotatingFile::open(&path, 10).expect("open");
        first.write(b"12345678\n").expect("written");
        second.write(b"1234\n").expect("written");
        first.write(b"2\n").expect("written");
        second.write(b"345678\n").expect("written");
        assert_eq!(fs::read_to_string(&path).expect("there"), "2\n345678\n");
        assert_eq!(names(dir.path()), ["log", "log.1"]);
    }

    #[test]
    fn where_nothing_may_be_renamed_it_goes_on_in_one_file() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("log");
        let mut log = RotatingFile::open(&path, 10).expect("open");
        fs::create_dir_all(log.old(KEPT - 1).join("full")).expect("a folder in the way");
        fs::create_dir_all(log.old(KEPT).join("full")).expect("a folder in the way");
        for _ in 0..9 {
            log.write(b"1234567\n").expect("written");
        }
        assert_eq!(fs::read_to_string(&path).expect("there").len(), 72);
    }

    #[cfg(unix)]
    #[test]
    fn it_is_for_its_owner_and_may_be_a_device() {
        use std::os::unix::fs::MetadataExt as _;
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("log");
        RotatingFile::open(&path, 10).expect("open");
        assert_eq!(path.metadata().expect("there").mode() & 0o077, 0);
        let mut nowhere = RotatingFile::open(Path::new("/dev/null"), 1).expect("open");
        (0..3).for_each(|_| nowhere.write(b"line\n").expect("written"));
        assert!(RotatingFile::open(dir.path(), 10).is_err());
    }
}
