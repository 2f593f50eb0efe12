//! What is about to leave on one connection: encoded messages and runs of served blocks.
//!
//! A [`SendBuf`] belongs to the connection's driver and is empty while the peer has nothing to say.
//! The torrent machine appends to it, the driver writes it in one vectored write and takes off what
//! the socket accepted. Slabs go back to the pool as their last block leaves. Encoding of messages
//! is in `wire`, the choice of blocks in `torrent`.

use std::{collections::VecDeque, io::IoSlice};

use crate::base::slab::{Chunk, Pool, Slab};

/// Length of the header in front of a block: length, id, piece, begin.
pub const PIECE_HEADER_LEN: usize = 13;

#[derive(Debug)]
enum Segment {
    Bytes(Vec<u8>),
    Run { slab: Slab, blocks: Vec<Served>, next: usize },
}

/// One block of a run.
#[derive(Debug, Clone, Copy)]
pub struct Served {
    /// The encoded header of the PIECE message.
    pub header: [u8; PIECE_HEADER_LEN],
    /// Where the payload lies in the run's slab.
    pub at: u32,
    /// Length of the payload in bytes.
    pub length: u32,
}

/// The bytes one connection is about to write.
#[derive(Debug, Default)]
pub struct SendBuf {
    segments: VecDeque<Segment>,
    /// Bytes of the first unit (a `Bytes` segment, or header and payload of a block) already sent.
    sent: usize,
    len: usize,
    payload: usize,
    /// Bytes not yet written that are encrypted already.
    encrypted: usize,
}

impl SendBuf {
    /// Nothing to write.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes not yet written.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Bytes of block payload among them, counting a block until all of it is written.
    pub const fn payload(&self) -> usize {
        self.payload
    }

    /// Appends encoded messages, leaving `bytes` empty.
    pub fn push_bytes(&mut self, bytes: &mut Vec<u8>) {
        if bytes.is_empty() {
            return;
        }
        self.len += bytes.len();
        if self.segments.len() > 1
            && let Some(Segment::Bytes(last)) = self.segments.back_mut()
        {
            last.append(bytes);
        } else {
            self.segments.push_back(Segment::Bytes(std::mem::take(bytes)));
        }
    }

    /// Appends the blocks of one run, all inside `slab`.
    pub fn push_run(&mut self, slab: Slab, blocks: Vec<Served>) {
        debug_assert!(!blocks.is_empty());
        let payload: usize = blocks.iter().map(|b| b.length as usize).sum();
        self.len += payload + blocks.len() * PIECE_HEADER_LEN;
        self.payload += payload;
        self.segments.push_back(Segment::Run { slab, blocks, next: 0 });
    }

