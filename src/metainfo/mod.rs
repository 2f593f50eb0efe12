//! Torrent files and magnet links: what they say, checked, and written again.
//!
//! Owns the torrent file around the info dictionary ([`Metainfo`]), the info dictionary itself
//! ([`Info`]), the layout of files ([`layout`]), safe names ([`path`]), magnet links ([`magnet`]), codes
//! ([`share_code`]) and the builder ([`build`]). Everything read here comes from strangers. What to do with
//! trackers and web seeds, and whether we may contact them, is not decided here.
//!
//! BEP 3 *metainfo files*; BEP 5 `nodes`, 12 `announce-list`, 19 `url-list`, 27, 47, 52.

pub mod build;
pub mod host_port;
pub mod info;
pub mod layout;
pub mod magnet;
pub mod path;
#[cfg(test)]
pub(crate) mod sample;
pub mod share_code;

use std::sync::Arc;

pub use build::Builder;
pub use host_port::HostPort;
pub use info::{Info, MetaVersion};
pub use layout::{File, Layout, Span};
pub use magnet::Magnet;
pub use path::SafePath;
pub use share_code::ShareCode;

use crate::{
    base::limits::{
        MAX_PIECE_LENGTH, MAX_PIECES, MAX_TEXT_BYTES, MAX_TIERS_READ, MAX_URL_BYTES, MAX_URLS,
    },
    bencode::{self, BencodeError, Dict, Limits, Value, typed, write::DictWriter},
};

/// A torrent file.
#[derive(Debug, Clone)]
pub struct Metainfo {
    /// What is shared.
    pub info: Arc<Info>,
    /// Tracker URLs in tiers: `announce-list` if it has any (BEP 12), else `announce`.
    pub tiers: Vec<Vec<String>>,
    /// Web seeds (BEP 19 `url-list`).
    pub web_seeds: Vec<String>,
    /// DHT nodes to start from (BEP 5).
    pub nodes: Vec<HostPort>,
    /// Free text; may have lines, no other control characters.
    pub comment: Option<String>,
    /// The program that made the file.
    pub created_by: Option<String>,
    /// When it was made, in seconds since 1970.
    pub creation_date: Option<u64>,
}

