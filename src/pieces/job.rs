//! What the piece manager wants done with bytes on disk, and what came of it.
//!
//! Plain data: the torrent machine makes jobs, a driver (disk workers or the simulator) does them.
//! Slabs move by value, out in the job and back in the event, whatever happens.

use std::fmt;

pub use crate::base::fault_kind::FaultKind;

use crate::base::{
    id::PeerKey,
    index::{Block, PieceIndex},
    slab::Slab,
};

/// Part of a piece in memory: the `slot`-th window of the piece, one slab long.
#[derive(Debug)]
pub struct Held {
    /// Where the slab's first byte lies, counted from the start of the piece.
    pub begin: u32,
    /// Bit *i* is set when block *i* of this slab (16 KiB each) holds received bytes.
    pub filled: u32,
    /// The buffer.
    pub slab: Slab,
}

/// One thing to do.
#[derive(Debug)]
pub enum DiskJob {
    /// All blocks of `piece` are here or spilled. Hash the piece, reading from the files what no
    /// slab holds; if it is right, write what the slabs hold to its final place.
    Verify {
        /// The piece.
        piece: PieceIndex,
        /// Its parts in memory, ascending by `begin`.
        slabs: Vec<Held>,
        /// Whether to return a digest of every block even if the piece is good.
        digests: bool,
    },
    /// Write the filled blocks of an unfinished piece to their final place; nothing is claimed.
    Spill {
        /// The piece.
        piece: PieceIndex,
        /// The part to write.
        held: Held,
    },
    /// Read `run` into the start of `slab`, to be served to `peer`.
    Read {
        /// Who asked.
        peer: PeerKey,
        /// What to read; no longer than the slab.
        run: Block,
        /// Where to put it.
        slab: Slab,
    },
}

impl DiskJob {
    /// Room of its slabs, in bytes.
    pub fn bytes(&self) -> u64 {
        match self {
            DiskJob::Verify { slabs, .. } => total(slabs.iter().map(|held| &held.slab)),
            DiskJob::Spill { held: Held { slab, .. }, .. } | DiskJob::Read { slab, .. } => {
                slab.capacity().into()
            }
        }
    }
}

fn total<'a>(slabs: impl Iterator<Item = &'a Slab>) -> u64 {
    slabs.map(|slab| u64::from(slab.capacity())).sum()
}

/// What came of a [`DiskJob`].
#[derive(Debug)]
pub enum DiskEvent {
    /// A `Verify` is done.
    Verified {
        /// The piece.
        piece: PieceIndex,
        /// The slabs of the job.
        slabs: Vec<Slab>,
        /// Good, bad or not known.
        verdict: Verdict,
        /// [`Slab::digest`] of every block in order, when the piece is bad or the job asked.
        digests: Vec<u64>,
    },
    /// A `Spill` is done.
    Spilled {
        /// The piece.
        piece: PieceIndex,
        /// The part as it was in the job.
        held: Held,
        /// Whether the blocks are in the file.
        result: Result<(), DiskFault>,
    },
    /// A `Read` is done.
    Read {
        /// Who asked.
        peer: PeerKey,
        /// What was read.
        run: Block,
        /// The slab of the job; it holds the bytes if `result` is good.
        slab: Slab,
        /// Whether it holds them.
        result: Result<(), DiskFault>,
    },
}

impl DiskEvent {
    /// What [`DiskJob::bytes`] said of its job.
    pub fn bytes(&self) -> u64 {
        match self {
            DiskEvent::Verified { slabs, .. } => total(slabs.iter()),
            DiskEvent::Spilled { held: Held { slab, .. }, .. } | DiskEvent::Read { slab, .. } => {
                slab.capacity().into()
            }
        }
    }
}

/// What a check of a piece found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The hash is right and the bytes are written.
    Good,
    /// The hash is wrong; nothing was written by this job.
    Bad,
    /// Reading or writing failed: whether the piece is good is not known.
    Failed(DiskFault),
}

/// A failed disk operation: what, where, why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct DiskFault {
    /// The class of the cause.
    pub kind: FaultKind,
    /// What was tried, such as `write 16384 bytes at offset 0 of`.
    pub operation: String,
    /// The file, as the torrent names it.
    pub file: String,
    /// What the system said.
    pub cause: String,
}

impl fmt::Display for DiskFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "could not {} `{}`: {}", self.operation, self.file, self.cause)
    }
}
