//! How bytes travel: an uplink that serves its connections fairly, a delay, perhaps a downlink.
//!
//! A connection is two streams. A stream carries *units*: a row of whole messages, or one block. The
//! uplink serves the unit whose stream has had least (self-clocked fair queueing, weights equal), so
//! a short message does not wait behind the blocks of other connections, as in TCP. Rates count bytes
//! of the stream plus a configurable overhead for each unit's packets; nothing is lost or reordered.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
    time::Duration,
};

use crate::{
    base::{slab::Chunk, slab::Pool, time::Instant},
    peer::outbox::{PIECE_HEADER_LEN, SendBuf},
    webseed::Failure,
};

use super::StreamId;

/// How far ahead an uplink may decide what to send, so that rows of tiny units cost one event.
const QUANTUM_NS: u64 = 500_000;

/// What travels as a whole.
#[derive(Debug, Clone)]
pub(super) enum Unit {
    /// Bytes of the stream: whole messages, unless a rogue likes it otherwise.
    Bytes(Vec<u8>),
    /// One block; its payload exists only as a tag.
    Block {
        /// Head of the message.
        header: [u8; PIECE_HEADER_LEN],
        /// Bytes of payload.
        length: u32,
        /// What the payload is.
        tag: u64,
    },
    /// Bytes of the encryption handshake.
    Opening(Vec<u8>),
    /// The web seed that the sender stands for has failed.
    Failed(Failure),
    /// The sender has closed the connection.
    End,
}

impl Unit {
    /// Bytes of the stream.
    pub(super) fn len(&self) -> usize {
        match self {
            Unit::Bytes(b) | Unit::Opening(b) => b.len(),
            Unit::Block { length, .. } => PIECE_HEADER_LEN + *length as usize,
            Unit::Failed(_) | Unit::End => 0,
        }
    }

    /// Bytes of block payload, as far as they are recognisable.
    pub(super) const fn payload(&self) -> u64 {
        match self {
            Unit::Block { length, .. } => *length as u64,
            _ => 0,
        }
    }

    /// Shows the unit as the chunks a reader gets.
    pub(super) fn each_chunk(&self, mut see: impl FnMut(Chunk<'_>)) {
        match self {
            Unit::Bytes(b) | Unit::Opening(b) => see(Chunk::Bytes(b)),
            Unit::Block { header, length, tag } => {
                see(Chunk::Bytes(header));
                see(Chunk::Phantom { length: *length, tag: *tag });
            }
            Unit::Failed(_) | Unit::End => {}
        }
    }
}

/// What one end of a connection is about to send.
#[derive(Debug)]
pub(super) enum Outgoing {
    /// Filled by a torrent machine.
    Machine(SendBuf),
    /// Filled by a rogue.
    Rogue(VecDeque<Unit>),
}

impl Outgoing {
    /// Nothing to send.
    pub(super) fn is_empty(&self) -> bool {
        match self {
            Outgoing::Machine(buf) => buf.is_empty(),
            Outgoing::Rogue(units) => units.is_empty(),
        }
    }

    /// Bytes of the unit that is next.
    pub(super) fn first_len(&self) -> usize {
        match self {
            Outgoing::Machine(buf) => buf.first_unit_len(),
            Outgoing::Rogue(units) => units.front().map_or(0, Unit::len),
        }
    }

