//! What the parts cost that have no benchmark of their own: the scanner, per byte of a torrent of
//! 20,000 files; finding the files of a piece; an announce over HTTP and one over UDP, both as bytes and back.
#![allow(missing_docs)] // A benchmark.

#[path = "parts/work.rs"]
mod work;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};

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
}

criterion_group!(benches, parts);
criterion_main!(benches);
