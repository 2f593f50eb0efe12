//! What a peer was asked for and does not send in time: others may have it.
//!
//! A peer is silent when nothing that it was asked for comes; whatever else it says does not count. A piece that
//! is one peer's alone (`blame`) is others' as well when that peer is silent for a while, or cannot be asked for the
//! rest.

use std::time::Duration;

use crate::{
    base::{
        id::PeerKey,
        index::{Block, PieceIndex},
        limits,
        time::Instant,
        units::BLOCK_LEN,
    },
    peer::Peer,
    pieces::PeerView as _,
    why::{Happening, Recent},
    wire::{self, Message},
};

use super::{
    Torrent,
    download::{HOLD, View},
};

/// A piece is one peer's alone for as long as that sends anything so often.
const CLAIM_PATIENCE: Duration = Duration::from_secs(5);

impl Torrent {
    /// Requests of a peer that does not answer them are free for others.
    pub(super) fn time_out_requests(&mut self, now: Instant, key: PeerKey) {
        self.give_up_claims(now, key);
        let Some(peer) = self.peers.get_mut(key) else { return };
        if !is_unanswered(peer, now) {
            return self.time_out_passed_over(now, key);
        }
        let patience = request_patience(peer);
        Recent::note(&mut self.recent, now, Happening::Unanswered, 1);
        peer.forgot = true;
        peer.pipeline.snub();
        if let Some(block) = peer.stop_keeping() {
            self.pieces.abort_block(block, key);
        }
        for Block { piece, begin, length } in peer.requests.iter().map(|r| r.block) {
            wire::encode::encode(&Message::Cancel { piece: piece.0, begin, length }, &mut peer.out);
        }
        // Ask it for one block only, and not before the others had a chance.
        peer.hold_until = now + patience / 2;
        self.does_not_answer(key);
        self.release_requests(key);
        self.want_write(key);
    }

    /// What a peer has alone, and does not send or cannot be asked for, others may have a try at.
    fn give_up_claims(&mut self, now: Instant, key: PeerKey) {
        let Some(peer) = self.peers.get(key) else { return };
        let view = View { peer, key, blame: &self.blame };
        let silent = silence(peer, now) >= CLAIM_PATIENCE;
        let is_asked = |piece| peer.requests.iter().any(|request| request.block.piece == piece);
        let is_idle = |&piece: &PieceIndex| silent || !view.offers(piece) && !is_asked(piece);
        let idle: Vec<_> = self.blame.claims(key).into_iter().filter(is_idle).collect();
        for piece in idle {
            self.blame.give_up(piece, key);
            self.freed = true;
        }
    }

    /// Requests that a peer has passed over, for it has answered such as came long after them.
    fn time_out_passed_over(&mut self, now: Instant, key: PeerKey) {
        let Some(peer) = self.peers.get_mut(key) else { return };
        let Some(oldest) = peer.requests.oldest() else { return };
        let patience = request_patience(peer);
        if peer.answered.since(oldest.sent) < patience {
            return;
        }
        let arriving = peer.arriving.and_then(|arriving| arriving.block);
        let is_passed_over =
            |block: Block, sent| peer.answered.since(sent) >= patience && arriving != Some(block);
        let passed_over = peer.requests.iter().filter(|r| is_passed_over(r.block, r.sent));
        let passed_over: Vec<Block> = passed_over.map(|request| request.block).collect();
        for &block in &passed_over {
            let Block { piece, begin, length } = block;
            peer.requests.take(block);
            wire::encode::encode(&Message::Cancel { piece: piece.0, begin, length }, &mut peer.out);
            self.pieces.release(block, key);
            self.blame.give_up(piece, key);
        }
        if !passed_over.is_empty() {
            // The others first.
            peer.hold_until = now + HOLD;
            Recent::note(&mut self.recent, now, Happening::Unanswered, 1);
            peer.forgot = true;
            self.freed = true;
            self.want_write(key);
        }
    }
}

/// How long a peer has been silent with requests outstanding.
fn silence(peer: &Peer, now: Instant) -> Duration {
    let oldest = peer.requests.oldest();
    oldest.map_or(Duration::ZERO, |oldest| now.since(oldest.sent.max(peer.last_block)))
}

/// Whether that is too long.
pub(super) fn is_unanswered(peer: &Peer, now: Instant) -> bool {
    let silence = silence(peer, now);
    silence > Duration::ZERO && silence >= request_patience(peer)
}

/// Whether it has been silent for half of that: what it is asked for now would soon be given to others.
pub(super) fn is_overdue(peer: &Peer, now: Instant) -> bool {
    silence(peer, now) > request_patience(peer) / 2
}

/// How long a peer may be silent with requests outstanding: four times what its queue should take,
/// between 20 s and a minute; a peer that never sent anything gets the least. (Half of that was tried: an
/// honest one whose uplink is full answers a newcomer after 15 s.)
fn request_patience(peer: &Peer) -> Duration {
    let queue = f64::from(peer.requests.listed() as u32) * f64::from(BLOCK_LEN);
    let rate = peer.pipeline.rate();
    let expected =
        if rate > 0.0 { Duration::from_secs_f64((queue / rate).min(60.0)) } else { Duration::ZERO };
    (expected * 4).clamp(limits::HANDSHAKE_TIMEOUT * 2, Duration::from_secs(60))
}

#[cfg(test)]
mod tests {
    use super::{super::messages::tests::*, *};
    use crate::{
        base::{bitfield::Bitfield, slab::Chunk, slab::Pool},
        torrent::Input,
    };

