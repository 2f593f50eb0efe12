//! Web seeds (BEP 19): HTTP servers that have a torrent's files, made to look like peers that have
//! everything, or all but a few files.
//!
//! [`Translator`] takes the peer-wire protocol in and asks for ranges of files; it takes the bytes of these
//! and gives the peer-wire protocol back. So what is asked of a web seed, how much, and what becomes of it, is
//! decided where that of every peer is. [`Site`] says at which URL a file is, [`reply`] what to think of the
//! head of a reply, [`Failure`] what went wrong. Nothing here speaks HTTP: see [`crate::net::web_seed`]. When
//! a web seed is used, and when again, is decided in `torrent`.

mod failure;
pub mod reply;
mod site;
mod translator;

pub use failure::Failure;
pub use site::Site;
pub use translator::{Get, Translator};
