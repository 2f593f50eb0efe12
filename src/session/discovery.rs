//! Finds peers: one task carries out what each torrent's tiers of trackers and its searches of the DHT
//! decide.
//!
//! When to announce where is decided in [`crate::tracker::tiers`], [`Rounds`] and [`Local`], the asking is one
//! [`errand`] or [`search`] each, and torrents that start together are kept apart by [`pace`]. Here are
//! the timers, and what handles see of the trackers. Torrents ask through a [`Line`].

mod errand;
mod outcomes;
mod pace;
mod room;
mod search;

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
    net::SocketAddr,
    sync::Arc,
};

use tokio::{
    sync::{mpsc, oneshot},
    task::JoinSet,
    time::sleep_until,
};

use errand::{Errand, LastFigures};
use outcomes::Outcomes;
use pace::Pace;
use room::Room;

use super::{
    clock::Clock,
    command::{Command, Figures},
    event::TorrentEvent,
    id::TorrentId,
    registry::Registry,
    shard::ShardHandle,
    shared::{Shared, Trackers},
    snapshot::{TrackerState, TrackerStatus},
};
use crate::{
    base::{id::PeerId, rng::Rng, time::Instant},
    dht::Rounds,
    lsd::Local,
    metainfo::HostPort,
    net::{
        dht::Dht,
        lsd::Lsd,
        tracker_client::{TrackerClient, TrackerError},
    },
    torrent::Source,
    tracker::{
        announce::{AnnounceReply, Crypto, Families},
        tiers::{self, Reach, Ticket, Tiers, Timing},
    },
};

/// What discovery is told.
#[derive(Debug)]
pub(super) enum Input {
    /// There is a torrent; it has not started.
    Add(Box<Announcing>),
    /// It runs, and is complete or needs peers.
    Start { torrent: TorrentId, needs_peers: bool },
    /// It needs addresses.
    NeedPeers(TorrentId),
    /// It has just become complete.
    Completed(TorrentId),
    /// A peer's node of the DHT.
    DhtNode(SocketAddr),
    /// Peers outside reach us on this port; `None` if it is that on which we listen.
    Mapped(Option<u16>),
    /// We are somewhere else in the network, or have slept.
    Moved,
    /// It is paused, with these figures.
    Stop(TorrentId, Figures),
    /// It is gone for good.
    Remove(TorrentId),
    /// It lives on as another torrent, of which trackers are told: they hear nothing of an end.
    Forget(TorrentId),
    /// All stop; answered when every tracker that is told has answered.
    StopAll(oneshot::Sender<()>),
    /// A tracker is silent, and still asked.
    Slow { torrent: TorrentId, ticket: Ticket },
    /// A tracker has answered.
    Answered {
        torrent: TorrentId,
        ticket: Ticket,
        url: Arc<str>,
        /// The port that was announced.
        port: u16,
        result: Result<AnnounceReply, TrackerError>,
    },
    /// A search of the DHT knows nobody yet whom it could ask.
    NoEntrance(TorrentId),
    /// A search of the DHT has ended.
    Searched {
        torrent: TorrentId,
        /// Which one of the torrent's.
        round: u32,
        /// Nodes that answered.
        nodes: u32,
        /// Peers they named.
        peers: usize,
        /// How many of those are not we ourselves.
        others: usize,
    },
}

/// A torrent as discovery gets it.
#[derive(Debug)]
pub(super) struct Announcing {
    pub(super) shared: Arc<Shared>,
    pub(super) shard: ShardHandle,
    pub(super) tiers: Vec<Vec<String>>,
    /// Nodes of the DHT that know of it (BEP 5, *Torrent File Extensions*).
    pub(super) nodes: Vec<HostPort>,
}

/// Leads to discovery; copies lead to the same.
#[derive(Debug, Clone)]
pub(super) struct Line(mpsc::UnboundedSender<Input>);

impl Line {
    /// A line and its end.
    pub(super) fn new() -> (Self, mpsc::UnboundedReceiver<Input>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (Line(sender), receiver)
    }

