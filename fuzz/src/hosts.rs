//! What there is in the world of a DHT node: hosts, what others call so, hashes and items, each by a byte.

use std::{
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::LazyLock,
};

use downpour::{
    base::limits,
    dht::{Item, NodeId, item::SecretKey, message::RawItem},
};

/// The net of those who are blocked.
pub const BLOCKED: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 0);

/// The hosts there are: of the world, of the local network, of both families, and some who are blocked.
pub fn addr(n: u8) -> SocketAddr {
    let port = 6881 + u16::from(n & 1);
    let v6 =
        |first, network| (Ipv6Addr::new(first, 0xdb8, 0, network, 0, 0, 0, u16::from(n)), port);
    match n {
        0..0x90 => (Ipv4Addr::new(8, 8, n >> 1, 1), port).into(),
        0x90..0xa0 => (Ipv4Addr::new(127, 0, 0, 1), u16::from(n)).into(),
        0xa0..0xb0 => (Ipv4Addr::new(192, 168, 0, n >> 2), port).into(),
        0xb0..0xc0 => (Ipv4Addr::new(198, 51, 100, n), port).into(),
        0xc0..0xf0 => v6(0x2001, u16::from(n >> 1)).into(),
        _ => v6(0xfd00, 0).into(),
    }
}

/// What somebody calls a node: a host, or something that is none.
pub fn named(n: u8) -> SocketAddr {
    match n {
        0xb8 => (Ipv4Addr::UNSPECIFIED, 6881).into(),
        0xb9 => (Ipv4Addr::new(8, 8, 8, 8), 0).into(),
        0xba => (Ipv4Addr::new(224, 0, 0, 1), 6881).into(),
        0xbb => (Ipv6Addr::UNSPECIFIED, 6881).into(),
        0xbc => (Ipv4Addr::new(8, 8, 1, 1).to_ipv6_mapped(), 6881).into(),
        0xbd => (BLOCKED.to_ipv6_mapped(), 6881).into(),
        0xbe => (Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1), 6881).into(),
        0xbf => (Ipv4Addr::LOCALHOST.to_ipv6_mapped(), 6881).into(),
        _ => addr(n),
    }
}

/// What is asked for: a few hashes.
pub fn target(n: u8) -> NodeId {
    NodeId([n % 8 * 0x22; 20])
}

/// Items, some of one key under one salt.
pub static ITEMS: LazyLock<Vec<Item>> = LazyLock::new(|| {
    let key = SecretKey::from_seed(&[7; 32]);
    let long = format!("{}:{}", limits::MAX_DHT_ITEM - 4, "x".repeat(limits::MAX_DHT_ITEM - 4));
    let signed = |value: &[u8], salt: &[u8], sequence| {
        Item::mutable(value, &key, salt, sequence).expect("an item")
    };
    vec![
        Item::immutable(b"5:hello").expect("an item"),
        Item::immutable(long.as_bytes()).expect("an item"),
        signed(b"i1e", b"", 1),
        signed(b"i2e", b"", 2),
        signed(b"i3e", b"", 2),
        signed(b"d1:ai1ee", b"salt", i64::MAX),
        signed(b"i1e", b"salt", i64::MIN),
        signed(b"i1e", &[b's'; limits::MAX_DHT_SALT], 0),
    ]
});

/// Value, salt and signature of an item with something wrong.
pub fn wrong(raw: &RawItem<'_>, n: u8) -> (Vec<u8>, Vec<u8>, Vec<u8>) {
    let signed = raw.signed.map_or((&b""[..], &b""[..]), |signed| (signed.salt, signed.signature));
    let (mut value, mut salt, mut signature) =
        (raw.value.to_vec(), signed.0.to_vec(), signed.1.to_vec());
    match n % 4 {
        0 => {
            value = format!("{}:{}", limits::MAX_DHT_ITEM, "x".repeat(limits::MAX_DHT_ITEM)).into()
        }
        1 => salt = vec![b's'; limits::MAX_DHT_SALT + 1],
        2 => signature.reverse(),
        _ => salt.push(b'!'),
    }
    (value, salt, signature)
}
