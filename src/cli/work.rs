//! Long local work, hashing or checking, with its progress shown.

use std::{
    sync::{
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::{Duration, Instant},
};

use super::{
    exit::Failure,
    progress::{Progress, Stage, View},
    signals,
    terminal::Terminal,
};
use crate::{base::units::ByteRate, session::check::Watch};

/// Time between two looks at the work.
const TICK: Duration = Duration::from_millis(100);

/// Runs `work` on a thread of its own and shows how much of `view.total` bytes it has done.
///
/// When nobody reads the progress any more, or a signal comes, the work is cancelled.
#[expect(clippy::disallowed_methods, reason = "a person watches: this is the clock's end")]
pub(super) fn watch<T: Send>(
    terminal: Terminal,
    view: View,
    work: impl FnOnce(Watch<'_>) -> T + Send,
) -> Result<T, Failure> {
    let start = Instant::now();
    let (done, cancel) = (AtomicU64::new(0), AtomicBool::new(false));
    let mut progress = Progress::new(terminal);
    let result = thread::scope(|scope| {
        let (finished, wait) = mpsc::channel();
        let (done, cancel) = (&done, &cancel);
        scope.spawn(move || {
            let count = |bytes| {
                done.fetch_add(bytes, Ordering::Relaxed);
            };
            // The other end waits for this.
            let _ = finished.send(work(Watch { progress: &count, cancel }));
        });
        loop {
            match wait.recv_timeout(TICK) {
                Ok(result) => return Ok(result),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => panic!("the work has panicked"),
            }
            if let Some(exit) = signals::asked() {
                cancel.store(true, Ordering::Relaxed);
                return Err(Failure::stopped(exit));
            }
            let view = at(&view, done.load(Ordering::Relaxed), start.elapsed());
            if let Err(failure) = progress.show(start.elapsed(), &[view]) {
                cancel.store(true, Ordering::Relaxed);
                return Err(failure);
            }
        }
    });
    progress.clear();
    result
}

/// The view after so much work in so much time.
fn at(view: &View, done: u64, elapsed: Duration) -> View {
    let down = ByteRate::over(done, elapsed);
    let left = view.total.saturating_sub(done);
    let eta = left.checked_div(down.0).map(Duration::from_secs);
    debug_assert!(matches!(view.stage, Stage::Hashing | Stage::Checking));
    View { done, down, eta, ..view.clone() }
}
