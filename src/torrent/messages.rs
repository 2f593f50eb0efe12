//! What peers say: bytes in, one message at a time, to whoever decides about it.
//!
//! Payload of blocks goes to `download`, requests to `upload`; here are the handshake, the flags, and
//! what peers have.

use crate::{
    base::{
        bitfield::Bitfield,
        id::PeerKey,
        index::Block,
        limits,
        slab::{Chunk, Pool},
        time::Instant,
    },
    peer::{Peer, Stage},
    wire::{self, Decoded, ExtensionHandshake, Handshake, Message, extension::local_id},
};

use super::{Claimant, Disconnect, Torrent};

/// Strikes after which a peer is dropped: blocks nobody asked for, requests while choked and so on.
/// A correct peer collects a few when messages cross, at worst a full queue of requests with a choke.
/// A quarter of them is forgotten each second.
const MAX_STRIKES: u32 = limits::MAX_PEER_REQUESTS as u32 + 512;

impl Torrent {
    /// Bytes from a peer, in order, split anywhere; the handshake is among them. If the peer breaks
    /// the protocol the machine says [`Output::Disconnect`](super::Output). A dead key is ignored.
    pub fn read(&mut self, now: Instant, key: PeerKey, chunk: Chunk<'_>, pool: &mut Pool) {
        match self.receive(now, key, chunk).and_then(|()| self.check_unread(key)) {
            Ok(()) => self.refill(now, key, pool),
            Err(reason) => self.disconnect(now, key, reason, pool),
        }
        self.settle(now, pool);
    }

    /// A peer that makes us answer and does not read the answers.
    fn check_unread(&self, key: PeerKey) -> Result<(), Disconnect> {
        let most = limits::MAX_UNREAD + self.pieces.have().as_bytes().len();
        match self.peers.get(key) {
            Some(peer) if peer.out.len() > most => {
                Err(Disconnect::Flood("messages and does not read the answers"))
            }
            _ => Ok(()),
        }
    }

    fn receive(
        &mut self,
        now: Instant,
        key: PeerKey,
        mut chunk: Chunk<'_>,
    ) -> Result<(), Disconnect> {
        let Some(peer) = self.peers.get_mut(key) else { return Ok(()) };
        peer.last_received = now;
        if let Stage::Handshake(start) = &mut peer.stage {
            let Chunk::Bytes(bytes) = chunk else { return Ok(()) };
            let take = bytes.len().min(wire::HANDSHAKE_LEN - start.len());
            start.extend_from_slice(&bytes[..take]);
            let Ok(hello) = <&[u8; wire::HANDSHAKE_LEN]>::try_from(start.as_slice()) else {
                // What can't become our handshake is refused at its first wrong byte.
                match Handshake::info_hash_in(start)? {
                    Some(other) if !self.is_called(other) => {
                        return Err(Disconnect::WrongInfoHash);
                    }
                    // Some say who they are only after we did (BEP 3).
                    Some(name) => self.send_handshake(now, key, name),
                    None => {}
                }
                return Ok(());
            };
            let hello = Handshake::from_bytes(hello)?;
            self.greeted(now, key, &hello)?;
            chunk = Chunk::Bytes(&bytes[take..]);
        }
        let Some(peer) = self.peers.get_mut(key) else { return Ok(()) };
        let mut decoder = std::mem::take(&mut peer.decoder);
        let mut result = Ok(());
        loop {
            match decoder.next(&mut chunk) {
                Ok(Some(item)) => {
                    if let Err(reason) = self.take_item(now, key, item) {
                        result = Err(reason);
                        break;
                    }
                }
                Ok(None) => break,
                Err(error) => {
                    result = Err(error.into());
                    break;
                }
            }
        }
        if let Some(peer) = self.peers.get_mut(key) {
            peer.decoder = decoder;
        }
        result
    }

    fn take_item(
        &mut self,
        now: Instant,
        key: PeerKey,
        item: Decoded<'_>,
    ) -> Result<(), Disconnect> {
        match item {
            Decoded::PieceData(chunk) => {
                self.block_data(key, chunk);
                Ok(())
            }
            Decoded::PieceStart { piece, begin, length } => {
                self.block_start(key, (piece, begin, length))
            }
            Decoded::PieceEnd => self.block_end(now, key),
            Decoded::Message(message) => self.message(now, key, &message),
        }
    }

