//! The door of the DHT: datagrams of nodes, asked for or not. Whatever comes, the program goes on, stays small
//! and answers the next honest node; and a peer that is named beside lies is found.

use std::net::SocketAddr;

use crate::{
    bytes::times,
    driver::{
        bencode::Value,
        content::Content,
        node::{Node, Query, compact},
        peer::{Hello, Listener, PLAIN},
        program::Place,
    },
    table::{Attack, Bound, try_all},
};

/// Resident memory of a seed or a download with its code.
const NODE: Bound = Bound::SMALL.memory(64);

/// What a node sends to the program, which is at that address.
type Sends = fn(&Node, SocketAddr);
/// What a node answers to a search for a torrent; the last argument is the one right peer, compact.
type Lies = fn(&Node, &Query, &[u8]);

fn text(bytes: impl AsRef<[u8]>) -> Value {
    Value::bytes(bytes)
}

/// The program is there, small, and answers an honest node.
fn is_well(mut program: crate::driver::program::Program) {
    let at = program.dht();
    Node::new(0x77).insist(at);
    assert!(program.is_alive(), "{}", program.talk());
    assert!(program.peak_memory() < u64::from(NODE.memory) << 10, "{}", program.peak_memory());
    program.signal("-INT");
    program.end();
}

#[test]
fn queries() {
    let row = |name, input: Sends| Attack::new(name, input, ());
    let rows = vec![
        row("nested lists", |node, at| {
            (0..200).for_each(|_| node.send(at, &times("l", 1_400)));
            node.send(at, &[&b"d1:ad1:x"[..], &times("l", 600), &times("e", 600), b"ee"].concat());
        }),
        row("lengths that lie", |node, at| {
            for lie in ["99999999999999999999:", "9999999:x", "d1:a9999:", "i99999999999999999999e"]
            {
                (0..50).for_each(|_| node.send(at, lie.as_bytes()));
            }
        }),
        row("datagrams longer than any message", |node, at| {
            (0..50).for_each(|_| node.send(at, &times("d1:a1:b", 8_000)));
        }),
        row("a flood of questions", |node, at| {
            let target = [("target", text([5; 20]))];
            (0..3_000).for_each(|_| node.query(at, "find_node", &target));
        }),
        row("answers to what nobody asked", |node, at| {
            let r = Value::dict([("id", text([5; 20])), ("nodes", text(times("x", 26 * 8)))]);
            for t in 0..3_000u32 {
                let reply =
                    Value::dict([("r", r.clone()), ("t", text(t.to_be_bytes())), ("y", text("r"))]);
                node.send(at, &reply.write());
            }
        }),
        row("very many torrents announced", |node, at| {
            let token = node.ask(at, "get_peers", &[("info_hash", text([5; 20]))]);
            let token = token.at("r").at("token").clone();
            for n in 0..4_000u32 {
                let info_hash = [&n.to_be_bytes()[..], &[0; 16]].concat();
                let announce = [
                    ("info_hash", text(info_hash)),
                    ("port", Value::Int(1)),
                    ("token", token.clone()),
                ];
                node.query(at, "announce_peer", &announce);
            }
        }),
        row("things stored that are no items", |node, at| {
            let token = node.ask(at, "get", &[("target", text([5; 20]))]);
            let token = token.at("r").at("token").clone();
            for n in 0..2_000i64 {
                let put = [
                    ("k", text([7; 32])),
                    ("seq", Value::Int(n)),
                    ("sig", text([9; 64])),
                    ("token", token.clone()),
                    ("v", text(times("v", 900))),
                ];
                node.query(at, "put", &put);
            }
        }),
        row("every id there is", |node, at| {
            let mut node = node.again();
            for n in 0..3_000u32 {
                node.id[..4].copy_from_slice(&n.to_be_bytes());
                node.query(at, "ping", &[]);
            }
        }),
    ];
    try_all("nodes that ask", rows, |row| {
        let (place, content, node) = (Place::new(), Content::new(2), Node::new(1));
        let mut program = place.seed(&content, &["--dht-bootstrap", &node.name()]);
        let at = program.dht();
        (row.input)(&node, at);
        is_well(program);
    });
}

#[test]
fn answers() {
    let row = |name, input: Lies| Attack::new(name, input, ());
    let rows = vec![
        row("peers that are nobody", |node, query, right| {
            let nobody = ["0.0.0.0:0", "0.0.0.0:9", "224.0.0.1:9", "127.0.0.1:0"];
            let mut values: Vec<Value> =
                nobody.map(|addr| text(compact(addr.parse().expect("valid")))).into();
            values.extend([text("odd"), text(times("x", 19)), Value::Int(5), text(right)]);
            node.reply(query, &[("values", Value::List(values)), ("token", text("t"))]);
        }),
        row("nodes that are nobody", |node, query, right| {
            let nobody = ["0.0.0.0:0", "0.0.0.0:9", "224.0.0.1:9", "127.0.0.1:0"];
            let nodes =
                nobody.map(|addr| [&[1; 20][..], &compact(addr.parse().expect("valid"))].concat());
            let values = Value::List(vec![text(right)]);
            let nodes = text([&nodes.concat()[..], b"half"].concat());
            node.reply(query, &[("nodes", nodes), ("values", values)]);
        }),
        row("the program itself as a node and as a peer", |node, query, right| {
            let itself = [&[1; 20][..], &compact(query.from)].concat();
            let values = Value::List(vec![text(compact(query.from)), text(right)]);
            node.reply(query, &[("nodes", text(itself)), ("values", values)]);
        }),
        row("a token as long as a datagram", |node, query, right| {
            let values = Value::List(vec![text(right)]);
            node.reply(query, &[("token", text(times("t", 1_200))), ("values", values)]);
        }),
        row("everything of the wrong kind", |node, query, right| {
            let wrong = [
                ("nodes", Value::Int(1)),
                ("nodes6", Value::List(Vec::new())),
                ("token", Value::Int(2)),
                ("values", text("no list")),
            ];
            node.reply(query, &wrong);
            let query = node.wait_for("get_peers");
            node.reply(&query, &[("values", Value::List(vec![text(right)]))]);
        }),
        row("an error first", |node, query, right| {
            let e = Value::List(vec![Value::Int(202), text("not now \u{1b}[2J")]);
            let t = query.message.at("t").clone();
            let error = Value::dict([("e", e), ("t", t), ("y", text("e"))]);
            node.send(query.from, &error.write());
            let query = node.wait_for("get_peers");
            node.reply(&query, &[("values", Value::List(vec![text(right)]))]);
        }),
        row("an address of ours that is not ours", |node, query, right| {
            let values = Value::List(vec![text(right)]);
            let r = Value::dict([("id", text(node.id)), ("values", values)]);
            let lie = Value::dict([
                ("ip", text([203, 0, 113, 9, 0, 1])),
                ("r", r),
                ("t", query.message.at("t").clone()),
                ("y", text("r")),
            ]);
            node.send(query.from, &lie.write());
        }),
    ];
    try_all("nodes that are asked", rows, |row| {
        let (place, content, node) = (Place::new(), Content::new(2), Node::new(1));
        let right = Listener::new();
        let program = place.leech(&content, &[], &["--dht-bootstrap", &node.name()]);
        let query = node.wait_for("get_peers");
        (row.input)(&node, &query, &compact(right.addr));
        right.greet(&Hello::new(&content, PLAIN));
        is_well(program);
    });
}
