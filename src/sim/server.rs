//! A web seed as HTTP makes one: the [`Translator`] of the program, and a server behind it that need not be
//! honest.
//!
//! Stands at the server's end of a connection, so that what a request costs in time is what its blocks cost.
//! Answers are heads, which [`reply::judge`] judges, and numbers of bytes; where redirects end is a rule of
//! `net`, which is told here again.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use crate::{
    base::{hash::Sha1Hash, limits::MAX_REDIRECTS, time::Instant, units::BLOCK_LEN},
    metainfo::{Info, build::Builder},
    webseed::{
        Failure, Get, Translator,
        reply::{self, Head},
    },
};

use super::{
    disk::Content,
    frames::{self, Frame, Span},
    rogue::{Doings, Line, Rogue},
};

/// How a [`Server`] answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// With what it was asked for.
    Right,
    /// One block in so many is wrong; 1: all are.
    Wrong(u32),
    /// Not at all.
    Never,
    /// The connection breaks in the middle of each body.
    Breaks,
    /// With another part of the file.
    OtherPart,
    /// As if the file were longer by a byte.
    OtherLength,
    /// With the whole file.
    WholeFile,
    /// With packed bytes.
    Packed,
    /// With this status.
    Status(u16),
    /// It is busy, and says for how many seconds.
    Busy(u32),
    /// With one redirect after the other.
    Redirects,
}

/// From a request to the head of its answer.
const SERVER_TIME: Duration = Duration::from_millis(20);
/// Requests under way at a time on one connection.
const AT_ONCE: usize = 2;
/// Length of the wire's own handshake, and of the head of a message with a block.
const HANDSHAKE_LEN: usize = 68;
const PIECE_HEAD_LEN: usize = 13;
/// The id of a message with a block.
const PIECE: u8 = 7;

#[derive(Debug)]
struct Fetch {
    get: Get,
    /// When the head of the answer is there.
    due: Instant,
    redirects: usize,
}

#[derive(Debug)]
struct Talk {
    line: Line,
    translator: Translator,
    fetches: VecDeque<Fetch>,
    /// What the translator has said that is no whole message yet.
    said: Vec<u8>,
    greeted: bool,
}

/// A web seed that answers so.
#[derive(Debug)]
pub struct Server {
    answer: Answer,
    content: Content,
    info: Arc<Info>,
    info_hash: Sha1Hash,
    talks: Vec<Talk>,
    served: u32,
}

impl Server {
    /// Has the one file of `content`, the torrent with `info_hash`.
    pub fn new(answer: Answer, content: Content, info_hash: Sha1Hash) -> Self {
        let geometry = content.geometry();
        let (total, piece_length) = (geometry.total(), geometry.piece_length());
        let builder = Builder::file("content", total, Some(piece_length)).expect("a sensible file");
        let hashes = vec![Sha1Hash([0; 20]); geometry.pieces() as usize];
        let info = builder.build(&hashes).expect("a hash for each piece").info;
        Server { answer, content, info, info_hash, talks: Vec::new(), served: 0 }
    }

    fn talk(&mut self, line: Line) -> Option<&mut Talk> {
        self.talks.iter_mut().find(|talk| talk.line == line)
    }

    /// Tells the translator what the torrent says, and asks for what it wants.
    fn take(&mut self, now: Instant, line: Line, bytes: &[u8], doings: &mut Doings) {
        let Some(talk) = self.talk(line) else { return };
        talk.translator.take(bytes);
        talk.ask(now, doings);
        let said = talk.translate(&mut &[][..]);
        self.pass_on(line, said, doings);
    }

    /// The answers that are due.
    fn answer(&mut self, now: Instant, line: Line, doings: &mut Doings) {
        let answer = self.answer;
        while let Some(talk) = self.talk(line)
            && let Some(fetch) = talk.fetches.front_mut()
            && fetch.due <= now
        {
            if answer == Answer::Never {
                return;
            }
            if answer == Answer::Redirects && fetch.redirects < MAX_REDIRECTS {
                fetch.redirects += 1;
                fetch.due = now + SERVER_TIME;
                return doings.timer(fetch.due, line.0);
            }
            let get = fetch.get;
            talk.fetches.pop_front();
            match head(answer, &get) {
                Ok(length) => {
                    let body = vec![0; length as usize];
                    let said = talk.translate(&mut &body[..]);
                    talk.ask(now, doings);
                    self.pass_on(line, said, doings);
                    if length < get.length {
                        return doings.fail(line, Failure::Broken);
                    }
                }
                Err(failure) => {
                    let failure = talk.translator.explain(get.file, failure);
                    return doings.fail(line, failure);
                }
            }
        }
    }

