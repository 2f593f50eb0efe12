//! `--log`: what happens, line by line, for whoever looks for the reason later.
//!
//! A line is a time (UTC), a level, the first digits of the info hash or `-`, what happened in one word,
//! and `key=value` for the rest. A value with anything but plain characters in it is in quotes, as JSON
//! has them. Why something ended is `reason=`, a word that stays the same, and `text=` for people. Nothing
//! is written that [`redact`] knows for a secret, whoever said it.
//!
//! - [`file`]: a file that begins anew when it is large;
//! - [`torrent`]: what happens to a torrent, as lines;
//! - [`reason`]: the words for reasons.

mod file;
mod reason;
mod torrent;

use std::{
    fmt::{Display, Write as _},
    io,
    sync::{Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use super::{
    args::{General, LogLevel as Level},
    calendar::civil,
    exit::{Exit, Failure},
    redact,
    terminal::printable,
};
use file::RotatingFile;
pub(super) use torrent::Followers;

/// How often it is looked whether the file is still there, or can be written to again.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// The log of this run.
#[derive(Debug)]
pub(super) struct Log {
    most: Level,
    kept: Mutex<Kept>,
}

/// Where lines are kept.
#[derive(Debug)]
struct Kept {
    file: RotatingFile,
    /// Lines that could not be written since the last that was.
    lost: u64,
    /// When the file was looked after, since 1970.
    looked: Duration,
}

impl Log {
    /// Opens the file of `--log`, for as long as the program runs.
    ///
    /// # Errors
    /// A [`Failure`] if it can't be written.
    pub(super) fn open(general: &General) -> Result<Option<&'static Log>, Failure> {
        let Some(path) = &general.log else { return Ok(None) };
        let file = RotatingFile::open(path, general.log_size.0).map_err(|e| {
            let sentence = format!("could not write the log `{}`", path.display());
            Failure::new(Exit::Disk, sentence).cause(&e)
        })?;
        let kept = Mutex::new(Kept { file, lost: 0, looked: Duration::ZERO });
        let log = Log { most: general.log_level(), kept };
        // One for the whole run: everything that talks holds it.
        Ok(Some(Box::leak(Box::new(log))))
    }

    /// Whether lines of this level are kept.
    pub(super) fn wants(&self, level: Level) -> bool {
        level <= self.most
    }

    /// Writes a line with the time. While that fails it is tried again now and then.
    ///
    /// # Errors
    /// What the system said, the first time.
    #[expect(clippy::disallowed_methods, reason = "people compare the times with their clock")]
    pub(super) fn write(&self, line: &Line) -> io::Result<()> {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).write(now, line)
    }
}

impl Kept {
    fn write(&mut self, now: Duration, line: &Line) -> io::Result<()> {
        if now.abs_diff(self.looked) >= LOOK_EVERY {
            self.looked = now;
            if self.lost > 0 || self.file.is_moved() {
                // If that fails, so does what follows.
                let _ = self.file.reopen();
            }
        } else if self.lost > 0 {
            self.lost += 1;
            return Ok(());
        }
        let mut text = line.at(now);
        if self.lost > 0 {
            let gap = Line::new(Level::Warn, "lines_lost").with("count", self.lost);
            text.insert_str(0, &gap.at(now));
        }
        let written = self.file.write(text.as_bytes());
        let was_lost = std::mem::replace(&mut self.lost, 0);
        if written.is_err() {
            self.lost = was_lost + 1;
        }
        written.or_else(|error| if was_lost > 0 { Ok(()) } else { Err(error) })
    }
}

/// One line.
#[derive(Debug)]
pub(super) struct Line {
    level: Level,
    torrent: String,
    /// What happened, and the values.
    text: String,
}

impl Line {
    pub(super) fn new(level: Level, what: &'static str) -> Self {
        Line { level, torrent: "-".to_owned(), text: what.to_owned() }
    }

    /// Says which torrent it is about, by its info hash.
    pub(super) fn of(self, info_hash: &str) -> Self {
        Line { torrent: redact::short_hash(info_hash).to_owned(), ..self }
    }

    /// Adds a value.
    pub(super) fn with(mut self, key: &'static str, value: impl Display) -> Self {
        let value = value.to_string();
        let value = redact::secrets(&value);
        let value = printable(&redact::hashes(&value));
        let plain = |b: u8| b.is_ascii_graphic() && !matches!(b, b'"' | b'=' | b'\\');
        // Writing to a string does not fail, and a text is always JSON.
        let _ = match !value.is_empty() && value.bytes().all(plain) {
            true => write!(self.text, " {key}={value}"),
            false => write!(self.text, " {key}={}", serde_json::Value::from(value)),
        };
        self
    }

