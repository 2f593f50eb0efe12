//! State that outlives a run, and the data it is of, by the real program: who may have them, what a kill leaves, what is
//! said when they are not there, and why nothing happens.

#[path = "../driver/mod.rs"]
mod driver;

use std::{
    collections::BTreeSet,
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener},
};

use driver::{PATIENCE, content::Content, program::Place};

const SEED: [&str; 6] = ["seed", "--port", "0", "--no-ipv6", "--no-trackers", "t.torrent"];

/// A port at which nobody listens.
fn nobody() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    listener.local_addr().expect("bound")
}

/// What a torrent is called with `--json`.
fn id(content: &Content) -> String {
    content.info_hash().iter().map(|byte| format!("{byte:02x}")).collect()
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

/// The locks of a run that has very many are not all open files; those of the second one were free.
#[test]
fn the_second_run_of_very_many_torrents_has_none_of_them() {
    const MANY: usize = 140;
    let place = Place::new();
    let mut args = SEED[..5].to_vec();
    let names: Vec<String> = (0..MANY).map(|n| format!("{n}.torrent")).collect();
    for (n, name) in names.iter().enumerate() {
        let content = Content::new(1).named(&format!("{n}.bin"));
        place.write(&content.name, &content.bytes);
        place.write(name, content.torrent());
        args.push(name);
    }
    let mut first = place.start(&args);
    let mut seeding = BTreeSet::new();
    while seeding.len() < MANY {
        let is_seeding =
            |o: &serde_json::Value| o["event"] == "progress" && o["stage"] == "seeding";
        seeding.insert(first.wait("seeding", is_seeding)["id"].to_string());
    }
    let (code, objects) = place.start(&[&args[..], &["--seed-time", "0s"]].concat()).end();
    let owner = format!("another run of the program (process {}) has it", first.id());
    let is_refused =
        |o: &&serde_json::Value| o["event"] == "error" && o.to_string().contains(&owner);
    assert_eq!(objects.iter().filter(is_refused).count(), MANY, "{objects:?}");
    assert_eq!(code, 7);
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

#[test]
fn missing_storage_is_told_once_and_so_is_its_return() {
    let place = Place::new();
    let content = Content::new(3);
    let mut seeder = place.seed(&content, &[]);
    seeder.signal("-INT");
    assert_eq!(seeder.end().0, 0);
    // Its folder is there.
    let (data, away) = (place.path(&content.name), place.path("away"));
    fs::rename(&data, &away).expect("moved");
    seeder = place.start(&SEED);
    let warning = seeder.warning("goes on by itself");
    assert!(warning.contains("nothing of it is left") && !warning.contains("--force"), "{warning}");
    seeder.wait("stopped", |o| o["event"] == "progress" && o["stage"] == "stopped");
    fs::rename(&away, &data).expect("moved back");
    let back = seeder.until("storage_back");
    assert_eq!(back["id"], id(&content), "{back}");
    seeder.wait("seeding", |o| o["event"] == "progress" && o["stage"] == "seeding");
    seeder.signal("-INT");
    let (code, rest) = seeder.end();
    assert_eq!(code, 0);
    assert!(rest.iter().all(|o| o["event"] != "warning"), "{rest:?}");

    // Whoever does not wait for ever is told why, and how to begin anew.
    fs::rename(&data, &away).expect("moved");
    let mut args = SEED.to_vec();
    args[0] = "download";
    let (code, objects) = place.start(&[&args[..], &["--timeout", "500ms"]].concat()).end();
    assert_eq!(code, 6, "{objects:?}");
    let last = objects.last().expect("an error");
    assert_eq!(last["causes"][0], "the storage is not there", "{last}");
    assert!(last["remedy"].as_str().is_some_and(|r| r.contains("--force")), "{last}");
    assert!(!data.exists(), "nothing is made in its place");
}

/// Ten seconds of the clock, however many more it takes to come.
#[test]
fn after_ten_seconds_without_progress_all_causes_are_told() {
    let place = Place::new();
    let content = Content::new(3);
    let mut leecher = place.leech(&content, &[nobody()], &[]);
    let why = leecher.wait_for(3 * PATIENCE, "why", |o| o["event"] == "why");
    let first = &why["causes"][0];
    assert_eq!((&why["id"], &first["cause"]), (&id(&content).into(), &"unreachable".into()));
    for key in ["line", "evidence", "remedy"] {
        assert!(first[key].as_str().is_some_and(|text| !text.is_empty()), "{key}: {why}");
    }
    // The second line of a bar says the same.
    let waits = |o: &serde_json::Value| o["event"] == "progress" && o["waiting"] == first["line"];
    leecher.wait_for(3 * PATIENCE, "waiting", waits);
}
