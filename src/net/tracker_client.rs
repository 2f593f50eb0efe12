//! Carries out announces and scrapes: a tracker URL and a request in, a reply or a typed failure out.
//!
//! When to announce where is decided by [`crate::tracker::tiers`]; bytes are in
//! [`crate::tracker::http`], [`crate::tracker::scrape`] and [`crate::tracker::udp`]. Here are only
//! schemes, address families and what a failure means.

use std::{collections::BTreeSet, future::Future, time::Duration};

use tokio::time::timeout;
use url::{Host, Url};

use super::{
    http::{Http, HttpError, HttpReply, Route},
    reach::{Reach, is_local},
    udp_tracker::{UdpTrackerError, UdpTrackers},
};
use crate::{
    base::{
        hash::Sha1Hash,
        limits::{MAX_PEERS_PER_REPLY, MAX_TRACKER_REPLY},
    },
    proxy::Place,
    tracker::{
        announce::{AnnounceReply, AnnounceRequest, Families, Refusal, Retry},
        http::{ReplyError, UrlError, announce_url, parse_reply},
        scrape::{ScrapeCounts, parse_scrape_reply, scrape_url},
        udp_client::{ExchangeError, Question, Reply},
    },
};

/// Once one family has answered, so long the other one may still take.
const OTHER_FAMILY_GRACE: Duration = Duration::from_secs(3);
/// Hosts of one name that are asked over UDP, one after the other.
const HOSTS_TRIED: usize = 3;
/// One that says nothing for so long loses its turn to the next: it was asked once then (BEP 15).
const ANOTHER_HOST_AFTER: Duration = Duration::from_secs(15);

/// Why an announce or a scrape failed. The texts name the host only: the rest of a URL may hold a passkey.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TrackerError {
    /// The URL is not one.
    #[error("the tracker's address is not a valid URL")]
    BadUrl,
    /// The URL leads to this host or network, and not to an announce.
    #[error("{host} is on this host or network, and the URL is not that of a tracker")]
    Forbidden {
        /// The tracker.
        host: String,
    },
    /// The URL does not say where to scrape (BEP 48).
    #[error("{host} takes no scrapes: its URL does not end in `announce`")]
    NoScrape {
        /// The tracker.
        host: String,
    },
    /// We do not speak the protocol.
    #[error("{scheme} trackers are not yet supported")]
    Unsupported {
        /// The scheme of the URL.
        scheme: String,
    },
    /// There is no connection.
    #[error("could not reach {host}: {cause}")]
    Unreachable {
        /// The tracker.
        host: String,
        /// What the system or TLS said.
        cause: String,
    },
    /// There is no connection, because its certificate is not valid at the time that it is here.
    #[error("could not reach {host}: {cause}")]
    Validity {
        /// The tracker.
        host: String,
        /// It is to become valid later; otherwise it has run out.
        early: bool,
        /// What TLS said.
        cause: String,
    },
    /// Nothing came in time.
    #[error("{host} did not answer in time")]
    TimedOut {
        /// The tracker.
        host: String,
    },
    /// It sent us around, or somewhere we do not go.
    #[error("{host} redirected us in vain: {cause}")]
    Redirected {
        /// The tracker.
        host: String,
        /// What was wrong.
        cause: String,
    },
    /// It answered with a status that is not success.
    #[error("{host} answered with HTTP status {status}")]
    Status {
        /// The tracker.
        host: String,
        /// The status code.
        status: u16,
    },
    /// It said no.
    #[error("{host} refused: {}", refusal.reason)]
    Refused {
        /// The tracker.
        host: String,
        /// Its reason, and when to try again.
        refusal: Refusal,
    },
    /// It answered with something else than a tracker's reply, or broke off.
    #[error("the reply of {host} cannot be used: {cause}")]
    Malformed {
        /// The tracker.
        host: String,
        /// What was wrong.
        cause: String,
    },
}

