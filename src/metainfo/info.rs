//! The info dictionary: what is shared, and the hash that names it (BEP 3 *info dictionary*,
//! BEP 27 `private`, BEP 47 padding and attributes, BEP 52 hybrids).
//!
//! Holds the original bytes once; piece hashes are read from there. Knows nothing of trackers.

use std::{fmt, ops::Range};

use super::{
    MetainfoError,
    layout::{Attributes, Layout, LayoutBuilder},
    text,
};
use crate::{
    base::{
        geometry::Geometry,
        hash::{InfoHash, Sha1Hash, sha1, sha256},
        index::PieceIndex,
        limits::{MAX_PATH_DEPTH, MAX_PIECE_LENGTH, MAX_PIECES},
        units::BLOCK_LEN,
    },
    bencode::{Dict, Limits, List, Value},
};

/// What is shared: files, pieces and their hashes.
pub struct Info {
    bytes: Box<[u8]>,
    info_hash: InfoHash,
    geometry: Geometry,
    layout: Layout,
    private: bool,
    source: Option<Box<str>>,
    /// Where the piece hashes stand in `bytes`: 20 bytes for each piece of `geometry`.
    pieces: Range<usize>,
    /// Where the v2 file tree stands in `bytes`, in a hybrid.
    file_tree: Option<Range<usize>>,
}

/// Which versions of the protocol a torrent can be shared by (BEP 52).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetaVersion {
    /// BEP 3 only.
    V1,
    /// BEP 3 and BEP 52; used as v1.
    Hybrid,
}

impl Info {
    /// Reads an info dictionary: `info` is exactly its bytes, as they stand in a torrent file or
    /// came from peers (BEP 9). Whether they have the expected hash is for the caller to compare.
    pub fn from_bytes(info: &[u8]) -> Result<Self, MetainfoError> {
        let value = Value::scan(info, Limits::INFO)?;
        Self::from_value(value)
    }

    /// Reads a scanned info dictionary.
    pub(super) fn from_value(value: Value<'_>) -> Result<Self, MetainfoError> {
        let dict = value.as_dict().ok_or(MetainfoError::NotADictionary)?;
        let raw = dict.raw();
        let keys = Keys::read(dict)?;

        let v2 = match keys.meta_version {
            None | Some(1) => false,
            Some(2) => true,
            Some(version) => return Err(MetainfoError::UnknownVersion { version }),
        };
        if keys.pieces.is_none() && (v2 || keys.file_tree.is_some()) {
            return Err(MetainfoError::V2Only);
        }
        let pieces = keys.pieces.ok_or(MetainfoError::Missing { key: "pieces" })?;
        let piece_length =
            keys.piece_length.ok_or(MetainfoError::Missing { key: "piece length" })?;
        let layout = keys.layout()?;
        let geometry = geometry(layout.total(), piece_length)?;
        if pieces.len() as u64 != u64::from(geometry.pieces()) * 20 {
            let (bytes, pieces) = (pieces.len(), geometry.pieces());
            return Err(MetainfoError::PieceCount { bytes, pieces });
        }
        Ok(Info {
            info_hash: InfoHash { v1: Some(sha1(raw)), v2: v2.then(|| sha256(raw)) },
            geometry,
            layout,
            private: keys.private,
            source: keys.source,
            pieces: span(raw, pieces),
            file_tree: keys.file_tree.filter(|_| v2).map(|tree| span(raw, tree)),
            bytes: raw.into(),
        })
    }

    /// Stands for one of which only the hash is known: it has no pieces, and one empty file that is
    /// called `name`, or by the hash.
    pub fn unknown(info_hash: InfoHash, name: Option<&str>) -> Self {
        let layout = |name: &str| {
            let mut builder = LayoutBuilder::file();
            builder.push([name.as_bytes()], 0, Attributes::default())?;
            builder.finish()
        };
        let by_hash = || layout(&info_hash.wire().to_string()).expect("a hash is a name");
        Info {
            info_hash,
            geometry: Geometry::new(0, BLOCK_LEN).expect("a piece of one block"),
            layout: name.and_then(|name| layout(name).ok()).unwrap_or_else(by_hash),
            private: false,
            source: None,
            pieces: 0..0,
            file_tree: None,
            bytes: Box::default(),
        }
    }

    /// The hash (both hashes of a hybrid) of [`bytes`](Self::bytes).
    pub const fn info_hash(&self) -> InfoHash {
        self.info_hash
    }

    /// The dictionary byte for byte as it was read.
    pub const fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Name of the only file, or of the folder that holds the files.
    pub fn name(&self) -> &str {
        self.layout.name()
    }

    /// How the content divides into pieces.
    pub const fn geometry(&self) -> Geometry {
        self.geometry
    }

