//! Trackers over HTTP and UDP, by hand. Each runs until the test ends, answers as the test says, and
//! keeps what it was asked.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, UdpSocket},
    sync::mpsc::{Receiver, channel},
    thread,
};

use super::{PATIENCE, bencode::Value};

/// What came over HTTP.
#[derive(Debug, Clone)]
pub(crate) struct HttpRequest {
    /// Everything up to the empty line.
    pub(crate) head: String,
    /// Of the request line, before the `?`.
    pub(crate) path: String,
    /// Of the request line, behind the `?`.
    pub(crate) query: String,
}

impl HttpRequest {
    /// A parameter as it was written.
    pub(crate) fn raw(&self, name: &str) -> Option<&str> {
        let mut pairs = self.query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.find(|(key, _)| *key == name).map(|(_, value)| value)
    }

    /// A parameter, with its escapes resolved.
    pub(crate) fn get(&self, name: &str) -> Option<Vec<u8>> {
        let mut bytes = self.raw(name)?.bytes();
        let mut out = Vec::new();
        while let Some(byte) = bytes.next() {
            if byte != b'%' {
                out.push(byte);
                continue;
            }
            let mut digit = || {
                let digit = bytes.next().expect("two digits");
                char::from(digit).to_digit(16).expect("a digit") as u8
            };
            out.push(digit() << 4 | digit());
        }
        Some(out)
    }

    /// A parameter that is text and has to be there.
    pub(crate) fn text(&self, name: &str) -> &str {
        self.raw(name).unwrap_or_else(|| panic!("{name} is missing in {}", self.query))
    }

    pub(crate) fn number(&self, name: &str) -> u64 {
        self.text(name).parse().expect("a number")
    }

    /// The event, "" if there is none.
    pub(crate) fn event(&self) -> &str {
        self.raw("event").unwrap_or("")
    }
}

/// A tracker over HTTP.
#[derive(Debug)]
pub(crate) struct HttpTracker {
    pub(crate) addr: SocketAddr,
    /// Its announce URL.
    pub(crate) url: String,
    requests: Receiver<HttpRequest>,
}

impl HttpTracker {
    /// Answers each request with a body, and a head that goes with it.
    pub(crate) fn start(mut answer: impl FnMut(&HttpRequest) -> Vec<u8> + Send + 'static) -> Self {
        Self::start_raw(move |request| {
            let body = answer(request);
            let length = body.len();
            let head =
                format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
            [head.as_bytes(), &body].concat()
        })
    }

    /// Answers each request with these bytes, and closes.
    pub(crate) fn start_raw(
        mut answer: impl FnMut(&HttpRequest) -> Vec<u8> + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("listening");
        let addr = listener.local_addr().expect("bound");
        let (sender, requests) = channel();
        thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                let _ = stream.set_read_timeout(Some(PATIENCE));
                let mut head = Vec::new();
                let mut byte = [0];
                while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|n| n == 1) {
                    head.push(byte[0]);
                }
                let head = String::from_utf8_lossy(&head).into_owned();
                let target = head.split(' ').nth(1).unwrap_or_default();
                let (path, query) = target.split_once('?').unwrap_or((target, ""));
                let (path, query) = (path.to_owned(), query.to_owned());
                let request = HttpRequest { head, path, query };
                // The test may be over, and who asked may be gone.
                let _ = sender.send(request.clone());
                let _ = stream.write_all(&answer(&request));
            }
        });
        HttpTracker { addr, url: format!("http://{addr}/announce"), requests }
    }

    /// One that gives these peers, compact, and comes back in half an hour.
    pub(crate) fn of(peers: &[SocketAddr]) -> Self {
        let reply = compact_reply(peers);
        Self::start(move |_| reply.clone())
    }

    /// The next request.
    pub(crate) fn next(&self) -> HttpRequest {
        self.requests.recv_timeout(PATIENCE).expect("it asks the tracker")
    }

    /// What was asked and not looked at so far. Says nothing about later.
    pub(crate) fn asked(&self) -> Vec<HttpRequest> {
        self.requests.try_iter().collect()
    }
}

/// A reply with `interval` and compact `peers` (BEP 23).
pub(crate) fn compact_reply(peers: &[SocketAddr]) -> Vec<u8> {
    let entries = [("interval", Value::Int(1800)), ("peers", Value::Bytes(compact(peers)))];
    Value::dict(entries).write()
}

