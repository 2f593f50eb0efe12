//! Torrents in a session until they are done: what `download` and `seed` have in common.
//!
//! Shows progress, tells of what happens, gives up, stops seeding, ends well on a signal. Knows
//! when; what is shown is in [`progress`](super::progress).

mod events;
mod failures;
mod metadata;

use std::{path::PathBuf, sync::Arc, time::Duration};

use serde::Serialize;
use tokio::{
    sync::{Notify, broadcast},
    time::{Instant, interval},
};

use super::{
    args::{LogLevel, SeedLimit},
    create::plural,
    exit::{Exit, Failure},
    log::Followers,
    observe::Observed,
    progress::{Progress, Stage, View},
    signals::Signals,
    terminal::{Terminal, printable},
};
use crate::session::{
    AddError, AddTorrent, Mapped, Opened, Session, TorrentError, TorrentEvent, TorrentHandle,
};
use failures::{failed, gave_up, incomplete, refused};
use metadata::Pending;
pub(super) use metadata::{Known, Then};

/// Time between two looks at the session.
const TICK: Duration = Duration::from_millis(200);

/// When a transfer has done what it should.
#[derive(Debug, Clone, Copy)]
pub(super) struct Goal {
    /// Go on when everything is there.
    pub(super) seed: bool,
    /// When going on ends by itself.
    pub(super) limit: SeedLimit,
    /// Longest time without progress.
    pub(super) timeout: Option<Duration>,
    /// Missing data is to be fetched; otherwise it is an error.
    pub(super) fetches: bool,
}

impl Goal {
    /// Fetch, and leave.
    pub(super) fn to_fetch(timeout: Option<Duration>) -> Self {
        Goal { seed: false, limit: SeedLimit::default(), timeout, fetches: true }
    }
}

/// Torrents under way.
pub(super) struct Transfer {
    /// Until the end.
    session: Option<Session>,
    goal: Goal,
    terminal: Terminal,
    progress: Progress,
    start: Instant,
    torrents: Vec<Torrent>,
    /// How those ended that did not even begin.
    refused: Vec<Failure>,
    /// Inputs that were done with before.
    done: usize,
    /// What was told of the ports that peers outside use.
    mapped: Option<Mapped>,
    opened: Option<Opened>,
    /// When the figures of the whole session were told.
    told_totals: Option<Duration>,
    /// Rung when a torrent may have ended.
    bell: Arc<Notify>,
    /// Those who write down what happens.
    followers: Followers,
}

/// Said when a disk is too slow for an orderly end.
const UNWRITTEN: &str =
    "not everything could be written in time; the next run will verify what is in doubt";

/// Whether a torrent that has stopped goes on by itself: it waits for its storage. Where there is no room it would
/// too, but scripts rely on it that a full disk is an error.
fn goes_on(outcome: &Result<(), TorrentError>) -> bool {
    matches!(outcome, Err(TorrentError::Disk(fault)) if fault.kind.is_away())
}

/// One torrent.
struct Torrent {
    observed: Observed,
    handle: TorrentHandle,
    events: broadcast::Receiver<TorrentEvent>,
    path: PathBuf,
    /// Only its metadata is being fetched.
    pending: Option<Pending>,
    /// When it was seen last before it was fetched or complete.
    before: Duration,
    /// When the check was over.
    began: Option<Duration>,
    /// When everything was there.
    complete: Option<Duration>,
    /// How long it took to fetch what was fetched.
    took: Option<Duration>,
    end: Option<Result<(), Failure>>,
    last: View,
    /// Complaints that were told already.
    told: Vec<String>,
    /// Its storage is not there.
    missing: bool,
}

#[derive(Serialize)]
struct Listening {
    port: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    dht_port: Option<u16>,
}

#[derive(Serialize)]
struct Added<'a> {
    id: &'a str,
    name: &'a str,
    path: String,
    total: u64,
    files: usize,
    piece_length: u32,
    pieces: u32,
}

#[derive(Serialize)]
struct Done<'a> {
    id: &'a str,
    name: &'a str,
    path: String,
    total: u64,
    downloaded: u64,
    uploaded: u64,
    wasted: u64,
    seconds: f64,
}

impl<'a> Added<'a> {
    fn of(torrent: &'a Torrent) -> Self {
        let info = torrent.handle.info();
        Added {
            id: torrent.observed.id(),
            name: torrent.observed.name(),
            path: torrent.path.display().to_string(),
            total: info.geometry().total(),
            files: info.layout().files().filter(|f| f.is_stored()).count(),
            piece_length: info.geometry().piece_length(),
            pieces: info.geometry().pieces(),
        }
    }
}

