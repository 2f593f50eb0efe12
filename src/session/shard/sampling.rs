//! A slow look at what is served: now and then one of the pieces that were read for peers lately is hashed,
//! so that a disk that goes bad, or somebody who writes without leaving a trace, does not go on for ever. Once
//! somebody is found to have written to a file, all pieces in it are looked at, one after the other.
//!
//! Such a check takes half of one thread at most, of each volume; who writes again and again has his files
//! checked ever more rarely, and what is read of them for peers is verified all the same.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use tokio::task;

use super::Shard;
use crate::{
    base::{index::PieceIndex, rng::Rng, time::Instant},
    disk::Volume,
    pieces::job::{DiskFault, FaultKind},
    session::id::TorrentId,
    torrent::{Input, Phase},
};

/// Between two looks of a check at least; as long as the last one took, if that is longer.
const LEAST_PAUSE: Duration = Duration::from_millis(10);
/// Between the first two checks of a torrent; doubles with each.
const FIRST_REST: Duration = Duration::from_secs(60);
const LONGEST_REST: Duration = Duration::from_secs(3600);

/// What is looked at next.
#[derive(Debug)]
pub(super) struct Sampling {
    /// How often a piece is looked at.
    every: Duration,
    /// One of those read since the last look.
    piece: Option<(TorrentId, PieceIndex)>,
    /// How many reads there were to choose from.
    reads: u64,
    /// When; `None` if nothing was read.
    at: Option<Instant>,
    /// Torrents to whose files somebody wrote: one entry each.
    checks: VecDeque<Check>,
    /// How long each of them rests before it is checked once more, and when that was begun or ended last.
    rests: HashMap<TorrentId, (Duration, Instant)>,
    /// The torrents that are looked at now, since when, and where: the disk may not answer.
    looking: HashMap<TorrentId, (Instant, Volume)>,
    rng: Rng,
}

/// A check that has not come to its end.
#[derive(Debug)]
struct Check {
    torrent: TorrentId,
    volume: Volume,
    /// What comes before was looked at.
    from: PieceIndex,
    at: Instant,
}

/// What is looked at.
#[derive(Debug, Clone, Copy)]
enum Look {
    /// That piece.
    Sample(PieceIndex),
    /// The first piece from there on that is doubted.
    Check(PieceIndex),
}

/// What came of a look.
#[derive(Debug)]
pub(in crate::session) struct Sampled {
    torrent: TorrentId,
    look: Look,
    /// The piece that was looked at, if there was one, and whether it is right.
    piece: Option<(PieceIndex, Result<bool, DiskFault>)>,
    /// The first other piece that is doubted, if one is; of a check one that comes after it, if one does.
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
            rests: HashMap::new(),
            looking: HashMap::new(),
            rng: Rng::new(0),
        }
    }

    /// When the next piece is looked at.
    pub(super) fn next(&self) -> Option<Instant> {
        self.checks.iter().filter(|check| self.may_go_on(check)).map(|c| c.at).chain(self.at).min()
    }

    /// Nothing else is looked at on its volume.
    fn may_go_on(&self, check: &Check) -> bool {
        self.looking.values().all(|(_, volume)| *volume != check.volume)
    }

    /// A part of `piece` was read for a peer, or it was found that it must not be. Each read has the same chance.
    pub(super) fn was_read(
        &mut self,
        now: Instant,
        (torrent, volume): (TorrentId, Volume),
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
            Err(fault) if fault.kind == FaultKind::Changed => self.begin(now, torrent, volume),
            Err(_) => {}
        }
    }

    /// Somebody wrote to a file of the torrent: it is checked, after a rest if that is nothing new.
    fn begin(&mut self, now: Instant, torrent: TorrentId, volume: Volume) {
        if self.checks.iter().any(|check| check.torrent == torrent) {
            return;
        }
        let from = PieceIndex(0);
        let at = now + self.rest_of(now, torrent);
        self.checks.push_back(Check { torrent, volume, from, at });
    }

    /// Nothing at first, and when there was nothing for long.
    fn rest_of(&self, now: Instant, torrent: TorrentId) -> Duration {
        let recent = self.rests.get(&torrent).filter(|(_, at)| now.since(*at) < LONGEST_REST * 2);
        recent.map_or(Duration::ZERO, |(rest, _)| *rest)
    }

    /// The torrent, and what is looked at of it, if it is time.
    fn take_due(&mut self, now: Instant) -> Option<(TorrentId, Look)> {
        let is_due = |check: &Check| check.at <= now && self.may_go_on(check);
        if let Some(check) =
            self.checks.iter().position(is_due).and_then(|at| self.checks.remove(at))
        {
            return Some((check.torrent, Look::Check(check.from)));
        }
        if self.at.is_none_or(|at| at > now) {
            return None;
        }
        (self.at, self.reads) = (None, 0);
        let (id, piece) = self.piece.take()?;
        (!self.looking.contains_key(&id)).then_some((id, Look::Sample(piece)))
    }

    /// That is looked at now.
    fn starts(&mut self, now: Instant, id: TorrentId, volume: Volume, look: Look) {
        if let Look::Check(PieceIndex(0)) = look {
            let rest = self.rest_of(now, id) * 2;
            self.rests.insert(id, (rest.clamp(FIRST_REST, LONGEST_REST), now));
        }
        self.looking.insert(id, (now, volume));
    }

    /// A check goes on later.
    fn put_off(&mut self, now: Instant, torrent: TorrentId, volume: Volume, look: Look) {
        if let Look::Check(from) = look
            && self.checks.iter().all(|check| check.torrent != torrent)
        {
            self.checks.push_back(Check { torrent, volume, from, at: now + FIRST_REST });
        }
    }

    /// The torrent is gone.
    pub(super) fn forget(&mut self, id: TorrentId) {
        self.checks.retain(|check| check.torrent != id);
        self.rests.remove(&id);
    }
}

