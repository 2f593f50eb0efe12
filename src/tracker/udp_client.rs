//! One exchange with a UDP tracker: connect, then announce or scrape, again when nothing comes
//! (BEP 15, *Time outs*).
//!
//! Pure: datagrams in and out, time an argument. Which address belongs to a tracker, and sockets, are
//! in `net/udp_tracker.rs`; when to announce is in [`super::tiers`].

use std::{collections::VecDeque, time::Duration};

use super::{
    announce::{AnnounceReply, AnnounceRequest},
    scrape::ScrapeCounts,
    udp::{Request, Response, UdpError},
};
use crate::base::{hash::Sha1Hash, rng::Rng, time::Instant};

/// A connection id may be used for so long after it came.
pub const CONNECTION_LIFE: Duration = Duration::from_secs(60);
/// Wait for the first answer; twice as long for each one after it.
const FIRST_WAIT: Duration = Duration::from_secs(15);
/// Times a request is sent. The schedule of BEP 15 goes on for hours; by then the torrent has long
/// asked another tracker, and comes back to this one by itself.
const MAX_SENDS: u32 = 4;

/// What the exchange is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Question {
    /// Announce, with path and query of the tracker's URL (BEP 41).
    Announce(AnnounceRequest, Vec<u8>),
    /// Ask how many peers these swarms have.
    Scrape(Vec<Sha1Hash>),
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// To an announce.
    Announce(AnnounceReply),
    /// To a scrape, in the order of the question.
    Scrape(Vec<ScrapeCounts>),
}

/// Why there is no reply.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExchangeError {
    /// Nothing came, however often we asked.
    #[error("it did not answer")]
    Silent,
    /// It said no.
    #[error("{0}")]
    Refused(String),
    /// It answered with something else.
    #[error(transparent)]
    Malformed(#[from] UdpError),
}

/// One thing for the driver to do.
#[derive(Debug, PartialEq, Eq)]
pub enum Output {
    /// Send this to the tracker.
    Send(Vec<u8>),
    /// Keep this connection id for the next exchange with the tracker, until then.
    Connected(u64, Instant),
    /// It is over.
    Done(Result<Reply, ExchangeError>),
}

/// How far an exchange has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// A connection id is asked for.
    Connecting,
    /// The question is asked with this id, which may be used until then; it is `fresh` if it came in
    /// this exchange.
    Asking {
        id: u64,
        until: Instant,
        fresh: bool,
    },
    Over,
}

/// One exchange.
#[derive(Debug)]
pub struct Exchange {
    question: Question,
    stage: Stage,
    /// Names the datagram that waits for its answer.
    transaction: u32,
    sends: u32,
    /// An id came in this exchange: the next one does not prolong it.
    connected: bool,
    due: Instant,
    rng: Rng,
    outputs: VecDeque<Output>,
}

impl Exchange {
    /// Begins to ask a tracker; `known` is a connection id that it gave in an earlier
    /// exchange, and until when.
    pub fn new(question: Question, known: Option<(u64, Instant)>, rng: Rng, now: Instant) -> Self {
        let stage = match known {
            Some((id, until)) => Stage::Asking { id, until, fresh: false },
            None => Stage::Connecting,
        };
        let outputs = VecDeque::new();
        let (transaction, sends, connected, due) = (0, 0, false, now);
        let mut exchange =
            Exchange { question, stage, transaction, sends, connected, due, rng, outputs };
        exchange.send(now);
        exchange
    }

    /// The next thing to do; `None` until something comes or the time-out.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to call [`Exchange::handle_timeout`]; `None` when it is over.
    pub fn poll_timeout(&self) -> Option<Instant> {
        (self.stage != Stage::Over).then_some(self.due)
    }

