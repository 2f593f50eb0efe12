//! What real sessions say of why a torrent does not get on, and what they leave of it.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::Path,
    time::Duration,
};

use downpour::{
    base::units::ByteRate,
    metainfo::{HostPort, Magnet, ShareCode},
    session::{
        AddTorrent, Check, Config, DhtOptions, EncryptionPolicy, FetchMetadata, Limits,
        LimitsConfig, ListenConfig, Session, TorrentHandle, unfinished,
    },
};
use tempfile::TempDir;
use tokio::{
    net::TcpSocket,
    time::{sleep, timeout},
};

use crate::content::{Content, addr_of, seeder};

/// Who waits so long has failed.
const PATIENCE: Duration = Duration::from_secs(60);

fn content() -> Content {
    Content::one_file("file.bin", 500_000, 32 << 10)
}

fn config() -> Config {
    let addr = Some(IpAddr::from(Ipv4Addr::LOCALHOST));
    Config { listen: ListenConfig { addr, ..ListenConfig::default() }, ..Config::default() }
}

/// A port at which nobody listens, nor will: its socket stays, so no other test can get it.
fn nobody() -> SocketAddr {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind((Ipv4Addr::LOCALHOST, 0).into()).expect("a port");
    let addr = socket.local_addr().expect("bound");
    std::mem::forget(socket);
    addr
}

/// Waits until the first cause has this name; gives its line.
async fn first(handle: &TorrentHandle, name: &str) -> String {
    let look = async {
        loop {
            let snapshot = handle.snapshot();
            if let Some(found) = snapshot.why.first()
                && found.cause.name() == name
            {
                return found.cause.to_string();
            }
            sleep(Duration::from_millis(20)).await;
        }
    };
    let found = timeout(PATIENCE, look).await;
    found.unwrap_or_else(|_| panic!("not {name}: {:?}", handle.snapshot().why))
}

