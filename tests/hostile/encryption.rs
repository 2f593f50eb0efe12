//! The door of peers that begin with the encryption handshake. Whatever a bad one does there, it gets no
//! more than a key and some padding, and a good one is served right after it.

use downpour::{
    base::{
        hash::{Sha1Hash, sha1},
        rng::Rng,
    },
    mse::{Initiator, KEY_LEN, Methods, SECRET_LEN, Secret},
};

use crate::{
    driver::{
        content::Content,
        peer::{Hello, PLAIN, Peer},
        program::Place,
    },
    peers::good_one_is_served,
    table::{Attack, Bound, try_all},
};

/// Longest padding.
const MAX_PADDING: usize = 512;

type Row = Attack<fn(u16, &Content) -> Peer, ()>;

const fn row(name: &'static str, input: fn(u16, &Content) -> Peer) -> Row {
    Attack::new(name, input, ())
}

/// Resident memory of a seed with its code.
const SEED: Bound = Bound::SMALL.memory(64);

#[test]
fn encryption_handshakes() {
    try_all("encryption handshakes of peers", rows(), |row: &Row| {
        let (place, content) = (Place::new(), Content::new(4));
        let mut seed = place.seed(&content, &[]);
        let mut bad = (row.input)(seed.port(), &content);
        let mut told = 0;
        while bad.try_read_bytes(1).is_some() {
            told += 1;
        }
        assert!(told <= KEY_LEN + MAX_PADDING, "told {told} bytes");
        good_one_is_served(seed.port(), &content);
        assert!(seed.is_alive(), "{}", seed.talk());
        assert!(seed.talk().is_empty(), "{}", seed.talk());
        assert!(seed.peak_memory() < u64::from(SEED.memory) << 10, "{} KiB", seed.peak_memory());
    });
}

fn noise(length: usize) -> Vec<u8> {
    let mut noise = vec![0; length];
    Rng::new(length as u64).fill(&mut noise);
    noise
}

fn saying(port: u16, bytes: &[u8]) -> Peer {
    let mut peer = Peer::dial(port);
    // The other side may close while we write.
    peer.try_send_bytes(bytes);
    peer
}

/// A handshake about `skey` that is right but for what `spoil` does to its second message: a mark, the
/// masked torrent, then encrypted 8 bytes of zeros, 4 of methods, 2 of a length, padding of that length,
/// 2 of another length, our handshake. Changing a bit there changes that bit of what is read.
fn spoilt(port: u16, skey: [u8; 20], offered: Methods, spoil: fn(&mut Vec<u8>)) -> Peer {
    let (skey, inside) = (Sha1Hash(skey), Hello::of(skey, PLAIN).bytes());
    let secret = Secret([7; SECRET_LEN]);
    let (mut initiator, first) = Initiator::new(skey, offered, inside, secret, Rng::new(3));
    let mut peer = Peer::dial(port);
    peer.send_bytes(&first);
    let (key, mut second) = (peer.read_bytes(KEY_LEN), Vec::new());
    assert!(initiator.read(&key, &mut second).expect("a key").is_none());
    spoil(&mut second);
    peer.try_send_bytes(&second);
    // What comes after the end is not waited for.
    peer.finish();
    let mut padding = 0;
    while padding <= MAX_PADDING && peer.try_read_bytes(1).is_some() {
        padding += 1;
    }
    assert!(padding <= MAX_PADDING, "more than padding came");
    peer
}

fn rows() -> Vec<Row> {
    vec![
        row("a key and silence", |port, _| {
            let mut peer = saying(port, &noise(KEY_LEN));
            peer.finish();
            peer
        }),
        row("a key and noise for ever", |port, _| saying(port, &noise(100_000))),
        row("another protocol at length", |port, _| {
            saying(port, &b"GET / HTTP/1.1\r\nHost: a\r\n".repeat(100))
        }),
        row("a key that gives no secret", |port, _| saying(port, &[0; KEY_LEN])),
        row("a torrent that nobody has", |port, _| {
            spoilt(port, sha1(b"another").0, Methods::RC4, |_| {})
        }),
        row("keys that do not fit", |port, content| {
            spoilt(port, content.info_hash(), Methods::RC4, |second| second[40] ^= 1)
        }),
        row("a method that nobody knows", |port, content| {
            // From 2 to 4.
            spoilt(port, content.info_hash(), Methods::RC4, |second| second[51] ^= 6)
        }),
        row("no method at all", |port, content| {
            spoilt(port, content.info_hash(), Methods::RC4, |second| second[51] ^= 2)
        }),
        row("padding of 60,000 bytes", |port, content| {
            spoilt(port, content.info_hash(), Methods::RC4, |second| {
                second[52] ^= 0xe0;
                second.extend(noise(70_000));
            })
        }),
        row("a payload inside that never comes", |port, content| {
            spoilt(port, content.info_hash(), Methods::RC4, |second| {
                second.truncate(second.len() - 1);
            })
        }),
        row("half of the second message", |port, content| {
            spoilt(port, content.info_hash(), Methods::RC4, |second| second.truncate(30))
        }),
    ]
}
