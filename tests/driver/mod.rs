//! Plays peer and tracker by hand against the real program.
//!
//! - [`program`]: the binary in a folder of its own, its JSON lines, signals;
//! - [`content`]: what is shared, and its torrent;
//! - [`peer`]: one end of a peer connection, dialled or accepted;
//! - [`node`]: a node of the DHT;
//! - [`tracker`]: trackers over HTTP and UDP that record what they are asked;
//! - [`ask`]: a client of the embedded tracker;
//! - [`bencode`]: a strict reader and a writer.
//!
//! All bytes are made and read here, by nothing of the library: an error in our codecs cannot hide
//! itself. Everything blocks, and what does not come within [`PATIENCE`] is a failure of the test, never
//! a signal. That something is *not* said is shown by what is said after it: see
//! [`peer::Peer::fence`].

#![allow(dead_code, reason = "each test crate uses a part")]
#![allow(clippy::disallowed_methods, reason = "the trackers and listeners here are threads")]

pub(crate) mod ask;
pub(crate) mod bencode;
pub(crate) mod content;
pub(crate) mod node;
pub(crate) mod peer;
pub(crate) mod program;
pub(crate) mod tracker;

use std::time::Duration;

/// Whoever waits so long for anything has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
