//! From a hash, or a code, to a torrent: the info dictionary fetched from peers (BEP 9), or kept by an earlier run.
//!
//! While it is fetched it is a torrent of the session like others, but one without pieces or files. The
//! torrent itself takes its place, with its peers.

use std::{net::SocketAddr, sync::Arc};

use super::{
    AddTorrent, Core, Session,
    adding::blocking,
    command::{Command, Hosting},
    discovery::{self, Announcing},
    error::{AddError, TorrentError},
    handle::TorrentHandle,
    persist::{Kept, Record, torrents},
    shared::Shared,
};
use crate::{
    base::{
        bitfield::Bitfield,
        hash::{InfoHash, Sha1Hash},
    },
    disk::{Lock, Storage},
    metainfo::{Info, Magnet, Metainfo, ShareCode},
    torrent::{Settings, Setup, Source},
};

/// Shown in place of a name that is not known yet.
const SHARED: &str = "something shared";

/// A torrent of which only the hash is known.
#[derive(Debug, Clone)]
pub struct FetchMetadata {
    /// Its hash, a name to show meanwhile, its trackers and web seeds.
    pub magnet: Magnet,
    /// Trackers besides those of the link; each is used.
    pub trackers: Vec<String>,
    /// Addresses of peers to try first, those of the link among them: names are for the caller to look
    /// up.
    pub peers: Vec<SocketAddr>,
}

/// Metadata that is being fetched. Dropping it changes nothing: see [`Fetching::add`] and
/// [`Fetching::finish`].
#[derive(Debug)]
pub struct Fetching {
    handle: TorrentHandle,
    /// Those that were named.
    peers: Vec<SocketAddr>,
    /// What the torrent has besides.
    trackers: Vec<String>,
    web_seeds: Vec<String>,
    trouble: Option<String>,
}

/// What is known of a torrent, and who may have it.
struct Wanted {
    info: Info,
    code: Option<ShareCode>,
    trackers: Vec<String>,
    peers: Vec<SocketAddr>,
    /// What an earlier run has kept, if it has.
    kept: Option<Arc<Info>>,
}

impl Session {
    /// Begins to fetch the info dictionary of a torrent from its peers, or finds it in the state folder, where
    /// an earlier run has kept it. Nothing is written.
    ///
    /// # Errors
    /// [`AddError::Duplicate`]: the session has that torrent.
    pub async fn fetch_metadata(&self, fetch: FetchMetadata) -> Result<Fetching, AddError> {
        let FetchMetadata { magnet, trackers, peers } = fetch;
        let info = Info::unknown(magnet.info_hash, magnet.name.as_deref());
        let trackers = trackers.into_iter().chain(magnet.trackers.iter().cloned()).collect();
        let (kept, trouble) = match self.core.kept(magnet.info_hash.wire()).await {
            Ok(kept) => (kept, None),
            Err(trouble) => (None, Some(trouble)),
        };
        let wanted = Wanted { info, code: None, trackers, peers: peers.clone(), kept };
        let handle = self.core.fetch_metadata(wanted).await?;
        let Magnet { trackers, web_seeds, .. } = magnet;
        Ok(Fetching { handle, peers, trackers, web_seeds, trouble })
    }

    /// Begins to fetch the info dictionary that belongs to `code` from peers who know it; `peers` are tried
    /// first. To be added with [`AddTorrent::code`](super::AddTorrent::code). Nothing is written.
    ///
    /// # Errors
    /// [`AddError::Overheard`]; [`AddError::Duplicate`]: it is being fetched already.
    pub async fn fetch_shared(
        &self,
        code: ShareCode,
        peers: Vec<SocketAddr>,
    ) -> Result<Fetching, AddError> {
        // The info hash is what nobody knows yet.
        let info = Info::unknown(InfoHash::v1(code.password()), Some(SHARED));
        let (trackers, kept) = (Vec::new(), None);
        let wanted = Wanted { info, code: Some(code), trackers, peers: peers.clone(), kept };
        let handle = self.core.fetch_metadata(wanted).await?;
        let (trackers, web_seeds) = (Vec::new(), Vec::new());
        Ok(Fetching { handle, peers, trackers, web_seeds, trouble: None })
    }
}

impl Core {
    /// What an earlier run has kept of a torrent.
    async fn kept(&self, info_hash: Sha1Hash) -> Result<Option<Arc<Info>>, String> {
        let Some(dir) = self.config.state_dir.clone() else { return Ok(None) };
        let file_system = self.files.file_system().clone();
        blocking(move || torrents::find(&*file_system, &dir, info_hash)).await
    }

