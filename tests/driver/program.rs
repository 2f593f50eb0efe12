//! The real program, in a folder of its own, with `--json`.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value as Json;
use tempfile::TempDir;

use super::{PATIENCE, content::Content};

/// A folder with the program in front of it.
#[derive(Debug)]
pub(crate) struct Place {
    dir: TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        Place { dir: tempfile::tempdir().expect("a folder") }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("below the folder")).expect("made");
        fs::write(path, bytes).expect("written");
    }

    /// Starts the program with these arguments and `--json`, and nothing of the user's own settings.
    pub(crate) fn start(&self, args: &[&str]) -> Program {
        let mut command = Command::new(env!("CARGO_BIN_EXE_downpour"));
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("DOWNPOUR") {
                command.env_remove(name);
            }
        }
        let home = self.dir.path();
        let talk = self.path("stderr.txt");
        let file = fs::File::options().create(true).append(true).open(&talk).expect("a file");
        command.args(args).arg("--json").current_dir(home).env("HOME", home);
        command.env_remove("XDG_CONFIG_HOME").env_remove("XDG_STATE_HOME");
        command.env("DOWNPOUR_NO_LSD", "true").env("DOWNPOUR_NO_UPNP", "true");
        if !args.contains(&"--dht-bootstrap") {
            // Nothing leaves this machine.
            command.env("DOWNPOUR_NO_DHT", "true");
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(file);
        let mut child = command.spawn().expect("started");
        let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let (sender, objects) = channel();
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let object = serde_json::from_str(&line).unwrap_or(Json::String(line));
                if sender.send(object).is_err() {
                    break;
                }
            }
        });
        Program { child, objects, port: None, dht_port: None, talk }
    }

    /// `seed` of all of `content`, ready to be asked.
    pub(crate) fn seed(&self, content: &Content, args: &[&str]) -> Program {
        self.write(&content.name, &content.bytes);
        self.write("t.torrent", content.torrent());
        self.seeding(&arguments(&["seed", "t.torrent"], content, args))
    }

    /// A `seed` with just these arguments, ready to be asked.
    pub(crate) fn seeding(&self, args: &[&str]) -> Program {
        let mut seeder = self.start(args);
        seeder.port();
        seeder.wait("seeding", |o| o["event"] == "progress" && o["stage"] == "seeding");
        seeder
    }

    /// `download` of `content` into the folder `out`, told of these peers. It may not be ready to be
    /// dialled yet: it is when it has dialled or announced.
    pub(crate) fn leech(&self, content: &Content, peers: &[SocketAddr], args: &[&str]) -> Program {
        self.write("t.torrent", content.torrent());
        let peers: Vec<String> = peers.iter().map(SocketAddr::to_string).collect();
        let mut own = vec!["download", "t.torrent", "-o", "out"];
        peers.iter().for_each(|peer| own.extend(["--peer", peer]));
        let mut leecher = self.start(&arguments(&own, content, args));
        leecher.port();
        leecher
    }

    /// Writes these pieces where [`Place::leech`] looks for them; the others are zeros.
    pub(crate) fn write_part(&self, content: &Content, has: &[u32]) {
        let mut bytes = vec![0; content.bytes.len()];
        for &index in has {
            let start = (index * content.piece_length) as usize;
            let piece = content.piece(index);
            bytes[start..start + piece.len()].copy_from_slice(piece);
        }
        self.write(&format!("out/{}", content.name), bytes);
    }

    /// What a download has written.
    pub(crate) fn downloaded(&self, content: &Content) -> Vec<u8> {
        fs::read(self.path("out").join(&content.name)).expect("it is there")
    }

    /// `tracker` on any free port, with the same number for HTTP and UDP.
    pub(crate) fn tracker(&self, args: &[&str]) -> (Program, SocketAddr) {
        let own = ["tracker", "--listen", "127.0.0.1:0"];
        let mut tracker = self.start(&[&own, args].concat());
        let url = tracker.until("listening")["url"].as_str().expect("a URL").to_owned();
        let addr = url.strip_prefix("http://").and_then(|u| u.strip_suffix("/announce"));
        (tracker, addr.expect("an announce URL").parse().expect("an address"))
    }
}

