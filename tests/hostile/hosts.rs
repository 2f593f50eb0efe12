//! The door of the embedded tracker: requests over HTTP and datagrams. Whatever comes, a good client is
//! answered right after it.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Instant,
};

use crate::{
    bytes::times,
    driver::{
        PATIENCE,
        ask::{UdpAnnounce, UdpAsker, escape, http_announce, http_raw, udp_connect, udp_scrape},
        bencode::Value,
        program::Place,
    },
    table::{Attack, Bound, try_all},
};

const HASH: [u8; 20] = [7; 20];

/// What a request over HTTP gets.
enum Gets {
    /// A reply with this at its start.
    Answer(&'static str),
    /// A reply of a tracker with this failure reason.
    Reason(&'static str),
    /// A reply that ends in a dictionary with so many peers.
    Peers(usize),
}
use Gets::{Answer, Peers, Reason};

type Row = Attack<fn() -> Vec<u8>, Gets>;

const fn row(name: &'static str, input: fn() -> Vec<u8>, gets: Gets) -> Row {
    Attack::new(name, input, gets)
}

/// A tracker's resident memory with its code.
const TRACKER: Bound = Bound::SMALL.memory(64);

fn is_well(tracker: SocketAddr) {
    let reply = http_announce(tracker, [9; 20], 9, "");
    assert!(reply.get("peers").is_some(), "{reply:?}");
    let asker = UdpAsker::new(tracker);
    assert_eq!(asker.ask(&udp_connect(5)).len(), 16, "it answers over UDP");
}

#[test]
fn requests() {
    try_all("requests to the embedded tracker", rows(), |row| {
        let place = Place::new();
        let (mut program, tracker) = place.tracker(&[]);
        http_announce(tracker, HASH, 1, "");
        let reply = http_raw(tracker, &(row.input)());
        let text = String::from_utf8_lossy(&reply);
        match row.gets {
            Answer(start) => assert!(text.starts_with(start), "{text}"),
            Reason(reason) => {
                let want = format!("14:failure reason{}:{reason}e", reason.len());
                assert!(text.ends_with(&want), "{text}");
            }
            Peers(count) => {
                let head = reply.windows(4).position(|w| w == b"\r\n\r\n").expect("a head");
                let body = Value::read(&reply[head + 4..]);
                assert_eq!(body.at("peers").as_bytes().len(), count * 6, "{body:?}");
            }
        }
        is_well(tracker);
        assert!(program.is_alive(), "{}", program.talk());
        assert!(program.peak_memory() < u64::from(TRACKER.memory) << 10);
    });
}

/// The request line of an announce with these parameters.
fn announce(parameters: &str) -> Vec<u8> {
    get(&format!("/announce?{parameters}"))
}

fn get(target: &str) -> Vec<u8> {
    format!("GET {target} HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n").into_bytes()
}

/// A good announce with more behind it.
fn with(more: &str) -> Vec<u8> {
    let (hash, id) = (escape(&HASH), escape(b"-XX0001-hostile-peer"));
    announce(&format!("info_hash={hash}&peer_id={id}&port=2&{more}"))
}

fn rows() -> Vec<Row> {
    vec![
        row("no hash", || announce("port=1"), Reason("info_hash is missing")),
        row("a short hash", || announce("info_hash=abc"), Reason("info_hash is not valid")),
        row(
            "a long hash",
            || announce(&format!("info_hash={}", "a".repeat(21))),
            Reason("info_hash is not valid"),
        ),
        row("a broken escape", || announce("info_hash=%"), Reason("info_hash is not valid")),
        row("port 0", || with("port=0"), Reason("port is not valid")),
        row("port 65536", || with("port=65536"), Reason("port is not valid")),
        row("a port below 0", || with("port=-1"), Reason("port is not valid")),
        row("figures that are none", || with("left=many"), Reason("left is not valid")),
        row(
            "figures beyond 64 bits",
            || with(&format!("left={0}&uploaded=-{0}", "9".repeat(99))),
            Peers(1),
        ),
        row("all the peers there are", || with("numwant=4294967295"), Peers(1)),
        row("fewer peers than none", || with("numwant=-9999999999"), Peers(1)),
        row("the address of somebody else", || with("ip=8.8.8.8"), Peers(1)),
        row("thousands of parameters", || with(&"a=b&".repeat(3000)), Peers(1)),
        row("another path", || get("/../../etc/passwd"), Answer("HTTP/1.1 404 ")),
        row("a whole scrape", || get("/scrape"), Reason("info_hash is missing")),
        row(
            "a scrape of more than fits",
            || get(&format!("/scrape?{}", format!("info_hash={}&", "a".repeat(20)).repeat(65))),
            Reason("too many info hashes in one scrape"),
        ),
        row(
            "another method",
            || b"DELETE / HTTP/1.1\r\nConnection: close\r\n\r\n".to_vec(),
            Answer("HTTP/1.1 405 "),
        ),
        row("another protocol", || b"\x13BitTorrent protocol".to_vec(), Answer("HTTP/1.1 400 ")),
        row("zeros", || vec![0; 4096], Answer("HTTP/1.1 400 ")),
        row(
            "an endless line",
            || [&b"GET /"[..], &times("a", 1 << 20)].concat(),
            Answer("HTTP/1.1 4"),
        ),
        row(
            "endless heads",
            || [&b"GET / HTTP/1.1\r\n"[..], &times("a: b\r\n", 100_000)].concat(),
            Answer("HTTP/1.1 431 "),
        ),
        row(
            "a body of a terabyte",
            || b"GET / HTTP/1.1\r\nContent-Length: 1099511627776\r\n\r\nabc".to_vec(),
            Answer("HTTP/1.1 413 "),
        ),
        row(
            "two lengths",
            || b"GET / HTTP/1.1\r\nContent-Length: 0\r\nContent-Length: 5\r\n\r\nGET / ".to_vec(),
            Answer("HTTP/1.1 400 "),
        ),
    ]
}

#[test]
fn datagrams() {
    let unknown = |n: u64, action: u32| {
        [&n.to_be_bytes()[..], &action.to_be_bytes(), &7_u32.to_be_bytes(), &[0; 82]].concat()
    };
    let announce = UdpAnnounce { info_hash: HASH, left: 1, event: 2, numwant: -1, port: 9 };
    let rows: Vec<Attack<Vec<u8>, bool>> = vec![
        Attack::new("nothing", vec![], false),
        Attack::new("one byte", vec![0], false),
        Attack::new("half a connect", udp_connect(1)[..15].to_vec(), false),
        Attack::new("a connect with another number", unknown(1, 0), false),
        Attack::new("zeros as large as a datagram", vec![0; 60_000], false),
        Attack::new("ones", vec![0xff; 98], false),
        Attack::new("an announce without a connection", announce.bytes(1, 2), true),
        Attack::new("half an announce", announce.bytes(1, 2)[..97].to_vec(), false),
        Attack::new("a scrape without a connection", udp_scrape(1, 2, &[HASH; 74]), true),
        Attack::new("an action of no meaning", unknown(0x0417_2710_1980, 99), false),
    ];
    try_all("datagrams to the embedded tracker", rows, |row| {
        let place = Place::new();
        let (mut program, tracker) = place.tracker(&[]);
        let asker = UdpAsker::new(tracker);
        asker.send(&row.input);
        // What comes first is the answer to the attack, if it has one.
        asker.send(&udp_connect(5));
        let first = asker.read();
        let is_error = first[..4] == [0, 0, 0, 3];
        assert!(
            first.len() <= row.input.len().max(16),
            "an answer is not longer than its question"
        );
        assert_eq!(is_error, row.gets && is_error, "only a right form is answered: {first:?}");
        assert!(is_error || first[4..8] == [0, 0, 0, 5], "{first:?}");
        is_well(tracker);
        assert!(program.is_alive(), "{}", program.talk());
        assert!(program.peak_memory() < u64::from(TRACKER.memory) << 10);
    });
}

#[test]
fn a_crowd_that_says_nothing_does_not_keep_others_out() {
    let place = Place::new();
    let (_program, tracker) = place.tracker(&[]);
    let mut crowd: Vec<TcpStream> = Vec::new();
    for _ in 0..127 {
        let mut stream = TcpStream::connect(tracker).expect("connected");
        stream.write_all(b"GET /announce?in").expect("sent");
        crowd.push(stream);
    }
    is_well(tracker);
    // One address does not get more than its share. The first of these may still have a place.
    let over: Vec<_> = (0..8).map(|_| TcpStream::connect(tracker).expect("connected")).collect();
    for mut stream in over.iter().skip(2) {
        stream.set_read_timeout(Some(PATIENCE)).expect("set");
        assert!(matches!(stream.read(&mut [0]), Ok(0) | Err(_)), "closed without an answer");
    }
    drop(over);
    drop(crowd);
    // It may take a moment until it sees that they are gone.
    let end = Instant::now() + PATIENCE;
    while http_raw(tracker, &get("/stats")).is_empty() {
        assert!(Instant::now() < end, "it answers once the crowd is gone");
    }
}
