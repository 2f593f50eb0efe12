//! Asks the default gateway by PCP and by NAT-PMP, which share a port.
//!
//! A question is sent three times; what is no answer to it is passed over.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddrV4},
    time::Duration,
};

use tokio::{
    net::UdpSocket,
    time::{Instant, timeout_at},
};

use super::{Binding, Port, Trouble, towards};
use crate::{
    base::limits::MAX_GATEWAY_DATAGRAM,
    gateway::{Granted, LIFETIME, Refusal, is_public, nat_pmp, pcp::Request},
};

/// Where gateways listen (RFC 6887, section 19; RFC 6886, section 3.1).
pub(super) const PORT: u16 = 5351;
/// How long an answer may take before the question is sent again: it comes from next door (RFC 6886,
/// section 3.1).
const PATIENCE: [Duration; 3] =
    [Duration::from_millis(250), Duration::from_millis(500), Duration::from_millis(1_000)];

/// Asks for a mapping, and the address outside.
pub(super) async fn open_by_pcp(
    binding: &Binding,
    addr: SocketAddrV4,
    port: Port,
    nonce: [u8; 12],
) -> Result<(Granted, Ipv4Addr), Trouble> {
    map_by_pcp(binding, addr, port, LIFETIME, nonce).await
}

/// Takes a mapping back.
pub(super) async fn close_by_pcp(
    binding: &Binding,
    addr: SocketAddrV4,
    port: Port,
    nonce: [u8; 12],
) -> Result<(), Trouble> {
    closed(map_by_pcp(binding, addr, port, Duration::ZERO, nonce).await)
}

async fn map_by_pcp(
    binding: &Binding,
    addr: SocketAddrV4,
    port: Port,
    lifetime: Duration,
    nonce: [u8; 12],
) -> Result<(Granted, Ipv4Addr), Trouble> {
    let (socket, client) = towards(binding, addr)?;
    match map(&socket, client.into(), port, lifetime, nonce).await? {
        (granted, IpAddr::V4(ip)) => Ok((granted, ip)),
        (_, IpAddr::V6(_)) => Err(Trouble::Refused(Refusal::Nonsense)),
    }
}

/// Asks by PCP for a mapping of `port` at `client`, which `socket` sends from; for no time at all for its end.
pub(super) async fn map(
    socket: &UdpSocket,
    client: IpAddr,
    port: Port,
    lifetime: Duration,
    nonce: [u8; 12],
) -> Result<(Granted, IpAddr), Trouble> {
    let Port { transport, inside, .. } = port;
    let outside = if lifetime.is_zero() { 0 } else { port.wish() };
    let request = Request { transport, client, port: inside, outside, lifetime, nonce };
    ask(socket, &request.encode(), |datagram| request.read(datagram)).await
}

/// Asks for the address outside.
pub(super) async fn external_address(
    binding: &Binding,
    addr: SocketAddrV4,
) -> Result<Ipv4Addr, Trouble> {
    let (socket, _) = towards(binding, addr)?;
    let ip = ask(&socket, &nat_pmp::ADDRESS_REQUEST, nat_pmp::read_address).await?;
    if is_public(ip) { Ok(ip) } else { Err(Trouble::Refused(Refusal::Nonsense)) }
}

/// Asks for a mapping.
pub(super) async fn open_by_nat_pmp(
    binding: &Binding,
    addr: SocketAddrV4,
    port: Port,
) -> Result<Granted, Trouble> {
    map_by_nat_pmp(binding, addr, port, LIFETIME).await
}

/// Takes a mapping back.
pub(super) async fn close_by_nat_pmp(
    binding: &Binding,
    addr: SocketAddrV4,
    port: Port,
) -> Result<(), Trouble> {
    closed(map_by_nat_pmp(binding, addr, port, Duration::ZERO).await)
}

async fn map_by_nat_pmp(
    binding: &Binding,
    addr: SocketAddrV4,
    port: Port,
    lifetime: Duration,
) -> Result<Granted, Trouble> {
    let (socket, _) = towards(binding, addr)?;
    let outside = if lifetime.is_zero() { 0 } else { port.wish() };
    let request =
        nat_pmp::Request { transport: port.transport, port: port.inside, outside, lifetime };
    ask(&socket, &request.encode(), |datagram| request.read(datagram)).await
}

/// A mapping for no time at all, which else makes no sense, is its end.
pub(super) fn closed<T>(answer: Result<T, Trouble>) -> Result<(), Trouble> {
    match answer {
        Ok(_) | Err(Trouble::Refused(Refusal::Nonsense)) => Ok(()),
        Err(trouble) => Err(trouble),
    }
}

async fn ask<T>(
    socket: &UdpSocket,
    question: &[u8],
    read: impl Fn(&[u8]) -> Option<Result<T, Refusal>>,
) -> Result<T, Trouble> {
    let mut buf = [0; MAX_GATEWAY_DATAGRAM];
    for patience in PATIENCE {
        socket.send(question).await?;
        let deadline = Instant::now() + patience;
        while let Ok(received) = timeout_at(deadline, socket.recv(&mut buf)).await {
            // Nobody listens there.
            let length = received?;
            if let Some(answer) = read(&buf[..length]) {
                return answer.map_err(Trouble::Refused);
            }
        }
    }
    Err(Trouble::Silent)
}
