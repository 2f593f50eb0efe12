//! Room for connections: one number for the whole session, leased one by one.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The connections a session may have. Copies share one number.
#[derive(Debug, Clone)]
pub(super) struct Slots(Arc<Semaphore>);

/// Room for one connection, given back when dropped.
#[derive(Debug)]
pub(super) struct Slot(#[expect(dead_code, reason = "held for its drop")] OwnedSemaphorePermit);

impl Slots {
    pub(super) fn new(connections: u32) -> Self {
        let most = Semaphore::MAX_PERMITS.min(connections as usize);
        Slots(Arc::new(Semaphore::new(most)))
    }

    /// Room for one more, if there is any.
    pub(super) fn take(&self) -> Option<Slot> {
        self.0.clone().try_acquire_owned().ok().map(Slot)
    }
}
