//! A file system in memory that fails when it is told to: for tests of what survives.
//!
//! Here is what an operation does and what goes wrong with it; what becomes of a file's bytes is in
//! [`contents`]. It knows two states of everything: as programs see it, and as it is on the platters. Bytes, lengths
//! and times of a file reach those with a sync of that file; names (of new files, of renamed ones, of
//! folders) with a sync of the folder they are in, and with nothing else. That is the least that POSIX
//! promises; real file systems keep more. When the power fails, what was not synced is lost, or any part
//! of it survives: each page by itself, length and time of writing by themselves, each name by itself.
//! A sync that failed never makes durable later what it did not make durable.
//!
//! Every call but a look at a file's stamp counts as an operation; the operations of one thread are
//! always the same, so a run can be repeated with a fault at each of them.

mod contents;

pub(crate) use contents::Survives;

use std::{
    collections::BTreeMap,
    fmt, io,
    ops::Range,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard},
};

use contents::{Bytes, Change, Contents, PAGE};

use super::{
    backend::Extent,
    file_system::{FileSystem, OpenFile},
    lock::{Lock, NoLock},
    system::Access,
};
use crate::{
    base::{file_stamp::FileStamp, hash::Sha1Hash},
    metainfo::SafePath,
};

/// Time one operation takes, in nanoseconds.
const STEP: i64 = 1_000_000;
/// Time a slow one takes: longer than anything of ours waits.
const DELAY: i64 = 600_000_000_000;
/// What is left on a disk that fills, in bytes.
const LITTLE: u64 = 5_000;

const EIO: i32 = 5;
const ENOSPC: i32 = 28;

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing.
    None,
    /// One operation fails and does nothing.
    Error,
    /// One operation fails for want of room.
    Full,
    /// One operation does half of its bytes and fails.
    Torn,
    /// One operation does half of its bytes.
    Short,
    /// One operation takes ten minutes.
    Delay,
    /// From here on there is next to no room.
    Fill,
    /// From here on syncs do nothing, and say that they did.
    Lie,
    /// The same, of files in the folder [`Faulty::LIAR`] alone.
    LieOfSome,
    /// The program or the machine ends before this operation.
    End,
}

/// The file system.
pub(crate) struct Faulty(Arc<Mutex<World>>);

#[derive(Debug)]
struct World {
    /// What is known by each name: on the platters first, now last.
    names: BTreeMap<PathBuf, Vec<Node>>,
    files: Vec<Contents>,
    /// The time of day.
    time: i64,
    operations: u64,
    syncs: Syncs,
    fault: Fault,
    /// The operation that it is for.
    at: u64,
    ended: bool,
    /// Below which syncs lie, if they do.
    liar: Option<&'static str>,
    /// Operations do not count and nothing fails: somebody only looks.
    paused: bool,
    /// Bytes that may still be taken, if there is an end to them.
    room: Option<u64>,
    /// Handles of an earlier life are good for nothing.
    life: u32,
    /// Whether everything can be made durable at once.
    has_syncfs: bool,
}

/// Calls that made something durable, of each kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Syncs {
    pub(crate) files: u32,
    pub(crate) names: u32,
    pub(crate) everything: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Node {
    Nothing,
    Folder,
    /// By its place in `World::files`.
    File(usize),
}

/// What is to become of an operation that goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hit {
    Whole,
    Half { fails: bool },
}

impl Faulty {
    /// Where [`Fault::LieOfSome`] lies.
    pub(crate) const LIAR: &str = "/data";

    /// An empty one, with the root folder.
    pub(crate) fn new() -> Arc<Self> {
        let world = World {
            names: BTreeMap::from([(PathBuf::from("/"), vec![Node::Folder])]),
            files: Vec::new(),
            time: 1_700_000_000_000_000_000,
            operations: 0,
            syncs: Syncs::default(),
            fault: Fault::None,
            at: 0,
            ended: false,
            liar: None,
            paused: false,
            room: None,
            life: 0,
            has_syncfs: true,
        };
        Arc::new(Faulty(Arc::new(Mutex::new(world))))
    }

    /// The same on a system that cannot make everything durable at once.
    pub(crate) fn without_syncfs() -> Arc<Self> {
        let disk = Faulty::new();
        disk.world().has_syncfs = false;
        disk
    }

    /// From here on operations are counted from 1; `fault` is for the one numbered `at`.
    pub(crate) fn plan(&self, fault: Fault, at: u64) {
        let mut world = self.world();
        (world.fault, world.at, world.operations) = (fault, at, 0);
    }

