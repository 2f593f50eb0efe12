//! What is remembered of peers that have left, so that nobody is first in line again by coming again.

use std::collections::VecDeque;

use crate::peer::{Peer, Standing};

use super::ip_or_addr::IpOrAddr;

/// Peers remembered: more than come and go in the minutes for which it matters.
const MOST: usize = 256;

/// Peers that have left, the latest last; in a box, for most torrents have none.
#[derive(Debug, Default)]
#[expect(clippy::box_collection, reason = "an idle torrent holds one pointer, not a list of four")]
pub(super) struct Standings(Option<Box<VecDeque<(IpOrAddr, Standing)>>>);

impl Standings {
    /// A peer leaves.
    pub(super) fn left(&mut self, peer: &Peer) {
        let mut standing = peer.standing;
        if standing.unchoked_at.is_none() {
            return;
        }
        standing.down_before += peer.down.total();
        standing.up_before += peer.up.total();
        let all = self.0.get_or_insert_default();
        if all.len() >= MOST {
            all.pop_front();
        }
        all.push_back((IpOrAddr::of_network(peer.addr), standing));
    }

    /// A peer comes: it stands as who left from there did.
    pub(super) fn came(&mut self, peer: &mut Peer) {
        let Some(all) = &mut self.0 else { return };
        let comes = IpOrAddr::of_network(peer.addr);
        let last = all.iter().rposition(|(of, _)| *of == comes);
        if let Some((_, standing)) = last.and_then(|at| all.remove(at)) {
            peer.standing = standing;
        }
    }

    /// Bytes of memory.
    pub(super) fn held(&self) -> usize {
        self.0.as_ref().map_or(0, |all| all.len() * size_of::<(IpOrAddr, Standing)>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::time::Instant;

    #[test]
    fn who_comes_again_stands_as_it_did_and_nobody_else() {
        let peer = |n: u32| {
            let ip = std::net::Ipv4Addr::from_bits(0x0a00_0000 + n);
            Peer::new((ip, 1).into(), false, 1, Instant::ZERO)
        };
        let mut standings = Standings::default();
        for n in 0..=MOST as u32 {
            let mut leaving = peer(n);
            leaving.standing.unchoked_at = Some(Instant::ZERO);
            leaving.standing.given = f64::from(n);
            for _ in 0..2 {
                leaving.up.add(Instant::ZERO, u64::from(n));
            }
            standings.left(&leaving);
        }
        let mut given = |n: u32| {
            let mut newcomer = peer(n);
            standings.came(&mut newcomer);
            let Standing { unchoked_at, given, up_before, .. } = newcomer.standing;
            (unchoked_at.is_some(), given, up_before)
        };
        assert_eq!(given(7), (true, 7.0, 14));
        assert_eq!(given(7), (false, 0.0, 0), "another of the same address");
        assert_eq!(given(0), (false, 0.0, 0), "too many have left since");
        assert_eq!(given(MOST as u32), (true, MOST as f64, 2 * MOST as u64));
    }
}
