//! Which file names a torrent may use, and what becomes of those that are not plain text.
//!
//! A component that is empty, `.` or `..`, or holds `/` or NUL is refused: such names have no honest
//! use and say what the maker intended. What is merely unprintable is replaced as libtorrent does:
//! control characters, characters that change the direction of writing and bytes that are not UTF-8
//! become `_`; what is longer than a Linux file system takes is cut, for others count characters. So
//! that two such names stay two files, a changed component is marked with the start of the SHA-1 of
//! its original bytes: `a\x07b.txt` becomes `a_b~7a1c….txt` with eight digits. A backslash is an
//! ordinary character on Unix and stays; where it separates folders it is replaced too.

use std::{
    fmt::{self, Write as _},
    path::PathBuf,
};

use crate::base::{hash::sha1, limits::MAX_NAME_BYTES};

/// Where a file lies below the output folder. Made only from checked components, so that it can
/// neither leave that folder nor disturb a terminal.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SafePath<'a> {
    root: Option<&'a str>,
    rest: &'a str,
}

impl<'a> SafePath<'a> {
    pub(super) const fn new(root: Option<&'a str>, rest: &'a str) -> Self {
        SafePath { root, rest }
    }

    /// A file of our own directly in the output folder.
    pub(crate) const fn of_one(name: &'a str) -> Self {
        SafePath { root: None, rest: name }
    }

    /// The folder names and the file name, outermost first; at least one.
    ///
    /// The first one of a multi-file torrent is the torrent's name.
    pub fn components(self) -> impl Iterator<Item = &'a str> {
        self.root.into_iter().chain(self.rest.split('/'))
    }

    /// The part below the torrent's own folder, with `/` between components.
    pub const fn below_root(self) -> &'a str {
        self.rest
    }

    /// The path relative to the output folder.
    pub fn to_path_buf(self) -> PathBuf {
        self.components().collect()
    }
}

impl fmt::Display for SafePath<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.root {
            Some(root) => f.pad(&format!("{root}/{}", self.rest)),
            None => f.pad(self.rest),
        }
    }
}

impl fmt::Debug for SafePath<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// A file or folder name that is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the file or folder name \"{name}\" {fault}")]
pub struct NameError {
    /// The name, unprintable bytes escaped, cut when very long.
    pub name: String,
    /// Why.
    pub fault: NameFault,
}

/// Why a file or folder name is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameFault {
    /// No characters.
    #[error("is empty")]
    Empty,
    /// `.` or `..`.
    #[error("stands for a folder, not a name: the path could leave the output folder")]
    Dots,
    /// Holds `/`.
    #[error("holds a `/`: the path could leave the output folder")]
    Separator,
    /// Holds a zero byte.
    #[error("holds a zero byte")]
    Nul,
    /// More than [`MAX_NAME_BYTES`]; only the builder refuses this.
    #[error("is longer than the {MAX_NAME_BYTES} bytes a file system takes")]
    TooLong,
    /// Would be changed on the way into a torrent; only the builder refuses this.
    #[error("holds control characters, which clients replace: rename it first")]
    Unprintable,
}

impl NameError {
    pub(super) fn new(raw: &[u8], fault: NameFault) -> Self {
        let shown = &raw[..raw.len().min(80)];
        let name = match std::str::from_utf8(shown) {
            Ok(text) => text.escape_debug().to_string(),
            Err(_) => shown.escape_ascii().to_string(),
        };
        NameError { name, fault }
    }
}

/// Appends the safe form of one path component to `out`; true if it is not the original.
pub(super) fn push_component(out: &mut String, raw: &[u8]) -> Result<bool, NameError> {
    let fail = |fault| Err(NameError::new(raw, fault));
    match raw {
        b"" => return fail(NameFault::Empty),
        b"." | b".." => return fail(NameFault::Dots),
        _ if raw.contains(&b'/') => return fail(NameFault::Separator),
        _ if raw.contains(&0) => return fail(NameFault::Nul),
        _ => {}
    }
    match std::str::from_utf8(raw) {
        Ok(text)
            if raw.len() <= MAX_NAME_BYTES && (is_plain(text) || !text.contains(is_replaced)) =>
        {
            out.push_str(text);
            Ok(false)
        }
        _ => {
            push_replaced(out, raw);
            Ok(true)
        }
    }
}

/// Whether all is printable ASCII: nearly all names are, and this is quickly seen.
fn is_plain(text: &str) -> bool {
    !cfg!(windows) && text.bytes().fold(true, |plain, b| plain & matches!(b, b' '..=b'~'))
}

/// Characters that do not belong in a file name that strangers chose.
fn is_replaced(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
        || (cfg!(windows) && matches!(c, '\\' | ':' | '*' | '?' | '"' | '<' | '>' | '|'))
}

