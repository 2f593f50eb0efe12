//! The bounds on input we do not trust, each with its reason.
//!
//! Where a parser, a queue or a table meets bytes from outside, its limit is a constant here, or beside it where
//! nobody else is concerned. SECURITY.md lists them all.

use std::time::Duration;

/// Largest `.torrent` file: 2 million v1 pieces need 40 MB of hashes.
pub const MAX_TORRENT_BYTES: usize = 64 << 20;
/// Nesting in metainfo: real files use 5, v2 file trees one level per path component.
pub const MAX_METAINFO_DEPTH: usize = 128;
/// Bytes ignored behind a torrent or a tracker's reply: some sites append line ends.
pub const MAX_TRAILING_BYTES: usize = 16;
/// Nesting in messages from trackers and peers: nothing real uses more than 5.
pub const MAX_MESSAGE_DEPTH: usize = 16;
/// Values in one metainfo file: a torrent of a million files needs 8 million.
pub const MAX_METAINFO_TOKENS: usize = 16_000_000;
/// Values in one message from a tracker or peer: 2,000 dictionary peers need 14,000.
pub const MAX_MESSAGE_TOKENS: usize = 64_000;
/// Files in one torrent: each costs about 200 bytes.
pub const MAX_FILES: usize = 1_000_000;
/// Pieces in one torrent: each costs about 8 bytes and 20 of hash.
pub const MAX_PIECES: u32 = 4_000_000;
/// Longest piece. Common tools stop at 16 MiB to 128 MiB; its blocks are tracked one by one.
pub const MAX_PIECE_LENGTH: u32 = 512 << 20;
/// Path components of one file, and bytes of one component (a Linux file system takes 255).
pub const MAX_PATH_DEPTH: usize = 64;
/// Bytes of one path component.
pub const MAX_NAME_BYTES: usize = 255;
/// Bytes of one whole path (Linux takes 4,096 with the terminating zero and the output folder).
pub const MAX_PATH_BYTES: usize = 3_072;
/// Trackers, web seeds or DHT nodes we keep from one torrent or magnet.
pub const MAX_URLS: usize = 256;
/// Bytes of one tracker or web seed URL.
pub const MAX_URL_BYTES: usize = 2_048;
/// Bytes we keep of a comment or another text to show.
pub const MAX_TEXT_BYTES: usize = 16 << 10;
/// Largest file with resume state: a million files need 24 MB, 4 million pieces half a MB.
pub const MAX_RESUME_BYTES: usize = 64 << 20;
/// Addresses of peers kept from one run to the next: enough to be back in the swarm at once.
pub const MAX_RESUME_PEERS: usize = 100;
/// Longest account of why a torrent is unfinished: some dozens of causes, each in three sentences.
pub const MAX_WHY_BYTES: usize = 64 << 10;
/// Largest configuration file: every option many times over.
pub const MAX_CONFIG_BYTES: usize = 1 << 20;
/// Largest file of certificates: a system's whole store is below 1 MiB.
pub const MAX_CERTIFICATES_BYTES: usize = 16 << 20;
/// Largest block list, also once it is unpacked: the largest that are offered have 20 MB.
pub const MAX_BLOCKLIST_BYTES: usize = 128 << 20;
/// Longest line of a block list: names have below 300 bytes.
pub const MAX_BLOCKLIST_LINE: usize = 4 << 10;
/// Ranges in all block lists together: six times the largest; 16 MB of IPv4, 64 MB if all were IPv6.
pub const MAX_BLOCKED_RANGES: usize = 2_000_000;
/// Tiers of trackers looked at in one torrent: most of them could be empty or doubles.
pub const MAX_TIERS_READ: usize = 16 * MAX_URLS;
/// Longest name of a host, a user or a password that proxies are told: its length is one byte.
pub const MAX_PROXY_NAME: usize = 255;
/// Longest head of a proxy's answer: real ones have below 500 bytes.
pub const MAX_PROXY_REPLY: usize = 8 << 10;
/// Datagrams that wait for whoever they are for; above that they are lost, as in the system's own queue.
pub const MAX_DATAGRAMS_WAITING: usize = 256;
/// Longest answer of a name server that we take in one datagram: without EDNS it is 512 bytes.
pub const MAX_DNS_DATAGRAM: usize = 4 << 10;
/// Longest file of hosts or name servers that is read: one that blocks advertisers has 2 MB.
pub const MAX_HOSTS_BYTES: u64 = 8 << 20;
/// Longest magnet link.
pub const MAX_MAGNET_BYTES: usize = 64 << 10;

