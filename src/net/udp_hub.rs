//! The UDP of the program: one pair of sockets, or one relay behind a proxy, for everything that speaks UDP to
//! strangers. Who is spoken to sees the same port, whatever it is about.
//!
//! What comes is told apart by its first byte: messages of the DHT are dictionaries, and the rest goes to
//! whoever waits for something from that address. A port at which nobody listens is not known at once: the
//! system tells that only to sockets that speak to one address alone.

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

use tokio::{
    sync::mpsc::{self, error::TrySendError},
    task::AbortHandle,
};

use super::{outlet::Outlet, sockets::Binding, udp::UdpSockets, udp_relay::Relay};
use crate::{
    base::{
        compact::canonical,
        limits::{MAX_DATAGRAMS_WAITING, MAX_TRACKER_DATAGRAM},
    },
    proxy::Place,
};

/// A datagram, and who sent it.
pub type Datagram = (Vec<u8>, SocketAddr);

/// The UDP of one session. Copies are the same; it ends with the last.
#[derive(Debug, Clone)]
pub struct UdpHub(Arc<Hub>);

#[derive(Debug)]
struct Hub {
    outlet: Outlet,
    addr: Option<IpAddr>,
    ipv6: bool,
    /// The number that it would like.
    port: u16,
    open: Mutex<()>,
    link: OnceLock<Link>,
    waiting: Arc<Mutex<Waiting>>,
}

/// How datagrams leave.
#[derive(Debug)]
enum Link {
    Direct(Arc<Direct>, AbortHandle),
    Relayed(Arc<Relay>, AbortHandle),
}

/// Sockets of our own.
#[derive(Debug)]
struct Direct(Mutex<Arc<UdpSockets>>);

impl Direct {
    fn now(&self) -> Arc<UdpSockets> {
        lock(&self.0).clone()
    }
}

/// Who waits for what.
#[derive(Debug, Default)]
struct Waiting {
    dht: Option<mpsc::Sender<Datagram>>,
    others: HashMap<Place, Vec<(u64, mpsc::Sender<Datagram>)>>,
    next: u64,
}

impl UdpHub {
    /// One that leaves by `outlet`, from the address `addr` or all of both families (IPv6 only if `ipv6`). It
    /// opens no socket until somebody wants to speak; on `port`, or another one if that is taken.
    pub fn new(outlet: Outlet, addr: Option<IpAddr>, ipv6: bool, port: u16) -> Self {
        let (open, link, waiting) = (Mutex::default(), OnceLock::new(), Arc::default());
        UdpHub(Arc::new(Hub { outlet, addr, ipv6, port, open, link, waiting }))
    }

    /// Opens it, on this port if one is given. Nothing if it is open. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// The port is taken, no family works, or UDP cannot pass the proxy.
    pub fn open(&self, port: Option<u16>) -> io::Result<()> {
        let hub = &*self.0;
        let _one_at_a_time = lock(&hub.open);
        if hub.link.get().is_some() {
            return Ok(());
        }
        let waiting = hub.waiting.clone();
        let link = match hub.outlet.proxy() {
            Some(proxy) if hub.outlet.carries_datagrams() => {
                let relay = Arc::new(Relay::new(proxy.clone(), hub.outlet.binding().clone()));
                let running = relay.clone();
                let task = tokio::spawn(async move {
                    running.run(|datagram, from| give(&waiting, datagram, canonical(from))).await;
                });
                Link::Relayed(relay, task.abort_handle())
            }
            Some(_) => return Err(io::Error::other("UDP cannot pass an HTTP proxy")),
            None => {
                let (binding, addr, ipv6) = (hub.outlet.binding().clone(), hub.addr, hub.ipv6);
                let bind = move |port| UdpSockets::bind(&binding, addr, ipv6, port);
                let sockets = match port {
                    Some(port) => bind(port)?,
                    None => bind(hub.port).or_else(|_| bind(0))?,
                };
                let direct = Arc::new(Direct(Mutex::new(Arc::new(sockets))));
                let receiving =
                    receive(hub.outlet.binding().clone(), direct.clone(), bind, waiting);
                Link::Direct(direct, tokio::spawn(receiving).abort_handle())
            }
        };
        hub.link.set(link).expect("one at a time");
        Ok(())
    }

