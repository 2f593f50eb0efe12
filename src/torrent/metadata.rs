//! The info dictionary: served to peers that have only its hash, and fetched from peers while that is
//! all we have ourselves (BEP 9, *extension message*). What it says is for others to read.
//!
//! Its parts have no hashes, only the whole has. So the peers that claim the same length fill one
//! draft together. Should the whole be wrong somebody lied, and nobody knows who: from then on each
//! peer fills a draft of its own, and whose draft is wrong is banned.

use std::{collections::BTreeSet, fmt, sync::Arc, time::Duration};

use crate::{
    base::{hash::sha1, id::PeerKey, limits, time::Instant},
    metainfo::ShareCode,
    wire::{
        self, Message, MetadataMessage,
        ut_metadata::{METADATA_PIECE_LEN, piece_count},
    },
};

use super::{Disconnect, Event, Phase, Torrent};

/// Parts asked of one peer at a time: what it sends while the next request is on its way.
const AT_ONCE: usize = 4;
/// A part that did not come by then is asked of others, however many were asked before. It may still come.
const PATIENCE: Duration = Duration::from_secs(3);
/// Peers that are asked for one part, beside those that are slow.
const ASKERS: usize = 2;
/// A peer that has it not, or not yet, or does not answer, is asked again no sooner.
const HOLD: Duration = Duration::from_secs(60);
/// A peer gets the whole as often as this, and a few parts more; then it is refused.
const TIMES_SERVED: u32 = 3;

/// The bytes of an info dictionary, wherever they are kept.
#[derive(Clone)]
pub struct InfoBytes(Arc<dyn AsRef<[u8]> + Send + Sync>);

impl InfoBytes {
    /// What `owner` holds.
    pub fn new<T: AsRef<[u8]> + Send + Sync + 'static>(owner: Arc<T>) -> Self {
        InfoBytes(owner)
    }

    fn get(&self) -> &[u8] {
        (*self.0).as_ref()
    }
}

impl fmt::Debug for InfoBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.get().len())
    }
}

/// What a torrent has of its info dictionary.
#[derive(Debug)]
pub(super) enum Metadata {
    /// All of it.
    Known(InfoBytes),
    /// What peers have sent so far. Everything else has to wait: it has no pieces yet.
    Wanted(Box<Gathering>),
}

impl Metadata {
    pub(super) fn new(known: Option<InfoBytes>) -> Self {
        known.map_or_else(|| Metadata::Wanted(Box::default()), Metadata::Known)
    }

    pub(super) const fn is_wanted(&self) -> bool {
        matches!(self, Metadata::Wanted(_))
    }

    /// Bytes of memory for what peers have sent.
    pub(super) fn held(&self) -> usize {
        match self {
            Metadata::Known(_) => 0,
            Metadata::Wanted(gathering) => gathering.drafts.iter().map(Draft::held).sum(),
        }
    }

    /// Its length, once it is known.
    pub(super) fn size(&self) -> Option<u32> {
        match self {
            Metadata::Known(bytes) => u32::try_from(bytes.get().len()).ok(),
            Metadata::Wanted(_) => None,
        }
    }
}

/// Where it comes from.
#[derive(Debug, Default)]
pub(super) struct Gathering {
    drafts: Vec<Draft>,
    /// Who let the last part it was asked for wait. Nobody waits for them.
    slow: BTreeSet<PeerKey>,
    /// A common draft was wrong.
    alone: bool,
    /// It is here.
    found: bool,
}

/// An info dictionary that is becoming complete.
#[derive(Debug)]
struct Draft {
    size: u32,
    /// Whose it is; `None` is everybody's who claims this length.
    of: Option<PeerKey>,
    parts: Vec<Option<Box<[u8]>>>,
    missing: u32,
    /// The parts before it are all here.
    first: u32,
    /// Who sent any of it.
    senders: Vec<PeerKey>,
    asked: Vec<Asked>,
    /// When a part came, or it was begun.
    touched: Instant,
}

#[derive(Debug, Clone, Copy)]
struct Asked {
    part: u32,
    peer: PeerKey,
    at: Instant,
}

/// What became of a part.
#[derive(Debug, PartialEq, Eq)]
enum Came {
    /// Nobody asked for it, or not any more.
    Unasked,
    Stored,
    /// The last one: the whole, and who sent it.
    Whole(Vec<u8>, Vec<PeerKey>),
}