    /// How many operations there were.
    pub(crate) fn operations(&self) -> u64 {
        self.world().operations
    }

    /// How many of them made something durable.
    pub(crate) fn syncs(&self) -> Syncs {
        self.world().syncs
    }

    /// The time of day, in nanoseconds since 1970.
    pub(crate) fn time(&self) -> i64 {
        self.world().time
    }

    /// Whether the program or the machine has ended.
    pub(crate) fn has_ended(&self) -> bool {
        self.world().ended
    }

    /// Does `look`, to which nothing happens and of which nothing is noted.
    pub(crate) fn quietly<R>(&self, look: impl FnOnce() -> R) -> R {
        self.world().paused = true;
        let result = look();
        self.world().paused = false;
        result
    }

    /// The stretches read of the file at `path` since this was asked last.
    pub(crate) fn take_reads(&self, path: &Path) -> Vec<Range<u64>> {
        let mut world = self.world();
        match world.node(path) {
            Node::File(file) => std::mem::take(&mut world.files[file].read),
            _ => Vec::new(),
        }
    }

    /// There is room again.
    pub(crate) fn make_room(&self) {
        self.world().room = None;
    }

    /// Begins another life after the end, or puts an end to this one.
    pub(crate) fn restart(&self, survives: &mut Survives) {
        let mut world = self.world();
        for contents in &mut world.files {
            contents.survive(survives);
        }
        for nodes in world.names.values_mut() {
            let which = match survives {
                Survives::Everything => nodes.len() - 1,
                Survives::Nothing => 0,
                Survives::Some(rng) => rng.below(nodes.len() as u64) as usize,
            };
            *nodes = vec![nodes[which]];
        }
        // What is in a folder that is lost is lost.
        let names: Vec<PathBuf> = world.names.keys().cloned().collect();
        for name in names {
            let is_kept = name.parent().is_none_or(|above| world.node(above) == Node::Folder);
            if !is_kept {
                world.names.remove(&name);
            }
        }
        world.life += 1;
        // Whoever starts again takes a while.
        world.time += 1_000 * STEP;
        (world.ended, world.liar, world.fault, world.room) = (false, None, Fault::None, None);
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.0.lock().expect("no panic while the world is locked")
    }
}

impl World {
    /// An operation begins.
    fn step(&mut self) -> io::Result<Hit> {
        if self.paused {
            return Ok(Hit::Whole);
        }
        if self.ended {
            return Err(error(EIO));
        }
        self.operations += 1;
        self.time += STEP;
        if self.operations != self.at {
            return Ok(Hit::Whole);
        }
        match self.fault {
            Fault::None => {}
            Fault::Error => return Err(error(EIO)),
            Fault::Full => return Err(error(ENOSPC)),
            Fault::Torn => return Ok(Hit::Half { fails: true }),
            Fault::Short => return Ok(Hit::Half { fails: false }),
            Fault::Delay => self.time += DELAY,
            Fault::Fill => self.room = Some(LITTLE),
            Fault::Lie => self.liar = Some("/"),
            Fault::LieOfSome => self.liar = Some(Faulty::LIAR),
            Fault::End => {
                self.ended = true;
                return Err(error(EIO));
            }
        }
        Ok(Hit::Whole)
    }

    /// An operation begins that moves no bytes, so that it is done or not.
    fn step_whole(&mut self) -> io::Result<()> {
        match self.step()? {
            Hit::Half { fails: true } => Err(error(EIO)),
            _ => Ok(()),
        }
    }

    fn node(&self, path: &Path) -> Node {
        let nodes = self.names.get(path);
        nodes.map_or(Node::Nothing, |nodes| *nodes.last().expect("at least one"))
    }

    fn set(&mut self, path: &Path, node: Node) {
        self.names.entry(path.to_owned()).or_insert_with(|| vec![Node::Nothing]).push(node);
    }

