//! Which torrents a session has, and to whom an accepted connection belongs.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::net::TcpStream;

use super::{command::Command, id::TorrentId, shard::ShardHandle, shared::Shared, slots::Slots};
use crate::{
    base::hash::Sha1Hash,
    metainfo::ShareCode,
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
    /// What [`hashed_skey`] makes of each info hash and password: how an encrypted connection names it.
    by_hashed_skey: HashMap<Sha1Hash, Sha1Hash>,
    /// The info hash of each torrent that has a code, by its password and by its place.
    by_password: HashMap<Sha1Hash, Sha1Hash>,
    by_place: HashMap<Sha1Hash, Sha1Hash>,
    next: u64,
}

impl Registry {
    /// Enters a torrent that `make` makes with its new name, in the place of `older` if that is given; its
    /// name if it is here already. Who knows `code` may call it by that.
    pub(super) fn enter(
        &self,
        info_hash: Sha1Hash,
        code: Option<ShareCode>,
        older: Option<&Shared>,
        make: impl FnOnce(TorrentId) -> Arc<Shared>,
    ) -> Result<Arc<Shared>, TorrentId> {
        let mut torrents = self.torrents();
        if let Some(known) = torrents.by_hash.get(&info_hash)
            && older.is_none_or(|older| older.id != known.id)
        {
            return Err(known.id);
        }
        if let Some(older) = older {
            torrents.remove(older);
        }
        let id = TorrentId(torrents.next);
        torrents.next += 1;
        let shared = make(id);
        torrents.by_hash.insert(info_hash, shared.clone());
        torrents.by_hashed_skey.insert(hashed_skey(info_hash), info_hash);
        if let Some(code) = code {
            let password = code.password();
            torrents.by_hashed_skey.insert(hashed_skey(password), password);
            torrents.by_password.insert(password, info_hash);
            torrents.by_place.insert(code.place(), info_hash);
        }
        Ok(shared)
    }

    pub(super) fn remove(&self, shared: &Shared) {
        self.torrents().remove(shared);
    }

    fn by_hashed_skey(&self, hashed: Sha1Hash) -> Option<Sha1Hash> {
        self.torrents().by_hashed_skey.get(&hashed).copied()
    }

    /// The torrent that a handshake names, by its info hash or its password.
    pub(super) fn find(&self, name: Sha1Hash) -> Option<TorrentId> {
        let torrents = self.torrents();
        let info_hash = torrents.by_password.get(&name).unwrap_or(&name);
        torrents.by_hash.get(info_hash).map(|shared| shared.id)
    }

    /// The torrent whose peers meet at this hash.
    pub(super) fn find_by_place(&self, place: Sha1Hash) -> Option<TorrentId> {
        let torrents = self.torrents();
        let info_hash = torrents.by_place.get(&place).unwrap_or(&place);
        let shared = torrents.by_hash.get(info_hash).filter(|shared| shared.place() == place)?;
        Some(shared.id)
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

impl Torrents {
    /// Takes a torrent out, unless another has taken its place.
    fn remove(&mut self, shared: &Shared) {
        let info_hash = shared.info.info_hash().wire();
        if self.by_hash.get(&info_hash).is_none_or(|known| known.id != shared.id) {
            return;
        }
        self.by_hash.remove(&info_hash);
        self.by_hashed_skey.remove(&hashed_skey(info_hash));
        if let Some(code) = shared.code {
            self.by_hashed_skey.remove(&hashed_skey(code.password()));
            self.by_password.remove(&code.password());
            self.by_place.remove(&code.place());
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{base::hash::InfoHash, metainfo::Info, session::mail::Mail};

    fn enter(registry: &Registry, info_hash: Sha1Hash, code: Option<ShareCode>) -> Arc<Shared> {
        let info = Arc::new(Info::unknown(InfoHash::v1(info_hash), None));
        let make = |id| Shared::new(id, info, code, Mail::new(Arc::default()));
        registry.enter(info_hash, code, None, make).expect("new")
    }

    #[test]
    fn a_torrent_with_a_code_is_called_by_what_its_peers_know_and_found_where_they_meet() {
        let registry = Registry::default();
        let (plain, secret) = (Sha1Hash([1; 20]), Sha1Hash([2; 20]));
        let code = ShareCode::of(secret);
        let open = enter(&registry, plain, None);
        let hidden = enter(&registry, secret, Some(code));
        assert_eq!(registry.find(plain), Some(open.id));
        assert_eq!(registry.find_by_place(plain), Some(open.id));
        for name in [secret, code.password()] {
            assert_eq!(registry.find(name), Some(hidden.id));
            assert_eq!(registry.by_hashed_skey(hashed_skey(name)), Some(name));
            assert_eq!(registry.find_by_place(name), None);
        }
        assert_eq!(registry.find_by_place(code.place()), Some(hidden.id));
        assert_eq!(registry.find(code.place()), None, "everybody sees the place");
        assert_eq!(registry.by_hashed_skey(hashed_skey(code.place())), None);
        registry.remove(&hidden);
        let left = [registry.find(code.password()), registry.find_by_place(code.place())];
        assert_eq!((registry.count(), left), (1, [None, None]));
    }
}
