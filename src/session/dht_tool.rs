//! One question to the DHT without any torrent: what the command `dht` is made of.
//!
//! A facade over the node: it only asks (BEP 43), knows what the sessions of this user have learnt, and ends
//! with the last question.

use std::{path::Path, sync::Arc, time::Duration};

use tokio::time::timeout;

use super::{DhtOptions, SessionError, dht, draw_seed};
use crate::{
    base::rng::Rng,
    bencode::{Limits, Value},
    net::{dht::Dht, outlet::Outlet, udp_hub::UdpHub},
};
pub use crate::{
    dht::{
        Contact, Found, Item, NodeId, Question, Summary,
        item::{ItemError, SecretKey, target_of},
    },
    net::dht::Search,
};

/// A node that asks.
#[derive(Debug)]
pub struct DhtTool {
    dht: Dht,
}

impl DhtTool {
    /// Starts a node in the current tokio runtime that asks by way of `outlet`, on any free UDP port unless `options` name one. What
    /// sessions have learnt is in `state_dir`.
    ///
    /// # Errors
    /// [`SessionError`]: no socket is to be had.
    pub fn start(
        options: &DhtOptions,
        outlet: &Outlet,
        ipv6: bool,
        state_dir: Option<&Path>,
    ) -> Result<Self, SessionError> {
        let options = DhtOptions { read_only: true, ..options.clone() };
        let rng = Rng::new(draw_seed()?);
        let hub = UdpHub::new(outlet.clone(), None, ipv6, 0);
        let dht = dht::start(&options, hub, state_dir, Arc::default(), rng);
        Ok(DhtTool { dht: dht.map_err(SessionError::Dht)? })
    }

    /// Waits until somebody in the network has answered, at most for so long; whether somebody has.
    pub async fn enter(&self, limit: Duration) -> bool {
        // The first question is what makes it enter.
        let _first = self.dht.search(Question::FindNode(NodeId([0; 20])), true);
        timeout(limit, self.dht.entered()).await.is_ok()
    }

    /// Asks.
    pub fn ask(&self, question: Question) -> Search {
        self.dht.search(question, true)
    }
}

/// Random bytes, for a key or a place to look at.
///
/// # Errors
/// The system has none.
pub fn random<const N: usize>() -> Result<[u8; N], SessionError> {
    super::random().map_err(SessionError::System)
}

/// The text that an item's value is, or its bencoding if it is something else than a string.
pub fn text_of(value: &[u8]) -> &[u8] {
    let string = Value::scan(value, Limits::DHT).ok().and_then(Value::as_bytes);
    string.unwrap_or(value)
}

/// A text as an item's value.
pub fn value_of(text: &[u8]) -> Vec<u8> {
    [format!("{}:", text.len()).as_bytes(), text].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_and_values_are_two_sides_of_one_thing() {
        assert_eq!(value_of(b"hello"), b"5:hello");
        assert_eq!(text_of(b"5:hello"), b"hello");
        assert_eq!(text_of(b"d1:ai1ee"), b"d1:ai1ee");
        assert_eq!(text_of(b"nonsense"), b"nonsense");
    }
}
