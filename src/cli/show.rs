//! `show`: what a torrent or a magnet link holds.
//!
//! Three shapes of the same facts: a table for people (sizes with units), lines of `key<TAB>value`
//! for programs (sizes in bytes), one object with `--json`.

use std::{fmt::Write as _, sync::Arc};

use serde::{Serialize, Serializer};

use super::{
    args,
    calendar::civil,
    exit::{Exit, Failure},
    input::{self, Named},
    outlet,
    progress::count,
    scrape,
    table::Table,
    terminal::{Terminal, on_one_line},
};
use crate::{
    base::units::ByteCount,
    metainfo::{Info, Magnet, MetaVersion, Metainfo},
};

pub(super) async fn run(args: &args::Show, terminal: Terminal) -> Result<Exit, Failure> {
    let ca_file = args.ca_file.as_deref();
    let (mut sheet, info_hash) = match Named::of(&args.torrent) {
        Named::Magnet(link) => {
            let magnet = input::magnet(&link)?;
            (Sheet::of_magnet(&magnet), magnet.info_hash)
        }
        _ => {
            let torrent = input::torrent(&args.torrent, &args.outlet, ca_file).await?;
            (Sheet::of_torrent(&torrent), torrent.info.info_hash())
        }
    };
    let mut exit = Exit::Done;
    if args.scrape {
        let outlet = outlet::open(&args.outlet).await?;
        let scraped =
            scrape::ask(&sheet.trackers, info_hash, &outlet, args.ca_file.clone()).await?;
        exit = scrape::exit(&scraped);
        (sheet.scrape, sheet.exit) = (Some(scraped), exit.code());
    }
    if terminal.json {
        terminal.event("done", &sheet)?;
        return Ok(exit);
    }
    let aligned = terminal.tables_aligned;
    if args.files && !aligned {
        // Nothing to align: no need for a table, which may be as large as a million files make it.
        terminal.data(sheet.file_lines().trim_end())?;
        if !args.trackers && sheet.scrape.is_none() {
            return Ok(exit);
        }
    }
    let table = match (args.files, args.trackers, &sheet.scrape) {
        (false, false, None) => sheet.facts(aligned),
        (files, trackers, scraped) => {
            let files = files && aligned;
            let mut table = Table::new(if files { &[0, 1] } else { &[0] });
            if files {
                sheet.files(&mut table, aligned);
            }
            if trackers {
                sheet.trackers(&mut table);
            }
            if let Some(scraped) = scraped {
                scrape::rows(scraped, aligned, &mut table);
            }
            table
        }
    };
    let lines = table.lines(aligned);
    if !lines.is_empty() {
        // One write: a reader that wants only the first lines ends it.
        terminal.data(&lines.join("\n"))?;
    }
    Ok(exit)
}

/// Everything there is to say. The names are the keys of `--json`.
#[derive(Debug, Default, Serialize)]
struct Sheet {
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    info_hash: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    info_hash_v2: Option<String>,
    /// `v1` or `hybrid`; unknown of a magnet link.
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    piece_length: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pieces: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    private: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    comment: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    created_by: Option<String>,
    /// Seconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    created: Option<u64>,
    trackers: Vec<Vec<String>>,
    web_seeds: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    peers: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    dht_nodes: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    files: Option<Files>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scrape: Option<Vec<scrape::Line>>,
    magnet: String,
    exit: u8,
}

/// The files of a torrent, made into lines one by one: there may be a million.
#[derive(Debug)]
struct Files(Arc<Info>);

#[derive(Debug, Serialize)]
struct FileLine {
    /// Its number, from 1, padding counted.
    index: usize,
    length: u64,
    path: String,
}

impl Files {
    fn lines(&self) -> impl Iterator<Item = FileLine> {
        let files = self.0.layout().files().enumerate().filter(|(_, f)| f.is_stored());
        files.map(|(i, f)| FileLine { index: i + 1, length: f.length, path: f.path.to_string() })
    }
}

impl Serialize for Files {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.lines())
    }
}

impl Sheet {
    fn of_torrent(torrent: &Metainfo) -> Sheet {
        let info = &torrent.info;
        let hash = info.info_hash();
        Sheet {
            name: Some(info.name().to_owned()),
            info_hash: hash.v1.map(|h| h.to_string()),
            info_hash_v2: hash.v2.map(|h| h.to_string()),
            version: Some(match info.version() {
                MetaVersion::V1 => "v1",
                MetaVersion::Hybrid => "hybrid",
            }),
            size: Some(info.layout().total()),
            piece_length: Some(info.geometry().piece_length()),
            pieces: Some(info.geometry().pieces()),
            private: Some(info.private()),
            source: info.source().map(Into::into),
            comment: torrent.comment.clone(),
            created_by: torrent.created_by.clone(),
            created: torrent.creation_date,
            trackers: torrent.tiers.clone(),
            web_seeds: torrent.web_seeds.clone(),
            peers: Vec::new(),
            dht_nodes: torrent.nodes.iter().map(ToString::to_string).collect(),
            files: Some(Files(info.clone())),
            scrape: None,
            magnet: Magnet::from_metainfo(torrent).to_string(),
            exit: Exit::Done.code(),
        }
    }

