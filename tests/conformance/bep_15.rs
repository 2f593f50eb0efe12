//! BEP 15, *UDP tracker protocol*, as the program asks: connect, announce, errors.
//!
//! Left out: the time-outs (15 s at least), and that a connection id is used for a minute only.

use crate::driver::{
    content::Content,
    peer::{Hello, Listener, Message, PLAIN},
    program::Place,
    tracker::{
        UdpTracker, action, announce_reply, compact, connect_reply, u32_at, u64_at, udp_reply,
    },
};

/// A connection id that `UdpTracker::of` gives.
const ID: u64 = 0x1122_3344_5566_7788;

/// "connect request: protocol_id 0x41727101980, action 0, transaction_id": sixteen bytes.
#[test]
fn the_first_datagram_asks_for_a_connection() {
    let (place, tracker) = (Place::new(), UdpTracker::of(&[]));
    let content = Content::new(1).tiers(&[&[&tracker.url]]);
    let _leech = place.leech(&content, &[], &[]);
    let connect = tracker.next();
    assert_eq!(connect.len(), 16);
    assert_eq!(u64_at(&connect, 0), 0x0417_2710_1980);
    assert_eq!(u32_at(&connect, 8), 0);
}

/// "IPv4 announce request": every field at its place.
#[test]
fn the_announce_has_every_field_at_its_place() {
    let (place, listener) = (Place::new(), Listener::new());
    let tracker = UdpTracker::of(&[listener.addr]);
    let content = Content::new(3).tiers(&[&[&tracker.url]]);
    let mut leech = place.leech(&content, &[], &[]);
    let (connect, announce) = (tracker.next(), tracker.next());
    assert!(announce.len() >= 98, "{}", announce.len());
    assert_eq!(u64_at(&announce, 0), ID);
    assert_eq!(u32_at(&announce, 8), 1, "action");
    assert_ne!(u32_at(&announce, 12), u32_at(&connect, 12), "a new transaction");
    assert_eq!(announce[16..36], content.info_hash());
    let hello = listener.accept().read_hello();
    assert_eq!(announce[36..56], hello.peer_id);
    assert_eq!(u64_at(&announce, 56), 0, "downloaded");
    assert_eq!(u64_at(&announce, 64), content.length(), "left");
    assert_eq!(u64_at(&announce, 72), 0, "uploaded");
    assert_eq!(u32_at(&announce, 80), 2, "started");
    assert_eq!(u32_at(&announce, 84), 0, "the address that is seen");
    let numwant = u32_at(&announce, 92).cast_signed();
    assert!(numwant == -1 || numwant > 0, "{numwant}");
    assert_eq!(announce[96..98], leech.port().to_be_bytes());
}

/// "0: none; 1: completed; 2: started; 3: stopped", and the connection id "can be used for multiple
/// requests".
#[test]
fn a_download_announces_started_completed_and_stopped_with_one_connection_id() {
    let (place, listener) = (Place::new(), Listener::new());
    let tracker = UdpTracker::of(&[listener.addr]);
    let content = Content::new(1).tiers(&[&[&tracker.url]]);
    let leech = place.leech(&content, &[], &["--seed"]);
    let (mut peer, _) = listener.greet(&Hello::new(&content, PLAIN));
    peer.send_all(&[Message::Bitfield(vec![0x80]), Message::Unchoke]);
    peer.serve(&content, &content.all_blocks());
    let mut asked = vec![tracker.next(), tracker.next(), tracker.next()];
    leech.signal("-INT");
    assert_eq!(leech.end().0, 0);
    asked.extend(tracker.asked());
    let actions: Vec<_> = asked.iter().map(|datagram| action(datagram)).collect();
    assert_eq!(actions, [0, 1, 1, 1]);
    let events: Vec<_> = asked[1..].iter().map(|datagram| u32_at(datagram, 80)).collect();
    assert_eq!(events, [2, 1, 3]);
    assert!(asked[1..].iter().all(|datagram| u64_at(datagram, 0) == ID));
    let [_, completed, stopped] = &asked[1..] else { unreachable!() };
    for announce in [completed, stopped] {
        assert_eq!((u64_at(announce, 56), u64_at(announce, 64)), (content.length(), 0));
        assert_eq!(announce[36..56], asked[1][36..56], "the same peer");
        assert_eq!(announce[88..92], asked[1][88..92], "the same key");
    }
}

