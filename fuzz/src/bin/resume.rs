//! What an earlier run left: its state stays within the torrent's bounds, means the same when it is written again,
//! and vouches for no file that is not as it was.
//!
//! The input is the dictionary inside, to which the checksum is made here, and behind it the stamps of the files.

#![no_main]

use std::sync::LazyLock;

use downpour::{
    base::{
        file_stamp::FileStamp,
        hash::{Sha1Hash, sha1},
        limits::MAX_RESUME_PEERS,
    },
    bencode,
    metainfo::{
        Info,
        build::{Builder, NewFile},
    },
    resume::ResumeState,
};
use libfuzzer_sys::fuzz_target;

static INFO: LazyLock<Info> = LazyLock::new(|| {
    let file = |path: &str, length| NewFile { path: vec![path.to_owned()], length };
    let files = vec![file("a", 70_000), file("b", 0), file("c", 100_000)];
    let builder = Builder::folder("t", files, Some(1 << 15)).expect("valid");
    let hashes = vec![Sha1Hash([0; 20]); builder.geometry().pieces() as usize];
    let info = builder.build(&hashes).expect("valid").info;
    Info::from_bytes(info.bytes()).expect("ours")
});

/// The dictionary, with the info hash of the torrent in the place of twenty `@`, as a whole file.
fn whole(state: &[u8]) -> Vec<u8> {
    let mut state = state.to_vec();
    if let Some(at) = state.windows(20).position(|part| part == [b'@'; 20]) {
        state[at..at + 20].copy_from_slice(&INFO.info_hash().wire().0);
    }
    bencode::write::dict(|file| {
        file.bytes("checksum", sha1(&state).0);
        file.bytes("state", &state);
        file.int("version", 1);
    })
}

fuzz_target!(|data: &[u8]| {
    let _ = ResumeState::decode(data, &INFO);
    let (data, now) = data.split_at(data.len().saturating_sub(3));
    let Ok(state) = ResumeState::decode(&whole(data), &INFO) else { return };
    let geometry = INFO.geometry();
    assert_eq!(state.have.len(), geometry.pieces());
    assert!(state.partial.is_sorted_by(|a, b| a.piece < b.piece));
    for partial in &state.partial {
        let blocks = geometry.blocks_in(partial.piece);
        assert!(partial.blocks.iter().all(|&block| block < blocks), "{partial:?}");
    }
    assert!(state.peers.len() <= MAX_RESUME_PEERS);

    let again = ResumeState::decode(&state.encode(), &INFO).expect("as it was written");
    assert_eq!((&again.have, &again.partial), (&state.have, &state.partial));
    assert_eq!((&again.files, again.saved), (&state.files, state.saved));

    let change = |(stamp, &how): (&Option<FileStamp>, &u8)| match (stamp, how % 4) {
        (_, 0) => None,
        (Some(stamp), 1) => Some(FileStamp { length: stamp.length ^ 1, ..*stamp }),
        (stamp, _) => *stamp,
    };
    let now: Vec<_> = state.files.iter().zip(now).map(change).collect();
    if now.len() == state.files.len() {
        let judged = state.judge(&INFO, &now);
        for piece in judged.trusted.iter() {
            let (offset, length) = (geometry.piece_offset(piece), geometry.piece_len(piece));
            for span in INFO.layout().spans(offset, length.into()) {
                let (then, now) = (state.files[span.file.at()], now[span.file.at()]);
                // A run that was cut off may have gone on writing.
                let grew = |then: FileStamp, now: FileStamp| {
                    then.inode == now.inode && then.length <= now.length
                };
                let is_ours = !state.settled
                    && now.is_some_and(|now| then.is_none_or(|then| grew(then, now)));
                assert!(then.is_some() && then == now || is_ours, "{piece:?} is believed");
            }
        }
    }
});