impl TrackerError {
    /// The kind of failure, in one word that stays the same.
    pub const fn word(&self) -> &'static str {
        match self {
            TrackerError::BadUrl => "bad_url",
            TrackerError::Forbidden { .. } => "forbidden",
            TrackerError::NoScrape { .. } => "no_scrape",
            TrackerError::Unsupported { .. } => "unsupported",
            TrackerError::Unreachable { .. } => "unreachable",
            TrackerError::Validity { .. } => "certificate_time",
            TrackerError::TimedOut { .. } => "timed_out",
            TrackerError::Redirected { .. } => "redirected",
            TrackerError::Status { .. } => "status",
            TrackerError::Refused { .. } => "refused",
            TrackerError::Malformed { .. } => "malformed",
        }
    }

    /// What the tracker said about trying again; an address that cannot work is never tried again.
    pub const fn retry(&self) -> Option<Retry> {
        match self {
            TrackerError::Refused { refusal, .. } => refusal.retry,
            TrackerError::BadUrl
            | TrackerError::Forbidden { .. }
            | TrackerError::NoScrape { .. }
            | TrackerError::Unsupported { .. } => Some(Retry::Never),
            _ => None,
        }
    }

    /// The tracker was there and answered, with whatever.
    const fn is_answer(&self) -> bool {
        matches!(
            self,
            TrackerError::Status { .. }
                | TrackerError::Refused { .. }
                | TrackerError::Malformed { .. }
                | TrackerError::Redirected { .. }
        )
    }
}

/// What reaches trackers of every kind. Copies are the same.
#[derive(Debug, Clone)]
pub struct TrackerClient {
    /// Those over HTTP.
    pub http: Http,
    /// Those over UDP.
    pub udp: UdpTrackers,
}

impl TrackerClient {
    /// Announces `request` to the tracker at `tracker`.
    ///
    /// With [`Families::Both`] there are two announces, and their peers are put together; one that
    /// succeeds is enough.
    pub async fn announce(
        &self,
        tracker: &str,
        request: &AnnounceRequest,
    ) -> Result<AnnounceReply, TrackerError> {
        self.announce_behind(tracker, request, None).await
    }

    /// The same behind a gateway: a tracker outside that is reached over IPv4 is told the port that is
    /// `mapped` to ours.
    pub async fn announce_behind(
        &self,
        tracker: &str,
        request: &AnnounceRequest,
        mapped: Option<u16>,
    ) -> Result<AnnounceReply, TrackerError> {
        let over = |url: &Url, route| {
            let mapped = mapped.filter(|_| leads_outside(url, route));
            AnnounceRequest { port: mapped.unwrap_or(request.port), ..request.clone() }
        };
        if let Some(url) = udp_url(tracker) {
            let ask = async |route| {
                let question = Question::Announce(over(&url, route), url_data(&url));
                match self.ask_over_udp(&url, route, question).await? {
                    Reply::Announce(reply) => Ok(reply),
                    Reply::Scrape(_) => unreachable!("an announce is answered by an announce"),
                }
            };
            return over_each(families(request.families, url.host()), ask).await;
        }
        let url = announce_url(tracker, request)?;
        if is_local(&url) && !names_a_tracker(&url) {
            return Err(TrackerError::Forbidden { host: host(&url) });
        }
        let announce = async |route| {
            let url = announce_url(tracker, &over(&url, route))?;
            read(&url, self.get(&url, route).await?, parse_reply)
        };
        over_each(families(request.families, url.host()), announce).await
    }

    /// Asks the tracker at `tracker` how many peers a torrent has; `None` if it does not know it. May take
    /// minutes if it is silent.
    pub async fn scrape(
        &self,
        tracker: &str,
        info_hash: Sha1Hash,
    ) -> Result<Option<ScrapeCounts>, TrackerError> {
        if let Some(url) = udp_url(tracker) {
            let question = Question::Scrape(vec![info_hash]);
            return match self.ask_over_udp(&url, Route::Any, question).await? {
                Reply::Scrape(counts) => Ok(counts.first().copied()),
                Reply::Announce(_) => unreachable!("a scrape is answered by a scrape"),
            };
        }
        let Some(url) = scrape_url(tracker, info_hash)? else {
            return Err(TrackerError::NoScrape { host: host_of(tracker) });
        };
        let reply = self.get(&url, Route::Any).await?;
        read(&url, reply, |body| parse_scrape_reply(body, info_hash))
    }

