//! Connections: the table of peers, who is admitted, who is dropped and what that frees.
//!
//! Whom to dial is in `candidates`; what peers say is in `messages`.

use std::net::{IpAddr, SocketAddr};

use crate::{
    base::{
        compact,
        hash::Sha1Hash,
        id::{PeerId, PeerKey},
        limits::{self, MAX_PEERS_PER_ADDRESS},
        slab::Pool,
        time::Instant,
        web_seed::WebSeedNumber,
    },
    mse::Encryption,
    peer::{Peer, Stage},
    why::{Happening, Recent},
    wire::{self, Decoder, ExtensionHandshake, Handshake, Message, Reserved, extension::local_id},
};

use super::{
    CloseCause, DialFailure, Direction, Disconnect, Output, OutsidePorts, Phase, Refusal, Source,
    Torrent, candidates::Ended, sources::count_out, web_seeds::PeerFigures,
};

/// Connections beyond the lease dropped in a second: others come as fast, and the swarm need not notice.
const SHED_PER_SECOND: u32 = 5;

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
    /// handshake at the next `write`, unless it was inside that of the encryption; an accepted one sends
    /// its own first, through `read`.
    ///
    /// # Errors
    /// A [`Refusal`] when we don't want it: close the socket, there is no key.
    pub fn admit(
        &mut self,
        now: Instant,
        addr: SocketAddr,
        direction: Direction,
        encryption: Encryption,
    ) -> Result<PeerKey, Refusal> {
        let outgoing = direction == Direction::Outgoing;
        if let Err(refusal) = self.may_admit(now, addr, direction) {
            match WebSeedNumber::of(addr) {
                Some(number) => self.web_seed_not_opened(now, number, DialFailure::Refused),
                None if outgoing => self.candidates.connection_ended(now, addr, Ended::Refused),
                None => {}
            }
            return Err(refusal);
        }
        let web_seed = WebSeedNumber::of(addr);
        let pieces = self.pieces.geometry().pieces();
        let mut peer = Peer::new(addr, outgoing, pieces, now);
        peer.encryption = encryption;
        peer.said_hello = outgoing && encryption != Encryption::Off;
        if web_seed.is_some() {
            peer.listen_addr = None;
        }
        if self.wants_metadata() {
            peer.decoder = Decoder::default();
        }
        let key = self.peers.insert(peer);
        if outgoing {
            match web_seed {
                Some(number) => self.web_seed_opened(now, number),
                None => self.candidates.connected(addr, key),
            }
            self.send_handshake(now, key, self.name());
        }
        self.tick_by(now + super::lifecycle::TICK);
        Ok(key)
    }

    fn may_admit(
        &mut self,
        now: Instant,
        addr: SocketAddr,
        direction: Direction,
    ) -> Result<(), Refusal> {
        if self.phase == Phase::Paused {
            return Err(Refusal::Paused);
        }
        let given_up = |number| !self.is_web_seed_used(number);
        if self.candidates.is_banned(addr) || WebSeedNumber::of(addr).is_some_and(given_up) {
            return Err(Refusal::Banned);
        }
        let from = compact::network(addr.ip());
        let of_address =
            self.peers.iter().filter(|(_, p)| compact::network(p.addr.ip()) == from).count();
        // On one host there may be a whole swarm; whom we dial we have chosen.
        if direction == Direction::Incoming
            && of_address >= MAX_PEERS_PER_ADDRESS
            && !from.is_loopback()
        {
            return Err(Refusal::Address);
        }
        if self.swarm_len() < self.max_peers() || WebSeedNumber::of(addr).is_some() {
            return Ok(());
        }
        match self.least_useful(now).or_else(|| self.less_preferred(now, addr)) {
            Some(key) => {
                self.outputs
                    .push_back(Output::Disconnect { peer: key, reason: Disconnect::Replaced });
                self.doomed.push(key);
                Ok(())
            }
            None => Err(Refusal::Full),
        }
    }

    /// Connections with peers, web seeds not counted.
    pub(super) fn swarm_len(&self) -> u32 {
        self.peers.len().saturating_sub(self.web_seeds.connected())
    }

    /// Most connections, as the settings and the lease allow.
    pub(super) fn max_peers(&self) -> u32 {
        self.lease.peers.map_or(self.settings.max_peers, |peers| peers.min(self.settings.max_peers))
    }

    /// Once a second: drops some of the connections beyond the lease, those first that carry least.
    pub(super) fn shed(&mut self, now: Instant, pool: &mut Pool) {
        let excess = self.swarm_len().saturating_sub(self.max_peers()).min(SHED_PER_SECOND);
        if excess == 0 {
            return;
        }
        let worth = |p: &Peer| {
            let exchanges = p.am_interested || p.peer_interested;
            (exchanges, p.down.rate(now).0 + p.up.rate(now).0, self.priority(p))
        };
        let open = self.peers.iter().filter(|(_, p)| p.is_open() && !p.is_web_seed());
        let mut ranked: Vec<_> = open.map(|(key, p)| (worth(p), key)).collect();
        ranked.sort_by_key(|&(worth, _)| worth);
        for (_, key) in ranked.into_iter().take(excess as usize) {
            self.disconnect(now, key, Disconnect::Replaced, pool);
        }
    }

    /// A peer that neither wants anything nor has anything for us, and has had its time.
    fn least_useful(&self, now: Instant) -> Option<PeerKey> {
        let useless = |p: &Peer| {
            p.is_open()
                && !p.is_web_seed()
                && !p.am_interested
                && !p.peer_interested
                && now.since(p.since) > limits::HANDSHAKE_TIMEOUT * 3
        };
        let peers = self.peers.iter().filter(|(key, p)| useless(p) && !self.doomed.contains(key));
        peers.min_by_key(|(_, p)| p.last_received).map(|(key, _)| key)
    }

    fn priority(&self, peer: &Peer) -> Option<u32> {
        self.candidates.priority(peer.listen_addr.unwrap_or(peer.addr))
    }

    /// The peer with the smallest priority, if that is smaller than the one of `addr`, among those with
    /// which nothing is being exchanged (BEP 40).
    fn less_preferred(&self, now: Instant, addr: SocketAddr) -> Option<PeerKey> {
        let newcomer = self.candidates.priority(addr)?;
        let idle = |p: &Peer| {
            p.is_open()
                && !p.is_web_seed()
                && p.am_choking
                && p.requests.is_empty()
                && now.since(p.since) > limits::HANDSHAKE_TIMEOUT * 3
        };
        let peers = self.peers.iter().filter(|(key, p)| idle(p) && !self.doomed.contains(key));
        let ranked = peers.filter_map(|(key, p)| Some((self.priority(p)?, key)));
        let (least, key) = ranked.min_by_key(|&(priority, _)| priority)?;
        (least < newcomer).then_some(key)
    }

    /// What we say first to every peer.
    pub fn hello(&self) -> Handshake {
        Handshake {
            reserved: Reserved::ours(self.dht_port.is_some()),
            info_hash: self.name(),
            peer_id: self.peer_id,
        }
    }

    /// Says who we are, to a peer that calls the torrent by this name.
    pub(super) fn send_handshake(&mut self, now: Instant, key: PeerKey, name: Sha1Hash) {
        let hello = Handshake { info_hash: name, ..self.hello() };
        let Some(peer) = self.peers.get_mut(key) else { return };
        if std::mem::replace(&mut peer.said_hello, true) {
            return;
        }
        peer.out.extend_from_slice(&hello.to_bytes());
        peer.last_sent = now;
        self.want_write(key);
    }

    /// The other side's 68 bytes are here.
    pub(super) fn greeted(
        &mut self,
        now: Instant,
        key: PeerKey,
        hello: &Handshake,
    ) -> Result<(), Disconnect> {
        if !self.is_called(hello.info_hash) {
            return Err(Disconnect::WrongInfoHash);
        }
        if hello.peer_id == self.peer_id {
            self.have_met_ourselves(key);
            return Err(Disconnect::Ourselves);
        }
        self.settle_duplicate(key, hello.peer_id)?;
        let Some(peer) = self.peers.get_mut(key) else { return Ok(()) };
        self.standings.came(peer);
        peer.stage = Stage::Open;
        peer.id = Some(hello.peer_id);
        peer.client = hello.peer_id.client();
        peer.fast = hello.reserved.fast();
        peer.extended = hello.reserved.extended();
        peer.dht = hello.reserved.dht();
        if peer.outgoing {
            let addr = peer.addr;
            self.candidates.greeted(addr, key);
        } else {
            Recent::note(&mut self.recent, now, Happening::Incoming, 1);
            self.send_handshake(now, key, hello.info_hash);
        }
        self.introduce(key);
        self.begin_showing(now, key);
        Ok(())
    }

    /// The peer says that it is us: where we dial ourselves we do so no more.
    fn have_met_ourselves(&mut self, key: PeerKey) {
        let Some(peer) = self.peers.get(key).filter(|peer| !peer.outgoing) else { return };
        let mapped = if is_outside(peer) { self.mapped.peers } else { None };
        let Some(port) = mapped.or(self.listen_port) else { return };
        let mut addr = peer.addr;
        addr.set_port(port);
        let waits = |peer: &Peer| peer.addr == addr && peer.outgoing && !peer.is_open();
        let is_waiting = self.peers.iter().any(|(_, peer)| waits(peer));
        self.candidates.is_us(addr, is_waiting);
    }

    /// What we say first after the handshake: what we have, and our extension handshake.
    pub(super) fn introduce(&mut self, key: PeerKey) {
        let shows_all = self.shows_all(key);
        let (have, log_end) = (self.pieces.have(), self.pieces.log().end());
        let Some(peer) = self.peers.get_mut(key) else { return };
        let mapped = if is_outside(peer) { self.mapped } else { OutsidePorts::default() };
        peer.have_cursor = log_end;
        if !shows_all {
            // One that has nothing, as far as anybody can see.
            if peer.fast {
                wire::encode::encode(&Message::HaveNone, &mut peer.out);
            }
        } else if peer.fast && have.is_full() && !have.is_empty() {
            wire::encode::encode(&Message::HaveAll, &mut peer.out);
        } else if peer.fast && have.is_empty() {
            wire::encode::encode(&Message::HaveNone, &mut peer.out);
        } else if !have.is_empty() {
            wire::encode::encode(&Message::Bitfield(have.as_bytes()), &mut peer.out);
        }
        if let Some(port) = self.dht_port.filter(|_| peer.dht) {
            let port = mapped.dht.unwrap_or(port);
            wire::encode::encode(&Message::Port(port), &mut peer.out);
        }
        self.extend(key);
        self.want_write(key);
    }

    /// Says which extensions we speak, and what else belongs into that message (BEP 10).
    pub(super) fn extend(&mut self, key: PeerKey) {
        let uploads_only = self.uploads_only() && self.shows_all(key);
        let Some(peer) = self.peers.get_mut(key) else { return };
        let mapped = if is_outside(peer) { self.mapped } else { OutsidePorts::default() };
        if peer.extended {
            let hello = ExtensionHandshake {
                m: wire::ExtensionIds {
                    lt_donthave: Some(local_id::LT_DONTHAVE),
                    upload_only: Some(local_id::UPLOAD_ONLY),
                    ut_metadata: Some(local_id::UT_METADATA),
                    ut_pex: self.settings.pex.then_some(local_id::UT_PEX),
                    ..Default::default()
                },
                v: Some(concat!("downpour ", env!("CARGO_PKG_VERSION")).to_owned()),
                p: mapped.peers.or(self.listen_port),
                reqq: Some(limits::MAX_PEER_REQUESTS as u32),
                yourip: Some(peer.addr.ip()),
                metadata_size: self.metadata.size(),
                upload_only: uploads_only.then_some(true),
                e: self.settings.encryption.prefers_encrypted().then_some(true),
                ..Default::default()
            };
            let payload = hello.encode();
            wire::encode::encode(&Message::Extended { id: 0, payload: &payload }, &mut peer.out);
        }
    }

    /// The peer has a node of the DHT; it is listened to once.
    pub(super) fn dht_node(&mut self, key: PeerKey, port: u16) {
        let Some(peer) = self.peers.get_mut(key) else { return };
        if self.dht_port.is_some() && port != 0 && std::mem::take(&mut peer.dht) {
            let addr = SocketAddr::new(peer.addr.ip(), port);
            self.outputs.push_back(Output::DhtNode(addr));
        }
    }

    /// Two connections to one peer: both sides keep the one that was dialled by the greater id. A web seed
    /// is no peer, whatever id others take; and who takes that of a peer at another address is another, who
    /// would have its place.
    fn settle_duplicate(&mut self, key: PeerKey, id: PeerId) -> Result<(), Disconnect> {
        let Some(peer) = self.peers.get(key).filter(|peer| !peer.is_web_seed()) else {
            return Ok(());
        };
        let (outgoing, ip) = (peer.outgoing, peer.addr.ip());
        let is_twin =
            |p: &Peer| !p.is_web_seed() && p.id == Some(id) && may_be_one(p.addr.ip(), ip);
        let Some((other, old)) =
            self.peers.iter().find(|&(k, p)| k != key && is_twin(p) && !self.doomed.contains(&k))
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
        let web_seed = PeerFigures::of(peer);
        let ended = match (peer.is_open(), cause) {
            (true, _) => Ended::Lost,
            (false, CloseCause::Eof | CloseCause::Reset) if peer.is_silent() => Ended::Silent,
            (false, _) => Ended::Failed,
        };
        self.forget(now, key, ended, pool);
        if let Some(figures) = web_seed {
            self.web_seed_closed(now, figures, cause);
        }
    }

    /// We close the connection.
    pub(super) fn disconnect(
        &mut self,
        now: Instant,
        key: PeerKey,
        reason: Disconnect,
        pool: &mut Pool,
    ) {
        let Some(peer) = self.peers.get(key) else { return };
        if let Some(figures) = PeerFigures::of(peer) {
            self.web_seed_dropped(now, figures, &reason);
            self.outputs.push_back(Output::Disconnect { peer: key, reason });
            return self.forget(now, key, Ended::Lost, pool);
        }
        let ended = match reason {
            Disconnect::HandshakeTimeout if peer.is_silent() => Ended::Silent,
            Disconnect::Ourselves => Ended::Never,
            Disconnect::Poison => Ended::Banned,
            Disconnect::WrongInfoHash => Ended::Stranger,
            Disconnect::Duplicate => Ended::Duplicate,
            Disconnect::BothSeeds => Ended::Seed,
            Disconnect::Idle
            | Disconnect::Unanswered
            | Disconnect::Replaced
            | Disconnect::Stopped => Ended::Lost,
            Disconnect::HandshakeTimeout
            | Disconnect::Protocol(_)
            | Disconnect::OutOfRange
            | Disconnect::OutOfTurn(_)
            | Disconnect::Unread
            | Disconnect::Unasked
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
        self.standings.left(&peer);
        if !peer.snubbed {
            count_out(&mut self.pieces, &peer.pieces);
        }
        peer.uploads.clear(pool);
        self.choker.forget(key);
        self.pieces.forget(key);
        self.blame.forget(key);
        self.forget_metadata(now, key);
        self.given.retain(|_, k| *k != Some(key));
        self.starved.retain(|k| *k != key);
        if let Some(superseed) = &mut self.superseed {
            superseed.forget(key);
        }
        self.choke_dirty = true;
        self.dial_dirty = true;
        if peer.is_web_seed() {
            return;
        }
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
        let before = peer.listen_addr.replace(addr).filter(|&before| before != addr);
        let encrypted = peer.encryption != Encryption::Off;
        if let Some(before) = before {
            self.candidates.is_not_there(now, before, key);
        }
        self.candidates.found(now, Source::Incoming, &[addr]);
        if encrypted {
            self.candidates.prefers_encryption(addr);
        }
        self.candidates.connected(addr, key);
    }
}

