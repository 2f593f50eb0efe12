//! What the system's files say of names: addresses in `/etc/hosts`, servers in `resolv.conf` (hosts(5),
//! resolv.conf(5)). They are read anew each time: a new connection brings new servers.

use std::{
    fs::File,
    io::Read as _,
    net::{IpAddr, SocketAddr},
};

use super::MAX_ADDRESSES;
use crate::base::limits::MAX_HOSTS_BYTES;

const PORT: u16 = 53;
/// As many as the system itself asks.
const MAX_SERVERS: usize = 3;
const SERVERS: &str = "/etc/resolv.conf";
/// The servers that systemd's own asks, which is the only one in the file above.
const BEHIND_SYSTEMD: &str = "/run/systemd/resolve/resolv.conf";

/// The addresses that this host itself has for `host`.
pub(super) fn hosts(host: &str) -> Vec<IpAddr> {
    hosts_in(&read("/etc/hosts"), host)
}

/// The servers of names, none of them on this host.
pub(super) fn servers() -> Vec<SocketAddr> {
    let servers = servers_in(&read(SERVERS));
    if servers.is_empty() { servers_in(&read(BEHIND_SYSTEMD)) } else { servers }
}

/// What is missing or not text says nothing.
fn read(path: &str) -> String {
    let mut text = String::new();
    let file = File::open(path);
    let _ = file.and_then(|file| file.take(MAX_HOSTS_BYTES).read_to_string(&mut text));
    text
}

fn hosts_in(text: &str, host: &str) -> Vec<IpAddr> {
    let host = host.strip_suffix('.').unwrap_or(host);
    let mut found = Vec::new();
    for line in text.lines() {
        let mut words = line.split('#').next().unwrap_or("").split_whitespace();
        let Some(ip) = words.next().and_then(|word| word.parse().ok()) else { continue };
        let named = words.any(|name| name.eq_ignore_ascii_case(host));
        if named && !found.contains(&ip) && found.len() < MAX_ADDRESSES {
            found.push(ip);
        }
    }
    found
}

fn servers_in(text: &str) -> Vec<SocketAddr> {
    text.lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            let server = words.next().filter(|word| *word == "nameserver").and(words.next())?;
            // A zone after it names an interface, and there is only one.
            server.split('%').next()?.parse::<IpAddr>().ok()
        })
        .filter(|ip| !ip.is_loopback() && !ip.is_unspecified())
        .take(MAX_SERVERS)
        .map(|ip| SocketAddr::new(ip, PORT))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_found_by_each_name() {
        let text = "# 192.0.2.9 t.example\n127.0.0.1\tlocalhost\n\
                    192.0.2.1 t.example Tracker # old\n2001:db8::1 tracker\nnonsense tracker\n";
        assert_eq!(hosts_in(text, "localhost").len(), 1);
        let both: Vec<IpAddr> =
            ["192.0.2.1", "2001:db8::1"].map(|ip| ip.parse().expect("ip")).into();
        assert_eq!(hosts_in(text, "TRACKER."), both);
        assert!(hosts_in(text, "old").is_empty() && hosts_in("", "x").is_empty());
    }

    #[test]
    fn servers_on_this_host_are_left_out() {
        let text = "search example\nnameserver 127.0.0.53\n nameserver 192.0.2.1\n\
                    nameserver fe80::1%eth0\nnameserver\n#nameserver 192.0.2.2\nnameserver x\n\
                    nameserver ::1\nnameserver 192.0.2.3\nnameserver 192.0.2.4\n";
        let all: Vec<String> = servers_in(text).iter().map(ToString::to_string).collect();
        assert_eq!(all, ["192.0.2.1:53", "[fe80::1]:53", "192.0.2.3:53"]);
    }
}