    /// Adds a value if there is one.
    pub(super) fn with_some(self, key: &'static str, value: Option<impl Display>) -> Self {
        match value {
            Some(value) => self.with(key, value),
            None => self,
        }
    }

    /// The whole line, `now` after 1970.
    fn at(&self, now: Duration) -> String {
        let [year, month, day, h, m, s] = civil(now.as_secs());
        let (ms, level) = (now.subsec_millis(), word(self.level));
        format!(
            "{year:04}-{month:02}-{day:02}T{h:02}:{m:02}:{s:02}.{ms:03}Z {level} {} {}\n",
            self.torrent, self.text
        )
    }
}

const fn word(level: Level) -> &'static str {
    match level {
        Level::Error => "error",
        Level::Warn => "warn",
        Level::Info => "info",
        Level::Debug => "debug",
        Level::Trace => "trace",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_a_time_a_level_a_torrent_and_values() {
        let line = Line::new(Level::Warn, "tracker_failed")
            .of("0123456789abcdef0123456789abcdef01234567")
            .with("tracker", "a.example:80")
            .with("reason", "refused")
            .with_some("port", None::<u16>)
            .with("text", "it said \"no\"\nand left");
        let text = line.at(Duration::from_millis(951_782_400_007));
        assert_eq!(
            text,
            "2000-02-29T00:00:00.007Z warn 01234567 tracker_failed tracker=a.example:80 \
             reason=refused text=\"it said \\\"no\\\"\u{fffd}and left\"\n"
        );
    }

    /// A log that could not be written once had ended, and one that was moved away grew where nobody looked.
    #[cfg(unix)]
    #[test]
    fn it_goes_on_when_it_can_be_written_again_and_where_it_is_looked_for() {
        let dir = tempfile::tempdir().expect("a folder");
        let (folder, away) = (dir.path().join("logs"), dir.path().join("away"));
        std::fs::create_dir(&folder).expect("made");
        let path = folder.join("log");
        let file = RotatingFile::open(&path, 1 << 20).expect("open");
        let mut kept = Kept { file, lost: 0, looked: Duration::ZERO };
        let mut write =
            |secs, what| kept.write(Duration::from_secs(secs), &Line::new(Level::Info, what));
        let words = |path: &std::path::Path| -> Vec<String> {
            let text = std::fs::read_to_string(path).expect("there");
            text.lines().map(|line| line.split(' ').skip(3).collect::<Vec<_>>().join(" ")).collect()
        };
        write(10, "one").expect("written");
        std::fs::rename(&path, folder.join("log.old")).expect("moved");
        write(20, "two").expect("written");
        assert_eq!(
            (words(&folder.join("log.old")), words(&path)),
            (vec!["one".into()], vec!["two".into()])
        );
        // Nothing can be written where it is a device that is full.
        std::fs::rename(&folder, &away).expect("moved");
        std::fs::create_dir(&folder).expect("made");
        std::os::unix::fs::symlink("/dev/full", &path).expect("linked");
        write(30, "three").expect_err("it is full");
        write(31, "four").expect("told once");
        write(40, "five").expect("told once");
        std::fs::remove_file(&path).expect("removed");
        write(50, "six").expect("written");
        assert_eq!(words(&path), ["lines_lost count=3", "six"]);
    }

    /// Whoever is quoted can neither begin a line nor add a value, and what is secret is not in it.
    #[test]
    fn nobody_writes_what_is_not_his_and_nothing_is_secret() {
        let hash = "0123456789abcdef0123456789abcdef01234567";
        for (value, told) in [
            ("x\n2026-01-01T00:00:00.000Z error", "\"x\u{fffd}2026-01-01T00:00:00.000Z error\""),
            ("x reason=banned", "\"x reason=banned\""),
            ("x=y", "\"x=y\""),
            ("", "\"\""),
            ("\u{202e}gpj", "\"\u{fffd}gpj\""),
            ("http://t.example/k3y/announce", "http://t.example/…"),
            ("socks5://u:p@h:1", "socks5://h:1"),
            (hash, "01234567…"),
        ] {
            let line = Line::new(Level::Info, "w").with("k", value).at(Duration::ZERO);
            let want = match told.contains('…') && !told.starts_with('"') {
                true => format!("\"{told}\""),
                false => told.to_owned(),
            };
            assert_eq!(line, format!("1970-01-01T00:00:00.000Z info - w k={want}\n"));
        }
    }
}
