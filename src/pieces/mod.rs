//! The piece manager: which pieces we have, which blocks are asked for, and what to ask next.
//!
//! Invariant: a piece is in exactly one state: *missing*, *waiting* (missing, and its turn has not come or
//! never will), *open* (some blocks asked for or here), *verifying* (all blocks here, the disk is
//! checking) or *had*. It is in the rarity order exactly while it is missing, and a block of an open piece is free, outstanding, received or spilled.
//!
//! Knows peers only by key and through [`PeerView`]; knows nothing of the wire or of time.

pub mod have_log;
pub mod job;

mod assembly;
mod availability;
mod intake;
mod picker;
mod priority;
mod shortlist;

pub use assembly::Sender;
pub use picker::{Offer, PeerView, Wish, abreast};
pub use priority::Priority;

use std::ops::RangeInclusive;

use crate::base::{
    bitfield::Bitfield,
    geometry::Geometry,
    id::PeerKey,
    index::{Block, PartialPiece, PieceIndex},
    rng::Rng,
    slab::Pool,
    units::BLOCK_LEN,
};
use assembly::{BlockState, Open};
use availability::{Availability, State};
use have_log::HaveLog;
use job::{DiskJob, Verdict};
use priority::Classes;
use shortlist::Shortlists;

/// Of a piece above this length full slabs are written early in their order, and hashed on the way: many
/// such pieces side by side are hashed as fast as short ones, and need no more memory.
const LONG_PIECE: u32 = 1 << 20;

/// All pieces of one torrent.
#[derive(Debug)]
pub struct Pieces {
    geometry: Geometry,
    have: Bitfield,
    availability: Availability,
    open: Vec<Option<Box<Open>>>,
    vacant: Vec<u32>,
    /// Open pieces that have a free block: oldest first, or of those fetched side by side whichever was
    /// asked for longest ago.
    startable: Vec<PieceIndex>,
    /// What peers have that are not served by the common order.
    shortlists: Shortlists,
    /// Where pieces are not all wanted alike.
    classes: Option<Box<Classes>>,
    /// No piece before this one is missing.
    cursor: PieceIndex,
    log: HaveLog,
    sequential: bool,
    /// Bytes of one slab of this torrent.
    window: u32,
}

/// What became of a block that arrived.
#[derive(Debug, PartialEq, Eq)]
pub enum Stored {
    /// It completes nothing yet.
    Block,
    /// It was the last one missing: call [`Pieces::close`].
    PieceComplete,
}

/// What became of a checked piece.
#[derive(Debug)]
pub enum Closed {
    /// It is ours now.
    Had,
    /// Its hash is wrong: who sent which block, in order; `None` where an earlier run got it.
    Bad(Vec<Option<Sender>>),
    /// The disk failed: the piece is missing again.
    Lost,
}

impl Pieces {
    /// The pieces of a torrent of which `have` are verified on disk.
    pub fn new(geometry: Geometry, have: Bitfield, sequential: bool, rng: &mut Rng) -> Self {
        let availability = Availability::new(&have, rng);
        let blocks = geometry.piece_length().div_ceil(BLOCK_LEN).next_power_of_two();
        let window = blocks.min(crate::base::slab::SLAB_LEN / BLOCK_LEN) * BLOCK_LEN;
        Pieces {
            geometry,
            have,
            availability,
            open: Vec::new(),
            vacant: Vec::new(),
            startable: Vec::new(),
            shortlists: Shortlists::default(),
            classes: None,
            cursor: PieceIndex(0),
            log: HaveLog::default(),
            sequential,
            window,
        }
    }

    /// Says how much each piece is wanted, one entry for each; before anything is asked for.
    pub fn prioritise(&mut self, priorities: Vec<Priority>) {
        if priorities.iter().all(|&priority| priority == Priority::Normal) {
            return;
        }
        debug_assert_eq!(priorities.len(), self.geometry.pieces() as usize);
        let mut classes = Box::new(Classes::new(priorities, &self.have, &self.geometry));
        // All wait, and the highest class enters.
        for piece in self.geometry.indices() {
            if self.state(piece) == State::Missing {
                classes.set_aside(piece);
                self.availability.set_aside(piece);
            }
        }
        self.classes = Some(classes);
        self.next_class();
    }

