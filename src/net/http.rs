//! The one HTTP client: bounded in time, size and redirects; the only home of `reqwest`.
//!
//! TLS is rustls with ring and the Mozilla roots, plus those of a file for private authorities.
//! Environment proxies, cookies and referrers are not used. Names go through our resolver. What is
//! asked of whom is the caller's business: see [`super::tracker_client`].

use std::{
    error::Error as StdError,
    fmt,
    fs::File,
    io::{self, Read as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::{dns, redirect};
use rustls::{
    CertificateError, ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};
use tokio::time::timeout;
use url::Url;

use super::{
    outlet::Outlet,
    proxy::Proxy,
    reach::{INTO_PRIVATE, Reach, is_local, is_local_ip},
    resolver::Resolver,
};
use crate::{
    base::limits::{MAX_CERTIFICATES_BYTES, MAX_REDIRECTS},
    proxy::Scheme,
};

mod streamed;

pub use streamed::{Part, Streamed};

/// How the client behaves.
#[derive(Debug, Clone)]
pub struct HttpConfig {
    /// By which way it connects and looks names up.
    pub outlet: Outlet,
    /// Connections leave from this address, and so in its family only.
    pub local_address: Option<IpAddr>,
    /// Certificates (PEM) trusted besides the built-in roots.
    pub ca_file: Option<PathBuf>,
    /// To connect, with name look-up and TLS.
    pub connect_timeout: Duration,
    /// Between two parts of a reply.
    pub read_timeout: Duration,
    /// From the first byte out to the last byte in, redirects included.
    pub total_timeout: Duration,
}

impl HttpConfig {
    /// The defaults, by way of `outlet`.
    pub fn new(outlet: Outlet) -> Self {
        HttpConfig {
            outlet,
            local_address: None,
            ca_file: None,
            connect_timeout: Duration::from_secs(10),
            read_timeout: Duration::from_secs(15),
            total_timeout: Duration::from_secs(30),
        }
    }
}

/// Over which address family to connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Route {
    /// Whichever connects first.
    Any,
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// A whole reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpReply {
    /// The status code.
    pub status: u16,
    /// The body, decompressed.
    pub body: Vec<u8>,
}

/// A place that a request may be sent to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Where.
    pub url: Url,
    /// Into which networks it may lead.
    pub reach: Reach,
}

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum HttpSetupError {
    /// The file of additional certificates cannot be used.
    #[error("could not use the certificates in `{}`: {cause}", file.display())]
    CaFile {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        cause: String,
    },
    /// TLS or the client could not be set up.
    #[error("could not set up the HTTP client: {0}")]
    Client(String),
}

/// Why there is no reply. The texts name no URL: it may hold a passkey.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HttpError {
    /// No connection: name, network, refused, or TLS.
    #[error("{0}")]
    Unreachable(String),
    /// No connection: the certificate of the server is not valid at the time that it is here.
    #[error("{cause}")]
    Validity {
        /// It is to become valid later; otherwise it has run out.
        early: bool,
        /// What TLS said.
        cause: String,
    },
    /// One of the time-outs has passed.
    #[error("no answer in time")]
    TimedOut,
    /// Too many redirects, or one to a place where it may not lead.
    #[error("{0}")]
    Redirect(String),
    /// The body is longer than the caller allows.
    #[error("the reply is longer than {limit} bytes")]
    TooLarge {
        /// The limit.
        limit: usize,
    },
    /// The connection broke, or what came is not HTTP.
    #[error("{0}")]
    Broken(String),
}

/// The client; clones share connections.
#[derive(Clone)]
pub struct Http {
    anywhere: Routes,
    public: Routes,
    /// Of parts of files: they may be large, and are to come as they are.
    parts_anywhere: reqwest::Client,
    parts_public: reqwest::Client,
    read_timeout: Duration,
    total_timeout: Duration,
    proxied: bool,
}

/// A client for each route.
#[derive(Clone)]
struct Routes {
    any: reqwest::Client,
    v4: Option<reqwest::Client>,
    v6: Option<reqwest::Client>,
}

impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http").finish_non_exhaustive()
    }
}

