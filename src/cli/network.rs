//! What the options of the network mean to a session: its configuration, and how it starts.

use super::{
    args,
    exit::{Exit, Failure},
};
use crate::session::{Config, ListenConfig, Session, SessionError};

/// The usual ports, tried in order when none was asked for; then any free one.
const USUAL_PORTS: std::ops::RangeInclusive<u16> = 6881..=6889;

/// Starts a session as `args` say.
pub(super) async fn start(args: &args::Network) -> Result<Session, Failure> {
    if let Some(port) = args.port {
        return Session::start(config(args, port)).await.map_err(|e| failure(&e));
    }
    for port in USUAL_PORTS {
        match Session::start(config(args, port)).await {
            Err(SessionError::PortInUse { .. }) => {}
            started => return started.map_err(|e| failure(&e)),
        }
    }
    Session::start(config(args, 0)).await.map_err(|e| failure(&e))
}

fn config(args: &args::Network, port: u16) -> Config {
    let default = Config::default();
    Config {
        listen: ListenConfig { port, ipv6: !args.no_ipv6, addr: None },
        max_peers: args.max_peers,
        max_connections: default.max_connections.max(args.max_peers),
        max_up: args.max_up,
        max_down: args.max_down,
        memory: args.memory,
        trackers: !args.no_trackers,
        ca_file: args.ca_file.clone(),
        state_dir: args.state_dir.clone(),
        ..default
    }
}

fn failure(error: &SessionError) -> Failure {
    let exit = match error {
        SessionError::PortInUse { .. } | SessionError::Listen(_) => Exit::Network,
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
