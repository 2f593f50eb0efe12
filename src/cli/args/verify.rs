//! `verify`.

use std::path::PathBuf;

use clap::Args;

use super::outlet::Outlet;

/// Check data on disk against the hashes of its torrent
#[derive(Debug, Args)]
pub(in crate::cli) struct Verify {
    /// Torrent files, or http(s) addresses of them
    #[arg(value_name = "TORRENT", required = true)]
    pub(in crate::cli) torrents: Vec<String>,

    /// Folder that holds the torrent's file or folder
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub(in crate::cli) data: PathBuf,

    /// Let other programs go first
    #[arg(long)]
    pub(in crate::cli) low_priority: bool,

    #[command(flatten)]
    pub(in crate::cli) outlet: Outlet,
}
