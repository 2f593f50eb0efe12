//! The program as scripts see it: exit codes, data on standard output, talk on standard error,
//! JSON lines. Each test runs the real binary in a folder of its own.

use std::{
    io::{BufRead, BufReader, Read, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

use serde_json::Value;

const HASH: &str = "df9792a4e1ead19979a5ec4c8ff28c64f762abb6";
const LINK: &str = "magnet:?xt=urn:btih:df9792a4e1ead19979a5ec4c8ff28c64f762abb6";

/// A folder with the program in front of it.
struct Place {
    dir: tempfile::TempDir,
}

/// What a run left.
struct Ran {
    code: i32,
    out: String,
    err: String,
}

impl Ran {
    /// The objects of `--json`.
    fn objects(&self) -> Vec<Value> {
        let parse = |line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{line}: {e}"));
        let objects: Vec<Value> = self.out.lines().map(parse).collect();
        assert!(objects.iter().all(|o| o["v"] == 1 && o["event"].is_string()), "{}", self.out);
        objects
    }

    /// The last object, which holds the exit code.
    fn last(&self) -> Value {
        let last = self.objects().pop().expect("at least one object");
        assert_eq!(last["exit"], self.code, "{last}");
        last
    }

    fn ok(self) -> Self {
        assert_eq!(self.code, 0, "stdout: {}\nstderr: {}", self.out, self.err);
        self
    }
}

impl From<Output> for Ran {
    fn from(o: Output) -> Self {
        let text = |b| String::from_utf8(b).expect("UTF-8");
        Ran { code: o.status.code().expect("no signal"), out: text(o.stdout), err: text(o.stderr) }
    }
}

impl Place {
    fn new() -> Self {
        Place { dir: tempfile::tempdir().expect("a folder") }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().expect("below the folder")).expect("made");
        std::fs::write(&path, content).expect("written");
        path
    }

    /// The program, with nothing of the user's own settings.
    fn command(&self, args: &[&str]) -> Command {
        let mut c = Command::new(env!("CARGO_BIN_EXE_downpour"));
        for (name, _) in
            std::env::vars_os().filter(|(n, _)| n.to_string_lossy().starts_with("DOWNPOUR"))
        {
            c.env_remove(name);
        }
        c.args(args).current_dir(self.dir.path()).env("HOME", self.dir.path());
        // Nothing leaves this machine.
        for off in ["DOWNPOUR_NO_DHT", "DOWNPOUR_NO_LSD", "DOWNPOUR_NO_UPNP"] {
            c.env(off, "true");
        }
        c.env_remove("XDG_CONFIG_HOME")
            .env_remove("XDG_STATE_HOME")
            .env_remove("NO_COLOR")
            .stdin(Stdio::null());
        c
    }

    fn run(&self, args: &[&str]) -> Ran {
        self.command(args).output().expect("started").into()
    }
}

fn fixture(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name);
    path.to_str().expect("UTF-8").to_owned()
}

/// A run that goes on by itself; killed if a test forgets it.
struct Running(Child);

impl Running {
    fn line(&mut self) -> String {
        let mut line = String::new();
        let out = self.0.stdout.as_mut().expect("piped");
        // A byte at a time: what follows must stay in the pipe.
        let mut byte = [0];
        while out.read(&mut byte).expect("readable") == 1 && byte[0] != b'\n' {
            line.push(byte[0] as char);
        }
        line
    }

    fn signal(&self, signal: &str) {
        let pid = self.0.id().to_string();
        let sent = Command::new("kill").args([signal, &pid]).status().expect("kill");
        assert!(sent.success());
    }

