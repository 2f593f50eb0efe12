//! The door of peers, where we fetch: what they send in place of the blocks that we ask for. Whatever a
//! bad one does, the download is completed by a good one, and every byte is right.

use std::thread;

use serde_json::Value as Json;

use crate::{
    driver::{
        content::Content,
        peer::{FAST_EXTENDED, Hello, Listener, Message as M, PLAIN, Peer},
        program::Place,
    },
    table::{Attack, Bound, try_all},
};

/// What a peer gets.
enum Gets {
    /// It is banned, and a warning names it.
    Banned,
    /// The connection is closed for this reason.
    Closed(&'static str),
    /// Nothing: the good one is used instead.
    Nothing,
}
use Gets::{Banned, Closed, Nothing};

/// What answers a request.
type By = fn(&Content, (u32, u32, u32)) -> Vec<u8>;
/// Begins on a connection that is dialled, before our handshake. What it gives answers every further
/// request.
type Begin = fn(&mut Peer, &Content) -> Option<By>;
type Row = Attack<Begin, Gets>;

const fn row(name: &'static str, input: Begin, gets: Gets) -> Row {
    Attack::new(name, input, gets)
}

/// Resident memory of a download with its code.
const LEECH: Bound = Bound::SMALL.memory(64);

#[test]
fn blocks() {
    try_all("peers that we fetch from", rows(), |row| {
        let (place, content) = (Place::new(), Content::new(6));
        let (bad_door, good_door) = (Listener::new(), Listener::new());
        let mut leech = place.leech(&content, &[bad_door.addr, good_door.addr], &[]);
        let mut bad = bad_door.accept();
        let addr = bad.addr();
        let by = (row.input)(&mut bad, &content);
        let content = &content;
        thread::scope(|scope| {
            scope.spawn(move || go_on(bad, content, by));
            match row.gets {
                Banned => {
                    let warning = leech.warning("banned");
                    assert_eq!(warning, format!("{addr} sent bad data and is banned"));
                }
                Closed(reason) => {
                    let end = |o: &Json| o["event"] == "peer" && o["connected"] == false;
                    let told = leech.wait("the end of the connection", end);
                    assert_eq!(told["reason"], reason);
                }
                Nothing => {}
            }
            let peak = leech.peak_memory();
            assert!(peak < u64::from(LEECH.memory) << 10, "{peak} KiB");
            scope.spawn(move || serve_all(&good_door, content));
            let (code, rest) = leech.end();
            assert_eq!(code, 0, "{rest:?}");
        });
        assert!(place.downloaded(content) == content.bytes, "every byte is right");
    });
}

/// Answers every request until the other side closes. Without an answer it only holds the connection.
fn go_on(mut bad: Peer, content: &Content, by: Option<By>) {
    let Some(by) = by else {
        while bad.try_read_bytes(1).is_some() {}
        return;
    };
    while let Some(message) = bad.try_read() {
        if let M::Request(index, begin, length) = message {
            bad.try_send_bytes(&by(content, (index, begin, length)));
        }
    }
}

/// Gives whatever is asked for until the other side closes.
pub(crate) fn serve_all(door: &Listener, content: &Content) {
    let (mut good, _) = door.greet(&Hello::new(content, PLAIN).by(2));
    let all: Vec<u32> = (0..content.pieces()).collect();
    good.send_all(&[M::Bitfield(content.bitfield(&all)), M::Unchoke]);
    while let Some(message) = good.try_read() {
        if let M::Request(index, begin, length) = message {
            good.try_send_bytes(&M::block(content, (index, begin, length)).bytes());
        }
    }
}

/// Both handshakes, everything to have, and no choke.
fn greet(peer: &mut Peer, content: &Content) {
    peer.read_hello();
    peer.send_bytes(&Hello::new(content, FAST_EXTENDED).by(1).bytes());
    peer.send_all(&[M::HaveAll, M::Unchoke]);
}

/// The next request.
fn request(peer: &mut Peer) -> (u32, u32, u32) {
    match peer.read_until(|m| matches!(m, M::Request(..))).0 {
        M::Request(index, begin, length) => (index, begin, length),
        other => panic!("{other:?}"),
    }
}

/// Answers the first request by this, and leaves the others to it.
fn answer(peer: &mut Peer, content: &Content, by: By) -> Option<By> {
    greet(peer, content);
    let asked = request(peer);
    peer.send_bytes(&by(content, asked));
    Some(by)
}

fn rows() -> Vec<Row> {
    vec![
        row(
            "half a block and silence",
            |peer, content| {
                greet(peer, content);
                let asked = request(peer);
                peer.send_bytes(&M::block(content, asked).bytes()[..5_000]);
                None
            },
            Nothing,
        ),
        row(
            "wrong bytes",
            |peer, content| {
                answer(peer, content, |_, (i, b, l)| M::Piece(i, b, vec![7; l as usize]).bytes())
            },
            Banned,
        ),
        row(
            "one wrong byte in each block",
            |peer, content| {
                answer(peer, content, |content, (i, b, l)| {
                    let mut block = content.block(i, b, l).to_vec();
                    block[l as usize - 1] ^= 1;
                    M::Piece(i, b, block).bytes()
                })
            },
            Banned,
        ),
        row(
            "the blocks of another place",
            |peer, content| {
                answer(peer, content, |content, (i, b, l)| {
                    M::Piece((i + 1) % 5, b, content.block(i, b, l).to_vec()).bytes()
                })
            },
            Nothing,
        ),
        row(
            "blocks that are too short",
            |peer, content| {
                answer(peer, content, |content, (i, b, l)| M::block(content, (i, b, l - 1)).bytes())
            },
            Nothing,
        ),
        row(
            "blocks that are too long",
            |peer, content| {
                answer(peer, content, |_, (i, b, l)| {
                    M::Piece(i, b, vec![7; l as usize + 1]).bytes()
                })
            },
            Nothing,
        ),
        row(
            "blocks of nothing",
            |peer, content| answer(peer, content, |_, (i, b, _)| M::Piece(i, b, vec![]).bytes()),
            Nothing,
        ),
        row(
            "blocks of pieces that do not exist",
            |peer, content| {
                answer(peer, content, |_, (_, b, l)| {
                    M::Piece(u32::MAX, b, vec![7; l as usize]).bytes()
                })
            },
            Nothing,
        ),
        row(
            "each block twice",
            |peer, content| {
                answer(peer, content, |content, asked| M::block(content, asked).bytes().repeat(2))
            },
            Nothing,
        ),
        row(
            "a block of 4 GiB",
            |peer, content| answer(peer, content, |_, _| vec![0xff, 0xff, 0xff, 0xff, 7]),
            Closed(
                "protocol error: message 7 is 4294967295 bytes long, at most 131081 are allowed",
            ),
        ),
        row(
            "half a block and the end",
            |peer, content| {
                greet(peer, content);
                let asked = request(peer);
                peer.send_bytes(&M::block(content, asked).bytes()[..5_000]);
                peer.finish();
                None
            },
            Closed("closed by the peer"),
        ),
        row(
            "a block, one byte at a time",
            |peer, content| {
                greet(peer, content);
                let asked = request(peer);
                M::block(content, asked).bytes().iter().for_each(|byte| peer.send_bytes(&[*byte]));
                None
            },
            Nothing,
        ),
        row(
            "a reject of everything",
            |peer, content| answer(peer, content, |_, (i, b, l)| M::Reject(i, b, l).bytes()),
            Nothing,
        ),
        row(
            "a choke after each request",
            |peer, content| {
                answer(peer, content, |_, _| [M::Choke.bytes(), M::Unchoke.bytes()].concat())
            },
            Nothing,
        ),
        row(
            "silence once it was asked",
            |peer, content| {
                greet(peer, content);
                request(peer);
                None
            },
            Nothing,
        ),
        row("no handshake", |_, _| None, Nothing),
        row(
            "half a handshake",
            |peer, content| {
                peer.send_bytes(&Hello::new(content, PLAIN).bytes()[..40]);
                None
            },
            Nothing,
        ),
        row(
            "the handshake of another torrent",
            |peer, _| {
                peer.send_bytes(&Hello::of([5; 20], PLAIN).bytes());
                None
            },
            Closed("handshake for another torrent"),
        ),
        row(
            "another protocol",
            |peer, _| {
                peer.send_bytes(b"HTTP/1.1 200 OK\r\n\r\n");
                None
            },
            Closed("protocol error: the handshake is not that of the BitTorrent protocol"),
        ),
        row(
            "our own handshake",
            |peer, _| {
                let hello = peer.read_hello();
                peer.send_bytes(&hello.bytes());
                None
            },
            Closed("connected to ourselves"),
        ),
    ]
}
