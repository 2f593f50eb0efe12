//! The UDP tracker protocol as bytes and values, both sides (BEP 15, BEP 41).
//!
//! Who sends what when is in [`super::udp_client`] (ours) and [`super::udp_host`] (the embedded
//! tracker's); sockets are in `net`. IPv6 differs only in the length of a peer, which follows from the
//! family of the socket.

use std::net::SocketAddr;

use super::{
    announce::{AnnounceReply, AnnounceRequest, Crypto, Event, Families, printable},
    scrape::ScrapeCounts,
};
use crate::base::{
    compact,
    hash::Sha1Hash,
    id::PeerId,
    limits::{MAX_PEERS_PER_REPLY, MAX_UDP_SCRAPE_HASHES, MAX_URL_BYTES},
};

/// First eight bytes of a connect request.
const PROTOCOL: u64 = 0x0417_2710_1980;
/// Bytes of an announce request before its options.
const ANNOUNCE_LEN: usize = 98;

const CONNECT: u32 = 0;
const ANNOUNCE: u32 = 1;
const SCRAPE: u32 = 2;
const ERROR: u32 = 3;

/// Options behind an announce (BEP 41).
const OPTION_END: u8 = 0;
const OPTION_NOP: u8 = 1;
const OPTION_URL_DATA: u8 = 2;

/// What a client sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// It wants a connection id.
    Connect,
    /// It announces.
    Announce {
        /// The id that the tracker gave.
        connection: u64,
        /// What is announced; `tracker_id` has no place in it.
        request: AnnounceRequest,
        /// Path and query of the tracker's URL (BEP 41), which may hold a passkey; may be empty.
        url_data: Vec<u8>,
    },
    /// It asks how many there are.
    Scrape {
        /// The id that the tracker gave.
        connection: u64,
        /// The torrents; 74 at most.
        info_hashes: Vec<Sha1Hash>,
    },
}

/// What a tracker sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Response {
    /// A connection id.
    Connect {
        /// To be sent with requests, for one minute.
        connection: u64,
    },
    /// The answer to an announce.
    Announce(AnnounceReply),
    /// The answer to a scrape, in the order of the request.
    Scrape(Vec<ScrapeCounts>),
    /// It refuses.
    Error {
        /// Why; printable.
        reason: String,
    },
}

/// What is wrong with a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UdpError {
    /// It ends too early.
    #[error("a datagram of {length} bytes is too short")]
    Short {
        /// Its length.
        length: usize,
    },
    /// It is none of the known ones.
    #[error("{0} is not a known action")]
    Action(u32),
    /// It begins as no connect request does.
    #[error("it is not of the UDP tracker protocol")]
    Protocol,
    /// A port of 0, or options that run over their end.
    #[error("{0} is not valid")]
    Invalid(&'static str),
}

/// Bytes that are read from the front.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], UdpError> {
        let (first, rest) =
            self.0.split_first_chunk().ok_or(UdpError::Short { length: self.0.len() })?;
        self.0 = rest;
        Ok(*first)
    }

    fn u16(&mut self) -> Result<u16, UdpError> {
        self.take().map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> Result<u32, UdpError> {
        self.take().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Result<u64, UdpError> {
        self.take().map(u64::from_be_bytes)
    }

    fn rest(self) -> &'a [u8] {
        self.0
    }
}

