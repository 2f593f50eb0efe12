//! What a person can do about a cause: one sentence that names the option, where there is one.

use super::{
    cause::Cause,
    evidence::{Door, Miss, Trouble},
};
use crate::{base::fault_kind::FaultKind, mse::Policy};

impl Cause {
    /// What to do about it.
    pub fn remedy(&self) -> String {
        match self {
            Cause::Paused => "Resume it: the same command goes on from here.".to_owned(),
            Cause::Disk(trouble) => of_disk(trouble.kind).to_owned(),
            Cause::NotFetching(_) => {
                "`download` fetches what is missing, `verify` names it.".to_owned()
            }
            Cause::Clock { .. } => "Set the clock, then run the same command again.".to_owned(),
            Cause::NobodyAsked { trackers_off: true, .. } => {
                "Leave out --no-trackers, or name a peer with --peer.".to_owned()
            }
            Cause::NobodyAsked { private: true, .. } => {
                "Name its tracker with --tracker: a private torrent has peers from there alone."
                    .to_owned()
            }
            Cause::NobodyAsked { .. } => {
                "Leave out --no-dht, or name a tracker with --tracker or a peer with --peer."
                    .to_owned()
            }
            Cause::TrackersFail { trouble, .. } => of_tracker(*trouble).to_owned(),
            Cause::TrackersKnowNobody(_) | Cause::DhtKnowsNobody(_) => {
                "Wait for somebody who has it, or name a peer with --peer or a tracker with --tracker."
                    .to_owned()
            }
            Cause::Asking { .. } | Cause::Dialling { .. } => "Wait some seconds.".to_owned(),
            Cause::DhtSilent { .. } => {
                "Check the network, let UDP through the firewall, or name a node with --dht-bootstrap."
                    .to_owned()
            }
            Cause::Blocked(_) => "Take them off the list of --blocklist.".to_owned(),
            Cause::WebSeedsFail(_) => {
                "`-v` says what is wrong with them; name a tracker with --tracker or a peer with --peer."
                    .to_owned()
            }
            Cause::Unreachable { misses, .. } => {
                let most = |miss| misses.are_mostly(&[miss]);
                let remedy = if most(Miss::Unreachable) {
                    "Check the network; --no-ipv6 helps where only IPv4 works."
                } else if most(Miss::TimedOut) {
                    "Let outgoing TCP through the firewall, or go by --proxy."
                } else {
                    "They have left or are full, it seems: wait, or find others with --tracker or the DHT."
                };
                remedy.to_owned()
            }
            Cause::EncryptionClash { policy: Policy::Disabled, .. } => {
                "Leave out --encryption disabled.".to_owned()
            }
            Cause::EncryptionClash { .. } => {
                "With --encryption preferred those connect who do not encrypt.".to_owned()
            }
            Cause::Closed { port, door, .. } => of_door(*port, *door),
            Cause::NoSockets(_) => {
                "Allow more open files, such as by `ulimit -n 4096`.".to_owned()
            }
            Cause::NoMetadata(_) => {
                "Wait for a peer that has it, name more with --tracker, or use the torrent file."
                    .to_owned()
            }
            Cause::AllChoke { .. } => {
                "Wait: they serve others first and take turns; more upload (--max-up) earns a place."
                    .to_owned()
            }
            Cause::NobodyHas { .. } => {
                "Wait for a seed, or look for one with --tracker, --peer or the DHT.".to_owned()
            }
            Cause::Silent { .. } => {
                "Wait: others are looked for; --max-down and --max-up should leave the line some room."
                    .to_owned()
            }
            Cause::DiskSlow(_) => {
                "See what else uses the disk, or choose another one with --output.".to_owned()
            }
            Cause::Limited(limit) => format!("Raise {}, or leave it out.", limit.option),
            Cause::MaxPeers(_) => "Raise --max-peers.".to_owned(),
            Cause::Poison { .. } => {
                "Keep those who send it away with --blocklist, and make sure that the torrent is the right one."
                    .to_owned()
            }
            Cause::Slow { .. } => {
                "More peers help: ask more trackers with --tracker, and let peers in.".to_owned()
            }
        }
    }
}

const fn of_disk(kind: FaultKind) -> &'static str {
    match kind {
        FaultKind::Full => {
            "Make room there, or choose another folder with --output; then run the same command again."
        }
        FaultKind::Permission => "Allow writing there, or choose another folder with --output.",
        FaultKind::Missing => "Bring it back, then run the same command again.",
        FaultKind::Gone => {
            "Mount it, or bring the files back: a torrent that runs goes on by itself; `download --force` fetches \
             all of it anew."
        }
        FaultKind::Unreadable => {
            "Check the disk, and whether the files may be read: a torrent that runs goes on by itself."
        }
        FaultKind::Exhausted => {
            "Close other programs, or raise the limit of open files (ulimit -n)."
        }
        FaultKind::Changed => "Keep other programs away from it, then run the same command again.",
        FaultKind::Io => "Check the disk, or choose another one with --output.",
    }
}

const fn of_tracker(trouble: Trouble) -> &'static str {
    match trouble {
        Trouble::Refused => "See what the tracker wants, or name another one with --tracker.",
        Trouble::Unreachable => {
            "Check the network and the address, or name another tracker with --tracker."
        }
        Trouble::TimedOut => "Wait: it is asked again; or name another tracker with --tracker.",
        Trouble::NotYetValid | Trouble::Expired => {
            "Tell whoever runs the tracker; if others fail too, set the clock."
        }
        Trouble::Useless => "Correct its address, or name another tracker with --tracker.",
    }
}

fn of_door(port: Option<u16>, door: Door) -> String {
    let port = port.map_or_else(|| "our port".to_owned(), |port| format!("port {port}"));
    match door {
        Door::NotAsked => format!("Leave out --no-upnp, or forward {port} in the router."),
        Door::Proxied => "Without --proxy peers could connect to us.".to_owned(),
        Door::Mapped => format!("Let {port} through the firewall of this computer."),
        Door::Unknown | Door::Unmapped => {
            format!("Forward {port} in the router, and let it through the firewall.")
        }
    }
}
