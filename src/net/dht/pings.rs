//! Nodes whose names only a proxy can look up: they are asked by name whether they are there, and are known by
//! the address from which they answer.

use std::collections::VecDeque;

use crate::{
    base::rng::Rng,
    dht::{
        NodeId,
        message::{Body, Message, Method, Query, Want, encode_query},
    },
};

/// Questions that are remembered; most names are of no use any more.
const MAX_SENT: usize = 64;

/// The questions that have no answer yet.
#[derive(Debug)]
pub(super) struct Pings {
    rng: Rng,
    /// Their transaction ids, which are not to be guessed, and whether nodes of that kind are well-known ones.
    sent: VecDeque<(Vec<u8>, bool)>,
}

impl Pings {
    pub(super) const fn new(rng: Rng) -> Self {
        Pings { rng, sent: VecDeque::new() }
    }

    /// The question to a node, which is a well-known one or not.
    pub(super) fn ask(&mut self, well_known: bool) -> Vec<u8> {
        let transaction = self.rng.next_u64().to_be_bytes().to_vec();
        // One who only asks is nobody's neighbour, whatever its id.
        let id = Some(NodeId::random(&mut self.rng));
        let query = Query { id, read_only: true, want: Want::default(), method: Method::Ping };
        let datagram = encode_query(&transaction, &query);
        if self.sent.len() == MAX_SENT {
            self.sent.pop_front();
        }
        self.sent.push_back((transaction, well_known));
        datagram
    }

    /// Whether `datagram` answers one of them, and if so, what kind of node it comes from.
    pub(super) fn answered(&mut self, datagram: &[u8]) -> Option<bool> {
        if self.sent.is_empty() {
            return None;
        }
        let Message { transaction, body: Body::Reply(_), .. } = Message::decode(datagram).ok()?
        else {
            return None;
        };
        let at = self.sent.iter().position(|(sent, _)| sent == transaction)?;
        self.sent.remove(at).map(|(_, well_known)| well_known)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_question_is_answered_once() {
        let mut pings = Pings::new(Rng::new(1));
        let (one, other) = (pings.ask(true), pings.ask(false));
        let answer = |question: &[u8]| {
            let asked = Message::decode(question).expect("a question");
            assert!(matches!(asked.body, Body::Query(Query { method: Method::Ping, .. })));
            [b"d1:rd2:id20:aaaaaaaaaaaaaaaaaaaae1:t8:", asked.transaction, b"1:y1:re"].concat()
        };
        assert_eq!(pings.answered(&one), None, "a question is no answer");
        assert_eq!(pings.answered(&answer(&other)), Some(false));
        assert_eq!(pings.answered(&answer(&one)), Some(true));
        assert_eq!(pings.answered(&answer(&one)), None);
        (0..100).for_each(|_| drop(pings.ask(true)));
        assert_eq!(pings.sent.len(), MAX_SENT);
    }
}
