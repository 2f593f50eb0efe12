//! Resume state as a value and as bytes: versioned, checksummed, bencoded.
//!
//! ```text
//! d 8:checksum 20:SHA-1 of state  5:state STRING  7:version i1e e
//! ```
//!
//! `state` is a dictionary in a string. Keys it does not know are ignored, so a later version may
//! add some without a new number.

use std::net::SocketAddr;

use crate::{
    base::{
        bitfield::Bitfield,
        compact,
        file_stamp::FileStamp,
        hash::{Sha1Hash, sha1},
        index::PartialPiece,
        limits::MAX_RESUME_PEERS,
    },
    bencode::{self, BencodeError, Dict, Limits, Value},
    metainfo::Info,
};

/// The format that is written, and the only one that is read.
const VERSION: i64 = 1;
/// Bytes of one file's stamp: length, time, inode.
const STAMP_LEN: usize = 24;
/// The length in the stamp of a file that is not there.
const NO_FILE: u64 = u64::MAX;

/// What is known of a torrent at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResumeState {
    /// The torrent.
    pub info_hash: Sha1Hash,
    /// Pieces that are verified and durable.
    pub have: Bitfield,
    /// Unfinished pieces of which some blocks are in the files, ascending.
    pub partial: Vec<PartialPiece>,
    /// Each file of the torrent, in its order: `None` if it is not there, or never is.
    pub files: Vec<Option<FileStamp>>,
    /// When the stamps were taken, in nanoseconds since 1970 by the clock that stamps files.
    pub saved: i64,
    /// No write was to follow: the torrent was complete or at rest.
    pub settled: bool,
    /// Payload bytes that were sent to peers, in all runs.
    pub uploaded: u64,
    /// Peers to which connections were made.
    pub peers: Vec<SocketAddr>,
}

/// Why bytes are not the state of a torrent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResumeError {
    /// They are not bencoding.
    #[error(transparent)]
    Bencode(#[from] BencodeError),
    /// They are of a version that is not known here.
    #[error("its format has version {0}, this program knows {VERSION}")]
    Version(i64),
    /// They are not as they were written.
    #[error("its checksum is wrong")]
    Checksum,
    /// It is the state of something else.
    #[error("it is of another torrent")]
    OtherTorrent,
    /// A value is missing or is not what it has to be.
    #[error("`{0}` is missing or not valid")]
    Value(&'static str),
}

impl ResumeState {
    /// The bytes to keep.
    pub fn encode(&self) -> Vec<u8> {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for &addr in self.peers.iter().take(MAX_RESUME_PEERS) {
            compact::push(addr, &mut v4, &mut v6);
        }
        let state = bencode::write::dict(|state| {
            state.bytes("files", stamps(&self.files));
            state.bytes("have", self.have.as_bytes());
            state.bytes("info hash", self.info_hash.0);
            state.list("partial", |list| {
                for partial in &self.partial {
                    list.dict(|entry| {
                        entry.bytes("blocks", bits(&partial.blocks));
                        entry.int("piece", partial.piece.0);
                    });
                }
            });
            state.bytes("peers", v4);
            state.bytes("peers6", v6);
            state.int("saved", self.saved);
            state.int("settled", u8::from(self.settled));
            state.int("uploaded", self.uploaded);
        });
        bencode::write::dict(|file| {
            file.bytes("checksum", sha1(&state).0);
            file.bytes("state", &state);
            file.int("version", VERSION);
        })
    }

    /// The state of the torrent `info` in `bytes`.
    ///
    /// # Errors
    /// [`ResumeError`]: any change of a byte is found out.
    pub fn decode(bytes: &[u8], info: &Info) -> Result<Self, ResumeError> {
        let file = dict(bytes)?;
        match file.get(b"version").and_then(Value::as_i64) {
            Some(VERSION) => {}
            Some(other) => return Err(ResumeError::Version(other)),
            None => return Err(ResumeError::Value("version")),
        }
        let state = string(file, "state")?;
        if string(file, "checksum")? != sha1(state).0 {
            return Err(ResumeError::Checksum);
        }
        let state = dict(state)?;
        let info_hash = info.info_hash().wire();
        if string(state, "info hash")? != info_hash.0 {
            return Err(ResumeError::OtherTorrent);
        }
        let have = Bitfield::from_wire(string(state, "have")?, info.geometry().pieces())
            .ok_or(ResumeError::Value("have"))?;
        let partial = state
            .get(b"partial")
            .and_then(Value::as_list)
            .and_then(|list| list.iter().map(|entry| partial(entry, info)).collect())
            .filter(|all: &Vec<PartialPiece>| all.is_sorted_by(|a, b| a.piece < b.piece))
            .ok_or(ResumeError::Value("partial"))?;
        let mut peers: Vec<_> = compact::v4_peers(string(state, "peers")?).collect();
        peers.extend(compact::v6_peers(string(state, "peers6")?));
        peers.truncate(MAX_RESUME_PEERS);
        Ok(ResumeState {
            info_hash,
            have,
            partial,
            files: files(string(state, "files")?, info.layout().len())?,
            saved: int(state, "saved")?,
            settled: int(state, "settled")? == 1,
            // States of earlier versions do not say it.
            uploaded: state.get(b"uploaded").and_then(Value::as_u64).unwrap_or(0),
            peers,
        })
    }
}

fn dict(bytes: &[u8]) -> Result<Dict<'_>, ResumeError> {
    Value::scan(bytes, Limits::RESUME)?.as_dict().ok_or(ResumeError::Value("the whole"))
}

