//! Our requests that one peer has not answered: in the order they were sent.
//!
//! Invariant: a block is listed at most once. A cancelled request stays listed until the peer sends
//! the block, rejects it (BEP 6) or times out, because until then it may still come.

use std::collections::VecDeque;

use crate::base::{
    index::{Block, PieceIndex},
    time::Instant,
};

/// One unanswered request.
#[derive(Debug, Clone, Copy)]
pub struct Request {
    /// What we asked for.
    pub block: Block,
    /// When.
    pub sent: Instant,
    /// We took it back.
    pub cancelled: bool,
}

/// Unanswered requests of one peer.
#[derive(Debug, Default)]
pub struct Requests {
    queue: VecDeque<Request>,
    cancelled: u32,
}

impl Requests {
    /// Requests not answered and not cancelled.
    pub fn len(&self) -> u32 {
        self.queue.len() as u32 - self.cancelled
    }

    /// Nothing is asked for, or all of it was cancelled.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All requests the peer may still answer, cancelled ones too.
    pub fn listed(&self) -> usize {
        self.queue.len()
    }

    /// Records a request.
    pub fn push(&mut self, block: Block, now: Instant) {
        self.queue.push_back(Request { block, sent: now, cancelled: false });
    }

    /// The peer answered with `block`: takes the request off.
    pub fn take(&mut self, block: Block) -> Option<Request> {
        let at = self.queue.iter().position(|r| r.block == block)?;
        let request = self.queue.remove(at)?;
        self.cancelled -= u32::from(request.cancelled);
        Some(request)
    }

    /// Marks a request as taken back; true if it was listed and not cancelled yet.
    pub fn cancel(&mut self, block: Block) -> bool {
        match self.queue.iter_mut().find(|r| r.block == block && !r.cancelled) {
            Some(request) => {
                request.cancelled = true;
                self.cancelled += 1;
                true
            }
            None => false,
        }
    }

    /// Whether `block` is listed.
    pub fn contains(&self, block: Block) -> bool {
        self.queue.iter().any(|r| r.block == block)
    }

    /// Whether requests for blocks of `piece` were taken back, and are not answered yet.
    pub fn are_taken_back(&self, piece: PieceIndex) -> bool {
        self.cancelled > 0 && self.queue.iter().any(|r| r.cancelled && r.block.piece == piece)
    }

    /// The oldest unanswered request.
    pub fn oldest(&self) -> Option<&Request> {
        self.queue.front()
    }

    /// All, oldest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Request> + '_ {
        self.queue.iter()
    }

    /// Forgets those for blocks of `piece`; gives the blocks back.
    pub fn drain_piece(&mut self, piece: PieceIndex) -> Vec<Block> {
        let of_piece = |r: &&Request| r.block.piece == piece;
        let blocks: Vec<Block> = self.queue.iter().filter(of_piece).map(|r| r.block).collect();
        for &block in &blocks {
            self.take(block);
        }
        blocks
    }

    /// Forgets all of them; gives them back.
    pub fn drain(&mut self) -> impl Iterator<Item = Request> + '_ {
        self.cancelled = 0;
        self.queue.drain(..)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_taken_back_is_known_until_it_is_answered() {
        let [a, b] = [3, 4].map(|piece| Block { piece: PieceIndex(piece), begin: 0, length: 1 });
        let mut requests = Requests::default();
        [a, b].iter().for_each(|&block| requests.push(block, Instant::ZERO));
        let taken_back =
            |requests: &Requests| [a, b].map(|block| requests.are_taken_back(block.piece));
        assert_eq!(taken_back(&requests), [false, false]);
        assert!(requests.cancel(a));
        assert_eq!((taken_back(&requests), requests.len()), ([true, false], 1));
        assert!(requests.take(a).is_some_and(|request| request.cancelled));
        assert_eq!(taken_back(&requests), [false, false]);
    }
}
