//! `dht`: questions to the distributed hash table.
//!
//! Answers are data, one a line; how the search went is talk.

use std::{
    fs,
    io::{self, Write as _},
    net::SocketAddr,
    path::Path,
};

use data_encoding::HEXLOWER_PERMISSIVE as HEX;
use serde::Serialize;
use tokio::time::Instant;

use super::{
    args::{self, DhtQuestion},
    create::plural,
    exit::{Exit, Failure},
    input::{self, Named},
    network::{named, state_dir},
    outlet,
    terminal::{Terminal, printable},
};
use crate::session::{
    DhtOptions, Outlet,
    dht_tool::{
        self, DhtTool, Found, Item, ItemError, NodeId, Question, Search, SecretKey, Summary,
        target_of, text_of, value_of,
    },
    peer_names,
};

#[derive(Serialize)]
struct Node {
    addr: SocketAddr,
    node_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    ms: Option<f64>,
}

#[derive(Serialize)]
struct Peer {
    addr: SocketAddr,
}

#[derive(Serialize)]
struct Value<'a> {
    target: &'a str,
    text: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    seq: Option<i64>,
}

#[derive(Serialize)]
struct Torrent {
    info_hash: String,
}

#[derive(Serialize, Default)]
struct Done {
    nodes_asked: u32,
    nodes_answered: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    stored: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    exit: u8,
}

impl Done {
    fn of(summary: &Summary, exit: Exit) -> Self {
        let Summary { asked: nodes_asked, answered: nodes_answered, .. } = *summary;
        Done { nodes_asked, nodes_answered, exit: exit.code(), ..Done::default() }
    }
}

pub(super) async fn run(args: &args::Dht, terminal: Terminal) -> Result<Exit, Failure> {
    let way = &args.way;
    let outlet = outlet::open(&way.outlet).await?;
    // What is wrong with the question is said before anybody is asked.
    let asked = Asked::of(&args.question, way, &outlet).await?;
    let bootstrap = named(&way.dht_bootstrap);
    let options = DhtOptions { port: way.dht_port, bootstrap, read_only: true };
    let state_dir = state_dir(way.state_dir.as_deref(), terminal)?;
    let tool = DhtTool::start(&options, &outlet, !way.no_ipv6, state_dir.as_deref())
        .map_err(|e| Failure::new(Exit::Network, e.to_string()))?;
    if let Asked::Ping(addr) = asked {
        return ping(&tool, addr, terminal).await;
    }
    if !tool.enter(way.timeout).await {
        let failure = Failure::new(Exit::Network, "no node of the DHT has answered");
        return Err(failure.remedy("Name one with --dht-bootstrap, or see that UDP gets out."));
    }
    match asked {
        Asked::Ping(addr) => ping(&tool, addr, terminal).await,
        Asked::Find(info_hash) => find(&tool, info_hash, terminal).await,
        Asked::Get { target, salt } => get(&tool, target, salt, terminal).await,
        Asked::Put { text, key, salt } => put(&tool, &text, key, &salt, terminal).await,
        Asked::Sample(target) => sample(&tool, target, terminal).await,
    }
}

/// A question that makes sense.
enum Asked {
    Ping(SocketAddr),
    Find(NodeId),
    Get { target: NodeId, salt: Vec<u8> },
    Put { text: String, key: Option<SecretKey>, salt: Vec<u8> },
    Sample(NodeId),
}

impl Asked {
    async fn of(
        question: &DhtQuestion,
        way: &args::DhtWay,
        outlet: &Outlet,
    ) -> Result<Self, Failure> {
        Ok(match question {
            DhtQuestion::Ping { node } => {
                let addrs = peer_names::resolve(node, outlet).await;
                let addrs =
                    addrs.map_err(|e| Failure::new(Exit::Network, e.to_string()).cause(&e))?;
                let usable = |addr: &&SocketAddr| addr.is_ipv4() || !way.no_ipv6;
                let none = || Failure::new(Exit::Network, format!("{node} has no IPv4 address"));
                Asked::Ping(*addrs.iter().find(usable).ok_or_else(none)?)
            }
            DhtQuestion::Find { torrent } => {
                let info_hash = match Named::of(torrent).magnet() {
                    Some(magnet) => magnet?.info_hash,
                    None => input::torrent(torrent, &way.outlet, None).await?.info.info_hash(),
                };
                Asked::Find(info_hash.wire().into())
            }
            DhtQuestion::Get { target, salt } => {
                let salt = salt.clone().into_bytes();
                Asked::Get { target: target_at(target, &salt)?, salt }
            }
            DhtQuestion::Put { text, key, salt } => {
                let key = key.as_deref().map(secret_key).transpose()?;
                Asked::Put { text: text.clone(), key, salt: salt.clone().into_bytes() }
            }
            DhtQuestion::Sample { hash } => Asked::Sample(match hash {
                Some(hash) => *hash,
                None => NodeId(random()?),
            }),
        })
    }
}

