//! BEP 54, *lt_donthave*: what a peer takes back is not expected of it, and what is lost here is taken back.

use std::fs::File;

use crate::{
    driver::{
        bencode::Value,
        content::BLOCK,
        peer::{FAST_EXTENDED, Message},
    },
    scene::Scene,
};

/// The program's number for the extension.
fn number(scene: &mut Scene) -> u8 {
    let (message, _) = scene.peer.read_until(|m| matches!(m, Message::Extended(0, _)));
    let Message::Extended(_, payload) = message else { unreachable!() };
    u8::try_from(Value::read(&payload).at("m").at("lt_donthave").int()).expect("a number")
}

fn dont_have(number: u8, piece: u32) -> Message {
    Message::Extended(number, piece.to_be_bytes().to_vec())
}

/// "it marks the piece as unavailable at the sending peer".
#[test]
fn a_piece_that_is_taken_back_is_of_no_interest() {
    let mut scene = Scene::leech(4, FAST_EXTENDED);
    let number = number(&mut scene);
    scene.peer.send_all(&[Message::HaveNone, Message::Have(2)]);
    scene.peer.expect(&Message::Interested);
    scene.peer.send(dont_have(number, 2));
    scene.peer.expect(&Message::NotInterested);
    scene.peer.send(Message::Have(2));
    scene.peer.expect(&Message::Interested);
}

/// "If the Fast extension has been negotiated, no requests are silently cancelled: the peer will explicitly
/// reject any such requests".
#[test]
fn a_request_for_it_waits_for_its_reject() {
    let mut scene = Scene::leech(1, FAST_EXTENDED);
    let number = number(&mut scene);
    scene.peer.send_all(&[Message::HaveAll, Message::Unchoke]);
    let asked = Message::Request(0, 0, BLOCK);
    scene.peer.expect(&asked);
    scene.peer.send_all(&[
        dont_have(number, 0),
        Message::Reject(0, 0, BLOCK),
        Message::Have(0),
        Message::Unchoke,
    ]);
    scene.peer.expect(&asked);
}

/// "it sends a DontHave message for that piece to every peer that has advertised support", and "any
/// outstanding requests for a chunk of the discarded piece are rejected".
#[test]
fn a_piece_that_is_lost_is_taken_back_from_whoever_understands_it() {
    let mut scene = Scene::seed(4, FAST_EXTENDED);
    let mut deaf = scene.join(2, FAST_EXTENDED);
    let m = Value::dict([("lt_donthave", Value::Int(9))]);
    scene.peer.send(Message::Extended(0, Value::dict([("m", m)]).write()));
    scene.get_unchoked();
    deaf.fence();
    let file = File::options().write(true).open(scene.place.path(&scene.content.name));
    file.expect("there").set_len(0).expect("cut");
    scene.peer.send(Message::Request(1, 0, BLOCK));
    let mut said = scene.peer.expect(&dont_have(9, 1));
    said.extend(scene.peer.fence());
    assert!(said.contains(&Message::Reject(1, 0, BLOCK)), "{said:?}");
    let told = deaf.fence();
    assert!(!told.iter().any(|m| matches!(m, Message::Extended(id, _) if *id != 0)), "{told:?}");
}