impl Transfer {
    pub(super) fn new(session: Session, goal: Goal, terminal: Terminal) -> Self {
        Transfer {
            session: Some(session),
            goal,
            terminal,
            progress: Progress::new(terminal),
            start: Instant::now(),
            torrents: Vec::new(),
            refused: Vec::new(),
            done: 0,
            mapped: None,
            opened: None,
            told_totals: None,
            bell: Arc::default(),
            followers: Followers::new(terminal),
        }
    }

    /// So many other inputs are done with.
    pub(super) const fn count_done(&mut self, inputs: usize) {
        self.done = inputs;
    }

    /// Takes a torrent in, or the reason why there is none.
    pub(super) async fn add(&mut self, add: Result<AddTorrent, Failure>) -> Result<(), Failure> {
        self.add_all(vec![add]).await
    }

    /// Takes several in: none waits for the disk of another one.
    pub(super) async fn add_all(
        &mut self,
        adds: Vec<Result<AddTorrent, Failure>>,
    ) -> Result<(), Failure> {
        let (mut wanted, mut named) = (Vec::new(), Vec::new());
        for add in adds {
            match add {
                Ok(add) => {
                    let info = add.metainfo.info.clone();
                    named.push((add.root.join(info.name()), info));
                    wanted.push(add);
                }
                Err(failure) => self.refused.push(failure),
            }
        }
        let session = self.session.as_ref().expect("the session ends last");
        for (added, (path, info)) in session.add_all(wanted).await.into_iter().zip(named) {
            match added {
                Ok(handle) => {
                    let torrent = self.enter(handle, path)?;
                    self.torrents.push(torrent);
                }
                Err(AddError::Duplicate(_)) => self.named_twice(info.name())?,
                Err(error) => {
                    let id = info.info_hash().wire().to_string();
                    self.refused.push(refused(&path, &error, self.goal.fetches).about(id));
                }
            }
        }
        Ok(())
    }

    fn named_twice(&self, name: &str) -> Result<(), Failure> {
        self.terminal.warn(&format!("`{}` is named more than once", printable(name)))
    }

    /// A torrent of the session, told of.
    fn enter(&mut self, handle: TorrentHandle, path: PathBuf) -> Result<Torrent, Failure> {
        let id = handle.info().info_hash().wire().to_string();
        let torrent = self.watch(handle, path, id);
        self.terminal.log(LogLevel::Info, "added", |line| {
            let geometry = torrent.handle.info().geometry();
            line.of(torrent.observed.id())
                .with("name", torrent.observed.name())
                .with("bytes", geometry.total())
                .with("pieces", geometry.pieces())
                .with("path", torrent.path.display())
        });
        if self.terminal.json {
            self.terminal.event("added", &Added::of(&torrent))?;
        }
        Ok(torrent)
    }

    /// A torrent that is called by the hash `id`.
    fn watch(&mut self, handle: TorrentHandle, path: PathBuf, id: String) -> Torrent {
        self.followers.follow(&handle, id.clone());
        let (events, waiter) = (handle.subscribe(), handle.clone());
        let bell = self.bell.clone();
        tokio::spawn(async move {
            // How it ended is seen when the bell is heard.
            let _ = waiter.wait_complete().await;
            bell.notify_one();
        });
        let now = self.start.elapsed();
        let mut observed = Observed::new(&handle, id, now);
        let last = observed.look(now, &handle.snapshot());
        Torrent {
            observed,
            handle,
            events,
            path,
            pending: None,
            before: now,
            began: None,
            complete: None,
            took: None,
            end: None,
            last,
            told: Vec::new(),
            missing: false,
        }
    }

    /// Goes on until all torrents have ended or a signal comes, then ends the session well.
    pub(super) async fn run(mut self, mut signals: Signals) -> Result<Exit, Failure> {
        if !self.is_only() {
            let refused = &self.refused;
            self.progress.suspend(|| refused.iter().for_each(|f| self.terminal.failure(f)));
        }
        let dht_port = self.session.as_ref().and_then(Session::dht_port);
        if let Some(port) = self.session.as_ref().and_then(Session::port) {
            self.terminal.log(LogLevel::Info, "listening", |line| {
                line.with("port", port).with_some("dht_port", dht_port)
            });
            if self.terminal.json {
                self.terminal.event("listening", &Listening { port, dht_port })?;
            } else if self.terminal.verbose || !self.goal.fetches {
                let dht = dht_port.map_or(String::new(), |port| format!(", the DHT on {port}"));
                self.progress.say(&format!("Listening on port {port}{dht}."));
            }
        }
        let mut ticks = interval(TICK);
        let stopped = loop {
            // What is added may lie on a disk that does not answer.
            let looked = tokio::select! {
                looked = self.look() => looked,
                exit = signals.next() => break Some(exit),
            };
            match looked {
                Ok(()) if self.torrents.iter().all(|t| t.end.is_some()) => break None,
                Ok(()) => {}
                Err(failure) => {
                    self.progress.finish();
                    self.end_session(&mut signals).await;
                    return Err(failure);
                }
            }
            tokio::select! {
                _ = ticks.tick() => {}
                () = self.bell.notified() => {}
                exit = signals.next() => break Some(exit),
            }
        };
        self.finish(stopped, signals).await
    }

