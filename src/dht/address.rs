//! Our own address, as the nodes that answer us see it (BEP 42, *Bootstrapping*).
//!
//! One node may lie, and several nodes of one host are one. An address counts once several networks agree
//! on it and no other has as many votes.

use std::{collections::VecDeque, net::IpAddr};

use crate::base::compact::{is_local, network};

/// Votes that are remembered.
const VOTES: usize = 24;
/// Votes an address needs.
const QUORUM: usize = 4;

/// Counts votes for our address, of one family.
#[derive(Debug, Default)]
pub(super) struct OwnAddress {
    votes: VecDeque<(IpAddr, IpAddr)>,
    current: Option<IpAddr>,
}

impl OwnAddress {
    /// The node at `voter` sees us at `ip`. Gives our address if that changes it.
    pub(super) fn vote(&mut self, voter: IpAddr, ip: IpAddr) -> Option<IpAddr> {
        // On a local network we are seen at a local address; that ties no id.
        if is_local(voter) || is_local(ip) || ip.is_unspecified() || ip.is_ipv4() != voter.is_ipv4()
        {
            return None;
        }
        let voter = network(voter);
        self.votes.retain(|&(other, _)| other != voter);
        if self.votes.len() >= VOTES {
            self.votes.pop_front();
        }
        self.votes.push_back((voter, ip));
        let count = |ip: IpAddr| self.votes.iter().filter(|vote| vote.1 == ip).count();
        let wins = self.current.is_none_or(|current| count(ip) > count(current));
        if self.current == Some(ip) || count(ip) < QUORUM || !wins {
            return None;
        }
        self.current = Some(ip);
        self.current
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("valid")
    }

    #[test]
    fn it_takes_several_networks_to_name_an_address() {
        let mut own = OwnAddress::default();
        let (us, lie) = (ip("203.0.113.1"), ip("198.51.100.1"));
        assert!((0..50).all(|_| own.vote(ip("9.9.9.9"), us).is_none()), "one voter");
        assert_eq!(own.vote(ip("9.9.9.8"), us), None);
        assert_eq!(own.vote(ip("9.9.9.7"), us), None);
        assert_eq!(own.vote(ip("9.9.9.6"), us), Some(us));
        assert_eq!(own.vote(ip("9.9.9.5"), us), None, "nothing new");
        for n in 1..=5 {
            assert_eq!(own.vote(IpAddr::from([8, 8, 8, n]), lie), None, "not more than the truth");
        }
        assert_eq!(own.vote(ip("8.8.8.6"), lie), Some(lie));
    }

    #[test]
    fn votes_are_bounded() {
        let mut own = OwnAddress::default();
        for n in 1..=200 {
            own.vote(IpAddr::from([9, 9, 9, n]), IpAddr::from([8, 8, 8, n]));
        }
        assert_eq!((own.votes.len(), own.current), (VOTES, None));
    }

    #[test]
    fn local_networks_have_no_say() {
        let mut own = OwnAddress::default();
        for n in 1..=20 {
            assert_eq!(own.vote(IpAddr::from([127, 0, 0, n]), ip("203.0.113.1")), None);
            assert_eq!(own.vote(IpAddr::from([9, 9, 9, n]), ip("192.168.0.2")), None);
            assert_eq!(own.vote(IpAddr::from([9, 9, 9, n]), ip("2001:db8::1")), None);
        }
    }
}
