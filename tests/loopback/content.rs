//! What is shared in these tests, and sessions that share it.

use std::{
    fs,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
};

use downpour::{
    base::{hash::sha1, rng::Rng},
    metainfo::{
        Metainfo,
        build::{Builder, NewFile},
    },
    session::{AddTorrent, Config, ListenConfig, Session, TorrentHandle},
};
use tempfile::TempDir;

/// Content that is made from a seed, and the torrent of it.
pub(crate) struct Content {
    pub(crate) metainfo: Metainfo,
    /// Path below the output folder, and bytes.
    pub(crate) files: Vec<(PathBuf, Vec<u8>)>,
}

impl Content {
    pub(crate) fn one_file(name: &str, length: usize, piece_length: u32) -> Self {
        let mut bytes = vec![0; length];
        Rng::new(length as u64).fill(&mut bytes);
        let builder = Builder::file(name, length as u64, Some(piece_length)).expect("valid");
        let files = vec![(PathBuf::from(name), bytes)];
        Self::finish(builder, files)
    }

    pub(crate) fn folder(name: &str, lengths: &[(&str, usize)], piece_length: u32) -> Self {
        let new = |&(path, length): &(&str, usize)| NewFile {
            path: path.split('/').map(str::to_owned).collect(),
            length: length as u64,
        };
        let new_files = lengths.iter().map(new).collect();
        let builder = Builder::folder(name, new_files, Some(piece_length)).expect("valid");
        let mut rng = Rng::new(7);
        let files: Vec<_> = builder
            .layout()
            .files()
            .map(|file| {
                let mut bytes = vec![0; file.length as usize];
                rng.fill(&mut bytes);
                (file.path.to_path_buf(), bytes)
            })
            .collect();
        Self::finish(builder, files)
    }

    fn finish(builder: Builder, files: Vec<(PathBuf, Vec<u8>)>) -> Self {
        let all: Vec<u8> = files.iter().flat_map(|(_, bytes)| bytes.iter().copied()).collect();
        let piece_length = builder.geometry().piece_length() as usize;
        let hashes: Vec<_> = all.chunks(piece_length).map(sha1).collect();
        Content { metainfo: builder.build(&hashes).expect("valid"), files }
    }

    pub(crate) fn write(&self, root: &Path) {
        for (path, bytes) in &self.files {
            let path = root.join(path);
            fs::create_dir_all(path.parent().expect("below the root")).expect("created");
            fs::write(path, bytes).expect("written");
        }
    }

    pub(crate) fn assert_at(&self, root: &Path) {
        for (path, bytes) in &self.files {
            let got = fs::read(root.join(path)).expect("readable");
            assert!(got == *bytes, "{} differs", path.display());
        }
    }

    pub(crate) fn add(&self, root: &Path) -> AddTorrent {
        AddTorrent::new(self.metainfo.clone(), root)
    }
}

pub(crate) async fn session() -> Session {
    session_at(None).await
}

pub(crate) async fn session_at(addr: Option<IpAddr>) -> Session {
    let listen = ListenConfig { addr, ..ListenConfig::default() };
    Session::start(Config { listen, ..Config::default() }).await.expect("starts")
}

/// Waits until a tracker knows of it.
#[cfg(target_os = "linux")]
pub(crate) async fn announced(handle: &TorrentHandle) {
    let mut events = handle.subscribe();
    // What came before is seen, and what comes later is told.
    while handle
        .snapshot()
        .trackers
        .iter()
        .all(|t| t.state != downpour::session::TrackerState::Working)
    {
        // Whoever is too slow to hear everything looks all the same.
        let _ = events.recv().await;
    }
}

pub(crate) fn addr_of(session: &Session, ip: impl Into<IpAddr>) -> SocketAddr {
    (ip.into(), session.port().expect("listens")).into()
}

/// A session that has `content` complete.
pub(crate) async fn seeder(content: &Content) -> (Session, TorrentHandle, TempDir) {
    let dir = TempDir::new().expect("a folder");
    content.write(dir.path());
    let session = session().await;
    let handle = session.add(content.add(dir.path())).await.expect("added");
    handle.wait_complete().await.expect("complete from the start");
    (session, handle, dir)
}

/// A session that fetches `content` from `peers`.
pub(crate) async fn leecher(
    content: &Content,
    peers: Vec<SocketAddr>,
) -> (Session, TorrentHandle, TempDir) {
    let dir = TempDir::new().expect("a folder");
    let session = session().await;
    let add = AddTorrent { peers, ..content.add(dir.path()) };
    let handle = session.add(add).await.expect("added");
    (session, handle, dir)
}
