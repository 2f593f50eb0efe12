//! A host and a port as people and torrents write them: `example.org:80`, `[::1]:6881`.
//!
//! Only syntax: nothing is looked up, and whether we may go there is decided elsewhere.

use std::{fmt, net::Ipv6Addr, str::FromStr};

/// A name or address, and a port.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HostPort {
    /// A host name or an address; an IPv6 address stands without brackets.
    pub host: String,
    /// The port; 0 only where any that is free will do.
    pub port: u16,
}

/// Text that is not a host and a port.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not an address: write HOST:PORT, an IPv6 host in brackets")]
pub struct HostPortError {
    text: String,
}

impl HostPort {
    /// `None` when the host is no name or address, or the port is 0.
    pub fn new(host: &str, port: u16) -> Option<Self> {
        let name = !host.is_empty()
            && host.len() <= 253
            && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b));
        let valid = name || host.parse::<Ipv6Addr>().is_ok();
        (valid && port != 0).then(|| HostPort { host: host.to_owned(), port })
    }
}

impl FromStr for HostPort {
    type Err = HostPortError;

    fn from_str(text: &str) -> Result<Self, HostPortError> {
        let parse = || {
            let (host, port) = text.rsplit_once(':')?;
            let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
            // A colon in a bare host is an IPv6 address whose end looks like a port.
            let host = bare.or((!host.contains(':')).then_some(host))?;
            HostPort::new(host, port.parse().ok()?)
        };
        parse().ok_or_else(|| HostPortError { text: text.chars().take(80).collect() })
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_names_and_both_families() {
        for text in ["a.example.org:80", "127.0.0.1:6881", "[2001:db8::1]:65535", "my_host:1"] {
            assert_eq!(text.parse::<HostPort>().expect(text).to_string(), text);
        }
    }

    #[test]
    fn refuses_the_rest() {
        for text in ["", "host", "host:", ":80", "host:0", "host:65536", "::1:80", "[::1]", "a b:1"]
        {
            assert!(text.parse::<HostPort>().is_err(), "{text}");
        }
    }
}
