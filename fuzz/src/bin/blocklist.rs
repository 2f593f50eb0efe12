//! A block list means the same however it is split, and blocks nobody but the addresses that its lines name;
//! packed or damaged, it is read or refused in bounded memory.
//!
//! The input is the lengths of the parts (how many in the first byte), then the list.

#![no_main]

use std::net::Ipv4Addr;

use downpour::{
    base::ip_filter::{
        Builder, IpFilter,
        list::{List, Understood},
    },
    session::blocklist,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((&count, rest)) = data.split_first() else { return };
    let Some((parts, text)) = rest.split_at_checked(usize::from(count % 16)) else { return };
    let (whole, understood) = read(text, &[]);
    for parts in [parts, &[1]] {
        assert_eq!(read(text, parts), (whole.clone(), understood));
    }
    assert!(whole.ranges() as u64 <= understood.good);
    assert_eq!(understood.first_bad.is_some(), understood.bad > 0);

    // Each line alone blocks a part of what all of them block.
    for line in text.split(|&b| b == b'\n').take(16) {
        let (one, understood) = read(line, &[]);
        assert!(understood.good + understood.bad <= 1 && one.ranges() <= 1);
        for ip in (0..=u8::MAX).map(|n| Ipv4Addr::new(n, 2, 3, n).into()) {
            // The mark at the beginning of a file is none in its middle.
            assert!(!one.blocks(ip) || whole.blocks(ip) || line.starts_with(b"\xef\xbb\xbf"));
        }
    }

    let mut builder = Builder::default();
    if blocklist::read_from(text, &mut builder).is_ok_and(|read| read == understood) {
        assert_eq!(builder.build(), whole);
    }
});

fn read(text: &[u8], parts: &[u8]) -> (IpFilter, Understood) {
    let mut builder = Builder::default();
    let mut list = List::new(&mut builder);
    let (mut rest, mut parts) = (text, parts.iter().cycle());
    while !rest.is_empty() {
        let length = parts.next().map_or(rest.len(), |&n| usize::from(n).clamp(1, rest.len()));
        let (now, later) = rest.split_at(length);
        rest = later;
        list.push(now).expect("fewer ranges than bytes");
    }
    let understood = list.end().expect("fewer ranges than bytes");
    (builder.build(), understood)
}
