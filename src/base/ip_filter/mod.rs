//! Which addresses are blocked: ranges, and a quick answer whether an address is in one of them.
//!
//! Ranges lie sorted and merged in one array for each family, 8 bytes each for IPv4 and 32 for IPv6; to
//! look an address up is a binary search. An IPv4 address written as IPv6 is IPv4, in lists too. Nothing
//! is blocked but what a list names, loopback and private addresses neither.
//!
//! Text lists are read by [`list`]. Not here: files, packed ones (`session::blocklist`), and who asks. Of
//! trackers and web servers nobody asks: whoever names one wants it.

mod line;
pub mod list;

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr},
};

use super::limits::MAX_BLOCKED_RANGES;

/// The first and the last address of a range.
type Ends<T> = (T, T);

/// Blocked addresses. Without any ([`IpFilter::default`]) everybody is welcome.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct IpFilter {
    v4: Box<[Ends<u32>]>,
    v6: Box<[Ends<u128>]>,
}

impl IpFilter {
    /// Whether `ip` is blocked.
    pub fn blocks(&self, ip: IpAddr) -> bool {
        match ip.to_canonical() {
            IpAddr::V4(ip) => holds(&self.v4, ip.to_bits()),
            IpAddr::V6(ip) => holds(&self.v6, ip.to_bits()),
        }
    }

    /// Ranges that are blocked, of both families; what touches or overlaps is one.
    pub fn ranges(&self) -> usize {
        self.v4.len() + self.v6.len()
    }

    /// Bytes that the ranges take.
    pub fn memory(&self) -> usize {
        size_of_val(&*self.v4) + size_of_val(&*self.v6)
    }
}

/// The number of ranges: nobody reads the rest.
impl fmt::Debug for IpFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IpFilter({} ranges)", self.ranges())
    }
}

fn holds<T: Ord>(ranges: &[Ends<T>], at: T) -> bool {
    let begun = ranges.partition_point(|(first, _)| *first <= at);
    ranges[..begun].last().is_some_and(|(_, last)| at <= *last)
}

/// Addresses of one family that follow one another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddrRange {
    /// Of IPv4.
    V4(u32, u32),
    /// Of IPv6.
    V6(u128, u128),
}

impl AddrRange {
    /// From `first` to `last`, both included; `None` if that is backwards, or they are of two families. A
    /// range of IPv6 that holds IPv4 as IPv6 writes it, and more, is of IPv6 alone.
    pub fn new(first: IpAddr, last: IpAddr) -> Option<Self> {
        match (first.to_canonical(), last.to_canonical(), first, last) {
            (IpAddr::V4(first), IpAddr::V4(last), ..) => {
                (first <= last).then(|| AddrRange::V4(first.to_bits(), last.to_bits()))
            }
            (.., IpAddr::V6(first), IpAddr::V6(last)) => {
                (first <= last).then(|| AddrRange::V6(first.to_bits(), last.to_bits()))
            }
            _ => None,
        }
    }

    /// The addresses that begin with the same `prefix` bits as `ip`; `None` if it has not so many.
    pub fn subnet(ip: IpAddr, prefix: u32) -> Option<Self> {
        match ip {
            IpAddr::V4(ip) => {
                let host = u32::MAX.checked_shr(prefix).unwrap_or(0);
                let ends = (ip.to_bits() & !host, ip.to_bits() | host);
                (prefix <= u32::BITS).then_some(AddrRange::V4(ends.0, ends.1))
            }
            IpAddr::V6(ip) if prefix <= u128::BITS => {
                let host = u128::MAX.checked_shr(prefix).unwrap_or(0);
                let ends = [ip.to_bits() & !host, ip.to_bits() | host].map(Ipv6Addr::from_bits);
                Self::new(ends[0].into(), ends[1].into())
            }
            IpAddr::V6(_) => None,
        }
    }
}

/// There are more ranges than [`MAX_BLOCKED_RANGES`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("there are more than {MAX_BLOCKED_RANGES} ranges")]
pub struct TooManyRanges;

/// Gathers ranges, in any order, also those that overlap.
#[derive(Debug, Default)]
pub struct Builder {
    v4: Vec<Ends<u32>>,
    v6: Vec<Ends<u128>>,
}

impl Builder {
    /// Blocks a range.
    ///
    /// # Errors
    /// There are too many.
    pub fn block(&mut self, range: AddrRange) -> Result<(), TooManyRanges> {
        if self.v4.len() + self.v6.len() >= MAX_BLOCKED_RANGES {
            return Err(TooManyRanges);
        }
        match range {
            AddrRange::V4(first, last) => self.v4.push((first, last)),
            AddrRange::V6(first, last) => self.v6.push((first, last)),
        }
        Ok(())
    }

    /// What blocks all of them.
    pub fn build(self) -> IpFilter {
        let Builder { v4, v6 } = self;
        IpFilter {
            v4: merge(v4, |last| last.checked_add(1)),
            v6: merge(v6, |last| last.checked_add(1)),
        }
    }
}

