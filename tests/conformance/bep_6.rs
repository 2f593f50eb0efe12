//! BEP 6, *fast extension*: have all and have none, rejects, suggestions, allowed fast; enabled only
//! when both sides say so.
//!
//! Left out: that a reject of what was never asked for SHOULD end the connection. The program counts
//! such messages and ends the connection when they are many, because requests that timed out are still
//! answered. Of a piece that it has begun to send it sends the rest after a choke, instead of a
//! reject; every request has one answer all the same.

use sha1::{Digest as _, Sha1};

use crate::{
    driver::{
        content::{BLOCK, Content},
        peer::{EXTENDED, FAST, Message, PLAIN},
    },
    scene::Scene,
};

/// "reserved[7] |= 0x04", whoever dials.
#[test]
fn the_bit_of_the_fast_extension_is_set() {
    for scene in [Scene::seed(1, PLAIN), Scene::leech(1, PLAIN)] {
        assert_eq!(scene.hello.reserved[7] & 0x04, 0x04);
    }
}

/// "Exactly one of Have All, Have None, or Have Bitfield MUST appear and only immediately after the
/// handshake."
#[test]
fn exactly_one_message_says_what_it_has_and_comes_first() {
    let mut scene = Scene::seed(10, FAST);
    assert_eq!(scene.peer.fence(), [Message::HaveAll]);
    let mut scene = Scene::leech(10, FAST);
    assert_eq!(scene.peer.fence(), [Message::HaveNone]);
    let mut scene = Scene::leech_of(Content::new(10), &[1, 8], FAST, &[]);
    assert_eq!(scene.peer.fence(), [Message::Bitfield(vec![0b0100_0000, 0b1000_0000])]);
}

/// "The extension is enabled only if both ends of the connection set this bit": to others it speaks
/// as BEP 3 has it.
#[test]
fn a_peer_without_the_bit_gets_nothing_of_the_extension() {
    let mut scene = Scene::seed(10, PLAIN);
    assert_eq!(scene.peer.read(), Message::Bitfield(vec![0xff, 0xc0]));
    // Neither the request while choked nor the one that is cancelled is rejected.
    scene.peer.send(Message::Request(0, 0, BLOCK));
    scene.get_unchoked();
    let both = [Message::Request(1, 0, BLOCK), Message::Cancel(1, 0, BLOCK)];
    scene.peer.send_all(&[&both[..], &[Message::Request(2, 0, 1)]].concat());
    assert_eq!(scene.peer.read(), Message::block(&scene.content, (2, 0, 1)));
    let mut scene = Scene::leech(10, PLAIN);
    scene.peer.send(Message::Have(3));
    assert_eq!(scene.peer.read(), Message::Interested, "no have none before it");
}

/// "When the fast extension is disabled", each of its messages "MUST close the connection".
#[test]
fn its_messages_end_a_connection_without_the_extension() {
    let mut seed = Scene::seed(3, PLAIN);
    let mut leech = Scene::leech(3, PLAIN);
    let messages = [
        Message::HaveAll,
        Message::HaveNone,
        Message::Suggest(0),
        Message::Reject(0, 0, BLOCK),
        Message::AllowedFast(0),
    ];
    for (number, message) in (20..).zip(messages) {
        for scene in [&mut seed, &mut leech] {
            let mut peer = scene.join(number, EXTENDED);
            peer.send(message.clone());
            let said = peer.read_to_end();
            assert!(said.len() <= 2, "bitfield and extensions at most: {said:?}");
        }
    }
}

/// "Exactly one [...] MUST appear and only immediately after the handshake": a second one, or one behind
/// a HAVE, is against that.
#[test]
fn have_all_and_have_none_later_end_the_connection() {
    let mut scene = Scene::leech(3, FAST);
    let firsts = [Message::HaveNone, Message::HaveAll, Message::Have(0)];
    let mut number = 20;
    for first in &firsts {
        for second in [Message::HaveAll, Message::HaveNone] {
            number += 1;
            let mut peer = scene.join(number, FAST);
            peer.send_all(&[first.clone(), second]);
            peer.read_to_end();
        }
    }
    let mut peer = scene.join(50, FAST);
    peer.send_all(&[Message::Bitfield(vec![0x80]), Message::HaveAll]);
    peer.read_to_end();
}

