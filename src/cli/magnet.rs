//! `magnet`: a torrent as a link; a link in its plain form.

use serde::Serialize;

use super::{
    args,
    exit::{Exit, Failure},
    input::{self, Named},
    terminal::Terminal,
};
use crate::metainfo::Magnet;

#[derive(Serialize)]
struct Done {
    magnet: String,
    exit: u8,
}

pub(super) async fn run(args: &args::Magnet, terminal: Terminal) -> Result<Exit, Failure> {
    let magnet = match Named::of(&args.torrent) {
        Named::Magnet(link) => input::magnet(&link)?,
        Named::InfoHash(hash) => Magnet::new(crate::base::hash::InfoHash::v1(hash)),
        _ => Magnet::from_metainfo(&input::torrent(&args.torrent, None).await?),
    };
    let magnet = magnet.to_string();
    if terminal.json {
        terminal.event("done", &Done { magnet, exit: Exit::Done.code() })?;
    } else {
        terminal.data(&magnet)?;
    }
    Ok(Exit::Done)
}
