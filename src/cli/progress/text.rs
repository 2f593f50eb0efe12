//! Numbers as people read them in a row of figures.

use std::time::Duration;

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

/// `3.4/5.6 GiB`: both in the unit of the whole.
pub(super) fn size_of(done: u64, total: u64) -> String {
    let (mut unit, mut divisor) = (0, 1.0);
    while total as f64 / divisor >= 1023.95 && unit + 1 < UNITS.len() {
        divisor *= 1024.0;
        unit += 1;
    }
    if unit == 0 {
        return format!("{done}/{total} B");
    }
    // Rounded down, so that the numbers are equal only at the end.
    let done_tenths = (done as f64 / divisor * 10.0).floor() / 10.0;
    let total_value = total as f64 / divisor;
    let done_value = if done >= total { total_value } else { done_tenths };
    format!("{done_value:.1}/{total_value:.1} {}", UNITS[unit])
}

/// `61.2%`, rounded down: 100 only when everything is there.
pub(in crate::cli) fn percent(done: u64, total: u64) -> String {
    let tenths =
        if done >= total { 1000 } else { (u128::from(done) * 1000 / u128::from(total)) as u64 };
    format!("{}.{}%", tenths / 10, tenths % 10)
}

/// `3,481`.
pub(in crate::cli) fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(c);
    }
    out
}

/// `47s`, `3m 20s`, `2h 5m`, `4d 3h`.
pub(in crate::cli) fn short_duration(d: Duration) -> String {
    let s = d.as_secs();
    match s {
        0 => format!("{:.1}s", d.as_secs_f64()),
        1..60 => format!("{s}s"),
        60..3600 => format!("{}m {}s", s / 60, s % 60),
        3600..86_400 => format!("{}h {}m", s / 3600, s % 3600 / 60),
        _ => format!("{}d {}h", s / 86_400, s % 86_400 / 3600),
    }
}

/// `text` in at most `width` columns, the end cut off with `…`.
pub(super) fn fit(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut out = String::new();
    let mut used = 0;
    for c in text.chars() {
        let w = c.width().unwrap_or(0);
        if used + w + 1 > width {
            break;
        }
        used += w;
        out.push(c);
    }
    if width > 0 {
        out.push('…');
    }
    out
}

/// `text` with blanks up to `width` columns, or cut to them.
pub(super) fn pad(text: &str, width: usize) -> String {
    let mut out = fit(text, width);
    out.extend(std::iter::repeat_n(' ', width.saturating_sub(out.width())));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_share_a_unit() {
        for (done, total, text) in [
            (3_650_722_201, 6_012_954_214, "3.3/5.6 GiB"),
            (0, 0, "0/0 B"),
            (5, 1000, "5/1000 B"),
            (1 << 20, 1 << 20, "1.0/1.0 MiB"),
            ((1 << 20) - 1, 1 << 20, "0.9/1.0 MiB"),
        ] {
            assert_eq!(size_of(done, total), text);
        }
    }

    #[test]
    fn percent_is_100_only_at_the_end() {
        assert_eq!(percent(0, 0), "100.0%");
        assert_eq!(percent(9_999_999, 10_000_000), "99.9%");
        assert_eq!(percent(u64::MAX - 1, u64::MAX), "99.9%");
        assert_eq!(percent(1, 3), "33.3%");
    }

    #[test]
    fn counts_and_durations() {
        assert_eq!(["0", "999", "1,000", "12,345,678"], [0, 999, 1000, 12_345_678].map(count)[..]);
        for (s, text) in [(47, "47s"), (200, "3m 20s"), (7500, "2h 5m"), (356_400, "4d 3h")] {
            assert_eq!(short_duration(Duration::from_secs(s)), text);
        }
        assert_eq!(short_duration(Duration::from_millis(250)), "0.2s");
    }

    #[test]
    fn cut_by_columns_not_characters() {
        assert_eq!(fit("abcdef", 4), "abc…");
        assert_eq!(fit("葉葉葉", 5), "葉葉…");
        assert_eq!(fit("葉葉葉", 4), "葉…");
        assert_eq!(fit("abc", 0), "");
        assert_eq!(pad("葉", 4), "葉  ");
    }
}
