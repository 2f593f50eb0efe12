//! `--log`: what a real run writes down of what happens, with reasons, and what it never does: keys of
//! trackers, passwords, codes. The same goes for what it tells on standard error and with `--json`.

mod driver;

use std::{
    fs,
    net::TcpListener,
    thread,
    time::{Duration, Instant},
};

use driver::{
    PATIENCE,
    bencode::Value,
    content::Content,
    program::{Place, Program},
    tracker::HttpTracker,
};

/// One line, taken apart.
#[derive(Debug)]
struct Line {
    level: String,
    torrent: String,
    what: String,
    rest: String,
}

/// The lines of the log, each of which has the form that it should have.
fn lines(place: &Place) -> Vec<Line> {
    let text = fs::read_to_string(place.path("log")).unwrap_or_default();
    // The last one may be half written.
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    whole.lines().map(line).collect()
}

fn line(text: &str) -> Line {
    let mut words = text.splitn(5, ' ');
    let mut word = || words.next().unwrap_or_default().to_owned();
    let (time, level, torrent, what, rest) = (word(), word(), word(), word(), word());
    let form: String = time.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    assert_eq!(form, "0000-00-00T00:00:00.000Z", "{text}");
    assert!(["error", "warn", "info", "debug", "trace"].contains(&&*level), "{text}");
    let is_hash = torrent.len() == 8 && torrent.bytes().all(|b| b.is_ascii_hexdigit());
    assert!(torrent == "-" || is_hash, "{text}");
    assert!(what.bytes().all(|b| b.is_ascii_lowercase() || b == b'_') && what.len() > 2, "{text}");
    Line { level, torrent, what, rest }
}

/// The first line of this kind, once it is there.
#[expect(clippy::disallowed_methods, reason = "it waits for another process")]
fn until(place: &Place, what: &str) -> Line {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(line) = lines(place).into_iter().find(|line| line.what == what) {
            return line;
        }
        assert!(Instant::now() < end, "no `{what}` in {:#?}", lines(place));
        thread::sleep(Duration::from_millis(20));
    }
}

fn find<'a>(lines: &'a [Line], what: &str) -> &'a Line {
    let found = lines.iter().find(|line| line.what == what);
    found.unwrap_or_else(|| panic!("no `{what}` in {lines:#?}"))
}

/// Everything that a run has written, its log, objects and talk, as one text.
fn everything(place: &Place, program: Program) -> (i32, String) {
    let (code, objects) = program.end();
    let objects: Vec<String> = objects.iter().map(ToString::to_string).collect();
    let files = ["log", "stderr.txt"].map(|name| fs::read_to_string(place.path(name)));
    (code, files.map(Result::unwrap_or_default).join("\n") + &objects.join("\n"))
}

const LOG: [&str; 4] = ["--log", "log", "--log-level", "trace"];

#[test]
fn what_goes_wrong_is_written_with_its_reason_and_without_secrets() {
    let refusal = [("failure reason", Value::bytes("passkey k3y0k3y0k3y0 is unknown"))];
    let refusal = Value::dict(refusal).write();
    let tracker = HttpTracker::start(move |_| refusal.clone());
    let addr = tracker.addr;
    let url = format!("http://me:passw0rd@{addr}/k3y0k3y0k3y0/announce?authkey=s3cr3ts3cr3t&a=bc");
    // A port that nobody listens on, most likely: the system gives it to nobody else so soon.
    let dead = TcpListener::bind("127.0.0.1:0").and_then(|dead| dead.local_addr()).expect("bound");
    let (place, content) = (Place::new(), Content::new(3));
    let leech = place.leech(&content, &[dead], &[&LOG[..], &["--tracker", &url]].concat());

    let failed = until(&place, "dial_failed");
    assert_eq!((failed.level.as_str(), failed.torrent.len()), ("debug", 8));
    assert_eq!(failed.rest, format!("addr={dead} reason=refused"));
    let failed = until(&place, "tracker_failed");
    assert_eq!(failed.level, "warn");
    let text = format!(
        "tracker={addr} reason=refused text=\"{addr} refused: passkey \u{2026} is unknown\""
    );
    assert_eq!(failed.rest, text);

    leech.signal("-INT");
    let (code, all) = everything(&place, leech);
    assert_eq!(code, 130);
    for secret in ["k3y0k3y0k3y0", "s3cr3ts3cr3t", "passw0rd"] {
        assert!(!all.contains(secret), "{secret} in {all}");
    }
    let lines = lines(&place);
    let (first, last) = (&lines[0], lines.last().expect("lines"));
    assert_eq!((first.what.as_str(), last.what.as_str()), ("start", "end"));
    assert_eq!((last.torrent.as_str(), last.rest.as_str()), ("-", "exit=130"));
}

