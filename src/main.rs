//! The `downpour` program: everything is in [`downpour::cli`].

fn main() {}
