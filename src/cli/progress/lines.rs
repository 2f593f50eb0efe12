//! Lines where there is no terminal: at the start, each 10 %, every 60 s, and at the end.

use std::{collections::HashMap, time::Duration};

use super::{
    text::{percent, short_duration, size_of},
    view::{Stage, View},
};
use crate::{
    base::units::{ByteCount, ByteRate},
    cli::terminal::printable,
};

/// Longest silence.
const EVERY: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
pub(super) struct Lines {
    said: HashMap<String, Said>,
}

/// What was last said of one view.
#[derive(Debug)]
struct Said {
    at: Duration,
    stage: Stage,
    tenth: u64,
    /// When the download began, and with how much there already.
    began: Option<(Duration, u64)>,
}

impl Lines {
    /// The lines that are due.
    pub(super) fn show(&mut self, now: Duration, views: &[View]) -> Vec<String> {
        views.iter().filter_map(|v| self.line(now, v)).collect()
    }

    fn line(&mut self, now: Duration, view: &View) -> Option<String> {
        let tenth =
            (u128::from(view.done) * 10).checked_div(view.total.into()).unwrap_or(10) as u64;
        let first = !self.said.contains_key(&view.id);
        let said = self.said.entry(view.id.clone()).or_insert(Said {
            at: now,
            stage: view.stage,
            tenth,
            began: None,
        });
        if view.stage == Stage::Downloading && said.began.is_none() {
            said.began = Some((now, view.done));
        }
        let turned = said.stage != view.stage;
        let ended = turned && view.stage.is_complete() && !said.stage.is_complete();
        let due = first
            || turned
            || (tenth > said.tenth && !view.stage.is_complete())
            || now.saturating_sub(said.at) >= EVERY;
        // That serving ends when the download does is no news.
        let silent = said.stage.is_complete() && view.stage == Stage::Done;
        let began = said.began;
        if !due {
            return None;
        }
        (said.at, said.stage, said.tenth) = (now, view.stage, tenth);
        if silent {
            return None;
        }
        let name = printable(&view.name);
        let total = ByteCount(view.total);
        Some(match (view.stage, began) {
            (Stage::Seeding | Stage::Done, Some((at, had))) if ended => {
                let took = now.saturating_sub(at);
                let rate = ByteRate::over(view.total.saturating_sub(had), took);
                format!("{name}: done, {total} in {} ({rate})", short_duration(took))
            }
            (Stage::Stopped, _) => {
                let why = view.waiting.as_deref().unwrap_or("no reason given");
                format!("{name}: stopped: {}", printable(why))
            }
            _ => format!("{name}: {}", figures(view)),
        })
    }
}

fn figures(view: &View) -> String {
    let done = format!("{} {}", percent(view.done, view.total), size_of(view.done, view.total));
    let eta = view.eta.map(|t| short_duration(t.max(Duration::from_secs(1))));
    let eta = eta.map(|t| format!(", eta {t}")).unwrap_or_default();
    match view.stage {
        Stage::Hashing | Stage::Checking => format!("{} {done}{eta}", view.stage.name()),
        Stage::Done => format!("complete, {}", ByteCount(view.total)),
        Stage::Seeding => format!(
            "seeding, up {}, sent {}, peers {}",
            view.up,
            ByteCount(view.uploaded),
            view.peers
        ),
        Stage::Downloading | Stage::Stopped => {
            let state = match &view.waiting {
                Some(why) => format!("waiting: {}", printable(why)),
                None => format!("down {}, up {}{eta}", view.down, view.up),
            };
            format!("{done}, {state}, peers {}/{}", view.peers, view.known.max(view.peers))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(lines: &mut Lines, seconds: u64, done: u64, stage: Stage) -> Vec<String> {
        let name = "a.iso".to_owned();
        let v = View { name, done, total: 1000, stage, down: ByteRate(10), ..View::default() };
        lines.show(Duration::from_secs(seconds), &[v])
    }

    #[test]
    fn one_line_at_the_start_each_tenth_each_minute_and_at_the_end() {
        let mut l = Lines::default();
        let d = Stage::Downloading;
        assert_eq!(at(&mut l, 0, 0, d), ["a.iso: 0.0% 0/1000 B, down 10 B/s, up 0 B/s, peers 0/0"]);
        assert!(at(&mut l, 1, 99, d).is_empty());
        assert_eq!(at(&mut l, 2, 100, d).len(), 1);
        assert!(at(&mut l, 3, 150, d).is_empty());
        assert!(at(&mut l, 61, 150, d).is_empty());
        assert_eq!(at(&mut l, 62, 150, d).len(), 1);
        assert_eq!(at(&mut l, 70, 990, d).len(), 1);
        assert_eq!(
            at(&mut l, 100, 1000, Stage::Seeding),
            ["a.iso: done, 1000 B in 1m 40s (10 B/s)"]
        );
        assert!(at(&mut l, 101, 1000, Stage::Seeding).is_empty());
        assert_eq!(at(&mut l, 160, 1000, Stage::Seeding).len(), 1);
        assert!(at(&mut l, 161, 1000, Stage::Done).is_empty());
    }

    #[test]
    fn checking_comes_before() {
        let mut l = Lines::default();
        assert_eq!(at(&mut l, 0, 0, Stage::Checking), ["a.iso: checking 0.0% 0/1000 B"]);
        assert_eq!(at(&mut l, 1, 500, Stage::Downloading).len(), 1);
        assert_eq!(at(&mut l, 6, 1000, Stage::Done), ["a.iso: done, 1000 B in 5s (100 B/s)"]);
    }
}
