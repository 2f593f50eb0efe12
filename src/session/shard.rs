//! One shard: a thread that owns torrents, their connections and their slabs, and runs turns.
//!
//! Between turns it takes commands and mail, hands over disk work, dials, and publishes snapshots.
//! It waits only here. What happens inside a turn is in [`turn`](super::turn), what the disk is given to do in [`jobs`],
//! what is saved for the next run in [`saving`], what torrents share in [`leasing`], how they go in [`leaving`], where a gateway
//! lets peers in in [`mapped`], what happens and who is told in [`telling`], who waits for a storage in [`waiting`], the slow
//! look at what is served in [`sampling`], connections with web seeds in [`web_seeds`], why torrents do not
//! get on in [`why`], how the session reaches it in [`handle`].

mod handle;
mod jobs;
mod leasing;
mod leaving;
mod mapped;
mod sampling;
mod saving;
mod telling;
mod waiting;
mod web_seeds;
mod why;

use std::{
    collections::{BTreeSet, HashMap},
    io,
    pin::pin,
    sync::{Arc, atomic::Ordering},
    thread::JoinHandle,
    time::Duration,
};

use tokio::{
    net::TcpStream,
    sync::{Notify, mpsc, oneshot},
    task::{self, yield_now},
    time::{Sleep, sleep_until},
};

use super::{
    clock::Clock,
    command::{COMMANDS_QUEUED, Command, Figures, Hosting},
    config::Config,
    dial::{Dialler, Way},
    discovery,
    disk_work::DiskWork,
    event::TorrentEvent,
    id::TorrentId,
    mail::{Dialled, Letters, Mail},
    persist::Keeper,
    shared::{Request, Shared, Stage},
    slots::Slots,
    snapshot::{TorrentSnapshot, TorrentState},
    socket::Socket,
    turn::Turns,
};
use crate::{
    base::{index::PieceIndex, time::Instant},
    disk::{Lock, Storage},
    gateway::Mapped,
    net::{encryption::Opened, web_seed::WebSeeds},
    pieces::job::{DiskFault, DiskJob, FaultKind},
    torrent::{self, DialFailure, Direction, Input, Phase, Torrent},
};
pub(super) use handle::{Gauges, ShardHandle};
use leasing::Leasing;
pub(super) use sampling::Sampled;
use sampling::Sampling;
use saving::{Recording, Saves};
use waiting::Waiting;
use web_seeds::Opener;

/// How often a torrent that somebody looks at is looked at.
const SNAPSHOT_EVERY: Duration = Duration::from_millis(200);
/// Commands taken between two turns.
const COMMANDS_PER_TURN: usize = 32;

/// One torrent of the shard, but for what the machine owns.
struct Tenant {
    storage: Arc<Storage>,
    /// Keeps others from its files as long as it lives.
    _claim: Lock,
    shared: Arc<Shared>,
    keep_seeding: bool,
    /// Jobs that the disk has not answered.
    jobs: usize,
    /// Those among them that write.
    writes: usize,
    /// Why the machine stopped.
    fault: Option<DiskFault>,
    /// How long it last waited for its storage, if it ever did.
    patience: Option<Duration>,
    /// Somebody looks at it.
    watched: bool,
    /// How its resume state is kept, if it is.
    recording: Option<Recording>,
    /// It is given up once `jobs` is 0; who waits for that.
    retiring: Option<Vec<oneshot::Sender<()>>>,
}

struct Shard {
    clock: Clock,
    turns: Turns<Socket>,
    /// Each in a box, because a table has room for twice as many.
    tenants: HashMap<TorrentId, Box<Tenant>>,
    commands: mpsc::Receiver<Command>,
    mail: Arc<Mail>,
    letters: Letters,
    wake: Arc<Notify>,
    disk: DiskWork,
    dialler: Dialler,
    opener: Opener,
    leasing: Leasing,
    discovery: discovery::Line,
    /// Where a gateway lets peers in.
    mapped: Option<Mapped>,
    gauges: Arc<Gauges>,
    saves: Option<Saves>,
    /// What may keep torrents from getting on.
    settings: why::Settings,
    sampling: Sampling,
    /// Torrents that wait for their storage.
    waiting: HashMap<TorrentId, Waiting>,
    /// Pieces that are there and could not be read.
    unreadable: HashMap<TorrentId, BTreeSet<PieceIndex>>,
    /// Torrents somebody looks at.
    watched: Vec<TorrentId>,
    published: Instant,
    /// Torrents that are being given up.
    leaving: Vec<TorrentId>,
    stopping: Option<oneshot::Sender<()>>,
    ended: bool,
}

