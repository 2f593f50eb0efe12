//! BEP 10, *extension protocol*: the bit, the extension handshake and its keys, and the numbers under
//! which messages are sent. The one extension with which numbers can be seen at work today is
//! `upload_only`: it is said when a download becomes complete, and heard by who serves.

use std::{collections::BTreeSet, sync::mpsc::channel};

use crate::{
    driver::{
        bencode::Value,
        content::{BLOCK, Content},
        peer::{EXTENDED, FAST, FAST_EXTENDED, Hello, Listener, Message, PLAIN, Peer},
        program::Place,
        tracker::{HttpTracker, compact_reply},
    },
    scene::Scene,
};

/// An extension handshake.
fn handshake<'a>(entries: impl IntoIterator<Item = (&'a str, Value)>) -> Message {
    Message::Extended(0, Value::dict(entries).write())
}

/// One that says under which number its sender takes `upload_only`.
fn upload_only_as(number: i64) -> Message {
    handshake([("m", Value::dict([("upload_only", Value::Int(number))]))])
}

/// The program's extension handshake, of which `peer` has read nothing yet, and what came before it.
fn read_handshake(peer: &mut Peer) -> (Value, Vec<Message>) {
    let (message, before) = peer.read_until(|m| matches!(m, Message::Extended(0, _)));
    let Message::Extended(_, payload) = message else { unreachable!() };
    (Value::read(&payload), before)
}

/// "(reserved_byte[5] & 0x10) is the expression to use for checking if the client supports extended
/// messaging", whoever dials.
#[test]
fn the_bit_of_the_extension_protocol_is_set() {
    for scene in [Scene::seed(1, PLAIN), Scene::leech(1, PLAIN)] {
        assert_eq!(scene.hello.reserved[5] & 0x10, 0x10);
    }
}

/// "If the ID is 0, the message is a handshake message": it comes once, right behind what says what the
/// sender has.
#[test]
fn the_handshake_follows_what_says_what_it_has() {
    for (mut scene, first) in [
        (Scene::seed(2, FAST_EXTENDED), Message::HaveAll),
        (Scene::leech(2, FAST_EXTENDED), Message::HaveNone),
    ] {
        let (_, before) = read_handshake(&mut scene.peer);
        assert_eq!(before, [first]);
        assert_eq!(scene.peer.fence(), []);
    }
    let mut scene = Scene::seed(2, EXTENDED);
    let (_, before) = read_handshake(&mut scene.peer);
    assert_eq!(before, [Message::Bitfield(vec![0b1100_0000])]);
}

/// To a peer without the bit nothing of it is said.
#[test]
fn a_peer_without_the_bit_gets_no_extended_message() {
    let mut scene = Scene::seed(2, FAST);
    assert_eq!(scene.peer.fence(), [Message::HaveAll]);
    scene.get_unchoked();
    assert_eq!(scene.peer.fence(), []);
}

/// "m: dictionary of supported extension messages which maps names of extensions to an extended message
/// ID [...] The only requirement on these IDs is that no extension message share the same one."
#[test]
fn the_numbers_in_m_are_different_and_not_zero() {
    let mut scene = Scene::seed(2, FAST_EXTENDED);
    let (hello, _) = read_handshake(&mut scene.peer);
    let Value::Dict(m) = hello.at("m") else { panic!("no dictionary: {hello:?}") };
    let numbers: BTreeSet<i64> = m.values().map(Value::int).collect();
    assert_eq!(numbers.len(), m.len(), "{m:?}");
    assert!(numbers.iter().all(|n| (1..=255).contains(n)), "{m:?}");
    assert!(!m.is_empty());
}

/// "p: local TCP listen port", "v: client name and version (as a utf-8 string)", "yourip: the compact
/// representation of the ip address this peer sees you as", "reqq: an integer".
#[test]
fn the_other_keys_say_what_they_should() {
    let mut scene = Scene::seed(2, FAST_EXTENDED);
    let (hello, _) = read_handshake(&mut scene.peer);
    assert_eq!(hello.at("p").int(), i64::from(scene.program.port()));
    let name = std::str::from_utf8(hello.at("v").as_bytes()).expect("UTF-8");
    assert!(name.starts_with("downpour "), "{name}");
    assert_eq!(hello.at("yourip").as_bytes(), [127, 0, 0, 1]);
    assert!(hello.at("reqq").int() > 0);
}

