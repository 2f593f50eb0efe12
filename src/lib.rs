//! downpour: a BitTorrent client, as a library and as a program.
//!
//! Everything that *decides* is pure: no sockets, no files, no threads, no clock, no global
//! randomness; `now` and a seed are arguments. Everything that *moves bytes* is a thin driver. The
//! same machines run under two of them: [`session`], over real sockets and disks, and [`sim`], in
//! virtual time.
//!
//! # To use it
//!
//! [`session::Session`] is the face for programs: start one, [`add`](session::Session::add) a
//! [`metainfo::Metainfo`], wait for the handle it gives. The command line is built on nothing else.
//!
//! # Map
//!
//! Imports only point down: `tests/architecture.rs` says who may import whom, and that each module is named here.
//!
//! | level | module | is |
//! |---|---|---|
//! | 5 | [`cli`] | arguments, settings, commands, progress bars, tables, exit codes, the log; what is never told |
//! | 4 | [`session`] | the running program: shards, turns, registry, discovery, tools; the public face |
//! | 4 | [`sim`] | the other driver: a seeded world of links, disks, trackers and rogues |
//! | 3 | [`net`] | every socket and by which way it goes, TCP, accepting, the HTTP client and server, names, proxies, the UDP that all share, trackers over HTTP and UDP, the drivers of the DHT and of local discovery, port mapping, web seeds |
//! | 3 | [`disk`] | worker threads: verify, write, read, check; the pool of open files |
//! | 2b | [`torrent`] | one swarm: owns pieces and peers; metadata, exchange, fetching, serving, choking, blame, when web seeds are used |
//! | 2a | [`pieces`] | the piece manager: state of each piece, rarity, picker, assembly, disk jobs |
//! | 2a | [`peer`] | one connection: flags, requests, pipeline depth, uploads, outbox |
//! | 2a | [`gateway`] | what routers are asked so that peers get in: PCP, NAT-PMP, UPnP; what of it is believed |
//! | 2a | [`dht`] | a node of the distributed hash table: messages, routing tables, searches, storage |
//! | 2a | [`lsd`] | the local network: when torrents are announced there, whom of the others we look at |
//! | 2a | [`webseed`] | HTTP servers as peers: the peer-wire protocol on one side, ranges of files on the other |
//! | 2a | [`tracker`] | announces, tiers and timing, the swarms of the embedded tracker |
//! | 1b | [`why`] | from evidence to causes: why a torrent is slow or stuck, and what to do about it |
//! | 1b | [`resume`] | what one run leaves for the next: its codec, and what of it to believe |
//! | 1a | [`proxy`] | proxies by their names; what is said to them, SOCKS5 and HTTP |
//! | 1a | [`metainfo`] | torrent files, magnet links, file layout, safe paths, the builder |
//! | 1a | [`mse`] | message stream encryption: both sides of its handshake, its ciphers |
//! | 1a | [`wire`] | the peer-wire protocol as bytes and values |
//! | 0b | [`bencode`] | the scanner that everything bencoded passes, and the writer |
//! | 0a | [`base`] | hashes, indices, geometry, slabs, time, randomness, rates, blocked addresses, limits |
//!
//! # A block's way
//!
//! Down: a socket is readable → `session::turn` reads up to 256 KiB into the shard's one buffer →
//! [`torrent::Torrent::read`] splits it in place ([`wire::Decoder`]) and copies payload into a slab
//! ([`base::slab`]) that was lent when the block was picked → the last block of a piece makes a
//! [`pieces::job::DiskJob`] → [`disk`] hashes the slabs and writes them to their final place → the
//! event sets the bit, and every peer finds the piece in the have log at its next write. Of long pieces
//! each full slab is hashed and written by itself, and a fast peer is asked for several side by side.
//!
//! Up: a request waits in [`peer::uploads`] → neighbouring requests become one run, one positional
//! read → header, slice, header, slice in one vectored write ([`peer::outbox`]).
//!
//! # What always holds
//!
//! - A number from the wire becomes an index only through [`base::geometry::Geometry`].
//! - Bencoding reaches `serde_bencode` only after [`bencode`]'s scanner has passed it; the info hash is
//!   taken over the original bytes.
//! - Memory for a block is lent when the block is asked for; what we asked for always has a place.
//! - Nothing is claimed, served or announced before its piece matched its hash, or its owner vouched for the file.
//! - Nothing is written outside the output folder.
//! - A blocked address never becomes one to dial, a connection from there is closed before it is read, and
//!   the DHT neither asks nor hears it: one place each (`torrent::candidates`, `net::accept`, [`dht::Node`]).
//! - A socket that leads anywhere is opened, and a name looked up, by a [`net::outlet::Outlet`] only, which says by
//!   which way.
//! - Every bound on foreign input is a constant, most of them in [`base::limits`]; SECURITY.md lists them.

pub mod base;
pub mod bencode;
pub mod cli;
pub mod dht;
pub mod disk;
pub mod gateway;
pub mod lsd;
pub mod metainfo;
pub mod mse;
pub mod net;
pub mod peer;
pub mod pieces;
pub mod proxy;
pub mod resume;
pub mod session;
pub mod sim;
pub mod torrent;
pub mod tracker;
pub mod webseed;
pub mod why;
pub mod wire;
