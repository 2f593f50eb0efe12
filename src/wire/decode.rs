//! Bytes into messages, in whatever parts they arrive (BEP 3, *peer messages*; BEP 6; BEP 10).
//!
//! The payload of a PIECE message is passed on as it arrives and never kept. Other messages that
//! lie whole in the input are read in place; only one that is split is collected, up to the limit
//! of its kind, which is checked at its header. Whether a message is allowed at this moment is
//! decided elsewhere.

use super::{
    error::WireError,
    message::{Message, id},
};
use crate::base::{limits, slab::Chunk};

/// Longest run of bytes kept as header: length, id and three numbers.
const HEAD_LEN: usize = 17;

/// One step through the stream of messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decoded<'a> {
    /// A whole message.
    Message(Message<'a>),
    /// The header of a PIECE message. As many [`Decoded::PieceData`] as it takes follow, then
    /// [`Decoded::PieceEnd`], with nothing between them.
    PieceStart {
        /// The piece, not checked against a torrent.
        piece: u32,
        /// The block's first byte, not checked against a piece.
        begin: u32,
        /// The block's length, at most [`limits::MAX_REQUEST_LEN`]; may be 0.
        length: u32,
    },
    /// The next part of the block; never empty.
    PieceData(Chunk<'a>),
    /// The block is complete.
    PieceEnd,
}

/// The receiving end of one connection, behind the handshake. Its memory is a few words, and the
/// bytes so far of a message that arrives in parts.
///
/// ```
/// use downpour::{base::slab::Chunk, wire::{Decoded, Decoder, Message}};
///
/// let mut decoder = Decoder::new(1);
/// let mut seen = Vec::new();
/// for part in [b"\0\0\0\x01\x01\0\0".as_slice(), b"\0\x05\x04\0\0\0\x07"] {
///     let mut input = Chunk::Bytes(part);
///     while let Some(Decoded::Message(message)) = decoder.next(&mut input)? {
///         seen.push(format!("{message:?}"));
///     }
/// }
/// assert_eq!(seen, ["Unchoke", "Have(7)"]);
/// # Ok::<(), downpour::wire::WireError>(())
/// ```
#[derive(Debug)]
pub struct Decoder {
    bitfield_bytes: u32,
    state: State,
    /// The first bytes of a message whose header is not complete.
    head: [u8; HEAD_LEN],
    head_len: usize,
    /// The bytes so far of a message in state `Body`.
    body: Vec<u8>,
}

/// What comes next in the stream.
#[derive(Debug, Clone, Copy)]
enum State {
    /// A message's header, or the rest of it.
    Head,
    /// The rest of a payload of `length` bytes, collected in `body`.
    Body { kind: Body, length: u32 },
    /// `rest` bytes of a block, at least 1.
    Payload { rest: u32 },
    /// Nothing of the block.
    PieceEnd,
    /// `rest` bytes that nobody wants.
    Skip { rest: u32 },
}

/// A message whose payload has no fixed length.
#[derive(Debug, Clone, Copy)]
enum Body {
    Bitfield,
    Extended { id: u8 },
}

impl Body {
    const fn message(self, payload: &[u8]) -> Decoded<'_> {
        Decoded::Message(match self {
            Body::Bitfield => Message::Bitfield(payload),
            Body::Extended { id } => Message::Extended { id, payload },
        })
    }
}

/// What a complete header says.
enum Head {
    Message(Message<'static>),
    Piece { piece: u32, begin: u32, length: u32 },
    Body { kind: Body, length: u32 },
    Skip { id: u8, rest: u32 },
}

impl Decoder {
    /// A decoder at the start of a message, for a torrent whose bitfield has so many bytes: a
    /// longer one is refused.
    pub const fn new(bitfield_bytes: u32) -> Self {
        Decoder {
            bitfield_bytes,
            state: State::Head,
            head: [0; HEAD_LEN],
            head_len: 0,
            body: Vec::new(),
        }
    }

    /// Bytes of memory that a message which is not whole takes.
    pub const fn held(&self) -> usize {
        self.body.capacity()
    }

    /// From now on a bitfield may have so many bytes.
    pub const fn expect_bitfield(&mut self, bytes: u32) {
        self.bitfield_bytes = bytes;
    }

