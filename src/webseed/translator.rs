//! Between a torrent and a web seed: the peer-wire protocol on one side, ranges of files on the other.
//!
//! What the torrent writes to a peer goes into [`Translator::take`]; the ranges to be asked for come out of
//! [`Translator::next_get`]; their bytes, one range after the other, go into [`Translator::read`], which gives
//! what the torrent reads from a peer: a handshake, `have all` or a bitfield, `unchoke`, and one `piece` or `reject`
//! for each request (BEP 6). Requests for neighbouring blocks make one range, up to the border of a file; what lies in
//! padding (BEP 47) is not asked for. A request that is cancelled before its bytes are there is answered by a
//! reject; when nobody wants anything any more of what is under way, that is given up.

use std::{collections::VecDeque, sync::Arc};

use crate::{
    base::{
        bitfield::Bitfield,
        hash::{Sha1Hash, sha1},
        id::PeerId,
        index::{Block, FileIndex, PieceIndex},
        limits::MAX_WEB_SEED_REQUESTS,
        slab::Chunk,
        units::BLOCK_LEN,
    },
    metainfo::Info,
    webseed::Failure,
    wire::{
        Decoded, Decoder, ExtensionHandshake, HANDSHAKE_LEN, Handshake, Message, Reserved, encode,
        encode::piece_header,
    },
};

/// Blocks of one range while few are asked for: 1 MiB, of which a round trip is a small part.
const RANGE_BLOCKS: usize = (1 << 20) / BLOCK_LEN as usize;
/// Blocks of one range at most; whoever asks for so much has a long way to go.
const MAX_RANGE_BLOCKS: usize = 4 * RANGE_BLOCKS;

/// A range of a file to be asked for. Not empty, and inside the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Get {
    /// The file.
    pub file: FileIndex,
    /// Its first byte, counted from the start of the file.
    pub offset: u64,
    /// Number of bytes.
    pub length: u64,
    /// Bytes of the whole file.
    pub file_length: u64,
}

/// A block on its way.
#[derive(Debug, Clone, Copy)]
struct Coming {
    block: Block,
    cancelled: bool,
}

/// A run of the bytes on their way: of a range, or padding.
#[derive(Debug, Clone, Copy)]
struct Part {
    padding: bool,
    left: u64,
}

/// How far the first block on its way has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Nothing of it was taken.
    Before,
    /// So many bytes are missing, and passed on.
    Inside(u32),
    /// So many bytes are missing, and thrown away.
    Skipping(u32),
}

/// One connection of a torrent with a web seed.
#[derive(Debug)]
pub struct Translator {
    info: Arc<Info>,
    id: PeerId,
    /// Pieces of which it has all files.
    has: Bitfield,
    /// The beginning of the torrent's handshake; `None` once it was there.
    hello: Option<Vec<u8>>,
    decoder: Decoder,
    /// Asked for and in no range yet, oldest first.
    queue: VecDeque<Block>,
    /// In ranges, in the order of their bytes.
    coming: VecDeque<Coming>,
    /// Those of them that are not cancelled.
    live: usize,
    /// What their bytes are made of.
    parts: VecDeque<Part>,
    /// Ranges that nobody has fetched yet.
    gets: VecDeque<Get>,
    place: Place,
    /// Goes to the torrent before anything else.
    now: VecDeque<u8>,
    /// Goes to the torrent between two blocks.
    soon: Vec<u8>,
    given_up: bool,
}

impl Translator {
    /// A connection with the web seed at `url`, of the torrent that is described by `info`, which `lacks` some of
    /// its files.
    pub fn new(info: Arc<Info>, url: &str, lacks: &[FileIndex]) -> Self {
        let mut has = Bitfield::full(info.geometry().pieces());
        lacks.iter().for_each(|&file| take_out(&info, file, &mut has));
        let mut id = *b"-WS0000-............";
        id[8..].copy_from_slice(&sha1(url.as_bytes()).0[..12]);
        let pieces = info.geometry().pieces();
        Translator {
            info,
            id: PeerId(id),
            has,
            hello: Some(Vec::with_capacity(HANDSHAKE_LEN)),
            decoder: Decoder::new(pieces.div_ceil(8)),
            queue: VecDeque::new(),
            coming: VecDeque::new(),
            live: 0,
            parts: VecDeque::new(),
            gets: VecDeque::new(),
            place: Place::Before,
            now: VecDeque::new(),
            soon: Vec::new(),
            given_up: false,
        }
    }

