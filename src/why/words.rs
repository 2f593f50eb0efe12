//! A cause in words: its line, which has to fit below a bar, and its evidence.

use std::{fmt, ops::RangeInclusive};

use super::{
    cause::Cause,
    evidence::{Door, Miss, Misses},
};
use crate::{base::fault_kind::FaultKind, mse::Policy};

/// `1 peer`, `3 peers`.
pub(super) fn count(n: u32, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

/// `one` or `many`, as the number has it.
fn by(n: u32, one: &'static str, many: &'static str) -> &'static str {
    if n == 1 { one } else { many }
}

/// `6 refuse, 3 do not answer`: the most frequent first.
fn how(misses: &Misses) -> String {
    let mut kinds = [
        (Miss::Refused, "refuses", "refuse"),
        (Miss::TimedOut, "does not answer", "do not answer"),
        (Miss::Unreachable, "has no way there", "have no way there"),
        (Miss::Declined, "takes no encryption", "take no encryption"),
        (Miss::HungUp, "hangs up", "hang up"),
        (Miss::OtherTorrent, "has another torrent", "have another torrent"),
        (Miss::Broke, "breaks the protocol", "break the protocol"),
    ]
    .map(|(miss, one, many)| (misses.of(miss), one, many));
    kinds.sort_by_key(|&(n, ..)| std::cmp::Reverse(n));
    let told = kinds.iter().filter(|(n, ..)| *n > 0);
    told.map(|&(n, one, many)| format!("{n} {}", by(n, one, many))).collect::<Vec<_>>().join(", ")
}

/// `5-7, 9`; more than these there may be.
fn numbers(ranges: &[RangeInclusive<u32>]) -> String {
    let one = |range: &RangeInclusive<u32>| match range.start() == range.end() {
        true => range.start().to_string(),
        false => format!("{}-{}", range.start(), range.end()),
    };
    ranges.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// What was done to let peers in.
const fn of_door(door: Door) -> &'static str {
    match door {
        Door::Unknown => "no router was asked to let peers in",
        Door::NotAsked => "no router is asked to let peers in (--no-upnp)",
        Door::Unmapped => "no router has let peers in",
        Door::Mapped => "a router lets peers in",
        Door::Proxied => "behind a proxy nobody can connect to us",
    }
}

/// The name of a policy as it is typed.
const fn of_policy(policy: Policy) -> &'static str {
    match policy {
        Policy::Disabled => "disabled",
        Policy::Allowed => "allowed",
        Policy::Preferred => "preferred",
        Policy::Required => "required",
    }
}

