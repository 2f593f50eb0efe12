//! What one run leaves for the next: data is hashed once, and nothing verified is fetched twice.

use std::{
    fs::{self, File},
    net::{Ipv4Addr, SocketAddr},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use downpour::{
    base::{
        id::PeerId,
        rng::Rng,
        slab::Chunk,
        units::{BLOCK_LEN, ByteRate},
    },
    session::{
        AddTorrent, Check, Config, Limits, Session, TorrentEvent, TorrentHandle, TorrentSnapshot,
    },
    wire::{Decoded, Decoder, HANDSHAKE_LEN, Handshake, Message, Reserved, encode::encode},
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::content::{Content, addr_of, seeder};

/// Who waits so long has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where a run and the one after it have their data and their state.
struct Place {
    data: TempDir,
    state: TempDir,
}

impl Place {
    fn new() -> Self {
        let dir = || TempDir::new().expect("a folder");
        Place { data: dir(), state: dir() }
    }

    fn file(&self, content: &Content) -> PathBuf {
        self.data.path().join(&content.files[0].0)
    }

    async fn session(&self) -> Session {
        let state_dir = Some(self.state.path().to_owned());
        Session::start(Config { state_dir, ..Config::default() }).await.expect("starts")
    }

    /// How many pieces the next run finds.
    async fn found(&self, content: &Content, check: Check) -> u32 {
        let session = self.session().await;
        let add = AddTorrent { check, ..content.add(self.data.path()) };
        let handle = session.add(add).await.expect("added");
        handle.wait_checked().await.expect("checked");
        let found = handle.snapshot().machine.pieces_done;
        session.shutdown().await;
        found
    }

    /// A run that fetches from `peer` at `rate` until so many pieces are verified.
    async fn fetch(
        &self,
        content: &Content,
        peer: SocketAddr,
        rate: ByteRate,
        pieces: u32,
    ) -> (Session, TorrentHandle) {
        let session = self.session().await;
        session.set_limits(Limits { up: None, down: Some(rate) }.into());
        let add = AddTorrent { peers: vec![peer], ..content.add(self.data.path()) };
        let handle = session.add(add).await.expect("added");
        let mut events = handle.subscribe();
        let mut verified = 0;
        while verified < pieces {
            if let Ok(TorrentEvent::PieceVerified(_)) = events.recv().await {
                verified += 1;
            }
        }
        (session, handle)
    }

    fn state_file(&self) -> PathBuf {
        let entries = fs::read_dir(self.state.path().join("resume")).expect("a folder");
        let mut paths = entries.map(|entry| entry.expect("an entry").path());
        paths.find(|path| path.extension().is_some_and(|e| e == "resume")).expect("a state")
    }
}

/// Changes a byte of a file; `quietly` leaves the time of the last write as it was.
pub(crate) fn spoil(path: &Path, at: u64, quietly: bool) {
    let file = File::options().read(true).write(true).open(path).expect("opens");
    let modified = file.metadata().and_then(|facts| facts.modified()).expect("has a time");
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).expect("read");
    file.write_all_at(&[byte[0] ^ 1], at).expect("written");
    let time = if quietly { modified } else { modified + Duration::from_secs(3600) };
    file.set_modified(time).expect("set");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn data_is_hashed_once_and_again_when_it_was_touched() {
    let content = Content::one_file("file.bin", 1_000_000, 32 << 10);
    let place = Place::new();
    content.write(place.data.path());
    assert_eq!(place.found(&content, Check::Doubtful).await, 31);
    spoil(&place.file(&content), 5, true);
    // Nothing shows that somebody wrote there, so nobody looks.
    assert_eq!(place.found(&content, Check::Doubtful).await, 31);
    assert_eq!(place.found(&content, Check::Everything).await, 30);
    // The run that looked has told the next one.
    assert_eq!(place.found(&content, Check::Doubtful).await, 30);
    spoil(&place.file(&content), 500_000, false);
    assert_eq!(place.found(&content, Check::Doubtful).await, 29);
    assert_eq!(place.found(&content, Check::Nothing).await, 31);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_damaged_state_is_set_aside_and_costs_a_check() {
    let content = Content::one_file("file.bin", 1_000_000, 32 << 10);
    let place = Place::new();
    content.write(place.data.path());
    assert_eq!(place.found(&content, Check::Doubtful).await, 31);
    spoil(&place.file(&content), 5, true);
    let state = place.state_file();
    fs::write(&state, "half a sta").expect("written");
    assert_eq!(place.found(&content, Check::Doubtful).await, 30);
    assert_eq!(fs::read(state.with_extension("resume.damaged")).expect("kept"), b"half a sta");
    assert_eq!(place.found(&content, Check::Doubtful).await, 30);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn after_a_kill_nothing_verified_is_fetched_again() {
    let content = Content::one_file("file.bin", 8_000_000, 64 << 10);
    let (seed, _, _seed_dir) = seeder(&content).await;
    let peer = addr_of(&seed, Ipv4Addr::LOCALHOST);
    let place = Place::new();
    for least in [20, 40] {
        let (session, _) = place.fetch(&content, peer, ByteRate(20 << 20), 20).await;
        // Without ceremony: nothing is saved.
        drop(session);
        let session = place.session().await;
        let handle = session.add(content.add(place.data.path())).await.expect("added");
        handle.wait_checked().await.expect("checked");
        let found = handle.snapshot().machine.pieces_done;
        assert!(found >= least, "{found} pieces are here, at least {least} were verified");
        drop(session);
    }
    let (session, handle) = place.fetch(&content, peer, ByteRate(1 << 30), 1).await;
    handle.wait_complete().await.expect("complete");
    content.assert_at(place.data.path());
    session.shutdown().await;
    seed.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn an_orderly_end_keeps_blocks_of_unfinished_pieces() {
    let content = Content::one_file("file.bin", 12_000_000, 1 << 20);
    let (seed, _, _seed_dir) = seeder(&content).await;
    let peer = addr_of(&seed, Ipv4Addr::LOCALHOST);
    let place = Place::new();
    let (session, handle) = place.fetch(&content, peer, ByteRate(20 << 20), 3).await;
    session.shutdown().await;
    let first = handle.snapshot().machine.clone();
    let again = place.session().await;
    // No peer is named: the state knows one.
    let handle = again.add(content.add(place.data.path())).await.expect("added");
    handle.wait_complete().await.expect("complete");
    content.assert_at(place.data.path());
    let second = handle.snapshot().machine.clone();
    assert_eq!(second.corrupt, 0);
    let fetched = first.downloaded + second.downloaded;
    assert_eq!(fetched, 12_000_000, "{} bytes came, then {}", first.downloaded, second.downloaded);
    assert!(second.downloaded > 0);
    again.shutdown().await;
    seed.shutdown().await;
}

/// A peer that has nothing and asks for a block of each piece that it hears of, until the other side closes.
async fn asks_for_everything(addr: SocketAddr, hello: Handshake, bitfield: u32) {
    let mut stream = TcpStream::connect(addr).await.expect("connects");
    let mut said = hello.to_bytes().to_vec();
    [Message::HaveNone, Message::Interested].iter().for_each(|m| encode(m, &mut said));
    stream.write_all(&said).await.expect("sent");
    let mut theirs = [0; HANDSHAKE_LEN];
    // It may have been the last one to come.
    if stream.read_exact(&mut theirs).await.is_err() {
        return;
    }
    let (mut decoder, mut buf) = (Decoder::new(bitfield), vec![0; 64 << 10]);
    while let Ok(read @ 1..) = stream.read(&mut buf).await {
        let (mut chunk, mut asks) = (Chunk::Bytes(&buf[..read]), Vec::new());
        while let Some(item) = decoder.next(&mut chunk).expect("ours can be read") {
            if let Decoded::Message(Message::Have(piece)) = item {
                encode(&Message::Request { piece, begin: 0, length: BLOCK_LEN }, &mut asks);
            }
        }
        if stream.write_all(&asks).await.is_err() {
            return;
        }
    }
}

/// In the middle of a crowd: everybody is let go, all is saved, and the next run neither hashes nor fetches again.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn an_orderly_end_in_a_crowd_is_soon_and_loses_nothing() {
    const CROWD: usize = 150;
    const TOTAL: usize = 24 << 20;
    let content = Content::one_file("file.bin", TOTAL, 64 << 10);
    let (seed, _, _seed_dir) = seeder(&content).await;
    let peer = addr_of(&seed, Ipv4Addr::LOCALHOST);
    let place = Place::new();
    let (session, handle) = place.fetch(&content, peer, ByteRate(1 << 20), 3).await;
    let (addr, info_hash) =
        (addr_of(&session, Ipv4Addr::LOCALHOST), content.metainfo.info.info_hash().wire());
    let mut rng = Rng::new(1);
    let mut crowd = JoinSet::new();
    for _ in 0..CROWD {
        let peer_id = PeerId::generate(&mut rng);
        let hello = Handshake { reserved: Reserved::ours(false), info_hash, peer_id };
        crowd.spawn(asks_for_everything(addr, hello, content.metainfo.info.geometry().pieces()));
    }
    let trades = |now: &TorrentSnapshot| {
        now.machine.peers as usize > CROWD && now.machine.uploaded > 1 << 20
    };
    while !trades(&handle.snapshot()) {
        sleep(Duration::from_millis(1)).await;
    }
    timeout(PATIENCE, session.shutdown()).await.expect("it ends");
    timeout(PATIENCE, crowd.join_all()).await.expect("everybody is let go");
    seed.shutdown().await;
    let first = handle.snapshot().machine.clone();
    assert!(first.pieces_done > 3 && first.done < TOTAL as u64, "{} pieces", first.pieces_done);

    // Where something is wrong that nothing shows, nobody looks.
    let (file, bytes) = (place.file(&content), &content.files[0].1);
    let there = fs::read(&file).expect("readable");
    let whole = |at: &usize| there[*at..at + (64 << 10)] == bytes[*at..at + (64 << 10)];
    let at = (0..).step_by(64 << 10).find(whole).expect("some pieces are there");
    spoil(&file, at as u64, true);
    assert_eq!(place.found(&content, Check::Doubtful).await, first.pieces_done);
    spoil(&file, at as u64, true);

    let (seed, _, _seed_dir) = seeder(&content).await;
    let peers = vec![addr_of(&seed, Ipv4Addr::LOCALHOST)];
    let again = place.session().await;
    let add = AddTorrent { peers, ..content.add(place.data.path()) };
    let handle = again.add(add).await.expect("added");
    handle.wait_complete().await.expect("complete");
    content.assert_at(place.data.path());
    let fetched = first.downloaded + handle.snapshot().machine.downloaded;
    assert_eq!(fetched, TOTAL as u64, "{} bytes came before the end", first.downloaded);
    again.shutdown().await;
    seed.shutdown().await;
}
