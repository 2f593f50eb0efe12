//! Several digests at once, because one alone leaves half of the processor idle.
//!
//! [`Lanes::sha1`] and [`Lanes::sha256`] hash whole messages; [`Lanes::update`] and
//! [`Lanes::finish`] advance digests of bytes that arrive in parts. Any number of them, of any
//! lengths: a lane whose message ends takes the next that waits, and when none is left fewer lanes go
//! on. Which instructions there are is found out at run time; without any of them, everything is done
//! by the `sha1` and `sha2` crates.

#[cfg(test)]
use super::wide;
use super::{
    Sha1Hash, Sha256Hash,
    running::{Algorithm, Block, OfSha1, OfSha256, Running},
    x86::{Avx2, Avx512, Avx512Vl, Ni},
};

/// The most lanes there are.
const MOST: usize = 16;
/// More messages than ever go side by side.
const NEVER: usize = MOST + 1;

/// By which instructions, and how many side by side at most, messages are hashed.
///
/// [`Lanes::widest`] chooses; another choice is for tests and measurements. One that the processor
/// does not have does the same by what it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lanes {
    /// One after the other, by the `sha1` and `sha2` crates.
    Crate,
    /// One after the other, by the SHA extensions.
    Ni1,
    /// Two, by the SHA extensions.
    Ni2,
    /// Three, by the SHA extensions.
    Ni3,
    /// Four, by the SHA extensions.
    Ni4,
    /// SHA-1: eight, by AVX2; for processors without the SHA extensions.
    Avx2,
    /// SHA-1: eight, by AVX-512 in vectors as long as those of AVX2. SHA-256: as [`Lanes::Ni4`].
    Avx512Vl,
    /// SHA-1: sixteen, by AVX-512; fewer messages by what is fastest for so few. SHA-256: as
    /// [`Lanes::Ni4`].
    Avx512,
    /// Sixteen, by the algorithm of AVX-512 without its instructions.
    #[cfg(test)]
    Portable,
}

impl Lanes {
    /// The fastest for many messages on this processor.
    pub fn widest() -> Self {
        match () {
            () if Avx512::detect().is_some() => Lanes::Avx512,
            () if Ni::detect().is_some() => Lanes::Ni4,
            () if Avx2::detect().is_some() => Lanes::Avx2,
            () => Lanes::Crate,
        }
    }

    /// All that this processor has.
    pub fn available() -> impl Iterator<Item = Self> {
        use Lanes::{Avx2 as Eight, Avx512 as Sixteen, Avx512Vl as EightVl};
        use Lanes::{Crate, Ni1, Ni2, Ni3, Ni4};
        let all = [Crate, Ni1, Ni2, Ni3, Ni4, Eight, EightVl, Sixteen];
        all.into_iter().filter(|lanes| match lanes {
            Ni1 | Ni2 | Ni3 | Ni4 => Ni::detect().is_some(),
            Eight => Avx2::detect().is_some(),
            EightVl => Avx512Vl::detect().is_some(),
            Sixteen => Avx512::detect().is_some(),
            _ => true,
        })
    }

    /// How many messages of SHA-1 go side by side: so many should wait, for full speed.
    pub const fn count(self) -> usize {
        match self {
            Lanes::Crate | Lanes::Ni1 => 1,
            Lanes::Ni2 => 2,
            Lanes::Ni3 => 3,
            Lanes::Ni4 => 4,
            Lanes::Avx2 | Lanes::Avx512Vl => 8,
            Lanes::Avx512 => 16,
            #[cfg(test)]
            Lanes::Portable => 16,
        }
    }

    /// SHA-1 of each of `messages`.
    pub fn sha1(self, messages: &[&[u8]]) -> Vec<Sha1Hash> {
        self.digests::<OfSha1>(messages)
    }

    /// SHA-256 of each of `messages`.
    pub fn sha256(self, messages: &[&[u8]]) -> Vec<Sha256Hash> {
        self.digests::<OfSha256>(messages)
    }

    fn digests<A: Algorithm>(self, messages: &[&[u8]]) -> Vec<A::Hash> {
        let mut running = vec![Running::<A>::new(); messages.len()];
        self.update(&mut running, messages);
        self.finish(&mut running)
    }

