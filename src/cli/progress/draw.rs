//! The rows of one view as text of at most so many columns. Pure: what comes out depends on the
//! arguments only.

use std::time::Duration;

use unicode_width::UnicodeWidthStr;

use super::{
    sparkline::Sparkline,
    text::{count, fit, pad, percent, short_duration, size_of},
    view::{Stage, View},
};
use crate::{
    base::units::{ByteCount, ByteRate},
    cli::terminal::{Style, printable},
};

/// Widest bar, in columns between its ends.
const BAR: usize = 24;
/// Narrowest bar that still says something.
const LEAST_BAR: usize = 6;
/// Eighths of a column, from one to eight.
const EIGHTHS: [char; 8] = ['▏', '▎', '▍', '▌', '▋', '▊', '▉', '█'];

/// The room there is, the same for all views drawn together.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    /// Columns of the terminal.
    pub(super) columns: usize,
    /// Rows for each view, 1 to 3.
    pub(super) rows: usize,
    /// Columns for names.
    pub(super) name: usize,
    /// Colours or none.
    pub(super) style: Style,
}

impl Room {
    /// Shares `columns` by `rows` among `views`.
    pub(super) fn share(columns: usize, rows: usize, views: &[View], style: Style) -> Room {
        let name = views.iter().map(|v| printable(&v.name).width()).max().unwrap_or(0);
        let each = rows.saturating_sub(1) / views.len().max(1);
        Room {
            // The last column stays free: a terminal may wrap when it is written.
            columns: columns.saturating_sub(1),
            rows: each.clamp(1, 3),
            name: name.min(columns / 3).max(4),
            style,
        }
    }
}

/// The rows of `view`.
pub(super) fn rows(view: &View, history: &Sparkline, room: Room) -> Vec<String> {
    let mut rows = vec![bar_row(view, room)];
    if room.rows > 1 {
        rows.push(figures_row(view, room));
    }
    if room.rows > 2
        && matches!(view.stage, Stage::Downloading | Stage::Seeding)
        && let Some(row) = history_row(view, history, room)
    {
        rows.push(row);
    }
    rows
}

/// `leaves.epub   ▕██████████████▎         ▏ 61.2%  3.4/5.6 GiB`
fn bar_row(view: &View, room: Room) -> String {
    let style = room.style;
    if view.stage == Stage::Metadata {
        // Of how much it is a part is not known.
        let what = fit(" fetching metadata", room.columns.saturating_sub(room.name));
        return format!("{}{what}", style.bold(&pad(&printable(&view.name), room.name)));
    }
    let percent = format!("{:>6}", percent(view.done, view.total));
    let sizes = size_of(view.done, view.total);
    // Bar with its ends and the blanks around; then without sizes; then without a bar.
    let fixed = room.name + 1 + 2 + percent.width();
    let with_sizes = room.columns.saturating_sub(fixed + 2 + SIZES);
    let without = room.columns.saturating_sub(fixed);
    let name = |width| style.bold(&pad(&printable(&view.name), width));
    if with_sizes >= LEAST_BAR {
        let bar = bar(view, with_sizes.min(BAR), style);
        format!("{} ▕{bar}▏{percent}  {}", name(room.name), fit(&sizes, SIZES))
    } else if without >= LEAST_BAR {
        let bar = bar(view, without.min(BAR), style);
        format!("{} ▕{bar}▏{percent}", name(room.name))
    } else {
        let width = room.columns.saturating_sub(percent.width());
        format!("{}{}", name(width), fit(&percent, room.columns))
    }
}

/// Columns of the longest pair of sizes, `1023.9/1023.9 GiB`.
const SIZES: usize = 17;

