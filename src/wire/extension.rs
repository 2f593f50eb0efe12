//! The extension handshake (BEP 10, *handshake message*) and the numbers of the extensions.
//!
//! What the single extensions say is in files of their own (`ut_metadata`), and the state of a
//! connection's extensions in `peer`. To speak a new extension, add its name to the table here and
//! its number to [`local_id`] once we advertise it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::error::WireError;
use crate::{
    base::limits,
    bencode::{Dict, Limits, Value, write},
};

/// The number of the extension handshake itself.
pub const HANDSHAKE: u8 = 0;

/// The numbers under which peers send extension messages to us: what we say in `m`, and nothing
/// that another client has to know in advance.
pub mod local_id {
    /// `ut_pex` (BEP 11).
    pub const UT_PEX: u8 = 1;
    /// `ut_metadata` (BEP 9).
    pub const UT_METADATA: u8 = 2;
    /// `upload_only` (libtorrent): one byte, whether the sender downloads no more.
    pub const UPLOAD_ONLY: u8 = 3;
    /// `lt_donthave` (BEP 54).
    pub const LT_DONTHAVE: u8 = 4;
}

macro_rules! extensions {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// For each extension that we know by name, the number under which its sender wants to
        /// receive it. `None` where it did not say; 0 where it says that it does not (any more).
        /// What holds for a connection is kept with [`ExtensionIds::update`], which leaves no 0.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
        pub struct ExtensionIds {
            $($(#[$doc])* pub $name: Option<u8>,)*
        }

        impl ExtensionIds {
            fn entries(&self) -> impl Iterator<Item = (&'static str, Option<u8>)> {
                [$((stringify!($name), self.$name)),*].into_iter()
            }

            fn entries_mut(&mut self) -> impl Iterator<Item = (&'static str, &mut Option<u8>)> {
                [$((stringify!($name), &mut self.$name)),*].into_iter()
            }
        }
    };
}

extensions! {
    /// Takes back a `have` (BEP 54).
    lt_donthave,
    /// Says whether the sender downloads no more (libtorrent; BEP 21 has it in the handshake).
    upload_only,
    /// Connects two peers through a third (BEP 55).
    ut_holepunch,
    /// Sends the info dictionary (BEP 9).
    ut_metadata,
    /// Exchanges addresses of peers (BEP 11).
    ut_pex,
}

impl ExtensionIds {
    /// Takes in what a later handshake of the same peer says: a number replaces the earlier one,
    /// 0 ends the extension, and what is not named stays as it was (BEP 10, *handshake message*).
    pub fn update(&mut self, later: &ExtensionIds) {
        for ((_, mine), (_, said)) in self.entries_mut().zip(later.entries()) {
            if let Some(number) = said {
                *mine = (number != 0).then_some(number);
            }
        }
    }
}

/// The extension handshake. Every part is optional; a peer may send further handshakes later,
/// which change only what they name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ExtensionHandshake {
    /// The extensions the sender speaks.
    pub m: ExtensionIds,
    /// Name and version of the sender's client: printable, of at most
    /// [`limits::MAX_CLIENT_NAME`] characters, not empty.
    pub v: Option<String>,
    /// The sender would rather have its connections encrypted.
    pub e: Option<bool>,
    /// The TCP port on which the sender takes connections, not 0.
    pub p: Option<u16>,
    /// How many requests the sender lets wait without dropping any, at least 1.
    pub reqq: Option<u32>,
    /// The receiver's address as the sender sees it.
    pub yourip: Option<IpAddr>,
    /// An IPv4 address of the sender.
    pub ipv4: Option<Ipv4Addr>,
    /// An IPv6 address of the sender.
    pub ipv6: Option<Ipv6Addr>,
    /// Bytes of the info dictionary (BEP 9), from 1 to [`limits::MAX_TORRENT_BYTES`].
    pub metadata_size: Option<u32>,
    /// The sender downloads no more, though it may lack pieces (BEP 21).
    pub upload_only: Option<bool>,
}

