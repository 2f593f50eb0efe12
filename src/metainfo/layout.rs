//! Which byte of the torrent's content lies in which file.
//!
//! Compact enough for a million files: 16 bytes a file and one string with all paths. Files are in
//! the order of the metainfo, padding included (BEP 3, BEP 47); their data are back to back.

use std::{cmp::Ordering, fmt};

use super::path::{self, NameError, SafePath};
use crate::base::{
    index::FileIndex,
    limits::{MAX_FILES, MAX_NAME_BYTES, MAX_PATH_BYTES, MAX_PATH_DEPTH},
};

/// The files of a torrent and where their bytes lie in its content.
///
/// Invariants: file *i* holds the content from `entries[i].offset` up to `entries[i + 1].offset`;
/// the last entry is no file but the end; apart from padding no two paths are equal and no file is
/// a folder of another one.
#[derive(Clone, PartialEq, Eq)]
pub struct Layout {
    root: Option<Box<str>>,
    paths: Box<str>,
    entries: Box<[Entry]>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Entry {
    offset: u64,
    path_start: u32,
    path_len: u16,
    /// [`Attributes`] in one byte.
    attributes: u8,
}

/// One file of a torrent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct File<'a> {
    /// Where it lies below the output folder.
    pub path: SafePath<'a>,
    /// Its length in bytes.
    pub length: u64,
    /// Where its first byte lies in the content of the torrent.
    pub offset: u64,
    /// What else the torrent says about it.
    pub attributes: Attributes,
}

/// The attributes of a file (BEP 47).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Attributes {
    /// Not a file but zeros that align the next one to a piece: never written, never shown.
    pub padding: bool,
    /// Marked as a program.
    pub executable: bool,
    /// Marked as hidden.
    pub hidden: bool,
    /// A symbolic link. It has no data, and we never make links: where one points is not kept.
    pub symlink: bool,
}

impl Attributes {
    fn pack(self) -> u8 {
        let Attributes { padding, executable, hidden, symlink } = self;
        u8::from(padding)
            | u8::from(executable) << 1
            | u8::from(hidden) << 2
            | u8::from(symlink) << 3
    }

    const fn unpack(byte: u8) -> Self {
        Attributes {
            padding: byte & 1 != 0,
            executable: byte & 2 != 0,
            hidden: byte & 4 != 0,
            symlink: byte & 8 != 0,
        }
    }
}

impl File<'_> {
    /// Whether it exists on disk once the torrent is complete: not padding, not a link.
    pub const fn is_stored(&self) -> bool {
        !self.attributes.padding && !self.attributes.symlink
    }
}

/// A run of the content inside one file; never empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// The file.
    pub file: FileIndex,
    /// First byte, counted from the start of the file.
    pub offset: u64,
    /// Number of bytes.
    pub length: u64,
}

/// Why a list of files cannot be laid out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    /// A file or folder name is refused.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A file without any name.
    #[error("file {} has an empty path", .index + 1)]
    NoPath {
        /// Its number from 0.
        index: usize,
    },
    /// A path with too many folders or bytes.
    #[error(
        "the path `{path}…` is too long: at most {MAX_PATH_DEPTH} folders and {MAX_PATH_BYTES} bytes"
    )]
    LongPath {
        /// Its start.
        path: String,
    },
    /// Two files with one path.
    #[error("two files have the same path `{path}`")]
    SamePath {
        /// The path.
        path: String,
    },
    /// A path that is a file and a folder.
    #[error("`{path}` is a file, but another file lies in a folder of that name")]
    FileIsFolder {
        /// The path.
        path: String,
    },
    /// More than [`MAX_FILES`].
    #[error("there are more than {MAX_FILES} files")]
    TooManyFiles,
    /// The lengths add up to more than a file system can address.
    #[error("the files are too long: together more than 2^63 bytes")]
    TooLong,
}

impl Layout {
    /// The name of the torrent: of its only file, or of the folder that holds its files.
    pub fn name(&self) -> &str {
        self.root.as_deref().unwrap_or(&self.paths)
    }

    /// Whether the files lie in a folder with the torrent's name, even if it is just one file.
    pub const fn is_folder(&self) -> bool {
        self.root.is_some()
    }

    /// Number of files, padding included; at least 1.
    pub const fn len(&self) -> usize {
        self.entries.len() - 1
    }

