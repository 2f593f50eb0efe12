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
        _ => FaultKind::Io,
    };
    DiskFault { kind, operation, file, cause: error.to_string() }
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
        ] {
            let error = io::Error::from_raw_os_error(errno);
            assert_eq!(fault("read".into(), "a".into(), &error).kind, kind, "{error}");
        }
    }
}
