//! Sizes and rates: how people write them and how we print them.

use std::{fmt, str::FromStr, time::Duration};

/// The unit of transfer: 16 KiB of a piece (BEP 3, *request*).
pub const BLOCK_LEN: u32 = 16 * 1024;

/// A number of bytes; prints with a binary prefix (`1.5 MiB`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct ByteCount(pub u64);

/// Bytes per second; prints as `1.5 MiB/s`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct ByteRate(pub u64);

const PREFIXES: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

impl fmt::Display for ByteCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 < 1024 {
            return f.pad(&format!("{} B", self.0));
        }
        let mut value = self.0 as f64 / 1024.0;
        let mut prefix = 0;
        // 1023.95 would print as 1024.0, so it already takes the next prefix.
        while value >= 1023.95 && prefix + 1 < PREFIXES.len() {
            value /= 1024.0;
            prefix += 1;
        }
        f.pad(&format!("{value:.1} {}", PREFIXES[prefix]))
    }
}

impl fmt::Display for ByteRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}/s", ByteCount(self.0)))
    }
}

impl ByteRate {
    /// The average over `elapsed`; zero when no time has passed.
    pub fn over(bytes: u64, elapsed: Duration) -> Self {
        let per_second = (u128::from(bytes) * 1_000_000).checked_div(elapsed.as_micros());
        ByteRate(per_second.map_or(0, |rate| u64::try_from(rate).unwrap_or(u64::MAX)))
    }
}

/// What is wrong with a size such as `12Q`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a size: write a number with an optional K, M, G or T (1024s)")]
pub struct SizeError {
    text: String,
}

impl FromStr for ByteCount {
    type Err = SizeError;

    /// `1024`, `16K`, `16KiB`, `1.5 M`, `2GB`: prefixes are powers of 1024, case does not matter.
    fn from_str(s: &str) -> Result<Self, SizeError> {
        let err = || SizeError { text: s.to_owned() };
        let t = s.trim();
        let split = t.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(t.len());
        let number: f64 = t[..split].parse().map_err(|_| err())?;
        let shift = match t[split..].trim().to_ascii_lowercase().as_str() {
            "" | "b" => 0,
            "k" | "kb" | "kib" => 10,
            "m" | "mb" | "mib" => 20,
            "g" | "gb" | "gib" => 30,
            "t" | "tb" | "tib" => 40,
            _ => return Err(err()),
        };
        let bytes = number * (1u64 << shift) as f64;
        if bytes.is_finite() && bytes < 2f64.powi(63) {
            Ok(ByteCount(bytes as u64))
        } else {
            Err(err())
        }
    }
}

impl FromStr for ByteRate {
    type Err = SizeError;

    /// A size, with an optional `/s` behind it.
    fn from_str(s: &str) -> Result<Self, SizeError> {
        let t = s.trim();
        let t = t.strip_suffix("/s").or_else(|| t.strip_suffix("ps")).unwrap_or(t);
        t.parse().map(|ByteCount(n)| ByteRate(n)).map_err(|_| SizeError { text: s.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_with_one_decimal() {
        for (n, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1_048_575, "1.0 MiB"),
            (1_610_612_736, "1.5 GiB"),
            (u64::MAX, "16.0 EiB"),
        ] {
            assert_eq!(ByteCount(n).to_string(), text);
        }
        assert_eq!(ByteRate(2048).to_string(), "2.0 KiB/s");
    }

    #[test]
    fn reads_what_people_write() {
        for (text, n) in [
            ("0", 0),
            ("500K", 512_000),
            ("2M", 2 << 20),
            ("1.5 GiB", 3 << 29),
            ("7b", 7),
            ("2MB", 2 << 20),
        ] {
            assert_eq!(text.parse::<ByteCount>(), Ok(ByteCount(n)), "{text}");
        }
        assert_eq!("2M/s".parse::<ByteRate>(), Ok(ByteRate(2 << 20)));
        for bad in ["", "K", "-1", "1X", "1e9", "9999999999T", "nan"] {
            assert!(bad.parse::<ByteCount>().is_err(), "{bad}");
        }
    }
}
