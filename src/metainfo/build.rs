//! Makes torrents: names, lengths and piece hashes into bytes, the same for the same input.
//!
//! Reading the files and hashing their pieces is the caller's part: [`Builder::layout`] and
//! [`Builder::geometry`] say what to read, in which order.

use std::sync::Arc;

use super::{
    HostPort, Info, Metainfo, MetainfoError,
    info::geometry,
    layout::{Attributes, Layout, LayoutBuilder, LayoutError},
};
use crate::{
    base::{geometry::Geometry, hash::Sha1Hash, units::BLOCK_LEN},
    bencode::{self, write::DictWriter},
};

/// Most pieces that [`auto_piece_length`] aims at: 40 KB of hashes.
const AUTO_PIECES: u64 = 2_000;
/// Longest piece that [`auto_piece_length`] chooses: some clients refuse longer ones.
const AUTO_MAX: u32 = 16 << 20;

/// The piece length that divides `total` bytes into 1,000 to 2,000 pieces: a power of two, at
/// least 16 KiB and at most 16 MiB.
pub fn auto_piece_length(total: u64) -> u32 {
    let mut length = BLOCK_LEN;
    while length < AUTO_MAX && total.div_ceil(u64::from(length)) > AUTO_PIECES {
        length *= 2;
    }
    length
}

/// A file to put into a folder torrent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewFile {
    /// Folder names and file name below the torrent's own folder; at least one.
    pub path: Vec<String>,
    /// Length in bytes.
    pub length: u64,
}

/// Why a torrent cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    /// The files cannot be laid out, or have names that clients would change.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// No files, or pieces beyond our limits.
    #[error(transparent)]
    Metainfo(#[from] MetainfoError),
    /// Not one hash for each piece.
    #[error("{hashes} piece hashes were given for {pieces} pieces")]
    PieceCount {
        /// Number of hashes given.
        hashes: usize,
        /// Number of pieces.
        pieces: u32,
    },
}

/// What the files of a new torrent are sorted by: the path as a whole, `/` between its components.
///
/// BEP 3 leaves the order open; mktorrent and libtorrent do it so, and the same files shall give the
/// same info hash.
pub fn file_order(path: &[String]) -> String {
    path.join("/")
}

/// A torrent in the making.
#[derive(Debug, Clone)]
pub struct Builder {
    layout: Layout,
    geometry: Geometry,
    /// Tracker URLs in tiers.
    pub tiers: Vec<Vec<String>>,
    /// Web seeds (BEP 19).
    pub web_seeds: Vec<String>,
    /// DHT nodes to start from (BEP 5).
    pub nodes: Vec<HostPort>,
    /// Peers may come from the trackers only (BEP 27).
    pub private: bool,
    /// Makes the info hash differ from that of the same files elsewhere.
    pub source: Option<String>,
    /// Free text.
    pub comment: Option<String>,
    /// The program that makes it.
    pub created_by: Option<String>,
    /// Now, in seconds since 1970; `None` leaves the date out.
    pub creation_date: Option<u64>,
}

impl Builder {
    /// A torrent of one file. A piece length of `None` is [chosen](auto_piece_length).
    pub fn file(name: &str, length: u64, piece_length: Option<u32>) -> Result<Self, BuildError> {
        let mut layout = LayoutBuilder::file();
        layout.push([name.as_bytes()], length, Attributes::default())?;
        Self::new(layout, piece_length)
    }

    /// A torrent of a folder. The files are put in [order](file_order).
    pub fn folder(
        name: &str,
        files: Vec<NewFile>,
        piece_length: Option<u32>,
    ) -> Result<Self, BuildError> {
        if files.is_empty() {
            return Err(MetainfoError::NoFiles.into());
        }
        let mut files = files;
        files.sort_by_cached_key(|file| file_order(&file.path));
        let mut layout = LayoutBuilder::folder(name.as_bytes())?;
        for file in &files {
            let path = file.path.iter().map(String::as_bytes);
            layout.push(path, file.length, Attributes::default())?;
        }
        Self::new(layout, piece_length)
    }

    fn new(layout: LayoutBuilder, piece_length: Option<u32>) -> Result<Self, BuildError> {
        if let Some(changed) = layout.changed() {
            return Err(LayoutError::Name(changed.clone()).into());
        }
        let layout = layout.finish()?;
        let total = layout.total();
        let piece_length = piece_length.unwrap_or_else(|| auto_piece_length(total));
        Ok(Builder {
            geometry: geometry(total, piece_length.into())?,
            layout,
            tiers: Vec::new(),
            web_seeds: Vec::new(),
            nodes: Vec::new(),
            private: false,
            source: None,
            comment: None,
            created_by: None,
            creation_date: None,
        })
    }

    /// The files in the order in which they are hashed.
    pub const fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The pieces to hash.
    pub const fn geometry(&self) -> Geometry {
        self.geometry
    }

    /// The finished torrent, given the hash of each piece in order. Write
    /// [`Metainfo::to_bytes`] to a file.
    pub fn build(self, hashes: &[Sha1Hash]) -> Result<Metainfo, BuildError> {
        let pieces = self.geometry.pieces();
        if hashes.len() != pieces as usize {
            return Err(BuildError::PieceCount { hashes: hashes.len(), pieces });
        }
        let info = bencode::write::dict(|info| self.write_info(info, hashes));
        Ok(Metainfo {
            tiers: self.tiers,
            web_seeds: self.web_seeds,
            nodes: self.nodes,
            comment: self.comment,
            created_by: self.created_by,
            creation_date: self.creation_date,
            ..Metainfo::new(Arc::new(Info::from_bytes(&info)?))
        })
    }

