//! Which files of a torrent are fetched, as the options or the link say; and what there is to choose from.

use std::ops::RangeInclusive;

use serde::Serialize;

use super::{
    args,
    exit::{Exit, Failure},
    table::Table,
    terminal::Terminal,
};
use crate::{
    base::units::ByteCount,
    metainfo::{Info, Layout},
    session::Priority,
};

/// How much each file of `info` is wanted; nothing if all are wanted alike. `linked` is the choice of a
/// magnet link (numbers from 0, BEP 53), for when the options make none.
pub(super) fn files(
    choice: &args::Choice,
    linked: &[RangeInclusive<u32>],
    info: &Info,
) -> Result<Vec<Priority>, Failure> {
    let layout = info.layout();
    let named = !choice.select.is_empty() || !choice.matching.is_empty();
    let mut files = match named || !linked.is_empty() {
        true => vec![Priority::Skip; layout.len()],
        false => vec![Priority::Normal; layout.len()],
    };
    for args::Numbers(numbers) in &choice.select {
        wanted(&mut files, numbers)?.fill(Priority::Normal);
    }
    if !named {
        for range in linked {
            // What is not there was meant for another torrent.
            let end = (*range.end() as usize + 1).min(files.len());
            let begin = (*range.start() as usize).min(end);
            files[begin..end].fill(Priority::Normal);
        }
    }
    if !(choice.matching.is_empty() && choice.exclude.is_empty()) {
        for (priority, file) in files.iter_mut().zip(layout.files()) {
            let path = file.path.to_string();
            let matches = |regexes: &[regex::Regex]| regexes.iter().any(|r| r.is_match(&path));
            if matches(&choice.matching) {
                *priority = Priority::Normal;
            }
            if matches(&choice.exclude) {
                *priority = Priority::Skip;
            }
        }
    }
    for args::Level { numbers: args::Numbers(numbers), level } in &choice.priority {
        wanted(&mut files, numbers)?.fill(match level {
            args::Wanted::High => Priority::High,
            args::Wanted::Normal => Priority::Normal,
            args::Wanted::Low => Priority::Low,
            args::Wanted::Skip => Priority::Skip,
        });
    }
    let any = stored(layout).any(|(index, _)| files[index] != Priority::Skip);
    if !any && stored(layout).next().is_some() {
        let failure = Failure::new(Exit::Input, "no file of the torrent is selected");
        return Err(failure.remedy("--list shows the files and their numbers."));
    }
    let alike = files.iter().all(|&priority| priority == Priority::Normal);
    Ok(if alike { Vec::new() } else { files })
}

fn wanted<'a>(
    files: &'a mut [Priority],
    numbers: &RangeInclusive<usize>,
) -> Result<&'a mut [Priority], Failure> {
    let count = files.len();
    files.get_mut(numbers.start() - 1..*numbers.end()).ok_or_else(|| {
        let last = numbers.end();
        Failure::new(Exit::Input, format!("there is no file {last}: the torrent has {count}"))
            .remedy("--list shows the files and their numbers.")
    })
}

fn stored(layout: &Layout) -> impl Iterator<Item = (usize, crate::metainfo::File<'_>)> {
    layout.files().enumerate().filter(|(_, file)| file.is_stored())
}

/// A file to choose.
#[derive(Serialize)]
struct Line {
    /// Its number, from 1, padding counted.
    index: usize,
    length: u64,
    priority: &'static str,
    path: String,
}

#[derive(Serialize)]
struct List<'a> {
    id: String,
    name: &'a str,
    files: Vec<Line>,
}

/// Shows the files of a torrent, and how much each is wanted; lines by `print`.
pub(super) fn list(
    info: &Info,
    files: &[Priority],
    terminal: Terminal,
    print: impl FnOnce(&str) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let priority = |index: usize| match files.get(index).copied().unwrap_or_default() {
        Priority::High => "high",
        Priority::Normal => "normal",
        Priority::Low => "low",
        Priority::Skip => "skip",
    };
    let lines = stored(info.layout()).map(|(index, file)| Line {
        index: index + 1,
        length: file.length,
        priority: priority(index),
        path: file.path.to_string(),
    });
    if terminal.json {
        let id = info.info_hash().wire().to_string();
        let list = List { id, name: info.layout().name(), files: lines.collect() };
        return terminal.event("files", &list);
    }
    let aligned = terminal.tables_aligned;
    let mut table = Table::new(&[0, 1]);
    for Line { index, length, priority, path } in lines {
        let length = if aligned { ByteCount(length).to_string() } else { length.to_string() };
        table.row([index.to_string(), length, priority.to_owned(), path]);
    }
    print(&table.lines(aligned).join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{cli::args::Choice, metainfo::sample};
    use Priority::{High, Low, Normal, Skip};

    #[test]
    fn options_come_before_links_and_later_ones_before_earlier() {
        let all = [("a.mkv", 15), ("b.txt", 10), ("c.mkv", 3), ("d.nfo", 30)];
        let info = sample::info(10, &all, &[7; 6 * 20]);
        let try_choose = |options: &[&str]| files(&Choice::of(options), &[1..=1, 3..=9], &info);
        let chosen = |options: &[&str]| try_choose(options).expect("a choice");
        assert_eq!(chosen(&[]), vec![Skip, Normal, Skip, Normal]);
        assert_eq!(chosen(&["--select", "1,3-4"]), vec![Normal, Skip, Normal, Normal]);
        assert_eq!(chosen(&["--match", r"\.mkv$"]), vec![Normal, Skip, Normal, Skip]);
        assert_eq!(
            chosen(&["--match", r"\.mkv$", "--select", "2", "--exclude", "c"]),
            vec![Normal, Normal, Skip, Skip]
        );
        assert_eq!(
            chosen(&["--select", "1-4", "--priority", "2=high,3-4=low"]),
            vec![Normal, High, Low, Low]
        );
        assert!(chosen(&["--select", "1-4"]).is_empty());
        let error = try_choose(&["--select", "5"]).expect_err("there is none");
        assert_eq!(error.message, "there is no file 5: the torrent has 4");
        assert!(try_choose(&["--match", "nothing like it"]).is_err());
    }
}
