//! The peer wire as the simulator sees it: enough to watch a stream and to let rogues speak.
//!
//! Written apart from `wire` on purpose, so that the observer does not share a mistake with what it
//! observes. Bodies of bitfields and extension messages are skipped, but for requests for metadata. BEP 3,
//! BEP 6, BEP 9, BEP 10.

use crate::base::{hash::Sha1Hash, slab::Chunk};

/// Length of the handshake that opens each stream.
const HANDSHAKE_LEN: usize = 68;
/// Bytes of the handshake up to the end of the reserved bytes.
const RESERVED_END: usize = 28;
/// A request for metadata around the number of its part.
const METADATA_REQUEST: [&[u8]; 2] = [b"d8:msg_typei0e5:piecei", b"ee"];
/// Bytes of a message that are kept: a request for metadata of a part below 10,000.
const HEAD: usize = 34;

/// What a `request`, `piece`, `cancel` or `reject` names. Not checked against anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// The piece.
    pub piece: u32,
    /// First byte within the piece.
    pub begin: u32,
    /// Number of bytes.
    pub length: u32,
}

/// One message, without the body where that is long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frame {
    /// The first 68 bytes, with the reserved ones.
    Handshake([u8; 8]),
    /// A message of no length.
    KeepAlive,
    /// `choke`
    Choke,
    /// `unchoke`
    Unchoke,
    /// `interested`
    Interested,
    /// `not interested`
    NotInterested,
    /// `have`
    Have(u32),
    /// `bitfield`
    Bitfield,
    /// `request`
    Request(Span),
    /// `piece`, seen when all of its payload has passed.
    Piece(Span),
    /// `cancel`
    Cancel(Span),
    /// `have all`
    HaveAll,
    /// `have none`
    HaveNone,
    /// `reject request`
    Reject(Span),
    /// An extension message.
    Extended,
    /// A request for a part of the metadata, under any number.
    MetadataRequest(u32),
    /// Another message, by its id.
    Other(u8),
}

/// Splits one direction of a connection into messages, whatever the units it comes in.
#[derive(Debug)]
pub struct Frames {
    head: [u8; HEAD],
    filled: usize,
    skip: usize,
    open: bool,
    pending: Option<Frame>,
}

impl Default for Frames {
    fn default() -> Self {
        Frames { head: [0; HEAD], filled: 0, skip: 0, open: false, pending: None }
    }
}

impl Frames {
    /// Takes what comes next and shows every message that it ends.
    pub fn feed(&mut self, chunk: Chunk<'_>, see: &mut impl FnMut(Frame)) {
        let mut bytes = match chunk {
            Chunk::Bytes(b) => b,
            Chunk::Phantom { length, .. } => {
                debug_assert!(length as usize <= self.skip, "phantom bytes outside a payload");
                return self.pass(length as usize, see);
            }
        };
        loop {
            if self.skip > 0 {
                let n = self.skip.min(bytes.len());
                self.pass(n, see);
                bytes = &bytes[n..];
            }
            let want = self.head_len();
            let n = (want - self.filled).min(bytes.len());
            if n == 0 {
                return;
            }
            self.head[self.filled..self.filled + n].copy_from_slice(&bytes[..n]);
            self.filled += n;
            bytes = &bytes[n..];
            if self.filled == self.head_len() {
                self.head_done(see);
            }
        }
    }

    fn pass(&mut self, n: usize, see: &mut impl FnMut(Frame)) {
        self.skip -= n.min(self.skip);
        if self.skip == 0
            && let Some(frame) = self.pending.take()
        {
            see(frame);
        }
    }

    fn word(&self, at: usize) -> u32 {
        u32::from_be_bytes([self.head[at], self.head[at + 1], self.head[at + 2], self.head[at + 3]])
    }

