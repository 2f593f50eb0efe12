//! The environment name of every option, and the way to take a switch back.
//!
//! Both work on clap's description of the options, so a new option has them by itself.

use std::ffi::{OsStr, OsString};

use clap::{
    Arg, ArgAction, Command,
    builder::{self, BoolishValueParser, Resettable, TypedValueParser},
};

/// Options that mean something else in this command than elsewhere. Their environment name and
/// their place in the file name the command.
pub(super) const OWN_MEANING: &[(&str, &str)] =
    &[("create", "output"), ("demo", "max-up"), ("demo", "upload-limit")];

/// Gives every option its environment name.
pub(super) fn with_environment(command: Command) -> Command {
    let name = command.get_name().to_owned();
    command.mut_args(|a| environment(a, &name)).mut_subcommands(with_environment)
}

fn environment(arg: Arg, command: &str) -> Arg {
    let Some(name) = name(&arg, command) else { return arg };
    let arg = match is_switch(&arg) {
        // In the environment, 1 and yes are as good as true.
        true => arg.value_parser(BoolishValueParser::new()),
        false => arg,
    };
    arg.env(name).hide_env(true)
}

/// The environment name of an option of this command; `None` for what is no setting.
pub(super) fn name(arg: &Arg, command: &str) -> Option<String> {
    let long = arg.get_long().filter(|long| !matches!(*long, "help" | "version"))?;
    let of =
        if OWN_MEANING.contains(&(command, long)) { format!("{command}_") } else { String::new() };
    Some(format!("DOWNPOUR_{of}{long}").replace('-', "_").to_uppercase())
}

fn is_switch(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::SetTrue)
}

/// Shows the names in what is printed of the options.
pub(super) fn shown(command: Command) -> Command {
    command.mut_args(|a| a.hide_env(false)).mut_subcommands(shown)
}

/// Switches as they were typed. `--no-dht=false` takes back what the environment or the file says, and
/// `DOWNPOUR_NO_DHT=false` what the file says: it is as if nobody had asked for it. Of several the last counts.
#[derive(Debug, Default)]
pub(super) struct Switches {
    /// The line without those that were taken back.
    pub(super) args: Vec<OsString>,
    /// Long names of those.
    taken_back: Vec<String>,
}

impl Switches {
    /// Reads `args`, the program's name first.
    pub(super) fn of(command: &Command, args: &[OsString]) -> Self {
        let mut switches = Switches::default();
        let mut rest = args.iter();
        for arg in rest.by_ref() {
            if arg == "--" {
                switches.args.push(arg.clone());
                break;
            }
            match value(command, arg) {
                Some((switch, value)) => {
                    switches.args.retain(|earlier| *earlier != *switch);
                    if value {
                        switches.args.push(switch.into());
                    } else {
                        switches.taken_back.push(switch.trim_start_matches("--").to_owned());
                    }
                }
                None => switches.args.push(arg.clone()),
            }
        }
        switches.args.extend(rest.cloned());
        let mut denied = Vec::new();
        denied_by_environment(command, &mut denied);
        switches.taken_back.extend(denied);
        switches
    }

    /// `command` without what the environment and the file say of switches that were taken back.
    pub(super) fn without_taken_back(&self, command: Command) -> Command {
        command
            .mut_args(|arg| match arg.get_long() {
                Some(long) if self.taken_back.iter().any(|name| name == long) => {
                    arg.env(Resettable::<builder::OsStr>::Reset).default_value("false")
                }
                _ => arg,
            })
            .mut_subcommands(|command| self.without_taken_back(command))
    }
}

/// Long names of switches of which the environment says that they are off.
fn denied_by_environment(command: &Command, out: &mut Vec<String>) {
    for arg in command.get_arguments().filter(|arg| is_switch(arg)) {
        let said = arg.get_env().and_then(std::env::var_os);
        let said = said.and_then(|text| boolish(&text));
        out.extend(arg.get_long().filter(|_| said == Some(false)).map(str::to_owned));
    }
    command.get_subcommands().for_each(|command| denied_by_environment(command, out));
}

/// What is said of a switch by `text`: 1 and yes are as good as true.
pub(super) fn boolish(text: &OsStr) -> Option<bool> {
    BoolishValueParser::new().parse_ref(&Command::new(""), None, text).ok()
}

/// What `arg` says of a switch, if it is `--NAME=VALUE` of one.
fn value(command: &Command, arg: &OsStr) -> Option<(String, bool)> {
    let (name, value) = arg.to_str()?.strip_prefix("--")?.split_once('=')?;
    let mut of_that_name = Vec::new();
    named(command, name, &mut of_that_name);
    if of_that_name.is_empty() || !of_that_name.iter().all(|arg| is_switch(arg)) {
        return None;
    }
    Some((format!("--{name}"), boolish(OsStr::new(value))?))
}

fn named<'a>(command: &'a Command, long: &str, out: &mut Vec<&'a Arg>) {
    out.extend(command.get_arguments().filter(|arg| arg.get_long() == Some(long)));
    command.get_subcommands().for_each(|command| named(command, long, out));
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::{super::Cli, *};

    fn switches(line: &str) -> (String, Vec<String>) {
        let args: Vec<OsString> = line.split(' ').map(Into::into).collect();
        let switches = Switches::of(&Cli::command(), &args);
        let words: Vec<_> = switches.args.iter().map(|arg| arg.to_string_lossy()).collect();
        (words.join(" "), switches.taken_back)
    }

    #[test]
    fn switches_are_taken_back() {
        for (line, left, taken_back) in [
            ("x download a --no-dht=false", "x download a", &["no-dht"][..]),
            ("x download a --no-dht=0 --no-pex=Yes", "x download a --no-pex", &["no-dht"]),
            ("x --json=off download --json a", "x download --json a", &["json"]),
            ("x download --no-dht a --no-dht=no", "x download a", &["no-dht"]),
            // For clap to complain of, or none of ours.
            ("x download --no-dht=maybe", "x download --no-dht=maybe", &[]),
            (
                "x download --max-up=0 --nonsense=false",
                "x download --max-up=0 --nonsense=false",
                &[],
            ),
            (
                "x create --comment=no -- --force=false",
                "x create --comment=no -- --force=false",
                &[],
            ),
        ] {
            let (words, names) = switches(line);
            assert_eq!(
                (words.as_str(), &names[..]),
                (left, &taken_back.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>()[..])
            );
        }
    }
}
