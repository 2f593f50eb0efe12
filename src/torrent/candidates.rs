//! Addresses of peers: known, dialled, connected, failed or banned, and which to dial next.
//!
//! Bounded by `limits::MAX_CANDIDATES`. Every address that is ever dialled is one of these, and a blocked
//! one never becomes one, whoever names it. A failure that is the peer's doubles the wait before the next try;
//! a ban stays unless thousands of newer ones push it out, and a second one is of the whole network of one
//! customer. The order of dialling: the user's own, the source of which fewest are being dialled, each weighed
//! by how rarely anybody answered, so that nobody who names addresses where nobody is keeps us from those of
//! others; fewest failures, of a source where hardly anybody answers what a second one has named, then by
//! `priority`, or at random as long as our own address is not known.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use crate::{
    base::{compact::canonical, id::PeerKey, ip_filter::IpFilter, limits, rng::Rng, time::Instant},
    mse::Policy,
    why::{Addresses, Miss},
};

use super::{
    DialFailure, Source,
    ip_or_addr::IpOrAddr,
    priority::{Claimant, OwnAddress, priority},
};

/// Wait after the first failure; doubles with each further one.
const FIRST_WAIT: Duration = Duration::from_secs(10);
/// With so many bans in an IPv6 network of one customer nobody of it is believed any more.
const NETWORK_BANNED: usize = 2;
/// Wait where it is not for the peer that a dial failed.
const REST: Duration = Duration::from_secs(2);
/// It doubles with each in a row, so often.
const LONGEST_REST: u32 = 5;
/// Longest wait.
const LONGEST_WAIT: Duration = Duration::from_secs(1800);
/// An address that failed so often is forgotten when room is needed.
const GIVE_UP: u8 = 6;
/// Share of the dials at once, as a divisor, that one source leaves to the others: what they name must not wait
/// until nobody has answered.
const SHARE_FREE: u32 = 4;
/// Who may name addresses.
const SOURCES: usize = Source::Resume as usize + 1;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// May be dialled from then on.
    Idle(Instant),
    Dialling,
    Connected(PeerKey),
    /// Ourselves.
    Never,
}

#[derive(Debug)]
struct Known {
    source: Source,
    /// Another source has named it too.
    confirmed: bool,
    failures: u8,
    seed: bool,
    /// How it is dialled next.
    encrypted: bool,
    /// The other way was tried since it failed last.
    tried_both: bool,
    /// How the last try failed, if it did.
    miss: Option<Miss>,
    state: State,
    /// The order among equals, smallest first.
    lot: u64,
}

/// What came of dials to the addresses that one source had named.
#[derive(Debug, Clone, Copy, Default)]
struct Record {
    answered: u8,
    failed: u8,
}

/// So many dials say something of a source.
const TELLING: u8 = 16;

impl Record {
    /// So many dials of a source where everybody answers one of this one counts for.
    const fn weight(self) -> u32 {
        if self.answered + self.failed < TELLING {
            return 1;
        }
        let weight = (1 + self.failed as u32) / (1 + self.answered as u32);
        if weight > 1 { weight } else { 1 }
    }

    /// Counts one more; what is long past counts less.
    const fn note(&mut self, answered: bool) {
        if self.answered >= 100 || self.failed >= 100 {
            (self.answered, self.failed) = (self.answered / 2, self.failed / 2);
        }
        if answered { self.answered += 1 } else { self.failed += 1 }
    }
}

/// How a connection ended, as far as dialling again is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// It worked for a while.
    Lost,
    /// It never worked, or broke the protocol.
    Failed,
    /// It hung up on our handshake, or did not answer it.
    Silent,
    /// It has another torrent.
    Stranger,
    /// We turned it away before it began.
    Refused,
    /// There is another connection to the same peer.
    Duplicate,
    /// Both are seeds.
    Seed,
    /// It sends bad data.
    Banned,
    /// It is ourselves.
    Never,
}

/// What has come of addresses.
#[derive(Debug, Default)]
struct Past {
    banned: Vec<IpOrAddr>,
    records: [Record; SOURCES],
    /// Nothing is dialled before then.
    rests_until: Instant,
    /// Dials in a row that failed for nothing that concerns the peer.
    rests: u32,
}

/// All addresses of one torrent.
#[derive(Debug)]
pub(super) struct Candidates {
    known: BTreeMap<SocketAddr, Known>,
    /// In a box, for most torrents have none.
    past: Option<Box<Past>>,
    blocked: Arc<IpFilter>,
    dialling: u32,
    own: OwnAddress,
    own_port: u16,
    encryption: Policy,
    rng: Rng,
}

impl Candidates {
    /// We listen on `own_port`, if on any, and dial as `encryption` says.
    pub(super) fn new(own_port: Option<u16>, encryption: Policy, rng: Rng) -> Self {
        Candidates {
            known: BTreeMap::new(),
            past: None,
            blocked: Arc::default(),
            dialling: 0,
            own: OwnAddress::default(),
            own_port: own_port.unwrap_or(0),
            encryption,
            rng,
        }
    }