    /// Tells discovery something. After its end nobody listens, and nobody has to.
    pub(super) fn send(&self, input: Input) {
        let _ = self.0.send(input);
    }
}

/// Who we are to trackers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Identity {
    pub(super) peer_id: PeerId,
    /// Where we listen.
    pub(super) port: u16,
    /// What a gateway has mapped to it.
    pub(super) mapped: Option<u16>,
    pub(super) crypto: Crypto,
    pub(super) families: Families,
}

impl Identity {
    /// The port that is announced.
    fn announced(&self) -> u16 {
        self.mapped.unwrap_or(self.port)
    }
}

struct Announcer {
    tiers: Tiers,
    /// Its searches of the DHT, if it may use it.
    rounds: Option<Rounds>,
    /// The one that is under way; it ends with the torrent.
    searching: JoinSet<()>,
    shared: Arc<Shared>,
    shard: ShardHandle,
    /// Tells the tracker that we are the same after a change of address.
    key: u32,
    /// The port that trackers were told last.
    told: Option<u16>,
    /// What came of asking trackers and the DHT.
    outcomes: Outcomes,
    /// What the shard said last.
    figures: LastFigures,
    armed: Option<Instant>,
    /// It starts when that time has come.
    starting: bool,
    removed: bool,
}

/// Where peers are found.
pub(super) struct Sources {
    pub(super) trackers: TrackerClient,
    pub(super) dht: Option<Dht>,
    /// The local network.
    pub(super) lsd: Option<Lsd>,
}

/// The task's state.
pub(super) struct Discovery {
    trackers: TrackerClient,
    dht: Option<Dht>,
    lsd: Option<Lsd>,
    local: Local<TorrentId>,
    registry: Arc<Registry>,
    identity: Identity,
    clock: Clock,
    rng: Rng,
    line: Line,
    torrents: HashMap<TorrentId, Announcer>,
    timers: BinaryHeap<Reverse<(Instant, TorrentId)>>,
    pace: Pace,
    room: Room,
    stopping: Option<oneshot::Sender<()>>,
}

impl Discovery {
    pub(super) fn new(
        Sources { trackers, dht, lsd }: Sources,
        registry: Arc<Registry>,
        identity: Identity,
        (clock, mut rng, line): (Clock, Rng, Line),
    ) -> Self {
        Discovery {
            trackers,
            dht,
            lsd,
            local: Local::new(&mut rng),
            registry,
            identity,
            clock,
            rng,
            line,
            torrents: HashMap::new(),
            timers: BinaryHeap::new(),
            pace: Pace::default(),
            room: Room::new(),
            stopping: None,
        }
    }

    /// Runs until the task is dropped.
    pub(super) async fn run(mut self, mut inputs: mpsc::UnboundedReceiver<Input>) {
        loop {
            let due = self.timers.peek().map(|&Reverse((at, _))| at);
            let due = due.into_iter().chain(self.local.poll_timeout()).min();
            let timer = sleep_until(self.clock.at(due.unwrap_or(Instant::FAR)));
            tokio::select! {
                input = inputs.recv() => match input {
                    Some(input) => self.input(input),
                    None => return,
                },
                (from, datagram) = heard(self.lsd.as_ref()) => self.hear(from, &datagram),
                () = timer, if due.is_some() => {
                    self.fire();
                    self.announce_locally();
                }
            }
            self.finish_stopping();
        }
    }