/// IPv4 addresses in six bytes each (BEP 23).
pub(crate) fn compact(peers: &[SocketAddr]) -> Vec<u8> {
    let six = |addr: &SocketAddr| match addr {
        SocketAddr::V4(v4) => [&v4.ip().octets()[..], &v4.port().to_be_bytes()].concat(),
        SocketAddr::V6(v6) => panic!("{v6} is not IPv4"),
    };
    peers.iter().flat_map(six).collect()
}

/// The addresses in such a string.
pub(crate) fn read_compact(bytes: &[u8]) -> Vec<SocketAddr> {
    let (all, rest) = bytes.as_chunks::<6>();
    assert!(rest.is_empty(), "{} bytes", bytes.len());
    let read = |&[a, b, c, d, high, low]: &[u8; 6]| {
        SocketAddrV4::new(Ipv4Addr::new(a, b, c, d), u16::from_be_bytes([high, low])).into()
    };
    all.iter().map(read).collect()
}

/// A tracker over UDP.
#[derive(Debug)]
pub(crate) struct UdpTracker {
    pub(crate) addr: SocketAddr,
    /// Its announce URL.
    pub(crate) url: String,
    requests: Receiver<Vec<u8>>,
}

impl UdpTracker {
    /// Answers each datagram with these, in order.
    pub(crate) fn start(mut answer: impl FnMut(&[u8]) -> Vec<Vec<u8>> + Send + 'static) -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("bound");
        let addr = socket.local_addr().expect("bound");
        let (sender, requests) = channel();
        thread::spawn(move || {
            let mut buffer = vec![0; 64 << 10];
            while let Ok((length, from)) = socket.recv_from(&mut buffer) {
                let datagram = &buffer[..length];
                // The test may be over.
                let _ = sender.send(datagram.to_vec());
                for answer in answer(datagram) {
                    let _ = socket.send_to(&answer, from);
                }
            }
        });
        UdpTracker { addr, url: format!("udp://{addr}/announce"), requests }
    }

    /// One that works: gives connection id 0x1122334455667788, and these peers.
    pub(crate) fn of(peers: &[SocketAddr]) -> Self {
        let peers = compact(peers);
        Self::start(move |datagram| match action(datagram) {
            0 => vec![connect_reply(datagram, 0x1122_3344_5566_7788)],
            1 => vec![announce_reply(datagram, &peers)],
            _ => vec![],
        })
    }

    /// The next datagram.
    pub(crate) fn next(&self) -> Vec<u8> {
        self.requests.recv_timeout(PATIENCE).expect("it asks the tracker")
    }

    /// What was asked and not looked at so far. Says nothing about later.
    pub(crate) fn asked(&self) -> Vec<Vec<u8>> {
        self.requests.try_iter().collect()
    }
}

/// The four bytes of a datagram at `at`.
pub(crate) fn u32_at(datagram: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(datagram[at..at + 4].try_into().expect("4 bytes"))
}

/// The eight bytes of a datagram at `at`.
pub(crate) fn u64_at(datagram: &[u8], at: usize) -> u64 {
    u64::from_be_bytes(datagram[at..at + 8].try_into().expect("8 bytes"))
}

/// What a request is: 0 connect, 1 announce, 2 scrape (BEP 15).
pub(crate) fn action(request: &[u8]) -> u32 {
    u32_at(request, 8)
}

/// A reply: action, the transaction of `request`, and the rest.
pub(crate) fn udp_reply(action: u32, request: &[u8], rest: &[u8]) -> Vec<u8> {
    [&action.to_be_bytes()[..], &request[12..16], rest].concat()
}

pub(crate) fn connect_reply(request: &[u8], connection: u64) -> Vec<u8> {
    udp_reply(0, request, &connection.to_be_bytes())
}

/// Interval 1800, 1 leech, 2 seeds, and these peers.
pub(crate) fn announce_reply(request: &[u8], compact_peers: &[u8]) -> Vec<u8> {
    let numbers: Vec<u8> = [1800_u32, 1, 2].iter().flat_map(|n| n.to_be_bytes()).collect();
    udp_reply(1, request, &[&numbers[..], compact_peers].concat())
}
