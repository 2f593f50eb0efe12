//! Limits of sessions, torrents and peers, as far as they can be seen without a clock: what may not move does
//! not, and the rest arrives.

use std::{
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use downpour::{
    base::units::ByteRate,
    session::{AddTorrent, Config, Limits, LimitsConfig, ListenConfig, Session, TorrentHandle},
};
use tempfile::TempDir;
use tokio::time::timeout;

use crate::content::{Content, addr_of, seeder};

/// Who waits so long has failed.
const PATIENCE: Duration = Duration::from_secs(60);
/// Nothing passes.
const NOTHING: Limits = Limits { up: Some(ByteRate(0)), down: Some(ByteRate(0)) };

async fn session(limits: LimitsConfig) -> Session {
    let addr = Some(IpAddr::from(Ipv4Addr::LOCALHOST));
    let listen = ListenConfig { addr, ..ListenConfig::default() };
    Session::start(Config { listen, limits, ..Config::default() }).await.expect("starts")
}

/// A download of `content` from `seed`.
async fn fetch(leech: &Session, seed: &Session, content: &Content) -> (TorrentHandle, TempDir) {
    let dir = TempDir::new().expect("a folder");
    let peers = vec![addr_of(seed, Ipv4Addr::LOCALHOST)];
    let add = AddTorrent { peers, ..content.add(dir.path()) };
    (leech.add(add).await.expect("added"), dir)
}

async fn arrives(handle: &TorrentHandle) {
    timeout(PATIENCE, handle.wait_complete()).await.expect("in time").expect("complete");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_limit_of_one_torrent_is_for_it_alone_and_may_be_lifted() {
    let (held, free) = (
        Content::one_file("held.bin", 500_000, 32 << 10),
        Content::one_file("free.bin", 500_001, 32 << 10),
    );
    let (seed_of_held, _, _a) = seeder(&held).await;
    let (seed_of_free, _, _b) = seeder(&free).await;
    let leech = session(LimitsConfig { torrent: NOTHING, ..LimitsConfig::default() }).await;
    let (first, _dir) = fetch(&leech, &seed_of_held, &held).await;
    let (second, dir) = fetch(&leech, &seed_of_free, &free).await;
    second.set_limits(Limits::default());
    arrives(&second).await;
    free.assert_at(dir.path());
    assert_eq!(first.snapshot().machine.downloaded, 0, "it may not");
    first.set_limits(Limits::default());
    arrives(&first).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn peers_of_the_local_network_are_left_out_of_it_by_choice() {
    let content = Content::one_file("file.bin", 500_000, 32 << 10);
    let (seed, _, _seed_dir) = seeder(&content).await;
    for limits in [
        LimitsConfig { all: NOTHING, ..LimitsConfig::default() },
        LimitsConfig { torrent: NOTHING, ..LimitsConfig::default() },
        LimitsConfig { peer: NOTHING, ..LimitsConfig::default() },
    ] {
        let leech = session(LimitsConfig { local: false, ..limits }).await;
        let (handle, dir) = fetch(&leech, &seed, &content).await;
        arrives(&handle).await;
        content.assert_at(dir.path());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_limit_of_the_session_holds_until_it_is_lifted() {
    let content = Content::one_file("file.bin", 500_000, 32 << 10);
    let (seed, _, _seed_dir) = seeder(&content).await;
    seed.set_limits(LimitsConfig { peer: NOTHING, ..LimitsConfig::default() });
    let leech = session(LimitsConfig::default()).await;
    let (handle, _dir) = fetch(&leech, &seed, &content).await;
    while handle.peers().await.is_empty() {
        tokio::task::yield_now().await;
    }
    assert_eq!(handle.snapshot().machine.downloaded, 0, "it may not");
    seed.set_limits(LimitsConfig::default());
    arrives(&handle).await;
}