impl Request {
    /// The datagram.
    pub fn encode(&self, transaction: u32) -> Vec<u8> {
        let mut out = Vec::with_capacity(ANNOUNCE_LEN);
        match self {
            Request::Connect => {
                out.extend(PROTOCOL.to_be_bytes());
                out.extend(CONNECT.to_be_bytes());
                out.extend(transaction.to_be_bytes());
            }
            Request::Announce { connection, request, url_data } => {
                out.extend(connection.to_be_bytes());
                out.extend(ANNOUNCE.to_be_bytes());
                out.extend(transaction.to_be_bytes());
                out.extend(request.info_hash.0);
                out.extend(request.peer_id.0);
                for amount in [request.downloaded, request.left, request.uploaded] {
                    out.extend(amount.to_be_bytes());
                }
                out.extend(event_number(request.event).to_be_bytes());
                // Our address: the tracker takes the one it sees.
                out.extend([0; 4]);
                out.extend(request.key.to_be_bytes());
                out.extend(i32::try_from(request.numwant).unwrap_or(-1).to_be_bytes());
                out.extend(request.port.to_be_bytes());
                for part in url_data.chunks(255) {
                    out.extend([OPTION_URL_DATA, part.len() as u8]);
                    out.extend(part);
                }
            }
            Request::Scrape { connection, info_hashes } => {
                out.extend(connection.to_be_bytes());
                out.extend(SCRAPE.to_be_bytes());
                out.extend(transaction.to_be_bytes());
                out.extend(info_hashes.iter().take(MAX_UDP_SCRAPE_HASHES).flat_map(|h| h.0));
            }
        }
        out
    }

    /// The request in a datagram, and its transaction.
    pub fn decode(datagram: &[u8]) -> Result<(u32, Request), UdpError> {
        let mut reader = Reader(datagram);
        let (connection, action, transaction) = (reader.u64()?, reader.u32()?, reader.u32()?);
        let request = match action {
            CONNECT if connection == PROTOCOL => Request::Connect,
            CONNECT => return Err(UdpError::Protocol),
            ANNOUNCE => {
                let info_hash = Sha1Hash(reader.take()?);
                let peer_id = PeerId(reader.take()?);
                let (downloaded, left, uploaded) = (reader.u64()?, reader.u64()?, reader.u64()?);
                let event = event_of(reader.u32()?);
                let _ip: [u8; 4] = reader.take()?;
                let (key, numwant, port) = (reader.u32()?, reader.u32()?, reader.u16()?);
                if port == 0 {
                    return Err(UdpError::Invalid("port"));
                }
                let request = AnnounceRequest {
                    info_hash,
                    peer_id,
                    port,
                    uploaded,
                    downloaded,
                    left,
                    event,
                    // A negative number, -1 in the specification, says as many as there are.
                    numwant: if numwant > i32::MAX as u32 { u32::MAX } else { numwant },
                    key,
                    tracker_id: None,
                    crypto: Crypto::default(),
                    families: Families::Any,
                };
                let url_data = url_data(reader.rest())?;
                Request::Announce { connection, request, url_data }
            }
            SCRAPE => {
                let (hashes, _) = reader.rest().as_chunks::<20>();
                let hashes = hashes.iter().take(MAX_UDP_SCRAPE_HASHES);
                Request::Scrape { connection, info_hashes: hashes.map(|&h| Sha1Hash(h)).collect() }
            }
            other => return Err(UdpError::Action(other)),
        };
        Ok((transaction, request))
    }
}

impl Response {
    /// The datagram, to a client over IPv6 if `v6`. Peers of the other family have no place in it.
    pub fn encode(&self, transaction: u32, v6: bool) -> Vec<u8> {
        let action = match self {
            Response::Connect { .. } => CONNECT,
            Response::Announce(_) => ANNOUNCE,
            Response::Scrape(_) => SCRAPE,
            Response::Error { .. } => ERROR,
        };
        let mut out = [action.to_be_bytes(), transaction.to_be_bytes()].concat();
        match self {
            Response::Connect { connection } => out.extend(connection.to_be_bytes()),
            Response::Announce(reply) => {
                let interval = u32::try_from(reply.interval.as_secs()).unwrap_or(u32::MAX);
                for number in
                    [interval, reply.leeches.unwrap_or_default(), reply.seeds.unwrap_or_default()]
                {
                    out.extend(number.to_be_bytes());
                }
                let (mut four, mut six) = (Vec::new(), Vec::new());
                reply.peers.iter().for_each(|&peer| compact::push(peer, &mut four, &mut six));
                out.extend(if v6 { six } else { four });
            }
            Response::Scrape(all) => {
                for counts in all {
                    for number in [counts.seeds, counts.completed, counts.leeches] {
                        out.extend(number.to_be_bytes());
                    }
                }
            }
            Response::Error { reason } => out.extend(reason.as_bytes()),
        }
        out
    }