    /// How the content divides into files.
    pub const fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Whether peers may come from its trackers only (BEP 27).
    pub const fn private(&self) -> bool {
        self.private
    }

    /// What some private trackers write to make the info hash their own.
    pub fn source(&self) -> Option<&str> {
        self.source.as_deref()
    }

    /// Which versions of the protocol it can be shared by.
    pub const fn version(&self) -> MetaVersion {
        if self.info_hash.v2.is_some() { MetaVersion::Hybrid } else { MetaVersion::V1 }
    }

    /// The bencoded v2 file tree of a hybrid (BEP 52).
    pub fn file_tree(&self) -> Option<&[u8]> {
        self.file_tree.clone().map(|tree| &self.bytes[tree])
    }

    /// The SHA-1 that `piece` must have.
    ///
    /// # Panics
    ///
    /// If `piece` is not one of [`geometry`](Self::geometry)'s.
    pub fn piece_hash(&self, piece: PieceIndex) -> Sha1Hash {
        let hashes = &self.bytes[self.pieces.clone()];
        let (hashes, _) = hashes.as_chunks();
        Sha1Hash(*hashes.get(piece.at()).expect("the piece index is of this torrent"))
    }
}

impl AsRef<[u8]> for Info {
    fn as_ref(&self) -> &[u8] {
        self.bytes()
    }
}

impl fmt::Debug for Info {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Info({}, {:?}, {:?})", self.info_hash.wire(), self.layout, self.geometry)
    }
}

/// The geometry of a torrent, within our limits.
pub(super) fn geometry(total: u64, piece_length: u64) -> Result<Geometry, MetainfoError> {
    let piece_length = u32::try_from(piece_length)
        .ok()
        .filter(|length| (1..=MAX_PIECE_LENGTH).contains(length))
        .ok_or(MetainfoError::PieceLength { piece_length })?;
    Geometry::new(total, piece_length)
        .filter(|geometry| geometry.pieces() <= MAX_PIECES)
        .ok_or(MetainfoError::TooManyPieces { piece_length })
}

/// Where `inner`, which is a part of `outer`, stands in it.
fn span(outer: &[u8], inner: &[u8]) -> Range<usize> {
    let start = inner.as_ptr().addr() - outer.as_ptr().addr();
    start..start + inner.len()
}

/// The keys of an info dictionary that we use.
#[derive(Default)]
struct Keys<'a> {
    name: Option<&'a [u8]>,
    name_utf8: Option<&'a [u8]>,
    length: Option<u64>,
    files: Option<List<'a>>,
    attributes: Attributes,
    piece_length: Option<u64>,
    pieces: Option<&'a [u8]>,
    private: bool,
    source: Option<Box<str>>,
    meta_version: Option<i64>,
    file_tree: Option<&'a [u8]>,
}

impl<'a> Keys<'a> {
    fn read(info: Dict<'a>) -> Result<Self, MetainfoError> {
        let mut keys = Keys::default();
        for (key, value) in info.iter() {
            match key {
                b"name" => keys.name = Some(value.as_bytes().ok_or(not_a("name", "a string"))?),
                b"name.utf-8" => keys.name_utf8 = utf8(value),
                b"length" => keys.length = Some(value.as_u64().ok_or(not_a("length", A_SIZE))?),
                b"files" => keys.files = Some(value.as_list().ok_or(not_a("files", "a list"))?),
                b"attr" => keys.attributes = attributes(value),
                b"piece length" => {
                    let length = value.as_u64().ok_or(not_a("piece length", A_SIZE))?;
                    keys.piece_length = Some(length);
                }
                b"pieces" => {
                    keys.pieces = Some(value.as_bytes().ok_or(not_a("pieces", "a string"))?);
                }
                b"private" => keys.private = value.as_i64() == Some(1),
                b"source" => keys.source = text(value).map(Into::into),
                b"meta version" => {
                    let version = value.as_i64().ok_or(not_a("meta version", "a number"))?;
                    keys.meta_version = Some(version);
                }
                b"file tree" => {
                    let tree = value.as_dict().ok_or(not_a("file tree", "a dictionary"))?;
                    keys.file_tree = Some(tree.raw());
                }
                _ => {}
            }
        }
        Ok(keys)
    }

    fn layout(&self) -> Result<Layout, MetainfoError> {
        let name = self.name_utf8.or(self.name).ok_or(MetainfoError::Missing { key: "name" })?;
        let builder = match (self.length, self.files) {
            (Some(length), None) => {
                let mut builder = LayoutBuilder::file();
                let length = if self.attributes.symlink { 0 } else { length };
                builder.push([name], length, self.attributes)?;
                builder
            }
            (None, Some(files)) => {
                let mut builder = LayoutBuilder::folder(name)?;
                let mut path = Vec::new();
                let mut any = false;
                for file in files.iter() {
                    push_file(&mut builder, file, &mut path)?;
                    any = true;
                }
                if !any {
                    return Err(MetainfoError::NoFiles);
                }
                builder
            }
            (None, None) => return Err(MetainfoError::NoFiles),
            (Some(_), Some(_)) => return Err(MetainfoError::LengthAndFiles),
        };
        Ok(builder.finish()?)
    }
}

