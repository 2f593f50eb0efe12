//! SIGINT and SIGTERM: the first asks to end well, the second ends at once.

use std::{pin::pin, time::Duration};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::sleep,
};

use super::exit::{Exit, Failure};

/// Longest time that ending well may take.
const GRACE: Duration = Duration::from_secs(5);
/// A signal so soon after the first is the same one: `timeout`, `sudo` and the like pass on what the
/// terminal sends to all of them anyway.
const SAME: Duration = Duration::from_millis(250);

/// The two signals by which a person or a supervisor stops us.
#[derive(Debug)]
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// Takes over both from now on.
    pub(super) fn listen() -> Result<Self, Failure> {
        let take = |kind| {
            signal(kind).map_err(|e| {
                Failure::new(Exit::Unexpected, "could not listen for signals").cause(&e)
            })
        };
        Ok(Signals {
            interrupt: take(SignalKind::interrupt())?,
            terminate: take(SignalKind::terminate())?,
        })
    }

    /// The next one, as the exit code it stands for.
    pub(super) async fn next(&mut self) -> Exit {
        tokio::select! {
            Some(()) = self.interrupt.recv() => Exit::Interrupted,
            Some(()) = self.terminate.recv() => Exit::Terminated,
            // Neither stream ends while the runtime lives.
            else => std::future::pending().await,
        }
    }

    /// Waits for `ending`, five seconds at most. Another signal leaves the program at once.
    pub(super) async fn end_well(&mut self, ending: impl Future<Output = ()>) {
        let mut ending = pin!(ending);
        let mut grace = pin!(sleep(GRACE));
        let mut same = pin!(sleep(SAME));
        loop {
            tokio::select! {
                () = &mut ending => return,
                () = &mut grace => return,
                // Armed by being waited for.
                () = &mut same, if !same.is_elapsed() => {}
                exit = self.next() => {
                    if same.is_elapsed() {
                        std::process::exit(exit.code().into());
                    }
                }
            }
        }
    }
}
