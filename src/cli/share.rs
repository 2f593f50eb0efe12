//! `share`: serves a file or folder to those who are told a code.

use std::time::Duration;

use serde::Serialize;

use super::{
    args, blocklist, create,
    exit::{Exit, Failure},
    network, outlet, seed,
    signals::Signals,
    terminal::Terminal,
    transfer::{Goal, Transfer},
};
use crate::{
    metainfo::{HostPort, Magnet, Metainfo, ShareCode},
    session::{AddTorrent, Check, Session, sharing},
};

/// A gateway that answers later than this is left out of the link.
const GATEWAY_PATIENCE: Duration = Duration::from_secs(3);

#[derive(Serialize)]
struct Shared {
    id: String,
    code: String,
    magnet: String,
}

pub(super) async fn run(args: &args::Share, terminal: Terminal) -> Result<Exit, Failure> {
    let mut signals = Signals::listen()?;
    let mut network = args.network.clone();
    network::encrypt(&mut network)?;
    let outlet = outlet::open(&network.outlet);
    let outlet = signals.during(outlet).await?;
    let blocked = blocklist::read(&network.blocklist, terminal)?;
    let state_dir = network::state_dir(network.state_dir.as_deref(), terminal)?;
    let source = |name: &str, length| {
        let source = sharing::unguessable(state_dir.as_deref(), name, length);
        let failure = |e| Failure::new(Exit::Disk, "could not keep a secret for codes").cause(&e);
        source.map(Some).map_err(failure)
    };
    let metainfo = create::in_memory_with(&args.path, source, terminal)?;
    let peers = signals.during(network::peers(&network, &outlet, &blocked, terminal)).await?;
    let starting = network::start(&network, &outlet, blocked, terminal);
    let session = signals.during(starting).await?;
    if network.no_dht && network.no_lsd {
        terminal.warn("without DHT and LSD nobody finds it by the code, unless given --peer")?;
    }
    if !network.tracker.is_empty() {
        terminal.warn("no tracker is asked: it would be told what is shared, and by whom")?;
    }
    let code = ShareCode::of(metainfo.info.info_hash().wire());
    // The link names where we are reached from outside.
    let mapped = async {
        session.wait_mapped(GATEWAY_PATIENCE).await;
        Ok(())
    };
    if let Err(stopped) = signals.during(mapped).await {
        session.shutdown().await;
        return Err(stopped);
    }
    tell(code, &metainfo, &session, terminal)?;
    let goal = Goal { seed: true, limit: args.limit, timeout: network.timeout, fetches: false };
    let mut transfer = Transfer::new(session, goal, terminal);
    let add = AddTorrent {
        code: Some(code),
        peers,
        // It was hashed a moment ago.
        check: Check::Nothing,
        // Somebody may edit what is served: his changes stay.
        fetch: false,
        ..AddTorrent::new(metainfo, seed::parent(&args.path))
    };
    match signals.during(transfer.add(Ok(add))).await {
        Ok(()) => transfer.run(signals).await,
        Err(failure) => transfer.give_up(failure, signals).await,
    }
}

/// Prints the code, and a link for other programs that names this host.
fn tell(
    code: ShareCode,
    metainfo: &Metainfo,
    session: &Session,
    terminal: Terminal,
) -> Result<(), Failure> {
    let peers = session.addresses().into_iter();
    let peers = peers.map(|addr| HostPort { host: addr.ip().to_string(), port: addr.port() });
    let magnet = Magnet { peers: peers.collect(), ..Magnet::from_metainfo(metainfo) };
    let (code, magnet) = (code.to_string(), magnet.to_string());
    if terminal.json {
        let id = metainfo.info.info_hash().wire().to_string();
        return terminal.event("shared", &Shared { id, code, magnet });
    }
    terminal.data(&code)?;
    terminal.data(&magnet)?;
    terminal.say(&format!("Whoever is told the code gets it while this runs: downpour get {code}"));
    Ok(())
}
