//! A peer that takes a whole payload from one client over some connections and throws it away. Every
//! block has to be one that was asked for; every sixteenth is compared with what it should be. A
//! connection takes its share as fast as it gets it, so one that is never unchoked holds nobody up.

use std::{
    collections::VecDeque,
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, AtomicU64, Ordering::SeqCst},
        mpsc,
    },
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use downpour::{
    base::{index::Block, slab::Chunk},
    wire::{Decoded, ExtensionHandshake, Message, encode::requests},
};
use serde_json::json;

use crate::{
    content::Stream,
    torrent::{Connection, Torrent, dial, say},
};

/// Blocks that a connection takes at once: neighbours, as clients ask for them.
const RUN: u64 = 16;
/// One block of so many is compared.
const COMPARE_ONE_OF: u64 = 16;
/// How long a connection without anything to do waits until it looks again.
const IDLE: Duration = Duration::from_millis(100);

/// What the connections share.
struct Work {
    torrent: Torrent,
    stream: Stream,
    depth: u32,
    began: Instant,
    /// Blocks from this number on were not asked for yet.
    next: AtomicU64,
    /// Blocks that were asked for in vain.
    returned: Mutex<Vec<Block>>,
    left: AtomicU64,
    /// When the first request went out, in microseconds from `began`; 0 before.
    first: AtomicU64,
    /// When the first byte of content came.
    first_byte: AtomicU64,
    served: AtomicU32,
    compared: AtomicU64,
}

impl Work {
    fn now(&self) -> u64 {
        self.began.elapsed().as_micros().max(1) as u64
    }

    /// Some blocks to ask for; none if all are asked for.
    fn some(&self, out: &mut Vec<Block>) {
        let mut returned = self.returned.lock().expect("nobody panics with it");
        if !returned.is_empty() {
            let from = returned.len().saturating_sub(RUN as usize);
            out.extend(returned.drain(from..));
            return;
        }
        drop(returned);
        let all = self.torrent.blocks();
        let from = self.next.fetch_add(RUN, SeqCst);
        out.extend((from..(from + RUN).min(all)).map(|number| self.torrent.block(number)));
    }
}

/// Takes everything, then says how long it took; an error when it is not done in time.
pub(crate) fn take(
    torrent: Torrent,
    peer: SocketAddr,
    connections: u32,
    depth: u32,
    within: Duration,
) -> io::Result<()> {
    let bytes = torrent.info.geometry().total();
    let work = Arc::new(Work {
        left: AtomicU64::new(torrent.blocks()),
        torrent,
        stream: Stream::new(false),
        depth,
        began: Instant::now(),
        next: AtomicU64::new(0),
        returned: Mutex::default(),
        first: AtomicU64::new(0),
        first_byte: AtomicU64::new(0),
        served: AtomicU32::new(0),
        compared: AtomicU64::new(0),
    });
    let began = SystemTime::now().duration_since(UNIX_EPOCH).map_err(io::Error::other)?;
    let (done, end) = mpsc::channel();
    for number in 0..connections {
        let (work, done) = (Arc::clone(&work), done.clone());
        thread::spawn(move || {
            if let Err(error) = Taker::open(&work, peer, number).and_then(|t| t.run(&done)) {
                eprintln!("connection {number}: {error}");
                if error.kind() == io::ErrorKind::InvalidData {
                    let _ = done.send(Err(error));
                }
            }
        });
    }
    drop(done);
    let last = end
        .recv_timeout(within)
        .map_err(|_| io::Error::other("not everything came, or not in time"))??;
    let first = work.first.load(SeqCst);
    say(&json!({
        "bytes": bytes,
        "seconds": (last - first) as f64 / 1e6,
        "began": began.as_secs_f64() + first as f64 / 1e6,
        "first_byte": (work.first_byte.load(SeqCst) - first) as f64 / 1e6,
        "connections": work.served.load(SeqCst),
        "compared": work.compared.load(SeqCst),
    }));
    Ok(())
}

/// One connection.
struct Taker<'w> {
    work: &'w Work,
    connection: Connection,
    /// Blocks that were asked for, oldest first.
    asked: VecDeque<Block>,
    view: View,
}

/// What the client said so far.
struct View {
    unchoked: bool,
    has: u32,
    depth: u32,
    served: bool,
    /// The block that is coming, whether it is compared, and how much of it came.
    coming: Option<(Block, bool)>,
    at: u64,
}

