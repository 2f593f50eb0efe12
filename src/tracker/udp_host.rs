//! A tracker's side of UDP: who may ask, and what is answered (BEP 15).
//!
//! Pure. Bytes are in [`super::udp`], peers in [`super::swarms`], the socket is in
//! `net/tracker_server.rs`. A connection id is made of a secret, the address and the time, so that
//! nothing is remembered of who asks for one, and nobody can announce from an address that is not his.

use std::{net::IpAddr, time::Duration};

use crate::base::{hash::sha1, time::Instant};

/// Ids change so often.
const EPOCH: Duration = Duration::from_secs(60);
/// An id is taken for so many epochs after its own: two minutes at least, as BEP 15 has it.
const EPOCHS_TAKEN: u64 = 2;

/// Makes and knows connection ids.
#[derive(Debug)]
pub struct ConnectionIds {
    secret: [u8; 16],
}

impl ConnectionIds {
    /// Ids that nobody can guess who does not know `secret`.
    pub const fn new(secret: [u8; 16]) -> Self {
        ConnectionIds { secret }
    }

    /// The id for a client at `ip`.
    pub fn issue(&self, now: Instant, ip: IpAddr) -> u64 {
        self.id(epoch(now), ip)
    }

    /// Whether `id` was given to a client at `ip` not long ago.
    pub fn is_valid(&self, now: Instant, ip: IpAddr, id: u64) -> bool {
        let now = epoch(now);
        (now.saturating_sub(EPOCHS_TAKEN)..=now).any(|epoch| self.id(epoch, ip) == id)
    }

    fn id(&self, epoch: u64, ip: IpAddr) -> u64 {
        let ip = match ip {
            IpAddr::V4(ip) => ip.to_ipv6_mapped(),
            IpAddr::V6(ip) => ip,
        };
        let bytes = [&self.secret[..], &epoch.to_be_bytes(), &ip.octets()].concat();
        let digest = sha1(&bytes).0;
        let id = digest.first_chunk().expect("a digest has 20 bytes");
        u64::from_be_bytes(*id)
    }
}

fn epoch(now: Instant) -> u64 {
    now.since(Instant::ZERO).as_secs() / EPOCH.as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_good_for_two_minutes_and_for_one_address() {
        let ids = ConnectionIds::new([1; 16]);
        let at = |secs| Instant::ZERO + Duration::from_secs(secs);
        let ip: IpAddr = [192, 0, 2, 1].into();
        let id = ids.issue(at(59), ip);
        for (secs, valid) in [(59, true), (179, true), (180, false), (10_000, false)] {
            assert_eq!(ids.is_valid(at(secs), ip, id), valid, "{secs}");
        }
        assert!(!ids.is_valid(at(59), [192, 0, 2, 2].into(), id));
        assert!(!ConnectionIds::new([2; 16]).is_valid(at(59), ip, id));
    }
}
