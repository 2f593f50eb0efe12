//! Which blocks to ask of one peer: what nobody else has, started pieces, then the rarest, then, when
//! everything is asked for, what others are slow to send.
//!
//! Sees the peer through [`PeerView`]. How many blocks it gets is decided by its pipeline.

use crate::base::{
    id::PeerKey,
    index::{Block, PieceIndex},
    rng::Rng,
    slab::Pool,
};

use super::{Pieces, State};

/// What the picker must know of a peer.
pub trait PeerView {
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
    /// … and at most so many of pieces that nobody else has.
    pub sole: u32,
    /// At most so many blocks that are outstanding elsewhere.
    pub again: u32,
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
            if !self.pick_sole(view, &mut left, rng, pool, out) {
                return false;
            }
            // While it has more that nobody else has, its uplink is for that alone.
            if left.sole == 0 && left.blocks > 0 && self.next_sole(view, rng).is_some() {
                return true;
            }
        }
        if !self.pick_started(view, &mut left, |_| true, pool, out) {
            return false;
        }
        while left.blocks > 0 {
            let Some(piece) = self.next_new(view, left.sole > 0, rng) else { break };
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

    /// Blocks of pieces that this peer alone has: a copy of each is what the swarm needs most.
    fn pick_sole(
        &mut self,
        view: &impl PeerView,
        left: &mut Wish,
        rng: &mut Rng,
        pool: &mut Pool,
        out: &mut Vec<Block>,
    ) -> bool {
        if !self.pick_started(view, left, |availability| availability <= 1, pool, out) {
            return false;
        }
        while left.blocks > 0
            && left.sole > 0
            && let Some(piece) = self.next_sole(view, rng)
        {
            self.start(piece);
            if !self.ask(piece, left, pool, out) {
                return false;
            }
        }
        true
    }

    /// A missing piece that this peer alone has.
    fn next_sole(&self, view: &impl PeerView, rng: &mut Rng) -> Option<PieceIndex> {
        self.next_new(view, true, rng).filter(|&p| self.availability.of(p) <= 1)
    }

    /// Blocks of open pieces that as many peers have as `fits` says: of those this peer already works on, then of the oldest.
    fn pick_started(
        &mut self,
        view: &impl PeerView,
        left: &mut Wish,
        fits: impl Fn(u32) -> bool,
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
            .filter(|&p| view.offers(p) && !view.is_barred(p) && fits(self.availability.of(p)))
            .collect();
        if self.sequential {
            offered.sort_unstable();
        } else {
            let peer = left.peer;
            offered.sort_by_key(|&p| !self.open_piece(p).is_some_and(|o| o.involves(peer)));
        }
        for piece in offered {
            if left.blocks == 0 {
                break;
            }
            if left.sole == 0 && self.availability.of(piece) <= 1 {
                continue;
            }
            if !self.ask(piece, left, pool, out) {
                return false;
            }
        }
        true
    }

    fn ask(
        &mut self,
        piece: PieceIndex,
        left: &mut Wish,
        pool: &mut Pool,
        out: &mut Vec<Block>,
    ) -> bool {
        let sole = self.availability.of(piece) <= 1;
        let want = if sole { left.blocks.min(left.sole) } else { left.blocks };
        let mut asked = Vec::new();
        let open = self.open_piece_mut(piece).expect("only open pieces are asked");
        let room = open.ask(left.peer, want, pool, &mut asked);
        if open.free() == 0 {
            self.startable.retain(|&p| p != piece);
        }
        let n = asked.len() as u32;
        left.blocks -= n;
        if sole {
            left.sole -= n;
        }
        out.extend(asked.into_iter().map(|i| self.geometry.block_at(piece, i)));
        room
    }

    /// The rarest missing piece the peer offers; among equals a random one. In sequential mode the
    /// first.
    fn next_new(&self, view: &impl PeerView, sole: bool, rng: &mut Rng) -> Option<PieceIndex> {
        let fits = |p: &PieceIndex| {
            view.offers(*p) && !view.is_barred(*p) && (sole || self.availability.of(*p) > 1)
        };
        if self.sequential {
            return self
                .geometry
                .indices()
                .find(|p| self.state[p.at()] == State::Missing && fits(p));
        }
        self.availability.buckets().find_map(|bucket| {
            let (before, after) = bucket.split_at(rng.index(bucket.len()));
            after.iter().chain(before).copied().find(fits)
        })
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
