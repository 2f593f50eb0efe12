//! One turn of a shard: the only place where torrents meet streams, and the hot path.
//!
//! A turn reads what the ready connections have (bounded), drains what the torrents want, writes once
//! per connection that has something to say, and fires due timers. It does not wait, lock, spawn or
//! log; what takes time (disk, dials) it leaves in [`Wishes`]. The clock is read by the caller, once
//! per turn. Generic over the stream, so that a benchmark can run it over memory.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap, VecDeque},
    net::SocketAddr,
    sync::Arc,
    task::Poll,
};

use tokio::sync::Notify;

use super::{
    connection::{Connection, Sent},
    id::TorrentId,
    ready::{Bell, Key, ReadyList},
};
use crate::{
    base::{
        id::PeerKey,
        pages::Pages,
        slab::{Chunk, Pool, SLAB_LEN},
        time::Instant,
        token_bucket::TokenBucket,
        units::{BLOCK_LEN, ByteRate},
    },
    mse::Encryption,
    net::{encryption::Opened, transport::Transport},
    pieces::job::{DiskEvent, DiskJob},
    torrent::{
        CloseCause, Command, Direction, Disconnect, Event, Input, Output, Refusal, Torrent, Written,
    },
    wire::Handshake,
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
/// Under a read limit a connection waits until it may read so much: small reads are dear.
const LEAST_READ: u64 = 4 * 1024;
/// A send buffer with less than this in it is filled up before it is written.
const LOW_WATER: usize = BLOCK_LEN as usize;

/// What the torrents want that a turn does not do itself. The driver takes all of it after each turn.
#[derive(Debug, Default)]
pub struct Wishes {
    /// Work for the disk; answers go to [`Turns::handle`] as [`Input::Disk`].
    pub disk: Vec<(TorrentId, DiskJob)>,
    /// Whom to dial; then [`Turns::admit`], or [`Input::DialFailed`].
    pub dials: Vec<Dial>,
    /// Torrents that want more addresses.
    pub needs_peers: Vec<TorrentId>,
    /// Peers' nodes of the DHT.
    pub dht_nodes: Vec<SocketAddr>,
    /// What happened.
    pub events: Vec<(TorrentId, Happened)>,
}

impl Wishes {
    /// Adds all of `other`.
    pub fn append(&mut self, mut other: Wishes) {
        self.disk.append(&mut other.disk);
        self.dials.append(&mut other.dials);
        self.needs_peers.append(&mut other.needs_peers);
        self.dht_nodes.append(&mut other.dht_nodes);
        self.events.append(&mut other.events);
    }

    /// There is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.disk.is_empty()
            && self.dials.is_empty()
            && self.needs_peers.is_empty()
            && self.dht_nodes.is_empty()
            && self.events.is_empty()
    }
}

/// Somebody to be dialled.
#[derive(Debug)]
pub struct Dial {
    /// For which torrent.
    pub torrent: TorrentId,
    /// Where.
    pub addr: SocketAddr,
    /// What to say inside the encryption handshake; without it there is none.
    pub encrypted: Option<Handshake>,
}

