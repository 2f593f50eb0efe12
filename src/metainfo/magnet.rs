//! Magnet links, read and written (BEP 9 *magnet URI format*, BEP 52 `btmh`, BEP 53 `so`).

use std::{fmt, ops::RangeInclusive, str::FromStr};

use data_encoding::HEXLOWER_PERMISSIVE;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::{HostPort, Metainfo, clean_url, web_seed_url};
use crate::base::{
    hash::{InfoHash, Sha1Hash, Sha256Hash},
    limits::{MAX_MAGNET_BYTES, MAX_TEXT_BYTES, MAX_URLS},
};

/// What a magnet link says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Magnet {
    /// The v1 hash, the v2 hash or both (`xt`).
    pub info_hash: InfoHash,
    /// A name to show until the real one is known (`dn`); no control characters.
    pub name: Option<String>,
    /// Tracker URLs (`tr`).
    pub trackers: Vec<String>,
    /// Web seeds (`ws`).
    pub web_seeds: Vec<String>,
    /// Peers to try first (`x.pe`).
    pub peers: Vec<HostPort>,
    /// Indices of the files to fetch, in the order of the torrent (`so`); empty means all.
    pub select: Vec<RangeInclusive<u32>>,
}

/// Why text is not a magnet link we can use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MagnetError {
    /// Another scheme.
    #[error("not a magnet link: it does not begin with `magnet:?`")]
    Scheme,
    /// Longer than [`MAX_MAGNET_BYTES`].
    #[error("the magnet link is longer than {MAX_MAGNET_BYTES} bytes")]
    TooLong,
    /// No `xt` that names a torrent.
    #[error("the magnet link names no torrent: `xt=urn:btih:…` is missing")]
    NoHash,
    /// A hash of the wrong length or with foreign characters.
    #[error(
        "the info hash {text:?} in the magnet link is damaged: it must have 40 hex digits or 32 \
         base32 characters (`btih`), or 68 hex digits that begin with 1220 (`btmh`)"
    )]
    Hash {
        /// The text in place of the hash.
        text: String,
    },
    /// Two different hashes of one kind.
    #[error("the magnet link names two different torrents")]
    TwoHashes,
    /// `so` is not a list of numbers and ranges.
    #[error("the file selection `so={text}` in the magnet link is not a list such as 0,2,4-6")]
    Select {
        /// The value of `so`.
        text: String,
    },
    /// Only a v2 hash.
    #[error("the magnet link names a v2-only torrent; these are not yet supported")]
    V2Only,
}

impl Magnet {
    /// A link with nothing but the hash.
    pub const fn new(info_hash: InfoHash) -> Self {
        Magnet {
            info_hash,
            name: None,
            trackers: Vec::new(),
            web_seeds: Vec::new(),
            peers: Vec::new(),
            select: Vec::new(),
        }
    }

    /// The link to a torrent: its hashes, name, trackers and web seeds.
    pub fn from_metainfo(metainfo: &Metainfo) -> Self {
        Magnet {
            name: Some(metainfo.info.name().to_owned()),
            trackers: metainfo.tiers.concat(),
            web_seeds: metainfo.web_seeds.clone(),
            ..Magnet::new(metainfo.info.info_hash())
        }
    }

    /// The v1 info hash, by which we find and check the metadata.
    pub fn v1(&self) -> Result<Sha1Hash, MagnetError> {
        self.info_hash.v1.ok_or(MagnetError::V2Only)
    }

    fn add_hash(&mut self, urn: &str) -> Result<(), MagnetError> {
        let bad = |text: &str| MagnetError::Hash { text: text.chars().take(80).collect() };
        if let Some(text) = strip_prefix_ignore_case(urn, "urn:btih:") {
            let hash = text.parse().map_err(|_| bad(text))?;
            set(&mut self.info_hash.v1, hash)
        } else if let Some(text) = strip_prefix_ignore_case(urn, "urn:btmh:") {
            // A multihash: 0x12 is SHA-256, 0x20 its length.
            let bytes = HEXLOWER_PERMISSIVE.decode(text.as_bytes()).map_err(|_| bad(text))?;
            let hash = bytes.strip_prefix(&[0x12, 0x20]).ok_or_else(|| bad(text))?;
            let hash = hash.try_into().map_err(|_| bad(text))?;
            set(&mut self.info_hash.v2, Sha256Hash(hash))
        } else {
            Ok(())
        }
    }
}

fn set<T: PartialEq>(slot: &mut Option<T>, hash: T) -> Result<(), MagnetError> {
    match slot {
        Some(known) if *known != hash => Err(MagnetError::TwoHashes),
        _ => {
            *slot = Some(hash);
            Ok(())
        }
    }
}

