//! The state of each piece, how many peers have it, and the missing pieces in order of rarity.
//!
//! The order is one array cut into buckets of equal availability; a piece moves to the next bucket
//! by one swap. Seeds count in one number, for they change no order. What a whole bitfield changes
//! is only counted, and the order made anew when it is next needed. A piece takes some ten bytes here,
//! none once all of them are had and no peer but seeds is here. Nothing here knows peers.

use std::ops::RangeInclusive;

use crate::base::{bitfield::Bitfield, index::PieceIndex, rng::Rng};

/// A bitfield with more than one in so many pieces is not worth single steps.
const FEW: u32 = 64;

/// What is known of a piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Nothing of it is asked for; it is in the order.
    Missing,
    /// Nothing of it is asked for, and it is not in the order: others come first, or nobody wants it.
    Waiting,
    /// Its slot among the open pieces.
    Open(u32),
    /// It is ours.
    Had,
}

/// Where a piece is in the order, or its state when it is not there, in one number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place(u32);

impl Place {
    const HAD: Place = Place(u32::MAX);
    const WAITING: Place = Place(u32::MAX - 1);
    const OPEN: u32 = 1 << 31;

    const fn state(self) -> State {
        match self {
            Place::HAD => State::Had,
            Place::WAITING => State::Waiting,
            Place(open) if open >= Place::OPEN => State::Open(open - Place::OPEN),
            Place(_) => State::Missing,
        }
    }
}

/// States, counts, and the rarity order of missing pieces.
#[derive(Debug)]
pub(super) struct Availability {
    /// Peers with every piece.
    pub(super) seeds: u32,
    pieces: u32,
    /// Other peers that have the piece; empty while there are none.
    counts: Vec<u16>,
    /// Sum of `counts`.
    counted: u64,
    /// From `gone` on the missing pieces, rarest first. Empty when all are had.
    order: Vec<PieceIndex>,
    gone: u32,
    /// Empty when all are had.
    places: Vec<Place>,
    /// `ends[a]` is the end of the bucket of availability `a` in `order`.
    ends: Vec<u32>,
    /// Counts have changed and the order has not.
    stale: bool,
    /// What is in the order.
    missing: Bitfield,
    /// How often a piece came back to the order.
    returns: u64,
}

impl Availability {
    /// `have` is had, the others are missing, and nobody has any; equal pieces in random order.
    pub(super) fn new(have: &Bitfield, rng: &mut Rng) -> Self {
        let mut new = Availability {
            seeds: 0,
            pieces: have.len(),
            counts: Vec::new(),
            counted: 0,
            order: Vec::new(),
            gone: 0,
            places: Vec::new(),
            ends: Vec::new(),
            stale: false,
            missing: Bitfield::empty(0),
            returns: 0,
        };
        if !have.is_full() {
            new.fill(have.complement());
            rng.shuffle(&mut new.order[new.gone as usize..]);
            new.renumber();
        }
        new
    }

    /// Makes the order of these missing pieces; all others are had.
    fn fill(&mut self, missing: Bitfield) {
        let pieces = self.pieces as usize;
        self.places = vec![Place::HAD; pieces];
        self.gone = self.pieces - missing.count();
        self.order = Vec::with_capacity(pieces);
        self.order.resize(self.gone as usize, PieceIndex(0));
        self.order.extend(missing.iter());
        self.ends = vec![self.pieces];
        self.missing = missing;
        self.renumber();
    }

    fn renumber(&mut self) {
        for at in self.gone..self.pieces {
            self.places[self.order[at as usize].at()] = Place(at);
        }
    }

    pub(super) fn state(&self, piece: PieceIndex) -> State {
        self.places.get(piece.at()).map_or(State::Had, |place| place.state())
    }

    pub(super) fn of(&self, piece: PieceIndex) -> u32 {
        self.seeds + u32::from(self.count(piece))
    }

    pub(super) fn count(&self, piece: PieceIndex) -> u16 {
        self.counts.get(piece.at()).copied().unwrap_or(0)
    }

    pub(super) fn order_is_empty(&self) -> bool {
        self.gone as usize == self.order.len()
    }

    /// The missing pieces; nothing at all when all are had.
    pub(super) const fn missing(&self) -> &Bitfield {
        &self.missing
    }

    /// How often a piece came back to the order: what was not to be found there before may be now.
    pub(super) const fn returns(&self) -> u64 {
        self.returns
    }

    /// Missing pieces by bucket, those that `counts` peers besides seeds have, rarest first. The order
    /// is fresh.
    pub(super) fn buckets(
        &self,
        counts: RangeInclusive<u32>,
    ) -> impl Iterator<Item = &[PieceIndex]> {
        debug_assert!(!self.stale);
        let (first, last) = (*counts.start() as usize, *counts.end() as usize);
        let mut start = match first.checked_sub(1) {
            Some(before) => self.ends.get(before).copied().unwrap_or(self.pieces),
            None => self.gone,
        };
        let ends = self.ends.iter().take(last.saturating_add(1)).skip(first);
        ends.filter_map(move |&end| {
            let bucket = &self.order[start as usize..end as usize];
            start = end;
            (!bucket.is_empty()).then_some(bucket)
        })
    }

