//! Room for announces in flight: silent trackers must not keep the others waiting.
//!
//! An announce begins in a prompt place. If it has no answer after [`PATIENCE`] its tracker counts
//! as silent, and it goes on in one of the patient places, or is given up when there is none. As
//! long as a tracker is silent its announces never take a prompt place. So any number of dead
//! trackers delays the others by some rounds of that patience, once. Whom to ask instead is decided
//! in [`crate::tracker::tiers`].

use std::{
    collections::HashSet,
    future::Future,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::Semaphore, time::timeout};

use crate::net::tracker_client::{TrackerError, host_of};

/// Announces whose tracker may still answer soon, of all torrents.
const PROMPT: usize = 32;
/// Announces whose tracker is silent, of all torrents: each holds a socket.
const PATIENT: usize = 64;
/// A tracker without an answer for so long is silent: by then a datagram is sent again (BEP 15).
const PATIENCE: Duration = Duration::from_secs(15);
/// Silent trackers remembered; above that we begin anew.
const MAX_SILENT: usize = 1_000;

/// The room of one session. Copies share it.
#[derive(Debug, Clone)]
pub(super) struct Room(Arc<Places>);

#[derive(Debug)]
struct Places {
    prompt: Semaphore,
    patient: Semaphore,
    /// Hosts, with port, of the trackers that are silent.
    silent: Mutex<HashSet<String>>,
}

impl Room {
    pub(super) fn new() -> Self {
        let silent = Mutex::default();
        let (prompt, patient) = (Semaphore::new(PROMPT), Semaphore::new(PATIENT));
        Room(Arc::new(Places { prompt, patient, silent }))
    }

    /// Carries out an announce to the tracker at `url`, as soon as there is room. Calls `slow` at
    /// most once: when it goes on although the tracker is silent.
    pub(super) async fn carry_out<T>(
        &self,
        url: &str,
        announce: impl Future<Output = Result<T, TrackerError>>,
        slow: impl FnOnce(),
    ) -> Result<T, TrackerError> {
        let host = host_of(url);
        let mut announce = pin!(announce);
        let mut result = None;
        if !self.is_silent(&host) {
            // The semaphore is never closed.
            let _place = self.0.prompt.acquire().await;
            // Others may have found out while this one waited.
            if !self.is_silent(&host) {
                result = timeout(PATIENCE, announce.as_mut()).await.ok();
            }
        }
        let result = match result {
            Some(result) => result,
            None => match self.0.patient.try_acquire() {
                Ok(_place) => {
                    self.set_silent(&host, true);
                    slow();
                    announce.await
                }
                Err(_) => Err(TrackerError::TimedOut { host: host.clone() }),
            },
        };
        self.set_silent(&host, matches!(result, Err(TrackerError::TimedOut { .. })));
        result
    }

    fn is_silent(&self, host: &str) -> bool {
        self.silent().contains(host)
    }

    fn set_silent(&self, host: &str, is_silent: bool) {
        let mut silent = self.silent();
        if !is_silent {
            silent.remove(host);
        } else if !silent.contains(host) {
            if silent.len() >= MAX_SILENT {
                silent.clear();
            }
            silent.insert(host.to_owned());
        }
    }

    fn silent(&self) -> MutexGuard<'_, HashSet<String>> {
        self.0.silent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        future::{pending, ready},
        sync::atomic::{AtomicUsize, Ordering::Relaxed},
    };
    use tokio::{
        task::JoinSet,
        time::{Instant, sleep},
    };

    type Answer = Result<(), TrackerError>;

    #[tokio::test(start_paused = true)]
    async fn dead_trackers_delay_the_others_once() {
        let (room, start) = (Room::new(), Instant::now());
        let mut dead = JoinSet::new();
        for n in 0..1000 {
            let room = room.clone();
            let url = format!("udp://dead{}.example:1/", n % 10);
            dead.spawn(async move { room.carry_out(&url, pending::<Answer>(), || {}).await });
        }
        // Time stands still until all of them have done what they can.
        sleep(Duration::from_millis(1)).await;
        for _ in 0..3 {
            let good = room.carry_out("http://good.example/announce", ready(Ok(())), || {}).await;
            good.expect("it answers");
        }
        assert_eq!(start.elapsed().as_secs(), PATIENCE.as_secs());
        sleep(Duration::from_millis(1)).await;
        let given_up = std::iter::from_fn(|| dead.try_join_next()).count();
        assert_eq!(given_up, 1000 - PATIENT, "each of the others was given up, and none asks on");
    }

    #[test]
    fn a_bounded_number_of_silent_trackers_is_remembered() {
        let room = Room::new();
        let known = |n: usize| {
            room.set_silent(&format!("dead{n}.example"), true);
            room.silent().len()
        };
        assert_eq!((0..=MAX_SILENT).map(known).max(), Some(MAX_SILENT));
    }

    #[tokio::test(start_paused = true)]
    async fn a_tracker_that_answers_late_is_silent_no_longer() {
        let room = Room::new();
        let (url, slow) = ("udp://late.example:1/", AtomicUsize::new(0));
        let tell = || {
            slow.fetch_add(1, Relaxed);
        };
        let late = async {
            sleep(PATIENCE * 2).await;
            Answer::Ok(())
        };
        room.carry_out(url, late, tell).await.expect("it answers");
        assert!(!room.is_silent("late.example:1"));
        room.carry_out(url, ready(Ok(())), tell).await.expect("it answers");
        assert_eq!(slow.load(Relaxed), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_tracker_that_is_silent_again_is_known_by_its_host() {
        let room = Room::new();
        let no = || ready(Answer::Err(TrackerError::TimedOut { host: "a.example".into() }));
        room.carry_out("http://a.example/announce?x", no(), || {}).await.expect_err("silent");
        let slow = AtomicUsize::new(0);
        let tell = || {
            slow.fetch_add(1, Relaxed);
        };
        room.carry_out("http://a.example/announce?y", ready(Ok(())), tell).await.expect("answers");
        assert_eq!(slow.load(Relaxed), 1, "its line did not wait for it");
        assert!(!room.is_silent("a.example"));
    }
}