impl ExtensionHandshake {
    /// The payload of the message, in canonical bencoding. `m` is always there.
    pub fn encode(&self) -> Vec<u8> {
        write::dict(|d| {
            if let Some(prefers) = self.e {
                d.int("e", u8::from(prefers));
            }
            if let Some(ip) = self.ipv4 {
                d.bytes("ipv4", ip.octets());
            }
            if let Some(ip) = self.ipv6 {
                d.bytes("ipv6", ip.octets());
            }
            d.dict("m", |m| {
                for (name, number) in self.m.entries() {
                    if let Some(number) = number {
                        m.int(name, number);
                    }
                }
            });
            if let Some(size) = self.metadata_size {
                d.int("metadata_size", size);
            }
            if let Some(port) = self.p {
                d.int("p", port);
            }
            if let Some(requests) = self.reqq {
                d.int("reqq", requests);
            }
            if let Some(upload_only) = self.upload_only {
                d.int("upload_only", u8::from(upload_only));
            }
            if let Some(name) = &self.v {
                d.bytes("v", name);
            }
            match self.yourip {
                Some(IpAddr::V4(ip)) => d.bytes("yourip", ip.octets()),
                Some(IpAddr::V6(ip)) => d.bytes("yourip", ip.octets()),
                None => {}
            }
        })
    }

    /// Reads the payload of the message.
    ///
    /// Strict about bencoding and its limits, lenient about content, because clients differ: a key
    /// we do not know, one of another type or out of range counts as absent, and so does what
    /// follows the dictionary.
    pub fn decode(payload: &[u8]) -> Result<Self, WireError> {
        let (value, _) = Value::scan_prefix(payload, Limits::PEER)?;
        let dict =
            value.as_dict().ok_or(WireError::Extension("the handshake is not a dictionary"))?;
        let mut handshake = ExtensionHandshake::default();
        for (key, value) in dict.iter() {
            match key {
                b"m" => handshake.m = value.as_dict().map(ids).unwrap_or_default(),
                b"v" => handshake.v = value.as_bytes().and_then(client_name),
                b"e" => handshake.e = value.as_i64().map(|flag| flag != 0),
                b"p" => handshake.p = number(value).filter(|&port| port != 0),
                b"reqq" => handshake.reqq = value.as_u64().map(requests),
                b"yourip" => handshake.yourip = value.as_bytes().and_then(address),
                b"ipv4" => handshake.ipv4 = array(value).map(|b: [u8; 4]| b.into()),
                b"ipv6" => handshake.ipv6 = array(value).map(|b: [u8; 16]| b.into()),
                b"metadata_size" => {
                    let fits = |&size: &u32| (1..=limits::MAX_TORRENT_BYTES as u32).contains(&size);
                    handshake.metadata_size = number(value).filter(fits);
                }
                b"upload_only" => handshake.upload_only = value.as_i64().map(|flag| flag != 0),
                _ => {}
            }
        }
        Ok(handshake)
    }
}

fn ids(m: Dict<'_>) -> ExtensionIds {
    let mut ids = ExtensionIds::default();
    for (key, value) in m.iter() {
        if let Some((_, id)) = ids.entries_mut().find(|(name, _)| name.as_bytes() == key) {
            *id = number(value);
        }
    }
    ids
}

fn number<T: TryFrom<u64>>(value: Value<'_>) -> Option<T> {
    value.as_u64()?.try_into().ok()
}

fn array<const N: usize>(value: Value<'_>) -> Option<[u8; N]> {
    value.as_bytes()?.try_into().ok()
}

/// No request at all could be sent to a peer that says 0: it is read as 1, as in libtorrent.
fn requests(reqq: u64) -> u32 {
    u32::try_from(reqq).unwrap_or(u32::MAX).max(1)
}

/// 4 or 16 bytes; IPv4 written as IPv6 becomes IPv4.
fn address(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Some(v4.into());
    }
    let v6 = <[u8; 16]>::try_from(bytes).ok()?;
    Some(IpAddr::from(v6).to_canonical())
}

