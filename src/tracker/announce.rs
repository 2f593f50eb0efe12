//! An announce and its reply as values, whatever carries them (BEP 3, *Trackers*).
//!
//! Bytes are in [`super::http`] (ours) and [`super::http_host`] (the embedded tracker's); timing
//! is in [`super::tiers`].

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use crate::base::{
    hash::Sha1Hash,
    id::PeerId,
    limits::{DEFAULT_ANNOUNCE_INTERVAL, MAX_TRACKER_TEXT},
};

/// What happened since the last announce (BEP 3, *event*).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Event {
    /// Nothing: a regular announce.
    #[default]
    None,
    /// The first announce to this tracker.
    Started,
    /// The download has just become complete; not sent by who started complete.
    Completed,
    /// The last announce to this tracker.
    Stopped,
    /// A regular announce of who fetches nothing more, though something is missing (BEP 21).
    Paused,
}

impl Event {
    /// The word in the query, if there is one.
    pub const fn name(self) -> Option<&'static str> {
        match self {
            Event::None => None,
            Event::Started => Some("started"),
            Event::Completed => Some("completed"),
            Event::Stopped => Some("stopped"),
            Event::Paused => Some("paused"),
        }
    }
}

/// Over which address families to announce. A tracker lists the address it sees, so a peer that is
/// reachable over both has to announce over both (BEP 7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Families {
    /// Over whichever connects first.
    #[default]
    Any,
    /// Over IPv4 only.
    V4,
    /// Over IPv6 only.
    V6,
    /// Once over each family in which the tracker has an address.
    Both,
}

/// What the tracker is told of encrypted connections, so that it can name peers that fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Crypto {
    /// There are none.
    #[default]
    None,
    /// There may be.
    Supported,
    /// There are no others.
    Required,
}

/// One announce.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnnounceRequest {
    /// The torrent: v1 info hash, or the v2 one cut to 20 bytes.
    pub info_hash: Sha1Hash,
    /// Who announces.
    pub peer_id: PeerId,
    /// The port on which peers reach us.
    pub port: u16,
    /// Payload bytes sent since `started`.
    pub uploaded: u64,
    /// Payload bytes received since `started`.
    pub downloaded: u64,
    /// Payload bytes still missing; 0 means seed.
    pub left: u64,
    /// What happened.
    pub event: Event,
    /// How many peers we should like; a tracker may give fewer.
    pub numwant: u32,
    /// Tells the tracker that we are the same client when our address changes.
    pub key: u32,
    /// What this tracker gave as `tracker id` last time.
    pub tracker_id: Option<Vec<u8>>,
    /// How connections may be; said to HTTP trackers only.
    pub crypto: Crypto,
    /// Over which families; not part of the bytes.
    pub families: Families,
}

/// What a tracker answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnnounceReply {
    /// When to announce again, as the tracker said: not clamped.
    pub interval: Duration,
    /// Not before that, as the tracker said.
    pub min_interval: Option<Duration>,
    /// Peers, both families, without port 0 and doubles.
    pub peers: Vec<SocketAddr>,
    /// Peers with everything (`complete`).
    pub seeds: Option<u32>,
    /// Other peers (`incomplete`).
    pub leeches: Option<u32>,
    /// A warning for the user; printable.
    pub warning: Option<String>,
    /// To be sent back in the next announce.
    pub tracker_id: Option<Vec<u8>>,
    /// Our address as the tracker sees it (BEP 24).
    pub external_ip: Option<IpAddr>,
}

impl Default for AnnounceReply {
    fn default() -> Self {
        AnnounceReply {
            interval: DEFAULT_ANNOUNCE_INTERVAL,
            min_interval: None,
            peers: Vec::new(),
            seeds: None,
            leeches: None,
            warning: None,
            tracker_id: None,
            external_ip: None,
        }
    }
}

/// A tracker said no (`failure reason`).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Refusal {
    /// Why; printable.
    pub reason: String,
    /// When it makes sense to try again, if the tracker said so (BEP 31).
    pub retry: Option<Retry>,
}

/// When to ask again a tracker that refused (BEP 31).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Retry {
    /// Not before this time has passed.
    After(Duration),
    /// Never.
    Never,
}

/// Text from a stranger, fit for a terminal: UTF-8, no control characters, bounded.
pub fn printable(bytes: &[u8]) -> String {
    let bytes = &bytes[..bytes.len().min(MAX_TRACKER_TEXT)];
    let text = String::from_utf8_lossy(bytes);
    text.trim().chars().map(|c| if is_hidden(c) { '\u{fffd}' } else { c }).collect()
}

/// Control characters, and those that reorder the text around them.
fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_cannot_write_to_the_terminal() {
        assert_eq!(printable(b" no such torrent\n"), "no such torrent");
        assert_eq!(printable(b"\x1b[2Jgone\xff"), "\u{fffd}[2Jgone\u{fffd}");
        assert_eq!(printable("a\u{202e}b".as_bytes()), "a\u{fffd}b");
        assert!(printable(&[b'x'; 100_000]).len() <= MAX_TRACKER_TEXT);
    }
}