    /// Always false: a torrent has at least one file.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Length of the whole content in bytes.
    pub fn total(&self) -> u64 {
        self.entries.last().map_or(0, |end| end.offset)
    }

    /// The file at `index`, if there is one.
    pub fn file(&self, index: FileIndex) -> Option<File<'_>> {
        let [entry, next] = self.entries.get(index.at()..)?.first_chunk()?;
        let start = entry.path_start as usize;
        let rest = &self.paths[start..start + usize::from(entry.path_len)];
        Some(File {
            path: SafePath::new(self.root.as_deref(), rest),
            length: next.offset - entry.offset,
            offset: entry.offset,
            attributes: Attributes::unpack(entry.attributes),
        })
    }

    /// All files in order, padding included: the *i*-th one has index *i*.
    pub fn files(&self) -> impl ExactSizeIterator<Item = File<'_>> {
        (0..self.len()).map(|i| self.file(FileIndex(i as u32)).expect("in range"))
    }

    /// The file that holds the byte at `offset` of the content; `None` from the end on.
    pub fn file_at(&self, offset: u64) -> Option<FileIndex> {
        // Of several files that begin at one offset only the last can have bytes.
        let behind = self.entries.partition_point(|entry| entry.offset <= offset);
        (behind < self.entries.len()).then(|| FileIndex(behind as u32 - 1))
    }

    /// The parts of files that hold `length` bytes of the content from `offset`, in order.
    ///
    /// Files without bytes in that range are left out, padding is not; what lies beyond the end of
    /// the content is left out too.
    pub fn spans(&self, offset: u64, length: u64) -> Spans<'_> {
        let end = offset.saturating_add(length).min(self.total());
        let next = self.file_at(offset).unwrap_or_default();
        Spans { layout: self, next, offset, end }
    }
}

impl fmt::Debug for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Layout({:?}, {} files, {} bytes)", self.name(), self.len(), self.total())
    }
}

/// Iterator made by [`Layout::spans`].
#[derive(Debug, Clone)]
pub struct Spans<'a> {
    layout: &'a Layout,
    next: FileIndex,
    offset: u64,
    end: u64,
}

impl Iterator for Spans<'_> {
    type Item = Span;

    fn next(&mut self) -> Option<Span> {
        while self.offset < self.end {
            let [entry, next] = self.layout.entries.get(self.next.at()..)?.first_chunk()?;
            let file = self.next;
            self.next.0 += 1;
            let end = next.offset.min(self.end);
            if end > self.offset {
                let length = end - self.offset;
                let offset = self.offset - entry.offset;
                self.offset = end;
                return Some(Span { file, offset, length });
            }
        }
        None
    }
}

/// Collects files in order into a [`Layout`].
pub(super) struct LayoutBuilder {
    root: Option<Box<str>>,
    paths: String,
    entries: Vec<Entry>,
    total: u64,
    /// Every path so far came after its predecessor, so no two can clash.
    ascending: bool,
    /// Some name is not the original.
    changed: Option<NameError>,
}

impl LayoutBuilder {
    /// For the files of the folder `root`.
    pub(super) fn folder(root: &[u8]) -> Result<Self, LayoutError> {
        let mut builder = LayoutBuilder::file();
        let mut name = String::new();
        builder.push_name(&mut name, root)?;
        builder.root = Some(name.into());
        Ok(builder)
    }

    /// For a single file.
    pub(super) const fn file() -> Self {
        LayoutBuilder {
            root: None,
            paths: String::new(),
            entries: Vec::new(),
            total: 0,
            ascending: true,
            changed: None,
        }
    }

