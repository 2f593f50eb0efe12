//! BEP 9, *extension for peers to send metadata files*: served by who has it, fetched by who has a
//! magnet link and nothing else.

use std::fs;

use crate::{
    driver::{
        bencode::Value,
        content::{BLOCK, Content},
        peer::{FAST_EXTENDED, Hello, Listener, Message, Peer},
        program::{Place, Program},
    },
    scene::Scene,
};

/// Our number for messages of `ut_metadata`.
const OURS: u8 = 7;

/// An extension handshake of somebody who has a whole info dictionary, or who has none.
fn handshake(size: Option<usize>) -> Message {
    let m = Value::dict([("ut_metadata", Value::Int(OURS.into()))]);
    let mut entries = vec![("m", m)];
    entries.extend(size.map(|size| ("metadata_size", Value::Int(size as i64))));
    Message::Extended(0, Value::dict(entries).write())
}

fn numbers<'a>(entries: impl IntoIterator<Item = (&'a str, usize)>) -> Vec<u8> {
    Value::dict(entries.into_iter().map(|(key, n)| (key, Value::Int(n as i64)))).write()
}

fn request(piece: usize) -> Vec<u8> {
    numbers([("msg_type", 0), ("piece", piece)])
}

fn reject(piece: usize) -> Vec<u8> {
    numbers([("msg_type", 2), ("piece", piece)])
}

fn data(metadata: &[u8], piece: usize) -> Vec<u8> {
    let head = [("msg_type", 1), ("piece", piece), ("total_size", metadata.len())];
    let part = metadata.chunks(BLOCK as usize).nth(piece).expect("there is such a piece");
    [numbers(head), part.to_vec()].concat()
}

/// Their extension handshake: the number of `ut_metadata`, and the size they tell.
fn read_handshake(peer: &mut Peer) -> (u8, Option<usize>) {
    let (message, _) = peer.read_until(|m| matches!(m, Message::Extended(0, _)));
    let Message::Extended(_, payload) = message else { unreachable!() };
    let Value::Dict(dict) = Value::read(&payload) else { panic!("no dictionary") };
    let Value::Dict(m) = &dict[&b"m"[..]] else { panic!("no dictionary") };
    let Value::Int(number) = m[&b"ut_metadata"[..]] else { panic!("no number") };
    let size = dict.get(&b"metadata_size"[..]).map(|size| match size {
        Value::Int(size) => usize::try_from(*size).expect("a size"),
        _ => panic!("no number"),
    });
    (u8::try_from(number).expect("a number"), size)
}

/// The next message of `ut_metadata`.
fn read_metadata(peer: &mut Peer) -> Vec<u8> {
    match peer.read_until(|m| matches!(m, Message::Extended(OURS, _))).0 {
        Message::Extended(_, payload) => payload,
        _ => unreachable!(),
    }
}

fn link(content: &Content) -> String {
    let hex: String = content.info_hash().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("magnet:?xt=urn:btih:{hex}")
}

/// The program with a link, which has dialled us.
fn with_link(place: &Place, command: &[&str], content: &Content) -> (Program, Listener, Peer) {
    let listener = Listener::new();
    let (link, addr) = (link(content), listener.addr.to_string());
    let network = ["--peer", &addr, "--port", "0", "--no-ipv6", "--no-trackers"];
    let program = place.start(&[&[command[0], &link], &command[1..], &network].concat());
    let (peer, _) = listener.greet(&Hello::new(content, FAST_EXTENDED));
    (program, listener, peer)
}

/// Sends all of the metadata that is asked for.
fn serve(peer: &mut Peer, number: u8, metadata: &[u8]) {
    let mut wanted: Vec<Vec<u8>> =
        (0..metadata.len().div_ceil(BLOCK as usize)).map(request).collect();
    for piece in 0..wanted.len() {
        let asked = read_metadata(peer);
        assert!(wanted.contains(&asked), "{}", asked.escape_ascii());
        wanted.retain(|request| *request != asked);
        let Value::Dict(dict) = Value::read(&asked) else { panic!("no dictionary") };
        assert!(dict.len() == 2, "request {piece}");
        let Value::Int(piece) = dict[&b"piece"[..]] else { panic!("no number") };
        peer.send(Message::Extended(number, data(metadata, piece as usize)));
    }
}

/// "metadata_size: an integer value specifying the number of bytes of the metadata".
#[test]
fn who_has_the_metadata_tells_its_size() {
    let mut scene = Scene::seed(1, FAST_EXTENDED);
    let (number, size) = read_handshake(&mut scene.peer);
    assert_eq!(size, Some(scene.content.metadata().len()));
    assert_ne!(number, 0);
}

/// "The data message adds another entry to the dictionary, total_size … The metadata piece is appended
/// to the bencoded dictionary"; "a piece of the metadata is 16 KiB", the last one may be shorter.
#[test]
fn the_metadata_is_served_in_pieces() {
    let content = Content::new(1).ballast(40_000);
    let mut scene = Scene::seed_of(content, FAST_EXTENDED, &[]);
    let (number, _) = read_handshake(&mut scene.peer);
    scene.peer.send(handshake(None));
    let metadata = scene.content.metadata();
    for piece in [2, 0, 1] {
        scene.peer.send(Message::Extended(number, request(piece)));
        assert_eq!(read_metadata(&mut scene.peer), data(&metadata, piece));
    }
}

