//! State that outlives a run, and the data it is of, by the real program: who may have them, and what a kill leaves.

#[path = "../driver/mod.rs"]
mod driver;

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener},
};

use driver::{content::Content, program::Place};

const SEED: [&str; 6] = ["seed", "--port", "0", "--no-ipv6", "--no-trackers", "t.torrent"];

/// A port at which nobody listens.
fn nobody() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    listener.local_addr().expect("bound")
}

/// What a run says that is refused, and its exit code.
fn refused(place: &Place, args: &[&str]) -> (i32, String) {
    let (code, objects) = place.start(args).end();
    let error = objects.iter().find(|o| o["event"] == "error").expect("an error");
    (code, error.to_string())
}

#[test]
fn the_second_run_of_a_torrent_says_who_has_it_and_leaves() {
    let place = Place::new();
    let content = Content::new(3);
    let first = place.seed(&content, &[]);
    let (code, said) = refused(&place, &SEED);
    assert_eq!(code, 7, "{said}");
    let owner = format!("another run of the program (process {}) has it", first.id());
    assert!(said.contains(&owner), "{said}");
    // Another torrent is kept in the same folder meanwhile.
    let other = Content::new(2).named("other.bin");
    place.write(&other.name, &other.bytes);
    place.write("other.torrent", other.torrent());
    let args = [&SEED[..5], &["other.torrent", "--seed-time", "0s"]].concat();
    let (code, objects) = place.start(&args).end();
    assert_eq!(code, 0, "{objects:?}");
    // What a kill leaves is nobody's.
    drop(first);
    let (code, objects) = place.start(&[&SEED[..], &["--seed-time", "0s"]].concat()).end();
    assert_eq!(code, 0, "{objects:?}");
    let left = place.path(".local/state/downpour/resume");
    let locks = std::fs::read_dir(left).expect("a folder").filter(|entry| {
        let path = entry.as_ref().expect("an entry").path();
        path.extension().is_some_and(|extension| extension == "lock")
    });
    assert_eq!(locks.count(), 0, "an orderly end takes its lock away");
}

/// The state is one thing, the data another.
#[cfg(target_os = "linux")]
#[test]
fn two_runs_with_states_of_their_own_are_kept_from_one_another_s_data() {
    let place = Place::new();
    let content = Content::new(3);
    let first = place.seed(&content, &["--state-dir", "first"]);
    std::os::unix::fs::symlink(place.path("."), place.path("link")).expect("linked");
    let owner = format!("another run of the program (process {}) has it", first.id());
    let seeds_elsewhere = [&SEED[..], &["--state-dir", "second", "--data", "link"]].concat();
    let mut fetches = SEED.to_vec();
    fetches[0] = "download";
    for args in [&seeds_elsewhere, &[&fetches[..], &["--state-dir", "third"]].concat()] {
        let (code, said) = refused(&place, args);
        assert_eq!(code, 7, "{said}");
        assert!(said.contains(&owner) && said.contains("End that run first"), "{said}");
    }
    let files = fs::read_dir(place.path(".")).expect("a folder").count();
    drop(first);
    // What a kill leaves is nobody's, and nothing lies among the data.
    let (code, objects) =
        place.start(&[&seeds_elsewhere[..], &["--seed-time", "0s"]].concat()).end();
    assert_eq!(code, 0, "{objects:?}");
    assert_eq!(fs::read_dir(place.path(".")).expect("a folder").count(), files);
}

#[cfg(target_os = "linux")]
#[test]
fn two_downloads_that_have_nothing_yet_are_kept_apart_too() {
    let place = Place::new();
    let content = Content::new(3);
    let mut first = place.leech(&content, &[nobody()], &["--state-dir", "first"]);
    first.wait("downloading", |o| o["stage"] == "downloading");
    let args = ["download", "t.torrent", "-o", "out", "--port", "0", "--state-dir", "second"];
    let (code, said) = refused(&place, &args);
    assert_eq!(code, 7, "{said}");
    assert!(said.contains(&format!("process {}", first.id())), "{said}");
}
