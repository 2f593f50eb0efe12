//! One turn of a shard: the only place where torrents meet streams, and the hot path.
//!
//! A turn reads what the ready connections have (bounded), drains what the torrents want, writes once
//! per connection that has something to say, and fires due timers. It does not wait, lock, spawn or
//! log; what takes time (disk, dials) it leaves in [`Wishes`]. The clock is read by the caller, once
//! per turn. Generic over the stream, so that a benchmark can run it over memory.

mod accounts;
mod succession;
mod wishes;

pub use wishes::{Dial, Happened, OpenWebSeed, Wishes};

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap, VecDeque},
    net::SocketAddr,
    sync::Arc,
    task::Poll,
};

use accounts::Accounts;
use tokio::sync::Notify;

use super::{
    bandwidth::{Bandwidth, Rates},
    config::{Limits, LimitsConfig},
    connection::{Connection, Sent},
    id::TorrentId,
    ready::{Bell, Key, ReadyList},
};
use crate::{
    base::{
        compact::is_local,
        id::PeerKey,
        pages::Pages,
        slab::{Account, Chunk, Pool, SLAB_LEN},
        time::Instant,
        token_bucket::Grant,
        units::BLOCK_LEN,
    },
    disk::Volume,
    net::{encryption::Opened, transport::Transport},
    pieces::job::DiskEvent,
    torrent::{CloseCause, Command, Direction, Input, Output, Refusal, Torrent, Written},
};

/// Length of the one read buffer: the cost of a read is per call.
const READ_LEN: usize = SLAB_LEN as usize;
/// Reads of one connection before the next one has its turn.
const READ_ROUNDS: usize = 2;
/// Writes of one connection before the next one has its turn.
const WRITE_ROUNDS: usize = 4;
/// Connections looked at in one turn, so that timers and disk are never far.
const MAX_PER_TURN: usize = 64;
/// Bytes read in one turn: what they make us ask for should leave soon.
const MAX_READ_PER_TURN: u64 = 2 << 20;
/// Under a limit a connection waits until it may read so much: small reads are dear.
const LEAST_READ: u64 = 4 * 1024;
/// A send buffer with less than this in it is filled up before it is written.
const LOW_WATER: usize = BLOCK_LEN as usize;

/// Bytes on all streams since the start.
#[derive(Debug, Clone, Copy, Default)]
pub struct Carried {
    /// Read.
    pub down: u64,
    /// Written.
    pub up: u64,
}

/// The torrents of one shard and their connections.
pub struct Turns<T> {
    /// Each in a box, because a table has room for twice as many.
    hosted: HashMap<TorrentId, Box<Hosted<T>>>,
    pool: Pool,
    accounts: Accounts,
    buf: Pages,
    list: Arc<ReadyList>,
    /// Connections to read, in the order in which they rang.
    ready: VecDeque<Key>,
    /// Connections with something to say.
    speakers: VecDeque<Key>,
    up: Bandwidth,
    pub(super) down: Bandwidth,
    /// Whether limits are for peers of the local network too.
    limit_local: bool,
    /// One entry per torrent that waits for a moment, or a few stale ones.
    timers: BinaryHeap<Reverse<(Instant, TorrentId)>>,
    /// Torrents that may have outputs.
    touched: Vec<TorrentId>,
    wishes: Wishes,
    carried: Carried,
    connections: usize,
}

struct Hosted<T> {
    torrent: Torrent,
    /// Where its files are, and on which account it borrows memory.
    volume: Volume,
    account: Account,
    /// By slot of the peer key.
    connections: Vec<Option<Box<Connection<T>>>>,
    /// The earliest entry in `timers`.
    armed: Option<Instant>,
    touched: bool,
}

impl<T> Hosted<T> {
    fn get(&mut self, peer: PeerKey) -> Option<&mut Connection<T>> {
        let connection = self.connections.get_mut(peer.slot as usize)?.as_deref_mut()?;
        (connection.peer == peer).then_some(connection)
    }

    fn put(&mut self, connection: Connection<T>) {
        let at = connection.peer.slot as usize;
        if at >= self.connections.len() {
            self.connections.resize_with(at + 1, || None);
        }
        debug_assert!(self.connections[at].is_none(), "somebody is there still");
        self.connections[at] = Some(Box::new(connection));
    }

