//! How a torrent comes into a session: what must not be overwritten, what is there already (`present`), then
//! off to the shard.
//!
//! Files are looked at on threads that may block, never on the shard; of each volume one check at a time, because
//! each uses all cores. A volume that does not answer holds up its own torrents, and for half a minute those that are
//! added together with them.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::PathBuf,
    pin::pin,
    sync::{
        Arc, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{Semaphore, mpsc},
    task::{JoinSet, spawn_blocking},
    time::{sleep, timeout},
};

use super::{
    Core, EncryptionPolicy,
    command::{Command, Hosting},
    discovery::{self, Announcing},
    error::AddError,
    event::TorrentEvent,
    handle::TorrentHandle,
    persist::torrents,
    present::{self, Missing, Obstacle, Present, Terms},
    selection,
    shared::{Shared, Stage},
    snapshot::TorrentState,
    unfinished::Unfinished,
};
use crate::{
    base::{bitfield::Bitfield, index::FileIndex},
    disk::{
        Effort, Storage, Volume, Watch,
        preflight::{Conflict, ConflictCause},
    },
    metainfo::{Metainfo, ShareCode},
    pieces::{
        Priority,
        job::{DiskFault, FaultKind},
    },
    torrent::{InfoBytes, Settings, Setup, Source},
};

/// Progress of a check is told so often over its whole length.
const PROGRESS_STEPS: u64 = 400;
/// But not more often than after so many bytes.
const PROGRESS_LEAST: u64 = 1 << 20;
/// And so often that a rate can be told, from a slow disk too.
const PROGRESS_MOST: u64 = 64 << 20;

/// A torrent whose files have not been looked at after so long is not taken: a disk may take some time to wake up,
const LOOK_LIMIT: Duration = Duration::from_secs(30);
/// … and each of its files some to be found.
const LOOK_LIMIT_FILE: Duration = Duration::from_millis(20);
/// A storage that is not there is looked for again after so long, and whether somebody is to stop as often.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// Each time after twice as long, up to so many times that: a look costs the disk that keeps the state something.
const MOST_PAUSES: u32 = 60;

/// A torrent to be added.
#[derive(Debug, Clone)]
pub struct AddTorrent {
    /// The torrent.
    pub metainfo: Metainfo,
    /// The parent folder of the torrent's top-level file or folder.
    pub root: PathBuf,
    /// Whoever knows this code, and nobody else, finds the torrent and takes part: it is announced to the
    /// DHT and the local network under the code's place, and to nobody under its info hash. Peers without
    /// the code are let in if they know the info hash. The session has to encrypt every connection.
    pub code: Option<ShareCode>,
    /// Trackers besides those of the torrent; each is used.
    pub trackers: Vec<String>,
    /// Web seeds besides those of the torrent: URLs as in `url-list` (BEP 19).
    pub web_seeds: Vec<String>,
    /// Peers named by the user: dialled first.
    pub peers: Vec<SocketAddr>,
    /// Whether to go on serving once it is complete. Otherwise it pauses then.
    pub keep_seeding: bool,
    /// How much each file is wanted, in the order of the torrent, padding counted; empty is all alike.
    /// An unwanted file is not made; what has to be kept of it lies in a hidden one.
    pub files: Vec<Priority>,
    /// Fetch both ends of each wanted file before everything else.
    pub ends_first: bool,
    /// Take pieces in order instead of rarest first.
    pub sequential: bool,
    /// A seed shows each peer a few pieces at a time, until the peers have everything among them (BEP 16).
    pub super_seed: bool,
    /// What is hashed of data that is there.
    pub check: Check,
    /// Whether what is missing is fetched. Otherwise the files are never written to.
    pub fetch: bool,
    /// Whether files that look like somebody else's may be overwritten.
    pub force: bool,
    /// Most connections, instead of the session's number.
    pub max_peers: Option<u32>,
    /// Keep connections to peers from whom nothing more can come and who want nothing more, so
    /// that their figures can be seen to the end.
    pub keep_useless: bool,
}

