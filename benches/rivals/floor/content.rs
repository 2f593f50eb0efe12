//! The content of every payload: one stream of bytes that fits into a processor's cache, over and
//! over. Its period is odd, so that no two pieces are alike. A peer that knows this serves any length
//! from a few MiB of memory, and checks what it gets by comparing.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::Path,
};

/// Bytes until the stream repeats itself: odd.
const PERIOD: usize = (4 << 20) + 4_099;
/// Longest slice that is handed out in one part.
const LONGEST: usize = 1 << 20;
/// Files in each folder of a payload of many.
const FILES_IN_A_FOLDER: u64 = 100;

/// The stream.
pub(crate) struct Stream(Box<[u8]>);

impl Stream {
    /// The same bytes on every call; with one of them wrong if it is to be `corrupt`.
    pub(crate) fn new(corrupt: bool) -> Self {
        let mut random = Random(0x0d0c_b0a0_9080_7060);
        let mut bytes: Vec<u8> =
            (0..PERIOD.div_ceil(8)).flat_map(|_| random.next().to_le_bytes()).collect();
        bytes.truncate(PERIOD);
        if corrupt {
            bytes[PERIOD / 2] ^= 1;
        }
        bytes.extend_from_within(..LONGEST);
        Stream(bytes.into())
    }

    /// The bytes from `offset` on, at most 1 MiB of them.
    pub(crate) fn slice(&self, offset: u64, length: usize) -> &[u8] {
        let from = (offset % PERIOD as u64) as usize;
        &self.0[from..from + length]
    }
}

/// SplitMix64.
struct Random(u64);

impl Random {
    const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// Writes `bytes` of the stream to the file `path`, or to `files` files of different lengths in a
/// folder of that name, in the order of their paths.
pub(crate) fn write(path: &Path, bytes: u64, files: Option<u64>) -> io::Result<()> {
    let stream = Stream::new(false);
    let Some(files) = files else { return write_file(&stream, path, 0, bytes) };
    if files == 0 || bytes < files {
        return Err(io::Error::other("every file needs a byte"));
    }
    let mean = bytes / files;
    let (mut random, mut at, mut longer) = (Random(1), 0, 0);
    for number in 0..files {
        let folder = path.join(format!("{:04}", number / FILES_IN_A_FOLDER));
        if number % FILES_IN_A_FOLDER == 0 {
            fs::create_dir_all(&folder)?;
        }
        // Of two neighbours, one is as much longer than the mean as the other is shorter.
        let length = if number + 1 == files {
            bytes - at
        } else if number % 2 == 0 {
            longer = random.next() % (mean / 2).max(1);
            mean + longer
        } else {
            mean - longer
        };
        write_file(&stream, &folder.join(format!("{number:06}.bin")), at, length)?;
        at += length;
    }
    Ok(())
}

fn write_file(stream: &Stream, path: &Path, offset: u64, length: u64) -> io::Result<()> {
    let mut file = File::create(path)?;
    let mut done = 0;
    while done < length {
        let part = (length - done).min(LONGEST as u64);
        file.write_all(stream.slice(offset + done, part as usize))?;
        done += part;
    }
    Ok(())
}
