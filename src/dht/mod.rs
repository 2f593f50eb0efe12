//! A node of the distributed hash table: who has a torrent, without any tracker (BEP 5, 32, 42, 43, 44, 51).
//!
//! ```text
//! Node         a node of one or two address families: asks, answers, keeps its table
//!   search       what somebody wants to know or to store, from first question to last answer
//!     lookup       the way to the nodes closest to an id
//!   serve        what it answers to queries
//!   table        the nodes it knows
//!   peers, item  what is stored here
//!   guard        write tokens, and a bound on answers
//!   address      our own address, by vote
//! message      datagrams as values
//! id           ids, and how far apart they are
//! saved        what one run leaves for the next
//! rounds       when a torrent searches and announces itself
//! ```
//!
//! Pure: datagrams in and out, time and a seed are arguments. Sockets and look-ups of names are in
//! `net/dht.rs`; which torrents are announced is `session`'s affair.

mod address;
mod guard;
pub mod id;
pub mod item;
mod lookup;
pub mod message;
mod node;
mod peers;
mod rounds;
pub mod saved;
mod search;
mod serve;
mod table;

pub use guard::Key;
pub use id::NodeId;
pub use item::Item;
pub use node::{Config, Node, Output, Status};
pub use rounds::{NO_ENTRANCE_AFTER, Round, Rounds};
pub use search::{Announce, Found, Question, SearchId, Summary};
pub use table::Contact;
