//! The door of the machine: what is in the way, what is not allowed, what is short, and files that change
//! under our hands. Works as any user; a disk that is really full is in `tests/interop`.

use std::{
    any::Any, fs, net::TcpListener, os::unix::fs::PermissionsExt as _, path::Path,
    process::Command, thread,
};

use crate::{
    bounded::{Ground, NOBODY, Ran},
    bytes::{empty_folder, file, folder},
    driver::{
        content::Content,
        peer::{FAST, Hello, Listener, Message as M, PLAIN, Peer},
        program::Place,
    },
    sources::serve_all,
    table::{Attack, Bound, try_all},
};

/// What a run gets.
enum Gets {
    /// This exit code, and this in its sentences.
    Fails(i32, &'static str),
    /// Exit code 0.
    Works,
    /// Exit code 0, and this in a warning.
    Warns(&'static str),
}
use Gets::{Fails, Warns, Works};

/// Prepares a folder, which has `in.torrent` with one empty file and `data.torrent` with one byte, both
/// at `n/d/f`. Gives the arguments, and what is to be held meanwhile.
type Prepare = fn(&Ground) -> (Vec<String>, Box<dyn Any>);
type Row = Attack<Prepare, Gets>;

const fn row(name: &'static str, input: Prepare, gets: Gets) -> Row {
    Attack::new(name, input, gets)
}

#[test]
fn surroundings() {
    try_all("the machine", rows(), |row| {
        let ground = Ground::new();
        ground.write("in.torrent", empty_folder(&[file("0", &["d", "f"])]));
        ground.write("data.torrent", folder(&[file("1", &["d", "f"])]));
        let content = Content::new(3);
        ground.write(&content.name, &content.bytes);
        ground.write("t.torrent", content.torrent());
        let (args, _held) = (row.input)(&ground);
        let before = ground.look(&["out", "home"]);
        let ran = ground.run(row.bound, &args.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(before, ground.look(&["out", "home"]), "nothing outside is touched");
        ran.expect_printable();
        match row.gets {
            Fails(code, sentence) => {
                assert_eq!(ran.code, code, "{}", ran.err);
                assert!(ran.err.contains(sentence), "{}", ran.err);
                assert_eq!(ran.err.matches("error: ").count(), 1, "{}", ran.err);
            }
            Works => assert_eq!((ran.code, ran.err.contains("warning")), (0, false), "{}", ran.err),
            Warns(sentence) => {
                assert_eq!(ran.code, 0, "{}", ran.err);
                let told = ran.err.lines().any(|l| l.contains("warning: ") && l.contains(sentence));
                assert!(told, "{}", ran.err);
            }
        }
    });
}

fn nothing(args: &[&str]) -> (Vec<String>, Box<dyn Any>) {
    (args.iter().map(|&arg| arg.to_owned()).collect(), Box::new(()))
}

/// Of the torrent into the folder `out`, with nobody to ask.
fn download(torrent: &str) -> (Vec<String>, Box<dyn Any>) {
    nothing(&[&["download", torrent, "-o", "out"], &NOBODY[..]].concat())
}

/// Of the data in the folder.
fn seed(options: &[&str]) -> (Vec<String>, Box<dyn Any>) {
    nothing(&[&["seed", "t.torrent", "--seed-time", "0s"], options, &NOBODY[..]].concat())
}

fn pipe(ground: &Ground, name: &str) {
    let path = ground.path(name);
    fs::create_dir_all(path.parent().expect("below")).expect("made");
    let made = Command::new("mkfifo").arg(path).status().expect("mkfifo");
    assert!(made.success());
}

/// A folder that this user can't write to. For the superuser there is no other than one of the system.
fn locked(ground: &Ground) -> String {
    fs::create_dir(ground.path("locked")).expect("made");
    fs::set_permissions(ground.path("locked"), fs::Permissions::from_mode(0o555)).expect("set");
    match fs::write(ground.path("locked/try"), "") {
        Ok(()) => {
            fs::remove_file(ground.path("locked/try")).expect("there");
            "/proc/self".to_owned()
        }
        Err(_) => "locked".to_owned(),
    }
}

fn files(files: u32) -> Bound {
    Bound { files, ..Bound::SMALL }
}

fn rows() -> Vec<Row> {
    const LINK: &str = "is a symbolic link, and links are not followed";
    const IRREGULAR: &str = "is not a regular file";
    vec![
        row(
            "a link in place of the folder",
            |g| {
                g.link("around", "out/n");
                download("in.torrent")
            },
            Fails(6, LINK),
        ),
        row(
            "a link in place of an inner folder",
            |g| {
                g.link("around", "out/n/d");
                download("in.torrent")
            },
            Fails(6, LINK),
        ),
        row(
            "a link in place of the file",
            |g| {
                g.link("secret", "out/n/d/f");
                download("in.torrent")
            },
            Fails(6, LINK),
        ),
        row(
            "a link to nowhere in place of the file",
            |g| {
                g.link("around/new", "out/n/d/f");
                download("in.torrent")
            },
            Fails(6, LINK),
        ),
        row(
            "a link in place of a file with content",
            |g| {
                g.link("secret", "out/n/d/f");
                download("data.torrent")
            },
            Fails(6, LINK),
        ),
        row(
            "a link in place of a file, by force",
            |g| {
                g.link("secret", "out/n/d/f");
                let (mut args, held) = download("data.torrent");
                args.push("--force".to_owned());
                (args, held)
            },
            Fails(6, LINK),
        ),
        row(
            "a link in place of what is seeded",
            |g| {
                fs::rename(g.path("content.bin"), g.path("elsewhere")).expect("moved");
                g.link("elsewhere", "content.bin");
                seed(&[])
            },
            Fails(6, LINK),
        ),
        row(
            "the output folder itself is a link",
            |g| {
                fs::create_dir(g.path("out")).expect("made");
                g.link("out", "home/out");
                nothing(&[&["download", "in.torrent", "-o", "home/out"], &NOBODY[..]].concat())
            },
            Works,
        ),
        row(
            "a folder in place of the file",
            |g| {
                fs::create_dir_all(g.path("out/n/d/f")).expect("made");
                download("in.torrent")
            },
            Fails(6, IRREGULAR),
        ),
        row(
            "a pipe in place of the file",
            |g| {
                pipe(g, "out/n/d/f");
                download("data.torrent")
            },
            Fails(6, IRREGULAR),
        ),
        row(
            "a pipe in place of what is seeded",
            |g| {
                fs::remove_file(g.path("content.bin")).expect("there");
                pipe(g, "content.bin");
                seed(&[])
            },
            Fails(6, IRREGULAR),
        ),
        row(
            "a file in place of a folder",
            |g| {
                g.write("out/n/d", "somebody's");
                download("in.torrent")
            },
            Fails(6, "`d` is not a folder"),
        ),
        row(
            "a file in place of the output folder",
            |g| {
                g.write("out", "somebody's");
                download("in.torrent")
            },
            Fails(6, "`out` is not a folder"),
        ),
        row(
            "a longer file",
            |g| {
                g.write("out/n/d/f", "longer");
                download("data.torrent")
            },
            Fails(7, "--force"),
        ),
        row(
            "a folder that must not be written to",
            |g| {
                let out = locked(g);
                nothing(&[&["download", "in.torrent", "-o", &out], &NOBODY[..]].concat())
            },
            Fails(6, "could not write into `"),
        ),
        row(
            "a folder that must not be written to, for content",
            |g| {
                let out = locked(g);
                nothing(&[&["download", "data.torrent", "-o", &out], &NOBODY[..]].concat())
            },
            Fails(6, "could not write into `"),
        ),
        row(
            "a state folder that must not be written to",
            |g| {
                let state = locked(g);
                seed(&["--state-dir", &format!("{state}/state")])
            },
            Fails(6, "could not create the folder `"),
        ),
        row("no room for the state", |_| seed(&[]), Warns("could not write `"))
            .within(Bound { file_size: Some(0), ..Bound::SMALL }),
        row(
            "no room for a new torrent",
            |_| nothing(&["create", "content.bin", "--output", "out.torrent"]),
            Fails(6, "could not write `out.torrent`"),
        )
        .within(Bound { file_size: Some(0), ..Bound::SMALL }),
        row(
            "a port that is taken",
            |_| {
                let listener = TcpListener::bind("0.0.0.0:0").expect("listening");
                let port = listener.local_addr().expect("bound").port().to_string();
                let args = ["seed", "t.torrent", "--port", &port, "--no-ipv6", "--no-trackers"];
                (nothing(&args).0, Box::new(listener))
            },
            Fails(4, "is in use by another program\n  Choose another with --port"),
        ),
        row(
            "a port that is taken, for the tracker",
            |_| {
                let listener = TcpListener::bind("127.0.0.1:0").expect("listening");
                let addr = listener.local_addr().expect("bound").to_string();
                (nothing(&["tracker", "--listen", &addr]).0, Box::new(listener))
            },
            Fails(4, "Choose another address with --listen"),
        ),
        row(
            "a datagram port that is taken, for the tracker",
            |_| {
                let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("bound");
                let addr = socket.local_addr().expect("bound").to_string();
                (nothing(&["tracker", "--listen", &addr]).0, Box::new(socket))
            },
            Fails(4, "Choose another address with --listen"),
        ),
        row("6 descriptors", |_| nothing(&["show", "t.torrent"]), Fails(1, "could not start"))
            .within(files(6)),
        row("8 descriptors", |_| nothing(&["show", "t.torrent"]), Fails(1, "could not start"))
            .within(files(8)),
        row("12 descriptors to seed with", |_| seed(&[]), Fails(1, "ulimit -n")).within(files(12)),
        row("26 descriptors to seed with", |_| seed(&[]), Works).within(files(26)),
        row(
            "an endless torrent",
            |_| nothing(&["show", "/dev/zero"]),
            Fails(3, "larger than any torrent file (64 MiB)"),
        )
        .within(Bound::SMALL.memory(160)),
        row(
            "an endless configuration",
            |_| nothing(&["show", "t.torrent", "--config", "/dev/zero"]),
            Fails(3, "larger than any configuration"),
        )
        .within(Bound::SMALL.memory(160)),
        row("endless certificates", |_| seed(&["--ca-file", "/dev/zero"]), Fails(3, "/dev/zero"))
            .within(Bound::SMALL.memory(160)),
        row(
            "nesting in the configuration",
            |g| {
                g.write("c.toml", format!("port = {}", "[".repeat(100_000)));
                nothing(&["show", "t.torrent", "--config", "c.toml"])
            },
            Fails(3, "could not read the configuration `c.toml`"),
        ),
        row(
            "a configuration that is no text",
            |g| {
                g.write("c.toml", [0xff; 100]);
                nothing(&["show", "t.torrent", "--config", "c.toml"])
            },
            Fails(3, "could not read the configuration `c.toml`"),
        ),
        row(
            "a torrent that is a link to itself",
            |g| {
                g.link("loop", "loop");
                nothing(&["show", "loop"])
            },
            Fails(3, "could not read `loop`"),
        ),
        row(
            "a new torrent of a link to itself",
            |g| {
                g.link("loop", "loop");
                nothing(&["create", "loop", "--dry-run"])
            },
            Fails(3, "`loop`"),
        ),
        row(
            "a new torrent of links and pipes",
            |g| {
                g.write("share/f", "f");
                g.link("share", "share/up");
                g.link("secret", "share/secret");
                pipe(g, "share/pipe");
                nothing(&["create", "share", "--dry-run"])
            },
            Warns("left out: `share/up` is not a file or folder"),
        ),
    ]
}

/// A download of `content` into `out` from one good peer.
fn fetch(ground: &Ground, content: &Content, bound: Bound) -> Ran {
    let good = Listener::new();
    ground.write("t.torrent", content.torrent());
    let peer = good.addr.to_string();
    let args = ["download", "t.torrent", "-o", "out", "--peer", &peer, "--port", "0", "--no-ipv6"];
    thread::scope(|scope| {
        scope.spawn(move || serve_all(&good, content));
        ground.run(bound, &[&args[..], &["--no-trackers"]].concat())
    })
}

#[test]
fn a_disk_without_room_is_told_and_the_next_run_goes_on() {
    let (ground, content) = (Ground::new(), Content::new(8));
    let ran = fetch(&ground, &content, Bound { file_size: Some(64), ..Bound::SMALL });
    assert_eq!(ran.code, 6, "{}", ran.err);
    assert!(ran.err.contains("`content.bin`") && ran.err.contains("File too large"), "{}", ran.err);
    let ran = fetch(&ground, &content, Bound::SMALL);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(fs::read(ground.path("out/content.bin")).expect("there") == content.bytes);
}

#[test]
fn few_descriptors_are_enough_for_a_download() {
    let (ground, content) = (Ground::new(), Content::new(4));
    let ran = fetch(&ground, &content, files(24));
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(fs::read(ground.path("out/content.bin")).expect("there") == content.bytes);
}

/// What happens to a file that is served.
type Change = Attack<fn(&Path, &Content), ()>;

#[test]
fn files_that_change_while_they_are_served() {
    let rows: Vec<Change> = vec![
        Attack::new("shortened", |path, _| open(path).set_len(40_000).expect("cut"), ()),
        Attack::new("emptied", |path, _| open(path).set_len(0).expect("cut"), ()),
        Attack::new("removed", |path, _| fs::remove_file(path).expect("there"), ()),
        Attack::new(
            "replaced",
            |path, content| {
                fs::remove_file(path).expect("there");
                fs::write(path, vec![7; content.bytes.len()]).expect("written");
            },
            (),
        ),
        Attack::new(
            "replaced by a folder",
            |path, _| {
                fs::remove_file(path).expect("there");
                fs::create_dir(path).expect("made");
            },
            (),
        ),
        Attack::new(
            "replaced by a link",
            |path, _| {
                fs::rename(path, path.with_extension("other")).expect("moved");
                std::os::unix::fs::symlink("/dev/zero", path).expect("linked");
            },
            (),
        ),
        Attack::new("made longer", |path, _| open(path).set_len(1 << 30).expect("set"), ()),
        Attack::new(
            "locked",
            |path, _| {
                fs::set_permissions(path, fs::Permissions::from_mode(0o000)).expect("set");
            },
            (),
        ),
    ];
    try_all("files that are served", rows, |row| {
        let (place, content) = (Place::new(), Content::new(6));
        let mut seed = place.seed(&content, &[]);
        let (mut peer, _) = Peer::connect(seed.port(), &Hello::new(&content, FAST).by(1));
        peer.send(M::Interested);
        peer.expect(&M::Unchoke);
        (row.input)(&place.path(&content.name), &content);
        // Right bytes or none, and an answer to each.
        for asked in content.all_blocks() {
            peer.send(M::Request(asked.0, asked.1, asked.2));
            let answers = |m: &M| matches!(m, M::Piece(..) | M::Reject(..));
            match peer.read_until(answers).0 {
                M::Reject(index, begin, length) => assert_eq!((index, begin, length), asked),
                piece => assert!(piece == M::block(&content, asked), "wrong bytes of {asked:?}"),
            }
        }
        // Others are still welcome.
        let (_, theirs) = Peer::connect(seed.port(), &Hello::new(&content, PLAIN).by(2));
        assert_eq!(theirs.info_hash, content.info_hash());
        assert!(seed.is_alive(), "{}", seed.talk());
        seed.signal("-INT");
        assert_eq!(seed.end().0, 0);
    });
}

fn open(path: &Path) -> fs::File {
    fs::File::options().write(true).open(path).expect("opens")
}
