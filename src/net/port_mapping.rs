//! Port mapping: has a gateway let peers in to our ports, for as long as the task runs.
//!
//! When it is asked, and that it is told of the end, is in `kept`. Who is asked what is in `control` (PCP and
//! NAT-PMP) and `upnp`, and for openings in a firewall for IPv6 in `pinholes`; the form of it, what is believed and
//! when it is asked again in [`crate::gateway`]. One way after the other is tried, first the one that
//! worked last. Nobody but the default gateway and devices of the networks that we are in is asked or heard.

mod control;
mod kept;
mod pinholes;
mod upnp;

pub use pinholes::{PinholeWay, Pinholes, PinholesConfig};

use std::{
    fs::File,
    io::{self, Read as _},
    net::{Ipv4Addr, SocketAddrV4},
    sync::Arc,
    time::Duration,
};

use tokio::{
    net::UdpSocket,
    sync::{Notify, watch},
    time::timeout,
};

use super::{http::Http, sockets::Binding};
use crate::{
    base::rng::Rng,
    gateway::{Granted, Mapped, Method, Refusal, Transport, igd, is_public, routes::Routes},
};
use kept::{Ask, Kept};
use upnp::Device;

/// Longest time for one way of asking: some seconds of silence, or of a slow router's replies.
const ATTEMPT_LIMIT: Duration = Duration::from_secs(20);
/// Longest table of routes that is read: a thousand routes.
const MAX_ROUTES_BYTES: u64 = 128 << 10;

/// The ways, the best first.
const METHODS: [Method; 3] = [Method::Pcp, Method::NatPmp, Method::Upnp];

/// What is to be mapped.
#[derive(Debug, Clone)]
pub struct PortMappingConfig {
    /// Our port for peers.
    pub tcp: u16,
    /// The port of our node of the DHT.
    pub udp: Option<u16>,
    /// By which a gateway knows that mappings are ours; not to be guessed.
    pub nonce: [u8; 12],
    /// The interface at which gateways are looked for.
    pub binding: Binding,
    /// Where gateways are; `None` looks each time anew.
    pub vicinity: Option<Vicinity>,
}

/// Where gateways are.
#[derive(Debug, Clone)]
pub struct Vicinity {
    /// Where the default gateway is asked by PCP and NAT-PMP.
    pub control: Option<SocketAddrV4>,
    /// Where devices are searched for.
    pub search: SocketAddrV4,
    /// Who is near.
    pub routes: Routes,
}

impl Vicinity {
    /// What this host's routes say.
    fn look(binding: &Binding) -> Self {
        let mut table = String::new();
        let file = File::open("/proc/net/route");
        // Where there is no such file nothing is known: see `Routes`.
        let _ = file.and_then(|file| file.take(MAX_ROUTES_BYTES).read_to_string(&mut table));
        if let Some(interface) = binding.interface() {
            // What else there is is not for us.
            let ours = |line: &&str| line.split_whitespace().next() == Some(interface);
            table = table.lines().filter(ours).collect::<Vec<_>>().join("\n");
        }
        let routes = Routes::parse(&table);
        Vicinity {
            control: routes.gateway.map(|ip| SocketAddrV4::new(ip, control::PORT)),
            search: SocketAddrV4::new(igd::GROUP, igd::PORT),
            routes,
        }
    }
}

/// Mappings that are kept up. Dropping it lets them lapse, as far as the gateway lets any;
/// [`PortMapping::end`] takes back those that were granted, not one that is being asked for.
#[derive(Debug)]
pub struct PortMapping(Kept<Mapped>);

impl PortMapping {
    /// Begins in the current tokio runtime.
    pub fn start(config: PortMappingConfig, http: Http, rng: Rng) -> Self {
        let ports = ports_of(config.tcp, config.udp);
        let (last, gateway) = (Method::Pcp, None);
        PortMapping(Kept::start(Driver { config, http, rng, ports, last, gateway }))
    }

    /// Where we are reached from outside, as it changes; `None` as long as nothing is mapped.
    pub fn mapped(&self) -> watch::Receiver<Option<Mapped>> {
        self.0.granted()
    }

    /// What has them asked for anew when it is notified.
    pub fn again(&self) -> Arc<Notify> {
        self.0.again()
    }

    /// Takes the mappings back. What is not done after two seconds is left undone.
    pub async fn end(&self) {
        self.0.end().await;
    }
}

/// One of our ports.
#[derive(Debug, Clone, Copy)]
struct Port {
    transport: Transport,
    inside: u16,
    /// What the gateway has given for it.
    outside: Option<u16>,
}

