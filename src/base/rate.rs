//! How fast bytes flow: a moving average that costs two additions a sample.
//!
//! No clock: each sample says when it was.

use std::time::Duration;

use super::{time::Instant, units::ByteRate};

/// Width of one bucket of the window.
const STEP: Duration = Duration::from_millis(500);
/// Buckets in the window: the average spans the last five seconds.
const STEPS: usize = 10;

/// Bytes per second over the last five seconds, and bytes in all. Next to nothing until bytes flow.
#[derive(Debug, Clone, Default)]
pub struct RateMeter {
    window: Option<Box<Window>>,
    total: u64,
}

#[derive(Debug, Clone)]
struct Window {
    buckets: [u64; STEPS],
    /// Number of the newest bucket: time divided by `STEP`.
    step: u64,
    /// Bucket of the first sample; the window is shorter until it is full.
    first: u64,
}

impl RateMeter {
    /// Counts `bytes` at `now`.
    pub fn add(&mut self, now: Instant, bytes: u64) {
        let new =
            || Box::new(Window { buckets: [0; STEPS], step: step_of(now), first: step_of(now) });
        let window = self.window.get_or_insert_with(new);
        window.advance(now);
        window.buckets[(window.step % STEPS as u64) as usize] += bytes;
        self.total += bytes;
    }

    /// The average over the window that ends at `now`.
    pub fn rate(&self, now: Instant) -> ByteRate {
        let Some(window) = &self.window else { return ByteRate(0) };
        let step = step_of(now).max(window.step);
        let age = step - window.step;
        if age >= STEPS as u64 {
            return ByteRate(0);
        }
        // Buckets that `now` has pushed out of the window no longer count.
        let oldest = (step + 1).saturating_sub(STEPS as u64);
        let buckets = (oldest..=window.step).map(|s| window.buckets[(s % STEPS as u64) as usize]);
        let sum: u64 = buckets.sum();
        let from = oldest.max(window.first) * STEP.as_micros() as u64;
        let span = now.as_micros().saturating_sub(from).max(STEP.as_micros() as u64);
        ByteRate((u128::from(sum) * 1_000_000 / u128::from(span)) as u64)
    }

    /// All bytes ever counted.
    pub const fn total(&self) -> u64 {
        self.total
    }
}

impl Window {
    fn advance(&mut self, now: Instant) {
        let step = step_of(now);
        if step <= self.step {
            return;
        }
        let passed = (step - self.step).min(STEPS as u64);
        for s in 0..passed {
            self.buckets[((step - s) % STEPS as u64) as usize] = 0;
        }
        self.step = step;
    }
}

fn step_of(now: Instant) -> u64 {
    now.as_micros() / STEP.as_micros() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Instant {
        Instant::from_micros(ms * 1000)
    }

    #[test]
    fn steady_flow_reads_true() {
        let mut m = RateMeter::default();
        for ms in (0..20_000).step_by(10) {
            m.add(at(ms), 1000);
        }
        let rate = m.rate(at(20_000)).0;
        assert!((95_000..=105_000).contains(&rate), "{rate}");
        assert_eq!(m.total(), 2_000_000);
    }

    #[test]
    fn young_flow_reads_true_and_silence_fades() {
        let mut m = RateMeter::default();
        for ms in (10_000..12_000).step_by(10) {
            m.add(at(ms), 1000);
        }
        let rate = m.rate(at(12_000)).0;
        assert!((95_000..=105_000).contains(&rate), "{rate}");
        assert!(m.rate(at(14_000)).0 < 60_000);
        assert_eq!(m.rate(at(20_000)).0, 0);
    }
}