/// Whether one peer may be at both addresses: they are the same, or it has one of each kind.
fn may_be_one(a: IpAddr, b: IpAddr) -> bool {
    a == b || a.is_ipv4() != b.is_ipv4() || compact::is_local(a) != compact::is_local(b)
}

/// Gateways map IPv4, and their numbers are those of the world outside.
fn is_outside(peer: &Peer) -> bool {
    peer.addr.is_ipv4() && !compact::is_local(peer.addr.ip())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{super::messages::tests::*, *};
    use crate::{
        base::slab::Chunk,
        torrent::{Claimant, Command, Input, Lease},
        wire::{self, ExtensionHandshake, Message},
    };

    fn dropped(torrent: &mut Torrent) -> Vec<PeerKey> {
        let outputs = std::iter::from_fn(|| torrent.poll());
        let dropped = outputs.filter_map(|output| match output {
            Output::Disconnect { peer, reason: Disconnect::Replaced } => Some(peer),
            _ => None,
        });
        dropped.collect()
    }

    #[test]
    fn when_full_the_smallest_priority_makes_room_for_a_greater_one() {
        let (mut torrent, first, mut pool) = seeding();
        torrent.settings.max_peers = 8;
        let own = Input::OwnAddress { ip: [192, 0, 2, 1].into(), by: Claimant::Tracker };
        torrent.handle(Instant::ZERO, own, &mut pool);
        let mut keys = vec![first];
        keys.extend((2..=8).map(|n| greet(&mut torrent, &mut pool, n)));
        // All of them want something, so that none is useless; the first four may have it.
        for &key in &keys {
            say(&mut torrent, &mut pool, key, &Message::HaveNone);
            say(&mut torrent, &mut pool, key, &Message::Interested);
        }
        let priority =
            |t: &Torrent, n: u8| t.candidates.priority(([10, 0, 0, n], 1).into()).expect("known");
        let choked: Vec<u8> = (1..=8)
            .filter(|&n| torrent.peers.get(keys[usize::from(n) - 1]).is_some_and(|p| p.am_choking))
            .collect();
        assert_eq!(choked.len(), 4);
        let least = *choked.iter().min_by_key(|&&n| priority(&torrent, n)).expect("some");
        let newcomer = |than: bool| {
            (20..=255).find(|&n| (priority(&torrent, n) > priority(&torrent, least)) == than)
        };
        let (greater, smaller) = (newcomer(true).expect("one"), newcomer(false).expect("one"));
        let admit = |torrent: &mut Torrent, secs, n: u8| {
            let now = Instant::ZERO + Duration::from_secs(secs);
            torrent
                .admit(now, ([10, 0, 0, n], 1).into(), Direction::Incoming, Encryption::Off)
                .map(|_| ())
        };
        dropped(&mut torrent);
        assert_eq!(admit(&mut torrent, 1, greater), Err(Refusal::Full), "all have just come");
        assert_eq!(admit(&mut torrent, 100, smaller), Err(Refusal::Full));
        assert_eq!(admit(&mut torrent, 100, greater), Ok(()));
        assert_eq!(dropped(&mut torrent), [keys[usize::from(least) - 1]]);
    }

    #[test]
    fn peers_outside_are_told_the_ports_that_they_can_use() {
        let (mut torrent, _, mut pool) = seeding();
        (torrent.listen_port, torrent.dht_port) = (Some(6881), Some(6882));
        let told = |torrent: &mut Torrent, addr: &str| {
            let addr = addr.parse().expect("valid");
            let key = torrent
                .admit(Instant::ZERO, addr, Direction::Incoming, Encryption::Off)
                .expect("room");
            let peer = torrent.peers.get_mut(key).expect("admitted");
            (peer.extended, peer.dht) = (true, true);
            torrent.introduce(key);
            let said = &torrent.peers.get(key).expect("admitted").out;
            let has = |what: &[u8]| said.windows(what.len()).any(|window| window == what);
            [6881, 7000].map(|port| has(format!("1:pi{port}e").as_bytes()))
        };
        let both = OutsidePorts { peers: Some(7000), dht: None };
        assert_eq!(told(&mut torrent, "9.9.9.9:1"), [true, false]);
        torrent.handle(Instant::ZERO, Input::Mapped(both), &mut pool);
        assert_eq!(told(&mut torrent, "9.9.9.8:1"), [false, true]);
        assert_eq!(told(&mut torrent, "192.168.1.5:1"), [true, false], "a neighbour");
        assert_eq!(told(&mut torrent, "[2001:db8::1]:1"), [true, false], "over IPv6");
        torrent.handle(Instant::ZERO, Input::Mapped(OutsidePorts::default()), &mut pool);
        assert_eq!(told(&mut torrent, "9.9.9.7:1"), [true, false]);
    }

    /// Each port stayed in the list as one where the peer is connected, for ever: after four thousand of
    /// them no other address had room.
    #[test]
    fn a_peer_listens_in_one_place_wherever_it_says() {
        let (mut torrent, key, mut pool) = seeding();
        for port in 1..=50 {
            let hello = ExtensionHandshake { p: Some(port), ..ExtensionHandshake::default() };
            let payload = hello.encode();
            say(&mut torrent, &mut pool, key, &Message::Extended { id: 0, payload: &payload });
        }
        assert_eq!(torrent.candidates.len(), 1);
        torrent.disconnect(Instant::ZERO, key, Disconnect::Idle, &mut pool);
        torrent.check_invariants();
    }

    /// Whoever had heard the id of a peer could take its place with it, or be there before it.
    #[test]
    fn who_calls_itself_as_another_does_is_another() {
        let (mut torrent, key, mut pool) = seeding();
        let peer_id = torrent.peers.get(key).and_then(|peer| peer.id).expect("it said so");
        let reserved = Reserved::ours(false);
        let hello = Handshake { reserved, info_hash: torrent.name(), peer_id }.to_bytes();
        for (n, stays) in [(77, true), (1, false)] {
            let addr = ([10, 0, 0, n], 9).into();
            let newcomer = torrent
                .admit(Instant::ZERO, addr, Direction::Incoming, Encryption::Off)
                .expect("there is room");
            torrent.read(Instant::ZERO, newcomer, Chunk::Bytes(&hello), &mut pool);
            assert!(torrent.peers.get(key).is_some());
            assert_eq!(torrent.peers.get(newcomer).is_some(), stays, "at 10.0.0.{n}");
        }
    }

    #[test]
    fn one_address_does_not_take_all_places() {
        let (mut torrent, _, _) = seeding();
        let mut admit = |ip: [u8; 4], port| {
            torrent
                .admit(Instant::ZERO, (ip, port).into(), Direction::Incoming, Encryption::Off)
                .map(|_| ())
        };
        for port in 1..=MAX_PEERS_PER_ADDRESS as u16 {
            assert_eq!(admit([192, 0, 2, 1], port), Ok(()));
        }
        assert_eq!(admit([192, 0, 2, 1], 99), Err(Refusal::Address));
        assert_eq!(admit([192, 0, 2, 2], 99), Ok(()));
        assert!((1..100).all(|port| admit([127, 0, 0, 1], port).is_ok()));
    }

    #[test]
    fn a_smaller_lease_drops_those_who_exchange_nothing_bit_by_bit() {
        let (mut torrent, wants, mut pool) = seeding();
        say(&mut torrent, &mut pool, wants, &Message::Interested);
        (2..=20).for_each(|n| {
            greet(&mut torrent, &mut pool, n);
        });
        let lease = Lease { slots: None, peers: Some(12) };
        torrent.handle(Instant::ZERO, Input::Command(Command::Lease(lease)), &mut pool);
        let mut now = Instant::ZERO;
        let mut left = Vec::new();
        for _ in 0..3 {
            now += Duration::from_secs(1);
            torrent.handle(now, Input::Timeout, &mut pool);
            left.push(torrent.peers.len());
        }
        assert_eq!(left, [15, 12, 12]);
        assert!(torrent.peers.get(wants).is_some());
        let full =
            torrent.admit(now, ([10, 0, 0, 99], 1).into(), Direction::Incoming, Encryption::Off);
        assert_eq!(full, Err(Refusal::Full));
        let free = Input::Command(Command::Lease(Lease::default()));
        torrent.handle(now, free, &mut pool);
        torrent
            .admit(now, ([10, 0, 0, 99], 1).into(), Direction::Incoming, Encryption::Off)
            .expect("room");
    }

    /// What we say in our extension handshake, and in messages, on whether we fetch (BEP 21).
    #[test]
    fn a_torrent_that_fetches_nothing_says_so() {
        for (fetch, lacks, upload_only) in
            [(true, false, Some(true)), (false, true, Some(true)), (true, true, None)]
        {
            let (mut torrent, key, _) = seeding();
            torrent.settings.fetch = fetch;
            if lacks {
                torrent.lose_piece(
                    crate::base::index::PieceIndex(0),
                    crate::pieces::job::FaultKind::Missing,
                );
            }
            let peer = torrent.peers.get_mut(key).expect("here");
            peer.out.clear();
            torrent.introduce(key);
            let said = torrent.peers.get(key).expect("here").out.clone();
            assert_eq!(handshake_in(&said).upload_only, upload_only, "{fetch} {lacks}");
        }
    }

    #[test]
    fn a_seed_that_lost_a_piece_takes_its_word_back() {
        let (mut torrent, key, mut pool) = seeding();
        torrent.peers.get_mut(key).expect("here").upload_only_id = Some(7);
        torrent.peers.get_mut(key).expect("here").out.clear();
        let (lost, kind) =
            (crate::base::index::PieceIndex(0), crate::pieces::job::FaultKind::Missing);
        torrent.lose_piece(lost, kind);
        let mut wanted = Vec::new();
        wire::encode::encode(&Message::Extended { id: 7, payload: &[0] }, &mut wanted);
        assert_eq!(torrent.peers.get(key).expect("here").out, wanted);
        // Another partial seed is of no use to one that does not fetch.
        torrent.settings.fetch = false;
        let hello = ExtensionHandshake { upload_only: Some(true), ..Default::default() }.encode();
        let mut bytes = Vec::new();
        wire::encode::encode(&Message::Extended { id: 0, payload: &hello }, &mut bytes);
        torrent.read(Instant::ZERO, key, Chunk::Bytes(&bytes), &mut pool);
        assert!(torrent.peers.get(key).is_none());
    }

    fn handshake_in(mut said: &[u8]) -> ExtensionHandshake {
        loop {
            let (length, rest) = said.split_first_chunk().expect("a message");
            let (message, rest) = rest.split_at(u32::from_be_bytes(*length) as usize);
            if let [20, 0, payload @ ..] = message {
                return ExtensionHandshake::decode(payload).expect("ours");
            }
            said = rest;
        }
    }
}
