//! Views over scanned bytes: walk a value without copying or allocating.
//!
//! Invariant: the bytes of a [`Value`] are exactly one value that passed the scanner. Only
//! [`Value::scan`] and [`Value::scan_prefix`] make one from foreign bytes.

use std::borrow::Cow;

use super::scan::{self, BencodeError, Limits, Scan};

/// One scanned value: a string, an integer, a list or a dictionary.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Value<'a>(&'a [u8]);

/// A scanned dictionary.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Dict<'a>(&'a [u8]);

/// A scanned list.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct List<'a>(&'a [u8]);

impl<'a> Value<'a> {
    /// The value that `input` is, see [`scan::scan`].
    pub fn scan(input: &'a [u8], limits: Limits) -> Result<Self, BencodeError> {
        scan::scan(input, limits).map(|found| Value(&input[..found.end]))
    }

    /// The value at the start of `input` and what follows it, see [`scan::scan_prefix`].
    pub fn scan_prefix(input: &'a [u8], limits: Limits) -> Result<(Self, &'a [u8]), BencodeError> {
        let Scan { end, .. } = scan::scan_prefix(input, limits)?;
        let (value, rest) = input.split_at(end);
        Ok((Value(value), rest))
    }

    /// The bytes of the value as they stand in the input.
    pub const fn raw(self) -> &'a [u8] {
        self.0
    }

    /// The content of a string.
    pub fn as_bytes(self) -> Option<&'a [u8]> {
        matches!(self.0.first(), Some(b'0'..=b'9')).then(|| split_string(self.0).0)
    }

    /// The content of a string that is UTF-8.
    pub fn as_str(self) -> Option<&'a str> {
        std::str::from_utf8(self.as_bytes()?).ok()
    }

    /// The content of a string, with `U+FFFD` for what is not UTF-8.
    pub fn as_text(self) -> Option<Cow<'a, str>> {
        self.as_bytes().map(String::from_utf8_lossy)
    }

    /// An integer that fits.
    pub fn as_i64(self) -> Option<i64> {
        self.integer()?.parse().ok()
    }

    /// An integer that is not negative and fits.
    pub fn as_u64(self) -> Option<u64> {
        self.integer()?.parse().ok()
    }

    /// A list.
    pub fn as_list(self) -> Option<List<'a>> {
        (self.0.first() == Some(&b'l')).then_some(List(self.0))
    }

    /// A dictionary.
    pub fn as_dict(self) -> Option<Dict<'a>> {
        (self.0.first() == Some(&b'd')).then_some(Dict(self.0))
    }

    fn integer(self) -> Option<&'a str> {
        let digits = self.0.strip_prefix(b"i")?.strip_suffix(b"e")?;
        std::str::from_utf8(digits).ok()
    }
}

impl<'a> Dict<'a> {
    /// A dictionary that our own writer wrote.
    pub(super) const fn written(raw: &'a [u8]) -> Self {
        Dict(raw)
    }

    /// The bytes of the dictionary as they stand in the input.
    pub const fn raw(self) -> &'a [u8] {
        self.0
    }

    /// The value of `key`; looks through the dictionary from its start.
    pub fn get(self, key: &[u8]) -> Option<Value<'a>> {
        self.iter().find_map(|(k, value)| (k == key).then_some(value))
    }

    /// Keys and values in the order of the input.
    pub fn iter(self) -> impl Iterator<Item = (&'a [u8], Value<'a>)> {
        let mut rest = inside(self.0);
        std::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            let (key, behind) = split_string(rest);
            let (value, behind) = split_value(behind);
            rest = behind;
            Some((key, value))
        })
    }
}

impl<'a> List<'a> {
    /// The values in order.
    pub fn iter(self) -> impl Iterator<Item = Value<'a>> {
        let mut rest = inside(self.0);
        std::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            let (value, behind) = split_value(rest);
            rest = behind;
            Some(value)
        })
    }
}