    pub(super) fn message(
        &mut self,
        now: Instant,
        key: PeerKey,
        message: &Message<'_>,
    ) -> Result<(), Disconnect> {
        if self.wants_metadata() && speaks_of_pieces(message) {
            if let Some(peer) = self.peers.get_mut(key) {
                peer.early.keep(message);
            }
            return Ok(());
        }
        match *message {
            Message::KeepAlive | Message::Unknown { .. } => Ok(()),
            Message::Port(port) => {
                self.dht_node(key, port);
                Ok(())
            }
            Message::Choke => {
                self.choked_by(key);
                Ok(())
            }
            Message::Unchoke => {
                if let Some(peer) = self.peers.get_mut(key) {
                    peer.peer_choking = false;
                    peer.pipeline.pause();
                }
                Ok(())
            }
            Message::Interested | Message::NotInterested => {
                if let Some(peer) = self.peers.get_mut(key) {
                    let interested = *message == Message::Interested;
                    if peer.peer_interested != interested {
                        peer.peer_interested = interested;
                        self.choke_dirty = true;
                    }
                }
                Ok(())
            }
            Message::Have(index) => self.peer_has(now, key, index),
            Message::Bitfield(bytes) => {
                let len = self.pieces.geometry().pieces();
                let bits = Bitfield::from_wire(bytes, len).ok_or(Disconnect::OutOfRange)?;
                if self.before_bitfield(key, "bitfield").is_ok() {
                    self.peer_has_bits(now, key, bits)
                } else {
                    self.peer_has_more_bits(now, key, &bits)
                }
            }
            Message::HaveAll => {
                self.fast_only(key, "have all")?;
                self.before_bitfield(key, "have all")?;
                self.peer_has_all(now, key)
            }
            Message::HaveNone => {
                self.fast_only(key, "have none")?;
                self.before_bitfield(key, "have none")?;
                self.grant(now, key);
                Ok(())
            }
            Message::Request { piece, begin, length } => self.asked(key, (piece, begin, length)),
            Message::Cancel { piece, begin, length } => {
                self.asked_no_more(key, (piece, begin, length))
            }
            Message::RejectRequest { piece, begin, length } => {
                self.fast_only(key, "reject")?;
                self.rejected(now, key, (piece, begin, length))
            }
            Message::AllowedFast(index) => {
                self.fast_only(key, "allowed fast")?;
                self.allowed_fast(key, index)
            }
            // A hint; rarest first serves the swarm better.
            Message::SuggestPiece(_) => self.fast_only(key, "suggest piece"),
            Message::Extended { id: 0, payload } => self.extension_handshake(now, key, payload),
            Message::Extended { id: local_id::UT_METADATA, payload } => {
                self.metadata_message(now, key, payload)
            }
            Message::Extended { id: local_id::UT_PEX, payload } => {
                self.peers_named(now, key, payload)
            }
            Message::Extended { id: local_id::LT_DONTHAVE, payload } => {
                self.taken_back(key, payload)
            }
            Message::Extended { id: local_id::UPLOAD_ONLY, payload } => {
                self.upload_only(key, payload.first().is_some_and(|&b| b != 0));
                Ok(())
            }
            Message::Extended { .. } => Ok(()),
        }
    }

    /// A message of the fast extension from a peer that did not offer it (BEP 6).
    fn fast_only(&self, key: PeerKey, what: &'static str) -> Result<(), Disconnect> {
        match self.peers.get(key) {
            Some(peer) if !peer.fast => Err(Disconnect::OutOfTurn(what)),
            _ => Ok(()),
        }
    }

