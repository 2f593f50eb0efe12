//! Torrents shared by a code: whoever has it finds them, and they are announced under nothing else.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use downpour::{
    metainfo::{HostPort, ShareCode},
    session::{
        AddError, AddTorrent, Config, DhtOptions, EncryptionPolicy, ListenConfig, LsdOptions,
        Outlet, Session, TorrentHandle,
        dht_tool::{DhtTool, Found, Question},
    },
};
use tempfile::TempDir;
use tokio::task::JoinSet;

use crate::content::{Content, addr_of};

/// A node on loopback that enters the DHT by this port.
fn dht(entrance: Option<u16>) -> DhtOptions {
    let node = |port| HostPort { host: "127.0.0.1".to_owned(), port };
    DhtOptions {
        bootstrap: Some(entrance.map(node).into_iter().collect()),
        ..DhtOptions::default()
    }
}

fn on_loopback() -> Config {
    let addr = Some(IpAddr::from(Ipv4Addr::LOCALHOST));
    let listen = ListenConfig { addr, ..ListenConfig::default() };
    Config { listen, encryption: EncryptionPolicy::Required, pex: false, ..Config::default() }
}

async fn start(config: Config) -> Session {
    Session::start(config).await.expect("starts")
}

/// Shares `content` from here.
async fn share(session: &Session, content: &Content) -> (ShareCode, TempDir) {
    let dir = TempDir::new().expect("a folder");
    content.write(dir.path());
    let code = ShareCode::of(content.metainfo.info.info_hash().wire());
    let add = AddTorrent { code: Some(code), ..content.add(dir.path()) };
    session.add(add).await.expect("added").wait_complete().await.expect("complete");
    (code, dir)
}

/// Gets what belongs to a code.
async fn get(
    session: &Session,
    code: ShareCode,
    peers: Vec<SocketAddr>,
) -> (TorrentHandle, TempDir) {
    let dir = TempDir::new().expect("a folder");
    let fetching = session.fetch_shared(code, peers).await.expect("it is new");
    let metainfo = fetching.wait().await.expect("it comes");
    let add = AddTorrent { code: Some(code), ..AddTorrent::new(metainfo, dir.path()) };
    (fetching.add(add).await.expect("added"), dir)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_dht_leads_who_has_the_code_and_nobody_else() {
    let content = Content::folder("given", &[("a", 300_000), ("b/c", 700_001)], 32 << 10);
    let entrance = start(Config { dht: Some(dht(None)), ..on_loopback() }).await;
    let port = entrance.dht_port();
    let joined = move || Config { dht: Some(dht(port)), ..on_loopback() };
    let seed = start(joined()).await;
    let (code, _dir) = share(&seed, &content).await;
    let mut coming = JoinSet::new();
    for _ in 0..4 {
        coming.spawn(async move {
            let session = start(joined()).await;
            let (handle, dir) = get(&session, code, Vec::new()).await;
            handle.wait_complete().await.expect("complete");
            (session, dir)
        });
    }
    let got = coming.join_all().await;
    got.iter().for_each(|(_, dir)| content.assert_at(dir.path()));
    let tool = DhtTool::start(&dht(port), &Outlet::default(), false, None).expect("starts");
    let found = async |hash| {
        let mut search = tool.ask(Question::Peers(hash, None));
        let mut peers = 0;
        while let Some(found) = search.next().await {
            if let Found::Peers(addrs) = found {
                peers += addrs.len();
            }
        }
        peers
    };
    assert!(found(code.place()).await > 0, "that is where they meet");
    assert_eq!(found(content.metainfo.info.info_hash().wire()).await, 0);
    assert_eq!(found(code.password()).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_local_network_is_enough() {
    let content = Content::one_file("given.bin", 500_000, 32 << 10);
    let lsd = Some(LsdOptions { loopback: true });
    let near = || Config { lsd, encryption: EncryptionPolicy::Required, ..Config::default() };
    let (seed, leech) = (start(near()).await, start(near()).await);
    let (code, _dir) = share(&seed, &content).await;
    let (handle, dir) = get(&leech, code, Vec::new()).await;
    handle.wait_complete().await.expect("complete");
    content.assert_at(dir.path());
}

/// A link names the info hash: such a peer knows no code, and is served.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_knows_the_info_hash_is_let_in() {
    let content = Content::one_file("given.bin", 500_000, 32 << 10);
    let (seed, leech) = (start(on_loopback()).await, start(on_loopback()).await);
    let (_, _seed_dir) = share(&seed, &content).await;
    let dir = TempDir::new().expect("a folder");
    let peers = vec![addr_of(&seed, Ipv4Addr::LOCALHOST)];
    let add = AddTorrent { peers, ..content.add(dir.path()) };
    leech.add(add).await.expect("added").wait_complete().await.expect("complete");
    content.assert_at(dir.path());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_code_is_not_for_sessions_that_do_not_encrypt() {
    let content = Content::one_file("given.bin", 100_000, 32 << 10);
    let code = ShareCode::of(content.metainfo.info.info_hash().wire());
    for encryption in [EncryptionPolicy::Disabled, EncryptionPolicy::Preferred] {
        let session = start(Config { encryption, ..on_loopback() }).await;
        let dir = TempDir::new().expect("a folder");
        let add = AddTorrent { code: Some(code), ..content.add(dir.path()) };
        assert!(matches!(session.add(add).await, Err(AddError::Overheard)));
        assert!(matches!(session.fetch_shared(code, vec![]).await, Err(AddError::Overheard)));
    }
}
