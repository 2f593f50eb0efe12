//! How a peer's bytes can break the protocol. Each of these ends the connection.

use crate::bencode::BencodeError;

/// What a peer sent that is not the peer-wire protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// A handshake that does not begin with the protocol's name; perhaps an encrypted one.
    #[error("the handshake is not that of the BitTorrent protocol")]
    NotBitTorrent,
    /// A message whose length is impossible for its id.
    #[error("message {id} cannot be {length} bytes long")]
    BadLength {
        /// The message's id.
        id: u8,
        /// The length prefix: bytes of id and payload.
        length: u32,
    },
    /// A message longer than allowed.
    #[error("message {id} is {length} bytes long, at most {limit} are allowed")]
    TooLong {
        /// The message's id.
        id: u8,
        /// The length prefix: bytes of id and payload.
        length: u32,
        /// The largest length prefix accepted for this id.
        limit: u32,
    },
    /// Stand-in payload (simulator) that is not exactly the payload of a PIECE message.
    #[error("{length} bytes of stand-in payload where no block of that length is expected")]
    MisplacedPhantom {
        /// How many bytes it stands for.
        length: u32,
    },
    /// An extension message that is not bencoded (BEP 10, BEP 9).
    #[error("malformed extension message: {0}")]
    Bencode(#[from] BencodeError),
    /// An extension message of the wrong shape.
    #[error("malformed extension message: {0}")]
    Extension(&'static str),
}
