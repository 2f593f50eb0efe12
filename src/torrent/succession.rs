//! A torrent of which only the hash was known has its info dictionary: the machine of the whole torrent
//! takes over from the one that fetched it, with its peers and the addresses it knows.
//!
//! Peers that dialled us might not come again soon, and some can't be dialled. When this happens is for
//! the driver to say; a private torrent takes nothing over.

use crate::{
    base::{id::PeerKey, slab::Chunk, slab::Pool, time::Instant},
    peer::pieces::PeerPieces,
    wire::{self, Decoded, Decoder, Message},
};

use super::{Disconnect, Phase, Torrent};

/// With more pieces than this already here peers are met anew: each would have to be told of each.
const MOST_HAVES: u32 = 1_000;

impl Torrent {
    /// Takes over from `older`, which has fetched the info dictionary of this torrent under the same peer
    /// id and has nothing left to [`poll`](Torrent::poll). Peers keep their keys; those that can't stay are
    /// disconnected. This one is new.
    pub fn succeed(&mut self, now: Instant, older: Torrent, pool: &mut Pool) {
        debug_assert!(older.wants_metadata() && self.peers.len() == 0);
        self.peers = older.peers;
        self.candidates = older.candidates;
        self.candidates.forget_dials(now);
        self.mapped = older.mapped;
        let pieces = self.pieces.geometry().pieces();
        for (_, peer) in self.peers.iter_mut() {
            peer.pieces = PeerPieces::none(pieces);
            peer.decoder.expect_bitfield(pieces.div_ceil(8));
            peer.wants_write = false;
            // What was held against it concerned the info dictionary.
            peer.hold_until = now;
        }
        let stays = self.phase == Phase::Downloading && self.pieces.have().count() <= MOST_HAVES;
        for key in self.peers.keys() {
            // Whatever was being written goes on.
            self.want_write(key);
            let met_anew = if stays { self.meet_again(now, key) } else { Err(Disconnect::Stopped) };
            if let Err(reason) = met_anew {
                self.disconnect(now, key, reason, pool);
            }
        }
        self.freed = true;
        self.dial_dirty = true;
        self.next_tick = Some(now);
        self.settle(now, pool);
    }

