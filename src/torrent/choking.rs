//! Carries out what the choker decides, and keeps score of who passes pieces on.

use crate::{
    base::{id::PeerKey, index::PieceIndex, time::Instant},
    peer::Standing,
    wire::{self, Message},
};

use super::{
    Demand, Lease, Phase, Torrent,
    choker::{Candidate, Change},
    lifecycle::ENOUGH_PEERS,
};

/// What a score keeps from one round to the next: it remembers some minutes.
const SCORE_DECAY: f64 = 0.95;
/// A peer is not judged before it has got so many pieces from us.
const PIECES_TO_JUDGE: f64 = 4.0;
/// As a divisor, the share of what it got that a peer must have given to have another chance as others have.
const LEAST_GIVEN: u64 = 8;
/// Share of them that must have been seen elsewhere; not all can, for the last are still on their way.
const SHARE_PASSED_ON: f64 = 0.25;

impl Torrent {
    /// Fills free upload slots.
    pub(super) fn fill_slots(&mut self, now: Instant) {
        self.choke_unwanted();
        let candidates = self.choke_candidates(now);
        let changes = self.choker.fill(self.uploads_only(), &candidates, &mut self.rng);
        self.apply(now, &changes);
    }

    /// Once a second: adapts the number of slots, and holds a round when one is due.
    pub(super) fn choke_tick(&mut self, now: Instant) {
        let candidates = self.choke_candidates(now);
        self.choker.adapt(now, self.up.total(), &candidates);
        let seeding = self.uploads_only();
        let changes = if self.choker.is_round_due(now) {
            let changes = self.choker.round(now, seeding, &candidates, &mut self.rng);
            for (_, peer) in self.peers.iter_mut() {
                peer.standing.passed_on *= SCORE_DECAY;
                peer.standing.lent *= SCORE_DECAY;
                peer.standing.given *= SCORE_DECAY;
            }
            changes
        } else {
            self.choker.fill(seeding, &candidates, &mut self.rng)
        };
        self.apply(now, &changes);
    }

    /// What we would like to have of what torrents share.
    pub fn demand(&self) -> Demand {
        let mut demand = Demand::default();
        for (_, peer) in self.peers.iter() {
            if !peer.wants_from_us() {
                continue;
            }
            demand.interested += 1;
            demand.unchoked += u32::from(!peer.am_choking);
            demand.waiting += u32::from(!peer.am_choking && peer.uploads.waiting() > 0);
        }
        if !matches!(self.phase, Phase::Paused | Phase::Failed) {
            let could_be = self.swarm_len() + self.candidates.len().min(ENOUGH_PEERS);
            demand.peers = could_be.min(self.settings.max_peers);
        }
        demand
    }

    /// Takes no more than this from now on.
    pub(super) fn take_lease(&mut self, lease: Lease) {
        self.choke_dirty |= self.lease.slots != lease.slots;
        self.dial_dirty |= self.lease.peers != lease.peers;
        self.lease = lease;
        self.choker.slots.lease(lease.slots);
    }

    /// A peer was sent a part of a piece. Who passes it on can only be told while no other peer has it.
    pub(super) fn gave_of(&mut self, piece: PieceIndex, who: PeerKey) {
        let nobody_has_it = self.pieces.copies(piece) == 0;
        let lent = match self.given.get(&piece).copied() {
            None if nobody_has_it => Some(who),
            Some(Some(other)) if other != who => {
                self.given.remove(&piece);
                if let Some(peer) = self.peers.get_mut(other) {
                    peer.standing.lent = (peer.standing.lent - 1.0).max(0.0);
                }
                if !nobody_has_it {
                    return;
                }
                None
            }
            _ => return,
        };
        self.given.insert(piece, lent);
        if let Some(peer) = lent.and_then(|who| self.peers.get_mut(who)) {
            peer.standing.lent += 1.0;
        }
    }

    /// A peer got a piece. If one other alone had it from us, that one has passed it on.
    pub(super) fn credit_passing_on(&mut self, piece: PieceIndex, who: PeerKey) {
        let Some(&from) = self.given.get(&piece) else { return };
        if from == Some(who) {
            return;
        }
        self.given.remove(&piece);
        if let Some(peer) = from.and_then(|from| self.peers.get_mut(from)) {
            peer.standing.passed_on += 1.0;
        }
    }

    /// Peers who want nothing any more give their slot back.
    fn choke_unwanted(&mut self) {
        let done: Vec<PeerKey> = self
            .peers
            .iter()
            .filter(|(_, p)| !p.am_choking && (!p.peer_interested || p.is_seed()))
            .map(|(k, _)| k)
            .collect();
        done.into_iter().for_each(|key| self.choke(key));
    }

    fn choke_candidates(&self, now: Instant) -> Vec<Candidate> {
        if self.phase == Phase::Paused || self.is_storage_gone() {
            return Vec::new();
        }
        let piece_length = u64::from(self.pieces.geometry().piece_length());
        self.peers
            .iter()
            .filter(|(_, p)| p.wants_from_us())
            .map(|(key, p)| {
                let Standing { unchoked_at, given, lent, passed_on, down_before, up_before } =
                    p.standing;
                let (down, up) = (down_before + p.down.total(), up_before + p.up.total());
                Candidate {
                    key,
                    unchoked: !p.am_choking,
                    unchoked_at,
                    gives: p.down.rate(now).0,
                    keeps: lent >= PIECES_TO_JUDGE && passed_on < lent * SHARE_PASSED_ON,
                    takes: given >= PIECES_TO_JUDGE && down < up / LEAST_GIVEN,
                    gave: down >= piece_length,
                    snubbed: p.snubbed,
                    waits: p.uploads.waiting() > 0,
                }
            })
            .collect()
    }

    fn apply(&mut self, now: Instant, changes: &[Change]) {
        for change in changes {
            match *change {
                Change::Choke(key) => self.choke(key),
                Change::Unchoke(key) => self.unchoke(now, key),
            }
        }
    }

    fn unchoke(&mut self, now: Instant, key: PeerKey) {
        let Some(peer) = self.peers.get_mut(key) else { return };
        peer.am_choking = false;
        peer.standing.unchoked_at = Some(now);
        wire::encode::encode(&Message::Unchoke, &mut peer.out);
        self.want_write(key);
    }

    /// A fast peer hears of each request that will not be served (BEP 6); the rest of a piece that has
    /// been begun is still sent.
    pub(super) fn choke(&mut self, key: PeerKey) {
        let Some(peer) = self.peers.get_mut(key) else { return };
        if peer.am_choking {
            return;
        }
        peer.am_choking = true;
        wire::encode::encode(&Message::Choke, &mut peer.out);
        let dropped = if peer.fast { peer.uploads.choke() } else { peer.uploads.drop_waiting() };
        dropped.into_iter().for_each(|block| self.reject(key, block));
        self.want_write(key);
    }
}
