//! Swarms without any tracker: whoever knows a hash and one node, or one peer, finds the others.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use downpour::{
    base::{hash::sha1, rng::Rng},
    metainfo::{HostPort, Magnet, build::Builder},
    net::{lsd::Lsd, sockets::Binding},
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

/// The local network is told of a torrent, and of a private one beside it nothing (BEP 27).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn neighbours_are_not_told_of_a_private_torrent() {
    let public = Content::one_file("public.bin", 300_000, 64 << 10);
    let bytes = vec![7; 200_000];
    let mut builder = Builder::file("private.bin", 200_000, Some(64 << 10)).expect("valid");
    builder.private = true;
    let hashes: Vec<_> = bytes.chunks(64 << 10).map(sha1).collect();
    let metainfo = builder.build(&hashes).expect("valid");
    let private = Content { metainfo, files: vec![("private.bin".into(), bytes)] };
    let hash = |content: &Content| content.metainfo.info.info_hash().wire();
    let ear = Lsd::join(Binding::default(), true, false, &mut Rng::new(1));
    let neighbour = || async {
        let lsd = Some(LsdOptions { loopback: true });
        Session::start(Config { lsd, ..Config::default() }).await.expect("starts")
    };
    let (seed, dir) = (neighbour().await, TempDir::new().expect("a folder"));
    let (leech, to) = (neighbour().await, TempDir::new().expect("a folder"));
    let mut fetching = Vec::new();
    for content in [&private, &public] {
        content.write(dir.path());
        let seeding = seed.add(content.add(dir.path())).await.expect("added");
        seeding.wait_complete().await.expect("complete");
        fetching.push(leech.add(content.add(to.path())).await.expect("added"));
    }
    timeout(PATIENCE, fetching[1].wait_complete()).await.expect("found").expect("complete");
    let mut told = Vec::new();
    while !told.contains(&hash(&public)) {
        let (_, heard) = timeout(PATIENCE, ear.receive()).await.expect("it is announced");
        told.extend(heard.info_hashes);
    }
    assert!(!told.contains(&hash(&private)), "{told:?}");
    let machine = fetching[0].snapshot().machine.clone();
    assert_eq!((machine.known, machine.done), (0, 0));
}