async fn start(
    config: Config,
    root: &Path,
    change: impl FnOnce(&mut AddTorrent),
) -> (Session, TorrentHandle) {
    let session = Session::start(config).await.expect("starts");
    let mut add = content().add(root);
    change(&mut add);
    let handle = session.add(add).await.expect("added");
    (session, handle)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_session_knows_who_was_asked_and_who_did_not_answer() {
    let [dir, second, third] = [(); 3].map(|()| TempDir::new().expect("a folder"));
    let (_session, handle) = start(config(), dir.path(), |_| ()).await;
    let line = first(&handle, "nobody_asked").await;
    assert_eq!(line, "no peers known (nobody is asked for any)");

    let (peer, tracker) = (nobody(), nobody());
    let (_session, handle) = start(config(), second.path(), |add| add.peers = vec![peer]).await;
    let line = first(&handle, "unreachable").await;
    assert_eq!(line, "1 peer known, none reachable (1 refuses)");

    let url = format!("http://{tracker}/announce?key=secret");
    let (_session, handle) = start(config(), third.path(), |add| add.trackers = vec![url]).await;
    let line = first(&handle, "trackers_fail").await;
    assert!(
        line.starts_with(&format!("no peers known (tracker {tracker}: could not reach")),
        "{line}"
    );
    assert!(!line.contains("secret"), "{line}");
}

/// Where there is no network no node was ever known, and that was said to be about to change for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_dht_of_which_no_node_answers_is_not_waited_for_without_a_word() {
    let dir = TempDir::new().expect("a folder");
    let entrance = nobody();
    let entrance = HostPort { host: entrance.ip().to_string(), port: entrance.port() };
    let options = DhtOptions { bootstrap: Some(vec![entrance]), ..DhtOptions::default() };
    let (_session, handle) =
        start(Config { dht: Some(options), ..config() }, dir.path(), |_| ()).await;
    let line = first(&handle, "dht_silent").await;
    assert_eq!(line, "no peers known (no node of the DHT answers)");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn limits_and_encryption_are_known_as_causes() {
    let (seed, _, _seed_dir) = seeder(&content()).await;
    let peers = vec![addr_of(&seed, Ipv4Addr::LOCALHOST)];
    let dir = TempDir::new().expect("a folder");
    let none = Limits { down: Some(ByteRate(0)), up: None };
    let limited = Config { limits: LimitsConfig::from(none), ..config() };
    let add = |add: &mut AddTorrent| add.peers.clone_from(&peers);
    let (session, handle) = start(limited, dir.path(), add).await;
    assert_eq!(first(&handle, "limited").await, "limited by --max-down (0 B/s)");
    session.set_limits(LimitsConfig::default());
    timeout(PATIENCE, handle.wait_complete()).await.expect("in time").expect("complete");
    session.shutdown().await;
    seed.shutdown().await;

    let plain = Config { encryption: EncryptionPolicy::Disabled, ..config() };
    let (other, _) = start(plain, dir.path(), |_| ()).await;
    let wants = Config { encryption: EncryptionPolicy::Required, ..config() };
    let (peers, dir) =
        (vec![addr_of(&other, Ipv4Addr::LOCALHOST)], TempDir::new().expect("a folder"));
    let (_session, handle) = start(wants, dir.path(), |add| add.peers = peers).await;
    let line = first(&handle, "encryption").await;
    assert_eq!(line, "1 peer known, none takes an encrypted connection");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn what_a_run_could_not_complete_is_left_with_its_causes() {
    let (dir, states) = (TempDir::new().expect("a folder"), TempDir::new().expect("a folder"));
    let kept = || Config { state_dir: Some(states.path().to_owned()), ..config() };
    let peer = nobody();
    let (session, handle) = start(kept(), dir.path(), |add| add.peers = vec![peer]).await;
    let line = first(&handle, "unreachable").await;
    session.shutdown().await;
    let left = unfinished::list(states.path()).expect("read").torrents;
    let [torrent] = &left[..] else { panic!("{left:?}") };
    assert_eq!((&*torrent.name, torrent.done, torrent.total), ("file.bin", 0, 500_000));
    assert_eq!(torrent.info_hash, content().metainfo.info.info_hash().wire().to_string());
    assert_eq!(Path::new(&torrent.path), dir.path().join("file.bin"));
    assert_eq!((&*torrent.causes[0].cause, &torrent.causes[0].line), ("unreachable", &line));

    let (seed, _, _seed_dir) = seeder(&content()).await;
    let peers = vec![addr_of(&seed, Ipv4Addr::LOCALHOST)];
    let (session, handle) = start(kept(), dir.path(), |add| add.peers = peers).await;
    timeout(PATIENCE, handle.wait_complete()).await.expect("in time").expect("complete");
    session.shutdown().await;
    assert_eq!(unfinished::list(states.path()).expect("read").torrents, []);
}

/// A link by which nobody was found leaves word, under the hash, until its metadata is known.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_link_without_metadata_is_left_with_its_causes_until_that_comes() {
    let (content, states) = (content(), TempDir::new().expect("a folder"));
    let magnet = Magnet::from_metainfo(&content.metainfo);
    let start = async |peer: SocketAddr| {
        let state_dir = Some(states.path().to_owned());
        let session = Session::start(Config { state_dir, ..config() }).await.expect("starts");
        let peers = vec![peer];
        let fetch = FetchMetadata { magnet: magnet.clone(), trackers: Vec::new(), peers };
        let fetching = session.fetch_metadata(fetch).await.expect("begun");
        (session, fetching)
    };
    let left = || unfinished::list(states.path()).expect("read").torrents;
    let hash = content.metainfo.info.info_hash().wire().to_string();
    let (session, fetching) = start(nobody()).await;
    let line = first(fetching.torrent(), "unreachable").await;
    session.shutdown().await;
    let [link] = &left()[..] else { panic!("{:?}", left()) };
    assert_eq!((&*link.name, &link.info_hash, link.wants_metadata), ("file.bin", &hash, true));
    assert_eq!((&*link.path, &link.causes[0].line), ("", &line));

    // With the metadata the torrent itself is what is unfinished.
    let (seed, _, _seed_dir) = seeder(&content).await;
    let dir = TempDir::new().expect("a folder");
    let (session, fetching) = start(addr_of(&seed, Ipv4Addr::LOCALHOST)).await;
    let found = timeout(PATIENCE, fetching.wait()).await.expect("in time").expect("found");
    seed.shutdown().await;
    let handle = fetching.add(AddTorrent::new(found, dir.path())).await.expect("added");
    handle.wait_checked().await.expect("checked");
    session.shutdown().await;
    let [torrent] = &left()[..] else { panic!("{:?}", left()) };
    assert_eq!((torrent.wants_metadata, torrent.total), (false, 500_000));

    // So it is when somebody has the torrent file. What was kept of it would do as well.
    let kept = states.path().join("torrents").join(format!("{hash}.torrent"));
    std::fs::remove_file(kept).expect("kept");
    let (session, fetching) = start(nobody()).await;
    first(fetching.torrent(), "unreachable").await;
    session.shutdown().await;
    assert_eq!(left().iter().filter(|one| one.wants_metadata).count(), 1);
    let state_dir = Some(states.path().to_owned());
    let session = Session::start(Config { state_dir, ..config() }).await.expect("starts");
    let handle = session.add(content.add(dir.path())).await.expect("added");
    handle.wait_checked().await.expect("checked");
    session.shutdown().await;
    assert_eq!(left().iter().filter(|one| one.wants_metadata).count(), 0);
}

/// Of what a code stands for nothing may be left by which anybody else could fetch it.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn what_is_left_of_a_code_does_not_give_it_away() {
    let states = TempDir::new().expect("a folder");
    let code = ShareCode::of(content().metainfo.info.info_hash().wire());
    let (state_dir, encryption) = (Some(states.path().to_owned()), EncryptionPolicy::Required);
    let session = Session::start(Config { state_dir, encryption, ..config() }).await;
    let session = session.expect("starts");
    let fetching = session.fetch_shared(code, vec![nobody()]).await.expect("begun");
    first(fetching.torrent(), "unreachable").await;
    session.shutdown().await;
    let left = unfinished::list(states.path()).expect("read").torrents;
    assert_eq!(left[0].info_hash, code.place().to_string());
    let entries = std::fs::read_dir(states.path().join("resume")).expect("a folder");
    for entry in entries.map(|entry| entry.expect("an entry").path()) {
        let text =
            format!("{} {}", entry.display(), std::fs::read_to_string(&entry).expect("text"));
        let secrets = [code.to_string(), code.password().to_string()];
        assert!(secrets.iter().all(|secret| !text.contains(secret)), "{text}");
    }
}

