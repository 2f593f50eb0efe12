//! `download` and `get`.

use std::path::PathBuf;

use clap::Args;

use super::{
    choice::Choice,
    network::{Checking, Network},
    seed::SeedLimit,
};

/// Fetch torrents, and leave when every byte that is wanted is verified
#[derive(Debug, Clone, Args)]
pub(in crate::cli) struct Download {
    /// Torrents: files, magnet links, info hashes, http(s) addresses, or `-` for standard input
    #[arg(value_name = "TORRENT|MAGNET", required = true)]
    pub(in crate::cli) torrents: Vec<String>,

    /// Only write a torrent file for each magnet link into the output folder
    #[arg(long, conflicts_with_all = ["seed", "list"])]
    pub(in crate::cli) metadata_only: bool,

    #[command(flatten)]
    pub(in crate::cli) fetch: Fetch,
}

/// Fetch what somebody shares
#[derive(Debug, Clone, Args)]
pub(in crate::cli) struct Get {
    /// The code that `share` printed
    #[arg(value_name = "CODE")]
    pub(in crate::cli) code: String,

    #[command(flatten)]
    pub(in crate::cli) fetch: Fetch,
}

/// How torrents are fetched.
#[derive(Debug, Clone, Args)]
pub(in crate::cli) struct Fetch {
    /// Folder in which the torrent's file or folder appears
    #[arg(short, long, value_name = "DIR", default_value = ".")]
    pub(in crate::cli) output: PathBuf,

    #[command(flatten)]
    pub(in crate::cli) choice: Choice,

    /// Keep serving when done, until stopped
    #[arg(long)]
    pub(in crate::cli) seed: bool,

    #[command(flatten)]
    pub(in crate::cli) limit: SeedLimit,

    /// Fetch pieces in order instead of the rarest first
    #[arg(long)]
    pub(in crate::cli) sequential: bool,

    /// Use files that are longer than the torrent says, or of which no piece is right
    #[arg(long)]
    pub(in crate::cli) force: bool,

    #[command(flatten)]
    pub(in crate::cli) checking: Checking,

    #[command(flatten)]
    pub(in crate::cli) network: Network,
}