    async fn ask_over_udp(
        &self,
        url: &Url,
        route: Route,
        question: Question,
    ) -> Result<Reply, TrackerError> {
        let name = host(url);
        let (Some(host), Some(port)) = (url.host(), url.port()) else {
            return Err(TrackerError::BadUrl);
        };
        let unreachable = |cause: String| TrackerError::Unreachable { host: name.clone(), cause };
        let explain = |error| match error {
            UdpTrackerError::Unreachable(error) => unreachable(error.to_string()),
            UdpTrackerError::Exchange(ExchangeError::Silent) => {
                TrackerError::TimedOut { host: name.clone() }
            }
            UdpTrackerError::Exchange(ExchangeError::Refused(reason)) => {
                let refusal = Refusal { reason, retry: None };
                TrackerError::Refused { host: name.clone(), refusal }
            }
            UdpTrackerError::Exchange(ExchangeError::Malformed(error)) => {
                TrackerError::Malformed { host: name.clone(), cause: error.to_string() }
            }
        };
        if !self.udp.hub().is_carried() {
            return Err(unreachable("UDP cannot pass an HTTP proxy".to_owned()));
        }
        let host = match host {
            Host::Ipv4(ip) => ip.to_string(),
            Host::Ipv6(ip) => ip.to_string(),
            Host::Domain(domain) => domain.to_owned(),
        };
        let places = self.udp.hub().places(&host, port).await;
        let places = places.map_err(|error| unreachable(error.to_string()))?;
        let fits = |place: &Place| match (route, place) {
            (Route::V4, Place::Addr(addr)) => addr.is_ipv4(),
            (Route::V6, Place::Addr(addr)) => addr.is_ipv6(),
            (Route::Any, _) | (_, Place::Name(..)) => true,
        };
        let places: Vec<Place> = places.into_iter().filter(fits).take(HOSTS_TRIED).collect();
        let Some((last, others)) = places.split_last() else {
            return Err(unreachable("it has no address of that family".to_owned()));
        };
        // The name may stand for several hosts, of which one is down.
        for place in others {
            let asked = self.udp.ask(place.clone(), question.clone());
            match timeout(ANOTHER_HOST_AFTER, asked).await {
                Ok(Ok(reply)) => return Ok(reply),
                Ok(Err(error)) if !is_silence(&error) => return Err(explain(error)),
                Ok(Err(_)) | Err(_) => {}
            }
        }
        self.udp.ask(last.clone(), question).await.map_err(explain)
    }

    async fn get(&self, url: &Url, route: Route) -> Result<HttpReply, TrackerError> {
        let host = host(url);
        // A torrent must not make us call whatever else listens on this host or network.
        let reach = if names_a_tracker(url) { Reach::Anywhere } else { Reach::Public };
        self.http.get(url, route, reach, MAX_TRACKER_REPLY).await.map_err(|error| match error {
            HttpError::Unreachable(cause) => TrackerError::Unreachable { host, cause },
            HttpError::Validity { early, cause } => TrackerError::Validity { host, early, cause },
            HttpError::TimedOut => TrackerError::TimedOut { host },
            HttpError::Redirect(cause) => TrackerError::Redirected { host, cause },
            HttpError::TooLarge { .. } | HttpError::Broken(_) => {
                TrackerError::Malformed { host, cause: error.to_string() }
            }
        })
    }
}

/// Whether nobody has answered.
const fn is_silence(error: &UdpTrackerError) -> bool {
    matches!(
        error,
        UdpTrackerError::Unreachable(_) | UdpTrackerError::Exchange(ExchangeError::Silent)
    )
}

impl From<UrlError> for TrackerError {
    fn from(error: UrlError) -> Self {
        match error {
            UrlError::Invalid => TrackerError::BadUrl,
            UrlError::Scheme { scheme } => TrackerError::Unsupported { scheme },
        }
    }
}

fn udp_url(tracker: &str) -> Option<Url> {
    Url::parse(tracker).ok().filter(|url| url.scheme() == "udp")
}

/// Path and query (BEP 41).
fn url_data(url: &Url) -> Vec<u8> {
    url[url::Position::BeforePath..url::Position::AfterQuery].as_bytes().to_vec()
}

/// What `families` comes to for a tracker whose host is given: an address has only one.
fn families<S>(families: Families, host: Option<Host<S>>) -> Families {
    match (families, host) {
        (Families::Both, Some(Host::Ipv4(_))) => Families::V4,
        (Families::Both, Some(Host::Ipv6(_))) => Families::V6,
        (families, _) => families,
    }
}

/// Whether its path is one by which trackers are reached.
fn names_a_tracker(url: &Url) -> bool {
    let is_tracker = |part: &str| part.starts_with("announce") || part.starts_with("scrape");
    url.path_segments().is_some_and(|mut parts| parts.any(is_tracker))
}

