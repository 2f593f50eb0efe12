//! `dht`.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Subcommand};

use super::{outlet::Outlet, value::duration};
use crate::{metainfo::HostPort, session::dht_tool::NodeId};

/// Look into the distributed hash table, in which torrents are found without a tracker
#[derive(Debug, Args)]
pub(in crate::cli) struct Dht {
    #[command(subcommand)]
    pub(in crate::cli) question: Question,

    #[command(flatten)]
    pub(in crate::cli) way: Way,
}

/// How the table is entered.
#[derive(Debug, Args)]
#[command(next_help_heading = "Network")]
pub(in crate::cli) struct Way {
    /// UDP port to ask from [default: any that is free]
    #[arg(long, value_name = "N", global = true)]
    pub(in crate::cli) dht_port: Option<u16>,

    /// A node by which to enter, instead of the well-known ones (may be repeated)
    #[arg(long, value_name = "HOST:PORT", value_delimiter = ',', global = true)]
    pub(in crate::cli) dht_bootstrap: Vec<HostPort>,

    /// Do without IPv6
    #[arg(long, global = true)]
    pub(in crate::cli) no_ipv6: bool,

    /// Give up entering after so long
    #[arg(long, value_name = "DUR", default_value = "30s", value_parser = duration, global = true)]
    pub(in crate::cli) timeout: Duration,

    /// Folder in which sessions keep what they know of nodes [default: downpour in the user's state
    /// folder]
    #[arg(long, value_name = "DIR", global = true)]
    pub(in crate::cli) state_dir: Option<PathBuf>,

    #[command(flatten)]
    pub(in crate::cli) outlet: Outlet,
}

/// What to ask.
#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Question {
    /// Ask one node whether it is there, and for its id
    Ping {
        /// The node
        node: HostPort,
    },
    /// Find the peers of a torrent
    Find {
        /// A torrent file, a magnet link or an info hash
        torrent: String,
    },
    /// Read what is stored under a hash or a key
    Get {
        /// The hash of a value that never changes (40 digits), or the public key of one that may (64)
        target: String,

        /// Tells values of one key apart
        #[arg(long, value_name = "TEXT", default_value = "")]
        salt: String,
    },
    /// Store a text for about two hours, and print where it can be read
    Put {
        /// The text, at most 990 bytes
        text: String,

        /// File with the secret key of a value that may change; made if there is none
        #[arg(long, value_name = "FILE")]
        key: Option<PathBuf>,

        /// Tells values of one key apart
        #[arg(long, value_name = "TEXT", default_value = "", requires = "key")]
        salt: String,
    },
    /// Ask the nodes near a hash, or anywhere, which torrents they know
    Sample {
        /// Near which hash
        hash: Option<NodeId>,
    },
}
