//! Why a torrent is slow or stuck: what only the session knows about it, put beside what the torrent knows.
//!
//! The judgement is in [`crate::why`].

use super::{Shard, saving::Recording};
use crate::{
    base::{echo::without_keys, limits::MAX_URLS, time::Instant},
    net::tracker_client::host_of,
    session::{
        bandwidth::{Holding, Level},
        config::Config,
        id::TorrentId,
        shared::Shared,
        snapshot::{TrackerState, TrackerStatus},
        unfinished::Unfinished,
    },
    torrent::{Phase, Snapshot},
    why::{self, Dht, Door, Finding, Limit, Outside, Told, Tracker, diagnose},
};

/// What of the configuration may be a cause.
#[derive(Debug)]
pub(super) struct Settings {
    trackers: bool,
    local: bool,
    maps_ports: bool,
    proxied: bool,
}

impl Settings {
    pub(super) fn of(config: &Config) -> Self {
        let proxied = config.outlet.is_proxied();
        Settings {
            trackers: config.trackers,
            local: config.lsd.is_some() && !proxied,
            maps_ports: config.port_mapping,
            proxied,
        }
    }
}

impl Shard {
    /// Why the torrent, which looks like `machine`, is slow or stuck.
    pub(super) fn diagnose(&self, now: Instant, id: TorrentId, machine: &Snapshot) -> Vec<Finding> {
        match (self.tenants.get(&id), &machine.evidence) {
            (Some(tenant), Some(swarm)) => diagnose(swarm, &self.outside(now, id, &tenant.shared)),
            _ => Vec::new(),
        }
    }

    fn outside(&self, now: Instant, id: TorrentId, shared: &Shared) -> Outside {
        let settings = &self.settings;
        let door = match self.mapped.and_then(|mapped| mapped.tcp) {
            _ if settings.proxied => Door::Proxied,
            Some(_) => Door::Mapped,
            None if settings.maps_ports => Door::Unmapped,
            None => Door::NotAsked,
        };
        let trackers = shared.trackers_at(now);
        Outside {
            private: shared.info.private(),
            trackers_off: !settings.trackers,
            trackers: trackers.iter().take(MAX_URLS).map(tracker).collect(),
            // Whom discovery has not heard of yet it will ask about in a moment.
            dht: shared.dht().unwrap_or(Dht::Asked),
            local: settings.local,
            limit: self.turns.down.holding(id).map(limit),
            door,
        }
    }

    /// Keeps in mind why a torrent does not get on; to be called before it is paused.
    pub(super) fn remember_why(&mut self, now: Instant, id: TorrentId) {
        let Some(machine) = self.turns.torrent(id).map(|t| t.snapshot(now)) else { return };
        let stopped = matches!(machine.phase, Phase::Paused | Phase::Seeding);
        let found = self.diagnose(now, id, &machine);
        if let Some(recording) = self.tenants.get_mut(&id).and_then(|t| t.recording.as_mut())
            && !stopped
        {
            recording.reasons.get_or_insert_default().why = found.iter().map(Told::from).collect();
        }
    }

    /// Has the state written anew when there is another reason than the one that it knows.
    pub(super) fn reason_changed(&mut self, now: Instant, id: TorrentId, first: Option<&Finding>) {
        let Some(cause) = first.map(|found| &found.cause).filter(|c| !c.is_passing()) else {
            return;
        };
        let recording = self.tenants.get_mut(&id).and_then(|t| t.recording.as_mut());
        let Some(recording) = recording else { return };
        let reasons = recording.reasons.get_or_insert_default();
        if reasons.first != Some(cause.name()) {
            reasons.first = Some(cause.name());
            self.changed(now, id, 0);
        }
    }

    /// What `downpour why` is to know of the torrent once nobody runs it; `None` when nothing is missing and the
    /// disk has not refused.
    pub(super) fn unfinished(&self, now: Instant, id: TorrentId) -> Option<Unfinished> {
        let machine = self.turns.torrent(id)?.snapshot(now);
        let tenant = self.tenants.get(&id)?;
        let Recording { record, reasons, .. } = tenant.recording.as_ref()?;
        let causes = reasons.as_ref().map_or_else(Vec::new, |reasons| reasons.why.clone());
        let (shared, info) = (&tenant.shared, &tenant.shared.info);
        if machine.wants_metadata {
            let is_here = shared.metadata.get().is_some();
            return (!is_here).then(|| Unfinished::of_link(shared.place(), info.name(), causes));
        }
        let (done, total) = (machine.wanted_done, machine.wanted);
        (done < total || tenant.fault.is_some())
            .then(|| Unfinished::of(info, record.root(), (done, total), causes))
    }
}

fn tracker(status: &TrackerStatus) -> Tracker {
    let state = match (status.last, status.state) {
        (Some(Err(trouble)), _) => {
            let said = status.last_error.as_deref().unwrap_or_default();
            why::TrackerState::Failed(trouble, without_keys(&status.url, said))
        }
        (Some(Ok(())), _) => why::TrackerState::Answered(status.peers),
        (None, TrackerState::Idle) => why::TrackerState::Unasked,
        (None, _) => why::TrackerState::Asked,
    };
    Tracker { host: host_of(&status.url), state }
}

fn limit(holding: Holding) -> Limit {
    let option = match holding.level {
        Level::All => "--max-down",
        Level::Torrent => "--torrent-max-down",
        Level::Peer => "--peer-max-down",
    };
    Limit { rate: holding.rate, option, waiting: holding.waiting }
}
