//! A torrent that is accepted has a sound layout and safe paths, and written again is the same.

#![no_main]

use std::path::Component;

use downpour::{
    base::limits::MAX_MAGNET_BYTES,
    metainfo::{Info, Magnet, Metainfo},
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(info) = Info::from_bytes(data) {
        assert_eq!(info.bytes(), data);
        check(&info);
    }
    let Ok(torrent) = Metainfo::from_bytes(data) else { return };
    check(&torrent.info);

    let again = Metainfo::from_bytes(&torrent.to_bytes()).expect("what we write is valid");
    assert_eq!(again.info.bytes(), torrent.info.bytes());
    assert_eq!(again.info.layout(), torrent.info.layout());
    assert_eq!(again.tiers, torrent.tiers);
    assert_eq!(again.web_seeds, torrent.web_seeds);
    assert_eq!(again.nodes, torrent.nodes);
    assert_eq!(again.comment, torrent.comment);
    assert_eq!(again.created_by, torrent.created_by);
    assert_eq!(again.creation_date, torrent.creation_date);

    let magnet = Magnet::from_metainfo(&torrent);
    let link = magnet.to_string();
    if link.len() <= MAX_MAGNET_BYTES {
        assert_eq!(link.parse(), Ok(magnet));
    }
});

fn check(info: &Info) {
    let (layout, geometry) = (info.layout(), info.geometry());
    assert_eq!(layout.total(), geometry.total());
    let mut end = 0;
    for file in layout.files() {
        assert_eq!(file.offset, end);
        end += file.length;
        let path = file.path.to_path_buf();
        assert!(path.components().all(|part| matches!(part, Component::Normal(_))), "{path:?}");
        assert_eq!(path.components().count(), file.path.components().count());
        assert!(!file.path.to_string().contains(char::is_control));
    }
    assert_eq!(layout.total(), end);
    // The ends of the content are the pieces most likely to be wrong.
    let ends = geometry.indices().take(4).chain(geometry.indices().rev().take(4));
    for piece in ends {
        info.piece_hash(piece);
        let (offset, length) = (geometry.piece_offset(piece), geometry.piece_len(piece).into());
        let spans: u64 = layout.spans(offset, length).map(|span| span.length).sum();
        assert_eq!(spans, length);
    }
}