/// "Have All and Have None specify that the message sender has all or none of the pieces".
#[test]
fn have_all_is_all_and_have_none_is_none() {
    let mut scene = Scene::leech(3, FAST);
    scene.peer.expect(&Message::HaveNone);
    scene.peer.send(Message::HaveNone);
    assert_eq!(scene.peer.fence(), []);
    let mut all = scene.join(2, FAST);
    all.send_all(&[Message::HaveAll, Message::Unchoke]);
    all.expect(&Message::Interested);
    all.serve(&scene.content, &scene.content.all_blocks());
    scene.assert_complete();
}

/// "If a peer receives a request from a peer its choking, the peer receiving the request SHOULD send a
/// reject": with the same numbers.
#[test]
fn a_request_while_choked_is_rejected() {
    let mut scene = Scene::seed(3, FAST);
    scene.peer.expect(&Message::HaveAll);
    for asked in [(0, 0, BLOCK), (1, 77, 1_000), (2, BLOCK, 1_234)] {
        scene.peer.send(Message::Request(asked.0, asked.1, asked.2));
        assert_eq!(scene.peer.read(), Message::Reject(asked.0, asked.1, asked.2));
    }
}

/// "Every request is guaranteed to result in EXACTLY ONE response": also one for a piece that it does
/// not have.
#[test]
fn a_request_of_what_it_does_not_have_is_rejected() {
    let mut scene = Scene::leech_of(Content::new(4), &[2], FAST, &[]);
    scene.get_unchoked();
    scene.peer.send_all(&[Message::Request(1, 0, BLOCK), Message::Request(2, 0, BLOCK)]);
    let block = Message::block(&scene.content, (2, 0, BLOCK));
    assert_eq!(scene.peer.expect(&block), [Message::Reject(1, 0, BLOCK)]);
}

/// "Even when a request is cancelled, the peer receiving the cancel should respond with either the
/// corresponding reject or the corresponding piece."
#[test]
fn a_cancelled_request_has_one_answer() {
    let mut scene = Scene::seed(3, FAST);
    scene.get_unchoked();
    // In one part, so that nothing has been read from the disk when the cancel comes.
    scene.peer.send_all(&[Message::Request(1, 0, BLOCK), Message::Cancel(1, 0, BLOCK)]);
    assert_eq!(scene.peer.fence(), [Message::Reject(1, 0, BLOCK)]);
    // One that may be served already.
    scene.peer.send(Message::Request(1, 0, BLOCK));
    scene.peer.send(Message::Cancel(1, 0, BLOCK));
    let said = scene.peer.fence();
    let block = Message::block(&scene.content, (1, 0, BLOCK));
    assert!(said == [Message::Reject(1, 0, BLOCK)] || said == [block], "{} answers", said.len());
    // One that is served: the cancel has no answer of its own.
    scene.peer.send(Message::Request(2, 0, 9));
    scene.peer.expect(&Message::block(&scene.content, (2, 0, 9)));
    scene.peer.send(Message::Cancel(2, 0, 9));
    assert_eq!(scene.peer.fence(), []);
}

/// "If a peer sends a choke, it MUST reject all requests from the peer to whom the choke was sent";
/// "SHOULD choke first and then reject".
#[test]
fn a_choke_comes_before_the_rejects_of_what_waits() {
    let mut scene = Scene::seed(3, FAST);
    scene.get_unchoked();
    let asked = [(0, 0, BLOCK), (1, 0, BLOCK), (2, 0, 5)];
    let requests = asked.map(|(i, b, l)| Message::Request(i, b, l));
    // In one part, so that nothing has been read from the disk when the choke comes.
    scene.peer.send_all(&[&requests[..], &[Message::NotInterested]].concat());
    assert_eq!(scene.peer.read(), Message::Choke);
    for (index, begin, length) in asked {
        assert_eq!(scene.peer.read(), Message::Reject(index, begin, length));
    }
    assert_eq!(scene.peer.fence(), []);
}

/// Thirty requests and a choke: one answer for each, whatever it is.
#[test]
fn every_request_has_exactly_one_answer_across_a_choke() {
    let mut scene = Scene::seed(15, FAST);
    scene.get_unchoked();
    let mut missing = scene.content.all_blocks();
    let requests: Vec<_> = missing.iter().map(|&(i, b, l)| Message::Request(i, b, l)).collect();
    scene.peer.send_all(&requests);
    scene.peer.send(Message::NotInterested);
    let mut choked = false;
    while !missing.is_empty() {
        let answered = match scene.peer.read() {
            Message::Piece(index, begin, block) => (index, begin, block.len() as u32),
            Message::Reject(index, begin, length) => (index, begin, length),
            Message::Choke if !choked => {
                choked = true;
                continue;
            }
            other => panic!("{other:?}"),
        };
        assert!(missing.contains(&answered), "{answered:?} answered twice");
        missing.retain(|asked| *asked != answered);
    }
    let said = scene.peer.fence();
    assert!(said.is_empty() || !choked && said == [Message::Choke], "{said:?}");
}

