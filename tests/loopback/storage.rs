//! Storage that goes away or is full while a session runs, or is not there at its start: the torrent waits, nothing is
//! made anew in its place, and it goes on by itself.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    process::Command,
    time::Duration,
};

use downpour::{
    base::{index::PieceIndex, units::ByteRate},
    session::{
        AddTorrent, Config, Limits, LimitsConfig, Priority, Session, TorrentEvent, TorrentHandle,
        TorrentState, unfinished,
    },
};
use tempfile::TempDir;
use tokio::time::{sleep, timeout};

use crate::{
    content::{Content, addr_of, leecher, seeder, session},
    restart::spoil,
};

/// Many small files, so that one is opened or made with nearly every piece.
fn content() -> Content {
    let names: Vec<String> = (0..120).map(|n| format!("d{}/f{n}", n % 5)).collect();
    let lengths: Vec<(&str, usize)> = names.iter().map(|name| (name.as_str(), 20_000)).collect();
    Content::folder("many", &lengths, 16 << 10)
}

async fn until(handle: &TorrentHandle, what: &str, fits: impl Fn(&TorrentState) -> bool) {
    // A storage is looked at every half a minute.
    for _ in 0..12_000 {
        if fits(&handle.snapshot().state) {
            return;
        }
        sleep(Duration::from_millis(10)).await;
    }
    panic!("not {what}: {:?}", handle.snapshot().state);
}

/// The seed has found its storage again, and serves whoever asks for the rest.
async fn goes_on(seeding: &TorrentHandle, handle: &TorrentHandle, peer: SocketAddr) {
    until(seeding, "seeding again", |state| *state == TorrentState::Seeding).await;
    seeding.wait_complete().await.expect("it is complete");
    handle.add_peers(vec![peer]).await;
    handle.wait_complete().await.expect("complete");
}

