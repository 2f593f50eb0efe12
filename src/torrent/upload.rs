//! Serving: requests taken or refused, runs read from disk, and everything a peer is told.
//!
//! Whom we unchoke is in `choker`. A block is counted against the upload limit when its read starts.

use crate::{
    base::{
        id::PeerKey,
        index::{Block, PieceIndex},
        slab::{Pool, Purpose, SLAB_LEN, Slab},
        time::Instant,
        token_bucket::Grant,
        units::BLOCK_LEN,
    },
    peer::{
        outbox::{SendBuf, Served},
        uploads::Asked,
    },
    pieces::job::{DiskFault, DiskJob},
    wire::{self, Message},
};

use super::{Disconnect, Output, Torrent, Written};

/// Payload under way to one fast peer: enough for one long vectored write.
const MOST_UNDER_WAY: u32 = 1 << 20;
/// Share of a second of a peer's rate that may be under way to it, as a divisor.
const UNDER_WAY_PER_SECOND: u64 = 4;

impl Torrent {
    /// The peer asks for a block.
    pub(super) fn asked(
        &mut self,
        key: PeerKey,
        (piece, begin, length): (u32, u32, u32),
    ) -> Result<(), Disconnect> {
        let run = self.pieces.geometry().run(piece, begin, length).ok_or(Disconnect::OutOfRange)?;
        if length > crate::base::limits::MAX_REQUEST_LEN {
            return Err(Disconnect::OutOfRange);
        }
        let is_there = !self.is_storage_gone() && self.pieces.have().has(run.piece);
        let have = is_there && self.shows(key, run.piece);
        let am_choking = self.peers.get(key).is_some_and(|peer| peer.am_choking);
        if !have || (am_choking && !self.is_granted(key, run)) {
            self.reject(key, run);
            // It may not have heard of the choke yet.
            return self.strike(key, 1, "requests");
        }
        let Some(peer) = self.peers.get_mut(key) else { return Ok(()) };
        match peer.uploads.ask(run) {
            Asked::Queued => {
                // The order to read it is given by `write`.
                self.want_write(key);
                Ok(())
            }
            Asked::TooMany => {
                self.reject(key, run);
                self.strike(key, 1, "requests")
            }
        }
    }

    /// The peer takes a request back (BEP 3); a fast peer hears that it will not come (BEP 6).
    pub(super) fn asked_no_more(
        &mut self,
        key: PeerKey,
        (piece, begin, length): (u32, u32, u32),
    ) -> Result<(), Disconnect> {
        let run = self.pieces.geometry().run(piece, begin, length).ok_or(Disconnect::OutOfRange)?;
        let Some(peer) = self.peers.get_mut(key) else { return Ok(()) };
        if peer.uploads.cancel(run) {
            self.reject(key, run);
            return Ok(());
        }
        // Cancels cross with blocks, so a stray one is normal; thousands are not.
        self.strike(key, 1, "cancels")
    }

    /// Tells a fast peer that it will not get a block; others find out by waiting.
    pub(super) fn reject(&mut self, key: PeerKey, block: Block) {
        let Some(peer) = self.peers.get_mut(key) else { return };
        if !peer.fast {
            return;
        }
        let Block { piece, begin, length } = block;
        wire::encode::encode(
            &Message::RejectRequest { piece: piece.0, begin, length },
            &mut peer.out,
        );
        self.want_write(key);
    }

    /// A run for a peer has been read, or not.
    pub(super) fn run_read(
        &mut self,
        key: PeerKey,
        run: Block,
        slab: Slab,
        result: Result<(), DiskFault>,
        pool: &mut Pool,
    ) {
        if let Err(fault) = result {
            pool.give(slab);
            let blocks = match self.peers.get_mut(key) {
                Some(peer) => peer.uploads.finish(run, None, pool),
                None => Vec::new(),
            };
            blocks.into_iter().for_each(|b| self.reject(key, b));
            match fault.kind {
                kind if kind.is_away() => self.storage_gone(fault, pool),
                kind => self.lose_piece(run.piece, kind),
            }
            return;
        }
        match self.peers.get_mut(key) {
            Some(peer) => {
                peer.uploads.finish(run, Some(slab), pool);
                self.want_write(key);
            }
            None => pool.give(slab),
        }
    }