    /// Takes one item off the front of `input`; `None` when it needs more input, all of it being
    /// used then. So a caller reads on until `None` and never has bytes left over.
    ///
    /// A phantom chunk stands for the whole payload of a PIECE message and may come only there.
    ///
    /// An error is final: the place in the stream is lost, the connection has to be closed.
    pub fn next<'d, 'i: 'd>(
        &'d mut self,
        input: &mut Chunk<'i>,
    ) -> Result<Option<Decoded<'d>>, WireError> {
        loop {
            let bytes = match *input {
                Chunk::Bytes(bytes) => bytes,
                Chunk::Phantom { length: 0, .. } => &[],
                Chunk::Phantom { length, .. } => match self.state {
                    State::Payload { rest } if rest == length => {
                        self.state = State::PieceEnd;
                        let data = std::mem::replace(input, Chunk::Bytes(&[]));
                        return Ok(Some(Decoded::PieceData(data)));
                    }
                    State::PieceEnd => &[],
                    _ => return Err(WireError::MisplacedPhantom { length }),
                },
            };
            match self.state {
                State::Head => {
                    // The message handed out last may have been collected here.
                    if self.body.capacity() > 0 {
                        self.body = Vec::new();
                    }
                    let (head, bytes) = self.head(bytes)?;
                    *input = Chunk::Bytes(bytes);
                    let Some(head) = head else { return Ok(None) };
                    match head {
                        Head::Message(message) => return Ok(Some(Decoded::Message(message))),
                        Head::Piece { piece, begin, length } => {
                            self.state = State::payload(length);
                            return Ok(Some(Decoded::PieceStart { piece, begin, length }));
                        }
                        Head::Skip { id, rest } => {
                            self.state = State::Skip { rest };
                            return Ok(Some(Decoded::Message(Message::Unknown { id })));
                        }
                        Head::Body { kind, length } => {
                            if let Some((body, rest)) = bytes.split_at_checked(length as usize) {
                                *input = Chunk::Bytes(rest);
                                return Ok(Some(kind.message(body)));
                            }
                            self.state = State::Body { kind, length };
                        }
                    }
                }
                State::Body { kind, length } => {
                    let length = length as usize;
                    let (part, rest) = split(bytes, length - self.body.len());
                    *input = Chunk::Bytes(rest);
                    collect(&mut self.body, part, length);
                    if self.body.len() < length {
                        return Ok(None);
                    }
                    self.state = State::Head;
                    return Ok(Some(kind.message(&self.body)));
                }
                State::Payload { rest: missing } => {
                    let (part, rest) = split(bytes, missing as usize);
                    *input = Chunk::Bytes(rest);
                    if part.is_empty() {
                        return Ok(None);
                    }
                    self.state = State::payload(missing - part.len() as u32);
                    return Ok(Some(Decoded::PieceData(Chunk::Bytes(part))));
                }
                State::PieceEnd => {
                    self.state = State::Head;
                    return Ok(Some(Decoded::PieceEnd));
                }
                State::Skip { rest: missing } => {
                    let (part, rest) = split(bytes, missing as usize);
                    *input = Chunk::Bytes(rest);
                    let missing = missing - part.len() as u32;
                    if missing > 0 {
                        self.state = State::Skip { rest: missing };
                        return Ok(None);
                    }
                    self.state = State::Head;
                }
            }
        }
    }

    /// Memory held for a message that arrives in parts, in bytes; 0 between messages.
    pub const fn buffered(&self) -> usize {
        self.body.capacity()
    }

    /// The header at the start of a message, and what follows it in `bytes`. `None` when it is not
    /// complete; then all bytes are kept.
    fn head<'i>(&mut self, mut bytes: &'i [u8]) -> Result<(Option<Head>, &'i [u8]), WireError> {
        if self.head_len == 0
            && let (Some(head), length) = Head::read(bytes, self.bitfield_bytes)?
        {
            return Ok((Some(head), &bytes[length..]));
        }
        loop {
            let known = &self.head[..self.head_len];
            let (head, length) = Head::read(known, self.bitfield_bytes)?;
            if head.is_some() {
                self.head_len = 0;
                return Ok((head, bytes));
            }
            if bytes.is_empty() {
                return Ok((None, bytes));
            }
            let (part, rest) = split(bytes, length - self.head_len);
            self.head[self.head_len..self.head_len + part.len()].copy_from_slice(part);
            self.head_len += part.len();
            bytes = rest;
        }
    }
}

