//! The other side of every measurement in `benches/rivals`, and the floor under it: peers that cost
//! next to nothing, so that the client measured is what limits a transfer.
//!
//! `source` serves and `sink` takes, neither with disk or hashes; `relay` delays; `limit` is the least
//! that a client has to do; `payload` makes the content, `preheat` and `hold` the memory for it. Plain
//! blocking sockets and threads. Of downpour only the torrent file and the wire codec are used here,
//! never its engine, disk or hashes. What a run is made of is decided in `run.py`, not here.

// This is a driver: it reads the clock and has threads.
#![allow(clippy::disallowed_methods)]

mod content;
mod leech;
mod relay;
mod seed;
mod sink;
mod torrent;

use std::{hint::black_box, io, net::SocketAddr, path::PathBuf, process::ExitCode, time::Duration};

use clap::{Parser, Subcommand};

use crate::{seed::Store, torrent::Torrent};

#[derive(Parser)]
#[command(about = "Peers that cost next to nothing, and the least that a client has to do")]
struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    /// What `cargo bench` adds; without a command nothing is done.
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Write a payload: one file, or a folder of many small ones.
    Payload {
        path: PathBuf,
        #[arg(long)]
        bytes: u64,
        #[arg(long)]
        files: Option<u64>,
    },
    /// Touch so much memory and give it back, so that the next one to use it need not wait for it.
    Preheat {
        #[arg(long)]
        bytes: u64,
    },
    /// Take all free memory but so much, until standard input ends.
    Hold {
        #[arg(long)]
        leave: u64,
    },
    /// Serve a payload from memory to everyone who asks.
    Source {
        torrent: PathBuf,
        #[arg(long)]
        listen: SocketAddr,
        /// Peers to connect to.
        #[arg(long)]
        dial: Vec<SocketAddr>,
        /// Bytes a second, to all together.
        #[arg(long)]
        rate: Option<u64>,
        /// Serve a wrong byte every 4 MiB.
        #[arg(long)]
        corrupt: bool,
    },
    /// Take the whole payload from one client and throw it away.
    Sink {
        torrent: PathBuf,
        #[arg(long)]
        peer: SocketAddr,
        #[arg(long, default_value_t = 1)]
        connections: u32,
        /// Most requests that wait on one connection.
        #[arg(long, default_value_t = 256)]
        depth: u32,
        /// Give up after so many seconds.
        #[arg(long, default_value_t = 120)]
        timeout: u64,
    },
    /// Pass connections on, each direction later by a delay; or join pairs of clients that listen.
    Relay {
        #[arg(long)]
        listen: Option<SocketAddr>,
        #[arg(long)]
        target: Option<SocketAddr>,
        #[arg(long, default_value_t = 0)]
        delay_ms: u64,
        /// Two clients that only listen, `A,B`.
        #[arg(long)]
        join: Vec<String>,
        /// The torrent that joined clients speak of.
        #[arg(long)]
        torrent: Option<PathBuf>,
    },
    /// The least that a client has to do: one thread, one piece after the other.
    #[command(subcommand)]
    Limit(Limit),
}

#[derive(Subcommand)]
enum Limit {
    /// Fetch from one peer, hash each piece and write it into new files.
    Leech {
        torrent: PathBuf,
        folder: PathBuf,
        #[arg(long)]
        peer: SocketAddr,
        #[arg(long, default_value_t = 1000)]
        depth: u32,
    },
    /// Serve from files.
    Seed {
        torrent: PathBuf,
        folder: PathBuf,
        #[arg(long)]
        listen: SocketAddr,
    },
    /// Hash what is there.
    Check {
        torrent: PathBuf,
        folder: PathBuf,
        #[arg(long, default_value_t = 1)]
        threads: u32,
    },
}

fn main() -> ExitCode {
    let args = Args::parse();
    let Some(command) = args.command else {
        println!("This is a part of `benches/rivals/run.py`. See --help.");
        return ExitCode::SUCCESS;
    };
    match run(command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("floor: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> io::Result<()> {
    match command {
        Command::Payload { path, bytes, files } => content::write(&path, bytes, files),
        Command::Preheat { bytes } => {
            black_box(touched(bytes));
            Ok(())
        }
        Command::Hold { leave } => {
            let held = touched(memory_free()?.saturating_sub(leave));
            println!("{{\"held\":{}}}", held.len() as u64 * PART);
            io::copy(&mut io::stdin(), &mut io::sink())?;
            black_box(held);
            Ok(())
        }
        Command::Source { torrent, listen, dial, rate, corrupt } => {
            let store = Store::Memory(content::Stream::new(corrupt).into());
            seed::serve(&Torrent::read(&torrent)?, store, listen, &dial, rate)
        }
        Command::Sink { torrent, peer, connections, depth, timeout } => {
            let within = Duration::from_secs(timeout);
            sink::take(Torrent::read(&torrent)?, peer, connections, depth, within)
        }
        Command::Relay { listen, target, delay_ms, join, torrent } => {
            let delay = Duration::from_millis(delay_ms);
            let torrent = torrent.map(|path| Torrent::read(&path)).transpose()?;
            relay::run(listen.zip(target), delay, &join, torrent)
        }
        Command::Limit(Limit::Leech { torrent, folder, peer, depth }) => {
            leech::fetch(&Torrent::read(&torrent)?, &folder, peer, depth)
        }
        Command::Limit(Limit::Seed { torrent, folder, listen }) => {
            let torrent = Torrent::read(&torrent)?;
            let store = Store::Files(folder);
            seed::serve(&torrent, store, listen, &[], None)
        }
        Command::Limit(Limit::Check { torrent, folder, threads }) => {
            leech::check(&Torrent::read(&torrent)?, &folder, threads)
        }
    }
}

/// Memory is taken in parts of so many bytes.
const PART: u64 = 64 << 20;

/// So much memory, touched: virtual machines give free memory back to their host, and whoever uses it
/// first pays for that.
fn touched(bytes: u64) -> Vec<Vec<u8>> {
    (0..bytes / PART).map(|_| vec![1; PART as usize]).collect()
}

/// Bytes that nobody uses.
fn memory_free() -> io::Result<u64> {
    let all = std::fs::read_to_string("/proc/meminfo")?;
    let line = all.lines().find_map(|line| line.strip_prefix("MemFree:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    Ok(kib.ok_or_else(|| io::Error::other("/proc/meminfo does not tell MemFree"))? << 10)
}
