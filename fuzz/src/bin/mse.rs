//! The encryption handshake with anybody, in either role. The input is noise for both sides at once, or
//! is laid over the honest words of the other side, which changes what is decrypted bit by bit.

#![no_main]

use downpour::{
    base::{
        hash::{Sha1Hash, sha1},
        limits::MAX_MSE_KEPT,
        rng::Rng,
    },
    mse::{Initiator, Methods, Receiver, SECRET_LEN, Secret, hashed_skey},
};
use libfuzzer_sys::fuzz_target;

const BOTH: Methods = Methods::PLAIN.with(Methods::RC4);

fuzz_target!(|data: &[u8]| {
    let Some((&how, data)) = data.split_first() else { return };
    let skey = sha1(b"a torrent");
    let find = |hashed: Sha1Hash| (hashed == hashed_skey(skey)).then_some(skey);
    let inside = b"hello".to_vec();
    let (mut initiator, mut to_b) =
        Initiator::new(skey, BOTH, inside, Secret([1; SECRET_LEN]), Rng::new(how.into()));
    let mut receiver = Receiver::new(BOTH, Secret([2; SECRET_LEN]), Rng::new(2));
    let mut to_a = Vec::new();
    if how & 1 == 0 {
        for part in data.chunks(usize::from(how) + 1) {
            let before = to_a.len();
            let read = receiver.read(part, &mut to_a, find);
            assert!(to_a.len() - before < MAX_MSE_KEPT);
            if !matches!(read, Ok(None)) {
                break;
            }
        }
        for part in data.chunks(usize::from(how) + 1) {
            if !matches!(initiator.read(part, &mut to_b), Ok(None)) {
                break;
            }
        }
        return;
    }
    // The first two messages are honest, and the input is laid over the others.
    let mut spoil = data.iter().copied();
    for step in 0..4 {
        if step > 0 {
            to_b.iter_mut().zip(&mut spoil).for_each(|(byte, by)| *byte ^= by);
        }
        let Ok(agreed) = receiver.read(&std::mem::take(&mut to_b), &mut to_a, find) else { return };
        if step > 0 {
            to_a.iter_mut().zip(&mut spoil).for_each(|(byte, by)| *byte ^= by);
        }
        let Ok(done) = initiator.read(&std::mem::take(&mut to_a), &mut to_b) else { return };
        if agreed.is_some() && done.is_some() {
            return;
        }
        if to_b.is_empty() {
            return;
        }
    }
});
