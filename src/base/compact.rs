//! Compact peer addresses: 6 bytes for IPv4 (BEP 23), 18 for IPv6 (BEP 7).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

/// Length of one compact IPv4 peer.
pub const V4_LEN: usize = 6;
/// Length of one compact IPv6 peer.
pub const V6_LEN: usize = 18;

/// The IPv4 peers in `bytes`; a part of one at the end is ignored.
pub fn v4_peers(bytes: &[u8]) -> impl Iterator<Item = SocketAddr> + '_ {
    bytes.chunks_exact(V4_LEN).map(|c| {
        let ip = Ipv4Addr::new(c[0], c[1], c[2], c[3]);
        SocketAddr::from((ip, u16::from_be_bytes([c[4], c[5]])))
    })
}

/// The IPv6 peers in `bytes`; a part of one at the end is ignored.
pub fn v6_peers(bytes: &[u8]) -> impl Iterator<Item = SocketAddr> + '_ {
    bytes.chunks_exact(V6_LEN).map(|c| {
        let mut ip = [0; 16];
        ip.copy_from_slice(&c[..16]);
        SocketAddr::from((Ipv6Addr::from(ip), u16::from_be_bytes([c[16], c[17]])))
    })
}

/// Appends `addr` to the list of its family.
pub fn push(addr: SocketAddr, v4: &mut Vec<u8>, v6: &mut Vec<u8>) {
    let (list, port) = match addr {
        SocketAddr::V4(a) => {
            v4.extend_from_slice(&a.ip().octets());
            (v4, a.port())
        }
        SocketAddr::V6(a) => {
            v6.extend_from_slice(&a.ip().octets());
            (v6, a.port())
        }
    };
    list.extend_from_slice(&port.to_be_bytes());
}

/// An IPv4 address written as IPv6 (`::ffff:a.b.c.d`), as dual-stack sockets show it, made IPv4.
pub fn canonical(addr: SocketAddr) -> SocketAddr {
    match addr {
        // An address of a link means nothing without its interface.
        SocketAddr::V6(v6) if v6.scope_id() != 0 => {
            SocketAddrV6::new(*v6.ip(), v6.port(), 0, v6.scope_id()).into()
        }
        _ => SocketAddr::new(addr.ip().to_canonical(), addr.port()),
    }
}

/// What counts as one address where places are bounded: for IPv6 a /64, which is what one customer gets.
pub fn network(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V6(ip) if !ip.is_loopback() => {
            let [a, b, c, d, ..] = ip.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        _ => ip,
    }
}

/// Whether an address belongs to a local network: nobody outside can have it, and many nodes may share
/// it (BEP 42, *Enforcement*; for IPv6 what corresponds to it).
pub fn is_local(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.is_private() || ip.is_link_local() || ip.is_loopback(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unicast_link_local() || ip.is_unique_local(),
    }
}

/// Whether `namer` may send us to `named`: what a stranger says of our own network leads nowhere he
/// may send us, and addresses of our network are none of his business.
pub fn may_name(namer: SocketAddr, named: SocketAddr) -> bool {
    is_local(namer.ip()) || !is_local(named.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_families_round_trip() {
        let addrs: Vec<SocketAddr> = ["1.2.3.4:5", "[2001:db8::1]:65535", "255.0.0.1:80"]
            .map(|a| a.parse().expect("valid"))
            .into();
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        addrs.iter().for_each(|&a| push(a, &mut v4, &mut v6));
        assert_eq!((v4.len(), v6.len()), (2 * V4_LEN, V6_LEN));
        v4.push(9);
        assert_eq!(v4_peers(&v4).collect::<Vec<_>>(), [addrs[0], addrs[2]]);
        assert_eq!(v6_peers(&v6).collect::<Vec<_>>(), [addrs[1]]);
    }

    #[test]
    fn an_address_of_a_link_keeps_its_interface_and_one_of_ipv4_is_written_so() {
        let link = SocketAddrV6::new("fe80::1".parse().expect("valid"), 5, 7, 2);
        assert_eq!(canonical(link.into()), SocketAddrV6::new(*link.ip(), 5, 0, 2).into());
        let mapped = "[::ffff:1.2.3.4]:5".parse().expect("valid");
        assert_eq!(canonical(mapped).to_string(), "1.2.3.4:5");
    }

    #[test]
    fn one_customer_counts_once() {
        let net = |ip: &str| network(ip.parse().expect("valid"));
        assert_eq!(net("2001:db8::1"), net("2001:db8::ffff:0:0:2"));
        assert_ne!(net("2001:db8::1"), net("2001:db8:0:1::1"));
        assert_ne!(net("1.2.3.4"), net("1.2.3.5"));
        assert!(net("::1").is_loopback());
    }

    #[test]
    fn mapped_addresses_become_v4() {
        let a: SocketAddr = "[::ffff:1.2.3.4]:5".parse().expect("valid");
        assert_eq!(canonical(a), "1.2.3.4:5".parse().expect("valid"));
    }
}
