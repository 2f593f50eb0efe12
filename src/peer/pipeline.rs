//! How many requests one peer should have in hand: rate × delay, never a fixed small number.
//!
//! Starts small and grows fourfold each round trip while the rate still grows; after that the depth
//! is what the peer delivers in two round trips and a little, bounded by what it takes (`reqq`,
//! BEP 10). Each request holds memory, and a peer that is fast because it is near needs little.
//! The delay is the least ever seen, allowed to rise by a tenth each half minute: a queue that stands
//! at the peer must not count as distance, or it would feed itself.

use std::time::Duration;

use crate::base::{limits, time::Instant, units::BLOCK_LEN};

/// Depth at the start, in blocks.
const FIRST: u32 = 4;
/// Least depth of a peer that answers.
const LEAST: u32 = 2;
/// Room for scheduling and for rates that rise, on top of two round trips: this much time, but no
/// more blocks than these.
const SLACK: Duration = Duration::from_millis(50);
const SLACK_BLOCKS: f32 = 256.0;
/// By how much the depth grows with each block: it is four times as deep after each round trip.
const GROWTH: u32 = 3;
/// So many times what fits on the way to the peer and back while the depth grows.
const HEADROOM: f32 = 4.0;
/// How long one sample of the rate takes at least.
const SAMPLE: Duration = Duration::from_millis(100);
/// Samples of which the best counts.
const SAMPLES: usize = 10;
/// How long the least delay is believed before it may rise.
const DELAY_AGE: Duration = Duration::from_secs(30);
/// By how much it may rise then.
const DELAY_RISE: f64 = 1.1;

/// The request depth of one peer.
#[derive(Debug)]
pub struct Pipeline {
    /// Most the peer takes.
    reqq: u32,
    depth: u32,
    growing: bool,
    /// Least time from request to block, and the least of this half minute.
    delay: Option<Duration>,
    delay_now: Option<Duration>,
    delay_since: Instant,
    /// The running sample.
    sample_start: Option<Instant>,
    sample_blocks: u32,
    /// Blocks per second of the last samples.
    rates: [f32; SAMPLES],
    next: usize,
    /// Samples in a row that did not beat the best before by a quarter.
    flat: u8,
}

impl Pipeline {
    /// A new peer that takes `reqq` requests.
    pub fn new(reqq: u32) -> Self {
        Pipeline {
            reqq: reqq.clamp(1, limits::MAX_OUTSTANDING),
            depth: FIRST,
            growing: true,
            delay: None,
            delay_now: None,
            delay_since: Instant::ZERO,
            sample_start: None,
            sample_blocks: 0,
            rates: [0.0; SAMPLES],
            next: 0,
            flat: 0,
        }
    }

    /// The peer says how many requests it takes.
    pub fn set_reqq(&mut self, reqq: u32) {
        self.reqq = reqq.clamp(1, limits::MAX_OUTSTANDING);
        self.depth = self.depth.min(self.reqq);
    }

    /// Requests that should be outstanding.
    pub const fn depth(&self) -> u32 {
        self.depth
    }

    /// Least time from request to block.
    pub const fn delay(&self) -> Option<Duration> {
        self.delay
    }

    /// Blocks that keep the way to the peer and back full, without any queue at the peer.
    pub fn in_flight(&self) -> u32 {
        let delay = self.delay().unwrap_or(Duration::ZERO);
        (self.best() * 1.25 * delay.as_secs_f32()).ceil() as u32 + 1
    }

    /// A block came that was asked for at `sent`; `listed` requests are outstanding still.
    pub fn block(&mut self, now: Instant, sent: Instant, listed: u32) {
        let delay = now.since(sent);
        if now.since(self.delay_since) > DELAY_AGE {
            let least = self.delay_now.take();
            self.delay = self.delay.zip(least).map(|(d, l)| l.min(d.mul_f64(DELAY_RISE)));
            self.delay_since = now;
        }
        self.delay_now = Some(self.delay_now.map_or(delay, |d| d.min(delay)));
        self.delay = Some(self.delay.map_or(delay, |d| d.min(delay)));

        let start = *self.sample_start.get_or_insert(sent);
        self.sample_blocks += 1;
        let span = now.since(start);
        if self.growing && self.depth < self.most(span) {
            self.depth = (self.depth + GROWTH).min(self.reqq);
        }
        if span >= SAMPLE.max(self.delay().unwrap_or(Duration::ZERO)) {
            self.end_sample(now, span, listed);
        }
    }

    /// Nothing is outstanding any more, or the peer choked us: the next sample starts anew.
    pub fn pause(&mut self) {
        self.sample_start = None;
        self.sample_blocks = 0;
    }

