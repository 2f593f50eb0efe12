//! Connections: the table of peers, who is admitted, who is dropped and what that frees.
//!
//! Whom to dial is in `candidates`; what peers say is in `messages`.

use std::net::SocketAddr;

use crate::{
    base::{
        id::{PeerId, PeerKey},
        limits,
        slab::Pool,
        time::Instant,
    },
    peer::{Peer, Stage},
    wire::{Handshake, Reserved},
};

use super::{
    CloseCause, Direction, Disconnect, Output, Phase, Refusal, Source, Torrent, candidates::Ended,
};

/// Peers by key. Slots are used again.
#[derive(Debug, Default)]
pub(super) struct Peers {
    slots: Vec<Option<Box<Peer>>>,
    generations: Vec<u32>,
    vacant: Vec<u32>,
}

impl Peers {
    pub(super) fn get(&self, key: PeerKey) -> Option<&Peer> {
        let at = key.slot as usize;
        if self.generations.get(at) != Some(&key.generation) {
            return None;
        }
        self.slots[at].as_deref()
    }

    pub(super) fn get_mut(&mut self, key: PeerKey) -> Option<&mut Peer> {
        let at = key.slot as usize;
        if self.generations.get(at) != Some(&key.generation) {
            return None;
        }
        self.slots[at].as_deref_mut()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (PeerKey, &Peer)> {
        self.slots.iter().enumerate().filter_map(|(slot, peer)| {
            let key = PeerKey { slot: slot as u32, generation: self.generations[slot] };
            Some((key, peer.as_deref()?))
        })
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (PeerKey, &mut Peer)> {
        let generations = &self.generations;
        self.slots.iter_mut().enumerate().filter_map(|(slot, peer)| {
            let key = PeerKey { slot: slot as u32, generation: generations[slot] };
            Some((key, peer.as_deref_mut()?))
        })
    }

    pub(super) fn keys(&self) -> Vec<PeerKey> {
        self.iter().map(|(key, _)| key).collect()
    }

    pub(super) fn len(&self) -> u32 {
        (self.slots.len() - self.vacant.len()) as u32
    }

    fn insert(&mut self, peer: Peer) -> PeerKey {
        let slot = self.vacant.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.generations.push(0);
            self.slots.len() as u32 - 1
        });
        self.slots[slot as usize] = Some(Box::new(peer));
        PeerKey { slot, generation: self.generations[slot as usize] }
    }

    fn remove(&mut self, key: PeerKey) -> Option<Box<Peer>> {
        self.get(key)?;
        let at = key.slot as usize;
        self.generations[at] = self.generations[at].wrapping_add(1);
        self.vacant.push(key.slot);
        self.slots[at].take()
    }
}

impl Torrent {
    /// A connection exists: dialled after [`Output::Connect`], or accepted. A dialled peer gets our
    /// handshake at the next `write`; an accepted one sends its own first, through `read`.
    ///
    /// # Errors
    /// A [`Refusal`] when we don't want it: close the socket, there is no key.
    pub fn admit(
        &mut self,
        now: Instant,
        addr: SocketAddr,
        direction: Direction,
    ) -> Result<PeerKey, Refusal> {
        let outgoing = direction == Direction::Outgoing;
        if let Err(refusal) = self.may_admit(now, addr) {
            if outgoing {
                self.candidates.connection_ended(now, addr, Ended::Refused);
            }
            return Err(refusal);
        }
        let pieces = self.pieces.geometry().pieces();
        let key = self.peers.insert(Peer::new(addr, outgoing, pieces, now));
        if outgoing {
            self.candidates.connected(addr, key);
            self.send_handshake(now, key);
        }
        if self.next_tick.is_none() {
            self.next_tick = Some(now + super::lifecycle::TICK);
        }
        Ok(key)
    }

    fn may_admit(&mut self, now: Instant, addr: SocketAddr) -> Result<(), Refusal> {
        if self.phase == Phase::Paused {
            return Err(Refusal::Paused);
        }
        if self.candidates.is_banned(addr) {
            return Err(Refusal::Banned);
        }
        if self.peers.len() < self.settings.max_peers {
            return Ok(());
        }
        match self.least_useful(now) {
            Some(key) => {
                self.outputs
                    .push_back(Output::Disconnect { peer: key, reason: Disconnect::Replaced });
                self.doomed.push(key);
                Ok(())
            }
            None => Err(Refusal::Full),
        }
    }

    /// A peer that neither wants anything nor has anything for us, and has had its time.
    fn least_useful(&self, now: Instant) -> Option<PeerKey> {
        let useless = |p: &Peer| {
            p.is_open()
                && !p.am_interested
                && !p.peer_interested
                && now.since(p.since) > limits::HANDSHAKE_TIMEOUT * 3
        };
        let peers = self.peers.iter().filter(|(key, p)| useless(p) && !self.doomed.contains(key));
        peers.min_by_key(|(_, p)| p.last_received).map(|(key, _)| key)
    }

    pub(super) fn send_handshake(&mut self, now: Instant, key: PeerKey) {
        let hello = Handshake {
            reserved: Reserved::ours(),
            info_hash: self.info_hash,
            peer_id: self.peer_id,
        };
        if let Some(peer) = self.peers.get_mut(key) {
            peer.out.extend_from_slice(&hello.to_bytes());
            peer.last_sent = now;
        }
        self.want_write(key);
    }

