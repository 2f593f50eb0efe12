//! `magnet`.

use clap::Args;

/// Turn a torrent into a magnet link
#[derive(Debug, Args)]
pub(in crate::cli) struct Magnet {
    /// A torrent file, an http(s) address of one or `-`; of a magnet link, its plain form is printed
    #[arg(value_name = "TORRENT|MAGNET")]
    pub(in crate::cli) torrent: String,
}
