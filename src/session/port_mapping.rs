//! Whether a gateway is asked to let peers in, and who hears of it.
//!
//! Asking is [`crate::net::port_mapping`]. What is mapped is told to trackers and the DHT with the next
//! announce, to peers with the next connection; the gateway's address is one claim among others of ours.

use std::io;

use tokio::sync::watch;

use super::{
    command::Command,
    config::Config,
    discovery::{Input, Line},
    shard::ShardHandle,
};
use crate::{
    base::rng::Rng,
    gateway::Mapped,
    net::{
        http::Http,
        port_mapping::{Pinholes, PinholesConfig, PortMapping, PortMappingConfig},
    },
};

/// Starts to have our ports mapped, unless the configuration says otherwise.
///
/// # Errors
/// The system has no random bytes.
pub(super) fn start(
    config: &Config,
    (tcp, udp): (u16, Option<u16>),
    http: &Http,
    rng: Rng,
) -> io::Result<Option<PortMapping>> {
    if !may_ask(config) {
        return Ok(None);
    }
    let binding = config.outlet.binding().clone();
    let mapping = PortMappingConfig { tcp, udp, nonce: super::random()?, binding, vicinity: None };
    Ok(Some(PortMapping::start(mapping, http.clone(), rng)))
}

/// Starts to have our ports opened over IPv6, unless the configuration says otherwise.
///
/// # Errors
/// The system has no random bytes.
pub(super) fn start_pinholes(
    config: &Config,
    (tcp, udp): (u16, Option<u16>),
) -> io::Result<Option<Pinholes>> {
    if !may_ask(config) || !config.listen.ipv6 {
        return Ok(None);
    }
    let binding = config.outlet.binding().clone();
    let pinholes = PinholesConfig { tcp, udp, nonce: super::random()?, binding, way: None };
    Ok(Some(Pinholes::start(pinholes)))
}

/// Bound to one address, everything leaves from there: a gateway would be asked from elsewhere. Behind a
/// proxy there is no port to be mapped.
fn may_ask(config: &Config) -> bool {
    config.port_mapping && config.listen.addr.is_none() && !config.outlet.is_proxied()
}

/// Tells everybody whenever it changes, until the task is dropped.
pub(super) async fn tell(
    mut mapped: watch::Receiver<Option<Mapped>>,
    discovery: Line,
    shard: ShardHandle,
) {
    while mapped.changed().await.is_ok() {
        let now = *mapped.borrow_and_update();
        discovery.send(Input::Mapped(now.and_then(|mapped| mapped.tcp)));
        shard.send(Command::Mapped(now)).await;
    }
}