fn string<'a>(dict: Dict<'a>, key: &'static str) -> Result<&'a [u8], ResumeError> {
    dict.get(key.as_bytes()).and_then(Value::as_bytes).ok_or(ResumeError::Value(key))
}

fn int(dict: Dict<'_>, key: &'static str) -> Result<i64, ResumeError> {
    dict.get(key.as_bytes()).and_then(Value::as_i64).ok_or(ResumeError::Value(key))
}

fn stamps(files: &[Option<FileStamp>]) -> Vec<u8> {
    let mut out = Vec::with_capacity(files.len() * STAMP_LEN);
    for file in files {
        let nothing = FileStamp { length: NO_FILE, modified: 0, inode: 0 };
        let stamp = file.unwrap_or(nothing);
        out.extend(stamp.length.to_be_bytes());
        out.extend(stamp.modified.to_be_bytes());
        out.extend(stamp.inode.to_be_bytes());
    }
    out
}

fn files(bytes: &[u8], count: usize) -> Result<Vec<Option<FileStamp>>, ResumeError> {
    let (stamps, rest) = bytes.as_chunks::<STAMP_LEN>();
    if stamps.len() != count || !rest.is_empty() {
        return Err(ResumeError::Value("files"));
    }
    let stamp = |bytes: &[u8; STAMP_LEN]| {
        let ([length, modified, inode], _) = bytes.as_chunks::<8>() else { return None };
        let length = u64::from_be_bytes(*length);
        (length != NO_FILE).then(|| FileStamp {
            length,
            modified: i64::from_be_bytes(*modified),
            inode: u64::from_be_bytes(*inode),
        })
    };
    Ok(stamps.iter().map(stamp).collect())
}

/// Block *i* is the bit *i*, the high bit of the first byte being 0.
fn bits(blocks: &[u32]) -> Vec<u8> {
    let mut bytes = vec![0; blocks.last().map_or(0, |&last| last as usize / 8 + 1)];
    for &block in blocks {
        bytes[block as usize / 8] |= 0x80 >> (block % 8);
    }
    bytes
}

