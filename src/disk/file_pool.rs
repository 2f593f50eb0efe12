//! A bounded pool of open files, shared by all torrents, that lends `Arc<dyn OpenFile>`.
//!
//! Least recently lent goes first. A file that is lent while it leaves the pool stays open until
//! the borrower lets go, so the number of descriptors may pass the limit by the number of threads.
//! A handle that can write also serves readers; one that cannot is replaced when writing begins.

use std::{
    collections::{BTreeMap, HashMap},
    io,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use super::{
    file_system::{FileSystem, Native, OpenFile},
    system::{self, Access},
};
use crate::base::index::FileIndex;

/// Times a file is tried again when there is no descriptor.
const ATTEMPTS: usize = 12;
/// Between two of them.
const PAUSE: Duration = Duration::from_millis(50);

/// Names one torrent's files in the pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Tenant(u64);

type Key = (Tenant, FileIndex);

/// Open files, at most a given number.
#[derive(Debug)]
pub struct FilePool {
    file_system: Arc<dyn FileSystem>,
    shelf: Mutex<Shelf>,
    limit: usize,
    tenants: AtomicU64,
}

/// Invariant: `order` holds the stamp of every entry and nothing else.
#[derive(Debug, Default)]
struct Shelf {
    entries: HashMap<Key, Entry>,
    order: BTreeMap<u64, Key>,
    clock: u64,
}

#[derive(Debug)]
struct Entry {
    file: Arc<dyn OpenFile>,
    access: Access,
    stamp: u64,
}

impl FilePool {
    /// A pool that keeps at most `limit` files open, and at least one.
    pub fn new(limit: usize) -> Arc<Self> {
        FilePool::on(Arc::new(Native), limit)
    }

    /// The same, of files of another file system.
    pub(crate) fn on(file_system: Arc<dyn FileSystem>, limit: usize) -> Arc<Self> {
        Arc::new(FilePool {
            file_system,
            shelf: Mutex::default(),
            limit: limit.max(1),
            tenants: AtomicU64::new(0),
        })
    }

    /// Where its files are.
    pub(crate) fn file_system(&self) -> &Arc<dyn FileSystem> {
        &self.file_system
    }

    /// Number of files the pool holds open.
    pub fn open_files(&self) -> usize {
        self.shelf().entries.len()
    }

    /// A name that no other torrent has.
    pub(super) fn tenant(&self) -> Tenant {
        Tenant(self.tenants.fetch_add(1, Ordering::Relaxed))
    }

    /// What `open` gives. When the process has no descriptor left, half of the pool is closed and
    /// `open` gets a second chance, and some more while others close theirs: it says nothing of the file.
    pub(super) fn open<T>(&self, open: impl Fn() -> io::Result<T>) -> io::Result<T> {
        let mut result = open();
        for attempt in 0..ATTEMPTS {
            match &result {
                Err(error) if system::is_out_of_descriptors(error) => {}
                _ => break,
            }
            if attempt == 0 {
                self.shrink(self.open_files() / 2);
            } else {
                thread::sleep(PAUSE);
            }
            result = open();
        }
        result
    }

    /// The file, opened by `open` if it is not here with the access wanted; see [`FilePool::open`].
    pub(super) fn lend(
        &self,
        key: Key,
        access: Access,
        open: impl Fn() -> io::Result<Arc<dyn OpenFile>>,
    ) -> io::Result<Arc<dyn OpenFile>> {
        if let Some(file) = self.shelf().find(key, access) {
            return Ok(file);
        }
        let file = self.open(open)?;
        self.shelf().insert(key, access, Arc::clone(&file));
        self.shrink(self.limit);
        Ok(file)
    }

    /// Closes what the pool holds of one torrent.
    pub(super) fn evict(&self, tenant: Tenant) {
        let closed: Vec<Entry> = {
            let mut shelf = self.shelf();
            let keys: Vec<Key> =
                shelf.entries.keys().filter(|key| key.0 == tenant).copied().collect();
            keys.into_iter().filter_map(|key| shelf.remove(key)).collect()
        };
        drop(closed);
    }

    /// Closes the files used longest ago until at most `keep` are left. The system's work is done
    /// after the lock is released.
    fn shrink(&self, keep: usize) {
        let mut closed = Vec::new();
        {
            let mut shelf = self.shelf();
            while shelf.entries.len() > keep {
                let Some((_, &key)) = shelf.order.first_key_value() else { break };
                closed.extend(shelf.remove(key));
            }
        }
        drop(closed);
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().expect("nothing panics while the pool is locked")
    }
}

impl Shelf {
    fn find(&mut self, key: Key, access: Access) -> Option<Arc<dyn OpenFile>> {
        let entry = self.entries.get_mut(&key)?;
        if access == Access::Write && entry.access == Access::Read {
            return None;
        }
        self.clock += 1;
        self.order.remove(&entry.stamp);
        entry.stamp = self.clock;
        self.order.insert(entry.stamp, key);
        Some(Arc::clone(&entry.file))
    }

    fn insert(&mut self, key: Key, access: Access, file: Arc<dyn OpenFile>) {
        // Two threads may have opened the same file; the handle that can write stays.
        if access == Access::Read && self.entries.contains_key(&key) {
            return;
        }
        self.remove(key);
        self.clock += 1;
        self.order.insert(self.clock, key);
        self.entries.insert(key, Entry { file, access, stamp: self.clock });
    }

    fn remove(&mut self, key: Key) -> Option<Entry> {
        let entry = self.entries.remove(&key)?;
        self.order.remove(&entry.stamp);
        Some(entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    fn temporary() -> io::Result<Arc<dyn OpenFile>> {
        Ok(Arc::new(tempfile::tempfile()?))
    }

    fn lend(pool: &FilePool, key: Key, access: Access) -> bool {
        let opened = Cell::new(false);
        pool.lend(key, access, || {
            opened.set(true);
            temporary()
        })
        .expect("opens");
        opened.get()
    }

    #[test]
    fn the_file_used_longest_ago_is_closed_first() {
        let pool = FilePool::new(2);
        let tenant = pool.tenant();
        let key = |i| (tenant, FileIndex(i));
        assert!(lend(&pool, key(0), Access::Read));
        assert!(lend(&pool, key(1), Access::Read));
        assert!(!lend(&pool, key(0), Access::Read));
        assert!(lend(&pool, key(2), Access::Read));
        assert!(!lend(&pool, key(0), Access::Read));
        assert!(lend(&pool, key(1), Access::Read));
        assert_eq!(pool.open_files(), 2);
    }

    #[test]
    fn a_writing_handle_serves_readers_but_not_the_reverse() {
        let pool = FilePool::new(4);
        let key = (pool.tenant(), FileIndex(0));
        assert!(lend(&pool, key, Access::Read));
        assert!(lend(&pool, key, Access::Write));
        assert!(!lend(&pool, key, Access::Read));
        assert_eq!(pool.open_files(), 1);
    }

    #[test]
    fn without_a_descriptor_it_waits_for_one() {
        let (pool, attempts) = (FilePool::new(8), Cell::new(0));
        let open = |fails: usize| {
            attempts.set(0);
            pool.open(|| {
                attempts.set(attempts.get() + 1);
                match attempts.get() <= fails {
                    true => Err(io::Error::from_raw_os_error(24)),
                    false => Ok(()),
                }
            })
        };
        assert!(open(3).is_ok() && attempts.get() == 4);
        assert!(open(100).is_err() && attempts.get() == ATTEMPTS + 1);
    }

    #[test]
    fn one_torrent_leaves_and_others_stay() {
        let pool = FilePool::new(8);
        let (a, b) = (pool.tenant(), pool.tenant());
        for tenant in [a, b] {
            for i in 0..3 {
                lend(&pool, (tenant, FileIndex(i)), Access::Read);
            }
        }
        pool.evict(a);
        assert_eq!(pool.open_files(), 3);
        assert!(!lend(&pool, (b, FileIndex(2)), Access::Read));
        let shelf = pool.shelf();
        assert_eq!(shelf.order.len(), shelf.entries.len());
    }

    #[test]
    fn running_out_of_descriptors_closes_files_and_tries_once_more() {
        let pool = FilePool::new(8);
        let tenant = pool.tenant();
        for i in 0..6 {
            lend(&pool, (tenant, FileIndex(i)), Access::Read);
        }
        let tries = Cell::new(0);
        let scarce = || {
            tries.set(tries.get() + 1);
            if pool.open_files() > 3 { Err(io::Error::from_raw_os_error(24)) } else { temporary() }
        };
        pool.lend((tenant, FileIndex(9)), Access::Read, scarce).expect("second try");
        assert_eq!((tries.get(), pool.open_files()), (2, 4));
        let never = || Err(io::Error::from_raw_os_error(24));
        assert!(pool.lend((tenant, FileIndex(10)), Access::Read, never).is_err());
    }
}
