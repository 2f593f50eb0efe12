//! The side that dialled.

use super::{
    Agreed, Ciphers, HEAD_LEN, KEY_LEN, Methods, MseError, Secret, VC, hashed_skey, keys::Shared,
    padding, read_head, sync, write_head,
};
use crate::base::{hash::Sha1Hash, rng::Rng};

/// The handshake of the side that dialled. Feed it what comes, send what it says.
#[derive(Debug)]
pub struct Initiator {
    skey: Sha1Hash,
    offered: Methods,
    secret: Secret,
    /// What is to be said to the peer as soon as it can be.
    initial: Vec<u8>,
    rng: Rng,
    got: Vec<u8>,
    state: State,
}

#[derive(Debug)]
enum State {
    /// For the public key of the other side.
    WaitsForKey,
    /// For its padding to end with VC, as it looks on the wire.
    WaitsForSync(Ciphers, [u8; VC.len()]),
    /// For what it has chosen, and the padding behind that.
    WaitsForPadding(Ciphers, Methods, usize),
    Ended,
}

impl Initiator {
    /// For a torrent of which the info hash is `skey`; `initial` goes along with the handshake. Random
    /// lengths and bytes come from `rng`. Also gives what is to be sent first.
    pub fn new(
        skey: Sha1Hash,
        offered: Methods,
        initial: Vec<u8>,
        secret: Secret,
        mut rng: Rng,
    ) -> (Self, Vec<u8>) {
        let mut first = secret.public().to_vec();
        first.extend(padding(&mut rng));
        let (got, state) = (Vec::new(), State::WaitsForKey);
        (Initiator { skey, offered, secret, initial, rng, got, state }, first)
    }

    /// Takes what came, appends to `out` what is to be sent. `Some` when both have agreed.
    ///
    /// # Errors
    /// [`MseError`]: there will be no agreement.
    pub fn read(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<Option<Agreed>, MseError> {
        self.got.extend_from_slice(bytes);
        loop {
            match std::mem::replace(&mut self.state, State::Ended) {
                State::WaitsForKey => {
                    let Some(theirs) = self.got.first_chunk::<KEY_LEN>() else {
                        self.state = State::WaitsForKey;
                        return Ok(None);
                    };
                    let shared = self.secret.shared(theirs)?;
                    self.got.drain(..KEY_LEN);
                    let mut ciphers = self.offer(&shared, out);
                    let mut vc = VC;
                    ciphers.decrypt(&mut vc);
                    self.state = State::WaitsForSync(ciphers, vc);
                }
                State::WaitsForSync(mut ciphers, vc) => {
                    let at = sync(&self.got, &vc)?.unwrap_or(self.got.len());
                    let Some(head) = self.got.get_mut(at + VC.len()..at + HEAD_LEN) else {
                        self.state = State::WaitsForSync(ciphers, vc);
                        return Ok(None);
                    };
                    let (chosen, length) = read_head(&mut ciphers, head)?;
                    let one = [Methods::PLAIN, Methods::RC4].contains(&chosen);
                    if !one || !self.offered.has(chosen) {
                        return Err(MseError::NoMethod);
                    }
                    self.got.drain(..at + HEAD_LEN);
                    self.state = State::WaitsForPadding(ciphers, chosen, length);
                }
                State::WaitsForPadding(mut ciphers, chosen, length) => {
                    if self.got.len() < length {
                        self.state = State::WaitsForPadding(ciphers, chosen, length);
                        return Ok(None);
                    }
                    let (padding, rest) = self.got.split_at_mut(length);
                    ciphers.decrypt(padding);
                    return Ok(Some(Agreed::new(chosen, ciphers, Vec::new(), rest)));
                }
                State::Ended => return Err(MseError::Malformed),
            }
        }
    }

    /// Says which torrent it is about and what may follow.
    fn offer(&mut self, shared: &Shared, out: &mut Vec<u8>) -> Ciphers {
        out.extend(shared.mark().0);
        out.extend(shared.mask(hashed_skey(self.skey)).0);
        let mut ciphers = shared.ciphers(self.skey, true);
        let begin = out.len();
        write_head(out, self.offered, &mut self.rng);
        // The receiver's own bounds are a good deal wider.
        out.extend((self.initial.len() as u16).to_be_bytes());
        out.append(&mut self.initial);
        ciphers.encrypt(&mut out[begin..]);
        ciphers
    }
}
