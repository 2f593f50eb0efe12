//! `download`: fetches torrents; done when every byte is verified.

use super::{
    args,
    exit::{Exit, Failure},
    input, network,
    signals::Signals,
    terminal::Terminal,
    transfer::{Goal, Transfer},
};
use crate::session::AddTorrent;

pub(super) async fn run(args: &args::Download, terminal: Terminal) -> Result<Exit, Failure> {
    let mut signals = Signals::listen()?;
    let limited = args.limit.seed_ratio.is_some() || args.limit.seed_time.is_some();
    let goal = Goal {
        seed: args.seed || limited,
        limit: args.limit,
        timeout: args.network.timeout,
        fetches: true,
    };
    let mut torrents = Vec::new();
    let ca_file = args.network.ca_file.as_deref();
    for text in &args.torrents {
        let read = tokio::select! {
            read = input::torrent(text, ca_file) => read,
            exit = signals.next() => return Ok(exit),
        };
        torrents.push(read.map_err(|failure| failure.input(text)));
    }
    // Nothing to do: a session would only announce that it ends.
    if torrents.len() == 1
        && let Some(Err(failure)) = torrents.pop_if(|only| only.is_err())
    {
        return Err(failure);
    }
    let peers = network::peers(&args.network, terminal).await?;
    let session = network::start(&args.network, terminal).await?;
    let mut transfer = Transfer::new(session, goal, terminal);
    for torrent in torrents {
        let add = torrent.map(|metainfo| AddTorrent {
            trackers: args.network.tracker.iter().flat_map(|tier| tier.0.clone()).collect(),
            peers: peers.clone(),
            keep_seeding: goal.seed,
            sequential: args.sequential,
            check: network::check(args.checking),
            force: args.force,
            ..AddTorrent::new(metainfo, &args.output)
        });
        transfer.add(add).await?;
    }
    transfer.run(signals).await
}
