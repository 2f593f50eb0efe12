//! What can go wrong with a web seed, and whether it may be asked again.

use std::time::Duration;

use crate::base::index::FileIndex;

/// Why a web seed gave nothing, or no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Failure {
    /// Its URL is none of HTTP, or leads nowhere.
    #[error("its address cannot be used")]
    BadUrl,
    /// No connection: name, network, refused, or TLS.
    #[error("it cannot be reached")]
    Unreachable,
    /// The server said nothing for too long, or next to nothing.
    #[error("no answer in time")]
    TimedOut,
    /// The connection broke, or what came is not HTTP.
    #[error("the connection broke")]
    Broken,
    /// Too many redirects, or one to a place where it may not lead.
    #[error("it leads to where it may not, or nowhere")]
    Redirect,
    /// The server is busy (429, 503), and may have said for how long.
    #[error("the server is busy ({status})")]
    Busy {
        /// The status code.
        status: u16,
        /// What it said (`Retry-After`).
        wait: Option<Duration>,
    },
    /// Another status that is not success.
    #[error("the server answered {0}")]
    Status(u16),
    /// It has other files, but not this one.
    #[error("the server answered {status} for one of the files")]
    NoFile {
        /// Which one.
        file: FileIndex,
        /// The status code.
        status: u16,
    },
    /// That file is longer or shorter there than the torrent says; others may be as they should.
    #[error("one of the files there has another length")]
    OtherFile {
        /// Which one.
        file: FileIndex,
    },
    /// A whole file came where a part of it was asked for.
    #[error("the server gives whole files only")]
    NoRanges,
    /// Another part came than the one that was asked for.
    #[error("the server sent another part of the file than it was asked for")]
    WrongRange,
    /// The file there is longer or shorter than the torrent says.
    #[error("a file there has another length")]
    WrongLength,
    /// What came does not match its hash.
    #[error("it sent data that does not match the hash")]
    BadData,
    /// The bytes are not those of the file, but packed.
    #[error("the server packs what it sends")]
    Encoded,
}

impl Failure {
    /// Whether asking again, in this run, would only bring the same.
    pub const fn is_final(self) -> bool {
        match self {
            Failure::Unreachable | Failure::TimedOut | Failure::Broken | Failure::Busy { .. } => {
                false
            }
            // Not yet, too slow a request, too early: these pass. So does what is wrong with the server.
            Failure::Status(status) => matches!(status, 400..=407 | 409..=424 | 426..=499),
            Failure::BadUrl
            | Failure::NoFile { .. }
            | Failure::OtherFile { .. }
            | Failure::Redirect
            | Failure::NoRanges
            | Failure::WrongRange
            | Failure::WrongLength
            | Failure::BadData
            | Failure::Encoded => true,
        }
    }

    /// The file that cannot be had there, if it is only that; and what it comes to if there are many.
    pub const fn of_file(self) -> Option<(FileIndex, Failure)> {
        match self {
            Failure::NoFile { file, status } => Some((file, Failure::Status(status))),
            Failure::OtherFile { file } => Some((file, Failure::WrongLength)),
            _ => None,
        }
    }

    /// How long the server wants to be left alone, if it says so.
    pub const fn wait(self) -> Option<Duration> {
        if let Failure::Busy { wait, .. } = self { wait } else { None }
    }
}