    /// Bytes of head that the next decision needs.
    fn head_len(&self) -> usize {
        if !self.open {
            return RESERVED_END;
        }
        if self.filled < 4 {
            return 4;
        }
        let length = self.word(0) as usize;
        if length == 0 || self.filled < 5 {
            return 4 + length.min(1);
        }
        let fixed = match self.head[4] {
            4 | 13 | 17 => 5,
            6 | 8 | 16 => 13,
            7 => 9,
            20 => HEAD - 4,
            _ => 1,
        };
        4 + length.min(fixed)
    }

    fn head_done(&mut self, see: &mut impl FnMut(Frame)) {
        if !self.open {
            let mut reserved = [0; 8];
            reserved.copy_from_slice(&self.head[20..28]);
            self.open = true;
            self.skip = HANDSHAKE_LEN - RESERVED_END;
            self.pending = Some(Frame::Handshake(reserved));
            self.filled = 0;
            return;
        }
        let length = self.word(0) as usize;
        let body = self.filled - 4;
        self.skip = length - body;
        let frame = self.frame(length);
        self.filled = 0;
        if self.skip == 0 {
            see(frame);
        } else {
            self.pending = Some(frame);
        }
    }

    fn frame(&self, length: usize) -> Frame {
        let span = || Span { piece: self.word(5), begin: self.word(9), length: self.word(13) };
        match (length, self.head[4]) {
            (0, _) => Frame::KeepAlive,
            (1, 0) => Frame::Choke,
            (1, 1) => Frame::Unchoke,
            (1, 2) => Frame::Interested,
            (1, 3) => Frame::NotInterested,
            (5, 4) => Frame::Have(self.word(5)),
            (_, 5) => Frame::Bitfield,
            (13, 6) => Frame::Request(span()),
            (9.., 7) => Frame::Piece(Span {
                piece: self.word(5),
                begin: self.word(9),
                length: (length - 9) as u32,
            }),
            (13, 8) => Frame::Cancel(span()),
            (1, 14) => Frame::HaveAll,
            (1, 15) => Frame::HaveNone,
            (13, 16) => Frame::Reject(span()),
            (_, 20) => {
                self.metadata_request(length).map_or(Frame::Extended, Frame::MetadataRequest)
            }
            (_, id) => Frame::Other(id),
        }
    }

    /// The part that an extension message asks for, if that is what it does.
    fn metadata_request(&self, length: usize) -> Option<u32> {
        let [start, end] = METADATA_REQUEST;
        let said = self.head.get(6..4 + length)?.strip_prefix(start)?.strip_suffix(end)?;
        std::str::from_utf8(said).ok()?.parse().ok()
    }
}

/// A message of `ut_metadata` (BEP 9): a part of it to a peer that takes it under `id`, or a refusal.
pub fn metadata(id: u8, part: u32, total: u32, bytes: Option<&[u8]>) -> Vec<u8> {
    let mut body = vec![id];
    match bytes {
        Some(bytes) => {
            let head = format!("d8:msg_typei1e5:piecei{part}e10:total_sizei{total}ee");
            body.extend_from_slice(head.as_bytes());
            body.extend_from_slice(bytes);
        }
        None => body.extend_from_slice(format!("d8:msg_typei2e5:piecei{part}ee").as_bytes()),
    }
    with_body(20, &body)
}

/// A handshake that offers the fast extension (BEP 6) and extension messages (BEP 10), or neither.
pub fn handshake(info_hash: Sha1Hash, peer_id: [u8; 20], extensions: bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(HANDSHAKE_LEN);
    out.extend_from_slice(b"\x13BitTorrent protocol");
    out.extend_from_slice(&if extensions { [0, 0, 0, 0, 0, 0x10, 0, 0x04] } else { [0; 8] });
    out.extend_from_slice(&info_hash.0);
    out.extend_from_slice(&peer_id);
    out
}

/// A message that is only an id.
pub fn simple(id: u8) -> Vec<u8> {
    vec![0, 0, 0, 1, id]
}

/// A message of an id and 32-bit numbers: `have`, `request`, `cancel`, `reject`.
pub fn numbers(id: u8, values: &[u32]) -> Vec<u8> {
    let mut out = with_length(id, values.len() as u32 * 4);
    values.iter().for_each(|v| out.extend_from_slice(&v.to_be_bytes()));
    out
}

