//! BEP 5, *DHT protocol*: the program as a node that is asked and as one that asks. What takes minutes
//! (secrets of tokens, questionable nodes, refreshes) is left to the unit tests; networks of thousands are
//! in `tests/dht.rs`.

use std::{collections::BTreeSet, net::SocketAddr};

use crate::driver::{
    bencode::Value,
    content::Content,
    node::{Node, compact},
    peer::{Hello, Listener, Message, PLAIN, Peer},
    program::{Place, Program},
};

/// `reserved[7] & 0x01`.
const DHT: [u8; 8] = [0, 0, 0, 0, 0, 0, 0, 0x01];

pub(crate) fn bytes(value: &Value) -> Vec<u8> {
    match value {
        Value::Bytes(bytes) => bytes.clone(),
        other => panic!("no string: {other:?}"),
    }
}

/// The program with a torrent, and a node by which it enters.
pub(crate) struct Scene {
    _place: Place,
    content: Content,
    program: Program,
    pub(crate) at: SocketAddr,
    pub(crate) node: Node,
}

impl Scene {
    pub(crate) fn new(number: u8) -> Self {
        let (place, content, node) = (Place::new(), Content::new(2), Node::new(number));
        let mut program = place.seed(&content, &["--dht-bootstrap", &node.name()]);
        let at = program.dht();
        Scene { _place: place, content, program, at, node }
    }

    fn info_hash(&self) -> Value {
        Value::bytes(self.content.info_hash())
    }
}

pub(crate) fn is_error(message: &Value, code: i64) {
    assert_eq!(message.at("y"), &Value::bytes(b"e"), "{message:?}");
    let Value::List(error) = message.at("e") else { panic!("no list: {message:?}") };
    assert_eq!(error[0], Value::Int(code), "{message:?}");
    assert!(matches!(error[1], Value::Bytes(_)), "{message:?}");
}

/// "The most basic query is a ping. […] The appropriate response to a ping has a single key "id" containing
/// the node ID of the responding node." The transaction id "should be echoed in the response".
#[test]
fn a_ping_is_answered_with_an_id() {
    let s = Scene::new(1);
    let reply = s.node.ask(s.at, "ping", &[]);
    assert_eq!(reply.at("y"), &Value::bytes(b"r"));
    assert_eq!(reply.at("t"), &Value::bytes(b"xy"));
    assert_eq!(bytes(reply.at("r").at("id")).len(), 20);
    assert_eq!(reply.at("r"), s.node.ask(s.at, "ping", &[]).at("r"), "it stays the same");
}

/// "203 Protocol Error, such as a malformed packet, invalid arguments, or bad token"; "204 Method
/// Unknown". What is no message at all is not answered.
#[test]
fn wrong_queries_get_their_errors_and_nonsense_gets_nothing() {
    let s = Scene::new(1);
    is_error(&s.node.ask(s.at, "make_coffee", &[]), 204);
    is_error(&s.node.ask(s.at, "find_node", &[]), 203);
    is_error(&s.node.ask(s.at, "get_peers", &[("info_hash", Value::bytes([1; 19]))]), 203);
    for nonsense in ["", "hello", "de", "d1:t2:aae", "d1:t2:aa1:y1:qe ", "li1ee"] {
        s.node.send(s.at, nonsense.as_bytes());
    }
    s.node.send(s.at, &[b'l'; 1_400]);
    assert_eq!(s.node.ask(s.at, "ping", &[]).at("y"), &Value::bytes(b"r"));
}

/// "When a node receives a find_node query, it should respond with a key "nodes" and value of a string
/// containing the compact node info for the target node or the K (8) closest good nodes in its own
/// routing table."
#[test]
fn find_node_names_the_eight_closest() {
    let s = Scene::new(0x80);
    let others: Vec<Node> = (1..=12).map(Node::new).collect();
    others.iter().for_each(|node| node.get_known(s.at));
    let reply = s.node.ask(s.at, "find_node", &[("target", Value::bytes([0; 20]))]);
    let nodes = bytes(reply.at("r").at("nodes"));
    let (nodes, rest) = nodes.as_chunks::<26>();
    assert!(rest.is_empty());
    let ids: Vec<u8> = nodes.iter().map(|node| node[0]).collect();
    assert!(nodes.len() == 8 && ids.is_sorted() && ids[0] == 1, "{ids:?}");
    assert_eq!(nodes[0][20..], compact(others[0].addr()));
}

