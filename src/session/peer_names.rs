//! Peers and other places named by people: `HOST:PORT` becomes addresses.
//!
//! A facade over the one resolver.

use std::{io, net::SocketAddr};

use crate::{metainfo::HostPort, net::outlet::Outlet};

/// Why a name leads nowhere.
#[derive(Debug, thiserror::Error)]
#[error("could not find the address of {name}")]
pub struct ResolveError {
    /// As it was written.
    pub name: HostPort,
    /// What the system said.
    pub source: io::Error,
}

/// The addresses of `name`, at least one, looked up by way of `outlet`. An address in place of a name is not looked up.
///
/// # Errors
/// It could not be looked up, or has no address.
pub async fn resolve(name: &HostPort, outlet: &Outlet) -> Result<Vec<SocketAddr>, ResolveError> {
    let failed = |source| ResolveError { name: name.clone(), source };
    let ips = match name.host.parse() {
        Ok(ip) => vec![ip],
        Err(_) => outlet.resolver().lookup(&name.host).await.map_err(failed)?,
    };
    if ips.is_empty() {
        return Err(failed(io::Error::new(io::ErrorKind::NotFound, "the name has no address")));
    }
    Ok(ips.into_iter().map(|ip| SocketAddr::new(ip, name.port)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn addresses_are_taken_as_they_are() {
        for text in ["192.0.2.1:7", "[2001:db8::1]:8"] {
            let addrs = resolve(&text.parse().expect("valid"), &Outlet::default())
                .await
                .expect("no look-up");
            assert_eq!(addrs, [text.parse().expect("an address")]);
        }
    }
}
