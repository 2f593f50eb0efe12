//! How much memory others make a torrent hold, beside the slabs of its pool. Each part says it for itself, next
//! to the bound that it keeps; here they are added up.

use crate::base::{id::PeerKey, index::PieceIndex};

use super::{Output, Torrent};

impl Torrent {
    /// Bytes that are held for what is known of others, for what they said and asked, and for what they are
    /// about to be told.
    pub fn held(&self) -> usize {
        let peers = self.peers.iter().map(|(_, peer)| size_of_val(peer) + peer.held());
        let own = self.given.len() * size_of::<(PieceIndex, Option<PeerKey>)>()
            + self.outputs.len() * size_of::<Output>();
        let heard = self.candidates.held() + self.blame.held() + self.metadata.held();
        peers.sum::<usize>() + own + heard + self.grants.held() + self.standings.held()
    }
}

#[cfg(test)]
mod tests {
    use super::{super::messages::tests::*, *};
    use crate::{
        base::{bitfield::Bitfield, limits, slab::Pool, time::Instant},
        mse::Encryption,
        torrent::{CloseCause, Direction},
        wire::Message,
    };

    /// Others are tested where they stand: addresses, unread messages, early ones, parts of metadata.
    #[test]
    fn what_others_fill_has_a_bound_and_reaches_it() {
        let (mut torrent, key, mut pool) = seeding();
        torrent.peers.get_mut(key).expect("here").am_choking = false;
        for n in 0..limits::MAX_PEER_REQUESTS as u32 + 100 {
            let request = Message::Request { piece: n % 64, begin: 0, length: 1 << 14 };
            say(&mut torrent, &mut pool, key, &request);
        }
        let uploads = &torrent.peers.get(key).expect("it did nothing wrong").uploads;
        assert_eq!(uploads.waiting(), limits::MAX_PEER_REQUESTS);
        assert!(torrent.held() >= uploads.held());

        let (mut torrent, mut pool) = (torrent_of_nothing(), Pool::phantom(1 << 20));
        let key = greet(&mut torrent, &mut pool, 1);
        for n in 0..64 {
            say(&mut torrent, &mut pool, key, &Message::AllowedFast(n));
        }
        assert_eq!(torrent.peers.get(key).expect("here").allowed_fast.len(), 32);

        let addr = |n: u32| -> std::net::SocketAddr {
            (std::net::Ipv4Addr::from_bits((10 << 24) + (n << 8)), 1).into()
        };
        let mut held = Vec::new();
        for n in 0..5_000 {
            torrent.candidates.ban(addr(n));
            let sender = Some(addr(n));
            torrent.blame.failed(
                Instant::ZERO,
                PieceIndex(n % 64),
                &[sender, Some(addr(n + 1))],
                &[1, 2],
            );
            held.push(torrent.candidates.held() + torrent.blame.held());
        }
        assert_eq!(held[4_000], held[4_999], "nothing more is kept");
        assert_eq!(torrent.candidates.banned() as usize, limits::MAX_CANDIDATES);
    }

    /// Grants and standings are kept by address.
    #[test]
    fn many_who_come_and_go_leave_no_more_than_some() {
        let (mut torrent, mut pool) = (torrent_of_nothing(), Pool::phantom(1 << 20));
        let mut held = Vec::new();
        for n in 0..1_200_u32 {
            let addr = (std::net::Ipv4Addr::from_bits((10 << 24) + (n << 8)), 1).into();
            let key = torrent
                .admit(Instant::ZERO, addr, Direction::Incoming, Encryption::Off)
                .expect("room");
            let hello = crate::wire::Handshake {
                peer_id: crate::base::id::PeerId([n as u8; 20]),
                ..torrent.hello()
            };
            let bytes = crate::base::slab::Chunk::Bytes(&hello.to_bytes());
            torrent.read(Instant::ZERO, key, bytes, &mut pool);
            say(&mut torrent, &mut pool, key, &Message::HaveNone);
            torrent.peers.get_mut(key).expect("here").standing.unchoked_at = Some(Instant::ZERO);
            torrent.closed(Instant::ZERO, key, CloseCause::Eof, &mut pool);
            while torrent.poll().is_some() {}
            held.push(torrent.held());
        }
        assert!(held[100] > held[50], "something is remembered of each");
        assert_eq!(held[1_100], held[1_199], "and of no more than some");
    }

    fn torrent_of_nothing() -> Torrent {
        torrent(Bitfield::empty(64))
    }
}
