//! What `show --scrape` adds: how many peers each tracker counts.
//!
//! The asking is in [`crate::session::scrape`]; here it becomes rows and objects.

use std::path::PathBuf;

use serde::Serialize;

use super::{
    exit::{Exit, Failure},
    progress::count,
    table::Table,
};
use crate::{
    base::hash::InfoHash,
    session::{
        Outlet,
        scrape::{self, Scraped},
    },
};

/// What one tracker said. The names are the keys of `--json`.
#[derive(Debug, Serialize)]
pub(super) struct Line {
    /// From 1.
    tier: usize,
    url: String,
    #[serde(flatten)]
    said: Said,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Said {
    Counts { seeds: u32, leeches: u32, completed: u32 },
    Nothing { error: String },
}

impl From<Scraped> for Line {
    fn from(scraped: Scraped) -> Self {
        let nothing = |error| Said::Nothing { error };
        let said = match scraped.counts {
            Ok(Some(c)) => {
                Said::Counts { seeds: c.seeds, leeches: c.leeches, completed: c.completed }
            }
            Ok(None) => nothing("it does not know this torrent".to_owned()),
            Err(error) => nothing(error.to_string()),
        };
        Line { tier: scraped.tier + 1, url: scraped.url, said }
    }
}

/// Asks every tracker of `tiers`, by way of `outlet`.
///
/// # Errors
/// A [`Failure`] if there is none, or nothing to ask with.
pub(super) async fn ask(
    tiers: &[Vec<String>],
    info_hash: InfoHash,
    outlet: &Outlet,
    ca_file: Option<PathBuf>,
) -> Result<Vec<Line>, Failure> {
    if tiers.iter().all(Vec::is_empty) {
        return Err(Failure::new(Exit::Input, "there is no tracker to ask")
            .remedy("Without trackers nobody counts the peers of a torrent."));
    }
    let scraped = scrape::scrape(tiers, info_hash, outlet, ca_file).await;
    let failed = |e: crate::session::SessionError| Failure::new(Exit::Input, e.to_string());
    Ok(scraped.map_err(failed)?.into_iter().map(Line::from).collect())
}

/// [`Exit::Network`] if no tracker had counts.
pub(super) fn exit(lines: &[Line]) -> Exit {
    match lines.iter().any(|line| matches!(line.said, Said::Counts { .. })) {
        true => Exit::Done,
        false => Exit::Network,
    }
}

/// Tier, tracker, seeds, leeches, completed downloads; why not in place of the counts.
pub(super) fn rows(lines: &[Line], people: bool, table: &mut Table) {
    for Line { tier, url, said } in lines {
        let mut cells = vec![tier.to_string(), url.clone()];
        match said {
            Said::Counts { seeds, leeches, completed } => {
                let all = [(seeds, "seeds"), (leeches, "leeches"), (completed, "completed")];
                cells.extend(all.map(|(n, what)| match people {
                    true => format!("{} {what}", count((*n).into())),
                    false => n.to_string(),
                }));
            }
            Said::Nothing { error } => cells.push(error.clone()),
        }
        table.row(cells);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::scrape::ScrapeCounts;

    fn lines(counts: Option<ScrapeCounts>) -> Vec<Line> {
        vec![Scraped { tier: 0, url: "udp://t:1".to_owned(), counts: Ok(counts) }.into()]
    }

    #[test]
    fn counts_for_people_and_for_programs() {
        let known = lines(Some(ScrapeCounts { seeds: 1200, completed: 3, leeches: 4 }));
        let shown = |lines: &[Line], people| {
            let mut table = Table::new(&[]);
            rows(lines, people, &mut table);
            table.lines(false).remove(0)
        };
        assert_eq!(shown(&known, false), "1\tudp://t:1\t1200\t4\t3");
        assert_eq!(shown(&known, true), "1\tudp://t:1\t1,200 seeds\t4 leeches\t3 completed");
        let object = serde_json::to_value(&known[0]).expect("an object");
        let wanted = r#"{"tier":1,"url":"udp://t:1","seeds":1200,"leeches":4,"completed":3}"#;
        assert_eq!(object, serde_json::from_str::<serde_json::Value>(wanted).expect("valid"));
        assert_eq!(exit(&known), Exit::Done);

        let unknown = lines(None);
        assert_eq!(shown(&unknown, false), "1\tudp://t:1\tit does not know this torrent");
        assert_eq!(exit(&unknown), Exit::Network);
    }
}