    /// Goes on with pieces that an earlier run left unfinished. Gives the checks of those that turn
    /// out to have every block.
    pub fn restore(&mut self, partial: &[PartialPiece]) -> Vec<DiskJob> {
        let mut jobs = Vec::new();
        for &PartialPiece { piece, ref blocks } in partial {
            let is_known = piece.0 < self.geometry.pieces();
            if !is_known || !self.may_start(piece) || blocks.is_empty() {
                continue;
            }
            self.start(piece);
            let open = self.open_piece_mut(piece).expect("it was started");
            open.restore(blocks);
            if open.is_complete() {
                self.startable.retain(|&p| p != piece);
                jobs.extend(self.close(piece, false));
            }
        }
        jobs
    }

    /// Unfinished pieces of which some blocks are in the files, for [`Pieces::restore`]; ascending.
    pub fn partial(&self) -> Vec<PartialPiece> {
        let open = self.open.iter().flatten().filter(|open| !open.is_verifying());
        let mut partial: Vec<PartialPiece> = open
            .map(|open| PartialPiece { piece: open.piece(), blocks: open.in_files() })
            .filter(|partial| !partial.blocks.is_empty())
            .collect();
        partial.sort_unstable_by_key(|partial| partial.piece);
        partial
    }

    /// Lengths and counts.
    pub const fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    /// Verified pieces.
    pub const fn have(&self) -> &Bitfield {
        &self.have
    }

    /// The order in which pieces were verified since the start.
    pub const fn log(&self) -> &HaveLog {
        &self.log
    }

    /// Whether every piece is verified.
    pub const fn is_complete(&self) -> bool {
        self.have.is_full()
    }

    /// Whether every piece that is wanted is verified.
    pub fn is_done(&self) -> bool {
        self.all_lacking() == 0
    }

    /// Whether `piece` is wanted and not there.
    pub fn lacks(&self, piece: PieceIndex) -> bool {
        let is_wanted = |classes: &Classes| classes.of(piece) != Priority::Skip;
        !self.have.has(piece) && self.classes.as_deref().is_none_or(is_wanted)
    }

    /// How many pieces are wanted and not there.
    pub fn all_lacking(&self) -> u32 {
        let all = || self.have.len() - self.have.count();
        self.classes.as_ref().map_or_else(all, |classes| classes.lacking())
    }

    /// How many of `pieces` are wanted and not there.
    pub fn count_lacking(&self, pieces: &Bitfield) -> u32 {
        let skipped = self.classes.as_ref().map_or(0, |classes| {
            classes.skipped().common(Some(pieces), PieceIndex(0)).count() as u32
        });
        self.have.count_lacking(pieces) - skipped
    }

    /// Bytes of all pieces that are wanted, and of those among them that are verified.
    pub fn bytes_wanted(&self) -> (u64, u64) {
        match &self.classes {
            Some(classes) => classes.bytes(),
            None => (self.geometry.total(), self.bytes_had()),
        }
    }

    /// Takes pieces in order from now on, or rarest first.
    pub fn set_sequential(&mut self, sequential: bool) {
        self.sequential = sequential;
    }

    /// Verified bytes.
    pub fn bytes_had(&self) -> u64 {
        let count = u64::from(self.have.count());
        let full = count * u64::from(self.geometry.piece_length());
        match self.geometry.pieces().checked_sub(1).map(PieceIndex) {
            Some(last) if self.have.has(last) => {
                full - u64::from(self.geometry.piece_length() - self.geometry.piece_len(last))
            }
            _ => full,
        }
    }

    /// A peer has `piece` now.
    pub fn peer_got(&mut self, piece: PieceIndex) {
        self.availability.more(piece);
    }

    /// A peer has `piece` no more.
    pub fn peer_lost(&mut self, piece: PieceIndex) {
        self.availability.fewer(piece);
    }

    /// A peer that has `pieces` came, or sent its bitfield.
    pub fn peer_came(&mut self, pieces: &Bitfield) {
        self.availability.add(pieces);
    }

    /// A peer that had `pieces` left, or became a seed.
    pub fn peer_left(&mut self, pieces: &Bitfield) {
        self.availability.subtract(pieces);
    }

    /// A peer with every piece came.
    pub fn seed_came(&mut self) {
        self.availability.seeds += 1;
    }

    /// A peer with every piece left.
    pub fn seed_left(&mut self) {
        self.availability.seeds = self.availability.seeds.saturating_sub(1);
    }