/// Starts a shard on a thread of its own.
pub(super) fn start(
    config: &Config,
    clock: Clock,
    slots: Slots,
    discovery: discovery::Line,
    web_seeds: WebSeeds,
) -> io::Result<(ShardHandle, JoinHandle<()>)> {
    let wake = Arc::new(Notify::new());
    let mail = Mail::new(wake.clone());
    let gauges = Arc::new(Gauges::default());
    let (sender, commands) = mpsc::channel(COMMANDS_QUEUED);
    let now = clock.now();
    let mut turns = Turns::new(config.slab_budget(), wake.clone(), now);
    turns.set_limits(now, &config.limits);
    let disk = DiskWork::new(config.disk, mail.clone(), config.slab_budget())?;
    let saves = match config.state_dir {
        Some(_) => Some(Saves::new(Keeper::start(mail.clone())?)),
        None => None,
    };
    let leasing = Leasing::new(slots.all(), config.limits.all.up, now);
    let opener = Opener::new(web_seeds, slots.clone());
    let dialler = Dialler::new(
        slots,
        mail.clone(),
        Way {
            outlet: config.outlet.clone(),
            from: config.listen.addr,
            ipv6: config.listen.ipv6,
            methods: config.encryption.methods(),
        },
    );
    let shard = Shard {
        clock,
        turns,
        tenants: HashMap::new(),
        commands,
        mail: mail.clone(),
        letters: Letters::default(),
        wake,
        disk,
        dialler,
        opener,
        leasing,
        discovery,
        mapped: None,
        gauges: gauges.clone(),
        saves,
        settings: why::Settings::of(config),
        sampling: Sampling::new(config.sample_every),
        waiting: HashMap::new(),
        unreadable: HashMap::new(),
        watched: Vec::new(),
        published: now,
        leaving: Vec::new(),
        stopping: None,
        ended: false,
    };
    // Made on its thread: it must not be dropped in another runtime if there can be no thread.
    let (tell, started) = std::sync::mpsc::channel();
    let run = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let (runtime, result) = match runtime {
            Ok(runtime) => {
                let handle = runtime.handle().clone();
                (Some(runtime), Ok(handle))
            }
            Err(error) => (None, Err(error)),
        };
        // Whoever starts us waits for it.
        let _ = tell.send(result);
        let Some(runtime) = runtime else { return };
        runtime.block_on(async {
            // As a task of its own it is woken without a system call; unconstrained, because a turn
            // bounds itself.
            let _ = tokio::spawn(task::unconstrained(shard.run())).await;
        });
    };
    let thread = std::thread::Builder::new().name("shard".into()).spawn(run)?;
    let runtime = started.recv().map_err(io::Error::other)??;
    Ok((ShardHandle::new(sender, mail, gauges, runtime), thread))
}

impl Shard {
    async fn run(mut self) {
        let mut timer = pin!(sleep_until(self.clock.at(Instant::ZERO)));
        while !self.ended {
            self.wait(timer.as_mut()).await;
            let now = self.clock.now();
            for _ in 0..COMMANDS_PER_TURN {
                match self.commands.try_recv() {
                    Ok(command) => self.command(now, command),
                    Err(_) => break,
                }
            }
            self.take_mail(now);
            self.turns.turn(now);
            self.lease(now);
            self.grant_wishes(now);
            self.save_due(now);
            self.look_at_storages(now);
            self.sample(now);
            self.retire(now);
            self.publish_watched(now);
            self.show_gauges();
        }
    }

