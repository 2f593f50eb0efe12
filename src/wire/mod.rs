//! Placeholder replaced by the module's first commit.

/// Placeholder.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("wire")]
pub struct WireError;
