//! Passes connections on, each direction later by a delay and as fast as it comes otherwise: so a
//! distance looks to the peers on loopback, except that TCP itself does not see it. Also joins two
//! clients that only listen, by saying each of them hello.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use downpour::wire::{HANDSHAKE_LEN, Handshake, Reserved};
use serde_json::json;

use crate::torrent::{Torrent, dial, say};

/// Most bytes that are read at once.
const PART_LEN: usize = 64 << 10;
/// Parts on their way in one direction: half a GiB a second for a second.
const PARTS: usize = 8 << 10;
/// How long a client may take until it greets.
const GREETING: Duration = Duration::from_secs(10);

/// Serves until the process is ended.
pub(crate) fn run(
    route: Option<(SocketAddr, SocketAddr)>,
    delay: Duration,
    join: &[String],
    torrent: Option<Torrent>,
) -> io::Result<()> {
    let listener = route.map(|(listen, _)| TcpListener::bind(listen)).transpose()?;
    if let Some(torrent) = torrent {
        for (number, pair) in (0..).zip(join) {
            let (a, b) = pair.split_once(',').ok_or_else(|| io::Error::other("a pair is A,B"))?;
            let address = |text: &str| text.parse().map_err(io::Error::other);
            let (a, b) = (address(a)?, address(b)?);
            // A client that is not ready yet hangs up.
            let since = Instant::now();
            let (a, b) = loop {
                match introduce(&torrent, number, a, b) {
                    Err(_) if since.elapsed() < GREETING => thread::sleep(GREETING / 50),
                    met => break met?,
                }
            };
            connect(a, b, delay)?;
        }
    }
    say(&json!({"listening": true}));
    let (Some(listener), Some((_, target))) = (listener, route) else {
        loop {
            thread::park();
        }
    };
    for near in listener.incoming() {
        connect(near?, TcpStream::connect(target)?, delay)?;
    }
    Ok(())
}

/// Makes two clients that listen greet one another: the first one by a handshake of ours, with what
/// most clients speak, the second one by the first one's answer.
fn introduce(
    torrent: &Torrent,
    number: u32,
    a: SocketAddr,
    b: SocketAddr,
) -> io::Result<(TcpStream, TcpStream)> {
    let (mut a, mut b) = (dial(2, number, a)?, dial(3, number, b)?);
    let mut id = *b"-FL0001-joined000000";
    id[14..].copy_from_slice(format!("{number:06}").as_bytes());
    let ours = Handshake {
        reserved: Reserved::ours(false),
        info_hash: torrent.hash,
        peer_id: downpour::base::id::PeerId(id),
    };
    a.write_all(&ours.to_bytes())?;
    let mut answer = [0; HANDSHAKE_LEN];
    a.read_exact(&mut answer)?;
    b.write_all(&answer)?;
    b.read_exact(&mut answer)?;
    Ok((a, b))
}

fn connect(a: TcpStream, b: TcpStream, delay: Duration) -> io::Result<()> {
    for (from, to) in [(a.try_clone()?, b.try_clone()?), (b, a)] {
        from.set_nodelay(true)?;
        if delay.is_zero() {
            thread::spawn(move || pass(from, to));
        } else {
            delayed(from, to, delay);
        }
    }
    Ok(())
}

fn pass(mut from: TcpStream, mut to: TcpStream) {
    let mut buffer = vec![0; 4 * PART_LEN];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        if to.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

fn delayed(mut from: TcpStream, mut to: TcpStream, delay: Duration) {
    let (send, receive) = mpsc::sync_channel::<(Instant, Vec<u8>)>(PARTS);
    let (give_back, take_back) = mpsc::channel::<Vec<u8>>();
    thread::spawn(move || {
        loop {
            let mut part = take_back.try_recv().unwrap_or_default();
            part.resize(PART_LEN, 0);
            let Ok(length @ 1..) = from.read(&mut part) else { return };
            part.truncate(length);
            if send.send((Instant::now() + delay, part)).is_err() {
                return;
            }
        }
    });
    thread::spawn(move || {
        while let Ok((due, part)) = receive.recv() {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            if to.write_all(&part).is_err() {
                return;
            }
            let _ = give_back.send(part);
        }
        let _ = to.shutdown(Shutdown::Write);
    });
}
