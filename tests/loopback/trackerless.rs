//! Swarms without any tracker: whoever knows a hash and one node, or one peer, finds the others.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use downpour::{
    base::{hash::sha1, units::ByteRate},
    lsd::Announce,
    metainfo::{HostPort, Magnet, build::Builder},
    net::{
        lsd::{Groups, Lsd},
        sockets::Binding,
    },
    session::{
        AddTorrent, Config, DhtOptions, FetchMetadata, Limits, LimitsConfig, LsdOptions, Session,
        TorrentHandle,
    },
};
use tempfile::TempDir;
use tokio::{task::JoinSet, time::timeout};

use crate::content::{Content, addr_of};

const PEERS: usize = 10;
/// Who waits so long has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// How a session finds peers, and by nothing else.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Way {
    /// By a node of the DHT on this address, which enters by the port that is given if one is.
    Dht(IpAddr, Option<u16>),
    /// By what peers tell of others.
    Pex,
    /// By what neighbours say.
    Lsd,
}

/// A session that finds peers in one way.
async fn session(way: Way) -> Session {
    let mut config = Config { pex: way == Way::Pex, ..Config::default() };
    config.listen.addr = Some(IpAddr::from(Ipv4Addr::LOCALHOST));
    match way {
        Way::Dht(addr, entrance) => {
            let node = |port| HostPort { host: addr.to_string(), port };
            let bootstrap = Some(entrance.map(node).into_iter().collect());
            config.dht = Some(DhtOptions { bootstrap, ..DhtOptions::default() });
            config.listen.addr = Some(addr);
        }
        Way::Pex => {}
        Way::Lsd => config.lsd = Some(LsdOptions { loopback: true }),
    }
    Session::start(config).await.expect("starts")
}

/// No payload is sent; what torrents are about is told all the same.
fn sends_nothing() -> LimitsConfig {
    let all = Limits { up: Some(ByteRate(0)), down: None };
    LimitsConfig { all, ..LimitsConfig::default() }
}

/// A swarm of a seed that sends nothing yet and ten that have a link, and by now know what is in the torrent.
struct Swarm {
    content: Content,
    seed: Session,
    peers: Vec<(Session, TorrentHandle, TempDir)>,
    _seed_dir: TempDir,
}

impl Swarm {
    /// The seed's `way` into the swarm, and that of the others, who dial `known` if there is one.
    async fn gather(
        way: Way,
        known: impl AsyncFnOnce(&Magnet, &Session) -> Vec<SocketAddr>,
    ) -> Swarm {
        let content = Content::one_file("file.bin", 2_000_000, 64 << 10);
        let magnet = Magnet::from_metainfo(&content.metainfo);
        let (seed, seed_dir) = (session(way).await, TempDir::new().expect("a folder"));
        seed.set_limits(sends_nothing());
        content.write(seed_dir.path());
        let add = AddTorrent { keep_useless: true, ..content.add(seed_dir.path()) };
        seed.add(add).await.expect("added").wait_complete().await.expect("complete");
        let known = known(&magnet, &seed).await;
        let mut coming = JoinSet::new();
        for _ in 0..PEERS {
            let (magnet, known) = (magnet.clone(), known.clone());
            coming.spawn(async move {
                let session = session(way).await;
                let (handle, dir) = fetch(&session, &magnet, known).await;
                (session, handle, dir)
            });
        }
        let peers = timeout(PATIENCE, coming.join_all()).await.expect("they find the seed");
        Swarm { content, seed, peers, _seed_dir: seed_dir }
    }

    /// Nobody has had anything so far; the seed sends from now on, and everybody gets everything.
    async fn completes(self) {
        for (_, handle, _) in &self.peers {
            assert_eq!(handle.snapshot().machine.downloaded, 0);
        }
        self.seed.set_limits(LimitsConfig::default());
        for (_, handle, dir) in &self.peers {
            timeout(PATIENCE, handle.wait_complete()).await.expect("in time").expect("complete");
            self.content.assert_at(dir.path());
        }
    }
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
/// entered, when none of them has any piece.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hash_and_a_node_are_enough() {
    for addr in [IpAddr::from(Ipv4Addr::LOCALHOST), Ipv6Addr::LOCALHOST.into()] {
        let entrance = session(Way::Dht(addr, None)).await;
        let way = Way::Dht(addr, entrance.dht_port());
        let swarm = Swarm::gather(way, async |_, _| Vec::new()).await;
        drop(entrance);
        swarm.completes().await;
    }
}