/// Something that happened in a turn.
#[derive(Debug)]
pub enum Happened {
    /// The torrent says so.
    Torrent(Event),
    /// A connection is ours.
    Connected(SocketAddr, Direction, Encryption),
    /// We closed it.
    Dropped(SocketAddr, Disconnect),
    /// It ended without us.
    Closed(SocketAddr, CloseCause),
}

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
    hosted: HashMap<TorrentId, Hosted<T>>,
    pool: Pool,
    buf: Pages,
    list: Arc<ReadyList>,
    /// Connections to read, in the order in which they rang.
    ready: VecDeque<Key>,
    /// Connections with something to say.
    speakers: VecDeque<Key>,
    /// Connections that wait for the read limit.
    thirsty: VecDeque<Key>,
    /// Connections that wait for the upload limit.
    gagged: VecDeque<Key>,
    up: TokenBucket,
    down: TokenBucket,
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
            buf: Pages::zeroed(READ_LEN),
            list: Arc::new(ReadyList::new(wake)),
            ready: VecDeque::new(),
            speakers: VecDeque::new(),
            thirsty: VecDeque::new(),
            gagged: VecDeque::new(),
            up: TokenBucket::new(None, now),
            down: TokenBucket::new(None, now),
            timers: BinaryHeap::new(),
            touched: Vec::new(),
            wishes: Wishes::default(),
            carried: Carried::default(),
            connections: 0,
        }
    }

    /// Takes a torrent in.
    pub fn host(&mut self, id: TorrentId, torrent: Torrent) {
        let hosted = Hosted { torrent, connections: Vec::new(), armed: None, touched: false };
        self.hosted.insert(id, hosted);
        self.touch(id);
    }

    /// Gives a torrent up: its connections close and its slabs return. Disk work under way is
    /// answered to [`Turns::reclaim`].
    pub fn dismiss(&mut self, now: Instant, id: TorrentId) -> Option<Torrent> {
        self.handle(now, id, Input::Command(Command::Pause));
        self.drain(now);
        let hosted = self.hosted.remove(&id)?;
        for mut connection in hosted.connections.into_iter().flatten() {
            connection.out.clear(&mut self.pool);
            self.connections -= 1;
        }
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
        let hosted = self.hosted.get_mut(&id).ok_or(None)?;
        let Opened { stream, first, encryption, ciphers } = opened;
        let admitted = hosted.torrent.admit(now, addr, direction, encryption);
        if let Ok(peer) = admitted {
            let bell = Bell::new(Key { torrent: id, peer }, self.list.clone());
            hosted.put(Connection::new(peer, addr, (stream, ciphers), bell));
            self.connections += 1;
            self.wishes.events.push((id, Happened::Connected(addr, direction, encryption)));
            if !first.is_empty() {
                hosted.torrent.read(now, peer, Chunk::Bytes(&first), &mut self.pool);
            }
        }
        self.touch(id);
        admitted.map_err(Some)
    }

    /// Something happened to a torrent.
    pub fn handle(&mut self, now: Instant, id: TorrentId, input: Input) {
        match (self.hosted.get_mut(&id), input) {
            (Some(hosted), input) => {
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

    /// Changes the limits of all torrents together; `None` is no limit.
    pub fn set_limits(&mut self, now: Instant, up: Option<ByteRate>, down: Option<ByteRate>) {
        self.up.set_rate(up, now);
        self.down.set_rate(down, now);
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

    /// When the next turn is due if nothing happens before.
    pub fn deadline(&self) -> Option<Instant> {
        let timer = self.timers.peek().map(|&Reverse((at, _))| at);
        let gagged = (!self.gagged.is_empty()).then(|| self.up.ready_at(BLOCK_LEN.into()));
        let thirsty = (!self.thirsty.is_empty()).then(|| self.down.ready_at(LEAST_READ));
        [timer, gagged, thirsty].into_iter().flatten().min()
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
        let mut left = MAX_PER_TURN;
        while left > 0
            && !self.thirsty.is_empty()
            && self.down.available(now) >= LEAST_READ
            && let Some(key) = self.thirsty.pop_front()
        {
            left -= 1;
            if let Some(connection) = self.connection(key) {
                connection.thirsty = false;
                self.read(now, key);
            }
        }
        for _ in 0..left.min(self.ready.len()) {
            if self.carried.down >= enough {
                break;
            }
            let Some(key) = self.ready.pop_front() else { break };
            self.read(now, key);
        }
    }

    fn connection(&mut self, key: Key) -> Option<&mut Connection<T>> {
        self.hosted.get_mut(&key.torrent)?.get(key.peer)
    }

    fn read(&mut self, now: Instant, key: Key) {
        let Some(hosted) = self.hosted.get_mut(&key.torrent) else { return };
        let Some(connection) = hosted.get(key.peer) else { return };
        connection.looked_at();
        if std::mem::take(&mut connection.blocked) && !connection.queued {
            connection.queued = true;
            self.speakers.push_back(key);
        }
        for _ in 0..READ_ROUNDS {
            let allowed = self.down.available(now);
            let Some(connection) = hosted.get(key.peer) else { return };
            if allowed < LEAST_READ {
                if !std::mem::replace(&mut connection.thirsty, true) {
                    self.thirsty.push_back(key);
                }
                return;
            }
            // Under a limit, whoever waits gets a share.
            let waiting = (self.thirsty.len() + self.ready.len()) as u64 + 1;
            let share = (allowed / waiting).max(LEAST_READ).min(READ_LEN as u64) as usize;
            match connection.poll_read(&mut self.buf[..share]) {
                Poll::Pending => return,
                Poll::Ready(Ok(n)) => {
                    self.down.spend(n as u64);
                    self.carried.down += n as u64;
                    let bytes = Chunk::Bytes(&self.buf[..n]);
                    hosted.torrent.read(now, key.peer, bytes, &mut self.pool);
                    if !hosted.touched {
                        hosted.touched = true;
                        self.touched.push(key.torrent);
                    }
                    if !hosted.torrent.knows(key.peer) {
                        // It was dropped for what it said, whether or not its end is there already.
                        return;
                    }
                }
                Poll::Ready(Err(cause)) => return self.closed(now, key, cause),
            }
        }
        self.ready.push_back(key);
    }

    fn write_all(&mut self, now: Instant) {
        let mut left = MAX_PER_TURN;
        while left > 0
            && !self.gagged.is_empty()
            && self.up.available(now) >= BLOCK_LEN.into()
            && let Some(key) = self.gagged.pop_front()
        {
            left -= 1;
            if let Some(connection) = self.connection(key) {
                connection.gagged = false;
                self.write(now, key);
            }
        }
        for _ in 0..left.min(self.speakers.len()) {
            let Some(key) = self.speakers.pop_front() else { break };
            if let Some(connection) = self.connection(key) {
                connection.queued = false;
                self.write(now, key);
            }
        }
    }

    fn write(&mut self, now: Instant, key: Key) {
        let Some(hosted) = self.hosted.get_mut(&key.torrent) else { return };
        let Hosted { torrent, connections, touched, .. } = hosted;
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
                let (out, up) = (&mut connection.out, &mut self.up);
                state = torrent.write(now, key.peer, out, up, &mut self.pool);
            }
            if state == Written::RateLimited && !std::mem::replace(&mut connection.gagged, true) {
                self.gagged.push_back(key);
            }
            if connection.out.is_empty() {
                if state != Written::More {
                    return;
                }
                break;
            }
            match connection.send(&mut self.pool) {
                Ok(Sent::Some(n)) => self.carried.up += n as u64,
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
        self.wishes.events.push((key.torrent, Happened::Closed(connection.addr, cause)));
        self.handle(now, key.torrent, Input::Closed { peer: key.peer, cause });
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
            if hosted.torrent.poll_timeout().is_some_and(|due| due <= now) {
                hosted.torrent.handle(now, Input::Timeout, &mut self.pool);
            }
            self.touch(id);
        }
    }
}
