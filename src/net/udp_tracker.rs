//! Exchanges with UDP trackers over sockets (BEP 15).
//!
//! What is said and when it is said again is in [`crate::tracker::udp_client`]. It goes by the sockets that
//! everything else goes by, so that a tracker sees our one port; what is heard is from the tracker's address,
//! and answers the question that waits. Connection ids are remembered from one exchange to the next.

use std::{
    collections::HashMap,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant as Clock,
};

use tokio::time::sleep_until;

use super::udp_hub::UdpHub;
use crate::{
    base::{limits::MAX_UDP_CONNECTIONS, rng::Rng, time::Instant},
    proxy::Place,
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
    hub: UdpHub,
    start: Clock,
    /// Connection ids, and how long they may be used.
    connections: Mutex<HashMap<Place, (u64, Instant)>>,
    rng: Mutex<Rng>,
}

impl UdpTrackers {
    /// Asks by way of `hub`. `rng` draws what strangers must not guess.
    #[expect(clippy::disallowed_methods, reason = "a driver reads the clock")]
    pub fn new(hub: UdpHub, rng: Rng) -> Self {
        let (connections, rng) = (Mutex::default(), Mutex::new(rng));
        let shared = Shared { hub, start: Clock::now(), connections, rng };
        UdpTrackers { shared: Arc::new(shared) }
    }

    /// By which way they are asked.
    pub fn hub(&self) -> &UdpHub {
        &self.shared.hub
    }

    /// Asks the tracker at `tracker`; may take minutes if it is silent.
    pub async fn ask(&self, tracker: Place, question: Question) -> Result<Reply, UdpTrackerError> {
        let hub = &self.shared.hub;
        hub.open(None)?;
        hub.ready().await?;
        let mut talk = hub.talk(tracker.clone());
        let (known, rng) = (self.known(&tracker), lock(&self.shared.rng).fork());
        let mut exchange = Exchange::new(question, known, rng, self.now());
        loop {
            while let Some(output) = exchange.poll() {
                match output {
                    Output::Send(datagram) => talk.send(&datagram)?,
                    Output::Connected(id, until) => self.remember(&tracker, id, until),
                    Output::Done(result) => return Ok(result?),
                }
            }
            let due = exchange.poll_timeout().unwrap_or(Instant::ZERO);
            let due = self.shared.start + due.since(Instant::ZERO);
            tokio::select! {
                (datagram, from) = talk.receive() => {
                    exchange.handle_datagram(self.now(), &datagram, from.is_ipv6());
                }
                () = sleep_until(due.into()) => exchange.handle_timeout(self.now()),
            }
        }
    }

    fn now(&self) -> Instant {
        Instant::ZERO + self.shared.start.elapsed()
    }

    fn known(&self, tracker: &Place) -> Option<(u64, Instant)> {
        let now = self.now();
        lock(&self.shared.connections).get(tracker).copied().filter(|&(_, until)| now < until)
    }

    fn remember(&self, tracker: &Place, id: u64, until: Instant) {
        let now = self.now();
        let mut connections = lock(&self.shared.connections);
        if connections.len() >= MAX_UDP_CONNECTIONS {
            connections.retain(|_, (_, until)| now < *until);
        }
        if connections.len() < MAX_UDP_CONNECTIONS {
            connections.insert(tracker.clone(), (id, until));
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::outlet::Outlet;
    use std::net::SocketAddr;

    #[test]
    fn a_bounded_number_of_connections_is_remembered() {
        let hub = UdpHub::new(Outlet::default(), None, false, 0);
        let trackers = UdpTrackers::new(hub, Rng::new(1));
        let place = |n: u32| Place::from(SocketAddr::from((n.to_be_bytes(), 1)));
        for n in 0..MAX_UDP_CONNECTIONS as u32 + 9 {
            trackers.remember(&place(n), 1, Instant::FAR);
        }
        assert_eq!(lock(&trackers.shared.connections).len(), MAX_UDP_CONNECTIONS);
        assert!(trackers.known(&place(0)).is_some());
    }
}
