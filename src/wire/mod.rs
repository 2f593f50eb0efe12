//! The peer-wire protocol as bytes and values (BEP 3, *peer protocol*; BEP 6; BEP 10; BEP 9).
//!
//! Owns the messages, their decoder and encoder, the 68-byte handshake, and the values inside
//! extension messages. Pure: no connection, no state of a peer, no opinion on whether a message
//! is allowed at this moment; that is for `peer` and `torrent`. Indices are numbers here: only
//! `base::geometry` makes them indices of a torrent.

pub mod decode;
pub mod encode;
pub mod error;
pub mod extension;
pub mod handshake;
pub mod message;
pub mod ut_metadata;
pub mod ut_pex;

pub use decode::{Decoded, Decoder};
pub use error::WireError;
pub use extension::{ExtensionHandshake, ExtensionIds};
pub use handshake::{HANDSHAKE_LEN, Handshake, Reserved};
pub use message::Message;
pub use ut_metadata::MetadataMessage;
