//! BEP 3, *metainfo files*: what in a torrent decides about the info hash, the files and the pieces, as
//! peers and the folder see it. Refusals of torrents that are damaged or hostile are elsewhere.

use std::fs;

use sha1::{Digest as _, Sha1};

use crate::driver::{
    bencode::Value,
    peer::{Hello, Listener, Message, PLAIN, Peer},
    program::{Place, Program},
};

const PIECE: usize = 16 << 10;
/// Each run of the program takes any port and asks nobody.
const ALONE: [&str; 4] = ["--port", "0", "--no-ipv6", "--no-trackers"];

/// Two and a half pieces.
fn bytes() -> Vec<u8> {
    (0..10_u32 << 10).flat_map(u32::to_be_bytes).collect()
}

fn hashes() -> Value {
    Value::Bytes(bytes().chunks(PIECE).flat_map(Sha1::digest).collect())
}

/// The keys of a file `data`.
fn single() -> Vec<(&'static str, Value)> {
    vec![
        ("length", Value::Int(bytes().len() as i64)),
        ("name", Value::bytes("data")),
        ("piece length", Value::Int(PIECE as i64)),
        ("pieces", hashes()),
    ]
}

/// The keys of a folder `data`, whose files have these paths and lengths.
fn folder(files: &[(&[&str], usize)]) -> Vec<(&'static str, Value)> {
    let file = |(path, length): &(&[&str], usize)| {
        let path = path.iter().map(Value::bytes).collect();
        Value::dict([("length", Value::Int(*length as i64)), ("path", Value::List(path))])
    };
    let mut info = single();
    info[0] = ("files", Value::List(files.iter().map(file).collect()));
    info
}

/// Writes a torrent with this info dictionary.
fn write_torrent(place: &Place, info: &[u8]) -> [u8; 20] {
    place.write("x.torrent", [b"d4:info", info, b"e"].concat());
    Sha1::digest(info).into()
}

fn download(place: &Place, listener: &Listener) -> Program {
    let peer = listener.addr.to_string();
    let args = ["download", "x.torrent", "-o", "out", "--peer", &peer];
    place.start(&[&args[..], &ALONE].concat())
}

/// Serves everything to a download of this info hash, which ends well.
fn serve_all(place: &Place, info_hash: [u8; 20]) {
    let listener = Listener::new();
    let program = download(place, &listener);
    let (mut peer, hello) = listener.greet(&Hello::of(info_hash, PLAIN));
    assert_eq!(hello.info_hash, info_hash);
    peer.send_all(&[Message::Bitfield(vec![0xe0]), Message::Unchoke]);
    while let Some(message) = peer.try_read() {
        if let Message::Request(index, begin, length) = message {
            let start = index as usize * PIECE + begin as usize;
            let block = bytes()[start..start + length as usize].to_vec();
            peer.send(Message::Piece(index, begin, block));
        }
    }
    assert_eq!(program.end().0, 0);
}

/// "The 20 byte sha1 hash of the bencoded form of the info value from the metainfo file": all of it,
/// also what is not understood.
#[test]
fn unknown_keys_of_the_info_dictionary_are_part_of_the_hash() {
    let place = Place::new();
    let mut info = single();
    let odd = Value::List(vec![Value::dict([("k", Value::Int(-5))])]);
    info.extend([("a", odd), ("x_unknown", Value::bytes("x")), ("zz", Value::Int(0))]);
    serve_all(&place, write_torrent(&place, &Value::dict(info).write()));
    assert!(fs::read(place.path("out/data")).expect("there") == bytes());
}

/// "Clients must either reject invalid metainfo files or extract the substring directly. They must not
/// perform a decode-encode roundtrip on invalid data": here the keys are not sorted.
#[test]
fn the_hash_is_over_the_bytes_of_the_file_or_the_file_is_rejected() {
    let place = Place::new();
    let mut info = vec![b'd'];
    for (key, value) in single().iter().rev() {
        info.extend(Value::bytes(key).write());
        info.extend(value.write());
    }
    info.push(b'e');
    let info_hash = write_torrent(&place, &info);
    let listener = Listener::new();
    let (code, said) = place.start(&["show", "x.torrent"]).end();
    if code == 3 {
        return;
    }
    assert_eq!(code, 0, "{said:?}");
    let _program = download(&place, &listener);
    assert_eq!(listener.accept().read_hello().info_hash, info_hash);
}

