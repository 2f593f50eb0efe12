//! What is shown of one torrent, or of one piece of local work, at one moment.

use std::time::Duration;

use crate::base::units::ByteRate;

/// What it is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::cli) enum Stage {
    /// Reading and hashing data that is here.
    Hashing,
    /// Comparing data that is here with its hashes.
    Checking,
    /// Fetching the info dictionary.
    Metadata,
    /// Fetching.
    #[default]
    Downloading,
    /// Has everything, and serves it.
    Seeding,
    /// Has everything, and serves no longer.
    Done,
    /// Stopped, for the reason in [`View::waiting`].
    Stopped,
}

impl Stage {
    /// Its name in `--json`.
    pub(in crate::cli) const fn name(self) -> &'static str {
        match self {
            Stage::Hashing => "hashing",
            Stage::Checking => "checking",
            Stage::Metadata => "metadata",
            Stage::Downloading => "downloading",
            Stage::Seeding => "seeding",
            Stage::Done => "done",
            Stage::Stopped => "stopped",
        }
    }

    /// Whether everything is there.
    pub(in crate::cli) const fn is_complete(self) -> bool {
        matches!(self, Stage::Seeding | Stage::Done)
    }
}

impl View {
    /// Nothing moves any more.
    pub(in crate::cli) fn end(&mut self, stage: Stage) {
        self.stage = stage;
        (self.down, self.up, self.eta) = (ByteRate(0), ByteRate(0), None);
    }

    /// How many times its size was sent, by all runs.
    pub(in crate::cli) fn ratio(&self) -> f64 {
        self.uploaded.saturating_add(self.uploaded_before) as f64 / self.total.max(1) as f64
    }
}

/// One row of figures. Bytes unless said otherwise.
#[derive(Debug, Clone, Default)]
pub(in crate::cli) struct View {
    /// What tells it from others: the info hash of a torrent.
    pub(in crate::cli) id: String,
    /// How a person calls it; may hold anything.
    pub(in crate::cli) name: String,
    /// What it is doing.
    pub(in crate::cli) stage: Stage,
    /// Verified, or read so far.
    pub(in crate::cli) done: u64,
    /// All.
    pub(in crate::cli) total: u64,
    /// Verified pieces.
    pub(in crate::cli) pieces_done: u32,
    /// All pieces.
    pub(in crate::cli) pieces: u32,
    /// Received, or hashed, per second.
    pub(in crate::cli) down: ByteRate,
    /// Sent per second.
    pub(in crate::cli) up: ByteRate,
    /// Received in all.
    pub(in crate::cli) downloaded: u64,
    /// Sent in all.
    pub(in crate::cli) uploaded: u64,
    /// Sent by earlier runs.
    pub(in crate::cli) uploaded_before: u64,
    /// Received in vain.
    pub(in crate::cli) wasted: u64,
    /// Connected peers.
    pub(in crate::cli) peers: u32,
    /// Web seeds in use.
    pub(in crate::cli) web_seeds: u32,
    /// Known peers.
    pub(in crate::cli) known: u32,
    /// Connected peers that have everything.
    pub(in crate::cli) seeds: u32,
    /// Time to the end at this rate.
    pub(in crate::cli) eta: Option<Duration>,
    /// How long fetching took, once everything is there and something was fetched.
    pub(in crate::cli) took: Option<Duration>,
    /// Why nothing arrives.
    pub(in crate::cli) waiting: Option<String>,
}
