//! SHA-1 and SHA-256 by instructions of x86-64: the SHA extensions, AVX2 and AVX-512.
//!
//! The one file with `unsafe` code, and the compression functions are all that is here: what is
//! hashed, padding and the choice between them are in `running` and `lanes`, the algorithm for AVX2 and
//! AVX-512 is in `wide`. A set of instructions is a token that only its `detect` makes, and only
//! where the processor has them: whoever holds one may use them. Memory is read and written through
//! references to arrays alone.

#![allow(unsafe_code)]
#![allow(clippy::needless_range_loop)] // Lanes have numbers.

use std::{arch::x86_64::*, sync::LazyLock};

use super::{
    running::Block,
    wide::{self, Vector},
};

/// The SHA extensions ("SHA-NI").
#[derive(Clone, Copy)]
pub(super) struct Ni(());

impl Ni {
    /// The token, if the processor has them.
    pub(super) fn detect() -> Option<Self> {
        let has = is_x86_feature_detected!("sha")
            && is_x86_feature_detected!("ssse3")
            && is_x86_feature_detected!("sse4.1");
        has.then_some(Ni(()))
    }

    /// Whether several messages side by side go much faster than one: not on Intel's processors,
    /// where an instruction occupies its unit for nearly as long as its result takes.
    pub(super) fn overlaps(self) -> bool {
        // In a virtual machine the question costs microseconds.
        static INTEL: LazyLock<bool> = LazyLock::new(|| {
            let vendor = __cpuid(0);
            [vendor.ebx, vendor.edx, vendor.ecx].map(u32::to_le_bytes).concat() == b"GenuineIntel"
        });
        !*INTEL
    }

    /// Advances `N` SHA-1 states, each over its own blocks, of which all have the same number.
    pub(super) fn sha1<const N: usize>(self, states: &mut [[u32; 5]; N], blocks: [&[Block]; N]) {
        // SAFETY: a `Ni` exists only where `detect` found the features of this function.
        unsafe { ni_sha1(states, blocks) }
    }

    /// The same for SHA-256.
    pub(super) fn sha256<const N: usize>(self, states: &mut [[u32; 8]; N], blocks: [&[Block]; N]) {
        // SAFETY: a `Ni` exists only where `detect` found the features of this function.
        unsafe { ni_sha256(states, blocks) }
    }
}

/// Sixteen bytes of a block.
#[inline(always)]
fn load(block: &Block, part: usize) -> __m128i {
    let bytes: &[u8; 16] = &block.as_chunks().0[part];
    // SAFETY: reads the 16 bytes that the reference is to; any alignment will do.
    unsafe { _mm_loadu_si128((&raw const *bytes).cast()) }
}

/// Four words, the first at the top.
#[inline]
#[target_feature(enable = "sse2")]
fn words(a: u32, b: u32, c: u32, d: u32) -> __m128i {
    _mm_set_epi32(a as i32, b as i32, c as i32, d as i32)
}

/// The inverse of [`words`].
#[inline]
#[target_feature(enable = "sse2")]
fn unpack(v: __m128i) -> [u32; 4] {
    let low = _mm_cvtsi128_si64(v) as u64;
    let high = _mm_cvtsi128_si64(_mm_unpackhi_epi64(v, v)) as u64;
    [(high >> 32) as u32, high as u32, (low >> 32) as u32, low as u32]
}

