//! Canonical peer priority: a number that both ends of a connection compute alike and neither can choose
//! (BEP 40). Who has many addresses to dial, or too many peers, prefers the greater number, so that
//! everybody's peers are a fair draw and newcomers get in.
//!
//! Also what we take for our own address, of which the number is made. Who is dialled and who admitted
//! is in `candidates` and `connections`.

use std::net::{IpAddr, SocketAddr};

/// Addresses remembered that somebody took for ours.
const MAX_CLAIMS: usize = 16;
/// Weight of claims by which an address counts as ours: two peers, or one tracker or gateway.
const ENOUGH: u32 = 2;
/// Weight that one address can have: after a change of ours as much is soon outweighed.
const MOST: u32 = 16;

/// Who says what our address is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claimant {
    /// A peer (BEP 10, `yourip`).
    Peer,
    /// A tracker (BEP 24).
    Tracker,
    /// The gateway that lets peers in.
    Gateway,
}

/// Our address in each family, as others see it. Anyone may lie: what most say counts, and nothing but
/// an order of preference hangs on it.
#[derive(Debug, Default)]
pub(super) struct OwnAddress {
    claims: Vec<(IpAddr, u32)>,
}

impl OwnAddress {
    /// Takes a claim into account. True if that changes our address.
    pub(super) fn hear(&mut self, ip: IpAddr, by: Claimant) -> bool {
        let before = self.in_family_of(ip);
        let weight = match by {
            Claimant::Peer => 1,
            Claimant::Tracker | Claimant::Gateway => ENOUGH,
        };
        match self.claims.iter_mut().find(|(claimed, _)| *claimed == ip) {
            Some((_, weights)) => *weights = (*weights + weight).min(MOST),
            None => {
                if self.claims.len() >= MAX_CLAIMS
                    && let Some(least) = (0..MAX_CLAIMS).min_by_key(|&i| self.claims[i].1)
                {
                    self.claims.swap_remove(least);
                }
                self.claims.push((ip, weight));
            }
        }
        self.in_family_of(ip) != before
    }

    /// Ours in the family of `ip`, once it is known.
    pub(super) fn in_family_of(&self, ip: IpAddr) -> Option<IpAddr> {
        let family = self.claims.iter().filter(|(claimed, _)| claimed.is_ipv4() == ip.is_ipv4());
        let (own, weight) = family.max_by_key(|(_, weight)| *weight)?;
        (*weight >= ENOUGH).then_some(*own)
    }
}

/// The priority of the connection between `a` and `b`, two addresses of one family.
pub(super) fn priority(a: SocketAddr, b: SocketAddr) -> u32 {
    let (low, high) = match (a.ip(), b.ip()) {
        (a_ip, b_ip) if a_ip == b_ip => {
            (a.port().to_be_bytes().to_vec(), b.port().to_be_bytes().to_vec())
        }
        (IpAddr::V4(a), IpAddr::V4(b)) => masked(&a.octets(), &b.octets(), 2),
        (IpAddr::V6(a), IpAddr::V6(b)) => masked(&a.octets(), &b.octets(), 6),
        // Never connected to each other.
        _ => return 0,
    };
    let ordered = if low <= high { [low, high] } else { [high, low] };
    crc32c(&ordered.concat())
}

/// Both addresses, of each byte behind the first `network` only half of the bits; one byte more is whole
/// for each that they have in common there.
fn masked(a: &[u8], b: &[u8], network: usize) -> (Vec<u8>, Vec<u8>) {
    let common = a.iter().zip(b).take_while(|(a, b)| a == b).count();
    let whole = if common < network { network } else { common + 1 };
    let mask = |ip: &[u8]| {
        let byte = |(i, &byte): (usize, &u8)| if i < whole { byte } else { byte & 0x55 };
        ip.iter().enumerate().map(byte).collect()
    };
    (mask(a), mask(b))
}

/// CRC-32C (Castagnoli), bit by bit: 36 bytes at most.
fn crc32c(bytes: &[u8]) -> u32 {
    let mut crc = !0u32;
    for &byte in bytes {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ if crc & 1 == 1 { 0x82f6_3b78 } else { 0 };
        }
    }
    !crc
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(text: &str) -> SocketAddr {
        text.parse().expect("valid")
    }

    #[test]
    fn the_examples_of_the_bep() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283, "the check value of CRC-32C");
        for (a, b, wanted) in [
            ("123.213.32.10:1", "98.76.54.32:2", 0xec2d_7224),
            ("123.213.32.10:1", "123.213.32.234:2", 0x9956_8189),
        ] {
            assert_eq!(priority(addr(a), addr(b)), wanted);
            assert_eq!(priority(addr(b), addr(a)), wanted);
        }
    }

    #[test]
    fn what_a_peer_can_choose_does_not_count() {
        let own = addr("123.213.32.10:1");
        let far = |peer: &str| priority(own, addr(peer));
        // Another port, or another of the addresses that a mask makes one.
        assert_eq!(far("98.76.54.32:2"), far("98.76.54.32:9"));
        assert_eq!(far("98.76.54.32:2"), far("98.76.54.160:2"));
        assert_ne!(far("98.76.54.32:2"), far("98.77.54.32:2"));
        // In our own network the next byte counts in full.
        assert_ne!(far("123.213.1.32:2"), far("123.213.129.32:2"));
        // On our own host there are only ports.
        assert_ne!(far("123.213.32.10:2"), far("123.213.32.10:3"));
        let v6 = |peer: &str| priority(addr("[2001:db8:1:ff00::1]:1"), addr(peer));
        assert_eq!(v6("[2001:db8:2:ff00::1]:1"), v6("[2001:db8:2:5500::1]:1"));
        assert_ne!(v6("[2001:db8:1:5500::1]:1"), v6("[2001:db8:1:d500::1]:1"));
    }

    #[test]
    fn our_address_is_what_most_say() {
        let mut own = OwnAddress::default();
        let ip = |n: u8| IpAddr::from([192, 0, 2, n]);
        let v6 = "2001:db8::1".parse().expect("valid");
        assert!(!own.hear(ip(1), Claimant::Peer), "one peer may lie");
        assert!(own.hear(ip(2), Claimant::Tracker));
        assert_eq!((own.in_family_of(ip(9)), own.in_family_of(v6)), (Some(ip(2)), None));
        own.hear(ip(1), Claimant::Peer);
        assert!(own.hear(ip(1), Claimant::Peer), "three peers outweigh a tracker");
        assert_eq!(own.in_family_of(ip(9)), Some(ip(1)));
        (3..100).for_each(|n| assert!(!own.hear(ip(n), Claimant::Peer)));
        assert_eq!((own.claims.len(), own.in_family_of(ip(9))), (MAX_CLAIMS, Some(ip(1))));
    }
}
