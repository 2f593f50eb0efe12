//! Both sides together, whole and in pieces, honest and not.

use super::*;
use crate::base::{
    hash::{Sha1Hash, sha1},
    rng::Rng,
};
use proptest::prelude::*;

const BOTH: Methods = Methods::PLAIN.with(Methods::RC4);

fn torrents(hashed: Sha1Hash) -> Option<Sha1Hash> {
    let known = [sha1(b"one"), sha1(b"another")];
    known.into_iter().find(|&skey| hashed_skey(skey) == hashed)
}

/// One handshake, its bytes in parts of `step`; `late` comes behind our own with the last of them.
fn meet(
    (skey, initial, late): (Sha1Hash, &[u8], &[u8]),
    offered: Methods,
    allowed: Methods,
    (step, seed): (usize, u64),
) -> Result<(Agreed, (Sha1Hash, Agreed)), MseError> {
    let mut rng = Rng::new(seed);
    let mut secret = || {
        let mut secret = [0; SECRET_LEN];
        rng.fill(&mut secret);
        Secret(secret)
    };
    let (secrets, mut rng) = ([secret(), secret()], Rng::new(seed + 1));
    let [ours, theirs] = secrets;
    let (mut initiator, mut to_b) =
        Initiator::new(skey, offered, initial.to_vec(), ours, rng.fork());
    let mut receiver = Receiver::new(allowed, theirs, rng.fork());
    let mut to_a = Vec::new();
    let (mut a, mut b) = (None, None);
    while a.is_none() || b.is_none() {
        assert!(!(to_a.is_empty() && to_b.is_empty()), "nobody says anything any more");
        for part in std::mem::take(&mut to_b).chunks(step) {
            if let Some(mut agreed) = receiver.read(part, &mut to_a, torrents)? {
                let mut late = late.to_vec();
                if let Some(ciphers) = &mut agreed.1.ciphers {
                    ciphers.encrypt(&mut late);
                }
                to_a.extend(late);
                b = Some(agreed);
            }
        }
        let mut parts = to_a.chunks(step).peekable();
        let mut rest = Vec::new();
        while let Some(part) = parts.next() {
            if let Some(mut agreed) = initiator.read(part, &mut to_b)? {
                parts.by_ref().for_each(|part| rest.extend_from_slice(part));
                if let Some(ciphers) = &mut agreed.ciphers {
                    ciphers.decrypt(&mut rest);
                }
                agreed.first.append(&mut rest);
                a = Some(agreed);
            }
        }
        to_a.clear();
    }
    Ok((a.expect("agreed"), b.expect("agreed")))
}

proptest! {
    #[test]
    fn both_agree_however_the_bytes_are_split(
        step in 1usize..2_000,
        seed in any::<u64>(),
        inside in prop::collection::vec(any::<u8>(), 0..100),
        late in prop::collection::vec(any::<u8>(), 0..100),
        plain in any::<bool>(),
    ) {
        let allowed = if plain { BOTH } else { Methods::RC4 };
        let skey = sha1(b"another");
        let seed = seed / 2;
        let (mut a, (found, mut b)) =
            meet((skey, &inside, &late), BOTH, allowed, (step, seed)).expect("agreed");
        prop_assert_eq!(found, skey);
        prop_assert_eq!(&b.first, &inside);
        prop_assert_eq!(&a.first, &late);
        prop_assert_eq!(a.ciphers.is_none(), plain);
        prop_assert_eq!(b.ciphers.is_none(), plain);
        if let (Some(a), Some(b)) = (&mut a.ciphers, &mut b.ciphers) {
            let mut text = *b"what follows";
            a.encrypt(&mut text);
            b.decrypt(&mut text);
            prop_assert_eq!(&text, b"what follows");
        }
    }

    #[test]
    fn noise_is_refused_and_never_kept(bytes in prop::collection::vec(any::<u8>(), 0..3_000), step in 1usize..500) {
        let mut receiver = Receiver::new(BOTH, Secret([3; 20]), Rng::new(1));
        let (mut initiator, _) = Initiator::new(sha1(b"one"), BOTH, Vec::new(), Secret([4; 20]), Rng::new(2));
        let (mut out, mut read) = (Vec::new(), 0);
        for part in bytes.chunks(step) {
            read += part.len();
            match receiver.read(part, &mut out, torrents) {
                Ok(agreed) => prop_assert!(agreed.is_none() && read < KEY_LEN + MAX_PADDING + 20),
                Err(_) => break,
            }
        }
        prop_assert!(out.len() <= KEY_LEN + MAX_PADDING);
        for part in bytes.chunks(step) {
            match initiator.read(part, &mut out) {
                Ok(agreed) => prop_assert!(agreed.is_none()),
                Err(_) => break,
            }
        }
    }
}

#[test]
fn what_one_side_does_not_allow_is_not_done() {
    let about = (sha1(b"one"), &b"hello"[..], &b""[..]);
    let refused = |offered, allowed| meet(about, offered, allowed, (100, 7)).err();
    assert_eq!(refused(Methods::PLAIN, Methods::RC4), Some(MseError::NoMethod));
    assert_eq!(refused(Methods::RC4, Methods::PLAIN), Some(MseError::NoMethod));
    assert_eq!(refused(Methods::RC4, BOTH), None);
}

#[test]
fn a_torrent_that_nobody_has_is_not_talked_about() {
    let met = meet((sha1(b"a third"), b"", b""), BOTH, BOTH, (700, 7));
    assert_eq!(met.err(), Some(MseError::UnknownTorrent));
}

#[test]
fn an_answer_that_was_not_offered_is_refused() {
    // A receiver that takes its own wish for ours.
    let shared = Secret([8; 20]);
    let (mut initiator, first) =
        Initiator::new(sha1(b"one"), Methods::RC4, Vec::new(), Secret([4; 20]), Rng::new(2));
    let theirs = first.first_chunk::<KEY_LEN>().expect("a key");
    let keys = shared.shared(theirs).expect("a secret");
    let mut ciphers = keys.ciphers(sha1(b"one"), false);
    for method in [0, 1, 3, 4] {
        let mut answer = shared.public().to_vec();
        let mut head = [&VC[..], &[0, 0, 0, method], &[0, 0]].concat();
        ciphers.encrypt(&mut head);
        answer.extend(head);
        assert_eq!(initiator.read(&answer, &mut Vec::new()).err(), Some(MseError::NoMethod));
        // The next one begins anew.
        ciphers = keys.ciphers(sha1(b"one"), false);
        let secret = Secret([4; 20]);
        initiator = Initiator::new(sha1(b"one"), Methods::RC4, Vec::new(), secret, Rng::new(2)).0;
    }
}

#[test]
fn a_long_payload_inside_is_refused_before_it_comes() {
    let initial = vec![0; crate::base::limits::MAX_INITIAL_PAYLOAD + 1];
    let met = meet((sha1(b"one"), &initial, b""), BOTH, BOTH, (1_000, 7));
    assert_eq!(met.err(), Some(MseError::Malformed));
}
