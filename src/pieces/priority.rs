//! Which pieces are wanted at all, and which before others.
//!
//! Pieces of the highest class of which some are missing are in the order of rarity; those of the lower
//! ones wait, and enter the order when all of the class above have been started. Nothing is held here
//! as long as every piece is wanted like every other.

use crate::base::{bitfield::Bitfield, geometry::Geometry, index::PieceIndex};

/// How much a piece is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Priority {
    /// Not at all.
    Skip,
    /// After everything else.
    Low,
    /// Like most.
    #[default]
    Normal,
    /// Before everything else.
    High,
}

impl Priority {
    /// The classes that are fetched, the first one first.
    const FETCHED: [Priority; 3] = [Priority::High, Priority::Normal, Priority::Low];
}

/// The classes of a torrent's pieces, where they differ.
#[derive(Debug)]
pub(super) struct Classes {
    of: Vec<Priority>,
    /// Missing pieces that are not in the order, by class.
    waiting: [Bitfield; 4],
    /// The class whose pieces are in the order, perhaps with some of higher ones.
    current: Priority,
    /// Wanted pieces that we have not got.
    lacking: u32,
    /// Bytes of all wanted pieces, and of those that we have not got.
    bytes: u64,
    bytes_lacking: u64,
}

impl Classes {
    /// Nothing waits yet; `have` is what we have.
    pub(super) fn new(of: Vec<Priority>, have: &Bitfield, geometry: &Geometry) -> Self {
        let waiting = [(); 4].map(|()| Bitfield::empty(have.len()));
        let current = Priority::High;
        let mut classes = Classes { of, waiting, current, lacking: 0, bytes: 0, bytes_lacking: 0 };
        for piece in geometry.indices() {
            if classes.of(piece) != Priority::Skip {
                classes.bytes += u64::from(geometry.piece_len(piece));
            }
            if !have.has(piece) {
                classes.lost(piece, geometry.piece_len(piece));
            }
        }
        classes
    }

    pub(super) fn of(&self, piece: PieceIndex) -> Priority {
        self.of.get(piece.at()).copied().unwrap_or(Priority::Skip)
    }

    /// A missing piece waits from now on.
    pub(super) fn set_aside(&mut self, piece: PieceIndex) {
        let class = self.of(piece);
        self.waiting[class as usize].insert(piece);
    }

    /// Whether a missing piece is to be in the order now; else it is noted as one that waits.
    pub(super) fn may_enter(&mut self, piece: PieceIndex) -> bool {
        let class = self.of(piece);
        let enters = class != Priority::Skip && class >= self.current;
        if !enters {
            self.waiting[class as usize].insert(piece);
        }
        enters
    }

    /// A piece that waited is started before its turn.
    pub(super) fn leaves(&mut self, piece: PieceIndex) {
        let class = self.of(piece);
        self.waiting[class as usize].remove(piece);
    }

    /// The order is empty: the pieces that enter it now.
    pub(super) fn next_class(&mut self) -> Vec<PieceIndex> {
        for class in Priority::FETCHED {
            let waiting = &mut self.waiting[class as usize];
            if waiting.count() > 0 {
                self.current = class;
                let none = Bitfield::empty(waiting.len());
                return std::mem::replace(waiting, none).iter().collect();
            }
        }
        Vec::new()
    }

    /// Pieces that wait for their turn, class by class.
    pub(super) fn waiting(&self) -> impl Iterator<Item = &Bitfield> {
        Priority::FETCHED.into_iter().map(|class| &self.waiting[class as usize])
    }

    /// Missing pieces that nobody wants.
    pub(super) const fn skipped(&self) -> &Bitfield {
        &self.waiting[Priority::Skip as usize]
    }

    /// Wanted pieces that we have not got.
    pub(super) const fn lacking(&self) -> u32 {
        self.lacking
    }

    /// Bytes of all wanted pieces, and of those among them that we have.
    pub(super) const fn bytes(&self) -> (u64, u64) {
        (self.bytes, self.bytes - self.bytes_lacking)
    }

    /// We have `piece` now, of so many bytes.
    pub(super) fn had(&mut self, piece: PieceIndex, length: u32) {
        if self.of(piece) != Priority::Skip {
            self.lacking -= 1;
            self.bytes_lacking -= u64::from(length);
        }
    }

    /// We have it no more.
    pub(super) fn lost(&mut self, piece: PieceIndex, length: u32) {
        if self.of(piece) != Priority::Skip {
            self.lacking += 1;
            self.bytes_lacking += u64::from(length);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        base::{id::PeerKey, rng::Rng, slab::Pool, units::BLOCK_LEN},
        pieces::{
            Offer, PeerView, Pieces, Sender, Stored, Wish,
            job::{DiskJob, Verdict},
        },
    };
    use proptest::prelude::{any, prop, prop_assert, prop_assert_eq, proptest};

    const PIECES: u32 = 24;
    const PEER: PeerKey = PeerKey { slot: 0, generation: 0 };

    struct Has(Bitfield);

    impl PeerView for Has {
        fn offer(&self) -> Offer<'_> {
            if self.0.is_full() { Offer::All } else { Offer::These(&self.0) }
        }

        fn offers(&self, piece: PieceIndex) -> bool {
            self.0.has(piece)
        }

        fn is_barred(&self, _: PieceIndex) -> bool {
            false
        }
    }

    struct Fetch {
        pieces: Pieces,
        pool: Pool,
        rng: Rng,
    }

