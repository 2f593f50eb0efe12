//! Web seeds (BEP 19): torrents that complete from HTTP servers, alone and beside peers.

use std::{collections::HashMap, net::Ipv4Addr, sync::Arc, time::Duration};

use downpour::{
    base::{hash::sha1, index::FileIndex, rng::Rng, units::ByteRate},
    metainfo::{Info, Magnet, Metainfo},
    session::{
        AddTorrent, Config, FetchMetadata, Limits, Session, TorrentEvent, TorrentHandle,
        WebSeedChange, WebSeedFailure,
    },
};
use tempfile::TempDir;
use tokio::sync::{Semaphore, broadcast::Receiver};

use crate::{
    content::{Content, addr_of, seeder, session},
    file_server::{Answer, FileServer},
};

/// Files by the path at which they are below a web seed's URL.
fn files(content: &Content) -> HashMap<String, Arc<[u8]>> {
    let path = |path: &std::path::Path| format!("/{}", path.to_str().expect("text"));
    content.files.iter().map(|(p, bytes)| (path(p), bytes.as_slice().into())).collect()
}

/// A session that fetches `content` from web seeds, and hears of all that becomes of them.
async fn fetch(content: &Content, urls: &[String]) -> Fetch {
    let dir = TempDir::new().expect("a folder");
    let session = session().await;
    let handle = session.add(content.add(dir.path())).await.expect("added");
    handle.wait_checked().await.expect("nothing is there");
    let events = handle.subscribe();
    handle.add_web_seeds(urls.to_vec()).await;
    Fetch { session, handle, dir, events }
}

struct Fetch {
    session: Session,
    handle: TorrentHandle,
    dir: TempDir,
    events: Receiver<TorrentEvent>,
}

impl Fetch {
    /// It arrives.
    async fn completes(self, content: &Content) {
        self.handle.wait_complete().await.expect("complete");
        content.assert_at(self.dir.path());
        self.session.shutdown().await;
    }