    fn of_magnet(magnet: &Magnet) -> Sheet {
        Sheet {
            name: magnet.name.clone(),
            info_hash: magnet.info_hash.v1.map(|h| h.to_string()),
            info_hash_v2: magnet.info_hash.v2.map(|h| h.to_string()),
            trackers: magnet.trackers.iter().map(|t| vec![t.clone()]).collect(),
            web_seeds: magnet.web_seeds.clone(),
            peers: magnet.peers.iter().map(ToString::to_string).collect(),
            magnet: magnet.to_string(),
            exit: Exit::Done.code(),
            ..Sheet::default()
        }
    }

    /// One fact a line; several lines of one key follow one another.
    fn facts(&self, people: bool) -> Table {
        let mut table = Table::new(&[]);
        let mut fact = |key: &str, value: Option<String>| {
            if let Some(value) = value {
                let key = if people { label(key) } else { key.to_owned() };
                table.row([key, value]);
            }
        };
        let bytes = |n: u64| match people {
            true => format!("{} ({} bytes)", ByteCount(n), count(n)),
            false => n.to_string(),
        };
        let yes = |b: bool| if b { "yes" } else { "no" }.to_owned();
        fact("name", self.name.clone());
        fact("info hash", self.info_hash.clone());
        fact("info hash v2", self.info_hash_v2.clone());
        fact("version", self.version.map(Into::into));
        fact("size", self.size.map(bytes));
        fact("piece length", self.piece_length.map(|n| bytes(n.into())));
        fact("pieces", self.pieces.map(|n| n.to_string()));
        fact("files", self.files.as_ref().map(|f| f.lines().count().to_string()));
        fact("private", self.private.map(yes));
        fact("source", self.source.clone());
        fact("comment", self.comment.as_ref().map(|c| c.replace('\n', " ").trim().to_owned()));
        fact("created by", self.created_by.clone());
        fact("created", self.created.map(|s| if people { utc(s) } else { s.to_string() }));
        for url in self.trackers.iter().flatten() {
            fact("tracker", Some(url.clone()));
        }
        for url in &self.web_seeds {
            fact("web seed", Some(url.clone()));
        }
        for peer in &self.peers {
            fact("peer", Some(peer.clone()));
        }
        for node in &self.dht_nodes {
            fact("dht node", Some(node.clone()));
        }
        fact("magnet", Some(self.magnet.clone()));
        table
    }

    /// Index, length and path of each file, for programs.
    fn file_lines(&self) -> String {
        let mut lines = String::new();
        for FileLine { index, length, path } in self.files.iter().flat_map(Files::lines) {
            let _ = writeln!(lines, "{index}\t{length}\t{}", on_one_line(&path));
        }
        lines
    }

    /// Index, length and path of each file.
    fn files(&self, table: &mut Table, people: bool) {
        for f in self.files.iter().flat_map(Files::lines) {
            let length =
                if people { ByteCount(f.length).to_string() } else { f.length.to_string() };
            table.row([f.index.to_string(), length, f.path.clone()]);
        }
    }

    /// Tier and address of each tracker.
    fn trackers(&self, table: &mut Table) {
        for (tier, urls) in (1..).zip(&self.trackers) {
            urls.iter().for_each(|url| {
                table.row([tier.to_string(), url.clone()]);
            });
        }
    }
}

/// A key with a capital.
fn label(key: &str) -> String {
    let mut chars = key.chars();
    chars.next().map(|c| c.to_uppercase().chain(chars).collect()).unwrap_or_default()
}

/// Seconds since 1970 as `2026-11-24 06:30:00 UTC`.
pub(super) fn utc(seconds: u64) -> String {
    let [year, month, day, h, m, s] = civil(seconds);
    format!("{year:04}-{month:02}-{day:02} {h:02}:{m:02}:{s:02} UTC")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sheet() -> Sheet {
        let info = "d6:lengthi5e4:name1:a12:piece lengthi16384e6:pieces20:aaaaaaaaaaaaaaaaaaaae";
        let bytes = format!("d8:announce11:http://a/xy4:info{info}e");
        Sheet::of_torrent(&Metainfo::from_bytes(bytes.as_bytes()).expect("valid"))
    }

    #[test]
    fn programs_get_bytes_people_get_units() {
        let facts = sheet().facts(false).lines(false);
        assert!(facts.contains(&"piece length\t16384".to_owned()), "{facts:?}");
        let facts = sheet().facts(true).lines(true);
        assert!(facts.contains(&"Piece length  16.0 KiB (16,384 bytes)".to_owned()), "{facts:?}");
    }

    #[test]
    fn files_and_trackers() {
        let mut t = Table::new(&[0, 1]);
        sheet().files(&mut t, false);
        sheet().trackers(&mut t);
        assert_eq!(t.lines(false), ["1\t5\ta", "1\thttp://a/xy"]);
    }
}