impl Shard {
    /// Has a piece looked at if it is time, where that may block.
    pub(super) fn sample(&mut self, now: Instant) {
        let Some((id, look)) = self.sampling.take_due(now) else { return };
        let (Some(tenant), Some(machine)) = (self.tenants.get(&id), self.turns.torrent(id)) else {
            return;
        };
        let is_away = tenant.fault.as_ref().is_some_and(|fault| fault.kind.is_away());
        if machine.phase() == Phase::Paused || is_away || tenant.retiring.is_some() {
            // Whoever takes the disk away is not kept from it.
            let volume = tenant.storage.volume();
            return self.sampling.put_off(now, id, volume, look);
        }
        let mut have = machine.have().clone();
        let (storage, mail) = (Arc::clone(&tenant.storage), Arc::clone(&self.mail));
        self.sampling.starts(now, id, storage.volume(), look);
        task::spawn_blocking(move || {
            let at = match look {
                Look::Sample(piece) => Some(piece),
                Look::Check(from) => storage.next_doubtful(from, &have),
            };
            let piece = at.map(|piece| (piece, storage.is_right(piece)));
            if let Some((piece, _)) = piece {
                have.remove(piece);
            }
            let behind = at.map_or(0, |piece| piece.0 + 1);
            let next = |from| storage.next_doubtful(PieceIndex(from), &have);
            let doubted = next(behind).or_else(|| next(0));
            let sampled = Sampled { torrent: id, look, piece, doubted };
            mail.post(|letters| letters.sampled.push(sampled));
        });
    }

    /// A piece was looked at.
    pub(super) fn sampled(&mut self, now: Instant, sampled: Sampled) {
        let Sampled { torrent: id, look, piece, doubted } = sampled;
        let Some((began, volume)) = self.sampling.looking.remove(&id) else { return };
        match piece {
            None | Some((_, Ok(true))) => {}
            Some((piece, Ok(false))) => {
                let kind = FaultKind::Changed;
                self.turns.handle(now, id, Input::PieceLost { piece, kind });
            }
            // The file ends before it.
            Some((piece, Err(DiskFault { kind: kind @ FaultKind::Changed, .. }))) => {
                self.turns.handle(now, id, Input::PieceLost { piece, kind });
            }
            Some((piece, Err(fault))) if fault.kind.is_away() => {
                self.not_read(id, piece, &fault);
                self.sampling.put_off(now, id, volume, look);
                return self.turns.handle(now, id, Input::StorageGone(fault));
            }
            // Whoever reads it next is told.
            Some((_, Err(_))) => {}
        }
        if !self.tenants.contains_key(&id) {
            return;
        }
        match (look, doubted) {
            (Look::Check(before), Some(from)) if from >= before => {
                let at = now + now.since(began).max(LEAST_PAUSE);
                let checks = &mut self.sampling.checks;
                // At its end it is seen whether somebody has written once more.
                checks.retain(|check| check.torrent != id);
                checks.push_back(Check { torrent: id, volume, from, at });
                let of_it = checks.iter_mut().filter(|check| check.volume == volume);
                of_it.for_each(|check| check.at = check.at.max(at));
            }
            (_, again) => {
                if let (Look::Check(_), Some((_, ended))) = (look, self.sampling.rests.get_mut(&id))
                {
                    *ended = now;
                }
                if again.is_some() {
                    self.sampling.begin(now, id, volume);
                }
            }
        }
    }
}
