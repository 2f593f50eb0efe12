//! What an option is when it was not typed: the environment, then the configuration file.
//!
//! Both work on clap's description of the options, so a new option has them by itself. A value
//! from the file becomes the option's default; that puts it below the environment and lets clap
//! check it like one that was typed.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use clap::{Arg, ArgAction, Command, builder::BoolishValueParser};
use toml::{Table, Value};

use super::{Failure, ParseEnd};
use crate::{base::limits::MAX_CONFIG_BYTES, cli::exit::Exit};

/// Options that mean something else in this command than elsewhere. Their environment name and
/// their place in the file name the command.
const OWN_MEANING: &[(&str, &str)] = &[("create", "output")];
/// Options that say where settings come from, or are not settings.
const NOT_SETTINGS: &[&str] = &["config", "help", "version"];

/// Gives every option its environment name.
pub(super) fn with_environment(command: Command) -> Command {
    named(command, "")
}

fn named(command: Command, name: &str) -> Command {
    let names: Vec<String> = command.get_subcommands().map(|c| c.get_name().to_owned()).collect();
    let command = command.mut_args(|a| environment(a, name));
    names.into_iter().fold(command, |command, name| {
        command.mut_subcommand(&name, |subcommand| named(subcommand, &name))
    })
}

fn environment(arg: Arg, command: &str) -> Arg {
    let Some(long) = arg.get_long().map(str::to_owned) else { return arg };
    if matches!(long.as_str(), "help" | "version") {
        return arg;
    }
    let prefix = if OWN_MEANING.contains(&(command, &long)) {
        format!("DOWNPOUR_{command}_")
    } else {
        "DOWNPOUR_".to_owned()
    };
    let arg = match arg.get_action() {
        // In the environment, 1 and yes are as good as true.
        ArgAction::SetTrue => arg.value_parser(BoolishValueParser::new()),
        _ => arg,
    };
    arg.env((prefix + &long).replace('-', "_").to_uppercase()).hide_env(true)
}

/// The value of an environment variable that names a folder, if it does.
fn folder(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute())
}

/// Where the user's programs keep what the next run should know, as the XDG base directories have
/// it; `None` for a user without a home.
pub(in crate::cli) fn state_folder() -> Option<PathBuf> {
    let states = folder("XDG_STATE_HOME")
        .or_else(|| folder("HOME").map(|home| home.join(".local").join("state")))?;
    Some(states.join("downpour"))
}

/// The configuration file: the one that was named, or the user's own if there is one.
pub(super) fn file(named: Option<&Path>) -> Option<PathBuf> {
    if let Some(path) = named {
        return Some(path.to_owned());
    }
    let configs =
        folder("XDG_CONFIG_HOME").or_else(|| folder("HOME").map(|home| home.join(".config")))?;
    Some(configs.join("downpour").join("config.toml")).filter(|f| f.is_file())
}

/// Puts the values of the file at `path` in place of the options' defaults.
pub(super) fn with_file(command: Command, path: &Path) -> Result<Command, Failure> {
    let failure = || {
        Failure::new(Exit::Input, format!("could not read the configuration `{}`", path.display()))
    };
    let text = read_bounded(path).map_err(|e| failure().cause(&e))?;
    let table: Table = text.parse().map_err(|e| failure().cause(&e))?;
    apply(command, table).map_err(|problem| {
        let mut f = failure();
        f.causes.push(problem);
        f
    })
}

fn read_bounded(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(MAX_CONFIG_BYTES as u64 + 1).read_to_string(&mut text)?;
    match text.len() > MAX_CONFIG_BYTES {
        true => Err(io::Error::other("larger than any configuration (1 MiB)")),
        false => Ok(text),
    }
}

/// A usage error that the file brought about is an error of the file.
pub(super) fn blame_file(path: &Path, error: clap::Error) -> ParseEnd {
    if !error.use_stderr() {
        return ParseEnd::Clap(error);
    }
    // Without the file the same line was good.
    let text = error.to_string();
    let first = text.lines().next().unwrap_or_default();
    let mut f = Failure::new(
        Exit::Input,
        format!("a value in the configuration `{}` is not valid", path.display()),
    );
    f.causes.push(first.trim_start_matches("error: ").to_owned());
    ParseEnd::Config(f)
}

fn apply(command: Command, table: Table) -> Result<Command, String> {
    let mut everywhere = BTreeMap::new();
    let mut by_command: BTreeMap<String, BTreeMap<String, Vec<OsString>>> = BTreeMap::new();
    let names: Vec<String> = command.get_subcommands().map(|c| c.get_name().to_owned()).collect();
    for (key, value) in table {
        match value {
            // Not at the top: `seed` and `tracker` are options as well as commands.
            Value::Table(commands) if key == "command" => {
                for (name, value) in commands {
                    let Value::Table(inner) = value else {
                        return Err(format!("`command.{name}` is not a table"));
                    };
                    if !names.contains(&name) {
                        return Err(format!("there is no command `{name}`"));
                    }
                    let values = inner
                        .into_iter()
                        .map(|(k, v)| Ok((k.clone(), strings(&k, v)?)))
                        .collect::<Result<_, String>>()?;
                    by_command.insert(name, values);
                }
            }
            Value::Table(_) => {
                return Err(format!(
                    "there is no section `{key}`; one command's is `[command.NAME]`"
                ));
            }
            value => {
                let value = strings(&key, value)?;
                everywhere.insert(key, value);
            }
        }
    }

    // `mut_args` takes a closure that can't fail, so names are checked first.
    let takes = |c: &Command, key: &str, own: bool| {
        c.get_arguments().any(|a| is_setting(a, key))
            && (own || !OWN_MEANING.contains(&(c.get_name(), key)))
    };
    for key in everywhere.keys() {
        if !takes(&command, key, false) && !command.get_subcommands().any(|c| takes(c, key, false))
        {
            return Err(format!("there is no option `{key}`"));
        }
    }
    for (name, values) in &by_command {
        for key in values.keys() {
            let has = command.find_subcommand(name).is_some_and(|c| takes(c, key, true));
            if !has {
                return Err(format!("`{name}` has no option `{key}`"));
            }
        }
    }

    let command = command.mut_args(|a| default(a, &everywhere, |_| true));
    Ok(names.into_iter().fold(command, |command, name| {
        let nothing = BTreeMap::new();
        let own = by_command.get(&name).unwrap_or(&nothing);
        command.mut_subcommand(&name, |c| {
            c.mut_args(|a| {
                let a = default(a, &everywhere, |key| !OWN_MEANING.contains(&(&name, key)));
                default(a, own, |_| true)
            })
        })
    }))
}

