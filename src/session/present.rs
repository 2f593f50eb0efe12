//! What of a torrent is on disk when it is added: what resume state vouches for, what has to be hashed, and
//! what is in the way. Blocking.

use std::{io, net::SocketAddr, path::Path, sync::Arc};

use super::{
    adding::Check,
    error::{Owner, TorrentError},
    persist::{Kept, Place, Record},
};
use crate::{
    base::{
        bitfield::Bitfield,
        file_stamp::FileStamp,
        index::{PartialPiece, PieceIndex},
    },
    disk::{
        Effort, FileState, FileSystem, Found, Lock, NoLock, Storage, Watch, check,
        preflight::conflicts,
    },
    metainfo::Info,
    pieces::job::{DiskFault, FaultKind},
    resume::{Judgement, ResumeState},
};

/// What a torrent is added for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms<'a> {
    /// What is hashed of data that is there.
    pub(super) check: Check,
    /// Whether what is missing is fetched.
    pub(super) fetch: bool,
    /// Whether files that look like somebody else's may be overwritten.
    pub(super) force: bool,
    /// Whether some files may be unwanted.
    pub(super) partly: bool,
    /// The parent folder of the torrent's top-level file or folder.
    pub(super) root: &'a Path,
    /// The folder that resume state is kept in, if it is.
    pub(super) state_dir: Option<&'a Path>,
}

/// What is known of a torrent's data once it was looked at.
#[derive(Debug)]
pub(super) struct Present {
    pub(super) have: Bitfield,
    pub(super) partial: Vec<PartialPiece>,
    /// Peers of an earlier run.
    pub(super) peers: Vec<SocketAddr>,
    /// Where its resume state is kept, if it is.
    pub(super) recorded: Option<Kept>,
    /// Why no state was found although there is a file: one sentence.
    pub(super) trouble: Option<String>,
    /// Keeps others from the files.
    pub(super) claim: Lock,
}

/// Why a torrent does not get to the shard.
#[derive(Debug)]
pub(super) enum Obstacle {
    Error(TorrentError),
    /// Its storage is not there.
    Missing(Box<Missing>),
    Cancelled,
}

/// What is known of a torrent whose storage is not there.
#[derive(Debug)]
pub(super) struct Missing {
    pub(super) fault: DiskFault,
    /// The pieces that an earlier run has put there, and where its state is kept.
    pub(super) left: Option<(Bitfield, Arc<Record>)>,
}

impl From<DiskFault> for Obstacle {
    fn from(fault: DiskFault) -> Self {
        match fault.kind {
            kind if kind.is_away() => Obstacle::Missing(Box::new(Missing { fault, left: None })),
            _ => Obstacle::Error(fault.into()),
        }
    }
}

fn in_use(by: Option<u32>) -> Obstacle {
    Obstacle::Error(TorrentError::InUse(Owner(by)))
}

/// Looks at the files of `storage`, which are on `file_system`, and hashes what is in doubt.
pub(super) fn look(
    storage: &Storage,
    file_system: &Arc<dyn FileSystem>,
    terms: Terms<'_>,
    effort: Effort,
    watch: Watch<'_>,
) -> Result<Present, Obstacle> {
    let Terms { check: policy, fetch, force, partly, root, state_dir } = terms;
    let info = storage.info();
    let place = state_dir.map(|dir| Place::claim(file_system, dir, root, info)).transpose();
    let place = place.map_err(in_use)?;
    let claimed = claim(&**file_system, root, info)?;
    let stamps = storage.stamps()?;
    // What the owner vouches for nobody has verified.
    let keeps_state = policy != Check::Nothing;
    let found = place.map(|place| Record::find(place, info, stamps.clone(), keeps_state));
    let state = found.as_ref().and_then(|found| found.state.as_ref());
    if !force
        && let Some((found, state)) = found.as_ref().zip(state)
        && let Err(fault) = is_left(&**file_system, root, info, (state, &stamps))
    {
        let left = Some((state.have.clone(), found.record.clone()));
        return Err(Obstacle::Missing(Box::new(Missing { fault, left })));
    }
    let judged = judge(policy, info, state, &stamps);
    let Judgement { trusted: mut have, mut doubtful, mut partial, own } = judged;
    if partly {
        for piece in have.clone().iter().filter(|&piece| !storage.is_plain(piece)) {
            // Whatever vouches for it, bytes that have no place are not there; and nobody can vouch
            // for what lies in the hidden file.
            let holds = storage.holds(piece);
            if !holds || policy == Check::Nothing {
                have.remove(piece);
            }
            if holds && policy == Check::Nothing {
                doubtful.insert(piece);
            }
        }
    }
    let settled = state.is_some_and(|state| state.settled);
    let uploaded = state.map_or(0, |state| state.uploaded);
    let is_true = settled && policy == Check::Doubtful && doubtful.is_empty();
    let peers = state.map_or_else(Vec::new, |state| state.peers.clone());
    if !doubtful.is_empty() {
        let mut now =
            check(storage, Some(&doubtful), effort.at(root), watch).ok_or(Obstacle::Cancelled)?;
        if let Some(fault) = not_read(storage, &now) {
            let left = found.as_ref().zip(state);
            let left = left.map(|(found, state)| (state.have.clone(), found.record.clone()));
            return Err(match Obstacle::from(fault) {
                Obstacle::Missing(missing) => {
                    Obstacle::Missing(Box::new(Missing { left, ..*missing }))
                }
                other => other,
            });
        }
        storage.found(&now.have);
        for piece in have.iter() {
            now.have.insert(piece);
        }
        let in_the_way = conflicts(storage, &now);
        let foreign = in_the_way.iter().find(|c| own.binary_search(&c.file).is_err());
        if !force && let Some(conflict) = foreign {
            return Err(Obstacle::Error(TorrentError::Differs(conflict.to_string())));
        }
        have = now.have;
    }
    partial.retain(|partial| !have.has(partial.piece));
    if fetch && !have.is_full() {
        storage.may_write()?;
    }
    let claim = match claimed {
        Some(lock) => lock,
        // The folder has been made now.
        None => claim(&**file_system, root, info)?.unwrap_or(Lock::NONE),
    };
    // What is only given to others is not written to.
    if fetch {
        storage.create_empty_files()?;
    }
    if fetch && have.is_full() {
        storage.tidy();
    }
    let (recorded, trouble) = match found {
        Some(found) => {
            if is_true {
                // What kept an earlier run back does not hold any more. Nothing depends on it.
                let _ = found.record.keep_why(None);
            }
            (Some(Kept { record: found.record, settled, is_true, uploaded }), found.trouble)
        }
        None => (None, None),
    };
    Ok(Present { have, partial, peers, recorded, trouble, claim })
}

