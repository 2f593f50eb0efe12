//! The configuration file: what an option is when neither the line nor the environment says it.
//!
//! A value from the file becomes the option's default; that puts it below the environment and lets clap
//! check it like one that was typed. Keys are the long names of the options, so a new option has one by
//! itself. A mistake is told with its line.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use clap::{
    Arg, ArgAction, Command, Id,
    error::{ContextKind, ContextValue},
};
use toml::de::{DeTable, DeValue};

use super::{Failure, ParseEnd, environment::OWN_MEANING, not_taken};
use crate::{base::limits::MAX_CONFIG_BYTES, cli::exit::Exit};

/// Options that say where settings come from, or are not settings.
const NOT_SETTINGS: &[&str] = &["config", "help", "version"];
/// Names that are less alike than so are different ones, and not one that was misspelt.
const ALIKE: f64 = 0.8;

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
pub(super) fn path(named: Option<&Path>) -> Option<PathBuf> {
    if let Some(path) = named {
        return Some(path.to_owned());
    }
    let configs =
        folder("XDG_CONFIG_HOME").or_else(|| folder("HOME").map(|home| home.join(".config")))?;
    Some(configs.join("downpour").join("config.toml")).filter(|f| f.is_file())
}

/// One key of the file.
#[derive(Debug)]
struct Setting {
    key: String,
    /// Where it is in the file, from 1.
    line: usize,
    values: Vec<OsString>,
}

/// What a file says.
#[derive(Debug)]
pub(super) struct Settings {
    path: PathBuf,
    everywhere: Vec<Setting>,
    /// By the command's name.
    own: BTreeMap<String, Vec<Setting>>,
}

impl Settings {
    /// Reads the file at `path`, which may name the options of `command`.
    pub(super) fn read(path: &Path, command: &Command) -> Result<Self, Failure> {
        let failure = || {
            let sentence = format!("could not read the configuration `{}`", path.display());
            Failure::new(Exit::Input, sentence)
        };
        let text = read_bounded(path).map_err(|e| failure().cause(&e))?;
        Settings::parse(path, &text, command).map_err(|problem| {
            let mut failure = failure();
            failure.causes.push(problem);
            failure
        })
    }

