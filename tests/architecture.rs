//! The architecture, held by a test: imports point down, pure folders are pure, each dependency has
//! one home, files stay readable. The map in `src/lib.rs` names them all.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// What each module may import of this crate.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("base", &[]),
    ("bencode", &["base"]),
    ("metainfo", &["base", "bencode"]),
    ("mse", &["base"]),
    ("proxy", &["base"]),
    ("why", &["base", "mse"]),
    ("wire", &["base", "bencode"]),
    ("resume", &["base", "bencode", "metainfo"]),
    ("tracker", &["base", "bencode"]),
    ("dht", &["base", "bencode"]),
    ("gateway", &["base"]),
    ("lsd", &["base"]),
    ("webseed", &["base", "metainfo", "wire"]),
    ("pieces", &["base", "metainfo"]),
    ("peer", &["base", "mse", "wire"]),
    ("torrent", &["base", "mse", "wire", "metainfo", "pieces", "peer", "webseed", "why"]),
    (
        "sim",
        &[
            "base", "bencode", "metainfo", "mse", "wire", "resume", "tracker", "dht", "lsd",
            "pieces", "peer", "torrent", "webseed", "why",
        ],
    ),
    ("disk", &["base", "metainfo", "pieces"]),
    ("net", &["base", "mse", "proxy", "wire", "tracker", "dht", "gateway", "lsd", "webseed"]),
    (
        "session",
        &[
            "base", "bencode", "metainfo", "mse", "proxy", "wire", "resume", "tracker", "dht",
            "gateway", "lsd", "pieces", "peer", "torrent", "webseed", "why", "disk", "net",
        ],
    ),
    ("cli", &["base", "metainfo", "session", "sim"]),
];

/// Arrows beyond the table, each with its reason.
const EXCEPTIONS: &[(&str, &str, &str)] = &[(
    "cli",
    "torrent",
    "names of the figures in a snapshot, which the session hands on unchanged",
)];

const PURE: &[&str] = &[
    "base", "bencode", "metainfo", "mse", "proxy", "wire", "resume", "tracker", "dht", "gateway",
    "lsd", "pieces", "peer", "torrent", "webseed", "why", "sim",
];

/// What a pure folder does not name.
const IMPURE: &[&str] = &[
    "tokio::",
    "std::fs",
    "std::thread",
    "std::time::Instant",
    "SystemTime",
    "getrandom",
    "TcpStream",
    "UdpSocket",
    "TcpListener",
    "std::env::var",
    "reqwest",
    "hyper",
];

/// Where each dependency, or call that has one place, may be named.
const HOMES: &[(&str, &[&str])] = &[
    ("sha1::", &["base/hash/"]),
    ("sha2::", &["base/hash/"]),
    ("crypto_bigint", &["mse/keys.rs"]),
    ("rc4::", &["mse/keys.rs"]),
    ("serde_bencode", &["bencode/"]),
    ("flate2", &["session/blocklist.rs"]),
    ("reqwest", &["net/http.rs", "net/http/"]),
    ("hyper", &["net/http_server.rs"]),
    ("clap", &["cli/args/"]),
    ("strsim", &["cli/args/settings.rs"]),
    ("toml::", &["cli/args/settings.rs"]),
    ("indicatif", &["cli/progress/"]),
    ("rustls", &["net/http.rs"]),
    ("roxmltree", &["gateway/igd.rs"]),
    ("simple_dns", &["net/name_service/messages.rs"]),
    // Whatever opens a socket or looks a name up, so that no packet leaves by another way than the user's.
    ("Socket::new(Domain", &["net/sockets.rs"]),
    ("TcpSocket::new", &["net/sockets.rs"]),
    ("TcpListener::bind", &["net/sockets.rs"]),
    ("TcpStream::connect", &["net/sockets.rs"]),
    ("UdpSocket::bind", &["net/sockets.rs"]),
    ("lookup_host", &["net/resolver.rs"]),
    ("to_socket_addrs", &["net/resolver.rs"]),
];

/// Files longer than 600 lines without their tests, each with its reason.
const LONG_FILES: &[(&str, &str)] = &[];
const LONGEST: usize = 600;

/// Files that exist for the tests of their module.
const TEST_ONLY: &[&str] = &[
    "disk/faulty.rs",
    "disk/faulty/contents.rs",
    "disk/sample.rs",
    "metainfo/sample.rs",
    "session/faults.rs",
];

/// Each source file below `src`, as its path there, with its lines before the tests.
fn sources() -> Vec<(String, Vec<String>)> {
    fn walk(dir: &Path, out: &mut Vec<PathBuf>) {
        let mut entries: Vec<_> =
            fs::read_dir(dir).expect("src").map(|e| e.expect("entry").path()).collect();
        entries.sort();
        for path in entries {
            if path.is_dir() {
                walk(&path, out);
            } else if path.extension().is_some_and(|e| e == "rs") {
                out.push(path);
            }
        }
    }
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut paths = Vec::new();
    walk(&src, &mut paths);
    let shipped = |path: &&PathBuf| !TEST_ONLY.iter().any(|t| path.ends_with(t));
    paths
        .iter()
        .filter(shipped)
        .map(|path| {
            let name =
                path.strip_prefix(&src).expect("below src").to_str().expect("utf-8").to_owned();
            let text = fs::read_to_string(path).expect("source");
            let lines =
                text.lines().take_while(|l| *l != "#[cfg(test)]").map(str::to_owned).collect();
            (name, lines)
        })
        .collect()
}

