//! Which blocks to ask of one peer: what only seeds have, started pieces, then the rarest of the class
//! that is fetched first, then any of the classes behind it, then, when everything is asked for, what
//! others are slow to send.
//!
//! Sees the peer through [`PeerView`]. How many blocks it gets is decided by its pipeline. The order
//! of rarity is looked through for the first piece that the peer has, but not for long: a peer that has
//! little of what is rare is served from a list of its own (`shortlist`).

use std::ops::RangeInclusive;

use crate::base::{
    bitfield::Bitfield,
    id::PeerKey,
    index::{Block, PieceIndex},
    rng::Rng,
    slab::Pool,
};

use super::{Pieces, availability::State};

/// Pieces of the common order looked at for one that the peer has.
const PROBES: usize = 128;

/// What a peer may be asked for at this moment.
#[derive(Debug, Clone, Copy)]
pub enum Offer<'a> {
    /// Every piece; it counts as a seed.
    All,
    /// These pieces; they are counted.
    These(&'a Bitfield),
    /// These pieces; they are not counted.
    Uncounted(&'a Bitfield),
    /// Only some of these pieces, a short list.
    Few(&'a [PieceIndex]),
}

/// Which pieces are looked for, by how many peers have them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Seeds alone, or where there is none one peer.
    Scarce,
    /// More.
    Shared,
    /// Any number.
    Any,
}

impl Kind {
    /// Whether so many have it, of whom so many are seeds.
    pub(super) const fn fits(self, availability: u32, seeds: u32) -> bool {
        match self {
            Kind::Scarce => is_scarce(availability, seeds),
            Kind::Shared => !is_scarce(availability, seeds),
            Kind::Any => true,
        }
    }

    /// Peers besides `seeds` that have such a piece, if the one that is asked does.
    fn counts(self, seeds: u32, offer: Offer<'_>) -> RangeInclusive<u32> {
        let least = u32::from(!matches!(offer, Offer::All | Offer::Uncounted(_)));
        let scarce = u32::from(seeds == 0);
        match self {
            Kind::Scarce => least..=scarce,
            Kind::Shared => least.max(scarce + 1)..=u32::MAX,
            Kind::Any => least..=u32::MAX,
        }
    }
}

/// Whether a piece that so many have is still to come into the swarm: seeds alone have it, of whom there are
/// so many, or where there is none one peer.
pub(super) const fn is_scarce(availability: u32, seeds: u32) -> bool {
    availability <= 1 || availability <= seeds
}

/// What the picker must know of a peer.
pub trait PeerView {
    /// What it may be asked for, as a whole.
    fn offer(&self) -> Offer<'_>;
    /// Whether the peer has `piece`, and we may ask it for that now.
    fn offers(&self, piece: PieceIndex) -> bool;
    /// Whether `piece` may only be taken whole from one peer, another than this one
    /// (it failed before, and we want to know who sends bad data).
    fn is_barred(&self, piece: PieceIndex) -> bool;
}

/// How many blocks a peer is to get.
#[derive(Debug, Clone, Copy)]
pub struct Wish {
    /// Whose requests they will be.
    pub peer: PeerKey,
    /// At most so many blocks …
    pub blocks: u32,
    /// … and at most so many of pieces that are scarce.
    pub scarce: u32,
    /// At most so many blocks that are outstanding elsewhere.
    pub again: u32,
    /// Whether it gives runs of pieces best: one that follows the last comes before what is rare.
    pub runs: bool,
    /// The last piece that it was asked for.
    pub last: Option<PieceIndex>,
}

impl Pieces {
    /// Chooses blocks for one peer and marks them outstanding there; appends them to `out`.
    /// False when there was no memory for more.
    pub fn pick(
        &mut self,
        view: &impl PeerView,
        wish: Wish,
        rng: &mut Rng,
        pool: &mut Pool,
        out: &mut Vec<Block>,
    ) -> bool {
        let mut left = wish;
        if !self.sequential {
            self.availability.refresh();
            if !self.pick_scarce(view, &mut left, rng, pool, out) {
                return false;
            }
            // While it has more of what is scarce, its uplink is for that alone.
            if left.scarce == 0 && left.blocks > 0 {
                let more = self.next_new(view, left, Kind::Scarce, rng);
                if more.is_some() {
                    return true;
                }
            }
            if left.blocks == 0 {
                return true;
            }
        }
        if !self.pick_started(view, &mut left, Kind::Any, pool, out) {
            return false;
        }
        while left.blocks > 0 {
            let kind = if left.scarce > 0 { Kind::Any } else { Kind::Shared };
            let Some(piece) = self.next_new(view, left, kind, rng) else { break };
            self.start(piece);
            if !self.ask(piece, &mut left, pool, out) {
                return false;
            }
        }
        if left.blocks > 0 && wish.again > 0 && self.is_endgame() {
            self.pick_again(view, left.blocks.min(wish.again), wish.peer, out);
        }
        true
    }

    /// Blocks of pieces that are scarce: a copy of each is what the swarm needs most.
    fn pick_scarce(
        &mut self,
        view: &impl PeerView,
        left: &mut Wish,
        rng: &mut Rng,
        pool: &mut Pool,
        out: &mut Vec<Block>,
    ) -> bool {
        if !self.pick_started(view, left, Kind::Scarce, pool, out) {
            return false;
        }
        while left.blocks > 0
            && left.scarce > 0
            && let Some(piece) = self.next_new(view, *left, Kind::Scarce, rng)
        {
            self.start(piece);
            if !self.ask(piece, left, pool, out) {
                return false;
            }
        }
        true
    }

    /// Blocks of open pieces of a kind: of those this peer already works on, then of the oldest.
    fn pick_started(
        &mut self,
        view: &impl PeerView,
        left: &mut Wish,
        kind: Kind,
        pool: &mut Pool,
        out: &mut Vec<Block>,
    ) -> bool {
        if self.startable.is_empty() || left.blocks == 0 {
            return true;
        }
        let mut offered: Vec<PieceIndex> = self
            .startable
            .iter()
            .copied()
            .filter(|&p| view.offers(p) && !view.is_barred(p) && self.is_of(kind, p))
            .collect();
        if self.sequential {
            offered.sort_unstable();
        } else {
            let peer = left.peer;
            offered.sort_by_cached_key(|&p| !self.open_piece(p).is_some_and(|o| o.involves(peer)));
        }
        for piece in offered {
            if left.blocks == 0 {
                break;
            }
            if left.scarce == 0 && self.is_scarce(piece) {
                continue;
            }
            if !self.ask(piece, left, pool, out) {
                return false;
            }
        }
        true
    }

    /// Whether a piece is still to come into the swarm: seeds alone have it, or one peer.
    pub fn is_scarce(&self, piece: PieceIndex) -> bool {
        is_scarce(self.availability.of(piece), self.availability.seeds)
    }

    fn is_of(&self, kind: Kind, piece: PieceIndex) -> bool {
        kind.fits(self.availability.of(piece), self.availability.seeds)
    }

    fn ask(
        &mut self,
        piece: PieceIndex,
        left: &mut Wish,
        pool: &mut Pool,
        out: &mut Vec<Block>,
    ) -> bool {
        let scarce = self.is_scarce(piece);
        let want = if scarce { left.blocks.min(left.scarce) } else { left.blocks };
        let mut asked = Vec::new();
        let open = self.open_piece_mut(piece).expect("only open pieces are asked");
        let room = open.ask(left.peer, want, pool, &mut asked);
        if open.free() == 0 {
            self.startable.retain(|&p| p != piece);
        }
        let n = asked.len() as u32;
        left.blocks -= n;
        left.last = Some(piece);
        if scarce {
            left.scarce -= n;
        }
        out.extend(asked.into_iter().map(|i| self.geometry.block_at(piece, i)));
        room
    }

    /// The next piece to start with the peer: see the head of this file.
    fn next_new(
        &mut self,
        view: &impl PeerView,
        wish: Wish,
        kind: Kind,
        rng: &mut Rng,
    ) -> Option<PieceIndex> {
        let follows =
            wish.last.filter(|_| wish.runs).map(|last| PieceIndex(last.0 + 1)).filter(|&piece| {
                self.availability.state(piece) == State::Missing
                    && view.offers(piece)
                    && !view.is_barred(piece)
                    && self.is_of(kind, piece)
            });
        if follows.is_some() {
            return follows;
        }
        let next = self.next_in_order(view, wish.peer, kind, rng);
        // What is rare among those that wait is not more urgent than what comes before them.
        if kind == Kind::Scarce {
            next
        } else {
            next.or_else(|| self.next_waiting(view, kind, rng))
        }
    }

    /// A piece that the peer offers and whose turn has not come: one that it can give now is better than
    /// none. Any of its class, or in sequential mode the first.
    fn next_waiting(&self, view: &impl PeerView, kind: Kind, rng: &mut Rng) -> Option<PieceIndex> {
        let classes = self.classes.as_deref()?;
        let is_fit = |&piece: &PieceIndex| {
            view.offers(piece) && !view.is_barred(piece) && self.is_of(kind, piece)
        };
        let bits = match view.offer() {
            Offer::These(bits) | Offer::Uncounted(bits) => Some(bits),
            Offer::All => None,
            Offer::Few(few) => {
                let waits = |&piece: &PieceIndex| {
                    self.availability.state(piece) == State::Waiting && self.lacks(piece)
                };
                return few.iter().copied().filter(waits).find(is_fit);
            }
        };
        classes.waiting().filter(|waiting| waiting.count() > 0).find_map(|waiting| {
            let middle = match self.sequential {
                true => 0,
                false => rng.index(waiting.len() as usize) as u32,
            };
            let before = waiting.common(bits, PieceIndex(0)).take_while(|piece| piece.0 < middle);
            waiting.common(bits, PieceIndex(middle)).chain(before).find(is_fit)
        })
    }

    /// The rarest missing piece of a kind that the peer offers; among equals a random one. In sequential
    /// mode the first.
    fn next_in_order(
        &mut self,
        view: &impl PeerView,
        peer: PeerKey,
        kind: Kind,
        rng: &mut Rng,
    ) -> Option<PieceIndex> {
        let offer = view.offer();
        if self.sequential && !matches!(offer, Offer::Few(_)) {
            return self.first_missing(view, kind);
        }
        let Pieces { availability, shortlists, .. } = self;
        let is_open_to = |piece: PieceIndex| view.offers(piece) && !view.is_barred(piece);
        if let Offer::Few(few) = offer {
            let fits = |&piece: &PieceIndex| {
                availability.state(piece) == State::Missing
                    && is_open_to(piece)
                    && kind.fits(availability.of(piece), availability.seeds)
            };
            return few.iter().copied().filter(fits).min_by_key(|&p| availability.of(p));
        }
        let counts = kind.counts(availability.seeds, offer);
        if counts.is_empty() {
            return None;
        }
        let mut probes = PROBES;
        for bucket in availability.buckets(counts) {
            let (before, after) = bucket.split_at(rng.index(bucket.len()));
            for &piece in after.iter().chain(before).take(probes) {
                if is_open_to(piece) {
                    return Some(piece);
                }
            }
            probes = probes.saturating_sub(bucket.len());
            if probes == 0 {
                return match offer {
                    // Whoever has everything is refused only what is barred.
                    Offer::All => bucket.iter().copied().find(|&piece| is_open_to(piece)),
                    Offer::These(bits) | Offer::Uncounted(bits) => {
                        shortlists.next(peer, bits, availability, is_open_to, kind, rng)
                    }
                    Offer::Few(_) => None,
                };
            }
        }
        None
    }

    /// The first missing piece of a kind that the peer offers.
    fn first_missing(&mut self, view: &impl PeerView, kind: Kind) -> Option<PieceIndex> {
        let missing = self.availability.missing();
        self.cursor = missing.common(None, self.cursor).next()?;
        let bits = match view.offer() {
            Offer::These(bits) | Offer::Uncounted(bits) => Some(bits),
            _ => None,
        };
        missing
            .common(bits, self.cursor)
            .find(|&piece| view.offers(piece) && !view.is_barred(piece) && self.is_of(kind, piece))
    }

    /// Endgame: blocks that are outstanding at other peers only.
    fn pick_again(&mut self, view: &impl PeerView, want: u32, peer: PeerKey, out: &mut Vec<Block>) {
        let mut left = want;
        for open in self.open.iter_mut().flatten() {
            let piece = open.piece();
            if open.is_complete() || !view.offers(piece) || view.is_barred(piece) {
                continue;
            }
            while left > 0 {
                let Some(i) = open.ask_again(peer) else { break };
                out.push(self.geometry.block_at(piece, i));
                left -= 1;
            }
            if left == 0 {
                return;
            }
        }
    }
}