    fn parse(path: &Path, text: &str, command: &Command) -> Result<Self, String> {
        let line = |at: usize| 1 + text.bytes().take(at).filter(|&b| b == b'\n').count();
        let table = DeTable::parse(text).map_err(|e| {
            let at = e.span().map_or(0, |span| span.start);
            format!("line {}: {}", line(at), e.message())
        })?;
        let mut settings =
            Settings { path: path.to_owned(), everywhere: Vec::new(), own: BTreeMap::new() };
        let setting = |key: &str, at, value: &DeValue<'_>| match strings(value) {
            Ok(values) => Ok(Setting { key: key.to_owned(), line: line(at), values }),
            Err(problem) => Err(format!("line {}: `{key}` {problem}", line(at))),
        };
        for (key, value) in table.get_ref() {
            let (at, key) = (key.span().start, key.get_ref());
            match value.get_ref() {
                // Not at the top: `seed` and `tracker` are options as well as commands.
                DeValue::Table(commands) if key == "command" => {
                    for (name, table) in commands {
                        let (at, name) = (name.span().start, name.get_ref());
                        let DeValue::Table(keys) = table.get_ref() else {
                            return Err(format!("line {}: `command.{name}` is no table", line(at)));
                        };
                        let keys = keys.iter().map(|(key, value)| {
                            setting(key.get_ref(), key.span().start, value.get_ref())
                        });
                        let own = keys.collect::<Result<Vec<_>, _>>()?;
                        let what = || format!("line {}: there is no command `{name}`", line(at));
                        let Some(of) = command.find_subcommand(&**name) else {
                            return Err(what() + &nearest(name, commands_of(command)));
                        };
                        own.iter().try_for_each(|setting| setting.belongs_to(command, of))?;
                        settings.own.insert(name.to_string(), own);
                    }
                }
                DeValue::Table(_) => {
                    return Err(format!(
                        "line {}: there is no section `{key}`; one command's is `[command.NAME]`",
                        line(at)
                    ));
                }
                value => settings.everywhere.push(setting(key, at, value)?),
            }
        }
        settings.everywhere.iter().try_for_each(|setting| setting.is_known(command))?;
        Ok(settings)
    }

    /// Puts what the file says in place of the defaults of `chosen`, a command of `command`, but for the options
    /// that are `excluded`.
    pub(super) fn apply(&self, command: Command, chosen: &str, excluded: &[Id]) -> Command {
        let command = command.mut_args(|arg| self.default(arg, "", chosen, excluded));
        match command.find_subcommand(chosen) {
            Some(_) => command.mut_subcommand(chosen, |inner| self.within(inner, chosen, excluded)),
            None => command,
        }
    }

    fn within(&self, command: Command, chosen: &str, excluded: &[Id]) -> Command {
        command
            .mut_args(|arg| self.default(arg, chosen, chosen, excluded))
            .mut_subcommands(|inner| self.within(inner, chosen, excluded))
    }

    /// An option of the command `of` with the default that it has for `chosen`.
    fn default(&self, arg: Arg, of: &str, chosen: &str, excluded: &[Id]) -> Arg {
        if excluded.contains(arg.get_id()) {
            return arg;
        }
        match self.said(&arg, of, chosen).map(|setting| setting.values.clone()) {
            Some(values) if matches!(arg.get_action(), ArgAction::Append) => {
                arg.default_values(values)
            }
            Some(mut values) => match values.pop() {
                Some(last) => arg.default_value(last),
                None => arg,
            },
            None => arg,
        }
    }

    /// What the file says of an option of the command `of`: what it says for `chosen` alone wins.
    fn said(&self, arg: &Arg, of: &str, chosen: &str) -> Option<&Setting> {
        let own = self.own.get(chosen).into_iter().flatten();
        let everywhere = self.everywhere.iter();
        let everywhere =
            everywhere.filter(|setting| !OWN_MEANING.contains(&(of, setting.key.as_str())));
        own.chain(everywhere).find(|setting| is_setting(arg, &setting.key))
    }

    /// A usage error that the file brought about is an error of the file: without it the same line was
    /// good. `command` is the one that was run, `chosen` its subcommand.
    pub(super) fn blame(&self, command: &Command, chosen: &str, error: clap::Error) -> ParseEnd {
        if !error.use_stderr() {
            return ParseEnd::Clap(error);
        }
        let text = not_taken(&error);
        let lines = text.lines().take_while(|line| !line.trim().is_empty()).map(str::trim);
        let what = lines.collect::<Vec<_>>().join(" ");
        let what = what.trim_start_matches("error: ");
        // As in `--interval <DUR>`.
        let named = match error.get(ContextKind::InvalidArg) {
            Some(ContextValue::String(arg)) => arg.split([' ', '=']).next(),
            _ => None,
        };
        let long = named.and_then(|arg| arg.strip_prefix("--")).unwrap_or_default();
        let arg = all_args(command).into_iter().find(|arg| arg.get_long() == Some(long));
        let line = arg.and_then(|arg| self.said(arg, chosen, chosen)).map(|setting| setting.line);
        let at = line.map_or(String::new(), |line| format!("line {line}: "));
        let sentence =
            format!("a value in the configuration `{}` is not valid", self.path.display());
        let mut failure = Failure::new(Exit::Input, sentence);
        failure.causes.push(format!("{at}{what}"));
        ParseEnd::Config(failure)
    }
}

impl Setting {
    /// Whether this command, or every command, has such an option.
    fn belongs_to(&self, all: &Command, command: &Command) -> Result<(), String> {
        let general = all.get_arguments();
        let mut args = all_args(command).into_iter().chain(general);
        match args.any(|arg| is_setting(arg, &self.key)) {
            true => Ok(()),
            false => {
                let names = keys(all_args(command).into_iter().chain(all.get_arguments()));
                let (line, name, key) = (self.line, command.get_name(), &self.key);
                let near = nearest(key, names);
                Err(format!("line {line}: `{name}` has no option `{key}`{near}"))
            }
        }
    }

