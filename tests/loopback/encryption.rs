//! Two sessions and what they want of encryption: they meet, or they do not.

use std::{
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use downpour::session::{
    Config, Encryption, EncryptionPolicy as Policy, ListenConfig, Session, TorrentEvent,
};
use tempfile::TempDir;
use tokio::time::timeout;

use crate::content::{Content, addr_of};

/// Who waits so long has failed.
const PATIENCE: Duration = Duration::from_secs(60);

async fn session(encryption: Policy) -> Session {
    let addr = Some(IpAddr::from(Ipv4Addr::LOCALHOST));
    let listen = ListenConfig { addr, ..ListenConfig::default() };
    Session::start(Config { listen, encryption, ..Config::default() }).await.expect("starts")
}

/// How the connection was hidden by which `leech` got everything from `seed`.
async fn meet(seed: Policy, leech: Policy) -> Encryption {
    let content = Content::one_file("file.bin", 3_000_000, 64 << 10);
    let folder = || TempDir::new().expect("a folder");
    let (seed_dir, leech_dir) = (folder(), folder());
    content.write(seed_dir.path());
    let (seed, leech) = (session(seed).await, session(leech).await);
    let seeding = seed.add(content.add(seed_dir.path())).await.expect("added");
    seeding.wait_complete().await.expect("complete");
    let handle = leech.add(content.add(leech_dir.path())).await.expect("added");
    // Nothing of it is missed.
    let mut events = handle.subscribe();
    handle.add_peers(vec![addr_of(&seed, Ipv4Addr::LOCALHOST)]).await;
    timeout(PATIENCE, handle.wait_complete()).await.expect("in time").expect("complete");
    content.assert_at(leech_dir.path());
    let mut last = None;
    while let Ok(event) = events.try_recv() {
        if let TorrentEvent::PeerConnected { encryption, .. } = event {
            last = Some(encryption);
        }
    }
    last.expect("they are connected")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_can_meet_meets_hidden_as_both_want() {
    use Encryption::{Handshake, Off, Stream};
    use Policy::{Allowed, Disabled, Preferred, Required};
    for (seed, leech, want) in [
        (Allowed, Allowed, Off),
        (Allowed, Preferred, Handshake),
        (Allowed, Required, Stream),
        (Required, Allowed, Stream),
        (Disabled, Preferred, Off),
        (Required, Required, Stream),
    ] {
        assert_eq!(meet(seed, leech).await, want, "{seed:?} serves {leech:?}");
    }
}
