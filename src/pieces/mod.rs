//! The piece manager.

pub mod job;