fn strip_prefix_ignore_case<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let (head, tail) = text.split_at_checked(prefix.len())?;
    head.eq_ignore_ascii_case(prefix).then_some(tail)
}

impl FromStr for Magnet {
    type Err = MagnetError;

    /// Unknown parameters are ignored, and so are hints (`tr`, `ws`, `x.pe`, `dn`) that make no
    /// sense. A numbered parameter (`tr.1`) counts as a plain one.
    fn from_str(link: &str) -> Result<Self, MagnetError> {
        let link = link.trim();
        if link.len() > MAX_MAGNET_BYTES {
            return Err(MagnetError::TooLong);
        }
        let query = strip_prefix_ignore_case(link, "magnet:?").ok_or(MagnetError::Scheme)?;
        let mut magnet = Magnet::new(InfoHash { v1: None, v2: None });
        for parameter in query.split('&') {
            let Some((key, raw)) = parameter.split_once('=') else { continue };
            let value = || percent_decode_str(raw).decode_utf8_lossy();
            match plain_key(key) {
                "xt" => magnet.add_hash(&value())?,
                "dn" => magnet.name = name(raw),
                "tr" => push(&mut magnet.trackers, clean_url(&value())),
                "ws" => push(&mut magnet.web_seeds, web_seed_url(&value())),
                "x.pe" => push(&mut magnet.peers, value().parse().ok()),
                "so" => magnet.select = select(&value())?,
                _ => {}
            }
        }
        match magnet.info_hash {
            InfoHash { v1: None, v2: None } => Err(MagnetError::NoHash),
            _ => Ok(magnet),
        }
    }
}

/// `tr` for `tr.1`.
fn plain_key(key: &str) -> &str {
    match key.rsplit_once('.') {
        Some((plain, n)) if !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()) => plain,
        _ => key,
    }
}

/// A name to show. Here alone `+` stands for a space: many sites write names as forms do.
fn name(raw: &str) -> Option<String> {
    let raw = raw.replace('+', " ");
    let text = percent_decode_str(&raw).decode_utf8_lossy();
    let text: String = text.chars().filter(|c| !c.is_control()).take(MAX_TEXT_BYTES).collect();
    (!text.is_empty()).then_some(text)
}

fn push<T: PartialEq>(list: &mut Vec<T>, item: Option<T>) {
    if let Some(item) = item
        && list.len() < MAX_URLS
        && !list.contains(&item)
    {
        list.push(item);
    }
}

/// `0,2,4-6` (BEP 53).
fn select(text: &str) -> Result<Vec<RangeInclusive<u32>>, MagnetError> {
    let bad = || MagnetError::Select { text: text.chars().take(80).collect() };
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (first.parse().ok()?, last.parse().ok()?);
        (first <= last).then_some(first..=last)
    };
    text.split(',').map(|part| range(part).ok_or_else(bad)).collect()
}

/// Everything but the characters that never need an escape (RFC 3986).
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

