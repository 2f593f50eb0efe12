//! The door of web seeds: what an HTTP server replies to a request for a part of a file, and what a torrent
//! calls a web seed.

use crate::{
    bytes::times,
    driver::{
        content::Content,
        program::{Place, Program},
        tracker::{HttpRequest, HttpTracker},
    },
    table::{Attack, Bound, try_all},
};

/// What a reply gets.
enum Gets {
    /// The web seed is not used any more: a warning that ends with this.
    GivenUp(&'static str),
    /// It is left alone for a while, for this reason.
    Rests(&'static str),
    /// What is good in it is used: the download is complete.
    Used,
}
use Gets::{GivenUp, Rests, Used};

/// The part of the content that was asked for.
struct Asked<'a> {
    first: usize,
    last: usize,
    content: &'a [u8],
}

impl Asked<'_> {
    fn part(&self) -> &[u8] {
        &self.content[self.first..=self.last]
    }

    /// A reply with the head that it should have, but for this line, and this body.
    fn reply(&self, more: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
        let Asked { first, last, content } = self;
        let mut head = "HTTP/1.1 206 Partial Content\r\n".to_owned();
        if !more.starts_with("Content-Range") {
            head += &format!("Content-Range: bytes {first}-{last}/{}\r\n", content.len());
        }
        if !more.is_empty() {
            head += &format!("{more}\r\n");
        }
        [head.as_bytes(), b"\r\n", body.as_ref()].concat()
    }
}

type Reply = Attack<fn(&Asked<'_>) -> Vec<u8>, Gets>;

/// Resident memory of a download with its code.
const LEECH: Bound = Bound::SMALL.memory(64);

fn is_well(mut program: Program) {
    assert!(program.is_alive(), "{}", program.talk());
    assert!(program.peak_memory() < u64::from(LEECH.memory) << 10, "{}", program.peak_memory());
    program.signal("-INT");
    assert_eq!(program.end().0, 130);
}

fn asked(request: &HttpRequest, content: &[u8]) -> Option<(usize, usize)> {
    let head = request.head.to_ascii_lowercase();
    let range = head.lines().find_map(|line| line.strip_prefix("range: bytes="))?;
    let (first, last) = range.split_once('-')?;
    let (first, last) = (first.parse().ok()?, last.parse().ok()?);
    (first <= last && last < content.len()).then_some((first, last))
}

#[test]
fn replies() {
    try_all("replies of web seeds", rows(), |row| {
        let (place, content) = (Place::new(), Content::new(3));
        let (make, bytes) = (row.input, content.bytes.clone());
        let server = HttpTracker::start_raw(move |request| {
            let (first, last) = asked(request, &bytes).expect("a part of the file");
            make(&Asked { first, last, content: &bytes })
        });
        let content = content.web_seed(&format!("http://{}/", server.addr));
        let mut program = place.leech(&content, &[], &[]);
        let name = server.addr.to_string();
        match row.gets {
            GivenUp(why) => {
                let warning = program.warning("web seed ");
                let want = format!("web seed {name} is not used any more: {why}");
                assert_eq!(warning, want);
                is_well(program);
            }
            Rests(why) => {
                let rests = |o: &serde_json::Value| {
                    o["event"] == "peer" && o["web_seed"] == name && o["again_s"].is_u64()
                };
                let event = program.wait("a web seed that rests", rests);
                assert_eq!(event["reason"], why);
                is_well(program);
            }
            Used => {
                assert_eq!(program.end().0, 0);
                assert!(place.downloaded(&content) == content.bytes);
            }
        }
    });
}

#[test]
fn addresses() {
    let rows = vec![
        Attack::new("a file of this host", "file:///etc/passwd", ()),
        Attack::new("another protocol", "ftp://127.0.0.1/", ()),
        Attack::new("no host", "http:///", ()),
        Attack::new("a port that is none", "http://127.0.0.1:99999/", ()),
    ];
    try_all("addresses of web seeds", rows, |row| {
        let place = Place::new();
        let mut program = place.leech(&Content::new(2).web_seed(row.input), &[], &[]);
        let warning = program.warning("is not used any more: ");
        assert!(warning.ends_with("its address cannot be used"), "{warning}");
        is_well(program);
    });
}

/// Files may be on this host; what takes orders there is not asked.
#[test]
fn no_torrent_sends_orders_into_the_local_network() {
    let server = HttpTracker::start_raw(|_| b"HTTP/1.1 200 OK\r\n\r\n".to_vec());
    let url = format!("http://{}/reboot?now=1", server.addr);
    let place = Place::new();
    let mut program = place.leech(&Content::new(2).web_seed(&url), &[], &[]);
    let warning = program.warning("web seed ");
    assert!(warning.ends_with("it leads to where it may not, or nowhere"), "{warning}");
    assert!(server.asked().is_empty(), "it was asked");
    is_well(program);
}

const fn row(name: &'static str, input: fn(&Asked<'_>) -> Vec<u8>, gets: Gets) -> Reply {
    Attack::new(name, input, gets)
}

