//! State that outlives a run, by the real program: who may have it, and what a kill leaves.

#[path = "../driver/mod.rs"]
mod driver;

use driver::{content::Content, program::Place};

const SEED: [&str; 6] = ["seed", "--port", "0", "--no-ipv6", "--no-trackers", "t.torrent"];

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
