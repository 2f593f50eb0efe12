//! Proxies as values and bytes: what a user names, what is said to one, and what it answers.
//!
//! Pure. [`socks`] is SOCKS5 (RFC 1928, RFC 1929) for connections and datagrams, [`http_connect`] is the
//! tunnel of HTTP (RFC 9110, section 9.3.6). Sockets are in `net/proxy.rs`.

pub mod http_connect;
pub mod socks;

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    str::FromStr,
};

use percent_encoding::percent_decode_str;
use url::{Host, Url};

use crate::base::limits::MAX_PROXY_NAME;

/// What a proxy speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// SOCKS5, which carries connections and datagrams.
    Socks5,
    /// HTTP, which carries connections.
    Http,
}

/// By which a proxy knows its users.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The name, 1 to 255 bytes.
    pub user: String,
    /// The password, at most 255 bytes.
    pub password: String,
}

/// The secret is not for logs.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").finish_non_exhaustive()
    }
}

/// A proxy as a user names it: `socks5://[user:password@]host[:port]` or `http://…`. Its text has no
/// credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProxyAddress {
    /// What it speaks.
    pub scheme: Scheme,
    /// A name or an address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Who we are to it.
    pub credentials: Option<Credentials>,
}

/// Why a text names no proxy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProxyAddressError {
    /// The form of it.
    #[error(
        "a proxy is named as socks5://HOST:PORT or http://HOST:PORT, with USER:PASSWORD@ before the host if it wants them"
    )]
    Form,
    /// What it speaks.
    #[error("`{0}` is no kind of proxy that is known: socks5 and http are")]
    Scheme(String),
    /// Who we are to it.
    #[error("a user's name or password is longer than 255 bytes, empty, or no text")]
    Credentials,
}

impl FromStr for ProxyAddress {
    type Err = ProxyAddressError;

    fn from_str(text: &str) -> Result<Self, ProxyAddressError> {
        let (scheme, _) = text.split_once("://").ok_or(ProxyAddressError::Form)?;
        let (scheme, usual) = match &*scheme.to_ascii_lowercase() {
            // The second is what others call it when names are looked up by the proxy, as they are here always.
            "socks5" | "socks5h" => (Scheme::Socks5, 1080),
            "http" => (Scheme::Http, 8080),
            other => return Err(ProxyAddressError::Scheme(other.to_owned())),
        };
        // Its own scheme has a port of its own, which would not be told from none.
        let (_, rest) = text.split_once("://").ok_or(ProxyAddressError::Form)?;
        let url = Url::parse(&format!("proxy://{rest}")).map_err(|_| ProxyAddressError::Form)?;
        let empty = matches!(url.path(), "" | "/");
        if !empty || url.query().is_some() || url.fragment().is_some() {
            return Err(ProxyAddressError::Form);
        }
        let host = match url.host() {
            Some(Host::Domain(name)) if !name.is_empty() => name.to_owned(),
            Some(Host::Ipv4(ip)) => ip.to_string(),
            Some(Host::Ipv6(ip)) => ip.to_string(),
            _ => return Err(ProxyAddressError::Form),
        };
        if host.len() > MAX_PROXY_NAME {
            return Err(ProxyAddressError::Form);
        }
        let port = url.port().unwrap_or(usual);
        if port == 0 {
            return Err(ProxyAddressError::Form);
        }
        let credentials = match (url.username(), url.password()) {
            ("", None) => None,
            (user, password) => Some(credentials(user, password.unwrap_or(""))?),
        };
        Ok(ProxyAddress { scheme, host, port, credentials })
    }
}

fn credentials(user: &str, password: &str) -> Result<Credentials, ProxyAddressError> {
    let plain = |text| percent_decode_str(text).decode_utf8().map(|text| text.into_owned());
    let (Ok(user), Ok(password)) = (plain(user), plain(password)) else {
        return Err(ProxyAddressError::Credentials);
    };
    let fits = |text: &str| text.len() <= MAX_PROXY_NAME;
    match !user.is_empty() && fits(&user) && fits(&password) {
        true => Ok(Credentials { user, password }),
        false => Err(ProxyAddressError::Credentials),
    }
}

