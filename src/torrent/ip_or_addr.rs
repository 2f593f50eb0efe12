//! What a peer is known by when it comes again: for bans, and for how it stands.

use std::net::{IpAddr, SocketAddr};

use crate::base::{
    compact::{is_local, network},
    web_seed::WebSeedNumber,
};

/// What a peer is known by when it comes again: its address. Loopback peers share one: there only the port tells them
/// apart, and what stands for a web seed is one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum IpOrAddr {
    Ip(IpAddr),
    Addr(SocketAddr),
}

impl IpOrAddr {
    pub(super) fn of(addr: SocketAddr) -> Self {
        match addr.ip().is_loopback() || WebSeedNumber::of(addr).is_some() {
            true => IpOrAddr::Addr(addr),
            false => IpOrAddr::Ip(addr.ip()),
        }
    }

    /// The same, of the network that one customer gets: whoever has an IPv6 address has many others.
    pub(super) fn of_network(addr: SocketAddr) -> Self {
        match Self::of(addr) {
            IpOrAddr::Ip(ip) if !is_local(ip) => IpOrAddr::Ip(network(ip)),
            own => own,
        }
    }

    pub(super) fn is_in(self, whole: Self) -> bool {
        matches!((self, whole), (IpOrAddr::Ip(ip), IpOrAddr::Ip(whole)) if network(ip) == whole)
    }
}
