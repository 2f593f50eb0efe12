//! What the wire codec costs: per block of a download in reads of 256 KiB, per small message, per
//! request sent. Elements are blocks or messages, so the time of one is the inverse of the rate.

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use downpour::{
    base::{
        index::{Block, PieceIndex},
        slab::{Chunk, SLAB_LEN, Slab},
        units::BLOCK_LEN,
    },
    wire::{Decoded, Decoder, Message, encode},
};

const BLOCKS: u32 = 256;

fn decoder(c: &mut Criterion) {
    let mut stream = Vec::new();
    for i in 0..BLOCKS {
        let (piece, begin) = (i / 16, i % 16 * BLOCK_LEN);
        stream.extend_from_slice(&encode::piece_header(piece, begin, BLOCK_LEN));
        stream.resize(stream.len() + BLOCK_LEN as usize, i as u8);
    }
    let mut group = c.benchmark_group("decode");
    group.throughput(Throughput::Elements(u64::from(BLOCKS)));

    // Headers only: what the protocol costs beside moving the bytes.
    group.bench_function("blocks", |b| {
        b.iter(|| {
            let mut decoder = Decoder::new(2);
            for read in stream.chunks(SLAB_LEN as usize) {
                let mut input = Chunk::Bytes(read);
                while let Some(item) = decoder.next(&mut input).expect("valid") {
                    black_box(item);
                }
            }
        });
    });

    // With the copy of each payload into a slab.
    group.bench_function("blocks into slabs", |b| {
        let mut slab = Slab::zeroed(SLAB_LEN / BLOCK_LEN);
        b.iter(|| {
            let mut decoder = Decoder::new(2);
            let mut at = 0;
            for read in stream.chunks(SLAB_LEN as usize) {
                let mut input = Chunk::Bytes(read);
                while let Some(item) = decoder.next(&mut input).expect("valid") {
                    match item {
                        Decoded::PieceStart { begin, .. } => at = begin,
                        Decoded::PieceData(data) => {
                            slab.put(at, data);
                            at += data.len() as u32;
                        }
                        Decoded::PieceEnd | Decoded::Message(_) => {}
                    }
                }
            }
            black_box(&mut slab);
        });
    });

    let mut haves = Vec::new();
    (0..BLOCKS).for_each(|piece| encode::encode(&Message::Have(piece), &mut haves));
    group.bench_function("haves", |b| {
        b.iter(|| {
            let mut decoder = Decoder::new(2);
            let mut input = Chunk::Bytes(&haves);
            while let Some(item) = decoder.next(&mut input).expect("valid") {
                black_box(item);
            }
        });
    });
    group.finish();
}

fn encoder(c: &mut Criterion) {
    let mut group = c.benchmark_group("encode");
    group.throughput(Throughput::Elements(u64::from(BLOCKS)));
    let blocks: Vec<Block> = (0..BLOCKS)
        .map(|i| Block { piece: PieceIndex(i / 16), begin: i % 16 * BLOCK_LEN, length: BLOCK_LEN })
        .collect();
    group.bench_function("requests", |b| {
        b.iter_batched_ref(
            Vec::new,
            |out| encode::requests(black_box(&blocks).iter().copied(), out),
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

criterion_group!(benches, decoder, encoder);
criterion_main!(benches);
