//! The running program: the library's public face over the pure core and its drivers.
//!
//! ```text
//! Session            start, add, limits, totals, shutdown
//!   adding           a torrent on its way to the shard
//!     present          what of it is on disk already
//!   fetch_metadata   from a hash to a torrent, by way of the shard
//!   handle           a torrent as its owner holds it
//!   registry         which torrents there are; whose an accepted connection is
//!   shard            a thread that owns torrents, sockets and slabs
//!     turn             the hot path: read, drain, write, timers
//!       bandwidth        who may send or receive next under limits
//!       connection       one stream and what is about to leave on it
//!       ready            which streams rang
//!     disk_work        what goes to the disk, when, and to whom
//!     dial             connections to be made
//!     leases           upload slots and connections, divided among torrents
//!       uplink           how much it carries
//!     mail             what other threads leave for the shard
//!     shared           what a torrent shows to other threads
//!   discovery        trackers, the DHT and the local network: when they are asked, and what came of it
//!   port_mapping     peers let in by a gateway, and who hears of it
//!   moving           another network, or a sleep: who hears of it
//!   dht              the node of the DHT: how it begins, what it leaves for the next run
//!   persist          resume state and torrents: what the next run should know
//! check, create      tools: data against a torrent, a torrent from data
//! blocklist          files of addresses to be blocked
//! dht_tool           one question to the DHT
//! scrape             how many peers the trackers of a torrent know
//! sharing            what it takes to share by a code
//! tracker_host       the embedded tracker
//! torrent_file       a torrent fetched by its address
//! peer_names         addresses of what people name
//! unfinished         what runs did not complete, and why
//! ```
//!
//! A session lives in the runtime it is started in: accepting, checking and announcing are tasks
//! there. Torrents live on the shard's own thread, disk work on others. No state is shared between
//! them but latest values ([`TorrentSnapshot`], [`Totals`]); everything else is messages.

mod adding;
mod bandwidth;
pub mod blocklist;
pub mod check;
mod clock;
mod command;
mod config;
mod connection;
pub mod create;
mod descriptors;
mod dht;
pub mod dht_tool;
mod dial;
mod discovery;
mod disk_work;
mod error;
mod event;
#[cfg(test)]
mod faults;
mod fetch_metadata;
pub mod glob;
mod handle;
mod id;
mod leases;
mod mail;
mod moving;
pub mod peer_names;
mod persist;
mod port_mapping;
mod present;
mod ready;
mod registry;
pub mod scrape;
mod selection;
mod shard;
mod shared;
pub mod sharing;
mod slots;
mod snapshot;
mod socket;
pub mod torrent_file;
pub mod tracker_host;
pub mod turn;
pub mod unfinished;
mod uplink;

