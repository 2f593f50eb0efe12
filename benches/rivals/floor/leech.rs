//! The floor of a download and of a check: one piece after the other, the `sha1` crate, no thread
//! beside the one that works. A download reads blocks straight to their place in the piece, because
//! a source answers in order, and writes each piece once into new files.

use std::{
    fs::{self, File},
    io::{self, IoSliceMut, Read, Write},
    net::{SocketAddr, TcpStream},
    os::unix::fs::FileExt,
    path::Path,
    thread,
};

use downpour::{
    base::index::{Block, FileIndex, PieceIndex},
    wire::{Message, encode::piece_header, encode::requests},
};
use serde_json::json;
use sha1::Digest;

use crate::torrent::{Connection, REQUEST_QUEUE, Torrent, say};

const HEADER_LEN: usize = 13;
/// Most bytes that are read from a file at once.
const READ_LEN: usize = 256 << 10;

/// Fetches everything from one peer that has everything and answers in order.
pub(crate) fn fetch(
    torrent: &Torrent,
    folder: &Path,
    peer: SocketAddr,
    depth: u32,
) -> io::Result<()> {
    let geometry = torrent.info.geometry();
    let mut connection = Connection::open(TcpStream::connect(peer)?, torrent, 1, true)?;
    connection.send(&[Message::Interested])?;
    let mut stream = connection.stream;
    until_unchoked(&mut stream)?;

    let mut asked = 0;
    let mut ask = |stream: &mut TcpStream, until: u64| {
        let from = asked;
        asked = until.min(torrent.blocks());
        let mut out = Vec::new();
        requests((from..asked).map(|number| torrent.block(number)), &mut out);
        stream.write_all(&out)
    };
    let depth = u64::from(depth.min(REQUEST_QUEUE));
    ask(&mut stream, depth)?;

    let mut done = 0;
    let mut open = None;
    let mut headers = Vec::new();
    let mut piece_bytes = vec![0; geometry.piece_length() as usize];
    for piece in geometry.indices() {
        let blocks = geometry.blocks_in(piece);
        let bytes = &mut piece_bytes[..geometry.piece_len(piece) as usize];
        headers.resize(blocks as usize * HEADER_LEN, 0);
        let all: Vec<Block> = (0..blocks).map(|index| geometry.block_at(piece, index)).collect();
        // No more than was asked for can be waited for.
        for part in (0..all.len()).collect::<Vec<_>>().chunks((depth / 2).max(1) as usize) {
            let range = part[0]..part[part.len() - 1] + 1;
            read_blocks(&mut stream, &all[range.clone()], &mut headers, bytes)?;
            done += range.len() as u64;
            ask(&mut stream, done + depth)?;
        }
        if sha1::Sha1::digest(&*bytes)[..] != torrent.info.piece_hash(piece).0 {
            return Err(io::Error::other("a piece does not match its hash"));
        }
        write(torrent, folder, piece, bytes, &mut open)?;
    }
    say(&json!({"complete": true}));
    Ok(())
}

/// Takes what a source says before it may be asked, byte by byte so that nothing else is read.
fn until_unchoked(stream: &mut TcpStream) -> io::Result<()> {
    loop {
        let mut length = [0; 4];
        stream.read_exact(&mut length)?;
        let mut message = vec![0; u32::from_be_bytes(length).min(1 << 20) as usize];
        stream.read_exact(&mut message)?;
        if message == [1] {
            return Ok(());
        }
    }
}