/// The content of a list or dictionary.
fn inside(raw: &[u8]) -> &[u8] {
    raw.get(1..raw.len().saturating_sub(1)).unwrap_or_default()
}

/// The content of the string at the start of scanned bytes, and what follows the string.
fn split_string(raw: &[u8]) -> (&[u8], &[u8]) {
    let mut len = 0usize;
    for (i, &byte) in raw.iter().enumerate() {
        if byte == b':' {
            return raw[i + 1..].split_at(len);
        }
        len = len * 10 + usize::from(byte - b'0');
    }
    (&[], &[])
}

/// The value at the start of scanned bytes, and what follows it. Counts ends only: that the bytes
/// are well formed is known.
fn split_value(raw: &[u8]) -> (Value<'_>, &[u8]) {
    let mut rest = raw;
    let mut depth = 0usize;
    while let Some(&first) = rest.first() {
        match first {
            b'0'..=b'9' => rest = split_string(rest).1,
            b'i' => {
                let end = rest.iter().position(|&b| b == b'e').unwrap_or(0);
                rest = &rest[end + 1..];
            }
            b'e' => {
                depth -= 1;
                rest = &rest[1..];
            }
            _ => {
                depth += 1;
                rest = &rest[1..];
            }
        }
        if depth == 0 {
            break;
        }
    }
    let (value, rest) = raw.split_at(raw.len() - rest.len());
    (Value(value), rest)
}

impl std::fmt::Debug for Value<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0.escape_ascii())
    }
}

impl std::fmt::Debug for Dict<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        Value(self.0).fmt(f)
    }
}

impl std::fmt::Debug for List<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        Value(self.0).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> Value<'_> {
        Value::scan(text.as_bytes(), Limits::PEER).unwrap_or_else(|e| panic!("{text}: {e}"))
    }

    #[test]
    fn reads_every_kind() {
        assert_eq!(value("3:a:b").as_bytes(), Some(b"a:b".as_slice()));
        assert_eq!(value("0:").as_str(), Some(""));
        assert_eq!(value("i-7e").as_i64(), Some(-7));
        assert_eq!(value("i-7e").as_u64(), None);
        assert_eq!(value("i18446744073709551615e").as_u64(), Some(u64::MAX));
        assert_eq!(value("i18446744073709551615e").as_i64(), None);
        assert_eq!(value("i1e").as_bytes(), None);
        assert_eq!(value("1:1").as_i64(), None);
        assert_eq!(value("le").as_list().map(|l| l.iter().count()), Some(0));
        assert_eq!(Value::scan(b"2:\xff\xfe", Limits::PEER).map(|v| v.as_str()), Ok(None));
    }

    #[test]
    fn walks_nested_values_and_keeps_their_spans() {
        let outer = value("d1:ali1el2:xxi2eee1:bd1:ci3ee1:z0:e").as_dict().expect("dict");
        let spans: Vec<_> = outer.iter().map(|(k, v)| (k, v.raw())).collect();
        assert_eq!(
            spans,
            [(b"a".as_slice(), b"li1el2:xxi2eee".as_slice()), (b"b", b"d1:ci3ee"), (b"z", b"0:"),]
        );
        let list = outer.get(b"a").and_then(Value::as_list).expect("list");
        let items: Vec<_> = list.iter().map(Value::raw).collect();
        assert_eq!(items, [b"i1e".as_slice(), b"l2:xxi2ee"]);
        let inner = outer.get(b"b").and_then(Value::as_dict).expect("dict");
        assert_eq!(inner.get(b"c").and_then(Value::as_u64), Some(3));
        assert_eq!(outer.get(b"missing"), None);
    }

    #[test]
    fn a_prefix_leaves_the_rest() {
        let (value, rest) = Value::scan_prefix(b"d1:ai1eerest", Limits::PEER).expect("valid");
        assert_eq!((value.raw(), rest), (b"d1:ai1ee".as_slice(), b"rest".as_slice()));
    }
}
