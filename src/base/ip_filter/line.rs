//! One line of a block list: what it says, in whichever of the usual forms.
//!
//! Only addresses are read as text; names may be in any encoding.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::AddrRange;

/// What a line says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Line {
    /// Nothing: it is blank or a remark.
    Remark,
    /// These addresses are blocked.
    Blocked(AddrRange),
    /// These addresses are named and not blocked.
    Allowed,
}

/// Access levels of eMule's lists from here on do not block (as libtorrent and qBittorrent have it).
const ALLOWED_FROM: u32 = 128;

/// What `line` says; `None` if that is not understood.
pub(super) fn read(line: &[u8]) -> Option<Line> {
    let line = line.trim_ascii();
    // The slash is eMule's.
    if matches!(line.first(), None | Some(b'#' | b';' | b'/')) {
        return Some(Line::Remark);
    }
    emule(line).or_else(|| plain(line).or_else(|| peer_guardian(line)).map(Line::Blocked))
}

/// `001.002.003.004 - 001.002.003.255 , 000 , a name`.
fn emule(line: &[u8]) -> Option<Line> {
    let mut fields = line.split(|&b| b == b',');
    let range = addresses(fields.next()?)?;
    let level = number(fields.next()?.trim_ascii())?;
    Some(if level < ALLOWED_FROM { Line::Blocked(range) } else { Line::Allowed })
}

/// Nothing but addresses, and perhaps a remark behind them.
fn plain(line: &[u8]) -> Option<AddrRange> {
    addresses(line.split(|b| matches!(b, b'#' | b';')).next()?)
}

/// `a name:1.2.3.4-1.2.3.255`: the name may have colons, so there is no IPv6 in this form.
fn peer_guardian(line: &[u8]) -> Option<AddrRange> {
    let colon = line.iter().rposition(|&b| b == b':')?;
    addresses(line.get(colon + 1..)?)
}

/// `1.2.3.4`, `1.2.3.4-1.2.3.255` or `1.2.3.0/24`, in IPv4 or IPv6.
fn addresses(text: &[u8]) -> Option<AddrRange> {
    let text = text.trim_ascii();
    // Most of what is looked at here is a name: seen at once by how it begins or ends.
    let is_digit = |byte: &u8| byte.is_ascii_hexdigit() || *byte == b':';
    if !is_digit(text.first()?) || !is_digit(text.last()?) {
        return None;
    }
    if let Some((ip, prefix)) = split_at(text, b'/') {
        return AddrRange::subnet(address(ip)?, number(prefix)?);
    }
    match split_at(text, b'-') {
        Some((first, last)) => AddrRange::new(address(first)?, address(last)?),
        None => AddrRange::new(address(text)?, address(text)?),
    }
}

fn split_at(text: &[u8], byte: u8) -> Option<(&[u8], &[u8])> {
    let at = text.iter().position(|&b| b == byte)?;
    Some((text.get(..at)?, text.get(at + 1..)?))
}

fn address(text: &[u8]) -> Option<IpAddr> {
    let text = text.trim_ascii();
    if text.contains(&b':') {
        let ip: Ipv6Addr = std::str::from_utf8(text).ok()?.parse().ok()?;
        return Some(ip.into());
    }
    let mut parts = text.split(|&b| b == b'.');
    let mut octets = [0; 4];
    for octet in &mut octets {
        *octet = number(parts.next()?)?.try_into().ok()?;
    }
    parts.next().is_none().then(|| Ipv4Addr::from(octets).into())
}

/// A decimal number of up to three digits, zeros in front among them.
fn number(text: &[u8]) -> Option<u32> {
    let text = text.trim_ascii();
    if text.is_empty() || text.len() > 3 || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(text.iter().fold(0, |n, digit| n * 10 + u32::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blocked(first: &str, last: &str) -> Option<Line> {
        let ip = |text: &str| text.parse().expect("valid");
        Some(Line::Blocked(AddrRange::new(ip(first), ip(last)).expect("a range")))
    }

    #[test]
    fn every_usual_form_is_understood() {
        let (first, last) = ("1.2.3.4", "1.2.3.10");
        for line in [
            "Some name:1.2.3.4-1.2.3.10",
            "Some: name, with (colons): #7; and more:1.2.3.4-1.2.3.10\r",
            ":001.002.003.004-001.002.003.010",
            "001.002.003.004 - 001.002.003.010 , 000 , Some text",
            "1.2.3.4 - 1.2.3.10,127,text: with, everything:5.6.7.8-5.6.7.9",
            "1.2.3.4-1.2.3.10,100",
            "  1.2.3.4 - 1.2.3.10  # a remark: 5.6.7.8",
            "1.2.3.4-::ffff:1.2.3.10",
        ] {
            assert_eq!(read(line.as_bytes()), blocked(first, last), "{line}");
        }
        for (line, first, last) in [
            ("10.0.0.0/8", "10.0.0.0", "10.255.255.255"),
            ("10.1.2.3/8 ; SBL1", "10.0.0.0", "10.255.255.255"),
            ("2001:db8::/32", "2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"),
            ("2001:db8::1 - 2001:db8::9", "2001:db8::1", "2001:db8::9"),
            ("2001:db8::1-2001:db8::9,0,name", "2001:db8::1", "2001:db8::9"),
            ("::1", "::1", "::1"),
            ("192.0.2.1\t", "192.0.2.1", "192.0.2.1"),
            ("a name:192.0.2.0/31", "192.0.2.0", "192.0.2.1"),
        ] {
            assert_eq!(read(line.as_bytes()), blocked(first, last), "{line}");
        }
        assert_eq!(read(b"Caf\xe9 \xff:1.2.3.4-1.2.3.10"), blocked(first, last));
    }

    #[test]
    fn remarks_say_nothing_and_high_levels_do_not_block() {
        for line in ["", " \t\r", "# 1.2.3.4", ";1.2.3.4", "// 1.2.3.4"] {
            assert_eq!(read(line.as_bytes()), Some(Line::Remark), "{line}");
        }
        for level in ["128", "200", "255"] {
            let line = format!("1.2.3.4 - 1.2.3.10 , {level} , name");
            assert_eq!(read(line.as_bytes()), Some(Line::Allowed), "{line}");
        }
    }

    #[test]
    fn what_is_damaged_is_not_understood() {
        for line in [
            "name",
            "name:",
            "name:1.2.3.4-",
            "name:1.2.3.10-1.2.3.4",
            "1.2.3",
            "1.2.3.4.5",
            "1.2.3.256",
            "1.2.3.4567",
            "1.2.3.-4",
            "0x1.2.3.4",
            "+1.2.3.4",
            "1.2.3.4/33",
            "1.2.3.4/",
            "2001:db8::/129",
            "2001:db8::1-1.2.3.4",
            "1.2.3.4 - 1.2.3.10 , many , name",
            "1.2.3.4,1.2.3.10",
            "<html>",
            "P2B\u{2}",
        ] {
            assert_eq!(read(line.as_bytes()), None, "{line}");
        }
    }
}