    /// Until there is something to do.
    async fn wait(&mut self, mut timer: std::pin::Pin<&mut Sleep>) {
        if self.turns.is_busy() || !self.commands.is_empty() {
            return yield_now().await;
        }
        let watched = (!self.watched.is_empty()).then(|| self.published + SNAPSHOT_EVERY);
        let save = self.saves.as_ref().and_then(Saves::next);
        let due = [
            self.turns.deadline(),
            self.disk.deadline(),
            watched,
            save,
            self.next_look(),
            self.sampling.next(),
        ];
        let deadline = due.into_iter().flatten().min();
        if let Some(deadline) = deadline {
            let deadline = self.clock.at(deadline);
            if timer.deadline() != deadline {
                timer.as_mut().reset(deadline);
            }
        }
        tokio::select! {
            biased;
            () = self.wake.notified() => {}
            command = self.commands.recv() => match command {
                Some(command) => self.command(self.clock.now(), command),
                None => self.ended = true,
            },
            () = timer, if deadline.is_some() => {}
        }
    }

    fn command(&mut self, now: Instant, command: Command) {
        match command {
            Command::Host(hosting) => self.host(now, *hosting),
            Command::Incoming { torrent, opened, addr, slot } => {
                // Fails when the connection is gone already, or there is no memory: close it.
                let opened = opened.map(TcpStream::from_std).transpose();
                if let Ok(opened) = opened {
                    let opened = opened.map(|stream| Socket::new(stream, slot));
                    // A refusal closes it as well, and is told.
                    let _ = self.turns.admit(now, torrent, addr, Direction::Incoming, opened);
                }
            }
            Command::PeersFound { torrent, source, addrs } => {
                self.turns.handle(now, torrent, Input::PeersFound { source, addrs });
            }
            Command::WebSeeds { torrent, urls } => {
                self.turns.handle(now, torrent, Input::WebSeeds(urls));
            }
            Command::OwnAddress { torrent, ip } => {
                let by = torrent::Claimant::Tracker;
                self.turns.handle(now, torrent, Input::OwnAddress { ip, by });
            }
            Command::Mapped(mapped) => self.set_mapped(now, mapped),
            Command::Peers { torrent, reply } => {
                let peers = self.turns.torrent(torrent).map(|t| t.peers(now));
                // Whoever asked may have left.
                let _ = reply.send(peers.unwrap_or_default());
            }
            Command::WebSeedRows { torrent, reply } => {
                let rows = self.turns.torrent(torrent).map(Torrent::web_seeds);
                let _ = reply.send(rows.unwrap_or_default());
            }
            Command::Figures { torrent, reply } => {
                if let Some(machine) = self.turns.torrent(torrent) {
                    let _ = reply.send(Figures::of(&machine.snapshot(now)));
                }
            }
            Command::Retire { torrent, reply } => {
                self.leave(now, torrent);
                let tenant = self.tenants.get_mut(&torrent).map(Box::as_mut);
                if let Some(Tenant { retiring: Some(waiting), .. }) = tenant {
                    waiting.push(reply);
                }
            }
            Command::Stop { reply } => {
                self.stopping = Some(reply);
                let all: Vec<TorrentId> = self.tenants.keys().copied().collect();
                all.into_iter().for_each(|id| self.leave(now, id));
            }
        }
    }

    fn host(&mut self, now: Instant, hosting: Hosting) {
        let Hosting { setup, web_seeds, storage, claim, shared, keep_seeding, recorded, older } =
            hosting;
        let id = shared.id;
        let fetches = setup.settings.fetch;
        let torrent = Torrent::new(setup, now);
        let complete = torrent.is_done();
        // What says that nothing is written is replaced before anything is.
        let writes = fetches && !complete;
        let is_new = recorded.as_ref().is_some_and(|kept| !kept.is_true || writes);
        let sent_before = recorded.as_ref().map_or(0, |kept| kept.uploaded);
        shared.sent_before.store(sent_before, Ordering::Relaxed);
        self.turns.host(id, torrent, storage.volume());
        if let Some(older) = older {
            self.turns.succeed(now, older, id);
            self.let_go(older);
        }
        self.turns.handle(now, id, Input::WebSeeds(web_seeds));
        let tenant = Tenant {
            storage,
            _claim: claim,
            shared: shared.clone(),
            keep_seeding,
            jobs: 0,
            writes: 0,
            fault: None,
            patience: None,
            watched: false,
            recording: recorded.map(Recording::new),
            retiring: None,
        };
        self.tenants.insert(id, Box::new(tenant));
        self.tell_mapped(now, id);
        self.limit(now, id);
        if is_new {
            self.changed_much(now, id);
        }
        let request = shared.take_request();
        if request == Some(Request::Pause) || (complete && !keep_seeding) {
            self.pause(now, id);
        } else {
            self.start_announcing(id, !complete);
        }
        self.publish(now, id);
        // The metadata of a link may be kept from an earlier run.
        let has_come = complete || shared.metadata.get().is_some();
        shared.set_stage(if has_come { Stage::Complete } else { Stage::Busy });
    }

