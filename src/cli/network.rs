//! What the options of the network mean to a session: its configuration, and how it starts.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use tokio::task::JoinSet;

use super::{
    args, blocklist,
    exit::{self, Exit, Failure},
    outlet,
    terminal::Terminal,
};
use crate::{
    base::ip_filter::IpFilter,
    metainfo::{HostPort, Magnet},
    session::{
        Check, Config, DhtOptions, EncryptionPolicy, FetchMetadata, Limits, LimitsConfig,
        ListenConfig, LsdOptions, Outlet, Session, SessionError, make_state_folder, peer_names,
    },
};

/// The usual ports, tried in order when none was asked for; then any free one.
const USUAL_PORTS: std::ops::RangeInclusive<u16> = 6881..=6889;

/// Starts a session as `args` say, that leaves by `outlet` and has nothing to do with who is `blocked`.
pub(super) async fn start(
    args: &args::Network,
    outlet: &Outlet,
    blocked: Arc<IpFilter>,
    terminal: Terminal,
) -> Result<Session, Failure> {
    let state_dir = state_dir(args.state_dir.as_deref(), terminal)?;
    outlet::tell(outlet, terminal)?;
    let start = |port| {
        let config = config(args, state_dir.clone(), port);
        Session::start(Config { blocked: blocked.clone(), outlet: outlet.clone(), ..config })
    };
    if let Some(port) = args.port {
        return start(port).await.map_err(|e| failure(&e));
    }
    for port in USUAL_PORTS {
        match start(port).await {
            Err(SessionError::PortInUse { .. }) => {}
            started => return started.map_err(|e| failure(&e)),
        }
    }
    start(0).await.map_err(|e| failure(&e))
}

/// The addresses of the peers that were named. One that leads nowhere, or is blocked, is only told of.
pub(super) async fn peers(
    args: &args::Network,
    outlet: &Outlet,
    blocked: &IpFilter,
    terminal: Terminal,
) -> Result<Vec<SocketAddr>, Failure> {
    addresses(&args.peer, outlet, blocked, terminal).await
}

async fn addresses(
    names: &[HostPort],
    outlet: &Outlet,
    blocked: &IpFilter,
    terminal: Terminal,
) -> Result<Vec<SocketAddr>, Failure> {
    // At once: a link may have hundreds of names, and a name server be silent.
    let mut looking = JoinSet::new();
    for (at, name) in names.iter().cloned().enumerate() {
        let outlet = outlet.clone();
        looking.spawn(async move { (at, peer_names::resolve(&name, &outlet).await) });
    }
    let mut answers = looking.join_all().await;
    answers.sort_by_key(|&(at, _)| at);
    let mut addrs = Vec::new();
    for (_, found) in answers {
        match found {
            Ok(found) => addrs.extend(found),
            Err(error) => terminal.warn(&format!("{error}: {}", error.source))?,
        }
    }
    blocklist::warn(&addrs, blocked, terminal)?;
    Ok(addrs)
}

/// A magnet link to be fetched: its own peers and those that were named.
pub(super) async fn fetch(
    args: &args::Network,
    magnet: Magnet,
    outlet: &Outlet,
    (peers, blocked): (&[SocketAddr], &IpFilter),
    terminal: Terminal,
) -> Result<FetchMetadata, Failure> {
    magnet.v1().map_err(|e| Failure::new(Exit::Input, "could not use the link").cause(&e))?;
    let mut all = peers.to_vec();
    all.extend(addresses(&magnet.peers, outlet, blocked, terminal).await?);
    Ok(FetchMetadata { magnet, trackers: trackers(args), peers: all })
}

/// The trackers that were named.
pub(super) fn trackers(args: &args::Network) -> Vec<String> {
    args.tracker.iter().flat_map(|tier| tier.0.clone()).collect()
}

