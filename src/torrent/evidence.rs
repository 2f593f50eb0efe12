//! What the torrent knows that may say why nothing arrives: gathered when somebody looks, judged in
//! [`crate::why`].

use crate::{
    base::time::Instant,
    peer::Peer,
    pieces::job::{DiskFault, FaultKind},
    why::{Addresses, DiskTrouble, Progress, Recent, Scarce, Swarm},
};

use super::{Phase, Torrent};

/// Ranges of scarce pieces that are told.
const RANGES_TOLD: usize = 4;

impl Torrent {
    /// What there is to be known at this moment, with the addresses that are known; `None` when nothing is missing.
    pub(super) fn evidence(&self, now: Instant, mut addresses: Addresses) -> Option<Swarm> {
        let progress = self.progress();
        if progress == Progress::Done {
            return None;
        }
        let open: Vec<&Peer> = self.peers.iter().map(|(_, p)| p).filter(|p| p.is_open()).collect();
        let useful = || open.iter().filter(|p| p.am_interested);
        let asked = useful().filter(|p| !p.requests.is_empty()).count() as u32;
        // Whoever is being greeted was dialled, or dialled us.
        addresses.dialling += self.peers.len() - open.len() as u32;
        Some(Swarm {
            progress,
            wants_metadata: self.wants_metadata(),
            idle: (self.down.total() > 0).then(|| now.since(self.last_block)),
            down: self.down.rate(now),
            missing: self.pieces.all_lacking(),
            scarce: self.scarce(open.len()),
            addresses,
            connected: open.len() as u32,
            useful: useful().count() as u32,
            choking: useful().filter(|p| p.peer_choking).count() as u32,
            asked,
            resting_web_seeds: self.web_seeds.resting(),
            is_congested: self.memory_short,
            at_disk: self.at_disk_bytes,
            recent: Recent::counts(self.recent.as_deref(), now),
            banned: self.candidates.banned(),
            max_peers: self.max_peers(),
            port: self.listen_port,
            encryption: self.settings.encryption,
        })
    }

    fn progress(&self) -> Progress {
        match self.phase {
            Phase::Failed => Progress::Failed(match &self.fault {
                Some(fault) => DiskTrouble::from(&**fault),
                None => DiskTrouble { kind: FaultKind::Io, text: String::new() },
            }),
            Phase::Downloading if !self.settings.fetch => Progress::NotFetching,
            Phase::Downloading => Progress::Fetching,
            Phase::Seeding => Progress::Done,
            Phase::Paused if self.is_done() => Progress::Done,
            Phase::Paused => Progress::Paused,
        }
    }

    /// Without peers every piece is scarce, which says nothing.
    fn scarce(&self, connected: usize) -> Scarce {
        if connected == 0 || self.phase != Phase::Downloading || self.wants_metadata() {
            return Scarce::default();
        }
        let count = self.pieces.nobody_has();
        if count == 0 {
            return Scarce::default();
        }
        Scarce { count, first: self.pieces.first_nobody_has(RANGES_TOLD) }
    }
}

impl From<&DiskFault> for DiskTrouble {
    fn from(fault: &DiskFault) -> Self {
        DiskTrouble { kind: fault.kind, text: fault.to_string() }
    }
}
