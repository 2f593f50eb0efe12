//! What a node of the DHT has said it keeps: the tokens it gave, and the peers and items it took. Its answers are
//! held to that.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use downpour::{
    base::{
        compact::{is_local, may_name, network},
        hash::Sha1Hash,
        limits,
        time::Instant,
    },
    dht::{
        Item, NodeId,
        message::{Method, Query, RawItem, RawSigned, Reply, code},
    },
};

/// A token is good for so long at least, and for so long at most.
const TOKEN_LIFE: Duration = Duration::from_secs(5 * 60);
const TOKEN_END: Duration = Duration::from_secs(2 * (5 * 60 + 10));
/// How long a peer is kept, and an item.
const PEER_LIFE: Duration = Duration::from_secs(45 * 60);
const ITEM_LIFE: Duration = Duration::from_secs(2 * 3600);

/// What one run keeps.
#[derive(Debug, Default)]
pub struct Kept {
    /// The tokens that an address got, and when it got each last.
    tokens: BTreeMap<IpAddr, Vec<(Instant, Vec<u8>)>>,
    /// One of an earlier run.
    old_token: Vec<u8>,
    /// Peers by what they have, and when they said so.
    pub peers: BTreeMap<NodeId, Vec<(SocketAddr, Instant)>>,
    /// Items, and when they were stored.
    pub items: BTreeMap<NodeId, (Item, Instant)>,
}

impl Kept {
    /// Nothing: another run has begun.
    pub fn after(last: &Kept) -> Self {
        let given = last.tokens.values().flatten().next();
        let old_token = given.map_or_else(|| last.old_token.clone(), |(_, token)| token.clone());
        Kept { old_token, ..Kept::default() }
    }

    /// A token for who is at `ip`: the last or an earlier one of its own, another's, or none at all.
    pub fn token(&self, ip: IpAddr, which: u8) -> Vec<u8> {
        let own = || self.tokens.get(&ip).into_iter().flatten();
        let token = match which {
            0..=3 => own().next_back(),
            4 => own().next(),
            5 => self.tokens.values().flatten().next(),
            6 => return self.old_token.clone(),
            _ => None,
        };
        token.map_or_else(|| b"guessed!".to_vec(), |(_, token)| token.clone())
    }