fn bar(view: &View, width: usize, style: Style) -> String {
    let all = width as u128 * 8;
    let eighths = if view.done >= view.total {
        all
    } else {
        u128::from(view.done) * all / u128::from(view.total)
    };
    let (full, rest) = ((eighths / 8) as usize, (eighths % 8) as usize);
    let mut done: String = std::iter::repeat_n('█', full).collect();
    if rest > 0 {
        done.push(EIGHTHS[rest - 1]);
    }
    let empty = " ".repeat(width - done.width());
    let done = match view.stage {
        Stage::Stopped => style.red(&done),
        _ if view.waiting.is_some() => style.yellow(&done),
        stage if stage.is_complete() => style.green(&done),
        _ => style.cyan(&done),
    };
    done + &empty
}

/// `  ↓ 48.1 MiB/s  ↑ 3.2 MiB/s  eta 47s   peers 18/41 (12 seeds)  pieces 3,481/5,690`
fn figures_row(view: &View, room: Room) -> String {
    let style = room.style;
    let eta = view.eta.map(|t| format!("eta {}", short_duration(t.max(Duration::from_secs(1)))));
    let peers = || {
        let seeds = match view.seeds {
            0 => String::new(),
            1 => " (1 seed)".to_owned(),
            n => format!(" ({n} seeds)"),
        };
        format!(" peers {}/{}{seeds}", view.peers, view.known.max(view.peers))
    };
    let pieces =
        || format!("pieces {}/{}", count(view.pieces_done.into()), count(view.pieces.into()));
    let sent = || format!("sent {} (ratio {:.2})", ByteCount(view.uploaded), view.ratio());
    match (view.stage, &view.waiting) {
        (Stage::Stopped, why) => {
            let why = why.as_deref().map(printable).unwrap_or_else(|| "stopped".to_owned());
            style.red(&fit(&format!("  {why}"), room.columns))
        }
        (Stage::Hashing | Stage::Checking, _) => {
            let what = format!("{} {}", view.stage.name(), view.down);
            let pieces = (view.pieces > 0).then(pieces);
            segments([Some(what), eta, pieces], room.columns)
        }
        (Stage::Metadata, None) => segments([None, Some(peers())], room.columns),
        (Stage::Metadata | Stage::Downloading, Some(why)) => {
            let why = fit(&format!("  waiting: {}", printable(why)), room.columns);
            let left = room.columns.saturating_sub(why.width());
            let rest = segments([Some(format!(" ↑ {}", view.up)), Some(peers())], left);
            format!("{}{rest}", style.yellow(&why))
        }
        (Stage::Downloading, None) => segments(
            [
                Some(format!("↓ {}", view.down)),
                Some(format!("↑ {}", view.up)),
                eta,
                Some(peers()),
                Some(pieces()),
            ],
            room.columns,
        ),
        (Stage::Seeding, _) => segments(
            [
                Some("seeding".to_owned()),
                Some(format!("↑ {}", view.up)),
                Some(sent()),
                Some(peers()),
            ],
            room.columns,
        ),
        (Stage::Done, _) => {
            let done = match view.took {
                Some(t) => {
                    let rate = ByteRate::over(view.downloaded, t);
                    format!("done in {} ({rate})", short_duration(t))
                }
                None => "done".to_owned(),
            };
            segments([Some(done), Some(sent())], room.columns)
        }
    }
}

/// Figures two blanks apart, as many from the front as there is room for.
fn segments<const N: usize>(parts: [Option<String>; N], columns: usize) -> String {
    let mut row = String::new();
    for part in parts.into_iter().flatten() {
        if row.width() + 2 + part.width() > columns {
            break;
        }
        row.push_str("  ");
        row.push_str(&part);
    }
    row
}