    /// Whether datagrams get out.
    pub fn is_carried(&self) -> bool {
        self.0.outlet.carries_datagrams()
    }

    /// Whether there are sockets for IPv4, and for IPv6; what a proxy has is not known.
    pub fn families(&self) -> [bool; 2] {
        match self.0.link.get() {
            Some(Link::Direct(direct, _)) => direct.now().families(),
            Some(Link::Relayed(..)) => [true, true],
            None => [false, false],
        }
    }

    /// Their port; 0 if there is none that is ours.
    pub fn port(&self) -> u16 {
        match self.0.link.get() {
            Some(Link::Direct(direct, _)) => direct.now().port(),
            _ => 0,
        }
    }

    /// Where `host` is: by its addresses, or left to the proxy.
    ///
    /// # Errors
    /// It has no address, or is no name.
    pub async fn places(&self, host: &str, port: u16) -> io::Result<Vec<Place>> {
        if self.0.outlet.is_proxied() {
            let place = Place::of(host, port).ok_or(io::ErrorKind::InvalidInput)?;
            return Ok(vec![place]);
        }
        let ips = self.0.outlet.resolver().lookup(host).await?;
        Ok(ips.into_iter().map(|ip| SocketAddr::new(ip, port).into()).collect())
    }

    /// Waits until datagrams get out.
    ///
    /// # Errors
    /// The proxy does not want them.
    pub async fn ready(&self) -> io::Result<()> {
        match self.0.link.get() {
            Some(Link::Relayed(relay, _)) => relay.ready().await,
            _ => Ok(()),
        }
    }

