//! Asks trackers for peers: one task carries out what each torrent's tiers decide.
//!
//! When to announce where is decided in [`crate::tracker::tiers`], the announce itself is made by
//! [`crate::net::tracker_client`], one [`errand`] each, and torrents that start together are kept apart by [`pace`]. Here are the timers, and what handles see of
//! the trackers. Torrents ask through a [`Line`].

mod errand;
mod pace;
mod room;

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
    sync::Arc,
};

use tokio::{
    sync::{mpsc, oneshot},
    time::sleep_until,
};

use errand::{Errand, LastFigures};
use pace::Pace;
use room::Room;

use super::{
    clock::Clock,
    command::Figures,
    event::TorrentEvent,
    id::TorrentId,
    shard::ShardHandle,
    shared::{Shared, Trackers},
    snapshot::{TrackerState, TrackerStatus},
};
use crate::{
    base::{id::PeerId, rng::Rng, time::Instant},
    net::tracker_client::{TrackerClient, TrackerError},
    tracker::{
        announce::{AnnounceReply, Families},
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
    /// It is paused, with these figures.
    Stop(TorrentId, Figures),
    /// It is gone for good.
    Remove(TorrentId),
    /// All stop; answered when every tracker that is told has answered.
    StopAll(oneshot::Sender<()>),
    /// A tracker is silent, and still asked.
    Slow { torrent: TorrentId, ticket: Ticket },
    /// A tracker has answered.
    Answered {
        torrent: TorrentId,
        ticket: Ticket,
        url: Arc<str>,
        result: Result<AnnounceReply, TrackerError>,
    },
}

/// A torrent as discovery gets it.
#[derive(Debug)]
pub(super) struct Announcing {
    pub(super) shared: Arc<Shared>,
    pub(super) shard: ShardHandle,
    pub(super) tiers: Vec<Vec<String>>,
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
    pub(super) port: u16,
    pub(super) families: Families,
}

struct Announcer {
    tiers: Tiers,
    shared: Arc<Shared>,
    shard: ShardHandle,
    /// Tells the tracker that we are the same after a change of address.
    key: u32,
    /// What the shard said last.
    figures: LastFigures,
    armed: Option<Instant>,
    /// It starts when that time has come.
    starting: bool,
    removed: bool,
}

/// The task's state.
pub(super) struct Discovery {
    trackers: TrackerClient,
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
        trackers: TrackerClient,
        identity: Identity,
        clock: Clock,
        rng: Rng,
        line: Line,
    ) -> Self {
        Discovery {
            trackers,
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
            let timer = sleep_until(self.clock.at(due.unwrap_or(Instant::FAR)));
            tokio::select! {
                input = inputs.recv() => match input {
                    Some(input) => self.input(input),
                    None => return,
                },
                () = timer, if due.is_some() => self.fire(),
            }
            self.finish_stopping();
        }
    }

    fn input(&mut self, input: Input) {
        match input {
            Input::Add(announcing) => self.add(*announcing),
            Input::Start { torrent, needs_peers } => self.start(torrent, needs_peers),
            Input::NeedPeers(id) => self.handle(id, tiers::Input::NeedPeers),
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
            Input::StopAll(reply) => {
                self.stopping = Some(reply);
                let all: Vec<TorrentId> = self.torrents.keys().copied().collect();
                all.into_iter().for_each(|id| self.stop(id));
            }
            Input::Slow { torrent, ticket } => self.handle(torrent, tiers::Input::Slow { ticket }),
            Input::Answered { torrent, ticket, url, result } => {
                self.answered(torrent, ticket, &url, result);
            }
        }
    }

    fn add(&mut self, announcing: Announcing) {
        let Announcing { shared, shard, tiers } = announcing;
        // Peers of one tracker at a time: BEP 27.
        let private = shared.info.private();
        let reach = if private { Reach::FirstWorking } else { Reach::EveryTier };
        let announcer = Announcer {
            tiers: Tiers::new(&tiers, reach, Timing::default(), self.rng.fork()),
            key: self.rng.next_u64() as u32,
            figures: LastFigures::default(),
            armed: None,
            starting: false,
            removed: false,
            shard,
            shared,
        };
        if announcer.tiers.is_empty() {
            return;
        }
        announcer.show(self.clock.now());
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
            self.handle(id, tiers::Input::Start);
        }
    }

    fn stop(&mut self, id: TorrentId) {
        if let Some(announcer) = self.torrents.get_mut(&id) {
            announcer.starting = false;
        }
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
                let AnnounceReply { peers, seeds, leeches, warning, .. } = reply;
                let peers = peers.len();
                let url = url();
                shared.tell(|| TorrentEvent::TrackerReply { url, peers, seeds, leeches, warning });
            }
            Err(err) => {
                let (message, retry) = (err.to_string(), err.retry());
                let failed = tiers::Input::Failed { ticket, message: message.clone(), retry };
                self.handle(id, failed);
                shared.tell(|| TorrentEvent::TrackerError { url: url(), message });
            }
        }
    }

    fn handle(&mut self, id: TorrentId, input: tiers::Input<'_>) {
        let now = self.clock.now();
        let Some(announcer) = self.torrents.get_mut(&id) else { return };
        announcer.tiers.handle(now, input);
        while let Some(output) = announcer.tiers.poll() {
            let errand = announcer.errand(self.identity, output);
            let (trackers, room) = (self.trackers.clone(), self.room.clone());
            tokio::spawn(errand.run(trackers, room, self.line.clone()));
        }
        announcer.show(now);
        if let Some(at) = announcer.tiers.poll_timeout()
            && announcer.armed.is_none_or(|armed| at < armed)
        {
            announcer.armed = Some(at);
            self.timers.push(Reverse((at, id)));
        }
        if announcer.removed && announcer.tiers.is_stopped() {
            self.torrents.remove(&id);
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
                let starts = std::mem::take(&mut announcer.starting);
                let input = if starts { tiers::Input::Start } else { tiers::Input::Timeout };
                self.handle(id, input);
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

impl Announcer {
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
        });
        let (statuses, next) = (statuses.collect(), self.tiers.poll_timeout());
        self.shared.set_trackers(now, Trackers { statuses, next });
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
