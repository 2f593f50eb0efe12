//! Searches the local network for an Internet Gateway Device, and asks it over HTTP.
//!
//! Only answers from the networks that we are in count, that of the default gateway first. A device is
//! asked nothing but at the address from which it answered.

use std::{
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
    time::Duration,
};

use tokio::time::{Instant, timeout, timeout_at};
use url::{Host, Url};

use super::{Binding, Http, Port, Trouble, Vicinity, towards};
use crate::{
    base::{
        limits::{MAX_GATEWAY_DATAGRAM, MAX_GATEWAYS, MAX_IGD_DESCRIPTION, MAX_IGD_REPLY},
        rng::Rng,
    },
    gateway::{
        Granted, LIFETIME, Refusal, Transport,
        igd::{self, Action, Entry, Service},
        is_public,
    },
};

/// How long devices may take to answer before they are searched for again: they are told to take a second
/// at most.
const PATIENCE: [Duration; 2] = [Duration::from_millis(1_500), Duration::from_millis(1_500)];
/// How long others may still take once one has answered that is not the default gateway.
const GRACE: Duration = Duration::from_millis(500);
/// Longest time for a reply.
const REPLY_LIMIT: Duration = Duration::from_secs(5);
/// Numbers tried outside when somebody has ours.
const OTHER_PORTS: usize = 4;

/// A device that lets peers in.
#[derive(Debug, Clone)]
pub(super) struct Device {
    service: Service,
    /// Our address, as it sees us.
    client: Ipv4Addr,
    /// Its address outside, a public one.
    pub(super) external: Ipv4Addr,
}

/// Searches for a device that is connected to the world.
pub(super) async fn find(
    binding: &Binding,
    vicinity: &Vicinity,
    http: &Http,
) -> Result<Device, Trouble> {
    let mut trouble = Trouble::Silent;
    for location in locations(binding, vicinity).await? {
        let Some(Host::Ipv4(ip)) = location.host() else { continue };
        let Ok((_, client)) = towards(binding, SocketAddrV4::new(ip, igd::PORT)) else { continue };
        let Ok((_, text)) = reply(http, &location, None, MAX_IGD_DESCRIPTION).await else {
            continue;
        };
        for service in igd::services(&text, &location) {
            let Ok((200, text)) = ask(http, &service, service.get_external_address()).await else {
                continue;
            };
            match igd::external_address(&text) {
                Some(external) if is_public(external) => {
                    return Ok(Device { service, client, external });
                }
                _ => trouble = Trouble::Refused(Refusal::Nonsense),
            }
        }
    }
    Err(trouble)
}

/// Where the devices describe themselves that answer.
pub(super) async fn locations(binding: &Binding, vicinity: &Vicinity) -> Result<Vec<Url>, Trouble> {
    let socket = binding.udp((Ipv4Addr::UNSPECIFIED, 0).into(), false)?;
    // One network further than our own is as far as devices are looked for (UPnP Device Architecture 1.1,
    // section 1.3.2).
    socket.set_multicast_ttl_v4(2)?;
    let mut found: Vec<Url> = Vec::new();
    let mut buf = [0; MAX_GATEWAY_DATAGRAM];
    for patience in PATIENCE {
        for search in igd::searches() {
            socket.send_to(search.as_bytes(), vicinity.search).await?;
        }
        let mut deadline = Instant::now() + patience;
        while let Ok(received) = timeout_at(deadline, socket.recv_from(&mut buf)).await {
            // An error is about what was sent before.
            let Ok((length, SocketAddr::V4(from))) = received else { continue };
            if !vicinity.routes.is_near(*from.ip()) {
                continue;
            }
            let Some(location) = igd::location(&buf[..length], *from.ip()) else { continue };
            if vicinity.routes.gateway == Some(*from.ip()) {
                found.insert(0, location);
                return Ok(found);
            }
            let is_new = found.iter().all(|other| other.host() != location.host());
            if found.len() < MAX_GATEWAYS && is_new {
                found.push(location);
            }
            // The one that packets go through has all the time there is.
            if vicinity.routes.gateway.is_none() {
                deadline = deadline.min(Instant::now() + GRACE);
            }
        }
        if !found.is_empty() {
            break;
        }
    }
    Ok(found)
}

impl Device {
    /// Asks for a mapping, with another number outside if somebody has that one.
    pub(super) async fn open(
        &self,
        http: &Http,
        port: Port,
        rng: &mut Rng,
    ) -> Result<Granted, Trouble> {
        let mut outside = port.wish();
        let mut seconds = LIFETIME.as_secs();
        let mut code = igd::CONFLICT;
        for _ in 0..=OTHER_PORTS {
            let entry = Entry { transport: port.transport, outside };
            let action = self.service.add(entry, self.client, port.inside, seconds);
            let (status, text) = ask(http, &self.service, action).await?;
            if status == 200 {
                return Ok(Granted { port: outside, lifetime: LIFETIME });
            }
            code = igd::error_code(&text).ok_or(Trouble::Refused(Refusal::Nonsense))?;
            match code {
                igd::ONLY_PERMANENT | igd::FAILED if seconds > 0 => seconds = 0,
                igd::CONFLICT | igd::FAILED => outside = 10_000 + rng.below(50_000) as u16,
                _ => break,
            }
        }
        Err(Trouble::Refused(Refusal::Code(code)))
    }

    /// Takes a mapping back.
    pub(super) async fn close(
        &self,
        http: &Http,
        transport: Transport,
        outside: u16,
    ) -> Result<(), Trouble> {
        let action = self.service.delete(Entry { transport, outside });
        ask(http, &self.service, action).await.map(drop)
    }
}

async fn ask(http: &Http, service: &Service, action: Action) -> Result<(u16, String), Trouble> {
    reply(http, &service.control, Some(action), MAX_IGD_REPLY).await
}

async fn reply(
    http: &Http,
    url: &Url,
    action: Option<Action>,
    max_bytes: usize,
) -> Result<(u16, String), Trouble> {
    let action = action.as_ref().map(|action| (&action.header[..], action.body.clone()));
    let asked = timeout(REPLY_LIMIT, http.ask_device(url, action, max_bytes));
    match asked.await {
        Ok(Ok(reply)) => Ok((reply.status, String::from_utf8_lossy(&reply.body).into_owned())),
        _ => Err(Trouble::Silent),
    }
}
