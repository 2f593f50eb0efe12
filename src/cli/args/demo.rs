//! `demo`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::value::rate;
use crate::base::units::{ByteCount, ByteRate};

/// Watch a swarm of real peers fill up on this machine, in a minute and without internet
#[derive(Debug, Args)]
pub(in crate::cli) struct Demo {
    /// How many peers download
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=32))]
    pub(in crate::cli) peers: u32,

    /// How much they download
    #[arg(long, value_name = "SIZE", default_value = "64M")]
    pub(in crate::cli) size: ByteCount,

    /// What every peer, the first seeder too, may send a second
    #[arg(long, value_name = "RATE", default_value = "8M", alias = "upload-limit", value_parser = rate)]
    pub(in crate::cli) max_up: ByteRate,

    /// Do without a tracker: the peers find one another in a distributed hash table of their own
    #[arg(long)]
    pub(in crate::cli) no_tracker: bool,

    /// Stop the seeder or the tracker once one full copy is out
    #[arg(long, value_name = "seeder|tracker", hide_possible_values = true)]
    pub(in crate::cli) kill: Option<Kill>,

    /// Work in this folder and leave everything there
    #[arg(long, value_name = "DIR")]
    pub(in crate::cli) keep: Option<PathBuf>,
}

/// What can be stopped in the middle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum Kill {
    Seeder,
    Tracker,
}