/// What of the data that is there is to be hashed.
pub(super) const fn check(args: args::Checking) -> Check {
    match args {
        args::Checking { check: true, .. } => Check::Everything,
        args::Checking { skip_check: true, .. } => Check::Nothing,
        _ => Check::Doubtful,
    }
}

/// The folder that was named, or the user's own: that one may be missing, because nobody asked for it.
pub(super) fn state_dir(
    named: Option<&Path>,
    terminal: Terminal,
) -> Result<Option<PathBuf>, Failure> {
    if let Some(named) = named {
        return Ok(Some(named.to_owned()));
    }
    let Some(dir) = args::state_folder() else { return Ok(None) };
    match make_state_folder(&dir) {
        Ok(()) => Ok(Some(dir)),
        Err(error) => {
            terminal.warn(&format!(
                "could not create `{}`: {error}; the next run will hash data again",
                dir.display()
            ))?;
            Ok(None)
        }
    }
}

fn config(args: &args::Network, state_dir: Option<PathBuf>, port: u16) -> Config {
    let default = Config::default();
    Config {
        listen: ListenConfig { port, ipv6: !args.no_ipv6, addr: None },
        max_peers: args.max_peers,
        upload_slots: args.upload_slots,
        max_connections: default.max_connections.max(args.max_peers),
        limits: limits(&args.limits),
        memory: args.memory,
        trackers: !args.no_trackers,
        web_seeds: !args.no_webseed,
        encryption: encryption(args.encryption),
        pex: !args.no_pex,
        lsd: (!args.no_lsd).then(LsdOptions::default),
        port_mapping: !args.no_upnp,
        dht: (!args.no_dht).then(|| dht(args)),
        ca_file: args.ca_file.clone(),
        state_dir,
        ..default
    }
}

const fn limits(args: &args::Limits) -> LimitsConfig {
    LimitsConfig {
        all: Limits { up: args.max_up, down: args.max_down },
        torrent: Limits { up: args.torrent_max_up, down: args.torrent_max_down },
        peer: Limits { up: args.peer_max_up, down: args.peer_max_down },
        local: !args.no_limit_local,
    }
}

/// Has every connection encrypted, as codes want it.
pub(super) fn encrypt(args: &mut args::Network) -> Result<(), Failure> {
    if matches!(args.encryption, args::Encryption::Disabled) {
        return Err(Failure::new(Exit::Usage, "what is shared by a code is always encrypted")
            .remedy("Leave out --encryption."));
    }
    args.encryption = args::Encryption::Required;
    Ok(())
}

const fn encryption(policy: args::Encryption) -> EncryptionPolicy {
    match policy {
        args::Encryption::Disabled => EncryptionPolicy::Disabled,
        args::Encryption::Allowed => EncryptionPolicy::Allowed,
        args::Encryption::Preferred => EncryptionPolicy::Preferred,
        args::Encryption::Required => EncryptionPolicy::Required,
    }
}

fn dht(args: &args::Network) -> DhtOptions {
    let bootstrap = named(&args.dht_bootstrap);
    DhtOptions { port: args.dht_port, bootstrap, read_only: false }
}

/// Nodes by which the DHT is entered, if any were named.
pub(super) fn named(nodes: &[HostPort]) -> Option<Vec<HostPort>> {
    (!nodes.is_empty()).then(|| nodes.to_vec())
}

fn failure(error: &SessionError) -> Failure {
    if let SessionError::System(cause) = error {
        return exit::could_not_start(cause);
    }
    let exit = match error {
        SessionError::PortInUse { .. } | SessionError::Listen(_) | SessionError::Dht(_) => {
            Exit::Network
        }
        SessionError::Http(_) => Exit::Input,
        SessionError::StateDir { .. } => Exit::Disk,
        SessionError::System(_) => Exit::Unexpected,
    };
    let failure = Failure::new(exit, error.to_string());
    match error {
        SessionError::PortInUse { .. } => failure
            .remedy("Choose another with --port, or leave it out to take the first free one."),
        _ => failure,
    }
}