fn push_replaced(out: &mut String, raw: &[u8]) {
    let mut clean = String::with_capacity(raw.len());
    for chunk in raw.utf8_chunks() {
        clean.extend(chunk.valid().chars().map(|c| if is_replaced(c) { '_' } else { c }));
        if !chunk.invalid().is_empty() {
            clean.push('_');
        }
    }
    let dot = clean.rfind('.').filter(|&at| at > 0 && clean.len() - at <= 16);
    let (stem, extension) = clean.split_at(dot.unwrap_or(clean.len()));
    let mark = format!("~{:.8}{extension}", sha1(raw).to_string());
    let mut room = stem.len().min(MAX_NAME_BYTES - mark.len());
    while !stem.is_char_boundary(room) {
        room -= 1;
    }
    write!(out, "{}{mark}", &stem[..room]).expect("writing to a string cannot fail");
}

/// Compares paths component by component: a folder comes right before what lies in it.
pub(super) fn compare(a: &str, b: &str) -> std::cmp::Ordering {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    // Eight bytes at a step, then the last few.
    let (chunks_a, chunks_b) = (a.as_chunks::<8>().0, b.as_chunks::<8>().0);
    let chunks = chunks_a.iter().zip(chunks_b).take_while(|(x, y)| x == y).count() * 8;
    let tail = a[chunks..].iter().zip(&b[chunks..]).take_while(|(x, y)| x == y).count();
    let same = chunks + tail;
    // No component holds a zero byte, so the separator can take its place below all others.
    let rank = |path: &[u8]| path.get(same).map(|&c| if c == b'/' { 0 } else { c });
    rank(a).cmp(&rank(b))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn safe(raw: &[u8]) -> Result<String, NameFault> {
        let mut out = String::new();
        push_component(&mut out, raw).map(|_| out).map_err(|err| err.fault)
    }

    #[test]
    fn honest_names_stay() {
        for name in ["a", "...", "..a", " ", "ünï ☃.txt", "a\\b", "con", "~", "-rf"] {
            assert_eq!(safe(name.as_bytes()), Ok(name.to_owned()));
        }
        assert_eq!(safe(&[b'x'; MAX_NAME_BYTES]).map(|s| s.len()), Ok(MAX_NAME_BYTES));
    }

    #[test]
    fn dangerous_names_are_refused_by_name() {
        for (raw, fault) in [
            (b"".as_slice(), NameFault::Empty),
            (b".", NameFault::Dots),
            (b"..", NameFault::Dots),
            (b"/etc", NameFault::Separator),
            (b"a/../b", NameFault::Separator),
            (b"a\0", NameFault::Nul),
        ] {
            assert_eq!(safe(raw), Err(fault));
        }
        let err = push_component(&mut String::new(), b"a/\x1b[2J").expect_err("refused");
        assert_eq!(
            err.to_string(),
            "the file or folder name \"a/\\u{1b}[2J\" holds a `/`: the path could leave the output \
             folder"
        );
    }

    #[test]
    fn unprintable_names_are_replaced_and_stay_distinct() {
        let bell = safe(b"a\x07b.txt").expect("replaced");
        assert!(bell.starts_with("a_b~") && bell.ends_with(".txt"), "{bell}");
        assert_eq!(bell.len(), "a_b~12345678.txt".len());
        assert_ne!(safe(b"\xff"), safe(b"\xfe"));
        assert_ne!(safe(b"\xff"), safe(b"_"));
        assert_eq!(safe("x\u{202e}gpj.exe".as_bytes()), safe("x\u{202e}gpj.exe".as_bytes()));
        let long = safe(&[0xff; MAX_NAME_BYTES]).expect("replaced");
        assert!(long.len() <= MAX_NAME_BYTES);
        // Other file systems count characters.
        let film = |n: usize| format!("{}{n}.mkv", "長い題名".repeat(40));
        let [one, other] = [1, 2].map(|n| safe(film(n).as_bytes()).expect("cut"));
        assert!(one.len() <= MAX_NAME_BYTES && one.ends_with(".mkv") && one != other, "{one}");
    }

    #[test]
    fn a_folder_sorts_right_before_its_content() {
        let mut paths = ["a.b", "a/c", "a", "a/b/x", "a-", "a/b"];
        paths.sort_by(|a, b| compare(a, b));
        assert_eq!(paths, ["a", "a/b", "a/b/x", "a/c", "a-", "a.b"]);
    }

    proptest! {
        #[test]
        fn a_safe_component_is_one_printable_name(
            raw in prop::collection::vec(any::<u8>(), 0..300)
        ) {
            if let Ok(name) = safe(&raw) {
                prop_assert!(!name.is_empty() && name.len() <= MAX_NAME_BYTES);
                prop_assert!(!name.contains(['/', '\0']) && name != "." && name != "..");
                prop_assert!(!name.contains(is_replaced));
                // What is safe stays as it is.
                prop_assert_eq!(safe(name.as_bytes()), Ok(name));
            }
        }
    }
}
