//! Bytes that pass the scanner can be walked to the last one, and written again are the same.

#![no_main]

use std::collections::BTreeMap;

use downpour::bencode::{
    Limits, Value, scan, scan_prefix, typed,
    write::{self, DictWriter, ListWriter},
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    for limits in [Limits::METAINFO, Limits::INFO, Limits::TRACKER, Limits::PEER] {
        // serde sees only what was scanned; it may refuse, not crash.
        let _ = typed::from_bytes::<BTreeMap<String, Vec<i64>>>(data, limits);
        let _ = typed::from_bytes::<Vec<Vec<String>>>(data, limits);
        let _ = typed::from_prefix::<BTreeMap<String, BTreeMap<String, String>>>(data, limits);
    }
    let Ok(found) = scan_prefix(data, Limits::METAINFO) else { return };
    let value = &data[..found.end];
    assert_eq!(scan(value, Limits::INFO), Ok(found));
    assert!(scan(&value[..found.end - 1], Limits::INFO).is_err());

    // The root goes into a dictionary, because that is what the writer writes.
    let wrapped =
        write::dict(|d| entry(d, b"", Value::scan(value, Limits::INFO).expect("scanned")));
    let copy = &wrapped[b"d0:".len()..wrapped.len() - 1];
    match found.unsorted {
        None => assert_eq!(copy, value),
        Some(_) => {
            let sorted = scan(copy, Limits::INFO).expect("what we write is valid");
            assert_eq!((sorted.tokens, sorted.unsorted), (found.tokens, None));
        }
    }
});

fn entry(out: &mut DictWriter<'_>, key: &[u8], value: Value<'_>) {
    if let Some(dict) = value.as_dict() {
        out.dict(key, |d| dict.iter().for_each(|(k, v)| entry(d, k, v)));
    } else if let Some(list) = value.as_list() {
        out.list(key, |l| list.iter().for_each(|v| item(l, v)));
    } else if let Some(bytes) = value.as_bytes() {
        out.bytes(key, bytes);
    } else if let Some(n) = value.as_i64() {
        out.int(key, n);
    } else {
        out.value(key, value);
    }
}

fn item(out: &mut ListWriter<'_>, value: Value<'_>) {
    if let Some(dict) = value.as_dict() {
        out.dict(|d| dict.iter().for_each(|(k, v)| entry(d, k, v)));
    } else if let Some(list) = value.as_list() {
        out.list(|l| list.iter().for_each(|v| item(l, v)));
    } else if let Some(bytes) = value.as_bytes() {
        out.bytes(bytes);
    } else if let Some(n) = value.as_i64() {
        out.int(n);
    } else {
        out.value(value);
    }
}
