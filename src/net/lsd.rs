//! Local service discovery over multicast sockets (BEP 14): sends announces, and brings those of others.
//!
//! What is announced, and when, is `session`'s affair; the form of it is [`crate::wire::lsd`].

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
};

use socket2::{InterfaceIndexOrAddress, SockRef};
use tokio::net::UdpSocket;

use super::{sockets::Binding, udp::receive};
use crate::{
    base::{compact::canonical, limits::MAX_LSD_DATAGRAM, rng::Rng},
    wire::lsd::LsdAnnounce,
};

const GROUP_V4: Ipv4Addr = Ipv4Addr::new(239, 192, 152, 143);
const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff15, 0, 0, 0, 0, 0, 0xefc0, 0x988f);
const PORT: u16 = 6771;
/// The index of the loopback interface, where a system has it first.
const LOOPBACK_INDEX: u32 = 1;

/// Sockets in the groups of one or both families.
#[derive(Debug)]
pub struct Lsd {
    v4: Option<UdpSocket>,
    v6: Option<UdpSocket>,
    cookie: String,
}

impl Lsd {
    /// Joins the groups (that of IPv6 only if `ipv6`): on the network to which `binding` leads, or if
    /// `loopback` among the programs of this host alone. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// There is no multicast here.
    pub fn join(binding: &Binding, loopback: bool, ipv6: bool, rng: &mut Rng) -> io::Result<Self> {
        let v4 = join_v4(binding, loopback);
        let v6 = if ipv6 { join_v6(binding, loopback).ok() } else { None };
        let v4 = match v4 {
            Err(error) if v6.is_none() => return Err(error),
            joined => joined.ok(),
        };
        Ok(Lsd { v4, v6, cookie: format!("{:016x}", rng.next_u64()) })
    }

    /// Announces to both families. A network that does not take it is no loss.
    pub fn send(&self, mut announce: LsdAnnounce) {
        announce.cookie = Some(self.cookie.clone());
        let groups = [SocketAddr::from((GROUP_V4, PORT)), SocketAddr::from((GROUP_V6, PORT))];
        for (socket, group) in [&self.v4, &self.v6].into_iter().zip(groups) {
            if let Some(socket) = socket {
                let datagram = announce.encode(group.is_ipv6());
                let _ = SockRef::from(socket).send_to(&datagram, &group.into());
            }
        }
    }

    /// Waits for an announce of somebody else, and gives its sender.
    pub async fn receive(&self) -> (SocketAddr, LsdAnnounce) {
        let mut buf = [0; MAX_LSD_DATAGRAM + 1];
        loop {
            let (length, from) = receive([&self.v4, &self.v6], &mut buf).await;
            if let Some(announce) = LsdAnnounce::decode(&buf[..length])
                && announce.cookie.as_ref() != Some(&self.cookie)
            {
                return (canonical(from), announce);
            }
        }
    }
}

/// Bound to the group nothing else comes in: no stranger can send to us alone, from a false address.
/// Windows binds to none.
fn bound_to<T>(group: T, any: T) -> T {
    if cfg!(windows) { any } else { group }
}

fn join_v4(binding: &Binding, loopback: bool) -> io::Result<UdpSocket> {
    let socket = binding.udp_for_group((GROUP_V4, PORT).into())?;
    socket.bind(&SocketAddr::from((bound_to(GROUP_V4, Ipv4Addr::UNSPECIFIED), PORT)).into())?;
    match index(binding)? {
        // What is sent goes there by itself.
        Some(index) => {
            socket.join_multicast_v4_n(&GROUP_V4, &InterfaceIndexOrAddress::Index(index))?;
        }
        None => {
            let interface = if loopback { Ipv4Addr::LOCALHOST } else { Ipv4Addr::UNSPECIFIED };
            socket.join_multicast_v4(&GROUP_V4, &interface)?;
            socket.set_multicast_if_v4(&interface)?;
        }
    }
    socket.set_multicast_loop_v4(true)?;
    UdpSocket::from_std(socket.into())
}

fn join_v6(binding: &Binding, loopback: bool) -> io::Result<UdpSocket> {
    let interface = index(binding)?.unwrap_or(if loopback { LOOPBACK_INDEX } else { 0 });
    let socket = binding.udp_for_group((GROUP_V6, PORT).into())?;
    socket.bind(&SocketAddr::from((bound_to(GROUP_V6, Ipv6Addr::UNSPECIFIED), PORT)).into())?;
    socket.join_multicast_v6(&GROUP_V6, interface)?;
    socket.set_multicast_if_v6(interface)?;
    socket.set_multicast_loop_v6(true)?;
    UdpSocket::from_std(socket.into())
}

/// The number of the interface to which we are bound, if we are.
fn index(binding: &Binding) -> io::Result<Option<u32>> {
    match (binding.interface(), binding.index()) {
        (Some(_), None) => Err(rustix::io::Errno::NODEV.into()),
        (_, index) => Ok(index),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::hash::sha1;

    #[tokio::test]
    async fn programs_of_one_host_hear_one_another_and_not_themselves() {
        let (one, other) = (
            Lsd::join(&Binding::default(), true, false, &mut Rng::new(1)).expect("joined"),
            Lsd::join(&Binding::default(), true, false, &mut Rng::new(2)).expect("joined"),
        );
        let announce = |port| LsdAnnounce {
            port,
            info_hashes: vec![sha1(b"what only this test announces")],
            cookie: None,
        };
        one.send(announce(7_001));
        other.send(announce(7_002));
        for (lsd, port) in [(&one, 7_002), (&other, 7_001)] {
            loop {
                // Other tests may be heard too.
                let (_, heard) = lsd.receive().await;
                assert_ne!(heard.port, 14_003 - port, "it hears itself");
                if heard.port == port && heard.info_hashes == announce(0).info_hashes {
                    break;
                }
            }
        }
    }
}