/// A message of an id and a body: `bitfield`, an extension message.
pub fn with_body(id: u8, body: &[u8]) -> Vec<u8> {
    let mut out = with_length(id, body.len() as u32);
    out.extend_from_slice(body);
    out
}

/// The head of a `piece` message whose payload follows.
pub fn piece_header(span: Span) -> [u8; 13] {
    let mut out = [0; 13];
    out[..4].copy_from_slice(&(9 + span.length).to_be_bytes());
    out[4] = 7;
    out[5..9].copy_from_slice(&span.piece.to_be_bytes());
    out[9..].copy_from_slice(&span.begin.to_be_bytes());
    out
}

fn with_length(id: u8, body: u32) -> Vec<u8> {
    let mut out = Vec::with_capacity(body as usize + 5);
    out.extend_from_slice(&(body + 1).to_be_bytes());
    out.push(id);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sample() -> (Vec<u8>, Vec<Frame>) {
        let span = Span { piece: 7, begin: 16_384, length: 20 };
        let mut bytes = handshake(Sha1Hash([9; 20]), [1; 20], true);
        let mut add = |b: Vec<u8>| bytes.extend_from_slice(&b);
        add(vec![0; 4]);
        add(simple(1));
        add(with_body(5, &[0xff; 40]));
        add(numbers(4, &[300]));
        add(numbers(6, &[7, 16_384, 20]));
        add(piece_header(span).to_vec());
        add(vec![5; 20]);
        add(numbers(8, &[7, 16_384, 20]));
        add(numbers(16, &[7, 16_384, 20]));
        add(with_body(20, b"\0d4:reqqi250ee"));
        add(with_body(20, b"\x02d8:msg_typei0e5:piecei7ee"));
        add(metadata(2, 0, 5, Some(b"whole")));
        add(simple(14));
        add(numbers(17, &[3]));
        let frames = vec![
            Frame::Handshake([0, 0, 0, 0, 0, 0x10, 0, 4]),
            Frame::KeepAlive,
            Frame::Unchoke,
            Frame::Bitfield,
            Frame::Have(300),
            Frame::Request(span),
            Frame::Piece(span),
            Frame::Cancel(span),
            Frame::Reject(span),
            Frame::Extended,
            Frame::MetadataRequest(7),
            Frame::Extended,
            Frame::HaveAll,
            Frame::Other(17),
        ];
        (bytes, frames)
    }

    proptest! {
        #[test]
        fn any_split_shows_the_same_messages(cuts in prop::collection::vec(1usize..60, 1..40)) {
            let (bytes, expect) = sample();
            let (mut frames, mut got, mut rest) = (Frames::default(), Vec::new(), &bytes[..]);
            for cut in cuts.iter().cycle() {
                if rest.is_empty() { break; }
                let (now, later) = rest.split_at((*cut).min(rest.len()));
                frames.feed(Chunk::Bytes(now), &mut |f| got.push(f));
                rest = later;
            }
            prop_assert_eq!(got, expect);
        }

        #[test]
        fn noise_never_panics(noise in prop::collection::vec(any::<u8>(), 0..500)) {
            let mut frames = Frames { open: true, ..Frames::default() };
            frames.feed(Chunk::Bytes(&noise), &mut |_| ());
        }
    }

    #[test]
    fn a_phantom_payload_ends_its_message() {
        let span = Span { piece: 1, begin: 0, length: 16_384 };
        let mut frames = Frames { open: true, ..Frames::default() };
        let mut got = Vec::new();
        frames.feed(Chunk::Bytes(&piece_header(span)), &mut |f| got.push(f));
        assert!(got.is_empty());
        frames.feed(Chunk::Phantom { length: 16_384, tag: 3 }, &mut |f| got.push(f));
        assert_eq!(got, [Frame::Piece(span)]);
    }
}