/// Reads blocks of one piece, in this order and nothing between them, into `piece`.
fn read_blocks(
    stream: &mut TcpStream,
    blocks: &[Block],
    headers: &mut [u8],
    piece: &mut [u8],
) -> io::Result<()> {
    let begin = blocks[0].begin as usize;
    let end = blocks[blocks.len() - 1].begin as usize + blocks[blocks.len() - 1].length as usize;
    let headers = &mut headers[..blocks.len() * HEADER_LEN];
    let mut slices: Vec<IoSliceMut<'_>> = Vec::with_capacity(blocks.len() * 2);
    let parts = piece[begin..end].chunks_mut(downpour::base::units::BLOCK_LEN as usize);
    for (header, part) in headers.chunks_exact_mut(HEADER_LEN).zip(parts) {
        slices.push(IoSliceMut::new(header));
        slices.push(IoSliceMut::new(part));
    }
    let mut rest = slices.as_mut_slice();
    while !rest.is_empty() {
        let read = stream.read_vectored(rest)?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        IoSliceMut::advance_slices(&mut rest, read);
    }
    for (header, block) in headers.chunks_exact(HEADER_LEN).zip(blocks) {
        if header != piece_header(block.piece.0, block.begin, block.length) {
            return Err(io::Error::other("the peer answers out of order"));
        }
    }
    Ok(())
}

/// Writes a piece into its files, new ones made with their final length.
fn write(
    torrent: &Torrent,
    folder: &Path,
    piece: PieceIndex,
    bytes: &[u8],
    open: &mut Option<(FileIndex, File)>,
) -> io::Result<()> {
    let layout = torrent.info.layout();
    let offset = torrent.info.geometry().piece_offset(piece);
    let mut at = 0;
    for span in layout.spans(offset, bytes.len() as u64) {
        if open.as_ref().is_none_or(|(file, _)| *file != span.file) {
            let path = torrent.path(folder, span.file);
            if let (0, Some(parent)) = (span.offset, path.parent()) {
                fs::create_dir_all(parent)?;
            }
            let file = File::options().write(true).create(true).truncate(false).open(path)?;
            *open = Some((span.file, file));
        }
        let (_, file) = open.as_ref().expect("opened just now");
        file.write_all_at(&bytes[at..at + span.length as usize], span.offset)?;
        at += span.length as usize;
    }
    Ok(())
}

/// Hashes every piece in `folder`, the pieces divided among threads; an error if one is wrong.
pub(crate) fn check(torrent: &Torrent, folder: &Path, threads: u32) -> io::Result<()> {
    let pieces = torrent.info.geometry().pieces();
    let part = |n: u32| u64::from(pieces) * u64::from(n) / u64::from(threads.max(1));
    thread::scope(|scope| {
        let all: Vec<_> = (0..threads.max(1))
            .map(|n| scope.spawn(move || check_part(torrent, folder, part(n)..part(n + 1))))
            .collect();
        all.into_iter().try_for_each(|thread| thread.join().expect("a check does not panic"))
    })?;
    say(&json!({"complete": true}));
    Ok(())
}

fn check_part(torrent: &Torrent, folder: &Path, pieces: std::ops::Range<u64>) -> io::Result<()> {
    let geometry = torrent.info.geometry();
    let mut buffer = vec![0; READ_LEN];
    let mut open: Option<(FileIndex, File)> = None;
    for piece in pieces.map(|piece| PieceIndex(piece as u32)) {
        let mut hash = sha1::Sha1::new();
        let (offset, length) = (geometry.piece_offset(piece), geometry.piece_len(piece));
        for span in torrent.info.layout().spans(offset, u64::from(length)) {
            if open.as_ref().is_none_or(|(file, _)| *file != span.file) {
                open = Some((span.file, File::open(torrent.path(folder, span.file))?));
            }
            let (_, file) = open.as_ref().expect("opened just now");
            let mut done = 0;
            while done < span.length {
                let part = &mut buffer[..(span.length - done).min(READ_LEN as u64) as usize];
                file.read_exact_at(part, span.offset + done)?;
                hash.update(&*part);
                done += part.len() as u64;
            }
        }
        if hash.finalize()[..] != torrent.info.piece_hash(piece).0 {
            return Err(io::Error::other("a piece does not match its hash"));
        }
    }
    Ok(())
}