impl Http {
    /// Sets the client up; reads the file of certificates if there is one.
    pub fn new(config: &HttpConfig) -> Result<Self, HttpSetupError> {
        let tls = tls_config(config)?;
        Ok(Http {
            anywhere: Routes::new(config, &tls, Reach::Anywhere)?,
            public: Routes::new(config, &tls, Reach::Public)?,
            parts_anywhere: parts_client(config, &tls, Reach::Anywhere)?,
            parts_public: parts_client(config, &tls, Reach::Public)?,
            read_timeout: config.read_timeout,
            total_timeout: config.total_timeout,
            proxied: config.outlet.is_proxied(),
        })
    }

    /// Gets `url` over `route`, as far as `reach` goes. A body of more than `max_bytes`, also when it was
    /// sent compressed, is an error, and is not read to its end.
    ///
    /// A redirect may lead into public networks only, unless it stays at its host or comes from this
    /// host or a private network.
    pub async fn get(
        &self,
        url: &Url,
        route: Route,
        reach: Reach,
        max_bytes: usize,
    ) -> Result<HttpReply, HttpError> {
        let whole = self.follow(url.clone(), route, reach, max_bytes);
        let reply = timeout(self.total_timeout, whole).await.unwrap_or(Err(HttpError::TimedOut));
        match reply {
            Ok(HttpReply { status, .. }) if self.is_proxys(status) => Err(unknown_to_proxy()),
            reply => reply.map_err(|error| self.by_proxy(error)),
        }
    }

    /// Whether it is the proxy who says that: no server does.
    const fn is_proxys(&self, status: u16) -> bool {
        self.proxied && status == 407
    }

    fn by_proxy(&self, error: HttpError) -> HttpError {
        match error {
            HttpError::Unreachable(cause) if self.proxied => {
                HttpError::Unreachable(format!("by the proxy: {cause}"))
            }
            error => error,
        }
    }

    async fn follow(
        &self,
        url: Url,
        route: Route,
        reach: Reach,
        max_bytes: usize,
    ) -> Result<HttpReply, HttpError> {
        let mut place = Place { url, reach };
        for _ in 0..=MAX_REDIRECTS {
            let routes = if place.goes()? == Reach::Public { &self.public } else { &self.anywhere };
            let request = routes.of(route)?.get(place.url.clone());
            let reply = request.send().await.map_err(classify)?;
            match place.target(&reply)? {
                Some(next) => place = next,
                None => return whole(reply, max_bytes).await,
            }
        }
        Err(too_many_redirects())
    }

    /// Asks for the bytes `first..=last` of what is at `place`. There is no limit to the time it takes as long as
    /// something comes, nor to what may come: both are the caller's to bound. Redirects are followed as by
    /// [`get`](Self::get), and nothing is decompressed.
    ///
    /// # Errors
    /// There is no reply; one that is no success is none.
    pub async fn get_part(
        &self,
        mut place: Place,
        first: u64,
        last: u64,
    ) -> Result<Streamed, HttpError> {
        for _ in 0..=MAX_REDIRECTS {
            let client = match place.goes()? {
                Reach::Public => &self.parts_public,
                Reach::Anywhere => &self.parts_anywhere,
            };
            let request = client.get(place.url.clone());
            let range = format!("bytes={first}-{last}");
            let request = request.header("Range", range).header("Accept-Encoding", "identity");
            let reply = timeout(self.read_timeout, request.send()).await;
            let reply = reply.map_err(|_| HttpError::TimedOut)?;
            let reply = reply.map_err(|error| self.by_proxy(classify(error)))?;
            match place.target(&reply)? {
                // Nobody is sent with orders into the local network.
                Some(next) if next.url.query().is_some() => {
                    place = Place { reach: Reach::Public, ..next };
                }
                Some(next) => place = next,
                None if self.is_proxys(reply.status().as_u16()) => return Err(unknown_to_proxy()),
                None => return Ok(Streamed { reply, patience: self.read_timeout, place }),
            }
        }
        Err(too_many_redirects())
    }

    /// Gets `url`, which is an address, or sends it a SOAP action: its header and its body. No redirect is
    /// followed: a device of the local network leads nowhere else.
    pub async fn ask_device(
        &self,
        url: &Url,
        action: Option<(&str, String)>,
        max_bytes: usize,
    ) -> Result<HttpReply, HttpError> {
        let client = &self.anywhere.any;
        let request = match action {
            None => client.get(url.clone()),
            Some((header, body)) => client
                .post(url.clone())
                .header("Content-Type", "text/xml; charset=\"utf-8\"")
                .header("SOAPAction", header)
                .body(body),
        };
        let asked = async { whole(request.send().await.map_err(classify)?, max_bytes).await };
        timeout(self.total_timeout, asked).await.unwrap_or(Err(HttpError::TimedOut))
    }
}

