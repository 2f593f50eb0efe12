//! Why a session does not start, a torrent is not taken, or does not complete.

use std::{fmt, io, path::PathBuf};

use super::id::TorrentId;
use crate::{
    metainfo::MetainfoError,
    net::{http::HttpSetupError, tcp::ListenError},
    pieces::job::DiskFault,
    why::Cause,
};

/// Why there is no session.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// Another program has the port.
    #[error("port {port} is in use by another program")]
    PortInUse {
        /// The port.
        port: u16,
    },
    /// Listening failed otherwise.
    #[error(transparent)]
    Listen(ListenError),
    /// There is no socket for the DHT.
    #[error("could not open the UDP port of the DHT: {0}")]
    Dht(io::Error),
    /// The HTTP client can't be set up, such as for a bad `ca_file`.
    #[error(transparent)]
    Http(#[from] HttpSetupError),
    /// The folder for resume state can't be made.
    #[error("could not create the folder `{}`: {cause}", dir.display())]
    StateDir {
        /// The folder.
        dir: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// The system gives us no thread or no random numbers.
    #[error("could not start: {0}")]
    System(io::Error),
}

/// Why a torrent was not taken. Nothing was changed on disk.
#[derive(Debug, thiserror::Error)]
pub enum AddError {
    /// The session has it already.
    #[error("the torrent is already part of the session")]
    Duplicate(TorrentId),
    /// Something else is where the torrent's files should be, and `force` is not set.
    #[error("{0}")]
    InTheWay(String),
    /// The target can't be read or written.
    #[error(transparent)]
    Disk(#[from] DiskFault),
    /// The code of the torrent would be sent over connections that are not encrypted.
    #[error("a torrent with a code needs a session that encrypts every connection")]
    Overheard,
    /// The session has ended.
    #[error("the session has ended")]
    Closed,
}

/// Why a torrent will not complete as it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TorrentError {
    /// The files on disk hold something else: no piece of a file is right, and `force` is not set.
    #[error("{0}")]
    Differs(String),
    /// Another run of the program has it, in the same folder.
    #[error("{0} has it in the same folder")]
    InUse(Owner),
    /// The disk refused; `resume` tries again.
    #[error(transparent)]
    Disk(#[from] DiskFault),
    /// The metadata that came matches the hash, and makes no torrent that can be used.
    #[error(transparent)]
    Metadata(MetainfoError),
    /// It was removed, or the session has ended.
    #[error("the torrent was removed")]
    Removed,
}

impl TorrentError {
    /// What [`TorrentSnapshot::why`](super::TorrentSnapshot::why) says of it, if it is one of those causes.
    pub fn cause(&self) -> Option<Cause> {
        match self {
            TorrentError::Disk(fault) => Some(Cause::Disk(fault.into())),
            _ => None,
        }
    }
}

/// Who has a torrent: a process, by its number if that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner(pub Option<u32>);

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(process) => write!(f, "another run of the program (process {process})"),
            None => f.write_str("another run of the program"),
        }
    }
}