// One message leaves the units half idle, because each of its instructions waits for the one
// before; so four rounds of each lane follow one another.
#[target_feature(enable = "sha,ssse3,sse4.1")]
fn ni_sha1<const N: usize>(states: &mut [[u32; 5]; N], blocks: [&[Block]; N]) {
    let big_endian = _mm_set_epi64x(0x0001_0203_0405_0607, 0x0809_0a0b_0c0d_0e0f);
    let mut abcd = [_mm_setzero_si128(); N];
    let mut e = [_mm_setzero_si128(); N];
    for l in 0..N {
        let [a, b, c, d, top] = states[l];
        (abcd[l], e[l]) = (words(a, b, c, d), words(top, 0, 0, 0));
    }
    let count = blocks[0].len();
    let blocks = blocks.map(|blocks| &blocks[..count]);
    for i in 0..count {
        let before = (abcd, e);
        let mut w = [[_mm_setzero_si128(); 4]; N];
        macro_rules! four_rounds {
            ($($i:literal)*, $f:literal) => { $( for l in 0..N {
                let x = if $i < 4 {
                    _mm_shuffle_epi8(load(&blocks[l][i], $i % 4), big_endian)
                } else {
                    let x = _mm_sha1msg1_epu32(w[l][$i % 4], w[l][($i + 1) % 4]);
                    _mm_sha1msg2_epu32(_mm_xor_si128(x, w[l][($i + 2) % 4]), w[l][($i + 3) % 4])
                };
                w[l][$i % 4] = x;
                let x = match $i {
                    0 => _mm_add_epi32(e[l], x),
                    _ => _mm_sha1nexte_epu32(e[l], x),
                };
                e[l] = abcd[l];
                abcd[l] = _mm_sha1rnds4_epu32::<$f>(abcd[l], x);
            } )* };
        }
        four_rounds!(0 1 2 3 4, 0);
        four_rounds!(5 6 7 8 9, 1);
        four_rounds!(10 11 12 13 14, 2);
        four_rounds!(15 16 17 18 19, 3);
        for l in 0..N {
            e[l] = _mm_sha1nexte_epu32(e[l], before.1[l]);
            abcd[l] = _mm_add_epi32(abcd[l], before.0[l]);
        }
    }
    for l in 0..N {
        let ([a, b, c, d], [e, ..]) = (unpack(abcd[l]), unpack(e[l]));
        states[l] = [a, b, c, d, e];
    }
}

#[target_feature(enable = "sha,ssse3,sse4.1")]
fn ni_sha256<const N: usize>(states: &mut [[u32; 8]; N], blocks: [&[Block]; N]) {
    let big_endian = _mm_set_epi64x(0x0c0d_0e0f_0809_0a0b, 0x0405_0607_0001_0203);
    let mut abef = [_mm_setzero_si128(); N];
    let mut cdgh = [_mm_setzero_si128(); N];
    for l in 0..N {
        let [a, b, c, d, e, f, g, h] = states[l];
        (abef[l], cdgh[l]) = (words(a, b, e, f), words(c, d, g, h));
    }
    let count = blocks[0].len();
    let blocks = blocks.map(|blocks| &blocks[..count]);
    for i in 0..count {
        let before = (abef, cdgh);
        let mut w = [[_mm_setzero_si128(); 4]; N];
        macro_rules! four_rounds {
            ($($i:literal)*) => { $( for l in 0..N {
                let x = if $i < 4 {
                    _mm_shuffle_epi8(load(&blocks[l][i], $i % 4), big_endian)
                } else {
                    let x = _mm_sha256msg1_epu32(w[l][$i % 4], w[l][($i + 1) % 4]);
                    let y = _mm_alignr_epi8::<4>(w[l][($i + 3) % 4], w[l][($i + 2) % 4]);
                    _mm_sha256msg2_epu32(_mm_add_epi32(x, y), w[l][($i + 3) % 4])
                };
                w[l][$i % 4] = x;
                let [k0, k1, k2, k3] = K256[$i];
                let x = _mm_add_epi32(x, words(k3, k2, k1, k0));
                cdgh[l] = _mm_sha256rnds2_epu32(cdgh[l], abef[l], x);
                let x = _mm_shuffle_epi32::<0b1110>(x);
                abef[l] = _mm_sha256rnds2_epu32(abef[l], cdgh[l], x);
            } )* };
        }
        four_rounds!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);
        for l in 0..N {
            abef[l] = _mm_add_epi32(abef[l], before.0[l]);
            cdgh[l] = _mm_add_epi32(cdgh[l], before.1[l]);
        }
    }
    for l in 0..N {
        let ([a, b, e, f], [c, d, g, h]) = (unpack(abef[l]), unpack(cdgh[l]));
        states[l] = [a, b, c, d, e, f, g, h];
    }
}

/// The constants of SHA-256, four rounds a row.
#[rustfmt::skip]
const K256: [[u32; 4]; 16] = [
    [0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5], [0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5],
    [0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3], [0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174],
    [0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc], [0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da],
    [0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7], [0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967],
    [0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13], [0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85],
    [0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3], [0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070],
    [0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5], [0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3],
    [0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208], [0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2],
];

/// An operation of a token: its instructions are there, because the token is.
macro_rules! operation {
    ($operation:expr) => {{
        // SAFETY: `self` exists only where `detect` found the features of this operation, and a
        // pointer in it is to an array of the vector's size.
        unsafe { $operation }
    }};
}