fn is_missing(state: &TorrentState) -> bool {
    matches!(state, TorrentState::MissingStorage(_))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_seed_whose_files_are_moved_away_waits_for_them() {
    let content = content();
    let (seed, seeding, seed_dir) = seeder(&content).await;
    let (here, away) = (seed_dir.path().join("many"), seed_dir.path().join("away"));
    fs::rename(&here, &away).expect("moved");
    let peer = addr_of(&seed, Ipv4Addr::LOCALHOST);
    let (leech, handle, dir) = leecher(&content, vec![peer]).await;
    until(&seeding, "missing", is_missing).await;
    assert!(!here.exists(), "nothing is made in its place");
    assert_eq!(seeding.snapshot().machine.done, 120 * 20_000, "what was verified stays so");
    fs::rename(&away, &here).expect("moved back");
    goes_on(&seeding, &handle, peer).await;
    content.assert_at(dir.path());
    leech.shutdown().await;
    seed.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_download_whose_folder_goes_makes_no_other_and_goes_on_when_it_is_back() {
    let content = content();
    let (seed, _, _seed_dir) = seeder(&content).await;
    seed.set_limits(Limits { up: Some(ByteRate(2 << 20)), down: None }.into());
    let peer = addr_of(&seed, Ipv4Addr::LOCALHOST);
    let dir = TempDir::new().expect("a folder");
    let (here, away) = (dir.path().join("output"), dir.path().join("away"));
    let leech = session().await;
    let add = AddTorrent { peers: vec![peer], ..content.add(&here) };
    let handle = leech.add(add).await.expect("added");
    while handle.snapshot().machine.done < 500_000 {
        sleep(Duration::from_millis(1)).await;
    }
    fs::rename(&here, &away).expect("moved");
    until(&handle, "missing", is_missing).await;
    let done = handle.snapshot().machine.done;
    assert!(!here.exists() && done >= 500_000, "{done} bytes are done");
    fs::rename(&away, &here).expect("moved back");
    until(&handle, "downloading again", |state| *state == TorrentState::Downloading).await;
    assert!(handle.snapshot().machine.done >= done, "nothing that was verified is fetched again");
    handle.add_peers(vec![peer]).await;
    handle.wait_complete().await.expect("complete");
    content.assert_at(&here);
    leech.shutdown().await;
    seed.shutdown().await;
}

/// A folder that is there and empty, where the resume state says that there is data: a disk that is not mounted.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_folder_that_is_empty_at_the_start_is_waited_for_and_not_filled_anew() {
    let content = content();
    let (seed, _, _seed_dir) = seeder(&content).await;
    seed.set_limits(Limits { up: Some(ByteRate(2 << 20)), down: None }.into());
    let peer = addr_of(&seed, Ipv4Addr::LOCALHOST);
    let (dir, states) = (TempDir::new().expect("a folder"), TempDir::new().expect("a folder"));
    let (here, away) = (dir.path().join("disk"), dir.path().join("away"));
    let start = async |change: &dyn Fn(&mut AddTorrent)| {
        let state_dir = Some(states.path().to_owned());
        let session = Session::start(Config { state_dir, ..Config::default() }).await;
        let mut add = AddTorrent { peers: vec![peer], ..content.add(&here) };
        // The last file is not wanted and is there: it is found again with the others.
        add.files = vec![Priority::Normal; 120];
        add.files[119] = Priority::Skip;
        change(&mut add);
        let session = session.expect("starts");
        let handle = session.add(add).await.expect("added");
        (session, handle)
    };
    let unwanted = &content.files[119];
    let place = here.join(&unwanted.0);
    fs::create_dir_all(place.parent().expect("a folder")).expect("made");
    fs::write(&place, &unwanted.1).expect("written");
    let (first, handle) = start(&|_| ()).await;
    while handle.snapshot().machine.done < 500_000 {
        sleep(Duration::from_millis(1)).await;
    }
    first.shutdown().await;
    let done = handle.snapshot().machine.clone();

    fs::rename(&here, &away).expect("moved");
    fs::create_dir(&here).expect("made");
    let is_empty = || fs::read_dir(&here).expect("a folder").next().is_none();
    let (second, handle) = start(&|_| ()).await;
    until(&handle, "missing", is_missing).await;
    let snapshot = handle.snapshot();
    assert_eq!(snapshot.machine.wanted_done, done.wanted_done, "progress is kept");
    assert_eq!(snapshot.why[0].cause.name(), "disk");
    assert!(is_empty(), "nothing is made in its place");
    let left = unfinished::list(states.path()).expect("read").torrents;
    assert_eq!((&*left[0].causes[0].cause, left[0].done), ("disk", done.wanted_done));
    fs::remove_dir(&here).expect("empty");
    fs::rename(&away, &here).expect("moved back");
    until(&handle, "complete", |state| *state == TorrentState::Seeding).await;
    content.assert_at(&here);
    let fetched = handle.snapshot().machine.downloaded;
    assert!(fetched <= done.wanted - done.wanted_done, "{fetched} bytes were fetched");
    second.shutdown().await;
    assert_eq!(unfinished::list(states.path()).expect("read").torrents, []);

    // Complete as it is, it is not to be made anew either, unless somebody says so.
    fs::rename(&here, &away).expect("moved");
    fs::create_dir(&here).expect("made");
    let (third, handle) = start(&|add| add.fetch = false).await;
    until(&handle, "missing", is_missing).await;
    third.shutdown().await;
    assert!(is_empty());
    let left = unfinished::list(states.path()).expect("read").torrents;
    assert_eq!((&*left[0].causes[0].cause, left[0].done), ("disk", done.wanted));
    let (fourth, handle) = start(&|add| add.force = true).await;
    handle.wait_complete().await.expect("complete");
    assert!(handle.snapshot().machine.downloaded >= done.wanted, "all of it is fetched anew");
    fourth.shutdown().await;
    assert_eq!(unfinished::list(states.path()).expect("read").torrents, []);
    seed.shutdown().await;
}

/// What somebody wrote without leaving a trace is found by the slow look at what is served.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_piece_that_goes_bad_while_it_is_served_is_not_sent_for_ever() {
    let content = Content::one_file("file.bin", 32 << 10, 32 << 10);
    let dir = TempDir::new().expect("a folder");
    content.write(dir.path());
    let sample_every = Duration::from_millis(1);
    let seed = Session::start(Config { sample_every, ..Config::default() }).await.expect("starts");
    let seeding = seed.add(content.add(dir.path())).await.expect("added");
    seeding.wait_complete().await.expect("complete from the start");
    let mut events = seeding.subscribe();
    spoil(&dir.path().join("file.bin"), 5, true);
    let (leech, _, _dir) = leecher(&content, vec![addr_of(&seed, Ipv4Addr::LOCALHOST)]).await;
    while !matches!(events.recv().await, Ok(TorrentEvent::PieceLost(_))) {}
    assert_eq!(seeding.snapshot().machine.pieces_done, 0);
    leech.shutdown().await;
    seed.shutdown().await;
}

