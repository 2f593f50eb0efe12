//! The embedded tracker on sockets: `/announce`, `/scrape` and `/stats` over HTTP, and the UDP
//! protocol on the same port.
//!
//! Routes, counters and the clock. Peers and limits are in [`crate::tracker::swarms`], bytes in
//! [`crate::tracker::http_host`] and [`crate::tracker::udp`], sockets in [`super::http_server`] and
//! [`super::udp_server`].
//!
//! A peer is listed with the address its connection comes from. The `ip` parameter would let
//! anyone send a swarm's traffic to anyone else, so it is ignored; a tracker that shares its host
//! with a peer may allow it for connections over loopback.

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    io,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant as Clock},
};

use super::{
    http_server::{
        ACCEPT, Bytes, HttpRequest, HttpResponse, HttpServer, HttpServerConfig, Method, StatusCode,
        reply,
    },
    udp_server::UdpServer,
};
use crate::{
    base::{
        hash::{Sha1Hash, sha1},
        rng::Rng,
        time::Instant,
    },
    tracker::{
        announce::{AnnounceReply, AnnounceRequest, Event},
        http_host::{
            AnnounceQuery, announce_reply, failure_reply, parse_announce, parse_scrape,
            scrape_reply,
        },
        scrape::ScrapeCounts,
        swarms::{Answer, Registration, SwarmLimits, Swarms},
        udp::{Request, Response},
        udp_host::ConnectionIds,
    },
};

/// Clients ask again early when they need peers, but not more often than that.
const MIN_INTERVAL: Duration = Duration::from_secs(60);
/// With port 0: how often we look for a number that is free for both protocols.
const PORT_ATTEMPTS: usize = 16;
/// Peers in one datagram: with its head it fits into a packet of 1,400 bytes.
const MAX_UDP_PEERS_V4: usize = 230;
/// The same for IPv6, where a peer is three times as long.
const MAX_UDP_PEERS_V6: usize = 76;
/// A peer may be so late, besides missing one announce, before it is forgotten.
const LATE: Duration = Duration::from_secs(60);
/// One small request per connection; nobody gets to hold one open.
const LIMITS: HttpServerConfig = HttpServerConfig {
    connections: 512,
    connections_per_address: 128,
    head_bytes: 16 << 10,
    body_bytes: 0,
    head_timeout: Duration::from_secs(10),
    request_timeout: Duration::from_secs(10),
    lifetime: Duration::from_secs(30),
    keep_alive: false,
};

/// How the tracker behaves.
#[derive(Debug, Clone)]
pub struct TrackerServerConfig {
    /// Where to listen; `[::]` takes IPv4 as well.
    pub listen: SocketAddr,
    /// How often clients are to announce. Peers are forgotten after twice as long and a minute.
    pub interval: Duration,
    /// How much is remembered.
    pub limits: SwarmLimits,
    /// Believe the `ip` parameter of clients on this host. Not behind a local proxy, where every
    /// client looks like one.
    pub ip_from_loopback: bool,
    /// Decides who is given to whom.
    pub seed: u64,
}

/// What the tracker has done and knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct TrackerStats {
    /// Swarms with at least one peer.
    pub swarms: usize,
    /// Peers in all swarms.
    pub peers: usize,
    /// Those that have everything.
    pub seeds: usize,
    /// Those that do not.
    pub leeches: usize,
    /// Announces answered with peers since the start.
    pub announces: u64,
    /// Scrapes answered since the start.
    pub scrapes: u64,
    /// Announces and scrapes refused since the start.
    pub refused: u64,
    /// Seconds since the start.
    pub uptime_s: u64,
}

/// A running tracker. Dropping it stops it at once.
#[derive(Debug)]
pub struct TrackerServer {
    http: HttpServer,
    /// Answers until it is dropped.
    _udp: UdpServer,
    desk: Arc<Desk>,
}