    /// How many connected peers have `piece`.
    pub fn availability(&self, piece: PieceIndex) -> u32 {
        self.availability.of(piece)
    }

    /// How many connected peers have `piece`, seeds aside.
    pub fn copies(&self, piece: PieceIndex) -> u32 {
        u32::from(self.availability.count(piece))
    }

    /// Missing pieces that no connected peer has.
    pub fn nobody_has(&self) -> u32 {
        if self.availability.seeds > 0 {
            return 0;
        }
        let open = self.open.iter().flatten().map(|open| open.piece());
        let open = open.filter(|&piece| self.availability.of(piece) == 0).count();
        let waiting = self.classes.iter().flat_map(|classes| classes.waiting());
        let waiting = waiting.flat_map(Bitfield::iter);
        let waiting = waiting.filter(|&piece| self.availability.of(piece) == 0).count();
        self.availability.in_no_bitfield() + (open + waiting) as u32
    }

    /// The first missing pieces that no connected peer has, as so many ranges at most. Looks at every piece.
    pub fn first_nobody_has(&self, ranges: usize) -> Vec<RangeInclusive<u32>> {
        let mut found: Vec<RangeInclusive<u32>> = Vec::new();
        let all = (0..self.geometry.pieces()).map(PieceIndex);
        for piece in all.filter(|&p| self.lacks(p) && self.availability(p) == 0) {
            match found.last().cloned() {
                Some(last) if last.end() + 1 == piece.0 => {
                    found.pop();
                    found.push(*last.start()..=piece.0);
                }
                _ if found.len() == ranges => break,
                _ => found.push(piece.0..=piece.0),
            }
        }
        found
    }

    /// The peer has left.
    pub fn forget(&mut self, peer: PeerKey) {
        self.shortlists.forget(peer);
    }

    /// Every missing block is asked for or here: what is outstanding may be asked for twice.
    pub fn is_endgame(&self) -> bool {
        self.availability.order_is_empty() && self.startable.is_empty()
    }

    /// Whether `block` would still be of use.
    pub fn wants(&self, block: Block) -> bool {
        match self.state(block.piece) {
            State::Missing | State::Waiting => self.lacks(block.piece),
            State::Had => false,
            State::Open(slot) => {
                let open = self.open[slot as usize].as_ref().expect("open state has a slot");
                !matches!(open.block(block).state, BlockState::Received | BlockState::Spilled)
            }
        }
    }

    /// Requests for blocks that are outstanding, second ones included.
    pub fn outstanding(&self) -> usize {
        self.open.iter().flatten().map(|open| open.outstanding()).sum()
    }

    /// Whether `block` is outstanding at `peer`.
    pub fn is_outstanding(&self, block: Block, peer: PeerKey) -> bool {
        self.open_piece(block.piece).is_some_and(|open| open.is_outstanding(block, peer))
    }

    /// Blocks of `piece` that are outstanding at `peer`.
    pub fn outstanding_in(&self, piece: PieceIndex, peer: PeerKey) -> Vec<Block> {
        let Some(open) = self.open_piece(piece) else { return Vec::new() };
        open.outstanding_at(peer).map(|i| self.geometry.block_at(piece, i)).collect()
    }

    /// A check is done: what became of the piece.
    pub fn verified(&mut self, piece: PieceIndex, verdict: &Verdict) -> Closed {
        let State::Open(slot) = self.state(piece) else { return Closed::Lost };
        let open = self.open[slot as usize].take().expect("open state has a slot");
        self.vacant.push(slot);
        if *verdict == Verdict::Good {
            self.availability.had(piece);
            self.have.insert(piece);
            if let Some(classes) = &mut self.classes {
                classes.had(piece, self.geometry.piece_len(piece));
            }
            if self.have.is_full() {
                self.availability.all_had();
                self.shortlists.clear();
            }
            self.log.push(piece);
            return Closed::Had;
        }
        self.miss(piece);
        if *verdict == Verdict::Bad { Closed::Bad(open.into_senders()) } else { Closed::Lost }
    }

    /// A piece we had is gone or changed on disk: it is missing again. False if we did not have it.
    pub fn lose(&mut self, piece: PieceIndex) -> bool {
        if !self.have.remove(piece) {
            return false;
        }
        if let Some(classes) = &mut self.classes {
            classes.lost(piece, self.geometry.piece_len(piece));
        }
        self.miss(piece);
        true
    }