    /// Missing pieces that no peer has, seeds aside.
    pub(super) fn in_no_bitfield(&self) -> u32 {
        match self.ends.first() {
            Some(end) if !self.stale => end - self.gone,
            _ => {
                let missing = self.order[self.gone as usize..].iter();
                missing.filter(|&&p| self.count(p) == 0).count() as u32
            }
        }
    }

    pub(super) fn more(&mut self, piece: PieceIndex) {
        if self.counts.is_empty() {
            self.counts = vec![0; self.pieces as usize];
        }
        let count = self.counts[piece.at()];
        if count == u16::MAX {
            return;
        }
        self.counts[piece.at()] = count + 1;
        self.counted += 1;
        if !self.stale && self.state(piece) == State::Missing {
            self.grow(count + 1);
            self.promote(piece, count);
        }
    }

    pub(super) fn fewer(&mut self, piece: PieceIndex) {
        let count = self.count(piece);
        debug_assert!(count > 0, "availability of {piece} below zero");
        if count == 0 {
            return;
        }
        self.counts[piece.at()] = count - 1;
        self.counted -= 1;
        if !self.stale && self.state(piece) == State::Missing {
            self.demote(piece, count);
        }
        if self.counted == 0 {
            self.counts = Vec::new();
        }
    }

    /// One more peer has all of these.
    pub(super) fn add(&mut self, bits: &Bitfield) {
        self.loosen(bits);
        bits.iter().for_each(|piece| self.more(piece));
    }

    /// One peer less has them.
    pub(super) fn subtract(&mut self, bits: &Bitfield) {
        self.loosen(bits);
        bits.iter().for_each(|piece| self.fewer(piece));
    }

    /// So many changes at once are cheaper by making the order anew.
    fn loosen(&mut self, bits: &Bitfield) {
        self.stale |=
            bits.count() > self.pieces / FEW && self.pieces > FEW && !self.order_is_empty();
    }

    /// Puts the order right after bitfields came or went. Among equals it stays as random as it was.
    pub(super) fn refresh(&mut self) {
        if !std::mem::take(&mut self.stale) {
            return;
        }
        let missing = self.order.split_off(self.gone as usize);
        let mut starts: Vec<u32> = vec![0];
        for &piece in &missing {
            let count = usize::from(self.count(piece));
            if count >= starts.len() {
                starts.resize(count + 1, 0);
            }
            starts[count] += 1;
        }
        let mut at = self.gone;
        for start in &mut starts {
            at += std::mem::replace(start, at);
        }
        self.order.resize(self.pieces as usize, PieceIndex(0));
        for piece in missing {
            let at = &mut starts[usize::from(self.counts.get(piece.at()).copied().unwrap_or(0))];
            self.order[*at as usize] = piece;
            self.places[piece.at()] = Place(*at);
            *at += 1;
        }
        // Each start has moved to its bucket's end.
        self.ends = starts;
    }

    /// The missing piece is open now, in `slot`.
    pub(super) fn leave_order(&mut self, piece: PieceIndex, slot: u32) {
        self.take_off(piece);
        self.places[piece.at()] = Place(Place::OPEN + slot);
    }

    /// The missing piece waits, out of the order.
    pub(super) fn set_aside(&mut self, piece: PieceIndex) {
        self.take_off(piece);
        self.places[piece.at()] = Place::WAITING;
    }

    fn take_off(&mut self, piece: PieceIndex) {
        debug_assert_eq!(self.state(piece), State::Missing);
        // To the very front, one bucket at a time, then off: the rarest are asked for first.
        if !self.stale {
            for a in (1..=self.count(piece)).rev() {
                self.demote(piece, a);
            }
        }
        self.swap(self.places[piece.at()].0, self.gone);
        self.gone += 1;
        self.missing.remove(piece);
    }

    /// The piece is missing again.
    pub(super) fn enter_order(&mut self, piece: PieceIndex) {
        debug_assert_ne!(self.state(piece), State::Missing);
        self.returns += 1;
        if self.places.is_empty() {
            let mut missing = Bitfield::empty(self.pieces);
            missing.insert(piece);
            self.fill(missing);
            self.stale = self.counted > 0;
            return;
        }
        self.gone -= 1;
        self.order[self.gone as usize] = piece;
        self.places[piece.at()] = Place(self.gone);
        self.missing.insert(piece);
        if !self.stale {
            let count = self.count(piece);
            self.grow(count);
            for a in 0..count {
                self.promote(piece, a);
            }
        }
    }

    /// All of these enter the order, at the cost of one look at it.
    pub(super) fn enter_all(&mut self, pieces: &[PieceIndex]) {
        self.stale |= !pieces.is_empty();
        pieces.iter().for_each(|&piece| self.enter_order(piece));
        self.refresh();
    }

    /// The open piece is ours.
    pub(super) fn had(&mut self, piece: PieceIndex) {
        debug_assert!(matches!(self.state(piece), State::Open(_)));
        self.places[piece.at()] = Place::HAD;
    }

