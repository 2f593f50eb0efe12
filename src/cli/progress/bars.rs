//! Bars on a terminal, by `indicatif`: it moves the cursor, and draws at most ten times a second.
//!
//! All rows are one message of one bar, so that they change together.

use std::{collections::HashMap, time::Duration};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{
    carets::Carets,
    draw::{self, Room},
    sparkline::Sparkline,
    view::{Stage, View},
};
use crate::{base::units::ByteRate, cli::terminal::Style};

/// Most redraws in a second.
const HZ: u8 = 10;
/// Most torrents shown one by one; more are shown as their sum.
const MOST: usize = 8;

#[derive(Debug)]
pub(super) struct Bars {
    screen: MultiProgress,
    rows: ProgressBar,
    style: Style,
    history: HashMap<String, (Stage, Sparkline)>,
    _carets: Carets,
}

impl Bars {
    pub(super) fn new(style: Style) -> Self {
        let screen = MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(HZ));
        let template = ProgressStyle::with_template("{msg}").expect("a valid template");
        let rows = screen.add(ProgressBar::no_length().with_style(template));
        Bars { screen, rows, style, history: HashMap::new(), _carets: Carets::hide() }
    }

    pub(super) fn show(&mut self, now: Duration, views: &[View]) {
        let sum;
        let views = if views.len() > MOST {
            sum = [total(views)];
            &sum[..]
        } else {
            views
        };
        let (columns, height) = size();
        let room = Room::share(columns, height, views, self.style);
        let mut rows = Vec::new();
        for view in views {
            let (stage, history) = self.history.entry(view.id.clone()).or_default();
            if *stage != view.stage {
                // Another rate is of interest now.
                (*stage, *history) = (view.stage, Sparkline::default());
            }
            let rate = if view.stage.is_complete() { view.up } else { view.down };
            history.push(now, rate.0);
            rows.extend(draw::rows(view, history, room));
        }
        self.rows.set_message(rows.join("\n"));
    }

    /// Prints `text` above the bars.
    pub(super) fn say(&self, text: &str) {
        // A terminal that is gone can't be told.
        let _ = self.screen.println(text);
    }

    /// Runs `f` while the bars are off the screen.
    pub(super) fn suspend<T>(&self, f: impl FnOnce() -> T) -> T {
        self.screen.suspend(f)
    }

    pub(super) fn finish(&self) {
        self.rows.abandon();
    }

    pub(super) fn clear(&self) {
        self.rows.finish_and_clear();
    }
}

/// Columns and rows of the terminal on standard error.
fn size() -> (usize, usize) {
    match rustix::termios::tcgetwinsize(std::io::stderr()) {
        Ok(size) if size.ws_col > 0 && size.ws_row > 0 => (size.ws_col.into(), size.ws_row.into()),
        _ => (80, 24),
    }
}

/// The sum of many views as one.
fn total(views: &[View]) -> View {
    let sum = |f: fn(&View) -> u64| views.iter().map(f).fold(0, u64::saturating_add);
    let count = |f: fn(&View) -> u32| views.iter().map(f).fold(0, u32::saturating_add);
    let having = |stage: Stage| views.iter().filter(|v| v.stage == stage).count();
    let complete = views.iter().filter(|v| v.stage.is_complete()).count();
    let (done, total, down) = (sum(|v| v.done), sum(|v| v.total), sum(|v| v.down.0));
    let stage = if having(Stage::Done) == views.len() {
        Stage::Done
    } else if complete == views.len() {
        Stage::Seeding
    } else if having(Stage::Checking) + having(Stage::Hashing) + complete == views.len() {
        Stage::Checking
    } else {
        Stage::Downloading
    };
    let downloading: Vec<_> = views.iter().filter(|v| v.stage == Stage::Downloading).collect();
    let all_wait = !downloading.is_empty() && downloading.iter().all(|v| v.waiting.is_some());
    View {
        id: String::new(),
        name: format!("{complete} of {} torrents", views.len()),
        stage,
        done,
        total,
        pieces_done: count(|v| v.pieces_done),
        pieces: count(|v| v.pieces),
        down: ByteRate(down),
        up: ByteRate(sum(|v| v.up.0)),
        downloaded: sum(|v| v.downloaded),
        uploaded: sum(|v| v.uploaded),
        uploaded_before: sum(|v| v.uploaded_before),
        wasted: sum(|v| v.wasted),
        peers: count(|v| v.peers),
        web_seeds: count(|v| v.web_seeds),
        known: count(|v| v.known),
        seeds: count(|v| v.seeds),
        eta: (total - done.min(total)).checked_div(down).map(Duration::from_secs),
        took: views.iter().filter_map(|v| v.took).max(),
        waiting: all_wait.then(|| downloading.first().and_then(|v| v.waiting.clone())).flatten(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_torrents_are_their_sum() {
        let mut views = vec![View { done: 5, total: 10, down: ByteRate(1), ..View::default() }; 9];
        views[0].stage = Stage::Seeding;
        views[0].done = 10;
        let t = total(&views);
        assert_eq!((t.done, t.total, t.name.as_str()), (50, 90, "1 of 9 torrents"));
        assert_eq!(t.eta, Some(Duration::from_secs(4)));
        assert_eq!(t.stage, Stage::Downloading);
        assert_eq!(t.waiting, None);
        views.iter_mut().for_each(|v| v.waiting = Some("no peers known".into()));
        assert_eq!(total(&views).waiting.as_deref(), Some("no peers known"));
    }
}
