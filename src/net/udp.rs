//! The UDP sockets of the program: one for each address family, on one port, shared by everything that
//! speaks UDP to strangers.
//!
//! What the datagrams mean, and for whom they are, is in [`udp_hub`](super::udp_hub).

use std::{
    future::poll_fn,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::atomic::{AtomicBool, Ordering},
    task::Poll,
};

use socket2::SockRef;
use tokio::{io::ReadBuf, net::UdpSocket};

use super::sockets::{Binding, no_such_family};

/// Sockets of one or both families.
#[derive(Debug)]
pub struct UdpSockets {
    sockets: [Option<UdpSocket>; 2],
    /// The family that is listened to first next time: a flood of one does not silence the other.
    next: AtomicBool,
}

impl UdpSockets {
    /// Binds to `addr`, or to all addresses of both families (IPv6 only if `ipv6`), on `port` or any that
    /// is free. A family that the system does not have is left out. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// The port is taken, not permitted, or no family works.
    pub fn bind(
        binding: &Binding,
        addr: Option<IpAddr>,
        ipv6: bool,
        port: u16,
    ) -> io::Result<Self> {
        let bind = |addr| binding.udp(addr, false);
        let v4 = match addr {
            Some(IpAddr::V6(_)) => Err(io::ErrorKind::Unsupported.into()),
            Some(ip) => bind(SocketAddr::new(ip, port)),
            None => bind((Ipv4Addr::UNSPECIFIED, port).into()),
        };
        let same = v4.as_ref().ok().and_then(|socket| socket.local_addr().ok());
        let port = same.map_or(port, |addr| addr.port());
        let v6 = match addr {
            Some(IpAddr::V4(_)) => Err(io::ErrorKind::Unsupported.into()),
            Some(ip) => bind(SocketAddr::new(ip, port)),
            None if ipv6 => bind((Ipv6Addr::UNSPECIFIED, port).into()),
            None => Err(io::ErrorKind::Unsupported.into()),
        };
        // One that the system does not have is left out; one that is taken is not.
        let lacks = |error: &io::Error| no_such_family(error);
        match (v4, v6) {
            (Err(error), Err(other)) => Err(if lacks(&error) { other } else { error }),
            (Err(error), Ok(_)) | (Ok(_), Err(error)) if !lacks(&error) => Err(error),
            (v4, v6) => {
                Ok(UdpSockets { sockets: [v4.ok(), v6.ok()], next: AtomicBool::new(false) })
            }
        }
    }

    /// Whether there is a socket for IPv4, and for IPv6.
    pub fn families(&self) -> [bool; 2] {
        [self.sockets[0].is_some(), self.sockets[1].is_some()]
    }

    /// Their port.
    pub fn port(&self) -> u16 {
        let addrs = self.sockets.iter().flatten().filter_map(|socket| socket.local_addr().ok());
        addrs.map(|addr| addr.port()).next().unwrap_or(0)
    }

    /// Waits for a datagram; what does not fit into `buf` is lost. Errors that tell of datagrams sent
    /// before are skipped.
    pub async fn receive(&self, buf: &mut [u8]) -> (usize, SocketAddr) {
        let first = usize::from(self.next.fetch_xor(true, Ordering::Relaxed));
        receive([&self.sockets[first], &self.sockets[1 - first]], buf).await
    }

    /// Sends a datagram, or loses it on its way: whoever needs an answer asks again.
    ///
    /// # Errors
    /// It did not leave: there is no socket of that family, or no way there.
    pub fn send(&self, to: SocketAddr, datagram: &[u8]) -> io::Result<()> {
        let socket = self.sockets[usize::from(to.is_ipv6())].as_ref();
        let socket = socket.ok_or(io::ErrorKind::Unsupported)?;
        // Past the runtime, which takes a socket for full until it has looked at it once.
        SockRef::from(socket).send_to(datagram, &to.into()).map(drop)
    }
}

/// Waits for a datagram on any of these sockets, the first of them first.
pub(super) async fn receive(
    sockets: [&Option<UdpSocket>; 2],
    buf: &mut [u8],
) -> (usize, SocketAddr) {
    poll_fn(|cx| {
        for socket in sockets.into_iter().flatten() {
            let mut read = ReadBuf::new(buf);
            loop {
                match socket.poll_recv_from(cx, &mut read) {
                    Poll::Ready(Ok(from)) => return Poll::Ready((read.filled().len(), from)),
                    // About a datagram that we sent before.
                    Poll::Ready(Err(_)) => read.clear(),
                    Poll::Pending => break,
                }
            }
        }
        Poll::Pending
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn both_families_share_a_port_and_bring_what_comes() {
        let (one, other) = (
            UdpSockets::bind(&Binding::default(), None, true, 0).expect("bound"),
            UdpSockets::bind(&Binding::default(), Some(Ipv4Addr::LOCALHOST.into()), true, 0)
                .expect("bound"),
        );
        assert_eq!(other.families(), [true, false]);
        let to = SocketAddr::from((Ipv4Addr::LOCALHOST, one.port()));
        other.send(to, b"hello").expect("sent");
        let mut buf = [0; 16];
        let (length, from) = one.receive(&mut buf).await;
        assert_eq!((&buf[..length], from.port()), (&b"hello"[..], other.port()));
        other.send("[::1]:9".parse().expect("valid"), b"").expect_err("no socket for it");
    }

    #[tokio::test]
    async fn a_port_that_is_taken_is_an_error() {
        let localhost = Some(Ipv4Addr::LOCALHOST.into());
        let taken = UdpSockets::bind(&Binding::default(), localhost, false, 0).expect("bound");
        let error = UdpSockets::bind(&Binding::default(), localhost, false, taken.port())
            .expect_err("taken");
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    }
}
