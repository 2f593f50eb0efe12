//! Who sent the bad block of a piece that failed its hash.
//!
//! One sender of the whole piece is guilty at once. Otherwise the digests of all blocks are kept, the
//! piece is fetched again from one peer alone, and when a good copy is there, whoever sent a block
//! that differs from it is guilty. Until then all who sent a part of it are on parole: each sends whole
//! pieces, alone, so that the next bad one has one sender; and what they have sent to pieces of several is
//! not believed, for a while: such a piece is checked when it is known whose blocks have to be fetched again.
//! Bounded: the oldest suspect pieces are forgotten.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    time::Duration,
};

use crate::base::{id::PeerKey, index::PieceIndex, time::Instant};

/// Suspect pieces remembered.
const MAX_SUSPECTS: usize = 64;
/// Failed copies of one piece remembered.
const MAX_COPIES: usize = 8;
/// How often a piece that failed and is complete may be of several before it is checked all the same.
const MAX_TAKEN_BACK: u32 = 3;
/// Nothing waits for a verdict longer than so after a piece of several failed: who has it may be gone.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Debug, Default)]
struct Suspect {
    /// Senders and digests of each failed copy, block by block.
    copies: Vec<Vec<(Option<SocketAddr>, u64)>>,
    /// Who fetches it alone now.
    owner: Option<PeerKey>,
    /// When it failed last.
    at: Instant,
    /// How often what others than its owner had sent was taken back since.
    taken_back: u32,
}

/// Whether those who have sent a piece are believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Doubt {
    None,
    /// The one who sent all of it is not: its hash will tell.
    Of(SocketAddr),
    /// One of several is not: if it is bad, it had better been known before whose blocks are.
    OfSome,
}

/// Pieces that failed and have no good copy yet.
#[derive(Debug, Default)]
pub(super) struct Blame {
    suspects: BTreeMap<PieceIndex, Suspect>,
    /// In a box, for most torrents have none.
    parole: Option<Box<Parole>>,
}

#[derive(Debug, Default)]
struct Parole {
    /// Who sent a part of any copy that is kept.
    whose: BTreeSet<SocketAddr>,
    /// Pieces that are sent by one of them alone.
    alone: BTreeMap<PieceIndex, (PeerKey, SocketAddr)>,
    /// Pieces that one of them has sent alone and the disk checks now.
    checked: BTreeMap<PieceIndex, SocketAddr>,
    /// When a piece of several failed last.
    since: Instant,
}

impl Blame {
    /// Bytes of memory.
    pub(super) fn held(&self) -> usize {
        let copies = self.suspects.values().flat_map(|suspect| &suspect.copies);
        copies.map(|copy| size_of_val(copy.as_slice())).sum()
    }

    /// Whether digests of a good copy of `piece` are wanted.
    pub(super) fn is_suspect(&self, piece: PieceIndex) -> bool {
        self.suspects.contains_key(&piece)
    }

    /// Whether `piece` is being fetched alone by a peer other than `peer`.
    pub(super) fn is_barred(&self, piece: PieceIndex, peer: PeerKey) -> bool {
        let owner = self.suspects.get(&piece).and_then(|suspect| suspect.owner);
        let alone = self.parole.as_ref().and_then(|parole| parole.alone.get(&piece));
        let owner = owner.or(alone.map(|&(owner, _)| owner));
        owner.is_some_and(|owner| owner != peer)
    }

    /// Whether the peer at `addr` may send whole pieces only.
    pub(super) fn is_on_parole(&self, addr: SocketAddr) -> bool {
        self.parole.as_ref().is_some_and(|parole| parole.whose.contains(&addr))
    }

    /// What is thought of a piece that `senders` have sent, each named once or more.
    pub(super) fn doubt(
        &self,
        now: Instant,
        mut senders: impl Iterator<Item = SocketAddr>,
    ) -> Doubt {
        let Some(parole) = &self.parole else { return Doubt::None };
        let Some(first) = senders.next() else { return Doubt::None };
        let (mut alone, mut doubted) = (true, parole.whose.contains(&first));
        for sender in senders {
            alone &= sender == first;
            doubted |= parole.whose.contains(&sender);
        }
        match (doubted && now.since(parole.since) < PATIENCE, alone) {
            (false, _) => Doubt::None,
            (true, false) => Doubt::OfSome,
            (true, true) => Doubt::Of(first),
        }
    }

