//! Torrents made by other programs: the info hashes their makers state, their file lists, and
//! their piece hashes against the payload. `fixtures/README.md` says who made what.

use std::{fs, path::Path};

use downpour::{
    base::hash::{InfoHash, sha1},
    metainfo::{Info, Magnet, MetaVersion, Metainfo, MetainfoError},
};

const SINGLE: &[(&str, u64)] = &[("single.bin", 40_000)];
const SAMPLE: &[(&str, u64)] = &[
    ("sample/README", 300),
    ("sample/empty", 0),
    ("sample/nested/deep/numbers.bin", 50_000),
    ("sample/nested/one byte", 1),
    ("sample/ünïcode ☃.txt", 20_000),
];

struct Fixture {
    torrent: &'static str,
    v1: &'static str,
    /// The files, sorted; padding is not among them.
    files: &'static [(&'static str, u64)],
    piece_length: u32,
    private: bool,
}

const FIXTURES: [Fixture; 8] = [
    Fixture {
        torrent: "mktorrent-folder",
        v1: "df9792a4e1ead19979a5ec4c8ff28c64f762abb6",
        files: SAMPLE,
        piece_length: 32768,
        private: false,
    },
    Fixture {
        torrent: "mktorrent-single",
        v1: "904a65016789b15b50bdf42796f8c9ad4c621336",
        files: SINGLE,
        piece_length: 32768,
        private: true,
    },
    Fixture {
        torrent: "transmission-folder",
        v1: "fee320dcc12463be8276f39b656e39ee73a7cec2",
        // Its maker leaves empty files out.
        files: &[SAMPLE[0], SAMPLE[2], SAMPLE[3], SAMPLE[4]],
        piece_length: 16384,
        private: false,
    },
    Fixture {
        torrent: "transmission-single",
        v1: "f603da5b3adad83ad6a6caebe778f138a63131a6",
        files: SINGLE,
        piece_length: 16384,
        private: true,
    },
    Fixture {
        torrent: "libtorrent-folder",
        v1: "80a75243784c79ef59d8f0e1f870594dae88e9c2",
        files: SAMPLE,
        piece_length: 16384,
        private: false,
    },
    Fixture {
        torrent: "libtorrent-single",
        v1: "601a265306a8a4ff4192142f4cf932a2bd048ec9",
        files: SINGLE,
        piece_length: 16384,
        private: false,
    },
    Fixture {
        torrent: "libtorrent-padded",
        v1: "5ce2d2c177658771332bdb03366e1821e58c96ec",
        files: SAMPLE,
        piece_length: 16384,
        private: false,
    },
    Fixture {
        torrent: "libtorrent-hybrid",
        v1: "8661174b11e5e3e6bbf171c12917af591ca8b01c",
        files: SAMPLE,
        piece_length: 16384,
        private: false,
    },
];

fn folder() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures"))
}

fn bytes(torrent: &str) -> Vec<u8> {
    let path = folder().join(torrent).with_extension("torrent");
    fs::read(&path).unwrap_or_else(|err| panic!("{}: {err}", path.display()))
}

fn read(torrent: &str) -> Metainfo {
    Metainfo::from_bytes(&bytes(torrent)).unwrap_or_else(|err| panic!("{torrent}: {err}"))
}

#[test]
fn info_hashes_are_those_the_makers_state() {
    for fixture in FIXTURES {
        let info = read(fixture.torrent).info;
        let v1 = info.info_hash().v1.map(|hash| hash.to_string());
        assert_eq!(v1.as_deref(), Some(fixture.v1), "{}", fixture.torrent);
        // Metadata from peers is the same bytes.
        let fetched = Info::from_bytes(info.bytes()).expect(fixture.torrent);
        assert_eq!(fetched.info_hash(), info.info_hash());
        assert_eq!(fetched.layout(), info.layout());
    }
}

#[test]
fn file_lists_and_flags() {
    for fixture in FIXTURES {
        let info = read(fixture.torrent).info;
        let mut files: Vec<_> = info
            .layout()
            .files()
            .filter(|file| file.is_stored())
            .map(|file| (file.path.to_string(), file.length))
            .collect();
        files.sort();
        let want: Vec<_> = fixture.files.iter().map(|&(p, n)| (p.to_owned(), n)).collect();
        assert_eq!(files, want, "{}", fixture.torrent);
        assert_eq!(info.geometry().piece_length(), fixture.piece_length, "{}", fixture.torrent);
        assert_eq!(info.private(), fixture.private, "{}", fixture.torrent);
    }
}

