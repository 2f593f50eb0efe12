//! `why`: why torrents did not get on, as the last run found it and left it in the state folder.
//!
//! What there is to be found is in [`crate::why`]; here is how it is told, to people and to programs.

use std::{io::ErrorKind::NotFound, path::PathBuf};

use serde::Serialize;

use super::{
    args,
    exit::{Exit, Failure},
    input::{self, Named},
    progress::percent,
    show::utc,
    table::Table,
    terminal::{Terminal, printable},
};
use crate::{
    base::{hash::Sha1Hash, units::ByteCount},
    session::{
        Told,
        unfinished::{self, Listing, Unfinished},
    },
};

/// One torrent in `--json`.
#[derive(Serialize)]
struct Object<'a> {
    id: &'a str,
    name: &'a str,
    path: &'a str,
    wants_metadata: bool,
    done: u64,
    total: u64,
    /// Seconds since 1970.
    saved: i64,
    causes: &'a [Told],
}

#[derive(Serialize)]
struct End {
    torrents: usize,
    exit: u8,
}

pub(super) async fn run(args: &args::Why, terminal: Terminal) -> Result<Exit, Failure> {
    let dir = args.state_dir.clone().or_else(args::state_folder);
    // The user's own need not be there: then nothing was ever begun.
    let dir = dir.filter(|dir| args.state_dir.is_some() || dir.is_dir());
    let found = match &dir {
        Some(dir) => unfinished::list(dir).map_err(|error| {
            let message = format!("could not read the state folder `{}`", dir.display());
            let exit = if error.kind() == NotFound { Exit::Input } else { Exit::Disk };
            Failure::new(exit, message).cause(&error)
        })?,
        None => Listing::default(),
    };
    for path in &found.unreadable {
        terminal.warn(&format!(
            "`{}` is damaged, or of another version: why its torrent did not get on is not known",
            path.display()
        ))?;
    }
    let found = found.torrents;
    let folder = dir.or_else(args::state_folder).unwrap_or_else(|| PathBuf::from("."));
    let Some(text) = &args.torrent else {
        return list(&found, &folder, terminal);
    };
    let hash = info_hash(text, args).await?.to_string();
    let those: Vec<&Unfinished> = found.iter().filter(|u| u.info_hash == hash).collect();
    if those.is_empty() {
        let message = format!("nothing unfinished of {hash} is in `{}`", folder.display());
        return Err(Failure::new(Exit::Input, message)
            .about(hash)
            .remedy("It is complete, or another folder was used: --state-dir names it."));
    }
    for torrent in &those {
        if terminal.json {
            object(torrent, terminal)?;
        } else {
            account(torrent).iter().try_for_each(|line| terminal.data(&printable(line)))?;
        }
    }
    end(those.len(), terminal)
}

async fn info_hash(text: &str, args: &args::Why) -> Result<Sha1Hash, Failure> {
    let hash = match Named::of(text).magnet() {
        Some(magnet) => magnet?.info_hash,
        None => input::torrent(text, &args.outlet, None).await?.info.info_hash(),
    };
    Ok(hash.wire())
}

/// All of them, each with its first cause.
fn list(
    found: &[Unfinished],
    folder: &std::path::Path,
    terminal: Terminal,
) -> Result<Exit, Failure> {
    if terminal.json {
        found.iter().try_for_each(|torrent| object(torrent, terminal))?;
    } else if found.is_empty() {
        terminal.say(&format!("No unfinished torrents in `{}`.", folder.display()));
    } else {
        let mut table = Table::new(&[0]);
        for torrent in found {
            let first = torrent.causes.first().map_or(NOTHING, |told| &told.line);
            table.row([&there(torrent), &torrent.name, first]);
        }
        table.lines(terminal.tables_aligned).iter().try_for_each(|line| terminal.data(line))?;
    }
    end(found.len(), terminal)
}

/// How much of it is there.
fn there(torrent: &Unfinished) -> String {
    match torrent.wants_metadata {
        true => "no metadata".to_owned(),
        false => percent(torrent.done, torrent.total),
    }
}

/// Said of a torrent that got on until it was stopped.
const NOTHING: &str = "nothing kept it back";

fn end(torrents: usize, terminal: Terminal) -> Result<Exit, Failure> {
    if terminal.json {
        terminal.event("done", &End { torrents, exit: Exit::Done.code() })?;
    }
    Ok(Exit::Done)
}

fn object(torrent: &Unfinished, terminal: Terminal) -> Result<(), Failure> {
    let Unfinished { info_hash: id, name, path, causes, .. } = torrent;
    let Unfinished { wants_metadata, done, total, saved, .. } = *torrent;
    let object = Object { id, name, path, wants_metadata, done, total, saved, causes };
    terminal.event("why", &object)
}

/// A torrent with all its causes.
fn account(torrent: &Unfinished) -> Vec<String> {
    let Unfinished { name, path, total, saved, causes, .. } = torrent;
    let when = utc(u64::try_from(*saved).unwrap_or(0));
    let there = there(torrent);
    let first = match torrent.wants_metadata {
        true => format!("{name}: {there} on {when}"),
        false => format!("{name}: {there} of {} on {when}, in {path}", ByteCount(*total)),
    };
    let mut lines = vec![first];
    if causes.is_empty() {
        lines.push(format!("   {NOTHING}"));
    }
    for (n, told) in (1..).zip(causes) {
        lines.extend([
            format!("{n}. {}", told.line),
            format!("   {}", told.evidence),
            format!("   {}", told.remedy),
        ]);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_has_every_cause_with_evidence_and_remedy() {
        let told = |line: &str| Told {
            cause: "x".to_owned(),
            weight: 80,
            line: line.to_owned(),
            evidence: "seen".to_owned(),
            remedy: "Do something.".to_owned(),
        };
        let mut torrent = Unfinished {
            info_hash: "00".repeat(20),
            name: "a".to_owned(),
            path: "/d/a".to_owned(),
            wants_metadata: false,
            done: 512,
            total: 1024,
            saved: 0,
            causes: vec![told("one"), told("two")],
        };
        let lines = account(&torrent);
        assert_eq!(lines[0], "a: 50.0% of 1.0 KiB on 1970-01-01 00:00:00 UTC, in /d/a");
        assert_eq!(lines[1..4], ["1. one", "   seen", "   Do something."]);
        assert_eq!((lines.len(), &*lines[4]), (7, "2. two"));
        torrent.causes.clear();
        assert_eq!(account(&torrent)[1], "   nothing kept it back");
        torrent.wants_metadata = true;
        assert_eq!(account(&torrent)[0], "a: no metadata on 1970-01-01 00:00:00 UTC");
    }
}
