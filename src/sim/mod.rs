//! A whole swarm in virtual time: the same torrent machine that the program runs, under a driver
//! that moves tags in place of bytes.
//!
//! Owns the world ([`world`]), its links, disks, tracker, local network and DHT ([`dht`]), and rogues ([`rogue`], [`masked`], [`replay`],
//! [`server`]), an observer that watches the wires from outside, and scenarios made of them ([`scenario`]). One seed is one run, bit for bit:
//! nothing here reads a clock, and nothing depends on the order of a hash table. Nothing here decides
//! what a torrent does.
//!
//! ```text
//! scenario ──► world ──► host ──► Torrent | Rogue
//!                │         ├──► disk (tags)
//!                │         └──► link (uplink, air, downlink)
//!                ├──► agenda   what is due
//!                ├──► tracker, trackerless
//!                └──► observer ──► report
//! ```

mod agenda;
pub mod dht;
pub mod disk;
pub mod frames;
pub mod host;
mod link;
pub mod masked;
pub mod observer;
mod poison;
pub mod replay;
pub mod report;
pub mod rogue;
pub mod scenario;
pub mod server;
pub mod tracker;
mod trackerless;
mod upload_limit;
pub mod world;

/// One host of a world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostId(pub u32);

impl HostId {
    /// The number as a position in a slice.
    pub const fn at(self) -> usize {
        self.0 as usize
    }
}

/// One direction of a connection. The dialler sends on the even one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(pub u32);

impl StreamId {
    /// The number as a position in a slice.
    pub const fn at(self) -> usize {
        self.0 as usize
    }

    /// The other direction of the same connection.
    pub const fn opposite(self) -> Self {
        StreamId(self.0 ^ 1)
    }

    /// Whether the stream's sender dialled.
    pub const fn is_dialler(self) -> bool {
        self.0.is_multiple_of(2)
    }
}
