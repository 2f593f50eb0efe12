//! BEP 3, *peer protocol*, from the program that lacks something: interest, requests, what it makes of
//! blocks, and whom it tells.
//!
//! Left out: the order in which pieces are picked (unit tests and the simulator), and time-outs.

use crate::{
    driver::{
        content::{BLOCK, Content},
        peer::{FAST, Message, PLAIN},
    },
    scene::Scene,
};

/// "Downloaders which don't have anything yet may skip the 'bitfield' message." "Connections start out
/// choked and not interested": the first thing said is that it is interested, and no sooner than
/// there is something.
#[test]
fn it_is_interested_once_the_peer_has_something_and_asks_nothing_while_choked() {
    let mut scene = Scene::leech(3, FAST);
    scene.peer.expect(&Message::HaveNone);
    assert_eq!(scene.peer.fence(), [], "not interested in who has nothing");
    scene.peer.send(Message::Have(1));
    assert_eq!(scene.peer.fence(), [Message::Interested]);
    scene.peer.send(Message::Have(2));
    assert_eq!(scene.peer.fence(), [], "it has said so, and is choked");
}

/// The same towards a peer without the fast extension, of whom the bitfield comes first.
#[test]
fn a_bitfield_makes_it_interested() {
    let mut scene = Scene::leech(3, PLAIN);
    scene.peer.send(Message::Bitfield(vec![0b0100_0000]));
    assert_eq!(scene.peer.read(), Message::Interested);
}

/// The bitfield has "each index that downloader has sent set to one and the rest set to zero".
#[test]
fn the_bitfield_says_what_it_has() {
    let mut scene = Scene::leech_of(Content::new(12), &[0, 3, 9], PLAIN, &[]);
    assert_eq!(scene.peer.read(), Message::Bitfield(vec![0b1001_0000, 0b0100_0000]));
}

/// "Whenever a downloader doesn't have something they currently would ask a peer for in unchoked, they
/// must express lack of interest": of who has only what it has.
#[test]
fn it_is_not_interested_in_what_it_has() {
    let mut scene = Scene::leech_of(Content::new(3), &[0, 1], FAST, &[]);
    scene.peer.send(Message::Bitfield(vec![0b1100_0000]));
    let said = scene.peer.fence();
    assert!(!said.contains(&Message::Interested), "{said:?}");
    scene.peer.send(Message::Have(2));
    assert_eq!(scene.peer.fence(), [Message::Interested]);
}

/// "Interest state must be kept up to date at all times", "despite being choked": when the last piece
/// it wanted of a peer is here, it says so.
#[test]
fn it_is_not_interested_any_more_when_it_has_got_all() {
    let mut scene = Scene::leech(3, FAST);
    scene.offer(&[0, 2]);
    let blocks = [scene.content.blocks(0), scene.content.blocks(2)].concat();
    scene.peer.serve(&scene.content, &blocks);
    let before = scene.peer.expect(&Message::NotInterested);
    assert!(!before.iter().any(|m| matches!(m, Message::Request(..))), "{before:?}");
    scene.peer.send(Message::Have(1));
    scene.peer.expect(&Message::Interested);
}

/// Another peer brought what it wanted of this one, which chokes it.
#[test]
fn it_is_not_interested_any_more_when_it_has_got_all_elsewhere() {
    let mut scene = Scene::leech(2, FAST);
    let mut other = scene.join(2, FAST);
    other.send(Message::Bitfield(vec![0b1000_0000]));
    other.expect(&Message::Interested);
    scene.offer(&[0]);
    let blocks = scene.content.blocks(0);
    scene.peer.serve(&scene.content, &blocks);
    let before = other.expect(&Message::NotInterested);
    assert!(!before.iter().any(|m| matches!(m, Message::Request(..))), "{before:?}");
}

