//! What a turn needs of a connection: a stream of bytes that can be polled, nothing else.
//!
//! [`tcp`](super::tcp) implements it over sockets, [`memory`](super::memory) for tests and benchmarks. How streams come
//! to be (dialling, accepting) is each transport's own affair, and nothing here knows what the bytes
//! mean.

use std::{
    io::{self, IoSlice},
    task::{Context, Poll},
};

/// A connected, ordered, reliable stream of bytes.
///
/// Both calls follow the rules of futures: after `Pending` the waker of `cx` is woken once the call
/// may succeed. Each direction remembers its own, newest waker.
pub trait Transport {
    /// Reads into `buf`, which is not empty. `Ok(0)` is the orderly end of the stream.
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>>;

    /// Writes what comes first of `slices`, which hold at least one byte. Gives the number of bytes
    /// taken.
    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>>;
}
