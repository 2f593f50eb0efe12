//! The simulated world: drives every host by what is due next.
//!
//! For a torrent machine the rule is the real driver's: one input, `poll` until `None`, the writes that
//! were asked for (each followed by the same drain), then a timer for `poll_timeout`. A connection's
//! send buffer is filled again when its last unit has gone to the uplink, as with a small socket
//! buffer.

mod comings;
mod machines;
mod meetings;
mod openings;
mod view;
mod wires;

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use crate::{
    base::{
        bitfield::Bitfield,
        geometry::Geometry,
        hash::{Sha1Hash, sha1},
        id::PeerKey,
        rng::Rng,
        time::Instant,
    },
    torrent::{CloseCause, Command, Input},
};

use super::{
    HostId,
    agenda::{Agenda, Due},
    disk::{Content, Disk},
    frames::Frames,
    host::{Going, Host, HostPlan},
    link::{Air, Outgoing},
    observer::{Observer, Role},
    poison::Poison,
    rogue::{Doings, METADATA},
    tracker::{Tracker, TrackerPlan},
    trackerless::Trackerless,
};

use openings::Opening;

/// Port on which every host listens.
const PORT: u16 = 6881;

/// What the network between the hosts is like.
#[derive(Debug, Clone)]
pub struct Network {
    /// One-way delay between any two hosts; their access delays come on top.
    pub delay: Duration,
    /// Bytes of packets for each 1,000 bytes of stream.
    pub overhead: u32,
    /// A host that crashed is noticed by its peers after so long.
    pub crash_notice: Duration,
    /// How long a connection lives on average before the network breaks it; `None`: for ever.
    pub connection_life: Option<Duration>,
    /// Of 100 announces on the local network, those that one host does not hear.
    pub unheard: u64,
    /// Hosts have addresses that strangers may name, as the DHT wants it; else those of a local network.
    pub is_public: bool,
}

impl Default for Network {
    fn default() -> Self {
        Network {
            delay: Duration::from_millis(20),
            overhead: 0,
            crash_notice: Duration::from_secs(30),
            connection_life: None,
            unheard: 0,
            is_public: false,
        }
    }
}

/// Somebody banned somebody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ban {
    /// Who did.
    pub by: HostId,
    /// Whom.
    pub whom: HostId,
    /// When.
    pub at: Instant,
    /// Pieces that had failed by then for what it sent.
    pub pieces: u32,
}

/// One end of a connection.
#[derive(Debug)]
struct Side {
    host: HostId,
    /// How its machine knows the connection.
    key: Option<PeerKey>,
    open: bool,
    out: Outgoing,
    /// The machine has more to write.
    wants: bool,
    /// It is in its host's list of streams to write.
    listed: bool,
    /// It waits for the uplink.
    queued: bool,
    /// A rogue closes once everything is sent.
    closing: bool,
    /// Bytes that have left on it, for one that may take no more than so many.
    unread: u64,
    /// Its standing in the uplink's fair queue.
    served: u64,
    air: Air,
    /// What its machine has of the encryption handshake, while that lasts.
    opening: Option<Opening>,
    /// Splits what a rogue receives.
    frames: Frames,
}

/// Both addresses of a connection, as the other end sees them.
#[derive(Debug, Clone, Copy)]
struct Ends {
    from: SocketAddr,
    to: SocketAddr,
    /// What the dialler calls the other end: for a web seed not `to`.
    called: SocketAddr,
    delay: Duration,
    /// It begins with the encryption handshake.
    encrypted: bool,
}

/// A simulated world.
#[derive(Debug)]
pub struct World {
    now: Instant,
    agenda: Agenda,
    hosts: Vec<Host>,
    by_ip: BTreeMap<IpAddr, HostId>,
    sides: Vec<Side>,
    ends: Vec<Ends>,
    network: Network,
    tracker: Tracker,
    trackerless: Trackerless,
    content: Content,
    info_hash: Sha1Hash,
    rng: Rng,
    observer: Observer,
    poison: Poison,
    bans: Vec<Ban>,
    partings: BTreeMap<String, u64>,
    events: u64,
    digest: u64,
    spare: Vec<Vec<u8>>,
    doings: Doings,
    first_copy_seen: bool,
    /// To whose machines something has happened in this step.
    stirred: Vec<HostId>,
}

