//! Makes a torrent from a file or folder: finds the files, hashes their pieces on all cores.
//!
//! In two steps, so that a caller can show what would be shared before the long one:
//! [`Plan::new`], then [`Plan::hash`]. The same files and options make the same torrent.

use std::{
    fs::{self, File},
    io,
    ops::Range,
    path::{Path, PathBuf},
    sync::Mutex,
    time::SystemTime,
};

use super::glob::Globs;
use crate::{
    base::{
        hash::Sha1Hash,
        index::{FileIndex, PieceIndex},
        limits::{MAX_FILES, MAX_PATH_DEPTH},
    },
    disk::{
        Effort, Watch, read_exact_at,
        side_by_side::{self, SideBySide, on_threads},
    },
    metainfo::{
        Builder, Layout, Metainfo,
        build::{BuildError, NewFile, file_order},
    },
};

/// Which files to share, and in what pieces.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Name of the torrent; that of the file or folder if `None`.
    pub name: Option<String>,
    /// Bytes in a piece; chosen by size if `None`.
    pub piece_length: Option<u32>,
    /// Which files of a folder.
    pub globs: Globs,
    /// Also files and folders whose names begin with a dot.
    pub include_hidden: bool,
    /// Share what symbolic links point at; else they are left out.
    pub follow_links: bool,
}

/// Why no torrent was made.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// The system refused.
    #[error("could not {operation} `{}`", .path.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A pipe, a device or the like.
    #[error("`{}` is neither a file nor a folder", .0.display())]
    NeitherFileNorFolder(PathBuf),
    /// Every file was left out, or there are none.
    #[error("there are no files to share in `{}`", .0.display())]
    Nothing(PathBuf),
    /// A name that cannot stand in a torrent.
    #[error("the name of `{}` is not valid UTF-8: rename it first", .0.display())]
    NotUtf8(PathBuf),
    /// A path without a last name, such as `/`.
    #[error("`{}` has no name of its own: give the torrent a name", .0.display())]
    NoName(PathBuf),
    /// Too many folders in one another; perhaps a link leads back up.
    #[error("`{}` lies more than {MAX_PATH_DEPTH} folders deep", .0.display())]
    TooDeep(PathBuf),
    /// More than [`MAX_FILES`].
    #[error("there are more than {MAX_FILES} files in `{}`", .0.display())]
    TooManyFiles(PathBuf),
    /// Somebody writes to it at the same time.
    #[error("`{}` changed while it was being hashed", .0.display())]
    Changed(PathBuf),
    /// Sizes or names that a torrent cannot have.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// The caller ended it.
    #[error("cancelled")]
    Cancelled,
}

/// The files to share, found but not yet read.
#[derive(Debug)]
pub struct Plan {
    /// What else goes into the torrent: trackers, comment and so on.
    pub builder: Builder,
    /// Links and special files that were left out.
    pub skipped: Vec<PathBuf>,
    /// In the order of the builder's layout.
    sources: Vec<Source>,
}

#[derive(Debug)]
struct Source {
    path: PathBuf,
    length: u64,
    modified: Option<SystemTime>,
}

impl Plan {
    /// Finds the files at `path`, sorted by name.
    pub fn new(path: &Path, options: &Options) -> Result<Self, CreateError> {
        let facts = fs::metadata(path).map_err(|cause| failed("find", path, cause))?;
        let name = match &options.name {
            Some(name) => name.clone(),
            None => own_name(path)?,
        };
        if facts.is_file() {
            let source = Source::new(path.to_path_buf(), &facts);
            let builder = Builder::file(&name, source.length, options.piece_length)?;
            return Ok(Plan { builder, skipped: Vec::new(), sources: vec![source] });
        }
        if !facts.is_dir() {
            return Err(CreateError::NeitherFileNorFolder(path.to_path_buf()));
        }
        let mut walk = Walk { options, found: Vec::new(), skipped: Vec::new() };
        walk.folder(path)?;
        let Walk { mut found, mut skipped, .. } = walk;
        if found.is_empty() {
            return Err(CreateError::Nothing(path.to_path_buf()));
        }
        found.sort_by_cached_key(|file| file_order(&file.0));
        skipped.sort();
        let (paths, sources): (Vec<_>, Vec<_>) = found.into_iter().unzip();
        let files = paths.into_iter().zip(&sources);
        let files = files.map(|(path, source)| NewFile { path, length: source.length }).collect();
        let builder = Builder::folder(&name, files, options.piece_length)?;
        Ok(Plan { builder, skipped, sources })
    }

