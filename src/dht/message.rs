//! KRPC: queries, replies and errors as datagrams (BEP 5, *KRPC Protocol*; 32, 43, 44, 51).
//!
//! A message that was read borrows from its datagram, so that reading one allocates nothing. What it
//! asks for and whether it is believed is decided by [`super::Node`].

use std::net::SocketAddr;

use super::id::NodeId;
use crate::{
    base::{
        compact,
        hash::Sha1Hash,
        limits::{MAX_DHT_DATAGRAM, MAX_DHT_NODES_READ, MAX_DHT_TRANSACTION},
    },
    bencode::{
        Dict, Limits, List, Value,
        write::{self, DictWriter},
    },
};

/// Our name and version in every message: `DP`, and the two numbers of the version.
const VERSION: &[u8] = b"DP\x00\x01";
/// Compact length of an IPv4 node and of an IPv6 one: its id before its address.
const NODE_LEN: [usize; 2] = [20 + compact::V4_LEN, 20 + compact::V6_LEN];

/// Codes of errors (BEP 5, *Errors*; BEP 44, *Errors*).
pub mod code {
    /// The other side does not want to.
    pub const SERVER: u16 = 202;
    /// A malformed message, an invalid argument, a bad token.
    pub const PROTOCOL: u16 = 203;
    /// A query nobody here knows.
    pub const UNKNOWN_METHOD: u16 = 204;
    /// An item's value is too big.
    pub const TOO_BIG: u16 = 205;
    /// An item's signature is wrong.
    pub const SIGNATURE: u16 = 206;
    /// An item's salt is too big.
    pub const SALT_TOO_BIG: u16 = 207;
    /// The item that was to be replaced is not the one expected.
    pub const CAS_MISMATCH: u16 = 301;
    /// A newer item is stored.
    pub const OLD_SEQUENCE: u16 = 302;
}

/// One message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message<'a> {
    /// Names the query to which a reply belongs; chosen by whoever asks.
    pub transaction: &'a [u8],
    /// Our address as the other side sees it (BEP 42).
    pub ip: Option<SocketAddr>,
    /// What it says.
    pub body: Body<'a>,
}

/// What a message says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body<'a> {
    /// A question.
    Query(Query<'a>),
    /// An answer.
    Reply(Reply<'a>),
    /// A refusal.
    Error {
        /// One of [`code`].
        code: i64,
        /// For people to read.
        text: &'a [u8],
    },
}

/// A question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Query<'a> {
    /// Who asks; a query that we do not know need not say.
    pub id: Option<NodeId>,
    /// It does not answer queries itself: nothing for a routing table (BEP 43).
    pub read_only: bool,
    /// Of which address families nodes are wanted (BEP 32).
    pub want: Want,
    /// What is asked.
    pub method: Method<'a>,
}

/// The address families of which nodes are wanted (BEP 32, *The want parameter*).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Want {
    /// `n4`.
    pub v4: bool,
    /// `n6`.
    pub v6: bool,
}

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method<'a> {
    /// Are you there?
    Ping,
    /// Which nodes are close to this id?
    FindNode(NodeId),
    /// Who has this torrent?
    GetPeers(Sha1Hash),
    /// We have this torrent.
    AnnouncePeer {
        /// Which.
        info_hash: Sha1Hash,
        /// Where; `None` is where the query comes from.
        port: Option<u16>,
        /// What the node gave out to this address.
        token: &'a [u8],
    },
    /// What is stored there (BEP 44)?
    Get {
        /// Where.
        target: NodeId,
        /// A mutable item only if it is newer than this.
        newer_than: Option<i64>,
    },
    /// Store this (BEP 44).
    Put {
        /// What the node gave out to this address.
        token: &'a [u8],
        /// What to store.
        item: RawItem<'a>,
        /// Only in place of the item with this sequence number.
        cas: Option<i64>,
    },
    /// Some torrents that you know peers of (BEP 51).
    SampleInfohashes(NodeId),
    /// Something we do not know, close to this id if it names one.
    Unknown,
}