/// The code of a line: no comment.
fn code(line: &str) -> &str {
    line.split("//").next().unwrap_or("")
}

/// Modules of this crate named in a file, by `crate::x`, also in braces over several lines.
fn imports(lines: &[String]) -> Vec<String> {
    let text: String = lines.iter().map(|l| code(l)).collect::<Vec<_>>().join("\n");
    let mut found = Vec::new();
    for (at, _) in text.match_indices("crate::") {
        let rest = &text[at + "crate::".len()..];
        let word = |s: &str| -> String {
            s.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
        };
        if let Some(group) = rest.strip_prefix('{') {
            let mut depth = 0;
            let mut start = true;
            for (i, c) in group.char_indices() {
                match c {
                    '{' => depth += 1,
                    '}' if depth == 0 => break,
                    '}' => depth -= 1,
                    ',' if depth == 0 => start = true,
                    c if start && c.is_alphabetic() => {
                        found.push(word(&group[i..]));
                        start = false;
                    }
                    _ => {}
                }
            }
        } else {
            found.push(word(rest));
        }
    }
    found.sort();
    found.dedup();
    found
}

fn module(file: &str) -> &str {
    file.split(['/', '.']).next().unwrap_or("")
}

#[test]
fn imports_point_down() {
    let mut wrong = Vec::new();
    for (file, lines) in sources() {
        let from = module(&file);
        let Some((_, allowed)) = MAY_IMPORT.iter().find(|(m, _)| *m == from) else {
            assert!(["lib", "main"].contains(&from), "{file} belongs to no module of the table");
            continue;
        };
        for to in imports(&lines) {
            let known = MAY_IMPORT.iter().any(|(m, _)| *m == to);
            let excepted = EXCEPTIONS.iter().any(|(f, t, _)| *f == from && *t == to);
            if known && to != from && !allowed.contains(&to.as_str()) && !excepted {
                wrong.push(format!("{file} imports {to}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn pure_folders_are_pure() {
    let mut wrong = Vec::new();
    for (file, lines) in sources() {
        if !PURE.contains(&module(&file)) {
            continue;
        }
        for (n, line) in lines.iter().enumerate() {
            if let Some(what) = IMPURE.iter().find(|what| code(line).contains(**what)) {
                wrong.push(format!("{file}:{} names {what}", n + 1));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn each_dependency_has_one_home() {
    let mut wrong = Vec::new();
    for (file, lines) in sources() {
        for (n, line) in lines.iter().enumerate() {
            for (dependency, homes) in HOMES {
                let named = code(line).contains(dependency);
                if named && !homes.iter().any(|h| file.starts_with(h)) {
                    wrong.push(format!("{file}:{} names {dependency}", n + 1));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn files_stay_readable_and_say_what_they_are() {
    let mut wrong = Vec::new();
    for (file, lines) in sources() {
        if lines.len() > LONGEST && !LONG_FILES.iter().any(|(f, _)| *f == file) {
            wrong.push(format!("{file} has {} lines before its tests", lines.len()));
        }
        if !lines.first().is_some_and(|l| l.starts_with("//!")) {
            wrong.push(format!("{file} does not say what it is for"));
        }
    }
    for (file, _) in LONG_FILES {
        assert!(sources().iter().any(|(f, _)| f == file), "{file} is excused but does not exist");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What is between backticks in a text.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// Each row of what is bounded names bounds, and files in which they are tested; a path without a folder is
/// beside the one before it.
#[test]
fn what_is_bounded_names_bounds_and_tests_that_are_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(root.join("SECURITY.md")).expect("SECURITY.md");
    let section = text.split("\n## ").find(|section| section.starts_with("What is bounded"));
    let rows = section.expect("it is there").lines().filter(|line| line.starts_with("| "));
    let rows: Vec<Vec<&str>> = rows.skip(1).map(|row| row.split(" | ").collect()).collect();
    assert!(rows.len() > 20, "{} rows", rows.len());
    let code: String = sources().into_iter().flat_map(|(_, lines)| lines).collect();
    for row in rows {
        let [_, bounds, tests] = row[..] else { panic!("{row:?}") };
        for bound in quoted(bounds).filter(|bound| !bound.starts_with("--")) {
            let kinds = ["const", "struct", "pub"].map(|kind| format!("{kind} {bound}"));
            assert!(kinds.iter().any(|kind| code.contains(kind)), "{bound} is no bound");
        }
        let mut folder = root.to_owned();
        for test in quoted(tests) {
            let path = if test.contains('/') { root.join(test) } else { folder.join(test) };
            let text = fs::read_to_string(&path).unwrap_or_else(|_| panic!("{test} is not there"));
            let tests = ["#[test]", "#[tokio::test", "proptest!", "fuzz_target!"];
            assert!(tests.iter().any(|kind| text.contains(kind)), "{test} tests nothing");
            folder = path.parent().expect("in a folder").to_owned();
        }
    }
}

#[test]
fn the_map_names_every_module() {
    let lib = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs"))
        .expect("lib.rs");
    for (module, _) in MAY_IMPORT {
        let declared = lib.contains(&format!("pub mod {module};"));
        let mapped = lib.contains(&format!("| [`{module}`] |"));
        assert_eq!(declared, mapped, "{module}: the map and the modules differ");
    }
}
