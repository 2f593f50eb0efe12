//! What happens by itself: the second's tick, time-outs, dialling and pauses.

use std::time::Duration;

use crate::{
    base::{limits, slab::Pool, time::Instant},
    peer::{Peer, Stage},
    pieces::job::DiskFault,
    wire::{self, Message},
};

use super::{
    Command, Disconnect, Event, Output, PeerSnapshot, Phase, Snapshot, Torrent,
    time_outs::is_unanswered,
};

/// How often a torrent with peers looks at its clocks.
pub(super) const TICK: Duration = Duration::from_secs(1);
/// We ask for addresses again no sooner than this; trackers have their own, longer, intervals.
const NEED_PEERS_EVERY: Duration = Duration::from_secs(15);
/// With fewer connections than this we look for more.
pub(super) const ENOUGH_PEERS: u32 = 30;
/// Bytes that a peer has to take of what waits for it in [`limits::UNREAD_TIMEOUT`].
const LEAST_READ: u64 = 128 << 10;
/// So many times the usual dials are under way at once when hardly anybody answers.
pub(super) const MORE_DIALS: u32 = 3;

impl Torrent {
    pub(super) fn tick(&mut self, now: Instant, pool: &mut Pool) {
        self.next_tick = None;
        for key in self.peers.keys() {
            let Some(peer) = self.peers.get_mut(key) else { continue };
            peer.strikes -= peer.strikes.div_ceil(4);
            let has_read = |&(since, read): &(Instant, u64)| {
                now.since(since) <= limits::UNREAD_TIMEOUT || read < LEAST_READ
            };
            peer.unread = peer.unread.filter(has_read);
            peer.unread = peer.wants_write.then(|| peer.unread.unwrap_or((now, 0)));
            if let Some(reason) = overdue(peer, now) {
                self.disconnect(now, key, reason, pool);
                continue;
            }
            if peer.is_open() && now.since(peer.last_sent) > limits::KEEP_ALIVE {
                wire::encode::encode(&Message::KeepAlive, &mut peer.out);
                self.want_write(key);
            }
            if self.peers.get(key).is_some_and(|p| p.is_web_seed() && is_unanswered(p, now)) {
                self.disconnect(now, key, Disconnect::Unanswered, pool);
                continue;
            }
            self.time_out_requests(now, key);
        }
        self.pieces.close_untouched(pool);
        self.check_what_waits(now);
        self.shed(now, pool);
        self.choke_tick(now);
        self.refill_all(now, pool);
        self.ask_all_for_metadata(now);
        self.exchange_peers(now);
        self.look_after_showing(now);
        self.dial(now);
        self.next_tick = self.next_tick(now);
    }

    /// When something can become due by itself. Without peers that is the next address to dial, or
    /// the next time to ask for some: an idle torrent has no timer.
    pub(super) fn next_tick(&self, now: Instant) -> Option<Instant> {
        if self.peers.len() > 0 || self.candidates.dialling() > 0 || self.unchecked {
            return Some(now + TICK);
        }
        let dial = self.candidates.next_due(self.uploads_only());
        let web_seed = self.web_seeds.next_due().filter(|_| self.wants_web_seeds());
        let dial = [dial, web_seed].into_iter().flatten().min();
        let due = match self.phase {
            Phase::Downloading if self.settings.fetch => {
                Some(dial.map_or(self.next_need_peers, |d| d.min(self.next_need_peers)))
            }
            Phase::Downloading | Phase::Seeding => dial,
            Phase::Paused | Phase::Failed => None,
        };
        due.map(|at| at.max(now + TICK))
    }

    /// The next tick is then, or sooner.
    pub(super) fn tick_by(&mut self, at: Instant) {
        self.next_tick = Some(self.next_tick.map_or(at, |next| next.min(at)));
    }

