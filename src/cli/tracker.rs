//! `tracker`: runs the embedded tracker until stopped.

use std::time::Duration;

use serde::Serialize;
use tokio::time::sleep;

use super::{
    allow::AllowFile,
    args::{self, LogLevel},
    create::plural,
    exit::{Exit, Failure},
    redact,
    signals::Signals,
    terminal::Terminal,
};
use crate::session::{
    Outlet,
    peer_names::{self, ResolveError},
    tracker_host::{TrackerConfig, TrackerHost},
};

/// How often we look whether the file of `--allow` has changed.
const LOOK_EVERY: Duration = Duration::from_secs(1);

#[derive(Serialize)]
struct Listening<'a> {
    url: &'a str,
}

#[derive(Serialize)]
struct Allowed {
    torrents: u64,
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
    let direct = Outlet::default();
    let addrs = async { peer_names::resolve(&args.listen, &direct).await.map_err(|e| unknown(&e)) };
    let addrs = signals.during(addrs).await?;
    let mut allow = args.allow.clone().map(AllowFile::new);
    let allowed = allow.as_mut().map(AllowFile::read).transpose()?;
    let config = TrackerConfig { interval: args.interval, ..TrackerConfig::new(addrs[0]) };
    let host = TrackerHost::start(config).map_err(|e| {
        let cause: &dyn std::error::Error = &e;
        let mut f = Failure::new(Exit::Network, e.to_string());
        if let Some(source) = cause.source() {
            f = f.cause(source);
        }
        f.remedy("Choose another address with --listen; port 0 takes any free one.")
    })?;
    if let Some(allowed) = allowed {
        host.allow_only(allowed);
    }
    let url = host.announce_url();
    terminal.log(LogLevel::Info, "listening", |line| line.with("addr", redact::host(&url)));
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
    let mut exit = tokio::select! {
        exit = signals.next() => exit,
        failure = keep_allowed(&host, allow, terminal) => return Err(failure),
    };
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

/// Has the tracker serve what the file says, whenever it changes; what cannot be read changes nothing.
/// Ends only if nobody can be told of it.
async fn keep_allowed(host: &TrackerHost, allow: Option<AllowFile>, terminal: Terminal) -> Failure {
    let Some(mut allow) = allow else { return std::future::pending().await };
    loop {
        sleep(LOOK_EVERY).await;
        if !allow.has_changed() {
            continue;
        }
        let told = match allow.read() {
            Ok(allowed) => {
                let torrents = allowed.len() as u64;
                host.allow_only(allowed);
                terminal.say(&format!("Serves {} from now on.", plural(torrents, "torrent")));
                match terminal.json {
                    true => terminal.event("allowed", &Allowed { torrents }),
                    false => Ok(()),
                }
            }
            Err(failure) => {
                let causes = failure.causes.join(": ");
                terminal.warn(&format!("{}: {causes}", failure.message))
            }
        };
        if let Err(failure) = told {
            return failure;
        }
    }
}
