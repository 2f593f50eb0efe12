//! A torrent as its owner holds it: look, listen, wait, steer.

use std::{
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
};

use tokio::sync::broadcast;

use super::{
    Core,
    command::Command,
    config::Limits,
    discovery,
    error::TorrentError,
    event::TorrentEvent,
    id::TorrentId,
    shared::{Request, Shared},
    snapshot::TorrentSnapshot,
};
use crate::{
    metainfo::Info,
    torrent::{PeerSnapshot, Source, WebSeedSnapshot},
};

/// One torrent of a session. Clones are the same torrent; dropping all of them changes nothing.
#[derive(Debug, Clone)]
pub struct TorrentHandle {
    pub(super) shared: Arc<Shared>,
    pub(super) core: Arc<Core>,
}

impl TorrentHandle {
    /// Its name within the session.
    pub fn id(&self) -> TorrentId {
        self.shared.id
    }

    /// The name of its top-level file or folder.
    pub fn name(&self) -> &str {
        self.shared.info.name()
    }

    /// What is shared.
    pub fn info(&self) -> &Arc<Info> {
        &self.shared.info
    }

    /// The newest picture of it. While somebody asks it is renewed five times a second; changes of
    /// state show at once. Costs next to nothing.
    pub fn snapshot(&self) -> Arc<TorrentSnapshot> {
        self.shared.snapshot()
    }

    /// Bytes of payload that earlier runs have sent to peers, as far as resume state tells; known once it was checked.
    pub fn uploaded_before(&self) -> u64 {
        self.shared.sent_before.load(Ordering::Relaxed)
    }

    /// What happens from now on. A receiver that falls more than a thousand events behind loses the
    /// oldest, and is told how many. It ends with the last handle after the torrent was removed.
    pub fn subscribe(&self) -> broadcast::Receiver<TorrentEvent> {
        self.shared.subscribe()
    }

    /// Waits until every piece is verified and written.
    ///
    /// # Errors
    /// The torrent has stopped, or was removed before it was complete.
    pub async fn wait_complete(&self) -> Result<(), TorrentError> {
        self.shared.wait().await
    }

    /// Waits until what is on disk was looked at: from here on the snapshot says what is there.
    ///
    /// # Errors
    /// The files are somebody else's, or the torrent was removed.
    pub async fn wait_checked(&self) -> Result<(), TorrentError> {
        self.shared.wait_checked().await
    }

    /// How it has ended, if it has: what [`TorrentHandle::wait_complete`] would give at once.
    pub fn outcome(&self) -> Option<Result<(), TorrentError>> {
        self.shared.outcome()
    }

    /// Its connections; none while it is being checked.
    pub async fn peers(&self) -> Vec<PeerSnapshot> {
        let torrent = self.shared.id;
        let asked = self.core.shard.ask(|reply| Command::Peers { torrent, reply });
        asked.await.unwrap_or_default()
    }

    /// Its web seeds, and what became of each last; none while it is being checked.
    pub async fn web_seeds(&self) -> Vec<WebSeedSnapshot> {
        let torrent = self.shared.id;
        let asked = self.core.shard.ask(|reply| Command::WebSeedRows { torrent, reply });
        asked.await.unwrap_or_default()
    }

    /// Adds addresses of peers that the user named: they are dialled first. Waits for the check of what is
    /// on disk.
    pub async fn add_peers(&self, addrs: Vec<SocketAddr>) {
        let (torrent, source) = (self.shared.id, Source::User);
        // A torrent or a session that has ended needs no peers.
        let _ = self.shared.wait_checked().await;
        self.core.shard.send(Command::PeersFound { torrent, source, addrs }).await;
    }

    /// Adds web seeds, by URLs as in `url-list` (BEP 19); known ones are ignored, and all of them by a session that
    /// does without ([`Config::web_seeds`](super::Config::web_seeds)). Waits for the check of what is on disk.
    pub async fn add_web_seeds(&self, urls: Vec<String>) {
        if self.core.config.web_seeds {
            let urls = urls.into_iter().map(Into::into).collect();
            // A torrent or a session that has ended needs none.
            let _ = self.shared.wait_checked().await;
            self.core.shard.send(Command::WebSeeds { torrent: self.shared.id, urls }).await;
        }
    }

    /// Gives it limits of its own, in place of [`LimitsConfig::torrent`](super::LimitsConfig::torrent); no
    /// limit is one too.
    pub fn set_limits(&self, limits: Limits) {
        self.shared.set_limits(limits);
    }

    /// Stops fetching and serving, and drops all peers.
    pub fn pause(&self) {
        self.shared.ask(Request::Pause);
    }

    /// Goes on after a pause, or after the disk refused.
    pub fn resume(&self) {
        self.shared.ask(Request::Resume);
    }

    /// Takes the torrent out of the session: peers are dropped, writes finished, trackers told. Its
    /// files stay.
    pub async fn remove(self) {
        let id = self.shared.id;
        self.shared.end_check().await;
        // No answer: it never got as far as the shard.
        let _ = self.core.shard.ask(|reply| Command::Retire { torrent: id, reply }).await;
        self.core.discovery.send(discovery::Input::Remove(id));
        self.core.registry.remove(&self.shared);
        self.shared.leave();
    }
}