    /// Appends to each of `running` its own one of `parts`, which are as many; an empty part leaves
    /// its digest as it is.
    ///
    /// ```
    /// use downpour::base::hash::{Lanes, Sha1, sha1};
    ///
    /// let mut pieces = [Sha1::new(), Sha1::new()];
    /// let lanes = Lanes::widest();
    /// lanes.update(&mut pieces, &[b"a long ", b"short"]);
    /// lanes.update(&mut pieces, &[b"one", b""]);
    /// assert_eq!(lanes.finish(&mut pieces), [sha1(b"a long one"), sha1(b"short")]);
    /// ```
    pub fn update<A: Algorithm>(self, running: &mut [Running<A>], parts: &[&[u8]]) {
        assert_eq!(running.len(), parts.len(), "a part for each digest");
        let instructions = Instructions::of(self);
        instructions.advance::<A>(running.iter_mut().zip(parts).map(|(r, part)| r.complete(part)));
        instructions.advance::<A>(running.iter_mut().zip(parts).map(|(r, part)| r.append(part)));
    }

    /// The digest of everything appended, for each of `running`; they start again.
    pub fn finish<A: Algorithm>(self, running: &mut [Running<A>]) -> Vec<A::Hash> {
        let instructions = Instructions::of(self);
        instructions.advance::<A>(running.iter_mut().map(Running::close));
        instructions.advance::<A>(running.iter_mut().map(Running::seal));
        running.iter_mut().map(|running| std::mem::take(running).hash()).collect()
    }
}

/// What may be used of what the processor has.
struct Instructions {
    ni: Option<Ni>,
    ni_lanes: usize,
    /// For SHA-1, those of most lanes first.
    wide: [Option<Wide>; 2],
}

/// A kernel of many lanes.
#[derive(Clone, Copy)]
struct Wide {
    kernel: Kernel,
    lanes: usize,
    /// From so many messages on, with the other lanes idle, it beats what comes after it.
    from: usize,
}

impl Instructions {
    fn of(lanes: Lanes) -> Self {
        let ni_lanes = match lanes {
            Lanes::Ni1 | Lanes::Ni2 | Lanes::Ni3 | Lanes::Ni4 => lanes.count(),
            Lanes::Avx512Vl | Lanes::Avx512 => 4,
            _ => 0,
        };
        let ni = Ni::detect().filter(|_| ni_lanes > 0);
        // In GB/s: four of SHA-NI do 4.3 and sixteen lanes 5.5 on Zen 4; on Emerald Rapids one of
        // SHA-NI does 1.4 and two 1.6, eight lanes 4.4 and sixteen 5.9.
        let (eight_from, sixteen_from) = match ni {
            Some(ni) if ni.overlaps() => (NEVER, 13),
            Some(_) => (3, 9),
            None => (2, 9),
        };
        let avx2 = || Avx2::detect().map(Kernel::Eight);
        let avx512vl = || Avx512Vl::detect().map(Kernel::EightVl);
        let avx512 = || Avx512::detect().map(Kernel::Sixteen);
        let wide =
            |lanes, from, kernel: Option<Kernel>| kernel.map(|kernel| Wide { kernel, lanes, from });
        let wide = match lanes {
            Lanes::Avx2 => [wide(8, 2, avx2()), None],
            Lanes::Avx512Vl => [wide(8, 2, avx512vl()), None],
            Lanes::Avx512 => [wide(16, sixteen_from, avx512()), wide(8, eight_from, avx512vl())],
            #[cfg(test)]
            Lanes::Portable => [wide(16, 2, Some(Kernel::Portable)), None],
            _ => [None; 2],
        };
        Instructions { ni, ni_lanes, wide }
    }

    /// What advances some of `waiting` states best, and how many of them.
    fn kernel<A: Algorithm>(&self, waiting: usize) -> (Kernel, usize) {
        let wide = self.wide.iter().flatten().find(|wide| A::IS_WIDE && waiting >= wide.from);
        if let Some(wide) = wide {
            return (wide.kernel, waiting.min(wide.lanes));
        }
        match self.ni {
            // Three and two are faster than four and one: 3.1 and 2.8 GiB/s on Zen 3.
            Some(ni) if waiting == 5 && self.ni_lanes > 3 => (Kernel::Ni(ni), 3),
            Some(ni) => (Kernel::Ni(ni), waiting.min(self.ni_lanes)),
            None => (Kernel::Crate, 1),
        }
    }

