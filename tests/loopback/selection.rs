//! Some files of a torrent: what nobody wants is not made, and what is shared with it is kept all the same.

use std::{fs, net::Ipv4Addr};

use downpour::session::{AddTorrent, Check, Config, Priority, Session, TorrentHandle};
use tempfile::TempDir;

use crate::content::{Content, addr_of, seeder, session};

/// Pieces of 64 KiB; none of the files begins with one but the first.
fn content() -> Content {
    let files = [("a", 100_000), ("b/c", 500_000), ("b/d", 3), ("e", 0), ("f", 200_000)];
    Content::folder("things", &files, 64 << 10)
}

fn exists(content: &Content, dir: &TempDir) -> Vec<bool> {
    content.files.iter().map(|(path, _)| dir.path().join(path).exists()).collect()
}

/// Where unwanted ends are kept.
fn hidden(dir: &TempDir) -> usize {
    let entries = fs::read_dir(dir.path()).expect("a folder");
    let names = entries.map(|entry| entry.expect("an entry").file_name());
    names.filter(|name| name.to_string_lossy().starts_with(".downpour-")).count()
}

async fn fetch(
    session: &Session,
    from: &Session,
    content: &Content,
    files: Vec<Priority>,
    dir: &TempDir,
) -> TorrentHandle {
    let peers = vec![addr_of(from, Ipv4Addr::LOCALHOST)];
    let add = AddTorrent { files, peers, ..content.add(dir.path()) };
    let handle = session.add(add).await.expect("added");
    handle.wait_complete().await.expect("what is wanted is there");
    handle
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nobody_wants_is_not_made() {
    use Priority::{High, Normal, Skip};
    let content = content();
    let (seed, _handle, _seed_dir) = seeder(&content).await;
    let (leech, dir) = (session().await, TempDir::new().expect("a folder"));
    // The files come in the order of their paths.
    let wanted = vec![Skip, Skip, High, Normal, Skip];
    let handle = fetch(&leech, &seed, &content, wanted.clone(), &dir).await;
    assert_eq!(exists(&content, &dir), [false, false, true, true, false]);
    assert_eq!(hidden(&dir), 1);
    let (path, bytes) = &content.files[2];
    assert_eq!(&fs::read(dir.path().join(path)).expect("it is there"), bytes);
    let machine = handle.snapshot().machine.clone();
    assert_eq!((machine.wanted, machine.wanted_done), (64 << 10, 64 << 10));
    assert!(machine.downloaded < 100_000, "{} bytes came", machine.downloaded);

    // The piece that it shares with two others is served to one who wants that alone.
    let (other, other_dir) = (session().await, TempDir::new().expect("a folder"));
    fetch(&other, &leech, &content, wanted, &other_dir).await;
    assert_eq!(exists(&content, &other_dir), [false, false, true, true, false]);
}

/// Of the hidden file only the ends of one piece were ever written: the owner cannot vouch for the others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_vouches_for_what_is_kept_of_unwanted_files() {
    use Priority::{Normal, Skip};
    let content = content();
    let (seed, _handle, _seed_dir) = seeder(&content).await;
    let dir = TempDir::new().expect("a folder");
    let wanted = vec![Skip, Skip, Normal, Skip, Skip];
    for check in [Check::Doubtful, Check::Nothing] {
        let leech = session().await;
        let peers = vec![addr_of(&seed, Ipv4Addr::LOCALHOST)];
        let add = AddTorrent { files: wanted.clone(), peers, check, ..content.add(dir.path()) };
        let handle = leech.add(add).await.expect("added");
        handle.wait_complete().await.expect("what is wanted is there");
        assert_eq!(handle.snapshot().machine.pieces_done, 1, "{check:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_choice_goes_on_with_what_is_there() {
    use Priority::{Normal, Skip};
    let content = content();
    let (seed, _handle, _seed_dir) = seeder(&content).await;
    let (dir, state) = (TempDir::new().expect("a folder"), TempDir::new().expect("a folder"));
    let config = Config { state_dir: Some(state.path().to_owned()), ..Config::default() };
    let mut came = Vec::new();
    for files in [
        vec![Normal, Skip, Skip, Skip, Skip],
        vec![Normal, Skip, Skip, Skip, Skip],
        vec![Skip, Skip, Normal, Normal, Normal],
        vec![],
    ] {
        let leech = Session::start(config.clone()).await.expect("starts");
        let handle = fetch(&leech, &seed, &content, files, &dir).await;
        came.push(handle.snapshot().machine.downloaded);
        leech.shutdown().await;
    }
    content.assert_at(dir.path());
    // The second time nothing was missing; in all hardly more than everything came, the ends of files that
    // were not made the first time twice.
    assert_eq!(came[1], 0, "{came:?}");
    let total: u64 = content.files.iter().map(|(_, bytes)| bytes.len() as u64).sum();
    assert!(came.iter().sum::<u64>() <= total + 4 * (64 << 10), "{came:?}");
    assert_eq!(hidden(&dir), 0, "nothing is left over");
    let leech = Session::start(config).await.expect("starts");
    let add = AddTorrent { check: Check::Everything, ..content.add(dir.path()) };
    let handle = leech.add(add).await.expect("added");
    handle.wait_complete().await.expect("all of it is right");
}
