//! The one HTTP server: bounded in connections, sizes and time; routes are the caller's.
//!
//! HTTP/1.1 by hyper. A handler gets a whole request (head and body within the limits) and gives a
//! whole reply. One task accepts; each connection is a task of its own that ends with it.

use std::{
    collections::{BTreeMap, HashMap},
    convert::Infallible,
    future::Future,
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::{
    HeaderMap, Request, Response,
    body::Incoming,
    header::{CONTENT_TYPE, HeaderValue},
    server::conn::http1,
    service::service_fn,
};

use crate::base::compact::network;
/// The values of a request and a reply, for handlers: hyper is named nowhere else.
pub use hyper::{Method, StatusCode, body::Bytes, header::ACCEPT};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::{self, JoinHandle, JoinSet},
    time::{sleep, timeout},
};

use super::sockets::Binding;

/// Pause when the system has no more descriptors: accepting at once would only spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long connections may finish after the server was told to stop.
const STOP_GRACE: Duration = Duration::from_secs(1);
/// Header lines in one request; browsers send about 20.
const MAX_HEADERS: usize = 64;

/// Bounds on what clients may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HttpServerConfig {
    /// Connections at a time; more wait in the backlog.
    pub connections: usize,
    /// Connections of one address at a time; more are closed.
    pub connections_per_address: usize,
    /// Bytes of a request line with its headers; at least 8192.
    pub head_bytes: usize,
    /// Bytes of a request body.
    pub body_bytes: usize,
    /// For the head of a request to arrive, also the next one of the same connection.
    pub head_timeout: Duration,
    /// For the body to arrive, and for the handler.
    pub request_timeout: Duration,
    /// For one connection from start to end, whatever it does.
    pub lifetime: Duration,
    /// Whether a connection may carry several requests.
    pub keep_alive: bool,
}

/// A request within the limits.
#[derive(Debug)]
pub struct HttpRequest {
    /// The method.
    pub method: Method,
    /// The path, undecoded.
    pub path: String,
    /// What follows the `?`, undecoded.
    pub query: String,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
    /// Who asks; IPv4 as IPv4 also on a dual-stack socket.
    pub remote: SocketAddr,
}

/// A reply.
pub type HttpResponse = Response<Full<Bytes>>;

/// A reply of `status` with `body`.
pub fn reply(
    status: StatusCode,
    content_type: &'static str,
    body: impl Into<Bytes>,
) -> HttpResponse {
    let mut reply = Response::new(Full::new(body.into()));
    *reply.status_mut() = status;
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    reply
}

