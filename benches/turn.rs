//! One turn of a shard, in nanoseconds per block of 16 KiB: bytes in, requests out, blocks served.
//!
//! Two shards, joined by a connection in memory, carry one torrent from one to the other. `receive`
//! counts the turns of the one that fetches, `serve` those of the one that has everything. The
//! connection's copies count (a kernel would make them too); the disk does not: it calls every piece
//! good and reads nothing, because it has benchmarks of its own. `transfer` is everything together
//! over storage in memory: hashing and copying on both sides.
#![allow(missing_docs, clippy::disallowed_methods)] // A benchmark reads the clock.

use std::{hint::black_box, net::SocketAddr, sync::Arc, time::Duration};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use downpour::{
    base::{
        bitfield::Bitfield,
        geometry::Geometry,
        hash::{Sha1Hash, sha1},
        id::PeerId,
        rng::Rng,
        time::Instant,
        units::BLOCK_LEN,
    },
    disk::{Storage, Volume, perform_batch},
    metainfo::Builder,
    net::{
        encryption::Opened,
        memory::{MemoryStream, pair},
    },
    pieces::job::{DiskEvent, DiskJob, Verdict},
    session::{TorrentId, turn::Turns},
    torrent::{Direction, InfoBytes, Input, Settings, Setup, Torrent},
};
use tokio::sync::Notify;

const PIECE_LENGTH: u32 = 1 << 20;
const TOTAL: u64 = 64 << 20;
const BLOCKS: u64 = TOTAL / BLOCK_LEN as u64;
/// What a kernel holds on each side of a fast connection.
const SOCKET_BUFFERS: usize = 2 << 20;
const BUDGET: usize = 44 << 20;
/// Virtual time between two turns.
const STEP: Duration = Duration::from_micros(200);

struct Side {
    turns: Turns<MemoryStream>,
    busy: Duration,
}

impl Side {
    fn new() -> Self {
        let turns = Turns::new(BUDGET, Arc::new(Notify::new()), Instant::ZERO);
        Side { turns, busy: Duration::ZERO }
    }

    fn host(&mut self, now: Instant, id: TorrentId, seed: u64, have: Bitfield) {
        let setup = Setup {
            info_hash: Sha1Hash([1; 20]),
            code: None,
            geometry: geometry(),
            have,
            peer_id: PeerId::generate(&mut Rng::new(seed)),
            listen_port: None,
            dht_port: None,
            partial: Vec::new(),
            priorities: Vec::new(),
            metadata: Some(InfoBytes::new(Arc::new([0; 100]))),
            settings: Settings::default(),
            seed,
        };
        self.turns.host(id, Torrent::new(setup, now), Volume::default());
    }

    fn turn(&mut self, now: Instant, id: TorrentId, disk: Option<&Arc<Storage>>) {
        let start = std::time::Instant::now();
        self.turns.turn(now);
        self.busy += start.elapsed();
        let mut wishes = std::mem::take(self.turns.wishes());
        let jobs: Vec<DiskJob> = wishes.disk.drain(..).map(|(_, job)| job).collect();
        let events = match disk {
            Some(storage) => {
                let batch = jobs.into_iter().map(|job| (storage.clone(), job)).collect();
                perform_batch(batch)
            }
            None => jobs.into_iter().map(believe).collect(),
        };
        let start = std::time::Instant::now();
        for event in events {
            self.turns.handle(now, id, Input::Disk(event));
        }
        self.busy += start.elapsed();
    }

    fn is_complete(&self, id: TorrentId) -> bool {
        self.turns.torrent(id).is_some_and(Torrent::is_complete)
    }
}

/// A disk that is always right.
fn believe(job: DiskJob) -> DiskEvent {
    match job {
        DiskJob::Verify { piece, slabs, .. } => DiskEvent::Verified {
            piece,
            slabs: slabs.into_iter().map(|held| held.slab).collect(),
            verdict: Verdict::Good,
            digests: Vec::new(),
        },
        DiskJob::Spill { piece, held } => DiskEvent::Spilled { piece, held, result: Ok(()) },
        DiskJob::Read { peer, run, slab } => DiskEvent::Read { peer, run, slab, result: Ok(()) },
    }
}

fn geometry() -> Geometry {
    Geometry::new(TOTAL, PIECE_LENGTH).expect("valid")
}

/// Two shards that live on, so that their memory is warm as it is in a running program.
pub(crate) struct Pair {
    seed: Side,
    leech: Side,
    now: Instant,
    transfers: u64,
}

impl Pair {
    pub(crate) fn new() -> Self {
        Pair { seed: Side::new(), leech: Side::new(), now: Instant::ZERO, transfers: 0 }
    }

    /// Carries a torrent over; gives what the turns of seed and leech took.
    pub(crate) fn transfer(
        &mut self,
        from: Option<&Arc<Storage>>,
        to: Option<&Arc<Storage>>,
    ) -> [Duration; 2] {
        let id = TorrentId(self.transfers);
        self.transfers += 1;
        let pieces = geometry().pieces();
        self.seed.host(self.now, id, 1, Bitfield::full(pieces));
        self.leech.host(self.now, id, 2, Bitfield::empty(pieces));
        let (ours, theirs) = pair(SOCKET_BUFFERS);
        let addr: SocketAddr = ([127, 0, 0, 1], 1).into();
        let (incoming, outgoing) = (Direction::Incoming, Direction::Outgoing);
        let theirs = Opened::plain(theirs, Vec::new());
        self.seed.turns.admit(self.now, id, addr, incoming, theirs).expect("admitted");
        let ours = Opened::plain(ours, Vec::new());
        self.leech.turns.admit(self.now, id, addr, outgoing, ours).expect("admitted");
        (self.seed.busy, self.leech.busy) = (Duration::ZERO, Duration::ZERO);
        while !self.leech.is_complete(id) {
            self.now += STEP;
            self.leech.turn(self.now, id, to);
            self.seed.turn(self.now, id, from);
        }
        let took = [self.seed.busy, self.leech.busy];
        self.leech.turns.dismiss(self.now, id);
        self.seed.turns.dismiss(self.now, id);
        took
    }
}

/// Storage in memory that holds the content, and one that does not yet.
fn storages() -> (Arc<Storage>, impl Fn() -> Arc<Storage>) {
    let mut content = vec![0; TOTAL as usize];
    Rng::new(3).fill(&mut content);
    let builder = Builder::file("file", TOTAL, Some(PIECE_LENGTH)).expect("valid");
    let hashes: Vec<_> = content.chunks(PIECE_LENGTH as usize).map(sha1).collect();
    let info = builder.build(&hashes).expect("valid").info;
    let full = Storage::in_memory(info.clone());
    let file = downpour::base::index::FileIndex(0);
    full.backend().write(file, 0, &content).expect("memory");
    (Arc::new(full), move || Arc::new(Storage::in_memory(info.clone())))
}

fn turns(c: &mut Criterion) {
    let mut group = c.benchmark_group("turn");
    group.sample_size(20).throughput(Throughput::Elements(BLOCKS));
    let mut shards = Pair::new();
    for (which, name) in ["serve", "receive"].into_iter().enumerate() {
        group.bench_function(name, |b| {
            b.iter_custom(|n| (0..n).map(|_| shards.transfer(None, None)[which]).sum());
        });
    }
    let (full, empty) = storages();
    group.bench_function("transfer", |b| {
        b.iter(|| black_box(shards.transfer(Some(&full), Some(&empty()))));
    });
    group.finish();
}

criterion_group!(benches, turns);
criterion_main!(benches);
