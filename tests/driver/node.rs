//! A node of the DHT, played by hand: it asks the program, and answers what the program asks.

use std::{
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    time::{Duration, Instant},
};

use super::{PATIENCE, bencode::Value};

/// A node on loopback.
#[derive(Debug)]
pub(crate) struct Node {
    socket: UdpSocket,
    pub(crate) id: [u8; 20],
}

/// A query of the program.
#[derive(Debug)]
pub(crate) struct Query {
    pub(crate) from: SocketAddr,
    pub(crate) message: Value,
}

impl Query {
    pub(crate) fn name(&self) -> String {
        text(self.message.at("q"))
    }

    /// One of its arguments.
    pub(crate) fn argument(&self, name: &str) -> &Value {
        self.message.at("a").at(name)
    }
}

fn bytes(value: &Value) -> &[u8] {
    match value {
        Value::Bytes(bytes) => bytes,
        other => panic!("no string: {other:?}"),
    }
}

fn text(value: &Value) -> String {
    String::from_utf8(bytes(value).to_vec()).expect("text")
}

/// An address in compact form.
pub(crate) fn compact(addr: SocketAddr) -> Vec<u8> {
    let SocketAddr::V4(addr) = addr else { panic!("IPv4 here") };
    [&addr.ip().octets()[..], &addr.port().to_be_bytes()].concat()
}

impl Node {
    /// A node whose id is this number again and again.
    pub(crate) fn new(number: u8) -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("bound");
        socket.set_read_timeout(Some(PATIENCE)).expect("set");
        Node { socket, id: [number; 20] }
    }

    /// The same one, under another name.
    pub(crate) fn again(&self) -> Self {
        Node { socket: self.socket.try_clone().expect("cloned"), id: self.id }
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.socket.local_addr().expect("bound")
    }

    /// As `--dht-bootstrap` wants it.
    pub(crate) fn name(&self) -> String {
        self.addr().to_string()
    }

    pub(crate) fn send(&self, to: SocketAddr, datagram: &[u8]) {
        self.socket.send_to(datagram, to).expect("sent");
    }

    /// Sends a query with these arguments besides our id.
    pub(crate) fn query(&self, to: SocketAddr, name: &str, arguments: &[(&str, Value)]) {
        let own = [("id", Value::bytes(self.id))];
        let a = Value::dict(own.into_iter().chain(arguments.iter().cloned()));
        let message = Value::dict([
            ("a", a),
            ("q", Value::bytes(name)),
            ("t", Value::bytes(b"xy")),
            ("y", Value::bytes(b"q")),
        ]);
        self.send(to, &message.write());
    }

    /// What the program answers to a query: its whole message. Queries of its own that come before are
    /// answered as by a node that knows nobody.
    pub(crate) fn ask(&self, to: SocketAddr, name: &str, arguments: &[(&str, Value)]) -> Value {
        self.query(to, name, arguments);
        self.answer_to(b"xy")
    }

    /// Pings the program until it answers: datagrams get lost among others.
    pub(crate) fn insist(&self, to: SocketAddr) {
        let begin = Instant::now();
        self.socket.set_read_timeout(Some(Duration::from_secs(1))).expect("set");
        let mut buf = [0; 2_048];
        while begin.elapsed() < PATIENCE {
            self.query(to, "ping", &[]);
            if self.socket.recv_from(&mut buf).is_ok() {
                return;
            }
        }
        panic!("no answer");
    }

    /// The program's answer to the transaction.
    pub(crate) fn answer_to(&self, transaction: &[u8]) -> Value {
        loop {
            let (from, message) = self.hear();
            if message.at("y") == &Value::bytes(b"q") {
                self.reply(&Query { from, message }, &[]);
            } else if message.at("t") == &Value::bytes(transaction) {
                return message;
            }
        }
    }

    /// The next datagram.
    pub(crate) fn hear(&self) -> (SocketAddr, Value) {
        let mut buf = [0; 2_048];
        let (length, from) = self.socket.recv_from(&mut buf).expect("a datagram in time");
        (from, Value::read(&buf[..length]))
    }

    /// Answers a query of the program, with these results besides our id.
    pub(crate) fn reply(&self, query: &Query, results: &[(&str, Value)]) {
        let own = [("id", Value::bytes(self.id))];
        let message = Value::dict([
            ("ip", Value::bytes(compact(query.from))),
            ("r", Value::dict(own.into_iter().chain(results.iter().cloned()))),
            ("t", query.message.at("t").clone()),
            ("y", Value::bytes(b"r")),
        ]);
        self.send(query.from, &message.write());
    }

    /// The next query of this name; others are answered as by a node that knows nobody.
    pub(crate) fn wait_for(&self, name: &str) -> Query {
        let begin = Instant::now();
        loop {
            let (from, message) = self.hear();
            if message.at("y") != &Value::bytes(b"q") {
                continue;
            }
            let query = Query { from, message };
            if query.name() == name {
                return query;
            }
            self.reply(&query, &[]);
            assert!(begin.elapsed() < PATIENCE, "no {name} in time");
        }
    }

    /// Has the program take us into its table: it asks back and is answered.
    pub(crate) fn get_known(&self, program: SocketAddr) {
        self.query(program, "ping", &[]);
        let mut known = false;
        let mut answered = false;
        while !(known && answered) {
            let (from, message) = self.hear();
            if message.at("y") == &Value::bytes(b"q") {
                self.reply(&Query { from, message }, &[]);
                known = true;
            } else {
                answered = true;
            }
        }
        // What it says after that it says after our answer.
        self.ask(program, "ping", &[]);
    }
}