#[test]
fn every_piece_hash_is_that_of_the_payload() {
    for fixture in FIXTURES {
        let info = read(fixture.torrent).info;
        let contents: Vec<_> = info
            .layout()
            .files()
            .map(|file| match file.attributes.padding {
                true => vec![0; file.length as usize],
                false => fs::read(folder().join(file.path.to_path_buf())).expect("payload"),
            })
            .collect();
        let geometry = info.geometry();
        assert!(geometry.pieces() > 1);
        for piece in geometry.indices() {
            let (offset, length) = (geometry.piece_offset(piece), geometry.piece_len(piece));
            let data: Vec<u8> = info
                .layout()
                .spans(offset, length.into())
                .flat_map(|span| {
                    let start = span.offset as usize;
                    &contents[span.file.at()][start..start + span.length as usize]
                })
                .copied()
                .collect();
            assert_eq!(data.len(), length as usize);
            assert_eq!(sha1(&data), info.piece_hash(piece), "{} {piece}", fixture.torrent);
        }
    }
}

#[test]
fn trackers_web_seeds_nodes_and_texts() {
    let (tracker, backup) =
        ("http://tracker.example/announce", "udp://backup.example:6969/announce");
    for fixture in FIXTURES {
        let torrent = read(fixture.torrent);
        let one_tracker = fixture.torrent.starts_with("transmission");
        let tiers: &[&[&str]] = if one_tracker { &[&[tracker]] } else { &[&[tracker], &[backup]] };
        assert_eq!(torrent.tiers, tiers, "{}", fixture.torrent);
        let maker = fixture.torrent.split('-').next().expect("a name");
        let created_by = torrent.created_by.as_deref().unwrap_or_default().to_lowercase();
        assert!(created_by.starts_with(maker), "{created_by}");
        // Written again it says the same.
        let again = Metainfo::from_bytes(&torrent.to_bytes()).expect(fixture.torrent);
        assert_eq!(again.info.info_hash(), torrent.info.info_hash());
        assert_eq!((&again.tiers, &again.web_seeds), (&torrent.tiers, &torrent.web_seeds));
        assert_eq!((&again.nodes, &again.comment), (&torrent.nodes, &torrent.comment));
    }
    let torrent = read("libtorrent-folder");
    assert_eq!(torrent.web_seeds, ["http://seed.example/files/"]);
    assert_eq!(
        torrent.nodes.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["router.example:6881"]
    );
    assert_eq!(torrent.comment.as_deref(), Some("made for tests"));
    assert_eq!(torrent.creation_date, Some(1_000_000_000));
    assert_eq!(read("mktorrent-folder").web_seeds, ["http://seed.example/files/"]);
}

#[test]
fn padding_aligns_every_file() {
    for name in ["libtorrent-padded", "libtorrent-hybrid"] {
        let info = read(name).info;
        let files: Vec<_> = info.layout().files().collect();
        assert_eq!(files.iter().filter(|file| file.attributes.padding).count(), 4);
        assert!(files.iter().filter(|f| f.is_stored()).all(|f| f.offset % 16384 == 0), "{name}");
    }
}

#[test]
fn a_hybrid_has_both_hashes_and_works_as_v1() {
    let torrent = read("libtorrent-hybrid");
    let InfoHash { v1, v2 } = torrent.info.info_hash();
    assert_eq!(torrent.info.version(), MetaVersion::Hybrid);
    assert_eq!(
        v2.map(|hash| hash.to_string()).as_deref(),
        Some("f9ee403dbfd30b4c0125a380612ad7181532be8ce0318a25b2557a720a2e1fae")
    );
    let magnet = Magnet::from_metainfo(&torrent);
    assert_eq!(magnet.v1().ok(), v1);
    assert_eq!(magnet.to_string().parse(), Ok(magnet));
}

#[test]
fn a_v2_only_torrent_is_refused_with_the_reason() {
    let err = Metainfo::from_bytes(&bytes("libtorrent-v2")).expect_err("v2 only");
    assert_eq!(err, MetainfoError::V2Only);
    assert!(err.to_string().contains("not yet supported"));
}
