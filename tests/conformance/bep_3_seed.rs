//! BEP 3, *peer messages*, from the program that has everything: what it says first, whom it serves,
//! and exactly what.
//!
//! Left out: how many it serves at once and in which turn (rounds of ten seconds).

use crate::{
    driver::{
        content::{BLOCK, Content},
        peer::{FAST, Message, PLAIN},
    },
    scene::Scene,
};

/// "The first byte of the bitfield corresponds to indices 0 - 7 from high bit to low bit [...] Spare
/// bits at the end are set to zero." And it is the first message.
#[test]
fn the_bitfield_comes_first_and_its_spare_bits_are_zero() {
    let mut scene = Scene::seed(10, PLAIN);
    assert_eq!(scene.peer.read(), Message::Bitfield(vec![0xff, 0xc0]));
    let mut scene = Scene::seed(8, PLAIN);
    assert_eq!(scene.peer.read(), Message::Bitfield(vec![0xff]));
}

/// "Choking is a notification that no data will be sent until unchoking happens." "Connections start
/// out choked."
#[test]
fn nothing_is_served_before_the_unchoke() {
    let mut scene = Scene::seed(2, PLAIN);
    scene.peer.send(Message::Request(0, 0, BLOCK));
    scene.peer.send(Message::Interested);
    assert_eq!(scene.peer.expect(&Message::Unchoke).len(), 1, "the bitfield");
    // The request from before is forgotten, so this is the only answer.
    scene.peer.send(Message::Request(1, 0, BLOCK));
    assert_eq!(scene.peer.read(), Message::block(&scene.content, (1, 0, BLOCK)));
}

/// "Connections start out [...] not interested": who has everything never wants anything, and does not
/// unchoke who wants nothing.
#[test]
fn who_has_everything_is_not_interested() {
    let mut scene = Scene::seed(2, FAST);
    scene.peer.expect(&Message::HaveAll);
    scene.peer.send_all(&[Message::Have(0), Message::Unchoke]);
    assert_eq!(scene.peer.fence(), []);
    scene.peer.send(Message::Interested);
    assert_eq!(scene.peer.fence(), [Message::Unchoke]);
}

/// "'request' messages contain an index, begin, and length"; "'piece' messages contain an index, begin,
/// and piece": the same numbers, and exactly these bytes.
#[test]
fn each_block_of_the_file_is_served_as_it_was_asked_for() {
    let mut scene = Scene::seed(5, PLAIN);
    scene.get_unchoked();
    for (index, begin, length) in scene.content.all_blocks() {
        scene.peer.send(Message::Request(index, begin, length));
        let block = Message::block(&scene.content, (index, begin, length));
        assert!(scene.peer.read() == block, "{index} {begin} {length}");
    }
}

/// "The last two are byte offsets": any part of a piece can be asked for.
#[test]
fn odd_parts_of_a_piece_are_served() {
    let mut scene = Scene::seed(2, PLAIN);
    scene.get_unchoked();
    let end = scene.content.piece(1).len() as u32;
    for asked in [(0, 0, 1), (0, 2 * BLOCK - 1, 1), (0, 12_345, 777), (1, end - 5, 5)] {
        scene.peer.send(Message::Request(asked.0, asked.1, asked.2));
        assert_eq!(scene.peer.read(), Message::block(&scene.content, asked));
    }
}

/// "Downloaders should keep several piece requests queued up at once": all are answered.
#[test]
fn requests_that_are_queued_up_are_all_answered() {
    let mut scene = Scene::seed(20, PLAIN);
    scene.get_unchoked();
    let mut missing = scene.content.all_blocks();
    let requests: Vec<_> = missing.iter().map(|&(i, b, l)| Message::Request(i, b, l)).collect();
    scene.peer.send_all(&requests);
    while !missing.is_empty() {
        let Message::Piece(index, begin, block) = scene.peer.read() else { panic!("no block") };
        let asked = (index, begin, block.len() as u32);
        assert!(missing.contains(&asked), "{asked:?} came unasked, or twice");
        assert!(block == scene.content.block(index, begin, asked.2));
        missing.retain(|other| *other != asked);
    }
}

/// "Data transfer takes place whenever one side is interested and the other side is not choking": one
/// that is choked again gets nothing until the next unchoke.
#[test]
fn nothing_is_served_after_a_choke() {
    let mut scene = Scene::seed(2, PLAIN);
    scene.get_unchoked();
    scene.peer.send(Message::NotInterested);
    scene.peer.expect(&Message::Choke);
    scene.peer.send(Message::Request(0, 0, BLOCK));
    scene.get_unchoked();
    scene.peer.send(Message::Request(1, 0, BLOCK));
    assert_eq!(scene.peer.read(), Message::block(&scene.content, (1, 0, BLOCK)));
}