    fn take(&mut self, peer: PeerKey) -> Option<Box<Connection<T>>> {
        self.get(peer)?;
        self.connections[peer.slot as usize].take()
    }
}

impl<T: Transport> Turns<T> {
    /// No torrents yet. `wake` is notified when a connection becomes ready.
    pub fn new(slab_budget: usize, wake: Arc<Notify>, now: Instant) -> Self {
        Turns {
            hosted: HashMap::new(),
            pool: Pool::new(slab_budget),
            accounts: Accounts::default(),
            buf: Pages::zeroed(READ_LEN),
            list: Arc::new(ReadyList::new(wake)),
            ready: VecDeque::new(),
            speakers: VecDeque::new(),
            up: Bandwidth::new(BLOCK_LEN.into(), now),
            down: Bandwidth::new(LEAST_READ, now),
            limit_local: true,
            timers: BinaryHeap::new(),
            touched: Vec::new(),
            wishes: Wishes::default(),
            carried: Carried::default(),
            connections: 0,
        }
    }

    /// Takes a torrent in, whose files are on `volume`.
    pub fn host(&mut self, id: TorrentId, torrent: Torrent, volume: Volume) {
        let (account, connections) = (self.accounts.of(volume, &mut self.pool), Vec::new());
        let hosted = Hosted { torrent, volume, account, connections, armed: None, touched: false };
        self.hosted.insert(id, Box::new(hosted));
        self.touch(id);
    }

    /// Gives a torrent up: its connections close and its slabs return. Disk work under way is
    /// answered to [`Turns::reclaim`].
    pub fn dismiss(&mut self, now: Instant, id: TorrentId) -> Option<Torrent> {
        self.handle(now, id, Input::Command(Command::Pause));
        self.drain(now);
        let hosted = *self.hosted.remove(&id)?;
        self.accounts.leave(hosted.volume, &mut self.pool);
        for mut connection in hosted.connections.into_iter().flatten() {
            connection.out.clear(&mut self.pool);
            self.connections -= 1;
        }
        self.up.forget(id);
        self.down.forget(id);
        Some(hosted.torrent)
    }

    /// The torrent, to look at.
    pub fn torrent(&self, id: TorrentId) -> Option<&Torrent> {
        Some(&self.hosted.get(&id)?.torrent)
    }

    /// The torrents, to look at.
    pub fn torrents(&self) -> impl Iterator<Item = (TorrentId, &Torrent)> {
        self.hosted.iter().map(|(&id, hosted)| (id, &hosted.torrent))
    }

    /// A connection exists.
    ///
    /// # Errors
    /// The torrent's reason not to want it; `None` if there is no such torrent.
    pub fn admit(
        &mut self,
        now: Instant,
        id: TorrentId,
        addr: SocketAddr,
        direction: Direction,
        opened: Opened<T>,
    ) -> Result<PeerKey, Option<Refusal>> {
        // Who has been dropped leaves its place before somebody else has it.
        self.drain(now);
        let hosted = self.hosted.get_mut(&id).ok_or(None)?;
        let Opened { stream, first, encryption, ciphers } = opened;
        let admitted = hosted.torrent.admit(now, addr, direction, encryption);
        if let Ok(peer) = admitted {
            let bell = Bell::new(Key { torrent: id, peer }, self.list.clone());
            let mut connection = Connection::new(peer, addr, (stream, ciphers), bell);
            connection.unlimited = !self.limit_local && is_local(addr.ip());
            hosted.put(connection);
            self.connections += 1;
            self.wishes.events.push((id, Happened::Connected(addr, direction, encryption)));
            if !first.is_empty() {
                self.pool.lend_to(hosted.account);
                hosted.torrent.read(now, peer, Chunk::Bytes(&first), &mut self.pool);
            }
        }
        if let Err(refusal) = admitted {
            self.wishes.events.push((id, Happened::Refused(addr, refusal)));
        }
        self.touch(id);
        admitted.map_err(Some)
    }

