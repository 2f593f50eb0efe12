//! BEP 44, *storing arbitrary data in the DHT*, and the small extensions of the DHT: BEP 32 (`want`), 42
//! (`ip`), 43 (`ro`), 51 (`sample_infohashes`). The program is the node that is asked; what it asks itself
//! is in the unit tests of `net/dht.rs`.

use crate::{
    bep_5::{Scene, bytes, is_error},
    driver::{
        bencode::Value,
        node::{Node, compact},
    },
};

/// The key and the signatures of BEP 44, *Test Vectors*, for `Hello World!` and number 1, without salt and
/// with `foobar`.
const KEY: &str = "77ff84905a91936367c01360803104f92432fcd904a43511876df5cdf3e7e548";
const PLAIN: &str = "305ac8aeb6c9c151fa120f120ea2cfb923564e11552d06a5d856091e5e853cff\
                     1260d3f39e4999684aa92eb73ffd136e6f4f3ecbfda0ce53a1608ecd7ae21f01";
const SALTED: &str = "6834284b6b24c3204eb2fea824d82f88883a3d95e8b4a21b8c0ded553d17d17d\
                      df9a8a7104b1258f30bed3787e6cb896fca78c58f8e03b5f18f14951a87d9a08";
const PLAIN_AT: &str = "4a533d47ec9c7d95b1ad75f576cffc641853b750";
const SALTED_AT: &str = "411eba73b6f087ca51a3795d9c8c938d365e32c1";
const IMMUTABLE_AT: &str = "e5f96f6f38320f0f33959cb4d3d656452117aadb";

fn hex(text: &str) -> Value {
    let digit = |i: usize| u8::from_str_radix(&text[i..i + 2], 16).expect("hex");
    Value::Bytes((0..text.len()).step_by(2).map(digit).collect())
}

fn hello() -> Value {
    Value::bytes(b"Hello World!")
}

/// The results of a `get`.
fn get(s: &Scene, target: &str) -> Value {
    let reply = s.node.ask(s.at, "get", &[("target", hex(target))]);
    reply.at("r").clone()
}

/// A `put` of these things, with the token that belongs to it.
fn put(s: &Scene, entries: &[(&str, Value)]) -> Value {
    let token = ("token", get(s, PLAIN_AT).at("token").clone());
    s.node.ask(s.at, "put", &[&[token], entries].concat())
}

fn signed(signature: &str) -> Vec<(&'static str, Value)> {
    vec![("k", hex(KEY)), ("seq", Value::Int(1)), ("sig", hex(signature)), ("v", hello())]
}

/// "Immutable items are stored under their SHA-1 hash": put, then given.
#[test]
fn an_immutable_item_is_kept_under_its_hash() {
    let s = Scene::new(1);
    assert!(get(&s, IMMUTABLE_AT).get("v").is_none());
    assert_eq!(put(&s, &[("v", hello())]).at("y"), &Value::bytes(b"r"));
    assert_eq!(get(&s, IMMUTABLE_AT).at("v"), &hello());
    // "any bencoded type".
    let list = Value::List(vec![Value::Int(5), Value::dict([("a", Value::Int(1))])]);
    assert_eq!(put(&s, &[("v", list)]).at("y"), &Value::bytes(b"r"));
}

/// "The write-token […] the same semantics": nothing is stored without it.
#[test]
fn nothing_is_stored_for_who_has_no_token() {
    let s = Scene::new(1);
    let forged = [("token", Value::bytes(b"12345678")), ("v", hello())];
    is_error(&s.node.ask(s.at, "put", &forged), 203);
    assert!(get(&s, IMMUTABLE_AT).get("v").is_none());
}

/// The test vectors: stored under the hash of key and salt, given with key, number and signature; the salt
/// "is not returned".
#[test]
fn mutable_items_are_kept_under_their_key_and_salt() {
    let s = Scene::new(1);
    let salt = ("salt", Value::bytes(b"foobar"));
    assert_eq!(put(&s, &signed(PLAIN)).at("y"), &Value::bytes(b"r"));
    assert_eq!(put(&s, &[&[salt][..], &signed(SALTED)].concat()).at("y"), &Value::bytes(b"r"));
    for (target, signature) in [(PLAIN_AT, PLAIN), (SALTED_AT, SALTED)] {
        let found = get(&s, target);
        assert_eq!((found.at("v"), found.at("seq")), (&hello(), &Value::Int(1)));
        assert_eq!((found.at("k"), found.at("sig")), (&hex(KEY), &hex(signature)));
        assert!(found.get("salt").is_none());
    }
    // "If a stored item exists but its sequence number is less than or equal to the seq field then the
    // k, v, and sig fields should be omitted".
    let known = [("seq", Value::Int(1)), ("target", hex(PLAIN_AT))];
    let found = s.node.ask(s.at, "get", &known).at("r").clone();
    assert!(found.get("v").is_none() && found.get("k").is_none() && found.get("sig").is_none());
    assert_eq!(found.at("seq"), &Value::Int(1));
}

