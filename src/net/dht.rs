//! A DHT node over sockets: carries datagrams, keeps its time, finds the ways into the network.
//!
//! What it says and believes is in [`crate::dht`]. It enters the network when somebody searches for
//! something: a program that has only private torrents asks nobody.

mod pings;

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant as Clock},
};

use tokio::{
    sync::{mpsc, oneshot},
    time::sleep_until,
};

use pings::Pings;

use super::udp_hub::{Datagram, UdpHub};
use crate::{
    base::{ip_filter::IpFilter, limits::MAX_DHT_ENTRANCES, rng::Rng, time::Instant},
    dht::{Config, Found, Key, Node, Output, Question, SearchId, Status, saved::Saved},
    proxy::Place,
};

/// Nodes of an earlier run may answer for so long before the well-known ones are troubled.
const PATIENCE: Duration = Duration::from_secs(4);
/// Pause before names are looked up again while nobody is known; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_secs(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(10 * 60);

/// How a node begins.
#[derive(Debug)]
pub struct DhtConfig {
    /// It asks and does not answer (BEP 43).
    pub read_only: bool,
    /// What an earlier run left.
    pub saved: Saved,
    /// Names of nodes by which the network is entered.
    pub bootstrap: Vec<(String, u16)>,
    /// They are the well-known ones, which the whole world asks: not to be kept, nor asked without need.
    pub well_known: bool,
    /// Neither asked nor heard.
    pub blocked: Arc<IpFilter>,
}

/// A running node. Copies lead to the same one, which ends with the last.
#[derive(Debug, Clone)]
pub struct Dht {
    commands: mpsc::UnboundedSender<Command>,
    port: u16,
}

/// One search. Dropping it ends the search.
#[derive(Debug)]
pub struct Search {
    found: mpsc::UnboundedReceiver<Found>,
    /// Tells the node when nobody listens any more.
    _interest: oneshot::Sender<()>,
}

#[derive(Debug)]
enum Command {
    Search(Question, bool, mpsc::UnboundedSender<Found>, oneshot::Receiver<()>),
    Abandon(SearchId),
    Entrances(Vec<SocketAddr>),
    Names(Vec<(String, u16)>),
    /// A place that only a proxy can find.
    Ping {
        place: Place,
        well_known: bool,
    },
    Routers(Vec<SocketAddr>),
    Status(oneshot::Sender<(Status, Vec<IpAddr>)>),
    Entered(oneshot::Sender<()>),
    Saved(oneshot::Sender<Saved>),
}

impl Dht {
    /// Starts a node in the current tokio runtime that speaks by `hub`, which is open. What strangers must
    /// not guess comes from `key`, other random choices from `rng`.
    pub fn start(hub: UdpHub, config: DhtConfig, mut rng: Rng, key: Key) -> Dht {
        let (commands, received) = mpsc::unbounded_channel();
        let dht = Dht { commands, port: hub.port() };
        let [v4, v6] = hub.families();
        let node = Config {
            v4,
            v6,
            read_only: config.read_only,
            ids: config.saved.ids,
            blocked: config.blocked.clone(),
        };
        let pings = Pings::new(rng.fork());
        let node = Node::new(&node, rng, key, Instant::ZERO);
        let driver = Driver::new(hub, config, pings, node, &dht);
        tokio::spawn(driver.run(received));
        dht
    }

    /// The UDP port on which it is reached.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Asks the network something, before what is not `urgent`.
    pub fn search(&self, question: Question, urgent: bool) -> Search {
        let (sender, found) = mpsc::unbounded_channel();
        let (_interest, gone) = oneshot::channel();
        self.send(Command::Search(question, urgent, sender, gone));
        Search { found, _interest }
    }

    /// Nodes that somebody named, by which the network can be entered.
    pub fn add_entrances(&self, addrs: Vec<SocketAddr>) {
        self.send(Command::Entrances(addrs));
    }

    /// The same by their names. One that leads nowhere is no loss.
    pub fn add_names(&self, names: Vec<(String, u16)>) {
        self.send(Command::Names(names));
    }

    /// What it knows and keeps, and our addresses as other nodes see them; `None` after its end.
    pub async fn status(&self) -> Option<(Status, Vec<IpAddr>)> {
        let (reply, answer) = oneshot::channel();
        self.send(Command::Status(reply));
        answer.await.ok()
    }

