//! Pieces that a newcomer may have while we choke it, so that it soon has something to give (BEP 6,
//! *allowed fast*).
//!
//! Only pieces that several others have: in a young swarm everybody is a newcomer, and the first
//! copies are too dear to be sent to one address block after the other. IPv4 only, as BEP 6 has it.

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use crate::{
    base::{
        hash::{Sha1Hash, sha1},
        id::PeerKey,
        index::{Block, PieceIndex},
        time::Instant,
    },
    wire::{self, Message},
};

use super::Torrent;

/// Pieces granted to a block of addresses; with as many a peer is no newcomer any more.
const GRANTED: usize = 10;
/// Connected peers that must have a piece.
const COMMON: u32 = 4;
/// Blocks of addresses that have grants.
const MAX_BLOCKS: usize = 1_000;
/// After so long everybody is granted again.
const ANEW: Duration = Duration::from_secs(3600);

/// What was granted, and how many bytes of each piece are left: coming again gains nothing.
#[derive(Debug, Default)]
pub(super) struct Grants {
    /// By the first three bytes of the address.
    blocks: BTreeMap<[u8; 3], Vec<(PieceIndex, u32)>>,
    since: Instant,
}

impl Grants {
    /// Bytes of memory.
    pub(super) fn held(&self) -> usize {
        let granted = self.blocks.values();
        granted.map(|granted| size_of_val(granted) + size_of_val(granted.as_slice())).sum()
    }
}

impl Torrent {
    /// The peer has said what it has: grants it some pieces if that is next to nothing.
    pub(super) fn grant(&mut self, now: Instant, key: PeerKey) {
        if !self.shows_all(key) {
            return;
        }
        let Some(peer) = self.peers.get_mut(key) else { return };
        let newcomer = peer.pieces.count() < GRANTED as u32 && !peer.upload_only;
        let IpAddr::V4(ip) = peer.addr.ip() else { return };
        if !peer.fast || !newcomer {
            return;
        }
        let [a, b, c, _] = ip.octets();
        let block = [a, b, c];
        if now.since(self.grants.since) > ANEW {
            self.grants = Grants { since: now, ..Grants::default() };
        }
        let grants = &mut self.grants.blocks;
        if grants.len() >= MAX_BLOCKS && !grants.contains_key(&block) {
            return;
        }
        let geometry = self.pieces.geometry();
        let granted = grants.entry(block).or_default();
        for piece in allowed_fast_set(block, self.info_hash, geometry.pieces(), GRANTED) {
            let is_new = granted.iter().all(|&(known, _)| known != piece);
            if is_new && self.pieces.availability(piece) >= COMMON {
                granted.push((piece, geometry.piece_len(piece)));
            }
        }
        let mut said = false;
        for &(piece, left) in granted.iter() {
            if left > 0 && self.pieces.have().has(piece) && !peer.pieces.has(piece) {
                wire::encode::encode(&Message::AllowedFast(piece.0), &mut peer.out);
                said = true;
            }
        }
        if said {
            self.want_write(key);
        }
    }

    /// Whether a choked peer may have `run` all the same. Each granted byte is given once.
    pub(super) fn is_granted(&mut self, key: PeerKey, run: Block) -> bool {
        let Some(IpAddr::V4(ip)) = self.peers.get(key).map(|peer| peer.addr.ip()) else {
            return false;
        };
        let [a, b, c, _] = ip.octets();
        let Some(granted) = self.grants.blocks.get_mut(&[a, b, c]) else { return false };
        match granted.iter_mut().find(|(piece, _)| *piece == run.piece) {
            Some((_, left)) if *left >= run.length => {
                *left -= run.length;
                true
            }
            _ => false,
        }
    }
}

/// The pieces that everybody grants to a peer at `ip` (BEP 6, *canonical fast set*): the same for all
/// addresses of a block of 256, so that moving about gains nothing.
fn allowed_fast_set(
    block: [u8; 3],
    info_hash: Sha1Hash,
    pieces: u32,
    count: usize,
) -> Vec<PieceIndex> {
    let mut set = Vec::with_capacity(count);
    let mut x = [&block[..], &[0], &info_hash.0].concat();
    while set.len() < count.min(pieces as usize) {
        let hash = sha1(&x).0;
        let (numbers, _) = hash.as_chunks::<4>();
        for &number in numbers {
            let piece = PieceIndex(u32::from_be_bytes(number) % pieces);
            if set.len() < count && !set.contains(&piece) {
                set.push(piece);
            }
        }
        x = hash.to_vec();
    }
    set
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        base::{bitfield::Bitfield, slab::Pool},
        torrent::{
            Disconnect,
            messages::tests::{greet, greet_from, say, seeding},
        },
    };

    /// How many of these requests of a choked peer were taken, and it asks for each piece twice.
    fn taken(torrent: &mut Torrent, pool: &mut Pool, key: PeerKey) -> usize {
        for piece in (0..64).chain(0..64) {
            let request = Message::Request { piece, begin: 0, length: 1 << 14 };
            say(torrent, pool, key, &request);
        }
        torrent.peers.get(key).expect("still there").uploads.waiting()
    }

    #[test]
    fn a_newcomer_gets_common_pieces_once_while_it_is_choked() {
        let (mut torrent, first, mut pool) = seeding();
        say(&mut torrent, &mut pool, first, &Message::HaveNone);
        assert_eq!(taken(&mut torrent, &mut pool, first), 0, "nobody else has anything yet");

        let mut most = Bitfield::full(64);
        most.remove(PieceIndex(63));
        for n in 2..6 {
            let key = greet(&mut torrent, &mut pool, n);
            say(&mut torrent, &mut pool, key, &Message::Bitfield(most.as_bytes()));
            assert_eq!(taken(&mut torrent, &mut pool, key), 0, "no newcomer");
        }
        // A block of addresses is granted each byte once, however often somebody comes.
        let mut all = 0;
        for n in [9, 10] {
            let key = greet(&mut torrent, &mut pool, n);
            say(&mut torrent, &mut pool, key, &Message::HaveNone);
            all += taken(&mut torrent, &mut pool, key);
        }
        assert!((9..=10).contains(&all), "{all} pieces were given");
    }

    #[test]
    fn grants_are_for_a_bounded_number_of_address_blocks() {
        let (mut torrent, _, mut pool) = seeding();
        for n in 0..MAX_BLOCKS as u32 + 9 {
            let ip = (0x0900_0000 + (n << 8)).to_be_bytes();
            let key = greet_from(&mut torrent, &mut pool, (ip, 1).into());
            say(&mut torrent, &mut pool, key, &Message::HaveNone);
            torrent.disconnect(Instant::ZERO, key, Disconnect::Idle, &mut pool);
        }
        assert_eq!(torrent.grants.blocks.len(), MAX_BLOCKS);
    }

    #[test]
    fn the_set_is_the_one_of_the_specification() {
        let set = |count| -> Vec<u32> {
            let all = allowed_fast_set([80, 4, 4], Sha1Hash([0xaa; 20]), 1313, count);
            all.iter().map(|piece| piece.0).collect()
        };
        assert_eq!(set(7), [1059, 431, 808, 1217, 287, 376, 1188]);
        assert_eq!(set(9), [1059, 431, 808, 1217, 287, 376, 1188, 353, 508]);
    }

    #[test]
    fn a_torrent_of_few_pieces_has_a_small_set() {
        let mut set = allowed_fast_set([1, 2, 3], Sha1Hash([1; 20]), 3, 10);
        set.sort_unstable();
        assert_eq!(set, [PieceIndex(0), PieceIndex(1), PieceIndex(2)]);
    }
}
