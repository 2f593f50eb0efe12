//! The last seconds of a rate as a row of small bars.

use std::{collections::VecDeque, time::Duration};

/// Seconds kept: as many as the widest row shows.
const KEPT: usize = 60;
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// One rate, once a second.
#[derive(Debug, Clone, Default)]
pub(super) struct Sparkline {
    samples: VecDeque<u64>,
    second: Option<u64>,
}

impl Sparkline {
    /// Takes the rate at `now`; the last one of a second counts.
    pub(super) fn push(&mut self, now: Duration, rate: u64) {
        let second = now.as_secs();
        match self.second {
            Some(last) if last == second => {
                if let Some(newest) = self.samples.back_mut() {
                    *newest = rate;
                }
            }
            _ => {
                self.second = Some(second);
                self.samples.push_back(rate);
                if self.samples.len() > KEPT {
                    self.samples.pop_front();
                }
            }
        }
    }

    /// The newest samples, at most `width`, the highest of them as a full bar.
    pub(super) fn draw(&self, width: usize) -> String {
        let shown = self.samples.iter().skip(self.samples.len().saturating_sub(width));
        let top = shown.clone().copied().max().unwrap_or(0).max(1);
        shown
            .map(|&n| {
                let step = u128::from(n) * (BARS.len() as u128 - 1) / u128::from(top);
                BARS[step as usize]
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn highest_is_full_and_old_ones_leave() {
        let mut s = Sparkline::default();
        assert_eq!(s.draw(10), "");
        for (second, rate) in [(0, 100), (1, 50), (2, 0), (2, 25), (3, u64::MAX)] {
            s.push(Duration::from_secs(second), rate);
        }
        assert_eq!(s.draw(10), "▁▁▁█");
        for second in 4..200 {
            s.push(Duration::from_secs(second), 7);
        }
        assert_eq!(s.draw(1000).chars().count(), KEPT);
        assert_eq!(s.draw(3), "███");
    }
}
