//! Options of the commands that exchange data with peers.

use std::{path::PathBuf, time::Duration};

use clap::{Args, ValueEnum};

use crate::{
    base::units::{ByteCount, ByteRate},
    metainfo::HostPort,
};

use super::{
    outlet::Outlet,
    value::{Tier, duration, rate},
};

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Network")]
pub(in crate::cli) struct Network {
    /// Port to listen on for peers; 0 takes any free one [default: the first free from 6881 on]
    #[arg(long, value_name = "N")]
    pub(in crate::cli) port: Option<u16>,

    /// A peer to connect to (may be repeated)
    #[arg(long, value_name = "HOST:PORT", value_delimiter = ',')]
    pub(in crate::cli) peer: Vec<HostPort>,

    /// A tracker to ask, besides those of the torrent (may be repeated; a comma joins one tier)
    #[arg(long, value_name = "URL")]
    pub(in crate::cli) tracker: Vec<Tier>,

    /// Ask no tracker
    #[arg(long, conflicts_with = "tracker")]
    pub(in crate::cli) no_trackers: bool,

    /// Do without the distributed hash table
    #[arg(long)]
    pub(in crate::cli) no_dht: bool,

    /// Neither tell peers of one another nor listen to what they tell
    #[arg(long)]
    pub(in crate::cli) no_pex: bool,

    /// Neither announce on the local network nor listen there
    #[arg(long)]
    pub(in crate::cli) no_lsd: bool,

    /// Fetch nothing from the web seeds of a torrent
    #[arg(long)]
    pub(in crate::cli) no_webseed: bool,

    /// Ask no router to let peers in (PCP, NAT-PMP, UPnP)
    #[arg(long)]
    pub(in crate::cli) no_upnp: bool,

    /// UDP port of the distributed hash table [default: the number of --port, if it is free]
    #[arg(long, value_name = "N", conflicts_with = "no_dht")]
    pub(in crate::cli) dht_port: Option<u16>,

    /// A node by which to enter the distributed hash table, instead of the well-known ones (may be
    /// repeated)
    #[arg(long, value_name = "HOST:PORT", value_delimiter = ',', conflicts_with = "no_dht")]
    pub(in crate::cli) dht_bootstrap: Vec<HostPort>,

    /// When connections with peers are encrypted
    #[arg(long, value_name = "POLICY", value_enum, default_value_t = Encryption::Allowed)]
    pub(in crate::cli) encryption: Encryption,

    /// Neither dial nor let in the addresses on a list of PeerGuardian (P2P) or eMule (DAT), or of nets
    /// and ranges, packed by gzip or not; trackers are asked all the same (may be repeated)
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) blocklist: Vec<PathBuf>,

    /// Neither listen nor dial over IPv6
    #[arg(long)]
    pub(in crate::cli) no_ipv6: bool,

    /// Most peers connected at once, for each torrent
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(in crate::cli) max_peers: u32,

    /// Peers served at once, for each torrent [default: as many as it takes to fill the uplink]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(in crate::cli) upload_slots: Option<u32>,

    #[command(flatten)]
    pub(in crate::cli) limits: Limits,

    /// Memory for buffers and queues
    #[arg(long, value_name = "SIZE", default_value = "64M")]
    pub(in crate::cli) memory: ByteCount,

    /// Give up after so long without progress, such as 30s or 5m
    #[arg(long, value_name = "DUR", value_parser = duration)]
    pub(in crate::cli) timeout: Option<Duration>,

    /// Folder for what the next run should know, so that data is hashed and metadata fetched once
    /// [default: downpour in the user's state folder]
    #[arg(long, value_name = "DIR")]
    pub(in crate::cli) state_dir: Option<PathBuf>,

    /// Certificates (PEM) to trust besides the usual ones
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) ca_file: Option<PathBuf>,

    #[command(flatten)]
    pub(in crate::cli) outlet: Outlet,

    #[command(flatten)]
    pub(in crate::cli) off: Off,
}

/// What is exchanged with peers at most.
#[derive(Debug, Clone, Args)]
pub(in crate::cli) struct Limits {
    /// Receive at most so many bytes a second, such as 2M or 500K
    #[arg(long, value_name = "RATE", alias = "download-limit", value_parser = rate)]
    pub(in crate::cli) max_down: Option<ByteRate>,

    /// Send at most so many bytes a second, such as 2M or 500K
    #[arg(long, value_name = "RATE", alias = "upload-limit", value_parser = rate)]
    pub(in crate::cli) max_up: Option<ByteRate>,

    /// Receive at most so many bytes a second for each torrent
    #[arg(long, value_name = "RATE", value_parser = rate)]
    pub(in crate::cli) torrent_max_down: Option<ByteRate>,

    /// Send at most so many bytes a second for each torrent
    #[arg(long, value_name = "RATE", value_parser = rate)]
    pub(in crate::cli) torrent_max_up: Option<ByteRate>,

    /// Receive at most so many bytes a second from each peer
    #[arg(long, value_name = "RATE", value_parser = rate)]
    pub(in crate::cli) peer_max_down: Option<ByteRate>,

    /// Send at most so many bytes a second to each peer
    #[arg(long, value_name = "RATE", value_parser = rate)]
    pub(in crate::cli) peer_max_up: Option<ByteRate>,

    /// Hold peers of the local network, and of this host, to no limit
    #[arg(long)]
    pub(in crate::cli) no_limit_local: bool,
}

/// What is hashed of data that is there.
#[derive(Debug, Clone, Copy, Args)]
pub(in crate::cli) struct Checking {
    /// Hash all data that is there, also what an earlier run has verified
    #[arg(long, conflicts_with = "skip_check")]
    pub(in crate::cli) check: bool,

    /// Take files of the right length for good without hashing them, this time
    #[arg(long)]
    pub(in crate::cli) skip_check: bool,
}

/// Switches that turn off what this version does not have: accepted, so that scripts last.
#[derive(Debug, Clone, Args)]
pub(in crate::cli) struct Off {
    #[arg(long, hide = true)]
    no_utp: bool,
}

/// When connections with peers are encrypted.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(in crate::cli) enum Encryption {
    /// Never
    Disabled,
    /// With peers that want it
    Allowed,
    /// Wherever peers take it
    Preferred,
    /// Always; peers that do not take it are left alone
    Required,
}