/// A running server. Dropping it closes everything at once; [`HttpServer::shutdown`] is gentler.
#[derive(Debug)]
pub struct HttpServer {
    local_addr: SocketAddr,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl HttpServer {
    /// Listens on `addr` and answers with `handler`. `[::]` takes IPv4 as well, port 0 any port.
    /// Called inside a tokio runtime, an error otherwise.
    pub fn start<H, F>(addr: SocketAddr, config: HttpServerConfig, handler: H) -> io::Result<Self>
    where
        H: Fn(HttpRequest) -> F + Send + Sync + 'static,
        F: Future<Output = HttpResponse> + Send + 'static,
    {
        let runtime = tokio::runtime::Handle::try_current().map_err(io::Error::other)?;
        let listener = Binding::default().tcp_listener(addr, addr.ip().is_unspecified())?;
        let local_addr = listener.local_addr()?;
        let (stop, stopped) = watch::channel(false);
        let task = runtime.spawn(accept(listener, config, Arc::new(handler), stopped));
        Ok(HttpServer { local_addr, stop, task })
    }

    /// Where it listens.
    pub const fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Stops accepting, lets requests under way finish for a moment, and closes everything.
    pub async fn shutdown(mut self) {
        self.stop.send_replace(true);
        // An error would mean that the task is gone already.
        let _ = (&mut self.task).await;
    }
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept<H, F>(
    listener: TcpListener,
    config: HttpServerConfig,
    handler: Arc<H>,
    mut stopped: watch::Receiver<bool>,
) where
    H: Fn(HttpRequest) -> F + Send + Sync + 'static,
    F: Future<Output = HttpResponse> + Send + 'static,
{
    let mut connections = JoinSet::new();
    let mut owners: HashMap<task::Id, IpAddr> = HashMap::new();
    let mut per_address: BTreeMap<IpAddr, usize> = BTreeMap::new();
    loop {
        tokio::select! {
            _ = stopped.changed() => break,
            Some(ended) = connections.join_next_with_id() => {
                let id = ended.map_or_else(|err| err.id(), |(id, ())| id);
                if let Some(ip) = owners.remove(&id)
                    && let Some(count) = per_address.get_mut(&ip)
                {
                    *count -= 1;
                    if *count == 0 {
                        per_address.remove(&ip);
                    }
                }
            }
            accepted = listener.accept(), if connections.len() < config.connections => {
                let Ok((stream, remote)) = accepted else {
                    sleep(ACCEPT_PAUSE).await;
                    continue;
                };
                let remote = SocketAddr::new(remote.ip().to_canonical(), remote.port());
                // One customer of IPv6 has a whole network.
                let address = network(remote.ip());
                let count = per_address.entry(address).or_default();
                if *count >= config.connections_per_address {
                    continue;
                }
                *count += 1;
                let serving = serve(stream, remote, config, handler.clone(), stopped.clone());
                let id = connections.spawn(serving).id();
                owners.insert(id, address);
            }
        }
    }
    drop(listener);
    let finish = async { while connections.join_next().await.is_some() {} };
    // What is not finished by then is closed with the set.
    let _ = timeout(STOP_GRACE, finish).await;
}

async fn serve<H, F>(
    stream: TcpStream,
    remote: SocketAddr,
    config: HttpServerConfig,
    handler: Arc<H>,
    mut stopped: watch::Receiver<bool>,
) where
    H: Fn(HttpRequest) -> F + Send + Sync + 'static,
    F: Future<Output = HttpResponse> + Send + 'static,
{
    let service = service_fn(move |request| {
        let handler = handler.clone();
        async move { Ok::<_, Infallible>(respond(request, remote, config, &*handler).await) }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(config.head_timeout)
        .max_buf_size(config.head_bytes)
        .max_headers(MAX_HEADERS)
        .keep_alive(config.keep_alive);
    let mut connection = std::pin::pin!(http.serve_connection(TokioIo::new(stream), service));
    let served = async {
        tokio::select! {
            _ = connection.as_mut() => return,
            _ = stopped.changed() => connection.as_mut().graceful_shutdown(),
        }
        // How a connection ends is the client's affair.
        let _ = connection.await;
    };
    let _ = timeout(config.lifetime, served).await;
}

async fn respond<H, F>(
    request: Request<Incoming>,
    remote: SocketAddr,
    config: HttpServerConfig,
    handler: &H,
) -> HttpResponse
where
    H: Fn(HttpRequest) -> F,
    F: Future<Output = HttpResponse>,
{
    let refuse = |status: StatusCode| {
        reply(status, "text/plain", status.canonical_reason().unwrap_or_default())
    };
    let (head, body) = request.into_parts();
    let body = timeout(config.request_timeout, Limited::new(body, config.body_bytes).collect());
    let body = match body.await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(err)) if err.is::<LengthLimitError>() => {
            return refuse(StatusCode::PAYLOAD_TOO_LARGE);
        }
        Ok(Err(_)) => return refuse(StatusCode::BAD_REQUEST),
        Err(_) => return refuse(StatusCode::REQUEST_TIMEOUT),
    };
    let request = HttpRequest {
        method: head.method,
        path: head.uri.path().to_owned(),
        query: head.uri.query().unwrap_or_default().to_owned(),
        headers: head.headers,
        body,
        remote,
    };
    match timeout(config.request_timeout, handler(request)).await {
        Ok(reply) => reply,
        Err(_) => refuse(StatusCode::SERVICE_UNAVAILABLE),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    const CONFIG: HttpServerConfig = HttpServerConfig {
        connections: 8,
        connections_per_address: 2,
        head_bytes: 8192,
        body_bytes: 10,
        head_timeout: Duration::from_secs(20),
        request_timeout: Duration::from_secs(20),
        lifetime: Duration::from_secs(60),
        keep_alive: true,
    };

    /// Says back what it got; `/never` does not answer.
    fn start(config: HttpServerConfig) -> HttpServer {
        let handler = async |request: HttpRequest| {
            if request.path == "/never" {
                std::future::pending::<()>().await;
            }
            let body = String::from_utf8_lossy(&request.body).into_owned();
            let line = format!("{} {} {} {body}", request.method, request.path, request.query);
            reply(StatusCode::OK, "text/plain", line)
        };
        HttpServer::start((Ipv4Addr::LOCALHOST, 0).into(), config, handler).expect("listening")
    }

    async fn connect(server: &HttpServer) -> TcpStream {
        TcpStream::connect(server.local_addr()).await.expect("connected")
    }

    /// Sends `bytes` and reads until the server closes.
    async fn talk(mut stream: TcpStream, bytes: &str) -> String {
        stream.write_all(bytes.as_bytes()).await.expect("sent");
        let mut reply = String::new();
        let _ = stream.read_to_string(&mut reply).await;
        reply
    }

    #[tokio::test]
    async fn several_requests_on_one_connection() {
        let server = start(CONFIG);
        let got = talk(
            connect(&server).await,
            "GET /a?b=%20 HTTP/1.1\r\n\r\n\
             POST /c HTTP/1.1\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi",
        )
        .await;
        assert!(got.contains("GET /a b=%20 ") && got.ends_with("POST /c  hi"), "{got}");
        server.shutdown().await;
    }

    #[tokio::test]
    async fn one_address_cannot_take_every_connection() {
        let server = start(CONFIG);
        let held = [connect(&server).await, connect(&server).await];
        let got = talk(connect(&server).await, "").await;
        assert_eq!(got, "", "closed without an answer");
        let request = "GET /x HTTP/1.1\r\nConnection: close\r\n\r\n";
        for stream in held {
            assert!(talk(stream, request).await.contains("200 OK"));
        }
        server.shutdown().await;
    }

    #[tokio::test]
    async fn a_slow_client_or_handler_is_cut_off() {
        let brief = Duration::from_millis(50);
        let server = start(HttpServerConfig { head_timeout: brief, ..CONFIG });
        let got = talk(connect(&server).await, "GET / HTT").await;
        assert!(!got.contains("200"), "{got}");
        drop(server);
        let server = start(HttpServerConfig { request_timeout: brief, ..CONFIG });
        let got = talk(connect(&server).await, "GET /never HTTP/1.1\r\nConnection: close\r\n\r\n");
        assert!(got.await.starts_with("HTTP/1.1 503"));
        let slow = "POST / HTTP/1.1\r\nConnection: close\r\nContent-Length: 2\r\n\r\nh";
        let got = talk(connect(&server).await, slow).await;
        assert!(got.starts_with("HTTP/1.1 408"), "{got}");
        drop(server);
        let server = start(HttpServerConfig { lifetime: brief, ..CONFIG });
        assert_eq!(talk(connect(&server).await, "GET /never HTTP/1.1\r\n\r\n").await, "");
    }

    #[tokio::test]
    async fn a_body_in_parts_is_bounded_too() {
        let server = start(CONFIG);
        let chunk = "6\r\nabcdef\r\n";
        let head = "POST / HTTP/1.1\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n";
        let got = talk(connect(&server).await, &format!("{head}{chunk}{chunk}0\r\n\r\n")).await;
        assert!(got.starts_with("HTTP/1.1 413"), "{got}");
        server.shutdown().await;
    }
}