impl World {
    /// An empty world.
    pub fn new(seed: u64, geometry: Geometry, network: Network, tracker: TrackerPlan) -> Self {
        let mut rng = Rng::new(seed);
        let tracker = Tracker::new(tracker, rng.fork());
        let content = Content::new(rng.next_u64(), geometry);
        World {
            now: Instant::ZERO,
            agenda: Agenda::default(),
            hosts: Vec::new(),
            by_ip: BTreeMap::new(),
            sides: Vec::new(),
            ends: Vec::new(),
            network,
            tracker,
            trackerless: Trackerless::default(),
            content,
            info_hash: sha1(&METADATA),
            rng,
            observer: Observer::new(geometry),
            poison: Poison::new(content),
            bans: Vec::new(),
            partings: BTreeMap::new(),
            events: 0,
            digest: 0,
            spare: Vec::new(),
            doings: Doings::default(),
            first_copy_seen: false,
            stirred: Vec::new(),
        }
    }

    /// Adds a host, which joins when its plan says so. Unless that says what it has, a seeder has everything
    /// and others have nothing.
    pub fn add(&mut self, mut plan: HostPlan) -> HostId {
        let pieces = self.content.geometry().pieces();
        if plan.have.len() != pieces {
            plan.have = match plan.role {
                Role::Seeder => Bitfield::full(pieces),
                _ => Bitfield::empty(pieces),
            };
        }
        let id = HostId(self.hosts.len() as u32);
        let n = id.0 + 1;
        let net = if self.network.is_public { 9 } else { 10 };
        let addr = SocketAddr::from(([net, (n >> 16) as u8, (n >> 8) as u8, n as u8], PORT));
        self.by_ip.insert(addr.ip(), id);
        self.observer.add_host(plan.role);
        self.agenda.push(Instant::ZERO + plan.join, Due::Join(id));
        if let Some((Going::At(at), crash)) = plan.going {
            self.plan_going(id, Instant::ZERO + at, crash);
        }
        let disk = Disk::new(self.content, plan.disk.clone(), plan.have.clone());
        self.hosts.push(Host::new(plan, addr, disk, self.network.overhead));
        id
    }

    /// Tells a machine something, as its owner.
    pub fn command(&mut self, host: HostId, command: Command) {
        self.stirred.clear();
        self.tell(host, Input::Command(command));
    }

    /// Lets the next thing happen, unless it is later than `until`; whether one did.
    pub fn step(&mut self, until: Instant) -> bool {
        if self.step_beside(until) {
            return true;
        }
        let Some((at, due)) = self.agenda.pop(until) else {
            self.now = self.now.max(until.min(Instant::FAR));
            return false;
        };
        self.advance(at);
        self.happen(due);
        true
    }

    fn advance(&mut self, at: Instant) {
        debug_assert!(at >= self.now, "time runs backwards");
        self.now = at;
        self.events += 1;
        self.stirred.clear();
        self.digest = (self.digest ^ at.as_micros()).wrapping_mul(0x0100_0000_01b3).rotate_left(23);
    }

    /// Lets everything happen that is due up to `until`.
    pub fn run_until(&mut self, until: Instant) {
        while self.step(until) {}
    }