/// The errors: 205 too big, 206 invalid signature, 207 salt too big, 301 CAS mismatch, 302 older than what
/// is stored.
#[test]
fn what_cannot_be_stored_gets_its_error() {
    let s = Scene::new(1);
    is_error(&put(&s, &[("v", Value::bytes([b'x'; 1_000]))]), 205);
    is_error(&put(&s, &signed(SALTED)), 206);
    let salt = ("salt", Value::bytes([b's'; 65]));
    is_error(&put(&s, &[&[salt][..], &signed(PLAIN)].concat()), 207);
    put(&s, &signed(PLAIN));
    let cas = ("cas", Value::Int(7));
    is_error(&put(&s, &[&[cas][..], &signed(PLAIN)].concat()), 301);
    // The same again only says that it is still wanted.
    assert_eq!(put(&s, &signed(PLAIN)).at("y"), &Value::bytes(b"r"));
}

/// BEP 51: "Nodes supporting this extension should always include the samples field"; `num` and
/// `interval` (0 to 21600 seconds) beside it.
#[test]
fn the_torrents_that_were_announced_are_sampled() {
    let s = Scene::new(1);
    let find = [("info_hash", Value::bytes([7; 20]))];
    let token = s.node.ask(s.at, "get_peers", &find).at("r").at("token").clone();
    let announce = [find[0].clone(), ("port", Value::Int(9)), ("token", token)];
    s.node.ask(s.at, "announce_peer", &announce);
    let sample = [("target", Value::bytes([0; 20]))];
    let found = s.node.ask(s.at, "sample_infohashes", &sample).at("r").clone();
    assert_eq!(bytes(found.at("samples")), [7; 20]);
    assert_eq!(found.at("num"), &Value::Int(1));
    assert!((0..=21_600).contains(&found.at("interval").int()));
    assert!(found.get("nodes").is_some());
}

/// BEP 32: nodes of the families that are wanted are named, of one that there is no table for as little as
/// of one that is not wanted. BEP 42: "all DHT responses SHOULD include a top-level field called ip".
#[test]
fn want_is_obeyed_and_the_asker_is_told_its_address() {
    let s = Scene::new(1);
    s.node.get_known(s.at);
    let target = ("target", Value::bytes([0; 20]));
    let want = |families: &[&str]| {
        let families = families.iter().map(Value::bytes).collect();
        [target.clone(), ("want", Value::List(families))]
    };
    let reply = s.node.ask(s.at, "find_node", &want(&["n4", "n6"]));
    assert_eq!(bytes(reply.at("r").at("nodes")).len(), 26);
    assert_eq!(bytes(reply.at("ip")), compact(s.node.addr()));
    let reply = s.node.ask(s.at, "find_node", &want(&["n6"]));
    assert!(reply.at("r").get("nodes").is_none());
}

/// BEP 43: a node that says `ro` is answered and not kept.
#[test]
fn a_read_only_node_is_answered_and_not_kept() {
    let (s, other) = (Scene::new(1), Node::new(0x40));
    let query = Value::dict([
        ("a", Value::dict([("id", Value::bytes(other.id))])),
        ("q", Value::bytes(b"ping")),
        ("ro", Value::Int(1)),
        ("t", Value::bytes(b"zz")),
        ("y", Value::bytes(b"q")),
    ]);
    other.send(s.at, &query.write());
    assert_eq!(other.hear().1.at("t"), &Value::bytes(b"zz"));
    s.node.get_known(s.at);
    let found = s.node.ask(s.at, "find_node", &[("target", Value::bytes(other.id))]);
    let nodes = bytes(found.at("r").at("nodes"));
    assert!(nodes.chunks_exact(26).all(|node| node[..20] != other.id));
}
