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

/// Whether `url` leads to this host or a private network by what it says: a private address, or
/// the name `localhost`. Names that merely resolve to such an address
/// do not count here: see [`Reach::Public`].
pub fn is_local(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => {
            let name = name.strip_suffix('.').unwrap_or(name);
            name == "localhost" || name.ends_with(".localhost")
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
    ip.is_loopback() || ip.is_private() || ip.is_link_local() || ip.is_unspecified()
}

fn is_local_v6(ip: Ipv6Addr) -> bool {
    let unique_local = ip.segments()[0] & 0xfe00 == 0xfc00;
    let link_local = ip.segments()[0] & 0xffc0 == 0xfe80;
    ip.is_loopback() || ip.is_unspecified() || unique_local || link_local
}