impl Gathering {
    /// The parts to ask of a peer that claims `size` bytes.
    fn ask(&mut self, now: Instant, peer: PeerKey, size: u32) -> Vec<u32> {
        let of = self.alone.then_some(peer);
        self.claims_no_other(peer, size, of);
        let known = self.drafts.iter().position(|d| (d.size, d.of) == (size, of));
        let at = known.unwrap_or_else(|| {
            self.drafts.push(Draft::new(now, size, of));
            self.drafts.len() - 1
        });
        let draft = &mut self.drafts[at];
        let late = draft.asked.iter().filter(|asked| now.since(asked.at) >= PATIENCE);
        self.slow.extend(late.map(|asked| asked.peer));
        draft.ask(now, peer, &self.slow)
    }

    fn came(&mut self, now: Instant, peer: PeerKey, size: u32, part: u32, bytes: &[u8]) -> Came {
        let asked = |draft: &Draft| draft.size == size && draft.is_asked(peer, part);
        let Some(at) = self.drafts.iter().position(asked) else { return Came::Unasked };
        self.slow.remove(&peer);
        let draft = &mut self.drafts[at];
        draft.store(now, peer, part, bytes);
        if draft.missing == 0 {
            let draft = self.drafts.swap_remove(at);
            let parts: Vec<Box<[u8]>> = draft.parts.into_iter().flatten().collect();
            return Came::Whole(parts.concat(), draft.senders);
        }
        self.bound();
        Came::Stored
    }

    /// What a peer claimed before counts no more: it has one draft at a time, whatever it says.
    fn claims_no_other(&mut self, peer: PeerKey, size: u32, of: Option<PeerKey>) {
        self.drafts.retain_mut(|draft| {
            if (draft.size, draft.of) == (size, of) {
                return true;
            }
            draft.asked.retain(|asked| asked.peer != peer);
            let is_others = draft.senders.iter().any(|&sender| sender != peer);
            is_others || !draft.asked.is_empty()
        });
    }

    /// Whoever claims a length and sends nothing right can make us hold no more than one dictionary
    /// may have: the draft that got nothing for the longest time is given up.
    fn bound(&mut self) {
        while self.drafts.iter().map(Draft::held).sum::<usize>() > limits::MAX_TORRENT_BYTES {
            let filled = self.drafts.iter().enumerate().filter(|(_, d)| !d.senders.is_empty());
            let Some((at, _)) = filled.min_by_key(|(_, draft)| draft.touched) else { return };
            self.drafts.swap_remove(at);
        }
    }

    /// A peer will not send what it was asked for; `part` or all of it.
    fn will_not_come(&mut self, peer: PeerKey, part: Option<u32>) {
        for draft in &mut self.drafts {
            draft.asked.retain(|a| a.peer != peer || part.is_some_and(|part| a.part != part));
        }
    }

    pub(super) fn forget(&mut self, peer: PeerKey) {
        self.will_not_come(peer, None);
        self.slow.remove(&peer);
        self.drafts.retain(|draft| draft.of != Some(peer));
    }

    fn wrong(&mut self) {
        self.alone = true;
        self.drafts.retain(|draft| draft.of.is_some());
    }
}

impl Draft {
    fn new(now: Instant, size: u32, of: Option<PeerKey>) -> Self {
        let missing = piece_count(size);
        Draft {
            size,
            of,
            parts: Vec::new(),
            missing,
            first: 0,
            senders: Vec::new(),
            asked: Vec::new(),
            touched: now,
        }
    }

    /// Bytes of memory: the parts, the table of them, and the draft itself.
    fn held(&self) -> usize {
        let parts = self.parts.iter().flatten().map(|part| part.len()).sum::<usize>();
        parts + size_of_val(self.parts.as_slice()) + size_of_val(self)
    }

    fn is_asked(&self, peer: PeerKey, part: u32) -> bool {
        self.asked.iter().any(|asked| (asked.peer, asked.part) == (peer, part))
    }