/// Somebody writes to a file that is being seeded. Nobody asks for the pieces that are bad now, but they are found.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_file_that_somebody_wrote_to_is_checked_whole() {
    let content = Content::one_file("file.bin", 40 * (32 << 10), 32 << 10);
    let dir = TempDir::new().expect("a folder");
    content.write(dir.path());
    let up = Limits { up: Some(ByteRate(64 << 10)), ..Limits::default() };
    let limits = LimitsConfig { all: up, ..LimitsConfig::default() };
    let sample_every = Duration::from_millis(1);
    let config = Config { sample_every, limits, ..Config::default() };
    let seed = Session::start(config).await.expect("starts");
    let seeding = seed.add(content.add(dir.path())).await.expect("added");
    seeding.wait_complete().await.expect("complete from the start");
    let mut events = seeding.subscribe();
    let bad = [5, 20].map(PieceIndex);
    let (leech, _, _dir) = leecher(&content, vec![addr_of(&seed, Ipv4Addr::LOCALHOST)]).await;
    while seeding.snapshot().machine.uploaded == 0 {
        tokio::task::yield_now().await;
    }
    let file = dir.path().join("file.bin");
    for piece in bad {
        spoil(&file, u64::from(piece.0) * (32 << 10), false);
    }
    // The last five pieces are cut off.
    fs::File::options()
        .write(true)
        .open(&file)
        .expect("opens")
        .set_len(35 * (32 << 10))
        .expect("cut");
    let mut lost = Vec::new();
    while lost.len() < 7 {
        // What is written after a check has begun is looked at a minute later.
        let event = timeout(Duration::from_secs(120), events.recv()).await.expect("it is found");
        if let TorrentEvent::PieceLost(piece) = event.expect("it runs") {
            lost.push(piece.0);
        }
    }
    lost.sort_unstable();
    assert_eq!(lost, [5, 20, 35, 36, 37, 38, 39]);
    let machine = seeding.snapshot().machine.clone();
    assert!(machine.uploaded < 20 * (32 << 10), "{} were asked for", machine.uploaded);
    assert_eq!(machine.pieces_done, 33);
    leech.shutdown().await;
    seed.shutdown().await;
}

