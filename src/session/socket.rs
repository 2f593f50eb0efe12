//! A TCP connection that holds its room in the session's connection limit.

use std::{
    io::{self, IoSlice},
    task::{Context, Poll},
};

use tokio::net::TcpStream;

use super::slots::Slot;
use crate::net::transport::Transport;

/// One connection of a peer.
#[derive(Debug)]
pub(super) struct Socket {
    stream: TcpStream,
    _slot: Slot,
}

impl Socket {
    pub(super) const fn new(stream: TcpStream, slot: Slot) -> Self {
        Socket { stream, _slot: slot }
    }
}

impl Transport for Socket {
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        self.stream.poll_read(cx, buf)
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.stream.poll_write(cx, slices)
    }
}
