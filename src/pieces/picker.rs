//! Which blocks to ask of one peer: a piece that comes before all others, what only seeds have, started
//! pieces, then the rarest of the class that is fetched first, then any of the classes behind it, then, when everything is asked for, what
//! others are slow to send. Long pieces of a fast peer are asked for side by side, a slab of each in turn.
//!
//! Sees the peer through [`PeerView`]. How many blocks it gets is decided by its pipeline. The order
//! of rarity is looked through for the first piece that the peer has, but not for long: a peer that has
//! little of what is rare is served from a list of its own (`shortlist`).

use std::{net::SocketAddr, ops::RangeInclusive};

use crate::base::{
    bitfield::Bitfield,
    id::PeerKey,
    index::{Block, PieceIndex},
    rng::Rng,
    slab::{Pool, SLAB_LEN},
};

use super::{LONG_PIECE, Pieces, availability::State};

/// Pieces of the common order looked at for one that the peer has.
const PROBES: usize = 128;

/// As many long pieces of one peer are fetched side by side as it sends in this time, in seconds: they
/// are hashed side by side, and the first is complete no later than that.
const ABREAST_TIME: f64 = 0.1;
/// But no more than the lanes of the widest hashing.
const MOST_ABREAST: f64 = 16.0;

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
    /// A piece that comes before all others, if there is one that it `may` be asked for.
    fn first(&self, _may: &dyn Fn(PieceIndex) -> bool) -> Option<PieceIndex> {
        None
    }
    /// Its address if it is to send whole pieces, as far as there are any (we want to know whether it sends
    /// bad data).
    fn alone(&self) -> Option<SocketAddr> {
        None
    }
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
    /// So many pieces are fetched from it side by side, unless they are fetched in order.
    pub abreast: u32,
}

