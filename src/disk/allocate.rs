//! The first write to a file: room for all of its bytes.
//!
//! Room is reserved up front because that is nearly free and writing into it is a quarter cheaper,
//! and because a full disk is then met at the start. A file that is there stays as it is: it may
//! grow to its full length, never shrink.

use std::io;

use super::file_system::OpenFile;
use crate::metainfo;

/// Gives `handle`, which has `length` bytes, room for all of `file`, if there is so much: a file system that runs full
/// on the way keeps what it gave so far. `first` is the length of a write that begins at byte 0,
/// else 0: a file which that write fills needs no reservation.
pub(super) fn reserve(
    handle: &dyn OpenFile,
    length: u64,
    file: &metainfo::File<'_>,
    first: u64,
) -> io::Result<()> {
    if length >= file.length || first >= file.length {
        return Ok(());
    }
    let lacks = file.length - length;
    let extended = match handle.room() {
        Ok(Some(room)) if room < lacks => Err(io::Error::new(
            io::ErrorKind::StorageFull,
            format!("No space left: {room} bytes are free"),
        )),
        _ => handle.extend(file.length),
    };
    extended.map_err(|error| {
        let text = format!("no room for its {} bytes: {error}", file.length);
        io::Error::new(error.kind(), text)
    })
}
