//! Dials for all torrents of a shard: a bounded number in flight, the rest in queues that take turns.
//!
//! A dial goes as far as the encryption handshake, if it is to have one. It holds its room among the session's
//! connections from its start. What became of it comes back by mail.

use std::{
    collections::{HashMap, VecDeque},
    io,
    net::IpAddr,
    sync::Arc,
};

use tokio::{net::TcpStream, time::timeout};

use super::{
    id::TorrentId,
    mail::{Dialled, Mail},
    slots::Slots,
    socket::Socket,
    turn::Dial,
};
use crate::{
    base::limits::{DIAL_TIMEOUT, HANDSHAKE_TIMEOUT},
    mse::Methods,
    net::{
        encryption::{self, Opened},
        outlet::Outlet,
        tcp,
        whereabouts::is_cut_off,
    },
    torrent::DialFailure,
};

/// Dials in flight, which is 16 a second where nobody answers: many more make some home routers lose
/// connections.
const MAX_DIALS: usize = 128;

/// The addresses that each torrent wants dialled: one of each torrent in turn, so that one which has just
/// come does not wait for all those of the others.
#[derive(Debug, Default)]
struct Queues {
    of: HashMap<TorrentId, VecDeque<Dial>>,
    /// Torrents with a queue, whose turn it is first.
    turns: VecDeque<TorrentId>,
}

impl Queues {
    fn push(&mut self, dial: Dial) {
        let torrent = dial.torrent;
        let queue = self.of.entry(torrent).or_default();
        if queue.is_empty() {
            self.turns.push_back(torrent);
        }
        queue.push_back(dial);
    }

    fn pop(&mut self) -> Option<Dial> {
        let torrent = self.turns.pop_front()?;
        let queue = self.of.get_mut(&torrent)?;
        let dial = queue.pop_front()?;
        if queue.is_empty() {
            self.of.remove(&torrent);
        } else {
            self.turns.push_back(torrent);
        }
        Some(dial)
    }

    fn forget(&mut self, torrent: TorrentId) {
        self.of.remove(&torrent);
        self.turns.retain(|&turn| turn != torrent);
    }
}

/// The dials of one shard.
#[derive(Debug)]
pub(super) struct Dialler {
    queues: Queues,
    in_flight: usize,
    slots: Slots,
    mail: Arc<Mail>,
    way: Way,
}

/// How one shard dials.
#[derive(Debug, Clone)]
pub(super) struct Way {
    /// By which way they leave.
    pub(super) outlet: Outlet,
    /// The address from which dials leave.
    pub(super) from: Option<IpAddr>,
    /// Whether IPv6 is used.
    pub(super) ipv6: bool,
    /// What may follow the encryption handshake.
    pub(super) methods: Methods,
}

impl Dialler {
    pub(super) fn new(slots: Slots, mail: Arc<Mail>, way: Way) -> Self {
        Dialler { queues: Queues::default(), in_flight: 0, slots, mail, way }
    }

    /// Dials as soon as there is room.
    pub(super) fn push(&mut self, dial: Dial) {
        self.queues.push(dial);
        self.start();
    }

    /// One dial has come to its end.
    pub(super) fn ended(&mut self) {
        self.in_flight -= 1;
        self.start();
    }

    /// A torrent is gone: what waits here for it is not dialled.
    pub(super) fn forget(&mut self, torrent: TorrentId) {
        self.queues.forget(torrent);
    }

    fn start(&mut self) {
        while self.in_flight < MAX_DIALS
            && let Some(dial) = self.queues.pop()
        {
            self.in_flight += 1;
            let (slot, mail, way) = (self.slots.take(), self.mail.clone(), self.way.clone());
            tokio::spawn(async move {
                let (torrent, addr) = (dial.torrent, dial.addr);
                let result = match slot {
                    Some(slot) => {
                        open(dial, way).await.map(|opened| opened.map(|s| Socket::new(s, slot)))
                    }
                    None => Err(DialFailure::NoDescriptor),
                };
                mail.post(|letters| letters.dialled.push(Dialled { torrent, addr, result }));
            });
        }
    }
}