/// `  ▁▂▄▆█████▇▅▃▂▁            tcp 11 · web 1      wasted 0 B`
fn history_row(view: &View, history: &Sparkline, room: Room) -> Option<String> {
    let bars = pad(&history.draw(BAR), BAR);
    let web = match view.web_seeds {
        0 => String::new(),
        n => format!(" · web {n}"),
    };
    let row = segments(
        [
            Some(bars),
            Some(format!("  tcp {}{web}", view.peers)),
            Some(format!("    wasted {}", ByteCount(view.wasted))),
        ],
        room.columns,
    );
    (!row.trim().is_empty()).then(|| room.style.dim(&row))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn view() -> View {
        View {
            id: "i".into(),
            name: "leaves.epub".into(),
            done: 3_680_000_000,
            total: 6_012_954_214,
            pieces_done: 3481,
            pieces: 5690,
            down: ByteRate(50_436_505),
            up: ByteRate(3_355_443),
            peers: 18,
            known: 41,
            seeds: 12,
            eta: Some(Duration::from_secs(47)),
            ..View::default()
        }
    }

    fn room(columns: usize) -> Room {
        Room::share(columns, 24, &[view()], Style { color: false })
    }

    #[test]
    fn drawn_as_the_contract_says() {
        let mut history = Sparkline::default();
        (0..5).for_each(|s| history.push(Duration::from_secs(s), s * 10));
        assert_eq!(
            rows(&view(), &history, room(100)),
            [
                "leaves.epub ▕██████████████▋         ▏ 61.2%  3.4/5.6 GiB",
                "  ↓ 48.1 MiB/s  ↑ 3.2 MiB/s  eta 47s   peers 18/41 (12 seeds)  pieces 3,481/5,690",
                "  ▁▂▄▆█                       tcp 18      wasted 0 B",
            ]
        );
        let with_web_seed = rows(&View { web_seeds: 1, ..view() }, &history, room(100));
        assert_eq!(
            with_web_seed[2],
            "  ▁▂▄▆█                       tcp 18 · web 1      wasted 0 B"
        );
    }

    #[test]
    fn says_why_it_waits() {
        let waiting = Some("9 peers connected, all choke us".to_owned());
        let v = View { waiting, up: ByteRate(0), seeds: 1, ..view() };
        let rows = rows(&v, &Sparkline::default(), room(80));
        assert_eq!(
            rows[1],
            "  waiting: 9 peers connected, all choke us   ↑ 0 B/s   peers 18/41 (1 seed)"
        );
    }

    #[test]
    fn seeding_and_stopped() {
        let v = View { stage: Stage::Seeding, done: 1, total: 1, uploaded: 2, ..view() };
        let text = rows(&v, &Sparkline::default(), room(100));
        assert!(text[0].contains("100.0%"), "{text:?}");
        assert_eq!(
            text[1],
            "  seeding  ↑ 3.2 MiB/s  sent 2 B (ratio 2.00)   peers 18/41 (12 seeds)"
        );
        let v = View { stage: Stage::Stopped, waiting: Some("disk full".into()), ..view() };
        assert_eq!(rows(&v, &Sparkline::default(), room(100))[1], "  disk full");
    }

    #[test]
    fn a_small_terminal_gets_fewer_rows() {
        let views = vec![view(); 8];
        assert_eq!(Room::share(80, 24, &views, Style::default()).rows, 2);
        assert_eq!(Room::share(80, 10, &views, Style::default()).rows, 1);
        assert_eq!(Room::share(80, 40, &views, Style::default()).rows, 3);
    }

    proptest! {
        #[test]
        fn never_wider_than_the_terminal(
            columns in 1usize..200, height in 1usize..60, name in "\\PC{0,40}",
            done in any::<u64>(), total in any::<u64>(), down in any::<u64>(),
            waiting in prop::option::of("\\PC{0,60}"), peers in any::<u32>(), stage in 0..6,
        ) {
            let stage = [Stage::Hashing, Stage::Checking, Stage::Downloading, Stage::Seeding,
                Stage::Done, Stage::Stopped][stage as usize];
            let v = View { name, done, total, down: ByteRate(down), waiting, peers, stage, ..view() };
            let room = Room::share(columns, height, std::slice::from_ref(&v), Style::default());
            for row in rows(&v, &Sparkline::default(), room) {
                prop_assert!(row.width() < columns.max(1) || row.is_empty(), "{row:?} in {columns}");
            }
        }
    }
}
