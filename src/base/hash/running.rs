//! A digest of bytes that arrive in parts: the state between two blocks, the padding at the end.
//!
//! Here is what SHA-1 and SHA-256 share (FIPS 180-4, *padding*). Which instructions advance a state,
//! and how many digests at once, is for [`Lanes`](super::Lanes).

use std::slice;

use super::{Sha1Hash, Sha256Hash, lanes::Kernel};

/// What both algorithms take at once.
pub(super) type Block = [u8; 64];
/// Where in the last block the length of everything stands.
const LENGTH_AT: usize = 64 - 8;

/// [`Sha1`] or [`Sha256`].
pub trait Algorithm: Sized {
    /// What it gives.
    type Hash: Copy + Eq + std::fmt::Debug;
    /// The words between two blocks.
    #[doc(hidden)]
    type State: Copy;
    /// Those before the first block.
    #[doc(hidden)]
    const START: Self::State;
    /// Whether there are kernels in wide vectors.
    #[doc(hidden)]
    const IS_WIDE: bool;

    /// Advances each state over its blocks, of which all have the same number; there are no more
    /// states than `kernel` has lanes.
    #[doc(hidden)]
    fn advance(kernel: Kernel, states: &mut [Self::State], blocks: &[&[Block]]);
    /// The digest that a last state is.
    #[doc(hidden)]
    fn hash(state: Self::State) -> Self::Hash;
}

/// A digest of bytes that arrive in parts.
pub struct Running<A: Algorithm> {
    state: A::State,
    /// The block that is not full yet.
    rest: Block,
    /// Number of bytes so far; the last `length % 64` are in `rest`.
    length: u64,
}

/// SHA-1 of bytes that arrive in parts.
pub type Sha1 = Running<OfSha1>;
/// SHA-256 of bytes that arrive in parts.
pub type Sha256 = Running<OfSha256>;

impl<A: Algorithm> Running<A> {
    /// Starts a digest.
    pub const fn new() -> Self {
        Running { state: A::START, rest: [0; 64], length: 0 }
    }

    /// Appends `data`.
    pub fn update(&mut self, data: &[u8]) {
        Self::alone(self.complete(data));
        Self::alone(self.append(data));
    }

    /// The digest of everything appended.
    pub fn finish(mut self) -> A::Hash {
        Self::alone(self.close());
        Self::alone(self.seal());
        self.hash()
    }

    fn alone((state, blocks): (&mut A::State, &[Block])) {
        A::advance(Kernel::Crate, slice::from_mut(state), &[blocks]);
    }

    /// The digest, once it was padded.
    pub(super) fn hash(&self) -> A::Hash {
        A::hash(self.state)
    }

    /// Bytes in the block that is not full.
    const fn filled(&self) -> usize {
        (self.length % 64) as usize
    }

    /// Bytes of the next part, which has `length`, that the begun block takes.
    fn wants(&self, length: usize) -> usize {
        match self.filled() {
            0 => 0,
            filled => (64 - filled).min(length),
        }
    }

    /// The first step of appending `part`: completes the begun block. The state has then to be
    /// advanced over what this gives.
    pub(super) fn complete(&mut self, part: &[u8]) -> (&mut A::State, &[Block]) {
        let (filled, wanted) = (self.filled(), self.wants(part.len()));
        self.rest[filled..filled + wanted].copy_from_slice(&part[..wanted]);
        let full = usize::from(wanted > 0 && filled + wanted == 64);
        (&mut self.state, &slice::from_ref(&self.rest)[..full])
    }

    /// The second step: the whole blocks behind that one; what is left waits for the next part.
    pub(super) fn append<'a>(&mut self, part: &'a [u8]) -> (&mut A::State, &'a [Block]) {
        let (blocks, tail) = part[self.wants(part.len())..].as_chunks();
        self.rest[..tail.len()].copy_from_slice(tail);
        self.length += part.len() as u64;
        (&mut self.state, blocks)
    }

    /// The first step of the end: a block of its own, if behind it the length has no room.
    pub(super) fn close(&mut self) -> (&mut A::State, &[Block]) {
        let filled = self.filled();
        self.rest[filled] = 0x80;
        self.rest[filled + 1..].fill(0);
        let full = usize::from(filled >= LENGTH_AT);
        (&mut self.state, &slice::from_ref(&self.rest)[..full])
    }

    /// The second step of the end: the last block.
    pub(super) fn seal(&mut self) -> (&mut A::State, &[Block]) {
        if self.filled() >= LENGTH_AT {
            self.rest.fill(0);
        }
        // In bits; longer messages than it can tell of do not exist.
        self.rest[LENGTH_AT..].copy_from_slice(&self.length.wrapping_mul(8).to_be_bytes());
        (&mut self.state, slice::from_ref(&self.rest))
    }
}

impl<A: Algorithm> Default for Running<A> {
    fn default() -> Self {
        Self::new()
    }
}

impl<A: Algorithm> Clone for Running<A> {
    fn clone(&self) -> Self {
        Running { ..*self }
    }
}

impl<A: Algorithm> std::fmt::Debug for Running<A> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Running({} bytes)", self.length)
    }
}

/// The algorithm of [`Sha1`].
#[derive(Debug)]
pub enum OfSha1 {}

impl Algorithm for OfSha1 {
    type Hash = Sha1Hash;
    type State = [u32; 5];
    const START: [u32; 5] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476, 0xc3d2_e1f0];
    const IS_WIDE: bool = true;

    fn advance(kernel: Kernel, states: &mut [[u32; 5]], blocks: &[&[Block]]) {
        kernel.sha1(states, blocks);
    }

    fn hash(state: [u32; 5]) -> Sha1Hash {
        let mut hash = [0; 20];
        hash.as_chunks_mut().0.copy_from_slice(&state.map(u32::to_be_bytes));
        Sha1Hash(hash)
    }
}

/// The algorithm of [`Sha256`].
#[derive(Debug)]
pub enum OfSha256 {}

impl Algorithm for OfSha256 {
    type Hash = Sha256Hash;
    type State = [u32; 8];
    const START: [u32; 8] = [
        0x6a09_e667,
        0xbb67_ae85,
        0x3c6e_f372,
        0xa54f_f53a,
        0x510e_527f,
        0x9b05_688c,
        0x1f83_d9ab,
        0x5be0_cd19,
    ];
    const IS_WIDE: bool = false;

    fn advance(kernel: Kernel, states: &mut [[u32; 8]], blocks: &[&[Block]]) {
        kernel.sha256(states, blocks);
    }

    fn hash(state: [u32; 8]) -> Sha256Hash {
        let mut hash = [0; 32];
        hash.as_chunks_mut().0.copy_from_slice(&state.map(u32::to_be_bytes));
        Sha256Hash(hash)
    }
}
