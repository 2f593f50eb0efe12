//! One transfer of the demo: a seeder and some downloaders, each a whole session with its own port
//! on loopback, until every one of them has everything.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use tokio::{
    sync::broadcast,
    time::{Instant, interval},
};

use super::ledger::Ledger;
use crate::{
    base::{
        bitfield::Bitfield,
        units::{ByteCount, ByteRate},
    },
    cli::{
        args::Kill,
        exit::{Exit, Failure},
        observe::Observed,
        progress::{Progress, Stage, View},
        signals::Signals,
        terminal::Terminal,
    },
    metainfo::{HostPort, Metainfo},
    session::{
        AddTorrent, Config, DhtOptions, Limits, ListenConfig, Session, TorrentEvent, TorrentHandle,
        tracker_host::TrackerHost,
    },
};

/// Time between two looks at the swarm.
const TICK: Duration = Duration::from_millis(100);
/// Memory for each of the sessions.
const MEMORY: ByteCount = ByteCount(32 << 20);
/// A demo in which nothing moves for so long has failed.
const PATIENCE: Duration = Duration::from_secs(30);

/// How the peers find one another.
pub(super) enum Meeting {
    /// By a tracker, as peers do.
    Tracker(TrackerHost),
    /// In a distributed hash table, which the downloaders enter by the seeder's node.
    Dht,
    /// The downloaders know the seeder and nobody else: client and server.
    SeederOnly,
}

/// What is to be transferred, and how.
pub(super) struct Plan<'a> {
    pub(super) torrent: &'a Metainfo,
    /// Where the data is: the first folder is the seeder's; the others are empty.
    pub(super) folders: &'a [PathBuf],
    /// What each may send.
    pub(super) max_up: ByteRate,
    /// What a downloader is called.
    pub(super) role: &'a str,
    /// What to stop once one full copy is out.
    pub(super) kill: Option<Kill>,
}

/// How it went.
#[derive(Debug)]
pub(super) struct Outcome {
    /// From the moment the downloaders were let loose until the last one had everything.
    pub(super) took: Duration,
    /// Sent by the first seeder.
    pub(super) seeder_sent: u64,
    pub(super) peers: Vec<PeerOutcome>,
}

/// How it went for one downloader.
#[derive(Debug)]
pub(super) struct PeerOutcome {
    pub(super) took: Duration,
    pub(super) received: u64,
    pub(super) from_seeder: u64,
    pub(super) from_others: u64,
}

/// A peer of the swarm.
struct Peer {
    /// Gone once it was killed.
    session: Option<Session>,
    handle: TorrentHandle,
    observed: Observed,
    events: broadcast::Receiver<TorrentEvent>,
    view: View,
    complete: Option<Duration>,
}

/// Runs the transfer and shows it.
pub(super) async fn run(
    plan: Plan<'_>,
    meeting: Meeting,
    terminal: Terminal,
    signals: &mut Signals,
) -> Result<Outcome, Failure> {
    let mut swarm = signals.during(Swarm::start(&plan, meeting, terminal)).await?;
    let mut ticks = interval(TICK);
    let end = loop {
        let looked = swarm.look().await;
        match looked {
            Ok(()) if swarm.is_complete() => break Ok(()),
            Ok(()) => {}
            Err(failure) => break Err(failure),
        }
        tokio::select! {
            _ = ticks.tick() => {}
            exit = signals.next() => break Err(Failure::stopped(exit)),
        }
    };
    let end = end.and_then(|()| swarm.show_end());
    swarm.progress.finish();
    let outcome = swarm.outcome();
    signals.end_well(swarm.stop(), terminal).await;
    end.map(|()| outcome)
}

struct Swarm {
    peers: Vec<Peer>,
    tracker: Option<TrackerHost>,
    kill: Option<Kill>,
    ledger: Ledger,
    /// Pieces that at least one downloader has.
    out: Bitfield,
    progress: Progress,
    start: Instant,
}

impl Swarm {
    /// Starts everyone; the downloaders last, together.
    async fn start(
        plan: &Plan<'_>,
        meeting: Meeting,
        terminal: Terminal,
    ) -> Result<Swarm, Failure> {
        let mut sessions: Vec<Session> = Vec::new();
        for _ in plan.folders {
            let first = sessions.first();
            sessions.push(session(plan.max_up, &meeting, first).await?);
        }
        let told = matches!(meeting, Meeting::SeederOnly);
        let (url, tracker) = match meeting {
            Meeting::Tracker(host) => (Some(host.announce_url()), Some(host)),
            Meeting::Dht | Meeting::SeederOnly => (None, None),
        };
        let listen: Vec<SocketAddr> = sessions.iter().map(address).collect();
        let start = Instant::now();
        let mut peers = Vec::new();
        for (i, (session, folder)) in sessions.into_iter().zip(plan.folders).enumerate() {
            let add = AddTorrent {
                trackers: url.iter().cloned().collect(),
                // Clients are told of the server, and it waits for them.
                peers: if told && i > 0 { vec![listen[0]] } else { Vec::new() },
                // The last bytes over a connection count too.
                keep_useless: true,
                ..AddTorrent::new(plan.torrent.clone(), folder)
            };
            let handle = session
                .add(add)
                .await
                .map_err(|e| Failure::new(Exit::Unexpected, "could not start a peer").cause(&e))?;
            if i == 0 {
                handle.wait_complete().await.map_err(|e| {
                    Failure::new(Exit::Unexpected, "the seeder has not got everything").cause(&e)
                })?;
            }
            let name = if i == 0 { "seeder".to_owned() } else { format!("{} {i}", plan.role) };
            let id = name.replace(' ', "-");
            let mut observed = Observed::new(&handle, id, Duration::ZERO);
            observed.rename(name);
            let events = handle.subscribe();
            let (view, complete) = (View::default(), None);
            peers.push(Peer { session: Some(session), handle, observed, events, view, complete });
        }
        Ok(Swarm {
            peers,
            tracker,
            kill: plan.kill,
            ledger: Ledger::new(listen),
            out: Bitfield::empty(plan.torrent.info.geometry().pieces()),
            progress: Progress::new(terminal),
            start,
        })
    }

