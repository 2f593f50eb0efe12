//! What moves bytes between hosts: TCP and UDP, HTTP, names, proxies, and what speaks over them: trackers, web
//! seeds, the DHT, local discovery, port mapping.
//!
//! Sockets, but no torrents: who is dialled and what is said is decided above or in the pure
//! folders.

pub mod accept;
pub mod dht;
pub mod encryption;
pub mod http;
pub mod http_server;
pub mod lsd;
pub mod memory;
pub mod name_service;
pub mod outlet;
pub mod port_mapping;
pub mod proxy;
pub mod reach;
pub mod resolver;
pub mod sockets;
pub mod tcp;
pub mod tracker_client;
pub mod tracker_server;
pub mod transport;
pub mod udp;
pub mod udp_hub;
mod udp_relay;
pub mod udp_server;
pub mod udp_tracker;
pub mod web_seed;
pub mod whereabouts;
