//! A stream of messages means the same however it is split, in bounded memory, and what is
//! understood can be said again.
//!
//! The input is the lengths of the parts (how many in the first byte), then the stream.

#![no_main]

use downpour::{
    base::slab::Chunk,
    wire::{Decoded, Decoder, Handshake, Message, WireError, encode},
};
use libfuzzer_sys::fuzz_target;

const BITFIELD_BYTES: u32 = 40;

fuzz_target!(|data: &[u8]| {
    let Some((&count, rest)) = data.split_first() else { return };
    let Some((parts, stream)) = rest.split_at_checked(usize::from(count % 16)) else { return };
    handshake(stream);

    let (whole, end) = decode(stream, &[]);
    for parts in [parts, &[1]] {
        let (split, split_end) = decode(stream, parts);
        assert_eq!((&split, split_end), (&whole, end));
    }
    // Written again, without the payload of unknown messages, it is read as the same.
    let (again, end) = decode(&whole.bytes, &[]);
    assert_eq!((again, end), (whole, None));
});

/// What came out of a stream, as a stream.
#[derive(Debug, Default, PartialEq)]
struct Echo {
    bytes: Vec<u8>,
    items: usize,
    /// Bytes that the open block lacks.
    block: Option<usize>,
}

fn decode(stream: &[u8], parts: &[u8]) -> (Echo, Option<WireError>) {
    let mut decoder = Decoder::new(BITFIELD_BYTES);
    let mut echo = Echo::default();
    let (mut rest, mut parts) = (stream, parts.iter().cycle());
    while !rest.is_empty() {
        let length = parts.next().map_or(rest.len(), |&n| usize::from(n).clamp(1, rest.len()));
        let (now, later) = rest.split_at(length);
        rest = later;
        let mut input = Chunk::Bytes(now);
        loop {
            match decoder.next(&mut input) {
                Ok(Some(item)) => echo.take(item),
                Ok(None) => break,
                Err(err) => return (echo, Some(err)),
            }
        }
        assert!(input.is_empty());
        assert!(decoder.buffered() <= 2 * (stream.len() - rest.len()));
    }
    (echo, None)
}

impl Echo {
    fn take(&mut self, item: Decoded<'_>) {
        match item {
            Decoded::Message(message) => {
                assert_eq!(self.block, None);
                if let Message::Bitfield(bits) = message {
                    assert!(bits.len() <= BITFIELD_BYTES as usize);
                }
                encode::encode(&message, &mut self.bytes);
                self.items += 1;
            }
            Decoded::PieceStart { piece, begin, length } => {
                assert_eq!(self.block.replace(length as usize), None);
                self.bytes.extend_from_slice(&encode::piece_header(piece, begin, length));
                self.items += 1;
            }
            Decoded::PieceData(Chunk::Bytes(data)) => {
                assert!(!data.is_empty());
                self.block = Some(self.block.expect("inside a block") - data.len());
                self.bytes.extend_from_slice(data);
            }
            Decoded::PieceData(Chunk::Phantom { .. }) => unreachable!("there is none in the input"),
            Decoded::PieceEnd => assert_eq!(self.block.take(), Some(0)),
        }
    }
}

fn handshake(stream: &[u8]) {
    let early = Handshake::info_hash_in(stream);
    let Some(bytes) = stream.first_chunk() else { return };
    match Handshake::from_bytes(bytes) {
        Ok(handshake) => {
            assert_eq!(early, Ok(Some(handshake.info_hash)));
            assert_eq!(&handshake.to_bytes(), bytes);
        }
        Err(err) => assert_eq!(early, Err(err)),
    }
}