/// Why a check has not read what is there, if it is not for a few bad places: nothing can be said of that.
fn not_read(storage: &Storage, found: &Found) -> Option<DiskFault> {
    found.files.iter().find_map(|fact| {
        let FileState::Unreadable(fault) = &fact.state else { return None };
        let layout = storage.info().layout();
        let is_told = match fault.kind {
            FaultKind::Missing | FaultKind::Changed => false,
            FaultKind::Io => {
                let piece_length = u64::from(storage.info().geometry().piece_length());
                let offset = layout.file(fact.file).map_or(0, |file| file.offset);
                !storage.is_readable(PieceIndex((offset / piece_length) as u32))
            }
            _ => true,
        };
        (is_told && storage.backend().is_wanted(fact.file)).then(|| fault.clone())
    })
}

/// Keeps others from the files of a torrent, if its folder is there.
fn claim(file_system: &dyn FileSystem, root: &Path, info: &Info) -> Result<Option<Lock>, Obstacle> {
    match file_system.claim(root, info.info_hash().wire()) {
        Ok(lock) => Ok(Some(lock)),
        Err(NoLock::Taken(by)) => Err(in_use(by)),
        Err(NoLock::Refused) => Ok(None),
    }
}

/// Of what an earlier run has put pieces into something has to be left: where all of it is gone the disk is not
/// mounted, as a rule, and nothing is to be made anew in its place.
fn is_left(
    file_system: &dyn FileSystem,
    root: &Path,
    info: &Info,
    (state, now): (&ResumeState, &[Option<FileStamp>]),
) -> Result<(), DiskFault> {
    let gone = |path: &Path, what: &str| DiskFault {
        kind: FaultKind::Gone,
        operation: "find".to_owned(),
        file: path.display().to_string(),
        cause: format!("an earlier run has put pieces there, and {what}"),
    };
    if state.have.is_empty() {
        return Ok(());
    }
    let was_there = |(then, _): &(&Option<FileStamp>, _)| then.is_some();
    let mut files = state.files.iter().zip(now).filter(was_there).peekable();
    match file_system.identity(root) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(gone(root, "the folder is gone"))
        }
        _ if files.peek().is_some() && files.all(|(_, now)| now.is_none()) => {
            Err(gone(&root.join(info.name()), "nothing of it is left"))
        }
        _ => Ok(()),
    }
}

/// What need not be hashed.
fn judge(
    policy: Check,
    info: &Info,
    state: Option<&ResumeState>,
    stamps: &[Option<FileStamp>],
) -> Judgement {
    let known = state.map(|state| state.judge(info, stamps));
    let unknown = Judgement::unknown(info);
    match policy {
        Check::Doubtful => known.unwrap_or(unknown),
        Check::Everything => match known {
            Some(known) => Judgement { partial: known.partial, own: known.own, ..unknown },
            None => unknown,
        },
        Check::Nothing => Judgement::vouched(info, stamps),
    }
}
