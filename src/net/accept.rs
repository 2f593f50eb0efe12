//! Takes connections in, reads how each begins, and hands it to whom it is for.
//!
//! A connection is *half-open* until it is known which torrent it is about: by the info hash in its
//! handshake (BEP 3), or by that of its encryption. Which of both it has its first bytes tell, without
//! any waiting. Half-open ones are bounded in number and time, together and per address, and cost a
//! small task each. Those from blocked addresses are closed before anything is read. Nothing here knows
//! torrents: [`Owners`] does.

use std::{
    collections::VecDeque,
    future::Future,
    io,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::AsyncReadExt as _,
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::AbortHandle,
    time::{sleep, timeout},
};

use crate::{
    base::{
        compact,
        hash::Sha1Hash,
        ip_filter::IpFilter,
        limits::{HANDSHAKE_TIMEOUT, MAX_HALF_OPEN, MAX_HALF_OPEN_PER_ADDRESS},
    },
    mse::Policy,
    wire::handshake::{HANDSHAKE_LEN, Handshake},
};

use super::encryption::{self, Opened};

/// First pause after the system refused to give us a connection, for want of descriptors or memory.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// Longest such pause.
const LAST_PAUSE: Duration = Duration::from_secs(2);
/// Whoever sends so much of the plain handshake means it.
const PLAIN_LEN: usize = 20;

/// A connection that has said whom it wants.
#[derive(Debug)]
pub struct Incoming {
    /// The connection. What was read of it is at most the whole handshake, and perhaps less, because
    /// some clients send their peer id only after our handshake.
    pub opened: Opened<TcpStream>,
    /// Who dialled us; an IPv4 peer always has an IPv4 address.
    pub addr: SocketAddr,
    /// The torrent it is about.
    pub info_hash: Sha1Hash,
}

/// Knows whom a connection is for.
pub trait Owners: Send + Sync + 'static {
    /// When connections are encrypted.
    fn encryption(&self) -> Policy;

    /// The info hash that belongs to a [`hashed_skey`](crate::mse::hashed_skey).
    fn find(&self, hashed_skey: Sha1Hash) -> Option<Sha1Hash>;

    /// Takes the connection over. One that nobody wants is closed by dropping it.
    fn deliver(&self, incoming: Incoming) -> impl Future<Output = ()> + Send;
}

/// Accepts on `listener` until the future is dropped. Listeners share `half_open`.
///
/// When the system is out of descriptors or memory it waits a little longer each time; connections
/// stay in the system's backlog meanwhile.
pub async fn accept<O: Owners>(listener: TcpListener, owners: Arc<O>, half_open: Arc<HalfOpen>) {
    let mut pause = FIRST_PAUSE;
    loop {
        match listener.accept().await {
            Ok((stream, addr)) => {
                pause = FIRST_PAUSE;
                half_open.greet(stream, compact::canonical(addr), owners.clone()).await;
            }
            Err(err) if is_of_one_connection(&err) => {}
            Err(_) => {
                sleep(pause).await;
                pause = (pause * 2).min(LAST_PAUSE);
            }
        }
    }
}

/// The connection was gone before we took it: says nothing about the next one.
fn is_of_one_connection(err: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(err.kind(), ConnectionAborted | ConnectionReset | Interrupted)
}

/// The connections whose handshake is not here yet. Dropping it closes them.
#[derive(Debug)]
pub struct HalfOpen {
    table: Arc<Mutex<Table>>,
    /// A place for each. One is free when the socket is closed, which is later than the end of its entry.
    places: Arc<Semaphore>,
    blocked: Arc<IpFilter>,
    /// Connections from there.
    turned_away: AtomicU64,
}

#[derive(Debug, Default)]
struct Table {
    /// Oldest first.
    entries: VecDeque<Entry>,
    next: u64,
}

#[derive(Debug)]
struct Entry {
    number: u64,
    from: IpAddr,
    task: AbortHandle,
}

