//! Which connections are worth looking at: sockets ring, the turn takes the list.
//!
//! A connection's waker puts its key on the list and wakes the shard; nothing else happens outside a
//! turn. A connection rings once until it has been looked at.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Wake, Waker},
};

use tokio::sync::Notify;

use super::id::TorrentId;
use crate::base::id::PeerKey;

/// One connection of a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) torrent: TorrentId,
    pub(super) peer: PeerKey,
}

/// Connections that rang since the last turn.
#[derive(Debug, Default)]
pub(super) struct ReadyList {
    keys: Mutex<Vec<Key>>,
    wake: Arc<Notify>,
}

impl ReadyList {
    /// A list that notifies `wake` whenever it stops being empty.
    pub(super) fn new(wake: Arc<Notify>) -> Self {
        ReadyList { keys: Mutex::default(), wake }
    }

    /// Moves all keys to the end of `into`.
    pub(super) fn take(&self, into: &mut impl Extend<Key>) {
        into.extend(self.keys.lock().unwrap_or_else(PoisonError::into_inner).drain(..));
    }

    fn push(&self, key: Key) {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        let first = keys.is_empty();
        keys.push(key);
        drop(keys);
        if first {
            self.wake.notify_one();
        }
    }
}

/// Rings for one connection.
#[derive(Debug)]
pub(super) struct Bell {
    key: Key,
    list: Arc<ReadyList>,
    rung: AtomicBool,
}

impl Bell {
    pub(super) fn new(key: Key, list: Arc<ReadyList>) -> Arc<Self> {
        Arc::new(Bell { key, list, rung: AtomicBool::new(false) })
    }

    /// The connection has been looked at and may ring again.
    pub(super) fn reset(&self) {
        self.rung.store(false, Ordering::Release);
    }

    /// Puts the connection on the list, as its socket would.
    pub(super) fn ring(&self) {
        if !self.rung.swap(true, Ordering::AcqRel) {
            self.list.push(self.key);
        }
    }

    pub(super) fn waker(self: &Arc<Self>) -> Waker {
        self.clone().into()
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.ring();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.ring();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rings_once_until_looked_at() {
        let list = Arc::new(ReadyList::default());
        let key = Key { torrent: TorrentId(1), peer: PeerKey { slot: 0, generation: 0 } };
        let bell = Bell::new(key, list.clone());
        let waker = bell.waker();
        waker.wake_by_ref();
        waker.wake_by_ref();
        let mut taken = Vec::new();
        list.take(&mut taken);
        assert_eq!(taken, [key]);
        waker.wake_by_ref();
        list.take(&mut taken);
        assert_eq!(taken.len(), 1, "not looked at yet");
        bell.reset();
        waker.wake();
        list.take(&mut taken);
        assert_eq!(taken.len(), 2);
    }
}
