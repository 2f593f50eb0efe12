//! The terminal's side of downpour: arguments in, exit codes, bars, tables and objects out.
//!
//! Dispatch only. What may be typed is in `args`, how progress looks is in `progress`, what each
//! command does is in the file of its name. Everything below goes through the public faces of
//! `session` and `metainfo`.

mod allow;
mod args;
mod blocklist;
mod build_info;
mod calendar;
mod choice;
mod create;
mod demo;
mod dht;
mod download;
mod exit;
mod get;
mod input;
mod log;
mod magnet;
mod network;
mod observe;
mod outlet;
mod packaging;
mod progress;
mod redact;
mod scrape;
mod seed;
mod share;
mod show;
mod signals;
mod table;
mod terminal;
mod tracker;
mod transfer;
mod verify;
mod why;
mod work;

use std::{
    ffi::OsString,
    fs::File,
    io::{self, Write as _},
    panic,
    process::ExitCode,
};

use tokio::runtime::Builder;

use args::{Command, General, LogLevel, ParseEnd};
pub use exit::Exit;
use exit::Failure;
use log::Log;
use signals::Signals;
use terminal::Terminal;

/// Runs the program as its arguments say.
pub fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().collect();
    // A panic has been told by the hook already; its exit code should be one of the table.
    let exit = panic::catch_unwind(|| run(&args)).unwrap_or(Exit::Unexpected);
    ExitCode::from(exit.code())
}

fn run(args: &[OsString]) -> Exit {
    let cli = match args::parse(args) {
        Ok(cli) => cli,
        Err(end) => return not_parsed(args, end),
    };
    let mut terminal = Terminal::new(&cli.general);
    if matches!(&cli.command, Command::Create(args) if create::fills_stdout(args)) {
        terminal = terminal.without_objects();
    }
    let exit = Log::open(&cli.general).and_then(|log| {
        terminal.log = log;
        let version = env!("CARGO_PKG_VERSION");
        terminal.log(LogLevel::Info, "start", |line| {
            line.with("version", version).with("pid", std::process::id())
        });
        command(cli.command, terminal)
    });
    let exit = exit.unwrap_or_else(|failure| {
        terminal.failure(&failure);
        failure.exit
    });
    terminal.log(LogLevel::Info, "end", |line| line.with("exit", exit.code()));
    exit
}

/// Descriptors without which no command can do anything; a runtime alone needs some.
const LEAST_DESCRIPTORS: usize = 12;

fn command(command: Command, terminal: Terminal) -> Result<Exit, Failure> {
    let descriptors = std::iter::repeat_with(|| File::open("/dev/null")).take(LEAST_DESCRIPTORS);
    let all = descriptors.collect::<io::Result<Vec<File>>>().map(drop);
    let runtime = all.and_then(|()| Builder::new_current_thread().enable_all().build());
    let runtime = runtime.map_err(|e| exit::could_not_start(&e))?;
    {
        let _inside = runtime.enter();
        signals::outlive_file_limit();
    }
    let ended = match command {
        Command::Show(args) => runtime.block_on(stoppable(show::run(&args, terminal))),
        Command::Magnet(args) => runtime.block_on(magnet::run(&args, terminal)),
        Command::Tracker(args) => runtime.block_on(tracker::run(&args, terminal)),
        Command::Dht(args) => runtime.block_on(stoppable(dht::run(&args, terminal))),
        Command::Why(args) => runtime.block_on(stoppable(why::run(&args, terminal))),
        Command::Demo(args) => runtime.block_on(demo::run(&args, terminal)),
        Command::Create(args) => {
            runtime.block_on(stoppable(async { create::run(&args, terminal) }))
        }
        Command::Verify(args) => runtime.block_on(stoppable(verify::run(&args, terminal))),
        Command::Download(args) => runtime.block_on(download::run(&args, terminal)),
        Command::Seed(args) => runtime.block_on(seed::run(&args, terminal)),
        Command::Share(args) => runtime.block_on(share::run(&args, terminal)),
        Command::Get(args) => runtime.block_on(get::run(&args, terminal)),
        Command::Completions(args) => packaging::completions(&args, terminal),
        Command::Man(args) => packaging::man(&args, terminal),
    };
    // What had to end well has: nobody waits for a name that is still looked up, or a disk that does not answer.
    runtime.shutdown_background();
    ended
}

/// Runs what has nothing to end well.
async fn stoppable(run: impl Future<Output = Result<Exit, Failure>>) -> Result<Exit, Failure> {
    match Signals::are_wanted() {
        true => Signals::listen()?.during(run).await,
        // Then the system ends it at once.
        false => run.await,
    }
}

/// Help and the version are success; anything else is told as clap words it.
fn not_parsed(args: &[OsString], end: ParseEnd) -> Exit {
    let general = General::of_unread(args);
    match end {
        ParseEnd::Clap(e) => {
            let exit = if e.use_stderr() { Exit::Usage } else { Exit::Done };
            let told = args::not_taken(&e);
            if general.json && exit != Exit::Done {
                let first = told.lines().next().unwrap_or_default();
                let message = first.trim_start_matches("error: ");
                Terminal::new(&general).failure_object(&Failure::new(exit, message));
            }
            // A closed pipe is success, and nobody is left to be told of anything else.
            let _ = if exit == Exit::Done || told == e.to_string() {
                // In colours, for there is nothing to be left out.
                e.print()
            } else {
                write!(io::stderr(), "{told}")
            };
            exit
        }
        ParseEnd::Config(failure) => {
            Terminal::new(&general).failure(&failure);
            failure.exit
        }
    }
}
