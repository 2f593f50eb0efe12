//! `tracker`: runs the embedded tracker until stopped.

use serde::Serialize;

use super::{
    args,
    exit::{Exit, Failure},
    signals::Signals,
    terminal::Terminal,
};
use crate::session::{
    peer_names::{self, ResolveError},
    tracker_host::{TrackerConfig, TrackerHost},
};

#[derive(Serialize)]
struct Listening<'a> {
    url: &'a str,
}

#[derive(Serialize)]
struct Done {
    announces: u64,
    scrapes: u64,
    refused: u64,
    exit: u8,
}

pub(super) async fn run(args: &args::Tracker, terminal: Terminal) -> Result<Exit, Failure> {
    let mut signals = Signals::listen()?;
    let unknown = |e: &ResolveError| Failure::new(Exit::Network, e.to_string()).cause(&e.source);
    let addrs = peer_names::resolve(&args.listen).await.map_err(|e| unknown(&e))?;
    let config = TrackerConfig { interval: args.interval, ..TrackerConfig::new(addrs[0]) };
    let host = TrackerHost::start(config).map_err(|e| {
        let cause: &dyn std::error::Error = &e;
        let mut f = Failure::new(Exit::Network, e.to_string());
        if let Some(source) = cause.source() {
            f = f.cause(source);
        }
        f.remedy("Choose another address with --listen; port 0 takes any free one.")
    })?;
    let url = host.announce_url();
    if terminal.json {
        terminal.event("listening", &Listening { url: &url })?;
    } else {
        terminal.data(&url)?;
    }
    terminal.say(&format!(
        "Put this address into a torrent with `create --tracker {url}`, or {} to be asked over UDP. \
         Statistics are at {}. Ctrl-C stops.",
        url.replace("http://", "udp://"),
        url.replace("/announce", "/stats")
    ));
    let mut exit = signals.next().await;
    if exit == Exit::Interrupted {
        // Ctrl-C is how one ends what would run for ever.
        exit = Exit::Done;
    }
    let stats = host.stats();
    signals.end_well(host.shutdown(), terminal).await;
    if terminal.json {
        let (announces, scrapes, refused) = (stats.announces, stats.scrapes, stats.refused);
        terminal.event("done", &Done { announces, scrapes, refused, exit: exit.code() })?;
    } else {
        terminal.say(&format!("Stopped after {} announces.", stats.announces));
    }
    Ok(exit)
}
