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
    /// Pieces that failed before it was banned.
    bad: BTreeMap<(HostId, HostId), u32>,
}

impl Poison {
    pub(super) const fn new(content: Content) -> Self {
        Poison { content, sent: BTreeSet::new(), bad: BTreeMap::new() }
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
        let bad = &mut self.bad;
        self.sent.retain(|&(to, from, of)| {
            let is_it = to == host && of == piece;
            if is_it && !good {
                *bad.entry((to, from)).or_default() += 1;
            }
            !is_it
        });
    }

    /// Pieces that failed at `host` for what `from` had sent.
    pub(super) fn bad(&self, host: HostId, from: HostId) -> u32 {
        self.bad.get(&(host, from)).copied().unwrap_or(0)
    }

    /// `host` bans `whom`: what that has sent is taken back.
    pub(super) fn banned(&mut self, host: HostId, whom: HostId) {
        self.sent.retain(|&(to, from, _)| (to, from) != (host, whom));
    }

    /// The most of all.
    pub(super) fn most_bad(&self) -> u32 {
        self.bad.values().copied().max().unwrap_or(0)
    }
}