    fn input(&mut self, input: Input) {
        match input {
            Input::Add(announcing) => self.add(*announcing),
            Input::Start { torrent, needs_peers } => self.start(torrent, needs_peers),
            Input::NeedPeers(id) => {
                self.search(id, Rounds::need_peers);
                self.handle(id, tiers::Input::NeedPeers);
            }
            Input::DhtNode(addr) => {
                if let Some(dht) = &self.dht {
                    dht.add_entrances(vec![addr]);
                }
            }
            Input::Mapped(port) => {
                let before = self.identity.announced();
                self.identity.mapped = port;
                if self.identity.announced() != before {
                    let all: Vec<TorrentId> = self.torrents.keys().copied().collect();
                    for id in all {
                        self.search(id, Rounds::need_peers);
                        self.tell_port(id);
                    }
                }
            }
            Input::Moved => {
                self.local.again(self.clock.now());
                for id in self.torrents.keys().copied().collect::<Vec<_>>() {
                    self.search(id, Rounds::need_peers);
                    self.handle(id, tiers::Input::Moved);
                }
                self.announce_locally();
            }
            Input::Completed(id) => self.handle(id, tiers::Input::Completed),
            Input::Stop(id, figures) => {
                if let Some(announcer) = self.torrents.get(&id) {
                    announcer.figures.set(figures);
                }
                self.stop(id);
            }
            Input::Remove(id) => {
                if let Some(announcer) = self.torrents.get_mut(&id) {
                    announcer.removed = true;
                }
                self.stop(id);
            }
            Input::Forget(id) => {
                self.local.stop(id);
                self.torrents.remove(&id);
            }
            Input::StopAll(reply) => {
                self.stopping = Some(reply);
                let all: Vec<TorrentId> = self.torrents.keys().copied().collect();
                all.into_iter().for_each(|id| self.stop(id));
            }
            Input::Slow { torrent, ticket } => self.handle(torrent, tiers::Input::Slow { ticket }),
            Input::Answered { torrent, ticket, url, port, result } => {
                if let Some(announcer) = self.torrents.get_mut(&torrent) {
                    announcer.outcomes.answered(url.clone(), &result);
                }
                self.answered(torrent, ticket, &url, result);
                if port != self.identity.announced() {
                    // It was under way when that changed.
                    self.handle(torrent, tiers::Input::PortChanged);
                }
            }
            Input::NoEntrance(torrent) => {
                let now = self.clock.now();
                if let Some(announcer) = self.torrents.get_mut(&torrent) {
                    announcer.outcomes.searched(0, 0);
                    announcer.show(now);
                }
            }
            Input::Searched { torrent, round, nodes, peers, others } => {
                self.search(torrent, |rounds, now| rounds.ended(now, round, nodes, others));
                let now = self.clock.now();
                if let Some(announcer) = self.torrents.get_mut(&torrent) {
                    announcer.outcomes.searched(nodes, others);
                    announcer.show(now);
                    if nodes > 0 {
                        announcer.shared.tell(|| TorrentEvent::DhtReply { nodes, peers });
                    }
                }
            }
        }
    }

    fn add(&mut self, announcing: Announcing) {
        let Announcing { shared, shard, tiers, nodes } = announcing;
        // Peers of one tracker at a time: BEP 27.
        let private = shared.info.private();
        let reach = if private { Reach::FirstWorking } else { Reach::EveryTier };
        let dht = self.dht.as_ref().filter(|_| !private);
        if let Some(dht) = dht.filter(|_| !nodes.is_empty()) {
            dht.add_names(nodes.into_iter().map(|node| (node.host, node.port)).collect());
        }
        let announcer = Announcer {
            tiers: Tiers::new(&tiers, reach, Timing::default(), self.rng.fork()),
            rounds: dht.map(|_| Rounds::idle()),
            searching: JoinSet::new(),
            key: self.rng.next_u64() as u32,
            told: None,
            outcomes: Outcomes::new(dht.is_some()),
            figures: LastFigures::default(),
            armed: None,
            starting: false,
            removed: false,
            shard,
            shared,
        };
        announcer.show(self.clock.now());
        let local = self.lsd.is_some() && !private;
        if announcer.tiers.is_empty() && announcer.rounds.is_none() && !local {
            return;
        }
        self.torrents.insert(announcer.shared.id, announcer);
    }

