//! Who is near: the default gateway and the networks that we are in, from the kernel's table of routes as
//! Linux writes it (`/proc/net/route`).
//!
//! Elsewhere the table is empty: no gateway is known, and near is whoever has a local address.

use std::net::{IpAddr, Ipv4Addr};

use crate::base::compact::is_local;

const UP: u32 = 1;
const THROUGH_GATEWAY: u32 = 2;

/// The routes of IPv4.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Routes {
    /// Where packets go for which there is nothing better; `None` if that is not a gateway.
    pub gateway: Option<Ipv4Addr>,
    /// They go into a tunnel: the gateway next to us is not where strangers meet us.
    pub tunnel: bool,
    /// Networks without a gateway between, each with its mask.
    networks: Vec<(Ipv4Addr, Ipv4Addr)>,
}

impl Routes {
    /// Reads the table; lines that make no sense are passed over.
    pub fn parse(table: &str) -> Self {
        let mut routes = Routes::default();
        let mut least: Option<u32> = None;
        for line in table.lines() {
            let fields: Vec<&str> = line.split_whitespace().take(8).collect();
            let &[_, to, gateway, flags, _, _, metric, mask] = &fields[..] else { continue };
            let (Some(to), Some(gateway), Some(mask)) = (addr(to), addr(gateway), addr(mask))
            else {
                continue;
            };
            let flags = u32::from_str_radix(flags, 16).unwrap_or(0);
            let metric: u32 = metric.parse().unwrap_or(u32::MAX);
            if flags & UP == 0 {
                continue;
            }
            let through_gateway = flags & THROUGH_GATEWAY != 0;
            if !mask.is_unspecified() {
                // All the world behind a tunnel is not near.
                if !through_gateway {
                    routes.networks.push((to, mask));
                }
            } else if least.is_none_or(|least| metric < least) {
                routes.gateway = through_gateway.then_some(gateway);
                routes.tunnel = !through_gateway;
                least = Some(metric);
            }
        }
        routes
    }

    /// Whether `ip` is in a network that we are in.
    pub fn is_near(&self, ip: Ipv4Addr) -> bool {
        if self.networks.is_empty() {
            return is_local(IpAddr::V4(ip)) && !ip.is_loopback();
        }
        let within = |&(to, mask): &(Ipv4Addr, Ipv4Addr)| ip & mask == to;
        self.networks.iter().any(within)
    }
}

/// Eight digits, of which the kernel makes a number of its own byte order.
fn addr(digits: &str) -> Option<Ipv4Addr> {
    u32::from_str_radix(digits, 16).ok().map(|number| Ipv4Addr::from(number.to_ne_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
wlan0\t00000000\t0202A8C0\t0003\t0\t0\t600\t00000000\t0\t0\t0
eth0\t00000000\t0101A8C0\t0003\t0\t0\t100\t00000000\t0\t0\t0
eth1\t00000000\t0301A8C0\t0000\t0\t0\t1\t00000000\t0\t0\t0
eth0\t0001A8C0\t00000000\t0001\t0\t0\t100\t00FFFFFF\t0\t0\t0
tun0\t00000000\t00000000\t0001\t0\t0\t700\t00000000\t0\t0\t0
eth0\t0000000A\t0101A8C0\t0003\t0\t0\t100\t000000FF\t0\t0\t0
nonsense
";

    #[test]
    #[cfg(target_endian = "little")]
    fn the_gateway_with_the_least_metric_and_the_networks_next_to_us() {
        let routes = Routes::parse(TABLE);
        assert_eq!(routes.gateway, Some(Ipv4Addr::new(192, 168, 1, 1)));
        assert!(!routes.tunnel);
        let behind = Routes::parse(&TABLE.replace("\t700\t", "\t50\t"));
        assert_eq!((behind.gateway, behind.tunnel), (None, true));
        let near = |text: &str| routes.is_near(text.parse().expect("valid"));
        assert!(near("192.168.1.200"));
        assert!(!near("192.168.2.1") && !near("10.0.0.1") && !near("9.9.9.9"));
    }

    #[test]
    fn without_a_table_near_is_what_has_a_local_address() {
        let routes = Routes::parse("");
        assert_eq!(routes, Routes::default());
        let near = |text: &str| routes.is_near(text.parse().expect("valid"));
        assert!(near("192.168.1.1") && near("10.9.9.9"));
        assert!(!near("9.9.9.9") && !near("127.0.0.1"));
    }
}