impl AddTorrent {
    /// Adds `metainfo` with its files below `root`, to be served for as long as the session runs.
    pub fn new(metainfo: Metainfo, root: impl Into<PathBuf>) -> Self {
        AddTorrent {
            metainfo,
            root: root.into(),
            code: None,
            trackers: Vec::new(),
            web_seeds: Vec::new(),
            peers: Vec::new(),
            keep_seeding: true,
            files: Vec::new(),
            ends_first: false,
            sequential: false,
            super_seed: false,
            check: Check::Doubtful,
            fetch: true,
            force: false,
            max_peers: None,
            keep_useless: false,
        }
    }
}

/// What is hashed of data that is on disk when a torrent is added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Check {
    /// What no resume state vouches for.
    Doubtful,
    /// All of it.
    Everything,
    /// Nothing of files that have their full length: the owner vouches for them. Nothing is recorded
    /// of such a torrent, so that the next run does not take for verified what nobody verified.
    Nothing,
}

/// A torrent that is listed.
struct Entered {
    add: AddTorrent,
    storage: Arc<Storage>,
    shared: Arc<Shared>,
    /// What fetched its metadata.
    older: Option<Arc<Shared>>,
}

/// A listed torrent, and whether its files may be used.
struct Looked {
    shared: Arc<Shared>,
    may_be: Result<Entered, AddError>,
}

impl Core {
    /// Takes a torrent in, in the place of `older` if that has fetched its metadata.
    pub(super) async fn add_one(
        self: &Arc<Self>,
        add: AddTorrent,
        older: Option<Arc<Shared>>,
    ) -> Result<TorrentHandle, AddError> {
        self.take_in(vec![(add, older)]).await.pop().expect("as many as were asked for")
    }

    /// Takes torrents in, each by itself. Their files are checked after that; see
    /// [`TorrentState::Checking`].
    pub(super) async fn add(
        self: &Arc<Self>,
        adds: Vec<AddTorrent>,
    ) -> Vec<Result<TorrentHandle, AddError>> {
        self.take_in(adds.into_iter().map(|add| (add, None)).collect()).await
    }

    async fn take_in(
        self: &Arc<Self>,
        adds: Vec<(AddTorrent, Option<Arc<Shared>>)>,
    ) -> Vec<Result<TorrentHandle, AddError>> {
        let mut taken = Vec::new();
        let mut by_folder: BTreeMap<PathBuf, Vec<(usize, Entered)>> = BTreeMap::new();
        for (at, (add, older)) in adds.into_iter().enumerate() {
            let root = add.root.clone();
            match self.enter(add, older) {
                Ok(entered) => by_folder.entry(root).or_default().push((at, entered)),
                Err(error) => taken.push((at, Err(error))),
            }
        }
        let mut looks: JoinSet<_> = by_folder.into_values().map(look_at_folder).collect();
        while let Some(look) = looks.join_next().await {
            taken.append(&mut look.expect("it does not panic, and nobody ends it"));
        }
        taken.sort_unstable_by_key(|&(at, _)| at);
        // All at once, so that whoever waits for the handles hears of everything.
        let begin = |looked: Result<Looked, AddError>| {
            let Looked { shared, may_be } = looked?;
            let entered = may_be.inspect_err(|_| self.registry.remove(&shared))?;
            shared.set_arrival(tokio::spawn(self.clone().bring_up(entered)));
            Ok(TorrentHandle { shared, core: self.clone() })
        };
        taken.into_iter().map(|(_, looked)| begin(looked)).collect()
    }

    /// The turns of checks on a volume.
    fn turns_on(&self, volume: Volume) -> Arc<Semaphore> {
        let mut checks = self.checks.lock().unwrap_or_else(PoisonError::into_inner);
        checks.of(volume, || Ok(one_at_a_time())).clone()
    }