/// Longest block a peer may send or ask for (BEP 3 says 2^14; some clients ask for up to 128 KiB).
pub const MAX_REQUEST_LEN: u32 = 128 << 10;
/// Longest extension message: a metadata piece is 16 KiB, a BEP 10 handshake or 200 PEX peers stay far
/// below. A peer can make us hold so much.
pub const MAX_EXTENSION_MESSAGE: u32 = 128 << 10;
/// Characters kept of the client name in an extension handshake: real ones have below 40.
pub const MAX_CLIENT_NAME: usize = 64;
/// Bytes of messages we hold for a peer that does not read them, its bitfield not counted: rejects of
/// a full queue of requests fit several times.
pub const MAX_UNREAD: usize = 256 << 10;
/// Bytes kept of what a peer says about pieces before we know how many there are: a bitfield of half a
/// million pieces. Whoever says more is met anew once we know.
pub const MAX_EARLY: usize = 64 << 10;
/// Most bytes of messages inside the handshake of an encrypted connection: real ones have 68 there.
pub const MAX_INITIAL_PAYLOAD: usize = 1 << 10;
/// Bytes that may be in hand of one connection that is not encrypted yet: key, padding twice, payload.
pub const MAX_MSE_KEPT: usize = 8 << 10;
/// Requests a peer may have waiting here; advertised as `reqq`.
pub const MAX_PEER_REQUESTS: usize = 2_048;
/// What we assume a peer takes that does not send `reqq` (libtorrent's value for strangers).
pub const DEFAULT_REQQ: u32 = 250;
/// Most we ever keep outstanding at one peer, whatever it offers.
pub const MAX_OUTSTANDING: u32 = 4_096;

/// Bytes of a tracker's reply: 2,000 dictionary peers are below 200 KB.
pub const MAX_TRACKER_REPLY: usize = 1 << 20;
/// Peers taken from one tracker reply.
pub const MAX_PEERS_PER_REPLY: usize = 2_000;
/// Addresses remembered for one torrent.
pub const MAX_CANDIDATES: usize = 4_000;
/// Shortest announce interval we obey; protects a tracker that says 0.
pub const MIN_ANNOUNCE_INTERVAL: Duration = Duration::from_secs(60);
/// Longest announce interval we obey; protects us from one that says never.
pub const MAX_ANNOUNCE_INTERVAL: Duration = Duration::from_secs(3 * 3600);
/// The interval of a reply that names none: what most trackers say.
pub const DEFAULT_ANNOUNCE_INTERVAL: Duration = Duration::from_secs(30 * 60);
/// Bytes kept of a tracker's failure reason or warning: one sentence.
pub const MAX_TRACKER_TEXT: usize = 256;
/// Bytes of a `tracker id` that we keep and send back in every URL.
pub const MAX_TRACKER_ID: usize = 128;
/// Redirects followed for one HTTP request; real trackers need one, from http to https.
pub const MAX_REDIRECTS: usize = 4;

/// Requests that wait at a web seed: 16 MiB, what a fast line takes in while it waits for a far server.
pub const MAX_WEB_SEED_REQUESTS: u32 = 1_024;
/// Web seeds of one torrent that are used at a time: one or two fill a line, and each holds memory.
pub const MAX_WEB_SEEDS_OPEN: usize = 4;
/// Files that a web seed may lack and still be used: each costs a request.
pub const MAX_FILES_LACKED: usize = 16;
/// Longest time for which a web seed that is busy can send us away (`Retry-After`).
pub const MAX_WEB_SEED_WAIT: Duration = Duration::from_secs(3600);
/// Files of which is remembered where their web seed sent us: those that are fetched at a time, and some more.
pub const MAX_WEB_SEED_MOVES: usize = 64;

/// Swarms in the embedded tracker: each costs about 200 bytes.
pub const MAX_TRACKER_SWARMS: usize = 50_000;
/// Peers in one swarm of the embedded tracker: only a sample is ever given out.
pub const MAX_TRACKER_SWARM_PEERS: usize = 20_000;
/// Peers in all swarms of the embedded tracker: each costs about 200 bytes.
pub const MAX_TRACKER_PEERS: usize = 200_000;
/// Peers of one address (IPv6: one /64) in one swarm: many clients behind one translator.
pub const MAX_TRACKER_PEERS_PER_ADDRESS: usize = 256;
/// Peers of one address (IPv6: one /64) in all swarms: a client with some thousand torrents.
pub const MAX_TRACKER_ENTRIES_PER_ADDRESS: usize = 10_000;
/// Peers the embedded tracker gives in one reply, whatever `numwant` says.
pub const MAX_TRACKER_NUMWANT: u32 = 200;
/// Info hashes in one scrape: what fits the longest request line we take.
pub const MAX_SCRAPE_HASHES: usize = 64;

/// Info hashes in one UDP scrape: what fits a datagram (BEP 15).
pub const MAX_UDP_SCRAPE_HASHES: usize = 74;
/// Longest datagram we read from a tracker, and so from anybody: 2,000 peers in IPv4 are 12 KB, and no longer
/// one arrives.
pub const MAX_TRACKER_DATAGRAM: usize = 16 << 10;
/// Connection ids of UDP trackers that we remember: a few for each of a thousand torrents.
pub const MAX_UDP_CONNECTIONS: usize = 4_000;