    /// Appends to `out` what the peer should be told: messages, HAVEs, blocks that have been read.
    /// Orders the next reads, as far as `upload` goes. Call it after [`Output::WantWrite`], and again as
    /// [`Written`] says, when `out` is nearly empty.
    pub fn write(
        &mut self,
        now: Instant,
        key: PeerKey,
        out: &mut SendBuf,
        upload: &mut Grant,
        pool: &mut Pool,
    ) -> Written {
        // Nobody is choked for the info dictionary, but it counts.
        upload.spend(self.send_metadata(key));
        self.tell_news(key);
        let Some(peer) = self.peers.get_mut(key) else { return Written::Idle };
        peer.wants_write = false;
        peer.unread = None;
        if !peer.out.is_empty() {
            peer.last_sent = now;
            out.push_bytes(&mut peer.out);
        }
        let mut begun: Vec<PieceIndex> = Vec::new();
        let mut lost: Vec<Block> = Vec::new();
        while out.payload() < MOST_UNDER_WAY as usize
            && let Some(ready) = peer.uploads.pop_ready()
        {
            if ready.blocks.first().is_some_and(|block| !self.pieces.have().has(block.piece)) {
                pool.give(ready.slab);
                lost.extend(ready.blocks);
                continue;
            }
            let base = ready.blocks.first().map_or(0, |b| b.begin);
            let mut blocks = Vec::with_capacity(ready.blocks.len());
            for block in &ready.blocks {
                let Block { piece, begin, length } = *block;
                let header = wire::encode::piece_header(piece.0, begin, length);
                blocks.push(Served { header, at: begin - base, length });
                peer.up.add(now, u64::from(length));
                self.up.add(now, u64::from(length));
                self.totals.uploaded += u64::from(length);
                let whole = self.pieces.geometry().piece_len(piece);
                peer.standing.given += f64::from(length) / f64::from(whole);
                if begun.last() != Some(&piece) {
                    begun.push(piece);
                }
            }
            peer.last_sent = now;
            out.push_run(ready.slab, blocks);
        }
        let more_metadata = !peer.metadata_due.is_empty();
        lost.into_iter().for_each(|block| self.reject(key, block));
        begun.into_iter().for_each(|piece| self.gave_of(piece, key));
        match self.order_reads(now, key, out.payload() as u32, upload, pool) {
            Written::Idle if more_metadata => Written::More,
            written => written,
        }
    }

    /// The peer has taken so many bytes of what it is told.
    pub fn has_read(&mut self, key: PeerKey, bytes: u64) {
        if let Some((_, read)) = self.peers.get_mut(key).and_then(|peer| peer.unread.as_mut()) {
            *read += bytes;
        }
    }

    /// Tells a peer which pieces were verified since it was told last.
    pub(super) fn tell_news(&mut self, key: PeerKey) {
        let Some(peer) = self.peers.get_mut(key).filter(|peer| peer.is_open()) else { return };
        let news = self.pieces.log().since(peer.have_cursor);
        for &piece in news {
            wire::encode::encode(&Message::Have(piece.0), &mut peer.out);
        }
        peer.have_cursor += news.len();
    }

