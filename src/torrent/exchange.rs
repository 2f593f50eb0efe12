//! Peer exchange (BEP 11): peers tell one another whom they are connected to.
//!
//! What a peer is told is what has changed since it was told last, at most once a minute. What it tells is
//! taken as often, in bounded numbers, and is nothing more than addresses to be tried.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use crate::{
    base::{compact::may_name, id::PeerKey, limits::MAX_PEX_TAKEN, time::Instant},
    why::{Happening, Recent},
    wire::{
        self, Message,
        ut_pex::{PexFlags, PexMessage},
    },
};

use super::{Disconnect, Source, Torrent};

/// Between two messages to a peer (BEP 11: no more than one a minute).
const EVERY: Duration = Duration::from_secs(60);
/// Between two messages of a peer, which may be a little early.
const LEAST: Duration = Duration::from_secs(45);
/// Weight of a message that comes too early: some dozens in a few seconds end the connection.
const EARLY: u32 = 64;
/// Addresses of one kind in a message (BEP 11).
const MOST: usize = 50;

impl Torrent {
    /// Tells those whose turn it is what has changed.
    pub(super) fn exchange_peers(&mut self, now: Instant) {
        if !self.settings.pex || self.peers.len() < 2 {
            return;
        }
        let due = |peer: &crate::peer::Peer| {
            peer.is_open()
                && peer.pex_id.is_some()
                && peer.told_of_at.is_none_or(|at| now.since(at) >= EVERY)
        };
        let keys: Vec<PeerKey> =
            self.peers.iter().filter(|(_, peer)| due(peer)).map(|(key, _)| key).collect();
        if keys.is_empty() {
            return;
        }
        let connected = self.connected();
        keys.into_iter().for_each(|key| self.tell_of_peers(now, key, &connected));
    }

    /// Everyone who can be reached, as far as we know.
    fn connected(&self) -> BTreeMap<SocketAddr, PexFlags> {
        let open = self.peers.iter().filter(|(_, peer)| peer.is_open() && !peer.is_web_seed());
        open.filter_map(|(_, peer)| {
            let addr = if peer.outgoing { peer.addr } else { peer.listen_addr? };
            let seed = if peer.pieces.is_all() || peer.upload_only { PexFlags::SEED } else { 0 };
            let reachable = if peer.outgoing { PexFlags::REACHABLE } else { 0 };
            let encryption = if peer.prefers_encryption { PexFlags::ENCRYPTION } else { 0 };
            Some((addr, PexFlags(seed | reachable | encryption)))
        })
        .collect()
    }

    fn tell_of_peers(
        &mut self,
        now: Instant,
        key: PeerKey,
        connected: &BTreeMap<SocketAddr, PexFlags>,
    ) {
        let Some(peer) = self.peers.get_mut(key) else { return };
        let Some(id) = peer.pex_id else { return };
        let own = [Some(peer.addr), peer.listen_addr];
        let to = peer.addr;
        let fits = |addr: &SocketAddr| !own.contains(&Some(*addr)) && may_name(to, *addr);
        let news = connected.iter().filter(|(addr, _)| fits(addr) && !peer.told_of.contains(*addr));
        let added: Vec<_> = news.map(|(addr, flags)| (*addr, *flags)).take(MOST).collect();
        let gone = peer.told_of.iter().filter(|addr| !connected.contains_key(*addr));
        let dropped: Vec<_> = gone.copied().take(MOST).collect();
        let message = PexMessage { added, dropped };
        if message.is_empty() {
            return;
        }
        peer.told_of.extend(message.added.iter().map(|&(addr, _)| addr));
        peer.told_of.retain(|addr| !message.dropped.contains(addr));
        peer.told_of_at = Some(now);
        let payload = message.encode();
        wire::encode::encode(&Message::Extended { id, payload: &payload }, &mut peer.out);
        self.want_write(key);
    }

