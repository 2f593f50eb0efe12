//! What the peers here know of a torrent, how two of them greet, and one connection's messages.

use std::{
    fs,
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    sync::Arc,
};

use downpour::{
    base::{
        hash::Sha1Hash,
        id::PeerId,
        index::{Block, FileIndex},
        slab::Chunk,
        units::BLOCK_LEN,
    },
    metainfo::{Info, Metainfo},
    wire::{
        Decoded, Decoder, ExtensionHandshake, HANDSHAKE_LEN, Handshake, Message, Reserved,
        encode::encode,
    },
};
use socket2::{Domain, Socket, Type};

/// Requests that a peer here lets wait.
pub(crate) const REQUEST_QUEUE: u32 = 2_000;
/// Bytes that are read at once.
const READ_LEN: usize = 256 << 10;

/// A torrent file, read.
#[derive(Clone)]
pub(crate) struct Torrent {
    pub(crate) info: Arc<Info>,
    pub(crate) hash: Sha1Hash,
}

impl Torrent {
    pub(crate) fn read(path: &Path) -> io::Result<Self> {
        let metainfo = Metainfo::from_bytes(&fs::read(path)?).map_err(io::Error::other)?;
        let hash = metainfo.info.info_hash().wire();
        Ok(Torrent { info: metainfo.info, hash })
    }

    /// Where a block begins in the content.
    pub(crate) fn offset(&self, block: Block) -> u64 {
        self.info.geometry().piece_offset(block.piece) + u64::from(block.begin)
    }

    /// Blocks of all pieces together.
    pub(crate) fn blocks(&self) -> u64 {
        let geometry = self.info.geometry();
        let last = geometry.indices().next_back();
        last.map_or(0, |last| {
            u64::from(last.0) * self.blocks_per_piece() + u64::from(geometry.blocks_in(last))
        })
    }

    /// The block that has this number, counted through all pieces; there has to be one.
    pub(crate) fn block(&self, number: u64) -> Block {
        let per_piece = self.blocks_per_piece();
        let piece = self.info.geometry().piece((number / per_piece) as u32).expect("in range");
        self.info.geometry().block_at(piece, (number % per_piece) as u32)
    }

    fn blocks_per_piece(&self) -> u64 {
        u64::from(self.info.geometry().piece_length().div_ceil(BLOCK_LEN))
    }

    /// Where a file lies below `folder`.
    pub(crate) fn path(&self, folder: &Path, file: FileIndex) -> PathBuf {
        folder.join(self.info.layout().file(file).expect("in range").path.to_path_buf())
    }

    fn handshake(&self, peer_id: u32) -> [u8; HANDSHAKE_LEN] {
        let mut id = *b"-FL0001-000000000000";
        id[12..].copy_from_slice(format!("{peer_id:08x}").as_bytes());
        // The extension protocol, for the length of the request queue. Not the fast extension.
        let reserved = Reserved([0, 0, 0, 0, 0, 0x10, 0, 0]);
        Handshake { reserved, info_hash: self.hash, peer_id: PeerId(id) }.to_bytes()
    }
}

/// One connection after the handshakes.
pub(crate) struct Connection {
    pub(crate) stream: TcpStream,
    decoder: Decoder,
    buffer: Box<[u8]>,
}

impl Connection {
    /// Exchanges handshakes: first ours if we `dialed`, else first the peer's. Then says what our
    /// request queue is, if the peer speaks extensions.
    pub(crate) fn open(
        mut stream: TcpStream,
        torrent: &Torrent,
        number: u32,
        dialed: bool,
    ) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        let ours = torrent.handshake(number);
        if dialed {
            stream.write_all(&ours)?;
        }
        let mut theirs = [0; HANDSHAKE_LEN];
        stream.read_exact(&mut theirs)?;
        let theirs = Handshake::from_bytes(&theirs).map_err(io::Error::other)?;
        if theirs.info_hash != torrent.hash {
            return Err(io::Error::other("a peer speaks of another torrent"));
        }
        if !dialed {
            stream.write_all(&ours)?;
        }
        let mut connection = Connection {
            stream,
            decoder: Decoder::new(torrent.info.geometry().pieces().div_ceil(8)),
            buffer: vec![0; READ_LEN].into(),
        };
        if theirs.reserved.extended() {
            let reqq = Some(REQUEST_QUEUE);
            let hello = ExtensionHandshake { reqq, ..Default::default() }.encode();
            connection.send(&[Message::Extended { id: 0, payload: &hello }])?;
        }
        Ok(connection)
    }

    pub(crate) fn send(&mut self, messages: &[Message<'_>]) -> io::Result<()> {
        let mut bytes = Vec::new();
        messages.iter().for_each(|message| encode(message, &mut bytes));
        self.stream.write_all(&bytes)
    }

    /// Reads once, and hands each item on. `false` at the end of the stream.
    pub(crate) fn read(
        &mut self,
        wait: bool,
        mut take: impl FnMut(Decoded<'_>) -> io::Result<()>,
    ) -> io::Result<bool> {
        let length = if wait {
            self.stream.read(&mut self.buffer)?
        } else {
            let flags = rustix::net::RecvFlags::DONTWAIT;
            match rustix::net::recv(&self.stream, &mut self.buffer[..], flags) {
                Ok((length, _)) => length,
                Err(rustix::io::Errno::AGAIN) => return Ok(true),
                Err(error) => return Err(error.into()),
            }
        };
        let mut input = Chunk::Bytes(&self.buffer[..length]);
        while let Some(item) = self.decoder.next(&mut input).map_err(io::Error::other)? {
            take(item)?;
        }
        Ok(length > 0)
    }
}

/// Connects from a loopback address that only `number` in this `net` has, as peers come from
/// different ones: some clients take one connection from each.
pub(crate) fn dial(net: u8, number: u32, peer: SocketAddr) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    let own: SocketAddr = ([127, net, (number / 250) as u8, (number % 250 + 1) as u8], 0).into();
    socket.bind(&own.into())?;
    socket.connect(&peer.into())?;
    Ok(socket.into())
}

/// A line for the harness, written at once.
pub(crate) fn say(line: &serde_json::Value) {
    let mut out = io::stdout().lock();
    // A closed pipe means that nobody listens any more.
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}