/// All of a reply. A body of more than `max_bytes` is not read to its end.
async fn whole(mut reply: reqwest::Response, max_bytes: usize) -> Result<HttpReply, HttpError> {
    let status = reply.status().as_u16();
    let mut body = Vec::new();
    while let Some(part) = reply.chunk().await.map_err(classify)? {
        if part.len() > max_bytes - body.len() {
            return Err(HttpError::TooLarge { limit: max_bytes });
        }
        body.extend_from_slice(&part);
    }
    Ok(HttpReply { status, body })
}

/// What all clients have in common.
fn builder(
    config: &HttpConfig,
    tls: &ClientConfig,
    reach: Reach,
    local: Option<IpAddr>,
) -> Result<reqwest::ClientBuilder, HttpSetupError> {
    // What a proxy leaves by is its own affair.
    let local = local.filter(|_| !config.outlet.is_proxied());
    let builder = reqwest::Client::builder()
        .tls_backend_preconfigured(tls.clone())
        .dns_resolver(Names { resolver: config.outlet.resolver().clone(), reach })
        .local_address(local)
        .no_proxy()
        .referer(false)
        .redirect(redirect::Policy::none())
        .user_agent(concat!("downpour/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(config.connect_timeout)
        .pool_max_idle_per_host(1)
        .pool_idle_timeout(Duration::from_secs(15));
    // Elsewhere there is no binding: see `Binding`.
    #[cfg(target_os = "linux")]
    let builder = match config.outlet.binding().interface() {
        Some(interface) => builder.interface(interface),
        None => builder,
    };
    Ok(match config.outlet.proxy() {
        Some(proxy) => builder.proxy(as_proxy(proxy)?),
        None => builder,
    })
}

fn built(builder: reqwest::ClientBuilder) -> Result<reqwest::Client, HttpSetupError> {
    builder.build().map_err(|err| HttpSetupError::Client(innermost(&err)))
}

fn parts_client(
    config: &HttpConfig,
    tls: &ClientConfig,
    reach: Reach,
) -> Result<reqwest::Client, HttpSetupError> {
    let builder = builder(config, tls, reach, config.local_address)?;
    built(builder.gzip(false).pool_max_idle_per_host(2))
}

impl Routes {
    fn new(config: &HttpConfig, tls: &ClientConfig, reach: Reach) -> Result<Self, HttpSetupError> {
        let client = |local: Option<IpAddr>| {
            built(builder(config, tls, reach, local)?.read_timeout(config.read_timeout))
        };
        if config.outlet.is_proxied() {
            // Which families there are is the proxy's affair.
            let any = client(None)?;
            return Ok(Routes { v4: Some(any.clone()), v6: Some(any.clone()), any });
        }
        let local = config.local_address;
        // Bound to an address of a family, a client connects in that family only.
        let in_family = |any: IpAddr| match local {
            Some(local) if local.is_ipv4() != any.is_ipv4() => Ok(None),
            _ => client(Some(local.unwrap_or(any))).map(Some),
        };
        Ok(Routes {
            any: client(local)?,
            v4: in_family(Ipv4Addr::UNSPECIFIED.into())?,
            v6: in_family(Ipv6Addr::UNSPECIFIED.into())?,
        })
    }

    fn of(&self, route: Route) -> Result<&reqwest::Client, HttpError> {
        let client = match route {
            Route::Any => Some(&self.any),
            Route::V4 => self.v4.as_ref(),
            Route::V6 => self.v6.as_ref(),
        };
        client.ok_or_else(|| HttpError::Unreachable("not from our address".to_owned()))
    }
}

/// Our proxy as reqwest wants it: at its address, because names that lead into private networks are not
/// looked up for everybody, and told names, not addresses.
fn as_proxy(proxy: &Proxy) -> Result<reqwest::Proxy, HttpSetupError> {
    let scheme = match proxy.address().scheme {
        Scheme::Socks5 => "socks5h",
        Scheme::Http => "http",
    };
    let failed = |error: &dyn fmt::Display| HttpSetupError::Client(error.to_string());
    let text = format!("{scheme}://{}", proxy.addr());
    let mut url = Url::parse(&text).map_err(|error| failed(&error))?;
    if let Some(credentials) = proxy.credentials() {
        // What is decoded again at the other end has to be encoded, a `%` as well.
        let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let set = url.set_username(&encoded(&credentials.user));
        set.and_then(|()| url.set_password(Some(&encoded(&credentials.password))))
            .map_err(|()| failed(&"the proxy's user cannot be named"))?;
    }
    reqwest::Proxy::all(url).map_err(|error| failed(&innermost(&error)))
}

impl Place {
    /// Into which networks a request leads there.
    fn goes(&self) -> Result<Reach, HttpError> {
        match self.reach == Reach::Public && is_local(&self.url) {
            true => Err(HttpError::Redirect(INTO_PRIVATE.to_owned())),
            false => Ok(self.reach),
        }
    }

    /// Where a reply from there sends us, if it does.
    fn target(&self, reply: &reqwest::Response) -> Result<Option<Place>, HttpError> {
        let moved = matches!(reply.status().as_u16(), 301 | 302 | 303 | 307 | 308);
        let Some(location) = reply.headers().get("location").filter(|_| moved) else {
            return Ok(None);
        };
        let next = location.to_str().ok().and_then(|text| self.url.join(text).ok());
        let Some(next) = next.filter(|next| matches!(next.scheme(), "http" | "https")) else {
            return Err(HttpError::Redirect("to what is no HTTP address".to_owned()));
        };
        // The name of a host that is outside may lead to another one, inside, the next time.
        let is_inside = || reply.remote_addr().is_some_and(|addr| is_local_ip(addr.ip()));
        let stays = is_local(&self.url) || next.host() == self.url.host() && is_inside();
        let reach = if stays { self.reach } else { Reach::Public };
        Ok(Some(Place { url: next, reach }))
    }
}

fn unknown_to_proxy() -> HttpError {
    HttpError::Unreachable("the proxy does not take our name and password".to_owned())
}

fn too_many_redirects() -> HttpError {
    HttpError::Redirect(format!("more than {MAX_REDIRECTS} redirects"))
}

/// Our resolver as reqwest wants it.
struct Names {
    resolver: Arc<dyn Resolver>,
    reach: Reach,
}

impl dns::Resolve for Names {
    fn resolve(&self, name: dns::Name) -> dns::Resolving {
        let (lookup, reach) = (self.resolver.lookup(name.as_str()), self.reach);
        Box::pin(async move {
            let mut addresses = lookup.await?;
            if reach == Reach::Public {
                addresses.retain(|ip| !is_local_ip(*ip));
            }
            if addresses.is_empty() {
                return Err(io::Error::other(INTO_PRIVATE).into());
            }
            let with_port = addresses.into_iter().map(|ip| SocketAddr::new(ip, 0));
            Ok(Box::new(with_port) as dns::Addrs)
        })
    }
}

fn tls_config(config: &HttpConfig) -> Result<ClientConfig, HttpSetupError> {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    if let Some(file) = &config.ca_file {
        let fail = |cause: String| HttpSetupError::CaFile { file: file.clone(), cause };
        let bytes = read_bounded(file).map_err(|e| fail(e.to_string()))?;
        let mut added = 0;
        for certificate in CertificateDer::pem_slice_iter(&bytes) {
            let certificate = certificate.map_err(|e| fail(e.to_string()))?;
            roots.add(certificate).map_err(|e| fail(e.to_string()))?;
            added += 1;
        }
        if added == 0 {
            return Err(fail("it holds none".to_owned()));
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|err| HttpSetupError::Client(err.to_string()))?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

fn read_bounded(file: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(file)?.take(MAX_CERTIFICATES_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    match bytes.len() > MAX_CERTIFICATES_BYTES {
        true => Err(io::Error::other("it is larger than any store of certificates (16 MiB)")),
        false => Ok(bytes),
    }
}

fn classify(err: reqwest::Error) -> HttpError {
    let err = err.without_url();
    if err.is_timeout() {
        HttpError::TimedOut
    } else if err.is_connect() {
        let cause = innermost(&err);
        match validity(&err) {
            Some(early) => HttpError::Validity { early, cause },
            None => HttpError::Unreachable(cause),
        }
    } else {
        HttpError::Broken(innermost(&err))
    }
}

/// Whether the certificate of the other side is not valid yet, or no longer, by the clock here.
fn validity(err: &(dyn StdError + 'static)) -> Option<bool> {
    use rustls::Error::InvalidCertificate;
    let mut link = Some(err);
    while let Some(cause) = link {
        match cause.downcast_ref::<rustls::Error>() {
            Some(InvalidCertificate(
                CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. },
            )) => return Some(true),
            Some(InvalidCertificate(
                CertificateError::Expired | CertificateError::ExpiredContext { .. },
            )) => return Some(false),
            _ => {}
        }
        // What an I/O error holds is not its source.
        let held = cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        link = match held {
            Some(held) => Some(held),
            None => cause.source(),
        };
    }
    None
}

/// The text of the first cause: the outer ones say only that a request failed.
fn innermost(err: &(dyn StdError + 'static)) -> String {
    let mut cause = err;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    match cause.downcast_ref::<io::Error>() {
        Some(io) if io.raw_os_error().is_some() => io.kind().to_string(),
        _ => cause.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::resolver::FixedResolver;
    use rustls::pki_types::PrivateKeyDer;
    use std::io::Write as _;

    #[test]
    fn private_places_are_recognised() {
        let local = |url: &str| is_local(&Url::parse(url).expect("valid"));
        for url in [
            "http://localhost/",
            "http://a.localhost.:80/",
            "http://127.1/",
            "http://10.0.0.1/",
            "http://0.0.0.0/",
            "http://[::1]/",
            "http://[::ffff:192.168.0.1]/",
            "http://[fe80::1]/",
            "http://[fd00::1]/",
            "http://2130706433/",
        ] {
            assert!(local(url), "{url}");
        }
        for url in [
            "http://example.org/",
            "http://9.9.9.9/",
            "http://[2001:db8::1]/",
            "http://localhost.example/",
        ] {
            assert!(!local(url), "{url}");
        }
    }

    #[test]
    fn a_file_without_certificates_is_refused() {
        let dir = tempfile::tempdir().expect("a folder");
        for (name, content) in [("empty.pem", Some("")), ("missing.pem", None)] {
            let file = dir.path().join(name);
            if let Some(content) = content {
                std::fs::write(&file, content).expect("written");
            }
            let config = HttpConfig { ca_file: Some(file), ..HttpConfig::new(Outlet::default()) };
            let err = Http::new(&config).expect_err("refused").to_string();
            assert!(err.contains(name), "{err}");
        }
    }

    #[tokio::test]
    async fn a_name_that_does_not_exist_is_unreachable() {
        let config = HttpConfig::new(Outlet::resolving_by(Arc::new(FixedResolver::default())));
        let http = Http::new(&config).expect("a client");
        let url = Url::parse("http://no.example/secret").expect("valid");
        let err = http.get(&url, Route::Any, Reach::Anywhere, 10).await.expect_err("no such name");
        assert_eq!(err, HttpError::Unreachable("the name has no address".to_owned()));
    }

    /// Answers so many TLS connections, one after the other.
    fn serve_tls(listener: &std::net::TcpListener, (chain, key): (&str, &str), connections: u32) {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let chain = CertificateDer::pem_slice_iter(chain.as_bytes()).map(|c| c.expect("PEM"));
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("PEM");
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(chain.collect(), key)
            .expect("a pair");
        let config = Arc::new(config);
        for _ in 0..connections {
            let (stream, _) = listener.accept().expect("a client");
            let tls = rustls::ServerConnection::new(config.clone()).expect("a connection");
            let mut stream = rustls::StreamOwned::new(tls, stream);
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                // A client that does not trust us hangs up.
                if stream.read_exact(&mut byte).is_err() {
                    break;
                }
                head.push(byte[0]);
            }
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nde");
        }
    }

    #[tokio::test]
    async fn a_private_authority_is_trusted_only_if_its_file_is_given() {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let serve = move || serve_tls(&listener, (CERTIFICATE, KEY), 3);
        let server = tokio::task::spawn_blocking(serve);
        let dir = tempfile::tempdir().expect("a folder");
        let file = dir.path().join("ca.pem");
        std::fs::write(&file, AUTHORITY).expect("written");
        let address = [Ipv4Addr::LOCALHOST.into()];
        let names = [("tracker.example", &address[..]), ("other.example", &address[..])];
        let go = async |host: &str, ca_file: Option<PathBuf>| {
            let resolver = Arc::new(FixedResolver::new(names));
            let config = HttpConfig { ca_file, ..HttpConfig::new(Outlet::resolving_by(resolver)) };
            let url = Url::parse(&format!("https://{host}:{port}/")).expect("valid");
            Http::new(&config).expect("a client").get(&url, Route::V4, Reach::Anywhere, 100).await
        };
        let reply = go("tracker.example", Some(file.clone())).await.expect("trusted");
        assert_eq!((reply.status, reply.body), (200, b"de".to_vec()));
        for (host, file) in [("tracker.example", None), ("other.example", Some(file))] {
            let err = go(host, file).await.expect_err("not trusted");
            assert!(
                matches!(&err, HttpError::Unreachable(why) if why.contains("certificate")),
                "{err}"
            );
        }
        server.await.expect("served");
    }

    #[tokio::test]
    async fn a_certificate_of_another_time_is_told_from_one_that_nobody_trusts() {
        let resolver =
            Arc::new(FixedResolver::new([("tracker.example", &[Ipv4Addr::LOCALHOST.into()][..])]));
        let http = Http::new(&HttpConfig::new(Outlet::resolving_by(resolver))).expect("a client");
        for (certificate, want) in [(OF_2099, true), (OF_2000, false)] {
            let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
            let port = listener.local_addr().expect("bound").port();
            let serve = move || serve_tls(&listener, (certificate, KEY_OF_BOTH), 1);
            let server = tokio::task::spawn_blocking(serve);
            let url = Url::parse(&format!("https://tracker.example:{port}/")).expect("valid");
            let err = http.get(&url, Route::V4, Reach::Anywhere, 100).await.expect_err("not now");
            assert!(matches!(err, HttpError::Validity { early, .. } if early == want), "{err:?}");
            server.await.expect("served");
        }
    }

    /// Made for these tests, and good for nothing else.
    const AUTHORITY: &str = "\
-----BEGIN CERTIFICATE-----
MIIBdzCCAR2gAwIBAgIBATAKBggqhkjOPQQDAjAiMSAwHgYDVQQDDBdkb3ducG91
ciB0ZXN0IGF1dGhvcml0eTAgFw0wMDAxMDEwMDAwMDBaGA8yMTAwMDEwMTAwMDAw
MFowIjEgMB4GA1UEAwwXZG93bnBvdXIgdGVzdCBhdXRob3JpdHkwWTATBgcqhkjO
PQIBBggqhkjOPQMBBwNCAAT4/CVPh/VzLudvVNxqJvFYsM+2e5I+5FImGNo/G/Q/
HS/nPueVrs+UcKiBh/UnPk/OJz4NOsbIEc9NovPg5e1Oo0IwQDAPBgNVHRMBAf8E
BTADAQH/MA4GA1UdDwEB/wQEAwICBDAdBgNVHQ4EFgQU3kedEWYSgGJOmenxu0qX
KSr0CJgwCgYIKoZIzj0EAwIDSAAwRQIgUXimAfZiCw6Rde12MHoQtQhtRyB3NVBX
HDrfKaH5Z+wCIQDMLl/HfzzOw7jfcNvT0EnkslVeaouJdx6eMHkHVGKy5A==
-----END CERTIFICATE-----
";
    const CERTIFICATE: &str = "\
-----BEGIN CERTIFICATE-----
MIIBtjCCAVygAwIBAgIBAjAKBggqhkjOPQQDAjAiMSAwHgYDVQQDDBdkb3ducG91
ciB0ZXN0IGF1dGhvcml0eTAgFw0wMDAxMDEwMDAwMDBaGA8yMTAwMDEwMTAwMDAw
MFowGjEYMBYGA1UEAwwPdHJhY2tlci5leGFtcGxlMFkwEwYHKoZIzj0CAQYIKoZI
zj0DAQcDQgAE2yaAuTcn7x3oKcAt/NvrI85cUN3qT+IPfETJP9uO7MsJFJl/+jaU
bqQJjUd7oA23nJsL0qM+ykZhCxo9UT2Mz6OBiDCBhTAgBgNVHREEGTAXgg90cmFj
a2VyLmV4YW1wbGWHBH8AAAEwDAYDVR0TAQH/BAIwADATBgNVHSUEDDAKBggrBgEF
BQcDATAdBgNVHQ4EFgQUWJV4KANVocX2XxgaMbQAV3mfgA8wHwYDVR0jBBgwFoAU
3kedEWYSgGJOmenxu0qXKSr0CJgwCgYIKoZIzj0EAwIDSAAwRQIgWcchwYG2e0L1
25AmTRZVGzDy5fDT4DFibHytVmCK53ECIQCyW2gNpQtrJBsJU4Rs7YSiKDK+vU9n
8VlFltKJ15eVyw==
-----END CERTIFICATE-----
";
    const KEY: &str = "\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgKN5yE6UzCEDY0gf0
qlBJvEPmDBx7MtpEaO8CQ+wKie2hRANCAATbJoC5NyfvHegpwC382+sjzlxQ3epP
4g98RMk/247sywkUmX/6NpRupAmNR3ugDbecmwvSoz7KRmELGj1RPYzP
-----END PRIVATE KEY-----
";
    /// Signed by itself, for the year 2099.
    const OF_2099: &str = "\
-----BEGIN CERTIFICATE-----
MIIBhTCCASqgAwIBAgIBATAKBggqhkjOPQQDAjAaMRgwFgYDVQQDDA90cmFja2Vy
LmV4YW1wbGUwIhgPMjA5OTAxMDEwMDAwMDBaGA8yMTAwMDEwMTAwMDAwMFowGjEY
MBYGA1UEAwwPdHJhY2tlci5leGFtcGxlMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcD
QgAEOY6t/s/Vk3h7gWitQYbx58EFb3ZNIDlEpAPayfoDtZG9qvf/uQM9HkbUEOVG
X2PQamwO2hpONvRdvog9rTW0o6NdMFswGgYDVR0RBBMwEYIPdHJhY2tlci5leGFt
cGxlMAkGA1UdEwQCMAAwEwYDVR0lBAwwCgYIKwYBBQUHAwEwHQYDVR0OBBYEFG3N
ssWW7Y8OicGSmWGX3glzK/twMAoGCCqGSM49BAMCA0kAMEYCIQDXu/k4kkdiC4Eb
FQsH2TqX1rTdAZv5hJ2QdjktUZt2CgIhAK5pmfFQJ2xviO2DdZ24HB+DIMqDyFk0
4BseEOjHsFhV
-----END CERTIFICATE-----
";
    /// Signed by itself, for the year 2000.
    const OF_2000: &str = "\
-----BEGIN CERTIFICATE-----
MIIBfzCCASagAwIBAgIBAjAKBggqhkjOPQQDAjAaMRgwFgYDVQQDDA90cmFja2Vy
LmV4YW1wbGUwHhcNMDAwMTAxMDAwMDAwWhcNMDEwMTAxMDAwMDAwWjAaMRgwFgYD
VQQDDA90cmFja2VyLmV4YW1wbGUwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAAQ5
jq3+z9WTeHuBaK1BhvHnwQVvdk0gOUSkA9rJ+gO1kb2q9/+5Az0eRtQQ5UZfY9Bq
bA7aGk429F2+iD2tNbSjo10wWzAaBgNVHREEEzARgg90cmFja2VyLmV4YW1wbGUw
CQYDVR0TBAIwADATBgNVHSUEDDAKBggrBgEFBQcDATAdBgNVHQ4EFgQUbc2yxZbt
jw6JwZKZYZfeCXMr+3AwCgYIKoZIzj0EAwIDRwAwRAIgKB1s9OAOlfs0bxBF6p+x
eO9nzWYFMDMxoajqq7qa2T4CIG2n6aXdjBQTrrHnx7GgE6N/S4OIFm+L/c3W5xSa
o0Q1
-----END CERTIFICATE-----
";
    const KEY_OF_BOTH: &str = "\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg7/z8yTtELgaWpbWj
JnyCWWQHoGIP0+iGDTS/TYd0a6ihRANCAAQ5jq3+z9WTeHuBaK1BhvHnwQVvdk0g
OUSkA9rJ+gO1kb2q9/+5Az0eRtQQ5UZfY9BqbA7aGk429F2+iD2tNbSj
-----END PRIVATE KEY-----
";
}