    /// An `ut_pex` message.
    pub(super) fn peers_named(
        &mut self,
        now: Instant,
        key: PeerKey,
        payload: &[u8],
    ) -> Result<(), Disconnect> {
        let message = PexMessage::decode(payload)?;
        let Some(peer) = self.peers.get_mut(key) else { return Ok(()) };
        if !self.settings.pex {
            // A private torrent: its tracker alone names peers (BEP 27).
            return Ok(());
        }
        let early = peer.named_peers_at.is_some_and(|at| now.since(at) < LEAST);
        if early {
            return self.strike(key, EARLY, "peer exchanges");
        }
        peer.named_peers_at = Some(now);
        let (from, left) = (peer.addr, MAX_PEX_TAKEN.saturating_sub(peer.named_peers));
        let named = message.added.into_iter().filter(|&(addr, _)| may_name(from, addr));
        let (addrs, flags): (Vec<SocketAddr>, Vec<PexFlags>) = named.take(left).unzip();
        peer.named_peers += addrs.len();
        let blocked = self.candidates.found(now, Source::Pex, &addrs);
        Recent::note(&mut self.recent, now, Happening::Blocked, blocked);
        for (addr, flags) in addrs.into_iter().zip(flags) {
            if flags.prefers_encryption() {
                self.candidates.prefers_encryption(addr);
            }
        }
        self.dial_dirty = true;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        base::{bitfield::Bitfield, slab::Pool},
        mse::Encryption,
        torrent::messages::tests::{greet, say, torrent},
        wire::{ExtensionHandshake, ExtensionIds, extension::local_id},
    };

    const START: Instant = Instant::ZERO;

    /// A leeching torrent that exchanges peers, or not, with three peers; all but the last take
    /// `ut_pex` as 9, and listen on ports of their own.
    fn swarm(pex: bool) -> (Torrent, [PeerKey; 3], Pool) {
        let mut torrent = torrent(Bitfield::empty(64));
        torrent.settings.pex = pex;
        let mut pool = Pool::phantom(1 << 20);
        let keys = [1, 2, 3].map(|n| {
            let key = greet(&mut torrent, &mut pool, n);
            let ut_pex = (n < 3).then_some(9);
            let m = ExtensionIds { ut_pex, ..ExtensionIds::default() };
            let p = Some(7_000 + u16::from(n));
            let hello = ExtensionHandshake { m, p, ..ExtensionHandshake::default() }.encode();
            say(&mut torrent, &mut pool, key, &Message::Extended { id: 0, payload: &hello });
            torrent.peers.get_mut(key).expect("it is there").out.clear();
            key
        });
        (torrent, keys, pool)
    }

    /// What a peer is told at `now`.
    fn told(torrent: &mut Torrent, now: Instant, key: PeerKey) -> Option<PexMessage> {
        torrent.exchange_peers(now);
        let out = std::mem::take(&mut torrent.peers.get_mut(key).expect("it is there").out);
        // Length, 20, 9, payload.
        (!out.is_empty()).then(|| {
            assert_eq!(out[4..6], [20, 9]);
            PexMessage::decode(&out[6..]).expect("ours")
        })
    }

    fn listens(n: u8) -> SocketAddr {
        ([10, 0, 0, n], 7_000 + u16::from(n)).into()
    }

    fn after(secs: u64) -> Instant {
        START + Duration::from_secs(secs)
    }

    #[test]
    fn what_has_changed_is_told_once_a_minute() {
        let (mut torrent, [first, second, third], mut pool) = swarm(true);
        let message = told(&mut torrent, START, first).expect("news");
        assert_eq!(message.added.iter().map(|a| a.0).collect::<Vec<_>>(), [listens(2), listens(3)]);
        assert!(told(&mut torrent, START, second).is_some());
        assert_eq!(told(&mut torrent, after(70), first), None, "nothing new");
        torrent.disconnect(after(71), third, Disconnect::Idle, &mut pool);
        let message = told(&mut torrent, after(72), first).expect("news");
        assert_eq!(message, PexMessage { added: vec![], dropped: vec![listens(3)] });
        torrent.disconnect(after(73), second, Disconnect::Idle, &mut pool);
        greet(&mut torrent, &mut pool, 4);
        assert_eq!(told(&mut torrent, after(100), first), None, "not a minute later");
        let message = told(&mut torrent, after(132), first).expect("news");
        assert_eq!(message.dropped, [listens(2)]);
    }

