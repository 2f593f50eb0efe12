//! A peer that has everything and serves everyone: from memory (`source`), or from files in batches,
//! one read for neighbouring blocks and one write for many (`limit seed`). It never chokes and never
//! checks. A thread for each connection; what it sent is said as it changes.

use std::{
    collections::VecDeque,
    fs::File,
    io::{self, IoSlice, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use downpour::{
    base::index::{Block, FileIndex},
    wire::{Decoded, Message, encode::piece_header},
};
use serde_json::json;

use crate::{
    content::Stream,
    torrent::{Connection, Torrent, say},
};

/// Most bytes that one write takes.
const BATCH_LEN: u64 = 1 << 20;
/// How often what was sent is said, if it changed.
const SAY_EVERY: Duration = Duration::from_millis(20);

/// Where the content is.
#[derive(Clone)]
pub(crate) enum Store {
    Memory(Arc<Stream>),
    /// The folder that holds the torrent's file or folder.
    Files(PathBuf),
}

/// What all connections did.
#[derive(Default)]
struct Sent {
    bytes: AtomicU64,
    connections: AtomicU32,
    /// When the first request came and the last write ended, in microseconds since 1970.
    first: AtomicU64,
    last: AtomicU64,
    most_waiting: AtomicU64,
}

/// Spreads sending over time, all connections together.
struct Limiter {
    rate: u64,
    next: Mutex<Option<Instant>>,
}

impl Limiter {
    fn take(&self, bytes: u64) {
        let wait_until = {
            let mut next = self.next.lock().expect("nobody panics with it");
            let now = Instant::now();
            // What was not asked for in time is lost.
            let at = next.map_or(now, |next| next.max(now));
            *next = Some(at + Duration::from_secs_f64(bytes as f64 / self.rate as f64));
            at
        };
        thread::sleep(wait_until.saturating_duration_since(Instant::now()));
    }
}

/// Serves until the process is ended.
pub(crate) fn serve(
    torrent: &Torrent,
    store: Store,
    listen: SocketAddr,
    dial: &[SocketAddr],
    rate: Option<u64>,
) -> io::Result<()> {
    let listener = TcpListener::bind(listen)?;
    let sent = Arc::new(Sent::default());
    let limiter = rate.map(|rate| Arc::new(Limiter { rate, next: Mutex::default() }));
    let start = |stream: TcpStream, dialed| {
        let (torrent, store, sent) = (torrent.clone(), store.clone(), Arc::clone(&sent));
        let limiter = limiter.clone();
        thread::spawn(move || {
            let number = sent.connections.fetch_add(1, Relaxed);
            let served =
                Connection::open(stream, &torrent, number, dialed).and_then(|connection| {
                    Server { torrent, store, sent, limiter, connection, open: None }.run()
                });
            if let Err(error) = served {
                eprintln!("connection {number}: {error}");
            }
        });
    };
    let told = Arc::clone(&sent);
    thread::spawn(move || {
        let mut before = 0;
        loop {
            thread::sleep(SAY_EVERY);
            let bytes = told.bytes.load(Relaxed);
            if bytes != before {
                before = bytes;
                told.say(bytes);
            }
        }
    });
    for peer in dial {
        start(TcpStream::connect(peer)?, true);
    }
    say(&json!({"listening": true}));
    for stream in listener.incoming() {
        start(stream?, false);
    }
    Ok(())
}

impl Sent {
    fn say(&self, bytes: u64) {
        let seconds = |at: &AtomicU64| at.load(Relaxed) as f64 / 1e6;
        say(&json!({
            "sent": bytes,
            "connections": self.connections.load(Relaxed),
            "first": seconds(&self.first),
            "last": seconds(&self.last),
            "most_waiting": self.most_waiting.load(Relaxed),
        }));
    }
}

fn now_us() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.expect("the clock is behind 1970").as_micros() as u64
}

/// One connection.
struct Server {
    torrent: Torrent,
    store: Store,
    sent: Arc<Sent>,
    limiter: Option<Arc<Limiter>>,
    connection: Connection,
    /// The file that was read last.
    open: Option<(FileIndex, File)>,
}

impl Server {
    fn run(mut self) -> io::Result<()> {
        let pieces = self.torrent.info.geometry().pieces();
        let mut bits = vec![0xff; pieces.div_ceil(8) as usize];
        if let (Some(last), rest @ 1..) = (bits.last_mut(), pieces % 8) {
            *last = 0xff << (8 - rest);
        }
        self.connection.send(&[Message::Bitfield(&bits), Message::Unchoke])?;
        let mut waiting: VecDeque<Block> = VecDeque::new();
        let mut buffer = Vec::new();
        loop {
            let geometry = self.torrent.info.geometry();
            let wait = waiting.is_empty();
            let goes_on = self.connection.read(wait, |item| {
                let Decoded::Message(message) = item else { return Ok(()) };
                match message {
                    Message::Request { piece, begin, length } => {
                        let block = geometry
                            .piece(piece)
                            .map(|piece| Block { piece, begin, length })
                            .filter(|block| {
                                u64::from(begin) + u64::from(length)
                                    <= u64::from(geometry.piece_len(block.piece))
                            })
                            .ok_or_else(|| io::Error::other("a request beyond the content"))?;
                        waiting.push_back(block);
                    }
                    Message::Cancel { piece, begin, length } => waiting.retain(|block| {
                        (block.piece.0, block.begin, block.length) != (piece, begin, length)
                    }),
                    _ => {}
                }
                Ok(())
            })?;
            if !goes_on {
                return Ok(());
            }
            self.sent.most_waiting.fetch_max(waiting.len() as u64, Relaxed);
            if waiting.is_empty() {
                continue;
            }
            let _ = self.sent.first.compare_exchange(0, now_us(), Relaxed, Relaxed);
            let mut bytes = 0;
            let mut batch = 0;
            while let Some(block) = waiting.get(batch)
                && (batch == 0 || bytes + u64::from(block.length) <= BATCH_LEN)
                && (batch == 0 || self.limiter.is_none())
            {
                bytes += u64::from(block.length);
                batch += 1;
            }
            if let Some(limiter) = &self.limiter {
                limiter.take(bytes);
            }
            let blocks: Vec<Block> = waiting.drain(..batch).collect();
            self.write(&blocks, &mut buffer)?;
            self.sent.bytes.fetch_add(bytes, Relaxed);
            self.sent.last.fetch_max(now_us(), Relaxed);
        }
    }

    fn write(&mut self, blocks: &[Block], buffer: &mut Vec<u8>) -> io::Result<()> {
        if let Store::Files(folder) = self.store.clone() {
            self.load(&folder, blocks, buffer)?;
        }
        let headers: Vec<[u8; 13]> =
            blocks.iter().map(|b| piece_header(b.piece.0, b.begin, b.length)).collect();
        let mut slices = Vec::with_capacity(blocks.len() * 2);
        let mut at = 0;
        for (block, header) in blocks.iter().zip(&headers) {
            let length = block.length as usize;
            slices.push(IoSlice::new(header));
            slices.push(IoSlice::new(match &self.store {
                Store::Memory(stream) => stream.slice(self.torrent.offset(*block), length),
                Store::Files(_) => &buffer[at..at + length],
            }));
            at += length;
        }
        let mut rest = slices.as_mut_slice();
        while !rest.is_empty() {
            let written = self.connection.stream.write_vectored(rest)?;
            IoSlice::advance_slices(&mut rest, written);
        }
        Ok(())
    }

    /// Reads the blocks into `buffer`, one behind the other; neighbours at once.
    fn load(&mut self, folder: &Path, blocks: &[Block], buffer: &mut Vec<u8>) -> io::Result<()> {
        let total: usize = blocks.iter().map(|block| block.length as usize).sum();
        if buffer.len() < total {
            buffer.resize(total, 0);
        }
        let info = Arc::clone(&self.torrent.info);
        let mut at = 0;
        let mut next = blocks.iter().peekable();
        while let Some(block) = next.next() {
            let offset = self.torrent.offset(*block);
            let mut end = offset + u64::from(block.length);
            while let Some(block) = next.next_if(|b| self.torrent.offset(**b) == end) {
                end += u64::from(block.length);
            }
            for span in info.layout().spans(offset, end - offset) {
                if self.open.as_ref().is_none_or(|(file, _)| *file != span.file) {
                    let file = File::open(self.torrent.path(folder, span.file))?;
                    self.open = Some((span.file, file));
                }
                let (_, file) = self.open.as_ref().expect("opened just now");
                file.read_exact_at(&mut buffer[at..at + span.length as usize], span.offset)?;
                at += span.length as usize;
            }
        }
        Ok(())
    }
}
