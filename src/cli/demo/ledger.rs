//! Who received how much from whom, from what every peer sees of its connections.
//!
//! Pure. Only the side that dialled knows where the other one listens (the other sees a passing
//! port), so each connection is counted at the side that dialled, both ways.

use std::{collections::HashMap, net::SocketAddr};

use crate::torrent::PeerSnapshot;

/// Bytes from each of a few peers to each other one. Peers are numbered; the first seeder is 0.
#[derive(Debug)]
pub(super) struct Ledger {
    listen: Vec<SocketAddr>,
    /// `moved[from][to]`.
    moved: Vec<Vec<u64>>,
    /// What a connection's counters last were, by who dialled whom: down and up at the dialler.
    seen: HashMap<(usize, usize), (u64, u64)>,
}

impl Ledger {
    /// An empty ledger of the peers that listen at these addresses.
    pub(super) fn new(listen: Vec<SocketAddr>) -> Self {
        let n = listen.len();
        Ledger { listen, moved: vec![vec![0; n]; n], seen: HashMap::new() }
    }

    /// Takes what `peer` sees of its connections now.
    pub(super) fn observe(&mut self, peer: usize, connections: &[PeerSnapshot]) {
        for c in connections.iter().filter(|c| c.outgoing) {
            let Some(other) = self.listen.iter().position(|&l| l == c.addr) else { continue };
            let seen = self.seen.entry((peer, other)).or_default();
            if c.downloaded < seen.0 || c.uploaded < seen.1 {
                // It was closed, and another one opened.
                *seen = (0, 0);
            }
            self.moved[other][peer] += c.downloaded - seen.0;
            self.moved[peer][other] += c.uploaded - seen.1;
            *seen = (c.downloaded, c.uploaded);
        }
    }

    /// Bytes that `to` received from the first seeder.
    pub(super) fn received_from_seeder(&self, to: usize) -> u64 {
        self.moved[0][to]
    }

    /// Bytes that the first seeder sent to all others.
    pub(super) fn sent_by_seeder(&self) -> u64 {
        self.moved[0].iter().sum()
    }

    /// Bytes that `to` received from all others.
    pub(super) fn received_from_others(&self, to: usize) -> u64 {
        self.moved.iter().skip(1).map(|row| row[to]).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{base::units::ByteRate, session::Encryption};

    fn connection(addr: &str, outgoing: bool, downloaded: u64, uploaded: u64) -> PeerSnapshot {
        PeerSnapshot {
            encryption: Encryption::Off,
            web_seed: None,
            addr: addr.parse().expect("valid"),
            client: String::new(),
            outgoing,
            progress: 0.0,
            down: ByteRate(0),
            up: ByteRate(0),
            downloaded,
            uploaded,
            flags: [false; 4],
            outstanding: 0,
        }
    }

    #[test]
    fn each_connection_is_counted_once_both_ways() {
        let listen =
            ["127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"].map(|a| a.parse().expect("valid"));
        let mut l = Ledger::new(listen.into());
        // 1 dialled 0; 0 dialled 2; 2 dialled 1. The other sides see ports of no meaning.
        for part in [1, 2] {
            l.observe(
                1,
                &[
                    connection("127.0.0.1:1", true, 50 * part, 0),
                    connection("127.0.0.1:777", false, 5 * part, 7 * part),
                ],
            );
            l.observe(
                0,
                &[
                    connection("127.0.0.1:3", true, 0, 20 * part),
                    connection("127.0.0.1:999", false, 0, 50 * part),
                ],
            );
            l.observe(2, &[connection("127.0.0.1:2", true, 7 * part, 5 * part)]);
        }
        assert_eq!((l.received_from_seeder(1), l.received_from_others(1)), (100, 10));
        assert_eq!((l.received_from_seeder(2), l.received_from_others(2)), (40, 14));
        assert_eq!(l.sent_by_seeder(), 140);
    }

    #[test]
    fn a_connection_made_anew_adds() {
        let mut l =
            Ledger::new(["127.0.0.1:1", "127.0.0.1:2"].map(|a| a.parse().expect("valid")).into());
        for down in [10, 30, 5] {
            l.observe(1, &[connection("127.0.0.1:1", true, down, 0)]);
        }
        assert_eq!(l.received_from_seeder(1), 35);
    }
}
