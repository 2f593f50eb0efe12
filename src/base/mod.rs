//! The vocabulary every other module speaks: hashes, indices, units, time, randomness, buffers,
//! blocked addresses, what is repeated of addresses, and the limits on untrusted input.
//!
//! Pure: no I/O, no clock, no threads, no global randomness. Nothing here knows the protocol.

pub mod bitfield;
pub mod compact;
pub mod echo;
pub mod fair_queue;
pub mod fault_kind;
pub mod file_stamp;
pub mod geometry;
pub mod hash;
pub mod id;
pub mod index;
pub mod ip_filter;
pub mod limits;
pub mod pages;
pub mod rate;
pub mod rng;
pub mod slab;
pub mod time;
pub mod token_bucket;
pub mod units;
pub mod web_seed;
