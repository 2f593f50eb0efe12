//! What moves bytes between hosts: transports, HTTP, names.
//!
//! Sockets, but no torrents: who is dialled and what is said is decided above or in the pure
//! folders.

pub mod http;
pub mod resolver;
pub mod tracker_client;