/// Whether a tracker sees us as strangers do, behind a gateway of IPv4.
fn leads_outside(url: &Url, route: Route) -> bool {
    let v4 = route == Route::V4 || matches!(url.host(), Some(Host::Ipv4(_)));
    v4 && !is_local(url)
}

/// Announces by `over` as `families` say.
async fn over_each<F>(
    families: Families,
    over: impl Fn(Route) -> F,
) -> Result<AnnounceReply, TrackerError>
where
    F: Future<Output = Result<AnnounceReply, TrackerError>>,
{
    match families {
        Families::Any => return over(Route::Any).await,
        Families::V4 => return over(Route::V4).await,
        Families::V6 => return over(Route::V6).await,
        Families::Both => {}
    }
    let mut v4 = std::pin::pin!(over(Route::V4));
    let mut v6 = std::pin::pin!(over(Route::V6));
    let (first, other) = tokio::select! {
        first = v4.as_mut() => (first, v6),
        first = v6.as_mut() => (first, v4),
    };
    match first {
        Ok(reply) => match timeout(OTHER_FAMILY_GRACE, other).await {
            Ok(Ok(more)) => Ok(merge(reply, more)),
            _ => Ok(reply),
        },
        Err(err) => match other.await {
            Err(other) if !err.is_answer() => Err(other),
            Err(_) => Err(err),
            Ok(reply) => Ok(reply),
        },
    }
}

/// What the body of `reply` says by `parse`.
fn read<T>(
    url: &Url,
    reply: HttpReply,
    parse: impl Fn(&[u8]) -> Result<T, ReplyError>,
) -> Result<T, TrackerError> {
    let (host, HttpReply { status, body }) = (host(url), reply);
    match parse(&body) {
        // Some trackers give their reason together with a status that is not success.
        Err(ReplyError::Refused(refusal)) => Err(TrackerError::Refused { host, refusal }),
        _ if !(200..300).contains(&status) => Err(TrackerError::Status { host, status }),
        Err(err) => Err(TrackerError::Malformed { host, cause: err.to_string() }),
        Ok(reply) => Ok(reply),
    }
}

/// Both families' replies as one: the peers of both, and the longer intervals.
fn merge(mut reply: AnnounceReply, more: AnnounceReply) -> AnnounceReply {
    let known: BTreeSet<_> = reply.peers.iter().copied().collect();
    reply.peers.extend(more.peers.into_iter().filter(|p| !known.contains(p)));
    reply.peers.truncate(MAX_PEERS_PER_REPLY);
    reply.interval = reply.interval.max(more.interval);
    reply.min_interval = reply.min_interval.max(more.min_interval);
    reply.warning = reply.warning.or(more.warning);
    reply.tracker_id = reply.tracker_id.or(more.tracker_id);
    reply.external_ip = reply.external_ip.or(more.external_ip);
    reply
}

/// Host and port of the tracker at `url`, by which it is told from others; empty if it is no URL.
pub fn host_of(url: &str) -> String {
    Url::parse(url).map(|url| host(&url)).unwrap_or_default()
}

