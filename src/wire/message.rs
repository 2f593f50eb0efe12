//! The messages of the peer protocol as values (BEP 3, *peer messages*; BEP 5; BEP 6; BEP 10).
//!
//! PIECE is not among them: its payload streams, see [`Decoded`](super::decode::Decoded) and
//! [`piece_header`](super::encode::piece_header). The messages of BEP 52 (21 to 23) and those of
//! newer drafts come as [`Message::Unknown`].

/// Message ids.
pub mod id {
    /// `choke` (BEP 3).
    pub const CHOKE: u8 = 0;
    /// `unchoke` (BEP 3).
    pub const UNCHOKE: u8 = 1;
    /// `interested` (BEP 3).
    pub const INTERESTED: u8 = 2;
    /// `not interested` (BEP 3).
    pub const NOT_INTERESTED: u8 = 3;
    /// `have` (BEP 3).
    pub const HAVE: u8 = 4;
    /// `bitfield` (BEP 3).
    pub const BITFIELD: u8 = 5;
    /// `request` (BEP 3).
    pub const REQUEST: u8 = 6;
    /// `piece` (BEP 3).
    pub const PIECE: u8 = 7;
    /// `cancel` (BEP 3).
    pub const CANCEL: u8 = 8;
    /// `port` (BEP 5, *peer protocol*).
    pub const PORT: u8 = 9;
    /// `suggest piece` (BEP 6).
    pub const SUGGEST_PIECE: u8 = 0x0d;
    /// `have all` (BEP 6).
    pub const HAVE_ALL: u8 = 0x0e;
    /// `have none` (BEP 6).
    pub const HAVE_NONE: u8 = 0x0f;
    /// `reject request` (BEP 6).
    pub const REJECT_REQUEST: u8 = 0x10;
    /// `allowed fast` (BEP 6).
    pub const ALLOWED_FAST: u8 = 0x11;
    /// `extended` (BEP 10).
    pub const EXTENDED: u8 = 20;
}

/// One message. Pieces are indices from 0; `begin` and `length` are bytes inside a piece. None of
/// these numbers is checked against a torrent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message<'a> {
    /// A length of 0: only says that the sender is there.
    KeepAlive,
    /// Requests will not be answered.
    Choke,
    /// Requests will be answered.
    Unchoke,
    /// The receiver has pieces that the sender wants.
    Interested,
    /// It has none.
    NotInterested,
    /// The sender has this piece now.
    Have(u32),
    /// The pieces the sender has, high bit first; size and spare bits are not checked here.
    Bitfield(&'a [u8]),
    /// The sender wants this block.
    Request {
        /// The piece.
        piece: u32,
        /// The block's first byte.
        begin: u32,
        /// The block's length.
        length: u32,
    },
    /// The sender no longer wants this block.
    Cancel {
        /// The piece.
        piece: u32,
        /// The block's first byte.
        begin: u32,
        /// The block's length.
        length: u32,
    },
    /// The UDP port of the sender's DHT node.
    Port(u16),
    /// The sender would like the receiver to fetch this piece.
    SuggestPiece(u32),
    /// The sender has every piece.
    HaveAll,
    /// The sender has no piece.
    HaveNone,
    /// This request will not be answered.
    RejectRequest {
        /// The piece.
        piece: u32,
        /// The block's first byte.
        begin: u32,
        /// The block's length.
        length: u32,
    },
    /// Requests for this piece are answered even while choked.
    AllowedFast(u32),
    /// A message of an extension. `id` 0 is the extension handshake, any other the number that the
    /// receiver gave to the extension in its own handshake.
    Extended {
        /// Which extension.
        id: u8,
        /// What follows the extension's number.
        payload: &'a [u8],
    },
    /// A message we do not know; its payload is skipped.
    Unknown {
        /// The message's id.
        id: u8,
    },
}
