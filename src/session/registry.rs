//! Which torrents a session has, and to whom an accepted connection belongs.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::net::TcpStream;

use super::{command::Command, id::TorrentId, shard::ShardHandle, shared::Shared, slots::Slots};
use crate::{
    base::hash::Sha1Hash,
    mse::{Policy, hashed_skey},
    net::accept::{Incoming, Owners},
};

/// The torrents of a session by info hash, those being checked too.
#[derive(Debug, Default)]
pub(super) struct Registry {
    torrents: Mutex<Torrents>,
}

#[derive(Debug, Default)]
struct Torrents {
    by_hash: HashMap<Sha1Hash, Arc<Shared>>,
    /// What [`hashed_skey`] makes of each info hash: how an encrypted connection names it.
    by_hashed_skey: HashMap<Sha1Hash, Sha1Hash>,
    next: u64,
}

impl Registry {
    /// Enters a torrent that `make` makes with its new name; its name if it is here already.
    pub(super) fn enter(
        &self,
        info_hash: Sha1Hash,
        make: impl FnOnce(TorrentId) -> Arc<Shared>,
    ) -> Result<Arc<Shared>, TorrentId> {
        let mut torrents = self.torrents();
        if let Some(known) = torrents.by_hash.get(&info_hash) {
            return Err(known.id);
        }
        let id = TorrentId(torrents.next);
        torrents.next += 1;
        let shared = make(id);
        torrents.by_hash.insert(info_hash, shared.clone());
        torrents.by_hashed_skey.insert(hashed_skey(info_hash), info_hash);
        Ok(shared)
    }

    pub(super) fn remove(&self, info_hash: Sha1Hash) {
        let mut torrents = self.torrents();
        torrents.by_hash.remove(&info_hash);
        torrents.by_hashed_skey.remove(&hashed_skey(info_hash));
    }

    fn by_hashed_skey(&self, hashed: Sha1Hash) -> Option<Sha1Hash> {
        self.torrents().by_hashed_skey.get(&hashed).copied()
    }

    pub(super) fn find(&self, info_hash: Sha1Hash) -> Option<TorrentId> {
        self.torrents().by_hash.get(&info_hash).map(|shared| shared.id)
    }

    /// All torrents, in the order in which they came.
    pub(super) fn all(&self) -> Vec<Arc<Shared>> {
        let mut all: Vec<_> = self.torrents().by_hash.values().cloned().collect();
        all.sort_unstable_by_key(|shared| shared.id);
        all
    }

    pub(super) fn count(&self) -> usize {
        self.torrents().by_hash.len()
    }

    fn torrents(&self) -> MutexGuard<'_, Torrents> {
        self.torrents.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Brings accepted connections to the shard of their torrent, if there is room for them.
#[derive(Debug)]
pub(super) struct Door {
    pub(super) registry: Arc<Registry>,
    pub(super) shard: ShardHandle,
    pub(super) slots: Slots,
    pub(super) encryption: Policy,
}

impl Owners for Door {
    fn encryption(&self) -> Policy {
        self.encryption
    }

    fn find(&self, hashed_skey: Sha1Hash) -> Option<Sha1Hash> {
        self.registry.by_hashed_skey(hashed_skey)
    }

    async fn deliver(&self, incoming: Incoming) {
        let Incoming { opened, addr, info_hash } = incoming;
        let Some(torrent) = self.registry.find(info_hash) else { return };
        let Some(slot) = self.slots.take() else { return };
        // It moves to the runtime of the shard; a socket that can't is closed.
        let Ok(opened) = opened.map(TcpStream::into_std).transpose() else { return };
        self.shard.send(Command::Incoming { torrent, opened, addr, slot }).await;
    }
}
