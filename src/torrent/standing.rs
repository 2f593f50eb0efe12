//! What is remembered of peers that have left, so that nobody is first in line again by coming again.

use std::collections::VecDeque;

use crate::{base::time::Instant, peer::Peer};

use super::candidates::IpOrAddr;

/// Peers remembered: more than come and go in the minutes for which it matters.
const MOST: usize = 256;

/// How a peer stood with the choker.
#[derive(Debug)]
struct Standing {
    of: IpOrAddr,
    unchoked_at: Option<Instant>,
    given: f64,
    passed_on: f64,
}

/// Peers that have left, the latest last; in a box, for most torrents have none.
#[derive(Debug, Default)]
#[expect(clippy::box_collection, reason = "an idle torrent holds one pointer, not a list of four")]
pub(super) struct Standings(Option<Box<VecDeque<Standing>>>);

impl Standings {
    /// A peer leaves.
    pub(super) fn left(&mut self, peer: &Peer) {
        if peer.unchoked_at.is_none() {
            return;
        }
        let all = self.0.get_or_insert_default();
        if all.len() >= MOST {
            all.pop_front();
        }
        let &Peer { addr, unchoked_at, given, passed_on, .. } = peer;
        all.push_back(Standing { of: IpOrAddr::of(addr), unchoked_at, given, passed_on });
    }

    /// A peer comes: it stands as who left from there did.
    pub(super) fn came(&mut self, peer: &mut Peer) {
        let Some(all) = &mut self.0 else { return };
        let of = IpOrAddr::of(peer.addr);
        let last = all.iter().rposition(|standing| standing.of == of);
        if let Some(standing) = last.and_then(|at| all.remove(at)) {
            peer.unchoked_at = standing.unchoked_at;
            (peer.given, peer.passed_on) = (standing.given, standing.passed_on);
        }
    }

    /// Bytes of memory.
    pub(super) fn held(&self) -> usize {
        self.0.as_ref().map_or(0, |all| all.len() * size_of::<Standing>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_comes_again_stands_as_it_did_and_nobody_else() {
        let peer = |n: u32| {
            let ip = std::net::Ipv4Addr::from_bits(0x0a00_0000 + n);
            Peer::new((ip, 1).into(), false, 1, Instant::ZERO)
        };
        let mut standings = Standings::default();
        for n in 0..=MOST as u32 {
            let mut leaving = peer(n);
            (leaving.unchoked_at, leaving.given) = (Some(Instant::ZERO), f64::from(n));
            standings.left(&leaving);
        }
        let mut given = |n: u32| {
            let mut newcomer = peer(n);
            standings.came(&mut newcomer);
            (newcomer.unchoked_at.is_some(), newcomer.given)
        };
        assert_eq!(given(7), (true, 7.0));
        assert_eq!(given(7), (false, 0.0), "another of the same address");
        assert_eq!(given(0), (false, 0.0), "too many have left since");
        assert_eq!(given(MOST as u32), (true, MOST as f64));
    }
}
