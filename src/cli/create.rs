//! `create`: writes a torrent file. Also makes the torrents that `seed` keeps in memory.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use serde::Serialize;

use super::{
    args,
    exit::{self, Exit, Failure},
    progress::{Stage, View, count},
    table::Table,
    terminal::Terminal,
    work,
};
use crate::{
    base::{
        limits::{MAX_NAME_BYTES, MAX_PIECE_LENGTH},
        units::{BLOCK_LEN, ByteCount},
    },
    metainfo::{Magnet, Metainfo},
    session::{
        check::Effort,
        create::{CreateError, Options, Plan},
        glob::Globs,
    },
};

/// Who made the torrent, as it says in the file.
const CREATED_BY: &str = concat!("downpour/", env!("CARGO_PKG_VERSION"));

#[derive(Serialize)]
struct Done<'a> {
    /// Where the file is; absent when none was written.
    #[serde(skip_serializing_if = "Option::is_none")]
    torrent: Option<String>,
    name: &'a str,
    info_hash: String,
    magnet: String,
    size: u64,
    files: usize,
    piece_length: u32,
    pieces: u32,
    exit: u8,
}

/// Whether the torrent goes to standard output, where there is no place for objects then.
pub(super) fn fills_stdout(args: &args::Create) -> bool {
    !args.dry_run && args.output.as_deref() == Some(Path::new("-"))
}

pub(super) fn run(args: &args::Create, terminal: Terminal) -> Result<Exit, Failure> {
    let options = options(args)?;
    let mut plan = Plan::new(&args.path, &options).map_err(|e| failure(&e))?;
    let target = Target::of(args, plan.builder.layout().name());
    if let Target::File(path) = &target {
        can_be_written(path, args.force)?;
    }
    let is_stdout = matches!(target, Target::Stdout);
    if is_stdout && args.magnet {
        let problem = "standard output holds the torrent, and not its link too";
        return Err(Failure::new(Exit::Usage, problem));
    }
    let builder = &mut plan.builder;
    builder.tiers = args.tracker.iter().map(|tier| tier.0.clone()).collect();
    builder.web_seeds = args.webseed.clone();
    builder.private = args.private;
    builder.source = args.source.clone();
    builder.comment = args.comment.clone();
    builder.creation_date = (!args.no_date).then(now);
    if args.private && args.tracker.is_empty() {
        terminal.warn("a private torrent without a tracker: its peers cannot find one another")?;
    }
    let effort = Effort::default().with_low_priority(args.low_priority);
    let torrent = hash(plan, effort, terminal)?;
    match &target {
        Target::File(path) => write(path, &torrent.to_bytes(), args.force)?,
        Target::Stdout => {
            terminal.raw(&torrent.to_bytes())?;
            return Ok(Exit::Done);
        }
        Target::Nowhere => {}
    }
    report(&torrent, &target, args.magnet, terminal)?;
    Ok(Exit::Done)
}

/// Makes a torrent of `path` with everything chosen by itself.
pub(super) fn in_memory(path: &Path, terminal: Terminal) -> Result<Metainfo, Failure> {
    in_memory_with(path, |_, _| Ok(None), terminal)
}

/// The same with the `source` that its name and length give.
pub(super) fn in_memory_with(
    path: &Path,
    source: impl FnOnce(&str, u64) -> Result<Option<String>, Failure>,
    terminal: Terminal,
) -> Result<Metainfo, Failure> {
    let mut plan = Plan::new(path, &Options::default()).map_err(|e| failure(&e))?;
    let layout = plan.builder.layout();
    plan.builder.source = source(layout.name(), layout.total())?;
    hash(plan, Effort::default(), terminal)
}

fn hash(mut plan: Plan, effort: Effort, terminal: Terminal) -> Result<Metainfo, Failure> {
    plan.builder.created_by = Some(CREATED_BY.to_owned());
    for path in &plan.skipped {
        terminal.warn(&format!("left out: `{}` is not a file or folder", path.display()))?;
    }
    let layout = plan.builder.layout();
    let view = View {
        name: layout.name().to_owned(),
        stage: Stage::Hashing,
        total: layout.total(),
        ..View::default()
    };
    work::watch(terminal, view, |watch| plan.hash(effort, watch))?.map_err(|e| failure(&e))
}

fn options(args: &args::Create) -> Result<Options, Failure> {
    let globs = Globs::new(&args.glob)
        .map_err(|e| Failure::new(Exit::Usage, "could not use what --glob says").cause(&e))?;
    let piece_length = match args.piece_length {
        None => None,
        Some(ByteCount(n)) => match u32::try_from(n) {
            Ok(n) if n.is_power_of_two() && (BLOCK_LEN..=MAX_PIECE_LENGTH).contains(&n) => Some(n),
            _ => {
                let problem = format!("a piece length of {n} bytes is not possible");
                return Err(Failure::new(Exit::Usage, problem)
                    .remedy("Use a power of two from 16K to 512M, such as 256K or 1M."));
            }
        },
    };
    let (name, include_hidden) = (args.name.clone(), args.include_hidden);
    Ok(Options { name, piece_length, globs, include_hidden, ..Options::default() })
}

/// Where the torrent file goes.
enum Target {
    File(PathBuf),
    Stdout,
    Nowhere,
}

