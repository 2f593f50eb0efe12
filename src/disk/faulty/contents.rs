//! One file of the disk that fails: as programs see it, and as it is on the platters. What a sync makes the
//! same, and what is left when the power has failed before one.

use std::{ops::Range, path::PathBuf};

use crate::base::rng::Rng;

/// What survives or not as one.
pub(super) const PAGE: usize = 4096;

/// What is left of what was not synced.
#[derive(Debug)]
pub(crate) enum Survives {
    /// All of it: only the program was killed.
    Everything,
    /// Nothing.
    Nothing,
    /// Any part of it.
    Some(Rng),
}

#[derive(Debug, Default)]
pub(super) struct Contents {
    durable: Bytes,
    pub(super) now: Bytes,
    /// What makes `durable` the same as `now`, unless a sync has failed.
    pending: Vec<Change>,
    /// Bytes from the start that have room.
    pub(super) reserved: u64,
    /// Its first name.
    pub(super) path: PathBuf,
    /// What was read of it since somebody asked.
    pub(super) read: Vec<Range<u64>>,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Bytes {
    pub(super) data: Vec<u8>,
    /// Whether anybody wrote to each page.
    pub(super) written: Vec<bool>,
    pub(super) modified: i64,
}

#[derive(Debug, Clone)]
pub(super) enum Change {
    Write { offset: usize, bytes: Vec<u8>, time: i64 },
    Length { length: usize, time: i64 },
}

impl Contents {
    /// Of a file that is made at `time`, with this name.
    pub(super) fn new(path: PathBuf, time: i64) -> Self {
        let empty = Bytes { modified: time, ..Bytes::default() };
        Contents { durable: empty.clone(), now: empty, path, ..Contents::default() }
    }

    pub(super) fn change(&mut self, change: Change) {
        self.now.apply(&change);
        self.pending.push(change);
    }

    pub(super) fn sync(&mut self) {
        self.pending.drain(..).for_each(|change| self.durable.apply(&change));
    }

    /// What was to be written is forgotten; that it was written is not.
    pub(super) fn fail_to_sync(&mut self) {
        self.durable.modified = self.now.modified;
        self.durable.resize(self.now.data.len());
        self.pending.clear();
    }

    pub(super) fn survive(&mut self, survives: &mut Survives) {
        match survives {
            Survives::Everything => self.durable = self.now.clone(),
            Survives::Nothing => {}
            Survives::Some(rng) => {
                let mut seen = Bytes { data: self.durable.data.clone(), ..self.durable.clone() };
                let upto = rng.below(self.pending.len() as u64 + 1) as usize;
                self.pending[..upto].iter().for_each(|change| seen.apply(change));
                for change in &self.pending {
                    let Change::Write { offset, bytes, .. } = change else { continue };
                    let mut at = *offset;
                    let end = offset + bytes.len();
                    while at < end {
                        let to = end.min((at / PAGE + 1) * PAGE);
                        if rng.below(2) == 0 {
                            let part = bytes[at - offset..to - offset].to_vec();
                            self.durable.apply(&Change::Write { offset: at, bytes: part, time: 0 });
                        }
                        at = to;
                    }
                }
                self.durable.resize(seen.data.len());
                self.durable.modified = seen.modified;
            }
        }
        self.now = self.durable.clone();
        self.pending.clear();
        self.reserved = self.now.data.len() as u64;
    }
}

impl Bytes {
    fn apply(&mut self, change: &Change) {
        match change {
            Change::Write { offset, bytes, time } => {
                let end = offset + bytes.len();
                if self.data.len() < end {
                    self.resize(end);
                }
                self.data[*offset..end].copy_from_slice(bytes);
                self.written[offset / PAGE..end.div_ceil(PAGE)].fill(true);
                self.modified = *time;
            }
            Change::Length { length, time } => {
                self.resize(*length);
                self.modified = *time;
            }
        }
    }

    fn resize(&mut self, length: usize) {
        self.data.resize(length, 0);
        self.written.resize(length.div_ceil(PAGE), false);
    }
}
