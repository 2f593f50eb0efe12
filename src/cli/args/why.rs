//! `why`.

use std::path::PathBuf;

use clap::Args;

use super::outlet::Outlet;

/// Say why torrents are slow or stuck, and what to do about it
///
/// Every run leaves in the state folder why a torrent that is not complete did not get on, or a link whose metadata
/// has not come, also while it goes on. Without a torrent all of them are listed, each with its first cause.
#[derive(Debug, Args)]
pub(in crate::cli) struct Why {
    /// A torrent file, an http(s) address of one, `-` for standard input, a magnet link or an info hash
    #[arg(value_name = "TORRENT|MAGNET|INFOHASH")]
    pub(in crate::cli) torrent: Option<String>,

    /// Folder that the run used [default: downpour in the user's state folder]
    #[arg(long, value_name = "DIR")]
    pub(in crate::cli) state_dir: Option<PathBuf>,

    #[command(flatten)]
    pub(in crate::cli) outlet: Outlet,
}
