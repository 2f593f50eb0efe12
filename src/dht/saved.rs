//! What one run of a node leaves for the next: its ids and the nodes it knew, as bencoding.

use std::net::SocketAddr;

use super::{id::NodeId, table::Contact};
use crate::{
    base::{
        compact,
        limits::{MAX_DHT_DATAGRAM, MAX_DHT_SAVED},
    },
    bencode::{Limits, Value, write},
};

/// A node's memory.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Saved {
    /// Its ids, for IPv4 and IPv6.
    pub ids: [Option<NodeId>; 2],
    /// Where it had these ids: a node elsewhere is another one, which may run at the same time. 0 if nowhere.
    pub port: u16,
    /// Nodes that were there.
    pub nodes: Vec<SocketAddr>,
}

impl Saved {
    /// What is worth keeping.
    pub fn new(ids: [Option<NodeId>; 2], good: impl Iterator<Item = Contact>) -> Self {
        let (v4, v6): (Vec<_>, Vec<_>) =
            good.map(|contact| contact.addr).partition(SocketAddr::is_ipv4);
        let some = |addrs: Vec<SocketAddr>| addrs.into_iter().take(MAX_DHT_SAVED);
        Saved { ids, port: 0, nodes: some(v4).chain(some(v6)).collect() }
    }

    /// As bytes.
    pub fn encode(&self) -> Vec<u8> {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        self.nodes.iter().for_each(|&addr| compact::push(addr, &mut v4, &mut v6));
        write::dict(|saved| {
            for (key, id) in ["id4", "id6"].into_iter().zip(self.ids) {
                if let Some(id) = id {
                    saved.bytes(key, id.0);
                }
            }
            saved.bytes("nodes4", v4);
            saved.bytes("nodes6", v6);
            saved.int("port", self.port);
        })
    }

    /// From bytes; `None` if they are something else.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let bound = MAX_DHT_DATAGRAM + MAX_DHT_SAVED * 2 * compact::V6_LEN;
        let dict = Value::scan(bytes, Limits { bytes: bound, ..Limits::DHT }).ok()?.as_dict()?;
        let bytes = |key: &str| dict.get(key.as_bytes()).and_then(Value::as_bytes);
        let id = |key| bytes(key).and_then(|id| id.try_into().ok()).map(NodeId);
        let v4 = compact::v4_peers(bytes("nodes4").unwrap_or_default());
        let v6 = compact::v6_peers(bytes("nodes6").unwrap_or_default());
        let nodes = v4.take(MAX_DHT_SAVED).chain(v6.take(MAX_DHT_SAVED)).collect();
        let port = dict.get(b"port").and_then(Value::as_u64).and_then(|port| port.try_into().ok());
        Some(Saved { ids: ["id4", "id6"].map(id), port: port.unwrap_or(0), nodes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_saved_comes_back() {
        let nodes = ["1.2.3.4:5", "6.7.8.9:10", "[2001:db8::1]:6881"];
        let saved = Saved {
            ids: [Some(NodeId([4; 20])), None],
            port: 6881,
            nodes: nodes.map(|addr| addr.parse().expect("valid")).into(),
        };
        assert_eq!(Saved::decode(&saved.encode()), Some(saved));
        assert_eq!(Saved::decode(b"de"), Some(Saved::default()));
        let many = (0..2 * MAX_DHT_SAVED as u16).map(|n| Contact {
            id: NodeId([4; 20]),
            addr: ([9, 9, (n >> 8) as u8, n as u8], 1).into(),
        });
        assert_eq!(Saved::new([None; 2], many).nodes.len(), MAX_DHT_SAVED);
        for nonsense in ["", "i5e", "le", "d3:id4"] {
            assert_eq!(Saved::decode(nonsense.as_bytes()), None);
        }
    }
}
