//! Asking a tracker how many peers swarms have: the HTTP URL out, the reply in (BEP 48).
//!
//! Pure. The same over UDP is in [`super::udp`], the tracker's side in [`super::http_host`].

use percent_encoding::percent_encode;
use url::Url;

use super::{
    announce::{Refusal, printable},
    http::{ESCAPED, ReplyError, UrlError, count, http_url},
};
use crate::{
    base::hash::Sha1Hash,
    bencode::{Limits, Value},
};

/// How many peers a swarm has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ScrapeCounts {
    /// Peers with everything.
    pub seeds: u32,
    /// Downloads that were completed.
    pub completed: u32,
    /// Other peers.
    pub leeches: u32,
}

/// The URL that asks the tracker at `tracker` about one torrent: its last path segment, which begins with
/// `announce`, with `scrape` instead. `None` if it does not begin so: such trackers take no scrapes.
pub fn scrape_url(tracker: &str, info_hash: Sha1Hash) -> Result<Option<Url>, UrlError> {
    let mut url = http_url(tracker)?;
    let (folder, last) = url.path().rsplit_once('/').unwrap_or(("", url.path()));
    let Some(rest) = last.strip_prefix("announce") else { return Ok(None) };
    let path = format!("{folder}/scrape{rest}");
    url.set_path(&path);
    let hash = percent_encode(&info_hash.0, ESCAPED);
    let query = match url.query() {
        Some(query) if !query.is_empty() => format!("{query}&info_hash={hash}"),
        _ => format!("info_hash={hash}"),
    };
    url.set_query(Some(&query));
    Ok(Some(url))
}

/// Reads a tracker's reply: its counts of the torrent, `None` if it does not know it. What is missing or
/// of an unexpected type counts as 0.
pub fn parse_scrape_reply(
    bytes: &[u8],
    info_hash: Sha1Hash,
) -> Result<Option<ScrapeCounts>, ReplyError> {
    let value = Value::scan(bytes, Limits::TRACKER)?;
    let dict = value.as_dict().ok_or(ReplyError::NotADictionary)?;
    let mut found = None;
    for (key, value) in dict.iter() {
        match key {
            b"failure reason" => {
                if let Some(reason) = value.as_bytes() {
                    return Err(Refusal { reason: printable(reason), retry: None }.into());
                }
            }
            b"files" => {
                let mut files = value.as_dict().into_iter().flat_map(|files| files.iter());
                found = files.find(|(hash, _)| *hash == info_hash.0).map(|(_, counts)| counts);
            }
            _ => {}
        }
    }
    Ok(found.map(|counts| {
        let mut read = ScrapeCounts::default();
        for (key, value) in counts.as_dict().into_iter().flat_map(|counts| counts.iter()) {
            let value = count(value).unwrap_or_default();
            match key {
                b"complete" => read.seeds = value,
                b"downloaded" => read.completed = value,
                b"incomplete" => read.leeches = value,
                _ => {}
            }
        }
        read
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tracker::{http_host, swarms::Counts};

    const HASH: Sha1Hash = Sha1Hash(*b"aaaaaaaaaa/aaaaaaaaa");

    #[test]
    fn the_last_segment_says_whether_there_are_scrapes() {
        let escaped = "info_hash=aaaaaaaaaa%2Faaaaaaaaa";
        for (announce, scrape) in [
            ("http://t.example/announce", Some("http://t.example/scrape?")),
            ("https://t.example/x/announce", Some("https://t.example/x/scrape?")),
            ("http://t.example/announce.php", Some("http://t.example/scrape.php?")),
            ("http://t.example/announce?x2%0644", Some("http://t.example/scrape?x2%0644&")),
            ("http://t.example/announce?x=2/4", Some("http://t.example/scrape?x=2/4&")),
            ("http://t.example/a", None),
            ("http://t.example/x%064announce", None),
            ("http://t.example/announce/x", None),
        ] {
            let wanted = scrape.map(|scrape| format!("{scrape}{escaped}"));
            let url = scrape_url(announce, HASH).expect("HTTP");
            assert_eq!(url.map(|url| url.to_string()), wanted, "{announce}");
        }
        let udp = UrlError::Scheme { scheme: "udp".to_owned() };
        assert_eq!(scrape_url("udp://t.example:1/announce", HASH), Err(udp));
    }

    #[test]
    fn our_own_tracker_is_understood() {
        let counts = Counts { complete: 1, downloaded: 2, incomplete: 3 };
        let reply = http_host::scrape_reply(&[(HASH, counts)]);
        let wanted = ScrapeCounts { seeds: 1, completed: 2, leeches: 3 };
        assert_eq!(parse_scrape_reply(&reply, HASH), Ok(Some(wanted)));
        assert_eq!(parse_scrape_reply(&reply, Sha1Hash([0; 20])), Ok(None));
    }

    #[test]
    fn what_is_not_a_scrape() {
        let read = |bytes: &[u8]| parse_scrape_reply(bytes, HASH);
        assert_eq!(read(b"de"), Ok(None));
        assert_eq!(read(b"d5:files2:noe"), Ok(None));
        let odd = b"d5:filesd20:aaaaaaaaaa/aaaaaaaaad8:completei-1e10:incomplete1:xeee";
        assert_eq!(read(odd), Ok(Some(ScrapeCounts::default())));
        assert_eq!(read(b"le"), Err(ReplyError::NotADictionary));
        let refusal = read(b"d14:failure reason2:noe").expect_err("refused");
        assert_eq!(refusal.to_string(), "no");
        assert!(matches!(read(b"<html>"), Err(ReplyError::Bencode(_))));
    }
}
