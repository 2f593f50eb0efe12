//! The session's node of the DHT: how it begins, and what it leaves for the next run.
//!
//! Which torrents are searched for, and when, is in [`super::discovery`]; the node itself is
//! [`crate::dht::Node`].

use std::{
    fs::{self, File},
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::{task::spawn_blocking, time::sleep};

use crate::{
    base::{ip_filter::IpFilter, rng::Rng},
    dht::{Key, saved::Saved},
    metainfo::HostPort,
    net::{
        dht::{Dht, DhtConfig},
        udp_hub::UdpHub,
    },
};

/// Nodes that everybody may use to enter the network.
const WELL_KNOWN: [(&str, u16); 4] = [
    ("router.bittorrent.com", 6881),
    ("dht.transmissionbt.com", 6881),
    ("router.utorrent.com", 6881),
    ("dht.libtorrent.org", 25401),
];
/// What the next run should know is written so often: a killed run loses no more.
const SAVE_EVERY: Duration = Duration::from_secs(10 * 60);
/// Longest file of saved nodes that is read.
const MAX_SAVED_BYTES: u64 = 64 << 10;

/// How a session uses the DHT.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DhtOptions {
    /// Its UDP port; `None` is the number of the port for peers, or any that is free.
    pub port: Option<u16>,
    /// Nodes by which the network is entered; `None` stands for the well-known ones.
    pub bootstrap: Option<Vec<HostPort>>,
    /// Whether it only asks, for a program that ends soon (BEP 43).
    pub read_only: bool,
}

/// Where what the next run should know is kept.
fn place(state_dir: &Path) -> PathBuf {
    state_dir.join("dht")
}

/// Starts a node that speaks by `hub`, and neither asks nor hears anybody who is `blocked`.
///
/// # Errors
/// The port that was asked for is taken, or there is no socket to be had.
pub(super) fn start(
    options: &DhtOptions,
    hub: UdpHub,
    state_dir: Option<&Path>,
    blocked: Arc<IpFilter>,
    rng: Rng,
) -> io::Result<Dht> {
    hub.open(options.port)?;
    let well_known = options.bootstrap.is_none();
    let bootstrap = match &options.bootstrap {
        None => WELL_KNOWN.map(|(host, port)| (host.to_owned(), port)).into(),
        Some(nodes) => nodes.iter().map(|node| (node.host.clone(), node.port)).collect(),
    };
    let mut saved = state_dir.map(|dir| load(&place(dir))).unwrap_or_default();
    if options.read_only || saved.port != hub.port() {
        // Those ids are another node's, which may be running.
        saved.ids = [None, None];
    }
    let config = DhtConfig { read_only: options.read_only, saved, bootstrap, well_known, blocked };
    let key = Key(super::random()?);
    Ok(Dht::start(hub, config, rng, key))
}

/// What an earlier run left. A file that is damaged is worth nothing and is written anew.
fn load(path: &Path) -> Saved {
    let read = || {
        let mut bytes = Vec::new();
        File::open(path)?.take(MAX_SAVED_BYTES).read_to_end(&mut bytes)?;
        io::Result::Ok(bytes)
    };
    read().ok().and_then(|bytes| Saved::decode(&bytes)).unwrap_or_default()
}

/// Writes what the next run should know, whole or not at all.
fn store(path: &Path, saved: &Saved) -> io::Result<()> {
    // Another run may save at the same time.
    let beside = path.with_extension(format!("{}.new", std::process::id()));
    let mut file = File::create(&beside)?;
    let written = file.write_all(&saved.encode()).and_then(|()| file.sync_all());
    let stored = written.and_then(|()| fs::rename(&beside, path));
    if stored.is_err() {
        // What is left of it is of no use.
        let _ = fs::remove_file(&beside);
    }
    stored
}

/// Saves what `dht` knows now. Nothing else suffers if that fails: the next run enters as the first did.
pub(super) async fn save(dht: &Dht, state_dir: &Path) {
    let (path, saved) = (place(state_dir), dht.saved().await);
    // What was not asked for anything knows no more than was saved before, perhaps by another run.
    let is_ours = |saved: &Saved| !saved.nodes.is_empty() && saved.port == dht.port();
    if let Some(saved) = saved.filter(is_ours) {
        // A panic there has been reported.
        let _ = spawn_blocking(move || store(&path, &saved)).await;
    }
}

/// Saves again and again, until the task is dropped.
pub(super) async fn keep_saving(dht: Dht, state_dir: PathBuf) {
    loop {
        sleep(SAVE_EVERY).await;
        save(&dht, &state_dir).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dht::NodeId;

    #[test]
    fn what_is_stored_is_loaded_and_damage_is_nothing() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = place(dir.path());
        assert_eq!(load(&path), Saved::default());
        let nodes = vec!["192.0.2.1:6881".parse().expect("valid")];
        let saved = Saved { ids: [Some(NodeId([1; 20])), None], port: 1, nodes };
        store(&path, &saved).expect("stored");
        assert_eq!(load(&path), saved);
        fs::write(&path, b"d3:id4").expect("written");
        assert_eq!(load(&path), Saved::default());
    }
}
