//! `--blocklist`: reads the lists, and tells how much they block.
//!
//! What a list may look like is in [`crate::session::blocklist`].

use std::{net::SocketAddr, path::PathBuf, sync::Arc};

use serde::Serialize;

use super::{
    create::plural,
    exit::{self, Exit, Failure},
    terminal::{Terminal, printable},
};
use crate::{
    base::ip_filter::{Builder, IpFilter, list::Understood},
    session::blocklist::{self, BlocklistError, Unusable},
};

#[derive(Serialize)]
struct Blocking {
    ranges: usize,
    lists: Vec<List>,
}

/// How much of one list was understood.
#[derive(Serialize)]
struct List {
    path: String,
    good_lines: u64,
    bad_lines: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    first_bad_line: Option<u64>,
}

/// What the lists at `paths` block together. Told of if there are any.
pub(super) fn read(paths: &[PathBuf], terminal: Terminal) -> Result<Arc<IpFilter>, Failure> {
    let (mut builder, mut lists) = (Builder::default(), Vec::new());
    for path in paths {
        let Understood { good, bad, first_bad } =
            blocklist::read(path, &mut builder).map_err(|error| failure(&error))?;
        lists.push(List {
            path: path.display().to_string(),
            good_lines: good,
            bad_lines: bad,
            first_bad_line: first_bad,
        });
    }
    let filter = builder.build();
    let blocking = Blocking { ranges: filter.ranges(), lists };
    if terminal.json && !paths.is_empty() {
        terminal.event("blocklist", &blocking)?;
    } else if !paths.is_empty() {
        terminal.say(&printable(&blocking.sentence()));
    }
    Ok(Arc::new(filter))
}

/// Tells of those among the addresses that the user named which will not be dialled.
pub(super) fn warn(
    addrs: &[SocketAddr],
    blocked: &IpFilter,
    terminal: Terminal,
) -> Result<(), Failure> {
    let mut named = addrs.iter().filter(|addr| blocked.blocks(addr.ip()));
    named.try_for_each(|addr| terminal.warn(&format!("{addr} is blocked: it is not dialled")))
}

impl Blocking {
    fn sentence(&self) -> String {
        let what = plural(self.ranges as u64, "range");
        let damage: Vec<String> = self.lists.iter().filter_map(List::damage).collect();
        let damage = match damage.is_empty() {
            true => String::new(),
            false => format!(" ({})", damage.join("; ")),
        };
        format!("Blocking {what} of addresses{damage}.")
    }
}

impl List {
    fn damage(&self) -> Option<String> {
        let (path, first) = (&self.path, self.first_bad_line?);
        Some(match self.bad_lines {
            1 => format!("line {first} of `{path}` was not understood"),
            bad => {
                let lines = plural(bad, "line");
                format!("{lines} of `{path}` were not understood, the first is {first}")
            }
        })
    }
}

fn failure(error: &BlocklistError) -> Failure {
    let exit = match &error.source {
        Unusable::Read(error) => exit::of_input(error),
        _ => Exit::Input,
    };
    Failure::new(exit, error.to_string()).cause(&error.source)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damage_is_told_of_by_list_and_line() {
        let list = |path: &str, bad_lines, first_bad_line| List {
            path: path.to_owned(),
            good_lines: 9,
            bad_lines,
            first_bad_line,
        };
        let mut blocking = Blocking { ranges: 301_234, lists: vec![list("a", 0, None)] };
        assert_eq!(blocking.sentence(), "Blocking 301,234 ranges of addresses.");
        blocking.lists.extend([list("b", 1, Some(3)), list("c", 2, Some(17))]);
        assert_eq!(
            blocking.sentence(),
            "Blocking 301,234 ranges of addresses (line 3 of `b` was not understood; \
             2 lines of `c` were not understood, the first is 17)."
        );
    }
}
