//! Hostile input, at the doors where most bytes come in: tables that name each attack, what it gets, and its bound.
//! Local discovery, gateways, proxies, name servers and block lists have theirs beside their code, and in `fuzz`.
//!
//! | door | file |
//! |---|---|
//! | torrent files | [`torrents`] |
//! | magnet links | [`magnets`] |
//! | resume state | [`resume`] |
//! | replies of trackers | [`trackers`] |
//! | peers that we serve | [`peers`] |
//! | peers that begin encrypted | [`encryption`] |
//! | peers that we fetch from | [`sources`] |
//! | replies of web seeds | [`web_seeds`] |
//! | nodes of the DHT | [`nodes`] |
//! | requests to the embedded tracker | [`hosts`] |
//! | files, folders and the system around us | [`machine`] |
//!
//! A row is tried with the real program. All rows of a door are tried, and a failure lists all that went
//! wrong. Where a run ends by itself its bound is kept by the system: what takes more memory, processor
//! time or descriptors than its row allows is ended or refused. What peers, trackers and others may do
//! that is right but odd is not here.

#![allow(clippy::disallowed_methods, reason = "threads play the other side")]

mod bounded;
mod bytes;
#[path = "../driver/mod.rs"]
mod driver;
mod encryption;
mod hosts;
mod machine;
mod magnets;
mod nodes;
mod peers;
mod resume;
mod sources;
mod table;
mod torrents;
mod trackers;
mod web_seeds;