/// Why bytes are not a torrent we can use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MetainfoError {
    /// Not bencoded, or beyond a limit.
    #[error("not a torrent file: {0}")]
    Bencode(#[from] BencodeError),
    /// The file or `info` is some other bencoded value.
    #[error("not a torrent file: a dictionary is expected")]
    NotADictionary,
    /// A key is missing.
    #[error("the torrent is incomplete: `{key}` is missing")]
    Missing {
        /// The key.
        key: &'static str,
    },
    /// A key has a value of another type.
    #[error("the torrent is damaged: `{key}` is not {expected}")]
    WrongType {
        /// The key.
        key: &'static str,
        /// What it should be.
        expected: &'static str,
    },
    /// Only BEP 52 hashes.
    #[error("v2-only torrents are not yet supported: ask for a v1 or hybrid one")]
    V2Only,
    /// A version of the format from the future.
    #[error("the torrent has the unknown format version {version}")]
    UnknownVersion {
        /// `meta version`.
        version: i64,
    },
    /// A piece length that is 0 or too large.
    #[error("a piece length of {piece_length} bytes is not between 1 and {MAX_PIECE_LENGTH}")]
    PieceLength {
        /// `piece length`.
        piece_length: u64,
    },
    /// More than [`MAX_PIECES`].
    #[error("pieces of {piece_length} bytes make more than {MAX_PIECES} pieces")]
    TooManyPieces {
        /// `piece length`.
        piece_length: u32,
    },
    /// Piece hashes do not go with the length of the files.
    #[error("the torrent is damaged: {bytes} bytes of piece hashes for {pieces} pieces")]
    PieceCount {
        /// Length of `pieces`, where each piece has 20 bytes.
        bytes: usize,
        /// Pieces that the files make.
        pieces: u32,
    },
    /// Neither `length` nor any `files`.
    #[error("the torrent has no files")]
    NoFiles,
    /// Both `length` and `files`.
    #[error("the torrent is ambiguous: it has both `length` and `files`")]
    LengthAndFiles,
    /// The files cannot be laid out.
    #[error(transparent)]
    Layout(#[from] layout::LayoutError),
}

impl Metainfo {
    /// A torrent file without trackers for `info`.
    pub const fn new(info: Arc<Info>) -> Self {
        Metainfo {
            info,
            tiers: Vec::new(),
            web_seeds: Vec::new(),
            nodes: Vec::new(),
            comment: None,
            created_by: None,
            creation_date: None,
        }
    }

    /// Reads a torrent file.
    ///
    /// `info` has to be right. Around it, what has an unexpected form is ignored: trackers and
    /// comments are hints.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, MetainfoError> {
        let torrent = Value::scan(bytes, Limits::METAINFO)?;
        let torrent = torrent.as_dict().ok_or(MetainfoError::NotADictionary)?;
        Self::from_dict(torrent)
    }

    fn from_dict(torrent: Dict<'_>) -> Result<Self, MetainfoError> {
        let mut info = None;
        let (mut announce, mut announce_list) = (None, None);
        let (mut web_seeds, mut nodes) = (Vec::new(), Vec::new());
        let (mut comment, mut comment_utf8, mut created_by) = (None, None, None);
        let mut creation_date = None;
        for (key, value) in torrent.iter() {
            match key {
                b"info" => info = Some(value),
                b"announce" => announce = url(value),
                b"announce-list" => announce_list = value.as_list(),
                b"url-list" => web_seeds = urls(value, web_seed_url),
                b"nodes" => nodes = dht_nodes(value),
                b"comment" => comment = text(value),
                b"comment.utf-8" => comment_utf8 = text(value),
                b"created by" => created_by = text(value),
                b"creation date" => creation_date = value.as_u64(),
                _ => {}
            }
        }
        let mut tiers = Vec::new();
        let mut room = MAX_URLS;
        for tier in announce_list.iter().flat_map(|list| list.iter()).take(MAX_TIERS_READ) {
            if room == 0 {
                break;
            }
            let mut tier = urls(tier, clean_url);
            tier.retain(|url| !tiers.iter().flatten().any(|known| known == url));
            tier.truncate(room);
            room -= tier.len();
            if !tier.is_empty() {
                tiers.push(tier);
            }
        }
        if tiers.is_empty() {
            tiers.extend(announce.map(|url| vec![url]));
        }
        let info = info.ok_or(MetainfoError::Missing { key: "info" })?;
        Ok(Metainfo {
            info: Arc::new(Info::from_value(info)?),
            tiers,
            web_seeds,
            nodes,
            comment: comment_utf8.or(comment),
            created_by,
            creation_date,
        })
    }

    /// The torrent file: the info dictionary byte for byte, the rest from the fields.
    ///
    /// What else a file that was read had around `info` is not kept.
    pub fn to_bytes(&self) -> Vec<u8> {
        let info = Value::scan(self.info.bytes(), Limits::INFO).expect("scanned when it was read");
        bencode::write::dict(|torrent| self.write(torrent, info))
    }

    fn write(&self, torrent: &mut DictWriter<'_>, info: Value<'_>) {
        if let Some(first) = self.tiers.iter().flatten().next() {
            torrent.bytes("announce", first);
        }
        if self.tiers.iter().map(Vec::len).sum::<usize>() > 1 {
            torrent.list("announce-list", |tiers| {
                for tier in &self.tiers {
                    tiers.list(|urls| tier.iter().for_each(|url| urls.bytes(url)));
                }
            });
        }
        if let Some(comment) = &self.comment {
            torrent.bytes("comment", comment);
        }
        if let Some(created_by) = &self.created_by {
            torrent.bytes("created by", created_by);
        }
        if let Some(date) = self.creation_date {
            torrent.int("creation date", date);
        }
        torrent.value("info", info);
        if !self.nodes.is_empty() {
            torrent.list("nodes", |nodes| {
                for node in &self.nodes {
                    nodes.list(|pair| {
                        pair.bytes(&node.host);
                        pair.int(node.port);
                    });
                }
            });
        }
        match &self.web_seeds[..] {
            [] => {}
            [one] => torrent.bytes("url-list", one),
            many => torrent.list("url-list", |l| many.iter().for_each(|url| l.bytes(url))),
        }
    }
}

/// A text to show: control characters but line ends and tabs taken out, cut when very long.
fn text(value: Value<'_>) -> Option<String> {
    let bytes = value.as_bytes()?;
    let bytes = &bytes[..bytes.len().min(MAX_TEXT_BYTES)];
    let shown = |c: &char| !c.is_control() || matches!(c, '\n' | '\t');
    let text: String = String::from_utf8_lossy(bytes).chars().filter(shown).collect();
    (!text.is_empty()).then_some(text)
}

/// A URL: any printable text without spaces. Its scheme is for the user of the URL to judge.
fn url(value: Value<'_>) -> Option<String> {
    clean_url(value.as_str()?)
}

fn clean_url(text: &str) -> Option<String> {
    let text = text.trim();
    let plain = !text.contains(|c: char| c.is_control() || c.is_whitespace());
    (plain && !text.is_empty() && text.len() <= MAX_URL_BYTES).then(|| text.to_owned())
}

/// The address of a web seed. Some are written as people write them, with spaces.
fn web_seed_url(text: &str) -> Option<String> {
    clean_url(&text.trim().replace(' ', "%20"))
}