fn partial(entry: Value<'_>, info: &Info) -> Option<PartialPiece> {
    let entry = entry.as_dict()?;
    let geometry = info.geometry();
    let piece = entry.get(b"piece")?.as_u64()?;
    let piece = geometry.piece(u32::try_from(piece).ok()?)?;
    let bytes = entry.get(b"blocks")?.as_bytes()?;
    let ones = bytes.iter().enumerate().flat_map(|(i, byte)| {
        (0..8).filter(move |bit| byte & (0x80 >> bit) != 0).map(move |bit| i as u32 * 8 + bit)
    });
    let blocks: Vec<u32> = ones.take_while(|&block| block < geometry.blocks_in(piece)).collect();
    (bytes.len() <= geometry.blocks_in(piece).div_ceil(8) as usize)
        .then_some(PartialPiece { piece, blocks })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{base::index::PieceIndex, resume::judge::tests::torrent};
    use proptest::prelude::*;

    fn state(seed: u64) -> ResumeState {
        let info = torrent(&[("a", 70_000), ("b", 0), ("c", 100_000)]);
        let mut have = Bitfield::empty(info.geometry().pieces());
        have.insert(PieceIndex((seed % 6) as u32));
        let stamp = FileStamp { length: seed, modified: -(seed as i64), inode: seed ^ 0xffff };
        ResumeState {
            info_hash: info.info_hash().wire(),
            have,
            partial: vec![PartialPiece { piece: PieceIndex(4), blocks: vec![0, 1] }],
            files: vec![Some(stamp), None, Some(stamp)],
            saved: 1 << 60,
            settled: seed.is_multiple_of(2),
            uploaded: seed / 3,
            peers: vec![([1, 2, 3, 4], 5).into(), ([9; 16], 6).into()],
        }
    }

    #[test]
    fn every_changed_byte_is_found_out() {
        let info = torrent(&[("a", 70_000), ("b", 0), ("c", 100_000)]);
        let bytes = state(3).encode();
        assert_eq!(ResumeState::decode(&bytes, &info), Ok(state(3)));
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut bad = bytes.clone();
                bad[at] ^= 1 << bit;
                assert!(ResumeState::decode(&bad, &info).is_err(), "byte {at}, bit {bit}");
            }
            assert!(ResumeState::decode(&bytes[..at], &info).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn what_is_not_ours_is_named() {
        let info = torrent(&[("a", 70_000), ("b", 0), ("c", 100_000)]);
        let other = torrent(&[("a", 70_000), ("b", 0), ("c", 100_001)]);
        let decode = |bytes: &[u8]| ResumeState::decode(bytes, &info).map(drop);
        let bytes = state(1).encode();
        assert_eq!(ResumeState::decode(&bytes, &other).map(drop), Err(ResumeError::OtherTorrent));
        let newer = bencode::write::dict(|file| file.int("version", 7));
        assert_eq!(decode(&newer), Err(ResumeError::Version(7)));
        assert_eq!(decode(b"de"), Err(ResumeError::Value("version")));
        assert_eq!(decode(b"le"), Err(ResumeError::Value("the whole")));
        assert!(matches!(decode(b""), Err(ResumeError::Bencode(_))));
        let mut short = state(1);
        short.files.pop();
        assert_eq!(decode(&short.encode()), Err(ResumeError::Value("files")));
        let mut beyond = state(1);
        beyond.partial[0].piece = PieceIndex(6);
        assert_eq!(decode(&beyond.encode()), Err(ResumeError::Value("partial")));
        beyond.partial[0] = PartialPiece { piece: PieceIndex(5), blocks: vec![8] };
        assert_eq!(decode(&beyond.encode()), Err(ResumeError::Value("partial")));
    }

    proptest! {
        #[test]
        fn state_survives_its_bytes(seed: u64) {
            let info = torrent(&[("a", 70_000), ("b", 0), ("c", 100_000)]);
            let seed = seed >> 1;
            prop_assert_eq!(ResumeState::decode(&state(seed).encode(), &info), Ok(state(seed)));
        }
    }
}