use std::{
    io,
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use tokio::{
    runtime::Handle,
    sync::{Semaphore, oneshot},
    task::{AbortHandle, JoinSet, spawn_blocking},
    time::timeout,
};

pub use crate::gateway::{Mapped, Method, pinhole::Opened};
pub use crate::mse::{Encryption, Policy as EncryptionPolicy};
pub use crate::net::outlet::{Outlet, OutletError, OutletOptions};
pub use crate::pieces::{
    Priority,
    job::{DiskFault, FaultKind},
};
pub use crate::proxy::{ProxyAddress, ProxyAddressError, Scheme as ProxyScheme};
pub use crate::torrent::{
    CloseCause, DialFailure, Disconnect, Refusal, WebSeedChange, WebSeedSnapshot,
};
pub use crate::webseed::Failure as WebSeedFailure;
pub use crate::why::{Cause, Finding, Told, Trouble};
pub use adding::{AddTorrent, Check};
pub use config::{Config, DiskPlacement, Limits, LimitsConfig, ListenConfig, LsdOptions};
pub use dht::DhtOptions;
pub use error::{AddError, Owner, SessionError, TorrentError};
pub use event::{PeerEnd, TorrentEvent};
pub use fetch_metadata::{FetchMetadata, Fetching};
pub use handle::TorrentHandle;
pub use id::TorrentId;
pub use snapshot::{TorrentSnapshot, TorrentState, Totals, TrackerState, TrackerStatus};

use crate::{
    base::{id::PeerId, rng::Rng},
    disk::{FilePool, Native, PerVolume},
    net::{
        accept::{HalfOpen, accept},
        dht::Dht,
        http::{Http, HttpConfig},
        lsd::{Groups, Lsd},
        port_mapping::{Pinholes, PortMapping},
        sockets::Binding,
        tcp::{self, Listeners},
        tracker_client::TrackerClient,
        udp_hub::UdpHub,
        udp_tracker::UdpTrackers,
        web_seed::WebSeeds,
        whereabouts::Whereabouts,
    },
    tracker::announce::{Crypto, Families},
};
use clock::Clock;
use command::Command;
use descriptors::Descriptors;
use discovery::{Discovery, Identity, Line, Sources};
use registry::{Door, Registry};
use shard::ShardHandle;
use slots::Slots;

/// What trackers are told when nobody can connect to us: some want a number, and nobody listens there.
const NO_PORT: u16 = 1;
/// How long a shutdown may take: for trackers to be told and writes to finish.
const SHUTDOWN_LIMIT: Duration = Duration::from_secs(5);
/// … how long of that writes of which somebody else waits for the end,
const WRITES_END: Duration = Duration::from_secs(3);
/// … and how long the end of checks.
const CHECKS_END: Duration = Duration::from_secs(1);

/// What the parts of a session have in common.
#[derive(Debug)]
struct Core {
    config: Config,
    peer_id: PeerId,
    /// Where peers reach us, if they can.
    port: Option<u16>,
    registry: Arc<Registry>,
    shard: ShardHandle,
    /// Where everything else runs.
    runtime: Handle,
    discovery: Line,
    dht: Option<Dht>,
    files: Arc<FilePool>,
    /// One check of existing data at a time, on each volume.
    checks: Mutex<PerVolume<Arc<Semaphore>>>,
    rng: Mutex<Rng>,
}

impl Core {
    /// A seed for something that makes random choices of its own.
    fn seed(&self) -> u64 {
        self.rng.lock().unwrap_or_else(PoisonError::into_inner).next_u64()
    }

    /// Where our node of the DHT is reached, if it is; nobody is told by a private torrent (BEP 27).
    fn dht_port(&self, private: bool) -> Option<u16> {
        let reached = !private && !self.config.outlet.is_proxied();
        self.dht.as_ref().filter(|_| reached).map(Dht::port)
    }
}

/// A running BitTorrent client. Dropping it ends everything at once; [`Session::shutdown`] is
/// gentler.
#[derive(Debug)]
pub struct Session {
    core: Arc<Core>,
    /// Tasks that end with the session.
    tasks: Vec<AbortHandle>,
    half_open: Option<Arc<HalfOpen>>,
    port_mapping: Option<PortMapping>,
    pinholes: Option<Pinholes>,
    shard: Option<thread::JoinHandle<()>>,
}

impl Session {
    /// Starts a session in the current tokio runtime: listens, and waits for torrents.
    ///
    /// Raises the process's limit of open files as far as the system allows.
    ///
    /// # Errors
    /// [`SessionError`]: the port is taken, or the system refuses something else.
    pub async fn start(config: Config) -> Result<Session, SessionError> {
        let mut rng = Rng::new(config.seed.map_or_else(draw_seed, Ok)?);
        if let Some(dir) = &config.state_dir {
            make_state_folder(dir)
                .map_err(|cause| SessionError::StateDir { dir: dir.clone(), cause })?;
        }
        let descriptors = Descriptors::claim(config.max_connections);
        let listeners = listen(&config)?;
        let http = Http::new(&HttpConfig {
            local_address: config.listen.addr,
            ca_file: config.ca_file.clone(),
            ..HttpConfig::new(config.outlet.clone())
        })?;
        let clock = Clock::start();
        let peer_id = PeerId::generate(&mut rng);
        let slots = Slots::new(descriptors.connections);
        let (line, inputs) = Line::new();
        let web_seeds = WebSeeds::new(http.clone(), Handle::current());
        let (shard, thread) = shard::start(&config, clock, slots.clone(), line.clone(), web_seeds)
            .map_err(SessionError::System)?;
        let registry = Arc::new(Registry::default());

        let families = families(&config);
        let port = listeners.as_ref().map(|listeners| listeners.port);
        let crypto = match config.encryption {
            EncryptionPolicy::Disabled => Crypto::None,
            EncryptionPolicy::Allowed | EncryptionPolicy::Preferred => Crypto::Supported,
            EncryptionPolicy::Required => Crypto::Required,
        };
        let announced = port.unwrap_or(NO_PORT);
        let identity = Identity { peer_id, port: announced, mapped: None, crypto, families };
        let (outlet, listen) = (&config.outlet, &config.listen);
        let hub = UdpHub::new(outlet.clone(), listen.addr, listen.ipv6, port.unwrap_or(0));
        let udp = UdpTrackers::new(hub.clone(), rng.fork());
        let trackers = TrackerClient { http: http.clone(), udp };
        let dht = start_dht(&config, hub, rng.fork())?;
        let ports = (port.unwrap_or(0), dht.as_ref().map(Dht::port));
        let port_mapping = port_mapping::start(&config, ports, &http, rng.fork());
        let port_mapping = port_mapping.map_err(SessionError::System)?;
        let pinholes = port_mapping::start_pinholes(&config, ports);
        let pinholes = pinholes.map_err(SessionError::System)?;
        let rest = (clock, rng.fork(), line.clone());
        let lsd = config.lsd.filter(|_| !config.outlet.is_proxied()).map(|options| {
            let binding = config.outlet.binding().clone();
            Lsd::join(binding, options.loopback, groups(&config.listen))
        });
        let sources = Sources { trackers, dht: dht.clone(), lsd };
        let discovery = Discovery::new(sources, registry.clone(), identity, rest);
        let mut tasks = vec![tokio::spawn(discovery.run(inputs)).abort_handle()];
        if let (Some(dht), Some(dir)) = (&dht, &config.state_dir) {
            let saving = dht::keep_saving(dht.clone(), dir.clone());
            tasks.push(tokio::spawn(saving).abort_handle());
        }
        if let Some(mapping) = &port_mapping {
            let telling = port_mapping::tell(mapping.mapped(), line.clone(), shard.clone());
            tasks.push(tokio::spawn(telling).abort_handle());
        }
        let asked = port_mapping.iter().map(PortMapping::again);
        let gateways = asked.chain(pinholes.iter().map(Pinholes::again)).collect();
        let whereabouts = Whereabouts::new(config.outlet.binding().clone());
        let telling = moving::tell(whereabouts, line.clone(), shard.mail.clone(), gateways);
        tasks.push(tokio::spawn(telling).abort_handle());
        let half_open = HalfOpen::new(descriptors.half_open).without(config.blocked.clone());
        let half_open = Arc::new(half_open);
        let door = Arc::new(Door {
            registry: registry.clone(),
            shard: shard.clone(),
            slots,
            encryption: config.encryption,
        });
        if let Some(listeners) = listeners {
            let way = (config.outlet.binding().clone(), config.listen.clone());
            let accepting = keep_accepting(way, listeners, door, half_open.clone());
            tasks.push(tokio::spawn(accepting).abort_handle());
        }
        let core = Core {
            peer_id,
            port,
            registry,
            shard,
            runtime: Handle::current(),
            discovery: line,
            dht,
            files: FilePool::new(descriptors.files),
            checks: Mutex::new(PerVolume::new(adding::one_at_a_time())),
            rng: Mutex::new(rng),
            config,
        };
        let (half_open, shard) = (Some(half_open), Some(thread));
        Ok(Session { core: Arc::new(core), tasks, half_open, port_mapping, pinholes, shard })
    }

    /// The port on which peers reach us; `None` behind a proxy.
    pub fn port(&self) -> Option<u16> {
        self.core.port
    }

    /// The UDP port on which our node of the DHT is reached, if there is one.
    pub fn dht_port(&self) -> Option<u16> {
        self.core.dht_port(false)
    }

    /// Where a gateway lets peers in to us, if one does. See [`Config::port_mapping`].
    pub fn mapped(&self) -> Option<Mapped> {
        self.port_mapping.as_ref().and_then(|mapping| *mapping.mapped().borrow())
    }

    /// What a gateway lets in to us over IPv6, if it has been asked to. See [`Config::port_mapping`].
    pub fn opened(&self) -> Option<Opened> {
        self.pinholes.as_ref().and_then(|pinholes| *pinholes.opened().borrow())
    }

    /// Who we are to peers and trackers.
    pub fn peer_id(&self) -> PeerId {
        self.core.peer_id
    }

    /// Adds a torrent: refuses it if files would be spoilt by it, else checks what is on disk and
    /// then fetches and serves.
    ///
    /// Returns before the check; the handle shows its progress. Data that turns out to be somebody
    /// else's then is [`TorrentError::Differs`] from [`TorrentHandle::wait_complete`].
    ///
    /// # Errors
    /// [`AddError`]; nothing was changed on disk.
    pub async fn add(&self, add: AddTorrent) -> Result<TorrentHandle, AddError> {
        self.core.add_one(add, None).await
    }

    /// Adds many torrents, as [`Session::add`] does each: one that is refused leaves the others alone.
    /// Ten thousand are listed in a fraction of a second.
    pub async fn add_all(&self, adds: Vec<AddTorrent>) -> Vec<Result<TorrentHandle, AddError>> {
        self.core.add(adds).await
    }

    /// The torrents of the session, in the order in which they were added.
    pub fn torrents(&self) -> Vec<TorrentHandle> {
        let handle = |shared| TorrentHandle { shared, core: self.core.clone() };
        self.core.registry.all().into_iter().map(handle).collect()
    }

    /// Changes what is exchanged with peers at most. Limits that torrents have of their own stay; whether
    /// peers of the local network are held to limits is decided when they connect.
    pub fn set_limits(&self, limits: LimitsConfig) {
        self.core.shard.mail.post(|letters| letters.limits = Some(limits));
    }

    /// Figures of all torrents together.
    pub fn totals(&self) -> Totals {
        let gauges = &self.core.shard.gauges;
        Totals {
            down: gauges.down.load(Ordering::Relaxed),
            up: gauges.up.load(Ordering::Relaxed),
            connections: gauges.connections.load(Ordering::Relaxed),
            turned_away: self.half_open.as_ref().map_or(0, |half_open| half_open.turned_away()),
            torrents: self.core.registry.count() as u32,
            slabs: gauges.slabs.load(Ordering::Relaxed),
            tasks: self.core.shard.tasks() + self.core.runtime.metrics().num_alive_tasks(),
        }
    }

    /// Ends the session in order: no more connections, trackers are told, mappings taken back, writes
    /// finished. What is not done after five seconds is left undone. Gives whether all that was to be written is.
    pub async fn shutdown(mut self) -> bool {
        let thread = self.shard.take();
        let (core, mapping) = (self.core.clone(), self.port_mapping.take());
        let pinholes = self.pinholes.take();
        // The discovery task comes first and stays.
        self.tasks.drain(1..).for_each(|accepting| accepting.abort());
        self.half_open = None;
        let torrents = core.registry.all();
        let is_written = AtomicBool::new(false);
        let orderly = async {
            // All at once: one may wait for the turn of another.
            torrents.iter().for_each(|shared| shared.cancel.store(true, Ordering::Relaxed));
            let checks = async {
                for shared in &torrents {
                    shared.end_check().await;
                }
            };
            // One on a disk that does not answer costs the others nothing.
            let _ = timeout(CHECKS_END, checks).await;
            // No answer: the shard has ended already, or waits for a disk that does not answer.
            let written =
                timeout(WRITES_END, core.shard.ask(|reply| Command::Stop { reply })).await;
            is_written.store(written.is_ok(), Ordering::Relaxed);
            let (reply, told) = oneshot::channel();
            core.discovery.send(discovery::Input::StopAll(reply));
            let mappings = async {
                if let Some(mapping) = mapping {
                    mapping.end().await;
                }
            };
            let openings = async {
                if let Some(pinholes) = pinholes {
                    pinholes.end().await;
                }
            };
            let nodes = async {
                if let (Some(dht), Some(dir)) = (&core.dht, &core.config.state_dir) {
                    dht::save(dht, dir).await;
                }
            };
            let _ = tokio::join!(told, mappings, openings, nodes);
            if let Some(thread) = thread {
                // A panic there has been reported.
                let _ = spawn_blocking(move || thread.join()).await;
            }
        };
        let _ = timeout(SHUTDOWN_LIMIT, orderly).await;
        for shared in torrents {
            shared.leave();
        }
        is_written.into_inner()
    }
}

/// Makes `dir`, for [`Config::state_dir`], and what belongs into it.
///
/// # Errors
/// The system's.
pub fn make_state_folder(dir: &Path) -> io::Result<()> {
    persist::make_folder(&Native, dir)
}

impl Drop for Session {
    fn drop(&mut self) {
        self.tasks.drain(..).for_each(|task| task.abort());
        // Nobody is to wait for what will never come.
        for shared in self.core.registry.all() {
            shared.cancel.store(true, Ordering::Relaxed);
            shared.leave();
        }
        self.core.shard.mail.post(|letters| letters.quit = true);
    }
}

/// Behind a proxy there is nobody to be listened to.
fn listen(config: &Config) -> Result<Option<Listeners>, SessionError> {
    if config.outlet.is_proxied() {
        return Ok(None);
    }
    let listen = &config.listen;
    let listeners = tcp::listen(config.outlet.binding(), listen.addr, listen.ipv6, listen.port);
    listeners.map(Some).map_err(|err| match err.is_in_use() {
        true => SessionError::PortInUse { port: listen.port },
        false => SessionError::Listen(err),
    })
}

/// Accepts, by new sockets when the interface was made anew, until the task is dropped.
async fn keep_accepting(
    (binding, listen): (Binding, ListenConfig),
    mut listeners: Listeners,
    door: Arc<Door>,
    half_open: Arc<HalfOpen>,
) {
    let (mut index, port) = (binding.index(), listeners.port);
    let mut accepting = JoinSet::new();
    loop {
        for socket in listeners.sockets.drain(..) {
            accepting.spawn(accept(socket, door.clone(), half_open.clone()));
        }
        let now = binding.renewed(index).await;
        // The old ones go on as long as there are no new ones.
        if let Ok(new) = tcp::listen(&binding, listen.addr, listen.ipv6, port) {
            accepting.abort_all();
            (listeners, index) = (new, Some(now));
        }
    }
}

fn start_dht(config: &Config, hub: UdpHub, rng: Rng) -> Result<Option<Dht>, SessionError> {
    let options = config.dht.as_ref().filter(|_| hub.is_carried());
    let Some(options) = options else { return Ok(None) };
    // Nobody finds us behind a proxy.
    let read_only = options.read_only || config.outlet.is_proxied();
    let options = DhtOptions { read_only, ..options.clone() };
    let state_dir = config.state_dir.as_deref();
    let blocked = config.blocked.clone();
    let dht = dht::start(&options, hub, state_dir, blocked, rng);
    dht.map(Some).map_err(SessionError::Dht)
}

/// A tracker lists the address it sees, so both families have to be announced over.
fn families(config: &Config) -> Families {
    if config.outlet.is_proxied() {
        return Families::Any;
    }
    match (config.listen.addr, config.listen.ipv6) {
        (Some(_), _) => Families::Any,
        (None, true) => Families::Both,
        (None, false) => Families::V4,
    }
}

/// Where neighbours hear of us: by the families in which they reach us.
fn groups(listen: &ListenConfig) -> Groups {
    let v6 = listen.addr.map_or(listen.ipv6, |addr| addr.is_ipv6());
    Groups { v4: listen.addr.is_none_or(|addr| addr.is_ipv4()), v6 }
}

fn draw_seed() -> Result<u64, SessionError> {
    random().map(u64::from_le_bytes).map_err(SessionError::System)
}

/// Random bytes of the system.
#[expect(clippy::disallowed_methods, reason = "this is where a driver draws its seed")]
fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|err| io::Error::other(err.to_string()))?;
    Ok(bytes)
}
