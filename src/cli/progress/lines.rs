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
/// Local work that is over sooner is not worth a line of its own.
const SHORT: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub(super) struct Lines {
    /// When each view was first seen.
    seen: HashMap<String, Duration>,
    said: HashMap<String, Said>,
}

/// What was last said of one view.
#[derive(Debug)]
struct Said {
    at: Duration,
    stage: Stage,
    tenth: u64,
}

impl Lines {
    /// The lines that are due.
    pub(super) fn show(&mut self, now: Duration, views: &[View]) -> Vec<String> {
        views.iter().filter_map(|v| self.line(now, v)).collect()
    }

    fn line(&mut self, now: Duration, view: &View) -> Option<String> {
        let tenth =
            (u128::from(view.done) * 10).checked_div(view.total.into()).unwrap_or(10) as u64;
        let seen = *self.seen.entry(view.id.clone()).or_insert(now);
        let local = matches!(view.stage, Stage::Checking | Stage::Hashing);
        if local && now.saturating_sub(seen) < SHORT {
            return None;
        }
        let before = self.said.get(&view.id);
        let was = before.map(|said| said.stage);
        let due = match before {
            None => true,
            Some(said) => {
                said.stage != view.stage
                    || (tenth > said.tenth && !view.stage.is_complete())
                    || now.saturating_sub(said.at) >= EVERY
            }
        };
        if !due {
            return None;
        }
        let said = Said { at: now, stage: view.stage, tenth };
        self.said.insert(view.id.clone(), said);

        let name = printable(&view.name);
        let was_complete = was.is_some_and(Stage::is_complete);
        let text = match (view.stage, view.took) {
            // Whoever stopped it says why.
            (Stage::Stopped, _) => return None,
            (stage, Some(took)) if stage.is_complete() && !was_complete => {
                let rate = ByteRate::over(view.downloaded, took);
                format!("done, {} in {} ({rate})", ByteCount(view.total), short_duration(took))
            }
            (Stage::Done, _) if was == Some(Stage::Seeding) => {
                format!("no longer seeding, sent {}", ByteCount(view.uploaded))
            }
            (Stage::Downloading, _) if was != Some(Stage::Downloading) => {
                let here = size_of(view.done, view.total);
                format!("downloading, {} {here} here already", percent(view.done, view.total))
            }
            _ => figures(view),
        };
        Some(format!("{name}: {text}"))
    }
}

fn figures(view: &View) -> String {
    let done = format!("{} {}", percent(view.done, view.total), size_of(view.done, view.total));
    let eta = view.eta.map(|t| short_duration(t.max(Duration::from_secs(1))));
    let eta = eta.map(|t| format!(", eta {t}")).unwrap_or_default();
    match view.stage {
        Stage::Hashing | Stage::Checking => format!("{} {done}{eta}", view.stage.name()),
        Stage::Metadata => {
            let why = view.waiting.as_ref().map(|why| format!(", waiting: {}", printable(why)));
            let peers = format!("peers {}/{}", view.peers, view.known.max(view.peers));
            format!("fetching metadata{}, {peers}", why.unwrap_or_default())
        }
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

    fn at(lines: &mut Lines, seconds: u64, done: u64, stage: Stage) -> Option<String> {
        let name = "a.iso".to_owned();
        let took = stage.is_complete().then_some(Duration::from_secs(seconds));
        let (down, downloaded) = (ByteRate(10), done);
        let v = View { name, done, total: 1000, stage, down, downloaded, took, ..View::default() };
        lines.show(Duration::from_secs(seconds), &[v]).pop()
    }

    #[test]
    fn one_line_at_the_start_each_tenth_each_minute_and_at_the_end() {
        let mut l = Lines::default();
        let d = Stage::Downloading;
        let start = at(&mut l, 0, 0, d);
        assert_eq!(start.as_deref(), Some("a.iso: downloading, 0.0% 0/1000 B here already"));
        assert!(at(&mut l, 1, 99, d).is_none());
        let tenth = at(&mut l, 2, 100, d);
        let figures = "a.iso: 10.0% 100/1000 B, down 10 B/s, up 0 B/s, peers 0/0";
        assert_eq!(tenth.as_deref(), Some(figures));
        assert!(at(&mut l, 3, 150, d).is_none());
        assert!(at(&mut l, 61, 150, d).is_none());
        assert!(at(&mut l, 62, 150, d).is_some());
        assert!(at(&mut l, 70, 990, d).is_some());
        let end = at(&mut l, 100, 1000, Stage::Seeding);
        assert_eq!(end.as_deref(), Some("a.iso: done, 1000 B in 1m 40s (10 B/s)"));
        assert!(at(&mut l, 101, 1000, Stage::Seeding).is_none());
        assert!(at(&mut l, 160, 1000, Stage::Seeding).is_some());
        let stop = at(&mut l, 161, 1000, Stage::Done);
        assert_eq!(stop.as_deref(), Some("a.iso: no longer seeding, sent 0 B"));
    }

    #[test]
    fn a_long_check_is_told_and_a_short_one_is_not() {
        let mut l = Lines::default();
        assert!(at(&mut l, 0, 0, Stage::Checking).is_none());
        let long = at(&mut l, 2, 100, Stage::Checking);
        assert_eq!(long.as_deref(), Some("a.iso: checking 10.0% 100/1000 B"));
        assert!(at(&mut l, 3, 500, Stage::Downloading).is_some());
        let end = at(&mut l, 8, 1000, Stage::Done);
        assert_eq!(end.as_deref(), Some("a.iso: done, 1000 B in 8s (125 B/s)"));
    }

    #[test]
    fn a_download_faster_than_a_look_is_not_called_complete_from_the_start() {
        let mut l = Lines::default();
        assert!(at(&mut l, 0, 0, Stage::Checking).is_none());
        let end = at(&mut l, 1, 1000, Stage::Done);
        assert_eq!(end.as_deref(), Some("a.iso: done, 1000 B in 1s (1000 B/s)"));

        let name = "a.iso".to_owned();
        let v = View { name, done: 1000, total: 1000, stage: Stage::Done, ..View::default() };
        assert_eq!(Lines::default().show(Duration::ZERO, &[v]), ["a.iso: complete, 1000 B"]);
    }

    #[test]
    fn says_why_it_waits_and_leaves_errors_to_others() {
        let mut l = Lines::default();
        at(&mut l, 0, 0, Stage::Downloading);
        let waiting = Some("no peers known".to_owned());
        let v = View { name: "a.iso".into(), total: 1000, waiting, ..View::default() };
        let lines = l.show(Duration::from_secs(60), &[v]);
        assert_eq!(lines, ["a.iso: 0.0% 0/1000 B, waiting: no peers known, peers 0/0"]);
        assert!(at(&mut l, 61, 0, Stage::Stopped).is_none());
    }
}