/// "reqq: the number of outstanding request messages this client supports without dropping any."
#[test]
fn as_many_requests_as_reqq_says_are_all_answered() {
    let mut scene = Scene::seed(3, FAST_EXTENDED);
    let (hello, _) = read_handshake(&mut scene.peer);
    scene.get_unchoked();
    let all = u32::try_from(hello.at("reqq").int()).expect("a number");
    // All in one part, each of some bytes of its own.
    let length = 16;
    let asked = |n: u32| {
        let at = n * length;
        (at / (2 * BLOCK), at % (2 * BLOCK), length)
    };
    assert!(asked(all).0 < 2, "{all} requests do not fit the content");
    let requests = (0..all).map(asked).map(|(i, b, l)| Message::Request(i, b, l));
    scene.peer.send_all(&requests.collect::<Vec<_>>());
    let mut missing: BTreeSet<_> = (0..all).map(asked).collect();
    while !missing.is_empty() {
        match scene.peer.read() {
            Message::Piece(index, begin, block) => {
                let answered = (index, begin, block.len() as u32);
                assert!(missing.remove(&answered), "{answered:?}");
            }
            other => panic!("{other:?}"),
        }
    }
}

/// The same from the other side: no more are outstanding at a peer than it says.
#[test]
fn no_more_than_the_peers_reqq_is_asked_at_once() {
    for reqq in [1, 3] {
        let mut scene = Scene::leech(8, FAST_EXTENDED);
        scene.peer.send_all(&[
            Message::HaveAll,
            handshake([("reqq", Value::Int(reqq))]),
            Message::Unchoke,
        ]);
        let mut waiting = Vec::new();
        for _ in 0..3 {
            for message in scene.peer.fence() {
                if let Message::Request(index, begin, length) = message {
                    waiting.push((index, begin, length));
                }
            }
            assert!(!waiting.is_empty() && waiting.len() as i64 <= reqq, "{waiting:?}");
            for asked in waiting.drain(..) {
                scene.peer.send(Message::block(&scene.content, asked));
            }
        }
    }
}

/// "All items in the dictionary are optional. Any unknown names should be ignored by the client", and
/// "extension names it doesn't recognize" as well; so are values of other types.
#[test]
fn what_is_unknown_in_a_handshake_is_ignored_and_nothing_has_to_be_there() {
    let mut scene = Scene::seed(2, FAST_EXTENDED);
    read_handshake(&mut scene.peer);
    let odd = Value::List(vec![Value::dict([("a", Value::Int(0))]), Value::bytes("b")]);
    scene.peer.send_all(&[
        handshake([]),
        handshake([("m", Value::dict([]))]),
        handshake([
            ("M", Value::Int(5)),
            ("complete_ago", Value::Int(-1)),
            ("e", Value::Int(0)),
            ("m", Value::dict([("XX_odd", Value::Int(1)), ("yy", odd.clone())])),
            ("p", Value::bytes("port")),
            ("reqq", odd.clone()),
            ("v", Value::bytes([0xff, 0xfe, 0x00])),
            ("yourip", Value::bytes([1, 2, 3])),
            ("zz", odd),
        ]),
    ]);
    assert_eq!(scene.peer.fence(), []);
    scene.get_unchoked();
}

/// Messages of a number that was given to no extension mean nothing.
#[test]
fn messages_of_an_unknown_number_are_ignored() {
    let mut scene = Scene::seed(2, FAST_EXTENDED);
    read_handshake(&mut scene.peer);
    for number in [8, 9, 100, 255] {
        scene.peer.send(Message::Extended(number, b"d1:xi1ee".to_vec()));
        scene.peer.send(Message::Extended(number, vec![]));
    }
    assert_eq!(scene.peer.fence(), []);
}

/// "The extension message IDs are the IDs used to send the extension messages to the peer sending this
/// handshake": what the program takes under its number has an effect, under another number none.
#[test]
fn a_message_counts_under_the_number_that_the_receiver_gave() {
    let mut scene = Scene::seed(2, FAST_EXTENDED);
    let (hello, _) = read_handshake(&mut scene.peer);
    let number = hello.at("m").at("upload_only").int() as u8;
    scene.get_unchoked();
    scene.peer.send(Message::Extended(number + 100, vec![1]));
    assert_eq!(scene.peer.fence(), []);
    // Who wants nothing more gives its slot back.
    scene.peer.send(Message::Extended(number, vec![1]));
    scene.peer.expect(&Message::Choke);
}

