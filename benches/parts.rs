//! What the parts cost that have no benchmark of their own: the scanner, per byte of a torrent of
//! 20,000 files; finding the files of a piece; an announce over HTTP and one over UDP, both as bytes and back;
//! a block list of 300,000 ranges, which is loaded and asked.
#![allow(missing_docs)] // A benchmark.

#[path = "parts/lists.rs"]
mod lists;
#[path = "parts/work.rs"]
mod work;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use downpour::base::rng::Rng;

fn parts(c: &mut Criterion) {
    let info = work::many_files();
    let mut group = c.benchmark_group("scan");
    group.throughput(Throughput::Bytes(work::scan(&info) as u64));
    group.bench_function("20,000 files", |b| b.iter(|| work::scan(&info)));
    group.finish();
    let mut group = c.benchmark_group("layout");
    group.throughput(Throughput::Elements(u64::from(work::look_up(&info))));
    group.bench_function("pieces of 20,000 files", |b| b.iter(|| work::look_up(&info)));
    group.finish();
    let mut group = c.benchmark_group("announce");
    let announces = work::Announces::new();
    group.throughput(Throughput::Elements(2));
    group.bench_function("50 peers", |b| b.iter(|| announces.both()));
    group.finish();
    let mut group = c.benchmark_group("block list");
    let text = lists::text();
    group.throughput(Throughput::Bytes(text.len() as u64));
    group.bench_function("load 300,000 ranges", |b| b.iter(|| lists::load(&text)));
    let (filter, mut rng) = (lists::load(&text), Rng::new(2));
    println!("block list: {} bytes of text, {} in memory", text.len(), filter.memory());
    group.throughput(Throughput::Elements(u64::from(lists::ADDRESSES)));
    group.bench_function("look up", |b| b.iter(|| lists::look_up(&filter, &mut rng)));
    group.finish();
}

criterion_group!(benches, parts);
criterion_main!(benches);
