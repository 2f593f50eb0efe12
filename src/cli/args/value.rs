//! Values as people write them: durations, ratios, tiers of trackers.

use std::{str::FromStr, time::Duration};

/// `90`, `90s`, `1.5h`, `500ms`, `2d`: seconds when nothing else is said.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let seconds = match unit.trim() {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        "d" => 86_400.0,
        _ => return Err(format!("{unit:?} is not a unit: use ms, s, m, h or d")),
    };
    number
        .parse::<f64>()
        .ok()
        .and_then(|n| Duration::try_from_secs_f64(n * seconds).ok())
        .ok_or_else(|| "write a number with an optional ms, s, m, h or d".to_owned())
}

/// A number of at least 0.
pub(super) fn ratio(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(r) if r.is_finite() && r >= 0.0 => Ok(r),
        _ => Err("write a number such as 1.5".to_owned()),
    }
}

/// An http(s) address, as it was written.
pub(super) fn web_url(text: &str) -> Result<String, String> {
    let url = url::Url::parse(text).map_err(|e| e.to_string())?;
    match url.scheme() {
        "http" | "https" => Ok(text.to_owned()),
        scheme => Err(format!("`{scheme}` is not http or https")),
    }
}

/// Trackers of one tier: addresses joined by commas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli) struct Tier(pub(in crate::cli) Vec<String>);

impl FromStr for Tier {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let urls: Vec<String> =
            text.split(',').map(str::trim).filter(|u| !u.is_empty()).map(Into::into).collect();
        if urls.is_empty() {
            return Err("no address".to_owned());
        }
        for u in &urls {
            let url = url::Url::parse(u).map_err(|e| format!("{u:?}: {e}"))?;
            if !matches!(url.scheme(), "http" | "https" | "udp" | "ws" | "wss") {
                return Err(format!("{u:?} is not the address of a tracker"));
            }
        }
        Ok(Tier(urls))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, ms) in [
            ("5", 5_000),
            ("500ms", 500),
            ("1.5h", 5_400_000),
            ("2d", 172_800_000),
            ("3min", 180_000),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for bad in ["", "s", "-1", "1w", "1.2.3", "99999999999999999999999d"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn tiers() {
        let tier: Tier = "http://a.example/announce, udp://b.example:1".parse().expect("valid");
        assert_eq!(tier.0, ["http://a.example/announce", "udp://b.example:1"]);
        for bad in ["", ",", "a.example", "ftp://a.example"] {
            assert!(bad.parse::<Tier>().is_err(), "{bad}");
        }
    }

    #[test]
    fn ratios_and_addresses() {
        assert!(web_url("https://a.example/b").is_ok());
        assert!(web_url("ftp://a.example/b").is_err() && web_url("a.example").is_err());
        assert_eq!(ratio("1.5"), Ok(1.5));
        for bad in ["-1", "nan", "inf", "x"] {
            assert!(ratio(bad).is_err(), "{bad}");
        }
    }
}