    /// The node has answered a query of `from`: what it says is what it keeps.
    pub fn answered(
        &mut self,
        now: Instant,
        from: SocketAddr,
        query: &Query<'_>,
        reply: &Reply<'_>,
    ) {
        if let Some(token) = reply.token {
            let tokens = self.tokens.entry(from.ip()).or_default();
            if tokens.last().is_none_or(|(_, last)| last != token) {
                tokens.push((now, token.to_vec()));
            }
            tokens.last_mut().expect("one was pushed").0 = now;
        }
        let told: BTreeSet<SocketAddr> = reply.peers().collect();
        let item = reply.item;
        match query.method {
            Method::GetPeers(info_hash) => {
                let kept = self.peers.get(&info_hash.into());
                let fresh = kept.into_iter().flatten().filter(|(addr, at)| {
                    now.since(*at) < PEER_LIFE && addr.is_ipv6() == from.is_ipv6()
                });
                let fresh: BTreeSet<SocketAddr> = fresh.map(|&(addr, _)| addr).collect();
                let right = |addr: &&SocketAddr| may_name(from, **addr);
                assert!(told.iter().all(|addr| fresh.contains(addr) && right(&addr)));
                let most = if from.is_ipv6() { 12 } else { 32 };
                if fresh.len() <= most {
                    assert_eq!(told.len(), fresh.iter().filter(right).count(), "one is missing");
                }
            }
            Method::AnnouncePeer { info_hash, port, token } => {
                self.is_proven(now, from, token);
                let addr = SocketAddr::new(from.ip(), port.unwrap_or(from.port()));
                let peers = self.peers.entry(info_hash.into()).or_default();
                peers.retain(|(other, _)| *other != addr);
                let by = network(addr.ip());
                let its: Vec<usize> =
                    (0..peers.len()).filter(|&at| network(peers[at].0.ip()) == by).collect();
                if !is_local(addr.ip()) && its.len() >= limits::MAX_DHT_PEERS_OF_ONE {
                    peers.remove(its[0]);
                }
                if peers.len() >= limits::MAX_DHT_PEERS {
                    peers.remove(0);
                }
                peers.push((addr, now));
            }
            Method::Get { target, newer_than } => {
                let kept = self.items.get(&target);
                let kept = kept.filter(|(_, at)| now.since(*at) < ITEM_LIFE);
                let known = |item: &Item| {
                    let sequence = item.sequence().zip(newer_than);
                    sequence.is_some_and(|(sequence, known)| sequence <= known)
                };
                match (item, kept.filter(|(item, _)| !known(item))) {
                    (Some(told), Some((kept, _))) => {
                        let kept = kept.raw();
                        let signed = kept.signed.map(|signed| RawSigned { salt: b"", ..signed });
                        assert_eq!(told, RawItem { signed, ..kept });
                    }
                    (told, kept) => assert!(told.is_none() && kept.is_none(), "{told:?}, {kept:?}"),
                }
            }
            Method::Put { token, item, cas } => {
                self.is_proven(now, from, token);
                let item = Item::check(&item).expect("only what is an item is stored");
                if let Some((old, at)) = self.items.get(&item.target())
                    && now.since(*at) < ITEM_LIFE
                    && let Some(sequence) = old.sequence()
                {
                    assert!(item.sequence() >= Some(sequence), "an older one takes its place");
                    assert!(cas.is_none_or(|cas| cas == sequence));
                }
                self.items.insert(item.target(), (item, now));
            }
            Method::SampleInfohashes(_) => {
                let hashes: Vec<Sha1Hash> = reply.samples().expect("asked for").collect();
                assert!(hashes.iter().all(|&hash| self.peers.contains_key(&hash.into())));
                assert!(reply.num.is_some_and(|num| num <= self.peers.len() as u64));
            }
            Method::Ping | Method::FindNode(_) => {}
            Method::Unknown => panic!("nobody knows that"),
        }
        let gets = matches!(query.method, Method::GetPeers(_) | Method::Get { .. });
        assert_eq!(reply.token.is_some(), gets);
        assert!(item.is_none() || matches!(query.method, Method::Get { .. }));
        assert!(told.is_empty() || matches!(query.method, Method::GetPeers(_)));
    }

    /// When `from` got this token, if it ever did.
    fn got(&self, from: SocketAddr, token: &[u8]) -> Option<Instant> {
        let mut tokens = self.tokens.get(&from.ip())?.iter();
        tokens.find(|(_, own)| own == token).map(|&(at, _)| at)
    }

    /// Something was stored: who wanted it had shown where it is.
    fn is_proven(&self, now: Instant, from: SocketAddr, token: &[u8]) {
        let at = self.got(from, token).expect("its token is nobody else's");
        assert!(now.since(at) <= TOKEN_END, "its token is too old");
    }

    /// A query is refused only for a reason.
    pub fn refused(&self, now: Instant, from: SocketAddr, query: &Query<'_>, code: i64) {
        let proven = |token| self.got(from, token).is_some_and(|at| now.since(at) < TOKEN_LIFE);
        match query.method {
            Method::Unknown => assert_eq!(code, i64::from(code::UNKNOWN_METHOD)),
            Method::AnnouncePeer { token, .. } => assert!(!proven(token), "its token was right"),
            Method::Put { token, item, .. } if proven(token) => {
                let kept = |item: Item| self.items.get(&item.target()).map(|(_, at)| *at);
                let conflicts = [code::CAS_MISMATCH, code::OLD_SEQUENCE].map(i64::from);
                match Item::check(&item) {
                    Err(error) => assert_eq!(code, i64::from(error.code())),
                    Ok(item) => {
                        assert!(conflicts.contains(&code), "there is room");
                        let at = kept(item).expect("something else is stored");
                        assert!(now.since(at) < ITEM_LIFE);
                    }
                }
            }
            Method::Put { .. } => {}
            _ => panic!("refused with {code}"),
        }
    }
}