/// Connections whose handshake is not here yet: a few seconds of a busy swarm's dials.
pub const MAX_HALF_OPEN: usize = 300;
/// Those of one address (IPv6: one /64): some clients behind one translator, one flooder.
pub const MAX_HALF_OPEN_PER_ADDRESS: usize = 16;

/// Connections of one address (IPv6: one /64) in one torrent: some clients behind one translator, and nobody who would
/// have all of them.
pub const MAX_PEERS_PER_ADDRESS: usize = 16;

/// A connection that has not finished its handshake by then is closed.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// A dial that has not connected by then has failed.
pub const DIAL_TIMEOUT: Duration = Duration::from_secs(8);
/// We send a keep-alive after so long without another message (BEP 3: generally two minutes).
pub const KEEP_ALIVE: Duration = Duration::from_secs(100);
/// A peer that has sent nothing for so long is gone.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(180);
/// A peer that takes nothing of what waits for it for so long, a mebibyte at most, keeps others from the memory that
/// it lies in.
pub const UNREAD_TIMEOUT: Duration = Duration::from_secs(120);

/// Peers of one kind taken from one message of peer exchange (BEP 11 has 50, or more in the first).
pub const MAX_PEX_PEERS: usize = 100;
/// Peers taken from one connection by peer exchange: more than anybody is connected to.
pub const MAX_PEX_TAKEN: usize = 1_000;
/// Longest announce on the local network (BEP 14: 1,400 bytes).
pub const MAX_LSD_DATAGRAM: usize = 1_400;
/// Torrents of one announce on the local network: of 53 bytes each.
pub const MAX_LSD_TORRENTS: usize = 24;
/// Announces from the local network that are looked at in a second: it is nobody's to flood us.
pub const MAX_LSD_PER_SECOND: u32 = 50;
/// Longest datagram of a gateway that is read: that of PCP (RFC 6887, section 7), and an answer to a search.
pub const MAX_GATEWAY_DATAGRAM: usize = 2_048;
/// Devices of the local network that are looked at as gateways in one search: one is usual.
pub const MAX_GATEWAYS: usize = 8;
/// Longest description of a gateway: 5 to 30 KB are usual.
pub const MAX_IGD_DESCRIPTION: usize = 256 << 10;
/// Longest reply of a gateway to what it is asked: one value, or an error.
pub const MAX_IGD_REPLY: usize = 16 << 10;
/// Elements and texts of a gateway's description: some hundreds are usual.
pub const MAX_IGD_NODES: u32 = 10_000;
/// Attributes in one answer of a gateway, namespaces among them: real descriptions have some dozens.
pub const MAX_IGD_ATTRIBUTES: usize = 1_000;
/// Services of one gateway that are asked: one for each line it may have.
pub const MAX_IGD_SERVICES: usize = 4;
/// Longest datagram of the DHT that is read: an item of 1,000 bytes, its signature and nodes of both
/// families take 1,750.
pub const MAX_DHT_DATAGRAM: usize = 2_048;
/// Values in one datagram of the DHT: each takes two bytes or more.
pub const MAX_DHT_TOKENS: usize = MAX_DHT_DATAGRAM / 2;
/// Bytes of a transaction id that we send back: clients use 2 to 8.
pub const MAX_DHT_TRANSACTION: usize = 32;
/// Nodes taken from one list of a reply: eight are due (BEP 5), some send sixteen.
pub const MAX_DHT_NODES_READ: usize = 16;
/// Nodes that one search keeps in mind whose ids fit their addresses, and a quarter of others.
pub const MAX_DHT_CANDIDATES: usize = 128;
/// Peers that one search takes from the DHT.
pub const MAX_DHT_PEERS_FOUND: usize = 1_000;
/// Nodes that one search asks at most: twenty or thirty are usual.
pub const MAX_DHT_ASKED: usize = 300;
/// Searches of the DHT at a time: each has four queries or so in flight.
pub const MAX_DHT_SEARCHES: usize = 32;
/// Nodes asked at a time whether they are there: a flood of queries makes no flood of ours.
pub const MAX_DHT_CHECKS: usize = 16;
/// Addresses remembered by which the DHT can be entered.
pub const MAX_DHT_ENTRANCES: usize = 256;
/// Nodes of the DHT kept from one run to the next, of each family.
pub const MAX_DHT_SAVED: usize = 200;
/// Torrents of which this node of the DHT keeps peers: 2,000 of 100 take 7 MB when somebody fills them.
pub const MAX_DHT_TORRENTS: usize = 2_000;
/// Peers kept of one torrent.
pub const MAX_DHT_PEERS: usize = 100;
/// Of them, those of one network: the hosts behind one address, as a rule.
pub const MAX_DHT_PEERS_OF_ONE: usize = 4;
/// Bytes of an item's value (BEP 44).
pub const MAX_DHT_ITEM: usize = 1_000;
/// Bytes of an item's salt (BEP 44).
pub const MAX_DHT_SALT: usize = 64;
/// Items that this node of the DHT keeps: 1.3 MB when all are as large as they may be.
pub const MAX_DHT_ITEMS: usize = 1_000;