    /// Adds the next file; its path is relative to the folder.
    pub(super) fn push<'p>(
        &mut self,
        components: impl IntoIterator<Item = &'p [u8]>,
        length: u64,
        attributes: Attributes,
    ) -> Result<(), LayoutError> {
        if self.entries.len() == MAX_FILES {
            return Err(LayoutError::TooManyFiles);
        }
        let mut paths = std::mem::take(&mut self.paths);
        let start = paths.len();
        for (depth, raw) in components.into_iter().enumerate() {
            if depth > 0 {
                paths.push('/');
            }
            self.push_name(&mut paths, raw)?;
            if depth == MAX_PATH_DEPTH || paths.len() - start > MAX_PATH_BYTES {
                let path = paths[start..].chars().take(80).collect();
                return Err(LayoutError::LongPath { path });
            }
        }
        self.paths = paths;
        if self.paths.len() == start {
            return Err(LayoutError::NoPath { index: self.entries.len() });
        }
        let too_many = |_| LayoutError::TooManyFiles;
        let entry = Entry {
            offset: self.total,
            path_start: u32::try_from(start).map_err(too_many)?,
            path_len: u16::try_from(self.paths.len() - start).map_err(too_many)?,
            attributes: attributes.pack(),
        };
        if let Some(last) = self.entries.last() {
            let (last, new) = (self.path(last), self.path(&entry));
            self.ascending &= path::compare(last, new) == Ordering::Less && !is_inside(new, last);
        }
        self.entries.push(entry);
        let total = self.total.checked_add(length).filter(|&total| i64::try_from(total).is_ok());
        self.total = total.ok_or(LayoutError::TooLong)?;
        Ok(())
    }

    /// The first name that had to be changed, if any.
    pub(super) const fn changed(&self) -> Option<&NameError> {
        self.changed.as_ref()
    }

    /// The layout of the files added.
    pub(super) fn finish(mut self) -> Result<Layout, LayoutError> {
        if !self.ascending {
            self.find_clash()?;
        }
        self.entries.push(Entry { offset: self.total, path_start: 0, path_len: 0, attributes: 0 });
        Ok(Layout { root: self.root, paths: self.paths.into(), entries: self.entries.into() })
    }

    fn push_name(&mut self, out: &mut String, raw: &[u8]) -> Result<(), NameError> {
        if path::push_component(out, raw)? && self.changed.is_none() {
            let fault = match raw.len() > MAX_NAME_BYTES {
                true => path::NameFault::TooLong,
                false => path::NameFault::Unprintable,
            };
            self.changed = Some(NameError::new(raw, fault));
        }
        Ok(())
    }

    fn path(&self, entry: &Entry) -> &str {
        let start = entry.path_start as usize;
        &self.paths[start..start + usize::from(entry.path_len)]
    }

    fn find_clash(&self) -> Result<(), LayoutError> {
        let mut paths: Vec<&str> = self
            .entries
            .iter()
            .filter(|entry| !Attributes::unpack(entry.attributes).padding)
            .map(|entry| self.path(entry))
            .collect();
        paths.sort_by(|a, b| path::compare(a, b));
        for pair in paths.windows(2) {
            let path = || pair[0].to_owned();
            if pair[0] == pair[1] {
                return Err(LayoutError::SamePath { path: path() });
            }
            if is_inside(pair[1], pair[0]) {
                return Err(LayoutError::FileIsFolder { path: path() });
            }
        }
        Ok(())
    }
}

