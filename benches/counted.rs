//! The parts at fixed work, for their instructions to be counted: `benches/guard.py` runs each under
//! callgrind and compares the counts with `benches/baseline.json`. Takes the name of a part; without
//! one it names them all. Nothing here reads a clock, and every run does the same.
#![allow(missing_docs)] // A program.

#[path = "parts/crowd.rs"]
mod crowd;
#[allow(dead_code, unused_imports)] // For the transfer; the rest is a benchmark.
#[path = "turn.rs"]
mod turn;
#[path = "parts/work.rs"]
mod work;

use std::hint::black_box;

use crowd::{Crowd, Share};
use downpour::{
    base::{
        geometry::Geometry,
        hash::sha1,
        slab::{Chunk, SLAB_LEN},
        units::BLOCK_LEN,
    },
    wire::{Decoder, Message, encode},
};

const PARTS: &[(&str, fn())] = &[
    ("scanner", || {
        let info = work::many_files();
        (0..10).for_each(|_| {
            work::scan(&info);
        });
    }),
    ("layout", || {
        let info = work::many_files();
        (0..20).for_each(|_| {
            work::look_up(&info);
        });
    }),
    ("announce", || {
        let announces = work::Announces::new();
        (0..2_000).for_each(|_| announces.both());
    }),
    ("decoder", decoder),
    ("picker", || picker(Share::Some(0.5))),
    ("picker for poor peers", || picker(Share::Some(0.01))),
    ("picker for seeds", || picker(Share::All)),
    // What the library does without vector instructions that valgrind may not know.
    ("hash", || {
        let bytes = vec![3; 4 << 20];
        black_box(sha1(&bytes));
    }),
    ("transfer", || {
        black_box(turn::Pair::new().transfer(None, None));
    }),
];

fn decoder() {
    let mut stream = Vec::new();
    for i in 0..256 {
        let (piece, begin) = (i / 16, i % 16 * BLOCK_LEN);
        stream.extend_from_slice(&encode::piece_header(piece, begin, BLOCK_LEN));
        stream.resize(stream.len() + BLOCK_LEN as usize, i as u8);
        (0..16).for_each(|n| encode::encode(&Message::Have(i * 16 + n), &mut stream));
    }
    for _ in 0..20 {
        let mut decoder = Decoder::new(2);
        for read in stream.chunks(SLAB_LEN as usize) {
            let mut input = Chunk::Bytes(read);
            while let Some(item) = decoder.next(&mut input).expect("valid") {
                black_box(item);
            }
        }
    }
}

fn picker(share: Share) {
    const PIECES: u64 = 10_000;
    const LENGTH: u32 = 64 << 10;
    let geometry = Geometry::new(PIECES * u64::from(LENGTH), LENGTH).expect("valid");
    let mut crowd = Crowd::new(geometry, 100, share);
    crowd.come();
    for _ in 0..2_000 {
        black_box(crowd.pick(16));
        crowd.arrive();
    }
}

fn main() {
    let part = std::env::args().skip(1).find(|arg| !arg.starts_with('-'));
    let Some(part) = part else {
        PARTS.iter().for_each(|(name, _)| println!("{name}"));
        return;
    };
    match PARTS.iter().find(|(name, _)| *name == part) {
        Some((_, work)) => work(),
        None => panic!("there is no part `{part}`"),
    }
}