/// After the unchoke it asks; "length is generally a power of two unless it gets truncated by the end of
/// the file [...] 2^14"; each block once. The driver checks each request.
#[test]
fn it_asks_for_each_block_once_and_writes_them_to_their_place() {
    for reserved in [PLAIN, FAST] {
        let mut scene = Scene::leech(5, reserved);
        scene.offer_all();
        scene.peer.serve(&scene.content, &scene.content.all_blocks());
        scene.assert_complete();
    }
}

/// A piece of one block, and of less.
#[test]
fn a_file_shorter_than_a_block_arrives() {
    let mut content = Content::new(1);
    content.bytes.truncate(1_000);
    let mut scene = Scene::leech_of(content, &[], PLAIN, &[]);
    scene.offer_all();
    scene.peer.serve(&scene.content, &[(0, 0, 1_000)]);
    scene.assert_complete();
}

/// It asks only for what the peer has.
#[test]
fn it_asks_a_peer_only_for_what_the_peer_has() {
    let mut scene = Scene::leech(12, FAST);
    scene.offer(&[4, 11]);
    let blocks = [scene.content.blocks(4), scene.content.blocks(11)].concat();
    scene.peer.serve(&scene.content, &blocks);
    let before = scene.peer.expect(&Message::NotInterested);
    assert!(!before.iter().any(|m| matches!(m, Message::Request(..))), "{before:?}");
}

/// "Downloaders should keep several piece requests queued up at once", called pipelining.
#[test]
fn it_keeps_several_requests_queued_up() {
    let mut scene = Scene::leech(8, FAST);
    scene.offer_all();
    let said = scene.peer.fence();
    let requests = said.iter().filter(|m| matches!(m, Message::Request(..))).count();
    assert!(requests >= 2, "{said:?}");
}

/// "No data will be sent until unchoking happens": what was asked before a choke is asked again after
/// the next unchoke, and nothing meanwhile.
#[test]
fn after_a_choke_it_asks_again() {
    let mut scene = Scene::leech(1, PLAIN);
    scene.offer_all();
    let blocks = scene.content.blocks(0);
    for _ in &blocks {
        assert!(matches!(scene.peer.read(), Message::Request(..)));
    }
    scene.peer.send_all(&[Message::Choke, Message::KeepAlive, Message::Unchoke]);
    scene.peer.serve(&scene.content, &blocks);
    scene.assert_complete();
}

/// "It's possible for an unexpected piece to arrive if choke and unchoke messages are sent in quick
/// succession": it may be of use, and does no harm.
#[test]
fn a_piece_after_a_choke_does_no_harm() {
    let mut scene = Scene::leech(1, PLAIN);
    scene.offer_all();
    let blocks = scene.content.blocks(0);
    for _ in &blocks {
        assert!(matches!(scene.peer.read(), Message::Request(..)));
    }
    scene.peer.send(Message::Choke);
    for &block in &blocks {
        scene.peer.send(Message::block(&scene.content, block));
    }
    scene.peer.send(Message::Unchoke);
    let mut missing = blocks;
    while let Some(message) = scene.peer.try_read() {
        if let Message::Request(index, begin, length) = message {
            assert!(missing.contains(&(index, begin, length)), "{message:?}");
            missing.retain(|block| *block != (index, begin, length));
            scene.peer.send(Message::block(&scene.content, (index, begin, length)));
        }
    }
    scene.assert_complete();
}

/// "When a peer finishes downloading a piece and checks that the hash matches, it announces that it has
/// that piece to all of its peers."
#[test]
fn a_piece_that_is_complete_is_announced_to_all_peers() {
    let mut scene = Scene::leech(4, PLAIN);
    let mut others = [scene.join(2, PLAIN), scene.join(3, FAST)];
    scene.offer(&[2]);
    scene.peer.serve(&scene.content, &scene.content.blocks(2));
    others[1].expect(&Message::HaveNone);
    for other in &mut others {
        assert_eq!(other.read(), Message::Have(2));
    }
}

