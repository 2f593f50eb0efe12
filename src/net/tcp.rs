//! TCP as peers use it: dialling within a time limit, listening on both families, socket options.
//!
//! Who is dialled and how many at once is decided in `session`; what accepted connections say first
//! is read in [`accept`](super::accept).

use std::{
    io::{self, IoSlice},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead as _, AsyncWrite as _, ReadBuf},
    net::{TcpListener, TcpStream},
    time::timeout,
};

use super::{
    outlet::Outlet,
    sockets::{Binding, no_such_family},
    transport::Transport,
};

/// With port 0: how often we look for a number that is free in both families.
const PORT_ATTEMPTS: usize = 16;

impl Transport for TcpStream {
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut buf = ReadBuf::new(buf);
        Pin::new(self).poll_read(cx, &mut buf).map_ok(|()| buf.filled().len())
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(self).poll_write_vectored(cx, slices)
    }
}

/// Connects to `addr` by `outlet`, from the local address `from` if one is given and no proxy is between.
///
/// # Errors
/// What the system said; `TimedOut` after `limit`; `Unsupported` if `from` is of another family.
pub async fn dial(
    outlet: &Outlet,
    addr: SocketAddr,
    from: Option<IpAddr>,
    limit: Duration,
) -> io::Result<TcpStream> {
    if let Some(proxy) = outlet.proxy() {
        let place = addr.into();
        return timeout(limit, proxy.connect(&place)).await.map_err(|_| io::ErrorKind::TimedOut)?;
    }
    let socket = outlet.binding().tcp_towards(addr)?;
    if let Some(from) = from {
        if from.is_ipv4() != addr.is_ipv4() {
            return Err(io::ErrorKind::Unsupported.into());
        }
        socket.bind(SocketAddr::new(from, 0))?;
    }
    socket.set_nodelay(true)?;
    timeout(limit, socket.connect(addr)).await.map_err(|_| io::ErrorKind::TimedOut)?
}

/// Why there is no listening socket.
#[derive(Debug, thiserror::Error)]
#[error("could not listen on {addr}: {cause}")]
pub struct ListenError {
    /// Where we tried.
    pub addr: SocketAddr,
    /// What the system said.
    #[source]
    pub cause: io::Error,
}

impl ListenError {
    /// Another program has the port.
    pub fn is_in_use(&self) -> bool {
        self.cause.kind() == io::ErrorKind::AddrInUse
    }
}

/// Listening sockets, one per family, on the same port.
#[derive(Debug)]
pub struct Listeners {
    /// One or two sockets.
    pub sockets: Vec<TcpListener>,
    /// Their port.
    pub port: u16,
}

/// Listens on `addr`, or on all addresses of both families (IPv6 only if `ipv6`), on `port` or any
/// that is free.
///
/// Each family has a socket of its own, because one socket for both shows IPv4 peers under another
/// address and does not exist everywhere. A family that the system does not have is left out.
/// Must be called inside a tokio runtime.
///
/// # Errors
/// The port is taken, not permitted, or no family works.
pub fn listen(
    binding: &Binding,
    addr: Option<IpAddr>,
    ipv6: bool,
    port: u16,
) -> Result<Listeners, ListenError> {
    if let Some(addr) = addr {
        let (socket, port) = listen_on(binding, SocketAddr::new(addr, port))?;
        return Ok(Listeners { sockets: vec![socket], port });
    }
    let attempts = if port == 0 { PORT_ATTEMPTS } else { 1 };
    let mut last = None;
    for _ in 0..attempts {
        match listen_on_both(binding, ipv6, port) {
            Err(err) if err.is_in_use() => last = Some(err),
            done => return done,
        }
    }
    Err(last.expect("there was at least one attempt"))
}