/// Eight lanes, by AVX2; `VL` is whether with what AVX-512 with VL has for vectors of its length.
#[derive(Clone, Copy)]
pub(super) struct Eight<const VL: bool>(());

/// AVX2: eight lanes.
pub(super) type Avx2 = Eight<false>;

/// AVX-512 with F and VL, besides AVX2: eight lanes.
pub(super) type Avx512Vl = Eight<true>;

impl Avx2 {
    /// The token, if the processor has it.
    pub(super) fn detect() -> Option<Self> {
        is_x86_feature_detected!("avx2").then_some(Eight(()))
    }

    /// Advances up to eight SHA-1 states, each over its own blocks, of which all have the same
    /// number.
    pub(super) fn sha1(self, states: &mut [[u32; 5]], blocks: &[&[Block]]) {
        #[target_feature(enable = "avx2")]
        fn inner(token: Avx2, states: &mut [[u32; 5]], blocks: &[&[Block]]) {
            wide::sha1(token, states, blocks);
        }
        operation!(inner(self, states, blocks))
    }
}

impl Avx512Vl {
    /// The token, if the processor has them.
    pub(super) fn detect() -> Option<Self> {
        let has = is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512vl");
        has.then_some(Eight(()))
    }

    /// Advances up to eight SHA-1 states, each over its own blocks, of which all have the same
    /// number.
    pub(super) fn sha1(self, states: &mut [[u32; 5]], blocks: &[&[Block]]) {
        #[target_feature(enable = "avx2,avx512f,avx512vl")]
        fn inner(token: Avx512Vl, states: &mut [[u32; 5]], blocks: &[&[Block]]) {
            wide::sha1(token, states, blocks);
        }
        operation!(inner(self, states, blocks))
    }
}

impl<const VL: bool> Vector<8> for Eight<VL> {
    type V = __m256i;

    #[inline(always)]
    fn pack(self, lanes: [u32; 8]) -> __m256i {
        operation!(_mm256_loadu_si256((&raw const lanes).cast()))
    }

    #[inline(always)]
    fn unpack(self, v: __m256i) -> [u32; 8] {
        let mut lanes = [0; 8];
        operation!(_mm256_storeu_si256((&raw mut lanes).cast(), v));
        lanes
    }

    #[inline(always)]
    fn load(self, blocks: &[&Block; 8], row: usize, part: usize) -> __m256i {
        let quads = [load(blocks[row], part), load(blocks[row + 4], part)];
        operation!({
            let v = _mm256_set_m128i(quads[1], quads[0]);
            let swap = _mm_set_epi64x(0x0c0d_0e0f_0809_0a0b, 0x0405_0607_0001_0203);
            _mm256_shuffle_epi8(v, _mm256_broadcastsi128_si256(swap))
        })
    }

    #[inline(always)]
    fn zip_words(self, a: __m256i, b: __m256i) -> [__m256i; 2] {
        operation!([_mm256_unpacklo_epi32(a, b), _mm256_unpackhi_epi32(a, b)])
    }

    #[inline(always)]
    fn zip_pairs(self, a: __m256i, b: __m256i) -> [__m256i; 2] {
        operation!([_mm256_unpacklo_epi64(a, b), _mm256_unpackhi_epi64(a, b)])
    }

    #[inline(always)]
    fn add(self, a: __m256i, b: __m256i) -> __m256i {
        operation!(_mm256_add_epi32(a, b))
    }

    #[inline(always)]
    fn xor(self, a: __m256i, b: __m256i) -> __m256i {
        operation!(_mm256_xor_si256(a, b))
    }

    #[inline(always)]
    fn rotate<const BY: i32, const REST: i32>(self, a: __m256i) -> __m256i {
        if VL {
            return operation!(_mm256_rol_epi32::<BY>(a));
        }
        operation!(_mm256_or_si256(_mm256_slli_epi32::<BY>(a), _mm256_srli_epi32::<REST>(a)))
    }

    #[inline(always)]
    fn parity(self, b: __m256i, c: __m256i, d: __m256i) -> __m256i {
        if VL {
            return operation!(_mm256_ternarylogic_epi32::<PARITY>(b, c, d));
        }
        operation!(_mm256_xor_si256(_mm256_xor_si256(b, c), d))
    }

    #[inline(always)]
    fn choose(self, b: __m256i, c: __m256i, d: __m256i) -> __m256i {
        if VL {
            return operation!(_mm256_ternarylogic_epi32::<CHOOSE>(b, c, d));
        }
        operation!(_mm256_xor_si256(d, _mm256_and_si256(b, _mm256_xor_si256(c, d))))
    }

