//! One host of the simulated world: what drives it, its links, its disk and its memory.

use std::{collections::VecDeque, fmt, net::SocketAddr, time::Duration};

use crate::{
    base::{bitfield::Bitfield, id::PeerKey, slab::Pool, time::Instant, units::ByteRate},
    lsd::Local,
    pieces::Priority,
    torrent::{Settings, Torrent},
    why::Door,
};

use super::{
    StreamId,
    disk::{Disk, DiskPlan},
    link::{Downlink, Uplink},
    observer::Role,
    rogue::Rogue,
    tracker::Announcer,
    trackerless::Searches,
    upload_limit::UploadLimit,
};

/// Memory for blocks that a host has unless its plan says otherwise, in bytes.
pub const MEMORY: usize = 32 << 20;
/// Between two looks at the memory of a machine.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// When a host goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Going {
    /// At a time of the world.
    At(Duration),
    /// So long after it has everything.
    AfterFinish(Duration),
    /// So long after every piece was first held by some leecher.
    AfterFirstCopy(Duration),
}

/// What a host is made of.
pub struct HostPlan {
    /// For people.
    pub name: String,
    /// What it is to the swarm.
    pub role: Role,
    /// Bytes per second out; `None` takes no time.
    pub up: Option<ByteRate>,
    /// Bytes per second in; `None` takes no time.
    pub down: Option<ByteRate>,
    /// Bytes per second that its owner lets it receive; `None` is no limit.
    pub max_down: Option<ByteRate>,
    /// Time to and from the middle of the network, on top of the world's delay.
    pub access: Duration,
    /// When it starts.
    pub join: Duration,
    /// When it goes, and whether without a word.
    pub going: Option<(Going, bool)>,
    /// When it comes back with what its disk has, counted from when it went.
    pub back_after: Option<Duration>,
    /// Bytes of each connection that it takes in before it reads nothing more; `None` reads everything.
    pub takes: Option<u64>,
    /// Others can dial it.
    pub listens: bool,
    /// What it knows of that.
    pub door: Door,
    /// There are sockets left for what it dials.
    pub sockets: bool,
    /// It asks the tracker.
    pub tracker: bool,
    /// Its torrent is private: nobody but the tracker is asked (BEP 27).
    pub private: bool,
    /// It is on the local network, announces itself there and hears others.
    pub lsd: bool,
    /// It has a node of the DHT, if there is one: see [`super::scenario::Scenario::dht`].
    pub dht: bool,
    /// It stands for a web seed, which everyone knows and no tracker names.
    pub web_seed: bool,
    /// Its disk.
    pub disk: DiskPlan,
    /// Memory for blocks, in bytes.
    pub memory: usize,
    /// What its machine may use.
    pub settings: Settings,
    /// Its own limit on uploads.
    pub upload_limit: Option<ByteRate>,
    /// What it starts with.
    pub have: Bitfield,
    /// Whether it knows the info dictionary. If not it fetches that first, and knows it from then on.
    pub knows: bool,
    /// How much it wants each piece; all alike when it is empty.
    pub priorities: Vec<Priority>,
    /// What drives it, if it is a rogue.
    pub rogue: Option<Box<dyn Rogue>>,
}

impl HostPlan {
    /// A host that is there from the start, stays, has nothing, and sends `up` bytes per second.
    pub fn new(name: String, role: Role, up: u64) -> Self {
        HostPlan {
            name,
            role,
            up: Some(ByteRate(up)),
            down: None,
            max_down: None,
            access: Duration::ZERO,
            join: Duration::ZERO,
            going: None,
            back_after: None,
            takes: None,
            listens: true,
            door: Door::Unknown,
            sockets: true,
            tracker: true,
            private: false,
            lsd: false,
            dht: true,
            web_seed: false,
            disk: DiskPlan::default(),
            memory: MEMORY,
            settings: Settings::default(),
            upload_limit: None,
            have: Bitfield::empty(0),
            knows: true,
            priorities: Vec::new(),
            rogue: None,
        }
    }
}

/// What makes a host act.
pub(super) enum Mind {
    /// It is not there; a dial is refused, or gets no answer.
    Absent { silent: bool },
    /// A torrent machine.
    Machine(Box<Torrent>),
    /// Something else.
    Rogue(Box<dyn Rogue>),
}

impl fmt::Debug for Mind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Mind::Absent { .. } => "absent",
            Mind::Machine(_) => "machine",
            Mind::Rogue(_) => "rogue",
        })
    }
}