/// "Check whether the transaction ID is equal to the one you chose": others are forged, or late.
#[test]
fn replies_with_another_transaction_id_are_ignored() {
    let (place, right, wrong) = (Place::new(), Listener::new(), Listener::new());
    let (good, bad) = (compact(&[right.addr]), compact(&[wrong.addr]));
    let tracker = UdpTracker::start(move |datagram| {
        let mut forged = datagram.to_vec();
        forged[15] ^= 1;
        match action(datagram) {
            0 => vec![
                connect_reply(&forged, 666),
                udp_reply(3, &forged, b"forged"),
                connect_reply(datagram, 7),
            ],
            _ => vec![
                announce_reply(&forged, &bad),
                udp_reply(3, &forged, b"forged"),
                announce_reply(datagram, &good),
            ],
        }
    });
    let content = Content::new(1).tiers(&[&[&tracker.url]]);
    let leech = place.leech(&content, &[], &[]);
    assert_eq!(right.accept().read_hello().info_hash, content.info_hash());
    tracker.next();
    assert_eq!(u64_at(&tracker.next(), 0), 7);
    leech.signal("-INT");
    leech.end();
    assert!(!wrong.is_dialled());
}

/// "Check whether the action is connect" (or announce): another action with the right transaction is no
/// answer.
#[test]
fn replies_of_another_action_are_ignored() {
    let (place, right, wrong) = (Place::new(), Listener::new(), Listener::new());
    let (good, bad) = (compact(&[right.addr]), compact(&[wrong.addr]));
    let tracker = UdpTracker::start(move |datagram| match action(datagram) {
        0 => vec![announce_reply(datagram, &bad), connect_reply(datagram, 7)],
        _ => vec![
            connect_reply(datagram, 8),
            udp_reply(2, datagram, &[0; 12]),
            announce_reply(datagram, &good),
        ],
    });
    let content = Content::new(1).tiers(&[&[&tracker.url]]);
    let leech = place.leech(&content, &[], &[]);
    assert_eq!(right.accept().read_hello().info_hash, content.info_hash());
    leech.signal("-INT");
    leech.end();
    assert!(!wrong.is_dialled());
}

/// "Clients and trackers should not assume packets to be of a certain size."
#[test]
fn longer_replies_than_expected_are_taken() {
    let (place, listener) = (Place::new(), Listener::new());
    // A whole number of peers, and some bytes behind them.
    let peers = [compact(&[listener.addr]), vec![1, 2, 3]].concat();
    let tracker = UdpTracker::start(move |datagram| match action(datagram) {
        0 => vec![[connect_reply(datagram, 7), vec![9; 20]].concat()],
        _ => vec![announce_reply(datagram, &peers)],
    });
    let content = Content::new(1).tiers(&[&[&tracker.url]]);
    let _leech = place.leech(&content, &[], &[]);
    assert_eq!(listener.accept().read_hello().info_hash, content.info_hash());
}

/// "IPv4 announce response: 20 + 6 * n": every peer is dialled.
#[test]
fn every_peer_of_a_reply_is_dialled() {
    let (place, listeners) = (Place::new(), [Listener::new(), Listener::new(), Listener::new()]);
    let tracker = UdpTracker::of(&listeners.each_ref().map(|listener| listener.addr));
    let content = Content::new(1).tiers(&[&[&tracker.url]]);
    let _leech = place.leech(&content, &[], &[]);
    for listener in &listeners {
        assert_eq!(listener.accept().read_hello().info_hash, content.info_hash());
    }
}

/// "error response: action 3, transaction_id, message": to a connect or to an announce, it is shown.
#[test]
fn an_error_is_shown() {
    for failing in [0, 1] {
        let place = Place::new();
        let tracker = UdpTracker::start(move |datagram| match action(datagram) {
            action if action == failing => vec![udp_reply(3, datagram, b"torrent not allowed")],
            _ => vec![connect_reply(datagram, 7)],
        });
        let content = Content::new(1).tiers(&[&[&tracker.url]]);
        let mut leech = place.leech(&content, &[], &[]);
        leech.warning("torrent not allowed");
    }
}

/// Replies "less than" the least size are none: a connect reply without an id is not followed by an
/// announce.
#[test]
fn a_reply_that_is_too_short_is_none() {
    let place = Place::new();
    let tracker = UdpTracker::start(|datagram| match action(datagram) {
        0 => vec![udp_reply(0, datagram, &[1, 2, 3, 4, 5, 6, 7])],
        _ => vec![],
    });
    let content = Content::new(1).tiers(&[&[&tracker.url]]);
    let leech = place.leech(&content, &[], &[]);
    tracker.next();
    leech.signal("-INT");
    leech.end();
    assert!(tracker.asked().iter().all(|datagram| action(datagram) == 0));
}