    fn take(&mut self, bytes: u64) -> io::Result<()> {
        match &mut self.room {
            Some(room) if *room < bytes => Err(error(ENOSPC)),
            Some(room) => {
                *room -= bytes;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn make_folders(&mut self, folder: &Path) -> io::Result<()> {
        let mut above: Vec<&Path> = folder.ancestors().collect();
        above.reverse();
        for folder in above {
            match self.node(folder) {
                Node::Folder => {}
                Node::File(_) => return Err(io::ErrorKind::NotADirectory.into()),
                Node::Nothing => {
                    self.take(PAGE as u64)?;
                    self.set(folder, Node::Folder);
                }
            }
        }
        Ok(())
    }

    /// Makes the names in `folder` durable.
    fn sync_folder(&mut self, folder: &Path) -> io::Result<()> {
        if self.node(folder) != Node::Folder {
            return Err(io::ErrorKind::NotFound.into());
        }
        if !self.lies_of(folder) {
            for (name, nodes) in &mut self.names {
                if name.parent() == Some(folder) {
                    nodes.drain(..nodes.len() - 1);
                }
            }
        }
        Ok(())
    }

    /// Whether syncs of what is at `path` do nothing.
    fn lies_of(&self, path: &Path) -> bool {
        self.liar.is_some_and(|liar| path.starts_with(liar))
    }

    fn stamp(&self, file: usize) -> FileStamp {
        let Bytes { data, modified, .. } = &self.files[file].now;
        FileStamp { length: data.len() as u64, modified: *modified, inode: file as u64 + 1 }
    }
}

impl FileSystem for Faulty {
    fn open(
        &self,
        root: &Path,
        path: SafePath<'_>,
        access: Access,
    ) -> io::Result<(Arc<dyn OpenFile>, FileStamp)> {
        let mut world = self.world();
        world.step_whole()?;
        let path = root.join(path.to_path_buf());
        let file = match world.node(&path) {
            Node::File(file) => file,
            Node::Folder => return Err(io::ErrorKind::PermissionDenied.into()),
            Node::Nothing if matches!(access, Access::Read | Access::Existing) => {
                return Err(io::ErrorKind::NotFound.into());
            }
            Node::Nothing => {
                let folder = path.parent().expect("a file is in a folder");
                let needed = if access == Access::New { folder } else { root };
                if world.node(needed) == Node::Nothing {
                    return Err(io::ErrorKind::NotFound.into());
                }
                world.make_folders(folder)?;
                world.take(1)?;
                let time = world.time;
                world.files.push(Contents::new(path.clone(), time));
                let file = world.files.len() - 1;
                world.set(&path, Node::File(file));
                file
            }
        };
        if access == Access::New {
            let time = world.time;
            world.files[file].change(Change::Length { length: 0, time });
            world.files[file].reserved = 0;
        }
        let stamp = world.stamp(file);
        let handle = Handle { world: Arc::clone(&self.0), file, life: world.life };
        Ok((Arc::new(handle), stamp))
    }

    fn make_folder(&self, folder: &Path) -> io::Result<()> {
        let mut world = self.world();
        world.step_whole()?;
        world.make_folders(folder)
    }

    fn sync_place(&self, folder: &Path) -> io::Result<()> {
        for above in folder.ancestors().skip(1) {
            let mut world = self.world();
            world.step_whole()?;
            world.sync_folder(above)?;
        }
        Ok(())
    }

    fn may_write(&self, root: &Path) -> io::Result<()> {
        self.make_folder(root)
    }

    fn sync_names(&self, root: &Path, path: SafePath<'_>) -> io::Result<()> {
        let mut folder = root.to_path_buf();
        let mut names = path.components().peekable();
        loop {
            let mut world = self.world();
            world.syncs.names += 1;
            world.step_whole()?;
            world.sync_folder(&folder)?;
            let Some(name) = names.next() else { return Ok(()) };
            if names.peek().is_none() {
                return Ok(());
            }
            folder.push(name);
        }
    }

    fn sync_everything(&self, _folder: &Path) -> io::Result<bool> {
        let mut world = self.world();
        if !world.has_syncfs {
            return Ok(false);
        }
        world.syncs.everything += 1;
        if let Err(error) = world.step_whole() {
            world.files.iter_mut().for_each(Contents::fail_to_sync);
            return Err(error);
        }
        let World { files, names, liar, .. } = &mut *world;
        let lies = |path: &Path| liar.is_some_and(|liar| path.starts_with(liar));
        files.iter_mut().filter(|file| !lies(&file.path)).for_each(Contents::sync);
        for (_, nodes) in names.iter_mut().filter(|(name, _)| !lies(name)) {
            nodes.drain(..nodes.len() - 1);
        }
        Ok(true)
    }

    fn rename(&self, folder: &Path, from: &str, to: &str) -> io::Result<()> {
        let mut world = self.world();
        world.step_whole()?;
        let node = world.node(&folder.join(from));
        if node == Node::Nothing {
            return Err(io::ErrorKind::NotFound.into());
        }
        world.set(&folder.join(to), node);
        world.set(&folder.join(from), Node::Nothing);
        Ok(())
    }

    fn remove(&self, folder: &Path, name: &str) -> io::Result<()> {
        let mut world = self.world();
        world.step_whole()?;
        if world.node(&folder.join(name)) == Node::Nothing {
            return Err(io::ErrorKind::NotFound.into());
        }
        world.set(&folder.join(name), Node::Nothing);
        Ok(())
    }

    fn identity(&self, folder: &Path) -> io::Result<(u64, u64)> {
        match self.world().node(folder) {
            Node::Folder => Ok((0, 0)),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn room(&self, _folder: &Path) -> io::Result<Option<u64>> {
        Ok(self.world().room)
    }

    fn lock(&self, _folder: &Path, _name: &str) -> Result<Lock, NoLock> {
        Ok(Lock::NONE)
    }

    fn claim(&self, _root: &Path, _torrent: Sha1Hash) -> Result<Lock, NoLock> {
        Ok(Lock::NONE)
    }
}

/// A file that is open.
struct Handle {
    world: Arc<Mutex<World>>,
    file: usize,
    life: u32,
}

impl Handle {
    fn world(&self) -> io::Result<MutexGuard<'_, World>> {
        let world = self.world.lock().expect("no panic while the world is locked");
        if world.life == self.life { Ok(world) } else { Err(error(EIO)) }
    }
}

impl OpenFile for Handle {
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut world = self.world()?;
        let hit = world.step()?;
        let data = &world.files[self.file].now.data;
        let from = data.get(offset as usize..).unwrap_or_default();
        let all = from.len().min(into.len());
        let length = match hit {
            Hit::Whole => all,
            Hit::Half { fails: true } => return Err(error(EIO)),
            Hit::Half { fails: false } => all.div_ceil(2),
        };
        into[..length].copy_from_slice(&from[..length]);
        if !world.paused {
            let end = offset + length as u64;
            world.files[self.file].read.push(offset..end);
        }
        Ok(length)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let mut world = self.world()?;
        let hit = world.step()?;
        let length = if hit == Hit::Whole { bytes.len() } else { bytes.len().div_ceil(2) };
        let (offset, time) = (offset as usize, world.time);
        let end = (offset + length) as u64;
        let reserved = world.files[self.file].reserved;
        world.take(end.saturating_sub(reserved.max(offset as u64)))?;
        let contents = &mut world.files[self.file];
        contents.reserved = reserved.max(end);
        contents.change(Change::Write { offset, bytes: bytes[..length].to_vec(), time });
        if hit == (Hit::Half { fails: true }) { Err(error(EIO)) } else { Ok(length) }
    }

    fn extend(&self, length: u64) -> io::Result<()> {
        let mut world = self.world()?;
        world.step_whole()?;
        let reserved = world.files[self.file].reserved;
        world.take(length.saturating_sub(reserved))?;
        let time = world.time;
        let contents = &mut world.files[self.file];
        contents.reserved = length;
        contents.change(Change::Length { length: length as usize, time });
        Ok(())
    }

    fn room(&self) -> io::Result<Option<u64>> {
        Ok(self.world()?.room)
    }

    fn extent(&self, offset: u64) -> io::Result<Extent> {
        let mut world = self.world()?;
        world.step_whole()?;
        let written = &world.files[self.file].now.written;
        let page = offset as usize / PAGE;
        let kind = written.get(page).copied().unwrap_or(false);
        let length = written.iter().skip(page).take_while(|&&w| w == kind).count();
        let end = match page + length {
            all if all >= written.len() => u64::MAX,
            pages => (pages * PAGE) as u64,
        };
        Ok(if kind { Extent::Data { end } } else { Extent::Hole { end } })
    }

    fn stamp(&self) -> io::Result<FileStamp> {
        let world = self.world()?;
        if world.ended { Err(error(EIO)) } else { Ok(world.stamp(self.file)) }
    }

    fn sync(&self) -> io::Result<()> {
        let mut world = self.world()?;
        world.syncs.files += 1;
        let result = world.step_whole();
        let lies = world.lies_of(&world.files[self.file].path);
        let ended = world.ended;
        let contents = &mut world.files[self.file];
        match &result {
            Ok(()) if !lies => contents.sync(),
            Err(_) if !ended => contents.fail_to_sync(),
            _ => {}
        }
        result
    }
}

fn error(code: i32) -> io::Error {
    io::Error::from_raw_os_error(code)
}

impl fmt::Debug for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} operations", self.operations())
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "file {} of life {}", self.file, self.life)
    }
}
