//! A connection that never leaves the process: two streams joined by buffers of a fixed size.
//!
//! For tests and benchmarks of whatever takes a [`Transport`]. No delay, no loss; a full buffer makes
//! the writer wait, an end that is dropped ends the other one's reading.

use std::{
    collections::VecDeque,
    io::{self, IoSlice, Read as _},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use super::transport::Transport;

/// One end of a connection in memory.
#[derive(Debug)]
pub struct MemoryStream {
    reads: Arc<Mutex<Channel>>,
    writes: Arc<Mutex<Channel>>,
}

/// One direction.
#[derive(Debug)]
struct Channel {
    bytes: VecDeque<u8>,
    room: usize,
    closed: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

/// Two ends of a connection that holds up to `room` bytes in each direction.
pub fn pair(room: usize) -> (MemoryStream, MemoryStream) {
    let channel = || {
        let (bytes, reader, writer) = (VecDeque::with_capacity(room), None, None);
        Arc::new(Mutex::new(Channel { bytes, room, closed: false, reader, writer }))
    };
    let (there, back) = (channel(), channel());
    let one = MemoryStream { reads: back.clone(), writes: there.clone() };
    (one, MemoryStream { reads: there, writes: back })
}

impl Transport for MemoryStream {
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut channel = lock(&self.reads);
        if channel.bytes.is_empty() && !channel.closed {
            channel.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let n = channel.bytes.read(buf)?;
        if let Some(writer) = channel.writer.take() {
            writer.wake();
        }
        Poll::Ready(Ok(n))
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut channel = lock(&self.writes);
        if channel.closed {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let mut written = 0;
        for slice in slices {
            let n = slice.len().min(channel.room - channel.bytes.len());
            channel.bytes.extend(&slice[..n]);
            written += n;
        }
        if written == 0 {
            channel.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        if let Some(reader) = channel.reader.take() {
            reader.wake();
        }
        Poll::Ready(Ok(written))
    }
}

impl Drop for MemoryStream {
    fn drop(&mut self) {
        for channel in [&self.reads, &self.writes] {
            let mut channel = lock(channel);
            channel.closed = true;
            let wakers = [channel.reader.take(), channel.writer.take()];
            drop(channel);
            wakers.into_iter().flatten().for_each(Waker::wake);
        }
    }
}

fn lock(channel: &Mutex<Channel>) -> MutexGuard<'_, Channel> {
    channel.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_arrive_in_order_and_the_end_is_seen() {
        let (mut a, mut b) = pair(5);
        let mut cx = Context::from_waker(Waker::noop());
        let mut buf = [0; 4];
        assert!(b.poll_read(&mut cx, &mut buf).is_pending());
        let slices = [IoSlice::new(b"abc"), IoSlice::new(b"defg")];
        assert!(matches!(a.poll_write(&mut cx, &slices), Poll::Ready(Ok(5))));
        assert!(a.poll_write(&mut cx, &slices).is_pending());
        assert!(matches!(b.poll_read(&mut cx, &mut buf), Poll::Ready(Ok(4))));
        assert_eq!(&buf, b"abcd");
        drop(a);
        assert!(matches!(b.poll_read(&mut cx, &mut buf), Poll::Ready(Ok(1))));
        assert!(matches!(b.poll_read(&mut cx, &mut buf), Poll::Ready(Ok(0))));
        assert!(matches!(b.poll_write(&mut cx, &slices), Poll::Ready(Err(_))));
    }
}