    fn happen(&mut self, due: Due) {
        match due {
            Due::UplinkFree(host) => {
                self.hosts[host.at()].up.scheduled = false;
                self.serve(host);
                self.settle(host);
            }
            Due::Arrive(stream) => self.arrive(stream),
            Due::Deliver(stream) => self.deliver(stream),
            Due::MayWrite(host) => {
                self.hosts[host.at()].limit.woken();
                self.settle(host);
            }
            Due::Timer(host) => self.timer(host),
            Due::RogueTimer(host, token) => {
                self.with_rogue(host, |rogue, now, doings| rogue.timer(now, token, doings));
            }
            Due::Disk(host, job) => {
                if let Some(event) = self.hosts[host.at()].disk.finish(job) {
                    self.tell(host, Input::Disk(event));
                }
            }
            Due::Syn(stream) => self.syn(stream),
            Due::SynAck(stream) => self.syn_ack(stream),
            Due::DialFailed(stream) => self.dial_failed(stream),
            Due::OpeningLate(stream) => self.opening_late(stream),
            Due::Lost(stream) => self.gone(stream.opposite(), CloseCause::Lost),
            Due::Cut(stream) => {
                self.sides[stream.at()].air.crash();
                self.sides[stream.opposite().at()].air.crash();
                self.gone(stream, CloseCause::Reset);
                self.gone(stream.opposite(), CloseCause::Reset);
            }
            Due::Join(host) => self.join(host),
            Due::Tell(host) => self.tell_neighbours(host),
            Due::Overhear => self.overhear(),
            Due::Search(host) => self.search(host),
            Due::Learnt(host) => self.learnt(host),
            Due::Leave(host) => self.leave(host, false),
            Due::Crash(host) => self.leave(host, true),
            Due::Announce(host) => self.announce(host),
            Due::Answer(host) => self.answer(host),
            Due::Resume(host) => {
                self.hosts[host.at()].resume_planned = false;
                self.command(host, Command::Resume);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        base::units::{BLOCK_LEN, ByteRate},
        sim::{
            frames::{self, Frame, Span},
            rogue::{Line, Part, Rogue, Script},
        },
    };
    use std::{cell::RefCell, rc::Rc};

    /// Dials everyone and asks for every block in order, `depth` at a time.
    struct Reader {
        geometry: Geometry,
        depth: u32,
        next: u32,
        got: Rc<RefCell<Vec<(Instant, Span)>>>,
        hello: Vec<u8>,
    }

    impl Reader {
        fn ask(&mut self, line: Line, doings: &mut Doings) {
            let blocks = self.geometry.piece_length() / BLOCK_LEN;
            let Some(piece) = self.geometry.piece(self.next / blocks) else { return };
            let block = self.geometry.block_at(piece, self.next % blocks);
            self.next += 1;
            doings.send(line, frames::numbers(6, &[piece.0, block.begin, block.length]));
        }
    }

    impl Rogue for Reader {
        fn peers(&mut self, _now: Instant, addrs: &[SocketAddr], doings: &mut Doings) {
            addrs.iter().for_each(|a| doings.dial(*a));
        }

        fn connected(&mut self, _now: Instant, line: Line, _outgoing: bool, doings: &mut Doings) {
            doings.send(line, self.hello.clone());
            doings.send(line, frames::simple(2));
        }

        fn message(&mut self, now: Instant, line: Line, frame: Frame, doings: &mut Doings) {
            match frame {
                Frame::Unchoke => (0..self.depth).for_each(|_| self.ask(line, doings)),
                Frame::Piece(span) => {
                    self.got.borrow_mut().push((now, span));
                    self.ask(line, doings);
                }
                _ => {}
            }
        }
    }

    fn host(role: Role, up: u64, rogue: Box<dyn Rogue>) -> HostPlan {
        let plan = HostPlan::new("host".to_owned(), role, up);
        HostPlan { memory: 1 << 20, rogue: Some(rogue), ..plan }
    }

    /// When each block of a two-way run reached the reader, and the run's digest.
    fn read_all(
        up: u64,
        down: Option<u64>,
        delay_ms: u64,
        depth: u32,
    ) -> (Vec<(Instant, Span)>, u64) {
        let geometry = Geometry::new(256 << 20, 1 << 20).expect("valid");
        let network = Network { delay: Duration::from_millis(delay_ms), ..Network::default() };
        let mut world = World::new(1, geometry, network, TrackerPlan::default());
        let script = Script::new(
            Part { dials: false, ..Part::default() },
            world.content(),
            world.info_hash(),
            1,
        );
        let got = Rc::new(RefCell::new(Vec::new()));
        let reader = Reader {
            geometry,
            depth,
            next: 0,
            got: got.clone(),
            hello: frames::handshake(world.info_hash(), [1; 20], true),
        };
        world.add(host(Role::Rogue, up, Box::new(script)));
        let mut plan = host(Role::Rogue, up, Box::new(reader));
        plan.down = down.map(ByteRate);
        plan.join = Duration::from_millis(1);
        world.add(plan);
        world.run_until(Instant::ZERO + Duration::from_secs(600));
        let digest = world.digest();
        (got.take(), digest)
    }

    fn rate(got: &[(Instant, Span)]) -> f64 {
        let (first, last) = (got[0].0, got[got.len() - 1].0);
        (got.len() - 1) as f64 * f64::from(BLOCK_LEN) / last.since(first).as_secs_f64()
    }

    #[test]
    fn a_link_carries_its_rate_and_not_more() {
        let (got, digest) = read_all(125_000_000, None, 50, 2_000);
        assert_eq!(got.len(), 16_384);
        let share = rate(&got) / 125_000_000.0;
        assert!((0.995..1.0).contains(&share), "{share}");
        assert_eq!(read_all(125_000_000, None, 50, 2_000).1, digest);
    }

    #[test]
    fn few_requests_on_a_long_way_bound_the_rate() {
        let (got, _) = read_all(125_000_000, None, 50, 250);
        let ideal = 250.0 * f64::from(BLOCK_LEN) / 0.1;
        let share = rate(&got) / ideal;
        assert!((0.97..1.01).contains(&share), "{share}");
    }

    #[test]
    fn a_downlink_bounds_the_rate_too() {
        let (got, _) = read_all(125_000_000, Some(1_000_000), 5, 100);
        let share = rate(&got) / 1_000_000.0;
        assert!((0.99..1.0).contains(&share), "{share}");
    }
}
