//! Runs the real program within bounds that the system keeps, in a folder of its own, and compares what
//! lies around its output folder.

use std::{
    collections::BTreeMap,
    fs,
    io::Read,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc::channel,
    thread,
    time::Duration,
};

use tempfile::TempDir;

use crate::table::Bound;

/// A run that takes so long hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// Nothing that leaves this host, any free port, nobody to ask, no patience.
pub(crate) const NOBODY: [&str; 6] =
    ["--port", "0", "--no-ipv6", "--no-trackers", "--timeout", "0s"];

/// A folder for one attack. The program works in it, its home is the folder `home`.
#[derive(Debug)]
pub(crate) struct Ground {
    dir: TempDir,
}

/// What a run left.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ran {
    /// The innermost cause that a person is told of.
    pub(crate) fn cause(&self) -> &str {
        let mut causes = self.err.lines().filter_map(|line| line.strip_prefix("  because: "));
        causes.next_back().unwrap_or_default()
    }

    /// Ended with this code and this innermost cause, in a few lines that are fit for a terminal.
    pub(crate) fn expect_refusal(&self, code: i32, cause: &str) {
        assert_eq!((self.code, self.cause()), (code, cause), "{}", self.err);
        let sentences = self.err.lines().filter(|line| line.starts_with("error: ")).count();
        assert_eq!(sentences, 1, "one sentence, not {}", self.err);
        assert!(self.err.lines().count() <= 5, "{}", self.err);
        self.expect_printable();
    }

    /// Nothing it wrote does anything to a terminal.
    pub(crate) fn expect_printable(&self) {
        let harmful = |c: char| c.is_control() && !"\n\t".contains(c);
        for text in [&self.out, &self.err] {
            assert!(!text.contains(harmful), "{}", text.escape_debug());
            assert!(!text.contains("panicked"), "{text}");
        }
    }
}

impl Ground {
    pub(crate) fn new() -> Self {
        let ground = Ground { dir: tempfile::tempdir().expect("a folder") };
        // What an attack could be after.
        ground.write("around/secret", "somebody's");
        ground.write("secret", "somebody's");
        fs::create_dir(ground.path("around/empty")).expect("made");
        ground
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("below the folder")).expect("made");
        fs::write(path, content).expect("written");
    }

    /// A link at `name`, which leads to `to` below this folder.
    pub(crate) fn link(&self, to: &str, name: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("below the folder")).expect("made");
        std::os::unix::fs::symlink(self.path(to), path).expect("linked");
    }

    /// The program within `bound`, with nothing of the user's own settings.
    pub(crate) fn command(&self, bound: Bound, args: &[&str]) -> Command {
        let Bound { memory, seconds, files, file_size } = bound;
        // A write beyond the size of a file is to fail, as on a full disk, not to kill.
        let size = file_size.map(|kib| format!("trap '' XFSZ; ulimit -f {}; ", kib * 2));
        let size = size.unwrap_or_default();
        let script = format!(
            "{size}ulimit -c 0; ulimit -d {}; ulimit -t {seconds}; ulimit -n {files}; exec \"$@\"",
            memory * 1024,
        );
        let mut command = Command::new("sh");
        command.args(["-c", &script, "sh", env!("CARGO_BIN_EXE_downpour")]).args(args);
        for (name, _) in std::env::vars_os() {
            let name_text = name.to_string_lossy();
            if ["DOWNPOUR", "XDG_", "RUST_"].iter().any(|own| name_text.starts_with(own)) {
                command.env_remove(name);
            }
        }
        command.current_dir(self.dir.path()).env("HOME", self.path("home"));
        command.env("DOWNPOUR_NO_UPNP", "true");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs the program to its end.
    pub(crate) fn run(&self, bound: Bound, args: &[&str]) -> Ran {
        to_the_end(self.command(bound, args))
    }

    /// What lies in this folder but for the top-level names `except`: kind, length and content.
    pub(crate) fn look(&self, except: &[&str]) -> BTreeMap<PathBuf, String> {
        let mut seen = BTreeMap::new();
        walk(self.dir.path(), &mut seen);
        let inside = |path: &Path| path.strip_prefix(self.dir.path()).expect("below").to_owned();
        let seen = seen.into_iter().map(|(path, what)| (inside(&path), what));
        seen.filter(|(path, _)| !except.iter().any(|e| path.starts_with(e))).collect()
    }

    /// The paths below `name`, folders too, sorted.
    pub(crate) fn below(&self, name: &str) -> Vec<String> {
        let mut seen = BTreeMap::new();
        walk(&self.path(name), &mut seen);
        let inside = |path: &PathBuf| {
            let path = path.strip_prefix(self.path(name)).expect("below");
            path.to_str().expect("UTF-8").to_owned()
        };
        seen.keys().map(inside).collect()
    }
}

fn walk(dir: &Path, seen: &mut BTreeMap<PathBuf, String>) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    for entry in entries {
        let path = entry.expect("listed").path();
        let facts = path.symlink_metadata().expect("there");
        let what = if facts.is_dir() {
            walk(&path, seen);
            "folder".to_owned()
        } else if facts.is_symlink() {
            format!("link to {}", fs::read_link(&path).expect("a link").display())
        } else if facts.is_file() && facts.len() < 4096 {
            format!("file: {}", fs::read(&path).expect("readable").escape_ascii())
        } else {
            format!("{:?} of {} bytes, {:?}", facts.file_type(), facts.len(), facts.modified().ok())
        };
        seen.insert(path, what);
    }
}

/// A process that is killed when it is dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn to_the_end(mut command: Command) -> Ran {
    let mut running = Running(command.spawn().expect("started"));
    let (out, err) = (running.0.stdout.take(), running.0.stderr.take());
    let (out, err) = (out.expect("piped"), err.expect("piped"));
    let read = |mut from: Box<dyn Read + Send>| {
        let (sender, text) = channel();
        let job = move || {
            let mut bytes = Vec::new();
            let _ = from.read_to_end(&mut bytes);
            let _ = sender.send(String::from_utf8_lossy(&bytes).into_owned());
        };
        thread::Builder::new().spawn(job).expect("a thread");
        text
    };
    let (out, err) = (read(Box::new(out)), read(Box::new(err)));
    let out = out.recv_timeout(PATIENCE).expect("it ends");
    let err = err.recv_timeout(PATIENCE).expect("it ends");
    let status = running.0.wait().expect("waited");
    let code = status.code().unwrap_or_else(|| panic!("{status}: {err}"));
    Ran { code, out, err }
}