    /// Takes what the torrent says, in parts of any length.
    pub fn take(&mut self, mut bytes: &[u8]) {
        if let Some(hello) = &mut self.hello {
            let n = bytes.len().min(HANDSHAKE_LEN - hello.len());
            hello.extend_from_slice(&bytes[..n]);
            bytes = &bytes[n..];
            let Ok(whole) = hello.as_slice().try_into() else { return };
            let info_hash = Handshake::from_bytes(whole).ok().map(|hello| hello.info_hash);
            self.hello = None;
            self.greet(info_hash.unwrap_or_else(|| self.info.info_hash().wire()));
        }
        let mut decoder = std::mem::take(&mut self.decoder);
        let mut chunk = Chunk::Bytes(bytes);
        // What is no message ends it: a torrent says nothing else.
        while let Ok(Some(item)) = decoder.next(&mut chunk) {
            let Decoded::Message(message) = item else { continue };
            let geometry = self.info.geometry();
            match message {
                Message::Request { piece, begin, length } => {
                    if let Some(block) = geometry.own_block(piece, begin, length) {
                        self.queue.push_back(block);
                    }
                }
                Message::Cancel { piece, begin, length } => {
                    if let Some(block) = geometry.own_block(piece, begin, length) {
                        self.cancel(block);
                    }
                }
                _ => {}
            }
        }
        self.decoder = decoder;
    }

    fn greet(&mut self, info_hash: Sha1Hash) {
        let hello = Handshake { reserved: Reserved::ours(false), info_hash, peer_id: self.id };
        self.soon.extend_from_slice(&hello.to_bytes());
        let has = match self.has.is_full() {
            true => Message::HaveAll,
            false => Message::Bitfield(self.has.as_bytes()),
        };
        encode::encode(&has, &mut self.soon);
        let more = ExtensionHandshake {
            v: Some("web seed".to_owned()),
            reqq: Some(MAX_WEB_SEED_REQUESTS),
            ..ExtensionHandshake::default()
        };
        let payload = more.encode();
        encode::encode(&Message::Extended { id: 0, payload: &payload }, &mut self.soon);
        encode::encode(&Message::Unchoke, &mut self.soon);
    }

    /// What it means that `file` could not be had: that this file is not there, or is another one, if others may be.
    pub fn explain(&self, file: FileIndex, failure: Failure) -> Failure {
        let of_file = match failure {
            Failure::Status(status @ (403 | 404 | 410)) => Failure::NoFile { file, status },
            Failure::WrongLength => Failure::OtherFile { file },
            other => return other,
        };
        let mut others = self.has.clone();
        take_out(&self.info, file, &mut others);
        if others.is_empty() { failure } else { of_file }
    }

    fn cancel(&mut self, block: Block) {
        if let Some(at) = self.queue.iter().position(|&asked| asked == block) {
            self.queue.remove(at);
            return self.reject(block);
        }
        let begun = usize::from(self.place != Place::Before);
        let mut waiting = self.coming.iter_mut().skip(begun);
        if let Some(coming) = waiting.find(|c| c.block == block && !c.cancelled) {
            coming.cancelled = true;
            self.live -= 1;
        }
        self.give_up_in_vain();
    }

    /// Nobody wants what is on its way.
    fn give_up_in_vain(&mut self) {
        if self.live > 0 || self.coming.is_empty() || matches!(self.place, Place::Inside(_)) {
            return;
        }
        for coming in std::mem::take(&mut self.coming) {
            self.reject(coming.block);
        }
        self.place = Place::Before;
        self.parts.clear();
        self.gets.clear();
        self.given_up = true;
    }

    /// Whether all ranges were given up since this was asked last: what is fetched of them, and what of it was
    /// not taken, is of no use any more.
    pub fn take_given_up(&mut self) -> bool {
        std::mem::take(&mut self.given_up)
    }

