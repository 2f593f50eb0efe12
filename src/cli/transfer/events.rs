//! What happens to a torrent, told as it happens: warnings always, pieces and peers when asked for. Also
//! where a gateway lets peers in, and why nothing happens.

use std::{
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use serde::Serialize;
use tokio::sync::broadcast::error::TryRecvError;

use super::Transfer;
use crate::{
    cli::{
        args::LogLevel,
        create::plural,
        exit::Failure,
        progress::short_duration,
        redact,
        terminal::{Warning, printable},
    },
    session::{
        Encryption, FaultKind, Finding, Mapped, Opened, Session, Told, TorrentError, TorrentEvent,
        TorrentState, Totals, WebSeedChange,
    },
};

/// Time between two accounts of what the whole session holds.
const TOTALS_EVERY: Duration = Duration::from_secs(1);

#[derive(Serialize)]
struct Piece<'a> {
    id: &'a str,
    piece: u32,
}

#[derive(Serialize)]
struct Peer<'a> {
    id: &'a str,
    addr: SocketAddr,
    connected: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    encryption: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

#[derive(Serialize)]
struct WebSeed<'a> {
    id: &'a str,
    web_seed: &'a str,
    connected: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    again_s: Option<u64>,
}

#[derive(Serialize)]
struct Why<'a> {
    id: &'a str,
    name: &'a str,
    causes: Vec<Told>,
}

#[derive(Serialize)]
struct Back<'a> {
    id: &'a str,
}

#[derive(Serialize)]
struct TurnedAway {
    connections: u64,
}

#[derive(Serialize)]
struct Outside {
    address: Ipv4Addr,
    #[serde(skip_serializing_if = "Option::is_none")]
    port: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dht_port: Option<u16>,
    by: String,
}

#[derive(Serialize)]
struct Pinholes {
    address: Ipv6Addr,
    #[serde(skip_serializing_if = "Option::is_none")]
    port: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dht_port: Option<u16>,
}

/// Figures of the whole session: bytes, protocol included, and numbers.
#[derive(Serialize)]
struct Whole {
    received: u64,
    sent: u64,
    connections: u32,
    torrents: u32,
    slabs: u64,
    tasks: usize,
}

/// An event that says everything by its name.
#[derive(Serialize)]
struct Nothing {}

impl Transfer {
    /// Tells where a gateway lets peers in, when that has changed.
    pub(super) fn hear_of_ports(&mut self) -> Result<(), Failure> {
        let mapped = self.session.as_ref().and_then(Session::mapped);
        if mapped == std::mem::replace(&mut self.mapped, mapped) {
            return Ok(());
        }
        match mapped {
            Some(Mapped { ip, tcp, udp, by }) => {
                self.terminal.log(LogLevel::Info, "mapped", |line| {
                    line.with("address", ip)
                        .with("by", by)
                        .with_some("port", tcp)
                        .with_some("dht_port", udp)
                })
            }
            None => self.terminal.log(LogLevel::Info, "unmapped", |line| line),
        }
        if self.terminal.json {
            return match mapped {
                Some(Mapped { ip: address, tcp: port, udp: dht_port, by }) => {
                    let outside = Outside { address, port, dht_port, by: by.to_string() };
                    self.terminal.event("mapped", &outside)
                }
                None => self.terminal.event("unmapped", &Nothing {}),
            };
        }
        if self.terminal.verbose || !self.goal.fetches {
            self.progress.say(&match mapped {
                Some(Mapped { ip, tcp, udp, by }) => {
                    format!("The gateway at {ip} lets {} ({by}).", let_in(tcp, udp))
                }
                None => "No gateway lets peers in any more.".to_owned(),
            });
        }
        Ok(())
    }

    /// Tells what a gateway lets in over IPv6, when that has changed.
    pub(super) fn hear_of_pinholes(&mut self) -> Result<(), Failure> {
        let opened = self.session.as_ref().and_then(Session::opened);
        if opened == std::mem::replace(&mut self.opened, opened) {
            return Ok(());
        }
        if self.terminal.json {
            return match opened {
                Some(Opened { ip: address, tcp: port, udp: dht_port }) => {
                    self.terminal.event("opened", &Pinholes { address, port, dht_port })
                }
                None => self.terminal.event("closed", &Nothing {}),
            };
        }
        if self.terminal.verbose || !self.goal.fetches {
            self.progress.say(&match opened {
                Some(Opened { ip, tcp, udp }) => {
                    format!("The gateway lets {} at {ip} (PCP).", let_in(tcp, udp))
                }
                None => "No gateway lets peers in over IPv6 any more.".to_owned(),
            });
        }
        Ok(())
    }

    /// Tells of what happened to a torrent since the last look.
    pub(super) fn hear(&mut self, i: usize) -> Result<(), Failure> {
        loop {
            let event = match self.torrents[i].events.try_recv() {
                Ok(event) => event,
                Err(TryRecvError::Lagged(_)) => continue,
                Err(_) => return Ok(()),
            };
            self.tell_event(i, event)?;
        }
    }

