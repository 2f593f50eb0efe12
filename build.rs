//! Tells the program what it is built from and for: `--version` prints it.
//!
//! A commit is looked up only where a release is built from a checkout of this project, or from its package;
//! elsewhere every commit would build everything again. Nothing fails without it, and nothing depends on
//! the time or the place.

use std::{env, fs, path::Path, process::Command};

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let target = env::var("TARGET").unwrap_or_default();
    println!("cargo::rustc-env=BUILD_TARGET={target}");
    let is_release = env::var("PROFILE").is_ok_and(|profile| profile == "release");
    let commit = match is_release {
        true => packaged().or_else(checked_out).unwrap_or_else(|| "unknown".to_owned()),
        false => "not looked up: no release".to_owned(),
    };
    println!("cargo::rustc-env=BUILD_COMMIT={commit}");
}

/// The commit that `cargo package` wrote down.
fn packaged() -> Option<String> {
    let info = fs::read_to_string(".cargo_vcs_info.json").ok()?;
    let (_, rest) = info.split_once("\"sha1\": \"")?;
    let (commit, _) = rest.split_once('"')?;
    let state = if info.contains("\"dirty\": true") { ", changed" } else { "" };
    is_hash(commit).then(|| format!("{commit}{state}"))
}

/// The commit of this folder, if it is a checkout itself and not just below one.
fn checked_out() -> Option<String> {
    if !Path::new(".git").exists() {
        return None;
    }
    // Each commit changes these, and whoever changes a source has not built a commit.
    for file in ["HEAD", "logs/HEAD"] {
        println!("cargo::rerun-if-changed={}", git(&["rev-parse", "--git-path", file])?);
    }
    for source in ["src", "Cargo.toml", "Cargo.lock"] {
        println!("cargo::rerun-if-changed={source}");
    }
    let commit = git(&["rev-parse", "HEAD"])?;
    let changed = git(&["status", "--porcelain", "--untracked-files=no"])?;
    let state = if changed.is_empty() { "" } else { ", changed" };
    is_hash(&commit).then(|| format!("{commit}{state}"))
}

fn is_hash(text: &str) -> bool {
    text.len() >= 40 && text.bytes().all(|b| b.is_ascii_hexdigit())
}

fn git(args: &[&str]) -> Option<String> {
    let output = Command::new("git").args(args).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}
