//! How a torrent calls a web seed where peers have an address.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// The network that nothing is sent to (RFC 6666).
const DISCARD: u16 = 0x0100;

/// Which web seed of a torrent, from 0.
///
/// Blocks, blame and connections of a torrent know their peer by its address. A web seed, of which the torrent
/// knows a URL, has one that no peer can have: in a network that leads nowhere, and with port 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WebSeedNumber(pub u16);

impl WebSeedNumber {
    /// What stands for its address.
    pub const fn addr(self) -> SocketAddr {
        SocketAddr::new(IpAddr::V6(Ipv6Addr::new(DISCARD, 0, 0, 0, 0, 0, 0, self.0)), 0)
    }

    /// The web seed that `addr` stands for; `None` for that of a peer.
    pub const fn of(addr: SocketAddr) -> Option<Self> {
        match addr {
            SocketAddr::V6(v6) if v6.port() == 0 => match v6.ip().segments() {
                [DISCARD, 0, 0, 0, 0, 0, 0, number] => Some(WebSeedNumber(number)),
                _ => None,
            },
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_peer_has_the_address_of_a_web_seed() {
        for number in [0, 1, u16::MAX] {
            assert_eq!(
                WebSeedNumber::of(WebSeedNumber(number).addr()),
                Some(WebSeedNumber(number))
            );
        }
        for addr in ["[100::1]:1", "[100:0:0:1::]:0", "[::1]:0", "1.2.3.4:0"] {
            assert_eq!(WebSeedNumber::of(addr.parse().expect("valid")), None, "{addr}");
        }
    }
}
