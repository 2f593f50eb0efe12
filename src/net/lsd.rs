//! Local service discovery over multicast sockets (BEP 14): carries announces, our own among them.
//!
//! What is announced, when, and whom we look at is in [`crate::lsd`].

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use socket2::{InterfaceIndexOrAddress, SockRef, Socket};
use tokio::net::UdpSocket;

use super::{sockets::Binding, udp::receive};
use crate::{
    base::{compact::canonical, limits::MAX_LSD_DATAGRAM},
    lsd::Announce,
};

const GROUP_V4: Ipv4Addr = Ipv4Addr::new(239, 192, 152, 143);
const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff15, 0, 0, 0, 0, 0, 0xefc0, 0x988f);
const PORT: u16 = 6771;

/// The families of addresses whose groups are joined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Groups {
    /// That of IPv4.
    pub v4: bool,
    /// That of IPv6.
    pub v6: bool,
}

/// By which interface, and from which addresses, we would send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    /// The number of the interface to which we are bound.
    index: Option<u32>,
    v4: Option<IpAddr>,
    v6: Option<IpAddr>,
}

impl Place {
    fn of(binding: &Binding) -> Self {
        Place { index: binding.index(), v4: binding.source_v4(), v6: binding.source_v6() }
    }
}

/// Sockets in the groups of one or both families, or of none while there is no multicast here.
#[derive(Debug)]
pub struct Lsd {
    binding: Binding,
    loopback: bool,
    groups: Groups,
    /// Where we were when the sockets were opened.
    place: Place,
    v4: Option<UdpSocket>,
    v6: Option<UdpSocket>,
}

impl Lsd {
    /// Joins groups: on the network to which `binding` leads, or if `loopback` among the programs of this host
    /// alone. Must be called inside a tokio runtime.
    pub fn join(binding: Binding, loopback: bool, groups: Groups) -> Self {
        let place = Place::of(&binding);
        let mut lsd = Lsd { binding, loopback, groups, place, v4: None, v6: None };
        lsd.follow();
        lsd
    }

    /// Joins on the network that is here now, if it is another one than before.
    fn follow(&mut self) {
        let place = Place::of(&self.binding);
        if place != self.place {
            (self.place, self.v4, self.v6) = (place, None, None);
        }
        if self.binding.interface().is_some() && self.place.index.is_none() {
            return;
        }
        if self.v4.is_none() && self.groups.v4 {
            self.v4 = self.open_v4().ok();
        }
        if self.v6.is_none() && self.groups.v6 {
            self.v6 = self.open_v6().ok();
        }
    }

    /// Announces to the groups. A network that does not take it is no loss.
    pub fn send(&mut self, announce: &Announce) {
        self.follow();
        let groups = [SocketAddr::from((GROUP_V4, PORT)), SocketAddr::from((GROUP_V6, PORT))];
        for (socket, group) in [&self.v4, &self.v6].into_iter().zip(groups) {
            if let Some(socket) = socket {
                let datagram = announce.encode(group.is_ipv6());
                let _ = SockRef::from(socket).send_to(&datagram, &group.into());
            }
        }
    }

    /// Waits for a datagram, and gives its sender.
    pub async fn receive(&self) -> (SocketAddr, Vec<u8>) {
        let mut buf = [0; MAX_LSD_DATAGRAM + 1];
        let (length, from) = receive([&self.v4, &self.v6], &mut buf).await;
        (canonical(from), buf[..length].to_vec())
    }

    fn open_v4(&self) -> io::Result<UdpSocket> {
        let socket = self.binding.udp_for_group((GROUP_V4, PORT).into())?;
        socket.bind(&SocketAddr::from((bound_to(GROUP_V4, Ipv4Addr::UNSPECIFIED), PORT)).into())?;
        self.enter_v4(&socket)?;
        socket.set_multicast_loop_v4(true)?;
        UdpSocket::from_std(socket.into())
    }

    fn enter_v4(&self, socket: &Socket) -> io::Result<()> {
        if let Some(index) = self.place.index {
            // What is sent goes there by itself.
            let interface = InterfaceIndexOrAddress::Index(index);
            return socket.join_multicast_v4_n(&GROUP_V4, &interface);
        }
        let interface = if self.loopback { Ipv4Addr::LOCALHOST } else { Ipv4Addr::UNSPECIFIED };
        socket.set_multicast_if_v4(&interface)?;
        socket.join_multicast_v4(&GROUP_V4, &interface)
    }

    fn open_v6(&self) -> io::Result<UdpSocket> {
        let socket = self.binding.udp_for_group((GROUP_V6, PORT).into())?;
        socket.bind(&SocketAddr::from((bound_to(GROUP_V6, Ipv6Addr::UNSPECIFIED), PORT)).into())?;
        self.enter_v6(&socket)?;
        socket.set_multicast_loop_v6(true)?;
        UdpSocket::from_std(socket.into())
    }

    fn enter_v6(&self, socket: &Socket) -> io::Result<()> {
        let interface = self.place.index.unwrap_or(0);
        if self.loopback {
            // Linux has no way to a group of IPv6 by the loopback interface. Without a hop it stays in this host,
            // whatever the interface.
            socket.set_multicast_hops_v6(0)?;
        }
        socket.set_multicast_if_v6(interface)?;
        socket.join_multicast_v6(&GROUP_V6, interface)
    }
}

/// Bound to the group nothing else comes in: no stranger can send to us alone, from a false address.
/// Windows binds to none.
fn bound_to<T>(group: T, any: T) -> T {
    if cfg!(windows) { any } else { group }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;
    use crate::{
        base::{hash::sha1, rng::Rng, time::Instant},
        lsd::Local,
    };

    #[tokio::test]
    async fn programs_of_one_host_hear_one_another_and_not_themselves() {
        let pair = |v4, v6| {
            [1, 2].map(|seed| {
                let lsd = Lsd::join(Binding::default(), true, Groups { v4, v6 });
                (lsd, Local::<()>::new(&mut Rng::new(seed)))
            })
        };
        hear_one_another(pair(true, false)).await;
        let by_ipv6 = pair(false, true);
        // A host without a network of IPv6 has no groups of it either.
        if by_ipv6[0].0.v6.is_some() {
            hear_one_another(by_ipv6).await;
        }
    }

    async fn hear_one_another(mut pair: [(Lsd, Local<()>); 2]) {
        let torrents = vec![sha1(b"what only this test announces")];
        let ports = [7_001, 7_002];
        for _ in 0..2 {
            for ((lsd, local), port) in pair.iter_mut().zip(ports) {
                lsd.send(&local.announce(port, torrents.clone()));
            }
            // Had there been no network at first, or another one, it is joined when it sends next.
            pair[0].0.place.v4 = Some(Ipv4Addr::new(192, 0, 2, 9).into());
        }
        for ((lsd, local), own) in pair.iter_mut().zip(ports) {
            for second in 0.. {
                // Other tests may be heard too, and are not to keep us from hearing more.
                let now = Instant::ZERO + Duration::from_secs(second);
                let received = timeout(Duration::from_secs(60), lsd.receive()).await;
                let (from, datagram) = received.expect("in time");
                let Some((addr, heard)) = local.hear(now, from, &datagram) else {
                    continue;
                };
                assert_ne!(addr.port(), own, "it hears itself");
                if ports.contains(&addr.port()) && heard == torrents {
                    break;
                }
            }
        }
    }
}
