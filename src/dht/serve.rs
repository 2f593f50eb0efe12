//! What a node answers to queries (BEP 5, *DHT Queries*; 32, 44, 51).
//!
//! Answers are short, and bounded in number for each host: they have at most 1,050 bytes more than the
//! question, with an item of 1,000 bytes 1,550 more. What is stored is stored only for who has shown that it gets our datagrams.

use std::net::SocketAddr;

use super::{
    id::NodeId,
    item::Item,
    message::{
        Method, Query, RawItem, RawSigned, Want, code, encode_error, encode_reply, write_item,
        write_nodes, write_peers,
    },
    node::{Node, Output},
    table::{BUCKET, Contact},
};
use crate::{
    base::{compact::may_name, time::Instant},
    bencode::write::DictWriter,
};

/// Peers in one answer: of IPv4 250 bytes, of IPv6 as much.
const PEERS: [usize; 2] = [32, 12];

/// Nodes to name, of each family that is wanted.
type Near = [Option<Vec<(NodeId, SocketAddr)>>; 2];

impl Node {
    /// Answers a query, if it deserves it.
    pub(super) fn answer(
        &mut self,
        now: Instant,
        from: SocketAddr,
        transaction: &[u8],
        query: &Query<'_>,
    ) {
        if self.read_only || !self.bound.allows(now, from) {
            return;
        }
        let Some(own) = self.id(from.is_ipv6()) else { return };
        let datagram = match self.reply_to(now, from, own, query, transaction) {
            Ok(reply) => reply,
            Err((code, text)) => encode_error(transaction, from, code, text),
        };
        self.outputs.push_back(Output::Send { to: from, datagram });
        if let (Some(id), false) = (query.id, query.read_only) {
            self.heard_of(now, Contact { id, addr: from });
        }
    }

    /// Says that a query has something missing or wrong.
    pub(super) fn complain(&mut self, now: Instant, from: SocketAddr, transaction: &[u8]) {
        if !self.read_only && self.bound.allows(now, from) {
            let text = "an argument is missing or wrong";
            let datagram = encode_error(transaction, from, code::PROTOCOL, text);
            self.outputs.push_back(Output::Send { to: from, datagram });
        }
    }

