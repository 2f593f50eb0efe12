//! Where words go: data to standard output, talk to standard error; whether there are colours.
//!
//! Owns both streams. Progress is in [`progress`](super::progress).

use std::{
    borrow::Cow,
    io::{self, IsTerminal, Write},
};

use serde::Serialize;

use super::{
    args::{Color, General, LogLevel, ProgressMode},
    exit::{Exit, Failure, Subject},
    log::{Line, Log},
    redact,
};

/// How this run talks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terminal {
    /// One JSON object a line on standard output.
    pub(super) json: bool,
    /// Nothing but errors.
    pub(super) quiet: bool,
    /// Pieces and peers as they come and go.
    pub(super) verbose: bool,
    /// How progress is shown; [`ProgressMode::Auto`] is as objects.
    pub(super) progress: ProgressMode,
    /// What standard error may look like.
    pub(super) style: Style,
    /// Standard output is a terminal: tables are aligned.
    pub(super) tables_aligned: bool,
    /// Where what happens is written down.
    pub(super) log: Option<&'static Log>,
}

impl Terminal {
    pub(super) fn new(general: &General) -> Self {
        let dumb = std::env::var_os("TERM").is_some_and(|t| t == "dumb");
        let terminal = io::stderr().is_terminal() && !dumb;
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty());
        let progress = match general.progress {
            ProgressMode::None => ProgressMode::None,
            _ if general.json => ProgressMode::Auto,
            _ if general.quiet => ProgressMode::None,
            ProgressMode::Auto if terminal => ProgressMode::Bar,
            ProgressMode::Auto => ProgressMode::Lines,
            // Without a terminal there is nothing to draw on.
            ProgressMode::Bar if !terminal => ProgressMode::Lines,
            chosen => chosen,
        };
        let color = match general.color {
            Color::Auto => terminal && !no_color,
            Color::Always => true,
            Color::Never => false,
        };
        Terminal {
            json: general.json,
            quiet: general.quiet,
            verbose: general.verbose > 0,
            progress,
            style: Style { color },
            tables_aligned: io::stdout().is_terminal(),
            log: None,
        }
    }

    /// The same without any objects: standard output is for something else.
    pub(super) fn without_objects(self) -> Self {
        match self.json {
            true => Terminal { json: false, progress: ProgressMode::None, ..self },
            false => self,
        }
    }

    /// Text from elsewhere as data: made printable for a person, else only kept on its line.
    pub(super) fn as_data(&self, text: &str) -> String {
        if self.tables_aligned { printable(text) } else { on_one_line(text) }
    }

    /// Writes a line of data.
    pub(super) fn data(&self, line: &str) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        out.write_all(line.as_bytes())?;
        out.write_all(b"\n")?;
        out.flush()?;
        Ok(())
    }

    /// Writes bytes of data as they are.
    pub(super) fn raw(&self, bytes: &[u8]) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        out.write_all(bytes)?;
        out.flush()?;
        Ok(())
    }

    /// Writes one event of `--json` as a line of data: `{"v":1,"event":name, ...body}`.
    pub(super) fn event(&self, name: &str, body: &impl Serialize) -> Result<(), Failure> {
        let line = serde_json::to_string(&Event { v: 1, event: name, body });
        self.data(&line.map_err(io::Error::from)?)
    }

    /// Says something to a person, unless asked to be quiet or talking to a program.
    pub(super) fn say(&self, text: &str) {
        if !self.quiet && !self.json {
            // Nobody can be told that nobody listens.
            let _ = writeln!(io::stderr(), "{text}");
        }
    }

    /// Writes a line into the log, if there is one that wants it.
    pub(super) fn log(&self, level: LogLevel, what: &'static str, fill: impl FnOnce(Line) -> Line) {
        let Some(log) = self.log.filter(|log| log.wants(level)) else { return };
        if let Err(error) = log.write(&fill(Line::new(level, what))) {
            // The run matters more than what is written of it.
            let _ = self.warn(&format!("the log cannot be written: {error}; that is tried again"));
        }
    }

    /// Tells of something odd that stops nothing.
    pub(super) fn warn(&self, message: &str) -> Result<(), Failure> {
        let message = &*printable(&redact::secrets(message));
        self.log(LogLevel::Warn, "warning", |line| line.with("text", message));
        if self.json {
            return self.event("warning", &Warning { id: None, message });
        }
        self.say(&format!("{} {message}", self.style.yellow("warning:")));
        Ok(())
    }

    /// Ends a run of several parts, of which each was told of: the last line of `--json`, or
    /// `problem` for a person.
    pub(super) fn end(&self, exit: Exit, problem: &str) -> Result<Exit, Failure> {
        if exit != Exit::Done {
            return Err(Failure::new(exit, problem));
        }
        if self.json {
            self.event("done", &End { exit: exit.code() })?;
        }
        Ok(exit)
    }

    /// Tells what went wrong: a sentence, causes, a remedy; as an object too with `--json`.
    pub(super) fn failure(&self, failure: &Failure) {
        if failure.closed_pipe {
            return;
        }
        self.log_failure(failure);
        if self.json {
            self.failure_object(failure);
        }
        let mut err = io::stderr().lock();
        let label = match failure.exit {
            // Asked for, so no error.
            Exit::Interrupted | Exit::Terminated => String::new(),
            _ => self.style.red("error:") + " ",
        };
        let _ = writeln!(err, "{label}{}", printable(&redact::secrets(&failure.message)));
        for cause in &failure.causes {
            let _ = writeln!(err, "  because: {}", printable(&redact::secrets(cause)));
        }
        if let Some(remedy) = &failure.remedy {
            let _ = writeln!(err, "  {remedy}");
        }
    }

    fn log_failure(&self, failure: &Failure) {
        let level = match failure.exit {
            Exit::Interrupted | Exit::Terminated => LogLevel::Info,
            _ => LogLevel::Error,
        };
        self.log(level, "failed", |line| {
            let line = match failure.subject.as_deref() {
                Some(Subject::Torrent(id)) => line.of(id),
                Some(Subject::Input(_)) | None => line,
            };
            let causes = (!failure.causes.is_empty()).then(|| failure.causes.join(": "));
            let line = line.with("exit", failure.exit.code()).with("text", &failure.message);
            line.with_some("because", causes)
        });
    }

    /// Tells a program what went wrong.
    pub(super) fn failure_object(&self, failure: &Failure) {
        // The same words go to standard error; a closed pipe changes nothing.
        let _ = self.event("error", &Error::of(failure));
    }
}

