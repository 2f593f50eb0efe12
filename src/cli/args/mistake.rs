//! What is said of arguments that are not taken, without what is secret in them.

use clap::error::{ContextKind, ContextValue};

use crate::cli::redact;

/// Options whose values may hold a password or a key.
const SECRET: [&str; 3] = ["--proxy", "--tracker", "--webseed"];

/// What clap says of arguments that it does not take: a value that may be a secret is not repeated, however it is
/// written.
pub(in crate::cli) fn not_taken(error: &clap::Error) -> String {
    let mut text = error.to_string();
    let of = |kind| match error.get(kind) {
        Some(ContextValue::String(value)) => Some(value.as_str()),
        _ => None,
    };
    if let (Some(arg), Some(value)) = (of(ContextKind::InvalidArg), of(ContextKind::InvalidValue))
        && SECRET.iter().any(|option| arg.starts_with(option))
        && !value.is_empty()
    {
        text = text.replace(value, "…");
    }
    redact::secrets(&text).into_owned()
}