    /// Fills `slices` with what comes first; returns how many were used. Real bytes only.
    pub fn io_slices<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let mut n = 0;
        let mut skip = self.sent;
        let mut push = |bytes: &'a [u8], skip: &mut usize| -> bool {
            let cut = (*skip).min(bytes.len());
            *skip -= cut;
            if cut == bytes.len() {
                return true;
            }
            let Some(slot) = slices.get_mut(n) else { return false };
            *slot = IoSlice::new(&bytes[cut..]);
            n += 1;
            true
        };
        'all: for segment in &self.segments {
            match segment {
                Segment::Bytes(b) => {
                    if !push(b, &mut skip) {
                        break;
                    }
                }
                Segment::Run { slab, blocks, next } => {
                    for block in &blocks[*next..] {
                        let Chunk::Bytes(payload) = slab.chunk(block.at, block.length) else {
                            break 'all;
                        };
                        if !push(&block.header, &mut skip) || !push(payload, &mut skip) {
                            break 'all;
                        }
                    }
                }
            }
        }
        n
    }

    /// Gives `cipher` all bytes that it has not had yet, in order, to be changed in place.
    pub fn encrypt(&mut self, mut cipher: impl FnMut(&mut [u8])) {
        let mut skip = self.sent + self.encrypted;
        let mut apply = |bytes: &mut [u8]| {
            let cut = skip.min(bytes.len());
            skip -= cut;
            cipher(&mut bytes[cut..]);
        };
        for segment in &mut self.segments {
            match segment {
                Segment::Bytes(bytes) => apply(bytes),
                Segment::Run { slab, blocks, next } => {
                    let payload = slab.bytes_mut().expect("only real bytes are encrypted");
                    for block in &mut blocks[*next..] {
                        apply(&mut block.header);
                        apply(&mut payload[block.at as usize..][..block.length as usize]);
                    }
                }
            }
        }
        self.encrypted = self.len;
    }

    /// Takes off `n` bytes that the socket accepted; emptied slabs return to `pool`.
    pub fn advance(&mut self, n: usize, pool: &mut Pool) {
        debug_assert!(n <= self.len);
        self.encrypted = self.encrypted.saturating_sub(n);
        self.len -= n;
        self.sent += n;
        while let Some(segment) = self.segments.front_mut() {
            let unit = match segment {
                Segment::Bytes(b) => b.len(),
                Segment::Run { blocks, next, .. } => {
                    PIECE_HEADER_LEN + blocks[*next].length as usize
                }
            };
            if self.sent < unit {
                return;
            }
            self.sent -= unit;
            if let Segment::Run { blocks, next, .. } = segment {
                self.payload -= blocks[*next].length as usize;
                *next += 1;
                if *next < blocks.len() {
                    continue;
                }
            }
            if let Some(Segment::Run { slab, .. }) = self.segments.pop_front() {
                pool.give(slab);
            }
        }
    }

    /// Takes off the first unit whole (some messages, or one block's header, or its payload) and
    /// shows it to `visit`: how a simulated link carries real and phantom bytes alike. The unit is
    /// never split: do not mix with `advance` inside a unit.
    pub fn pop_unit(&mut self, pool: &mut Pool, visit: &mut impl FnMut(Chunk<'_>)) {
        let n = match self.segments.front() {
            None => return,
            Some(Segment::Bytes(b)) => {
                visit(Chunk::Bytes(&b[self.sent.min(b.len())..]));
                b.len() - self.sent.min(b.len())
            }
            Some(Segment::Run { slab, blocks, next }) => {
                let block = &blocks[*next];
                visit(Chunk::Bytes(&block.header));
                visit(slab.chunk(block.at, block.length));
                PIECE_HEADER_LEN + block.length as usize
            }
        };
        self.advance(n, pool);
    }

    /// Bytes of the first unit, as [`SendBuf::pop_unit`] would take it; 0 when empty.
    pub fn first_unit_len(&self) -> usize {
        match self.segments.front() {
            None => 0,
            Some(Segment::Bytes(b)) => b.len() - self.sent.min(b.len()),
            Some(Segment::Run { blocks, next, .. }) => {
                PIECE_HEADER_LEN + blocks[*next].length as usize
            }
        }
    }

    /// Drops everything (the connection is gone); slabs return to `pool`.
    pub fn clear(&mut self, pool: &mut Pool) {
        for segment in self.segments.drain(..) {
            if let Segment::Run { slab, .. } = segment {
                pool.give(slab);
            }
        }
        (self.sent, self.len, self.payload, self.encrypted) = (0, 0, 0, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::slab::Purpose;
    use proptest::prelude::*;

    fn filled(pool: &mut Pool) -> (SendBuf, Vec<u8>) {
        let (mut buf, mut all) = (SendBuf::default(), Vec::new());
        let mut add = |buf: &mut SendBuf, bytes: &[u8]| {
            all.extend_from_slice(bytes);
            buf.push_bytes(&mut bytes.to_vec());
        };
        add(&mut buf, b"hello");
        add(&mut buf, b" world");
        let mut slab = pool.take(40_000, Purpose::Upload).expect("budget");
        for (i, b) in slab.bytes_mut().expect("real").iter_mut().enumerate() {
            *b = (i % 251) as u8;
        }
        let blocks = vec![
            Served { header: [1; 13], at: 0, length: 16_384 },
            Served { header: [2; 13], at: 16_384, length: 100 },
        ];
        let mut expect = all.clone();
        for b in &blocks {
            expect.extend_from_slice(&b.header);
            expect.extend_from_slice(
                &slab.bytes().expect("real")[b.at as usize..][..b.length as usize],
            );
        }
        buf.push_run(slab, blocks);
        buf.push_bytes(&mut b"tail".to_vec());
        buf.push_bytes(&mut b"!".to_vec());
        expect.extend_from_slice(b"tail!");
        (buf, expect)
    }

    proptest! {
        #[test]
        fn any_split_writes_the_same_bytes(steps in prop::collection::vec(1usize..9_000, 1..20)) {
            let mut pool = Pool::new(1 << 20);
            let (mut buf, expect) = filled(&mut pool);
            prop_assert_eq!(buf.len(), expect.len());
            let mut got = Vec::new();
            for step in steps.iter().cycle() {
                if buf.is_empty() { break; }
                let mut slices = [IoSlice::new(&[]); 3];
                let n = buf.io_slices(&mut slices);
                let mut rest = *step;
                let mut taken = 0;
                for s in &slices[..n] {
                    let k = s.len().min(rest);
                    got.extend_from_slice(&s[..k]);
                    rest -= k;
                    taken += k;
                }
                buf.advance(taken, &mut pool);
            }
            prop_assert_eq!(got, expect);
            prop_assert_eq!(buf.payload(), 0);
            prop_assert_eq!(pool.lent(), 0);
        }
    }

    #[test]
    fn each_byte_is_encrypted_once_and_in_order() {
        let mut pool = Pool::new(1 << 20);
        let (mut buf, mut expect) = filled(&mut pool);
        // What a byte becomes depends on its place in the stream.
        let mut place = 0u8;
        let mut cipher = |bytes: &mut [u8]| {
            for byte in bytes {
                place = place.wrapping_mul(5).wrapping_add(77);
                *byte ^= place;
            }
        };
        let mut got = Vec::new();
        for step in [1, 3, 7, 40_000, 1, usize::MAX] {
            buf.encrypt(&mut cipher);
            let mut slices = [IoSlice::new(&[]); 16];
            let n = buf.io_slices(&mut slices);
            let all: Vec<u8> = slices[..n].iter().flat_map(|s| s.iter().copied()).collect();
            let step = step.min(all.len());
            got.extend_from_slice(&all[..step]);
            buf.advance(step, &mut pool);
            if step == 3 {
                buf.push_bytes(&mut b"later".to_vec());
                expect.extend_from_slice(b"later");
            }
        }
        place = 0;
        let mut cipher = |bytes: &mut [u8]| {
            for byte in bytes {
                place = place.wrapping_mul(5).wrapping_add(77);
                *byte ^= place;
            }
        };
        cipher(&mut got);
        assert_eq!(got, expect);
        assert!(buf.is_empty());
    }

    #[test]
    fn units_come_whole_and_clear_returns_slabs() {
        let mut pool = Pool::new(1 << 20);
        let (mut buf, expect) = filled(&mut pool);
        let mut got = Vec::new();
        while !buf.is_empty() {
            let (unit, before) = (buf.first_unit_len(), got.len());
            buf.pop_unit(&mut pool, &mut |c| {
                if let Chunk::Bytes(b) = c {
                    got.extend_from_slice(b);
                }
            });
            assert_eq!(got.len() - before, unit);
        }
        assert_eq!(got, expect);
        let (mut buf, _) = filled(&mut pool);
        assert!(pool.lent() > 0);
        buf.clear(&mut pool);
        assert_eq!((pool.lent(), buf.len(), buf.payload()), (0, 0, 0));
    }
}
