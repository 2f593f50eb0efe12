//! Web seeds: whatever a torrent calls one leads to HTTP or nowhere, whatever a server says in a head is judged
//! so that no byte is taken for another, and whatever is asked and cancelled, and however the bytes come in
//! parts, each request has exactly one answer.

#![no_main]

use std::{collections::VecDeque, sync::Arc};

use downpour::{
    base::{
        geometry::Geometry,
        hash::Sha1Hash,
        index::{Block, FileIndex},
        slab::Chunk,
    },
    metainfo::{
        Info,
        build::{Builder, NewFile},
    },
    webseed::{
        Get, Site, Translator,
        reply::{Head, judge},
    },
    wire::{Decoded, Decoder, HANDSHAKE_LEN, Message, encode},
};
use libfuzzer_sys::fuzz_target;

const PIECE: u32 = 32 << 10;

fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    addresses(&text);
    heads(&text);
    let Some((lengths, steps)) = data.split_at_checked(3) else { return };
    Scene::new(info(lengths)).play(steps);
});

fn info(lengths: &[u8]) -> Arc<Info> {
    let length = |n: u8| u64::from(n) * 700 + 1;
    let file = |(i, &n): (usize, &u8)| NewFile { path: vec![i.to_string()], length: length(n) };
    let files = lengths.iter().enumerate().map(file).collect();
    let builder = Builder::folder("t", files, Some(PIECE)).expect("plain names");
    let hashes = vec![Sha1Hash([0; 20]); builder.geometry().pieces() as usize];
    builder.build(&hashes).expect("as many as there are pieces").info
}

fn addresses(text: &str) {
    let info = info(&[1, 2]);
    for base in text.lines().take(4) {
        let site = Site::new(base.into(), info.clone());
        if let Some(url) = site.url_of(FileIndex(1)) {
            assert!(matches!(url.scheme(), "http" | "https") && url.has_host());
        }
        assert!(site.url_of(FileIndex(2)).is_none());
    }
}

fn heads(text: &str) {
    let mut lines = text.lines();
    let status = lines.next().and_then(|line| line.parse().ok()).unwrap_or(206);
    let content_length = lines.next().and_then(|line| line.parse().ok());
    let (content_range, content_encoding) = (lines.next(), lines.next());
    let retry_after = lines.next();
    let head = Head { status, content_range, content_length, content_encoding, retry_after };
    let get = Get { file: FileIndex(0), offset: 100, length: 50, file_length: 1000 };
    match judge(head, &get) {
        Ok(0) => assert_eq!(status, 206),
        Ok(skip) => assert_eq!((status, skip), (200, get.offset)),
        Err(failure) => assert!(!(failure.is_final() && failure.wait().is_some())),
    }
}

/// The byte of the content at `offset`.
fn byte(offset: u64) -> u8 {
    (offset % 251) as u8
}

/// A torrent and a server with a translator between them.
struct Scene {
    info: Arc<Info>,
    geometry: Geometry,
    translator: Translator,
    body: VecDeque<u8>,
    said: Vec<u8>,
    asked: Vec<Block>,
    cancelled: Vec<Block>,
}

impl Scene {
    fn new(info: Arc<Info>) -> Self {
        let mut translator = Translator::new(info.clone(), "http://w/", &[]);
        translator.take(&[0; HANDSHAKE_LEN]);
        let (said, asked) = (Vec::new(), Vec::new());
        let (geometry, body, cancelled) = (info.geometry(), VecDeque::new(), Vec::new());
        Scene { info, geometry, translator, body, said, asked, cancelled }
    }

    fn play(mut self, steps: &[u8]) {
        for step in steps.chunks_exact(2).take(200) {
            let n = usize::from(step[1]);
            match step[0] % 4 {
                0 => self.request(n),
                1 => self.cancel(n),
                2 => drop(self.get()),
                _ => drop(self.pass(n * 200, 1 + n * 100)),
            }
        }
        loop {
            let got = self.get();
            if !self.pass(usize::MAX, 1 << 14) && !got {
                break;
            }
        }
        self.check();
    }

    fn block(&self, n: usize) -> Block {
        let piece = self.geometry.piece(n as u32 % self.geometry.pieces()).expect("in range");
        self.geometry.block_at(piece, n as u32 / 128 % self.geometry.blocks_in(piece))
    }

    fn request(&mut self, n: usize) {
        let block = self.block(n);
        if self.asked.contains(&block) {
            return;
        }
        self.asked.push(block);
        let mut bytes = Vec::new();
        encode::requests([block], &mut bytes);
        self.translator.take(&bytes);
    }

    fn cancel(&mut self, n: usize) {
        let Block { piece, begin, length } = self.block(n);
        let mut bytes = Vec::new();
        encode::encode(&Message::Cancel { piece: piece.0, begin, length }, &mut bytes);
        self.translator.take(&bytes);
        self.cancelled.push(self.block(n));
    }

    fn get(&mut self) -> bool {
        self.see_given_up();
        let Some(get) = self.translator.next_get() else { return false };
        let file = self.info.layout().file(get.file).expect("a file");
        assert!(get.length > 0 && get.offset + get.length <= file.length);
        let from = file.offset + get.offset;
        self.body.extend((from..from + get.length).map(byte));
        true
    }

    fn see_given_up(&mut self) {
        if self.translator.take_given_up() {
            self.body.clear();
        }
    }

    fn pass(&mut self, body: usize, room: usize) -> bool {
        self.see_given_up();
        let bytes = self.body.make_contiguous();
        let given = &bytes[..body.min(bytes.len())];
        let (mut rest, mut buf) = (given, vec![0; room]);
        let n = self.translator.read(&mut rest, &mut buf);
        let used = given.len() - rest.len();
        self.body.drain(..used);
        self.said.extend_from_slice(&buf[..n]);
        n + used > 0
    }

    /// What was said: a handshake, then for each request one answer.
    fn check(mut self) {
        let mut decoder = Decoder::new(self.geometry.pieces().div_ceil(8));
        let mut chunk = Chunk::Bytes(&self.said[HANDSHAKE_LEN..]);
        let mut arriving = None;
        while let Some(item) = decoder.next(&mut chunk).expect("what a peer may say") {
            let (piece, begin, length) = match item {
                Decoded::PieceStart { piece, begin, length } => {
                    let block = self.geometry.own_block(piece, begin, length).expect("one of ours");
                    arriving = Some(self.geometry.offset(block));
                    (piece, begin, length)
                }
                Decoded::PieceData(Chunk::Bytes(data)) => {
                    let from = arriving.expect("a block has begun");
                    let end = from + data.len() as u64;
                    assert!(data.iter().copied().eq((from..end).map(byte)));
                    arriving = Some(end);
                    continue;
                }
                Decoded::Message(Message::RejectRequest { piece, begin, length }) => {
                    let block = self.geometry.own_block(piece, begin, length).expect("one of ours");
                    assert!(self.cancelled.contains(&block));
                    (piece, begin, length)
                }
                _ => continue,
            };
            let block = self.geometry.own_block(piece, begin, length).expect("one of ours");
            let at = self.asked.iter().position(|&asked| asked == block);
            self.asked.remove(at.expect("asked for, and answered once"));
        }
        assert!(self.asked.is_empty() && self.body.is_empty());
    }
}
