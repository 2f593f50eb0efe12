//! A tracker's side of HTTP: the query of an announce or scrape in, the reply out
//! (BEP 3, 7, 23, 48).
//!
//! Pure text and bytes. The socket is in `net/tracker_server.rs`, the peers are in
//! [`super::swarms`], a client's side is in [`super::http`].

use std::net::IpAddr;

use percent_encoding::percent_decode_str;

use super::{
    announce::{AnnounceRequest, Crypto, Event, Families},
    swarms::{Answer, Counts},
};
use crate::{
    base::{
        compact,
        hash::Sha1Hash,
        id::PeerId,
        limits::{MAX_SCRAPE_HASHES, MAX_TRACKER_ID},
    },
    bencode::write,
};

/// `numwant` of a client that does not say (BEP 3: typically 50).
const DEFAULT_NUMWANT: u32 = 50;

/// An announce as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnnounceQuery {
    /// What is announced.
    pub request: AnnounceRequest,
    /// How the client wants its peers.
    pub form: PeersForm,
    /// The address the client says it has; not to be believed without reason.
    pub ip: Option<IpAddr>,
}

/// How a reply lists peers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PeersForm {
    /// `peers` and `peers6` as strings (BEP 23, BEP 7): the default.
    Compact,
    /// A list of dictionaries (BEP 3), asked for with `compact=0`.
    Dictionaries {
        /// Leave the peer ids out (`no_peer_id=1`).
        without_ids: bool,
    },
}

/// What is wrong with a query; the text is the failure reason that the client gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// A parameter that must be there is not.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// A parameter is not what it has to be.
    #[error("{0} is not valid")]
    Invalid(&'static str),
    /// More hashes than one scrape may name.
    #[error("too many info hashes in one scrape")]
    TooManyHashes,
}

/// Reads the query of an announce: what follows the `?`, undecoded.
///
/// `info_hash`, `peer_id` and `port` have to be there. Of a parameter that comes twice the last
/// one counts; unknown ones are ignored.
pub fn parse_announce(query: &str) -> Result<AnnounceQuery, QueryError> {
    let (mut info_hash, mut peer_id, mut port) = (None, None, None);
    let (mut uploaded, mut downloaded, mut left) = (0, 0, None);
    let (mut event, mut numwant, mut key, mut tracker_id) = (Event::None, None, 0, None);
    let (mut compact, mut without_ids, mut ip) = (true, false, None);
    for (name, value) in parameters(query) {
        match name {
            "info_hash" => info_hash = Some(twenty(value).ok_or(QueryError::Invalid("info_hash"))?),
            "peer_id" => peer_id = Some(twenty(value).ok_or(QueryError::Invalid("peer_id"))?),
            "port" => {
                let number = value.parse().ok().filter(|&p: &u16| p != 0);
                port = Some(number.ok_or(QueryError::Invalid("port"))?);
            }
            "uploaded" => uploaded = number(value).ok_or(QueryError::Invalid("uploaded"))?,
            "downloaded" => downloaded = number(value).ok_or(QueryError::Invalid("downloaded"))?,
            // So webtorrent says that it knows nothing but the info hash.
            "left" if value.is_empty() || value == "NaN" => left = None,
            "left" => left = Some(number(value).ok_or(QueryError::Invalid("left"))?),
            "event" => event = read_event(value),
            // Some clients send -1 for "as many as you like".
            "numwant" | "num want" => numwant = value.parse().ok(),
            "key" => key = u32::from_str_radix(value, 16).unwrap_or(0),
            "trackerid" => {
                let id: Vec<u8> = percent_decode_str(value).collect();
                tracker_id = (id.len() <= MAX_TRACKER_ID).then_some(id);
            }
            "compact" => compact = value != "0",
            "no_peer_id" => without_ids = value == "1",
            "ip" => {
                let text = percent_decode_str(value).decode_utf8().ok();
                ip = text.and_then(|t| t.parse().ok()).map(|ip: IpAddr| ip.to_canonical());
            }
            _ => {}
        }
    }
    let request = AnnounceRequest {
        info_hash: Sha1Hash(info_hash.ok_or(QueryError::Missing("info_hash"))?),
        peer_id: PeerId(peer_id.ok_or(QueryError::Missing("peer_id"))?),
        port: port.ok_or(QueryError::Missing("port"))?,
        uploaded,
        downloaded,
        // Who does not say what is missing is not taken for a seed.
        left: left.unwrap_or(u64::MAX),
        event,
        numwant: numwant.unwrap_or(DEFAULT_NUMWANT),
        key,
        tracker_id,
        crypto: Crypto::default(),
        families: Families::Any,
    };
    let form = if compact { PeersForm::Compact } else { PeersForm::Dictionaries { without_ids } };
    Ok(AnnounceQuery { request, form, ip })
}

