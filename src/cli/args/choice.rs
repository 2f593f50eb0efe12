//! Which files of a torrent are fetched, as it is typed.

use std::{ops::RangeInclusive, str::FromStr};

use clap::{Args, ValueEnum};
use regex::Regex;

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Files")]
pub(in crate::cli) struct Choice {
    /// Fetch only these files, by their numbers, such as 1-5,8
    #[arg(long, value_name = "NUMBERS", value_delimiter = ',')]
    pub(in crate::cli) select: Vec<Numbers>,

    /// Fetch only files whose path matches, besides those of --select (may be repeated)
    #[arg(long = "match", value_name = "REGEX")]
    pub(in crate::cli) matching: Vec<Regex>,

    /// Leave out files whose path matches (may be repeated)
    #[arg(long, value_name = "REGEX")]
    pub(in crate::cli) exclude: Vec<Regex>,

    /// How much files are wanted, such as 3=high or 4-6=low (may be repeated)
    #[arg(long, value_name = "NUMBERS=LEVEL", value_delimiter = ',')]
    pub(in crate::cli) priority: Vec<Level>,

    /// Fetch both ends of each file before everything else, for players and previews
    #[arg(long)]
    pub(in crate::cli) ends_first: bool,

    /// Show the files with their numbers, and fetch nothing
    #[arg(long)]
    pub(in crate::cli) list: bool,
}

#[cfg(test)]
impl Choice {
    /// What these options say.
    pub(in crate::cli) fn of(options: &[&str]) -> Self {
        #[derive(clap::Parser)]
        struct Line {
            #[command(flatten)]
            choice: Choice,
        }
        let words = std::iter::once(&"downpour").chain(options);
        <Line as clap::Parser>::parse_from(words).choice
    }
}

/// Numbers of files, from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli) struct Numbers(pub(in crate::cli) RangeInclusive<usize>);

impl FromStr for Numbers {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| text.trim().parse::<usize>().ok().filter(|&number| number > 0);
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        match (number(first), number(last)) {
            (Some(first), Some(last)) if first <= last => Ok(Numbers(first..=last)),
            _ => Err("write numbers from 1 on, such as 1-5,8".to_owned()),
        }
    }
}

/// Files, and how much they are wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli) struct Level {
    pub(in crate::cli) numbers: Numbers,
    pub(in crate::cli) level: Wanted,
}

/// How much a file is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum Wanted {
    High,
    Normal,
    Low,
    Skip,
}

impl FromStr for Level {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (numbers, level) =
            text.split_once('=').ok_or("write the number of a file and a level, such as 3=high")?;
        let level = Wanted::from_str(level.trim(), true)
            .map_err(|_| format!("{level:?} is not one of high, normal, low and skip"))?;
        Ok(Level { numbers: numbers.parse()?, level })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_levels() {
        assert_eq!("7".parse(), Ok(Numbers(7..=7)));
        assert_eq!("2-5".parse(), Ok(Numbers(2..=5)));
        for bad in ["", "0", "0-3", "5-2", "a", "1-", "-2", "1-2-3"] {
            assert!(bad.parse::<Numbers>().is_err(), "{bad}");
        }
        let level = Level { numbers: Numbers(4..=6), level: Wanted::Low };
        assert_eq!("4-6=LOW".parse(), Ok(level));
        for bad in ["3", "3=", "3=much", "=high", "x=high"] {
            assert!(bad.parse::<Level>().is_err(), "{bad}");
        }
    }
}
