//! A rate limit: tokens are bytes, they come at the rate, a burst is bounded; and what one may take now.
//!
//! The caller says what time it is; nothing here waits.

use std::time::Duration;

use super::{time::Instant, units::ByteRate};

/// Longest burst, as time at the full rate.
const BURST: Duration = Duration::from_millis(100);
/// Smallest burst in bytes, so that one whole block always fits.
const MIN_BURST: u64 = 17 * 1024;
/// Microseconds of a second.
const MILLION: u128 = 1_000_000;

/// Bytes that may pass now. Without a rate everything may.
#[derive(Debug, Clone)]
pub struct TokenBucket {
    rate: Option<ByteRate>,
    tokens: i64,
    /// Millionths of a token.
    fraction: u32,
    /// Tokens are exact up to here.
    filled: Instant,
}

impl TokenBucket {
    /// A bucket that lets `rate` pass; `None` is no limit.
    pub fn new(rate: Option<ByteRate>, now: Instant) -> Self {
        TokenBucket { rate, tokens: 0, fraction: 0, filled: now }
    }

    /// Changes the limit; tokens already there stay.
    pub fn set_rate(&mut self, rate: Option<ByteRate>, now: Instant) {
        self.refill(now);
        self.rate = rate;
    }

    /// The limit.
    pub const fn rate(&self) -> Option<ByteRate> {
        self.rate
    }

    /// Bytes that may pass at `now`; `u64::MAX` without a limit.
    pub fn available(&mut self, now: Instant) -> u64 {
        if self.rate.is_none() {
            return u64::MAX;
        }
        self.refill(now);
        u64::try_from(self.tokens).unwrap_or(0)
    }

    /// Records that `bytes` passed. May go below zero: the debt is paid before anything else passes.
    pub fn spend(&mut self, bytes: u64) {
        if self.rate.is_some() {
            self.tokens = self.tokens.saturating_sub_unsigned(bytes);
        }
    }

    /// When `bytes` (at most one burst) may pass.
    pub fn ready_at(&self, bytes: u64) -> Instant {
        let Some(ByteRate(rate)) = self.rate else { return Instant::ZERO };
        let need = i64::try_from(bytes.min(self.burst())).unwrap_or(i64::MAX) - self.tokens;
        if need <= 0 {
            return self.filled;
        }
        if rate == 0 {
            return Instant::FAR;
        }
        let us = (need as u128 * 1_000_000).div_ceil(u128::from(rate));
        self.filled + Duration::from_micros(u64::try_from(us).unwrap_or(u64::MAX))
    }

    fn burst(&self) -> u64 {
        let rate = self.rate.map_or(0, |r| r.0);
        (rate / (1000 / BURST.as_millis() as u64)).max(MIN_BURST)
    }

    fn refill(&mut self, now: Instant) {
        let Some(ByteRate(rate)) = self.rate else {
            self.filled = now;
            return;
        };
        let us = now.since(self.filled).as_micros();
        self.filled = now;
        let millionths = us * u128::from(rate) + u128::from(self.fraction);
        let gained = i64::try_from(millionths / MILLION).unwrap_or(i64::MAX);
        self.fraction = (millionths % MILLION) as u32;
        self.tokens = self.tokens.saturating_add(gained).min(self.burst() as i64);
    }
}

/// What may pass now, and what has. Whoever is given it may go over it once, by the last thing it lets pass.
#[derive(Debug, Clone, Copy)]
pub struct Grant {
    left: u64,
    spent: u64,
}

impl Grant {
    /// So many bytes.
    pub const fn of(bytes: u64) -> Self {
        Grant { left: bytes, spent: 0 }
    }

    /// Bytes that may still pass.
    pub const fn left(&self) -> u64 {
        self.left
    }

    /// Records that `bytes` pass.
    pub const fn spend(&mut self, bytes: u64) {
        self.left = self.left.saturating_sub(bytes);
        self.spent += bytes;
    }

    /// Bytes that have passed.
    pub const fn spent(&self) -> u64 {
        self.spent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_its_rate_whatever_the_steps() {
        for (rate, step_us) in
            [(1_000_000u64, 137u64), (50_000, 999), (10_000_000, 5_003), (999, 250)]
        {
            let mut now = Instant::ZERO;
            let mut bucket = TokenBucket::new(Some(ByteRate(rate)), now);
            let mut passed = 0u64;
            while now.as_micros() < 60_000_000 {
                let n = bucket.available(now);
                if n >= 1000.min(rate) {
                    bucket.spend(n);
                    passed += n;
                }
                now += Duration::from_micros(step_us);
            }
            let want = rate * 60;
            assert!(
                passed.abs_diff(want) <= MIN_BURST + rate * step_us / 1_000_000,
                "{rate} {step_us}: {passed} of {want}"
            );
        }
    }

    #[test]
    fn says_when() {
        let mut b = TokenBucket::new(Some(ByteRate(1_000_000)), Instant::ZERO);
        assert_eq!(b.available(Instant::ZERO), 0);
        let at = b.ready_at(16_384);
        assert!(b.available(at) >= 16_384);
        assert!(b.available(at - Duration::from_micros(50)) <= 16_384);
        assert_eq!(TokenBucket::new(Some(ByteRate(0)), Instant::ZERO).ready_at(1), Instant::FAR);
        assert_eq!(TokenBucket::new(None, Instant::ZERO).available(Instant::ZERO), u64::MAX);
    }
}