    /// None of these addresses is taken.
    pub(super) fn without(self, blocked: Arc<IpFilter>) -> Self {
        Candidates { blocked, ..self }
    }

    /// Somebody says what our own address is.
    pub(super) fn hear_own(&mut self, ip: IpAddr, by: Claimant) {
        if self.own.hear(ip, by) {
            let (own, port) = (&self.own, self.own_port);
            for (&addr, known) in &mut self.known {
                if let Some(priority) = priority_of(own, port, addr) {
                    known.lot = lot(priority);
                }
            }
        }
    }

    /// The priority of a connection to `addr` (BEP 40); `None` while our own address is not known.
    pub(super) fn priority(&self, addr: SocketAddr) -> Option<u32> {
        priority_of(&self.own, self.own_port, addr)
    }

    /// Takes in addresses that are not known yet. Gives how many are blocked.
    pub(super) fn found(&mut self, now: Instant, source: Source, addrs: &[SocketAddr]) -> u32 {
        let mut blocked = 0;
        for addr in addrs.iter().copied().map(canonical) {
            if addr.port() == 0 || addr.ip().is_unspecified() || self.is_banned(addr) {
                continue;
            }
            if self.blocked.blocks(addr.ip()) {
                blocked += 1;
                continue;
            }
            if let Some(known) = self.known.get_mut(&addr) {
                known.confirmed |= known.source != source;
                known.source = known.source.min(source);
                continue;
            }
            if self.known.len() >= limits::MAX_CANDIDATES && !self.make_room(source) {
                break;
            }
            let lot = self.priority(addr).map_or_else(|| self.rng.next_u64(), lot);
            let state = State::Idle(now);
            let known = Known {
                source,
                confirmed: false,
                failures: 0,
                seed: false,
                encrypted: self.encryption.prefers_encrypted(),
                tried_both: false,
                miss: None,
                state,
                lot,
            };
            self.known.insert(addr, known);
        }
        blocked
    }

    /// The peer there is said to prefer encryption.
    pub(super) fn prefers_encryption(&mut self, addr: SocketAddr) {
        if let Some(known) = self.known.get_mut(&addr)
            && !known.tried_both
        {
            known.encrypted |= self.encryption.allows_encrypted();
        }
    }

    /// Whether that address is to be dialled with the encryption handshake.
    pub(super) fn is_encrypted(&self, addr: SocketAddr) -> bool {
        self.known.get(&addr).is_some_and(|known| known.encrypted)
    }

    /// The peer that was dialled there has answered: that is the way to dial it. It is somebody else than we, whoever
    /// said so.
    pub(super) fn greeted(&mut self, addr: SocketAddr, key: PeerKey) {
        if let Some(known) = self.known.get_mut(&addr) {
            if known.state == State::Never {
                known.state = State::Connected(key);
            }
            (known.tried_both, known.miss) = (false, None);
            let past = self.past.get_or_insert_default();
            past.records[known.source as usize].note(true);
            past.rests = 0;
        }
    }

    /// The next address to dial, marked as being dialled, if fewer than `most` are. Known seeds are skipped if
    /// `skip_seeds`.
    pub(super) fn next(&mut self, now: Instant, skip_seeds: bool, most: u32) -> Option<SocketAddr> {
        let (rests, rests_until) =
            self.past.as_ref().map_or((0, Instant::ZERO), |p| (p.rests, p.rests_until));
        // One finds out whether there is a way again.
        if self.dialling >= if rests > 0 { 1 } else { most } || now < rests_until {
            return None;
        }
        let dialling = self.count_by_source(|k| k.state == State::Dialling);
        let has_room = |source: Source| {
            source == Source::User || dialling[source as usize] < most - most / SHARE_FREE
        };
        let ready = self.known.iter().filter(|(_, k)| match k.state {
            State::Idle(at) => at <= now && !(skip_seeds && k.seed) && has_room(k.source),
            _ => false,
        });
        let records = self.records();
        let load = |k: &Known| {
            let source = k.source as usize;
            dialling[source] * records[source].weight()
        };
        let vain = |k: &Known| records[k.source as usize].weight() > 1 && !k.confirmed;
        let order = |k: &Known| (k.source != Source::User, load(k), k.failures, vain(k), k.lot);
        let addr = *ready.min_by_key(|(_, k)| order(k))?.0;
        if let Some(known) = self.known.get_mut(&addr) {
            known.state = State::Dialling;
            self.dialling += 1;
        }
        Some(addr)
    }

    /// When an address that waits may be dialled.
    pub(super) fn next_due(&self, skip_seeds: bool) -> Option<Instant> {
        let waiting = self.known.values().filter(|k| !(skip_seeds && k.seed));
        let due = waiting
            .filter_map(|k| if let State::Idle(at) = k.state { Some(at) } else { None })
            .min();
        let rests_until = self.past.as_ref().map_or(Instant::ZERO, |past| past.rests_until);
        due.map(|at| at.max(rests_until))
    }