    /// Something happened to a torrent.
    pub fn handle(&mut self, now: Instant, id: TorrentId, input: Input) {
        match (self.hosted.get_mut(&id), input) {
            (Some(hosted), input) => {
                self.pool.lend_to(hosted.account);
                hosted.torrent.handle(now, input, &mut self.pool);
                self.touch(id);
            }
            (None, Input::Disk(event)) => self.reclaim(event),
            (None, _) => {}
        }
    }

    /// Takes back the slabs of work that nobody waits for any more.
    pub fn reclaim(&mut self, event: DiskEvent) {
        match event {
            DiskEvent::Verified { slabs, .. } => {
                slabs.into_iter().for_each(|slab| self.pool.give(slab));
            }
            DiskEvent::Spilled { held, .. } => self.pool.give(held.slab),
            DiskEvent::Read { slab, .. } => self.pool.give(slab),
        }
    }

    /// Changes the limits; connections with local peers keep what they were admitted with.
    pub fn set_limits(&mut self, now: Instant, limits: &LimitsConfig) {
        let LimitsConfig { all, torrent, peer, local } = *limits;
        self.up.set_rates(now, Rates { all: all.up, torrent: torrent.up, peer: peer.up });
        self.down.set_rates(now, Rates { all: all.down, torrent: torrent.down, peer: peer.down });
        self.limit_local = local;
    }

    /// Gives one torrent limits of its own, whatever those of each are.
    pub fn set_torrent_limits(&mut self, now: Instant, id: TorrentId, limits: Limits) {
        self.up.set_torrent(now, id, limits.up);
        self.down.set_torrent(now, id, limits.down);
    }

    /// One turn.
    pub fn turn(&mut self, now: Instant) {
        self.list.take(&mut self.ready);
        self.read_all(now);
        self.drain(now);
        self.write_all(now);
        self.fire(now);
        self.drain(now);
    }

    /// What is to be done outside; the caller does all of it.
    pub const fn wishes(&mut self) -> &mut Wishes {
        &mut self.wishes
    }

    /// There is more to do at once: the next turn should follow soon.
    pub fn is_busy(&self) -> bool {
        !(self.ready.is_empty()
            && self.speakers.is_empty()
            && self.touched.is_empty()
            && self.wishes.is_empty())
    }

    /// Everything that the torrent wants of the disk, and what has happened there, was taken, however busy others
    /// are.
    pub fn is_quiet(&self, id: TorrentId) -> bool {
        let touched = self.hosted.get(&id).is_some_and(|hosted| hosted.touched);
        let (disk, events) = (&self.wishes.disk, &self.wishes.events);
        !touched && disk.iter().all(|(of, _)| *of != id) && events.iter().all(|(of, _)| *of != id)
    }

    /// When the next turn is due if nothing happens before.
    pub fn deadline(&self) -> Option<Instant> {
        let timer = self.timers.peek().map(|&Reverse((at, _))| at);
        [timer, self.up.deadline(), self.down.deadline()].into_iter().flatten().min()
    }

    /// Bytes on all streams.
    pub const fn carried(&self) -> Carried {
        self.carried
    }

    /// Connections held.
    pub const fn connections(&self) -> usize {
        self.connections
    }

    /// The shard's slabs.
    pub const fn pool(&self) -> &Pool {
        &self.pool
    }

    fn touch(&mut self, id: TorrentId) {
        if let Some(hosted) = self.hosted.get_mut(&id)
            && !hosted.touched
        {
            hosted.touched = true;
            self.touched.push(id);
        }
    }

