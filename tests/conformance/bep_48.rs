//! BEP 48, *scrape*, as `show --scrape` asks, over HTTP and, as BEP 15 has it, over UDP.
//!
//! Left out: the time after which a silent tracker is given up. The word `announce` is replaced where the
//! last part of the path begins with it, which is the older convention, on purpose; to the letter it might
//! be anywhere in the path.

use serde_json::Value as Json;

use crate::driver::{
    bencode::Value,
    content::Content,
    program::Place,
    tracker::{HttpTracker, UdpTracker, action, connect_reply, u32_at, u64_at, udp_reply},
};

/// What `show --scrape` says of each tracker of `content`.
fn scrape(content: &Content) -> Vec<Json> {
    let place = Place::new();
    place.write("t.torrent", content.torrent());
    let said = place.start(&["show", "t.torrent", "--scrape"]).until("done");
    said["scrape"].as_array().expect("a list").clone()
}

/// The same of its only tracker, as seeds, leeches, completed.
fn counts(content: &Content) -> [Option<u64>; 3] {
    let said = scrape(content);
    assert_eq!(said.len(), 1, "{said:?}");
    ["seeds", "leeches", "completed"].map(|key| said[0][key].as_u64())
}

/// One torrent in `files`.
fn reply(hash: [u8; 20], complete: i64, downloaded: i64, incomplete: i64) -> Vec<u8> {
    let counts = Value::dict([
        ("complete", Value::Int(complete)),
        ("downloaded", Value::Int(downloaded)),
        ("incomplete", Value::Int(incomplete)),
    ]);
    let files = Value::Dict([(hash.to_vec(), counts)].into());
    Value::dict([("files", files)]).write()
}

/// "Locating the string announce in the path section of the announce URL and replacing it with the
/// string scrape", and "there is only one key, the info_hash key"; what else is in the URL stays.
#[test]
fn the_scrape_url_is_that_of_the_announce_with_another_word() {
    let hash = Content::new(1).info_hash();
    for (announce, scraped) in [
        ("/announce", "/scrape?"),
        ("/x/announce", "/x/scrape?"),
        ("/announce.php", "/scrape.php?"),
        ("/announce?key=1%20announce", "/scrape?key=1%20announce&"),
    ] {
        let tracker = HttpTracker::start(move |_| reply(hash, 1, 2, 3));
        let url = format!("http://{}{announce}", tracker.addr);
        let content = Content::new(1).tiers(&[&[&url]]);
        assert_eq!(counts(&content), [Some(1), Some(3), Some(2)]);
        let request = tracker.next();
        let target = format!("{}?{}", request.path, request.query);
        let (start, hash_parameter) = target.split_at(scraped.len());
        assert_eq!(start, scraped);
        assert!(hash_parameter.starts_with("info_hash="), "{target}");
        assert!(!hash_parameter.contains('&'), "{target}");
        assert_eq!(request.get("info_hash").as_deref(), Some(&hash[..]));
        assert_eq!(tracker.asked().len(), 0, "nothing is announced");
    }
}

/// "Performing a scrape request to URLs that are not determined by this method are outside of the scope":
/// a tracker without the word is not asked.
#[test]
fn a_tracker_whose_path_lacks_the_word_is_not_asked() {
    let tracker = HttpTracker::of(&[]);
    let url = format!("http://{}/tracker?announce", tracker.addr);
    let said = scrape(&Content::new(1).tiers(&[&[&url]]));
    assert!(said[0]["error"].is_string(), "{said:?}");
    assert_eq!(tracker.asked().len(), 0);
}

/// `files` is "a dictionary containing [...] the 20-byte string representation of an infohash": others
/// beside it, and keys that are not known, do not matter.
#[test]
fn the_counts_are_those_of_the_torrent_that_was_asked_for() {
    let hash = Content::new(1).info_hash();
    let tracker = HttpTracker::start(move |_| {
        let counts = |n| {
            Value::dict([
                ("complete", Value::Int(n)),
                ("downloaded", Value::Int(n + 1)),
                ("incomplete", Value::Int(n + 2)),
                ("name", Value::bytes("x")),
            ])
        };
        let files =
            [(vec![0; 20], counts(10)), (hash.to_vec(), counts(20)), (vec![255; 20], counts(30))];
        let flags = Value::dict([("min_request_interval", Value::Int(900))]);
        Value::dict([("files", Value::Dict(files.into())), ("flags", flags)]).write()
    });
    assert_eq!(counts(&Content::new(1).tiers(&[&[&tracker.url]])), [Some(20), Some(22), Some(21)]);
}