    /// Waits until somebody is known, which takes a question: see the head of this file.
    pub async fn entered(&self) {
        let (reply, answer) = oneshot::channel();
        self.send(Command::Entered(reply));
        // After its end nothing is entered, and whoever asks sees that.
        let _ = answer.await;
    }

    /// What the next run should know; `None` after its end.
    pub async fn saved(&self) -> Option<Saved> {
        let (reply, answer) = oneshot::channel();
        self.send(Command::Saved(reply));
        answer.await.ok()
    }

    fn send(&self, command: Command) {
        // After its end nobody answers, and whoever asks sees that.
        let _ = self.commands.send(command);
    }
}

impl Search {
    /// The next thing that was found, last [`Found::Ended`]; `None` after that, or if the node has ended.
    pub async fn next(&mut self) -> Option<Found> {
        self.found.recv().await
    }
}

/// The node's task.
struct Driver {
    hub: UdpHub,
    node: Node,
    start: Clock,
    searches: HashMap<SearchId, mpsc::UnboundedSender<Found>>,
    own: Vec<IpAddr>,
    saved: Option<Saved>,
    /// Entrances that were named before anybody searched.
    named: Vec<SocketAddr>,
    /// Those who wait until somebody is known.
    entering: Vec<oneshot::Sender<()>>,
    bootstrap: Bootstrap,
    pings: Pings,
    /// Only to be given to those who look names up or listen for lost interest.
    commands: mpsc::WeakUnboundedSender<Command>,
}

/// The names by which the network is entered.
struct Bootstrap {
    names: Vec<(String, u16)>,
    well_known: bool,
    /// When they are looked up next; `None` while nobody has searched for anything.
    due: Option<Instant>,
    pause: Duration,
}

impl Driver {
    #[expect(clippy::disallowed_methods, reason = "a driver reads the clock")]
    fn new(hub: UdpHub, config: DhtConfig, pings: Pings, node: Node, dht: &Dht) -> Self {
        let DhtConfig { saved, bootstrap: names, well_known, .. } = config;
        let pause = FIRST_PAUSE;
        Driver {
            hub,
            node,
            start: Clock::now(),
            searches: HashMap::new(),
            own: Vec::new(),
            saved: Some(saved),
            named: Vec::new(),
            entering: Vec::new(),
            bootstrap: Bootstrap { names, well_known, due: None, pause },
            pings,
            commands: dht.commands.downgrade(),
        }
    }

    async fn run(mut self, mut commands: mpsc::UnboundedReceiver<Command>) {
        let mut heard = self.hub.dht();
        // Before that nothing is sent; what a proxy does not want now it may want later.
        let _ = self.hub.ready().await;
        loop {
            let due = self.node.poll_timeout().min(self.bootstrap.due.unwrap_or(Instant::FAR));
            let due = self.start + due.since(Instant::ZERO);
            tokio::select! {
                datagram = heard.recv() => match datagram {
                    Some(datagram) => self.hear(datagram),
                    // Another node has taken its place.
                    None => return,
                },
                command = commands.recv() => match command {
                    Some(command) => self.command(command),
                    None => return,
                },
                () = sleep_until(due.into()) => {
                    let now = self.now();
                    self.node.handle_timeout(now);
                    self.look_up_names(now);
                }
            }
            self.drain();
        }
    }

    fn hear(&mut self, (datagram, from): Datagram) {
        let now = self.now();
        match self.pings.answered(&datagram) {
            Some(true) => self.node.add_routers(now, [from]),
            Some(false) => self.node.add_entrances(now, [from]),
            None => self.node.handle_datagram(now, from, &datagram),
        }
    }

    fn now(&self) -> Instant {
        Instant::ZERO + self.start.elapsed()
    }