    fn read_all(&mut self, now: Instant) {
        let enough = self.carried.down + MAX_READ_PER_TURN;
        for _ in 0..MAX_PER_TURN.min(self.ready.len()) {
            if self.carried.down >= enough {
                return;
            }
            let Some(key) = self.ready.pop_front() else { break };
            let Some(connection) = self.connection(key) else { continue };
            connection.looked_at();
            let unlimited = connection.unlimited;
            if std::mem::take(&mut connection.blocked) && !connection.queued {
                connection.queued = true;
                self.speakers.push_back(key);
            }
            if unlimited || self.down.is_open(key.torrent) {
                if self.read(now, key, &mut Grant::of(u64::MAX)) {
                    self.ready.push_back(key);
                }
            } else {
                self.wait_to_read(now, key);
            }
        }
        for _ in 0..MAX_PER_TURN {
            if self.carried.down >= enough {
                return;
            }
            let Some((key, mut grant)) = self.down.next(now) else { break };
            let Some(connection) = self.connection(key) else {
                self.down.forget_peer(key);
                continue;
            };
            connection.thirsty = false;
            let goes_on = self.read(now, key, &mut grant);
            // What the last read of a connection has brought counts too.
            self.down.spent(key, grant.spent());
            if goes_on {
                self.wait_to_read(now, key);
            } else if self.connection(key).is_none() {
                self.down.forget_peer(key);
            }
        }
    }

    fn connection(&mut self, key: Key) -> Option<&mut Connection<T>> {
        self.hosted.get_mut(&key.torrent)?.get(key.peer)
    }

    fn wait_to_read(&mut self, now: Instant, key: Key) {
        if let Some(connection) = self.connection(key)
            && !std::mem::replace(&mut connection.thirsty, true)
        {
            self.down.wait(now, key);
        }
    }

    /// Reads what is there, as far as `grant` goes and others can wait. Gives whether there may be more.
    fn read(&mut self, now: Instant, key: Key, grant: &mut Grant) -> bool {
        let Some(hosted) = self.hosted.get_mut(&key.torrent) else { return false };
        self.pool.lend_to(hosted.account);
        for _ in 0..READ_ROUNDS {
            let Some(connection) = hosted.get(key.peer) else { return false };
            let most = grant.left().min(READ_LEN as u64) as usize;
            if most == 0 {
                return true;
            }
            match connection.poll_read(&mut self.buf[..most]) {
                Poll::Pending => return false,
                Poll::Ready(Ok(n)) => {
                    grant.spend(n as u64);
                    self.carried.down += n as u64;
                    let bytes = Chunk::Bytes(&self.buf[..n]);
                    hosted.torrent.read(now, key.peer, bytes, &mut self.pool);
                    if !hosted.touched {
                        hosted.touched = true;
                        self.touched.push(key.torrent);
                    }
                    if !hosted.torrent.knows(key.peer) {
                        // It was dropped for what it said, whether or not its end is there already.
                        return false;
                    }
                }
                Poll::Ready(Err(cause)) => {
                    self.closed(now, key, cause);
                    return false;
                }
            }
        }
        true
    }

    fn write_all(&mut self, now: Instant) {
        for _ in 0..MAX_PER_TURN.min(self.speakers.len()) {
            let Some(key) = self.speakers.pop_front() else { break };
            let Some(connection) = self.connection(key) else { continue };
            connection.queued = false;
            if connection.unlimited || self.up.is_open(key.torrent) {
                self.write(now, key, &mut Grant::of(u64::MAX));
            } else {
                // Blocks wait for their turn; everything else is said at once.
                let mut grant = Grant::of(0);
                self.write(now, key, &mut grant);
                self.has_sent(key, grant);
            }
        }
        for _ in 0..MAX_PER_TURN {
            let Some((key, mut grant)) = self.up.next(now) else { break };
            let Some(connection) = self.connection(key) else {
                self.up.forget_peer(key);
                continue;
            };
            connection.gagged = false;
            self.write(now, key, &mut grant);
            self.has_sent(key, grant);
        }
    }

    fn has_sent(&mut self, key: Key, grant: Grant) {
        self.up.spent(key, grant.spent());
        if self.connection(key).is_none() {
            self.up.forget_peer(key);
        }
    }

