//! Open files: raises the system's limit and divides what there is between sockets and files.
//!
//! Running out is then rare, and where it happens (`accept`, a dial, opening a file) the operation
//! fails typed and is tried again later.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::base::limits::MAX_HALF_OPEN;

/// Kept for everything else: standard streams, event queues, listeners, HTTP, libraries.
const RESERVE: u64 = 64;
/// Kept beside that where there are many: locks of torrents take three each, announces one for each family.
const MOST_OTHERS: u64 = 576;
/// So few are no `many`: all of them are needed for peers and files.
const FEW: u64 = 256;
/// More files than this held open gain nothing.
const MOST_FILES: u64 = 512;
/// What we assume when the system names no limit: more than we ever use.
const UNLIMITED: u64 = 1 << 20;

/// Who may hold how many descriptors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Descriptors {
    /// Connections of peers, those still dialling among them.
    pub(super) connections: u32,
    /// Connections whose handshake is awaited.
    pub(super) half_open: usize,
    /// Open files of torrents.
    pub(super) files: usize,
}

impl Descriptors {
    /// Raises the limit to the highest the system lets us have, and divides it.
    pub(super) fn claim(max_connections: u32) -> Self {
        Self::divide(raise(), max_connections)
    }

    fn divide(limit: u64, max_connections: u32) -> Self {
        let others = if limit < FEW { 0 } else { (limit / 3).min(MOST_OTHERS) };
        let rest = limit.saturating_sub(RESERVE + others).max(16);
        let files = (rest / 4).clamp(4, MOST_FILES);
        let half_open = (rest / 8).clamp(2, MAX_HALF_OPEN as u64);
        let sockets = rest.saturating_sub(files + half_open).max(4);
        let connections = sockets.min(u64::from(max_connections)) as u32;
        Descriptors { connections, half_open: half_open as usize, files: files as usize }
    }
}

/// The soft limit after raising it; it stays as it was if the system refuses.
fn raise() -> u64 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: maximum, maximum };
    let limit = if setrlimit(Resource::Nofile, raised).is_ok() { maximum } else { current };
    limit.unwrap_or(UNLIMITED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_fit_into_the_limit() {
        for limit in [64, 96, 256, 1024, 4096, 1 << 20] {
            for wanted in [1, 500, 100_000] {
                let d = Descriptors::divide(limit, wanted);
                let sum = u64::from(d.connections) + d.half_open as u64 + d.files as u64;
                assert!(sum <= limit.saturating_sub(RESERVE).max(16), "{limit} {wanted} {d:?}");
                assert!(d.connections >= 1 && d.half_open >= 2 && d.files >= 4, "{d:?}");
            }
        }
        let usual = Descriptors::divide(1024, 500);
        assert_eq!(usual, Descriptors { connections: 388, half_open: 77, files: 154 });
    }

    #[test]
    fn raising_twice_changes_nothing() {
        assert_eq!(raise(), raise());
    }
}
