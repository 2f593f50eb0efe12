//! A client of the embedded tracker, over HTTP and UDP.

use std::{
    io::{Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket},
};

use super::{PATIENCE, bencode::Value};

/// `GET` of a path with its query. Gives the status and the body.
pub(crate) fn http_get(tracker: SocketAddr, target: &str) -> (u16, Vec<u8>) {
    let request = format!("GET {target} HTTP/1.1\r\nHost: {tracker}\r\nConnection: close\r\n\r\n");
    let reply = http_raw(tracker, request.as_bytes());
    let end = reply.windows(4).position(|w| w == b"\r\n\r\n").expect("a head");
    let head = String::from_utf8(reply[..end].to_vec()).expect("text");
    let status = head.split(' ').nth(1).expect("a status").parse().expect("a number");
    (status, reply[end + 4..].to_vec())
}

/// These bytes, and everything that comes back until the tracker closes.
pub(crate) fn http_raw(tracker: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(tracker).expect("connected");
    stream.set_read_timeout(Some(PATIENCE)).expect("set");
    // It may close before it has read everything.
    let _ = stream.write_all(bytes);
    let mut reply = Vec::new();
    let mut part = [0; 4096];
    loop {
        match stream.read(&mut part) {
            Ok(0) => return reply,
            Ok(n) => reply.extend(&part[..n]),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return reply,
            Err(error) => panic!("no reply: {error}"),
        }
    }
}

/// Every byte escaped.
pub(crate) fn escape(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("%{byte:02X}")).collect()
}

/// An announce over HTTP; `more` is appended to the query. Gives the reply's dictionary.
pub(crate) fn http_announce(
    tracker: SocketAddr,
    info_hash: [u8; 20],
    port: u16,
    more: &str,
) -> Value {
    let id = format!("-XX0001-port-{port:07}");
    let target = format!(
        "/announce?info_hash={}&peer_id={}&port={port}{more}",
        escape(&info_hash),
        escape(id.as_bytes()),
    );
    let (status, body) = http_get(tracker, &target);
    assert_eq!(status, 200, "{}", body.escape_ascii());
    Value::read(&body)
}

/// A socket towards a tracker.
#[derive(Debug)]
pub(crate) struct UdpAsker {
    socket: UdpSocket,
}

impl UdpAsker {
    pub(crate) fn new(tracker: SocketAddr) -> Self {
        let any = match tracker {
            SocketAddr::V4(_) => IpAddr::from(Ipv4Addr::LOCALHOST),
            SocketAddr::V6(_) => IpAddr::from(Ipv6Addr::LOCALHOST),
        };
        let socket = UdpSocket::bind((any, 0)).expect("bound");
        socket.connect(tracker).expect("an address");
        socket.set_read_timeout(Some(PATIENCE)).expect("set");
        UdpAsker { socket }
    }

    pub(crate) fn send(&self, datagram: &[u8]) {
        self.socket.send(datagram).expect("sent");
    }

    pub(crate) fn read(&self) -> Vec<u8> {
        let mut buffer = vec![0; 64 << 10];
        let length = self.socket.recv(&mut buffer).expect("the tracker answers");
        buffer.truncate(length);
        buffer
    }

    pub(crate) fn ask(&self, datagram: &[u8]) -> Vec<u8> {
        self.send(datagram);
        self.read()
    }
}

/// A connect request (BEP 15).
pub(crate) fn udp_connect(transaction: u32) -> Vec<u8> {
    let parts = [&0x0417_2710_1980_u64.to_be_bytes()[..], &[0; 4], &transaction.to_be_bytes()];
    parts.concat()
}

/// What an announce over UDP says.
#[derive(Debug, Clone)]
pub(crate) struct UdpAnnounce {
    pub(crate) info_hash: [u8; 20],
    pub(crate) left: u64,
    /// 0 none, 1 completed, 2 started, 3 stopped.
    pub(crate) event: u32,
    pub(crate) numwant: i32,
    pub(crate) port: u16,
}

impl UdpAnnounce {
    /// The datagram (BEP 15).
    pub(crate) fn bytes(&self, connection: u64, transaction: u32) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend(connection.to_be_bytes());
        out.extend(1_u32.to_be_bytes());
        out.extend(transaction.to_be_bytes());
        out.extend(self.info_hash);
        out.extend(format!("-XX0001-port-{:07}", self.port).as_bytes());
        // Downloaded, left, uploaded.
        out.extend(0_u64.to_be_bytes());
        out.extend(self.left.to_be_bytes());
        out.extend(0_u64.to_be_bytes());
        out.extend(self.event.to_be_bytes());
        // Address and key.
        out.extend([0; 8]);
        out.extend(self.numwant.to_be_bytes());
        out.extend(self.port.to_be_bytes());
        out
    }
}

/// A scrape request (BEP 15).
pub(crate) fn udp_scrape(connection: u64, transaction: u32, hashes: &[[u8; 20]]) -> Vec<u8> {
    let head = [&connection.to_be_bytes()[..], &2_u32.to_be_bytes(), &transaction.to_be_bytes()];
    [head.concat(), hashes.concat()].concat()
}
