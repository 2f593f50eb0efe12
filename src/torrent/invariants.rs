//! What holds of a torrent between one input and the next: for the simulator, the fuzzer and tests, which look
//! after every step.
//!
//! Counts agree with what they count, nobody who has left is remembered, and what others can make grow stays
//! within its limit. What holds among the pieces alone is in [`Pieces`](crate::pieces::Pieces).

use crate::{
    base::{id::PeerKey, limits},
    peer::{Peer, pieces::PeerPieces},
};

use super::{Phase, Torrent, lifecycle::MORE_DIALS, messages::MAX_ALLOWED_FAST};

impl Torrent {
    /// Panics if one of the sentences below is not true.
    pub fn check_invariants(&self) {
        self.pieces.check_invariants();
        self.candidates.check_invariants();
        self.check_bounds();
        self.check_counts();
        self.check_requests();
        self.check_nobody_is_left_over();
    }

    /// Nothing grows beyond its limit, whatever peers do.
    fn check_bounds(&self) {
        // Whoever is doomed goes before the next input.
        let staying = self.peers.len() as usize - self.doomed.len().min(self.peers.len() as usize);
        let most = self.settings.max_peers as usize + limits::MAX_WEB_SEEDS_OPEN;
        assert!(staying <= most, "{staying} connections");
        let dials = self.settings.max_dialling.saturating_mul(MORE_DIALS);
        assert!(self.candidates.dialling() <= dials, "too many dials");
        assert!(self.given.len() <= self.pieces.geometry().pieces() as usize);
        let unread = 2 * limits::MAX_UNREAD + self.pieces.have().as_bytes().len();
        for (key, peer) in self.peers.iter() {
            assert!(peer.out.len() <= unread, "{} bytes wait for {key}", peer.out.len());
            assert!(peer.uploads.waiting() <= limits::MAX_PEER_REQUESTS, "{key} asks for more");
            assert!(peer.requests.len() <= limits::MAX_OUTSTANDING, "{key} is asked for more");
            assert!(peer.allowed_fast.len() <= MAX_ALLOWED_FAST, "{key} allows more");
            assert!(peer.named_peers <= limits::MAX_PEX_TAKEN, "{key} named more peers");
        }
    }

    /// What is known of all peers together is what is known of each.
    fn check_counts(&self) {
        for piece in self.pieces.geometry().indices() {
            let there = |peer: &Peer| !peer.snubbed && peer.pieces.has(piece);
            let there = self.peers.iter().filter(|(_, peer)| there(peer)).count();
            assert_eq!(self.pieces.availability(piece) as usize, there, "who has {piece}");
        }
        let fetches = self.phase == Phase::Downloading && self.settings.fetch;
        for (key, peer) in self.peers.iter() {
            let wanted = self.wanted_of(&peer.pieces);
            assert_eq!(peer.wanted, wanted, "what we want of {key}");
            let interested = peer.is_open() && wanted > 0 && fetches;
            assert_eq!(peer.am_interested, interested, "whether {key} interests us");
        }
    }

    /// How many of these pieces we want and lack.
    fn wanted_of(&self, pieces: &PeerPieces) -> u32 {
        match pieces.bits() {
            Some(bits) => self.pieces.count_lacking(bits),
            None if pieces.is_all() => self.pieces.all_lacking(),
            None => 0,
        }
    }

    /// A block is outstanding where it was asked for, and nowhere else. One that was taken back may be until
    /// the peer says that it will not come.
    fn check_requests(&self) {
        let mut outstanding = 0;
        for (key, peer) in self.peers.iter() {
            for request in peer.requests.iter() {
                let is_outstanding = self.pieces.is_outstanding(request.block, key);
                let block = request.block;
                assert!(is_outstanding || request.cancelled, "{key} was asked for {block:?}");
                outstanding += usize::from(is_outstanding);
            }
        }
        assert_eq!(outstanding, self.pieces.outstanding(), "blocks are outstanding at nobody");
    }

    /// Whoever has left is nowhere any more.
    fn check_nobody_is_left_over(&self) {
        let knows = |key: PeerKey| assert!(self.knows(key), "{key} has left");
        self.candidates.connections().for_each(knows);
        self.given.values().copied().flatten().for_each(knows);
        self.blame.owners().for_each(knows);
        self.superseed.iter().flat_map(|superseed| superseed.shown_to()).for_each(knows);
        self.starved.iter().copied().for_each(knows);
        let twice = (1..self.starved.len()).any(|n| self.starved[..n].contains(&self.starved[n]));
        assert!(!twice, "somebody waits twice for memory");
    }
}