    /// Waits until that becomes of a web seed.
    async fn sees(&mut self, what: WebSeedChange) {
        loop {
            if let TorrentEvent::WebSeed { change, .. } = self.events.recv().await.expect("told")
                && change == what
            {
                return;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_file_comes_from_http_alone() {
    let content = Content::one_file("a file.bin", 9_000_001, 64 << 10);
    let server = FileServer::start(files(&content), |_| Answer::Range).await;
    let url = format!("{}/a%20file.bin", server.url());
    fetch(&content, &[url]).await.completes(&content).await;
    let requests = server.requests();
    let bytes: u64 = requests.iter().map(|r| r.last - r.first + 1).sum();
    assert_eq!(bytes, 9_000_001, "each byte was asked for once");
    assert!(requests.len() <= 40, "{} requests", requests.len());
}

/// A torrent of files whose borders are not those of pieces, with padding between two of them.
fn padded() -> Content {
    let files = [("a", 300_000, ""), ("b", 27_680, "p"), ("d/c ü", 700_001, ""), ("e", 5, "")];
    let mut bytes = Vec::new();
    let mut kept = Vec::new();
    for (path, length, attributes) in files {
        let mut data = vec![0; length];
        if attributes.is_empty() {
            Rng::new(length as u64).fill(&mut data);
            kept.push((["things", path].iter().collect(), data.clone()));
        }
        bytes.extend(data);
    }
    let mut info = b"d5:filesl".to_vec();
    for (path, length, attributes) in files {
        let attributes = match attributes {
            "" => String::new(),
            attributes => format!("4:attr{}:{attributes}", attributes.len()),
        };
        let path: String = path.split('/').map(|p| format!("{}:{p}", p.len())).collect();
        info.extend(format!("d{attributes}6:lengthi{length}e4:pathl{path}ee").bytes());
    }
    let hashes: Vec<u8> = bytes.chunks(65_536).flat_map(|piece| sha1(piece).0).collect();
    info.extend(format!("e4:name6:things12:piece lengthi65536e6:pieces{}:", hashes.len()).bytes());
    info.extend(hashes);
    info.push(b'e');
    let info = Info::from_bytes(&info).expect("valid");
    Content { metainfo: Metainfo::new(Arc::new(info)), files: kept }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_with_padding_comes_from_http_alone() {
    let content = padded();
    let server = FileServer::start(files(&content), |_| Answer::Range).await;
    // The torrent itself names it.
    let mut metainfo = content.metainfo.clone();
    metainfo.web_seeds = vec![format!("{}/", server.url())];
    let (session, dir) = (session().await, TempDir::new().expect("a folder"));
    let handle = session.add(AddTorrent::new(metainfo, dir.path())).await.expect("added");
    handle.wait_complete().await.expect("complete");
    content.assert_at(dir.path());
    session.shutdown().await;
    let asked = |path: &str| -> u64 {
        let of_file = server.requests().into_iter().filter(|r| r.path == path);
        of_file.map(|r| r.last - r.first + 1).sum()
    };
    let paths = ["/things/a", "/things/d/c ü", "/things/e", "/things/b"];
    assert_eq!(paths.map(asked), [300_000, 700_001, 5, 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_web_seed_and_a_peer_share_the_work() {
    let content = Content::one_file("file.bin", 24_000_000, 256 << 10);
    let (seed, _, _seed_dir) = seeder(&content).await;
    // There is something left for the web seed, which answers when the peer has given something.
    seed.set_limits(Limits { up: Some(ByteRate(2 << 20)), down: None }.into());
    let may_answer = Arc::new(Semaphore::new(0));
    let held = may_answer.clone();
    let server = FileServer::start(files(&content), move |_| Answer::Held(held.clone())).await;
    let (dir, session) = (TempDir::new().expect("a folder"), session().await);
    let add = AddTorrent {
        web_seeds: vec![format!("{}/", server.url())],
        peers: vec![addr_of(&seed, Ipv4Addr::LOCALHOST)],
        keep_useless: true,
        ..content.add(dir.path())
    };
    let handle = session.add(add).await.expect("added");
    let rows = loop {
        let rows = handle.peers().await;
        if rows.len() == 2 && rows.iter().any(|row| row.downloaded > 0) {
            break rows;
        }
    };
    let (web, peer): (Vec<_>, Vec<_>) = rows.into_iter().partition(|row| row.web_seed.is_some());
    assert_eq!((web[0].client.as_str(), web[0].downloaded), ("web seed", 0));
    assert!(peer[0].downloaded > 0);
    may_answer.add_permits(1_000);
    handle.wait_complete().await.expect("complete");
    content.assert_at(dir.path());
    let rows = handle.peers().await;
    assert!(rows.iter().all(|row| row.web_seed.is_none()), "it is not needed any more");
    assert!(!server.requests().is_empty());
    session.shutdown().await;
    seed.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_web_seed_that_lies_is_given_up_and_the_peer_is_not_blamed() {
    let content = Content::one_file("file.bin", 3_000_000, 64 << 10);
    let server = FileServer::start(files(&content), |request| match request.number {
        0 => Answer::Lies,
        _ => Answer::Range,
    })
    .await;
    let mut fetch = fetch(&content, &[format!("{}/", server.url())]).await;
    fetch.sees(WebSeedChange::GivenUp(WebSeedFailure::BadData)).await;
    let (seed, _, _seed_dir) = seeder(&content).await;
    fetch.handle.add_peers(vec![addr_of(&seed, Ipv4Addr::LOCALHOST)]).await;
    fetch.handle.wait_complete().await.expect("complete");
    let machine = fetch.handle.snapshot().machine.clone();
    assert_eq!((machine.banned, machine.web_seeds), (0, 0));
    fetch.completes(&content).await;
    seed.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_busy_server_is_asked_again_when_it_says() {
    let content = Content::one_file("file.bin", 300_000, 64 << 10);
    let busy = "503 Service Unavailable\r\nRetry-After: 1";
    let server = FileServer::start(files(&content), move |request| match request.number {
        0 | 1 => Answer::Head(busy.to_owned()),
        _ => Answer::Range,
    })
    .await;
    let mut fetch = fetch(&content, &[format!("{}/", server.url())]).await;
    let wait = Duration::from_secs(1);
    let failure = WebSeedFailure::Busy { status: 503, wait: Some(wait) };
    fetch.sees(WebSeedChange::Rests(failure, wait)).await;
    fetch.completes(&content).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redirect_is_followed_and_remembered() {
    let content = Content::one_file("file.bin", 6_000_000, 64 << 10);
    let elsewhere = FileServer::start(files(&content), |_| Answer::Range).await;
    let to = format!("302 Found\r\nLocation: {}/file.bin", elsewhere.url());
    let server = FileServer::start(files(&content), move |_| Answer::Head(to.clone())).await;
    fetch(&content, &[format!("{}/", server.url())]).await.completes(&content).await;
    // Two are under way before the first has come back.
    let (first, others) = (server.requests().len(), elsewhere.requests().len());
    assert!(first <= 2 && others >= 6, "{first} redirects, {others} ranges");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whole_files_are_taken_while_they_are_small() {
    let small = Content::folder("small", &[("a", 100_000), ("b", 200_000)], 64 << 10);
    let server = FileServer::start(files(&small), |_| Answer::Whole).await;
    fetch(&small, &[server.url().to_owned()]).await.completes(&small).await;

    let large = Content::one_file("file.bin", 5_000_000, 64 << 10);
    let server = FileServer::start(files(&large), |_| Answer::Whole).await;
    let mut fetch = fetch(&large, &[format!("{}/", server.url())]).await;
    fetch.sees(WebSeedChange::GivenUp(WebSeedFailure::NoRanges)).await;
    fetch.session.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_there_is_not_asked_for_again_and_the_next_one_is() {
    let content = Content::one_file("file.bin", 300_000, 64 << 10);
    let empty = FileServer::start(HashMap::new(), |_| Answer::Range).await;
    let may_answer = Arc::new(Semaphore::new(0));
    let held = may_answer.clone();
    let good = FileServer::start(files(&content), move |_| Answer::Held(held.clone())).await;
    let urls = [&empty, &good].map(|server| format!("{}/", server.url()));
    let mut fetch = fetch(&content, &urls).await;
    let gone = WebSeedChange::GivenUp(WebSeedFailure::Status(404));
    fetch.sees(gone).await;
    may_answer.add_permits(100);
    fetch.handle.wait_complete().await.expect("complete");
    let rows = fetch.handle.web_seeds().await;
    assert_eq!(rows.iter().map(|row| &*row.url).collect::<Vec<_>>(), urls);
    assert_eq!([rows[0].last, rows[1].last], [Some(gone), Some(WebSeedChange::Left)]);
    fetch.completes(&content).await;
    assert!(empty.requests().len() <= 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_lacks_a_file_gives_the_others() {
    let lengths = [("a", 400_000), ("b", 200_000), ("c", 400_000)];
    let content = Content::folder("things", &lengths, 64 << 10);
    let mut there = files(&content);
    there.remove("/things/b").expect("it was there");
    let server = FileServer::start(there, |_| Answer::Range).await;
    let mut fetch = fetch(&content, &[format!("{}/", server.url())]).await;
    let failure = WebSeedFailure::NoFile { file: FileIndex(1), status: 404 };
    fetch.sees(WebSeedChange::Rests(failure, Duration::ZERO)).await;
    // All but the four pieces in which the missing file has a part.
    while fetch.handle.snapshot().machine.done < 1_000_000 - (4 << 16) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let (seed, _, _seed_dir) = seeder(&content).await;
    fetch.handle.add_peers(vec![addr_of(&seed, Ipv4Addr::LOCALHOST)]).await;
    fetch.completes(&content).await;
    let of_b = server.requests().iter().filter(|request| request.path == "/things/b").count();
    assert!(of_b <= 2, "it was asked for {of_b} times");
    seed.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_may_do_without() {
    let content = Content::one_file("file.bin", 300_000, 64 << 10);
    let server = FileServer::start(files(&content), |_| Answer::Range).await;
    let (seed, _, _seed_dir) = seeder(&content).await;
    let config = Config { web_seeds: false, ..Config::default() };
    let (session, dir) =
        (Session::start(config).await.expect("starts"), TempDir::new().expect("a folder"));
    let add = AddTorrent {
        web_seeds: vec![format!("{}/", server.url())],
        peers: vec![addr_of(&seed, Ipv4Addr::LOCALHOST)],
        ..content.add(dir.path())
    };
    session.add(add).await.expect("added").wait_complete().await.expect("complete");
    assert!(server.requests().is_empty());
    session.shutdown().await;
    seed.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_magnet_link_names_web_seeds_too() {
    let content = Content::one_file("file.bin", 300_000, 64 << 10);
    let server = FileServer::start(files(&content), |_| Answer::Range).await;
    let (seed, _, _seed_dir) = seeder(&content).await;
    let web_seeds = vec![format!("{}/", server.url())];
    let magnet = Magnet { web_seeds, ..Magnet::from_metainfo(&content.metainfo) };
    let magnet = magnet.to_string().parse().expect("a link");
    let (session, dir) = (session().await, TempDir::new().expect("a folder"));
    let peers = vec![addr_of(&seed, Ipv4Addr::LOCALHOST)];
    let fetch = FetchMetadata { magnet, trackers: Vec::new(), peers };
    let fetching = session.fetch_metadata(fetch).await.expect("begun");
    let metainfo = fetching.wait().await.expect("found");
    fetching.finish().await;
    assert!(server.requests().is_empty(), "there was nothing to ask for");
    // Nobody but the server is left.
    seed.shutdown().await;
    let handle = session.add(AddTorrent::new(metainfo, dir.path())).await.expect("added");
    handle.wait_complete().await.expect("complete");
    content.assert_at(dir.path());
    session.shutdown().await;
}
