//! A client's side of an HTTP tracker: the announce URL out, the reply in (BEP 3, 7, 23, 24, 31).
//!
//! Pure text and bytes. Connections, redirects and time-outs are in `net/tracker_client.rs`, the
//! tracker's side is in [`super::http_host`].

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use url::Url;

use super::announce::{AnnounceReply, AnnounceRequest, Crypto, Refusal, Retry, printable};
use crate::{
    base::{
        compact,
        limits::{MAX_PEERS_PER_REPLY, MAX_TRACKER_ID},
    },
    bencode::{BencodeError, Dict, Limits, Value},
};

/// Everything but what RFC 3986 calls unreserved is escaped.
pub(super) const ESCAPED: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Why there is no announce URL.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// It does not parse, or has no host.
    #[error("not a URL")]
    Invalid,
    /// The scheme is neither `http` nor `https`.
    #[error("{scheme} is not http or https")]
    Scheme {
        /// The scheme, in lower case.
        scheme: String,
    },
}

/// Why a reply holds no [`AnnounceReply`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReplyError {
    /// The tracker said no.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Not bencoding, or beyond the limits.
    #[error(transparent)]
    Bencode(#[from] BencodeError),
    /// Bencoding, but not a dictionary.
    #[error("it is not a dictionary")]
    NotADictionary,
}

/// The URL that announces `request` to the tracker at `tracker`. A query that is there is kept in
/// front, a fragment is dropped. Asks for compact peers (BEP 23).
pub fn announce_url(tracker: &str, request: &AnnounceRequest) -> Result<Url, UrlError> {
    let mut url = http_url(tracker)?;
    let mut query = match url.query() {
        Some(query) if !query.is_empty() => format!("{query}&"),
        _ => String::new(),
    };
    query.push_str(&announce_query(request));
    url.set_query(Some(&query));
    Ok(url)
}

/// The URL of an HTTP tracker, without its fragment.
pub(super) fn http_url(tracker: &str) -> Result<Url, UrlError> {
    let mut url = Url::parse(tracker).map_err(|_| UrlError::Invalid)?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(UrlError::Scheme { scheme: url.scheme().to_owned() });
    }
    if url.host().is_none() {
        return Err(UrlError::Invalid);
    }
    url.set_fragment(None);
    Ok(url)
}

/// The parameters of an announce (BEP 3).
pub fn announce_query(request: &AnnounceRequest) -> String {
    let escape = |bytes: &[u8]| percent_encode(bytes, ESCAPED).to_string();
    let AnnounceRequest { port, uploaded, downloaded, left, numwant, key, .. } = request;
    let mut query = format!(
        "info_hash={}&peer_id={}&port={port}&uploaded={uploaded}&downloaded={downloaded}\
         &left={left}&compact=1&no_peer_id=1&numwant={numwant}&key={key:08X}",
        escape(&request.info_hash.0),
        escape(&request.peer_id.0),
    );
    query.push_str(match request.crypto {
        Crypto::None => "",
        Crypto::Supported => "&supportcrypto=1",
        Crypto::Required => "&supportcrypto=1&requirecrypto=1",
    });
    if let Some(event) = request.event.name() {
        query.push_str("&event=");
        query.push_str(event);
    }
    if let Some(id) = &request.tracker_id {
        query.push_str("&trackerid=");
        query.push_str(&escape(id));
    }
    query
}

