//! Values as people write them: durations, ratios, tiers of trackers.

use std::{str::FromStr, time::Duration};

use crate::{base::units::ByteRate, metainfo::HostPort};

/// `90`, `90s`, `1h30m`, `1.5h`, `500ms`, `2d`: seconds when nothing else is said.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let is_number = |c: char| c.is_ascii_digit() || c == '.';
    let mut sum = 0.0;
    let mut rest = text.trim();
    loop {
        let (number, behind) = rest.split_at(rest.find(|c| !is_number(c)).unwrap_or(rest.len()));
        let (unit, behind) = behind.split_at(behind.find(is_number).unwrap_or(behind.len()));
        let seconds = match unit.trim() {
            "ms" => 0.001,
            "" | "s" => 1.0,
            "m" | "min" => 60.0,
            "h" => 3600.0,
            "d" => 86_400.0,
            _ => return Err(format!("{unit:?} is not a unit: use ms, s, m, h or d")),
        };
        let number: f64 = number
            .parse()
            .map_err(|_| "write a number with an optional ms, s, m, h or d".to_owned())?;
        sum += number * seconds;
        rest = behind;
        if rest.is_empty() {
            break;
        }
    }
    Duration::try_from_secs_f64(sum).map_err(|_| "that is too long".to_owned())
}

/// Where to listen: as [`HostPort`], but the port may be 0 for any that is free.
pub(super) fn listen(text: &str) -> Result<HostPort, String> {
    let any = text.strip_suffix(":0");
    let named: HostPort = match any {
        Some(host) => format!("{host}:1").parse(),
        None => text.parse(),
    }
    .map_err(|e| format!("{e}"))?;
    Ok(HostPort { port: if any.is_some() { 0 } else { named.port }, ..named })
}

/// A duration that is longer than nothing.
pub(super) fn period(text: &str) -> Result<Duration, String> {
    duration(text).and_then(|d| match d.is_zero() {
        true => Err("0 is not possible".to_owned()),
        false => Ok(d),
    })
}

/// A rate; 0 is what some write for no limit at all, and others for nothing.
pub(super) fn rate(text: &str) -> Result<ByteRate, String> {
    match text.parse() {
        Ok(ByteRate(0)) => Err("0 would let nothing through: leave it out for no limit".to_owned()),
        Ok(rate) => Ok(rate),
        Err(error) => Err(format!("{error}")),
    }
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
            ("1h30m", 5_400_000),
            ("1m 5.5s", 65_500),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for bad in ["", "s", "-1", "1w", "1.2.3", "1h-5m", "h5", "99999999999999999999999d"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn nothing_is_neither_a_rate_nor_a_period() {
        assert_eq!(rate("2M"), Ok(ByteRate(2 << 20)));
        assert!(rate("0").is_err_and(|e| e.contains("no limit")) && rate("x").is_err());
        assert!(period("0s").is_err() && period("1ms").is_ok());
    }

    #[test]
    fn any_port_will_do_to_listen() {
        for (text, host, port) in [
            ("localhost:0", "localhost", 0),
            ("[::1]:7", "::1", 7),
            ("127.0.0.1:0", "127.0.0.1", 0),
        ] {
            assert_eq!(listen(text), Ok(HostPort { host: host.to_owned(), port }), "{text}");
        }
        assert!(listen("localhost").is_err() && listen(":0").is_err());
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
