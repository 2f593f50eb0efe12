//! `verify`: checks data on disk; names each bad file, piece and byte range.

use serde::Serialize;

use super::{
    args,
    create::plural,
    exit::{Exit, Failure},
    input,
    progress::{Stage, View, count},
    table::Table,
    terminal::{Terminal, printable},
    work,
};
use crate::{
    base::units::ByteCount,
    session::check::{self, BadFile, BadRange, Effort, FileState, RangeFault, Report},
};

pub(super) async fn run(args: &args::Verify, terminal: Terminal) -> Result<Exit, Failure> {
    let mut exits = Vec::new();
    let mut last = None;
    for text in &args.torrents {
        if let Some(failure) = last.take() {
            terminal.failure(&failure);
        }
        match one(text, args, terminal).await {
            Ok(()) => exits.push(Exit::Done),
            Err(failure) if failure.closed_pipe || failure.exit.is_signal() => return Err(failure),
            Err(failure) => {
                let failure = failure.input(text);
                exits.push(failure.exit);
                last = Some(failure);
            }
        }
    }
    let exit = Exit::of_all(exits.iter().copied());
    match last {
        // The failure of the only one ends the run as it is.
        Some(failure) if exits.len() == 1 => Err(failure),
        last => {
            if let Some(failure) = last {
                terminal.failure(&failure);
            }
            let what = if exits.contains(&Exit::Verify) { "do not verify" } else { "failed" };
            terminal.end(exit, &format!("{} of {} {what}", bad(&exits), exits.len()))
        }
    }
}

fn bad(exits: &[Exit]) -> usize {
    exits.iter().filter(|e| **e != Exit::Done).count()
}

async fn one(text: &str, args: &args::Verify, terminal: Terminal) -> Result<(), Failure> {
    let torrent = input::torrent(text, &args.outlet, None).await?;
    input::folder(&args.data)?;
    let info = &torrent.info;
    let view = View {
        id: info.info_hash().wire().to_string(),
        name: info.name().to_owned(),
        stage: Stage::Checking,
        total: info.geometry().total(),
        ..View::default()
    };
    let id = view.id.clone();
    let effort = Effort::default().with_low_priority(args.low_priority);
    let report =
        work::watch(terminal, view, |watch| check::check(info, &args.data, effort, watch))?
            .expect("only a failure to show progress cancels, and that has returned");
    if terminal.json {
        terminal.event("checked", &Checked::of(id, info.name(), &report))?;
    } else if !report.is_good() {
        let table = table(&report, terminal.tables_aligned);
        terminal.data(&table.lines(terminal.tables_aligned).join("\n"))?;
    }
    if report.is_good() {
        let pieces = plural(report.pieces.into(), "piece");
        let (name, size) = (printable(info.name()), ByteCount(report.bytes));
        terminal.say(&format!("{name}: good, {pieces}, {size}"));
        return Ok(());
    }
    let unreadable = |f: &BadFile| matches!(f.state, Some(FileState::Unreadable(_)));
    let exit = match report.bad_files.iter().any(unreadable) {
        true => Exit::Disk,
        false => Exit::Verify,
    };
    let wrong = report.bad_files.iter().filter(|f| is_wrong(f)).count();
    let unproven = match report.bad_files.len() - wrong {
        0 => String::new(),
        n => format!(", {} not proven because of them", count(n as u64)),
    };
    let message = format!(
        "`{}` does not verify: {} of {} right, {} wrong{unproven}",
        printable(info.name()),
        count(report.pieces_good.into()),
        plural(report.pieces.into(), "piece"),
        plural(wrong as u64, "file"),
    );
    Err(Failure::new(exit, message))
}

/// Whether a file is itself at fault, and not only next to one that is.
fn is_wrong(file: &BadFile) -> bool {
    file.state.is_some() || file.ranges.iter().any(|r| r.fault != RangeFault::Unproven)
}

/// A row for each bad range, and one for each file that is wrong as a whole.
fn table(report: &Report, people: bool) -> Table {
    let mut table = Table::new(&[]);
    for file in &report.bad_files {
        if let Some(state) = &file.state {
            let pieces = match state {
                FileState::Unreadable(fault) => fault.cause.clone(),
                FileState::Shorter { length } | FileState::Longer { length } => {
                    format!("{length} bytes instead of {}", file.length)
                }
                FileState::Missing => String::new(),
            };
            table.row([file.path.clone(), word(state).to_owned(), pieces]);
        }
        for range in &file.ranges {
            let (first, last) = range.pieces.clone().into_inner();
            let pieces = if first == last { format!("{first}") } else { format!("{first}-{last}") };
            let bytes = format!("{}-{}", range.offset, range.offset + range.length - 1);
            let label = |what: &str, value: String| match people {
                true => format!("{what} {value}"),
                false => value,
            };
            let what = if first == last { "piece" } else { "pieces" };
            table.row([
                file.path.clone(),
                fault(range.fault).to_owned(),
                label(what, pieces),
                label("bytes", bytes),
            ]);
        }
    }
    table
}

const fn word(state: &FileState) -> &'static str {
    match state {
        FileState::Missing => "missing file",
        FileState::Shorter { .. } => "too short",
        FileState::Longer { .. } => "too long",
        FileState::Unreadable(_) => "unreadable",
    }
}

const fn fault(fault: RangeFault) -> &'static str {
    match fault {
        RangeFault::Wrong => "wrong",
        RangeFault::Missing => "missing",
        RangeFault::Unproven => "unproven",
    }
}

/// What `--json` says of one torrent.
#[derive(Serialize)]
struct Checked<'a> {
    id: String,
    name: &'a str,
    good: bool,
    pieces: u32,
    pieces_good: u32,
    bytes: u64,
    bytes_good: u64,
    bad_files: Vec<Bad<'a>>,
}

#[derive(Serialize)]
struct Bad<'a> {
    path: &'a str,
    length: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<&'static str>,
    ranges: Vec<Range>,
}

#[derive(Serialize)]
struct Range {
    fault: &'static str,
    first_piece: u32,
    last_piece: u32,
    offset: u64,
    length: u64,
}

impl<'a> Checked<'a> {
    fn of(id: String, name: &'a str, report: &'a Report) -> Self {
        let range = |r: &BadRange| Range {
            fault: fault(r.fault),
            first_piece: *r.pieces.start(),
            last_piece: *r.pieces.end(),
            offset: r.offset,
            length: r.length,
        };
        let bad = |f: &'a BadFile| Bad {
            path: &f.path,
            length: f.length,
            state: f.state.as_ref().map(word),
            ranges: f.ranges.iter().map(range).collect(),
        };
        Checked {
            id,
            name,
            good: report.is_good(),
            pieces: report.pieces,
            pieces_good: report.pieces_good,
            bytes: report.bytes,
            bytes_good: report.bytes_good,
            bad_files: report.bad_files.iter().map(bad).collect(),
        }
    }
}