    /// Hashes the files and makes the torrent. `watch` hears of every byte of the content once.
    pub fn hash(self, effort: Effort, watch: Watch<'_>) -> Result<Metainfo, CreateError> {
        let geometry = self.builder.geometry();
        let hashing = Hashing {
            layout: self.builder.layout(),
            watch,
            results: Mutex::new((vec![Sha1Hash([0; 20]); geometry.pieces() as usize], None)),
        };
        let effort = self.sources.first().map_or(effort, |source| effort.at(&source.path));
        let plan = side_by_side::Plan::new(geometry, effort);
        on_threads(effort, plan, || {
            let mut reader = Reader { sources: &self.sources, open: Vec::new() };
            let (hashing, mut lanes) = (&hashing, SideBySide::new(plan, watch));
            move |pieces| hashing.take(&mut lanes, &mut reader, pieces)
        });
        let (hashes, error) = hashing.results.into_inner().expect(LOCK);
        if let Some(error) = error {
            return Err(error);
        }
        if watch.is_cancelled() {
            return Err(CreateError::Cancelled);
        }
        for source in &self.sources {
            let facts = fs::metadata(&source.path)
                .map_err(|cause| failed("look again at", &source.path, cause))?;
            if !source.is_still(&facts) {
                return Err(CreateError::Changed(source.path.clone()));
            }
        }
        Ok(self.builder.build(&hashes)?)
    }
}

const LOCK: &str = "nothing panics while the results are locked";

fn failed(operation: &'static str, path: &Path, source: io::Error) -> CreateError {
    CreateError::Io { operation, path: path.to_path_buf(), source }
}

/// The last name of `path`; `.` and the like are looked up.
fn own_name(path: &Path) -> Result<String, CreateError> {
    let name = match path.file_name() {
        Some(name) => Some(name.to_owned()),
        None => fs::canonicalize(path)
            .map_err(|cause| failed("find", path, cause))?
            .file_name()
            .map(ToOwned::to_owned),
    };
    let name = name.ok_or_else(|| CreateError::NoName(path.to_path_buf()))?;
    name.into_string().map_err(|_| CreateError::NotUtf8(path.to_path_buf()))
}

impl Source {
    fn new(path: PathBuf, facts: &fs::Metadata) -> Self {
        Source { path, length: facts.len(), modified: facts.modified().ok() }
    }

    fn is_still(&self, facts: &fs::Metadata) -> bool {
        facts.len() == self.length && facts.modified().ok() == self.modified
    }
}

/// A search through a folder.
struct Walk<'a> {
    options: &'a Options,
    found: Vec<(Vec<String>, Source)>,
    skipped: Vec<PathBuf>,
}

impl Walk<'_> {
    fn folder(&mut self, root: &Path) -> Result<(), CreateError> {
        let mut folders = vec![(root.to_path_buf(), Vec::new())];
        while let Some((folder, names)) = folders.pop() {
            if names.len() > MAX_PATH_DEPTH {
                return Err(CreateError::TooDeep(folder));
            }
            let list = fs::read_dir(&folder).map_err(|cause| failed("list", &folder, cause))?;
            for entry in list {
                let path = entry.map_err(|cause| failed("list", &folder, cause))?.path();
                let is_hidden =
                    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
                if is_hidden && !self.options.include_hidden {
                    continue;
                }
                let facts = if self.options.follow_links {
                    fs::metadata(&path)
                } else {
                    fs::symlink_metadata(&path)
                };
                let facts = facts.map_err(|cause| failed("look at", &path, cause))?;
                if facts.is_dir() {
                    let name = own_name(&path)?;
                    folders.push((path, names.iter().cloned().chain([name]).collect()));
                } else if facts.is_file() {
                    self.file(path, &names, &facts)?;
                } else {
                    self.skipped.push(path);
                }
            }
        }
        Ok(())
    }

    fn file(
        &mut self,
        path: PathBuf,
        folder: &[String],
        facts: &fs::Metadata,
    ) -> Result<(), CreateError> {
        let mut names = folder.to_vec();
        names.push(own_name(&path)?);
        if !self.options.globs.includes(&names.join("/")) {
            return Ok(());
        }
        if self.found.len() == MAX_FILES {
            return Err(CreateError::TooManyFiles(path));
        }
        self.found.push((names, Source::new(path, facts)));
        Ok(())
    }
}

/// What the hashing threads share.
struct Hashing<'a> {
    layout: &'a Layout,
    watch: Watch<'a>,
    results: Mutex<(Vec<Sha1Hash>, Option<CreateError>)>,
}

