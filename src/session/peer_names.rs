//! Peers named by people: `HOST:PORT` becomes the addresses to dial.
//!
//! A facade over the one resolver.

use std::{io, net::SocketAddr};

use crate::{
    metainfo::HostPort,
    net::resolver::{Resolver, SystemResolver},
};

/// Why a peer's name leads nowhere.
#[derive(Debug, thiserror::Error)]
#[error("could not find the address of the peer {peer}")]
pub struct ResolveError {
    /// As it was written.
    pub peer: HostPort,
    /// What the system said.
    pub source: io::Error,
}

/// The addresses of `peers`, in order. An address in place of a name is not looked up.
///
/// # Errors
/// The first name that could not be looked up, or has no address.
pub async fn resolve(peers: &[HostPort]) -> Result<Vec<SocketAddr>, ResolveError> {
    let mut addrs = Vec::new();
    for peer in peers {
        let ips = match peer.host.parse() {
            Ok(ip) => vec![ip],
            Err(_) => SystemResolver
                .lookup(&peer.host)
                .await
                .map_err(|source| ResolveError { peer: peer.clone(), source })?,
        };
        addrs.extend(ips.into_iter().map(|ip| SocketAddr::new(ip, peer.port)));
    }
    Ok(addrs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn addresses_are_taken_as_they_are() {
        let peers = ["192.0.2.1:7", "[2001:db8::1]:8"].map(|p| p.parse().expect("valid"));
        let addrs = resolve(&peers).await.expect("no look-up");
        assert_eq!(addrs, peers.map(|p| p.to_string().parse().expect("an address")));
    }
}
