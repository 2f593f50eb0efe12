//! Bencoding, as strict as BEP 3 has it: sorted keys, no leading zeros, nothing behind the value.

use std::collections::BTreeMap;

/// A bencoded value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Value {
    Int(i64),
    Bytes(Vec<u8>),
    List(Vec<Value>),
    Dict(BTreeMap<Vec<u8>, Value>),
}

impl Value {
    pub(crate) fn bytes(bytes: impl AsRef<[u8]>) -> Self {
        Value::Bytes(bytes.as_ref().to_vec())
    }

    pub(crate) fn dict<'a>(entries: impl IntoIterator<Item = (&'a str, Value)>) -> Self {
        let entries = entries.into_iter().map(|(key, value)| (key.as_bytes().to_vec(), value));
        Value::Dict(entries.collect())
    }

    /// The value that all of `bytes` is; panics if they are not exactly one.
    pub(crate) fn read(bytes: &[u8]) -> Self {
        let (value, rest) = Self::read_first(bytes);
        assert!(rest.is_empty(), "{} bytes behind the value", rest.len());
        value
    }

    /// The value that `bytes` begin with, and what follows it.
    pub(crate) fn read_first(bytes: &[u8]) -> (Self, &[u8]) {
        let find = |sign| {
            let at = bytes.iter().position(|&b| b == sign);
            at.unwrap_or_else(|| panic!("not bencoded: {}", bytes.escape_ascii()))
        };
        match bytes.first() {
            Some(b'i') => {
                let end = find(b'e');
                let text = std::str::from_utf8(&bytes[1..end]).expect("digits");
                let number: i64 = text.parse().expect("a number");
                assert_eq!(text, number.to_string(), "numbers have one form");
                (Value::Int(number), &bytes[end + 1..])
            }
            Some(b'l') => {
                let (mut list, mut rest) = (Vec::new(), &bytes[1..]);
                while rest.first() != Some(&b'e') {
                    let (value, behind) = Self::read_first(rest);
                    list.push(value);
                    rest = behind;
                }
                (Value::List(list), &rest[1..])
            }
            Some(b'd') => {
                let (mut dict, mut rest) = (BTreeMap::new(), &bytes[1..]);
                while rest.first() != Some(&b'e') {
                    let (key, behind) = Self::read_first(rest);
                    let Value::Bytes(key) = key else { panic!("a key is no string") };
                    let in_order = dict.last_key_value().is_none_or(|(last, _)| *last < key);
                    assert!(in_order, "keys are sorted, and each comes once");
                    let (value, behind) = Self::read_first(behind);
                    dict.insert(key, value);
                    rest = behind;
                }
                (Value::Dict(dict), &rest[1..])
            }
            Some(b'0'..=b'9') => {
                let colon = find(b':');
                let text = std::str::from_utf8(&bytes[..colon]).expect("digits");
                let length: usize = text.parse().expect("a length");
                assert_eq!(text, length.to_string(), "lengths have one form");
                let (string, rest) = bytes[colon + 1..].split_at(length);
                (Value::Bytes(string.to_vec()), rest)
            }
            _ => panic!("not bencoded: {}", bytes.escape_ascii()),
        }
    }

    pub(crate) fn write(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.write_to(&mut out);
        out
    }

    fn write_to(&self, out: &mut Vec<u8>) {
        match self {
            Value::Int(number) => out.extend(format!("i{number}e").as_bytes()),
            Value::Bytes(bytes) => write_bytes(bytes, out),
            Value::List(list) => {
                out.push(b'l');
                list.iter().for_each(|value| value.write_to(out));
                out.push(b'e');
            }
            Value::Dict(dict) => {
                out.push(b'd');
                for (key, value) in dict {
                    write_bytes(key, out);
                    value.write_to(out);
                }
                out.push(b'e');
            }
        }
    }

    /// The value of `key` in a dictionary.
    pub(crate) fn get(&self, key: impl AsRef<[u8]>) -> Option<&Value> {
        match self {
            Value::Dict(dict) => dict.get(key.as_ref()),
            other => panic!("not a dictionary: {other:?}"),
        }
    }

    /// As [`Value::get`], for what has to be there.
    pub(crate) fn at(&self, key: &str) -> &Value {
        self.get(key).unwrap_or_else(|| panic!("{key} is missing in {self:?}"))
    }

    pub(crate) fn int(&self) -> i64 {
        match self {
            Value::Int(number) => *number,
            other => panic!("not a number: {other:?}"),
        }
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        match self {
            Value::Bytes(bytes) => bytes,
            other => panic!("not a string: {other:?}"),
        }
    }

    pub(crate) fn list(&self) -> &[Value] {
        match self {
            Value::List(list) => list,
            other => panic!("not a list: {other:?}"),
        }
    }
}

fn write_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    out.extend(format!("{}:", bytes.len()).as_bytes());
    out.extend(bytes);
}