const A_SIZE: &str = "a number from 0";

const fn not_a(key: &'static str, expected: &'static str) -> MetainfoError {
    MetainfoError::WrongType { key, expected }
}

/// Adds an item of `files`. `path` is a buffer to use again.
fn push_file<'a>(
    builder: &mut LayoutBuilder,
    file: Value<'a>,
    path: &mut Vec<&'a [u8]>,
) -> Result<(), MetainfoError> {
    let (mut length, mut list, mut list_utf8) = (None, None, None);
    let mut attrs = Attributes::default();
    for (key, value) in file.as_dict().ok_or(not_a("files", "a list of dictionaries"))?.iter() {
        match key {
            b"length" => length = Some(value.as_u64().ok_or(not_a("length", A_SIZE))?),
            b"path" => list = value.as_list(),
            b"path.utf-8" => list_utf8 = value.as_list(),
            b"attr" => attrs = attributes(value),
            _ => {}
        }
    }
    path.clear();
    // One too many is enough to be refused.
    const MOST: usize = MAX_PATH_DEPTH + 1;
    if let Some(list) = list_utf8 {
        path.extend(list.iter().take(MOST).map_while(utf8));
        if path.len() != list.iter().take(MOST).count() {
            path.clear();
        }
    }
    if path.is_empty() {
        let wrong = || not_a("path", "a list of strings");
        match list {
            // Padding needs no name (BEP 47).
            None if attrs.padding => {}
            list => {
                for component in list.ok_or_else(wrong)?.iter().take(MOST) {
                    path.push(component.as_bytes().ok_or_else(wrong)?);
                }
            }
        }
    }
    // A link takes no part of the content, whatever length it claims (BEP 47).
    let length = match length {
        _ if attrs.symlink => 0,
        Some(length) => length,
        None => return Err(MetainfoError::Missing { key: "length" }),
    };
    if path.is_empty() && attrs.padding {
        let digits = length.to_string();
        let nameless = [b".pad".as_slice(), digits.as_bytes()];
        return Ok(builder.push(nameless, length, attrs)?);
    }
    // An older maker's padding, from before there was an attribute for it.
    attrs.padding |= path.last().is_some_and(|name| name.starts_with(b"_____padding_file_"));
    Ok(builder.push(path.iter().copied(), length, attrs)?)
}

/// A string in UTF-8, as the `.utf-8` keys promise it.
fn utf8(value: Value<'_>) -> Option<&[u8]> {
    value.as_str().filter(|text| !text.is_empty()).map(str::as_bytes)
}