/// "Choke no longer implicitly rejects all pending requests": they are not asked again.
#[test]
fn a_choke_does_not_reject_what_was_asked() {
    let mut scene = Scene::leech(1, FAST);
    scene.offer_all();
    let blocks = scene.content.blocks(0);
    let asked: Vec<_> = blocks.iter().map(|&(i, b, l)| Message::Request(i, b, l)).collect();
    assert_eq!([scene.peer.read(), scene.peer.read()], asked[..]);
    scene.peer.send_all(&[Message::Choke, Message::Unchoke]);
    assert_eq!(scene.peer.fence(), [], "both are pending still");
    for &block in &blocks {
        scene.peer.send(Message::block(&scene.content, block));
    }
    scene.assert_complete();
}

/// "Notifies a requesting peer that its request will not be satisfied": it is asked again when the peer
/// unchokes.
#[test]
fn what_was_rejected_is_asked_again_after_the_unchoke() {
    let mut scene = Scene::leech(1, FAST);
    scene.offer_all();
    let blocks = scene.content.blocks(0);
    assert!(matches!(scene.peer.read(), Message::Request(..)));
    assert!(matches!(scene.peer.read(), Message::Request(..)));
    scene.peer.send(Message::Choke);
    for &(index, begin, length) in &blocks {
        scene.peer.send(Message::Reject(index, begin, length));
    }
    assert_eq!(scene.peer.fence(), [], "not while choked");
    scene.peer.send(Message::Unchoke);
    scene.peer.serve(&scene.content, &blocks);
    scene.assert_complete();
}

/// What one peer rejects another one is asked for.
#[test]
fn what_one_peer_rejects_another_one_is_asked_for() {
    let mut scene = Scene::leech(1, FAST);
    scene.offer_all();
    let blocks = scene.content.blocks(0);
    for &(index, begin, length) in &blocks {
        scene.peer.expect(&Message::Request(index, begin, length));
    }
    scene.peer.send(Message::Choke);
    for &(index, begin, length) in &blocks {
        scene.peer.send(Message::Reject(index, begin, length));
    }
    scene.peer.fence();
    let mut other = scene.join(2, FAST);
    other.send_all(&[Message::HaveAll, Message::Unchoke]);
    other.expect(&Message::Interested);
    other.serve(&scene.content, &blocks);
    scene.assert_complete();
}

/// "If a peer receives a piece that was never requested, the peer MUST close the connection."
#[test]
fn a_piece_that_was_never_requested_ends_the_connection() {
    let mut scene = Scene::leech(2, FAST);
    scene.peer.send(Message::HaveAll);
    scene.peer.expect(&Message::Interested);
    scene.peer.send(Message::block(&scene.content, (0, 0, BLOCK)));
    scene.peer.send(Message::Request(0, 0, 1));
    assert_eq!(scene.peer.read_to_end(), []);
}

/// "Suggest Piece is an advisory message": it may be followed or not, and says nothing about what the
/// sender has.
#[test]
fn a_suggestion_is_only_advice() {
    let mut scene = Scene::leech(3, FAST);
    scene.peer.expect(&Message::HaveNone);
    scene.peer.send_all(&[Message::HaveNone, Message::Suggest(1), Message::Suggest(2)]);
    assert_eq!(scene.peer.fence(), []);
    scene.peer.send_all(&[Message::Have(0), Message::Unchoke]);
    scene.peer.expect(&Message::Interested);
    scene.peer.serve(&scene.content, &scene.content.blocks(0));
    scene.peer.expect(&Message::NotInterested);
}

/// "If you ask for this piece, I'll give it to you even if you're choked": it asks for that piece, and
/// for no other.
#[test]
fn what_is_allowed_fast_is_asked_for_while_choked() {
    let mut scene = Scene::leech(5, FAST);
    scene.peer.expect(&Message::HaveNone);
    scene.peer.send_all(&[Message::HaveAll, Message::AllowedFast(3)]);
    scene.peer.expect(&Message::Interested);
    scene.peer.serve(&scene.content, &scene.content.blocks(3));
    let said = scene.peer.expect(&Message::Have(3));
    assert_eq!(said, []);
    assert_eq!(scene.peer.fence(), []);
}

