//! The door of magnet links: what `show` and `magnet` make of them.

use crate::{
    bounded::Ground,
    table::{Attack, try_all},
};

/// What a link gets.
enum Gets {
    /// Exit code 3 and this sentence.
    Refused(&'static str),
    /// It is used: `magnet` prints this plain form.
    Plain(&'static str),
    /// It is used, and its plain form is not longer than so many bytes.
    Within(usize),
}
use Gets::{Plain, Refused, Within};

type Row = Attack<fn() -> String, Gets>;

const fn row(name: &'static str, input: fn() -> String, gets: Gets) -> Row {
    Attack::new(name, input, gets)
}

#[test]
fn links() {
    try_all("magnet links", rows(), |row| {
        let ground = Ground::new();
        let before = ground.look(&[]);
        let link = (row.input)();
        let runs = [&["magnet", "--print"][..], &["show"]]
            .map(|command| ground.run(row.bound, &[command, &[&link]].concat()));
        for ran in &runs {
            ran.expect_printable();
            if let Refused(sentence) = row.gets {
                ran.expect_refusal(3, sentence);
                assert!(ran.out.is_empty(), "{}", ran.out);
            } else {
                assert_eq!(ran.code, 0, "{}", ran.err);
            }
        }
        match row.gets {
            Plain(link) => assert_eq!(runs[0].out.trim_end(), link),
            Within(most) => assert!(runs[0].out.len() <= most, "{} bytes", runs[0].out.len()),
            Refused(sentence) => {
                ground.run(row.bound, &["download", &link]).expect_refusal(3, sentence);
            }
        }
        assert_eq!(before, ground.look(&["home"]), "nothing is written");
    });
}

const LINK: &str = "magnet:?xt=urn:btih:df9792a4e1ead19979a5ec4c8ff28c64f762abb6";

/// A good link with more behind it.
fn with(more: &str) -> String {
    format!("{LINK}&{more}")
}

/// The sentence about a hash that is none.
macro_rules! damaged {
    ($hash:literal) => {
        Refused(concat!(
            "the info hash \"",
            $hash,
            "\" in the magnet link is damaged: it must have 40 hex digits or 32 base32 characters \
             (`btih`), or 68 hex digits that begin with 1220 (`btmh`)"
        ))
    };
}

fn rows() -> Vec<Row> {
    vec![
        row(
            "no question mark",
            || LINK.replace('?', ""),
            Refused("not a magnet link: it does not begin with `magnet:?`"),
        ),
        row(
            "no hash",
            || "magnet:?dn=a&xt=urn:tree:tiger:abc".to_owned(),
            Refused("the magnet link names no torrent: `xt=urn:btih:…` is missing"),
        ),
        row("a short hash", || "magnet:?xt=urn:btih:abc".to_owned(), damaged!("abc")),
        row(
            "a long hash",
            || format!("{LINK}aa"),
            damaged!("df9792a4e1ead19979a5ec4c8ff28c64f762abb6aa"),
        ),
        row("a broken escape", || "magnet:?xt=urn:btih:%zz%".to_owned(), damaged!("%zz%")),
        row(
            "a hash that moves the cursor",
            || "magnet:?xt=urn:btih:%1b[2J".to_owned(),
            damaged!("\\u{1b}[2J"),
        ),
        row(
            "a hash of another kind",
            || format!("magnet:?xt=urn:btmh:1114{}", "a".repeat(10)),
            damaged!("1114aaaaaaaaaa"),
        ),
        row(
            "two hashes",
            || with(&format!("xt=urn:btih:{}", "a".repeat(40))),
            Refused("the magnet link names two different torrents"),
        ),
        row(
            "a selection from behind",
            || with("so=5-1"),
            Refused("the file selection `so=5-1` in the magnet link is not a list such as 0,2,4-6"),
        ),
        row(
            "a selection beyond 32 bits",
            || with("so=4294967296"),
            Refused(
                "the file selection `so=4294967296` in the magnet link is not a list such as \
                 0,2,4-6",
            ),
        ),
        row(
            "selections of everything, again and again",
            || with(&format!("so={}", ["0-4294967295"; 4000].join(","))),
            Within(64 << 10),
        ),
        row(
            "longer than any link",
            || with(&format!("tr={}", "a".repeat(64 << 10))),
            Refused("the magnet link is longer than 65536 bytes"),
        ),
        row(
            "thousands of trackers",
            || (0..3000).fold(LINK.to_owned(), |link, n| format!("{link}&tr=udp://{n}")),
            Within(256 * 40),
        ),
        row(
            "thousands of the same tracker, seed and peer",
            || with(&"tr=http://a/&ws=http://a/&x.pe=1.2.3.4:5&".repeat(1000)),
            Plain(
                "magnet:?xt=urn:btih:df9792a4e1ead19979a5ec4c8ff28c64f762abb6&\
                 tr=http%3A%2F%2Fa%2F&ws=http%3A%2F%2Fa%2F&x.pe=1.2.3.4:5",
            ),
        ),
        row(
            "a name that moves the cursor",
            || with("dn=a%1b[2J%00%0d%0ab&tr=http://%1b/"),
            Plain("magnet:?xt=urn:btih:df9792a4e1ead19979a5ec4c8ff28c64f762abb6&dn=a%5B2Jb"),
        ),
        row(
            "a name that is no text",
            || with("dn=%ff"),
            Plain("magnet:?xt=urn:btih:df9792a4e1ead19979a5ec4c8ff28c64f762abb6&dn=%EF%BF%BD"),
        ),
        row(
            "peers that are none",
            || with("x.pe=1.2.3.4:0&x.pe=1.2.3.4:65536&x.pe=::1:5&x.pe=%00:1&x.pe="),
            Plain(LINK),
        ),
        row("parameters without a name or a value", || with("&&=&=x&tr&dn=&tr.x=1"), Plain(LINK)),
    ]
}
