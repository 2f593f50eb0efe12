//! One swarm's machine: owns the pieces and the peers of one torrent.
//!
//! Pure. A driver calls [`Torrent::handle`], [`Torrent::admit`], [`Torrent::read`] or
//! [`Torrent::write`] (one mutation), then drains [`Torrent::poll`] until `None`, then arms a timer
//! for [`Torrent::poll_timeout`].

mod input;
mod output;
mod reason;
mod snapshot;

pub use input::{CloseCause, Command, DialFailure, Input, Source};
pub use output::{Event, Output};
pub use reason::{Disconnect, Refusal, Waiting};
pub use snapshot::{PeerSnapshot, Phase, Snapshot};

use crate::base::{bitfield::Bitfield, geometry::Geometry, hash::Sha1Hash, id::PeerId};

/// Who opened a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// They dialled us.
    Incoming,
    /// We dialled them.
    Outgoing,
}

/// What a torrent may use and how it behaves.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Most connections at once, handshakes included.
    pub max_peers: u32,
    /// Most dials in flight.
    pub max_dialling: u32,
    /// Peers unchoked at once, the optimistic one included; `None` finds a number that fills the uplink.
    pub unchoke_slots: Option<u32>,
    /// Take pieces in order instead of rarest first.
    pub sequential: bool,
    /// Keep connections to peers who can't want anything from us or give us anything.
    pub keep_useless: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            max_peers: 200,
            max_dialling: 20,
            unchoke_slots: None,
            sequential: false,
            keep_useless: false,
        }
    }
}

/// What a torrent needs to begin.
#[derive(Debug)]
pub struct Setup {
    /// The 20 bytes of the handshake.
    pub info_hash: Sha1Hash,
    /// Lengths.
    pub geometry: Geometry,
    /// Pieces already verified on disk.
    pub have: Bitfield,
    /// Who we are.
    pub peer_id: PeerId,
    /// Where we listen; told to peers.
    pub listen_port: Option<u16>,
    /// Length of the info dictionary in bytes; told to peers (BEP 9).
    pub metadata_size: u32,
    /// How to behave.
    pub settings: Settings,
    /// Seed of every random choice.
    pub seed: u64,
}

/// What [`Torrent::write`] left behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// Nothing more to say now; `Output::WantWrite` will come when there is.
    Idle,
    /// More is ready: call again when the send buffer has drained.
    More,
    /// Blocks wait for the upload bucket: call again at its `ready_at`.
    RateLimited,
}
