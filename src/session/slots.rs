//! Room for connections: one number for the whole session, leased one by one.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The connections a session may have. Copies share one number.
#[derive(Debug, Clone)]
pub(super) struct Slots {
    free: Arc<Semaphore>,
    all: u32,
}

/// Room for one connection, given back when dropped.
#[derive(Debug)]
pub(super) struct Slot(#[expect(dead_code, reason = "held for its drop")] OwnedSemaphorePermit);

impl Slots {
    pub(super) fn new(connections: u32) -> Self {
        let most = Semaphore::MAX_PERMITS.min(connections as usize);
        Slots { free: Arc::new(Semaphore::new(most)), all: most as u32 }
    }

    /// Room for one more, if there is any.
    pub(super) fn take(&self) -> Option<Slot> {
        self.free.clone().try_acquire_owned().ok().map(Slot)
    }

    /// How many there are, taken or not.
    pub(super) const fn all(&self) -> u32 {
        self.all
    }
}