    /// Parts that nobody is asked for; when there are none, those one is asked for. Who is `slow` counts for
    /// nobody.
    fn ask(&mut self, now: Instant, peer: PeerKey, slow: &BTreeSet<PeerKey>) -> Vec<u32> {
        self.asked.retain(|asked| now.since(asked.at) < HOLD);
        let mine = self.asked.iter().filter(|asked| asked.peer == peer).count();
        let mut room = AT_ONCE.saturating_sub(mine);
        let mut picked = Vec::new();
        for askers in 0..ASKERS {
            for part in self.first..piece_count(self.size) {
                if room == 0 {
                    return picked;
                }
                let here = self.parts.get(part as usize).is_some_and(Option::is_some);
                let of_this = self.asked.iter().filter(|asked| asked.part == part);
                let of_this = of_this.filter(|asked| !slow.contains(&asked.peer));
                if here || self.is_asked(peer, part) || of_this.count() != askers {
                    continue;
                }
                self.asked.push(Asked { part, peer, at: now });
                picked.push(part);
                room -= 1;
            }
        }
        picked
    }

    fn store(&mut self, now: Instant, peer: PeerKey, part: u32, bytes: &[u8]) {
        self.asked.retain(|asked| asked.part != part);
        if self.parts.is_empty() {
            self.parts.resize(piece_count(self.size) as usize, None);
        }
        // Two may be asked for one part: the second to answer is no longer on the list.
        self.parts[part as usize] = Some(bytes.into());
        self.missing -= 1;
        let here = |part: &u32| self.parts.get(*part as usize).is_some_and(Option::is_some);
        self.first = (self.first..).find(|part| !here(part)).unwrap_or(u32::MAX);
        self.touched = now;
        if !self.senders.contains(&peer) {
            self.senders.push(peer);
        }
    }
}

impl Torrent {
    /// The info dictionary is not known: nothing else can be said or asked.
    pub fn wants_metadata(&self) -> bool {
        self.metadata.is_wanted()
    }

    /// Asks a peer for parts of the info dictionary, if it has it and we have not.
    pub(super) fn ask_metadata(&mut self, now: Instant, key: PeerKey) {
        let Metadata::Wanted(gathering) = &mut self.metadata else { return };
        if gathering.found || self.phase != Phase::Downloading {
            return;
        }
        let Some(peer) = self.peers.get_mut(key) else { return };
        let (Some(id), Some(size)) = (peer.metadata_id, peer.metadata_size) else { return };
        if peer.hold_until > now {
            return;
        }
        let parts = gathering.ask(now, key, size);
        if parts.is_empty() {
            return;
        }
        for piece in parts {
            let payload = MetadataMessage::Request { piece }.encode();
            wire::encode::encode(&Message::Extended { id, payload: &payload }, &mut peer.out);
        }
        self.want_write(key);
    }

    pub(super) fn ask_all_for_metadata(&mut self, now: Instant) {
        if self.metadata.is_wanted() {
            self.peers.keys().into_iter().for_each(|key| self.ask_metadata(now, key));
        }
    }

    /// An `ut_metadata` message.
    pub(super) fn metadata_message(
        &mut self,
        now: Instant,
        key: PeerKey,
        payload: &[u8],
    ) -> Result<(), Disconnect> {
        match MetadataMessage::decode(payload)? {
            MetadataMessage::Request { piece } => self.serve_metadata(key, piece),
            MetadataMessage::Data { piece, total_size, bytes } => {
                self.metadata_came(now, key, total_size, piece, bytes)
            }
            MetadataMessage::Reject { piece } => {
                let Metadata::Wanted(gathering) = &mut self.metadata else { return Ok(()) };
                gathering.will_not_come(key, Some(piece));
                if let Some(peer) = self.peers.get_mut(key) {
                    peer.hold_until = now + HOLD;
                }
                self.ask_all_for_metadata(now);
                self.strike(key, 1, "refusals of metadata")
            }
            MetadataMessage::Unknown { .. } => Ok(()),
        }
    }

    /// A peer asks for a part: it gets it when what it was sent before has left.
    fn serve_metadata(&mut self, key: PeerKey, piece: u32) -> Result<(), Disconnect> {
        let Some(peer) = self.peers.get_mut(key) else { return Ok(()) };
        let Some(id) = peer.metadata_id else { return Ok(()) };
        let parts = self.metadata.size().map_or(0, piece_count);
        peer.metadata_asked = peer.metadata_asked.saturating_add(1);
        let too_often = peer.metadata_asked > (parts + 1) * TIMES_SERVED;
        self.want_write(key);
        let Some(peer) = self.peers.get_mut(key) else { return Ok(()) };
        if piece < parts && !too_often && peer.metadata_due.len() < parts as usize {
            peer.metadata_due.push_back(piece);
            return Ok(());
        }
        let payload = MetadataMessage::Reject { piece }.encode();
        wire::encode::encode(&Message::Extended { id, payload: &payload }, &mut peer.out);
        self.strike(key, 1, "requests for metadata")
    }