fn rows() -> Vec<Reply> {
    const BROKEN: Gets = Rests("the connection broke");
    const WRONG_RANGE: Gets =
        GivenUp("the server sent another part of the file than it was asked for");
    const WRONG_LENGTH: Gets = GivenUp("a file there has another length");
    const ASTRAY: Gets = GivenUp("it leads to where it may not, or nowhere");
    vec![
        row("what it should be", |asked| asked.reply("", asked.part()), Used),
        row("nothing", |_| vec![], BROKEN),
        row("no HTTP", |_| times("SSH-2.0 ", 10_000), BROKEN),
        row(
            "endless heads",
            |_| [&b"HTTP/1.1 206 OK\r\n"[..], &times("a: b\r\n", 1_000_000)].concat(),
            BROKEN,
        ),
        row(
            "an end before the end",
            |asked| {
                let (part, more) =
                    (asked.part(), format!("Content-Length: {}", asked.part().len()));
                asked.reply(&more, &part[..part.len() - 1])
            },
            BROKEN,
        ),
        row(
            "a chunk that is none",
            |asked| asked.reply("Transfer-Encoding: chunked", "zzzz\r\n"),
            BROKEN,
        ),
        row(
            "more than was asked for",
            |asked| asked.reply("", [asked.part(), &times("more", 1 << 20)].concat()),
            Used,
        ),
        row(
            "other bytes",
            |asked| asked.reply("", times("x", asked.part().len())),
            GivenUp("it sent data that does not match the hash"),
        ),
        row(
            "another part",
            |asked| asked.reply("Content-Range: bytes 1-9/83154", "123456789"),
            WRONG_RANGE,
        ),
        row(
            "numbers beyond all numbers",
            |asked| {
                let nines = "9".repeat(40);
                asked.reply(&format!("Content-Range: bytes {nines}-{nines}/{nines}"), asked.part())
            },
            WRONG_RANGE,
        ),
        row(
            "a part that is not said to be which",
            |asked| [&b"HTTP/1.1 206 OK\r\n\r\n"[..], asked.part()].concat(),
            WRONG_RANGE,
        ),
        row(
            "a promise of a terabyte",
            |asked| asked.reply("Content-Length: 1099511627776", asked.part()),
            WRONG_RANGE,
        ),
        row(
            "a file that has become longer",
            |asked| {
                let Asked { first, last, .. } = asked;
                asked.reply(&format!("Content-Range: bytes {first}-{last}/9999999"), asked.part())
            },
            WRONG_LENGTH,
        ),
        row(
            "a file that has become shorter",
            |_| b"HTTP/1.1 416 Range Not Satisfiable\r\nContent-Length: 0\r\n\r\n".to_vec(),
            WRONG_LENGTH,
        ),
        row(
            "a web page",
            |_| b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>".to_vec(),
            WRONG_LENGTH,
        ),
        row(
            "packed bytes",
            |asked| asked.reply("Content-Encoding: gzip", times("\x1f", 100)),
            GivenUp("the server packs what it sends"),
        ),
        row(
            "nothing of that name",
            |_| b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n".to_vec(),
            GivenUp("the server answered 404"),
        ),
        row(
            "a status beyond all",
            |_| b"HTTP/1.1 999 No\r\nContent-Length: 0\r\n\r\n".to_vec(),
            Rests("the server answered 999"),
        ),
        row(
            "a wait for ever",
            |_| {
                let nines = "9".repeat(19);
                let head = "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\nRetry-After: ";
                format!("{head}{nines}\r\n\r\n").into_bytes()
            },
            Rests("the server is busy (503)"),
        ),
        row(
            "a redirect in a circle",
            |_| b"HTTP/1.1 302 Found\r\nLocation: /content.bin\r\n\r\n".to_vec(),
            ASTRAY,
        ),
        row(
            "a redirect to a file",
            |_| b"HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\n\r\n".to_vec(),
            ASTRAY,
        ),
    ]
}
