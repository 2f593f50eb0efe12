//! Why a torrent did not get where it should, in sentences with a remedy.

use std::time::Duration;

use crate::{
    cli::{
        exit::{Exit, Failure},
        progress::{View, percent, short_duration},
        terminal::printable,
    },
    session::{AddError, TorrentError},
};

/// Why a session did not take a torrent.
pub(super) fn refused(error: &AddError) -> Failure {
    let (exit, remedy) = match error {
        AddError::Duplicate(_) => (Exit::Input, Some("Name it once.")),
        AddError::InTheWay(_) => (Exit::Exists, Some(FORCE)),
        AddError::Disk(_) => (Exit::Disk, None),
        AddError::Closed => (Exit::Unexpected, None),
    };
    let failure = Failure::new(exit, error.to_string());
    match remedy {
        Some(remedy) => failure.remedy(remedy),
        None => failure,
    }
}

const FORCE: &str = "Choose another folder with --output, or use what is there with --force.";

/// Why a torrent did not complete.
pub(super) fn failed(name: &str, error: &TorrentError) -> Failure {
    let name = printable(name);
    match error {
        TorrentError::Differs(_) => Failure::new(Exit::Exists, format!("`{name}` was not touched"))
            .cause(error)
            .remedy(FORCE),
        TorrentError::Disk(_) => Failure::new(Exit::Disk, format!("`{name}` stopped")).cause(error),
        TorrentError::Removed => {
            Failure::new(Exit::Unexpected, format!("`{name}` stopped")).cause(error)
        }
    }
}

/// Data that was to be served is not there.
pub(super) fn incomplete(view: &View) -> Failure {
    let name = printable(&view.name);
    let there = percent(view.done, view.total);
    Failure::new(Exit::Verify, format!("only {there} of `{name}` is there"))
        .remedy("`verify` names what is wrong, `download` fetches it; --data names the folder.")
}

/// Nothing moved for too long.
pub(super) fn gave_up(view: &View, timeout: Duration, reason: Option<String>) -> Failure {
    let name = printable(&view.name);
    let message = format!("no progress for {}: gave up `{name}`", short_duration(timeout));
    let mut failure = Failure::new(Exit::Network, message);
    failure.causes.extend(reason);
    failure
}
