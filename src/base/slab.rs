//! The buffers that block bytes live in between socket and disk, and the pool that lends them.
//!
//! A slab holds up to 256 KiB of one piece. One [`Pool`] per shard keeps them under one budget, and
//! lends the one used last first, because fresh memory is dear. A *phantom* slab holds one tag for
//! each block in place of bytes: the simulator moves terabytes with it.

use super::{
    hash::{Sha1Hash, sha1},
    pages::Pages,
    units::BLOCK_LEN,
};

/// Largest slab, in bytes.
pub const SLAB_LEN: u32 = 256 * 1024;

/// Bytes as they arrive from a connection: real ones, or a stand-in for block payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chunk<'a> {
    /// Bytes of the stream.
    Bytes(&'a [u8]),
    /// `length` bytes of payload that exist only as `tag`; always the whole payload of a message.
    Phantom {
        /// How many bytes it stands for.
        length: u32,
        /// What they are: equal tags mean equal bytes.
        tag: u64,
    },
}

impl Chunk<'_> {
    /// Number of bytes the chunk is or stands for.
    pub const fn len(&self) -> usize {
        match self {
            Chunk::Bytes(b) => b.len(),
            Chunk::Phantom { length, .. } => *length as usize,
        }
    }

    /// Nothing left.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A buffer for part of one piece.
#[derive(Debug)]
pub struct Slab {
    contents: Contents,
    /// On whose account it is lent, if it is of a pool.
    account: Option<Account>,
}

#[derive(Debug)]
enum Contents {
    /// Real bytes; the length is a multiple of a block.
    Bytes(Pages),
    /// One tag for each block.
    Phantom(Box<[u64]>),
}

/// Those who have to leave room to the others: they wait for one disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Account(u16);

impl Slab {
    /// A slab of zero bytes, outside any pool: `blocks` × 16 KiB.
    pub fn zeroed(blocks: u32) -> Self {
        Slab::of(Contents::Bytes(Pages::zeroed((blocks * BLOCK_LEN) as usize)))
    }

    const fn of(contents: Contents) -> Self {
        Slab { contents, account: None }
    }

    /// Room in bytes.
    pub fn capacity(&self) -> u32 {
        match &self.contents {
            Contents::Bytes(b) => b.len() as u32,
            Contents::Phantom(t) => t.len() as u32 * BLOCK_LEN,
        }
    }

    /// Puts payload at byte `at`. The caller has checked that it fits.
    pub fn put(&mut self, at: u32, chunk: Chunk<'_>) {
        match (&mut self.contents, chunk) {
            (Contents::Bytes(b), Chunk::Bytes(data)) => {
                b[at as usize..at as usize + data.len()].copy_from_slice(data);
            }
            (Contents::Phantom(tags), Chunk::Phantom { tag, .. }) => {
                tags[(at / BLOCK_LEN) as usize] = tag;
            }
            (Contents::Phantom(tags), Chunk::Bytes(data)) => {
                // A rogue peer in the simulator sends real bytes: any other tag will do.
                let tag = &mut tags[(at / BLOCK_LEN) as usize];
                *tag = data
                    .iter()
                    .fold(*tag, |t, &b| (t ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3));
            }
            (Contents::Bytes(b), Chunk::Phantom { length, .. }) => {
                b[at as usize..(at + length) as usize].fill(0);
            }
        }
    }

    /// The bytes, if they are real.
    pub fn bytes(&self) -> Option<&[u8]> {
        match &self.contents {
            Contents::Bytes(b) => Some(b),
            Contents::Phantom(_) => None,
        }
    }

    /// The bytes to fill, if they are real.
    pub fn bytes_mut(&mut self) -> Option<&mut [u8]> {
        match &mut self.contents {
            Contents::Bytes(b) => Some(b),
            Contents::Phantom(_) => None,
        }
    }

    /// The tags, if it is a phantom.
    pub fn tags_mut(&mut self) -> Option<&mut [u64]> {
        match &mut self.contents {
            Contents::Bytes(_) => None,
            Contents::Phantom(t) => Some(t),
        }
    }

    /// `length` bytes at `at`, as they would go into a connection.
    pub fn chunk(&self, at: u32, length: u32) -> Chunk<'_> {
        match &self.contents {
            Contents::Bytes(b) => Chunk::Bytes(&b[at as usize..(at + length) as usize]),
            Contents::Phantom(t) => Chunk::Phantom { length, tag: t[(at / BLOCK_LEN) as usize] },
        }
    }

    /// A number that tells the contents of one block from any other that somebody might make up.
    pub fn digest(&self, at: u32, length: u32) -> u64 {
        match self.chunk(at, length) {
            Chunk::Phantom { tag, .. } => tag,
            Chunk::Bytes(bytes) => {
                let Sha1Hash([a, b, c, d, e, f, g, h, ..]) = sha1(bytes);
                u64::from_be_bytes([a, b, c, d, e, f, g, h])
            }
        }
    }
}

