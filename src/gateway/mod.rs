//! What a gateway is asked so that peers outside reach us, and what of its answers is believed.
//!
//! Pure. One protocol a file: [`pcp`] (RFC 6887), [`nat_pmp`] (RFC 6886), [`igd`] (UPnP's Internet Gateway
//! Device); who is near is in [`routes`], when a mapping is asked for again in [`upkeep`]. Sockets are in
//! [`crate::net::port_mapping`].
//!
//! Mappings are those of IPv4; for IPv6 there are openings in a firewall ([`pinhole`]). Not here: the
//! gateways' own announcements that they have begun anew (we ask often enough to find out).

pub mod igd;
pub mod nat_pmp;
pub mod pcp;
pub mod pinhole;
pub mod routes;
pub mod upkeep;

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use crate::base::compact::is_local;

/// What a mapping is good for when nobody renews it: what we ask for.
pub const LIFETIME: Duration = Duration::from_secs(60 * 60);

/// What carries the bytes that are let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// For peers.
    Tcp,
    /// For nodes of the DHT.
    Udp,
}

/// By what a gateway was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Port Control Protocol (RFC 6887).
    Pcp,
    /// NAT Port Mapping Protocol (RFC 6886).
    NatPmp,
    /// Universal Plug and Play, Internet Gateway Device.
    Upnp,
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Method::Pcp => "PCP",
            Method::NatPmp => "NAT-PMP",
            Method::Upnp => "UPnP",
        })
    }
}

/// Where we are reached from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mapped {
    /// The gateway's address, a public one.
    pub ip: Ipv4Addr,
    /// The port that leads to our port for peers; not 0.
    pub tcp: Option<u16>,
    /// The port that leads to our node of the DHT; not 0.
    pub udp: Option<u16>,
    /// Who says so.
    pub by: Method,
}

/// A mapping as a gateway grants it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Granted {
    /// The port outside; not 0.
    pub port: u16,
    /// For how long; not zero.
    pub lifetime: Duration,
}

/// Why there is no mapping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// It speaks another version of the protocol, or another protocol.
    Version,
    /// It says no, with this code.
    Code(u16),
    /// It grants what nobody can have, such as port 0.
    Nonsense,
}

/// Whether peers anywhere can reach `ip`. Behind another gateway ours has an address that they cannot, and
/// a mapping there leads nowhere.
pub fn is_public(ip: Ipv4Addr) -> bool {
    let [a, b, ..] = ip.octets();
    let shared = a == 100 && (64..128).contains(&b);
    let reserved = a == 0 || a >= 224 || ip.is_documentation();
    !is_local(IpAddr::V4(ip)) && !shared && !reserved
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_that_anybody_can_reach_are_believed() {
        let public = |text: &str| is_public(text.parse().expect("valid"));
        for text in ["9.9.9.9", "100.63.0.1", "100.128.0.1", "223.255.255.254", "172.32.0.1"] {
            assert!(public(text), "{text}");
        }
        for text in [
            "0.0.0.0",
            "0.1.2.3",
            "10.1.1.1",
            "100.64.0.1",
            "127.0.0.1",
            "169.254.0.1",
            "172.16.0.1",
            "192.0.2.1",
            "192.168.1.1",
            "224.0.0.1",
            "255.255.255.255",
        ] {
            assert!(!public(text), "{text}");
        }
    }
}
