//! The scanner: one pass that says whether bytes are a bencoded value, and where it ends.
//!
//! Iterative, so nesting costs no stack; it allocates nothing unless the keys of some dictionary
//! are out of order (then as much as the keys need, to find a repeated one). Strict where two
//! readers could disagree on a value (BEP 3): no leading zeros, no `-0`, no repeated key, keys are
//! strings. Keys out of order are tolerated, because trackers and old tools write them, and noted.

use crate::base::limits;

/// How much of everything a value may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the whole input.
    pub bytes: usize,
    /// Lists and dictionaries inside one another; at most [`limits::MAX_METAINFO_DEPTH`] counts.
    pub depth: usize,
    /// Values, keys included.
    pub tokens: usize,
    /// Bytes behind the value that are ignored, where the whole input must be one value.
    pub trailing: usize,
}

impl Limits {
    /// A torrent file.
    pub const METAINFO: Limits = Limits {
        bytes: limits::MAX_TORRENT_BYTES,
        depth: limits::MAX_METAINFO_DEPTH,
        tokens: limits::MAX_METAINFO_TOKENS,
        trailing: limits::MAX_TRAILING_BYTES,
    };
    /// An info dictionary, known by the hash of all its bytes: nothing may follow it.
    pub const INFO: Limits = Limits { trailing: 0, ..Limits::METAINFO };
    /// Resume state: nothing follows what was written.
    pub const RESUME: Limits = Limits { bytes: limits::MAX_RESUME_BYTES, ..Limits::INFO };
    /// A reply of a tracker.
    pub const TRACKER: Limits = Limits {
        bytes: limits::MAX_TRACKER_REPLY,
        depth: limits::MAX_MESSAGE_DEPTH,
        tokens: limits::MAX_MESSAGE_TOKENS,
        trailing: limits::MAX_TRAILING_BYTES,
    };
    /// An extension message of a peer (BEP 10).
    pub const PEER: Limits =
        Limits { bytes: limits::MAX_EXTENSION_MESSAGE as usize, trailing: 0, ..Limits::TRACKER };
    /// A datagram of the DHT (BEP 5).
    pub const DHT: Limits = Limits {
        bytes: limits::MAX_DHT_DATAGRAM,
        depth: limits::MAX_MESSAGE_DEPTH,
        tokens: limits::MAX_DHT_TOKENS,
        trailing: 0,
    };
}

/// What the scanner found in a valid value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scan {
    /// Bytes of the value: it is `input[..end]`.
    pub end: usize,
    /// Number of strings, integers, lists and dictionaries, keys included.
    pub tokens: usize,
    /// Where the first key stands that comes before its predecessor; `None` when all are sorted.
    pub unsorted: Option<usize>,
}

/// Why bytes are not a bencoded value, and at which of them that showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not valid bencoding at byte {offset}: {problem}")]
pub struct BencodeError {
    /// Offset of the offending byte or value from the start of the input.
    pub offset: usize,
    /// What is wrong there.
    pub problem: Problem,
}

/// What is wrong with bencoded bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The input ends inside a value.
    #[error("the data ends in the middle of a value")]
    Truncated,
    /// A byte that begins no value.
    #[error("no value begins with this byte")]
    UnexpectedByte,
    /// An integer with a leading zero, `-0`, no digits or a foreign character.
    #[error("malformed integer")]
    Integer,
    /// A string length with a leading zero, too many digits or without its colon.
    #[error("malformed string length")]
    StringLength,
    /// A dictionary key that is not a string.
    #[error("a dictionary key is not a string")]
    KeyType,
    /// A key without a value.
    #[error("a dictionary key has no value")]
    MissingValue,
    /// A key that stands twice in one dictionary.
    #[error("a dictionary key is repeated")]
    DuplicateKey,
    /// Too many lists and dictionaries inside one another.
    #[error("lists and dictionaries are nested too deeply")]
    TooDeep,
    /// Too many values.
    #[error("there are too many values")]
    TooManyTokens,
    /// The input is longer than allowed.
    #[error("the data is too long")]
    TooLong,
    /// Bytes behind the value.
    #[error("there is data behind the end of the value")]
    Trailing,
}

