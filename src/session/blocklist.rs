//! Files of addresses to be blocked, packed by gzip or not.
//!
//! Bounded in what is read and in what comes of it; how a list is packed is seen in its first bytes,
//! whatever its name. What a line means is in [`crate::base::ip_filter::list`].

use std::{
    fs::File,
    io::{self, Cursor, Read},
    path::{Path, PathBuf},
};

use flate2::read::MultiGzDecoder;

use crate::base::{
    ip_filter::{
        Builder, TooManyRanges,
        list::{List, Understood},
    },
    limits::MAX_BLOCKLIST_BYTES,
};

/// Bytes read at a time.
const READ_LEN: usize = 64 << 10;
/// Bytes that tell what a file is.
const HEAD_LEN: usize = 8;
const GZIP: &[u8] = b"\x1f\x8b";
const ZIP: &[u8] = b"PK\x03\x04";
const P2B: &[u8] = b"\xff\xff\xff\xffP2B";

/// Why a file is no list that can be used.
#[derive(Debug, thiserror::Error)]
#[error("could not use the block list `{}`", path.display())]
pub struct BlocklistError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub source: Unusable,
}

/// What is wrong with a list.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// It can't be read.
    #[error(transparent)]
    Read(#[from] io::Error),
    /// Its packing is damaged.
    #[error("it can't be unpacked: {0}")]
    Damaged(io::Error),
    /// It goes on for longer than [`MAX_BLOCKLIST_BYTES`].
    #[error("it is larger than any block list ({} MiB)", MAX_BLOCKLIST_BYTES >> 20)]
    TooLarge,
    /// It has more ranges than any list.
    #[error(transparent)]
    TooMany(#[from] TooManyRanges),
    /// Not one line names addresses.
    #[error("{}", no_good_line(*first_bad))]
    NothingUnderstood {
        /// The first line that is not understood, from 1; `None` if there are only remarks.
        first_bad: Option<u64>,
    },
    /// A form that is not read.
    #[error("it is {0}")]
    Form(&'static str),
}

fn no_good_line(first_bad: Option<u64>) -> String {
    match first_bad {
        Some(line) => format!("no line of it names addresses, from line {line} on"),
        None => "it names no addresses".to_owned(),
    }
}

/// Adds the ranges of the list at `path` to those in `into`.
///
/// # Errors
/// [`BlocklistError`]: the list can't be used, and neither can `into`, which may have a part of it.
pub fn read(path: &Path, into: &mut Builder) -> Result<Understood, BlocklistError> {
    let list = File::open(path).map_err(Unusable::Read).and_then(|file| read_from(file, into));
    list.map_err(|source| BlocklistError { path: path.to_owned(), source })
}

/// The same for a list that comes from anywhere.
///
/// # Errors
/// [`Unusable`], as for [`read`].
pub fn read_from(bytes: impl Read, into: &mut Builder) -> Result<Understood, Unusable> {
    read_bounded(bytes, into, MAX_BLOCKLIST_BYTES)
}

fn read_bounded(bytes: impl Read, into: &mut Builder, most: usize) -> Result<Understood, Unusable> {
    // One more, to see that there is one.
    let mut bytes = bytes.take(most as u64 + 1);
    let mut head = Vec::with_capacity(HEAD_LEN);
    bytes.by_ref().take(HEAD_LEN as u64).read_to_end(&mut head)?;
    if head.starts_with(P2B) {
        return Err(Unusable::Form("PeerGuardian's binary form (P2B): text lists are read"));
    }
    if head.starts_with(ZIP) {
        return Err(Unusable::Form("a zip archive: unpack it first"));
    }
    let is_packed = head.starts_with(GZIP);
    let (all, list) = (Cursor::new(head).chain(bytes.by_ref()), List::new(into));
    let understood = if is_packed {
        read_text(MultiGzDecoder::new(all), list, most).map_err(damaged)
    } else {
        read_text(all, list, most)
    };
    if bytes.limit() == 0 {
        return Err(Unusable::TooLarge);
    }
    match understood? {
        Understood { good: 0, first_bad, .. } => Err(Unusable::NothingUnderstood { first_bad }),
        understood => Ok(understood),
    }
}

fn read_text(
    mut bytes: impl Read,
    mut list: List<'_>,
    most: usize,
) -> Result<Understood, Unusable> {
    let (mut buf, mut all) = (vec![0; READ_LEN], 0);
    loop {
        let read = match bytes.read(&mut buf) {
            Ok(0) => return Ok(list.end()?),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error.into()),
        };
        all += read;
        if all > most {
            return Err(Unusable::TooLarge);
        }
        list.push(buf.get(..read).unwrap_or_default())?;
    }
}

/// Tells errors of the unpacking from those of the file.
fn damaged(error: Unusable) -> Unusable {
    use io::ErrorKind::{InvalidData, InvalidInput, UnexpectedEof};
    match error {
        Unusable::Read(error)
            if matches!(error.kind(), InvalidData | InvalidInput | UnexpectedEof) =>
        {
            Unusable::Damaged(error)
        }
        error => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compression, write::GzEncoder};
    use std::io::Write as _;

    fn packed(text: &[u8]) -> Vec<u8> {
        let mut gz = GzEncoder::new(Vec::new(), Compression::fast());
        gz.write_all(text).and_then(|()| gz.finish()).expect("packed")
    }

    fn ranges(bytes: &[u8]) -> Result<(usize, Understood), String> {
        let mut builder = Builder::default();
        let read = read_from(bytes, &mut builder).map_err(|error| error.to_string());
        read.map(|understood| (builder.build().ranges(), understood))
    }

    #[test]
    fn packed_or_not_it_is_the_same() {
        let text = b"a:1.2.3.4-1.2.3.9\nwhat\n10.0.0.0/8\n";
        let plain = ranges(text).expect("a list");
        assert_eq!(plain, (2, Understood { good: 2, bad: 1, first_bad: Some(2) }));
        assert_eq!(ranges(&packed(text)), Ok(plain));
        // As `cat one.gz other.gz` has it.
        let two = [packed(text), packed(b"2001:db8::/32")].concat();
        assert_eq!(ranges(&two).expect("a list").0, 3);
    }

    #[test]
    fn what_is_no_list_is_refused() {
        let text = packed(b"1.2.3.4\n");
        for (bytes, says) in [
            (&b""[..], "names no addresses"),
            (b"# nothing but a remark\n", "names no addresses"),
            (b"\n<html>\n", "from line 2 on"),
            (b"\xff\xff\xff\xffP2B\x02name", "P2B"),
            (b"PK\x03\x04\x14", "zip"),
            (&text[..text.len() - 9], "unpacked"),
            (b"\x1f\x8bnonsense", "unpacked"),
        ] {
            let error = ranges(bytes).expect_err("no list");
            assert!(error.contains(says), "{error}");
        }
        // Nothing blocked is no fault of a list.
        assert_eq!(ranges(b"1.2.3.4-1.2.3.5,200,good").expect("a list").0, 0);
    }

    #[test]
    fn neither_a_large_file_nor_a_small_one_that_grows_fills_memory() {
        let text = b"1.2.3.4\n".repeat(100);
        let read = |bytes: &[u8], most| read_bounded(bytes, &mut Builder::default(), most);
        assert!(read(&text, 800).is_ok() && read(&packed(&text), 800).is_ok());
        assert!(matches!(read(&text, 799), Err(Unusable::TooLarge)));
        let bomb = packed(&text);
        assert!(bomb.len() < 100);
        assert!(matches!(read(&bomb, 799), Err(Unusable::TooLarge)));
        // A packed file without an end, which never becomes anything.
        let nothing = packed(b"").repeat(1_000);
        assert!(matches!(read(&nothing, 799), Err(Unusable::TooLarge)));
        let endless = read_from(io::repeat(b'x'), &mut Builder::default());
        assert!(matches!(endless, Err(Unusable::TooLarge)));
    }
}