    /// Sends a datagram, or loses it on its way.
    ///
    /// # Errors
    /// It did not leave: there is no way to that place.
    pub fn send(&self, to: &Place, datagram: &[u8]) -> io::Result<()> {
        match (self.0.link.get(), to) {
            (Some(Link::Direct(direct, _)), Place::Addr(addr)) => {
                direct.now().send(*addr, datagram)
            }
            (Some(Link::Relayed(relay, _)), place) => relay.send(place, datagram),
            _ => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// All messages of the DHT, from now on.
    pub fn dht(&self) -> mpsc::Receiver<Datagram> {
        let (sender, receiver) = mpsc::channel(MAX_DATAGRAMS_WAITING);
        lock(&self.0.waiting).dht = Some(sender);
        receiver
    }

    /// An exchange with `place`, in which it is heard.
    pub fn talk(&self, place: Place) -> Talk {
        let (sender, heard) = mpsc::channel(MAX_DATAGRAMS_WAITING);
        let mut waiting = lock(&self.0.waiting);
        let number = waiting.next;
        waiting.next += 1;
        waiting.others.entry(place.clone()).or_default().push((number, sender));
        Talk { hub: self.clone(), place, number, heard }
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        if let Some(Link::Direct(_, task) | Link::Relayed(_, task)) = self.link.get() {
            task.abort();
        }
    }
}

/// An exchange with one place.
#[derive(Debug)]
pub struct Talk {
    hub: UdpHub,
    place: Place,
    number: u64,
    heard: mpsc::Receiver<Datagram>,
}

impl Talk {
    /// Sends a datagram there.
    ///
    /// # Errors
    /// It did not leave.
    pub fn send(&self, datagram: &[u8]) -> io::Result<()> {
        self.hub.send(&self.place, datagram)
    }

    /// Waits for a datagram from there. Behind a proxy it may be from somewhere else as well, if the place is
    /// a name.
    pub async fn receive(&mut self) -> Datagram {
        self.heard.recv().await.expect("it is sent to until it is dropped")
    }
}

impl Drop for Talk {
    fn drop(&mut self) {
        let mut waiting = lock(&self.hub.0.waiting);
        if let Some(all) = waiting.others.get_mut(&self.place) {
            all.retain(|(number, _)| *number != self.number);
            if all.is_empty() {
                waiting.others.remove(&self.place);
            }
        }
    }
}

/// Receives, by new sockets when the interface was made anew, until the task is dropped.
async fn receive(
    binding: Binding,
    direct: Arc<Direct>,
    bind: impl Fn(u16) -> io::Result<UdpSockets>,
    waiting: Arc<Mutex<Waiting>>,
) {
    let mut buf = vec![0; MAX_TRACKER_DATAGRAM];
    let mut index = binding.index();
    loop {
        let sockets = direct.now();
        let receiving = async {
            loop {
                let (length, from) = sockets.receive(&mut buf).await;
                give(&waiting, &buf[..length], canonical(from));
            }
        };
        let now = tokio::select! {
            now = binding.renewed(index) => now,
            never = receiving => never,
        };
        // The old ones go on as long as there are no new ones.
        if let Ok(sockets) = bind(sockets.port()) {
            *lock(&direct.0) = Arc::new(sockets);
            index = Some(now);
        }
    }
}

/// Whoever is too slow loses what comes.
fn give(waiting: &Mutex<Waiting>, datagram: &[u8], from: SocketAddr) {
    let mut waiting = lock(waiting);
    let give = |to: &mpsc::Sender<Datagram>| to.try_send((datagram.to_vec(), from));
    if datagram.first() == Some(&b'd') {
        if let Some(dht) = &waiting.dht
            && let Err(TrySendError::Closed(_)) = give(dht)
        {
            waiting.dht = None;
        }
        return;
    }
    for (place, all) in &waiting.others {
        let heard = match place {
            Place::Addr(addr) => *addr == from,
            // Only the proxy knows where that is; what answers no question is passed over.
            Place::Name(_, port) => *port == from.port(),
        };
        if heard {
            all.iter().for_each(|(_, to)| drop(give(to)));
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn hub() -> UdpHub {
        UdpHub::new(Outlet::default(), Some(Ipv4Addr::LOCALHOST.into()), false, 0)
    }

    #[tokio::test]
    async fn what_comes_is_told_apart() {
        let (one, other) = (hub(), hub());
        assert_eq!((one.port(), one.families()), (0, [false, false]));
        one.open(None).expect("opened");
        other.open(None).expect("opened");
        let at = |hub: &UdpHub| Place::from(SocketAddr::from(([127, 0, 0, 1], hub.port())));
        let mut dht = other.dht();
        let mut talk = other.talk(at(&one));
        let elsewhere = Place::from(SocketAddr::from(([127, 0, 0, 1], 1)));
        let mut stranger = other.talk(elsewhere);
        for datagram in [&b"\0\0\0\0"[..], b"d1:ye", b"", b"\0\0\0\x01"] {
            one.send(&at(&other), datagram).expect("sent");
        }
        let (heard, from) = dht.recv().await.expect("it comes");
        assert_eq!((&heard[..], from.port()), (&b"d1:ye"[..], one.port()));
        for wanted in [&b"\0\0\0\0"[..], b"", b"\0\0\0\x01"] {
            assert_eq!(talk.receive().await.0, wanted);
        }
        assert!(stranger.heard.try_recv().is_err());
        drop((talk, stranger));
        assert!(lock(&other.0.waiting).others.is_empty());
    }

    #[test]
    fn whoever_does_not_listen_loses_what_comes() {
        let (hub, from) = (hub(), SocketAddr::from(([127, 0, 0, 1], 1)));
        let (dht, talk) = (hub.dht(), hub.talk(from.into()));
        for _ in 0..MAX_DATAGRAMS_WAITING + 9 {
            give(&hub.0.waiting, b"de", from);
            give(&hub.0.waiting, b"else", from);
        }
        assert_eq!([dht.len(), talk.heard.len()], [MAX_DATAGRAMS_WAITING; 2]);
    }

    #[tokio::test]
    async fn it_takes_another_port_unless_one_is_wanted() {
        let first = hub();
        first.open(None).expect("opened");
        first.open(Some(1)).expect("it is open");
        let second =
            UdpHub::new(Outlet::default(), Some(Ipv4Addr::LOCALHOST.into()), false, first.port());
        let error = second.open(Some(first.port())).expect_err("taken");
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        second.open(None).expect("another one");
        assert_ne!(first.port(), second.port());
    }
}
