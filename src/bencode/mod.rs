//! Bencoding (BEP 3): checked, read without copying, and written in canonical form.
//!
//! Owns the scanner that all bencoded bytes from outside pass, the views over scanned bytes, the
//! only entry to `serde_bencode`, and the writer. What the values mean is decided elsewhere:
//! `metainfo`, `tracker` and `wire` know the keys.
//!
//! Bytes are checked once, at the boundary: [`Value::scan`] or [`typed::from_bytes`]. A view that
//! exists has passed the scanner, so walking it cannot fail half-way.

pub mod scan;
pub mod typed;
pub mod value;
pub mod write;

pub use scan::{BencodeError, Limits, Problem, Scan, scan, scan_prefix};
pub use value::{Dict, List, Value};
