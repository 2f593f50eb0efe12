//! SHA-1 of many messages in the lanes of wide vectors: each lane computes its own message.
//!
//! Pure algorithm over [`Vector`], the few operations that it needs; the processors' own are in
//! `x86`, a portable one is in the tests. SHA-256 is not here: its instructions are faster on every
//! processor that has both.

#![allow(clippy::needless_range_loop)] // Lanes and words have numbers.

use super::running::Block;

/// `L` lanes of 32 bits, in quads of four: a token whose operations compute all lanes at once.
pub(super) trait Vector<const L: usize>: Copy {
    /// All lanes.
    type V: Copy;

    /// Puts a word into each lane.
    fn pack(self, lanes: [u32; L]) -> Self::V;
    /// The word of each lane.
    fn unpack(self, v: Self::V) -> [u32; L];
    /// Quad *q* is the four big-endian words that are the 16 bytes number `part` of block
    /// `row` + 4*q*.
    fn load(self, blocks: &[&Block; L], row: usize, part: usize) -> Self::V;
    /// In each quad: `a0 b0 a1 b1`, and `a2 b2 a3 b3`.
    fn zip_words(self, a: Self::V, b: Self::V) -> [Self::V; 2];
    /// In each quad: `a0 a1 b0 b1`, and `a2 a3 b2 b3`.
    fn zip_pairs(self, a: Self::V, b: Self::V) -> [Self::V; 2];
    /// The sum modulo 2^32.
    fn add(self, a: Self::V, b: Self::V) -> Self::V;
    /// Exclusive or.
    fn xor(self, a: Self::V, b: Self::V) -> Self::V;
    /// Rotates to the left by `BY` bits; `REST` is 32 - `BY`.
    fn rotate<const BY: i32, const REST: i32>(self, a: Self::V) -> Self::V;
    /// *Parity* of FIPS 180-4: `b ^ c ^ d`.
    fn parity(self, b: Self::V, c: Self::V, d: Self::V) -> Self::V;
    /// *Ch* of FIPS 180-4: the bits of `c` where `b` is set, else those of `d`.
    fn choose(self, b: Self::V, c: Self::V, d: Self::V) -> Self::V;
    /// *Maj* of FIPS 180-4: the bits that at least two have.
    fn majority(self, b: Self::V, c: Self::V, d: Self::V) -> Self::V;
}

/// Advances up to `L` states, each over its own blocks, of which all have the same number. Lanes
/// without a state repeat the first one's work.
///
/// Inlined, as are all operations, into a function that may use the instructions.
#[inline(always)]
pub(super) fn sha1<T: Vector<L>, const L: usize>(
    v: T,
    states: &mut [[u32; 5]],
    blocks: &[&[Block]],
) {
    assert!(!states.is_empty() && states.len() <= L && states.len() == blocks.len());
    let count = blocks[0].len();
    let mut lanes = [&blocks[0][..count]; L];
    let mut words = [[0; L]; 5];
    for l in 0..L {
        let from = if l < states.len() { l } else { 0 };
        lanes[l] = &blocks[from][..count];
        for i in 0..5 {
            words[i][l] = states[from][i];
        }
    }
    let mut state = [v.pack(words[0]); 5];
    for i in 1..5 {
        state[i] = v.pack(words[i]);
    }
    for i in 0..count {
        let mut at = [&lanes[0][i]; L];
        for l in 1..L {
            at[l] = &lanes[l][i];
        }
        let w = transposed(v, &at);
        let after = rounds(v, state, w);
        for i in 0..5 {
            state[i] = v.add(state[i], after[i]);
        }
    }
    for i in 0..5 {
        let word = v.unpack(state[i]);
        for (state, word) in states.iter_mut().zip(word) {
            state[i] = word;
        }
    }
}

/// Word *i* of each block, in the lane of the block, for each *i*.
#[inline(always)]
fn transposed<T: Vector<L>, const L: usize>(v: T, blocks: &[&Block; L]) -> [T::V; 16] {
    let mut w = [v.load(blocks, 0, 0); 16];
    for part in 0..4 {
        // Quad by quad, rows of four words become columns.
        let [a, b] = [v.load(blocks, 0, part), v.load(blocks, 1, part)];
        let [c, d] = [v.load(blocks, 2, part), v.load(blocks, 3, part)];
        let ([ab0, ab1], [cd0, cd1]) = (v.zip_words(a, b), v.zip_words(c, d));
        [w[4 * part], w[4 * part + 1]] = v.zip_pairs(ab0, cd0);
        [w[4 * part + 2], w[4 * part + 3]] = v.zip_pairs(ab1, cd1);
    }
    w
}