impl Target {
    fn of(args: &args::Create, name: &str) -> Target {
        match &args.output {
            _ if args.dry_run => Target::Nowhere,
            Some(path) if path == Path::new("-") => Target::Stdout,
            Some(path) => Target::File(torrent_file(path, name)),
            None => Target::File(file_name(name).into()),
        }
    }
}

/// What the names of torrent files end with.
const EXTENSION: &str = ".torrent";

/// The torrent file of what is called `name` at `path`, or in that folder.
pub(super) fn torrent_file(path: &Path, name: &str) -> PathBuf {
    if path.is_dir() { path.join(file_name(name)) } else { path.to_owned() }
}

/// The name of the torrent file of what is called `name`.
pub(super) fn file_name(name: &str) -> String {
    let mut cut = name.len().min(MAX_NAME_BYTES - EXTENSION.len());
    while !name.is_char_boundary(cut) {
        cut -= 1;
    }
    format!("{}{EXTENSION}", &name[..cut])
}

/// Finds out before the work begins what would stop [`write`] after it.
fn can_be_written(path: &Path, force: bool) -> Result<(), Failure> {
    if !force && path.symlink_metadata().is_ok() {
        return Err(exists(path));
    }
    new_beside(path).and_then(|(part, _)| fs::remove_file(part)).map_err(|e| unwritten(path, &e))
}

fn unwritten(path: &Path, error: &io::Error) -> Failure {
    Failure::new(Exit::Disk, format!("could not write `{}`", path.display())).cause(error)
}

/// Writes the whole file or nothing.
pub(super) fn write(path: &Path, bytes: &[u8], force: bool) -> Result<(), Failure> {
    let (part, mut file) = new_beside(path).map_err(|e| unwritten(path, &e))?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    let named = written.and_then(|()| match force {
        true => fs::rename(&part, path),
        // Somebody may have made it while we were hashing.
        false => place(&part, path),
    });
    if named.is_err() {
        // What is left of it is of no use; the first error is the one to tell.
        let _ = fs::remove_file(&part);
    }
    named.map_err(|e| match e.kind() {
        io::ErrorKind::AlreadyExists => exists(path),
        _ => unwritten(path, &e),
    })
}

/// A new file in the folder of `path`, by a name that nothing has.
fn new_beside(path: &Path) -> io::Result<(PathBuf, File)> {
    let mut number = 0;
    loop {
        let part = path.with_file_name(format!(".{}.{number}.part", std::process::id()));
        match OpenOptions::new().write(true).create_new(true).open(&part) {
            // A kill has left it, or it is another host's.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
            opened => return opened.map(|file| (part, file)),
        }
    }
}

/// Gives the file at `part` the name `path`, if nothing has it.
fn place(part: &Path, path: &Path) -> io::Result<()> {
    match fs::hard_link(part, path) {
        Ok(()) => fs::remove_file(part),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(error),
        // Not every file system has links.
        Err(_) if path.symlink_metadata().is_ok() => Err(io::ErrorKind::AlreadyExists.into()),
        Err(_) => fs::rename(part, path),
    }
}

fn exists(path: &Path) -> Failure {
    Failure::new(Exit::Exists, format!("`{}` exists already", path.display()))
        .remedy("Replace it with --force, or choose another with --output.")
}

fn report(
    torrent: &Metainfo,
    target: &Target,
    only_link: bool,
    terminal: Terminal,
) -> Result<(), Failure> {
    let info = &torrent.info;
    let magnet = Magnet::from_metainfo(torrent).to_string();
    let written = match target {
        Target::File(path) => Some(path.display().to_string()),
        Target::Stdout | Target::Nowhere => None,
    };
    let done = Done {
        torrent: written,
        name: info.name(),
        info_hash: info.info_hash().wire().to_string(),
        magnet,
        size: info.layout().total(),
        files: info.layout().files().filter(|f| f.is_stored()).count(),
        piece_length: info.geometry().piece_length(),
        pieces: info.geometry().pieces(),
        exit: Exit::Done.code(),
    };
    if terminal.json {
        return terminal.event("done", &done);
    }
    terminal.say(&format!(
        "{}: {} in {}, {} of {}",
        done.name,
        ByteCount(done.size),
        plural(done.files as u64, "file"),
        plural(done.pieces.into(), "piece"),
        ByteCount(done.piece_length.into()),
    ));
    if only_link {
        return terminal.data(&done.magnet);
    }
    let mut table = Table::new(&[]);
    if let Some(path) = done.torrent {
        table.row(["torrent".to_owned(), path]);
    }
    table.row(["info hash".to_owned(), done.info_hash]).row(["magnet".to_owned(), done.magnet]);
    terminal.data(&table.lines(terminal.tables_aligned).join("\n"))
}

/// `1 file`, `2,000 files`.
pub(super) fn plural(n: u64, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{} {what}s", count(n)) }
}

fn failure(error: &CreateError) -> Failure {
    let exit = match error {
        CreateError::Io { source, .. } => exit::of_input(source),
        _ => Exit::Input,
    };
    let mut failure = Failure::new(exit, error.to_string());
    if let Some(source) = std::error::Error::source(error) {
        failure = failure.cause(source);
    }
    failure
}

#[expect(clippy::disallowed_methods, reason = "the date goes into the file")]
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs())
}
