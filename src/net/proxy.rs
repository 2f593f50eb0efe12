//! Connections by way of a proxy: dialled, introduced, and handed over as if they were direct.
//!
//! What is said to proxies is in [`crate::proxy`]. Names of places are left to the proxy; its own is looked up
//! once, at the start, like any other. A proxy that is away is an error then, and whenever it is; one that
//! does not know us says so then (SOCKS5) or with the first connection (HTTP): nothing goes around it.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use super::{resolver::Resolver, sockets::Binding};
use crate::{
    base::limits::MAX_PROXY_REPLY,
    proxy::{
        Credentials, Place, ProxyAddress, Scheme,
        http_connect::{self, ConnectError},
        socks::{self, Request, SocksError, code},
    },
};

/// How long the first greeting may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long one before a connection may: less than a dial, so that it is known whose fault it is.
const GREETING: Duration = Duration::from_secs(5);

/// Why a proxy is of no use.
#[derive(Debug, thiserror::Error)]
#[error("the proxy {proxy} cannot be used: {cause}")]
pub struct ProxyError {
    /// Which, without its user.
    pub proxy: String,
    /// What went wrong.
    #[source]
    pub cause: ProxyTrouble,
}

/// What goes wrong with a proxy.
#[derive(Debug, thiserror::Error)]
pub enum ProxyTrouble {
    /// It is not there.
    #[error("{0}")]
    Away(io::Error),
    /// It hangs up.
    #[error("{0}")]
    Unreachable(#[from] io::Error),
    /// What it says in SOCKS.
    #[error(transparent)]
    Socks(#[from] SocksError),
    /// What it says in HTTP.
    #[error(transparent)]
    Http(#[from] ConnectError),
}

/// A proxy that was there at the start.
#[derive(Debug)]
pub struct Proxy {
    address: ProxyAddress,
    addrs: Vec<SocketAddr>,
    /// It wanted to know who we are when it was greeted first.
    asked: bool,
    binding: Binding,
}

impl Proxy {
    /// Looks up the proxy at `address` by `resolver`, and greets it by way of `binding`.
    ///
    /// # Errors
    /// It is not there, speaks something else, or does not know us. An HTTP proxy says whether it knows us
    /// only with the first connection.
    pub async fn open(
        address: ProxyAddress,
        binding: Binding,
        resolver: &dyn Resolver,
    ) -> Result<Self, ProxyError> {
        let proxy = address.to_string();
        let opening = async {
            let ips = match address.host.parse::<IpAddr>() {
                Ok(ip) => vec![ip],
                Err(_) => resolver.lookup(&address.host).await?,
            };
            let addrs = ips.into_iter().map(|ip| SocketAddr::new(ip, address.port)).collect();
            let mut proxy = Proxy { address, addrs, asked: true, binding };
            let (stream, asked) = proxy.greet().await?;
            proxy.asked = asked;
            // The one that answered is the one from now on.
            proxy.addrs = vec![stream.peer_addr()?];
            Ok(proxy)
        };
        let opened = timeout(PATIENCE, opening).await;
        let opened =
            opened.unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::TimedOut).into()));
        opened.map_err(|cause| ProxyError { proxy, cause })
    }

    /// Where it is, and who we are to it.
    pub const fn address(&self) -> &ProxyAddress {
        &self.address
    }

    /// Who we are to it, unless it does not ask: not every client offers to say nothing.
    pub(super) fn credentials(&self) -> Option<&Credentials> {
        self.address.credentials.as_ref().filter(|_| self.asked)
    }

    /// The address at which it answered.
    pub(super) fn addr(&self) -> SocketAddr {
        self.addrs[0]
    }

    /// Connects to `place`, by the proxy. What it says of the place is as the system would say it.
    pub(super) async fn connect(&self, place: &Place) -> io::Result<TcpStream> {
        self.tunnel(place).await.map_err(|trouble| self.as_io(trouble))
    }

    /// Asks for a relay for datagrams, which lasts as long as the connection.
    pub(super) async fn associate(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let asking = async {
            let (mut stream, _) = self.greet().await?;
            // From where we will send is not known, as a rule, on a way that changes addresses.
            let anywhere = Place::from(SocketAddr::from(([0, 0, 0, 0], 0)));
            stream.write_all(&socks::request(Request::UdpAssociate, &anywhere)).await?;
            let place = read(&mut stream, |bytes| Ok(socks::read_reply(bytes)?)).await?;
            match place {
                Place::Addr(addr) if addr.ip().is_unspecified() => {
                    Ok((stream, SocketAddr::new(self.addr().ip(), addr.port())))
                }
                Place::Addr(addr) => Ok((stream, addr)),
                Place::Name(..) => Err(SocksError::NotSocks.into()),
            }
        };
        asking.await.map_err(|trouble| self.as_io(trouble))
    }