impl Default for Decoder {
    /// A decoder for a torrent whose metadata is not known yet: it takes any bitfield that the
    /// largest torrent could have.
    fn default() -> Self {
        Decoder::new(limits::MAX_PIECES.div_ceil(8))
    }
}

impl State {
    const fn payload(rest: u32) -> Self {
        if rest == 0 { State::PieceEnd } else { State::Payload { rest } }
    }
}

impl Head {
    /// The header that `bytes` begin with and its length; or `None` and how many bytes, more than
    /// there are and at most [`HEAD_LEN`], are needed to know more.
    fn read(bytes: &[u8], bitfield_bytes: u32) -> Result<(Option<Head>, usize), WireError> {
        let Some((prefix, rest)) = bytes.split_first_chunk() else { return Ok((None, 4)) };
        let length = u32::from_be_bytes(*prefix);
        if length == 0 {
            return Ok((Some(Head::Message(Message::KeepAlive)), 4));
        }
        let Some((&id, rest)) = rest.split_first() else { return Ok((None, 5)) };
        let fixed = check_length(id, length, bitfield_bytes)?;
        let Some(fields) = rest.get(..fixed) else { return Ok((None, 5 + fixed)) };

        let mut numbers = [0; 3];
        for (number, bytes) in numbers.iter_mut().zip(fields.chunks_exact(4)) {
            *number = u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        }
        let [piece, begin, third] = numbers;
        let message = match id {
            id::CHOKE => Message::Choke,
            id::UNCHOKE => Message::Unchoke,
            id::INTERESTED => Message::Interested,
            id::NOT_INTERESTED => Message::NotInterested,
            id::HAVE => Message::Have(piece),
            id::REQUEST => Message::Request { piece, begin, length: third },
            id::CANCEL => Message::Cancel { piece, begin, length: third },
            id::PORT => Message::Port(u16::from_be_bytes([fields[0], fields[1]])),
            id::SUGGEST_PIECE => Message::SuggestPiece(piece),
            id::HAVE_ALL => Message::HaveAll,
            id::HAVE_NONE => Message::HaveNone,
            id::REJECT_REQUEST => Message::RejectRequest { piece, begin, length: third },
            id::ALLOWED_FAST => Message::AllowedFast(piece),
            id::PIECE => {
                return Ok((Some(Head::Piece { piece, begin, length: length - 9 }), 13));
            }
            id::BITFIELD => {
                return Ok((Some(Head::Body { kind: Body::Bitfield, length: length - 1 }), 5));
            }
            id::EXTENDED => {
                let kind = Body::Extended { id: fields[0] };
                return Ok((Some(Head::Body { kind, length: length - 2 }), 6));
            }
            _ => return Ok((Some(Head::Skip { id, rest: length - 1 }), 5)),
        };
        Ok((Some(Head::Message(message)), 5 + fixed))
    }
}

/// Whether a message `id` may have this length prefix. Returns how many bytes of fixed fields
/// follow the id; the message is at least so long.
fn check_length(id: u8, length: u32, bitfield_bytes: u32) -> Result<usize, WireError> {
    let (fixed, most) = match id {
        id::CHOKE | id::UNCHOKE | id::INTERESTED | id::NOT_INTERESTED => (0, 0),
        id::HAVE_ALL | id::HAVE_NONE => (0, 0),
        id::HAVE | id::SUGGEST_PIECE | id::ALLOWED_FAST => (4, 4),
        id::REQUEST | id::CANCEL | id::REJECT_REQUEST => (12, 12),
        id::PORT => (2, 2),
        id::PIECE => (8, 8 + limits::MAX_REQUEST_LEN),
        id::BITFIELD => (0, bitfield_bytes),
        id::EXTENDED => (1, limits::MAX_EXTENSION_MESSAGE),
        _ => (0, limits::MAX_EXTENSION_MESSAGE),
    };
    let payload = length - 1;
    if payload < fixed || (fixed == most && payload != fixed) {
        return Err(WireError::BadLength { id, length });
    }
    if payload > most {
        return Err(WireError::TooLong { id, length, limit: most.saturating_add(1) });
    }
    Ok(fixed as usize)
}

/// At most `length` bytes, and the rest.
fn split(bytes: &[u8], length: usize) -> (&[u8], &[u8]) {
    bytes.split_at(bytes.len().min(length))
}

