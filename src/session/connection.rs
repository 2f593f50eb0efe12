//! One connection as the turn sees it: a stream, what is about to leave on it, and its bell.
//!
//! Idle it holds no buffer. What the bytes mean is the torrent's affair.

use std::{
    io::{self, IoSlice},
    net::SocketAddr,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use super::ready::Bell;
use crate::{
    base::{id::PeerKey, slab::Pool},
    mse::Ciphers,
    net::transport::Transport,
    peer::outbox::SendBuf,
    torrent::CloseCause,
};

/// Slices of one vectored write: 64 blocks with their headers.
const MAX_SLICES: usize = 128;

/// How far a write came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sent {
    /// The stream took so many bytes; it may take more.
    Some(usize),
    /// The stream takes nothing now; it will ring.
    Blocked,
}

/// One connection.
#[derive(Debug)]
pub(super) struct Connection<T> {
    pub(super) peer: PeerKey,
    pub(super) addr: SocketAddr,
    pub(super) out: SendBuf,
    /// It is in the queue of connections that have something to say.
    pub(super) queued: bool,
    /// It is in the queue of those whose blocks wait for the upload limit.
    pub(super) gagged: bool,
    /// It is in the queue of those that wait for the read limit.
    pub(super) thirsty: bool,
    /// It has something to say and the stream did not take it.
    pub(super) blocked: bool,
    /// No limit is for it.
    pub(super) unlimited: bool,
    stream: T,
    ciphers: Option<Box<Ciphers>>,
    bell: Arc<Bell>,
    waker: Waker,
}

impl<T: Transport> Connection<T> {
    pub(super) fn new(
        peer: PeerKey,
        addr: SocketAddr,
        (stream, ciphers): (T, Option<Box<Ciphers>>),
        bell: Arc<Bell>,
    ) -> Self {
        let waker = bell.waker();
        let out = SendBuf::default();
        // Nobody rings for what arrived before the first read.
        bell.ring();
        Connection {
            peer,
            addr,
            out,
            queued: false,
            gagged: false,
            thirsty: false,
            blocked: false,
            unlimited: false,
            stream,
            ciphers,
            bell,
            waker,
        }
    }

    /// It belongs to another torrent now, for which `bell` rings; it waits in no queue.
    pub(super) fn pass_to(&mut self, bell: Arc<Bell>) {
        self.waker = bell.waker();
        self.bell = bell;
        // Whatever its stream is waiting for, only the old bell would ring.
        self.bell.ring();
        self.blocked = true;
        (self.queued, self.gagged, self.thirsty) = (false, false, false);
    }

    /// The turn looks at it: it may ring again.
    pub(super) fn looked_at(&self) {
        self.bell.reset();
    }

    pub(super) fn poll_read(&mut self, buf: &mut [u8]) -> Poll<Result<usize, CloseCause>> {
        let mut cx = Context::from_waker(&self.waker);
        match self.stream.poll_read(&mut cx, buf) {
            Poll::Ready(Ok(0)) => Poll::Ready(Err(CloseCause::Eof)),
            Poll::Ready(Err(err)) => Poll::Ready(Err(close_cause(&err))),
            Poll::Ready(Ok(n)) => {
                if let Some(ciphers) = &mut self.ciphers {
                    ciphers.decrypt(&mut buf[..n]);
                }
                Poll::Ready(Ok(n))
            }
            Poll::Pending => Poll::Pending,
        }
    }

    /// One vectored write of what is in `out`, which is not empty.
    pub(super) fn send(&mut self, pool: &mut Pool) -> Result<Sent, CloseCause> {
        if let Some(ciphers) = &mut self.ciphers {
            self.out.encrypt(|bytes| ciphers.encrypt(bytes));
        }
        let mut slices = [IoSlice::new(&[]); MAX_SLICES];
        let used = self.out.io_slices(&mut slices);
        let mut cx = Context::from_waker(&self.waker);
        match self.stream.poll_write(&mut cx, &slices[..used]) {
            Poll::Ready(Ok(0)) => Err(CloseCause::Reset),
            Poll::Ready(Ok(n)) => {
                self.out.advance(n, pool);
                Ok(Sent::Some(n))
            }
            Poll::Ready(Err(err)) => Err(close_cause(&err)),
            Poll::Pending => {
                self.blocked = true;
                Ok(Sent::Blocked)
            }
        }
    }
}

fn close_cause(err: &io::Error) -> CloseCause {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset};
    if let Some(failure) = err.get_ref().and_then(|cause| cause.downcast_ref()) {
        return CloseCause::WebSeed(*failure);
    }
    match err.kind() {
        ConnectionReset | ConnectionAborted | BrokenPipe => CloseCause::Reset,
        _ => CloseCause::Lost,
    }
}