    /// Dials as far as the limits go, and asks for addresses when few are left.
    pub(super) fn dial(&mut self, now: Instant) {
        if matches!(self.phase, Phase::Paused | Phase::Failed) {
            return;
        }
        self.open_web_seeds(now);
        let seeding = self.uploads_only();
        let most = self.most_dials();
        while self.swarm_len() + self.candidates.dialling() < self.max_peers()
            && let Some(addr) = self.candidates.next(now, seeding, most)
        {
            let encrypted = self.candidates.is_encrypted(addr);
            self.outputs.push_back(Output::Connect { addr, encrypted });
        }
        let busy = self.swarm_len() + self.candidates.promising();
        if busy < ENOUGH_PEERS.min(self.max_peers()) && !seeding && self.next_need_peers <= now {
            self.next_need_peers = now + NEED_PEERS_EVERY;
            self.outputs.push_back(Output::NeedPeers);
        }
    }

    /// Dials at once: more while few peers are connected and hardly anybody answers.
    fn most_dials(&self) -> u32 {
        let few = self.swarm_len() < ENOUGH_PEERS;
        let factor = if few { self.candidates.dials_per_answer().min(MORE_DIALS) } else { 1 };
        self.settings.max_dialling.saturating_mul(factor)
    }

    pub(super) fn command(&mut self, now: Instant, command: Command, pool: &mut Pool) {
        match command {
            Command::Pause => {
                self.phase = Phase::Paused;
                self.cancel_everything();
                // What is here of unfinished pieces is kept in the files.
                for job in self.pieces.relieve(pool) {
                    self.hand_to_disk(job);
                }
                self.pieces.drop_open(pool);
                for key in self.peers.keys() {
                    self.disconnect(now, key, Disconnect::Stopped, pool);
                }
            }
            Command::Resume if matches!(self.phase, Phase::Paused | Phase::Failed) => {
                self.phase = if self.is_done() { Phase::Seeding } else { Phase::Downloading };
                self.fault = None;
                self.next_need_peers = now;
                self.dial_dirty = true;
                self.choke_dirty = true;
                for key in self.peers.keys() {
                    self.update_interest(key);
                }
                self.freed = true;
            }
            Command::Resume => {}
            Command::Sequential(on) => {
                self.settings.sequential = on;
                self.pieces.set_sequential(on);
            }
            Command::Lease(lease) => self.take_lease(lease),
        }
    }

    /// The files are not there, or cannot be read: nothing is fetched, and all peers are choked, until they are. What was verified
    /// stays so.
    pub(super) fn storage_gone(&mut self, fault: DiskFault, pool: &mut Pool) {
        if matches!(self.phase, Phase::Paused | Phase::Failed) {
            return;
        }
        self.phase = Phase::Failed;
        self.fault = Some(Box::new(fault.clone()));
        self.cancel_everything();
        self.pieces.drop_open(pool);
        self.pieces.blame_nobody();
        for key in self.peers.keys() {
            self.choke(key);
            // Nor is a piece sent to its end that has been begun.
            let waiting = self.peers.get_mut(key).map(|peer| peer.uploads.drop_waiting());
            waiting.into_iter().flatten().for_each(|block| self.reject(key, block));
        }
        self.say(Event::Stopped(fault));
    }

    /// Whether the files are not there.
    pub(super) fn is_storage_gone(&self) -> bool {
        self.fault.as_ref().is_some_and(|fault| fault.kind.is_away())
    }

