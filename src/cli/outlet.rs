//! `--bind-interface` and `--proxy`: the way by which everything is to leave, and what it costs.

use serde::Serialize;

use super::{
    args,
    exit::{Exit, Failure},
    terminal::Terminal,
};
use crate::session::{Outlet, OutletOptions};

#[derive(Serialize)]
struct Proxied {
    address: String,
    /// Whether datagrams pass it.
    udp: bool,
}

/// Opens the way.
///
/// # Errors
/// A [`Failure`] if it is not there; nothing has been sent by another one then.
pub(super) async fn open(args: &args::Outlet) -> Result<Outlet, Failure> {
    let options =
        OutletOptions { interface: args.bind_interface.clone(), proxy: args.proxy.clone() };
    Outlet::open(&options).await.map_err(|error| {
        let failure = Failure::new(Exit::Network, error.to_string());
        failure.remedy("Nothing was sent by another way.")
    })
}

/// Tells what a session does without behind a proxy.
pub(super) fn tell(outlet: &Outlet, terminal: Terminal) -> Result<(), Failure> {
    let Some(proxy) = outlet.proxy() else { return Ok(()) };
    let (address, udp) = (proxy.address().to_string(), outlet.carries_datagrams());
    if terminal.json {
        return terminal.event("proxy", &Proxied { address, udp });
    }
    let without = match udp {
        true => "",
        false => " UDP cannot pass it: there is no DHT, and no tracker over UDP.",
    };
    terminal.say(&format!(
        "By the proxy {address}. Nobody can connect to us; routers and the local network are left alone.{without}"
    ));
    Ok(())
}
