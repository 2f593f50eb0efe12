//! The messages that send an info dictionary to a peer that has only its hash (BEP 9, *extension
//! message*). Only their form: who asks whom for which piece is decided elsewhere.

use super::error::WireError;
use crate::{
    base::limits,
    bencode::{Limits, Value, write},
};

/// Length of every piece of the info dictionary but the last, in bytes.
pub const METADATA_PIECE_LEN: u32 = 16 << 10;

/// The payload of an `ut_metadata` message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetadataMessage<'a> {
    /// The sender wants this piece.
    Request {
        /// The piece, from 0; not checked against the size of the info dictionary.
        piece: u32,
    },
    /// A piece.
    Data {
        /// The piece, from 0; it exists in an info dictionary of `total_size` bytes.
        piece: u32,
        /// Bytes of the whole info dictionary, from 1 to [`limits::MAX_TORRENT_BYTES`].
        total_size: u32,
        /// The piece's bytes, exactly as many as the piece has.
        bytes: &'a [u8],
    },
    /// The request for this piece will not be answered.
    Reject {
        /// The piece, from 0; not checked.
        piece: u32,
    },
    /// A message from some later version, to be ignored.
    Unknown {
        /// Its type.
        msg_type: u64,
    },
}

const REQUEST: u64 = 0;
const DATA: u64 = 1;
const REJECT: u64 = 2;

/// Number of pieces of an info dictionary of `total_size` bytes.
pub const fn piece_count(total_size: u32) -> u32 {
    total_size.div_ceil(METADATA_PIECE_LEN)
}

/// Length of `piece` of an info dictionary of `total_size` bytes; `None` if there is no such piece.
pub const fn piece_len(piece: u32, total_size: u32) -> Option<u32> {
    if piece >= piece_count(total_size) {
        return None;
    }
    let rest = total_size - piece * METADATA_PIECE_LEN;
    Some(if rest < METADATA_PIECE_LEN { rest } else { METADATA_PIECE_LEN })
}

impl<'a> MetadataMessage<'a> {
    /// The piece `piece` of `info`, the bytes of the info dictionary; a reject if there is none.
    pub fn answer(piece: u32, info: &'a [u8]) -> Self {
        let start = piece as usize * METADATA_PIECE_LEN as usize;
        match (u32::try_from(info.len()), info.get(start..)) {
            (Ok(total_size), Some(rest)) if !rest.is_empty() => {
                let length = rest.len().min(METADATA_PIECE_LEN as usize);
                MetadataMessage::Data { piece, total_size, bytes: &rest[..length] }
            }
            _ => MetadataMessage::Reject { piece },
        }
    }

    /// The payload of the extension message.
    pub fn encode(&self) -> Vec<u8> {
        let (msg_type, piece, total_size, bytes) = match *self {
            MetadataMessage::Request { piece } => (REQUEST, Some(piece), None, &[][..]),
            MetadataMessage::Data { piece, total_size, bytes } => {
                (DATA, Some(piece), Some(total_size), bytes)
            }
            MetadataMessage::Reject { piece } => (REJECT, Some(piece), None, &[][..]),
            MetadataMessage::Unknown { msg_type } => (msg_type, None, None, &[][..]),
        };
        let mut out = write::dict(|d| {
            d.int("msg_type", msg_type);
            if let Some(piece) = piece {
                d.int("piece", piece);
            }
            if let Some(total_size) = total_size {
                d.int("total_size", total_size);
            }
        });
        out.extend_from_slice(bytes);
        out
    }