/// Takes its connection off the table when its task ends, however it ends.
struct Listed {
    table: Arc<Mutex<Table>>,
    number: u64,
}

impl Drop for Listed {
    fn drop(&mut self) {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        table.entries.retain(|e| e.number != self.number);
    }
}

impl HalfOpen {
    /// At most `limit` of them, and never more than [`MAX_HALF_OPEN`].
    pub fn new(limit: usize) -> Self {
        let limit = limit.min(MAX_HALF_OPEN);
        HalfOpen {
            table: Arc::default(),
            places: Arc::new(Semaphore::new(limit)),
            blocked: Arc::default(),
            turned_away: AtomicU64::new(0),
        }
    }

    /// Nobody from these addresses is let in.
    pub fn without(mut self, blocked: Arc<IpFilter>) -> Self {
        self.blocked = blocked;
        self
    }

    /// Connections from blocked addresses so far.
    pub fn turned_away(&self) -> u64 {
        self.turned_away.load(Ordering::Relaxed)
    }

    /// Number of half-open connections.
    pub fn count(&self) -> usize {
        self.table().entries.len()
    }

    /// Waits for a place, which is soon there: the oldest connection makes room.
    async fn greet<O: Owners>(&self, stream: TcpStream, addr: SocketAddr, owners: Arc<O>) {
        if self.blocked.blocks(addr.ip()) {
            self.turned_away.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let from = compact::network(addr.ip());
        if !self.make_room(from) {
            return;
        }
        // The semaphore is never closed.
        let Ok(place) = self.places.clone().acquire_owned().await else { return };
        let mut table = self.table();
        let number = table.next;
        table.next += 1;
        let listed = Listed { table: self.table.clone(), number };
        let task = tokio::spawn(async move {
            let greeted = timeout(HANDSHAKE_TIMEOUT, greet(stream, addr, &*owners)).await;
            drop((listed, place));
            if let Ok(Ok(incoming)) = greeted {
                owners.deliver(incoming).await;
            }
        });
        table.entries.push_back(Entry { number, from, task: task.abort_handle() });
    }

    /// False if this address has as many as it may.
    fn make_room(&self, from: IpAddr) -> bool {
        let mut table = self.table();
        let of_address = table.entries.iter().filter(|e| e.from == from).count();
        // Whoever runs on our own host has simpler ways to hurt us.
        if of_address >= MAX_HALF_OPEN_PER_ADDRESS && !from.is_loopback() {
            return false;
        }
        // A client sends its handshake at once, so the oldest is the least likely to be one.
        if self.places.available_permits() == 0
            && let Some(oldest) = table.entries.pop_front()
        {
            oldest.task.abort();
        }
        true
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for HalfOpen {
    fn drop(&mut self) {
        for entry in self.table().entries.drain(..) {
            entry.task.abort();
        }
    }
}

async fn greet<O: Owners>(
    mut stream: TcpStream,
    addr: SocketAddr,
    owners: &O,
) -> io::Result<Incoming> {
    let policy = owners.encryption();
    stream.set_nodelay(true)?;
    let mut first = Vec::with_capacity(HANDSHAKE_LEN);
    loop {
        let room = (HANDSHAKE_LEN - first.len()) as u64;
        if (&mut stream).take(room).read_buf(&mut first).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        match Handshake::info_hash_in(&first) {
            Ok(_) if !policy.allows_plain() && first.len() >= PLAIN_LEN => {
                return Err(io::ErrorKind::InvalidData.into());
            }
            Ok(None) => {}
            Ok(Some(info_hash)) => {
                return Ok(Incoming { opened: Opened::plain(stream, first), addr, info_hash });
            }
            Err(_) if policy.allows_encrypted() => {
                let find = |hashed| owners.find(hashed);
                let (info_hash, opened) =
                    encryption::receive(stream, first, policy.methods(), find).await?;
                return Ok(Incoming { opened, addr, info_hash });
            }
            Err(_) => return Err(io::ErrorKind::InvalidData.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        base::id::PeerId,
        mse::{self, Encryption, Methods},
        wire::handshake::Reserved,
    };
    use std::net::Ipv4Addr;
    use tokio::{io::AsyncWriteExt as _, sync::mpsc};

    const LIMIT: usize = 20;

    struct Take(mpsc::UnboundedSender<Incoming>, Policy);

    impl Owners for Take {
        fn encryption(&self) -> Policy {
            self.1
        }

        fn find(&self, hashed: Sha1Hash) -> Option<Sha1Hash> {
            Some(Sha1Hash([5; 20])).filter(|&skey| mse::hashed_skey(skey) == hashed)
        }

        async fn deliver(&self, incoming: Incoming) {
            let _ = self.0.send(incoming);
        }
    }

    type Started = (SocketAddr, Arc<HalfOpen>, mpsc::UnboundedReceiver<Incoming>);

    async fn start() -> Started {
        start_with(Policy::Disabled).await
    }

    async fn start_with(policy: Policy) -> Started {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let addr = listener.local_addr().expect("bound");
        let (tx, rx) = mpsc::unbounded_channel();
        let half_open = Arc::new(HalfOpen::new(LIMIT));
        tokio::spawn(accept(listener, Arc::new(Take(tx, policy)), half_open.clone()));
        (addr, half_open, rx)
    }

    fn hello() -> [u8; HANDSHAKE_LEN] {
        let (info_hash, peer_id) = (Sha1Hash([5; 20]), PeerId([6; 20]));
        Handshake { reserved: Reserved::ours(false), info_hash, peer_id }.to_bytes()
    }

    #[tokio::test]
    async fn the_info_hash_is_enough_and_nothing_behind_the_handshake_is_read() {
        let (addr, half_open, mut rx) = start().await;
        let mut client = TcpStream::connect(addr).await.expect("connected");
        let mut bytes = hello().to_vec();
        client.write_all(&bytes[..30]).await.expect("written");
        client.write_all(&bytes[30..48]).await.expect("written");
        let mut incoming = rx.recv().await.expect("delivered");
        assert_eq!(incoming.info_hash, Sha1Hash([5; 20]));
        assert_eq!(incoming.addr, client.local_addr().expect("bound"));
        assert_eq!(half_open.count(), 0);
        bytes.extend_from_slice(b"more");
        client.write_all(&bytes[48..]).await.expect("written");
        client.shutdown().await.expect("shut down");
        let mut all = incoming.opened.first;
        assert!(all.len() <= HANDSHAKE_LEN);
        incoming.opened.stream.read_to_end(&mut all).await.expect("the rest");
        assert_eq!(all, bytes);
    }

    #[tokio::test]
    async fn silent_connections_make_room_for_the_one_that_speaks() {
        let (addr, half_open, mut rx) = start().await;
        let mut silent = Vec::new();
        for _ in 0..LIMIT {
            silent.push(TcpStream::connect(addr).await.expect("connected"));
        }
        let mut client = TcpStream::connect(addr).await.expect("connected");
        client.write_all(&hello()).await.expect("written");
        assert!(rx.recv().await.is_some(), "delivered");
        assert!(half_open.count() <= LIMIT);
        // The first one was let go.
        assert!(matches!(silent[0].read(&mut [0; 1]).await, Ok(0) | Err(_)));
    }

    #[tokio::test]
    async fn one_address_has_a_bounded_number_of_places() {
        let half_open = HalfOpen::new(MAX_HALF_OPEN);
        let [from, other] = [[203, 0, 113, 1], [203, 0, 113, 2]].map(IpAddr::from);
        for number in 0..MAX_HALF_OPEN_PER_ADDRESS as u64 {
            assert!(half_open.make_room(from));
            let task = tokio::spawn(std::future::pending::<()>()).abort_handle();
            half_open.table().entries.push_back(Entry { number, from, task });
        }
        assert!(!half_open.make_room(from) && half_open.make_room(other));
    }

    /// Sockets of those that made room used to stay open until their tasks were run, and all descriptors
    /// were gone.
    #[tokio::test]
    async fn a_crowd_never_has_more_sockets_than_places() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let addr = listener.local_addr().expect("bound");
        let (half_open, (tx, _rx)) = (HalfOpen::new(2), mpsc::unbounded_channel());
        let owners = Arc::new(Take(tx, Policy::Allowed));
        let mut crowd = Vec::new();
        for _ in 0..50 {
            crowd.push(TcpStream::connect(addr).await.expect("connected"));
            let (stream, from) = listener.accept().await.expect("a connection");
            half_open.greet(stream, from, owners.clone()).await;
        }
        let mut open = 0;
        for stream in &crowd {
            let ended = stream
                .try_read(&mut [0; 1])
                .map_or_else(|e| e.kind() != io::ErrorKind::WouldBlock, |n| n == 0);
            open += usize::from(!ended);
        }
        assert_eq!(open, 2);
    }

    #[tokio::test]
    async fn both_handshakes_are_taken_on_one_port() {
        let (addr, _half_open, mut rx) = start_with(Policy::Allowed).await;
        let skey = Sha1Hash([5; 20]);
        for (offered, want) in
            [(Methods::RC4, Encryption::Stream), (Methods::PLAIN, Encryption::Handshake)]
        {
            let client = TcpStream::connect(addr).await.expect("connected");
            let opened = encryption::initiate(client, skey, offered, hello().to_vec());
            let opened = opened.await.expect("agreed");
            let incoming = rx.recv().await.expect("delivered");
            assert_eq!((incoming.info_hash, &incoming.opened.first[..]), (skey, &hello()[..]));
            assert_eq!((opened.encryption, incoming.opened.encryption), (want, want));
        }
        let mut client = TcpStream::connect(addr).await.expect("connected");
        client.write_all(&hello()).await.expect("written");
        let incoming = rx.recv().await.expect("delivered");
        assert_eq!(incoming.opened.encryption, Encryption::Off);
    }

    #[tokio::test]
    async fn what_the_policy_does_not_allow_is_closed() {
        let (addr, _half_open, mut rx) = start_with(Policy::Required).await;
        let mut client = TcpStream::connect(addr).await.expect("connected");
        client.write_all(&hello()).await.expect("written");
        assert!(matches!(client.read(&mut [0; 1]).await, Ok(0) | Err(_)), "plain");
        let client = TcpStream::connect(addr).await.expect("connected");
        let skey = Sha1Hash([5; 20]);
        let opened = encryption::initiate(client, skey, Methods::PLAIN, Vec::new()).await;
        assert!(opened.is_err(), "plain behind the handshake");
        let client = TcpStream::connect(addr).await.expect("connected");
        let opened = encryption::initiate(client, Sha1Hash([6; 20]), Methods::RC4, Vec::new());
        assert!(opened.await.is_err(), "another torrent");
        assert!(rx.try_recv().is_err());
    }

    #[tokio::test]
    async fn what_ends_early_or_speaks_something_else_is_closed_and_forgotten() {
        let (addr, half_open, mut rx) = start().await;
        for (bytes, close) in [(&hello()[..10], true), (&b"GET / HTTP/1.1\r\n"[..], false)] {
            let mut client = TcpStream::connect(addr).await.expect("connected");
            client.write_all(bytes).await.expect("written");
            if close {
                client.shutdown().await.expect("shut down");
            }
            assert!(matches!(client.read(&mut [0; 1]).await, Ok(0) | Err(_)), "closed in return");
            assert_eq!(half_open.count(), 0);
        }
        assert!(rx.try_recv().is_err());
    }
}
