//! Fetching: what to ask of whom, blocks as they arrive, pieces as they are checked.
//!
//! Which block comes next is the picker's choice (`pieces`), how many a peer gets its pipeline's
//! (`peer`). Bad pieces go to `blame`.

use std::{net::SocketAddr, time::Duration};

use crate::{
    base::{
        id::PeerKey,
        index::{Block, PieceIndex},
        slab::{Chunk, Pool},
        time::Instant,
        units::BLOCK_LEN,
    },
    peer::{Arriving, Peer},
    pieces::{
        Offer, PeerView, Stored, Wish, abreast,
        job::{DiskEvent, DiskFault, DiskJob},
    },
    wire::{self, Message},
};

use super::{
    Disconnect, Event, Output, Phase, Torrent, blame::Blame, time_outs::is_overdue, web_seeds,
};

/// In endgame an idle peer is asked for so many blocks that others are slow to send.
const ENDGAME_BLOCKS: u32 = 2;
/// Share of the slab budget, as a divisor, that may be at the disk before nothing more is asked for.
const SHARE_AT_DISK: u64 = 6;
/// A peer that rejects what it lets us ask for is left alone for so long.
pub(super) const HOLD: Duration = Duration::from_secs(1);

/// What the picker sees of a peer.
pub(super) struct View<'a> {
    pub(super) peer: &'a Peer,
    pub(super) key: PeerKey,
    pub(super) blame: &'a Blame,
}

impl PeerView for View<'_> {
    fn offer(&self) -> Offer<'_> {
        match self.peer.pieces.bits() {
            _ if self.peer.peer_choking => Offer::Few(&self.peer.allowed_fast),
            Some(bits) if self.peer.snubbed => Offer::Uncounted(bits),
            Some(bits) => Offer::These(bits),
            None if self.peer.pieces.is_all() => Offer::All,
            None => Offer::Few(&[]),
        }
    }

    fn offers(&self, piece: PieceIndex) -> bool {
        self.peer.pieces.has(piece)
            && (!self.peer.peer_choking || self.peer.allowed_fast.contains(&piece))
            // Two requests for one block could not be told apart when the first answer comes.
            && !self.peer.requests.are_taken_back(piece)
    }

    fn is_barred(&self, piece: PieceIndex) -> bool {
        self.blame.is_barred(piece, self.key)
    }

    fn first(&self, may: &dyn Fn(PieceIndex) -> bool) -> Option<PieceIndex> {
        self.blame.first(self.key).find(|&piece| self.offers(piece) && may(piece))
    }

    fn alone(&self) -> Option<SocketAddr> {
        Some(self.peer.addr).filter(|&addr| self.blame.is_on_parole(addr))
    }
}

impl Torrent {
    /// Asks a peer for more, if it has room for a worthwhile batch.
    pub(super) fn refill(&mut self, now: Instant, key: PeerKey, pool: &mut Pool) {
        if self.phase != Phase::Downloading {
            return;
        }
        let others = self
            .peers
            .iter()
            .any(|(k, p)| k != key && p.is_open() && !p.is_seed() && !p.is_web_seed());
        let Some(peer) = self.peers.get_mut(key) else { return };
        let may_ask = !peer.peer_choking || !peer.allowed_fast.is_empty();
        if !peer.am_interested || !may_ask || peer.hold_until > now {
            return;
        }
        let depth = match peer.is_web_seed() {
            true => peer.pipeline.depth().max(web_seeds::depth(peer, pool)),
            false => peer.pipeline.depth(),
        };
        let outstanding = peer.requests.len();
        let room = depth.saturating_sub(outstanding);
        // Requests leave in batches: an eighth of the depth, or 32. What is owed comes first.
        if room == 0 || room < (depth / 8).min(32) || is_overdue(peer, now) {
            return;
        }
        if self.at_disk_bytes >= pool.budget() as u64 / SHARE_AT_DISK {
            // What came now would only wait in memory: less of it stays in the processor's caches.
            self.memory_short = true;
            return;
        }
        let piece_len = self.pieces.geometry().piece_length();
        let piece_blocks = piece_len.div_ceil(BLOCK_LEN);
        let scarce = if others && !peer.is_web_seed() {
            peer.pipeline.in_flight().max(piece_blocks).saturating_sub(outstanding)
        } else {
            room
        };
        let again = ENDGAME_BLOCKS.saturating_sub(peer.requests.listed() as u32);
        // Of a web seed neighbours are one range.
        let runs = peer.is_web_seed();
        let last = peer.requests.iter().next_back().map(|request| request.block.piece);
        let abreast =
            if runs { 1 } else { abreast(peer.pipeline.rate(), piece_len, pool.budget()) };
        let wish = Wish { peer: key, blocks: room, scarce, again, runs, last, abreast };
        let mut picked = Vec::new();
        let view = View { peer, key, blame: &self.blame };
        let enough = self.pieces.pick(&view, wish, &mut self.rng, pool, &mut picked);
        for &block in &picked {
            debug_assert!(!peer.requests.contains(block), "asked twice for {block:?}");
            if peer.requests.listed() == 0 {
                peer.last_block = now;
            }
            peer.requests.push(block, now);
        }
        if !picked.is_empty() {
            wire::encode::requests(picked.iter().copied(), &mut peer.out);
            let mut last = None;
            for block in &picked {
                if last != Some(block.piece) {
                    let alone = self.pieces.is_only(block.piece, key, peer.addr);
                    self.blame.claim(block.piece, key, alone.then_some(peer.addr));
                    last = Some(block.piece);
                }
            }
            self.want_write(key);
        }
        if !enough {
            self.relieve_memory(pool);
        }
    }

