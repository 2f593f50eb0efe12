//! Addresses on a block list: nobody there is dialled or let in, everybody else is.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
};

use downpour::{
    base::ip_filter::{AddrRange, Builder, IpFilter},
    metainfo::Magnet,
    session::{
        AddTorrent, Config, DhtOptions, FetchMetadata, ListenConfig, Session, TorrentEvent,
        TorrentHandle,
    },
};
use tempfile::TempDir;

use crate::content::{Content, addr_of};

const GOOD: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 1);
const BAD: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

fn only(ip: impl Into<IpAddr>) -> Arc<IpFilter> {
    let (ip, mut builder) = (ip.into(), Builder::default());
    builder.block(AddrRange::new(ip, ip).expect("one address")).expect("room");
    Arc::new(builder.build())
}

/// A session at one address, with a node of the DHT that knows nobody yet.
async fn session_at(ip: Ipv4Addr, blocked: Arc<IpFilter>) -> Session {
    let listen = ListenConfig { addr: Some(ip.into()), ..ListenConfig::default() };
    let dht = Some(DhtOptions { bootstrap: Some(Vec::new()), ..DhtOptions::default() });
    Session::start(Config { listen, dht, blocked, ..Config::default() }).await.expect("starts")
}

async fn add(
    session: &Session,
    content: &Content,
    peers: Vec<SocketAddr>,
    seeds: bool,
) -> (TorrentHandle, TempDir) {
    let dir = TempDir::new().expect("a folder");
    if seeds {
        content.write(dir.path());
    }
    let add = AddTorrent { peers, ..content.add(dir.path()) };
    (session.add(add).await.expect("added"), dir)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_blocked_is_neither_dialled_nor_let_in() {
    let content = Content::one_file("file.bin", 1_000_000, 32 << 10);
    let bad_seed = session_at(BAD, Arc::default()).await;
    let good_seed = session_at(GOOD, Arc::default()).await;
    let (bad, _bad_dir) = add(&bad_seed, &content, Vec::new(), true).await;
    let (good, _good_dir) = add(&good_seed, &content, Vec::new(), true).await;
    bad.wait_complete().await.expect("complete from the start");
    good.wait_complete().await.expect("complete from the start");

    // Neither for the metadata nor for the content.
    let leech = session_at(GOOD, only(BAD)).await;
    let peers = vec![addr_of(&bad_seed, BAD), addr_of(&good_seed, GOOD)];
    let magnet = Magnet::from_metainfo(&content.metainfo);
    let fetch = FetchMetadata { magnet, trackers: Vec::new(), peers: peers.clone() };
    let fetching = leech.fetch_metadata(fetch).await.expect("begun");
    fetching.wait().await.expect("found");
    let known: Vec<_> = fetching.torrent().peers().await.iter().map(|peer| peer.addr).collect();
    assert_eq!(known, [addr_of(&good_seed, GOOD)]);
    fetching.finish().await;
    let (handle, dir) = add(&leech, &content, peers, false).await;
    handle.wait_complete().await.expect("complete");
    content.assert_at(dir.path());
    assert_eq!(bad_seed.totals().down, 0, "nobody has said anything to it");

    // Who comes from there gets nothing, who comes from elsewhere everything.
    let peers = vec![addr_of(&leech, GOOD)];
    let bad_leech = session_at(BAD, Arc::default()).await;
    let (bad, _bad_dir) = add(&bad_leech, &content, peers.clone(), false).await;
    let mut events = bad.subscribe();
    while !matches!(events.recv().await, Ok(TorrentEvent::PeerDisconnected { .. })) {}
    assert_eq!((bad.snapshot().machine.done, bad_leech.totals().down), (0, 0));
    assert!(leech.totals().turned_away >= 1);
    let good_leech = session_at(GOOD, Arc::default()).await;
    let (good, dir) = add(&good_leech, &content, peers, false).await;
    good.wait_complete().await.expect("complete");
    content.assert_at(dir.path());
    for session in [bad_seed, good_seed, leech, bad_leech, good_leech] {
        session.shutdown().await;
    }
}
