//! Sessions behind a proxy: everything passes it, names included, and nothing goes around it.

use std::{net::Ipv4Addr, time::Duration};

use downpour::{
    metainfo::HostPort,
    net::tcp,
    session::{
        AddTorrent, Config, DhtOptions, ListenConfig, LsdOptions, Outlet, OutletError,
        OutletOptions, Session, TorrentEvent, TorrentHandle,
        scrape::scrape,
        tracker_host::{TrackerConfig, TrackerHost},
    },
};
use tempfile::TempDir;
use tokio::{net::TcpListener, sync::broadcast::Receiver, time::timeout};

use crate::{
    content::{Content, addr_of, announced, session},
    proxy_server::{OUTSIDE, Proxy},
};

/// Who waits so long has failed.
const PATIENCE: Duration = Duration::from_secs(60);
const USER: Option<&str> = Some("me:p@ss");

/// By `proxy`, as somebody with this in the place of a user.
async fn by(proxy: &Proxy, scheme: &str, user: &str) -> Result<Outlet, OutletError> {
    let text = format!("{scheme}://{user}{}", proxy.addr);
    let proxy = Some(text.parse().expect("it names a proxy"));
    Outlet::open(&OutletOptions { proxy, ..OutletOptions::default() }).await
}

/// A session that would listen and ask its neighbours, if it were not behind a proxy.
async fn behind(outlet: Outlet, dht: Option<DhtOptions>) -> Session {
    let lsd = Some(LsdOptions::default());
    let config = Config { outlet, dht, lsd, port_mapping: true, ..Config::default() };
    let session = Session::start(config).await.expect("starts");
    assert_eq!((session.port(), session.dht_port(), session.mapped()), (None, None, None));
    session
}

async fn until(events: &mut Receiver<TorrentEvent>, fits: impl Fn(&TorrentEvent) -> bool) {
    let fitting = async { while !fits(&events.recv().await.expect("told")) {} };
    timeout(PATIENCE, fitting).await.expect("it comes");
}

/// One who has it, known to the tracker at `url`.
async fn seed(content: &Content, url: String) -> (Session, TorrentHandle, TempDir) {
    let (session, dir) = (session().await, TempDir::new().expect("a folder"));
    content.write(dir.path());
    let add = AddTorrent { trackers: vec![url], ..content.add(dir.path()) };
    let handle = session.add(add).await.expect("added");
    timeout(PATIENCE, announced(&handle)).await.expect("the tracker answers");
    (session, handle, dir)
}