/// Not before its hash matches: a piece that is wrong is announced to nobody, and asked for again.
#[test]
fn a_piece_that_does_not_match_is_announced_to_nobody_and_asked_for_again() {
    let mut scene = Scene::leech(2, PLAIN);
    let mut other = scene.join(2, FAST);
    other.expect(&Message::HaveNone);
    scene.offer(&[1]);
    for (index, begin, length) in scene.content.blocks(1) {
        scene.peer.read_until(|m| *m == Message::Request(index, begin, length));
        scene.peer.send(Message::Piece(index, begin, vec![0x55; length as usize]));
    }
    scene.program.warning("piece 1 did not match its hash");
    assert_eq!(other.fence(), []);
    // The sender of a whole wrong piece is not asked again; somebody else is.
    other.send_all(&[Message::Have(1), Message::Unchoke]);
    other.expect(&Message::Interested);
    other.serve(&scene.content, &scene.content.blocks(1));
    other.expect(&Message::Have(1));
}

/// A piece from here, a piece from there: pieces are "referred to by index", whoever sends them.
#[test]
fn pieces_of_several_peers_make_the_file() {
    let mut scene = Scene::leech(4, PLAIN);
    scene.offer(&[0, 3]);
    let mut other = scene.join(2, PLAIN);
    other.send_all(&[Message::Bitfield(vec![0b0110_0000]), Message::Unchoke]);
    other.expect(&Message::Interested);
    let half = [scene.content.blocks(0), scene.content.blocks(3)].concat();
    scene.peer.serve(&scene.content, &half);
    let half = [scene.content.blocks(1), scene.content.blocks(2)].concat();
    other.serve(&scene.content, &half);
    scene.assert_complete();
}

/// "Peer connections are symmetrical": one that dialled the program can give as well as take.
#[test]
fn it_fetches_from_who_has_dialled_and_serves_what_it_has() {
    let mut scene = Scene::leech(2, PLAIN);
    let mut other = scene.join(2, PLAIN);
    other.send_all(&[Message::Bitfield(vec![0b1000_0000]), Message::Unchoke]);
    other.expect(&Message::Interested);
    other.serve(&scene.content, &scene.content.blocks(0));
    scene.peer.expect(&Message::Have(0));
    scene.get_unchoked();
    scene.peer.send(Message::Request(0, BLOCK, BLOCK));
    let block = Message::block(&scene.content, (0, BLOCK, BLOCK));
    scene.peer.expect(&block);
}

/// Endgame: "once requests for all pieces [...] are currently pending, it sends requests for everything
/// to everyone [...] it sends cancels to everyone else every time a piece arrives."
#[test]
fn in_endgame_two_peers_are_asked_and_the_slower_one_hears_a_cancel() {
    let mut scene = Scene::leech(1, PLAIN);
    scene.offer_all();
    let blocks = scene.content.blocks(0);
    for _ in &blocks {
        assert!(matches!(scene.peer.read(), Message::Request(..)));
    }
    let mut other = scene.join(2, PLAIN);
    other.send_all(&[Message::Bitfield(vec![0x80]), Message::Unchoke]);
    let (request, _) = other.read_until(|m| matches!(m, Message::Request(..)));
    let Message::Request(index, begin, length) = request else { unreachable!() };
    scene.peer.send(Message::block(&scene.content, (index, begin, length)));
    other.expect(&Message::Cancel(index, begin, length));
}

/// Nobody has to send a bitfield: HAVE alone will do.
#[test]
fn haves_alone_say_what_a_peer_has() {
    let mut scene = Scene::leech(2, PLAIN);
    scene.peer.send_all(&[Message::Have(0), Message::Have(1), Message::Unchoke]);
    scene.peer.expect(&Message::Interested);
    scene.peer.serve(&scene.content, &scene.content.all_blocks());
    scene.assert_complete();
}
