//! A reply that is read as it comes, because it may be larger than memory.
//!
//! What is asked for, and what a redirect leads to, is in [`super`].

use std::{fmt, time::Duration};

use tokio::time::timeout;

use super::{HttpError, Place, classify};

/// A reply whose body is read as it comes.
#[derive(Debug)]
pub struct Streamed {
    pub(super) reply: reqwest::Response,
    /// How long the next bytes may take.
    pub(super) patience: Duration,
    /// Where it came from, behind all redirects.
    pub place: Place,
}

/// Some bytes of a body.
pub struct Part {
    bytes: Box<dyn AsRef<[u8]> + Send + Sync>,
    /// Where they begin.
    at: usize,
}

impl Part {
    /// Takes up to `most` bytes off its front; how many that were.
    pub fn skip(&mut self, most: u64) -> u64 {
        let n = usize::try_from(most).map_or(self.as_ref().len(), |n| n.min(self.as_ref().len()));
        self.at += n;
        n as u64
    }
}

impl AsRef<[u8]> for Part {
    fn as_ref(&self) -> &[u8] {
        &(*self.bytes).as_ref()[self.at..]
    }
}

impl fmt::Debug for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Part({} bytes)", self.as_ref().len())
    }
}

impl Streamed {
    /// The status code.
    pub fn status(&self) -> u16 {
        self.reply.status().as_u16()
    }

    /// A header, if it is there and is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.reply.headers().get(name)?.to_str().ok()
    }

    /// The next bytes of the body, as they were sent; `None` at its end.
    ///
    /// # Errors
    /// The connection broke, or nothing came for too long.
    pub async fn part(&mut self) -> Result<Option<Part>, HttpError> {
        // Only while somebody waits for them: those that wait for us are here.
        let part = timeout(self.patience, self.reply.chunk()).await;
        let part = part.map_err(|_| HttpError::TimedOut)?.map_err(classify)?;
        Ok(part.map(|bytes| Part { bytes: Box::new(bytes), at: 0 }))
    }
}
