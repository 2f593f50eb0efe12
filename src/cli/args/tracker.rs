//! `tracker`.

use std::{net::SocketAddr, time::Duration};

use clap::Args;

use super::value::duration;

/// Run a tracker, at which the peers of a torrent find one another
#[derive(Debug, Args)]
pub(in crate::cli) struct Tracker {
    /// Address to listen on; port 0 takes any free one
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:6969")]
    pub(in crate::cli) listen: SocketAddr,

    /// How often peers should come back
    #[arg(long, value_name = "DUR", default_value = "30m", value_parser = duration)]
    pub(in crate::cli) interval: Duration,
}