    fn reject(&mut self, Block { piece, begin, length }: Block) {
        let reject = Message::RejectRequest { piece: piece.0, begin, length };
        encode::encode(&reject, &mut self.soon);
    }

    /// The next range to be fetched, if there is one. Its bytes are due after those of all ranges before it.
    pub fn next_get(&mut self) -> Option<Get> {
        while self.gets.is_empty() && self.is_next_due() {
            self.next_range();
        }
        self.gets.pop_front()
    }

    /// Beside what is on its way, another range is asked for when it is as long as what is left of that: so requests
    /// that come in small numbers make large ranges, and the next answer is there when the last one ends.
    fn is_next_due(&self) -> bool {
        !self.queue.is_empty() && self.queue.len() >= self.coming.len()
    }

    /// Takes the oldest request, and those for what follows its block.
    fn next_range(&mut self) {
        let geometry = self.info.geometry();
        let most = (self.queue.len() / 2).clamp(RANGE_BLOCKS, MAX_RANGE_BLOCKS);
        let Some(first) = self.queue.pop_front() else { return };
        let (start, mut end) = (geometry.offset(first), geometry.offset(first));
        let mut next = Some(first);
        let mut blocks = 0;
        while let Some(block) = next {
            self.coming.push_back(Coming { block, cancelled: false });
            self.live += 1;
            blocks += 1;
            end += u64::from(block.length);
            let follows = |&asked: &Block| geometry.offset(asked) == end;
            let at = if blocks < most { self.queue.iter().position(follows) } else { None };
            next = at.and_then(|at| self.queue.remove(at));
        }
        let layout = self.info.layout();
        for span in layout.spans(start, end - start) {
            let file = layout.file(span.file).expect("a span lies in a file");
            let padding = file.attributes.padding;
            self.parts.push_back(Part { padding, left: span.length });
            if !padding {
                let (offset, length) = (span.offset, span.length);
                self.gets.push_back(Get {
                    file: span.file,
                    offset,
                    length,
                    file_length: file.length,
                });
            }
        }
    }

    /// Fills `buf` with what the torrent is to read, as far as it goes with these bytes of the oldest range;
    /// what was used of them is taken off. Gives the number of bytes in `buf`; with 0 there is nothing to say
    /// before more bytes come. It takes no more than belong to the range.
    pub fn read(&mut self, body: &mut &[u8], buf: &mut [u8]) -> usize {
        let mut filled = 0;
        while filled < buf.len() {
            let room = &mut buf[filled..];
            if !self.now.is_empty() {
                filled += std::io::Read::read(&mut self.now, room).expect("memory can be read");
                continue;
            }
            if self.place == Place::Before {
                if !self.begin(body) {
                    break;
                }
                continue;
            }
            let n = self.pass(body, room);
            if n == 0 {
                break;
            }
            if !matches!(self.place, Place::Skipping(_)) {
                filled += n;
            }
            self.advance(n);
        }
        filled
    }

    /// Between two blocks: what comes next; false if that is nothing.
    fn begin(&mut self, body: &[u8]) -> bool {
        if !self.soon.is_empty() {
            self.now = std::mem::take(&mut self.soon).into();
            return true;
        }
        let (Some(&Coming { block, cancelled }), Some(part)) =
            (self.coming.front(), self.parts.front())
        else {
            return false;
        };
        if body.is_empty() && !part.padding {
            return false;
        }
        self.place = if cancelled {
            Place::Skipping(block.length)
        } else {
            self.now = piece_header(block.piece.0, block.begin, block.length).into();
            Place::Inside(block.length)
        };
        true
    }

    /// Moves what there is of the present block; the number of bytes.
    fn pass(&self, body: &mut &[u8], room: &mut [u8]) -> usize {
        let Some(part) = self.parts.front() else { return 0 };
        let (left, kept) = match self.place {
            Place::Inside(left) => (left as usize, Some(room)),
            Place::Skipping(left) => (left as usize, None),
            Place::Before => return 0,
        };
        let mut n = usize::try_from(part.left).map_or(left, |part| left.min(part));
        if !part.padding {
            n = n.min(body.len());
        }
        if let Some(room) = &kept {
            n = n.min(room.len());
        }
        match (kept, part.padding) {
            (Some(room), true) => room[..n].fill(0),
            (Some(room), false) => room[..n].copy_from_slice(&body[..n]),
            (None, _) => {}
        }
        if !part.padding {
            *body = &body[n..];
        }
        n
    }

