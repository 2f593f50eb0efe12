//! `seed`: serves data that is here, by a torrent file or by one made in memory.

use std::path::{Path, PathBuf};

use super::{
    args, blocklist, create,
    download::none_is_left,
    exit::{Exit, Failure},
    input::{self, Named},
    network, outlet,
    signals::Signals,
    terminal::Terminal,
    transfer::{Goal, Transfer},
};
use crate::{
    metainfo::{Magnet, Metainfo},
    session::{AddTorrent, Check},
};

pub(super) async fn run(args: &args::Seed, terminal: Terminal) -> Result<Exit, Failure> {
    let mut signals = Signals::listen()?;
    let blocked = blocklist::read(&args.network.blocklist, terminal)?;
    let outlet = outlet::open(&args.network.outlet);
    let outlet = signals.during(outlet).await?;
    let mut sources = Vec::new();
    for text in &args.sources {
        let source = signals.during(async { Ok(source(text, args, terminal).await) }).await?;
        match source {
            Err(failure) if failure.exit.is_signal() => return Err(failure),
            source => sources.push(source.map_err(|failure| failure.input(text))),
        }
    }
    if sources.iter().all(Result::is_err) {
        let failures = sources.into_iter().filter_map(Result::err).collect();
        return none_is_left(failures, 0, terminal);
    }
    let peers = network::peers(&args.network, &outlet, &blocked, terminal);
    let peers = signals.during(peers).await?;
    let starting = network::start(&args.network, &outlet, blocked, terminal);
    let session = signals.during(starting).await?;
    let goal =
        Goal { seed: true, limit: args.limit, timeout: args.network.timeout, fetches: false };
    let mut transfer = Transfer::new(session, goal, terminal);
    let adds = sources.into_iter().map(|source| {
        source.map(|Source { metainfo, root, is_fresh }| AddTorrent {
            // What was hashed a moment ago to make the torrent need not be hashed again.
            check: if is_fresh { Check::Nothing } else { network::check(args.checking) },
            trackers: network::trackers(&args.network),
            peers: peers.clone(),
            super_seed: args.super_seed,
            // Somebody may edit what is served: his changes stay.
            fetch: false,
            ..AddTorrent::new(metainfo, root)
        })
    });
    match signals.during(transfer.add_all(adds.collect())).await {
        Ok(()) => transfer.run(signals).await,
        Err(failure) => transfer.give_up(failure, signals).await,
    }
}

/// What is to be served.
struct Source {
    metainfo: Metainfo,
    /// The folder that holds its file or folder.
    root: PathBuf,
    /// The torrent was made of the data just now.
    is_fresh: bool,
}

/// What `text` names. Of anything that is not a torrent one is made, and its link is printed.
async fn source(text: &str, args: &args::Seed, terminal: Terminal) -> Result<Source, Failure> {
    let path = match Named::of(text) {
        Named::File(path) if !is_torrent(&path) && path.exists() => path,
        _ => {
            let (outlet, ca_file) = (&args.network.outlet, args.network.ca_file.as_deref());
            let metainfo = input::torrent(text, outlet, ca_file).await?;
            input::folder(&args.data)?;
            return Ok(Source { metainfo, root: args.data.clone(), is_fresh: false });
        }
    };
    let mut metainfo = create::in_memory(&path, terminal)?;
    metainfo.tiers = args.network.tracker.iter().map(|tier| tier.0.clone()).collect();
    let link = Magnet::from_metainfo(&metainfo).to_string();
    if terminal.json {
        #[derive(serde::Serialize)]
        struct Link {
            id: String,
            magnet: String,
        }
        let id = metainfo.info.info_hash().wire().to_string();
        terminal.event("magnet", &Link { id, magnet: link })?;
    } else {
        terminal.data(&link)?;
    }
    // The data is where it is, whatever `--data` says of torrents.
    Ok(Source { metainfo, root: parent(&path), is_fresh: true })
}

/// The folder that holds `path`.
pub(super) fn parent(path: &Path) -> PathBuf {
    let whole = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    whole.parent().map_or_else(|| PathBuf::from("/"), Path::to_path_buf)
}

/// Whether a file is a torrent: by its name, or else by what is in it.
fn is_torrent(path: &Path) -> bool {
    if !path.is_file() {
        return false;
    }
    let named = path.extension().is_some_and(|e| e.eq_ignore_ascii_case("torrent"));
    named || input::read_file(path).is_ok_and(|bytes| Metainfo::from_bytes(&bytes).is_ok())
}
