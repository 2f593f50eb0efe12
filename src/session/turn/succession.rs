//! Connections that pass from the torrent that fetched the metadata to the torrent itself.

use super::{Bell, Hosted, Instant, Key, TorrentId, Transport, Turns};

impl<T: Transport> Turns<T> {
    /// The torrent `id` takes over from `older`, which is given up. What the disk still does for that is
    /// answered to [`Turns::reclaim`].
    pub fn succeed(&mut self, now: Instant, older: TorrentId, id: TorrentId) {
        self.drain(now);
        let Some(hosted) = self.hosted.remove(&older) else { return };
        let Hosted { torrent, volume, mut connections, .. } = *hosted;
        self.accounts.leave(volume, &mut self.pool);
        self.up.forget(older);
        self.down.forget(older);
        let Some(heir) = self.hosted.get_mut(&id) else { return };
        for connection in connections.iter_mut().flatten() {
            let key = Key { torrent: id, peer: connection.peer };
            connection.pass_to(Bell::new(key, self.list.clone()));
        }
        heir.connections = connections;
        self.pool.lend_to(heir.account);
        heir.torrent.succeed(now, torrent, &mut self.pool);
        self.touch(id);
    }
}
