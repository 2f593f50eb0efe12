//! `get`: fetches what somebody shares, by the code alone.

use super::{
    args, blocklist, download,
    exit::{Exit, Failure},
    network, outlet,
    signals::Signals,
    terminal::Terminal,
    transfer::{Known, Then, Transfer},
};
use crate::{metainfo::ShareCode, session::AddTorrent};

pub(super) async fn run(args: &args::Get, terminal: Terminal) -> Result<Exit, Failure> {
    let code: ShareCode = args.code.parse().map_err(|e| {
        Failure::new(Exit::Input, "could not read the code")
            .cause(&e)
            .remedy("A code looks like 7zk2m-x9q4d-hp3rt-vw6ac; capitals and dashes do not matter.")
    })?;
    let mut fetch = args.fetch.clone();
    network::encrypt(&mut fetch.network)?;
    let outlet = outlet::open(&fetch.network.outlet).await?;
    let blocked = blocklist::read(&fetch.network.blocklist, terminal)?;
    let mut signals = Signals::listen()?;
    let peers = network::peers(&fetch.network, &outlet, &blocked, terminal);
    let peers = signals.during(peers).await?;
    let starting = network::start(&fetch.network, &outlet, blocked, terminal);
    let session = signals.during(starting).await?;
    let goal = download::goal(&fetch);
    let mut transfer = Transfer::new(session, goal, terminal);
    let known = Known::Code(code, peers.clone());
    let then = if fetch.choice.list {
        Then::List(fetch.choice, Vec::new())
    } else {
        Then::Add(Box::new(move |metainfo| {
            let add = download::add(&fetch, peers, goal.seed, &[], metainfo)?;
            Ok(AddTorrent { code: Some(code), ..add })
        }))
    };
    transfer.fetch(Ok(known), then).await?;
    transfer.run(signals).await
}
