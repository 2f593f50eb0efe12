//! Has the default gateway of IPv6 let peers in through its firewall, by PCP (RFC 6887), as long as the task
//! runs.
//!
//! Nothing is translated there: we are reached where we are, at the address from which we reach others, so
//! that nobody need be told. A gateway that opens something else is of no use, and that is given back.

use std::{
    fs::File,
    io::Read as _,
    net::{IpAddr, Ipv6Addr, SocketAddrV6},
    sync::Arc,
    time::Duration,
};

use tokio::{
    sync::{Notify, watch},
    time::timeout,
};

use super::{
    super::sockets,
    ATTEMPT_LIMIT, Binding, MAX_ROUTES_BYTES, Port, Trouble, control,
    kept::{Ask, Kept},
    ports_of,
};
use crate::gateway::{
    Granted, LIFETIME, Refusal, Transport,
    pinhole::{GatewayV6, Opened, is_global},
};

/// What is to be opened.
#[derive(Debug, Clone)]
pub struct PinholesConfig {
    /// Our port for peers.
    pub tcp: u16,
    /// The port of our node of the DHT.
    pub udp: Option<u16>,
    /// By which the gateway knows that pinholes are ours; not to be guessed.
    pub nonce: [u8; 12],
    /// The interface at which the gateway is looked for.
    pub binding: Binding,
    /// By which way it is asked; `None` looks each time anew.
    pub way: Option<PinholeWay>,
}

/// Who is asked, and for whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PinholeWay {
    /// Where the gateway listens.
    pub gateway: SocketAddrV6,
    /// Our address, which the world reaches.
    pub ours: Ipv6Addr,
}

impl PinholeWay {
    /// What this host's routes say; `None` without a gateway, or an address of the world.
    fn look(binding: &Binding) -> Option<Self> {
        let mut table = String::new();
        // Where there is no such file nothing is known.
        let file = File::open("/proc/net/ipv6_route").ok()?;
        file.take(MAX_ROUTES_BYTES).read_to_string(&mut table).ok()?;
        let is_ours = |line: &&str| {
            let interface = line.split_whitespace().last();
            binding.interface().is_none_or(|ours| interface == Some(ours))
        };
        let table: Vec<&str> = table.lines().filter(is_ours).collect();
        let GatewayV6 { ip, interface } = GatewayV6::parse(&table.join("\n"))?;
        let scope = sockets::index_of(&interface)?;
        match binding.source_v6()? {
            IpAddr::V6(ours) if is_global(ours) => {
                Some(PinholeWay { gateway: SocketAddrV6::new(ip, control::PORT, 0, scope), ours })
            }
            _ => None,
        }
    }
}

/// Pinholes that are kept open. Dropping it lets them lapse; [`Pinholes::end`] closes them.
#[derive(Debug)]
pub struct Pinholes(Kept<Opened>);

impl Pinholes {
    /// Begins in the current tokio runtime.
    pub fn start(config: PinholesConfig) -> Self {
        let ports = ports_of(config.tcp, config.udp);
        Pinholes(Kept::start(Asker { config, ports, opened_by: None }))
    }

    /// What is open, as it changes; `None` as long as that is nothing.
    pub fn opened(&self) -> watch::Receiver<Option<Opened>> {
        self.0.granted()
    }

    /// What has them asked for anew when it is notified.
    pub fn again(&self) -> Arc<Notify> {
        self.0.again()
    }

    /// Closes them. What is not done after two seconds is left undone.
    pub async fn end(&self) {
        self.0.end().await;
    }
}

struct Asker {
    config: PinholesConfig,
    ports: Vec<Port>,
    /// Who opened what is open.
    opened_by: Option<PinholeWay>,
}

impl Ask for Asker {
    type Granted = Opened;

    async fn ask(
        &mut self,
        _granted: &watch::Sender<Option<Opened>>,
    ) -> Option<(Opened, Duration)> {
        let way = self.config.way.or_else(|| PinholeWay::look(&self.config.binding))?;
        timeout(ATTEMPT_LIMIT, self.open_all(way)).await.ok()?
    }

    async fn take_back(&mut self) {
        let Some(way) = self.opened_by.take() else { return };
        for i in 0..self.ports.len() {
            if self.ports[i].outside.take().is_some() {
                // Whoever does not listen forgets it when it lapses.
                let _ = control::closed(self.map(way, self.ports[i], Duration::ZERO).await);
            }
        }
    }
}

