//! Stands for `x86` on other processors: they have none of its instructions, and nobody can hold a
//! token for them.

use super::running::Block;

macro_rules! none {
    ($($token:ident)*) => { $(
        #[derive(Clone, Copy)]
        pub(super) enum $token {}

        impl $token {
            pub(super) fn detect() -> Option<Self> {
                None
            }
        }
    )* };
}

none!(Ni Avx2 Avx512Vl Avx512);

impl Ni {
    pub(super) fn overlaps(self) -> bool {
        match self {}
    }

    pub(super) fn sha1<const N: usize>(self, _: &mut [[u32; 5]; N], _: [&[Block]; N]) {
        match self {}
    }

    pub(super) fn sha256<const N: usize>(self, _: &mut [[u32; 8]; N], _: [&[Block]; N]) {
        match self {}
    }
}

macro_rules! wide {
    ($($token:ident)*) => { $(
        impl $token {
            pub(super) fn sha1(self, _: &mut [[u32; 5]], _: &[&[Block]]) {
                match self {}
            }
        }
    )* };
}

wide!(Avx2 Avx512Vl Avx512);