    /// Nothing came in time: asks again, or gives up.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.stage == Stage::Over || now < self.due {
            return;
        }
        if self.sends >= MAX_SENDS {
            return self.end(Err(ExchangeError::Silent));
        }
        self.send(now);
    }

    /// A datagram came from the tracker's address, over IPv6 if `v6`. What does not answer our last one is
    /// ignored: it is late, or forged.
    pub fn handle_datagram(&mut self, now: Instant, datagram: &[u8], v6: bool) {
        if datagram.get(4..8) != Some(&self.transaction.to_be_bytes()) {
            return;
        }
        let response = match Response::decode(datagram, v6) {
            Ok((_, response)) => response,
            Err(error) => return self.end(Err(error.into())),
        };
        match (self.stage, response, &self.question) {
            (Stage::Connecting, Response::Connect { connection: id }, _) => {
                let until = now + CONNECTION_LIFE;
                self.outputs.push_back(Output::Connected(id, until));
                self.stage = Stage::Asking { id, until, fresh: true };
                if !std::mem::replace(&mut self.connected, true) {
                    self.sends = 0;
                }
                self.send(now);
            }
            // It may have forgotten an id of an earlier exchange: only a fresh one proves that it
            // means us.
            (Stage::Asking { fresh: false, .. }, Response::Error { .. }, _) => {
                self.stage = Stage::Connecting;
                self.send(now);
            }
            (Stage::Connecting | Stage::Asking { .. }, Response::Error { reason }, _) => {
                self.end(Err(ExchangeError::Refused(reason)));
            }
            (Stage::Asking { .. }, Response::Announce(reply), Question::Announce(..)) => {
                self.end(Ok(Reply::Announce(reply)));
            }
            (Stage::Asking { .. }, Response::Scrape(counts), Question::Scrape(_)) => {
                self.end(Ok(Reply::Scrape(counts)));
            }
            _ => {}
        }
    }

    fn send(&mut self, now: Instant) {
        let request = match self.stage {
            Stage::Over => return,
            Stage::Asking { id, until, .. } if now < until => match &self.question {
                Question::Announce(request, url_data) => Request::Announce {
                    connection: id,
                    request: request.clone(),
                    url_data: url_data.clone(),
                },
                Question::Scrape(hashes) => {
                    Request::Scrape { connection: id, info_hashes: hashes.clone() }
                }
            },
            Stage::Asking { .. } | Stage::Connecting => {
                self.stage = Stage::Connecting;
                Request::Connect
            }
        };
        self.transaction = self.rng.next_u64() as u32;
        self.due = now + FIRST_WAIT * 2u32.pow(self.sends.min(MAX_SENDS - 1));
        self.sends += 1;
        self.outputs.push_back(Output::Send(request.encode(self.transaction)));
    }

    fn end(&mut self, result: Result<Reply, ExchangeError>) {
        if self.stage != Stage::Over {
            self.stage = Stage::Over;
            self.outputs.push_back(Output::Done(result));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tracker::udp::tests::request;

    const START: Instant = Instant::ZERO;

    fn after(secs: u64) -> Instant {
        START + Duration::from_secs(secs)
    }

    fn exchange(known: Option<(u64, Instant)>) -> Exchange {
        Exchange::new(Question::Announce(request(), Vec::new()), known, Rng::new(1), START)
    }

    /// The request that was sent, and its transaction.
    fn sent(exchange: &mut Exchange) -> (u32, Request) {
        match exchange.poll() {
            Some(Output::Send(bytes)) => Request::decode(&bytes).expect("ours"),
            other => panic!("nothing was sent but {other:?}"),
        }
    }

    fn answer(exchange: &mut Exchange, now: Instant, transaction: u32, response: &Response) {
        exchange.handle_datagram(now, &response.encode(transaction, false), false);
    }

    #[test]
    fn it_connects_and_asks() {
        let mut e = exchange(None);
        let (transaction, request) = sent(&mut e);
        assert_eq!(request, Request::Connect);
        let connect = Response::Connect { connection: 9 };
        answer(&mut e, after(1), transaction ^ 1, &connect);
        assert_eq!(e.poll(), None, "somebody else's answer");
        answer(&mut e, after(1), transaction, &connect);
        assert_eq!(e.poll(), Some(Output::Connected(9, after(61))));
        let (transaction, request) = sent(&mut e);
        assert!(matches!(request, Request::Announce { connection: 9, .. }));
        let reply = AnnounceReply { seeds: Some(1), leeches: Some(0), ..AnnounceReply::default() };
        answer(&mut e, after(2), transaction, &Response::Announce(reply.clone()));
        assert_eq!(e.poll(), Some(Output::Done(Ok(Reply::Announce(reply)))));
        assert_eq!((e.poll(), e.poll_timeout()), (None, None));
    }

    #[test]
    fn it_asks_again_after_15_30_and_60_seconds_and_then_gives_up() {
        let mut e = exchange(None);
        let mut transactions = vec![sent(&mut e).0];
        for at in [15, 45, 105] {
            assert_eq!(e.poll_timeout(), Some(after(at)));
            e.handle_timeout(after(at - 1));
            assert_eq!(e.poll(), None);
            e.handle_timeout(after(at));
            let (transaction, request) = sent(&mut e);
            assert_eq!(request, Request::Connect);
            assert!(!transactions.contains(&transaction));
            transactions.push(transaction);
        }
        e.handle_timeout(after(225));
        assert_eq!(e.poll(), Some(Output::Done(Err(ExchangeError::Silent))));
        assert_eq!(e.poll_timeout(), None);
    }

    #[test]
    fn an_id_that_has_expired_is_asked_for_again() {
        let mut e = exchange(Some((9, after(20))));
        assert!(matches!(sent(&mut e).1, Request::Announce { connection: 9, .. }));
        e.handle_timeout(after(15));
        assert!(matches!(sent(&mut e).1, Request::Announce { connection: 9, .. }));
        e.handle_timeout(after(45));
        assert_eq!(sent(&mut e).1, Request::Connect);
    }

    /// Each id began the schedule anew, and the exchange never ended.
    #[test]
    fn a_tracker_that_gives_ids_and_nothing_else_is_silent() {
        let mut e = exchange(None);
        let mut now = after(0);
        let mut connects = 0;
        loop {
            match e.poll() {
                Some(Output::Send(datagram)) => {
                    if let (transaction, Request::Connect) =
                        Request::decode(&datagram).expect("ours")
                    {
                        connects += 1;
                        let connect = Response::Connect { connection: connects };
                        answer(&mut e, now, transaction, &connect);
                    }
                }
                Some(Output::Connected(..)) => {}
                Some(Output::Done(result)) => break assert_eq!(result, Err(ExchangeError::Silent)),
                None => {
                    now = e.poll_timeout().expect("it is not over");
                    e.handle_timeout(now);
                }
            }
        }
        assert_eq!((now, connects), (after(225), 2));
    }

    #[test]
    fn a_tracker_that_forgot_an_old_id_gets_a_second_chance() {
        let refusal = Response::Error { reason: "connection id".into() };
        let mut e = exchange(Some((9, after(60))));
        let (transaction, _) = sent(&mut e);
        answer(&mut e, after(1), transaction, &refusal);
        let (transaction, request) = sent(&mut e);
        assert_eq!(request, Request::Connect);
        answer(&mut e, after(2), transaction, &Response::Connect { connection: 10 });
        assert_eq!(e.poll(), Some(Output::Connected(10, after(62))));
        let (transaction, _) = sent(&mut e);
        answer(&mut e, after(3), transaction, &refusal);
        let refused = ExchangeError::Refused("connection id".into());
        assert_eq!(e.poll(), Some(Output::Done(Err(refused))));
    }

    #[test]
    fn an_answer_to_another_question_is_no_answer() {
        let mut e = exchange(Some((9, after(60))));
        let (transaction, _) = sent(&mut e);
        answer(&mut e, after(1), transaction, &Response::Scrape(Vec::new()));
        assert_eq!(e.poll(), None);
        e.handle_datagram(
            after(1),
            &[&[0, 0, 0, 1], &transaction.to_be_bytes()[..]].concat(),
            false,
        );
        let Some(Output::Done(Err(ExchangeError::Malformed(_)))) = e.poll() else { panic!() };
    }
}
