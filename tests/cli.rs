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
        c.env_remove("XDG_CONFIG_HOME").env_remove("NO_COLOR").stdin(Stdio::null());
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

const COMMANDS: [&str; 8] =
    ["download", "seed", "create", "show", "verify", "magnet", "tracker", "demo"];

#[test]
fn help_names_every_command_and_each_has_help() {
    let place = Place::new();
    let help = place.run(&["--help"]).ok().out;
    for command in COMMANDS {
        assert!(help.contains(&format!("  {command} ")), "{command}");
        let own = place.run(&[command, "--help"]).ok();
        assert!(own.out.contains("Usage: downpour"), "{}", own.out);
        assert!(own.err.is_empty());
        for not_yet in ["dht", "lsd", "pex", "upnp", "utp", "encryption", "proxy", "stream"] {
            assert!(!own.out.to_lowercase().contains(&format!("--no-{not_yet}")), "{command}");
            assert!(!own.out.to_lowercase().contains(&format!("--{not_yet}")), "{command}");
        }
    }
    for not_yet in ["daemon", "why", "completions", "share"] {
        assert_eq!(place.run(&[not_yet]).code, 2, "{not_yet}");
    }
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

    place.write("other.toml", "jsom = true\n");
    let ran = place.run(&["show", &torrent, "--config", "other.toml"]);
    assert_eq!(ran.code, 3);
    assert!(ran.err.contains("other.toml") && ran.err.contains("jsom"), "{}", ran.err);
    place.write("other.toml", "interval = \"many\"\n");
    let ran = place.run(&["tracker", "--config", "other.toml"]);
    assert_eq!(ran.code, 3);
    assert!(ran.err.contains("many"), "{}", ran.err);
    assert_eq!(place.run(&["show", &torrent, "--config", "missing.toml"]).code, 3);
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
    assert_eq!(place.run(&["magnet", odd]).ok().out, format!("{LINK}&dn=a\n"));
    let done = place.run(&["magnet", "--json", odd]).ok().last();
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
    place.run(&["verify", "share.torrent", "share.torrent"]).ok();
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