    /// Reads the payload of an extension message.
    pub fn decode(payload: &'a [u8]) -> Result<Self, WireError> {
        let (value, rest) = Value::scan_prefix(payload, Limits::PEER)?;
        let dict = value.as_dict().ok_or(WireError::Extension("no dictionary"))?;
        let number = |key: &[u8]| dict.get(key).and_then(Value::as_u64);
        let msg_type = number(b"msg_type").ok_or(WireError::Extension("no msg_type"))?;
        let piece = || {
            let piece = number(b"piece").and_then(|n| u32::try_from(n).ok());
            piece.ok_or(WireError::Extension("no piece"))
        };
        match msg_type {
            REQUEST => Ok(MetadataMessage::Request { piece: piece()? }),
            REJECT => Ok(MetadataMessage::Reject { piece: piece()? }),
            DATA => {
                let piece = piece()?;
                let total_size = number(b"total_size")
                    .and_then(|n| u32::try_from(n).ok())
                    .filter(|&n| n as usize <= limits::MAX_TORRENT_BYTES)
                    .ok_or(WireError::Extension("no usable total_size"))?;
                let length = piece_len(piece, total_size)
                    .ok_or(WireError::Extension("no such piece of metadata"))?;
                if rest.len() != length as usize {
                    return Err(WireError::Extension("a piece of metadata has the wrong length"));
                }
                Ok(MetadataMessage::Data { piece, total_size, bytes: rest })
            }
            _ => Ok(MetadataMessage::Unknown { msg_type }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_bytes() {
        for (message, want) in [
            (MetadataMessage::Request { piece: 0 }, b"d8:msg_typei0e5:piecei0ee".as_slice()),
            (
                MetadataMessage::Data { piece: 1, total_size: 16_387, bytes: b"xyz" },
                b"d8:msg_typei1e5:piecei1e10:total_sizei16387eexyz",
            ),
            (MetadataMessage::Reject { piece: 7 }, b"d8:msg_typei2e5:piecei7ee"),
            (MetadataMessage::Unknown { msg_type: 3 }, b"d8:msg_typei3ee"),
        ] {
            assert_eq!(
                message.encode().escape_ascii().to_string(),
                want.escape_ascii().to_string()
            );
            assert_eq!(MetadataMessage::decode(want), Ok(message));
        }
    }

    #[test]
    fn data_that_does_not_fit_its_size_is_refused() {
        for bad in [
            "d8:msg_typei1e5:piecei1e10:total_sizei16387eexy",
            "d8:msg_typei1e5:piecei1e10:total_sizei16387eexyzz",
            "d8:msg_typei1e5:piecei1e10:total_sizei16384ee",
            "d8:msg_typei1e5:piecei0e10:total_sizei0ee",
            "d8:msg_typei1e5:piecei0e10:total_sizei67108865eexyz",
            "d8:msg_typei1e5:piecei0eexyz",
            "d8:msg_typei1e10:total_sizei3eexyz",
            "d8:msg_typei0e5:piecei-1ee",
            "d8:msg_typei0e5:piecei4294967296ee",
            "d5:piecei0ee",
            "le",
            "",
        ] {
            let got = MetadataMessage::decode(bad.as_bytes());
            assert!(got.is_err(), "{bad}: {got:?}");
        }
    }

    proptest! {
        #[test]
        fn the_answers_to_all_pieces_are_the_info_dictionary(length in 0usize..70_000) {
            let info: Vec<u8> = (0..length).map(|i| (i % 251) as u8).collect();
            let pieces = piece_count(length as u32);
            let mut got = Vec::new();
            for piece in 0..pieces {
                let payload = MetadataMessage::answer(piece, &info).encode();
                let message = MetadataMessage::decode(&payload);
                let Ok(MetadataMessage::Data { bytes, .. }) = message else {
                    panic!("{message:?}");
                };
                prop_assert_eq!(piece_len(piece, length as u32), Some(bytes.len() as u32));
                got.extend_from_slice(bytes);
            }
            prop_assert!(got == info);
            for piece in [pieces, u32::MAX] {
                let answer = MetadataMessage::answer(piece, &info);
                prop_assert_eq!(answer, MetadataMessage::Reject { piece });
                prop_assert_eq!(piece_len(piece, length as u32), None);
            }
        }
    }
}