/// Host and port, for people.
fn host(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        base::{hash::Sha1Hash, id::PeerId, rng::Rng},
        net::{http::HttpConfig, outlet::Outlet, resolver::FixedResolver, udp_hub::UdpHub},
        tracker::announce::{Crypto, Event},
    };
    use std::{
        net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
        sync::Arc,
    };
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::{TcpListener, TcpStream},
        task::JoinHandle,
    };

    fn request(families: Families) -> AnnounceRequest {
        AnnounceRequest {
            info_hash: Sha1Hash([0xab; 20]),
            peer_id: PeerId(*b"-DP0100-abcdefghijkl"),
            port: 6881,
            uploaded: 0,
            downloaded: 0,
            left: 1,
            event: Event::Started,
            numwant: 50,
            key: 1,
            tracker_id: None,
            crypto: Crypto::default(),
            families,
        }
    }

    fn client(timeout_ms: u64, outlet: Outlet) -> TrackerClient {
        let wait = Duration::from_millis(timeout_ms);
        let config = HttpConfig {
            connect_timeout: wait,
            read_timeout: wait,
            total_timeout: wait * 2,
            ..HttpConfig::new(outlet.clone())
        };
        let http = Http::new(&config).expect("a client");
        let hub = UdpHub::new(outlet, None, true, 0);
        TrackerClient { http, udp: UdpTrackers::new(hub, Rng::new(1)) }
    }

    fn knowing(names: FixedResolver) -> Outlet {
        Outlet::resolving_by(Arc::new(names))
    }

    fn patient() -> TrackerClient {
        client(20_000, Outlet::default())
    }

    /// A name that stands for several hosts was as dead as the first of them.
    #[tokio::test]
    async fn the_next_host_of_a_name_is_asked_where_one_is_down() {
        let server = tokio::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let port = server.local_addr().expect("bound").port();
        let answers = tokio::spawn(async move {
            let mut asked = [0; 2048];
            // How it answers `connect`, and `announce` (BEP 15).
            for (action, rest) in
                [(0, vec![7; 8]), (1, [&[0; 12][..], &[9, 9, 9, 9, 0, 1]].concat())]
            {
                let (_, from) = server.recv_from(&mut asked).await.expect("asked");
                let answer = [&[0, 0, 0, action], &asked[12..16], &rest].concat();
                server.send_to(&answer, from).await.expect("answered");
            }
        });
        // No datagram leaves for the first one.
        let hosts = [Ipv4Addr::BROADCAST, Ipv4Addr::LOCALHOST].map(IpAddr::V4);
        let names = FixedResolver::new([("t.example", &hosts)]);
        let url = format!("udp://t.example:{port}/announce");
        let reply = client(20_000, knowing(names)).announce(&url, &request(Families::Any)).await;
        assert_eq!(reply.expect("an answer").peers, [SocketAddr::from(([9, 9, 9, 9], 1))]);
        answers.await.expect("all were answered");
    }

    /// Reads the head of one request.
    async fn head(stream: &mut TcpStream) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            match stream.read_u8().await {
                Ok(byte) => head.push(byte),
                Err(_) => break,
            }
        }
        String::from_utf8(head).expect("text")
    }

    /// Answers every connection with the same bytes and closes it.
    async fn server(ip: IpAddr, bytes: Vec<u8>) -> (SocketAddr, JoinHandle<()>) {
        let listener = TcpListener::bind((ip, 0)).await.expect("a port");
        let addr = listener.local_addr().expect("bound");
        let task = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                head(&mut stream).await;
                // The client may hang up on what it does not want.
                let _ = stream.write_all(&bytes).await;
            }
        });
        (addr, task)
    }

    fn ok(body: &[u8]) -> Vec<u8> {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
        [head.as_bytes(), body].concat()
    }

    async fn against(bytes: Vec<u8>) -> Result<AnnounceReply, TrackerError> {
        let (addr, _task) = server(Ipv4Addr::LOCALHOST.into(), bytes).await;
        patient().announce(&format!("http://{addr}/announce"), &request(Families::Any)).await
    }

    #[test]
    fn only_who_is_outside_is_told_what_a_gateway_has_mapped() {
        let outside = |url, route| leads_outside(&Url::parse(url).expect("valid"), route);
        assert!(outside("udp://a.example:1", Route::V4));
        assert!(outside("http://203.0.113.5/announce", Route::Any));
        for (url, route) in [
            ("udp://a.example:1", Route::V6),
            ("http://[2001:db8::1]/announce", Route::Any),
            ("http://192.168.1.2/announce", Route::V4),
            ("http://localhost/announce", Route::V4),
        ] {
            assert!(!outside(url, route), "{url}");
        }
    }

    #[tokio::test]
    async fn an_honest_reply_over_either_family() {
        let body = b"d8:intervali60e5:peers6:\x01\x02\x03\x04\x00\x50e";
        for ip in [IpAddr::from(Ipv4Addr::LOCALHOST), Ipv6Addr::LOCALHOST.into()] {
            let (addr, _task) = server(ip, ok(body)).await;
            let url = format!("http://{addr}/announce");
            let reply = patient().announce(&url, &request(Families::Both)).await.expect("valid");
            assert_eq!(reply.peers, ["1.2.3.4:80".parse().expect("valid")]);
            let wrong = if ip.is_ipv4() { Families::V6 } else { Families::V4 };
            let err = patient().announce(&url, &request(wrong)).await.expect_err("wrong family");
            assert!(matches!(err, TrackerError::Unreachable { .. }), "{err}");
        }
    }

    #[tokio::test]
    async fn both_families_of_a_name_are_asked_and_put_together() {
        let v4 = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let port = v4.local_addr().expect("bound").port();
        // The same port may be taken in the other family: then there is nothing to test.
        let Ok(v6) = TcpListener::bind((Ipv6Addr::LOCALHOST, port)).await else { return };
        let bodies = [
            b"d8:intervali60e5:peers6:\x01\x02\x03\x04\x00\x50e".as_slice(),
            b"d8:intervali90e5:peers12:\x01\x02\x03\x04\x00\x50\x05\x06\x07\x08\x00\x50e",
        ];
        let mut tasks = Vec::new();
        for (listener, body) in [v4, v6].into_iter().zip(bodies) {
            tasks.push(tokio::spawn(async move {
                let (mut stream, _) = listener.accept().await.expect("a client");
                let head = head(&mut stream).await;
                stream.write_all(&ok(body)).await.expect("written");
                head
            }));
        }
        let names: [IpAddr; 2] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
        let http = client(20_000, knowing(FixedResolver::new([("t.example", &names)])));
        let url = format!("http://t.example:{port}/announce?pass=1");
        let reply = http.announce(&url, &request(Families::Both)).await.expect("valid");
        assert_eq!((reply.peers.len(), reply.interval.as_secs()), (2, 90));
        for task in tasks {
            let head = task.await.expect("served");
            assert!(head.starts_with("GET /announce?pass=1&info_hash=%AB%AB"), "{head}");
            assert!(head.contains("user-agent: downpour/"), "{head}");
            assert!(!head.contains("referer") && !head.contains("cookie"), "{head}");
        }
    }

    #[tokio::test]
    async fn failures_have_their_kind() {
        let refused = ok(b"d14:failure reason8:not heree");
        let err = against(refused).await.expect_err("refused");
        assert!(err.to_string().ends_with("refused: not here"), "{err}");
        let coded = b"HTTP/1.1 403 Forbidden\r\n\r\nd14:failure reason2:no8:retry ini1ee".to_vec();
        let err = against(coded).await.expect_err("refused");
        assert_eq!(err.retry(), Some(Retry::After(Duration::from_secs(60))));
        let err = against(b"HTTP/1.1 500 Oops\r\n\r\nd5:peers0:e".to_vec()).await;
        assert!(matches!(err, Err(TrackerError::Status { status: 500, .. })), "{err:?}");
        for garbage in [ok(b"<html>"), ok(b""), b"SSH-2.0\r\n".to_vec(), Vec::new()] {
            let err = against(garbage).await;
            assert!(matches!(err, Err(TrackerError::Malformed { .. })), "{err:?}");
        }
        let cut = b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nd5:peers0:e".to_vec();
        let err = against(cut).await;
        assert!(matches!(err, Err(TrackerError::Malformed { .. })), "{err:?}");
    }

    #[tokio::test]
    async fn a_huge_reply_is_not_taken_in() {
        let huge = vec![b'0'; MAX_TRACKER_REPLY + 1];
        let err = against(ok(&huge)).await.expect_err("too long");
        assert!(err.to_string().contains("longer than"), "{err}");
    }

    /// A stored-block gzip stream would be as long as its content; this one repeats one byte.
    #[tokio::test]
    async fn a_huge_reply_is_not_unpacked_either() {
        // One deflate block of fixed codes: a literal zero, then copies of 258 bytes at distance 1.
        let mut bits = Bits::default();
        bits.low(0b011, 3);
        bits.high(0x30, 8);
        for _ in 0..2 * MAX_TRACKER_REPLY / 258 {
            bits.high(0b1100_0101, 8);
            bits.high(0, 5);
        }
        bits.high(0, 7);
        let gzip = [&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff], &*bits.bytes, &[0; 8]].concat();
        assert!(gzip.len() < 20_000);
        let head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n".as_slice();
        let err = against([head, &gzip].concat()).await.expect_err("too long");
        assert!(err.to_string().contains("longer than"), "{err}");
    }

    #[derive(Default)]
    struct Bits {
        bytes: Vec<u8>,
        used: usize,
    }

    impl Bits {
        fn bit(&mut self, bit: u32) {
            if self.used.is_multiple_of(8) {
                self.bytes.push(0);
            }
            *self.bytes.last_mut().expect("pushed") |= (bit as u8) << (self.used % 8);
            self.used += 1;
        }

        /// A number, lowest bit first.
        fn low(&mut self, value: u32, len: u32) {
            (0..len).for_each(|i| self.bit(value >> i & 1));
        }

        /// A Huffman code, highest bit first.
        fn high(&mut self, code: u32, len: u32) {
            (0..len).rev().for_each(|i| self.bit(code >> i & 1));
        }
    }

    #[tokio::test]
    async fn a_silent_or_slow_tracker_times_out() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let url = format!("http://{}/announce", listener.local_addr().expect("bound"));
        let http = client(100, Outlet::default());
        let err = http.announce(&url, &request(Families::Any)).await.expect_err("silent");
        assert!(matches!(err, TrackerError::TimedOut { .. }), "{err}");
        let slow = tokio::spawn(async move {
            let (first, _) = listener.accept().await.expect("the one before");
            let (mut stream, _) = listener.accept().await.expect("a client");
            head(&mut stream).await;
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nd").await;
            // Held open until the client is gone.
            let _ = stream.read_u8().await;
            drop(first);
        });
        let err = http.announce(&url, &request(Families::Any)).await.expect_err("slow");
        assert!(matches!(err, TrackerError::TimedOut { .. }), "{err}");
        slow.await.expect("served");
    }

    #[tokio::test]
    async fn nobody_there() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let addr = listener.local_addr().expect("bound");
        drop(listener);
        let url = format!("http://{addr}/announce?passkey=secret");
        let err = patient().announce(&url, &request(Families::Both)).await.expect_err("closed");
        let text = err.to_string();
        assert_eq!(text, format!("could not reach {addr}: connection refused"));
    }

    #[tokio::test]
    async fn redirects_are_followed_but_not_for_ever() {
        let to = |url: &str| format!("HTTP/1.1 302 Found\r\nLocation: {url}\r\n\r\n").into_bytes();
        let err = against(to("/announce")).await.expect_err("a loop");
        assert!(matches!(err, TrackerError::Redirected { .. }), "{err}");
        let (good, _task) = server(Ipv4Addr::LOCALHOST.into(), ok(b"de")).await;
        against(to(&format!("http://{good}/announce"))).await.expect("followed");
        // From a public name into our own host.
        let (hop, _task) = server(Ipv4Addr::LOCALHOST.into(), to(&format!("http://{good}/"))).await;
        let names = FixedResolver::new([("t.example", &[Ipv4Addr::LOCALHOST.into()])]);
        let url = format!("http://t.example:{}/announce", hop.port());
        let http = client(20_000, knowing(names));
        let err = http.announce(&url, &request(Families::Any)).await.expect_err("private");
        assert!(err.to_string().contains("private network"), "{err}");
    }

    #[tokio::test]
    async fn a_name_does_not_lead_into_a_private_network_unless_to_a_tracker() {
        let (there, _task) = server(Ipv4Addr::LOCALHOST.into(), ok(b"de")).await;
        let names = FixedResolver::new([("t.example", &[Ipv4Addr::LOCALHOST.into()])]);
        let client = client(20_000, knowing(names));
        let go = async |path: &str| {
            let url = format!("http://t.example:{}/{path}", there.port());
            client.announce(&url, &request(Families::Any)).await
        };
        go("x/announce.php?k=1").await.expect("a tracker");
        let err = go("reboot?now=1").await.expect_err("no tracker");
        assert!(matches!(err, TrackerError::Unreachable { .. }), "{err}");
        assert!(err.to_string().contains("private network"), "{err}");
    }

    #[tokio::test]
    async fn what_is_no_tracker_is_not_called() {
        let go = async |url: &str| {
            patient().announce(url, &request(Families::Any)).await.expect_err("refused")
        };
        let ws = TrackerError::Unsupported { scheme: "ws".to_owned() };
        assert_eq!(go("ws://t.example:1/announce").await, ws);
        assert_eq!(go("udp://t.example/announce").await, TrackerError::BadUrl, "without a port");
        assert_eq!(go("what").await, TrackerError::BadUrl);
        let err = go("http://127.0.0.1:1/admin/reboot").await;
        assert!(matches!(err, TrackerError::Forbidden { .. }), "{err}");
        assert_eq!(err.retry(), Some(Retry::Never));
    }
}