/// Requests are queued "so they can all be thrown out when a choke happens".
#[test]
fn a_choke_throws_out_what_is_queued() {
    let mut scene = Scene::seed(3, PLAIN);
    scene.get_unchoked();
    // In one part: the choke comes before anything has been read from the disk.
    let queued = [Message::Request(0, 0, BLOCK), Message::Request(1, BLOCK, 100)];
    scene.peer.send_all(&[&queued[..], &[Message::NotInterested]].concat());
    assert_eq!(scene.peer.read(), Message::Choke);
    scene.get_unchoked();
    scene.peer.send(Message::Request(1, 0, 7));
    assert_eq!(scene.peer.read(), Message::block(&scene.content, (1, 0, 7)));
}

/// "'cancel' messages have the same payload as request messages": what is cancelled in time is not
/// sent, and nothing else is lost.
#[test]
fn a_request_that_is_cancelled_in_time_is_not_served() {
    let mut scene = Scene::seed(3, PLAIN);
    scene.get_unchoked();
    scene.peer.send_all(&[
        Message::Request(0, 0, BLOCK),
        Message::Request(1, 0, 100),
        Message::Request(1, 100, 100),
        Message::Cancel(1, 0, 100),
        Message::Cancel(0, 0, BLOCK),
    ]);
    assert_eq!(scene.peer.read(), Message::block(&scene.content, (1, 100, 100)));
    scene.peer.send(Message::Request(2, 0, 9));
    assert_eq!(scene.peer.read(), Message::block(&scene.content, (2, 0, 9)));
}

/// Cancels may cross with the block: one for what was never asked for, or is served already, does no
/// harm.
#[test]
fn a_cancel_of_nothing_does_no_harm() {
    let mut scene = Scene::seed(2, PLAIN);
    scene.get_unchoked();
    scene.peer.send_all(&[Message::Cancel(0, 0, BLOCK), Message::Request(0, 0, BLOCK)]);
    assert_eq!(scene.peer.read(), Message::block(&scene.content, (0, 0, BLOCK)));
    scene.peer.send_all(&[Message::Cancel(0, 0, BLOCK), Message::Request(1, 0, 5)]);
    assert_eq!(scene.peer.read(), Message::block(&scene.content, (1, 0, 5)));
}

/// Indices start at zero, and offsets are inside of a piece.
#[test]
fn a_request_of_what_does_not_exist_ends_the_connection() {
    let mut scene = Scene::seed(2, PLAIN);
    let end = scene.content.piece(1).len() as u32;
    let outside = [
        (2, 0, 1),
        (u32::MAX, 0, BLOCK),
        (0, 2 * BLOCK, 1),
        (0, BLOCK, BLOCK + 1),
        (0, u32::MAX, 2),
        (1, end - 1, 2),
    ];
    for (number, (index, begin, length)) in (20..).zip(outside) {
        let mut peer = scene.join(number, PLAIN);
        peer.send(Message::Interested);
        peer.expect(&Message::Unchoke);
        peer.send(Message::Request(index, begin, length));
        assert_eq!(peer.read_to_end(), [], "{index} {begin} {length}");
    }
}

/// "All current implementations [...] close connections which request an amount greater than" 2^14.
/// The program takes more, up to 2^17, because some clients ask so; beyond that it closes.
#[test]
fn a_request_of_too_much_ends_the_connection() {
    let mut content = Content::new(20);
    content.piece_length = 16 * BLOCK;
    let mut scene = Scene::seed_of(content, PLAIN, &[]);
    scene.get_unchoked();
    scene.peer.send(Message::Request(0, 0, 8 * BLOCK + 1));
    assert_eq!(scene.peer.read_to_end(), []);
}

/// "Spare bits at the end are set to zero", and the payload has a bit for each index: other bitfields
/// end the connection.
#[test]
fn a_bitfield_of_another_size_or_with_spare_bits_ends_the_connection() {
    let mut scene = Scene::seed(10, PLAIN);
    let bad = [vec![0x80], vec![0x80, 0, 0], vec![], vec![0x80, 0x20], vec![0, 0x01]];
    for (number, bits) in (20..).zip(bad) {
        let mut peer = scene.join(number, PLAIN);
        peer.send(Message::Bitfield(bits.clone()));
        assert_eq!(peer.read_to_end().len(), 1, "only the bitfield came, after {bits:?}");
    }
    let mut peer = scene.join(40, PLAIN);
    peer.send_all(&[Message::Bitfield(vec![0x80, 0x40]), Message::Interested]);
    peer.expect(&Message::Unchoke);
}

/// "'have' [...] the index which that downloader just completed": there is no other index.
#[test]
fn a_have_of_what_does_not_exist_ends_the_connection() {
    let mut scene = Scene::seed(10, PLAIN);
    for (number, index) in [(20, 10), (21, u32::MAX)] {
        let mut peer = scene.join(number, PLAIN);
        peer.send(Message::Have(index));
        assert_eq!(peer.read_to_end().len(), 1, "only the bitfield came, after {index}");
    }
}