    /// Ends without having run, because of `failure`.
    pub(super) async fn give_up(
        mut self,
        failure: Failure,
        mut signals: Signals,
    ) -> Result<Exit, Failure> {
        self.progress.finish();
        self.refused.iter().for_each(|refused| self.terminal.failure(refused));
        self.end_session(&mut signals).await;
        Err(failure)
    }

    async fn end_session(&mut self, signals: &mut Signals) {
        if let Some(session) = self.session.take() {
            let mut is_written = false;
            let ending = async { is_written = session.shutdown().await };
            signals.end_well(ending, self.terminal).await;
            if !is_written {
                // Whoever is told no more is at the end anyway.
                let _ = self.terminal.warn(UNWRITTEN);
            }
            self.followers.end().await;
        }
    }

    /// Whether there is only one torrent: its failure is that of the run.
    fn is_only(&self) -> bool {
        self.torrents.len() + self.refused.len() + self.done == 1
    }

    /// Tells of the failure of one of several at once.
    fn tell(&self, failure: Failure) -> Failure {
        if !self.is_only() {
            self.progress.suspend(|| self.terminal.failure(&failure));
        }
        failure
    }

    /// One look at everything.
    async fn look(&mut self) -> Result<(), Failure> {
        let now = self.start.elapsed();
        self.hear_of_ports()?;
        self.hear_of_pinholes()?;
        for i in 0..self.torrents.len() {
            self.hear(i)?;
            let t = &mut self.torrents[i];
            if t.end.is_some() {
                continue;
            }
            let snapshot = t.handle.snapshot();
            t.last = t.observed.look(now, &snapshot);
            t.last.took = t.took;
            t.last.uploaded_before = t.handle.uploaded_before();
            if matches!(t.last.stage, Stage::Checking | Stage::Stopped) {
                t.before = now;
            } else {
                // What is over at the first look has begun after the one before.
                let complete = t.last.stage.is_complete();
                t.began.get_or_insert(if complete { t.before } else { now });
            }
            let is_stuck = matches!(t.last.stage, Stage::Metadata | Stage::Downloading)
                && t.last.waiting.is_some();
            if is_stuck {
                self.tell_why(i, now, &snapshot.why)?;
            }
            self.tell_storage(i, &snapshot.state)?;
            let t = &mut self.torrents[i];
            if let Some(Err(error)) = t.handle.outcome().filter(|outcome| !goes_on(outcome)) {
                // What was told to be over does not go on unseen.
                t.handle.pause();
                let failure = failed(&t.path, &error, self.goal.fetches).about(t.observed.id());
                self.torrents[i].end = Some(Err(self.tell(failure)));
                continue;
            }
            if t.pending.is_some() && t.handle.outcome().is_some() {
                self.metadata_came(i).await?;
                continue;
            }
            self.advance(i, now).await?;
        }
        let views: Vec<View> = self.torrents.iter().map(|t| t.last.clone()).collect();
        self.progress.show(now, &views)?;
        self.tell_totals(now)
    }

