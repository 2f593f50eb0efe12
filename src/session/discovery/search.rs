//! One search of the DHT under way, and the way of the peers to the torrent.
//!
//! When it is made is decided in [`crate::dht::Rounds`], how it goes in [`crate::dht`].

use std::{net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use tokio::time::sleep;

use super::{
    super::{NO_PORT, command::Command, shard::ShardHandle, shared::Shared},
    Identity, Input, Line,
};
use crate::{
    dht::{Announce, Found, Question, Round},
    net::dht::Dht,
    torrent::Source,
};

/// A search waits until some node is known. After so long it is told that none has answered so far.
const PATIENCE: Duration = Duration::from_secs(8);

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
    let (mut nodes, mut peers) = (0, 0);
    let mut patience = pin!(sleep(PATIENCE));
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
                peers += addrs.len();
                if !addrs.is_empty() {
                    let source = Source::Dht;
                    shard.send(Command::PeersFound { torrent, source, addrs }).await;
                }
            }
            Found::Ended(summary) => nodes = summary.answered,
            Found::Item(_) | Found::Samples { .. } | Found::Refused(_) => {}
        }
    }
    if let Some((_, own)) = dht.status().await {
        for ip in own {
            shard.send(Command::OwnAddress { torrent, ip }).await;
        }
    }
    line.send(Input::Searched { torrent, round, nodes, peers });
}