impl Port {
    /// The number that we would like outside.
    fn wish(&self) -> u16 {
        self.outside.unwrap_or(self.inside)
    }
}

/// Those that we have.
fn ports_of(tcp: u16, udp: Option<u16>) -> Vec<Port> {
    let wanted = [(Transport::Tcp, Some(tcp)), (Transport::Udp, udp)];
    let ports = wanted.into_iter().filter_map(|(transport, port)| {
        port.filter(|port| *port != 0).map(|inside| Port { transport, inside, outside: None })
    });
    ports.collect()
}

/// Why an attempt came to nothing.
#[derive(Debug, PartialEq, Eq)]
enum Trouble {
    /// Nobody answers.
    Silent,
    /// Somebody says no, or what makes no sense.
    Refused(Refusal),
}

impl From<io::Error> for Trouble {
    fn from(_: io::Error) -> Self {
        Trouble::Silent
    }
}

/// A gateway, and how it is asked.
#[derive(Debug, Clone)]
enum Gateway {
    Pcp(SocketAddrV4),
    NatPmp(SocketAddrV4, Ipv4Addr),
    Upnp(Device),
}

struct Driver {
    config: PortMappingConfig,
    http: Http,
    rng: Rng,
    ports: Vec<Port>,
    /// The way that worked last.
    last: Method,
    /// Who gave us what we have.
    gateway: Option<Gateway>,
}

impl Ask for Driver {
    type Granted = Mapped;

    /// Asks for all mappings, in one way after the other until one works.
    async fn ask(&mut self, mapped: &watch::Sender<Option<Mapped>>) -> Option<(Mapped, Duration)> {
        let look = || Vicinity::look(&self.config.binding);
        let vicinity = self.config.vicinity.clone().unwrap_or_else(look);
        if vicinity.routes.tunnel {
            return None;
        }
        let others = METHODS.into_iter().filter(|method| *method != self.last);
        for method in [self.last].into_iter().chain(others.collect::<Vec<_>>()) {
            let attempt = timeout(ATTEMPT_LIMIT, self.ask_by(method, &vicinity, mapped));
            if let Ok(Ok(done)) = attempt.await {
                self.last = method;
                return Some(done);
            }
        }
        None
    }

    async fn take_back(&mut self) {
        let Some(gateway) = self.gateway.take() else { return };
        let binding = &self.config.binding;
        for port in &mut self.ports {
            let Some(outside) = port.outside.take() else { continue };
            // Whoever does not listen forgets it when it lapses.
            let _ = match &gateway {
                Gateway::Pcp(addr) => {
                    control::close_by_pcp(binding, *addr, *port, self.config.nonce).await
                }
                Gateway::NatPmp(addr, _) => control::close_by_nat_pmp(binding, *addr, *port).await,
                Gateway::Upnp(device) => device.close(&self.http, port.transport, outside).await,
            };
        }
    }
}

impl Driver {
    /// Asks for all mappings in one way; `told` hears when there are none any more.
    async fn ask_by(
        &mut self,
        by: Method,
        vicinity: &Vicinity,
        told: &watch::Sender<Option<Mapped>>,
    ) -> Result<(Mapped, Duration), Trouble> {
        let control = || vicinity.control.ok_or(Trouble::Silent);
        let binding = &self.config.binding;
        let gateway = match by {
            Method::Pcp => Gateway::Pcp(control()?),
            Method::NatPmp => {
                let addr = control()?;
                Gateway::NatPmp(addr, control::external_address(binding, addr).await?)
            }
            Method::Upnp => Gateway::Upnp(upnp::find(binding, vicinity, &self.http).await?),
        };
        let (mut mapped, mut shortest) = (None, Duration::MAX);
        let mut trouble = Trouble::Silent;
        for i in 0..self.ports.len() {
            match self.open(&gateway, self.ports[i]).await {
                Ok((granted, ip)) => {
                    // Remembered at once: the end may come between two.
                    self.ports[i].outside = Some(granted.port);
                    self.gateway = Some(gateway.clone());
                    if !is_public(ip) {
                        self.take_back().await;
                        told.send_if_modified(|last| last.take().is_some());
                        return Err(Trouble::Refused(Refusal::Nonsense));
                    }
                    shortest = shortest.min(granted.lifetime);
                    mapped.get_or_insert(ip);
                }
                Err(Trouble::Refused(Refusal::Code(code))) => {
                    self.ports[i].outside = None;
                    trouble = Trouble::Refused(Refusal::Code(code));
                }
                // It answers to nothing of the kind.
                Err(other) if mapped.is_none() => return Err(other),
                Err(_) => self.ports[i].outside = None,
            }
        }
        let ip = mapped.ok_or(trouble)?;
        let outside = |transport| {
            self.ports.iter().find(|port| port.transport == transport).and_then(|port| port.outside)
        };
        let (tcp, udp) = (outside(Transport::Tcp), outside(Transport::Udp));
        Ok((Mapped { ip, tcp, udp, by }, shortest))
    }