    /// Gives the code back if it would not be overheard here.
    pub(super) fn may_use(&self, code: Option<ShareCode>) -> Result<Option<ShareCode>, AddError> {
        match self.config.encryption {
            EncryptionPolicy::Required => Ok(code),
            _ if code.is_none() => Ok(None),
            _ => Err(AddError::Overheard),
        }
    }

    /// Lists a torrent.
    fn enter(&self, add: AddTorrent, older: Option<Arc<Shared>>) -> Result<Entered, AddError> {
        let info = add.metainfo.info.clone();
        let (info_hash, code) = (info.info_hash().wire(), self.may_use(add.code)?);
        let storage = self.storage(&add);
        let mail = self.shard.mail.clone();
        let make = |id| Shared::new(id, info, code, mail);
        let shared = self.registry.enter(info_hash, code, older.as_deref(), make);
        Ok(Entered { add, storage, shared: shared.map_err(AddError::Duplicate)?, older })
    }

    /// The place of a torrent, of which nothing is known yet.
    fn storage(&self, add: &AddTorrent) -> Arc<Storage> {
        let info = add.metainfo.info.clone();
        Arc::new(match selection::unwanted(&info, &add.files) {
            None => Storage::on_disk(info, &add.root, &self.files),
            // Which of them are there is looked at once they may block.
            Some(unwanted) => Storage::without(info, &add.root, &self.files, unwanted),
        })
    }

    async fn bring_up(self: Arc<Self>, mut entered: Entered) {
        let (told, older) = (entered.shared.clone(), entered.older.clone());
        let mut checked = self.check(&entered).await;
        let mut is_told = false;
        let mut pauses = 1;
        while let Err(Obstacle::Missing(missing)) = checked {
            // Its state is let go of: it is claimed anew by each look.
            match std::mem::replace(&mut is_told, true) {
                false => miss(&entered, *missing).await,
                true => drop(missing),
            }
            let is_cancelled = || told.cancel.load(Ordering::Relaxed);
            for _ in 0..pauses {
                sleep(LOOK_AGAIN).await;
                if is_cancelled() {
                    break;
                }
            }
            if is_cancelled() {
                checked = Err(Obstacle::Cancelled);
                break;
            }
            pauses = (pauses * 2).min(MOST_PAUSES);
            // What was looked at is to be looked at anew.
            entered.storage = self.storage(&entered.add);
            let storage = entered.storage.clone();
            blocking(move || storage.locate()).await;
            checked = self.check(&entered).await;
        }
        match checked {
            Ok(present) => {
                let (have, pieces) = (present.have.count(), present.have.len());
                told.tell(|| TorrentEvent::Checked { have, pieces });
                self.host(entered, present).await;
            }
            Err(obstacle) => {
                if let Obstacle::Error(error) = obstacle {
                    told.publish_state(TorrentState::Failed(error.to_string()));
                    told.set_stage(Stage::Failed(error));
                }
                if let Some(shared) = older {
                    TorrentHandle { shared, core: self }.remove().await;
                }
            }
        }
        told.arrived();
    }

    /// Finds out which pieces are on disk.
    async fn check(&self, entered: &Entered) -> Result<Present, Obstacle> {
        let Entered { add, storage, shared, .. } = entered;
        let turns = self.turns_on(storage.volume());
        let mut turn = pin!(turns.acquire());
        let _turn = loop {
            tokio::select! {
                turn = &mut turn => break turn,
                () = sleep(LOOK_AGAIN) => {}
            }
            if shared.cancel.load(Ordering::Relaxed) {
                return Err(Obstacle::Cancelled);
            }
        };
        let (storage, shared) = (storage.clone(), shared.clone());
        let (check, fetch, force, root) = (add.check, add.fetch, add.force, add.root.clone());
        let partly = !add.files.is_empty();
        let state_dir = self.config.state_dir.clone();
        let file_system = self.files.file_system().clone();
        // Whoever vouches for the files wants nothing recorded, and a code is no way to what is kept.
        let is_kept = check != Check::Nothing && shared.code.is_none();
        let kept = is_kept.then(|| add.metainfo.info.clone());
        blocking(move || {
            let (root, state_dir) = (&*root, state_dir.as_deref());
            let terms = Terms { check, fetch, force, partly, root, state_dir };
            let mut present = watched(&shared, |watch| {
                present::look(&storage, &file_system, terms, Effort::default(), watch)
            })?;
            if let Some((dir, info)) = state_dir.zip(kept)
                && let Err(error) = torrents::keep(&*file_system, dir, &info)
            {
                let told = || format!("could not keep the torrent in `{}`: {error}", dir.display());
                present.trouble.get_or_insert_with(told);
            }
            Ok(present)
        })
        .await
    }

