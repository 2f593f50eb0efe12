//! What one run of the program leaves for the next about a torrent, so that data is hashed once.
//!
//! Pure: bytes and values ([`ResumeState`]), and what may be believed of them when the files are looked
//! at again ([`Judgement`]). When state is saved and where it lies is decided in `session/persist`.
//!
//! Invariant: a piece is in the state only after its bytes were durable, so that neither a kill nor
//! a power cut makes it a lie. What others did to the files since shows in their stamps.

mod judge;
mod state;

pub use judge::Judgement;
pub use state::{ResumeError, ResumeState};
