//! Sessions that are bound to one network interface: here that of loopback, which every host has.

use std::{
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use downpour::session::{
    AddTorrent, Config, ListenConfig, Outlet, OutletError, OutletOptions, Session,
    tracker_host::{TrackerConfig, TrackerHost},
};
use tempfile::TempDir;
use tokio::time::timeout;

use crate::content::{Content, announced};

/// Who waits so long has failed.
const PATIENCE: Duration = Duration::from_secs(60);

async fn bound_to(interface: &str) -> Result<Outlet, OutletError> {
    let interface = Some(interface.to_owned());
    Outlet::open(&OutletOptions { interface, ..OutletOptions::default() }).await
}

/// Peers, and trackers of both kinds by their name.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_goes_by_the_interface_that_is_named() {
    let content = Content::one_file("file.bin", 2_000_000, 64 << 10);
    let host = TrackerHost::start(TrackerConfig::new((Ipv4Addr::LOCALHOST, 0).into()));
    let host = host.expect("a tracker");
    let port = host.local_addr().port();
    let mut swarm = Vec::new();
    for scheme in ["udp", "http"] {
        let listen = ListenConfig {
            addr: Some(IpAddr::from(Ipv4Addr::LOCALHOST)),
            ..ListenConfig::default()
        };
        let outlet = bound_to("lo").await.expect("everybody has it");
        let config = Config { outlet, listen, ..Config::default() };
        let session = Session::start(config).await.expect("starts");
        let dir = TempDir::new().expect("a folder");
        if swarm.is_empty() {
            content.write(dir.path());
        }
        // The file of hosts has this name.
        let trackers = vec![format!("{scheme}://localhost:{port}/announce")];
        let add = AddTorrent { trackers, ..content.add(dir.path()) };
        let handle = session.add(add).await.expect("added");
        // The one who has it is to be known when the other one asks.
        timeout(PATIENCE, announced(&handle)).await.expect("the tracker answers");
        swarm.push((session, handle, dir));
    }
    for (_, handle, dir) in &swarm {
        let complete = timeout(PATIENCE, handle.wait_complete()).await;
        complete.expect("it comes").expect("complete");
        content.assert_at(dir.path());
    }
    for (session, ..) in swarm {
        session.shutdown().await;
    }
    host.shutdown().await;
}

#[tokio::test]
async fn an_interface_that_is_not_there_is_refused() {
    let error = bound_to("no-such-if0").await.expect_err("it is not there");
    assert_eq!(error.to_string(), "there is no network interface `no-such-if0`");
}
