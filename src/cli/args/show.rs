//! `show`.

use clap::Args;

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
}
