//! One announce under way: its figures, the tracker's answer, and the way of the peers to the torrent.
//!
//! When and where is decided in [`crate::tracker::tiers`]; how many at a time in [`super::room`].

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::timeout;

use super::{
    super::{
        command::{Command, Figures},
        shard::ShardHandle,
        shared::Shared,
    },
    Identity, Input, Line,
    room::Room,
};
use crate::{
    net::tracker_client::TrackerClient,
    torrent::Source,
    tracker::{
        announce::{AnnounceReply, AnnounceRequest, Event},
        tiers,
    },
};

/// Peers a leech asks for.
const NUMWANT_LEECH: u32 = 200;
/// Peers a seed asks for: most find it by themselves.
const NUMWANT_SEED: u32 = 50;
/// A shard that does not say its figures by then is asked no more: the last known ones will do.
const FIGURES_TIMEOUT: Duration = Duration::from_secs(2);

/// What a torrent has sent and received, as far as its trackers know.
#[derive(Debug, Clone, Default)]
pub(super) struct LastFigures(Arc<Mutex<Figures>>);

impl LastFigures {
    pub(super) fn set(&self, figures: Figures) {
        *self.lock() = figures;
    }

    fn lock(&self) -> MutexGuard<'_, Figures> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One announce under way.
pub(super) struct Errand {
    pub(super) shared: Arc<Shared>,
    pub(super) shard: ShardHandle,
    pub(super) figures: LastFigures,
    /// Tells the tracker that we are the same after a change of address.
    pub(super) key: u32,
    pub(super) identity: Identity,
    pub(super) output: tiers::Output,
}

impl Errand {
    /// Announces, and tells discovery by `line` what came of it.
    pub(super) async fn run(self, trackers: TrackerClient, room: Room, line: Line) {
        let (torrent, url, ticket) = (self.shared.id, self.output.url.clone(), self.output.ticket);
        // The figures are those of the moment when there is room.
        let announce = async {
            trackers.announce_behind(&url, &self.request().await, self.identity.mapped).await
        };
        let slow = || line.send(Input::Slow { torrent, ticket });
        let result = room.carry_out(&url, announce, slow).await;
        if let Ok(reply) = &result
            && self.output.event != Event::Stopped
        {
            if let Some(ip) = reply.external_ip {
                self.shard.send(Command::OwnAddress { torrent, ip }).await;
            }
            let (source, addrs) = (Source::Tracker, others(reply, &self.identity));
            if !addrs.is_empty() {
                self.shard.send(Command::PeersFound { torrent, source, addrs }).await;
            }
        }
        let port = self.identity.announced();
        line.send(Input::Answered { torrent, ticket, url, port, result });
    }

    async fn request(&self) -> AnnounceRequest {
        let Figures { uploaded, downloaded, left, is_partial_seed } = self.figures().await;
        let event = match self.output.event {
            Event::None if is_partial_seed => Event::Paused,
            event => event,
        };
        let numwant = match event {
            Event::Stopped => 0,
            _ if left == 0 || is_partial_seed => NUMWANT_SEED,
            _ => NUMWANT_LEECH,
        };
        AnnounceRequest {
            info_hash: self.shared.info.info_hash().wire(),
            peer_id: self.identity.peer_id,
            port: self.identity.port,
            uploaded,
            downloaded,
            left,
            event,
            numwant,
            key: self.key,
            tracker_id: self.output.tracker_id.clone(),
            crypto: self.identity.crypto,
            families: self.identity.families,
        }
    }

    /// The figures of this moment, or of the last announce if the torrent is gone.
    async fn figures(&self) -> Figures {
        let torrent = self.shared.id;
        let asked = self.shard.ask(|reply| Command::Figures { torrent, reply });
        let fresh = timeout(FIGURES_TIMEOUT, asked).await.ok().flatten();
        let mut last = self.figures.lock();
        if let Some(fresh) = fresh {
            *last = fresh;
        }
        *last
    }
}

/// The peers of a reply that are not ourselves, as far as that can be seen from here. The handshake
/// finds the rest.
fn others(reply: &AnnounceReply, identity: &Identity) -> Vec<SocketAddr> {
    let is_self = |addr: &SocketAddr| {
        addr.port() == identity.port && addr.ip().is_loopback()
            || addr.port() == identity.announced() && Some(addr.ip()) == reply.external_ip
    };
    reply.peers.iter().filter(|addr| !is_self(addr)).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        base::id::PeerId,
        tracker::announce::{Crypto, Families},
    };

    #[test]
    fn we_do_not_dial_ourselves() {
        let addr = |text: &str| text.parse::<SocketAddr>().expect("valid");
        let reply = AnnounceReply {
            peers: ["127.0.0.1:7", "127.0.0.1:8", "1.2.3.4:7", "1.2.3.5:7", "[::1]:7"]
                .map(addr)
                .into(),
            external_ip: Some("1.2.3.4".parse().expect("valid")),
            ..AnnounceReply::default()
        };
        let (peer_id, families) = (PeerId([0; 20]), Families::Any);
        let identity =
            Identity { peer_id, port: 7, mapped: None, crypto: Crypto::default(), families };
        assert_eq!(others(&reply, &identity), ["127.0.0.1:8", "1.2.3.5:7"].map(addr));
        let mapped = Identity { mapped: Some(8), ..identity };
        assert_eq!(others(&reply, &mapped), ["127.0.0.1:8", "1.2.3.4:7", "1.2.3.5:7"].map(addr));
    }
}