    fn command(&mut self, command: Command) {
        let now = self.now();
        match command {
            Command::Search(question, urgent, found, gone) => {
                self.wake(now);
                let id = self.node.search(now, question, urgent);
                self.searches.insert(id, found);
                let commands = self.commands.clone();
                tokio::spawn(async move {
                    // It is never sent anything: it ends when the other end is dropped.
                    let _ = gone.await;
                    if let Some(commands) = commands.upgrade() {
                        let _ = commands.send(Command::Abandon(id));
                    }
                });
            }
            Command::Abandon(id) => {
                self.searches.remove(&id);
                self.node.abandon(now, id);
            }
            Command::Entrances(addrs) if self.saved.is_some() => {
                let room = MAX_DHT_ENTRANCES.saturating_sub(self.named.len());
                self.named.extend(addrs.into_iter().take(room));
            }
            Command::Entrances(addrs) => self.node.add_entrances(now, addrs),
            Command::Names(names) => self.look_up(names, false),
            Command::Ping { place, well_known } => {
                let ping = self.pings.ask(well_known);
                // The usual names are asked again later.
                let _ = self.hub.send(&place, &ping);
            }
            // Answered by `drain`.
            Command::Entered(reply) => self.entering.push(reply),
            Command::Routers(addrs) => self.node.add_routers(now, addrs),
            // Whoever asked may be gone.
            Command::Status(reply) => drop(reply.send((self.node.status(), self.own.clone()))),
            Command::Saved(reply) => {
                let saved = match &self.saved {
                    // Nothing was asked: what was known is all that is known.
                    Some(saved) => saved.clone(),
                    None => {
                        let ids = [self.node.id(false), self.node.id(true)];
                        let saved = Saved::new(ids, self.node.good_nodes(now));
                        Saved { port: self.hub.port(), ..saved }
                    }
                };
                drop(reply.send(saved));
            }
        }
    }

    /// Somebody wants something for the first time.
    fn wake(&mut self, now: Instant) {
        let Some(saved) = self.saved.take() else { return };
        let troubles = self.bootstrap.well_known && !saved.nodes.is_empty();
        self.bootstrap.due = Some(if troubles { now + PATIENCE } else { now });
        let named = std::mem::take(&mut self.named);
        self.node.add_entrances(now, saved.nodes.into_iter().chain(named));
        self.look_up_names(now);
    }

    /// Looks up the names by which the network is entered, if nobody is known.
    fn look_up_names(&mut self, now: Instant) {
        let bootstrap = &mut self.bootstrap;
        if bootstrap.due.is_none_or(|due| now < due) {
            return;
        }
        bootstrap.due = Some(now + bootstrap.pause);
        bootstrap.pause = (bootstrap.pause * 2).min(LONGEST_PAUSE);
        if self.node.status().nodes != [0, 0] {
            return;
        }
        let (names, well_known) = (bootstrap.names.clone(), bootstrap.well_known);
        self.look_up(names, well_known);
    }

    /// Looks up names of nodes, which are `well_known` or not.
    fn look_up(&self, names: Vec<(String, u16)>, well_known: bool) {
        for (host, port) in names {
            let (hub, commands) = (self.hub.clone(), self.commands.clone());
            tokio::spawn(async move {
                // A name without an address is no entrance; the usual ones are looked up again later.
                let Ok(places) = hub.places(&host, port).await else { return };
                let Some(commands) = commands.upgrade() else { return };
                let found = if well_known { Command::Routers } else { Command::Entrances };
                for place in places {
                    let _ = commands.send(match place {
                        Place::Addr(addr) => found(vec![addr]),
                        Place::Name(..) => Command::Ping { place, well_known },
                    });
                }
            });
        }
    }

    fn drain(&mut self) {
        if !self.entering.is_empty() && self.node.status().nodes != [0, 0] {
            for waits in self.entering.drain(..) {
                // Whoever asked may have lost patience.
                let _ = waits.send(());
            }
        }
        while let Some(output) = self.node.poll() {
            match output {
                Output::Send { to, datagram } => match self.hub.send(&to.into(), &datagram) {
                    Err(error) if leads_nowhere(&error) => {
                        let now = self.now();
                        self.node.could_not_send(now, to);
                    }
                    // What does not leave for another reason is lost on its way.
                    _ => {}
                },
                Output::Found(id, found) => {
                    let ended = matches!(found, Found::Ended(_));
                    if let Some(search) = self.searches.get(&id) {
                        // Whoever lost interest says so besides.
                        let _ = search.send(found);
                    }
                    if ended {
                        self.searches.remove(&id);
                    }
                }
                Output::OwnAddress(ip) => {
                    self.own.retain(|own| own.is_ipv4() != ip.is_ipv4());
                    self.own.push(ip);
                }
            }
        }
    }
}