    /// Suspect pieces that `peer` had better be asked for first: the one that it fetches alone, for each is of use when
    /// it is whole, or else those that nobody does. The sooner one is here, the sooner it is known who is guilty.
    pub(super) fn first(&self, peer: PeerKey) -> impl Iterator<Item = PieceIndex> + '_ {
        let has_one = self.owners().any(|owner| owner == peer);
        let whose = if has_one { Some(peer) } else { None };
        let first = self.suspects.iter().filter(move |(_, suspect)| suspect.owner == whose);
        first.map(|(&piece, _)| piece)
    }

    /// `peer` begins to fetch `piece`, alone if that is suspect; or if it is itself and nobody else has a part in
    /// it, so that it may be `alone`.
    pub(super) fn claim(&mut self, piece: PieceIndex, peer: PeerKey, alone: Option<SocketAddr>) {
        if let Some(suspect) = self.suspects.get_mut(&piece) {
            suspect.owner.get_or_insert(peer);
        } else if let (Some(parole), Some(addr)) = (&mut self.parole, alone)
            && parole.whose.contains(&addr)
        {
            parole.alone.entry(piece).or_insert((peer, addr));
        }
    }

    /// Who fetches `piece`, which is suspect, alone.
    pub(super) fn owner(&self, piece: PieceIndex) -> Option<PeerKey> {
        self.suspects.get(&piece).and_then(|suspect| suspect.owner)
    }

    /// Whether what others than its owner have sent of `piece`, which is suspect and complete, had better be asked for
    /// again. Where nobody stays for as long as a piece takes, that would go on for ever.
    pub(super) fn may_take_back(&mut self, piece: PieceIndex) -> bool {
        let Some(suspect) = self.suspects.get_mut(&piece) else { return false };
        suspect.taken_back += 1;
        suspect.taken_back <= MAX_TAKEN_BACK
    }

    /// Pieces that `peer` fetches and nobody else may.
    pub(super) fn claims(&self, peer: PeerKey) -> Vec<PieceIndex> {
        let owned = self.suspects.iter().filter(|(_, suspect)| suspect.owner == Some(peer));
        let alone = self.parole.iter().flat_map(|parole| &parole.alone);
        let alone = alone.filter(|(_, (owner, _))| *owner == peer).map(|(&piece, _)| piece);
        owned.map(|(&piece, _)| piece).chain(alone).collect()
    }

    /// Others may fetch `piece`, which `peer` had alone.
    pub(super) fn give_up(&mut self, piece: PieceIndex, peer: PeerKey) {
        if let Some(suspect) = self.suspects.get_mut(&piece) {
            suspect.owner = suspect.owner.filter(|&owner| owner != peer);
        }
        if let Some(parole) = &mut self.parole
            && parole.alone.get(&piece).is_some_and(|&(owner, _)| owner == peer)
        {
            parole.alone.remove(&piece);
        }
    }

    /// `piece` is complete: nobody sends it alone any more.
    pub(super) fn came(&mut self, piece: PieceIndex) {
        if let Some(parole) = &mut self.parole {
            parole.alone.remove(&piece);
            parole.checked.remove(&piece);
        }
    }

    /// The disk checks `piece`, which `addr` has sent alone.
    pub(super) fn begin_check(&mut self, piece: PieceIndex, addr: SocketAddr) {
        if let Some(parole) = &mut self.parole {
            parole.checked.insert(piece, addr);
        }
    }

    /// Whether the disk checks a piece that `addr` has sent alone.
    pub(super) fn is_being_checked(&self, addr: SocketAddr) -> bool {
        self.parole.as_ref().is_some_and(|parole| parole.checked.values().any(|&of| of == addr))
    }

    /// Whose word is doubted now: nobody's whom a good copy has cleared.
    fn review(&mut self) {
        let copies = self.suspects.values().flat_map(|suspect| &suspect.copies);
        let whose: BTreeSet<_> = copies.flatten().filter_map(|&(sender, _)| sender).collect();
        if whose.is_empty() {
            self.parole = None;
            return;
        }
        let parole = self.parole.get_or_insert_default();
        parole.alone.retain(|_, (_, addr)| whose.contains(addr));
        parole.whose = whose;
    }

    /// `peer` is gone or does not answer: others may fetch what it had alone.
    pub(super) fn forget(&mut self, peer: PeerKey) {
        for suspect in self.suspects.values_mut() {
            suspect.owner = suspect.owner.filter(|&o| o != peer);
        }
        if let Some(parole) = &mut self.parole {
            parole.alone.retain(|_, (owner, _)| *owner != peer);
        }
    }

    /// Who fetches a suspect piece alone.
    pub(super) fn owners(&self) -> impl Iterator<Item = PeerKey> + '_ {
        self.suspects.values().filter_map(|suspect| suspect.owner)
    }

    /// A copy of `piece` is bad. Gives the guilty, if that is certain already. Blocks without a sender
    /// were on disk from an earlier run.
    pub(super) fn failed(
        &mut self,
        now: Instant,
        piece: PieceIndex,
        senders: &[Option<SocketAddr>],
        digests: &[u64],
    ) -> Option<SocketAddr> {
        self.came(piece);
        let copy: Vec<_> = senders.iter().copied().zip(digests.iter().copied()).collect();
        let first = *senders.first()?;
        let alone = first.is_some() && senders.iter().all(|&s| s == first);
        if !self.suspects.contains_key(&piece) {
            if self.suspects.len() >= MAX_SUSPECTS {
                let oldest = self.suspects.iter().min_by_key(|(_, suspect)| suspect.at);
                let oldest = oldest.map(|(&piece, _)| piece);
                oldest.and_then(|piece| self.suspects.remove(&piece));
            }
            self.suspects.insert(piece, Suspect::default());
        }
        let suspect = self.suspects.get_mut(&piece)?;
        (suspect.owner, suspect.at, suspect.taken_back) = (None, now, 0);
        if !alone && suspect.copies.len() < MAX_COPIES {
            suspect.copies.push(copy);
        }
        self.review();
        if !alone && let Some(parole) = &mut self.parole {
            parole.since = now;
        }
        if alone { first } else { None }
    }

    /// A copy of `piece` is good; `digests` are its blocks. Gives everyone who sent another block.
    pub(super) fn good(&mut self, piece: PieceIndex, digests: &[u64]) -> Vec<SocketAddr> {
        self.came(piece);
        let Some(suspect) = self.suspects.remove(&piece) else { return Vec::new() };
        self.review();
        let mut guilty: Vec<SocketAddr> = suspect
            .copies
            .iter()
            .flat_map(|copy| copy.iter().zip(digests))
            .filter(|((_, bad), good)| bad != *good)
            .filter_map(|((sender, _), _)| *sender)
            .collect();
        guilty.sort_unstable();
        guilty.dedup();
        guilty
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(n: u8) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, n], 1))
    }

    #[test]
    fn one_sender_is_guilty_at_once() {
        let mut b = Blame::default();
        assert_eq!(
            b.failed(Instant::ZERO, PieceIndex(0), &[Some(addr(1)), Some(addr(1))], &[1, 2]),
            Some(addr(1))
        );
        assert!(b.good(PieceIndex(0), &[9, 9]).is_empty());
    }

    #[test]
    fn only_the_sender_of_the_differing_block_is_guilty() {
        let mut b = Blame::default();
        let piece = PieceIndex(3);
        assert_eq!(
            b.failed(Instant::ZERO, piece, &[1, 2, 1].map(|n| Some(addr(n))), &[10, 66, 30]),
            None
        );
        let (owner, other) =
            (PeerKey { slot: 0, generation: 0 }, PeerKey { slot: 1, generation: 0 });
        b.claim(piece, owner, None);
        assert!(b.is_barred(piece, other) && !b.is_barred(piece, owner));
        assert_eq!(b.good(piece, &[10, 20, 30]), [addr(2)]);
        assert!(!b.is_suspect(piece) && !b.is_barred(piece, other));
    }

    #[test]
    fn suspects_are_bounded_and_so_are_their_copies() {
        let mut b = Blame::default();
        let senders = [1, 2].map(|n| Some(addr(n)));
        for n in (0..1_000).rev() {
            let at = Instant::ZERO + Duration::from_millis((1_000 - n).into());
            b.failed(at, PieceIndex(n), &senders, &[1, 2]);
        }
        assert_eq!(b.suspects.len(), MAX_SUSPECTS);
        let last = PieceIndex(0);
        for n in 0..100 {
            b.failed(Instant::ZERO, last, &senders, &[n, 2]);
        }
        assert_eq!(b.suspects[&last].copies.len(), MAX_COPIES);
    }

    #[test]
    fn all_who_had_a_part_send_whole_pieces_until_one_is_found_out() {
        let mut b = Blame::default();
        let [bad, next] = [3, 4].map(PieceIndex);
        let key = |slot| PeerKey { slot, generation: 0 };
        assert_eq!(
            b.failed(Instant::ZERO, bad, &[1, 2, 1].map(|n| Some(addr(n))), &[10, 66, 30]),
            None
        );
        assert_eq!([1, 2, 3].map(|n| b.is_on_parole(addr(n))), [true, true, false]);
        b.claim(next, key(3), Some(addr(3)));
        assert!(!b.is_barred(next, key(1)), "who is not on parole shares");
        b.claim(next, key(2), None);
        assert!(!b.is_barred(next, key(1)), "it joins others");
        b.claim(next, key(2), Some(addr(2)));
        assert_eq!((b.claims(key(2)), b.claims(key(1))), (vec![next], vec![]));
        assert!(b.is_barred(next, key(1)) && !b.is_barred(next, key(2)));
        b.forget(key(2));
        assert!(!b.is_barred(next, key(1)), "it does not send");
        b.claim(next, key(1), Some(addr(1)));
        assert_eq!(b.good(bad, &[10, 20, 30]), [addr(2)]);
        assert!(!b.is_on_parole(addr(1)) && !b.is_barred(next, key(3)), "it is cleared");
    }

    #[test]
    fn what_several_sent_waits_for_the_verdict_but_not_for_ever() {
        let mut b = Blame::default();
        let bad = PieceIndex(3);
        let [key, other] = [0, 1].map(|slot| PeerKey { slot, generation: 0 });
        let sent = |b: &Blame, at, by: &[u8]| {
            b.doubt(Instant::ZERO + Duration::from_secs(at), by.iter().map(|&n| addr(n)))
        };
        assert_eq!(sent(&b, 0, &[1, 2]), Doubt::None);
        b.failed(Instant::ZERO, bad, &[1, 2, 1].map(|n| Some(addr(n))), &[10, 66, 30]);
        assert_eq!(b.first(key).collect::<Vec<_>>(), [bad]);
        assert_eq!(sent(&b, 9, &[1, 3]), Doubt::OfSome);
        assert_eq!(sent(&b, 9, &[3, 3, 2]), Doubt::OfSome);
        assert_eq!(sent(&b, 9, &[2, 2]), Doubt::Of(addr(2)));
        assert_eq!(sent(&b, 9, &[3, 4]), Doubt::None);
        assert_eq!(sent(&b, 9, &[]), Doubt::None, "an earlier run got it");
        assert_eq!(sent(&b, 10, &[1, 2]), Doubt::None);
        b.claim(bad, key, None);
        assert_eq!((b.first(key).count(), b.first(other).count(), b.owner(bad)), (1, 0, Some(key)));
        let taken_back = (0..9).filter(|_| b.may_take_back(bad)).count();
        assert_eq!(taken_back as u32, MAX_TAKEN_BACK);
        b.give_up(bad, key);
        assert_eq!((b.first(other).count(), b.owner(bad)), (1, None));
        b.good(bad, &[10, 20, 30]);
        assert!(b.parole.is_none());
    }

    #[test]
    fn nobody_is_blamed_for_what_an_earlier_run_left() {
        let mut b = Blame::default();
        let piece = PieceIndex(3);
        assert_eq!(b.failed(Instant::ZERO, piece, &[None, Some(addr(1))], &[66, 20]), None);
        assert_eq!(b.failed(Instant::ZERO, piece, &[None, None], &[66, 20]), None);
        assert!(b.is_suspect(piece));
        assert!(b.good(piece, &[10, 20]).is_empty());
    }
}