    #[test]
    fn without_exchange_nobody_is_told_and_nobody_is_heard() {
        let (mut torrent, [first, ..], mut pool) = swarm(false);
        assert_eq!(told(&mut torrent, START, first), None);
        let known = torrent.candidates.tally().known;
        name(&mut torrent, &mut pool, first, &[([9, 9, 9, 9], 9).into()]);
        assert_eq!(torrent.candidates.tally().known, known);
    }

    fn name(torrent: &mut Torrent, pool: &mut Pool, key: PeerKey, addrs: &[SocketAddr]) {
        let added = addrs.iter().map(|&addr| (addr, PexFlags(0))).collect();
        let payload = PexMessage { added, dropped: vec![] }.encode();
        say(torrent, pool, key, &Message::Extended { id: local_id::UT_PEX, payload: &payload });
    }

    #[test]
    fn a_peer_that_names_others_too_often_is_not_heard_and_ends() {
        let (mut torrent, [first, second, _], mut pool) = swarm(true);
        let known = torrent.candidates.tally().known;
        let addr = |n: u8| SocketAddr::from(([9, 9, 9, n], 9));
        name(&mut torrent, &mut pool, first, &[addr(1), addr(2)]);
        name(&mut torrent, &mut pool, first, &[addr(3)]);
        name(&mut torrent, &mut pool, second, &[addr(4)]);
        assert_eq!(torrent.candidates.tally().known, known + 3);
        (0..1_000).for_each(|_| name(&mut torrent, &mut pool, first, &[addr(5)]));
        assert!(torrent.peers.get(first).is_none(), "struck out");
        assert_eq!(torrent.candidates.tally().known, known + 3);
    }

    #[test]
    fn one_peer_names_a_bounded_number_of_others() {
        let (mut torrent, [first, ..], mut pool) = swarm(true);
        let known = torrent.candidates.tally().known as usize;
        for n in 0..40u8 {
            let addrs: Vec<SocketAddr> = (0..50).map(|m| ([9, 9, n, m], 9).into()).collect();
            name(&mut torrent, &mut pool, first, &addrs);
            torrent.peers.get_mut(first).expect("there").named_peers_at = None;
        }
        assert_eq!(torrent.candidates.tally().known as usize, known + MAX_PEX_TAKEN);
    }

    /// Addresses of our network are none of a stranger's business; a neighbour may know of strangers.
    #[test]
    fn only_neighbours_are_told_of_neighbours() {
        let (mut torrent, [neighbour, other, _], _pool) = swarm(true);
        let stranger = ([203, 0, 113, 9], 5).into();
        let key =
            torrent.admit(START, stranger, crate::torrent::Direction::Outgoing, Encryption::Off);
        let key = key.expect("room");
        let peer = torrent.peers.get_mut(key).expect("it is there");
        (peer.stage, peer.pex_id) = (crate::peer::Stage::Open, Some(9));
        peer.out.clear();
        let told_neighbour = told(&mut torrent, START, neighbour).expect("news");
        assert!(told_neighbour.added.iter().any(|&(addr, _)| addr == stranger));
        assert_eq!(told(&mut torrent, START, key), None, "it is told of no neighbour");
        assert!(torrent.peers.get(other).is_some());
    }

    #[test]
    fn a_stranger_does_not_send_us_into_our_own_network() {
        let mut torrent = torrent(Bitfield::empty(64));
        torrent.settings.pex = true;
        let addr = ([203, 0, 113, 9], 5).into();
        let key = torrent
            .admit(START, addr, crate::torrent::Direction::Outgoing, Encryption::Off)
            .expect("room");
        let payload = PexMessage {
            added: vec![
                (([192, 168, 0, 1], 80).into(), PexFlags(0)),
                (([127, 0, 0, 1], 22).into(), PexFlags(0)),
                (([203, 0, 113, 7], 80).into(), PexFlags(0)),
            ],
            dropped: vec![],
        }
        .encode();
        let known = torrent.candidates.tally().known;
        torrent.peers_named(START, key, &payload).expect("taken");
        assert_eq!(torrent.candidates.tally().known, known + 1);
    }
}