    async fn fetch_metadata(self: &Arc<Self>, wanted: Wanted) -> Result<TorrentHandle, AddError> {
        let Wanted { info, code, trackers, peers, kept } = wanted;
        let (info, code) = (Arc::new(info), self.may_use(code)?);
        let info_hash = info.info_hash().wire();
        let storage = Arc::new(Storage::in_memory(info.clone()));
        let mail = self.shard.mail.clone();
        let geometry = info.geometry();
        let make = |id| Shared::new(id, info, code, mail);
        let shared = self.registry.enter(info_hash, code, None, make);
        let shared = shared.map_err(AddError::Duplicate)?;
        if let Some(kept) = kept {
            // Nobody else knows of it so far.
            let _ = shared.metadata.set(kept.bytes().into());
        }
        let setup = Setup {
            info_hash,
            code,
            geometry,
            have: Bitfield::empty(0),
            partial: Vec::new(),
            priorities: Vec::new(),
            peer_id: self.peer_id,
            listen_port: self.port,
            dht_port: self.dht_port(false),
            metadata: None,
            settings: Settings {
                max_peers: self.config.max_peers,
                encryption: self.config.encryption,
                pex: self.config.pex,
                blocked: self.config.blocked.clone(),
                ..Settings::default()
            },
            seed: self.seed(),
        };
        let torrent = shared.id;
        let urls = trackers.into_iter().filter(|_| self.config.trackers);
        let announcing = Announcing {
            shared: shared.clone(),
            shard: self.shard.clone(),
            tiers: urls.map(|url| vec![url]).collect(),
            nodes: Vec::new(),
        };
        // What is kept may be private: nobody is told of it before that is known.
        if shared.metadata.get().is_none() {
            self.discovery.send(discovery::Input::Add(Box::new(announcing)));
        }
        let handle = TorrentHandle { shared: shared.clone(), core: self.clone() };
        // Without metadata there is nothing to ask them for.
        let web_seeds = Vec::new();
        let recorded = self.config.state_dir.as_deref().map(|dir| {
            let (file_system, place) = (self.files.file_system(), shared.place());
            let record = Record::of_link(file_system, dir, &shared.info, place);
            Kept { record, settled: false, is_true: false, uploaded: 0 }
        });
        let hosting = Hosting {
            setup,
            web_seeds,
            storage,
            claim: Lock::NONE,
            shared,
            keep_seeding: true,
            recorded,
            older: None,
        };
        // A shard that has ended needs neither.
        self.shard.send(Command::Host(Box::new(hosting))).await;
        if !peers.is_empty() {
            let found = Command::PeersFound { torrent, source: Source::User, addrs: peers };
            self.shard.send(found).await;
        }
        Ok(handle)
    }
}

impl Fetching {
    /// What is fetched, to look at: peers, trackers, events. It has no files yet.
    pub const fn torrent(&self) -> &TorrentHandle {
        &self.handle
    }

    /// Why what an earlier run has kept cannot be used, if there is something: one sentence.
    pub fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }

    /// Waits for the metadata: the torrent with the trackers and web seeds of the link.
    ///
    /// # Errors
    /// [`TorrentError::Metadata`] if it matches the hash and makes no torrent that can be used, or the
    /// session has ended.
    pub async fn wait(&self) -> Result<Metainfo, TorrentError> {
        self.handle.shared.wait().await?;
        let bytes = self.handle.shared.metadata.get().ok_or(TorrentError::Removed)?;
        let info = Info::from_bytes(bytes).map_err(TorrentError::Metadata)?;
        Ok(Metainfo {
            tiers: self.trackers.iter().map(|url| vec![url.clone()]).collect(),
            web_seeds: self.web_seeds.clone(),
            ..Metainfo::new(Arc::new(info))
        })
    }

    /// Adds the torrent itself: it takes over the peers, unless it is private. Then peers have to come
    /// from its trackers, and who told of these is not known (BEP 27); those that were named stay.
    ///
    /// # Errors
    /// An [`AddError`]; the fetching has ended then too.
    pub async fn add(mut self, mut add: AddTorrent) -> Result<TorrentHandle, AddError> {
        let core = self.handle.core.clone();
        if add.metainfo.info.private() {
            add.peers.append(&mut self.peers);
            self.finish().await;
            return core.add_one(add, None).await;
        }
        let added = core.add_one(add, Some(self.handle.shared.clone())).await;
        if added.is_err() {
            self.finish().await;
        }
        added
    }

    /// Ends it, found or not, and drops its peers.
    pub async fn finish(self) {
        self.handle.remove().await;
    }
}