impl fmt::Display for ProxyAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.scheme {
            Scheme::Socks5 => "socks5",
            Scheme::Http => "http",
        };
        match self.host.contains(':') {
            true => write!(f, "{scheme}://[{}]:{}", self.host, self.port),
            false => write!(f, "{scheme}://{}:{}", self.host, self.port),
        }
    }
}

/// Where something is to go, or where it came from, as a proxy is told it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Place {
    /// An address.
    Addr(SocketAddr),
    /// A name of 1 to 255 bytes, which the proxy looks up, and a port.
    Name(String, u16),
}

impl Place {
    /// A host in text form and a port; `None` if no proxy takes so long a name, or such a one.
    pub fn of(host: &str, port: u16) -> Option<Self> {
        if let Ok(ip) = host.parse::<IpAddr>() {
            return Some(Place::Addr(SocketAddr::new(ip, port)));
        }
        let is_name =
            host.bytes().all(|byte| byte.is_ascii_graphic() && !b"/:@[]?#".contains(&byte));
        let fits = (1..=MAX_PROXY_NAME).contains(&host.len());
        (is_name && fits).then(|| Place::Name(host.to_owned(), port))
    }
}

impl From<SocketAddr> for Place {
    fn from(addr: SocketAddr) -> Self {
        Place::Addr(addr)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Addr(addr) => addr.fmt(f),
            Place::Name(name, port) => write!(f, "{name}:{port}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> ProxyAddress {
        text.parse().expect(text)
    }

    #[test]
    fn addresses_are_read_and_shown_without_secrets() {
        let proxy = parsed("socks5://me:p%40ss@proxy.example:9050/");
        assert_eq!(
            (proxy.scheme, &*proxy.host, proxy.port),
            (Scheme::Socks5, "proxy.example", 9050)
        );
        let user = Credentials { user: "me".to_owned(), password: "p@ss".to_owned() };
        assert_eq!(proxy.credentials, Some(user));
        assert_eq!(proxy.to_string(), "socks5://proxy.example:9050");
        assert!(!format!("{proxy:?}").contains("p@ss"));
        assert_eq!(parsed("SOCKS5H://[::1]").to_string(), "socks5://[::1]:1080");
        assert_eq!(parsed("http://192.0.2.1").to_string(), "http://192.0.2.1:8080");
        assert_eq!(parsed("http://a:80").port, 80);
        assert_eq!(parsed("http://u@a").credentials.expect("a user").password, "");
    }

    #[test]
    fn what_names_no_proxy_is_refused() {
        use ProxyAddressError::{Credentials, Form, Scheme};
        let long = "x".repeat(256);
        for (text, error) in [
            ("127.0.0.1:1080", Form),
            ("socks5://", Form),
            ("socks5://a:0", Form),
            ("socks5://a:99999", Form),
            ("socks5://a/path", Form),
            ("http://a?q", Form),
            ("https://a:1", Scheme("https".to_owned())),
            ("socks4://a:1", Scheme("socks4".to_owned())),
            (&format!("socks5://{long}:p@a"), Credentials),
            ("socks5://:p@a", Credentials),
            ("socks5://%ff:p@a", Credentials),
        ] {
            assert_eq!(text.parse::<ProxyAddress>(), Err(error), "{text}");
        }
    }

    #[test]
    fn places_are_names_or_addresses() {
        let addr = "[2001:db8::1]:7".parse().expect("valid");
        assert_eq!(Place::of("2001:db8::1", 7), Some(Place::Addr(addr)));
        assert_eq!(Place::of("t.example", 7).expect("a name").to_string(), "t.example:7");
        for wrong in ["", "a b", "a\r\nb", "a:1", "a/b", &"x".repeat(256)] {
            assert_eq!(Place::of(wrong, 7), None, "{wrong:?}");
        }
    }
}
