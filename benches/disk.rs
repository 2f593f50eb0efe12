//! What the disk side costs: check and write a piece, read a run, hash what is there.
//!
//! Files lie in the temporary folder and in the page cache; they are written over, not created.

use std::{
    num::NonZeroUsize,
    sync::{Arc, atomic::AtomicBool},
};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use downpour::{
    base::{
        hash::sha1,
        id::PeerKey,
        index::{Block, PieceIndex},
        slab::{SLAB_LEN, Slab},
        units::BLOCK_LEN,
    },
    disk::{Effort, FilePool, Storage, Watch, check},
    metainfo::{Builder, Info, build::NewFile},
    pieces::job::{DiskEvent, DiskJob, Held, Verdict},
};

const TOTAL: u64 = 64 << 20;
const PIECE: u32 = 1 << 20;

/// All pieces have the same bytes, so that one set of slabs serves them all.
fn torrent(files: u64, piece_length: u32) -> (Arc<Info>, Vec<u8>) {
    let piece: Vec<u8> = (0..piece_length).map(|i| (i * 31 + i / 256) as u8 | 1).collect();
    let files =
        (0..files).map(|i| NewFile { path: vec![format!("{i}")], length: TOTAL / files }).collect();
    let builder = Builder::folder("t", files, Some(piece_length)).expect("valid");
    let hashes = vec![sha1(&piece); builder.geometry().pieces() as usize];
    (builder.build(&hashes).expect("valid").info, piece)
}

fn slabs(piece: &[u8]) -> Vec<Slab> {
    piece
        .chunks(SLAB_LEN as usize)
        .map(|part| {
            let mut slab = Slab::zeroed((part.len() as u32).div_ceil(BLOCK_LEN));
            slab.bytes_mut().expect("bytes")[..part.len()].copy_from_slice(part);
            slab
        })
        .collect()
}

fn verify(storage: &Storage, piece: PieceIndex, slabs: &mut Vec<Slab>) {
    let held = (0..)
        .zip(slabs.drain(..))
        .map(|(slot, slab)| Held { begin: slot * SLAB_LEN, filled: u32::MAX, slab })
        .collect();
    let event = storage.perform(DiskJob::Verify { piece, slabs: held, digests: false });
    let DiskEvent::Verified { slabs: back, verdict: Verdict::Good, .. } = event else {
        panic!("{event:?}")
    };
    *slabs = back;
}

fn disk(c: &mut Criterion) {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let pool = FilePool::new(256);
    let (info, piece) = torrent(1, PIECE);
    let mut held = slabs(&piece);
    let on_disk = Storage::on_disk(Arc::clone(&info), dir.path().join("one"), &pool);
    let in_memory = Storage::in_memory(Arc::clone(&info));
    let (small_info, small_piece) = torrent(4_096, 16 * 1024);
    let small = Storage::on_disk(small_info, dir.path().join("many"), &pool);
    let mut small_held = slabs(&small_piece);

    let mut group = c.benchmark_group("disk");
    group.throughput(Throughput::Bytes(TOTAL)).sample_size(10);
    for (name, storage) in [("files", &on_disk), ("memory", &in_memory)] {
        group.bench_function(format!("verify and write, {name}"), |b| {
            b.iter(|| info.geometry().indices().for_each(|i| verify(storage, i, &mut held)));
        });
    }
    group.bench_function("verify and write, 4096 files of 16 KiB, 256 open", |b| {
        let pieces = small.info().geometry();
        b.iter(|| pieces.indices().for_each(|i| verify(&small, i, &mut small_held)));
    });
    for length in [BLOCK_LEN, SLAB_LEN] {
        group.bench_function(format!("read runs of {} KiB", length / 1024), |b| {
            let mut slab = Slab::zeroed(SLAB_LEN / BLOCK_LEN);
            b.iter(|| {
                for piece in info.geometry().indices() {
                    for begin in (0..PIECE).step_by(length as usize) {
                        let peer = PeerKey { slot: 0, generation: 0 };
                        let run = Block { piece, begin, length };
                        let given = std::mem::replace(&mut slab, Slab::zeroed(0));
                        let job = DiskJob::Read { peer, run, slab: given };
                        let DiskEvent::Read { slab: back, result: Ok(()), .. } =
                            on_disk.perform(job)
                        else {
                            panic!("a read failed")
                        };
                        slab = back;
                    }
                }
            });
        });
    }
    for (name, storage) in [("1 file", &on_disk), ("4096 files", &small)] {
        for threads in [1, 2].map(|n| NonZeroUsize::new(n).expect("not zero")) {
            group.bench_function(format!("check {name}, {threads} threads"), |b| {
                let never = AtomicBool::new(false);
                let watch = Watch { progress: &|_| {}, cancel: &never };
                b.iter(|| {
                    let found = check(storage, None, Effort::with_threads(threads), watch);
                    assert!(found.is_some_and(|found| found.have.is_full()));
                });
            });
        }
    }
    group.finish();
}

criterion_group!(benches, disk);
criterion_main!(benches);