    /// Reads the next requests of a peer, as far as its rate and the upload limit go.
    fn order_reads(
        &mut self,
        now: Instant,
        key: PeerKey,
        sending: u32,
        upload: &mut Grant,
        pool: &mut Pool,
    ) -> Written {
        let Some(peer) = self.peers.get_mut(key) else { return Written::Idle };
        let rate = peer.up.rate(now).0 / UNDER_WAY_PER_SECOND;
        let most = u32::try_from(rate).unwrap_or(u32::MAX).clamp(2 * BLOCK_LEN, MOST_UNDER_WAY);
        loop {
            let under_way = peer.uploads.under_way() + sending;
            let Some(first) = peer.uploads.next_run(1) else { return Written::Idle };
            if under_way >= most {
                // While reads are under way and nothing is being sent, the end of a read wakes us.
                return if sending > 0 { Written::More } else { Written::Idle };
            }
            // Who asks for more at once than a block goes over the limit by it, and waits for that later.
            if upload.left() < u64::from(first.length.min(BLOCK_LEN)) {
                return Written::RateLimited;
            }
            let room = u64::from((most - under_way).min(SLAB_LEN)).min(upload.left()) as u32;
            let room = room.max(first.length);
            let run = peer.uploads.next_run(room).unwrap_or(first);
            let Some(slab) = pool.take(run.length, Purpose::Upload) else {
                if !self.starved.contains(&key) {
                    self.starved.push(key);
                }
                return Written::Idle;
            };
            upload.spend(u64::from(run.length));
            peer.uploads.start(run);
            self.outputs.push_back(Output::Disk(DiskJob::Read { peer: key, run, slab }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::messages::tests::*, *};
    use crate::{
        pieces::job::{DiskEvent, FaultKind},
        torrent::Input,
    };

    /// Who asked and took it back, again and again, used to wait for memory once for each time, also after its end.
    #[test]
    fn whoever_waits_for_memory_waits_once() {
        let (mut torrent, key, _) = seeding();
        torrent.peers.get_mut(key).expect("there").am_choking = false;
        let mut pool = Pool::phantom(0);
        let (mut out, mut grant) = (SendBuf::default(), Grant::of(u64::MAX));
        for _ in 0..100 {
            let (piece, begin, length) = (3, 0, BLOCK_LEN);
            say(&mut torrent, &mut pool, key, &Message::Request { piece, begin, length });
            torrent.write(Instant::ZERO, key, &mut out, &mut grant, &mut pool);
            say(&mut torrent, &mut pool, key, &Message::Cancel { piece, begin, length });
        }
        assert_eq!(torrent.starved, [key]);
        torrent.disconnect(Instant::ZERO, key, Disconnect::Idle, &mut pool);
        assert_eq!(torrent.starved, []);
    }

    /// Whoever asked and read nothing kept the memory of what waited for it, as long as it was heard of.
    #[test]
    fn who_reads_nothing_is_left() {
        let (mut torrent, key, mut pool) = seeding();
        let second = |n: u64| Instant::ZERO + std::time::Duration::from_secs(n);
        let mut out = SendBuf::default();
        for n in 0..400 {
            torrent.read(second(n), key, crate::base::slab::Chunk::Bytes(&[0; 4]), &mut pool);
            torrent.want_write(key);
            torrent.handle(second(n), Input::Timeout, &mut pool);
            if n % 100 == 0 && n < 300 {
                torrent.write(second(n), key, &mut out, &mut Grant::of(0), &mut pool);
            }
            let is_here = n <= 321;
            assert_eq!(torrent.peers.get(key).is_some(), is_here, "{n}");
            if !is_here {
                break;
            }
        }
        let left = std::iter::from_fn(|| torrent.poll())
            .any(|output| matches!(output, Output::Disconnect { reason: Disconnect::Unread, .. }));
        assert!(left);
    }

    /// Peers whose requests failed one by one used to be left unchoked.
    #[test]
    fn while_the_storage_is_gone_all_are_choked_and_what_they_asked_for_is_refused() {
        let (mut torrent, key, mut pool) = seeding();
        let now = Instant::ZERO;
        let said = |torrent: &mut Torrent| {
            let peer = torrent.peers.get_mut(key).expect("it stays");
            (peer.am_choking, std::mem::take(&mut peer.out))
        };
        let rejects = |out: &[u8]| out.windows(5).filter(|w| *w == [0, 0, 0, 13, 16]).count();
        let request = |piece, begin| Message::Request { piece, begin, length: BLOCK_LEN / 2 };
        say(&mut torrent, &mut pool, key, &Message::Interested);
        assert!(!said(&mut torrent).0, "there is room for it");
        // The second half of a piece that has been begun waits among others.
        for (piece, begin) in [(3, BLOCK_LEN / 2), (4, 0), (4, BLOCK_LEN / 2)] {
            say(&mut torrent, &mut pool, key, &request(piece, begin));
        }
        let fault = DiskFault {
            kind: FaultKind::Gone,
            operation: "open".to_owned(),
            file: "a".to_owned(),
            cause: "no such file".to_owned(),
        };
        torrent.handle(now, Input::StorageGone(fault.clone()), &mut pool);
        let (am_choking, out) = said(&mut torrent);
        assert!(am_choking && out.starts_with(&[0, 0, 0, 1, 0]), "{out:?}");
        assert_eq!(rejects(&out), 3);
        // Whoever has not heard of it is refused; the tick gives nobody a slot.
        say(&mut torrent, &mut pool, key, &request(5, 0));
        torrent.handle(now, Input::Timeout, &mut pool);
        let (am_choking, out) = said(&mut torrent);
        assert_eq!((am_choking, rejects(&out)), (true, 1));
        let evidence = torrent.snapshot(now).evidence.expect("it has stopped");
        let crate::why::Progress::Failed(trouble) = evidence.progress else {
            panic!("{evidence:?}")
        };
        assert_eq!((trouble.kind, trouble.text), (FaultKind::Gone, fault.to_string()));
        torrent.handle(now, Input::Command(crate::torrent::Command::Resume), &mut pool);
        assert!(!said(&mut torrent).0, "it is served again");
    }

    /// Found by the fuzzer: what had been asked for before was read and sent all the same.
    #[test]
    fn nothing_of_a_lost_piece_is_sent_any_more() {
        let (mut torrent, key, mut pool) = seeding();
        torrent.peers.get_mut(key).expect("there").am_choking = false;
        let request = |piece| Message::Request { piece, begin: 0, length: BLOCK_LEN };
        say(&mut torrent, &mut pool, key, &request(3));
        let (mut out, mut grant) = (SendBuf::default(), Grant::of(u64::MAX));
        torrent.write(Instant::ZERO, key, &mut out, &mut grant, &mut pool);
        let mut outputs = std::iter::from_fn(|| torrent.poll());
        let read = outputs.find_map(|output| match output {
            Output::Disk(DiskJob::Read { peer, run, slab }) => Some((peer, run, slab)),
            _ => None,
        });
        let (peer, run, slab) = read.expect("it is read");
        say(&mut torrent, &mut pool, key, &request(3));
        say(&mut torrent, &mut pool, key, &request(4));
        torrent.lose_piece(PieceIndex(3), FaultKind::Changed);
        let event = DiskEvent::Read { peer, run, slab, result: Ok(()) };
        torrent.handle(Instant::ZERO, Input::Disk(event), &mut pool);
        out.clear(&mut pool);
        torrent.write(Instant::ZERO, key, &mut out, &mut grant, &mut pool);
        assert_eq!(out.payload(), 0);
        let read = |torrent: &mut Torrent| {
            let outputs = std::iter::from_fn(|| torrent.poll());
            let runs = outputs.filter_map(|output| match output {
                Output::Disk(DiskJob::Read { run, .. }) => Some(run.piece),
                _ => None,
            });
            runs.collect::<Vec<_>>()
        };
        assert_eq!(read(&mut torrent), [PieceIndex(4)]);
        let said = &torrent.peers.get(key).expect("there").out;
        let rejects = said.windows(9).filter(|w| *w == [0, 0, 0, 13, 16, 0, 0, 0, 3]).count();
        assert_eq!(rejects, 1, "the one that was read; the other has been told already");
    }
}
