//! Our nodes of the DHT and those of another crate, `mainline`, in one network on loopback: what one
//! announces or stores, the other finds. Other programs are met in `tests/interop`.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use downpour::{
    base::{
        hash::{Sha1Hash, sha1},
        rng::Rng,
    },
    dht::{
        Announce, Found, Item, Key, NodeId, Question,
        item::{SecretKey, target_of},
        saved::Saved,
    },
    net::{
        dht::{Dht, DhtConfig},
        outlet::Outlet,
        udp_hub::UdpHub,
    },
};
use futures_lite::StreamExt as _;
use mainline::{Id, MutableItem, SigningKey, async_dht::AsyncDht};
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(20);

/// Some nodes of each kind that know one another.
struct Network {
    ours: Vec<Dht>,
    theirs: Vec<AsyncDht>,
}

impl Network {
    async fn new() -> Self {
        let first = our_node(1, None);
        let entrance = first.port();
        let mut ours = vec![first];
        ours.extend((2..6).map(|seed| our_node(seed, Some(entrance))));
        for node in &ours[1..] {
            all(node, Question::FindNode(sha1(b"anything").into())).await;
            timeout(PATIENCE, node.entered()).await.expect("entered");
        }
        let mut theirs = Vec::new();
        for _ in 0..4 {
            let mut builder = mainline::Dht::builder();
            builder.bootstrap(&[format!("127.0.0.1:{entrance}")]).bind_address(Ipv4Addr::LOCALHOST);
            let node = builder.server_mode().build().expect("a node").as_async();
            assert!(node.bootstrapped().await);
            theirs.push(node);
        }
        Network { ours, theirs }
    }
}

fn our_node(seed: u64, entrance: Option<u16>) -> Dht {
    let localhost = Some(Ipv4Addr::LOCALHOST.into());
    let hub = UdpHub::new(Outlet::default(), localhost, false, 0);
    hub.open(None).expect("bound");
    let config = DhtConfig {
        read_only: false,
        saved: Saved::default(),
        bootstrap: entrance.map(|port| ("127.0.0.1".to_owned(), port)).into_iter().collect(),
        well_known: false,
        blocked: Arc::default(),
    };
    Dht::start(hub, config, Rng::new(seed), Key([seed as u8; 20]))
}

/// All that comes of a question.
async fn all(node: &Dht, question: Question) -> Vec<Found> {
    let mut search = node.search(question, true);
    let mut all = Vec::new();
    while let Some(found) = search.next().await {
        all.push(found);
    }
    all
}

fn id(hash: Sha1Hash) -> Id {
    Id::from_bytes(hash.0).expect("20 bytes")
}

#[tokio::test(flavor = "multi_thread")]
async fn each_finds_the_peers_that_the_other_announces() {
    let network = Network::new().await;
    let peer = |port: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, port));

    let info_hash = sha1(b"announced by them");
    network.theirs[1].announce_peer(id(info_hash), Some(7_001)).await.expect("announced");
    let found = all(&network.ours[3], Question::Peers(info_hash, None)).await;
    assert!(found.contains(&Found::Peers(vec![peer(7_001)])), "{found:?}");

    let info_hash = sha1(b"announced by us");
    let announce = Some(Announce { port: Some(7_002), mapped: None });
    all(&network.ours[2], Question::Peers(info_hash, announce)).await;
    let mut stream = network.theirs[3].get_peers(id(info_hash));
    let peers = timeout(PATIENCE, stream.next()).await.expect("in time").expect("peers");
    let peers: Vec<SocketAddr> = peers.into_iter().map(SocketAddr::from).collect();
    assert_eq!(peers, [peer(7_002)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_reads_what_the_other_stores() {
    let network = Network::new().await;
    let (ours, theirs) = (&network.ours, &network.theirs);

    let target = theirs[0].put_immutable(b"stored by them").await.expect("stored");
    let question = Question::Get { target: NodeId(*target.as_bytes()), salt: Vec::new() };
    let wanted = Item::immutable(b"14:stored by them").expect("an item");
    assert!(all(&ours[4], question).await.contains(&Found::Item(wanted)));

    let item = Item::immutable(b"12:stored by us").expect("an item");
    let target = id(item.target().into());
    all(&ours[1], Question::Put { item, cas: None }).await;
    let read = timeout(PATIENCE, theirs[2].get_immutable(target)).await.expect("in time");
    assert_eq!(read.as_deref(), Some(&b"stored by us"[..]));
}

#[tokio::test(flavor = "multi_thread")]
async fn each_reads_what_the_other_has_signed() {
    let network = Network::new().await;
    let (ours, theirs) = (&network.ours, &network.theirs);

    let key = SigningKey::from_bytes(&[5; 32]);
    let item = MutableItem::new(key.clone(), b"signed by them", 3, Some(b"salt"));
    theirs[0].put_mutable(item, None).await.expect("stored");
    let target = target_of(key.verifying_key().as_bytes(), b"salt");
    let found = all(&ours[4], Question::Get { target, salt: b"salt".to_vec() }).await;
    let is_it = |found: &Found| {
        matches!(found, Found::Item(item)
            if item.value() == b"14:signed by them" && item.sequence() == Some(3))
    };
    assert!(found.iter().any(is_it), "{found:?}");

    let key = SecretKey::from_seed(&[6; 32]);
    let item = Item::mutable(b"12:signed by us", &key, b"salt", 9).expect("an item");
    all(&ours[1], Question::Put { item, cas: None }).await;
    let public = key.public();
    let read = theirs[2].get_mutable_most_recent(&public, Some(b"salt"));
    let read = timeout(PATIENCE, read).await.expect("in time").expect("an item");
    assert_eq!((read.value(), read.seq()), (&b"signed by us"[..], 9));
}