    /// `n` bytes of the present block were moved.
    fn advance(&mut self, n: usize) {
        if let Some(part) = self.parts.front_mut() {
            part.left -= n as u64;
            if part.left == 0 {
                self.parts.pop_front();
            }
        }
        let (place, left) = match self.place {
            Place::Inside(left) => (Place::Inside(left - n as u32), left),
            Place::Skipping(left) => (Place::Skipping(left - n as u32), left),
            Place::Before => return,
        };
        self.place = place;
        if n < left as usize {
            return;
        }
        let skipped = matches!(place, Place::Skipping(_));
        self.place = Place::Before;
        if let Some(Coming { block, .. }) = self.coming.pop_front() {
            match skipped {
                true => self.reject(block),
                false => self.live -= 1,
            }
        }
        self.give_up_in_vain();
    }
}

/// Takes the pieces that `file` has a part in out of those that are had.
fn take_out(info: &Info, file: FileIndex, has: &mut Bitfield) {
    let Some(file) = info.layout().file(file).filter(|file| file.length > 0) else { return };
    let piece_length = u64::from(info.geometry().piece_length());
    let last = (file.offset + file.length - 1) / piece_length;
    for piece in file.offset / piece_length..=last {
        has.remove(PieceIndex(piece as u32));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::{bencode, metainfo::layout::Attributes};

    const PIECE: u32 = 48 << 10;

    /// A torrent of a folder with files of these lengths, some of them padding.
    fn torrent(files: &[(u64, bool)]) -> Arc<Info> {
        let total: u64 = files.iter().map(|(length, _)| length).sum();
        let bytes = bencode::write::dict(|info| {
            info.list("files", |list| {
                for (i, &(length, padding)) in files.iter().enumerate() {
                    list.dict(|file| {
                        if padding {
                            file.bytes("attr", "p");
                        }
                        file.int("length", length);
                        file.list("path", |path| path.bytes(i.to_string()));
                    });
                }
            });
            info.bytes("name", "t");
            info.int("piece length", PIECE);
            info.bytes("pieces", vec![0; total.div_ceil(PIECE.into()) as usize * 20]);
        });
        Arc::new(Info::from_bytes(&bytes).expect("valid"))
    }

    /// The byte of the content at `offset`.
    fn byte(info: &Info, offset: u64) -> u8 {
        let layout = info.layout();
        let file = layout.file_at(offset).and_then(|file| layout.file(file)).expect("inside");
        match file.attributes {
            Attributes { padding: true, .. } => 0,
            _ => (offset.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8,
        }
    }

    /// A torrent, a translator and a server, and what passed between them.
    struct Scene {
        info: Arc<Info>,
        translator: Translator,
        /// Of ranges under way.
        body: VecDeque<u8>,
        gets: Vec<Get>,
        decoder: Decoder,
        greeting: Vec<u8>,
        /// Asked for and not answered, with how often.
        asked: Vec<Block>,
        cancelled: BTreeSet<Block>,
        arriving: Option<(Block, Vec<u8>)>,
        got: Vec<Block>,
        rejected: Vec<Block>,
    }

    impl Scene {
        fn new(files: &[(u64, bool)]) -> Self {
            Scene::lacking(files, &[])
        }

        fn lacking(files: &[(u64, bool)], lacks: &[FileIndex]) -> Self {
            let info = torrent(files);
            let mut scene = Scene {
                translator: Translator::new(info.clone(), "http://w.example/", lacks),
                body: VecDeque::new(),
                gets: Vec::new(),
                decoder: Decoder::new(info.geometry().pieces().div_ceil(8)),
                greeting: Vec::new(),
                asked: Vec::new(),
                cancelled: BTreeSet::new(),
                arriving: None,
                got: Vec::new(),
                rejected: Vec::new(),
                info,
            };
            let hello = Handshake {
                reserved: Reserved::ours(false),
                info_hash: Sha1Hash([7; 20]),
                peer_id: PeerId([1; 20]),
            };
            let bytes = hello.to_bytes();
            scene.translator.take(&bytes[..30]);
            assert_eq!(
                scene.translator.read(&mut &[][..], &mut [0; 9]),
                0,
                "nothing is known of whom"
            );
            scene.translator.take(&bytes[30..]);
            scene
        }

        fn blocks(&self) -> Vec<Block> {
            let geometry = self.info.geometry();
            let of =
                |piece| (0..geometry.blocks_in(piece)).map(move |i| geometry.block_at(piece, i));
            geometry.indices().flat_map(of).collect()
        }

        fn request(&mut self, block: Block) {
            if self.asked.contains(&block) {
                return;
            }
            let mut bytes = Vec::new();
            encode::requests([block], &mut bytes);
            self.translator.take(&bytes[..5]);
            self.translator.take(&bytes[5..]);
            self.asked.push(block);
        }

        fn cancel(&mut self, block: Block) {
            let Block { piece, begin, length } = block;
            let mut bytes = Vec::new();
            encode::encode(&Message::Cancel { piece: piece.0, begin, length }, &mut bytes);
            self.translator.take(&bytes);
            if self.asked.contains(&block) {
                self.cancelled.insert(block);
            }
        }

        /// Has the next range fetched.
        fn get(&mut self) -> bool {
            self.see_given_up();
            let Some(get) = self.translator.next_get() else { return false };
            let file = self.info.layout().file(get.file).expect("a file");
            assert!(!file.attributes.padding && get.length > 0, "{get:?}");
            assert_eq!(get.file_length, file.length);
            assert!(get.offset + get.length <= file.length, "{get:?}");
            let from = file.offset + get.offset;
            self.body.extend((from..from + get.length).map(|offset| byte(&self.info, offset)));
            self.gets.push(get);
            true
        }

        fn see_given_up(&mut self) {
            if self.translator.take_given_up() {
                self.body.clear();
            }
        }

        /// Lets up to `body` bytes in and reads up to `room` bytes; whether anything moved.
        fn pass(&mut self, body: usize, room: usize) -> bool {
            self.see_given_up();
            let bytes = self.body.make_contiguous();
            let given = &bytes[..body.min(bytes.len())];
            let mut rest = given;
            let mut buf = vec![0; room];
            let n = self.translator.read(&mut rest, &mut buf);
            let used = given.len() - rest.len();
            self.body.drain(..used);
            self.hear(&buf[..n]);
            n + used > 0
        }

        fn hear(&mut self, mut bytes: &[u8]) {
            if self.greeting.len() < HANDSHAKE_LEN {
                let n = bytes.len().min(HANDSHAKE_LEN - self.greeting.len());
                self.greeting.extend_from_slice(&bytes[..n]);
                bytes = &bytes[n..];
            }
            let geometry = self.info.geometry();
            let mut decoder = std::mem::take(&mut self.decoder);
            let mut chunk = Chunk::Bytes(bytes);
            while let Some(item) = decoder.next(&mut chunk).expect("what a peer may say") {
                match item {
                    Decoded::PieceStart { piece, begin, length } => {
                        let block = geometry.own_block(piece, begin, length).expect("one of ours");
                        self.answered(block);
                        self.arriving = Some((block, Vec::new()));
                    }
                    Decoded::PieceData(Chunk::Bytes(data)) => {
                        self.arriving.as_mut().expect("begun").1.extend_from_slice(data);
                    }
                    Decoded::PieceEnd => {
                        let (block, data) = self.arriving.take().expect("begun");
                        let from = geometry.offset(block);
                        let want = (from..).map(|offset| byte(&self.info, offset));
                        assert!(data.iter().copied().eq(want.take(block.length as usize)));
                        self.got.push(block);
                    }
                    Decoded::Message(Message::RejectRequest { piece, begin, length }) => {
                        let block = geometry.own_block(piece, begin, length).expect("one of ours");
                        self.answered(block);
                        assert!(self.cancelled.remove(&block), "{block:?} is wanted");
                        self.rejected.push(block);
                    }
                    Decoded::Message(_) => {}
                    Decoded::PieceData(Chunk::Phantom { .. }) => unreachable!("real bytes"),
                }
            }
            self.decoder = decoder;
        }

        fn answered(&mut self, block: Block) {
            let at = self.asked.iter().position(|&asked| asked == block);
            self.asked.remove(at.unwrap_or_else(|| panic!("{block:?} was answered twice")));
        }

        /// Goes on until nothing moves.
        fn finish(&mut self) {
            loop {
                let got = self.get();
                if !self.pass(usize::MAX, 1 << 16) && !got {
                    return;
                }
            }
        }
    }

    fn block(scene: &Scene, piece: u32, index: u32) -> Block {
        scene.info.geometry().block_at(PieceIndex(piece), index)
    }

    #[test]
    fn it_says_what_a_seed_says() {
        let mut scene = Scene::new(&[(100_000, false)]);
        let mut buf = [0; 400];
        let n = scene.translator.read(&mut &[][..], &mut buf);
        let hello = Handshake::from_bytes(buf[..68].try_into().expect("68 bytes")).expect("one");
        assert_eq!(hello.info_hash, Sha1Hash([7; 20]));
        assert!(hello.reserved.fast() && hello.reserved.extended() && !hello.reserved.dht());
        let (mut decoder, mut chunk) = (Decoder::new(1), Chunk::Bytes(&buf[68..n]));
        let mut said = Vec::new();
        while let Some(Decoded::Message(message)) = decoder.next(&mut chunk).expect("messages") {
            match message {
                Message::Extended { payload, .. } => {
                    let more = ExtensionHandshake::decode(payload).expect("one");
                    assert_eq!(more.reqq, Some(MAX_WEB_SEED_REQUESTS));
                }
                other => said.push(format!("{other:?}")),
            }
        }
        assert_eq!(said, ["HaveAll", "Unchoke"]);
    }

    /// Pieces of 48 KiB: the second file has a part in the first two, the third ends the second one.
    #[test]
    fn a_file_that_is_not_there_is_not_offered() {
        let files = [(20_000, false), (40_000, false), (38_304, false), (90_000, false)];
        let missing =
            |scene: &Scene, file| scene.translator.explain(FileIndex(file), Failure::Status(404));
        let no_file = |file| Failure::NoFile { file: FileIndex(file), status: 404 };
        let mut scene = Scene::lacking(&files, &[FileIndex(1)]);
        let mut buf = [0; 400];
        let n = scene.translator.read(&mut &[][..], &mut buf);
        let said = &buf[HANDSHAKE_LEN..n];
        assert_eq!(said[..6], [0, 0, 0, 2, 5, 0b0011_0000]);
        assert_eq!(missing(&scene, 0), no_file(0));
        assert_eq!(missing(&scene, 3), Failure::Status(404), "nothing is left");
        let all = Scene::new(&files);
        assert_eq!(missing(&all, 3), no_file(3));
        let grown = |scene: &Scene| scene.translator.explain(FileIndex(3), Failure::WrongLength);
        assert_eq!(grown(&all), Failure::OtherFile { file: FileIndex(3) });
        assert_eq!(grown(&scene), Failure::WrongLength, "nothing is left");
        let others = [Failure::Status(500), Failure::Status(416), Failure::TimedOut];
        for other in others {
            assert_eq!(all.translator.explain(FileIndex(1), other), other);
        }
    }

    #[test]
    fn neighbours_make_one_range_for_each_file() {
        // 3 pieces of 48 KiB: the first file ends inside the first one, padding fills it.
        let files = [(20_000, false), (29_152, true), (70_000, false), (0, false), (28_304, false)];
        let mut scene = Scene::new(&files);
        let all = scene.blocks();
        // The order is that of the first one asked for, and what follows it, as far as it is asked for.
        for &block in &[&all[4..], &all[..4]].concat() {
            scene.request(block);
        }
        scene.finish();
        assert_eq!(scene.got.len(), all.len());
        let get = |file, offset, length, file_length| Get {
            file: FileIndex(file),
            offset,
            length,
            file_length,
        };
        let second = u64::from(BLOCK_LEN);
        assert_eq!(
            scene.gets,
            [
                get(2, second, 70_000 - second, 70_000),
                get(4, 0, 28_304, 28_304),
                get(0, 0, 20_000, 20_000),
                get(2, 0, second, 70_000),
            ]
        );
    }

    #[test]
    fn a_range_has_an_end() {
        let mut scene = Scene::new(&[(64 << 20, false)]);
        let all = scene.blocks();
        all[..192].iter().for_each(|&block| scene.request(block));
        assert!(scene.get() && scene.get());
        assert!(!scene.get(), "so little is not worth a round trip");
        scene.finish();
        let lengths: Vec<u64> = scene.gets.iter().map(|get| get.length >> 10).collect();
        assert_eq!(lengths, [96 << 4, 64 << 4, 32 << 4]);
        let mut scene = Scene::new(&[(64 << 20, false)]);
        all[..2000].iter().for_each(|&block| scene.request(block));
        assert!(scene.get());
        assert_eq!(scene.gets[0].length, 4 << 20);
    }

    #[test]
    fn what_is_cancelled_before_it_comes_is_rejected() {
        let mut scene = Scene::new(&[(1 << 20, false)]);
        let wanted: Vec<Block> = (0..3).map(|i| block(&scene, 0, i)).collect();
        wanted.iter().for_each(|&block| scene.request(block));
        assert!(scene.get());
        // The first block has begun, the second is on its way, another one waits.
        assert!(scene.pass(100, 400));
        scene.request(block(&scene, 5, 0));
        for block in [wanted[0], wanted[1], block(&scene, 5, 0)] {
            scene.cancel(block);
        }
        scene.finish();
        assert_eq!(scene.got, [wanted[0], wanted[2]]);
        assert_eq!(scene.rejected, [block(&scene, 5, 0), wanted[1]]);
        assert_eq!(scene.gets.len(), 1);
    }

    #[test]
    fn a_range_that_nobody_wants_is_given_up() {
        let mut scene = Scene::new(&[(1 << 20, false)]);
        let wanted: Vec<Block> = (0..3).map(|i| block(&scene, 0, i)).collect();
        wanted.iter().for_each(|&block| scene.request(block));
        assert!(scene.get() && scene.pass(100, 400));
        wanted.iter().for_each(|&block| scene.cancel(block));
        assert!(!scene.translator.take_given_up(), "the first block has begun");
        let begun = scene.body.len();
        assert!(scene.pass(16_384 - 100, 1 << 16));
        assert!(scene.translator.take_given_up());
        assert_eq!(scene.body.len(), begun - (16_384 - 100));
        scene.body.clear();
        scene.request(wanted[2]);
        scene.finish();
        assert_eq!(scene.got, [wanted[0], wanted[2]]);
        assert_eq!(scene.rejected, [wanted[1], wanted[2]]);
    }

    #[derive(Debug, Clone)]
    enum Step {
        Request(usize),
        Cancel(usize),
        Get,
        Pass(usize, usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (0usize..64).prop_map(Step::Request),
            1 => (0usize..64).prop_map(Step::Cancel),
            2 => Just(Step::Get),
            3 => (0usize..40_000, 1usize..40_000).prop_map(|(body, room)| Step::Pass(body, room)),
        ]
    }

    proptest! {
        /// Each request has exactly one answer: its bytes, or a reject if it was cancelled.
        #[test]
        fn every_request_is_answered_once_and_rightly(
            files in prop::collection::vec((0u64..90_000, prop::bool::weighted(0.2)), 1..8),
            steps in prop::collection::vec(step(), 0..80),
        ) {
            prop_assume!(files.iter().any(|(length, _)| *length > 0));
            let mut scene = Scene::new(&files);
            let all = scene.blocks();
            for step in steps {
                match step {
                    Step::Request(i) => scene.request(all[i % all.len()]),
                    Step::Cancel(i) => scene.cancel(all[i % all.len()]),
                    Step::Get => drop(scene.get()),
                    Step::Pass(body, room) => drop(scene.pass(body, room)),
                }
            }
            scene.finish();
            prop_assert!(scene.asked.is_empty(), "{:?} were not answered", scene.asked);
            prop_assert!(scene.arriving.is_none() && scene.body.is_empty());
        }
    }
}
