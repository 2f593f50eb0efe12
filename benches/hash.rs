//! What hashing costs: by the crate, and in each number of lanes that the processor has.
//!
//! To read as ratios to `Crate` of the same run.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use downpour::base::{hash::Lanes, rng::Rng};

/// So many messages are a whole number of any lanes but three.
const MESSAGES: usize = 16;

fn messages(length: usize, count: usize) -> Vec<Vec<u8>> {
    let mut rng = Rng::new(1);
    let mut message = || {
        let mut bytes = vec![0; length];
        rng.fill(&mut bytes);
        bytes
    };
    (0..count).map(|_| message()).collect()
}

fn hash(c: &mut Criterion) {
    for (name, length, count) in [
        ("16 x 256 KiB", 256 * 1024, MESSAGES),
        ("16 x 1 MiB", 1024 * 1024, MESSAGES),
        ("1024 x 64 B", 64, 1024),
    ] {
        let messages = messages(length, count);
        let messages: Vec<&[u8]> = messages.iter().map(Vec::as_slice).collect();
        let bytes = (length * count) as u64;
        let mut group = c.benchmark_group(format!("sha1 {name}"));
        group.throughput(Throughput::Bytes(bytes)).sample_size(20);
        for lanes in Lanes::available() {
            group.bench_function(format!("{lanes:?}"), |b| {
                b.iter(|| black_box(lanes.sha1(&messages)));
            });
        }
        group.finish();
        let mut group = c.benchmark_group(format!("sha256 {name}"));
        group.throughput(Throughput::Bytes(bytes)).sample_size(20);
        for lanes in
            Lanes::available().filter(|lanes| !matches!(lanes, Lanes::Avx2 | Lanes::Avx512Vl))
        {
            group.bench_function(format!("{lanes:?}"), |b| {
                b.iter(|| black_box(lanes.sha256(&messages)));
            });
        }
        group.finish();
    }
}

/// The rate for each number of messages that wait: which lanes to choose for how many.
fn waiting(c: &mut Criterion) {
    let messages = messages(256 * 1024, MESSAGES);
    let messages: Vec<&[u8]> = messages.iter().map(Vec::as_slice).collect();
    for count in 1..=MESSAGES {
        let mut group = c.benchmark_group(format!("sha1 {count} x 256 KiB"));
        let bytes = (messages[0].len() * count) as u64;
        group.throughput(Throughput::Bytes(bytes)).sample_size(20);
        for lanes in Lanes::available() {
            group.bench_function(format!("{lanes:?}"), |b| {
                b.iter(|| black_box(lanes.sha1(&messages[..count])));
            });
        }
        group.finish();
    }
}

criterion_group!(benches, hash, waiting);
criterion_main!(benches);
