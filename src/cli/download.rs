//! `download`: fetches torrents; done when every byte is verified.

use std::{net::SocketAddr, ops::RangeInclusive};

use super::{
    args, blocklist, choice,
    exit::{Exit, Failure},
    input::{self, Named},
    network, outlet,
    signals::Signals,
    terminal::Terminal,
    transfer::{Goal, Known, Then, Transfer},
};
use crate::{
    metainfo::{Magnet, Metainfo},
    session::AddTorrent,
};

/// What there is of a torrent that was named.
enum Found {
    Torrent(Metainfo),
    /// The rest is fetched from peers.
    Magnet(Magnet),
}

pub(super) async fn run(args: &args::Download, terminal: Terminal) -> Result<Exit, Failure> {
    let outlet = outlet::open(&args.fetch.network.outlet).await?;
    let blocked = blocklist::read(&args.fetch.network.blocklist, terminal)?;
    let mut signals = Signals::listen()?;
    let goal = goal(&args.fetch);
    let mut torrents = Vec::new();
    for text in &args.torrents {
        let found = signals.during(async { Ok(find(text, args).await) }).await?;
        let found = found.map_err(|failure| failure.input(text));
        let listed = match &found {
            Ok(Found::Torrent(metainfo)) if args.fetch.choice.list => {
                list(args, metainfo, terminal)
            }
            _ => {
                torrents.push((text, found));
                continue;
            }
        };
        if let Err(failure) = listed {
            torrents.push((text, Err(failure.input(text))));
        }
    }
    let listed = args.torrents.len() - torrents.len();
    // Nothing to do: a session would only announce that it ends.
    if torrents.iter().all(|(_, found)| found.is_err()) {
        let failures = torrents.into_iter().filter_map(|(_, found)| found.err()).collect();
        return none_is_left(failures, listed, terminal);
    }
    let peers = network::peers(&args.fetch.network, &outlet, &blocked, terminal);
    let peers = signals.during(peers).await?;
    let starting = network::start(&args.fetch.network, &outlet, blocked.clone(), terminal);
    let session = signals.during(starting).await?;
    let mut transfer = Transfer::new(session, goal, terminal);
    transfer.count_done(listed);
    let adding = async {
        let mut adds = Vec::new();
        for (text, torrent) in torrents {
            match torrent {
                Ok(Found::Torrent(metainfo)) => {
                    let added = add(&args.fetch, peers.clone(), goal.seed, &[], metainfo);
                    adds.push(added.map_err(|failure| failure.input(text)));
                }
                Ok(Found::Magnet(magnet)) => {
                    transfer.add_all(std::mem::take(&mut adds)).await?;
                    let then = then(args, &peers, goal.seed, &magnet);
                    let also = (&peers[..], &*blocked);
                    let fetch =
                        network::fetch(&args.fetch.network, magnet, &outlet, also, terminal).await;
                    transfer.fetch(fetch.map(Known::Hash), then).await?;
                }
                Err(failure) => adds.push(Err(failure)),
            }
        }
        transfer.add_all(adds).await
    };
    match signals.during(adding).await {
        Ok(()) => transfer.run(signals).await,
        Err(failure) => transfer.give_up(failure, signals).await,
    }
}

/// The end of a run of which nothing is left to be done: so many inputs are done, and the others failed.
pub(super) fn none_is_left(
    mut failures: Vec<Failure>,
    done: usize,
    terminal: Terminal,
) -> Result<Exit, Failure> {
    if done == 0
        && failures.len() == 1
        && let Some(only) = failures.pop()
    {
        return Err(only);
    }
    failures.iter().for_each(|failure| terminal.failure(failure));
    let exits = failures.iter().map(|failure| failure.exit);
    let exit = Exit::of_all(exits.chain(std::iter::repeat_n(Exit::Done, done)));
    terminal.end(exit, &format!("{} of {} failed", failures.len(), failures.len() + done))
}

/// When there is nothing more to do.
pub(super) fn goal(args: &args::Fetch) -> Goal {
    let limited = args.limit.seed_ratio.is_some() || args.limit.seed_time.is_some();
    let seed = args.seed || limited;
    Goal { seed, limit: args.limit, ..Goal::to_fetch(args.network.timeout) }
}

async fn find(text: &str, args: &args::Download) -> Result<Found, Failure> {
    match Named::of(text).magnet() {
        Some(magnet) => magnet.map(Found::Magnet),
        None if args.metadata_only => {
            Err(Failure::new(Exit::Usage, "--metadata-only is for magnet links and info hashes"))
        }
        None => {
            let ca_file = args.fetch.network.ca_file.as_deref();
            input::torrent(text, &args.fetch.network.outlet, ca_file).await.map(Found::Torrent)
        }
    }
}

/// Shows the files of a torrent that there is.
fn list(args: &args::Download, metainfo: &Metainfo, terminal: Terminal) -> Result<(), Failure> {
    let files = choice::files(&args.fetch.choice, &[], &metainfo.info)?;
    choice::list(&metainfo.info, &files, terminal, |lines| terminal.data(lines))
}

/// What becomes of the metadata of a magnet link.
fn then(args: &args::Download, peers: &[SocketAddr], seed: bool, magnet: &Magnet) -> Then {
    if args.fetch.choice.list {
        return Then::List(args.fetch.choice.clone(), magnet.select.clone());
    }
    if args.metadata_only {
        // It is a folder, also if it is not there yet; what is wrong with it is told when it is written to.
        let _ = std::fs::create_dir_all(&args.fetch.output);
        return Then::Write { path: args.fetch.output.clone(), force: args.fetch.force };
    }
    let (args, peers, linked) = (args.fetch.clone(), peers.to_vec(), magnet.select.clone());
    Then::Add(Box::new(move |metainfo| add(&args, peers, seed, &linked, metainfo)))
}

pub(super) fn add(
    args: &args::Fetch,
    peers: Vec<SocketAddr>,
    keep_seeding: bool,
    linked: &[RangeInclusive<u32>],
    metainfo: Metainfo,
) -> Result<AddTorrent, Failure> {
    Ok(AddTorrent {
        files: choice::files(&args.choice, linked, &metainfo.info)?,
        ends_first: args.choice.ends_first,
        trackers: network::trackers(&args.network),
        peers,
        keep_seeding,
        sequential: args.sequential,
        check: network::check(args.checking),
        force: args.force,
        ..AddTorrent::new(metainfo, &args.output)
    })
}