/// Checks that `input` is one value, with no more than `limits.trailing` bytes behind it.
pub fn scan(input: &[u8], limits: Limits) -> Result<Scan, BencodeError> {
    if input.len() > limits.bytes {
        return Err(BencodeError { offset: limits.bytes, problem: Problem::TooLong });
    }
    let scan = scan_prefix(input, limits)?;
    if input.len() - scan.end > limits.trailing {
        return Err(BencodeError { offset: scan.end, problem: Problem::Trailing });
    }
    Ok(scan)
}

/// Checks the value at the start of `input`; anything may follow it (BEP 9 appends a piece).
///
/// Only the first `limits.bytes` bytes are looked at.
pub fn scan_prefix(input: &[u8], limits: Limits) -> Result<Scan, BencodeError> {
    let mut limits = limits;
    // Offsets of keys are kept in 32 bits.
    limits.bytes = limits.bytes.min(u32::MAX as usize);
    let window = &input[..input.len().min(limits.bytes)];
    let found = pass::<false>(window, limits).and_then(|scan| match scan.unsorted {
        // Neighbours alone do not show a repeated key: look again, at all keys.
        Some(_) => pass::<true>(window, limits),
        None => Ok(scan),
    });
    found.map_err(|err| match err.problem {
        Problem::Truncated if window.len() < input.len() => {
            BencodeError { offset: window.len(), problem: Problem::TooLong }
        }
        _ => err,
    })
}

/// Deepest nesting the scanner has room for.
const MAX_DEPTH: usize = limits::MAX_METAINFO_DEPTH;

/// Where a key stands in the input.
#[derive(Clone, Copy, Default)]
struct KeySpan {
    start: u32,
    len: u32,
}

impl KeySpan {
    fn of(self, input: &[u8]) -> &[u8] {
        let start = self.start as usize;
        input.get(start..start + self.len as usize).unwrap_or_default()
    }
}

/// What an open list or dictionary waits for.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
enum Wants {
    #[default]
    Item,
    Key,
    Value,
}

#[derive(Clone, Copy, Default)]
struct Frame {
    wants: Wants,
    /// There is a key before the next one.
    has_key: bool,
    /// The key before the next one.
    key: KeySpan,
    /// How many keys of outer dictionaries were open (`ALL_KEYS` only).
    keys_below: u32,
}

/// One pass over the value at the start of `input`. With `ALL_KEYS` every key of a dictionary is
/// compared with every other one, else only with its predecessor.
fn pass<const ALL_KEYS: bool>(input: &[u8], limits: Limits) -> Result<Scan, BencodeError> {
    let max_depth = limits.depth.min(MAX_DEPTH);
    let mut frames = [Frame::default(); MAX_DEPTH + 1];
    let mut keys: Vec<KeySpan> = Vec::new();
    let (mut pos, mut depth, mut tokens) = (0, 0, 0);
    let mut unsorted = None;
    let fail = |offset, problem| Err(BencodeError { offset, problem });

    loop {
        let Some(&first) = input.get(pos) else { return fail(pos, Problem::Truncated) };
        let frame = &mut frames[depth];
        if first == b'e' {
            if depth == 0 {
                return fail(pos, Problem::UnexpectedByte);
            }
            if frame.wants == Wants::Value {
                return fail(pos, Problem::MissingValue);
            }
            if ALL_KEYS && frame.wants == Wants::Key {
                let open = keys.get_mut(frame.keys_below as usize..).unwrap_or_default();
                if let Some(offset) = repeated(input, open) {
                    return fail(offset, Problem::DuplicateKey);
                }
                keys.truncate(frame.keys_below as usize);
            }
            depth -= 1;
            pos += 1;
        } else {
            tokens += 1;
            if tokens > limits.tokens {
                return fail(pos, Problem::TooManyTokens);
            }
            match first {
                b'0'..=b'9' => {
                    let (start, end) = string(input, pos)?;
                    if frame.wants == Wants::Key {
                        let key = KeySpan { start: start as u32, len: (end - start) as u32 };
                        if ALL_KEYS {
                            keys.push(key);
                        }
                        if frame.has_key {
                            match frame.key.of(input).cmp(key.of(input)) {
                                std::cmp::Ordering::Less => {}
                                std::cmp::Ordering::Equal => {
                                    return fail(pos, Problem::DuplicateKey);
                                }
                                std::cmp::Ordering::Greater => {
                                    unsorted = unsorted.or(Some(pos));
                                }
                            }
                        }
                        frame.has_key = true;
                        frame.key = key;
                        frame.wants = Wants::Value;
                        pos = end;
                        continue;
                    }
                    pos = end;
                }
                _ if frame.wants == Wants::Key => return fail(pos, Problem::KeyType),
                b'i' => pos = integer(input, pos)?,
                b'l' | b'd' => {
                    if depth >= max_depth {
                        return fail(pos, Problem::TooDeep);
                    }
                    depth += 1;
                    frames[depth] = Frame {
                        wants: if first == b'd' { Wants::Key } else { Wants::Item },
                        keys_below: keys.len() as u32,
                        ..Frame::default()
                    };
                    pos += 1;
                    continue;
                }
                _ => return fail(pos, Problem::UnexpectedByte),
            }
        }
        // A value ended at `pos`.
        if depth == 0 {
            return Ok(Scan { end: pos, tokens, unsorted });
        }
        let frame = &mut frames[depth];
        if frame.wants == Wants::Value {
            frame.wants = Wants::Key;
        }
    }
}