/// The eighty rounds of one block.
#[inline(always)]
fn rounds<T: Vector<L>, const L: usize>(v: T, state: [T::V; 5], mut w: [T::V; 16]) -> [T::V; 5] {
    let [mut a, mut b, mut c, mut d, mut e] = state;
    // Written out, so that every index is known and the words can stay in registers.
    macro_rules! rounds {
        ($f:ident, $k:literal, $($i:literal)*) => {
            let k = v.pack([$k; L]);
            $(
                if $i >= 16 {
                    let x = v.parity(w[($i + 13) % 16], w[($i + 8) % 16], w[($i + 2) % 16]);
                    w[$i % 16] = v.rotate::<1, 31>(v.xor(x, w[$i % 16]));
                }
                let x = v.add(v.add(e, v.add(w[$i % 16], k)), v.$f(b, c, d));
                let x = v.add(x, v.rotate::<5, 27>(a));
                (e, d, c, b, a) = (d, c, v.rotate::<30, 2>(b), a, x);
            )*
        };
    }
    rounds!(choose, 0x5a82_7999, 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19);
    rounds!(parity, 0x6ed9_eba1, 20 21 22 23 24 25 26 27 28 29 30 31 32 33 34 35 36 37 38 39);
    rounds!(majority, 0x8f1b_bcdc, 40 41 42 43 44 45 46 47 48 49 50 51 52 53 54 55 56 57 58 59);
    rounds!(parity, 0xca62_c1d6, 60 61 62 63 64 65 66 67 68 69 70 71 72 73 74 75 76 77 78 79);
    [a, b, c, d, e]
}

/// Lanes without instructions of their own, to test the algorithm on any processor.
#[cfg(test)]
pub(super) mod portable {
    use super::*;
    use std::array::from_fn;

    #[derive(Clone, Copy)]
    pub(in super::super) struct Portable;

    impl<const L: usize> Vector<L> for Portable {
        type V = [u32; L];

        fn pack(self, lanes: [u32; L]) -> [u32; L] {
            lanes
        }
        fn unpack(self, v: [u32; L]) -> [u32; L] {
            v
        }
        fn load(self, blocks: &[&Block; L], row: usize, part: usize) -> [u32; L] {
            from_fn(|l| {
                let words = blocks[row + l / 4 * 4].as_chunks().0;
                u32::from_be_bytes(words[4 * part + l % 4])
            })
        }
        fn zip_words(self, a: [u32; L], b: [u32; L]) -> [[u32; L]; 2] {
            let zip = |from| from_fn(|l| [a, b][l % 2][l / 4 * 4 + from + l % 4 / 2]);
            [zip(0), zip(2)]
        }
        fn zip_pairs(self, a: [u32; L], b: [u32; L]) -> [[u32; L]; 2] {
            let zip = |from| from_fn(|l| [a, b][l % 4 / 2][l / 4 * 4 + from + l % 2]);
            [zip(0), zip(2)]
        }
        fn add(self, a: [u32; L], b: [u32; L]) -> [u32; L] {
            from_fn(|l| a[l].wrapping_add(b[l]))
        }
        fn xor(self, a: [u32; L], b: [u32; L]) -> [u32; L] {
            from_fn(|l| a[l] ^ b[l])
        }
        fn rotate<const BY: i32, const REST: i32>(self, a: [u32; L]) -> [u32; L] {
            assert_eq!(BY + REST, 32);
            from_fn(|l| a[l].rotate_left(BY as u32))
        }
        fn parity(self, b: [u32; L], c: [u32; L], d: [u32; L]) -> [u32; L] {
            from_fn(|l| b[l] ^ c[l] ^ d[l])
        }
        fn choose(self, b: [u32; L], c: [u32; L], d: [u32; L]) -> [u32; L] {
            from_fn(|l| b[l] & c[l] | !b[l] & d[l])
        }
        fn majority(self, b: [u32; L], c: [u32; L], d: [u32; L]) -> [u32; L] {
            from_fn(|l| b[l] & c[l] | b[l] & d[l] | c[l] & d[l])
        }
    }
}