    fn start(&mut self, id: TorrentId, needs_peers: bool) {
        let now = self.clock.now();
        let Some(announcer) = self.torrents.get_mut(&id) else { return };
        let at = self.pace.start(now, needs_peers);
        if at > now {
            announcer.starting = true;
            announcer.armed = Some(at);
            self.timers.push(Reverse((at, id)));
        } else {
            self.begin(id);
        }
    }

    /// The torrent is announced, everywhere where it may be.
    fn begin(&mut self, id: TorrentId) {
        let private = self.torrents.get(&id).is_none_or(|known| known.shared.info.private());
        if self.lsd.is_some() && !private {
            self.local.start(self.clock.now(), id);
            self.announce_locally();
        }
        self.search(id, Rounds::start);
        self.handle(id, tiers::Input::Start);
    }

    fn stop(&mut self, id: TorrentId) {
        if let Some(announcer) = self.torrents.get_mut(&id) {
            announcer.starting = false;
            announcer.searching = JoinSet::new();
        }
        self.local.stop(id);
        self.search(id, |rounds, _| rounds.stop());
        self.handle(id, tiers::Input::Stop);
    }

    fn answered(
        &mut self,
        id: TorrentId,
        ticket: Ticket,
        url: &str,
        result: Result<AnnounceReply, TrackerError>,
    ) {
        let Some(shared) = self.torrents.get(&id).map(|announcer| announcer.shared.clone()) else {
            return;
        };
        let url = || url.to_owned();
        match result {
            Ok(reply) => {
                self.handle(id, tiers::Input::Replied { ticket, reply: &reply });
                self.tell_port(id);
                let AnnounceReply { peers, seeds, leeches, warning, .. } = reply;
                let peers = peers.len();
                let url = url();
                shared.tell(|| TorrentEvent::TrackerReply { url, peers, seeds, leeches, warning });
            }
            Err(err) => {
                let (message, reason, retry) = (err.to_string(), err.word(), err.retry());
                let failed = tiers::Input::Failed { ticket, message: message.clone(), retry };
                self.handle(id, failed);
                shared.tell(|| TorrentEvent::TrackerError { url: url(), reason, message });
            }
        }
    }

    /// Announces a torrent as soon as its trackers allow if they were told another port.
    fn tell_port(&mut self, id: TorrentId) {
        let told = self.torrents.get(&id).and_then(|announcer| announcer.told);
        if told.is_some_and(|told| told != self.identity.announced()) {
            self.handle(id, tiers::Input::PortChanged);
        }
    }

    fn handle(&mut self, id: TorrentId, input: tiers::Input<'_>) {
        let now = self.clock.now();
        let Some(announcer) = self.torrents.get_mut(&id) else { return };
        announcer.tiers.handle(now, input);
        while let Some(output) = announcer.tiers.poll() {
            announcer.told = Some(self.identity.announced());
            let errand = announcer.errand(self.identity, output);
            let (trackers, room) = (self.trackers.clone(), self.room.clone());
            tokio::spawn(errand.run(trackers, room, self.line.clone()));
        }
        announcer.show(now);
        self.timers.extend(announcer.arm().map(|at| Reverse((at, id))));
        if announcer.removed && announcer.tiers.is_stopped() {
            self.torrents.remove(&id);
        }
    }

    /// Lets the searches of a torrent know something, and begins one that is due.
    fn search(&mut self, id: TorrentId, tell: impl FnOnce(&mut Rounds, Instant)) {
        let now = self.clock.now();
        let Some(announcer) = self.torrents.get_mut(&id) else { return };
        let (Some(dht), Some(rounds)) = (&self.dht, &mut announcer.rounds) else { return };
        tell(rounds, now);
        if rounds.take_due(now) {
            let (shared, shard) = (announcer.shared.clone(), announcer.shard.clone());
            let (identity, line) = (self.identity, self.line.clone());
            let search = (dht.clone(), rounds.round());
            let run = search::run(search, shared, shard, identity, line);
            announcer.searching = JoinSet::new();
            announcer.searching.spawn(run);
        }
        self.timers.extend(announcer.arm().map(|at| Reverse((at, id))));
    }

