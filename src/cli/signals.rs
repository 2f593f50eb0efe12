//! SIGINT and SIGTERM: the first asks to end well, the second ends at once.

use std::{pin::pin, time::Duration};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::sleep,
};

use super::{
    exit::{Exit, Failure},
    terminal::Terminal,
};

/// Longest time that ending well may take.
const GRACE: Duration = Duration::from_secs(5);
/// Ending well takes so long without a word.
const PATIENCE: Duration = Duration::from_millis(500);
/// A signal so soon after the first is the same one: `timeout`, `sudo` and the like pass on what the
/// terminal sends to all of them anyway.
const SAME: Duration = Duration::from_millis(250);

/// The two signals by which a person or a supervisor stops us.
#[derive(Debug)]
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

/// A write beyond the limit of a file's size (`ulimit -f`) is to fail, and not to end the program without
/// a word: once somebody listens for the signal it does. To be called inside a runtime.
pub(super) fn outlive_file_limit() {
    #[cfg(unix)]
    let _ = signal(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw()));
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

    /// What comes of `work`, or that a signal came before: nothing of what it does has to end well.
    pub(super) async fn during<T>(
        &mut self,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        tokio::select! {
            result = work => result,
            exit = self.next() => Err(Failure::stopped(exit)),
        }
    }

    /// Waits for `ending`, five seconds at most, and says so if it takes a while. Another signal leaves
    /// the program at once.
    pub(super) async fn end_well(&mut self, ending: impl Future<Output = ()>, terminal: Terminal) {
        let mut ending = pin!(ending);
        let mut grace = pin!(sleep(GRACE));
        let mut same = pin!(sleep(SAME));
        let mut patience = pin!(sleep(PATIENCE));
        loop {
            tokio::select! {
                () = &mut ending => return,
                () = &mut grace => return,
                // Armed by being waited for.
                () = &mut same, if !same.is_elapsed() => {}
                () = &mut patience, if !patience.is_elapsed() => {
                    terminal.say("Saying goodbye and writing what is left; Ctrl-C leaves at once.");
                }
                exit = self.next() => {
                    if same.is_elapsed() {
                        std::process::exit(exit.code().into());
                    }
                }
            }
        }
    }
}
