//! BEP 11, *peer exchange*: whom the program tells of whom, and what it makes of what it is told. What
//! takes a minute (the next message, dropped peers) is left to the unit tests.

use crate::{
    driver::{
        bencode::Value,
        content::Content,
        node::compact,
        peer::{FAST_EXTENDED, Hello, Listener, Message, PLAIN, Peer},
        program::Place,
    },
    scene::Scene,
};

/// An extension handshake of a peer that takes `ut_pex` as 9 and listens there.
fn handshake(port: u16) -> Message {
    let m = Value::dict([("ut_pex", Value::Int(9))]);
    let hello = Value::dict([("m", m), ("p", Value::Int(port.into()))]);
    Message::Extended(0, hello.write())
}

/// The number under which the program takes `ut_pex`, if it does.
fn number(peer: &mut Peer) -> Option<u8> {
    let (message, _) = peer.read_until(|m| matches!(m, Message::Extended(0, _)));
    let Message::Extended(_, payload) = message else { unreachable!() };
    let number = Value::read(&payload).at("m").get("ut_pex").map(Value::int);
    number.map(|number| u8::try_from(number).expect("a number"))
}

fn added(peers: &[u8], flags: &[u8]) -> Vec<u8> {
    Value::dict([("added", Value::bytes(peers)), ("added.f", Value::bytes(flags))]).write()
}

/// "added contains a list of peers": those that the program is connected to, where they listen, in compact
/// form with a byte of flags each; not the peer itself. "0x02: seed/upload_only".
#[test]
fn a_peer_is_told_of_the_others() {
    let mut scene = Scene::seed(2, FAST_EXTENDED);
    scene.peer.send(handshake(7_001));
    let mut other = scene.join(2, FAST_EXTENDED);
    other.send(handshake(7_002));
    let (message, _) = scene.peer.read_until(|m| matches!(m, Message::Extended(9, _)));
    let Message::Extended(_, payload) = message else { unreachable!() };
    let told = Value::read(&payload);
    assert_eq!(told.at("added"), &Value::bytes(compact(([127, 0, 0, 1], 7_002).into())));
    assert_eq!(told.at("added.f"), &Value::bytes([0]));
    assert_eq!(told.at("dropped"), &Value::bytes([]));
    // "no more than one message a minute": another comes, and that is told later.
    let mut third = scene.join(3, FAST_EXTENDED);
    third.send(handshake(7_003));
    let (message, _) = third.read_until(|m| matches!(m, Message::Extended(9, _)));
    let Message::Extended(_, payload) = message else { unreachable!() };
    let ports = [7_001, 7_002].map(|port| compact(([127, 0, 0, 1], port).into()));
    assert_eq!(Value::read(&payload).at("added"), &Value::bytes(ports.concat()));
    let is_pex = |m: &Message| matches!(m, Message::Extended(9, _));
    assert!(!scene.peer.fence().iter().any(is_pex));
}

/// What it is told it tries.
#[test]
fn peers_it_is_told_of_are_dialled() {
    let (place, content) = (Place::new(), Content::new(2));
    let (first, second) = (Listener::new(), Listener::new());
    let _program = place.leech(&content, &[first.addr], &[]);
    let (mut peer, _) = first.greet(&Hello::new(&content, FAST_EXTENDED));
    let number = number(&mut peer).expect("it takes ut_pex");
    peer.send(Message::Extended(number, added(&compact(second.addr), &[0x02])));
    second.greet(&Hello::new(&content, PLAIN).by(2));
}

/// BEP 27: peers of a private torrent come from its tracker only.
#[test]
fn nobody_is_told_in_a_private_torrent() {
    let mut scene = Scene::seed_of(Content::new(2).private(), FAST_EXTENDED, &[]);
    assert_eq!(number(&mut scene.peer), None);
    scene.peer.send(handshake(7_001));
    let mut other = scene.join(2, FAST_EXTENDED);
    other.send(handshake(7_002));
    scene.get_unchoked();
    assert!(!scene.peer.fence().iter().any(|m| matches!(m, Message::Extended(9, _))));
}

/// `--no-pex` does without.
#[test]
fn nobody_is_told_without_peer_exchange() {
    let mut scene = Scene::seed_of(Content::new(2), FAST_EXTENDED, &["--no-pex"]);
    assert_eq!(number(&mut scene.peer), None);
}
