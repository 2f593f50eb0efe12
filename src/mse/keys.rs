//! The secret that both sides compute, and the streams of keys made of it.
//!
//! Diffie and Hellman's exchange in a group of 768 bits, SHA-1, RC4 without its first KiB: what the
//! specification has fixed, weak as it is by now. The arithmetic and the cipher are libraries'.

use std::fmt;

use crypto_bigint::{
    Odd, U192, U768,
    modular::{FixedMontyForm, FixedMontyParams},
};
use rc4::{KeyInit as _, Rc4, StreamCipher as _};

use super::{KEY_LEN, MseError};
use crate::base::hash::{Sha1, Sha1Hash};

/// Length of a private key in bytes: the specification asks for 128 bits at least.
pub const SECRET_LEN: usize = 20;
/// Bytes of key stream that are thrown away: the first of RC4 tell of its key.
const DISCARDED: usize = 1024;

const PRIME: Odd<U768> = Odd::<U768>::from_be_hex(concat!(
    "FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74",
    "020BBEA63B139B22514A08798E3404DDEF9519B3CD3A431B302B0A6DF25F1437",
    "4FE1356D6D51C245E485B576625E7EC6F44C42E9A63A36210000000000090563",
));
static GROUP: FixedMontyParams<{ U768::LIMBS }> = FixedMontyParams::new_vartime(PRIME);

/// A private key: random bytes that nobody may guess.
pub struct Secret(pub [u8; SECRET_LEN]);

impl Secret {
    /// The public key that belongs to it.
    pub(super) fn public(&self) -> [u8; KEY_LEN] {
        self.power(&U768::from_u8(2))
    }

    /// What this side and the one with the public key `theirs` have in common.
    pub(super) fn shared(&self, theirs: &[u8; KEY_LEN]) -> Result<Shared, MseError> {
        let theirs = U768::from_be_slice(theirs);
        // With these anybody knows what comes out.
        if theirs <= U768::ONE || theirs >= PRIME.get().wrapping_sub(&U768::ONE) {
            return Err(MseError::Key);
        }
        Ok(Shared(self.power(&theirs)))
    }

    fn power(&self, base: &U768) -> [u8; KEY_LEN] {
        let mut exponent = [0; U192::BYTES];
        exponent[U192::BYTES - SECRET_LEN..].copy_from_slice(&self.0);
        let exponent = U192::from_be_slice(&exponent);
        let power = FixedMontyForm::new(base, &GROUP);
        let power = power.pow_bounded_exp(&exponent, 8 * SECRET_LEN as u32).retrieve();
        power.to_be_bytes().into()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// The secret of both sides.
pub(super) struct Shared([u8; KEY_LEN]);

impl Shared {
    /// By which the receiver finds where the handshake goes on.
    pub(super) fn mark(&self) -> Sha1Hash {
        digest(&[b"req1", &self.0])
    }

    /// Hides the torrent of which the hash is given, or shows it.
    pub(super) fn mask(&self, hashed_skey: Sha1Hash) -> Sha1Hash {
        let Sha1Hash(mask) = digest(&[b"req3", &self.0]);
        let Sha1Hash(mut masked) = hashed_skey;
        masked.iter_mut().zip(mask).for_each(|(byte, mask)| *byte ^= mask);
        Sha1Hash(masked)
    }

    /// The ciphers of the side that dialled, or of the other.
    pub(super) fn ciphers(&self, skey: Sha1Hash, dialled: bool) -> Ciphers {
        let stream = |name: &[u8]| stream(digest(&[name, &self.0, &skey.0]));
        let (a, b) = (stream(b"keyA"), stream(b"keyB"));
        if dialled {
            Ciphers { inbound: b, outbound: a }
        } else {
            Ciphers { inbound: a, outbound: b }
        }
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shared")
    }
}

/// What a receiver looks torrents up by: the hash of the info hash under which they are asked for.
pub fn hashed_skey(skey: Sha1Hash) -> Sha1Hash {
    digest(&[b"req2", &skey.0])
}

/// The two streams of a connection.
pub struct Ciphers {
    inbound: Rc4,
    outbound: Rc4,
}

impl Ciphers {
    /// Makes what came plain, in place. To be called with every byte, in order.
    pub fn decrypt(&mut self, bytes: &mut [u8]) {
        self.inbound.apply_keystream(bytes);
    }

    /// Hides what is about to leave, in place. To be called with every byte, in order.
    pub fn encrypt(&mut self, bytes: &mut [u8]) {
        self.outbound.apply_keystream(bytes);
    }
}

impl fmt::Debug for Ciphers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ciphers")
    }
}

fn stream(key: Sha1Hash) -> Rc4 {
    let mut stream = Rc4::new_from_slice(&key.0).expect("20 bytes are a key of RC4");
    stream.apply_keystream(&mut [0; DISCARDED]);
    stream
}

fn digest(parts: &[&[u8]]) -> Sha1Hash {
    let mut digest = Sha1::new();
    parts.iter().for_each(|part| digest.update(part));
    digest.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sides_compute_one_secret_and_read_one_another() {
        let (ours, theirs) = (Secret([1; 20]), Secret([0xfe; 20]));
        let shared = ours.shared(&theirs.public()).expect("a key");
        assert_eq!(shared.0, theirs.shared(&ours.public()).expect("a key").0);
        let skey = Sha1Hash([7; 20]);
        let (mut a, mut b) = (shared.ciphers(skey, true), shared.ciphers(skey, false));
        let mut text = *b"from one to the other";
        a.encrypt(&mut text);
        assert_ne!(&text, b"from one to the other");
        b.decrypt(&mut text);
        assert_eq!(&text, b"from one to the other");
        b.encrypt(&mut text);
        a.decrypt(&mut text);
        assert_eq!(&text, b"from one to the other");
        assert_eq!(shared.mask(shared.mask(skey)), skey);
    }

    #[test]
    fn small_powers_are_powers_of_two() {
        let mut secret = Secret([0; SECRET_LEN]);
        secret.0[SECRET_LEN - 1] = 11;
        let mut want = [0; KEY_LEN];
        want[KEY_LEN - 2] = 8;
        assert_eq!(secret.public(), want);
    }

    #[test]
    fn keys_that_give_no_secret_are_refused() {
        let mut bad = vec![[0; KEY_LEN], [0xff; KEY_LEN]];
        let mut one = [0; KEY_LEN];
        one[KEY_LEN - 1] = 1;
        let prime: [u8; KEY_LEN] = PRIME.get().to_be_bytes().into();
        let mut last = prime;
        last[KEY_LEN - 1] -= 1;
        bad.extend([one, prime, last]);
        for key in bad {
            assert_eq!(Secret([9; 20]).shared(&key).err(), Some(MseError::Key));
        }
    }
}
