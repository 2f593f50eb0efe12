//! `seed` and `share`, and when to stop seeding.

use std::{path::PathBuf, time::Duration};

use clap::Args;

use super::{
    network::{Checking, Network},
    value::{duration, ratio},
};

/// Serve data that is already here
#[derive(Debug, Args)]
pub(in crate::cli) struct Seed {
    /// Torrents, or files and folders, of which a torrent is made in memory
    #[arg(value_name = "TORRENT|PATH", required = true)]
    pub(in crate::cli) sources: Vec<String>,

    /// Folder that holds the torrent's file or folder
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub(in crate::cli) data: PathBuf,

    /// Show each peer only a few pieces, such as nobody else has, until the peers have everything among
    /// them: the first copy costs hardly more than one
    #[arg(long)]
    pub(in crate::cli) super_seed: bool,

    #[command(flatten)]
    pub(in crate::cli) limit: SeedLimit,

    #[command(flatten)]
    pub(in crate::cli) checking: Checking,

    #[command(flatten)]
    pub(in crate::cli) network: Network,
}

/// Serve a file or folder to those who are told a code
#[derive(Debug, Args)]
pub(in crate::cli) struct Share {
    /// A file or folder
    #[arg(value_name = "PATH")]
    pub(in crate::cli) path: PathBuf,

    #[command(flatten)]
    pub(in crate::cli) limit: SeedLimit,

    #[command(flatten)]
    pub(in crate::cli) network: Network,
}

/// When seeding ends by itself.
#[derive(Debug, Clone, Copy, Default, Args)]
pub(in crate::cli) struct SeedLimit {
    /// Serve until so many times the torrent's size has been sent, by earlier runs too
    #[arg(long, value_name = "R", value_parser = ratio)]
    pub(in crate::cli) seed_ratio: Option<f64>,

    /// Serve for so long, such as 90m
    #[arg(long, value_name = "DUR", value_parser = duration)]
    pub(in crate::cli) seed_time: Option<Duration>,
}