    /// The other side's 68 bytes are here.
    pub(super) fn greeted(
        &mut self,
        now: Instant,
        key: PeerKey,
        hello: &Handshake,
    ) -> Result<(), Disconnect> {
        if hello.info_hash != self.info_hash {
            return Err(Disconnect::WrongInfoHash);
        }
        if hello.peer_id == self.peer_id {
            return Err(Disconnect::Ourselves);
        }
        self.settle_duplicate(key, hello.peer_id)?;
        let Some(peer) = self.peers.get_mut(key) else { return Ok(()) };
        peer.stage = Stage::Open;
        peer.id = Some(hello.peer_id);
        peer.client = hello.peer_id.client();
        peer.fast = hello.reserved.fast();
        peer.extended = hello.reserved.extended();
        let outgoing = peer.outgoing;
        if !outgoing {
            self.send_handshake(now, key);
        }
        self.introduce(key);
        Ok(())
    }

    /// Two connections to one peer: both sides keep the one that was dialled by the greater id.
    fn settle_duplicate(&mut self, key: PeerKey, id: PeerId) -> Result<(), Disconnect> {
        let Some(outgoing) = self.peers.get(key).map(|p| p.outgoing) else { return Ok(()) };
        let Some((other, old)) = self
            .peers
            .iter()
            .find(|(k, p)| *k != key && p.id == Some(id) && !self.doomed.contains(k))
        else {
            return Ok(());
        };
        let keep_outgoing = self.peer_id > id;
        if outgoing == old.outgoing || outgoing != keep_outgoing {
            return Err(Disconnect::Duplicate);
        }
        self.outputs.push_back(Output::Disconnect { peer: other, reason: Disconnect::Duplicate });
        self.doomed.push(other);
        Ok(())
    }

    /// The driver says the connection is gone.
    pub(super) fn closed(
        &mut self,
        now: Instant,
        key: PeerKey,
        cause: CloseCause,
        pool: &mut Pool,
    ) {
        let Some(peer) = self.peers.get(key) else { return };
        let ended = match (peer.is_open(), cause) {
            (true, _) => Ended::Lost,
            (false, _) => Ended::Failed,
        };
        self.forget(now, key, ended, pool);
    }

    /// We close the connection.
    pub(super) fn disconnect(
        &mut self,
        now: Instant,
        key: PeerKey,
        reason: Disconnect,
        pool: &mut Pool,
    ) {
        if self.peers.get(key).is_none() {
            return;
        }
        let ended = match reason {
            Disconnect::Ourselves => Ended::Never,
            Disconnect::Poison => Ended::Banned,
            Disconnect::Duplicate => Ended::Duplicate,
            Disconnect::BothSeeds => Ended::Seed,
            Disconnect::Idle | Disconnect::Replaced | Disconnect::Stopped => Ended::Lost,
            Disconnect::HandshakeTimeout
            | Disconnect::Protocol(_)
            | Disconnect::OutOfRange
            | Disconnect::OutOfTurn(_)
            | Disconnect::WrongInfoHash
            | Disconnect::Flood(_) => Ended::Failed,
        };
        self.outputs.push_back(Output::Disconnect { peer: key, reason });
        self.forget(now, key, ended, pool);
    }

    /// Carries out disconnects that were decided where no pool was at hand.
    pub(super) fn drop_doomed(&mut self, now: Instant, pool: &mut Pool) {
        while let Some(key) = self.doomed.pop() {
            self.forget(now, key, Ended::Duplicate, pool);
        }
    }

    /// Takes a peer out of everything.
    fn forget(&mut self, now: Instant, key: PeerKey, ended: Ended, pool: &mut Pool) {
        let Some(mut peer) = self.peers.remove(key) else { return };
        if let Some(block) = peer.arriving.take().and_then(|a| a.block) {
            self.pieces.abort_block(block, key);
        }
        for request in peer.requests.drain() {
            self.pieces.release(request.block, key);
            self.freed = true;
        }
        if peer.pieces.is_all() {
            self.pieces.seed_left();
        } else if let Some(bits) = peer.pieces.bits() {
            self.pieces.peer_left(bits);
        }
        peer.uploads.clear(pool);
        self.choker.forget(key);
        self.blame.forget(key);
        self.given.retain(|_, k| *k != key);
        self.choke_dirty = true;
        self.dial_dirty = true;
        if peer.outgoing {
            self.candidates.connection_ended(now, peer.addr, ended);
        } else {
            if ended == Ended::Banned {
                self.candidates.ban(peer.addr);
            }
            if let Some(addr) = peer.listen_addr {
                self.candidates.connection_ended(now, addr, ended);
            }
        }
        // Another connection to the same peer lives on: no need to dial it.
        let twin = self
            .peers
            .iter()
            .find(|(_, p)| peer.listen_addr.is_some() && p.listen_addr == peer.listen_addr);
        if let (Some((twin, _)), Some(addr)) = (twin, peer.listen_addr) {
            self.candidates.connected(addr, twin);
        }
    }

    /// Where an incoming peer listens, from its extension handshake.
    pub(super) fn learn_listen_port(&mut self, now: Instant, key: PeerKey, port: u16) {
        let Some(peer) = self.peers.get_mut(key) else { return };
        if peer.outgoing || port == 0 {
            return;
        }
        let addr = SocketAddr::new(peer.addr.ip(), port);
        peer.listen_addr = Some(addr);
        self.candidates.found(now, Source::Incoming, &[addr]);
        self.candidates.connected(addr, key);
    }
}
