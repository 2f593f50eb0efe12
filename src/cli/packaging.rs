//! `completions` and `man`: for shells and packagers.

use std::path::Path;

use super::{
    args,
    exit::{Exit, Failure},
    terminal::Terminal,
};

/// Prints the script of a shell.
pub(super) fn completions(args: &args::Completions, terminal: Terminal) -> Result<Exit, Failure> {
    terminal.raw(&args.script())?;
    Ok(Exit::Done)
}

/// Prints the manual, or writes it as pages.
pub(super) fn man(args: &args::Man, terminal: Terminal) -> Result<Exit, Failure> {
    match &args.dir {
        Some(dir) => write(dir)?,
        None => terminal.raw(&args::manual()?)?,
    }
    Ok(Exit::Done)
}

fn write(dir: &Path) -> Result<(), Failure> {
    let written = std::fs::create_dir_all(dir).and_then(|()| args::pages(dir));
    written.map_err(|e| {
        let sentence = format!("could not write the manual into `{}`", dir.display());
        Failure::new(Exit::Disk, sentence).cause(&e)
    })
}