impl fmt::Display for Magnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let escape = |text| utf8_percent_encode(text, ESCAPED);
        let mut separator = '?';
        f.write_str("magnet:")?;
        let mut parameter = |key: &str, value: &dyn fmt::Display| {
            let sep = std::mem::replace(&mut separator, '&');
            write!(f, "{sep}{key}={value}")
        };
        if let Some(hash) = self.info_hash.v1 {
            parameter("xt", &format_args!("urn:btih:{hash}"))?;
        }
        if let Some(hash) = self.info_hash.v2 {
            parameter("xt", &format_args!("urn:btmh:1220{hash}"))?;
        }
        if let Some(name) = &self.name {
            parameter("dn", &escape(name))?;
        }
        for url in &self.trackers {
            parameter("tr", &escape(url))?;
        }
        for url in &self.web_seeds {
            parameter("ws", &escape(url))?;
        }
        for peer in &self.peers {
            parameter("x.pe", peer)?;
        }
        if !self.select.is_empty() {
            let range = |r: &RangeInclusive<u32>| match (r.start(), r.end()) {
                (first, last) if first == last => first.to_string(),
                (first, last) => format!("{first}-{last}"),
            };
            parameter("so", &self.select.iter().map(range).collect::<Vec<_>>().join(","))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::hash::{sha1, sha256};
    use proptest::prelude::*;

    const HEX: &str = "a9993e364706816aba3e25717850c26c9cd0d89d";
    const BASE32: &str = "VGMT4NSHA2AWVOR6EVYXQUGCNSONBWE5";

    fn parse(link: &str) -> Result<Magnet, MagnetError> {
        link.parse()
    }

    #[test]
    fn reads_every_parameter() {
        let link = format!(
            "magnet:?xt=urn:btih:{HEX}&dn=some+n%C3%A4me%2B1&tr=http%3A%2F%2Fa%2Fannounce&\
             tr.1=udp://b:80&ws=http://w/&x.pe=1.2.3.4:5&x.pe=[::1]:6&x.pe=bad&so=0,2,4-6&xl=9&\
             tr=http%3A%2F%2Fa%2Fannounce&tr="
        );
        let want = Magnet {
            info_hash: InfoHash::v1(sha1(b"abc")),
            name: Some("some näme+1".into()),
            trackers: vec!["http://a/announce".into(), "udp://b:80".into()],
            web_seeds: vec!["http://w/".into()],
            peers: ["1.2.3.4:5", "[::1]:6"].map(|p| p.parse().expect("valid")).into(),
            select: vec![0..=0, 2..=2, 4..=6],
        };
        assert_eq!(parse(&link), Ok(want));
    }

    #[test]
    fn hashes_in_every_form() {
        let v1 = InfoHash::v1(sha1(b"abc"));
        for text in [HEX, &HEX.to_uppercase(), BASE32, &BASE32.to_lowercase()] {
            let got = parse(&format!(" MAGNET:?xt=urn:BTIH:{text}\n")).expect("valid");
            assert_eq!((got.info_hash, got.v1()), (v1, Ok(sha1(b"abc"))));
        }
        let v2 = sha256(b"abc");
        let only = parse(&format!("magnet:?xt=urn:btmh:1220{v2}")).expect("recognised");
        assert_eq!(only.info_hash, InfoHash { v1: None, v2: Some(v2) });
        assert_eq!(only.v1(), Err(MagnetError::V2Only));
        let both = parse(&format!("magnet:?xt.1=urn:btih:{HEX}&xt.2=urn:btmh:1220{v2}"));
        assert_eq!(both.map(|m| m.info_hash), Ok(InfoHash { v2: Some(v2), ..v1 }));
    }

    #[test]
    fn refuses_what_names_no_torrent() {
        use MagnetError::*;
        assert_eq!(parse("http://a/"), Err(Scheme));
        assert_eq!(parse("magnet:"), Err(Scheme));
        assert_eq!(parse("magnet:?"), Err(NoHash));
        assert_eq!(parse("magnet:?xt=urn:tree:tiger:abc&dn=x"), Err(NoHash));
        for bad in ["urn:btih:", "urn:btih:xyz", "urn:btmh:1220", "urn:btmh:1114"] {
            assert!(matches!(parse(&format!("magnet:?xt={bad}")), Err(Hash { .. })), "{bad}");
        }
        let two = format!("magnet:?xt=urn:btih:{HEX}&xt=urn:btih:{}", HEX.replace('9', "8"));
        assert_eq!(parse(&two), Err(TwoHashes));
        for bad in ["", "a", "3-1", "1,,2", "1-", "4294967296"] {
            let got = parse(&format!("magnet:?xt=urn:btih:{HEX}&so={bad}"));
            assert!(matches!(got, Err(Select { .. })), "{bad}");
        }
        assert_eq!(parse(&format!("magnet:?{}", "x".repeat(MAX_MAGNET_BYTES))), Err(TooLong));
    }

    #[test]
    fn numbers_of_hints_are_bounded() {
        let mut link = format!("magnet:?xt=urn:btih:{HEX}");
        (0..1000).for_each(|i| link += &format!("&tr=http://t/{i}"));
        assert_eq!(parse(&link).map(|m| m.trackers.len()), Ok(MAX_URLS));
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(
            v1 in any::<[u8; 20]>(), v2 in prop::option::of(any::<[u8; 32]>()),
            name in prop::option::of("[^\\p{C}]{1,20}"),
            trackers in prop::collection::hash_set("[!-~]{1,30}", 0..4),
            port in 1u16.., select in prop::collection::vec((0u32..9, 0u32..9), 0..4),
        ) {
            let magnet = Magnet {
                info_hash: InfoHash { v1: Some(Sha1Hash(v1)), v2: v2.map(Sha256Hash) },
                name,
                web_seeds: trackers.iter().take(1).cloned().collect(),
                trackers: trackers.into_iter().collect(),
                peers: vec![HostPort { host: "::1".into(), port }],
                select: select.into_iter().map(|(a, n)| a..=a + n).collect(),
            };
            prop_assert_eq!(magnet.to_string().parse(), Ok(magnet));
        }

        #[test]
        fn any_text_is_read_or_refused(text in "(magnet:\\?)?([a-z.]{1,4}=[%+&=:0-9a-f]{0,9}){0,9}") {
            let _ = text.parse::<Magnet>();
        }
    }
}
