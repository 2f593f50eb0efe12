//! How the last announce to each tracker of a torrent ended, and its last search of the DHT: what may say why it
//! has no peers.

use std::{collections::HashMap, sync::Arc};

use crate::{
    net::tracker_client::TrackerError,
    tracker::announce::AnnounceReply,
    why::{Dht, Trouble},
};

/// What came of asking for the peers of one torrent.
#[derive(Debug)]
pub(super) struct Outcomes {
    trackers: HashMap<Arc<str>, Result<(), Trouble>>,
    pub(super) dht: Dht,
}

impl Outcomes {
    /// Nothing so far; whether the DHT is to be asked.
    pub(super) fn new(asks_dht: bool) -> Self {
        let dht = if asks_dht { Dht::Asked } else { Dht::Off };
        Outcomes { trackers: HashMap::new(), dht }
    }

    /// The tracker at `url` has answered or failed.
    pub(super) fn answered(&mut self, url: Arc<str>, result: &Result<AnnounceReply, TrackerError>) {
        self.trackers.insert(url, result.as_ref().map(|_| ()).map_err(trouble));
    }

    /// A search of the DHT has ended.
    pub(super) fn searched(&mut self, nodes: u32, peers: usize) {
        self.dht = if nodes == 0 { Dht::Silent } else { Dht::Answered(nodes, peers) };
    }

    /// How the last announce to `url` ended, if one has.
    pub(super) fn last(&self, url: &str) -> Option<Result<(), Trouble>> {
        self.trackers.get(url).copied()
    }
}

fn trouble(error: &TrackerError) -> Trouble {
    match error {
        TrackerError::Refused { .. } => Trouble::Refused,
        TrackerError::Unreachable { .. } => Trouble::Unreachable,
        TrackerError::TimedOut { .. } => Trouble::TimedOut,
        TrackerError::Validity { early: true, .. } => Trouble::NotYetValid,
        TrackerError::Validity { early: false, .. } => Trouble::Expired,
        // It is overloaded, or what is behind it does not answer.
        TrackerError::Status { status: 408 | 429 | 500.., .. } => Trouble::TimedOut,
        TrackerError::BadUrl
        | TrackerError::Forbidden { .. }
        | TrackerError::NoScrape { .. }
        | TrackerError::Unsupported { .. }
        | TrackerError::Redirected { .. }
        | TrackerError::Status { .. }
        | TrackerError::Malformed { .. } => Trouble::Useless,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_word_of_each_tracker_counts() {
        let mut outcomes = Outcomes::new(true);
        assert_eq!((outcomes.last("http://a.example/"), outcomes.dht), (None, Dht::Asked));
        let silent = TrackerError::TimedOut { host: "a.example".to_owned() };
        outcomes.answered("http://a.example/".into(), &Err(silent));
        assert_eq!(outcomes.last("http://a.example/"), Some(Err(Trouble::TimedOut)));
        outcomes.answered("http://a.example/".into(), &Ok(AnnounceReply::default()));
        assert_eq!(outcomes.last("http://a.example/"), Some(Ok(())));
        outcomes.searched(0, 0);
        assert_eq!(outcomes.dht, Dht::Silent);
        outcomes.searched(8, 1);
        assert_eq!(outcomes.dht, Dht::Answered(8, 1));
    }
}
