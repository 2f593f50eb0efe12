//! Why a torrent did not get where it should, in sentences with a remedy.

use std::{path::Path, time::Duration};

use crate::{
    cli::{
        exit::{Exit, Failure},
        progress::{View, percent, short_duration},
        terminal::printable,
    },
    session::{AddError, Cause, Finding, TorrentError},
};

/// Why a session did not take the torrent whose file or folder is `path`.
pub(super) fn refused(path: &Path, error: &AddError, fetches: bool) -> Failure {
    let exit = match error {
        AddError::Duplicate(_) => Exit::Input,
        AddError::InTheWay(_) => return in_the_way(path, fetches).cause(error),
        AddError::Disk(_) => Exit::Disk,
        AddError::Overheard | AddError::Closed => Exit::Unexpected,
    };
    Failure::new(exit, format!("could not use {}", quoted(path))).cause(error)
}

/// Why a torrent did not complete.
pub(super) fn failed(path: &Path, error: &TorrentError, fetches: bool) -> Failure {
    let exit = match error {
        TorrentError::Differs(_) => return in_the_way(path, fetches).cause(error),
        TorrentError::InUse(_) => {
            let message = format!("{} was not touched", quoted(path));
            return Failure::new(Exit::Exists, message)
                .cause(error)
                .remedy("End that run first, or choose another folder.");
        }
        TorrentError::Disk(_) => Exit::Disk,
        TorrentError::Metadata(_) => Exit::Input,
        TorrentError::Removed => Exit::Unexpected,
    };
    let failure = Failure::new(exit, format!("{} stopped", quoted(path))).cause(error);
    match error.cause() {
        Some(cause) => failure.remedy(cause.remedy()),
        None => failure,
    }
}

/// What is there is not the torrent's.
fn in_the_way(path: &Path, fetches: bool) -> Failure {
    let quoted = quoted(path);
    match fetches {
        true => Failure::new(Exit::Exists, format!("{quoted} was not touched"))
            .remedy("Choose another folder with --output, or use what is there with --force."),
        false => Failure::new(Exit::Verify, format!("{quoted} is not what the torrent holds"))
            .remedy("--data names the folder that holds the torrent's file or folder."),
    }
}

fn quoted(path: &Path) -> String {
    format!("`{}`", printable(&path.display().to_string()))
}

/// Data that was to be served is not there.
pub(super) fn incomplete(view: &View) -> Failure {
    let name = printable(&view.name);
    let there = percent(view.done, view.total);
    Failure::new(Exit::Verify, format!("only {there} of `{name}` is there"))
        .remedy("`verify` names what is wrong, `download` fetches it; --data names the folder.")
}

/// Nothing moved for too long: why, and what to do about what explains most of it.
pub(super) fn gave_up(view: &View, timeout: Duration, why: &[Finding]) -> Failure {
    let name = printable(&view.name);
    let message = format!("no progress for {}: gave up `{name}`", short_duration(timeout));
    let exit = match why.first().map(|found| &found.cause) {
        Some(Cause::Disk(_)) => Exit::Disk,
        _ => Exit::Network,
    };
    let mut failure = Failure::new(exit, message);
    failure.causes.extend(why.iter().map(|found| printable(&found.cause.to_string())));
    match why.first() {
        Some(found) => failure.remedy(found.cause.remedy()),
        None => failure,
    }
}