    /// Takes the next unit; its bytes go into a vector of `spare`.
    pub(super) fn pop(&mut self, pool: &mut Pool, spare: &mut Vec<Vec<u8>>) -> Option<Unit> {
        let buf = match self {
            Outgoing::Rogue(units) => return units.pop_front(),
            Outgoing::Machine(buf) if buf.is_empty() => return None,
            Outgoing::Machine(buf) => buf,
        };
        let mut bytes = spare.pop().unwrap_or_default();
        let mut payload = None;
        buf.pop_unit(pool, &mut |chunk| match chunk {
            Chunk::Bytes(b) => bytes.extend_from_slice(b),
            Chunk::Phantom { length, tag } => payload = Some((length, tag)),
        });
        let Some((length, tag)) = payload else { return Some(Unit::Bytes(bytes)) };
        let header = bytes[..].try_into().expect("a block has one header");
        bytes.clear();
        spare.push(bytes);
        Some(Unit::Block { header, length, tag })
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self, pool: &mut Pool) {
        match self {
            Outgoing::Machine(buf) => buf.clear(pool),
            Outgoing::Rogue(units) => units.clear(),
        }
    }
}

/// A rate that things pass one after another.
#[derive(Debug)]
struct Narrow {
    /// Bytes per second; `None` takes no time.
    rate: Option<u64>,
    /// When the last thing will have passed, in nanoseconds.
    free_ns: u64,
}

impl Narrow {
    /// `bytes` pass after all before them; when the last of them has passed, rounded up.
    fn pass(&mut self, now: Instant, bytes: u64) -> Instant {
        if let Some(rate) = self.rate {
            // Events fall on whole microseconds: what follows on without a gap starts on the dot.
            let now_ns = now.as_micros() * 1_000;
            let start = if self.free_ns + 1_000 > now_ns { self.free_ns } else { now_ns };
            let took = u128::from(bytes) * 1_000_000_000 / u128::from(rate.max(1));
            self.free_ns = start.saturating_add(u64::try_from(took).unwrap_or(u64::MAX));
        } else {
            self.free_ns = now.as_micros() * 1_000;
        }
        self.free_at()
    }

    fn free_at(&self) -> Instant {
        Instant::from_micros(self.free_ns.div_ceil(1_000))
    }
}

/// A host's way out: serves the streams that have something to send.
#[derive(Debug)]
pub(super) struct Uplink {
    narrow: Narrow,
    overhead: u32,
    /// Fair queueing's clock, in bytes that one stream would have had.
    turn: u64,
    ready: BinaryHeap<Reverse<(u64, u64, StreamId)>>,
    queued: u64,
    /// A `Due::UplinkFree` is planned.
    pub(super) scheduled: bool,
}

impl Uplink {
    /// An uplink of `rate` bytes a second; each unit costs `overhead` per mille more.
    pub(super) fn new(rate: Option<u64>, overhead: u32) -> Self {
        Uplink {
            narrow: Narrow { rate, free_ns: 0 },
            overhead,
            turn: 0,
            ready: BinaryHeap::new(),
            queued: 0,
            scheduled: false,
        }
    }

    /// The stream has a unit of `len` bytes to send. `served` is where the stream's fair share
    /// stands; it belongs to the stream and starts at 0.
    pub(super) fn enqueue(&mut self, stream: StreamId, len: usize, served: &mut u64) {
        *served = (*served).max(self.turn) + len as u64;
        self.queued += 1;
        self.ready.push(Reverse((*served, self.queued, stream)));
    }

    /// The stream whose unit may leave now, if the uplink can take one.
    pub(super) fn next(&mut self, now: Instant) -> Option<StreamId> {
        if self.narrow.free_ns > now.as_micros() * 1_000 + QUANTUM_NS {
            return None;
        }
        let Reverse((turn, _, stream)) = self.ready.pop()?;
        self.turn = turn;
        Some(stream)
    }

    /// When to ask again, if anything waits.
    pub(super) fn wake_at(&self) -> Option<Instant> {
        (!self.ready.is_empty()).then(|| self.narrow.free_at())
    }

    /// Sends a unit of `len` bytes; when its last byte has left.
    pub(super) fn transmit(&mut self, now: Instant, len: usize) -> Instant {
        self.narrow.pass(now, with_overhead(len, self.overhead))
    }
}

/// A host's way in: first come, first served.
#[derive(Debug)]
pub(super) struct Downlink {
    narrow: Narrow,
    overhead: u32,
}

impl Downlink {
    /// A downlink of `rate` bytes a second; each unit costs `overhead` per mille more.
    pub(super) fn new(rate: u64, overhead: u32) -> Self {
        Downlink { narrow: Narrow { rate: Some(rate), free_ns: 0 }, overhead }
    }