    /// `bitfield`, `have all` and `have none` come first, and one of them only (BEP 3, BEP 6).
    fn before_bitfield(&mut self, key: PeerKey, what: &'static str) -> Result<(), Disconnect> {
        match self.peers.get_mut(key) {
            Some(peer) if peer.past_bitfield => Err(Disconnect::OutOfTurn(what)),
            Some(peer) => {
                peer.past_bitfield = true;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn peer_has_bits(
        &mut self,
        now: Instant,
        key: PeerKey,
        bits: Bitfield,
    ) -> Result<(), Disconnect> {
        let Some(peer) = self.peers.get_mut(key) else { return Ok(()) };
        if bits.is_full() && !bits.is_empty() {
            return self.peer_has_all(now, key);
        }
        peer.wanted = self.pieces.count_lacking(&bits);
        self.pieces.peer_came(&bits);
        peer.pieces.set_bits(bits);
        self.has_come(now, key)
    }

    fn peer_has_all(&mut self, now: Instant, key: PeerKey) -> Result<(), Disconnect> {
        let Some(peer) = self.peers.get_mut(key) else { return Ok(()) };
        peer.wanted = self.pieces.all_lacking();
        if self.pieces.geometry().pieces() > 0 {
            self.pieces.seed_came();
            peer.pieces.set_all();
        }
        self.has_come(now, key)
    }

    /// What a peer has is known.
    fn has_come(&mut self, now: Instant, key: PeerKey) -> Result<(), Disconnect> {
        self.update_interest(key);
        self.seen_with(now, key);
        self.grant(now, key);
        self.part_if_both_seeds(key)
    }

    /// A bitfield in the middle of a connection. BEP 3 wants it first only, but aria2 sends one in
    /// place of many HAVEs when that is shorter (seen with 1.36).
    fn peer_has_more_bits(
        &mut self,
        now: Instant,
        key: PeerKey,
        bits: &Bitfield,
    ) -> Result<(), Disconnect> {
        let Some(peer) = self.peers.get(key) else { return Ok(()) };
        let new: Vec<_> = bits.iter().filter(|&p| !peer.pieces.has(p)).collect();
        if new.is_empty() {
            return self.strike(key, 1, "bitfields");
        }
        new.into_iter().try_for_each(|piece| self.peer_has(now, key, piece.0))
    }

    fn peer_has(&mut self, now: Instant, key: PeerKey, index: u32) -> Result<(), Disconnect> {
        let piece = self.pieces.geometry().piece(index).ok_or(Disconnect::OutOfRange)?;
        let lacks = self.pieces.lacks(piece);
        let Some(peer) = self.peers.get_mut(key) else { return Ok(()) };
        peer.past_bitfield = true;
        if !peer.pieces.insert(piece) {
            return self.strike(key, 2, "haves");
        }
        let was_scarce = self.pieces.is_scarce(piece);
        if !peer.snubbed {
            self.pieces.peer_got(piece);
        }
        peer.wanted += u32::from(lacks);
        let now_seed = peer.pieces.compact();
        if let Some(bits) = now_seed.as_ref().filter(|_| !peer.snubbed) {
            self.pieces.peer_left(bits);
            self.pieces.seed_came();
        }
        self.update_interest(key);
        self.credit_passing_on(piece, key);
        self.seen_at(now, piece, key);
        if was_scarce && lacks {
            self.move_to_second_source(now, piece, key);
        }
        if now_seed.is_some() {
            self.choke_dirty = true;
            return self.part_if_both_seeds(key);
        }
        Ok(())
    }

    /// Tells the peer whether we are interested, when that has changed.
    pub(super) fn update_interest(&mut self, key: PeerKey) {
        let paused = self.phase != super::Phase::Downloading || !self.settings.fetch;
        let Some(peer) = self.peers.get_mut(key) else { return };
        let interested = peer.wanted > 0 && !paused;
        if interested == peer.am_interested || !peer.is_open() {
            return;
        }
        peer.am_interested = interested;
        self.dial_dirty |= peer.is_web_seed() && !interested;
        let message = if interested { Message::Interested } else { Message::NotInterested };
        wire::encode::encode(&message, &mut peer.out);
        self.want_write(key);
    }

    /// Nothing can pass between two seeds.
    pub(super) fn part_if_both_seeds(&self, key: PeerKey) -> Result<(), Disconnect> {
        let keeps = self.settings.keep_useless;
        let gives_only = |peer: &Peer| peer.is_web_seed() || peer.is_seed() && !keeps;
        let useless = self.uploads_only() && self.peers.get(key).is_some_and(gives_only);
        if useless { Err(Disconnect::BothSeeds) } else { Ok(()) }
    }

    fn allowed_fast(&mut self, key: PeerKey, index: u32) -> Result<(), Disconnect> {
        let piece = self.pieces.geometry().piece(index).ok_or(Disconnect::OutOfRange)?;
        let Some(peer) = self.peers.get_mut(key) else { return Ok(()) };
        if peer.allowed_fast.len() < MAX_ALLOWED_FAST && !peer.allowed_fast.contains(&piece) {
            peer.allowed_fast.push(piece);
        }
        Ok(())
    }

    fn extension_handshake(
        &mut self,
        now: Instant,
        key: PeerKey,
        payload: &[u8],
    ) -> Result<(), Disconnect> {
        let hello = ExtensionHandshake::decode(payload)?;
        let Some(peer) = self.peers.get_mut(key) else { return Ok(()) };
        if let Some(client) = hello.v.filter(|v| !v.is_empty()) {
            peer.client = client;
        }
        if let Some(reqq) = hello.reqq {
            peer.pipeline.set_reqq(reqq);
        }
        // A later handshake may leave it out, which keeps it, or say 0, which ends it (BEP 10).
        if let Some(id) = hello.m.upload_only {
            peer.upload_only_id = Some(id).filter(|&id| id != 0);
        }
        if let Some(id) = hello.m.ut_metadata {
            peer.metadata_id = Some(id).filter(|&id| id != 0);
        }
        if let Some(id) = hello.m.lt_donthave {
            peer.donthave_id = Some(id).filter(|&id| id != 0);
        }
        if let Some(id) = hello.m.ut_pex {
            peer.pex_id = Some(id).filter(|&id| id != 0);
        }
        peer.metadata_size = hello.metadata_size.or(peer.metadata_size);
        peer.prefers_encryption = hello.e.unwrap_or(peer.prefers_encryption);
        // Each has one voice.
        if let Some(ip) = hello.yourip
            && !std::mem::replace(&mut peer.named_us, true)
        {
            self.candidates.hear_own(ip, Claimant::Peer);
        }
        if let Some(port) = hello.p {
            self.learn_listen_port(now, key, port);
        }
        if let Some(upload_only) = hello.upload_only {
            self.upload_only(key, upload_only);
        }
        self.ask_metadata(now, key);
        self.part_if_both_seeds(key)
    }

    fn upload_only(&mut self, key: PeerKey, upload_only: bool) {
        if let Some(peer) = self.peers.get_mut(key)
            && peer.upload_only != upload_only
        {
            peer.upload_only = upload_only;
            self.choke_dirty = true;
        }
    }

    /// The peer did something a correct one does rarely.
    pub(super) fn strike(
        &mut self,
        key: PeerKey,
        weight: u32,
        what: &'static str,
    ) -> Result<(), Disconnect> {
        let Some(peer) = self.peers.get_mut(key) else { return Ok(()) };
        peer.strikes += weight;
        if peer.strikes > MAX_STRIKES { Err(Disconnect::Flood(what)) } else { Ok(()) }
    }

    /// Asks the driver for a `write`, once until it comes.
    pub(super) fn want_write(&mut self, key: PeerKey) {
        if let Some(peer) = self.peers.get_mut(key)
            && !peer.wants_write
        {
            peer.wants_write = true;
            self.outputs.push_back(super::Output::WantWrite(key));
        }
    }

    /// A block of ours, as a message names it.
    pub(super) fn own_block(&self, (piece, begin, length): (u32, u32, u32)) -> Option<Block> {
        self.pieces.geometry().own_block(piece, begin, length)
    }
}

/// Pieces a peer may let us have while it chokes us; more are ignored (BEP 6 suggests ten).
pub(super) const MAX_ALLOWED_FAST: usize = 32;

/// Whether it means something only to who knows how many pieces there are, and can be heard later.
const fn speaks_of_pieces(message: &Message<'_>) -> bool {
    match message {
        Message::Extended { id, .. } => *id == local_id::LT_DONTHAVE,
        Message::KeepAlive | Message::Unknown { .. } | Message::Port(_) => false,
        _ => true,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::{net::SocketAddr, sync::Arc, time::Duration};

    use super::*;
    use crate::{
        base::{
            geometry::Geometry,
            hash::{Sha1Hash, sha1},
            id::PeerId,
            index::PieceIndex,
            rng::Rng,
        },
        mse::Encryption,
        pieces::job::FaultKind,
        torrent::{Direction, InfoBytes, Input, Output, Settings, Setup},
        wire::Reserved,
    };

    /// A seeding torrent of 64 pieces of one block, with one fast peer that has said nothing but its
    /// handshake.
    pub(in crate::torrent) fn seeding() -> (Torrent, PeerKey, Pool) {
        let mut torrent = torrent(Bitfield::full(64));
        let mut pool = Pool::phantom(1 << 20);
        let key = greet(&mut torrent, &mut pool, 1);
        (torrent, key, pool)
    }

    /// A torrent of pieces of one block, of which it has these.
    pub(in crate::torrent) fn torrent(have: Bitfield) -> Torrent {
        Torrent::new(setup(have), Instant::ZERO)
    }

    pub(in crate::torrent) fn setup(have: Bitfield) -> Setup {
        let total = u64::from(have.len()) << 14;
        Setup {
            info_hash: Sha1Hash([7; 20]),
            code: None,
            geometry: Geometry::new(total, 1 << 14).expect("valid"),
            have,
            peer_id: PeerId::generate(&mut Rng::new(1)),
            listen_port: None,
            dht_port: None,
            partial: Vec::new(),
            priorities: Vec::new(),
            metadata: Some(InfoBytes::new(Arc::new([0; 100]))),
            settings: Settings::default(),
            seed: 1,
        }
    }

    /// Another peer of it.
    pub(in crate::torrent) fn greet(torrent: &mut Torrent, pool: &mut Pool, n: u8) -> PeerKey {
        greet_from(torrent, pool, ([10, 0, 0, n], 1).into())
    }

    /// One from there; who comes from elsewhere is somebody else.
    pub(in crate::torrent) fn greet_from(
        torrent: &mut Torrent,
        pool: &mut Pool,
        addr: SocketAddr,
    ) -> PeerKey {
        let key =
            torrent.admit(Instant::ZERO, addr, Direction::Incoming, Encryption::Off).expect("room");
        let peer_id = PeerId(sha1(addr.to_string().as_bytes()).0);
        let hello =
            Handshake { reserved: Reserved::ours(false), info_hash: torrent.name(), peer_id };
        torrent.read(Instant::ZERO, key, Chunk::Bytes(&hello.to_bytes()), pool);
        key
    }

    /// It says something.
    pub(in crate::torrent) fn say(
        torrent: &mut Torrent,
        pool: &mut Pool,
        key: PeerKey,
        message: &Message<'_>,
    ) {
        let mut bytes = Vec::new();
        wire::encode::encode(message, &mut bytes);
        torrent.read(Instant::ZERO, key, Chunk::Bytes(&bytes), pool);
    }

    fn dropped(torrent: &mut Torrent) -> Option<Disconnect> {
        std::iter::from_fn(|| torrent.poll()).find_map(|output| match output {
            Output::Disconnect { reason, .. } => Some(reason),
            _ => None,
        })
    }

    #[test]
    fn what_is_not_to_be_fetched_is_not_asked_for() {
        for (fetch, kind, asks) in [
            (true, FaultKind::Missing, true),
            (false, FaultKind::Missing, false),
            // Somebody edited the file that we serve.
            (true, FaultKind::Changed, false),
        ] {
            let (mut torrent, key, mut pool) = seeding();
            torrent.settings.fetch = fetch;
            let mut most = Bitfield::full(64);
            most.remove(PieceIndex(9));
            say(&mut torrent, &mut pool, key, &Message::Bitfield(most.as_bytes()));
            torrent.lose_piece(PieceIndex(0), kind);
            say(&mut torrent, &mut pool, key, &Message::Unchoke);
            let peer = torrent.peers.get(key).expect("still there");
            assert_eq!((peer.am_interested, peer.requests.len()), (asks, u32::from(asks)));
        }
    }

    /// Rejects for requests while choked used to pile up for a peer that reads nothing.
    #[test]
    fn a_peer_that_never_reads_cannot_make_us_hold_more_and_more() {
        let request = Message::Request { piece: 0, begin: 0, length: 1 << 14 };
        let cancel = Message::Cancel { piece: 0, begin: 0, length: 1 << 14 };
        for message in [request, cancel] {
            let (mut torrent, key, mut pool) = seeding();
            let mut bytes = Vec::new();
            wire::encode::encode(&message, &mut bytes);
            let mut now = Instant::ZERO;
            let mut most = 0;
            // Slowly enough to stay below what is a flood in one second.
            let reason = (0..10_000).find_map(|_| {
                now += Duration::from_millis(100);
                torrent.handle(now, Input::Timeout, &mut pool);
                for _ in 0..60 {
                    torrent.read(now, key, Chunk::Bytes(&bytes), &mut pool);
                }
                most = most.max(torrent.peers.get(key).map_or(0, |peer| peer.out.len()));
                dropped(&mut torrent)
            });
            let held = limits::MAX_UNREAD + 1_000;
            assert!(most <= held, "{most} bytes held for {message:?}");
            let tame = message == cancel;
            assert!(tame || matches!(reason, Some(Disconnect::Flood(_))), "{reason:?}");
        }
    }

    #[test]
    fn a_burst_is_a_flood_and_a_full_queue_that_crosses_a_choke_is_not() {
        let mut bytes = Vec::new();
        let request = Message::Request { piece: 0, begin: 0, length: 1 << 14 };
        wire::encode::encode(&request, &mut bytes);
        let (mut torrent, key, mut pool) = seeding();
        for _ in 0..limits::MAX_PEER_REQUESTS {
            torrent.read(Instant::ZERO, key, Chunk::Bytes(&bytes), &mut pool);
        }
        assert_eq!(dropped(&mut torrent), None);
        for _ in 0..limits::MAX_PEER_REQUESTS {
            torrent.read(Instant::ZERO, key, Chunk::Bytes(&bytes), &mut pool);
        }
        assert!(matches!(dropped(&mut torrent), Some(Disconnect::Flood(_))));
    }

    /// Strikes used to stay for ever: a peer that had been here for days was dropped for manners.
    #[test]
    fn small_mistakes_are_forgotten() {
        let (mut torrent, key, mut pool) = seeding();
        let mut cancel = Vec::new();
        wire::encode::encode(&Message::Cancel { piece: 0, begin: 0, length: 1 }, &mut cancel);
        let mut now = Instant::ZERO;
        for _ in 0..20_000 {
            now += Duration::from_secs(1);
            torrent.read(now, key, Chunk::Bytes(&cancel), &mut pool);
            torrent.handle(now, Input::Timeout, &mut pool);
            // It reads what it is told.
            torrent.peers.get_mut(key).expect("still here").wants_write = false;
        }
        assert_eq!(dropped(&mut torrent), None);
    }

    #[test]
    fn what_a_choked_peer_is_allowed_is_bounded() {
        let mut torrent = torrent(Bitfield::empty(64));
        let mut pool = Pool::phantom(1 << 20);
        let key = greet(&mut torrent, &mut pool, 1);
        (0..64).for_each(|piece| say(&mut torrent, &mut pool, key, &Message::AllowedFast(piece)));
        assert_eq!(torrent.peers.get(key).expect("there").allowed_fast.len(), MAX_ALLOWED_FAST);
    }

    #[test]
    fn requests_that_wait_are_bounded() {
        let (mut torrent, key, mut pool) = seeding();
        torrent.peers.get_mut(key).expect("there").am_choking = false;
        let request = Message::Request { piece: 0, begin: 0, length: 1 << 14 };
        for _ in 0..limits::MAX_PEER_REQUESTS + 100 {
            say(&mut torrent, &mut pool, key, &request);
        }
        let peer = torrent.peers.get(key).expect("a hundred are no flood");
        assert_eq!(peer.uploads.waiting(), limits::MAX_PEER_REQUESTS);
    }

    #[test]
    fn a_foreign_protocol_is_refused_at_its_first_wrong_byte() {
        let (mut torrent, _, mut pool) = seeding();
        let addr = "10.0.0.2:1".parse().expect("valid");
        let key =
            torrent.admit(Instant::ZERO, addr, Direction::Incoming, Encryption::Off).expect("room");
        torrent.read(Instant::ZERO, key, Chunk::Bytes(b"G"), &mut pool);
        assert!(matches!(dropped(&mut torrent), Some(Disconnect::Protocol(_))));
    }
}
