//! What real sessions say of why a torrent does not get on, and what they leave of it.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::Path,
    time::Duration,
};

use downpour::{
    base::units::ByteRate,
    session::{
        AddTorrent, Config, EncryptionPolicy, Limits, LimitsConfig, ListenConfig, Session,
        TorrentHandle, unfinished,
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

/// A port at which nobody listens, nor will while the socket is there: another test cannot get it.
fn nobody() -> (TcpSocket, SocketAddr) {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind((Ipv4Addr::LOCALHOST, 0).into()).expect("a port");
    let addr = socket.local_addr().expect("bound");
    (socket, addr)
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

    let ((_peer, peer), (_tracker, tracker)) = (nobody(), nobody());
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
    let (_socket, peer) = nobody();
    let (session, handle) = start(kept(), dir.path(), |add| add.peers = vec![peer]).await;
    let line = first(&handle, "unreachable").await;
    session.shutdown().await;
    let left = unfinished::list(states.path()).expect("read");
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
    assert_eq!(unfinished::list(states.path()).expect("read"), []);
}