    /// Figures of this moment.
    pub fn snapshot(&self, now: Instant) -> Snapshot {
        let open = || self.peers.iter().filter(|(_, p)| p.is_open() && !p.is_web_seed());
        let (wanted, wanted_done) = self.pieces.bytes_wanted();
        let addresses = self.candidates.tally();
        Snapshot {
            phase: self.phase,
            wants_metadata: self.wants_metadata(),
            done: self.pieces.bytes_had(),
            total: self.pieces.geometry().total(),
            wanted,
            wanted_done,
            pieces_done: self.pieces.have().count(),
            pieces: self.pieces.geometry().pieces(),
            downloaded: self.totals.downloaded,
            uploaded: self.totals.uploaded,
            wasted: self.totals.wasted,
            corrupt: self.totals.corrupt,
            down: self.down.rate(now),
            up: self.up.rate(now),
            peers: open().count() as u32,
            seeds: open().filter(|(_, p)| p.pieces.is_all()).count() as u32,
            web_seeds: self.web_seeds.connected(),
            unchoked: open().filter(|(_, p)| !p.am_choking).count() as u32,
            known: addresses.known,
            dialling: self.candidates.dialling(),
            banned: self.candidates.banned(),
            evidence: self.evidence(now, addresses).map(Box::new),
        }
    }

    /// Figures of every connection.
    pub fn peers(&self, now: Instant) -> Vec<PeerSnapshot> {
        let pieces = self.pieces.geometry().pieces().max(1);
        self.peers
            .iter()
            .map(|(_, p)| PeerSnapshot {
                encryption: p.encryption,
                addr: p.addr,
                web_seed: self.web_seeds.url(p.addr).cloned(),
                client: p.client.clone(),
                outgoing: p.outgoing,
                progress: f64::from(p.pieces.count()) / f64::from(pieces),
                down: p.down.rate(now),
                up: p.up.rate(now),
                downloaded: p.down.total(),
                uploaded: p.up.total(),
                flags: [p.am_choking, p.am_interested, p.peer_choking, p.peer_interested],
                outstanding: p.requests.len(),
            })
            .collect()
    }
}

/// Whether a peer has used up its time.
fn overdue(peer: &Peer, now: Instant) -> Option<Disconnect> {
    match peer.stage {
        Stage::Handshake(_) => (now.since(peer.since) > limits::HANDSHAKE_TIMEOUT)
            .then_some(Disconnect::HandshakeTimeout),
        Stage::Open => {
            // A web seed speaks when it is asked.
            let idle = now.since(peer.last_received) > limits::IDLE_TIMEOUT && !peer.is_web_seed();
            let unread = peer.unread.is_some_and(|(since, read)| {
                now.since(since) > limits::UNREAD_TIMEOUT && read < LEAST_READ
            });
            if idle { Some(Disconnect::Idle) } else { unread.then_some(Disconnect::Unread) }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::{super::messages::tests::torrent, *};
    use crate::{
        base::bitfield::Bitfield,
        torrent::{DialFailure, Input, Source},
    };

    #[test]
    fn more_are_dialled_where_hardly_anybody_answers_and_no_more_than_so_many() {
        let (mut torrent, mut pool) = (torrent(Bitfield::empty(64)), Pool::phantom(1 << 20));
        torrent.settings.max_peers = 1_000;
        for (n, source) in [Source::Tracker, Source::Dht].into_iter().enumerate() {
            let addrs = (0..=255).map(|host| ([10, 0, n as u8, host], 1).into()).collect();
            torrent.handle(Instant::ZERO, Input::PeersFound { source, addrs }, &mut pool);
        }
        let (mut under_way, mut counts) = (VecDeque::new(), Vec::new());
        for _ in 0..400 {
            let outputs = std::iter::from_fn(|| torrent.poll());
            under_way.extend(outputs.filter_map(|output| match output {
                Output::Connect { addr, .. } => Some(addr),
                _ => None,
            }));
            counts.push(under_way.len() as u32);
            let addr = under_way.pop_front().expect("somebody is dialled");
            let silent = Input::DialFailed { addr, failure: DialFailure::TimedOut };
            torrent.handle(Instant::ZERO, silent, &mut pool);
        }
        let usual = torrent.settings.max_dialling;
        assert_eq!(counts.iter().max(), Some(&(usual * MORE_DIALS)));
        assert_eq!(counts[0], usual, "nothing is known of anybody");
    }
}