    async fn look(&mut self) -> Result<(), Failure> {
        let now = self.start.elapsed();
        for (i, peer) in self.peers.iter_mut().enumerate() {
            if peer.session.is_none() {
                continue;
            }
            self.ledger.observe(i, &peer.handle.peers().await);
            peer.view = peer.observed.look(now, &peer.handle.snapshot());
            if peer.view.stage == Stage::Stopped
                && let Err(error) = peer.handle.wait_complete().await
            {
                let message = format!("{} stopped", peer.observed.name());
                return Err(Failure::new(Exit::Disk, message).cause(&error));
            }
            if i == 0 {
                continue;
            }
            while let Ok(event) = peer.events.try_recv() {
                if let TorrentEvent::PieceVerified(piece) = event {
                    self.out.insert(piece);
                }
            }
            if peer.view.stage.is_complete() {
                peer.view.took = Some(*peer.complete.get_or_insert(now));
            }
            if peer.observed.idle(now) > PATIENCE {
                let message = format!("nothing moves any more at {}", peer.observed.name());
                let mut failure = Failure::new(Exit::Network, message);
                failure.causes.extend(peer.view.waiting.clone());
                return Err(failure);
            }
        }
        if self.out.is_full() || self.peers.iter().skip(1).any(|p| p.complete.is_some()) {
            self.kill().await?;
        }
        let views: Vec<View> = self.peers.iter().map(|p| p.view.clone()).collect();
        self.progress.show(now, &views)
    }

    /// One full copy is out: stops what is to be stopped.
    async fn kill(&mut self) -> Result<(), Failure> {
        match self.kill.take() {
            None => return Ok(()),
            Some(Kill::Seeder) => {
                let seeder = &mut self.peers[0];
                // Without a word to anyone, as a machine that loses power.
                seeder.session = None;
                seeder.view.stage = Stage::Stopped;
                seeder.view.waiting = Some("killed: one full copy is out".to_owned());
                (seeder.view.up, seeder.view.peers) = (ByteRate(0), 0);
                self.progress.say("One full copy is out. The seeder is killed: the others go on.");
            }
            Some(Kill::Tracker) => {
                if let Some(tracker) = self.tracker.take() {
                    tracker.shutdown().await;
                }
                self.progress.say("One full copy is out. The tracker is killed: the peers go on.");
            }
        }
        Ok(())
    }

    /// Shows everyone as it was when the last one had everything.
    fn show_end(&mut self) -> Result<(), Failure> {
        for peer in self.peers.iter_mut().skip(1) {
            peer.view.stage = Stage::Done;
        }
        let views: Vec<View> = self.peers.iter().map(|p| p.view.clone()).collect();
        self.progress.show(self.start.elapsed(), &views)
    }

    fn is_complete(&self) -> bool {
        self.peers.iter().skip(1).all(|p| p.complete.is_some())
    }

    fn outcome(&self) -> Outcome {
        let peer = |(i, p): (usize, &Peer)| PeerOutcome {
            took: p.complete.unwrap_or_default(),
            received: p.view.downloaded,
            from_seeder: self.ledger.received_from_seeder(i),
            from_others: self.ledger.received_from_others(i),
        };
        let peers: Vec<_> = self.peers.iter().enumerate().skip(1).map(peer).collect();
        Outcome {
            took: peers.iter().map(|p| p.took).max().unwrap_or_default(),
            // Snapshots are some moments old, and one may have been the seeder's last.
            seeder_sent: self.peers[0].view.uploaded.max(self.ledger.sent_by_seeder()),
            peers,
        }
    }

    /// Ends all sessions together, then the tracker that hears of it.
    async fn stop(self) {
        let ending: Vec<_> = self
            .peers
            .into_iter()
            .filter_map(|p| p.session)
            .map(|session| tokio::spawn(session.shutdown()))
            .collect();
        for end in ending {
            // A panic there has been reported.
            let _ = end.await;
        }
        if let Some(tracker) = self.tracker {
            tracker.shutdown().await;
        }
    }
}

/// A session on loopback with a free port; `first` is the one that was there before.
async fn session(
    max_up: ByteRate,
    meeting: &Meeting,
    first: Option<&Session>,
) -> Result<Session, Failure> {
    let addr = Some(IpAddr::V4(Ipv4Addr::LOCALHOST));
    let entrance = first.and_then(Session::dht_port);
    let entrance = entrance.map(|port| HostPort { host: Ipv4Addr::LOCALHOST.to_string(), port });
    let dht =
        DhtOptions { bootstrap: Some(entrance.into_iter().collect()), ..DhtOptions::default() };
    let config = Config {
        listen: ListenConfig { port: 0, ipv6: false, addr },
        limits: Limits { up: Some(max_up), down: None }.into(),
        memory: MEMORY,
        trackers: matches!(meeting, Meeting::Tracker(_)),
        // Clients do not hear of one another.
        pex: !matches!(meeting, Meeting::SeederOnly),
        dht: matches!(meeting, Meeting::Dht).then_some(dht),
        ..Config::default()
    };
    Session::start(config)
        .await
        .map_err(|e| Failure::new(Exit::Unexpected, "could not start a peer").cause(&e))
}

/// Where the others reach it.
fn address(session: &Session) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, session.port().unwrap_or_default()).into()
}