    /// Asks every peer that has room.
    pub(super) fn refill_all(&mut self, now: Instant, pool: &mut Pool) {
        for key in self.peers.keys() {
            self.refill(now, key, pool);
        }
    }

    /// No slab was left for a block: unfinished pieces make room as they can. Not while the disk still
    /// has slabs to give back: what is written early is read back to be checked.
    fn relieve_memory(&mut self, pool: &mut Pool) {
        self.memory_short = true;
        if self.at_disk > 0 {
            return;
        }
        for job in self.pieces.relieve(pool) {
            self.hand_to_disk(job);
        }
    }

    /// Hands a check or an early write to the disk.
    pub(super) fn hand_to_disk(&mut self, job: DiskJob) {
        self.at_disk += 1;
        self.at_disk_bytes += job.bytes();
        self.outputs.push_back(Output::Disk(job));
    }

    /// A PIECE header: is its payload of use?
    pub(super) fn block_start(
        &mut self,
        key: PeerKey,
        numbers: (u32, u32, u32),
    ) -> Result<(), Disconnect> {
        let block = self.own_block(numbers);
        let Some(peer) = self.peers.get_mut(key) else { return Ok(()) };
        let asked = block.is_some_and(|b| peer.requests.contains(b));
        // A block that we never asked for, and can't use, is the peer's mistake. A piece that failed takes
        // none: it is one peer's alone now.
        let welcome = |b: Block| asked || !self.blame.is_suspect(b.piece);
        let keep = block.is_some_and(|b| welcome(b) && self.pieces.begin_block(b, key, asked));
        peer.arriving = Some(Arriving { block, keep, at: 0, asked });
        if !asked && peer.fast && !peer.forgot {
            return Err(Disconnect::Unasked);
        }
        if asked || keep {
            return Ok(());
        }
        let weight = if peer.requests.listed() == 0 { 4 } else { 1 };
        self.strike(key, weight, "blocks nobody asked for")
    }

    /// Some payload.
    pub(super) fn block_data(&mut self, key: PeerKey, chunk: Chunk<'_>) {
        let Some(peer) = self.peers.get_mut(key) else { return };
        let Some(arriving) = &mut peer.arriving else { return };
        if arriving.keep
            && let Some(block) = arriving.block
        {
            arriving.keep = self.pieces.store(block, arriving.at, chunk, key);
        }
        arriving.at += chunk.len() as u32;
    }