/// "In the single file case, the name key is the name of a file".
#[test]
fn a_single_file_has_the_name_of_the_torrent() {
    let place = Place::new();
    serve_all(&place, write_torrent(&place, &Value::dict(single()).write()));
    assert!(fs::read(place.path("out/data")).expect("there") == bytes());
}

/// "In the multiple file case, it's the name of a directory"; path is "a list [...] of subdirectory
/// names, the last of which is the actual file name".
#[test]
fn several_files_lie_in_a_folder_at_their_paths() {
    let place = Place::new();
    let total = bytes().len();
    let files: [(&[&str], usize); 4] =
        [(&["b"], 5), (&["sub", "dir", "a"], PIECE), (&["empty"], 0), (&["c"], total - PIECE - 5)];
    serve_all(&place, write_torrent(&place, &Value::dict(folder(&files)).write()));
    let mut start = 0;
    for (path, length) in files {
        let path = place.path("out/data").join(path.join("/"));
        let there = fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        assert!(there == bytes()[start..start + length], "{}", path.display());
        start += length;
    }
}

/// "For the purposes of the other keys, the multi-file case is treated as only having a single file by
/// concatenating the files in the order they appear in the files list": pieces run across files.
#[test]
fn a_piece_runs_across_files_in_the_order_of_the_list() {
    let place = Place::new();
    let total = bytes().len();
    let files: [(&[&str], usize); 3] = [(&["z"], 100), (&["m"], 7), (&["a"], total - 107)];
    let info_hash = write_torrent(&place, &Value::dict(folder(&files)).write());
    let mut start = 0;
    for (path, length) in files {
        place.write(&format!("data/{}", path[0]), &bytes()[start..start + length]);
        start += length;
    }
    let mut seed = place.seeding(&[&["seed", "x.torrent"][..], &ALONE].concat());
    let (mut peer, _) = Peer::connect(seed.port(), &Hello::of(info_hash, PLAIN));
    peer.send(Message::Interested);
    peer.expect(&Message::Unchoke);
    for (index, begin, length) in [(0, 0, 200), (0, 95, 15), (0, 0, PIECE), (2, 0, 5)] {
        peer.send(Message::Request(index, begin, length as u32));
        let at = index as usize * PIECE + begin as usize;
        let block = bytes()[at..at + length].to_vec();
        assert!(peer.read() == Message::Piece(index, begin, block), "{index} {begin} {length}");
    }
}

/// "pieces maps to a string whose length is a multiple of 20", one hash for each piece; "length" and
/// "files": "there is also a key length or a key files, but not both or neither".
#[test]
fn a_torrent_that_contradicts_itself_is_rejected() {
    let short = Value::Bytes(hashes().as_bytes()[..59].to_vec());
    let few = Value::Bytes(hashes().as_bytes()[..40].to_vec());
    let change = |key: &'static str, value: Option<Value>| {
        let mut info = single();
        info.retain(|(other, _)| *other != key);
        info.extend(value.map(|value| (key, value)));
        info
    };
    let both = {
        let mut info = folder(&[(&["a"], bytes().len())]);
        info.push(("length", Value::Int(bytes().len() as i64)));
        info
    };
    for (what, info) in [
        ("pieces of 59 bytes", change("pieces", Some(short))),
        ("too few pieces", change("pieces", Some(few))),
        ("no pieces", change("pieces", None)),
        ("no piece length", change("piece length", None)),
        ("a piece length of 0", change("piece length", Some(Value::Int(0)))),
        ("no name", change("name", None)),
        ("neither length nor files", change("length", None)),
        ("both length and files", both),
        ("a negative length", change("length", Some(Value::Int(-1)))),
    ] {
        let place = Place::new();
        write_torrent(&place, &Value::dict(info).write());
        let (code, _) = place.start(&["show", "x.torrent"]).end();
        assert_eq!(code, 3, "{what}");
    }
}
