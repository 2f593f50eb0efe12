//! A proxy for tests: SOCKS5 and HTTP on one port, which knows names that nobody else does, and leaves by an
//! address by which its guests are told from who comes directly.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional},
    net::{TcpListener, TcpSocket, TcpStream, UdpSocket},
    task::JoinHandle,
};

/// From where its guests come.
pub(crate) const OUTSIDE: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 9));

/// What it knows: who may come, and what was asked for.
#[derive(Debug, Default)]
struct Book {
    /// `user:password`, if not everybody may come.
    user: Option<&'static str>,
    asked: Mutex<Vec<String>>,
}

/// Ends when it is dropped, but for what is under way.
#[derive(Debug)]
pub(crate) struct Proxy {
    pub(crate) addr: SocketAddr,
    book: Arc<Book>,
    task: JoinHandle<()>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Proxy {
    pub(crate) async fn start(user: Option<&'static str>) -> Proxy {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let addr = listener.local_addr().expect("bound");
        let book = Arc::new(Book { user, asked: Mutex::default() });
        let own = book.clone();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // Whoever hangs up has his reasons.
                tokio::spawn(serve(stream, own.clone()));
            }
        });
        Proxy { addr, book, task }
    }

    /// What was asked for so far: `connect`, `get`, or `udp`, and the place as it was said.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.book.asked.lock().expect("no panic").clone()
    }
}

async fn serve(mut stream: TcpStream, book: Arc<Book>) -> io::Result<()> {
    match stream.read_u8().await? {
        5 => socks(stream, &book).await,
        first => http(stream, first, &book).await,
    }
}

/// The place to which `host` leads here: every name is one of this host's.
fn place(host: &str, port: u16) -> SocketAddr {
    (host.parse().unwrap_or(IpAddr::from(Ipv4Addr::LOCALHOST)), port).into()
}

async fn connect(to: SocketAddr) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((OUTSIDE, 0).into())?;
    socket.connect(to).await
}

async fn socks(mut stream: TcpStream, book: &Book) -> io::Result<()> {
    let mut methods = vec![0; stream.read_u8().await?.into()];
    stream.read_exact(&mut methods).await?;
    let wanted = if book.user.is_some() { 2 } else { 0 };
    if !methods.contains(&wanted) {
        return stream.write_all(&[5, 0xff]).await;
    }
    stream.write_all(&[5, wanted]).await?;
    if let Some(user) = book.user {
        let mut text = Vec::new();
        assert_eq!(stream.read_u8().await?, 1);
        for separator in [&b":"[..], b""] {
            let mut part = vec![0; stream.read_u8().await?.into()];
            stream.read_exact(&mut part).await?;
            text.extend([&part, separator].concat());
        }
        let good = text == user.as_bytes();
        stream.write_all(&[1, u8::from(!good)]).await?;
        if !good {
            return Ok(());
        }
    }
    let mut head = [0; 4];
    stream.read_exact(&mut head).await?;
    let host = match head[3] {
        1 => {
            let mut ip = [0; 4];
            stream.read_exact(&mut ip).await?;
            Ipv4Addr::from(ip).to_string()
        }
        3 => {
            let mut name = vec![0; stream.read_u8().await?.into()];
            stream.read_exact(&mut name).await?;
            String::from_utf8(name).expect("a name")
        }
        other => panic!("an address of the kind {other}"),
    };
    let port = stream.read_u16().await?;
    if head[1] == 3 {
        return relay(stream, book).await;
    }
    book.asked.lock().expect("no panic").push(format!("connect {host}:{port}"));
    match connect(place(&host, port)).await {
        Ok(mut other) => {
            stream.write_all(&[5, 0, 0, 1, 127, 0, 0, 9, 0, 0]).await?;
            copy_bidirectional(&mut stream, &mut other).await.map(drop)
        }
        Err(_) => stream.write_all(&[5, 5, 0, 1, 0, 0, 0, 0, 0, 0]).await,
    }
}

/// Carries datagrams until the connection ends.
async fn relay(mut stream: TcpStream, book: &Book) -> io::Result<()> {
    let inside = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let outside = UdpSocket::bind((OUTSIDE, 0)).await?;
    let port = inside.local_addr()?.port().to_be_bytes();
    // Where it listens it leaves to us to know, as some do.
    stream.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, port[0], port[1]]).await?;
    let (mut guest, mut end) = (None, [0; 1]);
    let (mut from_inside, mut from_outside) = ([0; 2_000], [0; 2_000]);
    loop {
        tokio::select! {
            _ = stream.read(&mut end) => return Ok(()),
            received = inside.recv_from(&mut from_inside) => {
                let (length, from) = received?;
                guest = Some(from);
                let (host, rest) = match &from_inside[..length] {
                    [0, 0, 0, 1, a, b, c, d, rest @ ..] => {
                        (Ipv4Addr::new(*a, *b, *c, *d).to_string(), rest)
                    }
                    [0, 0, 0, 3, length, rest @ ..] => {
                        let (name, rest) = rest.split_at(usize::from(*length));
                        (String::from_utf8(name.to_vec()).expect("a name"), rest)
                    }
                    other => panic!("a datagram that makes no sense: {other:?}"),
                };
                let (port, datagram) = rest.split_at(2);
                let port = u16::from_be_bytes([port[0], port[1]]);
                book.asked.lock().expect("no panic").push(format!("udp {host}:{port}"));
                // One that nobody takes is an error of the next.
                let _ = outside.send_to(datagram, place(&host, port)).await;
            }
            received = outside.recv_from(&mut from_outside) => {
                let (Ok((length, SocketAddr::V4(from))), Some(guest)) = (received, guest) else {
                    continue;
                };
                let (ip, port) = (from.ip().octets(), from.port().to_be_bytes());
                let head = [&[0, 0, 0, 1][..], &ip, &port, &from_outside[..length]].concat();
                inside.send_to(&head, guest).await?;
            }
        }
    }
}

async fn http(mut stream: TcpStream, first: u8, book: &Book) -> io::Result<()> {
    let mut head = vec![first];
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8(head).expect("text");
    if let Some(user) = book.user {
        let secret = data_encoding::BASE64.encode(user.as_bytes());
        if !head.contains(&format!("Basic {secret}\r\n")) {
            let no = "HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n";
            return stream.write_all(no.as_bytes()).await;
        }
    }
    let mut words = head.split(' ');
    let (method, target) = (words.next().expect("a method"), words.next().expect("a target"));
    let (authority, path) = match target.strip_prefix("http://") {
        Some(rest) => rest.split_once('/').expect("a path"),
        None => (target, ""),
    };
    let (host, port) = authority.rsplit_once(':').expect("a port");
    book.asked.lock().expect("no panic").push(format!("{} {authority}", method.to_lowercase()));
    let Ok(mut other) = connect(place(host, port.parse().expect("a port"))).await else {
        return stream.write_all(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n").await;
    };
    if method == "CONNECT" {
        stream.write_all(b"HTTP/1.1 200 Connected\r\n\r\n").await?;
    } else {
        let rest = head.replacen(target, &format!("/{path}"), 1);
        other.write_all(rest.as_bytes()).await?;
    }
    copy_bidirectional(&mut stream, &mut other).await.map(drop)
}