    /// Advances every state of `work` over its blocks.
    fn advance<'a, A: Algorithm>(&self, work: impl Iterator<Item = (&'a mut A::State, &'a [Block])>)
    where
        A::State: 'a,
    {
        let mut work = work.filter(|(_, blocks)| !blocks.is_empty()).fuse();
        // The messages in work, first those of which a kernel takes some: where the state of each
        // belongs, the state itself, and the blocks it has before it.
        let mut homes: [Option<&mut A::State>; MOST] = [const { None }; MOST];
        let mut states = [A::START; MOST];
        let mut blocks: [&[Block]; MOST] = [&[]; MOST];
        let mut waiting = 0;
        loop {
            while waiting < MOST
                && let Some((state, ahead)) = work.next()
            {
                states[waiting] = *state;
                homes[waiting] = Some(state);
                blocks[waiting] = ahead;
                waiting += 1;
            }
            if waiting == 0 {
                return;
            }
            let (kernel, count) = self.kernel::<A>(waiting);
            let shortest = blocks[..count].iter().map(|ahead| ahead.len()).min().unwrap_or(0);
            let mut now: [&[Block]; MOST] = [&[]; MOST];
            for (now, ahead) in now.iter_mut().zip(&mut blocks[..count]) {
                (*now, *ahead) = ahead.split_at(shortest);
            }
            A::advance(kernel, &mut states[..count], &now[..count]);
            for lane in (0..count).rev() {
                if !blocks[lane].is_empty() {
                    continue;
                }
                // The last takes the place of one that is done.
                waiting -= 1;
                homes.swap(lane, waiting);
                states.swap(lane, waiting);
                blocks.swap(lane, waiting);
                *homes[waiting].take().expect("every message has a home") = states[waiting];
            }
        }
    }
}

/// A compression function.
#[derive(Clone, Copy)]
#[expect(private_interfaces, reason = "only named by the hidden part of `Algorithm`")]
pub enum Kernel {
    Crate,
    Ni(Ni),
    Eight(Avx2),
    EightVl(Avx512Vl),
    Sixteen(Avx512),
    #[cfg(test)]
    Portable,
}

impl Kernel {
    pub(super) fn sha1(self, states: &mut [[u32; 5]], blocks: &[&[Block]]) {
        match self {
            Kernel::Crate => {
                states.iter_mut().zip(blocks).for_each(|(s, b)| sha1::block_api::compress(s, b));
            }
            Kernel::Ni(ni) => match states.len() {
                1 => ni.sha1::<1>(array(states), lanes(blocks)),
                2 => ni.sha1::<2>(array(states), lanes(blocks)),
                3 => ni.sha1::<3>(array(states), lanes(blocks)),
                _ => ni.sha1::<4>(array(states), lanes(blocks)),
            },
            Kernel::Eight(eight) => eight.sha1(states, blocks),
            Kernel::EightVl(eight) => eight.sha1(states, blocks),
            Kernel::Sixteen(sixteen) => sixteen.sha1(states, blocks),
            #[cfg(test)]
            Kernel::Portable => wide::sha1::<_, 16>(wide::portable::Portable, states, blocks),
        }
    }

    pub(super) fn sha256(self, states: &mut [[u32; 8]], blocks: &[&[Block]]) {
        match self {
            Kernel::Ni(ni) => match states.len() {
                1 => ni.sha256::<1>(array(states), lanes(blocks)),
                2 => ni.sha256::<2>(array(states), lanes(blocks)),
                3 => ni.sha256::<3>(array(states), lanes(blocks)),
                _ => ni.sha256::<4>(array(states), lanes(blocks)),
            },
            _ => {
                let both = states.iter_mut().zip(blocks);
                both.for_each(|(s, b)| sha2::block_api::compress256(s, b));
            }
        }
    }
}

const AS_MANY: &str = "a kernel gets as many states as it has lanes";

