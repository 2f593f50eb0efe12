//! Options that every command takes: how to talk, where the configuration is, what is written down.

use std::{
    ffi::{OsStr, OsString},
    path::PathBuf,
};

use clap::{ArgAction, Args, ValueEnum};

use super::environment::boolish;
use crate::base::units::ByteCount;

#[derive(Debug, Args)]
#[command(next_help_heading = "General")]
pub(in crate::cli) struct General {
    /// Write one JSON object a line to standard output
    #[arg(long, global = true)]
    pub(in crate::cli) json: bool,

    /// Say nothing but errors
    #[arg(short, long, global = true)]
    pub(in crate::cli) quiet: bool,

    /// Say more: pieces and peers as they come and go
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub(in crate::cli) verbose: u8,

    /// How to show progress: `auto` is `bar` on a terminal and `lines` elsewhere
    #[arg(
        long,
        global = true,
        value_name = "HOW",
        default_value = "auto",
        hide_possible_values = true
    )]
    #[arg(help = "How to show progress: auto, bar, lines or none")]
    pub(in crate::cli) progress: ProgressMode,

    /// When to use colours; `auto` honours NO_COLOR
    #[arg(
        long,
        global = true,
        value_name = "WHEN",
        default_value = "auto",
        hide_possible_values = true
    )]
    #[arg(help = "When to use colours: auto (honours NO_COLOR), always or never")]
    pub(in crate::cli) color: Color,

    /// Configuration file instead of `downpour/config.toml` in the user's configuration folder
    #[arg(long, global = true, value_name = "FILE")]
    pub(in crate::cli) config: Option<PathBuf>,

    /// Write what happens to this file, a line each, without secrets
    #[arg(long, global = true, value_name = "FILE")]
    pub(in crate::cli) log: Option<PathBuf>,

    /// What goes to the log: error, warn, info, debug or trace [default: info, with -v debug, with -vv
    /// trace]
    #[arg(long, global = true, value_name = "LEVEL", hide_possible_values = true)]
    pub(in crate::cli) log_level: Option<LogLevel>,

    /// Begin a new log at this size; the last four stay as FILE.1 to FILE.4
    #[arg(long, global = true, value_name = "SIZE", default_value = "16M")]
    pub(in crate::cli) log_size: ByteCount,
}

/// How much a line of the log matters; each level has those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(in crate::cli) enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

/// How progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum ProgressMode {
    Auto,
    Bar,
    Lines,
    None,
}

/// When colours are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum Color {
    Auto,
    Always,
    Never,
}

impl General {
    /// What can be told of a line that could not be read: whether it, or else the environment, asks for `--json`.
    pub(in crate::cli) fn of_unread(args: &[OsString]) -> Self {
        let typed = args.iter().skip(1).take_while(|arg| *arg != "--");
        let typed = typed.filter_map(|arg| match arg.to_str()?.strip_prefix("--json")? {
            "" => Some(true),
            value => boolish(OsStr::new(value.strip_prefix('=')?)),
        });
        let said = || std::env::var_os("DOWNPOUR_JSON").and_then(|value| boolish(&value));
        General {
            json: typed.last().or_else(said).unwrap_or(false),
            quiet: false,
            verbose: 0,
            progress: ProgressMode::Auto,
            color: Color::Auto,
            config: None,
            log: None,
            log_level: None,
            log_size: ByteCount(0),
        }
    }

    /// What goes to the log.
    pub(in crate::cli) fn log_level(&self) -> LogLevel {
        self.log_level.unwrap_or(match self.verbose {
            0 => LogLevel::Info,
            1 => LogLevel::Debug,
            _ => LogLevel::Trace,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_is_said_or_follows_from_how_much_is_told() {
        let mut general = General::of_unread(&[]);
        assert_eq!(general.log_level(), LogLevel::Info);
        general.verbose = 1;
        assert_eq!(general.log_level(), LogLevel::Debug);
        general.verbose = 3;
        assert_eq!(general.log_level(), LogLevel::Trace);
        general.log_level = Some(LogLevel::Error);
        assert_eq!(general.log_level(), LogLevel::Error);
    }
}