/// A session behind the proxy finds another one by a tracker, whose name only the proxy knows, and fetches
/// everything from there. Gives what the proxy was asked for, with the ports of tracker and seed.
async fn fetched(
    scheme: &str,
    tracker: &str,
    user: Option<&'static str>,
) -> (Vec<String>, u16, u16) {
    let content = Content::one_file("file.bin", 2_000_000, 64 << 10);
    let host = TrackerHost::start(TrackerConfig::new((Ipv4Addr::LOCALHOST, 0).into()));
    let host = host.expect("a tracker");
    let port = host.local_addr().port();
    let (seed, seeding, _dir) = seed(&content, host.announce_url()).await;
    let mut seen = seeding.subscribe();
    let proxy = Proxy::start(user).await;
    let outlet = by(&proxy, scheme, "me:p%40ss@").await.expect("it lets us in");
    let dht = DhtOptions { bootstrap: Some(Vec::new()), ..DhtOptions::default() };
    let leech = behind(outlet, Some(dht)).await;
    let dir = TempDir::new().expect("a folder");
    let trackers = vec![format!("{tracker}://tracker.example:{port}/announce")];
    let add = AddTorrent { trackers, ..content.add(dir.path()) };
    let handle = leech.add(add).await.expect("added");
    timeout(PATIENCE, handle.wait_complete()).await.expect("it comes").expect("complete");
    content.assert_at(dir.path());
    until(&mut seen, |event| match event {
        TorrentEvent::PeerConnected { addr, .. } => {
            assert_eq!(addr.ip(), OUTSIDE, "it came by another way");
            true
        }
        _ => false,
    })
    .await;
    let ports = (port, addr_of(&seed, Ipv4Addr::LOCALHOST).port());
    for session in [leech, seed] {
        session.shutdown().await;
    }
    host.shutdown().await;
    (proxy.asked(), ports.0, ports.1)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peers_and_trackers_are_reached_by_socks() {
    // One that does not ask who we are lets us in all the same.
    for user in [USER, None] {
        let (asked, tracker, seed) = fetched("socks5", "http", user).await;
        for place in [format!("tracker.example:{tracker}"), format!("127.0.0.1:{seed}")] {
            assert!(asked.contains(&format!("connect {place}")), "{place}: {asked:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peers_and_trackers_are_reached_by_http() {
    let (asked, tracker, seed) = fetched("http", "http", USER).await;
    assert!(asked.contains(&format!("get tracker.example:{tracker}")), "{asked:?}");
    assert!(asked.contains(&format!("connect 127.0.0.1:{seed}")), "{asked:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trackers_over_udp_are_reached_by_socks() {
    let (asked, tracker, seed) = fetched("socks5", "udp", USER).await;
    assert!(asked.contains(&format!("udp tracker.example:{tracker}")), "{asked:?}");
    assert!(asked.contains(&format!("connect 127.0.0.1:{seed}")), "{asked:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_dht_is_entered_by_socks_and_by_a_name() {
    let content = Content::one_file("file.bin", 2_000_000, 64 << 10);
    let listen = ListenConfig { addr: Some(Ipv4Addr::LOCALHOST.into()), ..ListenConfig::default() };
    let nodes = |bootstrap| DhtOptions { bootstrap: Some(bootstrap), ..DhtOptions::default() };
    let direct = |bootstrap| {
        let dht = Some(nodes(bootstrap));
        Session::start(Config { listen: listen.clone(), dht, ..Config::default() })
    };
    let entrance = direct(Vec::new()).await.expect("starts");
    let port = entrance.dht_port().expect("it has a node");
    let node = |host: &str| HostPort { host: host.to_owned(), port };
    let seed = direct(vec![node("127.0.0.1")]).await.expect("starts");
    let seed_dir = TempDir::new().expect("a folder");
    content.write(seed_dir.path());
    seed.add(content.add(seed_dir.path())).await.expect("added");
    let proxy = Proxy::start(None).await;
    let outlet = by(&proxy, "socks5", "").await.expect("it lets everybody in");
    let leech = behind(outlet, Some(nodes(vec![node("node.example")]))).await;
    let dir = TempDir::new().expect("a folder");
    let handle = leech.add(content.add(dir.path())).await.expect("added");
    timeout(PATIENCE, handle.wait_complete()).await.expect("it comes").expect("complete");
    content.assert_at(dir.path());
    let asked = proxy.asked();
    for place in [format!("udp node.example:{port}"), format!("udp 127.0.0.1:{port}")] {
        assert!(asked.contains(&place), "{place}: {asked:?}");
    }
    for session in [leech, seed, entrance] {
        session.shutdown().await;
    }
}

#[tokio::test]
async fn who_is_not_let_in_is_told() {
    let proxy = Proxy::start(USER).await;
    for (user, why) in [
        ("me:wrong@", "it does not take our name and password"),
        ("", "it wants a name and a password, and takes no others"),
    ] {
        let error = by(&proxy, "socks5", user).await.expect_err("not let in").to_string();
        let all = format!("the proxy socks5://{} cannot be used: {why}", proxy.addr);
        assert_eq!(error, all);
    }
    // Over HTTP it is known with the first connection.
    let outlet = by(&proxy, "http", "me:wrong@").await.expect("it is there");
    let error = tcp::dial(&outlet, proxy.addr, None, PATIENCE).await.expect_err("not let in");
    assert!(error.to_string().ends_with("it does not take our name and password"), "{error}");
    let hash = Content::one_file("file.bin", 1, 16 << 10).metainfo.info.info_hash();
    let tiers = [["http://t.example/announce", "udp://t.example:1"].map(str::to_owned).to_vec()];
    let scraped = scrape(&tiers, hash, &outlet, None).await.expect("asked");
    let said: Vec<String> =
        scraped.into_iter().map(|s| s.counts.expect_err("not let in").to_string()).collect();
    assert_eq!(
        said,
        [
            "could not reach t.example: the proxy does not take our name and password",
            "could not reach t.example:1: UDP cannot pass an HTTP proxy",
        ]
    );
    assert!(proxy.asked().is_empty());
}

#[tokio::test]
async fn nothing_goes_around_a_proxy_that_is_away() {
    let proxy = Proxy::start(None).await;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
    let target = listener.local_addr().expect("bound");
    let mut outlets = Vec::new();
    for scheme in ["socks5", "http"] {
        outlets.push(by(&proxy, scheme, "").await.expect("it is there"));
    }
    let addr = proxy.addr;
    drop(proxy);
    // Its port is closed once that has been seen to.
    while tokio::net::TcpStream::connect(addr).await.is_ok() {
        tokio::task::yield_now().await;
    }
    for outlet in outlets {
        let error = tcp::dial(&outlet, target, None, PATIENCE).await.expect_err("no way");
        let why = format!("{addr} cannot be used: ");
        assert!(error.to_string().contains(&why), "{error}");
        let tiers = [vec![format!("http://{target}/announce")]];
        let hash = Content::one_file("file.bin", 1, 16 << 10).metainfo.info.info_hash();
        let scraped = scrape(&tiers, hash, &outlet, None).await.expect("asked");
        let error = scraped[0].counts.as_ref().expect_err("no way").to_string();
        let why = format!("could not reach {target}: by the proxy: ");
        assert!(error.starts_with(&why), "{error}");
    }
    let gone = format!("socks5://{addr}").parse().expect("it names a proxy");
    let options = OutletOptions { proxy: Some(gone), ..OutletOptions::default() };
    let error = Outlet::open(&options).await.expect_err("it is away").to_string();
    assert!(error.starts_with(&format!("the proxy socks5://{addr} cannot be used: ")), "{error}");
    // The first who comes is we ourselves.
    let ours = tokio::net::TcpStream::connect(target).await.expect("connected");
    let (_, from) = listener.accept().await.expect("accepted");
    assert_eq!(from, ours.local_addr().expect("connected"));
}
