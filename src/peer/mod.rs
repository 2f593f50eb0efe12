//! One connection.

pub mod outbox;