    /// The payload is complete.
    pub(super) fn block_end(&mut self, now: Instant, key: PeerKey) -> Result<(), Disconnect> {
        let Some(peer) = self.peers.get_mut(key) else { return Ok(()) };
        let Some(arriving) = peer.arriving.take() else { return Ok(()) };
        let bytes = u64::from(arriving.at);
        let mut others = Vec::new();
        let kept = arriving.block.filter(|_| arriving.keep);
        let Some(peer) = self.peers.get_mut(key) else { return Ok(()) };
        let stored =
            kept.and_then(|block| self.pieces.end_block(block, peer.addr, key, &mut others));
        if arriving.asked
            && let Some(request) = arriving.block.and_then(|block| peer.requests.take(block))
        {
            peer.answered = peer.answered.max(request.sent);
            peer.pipeline.block(now, request.sent, peer.requests.len());
            if stored.is_none() {
                // Its payload was of no use, and it will not come again.
                self.pieces.release(request.block, key);
                self.freed = true;
            }
        }
        if arriving.asked || stored.is_some() {
            peer.last_block = now;
        }
        if stored.is_some() {
            // What is of no use earns it nothing.
            peer.down.add(now, bytes);
        }
        if arriving.asked || stored.is_some() {
            self.answers(key);
        }
        self.down.add(now, bytes);
        self.last_block = now;
        if stored.is_none() {
            self.totals.wasted += bytes;
            return Ok(());
        }
        self.totals.downloaded += bytes;
        let block = kept.expect("a stored block was kept");
        for other in others {
            self.cancel(other, block);
        }
        if stored == Some(Stored::PieceComplete) {
            self.blame.came(block.piece);
            self.check_unless_doubted(now, block.piece);
        } else {
            while let Some(job) = self.pieces.early_write(block) {
                self.hand_to_disk(job);
            }
        }
        Ok(())
    }

    /// Takes a request back. It stays listed until the peer answers.
    fn cancel(&mut self, key: PeerKey, block: Block) {
        let Some(peer) = self.peers.get_mut(key) else { return };
        if !peer.requests.cancel(block) {
            return;
        }
        let Block { piece, begin, length } = block;
        wire::encode::encode(&Message::Cancel { piece: piece.0, begin, length }, &mut peer.out);
        if !peer.fast {
            // Such a peer does not say whether it heard: nothing more is expected.
            peer.requests.take(block);
            self.pieces.release(block, key);
        }
        self.want_write(key);
    }

    /// `second` is the first peer to have `piece` that was scarce. What waits at a seed, beyond what is on its
    /// way already, is better asked of the second, so that the seed can send what nobody else has.
    pub(super) fn move_to_second_source(
        &mut self,
        now: Instant,
        piece: PieceIndex,
        second: PeerKey,
    ) {
        let ready = self.peers.get(second).is_some_and(|p| {
            !p.peer_choking
                && !p.snubbed
                && p.hold_until <= now
                && p.requests.len() < p.pipeline.depth()
        });
        if !ready {
            return;
        }
        let first = self.peers.iter().find(|(k, p)| {
            *k != second
                && p.fast
                && p.requests.iter().any(|r| r.block.piece == piece && !r.cancelled)
        });
        let Some((first, peer)) = first else { return };
        let moved: Vec<Block> = peer
            .requests
            .iter()
            .skip(peer.pipeline.in_flight() as usize)
            .filter(|r| r.block.piece == piece && !r.cancelled)
            .map(|r| r.block)
            .collect();
        for block in moved {
            self.cancel(first, block);
        }
    }

    /// The peer chokes us (BEP 3): what it has not sent it will not send, unless it is a fast peer
    /// (BEP 6), which says so for each request.
    pub(super) fn choked_by(&mut self, key: PeerKey) {
        let Some(peer) = self.peers.get_mut(key) else { return };
        peer.peer_choking = true;
        peer.pipeline.pause();
        if peer.fast {
            return;
        }
        self.release_requests(key);
    }

    /// Frees everything that is asked of a peer.
    pub(super) fn release_requests(&mut self, key: PeerKey) {
        let Some(peer) = self.peers.get_mut(key) else { return };
        for request in peer.requests.drain() {
            self.pieces.release(request.block, key);
            self.freed = true;
        }
        self.blame.forget(key);
    }