/// The URLs of a list, or the one that stands in place of a list; no URL twice.
fn urls(value: Value<'_>, read: impl Fn(&str) -> Option<String>) -> Vec<String> {
    let mut out = Vec::new();
    let mut add = |value: Value<'_>| {
        if let Some(url) = value.as_str().and_then(&read)
            && out.len() < MAX_URLS
            && !out.contains(&url)
        {
            out.push(url);
        }
    };
    match value.as_list() {
        Some(list) => list.iter().take(MAX_URLS).for_each(&mut add),
        None => add(value),
    }
    out
}

/// The DHT nodes of `nodes`: a list of host and port pairs (BEP 5).
fn dht_nodes(value: Value<'_>) -> Vec<HostPort> {
    let pair = |value: Value<'_>| {
        let (host, port): (String, u16) = typed::from_bytes(value.raw(), Limits::INFO).ok()?;
        HostPort::new(&host, port)
    };
    let items = value.as_list().into_iter().flat_map(|list| list.iter());
    items.take(MAX_URLS).filter_map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const INFO: &str =
        "d6:lengthi5e4:name1:a12:piece lengthi16384e6:pieces20:aaaaaaaaaaaaaaaaaaaae";

    fn torrent(keys: &str) -> Result<Metainfo, MetainfoError> {
        Metainfo::from_bytes(format!("d{keys}4:info{INFO}e").as_bytes())
    }

    #[test]
    fn the_smallest_torrent() {
        let t = torrent("").expect("valid");
        assert_eq!(t.info.bytes(), INFO.as_bytes());
        assert_eq!((t.tiers.len(), t.web_seeds.len(), t.nodes.len()), (0, 0, 0));
        assert_eq!(t.to_bytes(), format!("d4:info{INFO}e").into_bytes());
    }

    #[test]
    fn announce_list_goes_before_announce() {
        let tiers = |keys| torrent(keys).expect("valid").tiers;
        assert_eq!(tiers("8:announce3:a:1"), [["a:1"]]);
        assert_eq!(
            tiers("8:announce3:a:113:announce-listll3:b:13:c:1el3:b:13:d:1ee"),
            [vec!["b:1", "c:1"], vec!["d:1"]]
        );
        // Without any URL in it, `announce` counts; URLs without a tier are one tier each.
        assert_eq!(tiers("8:announce3:a:113:announce-listllel0:1: ee"), [["a:1"]]);
        assert_eq!(tiers("13:announce-listl3:b:13:c:1e"), [["b:1"], ["c:1"]]);
        assert_eq!(tiers("13:announce-listi1e8:announcei2e"), Vec::<Vec<String>>::new());
    }

    #[test]
    fn number_of_trackers_is_bounded() {
        let urls: String = (1000..2000).map(|n| format!("l4:{n}e")).collect();
        let t = torrent(&format!("13:announce-listl{urls}e")).expect("valid");
        assert_eq!(t.tiers.len(), MAX_URLS);
    }

    #[test]
    fn web_seeds_are_a_string_or_a_list() {
        let seeds = |keys| torrent(keys).expect("valid").web_seeds;
        assert_eq!(seeds("8:url-list3:a:1"), ["a:1"]);
        assert_eq!(seeds("8:url-list0:"), Vec::<String>::new());
        assert_eq!(seeds("8:url-list17:http://a/b c/d e "), ["http://a/b%20c/d%20e"]);
        assert_eq!(seeds("8:url-listl3:a:1i3e3:a:13:b:2e"), ["a:1", "b:2"]);
    }

    #[test]
    fn nodes_and_texts() {
        let t = torrent(
            "7:comment6:a\x1b[2J\n10:created by2:me13:creation datei7e\
             5:nodesll9:127.0.0.1i6881eel3:::1i1eel1:xi0eeli1ei2eei3ee",
        )
        .expect("valid");
        assert_eq!(t.comment.as_deref(), Some("a[2J\n"));
        assert_eq!((t.created_by.as_deref(), t.creation_date), (Some("me"), Some(7)));
        let nodes: Vec<_> = t.nodes.iter().map(HostPort::to_string).collect();
        assert_eq!(nodes, ["127.0.0.1:6881", "[::1]:1"]);
        let again = Metainfo::from_bytes(&t.to_bytes()).expect("valid");
        assert_eq!((again.comment, again.nodes), (t.comment, t.nodes));
    }

    #[test]
    fn what_is_no_torrent_is_refused() {
        let err = |bytes: &[u8]| Metainfo::from_bytes(bytes).expect_err("refused");
        assert!(matches!(err(b"<html>"), MetainfoError::Bencode(_)));
        assert_eq!(err(b"le"), MetainfoError::NotADictionary);
        assert_eq!(err(b"d4:infolee"), MetainfoError::NotADictionary);
        assert_eq!(err(b"d8:announce3:a:1e"), MetainfoError::Missing { key: "info" });
        let with_line_end = [torrent("").expect("valid").to_bytes(), b"\r\n".to_vec()].concat();
        assert!(Metainfo::from_bytes(&with_line_end).is_ok());
    }
}