#[test]
fn a_download_is_written_down_from_the_start_to_the_end() {
    let content = Content::new(3);
    let (source, place) = (Place::new(), Place::new());
    let mut seeder = source.seed(&content, &[]);
    let peer = ([127, 0, 0, 1], seeder.port()).into();
    let (code, _) = place.leech(&content, &[peer], &LOG).end();
    assert_eq!(code, 0);
    let lines = lines(&place);
    for what in ["start", "listening", "added", "checked", "peer_connected", "completed", "end"] {
        find(&lines, what);
    }
    assert!(find(&lines, "added").rest.contains("name=content.bin bytes="), "{lines:#?}");
    let way = format!("addr={peer} way=out encryption=");
    assert!(find(&lines, "peer_connected").rest.starts_with(&way), "{lines:#?}");
    let verified = lines.iter().filter(|line| line.what == "piece_verified").count();
    assert_eq!(verified, 3);
    assert_eq!(lines.iter().filter(|line| line.what == "removed").count(), 1);
    let hash = &find(&lines, "added").torrent;
    assert!(lines.iter().all(|line| line.torrent == "-" || line.torrent == *hash));
}

/// Who reads the logs of both sides can neither fetch what is shared nor find out what it is called there.
#[test]
fn a_code_is_in_no_log() {
    let (sharer, place) = (Place::new(), Place::new());
    sharer.write("secret.bin", vec![7; 100_000]);
    let alone = ["--port", "0", "--no-ipv6"];
    let mut sharing = sharer.start(&[&["share", "secret.bin"], &alone[..], &LOG].concat());
    let shared = sharing.until("shared");
    let (code, hash) = (shared["code"].as_str(), shared["id"].as_str());
    let (code, hash) = (code.expect("a code").to_owned(), hash.expect("a hash").to_owned());
    let peer = format!("127.0.0.1:{}", sharing.port());
    let get = ["get", &code, "-o", "out", "--peer", &peer];
    assert_eq!(place.start(&[&get[..], &alone, &LOG].concat()).end().0, 0);
    sharing.signal("-INT");
    sharing.end();
    for place in [&sharer, &place] {
        assert!(lines(place).iter().any(|line| line.what == "added"));
        for name in ["log", "stderr.txt"] {
            let text = fs::read_to_string(place.path(name)).expect("there");
            assert!(!text.contains(&code) && !text.contains(&hash), "{name}: {text}");
        }
    }
}

#[test]
fn a_log_that_is_full_begins_anew_and_one_that_cannot_be_written_stops_nothing() {
    let (place, content) = (Place::new(), Content::new(1));
    place.write("t.torrent", content.torrent());
    let show = |more: &[&str]| place.start(&[&["show", "t.torrent"], more].concat()).end();
    for _ in 0..4 {
        assert_eq!(show(&["--log", "log", "--log-size", "200"]).0, 0);
    }
    let length = |name| fs::metadata(place.path(name)).map_or(0, |facts| facts.len());
    assert!((1..=200).contains(&length("log")) && (1..=200).contains(&length("log.1")));
    assert_eq!(show(&["--log", "no/such/log"]).0, 6);
    if cfg!(target_os = "linux") {
        let (code, objects) = show(&["--log", "/dev/full"]);
        assert_eq!(code, 0);
        let warnings: Vec<_> = objects.iter().filter(|o| o["event"] == "warning").collect();
        assert!(warnings.len() == 1, "told once: {warnings:?}");
        let message = warnings[0]["message"].to_string();
        assert!(message.contains("the log cannot be written"), "{message}");
    }
}
