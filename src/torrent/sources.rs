//! Whose pieces count when it is asked what is rare: those of peers that send what they are asked for.
//!
//! What a peer has counts from the moment it says so, until it does not answer; then it counts for nothing
//! until a block comes. So nobody makes a piece look common by saying that he has it.

use super::Torrent;
use crate::{base::id::PeerKey, peer::pieces::PeerPieces, pieces::Pieces};

/// What a peer has is there to be had.
pub(super) fn count_in(pieces: &mut Pieces, has: &PeerPieces) {
    if has.is_all() {
        pieces.seed_came();
    } else if let Some(bits) = has.bits() {
        pieces.peer_came(bits);
    }
}

/// It is not.
pub(super) fn count_out(pieces: &mut Pieces, has: &PeerPieces) {
    if has.is_all() {
        pieces.seed_left();
    } else if let Some(bits) = has.bits() {
        pieces.peer_left(bits);
    }
}

impl Torrent {
    /// A peer does not answer.
    pub(super) fn does_not_answer(&mut self, key: PeerKey) {
        let Some(peer) = self.peers.get_mut(key) else { return };
        if !std::mem::replace(&mut peer.snubbed, true) {
            count_out(&mut self.pieces, &peer.pieces);
            self.choke_dirty = true;
        }
    }

    /// A block has come from a peer.
    pub(super) fn answers(&mut self, key: PeerKey) {
        let Some(peer) = self.peers.get_mut(key) else { return };
        if std::mem::take(&mut peer.snubbed) {
            count_in(&mut self.pieces, &peer.pieces);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{super::messages::tests::*, *};
    use crate::{
        base::{bitfield::Bitfield, index::PieceIndex, slab::Pool, time::Instant},
        torrent::Input,
        wire::Message,
    };

    fn asked(torrent: &Torrent, key: PeerKey) -> u32 {
        torrent.peers.get(key).expect("it is there").requests.len()
    }

    #[test]
    fn what_is_not_sent_does_not_count_and_is_asked_for_again_all_the_same() {
        for all in [false, true] {
            let (mut torrent, mut pool) = (torrent(Bitfield::empty(64)), Pool::phantom(1 << 20));
            let key = greet(&mut torrent, &mut pool, 1);
            let mut bits = Bitfield::empty(64);
            bits.insert(PieceIndex(7));
            let has = if all { Message::HaveAll } else { Message::Bitfield(bits.as_bytes()) };
            say(&mut torrent, &mut pool, key, &has);
            say(&mut torrent, &mut pool, key, &Message::Unchoke);
            let count = |torrent: &Torrent| torrent.pieces.availability(PieceIndex(7));
            assert_eq!((asked(&torrent, key) > 0, count(&torrent)), (true, 1));
            let at = |secs| Instant::ZERO + Duration::from_secs(secs);
            torrent.handle(at(60), Input::Timeout, &mut pool);
            assert_eq!((asked(&torrent, key), count(&torrent)), (0, 0));
            // What it says that it has now does not count either.
            say(&mut torrent, &mut pool, key, &Message::Have(8));
            assert_eq!(torrent.pieces.availability(PieceIndex(8)), 0);
            torrent.handle(at(100), Input::Timeout, &mut pool);
            assert!(asked(&torrent, key) > 0, "nobody else has it");
            torrent.answers(key);
            assert_eq!((count(&torrent), torrent.pieces.availability(PieceIndex(8))), (1, 1));
            torrent.does_not_answer(key);
            torrent.disconnect(at(101), key, crate::torrent::Disconnect::Idle, &mut pool);
            assert_eq!(count(&torrent), 0);
        }
    }
}
