//! What the system says about a failed call, as a [`DiskFault`].

use std::io;

use crate::pieces::job::{DiskFault, FaultKind};

/// The fault for `error`, met while trying `operation` on `file`.
pub(super) fn fault(operation: String, file: String, error: &io::Error) -> DiskFault {
    let kind = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => FaultKind::Full,
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            FaultKind::Permission
        }
        io::ErrorKind::NotFound => FaultKind::Missing,
        io::ErrorKind::UnexpectedEof => FaultKind::Changed,
        io::ErrorKind::OutOfMemory => FaultKind::Exhausted,
        _ => of_device(error).unwrap_or(FaultKind::Io),
    };
    DiskFault { kind, operation, file, cause: error.to_string() }
}

/// What is not a matter of the file.
#[cfg(unix)]
fn of_device(error: &io::Error) -> Option<FaultKind> {
    use rustix::io::Errno;
    match Errno::from_io_error(error)? {
        // It was taken away, or is a mount of which the other end is gone.
        Errno::NODEV | Errno::NXIO | Errno::STALE | Errno::NOTCONN | Errno::SHUTDOWN => {
            Some(FaultKind::Gone)
        }
        Errno::MFILE | Errno::NFILE => Some(FaultKind::Exhausted),
        _ => None,
    }
}

#[cfg(not(unix))]
fn of_device(_error: &io::Error) -> Option<FaultKind> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_fall_into_classes() {
        for (errno, kind) in [
            (28, FaultKind::Full),
            (122, FaultKind::Full),
            (13, FaultKind::Permission),
            (1, FaultKind::Permission),
            (30, FaultKind::Permission),
            (2, FaultKind::Missing),
            (5, FaultKind::Io),
            (19, FaultKind::Gone),
            (116, FaultKind::Gone),
            (107, FaultKind::Gone),
            (24, FaultKind::Exhausted),
            (12, FaultKind::Exhausted),
        ] {
            let error = io::Error::from_raw_os_error(errno);
            assert_eq!(fault("read".into(), "a".into(), &error).kind, kind, "{error}");
        }
    }
}
