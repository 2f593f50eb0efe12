//! `demo`: a swarm of real sessions on loopback, what it moved from whom, and the same transfer
//! between clients and a server.
//!
//! Everybody, the first seeder too, has the same upload limit: that makes the comparison fair, and
//! there is something to watch.

mod ledger;
mod payload;
mod report;
mod swarm;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    args,
    create::{self, plural},
    exit::{Exit, Failure},
    progress::{Stage, View},
    signals::Signals,
    terminal::Terminal,
    work,
};
use crate::{
    base::units::ByteRate,
    metainfo::Metainfo,
    session::{
        check,
        tracker_host::{TrackerConfig, TrackerHost},
    },
};
use payload::Workshop;
use report::{Comparison, Report};
use swarm::{Meeting, Outcome, Plan};

/// Longest time for which the whole client/server transfer is run.
const WHOLE: Duration = Duration::from_secs(40);
/// Else so much of it is run as takes this long.
const SAMPLE: Duration = Duration::from_secs(20);
/// Smallest sample: a few pieces for everybody.
const LEAST_SAMPLE: u64 = 1 << 20;

pub(super) async fn run(args: &args::Demo, terminal: Terminal) -> Result<Exit, Failure> {
    let (peers, size, max_up) = (args.peers as usize, args.size.0, args.max_up);
    if size == 0 || max_up == ByteRate(0) {
        return Err(Failure::new(Exit::Usage, "with nothing to send there is nothing to see"));
    }
    if args.no_tracker && matches!(args.kill, Some(args::Kill::Tracker)) {
        return Err(Failure::new(Exit::Usage, "there is no tracker to kill"));
    }
    let mut signals = Signals::listen()?;
    let workshop = Workshop::open(args.keep.as_deref())?;

    let meeting = if args.no_tracker { "no tracker" } else { "a tracker" };
    terminal.say(&format!(
        "{} of data, {meeting}, a seeder and {} on this machine.\n\
         Each of them, the seeder too, may send {max_up} and no more.",
        args.size,
        plural(peers as u64, "downloader"),
    ));
    let seeder = workshop.folder("seeder")?;
    let torrent = make(&seeder, size, terminal, &mut signals).await?;
    let folders = folders(&workshop, seeder, "peer", peers)?;
    let plan = Plan { torrent: &torrent, folders: &folders, max_up, role: "peer", kill: args.kill };
    let meeting = if args.no_tracker { Meeting::Dht } else { Meeting::Tracker(tracker()?) };
    let outcome = swarm::run(plan, meeting, terminal, &mut signals).await?;
    let (copied, copies) = (torrent.clone(), folders[1..].to_vec());
    apart(&mut signals, move || verify(&copied, &copies, terminal)).await?;
    (1..=peers).for_each(|i| workshop.discard(&format!("peer-{i}")));

    let alone = alone(args, &torrent, &workshop, &folders[0], terminal, &mut signals).await?;
    let report = Report { args, outcome: &outcome, comparison: alone, verified: peers };
    report.tell(terminal)?;
    Ok(Exit::Done)
}

/// Writes what is shared into `folder`, and makes a torrent of it.
async fn make(
    folder: &Path,
    size: u64,
    terminal: Terminal,
    signals: &mut Signals,
) -> Result<Metainfo, Failure> {
    let folder = folder.to_path_buf();
    apart(signals, move || create::in_memory(&payload::write(&folder, size)?, terminal)).await
}

/// Does `work` on a thread of its own, so that a signal is heard meanwhile.
async fn apart<T: Send + 'static>(
    signals: &mut Signals,
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    let working = tokio::task::spawn_blocking(work);
    signals.during(async { working.await.expect("the work does not panic") }).await
}

/// The seeder's folder and an empty one for each downloader.
fn folders(
    workshop: &Workshop,
    seeder: PathBuf,
    name: &str,
    peers: usize,
) -> Result<Vec<PathBuf>, Failure> {
    let downloaders = (1..=peers).map(|i| workshop.folder(&format!("{name}-{i}")));
    std::iter::once(Ok(seeder)).chain(downloaders).collect()
}

fn tracker() -> Result<TrackerHost, Failure> {
    let config = TrackerConfig::new((std::net::Ipv4Addr::LOCALHOST, 0).into());
    TrackerHost::start(config)
        .map_err(|e| Failure::new(Exit::Unexpected, "could not start a tracker").cause(&e))
}

/// Hashes every copy again, from disk.
fn verify(torrent: &Metainfo, folders: &[PathBuf], terminal: Terminal) -> Result<(), Failure> {
    for (i, folder) in (1..).zip(folders) {
        let view = View {
            id: format!("peer-{i}"),
            name: format!("peer {i}"),
            stage: Stage::Checking,
            total: torrent.info.geometry().total(),
            ..View::default()
        };
        let check = |watch: check::Watch<'_>| {
            check::check(&torrent.info, folder, check::Effort::default(), watch)
        };
        let report = work::watch(terminal, view, check)?
            .expect("only a failure to show progress cancels, and that has returned");
        if !report.is_good() {
            let message = format!("the copy of peer {i} does not verify");
            return Err(Failure::new(Exit::Verify, message));
        }
    }
    Ok(())
}

/// The same without the help of the downloaders: everything comes from the seeder.
async fn alone(
    args: &args::Demo,
    torrent: &Metainfo,
    workshop: &Workshop,
    seeder: &Path,
    terminal: Terminal,
    signals: &mut Signals,
) -> Result<Comparison, Failure> {
    let (peers, size, max_up) = (args.peers as usize, args.size.0, args.max_up);
    let whole = Duration::from_secs_f64(size as f64 * peers as f64 / max_up.0 as f64);
    let sample = match whole <= WHOLE {
        true => size,
        false => {
            let bytes = max_up.0 as f64 * SAMPLE.as_secs_f64() / peers as f64;
            (bytes as u64).clamp(LEAST_SAMPLE.min(size), size)
        }
    };
    terminal.say(&format!(
        "Every copy is verified. Now client and server: everything comes from the seeder.{}",
        if sample < size { "\nThat takes long, so only a part of it is sent." } else { "" }
    ));
    let sampled;
    let (torrent, seeder) = if sample < size {
        let folder = workshop.folder("server")?;
        sampled = make(&folder, sample, terminal, signals).await?;
        (&sampled, folder)
    } else {
        (torrent, seeder.to_path_buf())
    };
    let folders = folders(workshop, seeder, "client", peers)?;
    let plan = Plan { torrent, folders: &folders, max_up, role: "client", kill: None };
    let Outcome { took, .. } = swarm::run(plan, Meeting::SeederOnly, terminal, signals).await?;
    (1..=peers).for_each(|i| workshop.discard(&format!("client-{i}")));
    Ok(Comparison { took, bytes: sample })
}
