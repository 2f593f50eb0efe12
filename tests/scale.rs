//! Very many of everything through whole sessions: pieces, files, connections, torrents. Sparse files
//! of zeros stand for the data, so that a tebibyte takes no room.
//!
//! DOWNPOUR_MANY says how many torrents are added, and lets the largest torrents have their full size.
#![allow(clippy::disallowed_methods)] // How long things took is told; nothing is decided by it.

use std::{
    fs::{self, File},
    net::{Ipv4Addr, SocketAddr},
    os::unix::fs::FileExt as _,
    path::Path,
};

use downpour::{
    base::hash::sha1,
    metainfo::{
        Metainfo,
        build::{Builder, NewFile},
    },
    session::{AddTorrent, Check, Config, ListenConfig, Session, TorrentState},
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

fn many() -> Option<usize> {
    let many = std::env::var("DOWNPOUR_MANY").ok()?;
    Some(many.parse().expect("a number"))
}

/// A torrent of one file: zeros, but for the last `other` pieces.
fn zeros(name: &str, total: u64, piece_length: u32, other: usize) -> Metainfo {
    assert!(total.is_multiple_of(piece_length.into()), "all pieces are as long");
    let builder = Builder::file(name, total, Some(piece_length)).expect("valid");
    let hash = |byte| sha1(&vec![byte; piece_length as usize]);
    let pieces = builder.geometry().pieces() as usize;
    let hashes = [vec![hash(0); pieces - other], vec![hash(1); other]].concat();
    builder.build(&hashes).expect("valid")
}

fn sparse(path: &Path, length: u64) {
    File::create(path).and_then(|file| file.set_len(length)).expect("a sparse file");
}

async fn session(state: Option<&Path>) -> Session {
    let listen = ListenConfig { addr: Some(Ipv4Addr::LOCALHOST.into()), ..Default::default() };
    let state_dir = state.map(Path::to_owned);
    let config = Config {
        listen,
        state_dir,
        trackers: false,
        max_peers: 600,
        max_connections: 1200,
        ..Config::default()
    };
    Session::start(config).await.expect("starts")
}

fn addr(session: &Session) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, session.port().expect("listens")).into()
}

