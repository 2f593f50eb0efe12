//! Super-seeding (BEP 16): a seed that shows each peer only a few pieces at a time, such as nobody else has,
//! and the next when one of them was seen at somebody else. So the first copy of everything costs hardly
//! more than one, and whoever passes nothing on gets little.
//!
//! It ends by itself once the peers that are connected have everything among them: from then on the seed
//! is one like others. A peer that nobody can take anything from is shown more after a while, so that
//! nothing hangs on it.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    base::{id::PeerKey, index::PieceIndex, time::Instant},
    wire::{self, Message},
};

use super::Torrent;

/// Pieces shown to one peer that were not yet seen elsewhere: one on its way, and the next.
const SHOWN: usize = 2;
/// Whoever has all that it was shown, and from whom nobody has taken it for so long, is shown one more.
const PATIENCE: Duration = Duration::from_secs(60);
/// Pieces looked at for one that nobody has.
const PROBES: u32 = 4_096;
/// Pieces told of at once when it has ended.
const AT_ONCE: u32 = 1_000;

/// What a super-seed has shown.
#[derive(Debug)]
pub(super) struct Superseed {
    shown: BTreeMap<PeerKey, Shown>,
    /// To how many peers each piece is shown.
    times: Vec<u16>,
    /// The peers have everything among them.
    ended: bool,
}

#[derive(Debug)]
struct Shown {
    /// Not yet seen elsewhere.
    waiting: Vec<PieceIndex>,
    /// All that it was told of.
    told: std::collections::BTreeSet<PieceIndex>,
    /// When it was shown something last.
    at: Instant,
    /// After the end: the first piece that it was not told of.
    next: u32,
}

impl Superseed {
    /// Nothing is shown yet, of so many pieces.
    pub(super) fn new(pieces: u32) -> Self {
        Superseed { shown: BTreeMap::new(), times: vec![0; pieces as usize], ended: false }
    }

    /// Whether `peer` was told of `piece`.
    fn has_shown(&self, peer: PeerKey, piece: PieceIndex) -> bool {
        let told = |shown: &Shown| shown.told.contains(&piece) || piece.0 < shown.next;
        self.shown.get(&peer).is_some_and(told)
    }

    /// Whom it shows pieces.
    pub(super) fn shown_to(&self) -> impl Iterator<Item = PeerKey> + '_ {
        self.shown.keys().copied()
    }

    /// A peer has left: what it was shown is for others.
    pub(super) fn forget(&mut self, peer: PeerKey) {
        for piece in self.shown.remove(&peer).into_iter().flat_map(|shown| shown.waiting) {
            self.times[piece.at()] = self.times[piece.at()].saturating_sub(1);
        }
    }
}

impl Torrent {
    /// Whether a peer is told of everything there is, as by other seeds.
    pub(super) fn shows_all(&self, key: PeerKey) -> bool {
        let ended = |s: &Superseed| s.ended && !s.shown.contains_key(&key);
        self.superseed.as_deref().is_none_or(ended)
    }

    /// Whether a peer may ask for `piece`, which we have.
    pub(super) fn shows(&self, key: PeerKey, piece: PieceIndex) -> bool {
        let shown = |s: &Superseed| s.has_shown(key, piece);
        self.shows_all(key) || self.superseed.as_deref().is_some_and(shown)
    }

    /// Begins with a peer that was told that we have nothing.
    pub(super) fn begin_showing(&mut self, now: Instant, key: PeerKey) {
        let Some(superseed) = self.superseed.as_mut().filter(|s| !s.ended) else { return };
        let shown = Shown { waiting: Vec::new(), told: Default::default(), at: now, next: 0 };
        superseed.shown.insert(key, shown);
        (0..SHOWN).for_each(|_| self.show_one(now, key));
    }

    /// A peer has `piece`: whoever got it from us may have the next.
    pub(super) fn seen_at(&mut self, now: Instant, piece: PieceIndex, who: PeerKey) {
        let Some(superseed) = &mut self.superseed else { return };
        // Where there is one peer only nobody can pass anything on.
        let alone = superseed.shown.len() < 2;
        let mut next = Vec::new();
        for (&key, shown) in &mut superseed.shown {
            if key == who && !alone {
                continue;
            }
            if let Some(at) = shown.waiting.iter().position(|&waiting| waiting == piece) {
                shown.waiting.remove(at);
                superseed.times[piece.at()] = superseed.times[piece.at()].saturating_sub(1);
                next.push(key);
            }
        }
        next.into_iter().for_each(|key| self.show_one(now, key));
    }