    /// When a unit of `len` bytes that reaches the host now has passed.
    pub(super) fn pass(&mut self, now: Instant, len: usize) -> Instant {
        self.narrow.pass(now, with_overhead(len, self.overhead))
    }
}

fn with_overhead(len: usize, per_mille: u32) -> u64 {
    len as u64 + (len as u64 * u64::from(per_mille)).div_ceil(1_000)
}

/// One direction of a connection, between its sender's uplink and its receiver.
#[derive(Debug, Default)]
pub(super) struct Air {
    flights: VecDeque<Unit>,
    /// Flights at the front that wait for the downlink.
    landed: usize,
    /// When the last flight arrives: nothing overtakes it.
    last: Instant,
}

impl Air {
    /// A unit whose last byte leaves at `left` takes off; when it arrives.
    pub(super) fn take_off(&mut self, unit: Unit, left: Instant, delay: Duration) -> Instant {
        self.last = self.last.max(left + delay);
        self.flights.push_back(unit);
        self.last
    }

    /// The next unit has come to the downlink: its length.
    pub(super) fn touch_down(&mut self) -> Option<usize> {
        let len = self.flights.get(self.landed)?.len();
        self.landed += 1;
        Some(len)
    }

    /// Whether something waits for the downlink.
    pub(super) const fn has_landed(&self) -> bool {
        self.landed > 0
    }

    /// The next unit is through.
    pub(super) fn land(&mut self) -> Option<Unit> {
        self.landed = self.landed.saturating_sub(1);
        self.flights.pop_front()
    }

    /// Loses everything on the way; the events planned for it find nothing.
    pub(super) fn crash(&mut self) {
        self.flights = VecDeque::new();
        self.landed = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_exact_over_many_units() {
        for (rate, len) in [(125_000_000u64, 16_397usize), (1_000_003, 17), (999, 16_397)] {
            let mut up = Uplink::new(Some(rate), 0);
            let mut now = Instant::ZERO;
            for _ in 0..10_000 {
                now = up.transmit(now, len).max(now);
            }
            let ideal = len as f64 * 10_000.0 / rate as f64;
            assert!((now.as_secs_f64() / ideal - 1.0).abs() < 1e-5 + 1e-5 / ideal, "{rate}: {now}");
        }
    }

    #[test]
    fn streams_share_by_bytes_and_short_units_pass() {
        let mut up = Uplink::new(Some(1_000_000), 0);
        let mut served = [0u64; 3];
        let lens = [16_397usize, 16_397, 5_000];
        for (s, len) in lens.iter().enumerate() {
            up.enqueue(StreamId(s as u32), *len, &mut served[s]);
        }
        let (mut now, mut bytes) = (Instant::ZERO, [0usize; 3]);
        for _ in 0..1_000 {
            let s = up.next(now).expect("always ready").0 as usize;
            now = up.transmit(now, lens[s]);
            bytes[s] += lens[s];
            up.enqueue(StreamId(s as u32), lens[s], &mut served[s]);
        }
        let (least, most) = (bytes.iter().min(), bytes.iter().max());
        assert!(most.expect("three") - least.expect("three") < 40_000, "{bytes:?}");
        // A newcomer with nine bytes is next.
        up.enqueue(StreamId(9), 9, &mut 0);
        assert_eq!(up.next(now), Some(StreamId(9)));
    }

    #[test]
    fn overhead_costs_time() {
        let mut up = Uplink::new(Some(1_000), 30);
        assert_eq!(up.transmit(Instant::ZERO, 1_000), Instant::from_micros(1_030_000));
    }
}
