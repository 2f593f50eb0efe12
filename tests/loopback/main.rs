//! Whole sessions over loopback sockets, with real files: what is shared arrives as it was.
//!
//! Nothing here waits for a time: every wait is for an event, and a test that hangs is a failure.

// Elsewhere there is one loopback address only.
#[cfg(target_os = "linux")]
mod blocked;
// Elsewhere nothing can be bound to an interface.
#[cfg(target_os = "linux")]
mod bound;
mod content;
mod encryption;
mod file_server;
mod limits;
// Elsewhere there is one loopback address only.
#[cfg(target_os = "linux")]
mod proxy;
#[cfg(target_os = "linux")]
mod proxy_server;
mod restart;
mod selection;
mod shared;
mod storage;
mod trackerless;
mod web_seeds;
mod why;

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Duration,
};

use content::{Content, addr_of, leecher, seeder, session, session_at};
use downpour::{
    base::units::ByteRate,
    metainfo::Magnet,
    session::{
        AddError, AddTorrent, Config, FetchMetadata, Limits, ListenConfig, Refusal, Session,
        SessionError, TorrentError, TorrentEvent, TorrentState,
        tracker_host::{TrackerConfig, TrackerHost},
    },
};
use tempfile::TempDir;
use tokio::time::sleep;

/// One session has it, another fetches it from there.
async fn arrives(content: Content, ip: impl Into<IpAddr>) {
    let (seed, _, _seed_dir) = seeder(&content).await;
    let (leech, handle, dir) = leecher(&content, vec![addr_of(&seed, ip)]).await;
    handle.wait_complete().await.expect("complete");
    content.assert_at(dir.path());
    leech.shutdown().await;
    seed.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn one_file_arrives() {
    arrives(Content::one_file("file.bin", 5_000_000, 256 << 10), Ipv4Addr::LOCALHOST).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn one_file_arrives_over_ipv6() {
    arrives(Content::one_file("file.bin", 1_000_001, 32 << 10), Ipv6Addr::LOCALHOST).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_folder_of_many_small_files_arrives() {
    let names: Vec<(String, usize)> =
        (0..400).map(|i| (format!("d{}/f{i}", i % 7), (i * 37) % 3_000)).collect();
    let lengths: Vec<(&str, usize)> = names.iter().map(|(n, l)| (n.as_str(), *l)).collect();
    arrives(Content::folder("many", &lengths, 16 << 10), Ipv4Addr::LOCALHOST).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_magnet_link_is_enough() {
    // The info dictionary has several parts.
    let names: Vec<String> = (0..1_500).map(|n| format!("a folder/file number {n}")).collect();
    let lengths: Vec<(&str, usize)> = names.iter().map(|name| (name.as_str(), 100)).collect();
    let content = Content::folder("many", &lengths, 16 << 10);
    assert!(content.metainfo.info.bytes().len() > 40_000);
    let (one, _, _one_dir) = seeder(&content).await;
    let (other, _, _other_dir) = seeder(&content).await;
    let peers = [&one, &other].map(|session| addr_of(session, Ipv4Addr::LOCALHOST)).to_vec();
    let leech = session().await;
    let magnet = Magnet::from_metainfo(&content.metainfo);
    let fetch = FetchMetadata { magnet, trackers: Vec::new(), peers };
    let fetching = leech.fetch_metadata(fetch.clone()).await.expect("begun");
    assert!(matches!(leech.fetch_metadata(fetch).await, Err(AddError::Duplicate(_))));
    assert_eq!(fetching.torrent().name(), "many");
    let metainfo = fetching.wait().await.expect("found");
    assert_eq!(metainfo.info.bytes(), content.metainfo.info.bytes());
    let dir = TempDir::new().expect("a folder");
    let added = fetching.add(AddTorrent::new(metainfo, dir.path())).await;
    added.expect("it takes the place").wait_complete().await.expect("complete");
    content.assert_at(dir.path());
    for session in [leech, one, other] {
        session.shutdown().await;
    }
}

/// Whoever dialled us may not come again soon, and can't be dialled perhaps.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn who_sent_the_metadata_stays_connected() {
    let content = Content::one_file("file.bin", 1_000_000, 32 << 10);
    let (seed, dir) = (session().await, TempDir::new().expect("a folder"));
    content.write(dir.path());
    let leech = session().await;
    let magnet = Magnet::from_metainfo(&content.metainfo);
    let fetch = FetchMetadata { magnet, trackers: Vec::new(), peers: Vec::new() };
    let fetching = leech.fetch_metadata(fetch).await.expect("begun");
    // The seed dials, once.
    let peers = vec![addr_of(&leech, Ipv4Addr::LOCALHOST)];
    let add = AddTorrent { peers, keep_useless: true, ..content.add(dir.path()) };
    let seeding = seed.add(add).await.expect("added");
    let mut events = seeding.subscribe();
    let metainfo = fetching.wait().await.expect("found");
    let leech_dir = TempDir::new().expect("a folder");
    let add = AddTorrent { keep_useless: true, ..AddTorrent::new(metainfo, leech_dir.path()) };
    let handle = fetching.add(add).await.expect("it takes the place");
    handle.wait_complete().await.expect("complete");
    content.assert_at(leech_dir.path());
    assert_eq!(leech.torrents().len(), 1);
    let connected = |event: &TorrentEvent| matches!(event, TorrentEvent::PeerConnected { .. });
    let events: Vec<_> = std::iter::from_fn(|| events.try_recv().ok()).collect();
    assert!(events.iter().filter(|event| connected(event)).count() <= 1, "{events:?}");
    let ended = |event: &TorrentEvent| matches!(event, TorrentEvent::PeerDisconnected { .. });
    assert!(!events.iter().any(ended), "{events:?}");
    for session in [leech, seed] {
        session.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn leechers_that_find_one_another_through_a_tracker_all_complete() {
    let tracker = TrackerHost::start(TrackerConfig::new((Ipv4Addr::LOCALHOST, 0).into()));
    let tracker = tracker.expect("a tracker");
    let url = format!("http://{}/announce", tracker.local_addr());
    let content = Content::one_file("file.bin", 3_000_000, 64 << 10);
    let mut swarm = Vec::new();
    for number in 0..4 {
        let dir = TempDir::new().expect("a folder");
        if number == 0 {
            content.write(dir.path());
        }
        let session = session().await;
        let add = AddTorrent { trackers: vec![url.clone()], ..content.add(dir.path()) };
        let handle = session.add(add).await.expect("added");
        swarm.push((session, handle, dir));
    }
    for (_, handle, dir) in &swarm {
        handle.wait_complete().await.expect("complete");
        content.assert_at(dir.path());
    }
    for (session, ..) in swarm {
        session.shutdown().await;
    }
    assert_eq!(tracker.stats().peers, 0, "all of them said goodbye");
    tracker.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn an_abort_half_way_loses_nothing_that_was_verified() {
    let content = Content::one_file("file.bin", 8_000_000, 64 << 10);
    let (seed, _, _seed_dir) = seeder(&content).await;
    let peers = vec![addr_of(&seed, Ipv4Addr::LOCALHOST)];

    seed.set_limits(Limits { up: Some(ByteRate(20 << 20)), down: None }.into());
    let (leech, handle, dir) = leecher(&content, peers.clone()).await;
    let enough = 20 * (64 << 10);
    // Events before one asks for them are not heard: what matters is how far it has come.
    while handle.snapshot().machine.done < enough {
        sleep(Duration::from_millis(1)).await;
    }
    drop(leech);

    let leech = session().await;
    let add = AddTorrent { peers, ..content.add(dir.path()) };
    let handle = leech.add(add).await.expect("what we wrote ourselves is not in the way");
    handle.wait_complete().await.expect("complete");
    content.assert_at(dir.path());
    let fetched = handle.snapshot().machine.downloaded;
    assert!(fetched + enough <= 8_000_000, "{fetched} fetched, {enough} were verified");
    leech.shutdown().await;
    seed.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn what_is_somebody_elses_is_not_overwritten_unless_forced() {
    let content = Content::one_file("file.bin", 300_000, 32 << 10);
    let dir = TempDir::new().expect("a folder");
    let path = dir.path().join("file.bin");
    let session = session().await;

    fs::write(&path, vec![1; 300_001]).expect("written");
    let err = session.add(content.add(dir.path())).await.expect_err("longer");
    assert!(matches!(err, AddError::InTheWay(_)), "{err}");

    fs::write(&path, vec![1; 300_000]).expect("written");
    let handle = session.add(content.add(dir.path())).await.expect("length is right");
    let err = handle.wait_complete().await.expect_err("nothing is right");
    assert!(matches!(err, TorrentError::Differs(_)), "{err}");
    assert!(matches!(handle.snapshot().state, TorrentState::Failed(_)));
    let err = session.add(content.add(dir.path())).await.expect_err("still there");
    assert!(matches!(err, AddError::Duplicate(id) if id == handle.id()), "{err}");
    handle.remove().await;
    assert_eq!(fs::read(&path).expect("readable"), vec![1; 300_000]);

    let (seed, _, _seed_dir) = seeder(&content).await;
    let peers = vec![addr_of(&seed, Ipv4Addr::LOCALHOST)];
    let add = AddTorrent { force: true, peers, ..content.add(dir.path()) };
    let handle = session.add(add).await.expect("forced");
    handle.wait_complete().await.expect("complete");
    content.assert_at(dir.path());
    session.shutdown().await;
    seed.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn pause_drops_the_peers_and_resume_finishes() {
    let content = Content::one_file("file.bin", 6_000_000, 64 << 10);
    let (seed, _, _seed_dir) = seeder(&content).await;
    seed.set_limits(Limits { up: Some(ByteRate(20 << 20)), down: None }.into());
    let (leech, handle, dir) = leecher(&content, vec![addr_of(&seed, Ipv4Addr::LOCALHOST)]).await;
    let mut events = handle.subscribe();
    while !matches!(events.recv().await, Ok(TorrentEvent::PieceVerified(_))) {}
    handle.pause();
    while !matches!(events.recv().await, Ok(TorrentEvent::PeerDisconnected { .. })) {}
    assert_eq!(handle.peers().await.len(), 0);
    assert_eq!(handle.snapshot().state, TorrentState::Paused);
    handle.resume();
    handle.add_peers(vec![addr_of(&seed, Ipv4Addr::LOCALHOST)]).await;
    handle.wait_complete().await.expect("complete");
    content.assert_at(dir.path());
    leech.shutdown().await;
    seed.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn without_keep_seeding_it_pauses_when_it_is_complete() {
    let content = Content::one_file("file.bin", 300_000, 32 << 10);
    let (seed, _, _seed_dir) = seeder(&content).await;
    let dir = TempDir::new().expect("a folder");
    let session = session().await;
    let peers = vec![addr_of(&seed, Ipv4Addr::LOCALHOST)];
    let add = AddTorrent { peers, keep_seeding: false, ..content.add(dir.path()) };
    let handle = session.add(add).await.expect("added");
    handle.wait_complete().await.expect("complete");
    let snapshot = handle.snapshot();
    assert_eq!(snapshot.state, TorrentState::Paused);
    assert_eq!(snapshot.machine.done, 300_000);
    session.shutdown().await;
    assert_eq!(handle.wait_complete().await, Ok(()), "it stays complete");
    seed.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_port_that_is_taken_says_so() {
    let addr = Some(Ipv4Addr::LOCALHOST.into());
    let first = session_at(addr).await;
    let port = first.port().expect("listens");
    let listen = ListenConfig { addr, port, ..ListenConfig::default() };
    let err = Session::start(Config { listen, ..Config::default() }).await.expect_err("taken");
    assert!(matches!(err, SessionError::PortInUse { port: p } if p == port), "{err}");
    first.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn who_is_not_let_in_is_told_of_with_the_reason() {
    let content = Content::one_file("file.bin", 100_000, 32 << 10);
    let (seed, seeding, _seed_dir) = seeder(&content).await;
    let mut events = seeding.subscribe();
    seeding.pause();
    while seeding.snapshot().state != TorrentState::Paused {
        sleep(Duration::from_millis(1)).await;
    }
    let (_leech, _handle, _dir) =
        leecher(&content, vec![addr_of(&seed, Ipv4Addr::LOCALHOST)]).await;
    let reason = loop {
        if let TorrentEvent::PeerRefused { reason, .. } = events.recv().await.expect("it is there")
        {
            break reason;
        }
    };
    assert_eq!(reason, Refusal::Paused);
}
