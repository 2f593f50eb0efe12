//! The one place where sockets are opened, so that none goes by another way than the user allows.
//!
//! A [`Binding`] names the network interface by which everything goes. It is kept by the kernel
//! (`SO_BINDTODEVICE`): while the interface is away there is no socket to be had and nothing is sent, whatever
//! the routes say. Systems without that refuse the binding; nothing is bound to a mere address, which says
//! where a packet seems to come from and not where it goes. What is said over the sockets is for others;
//! `tests/architecture.rs` sees to it that nobody else opens any.

use std::{
    io,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use tokio::{
    net::{TcpListener, TcpSocket, UdpSocket},
    time::sleep,
};

/// How often we look whether the interface was made anew.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// Bytes of an interface's name (IFNAMSIZ less its end).
#[cfg(target_os = "linux")]
const MAX_NAME: usize = 15;
/// Connections that the system may hold ready for us while we are busy.
const BACKLOG: i32 = 256;

/// Why nothing can be bound to an interface.
#[derive(Debug, thiserror::Error)]
pub enum BindingError {
    /// It is not there.
    #[error("there is no network interface `{interface}`")]
    NoInterface {
        /// Its name.
        interface: String,
    },
    /// The system does not let us.
    #[error("could not bind to the network interface `{interface}`: {cause}")]
    Refused {
        /// Its name.
        interface: String,
        /// What the system said.
        cause: io::Error,
    },
}

/// By which network interface everything goes. Copies are the same; the default leaves it to the system.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Binding {
    interface: Option<Arc<str>>,
}

impl Binding {
    /// By the interface of that name alone.
    ///
    /// # Errors
    /// It is not there, or the system binds nothing to interfaces.
    pub fn to_interface(interface: &str) -> Result<Self, BindingError> {
        let binding = Binding { interface: Some(interface.into()) };
        let any = SocketAddr::from(([0, 0, 0, 0], 0));
        match binding.open(any, Type::DGRAM, Protocol::UDP) {
            Ok(_) => Ok(binding),
            Err(error) if is_missing(&error) => {
                Err(BindingError::NoInterface { interface: interface.to_owned() })
            }
            Err(cause) => Err(BindingError::Refused { interface: interface.to_owned(), cause }),
        }
    }

    /// Its name, if there is one.
    pub fn interface(&self) -> Option<&str> {
        self.interface.as_deref()
    }

    /// Its number, which is another one after it was taken away and made again; `None` without one.
    #[cfg(target_os = "linux")]
    pub fn index(&self) -> Option<u32> {
        let any = SocketAddr::from(([0, 0, 0, 0], 0));
        let socket = Binding::default().open(any, Type::DGRAM, Protocol::UDP).ok()?;
        rustix::net::netdevice::name_to_index(&socket, self.interface()?).ok()
    }

    /// Elsewhere nothing is bound to any.
    #[cfg(not(target_os = "linux"))]
    pub const fn index(&self) -> Option<u32> {
        None
    }

    /// Waits until the interface has another number than `index`: what was bound to it before is of no use any
    /// more. For ever, if there is none.
    pub async fn renewed(&self, index: Option<u32>) -> u32 {
        if self.interface.is_none() {
            return std::future::pending().await;
        }
        loop {
            sleep(LOOK_EVERY).await;
            if let Some(now) = self.index().filter(|now| Some(*now) != index) {
                return now;
            }
        }
    }

    /// A socket for connecting to `addr`, to be used inside a tokio runtime.
    pub(super) fn tcp_towards(&self, addr: SocketAddr) -> io::Result<TcpSocket> {
        let socket = self.open(addr, Type::STREAM, Protocol::TCP)?;
        Ok(TcpSocket::from_std_stream(socket.into()))
    }

    /// A socket that listens at `addr`; one of IPv6 takes IPv4 as well if it is `dual`. Must be called
    /// inside a tokio runtime.
    pub(super) fn tcp_listener(&self, addr: SocketAddr, dual: bool) -> io::Result<TcpListener> {
        let socket = self.open(addr, Type::STREAM, Protocol::TCP)?;
        if addr.is_ipv6() {
            socket.set_only_v6(!dual)?;
        }
        // So that a restart need not wait for connections of the last run to time out.
        #[cfg(unix)]
        socket.set_reuse_address(true)?;
        socket.bind(&addr.into())?;
        socket.listen(BACKLOG)?;
        TcpListener::from_std(socket.into())
    }

    /// A socket for datagrams at `addr`, `dual` as above. Must be called inside a tokio runtime.
    pub(super) fn udp(&self, addr: SocketAddr, dual: bool) -> io::Result<UdpSocket> {
        let socket = self.open(addr, Type::DGRAM, Protocol::UDP)?;
        if addr.is_ipv6() {
            socket.set_only_v6(!dual)?;
        }
        socket.bind(&addr.into())?;
        UdpSocket::from_std(socket.into())
    }

    /// A socket for datagrams to and from `addr` alone. Must be called inside a tokio runtime.
    pub(super) fn udp_towards(&self, addr: SocketAddr) -> io::Result<UdpSocket> {
        let socket = self.open(addr, Type::DGRAM, Protocol::UDP)?;
        socket.connect(&SockAddr::from(addr))?;
        UdpSocket::from_std(socket.into())
    }