/// Where `text` says: a hash, or a public key with a salt.
fn target_at(text: &str, salt: &[u8]) -> Result<NodeId, Failure> {
    if let Ok(target) = text.parse() {
        return Ok(target);
    }
    let key = HEX.decode(text.as_bytes()).ok().and_then(|key| key.try_into().ok());
    let wrong = || Failure::new(Exit::Input, format!("`{text}` is neither a hash nor a key"));
    Ok(target_of(&key.ok_or_else(wrong)?, salt))
}

fn random<const N: usize>() -> Result<[u8; N], Failure> {
    dht_tool::random().map_err(|e| Failure::new(Exit::Unexpected, e.to_string()))
}

/// The secret key in the file at `path`, which is made, for its owner only, if there is none.
fn secret_key(path: &Path) -> Result<SecretKey, Failure> {
    let wrong = |what: &str| Failure::new(Exit::Input, format!("{what} `{}`", path.display()));
    match fs::read_to_string(path) {
        Ok(text) => {
            let seed = HEX.decode(text.trim().as_bytes()).ok().and_then(|s| s.try_into().ok());
            let seed: [u8; 32] = seed.ok_or_else(|| {
                wrong("there are no 64 hexadecimal digits of a secret key in the file")
            })?;
            Ok(SecretKey::from_seed(&seed))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let seed: [u8; 32] = random()?;
            let mut options = fs::OpenOptions::new();
            options.write(true).create_new(true);
            #[cfg(unix)]
            std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
            options
                .open(path)
                .and_then(|mut file| writeln!(file, "{}", HEX.encode(&seed)))
                .map_err(|e| {
                    let message = format!("could not write the key file `{}`", path.display());
                    Failure::new(Exit::Disk, message).cause(&e)
                })?;
            Ok(SecretKey::from_seed(&seed))
        }
        Err(error) => Err(wrong("could not read the key file").cause(&error)),
    }
}

/// The last answer of a search, with those before it given to `each`.
async fn to_the_end(
    mut search: Search,
    mut each: impl FnMut(Found) -> Result<(), Failure>,
) -> Result<Summary, Failure> {
    while let Some(found) = search.next().await {
        match found {
            Found::Ended(summary) => return Ok(summary),
            found => each(found)?,
        }
    }
    Err(Failure::new(Exit::Unexpected, "the search ended early"))
}

async fn ping(tool: &DhtTool, addr: SocketAddr, terminal: Terminal) -> Result<Exit, Failure> {
    let begin = Instant::now();
    let summary = to_the_end(tool.ask(Question::Ping(addr)), |_| Ok(())).await?;
    let ms = begin.elapsed().as_secs_f64() * 1e3;
    let Some(node) = summary.closest.first() else {
        return Err(Failure::new(Exit::Network, format!("no answer from {addr}")));
    };
    if terminal.json {
        let node_id = node.id.to_string();
        terminal.event("node", &Node { addr, node_id, ms: Some(ms) })?;
        terminal.event("done", &Done::of(&summary, Exit::Done))?;
    } else {
        terminal.data(&format!("{addr}  {}  {ms:.1} ms", node.id))?;
    }
    Ok(Exit::Done)
}

async fn find(tool: &DhtTool, hash: NodeId, terminal: Terminal) -> Result<Exit, Failure> {
    let mut peers = 0;
    let search = tool.ask(Question::Peers(hash.into(), None));
    let summary = to_the_end(search, |found| {
        let Found::Peers(addrs) = found else { return Ok(()) };
        for addr in addrs {
            peers += 1;
            match terminal.json {
                true => terminal.event("peer", &Peer { addr })?,
                false => terminal.data(&addr.to_string())?,
            }
        }
        Ok(())
    })
    .await?;
    if peers == 0 {
        return Err(nothing(&summary, format!("no peer of {hash} is known")));
    }
    end(terminal, &summary, &plural(peers, "peer"))
}