/// Reads the query of a scrape: the info hashes it names (BEP 48).
pub fn parse_scrape(query: &str) -> Result<Vec<Sha1Hash>, QueryError> {
    let mut hashes = Vec::new();
    for (_, value) in parameters(query).filter(|(name, _)| *name == "info_hash") {
        if hashes.len() == MAX_SCRAPE_HASHES {
            return Err(QueryError::TooManyHashes);
        }
        hashes.push(Sha1Hash(twenty(value).ok_or(QueryError::Invalid("info_hash"))?));
    }
    // Without any, the whole tracker is meant; nobody needs to be told of all of it.
    if hashes.is_empty() { Err(QueryError::Missing("info_hash")) } else { Ok(hashes) }
}

/// The reply to an announce.
pub fn announce_reply(
    answer: &Answer,
    form: PeersForm,
    interval_s: u32,
    min_interval_s: u32,
    external_ip: IpAddr,
    warning: Option<&str>,
) -> Vec<u8> {
    write::dict(|d| {
        d.int("complete", answer.counts.complete);
        d.int("downloaded", answer.counts.downloaded);
        match external_ip {
            IpAddr::V4(ip) => d.bytes("external ip", ip.octets()),
            IpAddr::V6(ip) => d.bytes("external ip", ip.octets()),
        }
        d.int("incomplete", answer.counts.incomplete);
        d.int("interval", interval_s);
        d.int("min interval", min_interval_s);
        match form {
            PeersForm::Compact => {
                let (mut v4, mut v6) = (Vec::new(), Vec::new());
                answer.peers.iter().for_each(|p| compact::push(p.addr, &mut v4, &mut v6));
                d.bytes("peers", v4);
                if !v6.is_empty() {
                    d.bytes("peers6", v6);
                }
            }
            PeersForm::Dictionaries { without_ids } => d.list("peers", |list| {
                for peer in &answer.peers {
                    list.dict(|d| {
                        d.bytes("ip", peer.addr.ip().to_string());
                        if !without_ids {
                            d.bytes("peer id", peer.peer_id.0);
                        }
                        d.int("port", peer.addr.port());
                    });
                }
            }),
        }
        if let Some(warning) = warning {
            d.bytes("warning message", warning);
        }
    })
}

/// The reply to a scrape; hashes the tracker does not know are left out by the caller.
pub fn scrape_reply(files: &[(Sha1Hash, Counts)]) -> Vec<u8> {
    let mut files = files.to_vec();
    files.sort_unstable_by_key(|(hash, _)| *hash);
    files.dedup_by_key(|(hash, _)| *hash);
    write::dict(|d| {
        d.dict("files", |d| {
            for (hash, counts) in files {
                d.dict(hash.0, |d| {
                    d.int("complete", counts.complete);
                    d.int("downloaded", counts.downloaded);
                    d.int("incomplete", counts.incomplete);
                });
            }
        });
    })
}

/// The reply to what cannot be answered.
pub fn failure_reply(reason: &str) -> Vec<u8> {
    write::dict(|d| d.bytes("failure reason", reason))
}

