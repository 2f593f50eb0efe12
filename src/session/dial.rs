//! Dials for all torrents of a shard: a bounded number in flight, the rest in queues that take turns.
//!
//! A dial holds its room among the session's connections from its start. What became of it comes
//! back by mail.

use std::{
    collections::{HashMap, VecDeque},
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use super::{
    id::TorrentId,
    mail::{Dialled, Mail},
    slots::Slots,
};
use crate::{base::limits::DIAL_TIMEOUT, net::tcp, torrent::DialFailure};

/// Dials in flight: more make some home routers lose connections.
const MAX_DIALS: usize = 64;

/// The addresses that each torrent wants dialled: one of each torrent in turn, so that one which has just
/// come does not wait for all those of the others.
#[derive(Debug, Default)]
struct Queues {
    of: HashMap<TorrentId, VecDeque<SocketAddr>>,
    /// Torrents with a queue, whose turn it is first.
    turns: VecDeque<TorrentId>,
}

impl Queues {
    fn push(&mut self, torrent: TorrentId, addr: SocketAddr) {
        let queue = self.of.entry(torrent).or_default();
        if queue.is_empty() {
            self.turns.push_back(torrent);
        }
        queue.push_back(addr);
    }

    fn pop(&mut self) -> Option<(TorrentId, SocketAddr)> {
        let torrent = self.turns.pop_front()?;
        let queue = self.of.get_mut(&torrent)?;
        let addr = queue.pop_front()?;
        if queue.is_empty() {
            self.of.remove(&torrent);
        } else {
            self.turns.push_back(torrent);
        }
        Some((torrent, addr))
    }
}

/// The dials of one shard.
#[derive(Debug)]
pub(super) struct Dialler {
    queues: Queues,
    in_flight: usize,
    slots: Slots,
    mail: Arc<Mail>,
    from: Option<IpAddr>,
    ipv6: bool,
}

impl Dialler {
    /// Dials leave from the address `from`, to IPv6 addresses only if `ipv6`.
    pub(super) fn new(slots: Slots, mail: Arc<Mail>, from: Option<IpAddr>, ipv6: bool) -> Self {
        Dialler { queues: Queues::default(), in_flight: 0, slots, mail, from, ipv6 }
    }

    /// Dials as soon as there is room.
    pub(super) fn push(&mut self, torrent: TorrentId, addr: SocketAddr) {
        self.queues.push(torrent, addr);
        self.start();
    }

    /// One dial has come to its end.
    pub(super) fn ended(&mut self) {
        self.in_flight -= 1;
        self.start();
    }

    fn start(&mut self) {
        while self.in_flight < MAX_DIALS
            && let Some((torrent, addr)) = self.queues.pop()
        {
            self.in_flight += 1;
            let (slot, mail, from) = (self.slots.take(), self.mail.clone(), self.from);
            let usable = self.ipv6 || addr.is_ipv4();
            tokio::spawn(async move {
                let result = match slot {
                    _ if !usable => Err(io::ErrorKind::Unsupported.into()),
                    None => Err(io::ErrorKind::QuotaExceeded.into()),
                    Some(slot) => {
                        tcp::dial(addr, from, DIAL_TIMEOUT).await.map(|stream| (stream, slot))
                    }
                };
                mail.post(|letters| letters.dialled.push(Dialled { torrent, addr, result }));
            });
        }
    }
}

/// What a failed dial says about the address.
pub(super) fn failure(err: &io::Error) -> DialFailure {
    use io::ErrorKind::{
        AddrInUse, AddrNotAvailable, ConnectionRefused, ConnectionReset, OutOfMemory,
        QuotaExceeded, TimedOut,
    };
    use rustix::io::Errno;
    match err.kind() {
        ConnectionRefused | ConnectionReset => DialFailure::Refused,
        TimedOut => DialFailure::TimedOut,
        // The last two: no local port is left.
        QuotaExceeded | OutOfMemory | AddrInUse | AddrNotAvailable => DialFailure::NoDescriptor,
        _ => match Errno::from_io_error(err) {
            Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS) => DialFailure::NoDescriptor,
            _ => DialFailure::Unreachable,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::io::Errno;

    #[test]
    fn torrents_take_turns() {
        let mut queues = Queues::default();
        let dial = |torrent, port| (TorrentId(torrent), SocketAddr::from(([10, 0, 0, 1], port)));
        for (torrent, port) in [(1, 1), (1, 2), (1, 3), (2, 1), (3, 1), (2, 2)] {
            let (torrent, addr) = dial(torrent, port);
            queues.push(torrent, addr);
        }
        let order: Vec<_> = std::iter::from_fn(|| queues.pop()).collect();
        assert_eq!(
            order,
            [(1, 1), (2, 1), (3, 1), (1, 2), (2, 2), (1, 3)].map(|(t, p)| dial(t, p))
        );
        assert!(queues.of.is_empty());
    }

    #[test]
    fn only_the_other_side_is_blamed_for_what_it_did() {
        for (errno, want) in [
            (Errno::CONNREFUSED, DialFailure::Refused),
            (Errno::TIMEDOUT, DialFailure::TimedOut),
            (Errno::NETUNREACH, DialFailure::Unreachable),
            (Errno::HOSTUNREACH, DialFailure::Unreachable),
            (Errno::MFILE, DialFailure::NoDescriptor),
            (Errno::NFILE, DialFailure::NoDescriptor),
            (Errno::ADDRNOTAVAIL, DialFailure::NoDescriptor),
            (Errno::NOBUFS, DialFailure::NoDescriptor),
        ] {
            assert_eq!(failure(&io::Error::from(errno)), want, "{errno}");
        }
    }
}