    #[inline(always)]
    fn majority(self, b: __m256i, c: __m256i, d: __m256i) -> __m256i {
        if VL {
            return operation!(_mm256_ternarylogic_epi32::<MAJORITY>(b, c, d));
        }
        let both = operation!(_mm256_and_si256(b, c));
        operation!(_mm256_or_si256(both, _mm256_and_si256(d, _mm256_or_si256(b, c))))
    }
}

// Truth tables: bit 4b + 2c + d is the value for those three bits.
const PARITY: i32 = 0b1001_0110;
const CHOOSE: i32 = 0b1100_1010;
const MAJORITY: i32 = 0b1110_1000;

/// AVX-512 with F and BW: sixteen lanes.
#[derive(Clone, Copy)]
pub(super) struct Avx512(());

impl Avx512 {
    /// The token, if the processor has it.
    pub(super) fn detect() -> Option<Self> {
        let has = is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw");
        has.then_some(Avx512(()))
    }

    /// Advances up to sixteen SHA-1 states, each over its own blocks, of which all have the same
    /// number.
    pub(super) fn sha1(self, states: &mut [[u32; 5]], blocks: &[&[Block]]) {
        #[target_feature(enable = "avx512f,avx512bw")]
        fn inner(token: Avx512, states: &mut [[u32; 5]], blocks: &[&[Block]]) {
            wide::sha1(token, states, blocks);
        }
        operation!(inner(self, states, blocks))
    }
}

impl Vector<16> for Avx512 {
    type V = __m512i;

    #[inline(always)]
    fn pack(self, lanes: [u32; 16]) -> __m512i {
        operation!(_mm512_loadu_si512((&raw const lanes).cast()))
    }

    #[inline(always)]
    fn unpack(self, v: __m512i) -> [u32; 16] {
        let mut lanes = [0; 16];
        operation!(_mm512_storeu_si512((&raw mut lanes).cast(), v));
        lanes
    }

    #[inline(always)]
    fn load(self, blocks: &[&Block; 16], row: usize, part: usize) -> __m512i {
        let quad = |q: usize| load(blocks[row + 4 * q], part);
        let quads = [quad(0), quad(1), quad(2), quad(3)];
        operation!({
            let v = _mm512_castsi128_si512(quads[0]);
            let v = _mm512_inserti32x4::<1>(v, quads[1]);
            let v = _mm512_inserti32x4::<2>(v, quads[2]);
            let v = _mm512_inserti32x4::<3>(v, quads[3]);
            let swap = _mm_set_epi64x(0x0c0d_0e0f_0809_0a0b, 0x0405_0607_0001_0203);
            _mm512_shuffle_epi8(v, _mm512_broadcast_i32x4(swap))
        })
    }

    #[inline(always)]
    fn zip_words(self, a: __m512i, b: __m512i) -> [__m512i; 2] {
        operation!([_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b)])
    }

    #[inline(always)]
    fn zip_pairs(self, a: __m512i, b: __m512i) -> [__m512i; 2] {
        operation!([_mm512_unpacklo_epi64(a, b), _mm512_unpackhi_epi64(a, b)])
    }

    #[inline(always)]
    fn add(self, a: __m512i, b: __m512i) -> __m512i {
        operation!(_mm512_add_epi32(a, b))
    }

    #[inline(always)]
    fn xor(self, a: __m512i, b: __m512i) -> __m512i {
        operation!(_mm512_xor_si512(a, b))
    }

    #[inline(always)]
    fn rotate<const BY: i32, const REST: i32>(self, a: __m512i) -> __m512i {
        operation!(_mm512_rol_epi32::<BY>(a))
    }

    #[inline(always)]
    fn parity(self, b: __m512i, c: __m512i, d: __m512i) -> __m512i {
        operation!(_mm512_ternarylogic_epi32::<PARITY>(b, c, d))
    }

    #[inline(always)]
    fn choose(self, b: __m512i, c: __m512i, d: __m512i) -> __m512i {
        operation!(_mm512_ternarylogic_epi32::<CHOOSE>(b, c, d))
    }

    #[inline(always)]
    fn majority(self, b: __m512i, c: __m512i, d: __m512i) -> __m512i {
        operation!(_mm512_ternarylogic_epi32::<MAJORITY>(b, c, d))
    }
}
