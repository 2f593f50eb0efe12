//! What targets share that feed a machine with a program: the input as its instructions, and the world of a node.

#![warn(missing_docs)]

pub mod hosts;
pub mod kept;

/// The input, byte for byte; zeroes behind its end.
#[derive(Debug)]
pub struct Program<'a>(pub &'a [u8]);

impl<'a> Program<'a> {
    /// Whether nothing is left.
    pub fn is_over(&self) -> bool {
        self.0.is_empty()
    }

    /// The next byte.
    pub fn next(&mut self) -> u8 {
        self.0.split_off_first().copied().unwrap_or(0)
    }

    /// Some bytes: as many as the first of them says, below 96.
    pub fn bytes(&mut self) -> &'a [u8] {
        let most = usize::from(self.next() % 96).min(self.0.len());
        let (bytes, rest) = self.0.split_at(most);
        self.0 = rest;
        bytes
    }
}