    /// A socket for datagrams between `from` and `to` alone. Must be called inside a tokio runtime.
    pub(super) fn udp_between(&self, from: SocketAddr, to: SocketAddr) -> io::Result<UdpSocket> {
        let socket = self.open(to, Type::DGRAM, Protocol::UDP)?;
        socket.bind(&from.into())?;
        socket.connect(&to.into())?;
        UdpSocket::from_std(socket.into())
    }

    /// The address from which we would send to `addr`; `None` if there is no way to it. Nothing is sent:
    /// connecting a socket for datagrams only looks up the route.
    pub fn source(&self, addr: SocketAddr) -> Option<IpAddr> {
        let socket = self.open(addr, Type::DGRAM, Protocol::UDP).ok()?;
        socket.connect(&SockAddr::from(addr)).ok()?;
        socket.local_addr().ok()?.as_socket().map(|addr| addr.ip())
    }

    /// The address by which we reach others over IPv4; asked of an address of documentation (RFC 5737).
    pub fn source_v4(&self) -> Option<IpAddr> {
        self.source(([192, 0, 2, 1], 9).into()).filter(|ip| !ip.is_unspecified())
    }

    /// The same over IPv6 (RFC 3849).
    pub fn source_v6(&self) -> Option<IpAddr> {
        let addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
        self.source((addr, 9).into()).filter(|ip| !ip.is_unspecified())
    }

    /// A socket for the datagrams of a group, shared with other programs: not bound to an address yet.
    pub(super) fn udp_for_group(&self, group: SocketAddr) -> io::Result<Socket> {
        let socket = self.open(group, Type::DGRAM, Protocol::UDP)?;
        socket.set_reuse_address(true)?;
        #[cfg(unix)]
        socket.set_reuse_port(true)?;
        if group.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        Ok(socket)
    }

    fn open(&self, addr: SocketAddr, kind: Type, protocol: Protocol) -> io::Result<Socket> {
        let socket = Socket::new(Domain::for_address(addr), kind, Some(protocol))?;
        socket.set_nonblocking(true)?;
        if let Some(interface) = &self.interface {
            bind(&socket, interface)?;
        }
        Ok(socket)
    }
}

/// The number of the interface of that name.
pub(super) fn index_of(interface: &str) -> Option<u32> {
    Binding { interface: Some(interface.into()) }.index()
}

#[cfg(target_os = "linux")]
fn bind(socket: &Socket, interface: &str) -> io::Result<()> {
    // An empty name would undo the binding, one with a zero in it would be another, and a longer one the
    // system would cut off, which may name another.
    if interface.is_empty() || interface.len() > MAX_NAME || interface.contains('\0') {
        return Err(rustix::io::Errno::NODEV.into());
    }
    socket.bind_device(Some(interface.as_bytes()))
}

#[cfg(not(target_os = "linux"))]
fn bind(_: &Socket, _: &str) -> io::Result<()> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "this system binds no socket to an interface"))
}

fn is_missing(error: &io::Error) -> bool {
    use rustix::io::Errno;
    Errno::from_io_error(error) == Some(Errno::NODEV)
}

/// Whether the system has not got that address family.
pub(super) fn no_such_family(err: &io::Error) -> bool {
    use io::ErrorKind::{AddrNotAvailable, Unsupported};
    matches!(err.kind(), AddrNotAvailable | Unsupported)
        || err.raw_os_error() == Some(rustix::io::Errno::AFNOSUPPORT.raw_os_error())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use socket2::SockRef;

    #[test]
    fn an_interface_that_is_not_there_is_refused() {
        for name in ["", "no-such-if", "a name that is too long for any interface", "lo\0"] {
            let error = Binding::to_interface(name).expect_err(name);
            assert!(matches!(error, BindingError::NoInterface { .. }), "{error}");
        }
        assert_eq!(Binding::default().index(), None);
    }

    #[tokio::test]
    async fn every_kind_of_socket_is_bound() {
        let binding = Binding::to_interface("lo").expect("everybody has it");
        assert!(binding.index().is_some());
        let near = binding.udp(([127, 0, 0, 1], 0).into(), false).expect("bound");
        let far = binding.udp_towards(near.local_addr().expect("bound")).expect("connected");
        far.send(b"hello").await.expect("sent");
        let mut buf = [0; 9];
        assert_eq!(near.recv(&mut buf).await.expect("received"), 5);
        let local = SocketAddr::from(([127, 0, 0, 1], 0));
        let device = |socket: SockRef<'_>| socket.device().expect("an option");
        let tcp = binding.tcp_towards(local).expect("a socket");
        let listener = binding.tcp_listener(local, false).expect("listening");
        let group = binding.udp_for_group(local).expect("a socket");
        let bound = [device((&near).into()), device((&far).into()), device((&tcp).into())];
        assert!(bound.iter().all(|name| name.as_deref() == Some(b"lo")), "{bound:?}");
        let bound = [device((&listener).into()), device((&group).into())];
        assert!(bound.iter().all(|name| name.as_deref() == Some(b"lo")), "{bound:?}");
    }
}