    fn tell_event(&mut self, i: usize, event: TorrentEvent) -> Result<(), Failure> {
        let verbose = self.terminal.verbose;
        let t = &mut self.torrents[i];
        match event {
            TorrentEvent::PieceVerified(piece) if verbose => {
                if self.terminal.json {
                    let piece = Piece { id: t.observed.id(), piece: piece.0 };
                    return self.terminal.event("piece", &piece);
                }
                let text = format!("{}: piece {} is verified", t.observed.name(), piece.0);
                self.progress.say(&printable(&text));
            }
            TorrentEvent::PeerConnected { addr, outgoing, encryption } if verbose => {
                let how = if outgoing { "connected to" } else { "connected from" };
                return self.tell_peer(i, addr, Some(encryption), None, how);
            }
            TorrentEvent::PeerDisconnected { addr, reason } if verbose => {
                return self.tell_peer(
                    i,
                    addr,
                    None,
                    Some(reason.to_string()),
                    "disconnected from",
                );
            }
            TorrentEvent::WebSeed { url, change } => return self.tell_web_seed(i, &url, change),
            TorrentEvent::PieceFailed(piece) => {
                return self.warn(i, format!("piece {} did not match its hash", piece.0));
            }
            TorrentEvent::PieceLost(piece) => {
                let text =
                    format!("piece {} is not on disk as it was: it is missing again", piece.0);
                return self.warn(i, text);
            }
            TorrentEvent::Banned(addr) => {
                return self.warn(i, format!("{addr} sent bad data and is banned"));
            }
            // Tried again and again: said once.
            TorrentEvent::StateTrouble(trouble) if !t.told.contains(&trouble) => {
                t.told.push(trouble.clone());
                return self.warn(i, trouble);
            }
            TorrentEvent::TrackerReply { url, warning: Some(warning), .. } => {
                let text = complaint(&url, &warning);
                if !t.told.contains(&text) {
                    t.told.push(text.clone());
                    return self.warn(i, text);
                }
            }
            TorrentEvent::TrackerError { url, message, .. } => {
                let complaint = complaint(&url, &message);
                if !t.told.contains(&complaint) {
                    t.told.push(complaint.clone());
                    return self.warn(i, complaint);
                }
            }
            TorrentEvent::DhtReply { nodes, peers } if verbose && !self.terminal.json => {
                let name = t.observed.name();
                let text = format!("{name}: {nodes} nodes of the DHT named {peers} peers");
                self.progress.say(&printable(&text));
            }
            // What is left is seen in the snapshot, or was not asked for.
            _ => {}
        }
        Ok(())
    }

    fn tell_peer(
        &self,
        i: usize,
        addr: SocketAddr,
        connected: Option<Encryption>,
        reason: Option<String>,
        how: &str,
    ) -> Result<(), Failure> {
        let observed = &self.torrents[i].observed;
        if self.terminal.json {
            let (encryption, connected) = (connected.map(word), connected.is_some());
            let peer = Peer { id: observed.id(), addr, connected, encryption, reason };
            return self.terminal.event("peer", &peer);
        }
        let hidden = match connected {
            Some(Encryption::Stream) => ", encrypted",
            _ => "",
        };
        let reason = reason.map(|r| format!(": {r}")).unwrap_or_default();
        self.progress
            .say(&printable(&format!("{}: {how} {addr}{hidden}{reason}", observed.name())));
        Ok(())
    }

    /// Tells of a web seed; of one that is given up always.
    fn tell_web_seed(&self, i: usize, url: &str, change: WebSeedChange) -> Result<(), Failure> {
        let host = redact::host(url);
        if let WebSeedChange::GivenUp(why) = change {
            self.warn(i, format!("web seed {host} is not used any more: {why}"))?;
        }
        if !self.terminal.verbose {
            return Ok(());
        }
        let observed = &self.torrents[i].observed;
        let (reason, again) = match change {
            WebSeedChange::Used | WebSeedChange::Left => (None, None),
            WebSeedChange::Rests(why, wait) => (Some(why.to_string()), Some(wait)),
            WebSeedChange::GivenUp(why) => (Some(why.to_string()), None),
        };
        if self.terminal.json {
            let (connected, again_s) = (change == WebSeedChange::Used, again.map(|t| t.as_secs()));
            let seed = WebSeed { id: observed.id(), web_seed: &host, connected, reason, again_s };
            return self.terminal.event("peer", &seed);
        }
        let what = match change {
            WebSeedChange::Used => format!("fetching from web seed {host}"),
            WebSeedChange::Left => format!("done with web seed {host}"),
            WebSeedChange::Rests(why, wait) => {
                format!("web seed {host}: {why}; again in {}", short_duration(wait))
            }
            WebSeedChange::GivenUp(_) => return Ok(()),
        };
        self.progress.say(&printable(&format!("{}: {what}", observed.name())));
        Ok(())
    }

