//! How much of the machine long work may take: threads, their priority, and the order of reads.
//!
//! Low priority is nice 19 for the threads that work. Linux derives the priority of their reads from
//! it: the lowest but idle, where the I/O scheduler of the disk knows priorities. The idle classes of
//! processor and disk (`SCHED_IDLE`, `ioprio_set`) are not asked for: there is no safe wrapper for
//! them. On other systems than Linux, where nice is not a thread's own, low priority does nothing.

use std::{num::NonZeroUsize, path::Path};

/// How much of the machine long work may take; by default all cores.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Effort {
    /// When `None`, one for each core, or one for a rotating disk.
    threads: Option<NonZeroUsize>,
    low_priority: bool,
    /// Whether the disk is known to seek slowly.
    rotating: bool,
}

impl Effort {
    /// Everything, by so many threads.
    pub const fn with_threads(threads: NonZeroUsize) -> Self {
        Effort { threads: Some(threads), low_priority: false, rotating: false }
    }

    /// The same, but letting other programs go first if `low_priority`.
    pub const fn with_low_priority(self, low_priority: bool) -> Self {
        Effort { low_priority, ..self }
    }

    /// The same for data that lie at `path`: a rotating disk is read by one thread, in order.
    pub fn at(self, path: &Path) -> Self {
        Effort { rotating: self.threads.is_none() && platform::rotates(path), ..self }
    }

    /// Whether pieces are best read one after the other.
    pub(super) const fn is_in_order(self) -> bool {
        self.rotating
    }

    /// How many threads are to work.
    pub(super) fn threads(self) -> NonZeroUsize {
        match self.threads {
            Some(threads) => threads,
            None if self.rotating => NonZeroUsize::MIN,
            None => std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
        }
    }

    /// Whether the threads that work are to be others than the caller's, which could not get its own
    /// priority back.
    pub(super) const fn needs_own_threads(self) -> bool {
        self.low_priority
    }

    /// Gives the calling thread the priority that it is to work with.
    pub(super) fn begin(self) {
        if self.low_priority {
            platform::go_last();
        }
    }
}

#[cfg(target_os = "linux")]
mod platform {
    use std::{fs, os::unix::fs::MetadataExt as _, path::Path};

    use rustix::fs::{major, minor};

    /// Deeper stacks of devices than this are not looked through.
    const DEEPEST: u32 = 8;

    pub(super) fn go_last() {
        // One that is refused works all the same.
        let _ = rustix::process::setpriority_process(None, 19);
    }

    pub(super) fn rotates(path: &Path) -> bool {
        let device = |facts: fs::Metadata| (major(facts.dev()), minor(facts.dev()));
        path.metadata().is_ok_and(|facts| rotating(Path::new("/sys"), device(facts)))
    }

    /// Whether a block device is known to rotate. File systems that have no device of their own
    /// (btrfs, overlays, networks, memory) are not.
    pub(super) fn rotating(sys: &Path, (major, minor): (u32, u32)) -> bool {
        fs::canonicalize(sys.join(format!("dev/block/{major}:{minor}")))
            .is_ok_and(|device| device_rotates(&device, DEEPEST))
    }

    fn device_rotates(device: &Path, depth: u32) -> bool {
        // The disk of a virtual machine says that it rotates, whatever it is made of.
        let mut above = device.components().map(|part| part.as_os_str().as_encoded_bytes());
        if depth == 0 || above.any(|part| part.starts_with(b"virtio") || part.starts_with(b"vbd-"))
        {
            return false;
        }
        // One that is made of others says what any of them says.
        let slaves = fs::read_dir(device.join("slaves")).into_iter().flatten().flatten();
        let mut slaves = slaves.filter_map(|slave| fs::canonicalize(slave.path()).ok()).peekable();
        if slaves.peek().is_some() {
            return slaves.any(|slave| device_rotates(&slave, depth - 1));
        }
        // A partition leaves it to its disk.
        let says = |device: &Path| fs::read_to_string(device.join("queue/rotational")).ok();
        let said = says(device).or_else(|| says(device.parent()?));
        said.is_some_and(|text| text.trim() == "1")
    }
}

#[cfg(not(target_os = "linux"))]
mod platform {
    use std::path::Path;

    pub(super) const fn go_last() {}

    pub(super) const fn rotates(_: &Path) -> bool {
        false
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::{platform::rotating, *};
    use std::{fs, os::unix::fs::symlink};

    #[test]
    fn a_rotating_disk_is_known_by_what_the_system_says() {
        let sys = tempfile::tempdir().expect("dir");
        let root = sys.path().canonicalize().expect("found");
        fs::create_dir_all(root.join("dev/block")).expect("created");
        let device = |number: &str, path: &str, rotational: Option<&str>| {
            let path = root.join("devices").join(path);
            fs::create_dir_all(path.join("queue")).expect("created");
            if let Some(text) = rotational {
                fs::write(path.join("queue/rotational"), text).expect("written");
            }
            symlink(&path, root.join("dev/block").join(number)).expect("linked");
            path
        };
        let disk = device("8:0", "ata1/block/sda", Some("1\n"));
        device("8:1", "ata1/block/sda/sda1", None);
        device("8:16", "ata2/block/sdb", Some("0\n"));
        device("254:0", "virtio1/block/vda", Some("1\n"));
        let mapped = device("253:0", "virtual/block/dm-0", Some("1\n"));
        fs::create_dir(mapped.join("slaves")).expect("created");
        symlink(disk.join("sda1"), mapped.join("slaves/sda1")).expect("linked");
        let mapped = device("253:1", "virtual/block/dm-1", Some("1\n"));
        fs::create_dir(mapped.join("slaves")).expect("created");
        symlink(root.join("devices/virtio1/block/vda"), mapped.join("slaves/vda")).expect("linked");
        device("7:0", "virtual/block/loop0", None);
        let cases = [
            ((8, 0), true),
            ((8, 1), true),
            ((8, 16), false),
            ((254, 0), false),
            ((253, 0), true),
            ((253, 1), false),
            ((7, 0), false),
            ((0, 45), false),
        ];
        for (number, want) in cases {
            assert_eq!(rotating(&root, number), want, "{number:?}");
        }
    }

    #[test]
    fn a_rotating_disk_gets_one_thread_unless_told_otherwise() {
        let rotating = Effort { rotating: true, ..Effort::default() };
        assert_eq!((rotating.threads().get(), rotating.is_in_order()), (1, true));
        let two = NonZeroUsize::new(2).expect("not zero");
        let told = Effort::with_threads(two).at(Path::new("/"));
        assert_eq!((told.threads(), told.is_in_order()), (two, false));
    }
}
