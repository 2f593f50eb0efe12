//! A torrent with a crowd of peers, as the picker sees it: who has what, and blocks that arrive as
//! soon as they are asked for.

use downpour::{
    base::{
        bitfield::Bitfield,
        geometry::Geometry,
        id::PeerKey,
        index::{Block, PieceIndex},
        rng::Rng,
        slab::{Chunk, Pool},
    },
    pieces::{
        Offer, PeerView, Pieces, Stored, Wish,
        job::{DiskJob, Verdict},
    },
};

/// What each peer of a crowd has.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Share {
    /// Everything.
    All,
    /// Each piece with this probability.
    Some(f64),
}

/// What one peer has.
pub(crate) struct View(Option<Bitfield>);

impl PeerView for View {
    fn offer(&self) -> Offer<'_> {
        self.0.as_ref().map_or(Offer::All, Offer::These)
    }

    fn offers(&self, piece: PieceIndex) -> bool {
        self.0.as_ref().is_none_or(|bits| bits.has(piece))
    }

    fn is_barred(&self, _: PieceIndex) -> bool {
        false
    }
}

/// The pieces, the peers, and whose turn it is.
pub(crate) struct Crowd {
    pub(crate) pieces: Pieces,
    views: Vec<View>,
    pool: Pool,
    rng: Rng,
    turn: usize,
    picked: Vec<Block>,
    others: Vec<PeerKey>,
}

impl Crowd {
    /// Nobody has come yet.
    pub(crate) fn new(geometry: Geometry, peers: usize, share: Share) -> Self {
        let mut rng = Rng::new(1);
        let len = geometry.pieces();
        let pieces = Pieces::new(geometry, Bitfield::empty(len), false, &mut rng);
        let views = (0..peers).map(|_| View(bits(len, share, &mut rng))).collect();
        let (picked, others) = (Vec::new(), Vec::new());
        Crowd { pieces, views, pool: Pool::phantom(1 << 40), rng, turn: 0, picked, others }
    }

    /// All of them come.
    pub(crate) fn come(&mut self) {
        for View(bits) in &self.views {
            match bits {
                Some(bits) => self.pieces.peer_came(bits),
                None => self.pieces.seed_came(),
            }
        }
    }

    /// The next peer is to get so many blocks; gives how many it got.
    pub(crate) fn pick(&mut self, blocks: u32) -> usize {
        self.turn = (self.turn + 1) % self.views.len();
        let peer = PeerKey { slot: self.turn as u32, generation: 0 };
        let wish =
            Wish { peer, blocks, scarce: blocks, again: 0, runs: false, last: None, abreast: 1 };
        self.picked.clear();
        let view = &self.views[self.turn];
        self.pieces.pick(view, wish, &mut self.rng, &mut self.pool, &mut self.picked);
        self.picked.len()
    }

    /// What was picked last arrives and is right.
    pub(crate) fn arrive(&mut self) {
        let peer = PeerKey { slot: self.turn as u32, generation: 0 };
        for &block in &self.picked {
            let chunk = Chunk::Phantom { length: block.length, tag: 0 };
            assert!(self.pieces.begin_block(block, peer, true));
            assert!(self.pieces.store(block, 0, chunk, peer));
            let sender = ([127, 0, 0, 1], self.turn as u16).into();
            let stored = self.pieces.end_block(block, sender, peer, &mut self.others);
            if stored == Some(Stored::PieceComplete)
                && let Some(DiskJob::Verify { piece, slabs, .. }) =
                    self.pieces.close(block.piece, false)
            {
                slabs.into_iter().for_each(|held| self.pool.give(held.slab));
                self.pieces.verified(piece, &Verdict::Good);
            }
        }
    }
}

fn bits(len: u32, share: Share, rng: &mut Rng) -> Option<Bitfield> {
    let Share::Some(share) = share else { return None };
    let mut bits = Bitfield::empty(len);
    for piece in 0..len {
        if rng.unit() < share {
            bits.insert(PieceIndex(piece));
        }
    }
    Some(bits)
}
