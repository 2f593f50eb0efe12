//! What happens to a torrent, as lines of the log, at the moment it happens.

use tokio::{
    sync::{
        broadcast::{self, error::RecvError},
        watch,
    },
    task::JoinSet,
};

use super::{Level, Line, reason};
use crate::{
    cli::{redact, terminal::Terminal},
    session::{Encryption, TorrentEvent, TorrentHandle, WebSeedChange},
};

/// Those who listen to torrents for the log.
#[derive(Debug)]
pub(in crate::cli) struct Followers {
    terminal: Terminal,
    tasks: JoinSet<()>,
    /// Told when nothing more is to come.
    end: watch::Sender<bool>,
}

impl Followers {
    pub(in crate::cli) fn new(terminal: Terminal) -> Self {
        Followers { terminal, tasks: JoinSet::new(), end: watch::Sender::new(false) }
    }

    /// Writes down what happens to the torrent `id`, an info hash, from now on, if there is a log.
    pub(in crate::cli) fn follow(&mut self, handle: &TorrentHandle, id: String) {
        if self.terminal.log.is_none() {
            return;
        }
        let terminal = self.terminal;
        let (mut events, mut end) = (handle.subscribe(), self.end.subscribe());
        self.tasks.spawn(async move {
            loop {
                tokio::select! {
                    biased;
                    received = events.recv() => match received {
                        Ok(event) => {
                            tell(terminal, &id, &event);
                            if is_last(&event) {
                                return;
                            }
                        }
                        Err(RecvError::Lagged(events)) => lost(terminal, &id, events),
                        Err(RecvError::Closed) => return,
                    },
                    _ = end.changed() => break,
                }
            }
            rest(terminal, &id, &mut events);
        });
    }

    /// Writes down what there still is.
    pub(in crate::cli) async fn end(&mut self) {
        self.end.send_replace(true);
        while self.tasks.join_next().await.is_some() {}
    }
}

fn rest(terminal: Terminal, id: &str, events: &mut broadcast::Receiver<TorrentEvent>) {
    use broadcast::error::TryRecvError::{Closed, Empty, Lagged};
    loop {
        match events.try_recv() {
            Ok(event) => {
                tell(terminal, id, &event);
                if is_last(&event) {
                    return;
                }
            }
            Err(Lagged(events)) => lost(terminal, id, events),
            Err(Empty | Closed) => return,
        }
    }
}

/// Nothing more happens to a torrent that was removed, though it may be said again.
const fn is_last(event: &TorrentEvent) -> bool {
    matches!(event, TorrentEvent::Removed)
}

/// More happened at once than is kept.
fn lost(terminal: Terminal, id: &str, events: u64) {
    terminal.log(Level::Warn, "events_lost", |line| line.of(id).with("events", events));
}

fn tell(terminal: Terminal, id: &str, event: &TorrentEvent) {
    let log = |level, what, fill: &dyn Fn(Line) -> Line| {
        terminal.log(level, what, |line| fill(line.of(id)));
    };
    match event {
        TorrentEvent::CheckProgress { done, total } => {
            log(Level::Trace, "checking", &|l| l.with("done", done).with("total", total));
        }
        TorrentEvent::Checked { have, pieces } => {
            log(Level::Info, "checked", &|l| l.with("have", have).with("pieces", pieces));
        }
        TorrentEvent::Metadata => log(Level::Info, "metadata", &|l| l),
        TorrentEvent::PieceVerified(piece) => {
            log(Level::Trace, "piece_verified", &|l| l.with("piece", piece.0));
        }
        TorrentEvent::PieceFailed(piece) => {
            let fill = |l: Line| l.with("piece", piece.0).with("reason", "hash_mismatch");
            log(Level::Warn, "piece_failed", &fill);
        }
        TorrentEvent::PieceLost(piece) => {
            let fill = |l: Line| l.with("piece", piece.0).with("reason", "not_on_disk");
            log(Level::Warn, "piece_lost", &fill);
        }
        TorrentEvent::Completed => log(Level::Info, "completed", &|l| l),
        TorrentEvent::TrackerReply { url, peers, seeds, leeches, warning } => {
            let level = if warning.is_some() { Level::Warn } else { Level::Info };
            log(level, "tracker_answered", &|l| {
                l.with("tracker", redact::host(url))
                    .with("peers", peers)
                    .with_some("seeds", *seeds)
                    .with_some("leeches", *leeches)
                    .with_some("text", warning.as_ref().map(|said| redact::echo(url, said)))
            });
        }
        TorrentEvent::TrackerError { url, reason, message } => {
            let text = redact::echo(url, message);
            log(Level::Warn, "tracker_failed", &|l| {
                l.with("tracker", redact::host(url)).with("reason", reason).with("text", &text)
            });
        }
        TorrentEvent::DhtReply { nodes, peers } => {
            log(Level::Info, "dht_answered", &|l| l.with("nodes", nodes).with("peers", peers));
        }
        TorrentEvent::DialFailed { addr, failure } => {
            let word = reason::of_dial(*failure);
            log(Level::Debug, "dial_failed", &|l| l.with("addr", addr).with("reason", word));
        }
        TorrentEvent::PeerRefused { addr, reason } => {
            let word = reason::of_refusal(*reason);
            log(Level::Debug, "peer_refused", &|l| l.with("addr", addr).with("reason", word));
        }
        TorrentEvent::PeerConnected { addr, outgoing, encryption } => {
            let way = if *outgoing { "out" } else { "in" };
            let encryption = match encryption {
                Encryption::Off => "off",
                Encryption::Handshake => "handshake",
                Encryption::Stream => "stream",
            };
            log(Level::Debug, "peer_connected", &|l| {
                l.with("addr", addr).with("way", way).with("encryption", encryption)
            });
        }
        TorrentEvent::PeerDisconnected { addr, reason } => {
            log(Level::Debug, "peer_closed", &|l| {
                l.with("addr", addr).with("reason", reason::of_end(reason)).with("text", reason)
            });
        }
        TorrentEvent::WebSeed { url, change } => {
            let host = redact::host(url);
            let (level, what, failure, wait) = match change {
                WebSeedChange::Used => (Level::Debug, "web_seed_used", None, None),
                WebSeedChange::Left => (Level::Debug, "web_seed_left", None, None),
                WebSeedChange::Rests(why, wait) => {
                    (Level::Info, "web_seed_rests", Some(why), Some(wait.as_secs()))
                }
                WebSeedChange::GivenUp(why) => (Level::Warn, "web_seed_given_up", Some(why), None),
            };
            log(level, what, &|l| {
                l.with("web_seed", &host)
                    .with_some("reason", failure.map(reason::of_web_seed))
                    .with_some("again_s", wait)
                    .with_some("text", failure)
            });
        }
        TorrentEvent::Banned(addr) => {
            log(Level::Warn, "peer_banned", &|l| l.with("addr", addr).with("reason", "bad_data"));
        }
        TorrentEvent::DiskFault(fault) => {
            log(Level::Error, "disk_failed", &|l| {
                l.with("reason", reason::of_disk(fault.kind)).with("text", fault)
            });
        }
        TorrentEvent::StateTrouble(trouble) => {
            log(Level::Warn, "state_trouble", &|l| l.with("text", trouble));
        }
        TorrentEvent::Removed => log(Level::Info, "removed", &|l| l),
    }
}
