//! A slow look at what is served: now and then one of the pieces that were read for peers lately is hashed,
//! so that a disk that goes bad, or somebody who writes without leaving a trace, does not go on for ever.

use std::{sync::Arc, time::Duration};

use tokio::task;

use super::Shard;
use crate::{
    base::{index::PieceIndex, rng::Rng, time::Instant},
    pieces::job::{DiskFault, FaultKind},
    session::id::TorrentId,
    torrent::Input,
};

/// What is looked at next.
#[derive(Debug)]
pub(super) struct Sampling {
    /// How often a piece is looked at.
    every: Duration,
    /// One of those served since the last look.
    piece: Option<(TorrentId, PieceIndex)>,
    /// How many reads there were to choose from.
    reads: u64,
    /// When; `None` if nothing was served.
    at: Option<Instant>,
    rng: Rng,
}

impl Sampling {
    pub(super) fn new(every: Duration) -> Self {
        Sampling { every, piece: None, reads: 0, at: None, rng: Rng::new(0) }
    }

    /// When the next piece is looked at.
    pub(super) const fn next(&self) -> Option<Instant> {
        self.at
    }

    /// A part of `piece` was read for a peer. Each read has the same chance.
    pub(super) fn served(&mut self, now: Instant, torrent: TorrentId, piece: PieceIndex) {
        self.reads += 1;
        if self.rng.below(self.reads) == 0 {
            self.piece = Some((torrent, piece));
        }
        self.at.get_or_insert(now + self.every);
    }
}

impl Shard {
    /// Has a piece looked at if it is time, where that may block.
    pub(super) fn sample(&mut self, now: Instant) {
        if self.sampling.at.is_none_or(|at| at > now) {
            return;
        }
        (self.sampling.at, self.sampling.reads) = (None, 0);
        let Some((id, piece)) = self.sampling.piece.take() else { return };
        let Some(tenant) = self.tenants.get(&id) else { return };
        let (storage, mail) = (Arc::clone(&tenant.storage), Arc::clone(&self.mail));
        task::spawn_blocking(move || {
            let is_right = storage.is_right(piece);
            mail.post(|letters| letters.sampled.push((id, piece, is_right)));
        });
    }

    /// A piece was looked at.
    pub(super) fn sampled(
        &mut self,
        now: Instant,
        id: TorrentId,
        piece: PieceIndex,
        is_right: Result<bool, DiskFault>,
    ) {
        match is_right {
            Ok(true) => {}
            Ok(false) => {
                let kind = FaultKind::Changed;
                self.turns.handle(now, id, Input::PieceLost { piece, kind });
            }
            Err(fault) if fault.kind == FaultKind::Gone => {
                self.turns.handle(now, id, Input::StorageGone(fault));
            }
            // Whoever reads it next is told.
            Err(_) => {}
        }
    }
}