    /// The response in a datagram from a tracker at an IPv6 address if `v6`, and its transaction.
    pub fn decode(datagram: &[u8], v6: bool) -> Result<(u32, Response), UdpError> {
        let mut reader = Reader(datagram);
        let (action, transaction) = (reader.u32()?, reader.u32()?);
        let response = match action {
            CONNECT => Response::Connect { connection: reader.u64()? },
            ANNOUNCE => {
                let (interval, leeches, seeds) = (reader.u32()?, reader.u32()?, reader.u32()?);
                let bytes = reader.rest();
                let mut peers: Vec<SocketAddr> = match v6 {
                    true => compact::v6_peers(bytes).map(compact::canonical).collect(),
                    false => compact::v4_peers(bytes).collect(),
                };
                peers.retain(|peer| peer.port() != 0);
                peers.sort_unstable();
                peers.dedup();
                peers.truncate(MAX_PEERS_PER_REPLY);
                Response::Announce(AnnounceReply {
                    interval: std::time::Duration::from_secs(interval.into()),
                    peers,
                    seeds: Some(seeds),
                    leeches: Some(leeches),
                    ..AnnounceReply::default()
                })
            }
            SCRAPE => {
                let (all, _) = reader.rest().as_chunks::<12>();
                let counts = |bytes: &[u8; 12]| {
                    let mut reader = Reader(bytes);
                    Ok(ScrapeCounts {
                        seeds: reader.u32()?,
                        completed: reader.u32()?,
                        leeches: reader.u32()?,
                    })
                };
                let all = all.iter().take(MAX_UDP_SCRAPE_HASHES);
                Response::Scrape(all.map(counts).collect::<Result<_, UdpError>>()?)
            }
            ERROR => Response::Error { reason: printable(reader.rest()) },
            other => return Err(UdpError::Action(other)),
        };
        Ok((transaction, response))
    }
}

const fn event_number(event: Event) -> u32 {
    match event {
        // There is no number for it (BEP 15).
        Event::None | Event::Paused => 0,
        Event::Completed => 1,
        Event::Started => 2,
        Event::Stopped => 3,
    }
}

/// An event from a later version is a regular announce.
const fn event_of(number: u32) -> Event {
    match number {
        1 => Event::Completed,
        2 => Event::Started,
        3 => Event::Stopped,
        _ => Event::None,
    }
}

