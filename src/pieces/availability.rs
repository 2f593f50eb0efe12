//! How many peers have each piece, and the missing pieces in order of rarity.
//!
//! The order is one array cut into buckets of equal availability; a piece moves to the next bucket
//! by one swap. Seeds count in one number, for they change no order. Nothing here knows peers.

use crate::base::{index::PieceIndex, rng::Rng};

const NOWHERE: u32 = u32::MAX;

/// Counts, and the rarity order of missing pieces.
#[derive(Debug)]
pub(super) struct Availability {
    /// Peers with every piece.
    pub(super) seeds: u32,
    /// Other peers that have the piece.
    counts: Vec<u16>,
    /// Missing pieces, rarest first.
    order: Vec<PieceIndex>,
    /// Where each piece is in `order`, or `NOWHERE`.
    place: Vec<u32>,
    /// `ends[a]` is the end of the bucket of availability `a` in `order`.
    ends: Vec<u32>,
}

impl Availability {
    /// Every piece missing, nobody has any; equal pieces in random order.
    pub(super) fn new(pieces: u32, rng: &mut Rng) -> Self {
        let mut order: Vec<PieceIndex> = (0..pieces).map(PieceIndex).collect();
        rng.shuffle(&mut order);
        let mut place = vec![0; pieces as usize];
        for (i, piece) in order.iter().enumerate() {
            place[piece.at()] = i as u32;
        }
        Availability {
            seeds: 0,
            counts: vec![0; pieces as usize],
            order,
            place,
            ends: vec![pieces],
        }
    }

    pub(super) fn of(&self, piece: PieceIndex) -> u32 {
        self.seeds + u32::from(self.counts[piece.at()])
    }

    pub(super) fn order_is_empty(&self) -> bool {
        self.order.is_empty()
    }

    pub(super) fn in_order(&self, piece: PieceIndex) -> bool {
        self.place[piece.at()] != NOWHERE
    }

    /// Missing pieces by bucket, rarest first.
    pub(super) fn buckets(&self) -> impl Iterator<Item = &[PieceIndex]> {
        let mut start = 0;
        self.ends.iter().filter_map(move |&end| {
            let bucket = &self.order[start as usize..end as usize];
            start = end;
            (!bucket.is_empty()).then_some(bucket)
        })
    }

    pub(super) fn more(&mut self, piece: PieceIndex) {
        let count = self.counts[piece.at()];
        if count == u16::MAX {
            return;
        }
        self.counts[piece.at()] = count + 1;
        if self.in_order(piece) {
            self.grow(count + 1);
            self.promote(piece, count);
        }
    }

    pub(super) fn fewer(&mut self, piece: PieceIndex) {
        let count = self.counts[piece.at()];
        debug_assert!(count > 0, "availability of {piece} below zero");
        if count == 0 {
            return;
        }
        self.counts[piece.at()] = count - 1;
        if self.in_order(piece) {
            self.demote(piece, count);
        }
    }

    /// The piece is no longer missing.
    pub(super) fn leave_order(&mut self, piece: PieceIndex) {
        debug_assert!(self.in_order(piece));
        // To the very end, one bucket at a time, then off.
        for a in self.counts[piece.at()]..self.top() {
            self.promote(piece, a);
        }
        let last = self.order.len() - 1;
        self.swap(self.place[piece.at()] as usize, last);
        self.order.pop();
        self.place[piece.at()] = NOWHERE;
        let top = usize::from(self.top());
        self.ends[top] -= 1;
    }

    /// The piece is missing again.
    pub(super) fn enter_order(&mut self, piece: PieceIndex) {
        debug_assert!(!self.in_order(piece));
        let count = self.counts[piece.at()];
        self.grow(count);
        self.place[piece.at()] = self.order.len() as u32;
        self.order.push(piece);
        let top = self.top();
        self.ends[usize::from(top)] += 1;
        for a in (count + 1..=top).rev() {
            self.demote(piece, a);
        }
    }

    fn top(&self) -> u16 {
        (self.ends.len() - 1) as u16
    }

    fn grow(&mut self, count: u16) {
        while self.ends.len() <= usize::from(count) {
            self.ends.push(self.order.len() as u32);
        }
    }

    /// From bucket `a` to `a + 1`.
    fn promote(&mut self, piece: PieceIndex, a: u16) {
        let last = self.ends[usize::from(a)] as usize - 1;
        self.swap(self.place[piece.at()] as usize, last);
        self.ends[usize::from(a)] -= 1;
    }

    /// From bucket `a` to `a - 1`.
    fn demote(&mut self, piece: PieceIndex, a: u16) {
        let first = self.ends[usize::from(a) - 1] as usize;
        self.swap(self.place[piece.at()] as usize, first);
        self.ends[usize::from(a) - 1] += 1;
    }

    fn swap(&mut self, i: usize, j: usize) {
        self.order.swap(i, j);
        self.place[self.order[i].at()] = i as u32;
        self.place[self.order[j].at()] = j as u32;
    }

    pub(super) fn check_invariants(&self) {
        assert_eq!(self.ends.last().copied(), Some(self.order.len() as u32));
        let mut start = 0;
        for (a, &end) in self.ends.iter().enumerate() {
            assert!(start <= end);
            for i in start..end {
                let piece = self.order[i as usize];
                assert_eq!(usize::from(self.counts[piece.at()]), a, "{piece} in the wrong bucket");
                assert_eq!(self.place[piece.at()], i);
            }
            start = end;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, prop, prop_assert, proptest};

    proptest! {
        #[test]
        fn order_follows_counts(ops in prop::collection::vec((0u8..4, 0u32..20), 1..400), seed in any::<u64>()) {
            let mut a = Availability::new(20, &mut Rng::new(seed));
            for (op, piece) in ops {
                let piece = PieceIndex(piece);
                match op {
                    0 => a.more(piece),
                    1 if a.of(piece) > 0 => a.fewer(piece),
                    2 if a.in_order(piece) => a.leave_order(piece),
                    3 if !a.in_order(piece) => a.enter_order(piece),
                    _ => {}
                }
                a.check_invariants();
            }
            let counts: Vec<u32> = a.buckets().flatten().map(|&p| a.of(p)).collect();
            prop_assert!(counts.is_sorted());
        }
    }
}