    fn end(mut self) -> i32 {
        self.0.wait().expect("waited").code().expect("no signal")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

// ---- help and usage ----

const COMMANDS: [&str; 14] = [
    "download",
    "seed",
    "share",
    "get",
    "create",
    "show",
    "verify",
    "magnet",
    "tracker",
    "dht",
    "why",
    "demo",
    "completions",
    "man",
];

#[test]
fn help_names_every_command_and_each_has_help() {
    let place = Place::new();
    let help = place.run(&["--help"]).ok().out;
    for command in COMMANDS {
        assert!(help.contains(&format!("  {command} ")), "{command}");
        let own = place.run(&[command, "--help"]).ok();
        assert!(own.out.contains("Usage: downpour"), "{}", own.out);
        assert!(own.err.is_empty());
        for not_yet in ["utp", "stream"] {
            assert!(!own.out.to_lowercase().contains(&format!("--no-{not_yet}")), "{command}");
            assert!(!own.out.to_lowercase().contains(&format!("--{not_yet}")), "{command}");
        }
    }
    for not_yet in ["daemon", "lab"] {
        assert_eq!(place.run(&[not_yet]).code, 2, "{not_yet}");
    }
}

/// What is wrong with a question is said before anybody is asked.
#[test]
fn questions_to_the_dht_that_make_no_sense_are_told_at_once() {
    let place = Place::new();
    for (args, code, says) in [
        (&["get", "nonsense"][..], 3, "`nonsense` is neither a hash nor a key"),
        (&["find", "nonsense"], 3, "could not read `nonsense`"),
        (&["put", "x", "--salt", "y"], 2, "--key"),
        (&["sample", "nonsense"], 2, "not an info hash"),
        (&["ping", "127.0.0.1:1", "--no-ipv6"], 4, "no answer from 127.0.0.1:1"),
    ] {
        let ran = place.run(&[&["dht"], args].concat());
        assert_eq!(ran.code, code, "{args:?}: {}", ran.err);
        assert!(ran.err.contains(says) && ran.out.is_empty(), "{args:?}: {}", ran.err);
    }
    place.write("key", b"not a key");
    let ran = place.run(&["dht", "put", "x", "--key", "key"]);
    assert!(ran.code == 3 && ran.err.contains("secret key"), "{}", ran.err);
    // Nobody is there to be asked.
    let nobody = ["--dht-bootstrap", "127.0.0.1:1", "--timeout", "1s", "--no-ipv6"];
    let ran = place.run(&[&["dht", "put", "x", "--key", "new"], &nobody[..]].concat());
    assert!(ran.code == 4 && ran.err.contains("no node of the DHT"), "{}", ran.err);
    assert_eq!(std::fs::read(place.path("new")).expect("made").len(), 65);
}

#[test]
fn bad_usage_is_2() {
    let place = Place::new();
    for args in [&["download"][..], &["show"], &["show", "a", "--nonsense"], &["nonsense"], &[]] {
        let ran = place.run(args);
        assert_eq!(ran.code, 2, "{args:?}");
        assert!(ran.out.is_empty() && !ran.err.is_empty(), "{args:?}");
    }
    let ran = place.run(&["download", "x", "--port", "nonsense", "--json"]);
    let last = ran.last();
    assert_eq!((ran.code, &last["event"]), (2, &Value::from("error")));
    assert!(last["message"].as_str().is_some_and(|m| m.contains("--port")), "{last}");
}

// ---- settings ----

#[test]
fn an_option_wins_over_the_environment_that_over_the_file() {
    let place = Place::new();
    let torrent = fixture("mktorrent-folder.torrent");
    place.write(".config/downpour/config.toml", "json = true\n");
    place.run(&["show", &torrent]).ok().last();
    let with_env = |value| {
        let mut c = place.command(&["show", &torrent]);
        Ran::from(c.env("DOWNPOUR_JSON", value).output().expect("started"))
    };
    assert!(with_env("false").ok().out.starts_with("name\t"));
    with_env("true").ok().last();

    // It wins over what it excludes as well; two that are typed are a mistake.
    let excluded = |value, more: &[&str]| {
        let mut c = place.command(&["download", "missing.torrent", "--dht-port", "1"]);
        let out = c.args(more).env("DOWNPOUR_NO_DHT", value).output().expect("started");
        Ran::from(out).code
    };
    assert_eq!((excluded("true", &[]), excluded("false", &[])), (3, 3));
    assert_eq!(excluded("false", &["--no-dht"]), 2);

    // A switch of the environment or the file is taken back by the line.
    let back = place.run(&["show", &torrent, "--json=false"]).ok().out;
    assert!(back.starts_with("name\t"), "{back}");
    let mut c = place.command(&["show", &torrent, "--json=no"]);
    let back = Ran::from(c.env("DOWNPOUR_JSON", "1").output().expect("started")).ok().out;
    assert!(back.starts_with("name\t"), "{back}");
    assert_eq!(place.run(&["show", &torrent, "--json=maybe"]).code, 2);
    place.write(".config/downpour/config.toml", "json = false\n[command.show]\njson = true\n");
    place.run(&["show", &torrent]).ok().last();

    place.write("other.toml", "\njsom = true\n");
    let ran = place.run(&["show", &torrent, "--config", "other.toml"]);
    assert_eq!(ran.code, 3);
    let told = "line 2: there is no option `jsom`; `json` is one";
    assert!(ran.err.contains("other.toml") && ran.err.contains(told), "{}", ran.err);
    place.write("other.toml", "interval = \"many\"\n");
    let ran = place.run(&["tracker", "--config", "other.toml"]);
    assert_eq!(ran.code, 3);
    let told = "line 1: invalid value 'many' for '--interval <DUR>'";
    assert!(ran.err.contains(told), "{}", ran.err);
    place.write("other.toml", "proxy = \"socks4://me:s3cret@p.example\"\n");
    let ran = place.run(&["show", &torrent, "--config", "other.toml"]);
    assert_eq!(ran.code, 3);
    assert!(ran.err.contains("'--proxy <URL>'") && !ran.err.contains("s3cret"), "{}", ran.err);
    assert_eq!(place.run(&["show", &torrent, "--config", "missing.toml"]).code, 3);
}

// ---- for shells and packagers ----

#[test]
fn the_version_is_a_line_or_says_what_it_was_built_from() {
    let place = Place::new();
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(place.run(&["-V"]).ok().out, format!("downpour {version}\n"));
    let long = place.run(&["--version"]).ok().out;
    assert!(long.starts_with(&format!("downpour {version}\ncommit ")), "{long}");
    assert!(long.contains("\ntarget ") && long.contains("\nhashing "), "{long}");
}

#[test]
fn each_shell_has_a_script_that_knows_every_command() {
    let place = Place::new();
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = place.run(&["completions", shell]).ok().out;
        let missing: Vec<_> = COMMANDS.iter().filter(|name| !script.contains(**name)).collect();
        assert!(missing.is_empty() && script.contains("max-down"), "{shell}: {missing:?}");
    }
    assert_eq!(place.run(&["completions", "csh"]).code, 2);
}

/// In a real shell, where there is one.
#[test]
fn bash_completes_commands_options_and_values() {
    let place = Place::new();
    place.write("script", place.run(&["completions", "bash"]).ok().out);
    let completed = |words: &str| {
        let line = format!(
            "source ./script; COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); \
             _downpour downpour \"${{COMP_WORDS[-1]}}\" \"${{COMP_WORDS[-2]}}\"; \
             printf '%s ' \"${{COMPREPLY[@]}}\""
        );
        let mut bash = Command::new("bash");
        let ran = bash.args(["--norc", "-c", &line]).current_dir(place.dir.path()).output();
        ran.ok().map(|output| Ran::from(output).ok().out)
    };
    for (words, want) in [
        ("downpour dow", "download "),
        ("downpour seed --max-u", "--max-up "),
        ("downpour seed --encryption re", "required "),
        ("downpour dht fi", "find "),
    ] {
        // A system without it.
        let Some(found) = completed(words) else { return };
        assert_eq!(found, want, "{words}");
    }
}

#[test]
fn the_manual_is_one_page_or_a_page_for_each_command() {
    let place = Place::new();
    let page = place.run(&["man"]).ok().out;
    assert!(page.contains(".TH downpour 1") && page.contains("DOWNPOUR_MAX_UP"), "{page:.200}");
    place.run(&["man", "--dir", "pages/man1"]).ok();
    for command in COMMANDS {
        let title = format!(".SH \"DOWNPOUR {}\"", command.to_uppercase());
        assert!(page.contains(&title), "{title}");
        let path = place.path("pages/man1").join(format!("downpour-{command}.1"));
        let own = std::fs::read_to_string(path).expect("a page");
        assert!(own.contains(".SH SYNOPSIS"), "{command}");
    }
    assert!(place.path("pages/man1/downpour.1").exists());
    // The same source makes the same manual: nothing of this machine is in it.
    assert!(!page.contains("side by side ("));
    place.write("file", "");
    assert_eq!(place.run(&["man", "--dir", "file/pages"]).code, 6);
}

// ---- show and magnet ----

#[test]
fn show_writes_facts_for_programs() {
    let place = Place::new();
    let ran = place.run(&["show", &fixture("mktorrent-folder.torrent")]).ok();
    let value = |key: &str| {
        let line = ran.out.lines().find_map(|l| l.strip_prefix(&format!("{key}\t")));
        line.unwrap_or_else(|| panic!("{key} in {}", ran.out)).to_owned()
    };
    assert_eq!(value("name"), "sample");
    assert_eq!(value("info hash"), HASH);
    assert!(value("size").parse::<u64>().is_ok());
    assert!(value("magnet").starts_with(LINK));
    assert!(ran.err.is_empty(), "{}", ran.err);
    assert!(!ran.out.contains('\x1b'));
}

#[test]
fn show_lists_files_and_trackers() {
    let place = Place::new();
    let torrent = fixture("libtorrent-padded.torrent");
    let files = place.run(&["show", "--files", &torrent]).ok().out;
    assert!(files.lines().all(|l| l.split('\t').count() == 3), "{files}");
    assert!(files.contains("sample/ünïcode ☃.txt") && !files.contains(".pad"), "{files}");
    place.run(&["show", "--trackers", &torrent]).ok();
}

#[test]
fn show_as_an_object() {
    let place = Place::new();
    let show = place.run(&["show", "--json", &fixture("libtorrent-hybrid.torrent")]).ok().last();
    assert_eq!(show["version"], "hybrid");
    assert_eq!(show["info_hash_v2"].as_str().map(str::len), Some(64));
    assert!(show["files"].as_array().is_some_and(|f| f.iter().all(|f| f["length"].is_u64())));
    let show = place.run(&["show", "--json", &format!("{LINK}&dn=a+b")]).ok().last();
    assert_eq!((show["name"].as_str(), show["info_hash"].as_str()), (Some("a b"), Some(HASH)));
}

#[test]
fn a_torrent_may_come_from_standard_input() {
    let place = Place::new();
    let mut c = place.command(&["magnet", "-"]);
    let mut child = c.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("started");
    let torrent = std::fs::read(fixture("mktorrent-folder.torrent")).expect("there");
    child.stdin.take().expect("piped").write_all(&torrent).expect("read");
    let ran = Ran::from(child.wait_with_output().expect("ended")).ok();
    assert!(ran.out.starts_with(LINK) && ran.out.lines().count() == 1, "{}", ran.out);
}

#[test]
fn magnet_of_a_link_is_its_plain_form() {
    let place = Place::new();
    let odd = "MAGNET:?dn=a&xt=urn:btih:DF9792A4E1EAD19979A5EC4C8FF28C64F762ABB6&foo=1";
    assert_eq!(place.run(&["magnet", "--print", odd]).ok().out, format!("{LINK}&dn=a\n"));
    let done = place.run(&["magnet", "--print", "--json", odd]).ok().last();
    assert_eq!(done["magnet"], format!("{LINK}&dn=a"));
}

#[test]
fn what_cannot_be_read_is_3() {
    let place = Place::new();
    place.write("damaged.torrent", "d4:infod4:name1:ae");
    let v2 = fixture("libtorrent-v2.torrent");
    for command in ["show", "magnet"] {
        for input in ["missing.torrent", "damaged.torrent", ".", "magnet:?dn=a", &v2] {
            let ran = place.run(&[command, input]);
            assert_eq!(ran.code, 3, "{command} {input}: {}", ran.err);
            assert!(ran.out.is_empty() && ran.err.starts_with("error: "), "{}", ran.err);
            assert!(ran.err.contains("because: "), "{}", ran.err);
            let json = place.run(&[command, input, "--json"]).last();
            assert_eq!((&json["event"], &json["exit"]), (&"error".into(), &3.into()), "{json}");
        }
    }
}

#[test]
fn a_closed_pipe_is_success() {
    let place = Place::new();
    for args in [&["show"][..], &["show", "--json"], &["show", "--files"], &["magnet"]] {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let mut c = place.command(args);
        c.arg(fixture("mktorrent-folder.torrent")).stdout(writer);
        let ran = Ran::from(c.output().expect("started")).ok();
        assert!(ran.err.is_empty(), "{}", ran.err);
    }
}

// ---- create and verify ----

/// A small folder to share: a file of three pieces of 16 KiB and a short one.
fn share(place: &Place) {
    let bytes: Vec<u8> = (0..40_000u32).map(|i| (i * 7 % 251) as u8).collect();
    place.write("share/long.bin", bytes);
    place.write("share/short.txt", "short");
    place.write("share/.hidden", "hidden");
}

#[test]
fn create_writes_a_torrent_and_prints_what_names_it() {
    let place = Place::new();
    share(&place);
    let tracker = "http://a.example/announce";
    let ran = place.run(&["create", "share", "--tracker", tracker, "--piece-length", "16K"]).ok();
    let hash = ran.out.lines().find_map(|l| l.strip_prefix("info hash\t")).expect("a hash");
    assert!(ran.out.contains("torrent\tshare.torrent\n"), "{}", ran.out);
    assert!(ran.out.contains(&format!("magnet\tmagnet:?xt=urn:btih:{hash}")), "{}", ran.out);
    assert!(ran.err.contains("2 files") && ran.err.contains("3 pieces"), "{}", ran.err);

    let show = place.run(&["show", "share.torrent", "--json"]).ok().last();
    assert_eq!(show["info_hash"], hash);
    assert_eq!(show["trackers"][0][0], tracker);
    assert_eq!(show["files"].as_array().map(Vec::len), Some(2));

    // Not again, unless it is wanted.
    let again = place.run(&["create", "share"]);
    assert_eq!(again.code, 7, "{}", again.err);
    assert!(again.err.contains("--force") && again.out.is_empty(), "{}", again.err);
    place.run(&["create", "share", "--force", "-q"]).ok();
    assert!(!place.path("share.torrent.part").exists());
}

#[test]
fn the_same_data_makes_the_same_file() {
    let place = Place::new();
    share(&place);
    let torrent = |args: &[&str]| {
        let mut all = vec!["create", "share", "--no-date", "--output", "-"];
        all.extend(args);
        let output = place.command(&all).output().expect("started");
        assert!(output.status.success());
        output.stdout
    };
    assert_eq!(torrent(&[]), torrent(&[]));
    assert_ne!(torrent(&[]), torrent(&["--include-hidden"]));
    assert_ne!(torrent(&[]), torrent(&["--source", "X"]));
    assert_ne!(torrent(&[]), torrent(&["--glob", "*.txt"]));
    assert!(torrent(&["--private"]).windows(10).any(|w| w == b"7:privatei"));
}

#[test]
fn a_dry_run_writes_nothing() {
    let place = Place::new();
    share(&place);
    let done = place.run(&["create", "share", "--dry-run", "--json"]).ok().last();
    assert!(done["torrent"].is_null() && done["info_hash"].is_string(), "{done}");
    assert!(!place.path("share.torrent").exists());
    let link = place.run(&["create", "share", "--dry-run", "--magnet"]).ok().out;
    assert!(link.starts_with("magnet:?") && link.lines().count() == 1, "{link}");
}

#[test]
fn create_refuses_what_it_cannot_use() {
    let place = Place::new();
    share(&place);
    for (args, code) in [
        (&["create", "missing"][..], 3),
        (&["create", "share", "--piece-length", "20000"], 2),
        (&["create", "share", "--piece-length", "1K"], 2),
        (&["create", "share", "--glob", "[a"], 2),
        (&["create", "share", "--glob", "*.none"], 3),
        (&["create", "share", "--tracker", "nonsense"], 2),
        (&["create", "share", "--webseed", "ftp://a.example/"], 2),
        (&["create", "share", "--output", "no/such/folder.torrent"], 6),
    ] {
        let ran = place.run(args);
        assert_eq!(ran.code, code, "{args:?}: {}", ran.err);
        assert!(ran.out.is_empty(), "{args:?}");
    }
}

#[test]
fn verify_names_file_piece_and_bytes() {
    let place = Place::new();
    share(&place);
    place.run(&["create", "share", "--piece-length", "16K", "-q"]).ok();
    let good = place.run(&["verify", "share.torrent"]).ok();
    assert!(good.out.is_empty() && good.err.contains("good"), "{} {}", good.out, good.err);

    let mut bytes = std::fs::read(place.path("share/long.bin")).expect("there");
    bytes[20_000] ^= 1;
    place.write("other/share/long.bin", bytes);
    place.write("other/share/short.txt", "short");
    let bad = place.run(&["verify", "share.torrent", "--data", "other"]);
    assert_eq!(bad.code, 5);
    assert_eq!(bad.out, "share/long.bin\twrong\t1\t16384-32767\n");
    assert!(bad.err.contains("2 of 3 pieces"), "{}", bad.err);
    let bad = place.run(&["verify", "share.torrent", "--data", "other", "--json"]);
    let checked = bad.objects().into_iter().find(|o| o["event"] == "checked").expect("checked");
    let range = &checked["bad_files"][0]["ranges"][0];
    assert_eq!((&range["first_piece"], &range["offset"]), (&1.into(), &16_384.into()), "{checked}");
    assert_eq!(bad.last()["exit"], 5);

    std::fs::remove_file(place.path("other/share/short.txt")).expect("there");
    let bad = place.run(&["verify", "share.torrent", "--data", "other", "-q"]);
    assert!(bad.out.contains("share/short.txt\tmissing file\t\n"), "{}", bad.out);
    assert!(bad.out.contains("share/long.bin\tunproven\t2\t32768-39999\n"), "{}", bad.out);
}

#[test]
fn several_inputs_end_with_9_when_some_fail() {
    let place = Place::new();
    share(&place);
    place.run(&["create", "share", "-q"]).ok();
    let two = place.run(&["verify", "share.torrent", "missing.torrent"]);
    assert_eq!(two.code, 9);
    assert!(two.err.contains("missing.torrent") && two.err.contains("1 of 2"), "{}", two.err);
    let json = place.run(&["verify", "share.torrent", "missing.torrent", "--json"]);
    assert_eq!(json.last()["exit"], 9);
    assert_eq!(place.run(&["verify", "missing.torrent", "absent.torrent"]).code, 3);
    place.run(&["verify", "share.torrent", "share.torrent", "--low-priority"]).ok();
}

// ---- tracker ----

#[test]
fn tracker_prints_its_address_and_ends_on_ctrl_c() {
    let place = Place::new();
    for (signal, code) in [("-INT", 0), ("-TERM", 143)] {
        let mut c = place.command(&["tracker", "--listen", "127.0.0.1:0"]);
        let child = c.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("started");
        let mut tracker = Running(child);
        let url = tracker.line();
        assert!(url.starts_with("http://127.0.0.1:") && url.ends_with("/announce"), "{url}");
        let mut talk = BufReader::new(tracker.0.stderr.take().expect("piped"));
        let mut line = String::new();
        talk.read_line(&mut line).expect("readable");
        assert!(line.contains(&url), "{line}");

        let busy = url.trim_start_matches("http://").trim_end_matches("/announce");
        let second = place.run(&["tracker", "--listen", busy]);
        assert_eq!(second.code, 4, "{}", second.err);
        assert!(second.err.contains(busy), "{}", second.err);

        tracker.signal(signal);
        assert_eq!(tracker.end(), code);
    }
}

#[test]
fn tracker_serves_what_its_file_allows() {
    let place = Place::new();
    place.torrent();
    place.write("allow", "# nothing so far\n");
    let mut tracker = place.start(&["tracker", "--listen", "127.0.0.1:0", "--allow", "allow"]);
    let url = tracker.until("listening")["url"].as_str().expect("a URL").to_owned();
    let hash = place.run(&["show", "share.torrent", "--json"]).ok().last()["info_hash"].clone();
    let scrape = || place.run(&["show", "share.torrent", "--scrape"]);
    place.run(&["create", "share", "--force", "-q", "--tracker", &url]).ok();
    assert_eq!(scrape().code, 4);

    let mut seeder = place.start(&[&["seed", "share.torrent"], &ALONE[..]].concat());
    let refusal = loop {
        let warning = seeder.until("warning");
        if warning["message"].as_str().expect("text").contains("refused") {
            break warning["message"].to_string();
        }
    };
    assert!(refusal.contains("this tracker does not serve that torrent"), "{refusal}");
    // A list that is broken changes nothing, and is told of.
    place.write("allow", "what\n");
    let warning = tracker.until("warning")["message"].to_string();
    assert!(warning.contains("line 1 is not an info hash"), "{warning}");
    place.write("allow", format!("{}\n", hash.as_str().expect("a hash")));
    assert_eq!(tracker.until("allowed")["torrents"], 1);
    drop(seeder);
    let _seeder = place.start(&[&["seed", "share.torrent"], &ALONE[..]].concat());
    assert!((0..500).any(|_| scrape().code == 0), "the tracker does not know the seed");
    let line = format!("1\t{url}\t1\t0\t0\n");
    assert_eq!(scrape().ok().out, line);
    let object = place.run(&["show", "share.torrent", "--scrape", "--json"]).ok().last();
    assert_eq!(object["scrape"][0]["seeds"], 1, "{object}");

    let bad = place.run(&["tracker", "--listen", "127.0.0.1:0", "--allow", "none"]);
    assert_eq!(bad.code, 3, "{}", bad.err);
    assert!(bad.err.contains("`none`"), "{}", bad.err);
}

#[test]
fn what_a_scrape_cannot_say_is_told() {
    let place = Place::new();
    place.torrent();
    let none = place.run(&["show", "share.torrent", "--scrape"]);
    assert_eq!(none.code, 3, "{}", none.err);
    assert!(none.err.contains("there is no tracker to ask"), "{}", none.err);
    // A port that nobody listens on, most likely: the system gives it to nobody else so soon.
    let dead = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let addr = dead.local_addr().expect("bound");
    drop(dead);
    let trackers = format!("&tr=http%3A%2F%2F{addr}%2Fannounce&tr=http%3A%2F%2F{addr}%2Fx");
    let ran = place.run(&["show", &format!("{LINK}{trackers}"), "--scrape"]);
    assert_eq!(ran.code, 4, "{}", ran.err);
    assert!(
        ran.out.contains(&format!("could not reach {addr}: connection refused")),
        "{}",
        ran.out
    );
    assert!(ran.out.contains("takes no scrapes"), "{}", ran.out);
}

/// Whatever would be sent, and by which command.
#[test]
#[cfg(target_os = "linux")]
fn without_the_interface_that_is_named_nothing_is_sent() {
    let place = Place::new();
    place.torrent();
    let away = ["--bind-interface", "no-such-if0"];
    let url = "http://127.0.0.1:1/a.torrent";
    for args in [
        &["download", "share.torrent"][..],
        &["download", url],
        &["seed", url],
        &["show", url],
        &["show", LINK, "--scrape"],
        &["verify", url],
        &["magnet", LINK],
        &["dht", "find", LINK],
    ] {
        let ran = place.run(&[args, &away].concat());
        assert_eq!(ran.code, 4, "{args:?}: {}", ran.err);
        let why = "there is no network interface `no-such-if0`";
        assert!(ran.err.contains(why), "{args:?}: {}", ran.err);
    }
    place.run(&[&["show", "share.torrent"], &away[..]].concat()).ok();
}

#[test]
fn without_the_proxy_that_is_named_nothing_is_sent() {
    let place = Place::new();
    place.torrent();
    // A port that nobody listens on, most likely: the system gives it to nobody else so soon.
    let dead = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let addr = dead.local_addr().expect("bound");
    drop(dead);
    let url = "http://127.0.0.1:1/a.torrent";
    for scheme in ["socks5", "http"] {
        let proxy = format!("{scheme}://me:secret@{addr}");
        let first = |args: &[&str]| place.run(&[args, &["--proxy", &proxy]].concat());
        for args in [
            &["download", "share.torrent"][..],
            &["download", url],
            &["show", LINK, "--scrape"],
            &["magnet", LINK],
            &["dht", "find", LINK],
        ] {
            let ran = first(args);
            assert_eq!(ran.code, 4, "{args:?}: {}", ran.err);
            let why = format!("the proxy {scheme}://{addr} cannot be used");
            assert!(ran.err.contains(&why) && !ran.err.contains("secret"), "{}", ran.err);
        }
        first(&["show", "share.torrent"]).ok();
    }
    let bad = place.run(&["download", "share.torrent", "--proxy", "socks4://a:1"]);
    assert_eq!(bad.code, 2, "{}", bad.err);
    assert!(bad.err.contains("`socks4` is no kind of proxy"), "{}", bad.err);
}

// ---- download and seed ----

/// Nothing that leaves this machine, and any free port.
const ALONE: [&str; 3] = ["--port", "0", "--no-ipv6"];
/// Neither that nor anybody to ask.
const NOBODY: [&str; 3] = ["--port", "0", "--no-trackers"];

impl Place {
    /// Starts the program with `--json`; its objects come line by line.
    fn start(&self, args: &[&str]) -> Running {
        let mut c = self.command(args);
        c.arg("--json").stdout(Stdio::piped()).stderr(Stdio::null());
        Running(c.spawn().expect("started"))
    }