/// Connects, as far as messages may follow.
async fn open(dial: Dial, way: Way) -> Result<Opened<TcpStream>, DialFailure> {
    // What a proxy has is its own affair.
    if dial.addr.is_ipv6() && !way.ipv6 && !way.outlet.is_proxied() {
        return Err(DialFailure::Unreachable);
    }
    let connected = tcp::dial(&way.outlet, dial.addr, way.from, DIAL_TIMEOUT).await;
    let stream = connected.map_err(|error| match failure(&error, dial.addr.is_ipv6()) {
        // Without any network, and any way to it, it says nothing about the peer. What a proxy says of it does.
        DialFailure::Unreachable
            if !way.outlet.is_proxied() && is_cut_off(way.outlet.binding(), dial.addr) =>
        {
            DialFailure::NoWay
        }
        failure => failure,
    })?;
    let Some(hello) = dial.encrypted else { return Ok(Opened::plain(stream, Vec::new())) };
    let initial = hello.to_bytes().to_vec();
    let agreeing = encryption::initiate(stream, hello.info_hash, way.methods, initial);
    match timeout(HANDSHAKE_TIMEOUT, agreeing).await {
        Ok(Ok(opened)) => Ok(opened),
        _ => Err(DialFailure::Declined),
    }
}

/// What a failed dial says about the address, which is one of `ipv6` or not.
fn failure(err: &io::Error, ipv6: bool) -> DialFailure {
    use io::ErrorKind::{
        AddrInUse, AddrNotAvailable, ConnectionRefused, ConnectionReset, NetworkDown, OutOfMemory,
        QuotaExceeded, TimedOut,
    };
    use rustix::io::Errno;
    match err.kind() {
        ConnectionRefused | ConnectionReset => DialFailure::Refused,
        TimedOut => DialFailure::TimedOut,
        // There is no IPv6 here.
        AddrNotAvailable if ipv6 => DialFailure::Unreachable,
        // The last two: no local port is left.
        QuotaExceeded | OutOfMemory | AddrInUse | AddrNotAvailable => DialFailure::NoDescriptor,
        NetworkDown => DialFailure::NoWay,
        _ => match Errno::from_io_error(err) {
            Some(Errno::NODEV) => DialFailure::NoWay,
            Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS) => DialFailure::NoDescriptor,
            _ => DialFailure::Unreachable,
        },
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;
    use crate::net::outlet::OutletOptions;
    use rustix::io::Errno;

    #[test]
    fn torrents_take_turns() {
        let mut queues = Queues::default();
        let dial = |torrent, port| (TorrentId(torrent), SocketAddr::from(([10, 0, 0, 1], port)));
        for (torrent, port) in [(1, 1), (1, 2), (1, 3), (2, 1), (3, 1), (2, 2)] {
            let (torrent, addr) = dial(torrent, port);
            queues.push(Dial { torrent, addr, encrypted: None });
        }
        let order = std::iter::from_fn(|| queues.pop());
        let order: Vec<_> = order.map(|dial| (dial.torrent, dial.addr)).collect();
        assert_eq!(
            order,
            [(1, 1), (2, 1), (3, 1), (1, 2), (2, 2), (1, 3)].map(|(t, p)| dial(t, p))
        );
        assert!(queues.of.is_empty());
    }

    #[test]
    fn what_a_torrent_that_is_gone_wanted_is_not_dialled() {
        let mut queues = Queues::default();
        for torrent in [1, 2, 1] {
            let addr = SocketAddr::from(([10, 0, 0, 1], 1));
            queues.push(Dial { torrent: TorrentId(torrent), addr, encrypted: None });
        }
        queues.forget(TorrentId(1));
        assert_eq!(queues.pop().map(|dial| dial.torrent), Some(TorrentId(2)));
        assert!(queues.pop().is_none() && queues.turns.is_empty());
    }

    #[tokio::test]
    async fn no_more_than_so_many_are_under_way() {
        let outlet = Outlet::open(&OutletOptions::default()).await.expect("a direct one");
        let way = Way { outlet, from: None, ipv6: false, methods: Methods::PLAIN };
        // Without room for a connection nothing leaves, and what has ended waits to be fetched.
        let mail = Mail::new(Arc::default());
        let mut dialler = Dialler::new(Slots::new(0), mail, way);
        for port in 1..=MAX_DIALS as u16 + 3 {
            let addr = SocketAddr::from(([127, 0, 0, 1], port));
            dialler.push(Dial { torrent: TorrentId(u64::from(port % 2)), addr, encrypted: None });
        }
        let waiting = |d: &Dialler| d.queues.of.values().map(VecDeque::len).sum::<usize>();
        assert_eq!((dialler.in_flight, waiting(&dialler)), (MAX_DIALS, 3));
        for left in [2, 1, 0] {
            dialler.ended();
            assert_eq!((dialler.in_flight, waiting(&dialler)), (MAX_DIALS, left));
        }
        dialler.ended();
        assert_eq!(dialler.in_flight, MAX_DIALS - 1);
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
            assert_eq!(failure(&io::Error::from(errno), false), want, "{errno}");
        }
    }
}