/// Who wants a slab.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Room for blocks we are about to request: may use three quarters of the budget.
    Download,
    /// Room for blocks to be served: may use all of it, so that downloads never starve uploads.
    Upload,
}

const CLASSES: usize = 5;
/// Of several accounts each may have so many times what is left: of what downloads may have one by itself has three
/// quarters, two together six sevenths. By uploads it has a little more, and not all that downloads may have.
const SHARE: usize = 3;

/// Lends slabs under one budget.
///
/// Invariant: lent + free ≤ budget.
#[derive(Debug)]
pub struct Pool {
    budget: usize,
    lent: usize,
    free: [Vec<Slab>; CLASSES],
    free_bytes: usize,
    phantom: bool,
    /// On whose account slabs are lent from now on.
    account: Account,
    /// Bytes lent, by account.
    by_account: Vec<usize>,
    /// Several accounts are in use: each leaves room to the others.
    is_shared: bool,
}

impl Pool {
    /// A pool of real slabs that never hold more than `budget` bytes together.
    pub fn new(budget: usize) -> Self {
        Pool {
            budget,
            lent: 0,
            free: Default::default(),
            free_bytes: 0,
            phantom: false,
            account: Account::default(),
            by_account: vec![0],
            is_shared: false,
        }
    }

    /// A pool of phantom slabs, which counts the bytes they stand for.
    pub fn phantom(budget: usize) -> Self {
        Pool { phantom: true, ..Pool::new(budget) }
    }

    /// One more account than the default one. When there are very many it is that.
    pub fn open_account(&mut self) -> Account {
        let Ok(number) = u16::try_from(self.by_account.len()) else { return Account::default() };
        self.by_account.push(0);
        Account(number)
    }

    /// Whether more than one account is in use.
    pub const fn share(&mut self, is_shared: bool) {
        self.is_shared = is_shared;
    }

    /// What is taken from now on is on this account.
    pub const fn lend_to(&mut self, account: Account) {
        self.account = account;
    }

    /// A slab with room for `length` bytes (at most [`SLAB_LEN`]), or `None` when the budget is spent.
    /// The contents are whatever was there before.
    pub fn take(&mut self, length: u32, purpose: Purpose) -> Option<Slab> {
        debug_assert!(length > 0 && length <= SLAB_LEN);
        let class = class_of(length);
        let size = class_len(class);
        if self.is_over(size, purpose) {
            return None;
        }
        let contents = self.contents(class)?;
        self.lent += size;
        self.by_account[usize::from(self.account.0)] += size;
        Some(Slab { contents, account: Some(self.account) })
    }

    /// Whether `size` more would be over the limit, or leave too little to other accounts.
    fn is_over(&self, size: usize, purpose: Purpose) -> bool {
        let (limit, most) = match purpose {
            Purpose::Download => (self.budget / 4 * 3, self.budget / 16 * 9),
            Purpose::Upload => (self.budget, self.budget / 16 * 10),
        };
        let own = self.by_account[usize::from(self.account.0)] + size;
        let left = limit.saturating_sub(self.lent);
        size > left || self.is_shared && own > (left * SHARE).min(most)
    }

    /// What a slab of that class, which is to be lent, consists of.
    fn contents(&mut self, class: usize) -> Option<Contents> {
        let size = class_len(class);
        if let Some(slab) = self.free[class].pop() {
            self.free_bytes -= size;
            return Some(slab.contents);
        }
        // Slabs of another size make room.
        while self.lent + size + self.free_bytes > self.budget {
            let from = (0..CLASSES).find(|&c| !self.free[c].is_empty())?;
            self.free[from].pop();
            self.free_bytes -= class_len(from);
        }
        let blocks = size / BLOCK_LEN as usize;
        Some(if self.phantom {
            Contents::Phantom(vec![0; blocks].into())
        } else {
            Contents::Bytes(Pages::zeroed(size))
        })
    }