/// Offset of a key that equals another one of `keys`, which it sorts.
fn repeated(input: &[u8], keys: &mut [KeySpan]) -> Option<usize> {
    keys.sort_unstable_by(|a, b| a.of(input).cmp(b.of(input)).then(a.start.cmp(&b.start)));
    keys.windows(2)
        .find(|pair| pair[0].of(input) == pair[1].of(input))
        .map(|pair| pair[1].start as usize)
}

/// Start and end of the content of the string at `pos`, which holds a digit.
fn string(input: &[u8], pos: usize) -> Result<(usize, usize), BencodeError> {
    let mut len = 0usize;
    let mut at = pos;
    loop {
        match input.get(at) {
            Some(&digit @ b'0'..=b'9') => {
                len = len * 10 + usize::from(digit - b'0');
                at += 1;
                // Ten digits reach past every input the scanner takes.
                if at - pos > 10 || (at - pos > 1 && input[pos] == b'0') {
                    return Err(BencodeError { offset: pos, problem: Problem::StringLength });
                }
            }
            Some(b':') => break,
            Some(_) => return Err(BencodeError { offset: at, problem: Problem::StringLength }),
            None => return Err(BencodeError { offset: at, problem: Problem::Truncated }),
        }
    }
    let start = at + 1;
    if len > input.len() - start {
        return Err(BencodeError { offset: pos, problem: Problem::Truncated });
    }
    Ok((start, start + len))
}

