//! What becomes of a piece that is complete: when it is checked, and what follows from the verdict.
//!
//! Who is to blame for a bad one is `blame`'s to say, who is asked again `download`'s.

use std::net::SocketAddr;

use crate::{
    base::{index::PieceIndex, slab::Pool, time::Instant, web_seed::WebSeedNumber},
    pieces::{Closed, job::Verdict},
    why::{Happening, Recent},
};

use super::{Disconnect, Event, Torrent, blame::Doubt, ip_or_addr::IpOrAddr};

impl Torrent {
    /// Hands a complete piece to the disk to be checked, unless one of those who sent it is doubted.
    pub(super) fn check_unless_doubted(&mut self, now: Instant, piece: PieceIndex) {
        if self.blame.is_suspect(piece) && !self.is_of_one(piece) {
            return;
        }
        let doubt = self.blame.doubt(now, self.pieces.senders(piece));
        let digests = self.blame.is_suspect(piece);
        // Who reads along, or has nothing left to fetch, is not kept waiting for the sake of one more bad piece.
        let in_haste = self.settings.sequential || self.pieces.is_endgame();
        let waits = match doubt {
            Doubt::None => false,
            // One bad piece of it is enough.
            Doubt::Of(addr) => self.blame.is_being_checked(addr),
            Doubt::OfSome => !in_haste,
        };
        if waits && !digests {
            self.unchecked = true;
            return;
        }
        if let Some(job) = self.pieces.close(piece, digests) {
            if let Doubt::Of(addr) = doubt {
                self.blame.begin_check(piece, addr);
            }
            self.hand_to_disk(job);
        }
    }

    /// Whether one peer has sent all of a piece that failed: only then its hash tells who lies. If not, what others
    /// than its owner sent is asked for again, a few times.
    fn is_of_one(&mut self, piece: PieceIndex) -> bool {
        let Some(first) = self.pieces.senders(piece).next() else { return true };
        if self.pieces.senders(piece).all(|sender| sender == first) {
            return true;
        }
        if !self.blame.may_take_back(piece) {
            return true;
        }
        let owner = self.blame.owner(piece).and_then(|owner| self.peers.get(owner));
        let one = owner.map_or(first, |owner| owner.addr);
        self.pieces.take_back_from(piece, |sender| sender != one);
        self.freed = true;
        false
    }

    /// Complete pieces that waited are checked, as far as nobody who sent them is doubted any more.
    pub(super) fn check_what_waits(&mut self, now: Instant) {
        if std::mem::take(&mut self.unchecked) {
            for piece in self.pieces.waiting_for_check() {
                self.check_unless_doubted(now, piece);
            }
        }
    }