/// An item as it travels (BEP 44): nothing of it is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RawItem<'a> {
    /// The value, bencoded.
    pub value: &'a [u8],
    /// Its owner, if it is mutable.
    pub signed: Option<RawSigned<'a>>,
}

/// What makes an item mutable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RawSigned<'a> {
    /// The public key.
    pub key: &'a [u8],
    /// Tells items of one key apart; not in replies.
    pub salt: &'a [u8],
    /// Grows with every change.
    pub sequence: i64,
    /// By the key, over salt, sequence number and value.
    pub signature: &'a [u8],
}

/// An answer. What it does not hold is empty or `None`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reply<'a> {
    /// Who answers.
    pub id: NodeId,
    nodes: [&'a [u8]; 2],
    /// Lets us store something there.
    pub token: Option<&'a [u8]>,
    values: Option<List<'a>>,
    /// An item that is stored there.
    pub item: Option<RawItem<'a>>,
    samples: Option<&'a [u8]>,
    /// Torrents that it knows peers of.
    pub num: Option<u64>,
    /// Seconds until other samples are given.
    pub interval: Option<u64>,
}

/// Why a datagram is no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageError<'a> {
    /// It makes no sense: not worth an answer.
    Nonsense,
    /// A query that names its transaction, with something missing or wrong.
    BadQuery(&'a [u8]),
}

