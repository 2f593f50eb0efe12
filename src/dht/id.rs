//! Node ids: their metric (BEP 5) and what ties them to an address (BEP 42).

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr},
    str::FromStr,
};

use crate::base::{
    compact::is_local,
    hash::{HashTextError, Sha1Hash},
    rng::Rng,
};

/// Bits of an id.
pub(super) const BITS: usize = 160;

/// The place of a node, or of what is looked for, among the ids.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub [u8; 20]);

/// How far two ids are apart: their exclusive or, as a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Distance([u8; 20]);

impl Distance {
    /// Farther than everything.
    pub(super) const FARTHEST: Distance = Distance([0xff; 20]);

    /// Leading bits that two ids so far apart have in common; all of them if they are the same.
    pub(super) fn common_bits(&self) -> usize {
        let zeros = self.0.iter().take_while(|&&byte| byte == 0).count();
        zeros * 8 + self.0.get(zeros).map_or(0, |byte| byte.leading_zeros() as usize)
    }
}

impl NodeId {
    /// Any id.
    pub fn random(rng: &mut Rng) -> Self {
        let mut id = [0; 20];
        rng.fill(&mut id);
        NodeId(id)
    }

    /// An id that a node at `ip` may have (BEP 42, *Node ID restriction*).
    pub fn for_address(ip: IpAddr, rng: &mut Rng) -> Self {
        let NodeId(mut id) = NodeId::random(rng);
        let prefix = prefix(ip, id[19]);
        (id[0], id[1]) = (prefix[0], prefix[1]);
        id[2] = prefix[2] & 0xf8 | id[2] & 0x07;
        NodeId(id)
    }

    /// Whether a node at `ip` may have this id. Every id will do for an address of a local network
    /// (BEP 42, *Enforcement*).
    pub fn fits(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        let prefix = prefix(ip, self.0[19]);
        self.0[..2] == prefix[..2] && (self.0[2] ^ prefix[2]) & 0xf8 == 0 || is_local(ip)
    }

    /// The distance to `other`.
    pub fn distance(&self, other: &NodeId) -> Distance {
        Distance(std::array::from_fn(|i| self.0[i] ^ other.0[i]))
    }

    /// A random id that has exactly the first `bits` bits in common with this one.
    pub(super) fn cousin(&self, bits: usize, rng: &mut Rng) -> NodeId {
        let NodeId(random) = NodeId::random(rng);
        let bit = |bytes: &[u8; 20], i: usize| bytes[i / 8] >> (7 - i % 8) & 1;
        let mut id = [0; 20];
        for i in 0..BITS {
            let value = match i.cmp(&bits) {
                std::cmp::Ordering::Less => bit(&self.0, i),
                std::cmp::Ordering::Equal => 1 - bit(&self.0, i),
                std::cmp::Ordering::Greater => bit(&random, i),
            };
            id[i / 8] |= value << (7 - i % 8);
        }
        NodeId(id)
    }
}

impl From<Sha1Hash> for NodeId {
    fn from(hash: Sha1Hash) -> Self {
        NodeId(hash.0)
    }
}

impl From<NodeId> for Sha1Hash {
    fn from(id: NodeId) -> Self {
        Sha1Hash(id.0)
    }
}

impl FromStr for NodeId {
    type Err = HashTextError;

    fn from_str(text: &str) -> Result<Self, HashTextError> {
        text.parse::<Sha1Hash>().map(NodeId::from)
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Sha1Hash(self.0).fmt(f)
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The first bits that the id of a node at `ip` has to have; 21 of them count.
fn prefix(ip: IpAddr, random: u8) -> [u8; 4] {
    const V4_MASK: [u8; 4] = [0x03, 0x0f, 0x3f, 0xff];
    const V6_MASK: [u8; 8] = [0x01, 0x03, 0x07, 0x0f, 0x1f, 0x3f, 0x7f, 0xff];
    let r = (random & 7) << 5;
    match ip {
        IpAddr::V4(ip) => {
            let mut masked = ip.octets();
            masked.iter_mut().zip(V4_MASK).for_each(|(byte, mask)| *byte &= mask);
            masked[0] |= r;
            crc32c(&masked)
        }
        IpAddr::V6(ip) => {
            let mut masked = high_half(ip);
            masked.iter_mut().zip(V6_MASK).for_each(|(byte, mask)| *byte &= mask);
            masked[0] |= r;
            crc32c(&masked)
        }
    }
    .to_be_bytes()
}

fn high_half(ip: Ipv6Addr) -> [u8; 8] {
    std::array::from_fn(|i| ip.octets()[i])
}

/// CRC-32C (Castagnoli) of some bytes.
fn crc32c(bytes: &[u8]) -> u32 {
    const REVERSED_POLYNOMIAL: u32 = 0x82F6_3B78;
    let step = |crc: u32, _| (crc >> 1) ^ (REVERSED_POLYNOMIAL & 0u32.wrapping_sub(crc & 1));
    !bytes.iter().fold(!0, |crc, &byte| (0..8).fold(crc ^ u32::from(byte), step))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("valid")
    }

    /// The test vectors of BEP 42.
    #[test]
    fn ids_fit_the_addresses_of_the_specification() {
        for (address, id) in [
            ("124.31.75.21", "5fbfbff10c5d6a4ec8a88e4c6ab4c28b95eee401"),
            ("21.75.31.124", "5a3ce9c14e7a08645677bbd1cfe7d8f956d53256"),
            ("65.23.51.170", "a5d43220bc8f112a3d426c84764f8c2a1150e616"),
            ("84.124.73.14", "1b0321dd1bb1fe518101ceef99462b947a01ff41"),
            ("43.213.53.83", "e56f6cbf5b7c4be0237986d5243b87aa6d51305a"),
        ] {
            let id: NodeId = id.parse().expect("an id");
            assert!(id.fits(ip(address)), "{address}");
            assert!(!id.fits(ip("9.9.9.9")), "{address}");
            assert!(id.fits(ip("192.168.1.9")) && id.fits(ip("::1")) && id.fits(ip("fe80::1")));
        }
    }

    #[test]
    fn an_id_made_for_an_address_fits_it() {
        let mut rng = Rng::new(5);
        for address in ["1.2.3.4", "203.0.113.200", "2001:db8::5", "2a00:1450::1"].map(ip) {
            let ids: Vec<NodeId> =
                (0..50).map(|_| NodeId::for_address(address, &mut rng)).collect();
            assert!(ids.iter().all(|id| id.fits(address)));
            let other = ip("198.51.100.7");
            assert!(ids.iter().filter(|id| id.fits(other)).count() < 2);
            assert!(ids.windows(2).all(|two| two[0] != two[1]));
        }
    }

    #[test]
    fn cousins_differ_where_they_should() {
        let mut rng = Rng::new(1);
        let id = NodeId::random(&mut rng);
        for bits in [0, 1, 7, 8, 100, 159] {
            assert_eq!(id.distance(&id.cousin(bits, &mut rng)).common_bits(), bits);
        }
        assert_eq!(id.distance(&id).common_bits(), BITS);
        assert!(id.distance(&id) < Distance::FARTHEST);
    }
}
