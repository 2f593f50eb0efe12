//! The door of peers, where we serve: what they say before, in and after the handshake. Whatever a bad
//! one does, a good one is served right after it.

use std::iter::repeat_with;

use crate::{
    bytes::{nested, times},
    driver::{
        content::{BLOCK, Content},
        peer::{FAST_EXTENDED, Hello, Message as M, PLAIN, PROTOCOL, Peer, frame},
        program::Place,
    },
    table::{Attack, Bound, try_all},
};

/// What a peer gets.
enum Gets {
    /// The connection is closed for this reason.
    Closed(&'static str),
    /// It is closed before it is a peer at all.
    Dropped,
    /// It is closed, and told at most who we are: some say who they are only after we did, and whether
    /// their end is seen before ours has left is chance.
    Greeted,
    /// Nothing but what it has a right to; the connection stays.
    Borne,
}
use Gets::{Borne, Closed, Dropped, Greeted};

/// Connects to this port and does it.
type Row = Attack<fn(u16, &Content) -> Peer, Gets>;

const fn row(name: &'static str, input: fn(u16, &Content) -> Peer, gets: Gets) -> Row {
    Attack::new(name, input, gets)
}

/// Resident memory of a seed with its code.
const SEED: Bound = Bound::SMALL.memory(64);

#[test]
fn handshakes() {
    try_all("handshakes of peers", handshake_rows(), attempt);
}

#[test]
fn messages() {
    try_all("messages of peers", message_rows(), attempt);
}

#[test]
fn extension_messages() {
    try_all("extension messages of peers", extension_rows(), attempt);
}

fn attempt(row: &Row) {
    let (place, content) = (Place::new(), Content::new(4));
    let mut seed = place.seed(&content, &[]);
    let port = seed.port();
    let mut bad = (row.input)(port, &content);
    match row.gets {
        Closed(reason) => {
            bad.read_to_end();
            let end = |o: &serde_json::Value| o["event"] == "peer" && o["connected"] == false;
            let told = seed.wait("the end of the connection", end);
            assert_eq!(told["reason"], reason);
        }
        Dropped => assert!(bad.try_read_bytes(1).is_none(), "closed without a word"),
        Greeted => {
            if let Some(hello) = bad.try_read_bytes(68) {
                assert_eq!(
                    (&hello[..20], &hello[28..48]),
                    (&PROTOCOL[..], &content.info_hash()[..])
                );
            }
            assert!(bad.try_read_bytes(1).is_none(), "closed without another word");
        }
        Borne => {
            bad.fence();
        }
    }
    good_one_is_served(port, &content);
    assert!(seed.is_alive(), "{}", seed.talk());
    assert!(seed.talk().is_empty(), "{}", seed.talk());
    assert!(seed.peak_memory() < u64::from(SEED.memory) << 10, "{} KiB", seed.peak_memory());
}

pub(crate) fn good_one_is_served(port: u16, content: &Content) {
    let (mut good, _) = Peer::connect(port, &Hello::new(content, PLAIN).by(200));
    good.send(M::Interested);
    good.expect(&M::Unchoke);
    for asked in [(0, 0, BLOCK), (3, BLOCK, 1_234)] {
        if asked.1 as usize + asked.2 as usize > content.piece(asked.0).len() {
            continue;
        }
        good.send(M::Request(asked.0, asked.1, asked.2));
        good.expect(&M::block(content, asked));
    }
}

fn hello(content: &Content) -> Hello {
    Hello::new(content, FAST_EXTENDED).by(1)
}

/// After both handshakes.
fn greeted(port: u16, content: &Content) -> Peer {
    Peer::connect(port, &hello(content)).0
}

/// After both handshakes, with these bytes behind them. The other side may close while we write.
fn saying(port: u16, content: &Content, bytes: &[u8]) -> Peer {
    let mut peer = greeted(port, content);
    peer.try_send_bytes(bytes);
    peer
}

/// These messages, `count` times.
fn again(count: usize, message: &M) -> Vec<u8> {
    message.bytes().repeat(count)
}

/// After both handshakes and an unchoke.
fn unchoked(port: u16, content: &Content) -> Peer {
    let mut peer = greeted(port, content);
    peer.send(M::Interested);
    peer.expect(&M::Unchoke);
    peer
}

fn handshake_rows() -> Vec<Row> {
    vec![
        row(
            "another protocol",
            |port, _| {
                let mut peer = Peer::dial(port);
                // As far as it goes it could be a key.
                peer.send_bytes(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
                peer.finish();
                peer
            },
            Dropped,
        ),
        row(
            "a name that is wrong at its end",
            |port, content| {
                let mut bytes = hello(content).bytes();
                bytes[19] = b'k';
                let mut peer = Peer::dial(port);
                peer.send_bytes(&bytes);
                peer.finish();
                peer
            },
            Dropped,
        ),
        row(
            "another torrent",
            |port, _| {
                let mut peer = Peer::dial(port);
                peer.send_bytes(&Hello::of([5; 20], PLAIN).bytes());
                peer
            },
            Dropped,
        ),
        row(
            "half a handshake and the end",
            |port, content| {
                let mut peer = Peer::dial(port);
                peer.send_bytes(&hello(content).bytes()[..30]);
                peer.finish();
                peer
            },
            Dropped,
        ),
        row(
            "a handshake without a peer id and the end",
            |port, content| {
                let mut peer = Peer::dial(port);
                peer.send_bytes(&hello(content).bytes()[..48]);
                peer.finish();
                peer
            },
            Greeted,
        ),
        row(
            "our own id",
            |port, content| {
                let (_first, theirs) = Peer::connect(port, &hello(content).by(9));
                let mut peer = Peer::dial(port);
                peer.send_bytes(&Hello { peer_id: theirs.peer_id, ..hello(content) }.bytes());
                peer
            },
            Dropped,
        ),
        row(
            "the id of somebody who is here",
            |port, content| {
                let _stays = Box::leak(Box::new(greeted(port, content)));
                let mut peer = Peer::dial(port);
                peer.send_bytes(&hello(content).bytes());
                peer
            },
            Dropped,
        ),
        row(
            "one byte at a time",
            |port, content| {
                let mut peer = Peer::dial(port);
                let bytes = [hello(content).bytes(), M::HaveNone.bytes(), M::Interested.bytes()];
                bytes.concat().iter().for_each(|byte| peer.send_bytes(&[*byte]));
                peer.read_hello();
                peer
            },
            Borne,
        ),
        row(
            "everything at once",
            |port, content| {
                let mut bytes = [hello(content).bytes(), M::HaveNone.bytes()].concat();
                for asked in content.all_blocks() {
                    bytes.extend(M::Request(asked.0, asked.1, asked.2).bytes());
                    bytes.extend(M::Cancel(asked.0, asked.1, asked.2).bytes());
                }
                let mut peer = Peer::dial(port);
                peer.send_bytes(&bytes);
                peer.read_hello();
                peer
            },
            Borne,
        ),
        row(
            "all reserved bits",
            |port, content| Peer::connect(port, &Hello { reserved: [0xff; 8], ..hello(content) }).0,
            Borne,
        ),
        row(
            "connections that say nothing",
            |port, content| {
                // As many as may be half open, and more; the good one comes after them.
                let crowd: Vec<Peer> = repeat_with(|| Peer::dial(port)).take(330).collect();
                Box::leak(Box::new(crowd));
                greeted(port, content)
            },
            Borne,
        ),
        row(
            "connections that stop in the middle of the handshake",
            |port, content| {
                let half = hello(content).bytes()[..47].to_vec();
                let stop = || {
                    let mut peer = Peer::dial(port);
                    peer.try_send_bytes(&half);
                    peer
                };
                let crowd: Vec<Peer> = repeat_with(stop).take(330).collect();
                Box::leak(Box::new(crowd));
                greeted(port, content)
            },
            Borne,
        ),
        row(
            "a crowd that comes and goes",
            |port, content| {
                (0..500).for_each(|_| drop(Peer::dial(port)));
                greeted(port, content)
            },
            Borne,
        ),
    ]
}

fn message_rows() -> Vec<Row> {
    const NO_SUCH: &str = "named a piece or block that does not exist";
    vec![
        row(
            "a block of 4 GiB",
            |p, c| saying(p, c, &[0xff, 0xff, 0xff, 0xff, 7]),
            Closed(
                "protocol error: message 7 is 4294967295 bytes long, at most 131081 are allowed",
            ),
        ),
        row(
            "a block that is longer than allowed by one",
            |p, c| saying(p, c, &[&131_082_u32.to_be_bytes()[..], &[7]].concat()),
            Closed("protocol error: message 7 is 131082 bytes long, at most 131081 are allowed"),
        ),
        row(
            "a block without a place",
            |p, c| saying(p, c, &frame(7, &[0; 7])),
            Closed("protocol error: message 7 cannot be 8 bytes long"),
        ),
        row(
            "a bitfield of a gigabyte",
            |p, c| saying(p, c, &[&(1_u32 << 30).to_be_bytes()[..], &[5]].concat()),
            Closed("protocol error: message 5 is 1073741824 bytes long, at most 2 are allowed"),
        ),
        row(
            "an unknown message of a gigabyte",
            |p, c| saying(p, c, &[&(1_u32 << 30).to_be_bytes()[..], &[99]].concat()),
            Closed(
                "protocol error: message 99 is 1073741824 bytes long, at most 131073 are allowed",
            ),
        ),
        row("an unknown message", |p, c| saying(p, c, &frame(99, &[7; 100_000])), Borne),
        row(
            "a choke with something in it",
            |p, c| saying(p, c, &frame(0, &[0; 4])),
            Closed("protocol error: message 0 cannot be 5 bytes long"),
        ),
        row(
            "a have of three bytes",
            |p, c| saying(p, c, &frame(4, &[0; 3])),
            Closed("protocol error: message 4 cannot be 4 bytes long"),
        ),
        row(
            "a request of a byte too many",
            |p, c| saying(p, c, &frame(6, &[0; 13])),
            Closed("protocol error: message 6 cannot be 14 bytes long"),
        ),
        row(
            "a port of one byte",
            |p, c| saying(p, c, &frame(9, &[0; 1])),
            Closed("protocol error: message 9 cannot be 2 bytes long"),
        ),
        row(
            "a piece that does not exist",
            |p, c| saying(p, c, &M::Have(4).bytes()),
            Closed(NO_SUCH),
        ),
        row(
            "the last piece there could be",
            |p, c| saying(p, c, &M::Have(u32::MAX).bytes()),
            Closed(NO_SUCH),
        ),
        row(
            "a bitfield that is too short",
            |p, c| saying(p, c, &M::Bitfield(vec![]).bytes()),
            Closed(NO_SUCH),
        ),
        row(
            "a bitfield with bits too many",
            |p, c| saying(p, c, &M::Bitfield(vec![0x08]).bytes()),
            Closed(NO_SUCH),
        ),
        row(
            "a bitfield and everything",
            |p, c| saying(p, c, &[M::Bitfield(vec![0x10]).bytes(), M::HaveAll.bytes()].concat()),
            Closed("have all at a time when it is not allowed"),
        ),
        row(
            "nothing and everything",
            |p, c| saying(p, c, &[M::HaveNone.bytes(), M::HaveAll.bytes()].concat()),
            Closed("have all at a time when it is not allowed"),
        ),
        row(
            "nothing late",
            |p, c| saying(p, c, &[M::Have(0).bytes(), M::HaveNone.bytes()].concat()),
            Closed("have none at a time when it is not allowed"),
        ),
        row(
            "everything without the fast extension",
            |p, c| {
                let mut peer = Peer::connect(p, &Hello::new(c, PLAIN).by(1)).0;
                peer.send(M::HaveAll);
                peer
            },
            Closed("have all at a time when it is not allowed"),
        ),
        row(
            "a reject without the fast extension",
            |p, c| {
                let mut peer = Peer::connect(p, &Hello::new(c, PLAIN).by(1)).0;
                peer.send(M::Reject(0, 0, 1));
                peer
            },
            Closed("reject at a time when it is not allowed"),
        ),
        row(
            "bitfields without end",
            |p, c| saying(p, c, &again(3000, &M::Bitfield(vec![0]))),
            Closed("floods us with bitfields"),
        ),
        row(
            "the same piece without end",
            |p, c| saying(p, c, &again(3000, &M::Have(1))),
            Closed("floods us with haves"),
        ),
        row(
            "a request of nothing",
            |p, c| saying(p, c, &M::Request(0, 0, 0).bytes()),
            Closed(NO_SUCH),
        ),
        row(
            "a request behind the end of a piece",
            |p, c| saying(p, c, &M::Request(0, 2 * BLOCK, 1).bytes()),
            Closed(NO_SUCH),
        ),
        row(
            "a request across the end of the content",
            |p, c| saying(p, c, &M::Request(3, BLOCK, 1_235).bytes()),
            Closed(NO_SUCH),
        ),
        row(
            "a request that overflows",
            |p, c| saying(p, c, &M::Request(0, u32::MAX, u32::MAX).bytes()),
            Closed(NO_SUCH),
        ),
        row(
            "a request of a piece that does not exist",
            |p, c| saying(p, c, &M::Request(4, 0, 1).bytes()),
            Closed(NO_SUCH),
        ),
        row(
            "a cancel of a piece that does not exist",
            |p, c| saying(p, c, &M::Cancel(u32::MAX, 0, 1).bytes()),
            Closed(NO_SUCH),
        ),
        row(
            "a reject of a block that does not exist",
            |p, c| saying(p, c, &M::Reject(0, 1, u32::MAX).bytes()),
            Closed(NO_SUCH),
        ),
        row(
            "a piece granted that does not exist",
            |p, c| saying(p, c, &M::AllowedFast(4).bytes()),
            Closed(NO_SUCH),
        ),
        row(
            "requests without end while it is choked",
            |p, c| saying(p, c, &again(5000, &M::Request(0, 0, BLOCK))),
            Closed("floods us with requests"),
        ),
        row(
            "requests without end",
            |p, c| {
                let mut peer = unchoked(p, c);
                peer.try_send_bytes(&again(9000, &M::Request(0, 0, BLOCK)));
                peer
            },
            Closed("floods us with requests"),
        ),
        row(
            "cancels without end",
            |p, c| saying(p, c, &again(5000, &M::Cancel(0, 0, BLOCK))),
            Closed("floods us with cancels"),
        ),
        row(
            "rejects without end",
            |p, c| saying(p, c, &again(5000, &M::Reject(0, 0, BLOCK))),
            Closed("floods us with rejects"),
        ),
        row(
            "blocks nobody asked for, without end",
            |p, c| saying(p, c, &again(1000, &M::Piece(0, 0, vec![]))),
            Closed("sent a block that nobody asked for"),
        ),
        row(
            "a block nobody asked for",
            |p, c| saying(p, c, &M::block(c, (0, 0, BLOCK)).bytes()),
            Closed("sent a block that nobody asked for"),
        ),
        row(
            "a block of a piece that does not exist",
            |p, c| saying(p, c, &M::Piece(u32::MAX, u32::MAX, vec![1; 100]).bytes()),
            Closed("sent a block that nobody asked for"),
        ),
        row(
            "half a message and the end",
            |p, c| {
                let mut peer = saying(p, c, &M::Piece(0, 0, vec![1; 100]).bytes()[..50]);
                peer.finish();
                peer
            },
            Closed("sent a block that nobody asked for"),
        ),
        row(
            "words without end that mean nothing",
            |p, c| {
                let all = [M::Unchoke, M::Choke, M::Interested, M::NotInterested, M::KeepAlive];
                saying(p, c, &all.iter().flat_map(M::bytes).collect::<Vec<u8>>().repeat(5000))
            },
            Borne,
        ),
        row(
            "pieces granted and suggested without end",
            |p, c| {
                let all = [M::AllowedFast(0), M::Suggest(u32::MAX), M::Port(0)];
                saying(p, c, &all.iter().flat_map(M::bytes).collect::<Vec<u8>>().repeat(5000))
            },
            Borne,
        ),
    ]
}

fn extension_rows() -> Vec<Row> {
    /// An extension handshake.
    fn hello(p: u16, c: &Content, payload: &[u8]) -> Peer {
        saying(p, c, &M::Extended(0, payload.to_vec()).bytes())
    }
    const BAD: &str = "protocol error: malformed extension message: ";
    let closed = |what: &str| Closed(Box::leak(format!("{BAD}{what}").into_boxed_str()));
    vec![
        row(
            "nothing",
            |p, c| hello(p, c, b""),
            closed("not valid bencoding at byte 0: the data ends in the middle of a value"),
        ),
        row(
            "no number",
            |p, c| saying(p, c, &frame(20, &[])),
            Closed("protocol error: message 20 cannot be 1 bytes long"),
        ),
        row("a list", |p, c| hello(p, c, b"le"), closed("the handshake is not a dictionary")),
        row(
            "nesting",
            |p, c| hello(p, c, &nested(60_000)),
            closed("not valid bencoding at byte 16: lists and dictionaries are nested too deeply"),
        ),
        row(
            "nesting that never closes in a key that is ignored",
            |p, c| hello(p, c, &[&b"d1:x"[..], &times("d1:a", 30_000)].concat()),
            closed("not valid bencoding at byte 64: lists and dictionaries are nested too deeply"),
        ),
        row(
            "tiny items",
            |p, c| hello(p, c, &[&b"d1:ml"[..], &times("0:", 65_000), b"ee"].concat()),
            closed("not valid bencoding at byte 127999: there are too many values"),
        ),
        row(
            "a key twice",
            |p, c| hello(p, c, b"d1:pi1e1:pi2ee"),
            closed("not valid bencoding at byte 7: a dictionary key is repeated"),
        ),
        row(
            "longer than any",
            |p, c| saying(p, c, &[&131_074_u32.to_be_bytes()[..], &[20, 0]].concat()),
            Closed("protocol error: message 20 is 131074 bytes long, at most 131073 are allowed"),
        ),
        row(
            "figures beyond all sizes",
            |p, c| {
                let most = "i99999999999999999999e";
                hello(p, c, format!("d13:metadata_size{most}1:p{most}4:reqq{most}e").as_bytes())
            },
            Borne,
        ),
        row(
            "figures below zero",
            |p, c| {
                hello(p, c, b"d1:md11:ut_metadatai-1e11:upload_onlyi256ee13:metadata_sizei-5e1:pi-1e4:reqqi-1ee")
            },
            Borne,
        ),
        row("no requests at all", |p, c| hello(p, c, b"d4:reqqi0ee"), Borne),
        row(
            "a client that moves the cursor",
            |p, c| hello(p, c, b"d1:v11:a\x1b[2J\x07\r\n\xe2\x80\xaee"),
            Borne,
        ),
        row(
            "addresses that are none",
            |p, c| hello(p, c, b"d4:ipv41:a4:ipv63:abc6:yourip5:abcdee"),
            Borne,
        ),
        row(
            "handshakes without end",
            |p, c| {
                saying(
                    p,
                    c,
                    &again(5000, &M::Extended(0, b"d1:md11:upload_onlyi9ee1:pi7ee".to_vec())),
                )
            },
            Borne,
        ),
        row(
            "an extension that nobody knows",
            |p, c| saying(p, c, &M::Extended(77, nested(50_000)).bytes()),
            Borne,
        ),
        row(
            "an empty message of an extension",
            |p, c| saying(p, c, &again(100, &M::Extended(3, vec![]))),
            Borne,
        ),
    ]
}

#[test]
fn a_peer_that_reads_nothing_does_not_keep_a_good_one_from_being_served() {
    let (place, content) = (Place::new(), Content::new(100));
    let mut seed = place.seed(&content, &[]);
    let port = seed.port();
    let mut bad = unchoked(port, &content);
    let all: Vec<u8> =
        content.all_blocks().iter().flat_map(|b| M::Request(b.0, b.1, b.2).bytes()).collect();
    bad.send_bytes(&all);
    let (mut good, _) = Peer::connect(port, &Hello::new(&content, PLAIN).by(2));
    good.send(M::Interested);
    good.expect(&M::Unchoke);
    for asked in content.all_blocks() {
        good.send(M::Request(asked.0, asked.1, asked.2));
        good.expect(&M::block(&content, asked));
    }
    assert!(seed.peak_memory() < u64::from(SEED.memory) << 10, "{} KiB", seed.peak_memory());
}
