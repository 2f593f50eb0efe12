//! What a gateway grants: asked for again and again as long as a task runs, and taken back at its end.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{Notify, mpsc, oneshot, watch},
    time::{Instant as Clock, sleep_until, timeout},
};

use crate::{base::time::Instant, gateway::upkeep::Upkeep};

/// Longest time for taking everything back at the end.
const END_LIMIT: Duration = Duration::from_secs(2);

/// Who asks, and whom, and for what.
pub(super) trait Ask: Send + 'static {
    /// What is granted.
    type Granted: Copy + PartialEq + Send + Sync + 'static;

    /// Asks for everything: what is granted, and for how long. `granted` is what others believe.
    fn ask(
        &mut self,
        granted: &watch::Sender<Option<Self::Granted>>,
    ) -> impl Future<Output = Option<(Self::Granted, Duration)>> + Send;

    /// Gives back what we have.
    fn take_back(&mut self) -> impl Future<Output = ()> + Send;
}

/// A task that keeps something up. Dropping it lets that lapse, as far as the gateway lets it.
#[derive(Debug)]
pub(super) struct Kept<T> {
    granted: watch::Receiver<Option<T>>,
    again: Arc<Notify>,
    end: mpsc::Sender<oneshot::Sender<()>>,
}

impl<T: Copy + PartialEq + Send + Sync + 'static> Kept<T> {
    /// Begins in the current tokio runtime.
    pub(super) fn start(who: impl Ask<Granted = T>) -> Self {
        let (sender, granted) = watch::channel(None);
        let (end, ends) = mpsc::channel(1);
        let again = Arc::new(Notify::new());
        tokio::spawn(run(who, sender, again.clone(), ends));
        Kept { granted, again, end }
    }

    /// What is granted, as it changes; `None` as long as that is nothing.
    pub(super) fn granted(&self) -> watch::Receiver<Option<T>> {
        self.granted.clone()
    }

    /// What has everything asked for anew when it is notified.
    pub(super) fn again(&self) -> Arc<Notify> {
        self.again.clone()
    }

    /// Takes everything back. What is not done after two seconds is left undone.
    pub(super) async fn end(&self) {
        let (reply, done) = oneshot::channel();
        if self.end.send(reply).await.is_ok() {
            // It may have ended.
            let _ = done.await;
        }
    }
}

async fn run<A: Ask>(
    mut who: A,
    granted: watch::Sender<Option<A::Granted>>,
    again: Arc<Notify>,
    mut ends: mpsc::Receiver<oneshot::Sender<()>>,
) {
    let start = Clock::now();
    let mut upkeep = Upkeep::new(Instant::ZERO);
    let ended = loop {
        let due = start + upkeep.poll_timeout().since(Instant::ZERO);
        tokio::select! {
            () = sleep_until(due) => {}
            () = again.notified() => upkeep.again(Instant::ZERO + start.elapsed()),
            ended = ends.recv() => break ended,
        }
        let asked = tokio::select! {
            asked = who.ask(&granted) => asked,
            ended = ends.recv() => break ended,
        };
        let now = Instant::ZERO + start.elapsed();
        let news = match asked {
            Some((news, lifetime)) => {
                upkeep.granted(now, lifetime);
                Some(news)
            }
            None if upkeep.failed(now) => None,
            None => continue,
        };
        granted.send_if_modified(|last| std::mem::replace(last, news) != news);
    };
    // Else it was dropped.
    if let Some(reply) = ended {
        let _ = timeout(END_LIMIT, who.take_back()).await;
        let _ = reply.send(());
    }
}