    /// Puts the next part that a peer is to get into what it is told, if that is short. Its length, or
    /// 0.
    pub(super) fn send_metadata(&mut self, key: PeerKey) -> u64 {
        let Metadata::Known(info) = &self.metadata else { return 0 };
        let Some(peer) = self.peers.get_mut(key) else { return 0 };
        if peer.out.len() > METADATA_PIECE_LEN as usize {
            return 0;
        }
        let due = peer.metadata_id.zip(peer.metadata_due.pop_front());
        let Some((id, piece)) = due else { return 0 };
        let payload = MetadataMessage::answer(piece, info.get()).encode();
        wire::encode::encode(&Message::Extended { id, payload: &payload }, &mut peer.out);
        payload.len() as u64
    }

    fn metadata_came(
        &mut self,
        now: Instant,
        key: PeerKey,
        size: u32,
        part: u32,
        bytes: &[u8],
    ) -> Result<(), Disconnect> {
        let Metadata::Wanted(gathering) = &mut self.metadata else { return Ok(()) };
        if gathering.found {
            return Ok(());
        }
        self.last_block = now;
        let is_its = |info_hash| match self.code {
            Some(code) => ShareCode::of(info_hash) == code,
            None => info_hash == self.info_hash,
        };
        match gathering.came(now, key, size, part, bytes) {
            // It may have been slow only.
            Came::Unasked => return self.strike(key, 1, "metadata nobody asked for"),
            Came::Stored => {}
            Came::Whole(whole, _) if is_its(sha1(&whole)) => {
                gathering.found = true;
                gathering.drafts.clear();
                self.say(Event::Metadata(whole.into()));
                return Ok(());
            }
            Came::Whole(_, senders) if senders == [key] => return Err(Disconnect::Poison),
            Came::Whole(..) => {
                gathering.wrong();
                self.ask_all_for_metadata(now);
            }
        }
        self.ask_metadata(now, key);
        Ok(())
    }

