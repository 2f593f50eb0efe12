//! Openings in a firewall for IPv6, where nothing is translated: who is asked for them, and what is open.

use std::net::Ipv6Addr;

const UP: u32 = 1;
const THROUGH_GATEWAY: u32 = 2;
const REJECT: u32 = 0x200;

/// What a gateway lets in to us over IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opened {
    /// Our address.
    pub ip: Ipv6Addr,
    /// Our port for peers, if it is open.
    pub tcp: Option<u16>,
    /// That of our node of the DHT, if it is open.
    pub udp: Option<u16>,
}

/// The default gateway of IPv6. Its address is one of the link, which says nothing without the interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatewayV6 {
    /// Its address.
    pub ip: Ipv6Addr,
    /// Where it is.
    pub interface: String,
}

impl GatewayV6 {
    /// Reads it from the kernel's table of routes as Linux writes it (`/proc/net/ipv6_route`); lines that make
    /// no sense are passed over. `None` if packets go into a tunnel, or nowhere.
    pub fn parse(table: &str) -> Option<Self> {
        let mut best: Option<(u32, Option<Self>)> = None;
        for line in table.lines() {
            let fields: Vec<&str> = line.split_whitespace().take(10).collect();
            let &[to, bits, _, _, gateway, metric, _, _, flags, interface] = &fields[..] else {
                continue;
            };
            let (Some(to), Some(ip)) = (addr(to), addr(gateway)) else { continue };
            let number = |digits| u32::from_str_radix(digits, 16).ok();
            let (Some(metric), Some(flags)) = (number(metric), number(flags)) else { continue };
            let is_default = to.is_unspecified() && bits == "00";
            if !is_default || flags & UP == 0 || flags & REJECT != 0 {
                continue;
            }
            if best.as_ref().is_none_or(|(least, _)| metric < *least) {
                let gateway = GatewayV6 { ip, interface: interface.to_owned() };
                best = Some((metric, (flags & THROUGH_GATEWAY != 0).then_some(gateway)));
            }
        }
        best.and_then(|(_, gateway)| gateway)
    }
}

/// Thirty-two digits in the order of the network.
fn addr(digits: &str) -> Option<Ipv6Addr> {
    (digits.len() == 32).then(|| u128::from_str_radix(digits, 16).ok().map(Ipv6Addr::from))?
}

/// Whether peers anywhere could reach `ip` (RFC 4291, section 2.4), were it not for a firewall.
pub fn is_global(ip: Ipv6Addr) -> bool {
    let [first, second, ..] = ip.segments();
    first & 0xe000 == 0x2000 && (first, second) != (0x2001, 0x0db8)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
fd000000000000000000000000000000 40 00000000000000000000000000000000 00 00000000000000000000000000000000 00000100 00000001 00000000 00000001     eth0
00000000000000000000000000000000 00 00000000000000000000000000000000 00 fe800000000000000000000000000002 00000400 00000001 00000000 00000003    wlan0
00000000000000000000000000000000 00 00000000000000000000000000000000 00 fe800000000000000000000000000001 00000064 00000001 00000000 00000003     eth0
00000000000000000000000000000000 00 00000000000000000000000000000000 00 00000000000000000000000000000000 ffffffff 00000001 00000000 00200200       lo
00000000000000000000000000000000 00 00000000000000000000000000000000 00 00000000000000000000000000000000 00000800 00000001 00000000 00000001     tun0
nonsense
";

    #[test]
    fn the_gateway_with_the_least_metric() {
        let gateway =
            GatewayV6 { ip: "fe80::1".parse().expect("valid"), interface: "eth0".to_owned() };
        assert_eq!(GatewayV6::parse(TABLE), Some(gateway));
        let behind = TABLE.replace("00000800", "00000001");
        assert_eq!(GatewayV6::parse(&behind), None, "a tunnel");
        for table in ["", "nonsense", &TABLE.replace("00000003", "00000002")] {
            assert_eq!(GatewayV6::parse(table), None, "{table}");
        }
    }

    #[test]
    fn only_addresses_of_the_world_are_worth_a_pinhole() {
        let global = |text: &str| is_global(text.parse().expect("valid"));
        for text in ["2001:470::1", "2a00::1", "3fff:ffff::1"] {
            assert!(global(text), "{text}");
        }
        for text in ["::", "::1", "fe80::1", "fd00::1", "ff02::1", "2001:db8::1", "::ffff:9.9.9.9"]
        {
            assert!(!global(text), "{text}");
        }
    }
}
