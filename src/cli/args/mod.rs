//! The command line as types: what may be typed, and what it means when it is not typed.
//!
//! Owns every name, default and help text; one file per command or concern. The only home of
//! `clap`. What a command does is in the file of the same name one level up.

mod choice;
mod create;
mod demo;
mod dht;
mod download;
mod environment;
mod general;
mod magnet;
mod mistake;
mod network;
mod outlet;
mod packaging;
mod precedence;
mod seed;
mod settings;
mod show;
mod tracker;
mod value;
mod verify;
mod why;

use std::ffi::OsString;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

pub(super) use choice::{Choice, Level, Numbers, Wanted};
pub(super) use create::Create;
pub(super) use demo::{Demo, Kill};
pub(super) use dht::{Dht, Question as DhtQuestion, Way as DhtWay};
pub(super) use download::{Download, Fetch, Get};
pub(super) use general::{Color, General, LogLevel, ProgressMode};
pub(super) use magnet::Magnet;
pub(super) use network::{Checking, Encryption, Limits, Network};
pub(super) use outlet::Outlet;
pub(super) use packaging::{Completions, Man, manual, pages};
pub(super) use seed::{Seed, SeedLimit, Share};
pub(super) use settings::state_folder;
pub(super) use show::Show;
pub(super) use tracker::Tracker;
pub(super) use verify::Verify;
pub(super) use why::Why;

use environment::Switches;
pub(in crate::cli) use mistake::not_taken;
use settings::Settings;

use super::{build_info, exit::Failure};

/// Share files with many peers, each of whom passes on what it has.
#[derive(Debug, Parser)]
#[command(
    name = "downpour",
    version,
    long_version = build_info::text(),
    disable_help_subcommand = true,
    arg_required_else_help = true,
    max_term_width = 100,
    after_help = "Every option has an environment name (`--max-up` is DOWNPOUR_MAX_UP) and a key in \
                  the configuration file (`max-up = \"2M\"`, or for one command below `[command.download]`). \
                  An option given wins over the environment, that over the file; \
                  `--no-dht=false` takes back what they say of a switch.\n\n\
                  Exit codes: 0 done, 1 unexpected, 2 usage, 3 input, 4 network, 5 does not verify, \
                  6 disk, 7 target exists, 9 some inputs failed, 130/143 stopped by a signal."
)]
pub(super) struct Cli {
    #[command(flatten)]
    pub(super) general: General,
    #[command(subcommand)]
    pub(super) command: Command,
}

/// One thing to do.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    Download(Download),
    Seed(Seed),
    Share(Share),
    Get(Get),
    Create(Create),
    Show(Show),
    Verify(Verify),
    Magnet(Magnet),
    Tracker(Tracker),
    Dht(Dht),
    Why(Why),
    Demo(Demo),
    Completions(Completions),
    Man(Man),
}

/// Why there is no [`Cli`].
#[derive(Debug)]
pub(super) enum ParseEnd {
    /// Help, the version or a usage error, as clap words it.
    Clap(clap::Error),
    /// The configuration file is at fault.
    Config(Failure),
}

/// Reads `args` (the program's name first) with the environment and the configuration file.
pub(super) fn parse(args: &[OsString]) -> Result<Cli, ParseEnd> {
    let command = environment::with_environment(Cli::command());
    let switches = Switches::of(&command, args);
    let command = switches.without_taken_back(command);
    let excluded = precedence::excluded_by_typed(&command, &switches.args);
    let command = precedence::without_environment(command, &excluded);
    let matches = command.clone().try_get_matches_from(&switches.args).map_err(ParseEnd::Clap)?;
    let cli = Cli::from_arg_matches(&matches).map_err(ParseEnd::Clap)?;
    let Some(path) = settings::path(cli.general.config.as_deref()) else { return Ok(cli) };
    let settings = Settings::read(&path, &command).map_err(ParseEnd::Config)?;
    let chosen = matches.subcommand_name().unwrap_or_default();
    let excluded = precedence::excluded_by_said(&command, &matches);
    let command = settings.apply(command, chosen, &excluded);
    let command = switches.without_taken_back(command);
    let matches = command.clone().try_get_matches_from(&switches.args);
    let matches = matches.map_err(|e| settings.blame(&command, chosen, e))?;
    Cli::from_arg_matches(&matches).map_err(ParseEnd::Clap)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn definitions_are_consistent() {
        environment::with_environment(Cli::command()).debug_assert();
    }

    #[test]
    fn switches_for_what_is_not_there_yet_are_accepted_everywhere_they_will_be() {
        let off = "--no-dht --no-lsd --no-pex --no-upnp --no-utp --no-webseed";
        for command in ["download x.torrent", "seed x.torrent"] {
            let args: Vec<OsString> = std::iter::once("downpour")
                .chain(command.split(' '))
                .chain(off.split(' '))
                .map(Into::into)
                .collect();
            assert!(parse(&args).is_ok(), "{command}");
        }
    }
}
