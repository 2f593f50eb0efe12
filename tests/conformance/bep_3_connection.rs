//! BEP 3, *peer protocol*: the handshake and the framing of messages, in both roles. What peers say
//! after that is in `bep_3_seed` and `bep_3_leech`.
//!
//! Left out: that a peer has the id which the tracker named. The program asks trackers for lists
//! without ids (BEP 23), so there is nothing to compare.

use crate::{
    driver::{
        content::Content,
        peer::{FAST, Hello, Listener, Message, PLAIN, PROTOCOL, Peer, frame},
        program::Place,
    },
    scene::Scene,
};

/// "Nineteen (decimal) followed by the string 'BitTorrent protocol'", eight reserved bytes, the info
/// hash, the peer id; the driver checks the first 20 bytes.
#[test]
fn who_dials_sends_the_whole_handshake_first() {
    let (place, content, listener) = (Place::new(), Content::new(2), Listener::new());
    let _leech = place.leech(&content, &[listener.addr], &[]);
    let hello = listener.accept().read_hello();
    assert_eq!(hello.info_hash, content.info_hash());
    assert!(hello.peer_id.iter().any(|&byte| byte != 0));
}

/// The side that is dialled answers with the same info hash.
#[test]
fn who_is_dialled_answers_with_the_same_info_hash() {
    let scene = Scene::seed(2, PLAIN);
    assert_eq!(scene.hello.info_hash, scene.content.info_hash());
}

/// "Each downloader generates its own id at random at the start of a new download."
#[test]
fn each_run_has_another_peer_id() {
    let (first, second) = (Scene::seed(1, PLAIN), Scene::seed(1, PLAIN));
    assert_ne!(first.hello.peer_id, second.hello.peer_id);
}

/// "They may wait for incoming connections to give a download hash first, and respond with the same one
/// if it's in their list": the peer id of the other side is not waited for.
#[test]
fn a_download_hash_is_answered_before_the_peer_id_comes() {
    let (place, content) = (Place::new(), Content::new(2));
    let mut seed = place.seed(&content, &[]);
    let mut peer = Peer::dial(seed.port());
    let hello = Hello::new(&content, PLAIN).bytes();
    peer.send_bytes(&hello[..48]);
    assert_eq!(peer.read_hello().info_hash, content.info_hash());
    peer.send_bytes(&hello[48..]);
    assert!(matches!(peer.read(), Message::Bitfield(_)));
}

/// The handshake may arrive in any parts.
#[test]
fn a_handshake_in_single_bytes_is_a_handshake() {
    let (place, content) = (Place::new(), Content::new(2));
    let mut seed = place.seed(&content, &[]);
    let mut peer = Peer::dial(seed.port());
    for byte in Hello::new(&content, PLAIN).bytes() {
        peer.send_bytes(&[byte]);
    }
    assert_eq!(peer.read_hello().info_hash, content.info_hash());
}

/// "If both sides don't send the same value, they sever the connection": of who is dialled for
/// something it does not have, not a byte comes.
#[test]
fn an_unknown_info_hash_is_not_answered() {
    let (place, content) = (Place::new(), Content::new(2));
    let mut seed = place.seed(&content, &[]);
    let mut peer = Peer::dial(seed.port());
    let mut hello = Hello::new(&content, PLAIN);
    hello.info_hash[19] ^= 1;
    peer.send_bytes(&hello.bytes());
    assert_eq!(peer.try_read_bytes(1), None);
}

/// The same when the program has dialled: behind its handshake nothing comes.
#[test]
fn an_answer_with_another_info_hash_ends_the_connection() {
    let (place, content, listener) = (Place::new(), Content::new(2), Listener::new());
    let _leech = place.leech(&content, &[listener.addr], &[]);
    let mut hello = Hello::new(&content, FAST);
    hello.info_hash[0] ^= 1;
    let (mut peer, _) = listener.greet(&hello);
    assert_eq!(peer.try_read_bytes(1), None);
}

/// The length prefix and the string are there so that other protocols are "trivially
/// distinguishable".
#[test]
fn another_protocol_is_not_answered() {
    let (place, content) = (Place::new(), Content::new(2));
    let mut seed = place.seed(&content, &[]);
    for start in [&b"\x13BitTorrent protocoX"[..], b"\x12BitTorrent protoco", b"GET / HTTP/1.1\r\n"]
    {
        let mut peer = Peer::dial(seed.port());
        peer.send_bytes(start);
        assert_eq!(peer.try_read_bytes(1), None, "{}", start.escape_ascii());
    }
    let (_, hello) = Peer::connect(seed.port(), &Hello::new(&content, PLAIN));
    assert_eq!(hello.info_hash, content.info_hash());
}

