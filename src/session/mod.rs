//! The running program: the library's public face over the pure core and its drivers.

pub mod check;
pub mod create;
pub mod glob;
pub mod tracker_host;
