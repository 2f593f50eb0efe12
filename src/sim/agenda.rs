//! What is due in the simulated world, in order: by time, and among equals by when it was planned.
//!
//! That second key is what makes two runs of one seed the same run.

use std::{
    cmp::{Ordering, Reverse},
    collections::BinaryHeap,
};

use crate::base::time::Instant;

use super::{HostId, StreamId};

/// One thing that happens at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    /// The host's uplink has sent what it was sending.
    UplinkFree(HostId),
    /// The next unit of the stream reaches the far host.
    Arrive(StreamId),
    /// The next unit of the stream has passed the far host's downlink.
    Deliver(StreamId),
    /// The host's streams may send blocks again under its upload limit.
    MayWrite(HostId),
    /// The host's machine may have something to do.
    Timer(HostId),
    /// A timer that a rogue set for itself, with its token.
    RogueTimer(HostId, u32),
    /// A disk job of the host is done; the number names it.
    Disk(HostId, u32),
    /// The first packet of a connection reaches the dialled host.
    Syn(StreamId),
    /// The dialler learns that the connection is there.
    SynAck(StreamId),
    /// The dialler learns that it is not.
    DialFailed(StreamId),
    /// The stream's sender has waited long enough for the encryption handshake.
    OpeningLate(StreamId),
    /// The receiver of the stream notices that its connection is dead.
    Lost(StreamId),
    /// The network breaks the connection that the stream belongs to.
    Cut(StreamId),
    /// A host starts.
    Join(HostId),
    /// A host may tell the local network what it has.
    Tell(HostId),
    /// What was told first of what is on its way there is heard.
    Overhear,
    /// A host may search the DHT.
    Search(HostId),
    /// A host has got the info dictionary, and begins with the pieces.
    Learnt(HostId),
    /// A host closes its connections and is gone.
    Leave(HostId),
    /// A host is gone without a word.
    Crash(HostId),
    /// A host asks the tracker.
    Announce(HostId),
    /// The tracker's answer reaches the host.
    Answer(HostId),
    /// The owner of a stopped torrent lets it go on.
    Resume(HostId),
}

#[derive(Debug, PartialEq, Eq)]
struct Entry {
    at: Instant,
    seq: u64,
    due: Due,
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at, self.seq).cmp(&(other.at, other.seq))
    }
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Everything that is due.
#[derive(Debug, Default)]
pub(super) struct Agenda {
    heap: BinaryHeap<Reverse<Entry>>,
    planned: u64,
}

impl Agenda {
    /// Plans `due` for `at`.
    pub(super) fn push(&mut self, at: Instant, due: Due) {
        self.planned += 1;
        self.heap.push(Reverse(Entry { at, seq: self.planned, due }));
    }

    /// Takes what comes first, if it is due at `until` or before.
    pub(super) fn pop(&mut self, until: Instant) -> Option<(Instant, Due)> {
        if self.heap.peek()?.0.at > until {
            return None;
        }
        self.heap.pop().map(|Reverse(e)| (e.at, e.due))
    }

    /// When the next thing is due.
    pub(super) fn next_due(&self) -> Option<Instant> {
        Some(self.heap.peek()?.0.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_times_keep_the_order_of_planning() {
        let mut agenda = Agenda::default();
        let at = Instant::from_micros;
        agenda.push(at(5), Due::Timer(HostId(1)));
        for i in 0..100 {
            agenda.push(at(3), Due::Timer(HostId(i)));
        }
        for i in 0..100 {
            assert_eq!(agenda.pop(at(4)), Some((at(3), Due::Timer(HostId(i)))));
        }
        assert_eq!(agenda.pop(at(4)), None);
        assert_eq!(agenda.next_due(), Some(at(5)));
        assert_eq!(agenda.pop(at(5)), Some((at(5), Due::Timer(HostId(1)))));
    }
}