/// Nothing is recorded of data that nobody has verified, but why it does not get on is.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_run_that_skips_the_check_says_why_all_the_same() {
    let (dir, states) = (TempDir::new().expect("a folder"), TempDir::new().expect("a folder"));
    let kept = || Config { state_dir: Some(states.path().to_owned()), ..config() };
    let peer = nobody();
    let (session, handle) = start(kept(), dir.path(), |add| {
        (add.peers, add.check) = (vec![peer], Check::Nothing);
    })
    .await;
    first(&handle, "unreachable").await;
    session.shutdown().await;
    let left = unfinished::list(states.path()).expect("read").torrents;
    assert_eq!((&*left[0].causes[0].cause, left[0].total), ("unreachable", 500_000));
    let entries = std::fs::read_dir(states.path().join("resume")).expect("a folder");
    let has = |extension: &str| {
        let name = |entry: std::io::Result<std::fs::DirEntry>| entry.expect("an entry").path();
        entries.map(name).filter(|path| path.extension().is_some_and(|e| e == extension)).count()
    };
    assert_eq!(has("resume"), 0);
    content().write(dir.path());
    let (session, handle) = start(kept(), dir.path(), |add| add.check = Check::Nothing).await;
    timeout(PATIENCE, handle.wait_complete()).await.expect("in time").expect("complete");
    session.shutdown().await;
    assert_eq!(unfinished::list(states.path()).expect("read").torrents, []);
}