/// Nothing that leaves this host, any free port, every event.
fn arguments<'a>(own: &[&'a str], content: &Content, more: &[&'a str]) -> Vec<&'a str> {
    let mut args = [own, &["--port", "0", "--no-ipv6", "-v"], more].concat();
    if !content.has_trackers() && !more.contains(&"--tracker") {
        args.push("--no-trackers");
    }
    args
}

/// A run of the program; killed when it is dropped.
#[derive(Debug)]
pub(crate) struct Program {
    child: Child,
    objects: Receiver<Json>,
    port: Option<u16>,
    dht_port: Option<u16>,
    talk: PathBuf,
}

impl Program {
    /// The port on which it takes peers.
    pub(crate) fn port(&mut self) -> u16 {
        if self.port.is_none() {
            let listening = self.until("listening");
            let port = |name| listening[name].as_u64().and_then(|port| u16::try_from(port).ok());
            (self.port, self.dht_port) = (port("port"), port("dht_port"));
        }
        self.port.expect("known by now")
    }

    /// Where its node of the DHT is.
    pub(crate) fn dht(&mut self) -> SocketAddr {
        self.port();
        ([127, 0, 0, 1], self.dht_port.expect("it has a node")).into()
    }

    /// The next object of this event; those before it are passed over.
    pub(crate) fn until(&mut self, event: &str) -> Json {
        self.wait(event, |o| o["event"] == event)
    }

    /// The next object that fits; those before it are passed over.
    pub(crate) fn wait(&mut self, what: &str, fits: impl Fn(&Json) -> bool) -> Json {
        self.wait_for(PATIENCE, what, fits)
    }

    /// The same, for so long.
    pub(crate) fn wait_for(
        &mut self,
        patience: Duration,
        what: &str,
        fits: impl Fn(&Json) -> bool,
    ) -> Json {
        let mut last = Json::Null;
        // It goes on to tell of its progress, whatever is waited for.
        let end = Instant::now() + patience;
        loop {
            match self.objects.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(object) if fits(&object) => return object,
                Ok(object) => last = object,
                Err(error) => panic!("{what}: {error}; last was {last}; {}", self.talk()),
            }
        }
    }

    /// The next warning whose text contains this.
    pub(crate) fn warning(&mut self, text: &str) -> String {
        let fits = |o: &Json| {
            o["event"] == "warning" && o["message"].as_str().is_some_and(|m| m.contains(text))
        };
        self.wait(text, fits)["message"].as_str().expect("a text").to_owned()
    }

    /// What it wrote to standard error so far.
    pub(crate) fn talk(&self) -> String {
        fs::read_to_string(&self.talk).unwrap_or_default()
    }

    /// The number of its process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it still runs.
    pub(crate) fn is_alive(&mut self) -> bool {
        self.child.try_wait().expect("waited").is_none()
    }

    /// The most memory it had at a time, in KiB, its code included. Linux only.
    pub(crate) fn peak_memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let status = status.expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a figure");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    }

    /// Sends a signal, such as `-INT`.
    pub(crate) fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args([signal, &pid]).status().expect("kill");
        assert!(sent.success());
    }

    /// Waits for its end. Gives its exit code, and the objects it wrote until then.
    pub(crate) fn end(mut self) -> (i32, Vec<Json>) {
        let mut rest = Vec::new();
        let end = Instant::now() + PATIENCE;
        loop {
            use std::sync::mpsc::RecvTimeoutError::{Disconnected, Timeout};
            match self.objects.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(object) => rest.push(object),
                Err(Disconnected) => break,
                Err(Timeout) => panic!("it does not end; {} {:?}", self.talk(), rest),
            }
        }
        let status = self.child.wait().expect("waited");
        (status.code().unwrap_or_else(|| panic!("{status}; {}", self.talk())), rest)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