    impl Fetch {
        /// Pieces of one block.
        fn new(priorities: &[Priority], sequential: bool) -> Self {
            let total = u64::from(PIECES) * u64::from(BLOCK_LEN);
            let geometry = Geometry::new(total, BLOCK_LEN).expect("valid");
            let mut rng = Rng::new(1);
            let mut pieces = Pieces::new(geometry, Bitfield::empty(PIECES), sequential, &mut rng);
            pieces.prioritise(priorities.to_vec());
            pieces.check_invariants();
            Fetch { pieces, pool: Pool::phantom(1 << 30), rng }
        }

        /// Asks one block of a peer.
        fn pick(&mut self, peer: &Has) -> Option<PieceIndex> {
            let wish = Wish {
                peer: PEER,
                blocks: 1,
                scarce: 1,
                again: 0,
                runs: false,
                last: None,
                abreast: 1,
            };
            let mut out = Vec::new();
            assert!(self.pieces.pick(peer, wish, &mut self.rng, &mut self.pool, &mut out));
            self.pieces.check_invariants();
            out.first().map(|block| block.piece)
        }

        /// The block comes, and is right or not.
        fn end(&mut self, piece: PieceIndex, verdict: &Verdict) {
            let block = self.pieces.geometry().block_at(piece, 0);
            assert!(self.pieces.begin_block(block, PEER, true));
            let chunk = crate::base::slab::Chunk::Phantom { length: BLOCK_LEN, tag: 0 };
            assert!(self.pieces.store(block, 0, chunk, PEER));
            let sender: Sender = ([10, 0, 0, 1], 1).into();
            let stored = self.pieces.end_block(block, sender, PEER, &mut Vec::new());
            assert_eq!(stored, Some(Stored::PieceComplete));
            let Some(DiskJob::Verify { slabs, .. }) = self.pieces.close(piece, false) else {
                panic!("a check")
            };
            slabs.into_iter().for_each(|held| self.pool.give(held.slab));
            self.pieces.verified(piece, verdict);
            self.pieces.check_invariants();
        }
    }

    fn class(n: u8) -> Priority {
        [Priority::Skip, Priority::Low, Priority::Normal, Priority::High][usize::from(n)]
    }

    proptest! {
        /// Of a peer that has everything the classes come one after the other; what nobody wants never
        /// comes, and the torrent is done without it.
        #[test]
        fn classes_are_fetched_in_order(
            classes in prop::collection::vec(0u8..4, PIECES as usize),
            sequential in any::<bool>(),
            bad in prop::sample::select(vec![0, u32::MAX >> 8, 0b1001_0010]),
        ) {
            let classes: Vec<Priority> = classes.into_iter().map(class).collect();
            let mut fetch = Fetch::new(&classes, sequential);
            let all = Has(Bitfield::full(PIECES));
            fetch.pieces.seed_came();
            let mut got: Vec<Priority> = Vec::new();
            let (any_bad, mut bad) = (bad != 0, bad);
            while let Some(piece) = fetch.pick(&all) {
                prop_assert!(!fetch.pieces.is_done());
                // A piece that is wrong comes again, among those that have come into the order since.
                let verdict = if bad & 1 == 1 { Verdict::Bad } else { Verdict::Good };
                bad >>= 1;
                if verdict == Verdict::Good {
                    got.push(classes[piece.at()]);
                }
                fetch.end(piece, &verdict);
            }
            prop_assert!(fetch.pieces.is_done());
            prop_assert!(any_bad || got.is_sorted_by(|a, b| a >= b), "{got:?}");
            let wanted = classes.iter().filter(|&&class| class != Priority::Skip).count();
            prop_assert_eq!(got.len(), wanted);
            let bytes = wanted as u64 * u64::from(BLOCK_LEN);
            prop_assert_eq!(fetch.pieces.bytes_wanted(), (bytes, bytes));
        }

        /// A peer is asked for what it has, though others have what comes first.
        #[test]
        fn a_peer_gives_what_it_can(
            classes in prop::collection::vec(0u8..4, PIECES as usize),
            bits in prop::collection::vec(any::<bool>(), PIECES as usize),
        ) {
            let classes: Vec<Priority> = classes.into_iter().map(class).collect();
            let mut fetch = Fetch::new(&classes, false);
            let mut has = Bitfield::empty(PIECES);
            for (piece, _) in (0..).map(PieceIndex).zip(bits).filter(|&(_, bit)| bit) {
                has.insert(piece);
            }
            fetch.pieces.peer_came(&has);
            let can = |fetch: &Fetch| fetch.pieces.count_lacking(&has);
            let mut left = can(&fetch);
            while let Some(piece) = fetch.pick(&Has(has.clone())) {
                fetch.end(piece, &Verdict::Good);
                left -= 1;
                prop_assert_eq!(can(&fetch), left);
            }
            prop_assert_eq!(left, 0);
        }
    }

    #[test]
    fn a_piece_that_is_lost_is_wanted_as_before() {
        let mut classes = vec![Priority::Normal; PIECES as usize];
        classes[3] = Priority::Skip;
        let mut fetch = Fetch::new(&classes, false);
        fetch.pieces.seed_came();
        let all = Has(Bitfield::full(PIECES));
        while let Some(piece) = fetch.pick(&all) {
            fetch.end(piece, &Verdict::Good);
        }
        assert!(fetch.pieces.is_done() && !fetch.pieces.is_complete());
        assert!(fetch.pieces.lose(PieceIndex(5)));
        assert!(!fetch.pieces.is_done() && fetch.pieces.lacks(PieceIndex(5)));
        assert_eq!(fetch.pick(&all), Some(PieceIndex(5)));
        assert_eq!(fetch.pick(&all), None);
    }
}
