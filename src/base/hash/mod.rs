//! SHA-1 and SHA-256 digests, and the info hash made of them; the only home of `sha1` and `sha2`.
//!
//! ```text
//! lanes      many messages at once, by whatever the processor has: `Lanes`
//!   running    one message that arrives in parts: `Sha1`, `Sha256`
//!   wide       SHA-1 in the lanes of wide vectors, written once for all of them
//!   x86        instructions of x86-64; the only unsafe code there is
//!   other      in its place on other processors: none
//! ```

mod lanes;
mod running;
#[cfg(any(test, target_arch = "x86_64"))]
mod wide;
#[cfg_attr(not(target_arch = "x86_64"), path = "other.rs")]
mod x86;

use std::{fmt, str::FromStr};

use data_encoding::{BASE32, HEXLOWER, HEXLOWER_PERMISSIVE};
use sha1::Digest as _;

pub use lanes::Lanes;
pub use running::{Algorithm, OfSha1, OfSha256, Running, Sha1, Sha256};

/// A SHA-1 digest: of a piece (BEP 3) or of an `info` dictionary.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sha1Hash(pub [u8; 20]);

/// A SHA-256 digest (BEP 52).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sha256Hash(pub [u8; 32]);

/// SHA-1 of `data`.
pub fn sha1(data: &[u8]) -> Sha1Hash {
    Sha1Hash(sha1::Sha1::digest(data).into())
}

/// SHA-256 of `data`.
pub fn sha256(data: &[u8]) -> Sha256Hash {
    Sha256Hash(sha2::Sha256::digest(data).into())
}

/// What names a torrent: the SHA-1 of its `info` dictionary (v1), the SHA-256 (v2), or both.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InfoHash {
    /// The v1 info hash, absent in a v2-only torrent.
    pub v1: Option<Sha1Hash>,
    /// The v2 info hash, present in v2 and hybrid torrents.
    pub v2: Option<Sha256Hash>,
}

impl InfoHash {
    /// The info hash of a v1 torrent.
    pub const fn v1(hash: Sha1Hash) -> Self {
        InfoHash { v1: Some(hash), v2: None }
    }

    /// The 20 bytes used in handshakes and announces: v1, or v2 cut short (BEP 52).
    pub fn wire(&self) -> Sha1Hash {
        match (self.v1, self.v2) {
            (Some(h), _) => h,
            (None, Some(h)) => {
                let mut out = [0; 20];
                out.copy_from_slice(&h.0[..20]);
                Sha1Hash(out)
            }
            (None, None) => Sha1Hash([0; 20]),
        }
    }
}

impl fmt::Debug for InfoHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.wire().fmt(f)
    }
}

impl fmt::Display for Sha1Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for Sha1Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Sha256Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for Sha256Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Text that is neither 40 hex digits nor 32 base32 characters.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an info hash: expected 40 hex digits or 32 base32 characters")]
pub struct HashTextError;

impl FromStr for Sha1Hash {
    type Err = HashTextError;

    /// 40 hex digits or 32 base32 characters, either case (BEP 9, *magnet URI format*).
    fn from_str(s: &str) -> Result<Self, HashTextError> {
        let bytes = match s.len() {
            40 => HEXLOWER_PERMISSIVE.decode(s.as_bytes()).map_err(|_| HashTextError)?,
            32 => BASE32.decode(s.to_ascii_uppercase().as_bytes()).map_err(|_| HashTextError)?,
            _ => return Err(HashTextError),
        };
        Ok(Sha1Hash(bytes.try_into().map_err(|_| HashTextError)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_digests() {
        assert_eq!(sha1(b"abc").to_string(), "a9993e364706816aba3e25717850c26c9cd0d89d");
        assert_eq!(
            sha256(b"abc").to_string(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        let mut parts = Sha1::new();
        parts.update(b"a");
        parts.update(b"bc");
        assert_eq!(parts.finish(), sha1(b"abc"));
    }

    #[test]
    fn text_forms() {
        let h = sha1(b"abc");
        assert_eq!(h.to_string().parse(), Ok(h));
        assert_eq!(h.to_string().to_uppercase().parse(), Ok(h));
        assert_eq!(BASE32.encode(&h.0).parse(), Ok(h));
        assert_eq!(BASE32.encode(&h.0).to_lowercase().parse(), Ok(h));
        for bad in ["", "zz", &"g".repeat(40), &"1".repeat(32), &"é".repeat(20)] {
            assert_eq!(bad.parse::<Sha1Hash>(), Err(HashTextError), "{bad}");
        }
    }
}