/// Appends to a buffer that will hold `total` bytes. It grows with what has arrived, not with what
/// was promised, and never beyond `total`.
fn collect(body: &mut Vec<u8>, part: &[u8], total: usize) {
    let needed = body.len() + part.len();
    if needed > body.capacity() {
        let capacity = needed.max(2 * body.capacity()).min(total);
        body.reserve_exact(capacity - body.len());
    }
    body.extend_from_slice(part);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::encode::{encode, piece_header};
    use proptest::prelude::*;

    const BITFIELD_BYTES: u32 = 40;

    /// Writes what a decoder says as bytes again, and checks the order of the parts of a block.
    #[derive(Default)]
    struct Echo {
        bytes: Vec<u8>,
        items: usize,
        /// Bytes that the open block lacks.
        block: Option<usize>,
    }

    impl Echo {
        fn take(&mut self, item: Decoded<'_>) {
            match item {
                Decoded::Message(message) => {
                    assert_eq!(self.block, None, "a message inside a block");
                    encode(&message, &mut self.bytes);
                    self.items += 1;
                }
                Decoded::PieceStart { piece, begin, length } => {
                    assert_eq!(self.block.replace(length as usize), None, "a block inside a block");
                    self.bytes.extend_from_slice(&piece_header(piece, begin, length));
                    self.items += 1;
                }
                Decoded::PieceData(Chunk::Bytes(data)) => {
                    assert!(!data.is_empty());
                    self.block = self.block.map(|missing| missing - data.len());
                    self.bytes.extend_from_slice(data);
                }
                Decoded::PieceData(chunk @ Chunk::Phantom { .. }) => panic!("{chunk:?}"),
                Decoded::PieceEnd => assert_eq!(self.block.take(), Some(0)),
            }
        }
    }

    /// Feeds `stream` in parts of the given lengths, over and over; all at once if there are none.
    /// Returns what came out before the end or the error.
    fn decode(stream: &[u8], parts: &[usize]) -> (Echo, Result<Decoder, WireError>) {
        let mut decoder = Decoder::new(BITFIELD_BYTES);
        let mut echo = Echo::default();
        let (mut rest, mut parts) = (stream, parts.iter().cycle());
        while !rest.is_empty() {
            let part = parts.next().map_or(rest.len(), |&n| n.clamp(1, rest.len()));
            let (now, later) = rest.split_at(part);
            let mut input = Chunk::Bytes(now);
            loop {
                match decoder.next(&mut input) {
                    Ok(Some(item)) => echo.take(item),
                    Ok(None) => break,
                    Err(err) => return (echo, Err(err)),
                }
            }
            assert!(input.is_empty(), "None means that all input is used");
            assert!(decoder.buffered() <= 2 * (stream.len() - later.len()));
            rest = later;
        }
        (echo, Ok(decoder))
    }

    fn error(bytes: &[u8]) -> WireError {
        let err = decode(bytes, &[]).1.expect_err("must be refused");
        assert_eq!(decode(bytes, &[1]).1.expect_err("must be refused"), err);
        err
    }

    /// The bytes of one message or block.
    fn any_item() -> impl Strategy<Value = Vec<u8>> {
        fn encoded(message: Message<'_>) -> Vec<u8> {
            let mut out = Vec::new();
            encode(&message, &mut out);
            out
        }
        let block = || (any::<u32>(), any::<u32>(), any::<u32>());
        let bytes = |most: usize| prop::collection::vec(any::<u8>(), 0..=most);
        prop_oneof![
            prop::sample::select(vec![
                Message::KeepAlive,
                Message::Choke,
                Message::Unchoke,
                Message::Interested,
                Message::NotInterested,
                Message::HaveAll,
                Message::HaveNone,
            ])
            .prop_map(encoded),
            any::<u32>().prop_map(|piece| encoded(Message::Have(piece))),
            any::<u32>().prop_map(|piece| encoded(Message::SuggestPiece(piece))),
            any::<u32>().prop_map(|piece| encoded(Message::AllowedFast(piece))),
            any::<u16>().prop_map(|port| encoded(Message::Port(port))),
            (21u8..).prop_map(|id| encoded(Message::Unknown { id })),
            block().prop_map(|(piece, begin, length)| encoded(Message::Request {
                piece,
                begin,
                length
            })),
            block().prop_map(|(piece, begin, length)| encoded(Message::Cancel {
                piece,
                begin,
                length
            })),
            block().prop_map(|(piece, begin, length)| encoded(Message::RejectRequest {
                piece,
                begin,
                length
            })),
            bytes(BITFIELD_BYTES as usize).prop_map(|bits| encoded(Message::Bitfield(&bits))),
            (any::<u8>(), bytes(300))
                .prop_map(|(id, payload)| encoded(Message::Extended { id, payload: &payload })),
            (any::<u32>(), any::<u32>(), bytes(300)).prop_map(|(piece, begin, payload)| {
                let header = piece_header(piece, begin, payload.len() as u32);
                [header.as_slice(), &payload].concat()
            }),
        ]
    }

    proptest! {
        #[test]
        fn any_messages_in_any_parts_come_out_as_they_went_in(
            items in prop::collection::vec(any_item(), 0..12),
            parts in prop::collection::vec(1usize..60, 0..20),
        ) {
            let stream = items.concat();
            for parts in [parts.as_slice(), &[], &[1]] {
                let (echo, decoder) = decode(&stream, parts);
                let mut decoder = decoder.expect("valid");
                prop_assert_eq!(&echo.bytes, &stream);
                prop_assert_eq!((echo.items, echo.block), (items.len(), None));
                prop_assert_eq!(decoder.next(&mut Chunk::Bytes(&[])), Ok(None));
                prop_assert_eq!(decoder.buffered(), 0);
            }
        }

        #[test]
        fn any_bytes_in_any_parts_mean_the_same(
            // Small numbers make lengths and ids that are often valid.
            stream in prop::collection::vec(
                prop_oneof![4 => Just(0u8), 4 => 0u8..24, 1 => any::<u8>()], 0..400),
            parts in prop::collection::vec(1usize..40, 1..10),
        ) {
            let (whole, end) = decode(&stream, &[]);
            for parts in [parts.as_slice(), &[1]] {
                let (echo, split_end) = decode(&stream, parts);
                prop_assert_eq!(&echo.bytes, &whole.bytes);
                prop_assert_eq!((echo.items, echo.block), (whole.items, whole.block));
                prop_assert_eq!(split_end.as_ref().err(), end.as_ref().err());
            }
        }
    }

    #[test]
    fn impossible_lengths_are_refused_at_the_header() {
        use WireError::{BadLength, TooLong};
        assert_eq!(error(b"\0\0\0\x02\0"), BadLength { id: 0, length: 2 });
        assert_eq!(error(b"\0\0\0\x04\x04"), BadLength { id: 4, length: 4 });
        assert_eq!(error(b"\xff\xff\xff\xff\x04"), BadLength { id: 4, length: u32::MAX });
        assert_eq!(error(b"\0\0\0\x0e\x06"), BadLength { id: 6, length: 14 });
        assert_eq!(error(b"\0\0\0\x08\x07"), BadLength { id: 7, length: 8 });
        assert_eq!(error(b"\0\0\0\x05\x09"), BadLength { id: 9, length: 5 });
        assert_eq!(error(b"\0\0\0\x02\x0e"), BadLength { id: 14, length: 2 });
        assert_eq!(error(b"\0\0\0\x01\x14"), BadLength { id: 20, length: 1 });
        let limit = 9 + limits::MAX_REQUEST_LEN;
        assert_eq!(error(b"\0\x02\0\x0a\x07"), TooLong { id: 7, length: limit + 1, limit });
        assert_eq!(error(b"\0\0\0\x2a\x05"), TooLong { id: 5, length: 42, limit: 41 });
        let limit = 1 + limits::MAX_EXTENSION_MESSAGE;
        for id in [20, 99] {
            let want = TooLong { id, length: limit + 1, limit };
            let [a, b, c, d] = (limit + 1).to_be_bytes();
            assert_eq!(error(&[a, b, c, d, id]), want);
        }
    }

    #[test]
    fn an_error_stays() {
        let mut decoder = Decoder::new(1);
        let mut input = Chunk::Bytes(b"\0\0\0");
        assert_eq!(decoder.next(&mut input), Ok(None));
        for more in [b"\x09\0".as_slice(), b"\0\0\0\x01\0"] {
            let got = decoder.next(&mut Chunk::Bytes(more));
            assert_eq!(got, Err(WireError::BadLength { id: 0, length: 9 }));
        }
    }

    #[test]
    fn memory_follows_what_arrived_and_is_given_back() {
        let mut decoder = Decoder::new(1);
        let total = limits::MAX_EXTENSION_MESSAGE as usize;
        let [a, b, c, d] = (limits::MAX_EXTENSION_MESSAGE + 1).to_be_bytes();
        let head = [a, b, c, d, 20, 3];
        assert_eq!(decoder.next(&mut Chunk::Bytes(&head)), Ok(None));
        assert_eq!(decoder.buffered(), 0, "nothing is kept on a promise");
        let payload = vec![7; total - 1];
        let mut fed = 0;
        let (last, most) = payload.split_last().expect("not empty");
        for part in most.chunks(1000) {
            fed += part.len();
            assert_eq!(decoder.next(&mut Chunk::Bytes(part)), Ok(None));
            assert!(decoder.buffered() <= (2 * fed).min(total - 1));
        }
        let got = decoder.next(&mut Chunk::Bytes(std::slice::from_ref(last)));
        let want = Message::Extended { id: 3, payload: &payload };
        assert_eq!(got, Ok(Some(Decoded::Message(want))));
        assert_eq!(decoder.next(&mut Chunk::Bytes(&[])), Ok(None));
        assert_eq!(decoder.buffered(), 0);
    }

    #[test]
    fn whole_messages_are_read_in_place() {
        let bytes = b"\0\0\0\x03\x05\xf0\x80\0\0\0\x04\x14\0de".to_vec();
        let mut decoder = Decoder::new(2);
        let mut input = Chunk::Bytes(&bytes);
        for range in [5..7, 13..15] {
            let Ok(Some(Decoded::Message(
                Message::Bitfield(payload) | Message::Extended { payload, .. },
            ))) = decoder.next(&mut input)
            else {
                panic!("two messages");
            };
            assert_eq!(payload.as_ptr_range(), bytes[range].as_ptr_range());
        }
        assert_eq!(decoder.buffered(), 0);
    }

    #[test]
    fn unknown_messages_are_skipped_without_being_kept() {
        let mut stream = b"\0\0\x10\0\x63".to_vec();
        stream.extend_from_slice(&[1; 4095]);
        encode(&Message::Have(1), &mut stream);
        let mut decoder = Decoder::new(1);
        let mut seen = Vec::new();
        for part in stream.chunks(100) {
            let mut input = Chunk::Bytes(part);
            while let Some(item) = decoder.next(&mut input).expect("valid") {
                seen.push(format!("{item:?}"));
            }
            assert_eq!(decoder.buffered(), 0);
        }
        assert_eq!(seen, ["Message(Unknown { id: 99 })", "Message(Have(1))"]);
    }

    #[test]
    fn a_phantom_is_a_whole_payload() {
        let mut decoder = Decoder::new(1);
        let phantom = Chunk::Phantom { length: 16_384, tag: 9 };
        let header = piece_header(1, 2, 16_384);
        let mut seen = Vec::new();
        for mut input in [Chunk::Bytes(&header[..5]), Chunk::Bytes(&header[5..]), phantom] {
            while let Some(item) = decoder.next(&mut input).expect("valid") {
                seen.push(format!("{item:?}"));
            }
            assert!(input.is_empty());
        }
        let start = Decoded::PieceStart { piece: 1, begin: 2, length: 16_384 };
        let want = [start, Decoded::PieceData(phantom), Decoded::PieceEnd];
        assert_eq!(seen, want.map(|item| format!("{item:?}")));

        let misplaced = Err(WireError::MisplacedPhantom { length: 16_384 });
        assert_eq!(decoder.next(&mut { phantom }), misplaced);
        for begun in [b"\0".as_slice(), &header[..12], &piece_header(1, 2, 16_383)] {
            let mut decoder = Decoder::new(1);
            let mut input = Chunk::Bytes(begun);
            while decoder.next(&mut input).expect("valid").is_some() {}
            assert_eq!(decoder.next(&mut { phantom }), misplaced);
        }
    }

    #[test]
    fn an_empty_block_has_a_start_and_an_end() {
        let mut decoder = Decoder::new(1);
        let header = piece_header(1, 2, 0);
        let mut input = Chunk::Bytes(&header);
        let start = Decoded::PieceStart { piece: 1, begin: 2, length: 0 };
        assert_eq!(decoder.next(&mut input), Ok(Some(start)));
        assert_eq!(decoder.next(&mut input), Ok(Some(Decoded::PieceEnd)));
        assert_eq!(decoder.next(&mut input), Ok(None));
    }
}
