//! Swarms without any tracker: whoever knows a hash and one node, or one peer, finds the others.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use downpour::{
    metainfo::{HostPort, Magnet},
    session::{
        AddTorrent, Config, DhtOptions, FetchMetadata, ListenConfig, LsdOptions, Session,
        TorrentHandle,
    },
};
use tempfile::TempDir;
use tokio::{task::JoinSet, time::timeout};

use crate::content::{Content, addr_of};

const PEERS: usize = 10;
/// Who waits so long has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// A session on loopback that finds peers in no way but these: by a node of the DHT, which enters by the
/// port that is given if one is, and by what peers tell.
async fn session(dht: Option<Option<u16>>, pex: bool) -> Session {
    let node = |port| HostPort { host: "127.0.0.1".to_owned(), port };
    let dht = dht.map(|entrance| DhtOptions {
        bootstrap: Some(entrance.map(node).into_iter().collect()),
        ..DhtOptions::default()
    });
    let addr = Some(IpAddr::from(Ipv4Addr::LOCALHOST));
    let listen = ListenConfig { addr, ..ListenConfig::default() };
    Session::start(Config { listen, dht, pex, ..Config::default() }).await.expect("starts")
}

/// One that fetches the torrent of a link, and everything in it.
async fn fetch(
    session: &Session,
    magnet: &Magnet,
    peers: Vec<SocketAddr>,
) -> (TorrentHandle, TempDir) {
    let dir = TempDir::new().expect("a folder");
    let fetch = FetchMetadata { magnet: magnet.clone(), trackers: Vec::new(), peers };
    let fetching = session.fetch_metadata(fetch).await.expect("it is new");
    let metainfo = fetching.wait().await.expect("it comes");
    // Connections from which nothing more comes stay: somebody looks at them.
    let add = AddTorrent { keep_useless: true, ..AddTorrent::new(metainfo, dir.path()) };
    (fetching.add(add).await.expect("added"), dir)
}

/// Ten peers that know a hash and one node find a seed and one another; the node is killed once they have
/// entered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hash_and_a_node_are_enough() {
    let content = Content::one_file("file.bin", 2_000_000, 64 << 10);
    let magnet = Magnet::from_metainfo(&content.metainfo);
    let entrance = session(Some(None), false).await;
    let port = entrance.dht_port();
    let (seed, seed_dir) = (session(Some(port), false).await, TempDir::new().expect("a folder"));
    content.write(seed_dir.path());
    let seeding = seed.add(content.add(seed_dir.path())).await.expect("added");
    seeding.wait_complete().await.expect("complete");
    let mut coming = JoinSet::new();
    for _ in 0..PEERS {
        let magnet = magnet.clone();
        coming.spawn(async move {
            let session = session(Some(port), false).await;
            let (handle, dir) = fetch(&session, &magnet, Vec::new()).await;
            (session, handle, dir)
        });
    }
    let peers = coming.join_all().await;
    drop(entrance);
    for (_, handle, dir) in &peers {
        handle.wait_complete().await.expect("complete");
        content.assert_at(dir.path());
    }
}

/// A peer that knows a hash and one other peer hears from it of the third, who has everything.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hash_and_a_peer_are_enough() {
    let content = Content::one_file("file.bin", 2_000_000, 64 << 10);
    let magnet = Magnet::from_metainfo(&content.metainfo);
    let (seed, seed_dir) = (session(None, true).await, TempDir::new().expect("a folder"));
    content.write(seed_dir.path());
    let stays = |add: AddTorrent| AddTorrent { keep_useless: true, ..add };
    let seeding = seed.add(stays(content.add(seed_dir.path()))).await.expect("added");
    seeding.wait_complete().await.expect("complete");
    let seed_addr = addr_of(&seed, Ipv4Addr::LOCALHOST);
    let between = session(None, true).await;
    let (passing_on, _dir) = fetch(&between, &magnet, vec![seed_addr]).await;
    passing_on.wait_complete().await.expect("complete");
    let last = session(None, true).await;
    let between_addr = addr_of(&between, Ipv4Addr::LOCALHOST);
    let (handle, dir) = fetch(&last, &magnet, vec![between_addr]).await;
    // Either of the two may be the one who dials.
    let mut events = handle.subscribe();
    let connected = async {
        while handle.peers().await.len() < 2 {
            events.recv().await.expect("the torrent is there");
        }
    };
    timeout(PATIENCE, connected).await.expect("it hears of the seed");
    handle.wait_complete().await.expect("complete");
    content.assert_at(dir.path());
}

/// Two sessions on one host hear of one another, by the hash alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hash_is_enough_for_neighbours() {
    let content = Content::one_file("file.bin", 2_000_001, 64 << 10);
    let magnet = Magnet::from_metainfo(&content.metainfo);
    let neighbour = || async {
        let lsd = Some(LsdOptions { loopback: true });
        Session::start(Config { lsd, pex: false, ..Config::default() }).await.expect("starts")
    };
    let (seed, seed_dir) = (neighbour().await, TempDir::new().expect("a folder"));
    content.write(seed_dir.path());
    let seeding = seed.add(content.add(seed_dir.path())).await.expect("added");
    seeding.wait_complete().await.expect("complete");
    let leech = neighbour().await;
    let (handle, dir) = fetch(&leech, &magnet, Vec::new()).await;
    handle.wait_complete().await.expect("complete");
    content.assert_at(dir.path());
}