/// Whether `path` lies in the folder `folder`.
fn is_inside(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn layout(files: &[(&str, u64)]) -> Result<Layout, LayoutError> {
        let mut builder = LayoutBuilder::folder(b"root")?;
        for &(path, length) in files {
            let padding = path.starts_with(".pad");
            let attributes = Attributes { padding, ..Attributes::default() };
            builder.push(path.split('/').map(str::as_bytes), length, attributes)?;
        }
        builder.finish()
    }

    #[test]
    fn files_know_their_place() {
        let l = layout(&[("a", 5), ("d/empty", 0), ("d/b", 7)]).expect("valid");
        let seen: Vec<_> = l.files().map(|f| (f.path.to_string(), f.offset, f.length)).collect();
        let want = [("root/a", 0, 5), ("root/d/empty", 5, 0), ("root/d/b", 5, 7)];
        assert_eq!(seen, want.map(|(p, o, n)| (p.to_owned(), o, n)));
        assert_eq!((l.total(), l.len(), l.name()), (12, 3, "root"));
        let file = l.file(FileIndex(2)).expect("exists");
        assert_eq!(file.path.components().collect::<Vec<_>>(), ["root", "d", "b"]);
        assert_eq!(file.path.below_root(), "d/b");
        assert_eq!(l.file(FileIndex(3)), None);
        assert_eq!(l.file_at(5), Some(FileIndex(2)));
        assert_eq!(l.file_at(12), None);
    }

    #[test]
    fn clashing_paths_are_refused() {
        let same = layout(&[("b", 1), ("a", 1), ("b", 1)]);
        assert_eq!(same, Err(LayoutError::SamePath { path: "b".into() }));
        for files in [[("a", 1), ("a/b", 1)], [("a/b", 1), ("a", 1)]] {
            assert_eq!(layout(&files), Err(LayoutError::FileIsFolder { path: "a".into() }));
        }
        assert!(layout(&[("a", 1), ("a.b", 1), ("a/b", 1)]).is_err());
        assert!(layout(&[("a", 1), ("A", 1), ("a.b", 1)]).is_ok());
        assert!(layout(&[(".pad/9", 9), ("a", 1), (".pad/9", 9)]).is_ok());
    }

    #[test]
    fn limits_hold() {
        let deep = vec!["x"; MAX_PATH_DEPTH + 1].join("/");
        assert!(matches!(layout(&[(&deep, 1)]), Err(LayoutError::LongPath { .. })));
        assert!(layout(&[(&deep[2..], 1)]).is_ok());
        let long = vec!["y".repeat(200); 16].join("/");
        assert!(matches!(layout(&[(&long, 1)]), Err(LayoutError::LongPath { .. })));
        assert_eq!(layout(&[("a", u64::MAX), ("b", 1)]), Err(LayoutError::TooLong));
        assert_eq!(layout(&[("a", 1 << 62), ("b", 1 << 62)]), Err(LayoutError::TooLong));
        let no_path = LayoutBuilder::file().push([], 1, Attributes::default());
        assert_eq!(no_path, Err(LayoutError::NoPath { index: 0 }));
        assert_eq!(size_of::<Entry>(), 16);
    }

    #[test]
    fn spans_beyond_the_end_are_cut() {
        let l = layout(&[("a", 5), ("b", 0)]).expect("valid");
        assert_eq!(l.spans(5, 10).count(), 0);
        assert_eq!(l.spans(u64::MAX, u64::MAX).count(), 0);
        let cut: Vec<_> = l.spans(3, u64::MAX).collect();
        assert_eq!(cut, [Span { file: FileIndex(0), offset: 3, length: 2 }]);
        let empty = layout(&[("a", 0)]).expect("valid");
        assert_eq!((empty.spans(0, 1).count(), empty.file_at(0)), (0, None));
    }

    proptest! {
        #[test]
        fn every_byte_lies_in_exactly_one_place(
            lengths in prop::collection::vec(prop_oneof![Just(0u64), 1u64..50], 1..40),
            from in 0u64..1200, length in 0u64..400,
        ) {
            let names: Vec<String> = (0..lengths.len()).map(|i| i.to_string()).collect();
            let files: Vec<_> = names.iter().map(String::as_str).zip(lengths.clone()).collect();
            let l = layout(&files).expect("valid");
            let places: Vec<(u32, u64)> = lengths.iter().zip(0u32..)
                .flat_map(|(&n, i)| (0..n).map(move |at| (i, at)))
                .collect();
            prop_assert_eq!(l.total(), places.len() as u64);

            let mut got = Vec::new();
            for span in l.spans(from, length) {
                prop_assert!(span.length > 0);
                prop_assert!(span.offset + span.length <= lengths[span.file.at()]);
                got.extend((span.offset..span.offset + span.length).map(|at| (span.file.0, at)));
            }
            let end = places.len().min((from + length) as usize);
            prop_assert_eq!(&got[..], places.get(from as usize..end).unwrap_or_default());
            for (at, place) in places.iter().enumerate() {
                prop_assert_eq!(l.file_at(at as u64), Some(FileIndex(place.0)));
            }
        }

        #[test]
        fn a_clash_is_found_in_any_order(
            paths in prop::collection::vec("[ab](/[ab.]b?){0,2}", 1..8)
        ) {
            let paths: Vec<_> = paths.iter().filter(|p| !p.split('/').any(|c| c == ".")).collect();
            prop_assume!(!paths.is_empty());
            let clash = paths.iter().enumerate().any(|(i, a)| paths.iter().enumerate()
                .any(|(j, b)| i != j && (a == b || is_inside(a, b))));
            let files: Vec<_> = paths.iter().map(|p| (p.as_str(), 1)).collect();
            prop_assert_eq!(layout(&files).is_err(), clash);
        }
    }
}
