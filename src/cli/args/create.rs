//! `create`.

use std::path::PathBuf;

use clap::Args;

use crate::base::units::ByteCount;

use super::value::{Tier, web_url};

/// Write a torrent file for a file or folder
#[derive(Debug, Args)]
pub(in crate::cli) struct Create {
    /// The file or folder to share
    #[arg(value_name = "PATH")]
    pub(in crate::cli) path: PathBuf,

    /// Where to write the torrent; `-` is standard output [default: NAME.torrent here]
    #[arg(short, long, value_name = "FILE")]
    pub(in crate::cli) output: Option<PathBuf>,

    /// A tracker (may be repeated: one tier each; a comma joins one tier)
    #[arg(long, value_name = "URL")]
    pub(in crate::cli) tracker: Vec<Tier>,

    /// An http(s) address where the data can also be had (may be repeated)
    #[arg(long, value_name = "URL", value_parser = web_url)]
    pub(in crate::cli) webseed: Vec<String>,

    /// Length of a piece: a power of two of at least 16K [default: by the size of the data]
    #[arg(long, value_name = "SIZE")]
    pub(in crate::cli) piece_length: Option<ByteCount>,

    /// Only peers from the torrent's own trackers
    #[arg(long)]
    pub(in crate::cli) private: bool,

    /// Where the torrent comes from; changes the info hash
    #[arg(long, value_name = "S")]
    pub(in crate::cli) source: Option<String>,

    /// A remark for people
    #[arg(long, value_name = "S")]
    pub(in crate::cli) comment: Option<String>,

    /// Name of the file or folder in the torrent [default: that of PATH]
    #[arg(long, value_name = "S")]
    pub(in crate::cli) name: Option<String>,

    /// Only files whose path matches (may be repeated; `!` in front leaves out)
    #[arg(long, value_name = "PATTERN")]
    pub(in crate::cli) glob: Vec<String>,

    /// Also files and folders whose name begins with a dot
    #[arg(long)]
    pub(in crate::cli) include_hidden: bool,

    /// Leave out when it was made: the same data gives the same file
    #[arg(long)]
    pub(in crate::cli) no_date: bool,

    /// Hash and report, but write nothing
    #[arg(long)]
    pub(in crate::cli) dry_run: bool,

    /// Replace a torrent file that is already there
    #[arg(long)]
    pub(in crate::cli) force: bool,

    /// Print only the magnet link
    #[arg(long)]
    pub(in crate::cli) magnet: bool,

    /// Let other programs go first
    #[arg(long)]
    pub(in crate::cli) low_priority: bool,
}
