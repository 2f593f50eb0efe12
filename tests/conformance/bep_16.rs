//! BEP 16, *super-seeding*: the seed passes for a peer without data, shows each peer pieces that nobody has,
//! and the next when it sees them at others.
//!
//! Left out: how much less it uploads, which the simulator measures; and what a peer is shown from whom
//! nobody takes anything, because that waits for a minute.

use std::collections::BTreeSet;

use crate::{
    driver::{
        content::{BLOCK, Content},
        peer::{FAST, Message, PLAIN, Peer},
    },
    scene::Scene,
};

const PIECES: u32 = 10;

fn scene() -> Scene {
    Scene::seed_of(Content::new(PIECES), FAST, &["--super-seed"])
}

/// What a peer has been shown since it was last asked.
fn shown(peer: &mut Peer) -> Vec<u32> {
    let said = peer.fence();
    let have = |message: &Message| match message {
        Message::Have(piece) => Some(*piece),
        _ => None,
    };
    said.iter().filter_map(have).collect()
}

/// It "masquerades as a normal client with no data".
#[test]
fn it_begins_with_nothing_and_shows_two_pieces() {
    let mut scene = scene();
    assert_eq!(scene.peer.read(), Message::HaveNone);
    assert_eq!(shown(&mut scene.peer).len(), 2);
    let mut plain = scene.join(2, PLAIN);
    assert!(matches!(plain.read(), Message::Have(_)), "no bitfield");
}

/// Each peer is told of a piece "that was never sent", or which is rare.
#[test]
fn peers_are_shown_different_pieces() {
    let mut scene = scene();
    let mut all: Vec<u32> = shown(&mut scene.peer);
    let mut others: Vec<Peer> = (2..5).map(|number| scene.join(number, FAST)).collect();
    all.extend(others.iter_mut().flat_map(shown));
    assert_eq!(all.len(), 8);
    assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), 8, "{all:?}");
}

/// It is not informed "of any other piece until" the one it was sent is seen at another peer.
#[test]
fn the_next_piece_is_for_whoever_has_passed_the_last_one_on() {
    let mut scene = scene();
    let mut other = scene.join(2, FAST);
    let (first, its) = (shown(&mut scene.peer), shown(&mut other));
    scene.peer.send(Message::Have(first[0]));
    assert!(shown(&mut scene.peer).is_empty(), "it has it from us");
    other.send(Message::Have(first[0]));
    assert!(shown(&mut other).is_empty(), "it has passed nothing on");
    let next = shown(&mut scene.peer);
    assert_eq!(next.len(), 1);
    assert!(!first.contains(&next[0]) && !its.contains(&next[0]), "{next:?}");
}

#[test]
fn what_was_not_shown_is_not_given() {
    let mut scene = scene();
    let mut other = scene.join(2, FAST);
    let (first, its) = (shown(&mut scene.peer), shown(&mut other));
    scene.get_unchoked();
    scene.peer.send(Message::Request(its[0], 0, BLOCK));
    scene.peer.expect(&Message::Reject(its[0], 0, BLOCK));
    scene.peer.send(Message::Request(first[0], 0, 1_000));
    scene.peer.expect(&Message::block(&scene.content, (first[0], 0, 1_000)));
}

/// Where nobody could pass anything on, the peer gets one piece after the other.
#[test]
fn a_peer_that_is_alone_gets_everything() {
    let mut scene = scene();
    let mut seen: BTreeSet<u32> = BTreeSet::new();
    let mut new = shown(&mut scene.peer);
    // With the last one it would be a seed, and seeds have nothing to say to one another.
    while seen.len() + new.len() < PIECES as usize {
        let piece = new.pop().expect("it is shown something");
        seen.insert(piece);
        scene.peer.send(Message::Have(piece));
        new.extend(shown(&mut scene.peer));
    }
}

/// Once the peers have everything among them it is a seed like others, to newcomers too.
#[test]
fn it_ends_when_everything_is_out() {
    let mut scene = scene();
    let mut other = scene.join(2, FAST);
    (0..5).for_each(|piece| scene.peer.send(Message::Have(piece)));
    (5..PIECES).for_each(|piece| other.send(Message::Have(piece)));
    // It looks once a second; one newcomer after the other is told what it then is.
    let mut numbers = (3..=200).cycle();
    while scene.join(numbers.next().expect("endless"), FAST).read() != Message::HaveAll {
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    let mut seen: BTreeSet<u32> = BTreeSet::new();
    while !(5..PIECES).all(|piece| seen.contains(&piece)) {
        seen.extend(shown(&mut scene.peer));
    }
}
