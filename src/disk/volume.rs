//! What there is one of for each volume: who waits for a disk that does not answer keeps nobody else waiting.
//!
//! Which volume files are on is the file system's to say (`file_system`); nothing here
//! waits for one.

use std::{
    collections::{HashMap, hash_map::Entry},
    io,
};

/// A file system that can be mounted by itself, by the number the system has for it. What lies in memory, and
/// what has not been looked at, is together on one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Volume(pub u64);

/// Volumes that have one of their own beside the first; more share that one's.
const MOST: usize = 32;

/// One of something for each volume.
#[derive(Debug)]
pub(crate) struct PerVolume<T> {
    first: T,
    /// Whose the first one is: of the volume that was asked for first.
    home: Option<Volume>,
    /// `None` where there can be none, for good: what was begun with the first ends with it.
    others: HashMap<Volume, Option<T>>,
}

impl<T> PerVolume<T> {
    /// One, that is there in any case.
    pub(crate) fn new(first: T) -> Self {
        PerVolume { first, home: None, others: HashMap::new() }
    }

    /// The one of `volume`, made if there is none. If it cannot be made, and when there are very many, it is the
    /// first.
    pub(crate) fn of(&mut self, volume: Volume, make: impl FnOnce() -> io::Result<T>) -> &T {
        if *self.home.get_or_insert(volume) == volume {
            return &self.first;
        }
        let is_full = self.others.len() >= MOST;
        let own = match self.others.entry(volume) {
            Entry::Occupied(own) => own.into_mut(),
            Entry::Vacant(_) if is_full => return &self.first,
            Entry::Vacant(place) => place.insert(make().ok()),
        };
        own.as_ref().unwrap_or(&self.first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_volume_has_its_own_as_far_as_there_can_be_one() {
        let mut made = PerVolume::new(0);
        let mut ask = |volume, answer: io::Result<u64>| *made.of(Volume(volume), || answer);
        let none = || Err(io::ErrorKind::OutOfMemory.into());
        assert_eq!(ask(7, Ok(1)), 0, "the first is that of whoever comes first");
        assert_eq!((ask(8, Ok(8)), ask(8, Ok(9)), ask(7, Ok(9))), (8, 8, 0));
        assert_eq!((ask(9, none()), ask(9, Ok(9))), (0, 0));
        for volume in 100..200 {
            let own = if volume < 100 + MOST as u64 - 2 { volume } else { 0 };
            assert_eq!(ask(volume, Ok(volume)), own);
        }
    }
}
