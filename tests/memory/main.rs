//! What things cost that there are many of, in bytes on the heap: counted, not measured.
//!
//! One test at a time, because there is one heap. DOWNPOUR_MANY says how many torrents there are.
#![allow(unsafe_code)] // An allocator that counts.

mod counting;

use std::{fs::File, path::Path, sync::Mutex, time::Duration};

use counting::held;
use downpour::{
    base::{
        bitfield::Bitfield,
        geometry::Geometry,
        hash::{Sha1Hash, sha1},
        rng::Rng,
        units::ByteCount,
    },
    metainfo::{Builder, Metainfo},
    pieces::Pieces,
    session::{AddTorrent, Config, Session},
};

/// Looks at what is held before it is too much for good.
const PATIENCE: u32 = 1_000;

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn many(usually: usize) -> usize {
    std::env::var("DOWNPOUR_MANY").map_or(usually, |many| many.parse().expect("a number"))
}

/// Two million pieces: twelve bytes each besides the twenty of the hash, which are in the metainfo.
#[test]
fn the_tables_of_two_million_pieces_are_small() {
    let _guard = ONE_AT_A_TIME.lock();
    const PIECES: u32 = 2 << 20;
    let geometry = Geometry::new(u64::from(PIECES) << 15, 1 << 15).expect("valid");
    let before = held();
    let mut pieces = Pieces::new(geometry, Bitfield::empty(PIECES), false, &mut Rng::new(1));
    let mut half = Bitfield::empty(PIECES);
    geometry.indices().step_by(2).for_each(|piece| {
        half.insert(piece);
    });
    let own = held() - before;
    pieces.peer_came(&half);
    let each = (held() - before) as f64 / f64::from(PIECES);
    eprintln!("{each:.2} bytes a piece");
    assert!(own > 0 && each <= 12.0, "{each} bytes a piece");
    let complete = held();
    drop(pieces);
    let full = Bitfield::full(PIECES);
    let pieces = Pieces::new(geometry, full, false, &mut Rng::new(1));
    let each = (held() - complete) as f64 / f64::from(PIECES);
    assert!(each <= 0.2, "a complete one: {each} bytes a piece");
    drop(pieces);
}

/// A torrent of one sparse file of zeros.
fn zeros(number: usize, pieces: u32, root: &Path) -> Metainfo {
    const LENGTH: u32 = 64 << 10;
    let (name, total) = (format!("zeros {number}"), u64::from(pieces * LENGTH));
    let file = File::create(root.join(&name)).expect("created");
    file.set_len(total).expect("grown");
    let mut builder = Builder::file(&name, total, Some(LENGTH)).expect("valid");
    builder.tiers = vec![vec!["http://127.0.0.1:9/announce".into()]];
    let hash: Sha1Hash = sha1(&[0; LENGTH as usize]);
    builder.build(&vec![hash; pieces as usize]).expect("valid")
}

/// What an idle seed may hold, in bytes: the hashes are in the one info buffer.
fn idle(pieces: u32) -> f64 {
    4096.0 + f64::from(pieces * 20)
}

async fn idle_seeds(many: usize, pieces: u32) -> f64 {
    let (root, state) = (tempfile::tempdir().expect("dir"), tempfile::tempdir().expect("dir"));
    let config = Config {
        state_dir: Some(state.path().to_owned()),
        memory: ByteCount(64 << 20),
        trackers: false,
        ..Config::default()
    };
    let session = Session::start(config).await.expect("starts");
    let mut before = 0;
    let mut handles = Vec::new();
    // The first ones warm up what grows once only.
    for number in 0..many + 10 {
        if number == 10 {
            before = held();
        }
        let add = AddTorrent::new(zeros(number, pieces, root.path()), root.path());
        let handle = session.add(add).await.expect("added");
        handle.wait_complete().await.expect("complete");
        handles.push(handle);
    }
    drop(handles);
    // They are idle once their states are saved, and what was held to save them has gone.
    let each = || (held() - before) as f64 / many as f64;
    let most = idle(pieces);
    for _ in 0..PATIENCE {
        if each() <= most {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let each = each();
    session.shutdown().await;
    each
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn an_idle_seed_takes_little() {
    let _guard = ONE_AT_A_TIME.lock();
    for pieces in [1, 64, 1000] {
        let each = idle_seeds(many(400), pieces).await;
        eprintln!("{:.2} KiB for each torrent of {pieces} pieces", each / 1024.0);
        assert!(each <= idle(pieces), "{each} bytes for a torrent of {pieces} pieces");
    }
}
