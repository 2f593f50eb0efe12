//! downpour: a BitTorrent client, as a library and a program.

pub mod base;
pub mod bencode;
pub mod cli;
pub mod disk;
pub mod metainfo;
pub mod net;
pub mod peer;
pub mod pieces;
pub mod session;
pub mod sim;
pub mod torrent;
pub mod tracker;
pub mod wire;