    pub(super) fn connected(&mut self, addr: SocketAddr, key: PeerKey) {
        if let Some(past) = &mut self.past {
            past.rests = 0;
        }
        if let Some(known) = self.known.get_mut(&addr).filter(|k| k.state != State::Never) {
            self.dialling -= u32::from(known.state == State::Dialling);
            known.state = State::Connected(key);
        }
    }

    /// The peer of this connection does not listen at `addr`, though it has said so.
    pub(super) fn is_not_there(&mut self, now: Instant, addr: SocketAddr, key: PeerKey) {
        let Some(known) = self.known.get(&addr) else { return };
        if known.state != State::Connected(key) {
            return;
        }
        if known.source == Source::Incoming {
            self.known.remove(&addr);
        } else {
            self.set_idle(addr, now + FIRST_WAIT);
        }
    }

    pub(super) fn dial_failed(&mut self, now: Instant, addr: SocketAddr, failure: DialFailure) {
        match failure {
            DialFailure::NoDescriptor => return self.rest(now, addr),
            DialFailure::NoWay => {
                if let Some(known) = self.known.get_mut(&addr) {
                    known.miss = Some(Miss::Unreachable);
                }
                return self.rest(now, addr);
            }
            DialFailure::Refused => self.failed(now, addr, Miss::Refused),
            DialFailure::TimedOut => self.failed(now, addr, Miss::TimedOut),
            DialFailure::Unreachable => self.failed(now, addr, Miss::Unreachable),
            DialFailure::Declined => self.turned_away(now, addr, Miss::Declined),
        }
        if let Some(known) = self.known.get(&addr) {
            let past = self.past.get_or_insert_default();
            past.records[known.source as usize].note(false);
            past.rests = 0;
        }
    }

    /// Somebody has connected to us who says that he is us, and who would listen there: he is believed if we are
    /// connecting there at this moment, which `is_waiting` says of a connection on which nothing was heard. The other
    /// end of that does not hear it, and would be tried once more.
    pub(super) fn is_us(&mut self, addr: SocketAddr, is_waiting: bool) {
        let state = self.known.get(&addr).map(|known| known.state);
        if is_waiting || state == Some(State::Dialling) {
            self.never_dial(addr);
        }
    }

    fn never_dial(&mut self, addr: SocketAddr) {
        if let Some(known) = self.known.get_mut(&addr) {
            self.dialling -= u32::from(known.state == State::Dialling);
            known.state = State::Never;
        }
    }

    pub(super) fn connection_ended(&mut self, now: Instant, addr: SocketAddr, ended: Ended) {
        if self.known.get(&addr).is_some_and(|known| known.state == State::Never) {
            return;
        }
        match ended {
            Ended::Lost => {
                if let Some(known) = self.known.get_mut(&addr) {
                    known.failures = 0;
                }
                let wait = self.jitter(FIRST_WAIT / 2);
                self.set_idle(addr, now + wait);
            }
            Ended::Failed => self.failed(now, addr, Miss::Broke),
            Ended::Stranger => self.failed(now, addr, Miss::OtherTorrent),
            Ended::Silent => self.turned_away(now, addr, Miss::HungUp),
            Ended::Refused => self.set_idle(addr, now + FIRST_WAIT * 3),
            Ended::Duplicate => self.set_idle(addr, now + FIRST_WAIT * 12),
            Ended::Seed => {
                if let Some(known) = self.known.get_mut(&addr) {
                    known.seed = true;
                }
                self.set_idle(addr, now + FIRST_WAIT * 12);
            }
            Ended::Banned => self.ban(addr),
            Ended::Never => self.never_dial(addr),
        }
    }

    pub(super) fn ban(&mut self, addr: SocketAddr) {
        let whose = IpOrAddr::of(addr);
        let banned = &mut self.past.get_or_insert_default().banned;
        if !banned.contains(&whose) {
            if banned.len() >= limits::MAX_CANDIDATES {
                // The oldest has waited longest.
                banned.remove(0);
            }
            banned.push(whose);
        }
        let whole = IpOrAddr::of_network(addr);
        let is_whole = whole != whose && self.bans_in(whole) >= NETWORK_BANNED;
        let is_its = |addr: SocketAddr| {
            IpOrAddr::of(addr) == whose || is_whole && IpOrAddr::of_network(addr) == whole
        };
        self.known.retain(|&known, _| !is_its(known));
        let dialling = self.known.values().filter(|known| known.state == State::Dialling);
        self.dialling = dialling.count() as u32;
    }

    /// A dial failed for what says nothing about the peer: soon again, and no other one before that. Another comes
    /// first then.
    fn rest(&mut self, now: Instant, addr: SocketAddr) {
        let past = self.past.get_or_insert_default();
        // Those that were under way with it say nothing more.
        if now >= past.rests_until {
            let wait = REST * 2u32.pow(past.rests.min(LONGEST_REST));
            past.rests = past.rests.saturating_add(1);
            past.rests_until = now + wait;
        }
        let again = past.rests_until + (past.rests_until.since(now));
        self.set_idle(addr, again);
    }

