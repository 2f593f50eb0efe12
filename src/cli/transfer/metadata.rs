//! Torrents of which only the hash is known: what becomes of them once their metadata is here.

use std::{
    net::SocketAddr,
    ops::RangeInclusive,
    path::{Path, PathBuf},
};

use serde::Serialize;

use super::{Torrent, Transfer, failures::failed};
use crate::{
    cli::{
        args, choice, create,
        exit::{Exit, Failure},
        progress::Stage,
    },
    metainfo::{Metainfo, ShareCode},
    session::{AddError, AddTorrent, FetchMetadata, Fetching},
};

/// What is to be done with the metadata.
pub(in crate::cli) enum Then {
    /// The torrent is added to the session.
    Add(Box<dyn FnOnce(Metainfo) -> Result<AddTorrent, Failure> + Send>),
    /// Its files are shown, and that is all: how they would be chosen, and how the link chooses.
    List(args::Choice, Vec<RangeInclusive<u32>>),
    /// It is written as a torrent file, and that is all.
    Write {
        /// Where; a folder gets a file named after the torrent.
        path: PathBuf,
        /// Whether a file that is there may be overwritten.
        force: bool,
    },
}

/// What is known of a torrent whose metadata is to be fetched.
pub(in crate::cli) enum Known {
    /// Its hash, and where to look for it.
    Hash(FetchMetadata),
    /// The code under which it is shared, and peers to try first.
    Code(ShareCode, Vec<SocketAddr>),
}

/// Metadata that is being fetched.
pub(super) struct Pending {
    fetching: Fetching,
    then: Then,
}

#[derive(Serialize)]
struct Came<'a> {
    id: &'a str,
    name: &'a str,
    total: u64,
    /// Bytes of the info dictionary.
    metadata: usize,
}

#[derive(Serialize)]
struct Written<'a> {
    id: &'a str,
    name: &'a str,
    path: String,
    exit: u8,
}

impl Transfer {
    /// Begins to fetch metadata, or takes the reason why not.
    pub(in crate::cli) async fn fetch(
        &mut self,
        known: Result<Known, Failure>,
        then: Then,
    ) -> Result<(), Failure> {
        let known = match known {
            Ok(known) => known,
            Err(failure) => {
                self.refused.push(failure);
                return Ok(());
            }
        };
        let session = self.session.as_ref().expect("the session ends last");
        let (name, fetching) = match known {
            Known::Hash(fetch) => {
                (fetch.magnet.info_hash.wire().to_string(), session.fetch_metadata(fetch).await)
            }
            // By where those who know the code meet: anybody may see that, and nobody the code.
            Known::Code(code, peers) => {
                (code.place().to_string(), session.fetch_shared(code, peers).await)
            }
        };
        match fetching {
            Ok(fetching) => {
                if let Some(trouble) = fetching.trouble() {
                    self.terminal.warn(trouble)?;
                }
                let handle = fetching.torrent().clone();
                let path = handle.name().into();
                let mut torrent = self.watch(handle, path, name);
                torrent.pending = Some(Pending { fetching, then });
                self.torrents.push(torrent);
            }
            Err(AddError::Duplicate(_)) => self.named_twice(&name)?,
            Err(error) => {
                let failure = Failure::new(Exit::Unexpected, "could not fetch metadata");
                self.refused.push(failure.cause(&error).about(name));
            }
        }
        Ok(())
    }

    /// Does with the metadata of torrent `i` what was to be done.
    pub(super) async fn metadata_came(&mut self, i: usize) -> Result<(), Failure> {
        let t = &mut self.torrents[i];
        let Some(Pending { fetching, then }) = t.pending.take() else { return Ok(()) };
        let metainfo = fetching.wait().await;
        if self.terminal.json
            && let Ok(Metainfo { info, .. }) = &metainfo
        {
            let (total, metadata) = (info.geometry().total(), info.bytes().len());
            let came = Came { id: t.observed.id(), name: info.name(), total, metadata };
            self.terminal.event("metadata", &came)?;
        }
        let outcome = match metainfo {
            Ok(metainfo) => self.carry_out(i, fetching, metainfo, then).await,
            Err(error) => {
                fetching.finish().await;
                Err(failed(&self.torrents[i].path, &error, true))
            }
        };
        if let Err(failure) = outcome {
            let failure = failure.about(self.torrents[i].observed.id());
            let failure = self.tell(failure);
            let t = &mut self.torrents[i];
            t.last.end(Stage::Stopped);
            t.last.waiting = Some(failure.message.clone());
            t.end = Some(Err(failure));
        }
        Ok(())
    }

    async fn carry_out(
        &mut self,
        i: usize,
        fetching: Fetching,
        metainfo: Metainfo,
        then: Then,
    ) -> Result<(), Failure> {
        let outcome = match then {
            Then::Add(add) => match add(metainfo) {
                Ok(add) => return self.replace(i, fetching, add).await,
                Err(failure) => Err(failure),
            },
            Then::List(choice, linked) => self.list(i, &metainfo, &choice, &linked),
            Then::Write { path, force } => self.write(i, &metainfo, &path, force),
        };
        fetching.finish().await;
        outcome
    }

    /// The torrent takes the place of the one without metadata.
    async fn replace(
        &mut self,
        i: usize,
        fetching: Fetching,
        add: AddTorrent,
    ) -> Result<(), Failure> {
        let path = add.root.join(add.metainfo.info.name());
        let added = fetching.add(add).await;
        let handle = added.map_err(|error| super::refused(&path, &error, true))?;
        let told = std::mem::take(&mut self.torrents[i].told);
        self.torrents[i] = Torrent { told, ..self.enter(handle, path)? };
        Ok(())
    }

    fn write(
        &mut self,
        i: usize,
        metainfo: &Metainfo,
        path: &Path,
        force: bool,
    ) -> Result<(), Failure> {
        let path = create::torrent_file(path, metainfo.info.name());
        create::write(&path, &metainfo.to_bytes(), force)?;
        let t = &mut self.torrents[i];
        t.last.end(Stage::Done);
        t.end = Some(Ok(()));
        let path = path.display().to_string();
        if self.terminal.json {
            let (id, name) = (t.observed.id(), metainfo.info.name());
            let written = Written { id, name, path, exit: Exit::Done.code() };
            return self.terminal.event("done", &written);
        }
        self.progress.data(&self.terminal.as_data(&path))
    }

    fn list(
        &mut self,
        i: usize,
        metainfo: &Metainfo,
        choice: &args::Choice,
        linked: &[RangeInclusive<u32>],
    ) -> Result<(), Failure> {
        let files = choice::files(choice, linked, &metainfo.info)?;
        let t = &mut self.torrents[i];
        t.last.end(Stage::Done);
        t.end = Some(Ok(()));
        let progress = &mut self.progress;
        choice::list(&metainfo.info, &files, self.terminal, |lines| progress.data(lines))
    }
}
