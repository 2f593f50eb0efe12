//! What hosts have beside the tracker: one local network, and a DHT of strangers.
//!
//! When they announce and search there is decided by the machines that the session drives too, [`crate::lsd`] and
//! [`crate::dht::Rounds`]; who is told what is in `world`.

use std::{collections::VecDeque, net::SocketAddr, time::Duration};

use crate::{
    base::time::Instant,
    dht::{Rounds, SearchId},
    why,
};

use super::dht;

/// How long the DHT is there before the swarm is.
const SETTLES: Duration = Duration::from_secs(600);

/// The ways from host to host beside the tracker.
#[derive(Debug, Default)]
pub(super) struct Trackerless {
    /// What is on its way on the local network, and who says that it has sent it.
    pub(super) told: VecDeque<(SocketAddr, Vec<u8>)>,
    pub(super) dht: Option<Beside>,
}

/// A network of DHT nodes beside the swarm, with a clock of its own.
#[derive(Debug)]
pub(super) struct Beside {
    pub(super) world: dht::World,
    /// What its clock showed when the swarm began.
    began: Instant,
}

impl Beside {
    /// A network that has settled.
    pub(super) fn new(plan: dht::Plan) -> Self {
        let mut world = dht::World::new(plan);
        world.run_for(SETTLES);
        Beside { began: world.now(), world }
    }

    /// When the next thing happens there, by the swarm's clock.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.world.next_due().map(|at| Instant::ZERO + at.since(self.began))
    }

    /// Sets its clock to the swarm's.
    pub(super) fn catch_up(&mut self, now: Instant) {
        self.world.run_until(self.began + now.since(Instant::ZERO));
    }
}

/// What one host does in the DHT.
#[derive(Debug)]
pub(super) struct Searches {
    /// Its node.
    pub(super) node: usize,
    pub(super) rounds: Rounds,
    /// The search that is under way, and how many of the peers that it has found the torrent knows of.
    pub(super) running: Option<((usize, SearchId), usize)>,
    /// When that began.
    pub(super) began: Instant,
    /// What came of the last one.
    pub(super) last: why::Dht,
    /// The earliest planned `Due::Search`.
    pub(super) armed: Instant,
}