/// One host.
pub(super) struct Host {
    pub(super) plan: HostPlan,
    pub(super) addr: SocketAddr,
    pub(super) mind: Mind,
    pub(super) up: Uplink,
    pub(super) down: Option<Downlink>,
    pub(super) disk: Disk,
    pub(super) pool: Pool,
    pub(super) limit: UploadLimit,
    pub(super) announcer: Announcer,
    /// What it does on the local network, if it is on one.
    pub(super) local: Option<Local<()>>,
    /// Its searches of the DHT, if it has a node.
    pub(super) searches: Option<Searches>,
    /// Streams that its machine should write to, before anything else happens.
    pub(super) to_write: VecDeque<StreamId>,
    /// The earliest planned `Due::Timer`.
    pub(super) armed: Instant,
    /// Time-outs handled in a row without the clock moving: more than a few is a spin.
    pub(super) spins: u32,
    pub(super) spun_at: Instant,
    /// How often it has started.
    pub(super) starts: u32,
    pub(super) finished: Option<Instant>,
    pub(super) first_start: Option<Instant>,
    pub(super) resume_planned: bool,
    /// What its machine was given to handle: arrivals, inputs and writes.
    pub(super) inputs: u64,
    /// Most bytes that its machine held beside slabs, and when that was looked at last.
    pub(super) most_held: usize,
    pub(super) looked_at: Instant,
    keys: Vec<Option<(u32, StreamId)>>,
    next_port: u16,
}

impl Host {
    pub(super) fn new(plan: HostPlan, addr: SocketAddr, disk: Disk, overhead: u32) -> Self {
        Host {
            addr,
            mind: Mind::Absent { silent: false },
            up: Uplink::new(plan.up.map(|r| r.0), overhead),
            down: narrower(plan.down, plan.max_down).map(|r| Downlink::new(r.0, overhead)),
            disk,
            pool: Pool::phantom(plan.memory),
            limit: UploadLimit::new(plan.upload_limit),
            announcer: Announcer::default(),
            local: None,
            searches: None,
            to_write: VecDeque::new(),
            armed: Instant::FAR,
            spins: 0,
            spun_at: Instant::ZERO,
            starts: 0,
            finished: None,
            first_start: None,
            resume_planned: false,
            inputs: 0,
            most_held: 0,
            looked_at: Instant::ZERO,
            keys: Vec::new(),
            next_port: 40_000,
            plan,
        }
    }

    /// Looks how much memory its machine holds, now and then.
    pub(super) fn look(&mut self, now: Instant) {
        if let Mind::Machine(machine) = &self.mind
            && now.since(self.looked_at) >= LOOK_EVERY
        {
            self.looked_at = now;
            self.most_held = self.most_held.max(machine.held());
        }
    }

    /// The address that a connection it dials comes from.
    pub(super) fn ephemeral(&mut self) -> SocketAddr {
        self.next_port = self.next_port.checked_add(1).unwrap_or(40_000);
        SocketAddr::new(self.addr.ip(), self.next_port)
    }

    /// The stream it sends on to `peer`.
    pub(super) fn stream(&self, peer: PeerKey) -> Option<StreamId> {
        match self.keys.get(peer.slot as usize) {
            Some(Some((generation, stream))) if *generation == peer.generation => Some(*stream),
            _ => None,
        }
    }

    /// Its machine knows the connection as `peer`.
    pub(super) fn bind(&mut self, peer: PeerKey, stream: StreamId) {
        let slot = peer.slot as usize;
        if self.keys.len() <= slot {
            self.keys.resize(slot + 1, None);
        }
        assert!(self.keys[slot].is_none(), "peer key {peer} was given twice");
        self.keys[slot] = Some((peer.generation, stream));
    }

    /// The key is dead.
    pub(super) fn unbind(&mut self, peer: PeerKey) {
        if self.stream(peer).is_some() {
            self.keys[peer.slot as usize] = None;
        }
    }

    /// It stops: nothing of its machine is left but what is on disk.
    pub(super) fn stop(&mut self, silent: bool) {
        self.mind = Mind::Absent { silent };
        self.disk.stop();
        self.pool = Pool::phantom(self.plan.memory);
        self.announcer = Announcer::default();
        self.local = None;
        self.to_write.clear();
        self.armed = Instant::FAR;
        self.resume_planned = false;
        self.keys.clear();
    }
}

/// The lower of two rates, of which either may be none at all.
fn narrower(a: Option<ByteRate>, b: Option<ByteRate>) -> Option<ByteRate> {
    [a, b].into_iter().flatten().min_by_key(|rate| rate.0)
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}: {:?}", self.plan.name, self.addr, self.mind)
    }
}
