//! One search of the DHT under way, and the way of the peers to the torrent.
//!
//! When it is made is decided in [`crate::dht::Rounds`], how it goes in [`crate::dht`].

use std::{
    net::{IpAddr, SocketAddr},
    pin::pin,
    sync::Arc,
};

use tokio::time::sleep;

use super::{
    super::{NO_PORT, command::Command, shard::ShardHandle, shared::Shared},
    Identity, Input, Line,
};
use crate::{
    dht::{Announce, Found, NO_ENTRANCE_AFTER, Question, Round},
    net::dht::Dht,
    torrent::Source,
};

/// Searches for the peers of a torrent, announces it, and tells discovery by `line` what came of it.
pub(super) async fn run(
    (dht, Round { number: round, urgent }): (Dht, Round),
    shared: Arc<Shared>,
    shard: ShardHandle,
    identity: Identity,
    line: Line,
) {
    let (torrent, place) = (shared.id, shared.place());
    // Who cannot be reached is announced to nobody.
    let announce = (identity.port != NO_PORT)
        .then_some(Announce { port: Some(identity.port), mapped: identity.mapped });
    let mut search = dht.search(Question::Peers(place, announce), urgent);
    let (mut nodes, mut peers) = (0, Vec::new());
    let mut patience = pin!(sleep(NO_ENTRANCE_AFTER));
    let mut is_patient = true;
    loop {
        let found = tokio::select! {
            found = search.next() => found,
            () = &mut patience, if is_patient => {
                is_patient = false;
                let status = dht.status().await;
                if status.is_some_and(|(status, _)| status.nodes == [0, 0]) {
                    line.send(Input::NoEntrance(torrent));
                }
                continue;
            }
        };
        let Some(found) = found else { break };
        match found {
            Found::Peers(mut addrs) => {
                // The handshake finds out about ourselves elsewhere.
                let ourselves =
                    |addr: &SocketAddr| addr.ip().is_loopback() && addr.port() == identity.port;
                addrs.retain(|addr| !ourselves(addr));
                peers.extend_from_slice(&addrs);
                if !addrs.is_empty() {
                    let source = Source::Dht;
                    shard.send(Command::PeersFound { torrent, source, addrs }).await;
                }
            }
            Found::Ended(summary) => nodes = summary.answered,
            Found::Item(_) | Found::Samples { .. } | Found::Refused(_) => {}
        }
    }
    let own = dht.status().await.map(|(_, own)| own).unwrap_or_default();
    let others = others(&peers, &own, &identity);
    for ip in own {
        shard.send(Command::OwnAddress { torrent, ip }).await;
    }
    line.send(Input::Searched { torrent, round, nodes, peers: peers.len(), others });
}

/// How many of them are somebody else: who has addresses of both families is one.
fn others(peers: &[SocketAddr], own: &[IpAddr], identity: &Identity) -> usize {
    let ports = [Some(identity.port), identity.mapped];
    let is_other =
        |addr: &&SocketAddr| !(own.contains(&addr.ip()) && ports.contains(&Some(addr.port())));
    let all = peers.iter().filter(is_other).count();
    let v6 = peers.iter().filter(is_other).filter(|addr| addr.is_ipv6()).count();
    v6.max(all - v6)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        base::id::PeerId,
        tracker::announce::{Crypto, Families},
    };

    #[test]
    fn we_ourselves_and_who_has_two_addresses_do_not_count_twice() {
        let identity = Identity {
            peer_id: PeerId([0; 20]),
            port: 7,
            mapped: Some(9),
            crypto: Crypto::default(),
            families: Families::Any,
        };
        let own = ["1.2.3.4", "2a00::1"].map(|text| text.parse().expect("valid"));
        let peers =
            ["1.2.3.4:7", "1.2.3.4:9", "[2a00::1]:7", "1.2.3.4:8", "[2a00::2]:7", "5.6.7.8:7"];
        let peers = peers.map(|text| text.parse().expect("valid"));
        assert_eq!(others(&peers, &own, &identity), 2);
        assert_eq!(others(&peers, &[], &identity), 4);
    }
}