    /// Whether any command has such an option.
    fn is_known(&self, all: &Command) -> Result<(), String> {
        match all_args(all).into_iter().any(|arg| is_setting(arg, &self.key)) {
            true => Ok(()),
            false => {
                let (line, key) = (self.line, &self.key);
                let near = nearest(key, keys(all_args(all).into_iter()));
                Err(format!("line {line}: there is no option `{key}`{near}"))
            }
        }
    }
}

/// The options of a command and of those below it.
fn all_args(command: &Command) -> Vec<&Arg> {
    let below = command.get_subcommands().flat_map(all_args);
    command.get_arguments().chain(below).collect()
}

fn keys<'a>(args: impl Iterator<Item = &'a Arg>) -> Vec<String> {
    let long = args.filter_map(Arg::get_long).filter(|long| !NOT_SETTINGS.contains(long));
    long.map(str::to_owned).collect()
}

fn commands_of(command: &Command) -> Vec<String> {
    command.get_subcommands().map(|command| command.get_name().to_owned()).collect()
}

/// What was meant, maybe, to be put behind a sentence.
fn nearest(name: &str, names: Vec<String>) -> String {
    let alike = names.into_iter().map(|other| (strsim::jaro(name, &other), other));
    let nearest = alike.filter(|(alike, _)| *alike >= ALIKE).max_by(|a, b| a.0.total_cmp(&b.0));
    nearest.map_or(String::new(), |(_, other)| format!("; `{other}` is one"))
}

fn read_bounded(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(MAX_CONFIG_BYTES as u64 + 1).read_to_string(&mut text)?;
    match text.len() > MAX_CONFIG_BYTES {
        true => Err(io::Error::other("larger than any configuration (1 MiB)")),
        false => Ok(text),
    }
}

/// Whether `key` is the long name, or another name, of this option.
fn is_setting(arg: &Arg, key: &str) -> bool {
    let named = arg.get_long() == Some(key)
        || arg.get_all_aliases().is_some_and(|aliases| aliases.contains(&key));
    named && !NOT_SETTINGS.contains(&key)
}