    fn write(&mut self, now: Instant, key: Key, grant: &mut Grant) {
        let Some(hosted) = self.hosted.get_mut(&key.torrent) else { return };
        let Hosted { torrent, account, connections, touched, .. } = &mut **hosted;
        self.pool.lend_to(*account);
        let slot = connections.get_mut(key.peer.slot as usize);
        let Some(connection) = slot.and_then(Option::as_deref_mut) else { return };
        if connection.peer != key.peer {
            return;
        }
        if !*touched {
            *touched = true;
            self.touched.push(key.torrent);
        }
        for _ in 0..WRITE_ROUNDS {
            let mut state = Written::More;
            if connection.out.len() < LOW_WATER {
                state = torrent.write(now, key.peer, &mut connection.out, grant, &mut self.pool);
            }
            if state == Written::RateLimited && !std::mem::replace(&mut connection.gagged, true) {
                self.up.wait(now, key);
            }
            if connection.out.is_empty() {
                if state != Written::More {
                    return;
                }
                break;
            }
            match connection.send(&mut self.pool) {
                Ok(Sent::Some(n)) => {
                    self.carried.up += n as u64;
                    torrent.has_read(key.peer, n as u64);
                }
                Ok(Sent::Blocked) => return,
                Err(cause) => return self.closed(now, key, cause),
            }
        }
        if !std::mem::replace(&mut connection.queued, true) {
            self.speakers.push_back(key);
        }
    }

    fn closed(&mut self, now: Instant, key: Key, cause: CloseCause) {
        let Some(hosted) = self.hosted.get_mut(&key.torrent) else { return };
        let Some(mut connection) = hosted.take(key.peer) else { return };
        connection.out.clear(&mut self.pool);
        self.connections -= 1;
        self.forget(key);
        self.wishes.events.push((key.torrent, Happened::Closed(connection.addr, cause)));
        self.handle(now, key.torrent, Input::Closed { peer: key.peer, cause });
    }

    /// A connection waits for no limit any more.
    fn forget(&mut self, key: Key) {
        self.up.forget_peer(key);
        self.down.forget_peer(key);
    }

    /// Takes what the touched torrents want, and arms their timers.
    fn drain(&mut self, now: Instant) {
        while let Some(id) = self.touched.pop() {
            let Some(hosted) = self.hosted.get_mut(&id) else { continue };
            hosted.touched = false;
            while let Some(output) = hosted.torrent.poll() {
                match output {
                    Output::Disk(job) => self.wishes.disk.push((id, job)),
                    Output::Connect { addr, encrypted } => {
                        let encrypted = encrypted.then(|| hosted.torrent.hello());
                        self.wishes.dials.push(Dial { torrent: id, addr, encrypted });
                    }
                    Output::OpenWebSeed { addr, url, lacks } => {
                        let open = OpenWebSeed { torrent: id, addr, url, lacks };
                        self.wishes.web_seeds.push(open);
                    }
                    Output::NeedPeers => self.wishes.needs_peers.push(id),
                    Output::DhtNode(addr) => self.wishes.dht_nodes.push(addr),
                    Output::Event(event) => {
                        self.wishes.events.push((id, Happened::Torrent(event)));
                    }
                    Output::WantWrite(peer) => {
                        if let Some(connection) = hosted.get(peer)
                            && !connection.queued
                        {
                            connection.queued = true;
                            self.speakers.push_back(Key { torrent: id, peer });
                        }
                    }
                    Output::Disconnect { peer, reason } => {
                        if let Some(mut connection) = hosted.take(peer) {
                            connection.out.clear(&mut self.pool);
                            self.connections -= 1;
                            let key = Key { torrent: id, peer };
                            self.up.forget_peer(key);
                            self.down.forget_peer(key);
                            let dropped = Happened::Dropped(connection.addr, reason);
                            self.wishes.events.push((id, dropped));
                        }
                    }
                }
            }
            if let Some(at) = hosted.torrent.poll_timeout()
                && hosted.armed.is_none_or(|armed| at < armed)
            {
                let at = at.max(now);
                hosted.armed = Some(at);
                self.timers.push(Reverse((at, id)));
            }
        }
    }

    fn fire(&mut self, now: Instant) {
        while let Some(&Reverse((at, id))) = self.timers.peek()
            && at <= now
        {
            self.timers.pop();
            let Some(hosted) = self.hosted.get_mut(&id) else { continue };
            if hosted.armed != Some(at) {
                continue;
            }
            hosted.armed = None;
            self.pool.lend_to(hosted.account);
            if hosted.torrent.poll_timeout().is_some_and(|due| due <= now) {
                hosted.torrent.handle(now, Input::Timeout, &mut self.pool);
            }
            self.touch(id);
        }
    }
}