    fn reply_to(
        &mut self,
        now: Instant,
        from: SocketAddr,
        own: NodeId,
        query: &Query<'_>,
        transaction: &[u8],
    ) -> Result<Vec<u8>, (u16, &'static str)> {
        let token = self.tokens.token(from.ip());
        let reply =
            |fill: &dyn Fn(&mut DictWriter<'_>)| Ok(encode_reply(transaction, from, own, fill));
        match query.method {
            Method::Ping => reply(&|_| {}),
            Method::FindNode(target) => {
                let near = self.near(&target, query.want, from);
                reply(&|r| write_near(r, &near))
            }
            Method::GetPeers(info_hash) => {
                let near = self.near(&info_hash.into(), query.want, from);
                let v6 = from.is_ipv6();
                let most = PEERS[usize::from(v6)];
                let mut peers = self.peers.some(now, &info_hash, v6, most, &mut self.rng);
                peers.retain(|&peer| may_name(from, peer));
                reply(&|r| {
                    write_near(r, &near);
                    r.bytes("token", token);
                    if !peers.is_empty() {
                        write_peers(r, peers.iter().copied());
                    }
                })
            }
            Method::AnnouncePeer { info_hash, port, token } => {
                self.prove(from, token)?;
                let addr = SocketAddr::new(from.ip(), port.unwrap_or(from.port()));
                self.peers.announce(now, &own, info_hash, addr);
                reply(&|_| {})
            }
            Method::Get { target, newer_than } => {
                // A large item and nodes of both families would not fit.
                let stored = self.items.get(now, &target).is_some();
                let want = if stored { Want::default() } else { query.want };
                let near = self.near(&target, want, from);
                let item = self.items.get(now, &target).map(Item::raw);
                reply(&|r| {
                    write_near(r, &near);
                    r.bytes("token", token);
                    match (item, newer_than) {
                        (Some(RawItem { signed: Some(signed), .. }), Some(known))
                            if signed.sequence <= known =>
                        {
                            r.int("seq", signed.sequence);
                        }
                        // Whoever asks knows the salt.
                        (Some(RawItem { value, signed }), _) => {
                            let signed = signed.map(|signed| RawSigned { salt: b"", ..signed });
                            write_item(r, &RawItem { value, signed });
                        }
                        (None, _) => {}
                    }
                })
            }
            Method::Put { token, item, cas } => {
                self.prove(from, token)?;
                let item = Item::check(&item)
                    .map_err(|error| (error.code(), "this is no item that can be stored"))?;
                self.items.put(now, &own, item, cas, from.ip()).map_err(|code| match code {
                    code::CAS_MISMATCH => (code, "another item is stored than expected"),
                    code::OLD_SEQUENCE => (code, "a newer item is stored"),
                    _ => (code, "there is no room"),
                })?;
                reply(&|_| {})
            }
            Method::SampleInfohashes(target) => {
                let near = self.near(&target, query.want, from);
                let samples = self.peers.samples(now, &mut self.rng);
                reply(&|r| {
                    r.int("interval", samples.interval.as_secs());
                    write_near(r, &near);
                    r.int("num", samples.num as u64);
                    let hashes: Vec<u8> = samples.hashes.iter().flat_map(|hash| hash.0).collect();
                    r.bytes("samples", hashes);
                })
            }
            Method::Unknown => Err((code::UNKNOWN_METHOD, "this query is unknown")),
        }
    }

    fn prove(&self, from: SocketAddr, token: &[u8]) -> Result<(), (u16, &'static str)> {
        match self.tokens.is_valid(from.ip(), token) {
            true => Ok(()),
            false => Err((code::PROTOCOL, "the token is not valid")),
        }
    }

    /// The nodes closest to `target`; of the family that asks, unless it wants something else.
    fn near(&self, target: &NodeId, want: Want, from: SocketAddr) -> Near {
        let wanted = match want {
            Want { v4: false, v6: false } => [from.is_ipv4(), from.is_ipv6()],
            Want { v4, v6 } => [v4, v6],
        };
        std::array::from_fn(|v6| {
            let family = self.families[v6].as_ref().filter(|_| wanted[v6])?;
            let near = family.table.closest::<BUCKET>(target);
            // Addresses of our own network are of no use to others, and none of their business.
            let named = near.iter().filter(|near| may_name(from, near.addr));
            Some(named.map(|near| (near.id, near.addr)).collect())
        })
    }
}

fn write_near(r: &mut DictWriter<'_>, near: &Near) {
    for (v6, nodes) in near.iter().enumerate() {
        if let Some(nodes) = nodes {
            write_nodes(r, nodes, v6 == 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        base::rng::Rng,
        dht::{
            Config, Key,
            message::{Body, Message, encode_query},
        },
    };

    const NOW: Instant = Instant::ZERO;

    /// What a node answers to `from`; it knows a neighbour and a stranger, each of whom has announced itself.
    fn told(from: &str) -> (Vec<SocketAddr>, Vec<SocketAddr>) {
        let blocked = Arc::default();
        let config = Config { v4: true, v6: false, read_only: false, ids: [None, None], blocked };
        let mut node = Node::new(&config, Rng::new(1), Key([1; 20]), NOW);
        let known =
            ["192.168.0.7:1", "203.0.113.7:1"].map(|a| a.parse::<SocketAddr>().expect("valid"));
        let info_hash = crate::base::hash::sha1(b"a torrent");
        for addr in known {
            let id = NodeId::for_address(addr.ip(), &mut Rng::new(9));
            node.table_mut(addr).answered(NOW, Contact { id, addr });
            node.peers.announce(NOW, &id, info_hash, addr);
        }
        let method = Method::GetPeers(info_hash);
        let id = Some(NodeId([5; 20]));
        let query = Query { id, read_only: true, want: Want::default(), method };
        let from = from.parse().expect("valid");
        node.handle_datagram(NOW, from, &encode_query(b"t", &query));
        let Some(Output::Send { to, datagram }) = node.poll() else { panic!("no answer") };
        assert_eq!(to, from);
        let Ok(Message { body: Body::Reply(reply), .. }) = Message::decode(&datagram) else {
            panic!("no reply")
        };
        (reply.nodes().map(|(_, addr)| addr).collect(), reply.peers().collect())
    }

    #[test]
    fn strangers_are_told_of_strangers_and_neighbours_of_everybody() {
        let (nodes, peers) = told("198.51.100.1:1");
        let stranger: SocketAddr = "203.0.113.7:1".parse().expect("valid");
        assert_eq!((nodes, peers), (vec![stranger], vec![stranger]));
        let (nodes, peers) = told("192.168.0.9:1");
        assert_eq!((nodes.len(), peers.len()), (2, 2));
    }
}
