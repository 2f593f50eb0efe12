//! What one peer asked of us and has not got yet: requests, reads under way, runs ready to leave.
//!
//! A *run* is a row of neighbouring requests of one piece that is read in one go. Whether the peer
//! may ask at all is decided in `torrent`.

use std::collections::VecDeque;

use crate::base::{
    index::{Block, PieceIndex},
    limits,
    slab::{Pool, SLAB_LEN, Slab},
};

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// It waits its turn.
    Queued,
    /// Too many wait already.
    TooMany,
}

/// A run that has been read.
#[derive(Debug)]
pub struct Ready {
    /// Its bytes, from the start of the slab.
    pub slab: Slab,
    /// The requests it answers, neighbours in order.
    pub blocks: Vec<Block>,
}

/// What one peer asked of us.
#[derive(Debug, Default)]
pub struct Uploads {
    queue: VecDeque<Block>,
    /// Runs being read, in order, with the requests each answers.
    reading: VecDeque<(Block, Vec<Block>)>,
    reading_bytes: u32,
    ready: VecDeque<Ready>,
    ready_bytes: u32,
}

impl Uploads {
    /// Takes a request.
    pub fn ask(&mut self, block: Block) -> Asked {
        if self.queue.len() >= limits::MAX_PEER_REQUESTS {
            return Asked::TooMany;
        }
        self.queue.push_back(block);
        Asked::Queued
    }

    /// The peer takes a request back; true if it had not been started.
    pub fn cancel(&mut self, block: Block) -> bool {
        match self.queue.iter().position(|&b| b == block) {
            Some(at) => self.queue.remove(at).is_some(),
            None => false,
        }
    }

    /// Requests not started.
    pub fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// Bytes of memory, slabs not counted.
    pub fn held(&self) -> usize {
        let reading = self.reading.iter().map(|(_, blocks)| blocks.len() + 1);
        let ready = self.ready.iter().map(|ready| ready.blocks.len() + 1);
        (self.queue.len() + reading.chain(ready).sum::<usize>()) * size_of::<Block>()
    }

    /// Bytes being read or ready to leave.
    pub const fn under_way(&self) -> u32 {
        self.reading_bytes + self.ready_bytes
    }

    /// Nothing waits and nothing is under way.
    pub fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.reading.is_empty() && self.ready.is_empty()
    }

    /// The next run of at most `bytes` (at least one request, whatever its length).
    pub fn next_run(&self, bytes: u32) -> Option<Block> {
        let mut requests = self.queue.iter();
        let mut run = *requests.next()?;
        for next in requests {
            let longer = run.length + next.length;
            let joins = next.piece == run.piece && next.begin == run.end();
            if !joins || longer > bytes.min(SLAB_LEN) {
                break;
            }
            run.length = longer;
        }
        Some(run)
    }

    /// The read of `run` (as `next_run` gave it) starts.
    pub fn start(&mut self, run: Block) {
        let mut blocks = Vec::new();
        let mut end = run.begin;
        while end < run.end() {
            let Some(block) = self.queue.pop_front() else { break };
            end = block.end();
            blocks.push(block);
        }
        self.reading_bytes += run.length;
        self.reading.push_back((run, blocks));
    }

    /// A read is done. `slab` is `None` if it failed; the requests then come back to be rejected.
    pub fn finish(&mut self, run: Block, slab: Option<Slab>, pool: &mut Pool) -> Vec<Block> {
        let Some(at) = self.reading.iter().position(|(r, _)| *r == run) else {
            // The peer was choked meanwhile.
            if let Some(slab) = slab {
                pool.give(slab);
            }
            return Vec::new();
        };
        let (_, blocks) = self.reading.remove(at).expect("position is in range");
        self.reading_bytes -= run.length;
        match slab {
            Some(slab) => {
                self.ready_bytes += run.length;
                self.ready.push_back(Ready { slab, blocks });
                Vec::new()
            }
            None => blocks,
        }
    }

    /// The next run to leave.
    pub fn pop_ready(&mut self) -> Option<Ready> {
        let ready = self.ready.pop_front()?;
        self.ready_bytes -= ready.blocks.iter().map(|b| b.length).sum::<u32>();
        Some(ready)
    }

    /// The peer is choked: drops what waits but the rest of the piece being served, so that a piece
    /// begun is not left useless. Gives the dropped requests, to be rejected.
    pub fn choke(&mut self) -> Vec<Block> {
        let current = self.reading.back().map(|(run, _)| run.piece);
        let current = current.or(self.ready.back().and_then(|r| r.blocks.first().map(|b| b.piece)));
        let begun = self.queue.front().filter(|b| b.begin > 0).map(|b| b.piece);
        let current = current.or(begun);
        let (keep, drop) = self.queue.drain(..).partition(|b| Some(b.piece) == current);
        self.queue = keep;
        Vec::from(drop)
    }

    /// Takes out what waits of `piece`.
    pub fn take_waiting(&mut self, piece: PieceIndex) -> Vec<Block> {
        let (drop, keep) = self.queue.drain(..).partition::<VecDeque<_>, _>(|b| b.piece == piece);
        self.queue = keep;
        Vec::from(drop)
    }

    /// Drops what waits, whatever has been begun. Gives the dropped requests.
    pub fn drop_waiting(&mut self) -> Vec<Block> {
        self.queue.drain(..).collect()
    }

    /// Gives up everything; slabs go back to `pool`. Reads under way return into nothing.
    pub fn clear(&mut self, pool: &mut Pool) {
        for ready in self.ready.drain(..) {
            pool.give(ready.slab);
        }
        self.queue.clear();
        self.reading.clear();
        (self.reading_bytes, self.ready_bytes) = (0, 0);
    }
}
