//! Datagrams by way of a SOCKS5 proxy (RFC 1928, section 7): the connection that keeps its relay, and what
//! passes it.
//!
//! While there is no relay nothing is sent; it is asked for again and again. How datagrams are wrapped is in
//! [`crate::proxy::socks`].

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use socket2::{SockRef, TcpKeepalive};
use tokio::{
    io::AsyncReadExt as _,
    net::UdpSocket,
    sync::watch,
    time::{sleep, timeout},
};

use super::{proxy::Proxy, sockets::Binding};
use crate::{
    base::limits::{MAX_PROXY_NAME, MAX_TRACKER_DATAGRAM},
    proxy::{Place, socks},
};

/// How long a proxy may take to give a relay.
const PATIENCE: Duration = Duration::from_secs(10);
/// Before it is asked again; doubles up to [`LONGEST_PAUSE`].
/// How long the proxy may be silent before the system asks whether it is there, and between two times.
const KEEPALIVE: Duration = Duration::from_secs(20);
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Of a datagram that passes the relay: its first four bytes, a name with its length, a port.
const MAX_HEADER: usize = 4 + 1 + MAX_PROXY_NAME + 2;

/// What there is of a relay.
#[derive(Debug, Clone)]
enum State {
    Asking,
    Open(Arc<UdpSocket>),
    /// Why there is none.
    Away(String),
}

/// A way for datagrams.
#[derive(Debug)]
pub(super) struct Relay {
    proxy: Arc<Proxy>,
    binding: Binding,
    state: watch::Sender<State>,
}

impl Relay {
    pub(super) fn new(proxy: Arc<Proxy>, binding: Binding) -> Self {
        Relay { proxy, binding, state: watch::Sender::new(State::Asking) }
    }

    /// Waits until it is known whether there is one.
    pub(super) async fn ready(&self) -> io::Result<()> {
        let mut state = self.state.subscribe();
        let known = state.wait_for(|state| !matches!(state, State::Asking)).await;
        match known.as_deref() {
            Ok(State::Away(why)) => Err(io::Error::other(why.clone())),
            _ => Ok(()),
        }
    }

    /// Sends a datagram, or loses it on its way.
    pub(super) fn send(&self, to: &Place, datagram: &[u8]) -> io::Result<()> {
        match &*self.state.borrow() {
            State::Open(socket) => {
                SockRef::from(&**socket).send(&socks::wrap(to, datagram)).map(drop)
            }
            State::Asking => Err(io::Error::other("the proxy has no relay for us yet")),
            State::Away(why) => Err(io::Error::other(why.clone())),
        }
    }

    /// Keeps a relay, and gives what comes by it, until the task is dropped.
    pub(super) async fn run(&self, give: impl Fn(&[u8], SocketAddr)) {
        let mut pause = FIRST_PAUSE;
        loop {
            let index = self.binding.index();
            let asked = timeout(PATIENCE, self.proxy.associate()).await;
            let why = match asked.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
                Ok((mut connection, relay)) => match self.binding.udp_towards(relay) {
                    Ok(socket) => {
                        let socket = Arc::new(socket);
                        self.state.send_replace(State::Open(socket.clone()));
                        pause = FIRST_PAUSE;
                        // A proxy that is gone without a word is noticed by the system.
                        let alive =
                            TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE);
                        let _ = SockRef::from(&connection).set_tcp_keepalive(&alive);
                        let mut said = [0; 64];
                        // It ends with its connection, on which nothing more is said.
                        tokio::select! {
                            () = receive(&socket, &give) => {}
                            () = async { while connection.read(&mut said).await.is_ok_and(|n| n > 0) {} } => {}
                            _ = self.binding.renewed(index) => {}
                        }
                        "the proxy has ended its relay for us".to_owned()
                    }
                    Err(error) => error.to_string(),
                },
                Err(error) => error.to_string(),
            };
            self.state.send_replace(State::Away(why));
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

async fn receive(socket: &UdpSocket, give: &impl Fn(&[u8], SocketAddr)) {
    let mut buf = vec![0; MAX_TRACKER_DATAGRAM + MAX_HEADER];
    loop {
        match socket.recv(&mut buf).await {
            Ok(length) => {
                // One who is named and not found is nobody whom we asked.
                if let Some((Place::Addr(from), datagram)) = socks::unwrap(&buf[..length]) {
                    give(datagram, from);
                }
            }
            // About what was sent before: nobody listens at the relay.
            Err(_) => tokio::task::yield_now().await,
        }
    }
}
