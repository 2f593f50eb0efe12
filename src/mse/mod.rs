//! Message stream encryption (MSE, also called protocol encryption): hides from those who watch the
//! network what a connection is, and if both sides want it all that is said on it.
//!
//! Both sides agree on a secret (`keys`), name the torrent to one another without saying which it is,
//! and choose how the rest is hidden ([`Initiator`], [`Receiver`]). Bytes go in, bytes come out; sockets
//! are `net`'s. It proves to nobody who the other side is: whoever stands between the two and knows the
//! info hash can read everything.

mod initiator;
mod keys;
mod receiver;

pub use initiator::Initiator;
pub use keys::{Ciphers, SECRET_LEN, Secret, hashed_skey};
pub use receiver::Receiver;

use crate::base::rng::Rng;

/// Length of a public key in bytes.
pub const KEY_LEN: usize = 96;
/// Most padding in one place.
const MAX_PADDING: usize = 512;
/// The verification constant: whoever can read it has the keys.
const VC: [u8; 8] = [0; 8];
/// Length of VC, method and length of the padding behind them.
const HEAD_LEN: usize = VC.len() + 4 + 2;

/// When connections are encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Policy {
    /// Never.
    Disabled,
    /// Accepted; dialled when a peer that was dialled plainly hangs up, or is said to prefer it.
    #[default]
    Allowed,
    /// Accepted; dialled, and only when that fails the plain way.
    Preferred,
    /// Always, and all that is said on them.
    Required,
}

impl Policy {
    /// Whether a connection may begin plainly.
    pub const fn allows_plain(self) -> bool {
        !matches!(self, Policy::Required)
    }

    /// Whether a connection may begin with this handshake.
    pub const fn allows_encrypted(self) -> bool {
        !matches!(self, Policy::Disabled)
    }

    /// Whether that is how we dial first.
    pub const fn prefers_encrypted(self) -> bool {
        matches!(self, Policy::Preferred | Policy::Required)
    }

    /// What may follow the handshake.
    pub const fn methods(self) -> Methods {
        if self.allows_plain() { Methods::PLAIN.with(Methods::RC4) } else { Methods::RC4 }
    }
}

/// How a connection is hidden.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Encryption {
    /// It is not.
    #[default]
    Off,
    /// Only how it begins.
    Handshake,
    /// All of it.
    Stream,
}

impl Encryption {
    /// What these ciphers make of a connection that began with this handshake.
    pub const fn of(ciphers: Option<&Ciphers>) -> Self {
        if ciphers.is_some() { Encryption::Stream } else { Encryption::Handshake }
    }
}

/// How what follows the handshake is hidden: a set in an offer, one in an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Methods(u32);

impl Methods {
    /// Not at all.
    pub const PLAIN: Methods = Methods(1);
    /// By RC4.
    pub const RC4: Methods = Methods(2);

    /// These and those.
    #[must_use]
    pub const fn with(self, other: Methods) -> Methods {
        Methods(self.0 | other.0)
    }

    const fn has(self, method: Methods) -> bool {
        self.0 & method.0 == method.0
    }

    /// The one to use, of what both sides allow: plain costs nothing.
    fn choose(self, offered: Methods) -> Option<Methods> {
        let both = Methods(self.0 & offered.0);
        [Methods::PLAIN, Methods::RC4].into_iter().find(|&method| both.has(method))
    }
}

/// What both sides have come to.
#[derive(Debug)]
pub struct Agreed {
    /// For what follows; `None` if it is plain.
    pub ciphers: Option<Box<Ciphers>>,
    /// What has already come of it, plainly.
    pub first: Vec<u8>,
}

impl Agreed {
    /// `rest` is what came behind the handshake, in front of it what came inside.
    fn new(method: Methods, mut ciphers: Ciphers, mut inside: Vec<u8>, rest: &mut [u8]) -> Self {
        let encrypted = method == Methods::RC4;
        if encrypted {
            ciphers.decrypt(rest);
        }
        inside.extend_from_slice(rest);
        Agreed { ciphers: encrypted.then(|| Box::new(ciphers)), first: inside }
    }
}

/// Why there is no agreement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MseError {
    /// A public key that gives no secret.
    #[error("a public key that gives no secret")]
    Key,
    /// What must come within some hundred bytes did not: it is another protocol, or another torrent.
    #[error("not the beginning of an encrypted connection")]
    NoSync,
    /// It is about a torrent that we do not have.
    #[error("about an unknown torrent")]
    UnknownTorrent,
    /// Something is longer than it may be, or the keys do not fit.
    #[error("a malformed encryption handshake")]
    Malformed,
    /// What one side allows the other does not.
    #[error("no common method of encryption")]
    NoMethod,
}

/// As much padding as chance says, of random bytes.
fn padding(rng: &mut Rng) -> Vec<u8> {
    let mut padding = vec![0; rng.index(MAX_PADDING + 1)];
    rng.fill(&mut padding);
    padding
}

/// Where `needle` begins in `bytes`: looked for in the first `MAX_PADDING` bytes and its own length.
fn sync(bytes: &[u8], needle: &[u8]) -> Result<Option<usize>, MseError> {
    let end = bytes.len().min(MAX_PADDING + needle.len());
    match bytes[..end].windows(needle.len()).position(|window| window == needle) {
        Some(at) => Ok(Some(at)),
        None if end == MAX_PADDING + needle.len() => Err(MseError::NoSync),
        None => Ok(None),
    }
}

/// Appends VC, methods and padding, which is zeros here: not yet encrypted.
fn write_head(out: &mut Vec<u8>, methods: Methods, rng: &mut Rng) {
    let padding = rng.index(MAX_PADDING + 1);
    out.extend(VC);
    out.extend(methods.0.to_be_bytes());
    out.extend((padding as u16).to_be_bytes());
    out.resize(out.len() + padding, 0);
}

/// Reads methods and length of the padding, the part of a head behind VC.
fn read_head(ciphers: &mut Ciphers, head: &mut [u8]) -> Result<(Methods, usize), MseError> {
    ciphers.decrypt(head);
    let &mut [a, b, c, d, high, low] = head else { return Err(MseError::Malformed) };
    let padding = usize::from(u16::from_be_bytes([high, low]));
    if padding > MAX_PADDING {
        return Err(MseError::Malformed);
    }
    Ok((Methods(u32::from_be_bytes([a, b, c, d])), padding))
}

#[cfg(test)]
mod tests;