/// Somebody puts another file in the place of one that is being seeded: what is open is not what goes by its name.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn of_a_file_that_was_replaced_nothing_wrong_is_sent() {
    let content = Content::one_file("file.bin", 40 * (32 << 10), 32 << 10);
    let dir = TempDir::new().expect("a folder");
    content.write(dir.path());
    let limits = |up| LimitsConfig { all: Limits { up, down: None }, ..LimitsConfig::default() };
    let slow = limits(Some(ByteRate(64 << 10)));
    let sample_every = Duration::from_millis(1);
    let config = Config { sample_every, limits: slow, ..Config::default() };
    let seed = Session::start(config).await.expect("starts");
    let seeding = seed.add(content.add(dir.path())).await.expect("added");
    seeding.wait_complete().await.expect("complete from the start");
    let mut events = seeding.subscribe();
    let (leech, fetching, _dir) =
        leecher(&content, vec![addr_of(&seed, Ipv4Addr::LOCALHOST)]).await;
    while seeding.snapshot().machine.uploaded == 0 {
        tokio::task::yield_now().await;
    }
    let (file, other) = (dir.path().join("file.bin"), dir.path().join("other"));
    fs::copy(&file, &other).expect("copied");
    // Those are looked at first, before any read that looks for the file by its name.
    for piece in [1, 2] {
        spoil(&other, piece * (32 << 10), true);
    }
    fs::rename(&other, &file).expect("renamed");
    let mut lost = Vec::new();
    while lost.len() < 2 {
        let event = timeout(Duration::from_secs(60), events.recv()).await.expect("it is found");
        if let TorrentEvent::PieceLost(piece) = event.expect("it runs") {
            lost.push(piece.0);
        }
    }
    lost.sort_unstable();
    assert_eq!(lost, [1, 2]);
    seed.set_limits(limits(None));
    let all_that_is_right = async {
        while fetching.snapshot().machine.pieces_done < 38 {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(Duration::from_secs(60), all_that_is_right).await.expect("the rest is sent");
    assert_eq!(fetching.snapshot().machine.corrupt, 0);
    leech.shutdown().await;
    seed.shutdown().await;
}

/// A small file system of its own; only root can make one.
struct Mount(TempDir);

impl Mount {
    fn new(size: &str) -> Option<Self> {
        let dir = TempDir::new().expect("a folder");
        let size = format!("size={size}");
        let done = run("mount", &["-t", "tmpfs", "-o", &size, "none"], dir.path());
        assert!(
            done || std::env::var_os("DOWNPOUR_MOUNTS").is_none(),
            "a file system cannot be mounted"
        );
        done.then(|| Mount(dir))
    }

    /// The same file system, at another place.
    fn again(&self) -> Self {
        let dir = TempDir::new().expect("a folder");
        self.bind(dir.path());
        Mount(dir)
    }

    fn bind(&self, place: &Path) {
        let own = self.path().to_str().expect("UTF-8");
        assert!(run("mount", &["--bind", own], place), "root may do that");
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        run("umount", &["-l"], self.path());
    }
}

fn run(program: &str, args: &[&str], place: &Path) -> bool {
    let done = Command::new(program).args(args).arg(place).output();
    done.is_ok_and(|output| output.status.success())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_seed_whose_disk_is_unmounted_waits_for_it() {
    let Some(mount) = Mount::new("12m") else { return };
    let elsewhere = mount.again();
    let content = content();
    content.write(mount.path());
    let seed = session().await;
    let seeding = seed.add(content.add(mount.path())).await.expect("added");
    seeding.wait_complete().await.expect("complete");
    assert!(run("umount", &["-l"], mount.path()));
    let peer = addr_of(&seed, Ipv4Addr::LOCALHOST);
    let (leech, handle, dir) = leecher(&content, vec![peer]).await;
    until(&seeding, "missing", is_missing).await;
    assert_eq!(fs::read_dir(mount.path()).expect("there").count(), 0, "nothing is made there");
    assert_eq!(seeding.snapshot().machine.done, 120 * 20_000, "what was verified stays so");
    elsewhere.bind(mount.path());
    goes_on(&seeding, &handle, peer).await;
    content.assert_at(dir.path());
    leech.shutdown().await;
    seed.shutdown().await;
}

/// Two torrents are on a full disk and one is elsewhere; the session ends and begins again meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_full_disk_stops_its_own_torrents_until_there_is_room() {
    let Some(mount) = Mount::new("12m") else { return };
    let ballast = mount.path().join("ballast");
    fs::write(&ballast, vec![1; 10 << 20]).expect("written");
    let contents = [
        Content::one_file("first", 6_000_000, 64 << 10),
        Content::one_file("second", 5_000_000, 64 << 10),
        content(),
    ];
    let (dir, state) = (TempDir::new().expect("a folder"), TempDir::new().expect("a folder"));
    let roots = [mount.path(), mount.path(), dir.path()];
    let mut seeds = Vec::new();
    for content in &contents {
        seeds.push(seeder(content).await);
    }
    let begin = async || {
        let state_dir = Some(state.path().to_owned());
        let leech =
            Session::start(Config { state_dir, ..Config::default() }).await.expect("starts");
        let adds = contents.iter().zip(roots).zip(&seeds).map(|((content, root), (seed, ..))| {
            AddTorrent { peers: vec![addr_of(seed, Ipv4Addr::LOCALHOST)], ..content.add(root) }
        });
        let added = leech.add_all(adds.collect()).await;
        (leech, added.into_iter().map(|added| added.expect("added")).collect::<Vec<_>>())
    };
    let is_full = |state: &TorrentState| matches!(state, TorrentState::DiskFull(_));
    for run in 0..2 {
        let (leech, handles) = begin().await;
        for full in &handles[..2] {
            until(full, "full", is_full).await;
        }
        handles[2].wait_complete().await.expect("it is on another disk");
        contents[2].assert_at(dir.path());
        if run == 1 {
            fs::remove_file(&ballast).expect("removed");
            for (full, content) in handles.iter().zip(&contents).take(2) {
                until(full, "complete", |state| *state == TorrentState::Seeding).await;
                full.wait_complete().await.expect("complete");
                content.assert_at(mount.path());
            }
        }
        leech.shutdown().await;
        // Each has its state, also those that could not get on.
        let resume = fs::read_dir(state.path().join("resume")).expect("there");
        let names = resume.map(|entry| entry.expect("read").file_name());
        let saved = names.filter(|name| name.to_string_lossy().ends_with(".resume")).count();
        assert_eq!(saved, 3);
    }
    for (seed, ..) in seeds {
        seed.shutdown().await;
    }
}