    fn after(seconds: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(seconds)
    }

    /// Nothing is here, and a seed lets us ask.
    fn asking() -> (Torrent, PeerKey, Pool) {
        let (mut torrent, mut pool) = (torrent(Bitfield::empty(64)), Pool::phantom(4 << 20));
        let key = greet(&mut torrent, &mut pool, 1);
        say(&mut torrent, &mut pool, key, &Message::HaveAll);
        say(&mut torrent, &mut pool, key, &Message::Unchoke);
        (torrent, key, pool)
    }

    fn say_at(now: Instant, t: &mut Torrent, pool: &mut Pool, key: PeerKey, message: &Message<'_>) {
        let mut bytes = Vec::new();
        wire::encode::encode(message, &mut bytes);
        t.read(now, key, Chunk::Bytes(&bytes), pool);
    }

    fn send_at(now: Instant, torrent: &mut Torrent, pool: &mut Pool, key: PeerKey, block: Block) {
        let header = wire::encode::piece_header(block.piece.0, block.begin, block.length);
        torrent.read(now, key, Chunk::Bytes(&header), pool);
        torrent.read(now, key, Chunk::Phantom { length: block.length, tag: 1 }, pool);
    }

    fn asked(torrent: &Torrent, key: PeerKey) -> Vec<Block> {
        torrent.peers.get(key).expect("it is here").requests.iter().map(|r| r.block).collect()
    }

    /// Whoever let us ask again and again was waited for without an end.
    #[test]
    fn nothing_but_what_it_was_asked_for_is_an_answer() {
        let (mut torrent, key, mut pool) = asking();
        let first = asked(&torrent, key);
        assert_eq!(first.len(), 4);
        for seconds in 1..=20 {
            say_at(after(seconds), &mut torrent, &mut pool, key, &Message::Unchoke);
            torrent.handle(after(seconds), Input::Timeout, &mut pool);
        }
        assert!(torrent.peers.get(key).is_some_and(|peer| peer.snubbed));
        assert!(first.iter().all(|&block| torrent.pieces.wants(block)));
    }

    /// Let in again by a peer that still owed a block, we asked it for many others, took all back when that block
    /// timed out a moment later, and asked elsewhere while they were on their way to it.
    #[test]
    fn one_that_owes_for_long_is_asked_for_nothing_more() {
        for (seconds, more) in [(9, true), (11, false)] {
            let (mut torrent, key, mut pool) = asking();
            let [owed, rest @ ..] = &asked(&torrent, key)[..] else { unreachable!("four") };
            say(&mut torrent, &mut pool, key, &Message::Choke);
            for &Block { piece, begin, length } in rest {
                let reject = Message::RejectRequest { piece: piece.0, begin, length };
                say(&mut torrent, &mut pool, key, &reject);
            }
            assert_eq!(asked(&torrent, key), [*owed]);
            say_at(after(seconds), &mut torrent, &mut pool, key, &Message::Unchoke);
            assert_eq!(asked(&torrent, key).len() > 1, more, "{seconds} s");
        }
    }

    /// One block that never came, of a peer that sent all others, held up what was read in order.
    #[test]
    fn what_is_passed_over_is_asked_for_again() {
        let (mut torrent, key, mut pool) = asking();
        let withheld = asked(&torrent, key)[1];
        for seconds in 1..=19 {
            let now = after(seconds);
            let next = asked(&torrent, key).into_iter().find(|&block| block != withheld);
            send_at(now, &mut torrent, &mut pool, key, next.expect("others are asked for"));
            torrent.handle(now, Input::Timeout, &mut pool);
            assert!(asked(&torrent, key).contains(&withheld), "{seconds}");
        }
        for seconds in 20..=60 {
            let now = after(seconds);
            let next = asked(&torrent, key).into_iter().find(|&block| block != withheld);
            next.into_iter().for_each(|b| send_at(now, &mut torrent, &mut pool, key, b));
            torrent.handle(now, Input::Timeout, &mut pool);
        }
        let peer = torrent.peers.get(key).expect("still here");
        assert!(peer.requests.oldest().is_none_or(|oldest| oldest.sent > after(19)));
        torrent.check_invariants();
    }

    /// A peer that chokes and sends what it was asked for to its end, as it may, kept others from the rest.
    #[test]
    fn a_piece_is_left_to_others_by_one_that_cannot_be_asked_any_more() {
        let (mut torrent, key, mut pool) = asking();
        let first = asked(&torrent, key)[0].piece;
        let suspect = PieceIndex((first.0 + 32) % 64);
        torrent.blame.failed(Instant::ZERO, suspect, &[None, None], &[1, 2]);
        torrent.blame.claim(suspect, key, None);
        let other = greet(&mut torrent, &mut pool, 2);
        let barred = |torrent: &Torrent| torrent.blame.is_barred(suspect, other);
        torrent.handle(after(1), Input::Timeout, &mut pool);
        assert!(barred(&torrent), "it can be asked");
        say_at(after(1), &mut torrent, &mut pool, key, &Message::Choke);
        for block in asked(&torrent, key) {
            send_at(after(1), &mut torrent, &mut pool, key, block);
        }
        assert!(asked(&torrent, key).is_empty() && barred(&torrent));
        torrent.handle(after(2), Input::Timeout, &mut pool);
        assert!(!barred(&torrent));
    }
}
