//! What becomes of a piece that is complete: when it is checked, and what follows from the verdict.
//!
//! Who is to blame for a bad one is `blame`'s to say, who is asked again `download`'s.

use std::net::SocketAddr;

use crate::{
    base::{index::PieceIndex, slab::Pool, time::Instant, web_seed::WebSeedNumber},
    pieces::{Closed, job::Verdict},
    why::{Happening, Recent},
};

use super::{Disconnect, Event, Torrent, blame::Doubt};

impl Torrent {
    /// Hands a complete piece to the disk to be checked, unless one of those who sent it is doubted.
    pub(super) fn check_unless_doubted(&mut self, now: Instant, piece: PieceIndex) {
        let waits = match self.blame.doubt(now, self.pieces.senders(piece)) {
            Doubt::None => false,
            // One bad piece of it is enough.
            Doubt::Of(addr) => self.pieces.are_checked_of(addr),
            Doubt::OfSome => true,
        };
        let digests = self.blame.is_suspect(piece);
        if waits && !digests {
            self.unchecked = true;
            return;
        }
        if let Some(job) = self.pieces.close(piece, digests) {
            self.hand_to_disk(job);
        }
    }

    /// Complete pieces that waited are checked, as far as nobody who sent them is doubted any more.
    pub(super) fn check_what_waits(&mut self, now: Instant) {
        if std::mem::take(&mut self.unchecked) {
            for piece in self.pieces.waiting_for_check() {
                self.check_unless_doubted(now, piece);
            }
        }
    }

    pub(super) fn piece_checked(
        &mut self,
        now: Instant,
        piece: PieceIndex,
        verdict: &Verdict,
        digests: &[u64],
        pool: &mut Pool,
    ) {
        let closed = self.pieces.verified(piece, verdict);
        if !matches!(closed, Closed::Had) {
            self.forget_requests(piece);
        }
        match closed {
            Closed::Had => {
                Recent::note(&mut self.recent, now, Happening::PieceVerified, 1);
                self.piece_is_ours(piece);
                for guilty in self.blame.good(piece, digests) {
                    self.ban(now, guilty, pool);
                }
                if self.is_done() {
                    self.completed(now, pool);
                }
                self.check_what_waits(now);
            }
            Closed::Bad(senders) => {
                Recent::note(&mut self.recent, now, Happening::PieceFailed, 1);
                self.totals.corrupt += u64::from(self.pieces.geometry().piece_len(piece));
                self.say(Event::PieceFailed(piece));
                self.freed = true;
                if let Some(guilty) = self.blame.failed(now, piece, &senders, digests) {
                    self.ban(now, guilty, pool);
                }
                self.check_what_waits(now);
            }
            Closed::Lost => {
                if let Verdict::Failed(fault) = verdict {
                    self.disk_failed(fault.clone(), pool);
                }
            }
        }
    }

    /// A piece that was complete has to be fetched again: what is still expected of it was asked of several
    /// peers, or taken back, and may be asked for anew.
    fn forget_requests(&mut self, piece: PieceIndex) {
        for (_, peer) in self.peers.iter_mut() {
            peer.forgot |= !peer.requests.drain_piece(piece).is_empty();
        }
    }

    fn piece_is_ours(&mut self, piece: PieceIndex) {
        self.say(Event::PieceVerified(piece));
        let mut bored = Vec::new();
        let mut tell = Vec::new();
        for (key, peer) in self.peers.iter_mut() {
            if peer.pieces.has(piece) {
                peer.wanted = peer.wanted.saturating_sub(1);
                if peer.wanted == 0 {
                    bored.push(key);
                }
            }
            if peer.is_open() {
                tell.push(key);
            }
        }
        bored.into_iter().for_each(|key| self.update_interest(key));
        tell.into_iter().for_each(|key| self.want_write(key));
    }

    /// Bans whoever is at `addr`: what it sent is not believed.
    fn ban(&mut self, now: Instant, addr: SocketAddr, pool: &mut Pool) {
        let loopback = addr.ip().is_loopback();
        let same = |other: SocketAddr| other == addr || !loopback && other.ip() == addr.ip();
        let banned = self.peers.iter().filter(|(_, peer)| same(peer.addr));
        let keys: Vec<_> = banned.map(|(key, _)| key).collect();
        for key in keys {
            self.disconnect(now, key, Disconnect::Poison, pool);
        }
        self.pieces.take_back(same);
        self.freed = true;
        match WebSeedNumber::of(addr) {
            Some(number) => self.give_up_web_seed(number),
            None => {
                self.candidates.ban(addr);
                self.say(Event::Banned(addr));
            }
        }
    }
}
