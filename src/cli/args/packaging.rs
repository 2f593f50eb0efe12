//! `completions` and `man`, and what they print: both follow from the options, for shells and packagers.

use std::{io, path::PathBuf};

use clap::{Args, Command, CommandFactory as _, builder::Resettable};
use clap_complete::Shell;
use clap_mangen::Man as Page;

use super::{Cli, environment};

/// Print a script that completes the command line in a shell
#[derive(Debug, Args)]
pub(in crate::cli) struct Completions {
    /// The shell
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

/// Print the manual
#[derive(Debug, Args)]
pub(in crate::cli) struct Man {
    /// Write a page for each command into this folder instead
    #[arg(long, value_name = "DIR")]
    pub(in crate::cli) dir: Option<PathBuf>,
}

impl Completions {
    /// The script.
    pub(in crate::cli) fn script(&self) -> Vec<u8> {
        let mut command = Cli::command();
        let name = command.get_name().to_owned();
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut command, name, &mut script);
        script
    }
}

/// The whole manual as one page.
///
/// # Errors
/// None: what it is written into takes everything.
pub(in crate::cli) fn manual() -> io::Result<Vec<u8>> {
    let mut command = described();
    command.build();
    let mut page = Vec::new();
    Page::new(command.clone()).render(&mut page)?;
    for inner in command.get_subcommands().filter(|inner| inner.get_name() != "help") {
        chapter(inner, &mut page)?;
    }
    Ok(page)
}

/// Writes a page for each command into the folder `dir`.
///
/// # Errors
/// What the system said.
pub(in crate::cli) fn pages(dir: &std::path::Path) -> io::Result<()> {
    clap_mangen::generate_to(described(), dir)
}

/// The options with their names in the environment, and nothing of this machine.
fn described() -> Command {
    let command = Cli::command().long_version(Resettable::Reset);
    environment::shown(environment::with_environment(command))
}

/// One command within the page: its sections are parts of a section.
fn chapter(command: &Command, page: &mut Vec<u8>) -> io::Result<()> {
    let title = command.get_bin_name().unwrap_or(command.get_name()).to_uppercase();
    page.extend(format!(".SH \"{title}\"\n").bytes());
    let of = Page::new(command.clone());
    let mut parts = Vec::new();
    of.render_description_section(&mut parts)?;
    of.render_synopsis_section(&mut parts)?;
    of.render_options_section(&mut parts)?;
    if command.has_subcommands() {
        of.render_subcommands_section(&mut parts)?;
    }
    let parts = String::from_utf8(parts).map_err(io::Error::other)?;
    for line in parts.lines() {
        let line =
            line.strip_prefix(".SH ").map_or(line.to_owned(), |title| format!(".SS {title}"));
        page.extend(line.bytes().chain([b'\n']));
    }
    let inner = command.get_subcommands().filter(|inner| inner.get_name() != "help");
    inner.into_iter().try_for_each(|inner| chapter(inner, page))
}