    /// A fast peer will not send a block (BEP 6).
    pub(super) fn rejected(
        &mut self,
        now: Instant,
        key: PeerKey,
        numbers: (u32, u32, u32),
    ) -> Result<(), Disconnect> {
        let block = self.own_block(numbers).ok_or(Disconnect::OutOfRange)?;
        let Some(peer) = self.peers.get_mut(key) else { return Ok(()) };
        let Some(request) = peer.requests.take(block) else {
            return self.strike(key, 1, "rejects");
        };
        self.pieces.release(block, key);
        self.freed = true;
        if peer.requests.listed() == 0 {
            self.blame.forget(key);
            peer.pipeline.pause();
        }
        if !request.cancelled && !peer.peer_choking {
            peer.hold_until = now + HOLD;
            return self.strike(key, 1, "rejects");
        }
        let allowed = peer.allowed_fast.len();
        peer.allowed_fast.retain(|&p| p != block.piece || request.cancelled);
        if peer.allowed_fast.len() < allowed {
            return self.strike(key, 1, "rejects");
        }
        Ok(())
    }

    /// A disk job is done.
    pub(super) fn disk_event(&mut self, now: Instant, event: DiskEvent, pool: &mut Pool) {
        if !matches!(event, DiskEvent::Read { .. }) {
            self.at_disk -= 1;
            self.at_disk_bytes -= event.bytes();
        }
        match event {
            DiskEvent::Verified { piece, slabs, verdict, digests } => {
                slabs.into_iter().for_each(|s| pool.give(s));
                self.piece_checked(now, piece, &verdict, &digests, pool);
                self.memory_came_back();
            }
            DiskEvent::Spilled { piece, held, result } => {
                if self.pieces.spilled(piece, held, result.is_ok(), pool) {
                    self.check_unless_doubted(now, piece);
                }
                if let Err(fault) = result {
                    self.disk_failed(fault, pool);
                }
                self.memory_came_back();
            }
            DiskEvent::Read { peer, run, slab, result } => {
                self.run_read(peer, run, slab, result, pool);
            }
        }
    }

    fn memory_came_back(&mut self) {
        if std::mem::take(&mut self.memory_short) {
            self.freed = true;
        }
    }

    /// The disk refused to write or to read back: fetching stops, serving goes on.
    pub(super) fn disk_failed(&mut self, fault: DiskFault, pool: &mut Pool) {
        if fault.kind.is_away() {
            return self.storage_gone(fault, pool);
        }
        if self.phase != Phase::Downloading {
            return;
        }
        self.phase = Phase::Failed;
        self.fault = Some(Box::new(fault.clone()));
        self.cancel_everything();
        self.pieces.drop_open(pool);
        self.say(Event::Stopped(fault));
    }

    /// Takes back all requests.
    pub(super) fn cancel_everything(&mut self) {
        for key in self.peers.keys() {
            self.cancel_all(key);
            self.update_interest(key);
        }
    }

    fn cancel_all(&mut self, key: PeerKey) {
        let Some(peer) = self.peers.get_mut(key) else { return };
        if let Some(block) = peer.stop_keeping() {
            self.pieces.abort_block(block, key);
        }
        peer.forgot |= peer.requests.listed() > 0;
        let blocks: Vec<Block> =
            peer.requests.drain().filter(|r| !r.cancelled).map(|r| r.block).collect();
        for &Block { piece, begin, length } in &blocks {
            wire::encode::encode(&Message::Cancel { piece: piece.0, begin, length }, &mut peer.out);
        }
        for &block in &blocks {
            self.pieces.release(block, key);
        }
        if !blocks.is_empty() {
            self.want_write(key);
        }
    }

    /// Every piece that is wanted is here: nothing more to ask, and seeds have nothing to do with us.
    pub(super) fn completed(&mut self, now: Instant, pool: &mut Pool) {
        if self.phase == Phase::Downloading {
            self.phase = Phase::Seeding;
        }
        self.say(Event::Completed);
        for key in self.peers.keys() {
            self.cancel_all(key);
            self.update_interest(key);
            self.tell_upload_only(key);
            if let Err(reason) = self.part_if_both_seeds(key) {
                self.disconnect(now, key, reason, pool);
            }
        }
        self.choke_dirty = true;
    }

