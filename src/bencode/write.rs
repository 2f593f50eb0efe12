//! The canonical writer: keys sorted as raw bytes, integers without leading zeros (BEP 3).
//!
//! Values are written straight into one buffer. Keys may be given in any order; a dictionary whose
//! keys came unsorted is put in order when it ends.

use super::value::{Dict, Value};

/// The dictionary that `fill` writes, as bytes.
pub fn dict(fill: impl FnOnce(&mut DictWriter<'_>)) -> Vec<u8> {
    let mut out = Vec::new();
    write_dict(&mut out, fill);
    out
}

/// Writes the entries of a dictionary. Each key is given once.
pub struct DictWriter<'a> {
    out: &'a mut Vec<u8>,
    last: Option<(usize, usize)>,
    unsorted: bool,
}

/// Writes the items of a list.
pub struct ListWriter<'a> {
    out: &'a mut Vec<u8>,
}

impl DictWriter<'_> {
    /// Adds a string.
    pub fn bytes(&mut self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
        self.key(key.as_ref());
        write_bytes(self.out, value.as_ref());
    }

    /// Adds an integer.
    pub fn int(&mut self, key: impl AsRef<[u8]>, value: impl Into<i128>) {
        self.key(key.as_ref());
        write_int(self.out, value.into());
    }

    /// Adds the list that `fill` writes.
    pub fn list(&mut self, key: impl AsRef<[u8]>, fill: impl FnOnce(&mut ListWriter<'_>)) {
        self.key(key.as_ref());
        write_list(self.out, fill);
    }

    /// Adds the dictionary that `fill` writes.
    pub fn dict(&mut self, key: impl AsRef<[u8]>, fill: impl FnOnce(&mut DictWriter<'_>)) {
        self.key(key.as_ref());
        write_dict(self.out, fill);
    }

    /// Adds a value that was scanned, byte for byte.
    pub fn value(&mut self, key: impl AsRef<[u8]>, value: Value<'_>) {
        self.key(key.as_ref());
        self.out.extend_from_slice(value.raw());
    }

    fn key(&mut self, key: &[u8]) {
        if let Some((start, end)) = self.last {
            let last = &self.out[start..end];
            debug_assert_ne!(last, key, "a key is given once");
            self.unsorted |= last > key;
        }
        write_bytes(self.out, key);
        self.last = Some((self.out.len() - key.len(), self.out.len()));
    }
}

impl ListWriter<'_> {
    /// Adds a string.
    pub fn bytes(&mut self, value: impl AsRef<[u8]>) {
        write_bytes(self.out, value.as_ref());
    }

    /// Adds an integer.
    pub fn int(&mut self, value: impl Into<i128>) {
        write_int(self.out, value.into());
    }

    /// Adds the list that `fill` writes.
    pub fn list(&mut self, fill: impl FnOnce(&mut ListWriter<'_>)) {
        write_list(self.out, fill);
    }

    /// Adds the dictionary that `fill` writes.
    pub fn dict(&mut self, fill: impl FnOnce(&mut DictWriter<'_>)) {
        write_dict(self.out, fill);
    }

    /// Adds a value that was scanned, byte for byte.
    pub fn value(&mut self, value: Value<'_>) {
        self.out.extend_from_slice(value.raw());
    }
}

fn write_bytes(out: &mut Vec<u8>, value: &[u8]) {
    out.extend_from_slice(value.len().to_string().as_bytes());
    out.push(b':');
    out.extend_from_slice(value);
}

fn write_int(out: &mut Vec<u8>, value: i128) {
    out.push(b'i');
    out.extend_from_slice(value.to_string().as_bytes());
    out.push(b'e');
}

fn write_list(out: &mut Vec<u8>, fill: impl FnOnce(&mut ListWriter<'_>)) {
    out.push(b'l');
    fill(&mut ListWriter { out });
    out.push(b'e');
}

fn write_dict(out: &mut Vec<u8>, fill: impl FnOnce(&mut DictWriter<'_>)) {
    let start = out.len();
    out.push(b'd');
    let mut writer = DictWriter { out, last: None, unsorted: false };
    fill(&mut writer);
    let unsorted = writer.unsorted;
    out.push(b'e');
    if unsorted {
        let sorted = sorted(Dict::written(&out[start..]));
        out.truncate(start);
        out.extend_from_slice(&sorted);
    }
}

fn sorted(dict: Dict<'_>) -> Vec<u8> {
    let mut entries: Vec<_> = dict.iter().collect();
    entries.sort_by_key(|&(key, _)| key);
    debug_assert!(entries.windows(2).all(|pair| pair[0].0 != pair[1].0), "a key is given once");
    let mut out = Vec::with_capacity(dict.raw().len());
    out.push(b'd');
    for (key, value) in entries {
        write_bytes(&mut out, key);
        out.extend_from_slice(value.raw());
    }
    out.push(b'e');
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bencode::scan::{Limits, scan};
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    #[test]
    fn writes_every_kind() {
        let raw = Value::scan(b"li7ee", Limits::PEER).expect("valid");
        let out = dict(|d| {
            d.bytes("a", b"x:y");
            d.int("b", u64::MAX);
            d.list("c", |l| {
                l.int(-1);
                l.bytes("");
                l.list(|_| ());
                l.dict(|d| d.int("z", 0u8));
            });
            d.dict("d", |_| ());
            d.value("e", raw);
        });
        let want = "d1:a3:x:y1:bi18446744073709551615e1:cli-1e0:led1:zi0eee1:dde1:eli7eee";
        assert_eq!(out.escape_ascii().to_string(), want);
    }

    #[test]
    fn keys_are_sorted_at_every_level() {
        let out = dict(|d| {
            d.dict("b", |d| {
                d.int("y", 1);
                d.int("x", 2);
            });
            d.int("aa", 3);
            d.int("a", 4);
        });
        assert_eq!(out, b"d1:ai4e2:aai3e1:bd1:xi2e1:yi1eee");
    }

    proptest! {
        #[test]
        fn any_dictionary_is_canonical(
            map in prop::collection::hash_map(
                prop::collection::vec(any::<u8>(), 0..5),
                prop::collection::vec(any::<i64>(), 0..4),
                0..12,
            )
        ) {
            let out = dict(|d| for (key, numbers) in &map {
                d.list(key, |l| numbers.iter().for_each(|&n| l.int(n)));
            });
            let found = scan(&out, Limits::PEER).expect("what we write is valid");
            prop_assert_eq!((found.end, found.unsorted), (out.len(), None));
            let read: BTreeMap<_, _> = Value::scan(&out, Limits::PEER)
                .expect("valid").as_dict().expect("dictionary").iter()
                .map(|(k, v)| (k.to_vec(), v.as_list().expect("list").iter()
                    .map(|n| n.as_i64().expect("integer")).collect::<Vec<_>>()))
                .collect();
            prop_assert_eq!(read, map.into_iter().collect::<BTreeMap<_, _>>());
        }
    }
}