    async fn open(&mut self, at: &Gateway, port: Port) -> Result<(Granted, Ipv4Addr), Trouble> {
        let binding = &self.config.binding;
        match at {
            Gateway::Pcp(addr) => {
                control::open_by_pcp(binding, *addr, port, self.config.nonce).await
            }
            Gateway::NatPmp(addr, ip) => {
                Ok((control::open_by_nat_pmp(binding, *addr, port).await?, *ip))
            }
            Gateway::Upnp(device) => {
                Ok((device.open(&self.http, port, &mut self.rng).await?, device.external))
            }
        }
    }
}

/// A socket that hears only `addr`, and our address as seen from there.
fn towards(binding: &Binding, addr: SocketAddrV4) -> io::Result<(UdpSocket, Ipv4Addr)> {
    let socket = binding.udp_towards(addr.into())?;
    match socket.local_addr()? {
        std::net::SocketAddr::V4(ours) => Ok((socket, *ours.ip())),
        std::net::SocketAddr::V6(_) => Err(io::ErrorKind::Unsupported.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        base::limits::MAX_GATEWAYS,
        net::{http::HttpConfig, outlet::Outlet, resolver::FixedResolver},
    };
    use std::sync::{Arc, Mutex};
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
        task::JoinSet,
    };

    const OUTSIDE: Ipv4Addr = Ipv4Addr::new(9, 8, 7, 6);
    /// The loopback network as one that this host is in.
    const NEAR: &str = "lo 0000007F 00000000 0001 0 0 0 000000FF";

    /// What a gateway was asked, in words.
    type Asked = Arc<Mutex<Vec<String>>>;

    fn start(control: Option<SocketAddrV4>, search: SocketAddrV4) -> PortMapping {
        let vicinity = Vicinity { control, search, routes: Routes::parse(NEAR) };
        let config = PortMappingConfig {
            tcp: 6881,
            udp: Some(6882),
            nonce: *b"twelve bytes",
            binding: Binding::default(),
            vicinity: Some(vicinity),
        };
        let http =
            Http::new(&HttpConfig::new(Outlet::resolving_by(Arc::new(FixedResolver::default()))));
        PortMapping::start(config, http.expect("a client"), Rng::new(1))
    }

    async fn socket() -> (UdpSocket, SocketAddrV4) {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("bound");
        let port = socket.local_addr().expect("bound").port();
        (socket, SocketAddrV4::new(Ipv4Addr::LOCALHOST, port))
    }

    async fn mapped(mapping: &PortMapping) -> Mapped {
        let mut mapped = mapping.mapped();
        let mapped = mapped.wait_for(Option::is_some).await.expect("it runs");
        mapped.expect("it has come")
    }

    /// A gateway that speaks NAT-PMP, and PCP if `outside` is an address that PCP tells.
    async fn control(socket: UdpSocket, pcp: bool, outside: Ipv4Addr, asked: Asked) {
        let mut buf = [0; 100];
        loop {
            let (length, from) = socket.recv_from(&mut buf).await.expect("received");
            let question = &buf[..length];
            let lives = |seconds: &[u8]| if seconds == [0; 4] { "closed" } else { "opened" };
            let mut answer = question.to_vec();
            let what = match question {
                [2, ..] if !pcp => {
                    answer = vec![0, 0x81, 0, 1, 0, 0, 0, 0];
                    "PCP?".to_owned()
                }
                [2, 1, ..] => {
                    answer[1] |= 0x80;
                    // Nobody has that port but one further.
                    answer[43] += 1;
                    answer[44..].copy_from_slice(&outside.to_ipv6_mapped().octets());
                    format!("PCP {} {}", lives(&question[4..8]), question[36])
                }
                [0, 0] => {
                    answer = [&[0, 0x80, 0, 0, 0, 0, 0, 1], &outside.octets()[..]].concat();
                    "address".to_owned()
                }
                [0, op, ..] => {
                    let (ports, seconds) = question[4..].split_at(4);
                    answer = [&[0, 0x80 | op, 0, 0, 0, 0, 0, 1], ports, seconds].concat();
                    format!("NAT-PMP {} {op}", lives(seconds))
                }
                _ => "nonsense".to_owned(),
            };
            asked.lock().expect("no panic").push(what);
            // What is no answer comes first.
            for datagram in [&b"junk"[..], &answer] {
                socket.send_to(datagram, from).await.expect("sent");
            }
        }
    }

    fn taken(asked: &Asked) -> Vec<String> {
        std::mem::take(&mut asked.lock().expect("no panic"))
    }

    #[tokio::test]
    async fn ports_are_mapped_by_pcp_and_given_back() {
        let (socket, addr) = socket().await;
        let (asked, mut tasks) = (Asked::default(), JoinSet::new());
        tasks.spawn(control(socket, true, OUTSIDE, asked.clone()));
        let mapping = start(Some(addr), addr);
        let (tcp, udp) = (Some(6882), Some(6883));
        assert_eq!(mapped(&mapping).await, Mapped { ip: OUTSIDE, tcp, udp, by: Method::Pcp });
        assert_eq!(taken(&asked), ["PCP opened 6", "PCP opened 17"]);
        mapping.end().await;
        assert_eq!(taken(&asked), ["PCP closed 6", "PCP closed 17"]);
        mapping.end().await;
    }

    #[tokio::test]
    async fn a_gateway_that_knows_no_pcp_is_asked_by_nat_pmp() {
        let (socket, addr) = socket().await;
        let (asked, mut tasks) = (Asked::default(), JoinSet::new());
        tasks.spawn(control(socket, false, OUTSIDE, asked.clone()));
        let mapping = start(Some(addr), addr);
        let (tcp, udp) = (Some(6881), Some(6882));
        assert_eq!(mapped(&mapping).await, Mapped { ip: OUTSIDE, tcp, udp, by: Method::NatPmp });
        assert_eq!(taken(&asked), ["PCP?", "address", "NAT-PMP opened 2", "NAT-PMP opened 1"]);
        mapping.end().await;
        assert_eq!(taken(&asked), ["NAT-PMP closed 2", "NAT-PMP closed 1"]);
    }

    #[tokio::test]
    async fn a_gateway_that_is_itself_behind_one_is_not_believed() {
        let (socket, addr) = socket().await;
        let (_other, nobody) = self::socket().await;
        let (asked, mut tasks) = (Asked::default(), JoinSet::new());
        tasks.spawn(control(socket, true, Ipv4Addr::new(192, 168, 0, 2), asked.clone()));
        let mapping = start(Some(addr), nobody);
        let address = |asked: &Asked| asked.lock().expect("no panic").contains(&"address".into());
        while !address(&asked) {
            tokio::task::yield_now().await;
        }
        assert_eq!(taken(&asked), ["PCP opened 6", "PCP closed 6", "address"]);
        assert_eq!(*mapping.mapped().borrow(), None);
    }

    /// Answers searches with `location`, and HTTP like a router whose first number is taken.
    async fn device(search: UdpSocket, http: TcpListener, location: String, asked: Asked) {
        let mut buf = [0; 2_000];
        let service = "urn:schemas-upnp-org:service:WANIPConnection:1";
        let description = format!(
            "<root><device><serviceList><service><serviceType>{service}</serviceType>\
             <controlURL>/control</controlURL></service></serviceList></device></root>"
        );
        let mut conflicts = 1;
        loop {
            let stream = tokio::select! {
                received = search.recv_from(&mut buf) => {
                    let (_, from) = received.expect("received");
                    let answer = format!("HTTP/1.1 200 OK\r\nLocation: {location}\r\n\r\n");
                    search.send_to(answer.as_bytes(), from).await.expect("sent");
                    continue;
                }
                accepted = http.accept() => accepted,
            };
            let (mut stream, _) = stream.expect("accepted");
            let mut request = String::new();
            let ends = |request: &str| {
                let end = if request.starts_with("GET") { "\r\n\r\n" } else { "Envelope>\r\n" };
                request.contains(end)
            };
            while !ends(&request) {
                let length = stream.read(&mut buf).await.expect("read");
                request.push_str(std::str::from_utf8(&buf[..length]).expect("text"));
            }
            let word = |before: &str, after: char| {
                let at = request.find(before).map(|at| at + before.len());
                at.map_or("", |at| request[at..].split(after).next().unwrap_or("")).to_owned()
            };
            let (action, port) = (word("Connection:1#", '"'), word("<NewExternalPort>", '<'));
            let protocol = word("<NewProtocol>", '<');
            let (status, body) = match &action[..] {
                "" => (200, description.clone()),
                "GetExternalIPAddress" => {
                    (200, format!("<r><NewExternalIPAddress>{OUTSIDE}</NewExternalIPAddress></r>"))
                }
                "AddPortMapping" if conflicts > 0 => {
                    conflicts -= 1;
                    (500, "<r><errorCode>718</errorCode></r>".to_owned())
                }
                _ => (200, "<r/>".to_owned()),
            };
            let said = [request.split(' ').next().unwrap_or(""), &action, &protocol, &port];
            asked.lock().expect("no panic").push(said.join(" ").trim().to_owned());
            let length = body.len();
            let head = format!(
                "HTTP/1.1 {status} X\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
            );
            stream.write_all((head + &body).as_bytes()).await.expect("written");
        }
    }

    #[tokio::test]
    async fn ports_are_mapped_by_upnp_around_those_of_others_and_given_back() {
        let (search, addr) = socket().await;
        let http = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("bound");
        let location = format!("http://{}/desc.xml", http.local_addr().expect("bound"));
        let (asked, mut tasks) = (Asked::default(), JoinSet::new());
        tasks.spawn(device(search, http, location, asked.clone()));
        let mapping = start(None, addr);
        let Mapped { ip, tcp, udp, by } = mapped(&mapping).await;
        assert_eq!((ip, udp, by), (OUTSIDE, Some(6882), Method::Upnp));
        let tcp = tcp.expect("another one");
        assert!(tcp >= 10_000);
        let add = |protocol: &str, port| format!("POST AddPortMapping {protocol} {port}");
        let mut expected = vec!["GET".to_owned(), "POST GetExternalIPAddress".to_owned()];
        expected.extend([add("TCP", 6881), add("TCP", tcp), add("UDP", 6882)]);
        assert_eq!(taken(&asked), expected);
        mapping.end().await;
        let delete = |protocol: &str, port| format!("POST DeletePortMapping {protocol} {port}");
        assert_eq!(taken(&asked), [delete("TCP", tcp), delete("UDP", 6882)]);
    }

    #[tokio::test]
    async fn a_device_leads_nowhere_but_to_itself() {
        let (near, addr) = socket().await;
        let far = UdpSocket::bind(("127.0.0.2", 0)).await.expect("bound");
        let answers = async {
            let mut buf = [0; 2_000];
            let (_, from) = near.recv_from(&mut buf).await.expect("searched for");
            for (by, location) in [
                (&far, "http://127.0.0.2/of-no-network-of-ours"),
                (&near, "http://127.0.0.2/of-another"),
                (&near, "http://router.example/of-a-name"),
                (&near, "http://127.0.0.1/of-itself"),
            ] {
                let answer = format!("HTTP/1.1 200 OK\r\nLocation: {location}\r\n\r\n");
                by.send_to(answer.as_bytes(), from).await.expect("sent");
            }
        };
        let only = NEAR.replace("0000007F", "0100007F").replace("000000FF", "FFFFFFFF");
        let vicinity = Vicinity { control: None, search: addr, routes: Routes::parse(&only) };
        let binding = Binding::default();
        let (found, ()) = tokio::join!(upnp::locations(&binding, &vicinity), answers);
        let found: Vec<String> = found.expect("searched").into_iter().map(String::from).collect();
        assert_eq!(found, ["http://127.0.0.1/of-itself"]);
    }

    #[tokio::test]
    async fn a_bounded_number_of_devices_is_looked_at() {
        let (near, addr) = socket().await;
        let mut crowd = Vec::new();
        for n in 2..40 {
            let ip = Ipv4Addr::new(127, 0, 0, n);
            crowd.push((UdpSocket::bind((ip, 0)).await.expect("bound"), ip));
        }
        let answers = async {
            let (_, from) = near.recv_from(&mut [0; 2_000]).await.expect("searched for");
            for (device, ip) in &crowd {
                let answer = format!("HTTP/1.1 200 OK\r\nLocation: http://{ip}/\r\n\r\n");
                device.send_to(answer.as_bytes(), from).await.expect("sent");
            }
        };
        let vicinity = Vicinity { control: None, search: addr, routes: Routes::parse(NEAR) };
        let binding = Binding::default();
        let (found, ()) = tokio::join!(upnp::locations(&binding, &vicinity), answers);
        assert_eq!(found.expect("searched").len(), MAX_GATEWAYS);
    }
}