    fn all_banned(&self) -> &[IpOrAddr] {
        self.past.as_ref().map_or(&[], |past| &past.banned)
    }

    fn records(&self) -> [Record; SOURCES] {
        self.past.as_ref().map_or_else(Default::default, |past| past.records)
    }

    /// Whether it was banned, or is of a network of which [`NETWORK_BANNED`] were.
    pub(super) fn is_banned(&self, addr: SocketAddr) -> bool {
        let (whose, whole) = (IpOrAddr::of(addr), IpOrAddr::of_network(addr));
        self.all_banned().contains(&whose)
            || whole != whose && self.bans_in(whole) >= NETWORK_BANNED
    }

    fn bans_in(&self, network: IpOrAddr) -> usize {
        self.all_banned().iter().filter(|banned| banned.is_in(network)).count()
    }

    pub(super) fn banned(&self) -> u32 {
        self.all_banned().len() as u32
    }

    pub(super) const fn dialling(&self) -> u32 {
        self.dialling
    }

    /// How many of the dials under way somebody may answer, as far as the sources' records tell.
    pub(super) fn promising(&self) -> u32 {
        let dialling = self.count_by_source(|k| k.state == State::Dialling);
        dialling.iter().zip(self.records()).map(|(n, record)| n.div_ceil(record.weight())).sum()
    }

    /// How many dials it takes until somebody answers, by the record of the best source that has an address
    /// left; 1 at least.
    pub(super) fn dials_per_answer(&self) -> u32 {
        let idle = self.count_by_source(|k| matches!(k.state, State::Idle(_)) && k.failures == 0);
        let left = idle.iter().zip(self.records()).filter(|(n, _)| **n > 0);
        left.map(|(_, record)| record.weight()).min().unwrap_or(1)
    }

    /// Known addresses, our own among them: at once, for what is asked every second.
    pub(super) fn len(&self) -> u32 {
        self.known.len() as u32
    }

    /// The connections with those that are connected.
    pub(super) fn connections(&self) -> impl Iterator<Item = PeerKey> + '_ {
        let states = self.known.values().map(|known| known.state);
        states.filter_map(|state| if let State::Connected(key) = state { Some(key) } else { None })
    }

    /// Panics if a count is wrong or a limit passed.
    pub(super) fn check_invariants(&self) {
        assert!(self.known.len() <= limits::MAX_CANDIDATES, "{} addresses", self.known.len());
        let banned = self.all_banned().len();
        assert!(banned <= limits::MAX_CANDIDATES, "{banned} bans");
        let dialling = self.known.values().filter(|known| known.state == State::Dialling).count();
        assert_eq!(dialling, self.dialling as usize, "dials under way");
    }

    /// Bytes of memory.
    pub(super) fn held(&self) -> usize {
        self.known.len() * size_of::<(SocketAddr, Known)>()
            + self.past.as_ref().map_or(0, |_| size_of::<Past>())
            + size_of_val(self.all_banned())
    }

    /// Known addresses, our own left out, and how those failed that did.
    pub(super) fn tally(&self) -> Addresses {
        let mut tally = Addresses { dialling: self.dialling, ..Addresses::default() };
        for known in self.known.values().filter(|known| known.state != State::Never) {
            tally.known += 1;
            known.miss.into_iter().for_each(|miss| tally.misses.add(miss));
        }
        tally
    }

    fn failed(&mut self, now: Instant, addr: SocketAddr, miss: Miss) {
        let Some(known) = self.known.get_mut(&addr) else { return };
        let wait = FIRST_WAIT * 2u32.saturating_pow(u32::from(known.failures).min(10));
        known.failures = known.failures.saturating_add(1);
        known.miss = Some(miss);
        let wait = self.jitter(wait.min(LONGEST_WAIT));
        self.set_idle(addr, now + wait);
    }

    /// Somebody is there, and does not speak with us in this way: perhaps in the other.
    fn turned_away(&mut self, now: Instant, addr: SocketAddr, miss: Miss) {
        let Some(known) = self.known.get_mut(&addr) else { return };
        let other = !known.encrypted;
        let allowed = match other {
            true => self.encryption.allows_encrypted(),
            false => self.encryption.allows_plain(),
        };
        if allowed {
            known.encrypted = other;
        }
        if allowed && !std::mem::replace(&mut known.tried_both, true) {
            self.set_idle(addr, now);
        } else {
            known.tried_both = false;
            self.failed(now, addr, miss);
        }
    }

    /// We are somewhere else in the network, or have slept: who could not be reached perhaps can be now.
    pub(super) fn moved(&mut self, now: Instant) {
        let Candidates { known, rng, past, .. } = self;
        for known in known.values_mut() {
            if known.state == State::Never {
                // Our old address may be somebody else's.
                known.state = State::Idle(now + FIRST_WAIT);
            }
            if known.miss.is_none() {
                continue;
            }
            known.failures = known.failures.min(1);
            if let State::Idle(at) = &mut known.state {
                *at = (*at).min(now + FIRST_WAIT.mul_f64(rng.unit()));
            }
        }
        if let Some(past) = past {
            (past.rests, past.rests_until) = (0, now);
        }
    }

    /// Nobody will say how the dials that are under way ended.
    pub(super) fn forget_dials(&mut self, now: Instant) {
        for known in self.known.values_mut().filter(|known| known.state == State::Dialling) {
            known.state = State::Idle(now);
        }
        self.dialling = 0;
    }

    fn set_idle(&mut self, addr: SocketAddr, at: Instant) {
        if let Some(known) = self.known.get_mut(&addr).filter(|k| k.state != State::Never) {
            self.dialling -= u32::from(known.state == State::Dialling);
            known.state = State::Idle(at);
        }
    }

    /// Between half of `wait` and one and a half.
    fn jitter(&mut self, wait: Duration) -> Duration {
        wait.mul_f64(0.5 + self.rng.unit())
    }

    fn count_by_source(&self, counts: impl Fn(&Known) -> bool) -> [u32; SOURCES] {
        let mut count = [0; SOURCES];
        let those = self.known.values().filter(|k| counts(k));
        those.for_each(|k| count[k.source as usize] += 1);
        count
    }

    /// Forgets an address for one that `source` names: one that failed often, or of somebody else who named
    /// more than half of all.
    fn make_room(&mut self, source: Source) -> bool {
        let known = self.count_by_source(|_| true);
        let is_crowd =
            |of: Source| of != source && known[of as usize] as usize > self.known.len() / 2;
        let worst = self
            .known
            .iter()
            .filter(|(_, k)| matches!(k.state, State::Idle(_)) && k.source != Source::User)
            .max_by_key(|(_, k)| (k.failures >= GIVE_UP / 2, is_crowd(k.source), k.failures))
            .filter(|(_, k)| k.failures >= GIVE_UP / 2 || is_crowd(k.source))
            .map(|(addr, _)| *addr);
        worst.is_some_and(|addr| self.known.remove(&addr).is_some())
    }
}