    /// Sends what the translator said, blocks as what they stand for.
    fn pass_on(&mut self, line: Line, said: Vec<u8>, doings: &mut Doings) {
        let Some(talk) = self.talk(line) else { return };
        talk.said.extend(said);
        let mut said = std::mem::take(&mut talk.said);
        let mut greeted = talk.greeted;
        let mut at = 0;
        loop {
            let rest = &said[at..];
            let length = match rest.first_chunk() {
                _ if !greeted => HANDSHAKE_LEN,
                Some(length) => 4 + u32::from_be_bytes(*length) as usize,
                None => break,
            };
            let Some(message) = rest.get(..length) else { break };
            match message {
                [_, _, _, _, PIECE, ..] if greeted => self.block(line, message, doings),
                _ => doings.send(line, message.to_vec()),
            }
            greeted = true;
            at += length;
        }
        said.drain(..at);
        if let Some(talk) = self.talk(line) {
            (talk.said, talk.greeted) = (said, greeted);
        }
    }

    fn block(&mut self, line: Line, message: &[u8], doings: &mut Doings) {
        let word = |at: usize| u32::from_be_bytes(message[at..at + 4].try_into().expect("four"));
        let length = (message.len() - PIECE_HEAD_LEN) as u32;
        let span = Span { piece: word(5), begin: word(9), length };
        self.served = self.served.wrapping_add(1);
        let wrong = matches!(self.answer, Answer::Wrong(n) if self.served.is_multiple_of(n));
        let tag = self.content.tag(span.piece, span.begin);
        doings.send_block(line, span, if wrong { !tag } else { tag });
    }
}

impl Talk {
    /// Asks for the ranges that are wanted.
    fn ask(&mut self, now: Instant, doings: &mut Doings) {
        if self.translator.take_given_up() {
            self.fetches.clear();
        }
        while self.fetches.len() < AT_ONCE
            && let Some(get) = self.translator.next_get()
        {
            let due = now + SERVER_TIME;
            self.fetches.push_back(Fetch { get, due, redirects: 0 });
            doings.timer(due, self.line.0);
        }
    }

    /// What the torrent reads when these bytes have come.
    fn translate(&mut self, body: &mut &[u8]) -> Vec<u8> {
        let (mut said, mut buf) = (Vec::new(), vec![0; BLOCK_LEN as usize]);
        loop {
            match self.translator.read(body, &mut buf) {
                0 => return said,
                n => said.extend_from_slice(&buf[..n]),
            }
        }
    }
}

/// How much of a body comes, and begins where it should.
fn head(answer: Answer, get: &Get) -> Result<u64, Failure> {
    let Get { offset, length, file_length, .. } = *get;
    let (first, last, total) = match answer {
        Answer::OtherPart => (offset + 1, offset + length, file_length),
        Answer::OtherLength => (offset, offset + length - 1, file_length + 1),
        _ => (offset, offset + length - 1, file_length),
    };
    let range = format!("bytes {first}-{last}/{total}");
    let right = Head {
        status: 206,
        content_range: Some(&range),
        content_length: Some(length),
        ..Head::default()
    };
    let wait;
    let head = match answer {
        Answer::WholeFile => {
            Head { status: 200, content_length: Some(file_length), ..Head::default() }
        }
        Answer::Packed => Head { content_encoding: Some("gzip"), ..right },
        Answer::Status(status) => Head { status, ..Head::default() },
        Answer::Busy(seconds) => {
            wait = seconds.to_string();
            Head { status: 503, retry_after: Some(&wait), ..Head::default() }
        }
        Answer::Redirects => return Err(Failure::Redirect),
        _ => right,
    };
    reply::judge(head, get)?;
    Ok(if answer == Answer::Breaks { length / 2 } else { length })
}

impl Rogue for Server {
    fn connected(&mut self, _now: Instant, line: Line, _outgoing: bool, _doings: &mut Doings) {
        let translator = Translator::new(self.info.clone(), "http://server/", &[]);
        let (fetches, said) = (VecDeque::new(), Vec::new());
        self.talks.push(Talk { line, translator, fetches, said, greeted: false });
    }

    fn message(&mut self, now: Instant, line: Line, frame: Frame, doings: &mut Doings) {
        let numbers =
            |id, Span { piece, begin, length }| frames::numbers(id, &[piece, begin, length]);
        let bytes = match frame {
            Frame::Handshake(_) => frames::handshake(self.info_hash, [0; 20], true),
            Frame::Request(span) => numbers(6, span),
            Frame::Cancel(span) => numbers(8, span),
            _ => return,
        };
        self.take(now, line, &bytes, doings);
    }

    fn closed(&mut self, _now: Instant, line: Line, _doings: &mut Doings) {
        self.talks.retain(|talk| talk.line != line);
    }

    fn timer(&mut self, now: Instant, token: u32, doings: &mut Doings) {
        self.answer(now, crate::sim::StreamId(token), doings);
    }
}