/// The same when the program has dialled.
#[test]
fn an_answer_in_another_protocol_ends_the_connection() {
    let (place, content, listener) = (Place::new(), Content::new(2), Listener::new());
    let _leech = place.leech(&content, &[listener.addr], &[]);
    let mut peer = listener.accept();
    peer.read_hello();
    let mut bytes = Hello::new(&content, PLAIN).bytes();
    bytes[PROTOCOL.len() - 1] ^= 0x20;
    peer.send_bytes(&bytes);
    assert_eq!(peer.try_read_bytes(1), None);
}

/// Reserved bits of extensions that nobody knows are no reason to part.
#[test]
fn unknown_reserved_bits_do_no_harm() {
    let mut scene = Scene::seed(2, [0xff, 0xff, 0xff, 0xff, 0xff, 0xef, 0xff, 0xfb]);
    assert!(matches!(scene.peer.read(), Message::Bitfield(_)));
    scene.get_unchoked();
}

/// "Messages of length zero are keepalives, and ignored."
#[test]
fn keepalives_are_ignored() {
    let mut scene = Scene::seed(2, FAST);
    scene.peer.expect(&Message::HaveAll);
    scene.peer.send_all(&vec![Message::KeepAlive; 50]);
    assert_eq!(scene.peer.fence(), []);
    let mut scene = Scene::leech(2, PLAIN);
    scene.peer.send_all(&[Message::KeepAlive, Message::KeepAlive]);
    scene.offer_all();
}

/// Nothing is said about other types: a later version may use them.
#[test]
fn messages_of_an_unknown_type_are_ignored() {
    let mut scene = Scene::seed(2, FAST);
    scene.peer.expect(&Message::HaveAll);
    for id in [10, 12, 18, 19, 21, 100, 255] {
        scene.peer.send(Message::Other(id, vec![id; 30]));
        scene.peer.send(Message::Other(id, vec![]));
    }
    assert_eq!(scene.peer.fence(), []);
}

/// A stream: messages may arrive in any parts, and many at once.
#[test]
fn messages_in_single_bytes_are_messages() {
    let mut scene = Scene::seed(2, PLAIN);
    let request = Message::Request(1, 7, 100);
    for byte in [Message::Interested.bytes(), request.bytes()].concat() {
        scene.peer.send_bytes(&[byte]);
    }
    scene.peer.expect(&Message::Unchoke);
    // It was asked before or after the unchoke reached us: once more, so that one of them counts.
    scene.peer.send(request);
    let answer = Message::block(&scene.content, (1, 7, 100));
    assert_eq!(scene.peer.read(), answer);
}

/// "'choke', 'unchoke', 'interested', and 'not interested' have no payload."
#[test]
fn flags_with_a_payload_end_the_connection() {
    let mut scene = Scene::seed(2, PLAIN);
    for id in 0..4 {
        let mut peer = scene.join(20 + id, PLAIN);
        peer.send_bytes(&frame(id, &[0]));
        assert_eq!(peer.read_to_end().len(), 1, "only the bitfield came, after {id}");
    }
}

/// "The 'have' message's payload is a single number"; request and cancel have three.
#[test]
fn numbers_too_few_or_too_many_end_the_connection() {
    let mut scene = Scene::seed(2, PLAIN);
    let mut number = 20;
    for (id, length) in [(4, 3), (4, 5), (6, 11), (6, 13), (8, 11), (8, 13), (7, 7)] {
        number += 1;
        let mut peer = scene.join(number, PLAIN);
        peer.send_bytes(&frame(id, &vec![0; length]));
        assert_eq!(peer.read_to_end().len(), 1, "only the bitfield came, after {id}");
    }
}

/// Two connections of one peer are one too many: the older one stays.
#[test]
fn a_second_connection_of_the_same_peer_ends() {
    let mut scene = Scene::seed(2, FAST);
    scene.peer.expect(&Message::HaveAll);
    let mut again = Peer::dial(scene.program.port());
    again.send_bytes(&Hello::new(&scene.content, FAST).bytes());
    assert_eq!(again.try_read_bytes(1), None);
    assert_eq!(scene.peer.fence(), []);
}
