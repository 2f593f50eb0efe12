//! Values into bytes (BEP 3, *peer messages*; BEP 6; BEP 10).
//!
//! Appends to a buffer that the caller owns. A block's payload is never copied here: only its
//! header is made, see [`piece_header`].

use super::message::{Message, id};
use crate::base::{index::Block, limits};

/// Length of an encoded `request`, `cancel` or `reject request`.
pub const REQUEST_LEN: usize = 17;

/// Appends `message` to `out`. [`Message::Unknown`] is written without payload.
pub fn encode(message: &Message<'_>, out: &mut Vec<u8>) {
    match *message {
        Message::KeepAlive => out.extend_from_slice(&[0; 4]),
        Message::Choke => bare(id::CHOKE, out),
        Message::Unchoke => bare(id::UNCHOKE, out),
        Message::Interested => bare(id::INTERESTED, out),
        Message::NotInterested => bare(id::NOT_INTERESTED, out),
        Message::Have(piece) => one(id::HAVE, piece, out),
        Message::Bitfield(bits) => head(id::BITFIELD, &[], bits, out),
        Message::Request { piece, begin, length } => {
            out.extend_from_slice(&three(id::REQUEST, piece, begin, length));
        }
        Message::Cancel { piece, begin, length } => {
            out.extend_from_slice(&three(id::CANCEL, piece, begin, length));
        }
        Message::Port(port) => head(id::PORT, &port.to_be_bytes(), &[], out),
        Message::SuggestPiece(piece) => one(id::SUGGEST_PIECE, piece, out),
        Message::HaveAll => bare(id::HAVE_ALL, out),
        Message::HaveNone => bare(id::HAVE_NONE, out),
        Message::RejectRequest { piece, begin, length } => {
            out.extend_from_slice(&three(id::REJECT_REQUEST, piece, begin, length));
        }
        Message::AllowedFast(piece) => one(id::ALLOWED_FAST, piece, out),
        Message::Extended { id: extension, payload } => {
            head(id::EXTENDED, &[extension], payload, out);
        }
        Message::Unknown { id } => bare(id, out),
    }
}

/// Appends a `request` for each block.
pub fn requests(blocks: impl IntoIterator<Item = Block>, out: &mut Vec<u8>) {
    let blocks = blocks.into_iter();
    out.reserve(blocks.size_hint().0.saturating_mul(REQUEST_LEN));
    for block in blocks {
        out.extend_from_slice(&three(id::REQUEST, block.piece.0, block.begin, block.length));
    }
}

/// The header of a `piece` message with a payload of `length` bytes, which has to follow it.
pub const fn piece_header(piece: u32, begin: u32, length: u32) -> [u8; 13] {
    debug_assert!(length <= limits::MAX_REQUEST_LEN);
    let prefix = (9 + length).to_be_bytes();
    let (p, b) = (piece.to_be_bytes(), begin.to_be_bytes());
    [
        prefix[0],
        prefix[1],
        prefix[2],
        prefix[3], //
        id::PIECE, //
        p[0],
        p[1],
        p[2],
        p[3], //
        b[0],
        b[1],
        b[2],
        b[3],
    ]
}

fn bare(id: u8, out: &mut Vec<u8>) {
    out.extend_from_slice(&[0, 0, 0, 1, id]);
}

fn one(id: u8, piece: u32, out: &mut Vec<u8>) {
    let p = piece.to_be_bytes();
    out.extend_from_slice(&[0, 0, 0, 5, id, p[0], p[1], p[2], p[3]]);
}

fn three(id: u8, piece: u32, begin: u32, length: u32) -> [u8; REQUEST_LEN] {
    let mut bytes = [0; REQUEST_LEN];
    bytes[3] = 13;
    bytes[4] = id;
    bytes[5..9].copy_from_slice(&piece.to_be_bytes());
    bytes[9..13].copy_from_slice(&begin.to_be_bytes());
    bytes[13..].copy_from_slice(&length.to_be_bytes());
    bytes
}

/// A message of variable length: its id, `fixed` and `rest`.
fn head(id: u8, fixed: &[u8], rest: &[u8], out: &mut Vec<u8>) {
    let length = 1 + fixed.len() + rest.len();
    let prefix = u32::try_from(length).expect("our own messages are far below 4 GiB");
    out.reserve(4 + length);
    out.extend_from_slice(&prefix.to_be_bytes());
    out.push(id);
    out.extend_from_slice(fixed);
    out.extend_from_slice(rest);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::index::PieceIndex;

    fn bytes(message: Message<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        encode(&message, &mut out);
        out
    }

    #[test]
    fn known_bytes() {
        let (piece, begin, length) = (1, 0x4000, 0x4000);
        let three = [0, 0, 0, 1, 0, 0, 0x40, 0, 0, 0, 0x40, 0];
        for (message, want) in [
            (Message::KeepAlive, b"\0\0\0\0".to_vec()),
            (Message::Choke, b"\0\0\0\x01\0".to_vec()),
            (Message::Unchoke, b"\0\0\0\x01\x01".to_vec()),
            (Message::Interested, b"\0\0\0\x01\x02".to_vec()),
            (Message::NotInterested, b"\0\0\0\x01\x03".to_vec()),
            (Message::Have(0x0102_0304), b"\0\0\0\x05\x04\x01\x02\x03\x04".to_vec()),
            (Message::Bitfield(&[0xf0, 0x80]), b"\0\0\0\x03\x05\xf0\x80".to_vec()),
            (
                Message::Request { piece, begin, length },
                [b"\0\0\0\x0d\x06".as_slice(), &three].concat(),
            ),
            (
                Message::Cancel { piece, begin, length },
                [b"\0\0\0\x0d\x08".as_slice(), &three].concat(),
            ),
            (Message::Port(0x1ae1), b"\0\0\0\x03\x09\x1a\xe1".to_vec()),
            (Message::SuggestPiece(7), b"\0\0\0\x05\x0d\0\0\0\x07".to_vec()),
            (Message::HaveAll, b"\0\0\0\x01\x0e".to_vec()),
            (Message::HaveNone, b"\0\0\0\x01\x0f".to_vec()),
            (
                Message::RejectRequest { piece, begin, length },
                [b"\0\0\0\x0d\x10".as_slice(), &three].concat(),
            ),
            (Message::AllowedFast(7), b"\0\0\0\x05\x11\0\0\0\x07".to_vec()),
            (Message::Extended { id: 0, payload: b"de" }, b"\0\0\0\x04\x14\0de".to_vec()),
            (Message::Unknown { id: 99 }, b"\0\0\0\x01\x63".to_vec()),
        ] {
            assert_eq!(bytes(message), want, "{message:?}");
        }
        assert_eq!(piece_header(1, 0x4000, 3), *b"\0\0\0\x0c\x07\0\0\0\x01\0\0\x40\0");
    }

    #[test]
    fn a_batch_of_requests_is_the_requests_one_by_one() {
        let block = |begin| Block { piece: PieceIndex(3), begin, length: 0x4000 };
        let (mut batch, mut single) = (b"x".to_vec(), b"x".to_vec());
        requests([block(0), block(0x4000)], &mut batch);
        for begin in [0, 0x4000] {
            encode(&Message::Request { piece: 3, begin, length: 0x4000 }, &mut single);
        }
        assert_eq!(batch, single);
    }
}
