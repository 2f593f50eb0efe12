//! Pieces that are no more (BEP 54): ours that were lost, and those that peers take back.

use crate::{
    base::{id::PeerKey, index::PieceIndex},
    pieces::job::FaultKind,
    wire::{self, Message, WireError},
};

use super::{
    Disconnect, Event, Phase, Torrent,
    sources::{count_in, count_out},
};

/// Weight of a piece that a seed takes back: some dozens in a few seconds end the connection.
const SEED_NO_MORE: u32 = 64;

impl Torrent {
    /// A piece we have can't be read as it was.
    pub(super) fn lose_piece(&mut self, piece: PieceIndex, kind: FaultKind) {
        let before = self.uploads_only();
        if !matches!(kind, FaultKind::Changed | FaultKind::Missing) || !self.pieces.lose(piece) {
            return;
        }
        let lacks = self.pieces.lacks(piece);
        for (_, peer) in self.peers.iter_mut() {
            peer.wanted += u32::from(lacks && peer.pieces.has(piece));
        }
        if lacks && self.phase == Phase::Seeding {
            self.phase = Phase::Downloading;
            // Whoever wrote to a file that was complete meant it: to fetch again would undo that.
            self.settings.fetch &= kind != FaultKind::Changed;
        }
        for key in self.peers.keys() {
            self.update_interest(key);
            if before != self.uploads_only() {
                self.tell_upload_only(key);
            }
        }
        for key in self.peers.keys() {
            let waiting = self.peers.get_mut(key).map(|peer| peer.uploads.take_waiting(piece));
            waiting.into_iter().flatten().for_each(|block| self.reject(key, block));
        }
        self.take_back(piece);
        self.say(Event::PieceLost(piece));
    }

    /// Tells everybody who was told of `piece`, and understands it, that it is gone.
    pub(super) fn take_back(&mut self, piece: PieceIndex) {
        for key in self.peers.keys() {
            if !self.shows(key, piece) {
                continue;
            }
            // It may be among the news that the peer has not been told yet.
            self.tell_news(key);
            let Some(peer) = self.peers.get_mut(key).filter(|peer| peer.is_open()) else {
                continue;
            };
            let Some(id) = peer.donthave_id else { continue };
            let payload = piece.0.to_be_bytes();
            wire::encode::encode(&Message::Extended { id, payload: &payload }, &mut peer.out);
            self.want_write(key);
        }
    }

    /// A `lt_donthave` message.
    pub(super) fn taken_back(&mut self, key: PeerKey, payload: &[u8]) -> Result<(), Disconnect> {
        let index = payload.try_into().map(u32::from_be_bytes);
        let index = index.map_err(|_| WireError::Extension("not the number of a piece"))?;
        let piece = self.pieces.geometry().piece(index).ok_or(Disconnect::OutOfRange)?;
        let lacks = self.pieces.lacks(piece);
        let Some(peer) = self.peers.get_mut(key) else { return Ok(()) };
        if !peer.pieces.has(piece) {
            return self.strike(key, 1, "pieces taken back");
        }
        let was_seed = peer.pieces.is_all();
        if peer.snubbed {
            peer.pieces.remove(piece);
        } else if was_seed {
            count_out(&mut self.pieces, &peer.pieces);
            peer.pieces.remove(piece);
            count_in(&mut self.pieces, &peer.pieces);
        } else {
            peer.pieces.remove(piece);
            self.pieces.peer_lost(piece);
        }
        peer.wanted -= u32::from(lacks);
        peer.allowed_fast.retain(|&allowed| allowed != piece);
        self.choke_dirty |= was_seed;
        self.pieces.forget(key);
        // A fast peer rejects what it will not answer.
        if !peer.fast {
            self.release_requests_for(key, piece);
        }
        self.update_interest(key);
        // To be a seed and none by turns costs us a look at every piece each time.
        self.strike(key, if was_seed { SEED_NO_MORE } else { 1 }, "pieces taken back")
    }