    fn pause(&mut self, now: Instant, id: TorrentId) {
        self.waiting.remove(&id);
        self.remember_peers(id);
        self.remember_why(now, id);
        self.turns.handle(now, id, Input::Command(torrent::Command::Pause));
        self.save_soon(now, id);
        self.close_if_paused(id);
        self.tell_trackers_of_stop(now, id);
    }

    fn tell_trackers_of_stop(&self, now: Instant, id: TorrentId) {
        if let Some(machine) = self.turns.torrent(id) {
            self.discovery.send(discovery::Input::Stop(id, Figures::of(&machine.snapshot(now))));
        }
    }

    fn start_announcing(&self, torrent: TorrentId, needs_peers: bool) {
        self.discovery.send(discovery::Input::Start { torrent, needs_peers });
    }

    fn resume(&mut self, now: Instant, id: TorrentId) {
        let Some(tenant) = self.tenants.get_mut(&id) else { return };
        let has_failed = tenant.fault.take().is_some();
        self.waiting.remove(&id);
        let shared = tenant.shared.clone();
        self.turns.handle(now, id, Input::Command(torrent::Command::Resume));
        let complete = self.turns.torrent(id).is_some_and(Torrent::is_done);
        if has_failed {
            shared.set_stage(if complete { Stage::Complete } else { Stage::Busy });
        }
        self.start_announcing(id, !complete);
    }

    fn take_mail(&mut self, now: Instant) {
        self.mail.take(&mut self.letters);
        if self.letters.is_empty() {
            return;
        }
        let mut letters = std::mem::take(&mut self.letters);
        self.ended |= letters.quit;
        if let Some(limits) = letters.limits.take() {
            self.set_limits(now, &limits);
        }
        if std::mem::take(&mut letters.moved) {
            for id in self.tenants.keys().copied().collect::<Vec<_>>() {
                self.turns.handle(now, id, Input::Moved);
            }
        }
        for (token, event) in letters.disk.drain(..) {
            self.disk_done(now, TorrentId(token), event);
        }
        for Dialled { torrent, addr, result } in letters.dialled.drain(..) {
            self.dialler.ended();
            self.dialled(now, torrent, addr, result);
        }
        for id in letters.nudged.drain(..) {
            let Some(tenant) = self.tenants.get_mut(&id) else { continue };
            if !std::mem::replace(&mut tenant.watched, true) {
                self.watched.push(id);
            }
            let request = tenant.shared.take_request();
            if tenant.retiring.is_some() {
                continue;
            }
            self.limit(now, id);
            match request {
                Some(Request::Pause) => self.pause(now, id),
                Some(Request::Resume) => self.resume(now, id),
                None => continue,
            }
            self.publish(now, id);
        }
        for (id, result) in letters.saved.drain(..) {
            self.saved(now, id, result);
        }
        for (id, usable) in letters.looked.drain(..) {
            self.looked(now, id, usable);
        }
        for sampled in letters.sampled.drain(..) {
            self.sampled(now, sampled);
        }
        // Keeps the room of its lists for the next time.
        self.letters = letters;
    }

    fn dialled(
        &mut self,
        now: Instant,
        torrent: TorrentId,
        addr: std::net::SocketAddr,
        result: Result<Opened<Socket>, DialFailure>,
    ) {
        match result {
            Ok(opened) => {
                // The machine knows that it refused, and tells; the socket closes.
                let _ = self.turns.admit(now, torrent, addr, Direction::Outgoing, opened);
            }
            Err(failure) => {
                if let Some(tenant) = self.tenants.get(&torrent) {
                    tenant.shared.tell(|| TorrentEvent::DialFailed { addr, failure });
                }
                self.turns.handle(now, torrent, Input::DialFailed { addr, failure });
            }
        }
    }

