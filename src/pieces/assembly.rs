//! One unfinished piece: the state of its blocks and the slabs they lie in.
//!
//! Invariant: a block is in one state; `free` and `done` count them; a received block lies in a slab
//! or is on its way to the disk. Which block to ask for is the picker's business.

use std::net::SocketAddr;

use crate::base::{
    id::PeerKey,
    index::{Block, PieceIndex},
    slab::{Chunk, Pool, Purpose, Slab},
    units::BLOCK_LEN,
};

use super::job::Held;

/// Who sent a block.
pub type Sender = SocketAddr;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BlockState {
    /// Nobody is asked.
    Free,
    /// Asked for at this peer first; more in `Open::again`.
    Outstanding(PeerKey),
    /// In a slab, or on its way to the disk.
    Received,
    /// In the file, not verified.
    Spilled,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct BlockSlot {
    pub(super) state: BlockState,
    /// Place in `Open::senders`, once received; beyond its end for a block of an earlier run.
    sender: u16,
}

#[derive(Debug, Default)]
struct Window {
    slab: Option<Slab>,
    /// Blocks whose bytes are in `slab`.
    filled: u32,
    /// Early writes in flight.
    spilling: u8,
}

/// A piece that is untouched so many times in a row is closed.
const UNTOUCHED_LOOKS: u8 = 30;

/// One unfinished piece.
#[derive(Debug)]
pub(super) struct Open {
    piece: PieceIndex,
    length: u32,
    /// Bytes of one window.
    window_len: u32,
    blocks: Box<[BlockSlot]>,
    windows: Box<[Window]>,
    senders: Vec<Sender>,
    /// Second requests, in endgame.
    again: Vec<(u32, PeerKey)>,
    /// Blocks whose payload is arriving now.
    receiving: Vec<(u32, PeerKey)>,
    free: u32,
    done: u32,
    /// Windows from the start on that were taken to be written early.
    ahead: u32,
    verifying: bool,
    /// How often it was looked at in vain.
    untouched: u8,
}

impl Open {
    pub(super) fn new(piece: PieceIndex, length: u32, window_len: u32) -> Self {
        let blocks = length.div_ceil(BLOCK_LEN);
        let slot = BlockSlot { state: BlockState::Free, sender: 0 };
        Open {
            piece,
            length,
            window_len,
            blocks: vec![slot; blocks as usize].into(),
            windows: (0..length.div_ceil(window_len)).map(|_| Window::default()).collect(),
            senders: Vec::new(),
            again: Vec::new(),
            receiving: Vec::new(),
            free: blocks,
            done: 0,
            ahead: 0,
            verifying: false,
            untouched: 0,
        }
    }

    /// Takes blocks for received that an earlier run left in the files.
    pub(super) fn restore(&mut self, blocks: &[u32]) {
        for &block in blocks {
            if let Some(slot) = self.blocks.get_mut(block as usize)
                && slot.state == BlockState::Free
            {
                *slot = BlockSlot { state: BlockState::Spilled, sender: u16::MAX };
                self.free -= 1;
                self.done += 1;
            }
        }
    }

    /// Blocks that are in the files, ascending.
    pub(super) fn in_files(&self) -> Vec<u32> {
        let blocks = (0..).zip(&self.blocks);
        blocks.filter(|(_, b)| b.state == BlockState::Spilled).map(|(i, _)| i).collect()
    }

    pub(super) const fn piece(&self) -> PieceIndex {
        self.piece
    }

    pub(super) const fn free(&self) -> u32 {
        self.free
    }

    pub(super) const fn is_complete(&self) -> bool {
        self.done == self.blocks.len() as u32
    }

    /// Whether all blocks are here, and nobody has taken the slabs.
    pub(super) fn waits_for_check(&self) -> bool {
        self.is_complete() && !self.verifying && self.windows.iter().all(|w| w.spilling == 0)
    }

    pub(super) const fn is_verifying(&self) -> bool {
        self.verifying
    }

    /// Whether none of it was here, arriving or asked for when it was looked at the last [`UNTOUCHED_LOOKS`] times:
    /// who was asked before may answer late.
    pub(super) fn stays_untouched(&mut self) -> bool {
        let untouched = self.free as usize == self.blocks.len() && self.receiving.is_empty();
        self.untouched = if untouched { self.untouched.saturating_add(1) } else { 0 };
        self.untouched >= UNTOUCHED_LOOKS
    }

    pub(super) fn has_done_blocks(&self) -> bool {
        self.blocks.iter().any(|b| b.state == BlockState::Spilled)
            || self.windows.iter().any(|w| w.spilling > 0)
    }

    pub(super) fn block(&self, block: Block) -> &BlockSlot {
        &self.blocks[index(block)]
    }

    /// Requests for blocks that are outstanding, second ones included.
    pub(super) fn outstanding(&self) -> usize {
        let is_outstanding = |slot: &&BlockSlot| matches!(slot.state, BlockState::Outstanding(_));
        self.blocks.iter().filter(is_outstanding).count() + self.again.len()
    }

    /// Whether `block` is outstanding at `peer`.
    pub(super) fn is_outstanding(&self, block: Block, peer: PeerKey) -> bool {
        self.block(block).state == BlockState::Outstanding(peer)
            || self.again.contains(&(index(block) as u32, peer))
    }

    /// Blocks outstanding at `peer`, second requests included.
    pub(super) fn outstanding_at(&self, peer: PeerKey) -> impl Iterator<Item = u32> + '_ {
        let first = self.blocks.iter().enumerate().filter_map(move |(i, b)| {
            (b.state == BlockState::Outstanding(peer)).then_some(i as u32)
        });
        let again = self.again.iter().filter_map(move |&(i, p)| (p == peer).then_some(i));
        first.chain(again)
    }

    /// Whether `peer` sent or is asked for any block of this piece.
    pub(super) fn involves(&self, peer: PeerKey) -> bool {
        self.blocks.iter().any(|b| b.state == BlockState::Outstanding(peer))
    }

    /// Whether another peer works on this piece, and `peer` does not.
    pub(super) fn is_elsewhere(&self, peer: PeerKey) -> bool {
        let is_asked = |b: &BlockSlot| matches!(b.state, BlockState::Outstanding(_));
        self.blocks.iter().any(is_asked) && !self.involves(peer)
    }

    /// Whether nobody but `peer`, which is at `addr`, sent or is asked for any block of this piece.
    pub(super) fn is_only(&self, peer: PeerKey, addr: Sender) -> bool {
        let others = self.blocks.iter().any(|block| match block.state {
            BlockState::Outstanding(first) => first != peer,
            BlockState::Free => false,
            _ => self.senders.get(usize::from(block.sender)) != Some(&addr),
        });
        !others && self.again.iter().all(|&(_, again)| again == peer)
    }

    /// Asks `peer` for free blocks that it is not sending unasked, at most `want`, in order and if so only of one
    /// window; puts their numbers into `out`. False when the pool had no slab for one.
    pub(super) fn ask(
        &mut self,
        peer: PeerKey,
        want: u32,
        one_window: bool,
        pool: &mut Pool,
        out: &mut Vec<u32>,
    ) -> bool {
        let mut left = want.min(self.free);
        let per_window = self.window_len / BLOCK_LEN;
        let mut first = None;
        for i in 0..self.blocks.len() {
            if left == 0 {
                break;
            }
            if self.blocks[i].state != BlockState::Free || self.is_sending(i, peer) {
                continue;
            }
            let w = i as u32 / per_window;
            if *first.get_or_insert(w) != w && one_window {
                break;
            }
            let window = &mut self.windows[w as usize];
            if window.slab.is_none() {
                let rest = (self.length - w * self.window_len).min(self.window_len);
                let Some(slab) = pool.take(rest, Purpose::Download) else { return false };
                window.slab = Some(slab);
                window.filled = 0;
            }
            self.blocks[i].state = BlockState::Outstanding(peer);
            self.free -= 1;
            left -= 1;
            out.push(i as u32);
        }
        true
    }

    fn is_sending(&self, i: usize, peer: PeerKey) -> bool {
        self.receiving.contains(&(i as u32, peer))
    }

    /// Asks `peer` for a block that is outstanding elsewhere and not yet asked for twice.
    pub(super) fn ask_again(&mut self, peer: PeerKey) -> Option<u32> {
        let i = self.blocks.iter().enumerate().position(|(i, b)| {
            matches!(b.state, BlockState::Outstanding(first) if first != peer)
                && !self.again.iter().any(|&(n, _)| n == i as u32)
                && !self.is_sending(i, peer)
        })? as u32;
        self.again.push((i, peer));
        Some(i)
    }

    pub(super) fn release(&mut self, block: Block, peer: PeerKey) {
        let i = index(block) as u32;
        self.receiving.retain(|&r| r != (i, peer));
        if let Some(at) = self.again.iter().position(|&a| a == (i, peer)) {
            self.again.swap_remove(at);
            return;
        }
        if self.blocks[i as usize].state == BlockState::Outstanding(peer) {
            if let Some(at) = self.again.iter().position(|&(n, _)| n == i) {
                let (_, next) = self.again.swap_remove(at);
                self.blocks[i as usize].state = BlockState::Outstanding(next);
            } else {
                self.blocks[i as usize].state = BlockState::Free;
                self.free += 1;
            }
        }
    }

    pub(super) fn begin_block(&mut self, block: Block, peer: PeerKey, asked: bool) -> bool {
        let i = index(block) as u32;
        let window = &self.windows[(block.begin / self.window_len) as usize];
        let wanted =
            matches!(self.blocks[i as usize].state, BlockState::Free | BlockState::Outstanding(_));
        if !wanted || window.slab.is_none() {
            return false;
        }
        match self.receiving.iter_mut().find(|(n, _)| *n == i) {
            // Whoever began first may never end.
            Some((_, first)) if asked => *first = peer,
            Some(_) => return false,
            None => self.receiving.push((i, peer)),
        }
        true
    }

    pub(super) fn store(&mut self, block: Block, at: u32, chunk: Chunk<'_>, peer: PeerKey) -> bool {
        if !self.receiving.contains(&(index(block) as u32, peer)) {
            return false;
        }
        let w = block.begin / self.window_len;
        let begin = block.begin - w * self.window_len;
        match &mut self.windows[w as usize].slab {
            Some(slab) => {
                slab.put(begin + at, chunk);
                true
            }
            None => false,
        }
    }

    pub(super) fn end_block(
        &mut self,
        block: Block,
        sender: Sender,
        peer: PeerKey,
        others: &mut Vec<PeerKey>,
    ) -> bool {
        let i = index(block) as u32;
        let Some(at) = self.receiving.iter().position(|&r| r == (i, peer)) else { return false };
        self.receiving.swap_remove(at);
        let sender = self.senders.iter().position(|&s| s == sender).unwrap_or_else(|| {
            self.senders.push(sender);
            self.senders.len() - 1
        });
        let slot = &mut self.blocks[i as usize];
        match slot.state {
            BlockState::Free => self.free -= 1,
            BlockState::Outstanding(first) if first != peer => others.push(first),
            _ => {}
        }
        slot.state = BlockState::Received;
        slot.sender = u16::try_from(sender).unwrap_or(u16::MAX);
        self.again.retain(|&(n, p)| {
            if n == i && p != peer {
                others.push(p);
            }
            n != i
        });
        let per_window = self.window_len / BLOCK_LEN;
        self.windows[(i / per_window) as usize].filled |= 1 << (i % per_window);
        self.done += 1;
        true
    }

    pub(super) fn abort_block(&mut self, block: Block, peer: PeerKey) {
        self.receiving.retain(|&r| r != (index(block) as u32, peer));
    }

    /// All blocks are here: takes the slabs for the check. `None` while an early write is in flight.
    pub(super) fn close(&mut self) -> Option<Vec<Held>> {
        debug_assert!(self.is_complete());
        if self.verifying || self.windows.iter().any(|w| w.spilling > 0) {
            return None;
        }
        self.verifying = true;
        let len = self.window_len;
        let held = self.windows.iter_mut().enumerate().filter_map(|(w, window)| {
            let slab = window.slab.take()?;
            Some(Held { begin: w as u32 * len, filled: std::mem::take(&mut window.filled), slab })
        });
        Some(held.collect())
    }

    /// The first window that was not taken yet, if every block of it is in its slab.
    pub(super) fn take_next_window(&mut self) -> Option<Held> {
        let held = self.take_full_window(self.ahead)?;
        self.ahead += 1;
        Some(held)
    }

    /// The window around `block`, if every block of it is in its slab.
    pub(super) fn take_window_of(&mut self, block: Block) -> Option<Held> {
        self.take_full_window(block.begin / self.window_len)
    }

    fn take_full_window(&mut self, w: u32) -> Option<Held> {
        let begin = w * self.window_len;
        let window = self.windows.get_mut(w as usize)?;
        let blocks = (self.length - begin).min(self.window_len).div_ceil(BLOCK_LEN);
        let full = u32::MAX >> (32 - blocks);
        if window.filled != full || self.verifying {
            return None;
        }
        let slab = window.slab.take()?;
        window.filled = 0;
        window.spilling += 1;
        Some(Held { begin, filled: full, slab })
    }

    /// A window in which nothing is outstanding or arriving.
    pub(super) fn take_quiet_window(&mut self) -> Option<Held> {
        if self.verifying {
            return None;
        }
        let per_window = (self.window_len / BLOCK_LEN) as usize;
        for (w, window) in self.windows.iter_mut().enumerate() {
            if window.slab.is_none() {
                continue;
            }
            let range = w * per_window..((w + 1) * per_window).min(self.blocks.len());
            let busy = self.blocks[range.clone()]
                .iter()
                .any(|b| matches!(b.state, BlockState::Outstanding(_)))
                || self.receiving.iter().any(|&(i, _)| range.contains(&(i as usize)));
            if !busy {
                let slab = window.slab.take()?;
                let filled = std::mem::take(&mut window.filled);
                window.spilling += u8::from(filled != 0);
                return Some(Held { begin: w as u32 * self.window_len, filled, slab });
            }
        }
        None
    }

    pub(super) fn spilled(&mut self, begin: u32, filled: u32, written: bool) {
        let w = (begin / self.window_len) as usize;
        self.windows[w].spilling = self.windows[w].spilling.saturating_sub(1);
        if !written {
            self.ahead = self.ahead.min(w as u32);
        }
        let first = begin / BLOCK_LEN;
        for i in (0..32).filter(|i| filled & (1 << i) != 0) {
            let slot = &mut self.blocks[(first + i) as usize];
            if slot.state != BlockState::Received {
                continue;
            }
            if written {
                slot.state = BlockState::Spilled;
            } else {
                slot.state = BlockState::Free;
                self.free += 1;
                self.done -= 1;
            }
        }
    }

    pub(super) fn drain_slabs(&mut self, pool: &mut Pool) {
        for window in &mut self.windows {
            if let Some(slab) = window.slab.take() {
                pool.give(slab);
            }
        }
    }

    /// Blocks that were in drained slabs, or asked for, are free again.
    pub(super) fn forget_unwritten(&mut self) {
        self.again.clear();
        self.receiving.clear();
        let per_window = (self.window_len / BLOCK_LEN) as usize;
        for (i, slot) in self.blocks.iter_mut().enumerate() {
            let window = &self.windows[i / per_window];
            let lost = match slot.state {
                BlockState::Outstanding(_) => true,
                BlockState::Received => {
                    let gone = window.filled & (1 << (i % per_window)) != 0;
                    self.done -= u32::from(gone);
                    gone
                }
                BlockState::Free | BlockState::Spilled => false,
            };
            if lost {
                slot.state = BlockState::Free;
                self.free += 1;
            }
        }
        self.windows.iter_mut().for_each(|w| w.filled = 0);
    }

    /// Who sent the blocks that are here, one by one, except what an earlier run left.
    pub(super) fn senders(&self) -> impl Iterator<Item = Sender> + '_ {
        let done =
            |slot: &&BlockSlot| matches!(slot.state, BlockState::Received | BlockState::Spilled);
        let blocks = self.blocks.iter().filter(done);
        blocks.filter_map(|slot| self.senders.get(usize::from(slot.sender)).copied())
    }

    /// Of the blocks that are here nobody is known to have sent any.
    pub(super) fn forget_senders(&mut self) {
        self.blocks.iter_mut().for_each(|slot| slot.sender = u16::MAX);
    }

    /// Blocks that a sender of whom `is_guilty` sent are free again, unless they are on their way to the disk.
    pub(super) fn take_back(&mut self, is_guilty: impl Fn(Sender) -> bool) {
        if self.verifying {
            return;
        }
        let per_window = (self.window_len / BLOCK_LEN) as usize;
        for (i, slot) in self.blocks.iter_mut().enumerate() {
            let window = &mut self.windows[i / per_window];
            if matches!(slot.state, BlockState::Received | BlockState::Spilled)
                && window.spilling == 0
                && self.senders.get(usize::from(slot.sender)).copied().is_some_and(&is_guilty)
            {
                window.filled &= !(1 << (i % per_window));
                slot.state = BlockState::Free;
                self.free += 1;
                self.done -= 1;
            }
        }
    }

    /// Who sent each block, in order; `None` where an earlier run got it.
    pub(super) fn into_senders(self) -> Vec<Option<Sender>> {
        let senders = self.senders;
        self.blocks.iter().map(|b| senders.get(usize::from(b.sender)).copied()).collect()
    }

    pub(super) fn check_invariants(&self) {
        let count = |f: fn(&BlockState) -> bool| self.blocks.iter().filter(|b| f(&b.state)).count();
        assert_eq!(count(|s| *s == BlockState::Free), self.free as usize);
        let done = count(|s| matches!(s, BlockState::Received | BlockState::Spilled));
        assert_eq!(done, self.done as usize);
        assert!(self.again.iter().all(|&(i, p)| matches!(
            self.blocks[i as usize].state,
            BlockState::Outstanding(first) if first != p
        )));
    }
}

/// The number of a block of ours inside its piece.
const fn index(block: Block) -> usize {
    (block.begin / BLOCK_LEN) as usize
}
