//! A connection that holds its room in the session's connection limit: over TCP, or with a web seed.

use std::{
    io::{self, IoSlice},
    task::{Context, Poll},
};

use tokio::net::TcpStream;

use super::slots::Slot;
use crate::net::{transport::Transport, web_seed::WebSeedStream};

/// One connection of a torrent.
#[derive(Debug)]
pub(super) struct Socket {
    stream: Stream,
    _slot: Slot,
}

#[derive(Debug)]
enum Stream {
    Tcp(TcpStream),
    WebSeed(Box<WebSeedStream>),
}

impl Socket {
    pub(super) const fn new(stream: TcpStream, slot: Slot) -> Self {
        Socket { stream: Stream::Tcp(stream), _slot: slot }
    }

    pub(super) fn web_seed(stream: WebSeedStream, slot: Slot) -> Self {
        Socket { stream: Stream::WebSeed(Box::new(stream)), _slot: slot }
    }
}

impl Transport for Socket {
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        match &mut self.stream {
            Stream::Tcp(stream) => stream.poll_read(cx, buf),
            Stream::WebSeed(stream) => stream.poll_read(cx, buf),
        }
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.stream {
            Stream::Tcp(stream) => stream.poll_write(cx, slices),
            Stream::WebSeed(stream) => stream.poll_write(cx, slices),
        }
    }
}