    /// Tells that the storage of a torrent is not there, or is back, once each.
    pub(super) fn tell_storage(&mut self, i: usize, state: &TorrentState) -> Result<(), Failure> {
        let t = &mut self.torrents[i];
        let (missing, was) = (matches!(state, TorrentState::MissingStorage(_)), t.missing);
        t.missing = missing;
        let (id, name) = (t.observed.id(), t.observed.name());
        if let TorrentState::MissingStorage(why) = state
            && !was
        {
            self.terminal.log(LogLevel::Warn, "storage_missing", |l| l.of(id).with("text", why));
            // An earlier run has fetched it, and this one may be told not to care.
            let is_gone = matches!(
                t.handle.outcome(),
                Some(Err(TorrentError::Disk(fault))) if fault.kind == FaultKind::Gone
            );
            let anew = is_gone && t.began.is_none() && self.goal.fetches;
            let anew = if anew { "; --force fetches all of it anew" } else { "" };
            let text = format!("{why}; it waits and goes on by itself when that is over{anew}");
            return self.warn(i, text);
        }
        if was && !missing {
            self.terminal.log(LogLevel::Info, "storage_back", |line| line.of(id));
            if self.terminal.json {
                return self.terminal.event("storage_back", &Back { id });
            }
            self.progress.say(&printable(&format!("{name}: the storage is back, it goes on")));
        }
        Ok(())
    }

    /// Tells all causes why a torrent does not get on, to whoever wants to know more, when that is news.
    pub(super) fn tell_why(
        &mut self,
        i: usize,
        now: Duration,
        found: &[Finding],
    ) -> Result<(), Failure> {
        let t = &mut self.torrents[i];
        if !t.observed.is_news(now, found) {
            return Ok(());
        }
        let (id, name) = (t.observed.id(), t.observed.name());
        let causes: Vec<Told> = found.iter().map(Told::from).collect();
        if self.terminal.json {
            return self.terminal.event("why", &Why { id, name, causes });
        }
        if self.terminal.verbose {
            for Told { line, evidence, remedy, .. } in &causes {
                let text = format!("{name}: {line}: {evidence}. {remedy}");
                self.progress.say(&printable(&text));
            }
        }
        Ok(())
    }

    /// Tells what the whole session holds, once a second, to programs that want to know more.
    pub(super) fn tell_totals(&mut self, now: Duration) -> Result<(), Failure> {
        let early = self.told_totals.is_some_and(|at| now.saturating_sub(at) < TOTALS_EVERY);
        let Some(session) = self.session.as_ref().filter(|_| !early) else { return Ok(()) };
        if !self.terminal.json || !self.terminal.verbose {
            return Ok(());
        }
        self.told_totals = Some(now);
        let Totals { down: received, up: sent, connections, torrents, slabs, tasks, .. } =
            session.totals();
        let whole = Whole { received, sent, connections, torrents, slabs, tasks };
        self.terminal.event("totals", &whole)
    }

    /// Tells how many connections came from blocked addresses.
    pub(super) fn tell_turned_away(&self, connections: u64) -> Result<(), Failure> {
        if connections == 0 || !self.terminal.verbose {
            return Ok(());
        }
        if self.terminal.json {
            return self.terminal.event("turned_away", &TurnedAway { connections });
        }
        let what = plural(connections, "connection");
        self.terminal.say(&format!("Turned away {what} from blocked addresses."));
        Ok(())
    }

    fn warn(&self, i: usize, message: String) -> Result<(), Failure> {
        let message = &*redact::secrets(&message);
        let observed = &self.torrents[i].observed;
        if self.terminal.json {
            let warning = Warning { id: Some(observed.id()), message };
            return self.terminal.event("warning", &warning);
        }
        let text = printable(&format!("{}: {message}", observed.name()));
        self.progress.say(&format!("{} {text}", self.terminal.style.yellow("warning:")));
        Ok(())
    }
}

/// How a connection is hidden, as programs read it.
const fn word(encryption: Encryption) -> &'static str {
    match encryption {
        Encryption::Off => "off",
        Encryption::Handshake => "handshake",
        Encryption::Stream => "stream",
    }
}

/// Who is let in by these ports.
fn let_in(tcp: Option<u16>, udp: Option<u16>) -> String {
    let port = tcp.map(|port| format!("peers in on port {port}"));
    let dht = udp.map(|port| format!("the DHT on {port}"));
    port.into_iter().chain(dht).collect::<Vec<_>>().join(", ")
}

/// What a tracker said, or what was said of it; its name once.
fn complaint(url: &str, message: &str) -> String {
    let host = redact::host(url);
    let message = redact::echo(url, message);
    match message.strip_prefix(&host) {
        Some(rest) => format!("tracker {host}{rest}"),
        None => format!("tracker {host}: {message}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trackers_are_named_once_and_without_keys() {
        let url = "http://a.example:80/key";
        assert_eq!(complaint(url, "a.example:80 refused"), "tracker a.example:80 refused");
        assert_eq!(complaint(url, "busy"), "tracker a.example:80: busy");
    }
}
