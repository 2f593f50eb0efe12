//! How the program ends: the table of exit codes, and an error as a person is told it.
//!
//! The codes are a contract with scripts; a new one may be added, none may change.

use std::{error::Error, io};

use rustix::io::Errno;

/// Why the program ended, as its exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Exit {
    /// Done and verified; also Ctrl-C while only seeding.
    Done = 0,
    /// An unexpected error.
    Unexpected = 1,
    /// Bad usage.
    Usage = 2,
    /// An input can't be read or is not valid: torrent, magnet link, configuration.
    Input = 3,
    /// No peers, metadata or tracker within `--timeout`.
    Network = 4,
    /// The data does not verify.
    Verify = 5,
    /// The disk refused: full, permission, I/O.
    Disk = 6,
    /// The target exists and differs, and `--force` was not given; or another run of the program has it.
    Exists = 7,
    /// Some of several inputs failed.
    Some = 9,
    /// Stopped by SIGINT after a clean save.
    Interrupted = 130,
    /// Stopped by SIGTERM after a clean save.
    Terminated = 143,
}

impl Exit {
    /// The number the shell sees.
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// Whether a signal brought it about.
    pub const fn is_signal(self) -> bool {
        matches!(self, Exit::Interrupted | Exit::Terminated)
    }

    /// How several inputs ended together: as all of them did, or else [`Exit::Some`].
    pub fn of_all(exits: impl IntoIterator<Item = Exit>) -> Exit {
        exits
            .into_iter()
            .reduce(|all, one| if all == one { all } else { Exit::Some })
            .unwrap_or(Exit::Done)
    }
}

/// Why a command could not do what it was asked: one sentence, its causes, a remedy, a code.
#[derive(Debug)]
pub(super) struct Failure {
    /// The exit code.
    pub(super) exit: Exit,
    /// What failed, in one sentence.
    pub(super) message: String,
    /// Why, the nearest cause first.
    pub(super) causes: Vec<String>,
    /// What the user can do about it.
    pub(super) remedy: Option<String>,
    /// What it is about, where that may be one of several.
    pub(super) subject: Option<Box<Subject>>,
    /// A closed pipe: the reader has what it wanted. Nothing is printed.
    pub(super) closed_pipe: bool,
}

/// What a failure is about.
#[derive(Debug)]
pub(super) enum Subject {
    /// A torrent, by its info hash.
    Torrent(String),
    /// Something on the command line, as it was named.
    Input(String),
}

impl Failure {
    /// A failure told by one sentence.
    pub(super) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Failure {
            exit,
            message: message.into(),
            causes: Vec::new(),
            remedy: None,
            subject: None,
            closed_pipe: false,
        }
    }

    /// The end that a signal asked for.
    pub(super) fn stopped(exit: Exit) -> Self {
        let how = if exit == Exit::Terminated { "terminated" } else { "interrupted" };
        Failure::new(exit, how)
    }

    /// Adds `error` and everything beneath it as causes. A link of the chain that only repeats
    /// the end of the one above is left out.
    pub(super) fn cause(mut self, error: &dyn Error) -> Self {
        let mut link = Some(error);
        while let Some(e) = link {
            let text = e.to_string();
            let above = self.causes.last().unwrap_or(&self.message);
            if !text.is_empty() && !above.ends_with(&text) {
                self.causes.push(text);
            }
            link = e.source();
        }
        self
    }

    /// Says which torrent it is about, by its info hash.
    pub(super) fn about(self, id: impl Into<String>) -> Self {
        Failure { subject: Some(Box::new(Subject::Torrent(id.into()))), ..self }
    }

    /// Says which input it is about, as it was named.
    pub(super) fn input(self, text: &str) -> Self {
        Failure { subject: Some(Box::new(Subject::Input(text.to_owned()))), ..self }
    }

    /// Adds what the user can do.
    pub(super) fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }
}

/// Standard output refused what we wrote.
impl From<io::Error> for Failure {
    fn from(e: io::Error) -> Self {
        if e.kind() == io::ErrorKind::BrokenPipe {
            return Failure { closed_pipe: true, ..Failure::new(Exit::Done, "") };
        }
        Failure::new(Exit::Disk, "could not write to standard output").cause(&e)
    }
}

/// The system does not let us begin.
pub(super) fn could_not_start(e: &io::Error) -> Failure {
    let failure = Failure::new(Exit::Unexpected, "could not start").cause(e);
    match Errno::from_io_error(e) {
        Some(Errno::MFILE | Errno::NFILE) => {
            failure.remedy("Allow more open files: `ulimit -n 256`, or as many as you can.")
        }
        _ => failure,
    }
}

/// The exit code for an I/O error on something that the user named as input.
pub(super) fn of_input(e: &io::Error) -> Exit {
    use io::ErrorKind::*;
    match e.kind() {
        NotFound | PermissionDenied | IsADirectory | NotADirectory | InvalidInput
        | InvalidFilename => Exit::Input,
        _ if Errno::from_io_error(e) == Some(Errno::LOOP) => Exit::Input,
        _ => Exit::Disk,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_those_of_the_contract() {
        use Exit::*;
        let table = [
            (Done, 0),
            (Unexpected, 1),
            (Usage, 2),
            (Input, 3),
            (Network, 4),
            (Verify, 5),
            (Disk, 6),
            (Exists, 7),
            (Some, 9),
            (Interrupted, 130),
            (Terminated, 143),
        ];
        table.into_iter().for_each(|(exit, code)| assert_eq!(exit.code(), code));
    }

    #[test]
    fn several_inputs_end_as_one_or_as_some() {
        assert_eq!(Exit::of_all([]), Exit::Done);
        assert_eq!(Exit::of_all([Exit::Verify, Exit::Verify]), Exit::Verify);
        assert_eq!(Exit::of_all([Exit::Verify, Exit::Done]), Exit::Some);
    }

    #[derive(Debug, thiserror::Error)]
    #[error("outer")]
    struct Outer(#[source] Inner);

    #[derive(Debug, thiserror::Error)]
    #[error("inner")]
    struct Inner;

    #[test]
    fn causes_are_told_once() {
        let f = Failure::new(Exit::Input, "sentence: outer").cause(&Outer(Inner));
        assert_eq!(f.causes, ["inner"]);
    }

    #[test]
    fn a_closed_pipe_is_success() {
        let f = Failure::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert!(f.closed_pipe && f.exit == Exit::Done);
        let f = Failure::from(io::Error::from(io::ErrorKind::StorageFull));
        assert_eq!(f.exit, Exit::Disk);
    }
}