    fn write_info(&self, info: &mut DictWriter<'_>, hashes: &[Sha1Hash]) {
        if self.layout.is_folder() {
            info.list("files", |files| {
                for file in self.layout.files() {
                    files.dict(|entry| {
                        entry.int("length", file.length);
                        entry.list("path", |path| {
                            file.path.below_root().split('/').for_each(|name| path.bytes(name));
                        });
                    });
                }
            });
        } else {
            info.int("length", self.layout.total());
        }
        info.bytes("name", self.layout.name());
        info.int("piece length", self.geometry.piece_length());
        let pieces: Vec<u8> = hashes.iter().flat_map(|hash| hash.0).collect();
        info.bytes("pieces", pieces);
        if self.private {
            info.int("private", 1);
        }
        if let Some(source) = &self.source {
            info.bytes("source", source);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::hash::sha1;
    use proptest::prelude::*;

    fn new_file(path: &str, length: u64) -> NewFile {
        NewFile { path: path.split('/').map(Into::into).collect(), length }
    }

    #[test]
    fn piece_length_follows_the_size() {
        for (total, length) in [
            (0, 16 << 10),
            (2_000 * (16 << 10), 16 << 10),
            (2_000 * (16 << 10) + 1, 32 << 10),
            (1 << 30, 1 << 20),
            (4 << 30, 4 << 20),
            (1 << 45, 16 << 20),
            (u64::MAX, 16 << 20),
        ] {
            assert_eq!(auto_piece_length(total), length, "{total}");
        }
    }

    #[test]
    fn the_same_input_makes_the_same_bytes() {
        let make = |files: Vec<NewFile>| {
            let mut b = Builder::folder("dir", files, Some(16384)).expect("valid");
            b.tiers = vec![vec!["http://a".into(), "http://b".into()], vec!["udp://c:1".into()]];
            b.web_seeds = vec!["http://w".into()];
            b.private = true;
            b.source = Some("S".into());
            b.created_by = Some("me".into());
            b.build(&[sha1(b"x")]).expect("valid")
        };
        let a = make(vec![new_file("b", 1), new_file("a/x", 2), new_file("a.", 0)]);
        let b = make(vec![new_file("a.", 0), new_file("b", 1), new_file("a/x", 2)]);
        let want = format!(
            "d8:announce8:http://a13:announce-listll8:http://a8:http://bel9:udp://c:1ee\
             10:created by2:me4:infod5:filesld6:lengthi0e4:pathl2:a.eed6:lengthi2e4:pathl1:a1:xee\
             d6:lengthi1e4:pathl1:beee4:name3:dir12:piece lengthi16384e6:pieces20:{}\
             7:privatei1e6:source1:Se8:url-list8:http://we",
            sha1(b"x").0.escape_ascii()
        );
        assert_eq!(a.to_bytes().escape_ascii().to_string(), want);
        assert_eq!(a.to_bytes(), b.to_bytes());
        assert_eq!(a.info.source(), Some("S"));
        assert!(a.info.private());
    }

    #[test]
    fn what_clients_would_change_or_refuse_is_refused() {
        assert!(Builder::file("a\nb", 1, None).is_err());
        assert!(Builder::file("..", 1, None).is_err());
        assert!(Builder::folder("d", vec![], None).is_err());
        assert!(Builder::folder("d", vec![new_file("a", 1), new_file("a/b", 1)], None).is_err());
        assert!(Builder::file("a", 1, Some(0)).is_err());
        assert!(Builder::file("a", 1 << 40, Some(1)).is_err());
        let missing = Builder::file("a", 1, None).expect("valid").build(&[]).map(|_| ());
        assert_eq!(missing, Err(BuildError::PieceCount { hashes: 0, pieces: 1 }));
    }

    proptest! {
        #[test]
        fn what_is_built_reads_back(
            lengths in prop::collection::btree_map("[a-z]{1,3}(/[a-z ☃]{1,4}!){0,3}", 0u64..100_000, 1..20),
            private in any::<bool>(), comment in prop::option::of("[a-z]{1,9}"),
        ) {
            let files = lengths.iter().map(|(path, &n)| new_file(path, n)).collect();
            // A folder may have the name of a file: refused, and not what is tested here.
            let Ok(mut builder) = Builder::folder("näme", files, Some(16384)) else { return Ok(()) };
            builder.private = private;
            builder.comment = comment;
            let hashes: Vec<_> = builder.geometry().indices()
                .map(|piece| sha1(&piece.0.to_be_bytes()))
                .collect();
            let layout = builder.layout().clone();
            let made = builder.build(&hashes).expect("valid");
            let read = Metainfo::from_bytes(&made.to_bytes()).expect("valid");
            prop_assert_eq!(read.info.layout(), &layout);
            prop_assert_eq!(read.info.info_hash(), made.info.info_hash());
            prop_assert_eq!((read.info.private(), read.comment), (private, made.comment));
            for (piece, hash) in read.info.geometry().indices().zip(hashes) {
                prop_assert_eq!(read.info.piece_hash(piece), hash);
            }
            prop_assert_eq!(layout.files().map(|f| f.length).sum::<u64>(), layout.total());
            let paths: Vec<String> = layout.files()
                .map(|f| f.path.components().collect::<Vec<_>>().join("/"))
                .collect();
            prop_assert!(paths.is_sorted());
        }
    }
}
