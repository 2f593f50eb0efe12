//! What this program was built from and for, as `--version` tells it.
//!
//! The same source makes the same text, but for the hashing, which is that of this processor.

use crate::base::hash::Lanes;

/// The commit, or where the source came from: see `build.rs`.
const COMMIT: &str = env!("BUILD_COMMIT");
/// The target triple.
const TARGET: &str = env!("BUILD_TARGET");

/// The version, and what a report of an error should say besides.
pub(super) fn text() -> String {
    let version = env!("CARGO_PKG_VERSION");
    let profile = if cfg!(debug_assertions) { "with assertions" } else { "release" };
    let lanes: Vec<String> = Lanes::available().map(|lanes| format!("{lanes:?}")).collect();
    let (widest, lanes) = (Lanes::widest(), lanes.join(", "));
    format!(
        "{version}\ncommit   {COMMIT}\ntarget   {TARGET}, {profile}\n\
         hashing  {} pieces side by side ({widest:?} of {lanes})",
        widest.count(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_names_what_matters() {
        let text = text();
        let keys: Vec<_> = text.lines().map(|l| l.split(' ').next().unwrap_or("")).collect();
        assert_eq!(keys, [env!("CARGO_PKG_VERSION"), "commit", "target", "hashing"]);
        assert!(TARGET.contains(std::env::consts::OS), "{TARGET}");
    }
}