    fn release_requests_for(&mut self, key: PeerKey, piece: PieceIndex) {
        let Some(peer) = self.peers.get_mut(key) else { return };
        for block in peer.requests.drain_piece(piece) {
            self.pieces.release(block, key);
            self.freed = true;
        }
        if peer.requests.listed() == 0 {
            self.blame.forget(key);
            peer.pipeline.pause();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::IoSlice;

    use super::{super::messages::tests::*, *};
    use crate::{
        base::{bitfield::Bitfield, slab::Pool, time::Instant, token_bucket::Grant},
        peer::outbox::SendBuf,
        pieces::job::FaultKind,
        wire::{ExtensionHandshake, ExtensionIds, extension::local_id},
    };

    fn dont_have(torrent: &mut Torrent, pool: &mut Pool, key: PeerKey, piece: u32) {
        let payload = piece.to_be_bytes();
        say(
            torrent,
            pool,
            key,
            &Message::Extended { id: local_id::LT_DONTHAVE, payload: &payload },
        );
    }

    #[test]
    fn a_seed_that_takes_a_piece_back_is_none() {
        let (mut torrent, mut pool) = (torrent(Bitfield::empty(64)), Pool::phantom(1 << 20));
        let key = greet(&mut torrent, &mut pool, 1);
        say(&mut torrent, &mut pool, key, &Message::HaveAll);
        dont_have(&mut torrent, &mut pool, key, 9);
        let peer = torrent.peers.get(key).expect("still there");
        assert!(!peer.is_seed() && !peer.pieces.has(PieceIndex(9)));
        assert_eq!((peer.wanted, torrent.pieces.availability(PieceIndex(9))), (63, 0));
        assert_eq!(torrent.pieces.availability(PieceIndex(8)), 1);
        // It has it again: everything is as it was.
        say(&mut torrent, &mut pool, key, &Message::Have(9));
        let peer = torrent.peers.get(key).expect("still there");
        assert_eq!((peer.wanted, peer.is_seed()), (64, true));
        dont_have(&mut torrent, &mut pool, key, 64);
        assert!(torrent.peers.get(key).is_none(), "there is no such piece");
    }

    #[test]
    fn what_was_asked_of_a_peer_is_free_again_and_interest_ends_with_the_last_piece() {
        let (mut torrent, mut pool) = (torrent(Bitfield::empty(64)), Pool::phantom(1 << 20));
        let key = greet(&mut torrent, &mut pool, 1);
        torrent.peers.get_mut(key).expect("it is there").fast = false;
        for piece in [3, 4] {
            say(&mut torrent, &mut pool, key, &Message::Have(piece));
        }
        say(&mut torrent, &mut pool, key, &Message::Unchoke);
        let asked = |torrent: &Torrent| torrent.peers.get(key).expect("it is there").requests.len();
        assert_eq!(asked(&torrent), 2);
        dont_have(&mut torrent, &mut pool, key, 3);
        assert_eq!(asked(&torrent), 1);
        dont_have(&mut torrent, &mut pool, key, 3);
        dont_have(&mut torrent, &mut pool, key, 4);
        let peer = torrent.peers.get(key).expect("it is there");
        assert_eq!((peer.requests.len(), peer.am_interested, peer.wanted), (0, false, 0));
        assert_eq!(torrent.pieces.availability(PieceIndex(3)), 0);
    }

    #[test]
    fn whoever_understands_it_is_told_what_was_lost() {
        let (mut torrent, mut pool) = (torrent(Bitfield::full(64)), Pool::phantom(1 << 20));
        let (deaf, hears) = (greet(&mut torrent, &mut pool, 1), greet(&mut torrent, &mut pool, 2));
        let m = ExtensionIds { lt_donthave: Some(7), ..ExtensionIds::default() };
        let hello = ExtensionHandshake { m, ..ExtensionHandshake::default() }.encode();
        say(&mut torrent, &mut pool, hears, &Message::Extended { id: 0, payload: &hello });
        let mut told = |torrent: &mut Torrent, key| {
            let (mut out, mut grant) = (SendBuf::default(), Grant::of(0));
            torrent.write(Instant::ZERO, key, &mut out, &mut grant, &mut pool);
            let mut slices = [IoSlice::new(&[]); 8];
            let used = out.io_slices(&mut slices);
            slices[..used].iter().flat_map(|slice| slice.to_vec()).collect::<Vec<u8>>()
        };
        told(&mut torrent, deaf);
        told(&mut torrent, hears);
        torrent.lose_piece(PieceIndex(5), FaultKind::Missing);
        assert!(told(&mut torrent, deaf).is_empty());
        assert_eq!(told(&mut torrent, hears), [0, 0, 0, 6, 20, 7, 0, 0, 0, 5]);
    }
}