fn merge<T: Copy + Ord>(
    mut ranges: Vec<Ends<T>>,
    behind: impl Fn(T) -> Option<T>,
) -> Box<[Ends<T>]> {
    ranges.sort_unstable();
    ranges.dedup_by(|range, before| {
        let touches = behind(before.1).is_none_or(|next| range.0 <= next);
        if touches {
            before.1 = before.1.max(range.1);
        }
        touches
    });
    ranges.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("valid")
    }

    fn filter(ranges: &[AddrRange]) -> IpFilter {
        let mut builder = Builder::default();
        ranges.iter().for_each(|&range| builder.block(range).expect("few"));
        builder.build()
    }

    #[test]
    fn nothing_is_blocked_but_what_is_named() {
        for addr in ["127.0.0.1", "::1", "0.0.0.0", "255.255.255.255", "::", "192.168.0.1"] {
            assert!(!IpFilter::default().blocks(ip(addr)), "{addr}");
        }
        let range = AddrRange::new(ip("10.0.0.5"), ip("10.0.0.7")).expect("a range");
        let blocked = (0..=255).filter(|&n| filter(&[range]).blocks([10, 0, 0, n].into()));
        assert_eq!(blocked.collect::<Vec<u8>>(), [5, 6, 7]);
    }

    #[test]
    fn what_touches_is_one_range() {
        let range = |first, last| AddrRange::V4(first, last);
        let all = filter(&[
            range(7, 9),
            range(0, 3),
            range(2, 2),
            range(4, 5),
            range(u32::MAX, u32::MAX),
        ]);
        assert_eq!(*all.v4, [(0, 5), (7, 9), (u32::MAX, u32::MAX)]);
        let whole = filter(&[range(5, u32::MAX), range(9, 10), range(0, 4)]);
        assert_eq!(*whole.v4, [(0, u32::MAX)]);
        assert_eq!((all.ranges(), all.memory()), (3, 24));
    }

    #[test]
    fn ipv4_is_ipv4_however_it_is_written() {
        let mapped = filter(&[AddrRange::subnet(ip("::ffff:10.0.0.0"), 104).expect("a net")]);
        for addr in ["10.255.0.1", "::ffff:10.255.0.1"] {
            assert!(mapped.blocks(ip(addr)) && !mapped.blocks(ip("11.0.0.0")), "{addr}");
        }
        let v6 = filter(&[AddrRange::subnet(ip("::"), 0).expect("a net")]);
        assert!(v6.blocks(ip("2001:db8::1")) && v6.blocks(ip("::")));
        assert!(!v6.blocks(ip("10.0.0.1")) && !v6.blocks(ip("::ffff:10.0.0.1")));
    }

    #[test]
    fn nets_and_ends_have_to_fit() {
        let net = |text, prefix| AddrRange::subnet(ip(text), prefix);
        assert_eq!(net("10.1.2.3", 8), Some(AddrRange::V4(10 << 24, (11 << 24) - 1)));
        assert_eq!(net("10.1.2.3", 32), AddrRange::new(ip("10.1.2.3"), ip("10.1.2.3")));
        assert_eq!(net("0.0.0.0", 0), Some(AddrRange::V4(0, u32::MAX)));
        assert_eq!(net("2001:db8::", 127), AddrRange::new(ip("2001:db8::"), ip("2001:db8::1")));
        assert_eq!((net("10.0.0.0", 33), net("::", 129)), (None, None));
        assert_eq!(AddrRange::new(ip("10.0.0.2"), ip("10.0.0.1")), None);
        assert_eq!(AddrRange::new(ip("10.0.0.2"), ip("2001:db8::")), None);
        assert_eq!(AddrRange::new(ip("2001:db8::"), ip("10.0.0.2")), None);
    }

    #[test]
    fn there_is_an_end() {
        let mut builder = Builder { v4: vec![(0, 0); MAX_BLOCKED_RANGES - 1], v6: Vec::new() };
        assert_eq!(builder.block(AddrRange::V6(0, 0)), Ok(()));
        assert_eq!(builder.block(AddrRange::V4(0, 0)), Err(TooManyRanges));
    }

    /// Few bits, so that ranges meet; at both ends of the space and in the middle.
    fn near_ends() -> impl Strategy<Value = u32> {
        (0u32..3, 0u32..40).prop_map(|(where_, n)| match where_ {
            0 => n,
            1 => u32::MAX - n,
            _ => (1 << 31) + n,
        })
    }

    fn a_range() -> impl Strategy<Value = AddrRange> {
        (near_ends(), near_ends(), any::<bool>()).prop_map(|(a, b, v6)| {
            let (first, last) = (a.min(b), a.max(b));
            let wide = |n: u32| (u128::from(n) << 96) | u128::from(n);
            match v6 {
                false => AddrRange::V4(first, last),
                true => AddrRange::V6(wide(first), wide(last)),
            }
        })
    }

    proptest! {
        #[test]
        fn looking_up_is_looking_through_all(
            ranges in proptest::collection::vec(a_range(), 0..30),
            at in proptest::collection::vec(near_ends(), 1..20),
        ) {
            let filter = filter(&ranges);
            for at in at {
                let in_v4 = |r: &AddrRange| matches!(*r, AddrRange::V4(a, b) if a <= at && at <= b);
                let v4 = IpAddr::V4(at.into());
                prop_assert_eq!(filter.blocks(v4), ranges.iter().any(in_v4));
                let wide = (u128::from(at) << 96) | u128::from(at);
                for wide in [wide, wide.wrapping_add(1), wide.wrapping_sub(1)] {
                    let in_v6 = |r: &AddrRange| {
                        matches!(*r, AddrRange::V6(a, b) if a <= wide && wide <= b)
                    };
                    let v6 = Ipv6Addr::from_bits(wide);
                    prop_assume!(v6.to_ipv4_mapped().is_none());
                    prop_assert_eq!(filter.blocks(v6.into()), ranges.iter().any(in_v6));
                }
            }
        }
    }
}