async fn get(
    tool: &DhtTool,
    target: NodeId,
    salt: Vec<u8>,
    terminal: Terminal,
) -> Result<Exit, Failure> {
    let mut item = None;
    let search = tool.ask(Question::Get { target, salt });
    let summary = to_the_end(search, |found| {
        if let Found::Item(found) = found {
            item = Some(found);
        }
        Ok(())
    })
    .await?;
    let Some(item) = item else {
        return Err(nothing(&summary, format!("nothing is stored at {target}")));
    };
    let bytes = text_of(item.value());
    if terminal.json {
        let text = &String::from_utf8_lossy(bytes);
        terminal
            .event("value", &Value { target: &target.to_string(), text, seq: item.sequence() })?;
    } else {
        match terminal.tables_aligned {
            // Anybody may have stored it.
            true => terminal.data(&printable(&String::from_utf8_lossy(bytes)))?,
            // As it is: it is piped somewhere.
            false => terminal.raw(&[bytes, b"\n"].concat())?,
        }
    }
    let changes = item.sequence().map_or(String::new(), |sequence| format!(" number {sequence}"));
    end(terminal, &summary, &format!("value{changes}"))
}

async fn put(
    tool: &DhtTool,
    text: &str,
    key: Option<SecretKey>,
    salt: &[u8],
    terminal: Terminal,
) -> Result<Exit, Failure> {
    let wrong = |e: ItemError| Failure::new(Exit::Input, format!("could not store that: {e}"));
    let value = value_of(text.as_bytes());
    let (item, cas) = match &key {
        None => (Item::immutable(&value).map_err(wrong)?, None),
        Some(key) => {
            // Checked before anybody is asked; then in place of what is stored there.
            Item::mutable(&value, key, salt, 0).map_err(wrong)?;
            let old = newest(tool, target_of(&key.public(), salt), salt).await?;
            let sequence = old.map_or(1, |old| old.saturating_add(1));
            (Item::mutable(&value, key, salt, sequence).map_err(wrong)?, old)
        }
    };
    let target = item.target().to_string();
    let mut refused = Vec::new();
    let summary = to_the_end(tool.ask(Question::Put { item, cas }), |found| {
        if let Found::Refused(why) = found {
            refused.push(why);
        }
        Ok(())
    })
    .await?;
    if summary.stored == 0 {
        let why = refused.first().map_or("nobody has answered".into(), |why| printable(why));
        return Err(nothing(&summary, format!("no node has stored it: {why}")));
    }
    let key = key.map(|key| HEX.encode(&key.public()));
    if terminal.json {
        let stored = Some(summary.stored);
        let done = Done { target: Some(target), key, stored, ..Done::of(&summary, Exit::Done) };
        terminal.event("done", &done)?;
        return Ok(Exit::Done);
    }
    terminal.data(key.as_ref().unwrap_or(&target))?;
    end(terminal, &summary, &format!("stored by {}", plural(summary.stored.into(), "node")))
}

/// The sequence number of what is stored at a key.
async fn newest(tool: &DhtTool, target: NodeId, salt: &[u8]) -> Result<Option<i64>, Failure> {
    let mut sequence = None;
    let search = tool.ask(Question::Get { target, salt: salt.to_vec() });
    to_the_end(search, |found| {
        if let Found::Item(item) = found {
            sequence = item.sequence();
        }
        Ok(())
    })
    .await?;
    Ok(sequence)
}

async fn sample(tool: &DhtTool, target: NodeId, terminal: Terminal) -> Result<Exit, Failure> {
    let (mut told, mut all) = (std::collections::HashSet::new(), 0);
    let summary = to_the_end(tool.ask(Question::Sample(target)), |found| {
        let Found::Samples { hashes, num, .. } = found else { return Ok(()) };
        all = num.saturating_add(all);
        for hash in hashes {
            if told.insert(hash) {
                let info_hash = hash.to_string();
                match terminal.json {
                    true => terminal.event("torrent", &Torrent { info_hash })?,
                    false => terminal.data(&info_hash)?,
                }
            }
        }
        Ok(())
    })
    .await?;
    let told = plural(told.len() as u64, "torrent");
    end(terminal, &summary, &format!("{told} named, of {all} that these nodes know"))
}

/// Nothing was found, by a search that went as `summary` says.
fn nothing(summary: &Summary, what: String) -> Failure {
    let mut failure = Failure::new(Exit::Network, what);
    failure.causes.push(went(summary));
    failure
}

fn end(terminal: Terminal, summary: &Summary, what: &str) -> Result<Exit, Failure> {
    if terminal.json {
        terminal.event("done", &Done::of(summary, Exit::Done))?;
    } else {
        terminal.say(&format!("{what}; {}", went(summary)));
    }
    Ok(Exit::Done)
}

fn went(summary: &Summary) -> String {
    let Summary { asked, answered, .. } = summary;
    format!("{answered} of {asked} nodes answered")
}