    /// Decides whether a torrent that goes well has reached its goal, or does not get there.
    async fn advance(&mut self, i: usize, now: Duration) -> Result<(), Failure> {
        let goal = self.goal;
        let t = &mut self.torrents[i];
        // Who shares what it has shares it for as long as was said, also when a piece is lost meanwhile.
        if t.last.stage.is_complete() || goal.seed && t.complete.is_some() {
            let complete = match t.complete {
                Some(at) => at,
                None => {
                    t.complete = Some(now);
                    self.completed(i, now)?;
                    now
                }
            };
            let t = &mut self.torrents[i];
            let limit = goal.limit;
            let sent_enough = limit.seed_ratio.is_some_and(|r| t.last.ratio() >= r);
            let long_enough = limit.seed_time.is_some_and(|d| now.saturating_sub(complete) >= d);
            // Where the storage is away nothing is lost.
            let has_all = t.missing && t.last.done == t.last.total;
            let is_whole = t.last.stage.is_complete() || has_all;
            if !goal.seed || sent_enough || long_enough {
                if goal.seed {
                    t.handle.pause();
                }
                let lacks = (!is_whole).then(|| incomplete(&t.last).about(t.observed.id()));
                t.last.end(if is_whole { Stage::Done } else { Stage::Stopped });
                let end = lacks.map_or(Ok(()), |failure| Err(self.tell(failure)));
                self.torrents[i].end = Some(end);
                return Ok(());
            }
            if is_whole || !goal.fetches {
                return Ok(());
            }
        }
        let t = &mut self.torrents[i];
        let fetches = matches!(t.last.stage, Stage::Metadata | Stage::Downloading);
        // Whoever has served it all waits for the storage as long as that takes.
        if !fetches && (!t.missing || t.complete.is_some()) {
            return Ok(());
        }
        let failure = if fetches && !goal.fetches && t.complete.is_none() {
            Some(incomplete(&t.last))
        } else {
            let given_up = goal.timeout.filter(|&d| t.observed.idle(now) >= d);
            given_up.map(|d| gave_up(&t.last, d, &t.handle.snapshot().why))
        };
        if let Some(failure) = failure {
            let failure = failure.about(t.observed.id());
            t.last.end(Stage::Stopped);
            t.last.waiting = Some(failure.message.clone());
            t.handle.pause();
            self.torrents[i].end = Some(Err(self.tell(failure)));
        }
        Ok(())
    }

    /// Tells that everything is there.
    fn completed(&mut self, i: usize, now: Duration) -> Result<(), Failure> {
        let goal = self.goal;
        let t = &mut self.torrents[i];
        let began = t.began.filter(|_| t.last.downloaded > 0);
        t.took = began.map(|began| now.saturating_sub(began));
        t.last.took = t.took;
        if self.terminal.json {
            let done = Done {
                id: t.observed.id(),
                name: t.observed.name(),
                path: t.path.display().to_string(),
                total: t.last.total,
                downloaded: t.last.downloaded,
                uploaded: t.last.uploaded,
                wasted: t.last.wasted,
                seconds: t.took.unwrap_or_default().as_secs_f64(),
            };
            return self.terminal.event("done", &done);
        }
        if goal.fetches {
            let path = t.path.display().to_string();
            return self.progress.data(&self.terminal.as_data(&path));
        }
        Ok(())
    }

    /// Shows the end, ends the session, and says how it all ended.
    async fn finish(
        mut self,
        stopped: Option<Exit>,
        mut signals: Signals,
    ) -> Result<Exit, Failure> {
        let (only, goal) = (self.is_only(), self.goal);
        let mut exits: Vec<Exit> = self.refused.iter().map(|f| f.exit).collect();
        exits.extend(std::iter::repeat_n(Exit::Done, self.done));
        let mut failures = std::mem::take(&mut self.refused);
        for t in &mut self.torrents {
            // Ctrl-C is how one ends seeding, also when there is nothing to serve at the moment.
            let seeds = t.last.stage.is_complete() || (t.missing && t.complete.is_some());
            let seeding = seeds && stopped == Some(Exit::Interrupted);
            match t.end.take() {
                Some(Err(failure)) => {
                    exits.push(failure.exit);
                    failures.push(failure);
                }
                Some(Ok(())) => exits.push(Exit::Done),
                None if seeding => {
                    t.last.end(Stage::Done);
                    exits.push(Exit::Done);
                }
                None => exits.push(stopped.unwrap_or(Exit::Unexpected)),
            }
        }
        let views: Vec<View> = self.torrents.iter().map(|t| t.last.clone()).collect();
        let shown = self.progress.show(self.start.elapsed(), &views);
        self.progress.finish();
        let turned_away = self.session.as_ref().map_or(0, |s| s.totals().turned_away);
        self.end_session(&mut signals).await;
        self.tell_turned_away(turned_away)?;
        for i in 0..self.torrents.len() {
            // What went wrong at the end, such as with the state for the next run.
            self.hear(i)?;
        }
        shown?;
        match stopped {
            Some(exit) if exits.contains(&exit) => {
                let stopped = Failure::stopped(exit);
                return Err(match goal.fetches {
                    true => stopped.remedy("The same command goes on from here."),
                    false => stopped,
                });
            }
            _ => {}
        }
        if only && let Some(failure) = failures.pop() {
            return Err(failure);
        }
        let problem =
            format!("{} of {} failed", failures.len(), plural(exits.len() as u64, "torrent"));
        self.terminal.end(Exit::of_all(exits), &problem)
    }
}
