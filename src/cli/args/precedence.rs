//! Which options do not count, because one that counts for more excludes them.
//!
//! What is typed wins over the environment and that over the file, not for one option alone: `--dht-bootstrap`
//! is not to be had with `--no-dht`, so when it is typed a `no-dht` of the file says nothing. Two that are typed,
//! or both in the environment, are a mistake, which clap tells.

use std::ffi::OsString;

use clap::{
    Arg, ArgMatches, Command, Id,
    builder::{self, Resettable},
    parser::ValueSource,
};

/// Options of `command` that are not in `args`, and that one of those excludes.
pub(super) fn excluded_by_typed(command: &Command, args: &[OsString]) -> Vec<Id> {
    // Whatever is wrong with the line is told later.
    let typed = command.clone().ignore_errors(true).try_get_matches_from(args);
    typed
        .map_or_else(|_| Vec::new(), |typed| excluded(command, &typed, &[ValueSource::CommandLine]))
}

/// Options that neither the line nor the environment says, and that one which they say excludes.
pub(super) fn excluded_by_said(command: &Command, matches: &ArgMatches) -> Vec<Id> {
    excluded(command, matches, &[ValueSource::CommandLine, ValueSource::EnvVariable])
}

fn excluded(command: &Command, matches: &ArgMatches, sources: &[ValueSource]) -> Vec<Id> {
    let said = |arg: &Arg| {
        let source = matches.value_source(arg.get_id().as_str());
        source.is_some_and(|source| sources.contains(&source))
    };
    let excludes = |one: &Arg, other: &Arg| {
        command.get_arg_conflicts_with(one).iter().any(|arg| arg.get_id() == other.get_id())
    };
    let conflict = |one: &Arg, other: &Arg| excludes(one, other) || excludes(other, one);
    let all = || command.get_arguments();
    let lose =
        all().filter(|arg| !said(arg) && all().any(|other| said(other) && conflict(arg, other)));
    let mut out: Vec<Id> = lose.map(|arg| arg.get_id().clone()).collect();
    if let Some((name, inner)) = matches.subcommand()
        && let Some(command) = command.find_subcommand(name)
    {
        out.extend(excluded(command, inner, sources));
    }
    out
}

/// `command` without what the environment says of those.
pub(super) fn without_environment(command: Command, of: &[Id]) -> Command {
    command
        .mut_args(|arg| match of.contains(arg.get_id()) {
            true => arg.env(Resettable::<builder::OsStr>::Reset),
            false => arg,
        })
        .mut_subcommands(|command| without_environment(command, of))
}