/// How many pieces of that length are fetched side by side of a peer that sends `rate` bytes per second.
/// Each holds a slab that is not full, and all of them no more than a quarter of the `budget`, in bytes.
pub fn abreast(rate: f64, piece_len: u32, budget: usize) -> u32 {
    if piece_len <= LONG_PIECE {
        return 1;
    }
    let sent = rate * ABREAST_TIME / f64::from(piece_len);
    let slabs = budget / 4 / SLAB_LEN as usize;
    sent.min(slabs as f64).clamp(1.0, MOST_ABREAST) as u32
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
        let may_ask = |piece| {
            let is_free = self.open_piece(piece).is_some_and(|open| open.free() > 0);
            (is_free || self.may_start(piece)) && (left.scarce > 0 || !self.is_scarce(piece))
        };
        if left.blocks > 0
            && let Some(piece) = view.first(&may_ask)
        {
            if self.may_start(piece) {
                self.start(piece);
            }
            if !self.ask(piece, &mut left, pool, out) {
                return false;
            }
        }
        if !self.sequential {
            self.availability.refresh();
            // A copy of each of these is what the swarm needs most.
            if !self.pick_of(view, &mut left, (Kind::Scarce, false), rng, pool, out) {
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
        if !self.pick_of(view, &mut left, (Kind::Any, false), rng, pool, out) {
            return false;
        }
        if left.blocks > 0
            && view.alone().is_some()
            && !self.pick_of(view, &mut left, (Kind::Any, true), rng, pool, out)
        {
            return false;
        }
        if left.blocks > 0 && wish.again > 0 && self.is_endgame() {
            self.pick_again(view, left.blocks.min(wish.again), wish.peer, out);
        }
        true
    }

    /// Blocks of pieces of a kind: of those that are started (who is to send whole pieces `joins` those of
    /// others or does not), then of new ones; or where the peer gives several side by side, new ones first until
    /// there are so many.
    fn pick_of(
        &mut self,
        view: &impl PeerView,
        left: &mut Wish,
        (kind, joins): (Kind, bool),
        rng: &mut Rng,
        pool: &mut Pool,
        out: &mut Vec<Block>,
    ) -> bool {
        let abreast = if self.sequential { 1 } else { left.abreast };
        loop {
            let kind = match kind {
                Kind::Scarce if left.scarce == 0 => return true,
                Kind::Any if left.scarce == 0 => Kind::Shared,
                kind => kind,
            };
            if left.blocks == 0 {
                return true;
            }
            let (started, own) = self.started(view, left.peer, (kind, joins), abreast);
            if (started.is_empty() || own < abreast)
                && let Some(piece) = self.next_new(view, *left, kind, rng)
            {
                self.start(piece);
                if !self.ask(piece, left, pool, out) {
                    return false;
                }
                continue;
            }
            let before = left.blocks;
            for piece in started {
                if left.blocks > 0
                    && (left.scarce > 0 || !self.is_scarce(piece))
                    && !self.ask(piece, left, pool, out)
                {
                    return false;
                }
            }
            if left.blocks == before {
                return true;
            }
        }
    }

    /// Open pieces of a kind with free blocks that the peer offers: those it already works on, then the
    /// oldest. Where it gives several side by side those come first that nobody else works on; so many
    /// of them there are.
    fn started(
        &self,
        view: &impl PeerView,
        peer: PeerKey,
        (kind, joins): (Kind, bool),
        abreast: u32,
    ) -> (Vec<PieceIndex>, u32) {
        let open = |p| self.open_piece(p).expect("a started piece is open");
        let alone = view.alone().filter(|_| !joins);
        let offered = self.startable.iter().copied();
        let mut offered: Vec<PieceIndex> = offered
            .filter(|&p| view.offers(p) && !view.is_barred(p) && self.is_of(kind, p))
            .filter(|&p| alone.is_none_or(|addr| open(p).is_only(peer, addr)))
            .collect();
        if self.sequential {
            offered.sort_unstable();
        } else if abreast == 1 {
            offered.sort_by_cached_key(|&p| !open(p).involves(peer));
        } else {
            offered.sort_by_cached_key(|&p| open(p).is_elsewhere(peer));
            let own = offered.iter().filter(|&&p| !open(p).is_elsewhere(peer)).count();
            return (offered, own as u32);
        }
        (offered, abreast)
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
        let one_window = left.abreast > 1 && !self.sequential;
        let open = self.open_piece_mut(piece).expect("only open pieces are asked");
        let room = open.ask(left.peer, want, one_window, pool, &mut asked);
        let is_startable = open.free() > 0;
        if !is_startable || one_window {
            self.startable.retain(|&p| p != piece);
        }
        if is_startable && one_window {
            // The others come before it the next time.
            self.startable.push(piece);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::geometry::Geometry;

    /// A seed that nothing is barred to.
    struct Seed;

    impl PeerView for Seed {
        fn offer(&self) -> Offer<'_> {
            Offer::All
        }
        fn offers(&self, _: PieceIndex) -> bool {
            true
        }
        fn is_barred(&self, _: PieceIndex) -> bool {
            false
        }
    }

    /// The places in their pieces, in slabs, of what one seed is asked for: `picks` times 16 blocks.
    fn places(abreast: u32, picks: u32) -> (Vec<u32>, usize) {
        let geometry = Geometry::new(64 << 20, 4 << 20).expect("a geometry");
        let mut rng = Rng::new(1);
        let have = Bitfield::empty(geometry.pieces());
        let mut pieces = Pieces::new(geometry, have, false, &mut rng);
        pieces.seed_came();
        let mut pool = Pool::phantom(64 << 20);
        let peer = PeerKey { slot: 0, generation: 0 };
        let mut out = Vec::new();
        for _ in 0..picks {
            let wish =
                Wish { peer, blocks: 16, scarce: 16, again: 0, runs: false, last: None, abreast };
            assert!(pieces.pick(&Seed, wish, &mut rng, &mut pool, &mut out));
            pieces.check_invariants();
        }
        let places = out.chunks(16).map(|slab| {
            assert!(slab.iter().all(|block| block.piece == slab[0].piece));
            slab[0].begin / SLAB_LEN
        });
        let places = places.collect();
        out.sort_unstable_by_key(|block| block.piece);
        out.dedup_by_key(|block| block.piece);
        (places, out.len())
    }

    #[test]
    fn only_long_pieces_of_fast_peers_come_side_by_side() {
        let of = |rate, piece_len| abreast(rate, piece_len, 44 << 20);
        assert_eq!(of(1e9, 1 << 20), 1);
        assert_eq!([0.0, 1e6, 40e6, 100e6, 1e9].map(|rate| of(rate, 4 << 20)), [1, 1, 1, 2, 16]);
        assert_eq!([40e6, 1e9].map(|rate| of(rate, 16 << 20)), [1, 5]);
        // Where memory is short they would only wait for it.
        assert_eq!([4, 1].map(|mib| abreast(1e9, 4 << 20, mib << 20)), [4, 1]);
    }

    #[test]
    fn long_pieces_of_a_fast_peer_are_asked_for_side_by_side() {
        assert_eq!(places(1, 12), ((0..12).collect(), 1));
        assert_eq!(places(4, 12), (vec![0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2], 4));
        // To their ends; others follow one by one.
        let (places, pieces) = places(4, 66);
        assert_eq!((&places[60..], pieces), (&[15, 0, 15, 0, 15, 0][..], 7));
    }
}