    /// A peer left; what it was asked for others may send.
    pub(super) fn forget_metadata(&mut self, now: Instant, key: PeerKey) {
        if let Metadata::Wanted(gathering) = &mut self.metadata {
            gathering.forget(key);
            self.ask_all_for_metadata(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        torrent::messages::tests::{say, seeding},
        wire::extension::local_id,
    };

    const START: Instant = Instant::ZERO;

    fn peer(slot: u32) -> PeerKey {
        PeerKey { slot, generation: 0 }
    }

    /// A dictionary of three parts.
    fn whole() -> Vec<u8> {
        (0..40_000u32).map(|n| (n >> 3) as u8).collect()
    }

    fn part(whole: &[u8], part: u32) -> &[u8] {
        whole.chunks(METADATA_PIECE_LEN as usize).nth(part as usize).expect("there")
    }

    #[test]
    fn several_peers_fill_one_draft() {
        let (mut g, whole) = (Gathering::default(), whole());
        let size = whole.len() as u32;
        assert_eq!(g.ask(START, peer(1), size), [0, 1, 2]);
        // All is asked for: the second is asked too, for whoever is first.
        assert_eq!(g.ask(START, peer(2), size), [0, 1, 2]);
        assert_eq!(g.ask(START, peer(3), size), [0; 0]);
        assert_eq!(g.came(START, peer(2), size, 1, part(&whole, 1)), Came::Stored);
        assert_eq!(g.came(START, peer(1), size, 1, part(&whole, 1)), Came::Unasked);
        assert_eq!(g.came(START, peer(1), size, 0, part(&whole, 0)), Came::Stored);
        let came = g.came(START, peer(1), size, 2, part(&whole, 2));
        assert_eq!(came, Came::Whole(whole.clone(), vec![peer(2), peer(1)]));
    }

    #[test]
    fn what_is_slow_or_refused_or_lost_is_asked_of_others() {
        let (mut g, size) = (Gathering::default(), whole().len() as u32);
        g.ask(START, peer(1), size);
        g.ask(START, peer(2), size);
        g.will_not_come(peer(1), Some(1));
        assert_eq!(g.ask(START, peer(3), size), [1]);
        g.forget(peer(2));
        assert_eq!(g.ask(START, peer(3), size), [0, 2]);
        assert_eq!(g.ask(START + PATIENCE, peer(4), size), [0, 1, 2]);
    }

    /// Two that never answered were asked again and again, before anybody else could be.
    #[test]
    fn nobody_waits_for_those_who_do_not_answer() {
        let (mut g, whole) = (Gathering::default(), whole());
        let size = whole.len() as u32;
        let silent = (0..20).map(peer);
        let mut now = START;
        for _ in 0..ASKERS * 5 {
            silent.clone().for_each(|peer| drop(g.ask(now, peer, size)));
            assert_eq!(g.ask(now, peer(99), size), [0; 0]);
            now += PATIENCE;
        }
        silent.clone().for_each(|peer| drop(g.ask(now, peer, size)));
        assert_eq!(g.ask(now, peer(99), size), [0, 1, 2]);
        now += PATIENCE;
        silent.for_each(|peer| drop(g.ask(now, peer, size)));
        assert_eq!(g.slow.len(), 21);
        // It comes late, and is as good.
        assert_eq!(g.came(now, peer(99), size, 0, part(&whole, 0)), Came::Stored);
        assert_eq!(g.slow.len(), 20);
    }

    #[test]
    fn once_the_common_draft_was_wrong_everyone_fills_his_own() {
        let (mut g, whole) = (Gathering::default(), whole());
        let size = whole.len() as u32;
        g.ask(START, peer(1), size);
        g.wrong();
        for n in [1, 2] {
            assert_eq!(g.ask(START, peer(n), size), [0, 1, 2]);
            for p in 0..2 {
                assert_eq!(g.came(START, peer(n), size, p, part(&whole, p)), Came::Stored);
            }
        }
        let came = g.came(START, peer(1), size, 2, part(&whole, 2));
        assert_eq!(came, Came::Whole(whole, vec![peer(1)]));
    }

    #[test]
    fn claims_do_not_make_us_hold_more_than_one_dictionary() {
        let mut g = Gathering::default();
        let bytes = [0; METADATA_PIECE_LEN as usize];
        let parts = (limits::MAX_TORRENT_BYTES / bytes.len()) as u32;
        // Two peers, each of whom claims another length and never sends the last part.
        for n in 0..=parts / 2 {
            for (p, size) in [(peer(1), parts), (peer(2), parts - 1)] {
                let size = size * METADATA_PIECE_LEN;
                g.ask(START, p, size);
                g.came(START + Duration::from_millis(n.into()), p, size, n, &bytes);
                let held: usize = g.drafts.iter().map(Draft::held).sum();
                assert!(held <= limits::MAX_TORRENT_BYTES);
            }
        }
        assert!(g.drafts.iter().any(|draft| draft.senders.is_empty()), "one was given up");
    }

    #[test]
    fn a_peer_waits_for_no_more_parts_than_there_are() {
        let (mut torrent, key, mut pool) = seeding();
        torrent.peers.get_mut(key).expect("there").metadata_id = Some(9);
        let payload = MetadataMessage::Request { piece: 0 }.encode();
        let request = Message::Extended { id: local_id::UT_METADATA, payload: &payload };
        (0..50).for_each(|_| say(&mut torrent, &mut pool, key, &request));
        assert_eq!(torrent.peers.get(key).expect("fifty are no flood").metadata_due.len(), 1);
    }

    #[test]
    fn a_peer_has_one_draft_whatever_it_claims() {
        let (mut g, whole) = (Gathering::default(), whole());
        let size = whole.len() as u32;
        g.ask(START, peer(1), size);
        g.came(START, peer(1), size, 2, part(&whole, 2));
        for claim in 1..1_000 {
            g.ask(START, peer(2), METADATA_PIECE_LEN + claim);
            g.came(START, peer(2), METADATA_PIECE_LEN + claim, 1, &vec![0; claim as usize]);
            assert!(g.drafts.len() <= 2, "{} drafts", g.drafts.len());
        }
        // What others have sent stays.
        assert_eq!(g.ask(START, peer(2), size), [0, 1]);
    }
}