    /// Takes a lent slab back.
    pub fn give(&mut self, slab: Slab) {
        let class = class_of(slab.capacity());
        self.lent = self.lent.saturating_sub(class_len(class));
        if let Some(Account(number)) = slab.account {
            let lent = &mut self.by_account[usize::from(number)];
            *lent = lent.saturating_sub(class_len(class));
        }
        self.free_bytes += class_len(class);
        self.free[class].push(slab);
    }

    /// Bytes lent at this moment.
    pub const fn lent(&self) -> usize {
        self.lent
    }

    /// Most bytes ever held together.
    pub const fn budget(&self) -> usize {
        self.budget
    }

    /// Whether little is left for downloads: what can come back should come back soon.
    pub const fn is_short(&self) -> bool {
        self.lent > self.budget / 8 * if self.is_shared { 4 } else { 5 }
    }

    /// Whether not even one more slab of the largest size can be lent on this account.
    pub fn is_spent(&self) -> bool {
        self.is_over(SLAB_LEN as usize, Purpose::Upload)
    }

    /// Frees unused slabs beyond `keep` bytes.
    pub fn trim(&mut self, keep: usize) {
        for class in 0..CLASSES {
            while self.free_bytes > keep && self.free[class].pop().is_some() {
                self.free_bytes -= class_len(class);
            }
        }
    }
}

/// The smallest class with room: 16, 32, 64, 128 or 256 KiB.
fn class_of(length: u32) -> usize {
    let blocks = length.div_ceil(BLOCK_LEN).max(1);
    (blocks.next_power_of_two().trailing_zeros() as usize).min(CLASSES - 1)
}

const fn class_len(class: usize) -> usize {
    (BLOCK_LEN as usize) << class
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn budget_holds_over_all_sizes() {
        let mut pool = Pool::new(1 << 20);
        let mut out = Vec::new();
        for length in [1, 16_384, 16_385, 100_000, 262_144].iter().cycle().take(100) {
            if let Some(s) = pool.take(*length, Purpose::Upload) {
                assert!(s.capacity() >= *length);
                out.push(s);
            } else if let Some(s) = out.pop() {
                pool.give(s);
            }
            let held: usize = out.iter().map(|s| s.capacity() as usize).sum();
            assert_eq!(held, pool.lent());
            assert!(pool.lent() + pool.free_bytes <= pool.budget());
        }
        out.into_iter().for_each(|s| pool.give(s));
        assert_eq!(pool.lent(), 0);
        pool.trim(0);
        assert_eq!(pool.free_bytes, 0);
    }

    #[test]
    fn downloads_leave_room_for_uploads() {
        let mut pool = Pool::new(1 << 20);
        let mut n = 0;
        while pool.take(SLAB_LEN, Purpose::Download).is_some() {
            n += 1;
        }
        assert_eq!(n, 3);
        assert!(pool.take(SLAB_LEN, Purpose::Upload).is_some());
        assert!(pool.take(1, Purpose::Upload).is_none());
    }

    /// Torrents on a disk that did not answer used to take all memory, and no other torrent had any.
    #[test]
    fn who_gives_nothing_back_leaves_room_for_others() {
        let mut pool = Pool::new(64 << 20);
        let take = |pool: &mut Pool, account| {
            pool.lend_to(account);
            std::iter::from_fn(|| pool.take(SLAB_LEN, Purpose::Download)).collect::<Vec<_>>()
        };
        let only = Account::default();
        let mut first = take(&mut pool, only);
        assert_eq!(first.len(), 192, "nobody else is there");
        first.into_iter().for_each(|slab| pool.give(slab));
        let [second, third] = [(); 2].map(|()| pool.open_account());
        pool.share(true);
        first = take(&mut pool, only);
        assert_eq!(first.len(), 144, "three quarters");
        let upload =
            pool.take(SLAB_LEN, Purpose::Upload).expect("its downloads leave room for its uploads");
        pool.give(upload);
        let stuck = take(&mut pool, second);
        assert_eq!(stuck.len(), 36);
        assert_eq!(take(&mut pool, third).len(), 9);
        // Once it gives some back there is more for all.
        first.drain(..100).for_each(|slab| pool.give(slab));
        assert!(take(&mut pool, third).len() > 40);
        assert!(pool.take(SLAB_LEN, Purpose::Upload).is_some());
    }

    #[test]
    fn digest_tells_contents_apart() {
        let mut s = Slab::zeroed(2);
        let before = s.digest(0, 20_000);
        s.put(19_999, Chunk::Bytes(&[1]));
        assert_ne!(before, s.digest(0, 20_000));
        assert_eq!(s.digest(0, 16_384), Slab::zeroed(1).digest(0, 16_384));
    }
}