/// A value as it would be typed, several if it is a list.
fn strings(value: &DeValue<'_>) -> Result<Vec<OsString>, &'static str> {
    Ok(match value {
        DeValue::String(text) => vec![text.to_string().into()],
        DeValue::Integer(n) => {
            let n = i64::from_str_radix(n.as_str(), n.radix()).map_err(|_| "is too large")?;
            vec![n.to_string().into()]
        }
        DeValue::Float(n) => {
            let n: f64 = n.as_str().parse().map_err(|_| "is no number")?;
            vec![n.to_string().into()]
        }
        DeValue::Boolean(b) => vec![b.to_string().into()],
        DeValue::Array(items) => {
            let items = items.iter().map(|item| match item.get_ref() {
                DeValue::Array(_) => Err("holds a list in a list"),
                item => strings(item),
            });
            items.collect::<Result<Vec<_>, _>>()?.concat()
        }
        DeValue::Datetime(_) | DeValue::Table(_) => {
            return Err("is not a text, number, yes/no or list");
        }
    })
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, FromArgMatches};

    use super::{
        super::{
            Cli, Command as Chosen, environment::with_environment, precedence::excluded_by_typed,
        },
        *,
    };

    fn settings(file: &str) -> Result<Settings, String> {
        Settings::parse(Path::new("c.toml"), file, &Cli::command())
    }

    fn parse(file: &str, args: &str) -> Result<Cli, String> {
        let settings = settings(file)?;
        let words: Vec<_> = args.split(' ').collect();
        let typed: Vec<OsString> = words.iter().map(OsString::from).collect();
        let excluded = excluded_by_typed(&Cli::command(), &typed);
        let command = settings.apply(Cli::command(), words[1], &excluded);
        let matches = command.clone().try_get_matches_from(&words);
        let matches = matches.map_err(|e| match settings.blame(&command, words[1], e) {
            ParseEnd::Config(failure) => failure.causes.join("\n"),
            ParseEnd::Clap(e) => panic!("{e}"),
        })?;
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
    fn what_is_typed_wins_over_what_it_excludes() {
        let network = |file: &str, args: &str| match parse(file, args).expect("valid").command {
            Chosen::Download(download) => download.fetch.network,
            other => panic!("{other:?}"),
        };
        let file = "no-dht = true\nno-trackers = true\n";
        let left = network(file, "downpour download x");
        assert!(left.no_dht && left.no_trackers);
        let typed = "downpour download x --dht-bootstrap a:1 --tracker http://t.example/";
        let won = network(file, typed);
        assert!(!won.no_dht && !won.no_trackers);
        assert_eq!((won.dht_bootstrap.len(), won.tracker.len()), (1, 1));
        let other = network("dht-bootstrap = \"a:1\"\n", "downpour download x --no-dht");
        assert!(other.no_dht && other.dht_bootstrap.is_empty());
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

    #[test]
    fn one_command_has_its_own_and_may_say_how_it_talks() {
        let file = "json = true\nsalt = \"a\"\n[command.show]\njson = false\n\
                    [command.dht]\nsalt = \"b\"\nverbose = 2\n";
        let show = parse(file, "downpour show x").expect("valid");
        assert!(!show.general.json);
        let dht = parse(file, "downpour dht get x").expect("valid");
        assert_eq!((dht.general.json, dht.general.verbose), (true, 2));
        let Chosen::Dht(dht) = dht.command else { panic!("dht") };
        assert!(
            matches!(&dht.question, super::super::DhtQuestion::Get { salt, .. } if salt == "b"),
            "{dht:?}"
        );
        assert!(parse(file, "downpour create x").expect("valid").general.json);
    }

    #[test]
    fn mistakes_are_told_with_their_line_and_what_is_like_them() {
        for (file, told) in [
            (
                "json = true\n\nmax-upp = 1\n",
                "line 3: there is no option `max-upp`; `max-up` is one",
            ),
            ("x = 1\n", "line 1: there is no option `x`"),
            ("[command.creat]\n", "line 1: there is no command `creat`; `create` is one"),
            (
                "[command.show]\n\nfile = true",
                "line 3: `show` has no option `file`; `files` is one",
            ),
            ("peer = [\n 1, [2]]\n", "line 1: `peer` holds a list in a list"),
            ("port = 99999999999999999999", "line 1: `port` is too large"),
            ("\n[command]\nshow = 1", "line 3: `command.show` is no table"),
        ] {
            assert_eq!(settings(file).expect_err(file), told);
        }
        let broken = settings("json = true\nport = = 1\n").expect_err("broken");
        assert!(broken.starts_with("line 2: "), "{broken}");
        let many = parse("json = true\ninterval = \"many\"", "downpour tracker").expect_err("bad");
        assert!(
            many.starts_with("line 2: invalid value 'many' for '--interval <DUR>': "),
            "{many}"
        );
        let how = parse("progress = \"x\"\n", "downpour show x").expect_err("bad");
        assert!(how.contains("line 1: ") && how.contains("possible values: auto, bar"), "{how}");
        let alias = parse("\nupload-limit = \"x\"\n", "downpour seed x").expect_err("bad");
        assert!(alias.starts_with("line 2: invalid value 'x' for '--max-up <RATE>'"), "{alias}");
    }

    /// An option that is added tomorrow has both names too.
    #[test]
    fn every_option_has_a_name_in_the_environment_and_a_key() {
        let command = with_environment(Cli::command());
        let mut seen = 0;
        let mut check = |of: &Command, section: &str| {
            for arg in all_args(of) {
                let Some(long) = arg.get_long() else {
                    assert!(arg.is_positional(), "{arg} has no long name");
                    continue;
                };
                if NOT_SETTINGS.contains(&long) {
                    continue;
                }
                let env = arg.get_env().and_then(|name| name.to_str()).unwrap_or_default();
                let end = long.replace('-', "_").to_uppercase();
                assert!(env.starts_with("DOWNPOUR_") && env.ends_with(&end), "--{long}: {env}");
                let file = format!("{section}{long} = \"1\"\n");
                if let Err(problem) = Settings::parse(Path::new("c.toml"), &file, &command) {
                    panic!("{section} {long}: {problem}");
                }
                seen += 1;
            }
        };
        check(&command, "");
        for inner in command.get_subcommands() {
            check(inner, &format!("[command.{}]\n", inner.get_name()));
        }
        assert!(seen > 200, "{seen} options");
    }
}
