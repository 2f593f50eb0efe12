//! The only door to `serde_bencode`: bytes into a type that serde describes.
//!
//! `serde_bencode` recurses with the nesting of its input, takes malformed integers and ignores
//! what follows the value. Here the scanner goes first, so it sees only well-formed bytes of
//! bounded depth, cut to the value. Two of its habits stay for the caller to know: an integer has
//! to fit an `i64`, and one field of an unexpected type fails the whole value.

use serde::Deserialize;

use super::scan::{self, BencodeError, Limits};

/// Why bytes did not become the wanted type.
#[derive(Debug, thiserror::Error)]
pub enum TypedError {
    /// The bytes are not bencoding, or exceed the limits.
    #[error(transparent)]
    Bencode(#[from] BencodeError),
    /// They are, but not of the wanted shape.
    #[error("the bencoded data does not have the expected form: {0}")]
    Shape(String),
}

/// Reads the one value that `input` is, see [`scan::scan`].
pub fn from_bytes<'a, T: Deserialize<'a>>(
    input: &'a [u8],
    limits: Limits,
) -> Result<T, TypedError> {
    let found = scan::scan(input, limits)?;
    read(&input[..found.end])
}

/// Reads the value at the start of `input` and returns what follows it, see [`scan::scan_prefix`].
pub fn from_prefix<'a, T: Deserialize<'a>>(
    input: &'a [u8],
    limits: Limits,
) -> Result<(T, &'a [u8]), TypedError> {
    let found = scan::scan_prefix(input, limits)?;
    let (value, rest) = input.split_at(found.end);
    Ok((read(value)?, rest))
}

fn read<'a, T: Deserialize<'a>>(scanned: &'a [u8]) -> Result<T, TypedError> {
    serde_bencode::from_bytes(scanned).map_err(|err| TypedError::Shape(err.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize, PartialEq)]
    struct Reply {
        interval: Option<i64>,
        #[serde(default, with = "serde_bytes")]
        peers: Vec<u8>,
    }

    #[test]
    fn reads_a_struct_with_keys_in_any_order() {
        let want = Reply { interval: Some(9), peers: vec![1, 0xff] };
        let got: Reply = from_bytes(b"d5:peers2:\x01\xff8:intervali9e5:otherlee", Limits::TRACKER)
            .expect("valid");
        assert_eq!(got, want);
        let (got, rest) = from_prefix::<Reply>(b"debytes", Limits::PEER).expect("valid");
        assert_eq!((got.interval, rest), (None, b"bytes".as_slice()));
    }

    #[test]
    fn what_serde_bencode_would_take_is_refused() {
        for bad in ["d8:intervali01ee", "d8:intervali-0ee", "de5:after", "d08:intervali1ee"] {
            let limits = Limits { trailing: 0, ..Limits::TRACKER };
            let got = from_bytes::<Reply>(bad.as_bytes(), limits);
            assert!(matches!(got, Err(TypedError::Bencode(_))), "{bad}: {got:?}");
        }
        assert!(matches!(from_bytes::<Reply>(b"le", Limits::PEER), Err(TypedError::Shape(_))));
    }

    #[test]
    fn nesting_in_an_ignored_field_does_not_overflow_the_stack() {
        let deep = [b"d1:x".as_slice(), &[b'l'; 500_000], &[b'e'; 500_000], b"e"].concat();
        let got = from_bytes::<Reply>(&deep, Limits::TRACKER);
        assert!(matches!(got, Err(TypedError::Bencode(_))));
    }
}