fn listen_on_both(binding: &Binding, ipv6: bool, port: u16) -> Result<Listeners, ListenError> {
    let v4 = match listen_on(binding, (Ipv4Addr::UNSPECIFIED, port).into()) {
        Err(err) if ipv6 && no_such_family(&err.cause) => None,
        done => Some(done?),
    };
    let port = v4.as_ref().map_or(port, |(_, port)| *port);
    let v6 = match ipv6.then(|| listen_on(binding, (Ipv6Addr::UNSPECIFIED, port).into())) {
        Some(Err(err)) if v4.is_some() && no_such_family(&err.cause) => None,
        done => done.transpose()?,
    };
    let port = v6.as_ref().map_or(port, |(_, port)| *port);
    Ok(Listeners { sockets: [v4, v6].into_iter().flatten().map(|(s, _)| s).collect(), port })
}

fn listen_on(binding: &Binding, addr: SocketAddr) -> Result<(TcpListener, u16), ListenError> {
    let open = || {
        let listener = binding.tcp_listener(addr, false)?;
        let port = listener.local_addr()?.port();
        Ok((listener, port))
    };
    open().map_err(|cause| ListenError { addr, cause })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;

    const LIMIT: Duration = Duration::from_secs(8);

    #[tokio::test]
    async fn both_families_listen_on_one_port_and_carry_bytes() {
        let listeners = listen(&Binding::default(), None, true, 0).expect("a free port");
        let outlet = Outlet::default();
        let (v4, v6) = (IpAddr::from(Ipv4Addr::LOCALHOST), IpAddr::from(Ipv6Addr::LOCALHOST));
        assert!(!listeners.sockets.is_empty() && listeners.sockets.len() <= 2);
        for socket in &listeners.sockets {
            let ip = if socket.local_addr().expect("bound").is_ipv4() { v4 } else { v6 };
            let dialled = dial(&outlet, (ip, listeners.port).into(), Some(ip), LIMIT);
            let (dialled, accepted) = tokio::join!(dialled, socket.accept());
            let (mut ours, (mut theirs, from)) =
                (dialled.expect("ours"), accepted.expect("theirs"));
            assert_eq!(from.ip(), ip);
            assert!(ours.nodelay().expect("an option"));
            let slices = [IoSlice::new(b"hal"), IoSlice::new(b"lo")];
            let n = poll_fn(|cx| Transport::poll_write(&mut ours, cx, &slices)).await;
            assert_eq!(n.expect("written"), 5);
            drop(ours);
            let mut got = Vec::new();
            loop {
                let mut buf = [0; 3];
                let n = poll_fn(|cx| Transport::poll_read(&mut theirs, cx, &mut buf)).await;
                match n.expect("read") {
                    0 => break,
                    n => got.extend_from_slice(&buf[..n]),
                }
            }
            assert_eq!(got, b"hallo");
        }
    }

    #[tokio::test]
    async fn a_port_that_is_taken_says_so() {
        let first = listen(&Binding::default(), Some(Ipv4Addr::LOCALHOST.into()), true, 0)
            .expect("a free port");
        let err = listen(&Binding::default(), Some(Ipv4Addr::LOCALHOST.into()), true, first.port)
            .expect_err("taken");
        assert!(err.is_in_use(), "{err}");
        assert!(err.to_string().contains(&first.port.to_string()));
    }

    #[tokio::test]
    async fn nobody_there_is_refused_and_a_foreign_family_is_no_use() {
        let free = listen(&Binding::default(), Some(Ipv4Addr::LOCALHOST.into()), false, 0)
            .expect("a free port")
            .port;
        let (outlet, addr) = (Outlet::default(), (Ipv4Addr::LOCALHOST, free).into());
        let err = dial(&outlet, addr, None, LIMIT).await.expect_err("closed");
        assert_eq!(err.kind(), io::ErrorKind::ConnectionRefused);
        let err =
            dial(&outlet, addr, Some(Ipv6Addr::LOCALHOST.into()), LIMIT).await.expect_err("family");
        assert_eq!(err.kind(), io::ErrorKind::Unsupported);
    }
}