    /// The disk has checked a piece, whose blocks have these digests if they were wanted.
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
                self.blame.came(piece);
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
        let web_seed = WebSeedNumber::of(addr);
        if web_seed.is_none() {
            self.candidates.ban(addr);
        }
        let (whose, candidates) = (IpOrAddr::of(addr), &self.candidates);
        let same = |other: SocketAddr| IpOrAddr::of(other) == whose || candidates.is_banned(other);
        let banned = self.peers.iter().filter(|(_, peer)| same(peer.addr));
        let keys: Vec<_> = banned.map(|(key, _)| key).collect();
        self.pieces.take_back(same);
        for key in keys {
            self.disconnect(now, key, Disconnect::Poison, pool);
        }
        self.freed = true;
        match web_seed {
            Some(number) => self.give_up_web_seed(number),
            None => self.say(Event::Banned(addr)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::messages::tests::*, *};
    use crate::{
        base::{bitfield::Bitfield, geometry::Geometry, id::PeerKey, index::Block, slab::Chunk},
        pieces::job::DiskJob,
        torrent::Setup,
        wire::{Message, encode},
    };

    /// Two seeds, and four pieces of eight blocks; four blocks of one are asked of each seed.
    fn shared() -> (Torrent, Pool, [PeerKey; 2], PieceIndex) {
        let geometry = Geometry::new(1 << 19, 1 << 17).expect("valid");
        let setup = Setup { geometry, ..setup(Bitfield::empty(4)) };
        let (mut torrent, mut pool) = (Torrent::new(setup, Instant::ZERO), Pool::phantom(16 << 20));
        let keys = [1, 2].map(|n| greet(&mut torrent, &mut pool, n));
        for key in keys {
            say(&mut torrent, &mut pool, key, &Message::HaveAll);
            say(&mut torrent, &mut pool, key, &Message::Unchoke);
        }
        let pieces = keys.map(|key| asked(&torrent, key)[0].piece);
        assert_eq!(pieces[0], pieces[1], "they share one");
        (torrent, pool, keys, pieces[0])
    }

    fn asked(torrent: &Torrent, key: PeerKey) -> Vec<Block> {
        torrent.peers.get(key).expect("it is here").requests.iter().map(|r| r.block).collect()
    }

    /// Sends what it is asked for of `piece`, and gives the blocks.
    fn send(t: &mut Torrent, pool: &mut Pool, key: PeerKey, piece: PieceIndex) -> Vec<Block> {
        let blocks: Vec<_> = asked(t, key).into_iter().filter(|b| b.piece == piece).collect();
        for &Block { piece, begin, length } in &blocks {
            let header = encode::piece_header(piece.0, begin, length);
            t.read(Instant::ZERO, key, Chunk::Bytes(&header), pool);
            t.read(Instant::ZERO, key, Chunk::Phantom { length, tag: 1 }, pool);
        }
        blocks
    }

    fn addr(torrent: &Torrent, key: PeerKey) -> SocketAddr {
        torrent.peers.get(key).expect("it is here").addr
    }

    /// Another piece has failed, and both seeds had a part in it.
    fn doubted() -> (Torrent, Pool, [PeerKey; 2], PieceIndex) {
        let (mut torrent, pool, keys, piece) = shared();
        let senders = keys.map(|key| Some(addr(&torrent, key)));
        let other = PieceIndex((piece.0 + 1) % 4);
        torrent.blame.failed(Instant::ZERO, other, &[senders, senders].concat(), &[1, 2, 3, 4]);
        (torrent, pool, keys, piece)
    }

    #[test]
    fn what_one_who_is_banned_had_sent_is_fetched_again_before_it_is_checked() {
        let (mut torrent, mut pool, [honest, liar], piece) = doubted();
        let good = send(&mut torrent, &mut pool, honest, piece);
        let bad = send(&mut torrent, &mut pool, liar, piece);
        assert_eq!((good.len(), bad.len()), (4, 4));
        assert_eq!((torrent.at_disk, torrent.unchecked), (0, true), "one of them is doubted");
        let banned = addr(&torrent, liar);
        torrent.ban(Instant::ZERO, banned, &mut pool);
        assert!(good.iter().all(|&block| !torrent.pieces.wants(block)));
        assert!(bad.iter().all(|&block| torrent.pieces.wants(block)));
        torrent.check_what_waits(Instant::ZERO);
        assert_eq!(torrent.at_disk, 0, "it is not complete");
        for piece in (0..4).cycle().take(40).map(PieceIndex) {
            send(&mut torrent, &mut pool, honest, piece);
        }
        assert!(torrent.pieces.is_endgame() && asked(&torrent, honest).is_empty());
        assert_eq!(torrent.at_disk, 1, "what failed; what else was sent alone comes after it");
        assert_eq!(torrent.pieces.waiting_for_check().len(), 3);
        torrent.check_invariants();
    }

    #[test]
    fn a_piece_does_not_wait_for_ever() {
        let (mut torrent, mut pool, keys, piece) = doubted();
        for key in keys {
            send(&mut torrent, &mut pool, key, piece);
        }
        let at = |seconds| Instant::ZERO + std::time::Duration::from_secs(seconds);
        torrent.check_what_waits(at(9));
        assert_eq!((torrent.at_disk, torrent.unchecked), (0, true));
        torrent.check_what_waits(at(10));
        assert_eq!((torrent.at_disk, torrent.unchecked), (1, false));
    }

    /// A liar used to spoil each copy of a piece that failed with one block, and to hand the rest to others.
    #[test]
    fn a_piece_that_failed_is_checked_when_one_has_sent_all_of_it() {
        let (mut torrent, mut pool, [honest, liar], piece) = doubted();
        let suspect = PieceIndex((piece.0 + 1) % 4);
        send(&mut torrent, &mut pool, liar, piece);
        let claimed = asked(&torrent, liar);
        assert_eq!(claimed[0].piece, suspect);
        let Block { piece: PieceIndex(number), begin, length } = claimed[0];
        let header = encode::piece_header(number, begin, length);
        torrent.read(Instant::ZERO, liar, Chunk::Bytes(&header), &mut pool);
        torrent.read(Instant::ZERO, liar, Chunk::Phantom { length, tag: 66 }, &mut pool);
        say(&mut torrent, &mut pool, liar, &Message::Choke);
        while let Some(&Block { piece, begin, length }) = asked(&torrent, liar).first() {
            let reject = Message::RejectRequest { piece: piece.0, begin, length };
            say(&mut torrent, &mut pool, liar, &reject);
        }
        for _ in 0..9 {
            send(&mut torrent, &mut pool, honest, piece);
            send(&mut torrent, &mut pool, honest, suspect);
        }
        let checked = std::iter::from_fn(|| torrent.poll()).filter_map(|output| match output {
            super::super::Output::Disk(DiskJob::Verify { piece, .. }) => Some(piece),
            _ => None,
        });
        assert_eq!(checked.collect::<Vec<_>>(), [suspect]);
        let honest = addr(&torrent, honest);
        assert!(torrent.pieces.senders(suspect).all(|sender| sender == honest));
        torrent.check_invariants();
    }

    #[test]
    fn nobody_waits_who_reads_along_or_doubts_nobody() {
        for doubt in [false, true] {
            let (mut torrent, mut pool, keys, piece) = if doubt { doubted() } else { shared() };
            torrent.settings.sequential = doubt;
            for key in keys {
                send(&mut torrent, &mut pool, key, piece);
            }
            assert_eq!(torrent.at_disk, 1);
        }
    }
}
