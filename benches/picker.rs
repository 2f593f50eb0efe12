//! What choosing a block costs, per block, in a crowd of 500 peers: torrents of 10,000 pieces and of 2
//! million, peers with everything, half, and a hundredth of the pieces.
//!
//! A peer asks for 16 blocks at a time, as with a short pipeline; only the choosing is timed. What a
//! peer's bitfield takes is printed beside it.
#![allow(missing_docs, clippy::disallowed_methods)] // A benchmark reads the clock.

#[path = "parts/crowd.rs"]
mod crowd;

use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use crowd::{Crowd, Share};
use downpour::base::geometry::Geometry;

const PEERS: usize = 500;
const BATCH: u32 = 16;

fn picker(c: &mut Criterion) {
    let mut group = c.benchmark_group("pick");
    group.sample_size(10).throughput(Throughput::Elements(1));
    let sizes = [("10k", 10_000u64, 256 << 10), ("2M", 2 << 20, 32 << 10)];
    let shares =
        [("seeds", Share::All), ("half", Share::Some(0.5)), ("hundredth", Share::Some(0.01))];
    for (size, pieces, length) in sizes {
        for (name, share) in shares {
            let geometry = Geometry::new(pieces * u64::from(length), length).expect("valid");
            let new = || {
                let mut crowd = Crowd::new(geometry, PEERS, share);
                let began = Instant::now();
                crowd.come();
                if matches!(share, Share::Some(_)) {
                    let each = began.elapsed() / PEERS as u32;
                    println!("{size}, {name}: a bitfield takes {each:?}");
                }
                crowd
            };
            let mut crowd = new();
            // As in a swarm that has been going for a while.
            (0..PEERS).for_each(|_| {
                crowd.pick(BATCH);
                crowd.arrive();
            });
            group.bench_function(format!("{size}, {name}"), |b| {
                b.iter_custom(|blocks| {
                    let (mut took, mut done, mut in_vain) = (Duration::ZERO, 0, 0);
                    while done < blocks {
                        let began = Instant::now();
                        let picked = crowd.pick(BATCH);
                        took += began.elapsed();
                        crowd.arrive();
                        done += picked as u64;
                        in_vain = if picked == 0 { in_vain + 1 } else { 0 };
                        if in_vain > PEERS {
                            crowd = new();
                            in_vain = 0;
                        }
                    }
                    // The last peer may have got more than was left.
                    took.mul_f64(blocks as f64 / done as f64)
                });
            });
        }
    }
    group.finish();
}

criterion_group!(benches, picker);
criterion_main!(benches);
