//! `tracker`.

use std::{path::PathBuf, time::Duration};

use clap::Args;

use super::value::{listen, period};
use crate::metainfo::HostPort;

/// Run a tracker over HTTP and UDP, at which the peers of a torrent find one another
#[derive(Debug, Args)]
pub(in crate::cli) struct Tracker {
    /// Address to listen on; port 0 takes any free one
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:6969", value_parser = listen)]
    pub(in crate::cli) listen: HostPort,

    /// How often peers should come back
    #[arg(long, value_name = "DUR", default_value = "30m", value_parser = period)]
    pub(in crate::cli) interval: Duration,

    /// Serve only the torrents in this file, one info hash a line; it may change while we run
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) allow: Option<PathBuf>,
}
