//! Options that every command takes: how to talk, and where the configuration is.

use std::{ffi::OsString, path::PathBuf};

use clap::{ArgAction, Args, ValueEnum};

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
    /// What can be told of a line that could not be read: whether it asks for `--json`.
    pub(in crate::cli) fn of_unread(args: &[OsString]) -> Self {
        General {
            json: args.iter().skip(1).take_while(|a| *a != "--").any(|a| a == "--json"),
            quiet: false,
            verbose: 0,
            progress: ProgressMode::Auto,
            color: Color::Auto,
            config: None,
        }
    }
}
