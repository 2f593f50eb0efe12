//! What the head of a reply means for the part of a file that was asked for (RFC 9110, sections 14 and 15).

use std::time::Duration;

use super::{Failure, Get};

/// A whole file in place of a part of it is taken, and what comes before the part thrown away, up to this
/// length: less than what a round trip costs.
const MAX_WHOLE_FILE: u64 = 1 << 20;

/// What of the head of a reply counts.
#[derive(Debug, Clone, Copy, Default)]
pub struct Head<'a> {
    /// The status code.
    pub status: u16,
    /// `Content-Range`.
    pub content_range: Option<&'a str>,
    /// `Content-Length`.
    pub content_length: Option<u64>,
    /// `Content-Encoding`.
    pub content_encoding: Option<&'a str>,
    /// `Retry-After`.
    pub retry_after: Option<&'a str>,
}

/// How many bytes of the body come before those that `get` asked for, which are there then.
///
/// # Errors
/// Why they are not.
pub fn judge(head: Head<'_>, get: &Get) -> Result<u64, Failure> {
    let skip = match head.status {
        206 => partial(head, get)?,
        200 => whole(head, get)?,
        // The file ends before the part begins.
        416 => return Err(Failure::WrongLength),
        status @ (429 | 503) => {
            // A date is not looked at: nobody's clock need be right.
            let seconds = head.retry_after.and_then(|text| text.trim().parse().ok());
            return Err(Failure::Busy { status, wait: seconds.map(Duration::from_secs) });
        }
        status => return Err(Failure::Status(status)),
    };
    match head.content_encoding.map(str::trim) {
        None | Some("" | "identity") => Ok(skip),
        Some(_) => Err(Failure::Encoded),
    }
}

fn partial(head: Head<'_>, get: &Get) -> Result<u64, Failure> {
    let range = head.content_range.and_then(parse).ok_or(Failure::WrongRange)?;
    if range.total.is_some_and(|total| total != get.file_length) {
        return Err(Failure::WrongLength);
    }
    let last = get.offset + get.length - 1;
    let is_it = range.first == get.offset && range.last == last;
    match is_it && head.content_length.is_none_or(|length| length == get.length) {
        true => Ok(0),
        false => Err(Failure::WrongRange),
    }
}

fn whole(head: Head<'_>, get: &Get) -> Result<u64, Failure> {
    if head.content_length.is_some_and(|length| length != get.file_length) {
        return Err(Failure::WrongLength);
    }
    let is_all = get.length == get.file_length;
    if is_all || get.file_length <= MAX_WHOLE_FILE {
        Ok(get.offset)
    } else {
        Err(Failure::NoRanges)
    }
}

/// `Content-Range`: both ends count.
struct ContentRange {
    first: u64,
    last: u64,
    total: Option<u64>,
}

fn parse(text: &str) -> Option<ContentRange> {
    let (unit, rest) = text.trim().split_once(' ')?;
    let (range, total) = rest.trim().split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let total = if total.trim() == "*" { None } else { Some(number(total)?) };
    let range = ContentRange { first: number(first)?, last: number(last)?, total };
    unit.eq_ignore_ascii_case("bytes").then_some(range)
}

/// Digits alone: no sign.
fn number(text: &str) -> Option<u64> {
    let text = text.trim();
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::index::FileIndex;

    const GET: Get = Get { file: FileIndex(0), offset: 100, length: 50, file_length: 1000 };
    const LARGE: Get = Get { file_length: 2 << 20, ..GET };

    fn partial(range: &str, length: Option<u64>) -> Result<u64, Failure> {
        let content_range = Some(range);
        judge(Head { status: 206, content_range, content_length: length, ..Head::default() }, &GET)
    }

    #[test]
    fn a_part_is_exactly_the_one_that_was_asked_for() {
        for range in ["bytes 100-149/1000", "Bytes  100-149/*", " bytes 100 - 149 / 1000 "] {
            assert_eq!(partial(range, Some(50)), Ok(0), "{range}");
            assert_eq!(partial(range, None), Ok(0), "{range}");
        }
        for range in [
            "bytes 100-150/1000",
            "bytes 99-149/1000",
            "bytes 0-49/1000",
            "bytes 149-100/1000",
            "bytes */1000",
            "bytes +100-149/1000",
            "lines 100-149/1000",
            "bytes 100-149",
            "bytes 18446744073709551616-149/1000",
            "",
        ] {
            assert_eq!(partial(range, Some(50)), Err(Failure::WrongRange), "{range}");
        }
        assert_eq!(partial("bytes 100-149/1000", Some(51)), Err(Failure::WrongRange));
        assert_eq!(partial("bytes 100-149/999", Some(50)), Err(Failure::WrongLength));
        let without = Head { status: 206, ..Head::default() };
        assert_eq!(judge(without, &GET), Err(Failure::WrongRange));
    }

    #[test]
    fn a_whole_file_is_taken_when_it_is_small_or_was_wanted() {
        let head = |length| Head { status: 200, content_length: length, ..Head::default() };
        assert_eq!(judge(head(Some(1000)), &GET), Ok(100));
        assert_eq!(judge(head(None), &GET), Ok(100));
        assert_eq!(judge(head(Some(1001)), &GET), Err(Failure::WrongLength));
        assert_eq!(judge(head(None), &LARGE), Err(Failure::NoRanges));
        let all = Get { offset: 0, length: LARGE.file_length, ..LARGE };
        assert_eq!(judge(head(None), &all), Ok(0));
    }

    #[test]
    fn other_answers_say_when_to_come_again() {
        let status = |status, retry_after| {
            judge(Head { status, retry_after, ..Head::default() }, &GET).expect_err("no success")
        };
        for (code, is_final) in
            [(404, true), (403, true), (410, true), (408, false), (500, false), (502, false)]
        {
            assert_eq!(status(code, None), Failure::Status(code));
            assert_eq!(status(code, None).is_final(), is_final, "{code}");
        }
        assert_eq!(status(416, None), Failure::WrongLength);
        for (text, secs) in
            [(Some("120"), Some(120)), (Some("Sun, 06 Nov 1994"), None), (None, None)]
        {
            for code in [429, 503] {
                let failure = status(code, text);
                assert_eq!(failure.wait(), secs.map(Duration::from_secs));
                assert!(!failure.is_final());
            }
        }
    }

    #[test]
    fn packed_bytes_are_not_those_of_the_file() {
        for (encoding, want) in [("identity", Ok(100)), ("gzip", Err(Failure::Encoded))] {
            let content_encoding = Some(encoding);
            let head = Head { status: 200, content_encoding, ..Head::default() };
            assert_eq!(judge(head, &GET), want);
        }
    }
}