/// Ten neighbours that know a hash hear of a seed and of one another.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hash_is_enough_for_ten_neighbours() {
    Swarm::gather(Way::Lsd, async |_, _| Vec::new()).await.completes().await;
}

/// Ten peers know one other, who sends them nothing but the addresses of others: of the seed, and of one another.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hash_and_a_peer_who_sends_nothing_are_enough_for_ten() {
    let between = session(Way::Pex).await;
    between.set_limits(sends_nothing());
    let mut passing_on = None;
    let swarm = Swarm::gather(Way::Pex, async |magnet, seed| {
        let seed = vec![addr_of(seed, Ipv4Addr::LOCALHOST)];
        passing_on = Some(fetch(&between, magnet, seed).await);
        vec![addr_of(&between, Ipv4Addr::LOCALHOST)]
    })
    .await;
    swarm.completes().await;
    let (handle, _dir) = passing_on.expect("it was asked for");
    assert_eq!(handle.snapshot().machine.uploaded, 0);
}

/// A peer that knows a hash and one other peer hears from it of the third, who has everything.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hash_and_a_peer_are_enough() {
    let content = Content::one_file("file.bin", 2_000_000, 64 << 10);
    let magnet = Magnet::from_metainfo(&content.metainfo);
    let (seed, seed_dir) = (session(Way::Pex).await, TempDir::new().expect("a folder"));
    content.write(seed_dir.path());
    let stays = |add: AddTorrent| AddTorrent { keep_useless: true, ..add };
    let seeding = seed.add(stays(content.add(seed_dir.path()))).await.expect("added");
    seeding.wait_complete().await.expect("complete");
    let seed_addr = addr_of(&seed, Ipv4Addr::LOCALHOST);
    let between = session(Way::Pex).await;
    let (passing_on, _dir) = fetch(&between, &magnet, vec![seed_addr]).await;
    passing_on.wait_complete().await.expect("complete");
    let last = session(Way::Pex).await;
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

/// A torrent that names a node leads into the network, and so does what the run before knew of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_of_a_torrent_and_of_the_last_run_are_ways_in() {
    let addr = IpAddr::from(Ipv4Addr::LOCALHOST);
    let content = Content::one_file("file.bin", 300_000, 64 << 10);
    let entrance = session(Way::Dht(addr, None)).await;
    let port = entrance.dht_port().expect("a node");
    let seed = session(Way::Dht(addr, Some(port))).await;
    let (seed_dir, state) = (TempDir::new().expect("a folder"), TempDir::new().expect("a folder"));
    content.write(seed_dir.path());
    let seeding = seed.add(content.add(seed_dir.path())).await.expect("added");
    seeding.wait_complete().await.expect("complete");
    let named = vec![HostPort { host: addr.to_string(), port }];
    for nodes in [named, Vec::new()] {
        let dht = Some(DhtOptions { bootstrap: Some(Vec::new()), ..DhtOptions::default() });
        let state_dir = Some(state.path().to_owned());
        let mut config = Config { dht, state_dir, pex: false, ..Config::default() };
        config.listen.addr = Some(addr);
        let leech = Session::start(config).await.expect("starts");
        let dir = TempDir::new().expect("a folder");
        let mut add = content.add(dir.path());
        add.metainfo.nodes = nodes;
        let handle = leech.add(add).await.expect("added");
        timeout(PATIENCE, handle.wait_complete()).await.expect("in time").expect("complete");
        content.assert_at(dir.path());
        leech.shutdown().await;
    }
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
    let groups = Groups { v4: true, v6: false };
    let ear = Lsd::join(Binding::default(), true, groups);
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
        told.extend(Announce::decode(&heard).into_iter().flat_map(|heard| heard.info_hashes));
    }
    assert!(!told.contains(&hash(&private)), "{told:?}");
    let machine = fetching[0].snapshot().machine.clone();
    assert_eq!((machine.known, machine.done), (0, 0));
}