/// Whether `error` says that there is no way to that address, such as where there is no IPv6: what is tried again at
/// once comes to the same.
fn leads_nowhere(error: &io::Error) -> bool {
    use io::ErrorKind::{
        AddrNotAvailable, HostUnreachable, NetworkUnreachable, PermissionDenied, Unsupported,
    };
    matches!(
        error.kind(),
        AddrNotAvailable | HostUnreachable | NetworkUnreachable | PermissionDenied | Unsupported
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        base::hash::sha1,
        dht::{Announce, Item, item::SecretKey, item::target_of},
        net::{outlet::Outlet, resolver::FixedResolver},
    };
    use std::net::Ipv4Addr;

    fn node(seed: u64, entrance: Option<u16>) -> Dht {
        let localhost = IpAddr::from(Ipv4Addr::LOCALHOST);
        let names = FixedResolver::new([("entrance.example", &[localhost][..])]);
        let outlet = Outlet::resolving_by(Arc::new(names));
        let hub = UdpHub::new(outlet, Some(localhost), false, 0);
        hub.open(None).expect("bound");
        let bootstrap = entrance.map(|port| ("entrance.example".to_owned(), port));
        let config = DhtConfig {
            read_only: false,
            saved: Saved::default(),
            bootstrap: bootstrap.into_iter().collect(),
            well_known: false,
            blocked: Arc::default(),
        };
        Dht::start(hub, config, Rng::new(seed), Key([seed as u8; 20]))
    }

    async fn all(mut search: Search) -> Vec<Found> {
        let mut all = Vec::new();
        while let Some(found) = search.next().await {
            all.push(found);
        }
        all
    }

    fn stored(found: &[Found]) -> u32 {
        match found.last() {
            Some(Found::Ended(summary)) => summary.stored,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn nodes_that_know_one_find_what_the_others_have() {
        let first = node(1, None);
        let others: Vec<Dht> = (2..8).map(|seed| node(seed, Some(first.port()))).collect();
        for other in &others {
            // The first search is what wakes a node.
            all(other.search(Question::FindNode(sha1(b"anything").into()), true)).await;
            other.entered().await;
        }
        let info_hash = sha1(b"a torrent");
        let announce = Announce { port: Some(7_777), mapped: None };
        let found = all(others[0].search(Question::Peers(info_hash, Some(announce)), true)).await;
        assert!(stored(&found) >= 4, "{found:?}");
        let found = all(others[5].search(Question::Peers(info_hash, None), true)).await;
        let peer: SocketAddr = "127.0.0.1:7777".parse().expect("valid");
        assert!(found.contains(&Found::Peers(vec![peer])), "{found:?}");

        let key = SecretKey::from_seed(&[3; 32]);
        let item = Item::mutable(b"5:hello", &key, b"salt", 1).expect("an item");
        let found =
            all(others[1].search(Question::Put { item: item.clone(), cas: None }, true)).await;
        assert!(stored(&found) >= 4, "{found:?}");
        let (target, salt) = (target_of(&key.public(), b"salt"), b"salt".to_vec());
        let found = all(others[4].search(Question::Get { target, salt }, true)).await;
        assert!(found.contains(&Found::Item(item)), "{found:?}");

        let found = all(others[3].search(Question::Sample(info_hash.into()), true)).await;
        let sampled = |found: &Found| matches!(found, Found::Samples { hashes, num: 1, .. } if *hashes == [info_hash]);
        assert!(found.iter().any(sampled), "{found:?}");
        let saved = others[2].saved().await.expect("running");
        assert!(saved.nodes.len() >= 4 && saved.ids[0].is_some());
    }

    #[tokio::test]
    async fn a_search_waits_until_there_is_somebody_to_ask() {
        let (first, second) = (node(1, None), node(2, None));
        let mut search = first.search(Question::FindNode(sha1(b"").into()), true);
        first.add_entrances(vec![SocketAddr::from((Ipv4Addr::LOCALHOST, second.port()))]);
        let found = search.next().await;
        assert!(matches!(found, Some(Found::Ended(summary)) if summary.answered == 1));
    }
}