/// Whether `key` is the long name, or another name, of this option.
fn is_setting(arg: &Arg, key: &str) -> bool {
    let named = arg.get_long() == Some(key)
        || arg.get_all_aliases().is_some_and(|aliases| aliases.contains(&key));
    named && !NOT_SETTINGS.contains(&key)
}

fn default(
    arg: Arg,
    values: &BTreeMap<String, Vec<OsString>>,
    applies: impl Fn(&str) -> bool,
) -> Arg {
    let found = values.iter().find(|(key, _)| is_setting(&arg, key) && applies(key));
    match found.map(|(_, v)| v.clone()) {
        Some(v) if matches!(arg.get_action(), ArgAction::Append) => arg.default_values(v),
        Some(mut v) => match v.pop() {
            Some(last) => arg.default_value(last),
            None => arg,
        },
        None => arg,
    }
}

fn strings(key: &str, value: Value) -> Result<Vec<OsString>, String> {
    Ok(match value {
        Value::String(s) => vec![s.into()],
        Value::Integer(n) => vec![n.to_string().into()],
        Value::Float(n) => vec![n.to_string().into()],
        Value::Boolean(b) => vec![b.to_string().into()],
        Value::Array(items) => items
            .into_iter()
            .map(|v| match v {
                Value::Array(_) => Err(format!("`{key}` holds a list in a list")),
                v => strings(key, v),
            })
            .collect::<Result<Vec<_>, _>>()?
            .concat(),
        Value::Datetime(_) | Value::Table(_) => {
            return Err(format!("`{key}` is not a text, number, yes/no or list"));
        }
    })
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, FromArgMatches};

    use super::{
        super::{Cli, Command as Chosen},
        *,
    };

    fn parse(file: &str, args: &str) -> Result<Cli, String> {
        let table = file.parse().map_err(|e: toml::de::Error| e.to_string())?;
        let matches = apply(Cli::command(), table)?
            .try_get_matches_from(args.split(' '))
            .map_err(|e| e.to_string())?;
        Cli::from_arg_matches(&matches).map_err(|e| e.to_string())
    }

    fn create(file: &str, args: &str) -> super::super::Create {
        match parse(file, args).expect("valid").command {
            Chosen::Create(c) => c,
            other => panic!("{other:?}"),
        }
    }

    fn download(file: &str) -> super::super::Download {
        match parse(file, "downpour download x").expect("valid").command {
            Chosen::Download(d) => d,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_file_stands_below_what_is_typed() {
        let file = "private = true\npiece-length = \"32K\"\n\
                    tracker = [\"http://a.example/\", \"http://b.example/\"]\n\
                    [command.create]\npiece-length = 65536\n\
                    [command.tracker]\ninterval = \"1m\"\n";
        let c = create(file, "downpour create x");
        assert!(c.private);
        assert_eq!((c.piece_length.map(|l| l.0), c.tracker.len()), (Some(65_536), 2));
        let c = create(file, "downpour create x --piece-length 16K --tracker http://c.example/");
        assert_eq!((c.piece_length.map(|l| l.0), c.tracker.len()), (Some(16_384), 1));
        let Chosen::Tracker(t) = parse(file, "downpour tracker").expect("valid").command else {
            panic!("tracker")
        };
        assert_eq!(t.interval, std::time::Duration::from_secs(60));
    }

    #[test]
    fn options_of_all_commands_and_other_names_work() {
        assert!(parse("json = true\n", "downpour show x").expect("valid").general.json);
        let d = download("upload-limit = 1000\nport = 0\n");
        assert_eq!(
            (d.fetch.network.limits.max_up.map(|r| r.0), d.fetch.network.port),
            (Some(1000), Some(0))
        );
    }

    #[test]
    fn an_option_with_two_meanings_is_set_for_each() {
        let file = "output = \"here\"\n[command.create]\noutput = \"a.torrent\"\n";
        assert_eq!(download(file).fetch.output, Path::new("here"));
        let output = create(file, "downpour create x").output;
        assert_eq!(output.as_deref(), Some(Path::new("a.torrent")));
    }

    #[test]
    fn mistakes_are_named() {
        for (file, named) in [
            ("max-upp = 1", "max-upp"),
            ("[command.create]\ninterval = \"1m\"", "interval"),
            ("[command.fetch]\nforce = true", "fetch"),
            ("[create]\nforce = true", "command"),
            ("force = 2020-01-01", "force"),
            ("config = \"x\"", "config"),
        ] {
            let e = parse(file, "downpour create x").expect_err(file);
            assert!(e.contains(named), "{e}");
        }
        assert!(parse("piece-length = \"long\"", "downpour create x").is_err());
    }
}