    async fn host(&self, entered: Entered, present: Present) {
        let Entered { add, storage, shared, older } = entered;
        let Present { have, partial, peers: known, recorded, trouble, claim } = present;
        let AddTorrent { metainfo, trackers, web_seeds, peers, keep_seeding, .. } = add;
        let info = &shared.info;
        let priorities = selection::of_pieces(info, &add.files, add.ends_first);
        let setup = Setup {
            info_hash: info.info_hash().wire(),
            code: shared.code,
            geometry: info.geometry(),
            have,
            partial,
            priorities,
            peer_id: self.peer_id,
            listen_port: self.port,
            dht_port: self.dht_port(info.private()),
            metadata: Some(InfoBytes::new(info.clone())),
            settings: Settings {
                max_peers: add.max_peers.unwrap_or(self.config.max_peers),
                unchoke_slots: self.config.upload_slots,
                sequential: add.sequential,
                super_seed: add.super_seed,
                fetch: add.fetch,
                encryption: self.config.encryption,
                pex: self.config.pex && !info.private(),
                keep_useless: add.keep_useless,
                blocked: self.config.blocked.clone(),
                ..Settings::default()
            },
            seed: self.seed(),
        };
        let torrent = shared.id;
        let extra = trackers.into_iter().map(|url| vec![url]);
        // Trackers would have to be told the info hash.
        let trackers = self.config.trackers && shared.code.is_none();
        let tiers = extra.chain(metainfo.tiers).filter(|_| trackers);
        let announcing = Announcing {
            shared: shared.clone(),
            shard: self.shard.clone(),
            tiers: tiers.collect(),
            nodes: metainfo.nodes,
        };
        if let Some(older) = &older {
            self.discovery.send(discovery::Input::Forget(older.id));
        }
        self.discovery.send(discovery::Input::Add(Box::new(announcing)));
        if let Some(trouble) = trouble {
            shared.tell(|| TorrentEvent::StateTrouble(trouble));
        }
        let urls = web_seeds.into_iter().chain(metainfo.web_seeds);
        let web_seeds = urls.filter(|_| self.config.web_seeds).map(Arc::from).collect();
        let older_id = older.as_ref().map(|older| older.id);
        let hosting = Hosting {
            setup,
            web_seeds,
            storage,
            claim,
            shared,
            keep_seeding,
            recorded,
            older: older_id,
        };
        // A shard that has ended needs neither.
        self.shard.send(Command::Host(Box::new(hosting))).await;
        if let Some(older) = older {
            older.leave();
        }
        for (source, addrs) in [(Source::User, peers), (Source::Resume, known)] {
            if !addrs.is_empty() {
                self.shard.send(Command::PeersFound { torrent, source, addrs }).await;
            }
        }
    }
}

/// Shows that the storage of a torrent is not there, and leaves word of it.
async fn miss(entered: &Entered, missing: Missing) {
    let Missing { fault, left } = missing;
    let (shared, info) = (&entered.shared, entered.shared.info.clone());
    shared.set_stage(Stage::Failed(fault.clone().into()));
    let (have, record) = match left {
        Some((have, record)) => (have, Some(record)),
        None => (Bitfield::empty(info.geometry().pieces()), None),
    };
    let bytes = selection::tally(&info, &entered.add.files, &have);
    let why = shared.publish_missing(&fault, bytes);
    if let Some(record) = record {
        // Nothing depends on it, and the next run finds the same.
        let keep = move || record.keep_why(Some(&Unfinished::of(&info, record.root(), bytes, why)));
        let _ = blocking(keep).await;
    }
}