impl Hashing<'_> {
    /// Hashes a batch of pieces. False at the end.
    fn take(&self, lanes: &mut SideBySide<'_>, reader: &mut Reader<'_>, batch: Range<u32>) -> bool {
        let pieces: Vec<_> = batch.clone().map(PieceIndex).collect();
        let read = |offset, into: &mut [u8]| reader.read(self.layout, offset, into);
        let Some(hashes) = lanes.hash(&pieces, read) else {
            return false;
        };
        let mut results = self.results.lock().expect(LOCK);
        let (all, error) = &mut *results;
        for (piece, hash) in pieces.into_iter().zip(hashes) {
            match hash {
                Ok(hash) => all[piece.at()] = hash,
                Err(fault) => {
                    error.get_or_insert(fault);
                }
            }
        }
        error.is_none() && !self.watch.is_cancelled()
    }
}

/// Files that one thread keeps open: pieces side by side may lie in as many.
const OPEN_FILES: usize = 16;

/// One thread's view of the files.
struct Reader<'a> {
    sources: &'a [Source],
    /// Those it read last, the oldest first.
    open: Vec<(FileIndex, File)>,
}

impl Reader<'_> {
    /// Fills `into` with the content from `offset` on.
    fn read(&mut self, layout: &Layout, offset: u64, into: &mut [u8]) -> Result<(), CreateError> {
        let mut rest = into;
        for span in layout.spans(offset, rest.len() as u64) {
            let source = &self.sources[span.file.at()];
            let (part, behind) = rest.split_at_mut(span.length as usize);
            rest = behind;
            let file = self.file(span.file)?;
            read_exact_at(file, part, span.offset).map_err(|cause| match cause.kind() {
                io::ErrorKind::UnexpectedEof => CreateError::Changed(source.path.clone()),
                _ => failed("read", &source.path, cause),
            })?;
        }
        Ok(())
    }

    fn file(&mut self, index: FileIndex) -> Result<&File, CreateError> {
        let at = match self.open.iter().position(|(open, _)| *open == index) {
            Some(at) => at,
            None => {
                if self.open.len() == OPEN_FILES {
                    self.open.remove(0);
                }
                self.open.push((index, self.sources[index.at()].open()?));
                self.open.len() - 1
            }
        };
        Ok(&self.open[at].1)
    }
}

