//! What nodes of a DHT do that do not mean well.
//!
//! Only what goes over the wire; who is one, and how many there are, is the network's plan.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use super::PORT;
use crate::{
    base::rng::Rng,
    dht::{
        NodeId,
        message::{
            Body, Message, Method, Query, Want, encode_query, encode_reply, write_nodes,
            write_peers,
        },
    },
};

/// Between two questions of one that floods.
pub(super) const FLOOD_EVERY: Duration = Duration::from_millis(50);

/// What a rogue does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mischief {
    /// Answers every question with nodes that do not exist, as close to what is sought as it likes, and with
    /// peers that do not exist, and takes whatever it is given to store. Every other one has an id that does
    /// not fit its address (BEP 42).
    Lies,
    /// Answers nothing.
    IsSilent,
    /// Is like everybody else, but says that it has stored what it has not.
    Forgets,
    /// Asks twenty questions a second of whomever it likes, and answers none.
    Floods,
}

/// What a liar with this id answers: eight nodes right beside what is sought, and a peer, none of which exist.
pub(super) fn lie(own: NodeId, to: SocketAddr, datagram: &[u8], rng: &mut Rng) -> Option<Vec<u8>> {
    let message = Message::decode(datagram).ok()?;
    let Body::Query(query) = message.body else { return None };
    let target = match query.method {
        Method::FindNode(target) => target,
        Method::GetPeers(info_hash) => info_hash.into(),
        _ => own,
    };
    let mut nowhere = || {
        let ip: IpAddr = match to.is_ipv4() {
            true => IpAddr::from((0x5000_0000 | rng.next_u64() as u32 >> 4).to_be_bytes()),
            false => {
                let net = rng.next_u64() as u16;
                IpAddr::from([0x2c00, net, 1, 1, 0, 0, 0, 1])
            }
        };
        SocketAddr::new(ip, PORT)
    };
    let places: Vec<SocketAddr> = (0..9).map(|_| nowhere()).collect();
    let mut nodes = Vec::new();
    for place in &places[1..] {
        let NodeId(mut id) = target;
        id[19] ^= rng.next_u64() as u8;
        nodes.push((NodeId(id), *place));
    }
    Some(encode_reply(message.transaction, to, own, |r| {
        write_nodes(r, &nodes, to.is_ipv6());
        r.bytes("token", "a lie");
        write_peers(r, places[..1].iter().copied());
    }))
}

/// What one answers that has stored nothing: that it has. `None` if it was not asked to.
pub(super) fn pretence(own: NodeId, to: SocketAddr, datagram: &[u8]) -> Option<Vec<u8>> {
    let message = Message::decode(datagram).ok()?;
    let Body::Query(query) = message.body else { return None };
    let stores = matches!(query.method, Method::AnnouncePeer { .. } | Method::Put { .. });
    stores.then(|| encode_reply(message.transaction, to, own, |_| {}))
}

/// The question to which the answer is longest, about something that nobody has.
pub(super) fn question(own: NodeId, rng: &mut Rng) -> Vec<u8> {
    let NodeId(target) = NodeId::random(rng);
    let method = Method::GetPeers(crate::base::hash::Sha1Hash(target));
    let query =
        Query { id: Some(own), read_only: false, want: Want { v4: true, v6: true }, method };
    encode_query(b"fl", &query)
}
