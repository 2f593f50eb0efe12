//! `show`.

use std::path::PathBuf;

use clap::Args;

use super::outlet::Outlet;

/// Say what a torrent or a magnet link holds
#[derive(Debug, Args)]
pub(in crate::cli) struct Show {
    /// A torrent file, an http(s) address of one, `-` for standard input, or a magnet link
    #[arg(value_name = "TORRENT|MAGNET")]
    pub(in crate::cli) torrent: String,

    /// Every file, with its length
    #[arg(long)]
    pub(in crate::cli) files: bool,

    /// Every tracker, with its tier
    #[arg(long)]
    pub(in crate::cli) trackers: bool,

    /// Ask every tracker how many peers it knows
    #[arg(long)]
    pub(in crate::cli) scrape: bool,

    /// Certificates (PEM) to trust besides the usual ones
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) ca_file: Option<PathBuf>,

    #[command(flatten)]
    pub(in crate::cli) outlet: Outlet,
}
