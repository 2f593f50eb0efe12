//! SIGINT and SIGTERM: the first asks to end well, the second ends at once.
//!
//! Whoever does something hears of the first where it can leave it: [`Signals::next`], or [`asked`] in the middle
//! of work that cannot wait. A thread that does nothing else ends the program when nobody has heard of it for too
//! long, such as behind a pipe that nobody reads or a disk that does not answer.

use std::{
    io,
    pin::pin,
    sync::{
        Once,
        atomic::{AtomicU8, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use rustix::process::{Resource, getrlimit};
use tokio::{
    runtime,
    signal::unix::{Signal, SignalKind, signal},
    time::sleep,
};

use super::{
    exit::{Exit, Failure},
    terminal::Terminal,
};

/// Longest time that ending well may take.
const GRACE: Duration = Duration::from_secs(5);
/// Longest time until the program has ended, whatever it is at.
const LONGEST: Duration = Duration::from_secs(6);
/// Ending well takes so long without a word.
const PATIENCE: Duration = Duration::from_millis(500);
/// A signal so soon after the first is the same one: `timeout`, `sudo` and the like pass on what the
/// terminal sends to all of them anyway.
const SAME: Duration = Duration::from_millis(250);

/// The exit code that the first signal stands for; 0 before it.
static ASKED: AtomicU8 = AtomicU8::new(0);
/// Descriptors of which the thread that ends the program may have its few.
const ENOUGH_DESCRIPTORS: u64 = 64;
/// It is started once.
static GUARD: Once = Once::new();

/// What the first signal asked for, if one has come.
pub(super) fn asked() -> Option<Exit> {
    let code = ASKED.load(Ordering::Relaxed);
    [Exit::Interrupted, Exit::Terminated].into_iter().find(|exit| exit.code() == code)
}

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
        let failed =
            |e: &io::Error| Failure::new(Exit::Unexpected, "could not listen for signals").cause(e);
        GUARD.call_once(|| {
            let (sender, listens) = mpsc::channel();
            let named = thread::Builder::new().name("signals".to_owned());
            if has_descriptors_to_spare() && named.spawn(move || guard(&sender)).is_ok() {
                // What comes before it listens would be lost on it; it may not come to that.
                let _ = listens.recv();
            }
        });
        Signals::take().map_err(|e| failed(&e))
    }

    fn take() -> io::Result<Self> {
        Ok(Signals {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Whether they may be taken over where nobody can hear of them in the middle of work.
    pub(super) fn are_wanted() -> bool {
        has_descriptors_to_spare()
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

/// A program that may open next to nothing has better uses for them.
fn has_descriptors_to_spare() -> bool {
    getrlimit(Resource::Nofile).maximum.is_none_or(|most| most >= ENOUGH_DESCRIPTORS)
}

/// Waits for the first signal, and ends the program with another one, or when it goes on for too long.
fn guard(listens: &mpsc::Sender<()>) {
    let Ok(runtime) = runtime::Builder::new_current_thread().enable_all().build() else { return };
    runtime.block_on(async {
        let Ok(mut signals) = Signals::take() else { return };
        // Whoever waits for it is there.
        let _ = listens.send(());
        let exit = signals.next().await;
        ASKED.store(exit.code(), Ordering::Relaxed);
        let (mut same, mut longest) = (pin!(sleep(SAME)), pin!(sleep(LONGEST)));
        loop {
            tokio::select! {
                () = &mut longest => break,
                () = &mut same, if !same.is_elapsed() => {}
                _ = signals.next() => {
                    if same.is_elapsed() {
                        break;
                    }
                }
            }
        }
        std::process::exit(exit.code().into());
    });
}