/// A download that becomes complete, and what a peer hears then that has sent these messages.
fn heard_at_the_end(hello: &[Message]) -> Vec<Message> {
    let mut scene = Scene::leech_of(Content::new(1), &[], PLAIN, &["--seed"]);
    let mut other = scene.join(2, FAST_EXTENDED);
    read_handshake(&mut other);
    other.send_all(hello);
    other.fence();
    scene.offer_all();
    scene.peer.serve(&scene.content, &scene.content.all_blocks());
    // The seed is of no use any more.
    scene.peer.read_to_end();
    let heard = other.fence();
    heard.into_iter().filter(|m| *m != Message::Have(0)).collect()
}

/// The number is the receiver's, whatever it is.
#[test]
fn a_message_is_sent_under_the_number_that_the_peer_gave() {
    for number in [1, 77, 255] {
        let heard = heard_at_the_end(&[upload_only_as(number)]);
        assert_eq!(heard, [Message::Extended(number as u8, vec![1])]);
    }
}

/// Without a number nothing is sent; "setting an extension number to zero means that the extension is
/// not supported/disabled".
#[test]
fn nothing_is_sent_to_who_does_not_support_an_extension() {
    assert_eq!(heard_at_the_end(&[]), []);
    assert_eq!(heard_at_the_end(&[handshake([("m", Value::dict([]))])]), []);
    assert_eq!(heard_at_the_end(&[upload_only_as(0)]), []);
}

/// "All parts of the dictionary are case sensitive."
#[test]
fn names_of_extensions_are_case_sensitive() {
    let m = Value::dict([("Upload_Only", Value::Int(5)), ("UPLOAD_ONLY", Value::Int(6))]);
    assert_eq!(heard_at_the_end(&[handshake([("m", m)])]), []);
    let m = Value::dict([("upload_only", Value::Int(5))]);
    assert_eq!(heard_at_the_end(&[handshake([("M", m)])]), []);
}

/// "It is valid to send the handshake message more than once during the lifetime of a connection [...]
/// only send new extensions, as well as those that have changed": a later one replaces, disables, or
/// leaves as it was.
#[test]
fn a_later_handshake_changes_what_it_names() {
    let heard = heard_at_the_end(&[upload_only_as(7), upload_only_as(9)]);
    assert_eq!(heard, [Message::Extended(9, vec![1])]);
    assert_eq!(heard_at_the_end(&[upload_only_as(7), upload_only_as(0)]), []);
    let silent = [handshake([("m", Value::dict([("ut_pex", Value::Int(3))]))]), handshake([])];
    let heard = heard_at_the_end(&[&[upload_only_as(7)], &silent[..]].concat());
    assert_eq!(heard, [Message::Extended(7, vec![1])]);
}

/// "p: allows each side to learn about the TCP port number of the other side": who has dialled from any
/// port is known by the one it names, and not dialled there a second time.
#[test]
fn the_port_of_who_dialled_is_learnt() {
    let (place, known, new) = (Place::new(), Listener::new(), Listener::new());
    let reply = compact_reply(&[known.addr, new.addr]);
    let (answer, may_answer) = channel::<()>();
    let tracker = HttpTracker::start(move |_| {
        // Not before the test says so, or is over.
        let _ = may_answer.recv();
        reply.clone()
    });
    let content = Content::new(2).tiers(&[&[&tracker.url]]);
    let mut leech = place.leech(&content, &[], &[]);
    // When it announces it takes peers.
    tracker.next();
    let hello = Hello::new(&content, FAST_EXTENDED);
    let (mut peer, _) = Peer::connect(leech.port(), &hello);
    peer.send(handshake([("p", Value::Int(known.addr.port().into()))]));
    peer.fence();
    answer.send(()).expect("it waits");
    drop(answer);
    assert_eq!(new.accept().read_hello().info_hash, content.info_hash());
    leech.signal("-INT");
    leech.end();
    assert!(!known.is_dialled());
}