/// "The receiver MUST NOT interpret an Allowed Fast message as meaning that the message sender has the
/// piece."
#[test]
fn what_is_allowed_fast_is_not_asked_of_who_does_not_have_it() {
    let mut scene = Scene::leech(5, FAST);
    scene.peer.expect(&Message::HaveNone);
    scene.peer.send_all(&[Message::HaveNone, Message::AllowedFast(3)]);
    assert_eq!(scene.peer.fence(), []);
    // Once the peer has it, the permission of before counts.
    scene.peer.send(Message::Have(3));
    scene.peer.expect(&Message::Interested);
    scene.peer.serve(&scene.content, &scene.content.blocks(3));
}

/// A peer "MAY reject requests for already Allowed Fast pieces": it does not insist.
#[test]
fn a_reject_of_what_was_allowed_fast_is_taken() {
    let mut scene = Scene::leech(5, FAST);
    scene.peer.send_all(&[Message::HaveAll, Message::AllowedFast(3)]);
    for (index, begin, length) in scene.content.blocks(3) {
        scene.peer.expect(&Message::Request(index, begin, length));
        scene.peer.send(Message::Reject(index, begin, length));
    }
    assert_eq!(scene.peer.fence(), []);
}

/// *Allowed fast set generation*, steps (1) to (9).
fn allowed_fast_set(ip: [u8; 4], info_hash: [u8; 20], pieces: u32, count: usize) -> Vec<u32> {
    let mut x = [&ip[..3], &[0], &info_hash].concat();
    let mut set = Vec::new();
    while set.len() < count {
        x = Sha1::digest(&x).to_vec();
        for y in x.chunks(4) {
            let index = u32::from_be_bytes(y.try_into().expect("4 bytes")) % pieces;
            if set.len() < count && !set.contains(&index) {
                set.push(index);
            }
        }
    }
    set
}

/// "Example results generated by this function": the two of the specification, of what this file
/// compares the program with.
#[test]
fn the_allowed_fast_sets_of_the_specification() {
    let set = |count| allowed_fast_set([80, 4, 4, 200], [0xaa; 20], 1313, count);
    assert_eq!(set(7), [1059, 431, 808, 1217, 287, 376, 1188]);
    assert_eq!(set(9), [1059, 431, 808, 1217, 287, 376, 1188, 353, 508]);
}

/// "A peer SHOULD send Allowed Fast messages to any starting peer", the canonical set of ten, and serve
/// these pieces "even if you're choked". The program does so once four peers have a piece.
#[test]
fn a_starting_peer_is_allowed_the_canonical_set_and_served_from_it() {
    let mut scene = Scene::seed(40, FAST);
    let content = scene.content.clone();
    let set = allowed_fast_set([127, 0, 0, 1], content.info_hash(), content.pieces(), 10);
    let other = (0..content.pieces()).find(|index| !set.contains(index)).expect("30 of them");
    // Four peers that lack one piece, so that they are no seeds.
    let most: Vec<u32> = (0..content.pieces()).filter(|index| *index != other).collect();
    let mut crowd: Vec<_> = (10..14).map(|number| scene.join(number, FAST)).collect();
    for peer in &mut crowd {
        peer.send(Message::Bitfield(content.bitfield(&most)));
        let said = peer.fence();
        assert_eq!(said, [Message::HaveAll], "whoever has more than ten is no starting peer");
    }
    scene.peer.expect(&Message::HaveAll);
    scene.peer.send(Message::HaveNone);
    let allowed: Vec<_> = set.iter().map(|&index| Message::AllowedFast(index)).collect();
    scene.peer.send(Message::Request(other, 0, 77));
    assert_eq!(scene.peer.expect(&Message::Reject(other, 0, 77)), allowed);
    for asked in [(set[0], 0, BLOCK), (set[9], 100, 50)] {
        scene.peer.send(Message::Request(asked.0, asked.1, asked.2));
        let block = Message::block(&content, asked);
        assert!(scene.peer.read() == block, "{asked:?}");
    }
    scene.peer.send(Message::Request(other, 0, BLOCK));
    assert_eq!(scene.peer.read(), Message::Reject(other, 0, BLOCK));
}
