//! The classes of what a disk can refuse: what the piece manager decides by, and what people are told.

/// Why the disk refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FaultKind {
    /// No space left, or over quota.
    Full,
    /// Not permitted, or a read-only file system.
    Permission,
    /// The file, or a folder above it, is not there.
    Missing,
    /// The storage is not there: the output folder is another one or gone, or a file that was there is gone.
    Gone,
    /// What is there cannot be read: the disk fails, or we may not.
    Unreadable,
    /// The system has no open file, or no memory, left for it.
    Exhausted,
    /// The file is shorter than it was, or is no longer the file we knew.
    Changed,
    /// Anything else.
    Io,
}

impl FaultKind {
    /// Whether it may pass by itself, so that it is worth trying again.
    pub const fn may_pass(self) -> bool {
        matches!(self, FaultKind::Full) || self.is_away()
    }

    /// Whether nothing can be had of what is stored as long as that lasts, and nothing is lost by it.
    pub const fn is_away(self) -> bool {
        matches!(self, FaultKind::Gone | FaultKind::Unreadable | FaultKind::Exhausted)
    }
}