impl Source {
    fn open(&self) -> Result<File, CreateError> {
        File::open(&self.path).map_err(|cause| failed("open", &self.path, cause))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::hash::sha1;
    use std::{
        num::NonZeroUsize,
        os::unix::{ffi::OsStrExt as _, fs::symlink},
        sync::atomic::{AtomicBool, AtomicU64, Ordering},
    };

    fn effort(threads: usize) -> Effort {
        Effort::with_threads(NonZeroUsize::new(threads).expect("not zero"))
    }

    fn tree(files: &[(&str, usize)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().expect("dir");
        for &(name, length) in files {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().expect("has a parent")).expect("created");
            let bytes: Vec<u8> = (0..length).map(|i| (i * 7 + i / 256) as u8).collect();
            fs::write(path, bytes).expect("written");
        }
        dir
    }

    fn paths(plan: &Plan) -> Vec<String> {
        plan.builder.layout().files().map(|f| f.path.below_root().to_owned()).collect()
    }

    fn hash(plan: Plan, threads: usize) -> Result<Metainfo, CreateError> {
        let watch = Watch { progress: &|_| {}, cancel: &AtomicBool::new(false) };
        plan.hash(effort(threads), watch)
    }

    #[test]
    fn a_folder_becomes_a_torrent_that_its_data_verify() {
        let dir = tree(&[("x/b", 300_000), ("x/a/z", 70_001), ("x/a.b", 0), ("x/.h", 5)]);
        let root = dir.path().join("x");
        for piece_length in [1_000, 16_384, 262_144, 300_000] {
            let options = Options { piece_length: Some(piece_length), ..Options::default() };
            let plan = Plan::new(&root, &options).expect("found");
            assert_eq!(paths(&plan), ["a.b", "a/z", "b"]);
            let total = AtomicU64::new(0);
            let progress = |more| {
                total.fetch_add(more, Ordering::Relaxed);
            };
            let watch = Watch { progress: &progress, cancel: &AtomicBool::new(false) };
            let torrent = plan.hash(Effort::default(), watch).expect("made");
            assert_eq!(total.into_inner(), 370_001);
            assert_eq!(torrent.info.name(), "x");
            let watch = Watch { progress: &|_| {}, cancel: &AtomicBool::new(false) };
            let report =
                crate::session::check::check(&torrent.info, dir.path(), Effort::default(), watch);
            assert!(report.is_some_and(|report| report.is_good()));
            // The same again, whatever the number of threads.
            let again = hash(Plan::new(&root, &options).expect("found"), 1).expect("made");
            assert_eq!(again.to_bytes(), torrent.to_bytes());
        }
    }

    #[test]
    fn a_file_becomes_a_torrent_under_any_name() {
        let dir = tree(&[("a", 40_000)]);
        let options = Options { name: Some("other".into()), ..Options::default() };
        let plan = Plan::new(&dir.path().join("a"), &options).expect("found");
        let torrent = hash(plan, 2).expect("made");
        assert_eq!(torrent.info.name(), "other");
        assert!(!torrent.info.layout().is_folder());
        let bytes = fs::read(dir.path().join("a")).expect("read");
        assert_eq!(torrent.info.piece_hash(PieceIndex(0)), sha1(&bytes[..16_384]));
        assert_eq!(torrent.info.piece_hash(PieceIndex(2)), sha1(&bytes[32_768..]));
    }

    #[test]
    fn files_are_chosen_by_options() {
        let dir =
            tree(&[("a.txt", 1), ("b.jpg", 1), (".h.jpg", 1), (".d/c.jpg", 1), ("e/f.jpg", 1)]);
        symlink(dir.path().join("a.txt"), dir.path().join("link.jpg")).expect("linked");
        symlink(dir.path().join("e"), dir.path().join("g")).expect("linked");
        let with = |options: &Options| Plan::new(dir.path(), options).expect("found");
        let plan = with(&Options::default());
        assert_eq!(paths(&plan), ["a.txt", "b.jpg", "e/f.jpg"]);
        assert_eq!(plan.skipped, ["g", "link.jpg"].map(|name| dir.path().join(name)));
        let globs = Globs::new(["*.jpg", "!e/*"]).expect("valid");
        let options = Options { globs, include_hidden: true, ..Options::default() };
        assert_eq!(paths(&with(&options)), [".d/c.jpg", ".h.jpg", "b.jpg"]);
        let plan = with(&Options { follow_links: true, ..Options::default() });
        assert_eq!(paths(&plan), ["a.txt", "b.jpg", "e/f.jpg", "g/f.jpg", "link.jpg"]);
        assert!(plan.skipped.is_empty());
        symlink(dir.path(), dir.path().join("e/up")).expect("linked");
        let options = Options { follow_links: true, ..Options::default() };
        let error = Plan::new(dir.path(), &options).expect_err("a circle");
        assert!(matches!(error, CreateError::TooDeep(_) | CreateError::Io { .. }), "{error}");
    }

    #[test]
    fn changes_while_hashing_are_noticed() {
        for change in [Some(30_000), Some(50_000), Some(40_000), None] {
            let dir = tree(&[("a", 40_000)]);
            let path = dir.path().join("a");
            let plan = Plan::new(dir.path(), &Options::default()).expect("found");
            match change {
                Some(length) => {
                    fs::write(&path, vec![0; length]).expect("written");
                    let later = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1);
                    let file = fs::File::options().write(true).open(&path).expect("opened");
                    file.set_modified(later).expect("set");
                }
                None => fs::remove_file(&path).expect("removed"),
            }
            let error = hash(plan, 2).expect_err("noticed");
            match change {
                Some(_) => assert!(matches!(error, CreateError::Changed(p) if p == path)),
                None => {
                    assert_eq!(error.to_string(), format!("could not open `{}`", path.display()))
                }
            }
        }
    }

    #[test]
    fn what_cannot_be_shared_is_said_in_a_sentence() {
        let dir = tree(&[("empty/.hidden", 1)]);
        let plan = |path: &Path| Plan::new(path, &Options::default()).expect_err("refused");
        assert!(matches!(plan(&dir.path().join("empty")), CreateError::Nothing(_)));
        let text = plan(&dir.path().join("none")).to_string();
        assert!(text.starts_with("could not find `"), "{text}");
        assert!(matches!(plan(Path::new("/")), CreateError::NoName(_)));
        assert!(matches!(plan(Path::new("/dev/null")), CreateError::NeitherFileNorFolder(_)));
        let odd = dir.path().join(std::ffi::OsStr::from_bytes(b"\xff"));
        fs::write(&odd, "x").expect("written");
        assert!(matches!(plan(dir.path()), CreateError::NotUtf8(p) if p == odd));
    }

    #[test]
    fn hashing_can_be_cancelled() {
        let dir = tree(&[("a", 400_000)]);
        let plan = Plan::new(dir.path(), &Options::default()).expect("found");
        let cancel = AtomicBool::new(false);
        let progress = |_| cancel.store(true, Ordering::Relaxed);
        let watch = Watch { progress: &progress, cancel: &cancel };
        let result = plan.hash(effort(2), watch);
        assert!(matches!(result, Err(CreateError::Cancelled)));
    }
}
