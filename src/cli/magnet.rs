//! `magnet`: a torrent as a link; a link as a torrent file, which peers have.

use serde::Serialize;

use super::{
    args, blocklist,
    exit::{Exit, Failure},
    input::{self, Named},
    network, outlet,
    signals::Signals,
    terminal::Terminal,
    transfer::{Goal, Known, Then, Transfer},
};
use crate::metainfo::Magnet;

#[derive(Serialize)]
struct Done {
    magnet: String,
    exit: u8,
}

pub(super) async fn run(args: &args::Magnet, terminal: Terminal) -> Result<Exit, Failure> {
    let magnet = match Named::of(&args.torrent).magnet() {
        Some(magnet) if !args.print => return fetch(args, magnet?, terminal).await,
        Some(magnet) => magnet?,
        None => {
            let ca_file = args.network.ca_file.as_deref();
            Magnet::from_metainfo(
                &input::torrent(&args.torrent, &args.network.outlet, ca_file).await?,
            )
        }
    };
    let magnet = magnet.to_string();
    if terminal.json {
        terminal.event("done", &Done { magnet, exit: Exit::Done.code() })?;
    } else {
        terminal.data(&magnet)?;
    }
    Ok(Exit::Done)
}

async fn fetch(args: &args::Magnet, magnet: Magnet, terminal: Terminal) -> Result<Exit, Failure> {
    let outlet = outlet::open(&args.network.outlet).await?;
    let blocked = blocklist::read(&args.network.blocklist, terminal)?;
    let mut signals = Signals::listen()?;
    let finding = async {
        let peers = network::peers(&args.network, &outlet, &blocked, terminal).await?;
        network::fetch(&args.network, magnet, &outlet, (&peers, &blocked), terminal).await
    };
    let fetch = signals.during(finding).await?;
    let starting = network::start(&args.network, &outlet, blocked, terminal);
    let session = signals.during(starting).await?;
    let goal = Goal::to_fetch(args.network.timeout);
    let mut transfer = Transfer::new(session, goal, terminal);
    let then = Then::Write { path: args.output.clone(), force: args.force };
    transfer.fetch(Ok(Known::Hash(fetch)), then).await?;
    transfer.run(signals).await
}