/// Path and query in the options behind an announce.
fn url_data(mut options: &[u8]) -> Result<Vec<u8>, UdpError> {
    let mut url = Vec::new();
    while let Some((&kind, rest)) = options.split_first() {
        options = rest;
        match kind {
            OPTION_END => break,
            OPTION_NOP => {}
            _ => {
                let (&length, rest) = options.split_first().ok_or(UdpError::Invalid("option"))?;
                let data = rest.get(..length.into()).ok_or(UdpError::Invalid("option"))?;
                options = &rest[length.into()..];
                if kind == OPTION_URL_DATA && url.len() + data.len() <= MAX_URL_BYTES {
                    url.extend_from_slice(data);
                }
            }
        }
    }
    Ok(url)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    pub(in crate::tracker) fn request() -> AnnounceRequest {
        AnnounceRequest {
            info_hash: Sha1Hash([0xab; 20]),
            peer_id: PeerId(*b"-DP0100-abcdefghijkl"),
            port: 6881,
            uploaded: 3,
            downloaded: 1,
            left: 2,
            event: Event::Started,
            numwant: 50,
            key: 0x0102_0304,
            tracker_id: None,
            crypto: Crypto::default(),
            families: Families::Any,
        }
    }

    #[test]
    fn a_connect_request_is_the_one_of_the_specification() {
        let bytes = Request::Connect.encode(0x1122_3344);
        assert_eq!(bytes, *b"\x00\x00\x04\x17\x27\x10\x19\x80\x00\x00\x00\x00\x11\x22\x33\x44");
        assert_eq!(Request::decode(&bytes), Ok((0x1122_3344, Request::Connect)));
        let mut other = bytes.clone();
        other[3] = 0;
        assert_eq!(Request::decode(&other), Err(UdpError::Protocol));
    }

    #[test]
    fn an_announce_request_has_its_fields_where_they_belong() {
        let announce =
            Request::Announce { connection: 9, request: request(), url_data: Vec::new() };
        let bytes = announce.encode(7);
        assert_eq!(bytes.len(), ANNOUNCE_LEN);
        assert_eq!(bytes[8..16], [0, 0, 0, 1, 0, 0, 0, 7]);
        assert_eq!(
            bytes[56..80],
            [0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 3]
        );
        assert_eq!(bytes[80..], [0, 0, 0, 2, 0, 0, 0, 0, 1, 2, 3, 4, 0, 0, 0, 50, 0x1a, 0xe1]);
        assert_eq!(Request::decode(&bytes), Ok((7, announce)));
    }

    /// Found by fuzzing: it came back as another number.
    #[test]
    fn a_negative_numwant_is_as_many_as_there_are() {
        let many = AnnounceRequest { numwant: u32::MAX, ..request() };
        let announce = Request::Announce { connection: 9, request: many, url_data: Vec::new() };
        let mut bytes = announce.encode(7);
        bytes[95] = 7;
        assert_eq!(Request::decode(&bytes), Ok((7, announce)));
    }

    #[test]
    fn a_long_path_takes_several_options() {
        let url_data = vec![b'x'; 600];
        let announce =
            Request::Announce { connection: 9, request: request(), url_data: url_data.clone() };
        let bytes = announce.encode(7);
        assert_eq!(bytes.len(), ANNOUNCE_LEN + 600 + 3 * 2);
        assert_eq!(Request::decode(&bytes), Ok((7, announce)));
        let mut padded = bytes[..ANNOUNCE_LEN].to_vec();
        padded.extend([OPTION_NOP, 77, 1, 5, OPTION_URL_DATA, 1, b'/', OPTION_END, 2]);
        let Ok((_, Request::Announce { url_data, .. })) = Request::decode(&padded) else {
            panic!()
        };
        assert_eq!(url_data, b"/");
        padded.truncate(ANNOUNCE_LEN + 3);
        assert_eq!(Request::decode(&padded), Err(UdpError::Invalid("option")));
    }

    #[test]
    fn peers_are_as_long_as_their_family_has_it() {
        let peers: Vec<SocketAddr> =
            ["1.2.3.4:5", "[2001:db8::1]:6"].map(|peer| peer.parse().expect("valid")).into();
        let reply = AnnounceReply {
            interval: Duration::from_secs(1800),
            seeds: Some(4),
            leeches: Some(3),
            peers: peers.clone(),
            ..AnnounceReply::default()
        };
        for (v6, length, peer) in [(false, 6, peers[0]), (true, 18, peers[1])] {
            let bytes = Response::Announce(reply.clone()).encode(7, v6);
            assert_eq!(bytes.len(), 20 + length);
            let Ok((7, Response::Announce(got))) = Response::decode(&bytes, v6) else { panic!() };
            assert_eq!((got.peers, got.seeds, got.leeches), (vec![peer], Some(4), Some(3)));
        }
    }

    #[test]
    fn other_responses_survive_their_bytes() {
        let counts = ScrapeCounts { seeds: 1, completed: 2, leeches: 3 };
        for response in [
            Response::Connect { connection: u64::MAX },
            Response::Scrape(vec![counts, ScrapeCounts::default()]),
            Response::Error { reason: "no such torrent".into() },
        ] {
            assert_eq!(Response::decode(&response.encode(9, false), false), Ok((9, response)));
        }
        let short = Response::decode(&[0; 15], false);
        assert_eq!(short, Err(UdpError::Short { length: 7 }));
    }

    proptest! {
        #[test]
        fn strangers_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), v6: bool) {
            let _ = Response::decode(&bytes, v6);
            if let Ok((transaction, request)) = Request::decode(&bytes) {
                let again = Request::decode(&request.encode(transaction));
                prop_assert_eq!(again, Ok((transaction, request)));
            }
        }
    }
}