    /// Tells the local network of the torrents whose turn it is.
    fn announce_locally(&mut self) {
        let now = self.clock.now();
        loop {
            let due = self.local.take_due(now);
            let Some(lsd) = self.lsd.as_mut().filter(|_| !due.is_empty()) else { return };
            let place = |id: &TorrentId| Some(self.torrents.get(id)?.shared.place());
            let info_hashes = due.iter().filter_map(place).collect();
            lsd.send(&self.local.announce(self.identity.port, info_hashes));
        }
    }

    /// Somebody on the local network has said something.
    fn hear(&mut self, from: SocketAddr, datagram: &[u8]) {
        let Some((addr, places)) = self.local.hear(self.clock.now(), from, datagram) else {
            return;
        };
        for place in places {
            let known = self.registry.find_by_place(place).and_then(|id| self.torrents.get(&id));
            // A private torrent has peers from its tracker alone (BEP 27).
            if let Some(announcer) = known.filter(|known| !known.shared.info.private()) {
                let (shard, torrent) = (announcer.shard.clone(), announcer.shared.id);
                let (source, addrs) = (Source::Lsd, vec![addr]);
                tokio::spawn(async move {
                    shard.send(Command::PeersFound { torrent, source, addrs }).await;
                });
            }
        }
    }

    fn fire(&mut self) {
        let now = self.clock.now();
        while let Some(&Reverse((at, id))) = self.timers.peek()
            && at <= now
        {
            self.timers.pop();
            if let Some(announcer) = self.torrents.get_mut(&id)
                && announcer.armed == Some(at)
            {
                announcer.armed = None;
                if std::mem::take(&mut announcer.starting) {
                    self.begin(id);
                } else {
                    self.search(id, |_, _| {});
                    self.handle(id, tiers::Input::Timeout);
                }
            }
        }
    }

    fn finish_stopping(&mut self) {
        if self.stopping.is_some()
            && self.torrents.values().all(|announcer| announcer.tiers.is_stopped())
            && let Some(reply) = self.stopping.take()
        {
            // Whoever asked may have lost patience.
            let _ = reply.send(());
        }
    }
}

/// What is said next on the local network; never anything without one.
async fn heard(lsd: Option<&Lsd>) -> (SocketAddr, Vec<u8>) {
    match lsd {
        Some(lsd) => lsd.receive().await,
        None => std::future::pending().await,
    }
}

impl Announcer {
    /// When a timer has to ring for it that is not set yet.
    fn arm(&mut self) -> Option<Instant> {
        let search = self.rounds.as_ref().and_then(Rounds::poll_timeout);
        let at = self.tiers.poll_timeout().into_iter().chain(search).min()?;
        let sooner = self.armed.is_none_or(|armed| at < armed);
        sooner.then(|| *self.armed.insert(at))
    }

    /// Lets handles see the trackers as they are.
    fn show(&self, now: Instant) {
        let statuses = self.tiers.statuses().map(|status| TrackerStatus {
            url: status.url.to_owned(),
            tier: status.tier,
            state: match status.state {
                tiers::TrackerState::Idle => TrackerState::Idle,
                tiers::TrackerState::Announcing => TrackerState::Announcing,
                tiers::TrackerState::Working => TrackerState::Working,
                tiers::TrackerState::Failing { failures, .. } => TrackerState::Failing { failures },
            },
            peers: status.peers,
            seeds: status.seeds,
            leeches: status.leeches,
            next: None,
            last_error: status.message.map(str::to_owned),
            last: self.outcomes.last(status.url),
        });
        let (statuses, next) = (statuses.collect(), self.tiers.poll_timeout());
        let dht = Some(self.outcomes.dht);
        self.shared.set_trackers(now, Trackers { statuses, dht, next });
    }

    fn errand(&self, identity: Identity, output: tiers::Output) -> Errand {
        Errand {
            shared: self.shared.clone(),
            shard: self.shard.clone(),
            figures: self.figures.clone(),
            key: self.key,
            identity,
            output,
        }
    }
}