/// Not a word of peers where some are known.
fn nobody(f: &mut fmt::Formatter<'_>, alone: bool, why: &str) -> fmt::Result {
    if alone { write!(f, "no peers known ({why})") } else { f.write_str(why) }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let peers = |n: u32| count(n, "peer");
        match self {
            Cause::Paused => f.write_str("paused"),
            Cause::Disk(trouble) => f.write_str(match trouble.kind {
                FaultKind::Full => "the disk is full",
                FaultKind::Permission => "the disk may not be written to",
                FaultKind::Missing => "a file or folder is gone",
                FaultKind::Gone => "the storage is not there",
                FaultKind::Unreadable => "the storage cannot be read",
                FaultKind::Exhausted => "no open file or no memory is left",
                FaultKind::Changed => "another program has written to a file",
                FaultKind::Io => "the disk fails",
            }),
            Cause::NotFetching(n) => {
                let are = by(*n, "is missing and is", "are missing and are");
                write!(f, "{} {are} not fetched", count(*n, "piece"))
            }
            Cause::Clock { ahead, .. } => {
                let how = if *ahead { "ahead" } else { "behind" };
                write!(f, "the clock of this computer seems to be {how}")
            }
            Cause::NobodyAsked { private: true, .. } => {
                nobody(f, true, "the torrent is private and no tracker is asked")
            }
            Cause::NobodyAsked { local: true, .. } => {
                nobody(f, true, "only the local network is asked")
            }
            Cause::NobodyAsked { .. } => nobody(f, true, "nobody is asked for any"),
            Cause::TrackersFail { failing: (1, _), texts, alone, .. } => {
                let text = texts.first().map_or("fails", |text| text);
                nobody(f, *alone, &format!("tracker {text}"))
            }
            Cause::TrackersFail { failing: (n, _), texts, alone, .. } => {
                let text = texts.first().map_or("fails", |text| text);
                nobody(f, *alone, &format!("{n} trackers fail, {text}"))
            }
            Cause::TrackersKnowNobody(n) => {
                let knows = by(*n, "knows", "know");
                nobody(f, true, &format!("{} {knows} nobody else", count(*n, "tracker")))
            }
            Cause::Asking { .. } => nobody(f, true, "they are being asked for"),
            Cause::DhtSilent { alone } => nobody(f, *alone, "no node of the DHT answers"),
            Cause::DhtKnowsNobody(_) => nobody(f, true, "the DHT knows nobody else"),
            Cause::Blocked(1) => nobody(f, true, "the 1 that was named is blocked"),
            Cause::Blocked(n) => nobody(f, true, &format!("all {n} that were named are blocked")),
            Cause::WebSeedsFail(n) => write!(f, "no peers known, {} failed", count(*n, "web seed")),
            Cause::Dialling { now: 0, soon } => {
                write!(f, "{} known, to be dialled soon", peers(*soon))
            }
            Cause::Dialling { now, .. } => write!(f, "dialling {}", peers(*now)),
            Cause::Unreachable { misses, connected: 0 } => {
                write!(f, "{} known, none reachable ({})", peers(misses.total()), how(misses))
            }
            Cause::Unreachable { misses, .. } => {
                let n = misses.total();
                let others = by(n, "other peer", "other peers");
                write!(f, "{n} {others} known, none reachable ({})", how(misses))
            }
            Cause::EncryptionClash { policy: Policy::Disabled, peers: n } => {
                write!(f, "{} known, none takes a plain connection", peers(*n))
            }
            Cause::EncryptionClash { peers: n, .. } => {
                write!(f, "{} known, none takes an encrypted connection", peers(*n))
            }
            Cause::Closed { missed, .. } => {
                write!(f, "{} cannot be dialled, and nobody can dial us", peers(*missed))
            }
            Cause::NoSockets(_) => f.write_str("no socket is left for connections"),
            Cause::NoMetadata(1) => f.write_str("1 peer connected, it sends no metadata"),
            Cause::NoMetadata(n) => write!(f, "{} connected, none sends metadata", peers(*n)),
            Cause::AllChoke { connected: 1, .. } => f.write_str("1 peer connected, it chokes us"),
            Cause::AllChoke { connected, useful, .. } if connected == useful => {
                write!(f, "{} connected, all choke us", peers(*connected))
            }
            Cause::AllChoke { connected, useful: 1, .. } => {
                write!(f, "{} connected, the 1 that has something chokes us", peers(*connected))
            }
            Cause::AllChoke { connected: all, useful: n, .. } => {
                write!(f, "{} connected, all {n} that have something choke us", peers(*all))
            }
            Cause::NobodyHas { scarce, .. } => match scarce.count {
                1 => write!(f, "nobody here has the 1 missing piece"),
                n => write!(f, "nobody here has the {n} missing pieces"),
            },
            Cause::Silent { peers: n, .. } => write!(f, "{} asked, nothing comes", peers(*n)),
            Cause::DiskSlow(_) => f.write_str("the disk is slow"),
            Cause::Limited(limit) => write!(f, "limited by {} ({})", limit.option, limit.rate),
            Cause::MaxPeers(1) => f.write_str("the 1 place for peers is taken"),
            Cause::MaxPeers(n) => write!(f, "all {n} places for peers are taken"),
            Cause::Poison { .. } => f.write_str("what comes does not match its hash"),
            Cause::Slow { sending, rate, .. } => {
                let send = by(*sending, "sends", "send");
                write!(f, "{} {send} {rate} in all", peers(*sending))
            }
        }
    }
}