impl<'a> Message<'a> {
    /// Reads a datagram.
    ///
    /// # Errors
    /// [`MessageError`]: nothing was made of it.
    pub fn decode(datagram: &'a [u8]) -> Result<Self, MessageError<'a>> {
        use MessageError::Nonsense;
        if datagram.len() > MAX_DHT_DATAGRAM {
            return Err(Nonsense);
        }
        let value = Value::scan(datagram, Limits::DHT).map_err(|_| Nonsense)?;
        let dict = value.as_dict().ok_or(Nonsense)?;
        let bytes = |key: &[u8]| dict.get(key).and_then(Value::as_bytes);
        let transaction = bytes(b"t").filter(|t| t.len() <= MAX_DHT_TRANSACTION).ok_or(Nonsense)?;
        let ip = bytes(b"ip").and_then(address);
        let body = match bytes(b"y") {
            Some(b"q") => Body::Query(query(dict).ok_or(MessageError::BadQuery(transaction))?),
            Some(b"r") => Body::Reply(reply(dict).ok_or(Nonsense)?),
            Some(b"e") => {
                let mut parts = dict.get(b"e").and_then(Value::as_list).ok_or(Nonsense)?.iter();
                let code = parts.next().and_then(Value::as_i64).ok_or(Nonsense)?;
                let text = parts.next().and_then(Value::as_bytes).unwrap_or_default();
                Body::Error { code, text }
            }
            _ => return Err(Nonsense),
        };
        Ok(Message { transaction, ip, body })
    }
}

fn query(dict: Dict<'_>) -> Option<Query<'_>> {
    let arguments = dict.get(b"a")?.as_dict()?;
    let read_only = dict.get(b"ro").and_then(Value::as_u64) == Some(1);
    let id = id(arguments, b"id");
    let mut want = Want::default();
    for family in arguments.get(b"want").and_then(Value::as_list).iter().flat_map(|w| w.iter()) {
        want.v4 |= family.as_bytes() == Some(b"n4");
        want.v6 |= family.as_bytes() == Some(b"n6");
    }
    let hash = |key: &[u8]| self::id(arguments, key);
    let method = match dict.get(b"q")?.as_bytes()? {
        b"ping" => Method::Ping,
        b"find_node" => Method::FindNode(hash(b"target")?),
        b"get_peers" => Method::GetPeers(hash(b"info_hash")?.into()),
        b"announce_peer" => {
            let implied = arguments.get(b"implied_port").and_then(Value::as_u64);
            let port = match implied.unwrap_or(0) {
                0 => {
                    let port = arguments.get(b"port")?.as_u64()?;
                    Some(u16::try_from(port).ok().filter(|&port| port != 0)?)
                }
                _ => None,
            };
            let token = arguments.get(b"token")?.as_bytes()?;
            Method::AnnouncePeer { info_hash: hash(b"info_hash")?.into(), port, token }
        }
        b"get" => Method::Get {
            target: hash(b"target")?,
            newer_than: arguments.get(b"seq").and_then(Value::as_i64),
        },
        b"put" => Method::Put {
            token: arguments.get(b"token")?.as_bytes()?,
            item: item(arguments)?,
            cas: arguments.get(b"cas").and_then(Value::as_i64),
        },
        b"sample_infohashes" => Method::SampleInfohashes(hash(b"target")?),
        _ => Method::Unknown,
    };
    (id.is_some() || method == Method::Unknown).then_some(Query { id, read_only, want, method })
}

fn reply(dict: Dict<'_>) -> Option<Reply<'_>> {
    let results = dict.get(b"r")?.as_dict()?;
    let mut reply = Reply {
        id: NodeId([0; 20]),
        nodes: [&[], &[]],
        token: None,
        values: None,
        item: item(results),
        samples: None,
        num: None,
        interval: None,
    };
    let mut id = None;
    for (key, value) in results.iter() {
        match key {
            b"id" => id = value.as_bytes().and_then(|id| id.try_into().ok()),
            b"nodes" => reply.nodes[0] = value.as_bytes().unwrap_or_default(),
            b"nodes6" => reply.nodes[1] = value.as_bytes().unwrap_or_default(),
            b"token" => reply.token = value.as_bytes(),
            b"values" => reply.values = value.as_list(),
            b"samples" => reply.samples = value.as_bytes(),
            b"num" => reply.num = value.as_u64(),
            b"interval" => reply.interval = value.as_u64(),
            _ => {}
        }
    }
    Some(Reply { id: NodeId(id?), ..reply })
}

/// The item among the arguments of a `put` or the results of a `get`.
fn item(dict: Dict<'_>) -> Option<RawItem<'_>> {
    let value = dict.get(b"v")?.raw();
    let signed = match dict.get(b"k") {
        None => None,
        Some(key) => Some(RawSigned {
            key: key.as_bytes()?,
            salt: dict.get(b"salt").and_then(Value::as_bytes).unwrap_or_default(),
            sequence: dict.get(b"seq")?.as_i64()?,
            signature: dict.get(b"sig")?.as_bytes()?,
        }),
    };
    Some(RawItem { value, signed })
}

fn id(dict: Dict<'_>, key: &[u8]) -> Option<NodeId> {
    dict.get(key)?.as_bytes()?.try_into().ok().map(NodeId)
}

/// One compact address of either family.
fn address(bytes: &[u8]) -> Option<SocketAddr> {
    match bytes.len() {
        compact::V4_LEN => compact::v4_peers(bytes).next(),
        compact::V6_LEN => compact::v6_peers(bytes).next(),
        _ => None,
    }
}

fn compacted(addr: SocketAddr) -> Vec<u8> {
    let (mut v4, mut v6) = (Vec::new(), Vec::new());
    compact::push(addr, &mut v4, &mut v6);
    if v4.is_empty() { v6 } else { v4 }
}

impl<'a> Reply<'a> {
    /// The nodes it names, of both families; no more than a node may name.
    pub fn nodes(&self) -> impl Iterator<Item = (NodeId, SocketAddr)> + 'a {
        let family = |family: usize| {
            let nodes = self.nodes[family].chunks_exact(NODE_LEN[family]);
            nodes.take(MAX_DHT_NODES_READ).filter_map(|node| {
                let (id, addr) = node.split_at(20);
                Some((NodeId(id.try_into().ok()?), address(addr)?))
            })
        };
        family(0).chain(family(1))
    }

    /// The peers it names, of both families.
    pub fn peers(&self) -> impl Iterator<Item = SocketAddr> + 'a {
        let values = self.values;
        values.into_iter().flat_map(List::iter).filter_map(|peer| address(peer.as_bytes()?))
    }

    /// The torrents it names; `None` if it does not know the question.
    pub fn samples(&self) -> Option<impl Iterator<Item = Sha1Hash> + 'a> {
        let hashes = self.samples?.as_chunks::<20>().0;
        Some(hashes.iter().map(|hash| Sha1Hash(*hash)))
    }
}

/// A query as a datagram.
pub fn encode_query(transaction: &[u8], query: &Query<'_>) -> Vec<u8> {
    let name = match query.method {
        Method::Ping => "ping",
        Method::FindNode(_) => "find_node",
        Method::GetPeers(_) => "get_peers",
        Method::AnnouncePeer { .. } => "announce_peer",
        Method::Get { .. } => "get",
        Method::Put { .. } => "put",
        Method::SampleInfohashes(_) => "sample_infohashes",
        Method::Unknown => "unknown",
    };
    message(transaction, "q", |message| {
        message.dict("a", |a| {
            if let Some(id) = query.id {
                a.bytes("id", id.0);
            }
            match query.method {
                Method::Ping | Method::Unknown => {}
                Method::FindNode(target) | Method::SampleInfohashes(target) => {
                    a.bytes("target", target.0);
                }
                Method::GetPeers(info_hash) => a.bytes("info_hash", info_hash.0),
                Method::AnnouncePeer { info_hash, port, token } => {
                    a.bytes("info_hash", info_hash.0);
                    a.int("implied_port", i128::from(port.is_none()));
                    a.int("port", port.unwrap_or(1));
                    a.bytes("token", token);
                }
                Method::Get { target, newer_than } => {
                    if let Some(sequence) = newer_than {
                        a.int("seq", sequence);
                    }
                    a.bytes("target", target.0);
                }
                Method::Put { token, item, cas } => {
                    if let Some(sequence) = cas {
                        a.int("cas", sequence);
                    }
                    a.bytes("token", token);
                    write_item(a, &item);
                }
            }
            if query.want != Want::default() {
                a.list("want", |want| {
                    if query.want.v4 {
                        want.bytes("n4");
                    }
                    if query.want.v6 {
                        want.bytes("n6");
                    }
                });
            }
        });
        message.bytes("q", name);
        if query.read_only {
            message.int("ro", 1);
        }
    })
}

/// A reply as a datagram: to the node at `to`, with what `fill` adds to our id.
pub fn encode_reply(
    transaction: &[u8],
    to: SocketAddr,
    id: NodeId,
    fill: impl FnOnce(&mut DictWriter<'_>),
) -> Vec<u8> {
    message(transaction, "r", |message| {
        message.bytes("ip", compacted(to));
        message.dict("r", |r| {
            r.bytes("id", id.0);
            fill(r);
        });
    })
}

/// A refusal as a datagram.
pub fn encode_error(transaction: &[u8], to: SocketAddr, code: u16, text: &str) -> Vec<u8> {
    message(transaction, "e", |message| {
        message.bytes("ip", compacted(to));
        message.list("e", |e| {
            e.int(code);
            e.bytes(text);
        });
    })
}

fn message(
    transaction: &[u8],
    kind: &'static str,
    fill: impl FnOnce(&mut DictWriter<'_>),
) -> Vec<u8> {
    write::dict(|message| {
        fill(message);
        message.bytes("t", transaction);
        message.bytes("v", VERSION);
        message.bytes("y", kind);
    })
}

/// Adds nodes to a reply (BEP 5, *Contact Encoding*; BEP 32).
pub fn write_nodes(r: &mut DictWriter<'_>, nodes: &[(NodeId, SocketAddr)], v6: bool) {
    let mut compact = Vec::with_capacity(nodes.len() * NODE_LEN[usize::from(v6)]);
    for (id, addr) in nodes {
        compact.extend_from_slice(&id.0);
        compact.extend_from_slice(&compacted(*addr));
    }
    r.bytes(if v6 { "nodes6" } else { "nodes" }, compact);
}

/// Adds peers to a reply.
pub fn write_peers(r: &mut DictWriter<'_>, peers: impl Iterator<Item = SocketAddr>) {
    r.list("values", |values| peers.for_each(|peer| values.bytes(compacted(peer))));
}

/// Adds an item to a query or a reply.
pub fn write_item(dict: &mut DictWriter<'_>, item: &RawItem<'_>) {
    if let Some(signed) = &item.signed {
        dict.bytes("k", signed.key);
        if !signed.salt.is_empty() {
            dict.bytes("salt", signed.salt);
        }
        dict.int("seq", signed.sequence);
        dict.bytes("sig", signed.signature);
    }
    if let Ok(value) = Value::scan(item.value, Limits::DHT) {
        dict.value("v", value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: NodeId = NodeId(*b"abcdefghij0123456789");
    const TARGET: NodeId = NodeId(*b"mnopqrstuvwxyz123456");

    fn addr(text: &str) -> SocketAddr {
        text.parse().expect("valid")
    }

    fn queried(datagram: &[u8]) -> Query<'_> {
        match Message::decode(datagram).expect("a message").body {
            Body::Query(query) => query,
            other => panic!("{other:?}"),
        }
    }

    fn replied(datagram: &[u8]) -> Reply<'_> {
        match Message::decode(datagram).expect("a message").body {
            Body::Reply(reply) => reply,
            other => panic!("{other:?}"),
        }
    }

    /// The examples of BEP 5, *DHT Queries*.
    #[test]
    fn the_examples_of_the_specification_are_understood() {
        let method = |text: &'static str| queried(text.as_bytes()).method;
        assert_eq!(
            method("d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t2:aa1:y1:qe"),
            Method::Ping
        );
        assert_eq!(
            method(
                "d1:ad2:id20:abcdefghij01234567896:target20:mnopqrstuvwxyz123456e1:q9:find_node\
                 1:t2:aa1:y1:qe"
            ),
            Method::FindNode(TARGET)
        );
        assert_eq!(
            method(
                "d1:ad2:id20:abcdefghij01234567899:info_hash20:mnopqrstuvwxyz123456e1:q9:get_peers\
                 1:t2:aa1:y1:qe"
            ),
            Method::GetPeers(TARGET.into())
        );
        assert_eq!(
            method(
                "d1:ad2:id20:abcdefghij012345678912:implied_porti1e9:info_hash20:\
                 mnopqrstuvwxyz1234564:porti6881e5:token8:aoeusnthe1:q13:announce_peer1:t2:aa1:y1:qe"
            ),
            Method::AnnouncePeer { info_hash: TARGET.into(), port: None, token: b"aoeusnth" }
        );
        let reply = "d1:rd2:id20:abcdefghij01234567895:token8:aoeusnth6:valuesl6:axje.u6:idhtnmee\
                     1:t2:aa1:y1:re";
        let reply = replied(reply.as_bytes());
        assert_eq!((reply.id, reply.token), (ID, Some(&b"aoeusnth"[..])));
        let peers = ["97.120.106.101:11893", "105.100.104.116:28269"].map(addr);
        assert!(reply.peers().eq(peers));
        let error = b"d1:eli201e23:A Generic Error Ocurrede1:t2:aa1:y1:ee";
        let body = Message::decode(error).expect("a message").body;
        assert_eq!(body, Body::Error { code: 201, text: b"A Generic Error Ocurred" });
    }

    #[test]
    fn queries_come_out_as_they_went_in() {
        let signed = RawSigned { key: &[1; 32], salt: b"salt", sequence: 7, signature: &[2; 64] };
        let (token, info_hash) = (&b"tok"[..], Sha1Hash(TARGET.0));
        for method in [
            Method::Ping,
            Method::FindNode(TARGET),
            Method::GetPeers(info_hash),
            Method::AnnouncePeer { info_hash, port: Some(6881), token },
            Method::AnnouncePeer { info_hash, port: None, token },
            Method::Get { target: TARGET, newer_than: None },
            Method::Get { target: TARGET, newer_than: Some(-3) },
            Method::Put { token, item: RawItem { value: b"i5e", signed: None }, cas: None },
            Method::Put {
                token,
                item: RawItem { value: b"l1:ae", signed: Some(signed) },
                cas: Some(6),
            },
            Method::SampleInfohashes(TARGET),
            Method::Unknown,
        ] {
            for want in [Want::default(), Want { v4: true, v6: true }, Want { v4: false, v6: true }]
            {
                let query = Query { id: Some(ID), read_only: want.v6, want, method };
                let datagram = encode_query(b"xy", &query);
                assert_eq!(queried(&datagram), query);
                assert_eq!(Message::decode(&datagram).expect("ours").transaction, b"xy");
            }
        }
    }

    #[test]
    fn replies_come_out_as_they_went_in() {
        let v4 = [(ID, addr("1.2.3.4:5")), (TARGET, addr("6.7.8.9:10"))];
        let v6 = [(TARGET, addr("[2001:db8::1]:6881"))];
        let peers = [addr("1.1.1.1:1"), addr("[2001:db8::2]:2")];
        let datagram = encode_reply(b"t1", addr("[2001:db8::9]:99"), ID, |r| {
            write_nodes(r, &v4, false);
            write_nodes(r, &v6, true);
            r.bytes("token", "secret");
            write_peers(r, peers.into_iter());
            r.bytes("samples", [ID.0, TARGET.0].concat());
            r.int("num", 9);
            r.int("interval", 60);
        });
        assert_eq!(Message::decode(&datagram).expect("ours").ip, Some(addr("[2001:db8::9]:99")));
        let reply = replied(&datagram);
        assert!(reply.nodes().eq(v4.into_iter().chain(v6)));
        assert!(reply.peers().eq(peers));
        assert!(reply.samples().expect("samples").eq([ID, TARGET].map(Sha1Hash::from)));
        assert_eq!((reply.num, reply.interval), (Some(9), Some(60)));
        let error = encode_error(b"t1", addr("1.2.3.4:5"), code::UNKNOWN_METHOD, "no");
        let body = Message::decode(&error).expect("ours").body;
        assert_eq!(body, Body::Error { code: 204, text: b"no" });
    }

    #[test]
    fn nonsense_is_told_from_a_bad_query() {
        use MessageError::{BadQuery, Nonsense};
        let long = format!("d1:t{}:{}1:y1:qe", 99, "x".repeat(99));
        for (datagram, error) in [
            ("", Nonsense),
            ("hello", Nonsense),
            ("de", Nonsense),
            ("d1:y1:qe", Nonsense),
            (&long, Nonsense),
            ("d1:t2:aa1:y1:ze", Nonsense),
            ("d1:t2:aa1:y1:re", Nonsense),
            ("d1:rd2:id19:abcdefghij012345678e1:t2:aa1:y1:re", Nonsense),
            ("d1:ei5e1:t2:aa1:y1:ee", Nonsense),
            ("d1:t2:aa1:y1:qe", BadQuery(b"aa")),
            ("d1:ade1:q4:ping1:t2:aa1:y1:qe", BadQuery(b"aa")),
            ("d1:ad2:id20:abcdefghij0123456789e1:q9:find_node1:t2:aa1:y1:qe", BadQuery(b"aa")),
        ] {
            assert_eq!(Message::decode(datagram.as_bytes()), Err(error), "{datagram}");
        }
        // No announce without a port, nor with one that cannot be.
        for port in ["", "4:porti0e", "4:porti65536e", "4:porti-1e"] {
            let query = format!(
                "d1:ad2:id20:abcdefghij01234567899:info_hash20:mnopqrstuvwxyz123456{port}5:token\
                 1:xe1:q13:announce_peer1:t2:aa1:y1:qe"
            );
            assert_eq!(Message::decode(query.as_bytes()), Err(BadQuery(b"aa")));
        }
    }

    #[test]
    fn a_reply_names_no_more_nodes_than_it_may() {
        let many = vec![(ID, addr("1.2.3.4:5")); 40];
        let datagram = encode_reply(b"t", addr("9.9.9.9:9"), ID, |r| write_nodes(r, &many, false));
        assert_eq!(replied(&datagram).nodes().count(), MAX_DHT_NODES_READ);
        let mut odd = datagram.clone();
        odd.truncate(odd.len() - 1);
        assert_eq!(Message::decode(&odd), Err(MessageError::Nonsense));
    }
}
