//! A web seed as a [`Transport`]: what the torrent writes becomes ranged requests over HTTP, and their bytes
//! what it reads.
//!
//! What is asked for and what the bytes mean is the [`Translator`]'s affair. Here is one task for each
//! request, on the runtime that the HTTP client is used in; two are under way at a time, so that the second
//! answer is there when the first has come to its end, and each is read no faster than the torrent takes it.
//! A failure of a request is that of the stream: its cause is a [`Failure`].

use std::{
    collections::{HashMap, VecDeque},
    io::{self, IoSlice},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::Duration,
};

use tokio::{runtime::Handle, sync::mpsc, task::AbortHandle, time::Instant};

use super::{
    http::{Http, HttpError, Part, Place, Streamed},
    reach::Reach,
    transport::Transport,
};
use crate::{
    base::{index::FileIndex, limits::MAX_WEB_SEED_MOVES},
    webseed::{
        Failure, Get, Site, Translator,
        reply::{self, Head},
    },
};

/// Requests under way at a time.
const AT_ONCE: usize = 2;
/// Replies whose end is waited for at a time.
const MOST_ENDING: usize = 8;
/// Parts of a body that wait to be read.
const PARTS_WAITING: usize = 2;
/// How long we go at once to where a file was found last.
const REMEMBERED: Duration = Duration::from_secs(300);

/// Opens connections with web seeds.
#[derive(Debug, Clone)]
pub struct WebSeeds {
    http: Http,
    runtime: Handle,
}

impl WebSeeds {
    /// Requests are made with `http`, by tasks of `runtime`.
    pub const fn new(http: Http, runtime: Handle) -> Self {
        WebSeeds { http, runtime }
    }

    /// A connection with `site`, which `lacks` some of its files. Nothing is sent before something is asked for.
    pub fn open(&self, site: Site, lacks: &[FileIndex]) -> WebSeedStream {
        let translator = Translator::new(site.info().clone(), site.url(), lacks);
        let server = Arc::new(Server { http: self.http.clone(), site, moves: Moves::default() });
        WebSeedStream {
            translator,
            server,
            runtime: self.runtime.clone(),
            fetches: VecDeque::new(),
            ended: VecDeque::new(),
            part: None,
            reader: None,
        }
    }
}

/// One connection with a web seed.
#[derive(Debug)]
pub struct WebSeedStream {
    translator: Translator,
    server: Arc<Server>,
    runtime: Handle,
    /// Requests under way, in the order of their bytes.
    fetches: VecDeque<Fetch>,
    /// Those whose bytes were all taken; the end of the reply brings the connection back.
    ended: VecDeque<Fetch>,
    /// Bytes of the first one that are not taken yet.
    part: Option<Part>,
    reader: Option<Waker>,
}

/// One request.
#[derive(Debug)]
struct Fetch {
    parts: mpsc::Receiver<Result<Part, Failure>>,
    task: AbortHandle,
    file: FileIndex,
    /// Bytes that have not been taken yet.
    left: u64,
}

impl Drop for Fetch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl WebSeedStream {
    fn begin_fetches(&mut self) {
        while self.fetches.len() < AT_ONCE
            && let Some(get) = self.translator.next_get()
        {
            let (sender, parts) = mpsc::channel(PARTS_WAITING);
            let server = self.server.clone();
            let task = self.runtime.spawn(async move {
                if let Err(failure) = server.fetch(get, &sender).await {
                    // Nobody listens any more: nobody need know.
                    let _ = sender.send(Err(failure)).await;
                }
            });
            let task = task.abort_handle();
            self.fetches.push_back(Fetch { parts, task, file: get.file, left: get.length });
        }
    }

    /// Gives the translator what there is; the number of bytes that it put into `buf`.
    fn translate(&mut self, buf: &mut [u8]) -> usize {
        let (Some(part), Some(fetch)) = (&mut self.part, self.fetches.front_mut()) else {
            return self.translator.read(&mut &[][..], buf);
        };
        let bytes = part.as_ref();
        let most = usize::try_from(fetch.left).map_or(bytes.len(), |left| bytes.len().min(left));
        let mut body = &bytes[..most];
        let n = self.translator.read(&mut body, buf);
        let taken = (most - body.len()) as u64;
        part.skip(taken);
        fetch.left -= taken;
        let is_used_up = part.as_ref().is_empty();
        if fetch.left == 0 {
            // What the server sent beyond the range is not looked at, nor is its end waited for for long.
            self.ended.extend(self.fetches.pop_front());
            if self.ended.len() > MOST_ENDING {
                self.ended.pop_front();
            }
            self.part = None;
        } else if is_used_up {
            self.part = None;
        }
        n
    }
}

