//! Who sent whom wrong blocks, and how many pieces failed for that: what blame should find out, known from
//! outside.

use std::collections::{BTreeMap, BTreeSet};

use crate::base::index::PieceIndex;

use super::{HostId, disk::Content, link::Unit};

/// The wrong blocks of one world.
#[derive(Debug)]
pub(super) struct Poison {
    content: Content,
    /// To whom, by whom, in which piece that has not been checked since.
    sent: BTreeSet<(HostId, HostId, PieceIndex)>,
    /// Who was banned by whom.
    banned: BTreeSet<(HostId, HostId)>,
    /// Pieces that failed before that, and after.
    bad: BTreeMap<(HostId, HostId), u32>,
    late: BTreeMap<(HostId, HostId), u32>,
}

impl Poison {
    pub(super) const fn new(content: Content) -> Self {
        Poison {
            content,
            sent: BTreeSet::new(),
            banned: BTreeSet::new(),
            bad: BTreeMap::new(),
            late: BTreeMap::new(),
        }
    }

    /// Something of `from` has come to `to`.
    pub(super) fn came(&mut self, to: HostId, from: HostId, unit: &Unit) {
        if let Unit::Block { header, tag, .. } = unit {
            let [piece, begin] = [5, 9].map(|at| {
                u32::from_be_bytes(header[at..at + 4].try_into().expect("a header is longer"))
            });
            if *tag != self.content.tag(piece, begin) {
                self.sent.insert((to, from, PieceIndex(piece)));
            }
        }
    }

    /// `host` has checked a piece.
    pub(super) fn checked(&mut self, host: HostId, piece: PieceIndex, good: bool) {
        let Poison { banned, bad, late, .. } = self;
        self.sent.retain(|&(to, from, of)| {
            let is_it = to == host && of == piece;
            if is_it && !good {
                let count = if banned.contains(&(to, from)) { &mut *late } else { &mut *bad };
                *count.entry((to, from)).or_default() += 1;
            }
            !is_it
        });
    }

    /// Pieces that failed at `host` for what `from` had sent.
    pub(super) fn bad(&self, host: HostId, from: HostId) -> u32 {
        self.bad.get(&(host, from)).copied().unwrap_or(0)
    }

    /// `host` bans `whom`.
    pub(super) fn banned(&mut self, host: HostId, whom: HostId) {
        self.banned.insert((host, whom));
    }

    /// The most at one host for one other, before that was banned and after.
    pub(super) fn most_bad(&self) -> (u32, u32) {
        let most = |of: &BTreeMap<_, u32>| of.values().copied().max().unwrap_or(0);
        (most(&self.bad), most(&self.late))
    }
}