    async fn tunnel(&self, place: &Place) -> Result<TcpStream, ProxyTrouble> {
        let greeted = timeout(GREETING, self.greet()).await;
        let (mut stream, _) = match greeted
            .unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::TimedOut).into()))
        {
            Err(ProxyTrouble::Unreachable(error)) => return Err(ProxyTrouble::Away(error)),
            greeted => greeted?,
        };
        match self.address.scheme {
            Scheme::Socks5 => {
                stream.write_all(&socks::request(Request::Connect, place)).await?;
                read(&mut stream, |bytes| {
                    Ok(socks::read_reply(bytes)?.map(|(_, length)| ((), length)))
                })
                .await?;
            }
            Scheme::Http => {
                let request = http_connect::request(place, self.address.credentials.as_ref());
                stream.write_all(&request).await?;
                read(&mut stream, |bytes| {
                    Ok(http_connect::read_answer(bytes)?.map(|length| ((), length)))
                })
                .await?;
            }
        }
        Ok(stream)
    }

    /// Connects, and says who we are as far as that comes first; also whether it wants to know.
    async fn greet(&self) -> Result<(TcpStream, bool), ProxyTrouble> {
        let mut stream = self.dial().await?;
        stream.set_nodelay(true)?;
        if self.address.scheme == Scheme::Http {
            return Ok((stream, true));
        }
        let credentials = self.address.credentials.as_ref();
        stream.write_all(&socks::greeting(credentials)).await?;
        let mut answer = [0; 2];
        stream.read_exact(&mut answer).await?;
        let asks = socks::read_choice(answer, credentials.is_some())?;
        if let Some(credentials) = credentials.filter(|_| asks) {
            stream.write_all(&socks::authentication(credentials)).await?;
            stream.read_exact(&mut answer).await?;
            socks::read_verdict(answer)?;
        }
        Ok((stream, asks))
    }

    async fn dial(&self) -> io::Result<TcpStream> {
        let mut last = io::Error::from(io::ErrorKind::NotFound);
        for addr in &self.addrs {
            let connecting = async { self.binding.tcp_towards(*addr)?.connect(*addr).await };
            match connecting.await {
                Ok(stream) => return Ok(stream),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn as_io(&self, trouble: ProxyTrouble) -> io::Error {
        use io::ErrorKind::{
            ConnectionRefused, HostUnreachable, NetworkDown, NetworkUnreachable, Other, TimedOut,
        };
        let kind = match &trouble {
            ProxyTrouble::Socks(SocksError::Refused(code)) => match *code {
                code::CONNECTION_REFUSED => ConnectionRefused,
                code::HOST_UNREACHABLE => HostUnreachable,
                code::NETWORK_UNREACHABLE => NetworkUnreachable,
                code::TTL_EXPIRED => TimedOut,
                _ => Other,
            },
            ProxyTrouble::Http(ConnectError::Refused(504)) => TimedOut,
            ProxyTrouble::Http(ConnectError::Refused(500..=599)) => HostUnreachable,
            // That of the proxy says nothing about the place.
            ProxyTrouble::Away(_) => NetworkDown,
            _ => Other,
        };
        io::Error::new(kind, ProxyError { proxy: self.address.to_string(), cause: trouble })
    }
}

/// Reads what `parse` takes for whole, and not a byte more: what follows is the other side's.
async fn read<T>(
    stream: &mut TcpStream,
    parse: impl Fn(&[u8]) -> Result<Option<(T, usize)>, ProxyTrouble>,
) -> Result<T, ProxyTrouble> {
    let (mut bytes, mut seen) = (vec![0; MAX_PROXY_REPLY], 0);
    loop {
        // A peer does not speak before us, so that there is nothing to be had by reading ahead.
        bytes[seen] = stream.read_u8().await?;
        seen += 1;
        if let Some((value, _)) = parse(&bytes[..seen])? {
            return Ok(value);
        }
        if seen == bytes.len() {
            return Err(io::Error::from(io::ErrorKind::InvalidData).into());
        }
    }
}
