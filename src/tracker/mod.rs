//! Trackers, both sides: what is announced and answered, as values and bytes, and when.
//!
//! Pure: no sockets, no clock, no global randomness. `net/tracker_client.rs` carries announces
//! out, `net/tracker_server.rs` answers them.
//!
//! | file | is | BEP |
//! |---|---|---|
//! | [`announce`] | requests and replies as values | 3 |
//! | [`http`] | the client's side over HTTP: URL out, reply in | 3, 7, 23, 24, 31 |
//! | [`http_host`] | the tracker's side over HTTP: query in, reply out | 3, 7, 23, 48 |
//! | [`scrape`] | the client's side of a scrape over HTTP | 48 |
//! | [`udp`] | both sides' datagrams | 15, 41 |
//! | [`udp_client`] | one exchange with a UDP tracker: connect, ask, ask again | 15 |
//! | [`udp_host`] | the tracker's side over UDP: connection ids | 15 |
//! | [`tiers`] | which tracker is due when, with what event; one of them is in `member` | 12 |
//! | [`swarms`] | the embedded tracker's peers | 3, 7, 48 |

pub mod announce;
pub mod http;
pub mod http_host;
mod member;
pub mod scrape;
pub mod swarms;
pub mod tiers;
pub mod udp;
pub mod udp_client;
pub mod udp_host;