/// A client's name fit for a terminal: letters and digits of any script, ASCII signs and spaces.
/// Control characters, those that change the direction of writing, and the like are left out.
fn client_name(bytes: &[u8]) -> Option<String> {
    // A character takes at most 4 bytes.
    let bytes = &bytes[..bytes.len().min(4 * limits::MAX_CLIENT_NAME)];
    let name: String = String::from_utf8_lossy(bytes)
        .chars()
        .filter(|&c| c.is_ascii_graphic() || c == ' ' || c.is_alphanumeric())
        .take(limits::MAX_CLIENT_NAME)
        .collect();
    let name = name.trim();
    (!name.is_empty()).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decode(payload: &[u8]) -> ExtensionHandshake {
        ExtensionHandshake::decode(payload)
            .unwrap_or_else(|e| panic!("{}: {e}", payload.escape_ascii()))
    }

    #[test]
    fn known_bytes() {
        let handshake = ExtensionHandshake {
            m: ExtensionIds {
                ut_metadata: Some(local_id::UT_METADATA),
                upload_only: Some(local_id::UPLOAD_ONLY),
                ..ExtensionIds::default()
            },
            v: Some("downpour 0.1.0".into()),
            p: Some(6881),
            reqq: Some(2048),
            yourip: Some([127, 0, 0, 1].into()),
            ipv6: Some(Ipv6Addr::LOCALHOST),
            metadata_size: Some(31_235),
            upload_only: Some(true),
            ..ExtensionHandshake::default()
        };
        let want = b"d4:ipv616:\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x011:md11:upload_onlyi3e\
            11:ut_metadatai2ee13:metadata_sizei31235e1:pi6881e4:reqqi2048e11:upload_onlyi1e\
            1:v14:downpour 0.1.06:yourip4:\x7f\0\0\x01e";
        assert_eq!(handshake.encode().escape_ascii().to_string(), want.escape_ascii().to_string());
        assert_eq!(decode(want), handshake);
        assert_eq!(ExtensionHandshake::default().encode(), b"d1:mdee");
    }

    #[test]
    fn a_key_of_another_type_or_out_of_range_counts_as_absent() {
        let fallback = ExtensionHandshake::default();
        for odd in [
            "d1:mi1ee",
            "d1:md11:ut_metadata1:2ee",
            "d1:md11:ut_metadatai256eee",
            "d1:md11:ut_metadatai-1eee",
            "d1:md7:unknowni9eee",
            "d13:metadata_sizei0ee",
            "d13:metadata_sizei67108865ee",
            "d13:metadata_sizei-5ee",
            "d1:pi0ee",
            "d1:pi65536ee",
            "d4:reqqi-1ee",
            "d4:reqq3:250e",
            "d11:upload_onlylee",
            "d1:vi4ee",
            "d1:v0:e",
            "d1:v3:\u{1}\n\te",
            "d6:yourip5:12345e",
            "d4:ipv43:123e",
            "d4:ipv64:1234e",
            "d12:complete_agoi5e1:e2:no5:otherd1:xleee",
            "de",
        ] {
            let got = ExtensionHandshake::decode(odd.as_bytes());
            assert_eq!(got, Ok(fallback.clone()), "{odd}");
        }
        // One odd key does not spoil its neighbours, and unsorted keys are read.
        let got = decode(b"d4:reqqi500e1:p1:x1:md6:ut_pex1:a11:ut_metadatai3eee trailing");
        assert_eq!(
            (got.reqq, got.p, got.m.ut_metadata, got.m.ut_pex),
            (Some(500), None, Some(3), None)
        );
    }

    #[test]
    fn request_limits_are_made_usable() {
        assert_eq!(decode(b"d4:reqqi0ee").reqq, Some(1));
        assert_eq!(decode(b"d4:reqqi99999999999ee").reqq, Some(u32::MAX));
    }

    #[test]
    fn what_is_not_a_bencoded_dictionary_is_refused() {
        for bad in ["", "i1e", "le", "d", "d1:mde", "d1:ai1e1:ai2ee", "x"] {
            let got = ExtensionHandshake::decode(bad.as_bytes());
            assert!(
                matches!(got, Err(WireError::Bencode(_) | WireError::Extension(_))),
                "{bad}: {got:?}"
            );
        }
        let deep = [b"d1:x".as_slice(), &[b'l'; 500_000], &[b'e'; 500_000], b"e"].concat();
        assert!(matches!(ExtensionHandshake::decode(&deep), Err(WireError::Bencode(_))));
    }

    #[test]
    fn names_are_fit_for_a_terminal() {
        for (sent, want) in [
            ("µTorrent 3.5.5", Some("µTorrent 3.5.5")),
            ("\u{1b}[31mred\r\n", Some("[31mred")),
            ("a\u{202e}b\u{200b}c\u{7}", Some("abc")),
            ("  libtorrent/2.1.1 ", Some("libtorrent/2.1.1")),
            ("\u{feff} ", None),
        ] {
            let payload = format!("d1:v{}:{sent}e", sent.len());
            assert_eq!(decode(payload.as_bytes()).v.as_deref(), want, "{sent:?}");
        }
        let long = "ж".repeat(50_000);
        let name = decode(format!("d1:v{}:{long}e", long.len()).as_bytes()).v.expect("a name");
        assert_eq!(name.chars().count(), limits::MAX_CLIENT_NAME);
        assert_eq!(decode(b"d1:v4:ab\xff\xfee").v.as_deref(), Some("ab"));
    }

    #[test]
    fn mapped_addresses_become_v4() {
        let got = decode(b"d6:yourip16:\0\0\0\0\0\0\0\0\0\0\xff\xff\x01\x02\x03\x04e");
        assert_eq!(got.yourip, Some([1, 2, 3, 4].into()));
    }

    #[test]
    fn a_later_handshake_changes_only_what_it_names() {
        let mut ids = ExtensionIds::default();
        ids.update(&decode(b"d1:md11:upload_onlyi4e11:ut_metadatai0e6:ut_pexi1eee").m);
        assert_eq!((ids.upload_only, ids.ut_metadata, ids.ut_pex), (Some(4), None, Some(1)));
        ids.update(&decode(b"d1:md11:ut_metadatai2e6:ut_pexi0eee").m);
        assert_eq!((ids.upload_only, ids.ut_metadata, ids.ut_pex), (Some(4), Some(2), None));
        ids.update(&decode(b"de").m);
        assert_eq!((ids.upload_only, ids.ut_metadata, ids.ut_pex), (Some(4), Some(2), None));
    }

    prop_compose! {
        fn any_handshake()(
            numbers in any::<[Option<u8>; 5]>(),
            v in prop::option::of("[!-~]{1,64}"),
            p in prop::option::of(1u16..),
            reqq in prop::option::of(1u32..),
            yourip in any::<Option<IpAddr>>(),
            ipv4 in any::<Option<Ipv4Addr>>(),
            ipv6 in any::<Option<Ipv6Addr>>(),
            metadata_size in prop::option::of(1..=limits::MAX_TORRENT_BYTES as u32),
            upload_only in any::<Option<bool>>(),
            e in any::<Option<bool>>(),
        ) -> ExtensionHandshake {
            let mut m = ExtensionIds::default();
            m.entries_mut().zip(numbers).for_each(|((_, id), number)| *id = number);
            let yourip = yourip.map(|ip| ip.to_canonical());
            ExtensionHandshake {
                m,
                v,
                e,
                p,
                reqq,
                yourip,
                ipv4,
                ipv6,
                metadata_size,
                upload_only,
            }
        }
    }

    proptest! {
        #[test]
        fn any_handshake_round_trips(handshake in any_handshake()) {
            let payload = handshake.encode();
            let canonical = crate::bencode::scan(&payload, Limits::PEER).map(|s| s.unsorted);
            prop_assert_eq!(canonical, Ok(None));
            prop_assert_eq!(ExtensionHandshake::decode(&payload), Ok(handshake));
        }

        #[test]
        fn damaged_handshakes_never_panic(
            handshake in any_handshake(),
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        ) {
            let mut payload = handshake.encode();
            for (at, byte) in changes {
                let at = at.index(payload.len());
                payload[at] = byte;
            }
            if let Ok(read) = ExtensionHandshake::decode(&payload) {
                // What was understood can be said again.
                prop_assert_eq!(ExtensionHandshake::decode(&read.encode()), Ok(read));
            }
        }
    }
}
