//! Asking every tracker of a torrent how many peers it knows: what `show --scrape` does.
//!
//! A facade over the tracker client: all at once, each within a time. Nothing is announced.

use std::{path::PathBuf, time::Duration};

use tokio::{task::JoinSet, time::timeout};

use super::{SessionError, draw_seed};
pub use crate::tracker::scrape::ScrapeCounts;
use crate::{
    base::{
        hash::{InfoHash, Sha1Hash},
        rng::Rng,
    },
    net::{
        http::{Http, HttpConfig},
        outlet::Outlet,
        tracker_client::{TrackerClient, TrackerError, host_of},
        udp_hub::UdpHub,
        udp_tracker::UdpTrackers,
    },
};

/// What has not answered by then is reported as silent: a person waits.
const PATIENCE: Duration = Duration::from_secs(12);

/// What one tracker said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scraped {
    /// Its tier, from 0.
    pub tier: usize,
    /// The tracker.
    pub url: String,
    /// Its counts; `None` if it does not know the torrent.
    pub counts: Result<Option<ScrapeCounts>, TrackerError>,
}

/// Asks the trackers of `tiers` about a torrent, by way of `outlet`; the answers are in their order. Certificates in
/// `ca_file` (PEM) are trusted besides the usual ones. To be called inside a tokio runtime.
///
/// # Errors
/// [`SessionError`] if there is nothing to ask with; what a tracker does is in its [`Scraped`].
pub async fn scrape(
    tiers: &[Vec<String>],
    info_hash: InfoHash,
    outlet: &Outlet,
    ca_file: Option<PathBuf>,
) -> Result<Vec<Scraped>, SessionError> {
    let http = Http::new(&HttpConfig { ca_file, ..HttpConfig::new(outlet.clone()) })?;
    let udp = UdpTrackers::new(UdpHub::new(outlet.clone(), None, true, 0), Rng::new(draw_seed()?));
    let (client, hash) = (TrackerClient { http, udp }, info_hash.wire());
    let trackers =
        tiers.iter().enumerate().flat_map(|(tier, urls)| urls.iter().map(move |url| (tier, url)));
    let mut asked = JoinSet::new();
    for (place, (tier, url)) in trackers.enumerate() {
        let (client, url) = (client.clone(), url.clone());
        asked.spawn(async move {
            let counts = within_patience(&client, &url, hash).await;
            (place, Scraped { tier, url, counts })
        });
    }
    let mut scraped = asked.join_all().await;
    scraped.sort_unstable_by_key(|(place, _)| *place);
    Ok(scraped.into_iter().map(|(_, scraped)| scraped).collect())
}

async fn within_patience(
    client: &TrackerClient,
    url: &str,
    hash: Sha1Hash,
) -> Result<Option<ScrapeCounts>, TrackerError> {
    match timeout(PATIENCE, client.scrape(url, hash)).await {
        Ok(result) => result,
        Err(_) => Err(TrackerError::TimedOut { host: host_of(url) }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::tracker_host::{TrackerConfig, TrackerHost};

    #[tokio::test]
    async fn every_tracker_answers_in_its_place() {
        let listen = "127.0.0.1:0".parse().expect("valid");
        let host = TrackerHost::start(TrackerConfig::new(listen)).expect("listening");
        let addr = host.local_addr();
        let tiers = [
            vec![format!("http://{addr}/announce"), format!("udp://{addr}/announce")],
            vec![format!("http://{addr}/stats"), "ws://t.example/announce".to_owned()],
        ];
        let hash = InfoHash { v1: Some(Sha1Hash([7; 20])), v2: None };
        let scraped = scrape(&tiers, hash, &Outlet::default(), None).await.expect("asked");
        let urls: Vec<&String> = scraped.iter().map(|s| &s.url).collect();
        assert_eq!(urls, tiers.iter().flatten().collect::<Vec<_>>());
        assert_eq!(scraped.iter().map(|s| s.tier).collect::<Vec<_>>(), [0, 0, 1, 1]);
        // Over UDP there is no word for a torrent that the tracker does not know.
        let counts = [Ok(None), Ok(Some(ScrapeCounts::default()))];
        assert_eq!(scraped[..2].iter().map(|s| s.counts.clone()).collect::<Vec<_>>(), counts);
        let no_scrape = TrackerError::NoScrape { host: addr.to_string() };
        let unsupported = TrackerError::Unsupported { scheme: "ws".to_owned() };
        assert_eq!((&scraped[2].counts, &scraped[3].counts), (&Err(no_scrape), &Err(unsupported)));
        host.shutdown().await;
    }
}
