//! `magnet`.

use std::path::PathBuf;

use clap::Args;

use super::network::Network;

/// Turn a torrent into a magnet link, or a magnet link into a torrent file
#[derive(Debug, Args)]
pub(in crate::cli) struct Magnet {
    /// A torrent file, an http(s) address of one or `-`, of which the link is printed; or a magnet
    /// link or an info hash, of which the torrent file is fetched from peers
    #[arg(value_name = "TORRENT|MAGNET")]
    pub(in crate::cli) torrent: String,

    /// Print the link of a link too, in its plain form; ask nobody
    #[arg(long)]
    pub(in crate::cli) print: bool,

    /// Where the torrent file is written, or in which folder
    #[arg(short, long, value_name = "FILE", default_value = ".")]
    pub(in crate::cli) output: PathBuf,

    /// Overwrite a file that is there
    #[arg(long)]
    pub(in crate::cli) force: bool,

    #[command(flatten)]
    pub(in crate::cli) network: Network,
}