impl TrackerServer {
    /// Starts to listen; inside a tokio runtime, an error otherwise.
    pub fn start(config: &TrackerServerConfig) -> io::Result<Self> {
        let interval_s = u32::try_from(config.interval.as_secs()).unwrap_or(u32::MAX).max(1);
        let interval = Duration::from_secs(u64::from(interval_s));
        let lifetime = interval * 2 + LATE;
        let desk = Arc::new(Desk {
            swarms: Mutex::new(Swarms::new(config.limits, lifetime, Rng::new(config.seed))),
            interval_s,
            min_interval_s: interval.min(MIN_INTERVAL).as_secs() as u32,
            ip_from_loopback: config.ip_from_loopback,
            connections: connection_ids(config.seed),
            started: now(),
            announces: AtomicU64::new(0),
            scrapes: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        });
        let mut attempts = if config.listen.port() == 0 { PORT_ATTEMPTS } else { 1 };
        loop {
            let answering = desk.clone();
            let http = HttpServer::start(config.listen, LIMITS, move |request| {
                std::future::ready(answering.answer(&request))
            })?;
            let answering = desk.clone();
            let udp = UdpServer::start(http.local_addr(), move |datagram, from| {
                answering.answer_datagram(datagram, from)
            });
            attempts -= 1;
            match udp {
                Ok(udp) => return Ok(TrackerServer { http, _udp: udp, desk }),
                // The number that is free for one protocol is taken for the other.
                Err(error) if attempts > 0 && error.kind() == io::ErrorKind::AddrInUse => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Where it listens.
    pub const fn local_addr(&self) -> SocketAddr {
        self.http.local_addr()
    }

    /// Serves only these torrents from now on, and forgets the others.
    pub fn allow_only(&self, info_hashes: BTreeSet<Sha1Hash>) {
        self.desk.swarms().allow_only(info_hashes);
    }

    /// What it has done and knows.
    pub fn stats(&self) -> TrackerStats {
        self.desk.stats()
    }

    /// Answers what is under way and stops.
    pub async fn shutdown(self) {
        self.http.shutdown().await;
    }
}

/// What all connections share.
#[derive(Debug)]
struct Desk {
    swarms: Mutex<Swarms>,
    interval_s: u32,
    min_interval_s: u32,
    ip_from_loopback: bool,
    connections: ConnectionIds,
    started: Clock,
    announces: AtomicU64,
    scrapes: AtomicU64,
    refused: AtomicU64,
}

impl Desk {
    fn answer(&self, request: &HttpRequest) -> HttpResponse {
        if !matches!(request.method, Method::GET | Method::HEAD) {
            return text(StatusCode::METHOD_NOT_ALLOWED, "only GET\n");
        }
        match request.path.as_str() {
            "/announce" => self.count(&self.announces, self.announce(request)),
            "/scrape" => self.count(&self.scrapes, self.scrape(&request.query)),
            "/stats" => self.show_stats(request),
            "/" => text(StatusCode::OK, "a BitTorrent tracker: /announce /scrape /stats\n"),
            _ => text(StatusCode::NOT_FOUND, "nothing here; try /announce or /stats\n"),
        }
    }

    /// A tracker's failures are replies like others: clients do not read the body of an error.
    fn count(&self, good: &AtomicU64, result: Result<Vec<u8>, String>) -> HttpResponse {
        let counter = if result.is_ok() { good } else { &self.refused };
        counter.fetch_add(1, Relaxed);
        let body = result.unwrap_or_else(|reason| failure_reply(&reason));
        reply(StatusCode::OK, "text/plain", body)
    }

    fn announce(&self, request: &HttpRequest) -> Result<Vec<u8>, String> {
        let AnnounceQuery { request: announce, form, ip } =
            parse_announce(&request.query).map_err(|err| err.to_string())?;
        let remote = request.remote.ip();
        let trusted = ip.filter(|ip| self.ip_from_loopback && remote.is_loopback() && is_host(*ip));
        let answer = self.register(&announce, trusted.unwrap_or(remote), false)?;
        let full = !answer.listed && announce.event != Event::Stopped;
        let warning = full.then_some("this tracker is full: other peers will not hear of you");
        let (interval, least) = (self.interval_s, self.min_interval_s);
        Ok(announce_reply(&answer, form, interval, least, remote, warning))
    }

    fn register(
        &self,
        announce: &AnnounceRequest,
        ip: IpAddr,
        own_family: bool,
    ) -> Result<Answer, String> {
        let registration = Registration {
            info_hash: announce.info_hash,
            addr: SocketAddr::new(ip, announce.port),
            peer_id: announce.peer_id,
            seed: announce.left == 0,
            event: announce.event,
            numwant: announce.numwant,
            own_family,
        };
        self.swarms().announce(self.now(), &registration).map_err(|err| err.to_string())
    }

    /// What is not of the protocol gets no answer: the sender may be made up.
    fn answer_datagram(&self, datagram: &[u8], from: SocketAddr) -> Option<Vec<u8>> {
        let (transaction, request) = Request::decode(datagram).ok()?;
        let (now, ip) = (self.now(), from.ip());
        let (counter, response) = match request {
            Request::Connect => {
                let connection = self.connections.issue(now, ip);
                return Some(Response::Connect { connection }.encode(transaction, ip.is_ipv6()));
            }
            Request::Announce { connection, .. } | Request::Scrape { connection, .. }
                if !self.connections.is_valid(now, ip, connection) =>
            {
                // No longer than what was asked.
                let reason = "expired".to_owned();
                (&self.refused, Response::Error { reason })
            }
            Request::Announce { request, .. } => {
                // Those of the other family have no place in a reply.
                match self.register(&request, ip, true) {
                    Ok(answer) => {
                        let reply = self.udp_reply(&answer, ip.is_ipv6());
                        (&self.announces, Response::Announce(reply))
                    }
                    Err(reason) => (&self.refused, Response::Error { reason }),
                }
            }
            Request::Scrape { info_hashes, .. } => {
                let mut swarms = self.swarms();
                let counts = info_hashes.into_iter().map(|hash| {
                    let counts = swarms.scrape(now, hash).unwrap_or_default();
                    ScrapeCounts {
                        seeds: counts.complete,
                        completed: counts.downloaded,
                        leeches: counts.incomplete,
                    }
                });
                (&self.scrapes, Response::Scrape(counts.collect()))
            }
        };
        counter.fetch_add(1, Relaxed);
        Some(response.encode(transaction, ip.is_ipv6()))
    }

    fn udp_reply(&self, answer: &Answer, v6: bool) -> AnnounceReply {
        let most = if v6 { MAX_UDP_PEERS_V6 } else { MAX_UDP_PEERS_V4 };
        let peers = answer.peers.iter().map(|peer| peer.addr);
        AnnounceReply {
            interval: Duration::from_secs(self.interval_s.into()),
            peers: peers.take(most).collect(),
            seeds: Some(answer.counts.complete),
            leeches: Some(answer.counts.incomplete),
            ..AnnounceReply::default()
        }
    }

    fn scrape(&self, query: &str) -> Result<Vec<u8>, String> {
        let hashes = parse_scrape(query).map_err(|err| err.to_string())?;
        let (mut swarms, now) = (self.swarms(), self.now());
        let counts = hashes.into_iter().map(|hash| (hash, swarms.scrape(now, hash)));
        let known: Vec<_> = counts.filter_map(|(hash, c)| Some((hash, c?))).collect();
        Ok(scrape_reply(&known))
    }

    fn stats(&self) -> TrackerStats {
        let totals = self.swarms().totals(self.now());
        TrackerStats {
            swarms: totals.swarms,
            peers: totals.seeds + totals.leeches,
            seeds: totals.seeds,
            leeches: totals.leeches,
            announces: self.announces.load(Relaxed),
            scrapes: self.scrapes.load(Relaxed),
            refused: self.refused.load(Relaxed),
            uptime_s: self.started.elapsed().as_secs(),
        }
    }

    /// Lines of name and value; JSON for who asks for it by `Accept` or `?format=json`.
    fn show_stats(&self, request: &HttpRequest) -> HttpResponse {
        let accept = request.headers.get(ACCEPT).and_then(|v| v.to_str().ok()).unwrap_or_default();
        let json = serde_json::json!(self.stats());
        if accept.contains("application/json") || request.query == "format=json" {
            return reply(StatusCode::OK, "application/json", json.to_string());
        }
        let mut lines = String::new();
        for (name, value) in json.as_object().into_iter().flatten() {
            let _ = writeln!(lines, "{name}\t{value}");
        }
        text(StatusCode::OK, lines)
    }

    /// A panic elsewhere leaves the table whole enough: it holds hints, not promises.
    fn swarms(&self) -> MutexGuard<'_, Swarms> {
        self.swarms.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Instant {
        Instant::ZERO + self.started.elapsed()
    }
}

/// The secret of connection ids follows from the seed, but what else the seed brings forth does not
/// tell it.
fn connection_ids(seed: u64) -> ConnectionIds {
    let digest = sha1(&[&seed.to_be_bytes()[..], b"connection ids"].concat()).0;
    ConnectionIds::new(*digest.first_chunk().expect("a digest has 20 bytes"))
}

#[allow(clippy::disallowed_methods)] // The driver's one reading of the clock.
fn now() -> Clock {
    Clock::now()
}

/// An address that one host can have.
fn is_host(ip: IpAddr) -> bool {
    !ip.is_unspecified() && !ip.is_multicast()
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> HttpResponse {
    reply(status, "text/plain; charset=utf-8", body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        base::id::PeerId,
        net::{
            http::{Http, HttpConfig, HttpReply, Route},
            outlet::Outlet,
            reach::Reach,
            tracker_client::{TrackerClient, TrackerError},
            udp_hub::UdpHub,
            udp_tracker::UdpTrackers,
        },
        tracker::announce::{AnnounceRequest, Crypto, Families},
    };
    use std::net::{Ipv4Addr, Ipv6Addr};
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpStream,
    };
    use url::Url;

    fn start(listen: IpAddr, limits: SwarmLimits, ip_from_loopback: bool) -> TrackerServer {
        let listen = SocketAddr::new(listen, 0);
        let interval = Duration::from_secs(1800);
        let config = TrackerServerConfig { listen, interval, limits, ip_from_loopback, seed: 1 };
        TrackerServer::start(&config).expect("listening")
    }

    fn peer(port: u16, left: u64, event: Event) -> AnnounceRequest {
        AnnounceRequest {
            info_hash: Sha1Hash([7; 20]),
            peer_id: PeerId([port as u8; 20]),
            port,
            uploaded: 0,
            downloaded: 0,
            left,
            event,
            numwant: 50,
            key: 1,
            tracker_id: None,
            crypto: Crypto::default(),
            families: Families::Both,
        }
    }

    fn client() -> TrackerClient {
        let outlet = Outlet::default();
        let http = Http::new(&HttpConfig::new(outlet.clone())).expect("a client");
        TrackerClient {
            http,
            udp: UdpTrackers::new(UdpHub::new(outlet, None, true, 0), Rng::new(1)),
        }
    }

    async fn get(addr: SocketAddr, path: &str) -> HttpReply {
        let url = Url::parse(&format!("http://{addr}{path}")).expect("valid");
        client().http.get(&url, Route::Any, Reach::Anywhere, 1 << 20).await.expect("a reply")
    }

    async fn text(addr: SocketAddr, path: &str) -> String {
        String::from_utf8_lossy(&get(addr, path).await.body).into_owned()
    }

    #[tokio::test]
    async fn our_own_client_finds_its_peers_until_they_leave() {
        let tracker = start(Ipv4Addr::LOCALHOST.into(), SwarmLimits::default(), false);
        let url = format!("http://{}/announce", tracker.local_addr());
        let client = client();
        let go = async |request| client.announce(&url, &request).await.expect("answered");
        assert_eq!(go(peer(1, 0, Event::Started)).await.peers, []);
        let reply = go(peer(2, 5, Event::Started)).await;
        assert_eq!(reply.peers, ["127.0.0.1:1".parse().expect("valid")]);
        assert_eq!((reply.seeds, reply.leeches), (Some(1), Some(1)));
        assert_eq!((reply.interval.as_secs(), reply.min_interval), (1800, Some(MIN_INTERVAL)));
        assert_eq!(reply.external_ip, Some(Ipv4Addr::LOCALHOST.into()));
        go(peer(2, 0, Event::Completed)).await;
        assert_eq!(go(peer(1, 0, Event::Stopped)).await.peers, []);
        assert_eq!(
            go(peer(3, 5, Event::None)).await.peers,
            ["127.0.0.1:2".parse().expect("valid")]
        );
        let stats = tracker.stats();
        assert_eq!((stats.announces, stats.seeds, stats.leeches), (5, 1, 1));
        let scrape = text(
            tracker.local_addr(),
            "/scrape?info_hash=%07%07%07%07%07%07%07%07%07%07%07%07%07%07%07%07%07%07%07%07",
        )
        .await;
        assert!(scrape.ends_with("d8:completei1e10:downloadedi1e10:incompletei1eeee"), "{scrape}");
        tracker.shutdown().await;
        let err = client.announce(&url, &peer(4, 0, Event::Started)).await.expect_err("gone");
        assert!(matches!(err, TrackerError::Unreachable { .. }), "{err}");
    }

    #[tokio::test]
    async fn the_same_swarm_over_udp() {
        for ip in [IpAddr::from(Ipv4Addr::LOCALHOST), Ipv6Addr::LOCALHOST.into()] {
            let tracker = start(ip, SwarmLimits::default(), false);
            let (http, udp) = ["http", "udp"]
                .map(|scheme| format!("{scheme}://{}/announce", tracker.local_addr()))
                .into();
            let client = client();
            let go = async |url, request| client.announce(url, &request).await.expect("answered");
            assert_eq!(go(&http, peer(1, 0, Event::Started)).await.peers, []);
            let reply = go(&udp, peer(2, 5, Event::Started)).await;
            assert_eq!(reply.peers, [SocketAddr::new(ip, 1)]);
            assert_eq!((reply.seeds, reply.leeches), (Some(1), Some(1)));
            assert_eq!(reply.interval.as_secs(), 1800);
            // The second announce uses the connection id of the first.
            go(&udp, peer(2, 0, Event::Completed)).await;
            assert_eq!(go(&http, peer(3, 9, Event::Started)).await.seeds, Some(2));
            go(&udp, peer(2, 0, Event::Stopped)).await;
            let stats = tracker.stats();
            assert_eq!((stats.announces, stats.seeds, stats.leeches), (5, 1, 1));
            tracker.shutdown().await;
            let gone = client.announce(&http, &peer(2, 0, Event::Stopped)).await;
            assert!(matches!(gone, Err(TrackerError::Unreachable { .. })), "{gone:?}");
        }
    }

    #[tokio::test]
    async fn over_udp_only_who_can_be_reached_may_announce() {
        let tracker = start(Ipv4Addr::LOCALHOST.into(), SwarmLimits::default(), false);
        let ask = async |datagram: &[u8]| {
            let socket =
                tokio::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("bound");
            socket.connect(tracker.local_addr()).await.expect("connected");
            socket.send(datagram).await.expect("sent");
            let mut buf = [0; 2_000];
            let length = socket.recv(&mut buf).await.expect("answered");
            Response::decode(&buf[..length], false).expect("a response")
        };
        let request = peer(1, 0, Event::Started);
        let forged = Request::Announce { connection: 7, request, url_data: Vec::new() };
        let (5, Response::Error { reason }) = ask(&forged.encode(5)).await else { panic!() };
        assert!(8 + reason.len() <= 16, "longer than what was asked: {reason}");
        let (6, Response::Connect { connection }) = ask(&Request::Connect.encode(6)).await else {
            panic!()
        };
        let hashes = vec![Sha1Hash([7; 20]), Sha1Hash([8; 20])];
        let scrape = Request::Scrape { connection, info_hashes: hashes };
        let (7, Response::Scrape(counts)) = ask(&scrape.encode(7)).await else { panic!() };
        assert_eq!(counts, [ScrapeCounts::default(); 2]);
        assert_eq!(tracker.stats().peers, 0);
        tracker.shutdown().await;
    }

    #[tokio::test]
    async fn over_udp_a_peer_hears_of_those_of_its_family() {
        let tracker = start(Ipv6Addr::UNSPECIFIED.into(), SwarmLimits::default(), false);
        let port = tracker.local_addr().port();
        let client = client();
        let mut last = Vec::new();
        for own in 1..=4 {
            for host in ["127.0.0.1", "[::1]"] {
                let url = format!("udp://{host}:{port}/announce");
                let wish = AnnounceRequest { numwant: 2, ..peer(own, 5, Event::Started) };
                last.push(client.announce(&url, &wish).await.expect("answered").peers);
            }
        }
        let [.., v4, v6] = &last[..] else { panic!() };
        assert!(v4.len() == 2 && v4.iter().all(SocketAddr::is_ipv4), "{v4:?}");
        assert!(v6.len() == 2 && v6.iter().all(SocketAddr::is_ipv6), "{v6:?}");
        tracker.shutdown().await;
    }

    #[tokio::test]
    async fn a_dual_stack_tracker_lists_both_families() {
        let tracker = start(Ipv6Addr::UNSPECIFIED.into(), SwarmLimits::default(), false);
        let port = tracker.local_addr().port();
        let client = client();
        for (host, own) in [("127.0.0.1", 1), ("[::1]", 2)] {
            let url = format!("http://{host}:{port}/announce");
            client.announce(&url, &peer(own, 5, Event::Started)).await.expect("answered");
        }
        let url = format!("http://127.0.0.1:{port}/announce");
        let mut got = client.announce(&url, &peer(3, 5, Event::Started)).await.expect("answered");
        got.peers.sort_unstable();
        let want = ["127.0.0.1:1", "[::1]:2"].map(|a| a.parse::<SocketAddr>().expect("valid"));
        assert_eq!(got.peers, want);
        tracker.shutdown().await;
    }

    const QUERY: &str = "info_hash=aaaaaaaaaaaaaaaaaaaa&peer_id=bbbbbbbbbbbbbbbbbbbb&port=9";

    #[tokio::test]
    async fn dictionaries_statistics_and_refusals() {
        let limits = SwarmLimits { peers_per_address: 2, ..SwarmLimits::default() };
        let tracker = start(Ipv4Addr::LOCALHOST.into(), limits, false);
        let addr = tracker.local_addr();
        // The address the client claims is not believed.
        text(addr, &format!("/announce?{QUERY}&ip=9.9.9.9&left=0")).await;
        let dicts = text(addr, &format!("/announce?{QUERY}9&compact=0")).await;
        let want = "5:peersld2:ip9:127.0.0.17:peer id20:bbbbbbbbbbbbbbbbbbbb4:porti9eeee";
        assert!(dicts.ends_with(want), "{dicts}");
        let full = text(addr, &format!("/announce?{QUERY}8")).await;
        assert_eq!(full, "d14:failure reason43:too many peers of one address in this swarme");
        let bad = text(addr, "/announce?port=1").await;
        assert_eq!(bad, "d14:failure reason20:info_hash is missinge");
        let stats = text(addr, "/stats").await;
        assert!(stats.contains("announces\t2\n") && stats.contains("refused\t2\n"), "{stats}");
        let json: serde_json::Value =
            serde_json::from_str(&text(addr, "/stats?format=json").await).expect("JSON");
        assert_eq!((&json["peers"], &json["seeds"]), (&2.into(), &1.into()));
        assert_eq!(get(addr, "/other").await.status, 404);
        tracker.shutdown().await;
    }

    #[tokio::test]
    async fn a_full_tracker_answers_with_a_warning() {
        let limits = SwarmLimits { peers: 1, ..SwarmLimits::default() };
        let tracker = start(Ipv4Addr::LOCALHOST.into(), limits, true);
        let addr = tracker.local_addr();
        text(addr, &format!("/announce?{QUERY}&ip=9.9.9.9")).await;
        let reply = text(addr, &format!("/announce?{QUERY}1&compact=0&no_peer_id=1")).await;
        assert!(reply.contains("d2:ip7:9.9.9.94:porti9ee"), "the claimed address: {reply}");
        assert!(reply.contains("15:warning message"), "{reply}");
        tracker.shutdown().await;
    }

    /// What comes back for raw bytes, until the server closes.
    async fn raw(addr: SocketAddr, bytes: &[u8]) -> String {
        let mut stream = TcpStream::connect(addr).await.expect("connected");
        // The server may have closed before it has read everything.
        let _ = stream.write_all(bytes).await;
        let mut reply = Vec::new();
        let _ = stream.read_to_end(&mut reply).await;
        String::from_utf8_lossy(&reply).into_owned()
    }

    #[tokio::test]
    async fn hostile_requests_are_turned_away() {
        let tracker = start(Ipv4Addr::LOCALHOST.into(), SwarmLimits::default(), false);
        let addr = tracker.local_addr();
        let long = format!("GET /announce?{} HTTP/1.1\r\n\r\n", "x".repeat(100_000));
        let body = b"GET /stats HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello".as_slice();
        let post = b"POST /announce HTTP/1.1\r\nContent-Length: 0\r\n\r\n".as_slice();
        let headers = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(200));
        for (bytes, want) in [
            (b"\x13BitTorrent protocol\r\n\r\n".as_slice(), "400"),
            (body, "413"),
            (post, "405"),
            (headers.as_bytes(), "431"),
        ] {
            let reply = raw(addr, bytes).await;
            let want = format!("HTTP/1.1 {want}");
            assert!(reply.starts_with(&want), "{}: {reply}", bytes.escape_ascii());
        }
        // The rest of a long request may meet a closed socket, and the reply with it.
        let reply = raw(addr, long.as_bytes()).await;
        assert!(reply.is_empty() || reply.starts_with("HTTP/1.1 4"), "{reply}");
        assert!(text(addr, "/").await.contains("tracker"), "still there");
        // One that never finishes its request does not hold the end up.
        let _idle = TcpStream::connect(addr).await.expect("connected");
        tracker.shutdown().await;
    }

    #[tokio::test]
    async fn a_taken_port_is_an_error() {
        let tracker = start(Ipv4Addr::LOCALHOST.into(), SwarmLimits::default(), false);
        let config = TrackerServerConfig {
            listen: tracker.local_addr(),
            interval: Duration::from_secs(1),
            limits: SwarmLimits::default(),
            ip_from_loopback: false,
            seed: 1,
        };
        let err = TrackerServer::start(&config).expect_err("taken");
        assert_eq!(err.kind(), io::ErrorKind::AddrInUse);
        tracker.shutdown().await;
    }
}