/// What every line of `--json` has in common.
#[derive(Debug, Serialize)]
struct Event<'a, T> {
    /// Version of the keys: they are added to, never changed.
    v: u8,
    event: &'a str,
    #[serde(flatten)]
    body: &'a T,
}

/// Something odd.
#[derive(Debug, Serialize)]
pub(super) struct Warning<'a> {
    /// The torrent, if it is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) id: Option<&'a str>,
    pub(super) message: &'a str,
}

/// The last line of `--json` when all went well.
#[derive(Debug, Serialize)]
struct End {
    exit: u8,
}

/// The last line of `--json` when something went wrong.
#[derive(Debug, Serialize)]
struct Error<'a> {
    exit: u8,
    message: Cow<'a, str>,
    causes: Vec<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    input: Option<&'a str>,
}

impl<'a> Error<'a> {
    fn of(failure: &'a Failure) -> Self {
        let (id, input) = match failure.subject.as_deref() {
            Some(Subject::Torrent(id)) => (Some(id.as_str()), None),
            Some(Subject::Input(text)) => (None, Some(text.as_str())),
            None => (None, None),
        };
        Error {
            exit: failure.exit.code(),
            message: redact::secrets(&failure.message),
            causes: failure.causes.iter().map(|cause| redact::secrets(cause)).collect(),
            remedy: failure.remedy.as_deref(),
            id,
            input,
        }
    }
}

/// Colours, or none.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Style {
    pub(super) color: bool,
}

impl Style {
    fn paint(self, code: &str, text: &str) -> String {
        if self.color && !text.is_empty() {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }

    pub(super) fn bold(self, text: &str) -> String {
        self.paint("1", text)
    }

    pub(super) fn dim(self, text: &str) -> String {
        self.paint("2", text)
    }

    pub(super) fn red(self, text: &str) -> String {
        self.paint("1;31", text)
    }

    pub(super) fn green(self, text: &str) -> String {
        self.paint("32", text)
    }

    pub(super) fn yellow(self, text: &str) -> String {
        self.paint("33", text)
    }

    pub(super) fn cyan(self, text: &str) -> String {
        self.paint("36", text)
    }
}

/// Text from elsewhere (names, messages of trackers) with nothing in it that moves the cursor or
/// hides what follows.
pub(super) fn printable(text: &str) -> String {
    let unsafe_char = |c: char| {
        c.is_control()
            // Characters that change the direction of text, and separators of lines.
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars().map(|c| if unsafe_char(c) { '\u{fffd}' } else { c }).collect()
}

/// Text from elsewhere with nothing in it that ends a line or a cell. Programs take the rest as it is: names of
/// files may hold what a person should not be shown.
pub(super) fn on_one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_move_the_cursor() {
        assert_eq!(printable("a\x1b[2Jb\u{202e}c\n"), "a\u{fffd}[2Jb\u{fffd}c\u{fffd}");
        assert_eq!(printable("año 葉"), "año 葉");
        assert_eq!(on_one_line("a\tb\u{200f}c\n"), "a\u{fffd}b\u{200f}c\u{fffd}");
    }

    #[test]
    fn no_colour_is_plain() {
        assert_eq!(Style { color: false }.red("x"), "x");
        assert_eq!(Style { color: true }.red("x"), "\x1b[1;31mx\x1b[0m");
    }
}
