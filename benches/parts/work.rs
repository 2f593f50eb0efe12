//! Fixed work for the parts that have no benchmark of their own: the scanner, the layout of files, the
//! announce codec. The same bytes every time.

use std::hint::black_box;

use downpour::{
    base::{hash::Sha1Hash, id::PeerId},
    bencode::{Limits, Value},
    metainfo::{
        Info,
        build::{Builder, NewFile},
    },
    tracker::{
        announce::{AnnounceRequest, Crypto, Event, Families},
        http::{announce_url, parse_reply},
        udp::{Request, Response},
    },
};

/// Files of the large torrent: 30 KB each, as photographs in a folder tree.
pub(crate) const FILES: u32 = 20_000;
const PIECE_LENGTH: u32 = 256 << 10;
/// Peers in a reply.
pub(crate) const PEERS: usize = 50;

/// A torrent of very many files.
pub(crate) fn many_files() -> Info {
    let file = |i: u32| NewFile {
        path: vec![format!("folder {:03}", i / 100), format!("picture {i:05}.jpeg")],
        length: 20_000 + u64::from(i * 7_919 % 20_000),
    };
    let files = (0..FILES).map(file).collect();
    let builder = Builder::folder("pictures", files, Some(PIECE_LENGTH)).expect("valid");
    let hashes = vec![Sha1Hash([7; 20]); builder.geometry().pieces() as usize];
    let metainfo = builder.build(&hashes).expect("valid");
    Info::from_bytes(metainfo.info.bytes()).expect("valid")
}

/// Scans its info dictionary; gives the bytes.
pub(crate) fn scan(info: &Info) -> usize {
    let value = Value::scan(black_box(info.bytes()), Limits::INFO).expect("valid");
    black_box(value).raw().len()
}

/// Looks up where every piece lies; gives the number of pieces.
pub(crate) fn look_up(info: &Info) -> u32 {
    let geometry = info.geometry();
    for piece in geometry.indices() {
        let (offset, length) = (geometry.piece_offset(piece), geometry.piece_len(piece));
        for span in info.layout().spans(black_box(offset), length.into()) {
            black_box(span);
        }
    }
    geometry.pieces()
}

/// Announces as bytes, and the replies to them.
pub(crate) struct Announces {
    request: AnnounceRequest,
    reply: Vec<u8>,
    datagram: Vec<u8>,
}

impl Announces {
    pub(crate) fn new() -> Self {
        let request = AnnounceRequest {
            info_hash: Sha1Hash([0xa7; 20]),
            peer_id: PeerId(*b"-DP0100-abcdefghijkl"),
            port: 6881,
            uploaded: 1 << 40,
            downloaded: 1 << 30,
            left: 0,
            event: Event::Started,
            numwant: PEERS as u32,
            key: 7,
            tracker_id: None,
            crypto: Crypto::default(),
            families: Families::Any,
        };
        let peers: Vec<u8> = (0..PEERS as u8).flat_map(|i| [10, 1, 2, i, 26, 225]).collect();
        let head =
            format!("d8:completei10e10:incompletei40e8:intervali1800e5:peers{}:", peers.len());
        let reply = [head.as_bytes(), &peers, b"e"].concat();
        let numbers = [1u32, 2, 1800, 40, 10].map(u32::to_be_bytes).concat();
        let datagram = [numbers, peers].concat();
        Announces { request, reply, datagram }
    }

    /// One over HTTP and one over UDP.
    pub(crate) fn both(&self) {
        let url = announce_url("http://tracker.example/announce", black_box(&self.request));
        black_box(url.expect("valid"));
        black_box(parse_reply(black_box(&self.reply)).expect("valid"));
        let (request, url_data) = (self.request.clone(), Vec::new());
        black_box(Request::Announce { connection: 9, request, url_data }.encode(3));
        let response = Response::decode(black_box(&self.datagram), false);
        black_box(response.expect("valid"));
    }
}
