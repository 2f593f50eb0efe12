//! What a demo shows at its end, as a table, lines or an object.

use std::time::Duration;

use serde::Serialize;

use super::swarm::Outcome;
use crate::{
    base::units::ByteCount,
    cli::{
        args::{self, Kill},
        exit::{Exit, Failure},
        table::Table,
        terminal::Terminal,
    },
};

/// The same transfer between clients and a server.
#[derive(Debug, Clone, Copy)]
pub(super) struct Comparison {
    pub(super) took: Duration,
    /// How much each client fetched; less than the payload if only a part was sent.
    pub(super) bytes: u64,
}

/// Everything that was found out.
pub(super) struct Report<'a> {
    pub(super) args: &'a args::Demo,
    pub(super) outcome: &'a Outcome,
    pub(super) comparison: Comparison,
    /// Copies that were read back and are right.
    pub(super) verified: usize,
}

#[derive(Serialize)]
struct Done {
    payload: u64,
    max_up_bps: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    killed: Option<&'static str>,
    peers: Vec<PeerDone>,
    verified: usize,
    seeder_sent: u64,
    /// What the seeder sent as a multiple of the payload.
    seeder_multiple: f64,
    swarm_seconds: f64,
    client_server_seconds: f64,
    /// Bytes for each client that this was measured with; scaled if less than the payload.
    client_server_measured: u64,
    speedup: f64,
    exit: u8,
}

#[derive(Serialize)]
struct PeerDone {
    name: String,
    seconds: f64,
    received: u64,
    from_seeder: u64,
    from_others: u64,
}

impl Report<'_> {
    fn multiple(&self) -> f64 {
        self.outcome.seeder_sent as f64 / self.args.size.0 as f64
    }

    /// Client and server, for the whole payload.
    fn alone(&self) -> f64 {
        let scale = self.args.size.0 as f64 / self.comparison.bytes as f64;
        self.comparison.took.as_secs_f64() * scale
    }

    fn speedup(&self) -> f64 {
        self.alone() / self.outcome.took.as_secs_f64().max(0.001)
    }

    pub(super) fn tell(&self, terminal: Terminal) -> Result<(), Failure> {
        if terminal.json {
            return terminal.event("done", &self.object());
        }
        let aligned = terminal.tables_aligned;
        terminal.data(&self.table(aligned).lines(aligned).join("\n"))?;
        self.sentences().iter().for_each(|s| terminal.say(s));
        Ok(())
    }

    fn table(&self, people: bool) -> Table {
        let size = |n: u64| if people { ByteCount(n).to_string() } else { n.to_string() };
        let of = |n: u64, all: u64| match people {
            true => format!("{} ({:.0}%)", ByteCount(n), n as f64 / all.max(1) as f64 * 100.0),
            false => n.to_string(),
        };
        let mut table = Table::new(&[1, 2, 3, 4]);
        table.row(["peer", "received", "from the seeder", "from other downloaders", "seconds"]);
        for (i, p) in (1..).zip(&self.outcome.peers) {
            table.row([
                format!("peer {i}"),
                size(p.received),
                of(p.from_seeder, p.received),
                of(p.from_others, p.received),
                format!("{:.1}", p.took.as_secs_f64()),
            ]);
        }
        table
    }

    fn sentences(&self) -> Vec<String> {
        let (peers, max_up) = (self.outcome.peers.len(), self.args.max_up);
        let measured = if self.comparison.bytes < self.args.size.0 {
            format!("measured with {} and scaled", ByteCount(self.comparison.bytes))
        } else {
            "measured".to_owned()
        };
        vec![
            String::new(),
            format!("{} of {peers} copies verified.", self.verified),
            format!(
                "The seeder sent {:.2} times the payload. The ideal is 1.00; a server sends \
                 {peers}.00.",
                self.multiple(),
            ),
            format!(
                "The swarm took {:.1} s, client and server {:.1} s ({measured}).",
                self.outcome.took.as_secs_f64(),
                self.alone(),
            ),
            format!(
                "At the same {max_up} for everybody the swarm is {:.1} times as fast.",
                self.speedup(),
            ),
        ]
    }

    fn object(&self) -> Done {
        let round = |x: f64| (x * 1000.0).round() / 1000.0;
        let peer = |(i, p): (usize, &super::swarm::PeerOutcome)| PeerDone {
            name: format!("peer {}", i + 1),
            seconds: round(p.took.as_secs_f64()),
            received: p.received,
            from_seeder: p.from_seeder,
            from_others: p.from_others,
        };
        Done {
            payload: self.args.size.0,
            max_up_bps: self.args.max_up.0,
            killed: self.args.kill.map(|k| match k {
                Kill::Seeder => "seeder",
                Kill::Tracker => "tracker",
            }),
            peers: self.outcome.peers.iter().enumerate().map(peer).collect(),
            verified: self.verified,
            seeder_sent: self.outcome.seeder_sent,
            seeder_multiple: round(self.multiple()),
            swarm_seconds: round(self.outcome.took.as_secs_f64()),
            client_server_seconds: round(self.alone()),
            client_server_measured: self.comparison.bytes,
            speedup: round(self.speedup()),
            exit: Exit::Done.code(),
        }
    }
}
