//! What is never told: keys in the addresses of trackers, names and passwords, what is in links, the codes
//! of `share`.
//!
//! The one place for it. Every warning, every failure and every line of a log goes through [`secrets`];
//! what a command is asked to print, such as a link or a code, does not. In a log info hashes are
//! shortened as well, by [`hashes`]: a code follows from the whole one.

use std::borrow::Cow;

use crate::metainfo::ShareCode;

pub(super) use crate::base::echo::without_keys as echo;

/// What ends the host and the port of an address.
const PATH: [char; 3] = ['/', '?', '#'];
/// Digits of an info hash that tell torrents apart, and give nothing away.
const SHORT_HASH: usize = 8;
/// Characters of a code as it is printed: four groups of five digits.
const CODE: usize = 23;

/// A tracker or web seed by its host and port: the rest of its address may hold a key or a password.
pub(super) fn host(url: &str) -> String {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let host = rest.split(PATH).next().unwrap_or_default();
    host.rsplit('@').next().unwrap_or_default().to_owned()
}

/// The first digits of an info hash.
pub(super) fn short_hash(hash: &str) -> &str {
    hash.get(..SHORT_HASH).unwrap_or(hash)
}

/// `text` with nothing but scheme and host of each address in it, without what is in magnet links, and
/// without codes.
pub(super) fn secrets(text: &str) -> Cow<'_, str> {
    // Each kind has a character that hardly any sentence has.
    if !text.contains("://") && !text.contains(['?', '-', '@']) {
        return Cow::Borrowed(text);
    }
    words(text, "", |word| {
        if let Some(at) = word.to_ascii_lowercase().find("magnet:?")
            && word.len() > at + "magnet:?".len()
        {
            return Some(format!("{}magnet:?…", &word[..at]));
        }
        if let Some((scheme, rest)) = word.split_once("://") {
            return Some(format!("{scheme}://{}", authority(rest)));
        }
        // A proxy without its scheme.
        if let Some((user, host)) = word.rsplit_once('@')
            && is_user(user)
            && is_host(host)
        {
            return Some(format!("…@{host}"));
        }
        let is_code = word.len() == CODE && word.parse::<ShareCode>().is_ok();
        is_code.then(|| "(a code)".to_owned())
    })
}

/// Whether it is a name with a password.
fn is_user(text: &str) -> bool {
    let of_name = |c: char| c.is_ascii_alphanumeric() || "._%+-".contains(c);
    text.split_once(':').is_some_and(|(name, password)| {
        !name.is_empty() && name.chars().all(of_name) && !password.contains(['/', '\\'])
    })
}

/// Whether it is a host, perhaps with a port.
fn is_host(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || ".-:[]".contains(c))
}

/// Host and port of what follows `://`.
fn authority(rest: &str) -> String {
    let (host, more) = rest.split_at(rest.find(PATH).unwrap_or(rest.len()));
    // A password with a slash in it, maybe: then that is no host.
    if more.contains('@') {
        return "…".to_owned();
    }
    let host = host.rsplit('@').next().unwrap_or_default();
    format!("{host}{}", if more.len() > 1 { "/…" } else { "" })
}

/// `text` with only the first digits of each info hash in it.
pub(super) fn hashes(text: &str) -> Cow<'_, str> {
    // Also where it is a part of the name of a file.
    words(text, "/.-", |word| {
        let is_hash = matches!(word.len(), 40 | 64) && word.bytes().all(|b| b.is_ascii_hexdigit());
        is_hash.then(|| format!("{}…", short_hash(word)))
    })
}

/// `text` with some of its words replaced. Words end at blanks, quotes and brackets, and at what ends them `also`;
/// what ends a sentence is no part of one.
fn words<'a>(text: &'a str, also: &str, replace: impl Fn(&str) -> Option<String>) -> Cow<'a, str> {
    let ends = |c: char| c.is_whitespace() || "`'\"<>(){}".contains(c) || also.contains(c);
    let mut out = String::new();
    // What of `text` is in `out`, and where the word is.
    let (mut written, mut start) = (0, 0);
    for part in text.split_inclusive(ends) {
        let word = part.trim_end_matches(ends).trim_end_matches([',', '.', ':', ';', '!']);
        if let Some(instead) = replace(word) {
            out.push_str(&text[written..start]);
            out.push_str(&instead);
            written = start + word.len();
        }
        start += part.len();
    }
    match written {
        0 => Cow::Borrowed(text),
        _ => Cow::Owned(out + &text[written..]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::hash::Sha1Hash;

    #[test]
    fn trackers_are_named_without_keys() {
        for (url, named) in [
            ("http://a.example:80/key/announce?k=1", "a.example:80"),
            ("udp://user:secret@b.example", "b.example"),
            ("https://[::1]:7/x", "[::1]:7"),
        ] {
            assert_eq!(host(url), named);
        }
    }

    #[test]
    fn addresses_and_links_lose_what_is_secret() {
        for (text, told) in [
            ("no `https://a.example/k3y/x.torrent?p=1`", "no `https://a.example/…`"),
            ("socks5://user:pass@p.example:1080: refused", "socks5://p.example:1080: refused"),
            ("socks5://user:pa/ss@p.example", "socks5://…"),
            ("http://a.example/, or HTTP://B.example.", "http://a.example, or HTTP://B.example."),
            ("url=udp://t.example:1/k3y,udp://u/k3y", "url=udp://t.example:1/…"),
            ("no MAGNET:?xt=urn:btih:abc&tr=http%3A%2F%2Fa%2Fk3y!", "no magnet:?…!"),
            ("it begins with `magnet:?`", "it begins with `magnet:?`"),
            ("(https://a:b@[::1]:7/?q) é", "(https://[::1]:7/…) é"),
            ("3 of 4 pieces - or none?", "3 of 4 pieces - or none?"),
            ("a://b", "a://b"),
            ("no `user:pa:ss@p.example:1080`", "no `…@p.example:1080`"),
            ("write to a@b.example", "write to a@b.example"),
            ("C:\\data\\me@host", "C:\\data\\me@host"),
            ("`a:b@c/d.mkv`, `[12:30]me@e.mkv`", "`a:b@c/d.mkv`, `[12:30]me@e.mkv`"),
            ("", ""),
        ] {
            assert_eq!(secrets(text), told);
            assert_eq!(secrets(&secrets(text)), told, "twice is once");
        }
        for text in ["://", "a://", "://@/", "?-", "é://ü:ö@ß/…", "émagnet:?@", "``://@``"] {
            assert!(!secrets(text).contains('@'), "{text}");
        }
    }

    #[test]
    fn codes_are_not_told() {
        let code = ShareCode::of(Sha1Hash([7; 20])).to_string();
        assert_eq!(secrets(&format!("get {code}: found")), "get (a code): found");
        assert_eq!(secrets(&code.to_uppercase()), "(a code)");
        assert_eq!(secrets(&code[1..]), &code[1..]);
    }

    #[test]
    fn info_hashes_are_shortened() {
        let hash = "0123456789abcdef0123456789ABCDEF01234567";
        assert_eq!(hashes(&format!("`{hash}`, é")), "`01234567…`, é");
        assert_eq!(hashes(&format!("`a/{hash}.torrent`")), "`a/01234567….torrent`");
        assert_eq!(hashes(&hash[1..]), &hash[1..]);
        assert_eq!((short_hash(hash), short_hash("get")), ("01234567", "get"));
    }
}