impl Transport for WebSeedStream {
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        loop {
            if self.translator.take_given_up() {
                self.fetches.clear();
                self.part = None;
            }
            self.begin_fetches();
            let had_part = self.part.is_some();
            let n = self.translate(buf);
            if n > 0 {
                return Poll::Ready(Ok(n));
            }
            if had_part {
                // It was used up, or was of no use.
                continue;
            }
            let Some(fetch) = self.fetches.front_mut() else {
                self.reader = Some(cx.waker().clone());
                return Poll::Pending;
            };
            match fetch.parts.poll_recv(cx) {
                Poll::Ready(Some(Ok(part))) => self.part = Some(part),
                Poll::Ready(Some(Err(failure))) => {
                    let failure = self.translator.explain(fetch.file, failure);
                    return Poll::Ready(Err(io::Error::other(failure)));
                }
                // The task ended without a word: it panicked, or its runtime is gone.
                Poll::Ready(None) => return Poll::Ready(Err(io::Error::other(Failure::Broken))),
                Poll::Pending => {
                    self.reader = Some(cx.waker().clone());
                    return Poll::Pending;
                }
            }
        }
    }

    fn poll_write(
        &mut self,
        _cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        for slice in slices {
            self.translator.take(slice);
        }
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
        Poll::Ready(Ok(slices.iter().map(|slice| slice.len()).sum()))
    }
}

/// The other end, as the tasks know it.
#[derive(Debug)]
struct Server {
    http: Http,
    site: Site,
    moves: Moves,
}

/// Where files were found behind redirects, and until when that is believed.
#[derive(Debug, Default)]
struct Moves(Mutex<HashMap<FileIndex, (Place, Instant)>>);

impl Server {
    /// Fetches a range, part by part, and goes on to the end of the reply so that the connection can be used
    /// again.
    async fn fetch(
        &self,
        get: Get,
        parts: &mpsc::Sender<Result<Part, Failure>>,
    ) -> Result<(), Failure> {
        let (mut reply, mut skip) = self.ask(&get).await?;
        let mut left = get.length;
        while left > 0 {
            let part = reply.part().await.map_err(|error| failure(&error))?;
            let mut part = part.ok_or(Failure::Broken)?;
            skip -= part.skip(skip);
            left = left.saturating_sub(part.as_ref().len() as u64);
            if parts.send(Ok(part)).await.is_err() {
                return Ok(());
            }
        }
        // Whether it ends here or goes on or breaks is all the same now.
        let _ = reply.part().await;
        Ok(())
    }

    /// The reply in which the range is, and how many bytes come before it there.
    async fn ask(&self, get: &Get) -> Result<(Streamed, u64), Failure> {
        if let Some(place) = self.moves.get(get.file) {
            match self.ask_at(place, get).await {
                // A place that was found by a redirect is not for ever.
                Err(_) => self.moves.forget(get.file),
                answered => return answered,
            }
        }
        let url = self.site.url_of(get.file).ok_or(Failure::BadUrl)?;
        // A torrent must not make us call what listens on this host or network: as libtorrent has it, files may
        // be there, but not what takes orders.
        let reach = if url.query().is_none() { Reach::Anywhere } else { Reach::Public };
        let (reply, skip) = self.ask_at(Place { url: url.clone(), reach }, get).await?;
        if reply.place.url != url {
            self.moves.remember(get.file, reply.place.clone());
        }
        Ok((reply, skip))
    }

    async fn ask_at(&self, place: Place, get: &Get) -> Result<(Streamed, u64), Failure> {
        let last = get.offset + get.length - 1;
        let asked = self.http.get_part(place, get.offset, last).await;
        let reply = asked.map_err(|error| failure(&error))?;
        let skip = reply::judge(
            Head {
                status: reply.status(),
                content_range: reply.header("content-range"),
                content_length: reply.header("content-length").and_then(|text| text.parse().ok()),
                content_encoding: reply.header("content-encoding"),
                retry_after: reply.header("retry-after"),
            },
            get,
        )?;
        Ok((reply, skip))
    }
}

impl Moves {
    fn get(&self, file: FileIndex) -> Option<Place> {
        self.lock()
            .get(&file)
            .filter(|(_, until)| Instant::now() < *until)
            .map(|(place, _)| place.clone())
    }

    fn remember(&self, file: FileIndex, place: Place) {
        let mut moves = self.lock();
        if moves.len() >= MAX_WEB_SEED_MOVES {
            moves.clear();
        }
        moves.insert(file, (place, Instant::now() + REMEMBERED));
    }

    fn forget(&self, file: FileIndex) {
        self.lock().remove(&file);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<FileIndex, (Place, Instant)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn failure(error: &HttpError) -> Failure {
    match error {
        HttpError::Unreachable(_) | HttpError::Validity { .. } => Failure::Unreachable,
        HttpError::TimedOut => Failure::TimedOut,
        HttpError::Redirect(_) => Failure::Redirect,
        HttpError::TooLarge { .. } | HttpError::Broken(_) => Failure::Broken,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bounded_number_of_moves_is_remembered() {
        let (moves, url) = (Moves::default(), "http://a.example/".parse().expect("a URL"));
        let place = Place { url, reach: Reach::Public };
        let known = |n: usize| {
            moves.remember(FileIndex(n as u32), place.clone());
            moves.lock().len()
        };
        assert_eq!((0..=MAX_WEB_SEED_MOVES).map(known).max(), Some(MAX_WEB_SEED_MOVES));
        assert!(moves.get(FileIndex(MAX_WEB_SEED_MOVES as u32)).is_some());
    }
}
