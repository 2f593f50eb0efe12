//! A host's own upload limit, and which of its streams is next under it: as in the session, whoever has had least.
//!
//! Says only who and how much; the world writes.

use std::time::Duration;

use crate::base::{
    fair_queue::FairQueue,
    time::Instant,
    token_bucket::{Grant, TokenBucket},
    units::ByteRate,
};

use super::StreamId;

/// Fewer bytes at once are not worth it: one block.
const LEAST: u64 = 17 * 1024;

/// The limit, and the streams that wait for it.
#[derive(Debug)]
pub(super) struct UploadLimit {
    bucket: TokenBucket,
    waiting: FairQueue<StreamId>,
    /// The world will come back for those who wait.
    planned: bool,
}

impl UploadLimit {
    /// `None` is no limit.
    pub(super) fn new(rate: Option<ByteRate>) -> Self {
        let bucket = TokenBucket::new(rate, Instant::ZERO);
        UploadLimit { bucket, waiting: FairQueue::default(), planned: false }
    }

    /// What a stream may say without waiting for its turn: with a limit, no blocks.
    pub(super) fn out_of_turn(&self) -> Grant {
        Grant::of(if self.bucket.rate().is_none() { u64::MAX } else { 0 })
    }

    /// A stream waits for its turn, if it does not already.
    pub(super) fn wait(&mut self, stream: StreamId) {
        self.waiting.push(stream);
    }

    /// Whose turn it is, and what it may send. It waits no more.
    pub(super) fn next(&mut self, now: Instant) -> Option<(StreamId, Grant)> {
        let left = self.bucket.available(now);
        let stream = if left >= LEAST { self.waiting.pop() } else { None };
        stream.map(|stream| (stream, Grant::of(left)))
    }

    /// What came of a grant.
    pub(super) fn spent(&mut self, stream: StreamId, grant: Grant) {
        if self.bucket.rate().is_some() {
            self.bucket.spend(grant.spent());
            self.waiting.charge(stream, grant.spent());
        }
    }

    /// The stream is closed.
    pub(super) fn forget(&mut self, stream: StreamId) {
        self.waiting.remove(stream);
    }

    /// When to ask for the next one, to be planned now; `None` if it is, or nobody waits.
    pub(super) fn plan(&mut self, now: Instant) -> Option<Instant> {
        if self.waiting.is_empty() || std::mem::replace(&mut self.planned, true) {
            return None;
        }
        Some(self.bucket.ready_at(LEAST).max(now + Duration::from_micros(1)))
    }

    /// The planned moment has come.
    pub(super) fn woken(&mut self) {
        self.planned = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whoever was first took all, for as long as it had something to send.
    #[test]
    fn everybody_gets_the_same() {
        let mut limit = UploadLimit::new(Some(ByteRate(100_000)));
        let mut now = Instant::ZERO;
        let mut had = [0u64; 5];
        (0..5).for_each(|stream| limit.wait(StreamId(stream)));
        while now < Instant::ZERO + Duration::from_secs(60) {
            now = limit.plan(now).expect("five wait");
            assert_eq!(limit.plan(now), None, "it is planned");
            limit.woken();
            while let Some((stream, mut grant)) = limit.next(now) {
                grant.spend(16_384);
                limit.spent(stream, grant);
                had[stream.at()] += 16_384;
                limit.wait(stream);
            }
        }
        assert!(had.iter().sum::<u64>().abs_diff(6_000_000) < 40_000, "{had:?}");
        assert!(had.iter().max().zip(had.iter().min()).is_some_and(|(a, b)| a - b <= 16_384));
        (0..5).for_each(|stream| limit.forget(StreamId(stream)));
        assert_eq!(limit.plan(now), None);
    }
}
