//! Into which networks a request may lead: what a stranger chose stays out of ours.
//!
//! Who chose an address is known to the caller; what a name leads to is looked at where it is looked up.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use url::{Host, Url};

/// Into which networks a request may lead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reach {
    /// Into every one: whoever chose the address may.
    Anywhere,
    /// Not to this host or a private network, by an address or by a name: a stranger chose.
    Public,
}

/// What a request that must stay in public networks is told.
pub(super) const INTO_PRIVATE: &str = "it leads into a private network";

/// Whether `url` leads to this host or a private network by what it says: a private address, or the name `localhost`.
/// Names that merely resolve to such an address do not count here: see [`Reach::Public`].
pub fn is_local(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => {
            let name = name.strip_suffix('.').unwrap_or(name);
            // In addresses of other schemes than those of the web a number is not told from a name.
            let ip = name.parse().map(IpAddr::V4).is_ok_and(is_local_ip);
            name == "localhost" || name.ends_with(".localhost") || ip
        }
        Some(Host::Ipv4(ip)) => is_local_ip(ip.into()),
        Some(Host::Ipv6(ip)) => is_local_ip(ip.into()),
        None => false,
    }
}

/// Whether an address is of this host or a private network.
pub(super) fn is_local_ip(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => is_local_v4(ip),
        IpAddr::V6(ip) => is_local_v6(ip),
    }
}

fn is_local_v4(ip: Ipv4Addr) -> bool {
    let [first, second, ..] = ip.octets();
    // Behind a gateway of the provider (RFC 6598), where private networks over the Internet are as well.
    let shared = first == 100 && second & 0xc0 == 64;
    ip.is_loopback() || ip.is_private() || ip.is_link_local() || first == 0 || shared
}

fn is_local_v6(ip: Ipv6Addr) -> bool {
    let [first, second, third, .., last_but_one, last] = ip.segments();
    let unique_local = first & 0xfe00 == 0xfc00;
    // And what was used for sites before there was the former.
    let link_or_site_local = first & 0xff80 == 0xfe80;
    let v4 = |high: u16, low: u16| {
        is_local_v4(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)))
    };
    // IPv4 by way of a translator (RFC 6052) or a tunnel (RFC 3056).
    let translated = (first, second) == (0x64, 0xff9b) && v4(last_but_one, last);
    let tunnelled = first == 0x2002 && v4(second, third);
    let own = ip.is_loopback() || ip.is_unspecified();
    own || unique_local || link_or_site_local || translated || tunnelled
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_leads_into_private_networks_is_known_by_its_address() {
        let leads = |text: &str| is_local(&Url::parse(text).expect("a URL"));
        for inside in [
            "http://127.0.0.1/",
            "http://0.0.0.1/",
            "http://10.1.2.3/",
            "http://100.100.100.200/",
            "http://169.254.169.254/",
            "http://[::1]/",
            "http://[::ffff:10.0.0.1]/",
            "http://[fd00::1]/",
            "http://[fe80::1]/",
            "http://[fec0::1]/",
            "http://[64:ff9b::10.0.0.1]/",
            "http://[2002:c0a8:101::1]/",
            "http://localhost:1/",
            "http://a.localhost./",
            "udp://192.168.1.5:6969/announce",
            "udp://localhost:1/",
        ] {
            assert!(leads(inside), "{inside}");
        }
        for outside in [
            "http://192.0.2.1/",
            "http://100.128.0.1/",
            "http://[2001:db8::1]/",
            "http://[64:ff9b::192.0.2.1]/",
            "http://[2002:c000:201::1]/",
            "http://a.example/",
            "udp://192.0.2.1:1/",
            "udp://10.example:1/",
        ] {
            assert!(!leads(outside), "{outside}");
        }
    }
}