    /// The peer let requests time out.
    pub fn snub(&mut self) {
        self.pause();
        self.rates = [0.0; SAMPLES];
        self.growing = true;
        self.flat = 0;
        self.depth = 1;
    }

    /// How far the depth may grow, `span` after the start of this sample.
    fn most(&self, span: Duration) -> u32 {
        let delay = self.delay().unwrap_or(Duration::ZERO).as_secs_f32();
        let span = span.as_secs_f32().max(delay).max(f32::MIN_POSITIVE);
        let rate = self.best().max(self.sample_blocks as f32 / span);
        (rate * delay * HEADROOM + SLACK_BLOCKS) as u32
    }

    fn best(&self) -> f32 {
        self.rates.iter().copied().fold(0.0, f32::max)
    }

    fn end_sample(&mut self, now: Instant, span: Duration, listed: u32) {
        let rate = self.sample_blocks as f32 / span.as_secs_f32();
        let before = self.best();
        self.rates[self.next] = rate;
        self.next = (self.next + 1) % SAMPLES;
        self.sample_start = Some(now);
        self.sample_blocks = 0;
        if self.growing {
            // A sample in which we ran out of requests says nothing about the peer.
            if rate > before * 1.25 || listed == 0 {
                self.flat = 0;
            } else {
                self.flat += 1;
                self.growing = self.flat < 3;
            }
        }
        if !self.growing {
            let delay = self.delay().unwrap_or(Duration::ZERO);
            let slack = (self.best() * SLACK.as_secs_f32()).min(SLACK_BLOCKS);
            let want = (self.best() * 2.0 * delay.as_secs_f32() + slack).ceil() as u32 + LEAST;
            // Down slowly, for one slow second must not starve a fast peer.
            let slower = self.depth.saturating_sub((self.depth / 8).max(1));
            self.depth = want.max(slower).clamp(LEAST, self.reqq.max(LEAST));
        }
    }

    /// Payload rate that the depth was made for, in bytes per second.
    pub fn rate(&self) -> f64 {
        f64::from(self.best()) * f64::from(BLOCK_LEN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;

    /// A peer that sends `rate` blocks a second after `delay`; returns blocks per second received
    /// in the last half and the final depth.
    fn run(rate: f64, delay: Duration, reqq: u32, seconds: u64) -> (f64, u32) {
        let mut pipe = Pipeline::new(reqq);
        let mut now = Instant::ZERO;
        let mut answers: VecDeque<(Instant, Instant)> = VecDeque::new();
        let (mut free_at, mut got) = (Instant::ZERO, 0u64);
        let end = Instant::ZERO + Duration::from_secs(seconds);
        while now < end {
            while (answers.len() as u32) < pipe.depth() {
                let start = free_at.max(now + delay / 2);
                free_at = start + Duration::from_secs_f64(1.0 / rate);
                answers.push_back((now, free_at + delay / 2));
            }
            let (sent, at) = answers.pop_front().expect("depth is at least one");
            now = at;
            if now.since(Instant::ZERO) > Duration::from_secs(seconds / 2) {
                got += 1;
            }
            pipe.block(now, sent, answers.len() as u32);
        }
        (got as f64 / (seconds as f64 / 2.0), pipe.depth())
    }

    #[test]
    fn fills_long_fast_links() {
        // 1 Gbit/s over 100 ms.
        let (got, depth) = run(7_600.0, Duration::from_millis(100), 2_048, 20);
        assert!(got > 7_000.0, "{got} at depth {depth}");
        // A small reqq is the bound: 250 per round trip.
        let (got, depth) = run(7_600.0, Duration::from_millis(100), 250, 20);
        assert!(got > 2_300.0, "{got} at depth {depth}");
        assert_eq!(depth, 250);
    }

    #[test]
    fn a_peer_that_offers_everything_gets_a_bounded_number_of_requests() {
        // 100 Gbit/s over half a second.
        let (_, depth) = run(760_000.0, Duration::from_millis(500), u32::MAX, 20);
        assert_eq!(depth, limits::MAX_OUTSTANDING);
    }

    #[test]
    fn near_peers_get_no_more_memory_than_they_need() {
        // 1 GB/s over 0.3 ms.
        let (got, depth) = run(61_000.0, Duration::from_micros(300), 2_048, 2);
        assert!(got > 60_000.0, "{got} at depth {depth}");
        assert!(depth <= 300, "{depth}");
    }

    #[test]
    fn slow_peers_get_short_queues() {
        let (got, depth) = run(10.0, Duration::from_millis(40), 2_048, 60);
        assert!(got > 9.5, "{got}");
        assert!(depth <= 6, "{depth}");
        let (got, depth) = run(1.0, Duration::from_millis(500), 250, 60);
        assert!(got > 0.9, "{got}");
        assert!(depth <= 6, "{depth}");
    }
}
