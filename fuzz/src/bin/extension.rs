//! The payloads of extension messages, and announces on the local network: what is understood has the
//! promised form and can be said again.

#![no_main]

use downpour::{
    base::limits,
    lsd::Announce,
    wire::{
        ExtensionHandshake, MetadataMessage,
        ut_metadata::{METADATA_PIECE_LEN, piece_count},
        ut_pex::PexMessage,
    },
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(message) = PexMessage::decode(data) {
        assert!(message.added.len() <= 2 * limits::MAX_PEX_PEERS);
        let again = PexMessage::decode(&message.encode());
        assert_eq!(again.map(|again| again.added.len()), Ok(message.added.len()));
    }
    if let Some(announce) = Announce::decode(data) {
        assert!(announce.info_hashes.len() <= limits::MAX_LSD_TORRENTS && announce.port != 0);
    }
    if let Ok(handshake) = ExtensionHandshake::decode(data) {
        if let Some(name) = &handshake.v {
            assert!((1..=limits::MAX_CLIENT_NAME).contains(&name.chars().count()));
            assert!(!name.contains(char::is_control));
        }
        assert!(handshake.p != Some(0) && handshake.reqq != Some(0));
        let sizes = 1..=limits::MAX_TORRENT_BYTES as u32;
        assert!(handshake.metadata_size.is_none_or(|size| sizes.contains(&size)));
        assert_eq!(ExtensionHandshake::decode(&handshake.encode()).as_ref(), Ok(&handshake));

        let mut ids = handshake.m;
        ids.update(&handshake.m);
        let once = ids;
        ids.update(&handshake.m);
        assert_eq!(ids, once);
    }
    if let Ok(message) = MetadataMessage::decode(data) {
        if let MetadataMessage::Data { piece, total_size, bytes } = message {
            assert!(piece < piece_count(total_size));
            assert!((1..=METADATA_PIECE_LEN as usize).contains(&bytes.len()));
        }
        assert_eq!(MetadataMessage::decode(&message.encode()), Ok(message));
    }
});
