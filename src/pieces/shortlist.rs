//! The rarest missing pieces of one peer, for peers that have little of what is rare in the swarm.
//!
//! In the common order the next piece of such a peer may be behind a million others. Its own bitfield
//! is gone through instead, once for some hundreds of pieces. So the list may be a little behind
//! what is rarest; what is in it is checked when it is used.

use std::collections::HashMap;

use crate::base::{bitfield::Bitfield, id::PeerKey, index::PieceIndex, rng::Rng};

use super::{
    availability::{Availability, State},
    picker::Kind,
};

/// A list has one in so many of the missing pieces its peer has, and no fewer or more than these.
const SHARE: usize = 16;
const SHORTEST: usize = 64;
const LONGEST: usize = 1024;

/// The lists of all peers that have one.
#[derive(Debug, Default)]
pub(super) struct Shortlists(HashMap<PeerKey, Shortlist>);

#[derive(Debug, Default)]
struct Shortlist {
    /// The rarest last.
    pieces: Vec<PieceIndex>,
    /// The peer had nothing that was missing: when it had so many pieces, and so many had returned to
    /// the order.
    in_vain: Option<(u32, u64)>,
}

impl Shortlists {
    /// The peer is gone.
    pub(super) fn forget(&mut self, peer: PeerKey) {
        self.0.remove(&peer);
    }

    pub(super) fn clear(&mut self) {
        self.0 = HashMap::new();
    }

    /// A missing piece of a kind that is in `bits`, what `peer` has, and that it `is_open_to`: about
    /// the rarest.
    pub(super) fn next(
        &mut self,
        peer: PeerKey,
        bits: &Bitfield,
        availability: &Availability,
        is_open_to: impl Fn(PieceIndex) -> bool,
        kind: Kind,
        rng: &mut Rng,
    ) -> Option<PieceIndex> {
        let Shortlist { pieces, in_vain } = self.0.entry(peer).or_default();
        let is_fit = |piece| availability.state(piece) == State::Missing && is_open_to(piece);
        for is_new in [false, true] {
            if is_new {
                let now = (bits.count(), availability.returns());
                if *in_vain == Some(now) {
                    return None;
                }
                *pieces = rarest(bits, availability, rng);
                *in_vain = pieces.is_empty().then_some(now);
            }
            while pieces.pop_if(|last| !is_fit(*last)).is_some() {}
            let is_kind =
                |&&piece: &&PieceIndex| kind.fits(availability.of(piece), availability.seeds);
            match kind {
                // The last one is the rarest.
                Kind::Scarce | Kind::Any if !pieces.is_empty() => {
                    return pieces.last().filter(is_kind).copied();
                }
                _ => {
                    let mut found = pieces.iter().rev().filter(is_kind);
                    if let Some(&piece) = found.find(|&&piece| is_fit(piece)) {
                        return Some(piece);
                    }
                }
            }
        }
        None
    }
}

/// The rarest missing pieces of `bits`, the rarest last, equals in random order.
fn rarest(bits: &Bitfield, availability: &Availability, rng: &mut Rng) -> Vec<PieceIndex> {
    let salt = rng.next_u64() as u32;
    // Different for different pieces, and in another order for every salt.
    let lot = |piece: PieceIndex| (piece.0 ^ salt).wrapping_mul(0x9E37_79B1).rotate_left(16);
    let missing = availability.missing().common(Some(bits), PieceIndex(0));
    let mut pieces: Vec<((u32, u32), PieceIndex)> =
        missing.map(|piece| ((availability.of(piece), lot(piece)), piece)).collect();
    let length = (pieces.len() / SHARE).clamp(SHORTEST, LONGEST);
    if pieces.len() > length {
        pieces.select_nth_unstable(length);
        pieces.truncate(length);
    }
    pieces.sort_unstable_by_key(|&order| std::cmp::Reverse(order));
    pieces.into_iter().map(|(_, piece)| piece).collect()
}