fn priority_of(own: &OwnAddress, own_port: u16, addr: SocketAddr) -> Option<u32> {
    let own = SocketAddr::new(own.in_family_of(addr.ip())?, own_port);
    Some(priority(own, addr))
}

/// The greatest priority comes first.
fn lot(priority: u32) -> u64 {
    u64::from(!priority) << 32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ip_filter::{AddrRange, Builder};

    /// Dials at once, as many as any test wants.
    const MOST: u32 = 1_000;

    fn candidates(own_port: Option<u16>, encryption: Policy) -> Candidates {
        Candidates::new(own_port, encryption, Rng::new(1))
    }

    fn addr(n: u16) -> SocketAddr {
        SocketAddr::from(([10, 0, (n >> 8) as u8, n as u8], 6881))
    }

    #[test]
    fn a_source_that_names_many_leaves_room_for_the_others() {
        let mut c = candidates(None, Policy::Disabled);
        let many: Vec<SocketAddr> = (0..=limits::MAX_CANDIDATES as u16).map(addr).collect();
        c.found(Instant::ZERO, Source::Lsd, &many);
        let first = |c: &mut Candidates| c.next(Instant::ZERO, false, MOST).expect("one");
        (0..5).for_each(|_| assert!(many.contains(&first(&mut c))));
        let others: Vec<SocketAddr> = (10_000..10_003).map(addr).collect();
        c.found(Instant::ZERO, Source::Tracker, &others);
        (0..3).for_each(|_| assert!(others.contains(&first(&mut c)), "nobody answers the five"));
        assert!(many.contains(&first(&mut c)), "the others are all being dialled");
        c.found(Instant::ZERO, Source::Lsd, &[addr(20_000)]);
        assert_eq!(c.len() as usize, limits::MAX_CANDIDATES);
        assert!(!c.known.contains_key(&addr(20_000)), "who named most makes no room for more");
    }

    #[test]
    fn who_is_banned_twice_is_known_in_all_its_network_and_the_latest_are() {
        let mut c = candidates(None, Policy::Disabled);
        let v6 = |network: u32, host: u16, port| {
            let ip = std::net::Ipv6Addr::from(
                0x2001_0db8_u128 << 96 | u128::from(network) << 64 | u128::from(host),
            );
            SocketAddr::from((ip, port))
        };
        c.found(Instant::ZERO, Source::Pex, &[v6(1, 1, 1), v6(1, 2, 2), v6(2, 1, 1)]);
        assert_eq!(
            c.next(Instant::ZERO, false, MOST).map(|addr| c.known.contains_key(&addr)),
            Some(true)
        );
        c.ban(v6(1, 2, 7));
        assert!(c.is_banned(v6(1, 2, 2)) && !c.is_banned(v6(1, 1, 1)));
        c.check_invariants();
        c.ban(v6(1, 7, 7));
        assert_eq!(c.known.keys().copied().collect::<Vec<_>>(), [v6(2, 1, 1)]);
        assert!(c.is_banned(v6(1, 9, 9)) && !c.is_banned(v6(2, 1, 1)));
        c.check_invariants();
        (2..=limits::MAX_CANDIDATES as u32 + 1).for_each(|n| c.ban(v6(n, 1, 1)));
        assert!(!c.is_banned(v6(1, 1, 1)) && c.is_banned(v6(2, 1, 1)), "the oldest made room");
        c.ban(SocketAddr::from(([127, 0, 0, 1], 1)));
        assert!(!c.is_banned(SocketAddr::from(([127, 0, 0, 1], 2))));
        c.check_invariants();
    }

    /// A node of the DHT, or a tracker, that names us used to be told by `why` as one that hangs up on a plain handshake.
    #[test]
    fn we_are_dialled_once() {
        let mut c = candidates(Some(6881), Policy::Allowed);
        c.found(Instant::ZERO, Source::Dht, &[addr(1)]);
        assert_eq!(c.next(Instant::ZERO, false, MOST), Some(addr(1)));
        let key = PeerKey { slot: 0, generation: 0 };
        c.connected(addr(1), key);
        c.is_us(addr(1), false);
        assert_eq!(c.tally().known, 1, "whoever says so");
        c.is_us(addr(1), true);
        c.connection_ended(Instant::ZERO, addr(1), Ended::Silent);
        assert_eq!((c.next_due(false), c.tally().known), (None, 0));
        // One end may be heard of before the other.
        let mut c = candidates(Some(6881), Policy::Required);
        for failed in [false, true] {
            c.found(Instant::ZERO, Source::Dht, &[addr(2 + u16::from(failed))]);
            let dialled = c.next(Instant::ZERO, false, MOST).expect("it is known");
            c.is_us(dialled, false);
            match failed {
                true => c.dial_failed(Instant::ZERO, dialled, DialFailure::Declined),
                false => c.connected(dialled, key),
            }
            c.connection_ended(Instant::ZERO, dialled, Ended::Silent);
            assert_eq!((c.next_due(false), c.tally().known), (None, 0));
            c.check_invariants();
        }
    }

    #[test]
    fn nothing_is_dialled_while_there_is_no_way_out() {
        let mut c = candidates(None, Policy::Disabled);
        c.found(Instant::ZERO, Source::Tracker, &(0..50).map(addr).collect::<Vec<_>>());
        let mut now = Instant::ZERO;
        for failure in [DialFailure::NoDescriptor, DialFailure::NoWay] {
            let mut before = None;
            // Many are under way when it begins.
            let many: Vec<_> = (0..20).filter_map(|_| c.next(now, false, 20)).collect();
            assert!(many.len() > 10);
            many.into_iter().for_each(|addr| c.dial_failed(now, addr, failure));
            assert_eq!(c.next_due(false), Some(now + REST));
            now += REST;
            for n in 1..10 {
                let dialled = c.next(now, false, MOST).expect("one");
                assert_ne!(before.replace(dialled), Some(dialled));
                assert_eq!(c.next(now, false, MOST), None, "one finds out");
                c.dial_failed(now, dialled, failure);
                assert_eq!(c.next(now, false, MOST), None);
                now += REST * 2u32.pow(n.min(LONGEST_REST));
                assert_eq!(c.next_due(false), Some(now), "not sooner");
            }
            let dialled = c.next(now, false, MOST);
            c.dial_failed(now, dialled.expect("one"), DialFailure::TimedOut);
        }
        assert_eq!(c.known.values().map(|known| known.failures).sum::<u8>(), 2);
    }

    #[test]
    fn who_has_moved_dials_again_soon_who_could_not_be_reached() {
        let mut c = candidates(None, Policy::Disabled);
        let all: Vec<SocketAddr> = (1..=3).map(addr).collect();
        c.found(Instant::ZERO, Source::Tracker, &all);
        let mut now = Instant::ZERO;
        // Some hours without a router.
        while now < Instant::ZERO + LONGEST_WAIT * 8 {
            now = now.max(c.next_due(false).expect("they wait"));
            while let Some(addr) = c.next(now, false, MOST) {
                c.dial_failed(now, addr, DialFailure::Unreachable);
            }
        }
        let due = |c: &Candidates| c.next_due(false).expect("they wait").since(now);
        c.found(now, Source::Tracker, &all);
        assert!(due(&c) > FIRST_WAIT * 6, "a tracker that names them again changes nothing");
        c.moved(now);
        now += FIRST_WAIT;
        let dialled = std::iter::from_fn(|| c.next(now, false, MOST)).count();
        assert_eq!(dialled, 3);
        c.dial_failed(now, addr(1), DialFailure::TimedOut);
        assert!(c.next_due(false).expect("one").since(now) < FIRST_WAIT * 4, "it begins anew");
    }

    #[test]
    fn where_nobody_answers_is_dialled_less() {
        let mut c = candidates(None, Policy::Disabled);
        let [vain, good]: [Vec<SocketAddr>; 2] =
            [0, 1_000].map(|from| (from..from + 40).map(addr).collect());
        c.found(Instant::ZERO, Source::Lsd, &vain);
        for _ in 0..20 {
            let dialled = c.next(Instant::ZERO, false, MOST).expect("one");
            c.dial_failed(Instant::ZERO, dialled, DialFailure::TimedOut);
        }
        c.found(Instant::ZERO, Source::Tracker, &good);
        let next = |c: &mut Candidates| c.next(Instant::ZERO, false, MOST).expect("one");
        let dialled: Vec<_> = (0..20).map(|_| next(&mut c)).collect();
        assert_eq!(dialled.iter().filter(|addr| vain.contains(addr)).count(), 1);
        // It is not held against them for ever.
        for _ in 0..20 {
            c.greeted(vain[0], PeerKey { slot: 0, generation: 0 });
        }
        let dialled: Vec<_> = (0..20).map(|_| next(&mut c)).collect();
        assert!(dialled.iter().filter(|addr| vain.contains(addr)).count() > 10);
    }

    #[test]
    fn no_source_has_all_dials_to_itself() {
        let mut c = candidates(None, Policy::Disabled);
        c.found(Instant::ZERO, Source::Lsd, &(0..40).map(addr).collect::<Vec<_>>());
        let next = |c: &mut Candidates| c.next(Instant::ZERO, false, 20);
        assert_eq!(std::iter::from_fn(|| next(&mut c)).count(), 15);
        c.found(Instant::ZERO, Source::User, &(40..42).map(addr).collect::<Vec<_>>());
        c.found(Instant::ZERO, Source::Tracker, &(42..80).map(addr).collect::<Vec<_>>());
        assert_eq!(std::iter::from_fn(|| next(&mut c)).count(), 5);
        assert_eq!(c.dialling(), 20);
    }

    #[test]
    fn where_hardly_anybody_answers_more_are_dialled_and_what_two_have_named_comes_first() {
        let mut c = candidates(Some(6881), Policy::Disabled);
        c.hear_own([192, 0, 2, 1].into(), Claimant::Tracker);
        c.found(Instant::ZERO, Source::Tracker, &(0..100).map(addr).collect::<Vec<_>>());
        for left in (0..TELLING).rev() {
            assert_eq!(c.dials_per_answer(), 1, "{left} more will tell");
            // Nobody knows it beside the tracker.
            let dialled = c.next(Instant::ZERO, false, MOST).expect("one");
            c.dial_failed(Instant::ZERO, dialled, DialFailure::TimedOut);
        }
        assert_eq!(c.dials_per_answer(), 1 + u32::from(TELLING));
        let idle: Vec<_> = (0..100).map(addr).filter(|a| c.known[a].failures == 0).collect();
        let least = *idle.iter().min_by_key(|&&addr| c.priority(addr)).expect("some are left");
        c.found(Instant::ZERO, Source::Tracker, &idle);
        c.found(Instant::ZERO, Source::Pex, &[least]);
        assert_eq!(c.next(Instant::ZERO, false, MOST), Some(least));
        assert_eq!(c.promising(), 1);
        c.found(Instant::ZERO, Source::Pex, &[addr(1_000)]);
        assert_eq!(c.dials_per_answer(), 1, "that source may be better");
    }

    /// Named so, a peer that was banned could be dialled again.
    #[test]
    fn an_ipv4_address_written_as_ipv6_is_ipv4() {
        let mut c = candidates(None, Policy::Disabled);
        c.ban(addr(1));
        let other = "[::ffff:10.0.0.1]:6881".parse().expect("valid");
        c.found(Instant::ZERO, Source::Pex, &[other]);
        assert_eq!(c.next(Instant::ZERO, false, MOST), None);
    }

    #[test]
    fn those_who_are_banned_are_bounded_too() {
        let mut c = candidates(None, Policy::Disabled);
        (0..=limits::MAX_CANDIDATES as u16).map(addr).for_each(|addr| c.ban(addr));
        assert_eq!(c.banned() as usize, limits::MAX_CANDIDATES);
    }

    #[test]
    fn each_failure_doubles_the_wait() {
        let mut c = candidates(None, Policy::Disabled);
        c.found(Instant::ZERO, Source::Tracker, &[addr(1)]);
        let mut now = Instant::ZERO;
        let mut waits = Vec::new();
        for _ in 0..6 {
            assert_eq!(c.next(now, false, MOST), Some(addr(1)));
            assert_eq!(c.dialling(), 1);
            c.dial_failed(now, addr(1), DialFailure::Refused);
            assert_eq!((c.dialling(), c.next(now, false, MOST)), (0, None));
            let due = c.next_due(false).expect("it waits");
            waits.push(due.since(now).as_secs());
            now = due;
        }
        assert!(waits[0] <= 15 && waits[5] >= 160, "{waits:?}");
    }

    #[test]
    fn the_greatest_priority_is_dialled_first() {
        let mut c = candidates(Some(6881), Policy::Disabled);
        let all: Vec<_> = (0..50).map(addr).collect();
        c.found(Instant::ZERO, Source::Tracker, &all[..25]);
        c.hear_own([192, 0, 2, 1].into(), Claimant::Tracker);
        c.found(Instant::ZERO, Source::Tracker, &all[25..]);
        let dialled: Vec<_> = std::iter::from_fn(|| c.next(Instant::ZERO, false, MOST)).collect();
        assert_eq!(dialled.len(), 50);
        assert!(dialled.is_sorted_by_key(|&addr| std::cmp::Reverse(c.priority(addr))));
    }

    /// How the one peer is dialled, time after time, when it takes only one of both ways.
    fn ways(encryption: Policy, takes: impl Fn(bool) -> bool) -> Vec<bool> {
        let mut c = candidates(None, encryption);
        c.found(Instant::ZERO, Source::Tracker, &[addr(1)]);
        let (mut now, mut ways) = (Instant::ZERO, Vec::new());
        for _ in 0..6 {
            let dialled = c.next(now, false, MOST).expect("it is due");
            let encrypted = c.is_encrypted(dialled);
            ways.push(encrypted);
            if takes(encrypted) {
                c.greeted(dialled, PeerKey { slot: 0, generation: 0 });
                c.connection_ended(now, dialled, Ended::Lost);
            } else if encrypted {
                c.dial_failed(now, dialled, DialFailure::Declined);
            } else {
                c.connection_ended(now, dialled, Ended::Silent);
            }
            now = c.next_due(false).expect("it waits");
        }
        ways
    }

    #[test]
    fn what_worked_is_the_way_to_dial() {
        let (plain, encrypted) = (|way: bool| !way, |way: bool| way);
        for policy in [Policy::Disabled, Policy::Allowed] {
            assert_eq!(ways(policy, plain), [false; 6]);
        }
        for policy in [Policy::Preferred, Policy::Required] {
            assert_eq!(ways(policy, encrypted), [true; 6]);
        }
        assert_eq!(ways(Policy::Disabled, encrypted), [false; 6]);
        assert_eq!(ways(Policy::Required, plain), [true; 6]);
        assert_eq!(ways(Policy::Allowed, encrypted), [false, true, true, true, true, true]);
        assert_eq!(ways(Policy::Preferred, plain), [true, false, false, false, false, false]);
        let none = |_: bool| false;
        assert_eq!(ways(Policy::Allowed, none), [false, true, false, true, false, true]);
    }

    #[test]
    fn both_ways_are_one_attempt() {
        let mut c = candidates(None, Policy::Allowed);
        c.found(Instant::ZERO, Source::Tracker, &[addr(1), addr(2)]);
        c.prefers_encryption(addr(2));
        assert!(!c.is_encrypted(addr(1)) && c.is_encrypted(addr(2)));
        for due in [true, false] {
            while c.next(Instant::ZERO, false, MOST).is_some() {}
            c.connection_ended(Instant::ZERO, addr(1), Ended::Silent);
            assert_eq!(c.next_due(false) == Some(Instant::ZERO), due);
        }
    }

    #[test]
    fn blocked_addresses_are_not_known_whoever_names_them() {
        let mut blocked = Builder::default();
        let range = AddrRange::new(addr(3).ip(), addr(5).ip()).expect("a range");
        blocked.block(range).expect("room");
        let mut c = candidates(None, Policy::Disabled).without(Arc::new(blocked.build()));
        let all: Vec<_> = (1..8).map(addr).collect();
        for source in [Source::User, Source::Incoming, Source::Pex, Source::Resume] {
            c.found(Instant::ZERO, source, &all);
        }
        let mut dialled: Vec<_> =
            std::iter::from_fn(|| c.next(Instant::ZERO, false, MOST)).collect();
        dialled.sort();
        assert_eq!(dialled, [1, 2, 6, 7].map(addr));
        assert_eq!((c.tally().known, c.next_due(false)), (4, None));
    }

    #[test]
    fn user_first_banned_never_and_bounded() {
        let mut c = candidates(None, Policy::Disabled);
        let many: Vec<_> = (0..5_000).map(addr).collect();
        c.found(Instant::ZERO, Source::Tracker, &many);
        assert_eq!(c.tally().known as usize, limits::MAX_CANDIDATES);
        c.ban(addr(7));
        c.found(Instant::ZERO, Source::User, &[addr(7), addr(9)]);
        assert!(c.is_banned(addr(7)));
        assert_eq!(c.next(Instant::ZERO, false, MOST), Some(addr(9)));
    }
}
