//! A slow look at what is served: now and then one of the pieces that were read for peers lately is hashed,
//! so that a disk that goes bad, or somebody who writes without leaving a trace, does not go on for ever. Once
//! somebody is found to have written to a file, all pieces in it are looked at, one after the other.

use std::{
    collections::{HashSet, VecDeque},
    sync::Arc,
    time::Duration,
};

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
    /// Torrents to whose files somebody wrote, and from which piece on they were not looked at since.
    checks: VecDeque<(TorrentId, PieceIndex)>,
    /// Torrents that are looked at now: one of them may wait for a disk that does not answer.
    looking: HashSet<TorrentId>,
    rng: Rng,
}

/// What came of a look.
#[derive(Debug)]
pub(in crate::session) struct Sampled {
    torrent: TorrentId,
    /// The piece that was looked at, if there was one, and whether it is right.
    piece: Option<(PieceIndex, Result<bool, DiskFault>)>,
    /// A file of the torrent is doubted, and this piece of it not looked at.
    doubted: Option<PieceIndex>,
}

impl Sampling {
    pub(super) fn new(every: Duration) -> Self {
        Sampling {
            every,
            piece: None,
            reads: 0,
            at: None,
            checks: VecDeque::new(),
            looking: HashSet::new(),
            rng: Rng::new(0),
        }
    }

    /// When the next piece is looked at.
    pub(super) fn next(&self) -> Option<Instant> {
        if self.next_check().is_some() { Some(Instant::ZERO) } else { self.at }
    }

    /// Which of the checks can go on.
    fn next_check(&self) -> Option<usize> {
        self.checks.iter().position(|(id, _)| !self.looking.contains(id))
    }

    /// A part of `piece` was read for a peer, or it was found that it should not be. Each read has the same chance.
    pub(super) fn served(
        &mut self,
        now: Instant,
        torrent: TorrentId,
        piece: PieceIndex,
        result: &Result<(), DiskFault>,
    ) {
        match result {
            Ok(()) => {
                self.reads += 1;
                if self.rng.below(self.reads) == 0 {
                    self.piece = Some((torrent, piece));
                }
                self.at.get_or_insert(now + self.every);
            }
            Err(fault) if fault.kind == FaultKind::Changed => {
                if self.checks.iter().all(|(id, _)| *id != torrent) {
                    self.checks.push_back((torrent, PieceIndex(0)));
                }
            }
            Err(_) => {}
        }
    }

    /// The torrent, and the piece to look at; with `true` the first doubted one from it on.
    fn take_due(&mut self, now: Instant) -> Option<(TorrentId, PieceIndex, bool)> {
        if self.next().is_none_or(|at| at > now) {
            return None;
        }
        if let Some((id, from)) = self.next_check().and_then(|at| self.checks.remove(at)) {
            return Some((id, from, true));
        }
        (self.at, self.reads) = (None, 0);
        let (id, piece) = self.piece.take()?;
        (!self.looking.contains(&id)).then_some((id, piece, false))
    }
}

impl Shard {
    /// Has a piece looked at if it is time, where that may block.
    pub(super) fn sample(&mut self, now: Instant) {
        let Some((id, piece, is_check)) = self.sampling.take_due(now) else { return };
        let (Some(tenant), Some(machine)) = (self.tenants.get(&id), self.turns.torrent(id)) else {
            return;
        };
        let have = machine.have().clone();
        let (storage, mail) = (Arc::clone(&tenant.storage), Arc::clone(&self.mail));
        self.sampling.looking.insert(id);
        task::spawn_blocking(move || {
            let at = if is_check { storage.next_doubtful(piece, &have) } else { Some(piece) };
            let piece = at.map(|piece| (piece, storage.is_right(piece)));
            let from = PieceIndex(at.filter(|_| is_check).map_or(0, |piece| piece.0 + 1));
            let doubted = at.and_then(|_| storage.next_doubtful(from, &have));
            mail.post(|letters| letters.sampled.push(Sampled { torrent: id, piece, doubted }));
        });
    }

    /// A piece was looked at.
    pub(super) fn sampled(&mut self, now: Instant, sampled: Sampled) {
        let Sampled { torrent: id, piece, doubted } = sampled;
        self.sampling.looking.remove(&id);
        let mut goes_on = doubted;
        match piece {
            None | Some((_, Ok(true))) => {}
            Some((piece, Ok(false))) => {
                let kind = FaultKind::Changed;
                self.turns.handle(now, id, Input::PieceLost { piece, kind });
            }
            Some((_, Err(fault))) => {
                // Whoever reads it next is told.
                goes_on = None;
                if fault.kind == FaultKind::Gone {
                    self.turns.handle(now, id, Input::StorageGone(fault));
                }
            }
        }
        if let Some(from) = goes_on {
            let checks = &mut self.sampling.checks;
            checks.retain(|(other, _)| *other != id);
            checks.push_back((id, from));
        }
    }
}