fn array<T, const N: usize>(states: &mut [T]) -> &mut [T; N] {
    states.try_into().expect(AS_MANY)
}

fn lanes<'a, const N: usize>(blocks: &[&'a [Block]]) -> [&'a [Block]; N] {
    blocks.try_into().expect(AS_MANY)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{
        hash::{Sha1, sha1, sha256},
        rng::Rng,
    };
    use proptest::prelude::*;

    /// Those of this processor, and the portable one.
    fn all() -> impl Iterator<Item = Lanes> {
        Lanes::available().chain([Lanes::Portable])
    }

    fn bytes(length: usize, seed: u64) -> Vec<u8> {
        let mut bytes = vec![0; length];
        Rng::new(seed).fill(&mut bytes);
        bytes
    }

    fn compare(messages: &[Vec<u8>]) {
        let messages: Vec<&[u8]> = messages.iter().map(Vec::as_slice).collect();
        let want: Vec<_> = messages.iter().map(|m| (sha1(m), sha256(m))).collect();
        for lanes in all() {
            let got: Vec<_> =
                lanes.sha1(&messages).into_iter().zip(lanes.sha256(&messages)).collect();
            assert!(got == want, "{lanes:?}");
        }
    }

    #[test]
    fn every_length_around_a_block_in_every_number_of_lanes() {
        for count in 0..=18 {
            for length in (0..=130).chain([1_000, 16_384]) {
                let messages: Vec<_> = (0..count).map(|i| bytes(length, i)).collect();
                compare(&messages);
            }
        }
    }

    #[test]
    fn many_small_messages_do_not_starve_a_long_one() {
        let mut messages: Vec<_> = (0..100).map(|i| bytes(i, i as u64)).collect();
        messages.insert(0, bytes(1 << 20, 1));
        messages.insert(50, bytes((1 << 20) + 33, 2));
        compare(&messages);
    }

    #[test]
    fn one_that_the_processor_lacks_does_the_same() {
        use Lanes::*;
        let message = bytes(100_000, 3);
        for lanes in [Crate, Ni1, Ni2, Ni3, Ni4, Avx2, Avx512Vl, Avx512] {
            assert_eq!(lanes.sha1(&[message.as_slice(); 17]), [sha1(&message); 17]);
            assert!(Lanes::available().any(|l| l == Crate) && lanes.count() <= MOST);
        }
        assert!(Lanes::available().any(|lanes| lanes == Lanes::widest()));
    }

    #[test]
    fn a_digest_starts_again_once_it_is_finished() {
        let mut running = [Sha1::new(), Sha1::new()];
        for _ in 0..2 {
            Lanes::widest().update(&mut running, &[b"abc", b""]);
            assert_eq!(Lanes::widest().finish(&mut running), [sha1(b"abc"), sha1(b"")]);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn unequal_messages_are_hashed_as_by_the_crates(
            lengths in prop::collection::vec(
                prop_oneof![0usize..200, 0usize..5_000, Just(55), Just(56), Just(63), Just(64)],
                0..40,
            ),
        ) {
            let messages: Vec<_> =
                lengths.iter().enumerate().map(|(i, &n)| bytes(n, i as u64)).collect();
            compare(&messages);
        }

        #[test]
        fn parts_of_any_length_make_the_same_digests(
            rounds in prop::collection::vec(
                prop::collection::vec(prop_oneof![Just(0usize), 0usize..130, 0usize..2_000], 7),
                0..6,
            ),
        ) {
            for lanes in all() {
                let mut running = vec![Sha1::new(); 7];
                let mut wholes = vec![Vec::new(); 7];
                for (round, lengths) in rounds.iter().enumerate() {
                    let parts: Vec<_> = lengths.iter().map(|&n| bytes(n, round as u64)).collect();
                    let refs: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
                    lanes.update(&mut running, &refs);
                    wholes.iter_mut().zip(parts).for_each(|(whole, part)| whole.extend(part));
                }
                let want: Vec<_> = wholes.iter().map(|whole| sha1(whole)).collect();
                prop_assert_eq!(lanes.finish(&mut running), want, "{:?}", lanes);
            }
        }
    }
}