/// A torrent that is not in `files` is not known there.
#[test]
fn a_torrent_that_is_not_in_the_reply_has_no_counts() {
    let tracker = HttpTracker::start(|_| reply([1; 20], 1, 2, 3));
    let said = scrape(&Content::new(1).tiers(&[&[&tracker.url]]));
    assert!(said[0]["error"].is_string() && said[0]["seeds"].is_null(), "{said:?}");
}

/// "The response to an unsuccessful request is a bencoded dictionary with the key failure reason".
#[test]
fn a_failure_reason_is_shown() {
    let tracker = HttpTracker::start(|_| {
        Value::dict([("failure reason", Value::bytes("scrapes are off"))]).write()
    });
    let said = scrape(&Content::new(1).tiers(&[&[&tracker.url]]));
    let error = said[0]["error"].as_str().expect("a text");
    assert!(error.contains("scrapes are off"), "{error}");
}

/// Every tracker of every tier is asked, and none stands for another.
#[test]
fn every_tracker_is_asked() {
    let hash = Content::new(1).info_hash();
    let three = [1, 2, 3].map(|n| HttpTracker::start(move |_| reply(hash, n, 0, 0)));
    let tiers: [&[&str]; 2] = [&[&three[0].url, &three[1].url], &[&three[2].url]];
    let said = scrape(&Content::new(1).tiers(&tiers));
    let seeds: Vec<_> = said.iter().map(|line| line["seeds"].as_u64()).collect();
    assert_eq!(seeds, [Some(1), Some(2), Some(3)]);
}

/// BEP 15, "scrape request: connection_id, action 2, transaction_id, info_hash"; "scrape response:
/// seeders, completed, leechers". Replies with another transaction are ignored.
#[test]
fn over_udp_the_counts_come_as_three_numbers() {
    let tracker = UdpTracker::start(|datagram| {
        let numbers =
            |list: [u32; 3]| list.iter().flat_map(|n| n.to_be_bytes()).collect::<Vec<_>>();
        let mut forged = datagram.to_vec();
        forged[12] ^= 1;
        match action(datagram) {
            0 => vec![connect_reply(datagram, 0x0102_0304_0506_0708)],
            _ => vec![
                udp_reply(2, &forged, &numbers([9, 9, 9])),
                udp_reply(2, datagram, &numbers([7, 8, 70_000])),
            ],
        }
    });
    let content = Content::new(1).tiers(&[&[&tracker.url]]);
    assert_eq!(counts(&content), [Some(7), Some(70_000), Some(8)]);
    let (connect, scrape) = (tracker.next(), tracker.next());
    assert_eq!(action(&connect), 0);
    assert_eq!(scrape.len(), 36);
    assert_eq!(u64_at(&scrape, 0), 0x0102_0304_0506_0708);
    assert_eq!(u32_at(&scrape, 8), 2);
    assert_eq!(scrape[16..], content.info_hash());
    assert_eq!(tracker.asked().len(), 0, "nothing is announced");
}

/// BEP 15: "if the tracker encounters an error, it might send an error packet."
#[test]
fn over_udp_an_error_is_shown() {
    let tracker = UdpTracker::start(|datagram| match action(datagram) {
        0 => vec![connect_reply(datagram, 7)],
        _ => vec![udp_reply(3, datagram, b"scrapes are off")],
    });
    let said = scrape(&Content::new(1).tiers(&[&[&tracker.url]]));
    let error = said[0]["error"].as_str().expect("a text");
    assert!(error.contains("scrapes are off"), "{error}");
}

/// Asked of the embedded tracker over both protocols, with a seed that has announced.
#[test]
fn the_embedded_tracker_and_the_client_agree() {
    let place = Place::new();
    let (_program, tracker) = place.tracker(&[]);
    let urls = [format!("http://{tracker}/announce"), format!("udp://{tracker}/announce")];
    let content = Content::new(1).tiers(&[&[&urls[0]], &[&urls[1]]]);
    for (port, left) in [(1001, 0), (1002, 5), (1003, 5)] {
        let more = format!("&left={left}");
        crate::driver::ask::http_announce(tracker, content.info_hash(), port, &more);
    }
    for line in scrape(&content) {
        let counts = ["seeds", "leeches", "completed"].map(|key| line[key].as_u64());
        assert_eq!(counts, [Some(1), Some(2), Some(0)], "{line}");
    }
}
