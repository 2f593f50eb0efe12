//! Torrents for tests: any files and piece length, with known content.

use std::sync::Arc;

use super::storage::Storage;
use crate::{
    base::{
        hash::sha1,
        id::PeerKey,
        index::{Block, PieceIndex},
        slab::{SLAB_LEN, Slab},
        units::BLOCK_LEN,
    },
    metainfo::{self, Info},
    pieces::job::{DiskEvent, DiskJob, Held, Verdict},
};

pub(crate) struct Sample {
    pub(crate) info: Arc<Info>,
    pub(crate) content: Vec<u8>,
}

/// A torrent with the folder `t`; files whose path begins with `.pad/` are padding.
pub(crate) fn sample(piece_length: u32, files: &[(&str, usize)]) -> Sample {
    let mut content = Vec::new();
    for &(path, length) in files {
        let from = content.len();
        content.extend((from..from + length).map(|i| (i * 31 + i / 251) as u8 | 1));
        if path.starts_with(".pad/") {
            content[from..].fill(0);
        }
    }
    let hashes: Vec<u8> =
        content.chunks(piece_length as usize).flat_map(|piece| sha1(piece).0).collect();
    let lengths: Vec<_> = files.iter().map(|&(path, length)| (path, length as u64)).collect();
    let info = metainfo::sample::info(piece_length, &lengths, &hashes);
    Sample { info: Arc::new(info), content }
}

impl Sample {
    pub(crate) fn piece(&self, piece: PieceIndex) -> &[u8] {
        let geometry = self.info.geometry();
        let from = geometry.piece_offset(piece) as usize;
        &self.content[from..from + geometry.piece_len(piece) as usize]
    }

    /// The parts of a piece in memory; block *i* of the piece is there if bit *i* of `keep` is set,
    /// else there is rubbish in its place.
    pub(crate) fn held(&self, piece: PieceIndex, keep: u64) -> Vec<Held> {
        let bytes = self.piece(piece);
        let mut out = Vec::new();
        for (slot, window) in bytes.chunks(SLAB_LEN as usize).enumerate() {
            let mut slab = Slab::zeroed((window.len() as u32).div_ceil(BLOCK_LEN));
            let mut filled = 0;
            for (i, block) in window.chunks(BLOCK_LEN as usize).enumerate() {
                let place = &mut slab.bytes_mut().expect("bytes")[i * BLOCK_LEN as usize..];
                if keep >> (slot * 16 + i) & 1 == 1 {
                    place[..block.len()].copy_from_slice(block);
                    filled |= 1 << i;
                } else {
                    place[..block.len()].fill(0xee);
                }
            }
            out.push(Held { begin: slot as u32 * SLAB_LEN, filled, slab });
        }
        out
    }

    /// A whole piece, to be verified.
    pub(crate) fn verify(&self, piece: PieceIndex) -> DiskJob {
        DiskJob::Verify { piece, slabs: self.held(piece, u64::MAX), digests: false }
    }

    /// Puts every piece into `storage`.
    pub(crate) fn store(&self, storage: &Storage) {
        for piece in self.info.geometry().indices() {
            assert_eq!(verdict(storage.perform(self.verify(piece))), Verdict::Good, "{piece}");
        }
        storage.create_empty_files().expect("created");
    }
}

pub(crate) fn verdict(event: DiskEvent) -> Verdict {
    match event {
        DiskEvent::Verified { verdict, .. } => verdict,
        other => panic!("not a verification: {other:?}"),
    }
}

pub(crate) fn read(storage: &Storage, run: Block) -> DiskEvent {
    let slab = Slab::zeroed(run.length.div_ceil(BLOCK_LEN));
    storage.perform(DiskJob::Read { peer: PeerKey { slot: 0, generation: 0 }, run, slab })
}