fn parameters(query: &str) -> impl Iterator<Item = (&str, &str)> {
    query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}

/// Exactly 20 bytes, escaped or not; a plus sign is a plus sign.
fn twenty(value: &str) -> Option<[u8; 20]> {
    let mut bytes = percent_decode_str(value);
    let mut out = [0; 20];
    for slot in &mut out {
        *slot = bytes.next()?;
    }
    bytes.next().is_none().then_some(out)
}

/// Counters of clients that lost count are negative or too large now and then.
fn number(value: &str) -> Option<u64> {
    let digits = value.strip_prefix('-').unwrap_or(value);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    Some(if digits.len() < value.len() { 0 } else { value.parse().unwrap_or(u64::MAX) })
}

/// Other words, as `paused` of BEP 21, mean nothing to a tracker.
fn read_event(value: &str) -> Event {
    match value {
        "started" => Event::Started,
        "completed" => Event::Completed,
        "stopped" => Event::Stopped,
        _ => Event::None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tracker::{
        http::{announce_query, parse_reply},
        swarms::SwarmPeer,
    };
    use proptest::prelude::*;

    const HASH: &str = "info_hash=aaaaaaaaaaaaaaaaaaaa";
    const ID: &str = "peer_id=bbbbbbbbbbbbbbbbbbbb";

    #[test]
    fn the_least_a_client_may_say() {
        let got = parse_announce(&format!("{HASH}&{ID}&port=1")).expect("valid");
        assert_eq!((got.request.left, got.request.numwant), (u64::MAX, DEFAULT_NUMWANT));
        for unknown in ["", "NaN"] {
            let got = parse_announce(&format!("{HASH}&{ID}&port=1&left={unknown}"));
            assert_eq!(got.expect("valid").request.left, u64::MAX);
        }
        assert_eq!((got.form, got.ip), (PeersForm::Compact, None));
    }

    #[test]
    fn oddities_of_real_clients() {
        let query = format!(
            "{HASH}&{ID}&port=1&numwant=-1&uploaded=-5&left=99999999999999999999999&event=paused\
             &key=what&ip=%3A%3Affff%3A1.2.3.4&compact=0&no_peer_id=1&supportcrypto"
        );
        let got = parse_announce(&query).expect("valid");
        let AnnounceRequest { uploaded, left, numwant, event, .. } = got.request;
        assert_eq!((uploaded, left, numwant, event), (0, u64::MAX, DEFAULT_NUMWANT, Event::None));
        assert_eq!(got.ip, Some([1, 2, 3, 4].into()));
        assert_eq!(got.form, PeersForm::Dictionaries { without_ids: true });
    }

    #[test]
    fn bad_queries_are_named() {
        for (query, want) in [
            (String::new(), QueryError::Missing("info_hash")),
            (HASH.to_owned(), QueryError::Missing("peer_id")),
            (format!("{HASH}&{ID}"), QueryError::Missing("port")),
            (format!("{HASH}x&{ID}&port=1"), QueryError::Invalid("info_hash")),
            (format!("{HASH}&peer_id=%b&port=1"), QueryError::Invalid("peer_id")),
            (format!("{HASH}&{ID}&port=0"), QueryError::Invalid("port")),
            (format!("{HASH}&{ID}&port=65536"), QueryError::Invalid("port")),
            (format!("{HASH}&{ID}&port=1&left=x"), QueryError::Invalid("left")),
        ] {
            assert_eq!(parse_announce(&query), Err(want), "{query}");
        }
        assert_eq!(parse_scrape(""), Err(QueryError::Missing("info_hash")));
        let many = vec![HASH; MAX_SCRAPE_HASHES + 1].join("&");
        assert_eq!(parse_scrape(&many), Err(QueryError::TooManyHashes));
    }

    #[test]
    fn scrape_lists_each_hash_once() {
        let counts = Counts { complete: 1, incomplete: 2, downloaded: 3 };
        let (a, b) = (Sha1Hash([b'a'; 20]), Sha1Hash([b'b'; 20]));
        let reply = scrape_reply(&[(b, counts), (a, counts), (b, counts)]);
        let entry = "d8:completei1e10:downloadedi3e10:incompletei2ee";
        let (a, b) = ("a".repeat(20), "b".repeat(20));
        let want = format!("d5:filesd20:{a}{entry}20:{b}{entry}ee");
        assert_eq!(String::from_utf8_lossy(&reply), want);
    }

    fn request() -> impl Strategy<Value = AnnounceRequest> {
        let event = prop::sample::select(vec![
            Event::None,
            Event::Started,
            Event::Completed,
            Event::Stopped,
        ]);
        let numbers =
            (1u16.., any::<u64>(), any::<u64>(), any::<u64>(), 0..1u32 << 31, any::<u32>());
        let id = prop::option::of(prop::collection::vec(any::<u8>(), 0..40));
        (any::<[u8; 20]>(), any::<[u8; 20]>(), numbers, event, id).prop_map(
            |(
                hash,
                peer_id,
                (port, uploaded, downloaded, left, numwant, key),
                event,
                tracker_id,
            )| {
                AnnounceRequest {
                    info_hash: Sha1Hash(hash),
                    peer_id: PeerId(peer_id),
                    port,
                    uploaded,
                    downloaded,
                    left,
                    event,
                    numwant,
                    key,
                    tracker_id,
                    crypto: Crypto::default(),
                    families: Families::Any,
                }
            },
        )
    }

    proptest! {
        #[test]
        fn what_the_client_writes_the_tracker_reads(request in request()) {
            let query = announce_query(&request);
            let got = parse_announce(&query).expect("valid");
            prop_assert_eq!(got.request, request);
        }

        #[test]
        fn what_the_tracker_writes_the_client_reads(
            peers in prop::collection::btree_map(any::<(bool, [u8; 4], u16)>(), any::<[u8; 20]>(), 0..30),
            form in prop::sample::select(vec![
                PeersForm::Compact,
                PeersForm::Dictionaries { without_ids: true },
                PeersForm::Dictionaries { without_ids: false },
            ]),
            interval in any::<u32>(),
            warning in prop::option::of("[a-z]{1,20}"),
        ) {
            let peers: Vec<SwarmPeer> = peers.into_iter().map(|((v6, [a, b, c, d], port), id)| {
                let ip: IpAddr = if v6 {
                    [0x20, 1, a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1].into()
                } else {
                    [a % 200 + 1, b, c, d].into()
                };
                SwarmPeer { addr: (ip, port.max(1)).into(), peer_id: PeerId(id) }
            }).collect();
            let mut want: Vec<_> = peers.iter().map(|p| p.addr).collect();
            let answer = Answer { peers, counts: Counts { complete: 7, incomplete: 8, downloaded: 9 }, listed: true };
            let bytes = announce_reply(&answer, form, interval, 1, [9, 9, 9, 9].into(), warning.as_deref());
            let reply = parse_reply(&bytes).expect("valid");
            let mut got = reply.peers;
            got.sort_unstable();
            want.sort_unstable();
            want.dedup();
            // Multicast addresses are not given back by the reader; none is made above.
            prop_assert_eq!(got, want);
            prop_assert_eq!((reply.seeds, reply.leeches), (Some(7), Some(8)));
            prop_assert_eq!(reply.interval.as_secs(), u64::from(interval));
            prop_assert_eq!(reply.external_ip, Some([9, 9, 9, 9].into()));
            prop_assert_eq!(reply.warning, warning);
        }

        #[test]
        fn arbitrary_queries_never_panic(query in "[ -~]{0,200}") {
            let _ = parse_announce(&query);
            let _ = parse_scrape(&query);
        }
    }
}