    /// `share` and its torrent.
    fn torrent(&self) {
        share(self);
        self.run(&["create", "share", "--piece-length", "16K", "-q"]).ok();
    }

    /// A seeder of `share`, and where it listens.
    fn seeder(&self) -> (Running, String) {
        self.torrent();
        let mut seeder = self.start(&[&["seed", "share.torrent"], &ALONE[..]].concat());
        let port = seeder.until("listening")["port"].clone();
        while seeder.until("progress")["stage"] != "seeding" {}
        (seeder, format!("127.0.0.1:{port}"))
    }

    fn assert_copy(&self, root: &str) {
        for file in ["share/long.bin", "share/short.txt"] {
            let read = |path| std::fs::read(path).expect("there");
            assert!(read(self.path(file)) == read(self.path(root).join(file)), "{file}");
        }
    }
}

impl Running {
    /// The next object of this event.
    fn until(&mut self, event: &str) -> Value {
        loop {
            let line = self.line();
            assert!(!line.is_empty(), "ended before `{event}`");
            let object: Value = serde_json::from_str(&line).expect("an object");
            if object["event"] == event {
                return object;
            }
        }
    }
}

/// `share` prints a code, `get` fetches what it stands for; both again later by the same code.
#[test]
fn what_is_shared_is_got_by_the_code() {
    let place = Place::new();
    share(&place);
    let mut codes = Vec::new();
    for root in ["a", "b"] {
        let mut sharing = place.start(&[&["share", "share"], &ALONE[..]].concat());
        let shared = sharing.until("shared");
        let code = shared["code"].as_str().expect("a code").to_owned();
        let link = shared["magnet"].as_str().expect("a link");
        let port = sharing.until("listening")["port"].clone();
        assert!(
            link.contains(&format!("%3A{port}")) || link.contains(&format!(":{port}")),
            "{link}"
        );
        let (peer, sloppy) = (format!("127.0.0.1:{port}"), code.to_uppercase().replace('-', ""));
        let args = [&["get", &sloppy, "-o", root, "--peer", &peer], &ALONE[..]].concat();
        assert_eq!(place.run(&args).ok().out, format!("{root}/share\n"));
        place.assert_copy(root);
        codes.push(code);
    }
    assert_eq!(codes[0], codes[1]);
}

#[test]
fn a_code_that_is_none_or_leads_nowhere_is_told_of() {
    let place = Place::new();
    for (code, says) in [
        ("abc", "has 20 letters and digits, this one has 3"),
        ("p88et-2d12k-fr079-jbk7u", "'u' is in no code"),
        ("p88et-2d12k-fr079-jbk73", "a letter or digit of the code is wrong"),
    ] {
        let ran = place.run(&["get", code]);
        assert_eq!(ran.code, 3);
        assert!(ran.err.contains(says), "{}", ran.err);
    }
    let code = "p88et-2d12k-fr079-jbk72";
    let plain = place.run(&["get", code, "--encryption", "disabled"]);
    assert_eq!(plain.code, 2, "{}", plain.err);
    let ran = place.run(&[&["get", code, "--timeout", "300ms"], &ALONE[..]].concat());
    assert_eq!(ran.code, 4, "{}", ran.err);
    assert_eq!(place.run(&["share", "missing"]).code, 3);
}

#[test]
fn what_is_seeded_is_downloaded_and_verified() {
    let place = Place::new();
    let (seeder, peer) = place.seeder();
    let args = [&["download", "share.torrent", "-o", "a", "--peer", &peer], &ALONE[..]].concat();
    let ran = place.run(&args).ok();
    assert_eq!(ran.out, "a/share\n");
    assert!(ran.err.contains("share: done, 39.1 KiB"), "{}", ran.err);
    assert!(!ran.err.contains("(0 B/s)"), "{}", ran.err);
    place.assert_copy("a");
    // Once more: everything is there, nobody is needed.
    place.run(&[&["download", "share.torrent", "-o", "a"], &NOBODY[..]].concat()).ok();
    place.run(&["verify", "share.torrent", "--data", "a"]).ok();

    let args = [&["download", "share.torrent", "-o", "b", "--peer", &peer], &ALONE[..]].concat();
    let ran = place.run(&[&args[..], &["--json", "-v"]].concat()).ok();
    let objects = ran.objects();
    let events: Vec<_> = objects.iter().filter_map(|o| o["event"].as_str()).collect();
    for event in ["added", "listening", "peer", "piece", "done"] {
        assert!(events.contains(&event), "{event} in {events:?}");
    }
    let done = objects.iter().find(|o| o["event"] == "done").expect("done");
    assert_eq!((&done["total"], &done["path"]), (&40_005.into(), &"b/share".into()), "{done}");
    assert!(done["seconds"].as_f64().is_some_and(|seconds| seconds > 0.0), "{done}");
    assert_eq!(ran.last()["event"], "done");
    place.assert_copy("b");

    seeder.signal("-INT");
    assert_eq!(seeder.end(), 0, "Ctrl-C is how seeding ends");
}

#[test]
fn a_seed_ends_when_it_has_sent_enough() {
    let place = Place::new();
    place.torrent();
    let args = [&["seed", "share.torrent", "--seed-ratio", "2"], &ALONE[..]].concat();
    let mut seeder = place.start(&args);
    let port = seeder.until("listening")["port"].clone();
    while seeder.until("progress")["stage"] != "seeding" {}
    let peer = format!("127.0.0.1:{port}");
    for root in ["a", "b"] {
        // After the first one it goes on.
        assert!(seeder.0.try_wait().expect("asked").is_none(), "it has ended before {root}");
        let args = ["download", "share.torrent", "-o", root, "--peer", &peer];
        place.run(&[&args, &ALONE[..]].concat()).ok();
        place.assert_copy(root);
    }
    assert_eq!(seeder.end(), 0);
}

/// The metadata of a link is kept: later neither a peer nor the torrent file is needed.
#[test]
fn a_link_leads_to_its_torrent_again_without_any_peer() {
    let place = Place::new();
    let (seeder, peer) = place.seeder();
    let show = place.run(&["show", "share.torrent", "--json"]).ok().last();
    let hash = show["info_hash"].as_str().expect("a hash");
    let link = format!("magnet:?xt=urn:btih:{hash}");
    let state = ["--state-dir", "state", "-o", "a"];
    let some = ["download", &link, "--select", "2", "--peer", &peer];
    place.run(&[&some, &state[..], &ALONE].concat()).ok();
    drop(seeder);
    let kept = format!("state/torrents/{hash}.torrent");
    let shown = place.run(&["show", &kept, "--json"]).ok().last();
    assert_eq!(shown["info_hash"], hash);
    let again = ["download", &link, "--select", "2"];
    let ran = place.run(&[&again, &state[..], &NOBODY].concat()).ok();
    assert_eq!(ran.out, "a/share\n");
    // One that is damaged is set aside, which is told.
    place.write(&kept, "damaged");
    let late = ["--timeout", "300ms"];
    let ran = place.run(&[&again, &state[..], &NOBODY, &late].concat());
    assert_eq!(ran.code, 4, "{}", ran.err);
    assert!(ran.err.contains(".torrent.damaged`"), "{}", ran.err);
    assert!(place.path(&format!("{kept}.damaged")).exists());
}

#[test]
fn files_are_chosen_by_number_by_name_and_by_the_link_itself() {
    let place = Place::new();
    let (_seeder, peer) = place.seeder();
    let show = place.run(&["show", "share.torrent", "--json"]).ok().last();
    let hash = show["info_hash"].as_str().expect("a hash");
    let link = format!("magnet:?xt=urn:btih:{hash}&so=1&x.pe={peer}");
    for (root, what) in [
        ("number", &["share.torrent", "--peer", &peer, "--select", "2"][..]),
        ("name", &["share.torrent", "--peer", &peer, "--match", "short"]),
        ("others", &["share.torrent", "--peer", &peer, "--exclude", "long"]),
        ("link", &[&link]),
    ] {
        let args = [&["download", "-o", root, "--sequential", "--ends-first"], what, &ALONE[..]];
        place.run(&args.concat()).ok();
        let there = |file| place.path(root).join("share").join(file);
        assert_eq!(std::fs::read(there("short.txt")).expect("chosen"), b"short", "{root}");
        assert!(!there("long.bin").exists(), "{root}");
        // The rest, beside what is there.
        let args = ["download", "share.torrent", "-o", root, "--peer", &peer];
        place.run(&[&args, &ALONE[..]].concat()).ok();
        place.assert_copy(root);
    }
}

/// Two seeds are nodes enough to answer every question.
#[test]
fn questions_to_the_dht_are_answered_in_lines_and_in_objects() {
    let (first, second) = (Place::new(), Place::new());
    let node = |place: &Place, entrance: &str| {
        place.torrent();
        let args = ["seed", "share.torrent", "--dht-bootstrap", entrance, "--json"];
        let mut c = place.command(&[&args, &ALONE[..]].concat());
        c.env_remove("DOWNPOUR_NO_DHT").stdout(Stdio::piped()).stderr(Stdio::null());
        let mut seeder = Running(c.spawn().expect("started"));
        let port = seeder.until("listening")["port"].clone();
        (seeder, format!("127.0.0.1:{port}"))
    };
    let (_entrance, entrance) = node(&first, "127.0.0.1:1");
    let (_seeder, seeder) = node(&second, &entrance);
    let place = Place::new();
    let ask = |question: &[&str]| {
        let way = ["--dht-bootstrap", &entrance, "--dht-bootstrap", &seeder, "--no-ipv6"];
        place.run(&[&["dht"], question, &way].concat())
    };
    let both = |question: &[&str]| {
        (ask(question).ok().out, ask(&[question, &["--json"]].concat()).ok().objects())
    };
    let event = |objects: &[Value], name: &str| {
        let of = objects.iter().find(|o| o["event"] == name);
        of.unwrap_or_else(|| panic!("no `{name}` in {objects:?}")).clone()
    };

    let (lines, objects) = both(&["ping", &entrance]);
    let told = event(&objects, "node");
    assert_eq!(told["addr"], *entrance);
    assert!(lines.contains(told["node_id"].as_str().expect("an id")), "{lines}");
    assert_eq!(event(&objects, "done")["nodes_answered"], 1);

    // Until it has been announced.
    let torrent = second.path("share.torrent");
    let torrent = torrent.to_str().expect("UTF-8");
    while ask(&["find", torrent]).code != 0 {}
    let (lines, objects) = both(&["find", torrent]);
    assert!(lines.lines().any(|line| line == seeder), "{lines}");
    assert!(objects.iter().any(|o| o["event"] == "peer" && o["addr"] == *seeder), "{objects:?}");

    let (line, objects) = both(&["put", "what is kept"]);
    let done = event(&objects, "done");
    assert!(done["stored"].as_u64().is_some_and(|nodes| nodes >= 1), "{done}");
    assert_eq!(done["target"], line.trim());
    let (lines, objects) = both(&["get", line.trim()]);
    assert_eq!(lines, "what is kept\n");
    assert_eq!(event(&objects, "value")["text"], "what is kept");

    let (lines, objects) = both(&["sample"]);
    let show = place.run(&["show", torrent, "--json"]).ok().last();
    assert_eq!(event(&objects, "torrent")["info_hash"], show["info_hash"]);
    assert_eq!(lines.trim(), show["info_hash"]);
}

#[test]
fn who_is_on_a_block_list_is_left_alone() {
    let place = Place::new();
    let (mut seeder, peer) = place.seeder();
    place.write("other.p2p", "Somebody: else:10.0.0.0-10.0.0.9\r\nwhat is this?\n");
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gz.write_all(b"127.000.000.000 - 127.000.000.255 , 000 , here\n").expect("packed");
    place.write("here.dat", gz.finish().expect("packed"));

    let args = [&["download", "share.torrent", "-o", "a", "--peer", &peer], &ALONE[..]].concat();
    let lists = ["--blocklist", "other.p2p", "--blocklist", "here.dat", "--timeout", "300ms"];
    let ran = place.run(&[&args[..], &lists].concat());
    assert_eq!(ran.code, 4, "{}", ran.err);
    let says = "Blocking 2 ranges of addresses (line 2 of `other.p2p` was not understood).\n";
    assert!(ran.err.contains(says), "{}", ran.err);
    let says = format!("warning: {peer} is blocked: it is not dialled\n");
    assert_eq!(ran.err.matches(&says).count(), 1, "{}", ran.err);
    let ran = place.run(&[&args[..], &["--blocklist", "other.p2p", "--json"]].concat()).ok();
    let told = ran.objects().remove(0);
    assert_eq!((&told["event"], &told["ranges"]), (&"blocklist".into(), &1.into()), "{told}");
    let list = &told["lists"][0];
    assert_eq!((&list["bad_lines"], &list["first_bad_line"]), (&1.into(), &2.into()), "{told}");
    place.assert_copy("a");
    seeder.signal("-INT");
    assert_eq!(seeder.end(), 0);

    // The other side of it.
    let args = ["seed", "share.torrent", "-v", "--blocklist", "here.dat"];
    seeder = place.start(&[&args, &ALONE[..]].concat());
    let port = seeder.until("listening")["port"].clone();
    while seeder.until("progress")["stage"] != "seeding" {}
    let peer = format!("127.0.0.1:{port}");
    let args = ["download", "share.torrent", "-o", "b", "--peer", &peer, "--timeout", "300ms"];
    assert_eq!(place.run(&[&args, &ALONE[..]].concat()).code, 4);
    seeder.signal("-INT");
    let told = seeder.until("turned_away");
    assert!(told["connections"].as_u64().is_some_and(|n| n >= 1), "{told}");
    assert_eq!(seeder.end(), 0);
}

#[test]
fn a_block_list_that_cannot_be_used_is_3() {
    let place = Place::new();
    place.torrent();
    place.write("page.html", "<html>\n<body>\n");
    place.write("empty", "");
    for (command, named) in [("download", "share.torrent"), ("seed", "share"), ("magnet", LINK)] {
        for list in ["missing", ".", "page.html", "empty"] {
            let args = [command, named, "--blocklist", list];
            let ran = place.run(&args);
            assert_eq!(ran.code, 3, "{args:?}: {}", ran.err);
            let says = format!("could not use the block list `{list}`");
            assert!(ran.err.contains(&says) && ran.err.contains("because: "), "{}", ran.err);
        }
    }
}

#[test]
fn peers_meet_at_the_tracker() {
    let place = Place::new();
    let mut tracker = place.start(&["tracker", "--listen", "127.0.0.1:0"]);
    let url = tracker.until("listening")["url"].as_str().expect("a URL").to_owned();
    share(&place);
    // A folder instead of a torrent: it is hashed, and its link is told.
    let mut seeder = place.start(&[&["seed", "share", "--tracker", &url], &ALONE[..]].concat());
    let link = seeder.until("magnet")["magnet"].as_str().expect("a link").to_owned();
    while seeder.until("progress")["stage"] != "seeding" {}
    place.run(&["create", "share", "--tracker", &url, "-q"]).ok();
    let made = place.run(&["magnet", "share.torrent"]).ok().out;
    assert_eq!(made.trim_end(), link);
    place.run(&[&["download", "share.torrent", "-o", "a"], &ALONE[..]].concat()).ok();
    place.assert_copy("a");
    seeder.signal("-TERM");
    assert_eq!(seeder.end(), 143);
    tracker.signal("-INT");
    assert_eq!(tracker.end(), 0);
}

#[test]
fn a_torrent_may_be_fetched_by_its_address() {
    let place = Place::new();
    place.torrent();
    let torrent = std::fs::read(place.path("share.torrent")).expect("there");
    let server = std::net::TcpListener::bind("127.0.0.1:0").expect("listening");
    let url = format!("http://{}/share.torrent", server.local_addr().expect("bound"));
    let serve = || {
        for status in ["200 OK", "404 Not Found"] {
            let (mut client, _) = server.accept().expect("a client");
            let mut lines = BufReader::new(client.try_clone().expect("cloned")).lines();
            while lines.next().is_some_and(|l| l.is_ok_and(|l| !l.is_empty())) {}
            let length = torrent.len();
            let head = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n");
            client.write_all(&[head.as_bytes(), &torrent].concat()).expect("sent");
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(serve);
        // The data is there already, so that is all it needs.
        place.run(&[&["download", &url], &NOBODY[..]].concat()).ok();
        let ran = place.run(&["download", &url]);
        assert_eq!(ran.code, 4, "{}", ran.err);
        assert!(ran.err.contains("status 404"), "{}", ran.err);
    });
}

#[test]
fn metadata_that_nobody_has_is_given_up() {
    let place = Place::new();
    for args in [&["download", LINK][..], &["download", HASH], &["magnet", LINK]] {
        let ran = place.run(&[args, &NOBODY, &["--timeout", "1s"]].concat());
        assert_eq!(ran.code, 4, "{}", ran.err);
        assert!(ran.err.contains("gave up"), "{}", ran.err);
    }
    let ran = place.run(&["download", "--metadata-only", "a.torrent"]);
    assert_eq!(ran.code, 2, "{}", ran.err);
    for command in ["verify", "seed"] {
        let ran = place.run(&[command, LINK]);
        assert_eq!(ran.code, 3);
        assert!(ran.err.contains("does not say what the torrent holds"), "{}", ran.err);
    }
    assert_eq!(place.run(&["download", "magnet:?xt=urn:btih:short"]).code, 3);
}

#[test]
fn inputs_of_which_some_are_bad_end_with_9_and_objects_with_done() {
    let place = Place::new();
    place.torrent();
    let list = ["download", "share.torrent", "--list", "--json"];
    assert_eq!(place.run(&list).ok().last()["event"], "done");
    let some = place.run(&[&list[..], &["missing.torrent"]].concat());
    assert_eq!((some.code, &some.last()["exit"]), (9, &9.into()), "{}", some.out);
    // Nothing is started for inputs that are all bad.
    let none = place.run(&["seed", "a.missing", "b.missing", "--json"]);
    assert_eq!((none.code, &none.last()["exit"]), (3, &3.into()), "{}", none.out);
    assert!(!none.out.contains("listening"), "{}", none.out);
    let mut c = place.command(&["download", "x", "--port", "nonsense"]);
    let ran = Ran::from(c.env("DOWNPOUR_JSON", "1").output().expect("started"));
    assert_eq!((ran.code, &ran.last()["event"]), (2, &"error".into()));
}

#[test]
fn a_torrent_goes_where_it_is_to_and_nothing_else_with_it() {
    let place = Place::new();
    place.write("data", vec![7; 100_000]);
    std::fs::create_dir(place.path("made")).expect("made");
    place.run(&["create", "data", "--output", "made"]).ok();
    assert!(place.path("made/data.torrent").is_file());
    assert_eq!(place.run(&["create", "data", "--output", "missing/data.torrent"]).code, 6);
    let out = place.command(&["create", "data", "--output", "-", "--json"]).output();
    let out = out.expect("started").stdout;
    downpour::metainfo::Metainfo::from_bytes(&out).expect("a torrent, and nothing else");
    assert_eq!(place.run(&["create", "data", "--output", "-", "--magnet"]).code, 2);
}

#[test]
fn what_is_in_the_way_is_not_touched() {
    let place = Place::new();
    place.torrent();
    let args = [&["download", "share.torrent", "-o", "out"], &NOBODY[..]].concat();
    let longer = place.write("out/share/long.bin", vec![7; 50_000]);
    let ran = place.run(&args);
    assert_eq!(ran.code, 7, "{}", ran.err);
    assert!(ran.err.contains("long.bin") && ran.err.contains("--force"), "{}", ran.err);
    assert_eq!(std::fs::metadata(longer).expect("there").len(), 50_000);
    let other = place.write("out/share/long.bin", vec![7; 40_000]);
    let ran = place.run(&[&args[..], &["--json"]].concat());
    assert_eq!(ran.last()["exit"], 7, "{}", ran.out);
    assert_eq!(std::fs::read(other).expect("there"), vec![7; 40_000]);
    // Who only serves is told that it is not the torrent's.
    let seed = ["seed", "share.torrent", "--data", "out", "--seed-time", "0s"];
    let ran = place.run(&[&seed[..], &NOBODY[..]].concat());
    assert_eq!(ran.code, 5, "{}", ran.err);
}

#[test]
fn what_an_earlier_run_verified_is_hashed_only_when_asked() {
    let place = Place::new();
    place.torrent();
    let seed = |options: &[&str]| {
        let limit = ["--seed-time", "0s"];
        place.run(&[&["seed", "share.torrent"], options, &limit, &NOBODY[..]].concat())
    };
    seed(&[]).ok();
    assert!(place.path(".local/state/downpour/resume").is_dir());
    // Nothing shows that somebody wrote to the file.
    let path = place.path("share/long.bin");
    let modified = std::fs::metadata(&path).and_then(|facts| facts.modified()).expect("a time");
    let mut bytes = std::fs::read(&path).expect("there");
    bytes[0] ^= 1;
    let file = std::fs::File::options().write(true).open(&path).expect("opens");
    std::os::unix::fs::FileExt::write_all_at(&file, &bytes, 0).expect("written");
    file.set_modified(modified).expect("set");
    seed(&[]).ok();
    assert_eq!(seed(&["--state-dir", "elsewhere"]).code, 5);
    assert_eq!(seed(&["--check"]).code, 5);
    assert_eq!(seed(&[]).code, 5, "the check was remembered");
    seed(&["--skip-check"]).ok();
    assert_eq!(seed(&[]).code, 5, "nobody has verified it");
    assert_eq!(seed(&["--check", "--skip-check"]).code, 2);
}

#[test]
fn a_state_folder_that_cannot_be_made_is_told() {
    let place = Place::new();
    place.torrent();
    place.write("file", "not a folder");
    let args = [&["seed", "share.torrent", "--seed-time", "0s"], &NOBODY[..]].concat();
    let mut command = place.command(&args);
    let ran =
        Ran::from(command.env("XDG_STATE_HOME", place.path("file")).output().expect("ran")).ok();
    assert!(ran.err.contains("the next run will hash data again"), "{}", ran.err);
    let ran = place.run(&[&args[..], &["--state-dir", "file/state"]].concat());
    assert_eq!(ran.code, 6, "{}", ran.err);
}

#[test]
fn without_progress_it_gives_up_in_time() {
    let place = Place::new();
    place.torrent();
    let args = [&["download", "share.torrent", "-o", "out"], &NOBODY[..]].concat();
    let ran = place.run(&[&args[..], &["--timeout", "100ms"]].concat());
    assert_eq!(ran.code, 4, "{}", ran.err);
    assert!(ran.err.contains("no progress") && ran.out.is_empty(), "{}", ran.err);
}

#[test]
fn why_a_download_did_not_get_on_is_told_at_its_end_and_afterwards() {
    let place = Place::new();
    let (_seeder, peer) = place.seeder();
    let nothing = place.run(&["why"]).ok();
    assert!(nothing.out.is_empty() && nothing.err.contains("No unfinished torrents"));
    let download = ["download", "share.torrent", "-o", "out", "--timeout", "300ms"];
    let ran = place.run(&[&download[..], &NOBODY, &["--json"]].concat());
    assert_eq!(ran.code, 4, "{}", ran.err);
    let line = "no peers known (nobody is asked for any)";
    let last = ran.last();
    assert_eq!(last["causes"][0], line, "{last}");
    assert!(last["remedy"].as_str().is_some_and(|r| r.contains("--no-trackers")), "{last}");

    let all = place.run(&["why"]).ok();
    assert_eq!(all.out, format!("0.0%\tshare\t{line}\n"));
    let hash = place.run(&["show", "share.torrent", "--json"]).ok().last()["info_hash"].clone();
    let hash = hash.as_str().expect("a hash");
    for named in ["share.torrent", hash, &format!("magnet:?xt=urn:btih:{hash}")] {
        let one = place.run(&["why", named]).ok().out;
        let lines: Vec<&str> = one.lines().collect();
        assert!(
            lines[0].starts_with("share: 0.0% of ") && lines[0].ends_with("/out/share"),
            "{one}"
        );
        assert_eq!(lines[1], format!("1. {line}"), "{one}");
        assert!(lines[2].contains("--no-trackers") && lines[3].contains("Leave out"), "{one}");
    }
    let told = place.run(&["why", hash, "--json"]).ok();
    let why = told.objects().remove(0);
    assert_eq!((&why["event"], &why["id"]), (&"why".into(), &hash.into()), "{why}");
    assert_eq!(why["causes"][0]["cause"], "nobody_asked", "{why}");
    for key in ["line", "evidence", "remedy"] {
        assert!(why["causes"][0][key].is_string(), "{key}: {why}");
    }
    assert_eq!(told.last()["torrents"], 1);

    // What is complete needs no reason.
    place.run(&[&download[..4], &ALONE, &["--peer", &peer]].concat()).ok();
    let gone = place.run(&["why", "share.torrent"]);
    assert_eq!(gone.code, 3, "{}", gone.out);
    assert!(gone.err.contains("--state-dir"), "{}", gone.err);
    assert_eq!(place.run(&["why", "missing.torrent"]).code, 3);
}

#[test]
fn why_knows_a_link_whose_metadata_has_not_come() {
    let place = Place::new();
    place.torrent();
    let hash = place.run(&["show", "share.torrent", "--json"]).ok().last()["info_hash"].clone();
    let hash = hash.as_str().expect("a hash");
    let link = format!("magnet:?xt=urn:btih:{hash}&dn=a%20link");
    for command in ["magnet", "download"] {
        let ran = place.run(&[&[command, &link, "--timeout", "300ms"], &NOBODY[..]].concat());
        assert_eq!(ran.code, 4, "{}", ran.err);
        let line = "no peers known (nobody is asked for any)";
        let all = place.run(&["why"]).ok();
        assert_eq!(all.out, format!("no metadata\ta link\t{line}\n"));
        for named in ["share.torrent", hash, &link] {
            let one = place.run(&["why", named]).ok().out;
            let lines: Vec<&str> = one.lines().collect();
            assert!(lines[0].starts_with("a link: no metadata on "), "{one}");
            assert_eq!(lines[1], format!("1. {line}"), "{one}");
        }
        let told = place.run(&["why", hash, "--json"]).ok().objects().remove(0);
        assert_eq!((&told["wants_metadata"], &told["id"]), (&true.into(), &hash.into()), "{told}");
    }
}

#[test]
fn an_interrupted_download_is_130() {
    let place = Place::new();
    place.torrent();
    for (signal, code) in [("-INT", 130), ("-TERM", 143)] {
        let args = [&["download", "share.torrent", "-o", "out"], &NOBODY[..]].concat();
        let mut download = place.start(&args);
        download.until("progress");
        download.signal(signal);
        let end = download.until("error");
        assert_eq!(end["exit"], code, "{end}");
        assert_eq!(download.end(), code);
    }
}

#[test]
fn data_that_is_not_there_cannot_be_seeded() {
    let place = Place::new();
    place.torrent();
    std::fs::remove_file(place.path("share/short.txt")).expect("there");
    let ran = place.run(&[&["seed", "share.torrent"], &NOBODY[..]].concat());
    assert_eq!(ran.code, 5, "{}", ran.err);
    assert!(ran.err.contains("verify"), "{}", ran.err);
    assert_eq!(place.run(&["seed", "missing.torrent"]).code, 3);
    assert_eq!(place.run(&["seed", "missing"]).code, 3);
}

#[test]
fn each_failure_of_several_is_told_and_the_others_go_on() {
    let place = Place::new();
    place.torrent();
    for inputs in [["missing.torrent", "share.torrent"], ["share.torrent", "missing.torrent"]] {
        let args = [&["download"], &inputs[..], &NOBODY[..]].concat();
        let ran = place.run(&args);
        assert_eq!(ran.code, 9, "{}", ran.err);
        assert!(ran.err.contains("missing.torrent") && ran.err.contains("1 of 2"), "{}", ran.err);
        assert_eq!(ran.out, "./share\n");
        assert_eq!(place.run(&[&args[..], &["--json"]].concat()).last()["exit"], 9);
    }
}

#[test]
fn a_reader_that_has_seen_enough_ends_a_download() {
    let place = Place::new();
    place.torrent();
    let args = [&["download", "share.torrent", "-o", "out", "--json"], &NOBODY[..]].concat();
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let mut c = place.command(&args);
    let ran = Ran::from(c.stdout(writer).output().expect("started")).ok();
    assert!(ran.err.is_empty(), "{}", ran.err);
}

#[test]
fn a_port_that_is_taken_is_named() {
    let place = Place::new();
    let (_seeder, peer) = place.seeder();
    let port = peer.rsplit(':').next().expect("a port");
    let ran = place.run(&["seed", "share.torrent", "--port", port]);
    assert_eq!(ran.code, 4, "{}", ran.err);
    assert!(ran.err.contains(port) && ran.err.contains("--port"), "{}", ran.err);
}

// ---- demo ----

#[test]
fn the_demo_verifies_every_copy() {
    let place = Place::new();
    for kill in [&[][..], &["--no-tracker"], &["--kill", "seeder"], &["--kill", "tracker"]] {
        let small = ["demo", "--size", "2M", "--peers", "2", "--max-up", "8M", "--json"];
        let ran = place.run(&[&small[..], kill].concat()).ok();
        let done = ran.last();
        assert_eq!((&done["verified"], &done["payload"]), (&2.into(), &(2 << 20).into()), "{done}");
        assert_eq!(done["killed"].as_str(), kill.get(1).copied());
        let mut from_seeder = 0;
        for peer in done["peers"].as_array().expect("peers") {
            assert!(peer["received"].as_u64() >= Some(2 << 20), "{peer}");
            from_seeder += peer["from_seeder"].as_u64().expect("a number");
        }
        assert!(done["seeder_sent"].as_u64() >= Some(from_seeder), "{done}");
    }
}

#[test]
fn the_demo_keeps_what_it_should() {
    let place = Place::new();
    let args = ["demo", "--size", "100K", "--peers", "1", "--keep", "kept", "--progress", "none"];
    let ran = place.run(&args).ok();
    assert!(ran.out.starts_with("peer\treceived\t"), "{}", ran.out);
    assert!(ran.err.contains("1 of 1 copies verified"), "{}", ran.err);
    let read = |name: &str| std::fs::read(place.path(name)).expect("kept");
    assert!(read("kept/seeder/payload.bin") == read("kept/peer-1/payload.bin"));
    let again = place.run(&args);
    assert_eq!(again.code, 7, "{}", again.err);
    assert_eq!(place.run(&["demo", "--size", "0"]).code, 2);
    assert_eq!(place.run(&["demo", "--no-tracker", "--kill", "tracker"]).code, 2);
}