impl Cause {
    /// What shows it, in one line.
    pub fn evidence(&self) -> String {
        let peers = |n: u32| count(n, "peer");
        match self {
            Cause::Paused => "it was paused while something was missing".to_owned(),
            Cause::Disk(trouble) => trouble.text.clone(),
            Cause::NotFetching(n) => format!("{} missing, fetching is off", count(*n, "piece")),
            Cause::Clock { text, .. } => format!("tracker {text}"),
            Cause::NobodyAsked { private, trackers_off, local } => {
                let trackers = match trackers_off {
                    true => "trackers are off (--no-trackers)",
                    false => "no tracker is named",
                };
                let dht = match private {
                    true => "a private torrent uses nothing else",
                    false => "the DHT is off (--no-dht)",
                };
                let local = if *local { ", the local network has named nobody" } else { "" };
                format!("{trackers}, {dht}{local}")
            }
            Cause::TrackersFail { failing: (failing, all), texts, .. } => {
                format!("{failing} of {}: {}", count(*all, "tracker"), texts.join("; "))
            }
            Cause::TrackersKnowNobody(n) => {
                let have = by(*n, "has", "have");
                format!("{} {have} answered and named no peer but us", count(*n, "tracker"))
            }
            Cause::Asking { trackers, dht } => {
                let dht = if *dht { Some("the DHT".to_owned()) } else { None };
                let trackers = (*trackers > 0).then(|| count(*trackers, "tracker"));
                let asked: Vec<String> = [trackers, dht].into_iter().flatten().collect();
                format!("no answer yet from {}", asked.join(" and "))
            }
            Cause::DhtSilent { .. } => "the last search of the DHT has got no answer".to_owned(),
            Cause::DhtKnowsNobody(nodes) => {
                format!("{} answered the last search and named no peer", count(*nodes, "node"))
            }
            Cause::Blocked(n) => {
                let are = by(*n, "address was named", "addresses were named");
                format!("{n} {are} in the last minutes, and blocked")
            }
            Cause::WebSeedsFail(n) => format!("{} of no use now", count(*n, "web seed")),
            Cause::Dialling { now, soon } => {
                format!("{now} being dialled, {soon} to be dialled")
            }
            Cause::Unreachable { misses, connected } => {
                let besides = match connected {
                    0 => "nobody else is connected".to_owned(),
                    n => format!("{} connected besides", peers(*n)),
                };
                format!("when they were tried last: {}; {besides}", how(misses))
            }
            Cause::EncryptionClash { policy, peers: n } => {
                let what = match policy {
                    Policy::Disabled => "hung up on a plain handshake",
                    _ => "did not take the encryption handshake",
                };
                format!("{} {what}; --encryption is {}", peers(*n), of_policy(*policy))
            }
            Cause::Closed { port, door, missed } => {
                let port = port.map_or_else(String::new, |port| format!(" on port {port}"));
                let silent = by(*missed, "does not answer", "do not answer");
                format!(
                    "{} {silent}; nobody has connected to us{port}; {}",
                    peers(*missed),
                    of_door(*door)
                )
            }
            Cause::NoSockets(n) => {
                format!("a connection found no socket {} in the last minutes", count(*n, "time"))
            }
            Cause::NoMetadata(n) => {
                format!("{} connected, the info dictionary has not come", peers(*n))
            }
            Cause::AllChoke { useful, closed, .. } => {
                let closed = match closed {
                    None => String::new(),
                    Some((port, door)) => {
                        let door = of_door(*door);
                        format!("; nobody has connected to us on port {port}; {door}")
                    }
                };
                let choke =
                    by(*useful, "has what we want and chokes us", "have what we want and choke us");
                format!("{} {choke}{closed}", peers(*useful))
            }
            Cause::NobodyHas { scarce, connected, missing } => {
                let which = match numbers(&scarce.first) {
                    none if none.is_empty() => String::new(),
                    which => {
                        let told: u32 = scarce.first.iter().map(|r| r.end() - r.start() + 1).sum();
                        let more = if told < scarce.count { " and more" } else { "" };
                        format!(": {} {which}{more}", by(scarce.count, "piece", "pieces"))
                    }
                };
                let here = peers(*connected);
                format!(
                    "{} of {missing} missing pieces are not here{which}; {here} connected",
                    scarce.count
                )
            }
            Cause::Silent { peers: n, given_up } => {
                let times = count(*given_up, "time");
                format!("{} asked; requests were given up {times} in the last minutes", peers(*n))
            }
            Cause::DiskSlow(bytes) => format!("{bytes} wait to be checked and written"),
            Cause::Limited(limit) => {
                let waits = by(limit.waiting, "waits", "wait");
                format!("{} {waits} for it", count(limit.waiting, "connection"))
            }
            Cause::MaxPeers(n) => format!("{} connected, none is of use now", peers(*n)),
            Cause::Poison { failed, verified, banned } => format!(
                "{} failed and {verified} verified in the last minutes, {} banned",
                count(*failed, "piece"),
                peers(*banned)
            ),
            Cause::Slow { connected, sending, .. } => {
                format!("{sending} of {} let us ask", count(*connected, "connected peer"))
            }
        }
    }
}
