//! Info dictionaries for tests: any files in any order, and whatever piece hashes the test has.

use super::Info;
use crate::bencode;

/// A torrent with the folder `t`; files whose path begins with `.pad/` are padding.
pub(crate) fn info(piece_length: u32, files: &[(&str, u64)], hashes: &[u8]) -> Info {
    let info = bencode::write::dict(|info| {
        info.list("files", |list| {
            for &(path, length) in files {
                list.dict(|file| {
                    if path.starts_with(".pad/") {
                        file.bytes("attr", "p");
                    }
                    file.int("length", length);
                    file.list("path", |names| path.split('/').for_each(|name| names.bytes(name)));
                });
            }
        });
        info.bytes("name", "t");
        info.int("piece length", piece_length);
        info.bytes("pieces", hashes);
    });
    Info::from_bytes(&info).expect("a valid torrent")
}