/// Reads a tracker's reply.
///
/// Unknown keys, and known ones of an unexpected type, are ignored: what is readable is used.
/// Peers are compact or dictionaries, IPv4 in `peers`, IPv6 in `peers6` (BEP 7) or, from some
/// trackers, as dictionaries in `peers`; host names instead of addresses are not looked up.
pub fn parse_reply(bytes: &[u8]) -> Result<AnnounceReply, ReplyError> {
    let value = Value::scan(bytes, Limits::TRACKER)?;
    let dict = value.as_dict().ok_or(ReplyError::NotADictionary)?;
    let mut reply = AnnounceReply::default();
    let mut peers = Peers::default();
    let mut reason = None;
    let mut retry = None;
    for (key, value) in dict.iter() {
        match key {
            b"failure reason" => reason = value.as_bytes(),
            b"retry in" => retry = read_retry(value),
            b"warning message" => {
                reply.warning = value.as_bytes().map(printable).filter(|w| !w.is_empty());
            }
            b"interval" => reply.interval = seconds(value).unwrap_or(reply.interval),
            b"min interval" => reply.min_interval = seconds(value),
            b"tracker id" => {
                let id = value.as_bytes().filter(|id| id.len() <= MAX_TRACKER_ID);
                reply.tracker_id = id.map(<[u8]>::to_vec);
            }
            b"complete" => reply.seeds = count(value),
            b"incomplete" => reply.leeches = count(value),
            b"external ip" => reply.external_ip = value.as_bytes().and_then(read_ip),
            b"peers" => peers.read(value, false),
            b"peers6" => peers.read(value, true),
            _ => {}
        }
    }
    if let Some(reason) = reason {
        // Not every tracker that does not want to be asked sooner knows BEP 31.
        let retry = retry.or_else(|| reply.min_interval.map(Retry::After));
        return Err(Refusal { reason: printable(reason), retry }.into());
    }
    reply.peers = peers.list;
    Ok(reply)
}

/// Peers so far: no port 0, no doubles, not too many.
#[derive(Default)]
struct Peers {
    list: Vec<SocketAddr>,
    seen: BTreeSet<SocketAddr>,
}

impl Peers {
    fn read(&mut self, value: Value<'_>, v6: bool) {
        if let Some(bytes) = value.as_bytes() {
            if v6 {
                compact::v6_peers(bytes).take(MAX_PEERS_PER_REPLY).for_each(|a| self.add(a));
            } else {
                compact::v4_peers(bytes).take(MAX_PEERS_PER_REPLY).for_each(|a| self.add(a));
            }
        } else if let Some(list) = value.as_list() {
            let dicts = list.iter().take(MAX_PEERS_PER_REPLY).filter_map(Value::as_dict);
            dicts.filter_map(read_peer).for_each(|a| self.add(a));
        }
    }

    fn add(&mut self, addr: SocketAddr) {
        let addr = compact::canonical(addr);
        if addr.port() == 0 || addr.ip().is_unspecified() || addr.ip().is_multicast() {
            return;
        }
        if self.list.len() < MAX_PEERS_PER_REPLY && self.seen.insert(addr) {
            self.list.push(addr);
        }
    }
}

fn read_peer(dict: Dict<'_>) -> Option<SocketAddr> {
    let (mut ip, mut port) = (None, None);
    for (key, value) in dict.iter() {
        match key {
            b"ip" => ip = value.as_str().and_then(|text| text.parse().ok()),
            b"port" => port = value.as_u64().and_then(|n| u16::try_from(n).ok()),
            _ => {}
        }
    }
    Some(SocketAddr::new(ip?, port?))
}

fn read_ip(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Some(v4.into());
    }
    <[u8; 16]>::try_from(bytes).ok().map(|v6| IpAddr::from(v6).to_canonical())
}

/// BEP 31: minutes, or the word `never`.
fn read_retry(value: Value<'_>) -> Option<Retry> {
    if value.as_bytes() == Some(b"never") {
        return Some(Retry::Never);
    }
    let minutes = value.as_u64().or_else(|| value.as_str()?.parse().ok())?;
    let minutes = u64::from(u32::try_from(minutes).unwrap_or(u32::MAX));
    Some(Retry::After(Duration::from_secs(minutes * 60)))
}

fn seconds(value: Value<'_>) -> Option<Duration> {
    let secs = value.as_i64()?.clamp(0, i64::from(u32::MAX));
    Some(Duration::from_secs(secs.unsigned_abs()))
}