    /// Drops everything unfinished; slabs go back to `pool`. Pieces being checked stay.
    pub fn drop_open(&mut self, pool: &mut Pool) {
        for slot in 0..self.open.len() {
            let Some(open) = &mut self.open[slot] else { continue };
            if open.is_verifying() {
                continue;
            }
            open.drain_slabs(pool);
            if open.has_done_blocks() {
                // What is on disk already, or on its way, stays useful.
                open.forget_unwritten();
                let piece = open.piece();
                if open.free() > 0 && !self.startable.contains(&piece) {
                    self.startable.push(piece);
                }
                continue;
            }
            self.close_slot(slot);
        }
    }

    /// To be called every second. Pieces that were started in vain, and of which nothing is here or asked for, are
    /// after a while as if they had not been: whoever lets us start one after the other, and sends none, leaves nothing
    /// behind.
    pub fn close_untouched(&mut self, pool: &mut Pool) {
        for slot in 0..self.open.len() {
            let Some(open) = self.open[slot].as_deref_mut() else { continue };
            if open.stays_untouched() {
                open.drain_slabs(pool);
                self.close_slot(slot);
            }
        }
    }

    /// An open piece is missing as a whole.
    fn close_slot(&mut self, slot: usize) {
        let Some(open) = self.open[slot].take() else { return };
        let piece = open.piece();
        self.vacant.push(slot as u32);
        self.miss(piece);
        self.startable.retain(|&p| p != piece);
    }

    fn state(&self, piece: PieceIndex) -> State {
        self.availability.state(piece)
    }

    /// Something of the piece has to be asked for again.
    fn miss(&mut self, piece: PieceIndex) {
        self.availability.enter_order(piece);
        if let Some(classes) = &mut self.classes
            && !classes.may_enter(piece)
        {
            self.availability.set_aside(piece);
            // It may be the only one.
            self.next_class();
        }
        self.cursor = self.cursor.min(piece);
    }

    /// While the order is empty, the pieces of the next class enter it.
    fn next_class(&mut self) {
        let Some(classes) = &mut self.classes else { return };
        if !self.availability.order_is_empty() {
            return;
        }
        let entering = classes.next_class();
        self.availability.enter_all(&entering);
        self.cursor = entering.iter().copied().fold(self.cursor, PieceIndex::min);
    }

    /// Whether `piece` is wanted and nothing of it was asked for.
    fn may_start(&self, piece: PieceIndex) -> bool {
        matches!(self.state(piece), State::Missing | State::Waiting) && self.lacks(piece)
    }

    fn open_piece(&self, piece: PieceIndex) -> Option<&Open> {
        match self.state(piece) {
            State::Open(slot) => self.open[slot as usize].as_deref(),
            _ => None,
        }
    }

    fn open_piece_mut(&mut self, piece: PieceIndex) -> Option<&mut Open> {
        match self.state(piece) {
            State::Open(slot) => self.open[slot as usize].as_deref_mut(),
            _ => None,
        }
    }

    /// Moves a missing piece to the open ones.
    fn start(&mut self, piece: PieceIndex) {
        debug_assert!(self.may_start(piece));
        if let Some(classes) = &mut self.classes
            && self.availability.state(piece) == State::Waiting
        {
            classes.leaves(piece);
            self.availability.enter_order(piece);
        }
        let open = Box::new(Open::new(piece, self.geometry.piece_len(piece), self.window));
        let slot = self.vacant.pop().unwrap_or_else(|| {
            self.open.push(None);
            self.open.len() as u32 - 1
        });
        self.open[slot as usize] = Some(open);
        self.availability.leave_order(piece, slot);
        self.startable.push(piece);
        self.next_class();
    }

    /// Panics if the sentence at the top of this file is not true. For tests and debug builds.
    pub fn check_invariants(&self) {
        for piece in self.geometry.indices() {
            let state = self.state(piece);
            assert_eq!(state == State::Had, self.have.has(piece), "{piece}");
            assert!(state != State::Missing || self.cursor <= piece, "{piece}");
            if let State::Open(slot) = state {
                let open = self.open[slot as usize].as_ref().expect("slot of an open piece");
                open.check_invariants();
                assert_eq!(open.free() > 0, self.startable.contains(&piece), "{piece}");
            }
        }
        self.availability.check_invariants();
    }
}