    /// Tells a peer what is new, and hears what it said before.
    fn meet_again(&mut self, now: Instant, key: PeerKey) -> Result<(), Disconnect> {
        let have = self.pieces.have();
        let Some(peer) = self.peers.get_mut(key).filter(|peer| peer.is_open()) else {
            return Ok(());
        };
        for piece in have.iter() {
            wire::encode::encode(&Message::Have(piece.0), &mut peer.out);
        }
        let early = peer.early.take().ok_or(Disconnect::Stopped)?;
        self.extend(key);
        let mut decoder = Decoder::new(u32::MAX);
        let mut early = Chunk::Bytes(&early);
        while let Some(Decoded::Message(message)) = decoder.next(&mut early)? {
            self.message(now, key, &message)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{super::messages::tests::*, *};
    use crate::{
        base::{bitfield::Bitfield, index::PieceIndex, limits::MAX_EARLY},
        torrent::{Output, Setup, Source},
    };

    const NOW: Instant = Instant::ZERO;

    /// One that knows only the hash.
    fn unknown() -> Torrent {
        Torrent::new(Setup { metadata: None, ..setup(Bitfield::empty(0)) }, NOW)
    }

    fn heir(older: Torrent, have: Bitfield, pool: &mut Pool) -> Torrent {
        let mut heir = torrent(have);
        heir.succeed(NOW, older, pool);
        heir
    }

    fn outputs(torrent: &mut Torrent) -> Vec<Output> {
        std::iter::from_fn(|| torrent.poll()).collect()
    }

    fn bits(pieces: &[u32]) -> Bitfield {
        let mut bits = Bitfield::empty(64);
        for &piece in pieces {
            bits.insert(PieceIndex(piece));
        }
        bits
    }

    #[test]
    fn what_peers_said_early_is_heard_and_they_are_told_what_is_new() {
        let (mut older, mut pool) = (unknown(), Pool::phantom(1 << 20));
        let some = greet(&mut older, &mut pool, 1);
        let all = greet(&mut older, &mut pool, 2);
        say(&mut older, &mut pool, some, &Message::Bitfield(bits(&[1, 5]).as_bytes()));
        say(&mut older, &mut pool, some, &Message::Have(9));
        say(&mut older, &mut pool, some, &Message::Interested);
        say(&mut older, &mut pool, all, &Message::HaveAll);
        say(&mut older, &mut pool, all, &Message::Unchoke);
        // And half a message.
        older.read(NOW, some, Chunk::Bytes(b"\0\0\0\x05\x04\0"), &mut pool);
        outputs(&mut older);
        older.peers.iter_mut().for_each(|(_, peer)| peer.out.clear());
        let mut heir = heir(older, bits(&[3]), &mut pool);
        heir.read(NOW, some, Chunk::Bytes(b"\0\0\x0a"), &mut pool);
        let peer = heir.peers.get(some).expect("it stays");
        let has: Vec<u32> = (0..64).filter(|&piece| peer.pieces.has(PieceIndex(piece))).collect();
        assert_eq!((has, peer.wanted), (vec![1, 5, 9, 10], 4));
        assert!(peer.am_interested && peer.peer_interested && peer.requests.is_empty());
        assert!(peer.out.starts_with(b"\0\0\0\x05\x04\0\0\0\x03"), "what is here already");
        let told = peer.out.windows(13).any(|window| window == b"metadata_size");
        assert!(told, "others may want it too");
        let peer = heir.peers.get(all).expect("it stays");
        assert!(peer.pieces.is_all() && !peer.requests.is_empty(), "it is asked at once");
        assert_eq!(heir.pieces.availability(PieceIndex(5)), 2);
    }

    #[test]
    fn addresses_pass_over_and_dials_that_nobody_will_answer_are_made_again() {
        let (mut older, mut pool) = (unknown(), Pool::phantom(1 << 20));
        let addr = ([10, 0, 0, 9], 9).into();
        older.handle(
            NOW,
            crate::torrent::Input::PeersFound { source: Source::User, addrs: vec![addr] },
            &mut pool,
        );
        let dials = |outputs: &[Output]| {
            let dial = |output: &&Output| matches!(output, Output::Connect { addr: to, .. } if *to == addr);
            outputs.iter().filter(dial).count()
        };
        assert_eq!(dials(&outputs(&mut older)), 1);
        let mut heir = heir(older, Bitfield::empty(64), &mut pool);
        assert_eq!(dials(&outputs(&mut heir)), 1);
        assert_eq!(heir.candidates.dialling(), 1);
    }

    #[test]
    fn who_said_too_much_to_be_kept_is_met_anew_and_who_lied_is_dropped() {
        let (mut older, mut pool) = (unknown(), Pool::phantom(1 << 20));
        let [much, wrong, good] = [1, 2, 3].map(|n| greet(&mut older, &mut pool, n));
        for _ in 0..=MAX_EARLY / 9 {
            say(&mut older, &mut pool, much, &Message::Have(1));
        }
        say(&mut older, &mut pool, wrong, &Message::Have(64));
        outputs(&mut older);
        let mut heir = heir(older, Bitfield::empty(64), &mut pool);
        let dropped = outputs(&mut heir).into_iter().filter_map(|output| match output {
            Output::Disconnect { peer, reason } => Some((peer, reason)),
            _ => None,
        });
        let dropped: Vec<_> = dropped.collect();
        assert_eq!(dropped, [(much, Disconnect::Stopped), (wrong, Disconnect::OutOfRange)]);
        assert_eq!(heir.peers.keys(), [good]);
    }

    #[test]
    fn a_torrent_that_is_here_already_meets_everybody_anew() {
        let (mut older, mut pool) = (unknown(), Pool::phantom(1 << 20));
        greet(&mut older, &mut pool, 1);
        outputs(&mut older);
        let mut heir = heir(older, Bitfield::full(64), &mut pool);
        let dropped = |output: &Output| matches!(output, Output::Disconnect { .. });
        assert_eq!(outputs(&mut heir).iter().filter(|&output| dropped(output)).count(), 1);
        assert_eq!(heir.peers.len(), 0);
    }
}
