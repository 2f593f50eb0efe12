//! A block list as large as those that are offered: 300,000 ranges in the form of PeerGuardian. The same
//! bytes every time.

use std::{fmt::Write as _, hint::black_box, net::Ipv4Addr};

use downpour::base::{
    ip_filter::{Builder, IpFilter, list::List},
    rng::Rng,
};

pub(crate) const RANGES: u32 = 300_000;
/// Addresses looked up at a time.
pub(crate) const ADDRESSES: u32 = 10_000;

/// The text of the list.
pub(crate) fn text() -> String {
    let (mut rng, mut text) = (Rng::new(1), String::new());
    // Every range in a part of the addresses of its own, so that none is merged.
    let part = u32::MAX / RANGES;
    for n in 0..RANGES {
        let mut some = || rng.below(u64::from(part / 2)) as u32;
        let first = n * part + some();
        let last = first + some();
        let (first, last) = (Ipv4Addr::from_bits(first), Ipv4Addr::from_bits(last));
        writeln!(text, "Some organisation, number {n}:{first}-{last}").expect("to memory");
    }
    text
}

/// The list, as read from a file.
pub(crate) fn load(text: &str) -> IpFilter {
    let mut builder = Builder::default();
    let mut list = List::new(&mut builder);
    for piece in text.as_bytes().chunks(64 << 10) {
        list.push(piece).expect("not too many");
    }
    assert_eq!(list.end().expect("not too many").bad, 0);
    let filter = builder.build();
    assert_eq!(filter.ranges(), RANGES as usize);
    filter
}

/// Addresses from everywhere.
pub(crate) fn look_up(filter: &IpFilter, rng: &mut Rng) -> u32 {
    let addresses = (0..ADDRESSES).map(|_| Ipv4Addr::from_bits(rng.next_u64() as u32));
    addresses.map(|ip| u32::from(black_box(filter.blocks(ip.into())))).sum()
}