/// End of the integer at `pos`, which holds `i`. BEP 3 sets no largest integer, so neither do we:
/// who needs the number checks its range.
fn integer(input: &[u8], pos: usize) -> Result<usize, BencodeError> {
    let digits = if input.get(pos + 1) == Some(&b'-') { pos + 2 } else { pos + 1 };
    let mut at = digits;
    while input.get(at).is_some_and(u8::is_ascii_digit) {
        at += 1;
    }
    match input.get(at) {
        None => return Err(BencodeError { offset: at, problem: Problem::Truncated }),
        Some(b'e') => {}
        Some(_) => return Err(BencodeError { offset: at, problem: Problem::Integer }),
    }
    let leading_zero = input[digits] == b'0' && (at - digits > 1 || digits == pos + 2);
    if at == digits || leading_zero {
        return Err(BencodeError { offset: pos, problem: Problem::Integer });
    }
    Ok(at + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SMALL: Limits = Limits { bytes: 1000, depth: 4, tokens: 20, trailing: 0 };

    fn problem(input: &[u8]) -> (Problem, usize) {
        let err = scan(input, SMALL).expect_err("must be refused");
        (err.problem, err.offset)
    }

    #[test]
    fn takes_every_kind_of_value() {
        for good in [
            "i0e",
            "i-1e",
            "i99999999999999999999999e",
            "0:",
            "3:abc",
            "le",
            "de",
            "d0:i1ee",
            "d1:ai1e1:bl1:xd1:yleeee",
        ] {
            let scan = scan(good.as_bytes(), SMALL).unwrap_or_else(|e| panic!("{good}: {e}"));
            assert_eq!((scan.end, scan.unsorted), (good.len(), None));
        }
        assert_eq!(scan(b"d1:ai1e1:bl1:xee", SMALL).map(|s| s.tokens), Ok(6));
    }

    #[test]
    fn refuses_what_readers_could_read_differently() {
        use Problem::*;
        for (bad, want) in [
            ("", (Truncated, 0)),
            ("i1", (Truncated, 2)),
            ("ie", (Integer, 0)),
            ("i-e", (Integer, 0)),
            ("i01e", (Integer, 0)),
            ("i00e", (Integer, 0)),
            ("i-0e", (Integer, 0)),
            ("i-01e", (Integer, 0)),
            ("i+1e", (Integer, 1)),
            ("i1.5e", (Integer, 2)),
            ("01:a", (StringLength, 0)),
            ("00:", (StringLength, 0)),
            ("1a", (StringLength, 1)),
            ("12345678901:", (StringLength, 0)),
            ("2:a", (Truncated, 0)),
            ("9999999999:a", (Truncated, 0)),
            ("-1:a", (UnexpectedByte, 0)),
            ("e", (UnexpectedByte, 0)),
            ("x", (UnexpectedByte, 0)),
            ("l", (Truncated, 1)),
            ("l1:a", (Truncated, 4)),
            ("di1ei1ee", (KeyType, 1)),
            ("dlei1ee", (KeyType, 1)),
            ("d1:ae", (MissingValue, 4)),
            ("d1:ai1e1:ai2ee", (DuplicateKey, 7)),
            ("i1ei2e", (Trailing, 3)),
            ("lllll", (TooDeep, 4)),
        ] {
            assert_eq!(problem(bad.as_bytes()), want, "{bad}");
        }
    }

    #[test]
    fn unsorted_keys_are_noted_and_repeated_ones_found_anywhere() {
        let scan_of = |s: &str| scan(s.as_bytes(), SMALL);
        assert_eq!(scan_of("d1:bi1e1:ai2ee").map(|s| s.unsorted), Ok(Some(7)));
        assert_eq!(scan_of("d2:aai1e1:ai2ee").map(|s| s.unsorted), Ok(Some(8)));
        let far = problem(b"d1:bi1e1:ai2e1:bi3ee");
        assert_eq!(far, (Problem::DuplicateKey, 15));
        // The same key in an inner or a neighbouring dictionary is another key.
        assert!(scan_of("ld1:bi1e1:ad1:bi1eeed1:bi1eee").is_ok());
        assert_eq!(problem(b"d1:bi1e1:ad1:yi1e1:xi1e1:yi1eee").0, Problem::DuplicateKey);
    }

    #[test]
    fn limits_hold() {
        let many = format!("l{}e", "0:".repeat(20));
        assert_eq!(problem(many.as_bytes()), (Problem::TooManyTokens, 39));
        assert_eq!(problem(&[b'x'; 1001]), (Problem::TooLong, 1000));
        let long = [b"2000:".as_slice(), &[b'x'; 2000]].concat();
        let err = scan_prefix(&long, SMALL).expect_err("too long");
        assert_eq!(err.problem, Problem::TooLong);
        // Deep nesting ends at the limit, whatever is asked for.
        let deep = vec![b'l'; 1 << 20];
        let err = scan(&deep, Limits { depth: usize::MAX, ..Limits::METAINFO }).expect_err("deep");
        assert_eq!((err.problem, err.offset), (Problem::TooDeep, MAX_DEPTH));
    }

    #[test]
    fn a_prefix_may_be_followed_by_anything() {
        assert_eq!(scan_prefix(b"d1:ai1ee\xff\xffrest", SMALL).map(|s| s.end), Ok(8));
        let lenient = Limits { trailing: 2, ..SMALL };
        assert_eq!(scan(b"i1e\r\n", lenient).map(|s| s.end), Ok(3));
        assert_eq!(scan(b"i1e\r\n\n", lenient).map_err(|e| e.problem), Err(Problem::Trailing));
    }

    proptest! {
        #[test]
        fn never_panics_and_never_passes_the_end(
            input in prop::collection::vec(prop::sample::select(b"dlie0123:-ax".to_vec()), 0..60)
        ) {
            if let Ok(found) = scan_prefix(&input, SMALL) {
                prop_assert!(found.end <= input.len());
                // The end is exact: nothing shorter is a value, and the value alone is one.
                prop_assert!(scan(&input[..found.end - 1], SMALL).is_err());
                prop_assert_eq!(scan(&input[..found.end], SMALL), Ok(found));
            }
        }
    }
}