impl<'w> Taker<'w> {
    fn open(work: &'w Work, peer: SocketAddr, number: u32) -> io::Result<Self> {
        let mut connection = Connection::open(dial(1, number, peer)?, &work.torrent, number, true)?;
        connection.stream.set_read_timeout(Some(IDLE))?;
        connection.send(&[Message::Interested])?;
        let depth = work.depth;
        let view = View { unchoked: false, has: 0, depth, served: false, coming: None, at: 0 };
        Ok(Taker { work, connection, asked: VecDeque::new(), view })
    }

    fn run(mut self, done: &mpsc::Sender<io::Result<u64>>) -> io::Result<()> {
        let result = self.turns(done);
        self.work.returned.lock().expect("nobody panics with it").extend(self.asked.drain(..));
        result
    }

    fn turns(&mut self, done: &mpsc::Sender<io::Result<u64>>) -> io::Result<()> {
        let mut out = Vec::new();
        loop {
            self.ask(&mut out)?;
            let (work, view, asked) = (self.work, &mut self.view, &mut self.asked);
            let read = self.connection.read(true, |item| view.take(work, asked, item, done));
            match read {
                Ok(true) => {}
                Ok(false) => return Err(io::Error::other("the client closed the connection")),
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
                    ) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Asks for more when there is room for a quarter of what may wait.
    fn ask(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        let depth = self.view.depth as usize;
        let all = self.work.torrent.info.geometry().pieces();
        let full = self.asked.len() > depth.saturating_sub((depth / 4).max(1));
        if !self.view.unchoked || self.view.has < all || full {
            return Ok(());
        }
        let mut blocks = Vec::new();
        while self.asked.len() + blocks.len() + RUN as usize <= depth.max(RUN as usize) {
            let before = blocks.len();
            self.work.some(&mut blocks);
            if blocks.len() == before {
                break;
            }
        }
        if blocks.is_empty() {
            return Ok(());
        }
        let _ = self.work.first.compare_exchange(0, self.work.now(), SeqCst, SeqCst);
        out.clear();
        requests(blocks.iter().copied(), out);
        self.asked.extend(blocks);
        io::Write::write_all(&mut self.connection.stream, out)
    }
}

impl View {
    fn take(
        &mut self,
        work: &Work,
        asked: &mut VecDeque<Block>,
        item: Decoded<'_>,
        done: &mpsc::Sender<io::Result<u64>>,
    ) -> io::Result<()> {
        let wrong = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
        match item {
            Decoded::Message(Message::Bitfield(bits)) => {
                self.has = bits.iter().map(|byte| byte.count_ones()).sum();
            }
            Decoded::Message(Message::Have(_)) => self.has += 1,
            Decoded::Message(Message::HaveAll) => self.has = u32::MAX,
            Decoded::Message(Message::Unchoke) => self.unchoked = true,
            Decoded::Message(Message::Choke) => {
                self.unchoked = false;
                work.returned.lock().expect("nobody panics with it").extend(asked.drain(..));
            }
            Decoded::Message(Message::Extended { id: 0, payload }) => {
                if let Some(reqq) = ExtensionHandshake::decode(payload).ok().and_then(|h| h.reqq) {
                    self.depth = work.depth.min(reqq.max(RUN as u32));
                }
            }
            Decoded::PieceStart { piece, begin, length } => {
                let same = |b: &Block| (b.piece.0, b.begin, b.length) == (piece, begin, length);
                self.coming =
                    asked.iter().position(same).and_then(|at| asked.remove(at)).map(|b| {
                        let number = work.torrent.offset(b) / u64::from(b.length.max(1));
                        (b, number.is_multiple_of(COMPARE_ONE_OF))
                    });
                self.at = 0;
                if work.first_byte.load(SeqCst) == 0 {
                    let _ = work.first_byte.compare_exchange(0, work.now(), SeqCst, SeqCst);
                }
            }
            Decoded::PieceData(data) => {
                let Chunk::Bytes(data) = data else { return Err(wrong("no bytes")) };
                if let Some((block, true)) = self.coming {
                    let offset = work.torrent.offset(block) + self.at;
                    if work.stream.slice(offset, data.len()) != data {
                        return Err(wrong("a block has wrong content"));
                    }
                }
                self.at += data.len() as u64;
            }
            Decoded::PieceEnd => {
                // One that was given back after a choke may come all the same; it counts nothing.
                let Some((_, compared)) = self.coming.take() else { return Ok(()) };
                work.compared.fetch_add(u64::from(compared), SeqCst);
                if !std::mem::replace(&mut self.served, true) {
                    work.served.fetch_add(1, SeqCst);
                }
                if work.left.fetch_sub(1, SeqCst) == 1 {
                    let _ = done.send(Ok(work.now()));
                }
            }
            Decoded::Message(_) => {}
        }
        Ok(())
    }
}
