//! Why a torrent is slow or stuck: causes in order of weight, each with evidence and one remedy.
//!
//! Pure, and the one place that decides this: the second line of a bar, the event `why`, the end of a run that
//! gave up and `downpour why` all show what [`diagnose`] finds. What a torrent's machine knows comes as
//! [`Swarm`], what only the session knows as [`Outside`]. Who gathers it is not known here, nor is how causes
//! are shown or kept: see [`Told`].
//!
//! ```text
//! evidence   what is known
//! recent     what happened in the last minutes, counted
//! rank       from evidence to causes, and which comes first
//! cause      what a cause is called
//!   words      … and its line and its evidence, in words
//!   remedy     … and what to do about it
//! told       a cause as it leaves the program
//! ```

mod cause;
mod evidence;
mod rank;
mod recent;
mod remedy;
mod told;
mod words;

pub use cause::{Cause, Finding};
pub use evidence::{
    Addresses, Dht, DiskTrouble, Door, Limit, Miss, Misses, Outside, Progress, Scarce, Swarm,
    Tracker, TrackerState, Trouble,
};
pub use rank::diagnose;
pub use recent::{Counts, Happening, Recent};
pub use told::Told;
