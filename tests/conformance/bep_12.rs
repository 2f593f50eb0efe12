//! BEP 12, *multitracker metadata extension*: which of the trackers of `announce-list` is asked, and
//! after which.
//!
//! Public torrents use a tracker of each tier at the same time, on purpose, as widespread clients do; to
//! the letter the order is that of private torrents, and it is those that are looked at here.
//! Left out: that the order within a tier is random, and that a tracker which answered stays in front of
//! those that had failed once they are tried again (ten seconds at least).

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use crate::driver::{
    bencode::Value,
    content::Content,
    peer::{Hello, Listener, Message, PLAIN},
    program::{Place, Program},
    tracker::{HttpTracker, UdpTracker, compact},
};

/// Who was asked, in order: the tracker's name and the event.
type Log = Arc<Mutex<Vec<(&'static str, String)>>>;

/// A tracker that writes into `log`, warns with each reply, and refuses while `refuses` says so of what is there so far.
fn tracker(
    name: &'static str,
    log: &Log,
    peers: &[SocketAddr],
    refuses: impl Fn(&[(&'static str, String)]) -> bool + Send + 'static,
) -> HttpTracker {
    let log = log.clone();
    let good = Value::dict([
        ("interval", Value::Int(1800)),
        ("peers", Value::Bytes(compact(peers))),
        ("warning message", Value::bytes("you are listed")),
    ])
    .write();
    HttpTracker::start(move |request| {
        let mut log = log.lock().expect("whole");
        let refused = refuses(&log);
        log.push((name, request.event().to_owned()));
        match refused {
            true => Value::dict([("failure reason", Value::bytes("not now"))]).write(),
            false => good.clone(),
        }
    })
}

fn names(log: &Log) -> Vec<&'static str> {
    log.lock().expect("whole").iter().map(|(name, _)| *name).collect()
}

/// Nobody listens there, and no test is given that port.
const DEAD: &str = "http://127.0.0.1:1/announce";

/// Ends the program; every announce it makes then has been made.
fn stop(program: Program) {
    program.signal("-INT");
    program.end();
}

/// "If the announce-list key is present, the client will ignore the announce key and only use the URLs
/// in announce-list."
#[test]
fn announce_is_ignored_beside_announce_list() {
    let (place, content) = (Place::new(), Content::new(1));
    let (lone, listed) = (HttpTracker::of(&[]), HttpTracker::of(&[]));
    // In front of the info dictionary of a torrent without trackers.
    let torrent = content.torrent();
    let info = torrent.strip_prefix(b"d").expect("a dictionary");
    let entries = [
        Value::bytes("announce").write(),
        Value::bytes(&lone.url).write(),
        Value::bytes("announce-list").write(),
        Value::List(vec![Value::List(vec![Value::bytes(&listed.url)])]).write(),
    ];
    place.write("both.torrent", [b"d", &entries.concat()[..], info].concat());
    let args = ["download", "both.torrent", "-o", "out", "--port", "0", "--no-ipv6"];
    let program = place.start(&args);
    assert_eq!(listed.next().event(), "started");
    stop(program);
    assert_eq!(lone.asked().len(), 0);
}

/// "The tiers of announces will be processed sequentially": with [ [tracker1], [backup1], [backup2] ]
/// backup1 is asked when tracker1 cannot be reached, and backup2 is not.
#[test]
fn a_backup_is_asked_when_the_tier_before_cannot_be_reached() {
    let (place, log) = (Place::new(), Log::default());
    let backups = ["backup1", "backup2"].map(|name| tracker(name, &log, &[], |_| false));
    let tiers: [&[&str]; 3] = [&[DEAD], &[&backups[0].url], &[&backups[1].url]];
    let content = Content::new(1).private().tiers(&tiers);
    let program = place.leech(&content, &[], &[]);
    backups[0].next();
    stop(program);
    assert_eq!(names(&log), ["backup1", "backup1"], "started and stopped");
}

/// While a tier works, the next one is not asked.
#[test]
fn a_backup_is_not_asked_while_the_tier_before_works() {
    let (place, log) = (Place::new(), Log::default());
    let first = tracker("first", &log, &[], |_| false);
    let backup = tracker("backup", &log, &[], |_| false);
    let content = Content::new(1).private().tiers(&[&[&first.url], &[&backup.url]]);
    let program = place.leech(&content, &[], &[]);
    first.next();
    stop(program);
    assert_eq!(names(&log), ["first", "first"], "started and stopped");
}

/// "All URLs in each tier must be checked before the client goes on to the next tier": with
/// [ [ tracker1, tracker2 ], [backup1] ] "both trackers 1 and 2 will be tried [...] (though perhaps in
/// varying order) before the client tries to reach backup1".
#[test]
fn every_tracker_of_a_tier_is_tried_before_the_next_tier() {
    let (place, log) = (Place::new(), Log::default());
    let first = ["tracker1", "tracker2"].map(|name| tracker(name, &log, &[], |_| true));
    let backup = tracker("backup1", &log, &[], |_| false);
    let tiers: [&[&str]; 2] = [&[&first[0].url, &first[1].url], &[&backup.url]];
    let content = Content::new(1).private().tiers(&tiers);
    let program = place.leech(&content, &[], &[]);
    backup.next();
    stop(program);
    let mut tried = names(&log);
    tried[..2].sort_unstable();
    assert_eq!(tried, ["tracker1", "tracker2", "backup1", "backup1"], "the last one is the stop");
}

/// "If tracker1 cannot be reached, try tracker2. [...] From then on, this will be the order the client
/// tries": of three, the last one tried answers, and is the one that hears of everything after that.
#[test]
fn who_answers_is_asked_from_then_on() {
    let (place, log, listener) = (Place::new(), Log::default(), Listener::new());
    let peers = [listener.addr];
    let three = ["a", "b", "c"].map(|name| tracker(name, &log, &peers, |log| log.len() < 2));
    let tier: [&str; 3] = [&three[0].url, &three[1].url, &three[2].url];
    let content = Content::new(1).tiers(&[&tier]);
    let mut program = place.leech(&content, &[], &[]);
    let (mut peer, _) = listener.greet(&Hello::new(&content, PLAIN));
    // It has taken the reply in.
    program.warning("you are listed");
    peer.send_all(&[Message::Bitfield(vec![0x80]), Message::Unchoke]);
    peer.serve(&content, &content.all_blocks());
    assert_eq!(program.end().0, 0);
    let log = log.lock().expect("whole").clone();
    let mut tried: Vec<_> = log[..3].iter().map(|(name, _)| *name).collect();
    tried.sort_unstable();
    assert_eq!(tried, ["a", "b", "c"], "each once");
    let chosen = log[2].0;
    let rest = [(chosen, "completed".to_owned()), (chosen, "stopped".to_owned())];
    assert_eq!(log[3..], rest);
}

/// A tier may mix protocols.
#[test]
fn a_tier_may_hold_trackers_over_http_and_udp() {
    let (place, listener) = (Place::new(), Listener::new());
    let udp = UdpTracker::of(&[listener.addr]);
    let content = Content::new(1).private().tiers(&[&[DEAD, &udp.url]]);
    let _program = place.leech(&content, &[], &[]);
    assert_eq!(listener.accept().read_hello().info_hash, content.info_hash());
}

/// A torrent with `announce` alone, as before this extension.
#[test]
fn announce_alone_is_used() {
    let (place, tracker) = (Place::new(), HttpTracker::of(&[]));
    let content = Content::new(1).tiers(&[&[&tracker.url]]);
    assert!(!content.torrent().windows(13).any(|w| w == b"announce-list"));
    let _program = place.leech(&content, &[], &[]);
    assert_eq!(tracker.next().event(), "started");
}