pub(super) fn count(value: Value<'_>) -> Option<u32> {
    value.as_u64().map(|n| u32::try_from(n).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        base::{hash::Sha1Hash, id::PeerId},
        tracker::announce::{Event, Families},
    };
    use proptest::prelude::*;

    fn request() -> AnnounceRequest {
        AnnounceRequest {
            info_hash: Sha1Hash(*b"\x00\xff %&?+~-._0aZ\x7f\x80\n:/="),
            peer_id: PeerId(*b"-DP0100-abcdefghijkl"),
            port: 6881,
            uploaded: 1,
            downloaded: 2,
            left: u64::MAX,
            event: Event::None,
            numwant: 50,
            key: 0xBEEF,
            tracker_id: None,
            crypto: Crypto::default(),
            families: Families::Any,
        }
    }

    #[test]
    fn every_byte_is_escaped_but_the_unreserved() {
        let url = announce_url("http://t.example:80/announce", &request()).expect("valid");
        assert_eq!(
            url.as_str(),
            "http://t.example/announce?info_hash=%00%FF%20%25%26%3F%2B~-._0aZ%7F%80%0A%3A%2F%3D\
             &peer_id=-DP0100-abcdefghijkl&port=6881&uploaded=1&downloaded=2\
             &left=18446744073709551615&compact=1&no_peer_id=1&numwant=50&key=0000BEEF"
        );
    }

    #[test]
    fn an_existing_query_and_credentials_in_the_path_are_kept() {
        let request = AnnounceRequest {
            event: Event::Stopped,
            crypto: Crypto::Required,
            tracker_id: Some(b"a&b".to_vec()),
            ..request()
        };
        let url = announce_url("HTTPS://T.example/x/%61nnounce?passkey=%00a&b=#top", &request);
        let url = url.expect("valid");
        let start = "https://t.example/x/%61nnounce?passkey=%00a&b=&info_hash=%00%FF";
        assert!(url.as_str().starts_with(start), "{url}");
        assert!(
            url.as_str()
                .ends_with("&supportcrypto=1&requirecrypto=1&event=stopped&trackerid=a%26b"),
            "{url}"
        );
    }

    #[test]
    fn other_schemes_are_named() {
        let scheme = |s: &str| UrlError::Scheme { scheme: s.to_owned() };
        assert_eq!(announce_url("udp://t.example:80", &request()), Err(scheme("udp")));
        assert_eq!(announce_url("file:///etc/passwd", &request()), Err(scheme("file")));
        for bad in ["", "announce", "http://", "http://[::1", "//t.example/"] {
            assert_eq!(announce_url(bad, &request()), Err(UrlError::Invalid), "{bad}");
        }
    }

    fn addrs(list: &[&str]) -> Vec<SocketAddr> {
        list.iter().map(|a| a.parse().expect("valid")).collect()
    }

    #[test]
    fn a_compact_reply_with_everything() {
        let bytes = b"d8:completei5e11:external ip4:\x09\x08\x07\x0610:incompletei-1e\
            8:intervali1800e12:min intervali60e\
            5:peers19:\x01\x02\x03\x04\x1a\xe1\x01\x02\x03\x04\x1a\xe1\x05\x06\x07\x08\x00\x00!\
            6:peers618: \x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\x1a\xe1\
            10:tracker id3:\x00id15:warning message4:slow6:\xffotherle\x65";
        let reply = parse_reply(bytes).expect("valid");
        let want = AnnounceReply {
            interval: Duration::from_secs(1800),
            min_interval: Some(Duration::from_secs(60)),
            peers: addrs(&["1.2.3.4:6881", "[2001:db8::1]:6881"]),
            seeds: Some(5),
            leeches: None,
            warning: Some("slow".to_owned()),
            tracker_id: Some(b"\x00id".to_vec()),
            external_ip: Some([9, 8, 7, 6].into()),
        };
        assert_eq!(reply, want);
    }

    #[test]
    fn dictionary_peers_and_wrong_types() {
        let bytes = b"d8:interval2:no5:peersl\
            d2:ip7:1.2.3.47:peer id2:xx4:porti80ee\
            d2:ip11:2001:db8::14:porti81ee\
            d2:ip9:localhost4:porti82ee\
            d2:ip7:1.2.3.54:porti65536ee\
            d4:porti1eei7e0:lee\
            6:peers6i0ee";
        let reply = parse_reply(bytes).expect("valid");
        assert_eq!(reply.peers, addrs(&["1.2.3.4:80", "[2001:db8::1]:81"]));
        assert_eq!(reply.interval, AnnounceReply::default().interval);
    }

    #[test]
    fn a_refusal_wins_over_everything_else() {
        let refusal = |bytes: &[u8]| match parse_reply(bytes) {
            Err(ReplyError::Refused(refusal)) => refusal,
            other => panic!("{other:?}"),
        };
        let got = refusal(b"d14:failure reason5:no\x1b[m8:retry ini2e5:peers0:e");
        assert_eq!(got.reason, "no\u{fffd}[m");
        assert_eq!(got.retry, Some(Retry::After(Duration::from_secs(120))));
        assert_eq!(refusal(b"d14:failure reason0:8:retry in5:nevere").retry, Some(Retry::Never));
    }

    #[test]
    fn what_is_no_reply() {
        assert_eq!(parse_reply(b"i1e"), Err(ReplyError::NotADictionary));
        let later = parse_reply(b"d14:failure reason4:soon12:min intervali900ee");
        let Err(ReplyError::Refused(Refusal { retry, .. })) = later else { panic!("{later:?}") };
        assert_eq!(retry, Some(Retry::After(Duration::from_secs(900))));
        assert!(matches!(parse_reply(b""), Err(ReplyError::Bencode(_))));
        assert!(matches!(parse_reply(b"<html>"), Err(ReplyError::Bencode(_))));
        let deep = [b"d5:peers".as_slice(), &[b'l'; 30_000]].concat();
        assert!(matches!(parse_reply(&deep), Err(ReplyError::Bencode(_))));
    }

    #[test]
    fn peers_are_bounded() {
        let many: Vec<u8> =
            (0..10_000u32).flat_map(|n| [1, 1, 1, 1, (n >> 8) as u8, n as u8]).collect();
        let bytes = [b"d5:peers60000:".as_slice(), &many, b"e"].concat();
        let reply = parse_reply(&bytes).expect("valid");
        assert_eq!(reply.peers.len(), MAX_PEERS_PER_REPLY - 1, "port 0 is dropped");
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = parse_reply(&bytes);
        }

        #[test]
        fn any_values_under_known_keys_never_panic(
            entries in prop::collection::vec((0usize..11, 0usize..6, any::<i64>(), prop::collection::vec(any::<u8>(), 0..40)), 0..12),
        ) {
            const KEYS: [&str; 11] = ["peers", "peers6", "interval", "min interval", "tracker id",
                "complete", "incomplete", "external ip", "retry in", "warning message", "failure reason"];
            let mut bytes = b"d".to_vec();
            for (key, kind, number, text) in entries {
                let string = [text.len().to_string().as_bytes(), b":", &text].concat();
                bytes.extend_from_slice(format!("{}:{}", KEYS[key].len(), KEYS[key]).as_bytes());
                match kind {
                    0 => bytes.extend_from_slice(format!("i{number}e").as_bytes()),
                    1 | 2 => bytes.extend_from_slice(&string),
                    3 => bytes.extend([b"l".as_slice(), &string, b"e"].concat()),
                    4 => bytes.extend(format!("ld2:ip3:::14:porti{number}eee").as_bytes()),
                    _ => bytes.extend_from_slice(b"de"),
                }
            }
            bytes.push(b'e');
            if let Ok(reply) = parse_reply(&bytes) {
                prop_assert!(reply.peers.iter().all(|p| p.port() != 0));
            }
        }
    }
}