/// A file of full length whose last `other` pieces are missing is checked, and they are fetched from a
/// seed that was checked, too. Nothing is reserved for a file that has its length: room is taken for
/// those pieces only.
async fn goes_round(total: u64, piece_length: u32, other: usize) {
    let metainfo = zeros("large", total, piece_length, other);
    let (from, to) = (TempDir::new().expect("dir"), TempDir::new().expect("dir"));
    for dir in [&from, &to] {
        sparse(&dir.path().join("large"), total);
    }
    let last = vec![1; piece_length as usize * other];
    let file = File::options().write(true).open(from.path().join("large")).expect("opened");
    file.write_all_at(&last, total - last.len() as u64).expect("written");
    let (seed, leech) = (session(None).await, session(None).await);
    let add = AddTorrent { fetch: false, ..AddTorrent::new(metainfo.clone(), from.path()) };
    let handle = seed.add(add).await.expect("added");
    handle.wait_complete().await.expect("all of it is there");
    let add = AddTorrent { peers: vec![addr(&seed)], ..AddTorrent::new(metainfo, to.path()) };
    let handle = leech.add(add).await.expect("added");
    handle.wait_checked().await.expect("checked");
    handle.wait_complete().await.expect("fetched");
    assert_eq!(handle.snapshot().machine.downloaded, last.len() as u64);
    let mut got = vec![0; last.len()];
    let file = File::open(to.path().join("large")).expect("opened");
    file.read_exact_at(&mut got, total - last.len() as u64).expect("read");
    assert!(got == last, "it arrived as it was");
    leech.shutdown().await;
    seed.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_tebibyte_of_large_pieces() {
    let total = if many().is_some() { 1 << 40 } else { 1 << 34 };
    goes_round(total, 16 << 20, 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn two_million_pieces() {
    let total = if many().is_some() { 1 << 36 } else { 1 << 32 };
    goes_round(total, 32 << 10, 200).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn twenty_thousand_files() {
    let files = if many().is_some() { 20_000 } else { 2_000 };
    let file = |n: u64| NewFile {
        path: vec![format!("d{:03}", n / 100), format!("f{n:05}")],
        length: if many().is_some() { 30_000 } else { 500 },
    };
    let builder = Builder::folder("files", (0..files).map(file).collect(), Some(64 << 10));
    let builder = builder.expect("valid");
    let geometry = builder.geometry();
    let hash = |p| sha1(&vec![0; geometry.piece_len(p) as usize]);
    let hashes: Vec<_> = geometry.indices().map(hash).collect();
    let metainfo = builder.build(&hashes).expect("valid");
    let from = TempDir::new().expect("dir");
    for file in metainfo.info.layout().files() {
        let path = from.path().join(file.path.to_path_buf());
        fs::create_dir_all(path.parent().expect("a folder")).expect("created");
        sparse(&path, file.length);
    }
    let to = TempDir::new().expect("dir");
    let (seed, leech) = (session(None).await, session(None).await);
    let handle = seed.add(AddTorrent::new(metainfo.clone(), from.path())).await.expect("added");
    handle.wait_complete().await.expect("complete");
    let add =
        AddTorrent { peers: vec![addr(&seed)], ..AddTorrent::new(metainfo.clone(), to.path()) };
    let handle = leech.add(add).await.expect("added");
    handle.wait_complete().await.expect("fetched");
    for file in metainfo.info.layout().files() {
        let facts = fs::metadata(to.path().join(file.path.to_path_buf())).expect("there");
        assert_eq!(facts.len(), file.length);
    }
    leech.shutdown().await;
    seed.shutdown().await;
}

/// All of them are admitted and answered, and the seed needs a flag for each and no more.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn five_hundred_connections_on_one_torrent() {
    const PEERS: u32 = 500;
    let metainfo = zeros("crowded", 1 << 24, 16 << 10, 0);
    let dir = TempDir::new().expect("dir");
    sparse(&dir.path().join("crowded"), 1 << 24);
    let seed = session(None).await;
    let handle = seed.add(AddTorrent::new(metainfo.clone(), dir.path())).await.expect("added");
    handle.wait_complete().await.expect("complete");
    let mut hello = [0; 68];
    hello[..20].copy_from_slice(b"\x13BitTorrent protocol");
    hello[25] = 0x10;
    hello[27] = 0x04;
    hello[28..48].copy_from_slice(&metainfo.info.info_hash().wire().0);
    let mut peers = Vec::new();
    for number in 0..PEERS {
        let mut stream = TcpStream::connect(addr(&seed)).await.expect("connects");
        hello[48..].copy_from_slice(format!("-XX0001-{number:012}").as_bytes());
        stream.write_all(&hello).await.expect("written");
        let mut answer = [0; 73];
        stream.read_exact(&mut answer).await.expect("answered");
        assert_eq!(answer[68..], [0, 0, 0, 1, 14], "have all");
        // Interested, and nothing so far.
        stream.write_all(&[0, 0, 0, 1, 15, 0, 0, 0, 1, 2]).await.expect("written");
        peers.push(stream);
    }
    assert_eq!(handle.peers().await.len() as u32, PEERS);
    drop(peers);
    seed.shutdown().await;
}

/// All are listed before one is checked to the end, seed after that, and are known to the next session.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn many_torrents_are_listed_at_once_and_remembered() {
    let (root, state) = (TempDir::new().expect("dir"), TempDir::new().expect("dir"));
    let torrents: Vec<Metainfo> = (0..many().unwrap_or(300))
        .map(|n| {
            let metainfo = zeros(&format!("torrent {n}"), 64 << 10, 16 << 10, 0);
            sparse(&root.path().join(metainfo.info.name()), 64 << 10);
            metainfo
        })
        .collect();
    for run in 0..2 {
        let session = session(Some(state.path())).await;
        let check = if run == 0 { Check::Everything } else { Check::Doubtful };
        let add = |metainfo: &Metainfo| {
            let add = AddTorrent::new(metainfo.clone(), root.path());
            AddTorrent { check, ..add }
        };
        let adds = torrents.iter().map(add).collect();
        let began = std::time::Instant::now();
        let added: Result<Vec<_>, _> = session.add_all(adds).await.into_iter().collect();
        let handles = added.expect("added");
        assert_eq!(session.torrents().len(), torrents.len());
        eprintln!("run {run}: {} torrents listed in {:?}", torrents.len(), began.elapsed());
        for handle in &handles {
            handle.wait_complete().await.expect("complete");
            assert_eq!(handle.snapshot().state, TorrentState::Seeding);
        }
        eprintln!("run {run}: all seed after {:?}", began.elapsed());
        // A disk that is busy with others may need longer than the end of a session waits.
        let folder = state.path().join("resume");
        let records = || {
            let all = fs::read_dir(&folder).expect("states").flatten();
            all.filter(|entry| entry.path().extension().is_some_and(|e| e == "resume")).count()
        };
        while records() < torrents.len() {
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        eprintln!("run {run}: all saved after {:?}", began.elapsed());
        session.shutdown().await;
        eprintln!("run {run}: ended after {:?}", began.elapsed());
        assert_eq!(records(), torrents.len());
    }
}