/// "If the peer does not have the piece of metadata, it MUST respond with a reject"; the same for who
/// asks again and again.
#[test]
fn what_is_not_there_or_was_asked_for_too_often_is_rejected() {
    let mut scene = Scene::seed(1, FAST_EXTENDED);
    let (number, _) = read_handshake(&mut scene.peer);
    scene.peer.send(handshake(None));
    scene.peer.send(Message::Extended(number, request(1)));
    assert_eq!(read_metadata(&mut scene.peer), reject(1));
    let mut last = Vec::new();
    for _ in 0..20 {
        scene.peer.send(Message::Extended(number, request(0)));
        last = read_metadata(&mut scene.peer);
    }
    assert_eq!(last, reject(0));
}

/// A message type that is not known is ignored.
#[test]
fn unknown_types_are_ignored() {
    let mut scene = Scene::seed(1, FAST_EXTENDED);
    let (number, _) = read_handshake(&mut scene.peer);
    scene.peer.send(handshake(None));
    scene.peer.send(Message::Extended(number, numbers([("msg_type", 9), ("piece", 0)])));
    scene.peer.send(Message::Extended(number, request(0)));
    assert_eq!(read_metadata(&mut scene.peer), data(&scene.content.metadata(), 0));
}

/// "The purpose of this extension is to allow clients to join a swarm and complete a download without
/// the need of downloading a .torrent file first."
#[test]
fn a_link_is_enough() {
    let (place, content) = (Place::new(), Content::new(2).ballast(40_000));
    let (program, _listener, mut peer) = with_link(&place, &["download", "-o", "out"], &content);
    let (number, size) = read_handshake(&mut peer);
    assert_eq!(size, None);
    let metadata = content.metadata();
    peer.send_all(&[Message::HaveAll, handshake(Some(metadata.len())), Message::Unchoke]);
    serve(&mut peer, number, &metadata);
    // It says how long it is, and has heard what we have.
    let (_, size) = read_handshake(&mut peer);
    assert_eq!(size, Some(metadata.len()));
    peer.expect(&Message::Interested);
    peer.serve(&content, &content.all_blocks());
    let (code, _) = program.end();
    assert_eq!(code, 0);
    assert_eq!(place.downloaded(&content), content.bytes);
}

/// The info dictionary is written byte for byte, with what we do not know of it.
#[test]
fn a_link_becomes_a_torrent_file() {
    for command in [&["magnet", "-o", "a.torrent"][..], &["download", "--metadata-only", "-o", "."]]
    {
        let (place, content) = (Place::new(), Content::new(1).ballast(20_000));
        let (program, _listener, mut peer) = with_link(&place, command, &content);
        let (number, _) = read_handshake(&mut peer);
        let metadata = content.metadata();
        peer.send_all(&[Message::HaveNone, handshake(Some(metadata.len()))]);
        serve(&mut peer, number, &metadata);
        let (code, said) = program.end();
        assert_eq!(code, 0, "{said:?}");
        let done = said.iter().find(|object| object["event"] == "done").expect("it is done");
        let path = done["path"].as_str().expect("a path");
        let wanted = Value::dict([("info", Value::read(&metadata))]).write();
        assert_eq!(fs::read(place.path(path)).expect("written"), wanted);
    }
}

/// A size that no torrent has is no size: nobody is asked for it.
#[test]
fn a_size_beyond_all_bounds_is_not_believed() {
    let (place, content) = (Place::new(), Content::new(1));
    let (program, _listener, mut peer) = with_link(&place, &["magnet"], &content);
    let (number, _) = read_handshake(&mut peer);
    let metadata = content.metadata();
    for size in [0, 1 << 30, 1 << 40, metadata.len()] {
        peer.send(handshake(Some(size)));
    }
    serve(&mut peer, number, &metadata);
    assert_eq!(program.end().0, 0);
}

/// Who sends something else than the info hash names is not asked again.
#[test]
fn metadata_that_does_not_match_ends_the_connection() {
    let (place, content) = (Place::new(), Content::new(1));
    let (mut program, _listener, mut peer) = with_link(&place, &["magnet"], &content);
    let (number, _) = read_handshake(&mut peer);
    let mut metadata = content.metadata();
    metadata[20] ^= 1;
    peer.send(handshake(Some(metadata.len())));
    serve(&mut peer, number, &metadata);
    peer.read_to_end();
    assert!(program.is_alive());
}

/// "--timeout": nobody has it.
#[test]
fn without_anybody_it_gives_up() {
    let (place, content) = (Place::new(), Content::new(1));
    let args = ["magnet", &link(&content), "--no-trackers", "--port", "0", "--timeout", "1s"];
    let (code, _) = place.start(&args).end();
    assert_eq!(code, 4);
}