    /// Whether we fetch nothing more (BEP 21).
    pub(super) fn tell_upload_only(&mut self, key: PeerKey) {
        let uploads_only = self.uploads_only();
        let Some(peer) = self.peers.get_mut(key) else { return };
        if let Some(id) = peer.upload_only_id {
            let payload = &[u8::from(uploads_only)];
            wire::encode::encode(&Message::Extended { id, payload }, &mut peer.out);
            self.want_write(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::messages::tests::*, *};
    use crate::{
        base::{bitfield::Bitfield, geometry::Geometry, slab::Chunk},
        pieces::{Priority, job::FaultKind},
        torrent::{CloseCause, Input, Setup},
    };

    #[test]
    fn an_unwanted_piece_that_is_lost_is_not_missed() {
        let (mut torrent, ..) = seeding();
        let mut wanted = vec![Priority::Normal; 64];
        wanted[3] = Priority::Skip;
        torrent.pieces.prioritise(wanted);
        torrent.lose_piece(PieceIndex(3), FaultKind::Changed);
        assert!(torrent.is_done() && torrent.phase == Phase::Seeding && torrent.settings.fetch);
        torrent.lose_piece(PieceIndex(4), FaultKind::Missing);
        assert!(!torrent.is_done() && torrent.phase == Phase::Downloading);
    }

    /// Two liars used to keep a piece from ever being right: what they sent for another place, or late, filled
    /// the copy that one peer was to send alone.
    #[test]
    fn a_piece_that_failed_takes_only_what_was_asked_for() {
        for suspect in [false, true] {
            let geometry = Geometry::new(1 << 15, 1 << 15).expect("valid");
            let setup = Setup { geometry, ..setup(Bitfield::empty(1)) };
            let mut torrent = Torrent::new(setup, Instant::ZERO);
            let mut pool = Pool::phantom(1 << 20);
            let [honest, late] = [1, 2].map(|n| greet(&mut torrent, &mut pool, n));
            say(&mut torrent, &mut pool, honest, &Message::HaveAll);
            say(&mut torrent, &mut pool, honest, &Message::Unchoke);
            let reject = Message::RejectRequest { piece: 0, begin: 0, length: 1 << 14 };
            say(&mut torrent, &mut pool, honest, &reject);
            if suspect {
                torrent.blame.failed(Instant::ZERO, PieceIndex(0), &[None, None], &[1, 2]);
            }
            torrent.peers.get_mut(late).expect("there").forgot = true;
            let head = [0, 0, 0x40, 9, 7, 0, 0, 0, 0, 0, 0, 0, 0];
            torrent.read(Instant::ZERO, late, Chunk::Bytes(&head), &mut pool);
            let arriving = torrent.peers.get(late).expect("there").arriving.expect("it comes");
            assert_eq!(arriving.keep, !suspect);
        }
    }

    /// In endgame a second copy takes the place of the first. When the first then ended in vain and the
    /// second never did, the block was thought to be outstanding at the first for ever.
    #[test]
    fn a_block_whose_second_copy_never_ends_is_asked_for_again() {
        let mut torrent = torrent(Bitfield::empty(1));
        let mut pool = Pool::phantom(1 << 20);
        let keys = [1, 2].map(|n| greet(&mut torrent, &mut pool, n));
        for key in keys {
            say(&mut torrent, &mut pool, key, &Message::HaveAll);
            say(&mut torrent, &mut pool, key, &Message::Unchoke);
        }
        let asked = |t: &Torrent, key| t.peers.get(key).map_or(0, |p| p.requests.len());
        assert_eq!(keys.map(|key| asked(&torrent, key)), [1, 1], "endgame");
        let [first, second] = keys;
        let mut piece = vec![0, 0, 0x40, 9, 7, 0, 0, 0, 0, 0, 0, 0, 0];
        piece.resize(13 + (1 << 14), 0);
        let mut send = |torrent: &mut Torrent, key, bytes: &[u8]| {
            torrent.read(Instant::ZERO, key, Chunk::Bytes(bytes), &mut pool);
        };
        send(&mut torrent, first, &piece[..5_000]);
        send(&mut torrent, second, &piece[..100]);
        send(&mut torrent, first, &piece[5_000..]);
        let closed = Input::Closed { peer: second, cause: CloseCause::Reset };
        torrent.handle(Instant::ZERO, closed, &mut pool);
        assert_eq!(asked(&torrent, first), 1);
    }
}