    /// All pieces are ours: gives the memory of the order back.
    pub(super) fn all_had(&mut self) {
        (self.order, self.places, self.ends) = (Vec::new(), Vec::new(), Vec::new());
        (self.gone, self.stale, self.missing) = (0, false, Bitfield::empty(0));
    }

    fn grow(&mut self, count: u16) {
        while self.ends.len() <= usize::from(count) {
            self.ends.push(self.pieces);
        }
    }

    /// From bucket `a` to `a + 1`.
    fn promote(&mut self, piece: PieceIndex, a: u16) {
        let last = self.ends[usize::from(a)] - 1;
        self.swap(self.places[piece.at()].0, last);
        self.ends[usize::from(a)] -= 1;
    }

    /// From bucket `a` to `a - 1`.
    fn demote(&mut self, piece: PieceIndex, a: u16) {
        let first = self.ends[usize::from(a) - 1];
        self.swap(self.places[piece.at()].0, first);
        self.ends[usize::from(a) - 1] += 1;
    }

    fn swap(&mut self, i: u32, j: u32) {
        if i != j {
            self.order.swap(i as usize, j as usize);
            self.places[self.order[i as usize].at()] = Place(i);
            self.places[self.order[j as usize].at()] = Place(j);
        }
    }

    pub(super) fn check_invariants(&self) {
        let counted: u64 = self.counts.iter().map(|&count| u64::from(count)).sum();
        assert_eq!(counted, self.counted);
        assert_eq!(self.missing.count(), self.order.len() as u32 - self.gone);
        for at in self.gone..self.order.len() as u32 {
            let piece = self.order[at as usize];
            assert_eq!(self.places[piece.at()], Place(at));
            assert!(self.missing.has(piece), "{piece}");
        }
        if self.stale || self.places.is_empty() {
            return;
        }
        assert_eq!(self.ends.last().copied(), Some(self.pieces));
        let mut start = self.gone;
        for (a, &end) in self.ends.iter().enumerate() {
            assert!(start <= end);
            for i in start..end {
                let piece = self.order[i as usize];
                assert_eq!(usize::from(self.count(piece)), a, "{piece} in the wrong bucket");
            }
            start = end;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, prop, prop_assert, proptest};

    const LEN: u32 = 80;

    proptest! {
        #[test]
        fn order_follows_counts(ops in prop::collection::vec((0u8..10, 0..LEN), 1..400), seed in any::<u64>()) {
            let mut a = Availability::new(&Bitfield::empty(LEN), &mut Rng::new(seed));
            let every_third = {
                let mut bits = Bitfield::empty(LEN);
                (0..LEN).step_by(3).for_each(|i| { bits.insert(PieceIndex(i)); });
                bits
            };
            let (mut here, mut full) = (0, false);
            for (op, piece) in ops {
                let piece = PieceIndex(piece);
                match (op, a.state(piece)) {
                    (0 | 8, _) => a.more(piece),
                    (1, _) if a.count(piece) > here => a.fewer(piece),
                    (2, State::Missing) => a.leave_order(piece, 7),
                    (9, State::Missing) => a.set_aside(piece),
                    (9, State::Waiting) => a.enter_order(piece),
                    (3, State::Open(7)) => a.enter_order(piece),
                    (4, State::Open(_)) => a.had(piece),
                    (5, State::Had) => a.enter_order(piece),
                    (6, _) => {
                        a.add(&every_third);
                        here += 1;
                    }
                    (7, _) if here > 0 => {
                        a.subtract(&every_third);
                        here -= 1;
                    }
                    (7, _) if a.order_is_empty() && !full && !a.places.contains(&Place::WAITING) => {
                        full = true;
                        a.all_had();
                    }
                    _ => {}
                }
                if op % 2 == 0 {
                    a.refresh();
                }
                a.check_invariants();
            }
            a.refresh();
            a.check_invariants();
            let counts: Vec<u32> = a.buckets(0..=u32::MAX).flatten().map(|&p| a.of(p)).collect();
            prop_assert!(counts.is_sorted());
            let rare = a.buckets(1..=2).flatten().count();
            prop_assert!(rare == counts.iter().filter(|c| (1..=2).contains(*c)).count());
        }
    }

    #[test]
    fn what_is_complete_and_alone_holds_nothing() {
        let mut a = Availability::new(&Bitfield::full(LEN), &mut Rng::new(1));
        let sizes =
            |a: &Availability| [a.counts.capacity(), a.order.capacity(), a.places.capacity()];
        assert_eq!(sizes(&a), [0; 3]);
        a.more(PieceIndex(3));
        a.fewer(PieceIndex(3));
        assert_eq!((sizes(&a), a.state(PieceIndex(3))), ([0; 3], State::Had));
        a.enter_order(PieceIndex(3));
        let missing: Vec<_> = a.buckets(0..=u32::MAX).flatten().copied().collect();
        assert_eq!(missing, [PieceIndex(3)]);
    }
}
