//! A UDP server: one datagram in, at most one out. Knows no protocol.

use std::{io, net::SocketAddr, sync::Arc};

use tokio::{net::UdpSocket, task::JoinHandle};

use super::sockets::Binding;
use crate::base::compact::canonical;

/// Longest request that is read; longer ones are cut, and then not understood.
const MAX_REQUEST: usize = 4 << 10;

/// A running server. Dropping it stops it at once.
#[derive(Debug)]
pub struct UdpServer {
    task: JoinHandle<()>,
}

impl UdpServer {
    /// Answers datagrams to `addr` (`[::]` takes IPv4 as well) by `answer`; to be called inside a tokio
    /// runtime, an error otherwise.
    pub fn start<A>(addr: SocketAddr, answer: A) -> io::Result<Self>
    where
        A: Fn(&[u8], SocketAddr) -> Option<Vec<u8>> + Send + Sync + 'static,
    {
        let runtime = tokio::runtime::Handle::try_current().map_err(io::Error::other)?;
        let socket = Binding::default().udp(addr, addr.ip().is_unspecified())?;
        Ok(UdpServer { task: runtime.spawn(serve(socket, Arc::new(answer))) })
    }
}

impl Drop for UdpServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve<A>(socket: UdpSocket, answer: Arc<A>)
where
    A: Fn(&[u8], SocketAddr) -> Option<Vec<u8>> + Send + Sync + 'static,
{
    let mut buf = vec![0; MAX_REQUEST];
    loop {
        // An error is about a datagram that we sent before, such as one that nobody wanted.
        let Ok((length, from)) = socket.recv_from(&mut buf).await else {
            tokio::task::yield_now().await;
            continue;
        };
        if let Some(reply) = answer(&buf[..length], canonical(from)) {
            // Whoever does not get it asks again.
            let _ = socket.send_to(&reply, from).await;
        }
    }
}
