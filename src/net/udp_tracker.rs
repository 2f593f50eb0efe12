//! Exchanges with UDP trackers over sockets (BEP 15).
//!
//! What is said and when it is said again is in [`crate::tracker::udp_client`]. Each exchange has a
//! socket of its own that is connected to the tracker: nobody else's datagrams come through, and a port
//! where nobody listens is known at once. Connection ids are remembered from one to the next.

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant as Clock,
};

use tokio::time::sleep_until;

use super::outlet::Outlet;
use crate::{
    base::{
        limits::{MAX_TRACKER_DATAGRAM, MAX_UDP_CONNECTIONS},
        rng::Rng,
        time::Instant,
    },
    tracker::udp_client::{Exchange, ExchangeError, Output, Question, Reply},
};

/// Why a UDP tracker did not reply.
#[derive(Debug, thiserror::Error)]
pub enum UdpTrackerError {
    /// The system says that it cannot be reached.
    #[error(transparent)]
    Unreachable(#[from] io::Error),
    /// It is silent, refuses, or talks nonsense.
    #[error(transparent)]
    Exchange(#[from] ExchangeError),
}

/// Asks UDP trackers. Copies share what they remember.
#[derive(Debug, Clone)]
pub struct UdpTrackers {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    outlet: Outlet,
    /// The only local address to use.
    from: Option<IpAddr>,
    start: Clock,
    /// Connection ids, and how long they may be used.
    connections: Mutex<HashMap<SocketAddr, (u64, Instant)>>,
    rng: Mutex<Rng>,
}

impl UdpTrackers {
    /// Asks by way of `outlet`, from the local address `from`, or from any. `rng` draws what strangers must not guess.
    #[expect(clippy::disallowed_methods, reason = "a driver reads the clock")]
    pub fn new(outlet: Outlet, from: Option<IpAddr>, rng: Rng) -> Self {
        let (connections, rng) = (Mutex::default(), Mutex::new(rng));
        let shared = Shared { outlet, from, start: Clock::now(), connections, rng };
        UdpTrackers { shared: Arc::new(shared) }
    }

    /// The addresses of a tracker.
    pub async fn lookup(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        self.shared.outlet.resolver().lookup(host).await
    }

    /// Asks the tracker at `tracker`; may take minutes if it is silent.
    pub async fn ask(
        &self,
        tracker: SocketAddr,
        question: Question,
    ) -> Result<Reply, UdpTrackerError> {
        let any: IpAddr = match tracker {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let from = (self.shared.from.unwrap_or(any), 0).into();
        let socket = self.shared.outlet.binding().udp(from, false)?;
        socket.connect(tracker).await?;
        let (known, rng) = (self.known(tracker), lock(&self.shared.rng).fork());
        let mut exchange = Exchange::new(question, tracker.is_ipv6(), known, rng, self.now());
        let mut buf = vec![0; MAX_TRACKER_DATAGRAM];
        loop {
            while let Some(output) = exchange.poll() {
                match output {
                    Output::Send(datagram) => {
                        socket.send(&datagram).await?;
                    }
                    Output::Connected(id, until) => self.remember(tracker, id, until),
                    Output::Done(result) => return Ok(result?),
                }
            }
            let due = exchange.poll_timeout().unwrap_or(Instant::ZERO);
            let due = self.shared.start + due.since(Instant::ZERO);
            tokio::select! {
                received = socket.recv(&mut buf) => {
                    let length = received?;
                    exchange.handle_datagram(self.now(), &buf[..length]);
                }
                () = sleep_until(due.into()) => exchange.handle_timeout(self.now()),
            }
        }
    }

    fn now(&self) -> Instant {
        Instant::ZERO + self.shared.start.elapsed()
    }

    fn known(&self, tracker: SocketAddr) -> Option<(u64, Instant)> {
        let now = self.now();
        lock(&self.shared.connections).get(&tracker).copied().filter(|&(_, until)| now < until)
    }

    fn remember(&self, tracker: SocketAddr, id: u64, until: Instant) {
        let now = self.now();
        let mut connections = lock(&self.shared.connections);
        if connections.len() >= MAX_UDP_CONNECTIONS {
            connections.retain(|_, (_, until)| now < *until);
        }
        if connections.len() < MAX_UDP_CONNECTIONS {
            connections.insert(tracker, (id, until));
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
