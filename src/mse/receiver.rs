//! The side that was dialled.

use super::{
    Agreed, Ciphers, HEAD_LEN, KEY_LEN, Methods, MseError, Secret, VC, keys::Shared, padding,
    read_head, sync, write_head,
};
use crate::base::{
    hash::Sha1Hash,
    limits::{MAX_INITIAL_PAYLOAD, MAX_MSE_KEPT},
    rng::Rng,
};

/// Length of a SHA-1 digest.
const HASH_LEN: usize = 20;

/// The handshake of the side that was dialled. Feed it what comes, send what it says.
#[derive(Debug)]
pub struct Receiver {
    allowed: Methods,
    secret: Secret,
    rng: Rng,
    got: Vec<u8>,
    state: State,
}

#[derive(Debug)]
enum State {
    /// For the public key of the other side.
    WaitsForKey,
    /// For its padding to end, and the torrent behind that.
    WaitsForTorrent(Shared),
    /// For what it offers.
    WaitsForOffer(Found),
    /// For the padding behind the offer, so long, and the length of the payload behind that.
    WaitsForLength(Found, Methods, usize),
    /// For that payload, so long.
    WaitsForPayload(Found, Methods, usize),
    Ended,
}

/// The torrent it is about.
#[derive(Debug)]
struct Found {
    skey: Sha1Hash,
    ciphers: Ciphers,
}

impl Receiver {
    /// Allows `allowed` to follow. Random lengths and bytes come from `rng`.
    pub const fn new(allowed: Methods, secret: Secret, rng: Rng) -> Self {
        Receiver { allowed, secret, rng, got: Vec::new(), state: State::WaitsForKey }
    }

    /// Takes what came, appends to `out` what is to be sent. `find` gives the info hash that belongs to
    /// a [`hashed_skey`](super::hashed_skey). `Some` when both have agreed, with the info hash.
    ///
    /// # Errors
    /// [`MseError`]: there will be no agreement.
    pub fn read(
        &mut self,
        bytes: &[u8],
        out: &mut Vec<u8>,
        find: impl Fn(Sha1Hash) -> Option<Sha1Hash>,
    ) -> Result<Option<(Sha1Hash, Agreed)>, MseError> {
        if self.got.len() + bytes.len() > MAX_MSE_KEPT {
            return Err(MseError::Malformed);
        }
        self.got.extend_from_slice(bytes);
        loop {
            self.state = match std::mem::replace(&mut self.state, State::Ended) {
                State::WaitsForKey => {
                    let Some(theirs) = self.got.first_chunk::<KEY_LEN>() else {
                        self.state = State::WaitsForKey;
                        return Ok(None);
                    };
                    let shared = self.secret.shared(theirs)?;
                    self.got.drain(..KEY_LEN);
                    out.extend(self.secret.public());
                    out.extend(padding(&mut self.rng));
                    State::WaitsForTorrent(shared)
                }
                State::WaitsForTorrent(shared) => {
                    let at = sync(&self.got, &shared.mark().0)?.unwrap_or(self.got.len());
                    let end = at + 2 * HASH_LEN;
                    let masked = self.got.get(at + HASH_LEN..end);
                    let Some(masked) = masked.and_then(|bytes| bytes.try_into().ok()) else {
                        self.state = State::WaitsForTorrent(shared);
                        return Ok(None);
                    };
                    let skey = find(shared.mask(Sha1Hash(masked)));
                    let skey = skey.ok_or(MseError::UnknownTorrent)?;
                    self.got.drain(..end);
                    State::WaitsForOffer(Found { skey, ciphers: shared.ciphers(skey, false) })
                }
                State::WaitsForOffer(mut found) => {
                    let Some(head) = self.got.first_chunk_mut::<HEAD_LEN>() else {
                        self.state = State::WaitsForOffer(found);
                        return Ok(None);
                    };
                    let (vc, rest) = head.split_at_mut(VC.len());
                    found.ciphers.decrypt(vc);
                    if vc != VC {
                        return Err(MseError::Malformed);
                    }
                    let (offered, padding) = read_head(&mut found.ciphers, rest)?;
                    let chosen = self.allowed.choose(offered).ok_or(MseError::NoMethod)?;
                    self.got.drain(..HEAD_LEN);
                    State::WaitsForLength(found, chosen, padding)
                }
                State::WaitsForLength(mut found, chosen, padding) => {
                    let Some(bytes) = self.got.get_mut(..padding + 2) else {
                        self.state = State::WaitsForLength(found, chosen, padding);
                        return Ok(None);
                    };
                    found.ciphers.decrypt(bytes);
                    let length = u16::from_be_bytes([bytes[padding], bytes[padding + 1]]).into();
                    if length > MAX_INITIAL_PAYLOAD {
                        return Err(MseError::Malformed);
                    }
                    self.got.drain(..padding + 2);
                    State::WaitsForPayload(found, chosen, length)
                }
                State::WaitsForPayload(mut found, chosen, length) => {
                    if self.got.len() < length {
                        self.state = State::WaitsForPayload(found, chosen, length);
                        return Ok(None);
                    }
                    let mut rest = self.got.split_off(length);
                    found.ciphers.decrypt(&mut self.got);
                    let begin = out.len();
                    write_head(out, chosen, &mut self.rng);
                    found.ciphers.encrypt(&mut out[begin..]);
                    let inside = std::mem::take(&mut self.got);
                    let agreed = Agreed::new(chosen, found.ciphers, inside, &mut rest);
                    return Ok(Some((found.skey, agreed)));
                }
                State::Ended => return Err(MseError::Malformed),
            }
        }
    }
}
