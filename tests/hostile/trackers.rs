//! The door of trackers: what they reply to an announce, over HTTP and UDP.

use std::net::SocketAddr;

use crate::{
    bytes::{dict, nested, text, times},
    driver::{
        content::Content,
        peer::{Hello, Listener, PLAIN},
        program::{Place, Program},
        tracker::{
            HttpTracker, UdpTracker, action, announce_reply, compact, connect_reply, udp_reply,
        },
    },
    table::{Attack, Bound, try_all},
};

/// What a reply gets.
enum Gets {
    /// A warning that ends with this; `{}` stands for the tracker's address.
    Told(&'static str),
    /// What is good in it is used: the one right peer is dialled.
    Used,
}
use Gets::{Told, Used};

/// Makes the reply; the argument is the right peer, compact.
type Http = Attack<fn(&[u8]) -> Vec<u8>, Gets>;
/// Makes the datagrams that answer one; the second argument is the right peer, compact.
type Udp = Attack<fn(&[u8], &[u8]) -> Vec<Vec<u8>>, Gets>;

/// Resident memory of a download with its code.
const LEECH: Bound = Bound::SMALL.memory(64);

/// A download that announces to a tracker, and what is expected of it.
fn announce(url: &str, addr: SocketAddr, right: &Listener, gets: &Gets) {
    let (place, content) = (Place::new(), Content::new(2));
    let mut program = place.leech(&content, &[], &["--tracker", url]);
    match gets {
        Used => {
            right.greet(&Hello::new(&content, PLAIN));
        }
        Told(sentence) => {
            let sentence = sentence.replace("{}", &addr.to_string());
            let warning = program.warning("tracker ");
            assert!(warning.ends_with(&sentence), "{warning}");
            let harmful = |c: char| c.is_control();
            assert!(!warning.contains(harmful), "{}", warning.escape_debug());
        }
    }
    is_well(program);
}

fn is_well(mut program: Program) {
    assert!(program.is_alive(), "{}", program.talk());
    assert!(program.peak_memory() < u64::from(LEECH.memory) << 10, "{}", program.peak_memory());
    program.signal("-INT");
    assert_eq!(program.end().0, 130);
}

#[test]
fn replies_over_http() {
    try_all("replies of HTTP trackers", http_rows(), |row| {
        let right = Listener::new();
        let (make, peer) = (row.input, compact(&[right.addr]));
        let tracker = HttpTracker::start_raw(move |_| make(&peer));
        announce(&tracker.url, tracker.addr, &right, &row.gets);
    });
}

#[test]
fn replies_over_udp() {
    try_all("replies of UDP trackers", udp_rows(), |row| {
        let right = Listener::new();
        let (make, peer) = (row.input, compact(&[right.addr]));
        let tracker = UdpTracker::start(move |datagram| make(datagram, &peer));
        announce(&tracker.url, tracker.addr, &right, &row.gets);
    });
}

fn ok(body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

/// A reply with `peers` and these values, bencoded already.
fn reply(peers: &[u8], more: &[(&str, &[u8])]) -> Vec<u8> {
    let peers = text(peers);
    ok(dict(&[&[("peers", &peers[..])], more].concat()))
}

const fn http(name: &'static str, input: fn(&[u8]) -> Vec<u8>, gets: Gets) -> Http {
    Attack::new(name, input, gets)
}

fn http_rows() -> Vec<Http> {
    const NESTED: &str = "the reply of {} cannot be used: not valid bencoding at byte 16: lists and \
                          dictionaries are nested too deeply";
    vec![
        http(
            "nothing",
            |_| vec![],
            Told("cannot be used: connection closed before message completed"),
        ),
        http(
            "an empty body",
            |_| ok(""),
            Told(
                "cannot be used: not valid bencoding at byte 0: the data ends in the middle of a value",
            ),
        ),
        http(
            "a web page",
            |_| ok("<html>"),
            Told("cannot be used: not valid bencoding at byte 0: no value begins with this byte"),
        ),
        http("a list", |_| ok("le"), Told("cannot be used: it is not a dictionary")),
        http("nesting", |_| ok(nested(100_000)), Told(NESTED)),
        http(
            "nesting in a key that is ignored",
            |peer| reply(peer, &[("x", &nested(100_000))]),
            Told("lists and dictionaries are nested too deeply"),
        ),
        http(
            "nesting that never closes",
            |_| ok(times("d1:a", 100_000)),
            Told("lists and dictionaries are nested too deeply"),
        ),
        http(
            "tiny items",
            |_| ok([&b"d1:xl"[..], &times("0:", 500_000), b"ee"].concat()),
            Told("there are too many values"),
        ),
        http(
            "a key twice",
            |peer| reply(peer, &[("x", b"i1e"), ("x", b"i1e")]),
            Told("a dictionary key is repeated"),
        ),
        http(
            "longer than any reply",
            |_| ok(times("0", (1 << 20) + 1)),
            Told("longer than 1048576 bytes"),
        ),
        http(
            "a promise of a terabyte",
            |_| b"HTTP/1.1 200 OK\r\nContent-Length: 1099511627776\r\n\r\nd".to_vec(),
            Told("cannot be used: end of file before message length reached"),
        ),
        http(
            "endless heads",
            |_| [&b"HTTP/1.1 200 OK\r\n"[..], &times("a: b\r\n", 1_000_000)].concat(),
            Told("cannot be used: message head is too large"),
        ),
        http(
            "a failure that moves the cursor",
            |_| ok(dict(&[("failure reason", text("no\x1b[2J\r\n\u{202e}way"))])),
            Told("{} refused: no\u{fffd}[2J\u{fffd}\u{fffd}\u{fffd}way"),
        ),
        http(
            "a failure of a megabyte",
            |_| ok(dict(&[("failure reason", text(times("a", 1_000_000)))])),
            Told("aaaa"),
        ),
        http(
            "a redirect in a circle",
            |_| b"HTTP/1.1 302 Found\r\nLocation: /announce\r\n\r\n".to_vec(),
            Told("{} redirected us in vain: more than 4 redirects"),
        ),
        http(
            "a redirect to a file",
            |_| b"HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\n\r\n".to_vec(),
            Told("{} redirected us in vain: to what is no HTTP address"),
        ),
        http(
            "an error with good peers",
            |peer| {
                let body = dict(&[("peers", text(peer))]);
                let head = format!("HTTP/1.1 500 No\r\nContent-Length: {}\r\n\r\n", body.len());
                [head.as_bytes(), &body].concat()
            },
            Told("{} answered with HTTP status 500"),
        ),
        http(
            "half a peer behind a good one",
            |peer| reply(&[peer, &[1, 2, 3]].concat(), &[]),
            Used,
        ),
        http(
            "peers that are nobody",
            |peer| {
                reply(&[&[0; 6], &[127, 0, 0, 1, 0, 0], &[224, 0, 0, 1, 0, 9], peer].concat(), &[])
            },
            Used,
        ),
        http("the same peer a thousand times", |peer| reply(&peer.repeat(1000), &[]), Used),
        http(
            "an interval of nothing, and of ever",
            |peer| {
                let most = b"i99999999999999999999e";
                reply(peer, &[("interval", b"i-1e"), ("min interval", most), ("complete", most)])
            },
            Used,
        ),
        http(
            "values of another type",
            |peer| {
                reply(
                    peer,
                    &[
                        ("interval", b"le"),
                        ("peers6", b"i1e"),
                        ("tracker id", b"de"),
                        ("warning message", b"i1e"),
                    ],
                )
            },
            Used,
        ),
        http(
            "peers in a list of everything",
            |peer| {
                let port = u16::from_be_bytes([peer[4], peer[5]]);
                let good = format!("d2:ip9:127.0.0.14:porti{port}ee");
                let bad = "i1e0:ledeli1eed2:ip1:x4:porti1eed2:ip9:127.0.0.14:porti-1eed4:porti1ee";
                ok(format!("d5:peersl{bad}{good}ee"))
            },
            Used,
        ),
        http(
            "a tracker id of a megabyte",
            |peer| reply(peer, &[("tracker id", &text(times("a", 1_000_000)))]),
            Used,
        ),
        http(
            "a reply with something behind it",
            |peer| {
                let body = dict(&[("peers", text(peer))]);
                ok([&body[..], b"\r\n\r\n"].concat())
            },
            Used,
        ),
    ]
}

const fn udp(name: &'static str, input: fn(&[u8], &[u8]) -> Vec<Vec<u8>>, gets: Gets) -> Udp {
    Attack::new(name, input, gets)
}

/// A good answer to a connect, and these to an announce.
fn connected(datagram: &[u8], announce: impl FnOnce() -> Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    if action(datagram) == 0 { vec![connect_reply(datagram, 5)] } else { announce() }
}

fn udp_rows() -> Vec<Udp> {
    vec![
        udp(
            "an error in place of a connection",
            |d, _| vec![udp_reply(3, d, b"go\x1b[2J away")],
            Told("{} refused: go\u{fffd}[2J away"),
        ),
        udp(
            "an error of a datagram",
            |d, _| connected(d, || vec![udp_reply(3, d, &times("a", 60_000))]),
            Told("aaaa"),
        ),
        udp(
            "half an answer",
            |d, _| connected(d, || vec![udp_reply(1, d, &[0; 3])]),
            Told("cannot be used: a datagram of 3 bytes is too short"),
        ),
        udp(
            "an answer of no meaning",
            |d, _| connected(d, || vec![udp_reply(99, d, &[0; 40])]),
            Told("cannot be used: 99 is not a known action"),
        ),
        udp(
            "answers to somebody else, then to us",
            |d, peer| {
                let mut other = d.to_vec();
                other[12] ^= 1;
                let forged = vec![connect_reply(&other, 6), vec![], vec![0; 7], vec![0xff; 100]];
                let good = connected(d, || vec![announce_reply(d, peer)]);
                [forged, good].concat()
            },
            Used,
        ),
        udp(
            "half a peer behind a good one",
            |d, peer| connected(d, || vec![announce_reply(d, &[peer, &[1, 2, 3]].concat())]),
            Used,
        ),
        udp(
            "peers that are nobody",
            |d, peer| connected(d, || vec![announce_reply(d, &[&[0; 600], peer].concat())]),
            Used,
        ),
        udp(
            "as many peers as a datagram holds",
            |d, peer| connected(d, || vec![announce_reply(d, &[peer, &[9; 60_000]].concat())]),
            Used,
        ),
        udp(
            "a connection where peers are to be",
            |d, peer| connected(d, || vec![connect_reply(d, 6), announce_reply(d, peer)]),
            Used,
        ),
    ]
}