/// The letters of `attr`; unknown ones mean nothing (BEP 47).
fn attributes(value: Value<'_>) -> Attributes {
    let letters = value.as_bytes().unwrap_or_default();
    Attributes {
        padding: letters.contains(&b'p'),
        executable: letters.contains(&b'x'),
        hidden: letters.contains(&b'h'),
        symlink: letters.contains(&b'l'),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metainfo::layout::{File, LayoutError};

    const HASH: &str = "20:aaaaaaaaaaaaaaaaaaaa";

    fn info(keys: &str) -> Result<Info, MetainfoError> {
        Info::from_bytes(format!("d{keys}e").as_bytes())
    }

    /// A folder of `files` that together make one piece.
    fn folder(files: &str) -> Result<Info, MetainfoError> {
        info(&format!("5:filesl{files}e4:name1:n12:piece lengthi16384e6:pieces{HASH}"))
    }

    fn paths(info: &Info) -> Vec<String> {
        info.layout().files().map(|f| f.path.to_string()).collect()
    }

    #[test]
    fn a_single_file() {
        let keys = format!("6:lengthi5e4:name1:a12:piece lengthi16384e6:pieces{HASH}");
        let i = info(&format!("{keys}7:privatei1e6:source2:me")).expect("valid");
        assert_eq!((i.name(), i.private(), i.source()), ("a", true, Some("me")));
        assert_eq!((i.geometry().total(), i.geometry().pieces()), (5, 1));
        assert_eq!(i.piece_hash(PieceIndex(0)).0, *b"aaaaaaaaaaaaaaaaaaaa");
        assert_eq!((i.version(), i.file_tree()), (MetaVersion::V1, None));
        assert_eq!(i.info_hash().v1, Some(sha1(i.bytes())));
        assert!(!info(&keys).expect("valid").private());
    }

    #[test]
    fn empty_content_has_no_pieces() {
        let i = info("6:lengthi0e4:name1:a12:piece lengthi16384e6:pieces0:").expect("valid");
        assert_eq!((i.geometry().pieces(), i.layout().len()), (0, 1));
    }

    #[test]
    fn utf8_names_go_before_names() {
        let i = info(&format!(
            "5:filesld6:lengthi1e4:pathl1:?e10:path.utf-8l1:d3:☃ee\
             d6:lengthi1e4:pathl1:xe10:path.utf-8l0:eee\
             4:name1:n10:name.utf-82:ü12:piece lengthi16384e6:pieces{HASH}",
        ))
        .expect("valid");
        assert_eq!(paths(&i), ["ü/d/☃", "ü/x"]);
    }

    #[test]
    fn attributes_and_padding() {
        let i = folder(
            "d4:attr1:x6:lengthi5e4:pathl1:aee\
             d4:attr2:ph6:lengthi3e4:pathl4:.pad1:3ee\
             d4:attr1:l6:lengthi9e4:pathl1:le12:symlink pathl2:..2:..ee\
             d6:lengthi2e4:pathl24:_____padding_file_0_if yee\
             d4:attr1:p6:lengthi3e4:pathl4:.pad1:3ee\
             d4:attr1:p6:lengthi7ee",
        )
        .expect("valid");
        let files: Vec<_> = i.layout().files().collect();
        let stored: Vec<_> = files.iter().map(File::is_stored).collect();
        assert_eq!(stored, [true, false, false, false, false, false]);
        assert!(files[0].attributes.executable && files[1].attributes.hidden);
        assert_eq!((files[2].length, files[2].attributes.symlink), (0, true));
        assert_eq!(files[5].path.to_string(), "n/.pad/7");
        assert_eq!(i.layout().total(), 20);
    }

    #[test]
    fn names_that_leave_the_folder_are_refused() {
        for path in ["2:..", "1:.", "0:", "3:a/b", "4:/etc", "2:a\0"] {
            let got = folder(&format!("d6:lengthi1e4:pathl1:x{path}ee"));
            assert!(matches!(got, Err(MetainfoError::Layout(LayoutError::Name(_)))), "{path}");
        }
        let name = info(&format!("6:lengthi1e4:name2:..12:piece lengthi9e6:pieces{HASH}"));
        assert!(matches!(name, Err(MetainfoError::Layout(LayoutError::Name(_)))));
        let empty = folder("d6:lengthi1e4:pathlee");
        assert!(matches!(empty, Err(MetainfoError::Layout(LayoutError::NoPath { index: 0 }))));
    }

    #[test]
    fn inconsistent_dictionaries_are_refused() {
        use MetainfoError::*;
        let err = |keys: &str| info(keys).expect_err(keys);
        let pieces = format!("6:pieces{HASH}");
        assert_eq!(err("4:name1:a"), Missing { key: "pieces" });
        assert_eq!(err(&format!("6:lengthi1e4:name1:a{pieces}")), Missing { key: "piece length" });
        let tail = format!("4:name1:a12:piece lengthi16384e{pieces}");
        assert_eq!(err(&tail), NoFiles);
        assert_eq!(err(&format!("5:filesle{tail}")), NoFiles);
        assert_eq!(err(&format!("5:filesle6:lengthi1e{tail}")), LengthAndFiles);
        assert_eq!(err(&format!("6:lengthi-1e{tail}")), not_a("length", A_SIZE));
        assert_eq!(err(&format!("6:lengthi99999e{tail}")), PieceCount { bytes: 20, pieces: 7 });
        let zero = format!("6:lengthi1e4:name1:a12:piece lengthi0e{pieces}");
        assert_eq!(err(&zero), PieceLength { piece_length: 0 });
        let many = format!("6:lengthi99999999999e4:name1:a12:piece lengthi1e{pieces}");
        assert_eq!(err(&many), TooManyPieces { piece_length: 1 });
        assert!(matches!(err("1:ai1e1:ai2e"), Bencode(_)));
    }

    #[test]
    fn versions() {
        let tail = "4:name1:a12:piece lengthi16384e";
        let v2 = format!("9:file treede12:meta versioni2e{tail}");
        assert_eq!(info(&v2).map(|_| ()), Err(MetainfoError::V2Only));
        let hybrid =
            info(&format!("9:file treed1:ai1ee6:lengthi1e12:meta versioni2e{tail}6:pieces{HASH}"))
                .expect("valid");
        assert_eq!(hybrid.version(), MetaVersion::Hybrid);
        assert_eq!(hybrid.info_hash().v2, Some(sha256(hybrid.bytes())));
        assert_eq!(hybrid.file_tree(), Some(b"d1:ai1ee".as_slice()));
        let future = info(&format!("12:meta versioni3e{tail}"));
        assert_eq!(future.map(|_| ()), Err(MetainfoError::UnknownVersion { version: 3 }));
    }
}
