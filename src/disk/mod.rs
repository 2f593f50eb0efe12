//! A torrent's bytes on disk: verify and write, spill, read, check, allocate.
//!
//! ```text
//! worker     threads that take batches of jobs; reads do not wait behind checks
//!   storage  one torrent's place: does a job, maps pieces to files, keeps padding off the disk
//!     verify   hash a piece, then write it
//!     backend  what a place for files must offer
//!       files    real files …
//!         unwanted   … those of them that nobody wants
//!         file_pool  … a bounded number of them open
//!         touches    … which somebody else may have written to
//!         unsynced   … and what of them is not durable yet
//!         allocate   … created and given their length at the first write
//!         file_system  … by the calls that everything which lasts goes through
//!           system       … of the real one, which keep below the output folder
//!           lock         … and who may be at it
//!             name_lock    … where nothing of ours may lie
//!       memory   the same in RAM, for tests and benchmarks
//! volume     one of something for each: the disks are not to wait for one another
//! gate       for tests: a volume that does not answer
//! check      hash what is there on all cores; preflight says what must not be overwritten
//!   effort        how much of the machine that may take
//!   side_by_side  several pieces at once on each of several threads; also for `session::create`
//! ```
//!
//! Blocking calls and threads only; nothing here knows peers, time or an async runtime. Invariant:
//! nothing is created, written or read outside the folder a [`Storage`] was made for.

mod allocate;
mod aside;
pub mod backend;
pub mod check;
pub mod effort;
mod fault;
#[cfg(test)]
pub(crate) mod faulty;
pub mod file_pool;
pub(crate) mod file_system;
pub mod files;
#[cfg(test)]
pub(crate) mod gate;
mod lock;
pub mod memory;
mod name_lock;
pub mod preflight;
#[cfg(test)]
pub(crate) mod sample;
pub(crate) mod side_by_side;
pub mod storage;
mod system;
mod touches;
mod unsynced;
mod verify;
pub mod volume;
pub mod worker;

pub use check::{FileFact, FileState, Found, check};
pub use effort::Effort;
pub use file_pool::FilePool;
pub(crate) use file_system::{FileSystem, Native, OpenFile, read_exact_at, write_all_at};
pub(crate) use lock::{Lock, NoLock};
pub use side_by_side::Watch;
pub use storage::{Storage, perform_batch};
pub(crate) use system::Access;
pub(crate) use volume::PerVolume;
pub use volume::Volume;
pub use worker::{CompletionSink, Disk};