/// Looks at the files of torrents of one folder, each with its place among all: one way to a thread that may block
/// and back, for however many.
async fn look_at_folder(entered: Vec<(usize, Entered)>) -> Vec<(usize, Result<Looked, AddError>)> {
    let listed: Vec<_> = entered.iter().map(|(at, one)| (*at, one.shared.clone())).collect();
    let files = listed.iter().map(|(_, shared)| shared.info.layout().files().len());
    let limit = LOOK_LIMIT + LOOK_LIMIT_FILE * files.max().unwrap_or(0) as u32;
    let (results, mut looked) = mpsc::unbounded_channel();
    spawn_blocking(move || {
        for (_, entered) in entered {
            entered.storage.locate();
            let may_be = look(&entered.storage, entered.add.force);
            // Whoever waited may have given up.
            let _ = results.send(may_be.map(|()| entered));
        }
    });
    let mut taken = Vec::new();
    for (at, shared) in listed {
        let found = timeout(limit, looked.recv()).await.ok().flatten();
        if found.is_none() {
            // The others in the folder wait for the same disk.
            looked.close();
        }
        let may_be = found.unwrap_or_else(|| Err(silence(&shared, limit).into()));
        taken.push((at, Ok(Looked { shared, may_be })));
    }
    taken
}

/// The turns of those who go one after the other.
pub(super) fn one_at_a_time() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(1))
}

/// The folder of a torrent did not answer.
fn silence(shared: &Shared, limit: Duration) -> DiskFault {
    DiskFault {
        kind: FaultKind::Io,
        operation: "look at".to_owned(),
        file: shared.info.name().to_owned(),
        cause: format!("the disk did not answer for {} s", limit.as_secs()),
    }
}

/// Refuses files that are longer than the torrent says, before anything else is done, unless they may
/// be used by `force`.
fn look(storage: &Storage, force: bool) -> Result<(), AddError> {
    let stamps = match storage.stamps() {
        // What is not there may be waited for.
        Err(fault) if fault.kind.is_away() => return Ok(()),
        stamps => stamps?,
    };
    let files = storage.info().layout().files();
    let longer = (0..).map(FileIndex).zip(files).zip(&stamps).find_map(|((index, file), stamp)| {
        let length = stamp.map(|stamp| stamp.length).filter(|&length| length > file.length)?;
        let cause = ConflictCause::Longer { length, expected: file.length };
        Some(Conflict { file: index, path: file.path.to_string(), cause })
    });
    match longer {
        Some(conflict) if !force => Err(AddError::InTheWay(conflict.to_string())),
        _ => Ok(()),
    }
}

/// Does `work`, and tells of the bytes that it looks at.
fn watched<R>(shared: &Shared, work: impl FnOnce(Watch<'_>) -> R) -> R {
    let total = shared.info.geometry().total();
    let step = (total / PROGRESS_STEPS).clamp(PROGRESS_LEAST, PROGRESS_MOST);
    let done = AtomicU64::new(0);
    let progress = |bytes: u64| {
        let before = done.fetch_add(bytes, Ordering::Relaxed);
        let now = before + bytes;
        if before / step != now / step {
            shared.publish_state(TorrentState::Checking { done: now, total });
            shared.tell(|| TorrentEvent::CheckProgress { done: now, total });
        }
    };
    work(Watch { progress: &progress, cancel: &shared.cancel })
}

/// Runs what may block where it may.
pub(super) async fn blocking<R: Send + 'static>(work: impl FnOnce() -> R + Send + 'static) -> R {
    spawn_blocking(work).await.expect("the work does not panic, and the runtime is running")
}