/// "If the queried node has no peers for the infohash, a key "nodes" is returned […] In either case a
/// "token" key is also included in the return value." Then "announce_peer": "The queried node must
/// verify that the token was previously sent to the same IP address".
#[test]
fn peers_are_stored_for_whoever_shows_its_token() {
    let s = Scene::new(1);
    let info_hash = ("info_hash", Value::bytes([7; 20]));
    let find = std::slice::from_ref(&info_hash);
    let reply = s.node.ask(s.at, "get_peers", find);
    assert!(reply.at("r").get("nodes").is_some() && reply.at("r").get("values").is_none());
    let token = ("token", reply.at("r").at("token").clone());
    let port = ("port", Value::Int(6_881));
    let forged = ("token", Value::bytes(b"aoeusnth"));
    let announce = |entries: &[(&str, Value)]| s.node.ask(s.at, "announce_peer", entries);
    is_error(&announce(&[info_hash.clone(), port.clone(), forged]), 203);
    let reply = announce(&[info_hash.clone(), port.clone(), token.clone()]);
    assert_eq!(reply.at("y"), &Value::bytes(b"r"), "{reply:?}");
    // "If it is present and non-zero, the port argument should be ignored and the source port of the
    // UDP packet should be used as the peer's port instead."
    let implied = ("implied_port", Value::Int(1));
    let other = Node::new(2);
    let theirs = other.ask(s.at, "get_peers", find);
    let theirs = ("token", theirs.at("r").at("token").clone());
    other.ask(s.at, "announce_peer", &[info_hash.clone(), port, theirs, implied]);
    let reply = s.node.ask(s.at, "get_peers", find);
    let Value::List(values) = reply.at("r").at("values") else { panic!("{reply:?}") };
    let values: BTreeSet<Vec<u8>> = values.iter().map(bytes).collect();
    let wanted = [SocketAddr::from(([127, 0, 0, 1], 6_881)), other.addr()].map(compact);
    assert_eq!(values, wanted.into());
}

/// "The client should announce itself to the closest nodes", with the token that it was given; it is
/// reached at the port it announces.
#[test]
fn the_program_looks_for_peers_and_announces_itself() {
    let mut s = Scene::new(1);
    let query = s.node.wait_for("get_peers");
    assert_eq!(query.argument("info_hash"), &s.info_hash());
    assert_eq!(bytes(query.argument("id")).len(), 20);
    s.node.reply(&query, &[("nodes", Value::bytes(b"")), ("token", Value::bytes(b"a token"))]);
    let query = s.node.wait_for("announce_peer");
    assert_eq!(query.argument("info_hash"), &s.info_hash());
    assert_eq!(query.argument("token"), &Value::bytes(b"a token"));
    assert_eq!(query.argument("port"), &Value::Int(s.program.port().into()));
    assert_eq!(query.argument("implied_port"), &Value::Int(0));
    s.node.reply(&query, &[]);
}

/// The values of a reply are peers: they are dialled.
#[test]
fn peers_that_a_node_names_are_dialled() {
    let (place, content, node) = (Place::new(), Content::new(2), Node::new(1));
    let listener = Listener::new();
    let _program = place.leech(&content, &[], &["--dht-bootstrap", &node.name()]);
    let query = node.wait_for("get_peers");
    let values = Value::List(vec![Value::bytes(compact(listener.addr))]);
    node.reply(&query, &[("values", values), ("token", Value::bytes(b"t"))]);
    listener.greet(&Hello::new(&content, PLAIN));
}

/// "Peers supporting the DHT set the last bit of the 8-byte reserved flags […] Peer receiving a
/// handshake indicating the remote peer supports the DHT should send a PORT message."
#[test]
fn peers_tell_each_other_where_their_nodes_are() {
    let mut s = Scene::new(1);
    let (mut peer, hello) = Peer::connect(s.program.port(), &Hello::new(&s.content, DHT));
    assert_eq!(hello.reserved[7] & 0x01, 0x01);
    let (port, _) = peer.read_until(|message| matches!(message, Message::Port(_)));
    assert_eq!(port, Message::Port(s.at.port()));
    let other = Node::new(9);
    peer.send(Message::Port(other.addr().port()));
    assert_eq!(other.hear().0, s.at, "it is asked something");
}

/// BEP 27: "A torrent with the private flag […] peers only through the tracker": nothing of it is said to
/// any node, nor that there is one.
#[test]
fn a_private_torrent_is_not_spoken_of() {
    let (place, node) = (Place::new(), Node::new(1));
    let content = Content::new(2).private();
    let mut program = place.seed(&content, &["--dht-bootstrap", &node.name()]);
    let (_, hello) = Peer::connect(program.port(), &Hello::new(&content, DHT));
    assert_eq!(hello.reserved[7] & 0x01, 0);
    // It answers when asked; it has asked nobody, or its question would have come first.
    node.query(program.dht(), "ping", &[]);
    assert_eq!(node.hear().1.at("y"), &Value::bytes(b"r"));
}

/// A download that knows nothing but a hash and one node is complete.
#[test]
fn a_node_is_enough_to_get_a_torrent_by_its_hash() {
    let (place, content) = (Place::new(), Content::new(3));
    let first = Node::new(1);
    let mut seeder = place.seed(&content, &["--dht-bootstrap", &first.name()]);
    let entrance = seeder.dht().to_string();
    let hash: String = content.info_hash().iter().map(|byte| format!("{byte:02x}")).collect();
    let own = ["download", &hash, "-o", "out", "--port", "0", "--no-ipv6"];
    let mut leecher = place.start(&[&own[..], &["--dht-bootstrap", &entrance]].concat());
    // The seeder's announce needs somebody who keeps it: the leecher's node does.
    drop(first);
    leecher.until("metadata");
    leecher.wait("done", |object| object["event"] == "done");
    assert_eq!(place.downloaded(&content), content.bytes);
}