impl Asker {
    async fn open_all(&mut self, way: PinholeWay) -> Option<(Opened, Duration)> {
        if self.opened_by.is_some_and(|by| by != way) {
            self.take_back().await;
        }
        let mut shortest: Option<Duration> = None;
        for i in 0..self.ports.len() {
            let asked = self.map(way, self.ports[i], LIFETIME).await;
            let port = &mut self.ports[i];
            match asked {
                Ok((granted, ip)) => {
                    if granted.port == port.inside && ip == IpAddr::V6(way.ours) {
                        // Remembered at once: the end may come between two.
                        port.outside = Some(granted.port);
                        self.opened_by = Some(way);
                        let lifetime = granted.lifetime;
                        shortest = Some(shortest.map_or(lifetime, |least| least.min(lifetime)));
                    } else {
                        port.outside = None;
                        let _ = self.map(way, self.ports[i], Duration::ZERO).await;
                    }
                }
                // It answers to nothing of the kind.
                Err(Trouble::Silent | Trouble::Refused(Refusal::Version)) if shortest.is_none() => {
                    return None;
                }
                Err(_) => port.outside = None,
            }
        }
        let opened = |transport| {
            self.ports.iter().find(|port| port.transport == transport).and_then(|port| port.outside)
        };
        let (tcp, udp) = (opened(Transport::Tcp), opened(Transport::Udp));
        Some((Opened { ip: way.ours, tcp, udp }, shortest?))
    }

    async fn map(
        &self,
        way: PinholeWay,
        port: Port,
        lifetime: Duration,
    ) -> Result<(Granted, IpAddr), Trouble> {
        let from = (way.ours, 0).into();
        let socket = self.config.binding.udp_between(from, way.gateway.into())?;
        control::map(&socket, way.ours.into(), port, lifetime, self.config.nonce).await
    }
}

#[cfg(test)]
mod tests {
    use std::{
        net::SocketAddr,
        sync::{Arc, Mutex},
    };

    use tokio::{net::UdpSocket, task::JoinSet};

    use super::*;

    /// What a gateway was asked: whether to open, for which protocol and port.
    type Asked = Arc<Mutex<Vec<(bool, u8, u16)>>>;

    /// A gateway that opens everything, at this address in place of ours if there is one.
    async fn gateway(socket: UdpSocket, other: Option<Ipv6Addr>, asked: Asked) {
        let mut buf = [0; 100];
        loop {
            let (length, from) = socket.recv_from(&mut buf).await.expect("received");
            let mut answer = buf[..length].to_vec();
            let port = u16::from_be_bytes([answer[40], answer[41]]);
            assert_eq!(
                answer[42..44],
                if answer[4..8] == [0; 4] { [0; 2] } else { port.to_be_bytes() }
            );
            assert_eq!(answer[44..], [0; 16], "no address is wished for");
            asked.lock().expect("no panic").push((answer[4..8] != [0; 4], answer[36], port));
            let client: [u8; 16] = answer[8..24].try_into().expect("sixteen bytes");
            assert_eq!(SocketAddr::new(Ipv6Addr::from(client).into(), from.port()), from);
            answer[1] |= 0x80;
            answer[42..44].copy_from_slice(&port.to_be_bytes());
            answer[44..].copy_from_slice(&other.map_or(client, |other| other.octets()));
            socket.send_to(&answer, from).await.expect("sent");
        }
    }

    async fn start(other: Option<Ipv6Addr>) -> (Pinholes, Asked, JoinSet<()>) {
        let ours = Ipv6Addr::LOCALHOST;
        let socket = UdpSocket::bind((ours, 0)).await.expect("bound");
        let port = socket.local_addr().expect("bound").port();
        let (asked, mut tasks) = (Asked::default(), JoinSet::new());
        tasks.spawn(gateway(socket, other, asked.clone()));
        let way = PinholeWay { gateway: SocketAddrV6::new(ours, port, 0, 0), ours };
        let (binding, nonce) = (Binding::default(), *b"twelve bytes");
        let (tcp, udp, way) = (6881, Some(6882), Some(way));
        let pinholes = Pinholes::start(PinholesConfig { tcp, udp, nonce, binding, way });
        (pinholes, asked, tasks)
    }

    fn taken(asked: &Asked) -> Vec<(bool, u8, u16)> {
        std::mem::take(&mut asked.lock().expect("no panic"))
    }

    #[tokio::test]
    async fn pinholes_are_opened_and_closed() {
        let (pinholes, asked, _tasks) = start(None).await;
        let mut opened = pinholes.opened();
        let opened = *opened.wait_for(Option::is_some).await.expect("it runs");
        let ip = Ipv6Addr::LOCALHOST;
        assert_eq!(opened, Some(Opened { ip, tcp: Some(6881), udp: Some(6882) }));
        assert_eq!(taken(&asked), [(true, 6, 6881), (true, 17, 6882)]);
        pinholes.end().await;
        assert_eq!(taken(&asked), [(false, 6, 6881), (false, 17, 6882)]);
    }

    #[tokio::test]
    async fn a_gateway_that_opens_another_address_is_of_no_use() {
        let (pinholes, asked, _tasks) = start(Some("2001:470::1".parse().expect("valid"))).await;
        while asked.lock().expect("no panic").len() < 4 {
            tokio::task::yield_now().await;
        }
        let each = |protocol, port| [(true, protocol, port), (false, protocol, port)];
        assert_eq!(taken(&asked), [each(6, 6881), each(17, 6882)].concat());
        assert_eq!(*pinholes.opened().borrow(), None);
    }
}