    /// What a peer has is known, all at once.
    pub(super) fn seen_with(&mut self, now: Instant, who: PeerKey) {
        let (Some(superseed), Some(peer)) = (&mut self.superseed, self.peers.get(who)) else {
            return;
        };
        // What it was shown and had before is not for it.
        let mut own = 0;
        if let Some(shown) = superseed.shown.get_mut(&who) {
            let had = |piece: &PieceIndex| peer.pieces.has(*piece);
            let before: Vec<PieceIndex> = shown.waiting.iter().copied().filter(had).collect();
            shown.waiting.retain(|piece| !peer.pieces.has(*piece));
            for piece in &before {
                superseed.times[piece.at()] = superseed.times[piece.at()].saturating_sub(1);
            }
            own = before.len();
        }
        let waiting = superseed.shown.values().flat_map(|shown| &shown.waiting);
        let seen: Vec<PieceIndex> =
            waiting.copied().filter(|&piece| peer.pieces.has(piece)).collect();
        (0..own).for_each(|_| self.show_one(now, who));
        seen.into_iter().for_each(|piece| self.seen_at(now, piece, who));
    }

    /// Once a second: those from whom nobody takes anything, and the end.
    pub(super) fn look_after_showing(&mut self, now: Instant) {
        let Some(superseed) = &mut self.superseed else { return };
        if !superseed.ended {
            // Somebody must be there who lacks something, or nobody has anything to end.
            superseed.ended = self.peers.iter().any(|(_, peer)| peer.is_open())
                && self.pieces.geometry().indices().all(|p| self.pieces.availability(p) > 0);
        }
        let Some(superseed) = &mut self.superseed else { return };
        let keys: Vec<PeerKey> = superseed.shown.keys().copied().collect();
        let ended = superseed.ended;
        for key in keys {
            if ended {
                self.show_rest(key);
                continue;
            }
            let Some(superseed) = &self.superseed else { return };
            let (Some(shown), Some(peer)) = (superseed.shown.get(&key), self.peers.get(key)) else {
                continue;
            };
            let has_all = shown.waiting.iter().all(|&piece| peer.pieces.has(piece));
            if has_all && now.since(shown.at) >= PATIENCE {
                self.show_one(now, key);
            }
        }
    }

    /// Shows a peer one piece more.
    fn show_one(&mut self, now: Instant, key: PeerKey) {
        let pieces = self.pieces.geometry().pieces();
        let first = self.rng.below(u64::from(pieces)) as u32;
        let (Some(superseed), Some(peer)) = (&mut self.superseed, self.peers.get_mut(key)) else {
            return;
        };
        let Some(shown) = superseed.shown.get_mut(&key) else { return };
        let mut best: Option<(u32, PieceIndex)> = None;
        let around = (first..pieces).chain(0..first).take(PROBES as usize).map(PieceIndex);
        for piece in around {
            if peer.pieces.has(piece) || shown.told.contains(&piece) {
                continue;
            }
            let copies = self.pieces.availability(piece) + u32::from(superseed.times[piece.at()]);
            if best.is_none_or(|(least, _)| copies < least) {
                best = Some((copies, piece));
            }
            if copies == 0 {
                break;
            }
        }
        let Some((_, piece)) = best else { return };
        shown.waiting.push(piece);
        shown.told.insert(piece);
        shown.at = now;
        superseed.times[piece.at()] += 1;
        wire::encode::encode(&Message::Have(piece.0), &mut peer.out);
        self.want_write(key);
    }

    /// After the end: tells a peer of the next pieces it has not been told of.
    fn show_rest(&mut self, key: PeerKey) {
        let pieces = self.pieces.geometry().pieces();
        let (Some(superseed), Some(peer)) = (&mut self.superseed, self.peers.get_mut(key)) else {
            return;
        };
        let Some(shown) = superseed.shown.get_mut(&key) else { return };
        let end = (shown.next + AT_ONCE).min(pieces);
        if shown.next == end {
            return;
        }
        for piece in (shown.next..end).map(PieceIndex) {
            if !shown.told.contains(&piece) && !peer.pieces.has(piece) {
                wire::encode::encode(&Message::Have(piece.0), &mut peer.out);
            }
        }
        shown.next = end;
        self.want_write(key);
    }
}
