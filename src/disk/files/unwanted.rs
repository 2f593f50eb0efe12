//! Bytes of unwanted files: where they are read and written, as far as they have a place (see
//! [`Aside`]).

use std::io;

use super::Files;
use crate::{
    base::index::FileIndex,
    disk::{
        aside::{ASIDE, Aside},
        backend::Extent,
        fault::fault,
        file_system::read_exact_at,
        system::Access,
    },
    pieces::job::DiskFault,
};

impl Files {
    /// Finds out which unwanted files are there, unless that is known.
    pub(super) fn find_aside(&self) -> Result<(), DiskFault> {
        let Some(unwanted) = self.unwanted.as_ref().filter(|_| self.aside.get().is_none()) else {
            return Ok(());
        };
        let mut absent = Vec::with_capacity(unwanted.len());
        for (index, &unwanted) in (0..).map(FileIndex).zip(unwanted) {
            let is_there = !unwanted || self.is_there(index)?;
            absent.push(!is_there);
        }
        // Whoever was faster has seen the same.
        let _ = self.aside.set(Aside::new(&self.info, absent.into()));
        Ok(())
    }

    pub(super) fn is_there(&self, index: FileIndex) -> Result<bool, DiskFault> {
        let path = self.file(index).path;
        let open = || self.pool.file_system().open(&self.root, path, Access::Read);
        match self.pool.open(open) {
            Ok(_) => Ok(true),
            Err(error) => match error.kind() {
                io::ErrorKind::NotFound => Ok(false),
                io::ErrorKind::PermissionDenied => Ok(true),
                _ => Err(fault("open".into(), path.to_string(), &error)),
            },
        }
    }

    pub(super) fn read_aside(
        &self,
        aside: &Aside,
        file: FileIndex,
        offset: u64,
        into: &mut [u8],
    ) -> Result<(), DiskFault> {
        let mut rest = into;
        for stretch in aside.stretches(&self.info, file, offset, rest.len() as u64) {
            let (part, behind) = rest.split_at_mut(stretch.length as usize);
            rest = behind;
            // What was never written reads as zeros.
            part.fill(0);
            let Some(at) = stretch.at else { continue };
            let result = match self.reading(file) {
                Ok(handle) => read_exact_at(&*handle, part, at),
                Err(error) => Err(error),
            };
            match result {
                Ok(()) => {}
                // Never written, or cut off: whoever wants it has to look.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    part.fill(0);
                    self.touches.doubt(ASIDE);
                }
                Err(error) => {
                    let operation = format!("read {} bytes at offset {at} of", part.len());
                    return Err(self.fault(file, operation, &error));
                }
            }
        }
        Ok(())
    }

    pub(super) fn write_aside(
        &self,
        aside: &Aside,
        file: FileIndex,
        offset: u64,
        bytes: &[u8],
    ) -> Result<(), DiskFault> {
        let mut rest = bytes;
        for stretch in aside.stretches(&self.info, file, offset, bytes.len() as u64) {
            let (part, behind) = rest.split_at(stretch.length as usize);
            rest = behind;
            // A piece of nothing else is not fetched.
            if let Some(at) = stretch.at {
                self.write_at(file, 0, at, part)?;
            }
        }
        Ok(())
    }

    pub(super) fn extent_aside(
        &self,
        aside: &Aside,
        file: FileIndex,
        offset: u64,
    ) -> Result<Extent, DiskFault> {
        let rest = self.file(file).length - offset;
        let Some(stretch) = aside.stretches(&self.info, file, offset, rest).next() else {
            return Ok(Extent::Hole { end: offset });
        };
        let end = offset + stretch.length;
        let Some(at) = stretch.at else { return Ok(Extent::Hole { end }) };
        let handle = match self.reading(file) {
            Ok(handle) => handle,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Extent::Hole { end });
            }
            Err(error) => return Err(self.fault(file, "open".into(), &error)),
        };
        let found = handle
            .extent(at)
            .map_err(|error| self.fault(file, "look for data in".into(), &error))?;
        // As far as the stretch goes, in terms of the unwanted file.
        let upto = |behind: u64| end.min(offset.saturating_add(behind.saturating_sub(at)));
        Ok(match found {
            Extent::Data { end } => Extent::Data { end: upto(end) },
            Extent::Hole { end } => Extent::Hole { end: upto(end) },
        })
    }
}