    /// Does what the turn left to be done.
    fn grant_wishes(&mut self, now: Instant) {
        let mut wishes = std::mem::take(self.turns.wishes());
        for dial in wishes.dials.drain(..) {
            self.dialler.push(dial);
        }
        for web_seed in wishes.web_seeds.drain(..) {
            self.open_web_seed(now, web_seed);
        }
        for id in wishes.needs_peers.drain(..) {
            self.discovery.send(discovery::Input::NeedPeers(id));
        }
        for addr in wishes.dht_nodes.drain(..) {
            self.discovery.send(discovery::Input::DhtNode(addr));
        }
        for (id, happened) in wishes.events.drain(..) {
            self.happened(now, id, happened);
        }
        for (id, job) in wishes.disk.drain(..) {
            let tenant = self.tenants.get_mut(&id).expect("a torrent with jobs is a tenant");
            tenant.jobs += 1;
            match job {
                DiskJob::Read { .. } => self.hand_to_disk(now, id, job),
                _ => self.write(now, id, job),
            }
        }
        // Keeps the room of its lists; what came meanwhile stays.
        let late = std::mem::replace(self.turns.wishes(), wishes);
        self.turns.wishes().append(late);
        for (id, event) in self.disk.hand_over(now) {
            self.disk_done(now, id, event);
        }
    }

    fn completed(&mut self, now: Instant, id: TorrentId) {
        let Some(tenant) = self.tenants.get(&id) else { return };
        // Whoever has not got everything is no seed to trackers.
        if self.turns.torrent(id).is_some_and(Torrent::is_complete) {
            self.discovery.send(discovery::Input::Completed(id));
            let storage = tenant.storage.clone();
            task::spawn_blocking(move || storage.tidy());
        }
        let (shared, keep_seeding) = (tenant.shared.clone(), tenant.keep_seeding);
        if !keep_seeding {
            self.pause(now, id);
        }
        self.publish(now, id);
        shared.set_stage(Stage::Complete);
    }

    fn publish_watched(&mut self, now: Instant) {
        if self.watched.is_empty() || now < self.published + SNAPSHOT_EVERY {
            return;
        }
        self.published = now;
        for id in std::mem::take(&mut self.watched) {
            if let Some(tenant) = self.tenants.get_mut(&id) {
                tenant.watched = false;
                self.publish(now, id);
            }
        }
    }

    fn publish(&mut self, now: Instant, id: TorrentId) {
        let Some(machine) = self.turns.torrent(id).map(|t| t.snapshot(now)) else { return };
        let why = self.diagnose(now, id, &machine);
        self.reason_changed(now, id, why.first());
        let Some(tenant) = self.tenants.get(&id) else { return };
        let state = match (machine.phase, &tenant.fault) {
            (_, Some(fault)) => match fault.kind {
                FaultKind::Full => TorrentState::DiskFull(fault.to_string()),
                kind if kind.is_away() => TorrentState::MissingStorage(fault.to_string()),
                _ => TorrentState::Failed(fault.to_string()),
            },
            (Phase::Downloading, None) if machine.wants_metadata => TorrentState::Metadata,
            (Phase::Downloading, None) => TorrentState::Downloading,
            (Phase::Seeding, None) => TorrentState::Seeding,
            (Phase::Paused, None) => TorrentState::Paused,
            (Phase::Failed, None) => TorrentState::Failed("the disk refused".into()),
        };
        let eta = TorrentSnapshot::eta_of(&machine);
        let trackers = tenant.shared.trackers_at(now);
        tenant.shared.publish(TorrentSnapshot { state, machine, trackers, eta, why });
    }

    fn show_gauges(&self) {
        let carried = self.turns.carried();
        self.gauges.down.store(carried.down, Ordering::Relaxed);
        self.gauges.up.store(carried.up, Ordering::Relaxed);
        self.gauges.connections.store(self.turns.connections() as u32, Ordering::Relaxed);
        self.gauges.slabs.store(self.turns.pool().lent() as u64, Ordering::Relaxed);
    }
}
