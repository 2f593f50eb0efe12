//! The embedded tracker as a tool: what the `tracker` command and the demo start.
//!
//! A facade: it draws the seed, names the addresses, and says in a sentence what failed. The work
//! is in [`crate::net::tracker_server`].

use std::{
    collections::BTreeSet,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use crate::{
    base::hash::Sha1Hash,
    net::{
        sockets::Binding,
        tracker_server::{TrackerServer, TrackerServerConfig},
    },
};
pub use crate::{net::tracker_server::TrackerStats, tracker::swarms::SwarmLimits};

/// Where and how to run a tracker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrackerConfig {
    /// Where to listen: `[::]` takes IPv4 as well, port 0 is any free port.
    pub listen: SocketAddr,
    /// How often clients are told to announce.
    pub interval: Duration,
    /// How many swarms and peers are remembered.
    pub limits: SwarmLimits,
    /// Believe clients on this host about their address (`ip=`); not behind a local proxy.
    pub ip_from_loopback: bool,
}

impl TrackerConfig {
    /// A tracker at `listen` with the usual interval and limits.
    pub fn new(listen: SocketAddr) -> Self {
        TrackerConfig {
            listen,
            interval: Duration::from_secs(30 * 60),
            limits: SwarmLimits::default(),
            ip_from_loopback: false,
        }
    }
}

/// Why there is no tracker.
#[derive(Debug, thiserror::Error)]
pub enum TrackerHostError {
    /// The address cannot be used.
    #[error("could not listen on {addr}")]
    Listen {
        /// The address.
        addr: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The system has no randomness to give.
    #[error("could not draw a random seed")]
    Seed(#[source] io::Error),
}

/// A running tracker. Dropping it stops it at once; [`TrackerHost::shutdown`] is gentler.
#[derive(Debug)]
pub struct TrackerHost {
    server: TrackerServer,
}

impl TrackerHost {
    /// Starts a tracker. To be called inside a tokio runtime.
    #[allow(clippy::disallowed_methods)] // A driver draws the seed of its pure parts.
    pub fn start(config: TrackerConfig) -> Result<Self, TrackerHostError> {
        let mut seed = [0; 8];
        getrandom::fill(&mut seed)
            .map_err(|err| TrackerHostError::Seed(io::Error::other(err.to_string())))?;
        let TrackerConfig { listen, interval, limits, ip_from_loopback } = config;
        let seed = u64::from_le_bytes(seed);
        let config = TrackerServerConfig { listen, interval, limits, ip_from_loopback, seed };
        let server = TrackerServer::start(&config)
            .map_err(|source| TrackerHostError::Listen { addr: listen, source })?;
        Ok(TrackerHost { server })
    }

    /// Where it listens.
    pub const fn local_addr(&self) -> SocketAddr {
        self.server.local_addr()
    }

    /// What to put into a torrent. When it listens on every address, the one by which this host
    /// reaches others is named, or loopback where there is none.
    pub fn announce_url(&self) -> String {
        let mut addr = self.local_addr();
        if addr.ip().is_unspecified() {
            let any = Binding::default();
            let v4 = any.source_v4();
            let v6 = || any.source_v6();
            let loopback = match addr {
                SocketAddr::V4(_) => IpAddr::from(Ipv4Addr::LOCALHOST),
                SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
            };
            let found = if addr.is_ipv4() { v4 } else { v4.or_else(v6) };
            addr.set_ip(found.unwrap_or(loopback));
        }
        format!("http://{addr}/announce")
    }

    /// Serves only these torrents from now on, and forgets the others.
    pub fn allow_only(&self, info_hashes: BTreeSet<Sha1Hash>) {
        self.server.allow_only(info_hashes);
    }

    /// What it has done and knows.
    pub fn stats(&self) -> TrackerStats {
        self.server.stats()
    }

    /// Answers what is under way and stops.
    pub async fn shutdown(self) {
        self.server.shutdown().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn names_an_address_that_can_be_dialled() {
        for listen in ["127.0.0.1:0", "[::1]:0", "0.0.0.0:0", "[::]:0"] {
            let listen: SocketAddr = listen.parse().expect("valid");
            let host = TrackerHost::start(TrackerConfig::new(listen)).expect("listening");
            let url = host.announce_url();
            let addr = url.strip_prefix("http://").and_then(|u| u.strip_suffix("/announce"));
            let addr: SocketAddr = addr.and_then(|a| a.parse().ok()).expect("an address");
            assert!(!addr.ip().is_unspecified());
            assert_eq!(addr.port(), host.local_addr().port());
            let connected = tokio::net::TcpStream::connect(addr).await;
            assert!(connected.is_ok(), "{url}: {connected:?}");
            host.shutdown().await;
        }
    }

    #[test]
    fn without_a_runtime_it_is_an_error() {
        let config = TrackerConfig::new((Ipv4Addr::LOCALHOST, 0).into());
        let err = TrackerHost::start(config).expect_err("no runtime");
        assert_eq!(err.to_string(), "could not listen on 127.0.0.1:0");
    }
}
